"""Pandas, as one would write it in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

PACKAGES = ("pandas",)
ACCOUNTING = "position, profit"
MOST = 1 << 30

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Put the ticks into a frame; the mid is worked out beforehand."""
    ticks = pd.DataFrame({"bid": bid, "ask": ask, "mid": 0.5 * (bid + ask)})
    rate = terms["rate"]

    def run() -> Rows:
        return [_one(ticks, fast, slow, rate) for fast, slow in pairs]

    return lambda: run


def _one(ticks: pd.DataFrame, fast: float, slow: float, rate: float) -> Any:
    quick = ticks["mid"].ewm(span=fast, adjust=False).mean()
    calm = ticks["mid"].ewm(span=slow, adjust=False).mean()
    target = pd.Series(np.where(quick > calm, 1.0, -1.0))
    target.iloc[0] = 0.0  # the first decision is that of the second tick
    delta = target.shift(1, fill_value=0.0).diff().fillna(0.0)
    traded = delta[delta != 0.0]
    price = ticks["ask"].where(delta > 0.0, ticks["bid"])[traded.index]
    held = traded.sum()
    close = ticks["bid"].iloc[-1] if held > 0.0 else ticks["ask"].iloc[-1]
    commission = rate * ((traded.abs() * price).sum() + abs(held) * close)
    profit = held * close - (traded * price).sum() - commission
    return profit, len(traded) + 1, commission
