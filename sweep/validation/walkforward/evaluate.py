"""Variants on pieces of the tick series: what workers run where folds are searched.

A piece is a slice of its own: it starts flat after its warm-up, and ends flat. Only where the
end of a train window is purged, its last piece ends within a test piece that begins where it
begins. Then one run serves both: the shorter piece's row is taken on the way, with what is
open there at its mark.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweep.backtest.tasks import Context, Outcome, Task, evaluate
from sweep.schema import ROW, STATUS_ERROR, FloatArray2D, Rows, Slice
from sweep.stats.metrics import merge

__all__ = ["evaluate_pieces", "merge_pieces"]


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
    for v in failures:
        error = _apart(context, params[v : v + 1], runs, rows[v])
        if error is not None:
            return error
    return Outcome(
        number=0,
        rows=rows,
        failures=tuple(sorted(failures.items())),
        seconds=seconds,
        kernel_seconds=kernel_seconds,
    )


def _apart(
    context: Context, row: FloatArray2D, runs: Sequence[tuple[Slice, ...]], out: Rows
) -> Outcome | None:
    """Evaluate a variant that failed somewhere on each piece alone; return what went wrong.

    Its failure on one piece says nothing of the others: a choice in train would know of it.
    """
    place = 0
    for run in runs:
        carry_over = len(run) > 1
        for k in range(len(run)):
            whole = k + 1 == len(run)
            task = Task(0, row, run[: k + 1], carry_over, close_out=whole, apart=True)
            found = evaluate(context, task)
            if found.error:
                return found
            out[place] = found.rows[0, -1]
            if found.failures:
                out[place]["status"] = STATUS_ERROR
            place += 1
    return None


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
