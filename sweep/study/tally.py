"""Counts of finished trials, the best of them, and when a study has gone on for long enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sweep.schema import FloatArray2D, IntArray1D
from sweep.study.records import COMPLETE, FAILED
from sweep.study.trials import count_states, rank
from sweep.text import STATES

__all__ = ["Tally"]


class Tally:
    """Counts and the best of all finished trials, taken in the order of the trials.

    Parameters
    ----------
    directions : tuple of str
    keep : int
        Of the best, with a single objective. Of several, the whole front is kept.
    patience : int or None
    """

    def __init__(self, directions: tuple[str, ...], keep: int, patience: int | None) -> None:
        self.directions = directions
        self.counts = count_states(np.zeros(0, np.int8), np.zeros(0, np.int64))
        self.first_failed = -1
        self._keep = keep
        self._patience = patience
        self._signs = np.array([-1.0 if d == "maximize" else 1.0 for d in directions])
        self._numbers = np.zeros(0, np.int64)
        self._values = np.zeros((0, len(directions)))
        self._since = 0  # trials since the last that was better

    def __len__(self) -> int:
        return sum(self.counts.values())

    @property
    def impatient(self) -> bool:
        """Whether the study has gone on for long enough without a better trial."""
        return self._patience is not None and self._since >= self._patience

    def best(self, count: int) -> list[int] | None:
        """Return the numbers of the best, or None if fewer than ``count`` were kept."""
        if count > self._keep and len(self.directions) == 1:
            return None
        return [int(k) for k in rank(self._numbers, self._values, self.directions, count)]

    def take(
        self,
        numbers: IntArray1D,
        codes: NDArray[np.int8],
        values: FloatArray2D,
        duplicate_of: IntArray1D,
    ) -> int:
        """Record the next trials; return how many of them come before patience is out.

        Parameters
        ----------
        numbers : ndarray of shape (n_trials,), int64
        codes : ndarray of shape (n_trials,), int8
            States, as places in `sweep.text.STATES`.
        values : ndarray of shape (n_trials, n_objectives), float64
        duplicate_of : ndarray of shape (n_trials,), int64
        """
        places = np.flatnonzero((codes == STATES.index(COMPLETE)) & (duplicate_of < 0))
        end = len(numbers)
        if self._patience is not None:
            end = self._impatient_at(places, values, end)
            places = places[places < end]
        self._lead(numbers[places], values[places])
        found = count_states(codes[:end], duplicate_of[:end])
        for state, n in found.items():
            self.counts[state] += n
        if found[FAILED] and self.first_failed < 0:
            own = (codes == STATES.index(FAILED)) & (duplicate_of < 0)
            self.first_failed = int(numbers[np.flatnonzero(own)[0]])
        return end

    def _impatient_at(self, places: NDArray[np.intp], values: FloatArray2D, n: int) -> int:
        """Return how many of ``n`` trials come before patience is out, and count on."""
        assert self._patience is not None
        better = np.full(n, False)
        better[self._betters(places, values[places] * self._signs)] = True
        index = np.arange(n)
        last = np.maximum.accumulate(np.where(better, index, -1 - self._since))
        since = index - last
        out = np.flatnonzero(since >= self._patience)
        end = int(out[0]) + 1 if len(out) else n
        if end:
            self._since = int(since[end - 1])
        return end

    def _betters(self, places: NDArray[np.intp], losses: FloatArray2D) -> NDArray[np.intp]:
        """Return the places of trials that nothing before them is as good as."""
        front = self._values * self._signs
        if len(self.directions) == 1:
            lowest = front.min() if len(front) else np.inf
            before = np.minimum.accumulate(np.concatenate([[lowest], losses[:, 0]]))[:-1]
            return places[losses[:, 0] < before]
        found = []
        for k in np.flatnonzero(~_covered(losses, front)):
            if not _covered(losses[k : k + 1], front)[0]:
                found.append(int(places[k]))
                front = np.concatenate([front, losses[k : k + 1]])
        return np.array(found, np.intp)

    def _lead(self, numbers: IntArray1D, values: FloatArray2D) -> None:
        """Take trials into the best."""
        if len(self.directions) == 1:
            if len(self._numbers) >= self._keep:
                worst = (self._values * self._signs).max()
                hopeful = np.flatnonzero(values[:, 0] * self._signs[0] < worst)
                numbers, values = numbers[hopeful], values[hopeful]
            if not len(numbers):
                return
            numbers = np.concatenate([self._numbers, numbers])
            values = np.concatenate([self._values, values])
            order = np.lexsort([numbers, values[:, 0] * self._signs[0]])[: self._keep]
            self._numbers, self._values = numbers[order], values[order]
            return
        losses, front = values * self._signs, self._values * self._signs
        fresh = np.flatnonzero(~_dominated(losses, front))
        if not len(fresh):
            return
        fresh = fresh[~_dominated(losses[fresh], losses[fresh])]
        stays = ~_dominated(front, losses[fresh])
        self._numbers = np.concatenate([self._numbers[stays], numbers[fresh]])
        self._values = np.concatenate([self._values[stays], values[fresh]])


def _covered(losses: FloatArray2D, by: FloatArray2D) -> NDArray[np.bool_]:
    """Return which losses another is at least as good as, in all."""
    return _compared(losses, by, strict=False)


def _dominated(losses: FloatArray2D, by: FloatArray2D) -> NDArray[np.bool_]:
    """Return which losses another is at least as good as in all, and better in one."""
    return _compared(losses, by, strict=True)


def _compared(losses: FloatArray2D, by: FloatArray2D, *, strict: bool) -> NDArray[np.bool_]:
    found = np.zeros(len(losses), bool)
    block = max(1, (1 << 20) // max(len(by), 1))  # a few megabytes at a time
    for first in range(0, len(losses) if len(by) else 0, block):
        some = losses[first : first + block, None, :]
        as_good = np.asarray(np.less_equal(by[None], some).all(axis=2))
        if strict:
            better = np.asarray(np.less(by[None], some))
            as_good &= better.any(axis=2)
        found[first : first + block] = as_good.any(axis=1)
    return found
