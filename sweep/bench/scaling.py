"""Whether N workers evaluate N times as much as one, and how long workers wait.

Throughput is that of the local engine on equal tasks, its workers started and warm.
Waiting is that of a whole study whose sampler learns (500 trials of TPE).
"""

from __future__ import annotations

import math
import tempfile
import time
from concurrent.futures import wait
from functools import partial
from pathlib import Path

import numpy as np

from sweep.backtest.tasks import Context, Task, evaluate
from sweep.bench.frame import BenchError, BenchResult, Figure, Settings, figure, ratios, timed
from sweep.bench.kernel import WORKLOADS, context_of
from sweep.bench.launch import launch, write_study
from sweep.bench.ticks import bench_ticks
from sweep.engines.local import LocalEngine
from sweep.schema import Slice

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 2_000_000, 4_000
_VARIANTS = 128
_TRIALS, _QUICK_TRIALS = 500, 20
#: Seconds that one worker is kept busy in each measurement.
_SECONDS = 3.0


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text."""
    figures = [*_throughput(settings), *_waiting(settings)]
    notes = ["throughput: equal tasks on the engine, start-up left out; idle: a whole study"]
    return BenchResult("scaling", tuple(figures), tuple(notes))


def _counts(cores: int) -> list[int]:
    """Return 1, 2, 4 and so on up to the number of cores, 2 at the least."""
    most = max(cores, 2)
    return sorted({*(1 << k for k in range(most.bit_length())), most} - {0})


def _throughput(settings: Settings) -> list[Figure]:
    handle = bench_ticks(settings, _TICKS, _QUICK_TICKS)
    context = context_of("crossover", handle)
    params = np.ascontiguousarray(WORKLOADS[0].params[:_VARIANTS])
    task = Task(0, params, (Slice(0, handle.n_ticks, 0),))
    wanted = evaluate(context, task)
    began = time.perf_counter()
    evaluate(context, task)
    each = time.perf_counter() - began
    per_worker = 2 if settings.quick else max(math.ceil(_SECONDS / each), 4)
    cores = LocalEngine(None).workers if not settings.quick else 2
    engines = {n: LocalEngine(n) for n in [m for m in _counts(cores) if m <= max(cores, 2)]}
    try:
        for n, engine in engines.items():
            settings.say(f"{n} workers")
            _warm(engine, context, task, wanted.rows)
        arms = {str(n): partial(_all, e, context, task, n * per_worker) for n, e in engines.items()}
        seconds = timed(arms, settings.rounds(5))
    finally:
        for engine in engines.values():
            engine.close(cancel=True)
    rates = {n: [n * per_worker / s for s in seconds[str(n)]] for n in engines}
    figures = [figure("two_workers_over_one", "x", ratios(rates[2], rates[1]), settings)]
    figures += [
        figure(
            f"share_of_{n}_times_one",
            "share",
            [r / n for r in ratios(rates[n], rates[1])],
            settings,
            note=f"throughput of {n} workers over {n} times that of one",
        )
        for n in engines
        if n > 1
    ]
    work = handle.n_ticks * len(params)
    figures += [
        figure(
            f"rate_of_{n}",
            "1e9/s",
            [r * work / 1e9 for r in rates[n]],
            settings,
            note=f"ticks times variants, {n} worker{'s'[: n > 1]}",
        )
        for n in engines
    ]
    return figures


def _warm(engine: LocalEngine, context: Context, task: Task, wanted: np.ndarray) -> None:
    """Let every worker load what it needs, and compare its rows."""
    seen: set[int] = set()
    for _ in range(50):
        futures = [engine.submit(evaluate, context, task) for _ in range(2 * engine.workers)]
        for future in futures:
            outcome = future.result()
            if outcome.error or outcome.rows.tobytes() != wanted.tobytes():
                raise BenchError(f"a worker's rows differ from this process's: {outcome.error}")
            seen.add(outcome.pid)
        if len(seen) == engine.workers:
            return
    raise BenchError(f"only {len(seen)} of {engine.workers} workers took tasks")


def _all(engine: LocalEngine, context: Context, task: Task, count: int) -> None:
    done, _ = wait([engine.submit(evaluate, context, task) for _ in range(count)])
    for future in done:
        if future.result().error:
            raise BenchError(future.result().error)


def _waiting(settings: Settings) -> list[Figure]:
    trials = _QUICK_TRIALS if settings.quick else _TRIALS
    idle, sampler = [], []
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        study = write_study(Path(folder) / "study.toml", settings, ticks=_TICKS, quick=_QUICK_TICKS)
        for k in range(settings.rounds(3, quick=1)):
            settings.say(f"a study of {trials} trials, tpe")
            flags = ("--sampler", "tpe", "--trials", str(trials))
            found = launch(study, Path(folder) / f"out{k}", *flags).run
            idle.append(float(found["idle_share"]))
            sampler.append(float(found["sampler_s"]) / float(found["elapsed_s"]))
    note = f"of the workers' time, {trials} trials of TPE"
    return [
        figure("idle_share_tpe_500", "share", idle, settings, note=note),
        figure("sampler_share_tpe_500", "share", sampler, settings, note="of the wall time"),
    ]
