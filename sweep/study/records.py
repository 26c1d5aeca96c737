"""Records of a study: what is finished, as it is put down and passed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.backtest.tasks import Carry
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D, Rows
from sweep.text import STATES

__all__ = [
    "COMPLETE",
    "FAILED",
    "INFEASIBLE",
    "INVALID",
    "PRUNED",
    "ExtraEvaluations",
    "Finished",
    "HoldoutLook",
    "Judged",
    "Part",
    "Partial",
    "Record",
    "TrialSpan",
]

COMPLETE, PRUNED, INFEASIBLE, INVALID, FAILED = STATES


@dataclass(frozen=True)
class Finished:
    """A trial that is told.

    Attributes
    ----------
    number : int
    params : ndarray of shape (n_params,), float64
    state : str
        ``complete``; ``pruned`` (stopped after some slices); ``infeasible`` (a
        requirement is not met, or an objective is undefined); ``invalid`` (the
        parameters contradict the strategy's constraint: not evaluated); ``failed``.
    row : ndarray of shape (), dtype `sweep.schema.ROW`
        Over the slices that were evaluated.
    values : tuple of float
        Objectives; NaN where undefined.
    violations : tuple of float
        Of the requirements; above 0 where one is not met.
    n_slices : int
        Slices evaluated for this trial.
    intermediate : tuple of (int, float)
        What the pruner saw: step and value.
    duplicate_of : int
        Number of the trial with the same parameters whose evaluation it shares, or -1.
    reason : str
        Why the state is not ``complete``.
    sessions : ndarray of shape (n_sessions,), float32, or None
        Change of equity over each session divided by the capital, NaN where the trial was
        stopped before its end. With a trial of the ledger alone, and where they are kept.
    """

    number: int
    params: FloatArray1D
    state: str
    row: Rows
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()
    n_slices: int = 0
    intermediate: tuple[tuple[int, float], ...] = ()
    duplicate_of: int = -1
    reason: str = ""
    sessions: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Judged:
    """What a row is worth.

    Attributes
    ----------
    state : str
        ``complete``, ``infeasible`` or ``failed``.
    values : tuple of float
        Objectives; NaN where undefined.
    violations : tuple of float
    reason : str
        Why the state is not ``complete``.
    """

    state: str
    values: tuple[float, ...]
    violations: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class Partial:
    """Rows of a variant that is not told yet, slice by slice.

    ``slices`` are the places in the study's order of slices; ``rows`` has one row for
    each; ``carry`` is where the last of them ended, if a further one continues from it.
    ``earned`` is the cash of each of their cells, see `sweep.ticks.sessions`.
    """

    params: FloatArray1D
    slices: tuple[int, ...]
    rows: Rows
    carry: Carry | None = None
    failure: str = ""
    earned: FloatArray1D | None = None


@dataclass(frozen=True)
class HoldoutLook:
    """One variant that was evaluated on the holdout."""

    number: int
    params: FloatArray1D
    row: Rows
    reason: str = ""


@dataclass(frozen=True)
class TrialSpan:
    """Consecutive trials of an exhaustive search that are evaluated, and in no part yet.

    Attributes
    ----------
    first : int
        Number of the first trial.
    params : ndarray of shape (n_trials, n_params), float64
    duplicate_of : ndarray of shape (n_trials,), int64
        The earlier trial with the same parameters, or -1.
    rows : ndarray of shape (n_own,), dtype `sweep.schema.ROW`
        Of the trials that are no duplicates, in their order.
    failures : tuple of (int, str)
        Place among ``rows``, and the reason.
    sessions : ndarray of shape (n_own, n_sessions), float32, or None
        See `Finished`.
    """

    first: int
    params: FloatArray2D
    duplicate_of: IntArray1D
    rows: Rows
    failures: tuple[tuple[int, str], ...] = ()
    sessions: NDArray[np.float32] | None = None

    @property
    def end(self) -> int:
        """Number after the last trial."""
        return self.first + len(self.params)


@dataclass(frozen=True)
class Part:
    """Consecutive trials that lie in a Parquet file, and how to know it again.

    Attributes
    ----------
    first, count : int
        Number of the first trial, and how many.
    name : str
        Of the file, in the folder of parts.
    size : int
        Bytes.
    digest : str
        Hash of the file's bytes.
    counts : dict of str to int
        See `sweep.study.trials.count_states`.
    """

    first: int
    count: int
    name: str
    size: int
    digest: str
    counts: dict[str, int]

    @property
    def end(self) -> int:
        """Number after the last trial."""
        return self.first + self.count


@dataclass(frozen=True)
class ExtraEvaluations:
    """Variants that were evaluated and have no record of their own.

    Attributes
    ----------
    source : str
        Where, such as a fold.
    count : int
        How many so far; the highest count of a source stands.
    """

    source: str
    count: int


Record = Finished | Partial | HoldoutLook | TrialSpan | Part | ExtraEvaluations
