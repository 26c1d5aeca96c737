"""How close a pass over a Parquet file comes to the slower of reading and evaluating.

One worker evaluates while this process reads, so that on two cores each has one: Arrow,
which would decode on every core, is held to one thread in all arms. Three loads: as many
variants as take about as long as the reading (where nothing can hide behind anything), a
quarter of them (reading is the slower half) and four times as many (evaluation is). The
kernel alone goes over the same ticks in the store, in the same worker and batches. Rows
are compared to the bit before anything is timed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweep import sources, store
from sweep.bench.frame import BenchError, BenchResult, Figure, Settings, figure, ratios, timed
from sweep.bench.kernel import context_of
from sweep.bench.ticks import market
from sweep.checks import Checker
from sweep.engines.local import LocalEngine
from sweep.schema import FloatArray2D, Rows, Slice
from sweep.sources import SourceSpec
from sweep.stream import batch_size, evaluate_stream
from sweep.synth import generate
from sweep.tasks import Context, Task, evaluate

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 4_000_000, 100_000
#: Loads, as multiples of the variants that take as long as the reading.
_LOADS = (("light_", 0.25), ("", 1.0), ("heavy_", 4.0))
#: Variants that the kernel's cost is taken from.
_PROBE = 128


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text.

    Raises
    ------
    BenchError
        If a pass gives other rows than an evaluation in memory.
    """
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        path = _parquet(settings, Path(folder))
        source = SourceSpec(str(path))
        handle = store.import_ticks(source).handle
        context = context_of("crossover", handle)
        engine = LocalEngine(1)
        threads = pa.cpu_count()
        raw = [_raw(source) for _ in range(settings.rounds(5) + 1)][1:]
        pa.set_cpu_count(1)
        try:
            return _loads(settings, source, context, engine, raw)
        finally:
            pa.set_cpu_count(threads)
            engine.close(cancel=True)


def _parquet(settings: Settings, folder: Path) -> Path:
    if settings.source is not None and settings.source != sources.SYNTH:
        return Path(settings.source)
    path = folder / "ticks.parquet"
    sources.write_parquet(generate(market(_QUICK_TICKS if settings.quick else _TICKS)), path)
    return path


def _loads(
    settings: Settings,
    source: SourceSpec,
    context: Context,
    engine: LocalEngine,
    raw: list[float],
) -> BenchResult:
    n_ticks = context.ticks.n_ticks
    read = partial(_read, source)
    probe = partial(_evaluate, context, _variants(_PROBE), engine)
    for arm in (read, probe):
        arm()  # loads what is loaded once
    once = timed({"read": read, "probe": probe}, settings.rounds(5))
    even = np.median(once["read"]) / np.median(once["probe"]) * _PROBE
    figures: list[Figure] = []
    table = []
    for prefix, load in _LOADS:
        params = _variants(max(round(even * load), 1))
        settings.say(f"{len(params)} variants")
        arms: dict[str, Callable[[], object]] = {
            "read": read,
            "kernel": partial(_evaluate, context, params, engine),
            "stream": partial(_stream, source, context, params, engine),
        }
        wanted, found = arms["kernel"](), arms["stream"]()
        assert isinstance(wanted, np.ndarray)
        assert isinstance(found, np.ndarray)
        if wanted.tobytes() != found.tobytes():
            raise BenchError(f"{len(params)} variants: a pass gives other rows than the memory")
        seconds = timed(arms, settings.rounds(7))
        slower = [max(pair) for pair in zip(seconds["read"], seconds["kernel"], strict=True)]
        note = f"{len(params)} variants"
        figures += [
            figure(
                f"{prefix}of_slower", "x", ratios(slower, seconds["stream"]), settings, note=note
            ),
            figure(
                f"{prefix}ticks_per_s",
                "1/s",
                [n_ticks / s for s in seconds["stream"]],
                settings,
                note=note,
            ),
        ]
        median = {name: float(np.median(values)) for name, values in seconds.items()}
        table.append((len(params), *(1e9 * median[name] / n_ticks for name in arms)))
    figures.append(
        figure(
            "raw_ticks_per_s",
            "1/s",
            [n_ticks / s for s in raw],
            settings,
            note="pyarrow alone, every core, nothing converted or checked",
        )
    )
    names = ("variants", "reading, ns a tick", "kernel, ns a tick", "stream, ns a tick")
    return BenchResult(
        "stream",
        tuple(figures),
        (
            f"{n_ticks:,} ticks; reading includes every check of an import and has one core; "
            f"one worker",
            "rows of each pass equal those in memory to the bit",
        ),
        (("one after the other, and together", names, tuple(table)),),
    )


def _variants(count: int) -> FloatArray2D:
    fast = np.geomspace(50, 2_000, count)
    slow = np.geomspace(2_100, 50_000, count)[:: -1 if count % 2 else 1]
    return np.ascontiguousarray(np.stack([fast, slow], axis=1))


def _read(source: SourceSpec) -> int:
    """Read and check a source, and keep nothing."""
    reading = sources.read(source)
    checker = Checker(source.policies, source.name, reading.files)
    with tempfile.TemporaryDirectory() as runs:
        chunks = store.checked(reading.chunks(), checker, Path(runs))
        return sum(len(chunk["ts"]) for chunk in chunks)


def _raw(source: SourceSpec) -> float:
    began = time.perf_counter()
    with pq.ParquetFile(source.path) as file:
        for _ in file.iter_batches(1 << 18):
            pass
    return time.perf_counter() - began


def _evaluate(context: Context, params: FloatArray2D, engine: LocalEngine) -> Rows:
    cuts = (Slice(0, context.ticks.n_ticks, 0),)
    size = batch_size(len(params), engine.workers)
    futures = [
        engine.submit(evaluate, context, Task(0, params[first : first + size], cuts))
        for first in range(0, len(params), size)
    ]
    outcomes = [future.result() for future in futures]
    for outcome in outcomes:
        if outcome.error or outcome.failures:
            raise BenchError(f"Sweep failed: {outcome.error or outcome.failures[0]}")
    return np.concatenate([outcome.rows for outcome in outcomes])


def _stream(
    source: SourceSpec, context: Context, params: FloatArray2D, engine: LocalEngine
) -> Rows:
    return evaluate_stream(source, context, params, engine=engine).rows
