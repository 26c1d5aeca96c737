"""What a tick costs a variant on one core: Sweep's kernel against Numba, C and Python.

Three workloads: a crossover of two exponential averages with windows as a user of these
ticks would search them; the same with windows so short that it trades all the time; and
a strategy with branches (a band, a stop loss, a time stop). Every arm does the same full
accounting, to the same bits, which is checked before anything is timed: fills at the
next tick's bid or ask, a commission, equity and drawdown at every tick, moments of the
returns of each minute, and the figures of every round trip.
"""

from __future__ import annotations

import inspect
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sweep.backtest.tasks import Context, Task, evaluate, orders_in_flight
from sweep.bench.frame import (
    BenchError,
    BenchResult,
    Figure,
    Settings,
    figure,
    machine,
    ratios,
    timed,
)
from sweep.bench.native import Native, compile_arms, compiler
from sweep.bench.scalar import COUNTS, SUMS, Arms, write_arms
from sweep.bench.ticks import bench_ticks
from sweep.kernel import build_kernel
from sweep.schema import Account, Costs, FloatArray2D, Slice, TickHandle, Ticks
from sweep.strategy.declare import load_strategy
from sweep.strategy.space import SearchSpace
from sweep.ticks.mapped import attach

__all__ = ["CLOCK", "RATE", "WORKLOADS", "Workload", "context_of", "run", "strategy_file"]

#: Commission as a share of the notional; the clock of returns; a capital that no variant
#: loses, so that no row stops early.
RATE = 2e-5
CLOCK = 60_000_000_000
CAPITAL = 1e6

_TICKS = 2_000_000
_QUICK_TICKS = 4_000
#: What vanilla Python is given: it needs about a microsecond for what others do in one
#: or a few nanoseconds.
_PYTHON_TICKS, _PYTHON_VARIANTS = 100_000, 4
#: What the compilations of the C arm are tried on, to take the quickest.
_TRIAL_TICKS = 100_000


class Workload(NamedTuple):
    """A strategy with the variants that it is evaluated for.

    Attributes
    ----------
    prefix : str
        Of the figures' names.
    strategy : str
        A file of ``sweep/bench/strategies``, a function of `sweep.bench.scalar`.
    axes : tuple of tuple
        Values of each parameter; the variants are their product.
    """

    prefix: str
    strategy: str
    axes: tuple[tuple[float, ...], ...]

    @property
    def params(self) -> FloatArray2D:
        """Parameters, ndarray of shape (n_variants, n_params), float64."""
        grid = np.meshgrid(*self.axes, indexing="ij")
        return np.ascontiguousarray(np.stack([axis.ravel() for axis in grid], axis=1))


def _log(low: float, high: float, points: int) -> tuple[float, ...]:
    return tuple(float(v) for v in np.geomspace(low, high, points))


WORKLOADS = (
    Workload("", "crossover", (_log(50, 2_000, 16), _log(2_100, 50_000, 16))),
    Workload("short_", "crossover", (_log(5, 50, 16), _log(60, 500, 16))),
    Workload(
        "branchy_",
        "band",
        (_log(500, 20_000, 4), (1.5, 2.0, 2.5, 3.0), _log(2e-4, 2e-3, 4), (500, 1e3, 2e3, 5e3)),
    ),
)


def strategy_file(name: str) -> Path:
    """Return the path of one of the benches' own strategies."""
    return Path(__file__).parent / "strategies" / f"{name}.py"


def context_of(name: str, handle: TickHandle) -> Context:
    """Return what tasks of one of the benches' strategies share, its kernel compiled."""
    strategy = load_strategy(strategy_file(name))
    return Context(
        ticks=handle,
        kernel=build_kernel(strategy, SearchSpace.of(strategy.params)),
        costs=Costs(RATE, 0.0, 0.0, 0.0, 0.0, 0, "mid"),
        account=Account(CAPITAL, 1.0, CLOCK, 252.0 * 24.0 * 60.0),
        capacity=orders_in_flight(attach(handle).ts, 0),
    )


@dataclass(frozen=True)
class _Found:
    """Figures of all variants: sums and counts as in `sweep.bench.scalar`."""

    sums: FloatArray2D
    counts: np.ndarray[Any, np.dtype[np.int64]]


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
    compiled = write_arms(numba.njit(error_model="numpy"))
    figures: list[Figure] = []
    notes = [
        f"{len(ticks.ts):,} ticks on one core, its CPU time; commission {RATE:g} of the notional, "
        f"latency 0, returns by the minute, no warm-up"
    ]
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        natives, said = _natives(Path(folder), settings)
        notes += said
        for workload in WORKLOADS:
            if settings.quick:
                workload = workload._replace(axes=tuple(axis[::2] for axis in workload.axes))
            settings.say(f"{workload.prefix}{workload.strategy}: {len(workload.params)} variants")
            more, said = _workload(workload, handle, ticks, compiled, natives, settings)
            figures += more
            notes += said
    return BenchResult("kernel", tuple(figures), tuple(notes))


def _natives(folder: Path, settings: Settings) -> tuple[list[Native], list[str]]:
    command = compiler()
    if command is None:
        return [], ["C skipped: there is no compiler (gcc, clang or cc, or $CC)"]
    wide = machine()["simd"] == "avx512f"
    lanes = (32,) if settings.quick else (32, 64, 128)
    return compile_arms(folder, command, wide=wide, lanes=lanes), []


def _workload(
    workload: Workload,
    handle: TickHandle,
    ticks: Ticks,
    compiled: Arms,
    natives: list[Native],
    settings: Settings,
) -> tuple[list[Figure], list[str]]:
    params = workload.params
    context = context_of(workload.strategy, handle)
    task = Task(number=0, params=params, slices=(Slice(0, len(ticks.ts), 0),))
    scalar = getattr(compiled, workload.strategy)
    prefix = workload.prefix
    notes = []

    wanted = _hand_written(scalar, ticks, params)
    arms: dict[str, Callable[[], object]] = {
        "lanes": partial(_sweep, context, task),
        "scalar": partial(_hand_written, scalar, ticks, params),
    }
    if "width" in inspect.signature(evaluate).parameters:
        arms["fallback"] = partial(_sweep, context, task, width=1)
    for name in ("lanes", "fallback"):
        if name in arms:
            _compare(name, workload, wanted, arms[name]())
    if natives:
        native = _quickest(natives, workload, ticks, params)
        arms["c"] = partial(_native, native, workload, ticks, params)
        _compare("C", workload, wanted, arms["c"]())
        notes.append(f"{prefix}{workload.strategy}: C with {native.name}")

    part, few = _for_python(ticks, params, settings)
    lists = tuple(column.tolist() for column in part[:3])
    plain = getattr(write_arms(lambda function: function), workload.strategy)
    arms["python"] = partial(_vanilla, plain, lists, few.tolist())
    _compare("Python", workload, _hand_written(scalar, part, few), arms["python"]())

    seconds = timed(arms, settings.rounds(5), clock=time.thread_time)
    work = {name: len(ticks.ts) * len(params) for name in arms}
    work["python"] = len(part.ts) * len(few)
    ns = {name: [1e9 * s / work[name] for s in seconds[name]] for name in arms}
    figures = [
        figure(f"{prefix}lanes_over_{name}", "x", ratios(ns[name], ns["lanes"]), settings)
        for name in ("scalar", "c", "python")
        if name in ns
    ]
    figures += [
        figure(f"{prefix}{name}_ns", "ns", values, settings, note=_ARMS[name])
        for name, values in ns.items()
    ]
    trades = wanted.counts[:, COUNTS.index("trades")]
    notes.append(
        f"{prefix}{workload.strategy}: {len(params)} variants, {int(np.median(trades)):,} trades "
        f"in the median, all arms equal to the bit"
    )
    return figures, notes


_ARMS = {
    "lanes": "Sweep",
    "fallback": "Sweep, one variant after the other",
    "scalar": "Numba, written by hand, one variant after the other",
    "c": "C, written by hand, in lanes",
    "python": "the scalar loop without Numba, on fewer ticks and variants",
}


def _for_python(
    ticks: Ticks, params: FloatArray2D, settings: Settings
) -> tuple[Ticks, FloatArray2D]:
    most = _QUICK_TICKS if settings.quick else _PYTHON_TICKS
    part = ticks.between(0, min(most, len(ticks.ts)))
    return part, params[:: max(len(params) // _PYTHON_VARIANTS, 1)][:_PYTHON_VARIANTS]


def _room(variants: int) -> _Found:
    return _Found(np.zeros((variants, len(SUMS))), np.zeros((variants, len(COUNTS)), np.int64))


def _hand_written(arm: Callable[..., None], ticks: Ticks, params: FloatArray2D) -> _Found:
    found = _room(len(params))
    arm(*ticks[:3], params, CAPITAL, RATE, CLOCK, found.sums, found.counts)
    return found


def _native(native: Native, workload: Workload, ticks: Ticks, params: FloatArray2D) -> _Found:
    found = _room(len(params))
    native.run(
        workload.strategy, *ticks[:3], params, CAPITAL, RATE, CLOCK, found.sums, found.counts
    )
    return found


def _vanilla(arm: Callable[..., None], columns: tuple[Any, ...], params: list[Any]) -> _Found:
    sums = [[0.0] * len(SUMS) for _ in params]
    counts = [[0] * len(COUNTS) for _ in params]
    arm(*columns, params, CAPITAL, RATE, CLOCK, sums, counts)
    return _Found(np.array(sums), np.array(counts))


def _sweep(context: Context, task: Task, **settings: Any) -> _Found:
    outcome = evaluate(context, task, **settings)
    if outcome.error or outcome.failures:
        raise BenchError(f"Sweep failed: {outcome.error or outcome.failures[0]}")
    rows = outcome.rows[:, -1]
    return _Found(
        np.stack([rows[name] for name in SUMS], axis=1),
        np.stack([rows[name] for name in COUNTS], axis=1),
    )


def _quickest(
    natives: list[Native], workload: Workload, ticks: Ticks, params: FloatArray2D
) -> Native:
    part = ticks.between(0, min(_TRIAL_TICKS, len(ticks.ts)))
    arms = {n.name: partial(_native, n, workload, part, params) for n in natives}
    seconds = timed(arms, 3, clock=time.thread_time)
    return min(natives, key=lambda n: min(seconds[n.name]))


def _compare(arm: str, workload: Workload, wanted: _Found, found: Any) -> None:
    """Refuse an arm whose figures are not the scalar loop's, to the bit."""
    for names, ours, theirs in (
        (SUMS, wanted.sums, found.sums),
        (COUNTS, wanted.counts, found.counts),
    ):
        same = (ours == theirs) | ((ours != ours) & (theirs != theirs))
        if same.all():
            continue
        v, j = (int(k) for k in np.argwhere(~same)[0])
        raise BenchError(
            f"{workload.strategy}: {arm} differs from the scalar loop in {int((~same).sum())} "
            f"figures, the first {names[j]} of variant {v} ({workload.params[v].tolist()}): "
            f"{theirs[v, j].item()!r}, expected {ours[v, j].item()!r}"
        )
