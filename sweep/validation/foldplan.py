"""Folds as pieces of the tick series, which their windows share.

Windows overlap: what trains in one fold tests in another. Cut at the edges of all windows,
they fall into pieces that many folds share. A variant is evaluated once on each piece
(`sweep.validation.walkforward.evaluate`); the row of a window is that of its pieces, merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sweep.schema import IntArray1D, Slice
from sweep.validation.folds import Folds, Window

__all__ = ["Plan", "plan_pieces"]


@dataclass(frozen=True)
class Plan:
    """What is evaluated, and which of it makes each window.

    Attributes
    ----------
    runs : tuple of tuple of Slice
        Consecutive slices. The piece of each goes from the beginning of its run.
    train : tuple of tuple of int
        By fold: numbers of the pieces, counted over all runs, in the order of time.
    test : tuple of tuple of tuple of int
        By fold and by test window.
    """

    runs: tuple[tuple[Slice, ...], ...]
    train: tuple[tuple[int, ...], ...]
    test: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def n_pieces(self) -> int:
        """Pieces, and rows of each variant."""
        return sum(map(len, self.runs))


def plan_pieces(folds: Folds, ts: IntArray1D, begin: int, end: int) -> Plan:
    """Return the pieces of folds.

    Parameters
    ----------
    folds : Folds
    ts : ndarray of shape (n_ticks,), int64
    begin, end : int
        The range of ticks that was split; warm-ups do not reach before it.
    """
    part = ts[begin:end]

    def cut(window: Window) -> list[tuple[int, int]]:
        within = [e for e in folds.edges if window.start < e < window.stop]
        stamps = np.array([window.start, *within, window.stop], np.int64)
        places = np.searchsorted(part, stamps, side="left") + begin
        return [(int(a), int(b)) for a, b in pairwise(places) if b > a]

    train = [[p for w in fold.train for p in cut(w)] for fold in folds.folds]
    test = [[cut(w) for w in fold.test] for fold in folds.folds]
    pieces = {p for fold in train for p in fold} | {p for fold in test for w in fold for p in w}
    runs: dict[int, list[int]] = {}
    for first, last in sorted(pieces):
        runs.setdefault(first, [first]).append(last)
    number = {p: k for k, p in enumerate(sorted(pieces))}
    return Plan(
        tuple(tuple(Slice(a, b, begin) for a, b in pairwise(run)) for run in runs.values()),
        tuple(tuple(number[p] for p in fold) for fold in train),
        tuple(tuple(tuple(number[p] for p in window) for window in fold) for fold in test),
    )
