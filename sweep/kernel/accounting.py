"""Fills, accounting and the sums of a row: the compiled core that every kernel shares.

All functions are compiled by Numba and written so that the same text runs as plain
Python. They change two records in place: the *carry* of a variant (`CARRY`: position,
cash, the open round trip, the open clock period) and its row (`sweep.schema.ROW`).

Conventions: a buy fills at ``ask + slippage``, a sale at ``bid - slippage``; a position
of 1 is one contract of ``contract_size`` units; cash flows of a fill are
``-delta * price * contract_size`` less its commission.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sweep.schema import Account, Costs

__all__ = [
    "CARRY",
    "FILL",
    "TERMS",
    "begin_run",
    "book_trade",
    "close_period",
    "close_periods",
    "end_spell",
    "equity_at",
    "finish_row",
    "settle",
    "terms_of",
]

#: What a variant carries from one slice to the next, besides its strategy's state.
CARRY = np.dtype(
    [
        ("started", "<i8"),
        ("live_from", "<i8"),  # first tick at which orders count
        ("position", "<f8"),  # contracts
        ("cash", "<f8"),
        ("target", "<f8"),  # of the last order, filled or not
        ("pending", "<i8"),  # orders in flight
        ("head", "<i8"),  # place of the oldest in the ring of orders
        ("trip_cash", "<f8"),  # cash flows of the open round trip
        ("entry_ts", "<i8"),
        ("entry_price", "<f8"),
        ("bin_end", "<i8"),  # stamp at which the open clock period ends
        ("bin_equity", "<f8"),  # equity at the close of the period before it
        ("equity", "<f8"),  # marked at the last tick
        ("done", "<i8"),  # first tick that is not marked yet, within a call
        ("edge", "<i8"),  # first period's end that is not passed yet, within a chunk
        ("high_ts", "<i8"),  # stamp of the last tick at or above the high
        ("under", "<i8"),  # 1 while equity is below its high
        ("trough", "<f8"),  # lowest equity since the high
        # Of the spells below a high that have ended:
        ("low", "<f8"),
        ("drop", "<f8"),  # worst relative drawdown
        ("drop_cash", "<f8"),
        ("drop_ns", "<i8"),  # longest
    ]
)

#: Costs and account as one record, as kernels take them.
TERMS = np.dtype(
    [
        ("commission_rate", "<f8"),
        ("commission_per_unit", "<f8"),
        ("commission_per_fill", "<f8"),
        ("slippage", "<f8"),
        ("half_spread", "<f8"),
        ("latency", "<i8"),
        ("mark_close", "<i8"),
        ("capital", "<f8"),
        ("contract_size", "<f8"),
        ("clock", "<i8"),
    ]
)

#: One fill, as a replay records it.
FILL = np.dtype(
    [
        ("tick", "<i8"),
        ("ts", "<i8"),
        ("delta", "<f8"),  # contracts, negative for a sale
        ("price", "<f8"),  # slippage included
        ("position", "<f8"),  # after the fill
        ("commission", "<f8"),
        ("slippage", "<f8"),
        ("spread", "<f8"),
        ("profit", "<f8"),  # of the round trip that it closed, else NaN
        ("entry_ts", "<i8"),  # opening of the round trip that it closed, else 0
    ]
)


def terms_of(costs: Costs, account: Account) -> np.ndarray[Any, Any]:
    """Return costs and account as a record array of shape (1,), dtype `TERMS`."""
    terms = np.zeros(1, TERMS)
    terms["commission_rate"] = costs.commission_rate
    terms["commission_per_unit"] = costs.commission_per_unit
    terms["commission_per_fill"] = costs.commission_per_fill
    terms["slippage"] = costs.slippage
    terms["half_spread"] = costs.half_spread
    terms["latency"] = costs.latency
    terms["mark_close"] = costs.mark == "close"
    terms["capital"] = account.capital
    terms["contract_size"] = account.contract_size
    terms["clock"] = account.clock
    return terms


@njit(error_model="numpy")
def begin_run(c: Any, r: Any, terms: Any, ts: int) -> None:
    """Reset carry and row to a flat account at its first tick, stamped ``ts``."""
    capital = terms.capital
    c.started = 1
    c.position = 0.0
    c.cash = capital
    c.target = 0.0
    c.pending = 0
    c.head = 0
    c.trip_cash = 0.0
    c.entry_ts = 0
    c.entry_price = 0.0
    c.bin_end = (ts // terms.clock + 1) * terms.clock
    c.bin_equity = capital
    c.equity = capital
    c.high_ts = ts
    c.under = 0
    c.trough = capital
    c.low = capital
    c.drop = 0.0
    c.drop_cash = 0.0
    c.drop_ns = 0
    r.status = 0
    r.tick = -1
    r.ticks = 0
    r.first_ts = ts
    r.last_ts = ts
    r.span_ns = 0
    r.capital = capital
    r.equity = capital
    r.high = capital
    r.low = capital
    r.growth = 1.0
    r.growth_high = 1.0
    r.growth_low = 1.0
    r.drawdown = 0.0
    r.drawdown_cash = 0.0
    r.drawdown_ns = 0
    r.drawdown_open = 0
    r.periods = 0
    r.sum_r = 0.0
    r.sum_r2 = 0.0
    r.sum_r3 = 0.0
    r.sum_r4 = 0.0
    r.sum_down2 = 0.0
    r.sum_lag = 0.0
    r.first_r = np.nan
    r.last_r = np.nan
    r.fills = 0
    r.trades = 0
    r.wins = 0
    r.losses = 0
    r.gross_profit = 0.0
    r.gross_loss = 0.0
    r.sum_trade2 = 0.0
    r.holding_ns = 0
    r.turnover = 0.0
    r.commission = 0.0
    r.slippage = 0.0
    r.spread = 0.0


@njit(error_model="numpy")
def book_trade(r: Any, profit: float, holding: int) -> None:
    """Count a closed round trip: its profit after costs (cash) and holding time (ns)."""
    r.trades += 1
    r.holding_ns += holding
    r.sum_trade2 += profit * profit
    # Which way a trade went is as hard to guess for a processor: no branches.
    r.wins += 1 if profit > 0.0 else 0
    r.losses += 1 if profit < 0.0 else 0
    r.gross_profit += profit if profit > 0.0 else 0.0
    r.gross_loss -= profit if profit < 0.0 else 0.0


@njit(error_model="numpy", forceinline=True)
def settle(
    c: Any,
    r: Any,
    terms: Any,
    tick: int,
    ts: int,
    bid: float,
    ask: float,
    target: float,
    fills: Any,
    record: bool,
) -> None:
    """Fill an order to ``target`` contracts at this tick's quote.

    A reversal is one fill that closes a round trip and opens another; its commission is
    shared between the two by quantity. With ``record`` it is written to the place of
    ``fills`` that its number says; one beyond them is counted and not written.
    """
    old = c.position
    delta = target - old
    if delta == 0.0:
        return
    size = abs(delta)
    units = terms.contract_size
    price = ask + terms.slippage if delta > 0.0 else bid - terms.slippage
    notional = size * price * units
    commission = (
        terms.commission_rate * notional
        + terms.commission_per_unit * size
        + terms.commission_per_fill
    )
    slipped = size * terms.slippage * units
    crossed = size * (0.5 * (ask - bid)) * units
    c.cash -= delta * price * units
    c.cash -= commission
    c.position = target
    profit = np.nan
    closed_entry = 0
    if old == 0.0:
        c.trip_cash = -delta * price * units - commission
        c.entry_ts = ts
        c.entry_price = price
    elif target == 0.0 or (target > 0.0) != (old > 0.0):
        share = abs(old) / size
        profit = c.trip_cash + old * price * units - commission * share
        closed_entry = c.entry_ts
        book_trade(r, profit, ts - c.entry_ts)
        if target == 0.0:
            c.trip_cash = 0.0
            c.entry_ts = 0
            c.entry_price = 0.0
        else:
            c.trip_cash = -target * price * units - commission * (1.0 - share)
            c.entry_ts = ts
            c.entry_price = price
    else:
        c.trip_cash += -delta * price * units - commission
        if abs(target) > abs(old):
            c.entry_price = (old * c.entry_price + delta * price) / target
    # How many there are is known from another run, which a strategy need not repeat.
    if record and r.fills < fills.shape[0]:
        f = fills[r.fills]
        f.tick = tick
        f.ts = ts
        f.delta = delta
        f.price = price
        f.position = target
        f.commission = commission
        f.slippage = slipped
        f.spread = crossed
        f.profit = profit
        f.entry_ts = closed_entry
    r.fills += 1
    r.turnover += notional
    r.commission += commission
    r.slippage += slipped
    r.spread += crossed


@njit(error_model="numpy")
def equity_at(cash: float, position: float, worth: float) -> float:
    """Return the equity at a price of ``worth`` a contract (cash).

    A flat account is worth its cash, also where there is no price.
    """
    return cash + position * worth if position != 0.0 else cash


@njit(error_model="numpy")
def close_period(c: Any, r: Any, equity: float) -> None:
    """Take the return of the clock period that ends with ``equity`` into the sums."""
    value = equity / c.bin_equity - 1.0
    if c.bin_equity <= 0.0:
        value = np.nan
    c.bin_equity = equity
    if r.periods == 0:
        r.first_r = value
    else:
        r.sum_lag += value * r.last_r
    r.last_r = value
    r.periods += 1
    square = value * value
    r.sum_r += value
    r.sum_r2 += square
    r.sum_r3 += square * value
    r.sum_r4 += square * square
    r.sum_down2 += square if value < 0.0 else 0.0


@njit(error_model="numpy")
def close_periods(
    c: Any, r: Any, worth: Any, edges: Any, n_edges: int, origin: int, end: int
) -> None:
    """Close the clock periods that are over by tick ``end``; see `close_period`.

    The same sums, in registers until the last of them.

    Parameters
    ----------
    c, r : records of dtype `CARRY` and `sweep.schema.ROW`
        ``c.edge`` is the place of the first edge to look at; ``c.equity`` that at tick
        ``c.done - 1``.
    worth : ndarray of shape (n_ticks of the chunk,), float64
    edges : ndarray of shape (at least n_edges,), int64
        Ticks that are the first of a period.
    n_edges : int
    origin : int
        First tick of the chunk.
    end : int
    """
    cash = c.cash
    position = c.position
    before = c.bin_equity
    last_r = r.last_r
    edge = c.edge
    sum_r = r.sum_r
    sum_r2 = r.sum_r2
    sum_r3 = r.sum_r3
    sum_r4 = r.sum_r4
    sum_down2 = r.sum_down2
    sum_lag = r.sum_lag
    periods = r.periods
    while edge < n_edges and edges[edge] <= end:
        last = edges[edge] - 1
        equity = equity_at(cash, position, worth[last - origin]) if last >= c.done else c.equity
        value = equity / before - 1.0 if before > 0.0 else np.nan
        before = equity
        if periods == 0:
            r.first_r = value
        else:
            sum_lag += value * last_r
        last_r = value
        periods += 1
        square = value * value
        sum_r += value
        sum_r2 += square
        sum_r3 += square * value
        sum_r4 += square * square
        sum_down2 += square if value < 0.0 else 0.0
        edge += 1
    c.edge = edge
    c.bin_equity = before
    r.last_r = last_r
    r.periods = periods
    r.sum_r = sum_r
    r.sum_r2 = sum_r2
    r.sum_r3 = sum_r3
    r.sum_r4 = sum_r4
    r.sum_down2 = sum_down2
    r.sum_lag = sum_lag


@njit(error_model="numpy")
def end_spell(c: Any, high: float, high_ts: int, trough: float, ts: int) -> None:
    """Take a spell below ``high`` that ends at ``ts`` into the drawdown figures.

    ``(high - equity) / high`` never rises with equity, rounding included, so that the
    worst of a spell is that of its trough, to the bit: one division a spell.
    """
    c.low = min(c.low, trough)
    c.drop = max(c.drop, (high - trough) / high)
    c.drop_cash = max(c.drop_cash, high - trough)
    c.drop_ns = max(c.drop_ns, ts - high_ts)


@njit(error_model="numpy")
def finish_row(c: Any, r: Any, ts: int, ticks: int) -> None:
    """Write the figures of a row that follow from carry and sums, at its last tick.

    A spell below the high that is still open counts up to here, and stays open.
    """
    low, drop, drop_cash, drop_ns = c.low, c.drop, c.drop_cash, c.drop_ns
    if c.under != 0:
        end_spell(c, r.high, c.high_ts, c.trough, ts)
    r.low = c.low
    r.drawdown = c.drop
    r.drawdown_cash = c.drop_cash
    r.drawdown_ns = c.drop_ns
    c.low = low
    c.drop = drop
    c.drop_cash = drop_cash
    c.drop_ns = drop_ns
    r.drawdown_open = c.under
    r.ticks = ticks
    r.last_ts = ts
    r.span_ns = ts - r.first_ts
    r.equity = c.equity
    r.growth = c.equity / r.capital
    r.growth_high = r.high / r.capital
    r.growth_low = r.low / r.capital
