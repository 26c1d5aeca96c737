"""What a kernel does beside decisions where each lane has ticks of its own.

`run_paths` evaluates *jobs*: a variant on a stretch of a resampled path, begun flat and
ended flat. All lanes stand at the same tick of a chunk, and each is at another place of
another path. A chunk's ticks are derived for all lanes (`sweep.kernel.derive`), laid out
by tick and lane, the kernel takes the strategy's decisions on them, and then each lane is
filled and marked over the chunk for itself.

Jobs of a *group* go over the same source ticks, which are read once for all of them. Such
a job may be a part of a stretch (one slot of a session): what a lane holds is kept until
a later group goes on with it. Without groups a lane whose job ends takes the next one, so
that lanes are busy whatever the lengths of paths.

Requests, frame and accounting are those of `sweep.kernel.core`, in which all lanes share
the ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sweep.fills import CARRY, FILL, TERMS, begin_run, close_period, finish_row, settle
from sweep.kernel.derive import PIECE, ROUND, derive_quotes
from sweep.kernel.lane_marks import SPAN, advance_lane, prepare_lanes
from sweep.kernel.marks import mark_point
from sweep.kernel.vectors import EIGHT, LINE, prefetch, spread_lanes, turn_lanes
from sweep.schema import ROW, STATUS_BAD_ORDER

__all__ = ["JOB", "PATH_ARRAYS", "PATH_FRAME", "PATH_TICKS", "new_path_frame", "run_paths"]

# Requests to the kernel; the last two end the call.
DONE, TICKS, BEGIN, OVERFLOW = 0, 1, 2, 3

# Places of the frame that the kernel reads and writes.
LANES = 0  # width of the group
TICK = 1  # tick of the chunk from which decisions are wanted
UNTIL = 2  # behind the last tick that may be decided now
FILLED = 3  # answer: rows of targets that are new, the last at tick TICK - 1
# What a call is about.
PASS = 4
STRIDE = 5
LANE_FIELD = 6
FEEDBACK = 7
SIZES = 8
STAMPS = 9
# What `run_paths` remembers.
PHASE = 10
NEXT_JOB = 11
MOST = 12  # ticks of the longest lane in this chunk
SEEING = 13
BEGINNING = 14
NEXT_EVENT = 15
NEXT_FILL = 16
SPREADS_AT = 17  # source tick of the first of the spreads that are worked out, and how many
SPREADS = 18
PATH_FRAME = 19

NEVER = 1 << 62

# Phases.
FILL_UP, RUN, WORK_OFF = 0, 1, 2

#: Ticks of a chunk: with 64 lanes its quotes and worths stay in a cache of 512 KiB.
PATH_TICKS = 256

#: Ticks among which the first of a clock period is looked for.
STEP = 16

#: A variant on consecutive pieces of a path, or a part of that.
JOB = np.dtype(
    [
        ("first", "<i8"),  # piece
        ("end", "<i8"),
        ("row", "<i8"),  # place of its row
        ("variant", "<i8"),
        ("tick", "<i8"),  # number of its beginning's tick within the path
        ("group", "<i8"),  # jobs of a group run together; 0: each for itself
        ("slot", "<i8"),  # place of what is kept from one part to the next
        ("begins", "<i8"),  # whether this part is the first: begun flat
        ("ends", "<i8"),  # whether it is the last: ended flat
    ]
)

# What a lane remembers: rows of ``lane``.
OWN_JOB = 0
OWN_PIECE = 1  # piece that goes on
OWN_NEXT = 2  # source tick at which it goes on
OWN_SEEN = 3  # ticks of the job before this chunk
OWN_COUNT = 4  # its ticks in this chunk
OWN_ENDS = 5  # whether the job ends with this chunk
OWN_ORIGIN = 6  # where stamps lie, see `_stamps_of`
OWN_SHIFT = 7
OWN_WHOLE = 8  # whether the chunk comes from one piece
OWN_DEAD = 9  # tick of the chunk with an order that is no finite number
OWN_EDGES = 10  # clock periods that begin in the chunk
OWN_FILL = 11  # tick at which the oldest order is filled
OWN_SLOT = 12  # place of its carry and its orders
OWN_FIELDS = 13

#: The arrays that `run_paths` takes behind the frame: name, dtype, dimensions.
PATH_ARRAYS: tuple[tuple[str, Any, int], ...] = (
    ("terms", TERMS, 1),
    ("grid", np.float64, 1),
    ("ts", np.int64, 1),
    ("bid", np.float64, 1),
    ("ask", np.float64, 1),
    ("bid_size", np.float64, 1),
    ("ask_size", np.float64, 1),
    ("pieces", PIECE, 1),
    ("jobs", JOB, 1),
    ("warmups", np.int64, 1),
    ("rows", ROW, 1),
    ("carries", CARRY, 1),
    ("due", np.int64, 2),
    ("decided", np.int64, 2),
    ("targets", np.float64, 2),
    ("kept", np.float64, 2),
    ("kept_lane", np.int64, 2),
    ("buffer", np.float64, 1),
    ("bits", np.int64, 1),
    ("changed", np.int64, 1),
    ("ordered", np.float64, 1),
    ("ordered_bits", np.int64, 1),
    ("quotes", np.float64, 3),
    ("stamps", np.int64, 2),
    ("begins", np.int64, 1),
    ("variant", np.int64, 1),
    ("lane", np.int64, 2),
    ("level", np.float64, 2),
    ("spread", np.float64, 1),
    ("own_bid", np.float64, 2),
    ("own_ask", np.float64, 2),
    ("own_ts", np.int64, 2),
    ("worth", np.float64, 3),
    ("top", np.float64, 3),
    ("low", np.float64, 3),
    ("edges", np.int64, 2),
    ("fills", FILL, 1),
)


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
def _fill_lanes(
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
def _find_edges(c: Any, ts: Any, origin: int, shift: int, n: int, clock: int, edges: Any) -> int:
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
def _fill_orders(
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

    The first tick behind an order's own fills it that is late enough. Orders behind an
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
def _end_chunk(
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


def run_paths(
    f: Any,
    terms_array: Any,
    grid: Any,
    ts: Any,
    bid: Any,
    ask: Any,
    bid_size: Any,
    ask_size: Any,
    pieces: Any,
    jobs: Any,
    warmups: Any,
    rows: Any,
    carries: Any,
    due: Any,
    decided: Any,
    targets: Any,
    kept: Any,
    kept_lane: Any,
    buffer: Any,
    bits: Any,
    changed: Any,
    ordered: Any,
    ordered_bits: Any,
    quotes: Any,
    stamps: Any,
    begins: Any,
    variant: Any,
    lane: Any,
    level: Any,
    spread: Any,
    own_bid: Any,
    own_ask: Any,
    own_ts: Any,
    worth: Any,
    top: Any,
    low: Any,
    edges: Any,
    fills: Any,
) -> int:
    """Go on until the kernel is needed.

    Parameters
    ----------
    f : ndarray of shape (PATH_FRAME + 4 * len(PATH_ARRAYS),), int64
        The frame.
    terms_array : ndarray of shape (1,), dtype `sweep.fills.TERMS`
    grid : ndarray of shape (3,), float64
        A `sweep.kernel.derive.Grid`.
    ts, bid, ask : ndarray of shape (n_ticks,), int64 and float64
        The source.
    bid_size, ask_size : ndarray of shape (n_ticks,) or (0,), float64
    pieces : ndarray of shape (n_pieces,), dtype `sweep.kernel.derive.PIECE`
    jobs : ndarray of shape (n_jobs,), dtype `JOB`
    warmups : ndarray of shape (n_variants,), int64
        Ticks before orders count.
    rows : ndarray of shape (n_rows,), dtype `sweep.schema.ROW`
    carries : ndarray of shape (n_slots,), dtype `sweep.fills.CARRY`
    due, decided, targets : ndarray of shape (n_slots, capacity), int64, int64, float64
        Rings of each lane's orders in flight: stamp from which they are filled, tick of
        the decision (of this chunk; negative before), target.
    kept : ndarray of shape (n_slots, n_fields + 1), float64
        What is kept of a lane between the parts of a job: its fields of the buffer, the
        last order's target.
    kept_lane : ndarray of shape (n_slots,  1), int64
        Likewise, the ticks of the job so far.
    buffer, bits : ndarray of shape (n_fields * stride,), float64, and the same as int64
    changed : ndarray of shape (n_ticks of a pass,), int64
    ordered, ordered_bits : ndarray of shape (width,), float64, and the same as int64
        Target of the last order, by lane.
    quotes : ndarray of shape (PATH_TICKS, 2 or 4, stride), float64
        Bid, ask and sizes by tick and lane.
    stamps : ndarray of shape (PATH_TICKS or 1, stride), int64
        By tick and lane, where the strategy looks at them; the first tick's always.
    begins : ndarray of shape (width,), int64
        Lanes that begin, where `BEGIN` is asked for.
    variant : ndarray of shape (width,), int64
        By lane.
    lane, level, spread, own_bid, own_ask, own_ts, worth, top, low, edges, fills
        Scratch.

    Returns
    -------
    int
        ``DONE``; ``OVERFLOW``: more orders were in flight than there is room for, and the
        rows mean nothing; or a request. ``TICKS``: decide for all lanes from tick
        ``f[TICK]`` of the chunk until a target differs, at most until ``f[UNTIL]``;
        ``BEGIN``: begin the lanes with ``begins`` at the chunk's first tick.
    """
    terms = terms_array[0]
    half = terms.half_spread
    mark_close = terms.mark_close != 0
    never = NEVER
    width = f[LANES]  # of the jobs at hand
    stride = f[STRIDE]
    sizes = f[SIZES] != 0
    feedback = f[FEEDBACK] != 0
    capacity = due.shape[1]
    position_at = f[LANE_FIELD] * stride
    price_at = position_at + stride
    entry_at = price_at + stride
    cash_at = entry_at + stride
    mask_at = cash_at + stride
    target_at = mask_at + stride
    known_at = target_at + (f[PASS] - 1) * stride

    while True:
        if f[PHASE] == FILL_UP:
            f[BEGINNING] = 0
            most = 0
            # A group comes when all lanes are free, and takes as many as it needs.
            group = -1
            if f[NEXT_JOB] < jobs.shape[0] and jobs[f[NEXT_JOB]].group != 0:
                free = True
                for k in range(f[LANES]):
                    if lane[OWN_JOB, k] >= 0:
                        free = False
                if free:
                    group = jobs[f[NEXT_JOB]].group
                    count = 0
                    while (
                        count < lane.shape[1]
                        and f[NEXT_JOB] + count < jobs.shape[0]
                        and jobs[f[NEXT_JOB] + count].group == group
                    ):
                        count += 1
                    f[LANES] = (count + EIGHT - 1) // EIGHT * EIGHT
            elif f[NEXT_JOB] < jobs.shape[0]:
                group = 0
            width = f[LANES]
            for k in range(width):
                begins[k] = 0
                if lane[OWN_JOB, k] >= 0:
                    continue
                lane[OWN_COUNT, k] = 0
                bits[mask_at + k] = 0
                job = f[NEXT_JOB]
                if job >= jobs.shape[0] or jobs[job].group != group:
                    continue
                f[NEXT_JOB] = job + 1
                own = k if group == 0 else jobs[job].slot
                lane[OWN_JOB, k] = job
                lane[OWN_PIECE, k] = jobs[job].first
                lane[OWN_NEXT, k] = pieces[jobs[job].first].first
                lane[OWN_SLOT, k] = own
                lane[OWN_DEAD, k] = never
                lane[OWN_FILL, k] = never
                variant[k] = jobs[job].variant
                if jobs[job].begins != 0:
                    lane[OWN_SEEN, k] = 0
                    carries[own].pending = 0
                    begins[k] = 1
                    f[BEGINNING] = 1
                    continue
                fields = kept.shape[1] - 1
                for j in range(fields):
                    buffer[j * stride + k] = kept[own, j]
                ordered[k] = kept[own, fields]
                lane[OWN_SEEN, k] = kept_lane[own, 0]
                if lane[OWN_SEEN, k] < 0:
                    # An earlier part ended with an order that is no finite number.
                    lane[OWN_JOB, k] = -1
                    bits[mask_at + k] = 0
            for first in range(0, width, EIGHT):
                n = _fill_lanes(
                    f,
                    lane,
                    first,
                    jobs,
                    pieces,
                    grid,
                    ts,
                    bid,
                    ask,
                    bid_size,
                    ask_size,
                    half,
                    terms.contract_size,
                    sizes,
                    level,
                    spread,
                    own_bid,
                    own_ask,
                    own_ts,
                    quotes,
                    worth,
                    top,
                    low,
                )
                most = max(most, n)
            if most == 0:
                if f[NEXT_JOB] < jobs.shape[0]:
                    continue
                return DONE
            if mark_close:
                prepare_lanes(quotes, most, width, terms.contract_size, worth, top, low)
            next_fill = never
            opened = closed = 0
            for k in range(width):
                n = lane[OWN_COUNT, k]
                if n == 0:
                    continue
                job = lane[OWN_JOB, k]
                times = ts
                if lane[OWN_WHOLE, k] == 0:
                    times = own_ts[k]
                    lane[OWN_ORIGIN, k] = 0
                    lane[OWN_SHIFT, k] = 0
                origin = lane[OWN_ORIGIN, k]
                shift = lane[OWN_SHIFT, k]
                c = carries[lane[OWN_SLOT, k]]
                if begins[k] != 0:
                    begin_run(c, rows[jobs[job].row], terms, times[origin] + shift)
                    c.live_from = warmups[jobs[job].variant]
                    buffer[position_at + k] = 0.0
                    buffer[price_at + k] = 0.0
                    bits[entry_at + k] = 0
                    buffer[cash_at + k] = c.cash
                    bits[mask_at + k] = 0
                    buffer[known_at + k] = 0.0
                    ordered[k] = 0.0
                c.done = 0
                if (
                    k > 0
                    and lane[OWN_WHOLE, k] != 0
                    and lane[OWN_ORIGIN, k - 1] == origin
                    and lane[OWN_COUNT, k - 1] == n
                    and opened == c.bin_end - shift
                ):
                    # As in the lane before, whose clock differs by whole periods.
                    n_edges = lane[OWN_EDGES, k - 1]
                    for j in range(n_edges):
                        edges[k, j] = edges[k - 1, j]
                    lane[OWN_EDGES, k] = n_edges
                    c.edge = 0
                    c.bin_end = closed + shift
                else:
                    opened = c.bin_end - shift
                    lane[OWN_EDGES, k] = _find_edges(
                        c, times, origin, shift, n, terms.clock, edges[k]
                    )
                    closed = c.bin_end - shift
                stamps[0, k] = times[origin] + shift
                if f[STAMPS] != 0:
                    for i in range(1, n):
                        stamps[i, k] = times[origin + i] + shift
                if feedback and c.pending > 0:
                    r = rows[jobs[job].row]
                    tick = jobs[job].tick + lane[OWN_SEEN, k]
                    _fill_orders(
                        lane, k, -1, c, r, terms, due, decided, targets, quotes, worth, top,
                        low, times, tick, edges[k], fills,
                    )  # fmt: skip
                    next_fill = min(next_fill, lane[OWN_FILL, k])
            f[NEXT_FILL] = next_fill
            f[NEXT_EVENT] = 0
            f[MOST] = most
            f[TICK] = 0
            f[SEEING] = 0
            f[PHASE] = RUN
            continue

        if f[PHASE] == RUN:
            i = f[TICK]
            if f[SEEING] != 0:
                # Decisions are there; targets that differ become orders.
                f[SEEING] = 0
                filled = f[FILLED]
                for q in range(filled):
                    if changed[q] == 0:
                        continue
                    at = i - filled + q
                    row = target_at + (f[PASS] - filled + q) * stride
                    k = -1
                    while k + 1 < width:
                        k += 1
                        if k & 7 == 0:
                            # Eight at a time that are as they were, to the bit.
                            differ = 0
                            for j in range(8):
                                differ |= bits[row + k + j] ^ ordered_bits[k + j]
                            if differ == 0:
                                k += 7
                                continue
                        target = buffer[row + k]
                        # Also true for a NaN, which differs from everything.
                        if target != ordered[k]:
                            if at >= lane[OWN_COUNT, k] or at >= lane[OWN_DEAD, k]:
                                continue
                            if not np.isfinite(target):
                                lane[OWN_DEAD, k] = at
                                bits[mask_at + k] = 0
                                continue
                            own = lane[OWN_SLOT, k]
                            c = carries[own]
                            times = ts
                            if lane[OWN_WHOLE, k] == 0:
                                times = own_ts[k]
                            if c.pending == capacity:
                                job = lane[OWN_JOB, k]
                                r = rows[jobs[job].row]
                                tick = jobs[job].tick + lane[OWN_SEEN, k]
                                _fill_orders(
                                    lane, k, at, c, r, terms, due, decided, targets, quotes,
                                    worth, top, low, times, tick, edges[k], fills,
                                )  # fmt: skip
                                if c.pending == capacity:
                                    return OVERFLOW
                            ordered[k] = target
                            slot = c.head + c.pending
                            if slot >= capacity:
                                slot -= capacity
                            stamp = times[lane[OWN_ORIGIN, k] + at] + lane[OWN_SHIFT, k]
                            due[own, slot] = stamp + terms.latency
                            decided[own, slot] = at
                            targets[own, slot] = target
                            c.pending += 1
                            if feedback and c.pending == 1:
                                pointer = at + 1
                                while (
                                    pointer < lane[OWN_COUNT, k]
                                    and times[lane[OWN_ORIGIN, k] + pointer] + lane[OWN_SHIFT, k]
                                    < due[own, slot]
                                ):
                                    pointer += 1
                                if pointer < lane[OWN_COUNT, k]:
                                    lane[OWN_FILL, k] = pointer
                                    f[NEXT_FILL] = min(f[NEXT_FILL], pointer)
            if f[BEGINNING] != 0 and i == 1:
                # What begins does so at the chunk's first tick, which the others stepped at.
                f[BEGINNING] = 0
                return BEGIN
            if f[NEXT_FILL] <= i:
                next_fill = never
                for k in range(width):
                    if lane[OWN_COUNT, k] == 0 or lane[OWN_FILL, k] == never:
                        continue
                    if lane[OWN_FILL, k] <= i:
                        times = ts
                        if lane[OWN_WHOLE, k] == 0:
                            times = own_ts[k]
                        c = carries[lane[OWN_SLOT, k]]
                        job = lane[OWN_JOB, k]
                        r = rows[jobs[job].row]
                        tick = jobs[job].tick + lane[OWN_SEEN, k]
                        _fill_orders(
                            lane, k, i, c, r, terms, due, decided, targets, quotes, worth, top,
                            low, times, tick, edges[k], fills,
                        )  # fmt: skip
                        buffer[position_at + k] = c.position
                        buffer[price_at + k] = c.entry_price
                        bits[entry_at + k] = c.entry_ts
                        buffer[cash_at + k] = c.cash
                    next_fill = min(next_fill, lane[OWN_FILL, k])
                f[NEXT_FILL] = next_fill
            if i >= f[MOST]:
                f[PHASE] = WORK_OFF
                continue
            if f[NEXT_EVENT] <= i:
                # Orders begin to count, or a lane's ticks are over.
                next_event = never
                for k in range(width):
                    n = lane[OWN_COUNT, k]
                    if n <= i or lane[OWN_DEAD, k] < never:
                        bits[mask_at + k] = 0
                        continue
                    live = max(carries[lane[OWN_SLOT, k]].live_from - lane[OWN_SEEN, k], begins[k])
                    if live <= i:
                        bits[mask_at + k] = -1
                    else:
                        next_event = min(next_event, live)
                    if n < f[MOST]:
                        next_event = min(next_event, n)
                f[NEXT_EVENT] = next_event
            until = min(f[MOST], f[NEXT_EVENT], f[NEXT_FILL])
            if f[BEGINNING] != 0:
                until = 1
            f[UNTIL] = until
            f[FILLED] = 0
            f[SEEING] = 1
            return TICKS

        # WORK_OFF
        for k in range(width):
            n = lane[OWN_COUNT, k]
            if n == 0:
                continue
            times = ts
            if lane[OWN_WHOLE, k] == 0:
                times = own_ts[k]
            own = lane[OWN_SLOT, k]
            c = carries[own]
            job = lane[OWN_JOB, k]
            r = rows[jobs[job].row]
            tick = jobs[job].tick + lane[OWN_SEEN, k]
            if c.pending > 0:
                _fill_orders(
                    lane, k, n - 1, c, r, terms, due, decided, targets, quotes, worth, top, low,
                    times, tick, edges[k], fills,
                )  # fmt: skip
            ended = _end_chunk(
                lane, k, jobs, c, r, terms, quotes, worth, top, low, times, tick, edges[k], fills
            )
            lane[OWN_SEEN, k] += n
            if ended or lane[OWN_ENDS, k] != 0:
                lane[OWN_JOB, k] = -1
                lane[OWN_FILL, k] = never
            if ended:
                # Parts that follow an order that is no finite number are left out.
                kept_lane[own, 0] = -1
                continue
            for q in range(c.pending):
                slot = c.head + q
                if slot >= capacity:
                    slot -= capacity
                decided[own, slot] -= n
            if lane[OWN_ENDS, k] != 0:
                fields = kept.shape[1] - 1
                for j in range(fields):
                    kept[own, j] = buffer[j * stride + k]
                kept[own, fields] = ordered[k]
                kept_lane[own, 0] = lane[OWN_SEEN, k]
        f[PHASE] = FILL_UP


def new_path_frame(
    n_jobs: int,
    n_slots: int,
    width: int,
    layout: tuple[int, int, int],
    *,
    lane_fields: int,
    feedback: bool,
    sizes: bool,
    stamps: bool,
    capacity: int,
    chunk: int = PATH_TICKS,
) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return the frame of a call, and the arrays that `run_paths` needs for itself.

    Parameters
    ----------
    n_jobs, n_slots, width : int
        Jobs of the call; places for what is kept of them, 0 without groups; lanes at most.
    layout : tuple of int
        Of the kernel's buffer, see `sweep.kernel.core.new_frame`.
    lane_fields : int
        Fields of a lane that the core writes and reads.
    feedback, sizes, stamps : bool
        Whether a step sees the account, the sizes, and the stamps of ticks.
    capacity : int
        Orders that a lane can have in flight.
    chunk : int, optional
        Ticks of a chunk, a multiple of `sweep.kernel.lane_marks.SPAN`.
    """
    n_fields, stride, passes = layout
    width = min(width, (n_jobs + EIGHT - 1) // EIGHT * EIGHT)
    n_slots = n_slots or width
    frame = np.zeros(PATH_FRAME + 4 * len(PATH_ARRAYS), np.int64)
    frame[LANES] = width
    frame[PASS] = passes
    frame[STRIDE] = stride
    frame[LANE_FIELD] = n_fields - passes - lane_fields + 1
    frame[FEEDBACK] = feedback
    frame[SIZES] = sizes
    frame[STAMPS] = stamps
    buffer = _aligned(n_fields * stride)
    ordered = np.zeros(width)
    lane = np.zeros((OWN_FIELDS, width), np.int64)
    lane[OWN_JOB] = -1
    lane[OWN_FILL] = NEVER
    columns = 4 if sizes else 2
    scratch = {
        "carries": np.zeros(n_slots, CARRY),
        "due": np.zeros((n_slots, capacity), np.int64),
        "decided": np.zeros((n_slots, capacity), np.int64),
        "targets": np.zeros((n_slots, capacity)),
        "kept": np.zeros((n_slots, n_fields + 1)),
        "kept_lane": np.zeros((n_slots, 1), np.int64),
        "buffer": buffer,
        "bits": buffer.view(np.int64),
        "changed": np.zeros(passes, np.int64),
        "ordered": ordered,
        "ordered_bits": ordered.view(np.int64),
        "quotes": _aligned(chunk * columns * stride).reshape(chunk, columns, stride),
        "stamps": np.zeros((chunk if stamps else 1, stride), np.int64),
        "begins": np.zeros(width, np.int64),
        "variant": np.zeros(width, np.int64),
        "lane": lane,
        "level": np.zeros((3, width)),
        "spread": np.zeros(chunk),
        "own_bid": _aligned(EIGHT * chunk).reshape(EIGHT, chunk),
        "own_ask": _aligned(EIGHT * chunk).reshape(EIGHT, chunk),
        "own_ts": np.zeros((width, chunk), np.int64),
        "worth": _aligned(2 * chunk * stride).reshape(2, chunk, stride),
        "top": np.zeros((2, stride, chunk // SPAN)),
        "low": np.zeros((2, stride, chunk // SPAN)),
        "edges": np.zeros((width, chunk), np.int64),
        "fills": np.zeros(1, FILL),  # never written
    }
    return frame, scratch


def _aligned(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return ``n`` zeros that begin with a line of the cache."""
    raw = np.zeros(n + 8)
    first = (-raw.ctypes.data % 64) // 8
    return raw[first : first + n]
