"""PyBroker on bars of one tick each, whose high is the ask and whose low is the bid."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pybroker
from pybroker import FeeMode, PriceType, StrategyConfig
from pybroker import Strategy as Broker

PACKAGES = ("lib-pybroker", "pandas")
ACCOUNTING = "portfolio at every tick in decimals, orders, trades, its metrics"
MOST = 1_000_000

_START = np.datetime64("2014-05-01T00:00:00", "ns")

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Make bars a second apart, the last one twice: orders fill one bar later."""
    pybroker.disable_logging()
    pybroker.disable_progress_bar()
    bid, ask = (np.append(side, side[-1]) for side in (bid, ask))
    mid = 0.5 * (bid + ask)
    dates = _START + np.arange(len(bid)) * np.timedelta64(1, "s")
    bars = pd.DataFrame(
        {"symbol": "TICK", "date": dates, "open": mid, "high": ask, "low": bid, "close": mid}
    )
    config = StrategyConfig(
        initial_cash=terms["cash"],
        fee_mode=FeeMode.ORDER_PERCENT,
        fee_amount=100.0 * terms["rate"],
        round_fill_price=False,
        round_test_result=False,
    )
    n = len(bid) - 1
    # Indicators on one core; version 2 does not have the switch.
    takes = inspect.signature(Broker.backtest).parameters
    alone = {"disable_parallel": True} if "disable_parallel" in takes else {}

    def begin() -> Callable[[], Rows]:
        brokers = [_broker(bars, dates, config, n, k, pair) for k, pair in enumerate(pairs)]

        def run() -> Rows:
            return [_read(broker.backtest(**alone), terms["cash"]) for broker in brokers]

        return run

    return begin


def _broker(
    bars: pd.DataFrame, dates: Any, config: Any, n: int, k: int, pair: tuple[float, float]
) -> Any:
    gap = pybroker.indicator(
        f"gap{k}", lambda data: _ema(data.close, pair[0]) - _ema(data.close, pair[1])
    )

    def trade(context: Any) -> None:
        row = context.bars - 1
        held = context.session.get("target", 0)
        if row == 0 or row >= n:
            return
        target = 0 if row == n - 1 else 1 if context.indicator(gap.name)[-1] > 0.0 else -1
        if target > held:
            context.buy_shares = target - held
            context.buy_fill_price = PriceType.HIGH
        elif target < held:
            context.sell_shares = held - target
            context.sell_fill_price = PriceType.LOW
        context.session["target"] = target

    broker = Broker(bars, dates[0], dates[-1], config)
    broker.add_execution(trade, ["TICK"], indicators=gap)
    return broker


def _read(found: Any, cash: float) -> tuple[float, int, float]:
    fees = float(found.orders["fees"].astype(float).sum())
    return float(found.portfolio["equity"].iloc[-1]) - cash, len(found.orders), fees


def _ema(values: Any, window: float) -> Any:
    return pd.Series(values).ewm(span=window, adjust=False).mean().to_numpy()
