"""The board: finished trials as columns, and the best of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sweep.schema import ROW, FloatArray1D, FloatArray2D, IntArray1D, Rows
from sweep.search.outcomes import pareto_front
from sweep.study.records import COMPLETE, INVALID, Finished
from sweep.text import STATES

__all__ = [
    "BLOCK",
    "Board",
    "TrialBlock",
    "TrialTable",
    "count_states",
    "rank",
]

#: Trials that are handed over together where a study is read from its beginning to its end.
BLOCK = 8192


@dataclass(frozen=True)
class TrialBlock:
    """Finished trials as columns.

    Attributes
    ----------
    numbers : ndarray of shape (n_trials,), int64
    params : ndarray of shape (n_trials, n_params), float64
    codes : ndarray of shape (n_trials,), int8
        States, as places in `STATES`.
    rows : ndarray of shape (n_trials,), dtype `sweep.schema.ROW`
    values, violations : ndarray of shape (n_trials, n), float64
    n_slices : ndarray of shape (n_trials,), int32
    duplicate_of : ndarray of shape (n_trials,), int64
    reasons : ndarray of shape (n_trials,), object
        Texts.
    intermediate : dict of int to tuple, optional
        By trial number, where a pruner looked.
    sessions : ndarray of shape (n_trials, n_sessions), float32, or None
        See `Finished`; with trials that are to be written alone.
    """

    numbers: IntArray1D
    params: FloatArray2D
    codes: NDArray[np.int8]
    rows: Rows
    values: FloatArray2D
    violations: FloatArray2D
    n_slices: NDArray[np.int32]
    duplicate_of: IntArray1D
    reasons: NDArray[np.object_]
    intermediate: dict[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    sessions: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def select(self, places: Any) -> TrialBlock:
        """Return some of the trials: by a slice, a mask or places."""
        columns: dict[str, Any] = {n: getattr(self, n)[places] for n in _BLOCK_COLUMNS}
        sessions = None if self.sessions is None else self.sessions[places]
        return TrialBlock(**columns, intermediate=self.intermediate, sessions=sessions)

    @staticmethod
    def join(blocks: Sequence[TrialBlock]) -> TrialBlock:
        """Return the trials of several blocks one after the other."""
        if len(blocks) == 1:
            return blocks[0]
        columns: dict[str, Any] = {
            n: np.concatenate([getattr(b, n) for b in blocks]) for n in _BLOCK_COLUMNS
        }
        together = {k: v for b in blocks for k, v in b.intermediate.items()}
        sessions = [b.sessions for b in blocks if b.sessions is not None]
        whole = np.concatenate(sessions) if len(sessions) == len(blocks) else None
        return TrialBlock(**columns, intermediate=together, sessions=whole)

    def trial(self, place: int) -> Finished:
        """Return one trial by its place in the block."""
        number = int(self.numbers[place])
        return Finished(
            number=number,
            params=self.params[place].copy(),
            state=STATES[self.codes[place]],
            row=self.rows[place].copy(),
            values=tuple(map(float, self.values[place])),
            violations=tuple(map(float, self.violations[place])),
            n_slices=int(self.n_slices[place]),
            intermediate=self.intermediate.get(number, ()),
            duplicate_of=int(self.duplicate_of[place]),
            reason=str(self.reasons[place]),
        )

    def in_state(self, state: str) -> NDArray[np.bool_]:
        """Mask of the trials in a state, ndarray of shape (n_trials,), bool."""
        return np.asarray(self.codes == STATES.index(state))


_BLOCK_COLUMNS = (
    "numbers",
    "params",
    "codes",
    "rows",
    "values",
    "violations",
    "n_slices",
    "duplicate_of",
    "reasons",
)


def count_states(codes: NDArray[np.int8], duplicate_of: IntArray1D) -> dict[str, int]:
    """Return the number of trials in each state, duplicates apart.

    Parameters
    ----------
    codes : ndarray of shape (n_trials,), int8
        Places in `STATES`.
    duplicate_of : ndarray of shape (n_trials,), int64

    Returns
    -------
    dict of str to int
        By state, and ``"duplicates"``; their sum is the number of trials.
    """
    own = duplicate_of < 0
    found = np.bincount(codes[own], minlength=len(STATES))
    counts = {state: int(n) for state, n in zip(STATES, found, strict=True)}
    return {**counts, "duplicates": int(len(own) - own.sum())}


def rank(
    numbers: IntArray1D, values: FloatArray2D, directions: tuple[str, ...], count: int
) -> IntArray1D:
    """Return the numbers of the best of complete trials: by objective, or the front first.

    Parameters
    ----------
    numbers : ndarray of shape (n_trials,), int64
    values : ndarray of shape (n_trials, n_objectives), float64
        Finite.
    directions : tuple of str
        ``"maximize"`` or ``"minimize"``, one an objective.
    count : int

    Returns
    -------
    ndarray of shape (n_best,), int64
        With one objective in its order, ties by trial number. With several, the members
        of the Pareto front, ordered by the first objective, then by the next.
    """
    signs = np.array([-1.0 if d == "maximize" else 1.0 for d in directions])
    if len(directions) > 1:
        front = pareto_front(values, directions)
        numbers, values = numbers[front], values[front]
    losses = values * signs
    keys = [numbers, *(losses[:, j] for j in range(losses.shape[1] - 1, -1, -1))]
    return np.asarray(numbers[np.lexsort(keys)][:count], np.int64)


class TrialTable(Protocol):
    """Finished trials of a study, in memory or in files: what both can be asked.

    Whole columns (``params``, ``rows``, ...) are read into memory when they are asked
    for; `blocks` gives them piece by piece.
    """

    def __len__(self) -> int:
        """Return the number of trials."""

    def trial(self, number: int) -> Finished:
        """Return one trial; `IndexError` if there is none of this number."""

    def select(self, numbers: IntArray1D) -> TrialBlock:
        """Return some trials as columns, in the order of ``numbers``."""

    def blocks(self, *leave_out: str) -> Iterator[TrialBlock]:
        """Yield all trials in order, some thousand at a time.

        Columns that are left out (``"params"``, ``"rows"``, ``"values"``, ``"violations"``,
        ``"reasons"``) need not be read, and mean nothing.
        """

    def find(self, params: FloatArray1D) -> int:
        """Return the first trial with these parameters that was evaluated, or -1."""

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state, see `count_states`."""

    def evaluated(self) -> int:
        """Return the number of distinct variants that were evaluated."""

    def best(self, directions: tuple[str, ...], count: int) -> list[int]:
        """Return the best complete trials, duplicates left out; see `rank`."""

    @property
    def params(self) -> FloatArray2D:
        """Parameters, ndarray of shape (n_trials, n_params), float64."""

    @property
    def rows(self) -> Rows:
        """Rows, ndarray of shape (n_trials,)."""

    @property
    def values(self) -> FloatArray2D:
        """Objectives, ndarray of shape (n_trials, n_values), float64."""

    @property
    def violations(self) -> FloatArray2D:
        """Violations, ndarray of shape (n_trials, n_violations), float64."""

    @property
    def n_slices(self) -> NDArray[np.int32]:
        """Slices evaluated, ndarray of shape (n_trials,), int32."""

    @property
    def duplicate_of(self) -> IntArray1D:
        """Trial whose evaluation is shared, ndarray of shape (n_trials,), int64, or -1."""

    @property
    def states(self) -> list[str]:
        """State of every trial."""

    @property
    def reasons(self) -> dict[int, str]:
        """Why trials are not complete, by number."""

    @property
    def intermediate(self) -> dict[int, tuple[tuple[int, float], ...]]:
        """What a pruner saw, by number: step and value."""

    def in_state(self, state: str) -> NDArray[np.bool_]:
        """Mask of the trials in a state."""


class Board:
    """All finished trials of a study, in trial order, as columns.

    Parameters
    ----------
    n_params, n_values, n_violations : int
    """

    def __init__(self, n_params: int, n_values: int, n_violations: int) -> None:
        self._size = 0
        self._params = np.zeros((64, n_params))
        self._rows = np.zeros(64, ROW)
        self._values = np.zeros((64, n_values))
        self._violations = np.zeros((64, n_violations))
        self._states = np.zeros(64, np.int8)
        self._slices = np.zeros(64, np.int32)
        self._duplicate = np.zeros(64, np.int64)
        self.reasons: dict[int, str] = {}
        self.intermediate: dict[int, tuple[tuple[int, float], ...]] = {}
        self._by_params: dict[bytes, int] = {}

    def __len__(self) -> int:
        return self._size

    def add(self, trial: Finished) -> None:
        """Add the next trial; its number must be the board's length."""
        if trial.number != self._size:
            raise ValueError(f"trial {trial.number} cannot follow {self._size} trials")
        if self._size == len(self._states):
            self._grow()
        k = self._size
        self._params[k] = trial.params
        self._rows[k] = trial.row
        self._values[k] = trial.values or np.nan
        self._violations[k] = trial.violations or np.nan
        self._states[k] = STATES.index(trial.state)
        self._slices[k] = trial.n_slices
        self._duplicate[k] = trial.duplicate_of
        if trial.reason:
            self.reasons[k] = trial.reason
        if trial.intermediate:
            self.intermediate[k] = trial.intermediate
        if trial.state != INVALID:
            self._by_params.setdefault(trial.params.tobytes(), k)
        self._size += 1

    def _grow(self) -> None:
        for name in (
            "_params",
            "_rows",
            "_values",
            "_violations",
            "_states",
            "_slices",
            "_duplicate",
        ):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))

    def find(self, params: FloatArray1D) -> int:
        """Return the first trial with these parameters that was evaluated, or -1."""
        return self._by_params.get(params.tobytes(), -1)

    def trial(self, number: int) -> Finished:
        """Return one trial.

        Raises
        ------
        IndexError
            If there is no such trial.
        """
        if not 0 <= number < self._size:
            raise IndexError(f"no trial {number}; there are {self._size}")
        return self.select(np.array([number])).trial(0)

    def select(self, numbers: IntArray1D) -> TrialBlock:
        """Return some trials as columns, in the order of ``numbers``."""
        return TrialBlock(
            numbers=np.asarray(numbers, np.int64),
            params=self._params[numbers],
            codes=self._states[numbers],
            rows=self._rows[numbers],
            values=self._values[numbers],
            violations=self._violations[numbers],
            n_slices=self._slices[numbers],
            duplicate_of=self._duplicate[numbers],
            reasons=np.array([self.reasons.get(int(k), "") for k in numbers], object),
            intermediate=self.intermediate,
        )

    def blocks(self, *leave_out: str) -> Iterator[TrialBlock]:
        """Yield all trials in order, some thousand at a time, with every column."""
        for first in range(0, self._size, BLOCK):
            yield self.select(np.arange(first, min(first + BLOCK, self._size)))

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state, see `count_states`."""
        return count_states(self._states[: self._size], self.duplicate_of)

    @property
    def params(self) -> FloatArray2D:
        """Parameters, ndarray of shape (n_trials, n_params), float64."""
        return self._params[: self._size]

    @property
    def rows(self) -> Rows:
        """Rows, ndarray of shape (n_trials,)."""
        return self._rows[: self._size]

    @property
    def values(self) -> FloatArray2D:
        """Objectives, ndarray of shape (n_trials, n_values), float64."""
        return self._values[: self._size]

    @property
    def violations(self) -> FloatArray2D:
        """Violations, ndarray of shape (n_trials, n_violations), float64."""
        return self._violations[: self._size]

    @property
    def n_slices(self) -> np.ndarray[Any, Any]:
        """Slices evaluated, ndarray of shape (n_trials,), int32."""
        return self._slices[: self._size]

    @property
    def duplicate_of(self) -> np.ndarray[Any, Any]:
        """Trial whose evaluation is shared, ndarray of shape (n_trials,), int64, or -1."""
        return self._duplicate[: self._size]

    def in_state(self, state: str) -> np.ndarray[Any, Any]:
        """Mask of the trials in a state, ndarray of shape (n_trials,), bool."""
        return np.asarray(self._states[: self._size] == STATES.index(state))

    @property
    def states(self) -> list[str]:
        """State of every trial."""
        return [STATES[code] for code in self._states[: self._size]]

    def evaluated(self) -> int:
        """Return the number of distinct variants that were evaluated."""
        return len(self._by_params)

    def best(self, directions: tuple[str, ...], count: int) -> list[int]:
        """Return the best complete trials: by objective, or the Pareto front first.

        Parameters
        ----------
        directions : tuple of str
            ``"maximize"`` or ``"minimize"``, one an objective.
        count : int

        Returns
        -------
        list of int
            Trial numbers, duplicates left out. With one objective in its order, ties by
            trial number. With several, the members of the Pareto front, ordered by the
            first objective, then by the next.
        """
        chosen = np.flatnonzero(self.in_state(COMPLETE) & (self.duplicate_of < 0))
        return [int(k) for k in rank(chosen, self.values[chosen], directions, count)]
