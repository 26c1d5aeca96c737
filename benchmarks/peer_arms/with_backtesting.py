"""backtesting.py on bars of one tick each, open, high, low and close being the mid.

Its own spread is one rate for all bars; so the half-spread of the bar at which an order
is filled is charged as commission, through the function that it takes for this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy

PACKAGES = ("backtesting", "pandas")
ACCOUNTING = "equity at every tick, trades, its table of statistics"
MOST = 4_000_000

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Make bars, the last one twice: a position that is closed there fills one bar later."""
    bid, ask = (np.append(side, side[-1]) for side in (bid, ask))
    mid = pd.Series(0.5 * (bid + ask))
    bars = pd.DataFrame({name: mid for name in ("Open", "High", "Low", "Close")})
    rate, cash = terms["rate"], terms["cash"]
    half = (0.5 * (ask - bid)).tolist()
    n = len(bid) - 1

    def commission(size: float, price: float) -> float:
        # The size is that of the trade, also where a fill ends it; so the strategy tells
        # which way its order goes.
        spread = half[len(Crossover.now) - 1]
        return float(abs(size) * (spread + rate * (price + Crossover.way * spread)))

    class Crossover(Strategy):  # type: ignore[misc]
        fast = slow = 1.0
        now: Any = ()
        way = 0

        def init(self) -> None:
            Crossover.now = self.data
            self.quick = self.I(_ema, mid, self.fast)
            self.calm = self.I(_ema, mid, self.slow)
            self.row = 0
            self.target = 0

        def next(self) -> None:
            self.row += 1
            if self.row >= n - 1:
                if self.row == n - 1:
                    Crossover.way = -self.target
                    self.position.close()
                return
            target = 1 if self.quick[-1] > self.calm[-1] else -1
            if target != self.target:
                Crossover.way = target
            if target > self.target:
                self.buy(size=target - self.target)
            elif target < self.target:
                self.sell(size=self.target - target)
            self.target = target

    def begin() -> Callable[[], Rows]:
        test = Backtest(bars, Crossover, cash=cash, commission=commission)

        def run() -> Rows:
            return [
                _read(test.run(fast=fast, slow=slow), bid, ask, rate, cash) for fast, slow in pairs
            ]

        return run

    return begin


def _read(stats: Any, bid: Any, ask: Any, rate: float, cash: float) -> tuple[float, int, float]:
    trades = stats["_trades"]
    long = trades["Size"].to_numpy() > 0
    paid = 0.0
    for column, buys in (("EntryBar", long), ("ExitBar", ~long)):
        bar = trades[column].to_numpy()
        paid += rate * float(np.where(buys, ask[bar], bid[bar]).sum())
    # A reversal is one fill, and shows as the end of one trade and the start of another.
    return stats["Equity Final [$]"] - cash, len(trades) + 1, paid


def _ema(mid: pd.Series, window: float) -> Any:
    return mid.ewm(span=window, adjust=False).mean().to_numpy()
