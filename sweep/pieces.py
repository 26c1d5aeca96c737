"""Folds as pieces of the tick series, and the one evaluation of a variant on all of them.

Windows overlap: what trains in one fold tests in another. Cut at the edges of all windows,
they fall into pieces that many folds share. A variant is evaluated once on each piece; the row
of a window is that of its pieces, merged (`sweep.metrics.merge`).

A piece is a slice of its own: it starts flat after its warm-up, and ends flat. Only where the
end of a train window is purged, its last piece ends within a test piece that begins where it
begins. Then one run serves both: the shorter piece's row is taken on the way, with what is
open there at its mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sweep.folds import Folds, Window
from sweep.metrics import merge
from sweep.schema import ROW, FloatArray2D, IntArray1D, Rows, Slice
from sweep.tasks import Context, Outcome, Task, evaluate

__all__ = ["Plan", "evaluate_pieces", "merge_pieces", "plan_pieces"]


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


def evaluate_pieces(
    context: Context, params: FloatArray2D, runs: Sequence[tuple[Slice, ...]]
) -> Outcome:
    """Evaluate variants on all pieces. Never raises: what goes wrong comes back as data.

    Parameters
    ----------
    context : Context
    params : ndarray of shape (n_variants, n_params), float64
    runs : sequence of tuple of Slice

    Returns
    -------
    Outcome
        ``rows`` of shape (n_variants, n_pieces). No row depends on the other variants.
    """
    places = np.cumsum([0, *map(len, runs)]).tolist()
    # Runs of one slice go together: independent slices, in one call of a kernel.
    alone = [k for k, run in enumerate(runs) if len(run) == 1]
    tasks = [([places[k] for k in alone], tuple(runs[k][0] for k in alone), False)]
    tasks += [
        (list(range(places[k], places[k + 1])), run, True)
        for k, run in enumerate(runs)
        if len(run) > 1
    ]
    rows = np.zeros((len(params), places[-1]), ROW)
    failures: dict[int, str] = {}
    seconds, kernel_seconds = 0.0, 0.0
    for where, slices, carry_over in tasks:
        if not slices:
            continue
        found = evaluate(context, Task(0, params, slices, carry_over, apart=True))
        if found.error:
            return found
        rows[:, where] = found.rows
        for place, reason in found.failures:
            failures.setdefault(place, reason)
        seconds += found.seconds
        kernel_seconds += found.kernel_seconds
    return Outcome(
        number=0,
        rows=rows,
        failures=tuple(sorted(failures.items())),
        seconds=seconds,
        kernel_seconds=kernel_seconds,
    )


def merge_pieces(rows: Rows, pieces: Sequence[int]) -> Rows:
    """Return the rows of a window: those of its pieces, merged in the order given.

    Parameters
    ----------
    rows : ndarray of shape (n_variants, n_pieces), dtype `sweep.schema.ROW`
    pieces : sequence of int
        At least one.

    Returns
    -------
    ndarray of shape (n_variants,), dtype `sweep.schema.ROW`
    """
    merged = rows[:, pieces[0]].copy()
    for k in pieces[1:]:
        merged = merge(merged, rows[:, k])
    return merged
