"""What a verdict is built on, and what it says: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = [
    "GRADES",
    "LUCK",
    "STRONG",
    "UNKNOWN",
    "WEAK",
    "Claim",
    "Evidence",
    "Held",
    "OutOfSample",
    "Settings",
    "Standings",
    "Verdict",
]

STRONG, WEAK, LUCK, UNKNOWN = "strong", "weak", "luck", "cannot be said"

#: From the best to the poorest.
GRADES = (STRONG, WEAK, LUCK, UNKNOWN)


@dataclass(frozen=True)
class Held:
    """The winner on the holdout.

    Attributes
    ----------
    net_profit : float
    sharpe : float
        As the study's metric of that name, annual; NaN where undefined.
    trades : int
    n_opened : int
        Variants that the holdout was opened for.
    capital : float, optional
    returns : ndarray of shape (n_sessions,), float64, or None
        Of the holdout's sessions, on the capital; None where they are not known.
    """

    net_profit: float
    sharpe: float
    trades: int
    n_opened: int
    capital: float = 1.0
    returns: FloatArray1D | None = None


@dataclass(frozen=True)
class OutOfSample:
    """What a walk-forward optimisation earned in its test windows, put one after the other.

    Attributes
    ----------
    returns : ndarray of shape (n_sessions,), float64
        Of the tested sessions: change of equity divided by the capital.
    net_profit : float
    n_folds : int
        That have a value in train and in test.
    rank : float
        Share of the other settings that are worse than the chosen one in test, in the mean over
        folds; 0.5 is what luck gives, NaN where it is unknown.
    efficiency : float
        Profit per time in test over that in train; NaN where undefined.
    """

    returns: FloatArray1D
    net_profit: float
    n_folds: int
    rank: float
    efficiency: float


@dataclass(frozen=True)
class Evidence:
    """What is known of a search.

    Attributes
    ----------
    returns : ndarray of shape (n_sessions, n_variants), float64
        Change of equity over each session divided by the capital, of distinct variants.
    numbers : ndarray of shape (n_variants,), int64
        Their trials.
    winner : int
        Column of the best trial by the study's objective; -1 if it is not among them.
    n_evaluations : int
        Every evaluation ever made, over runs and folds.
    per_year : float
        Sessions in a year.
    held : Held or str
        The winner on the holdout, or why there is nothing.
    out_of_sample : OutOfSample or str
        Of a walk-forward, or why there is nothing.
    n_own : int
        Of the evaluations, those of the search that chose the winner: not of folds. As many as
        there are evaluations if 0.
    missing : str
        Why there are no session returns, where there are none.
    n_in_folds : int
        Of the evaluations, those of searches in folds, from which no winner comes.
    notes : tuple of str
        What a reader must know of the winner.
    looks_ahead : str or None
        What was found where its strategy was tested for look-ahead, empty if nothing; None
        where it was not tested.

    Raises
    ------
    InputError
        If the parts do not fit together.
    """

    returns: FloatArray2D
    numbers: IntArray1D
    winner: int
    n_evaluations: int
    per_year: float
    held: Held | str = "the study keeps no holdout"
    out_of_sample: OutOfSample | str = "no walk-forward was run"
    n_own: int = 0
    missing: str = ""
    n_in_folds: int = 0
    notes: tuple[str, ...] = ()
    looks_ahead: str | None = None

    def __post_init__(self) -> None:
        if self.returns.ndim != 2 or self.returns.shape[1] != len(self.numbers):
            raise InputError(
                f"returns of shape {self.returns.shape} do not fit {len(self.numbers)} variants"
            )
        if not -1 <= self.winner < len(self.numbers):
            raise InputError(f"there is no column {self.winner} of {len(self.numbers)} variants")
        if self.n_tried < len(self.numbers):
            raise InputError(
                f"{self.n_tried} evaluations are fewer than {len(self.numbers)} variants"
            )
        if not self.per_year > 0.0:
            raise InputError(f"a year has more than 0 sessions, found {self.per_year:g}")

    @property
    def n_tried(self) -> int:
        """Evaluations of what the winner was chosen from: none of searches in folds."""
        return self.n_evaluations - self.n_in_folds


@dataclass(frozen=True)
class Settings:
    """How the tests are done.

    Attributes
    ----------
    n_bootstrap : int
        Resamples of sessions, at least 100: the lowest p-value is ``1 / (1 + n_bootstrap)``.
    block : float or None
        Mean length of their blocks, in sessions; by the winner's returns if not given.
    seed : int

    Raises
    ------
    InputError
        If one is out of range.
    """

    n_bootstrap: int = 1000
    block: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_bootstrap < 100:
            raise InputError(
                f"bootstraps = {self.n_bootstrap}; at least 100 are needed: with fewer, no "
                "p-value can be as low as 0.01"
            )
        if self.block is not None and not self.block >= 1.0:
            raise InputError(f"block = {self.block:g}; a block has at least 1 session")
        if self.seed < 0:
            raise InputError(f"seed = {self.seed}; expected 0 or more")


@dataclass(frozen=True)
class Claim:
    """One thing that can be said of the winner, or why it cannot.

    Attributes
    ----------
    name : str
    grade : str
        Among `GRADES`.
    sentence : str
        With the numbers in it.
    figures : dict of str to float
        The same with all digits; empty where nothing can be said.
    change : str
        What would change it; may be empty.
    """

    name: str
    grade: str
    sentence: str
    figures: dict[str, float] = field(default_factory=dict)
    change: str = ""


@dataclass(frozen=True)
class Standings:
    """What the tests say of each setting.

    Attributes
    ----------
    numbers : ndarray of shape (n_variants,), int64
        Trials.
    sharpe : ndarray of shape (n_variants,), float64
        Annual, of session returns; NaN without variance.
    p : ndarray of shape (n_variants,), float64
        That the setting earns no more than nothing, adjusted for all of them (StepM); NaN
        where there is no test.
    alike : ndarray of shape (n_variants,), bool, or None
        Whether it is in the model confidence set of the best; None where there is no such set.
    """

    numbers: IntArray1D
    sharpe: FloatArray1D
    p: FloatArray1D
    alike: NDArray[np.bool_] | None

    def order(self) -> IntArray1D:
        """Return places from the best to the poorest: by p, then by Sharpe ratio, then by trial."""
        p = np.where(np.isnan(self.p), np.inf, self.p)
        sharpe = np.where(np.isnan(self.sharpe), -np.inf, self.sharpe)
        return np.lexsort([self.numbers, -sharpe, p]).astype(np.int64)


@dataclass(frozen=True)
class Verdict:
    """All claims, and what they come to.

    Attributes
    ----------
    grade : str
        Never ``"strong"`` where a test that takes the search into account says luck.
    sentence : str
    claims : tuple of Claim
    notes : tuple of str
        What a reader must know.
    trial : int
        The winner's number, -1 if there is none.
    n_sessions, n_variants, n_evaluations : int
    block_length : float
        Of the resampled sessions; NaN where nothing was resampled.
    settings : Settings
    n_in_folds : int
        See `Evidence`.
    standings : Standings or None
        None where nothing was tested.
    """

    grade: str
    sentence: str
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]
    trial: int
    n_sessions: int
    n_variants: int
    n_evaluations: int
    block_length: float
    settings: Settings
    n_in_folds: int = 0
    standings: Standings | None = None
