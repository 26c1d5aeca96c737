"""Marking an account to the market: equity, drawdown and clock periods over stretches of ticks.

Between two fills cash and position stand still, so that equity is ``cash + position *
worth`` with one ``worth`` a tick (mark times contract size) for all variants. Rounding
never reverses an order, so the highest and the lowest equity of a stretch are those of
its highest and lowest worth, to the bit, and a stretch that stays below the high needs
two numbers instead of a walk over its ticks. `prepare` works out, once for a chunk of
ticks and all variants of a batch, tables from which those two numbers follow for any
stretch (a sparse table: Bender & Farach-Colton 2000, The LCA problem revisited,
section 3); `advance` marks one variant. Where a stretch reaches a new high it is walked.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from sweep.fills import close_period, end_spell
from sweep.schema import STATUS_OK, STATUS_RUINED

__all__ = ["CHUNK", "LEVELS", "advance", "mark_point", "prepare"]

#: Ticks that are worked through together.
CHUNK = 1024

#: Of the tables: spans of 1, 2, 4 ... 1024 ticks.
LEVELS = 11

#: Ticks up to which a stretch is walked without a look at the tables.
_WALK = 12


@njit(error_model="numpy")
def prepare(
    bid: Any,
    ask: Any,
    first: int,
    end: int,
    half: float,
    units: float,
    mark_close: bool,
    tables: bool,
    high: Any,
    low: Any,
) -> bool:
    """Work out the worth of a contract at the ticks ``first`` to ``end``, and its extremes.

    Parameters
    ----------
    bid, ask : ndarray of shape (n_ticks,), float64
    first, end : int
        At most `CHUNK` ticks.
    half : float
        Half-spread around trades.
    units : float
        Contract size.
    mark_close : bool
        Mark a long position at the bid and a short one at the ask, instead of the mid.
    tables : bool
        Whether to work out the extremes too.
    high, low : ndarray of shape (2, LEVELS, CHUNK), float64
        ``high[s, k, i]`` becomes the highest worth of the ``2 ** k`` ticks from ``i``;
        ``high[s, 0]`` the worth itself. Series 0 is of long positions, 1 of short ones
        (1 is used with ``mark_close`` alone).

    Returns
    -------
    bool
        Whether the extremes can be used: they cannot with a NaN among the prices.
    """
    n = end - first
    if mark_close:
        for i in range(n):
            high[0, 0, i] = (bid[first + i] - half) * units
            high[1, 0, i] = (ask[first + i] + half) * units
    else:
        for i in range(n):
            b = bid[first + i] - half
            a = ask[first + i] + half
            high[0, 0, i] = 0.5 * (b + a) * units
    if not tables:
        return False
    n_series = 2 if mark_close else 1
    for s in range(n_series):
        holes = 0
        for i in range(n):
            worth = high[s, 0, i]
            low[s, 0, i] = worth
            holes |= 1 if worth != worth else 0
        if holes != 0:
            return False
        span = 1
        for k in range(1, LEVELS):
            if 2 * span > n:
                break
            for i in range(n - 2 * span + 1):
                a = high[s, k - 1, i]
                b = high[s, k - 1, i + span]
                high[s, k, i] = a if a > b else b
            for i in range(n - 2 * span + 1):
                a = low[s, k - 1, i]
                b = low[s, k - 1, i + span]
                low[s, k, i] = a if a < b else b
            span *= 2
    return True


@njit(error_model="numpy")
def mark_point(c: Any, r: Any, equity: float, ts: int, tick: int) -> None:
    """Take the equity at one tick into the drawdown figures of carry and row."""
    if equity < r.high:
        c.trough = equity if equity < c.trough else c.trough
        c.under = 1
    else:
        if c.under != 0:
            end_spell(c, r.high, c.high_ts, c.trough, ts)
            c.under = 0
        r.high = equity
        c.high_ts = ts
        c.trough = equity
    if equity <= 0.0 and r.status == STATUS_OK:
        r.status = STATUS_RUINED
        r.tick = tick


@njit(error_model="numpy")
def _equity(c: Any, worth: float) -> float:
    # A flat account is worth its cash, also where there is no price.
    equity: float = c.cash + c.position * worth if c.position != 0.0 else c.cash
    return equity


@njit(error_model="numpy")
def _walk(c: Any, r: Any, worth: Any, ts: Any, origin: int, begin: int, end: int) -> None:
    """Mark at each of the ticks ``begin`` to ``end``; places are relative to ``origin``."""
    cash = c.cash
    position = c.position
    high = r.high
    high_ts = c.high_ts
    trough = c.trough
    under = c.under != 0
    for i in range(begin, end):
        equity = cash + position * worth[i]
        if equity < high:
            trough = equity if equity < trough else trough
            under = True
        else:
            t = ts[origin + i]
            if under:
                end_spell(c, high, high_ts, trough, t)
                under = False
            high = equity
            high_ts = t
            trough = equity
        if equity <= 0.0 and r.status == STATUS_OK:
            r.status = STATUS_RUINED
            r.tick = origin + i
    r.high = high
    c.high_ts = high_ts
    c.trough = trough
    c.under = 1 if under else 0


@njit(error_model="numpy")
def _mark(
    c: Any,
    r: Any,
    high: Any,
    low: Any,
    s: int,
    tables: bool,
    ts: Any,
    origin: int,
    begin: int,
    end: int,
) -> None:
    cash = c.cash
    position = c.position
    if position == 0.0:
        # Equity is the cash at every tick, so that the first and the last tell all.
        mark_point(c, r, cash, ts[origin + begin], origin + begin)
        if c.under == 0:
            c.high_ts = ts[origin + end - 1]
        return
    worth = high[s, 0]
    if not tables:
        _walk(c, r, worth, ts, origin, begin, end)
        return
    while end - begin > _WALK:
        span = 1
        level = 0
        while 2 * span <= end - begin:
            span *= 2
            level += 1
        # Two spans that overlap cover the stretch; half of it is tried where the whole
        # reaches the high, down to a stretch that is worth walking.
        reach = end
        while True:
            a = high[s, level, begin]
            b = high[s, level, reach - span]
            top = a if a > b else b
            a = low[s, level, begin]
            b = low[s, level, reach - span]
            bottom = a if a < b else b
            if position < 0.0:
                top, bottom = bottom, top
            best = cash + position * top
            worst = cash + position * bottom
            if best < r.high and (worst > 0.0 or r.status != STATUS_OK):
                c.trough = worst if worst < c.trough else c.trough
                c.under = 1
                break
            if span <= _WALK:
                _walk(c, r, worth, ts, origin, begin, reach)
                break
            span //= 2
            level -= 1
            reach = begin + span
        begin = reach
    if begin < end:
        _walk(c, r, worth, ts, origin, begin, end)


@njit(error_model="numpy")
def advance(
    c: Any,
    r: Any,
    high: Any,
    low: Any,
    mark_close: bool,
    tables: bool,
    ts: Any,
    edges: Any,
    n_edges: int,
    origin: int,
    end: int,
) -> None:
    """Mark a variant at its ticks up to ``end`` (excluded), before any fill at ``end``.

    Clock periods that are over by tick ``end`` are closed.

    Parameters
    ----------
    c, r : records of dtype `sweep.fills.CARRY` and `sweep.schema.ROW`
        ``c.done`` is the first tick that is not marked yet, ``c.edge`` the place of the
        first edge that is not passed yet, ``c.equity`` that at tick ``c.done - 1``.
    high, low : ndarray of shape (2, LEVELS, CHUNK), float64
        See `prepare`.
    mark_close, tables : bool
    ts : ndarray of shape (n_ticks,), int64
    edges : ndarray of shape (at least n_edges,), int64
        Ticks of the chunk that are the first of a clock period.
    n_edges : int
    origin : int
        First tick of the chunk.
    end : int
        At most one past the chunk's last tick.
    """
    s = 1 if mark_close and c.position < 0.0 else 0
    worth = high[s, 0]
    while c.edge < n_edges and edges[c.edge] <= end:
        last = edges[c.edge] - 1
        equity = c.equity
        if last >= c.done:
            equity = _equity(c, worth[last - origin])
        close_period(c, r, equity)
        c.edge += 1
    if c.done < end:
        _mark(c, r, high, low, s, tables, ts, origin, c.done - origin, end - origin)
        c.equity = _equity(c, worth[end - 1 - origin])
        c.done = end
