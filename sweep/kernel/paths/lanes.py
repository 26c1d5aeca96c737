"""What a lane of a path kernel does with its own ticks, orders and account.

See `sweep.kernel.paths.core`, which calls these for one lane after the other.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from sweep.kernel.accounting import close_period, finish_row, settle
from sweep.kernel.marks import mark_point
from sweep.kernel.paths.derive import ROUND, derive_quotes
from sweep.kernel.paths.frame import (
    NEVER,
    OWN_COUNT,
    OWN_DEAD,
    OWN_EDGES,
    OWN_ENDS,
    OWN_FILL,
    OWN_JOB,
    OWN_NEXT,
    OWN_ORIGIN,
    OWN_PIECE,
    OWN_SEEN,
    OWN_SHIFT,
    OWN_SLOT,
    OWN_WHOLE,
    SPREADS,
    SPREADS_AT,
    STEP,
)
from sweep.kernel.paths.marks import advance_lane
from sweep.kernel.paths.vectors import EIGHT, LINE, prefetch, spread_lanes, turn_lanes
from sweep.schema import STATUS_BAD_ORDER

__all__ = ["end_chunk", "fill_lanes", "fill_orders", "find_edges"]


@njit(error_model="numpy", forceinline=True)
def _fill_lane(
    lane: Any,
    k: int,
    jobs: Any,
    pieces: Any,
    grid: Any,
    ts: Any,
    bid: Any,
    ask: Any,
    bid_size: Any,
    ask_size: Any,
    half: float,
    sizes: bool,
    own_bid: Any,
    own_ask: Any,
    own_ts: Any,
    quotes: Any,
) -> None:
    """Derive the next ticks of lane ``k``: quotes by tick, sizes by tick and lane."""
    most = quotes.shape[0]
    end = jobs[lane[OWN_JOB, k]].end
    piece = lane[OWN_PIECE, k]
    at = lane[OWN_NEXT, k]
    lane[OWN_ORIGIN, k] = at
    lane[OWN_SHIFT, k] = pieces[piece].shift
    whole = piece + 1 == end or pieces[piece].end - at >= most
    lane[OWN_WHOLE, k] = 1 if whole else 0
    n = 0
    while n < most and piece < end:
        p = pieces[piece]
        count = min(most - n, p.end - at)
        derive_quotes(
            bid,
            ask,
            at,
            count,
            p.factor,
            p.offset,
            grid[0],
            grid[1],
            grid[2],
            half,
            own_bid[k % EIGHT],
            own_ask[k % EIGHT],
            n,
        )
        if not whole:
            times = ts[at : at + count]
            own = own_ts[k, n : n + count]
            for i in range(count):
                own[i] = times[i] + p.shift
        if sizes:
            for i in range(count):
                quotes[n + i, 2, k] = bid_size[at + i]
                quotes[n + i, 3, k] = ask_size[at + i]
        n += count
        at += count
        if at == p.end:
            piece += 1
            if piece < end:
                at = pieces[piece].first
    if piece < end:
        # Nobody but this lane walks along here: let its next ticks come near meanwhile.
        for i in range(at, min(at + most, pieces[piece].end), LINE):
            prefetch(bid, i)
            prefetch(ask, i)
            prefetch(ts, i)
    lane[OWN_PIECE, k] = piece
    lane[OWN_NEXT, k] = at
    lane[OWN_COUNT, k] = n
    lane[OWN_ENDS, k] = 1 if piece == end else 0


@njit(error_model="numpy", forceinline=True)
def fill_lanes(
    f: Any,
    lane: Any,
    first: int,
    jobs: Any,
    pieces: Any,
    grid: Any,
    ts: Any,
    bid: Any,
    ask: Any,
    bid_size: Any,
    ask_size: Any,
    half: float,
    units: float,
    sizes: bool,
    level: Any,
    spread: Any,
    own_bid: Any,
    own_ask: Any,
    own_ts: Any,
    quotes: Any,
    worth: Any,
    top: Any,
    low: Any,
) -> int:
    """Lay out the next ticks of eight lanes, and mark them at the mid; return their most."""
    most = 0
    if not sizes and grid[0] != 0.0:
        # Where all of them go on at the same source ticks, those are read once.
        at = -1
        shared = True
        for k in range(first, first + EIGHT):
            if lane[OWN_JOB, k] < 0:
                continue
            piece = lane[OWN_PIECE, k]
            count = pieces[piece].end - lane[OWN_NEXT, k]
            last = piece + 1 == jobs[lane[OWN_JOB, k]].end
            if count < quotes.shape[0] and not last:
                shared = False
                break
            count = min(count, quotes.shape[0])
            if at < 0:
                at = lane[OWN_NEXT, k]
                most = count
            elif at != lane[OWN_NEXT, k] or most != count:
                shared = False
                break
        if shared:
            if at < 0:
                return 0
            for k in range(first, first + EIGHT):
                if lane[OWN_JOB, k] < 0:
                    continue
                p = pieces[lane[OWN_PIECE, k]]
                level[0, k] = grid[0] * (0.5 * (p.factor + 1.0))
                level[1, k] = grid[0] * (0.5 * (p.factor - 1.0))
                level[2, k] = ROUND - p.offset
                lane[OWN_ORIGIN, k] = at
                lane[OWN_SHIFT, k] = p.shift
                lane[OWN_WHOLE, k] = 1
                lane[OWN_COUNT, k] = most
                lane[OWN_NEXT, k] = at + most
                lane[OWN_ENDS, k] = 0
                if at + most == p.end:
                    lane[OWN_PIECE, k] += 1
                    if lane[OWN_PIECE, k] == jobs[lane[OWN_JOB, k]].end:
                        lane[OWN_ENDS, k] = 1
                    else:
                        lane[OWN_NEXT, k] = pieces[lane[OWN_PIECE, k]].first
            if f[SPREADS_AT] != at or f[SPREADS] < most:
                for i in range(most):
                    spread[i] = ((ask[at + i] - bid[at + i]) * grid[0] + ROUND) - ROUND
                f[SPREADS_AT] = at
                f[SPREADS] = most
            spread_lanes(
                bid,
                ask,
                spread,
                at,
                most,
                level,
                first,
                grid[1],
                grid[2],
                half,
                units,
                quotes,
                worth,
                top,
                low,
            )
            return most
    most = 0
    for k in range(first, first + EIGHT):
        if lane[OWN_JOB, k] < 0:
            continue
        _fill_lane(
            lane,
            k,
            jobs,
            pieces,
            grid,
            ts,
            bid,
            ask,
            bid_size,
            ask_size,
            half,
            sizes,
            own_bid,
            own_ask,
            own_ts,
            quotes,
        )
        most = max(most, lane[OWN_COUNT, k])
    turn_lanes(own_bid, own_ask, most, first, units, quotes, worth, top, low)
    return most


@njit(error_model="numpy", forceinline=True)
def find_edges(c: Any, ts: Any, origin: int, shift: int, n: int, clock: int, edges: Any) -> int:
    """Write the first ticks of clock periods; return how many there are."""
    bin_end = c.bin_end - shift
    found = 0
    times = ts[origin : origin + n]
    if times[n - 1] >= bin_end:
        # Steps that a processor foresees; halving would be a guess at each step.
        j = 0
        while j < n:
            step = times[j : min(j + STEP, n)]
            if step[len(step) - 1] < bin_end:
                j += len(step)
                continue
            for k in range(len(step)):
                j += 1 if step[k] < bin_end else 0
            edges[found] = j
            found += 1
            bin_end += clock
            if times[j] >= bin_end:
                bin_end = ((times[j] + shift) // clock + 1) * clock - shift
            j += 1
    c.bin_end = bin_end + shift
    c.edge = 0
    return found


@njit(error_model="numpy")
def fill_orders(
    lane: Any,
    k: int,
    limit: int,
    c: Any,
    r: Any,
    terms: Any,
    due: Any,
    decided: Any,
    targets: Any,
    quotes: Any,
    worth: Any,
    top: Any,
    low: Any,
    ts: Any,
    tick: int,
    edges: Any,
    fills: Any,
) -> None:
    """Fill the orders of lane ``k`` that are due by tick ``limit``.

    The first tick after an order's own fills it that is late enough. Orders after an
    order that is no finite number are not filled.
    """
    n = lane[OWN_COUNT, k]
    origin = lane[OWN_ORIGIN, k]
    shift = lane[OWN_SHIFT, k]
    mark_close = terms.mark_close != 0
    lane[OWN_FILL, k] = NEVER
    own = lane[OWN_SLOT, k]
    pointer = 0
    while c.pending > 0:
        slot = c.head
        pointer = max(pointer, decided[own, slot] + 1)
        while pointer < n and ts[origin + pointer] + shift < due[own, slot]:
            pointer += 1
        if pointer >= n:
            return
        if pointer > limit:
            lane[OWN_FILL, k] = pointer
            return
        if pointer <= lane[OWN_DEAD, k]:
            advance_lane(
                c,
                r,
                k,
                worth,
                top,
                low,
                mark_close,
                ts,
                origin,
                shift,
                tick,
                edges,
                lane[OWN_EDGES, k],
                pointer,
            )
            settle(
                c,
                r,
                terms,
                tick + pointer,
                ts[origin + pointer] + shift,
                quotes[pointer, 0, k],
                quotes[pointer, 1, k],
                targets[own, slot],
                fills,
                False,
            )
        c.head = slot + 1 if slot + 1 < due.shape[1] else 0
        c.pending -= 1


@njit(error_model="numpy", forceinline=True)
def end_chunk(
    lane: Any,
    k: int,
    jobs: Any,
    c: Any,
    r: Any,
    terms: Any,
    quotes: Any,
    worth: Any,
    top: Any,
    low: Any,
    ts: Any,
    tick: int,
    edges: Any,
    fills: Any,
) -> bool:
    """Mark lane ``k`` to the end of the chunk; return whether its job ends there."""
    n = lane[OWN_COUNT, k]
    origin = lane[OWN_ORIGIN, k]
    shift = lane[OWN_SHIFT, k]
    dead = lane[OWN_DEAD, k]
    last = min(n - 1, dead)
    # A variant that ends here does not know that its period ends as well.
    n_edges = lane[OWN_EDGES, k]
    while n_edges > 0 and edges[n_edges - 1] > last:
        n_edges -= 1
    mark_close = terms.mark_close != 0
    advance_lane(
        c, r, k, worth, top, low, mark_close, ts, origin, shift, tick, edges, n_edges, last + 1
    )
    seen = lane[OWN_SEEN, k] + last + 1
    stamp = ts[origin + last] + shift
    if dead == last:
        r.status = STATUS_BAD_ORDER
        r.tick = tick + last
        finish_row(c, r, stamp, seen)
        return True
    if lane[OWN_ENDS, k] == 0 or jobs[lane[OWN_JOB, k]].ends == 0:
        return False
    if c.position != 0.0:
        b = quotes[last, 0, k]
        a = quotes[last, 1, k]
        settle(c, r, terms, tick + last, stamp, b, a, 0.0, fills, False)
        c.equity = c.cash
        mark_point(c, r, c.cash, stamp, tick + last)
    close_period(c, r, c.equity)
    finish_row(c, r, stamp, seen)
    return True
