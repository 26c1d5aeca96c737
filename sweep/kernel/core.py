"""What a kernel does besides a strategy's own decisions: slices, orders, fills, rows.

`run_core` evaluates variants in groups; all lanes of a group stand at the same tick. It
knows nothing of the strategy. Where it needs a decision it says so and returns, and the
kernel (`sweep.kernel.loop.run_batch`, with a strategy's functions in it) calls it again with the
answer. It is compiled once for all strategies, so that a kernel compiles soon.

A decision matters where a target changes. Only there does anything happen to an account,
and `sweep.kernel.marks` marks it over the ticks between. Unless a step sees the account, fills
are worked out after the decisions, for each lane on its own.

The frame is an array of int64 that holds where everything stands, by the names below,
and after them the addresses and lengths of the arrays (`ARRAYS`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.kernel.accounting import CARRY, FILL, TERMS, begin_run, close_period, finish_row, settle
from sweep.kernel.marks import CHUNK, LEVELS, advance, mark_point, prepare
from sweep.schema import ROW, STATUS_BAD_ORDER

__all__ = [
    "ARRAYS",
    "FRAME",
    "LANE_FIELDS",
    "new_frame",
    "run_core",
]

# Requests to the kernel.
DONE, TICKS, BEGIN, LOAD, SAVE, OVERFLOW = 0, 1, 2, 3, 4, 5

# Places of the frame that the kernel reads and writes.
LANES = 0  # lanes that a request is about: the first ones
FIRST = 1  # first of the lanes that begin
TICK = 2  # tick at which they begin, or from which decisions are wanted
UNTIL = 3  # after the last tick that may be decided now
FILLED = 4  # answer: rows of targets that are new, the last at tick TICK - 1
GROUP = 5  # first variant of the group
# What a call is about; see `sweep.kernel.loop.run_batch`.
WIDTH = 6
PASS = 7  # ticks that the kernel takes in one pass
STRIDE = 8
LANE_FIELD = 9  # place of the first of the lane's fields, see LANE_FIELDS
IN_TIME = 10
ORIGIN = 11
CARRY_OVER = 12
CLOSE_OUT = 13
RECORD = 14
ROOM = 15
# What `run_core` remembers.
PHASE = 16
SLICE = 17
BEGUN = 18
END = 19
ACTIVE = 20
BIN_END = 21
NEXT_LIVE = 22
ALIVE = 23
POINTER = 24
AT = 25
STOP = 26
TABLES = 27
N_EDGES = 28
HEAD = 29
COUNT = 30
CHUNK_BEGIN = 31
SEEING = 32
FRESH = 33
FRAME = 34

#: After every tick.
NEVER = 1 << 62

# Phases.
NEW_GROUP, OPEN, WARM, START, NEW_CHUNK, RUN, END_CHUNK, CLOSE = 0, 1, 2, 3, 4, 5, 6, 7

#: Fields of a lane in the kernel's buffer that the core writes and reads.
LANE_FIELDS = ("position", "entry_price", "entry_ts", "cash", "mask", "target")

#: The arrays that `run_core` takes after the frame: name and dtype.
ARRAYS: tuple[tuple[str, Any, int], ...] = (
    ("terms", TERMS, 1),
    ("ts", np.int64, 1),
    ("bid", np.float64, 1),
    ("ask", np.float64, 1),
    ("slices", np.int64, 2),
    ("warmups", np.int64, 1),
    ("carries", CARRY, 1),
    ("due", np.int64, 2),
    ("targets", np.float64, 2),
    ("rows", ROW, 2),
    ("buffer", np.float64, 1),
    ("bits", np.int64, 1),
    ("changed", np.int64, 1),
    ("ordered", np.float64, 1),
    ("ordered_bits", np.int64, 1),
    ("high", np.float64, 3),
    ("low", np.float64, 3),
    ("edges", np.int64, 1),
    ("variant", np.int64, 1),
    ("opening", np.int64, 1),
    ("dead_at", np.int64, 1),
    ("queue", np.int64, 2),
    ("queue_target", np.float64, 1),
    ("equity_out", np.float64, 1),
    ("position_out", np.float64, 1),
    ("fills", FILL, 1),
    ("arrivals", np.int64, 1),
    ("shares", np.float64, 1),
)

DUE, DECIDED, LANE = 0, 1, 2  # rows of the queue


def run_core(
    f: Any,
    terms_array: Any,
    ts: Any,
    bid: Any,
    ask: Any,
    slices: Any,
    warmups: Any,
    carries: Any,
    due: Any,
    targets: Any,
    rows: Any,
    buffer: Any,
    bits: Any,
    changed: Any,
    ordered: Any,
    ordered_bits: Any,
    high: Any,
    low: Any,
    edges: Any,
    variant: Any,
    opening: Any,
    dead_at: Any,
    queue: Any,
    queue_target: Any,
    equity_out: Any,
    position_out: Any,
    fills: Any,
    arrivals: Any,
    shares: Any,
) -> int:
    """Go on until the kernel is needed.

    Parameters
    ----------
    f : ndarray of shape (FRAME + 4 * len(ARRAYS),), int64
        The frame.
    terms_array : ndarray of shape (1,), dtype `sweep.kernel.accounting.TERMS`
    ts, bid, ask : ndarray of shape (n_ticks,), int64 and float64
    slices : ndarray of shape (n_slices, 3), int64
        First tick, end, lowest tick of the warm-up.
    warmups : ndarray of shape (n_variants,), int64
        Ticks before orders count.
    carries, due, targets, rows
        See `sweep.kernel.loop.run_batch`.
    buffer, bits : ndarray of shape (n_fields * stride,), float64, and the same as int64
    changed : ndarray of shape (n_ticks of a pass,), int64
    ordered, ordered_bits : ndarray of shape (width,), float64, and the same as int64
        Target of the last order, by lane.
    high, low, edges
        Scratch, see `sweep.kernel.marks.prepare` and `sweep.kernel.marks.advance`.
    variant, opening, dead_at : ndarray of shape (width,), int64
        By lane: its variant; first tick of its warm-up; tick of an order that is not a
        finite number, or the end of the last slice.
    queue : ndarray of shape (3, room), int64
        Ring of the orders in flight of all lanes: stamp from which they are filled, tick
        of the decision, lane.
    queue_target : ndarray of shape (room,), float64
    equity_out, position_out, fills, arrivals, shares
        See `sweep.kernel.compiled.call_kernel`.

    Returns
    -------
    int
        ``DONE``; ``OVERFLOW``, which ends the call: more orders are in flight than there
        is room for; or a request. ``TICKS``: decide for the first ``f[LANES]`` lanes from
        tick ``f[TICK]`` until a target differs, at most until ``f[UNTIL]``; ``BEGIN``:
        begin the lanes ``f[FIRST]`` to ``f[LANES]`` at tick ``f[TICK]``; ``LOAD``, ``SAVE``:
        read, or write, the states of the first ``f[LANES]`` lanes.
    """
    terms = terms_array[0]
    half = terms.half_spread
    units = terms.contract_size
    mark_close = terms.mark_close != 0
    n_variants = warmups.shape[0]
    n_slices = slices.shape[0]
    never = NEVER
    capacity = due.shape[1]
    width = f[WIDTH]
    room = f[ROOM]
    stride = f[STRIDE]
    carry_over = f[CARRY_OVER] != 0
    record = f[RECORD] != 0
    in_time = f[IN_TIME] != 0
    delayed = arrivals.shape[0] > 0
    partly = shares.shape[0] > 0
    position_at = f[LANE_FIELD] * stride
    price_at = position_at + stride
    entry_at = price_at + stride
    cash_at = entry_at + stride
    mask_at = cash_at + stride
    target_at = mask_at + stride
    known_at = target_at + (f[PASS] - 1) * stride
    g = f[GROUP]
    n = min(width, n_variants - g)

    while True:
        phase = f[PHASE]

        if phase == NEW_GROUP:
            if g >= n_variants:
                return DONE
            # The longest warm-up comes first, so that the lanes that run are the first ones.
            for k in range(n):
                lane = k
                while lane > 0 and warmups[variant[lane - 1]] < warmups[g + k]:
                    variant[lane] = variant[lane - 1]
                    lane -= 1
                variant[lane] = g + k
            count = 0
            for lane in range(n):
                v = variant[lane]
                c = carries[v]
                buffer[position_at + lane] = c.position
                buffer[price_at + lane] = c.entry_price
                bits[entry_at + lane] = c.entry_ts
                buffer[cash_at + lane] = c.cash
                dead_at[lane] = never
                # The orders in flight of all lanes, in the order in which they are due.
                for q in range(c.pending):
                    at = c.head + q
                    if at >= capacity:
                        at -= capacity
                    k = count
                    while k > 0 and queue[DUE, k - 1] > due[v, at]:
                        queue[DUE, k] = queue[DUE, k - 1]
                        queue[LANE, k] = queue[LANE, k - 1]
                        queue_target[k] = queue_target[k - 1]
                        k -= 1
                    queue[DUE, k] = due[v, at]
                    queue[LANE, k] = lane
                    queue_target[k] = targets[v, at]
                    queue[DECIDED, count] = slices[0, 0] - 1
                    count += 1
            f[HEAD] = 0
            f[COUNT] = count
            f[SLICE] = 0
            f[PHASE] = OPEN
            f[LANES] = n
            return LOAD

        if phase == OPEN:
            m = f[SLICE]
            if m == n_slices:
                for lane in range(n):
                    carries[variant[lane]].head = 0
                    carries[variant[lane]].pending = 0
                for q in range(f[COUNT]):
                    k = f[HEAD] + q
                    if k >= room:
                        k -= room
                    v = variant[queue[LANE, k]]
                    c = carries[v]
                    if c.pending == capacity:
                        return OVERFLOW
                    due[v, c.pending] = queue[DUE, k]
                    targets[v, c.pending] = queue_target[k]
                    c.pending += 1
                f[PHASE] = NEW_GROUP
                f[LANES] = n
                f[GROUP] = g + width
                return SAVE
            begin = slices[m, 0]
            fresh = carries[variant[0]].started == 0 or not carry_over
            if m > 0:
                for lane in range(n):
                    v = variant[lane]
                    if not fresh or dead_at[lane] < never:
                        rows[v, m] = rows[v, m - 1]
            f[BEGUN] = begin
            f[END] = slices[m, 1]
            f[FRESH] = 1 if fresh else 0
            f[ACTIVE] = n
            f[PHASE] = START
            if fresh:
                f[HEAD] = 0
                f[COUNT] = 0
                for lane in range(n):
                    v = variant[lane]
                    c = carries[v]
                    # Not before the features begin: their warm-up is worked out as plain
                    # Python, which may cut a product of reals one tick shorter than
                    # compiled code.
                    opening[lane] = max(slices[m, 2], begin - warmups[v], f[ORIGIN])
                    if dead_at[lane] == never:
                        begin_run(c, rows[v, m], terms, ts[begin])
                        c.live_from = opening[lane] + warmups[v]
                    buffer[position_at + lane] = c.position
                    buffer[price_at + lane] = c.entry_price
                    bits[entry_at + lane] = c.entry_ts
                    buffer[cash_at + lane] = c.cash
                    bits[mask_at + lane] = 0
                    buffer[known_at + lane] = 0.0
                f[ACTIVE] = 0
                f[TICK] = opening[0]
                f[PHASE] = WARM
            continue

        if phase == WARM:
            # Lanes begin one after the other, and all are muted.
            active = f[ACTIVE]
            if active < n and opening[active] < f[BEGUN]:
                first = opening[active]
                if active > 0 and f[TICK] <= first:
                    f[UNTIL] = first + 1
                    f[LANES] = active
                    return TICKS
                f[FIRST] = active
                while active < n and opening[active] == first:
                    active += 1
                f[ACTIVE] = active
                f[LANES] = active
                f[TICK] = first
                return BEGIN
            if active > 0 and f[TICK] < f[BEGUN]:
                f[UNTIL] = f[BEGUN]
                f[LANES] = active
                return TICKS
            f[PHASE] = START
            continue

        if phase == START:
            m = f[SLICE]
            begin = f[BEGUN]
            next_live = never
            alive = 0
            for lane in range(n):
                v = variant[lane]
                c = carries[v]
                if rows[v, m].status == STATUS_BAD_ORDER:
                    dead_at[lane] = begin - 1
                c.done = begin
                muted = c.live_from > begin
                if dead_at[lane] < never:
                    muted = True
                else:
                    alive += 1
                    if muted:
                        next_live = min(next_live, c.live_from)
                bits[mask_at + lane] = 0 if muted else -1
                buffer[known_at + lane] = c.target
                ordered[lane] = c.target
            f[BIN_END] = carries[variant[0]].bin_end
            if f[FRESH] != 0:
                # The first variant may have ended in a slice before.
                f[BIN_END] = (ts[begin] // terms.clock + 1) * terms.clock
            f[NEXT_LIVE] = next_live
            f[ALIVE] = alive
            f[POINTER] = begin
            f[AT] = begin
            f[CHUNK_BEGIN] = begin
            f[SEEING] = 0
            f[PHASE] = NEW_CHUNK
            continue

        if phase == NEW_CHUNK:
            chunk = f[CHUNK_BEGIN]
            stop = min(chunk + CHUNK, f[END])
            f[TABLES] = prepare(bid, ask, chunk, stop, half, units, mark_close, n, high, low)
            # The first ticks of clock periods: each is looked for by halving.
            bin_end = f[BIN_END]
            n_edges = 0
            j = chunk
            # There are no more than ticks, unless the end of a period is beyond all stamps.
            while n_edges < stop - chunk and ts[stop - 1] >= bin_end:
                k = stop - 1
                while j < k:
                    middle = (j + k) // 2
                    if ts[middle] >= bin_end:
                        k = middle
                    else:
                        j = middle + 1
                edges[n_edges] = j
                n_edges += 1
                bin_end = (ts[j] // terms.clock + 1) * terms.clock
            for lane in range(n):
                carries[variant[lane]].edge = 0
            f[BIN_END] = bin_end
            f[N_EDGES] = n_edges
            f[STOP] = stop
            f[PHASE] = RUN
            continue

        if phase == RUN:
            m = f[SLICE]
            begin = f[BEGUN]
            chunk = f[CHUNK_BEGIN]
            stop = f[STOP]
            tables = f[TABLES]
            n_edges = f[N_EDGES]
            head = f[HEAD]
            count = f[COUNT]
            i = f[AT]
            if f[SEEING] > 0:
                # Decisions are there; targets that differ become orders.
                i = f[TICK]
                filled = f[FILLED]
                if count + filled * f[SEEING] > room:
                    return OVERFLOW
                for q in range(filled):
                    if changed[q] == 0:
                        continue
                    tick = i - filled + q
                    row = target_at + (f[PASS] - filled + q) * stride
                    seeing = f[SEEING]
                    lane = -1
                    while lane + 1 < seeing:
                        lane += 1
                        if lane & 7 == 0 and seeing > 8:
                            # Eight at a time that are as they were, to the bit.
                            differ = 0
                            for j in range(8):
                                differ |= bits[row + lane + j] ^ ordered_bits[lane + j]
                            if differ == 0:
                                lane += 7
                                continue
                        target = buffer[row + lane]
                        # Also true for a NaN, which differs from everything.
                        if target != ordered[lane]:
                            c = carries[variant[lane]]
                            if tick >= dead_at[lane] or tick < c.live_from:
                                continue
                            if not np.isfinite(target):
                                dead_at[lane] = tick
                                f[ALIVE] -= 1
                                bits[mask_at + lane] = 0
                                continue
                            c.target = target
                            ordered[lane] = target
                            k = head + count
                            if k >= room:
                                k -= room
                            queue[DUE, k] = arrivals[tick] if delayed else ts[tick] + terms.latency
                            queue[DECIDED, k] = tick
                            queue[LANE, k] = lane
                            queue_target[k] = target
                            count += 1
                f[SEEING] = 0
            if f[ACTIVE] < n and i == begin + 1:
                # Lanes without a warm-up begin at the slice's first tick, which the
                # others had to themselves.
                f[FIRST] = f[ACTIVE]
                f[LANES] = n
                f[TICK] = begin
                f[ACTIVE] = n
                f[AT] = i
                f[COUNT] = count
                return BEGIN
            if f[ALIVE] == 0:
                i = stop
            # An order is filled at the first tick after its own that is late enough.
            until = stop
            pointer = f[POINTER]
            while count > 0:
                pointer = max(pointer, queue[DECIDED, head] + 1)
                while pointer < stop and ts[pointer] < queue[DUE, head]:
                    pointer += 1
                if pointer >= stop:
                    break
                if pointer > i:
                    # Not before every decision up to there is known: one of them may be
                    # a bad order, which ends the variant.
                    if in_time:
                        until = pointer
                    break
                lane = queue[LANE, head]
                if pointer <= dead_at[lane]:
                    v = variant[lane]
                    c = carries[v]
                    r = rows[v, m]
                    advance(c, r, high, low, mark_close, tables, ts, edges, n_edges, chunk, pointer)
                    target = queue_target[head]
                    if partly and shares[pointer] < 1.0:
                        target = c.position + shares[pointer] * (target - c.position)
                    settle(
                        c,
                        r,
                        terms,
                        pointer,
                        ts[pointer],
                        bid[pointer] - half,
                        ask[pointer] + half,
                        target,
                        fills,
                        record,
                    )
                    buffer[position_at + lane] = c.position
                    buffer[price_at + lane] = c.entry_price
                    bits[entry_at + lane] = c.entry_ts
                    buffer[cash_at + lane] = c.cash
                head = head + 1 if head + 1 < room else 0
                count -= 1
            f[POINTER] = pointer
            f[HEAD] = head
            f[COUNT] = count
            f[AT] = i
            if i >= stop:
                f[PHASE] = END_CHUNK
                continue
            if f[NEXT_LIVE] <= i:
                next_live = never
                for lane in range(n):
                    c = carries[variant[lane]]
                    if dead_at[lane] < never:
                        continue
                    if c.live_from > i:
                        next_live = min(next_live, c.live_from)
                    else:
                        bits[mask_at + lane] = -1
                f[NEXT_LIVE] = next_live
            until = min(until, f[NEXT_LIVE])
            if record:
                c = carries[variant[0]]
                r = rows[variant[0], m]
                advance(c, r, high, low, mark_close, tables, ts, edges, n_edges, chunk, i + 1)
                equity_out[i - slices[0, 0]] = c.equity
                position_out[i - slices[0, 0]] = c.position
                until = i + 1
            if f[ACTIVE] < n:
                if f[ACTIVE] == 0:
                    f[AT] = begin + 1
                    continue
                until = begin + 1
            f[TICK] = i
            f[UNTIL] = until
            f[LANES] = f[ACTIVE]
            f[SEEING] = f[ACTIVE]
            f[FILLED] = 0
            return TICKS

        if phase == END_CHUNK:
            m = f[SLICE]
            chunk = f[CHUNK_BEGIN]
            for lane in range(n):
                v = variant[lane]
                c = carries[v]
                r = rows[v, m]
                last = min(f[STOP] - 1, dead_at[lane])
                if last < chunk:
                    continue
                # A variant that ends here does not know that its period ends as well.
                n_edges = f[N_EDGES]
                while n_edges > 0 and edges[n_edges - 1] > last:
                    n_edges -= 1
                advance(
                    c,
                    r,
                    high,
                    low,
                    mark_close,
                    f[TABLES],
                    ts,
                    edges,
                    n_edges,
                    chunk,
                    last + 1,
                )
                if dead_at[lane] == last:
                    r.status = STATUS_BAD_ORDER
                    r.tick = last
                    finish_row(c, r, ts[last], r.ticks + last + 1 - f[BEGUN])
            f[CHUNK_BEGIN] = f[STOP]
            f[PHASE] = NEW_CHUNK if f[STOP] < f[END] else CLOSE
            continue

        # CLOSE
        m = f[SLICE]
        last = f[END] - 1
        closing = not carry_over or (f[CLOSE_OUT] != 0 and m == n_slices - 1)
        for lane in range(n):
            v = variant[lane]
            c = carries[v]
            c.bin_end = f[BIN_END]
            if dead_at[lane] < never:
                continue
            r = rows[v, m]
            if closing:
                if c.position != 0.0:
                    b = bid[last] - half
                    a = ask[last] + half
                    settle(c, r, terms, last, ts[last], b, a, 0.0, fills, record)
                    c.equity = c.cash
                    mark_point(c, r, c.cash, ts[last], last)
                    buffer[position_at + lane] = c.position
                    buffer[price_at + lane] = c.entry_price
                    bits[entry_at + lane] = c.entry_ts
                    buffer[cash_at + lane] = c.cash
                    if record:
                        equity_out[last - slices[0, 0]] = c.cash
                        position_out[last - slices[0, 0]] = 0.0
                close_period(c, r, c.equity)
            finish_row(c, r, ts[last], r.ticks + f[END] - f[BEGUN])
        f[SLICE] = m + 1
        f[PHASE] = OPEN


def new_frame(
    n_variants: int,
    width: int,
    layout: tuple[int, int, int],
    *,
    feedback: bool,
    origin: int,
    carry_over: bool,
    close_out: bool,
    record: bool,
    capacity: int,
) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return the frame of a call, and the arrays that the core needs for itself.

    Parameters
    ----------
    n_variants, width : int
        Variants of the call; lanes of a group at most.
    layout : tuple of int
        Of the kernel's buffer: fields, doubles from one to the next, ticks in a pass. The
        last fields are those of `LANE_FIELDS`, ``target`` once for each tick of a pass.
    feedback : bool
        Whether a step sees the account.
    origin, carry_over, close_out, record
        See `sweep.kernel.loop.run_batch`.
    capacity : int
        Orders that one variant can have in flight.
    """
    n_fields, stride, ticks = layout
    groups = -(-n_variants // width)
    # Groups of equal size, in whole vectors, instead of a narrow one at the end.
    width = min(width, (-(-n_variants // groups) + 7) // 8 * 8)
    room = width * (capacity + ticks + 1)
    frame = np.zeros(FRAME + 4 * len(ARRAYS), np.int64)
    frame[WIDTH] = width
    frame[PASS] = ticks
    frame[STRIDE] = stride
    frame[LANE_FIELD] = n_fields - ticks - len(LANE_FIELDS) + 1
    frame[IN_TIME] = feedback or record
    frame[ORIGIN] = origin
    frame[CARRY_OVER] = carry_over
    frame[CLOSE_OUT] = close_out
    frame[RECORD] = record
    frame[ROOM] = room
    raw = np.zeros(n_fields * stride + 8)
    first = (-raw.ctypes.data % 64) // 8
    buffer = raw[first : first + n_fields * stride]
    ordered = np.zeros(width)
    scratch = {
        "buffer": buffer,
        "bits": buffer.view(np.int64),
        "changed": np.zeros(ticks, np.int64),
        "ordered": ordered,
        "ordered_bits": ordered.view(np.int64),
        "high": np.empty((2, LEVELS, CHUNK)),
        "low": np.empty((2, LEVELS, CHUNK)),
        "edges": np.empty(CHUNK, np.int64),
        "variant": np.zeros(width, np.int64),
        "opening": np.zeros(width, np.int64),
        "dead_at": np.zeros(width, np.int64),
        "queue": np.zeros((3, room), np.int64),
        "queue_target": np.zeros(room),
    }
    return frame, scratch
