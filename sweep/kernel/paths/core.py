"""What a kernel does besides decisions where each lane has ticks of its own.

`run_paths` evaluates *jobs*: a variant on a stretch of a resampled path, begun flat and
ended flat. All lanes stand at the same tick of a chunk, and each is at another place of
another path. A chunk's ticks are derived for all lanes (`sweep.kernel.paths.derive`), laid out
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

from sweep.kernel.accounting import begin_run
from sweep.kernel.paths.frame import (
    BEGIN,
    BEGINNING,
    DONE,
    FEEDBACK,
    FILL_UP,
    FILLED,
    LANE_FIELD,
    LANES,
    MOST,
    NEVER,
    NEXT_EVENT,
    NEXT_FILL,
    NEXT_JOB,
    OVERFLOW,
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
    PASS,
    PATH_ARRAYS,
    PHASE,
    RUN,
    SEEING,
    SIZES,
    STAMPS,
    STRIDE,
    TICK,
    TICKS,
    UNTIL,
    WORK_OFF,
)
from sweep.kernel.paths.lanes import end_chunk, fill_lanes, fill_orders, find_edges
from sweep.kernel.paths.marks import prepare_lanes
from sweep.kernel.paths.vectors import EIGHT

__all__ = ["PATH_ARRAYS", "run_paths"]


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
    terms_array : ndarray of shape (1,), dtype `sweep.kernel.accounting.TERMS`
    grid : ndarray of shape (3,), float64
        A `sweep.kernel.paths.derive.Grid`.
    ts, bid, ask : ndarray of shape (n_ticks,), int64 and float64
        The source.
    bid_size, ask_size : ndarray of shape (n_ticks,) or (0,), float64
    pieces : ndarray of shape (n_pieces,), dtype `sweep.kernel.paths.derive.PIECE`
    jobs : ndarray of shape (n_jobs,), dtype `JOB`
    warmups : ndarray of shape (n_variants,), int64
        Ticks before orders count.
    rows : ndarray of shape (n_rows,), dtype `sweep.schema.ROW`
    carries : ndarray of shape (n_slots,), dtype `sweep.kernel.accounting.CARRY`
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
                n = fill_lanes(
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
                    lane[OWN_EDGES, k] = find_edges(
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
                    fill_orders(
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
                            times = ts if lane[OWN_WHOLE, k] != 0 else own_ts[k]
                            if c.pending == capacity:
                                job = lane[OWN_JOB, k]
                                r = rows[jobs[job].row]
                                tick = jobs[job].tick + lane[OWN_SEEN, k]
                                fill_orders(
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
                        times = ts if lane[OWN_WHOLE, k] != 0 else own_ts[k]
                        c = carries[lane[OWN_SLOT, k]]
                        job = lane[OWN_JOB, k]
                        r = rows[jobs[job].row]
                        tick = jobs[job].tick + lane[OWN_SEEN, k]
                        fill_orders(
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
            times = ts if lane[OWN_WHOLE, k] != 0 else own_ts[k]
            own = lane[OWN_SLOT, k]
            c = carries[own]
            job = lane[OWN_JOB, k]
            r = rows[jobs[job].row]
            tick = jobs[job].tick + lane[OWN_SEEN, k]
            if c.pending > 0:
                fill_orders(
                    lane, k, n - 1, c, r, terms, due, decided, targets, quotes, worth, top, low,
                    times, tick, edges[k], fills,
                )  # fmt: skip
            ended = end_chunk(
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
