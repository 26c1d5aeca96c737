"""The same history under worse execution: fills as in the slow simulator, draws in common."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from generators import accounts, cost_models, tick_series
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweep.backtest.tasks import Context, Task, evaluate, orders_in_flight
from sweep.errors import InputError
from sweep.kernel import build_kernel
from sweep.scenarios.stressed import SHAPES, Scenario, evaluate_stressed, stressed_blocks
from sweep.schema import Account, Costs, Slice, Ticks
from sweep.strategy.declare import strategy_from_source
from sweep.strategy.space import SearchSpace
from sweep.ticks.mapped import attach
from sweep.ticks.sources import SourceSpec
from sweep.ticks.store import import_ticks
from sweep.ticks.synthetic import SynthSpec
from tests import evaluation, oracle
from tests.backtest.test_oracle import SCRIPTED
from tests.kernel.test_fills import ACCOUNT_READER, assert_same_row
from tests.study_helpers import STRATEGY

SECOND = 10**9
COSTS = Costs(1e-5, 0.0, 0.0, 0.001, 0.0, 50_000_000, "mid")
MARKET = SourceSpec("synth", synth=SynthSpec(seed=7, sessions=2, ticks_per_session=4_000))

some = settings(max_examples=40)


@pytest.fixture(scope="module")
def context() -> Context:
    strategy = strategy_from_source(STRATEGY, "strategy.py")
    handle = import_ticks(MARKET).handle
    ref = build_kernel(strategy, SearchSpace.of(strategy.params))
    room = orders_in_flight(attach(handle).ts, COSTS.latency)
    return Context(handle, ref, COSTS, Account(200.0, 1.0, 300 * SECOND, 252.0), room)


@pytest.fixture(scope="module")
def params() -> np.ndarray:
    space = SearchSpace.of(strategy_from_source(STRATEGY, "strategy.py").params)
    return np.stack([space.encode({"fast": f, "slow": 10.0 * f}) for f in (2.0, 4.0, 9.0, 15.0)])


def whole(context: Context) -> Slice:
    return Slice(0, context.ticks.n_ticks, 0)


def profits(context: Context, params: np.ndarray, **how: object) -> np.ndarray:
    rows = evaluate_stressed(context, params, whole(context), Scenario(**how), 1).rows[:, 0]
    return np.asarray(rows["equity"] - rows["capital"])


# -- fills -----------------------------------------------------------------------------


@some
@given(
    tick_series(targets=True),
    cost_models(),
    accounts(),
    st.lists(st.sampled_from((0, 1, SECOND, 100 * SECOND)), min_size=1, max_size=9),
    st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0, 1.0)), min_size=1, max_size=7),
    st.booleans(),
)
def test_late_and_partial_fills_are_those_of_the_slow_simulator(
    ticks: Ticks,
    costs: Costs,
    account: Account,
    late: list[int],
    filled: list[float],
    reads_account: bool,
) -> None:
    n = len(ticks.ts)
    strategy = ACCOUNT_READER if reads_account else SCRIPTED
    arrivals = np.maximum.accumulate(ticks.ts + np.resize(late, n))
    shares = np.resize(np.array(filled), n)
    memory = evaluation.new_memory(evaluation.kernel_of(strategy), ticks, costs)
    memory = memory._replace(due=np.zeros((1, n + 1), np.int64), targets=np.zeros((1, n + 1)))
    found = evaluation.evaluate(
        strategy, ticks, {}, costs, account, memory=memory, arrivals=arrivals, shares=shares
    )
    run = oracle.simulate(
        ticks, strategy.module, {}, costs, account, arrivals=arrivals, shares=shares
    )
    assert_same_row(found.rows[0], run)
    assert [f["tick"] for f in found.fills] == [f.tick for f in run.fills]


def test_without_stress_the_bits_are_those_of_the_study(context: Context, params) -> None:
    plain = evaluate(context, Task(0, params, (whole(context),))).rows
    for block in (700, 1 << 20):
        found = evaluate_stressed(context, params, whole(context), Scenario(), 1, block=block)
        assert found.rows.tobytes() == plain.tobytes()


def test_a_fixed_latency_is_that_of_costs_with_more_of_it(context: Context, params) -> None:
    more = replace(COSTS, latency=COSTS.latency + 3 * SECOND, slippage=COSTS.slippage + 0.01)
    room = orders_in_flight(attach(context.ticks).ts, more.latency)
    plain = evaluate(
        replace(context, costs=more, capacity=room), Task(0, params, (whole(context),))
    ).rows
    scenario = Scenario(latency=3.0 * SECOND, slippage=0.01)
    found = evaluate_stressed(context, params, whole(context), scenario, 1)
    assert found.rows.tobytes() == plain.tobytes()


HARSH = Scenario(
    latency=2.0 * SECOND,
    shape="lognormal",
    spread=1.5,
    rejected=0.1,
    partial=0.2,
    dropped=0.1,
    delayed=1.0 * SECOND,
    replicate=3,
)


@pytest.mark.parametrize("part", [Slice(0, 8_000, 0), Slice(900, 4_400, 0)])
def test_blocks_and_batches_change_no_bit(context: Context, params, part: Slice) -> None:
    part = part._replace(end=min(part.end, context.ticks.n_ticks))
    found = evaluate_stressed(context, params, part, HARSH, 1)
    assert not found.error
    for block in (64, 1_001):
        again = evaluate_stressed(context, params, part, HARSH, 1, block=block)
        assert again.rows.tobytes() == found.rows.tobytes()
    for k in range(len(params)):
        alone = evaluate_stressed(context, params[k : k + 1], part, HARSH, 1)
        assert alone.rows.tobytes() == found.rows[k : k + 1].tobytes()
    other = evaluate_stressed(context, params, part, replace(HARSH, replicate=4), 1)
    assert other.rows.tobytes() != found.rows.tobytes()


def test_a_rejected_order_is_never_filled_and_costs_nothing(context: Context, params) -> None:
    rows = evaluate_stressed(context, params, whole(context), Scenario(rejected=1.0), 1).rows
    assert (rows["fills"] == 0).all()
    assert (rows["equity"] == rows["capital"]).all()


def test_worse_execution_earns_less_where_nothing_is_to_be_earned(context: Context, params) -> None:
    plain = profits(context, params)
    assert (profits(context, params, spread=3.0) < plain).all()
    assert (profits(context, params, commission=4.0) < plain).all()
    assert (profits(context, params, slippage=0.05) < plain).all()


# -- draws -----------------------------------------------------------------------------


def blocks_of(scenario: Scenario, n: int = 200_000, size: int = 1 << 20) -> list:
    ts = np.arange(n) * 7_000_000
    bid = 100.0 + 0.01 * (np.arange(n) % 7)
    ticks = Ticks(ts, bid, bid + 0.02, np.zeros(0), np.zeros(0))
    return list(stressed_blocks(ticks, 0, n, scenario, 5, 0, size=size))


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_latencies_have_the_distribution_that_is_asked_for(shape: str) -> None:
    mean = 1_000_000.0  # a seventh of the time between ticks: few arrivals are held back
    block = blocks_of(Scenario(latency=mean, shape=shape))[0]
    late = (block.arrivals - block.ticks.ts) / mean
    law = {
        "uniform": stats.uniform(0.0, 2.0),
        "exponential": stats.expon(),
        "lognormal": stats.lognorm(1.0, scale=math.exp(-0.5)),
    }[shape]
    # Rounded to nanoseconds; a large one delays the next, which is rare here.
    assert stats.kstest(late[::5], law.cdf).pvalue > 1e-3
    assert (np.diff(block.arrivals) >= 0).all()


def test_shares_of_ticks_are_those_that_are_asked_for() -> None:
    n = 200_000
    dropped = blocks_of(Scenario(dropped=0.3), n)[0]
    assert abs(len(dropped.places) / n - 0.7) < 5 * math.sqrt(0.21 / n)
    assert dropped.places[0] == 0
    assert dropped.places[-1] == n - 1
    shares = blocks_of(Scenario(rejected=0.2, partial=0.5), n)[0].shares
    assert abs((shares == 0.0).mean() - 0.2) < 5 * math.sqrt(0.16 / n)
    partly = shares[(shares > 0.0) & (shares < 1.0)]
    assert abs(len(partly) / n - 0.8 * 0.5) < 5 * math.sqrt(0.24 / n)
    assert stats.kstest(partly, stats.uniform().cdf).pvalue > 1e-3


def test_more_of_a_stress_meets_the_same_ticks_and_more() -> None:
    few = blocks_of(Scenario(rejected=0.1))[0].shares == 0.0
    many = blocks_of(Scenario(rejected=0.3))[0].shares == 0.0
    assert (many | ~few).all()
    short = blocks_of(Scenario(latency=1e6, shape="exponential"))[0].arrivals
    long = blocks_of(Scenario(latency=2e6, shape="exponential"))[0].arrivals
    assert (long >= short).all()


def test_draws_do_not_depend_on_blocks() -> None:
    whole_ = blocks_of(HARSH)[0]
    cut = blocks_of(HARSH, size=30_011)
    assert len(cut) > 5
    for name in ("places", "arrivals", "shares"):
        assert np.array_equal(
            np.concatenate([getattr(b, name) for b in cut]), getattr(whole_, name)
        )
    assert np.array_equal(np.concatenate([b.ticks.bid for b in cut]), whole_.ticks.bid)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"shape": "normal"}, "shape = 'normal'; expected fixed, uniform"),
        ({"latency": -1.0}, "latency = -1; expected 0 or more"),
        ({"rejected": 1.5}, "rejected = 1.5; expected a share from 0 to 1"),
        ({"spread": math.nan}, "spread = nan"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(how: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Scenario(**how)
