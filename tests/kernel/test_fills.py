"""The compiled evaluation against markets worked by hand and against the slow simulator.

Counts, stamps and the bits of the plain twin must be equal; floats agree to 1e-9.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.schema import ROW, STATUS_BAD_ORDER, Account, Costs, Slice, Ticks
from sweep.stats.metrics import METRIC_NAMES, metrics_of
from sweep.strategy.declare import Strategy, load_strategy, strategy_from_source
from tests import generators, oracle
from tests.backtest.test_oracle import SCRIPTED, simulated, ticks_of
from tests.evaluation import evaluate, kernel_of, new_memory
from tests.markets import FREE, MARKETS, PLAIN, SECOND, Market

ACCOUNT_READER = strategy_from_source(generators.ACCOUNT_READER, "account_reader.py")
FOLDER = Path(__file__).parents[2] / "strategies"
SHIPPED = {path.stem: load_strategy(path) for path in sorted(FOLDER.glob("*.py"))}

#: Values for markets of some hundred ticks, and for the busy real ones.
SMALL: dict[str, list[dict[str, Any]]] = {
    "ema_crossover": [
        {"fast": 1.5, "slow": 4.0},
        {"fast": 2.0, "slow": 9.0, "short": False},
    ],
    "sma_crossover": [
        {"fast": 2, "slow": 5},
        {"fast": 3, "slow": 12, "use_band": True, "band": 0.5},
    ],
    "channel_breakout": [
        {"entry": 6, "exit": 3},
        {"entry": 9, "use_exit": False},
    ],
    "mean_reversion": [
        {"window": 6, "entry": 1.2, "use_filter": False},
        {"window": 5, "entry": 1.1, "leave": 0.3, "background": 15, "calm": 1.3},
    ],
    "momentum_stops": [
        {"window": 5, "entry": 1.0, "stop": 11.3, "target": 17.7},
        {"window": 3, "entry": 0.7, "stop": 27.1, "target": 99.3, "use_trail": True, "trail": 7.9},
    ],
    "time_of_day": [
        {"entry": 8, "hold": 4, "side": -1},
        {"entry": 22, "hold": 7, "use_trend": True, "window": 4},
    ],
}
BUSY: dict[str, dict[str, Any]] = {
    "ema_crossover": {"fast": 60.0, "slow": 600.0},
    "sma_crossover": {"fast": 60, "slow": 700, "use_band": True, "band": 0.3},
    "channel_breakout": {"entry": 900, "exit": 300},
    "mean_reversion": {"window": 500, "entry": 2.0, "background": 3_000, "calm": 1.2},
    "momentum_stops": {
        "window": 800,
        "entry": 1.5,
        "stop": 3.0,
        "target": 5.0,
        "use_trail": True,
        "trail": 2.0,
    },
    "time_of_day": {"entry": 1, "hold": 2, "use_trend": True, "window": 2_000},
}
VARIANTS = [(name, values) for name in SMALL for values in SMALL[name]]

# Sums of returns cancel: their error is measured by the returns, not by the sum.
RETURN_SUMS = ("sum_r", "sum_r2", "sum_r3", "sum_r4", "sum_down2", "sum_lag", "first_r", "last_r")
RATIOS = ("sharpe", "sortino", "calmar", "sqn")

slow = settings(max_examples=60)


def assert_same_row(found: np.ndarray, run: oracle.Simulation) -> None:
    """Compare a compiled row with what the lists of the slow simulator say."""
    expected = oracle.row(run)
    assert (found["status"], found["tick"]) == (expected["status"], expected["tick"])
    if run.bad_order is not None:
        return
    returns = run.clock_returns()
    largest = max((abs(r) for r in returns), default=0.0)
    cash = 1e-12 * (run.account.capital + expected["turnover"])
    for name, value in expected.items():
        if name in RETURN_SUMS and run.ruined() is not None:
            continue
        if ROW[name].kind == "i":
            slack = rounding_ties(run) if name in ("wins", "losses") else 0
            assert abs(found[name] - value) <= slack, name
            continue
        absolute = cash
        if name in RETURN_SUMS:
            absolute = 1e-12 * largest * max(1.0, largest) * max(1, len(returns))
        elif name.startswith(("growth", "drawdown")):
            absolute = max(cash / run.account.capital, cash if name == "drawdown_cash" else 0.0)
        assert found[name] == pytest.approx(value, rel=1e-9, abs=absolute), name


def rounding_ties(run: oracle.Simulation) -> int:
    """Round trips of next to no profit whose share of a reversal's commission is rounded."""
    shared = [t for t in run.closed() if any(p.quantity != p.fill.delta for p in t.parts)]
    return sum(abs(t.profit(run.account.contract_size)) < 1e-9 for t in shared)


def assert_same_metrics(found: np.ndarray, run: oracle.Simulation) -> None:
    year = run.account.periods_per_year
    columns = metrics_of(found.reshape(1), year)
    expected = oracle.metrics(run)
    for name in METRIC_NAMES:
        value = float(columns[name][0])
        if name in ("wins", "losses", "win_rate", "profit_factor") and rounding_ties(run):
            continue
        if name in ("sharpe", "sqn") and is_dust(
            run.clock_returns() if name == "sharpe" else run.profits()
        ):
            continue
        absolute = 1e-9 * math.sqrt(year) if name in RATIOS else 1e-9
        assert value == pytest.approx(expected[name], rel=1e-6, abs=absolute, nan_ok=True), name


def is_dust(values: list[float]) -> bool:
    """Whether the values' variance is lost in the rounding of their squares."""
    mean = math.fsum(values) / max(1, len(values))
    square = math.fsum(v * v for v in values)
    return math.fsum((v - mean) ** 2 for v in values) <= 1e-9 * square


def assert_same_record(found: Any, run: oracle.Simulation) -> None:
    """Compare equity, position and fills of a replay with the lists."""
    curve = {point.tick: point.equity for point in run.points}
    cash = 1e-12 * (run.account.capital + oracle.row(run)["turnover"])
    np.testing.assert_allclose(
        found.equity[: len(curve)], list(curve.values()), rtol=1e-12, atol=cash
    )
    assert found.fills["tick"].tolist() == [fill.tick for fill in run.fills]
    assert found.fills["ts"].tolist() == [fill.ts for fill in run.fills]
    assert found.fills["position"].tolist() == [fill.after for fill in run.fills]
    assert found.fills["delta"].tolist() == [fill.delta for fill in run.fills]
    assert found.fills["price"].tolist() == [fill.price for fill in run.fills]
    np.testing.assert_allclose(
        found.fills["commission"], [fill.commission for fill in run.fills], rtol=1e-12
    )
    closing = found.fills[np.isfinite(found.fills["profit"])]
    np.testing.assert_allclose(closing["profit"], run.profits(), rtol=1e-9, atol=cash)
    assert closing["entry_ts"].tolist() == [trip.opened_ts for trip in run.closed()]
    held = np.zeros(len(curve))
    for tick, fills in itertools.groupby(run.fills, key=lambda fill: fill.tick):
        held[tick - run.points[0].tick :] = list(fills)[-1].after
    assert found.position[: len(curve)].tolist() == held.tolist()


def assert_agree(
    strategy: Strategy,
    ticks: Ticks,
    values: dict[str, Any],
    costs: Costs,
    account: Account,
    part: Slice | None = None,
) -> oracle.Simulation:
    """Run both on a slice of the ticks and compare everything they leave."""
    part = Slice(0, len(ticks.ts), 0) if part is None else part
    found = evaluate(strategy, ticks, values, costs, account, [part])
    run = oracle.simulate(
        ticks,
        strategy.module,
        values,
        costs,
        account,
        begin=part.begin,
        end=part.end,
        warmup=part.warmup,
    )
    assert_same_row(found.rows[0], run)
    assert_same_record(found, run)
    if run.bad_order is None:
        assert_same_metrics(found.rows[0], run)
    return run


# -- worked by hand --------------------------------------------------------------------


@pytest.fixture(params=MARKETS, ids=lambda market: market.name)
def market(request: pytest.FixtureRequest) -> Market:
    return request.param


def evaluated(market: Market, *, plain: bool = False) -> Any:
    ticks = ticks_of(market)
    part = Slice(market.begin, len(ticks.ts), 0)
    values = {"wait": market.wait}
    return evaluate(SCRIPTED, ticks, values, market.costs, market.account, [part], plain=plain)


def test_fills_are_those_worked_by_hand(market: Market) -> None:
    found = [(f["tick"], f["delta"], f["price"]) for f in evaluated(market).fills]
    assert found == [pytest.approx(fill, rel=1e-12) for fill in market.fills]


def test_round_trips_are_those_worked_by_hand(market: Market) -> None:
    fills = evaluated(market).fills
    closing = fills[np.isfinite(fills["profit"])]
    found = [(f["entry_ts"] / SECOND, f["ts"] / SECOND, f["profit"]) for f in closing]
    assert found == [pytest.approx(trip, abs=1e-9) for trip in market.trips]


def test_equity_is_that_worked_by_hand(market: Market) -> None:
    equity = evaluated(market).equity[: len(market.equity)]
    assert equity.tolist() == pytest.approx(market.equity, rel=1e-12)


def test_sums_are_those_worked_by_hand(market: Market) -> None:
    row = evaluated(market).rows[0]
    found = {name: row[name].item() for name in market.row}
    assert found == pytest.approx(dict(market.row), rel=1e-9, abs=1e-12)


def test_metrics_are_those_worked_by_hand(market: Market) -> None:
    columns = metrics_of(evaluated(market).rows, market.account.periods_per_year)
    found = {name: columns[name][0] for name in market.metrics}
    assert found == pytest.approx(dict(market.metrics), rel=1e-9, nan_ok=True)


def test_the_plain_twin_has_the_same_bits_on_markets_worked_by_hand(market: Market) -> None:
    compiled, plain = evaluated(market), evaluated(market, plain=True)
    assert [part.tobytes() for part in compiled] == [part.tobytes() for part in plain]


def test_rows_agree_with_the_slow_simulator_on_markets_worked_by_hand(market: Market) -> None:
    assert_same_row(evaluated(market).rows[0], simulated(market))


# -- generated -------------------------------------------------------------------------


@given(
    ticks=generators.tick_series(targets=True, crossed=True),
    costs=generators.cost_models(),
    account=generators.accounts(),
)
@slow
def test_any_orders_on_any_ticks_agree_with_the_slow_simulator(ticks, costs, account) -> None:
    assert_agree(SCRIPTED, ticks, {}, costs, account)


@given(
    ticks=generators.tick_series(targets=True),
    costs=generators.cost_models(),
    account=generators.accounts(),
    hold=st.sampled_from((0, SECOND, 3_600 * SECOND, 10**15)),
)
@slow
def test_a_strategy_sees_its_account_as_the_slow_simulator_has_it(
    ticks, costs, account, hold
) -> None:
    # No sum of dyadic prices comes to rest on this stop, so that rounding decides nothing.
    values = {"hold": hold, "stop": 1.9, "capital": account.capital}
    assert_agree(ACCOUNT_READER, ticks, values, costs, account)


@given(data=st.data(), ticks=generators.tick_series(targets=True, min_size=12))
@slow
def test_a_range_with_its_warm_up_agrees_with_the_slow_simulator(data, ticks) -> None:
    edges = st.lists(st.integers(0, len(ticks.ts)), min_size=3, max_size=3, unique=True)
    warmup, begin, end = sorted(data.draw(edges))
    part = Slice(begin, end, warmup)
    wait = data.draw(st.integers(0, 15))
    assert_agree(SCRIPTED, ticks, {"wait": wait}, FREE, PLAIN, part)


@given(data=st.data(), ticks=generators.tick_series(targets=True, min_size=8))
@slow
def test_a_target_that_is_no_number_stops_at_its_tick(data, ticks) -> None:
    wanted = ticks.bid_size.copy()
    tick = data.draw(st.integers(1, len(wanted) - 1))
    wanted[tick] = data.draw(st.sampled_from((math.nan, math.inf, -math.inf)))
    run = assert_agree(
        SCRIPTED, generators.read_only(ticks._replace(bid_size=wanted)), {}, FREE, PLAIN
    )
    assert run.bad_order == tick
    assert oracle.row(run)["status"] == STATUS_BAD_ORDER


@pytest.mark.parametrize(("name", "values"), VARIANTS)
@given(
    ticks=generators.tick_series(min_size=20, max_size=150),
    costs=generators.cost_models(),
    account=generators.accounts(),
)
@settings(slow, max_examples=25)
def test_a_shipped_strategy_agrees_with_the_slow_simulator(
    name, values, ticks, costs, account
) -> None:
    assert_agree(SHIPPED[name], ticks, values, replace(costs, half_spread=0.0), account)


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_a_shipped_strategy_trades_on_a_lively_market(name, values) -> None:
    # Otherwise the comparisons above would compare nothing.
    run = assert_agree(SHIPPED[name], lively_market(), values, FREE, PLAIN)
    assert len(run.closed()) >= 5


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_a_shipped_strategy_has_the_bits_of_its_plain_twin(name, values) -> None:
    costs = Costs(2.0**-12, 0.0, 0.125, 1 / 64, 0.0, SECOND, "close")
    compiled = evaluate(SHIPPED[name], lively_market(), values, costs, PLAIN)
    plain = evaluate(SHIPPED[name], lively_market(), values, costs, PLAIN, plain=True)
    assert [part.tobytes() for part in compiled] == [part.tobytes() for part in plain]


def lively_market(size: int = 1_500) -> Ticks:
    """Ten days of a random walk with equal stamps, locked quotes and changing spreads."""
    rng = np.random.default_rng(11)
    gaps = rng.choice((0, 1, 30, 600, 1_800), size) * SECOND
    bid = 100.0 + np.cumsum(rng.integers(-4, 5, size)) / 64
    ask = bid + rng.integers(0, 3, size) / 64
    nothing = np.empty(0)
    return generators.read_only(
        Ticks(1_399_593_600 * SECOND + np.cumsum(gaps), bid, ask, nothing, nothing)
    )


# -- slices ----------------------------------------------------------------------------


def cuts(data: st.DataObject, size: int) -> list[Slice]:
    inner = data.draw(st.lists(st.integers(1, size - 1), max_size=5, unique=True))
    return [Slice(a, b, 0) for a, b in itertools.pairwise([0, *sorted(inner), size])]


@given(
    data=st.data(),
    ticks=generators.tick_series(targets=True),
    costs=generators.cost_models(),
    account=generators.accounts(),
)
@slow
def test_carried_slices_end_with_the_bits_of_one_unsliced_run(data, ticks, costs, account) -> None:
    whole = evaluate(SCRIPTED, ticks, {"wait": 3}, costs, account, carry_over=True)
    parts = cuts(data, len(ticks.ts))
    cut = evaluate(SCRIPTED, ticks, {"wait": 3}, costs, account, parts, carry_over=True)
    assert cut.rows[-1].tobytes() == whole.rows[-1].tobytes()
    assert [part.tobytes() for part in cut[1:]] == [part.tobytes() for part in whole[1:]]

    memory, row = new_memory(kernel_of(SCRIPTED), ticks, costs), None
    for part in parts:  # the same slices, each in a call of its own
        row = evaluate(
            SCRIPTED,
            ticks,
            {"wait": 3},
            costs,
            account,
            [part],
            carry_over=True,
            close_out=part is parts[-1],
            memory=memory,
            before=row,
        ).rows[0]
    assert row.tobytes() == whole.rows[-1].tobytes()


@given(
    data=st.data(),
    ticks=generators.tick_series(targets=True),
    costs=generators.cost_models(),
    account=generators.accounts(),
)
@slow
def test_independent_slices_are_runs_of_their_own(data, ticks, costs, account) -> None:
    parts = cuts(data, len(ticks.ts))
    wait = data.draw(st.integers(0, 6))
    found = evaluate(SCRIPTED, ticks, {"wait": wait}, costs, account, parts)
    for row, part in zip(found.rows, parts, strict=True):
        run = oracle.simulate(
            ticks,
            SCRIPTED.module,
            {"wait": wait},
            costs,
            account,
            begin=part.begin,
            end=part.end,
            warmup=part.warmup,
        )
        assert_same_row(row, run)


# -- real ticks ------------------------------------------------------------------------


def gold(folder: Path, size: int) -> Ticks:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = parquet.ParquetFile(folder / "xauusd-oanda-2014-05.parquet")
    table = file.read_row_group(0).slice(5_000, size)
    ts = table["ts"].cast("int64").to_numpy()
    nothing = np.empty(0)
    columns = Ticks(ts, table["bid"].to_numpy(), table["ask"].to_numpy(), nothing, nothing)
    return generators.read_only(columns)


def euro(folder: Path, size: int) -> Ticks:
    ts, bid, ask = [], [], []
    with gzip.open(folder / "eurusd-fxcm-2014-05.csv.gz", "rt", encoding="ascii") as lines:
        for row in csv.DictReader(lines):
            if float(row["ask"]) < float(row["bid"]):
                continue
            ts.append(np.datetime64(row["timestamp"].rstrip("Z"), "ns").astype(np.int64))
            bid.append(float(row["bid"]))
            ask.append(float(row["ask"]))
            if len(ts) == size:
                break
    nothing = np.empty(0)
    return generators.read_only(Ticks(np.array(ts), np.array(bid), np.array(ask), nothing, nothing))


@pytest.mark.parametrize("name", BUSY)
def test_a_shipped_strategy_agrees_on_real_gold(name, real_ticks) -> None:
    costs = Costs(2e-5, 0.01, 0.02, 0.01, 0.0, 50_000_000, "mid")
    account = Account(1_300.0, 1.0, 900 * SECOND, 252.0 * 96)
    run = assert_agree(SHIPPED[name], gold(real_ticks, 30_000), BUSY[name], costs, account)
    assert run.fills


@pytest.mark.parametrize("name", BUSY)
def test_a_shipped_strategy_agrees_on_the_real_euro_without_its_crossed_quotes(
    name, real_ticks
) -> None:
    costs = Costs(1e-5, 0.0, 0.0, 1e-5, 0.0, 250_000_000, "close")
    account = Account(13_800.0, 10_000.0, 3_600 * SECOND, 252.0 * 24)
    run = assert_agree(SHIPPED[name], euro(real_ticks, 20_000), BUSY[name], costs, account)
    assert run.fills
