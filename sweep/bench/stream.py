"""How close a pass over a Parquet file comes to the slower of reading and evaluating.

One worker evaluates while this process reads, so that on two cores each has one: Arrow,
which would decode on every core, is held to one thread in all arms. Three loads: as many
variants as take about as long as the reading (where nothing can hide behind anything), a
quarter of them (reading is the slower half) and four times as many (evaluation is). The
kernel alone goes over the same ticks in the store, in the same worker and batches. Rows
are compared to the bit before anything is timed.

A pass is for series larger than memory, and what it costs to begin and to end is no
throughput: a series that is read within a blink is repeated, shifted by whole weeks, until
it is long enough. `short_of_slower` is that of the series as it was given. Reading is
decoding and conversion, as in a pass of a study, whose checks ran when it looked at the
source first; `checked_ticks_per_s` is what that costs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweep.backtest.stream.plan import batch_size
from sweep.backtest.stream.reader import SourceState
from sweep.backtest.stream.run import evaluate_stream
from sweep.backtest.tasks import Context, Task, evaluate
from sweep.bench.frame import BenchError, BenchResult, Figure, Settings, figure, ratios, timed
from sweep.bench.kernel import context_of
from sweep.bench.ticks import market
from sweep.engines.local import LocalEngine
from sweep.schema import FloatArray2D, Rows, Slice
from sweep.ticks import sources, store
from sweep.ticks.quality import Checker, Chunk
from sweep.ticks.sources import SourceSpec
from sweep.ticks.synthetic import generate

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 4_000_000, 100_000
#: Ticks that are long enough.
_LONG = 24_000_000
_WEEK = 7 * 86_400 * 10**9
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
        given = SourceSpec(str(_parquet(settings, Path(folder))))
        source = SourceSpec(str(_repeated(given, settings, Path(folder))))
        long, short = (_Series.of(s) for s in (source, given))
        engine = LocalEngine(1)
        threads = pa.cpu_count()
        raw = [_raw(source) for _ in range(settings.rounds(5) + 1)][1:]
        pa.set_cpu_count(1)
        try:
            checked = timed({"": partial(_check, source)}, settings.rounds(3))[""]
            figures, table = _loads(settings, long, engine, "", _LOADS)
            if long.n_ticks > short.n_ticks:
                more, rows = _loads(settings, short, engine, "short_", _LOADS[1:2])
                figures, table = figures + more, table + rows
        finally:
            pa.set_cpu_count(threads)
            engine.close(cancel=True)
    for name, seconds, note in (
        ("checked", checked, "reading with every check of an import, which a study does once"),
        ("raw", raw, "pyarrow alone, every core, nothing converted or checked"),
    ):
        rates = [long.n_ticks / s for s in seconds]
        figures.append(figure(f"{name}_ticks_per_s", "1/s", rates, settings, note=note))
    names = ("ticks", "variants", "reading, ns", "kernel, ns", "stream, ns")
    times = long.n_ticks / short.n_ticks
    notes = [
        f"{long.n_ticks:,} ticks, {short.n_ticks:,} of the source {times:.3g} times; "
        f"reading has one core; one worker",
        "rows of each pass equal those in memory to the bit",
    ]
    title = "for each tick: one after the other, and together"
    return BenchResult("stream", tuple(figures), tuple(notes), ((title, names, tuple(table)),))


def _parquet(settings: Settings, folder: Path) -> Path:
    if settings.source is not None and settings.source != sources.SYNTH:
        return Path(settings.source)
    path = folder / "ticks.parquet"
    sources.write_parquet(generate(market(_QUICK_TICKS if settings.quick else _TICKS)), path)
    return path


def _repeated(given: SourceSpec, settings: Settings, folder: Path) -> Path:
    """Write a series after itself, whole weeks later each time, until it is long enough."""
    handle = store.import_ticks(given).handle
    times = 1 if settings.quick else -(-_LONG // handle.n_ticks)
    if times == 1:
        return Path(given.path)
    weeks = (handle.last_ts - handle.first_ts) // _WEEK + 1

    def chunks() -> Iterator[Chunk]:
        for k in range(times):
            for chunk in sources.open_chunks(given):
                yield {**chunk, "ts": chunk["ts"] + k * weeks * _WEEK}

    path = folder / "repeated.parquet"
    sources.write_parquet(chunks(), path)
    return path


@dataclass(frozen=True)
class _Series:
    """Ticks in a file and in the store."""

    source: SourceSpec
    context: Context
    seen: SourceState

    @classmethod
    def of(cls, source: SourceSpec) -> _Series:
        found = store.import_ticks(source)
        context = context_of("crossover", found.handle)
        columns = len(found.handle.columns)
        seen = SourceState(sources.fingerprint(source), found.report.untouched, columns)
        return cls(source, context, seen)

    @property
    def n_ticks(self) -> int:
        return self.context.ticks.n_ticks


def _loads(
    settings: Settings,
    series: _Series,
    engine: LocalEngine,
    kind: str,
    loads: tuple[tuple[str, float], ...],
) -> tuple[list[Figure], list[tuple[float, ...]]]:
    n_ticks = series.n_ticks
    read = partial(_read, series)
    probe = partial(_evaluate, series.context, _variants(_PROBE), engine)
    for arm in (read, probe):
        arm()  # loads what is loaded once
    once = timed({"read": read, "probe": probe}, settings.rounds(5))
    even = np.median(once["read"]) / np.median(once["probe"]) * _PROBE
    figures: list[Figure] = []
    table: list[tuple[float, ...]] = []
    for name, load in loads:
        prefix = kind + name
        params = _variants(max(round(even * load), 1))
        settings.say(f"{len(params)} variants")
        arms: dict[str, Callable[[], object]] = {
            "read": read,
            "kernel": partial(_evaluate, series.context, params, engine),
            "stream": partial(_stream, series, params, engine),
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
        each = (1e9 * median[name] / n_ticks for name in arms)
        table.append((n_ticks, len(params), *each))
    return figures, table


def _variants(count: int) -> FloatArray2D:
    fast = np.geomspace(50, 2_000, count)
    slow = np.geomspace(2_100, 50_000, count)[:: -1 if count % 2 else 1]
    return np.ascontiguousarray(np.stack([fast, slow], axis=1))


def _read(series: _Series) -> int:
    """Read a source as a pass of a study does, and keep nothing."""
    if not series.seen.untouched:
        return _check(series.source)
    return sum(len(chunk["ts"]) for chunk in sources.read(series.source).chunks())


def _check(source: SourceSpec) -> int:
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


def _stream(series: _Series, params: FloatArray2D, engine: LocalEngine) -> Rows:
    found = evaluate_stream(
        series.source, series.context, params, engine=engine, whole=False, seen=series.seen
    )
    return found.rows
