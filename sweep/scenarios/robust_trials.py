"""Trials of a robust search: the history itself, and paths of it, as slices of one task.

Where an objective holds functionals over paths, each trial is evaluated on the history and
on the same paths as every other. The flow of a study sees slices: the first is the search
range, and path p the slice that would follow after all ticks and the paths before it, if
all had the range's length. That is a name and no place: `path_slices` gives it out,
`evaluate_robust` reads it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from sweep.backtest.tasks import Context, Outcome, Task, evaluate
from sweep.kernel import load_kernel
from sweep.scenarios.evaluate import PathContext, PathOutcome, PathTask, evaluate_paths
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.schema import ROW, FloatArray2D, Slice
from sweep.ticks.mapped import attach
from sweep.ticks.sessions import find_sessions, sessions_by_clock

__all__ = ["RobustContext", "evaluate_robust", "path_slices", "with_restart"]

#: Share of a session that a warm-up may take where strategies begin afresh at each.
_WARM_SHARE = 0.25


@dataclass(frozen=True)
class RobustContext:
    """What all tasks of a robust search share.

    Attributes
    ----------
    history : Context
    paths : PathContext
    search : Slice
        The range of the history, which paths are drawn from.
    """

    history: Context
    paths: PathContext
    search: Slice

    def path_of(self, part: Slice) -> int:
        """Return the number of the path that a slice names, or -1 for the history."""
        after_end = part.begin - self.history.ticks.n_ticks
        return -1 if after_end < 0 else after_end // (self.search.end - self.search.begin)


def path_slices(n_ticks: int, search: Slice, n_paths: int) -> tuple[Slice, ...]:
    """Return the slices of a trial: the search range, and one for each path.

    Parameters
    ----------
    n_ticks : int
        Of the whole series.
    search : Slice
    n_paths : int
    """
    length = search.end - search.begin
    begins = [n_ticks + p * length for p in range(n_paths)]
    return (search, *(Slice(begin, begin + length, begin) for begin in begins))


def with_restart(
    context: Context, spec: ResampleSpec, params: FloatArray2D, begin: int, end: int
) -> tuple[ResampleSpec, tuple[str, ...]]:
    """Choose where strategies begin afresh on a path, where the spec leaves it open.

    By default they do at each session, unless a warm-up takes much of one: they would
    hardly trade. Then state and position go through, which is sound where the blocks are
    long against holding times.

    Parameters
    ----------
    context : Context
    spec : ResampleSpec
    params : ndarray of shape (n_variants, n_params), float64
        Whose warm-ups count.
    begin, end : int
        Range of ticks that paths are drawn from.

    Returns
    -------
    spec : ResampleSpec
    said : tuple of str
        Why it is another.
    """
    if spec.restart is not None or spec.restarts != "session":
        return spec, ()
    kernel = load_kernel(context.kernel)
    longest = max(int(kernel.warmup(kernel.params(row))) for row in params)
    ts = attach(context.ticks).ts
    gap = None if spec.gap is None else round(spec.gap * 60e9)
    if spec.opens is None:
        found = find_sessions(ts, begin, end, gap=gap)
    else:
        found = sessions_by_clock(ts, spec.opens, begin, end)
    usual = float(np.median(found.ends - found.begins))
    if longest <= _WARM_SHARE * usual:
        return spec, ()
    said = (
        f"a warm-up of {longest:,} ticks takes {longest / usual:.0%} of a session of {usual:,.0f}, "
        f"so that state and position go through instead of starting afresh at each session"
    )
    return replace(spec, restart="never"), (said,)


def evaluate_robust(context: RobustContext, task: Task) -> Outcome:
    """Evaluate a task whose slices are the history, or paths. Never raises.

    Parameters
    ----------
    context : RobustContext
    task : Task
        Without a carry.

    Returns
    -------
    Outcome
        A row for each slice.
    """
    began = time.perf_counter()
    rows = np.zeros((len(task.params), len(task.slices)), ROW)
    reasons: dict[int, str] = {}
    kernel_s = 0.0
    uss = 0
    equity: FloatArray2D | None = None
    at = 0
    # Paths that follow each other are evaluated together; the history is no path.
    numbers = enumerate(context.path_of(part) for part in task.slices)
    for _, run in groupby(numbers, key=lambda item: item[1] - item[0] if item[1] >= 0 else "no"):
        own = [number for _, number in run]
        here = slice(at, at + len(own))
        at += len(own)
        found: Outcome | PathOutcome
        if own[0] < 0:
            alone = replace(task, slices=task.slices[here], carry_over=False)
            found = evaluate(context.history, alone)
            equity = found.equity
        else:
            some = PathTask(task.number, task.params, own[0], own[-1] + 1)
            found = evaluate_paths(context.paths, some)
        if found.error:
            return Outcome(task.number, rows, error=found.error, pid=os.getpid())
        rows[:, here] = found.rows
        kernel_s, uss = kernel_s + found.kernel_seconds, found.uss_bytes
        for v, *_, reason in found.failures:
            reasons.setdefault(v, str(reason))
    return Outcome(
        number=task.number,
        rows=rows,
        failures=tuple(sorted(reasons.items())),
        seconds=time.perf_counter() - began,
        kernel_seconds=kernel_s,
        pid=os.getpid(),
        uss_bytes=uss,
        equity=equity,
    )
