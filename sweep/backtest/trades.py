"""The list of trades: round trips, put together from a replay's fills."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["TRIP", "round_trips"]

#: One closed round trip, from flat (or a reversal) to flat (or a reversal).
TRIP = np.dtype(
    [
        ("entry_ts", "<i8"),
        ("exit_ts", "<i8"),
        ("side", "<i8"),  # 1 long, -1 short
        ("quantity", "<f8"),  # contracts, the most that were held
        ("entry_price", "<f8"),  # mean over the fills that opened or enlarged it
        ("exit_price", "<f8"),  # mean over those that reduced or closed it
        ("profit", "<f8"),  # cash, after commission
        ("commission", "<f8"),
        ("slippage", "<f8"),
        ("spread", "<f8"),
        ("fills", "<i8"),
    ]
)


def round_trips(fills: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the round trips that a replay's fills make, in the order of their closing.

    Parameters
    ----------
    fills : ndarray of shape (n_fills,), dtype `sweep.kernel.accounting.FILL`
        In the order of time. The position is flat before the first.

    Returns
    -------
    ndarray of shape (n_trades,), dtype `TRIP`
        Prices include slippage. A reversal is the last fill of one trip and the first
        of the next; its costs are shared by quantity. A trip that is open after the
        last fill is left out.
    """
    trips: list[tuple[Any, ...]] = []
    open_ = _Open()
    position = 0.0
    for fill in fills:
        delta, after = float(fill["delta"]), float(fill["position"])
        if position == 0.0:
            open_ = _Open(int(fill["ts"]), 1 if delta > 0.0 else -1)
        crossing = position != 0.0 and after != 0.0 and (after > 0.0) != (position > 0.0)
        closing = position != 0.0 and (after == 0.0 or crossing)
        share = abs(position) / abs(delta) if crossing else 1.0
        open_.take(fill, -position if closing else delta, share)
        if closing:
            trips.append(open_.closed(fill))
        if crossing:
            open_ = _Open(int(fill["ts"]), 1 if after > 0.0 else -1)
            open_.take(fill, after, 1.0 - share)
        position = after
    return np.array(trips, dtype=TRIP)


class _Open:
    """The round trip that is under way."""

    def __init__(self, ts: int = 0, side: int = 1) -> None:
        self.ts, self.side = ts, side
        self.held = self.most = 0.0
        self.paid = [0.0, 0.0]  # quantity times price of what opened it, of what closed it
        self.moved = [0.0, 0.0]
        self.costs = [0.0, 0.0, 0.0]
        self.fills = 0

    def take(self, fill: Any, delta: float, share: float) -> None:
        kind = 0 if (delta > 0.0) == (self.side > 0) else 1
        self.held += delta
        self.most = max(self.most, abs(self.held))
        self.paid[kind] += abs(delta) * float(fill["price"])
        self.moved[kind] += abs(delta)
        for k, name in enumerate(("commission", "slippage", "spread")):
            self.costs[k] += share * float(fill[name])
        self.fills += 1

    def closed(self, fill: Any) -> tuple[Any, ...]:
        prices = [p / m if m else float("nan") for p, m in zip(self.paid, self.moved, strict=True)]
        return (
            self.ts,
            int(fill["ts"]),
            self.side,
            self.most,
            *prices,
            float(fill["profit"]),
            *self.costs,
            self.fills,
        )
