"""hftbacktest: a compiled strategy on an order book that has the best bid and ask alone.

Quotes are given as depth events, stamped a microsecond apart (so that equal stamps stay
apart), in an order in which bid and ask never cross. Orders are market orders without
latency; the strategy sends each one tick after its decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from numba import njit

PACKAGES = ("hftbacktest", "numba")
ACCOUNTING = "order book, orders, balance, fees"
MOST = 1 << 30

_STEP = 1_000
_ENOUGH = 1e6

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Turn quotes into depth events; each variant gets a simulator of its own."""
    events = _events(bid, ask)
    tick_size = 10.0 ** -terms["decimals"]
    rate = terms["rate"]

    def begin() -> Callable[[], Rows]:
        markets = [_market(events, bid, ask, tick_size, rate) for _ in pairs]
        events_kept = [events]  # simulators read the array without owning it

        def run() -> Rows:
            rows = []
            for market, (fast, slow) in zip(markets, pairs, strict=True):
                balance, position, fee, fills = _trade(market, len(bid), fast, slow)
                if position != 0.0:
                    raise RuntimeError(f"hftbacktest ended with a position of {position:g}")
                rows.append((balance - fee, fills, fee))
            for market in markets:
                market.close()
            del events_kept[:]
            return rows

        return run

    return begin


def _market(events: Any, bid: Any, ask: Any, tick_size: float, rate: float) -> Any:
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(rate, rate)
        .tick_size(tick_size)
        .lot_size(1.0)
        .roi_lb(float(bid.min()) - tick_size)
        .roi_ub(float(ask.max()) + tick_size)
        .last_trades_capacity(0)
    )
    return ROIVectorMarketDepthBacktest([asset])


@njit
def _events(bid: Any, ask: Any) -> Any:
    """Return what changes the book from each quote to the next, new levels first."""
    n = len(bid)
    out = np.zeros(4 * n, event_dtype)
    m = 0
    for i in range(n):
        stamp = (i + 1) * _STEP
        ask_first = i > 0 and ask[i] > ask[i - 1]
        for part in range(2):
            selling = (part == 0) == ask_first
            price = ask if selling else bid
            if i > 0 and price[i] == price[i - 1]:
                continue
            side = SELL_EVENT if selling else BUY_EVENT
            for gone in range(2):
                if gone == 1 and i == 0:
                    continue
                out[m].ev = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | side
                out[m].exch_ts = stamp
                out[m].local_ts = stamp
                out[m].px = price[i - gone]
                out[m].qty = 0.0 if gone == 1 else _ENOUGH
                m += 1
    return out[:m]


@njit
def _trade(market: Any, n: int, fast_window: float, slow_window: float) -> Any:
    fast_weight = 2.0 / (fast_window + 1.0)
    slow_weight = 2.0 / (slow_window + 1.0)
    market.elapse(1)  # its clock begins at the first event
    depth = market.depth(0)
    fast = 0.5 * (depth.best_bid + depth.best_ask)
    slow = fast
    target = 0.0
    position = 0.0
    number = 0
    for _ in range(1, n):
        market.elapse(_STEP)
        if target != position:
            number += 1
            _send(market, number, target - position)
            position = target
        mid = 0.5 * (depth.best_bid + depth.best_ask)
        fast += fast_weight * (mid - fast)
        slow += slow_weight * (mid - slow)
        target = 1.0 if fast > slow else -1.0
    if position != 0.0:
        number += 1
        _send(market, number, -position)
    values = market.state_values(0)
    return values.balance, values.position, values.fee, values.num_trades


@njit
def _send(market: Any, number: int, units: float) -> None:
    depth = market.depth(0)
    if units > 0.0:
        market.submit_buy_order(0, number, depth.best_ask, units, GTC, MARKET, True)
    else:
        market.submit_sell_order(0, number, depth.best_bid, -units, GTC, MARKET, True)
    market.clear_inactive_orders(0)
