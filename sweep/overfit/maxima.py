"""Statistics of variants over resamples: the observed ones, and the highest by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.overfit.draws import BLOCK, Draws, column_means, drawn_sums, fill_block, long_run_sd
from sweep.overfit.statistic import MIN_SESSIONS
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = [
    "Prepared",
    "consistent_shift",
    "highest_by_block",
    "step_down",
    "studentise",
    "why_not",
]


@dataclass(frozen=True)
class Prepared:
    """Variants whose gains have variance; ``factor`` makes a resample's sum a statistic."""

    kept: IntArray1D
    centred: FloatArray2D
    scale: FloatArray1D
    factor: FloatArray1D
    statistics: FloatArray1D


def studentise(gains: FloatArray2D, draws: Draws, *, studentised: bool) -> Prepared | str:
    """Return the variants' statistics, or why there are none.

    ``scale`` is what a statistic in units of omega is multiplied with.
    """
    varied = gains.min(axis=0) != gains.max(axis=0) if len(gains) else np.zeros(0, np.bool_)
    reason = why_not(gains, draws, int(varied.sum()))
    if reason:
        return reason
    kept = np.flatnonzero(varied)
    part = gains[:, kept]
    mean = column_means(part)
    centred = part - mean
    omega = long_run_sd(centred, draws.block_length)
    if not omega.all():
        some = omega > 0.0
        kept, mean, centred, omega = kept[some], mean[some], centred[:, some], omega[some]
        if not len(kept):
            return "no variant's gains have a long-run variance"
    root = math.sqrt(len(gains))
    unit = omega if studentised else np.ones(len(omega))
    return Prepared(
        kept, np.ascontiguousarray(centred), omega / unit, root / (len(gains) * unit),
        root * mean / unit,
    )  # fmt: skip


def why_not(gains: FloatArray2D, draws: Draws, n_varied: int) -> str | None:
    """Return why there is no test, if so.

    Raises
    ------
    InputError
        If the draws are of another number of sessions.
    """
    n, variants = gains.shape
    if n != draws.n_sessions:
        raise InputError(
            f"the returns have {n} sessions and the draws {draws.n_sessions}; draw from "
            f"{n} sessions"
        )
    if n < MIN_SESSIONS:
        return f"{n} sessions; at least {MIN_SESSIONS} are needed"
    if n_varied == 0:
        return "no variant's gains have variance" if variants else "there is no variant"
    return None


def consistent_shift(t: FloatArray1D, n: int) -> FloatArray1D:
    """Where a centred studentised statistic goes: poor ones back to where they were."""
    return np.where(t >= -math.sqrt(2.0 * math.log(math.log(n))), 0.0, t)


def highest_by_block(
    centred: FloatArray2D, draws: Draws, factor: FloatArray1D, shifts: FloatArray2D
) -> NDArray[np.float64]:
    """Return the highest ``sum * factor + shift``: (n_shifts, n_blocks, n_bootstrap)."""
    blocks = -(-centred.shape[1] // BLOCK)
    out = np.empty((len(shifts), blocks, draws.n_bootstrap))
    _block_maxima(
        centred, draws.drawn, draws.times, draws.n_drawn, factor, np.ascontiguousarray(shifts), out
    )
    return out


@njit(cache=True, error_model="numpy")
def _block_maxima(
    centred: FloatArray2D,
    drawn: NDArray[np.int32],
    times: FloatArray2D,
    n_drawn: IntArray1D,
    factor: FloatArray1D,
    shifts: FloatArray2D,
    out: NDArray[np.float64],
) -> None:
    n, variants = centred.shape
    block = np.empty((n, BLOCK))
    sums = np.empty(BLOCK)
    for first in range(0, variants, BLOCK):
        width = fill_block(centred, first, block)
        for b in range(drawn.shape[0]):
            drawn_sums(block, drawn[b], times[b], n_drawn[b], sums)
            for v in range(width):
                sums[v] *= factor[first + v]
            for r in range(shifts.shape[0]):
                highest = -np.inf
                for v in range(width):
                    highest = max(highest, sums[v] + shifts[r, first + v])
                out[r, first // BLOCK, b] = highest


@njit(cache=True, error_model="numpy")
def step_down(
    centred: FloatArray2D,
    drawn: NDArray[np.int32],
    times: FloatArray2D,
    n_drawn: IntArray1D,
    factor: FloatArray1D,
    shift: FloatArray1D,
    observed: FloatArray1D,
    maxima: FloatArray2D,
    exceeded: IntArray1D,
) -> None:
    """Write each block's maxima, and how often the highest from a variant on reaches it.

    Variants go from the best to the poorest; blocks are taken from the last to the first.
    """
    block = np.empty((centred.shape[0], BLOCK))
    sums = np.empty(BLOCK)
    running = np.full(drawn.shape[0], -np.inf)
    for number in range(maxima.shape[0] - 1, -1, -1):
        first = number * BLOCK
        width = fill_block(centred, first, block)
        for b in range(drawn.shape[0]):
            drawn_sums(block, drawn[b], times[b], n_drawn[b], sums)
            own = -np.inf
            tail = running[b]
            for v in range(width - 1, -1, -1):
                z = sums[v] * factor[first + v] + shift[first + v]
                own = max(own, z)
                tail = max(tail, z)
                if tail >= observed[first + v]:
                    exceeded[first + v] += 1
            running[b] = tail
            maxima[number, b] = own
