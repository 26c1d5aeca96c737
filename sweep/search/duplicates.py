"""An index of the points of a search that finds repeated ones, in little memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweep.schema import FloatArray2D, IntArray1D

__all__ = ["DuplicateIndex"]


class _Table(NamedTuple):
    """Points by their hashes, sorted by the first."""

    keys: NDArray[np.uint64]
    checks: NDArray[np.uint64]
    numbers: IntArray1D

    def find(self, keys: NDArray[np.uint64], checks: NDArray[np.uint64]) -> IntArray1D:
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        same = (self.keys[places] == keys) & (self.checks[places] == checks)
        return np.where(same, self.numbers[places], -1)

    def merged(self, other: _Table) -> _Table:
        keys = np.concatenate([self.keys, other.keys])
        order = np.argsort(keys, kind="stable")
        return _Table(
            keys[order],
            np.concatenate([self.checks, other.checks])[order],
            np.concatenate([self.numbers, other.numbers])[order],
        )


class DuplicateIndex:
    """The trial that each distinct point was first proposed as, in 24 bytes a point.

    Points are known by two 64-bit hashes of their bits. That two different ones agree in
    both does not happen; that they agree in the first is seen, and costs an evaluation.
    """

    def __init__(self) -> None:
        self._tables: list[_Table] = []  # each at least twice as long as the next

    def find(self, points: FloatArray2D) -> IntArray1D:
        """Return the trial that each point was added as, or -1.

        Parameters
        ----------
        points : ndarray of shape (n_points, n_params), float64

        Returns
        -------
        ndarray of shape (n_points,), int64
        """
        return self._find(_hash(points, _ODD_1), _hash(points, _ODD_2))

    def _find(self, keys: NDArray[np.uint64], checks: NDArray[np.uint64]) -> IntArray1D:
        trials = np.full(len(keys), -1, np.int64)
        for table in self._tables:
            trials = np.maximum(trials, table.find(keys, checks))
        return trials

    def add(self, first: int, points: FloatArray2D) -> IntArray1D:
        """Add the points of consecutive trials; return the trial that each repeats, or -1.

        Parameters
        ----------
        first : int
            Number of the first trial.
        points : ndarray of shape (n_points, n_params), float64

        Returns
        -------
        ndarray of shape (n_points,), int64
        """
        keys, checks = _hash(points, _ODD_1), _hash(points, _ODD_2)
        trials = self._find(keys, checks)
        new = np.flatnonzero(trials < 0)
        if not len(new):
            return trials
        # The first of equal ones stands for them: the sort is stable.
        order = new[np.argsort(keys[new], kind="stable")]
        begins = np.ones(len(order), bool)
        begins[1:] = keys[order][1:] != keys[order][:-1]
        leaders = order[begins]
        leader = leaders[np.cumsum(begins) - 1]
        same = (order != leader) & (checks[order] == checks[leader])
        trials[order[same]] = first + leader[same]
        self._tables.append(_Table(keys[leaders], checks[leaders], first + leaders))
        while len(self._tables) > 1 and len(self._tables[-2].keys) < 2 * len(self._tables[-1].keys):
            last = self._tables.pop()
            self._tables[-1] = self._tables[-1].merged(last)
        return trials


_ODD_1, _ODD_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


def _hash(points: FloatArray2D, odd: np.uint64) -> NDArray[np.uint64]:
    """Return a hash of each point's bits, in the manner of MurmurHash3's finaliser."""
    bits = np.ascontiguousarray(points).view(np.uint64)
    hashes = np.full(len(points), odd)
    for column in bits.T:
        hashes = (hashes ^ column) * odd
        hashes ^= hashes >> np.uint64(32)
        hashes *= np.uint64(0xD6E8FEB86659FD93)
        hashes ^= hashes >> np.uint64(29)
    return hashes
