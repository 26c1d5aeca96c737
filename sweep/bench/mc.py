"""What a tick of a resampled path costs, against a tick of the series itself.

A variant on 1,000 paths of the ticks (sessions; for some of the paths also slots, and
blocks counted in ticks), against many variants on the ticks as they are, in lanes; and
against what a user of Numba would write: each path written out, and a scalar loop over
it. Rows are compared to the bit before anything is timed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from sweep.backtest.tasks import Task, evaluate
from sweep.bench.frame import BenchError, BenchResult, Figure, Settings, figure, ratios, timed
from sweep.bench.kernel import CLOCK, RATE, WORKLOADS, Workload, context_of, strategy_file
from sweep.bench.scalar import COUNTS, SUMS, write_arms
from sweep.bench.ticks import bench_ticks
from sweep.scenarios.evaluate import PathContext, PathTask, evaluate_paths, path_context
from sweep.scenarios.resample.plan import plan_path
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.scenarios.resample.ticks import derive_ticks
from sweep.schema import Slice, Ticks
from sweep.strategy.declare import load_strategy
from sweep.strategy.space import SearchSpace
from sweep.ticks.mapped import attach

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 2_000_000, 60_000
_PATHS, _QUICK_PATHS = 1_000, 24
#: Paths of the arms that are timed round by round.
_SOME, _QUICK_SOME = 64, 16
#: Paths that the scalar loop takes, each written out.
_FEW, _QUICK_FEW = 4, 2
_MEMORY, _QUICK_MEMORY = (100, 10_000), (16, 64)
_CAPITAL = 1e6
_SEED = 1

#: The methods by the prefix of their figures.
_SPECS = {
    "": ResampleSpec("sessions", seed=_SEED),
    "slots_": ResampleSpec("slots", seed=_SEED),
    "blocks_": ResampleSpec("stationary", seed=_SEED),
}


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text.

    Raises
    ------
    BenchError
        If arms disagree.
    """
    import numba

    handle = bench_ticks(settings, _TICKS, _QUICK_TICKS)
    ticks = attach(handle)
    scalar = write_arms(numba.njit(error_model="numpy"))
    some = _QUICK_SOME if settings.quick else _SOME
    figures: list[Figure] = []
    notes = [
        f"{len(ticks.ts):,} ticks; one variant on one core, its CPU time; commission {RATE:g} of "
        f"the notional, latency 0, returns by the minute, no warm-up"
    ]
    for workload in (WORKLOADS[0], WORKLOADS[2]):
        name = workload.strategy
        plain = context_of(name, handle)
        strategy = load_strategy(strategy_file(name))
        space = SearchSpace.of(strategy.params)
        params = workload.params[len(workload.params) // 7 :][:1]
        lanes = Task(0, workload.params[::4], (Slice(0, len(ticks.ts), 0),))
        for prefix, spec in _SPECS.items():
            if name != WORKLOADS[0].strategy and prefix:
                continue
            settings.say(f"{name} on {some} paths of {spec.method}")
            context = path_context(plain, strategy, space, spec)
            few = _QUICK_FEW if settings.quick else _FEW
            written = [_written_out(context, ticks, number) for number in range(few)]
            loop = partial(_loop, getattr(scalar, name), written, params)
            _compare(context, workload, params, loop())
            arms: dict[str, Callable[[], object]] = {
                "path": partial(_paths, context, params, some),
                "lane": partial(_checked, evaluate, plain, lanes),
                "scalar": loop,
            }
            seconds = timed(arms, settings.rounds(5), clock=time.thread_time)
            n = [plan_path(context.resampler, ticks, k).n_ticks for k in range(some)]
            work = {"path": sum(n), "lane": len(ticks.ts) * len(lanes.params)}
            work["scalar"] = sum(n[:few])
            ns = {arm: [1e9 * s / work[arm] for s in seconds[arm]] for arm in arms}
            own = f"{workload.prefix}{prefix}"
            figures += [
                figure(f"{own}path_over_lane_cost", "x", ratios(ns["path"], ns["lane"]), settings),
                figure(f"{own}path_over_scalar", "x", ratios(ns["scalar"], ns["path"]), settings),
                *(figure(f"{own}{arm}_ns", "ns", ns[arm], settings) for arm in ns),
            ]
            if not prefix:
                notes.append(f"{name}: rows equal to the bit in all arms")
            if name == WORKLOADS[0].strategy and not prefix:
                figures += _many(context, params, settings)
    return BenchResult("mc", tuple(figures), tuple(notes))


def _many(context: PathContext, params: Any, settings: Settings) -> list[Figure]:
    """Return the time of 1,000 paths on one core, and the memory of few and of many paths."""
    n = _QUICK_PATHS if settings.quick else _PATHS
    settings.say(f"{n:,} paths")
    began = time.thread_time()
    _paths(context, params, n)
    seconds = time.thread_time() - began
    few, many = _QUICK_MEMORY if settings.quick else _MEMORY
    # Memory does not depend on how long a path is: a part of the ticks is enough.
    resampler = context.resampler
    last = min(resampler.sessions.ends[min(2, len(resampler.sessions) - 1)], resampler.end)
    short = replace(resampler, end=int(last), sessions=_first(resampler.sessions, 3))
    small = replace(context, resampler=short)
    used = []
    for paths in (few, many):
        before = _own_mib()
        _paths(small, params, paths)
        used.append(_own_mib() - before)
    return [
        figure("thousand_paths_seconds", "s", [seconds], settings, note=f"{n:,} paths, CPU time"),
        figure(
            "paths_growth_mib", "MiB", [used[1]], settings, note=f"from {few:,} to {many:,} paths"
        ),
    ]


def _first(sessions: Any, n: int) -> Any:
    return type(sessions)(*(column[:n] for column in sessions))


def _own_mib() -> float:
    import psutil

    return float(psutil.Process(os.getpid()).memory_full_info().uss) / 2**20


def _checked(call: Callable[..., Any], *arguments: Any) -> Any:
    outcome = call(*arguments)
    if outcome.error or outcome.failures:
        raise BenchError(f"Sweep failed: {outcome.error or outcome.failures[0]}")
    return outcome


def _paths(context: PathContext, params: Any, n: int) -> Any:
    return _checked(evaluate_paths, context, PathTask(0, params, 0, n)).rows[0]


def _written_out(context: PathContext, ticks: Ticks, number: int) -> list[Ticks]:
    """Return the ticks of each stretch of a path."""
    path = plan_path(context.resampler, ticks, number)
    written = derive_ticks(context.resampler, ticks, path)
    edges = [*path.edges[path.starts].tolist(), path.n_ticks]
    return [written.between(a, b) for a, b in pairwise(edges)]


def _loop(
    arm: Callable[..., None], written: list[list[Ticks]], params: Any
) -> list[tuple[Any, Any]]:
    """Return the figures of each stretch of paths by the loop over their ticks."""
    found = []
    for stretches in written:
        sums = np.zeros((len(stretches), 1, len(SUMS)))
        counts = np.zeros((len(stretches), 1, len(COUNTS)), np.int64)
        for m, part in enumerate(stretches):
            arm(*part[:3], params, _CAPITAL, RATE, CLOCK, sums[m], counts[m])
        found.append((sums[:, 0], counts[:, 0]))
    return found


def _compare(
    context: PathContext,
    workload: Workload,
    params: Any,
    found: list[tuple[Any, Any]],
) -> None:
    """Refuse stretches whose figures are not those of the loop, to the bit."""
    outcome = _checked(evaluate_paths, context, PathTask(0, params, 0, len(found), apart=True))
    for number, (sums, counts) in enumerate(found):
        rows = outcome.stretches[0][number]
        for names, theirs in ((SUMS, sums), (COUNTS, counts)):
            for j, name in enumerate(names):
                own = rows[name]
                same = (own == theirs[:, j]) | ((own != own) & (theirs[:, j] != theirs[:, j]))
                if not same.all():
                    raise BenchError(
                        f"{workload.strategy}: {name} of path {number} differs from the scalar "
                        f"loop's in {int((~same).sum())} stretches"
                    )
