"""Resampled paths in tests: markets with sessions, and the plain kernel as the judge."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from sweep.backtest.tasks import Context, Task, evaluate, orders_in_flight
from sweep.kernel import build_kernel
from sweep.scenarios.evaluate import PathContext, path_context
from sweep.scenarios.resample.plan import plan_path
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.scenarios.resample.ticks import derive_ticks
from sweep.schema import STATUS_BAD_ORDER, Account, Costs, Slice, Ticks
from sweep.stats.metrics import merge
from sweep.strategy.declare import Strategy
from sweep.strategy.space import SearchSpace
from sweep.ticks.mapped import attach
from tests.evaluation import wide_space
from tests.generators import SECOND, read_only
from tests.kernel.test_lanes import held

MINUTE = 60 * SECOND
DAY = 1_440 * MINUTE

#: 6 May 2024, a Monday.
MONDAY = 19_849 * DAY


def session_market(
    draw: np.random.Generator,
    sessions: int = 6,
    ticks: int = 300,
    *,
    sizes: bool = False,
    crossed: bool = False,
    grid: int = 100,
    hours: float = 8.0,
) -> Ticks:
    """A random walk in ticks of a grid, in sessions from 08:00 on, with equal stamps."""
    stamps = []
    for day in range(sessions):
        n = int(draw.integers(max(ticks // 2, 2), ticks + 1))
        inner = np.sort(draw.integers(0, round(hours * 60) * MINUTE // SECOND, n)) * SECOND
        inner[0], inner[-1] = 0, round(hours * 60) * MINUTE
        stamps.append(MONDAY + (day + 2 * (day // 5)) * DAY + 8 * 60 * MINUTE + inner)
    ts = np.concatenate(stamps)
    n = len(ts)
    bid = 130_000 + np.cumsum(draw.integers(-30, 31, n))
    ask = bid + draw.choice((-2, 0, 1, 2, 9) if crossed else (0, 1, 2, 9), n)
    size = draw.integers(1, 9, (2, n)) / 8 if sizes else np.empty((2, 0))
    return read_only(Ticks(ts, bid / grid, ask / grid, size[0], size[1]))


def context_on(
    ticks: Ticks,
    strategy: Strategy,
    spec: ResampleSpec,
    costs: Costs,
    account: Account,
    *,
    space: SearchSpace | None = None,
    begin: int = 0,
    end: int | None = None,
) -> PathContext:
    space = wide_space(strategy) if space is None else space
    room = orders_in_flight(ticks.ts, costs.latency)
    context = Context(held(ticks), build_kernel(strategy, space), costs, account, room)
    return path_context(context, strategy, space, spec, begin, end)


def by_plain_kernel(context: PathContext, params: np.ndarray, number: int) -> Any:
    """The row of one variant on a path: its ticks written out, evaluated as any others."""
    ticks = attach(context.context.ticks)
    path = plan_path(context.resampler, ticks, number)
    written = derive_ticks(context.resampler, ticks, path)
    edges = [*path.edges[path.starts].tolist(), path.n_ticks]
    slices = tuple(Slice(a, b, a) for a, b in pairwise(edges))
    room = orders_in_flight(written.ts, context.context.costs.latency)
    plain = replace(context.context, ticks=held(written), capacity=room)
    found = evaluate(plain, Task(0, params[None, :], slices, carry_over=False), 1)
    assert not found.error, found.error
    rows = found.rows[0]
    for m in range(1, len(rows)):
        if rows[m - 1]["status"] == STATUS_BAD_ORDER:
            rows[m] = rows[m - 1]
    whole = rows[:1]
    for m in range(1, len(rows)):
        whole = merge(whole, rows[m : m + 1])
    return whole[0]
