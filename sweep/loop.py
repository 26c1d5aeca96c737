"""The loop over ticks, whose text every kernel embeds behind a strategy's source.

`run_batch` names functions that the kernel's generated part defines: ``_sweep_params``,
``_sweep_constants``, ``_sweep_start``, ``_sweep_step``, ``_sweep_warmup``,
``_sweep_pack`` and ``_sweep_unpack``. Here they are placeholders, so that this module
is checked like any other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.fills import begin_run, close_period, end_spell, finish_row, settle
from sweep.schema import STATUS_BAD_ORDER, STATUS_OK, STATUS_RUINED

__all__ = ["run_batch"]

_sweep_params: Any = None
_sweep_constants: Any = None
_sweep_start: Any = None
_sweep_step: Any = None
_sweep_warmup: Any = None
_sweep_pack: Any = None
_sweep_unpack: Any = None


def run_batch(
    ts: Any,
    bid: Any,
    ask: Any,
    bid_size: Any,
    ask_size: Any,
    features: Any,
    origin: int,
    params: Any,
    slices: Any,
    carry_over: bool,
    close_out: bool,
    terms_array: Any,
    carries: Any,
    floats: Any,
    ints: Any,
    due: Any,
    targets: Any,
    rows: Any,
    record: bool,
    equity_out: Any,
    position_out: Any,
    fills: Any,
) -> None:
    """Evaluate every variant of a batch on consecutive slices.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64, read-only
    bid, ask : ndarray of shape (n_ticks,), float64, read-only
    bid_size, ask_size : ndarray of shape (n_ticks,) or (0,), float64, read-only
    features : tuple of ndarray of shape (n_features_ticks,), float64, read-only
        Their first value belongs to tick ``origin``.
    origin : int
    params : ndarray of shape (n_variants, n_params), float64
    slices : ndarray of shape (n_slices, 3), int64
        First tick, end, lowest tick of the warm-up.
    carry_over : bool
        Whether state, position and sums go on from slice to slice.
    close_out : bool
        Whether the last slice closes an open position (with ``carry_over``; without it
        every slice does).
    terms_array : ndarray of shape (1,), dtype `sweep.fills.TERMS`
    carries : ndarray of shape (n_variants,), dtype `sweep.fills.CARRY`
    floats, ints : ndarray of shape (n_variants, n_fields), float64 and int64
        The strategy's state, between calls.
    due, targets : ndarray of shape (n_variants, capacity), int64 and float64
        Ring of the orders in flight.
    rows : ndarray of shape (n_variants, n_slices), dtype `sweep.schema.ROW`
    record : bool
        Whether to write the next three (one variant, a replay).
    equity_out, position_out : ndarray of shape (n_ticks of the slices,), float64
    fills : ndarray of shape (n_fills,), dtype `sweep.fills.FILL`
    """
    terms = terms_array[0]
    half = terms.half_spread
    latency = terms.latency
    units = terms.contract_size
    mark_close = terms.mark_close != 0
    capacity = due.shape[1]
    sizes = bid_size.shape[0] > 0
    first_recorded = slices[0, 0]
    for v in range(params.shape[0]):
        p = _sweep_params(params[v])
        k = _sweep_constants(p)
        warmup = _sweep_warmup(p)
        c = carries[v]
        state = _sweep_unpack(floats[v], ints[v])
        for m in range(slices.shape[0]):
            begin = slices[m, 0]
            end = slices[m, 1]
            r = rows[v, m]
            decide_from = begin
            if c.started == 0 or not carry_over:
                begin_run(c, r, terms, ts[begin])
                # Not before the features begin: their warm-up is worked out as plain Python,
                # which may cut a product of reals one tick shorter than compiled code.
                i = max(slices[m, 2], begin - warmup, origin)
                c.live_from = i + warmup
                b = bid[i] - half
                a = ask[i] + half
                bs = bid_size[i] if sizes else np.nan
                az = ask_size[i] if sizes else np.nan
                state = _sweep_start(
                    ts[i], b, a, 0.5 * (b + a), a - b, bs, az, p, k, features, i - origin
                )
                decide_from = i + 1
                while decide_from < begin:
                    i = decide_from
                    b = bid[i] - half
                    a = ask[i] + half
                    bs = bid_size[i] if sizes else np.nan
                    az = ask_size[i] if sizes else np.nan
                    state, target = _sweep_step(
                        state,
                        ts[i],
                        b,
                        a,
                        0.5 * (b + a),
                        a - b,
                        bs,
                        az,
                        p,
                        k,
                        features,
                        i - origin,
                        0.0,
                        0.0,
                        0,
                        terms.capital,
                    )
                    decide_from += 1
            elif m > 0:
                rows[v, m] = rows[v, m - 1]
            position = c.position
            cash = c.cash
            pending = c.pending
            bin_end = c.bin_end
            live_from = c.live_from
            last_target = c.target
            equity = c.equity
            high_ts = c.high_ts
            under = c.under != 0
            trough = c.trough
            high = r.high
            ran = end - begin
            for i in range(begin, end):
                t = ts[i]
                b = bid[i] - half
                a = ask[i] + half
                mid = 0.5 * (b + a)
                if t >= bin_end:
                    close_period(c, r, equity)
                    bin_end = (t // terms.clock + 1) * terms.clock
                if pending > 0:
                    while pending > 0 and due[v, c.head] <= t:
                        settle(c, r, terms, i, t, b, a, targets[v, c.head], fills, record)
                        c.head = c.head + 1 if c.head + 1 < capacity else 0
                        pending -= 1
                    position = c.position
                    cash = c.cash
                mark = mid
                if mark_close:
                    mark = b if position > 0.0 else a
                equity = cash + position * mark * units
                if equity < high:
                    trough = equity if equity < trough else trough
                    under = True
                else:
                    if under:
                        end_spell(c, high, high_ts, trough, t)
                        under = False
                    high = equity
                    high_ts = t
                    trough = equity
                if equity <= 0.0 and r.status == STATUS_OK:
                    r.status = STATUS_RUINED
                    r.tick = i
                if record:
                    equity_out[i - first_recorded] = equity
                    position_out[i - first_recorded] = position
                if i >= decide_from:
                    bs = bid_size[i] if sizes else np.nan
                    az = ask_size[i] if sizes else np.nan
                    state, target = _sweep_step(
                        state,
                        t,
                        b,
                        a,
                        mid,
                        a - b,
                        bs,
                        az,
                        p,
                        k,
                        features,
                        i - origin,
                        position,
                        c.entry_price,
                        c.entry_ts,
                        equity,
                    )
                    if i >= live_from and target != last_target:
                        # Also true for a NaN, which differs from everything.
                        if not np.isfinite(target):
                            r.status = STATUS_BAD_ORDER
                            r.tick = i
                            ran = i + 1 - begin
                            break
                        place = c.head + pending
                        if place >= capacity:
                            place -= capacity
                        due[v, place] = t + latency
                        targets[v, place] = target
                        pending += 1
                        last_target = target
            c.pending = pending
            c.bin_end = bin_end
            c.target = last_target
            last = begin + ran - 1
            failed = r.status == STATUS_BAD_ORDER
            closing = not carry_over or (close_out and m == slices.shape[0] - 1)
            if closing and not failed and c.position != 0.0:
                b = bid[last] - half
                a = ask[last] + half
                settle(c, r, terms, last, ts[last], b, a, 0.0, fills, record)
                equity = c.cash
                if equity < high:
                    trough = equity if equity < trough else trough
                    under = True
                else:
                    if under:
                        end_spell(c, high, high_ts, trough, ts[last])
                        under = False
                    high = equity
                    high_ts = ts[last]
                    trough = equity
                if equity <= 0.0 and r.status == STATUS_OK:
                    r.status = STATUS_RUINED
                    r.tick = last
                if record:
                    equity_out[last - first_recorded] = equity
                    position_out[last - first_recorded] = 0.0
            if closing and not failed:
                close_period(c, r, equity)
            c.equity = equity
            c.high_ts = high_ts
            c.under = 1 if under else 0
            c.trough = trough
            r.high = high
            finish_row(c, r, ts[last], r.ticks + ran)
            if failed:
                for rest in range(m + 1, slices.shape[0]):
                    rows[v, rest] = rows[v, m]
                break
        _sweep_pack(state, floats[v], ints[v])
