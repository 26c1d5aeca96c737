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

import numpy as np
from numba import njit

from sweep.kernel.accounting import close_periods, end_spell, equity_at
from sweep.schema import STATUS_OK, STATUS_RUINED

__all__ = ["CHUNK", "LEVELS", "advance", "mark_point", "prepare", "stays_under", "walk"]

#: Ticks that are worked through together.
CHUNK = 1024

#: Of the tables: spans of 1, 2, 4 ... 1024 ticks.
LEVELS = 11

#: Ticks up to which a stretch is walked without a look at its extremes.
_WALK = 12

#: Ticks of which the extremes are looked for together, where there are no tables.
_SCAN = 128

#: Variants from which on tables are worth their while.
_MANY = 12

# Where the extremes of a stretch come from: from nowhere (a NaN is among the prices, and
# every tick is walked), from tables, or from looking at all of its ticks.
NOWHERE, TABLES, TICKS = 0, 1, 2

#: The largest level whose span fits into a number of ticks.
_LEVEL = np.array([max(n.bit_length() - 1, 0) for n in range(CHUNK + 1)], np.int8)


@njit(error_model="numpy")
def prepare(
    bid: Any,
    ask: Any,
    first: int,
    end: int,
    half: float,
    units: float,
    mark_close: bool,
    n_variants: int,
    high: Any,
    low: Any,
) -> int:
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
    n_variants : int
        For how many variants; few of them are not worth tables.
    high, low : ndarray of shape (2, LEVELS, CHUNK), float64
        ``high[s, k, i]`` becomes the highest worth of the ``2 ** k`` ticks from ``i``;
        ``high[s, 0]`` the worth itself. Series 0 is of long positions, 1 of short ones
        (1 is used with ``mark_close`` alone).

    Returns
    -------
    int
        Where extremes come from: ``NOWHERE``, ``TABLES`` or ``TICKS``.
    """
    n = end - first
    bids = bid[first:end]
    asks = ask[first:end]
    n_series = 2 if mark_close else 1
    holes = 0
    for s in range(n_series):
        worths = high[s, 0]
        for i in range(n):
            b = bids[i] - half
            a = asks[i] + half
            mark = 0.5 * (b + a)
            if mark_close:
                mark = b if s == 0 else a
            worth = mark * units
            worths[i] = worth
            holes |= 1 if worth != worth else 0
    if holes != 0:
        return NOWHERE
    if n_variants < _MANY:
        return TICKS
    for s in range(n_series):
        for i in range(n):
            low[s, 0, i] = high[s, 0, i]
        span = 1
        for k in range(1, LEVELS):
            if 2 * span > n:
                break
            m = n - 2 * span + 1
            one = high[s, k - 1, :m]
            other = high[s, k - 1, span : span + m]
            best = high[s, k, :m]
            for i in range(m):
                best[i] = one[i] if one[i] > other[i] else other[i]
            one = low[s, k - 1, :m]
            other = low[s, k - 1, span : span + m]
            worst = low[s, k, :m]
            for i in range(m):
                worst[i] = one[i] if one[i] < other[i] else other[i]
            span *= 2
    return TABLES


@njit(error_model="numpy")
def _extremes(worth: Any, begin: int, end: int) -> tuple[float, float]:
    """Return the highest and the lowest of some values, none of them NaN."""
    values = worth[begin:end]
    top0 = top1 = top2 = top3 = low0 = low1 = low2 = low3 = values[0]
    n = len(values) // 4 * 4
    for i in range(0, n, 4):
        # Four at a time, in a form that LLVM takes for one operation on a vector.
        a = values[i]
        b = values[i + 1]
        c = values[i + 2]
        d = values[i + 3]
        top0 = a if a > top0 else top0
        top1 = b if b > top1 else top1
        top2 = c if c > top2 else top2
        top3 = d if d > top3 else top3
        low0 = a if a < low0 else low0
        low1 = b if b < low1 else low1
        low2 = c if c < low2 else low2
        low3 = d if d < low3 else low3
    for i in range(n, len(values)):
        a = values[i]
        top0 = a if a > top0 else top0
        low0 = a if a < low0 else low0
    return max(max(top0, top1), max(top2, top3)), min(min(low0, low1), min(low2, low3))


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


@njit(error_model="numpy", forceinline=True)
def walk(
    c: Any,
    r: Any,
    worth: Any,
    ts: Any,
    origin: int,
    shift: int,
    tick: int,
    begin: int,
    end: int,
) -> None:
    """Mark at each of the ticks ``begin`` to ``end``.

    Parameters
    ----------
    c, r : records of dtype `sweep.kernel.accounting.CARRY` and `sweep.schema.ROW`
    worth : ndarray of shape (at least end,), float64
    ts : ndarray of shape (n_ticks,), int64
    origin, shift : int
        The stamp of tick ``i`` is ``ts[origin + i] + shift``.
    tick : int
        Number of tick 0, as the row names it.
    begin, end : int
    """
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
            t = ts[origin + i] + shift
            if under:
                end_spell(c, high, high_ts, trough, t)
                under = False
            high = equity
            high_ts = t
            trough = equity
        if equity <= 0.0 and r.status == STATUS_OK:
            r.status = STATUS_RUINED
            r.tick = tick + i
    r.high = high
    c.high_ts = high_ts
    c.trough = trough
    c.under = 1 if under else 0


@njit(error_model="numpy")
def stays_under(c: Any, r: Any, top: float, bottom: float) -> bool:
    """Take a stretch by its highest and lowest worth, if it stays below the high and above ruin.

    Returns
    -------
    bool
        False where it does not; nothing is changed then.
    """
    best = c.cash + c.position * (top if c.position > 0.0 else bottom)
    worst = c.cash + c.position * (bottom if c.position > 0.0 else top)
    if best < r.high and (worst > 0.0 or r.status != STATUS_OK):
        c.trough = worst if worst < c.trough else c.trough
        c.under = 1
        return True
    return False


@njit(error_model="numpy")
def _mark(
    c: Any,
    r: Any,
    high: Any,
    low: Any,
    s: int,
    tables: int,
    ts: Any,
    origin: int,
    begin: int,
    end: int,
) -> None:
    if c.position == 0.0:
        # Equity is the cash at every tick, so that the first and the last tell all.
        mark_point(c, r, c.cash, ts[origin + begin], origin + begin)
        if c.under == 0:
            c.high_ts = ts[origin + end - 1]
        return
    worth = high[s, 0]
    if tables == TICKS:
        while end - begin > _WALK:
            reach = min(begin + _SCAN, end)
            top, bottom = _extremes(worth, begin, reach)
            if not stays_under(c, r, top, bottom):
                walk(c, r, worth, ts, origin, 0, origin, begin, reach)
            begin = reach
    elif tables == TABLES:
        while end - begin > _WALK:
            level = int(_LEVEL[end - begin])
            span = 1 << level
            # Two spans that overlap cover the stretch; half of it is tried where the
            # whole reaches the high, down to a stretch that is worth walking.
            reach = end
            while True:
                a = high[s, level, begin]
                b = high[s, level, reach - span]
                top = a if a > b else b
                a = low[s, level, begin]
                b = low[s, level, reach - span]
                bottom = a if a < b else b
                if stays_under(c, r, top, bottom):
                    break
                if span <= _WALK:
                    walk(c, r, worth, ts, origin, 0, origin, begin, reach)
                    break
                span //= 2
                level -= 1
                reach = begin + span
            begin = reach
    if begin < end:
        walk(c, r, worth, ts, origin, 0, origin, begin, end)


@njit(error_model="numpy", forceinline=True)
def advance(
    c: Any,
    r: Any,
    high: Any,
    low: Any,
    mark_close: bool,
    tables: int,
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
    c, r : records of dtype `sweep.kernel.accounting.CARRY` and `sweep.schema.ROW`
        ``c.done`` is the first tick that is not marked yet, ``c.edge`` the place of the
        first edge that is not passed yet, ``c.equity`` that at tick ``c.done - 1``.
    high, low : ndarray of shape (2, LEVELS, CHUNK), float64
        See `prepare`.
    mark_close : bool
    tables : int
        What `prepare` returned.
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
    if c.edge < n_edges and edges[c.edge] <= end:
        close_periods(c, r, worth, edges, n_edges, origin, end)
    if c.done < end:
        _mark(c, r, high, low, s, tables, ts, origin, c.done - origin, end - origin)
        c.equity = equity_at(c.cash, c.position, worth[end - 1 - origin])
        c.done = end
