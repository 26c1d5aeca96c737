"""A variant on a resampled path has, to the bit, the row of the path's ticks written out."""

from __future__ import annotations

import os
import pickle
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sweep.backtest.tasks import Task, evaluate
from sweep.engines.local import LocalEngine
from sweep.errors import StrategyError
from sweep.kernel.paths.build import build_path_kernel, load_path_kernel
from sweep.scenarios.evaluate import PathContext, PathTask, evaluate_paths
from sweep.scenarios.resample.plan import plan_path
from sweep.scenarios.resample.schedule import join, schedule
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.schema import STATUS_BAD_ORDER, STATUS_ERROR, Account, Costs, Slice
from sweep.search.designs import random as random_design
from sweep.stats.metrics import merge
from sweep.strategy.declare import strategy_from_source
from sweep.strategy.space import SearchSpace
from sweep.ticks.mapped import attach
from sweep.ticks.sources import SourceSpec, write_parquet
from sweep.ticks.store import import_ticks
from tests.evaluation import wide_space
from tests.generators import ACCOUNT_READER, SECOND, read_only
from tests.kernel.test_lanes import points, terms
from tests.paths import by_plain_kernel, context_on, session_market
from tests.random_strategies import strategy_text

HOUR = 3_600 * SECOND

#: Looks at stamps and quotes, trades often, and in one corner of its parameters gives an
#: order that is no number.
MOVER = """
from typing import NamedTuple

from sweep.strategy import Space, integer, real


class Params(Space):
    window: int = integer(1, 400, default=5)
    limit: float = real(0.0, 1e9, default=1e9)
    wait: int = integer(0, 100_000, default=0)


class State(NamedTuple):
    mean: float
    begun: int
    seen: int


def warmup(params):
    return params.wait


def start(tick, params):
    return State(tick.mid, tick.ts, 0)


def step(state, tick, params):
    mean = state.mean + (tick.mid - state.mean) / params.window
    target = 1.0 if tick.mid > mean else -1.0
    if state.seen % 7 == 3:
        target = 0.0
    if tick.ts - state.begun > 6 * 3_600_000_000_000:
        target = 0.5 * target
    if abs(tick.mid - mean) > params.limit:
        target = tick.mid / 0.0
    return State(mean, state.begun, state.seen + 1), target
"""

#: Wants what the tick's size says, overruled by its account; raises at a large size.
READER = ACCOUNT_READER.replace(
    "class State", "    most: float = real(0.0, 1e9, default=1e9)\n\n\nclass State"
).replace(
    "    target = tick.bid_size\n",
    "    target = tick.bid_size\n"
    "    if target > params.most:\n"
    "        raise ValueError('too large')\n",
)

CHEAP = Costs(2e-5, 0.0, 0.0, 0.0, 0.0, 0, "mid")
ACCOUNT = Account(100_000.0, 1.0, 60 * SECOND, 252.0)

SPECS = {
    "identity": ResampleSpec("identity"),
    "sessions": ResampleSpec("sessions", seed=1),
    "blocks of sessions, through": ResampleSpec("sessions", seed=2, block=2, restart="never"),
    "slots": ResampleSpec("slots", seed=3),
    "slots, through": ResampleSpec("slots", seed=4, block=60, restart="never"),
    "slots, each alone": ResampleSpec("slots", seed=5, block=120, restart="block"),
    "stationary": ResampleSpec("stationary", seed=6, block=40),
    "circular": ResampleSpec("circular", seed=7, block=64, restart="block"),
    "moving": ResampleSpec("moving", seed=8, block=70, level="ticks"),
    "sessions, off the grid": ResampleSpec("sessions", seed=9, tick_size=0.0),
    "single ticks": ResampleSpec("stationary", seed=10, block=1),
}


def mover_rows(draw: np.random.Generator, n: int, *, bad: bool = True) -> np.ndarray:
    rows = np.empty((n, 3))
    rows[:, 0] = draw.integers(1, 40, n)
    rows[:, 1] = draw.choice((1e9, 1.2) if bad else (1e9,), n)
    rows[:, 2] = draw.choice((0, 0, 5, 90, 700), n)
    return rows


def assert_rows_of_ticks(context: PathContext, params: np.ndarray, n: int, width: int) -> None:
    found = evaluate_paths(context, PathTask(0, params, 0, n), width)
    assert not found.error, found.error
    for v, k in np.ndindex(found.rows.shape):
        expected = by_plain_kernel(context, params[v], k)
        assert found.rows[v, k].tobytes() == expected.tobytes(), (v, k)


@pytest.mark.parametrize("name", SPECS)
def test_a_row_is_that_of_the_ticks_written_out(name: str) -> None:
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    strategy = strategy_from_source(MOVER, "mover.py")
    costs, account = terms(draw)
    ticks = session_market(draw, crossed=True)
    context = context_on(ticks, strategy, SPECS[name], costs, account)
    assert_rows_of_ticks(context, mover_rows(draw, 2), 19, int(draw.choice((8, 16, 64))))


@pytest.mark.parametrize("latency", [0, 1, 40 * SECOND, 3 * HOUR])
@pytest.mark.parametrize(("sessions", "n"), [(6, 9), (2, 40)])
def test_orders_in_flight_cross_joined_blocks(latency: int, sessions: int, n: int) -> None:
    """Also where paths run in groups that share source ticks: 40 paths of two sessions do."""
    draw = np.random.default_rng(3)
    strategy = strategy_from_source(MOVER, "mover.py")
    costs = Costs(0.0, 0.0, 1.0, 0.01, 0.0, latency, "close")
    ticks = session_market(draw, sessions)
    for restart in ("never", "session"):
        spec = ResampleSpec("slots", seed=4, block=60, restart=restart)
        context = context_on(ticks, strategy, spec, costs, ACCOUNT)
        assert grouped(context, n) == (sessions == 2)
        assert_rows_of_ticks(context, mover_rows(draw, 1), n, 64)


def grouped(context: PathContext, n: int) -> bool:
    """Whether the jobs of ``n`` paths share source ticks."""
    ticks = attach(context.context.ticks)
    plan = join([plan_path(context.resampler, ticks, k) for k in range(n)])
    return all(bool(jobs["group"].all()) for jobs in schedule(plan, 64))


def test_a_step_sees_its_own_account_and_the_sizes_of_the_source_tick() -> None:
    draw = np.random.default_rng(5)
    strategy = strategy_from_source(READER, "reader.py")
    params = np.array([[5e9, 2.0, 1000.0, 9.0], [200e9, 0.3, 1000.0, 9.0]])
    for name, sessions in (("sessions", 6), ("slots, through", 6), ("slots", 2), ("stationary", 6)):
        for latency in (0, 50 * SECOND):
            costs = Costs(2e-4, 0.0, 0.0, 0.01, 0.0, latency, "mid")
            ticks = session_market(draw, sessions, sizes=True)
            context = context_on(ticks, strategy, SPECS[name], costs, ACCOUNT)
            assert_rows_of_ticks(context, params, 16 if sessions == 2 else 9, 20)


def test_ticks_without_sizes_have_none_on_paths_either() -> None:
    draw = np.random.default_rng(17)
    strategy = strategy_from_source(READER, "reader.py")
    context = context_on(session_market(draw), strategy, SPECS["sessions"], CHEAP, ACCOUNT)
    params = np.array([[5e9, 2.0, 1000.0, 9.0]])
    assert_rows_of_ticks(context, params, 4, 8)
    found = evaluate_paths(context, PathTask(0, params, 0, 4))
    assert (found.rows["status"] == STATUS_BAD_ORDER).all()


def test_rows_do_not_depend_on_width_batch_range_or_variants_beside() -> None:
    draw = np.random.default_rng(7)
    strategy = strategy_from_source(MOVER, "mover.py")
    context = context_on(session_market(draw), strategy, SPECS["sessions"], CHEAP, ACCOUNT)
    context = pickle.loads(pickle.dumps(context))
    params = mover_rows(draw, 9)
    whole = evaluate_paths(context, PathTask(0, params, 0, 70), many=10)
    assert not whole.error
    for width in (1, 8, 24):
        few = evaluate_paths(context, PathTask(1, params[3:5], 17, 40), width)
        assert few.rows.tobytes() == whole.rows[3:5, 17:40].tobytes()
    side_by_side = evaluate_paths(context, PathTask(2, params, 30, 33))
    assert side_by_side.rows.tobytes() == whole.rows[:, 30:33].tobytes()
    assert side_by_side.failures == tuple(f for f in whole.failures if 30 <= f[1] < 33)


def test_workers_in_any_number_and_order_give_the_same_rows(tmp_path: Path) -> None:
    draw = np.random.default_rng(16)
    ticks = session_market(draw)
    columns = {name: c for name, c in ticks._asdict().items() if len(c)}
    write_parquet(iter([columns]), tmp_path / "ticks.parquet")
    handle = import_ticks(SourceSpec(path=str(tmp_path / "ticks.parquet"))).handle
    strategy = strategy_from_source(MOVER, "mover.py")
    context = context_on(ticks, strategy, SPECS["slots"], CHEAP, ACCOUNT)
    here = PathTask(0, mover_rows(draw, 2), 0, 12)
    expected = evaluate_paths(context, here)
    there = replace(context, context=replace(context.context, ticks=handle))
    for workers, parts in ((1, (0, 12)), (2, (0, 5, 6, 12))):
        engine = LocalEngine(workers)
        try:
            tasks = [replace(here, first=a, end=b) for a, b in pairwise(parts)]
            futures = [engine.submit(evaluate_paths, there, task) for task in reversed(tasks)]
            found = [future.result() for future in reversed(futures)]
        finally:
            engine.close(cancel=True)
        assert [outcome.error for outcome in found] == [""] * len(tasks)
        rows = np.concatenate([outcome.rows for outcome in found], axis=1)
        assert rows.tobytes() == expected.rows.tobytes()
        assert os.getpid() not in {outcome.pid for outcome in found}


def test_stretches_are_the_rows_that_a_path_s_row_is_merged_of() -> None:
    draw = np.random.default_rng(15)
    strategy = strategy_from_source(MOVER, "mover.py")
    context = context_on(session_market(draw), strategy, SPECS["slots"], CHEAP, ACCOUNT)
    params = mover_rows(draw, 2, bad=False)
    found = evaluate_paths(context, PathTask(0, params, 2, 9, apart=True))
    assert found.stretches.shape == (2, 7, 6)
    whole = found.stretches[:, :, 0]
    for m in range(1, 6):
        whole = merge(whole, found.stretches[:, :, m])
    assert whole.tobytes() == found.rows.tobytes()
    assert (found.stretches["capital"] == ACCOUNT.capital).all()
    assert evaluate_paths(context, PathTask(0, params, 2, 9)).stretches.size == 0


def test_the_identity_is_the_plain_run() -> None:
    draw = np.random.default_rng(8)
    strategy = strategy_from_source(MOVER, "mover.py")
    ticks = session_market(draw)
    params = mover_rows(draw, 3, bad=False)
    spec = ResampleSpec("identity", restart="never")
    context = context_on(ticks, strategy, spec, CHEAP, ACCOUNT)
    found = evaluate_paths(context, PathTask(0, params, 0, 2))
    plain = evaluate(context.context, Task(0, params, (Slice(0, len(ticks.ts), 0),)))
    assert found.rows[:, 0].tobytes() == found.rows[:, 1].tobytes() == plain.rows[:, 0].tobytes()


def test_a_range_of_the_ticks_is_all_that_paths_are_drawn_from() -> None:
    draw = np.random.default_rng(9)
    strategy = strategy_from_source(MOVER, "mover.py")
    ticks = session_market(draw, 8)
    edge = int(np.searchsorted(ticks.ts, ticks.ts[0] + 6 * 86_400 * SECOND))
    params = mover_rows(draw, 1)
    context = context_on(ticks, strategy, SPECS["slots"], CHEAP, ACCOUNT, end=edge)
    cut = context_on(
        ticks._replace(**{n: c[:edge] for n, c in ticks._asdict().items() if len(c)}),
        strategy,
        SPECS["slots"],
        CHEAP,
        ACCOUNT,
    )
    task = PathTask(0, params, 0, 9)
    assert evaluate_paths(context, task).rows.tobytes() == evaluate_paths(cut, task).rows.tobytes()


def test_an_order_that_is_no_number_ends_its_path_alone() -> None:
    draw = np.random.default_rng(10)
    strategy = strategy_from_source(MOVER, "mover.py")
    context = context_on(session_market(draw), strategy, SPECS["slots"], CHEAP, ACCOUNT)
    params = np.array([[9.0, 1.0, 0.0]])
    found = evaluate_paths(context, PathTask(0, params, 0, 40))
    bad = found.rows[0]["status"] == STATUS_BAD_ORDER
    assert 0 < bad.sum() < 40
    assert [number for _, number, _ in found.failures] == np.flatnonzero(bad).tolist()
    assert f"of path {np.flatnonzero(bad)[0]}" in found.failures[0][2]


def test_a_path_that_raises_is_told_apart_from_the_others() -> None:
    draw = np.random.default_rng(11)
    ticks = session_market(draw, sizes=True)
    size = ticks.bid_size.copy()
    size[len(size) // 2] = 99.0
    ticks = read_only(ticks._replace(bid_size=size))
    strategy = strategy_from_source(READER, "reader.py")
    context = context_on(ticks, strategy, SPECS["sessions"], CHEAP, ACCOUNT)
    params = np.array([[5e9, 2.0, 1000.0, 98.0]])
    found = evaluate_paths(context, PathTask(0, params, 0, 30))
    assert not found.error
    bad = np.flatnonzero(found.rows[0]["status"] == STATUS_ERROR)
    assert 0 < len(bad) < 30
    assert [f[1] for f in found.failures] == bad.tolist()
    assert "raised ValueError: too large on path" in found.failures[0][2]
    fine = np.setdiff1d(np.arange(30), bad)[:3]
    for k in fine.tolist():
        expected = by_plain_kernel(context, params[0], k)
        assert found.rows[0, k].tobytes() == expected.tobytes()


@pytest.mark.slow
def test_what_cannot_run_in_lanes_runs_one_path_after_the_other() -> None:
    draw = np.random.default_rng(12)
    source = """
from typing import NamedTuple

import numpy as np

from sweep.strategy import Space, integer


class Params(Space):
    window: int = integer(1, 50, default=5)


class State(NamedTuple):
    seen: np.ndarray
    n: int


def start(tick, params):
    return State(np.zeros(params.window), 0)


def step(state, tick, params):
    state.seen[state.n % params.window] = tick.mid
    return State(state.seen, state.n + 1), 1.0 if tick.mid > state.seen.mean() else -1.0
"""
    strategy = strategy_from_source(source, "arrays.py")
    context = context_on(session_market(draw, 3, 60), strategy, SPECS["sessions"], CHEAP, ACCOUNT)
    assert not context.kernel.path
    assert "array" in context.kernel.reason
    assert_rows_of_ticks(context, np.array([[7.0]]), 4, 64)


def test_what_goes_wrong_comes_back_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(13)
    strategy = strategy_from_source(MOVER, "mover.py")
    context = context_on(session_market(draw), strategy, SPECS["sessions"], CHEAP, ACCOUNT)
    found = evaluate_paths(context, PathTask(4, np.zeros((1, 3)), 3, 3))
    assert found.number == 4
    assert "there are none" in found.error
    monkeypatch.setattr("sweep.scenarios.evaluate._MOST_ROWS", 5)
    found = evaluate_paths(context, PathTask(5, np.ones((1, 3)), 0, 3))
    assert "would start afresh 6 times on a path, at most 5 are kept" in found.error


def test_a_strategy_with_features_is_refused() -> None:
    strategy = strategy_from_source(
        """
from typing import NamedTuple

import numpy as np

from sweep.strategy import Space


class Params(Space):
    pass


class Features(NamedTuple):
    mid: np.ndarray


class State(NamedTuple):
    n: int


def features(ticks, params):
    return Features(ticks.mid)


def start(tick, params):
    return State(0)


def step(state, tick, params, features):
    return state, 1.0
""",
        "featured.py",
    )
    with pytest.raises(StrategyError, match=r"featured\.py: features\(\) are computed over"):
        build_path_kernel(strategy, SearchSpace.of(strategy.params))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_strategies_on_paths_of_random_markets(seed: int) -> None:
    draw = np.random.default_rng(seed)
    strategy = strategy_from_source(strategy_text(seed), f"random_{seed}.py")
    if strategy.features is not None:
        pytest.skip("has features")
    space = wide_space(strategy)
    for name in draw.choice(list(SPECS), 3, replace=False).tolist():
        costs, account = terms(draw)
        ticks = session_market(
            draw, int(draw.integers(3, 9)), int(draw.choice((40, 300, 900))), sizes=True
        )
        context = context_on(ticks, strategy, SPECS[name], costs, account)
        assert_rows_of_ticks(context, points(space, draw, 2), 9, int(draw.choice((8, 40, 64))))


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(Path("strategies").glob("*.py")), ids=lambda f: f.stem)
def test_shipped_strategies_on_paths(file: Path) -> None:
    draw = np.random.default_rng(14)
    strategy = strategy_from_source(file.read_text(), str(file))
    if strategy.features is not None:
        pytest.skip("has features")
    space = wide_space(strategy)
    params = np.asarray(random_design(space, 5).points(0, 3))
    for name in ("sessions", "slots", "stationary"):
        costs, account = terms(draw)
        ticks = session_market(draw, 6, 900)
        context = context_on(ticks, strategy, SPECS[name], costs, account)
        assert load_path_kernel(context.kernel)
        assert_rows_of_ticks(context, params, 10, 64)
