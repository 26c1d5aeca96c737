"""A pass over a source gives the bits of an evaluation in memory, in bounded room."""

from __future__ import annotations

import functools
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from generators import SECOND, cost_models, tick_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep.backtest import segments
from sweep.backtest.segments import with_room
from sweep.backtest.stream.plan import Sizes, sizes_for
from sweep.backtest.stream.reader import SourceState
from sweep.backtest.stream.run import Streamed, evaluate_stream
from sweep.backtest.tasks import Context, Outcome, Task, evaluate, orders_in_flight
from sweep.engines.base import WorkerLostError
from sweep.engines.local import LocalEngine
from sweep.engines.serial import SerialEngine
from sweep.engines.worker import run_marked
from sweep.errors import DataError, InputError, StoreError, StrategyError
from sweep.kernel import build_kernel
from sweep.schema import Account, Costs, Slice, Ticks
from sweep.strategy.declare import strategy_from_source
from sweep.strategy.space import SearchSpace
from sweep.ticks import mapped, store
from sweep.ticks.mapped import attach
from sweep.ticks.quality import Checker, Policies
from sweep.ticks.slices import cut_evenly
from sweep.ticks.sources import SourceSpec, fingerprint, open_chunks, write_parquet
from sweep.ticks.store import import_ticks
from sweep.ticks.synthetic import SynthSpec

ROOT = Path(__file__).parents[2]

STRATEGY = """
from typing import NamedTuple
from sweep.strategy import Space, boolean, integer, real


class Params(Space):
    fast: float = real(1, 100, default=4)
    slow: float = real(1, 1000, default=30)
    short: bool = boolean(default=True)
    wait: int = integer(0, 100_000, default=0)
    bad_after: int = integer(0, 10**9, default=10**9)
    raise_after: int = integer(0, 10**9, default=10**9)


class State(NamedTuple):
    fast: float
    slow: float
    seen: int


def warmup(params):
    return params.wait


def start(tick, params):
    return State(tick.mid, tick.mid, 1)


def step(state, tick, params, account):
    fast = state.fast + (tick.mid - state.fast) * 2.0 / (params.fast + 1.0)
    slow = state.slow + (tick.mid - state.slow) * 2.0 / (params.slow + 1.0)
    target = 1.0 if fast > slow else (-1.0 if params.short else 0.0)
    if account.position != 0.0 and tick.ts - account.entry_ts > 10_000_000_000:
        target = 0.5 * target
    if state.seen > params.bad_after:
        target = float("nan")
    if state.seen > params.raise_after:
        raise ValueError("too far")
    return State(fast, slow, state.seen + 1), target
"""

COSTS = Costs(1e-5, 0.01, 0.0, 0.001, 0.0, 0, "mid")
ACCOUNT = Account(200.0, 1.0, 300 * SECOND, 252.0)
MARKET = SourceSpec(
    "synth", synth=SynthSpec(seed=5, sessions=2, ticks_per_session=4_000, sizes=True)
)


@functools.cache
def space_and_kernel() -> tuple[SearchSpace, Any]:
    strategy = strategy_from_source(STRATEGY, "streamed.py")
    space = SearchSpace.of(strategy.params)
    return space, build_kernel(strategy, space)


def variants(count: int, **fixed: Any) -> np.ndarray:
    space, _ = space_and_kernel()
    numbers = np.random.default_rng(7).uniform(1.0, 60.0, (count, 2))
    return np.stack(
        [
            space.encode({"fast": a, "slow": 5.0 * b, "short": bool(k % 2), **fixed})
            for k, (a, b) in enumerate(numbers)
        ]
    )


def context_for(source: SourceSpec, costs: Costs = COSTS, account: Account = ACCOUNT) -> Context:
    handle = import_ticks(source).handle
    room = orders_in_flight(attach(handle).ts, costs.latency)
    return Context(handle, space_and_kernel()[1], costs, account, room)


def in_memory(
    context: Context, params: np.ndarray, slices: tuple[Slice, ...] | None = None, **how: Any
) -> Outcome:
    slices = (Slice(0, context.ticks.n_ticks, 0),) if slices is None else slices
    return evaluate(context, Task(0, params, slices, **how))


def streamed(source: SourceSpec, context: Context, params: np.ndarray, *rest: Any, **how: Any):
    how = {"engine": SerialEngine(), "sizes": Sizes(block=1_000), **how}
    bare = replace(context, ticks=replace(context.ticks, path="nowhere"), capacity=0)
    return evaluate_stream(source, bare, params, *rest, **how)


def same(found: Streamed, expected: Outcome) -> bool:
    if found.equity is None or expected.equity is None:
        assert found.equity is expected.equity
    elif found.equity.tobytes() != expected.equity.tobytes():
        return False
    return found.rows.tobytes() == expected.rows.tobytes()


def sessions_of(context: Context) -> tuple[int, ...]:
    """Return the edges of some sessions, which nothing else ends at."""
    n = context.ticks.n_ticks
    return (0, *sorted({n // 7, n // 3, n // 3 + 1, n // 2 + 13, n - 2}), n)


@pytest.fixture(autouse=True)
def _leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A store in memory of the test's own, empty at its end."""
    monkeypatch.setenv("SWEEP_SHM", str(tmp_path_factory.mktemp("shm")))
    yield
    assert not list(store.root("memory").glob(".scratch-*"))


# -- the same bits ---------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 1_000, 8_001, 1 << 18])
@pytest.mark.parametrize("batch", [1, 5, None])
def test_rows_do_not_depend_on_blocks_and_batches(block: int, batch: int | None) -> None:
    source = MARKET
    if block < 100:
        source = replace(MARKET, synth=SynthSpec(seed=5, sessions=1, ticks_per_session=300))
    context = context_for(source)
    params = variants(6)
    found = streamed(source, context, params, sizes=Sizes(block=block), batch=batch)
    assert same(found, in_memory(context, params))
    assert found.n_ticks == context.ticks.n_ticks


@pytest.mark.parametrize("latency", [0, 1, 3 * SECOND, 2_000 * SECOND, 10**6 * SECOND])
def test_orders_go_on_from_block_to_block(latency: int) -> None:
    """Blocks of 300 ticks last some 2,000 s: orders may wait for many blocks."""
    costs = replace(COSTS, latency=latency)
    context = context_for(MARKET, costs)
    params = variants(5)
    found = streamed(MARKET, context, params, sizes=Sizes(block=300, ring=3))
    assert same(found, in_memory(context, params))


@pytest.mark.parametrize("carry_over", [True, False])
@pytest.mark.parametrize("count", [1, 3, 50])
@pytest.mark.parametrize("block", [97, 1_000])
def test_slices_fall_into_blocks_as_they_please(carry_over: bool, count: int, block: int) -> None:
    context = context_for(MARKET, replace(COSTS, latency=3 * SECOND))
    params = variants(5, wait=40)
    search = Slice(123, context.ticks.n_ticks - 456, 50)
    slices = cut_evenly(search, count)
    how: dict[str, Any] = {"carry_over": carry_over, "edges": sessions_of(context)}
    found = streamed(MARKET, context, params, slices, sizes=Sizes(block=block), **how)
    assert same(found, in_memory(context, params, slices, **how))


def test_a_warm_up_reaches_back_over_many_blocks() -> None:
    context = context_for(MARKET)
    params = np.concatenate([variants(2, wait=0), variants(2, wait=700), variants(2, wait=5_000)])
    end = context.ticks.n_ticks
    holdout = (Slice(end - 1_500, end, 10),)
    found = streamed(MARKET, context, params, holdout, sizes=Sizes(block=200), carry_over=False)
    assert same(found, in_memory(context, params, holdout, carry_over=False))


def test_slices_may_leave_gaps_where_they_are_independent() -> None:
    context = context_for(MARKET)
    params = variants(4, wait=30)
    slices = (Slice(100, 150, 80), Slice(1_000, 1_001, 990), Slice(3_333, 6_000, 150))
    how: dict[str, Any] = {"carry_over": False, "edges": sessions_of(context)}
    found = streamed(MARKET, context, params, slices, sizes=Sizes(block=64), **how)
    assert same(found, in_memory(context, params, slices, **how))
    with pytest.raises(ValueError, match="sessions from 0 to 5999 do not cover"):
        streamed(MARKET, context, params, slices, carry_over=False, edges=(0, 5_999))
    with pytest.raises(ValueError, match="do not cover"):
        streamed(MARKET, context, params, edges=(0, context.ticks.n_ticks))


def test_a_position_may_stay_open() -> None:
    context = context_for(MARKET)
    params = variants(4)
    found = streamed(MARKET, context, params, close_out=False)
    assert same(found, in_memory(context, params, close_out=False))


def test_more_variants_than_fit_take_several_passes() -> None:
    context = context_for(MARKET)
    params = variants(7)
    read: list[int] = []
    found = streamed(
        MARKET,
        context,
        params,
        sizes=Sizes(block=1_000, variants=3),
        progress=lambda rows, _: read.append(rows),
    )
    assert same(found, in_memory(context, params))
    assert read.count(max(read)) == 3
    whole, edges = (Slice(0, context.ticks.n_ticks, 0),), sessions_of(context)
    found = streamed(MARKET, context, params, whole, edges=edges, sizes=Sizes(variants=3))
    assert same(found, in_memory(context, params, edges=edges))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_leave_no_trace(workers: int) -> None:
    context = context_for(MARKET, replace(COSTS, latency=3 * SECOND))
    params = variants(9)
    engine = LocalEngine(workers)
    try:
        for batch in (2, None):
            found = streamed(
                MARKET, context, params, engine=engine, sizes=Sizes(block=700), batch=batch
            )
            assert same(found, in_memory(context, params))
    finally:
        engine.close(cancel=True)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    ticks=tick_series(min_size=20, max_size=150),
    costs=cost_models(),
    block=st.integers(1, 60),
    cuts=st.sets(st.integers(1, 150), max_size=5),
    carry_over=st.booleans(),
    wait=st.integers(0, 30),
    begin=st.integers(0, 15),
    sessions=st.sets(st.integers(1, 150), max_size=6),
)
def test_any_market_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory,
    ticks: Ticks,
    costs: Costs,
    block: int,
    cuts: set[int],
    carry_over: bool,
    wait: int,
    begin: int,
    sessions: set[int],
) -> None:
    path = tmp_path_factory.mktemp("any") / "ticks.parquet"
    write_parquet(iter([{"ts": ticks.ts, "bid": ticks.bid, "ask": ticks.ask}]), path)
    source = SourceSpec(str(path))
    context = context_for(source, replace(costs, half_spread=0.0))
    edges = sorted({begin, *(c for c in cuts if begin < c < len(ticks.ts)), len(ticks.ts)})
    slices = tuple(Slice(a, b, begin if carry_over else 0) for a, b in itertools.pairwise(edges))
    params = variants(3, wait=wait)
    opened = (0, *sorted(s for s in sessions if s < len(ticks.ts)), len(ticks.ts))
    how: dict[str, Any] = {"carry_over": carry_over, "edges": opened}
    found = streamed(source, context, params, slices, sizes=Sizes(block=block, ring=2), **how)
    assert same(found, in_memory(context, params, slices, **how))


def test_real_gold(real_ticks: Path) -> None:
    source = SourceSpec(str(real_ticks / "xauusd-oanda-2014-05.parquet"))
    context = context_for(source, replace(COSTS, latency=SECOND // 4))
    params = variants(6)
    expected = in_memory(context, params)
    engine = LocalEngine(2)
    try:
        for block in (70_001, 1 << 18):
            found = streamed(source, context, params, engine=engine, sizes=Sizes(block=block))
            assert same(found, expected)
    finally:
        engine.close(cancel=True)


def test_a_ring_of_orders_keeps_its_orders_whatever_its_room() -> None:
    costs = replace(COSTS, latency=100 * SECOND)
    context = context_for(MARKET, costs)
    task = Task(0, variants(4), (Slice(0, 5_000, 0),), close_out=False, keep=True)
    carry = evaluate(context, task).carry
    assert carry is not None
    pending = int(carry.carries["pending"].max())
    assert pending > 0
    moved = with_room(with_room(carry, pending), pending + 5)
    for v in range(4):
        for name in ("due", "targets"):
            ring, other = getattr(carry, name)[v], getattr(moved, name)[v]
            places = (carry.carries["head"][v] + np.arange(carry.carries["pending"][v])) % len(ring)
            assert ring[places].tolist() == other[: len(places)].tolist()


# -- checks and policies ---------------------------------------------------------------


def odd_ticks(path: Path, *, count: int = 5_000) -> Path:
    """A file with a missing price, crossed quotes and stamps that run backwards."""
    stream = np.random.default_rng(3)
    bid = 100.0 + np.cumsum(stream.integers(-2, 3, count)) / 100.0
    ask = bid + 0.02
    ts = np.arange(count) * SECOND
    bid[[40, 2_000]] = np.nan
    ask[[100, 101, 3_000]] = 1.0
    ts[[500, 4_000]] -= 30 * SECOND
    write_parquet(iter([{"ts": ts, "bid": bid, "ask": ask}]), path)
    return path


LENIENT = (
    Policies(nan="drop", crossed="drop", backward="drop"),
    Policies(nan="fill", crossed="keep", backward="sort", outlier="drop"),
)


@pytest.mark.parametrize("policies", LENIENT)
def test_policies_hold_as_in_an_import(tmp_path: Path, policies: Policies) -> None:
    source = SourceSpec(str(odd_ticks(tmp_path / "odd.parquet")), policies=policies)
    context = context_for(source)
    params = variants(4)
    found = streamed(source, context, params, sizes=Sizes(block=300, run=700))
    assert same(found, in_memory(context, params))


def test_what_is_refused_is_refused_in_the_same_words(tmp_path: Path) -> None:
    source = SourceSpec(str(odd_ticks(tmp_path / "odd.parquet")))
    with pytest.raises(DataError) as of_import:
        import_ticks(source)
    context = replace(context_for(MARKET))
    with pytest.raises(DataError) as of_pass:
        streamed(source, context, variants(2), sizes=Sizes(block=300))
    assert str(of_pass.value) == str(of_import.value)


def test_a_source_shorter_than_its_slices_is_refused() -> None:
    context = context_for(MARKET)
    end = context.ticks.n_ticks + 1
    with pytest.raises(DataError, match="the last slice ends at tick"):
        streamed(MARKET, context, variants(2), (Slice(0, end, 0),))


def test_ticks_after_the_last_slice_are_checked_unless_told_not_to(tmp_path: Path) -> None:
    source = SourceSpec(str(odd_ticks(tmp_path / "odd.parquet")))
    context = context_for(MARKET)
    cut = (Slice(0, 30, 0),)
    with pytest.raises(DataError, match="missing"):
        streamed(source, context, variants(2), cut)


@pytest.mark.parametrize("odd", [False, True])
def test_checks_are_repeated_only_where_they_changed_the_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: bool
) -> None:
    path = tmp_path / "ticks.parquet"
    if odd:
        odd_ticks(path)
    else:
        write_parquet(open_chunks(MARKET), path)
    source = SourceSpec(str(path), policies=LENIENT[0])
    context = context_for(source)
    report = import_ticks(source).report
    assert report.untouched is not odd
    checked: list[int] = []
    whole = Checker.rows
    monkeypatch.setattr(
        Checker, "rows", lambda self, chunks: checked.append(1) or whole(self, chunks)
    )
    seen = SourceState(fingerprint(source), report.untouched, 3)
    params = variants(4)
    found = streamed(source, context, params, sizes=Sizes(block=300), seen=seen)
    assert same(found, in_memory(context, params))
    assert bool(checked) is odd


def test_slots_are_written_over_and_mapped_once(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    whole = segments.attach_slot
    monkeypatch.setattr(
        segments, "attach_slot", lambda handle: paths.append(handle.path) or whole(handle)
    )
    context = context_for(MARKET)
    params = variants(3)
    for _ in range(2):
        found = streamed(MARKET, context, params, sizes=Sizes(block=500, ring=2))
        assert same(found, in_memory(context, params))
    assert len(paths) > 24
    assert len(set(paths)) == 4  # two in each pass
    assert set(mapped._slots) == set(paths[-2:])  # those of the first are let go of


def test_a_lost_worker_costs_no_slot() -> None:
    context = context_for(MARKET)
    params = variants(3)
    slots: set[str] = set()

    def lose(count: int, arguments: Any) -> bool:
        slots.add(arguments[1][0].ticks.path)
        return count % 7 == 0

    engine = LossyEngine(lose)
    found = streamed(MARKET, context, params, sizes=Sizes(block=300, ring=3), engine=engine)
    assert same(found, in_memory(context, params))
    assert engine.recycled > 2
    assert len(slots) <= 3


def test_slots_give_their_memory_back_when_a_pass_ends() -> None:
    context = context_for(MARKET)
    streamed(MARKET, context, variants(2), sizes=Sizes(block=500, ring=2))
    kept = [column for slot in mapped._slots.values() for column in slot.values() if len(column)]
    assert kept
    assert not any(column.any() for column in kept)  # holes, which read as zeros


def test_a_source_that_is_written_to_during_an_unchecked_pass_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    ts = np.arange(1_000) * SECOND
    ts[500] = 0
    write_parquet(iter([{"ts": ts, "bid": np.full(1_000, 1.0), "ask": np.full(1_000, 1.1)}]), path)
    source = SourceSpec(str(path))
    seen = SourceState(fingerprint(source), True, 3)
    with pytest.raises(DataError, match="the source changed while it was read"):
        streamed(source, context_for(MARKET), variants(2), seen=seen)


def test_a_damaged_file_is_named_and_nothing_stays(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    spec = SynthSpec(seed=1, sessions=6, ticks_per_session=100_000)
    from sweep.ticks.synthetic import generate

    write_parquet(generate(spec), path)
    context = context_for(SourceSpec(str(path)))
    whole = path.read_bytes()
    offset = pq.read_metadata(path).row_group(5).column(1).data_page_offset
    broken = bytearray(whole)
    broken[offset + 200 : offset + 400] = bytes(200)
    path.write_bytes(broken)
    with pytest.raises(DataError, match=r"ticks\.parquet: the file is damaged.*after row"):
        streamed(SourceSpec(str(path)), context, variants(2))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged, cut short"):
        streamed(SourceSpec(str(path)), context, variants(2))


# -- variants that fail ----------------------------------------------------------------


@pytest.mark.parametrize("carry_over", [True, False])
def test_a_variant_that_fails_leaves_the_others_alone(carry_over: bool) -> None:
    context = context_for(MARKET)
    params = np.concatenate([variants(3), variants(1, bad_after=2_500), variants(2)])
    slices = cut_evenly(Slice(0, context.ticks.n_ticks, 0), 4)
    if not carry_over:
        params[3] = variants(1, bad_after=1_100)[0]
    how: dict[str, Any] = {"carry_over": carry_over, "edges": sessions_of(context)}
    expected = in_memory(context, params, slices, **how)
    found = streamed(MARKET, context, params, slices, **how)
    assert same(found, expected)
    assert expected.equity is not None
    assert np.isnan(expected.equity).all(axis=1).tolist() == [v == 3 for v in range(6)]
    assert found.failures == expected.failures
    assert len(found.failures) == 1


def test_a_variant_that_raises_is_told_from_the_others() -> None:
    context = context_for(MARKET)
    params = np.concatenate([variants(3), variants(1, raise_after=2_500), variants(2)])
    slices = cut_evenly(Slice(0, context.ticks.n_ticks, 0), 4)
    expected = in_memory(context, params, slices)
    found = streamed(MARKET, context, params, slices)
    assert [v for v, _ in found.failures] == [3]
    assert "ValueError" in found.failures[0][1]
    assert (found.rows[3]["status"] == expected.rows[3]["status"]).all()
    others = [0, 1, 2, 4, 5]
    assert found.rows[others].tobytes() == expected.rows[others].tobytes()


FEATURED = """
from typing import NamedTuple
import numpy as np
from sweep.features import rolling_mean
from sweep.strategy import Space, integer

class Params(Space):
    window: int = integer(2, 500, default=40)
    wait: int = integer(0, 1_000, default=0)

class State(NamedTuple):
    seen: int

class Features(NamedTuple):
    mean: np.ndarray

def features(ticks, params):
    return Features(rolling_mean(ticks.mid, params.window))

def lookback(params):
    return params.window

def warmup(params):
    return params.wait

def start(tick, params):
    return State(1)

def step(state, tick, params, features):
    return State(state.seen + 1), 1.0 if tick.mid > features.mean else -1.0
"""


@pytest.mark.parametrize("carry_over", [True, False])
@pytest.mark.parametrize("begin", [0, 777])
def test_features_that_look_back_so_far_go_from_block_to_block(
    carry_over: bool, begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.backtest.feature_blocks.BLOCK", 600)
    strategy = strategy_from_source(FEATURED, "featured.py")
    space = SearchSpace.of(strategy.params)
    context = replace(context_for(MARKET), kernel=build_kernel(strategy, space))
    params = np.stack(
        [space.encode({"window": w, "wait": n}) for w in (3, 40, 450) for n in (0, 30, 700)]
    )
    end = context.ticks.n_ticks
    for slices in (
        cut_evenly(Slice(begin, end, begin), 3),
        (Slice(begin + 1_500, end - 100, begin),),
        (Slice(begin + 1_300, begin + 1_450, begin),),
    ):
        how: dict[str, Any] = {"carry_over": carry_over, "edges": sessions_of(context)}
        found = streamed(MARKET, context, params, slices, **how)
        assert same(found, in_memory(context, params, slices, **how))


def refused(source: str) -> pytest.ExceptionInfo[StrategyError]:
    strategy = strategy_from_source(source, "refused.py")
    kernel = build_kernel(strategy, SearchSpace.of(strategy.params))
    context = replace(context_for(MARKET), kernel=kernel)
    with pytest.raises(StrategyError) as error:
        streamed(MARKET, context, np.full((1, 1), 3.0))
    return error


def test_a_strategy_that_needs_all_ticks_at_once_is_refused() -> None:
    error = refused("""
from typing import NamedTuple
import numpy as np
from sweep.strategy import Space, real

class Params(Space):
    window: float = real(1, 100, default=4)

class State(NamedTuple):
    seen: int

class Features(NamedTuple):
    mean: np.ndarray

def features(ticks, params):
    return Features(np.cumsum(ticks.mid))

def start(tick, params):
    return State(1)

def step(state, tick, params, features):
    return State(1), 1.0 if features.mean > 0.0 else 0.0
""")
    assert error.match(r"refused\.py: features\(\).*data\.store = \"disk\"")


def test_a_strategy_with_arrays_in_its_state_is_refused() -> None:
    error = refused("""
from typing import NamedTuple
import numpy as np
from sweep.strategy import Space, real

class Params(Space):
    window: float = real(1, 100, default=4)

class State(NamedTuple):
    seen: np.ndarray

def start(tick, params):
    return State(np.zeros(4))

def step(state, tick, params):
    return state, 1.0
""")
    assert error.match("State holds arrays")


# -- workers that die ------------------------------------------------------------------


class LossyEngine(SerialEngine):
    """Loses each task for which ``loses`` says so."""

    workers = 2

    def __init__(self, loses: Callable[[int, Any], bool]) -> None:
        super().__init__()
        self.loses, self.count, self.recycled = loses, 0, 0

    def submit(self, function: Callable[..., Any], /, *given: Any) -> Future[Any]:
        self.count += 1
        mark, arguments = "", list(given)
        if function is run_marked:
            mark, function, *arguments = arguments
        if not self.loses(self.count, arguments):
            return super().submit(function, *arguments)
        if mark:
            run_marked(mark, int)  # it had begun
        future: Future[Any] = Future()
        future.set_exception(WorkerLostError("lost on purpose"))
        return future

    def recycle(self) -> None:
        self.recycled += 1


def test_a_lost_task_is_repeated_from_the_carry_that_it_began_with() -> None:
    context = context_for(MARKET, replace(COSTS, latency=3 * SECOND))
    params = variants(6)
    engine = LossyEngine(lambda count, _: count % 5 == 0)
    whole, edges = (Slice(0, context.ticks.n_ticks, 0),), sessions_of(context)
    how: dict[str, Any] = {"engine": engine, "sizes": Sizes(block=500), "batch": 2}
    found = streamed(MARKET, context, params, whole, edges=edges, **how)
    assert engine.recycled > 3
    assert same(found, in_memory(context, params, edges=edges))


def test_a_variant_that_kills_its_workers_fails_alone() -> None:
    context = context_for(MARKET)
    params = variants(6)
    deadly = params[4].tobytes()

    def loses(_: int, arguments: Any) -> bool:
        return any(deadly in task.params.tobytes() for task in arguments[1])

    whole, edges = (Slice(0, context.ticks.n_ticks, 0),), sessions_of(context)
    engine = LossyEngine(loses)
    found = streamed(MARKET, context, params, whole, edges=edges, engine=engine, batch=3)
    expected = in_memory(context, params, edges=edges)
    assert found.equity is not None
    assert expected.equity is not None
    assert np.isnan(found.equity[4]).all()
    assert found.equity[[0, 1, 2, 3, 5]].tobytes() == expected.equity[[0, 1, 2, 3, 5]].tobytes()
    assert [v for v, _ in found.failures] == [4]
    assert "worker died" in found.failures[0][1]
    others = [0, 1, 2, 3, 5]
    assert found.rows[others].tobytes() == expected.rows[others].tobytes()


def test_a_worker_killed_in_mid_pass_changes_nothing() -> None:
    source = replace(MARKET, synth=SynthSpec(seed=5, sessions=6, ticks_per_session=40_000))
    context = context_for(source)
    params = variants(8)
    engine = LocalEngine(2)
    engine.submit(os.getpid).result(timeout=600)
    killed: list[int] = []

    def kill(rows: int, _: float | None) -> None:
        if rows > 100_000 and not killed:
            killed.append(engine.pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    try:
        found = streamed(
            source, context, params, engine=engine, sizes=Sizes(block=5_000), progress=kill
        )
    finally:
        engine.close(cancel=True)
    assert killed
    assert same(found, in_memory(context, params))


# -- room ------------------------------------------------------------------------------


def test_a_full_disk_is_said_to_be_full() -> None:
    context = context_for(MARKET)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"is full; .*data\.memory"):
            streamed(MARKET, context, variants(2), sizes=Sizes(block=4_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_blocks_go_to_the_disk_where_memory_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_for(MARKET)
    asked: list[str] = []
    real = store.scratch

    def scratch(where: str) -> Any:
        asked.append(where)
        return real(where)

    monkeypatch.setattr(store, "scratch", scratch)
    monkeypatch.setattr(store, "has_room", lambda where, needed: False)
    found = streamed(MARKET, context, variants(2))
    assert asked == ["disk"]
    assert same(found, in_memory(context, variants(2)))


def test_too_little_memory_is_refused_with_what_it_takes() -> None:
    with pytest.raises(InputError, match=r"data\.memory: 10 MB are too little .* takes \d+ MB"):
        sizes_for(10_000_000, space_and_kernel()[1])


def test_equity_at_the_ends_of_sessions_takes_from_the_memory_of_a_pass() -> None:
    kernel = space_and_kernel()[1]
    plain, many = (sizes_for(10**9, kernel, n_cells=n) for n in (0, 5_000))
    assert plain.block == many.block
    assert 5_000 * 8 * many.variants < 10**9
    # Ten times as many variants have ten times as much equity.
    more = sizes_for(5 * 10**9, kernel, n_cells=5_000)
    assert 4 * 10**9 / 1.1 < (more.variants - many.variants) * 5_000 * 8 < 4 * 10**9
    with pytest.raises(InputError, match="too little"):
        sizes_for(100_000_000, kernel, n_cells=8_000)


@dataclass
class _Peak:
    """The most that this process, its workers and the blocks take together."""

    bytes: int = 0

    def look(self) -> None:
        own = psutil.Process()
        total = 0
        for process in (own, *own.children(recursive=True)):
            try:
                total += process.memory_full_info().uss
            except psutil.Error:
                continue
        for where in ("disk", "memory"):
            for path in store.root(where).glob(".scratch-*/*/*"):
                try:
                    total += path.stat().st_size
                except OSError:
                    continue
        self.bytes = max(self.bytes, total)


MEASURE = """
import sys
sys.path[:0] = {paths!r}
import test_stream

if __name__ == "__main__":
    test_stream.measure(sys.argv[1:])
"""


def measure(paths: list[str]) -> None:
    """Print the base and the peak of a pass over each file, in one process after another."""
    engine = LocalEngine(1)
    _, kernel = space_and_kernel()
    context = Context(import_ticks(SourceSpec(paths[0])).handle, kernel, COSTS, ACCOUNT, capacity=2)
    # Everything loaded and used once, so that the base is what processes take anyway.
    evaluate_stream(SourceSpec(paths[0]), context, variants(64), engine=engine, sizes=Sizes(4_096))
    base = _Peak()
    base.look()
    peaks = []
    for path in paths:
        peak = _Peak()
        evaluate_stream(
            SourceSpec(path),
            context,
            variants(64),
            engine=engine,
            memory=100_000_000,
            progress=lambda *_, peak=peak: peak.look(),
        )
        peaks.append(peak.bytes)
    engine.close(cancel=True)
    print(base.bytes, *peaks)


def test_memory_is_bounded_by_the_setting_however_long_the_series(tmp_path: Path) -> None:
    paths = []
    for sessions in (8, 24):
        path = tmp_path / f"{sessions}.parquet"
        from sweep.ticks.synthetic import generate

        write_parquet(
            generate(SynthSpec(seed=2, sessions=sessions, ticks_per_session=100_000)), path
        )
        paths.append(str(path))
    script = tmp_path / "measure.py"
    script.write_text(
        MEASURE.format(paths=[str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    )
    out = subprocess.run(
        [sys.executable, str(script), *paths], capture_output=True, text=True, timeout=600
    )
    assert out.returncode == 0, out.stderr
    base, short, long = map(int, out.stdout.split())
    # 38 MB of ticks more, and none of it shows.
    assert long - short < 15e6
    assert long - base < 100e6


# -- the end ---------------------------------------------------------------------------


def test_an_interrupt_ends_the_pass_and_leaves_nothing() -> None:
    context = context_for(MARKET)
    calls: list[int] = []

    def interrupted() -> bool:
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(KeyboardInterrupt):
        streamed(MARKET, context, variants(4), sizes=Sizes(block=100), interrupted=interrupted)


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
from test_stream import *

if __name__ == "__main__":
    context = context_for(MARKET)
    def wait(rows, share):
        print("on the way", flush=True)
        time.sleep(60)
    streamed(MARKET, context, variants(4), sizes=Sizes(block=100), progress=wait)
"""


@pytest.mark.slow
def test_what_a_killed_pass_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    context = context_for(MARKET)
    script = tmp_path / "killed.py"
    script.write_text(
        KILLED.format(paths=[str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on the way\n"
    found = list(store.root("memory").glob(".scratch-*"))
    with store.scratch("memory"):
        assert all(p.exists() for p in found)  # in use
    process.kill()
    process.wait()
    process.stdout.close()
    assert any(p.exists() for p in found)
    assert same(streamed(MARKET, context, variants(2)), in_memory(context, variants(2)))
    assert not any(p.exists() for p in found)


def test_reading_and_evaluating_overlap() -> None:
    """Each block is evaluated until the next one is read: one after the other, none would end."""
    context = context_for(MARKET)
    read, changed = 0, threading.Condition()

    class WaitingEngine(SerialEngine):
        evaluated = 0

        def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
            self.evaluated += 1
            with changed:
                assert changed.wait_for(lambda: read > self.evaluated, timeout=600)
            return super().submit(function, *arguments)

    from sweep.ticks import sources

    def counted(self: Any) -> Iterator[Any]:
        nonlocal read
        for chunk in chunks(self):
            for k in range(0, len(chunk["ts"]), 100):
                yield {n: c[k : k + 100] for n, c in chunk.items()}
                with changed:
                    read += 1
                    changed.notify()
        with changed:
            read = 1 << 60
            changed.notify()

    chunks = sources.Reading.chunks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources.Reading, "chunks", counted)
        # Checks gather chunks into blocks of their own, unless those are small.
        patch.setattr("sweep.ticks.quality.BLOCK", 100)
        engine = WaitingEngine()
        streamed(MARKET, context, variants(2), engine=engine, sizes=Sizes(block=100), batch=2)
    assert engine.evaluated > 50
