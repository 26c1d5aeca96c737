"""vectorbt, all variants as columns of one portfolio, with its compiled (Numba) engine.

The averages are its exponential mean, the fills its ``from_orders`` with target amounts
and the quotes as prices. Averages of windows that are not full count, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt

PACKAGES = ("vectorbt", "numba", "pandas")
ACCOUNTING = "cash, position, order records"
MOST = 12_000_000  # a hundred bytes each

ENGINE = "numba"

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Take the ticks with the last one twice: an order a row, and the end needs a row."""
    bid, ask = (np.append(side, side[-1]) for side in (bid, ask))
    mid = pd.Series(0.5 * (bid + ask))
    rate = terms["rate"]
    engine = terms.get("engine", ENGINE)

    def ema(window: float) -> Any:
        return mid.vbt.ewm_mean(int(window), minp=1, adjust=False, engine=engine).to_numpy()

    def run() -> Rows:
        n = len(bid) - 1
        target = np.full((n + 1, len(pairs)), np.nan)
        price = np.empty((n + 1, len(pairs)))
        known: dict[float, Any] = {}
        for k, (fast, slow) in enumerate(pairs):
            for window in (fast, slow):
                if window not in known:
                    known[window] = ema(window)
            decided = (known[fast] > known[slow])[1 : n - 1]  # filled one tick later
            turned = np.concatenate(([True], decided[1:] != decided[:-1]))
            target[2:n, k] = np.where(turned, np.where(decided, 1.0, -1.0), np.nan)
            target[n, k] = 0.0
            price[2:n, k] = np.where(decided, ask[2:n], bid[2:n])
            price[n, k] = bid[n] if decided[-1] else ask[n]
        price[:2] = bid[0]
        portfolio = vbt.Portfolio.from_orders(
            mid,
            size=target,
            size_type="targetamount",
            direction="both",
            price=price,
            fees=rate,
            init_cash=terms["cash"],
            max_orders=int(np.count_nonzero(~np.isnan(target))),
            engine=engine,
        )
        profit = np.atleast_1d(np.asarray(portfolio.total_profit()))
        orders = portfolio.orders
        fills = np.atleast_1d(np.asarray(orders.count()))
        fees = np.bincount(orders.values["col"], orders.values["fees"], minlength=len(pairs))
        return list(zip(profit, fills, fees, strict=True))

    return lambda: run
