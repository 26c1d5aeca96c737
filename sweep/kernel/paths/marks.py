"""Marking one lane of many that each have ticks of their own.

As `sweep.kernel.marks`, with the worth of a contract by tick and lane, and the extremes of
stretches of `SPAN` ticks of each lane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sweep.kernel.accounting import close_periods, equity_at
from sweep.kernel.marks import mark_point, stays_under, walk

__all__ = ["SPAN", "advance_lane", "prepare_lanes"]

#: Ticks of which the extremes are known.
SPAN = 32


@njit(error_model="numpy")
def prepare_lanes(
    quotes: Any, n: int, width: int, units: float, worth: Any, top: Any, low: Any
) -> None:
    """Work out, for each lane at ``n`` ticks, the price at which a contract can be closed.

    Parameters
    ----------
    quotes : ndarray of shape (n_ticks, n_columns, stride), float64
        Bid and ask in the first two columns.
    n, width : int
        Ticks and lanes.
    units : float
        Contract size.
    worth : ndarray of shape (2, n_ticks, stride), float64
        Series 0 becomes that of long positions, 1 of short ones.
    top, low : ndarray of shape (2, stride, n_ticks // SPAN), float64
        Become the extremes of each whole span.
    """
    for s in range(2):
        for lane in range(width):
            for span in range(0, n, SPAN):
                most = -np.inf
                least = np.inf
                for k in range(span, min(span + SPAN, n)):
                    value = quotes[k, s, lane] * units
                    worth[s, k, lane] = value
                    most = max(most, value)
                    least = min(least, value)
                top[s, lane, span // SPAN] = most
                low[s, lane, span // SPAN] = least


@njit(error_model="numpy", forceinline=True)
def _mark_lane(
    c: Any,
    r: Any,
    worth: Any,
    top: Any,
    low: Any,
    ts: Any,
    origin: int,
    shift: int,
    tick: int,
    end: int,
) -> None:
    begin = c.done
    if c.position == 0.0:
        # Equity is the cash at every tick, so that the first and the last tell all.
        mark_point(c, r, c.cash, ts[origin + begin] + shift, tick + begin)
        if c.under == 0:
            c.high_ts = ts[origin + end - 1] + shift
        return
    first = (begin + SPAN - 1) // SPAN
    last = end // SPAN
    if first >= last:
        walk(c, r, worth, ts, origin, shift, tick, begin, end)
        return
    if begin < first * SPAN:
        walk(c, r, worth, ts, origin, shift, tick, begin, first * SPAN)
    most = top[first]
    least = low[first]
    for span in range(first + 1, last):
        most = max(most, top[span])
        least = min(least, low[span])
    if not stays_under(c, r, most, least):
        for span in range(first, last):
            if not stays_under(c, r, top[span], low[span]):
                walk(c, r, worth, ts, origin, shift, tick, span * SPAN, (span + 1) * SPAN)
    if last * SPAN < end:
        walk(c, r, worth, ts, origin, shift, tick, last * SPAN, end)


@njit(error_model="numpy", forceinline=True)
def advance_lane(
    c: Any,
    r: Any,
    lane: int,
    worth: Any,
    top: Any,
    low: Any,
    mark_close: bool,
    ts: Any,
    origin: int,
    shift: int,
    tick: int,
    edges: Any,
    n_edges: int,
    end: int,
) -> None:
    """Mark a lane at its ticks up to ``end`` (excluded), before any fill at ``end``.

    Clock periods that are over by tick ``end`` are closed.

    Parameters
    ----------
    c, r : records of dtype `sweep.kernel.accounting.CARRY` and `sweep.schema.ROW`
        See `sweep.kernel.marks.advance`.
    lane : int
    worth, top, low, mark_close
        See `prepare_lanes`.
    ts, origin, shift, tick
        See `sweep.kernel.marks.walk`.
    edges : ndarray of shape (at least n_edges,), int64
        Ticks that are the first of a clock period.
    n_edges : int
    end : int
    """
    s = 1 if mark_close and c.position < 0.0 else 0
    own = worth[s, :, lane]
    if c.edge < n_edges and edges[c.edge] <= end:
        close_periods(c, r, own, edges, n_edges, 0, end)
    if c.done < end:
        _mark_lane(c, r, own, top[s, lane], low[s, lane], ts, origin, shift, tick, end)
        c.equity = equity_at(c.cash, c.position, own[end - 1])
        c.done = end
