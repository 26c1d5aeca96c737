"""Sweep itself: the kernel that studies run, called as a worker calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sweep.backtest.tasks import Task, evaluate
from sweep.bench.kernel import context_of
from sweep.schema import Slice, TickHandle

PACKAGES = ("sweep", "numba")
ACCOUNTING = "equity, drawdown, returns and trades at every tick"
MOST = 1 << 40

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Map the ticks from the store and load the kernel, compiled if it is not cached."""
    handle = TickHandle(**{**terms["handle"], "columns": tuple(terms["handle"]["columns"])})
    context = context_of("crossover", handle)
    context = replace(
        context,
        costs=replace(context.costs, commission_rate=terms["rate"]),
        account=replace(context.account, capital=terms["cash"]),
    )
    task = Task(0, np.array(pairs, dtype=np.float64), (Slice(0, len(bid), 0),))

    def run() -> Rows:
        outcome = evaluate(context, task)
        if outcome.error or outcome.failures:
            raise RuntimeError(outcome.error or outcome.failures[0][1])
        rows = outcome.rows[:, 0]
        # Of the round trips: equity less capital would cost digits. All trips are closed.
        return [(r["gross_profit"] - r["gross_loss"], r["fills"], r["commission"]) for r in rows]

    return lambda: run
