"""Metrics of rows: known answers, and merging."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.schema import ROW, STATUS_ERROR, STATUS_RUINED, Rows
from sweep.stats.metrics import METRICS, merge, metrics_of, undefined


def row_of_returns(returns: list[float], capital: float = 100.0) -> Rows:
    """Return a row as a kernel would write it for one tick a period."""
    row = np.zeros(1, ROW)
    equity = np.cumprod(np.concatenate([[capital], 1.0 + np.array(returns)]))
    r = equity[1:] / equity[:-1] - 1.0
    high = np.maximum.accumulate(equity)
    row["tick"] = -1
    row["ticks"] = row["periods"] = len(r)
    row["capital"], row["equity"] = capital, equity[-1]
    row["high"], row["low"] = equity.max(), equity.min()
    row["growth"] = equity[-1] / capital
    row["growth_high"], row["growth_low"] = equity.max() / capital, equity.min() / capital
    row["drawdown"] = ((high - equity) / high).max()
    row["drawdown_cash"] = (high - equity).max()
    row["drawdown_open"] = int(equity[-1] < high[-1])
    for k in range(1, 5):
        row["sum_r" if k == 1 else f"sum_r{k}"] = (r**k).sum()
    row["sum_down2"] = (np.minimum(r, 0.0) ** 2).sum()
    row["sum_lag"] = (r[1:] * r[:-1]).sum()
    row["first_r"], row["last_r"] = (r[0], r[-1]) if len(r) else (np.nan, np.nan)
    row["span_ns"] = 10**9 * len(r)
    return row


def value(name: str, row: Rows, ppy: float = 252.0) -> float:
    return float(metrics_of(row, ppy)[name][0])


def test_ratios_have_their_textbook_values() -> None:
    returns = [0.01, -0.02, 0.03, 0.0]
    row = row_of_returns(returns)
    r = np.array(returns)
    assert value("sharpe", row) == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(252))
    downside = math.sqrt(0.02**2 / 4)
    assert value("sortino", row) == pytest.approx(r.mean() / downside * math.sqrt(252))
    growth = float(np.prod(1 + r))
    assert value("total_return", row) == pytest.approx(growth - 1)
    assert value("max_drawdown", row) == pytest.approx(0.02)
    assert value("calmar", row) == pytest.approx((growth ** (252 / 4) - 1) / 0.02)


def test_an_initial_loss_is_a_drawdown() -> None:
    assert value("max_drawdown", row_of_returns([-0.1, 0.05])) == pytest.approx(0.1)


def test_trade_figures_have_their_textbook_values() -> None:
    row = row_of_returns([0.01, 0.01])
    profits = [3.0, -1.0, 0.0, 2.0]
    row["trades"], row["wins"], row["losses"] = 4, 2, 1
    row["gross_profit"], row["gross_loss"] = 5.0, 1.0
    row["sum_trade2"] = sum(p * p for p in profits)
    row["holding_ns"] = 8 * 10**9
    assert value("profit_factor", row) == 5.0
    assert value("expectancy", row) == 1.0
    assert value("win_rate", row) == 0.5
    assert value("sqn", row) == pytest.approx(2.0 * 1.0 / np.std(profits, ddof=1))
    assert value("mean_holding_time", row) == 2.0


def test_what_is_undefined_is_nan_with_a_reason() -> None:
    flat = row_of_returns([0.0, 0.0, 0.0])
    for name, reason in {
        "sharpe": "returns without variance",
        "sortino": "no losing period",
        "calmar": "no drawdown",
        "profit_factor": "no trades",
        "sqn": "no trades",
        "win_rate": "no trades",
    }.items():
        assert math.isnan(value(name, flat)), name
        assert undefined(name, flat[0]) == reason
    assert undefined("sharpe", row_of_returns([0.1])[0]) == "fewer than two clock periods"
    same = row_of_returns([0.01] * 50)
    assert math.isnan(value("sharpe", same))


def test_a_failed_row_has_no_metric_and_a_ruined_one_no_ratio() -> None:
    row = row_of_returns([0.1, -0.2, 0.1])
    row["status"] = STATUS_ERROR
    assert all(math.isnan(value(name, row)) for name in METRICS)
    row["status"] = STATUS_RUINED
    assert math.isnan(value("sharpe", row))
    assert undefined("sharpe", row[0]) == "equity fell to zero or below"
    assert not math.isnan(value("net_profit", row))


returns_lists = st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=12)


@given(returns_lists, returns_lists)
def test_merged_slices_chain_their_returns(first: list[float], second: list[float]) -> None:
    whole = row_of_returns(first + second)
    merged = merge(row_of_returns(first), row_of_returns(second))
    for name in ("growth", "growth_high", "growth_low", "drawdown"):
        assert merged[name][0] == pytest.approx(whole[name][0], abs=1e-12), name
    for name in ("periods", "ticks", "sum_r", "sum_r2", "sum_r3", "sum_down2", "sum_lag"):
        assert merged[name][0] == pytest.approx(whole[name][0], abs=1e-12), name
    assert merged["drawdown_open"][0] == int(merged["growth"][0] < merged["growth_high"][0])


@given(returns_lists, returns_lists, returns_lists)
def test_merging_is_associative(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = row_of_returns(a), row_of_returns(b), row_of_returns(c)
    left, right = merge(merge(x, y), z)[0], merge(x, merge(y, z))[0]
    for name in ROW.names or ():
        if ROW[name].kind == "i" and name != "drawdown_open":
            assert left[name] == right[name], name
        elif name != "drawdown_open":
            assert left[name] == pytest.approx(right[name], rel=1e-9, abs=1e-9), name


@given(returns_lists, returns_lists)
def test_cash_adds_up_over_merged_slices(first: list[float], second: list[float]) -> None:
    a, b = row_of_returns(first), row_of_returns(second)
    merged = merge(a, b)
    profit = (a["equity"] - 100.0) + (b["equity"] - 100.0)
    assert merged["equity"][0] - 100.0 == pytest.approx(profit[0], abs=1e-9)
