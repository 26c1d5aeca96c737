"""The loop of a kernel, whose text every kernel embeds after a strategy's source.

`run_batch` hands the core (`sweep.kernel.core`) what the strategy decides. A kernel has it
twice: with functions that keep a single variant's state in registers (`scalar_ticks`,
here), and with functions that run a group of variants side by side (`sweep.kernel.lanes`).

The text names functions that the kernel's generated part defines (``_sweep_core``,
``_sweep_step`` ...). Here they are placeholders, so that this module is checked like any
other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.kernel.core import BEGIN, FILLED, FIRST, LANES, LOAD, SAVE, TICK, TICKS, UNTIL

__all__ = ["run_batch", "scalar_ticks"]

_sweep_params: Any = None
_sweep_warmup: Any = None
_sweep_step: Any = None
_sweep_features: Any = None
_sweep_core: Any = None
_sweep_ticks: Any = None
_sweep_load: Any = None
_sweep_begin: Any = None
_sweep_save: Any = None


def run_batch(
    frame: Any,
    address: int,
    buffer: Any,
    bits: Any,
    changed: Any,
    variant: Any,
    warmups: Any,
    ts: Any,
    bid: Any,
    ask: Any,
    bid_size: Any,
    ask_size: Any,
    features: Any,
    origin: int,
    half: float,
    units: float,
    mark_close: bool,
    params: Any,
    floats: Any,
    ints: Any,
) -> None:
    """Answer the core's requests until all variants of a batch are evaluated.

    Parameters
    ----------
    frame : ndarray of int64
        See `sweep.kernel.core`.
    address : int
        Of the frame's memory.
    buffer, bits : ndarray of shape (n_fields * stride,), float64, and the same as int64
        What the lanes of a group hold.
    changed : ndarray of shape (n_ticks of a pass,), int64
        Not 0 where a target differs from that of the tick before.
    variant : ndarray of shape (n_lanes,), int64
        Place in the batch, by lane.
    warmups : ndarray of shape (n_variants,), int64
        Becomes the ticks before a variant's orders count.
    ts : ndarray of shape (n_ticks,), int64, read-only
    bid, ask : ndarray of shape (n_ticks,), float64, read-only
    bid_size, ask_size : ndarray of shape (n_ticks,) or (0,), float64, read-only
    features : tuple of ndarray of shape (n_features_ticks,), float64, read-only
        Their first value belongs to tick ``origin``.
    origin : int
    half : float
        Half-spread around trades.
    units : float
        Contract size.
    mark_close : bool
    params : ndarray of shape (n_variants, n_params), float64
    floats, ints : ndarray of shape (n_variants, n_fields), float64 and int64
        The strategy's state, between calls.
    """
    sizes = bid_size.shape[0] > 0
    for v in range(params.shape[0]):
        warmups[v] = _sweep_warmup(_sweep_params(params[v]))
    # A plain 0 has a type of its own, for which the function would be compiled once more.
    held = _sweep_load(buffer, bits, np.int64(0), params[0], floats[0], ints[0])
    while True:
        request = _sweep_core(address)
        n = frame[LANES]
        if request == TICKS:
            held, i, filled = _sweep_ticks(
                held,
                buffer,
                bits,
                changed,
                n,
                ts,
                bid,
                ask,
                bid_size,
                ask_size,
                sizes,
                half,
                units,
                mark_close,
                features,
                origin,
                frame[TICK],
                frame[UNTIL],
            )
            frame[TICK] = i
            frame[FILLED] = filled
        elif request == BEGIN:
            i = frame[TICK]
            b = bid[i] - half
            a = ask[i] + half
            for lane in range(frame[FIRST], n):
                held = _sweep_begin(
                    held,
                    buffer,
                    bits,
                    lane,
                    params[variant[lane]],
                    ts[i],
                    b,
                    a,
                    0.5 * (b + a),
                    a - b,
                    bid_size[i] if sizes else np.nan,
                    ask_size[i] if sizes else np.nan,
                    _sweep_features(features, i - origin),
                )
            frame[TICK] = i + 1
        elif request == LOAD:
            for lane in range(n):
                v = variant[lane]
                held = _sweep_load(buffer, bits, lane, params[v], floats[v], ints[v])
        elif request == SAVE:
            for lane in range(n):
                v = variant[lane]
                _sweep_save(held, buffer, bits, lane, floats[v], ints[v])
        else:
            break


def scalar_ticks(
    held: Any,
    buffer: Any,
    bits: Any,
    changed: Any,
    n: int,
    ts: Any,
    bid: Any,
    ask: Any,
    bid_size: Any,
    ask_size: Any,
    sizes: bool,
    half: float,
    units: float,
    mark_close: bool,
    features: Any,
    origin: int,
    i: int,
    stop: int,
) -> tuple[Any, int, int]:
    """Take a single variant's decisions from tick ``i`` until one differs, or to ``stop``.

    Parameters
    ----------
    held : tuple
        State, parameters and constants.
    buffer, bits : ndarray of shape (6,), float64, and the same as int64
        One lane's `sweep.kernel.core.LANE_FIELDS`. The last becomes the target that differs.
    changed : ndarray of shape (1,), int64
    n : int
        1.

    Returns
    -------
    held : tuple
    i : int
        After the last tick that was decided.
    filled : int
        1 where the target of that tick differs, otherwise 0.
    """
    state, p, k = held
    position = buffer[0]
    entry_price = buffer[1]
    entry_ts = bits[2]
    cash = buffer[3]
    muted = bits[4] == 0
    known = buffer[5]
    while i < stop:
        b = bid[i] - half
        a = ask[i] + half
        mid = 0.5 * (b + a)
        mark = mid
        if mark_close:
            mark = b if position > 0.0 else a
        equity = cash + position * (mark * units) if position != 0.0 else cash
        state, target = _sweep_step(
            state,
            ts[i],
            b,
            a,
            mid,
            a - b,
            bid_size[i] if sizes else np.nan,
            ask_size[i] if sizes else np.nan,
            p,
            k,
            _sweep_features(features, i - origin),
            position,
            entry_price,
            entry_ts,
            equity,
        )
        i += 1
        if target != known and not muted:
            buffer[5] = target
            changed[0] = 1
            return (state, p, k), i, 1
    return (state, p, k), i, 0
