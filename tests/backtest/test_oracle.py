"""The slow simulator against markets whose outcome was worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from sweep.schema import Ticks
from sweep.strategy.declare import strategy_from_source
from tests import generators, oracle
from tests.markets import MARKETS, SECOND, Market

SCRIPTED = strategy_from_source(generators.SCRIPTED, "scripted.py")


def ticks_of(market: Market) -> Ticks:
    """The market's rows as tick columns, the targets as ``bid_size``."""
    seconds, bid, ask, targets = (
        np.array(c, dtype=np.float64) for c in zip(*market.rows, strict=True)
    )
    ts = np.round(seconds * SECOND).astype(np.int64)
    return generators.read_only(Ticks(ts, bid, ask, targets, np.zeros(len(ts))))


def simulated(market: Market) -> oracle.Simulation:
    return oracle.simulate(
        ticks_of(market),
        SCRIPTED.module,
        {"wait": market.wait},
        market.costs,
        market.account,
        begin=market.begin,
        warmup=0,
    )


@pytest.fixture(params=MARKETS, ids=lambda market: market.name)
def market(request: pytest.FixtureRequest) -> Market:
    return request.param


def test_fills_are_those_worked_by_hand(market: Market) -> None:
    found = [(fill.tick, fill.delta, fill.price) for fill in simulated(market).fills]
    assert found == [pytest.approx(fill, rel=1e-12) for fill in market.fills]


def test_round_trips_are_those_worked_by_hand(market: Market) -> None:
    run = simulated(market)
    found = [
        (
            trip.opened_ts / SECOND,
            trip.closed_ts / SECOND,
            trip.profit(market.account.contract_size),
        )
        for trip in run.closed()
    ]
    assert found == [pytest.approx(trip, abs=1e-9) for trip in market.trips]


def test_equity_is_that_worked_by_hand(market: Market) -> None:
    last_mark_of_tick = {point.tick: point.equity for point in simulated(market).points}
    assert list(last_mark_of_tick.values()) == pytest.approx(market.equity, rel=1e-12)


def test_sums_are_those_worked_by_hand(market: Market) -> None:
    found = oracle.row(simulated(market))
    assert {name: found[name] for name in market.row} == pytest.approx(
        dict(market.row), rel=1e-9, abs=1e-12
    )


def test_metrics_are_those_worked_by_hand(market: Market) -> None:
    found = oracle.metrics(simulated(market))
    assert {name: found[name] for name in market.metrics} == pytest.approx(
        dict(market.metrics), rel=1e-9, nan_ok=True
    )


def test_some_market_shows_every_metric() -> None:
    shown = {name for market in MARKETS for name, value in market.metrics.items() if value == value}
    assert shown >= set(oracle.metrics(simulated(MARKETS[0])))


@given(
    ticks=generators.tick_series(targets=True),
    costs=generators.cost_models(),
    account=generators.accounts(),
)
@settings(max_examples=100)
def test_profit_is_what_the_round_trips_made(ticks, costs, account) -> None:
    run = oracle.simulate(ticks, SCRIPTED.module, {}, costs, account)
    final = run.points[-1].equity
    assert math.fsum(run.profits()) == pytest.approx(final - account.capital, abs=1e-9)
    assert (
        math.isclose(
            math.prod(1.0 + r for r in run.clock_returns()), final / account.capital, rel_tol=1e-9
        )
        or run.ruined() is not None
    )
    assert run.position() == 0.0


@given(
    ticks=generators.tick_series(targets=True),
    costs=generators.cost_models(),
    account=generators.accounts(),
)
@settings(max_examples=100)
def test_every_fill_comes_after_its_order_and_its_latency(ticks, costs, account) -> None:
    run = oracle.simulate(ticks, SCRIPTED.module, {}, costs, account)
    for order, fill in zip(run.orders, run.fills, strict=False):
        assert fill.tick > order.decided or fill.after == 0.0
        late = np.flatnonzero((np.arange(len(ticks.ts)) > order.decided) & (ticks.ts >= order.due))
        assert fill.tick == (late[0] if late.size else len(ticks.ts) - 1)
