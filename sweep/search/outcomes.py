"""Proposals of a sampler, outcomes of trials, and the trials that nothing dominates.

Plain records, apart from :mod:`sweep.search.optuna_sampler`, so that modules which make and
read them need not import Optuna.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = ["Outcome", "Proposal", "pareto_front"]


@dataclass(frozen=True)
class Proposal:
    """A point that a sampler wants evaluated.

    Attributes
    ----------
    number : int
        Of the trial, from 0.
    point : ndarray of shape (n_params,), float64
        Canonical.
    valid : bool
        Whether the strategy's constraint between parameters holds. A proposal that
        breaks it is told as ``invalid`` and not evaluated.
    """

    number: int
    point: FloatArray1D
    valid: bool


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Attributes
    ----------
    state : str
        One of `sweep.text.STATES`.
    values : tuple of float or None
        One for each objective; None or NaN where undefined.
    constraints : tuple of float
        One for each requirement on the results: satisfied where zero or less.
    intermediate : tuple of float
        Values after 1, 2, ... slices, as `should_prune` was asked about them.
    metrics : mapping of str to float
    reason : str
        Why a trial is not ``complete``; empty if it is.
    """

    state: str
    values: tuple[float, ...] | None = None
    constraints: tuple[float, ...] = ()
    intermediate: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def measured(self) -> bool:
        """Whether the trial was evaluated to its end and every value and constraint is finite."""
        if self.state not in ("complete", "infeasible") or self.values is None:
            return False
        return all(math.isfinite(v) for v in (*self.values, *self.constraints))


def pareto_front(
    values: FloatArray2D,
    directions: Sequence[str],
    feasible: NDArray[np.bool_] | None = None,
) -> IntArray1D:
    """Return which trials no other trial dominates.

    One trial dominates another if it is as good in every objective and better in one.
    Trials with equal values do not dominate each other.

    Parameters
    ----------
    values : ndarray of shape (n_trials, n_objectives), float64
        A trial with a NaN is left out.
    directions : sequence of str
        ``"maximize"`` or ``"minimize"``, one for each objective.
    feasible : ndarray of shape (n_trials,), bool, optional
        Trials to consider; all by default.

    Returns
    -------
    ndarray of shape (n_front,), int64
        Indices, ascending.
    """
    signs = np.array([1.0 if d == "minimize" else -1.0 for d in directions])
    losses = values * signs
    considered = ~np.isnan(losses).any(axis=1)
    if feasible is not None:
        considered &= feasible
    left = np.flatnonzero(considered)
    # In lexicographic order no trial is dominated by a later one, so the first left is
    # always on the front, and one pass for each of the front's points suffices.
    left = left[np.lexsort(losses[left].T[::-1])]
    front: list[int] = []
    while len(left):
        best = losses[left[0]]
        equal = (losses[left] == best).all(axis=1)
        front.extend(left[equal].tolist())
        left = left[(losses[left] < best).any(axis=1)]
    return np.array(sorted(front), dtype=np.int64)
