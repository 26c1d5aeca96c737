"""NumPy, with SciPy's recursive filter for the averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.signal import lfilter

PACKAGES = ("numpy", "scipy")
ACCOUNTING = "position, profit"
MOST = 1 << 30

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Take the ticks as they are; the mid is worked out beforehand."""
    mid = 0.5 * (bid + ask)
    rate = terms["rate"]

    def run() -> Rows:
        return [_one(bid, ask, mid, fast, slow, rate) for fast, slow in pairs]

    return lambda: run


def _one(bid: Any, ask: Any, mid: Any, fast: float, slow: float, rate: float) -> Any:
    long = _ema(mid, fast) > _ema(mid, slow)
    # The first decision is that of the second tick, and each is filled at the next tick.
    decided = long[1:-1]
    turns = np.flatnonzero(decided[1:] != decided[:-1])
    at = np.concatenate(([2], turns + 3))
    buys = decided[at - 2]
    price = np.where(buys, ask[at], bid[at])
    units = np.where(buys, 2.0, -2.0)
    units[0] *= 0.5
    last = -1.0 if buys[-1] else 1.0
    close = ask[-1] if last > 0.0 else bid[-1]
    commission = rate * (np.dot(np.abs(units), price) + close)
    return -np.dot(units, price) - last * close - commission, len(at) + 1, commission


def _ema(mid: Any, window: float) -> Any:
    weight = 2.0 / (window + 1.0)
    start = [(1.0 - weight) * mid[0]]
    return lfilter([weight], [1.0, weight - 1.0], mid, zi=start)[0]
