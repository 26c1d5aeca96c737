"""The loop of a kernel whose lanes each have ticks of their own.

As `sweep.kernel.loop`: `run_path_jobs` hands the core (`sweep.kernel.paths.core`) what the
strategy decides, and every path kernel embeds its text after a strategy's source.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.kernel.paths.frame import BEGIN, FILLED, LANES, TICK, TICKS, UNTIL

__all__ = ["run_path_jobs"]

_sweep_params: Any = None
_sweep_warmup: Any = None
_sweep_core: Any = None
_sweep_ticks: Any = None
_sweep_load: Any = None
_sweep_begin: Any = None


def run_path_jobs(
    frame: Any,
    address: int,
    buffer: Any,
    bits: Any,
    changed: Any,
    quotes: Any,
    stamps: Any,
    begins: Any,
    variant: Any,
    warmups: Any,
    sizes: bool,
    units: float,
    mark_close: bool,
    params: Any,
    floats: Any,
    ints: Any,
) -> int:
    """Answer the core's requests until all jobs are evaluated.

    Parameters
    ----------
    frame : ndarray of int64
        See `sweep.kernel.paths.frame`.
    address : int
        Of the frame's memory.
    buffer, bits, changed, quotes, stamps, begins, variant
        See `sweep.kernel.paths.core.run_paths`.
    warmups : ndarray of shape (n_variants,), int64
        Becomes the ticks before a variant's orders count.
    sizes : bool
        Whether ``quotes`` have sizes.
    units : float
        Contract size.
    mark_close : bool
    params : ndarray of shape (n_variants, n_params), float64
    floats, ints : ndarray of shape (n_fields,), float64 and int64
        Zeros: a state before its start.

    Returns
    -------
    int
        ``DONE`` or ``OVERFLOW`` of `sweep.kernel.paths.frame`.
    """
    for v in range(params.shape[0]):
        warmups[v] = _sweep_warmup(_sweep_params(params[v]))
    held = 0
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
                quotes,
                stamps,
                sizes,
                units,
                mark_close,
                frame[TICK],
                frame[UNTIL],
            )
            frame[TICK] = i
            frame[FILLED] = filled
        elif request == BEGIN:
            for lane in range(n):
                if begins[lane] == 0:
                    continue
                row = params[variant[lane]]
                b = quotes[0, 0, lane]
                a = quotes[0, 1, lane]
                _sweep_load(buffer, bits, lane, row, floats, ints)
                _sweep_begin(
                    held,
                    buffer,
                    bits,
                    lane,
                    row,
                    stamps[0, lane],
                    b,
                    a,
                    0.5 * (b + a),
                    a - b,
                    quotes[0, 2, lane] if sizes else np.nan,
                    quotes[0, 3, lane] if sizes else np.nan,
                    0,
                )
        else:
            return int(request)
