"""One variant on ticks in memory, by any kernel: what the checks of a strategy compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sweep.kernel import Kernel, KernelCall, Recording, new_memory
from sweep.kernel.accounting import FILL, terms_of
from sweep.schema import ROW, Account, Costs, FloatArray1D, FloatArray2D, Rows, Slice, Ticks

__all__ = ["Solo", "run_lanes", "run_solo", "same_bits"]


class Solo(NamedTuple):
    """What a variant leaves.

    Attributes
    ----------
    row : ndarray of shape (n_slices,), dtype `sweep.schema.ROW`
    equity, position : ndarray of shape (n_ticks,), float64
        Empty where they were not recorded.
    state : tuple of ndarray
        The strategy's state at the end, numbers only.
    """

    row: Rows
    equity: FloatArray1D
    position: FloatArray1D
    state: tuple[Any, ...]

    def same(self, other: Solo) -> bool:
        """Whether everything agrees to the bit: figures, curves, the strategy's state."""
        pairs = [(self.equity, other.equity), (self.position, other.position)]
        pairs += zip(self.state, other.state, strict=True)
        pairs += [(self.row[n], other.row[n]) for n in ROW.names or ()]
        return all(bool(same_bits(np.ravel(a), np.ravel(b)).all()) for a, b in pairs)


def run_solo(
    kernel: Kernel,
    ticks: Ticks,
    row: FloatArray1D,
    slices: Sequence[Slice],
    costs: Costs,
    account: Account,
    *,
    record: bool = True,
    apart: bool = False,
    columns: tuple[Any, ...] | None = None,
) -> Solo:
    """Run one variant on consecutive slices that carry on from each other.

    Parameters
    ----------
    kernel : Kernel
        Compiled or plain.
    ticks : Ticks
    row : ndarray of shape (n_params,), float64
    slices : sequence of Slice
    costs : Costs
        Without latency, so that one order at most is in flight.
    account : Account
    record : bool, optional
        Whether to keep equity and position at each tick.
    apart : bool, optional
        One call for each slice, with the state stored in between.
    columns : tuple of ndarray, optional
        The features, where they are known.
    """
    end = slices[-1].end
    params = np.ascontiguousarray(row)[None, :]
    if columns is None:
        columns = kernel.features(ticks.between(0, end), kernel.params(row))
    size = end - slices[0].begin if record else 0
    recording = Recording(np.full(size, np.nan), np.full(size, np.nan), np.zeros(size + 2, FILL))
    memory = new_memory(kernel.ref, 1, 2)
    rows = np.zeros((1, len(slices)), ROW)
    calls = [slice(m, m + 1) for m in range(len(slices))] if apart else [slice(0, len(slices))]
    done = 0
    for call in calls:
        part = np.array(slices[call], dtype=np.int64).reshape(-1, 3)
        own = np.ascontiguousarray(rows[:, call])
        if call.start:
            own[:, 0] = rows[:, call.start - 1]
        length = int(part[-1, 1] - part[0, 0]) if record else 0
        kernel.scalar(
            KernelCall(
                ticks,
                params,
                part,
                terms_of(costs, account),
                memory,
                own,
                columns,
                close_out=call.stop == len(slices),
                recording=recording.between(done, done + length) if record else None,
            )
        )
        rows[:, call] = own
        done += length
    return Solo(rows[0], recording.equity, recording.position, (memory.floats, memory.ints))


def run_lanes(
    kernel: Kernel, ticks: Ticks, params: FloatArray2D, costs: Costs, account: Account
) -> Rows:
    """Run variants side by side over all ticks; see `run_solo`.

    Parameters
    ----------
    kernel : Kernel
        With ``lanes``.
    ticks : Ticks
    params : ndarray of shape (n_variants, n_params), float64
        They share the features of the first.
    costs : Costs
    account : Account

    Returns
    -------
    ndarray of shape (n_variants,), dtype `sweep.schema.ROW`
    """
    n = len(params)
    rows = np.zeros((n, 1), ROW)
    kernel.run_for(n, n)(
        KernelCall(
            ticks,
            np.ascontiguousarray(params),
            np.array([[0, len(ticks.ts), 0]]),
            terms_of(costs, account),
            new_memory(kernel.ref, n, 2),
            rows,
            kernel.features(ticks, kernel.params(params[0])),
        )
    )
    return rows[:, 0]


def same_bits(a: FloatArray1D, b: FloatArray1D) -> np.ndarray[Any, Any]:
    """Where two arrays hold the same bits; any NaN is like any other."""
    same = np.ascontiguousarray(a).view(np.int64) == np.ascontiguousarray(b).view(np.int64)
    return np.asarray(same | (np.isnan(a) & np.isnan(b)))
