"""Sums over resamples, compiled.

A variant's mean over a resample is the sum of its sessions, each as often as it was drawn,
added in the order of the sessions. Loops do this for a block of variants side by side, each
in a lane of its own: the bits of a variant's means depend on its own returns and the draws,
not on how many variants there are, how they are grouped, nor on threads or a linear algebra
library.

All that is compiled together is in this file: Numba's cache of a function sees changes of
its own file only, and would go on with what it once compiled from another.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = [
    "BLOCK",
    "add_rows",
    "count_positions",
    "count_reached",
    "drawn_sums",
    "drawn_variances",
    "fill_block",
    "fill_highest",
    "fill_means",
    "fill_tails",
    "weighted_autocovariances",
]

#: Variants side by side. A block of 250 sessions takes 128 KiB, a quarter of a core's L2.
BLOCK = 64

#: A resample's own variance below this share of the sample's is no estimate of it.
LEAST = 0.01


@njit(cache=True, error_model="numpy")
def fill_block(values: FloatArray2D, first: int, block: FloatArray2D) -> int:
    """Copy the columns from ``first`` on into a block, zeros past the last; return how many."""
    width: int = min(BLOCK, values.shape[1] - first)
    for t in range(values.shape[0]):
        for v in range(width):
            block[t, v] = values[t, first + v]
        for v in range(width, BLOCK):
            block[t, v] = 0.0
    return width


@njit(cache=True, error_model="numpy")
def drawn_sums(
    block: FloatArray2D,
    drawn: NDArray[np.int32],
    times: FloatArray1D,
    n_drawn: int,
    out: FloatArray1D,
) -> None:
    """Write the sums of a block's columns over one resample, in the order of the sessions."""
    out[:] = 0.0
    whole = n_drawn - n_drawn % 4
    for k in range(0, whole, 4):
        # Four at a time, added one after the other: the bits of a loop without this.
        a, b, c, d = block[drawn[k]], block[drawn[k + 1]], block[drawn[k + 2]], block[drawn[k + 3]]
        p, q, r, s = times[k], times[k + 1], times[k + 2], times[k + 3]
        for v in range(BLOCK):
            out[v] = out[v] + p * a[v] + q * b[v] + r * c[v] + s * d[v]
    for k in range(whole, n_drawn):
        row = block[drawn[k]]
        weight = times[k]
        for v in range(BLOCK):
            out[v] += weight * row[v]


@njit(cache=True, error_model="numpy")
def drawn_variances(
    block: FloatArray2D,
    positions: NDArray[np.int32],
    work: FloatArray2D,
    sums: FloatArray1D,
    variances: FloatArray1D,
) -> None:
    """Write the columns' sums over one resample, and the variances of its own ``sqrt(n) * mean``.

    With S the sum and l the length of each of its blocks and m its mean:
    ``sum((S - l * m)**2) / n``. A block ends where the next session is not the following one.

    Parameters
    ----------
    block : ndarray of shape (n_sessions, BLOCK), float64
    positions : ndarray of shape (n_sessions,), int32
        In the order in which they were drawn.
    work : ndarray of shape (3, BLOCK), float64
        Scratch.
    sums, variances : ndarray of shape (BLOCK,), float64

    References
    ----------
    Goetze & Kuensch (1996), Second-order correctness of the blockwise bootstrap for
    stationary observations, Annals of Statistics 24(5).
    """
    n = positions.size
    own, squares, weighted = work[0], work[1], work[2]
    work[:] = 0.0
    sums[:] = 0.0
    length, lengths = 0.0, 0.0
    for t in range(n):
        row = block[positions[t]]
        for v in range(BLOCK):
            own[v] += row[v]
        length += 1.0
        if t == n - 1 or positions[t + 1] != (positions[t] + 1) % n:
            for v in range(BLOCK):
                sums[v] += own[v]
                squares[v] += own[v] * own[v]
                weighted[v] += length * own[v]
                own[v] = 0.0
            lengths += length * length
            length = 0.0
    for v in range(BLOCK):
        mean = sums[v] / n
        variances[v] = (squares[v] - 2.0 * mean * weighted[v] + mean * mean * lengths) / n


@njit(cache=True, error_model="numpy")
def count_positions(
    positions: NDArray[np.int32],
    drawn: NDArray[np.int32],
    times: FloatArray2D,
    n_drawn: IntArray1D,
) -> None:
    """Write which sessions each resample has, ascending, how often, and how many."""
    n = positions.shape[1]
    counts = np.empty(n, np.int64)
    for b in range(positions.shape[0]):
        counts[:] = 0
        for t in range(n):
            counts[positions[b, t]] += 1
        k = 0
        for t in range(n):
            if counts[t] > 0:
                drawn[b, k] = t
                times[b, k] = counts[t]
                k += 1
        n_drawn[b] = k


@njit(cache=True, error_model="numpy")
def add_rows(values: FloatArray2D, out: FloatArray1D) -> None:
    """Add each column's values, in the order of the rows."""
    for t in range(values.shape[0]):
        for v in range(values.shape[1]):
            out[v] += values[t, v]


@njit(cache=True, error_model="numpy")
def fill_means(
    centred: FloatArray2D,
    drawn: NDArray[np.int32],
    times: FloatArray2D,
    n_drawn: IntArray1D,
    out: FloatArray2D,
) -> None:
    """Write each variant's mean over each resample, (n_variants, n_bootstrap)."""
    n, variants = centred.shape
    block = np.empty((n, BLOCK))
    sums = np.empty(BLOCK)
    for first in range(0, variants, BLOCK):
        width = fill_block(centred, first, block)
        for b in range(drawn.shape[0]):
            drawn_sums(block, drawn[b], times[b], n_drawn[b], sums)
            for v in range(width):
                out[first + v, b] = sums[v] / n


@njit(cache=True, error_model="numpy")
def weighted_autocovariances(
    centred: FloatArray2D, weights: FloatArray1D, out: FloatArray1D
) -> None:
    """Write each column's autocovariances, divided by n, weighted and added."""
    n, variants = centred.shape
    block = np.empty((n, BLOCK))
    total, lag = np.empty(BLOCK), np.empty(BLOCK)
    for first in range(0, variants, BLOCK):
        width = fill_block(centred, first, block)
        total[:] = 0.0
        for k in range(n):
            if weights[k] < 1e-18:
                continue
            lag[:] = 0.0
            for t in range(n - k):
                a, b = block[t], block[t + k]
                for v in range(BLOCK):
                    lag[v] += a[v] * b[v]
            for v in range(BLOCK):
                total[v] += weights[k] * lag[v]
        for v in range(width):
            out[first + v] = total[v] / n


@njit(cache=True, error_model="numpy")
def _top(values: FloatArray1D) -> float:
    """Return the highest of a whole block, which is lost: by halves, which become SIMD."""
    half = BLOCK // 2
    while half > 4:
        for v in range(half):
            values[v] = values[v + half] if values[v + half] > values[v] else values[v]
        half //= 2
    highest = -np.inf
    for v in range(2 * half):
        highest = max(highest, values[v])
    return highest


@njit(cache=True, error_model="numpy")
def _means_and_errors(
    block: FloatArray2D,
    positions: NDArray[np.int32],
    drawn: NDArray[np.int32],
    times: FloatArray1D,
    n_drawn: int,
    scale: FloatArray1D,
    resampled_errors: bool,
    work: FloatArray2D,
    means: FloatArray1D,
    errors: FloatArray1D,
) -> None:
    """Write ``sqrt(n)`` times a resample's means, and what they are divided by.

    A resample that hardly has a variant's active sessions has no error of its own for it:
    then the sample's stands.
    """
    root = np.sqrt(float(positions.size))
    if resampled_errors:
        drawn_variances(block, positions, work, means, errors)
        for v in range(scale.size):
            least = LEAST * scale[v] * scale[v]
            errors[v] = np.sqrt(errors[v]) if errors[v] > least else scale[v]
    else:
        drawn_sums(block, drawn, times, n_drawn, means)
        for v in range(scale.size):
            errors[v] = scale[v]
    for v in range(scale.size):
        means[v] /= root


@njit(cache=True, error_model="numpy")
def fill_highest(
    centred: FloatArray2D,
    positions: NDArray[np.int32],
    drawn: NDArray[np.int32],
    times: FloatArray2D,
    n_drawn: IntArray1D,
    scale: FloatArray1D,
    shifts: FloatArray2D,
    resampled_errors: bool,
    out: NDArray[np.float64],
) -> None:
    """Write the highest ``(sqrt(n) * mean + shift) / error`` of each block of variants."""
    n, variants = centred.shape
    block, work = np.empty((n, BLOCK)), np.empty((3, BLOCK))
    means, errors, found = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for first in range(0, variants, BLOCK):
        width = fill_block(centred, first, block)
        own = scale[first : first + width]
        for b in range(drawn.shape[0]):
            _means_and_errors(
                block, positions[b], drawn[b], times[b], n_drawn[b], own, resampled_errors,
                work, means, errors,
            )  # fmt: skip
            for r in range(shifts.shape[0]):
                shift = shifts[r, first : first + width]
                for v in range(width):
                    found[v] = (means[v] + shift[v]) / errors[v]
                found[width:] = -np.inf
                out[r, first // BLOCK, b] = _top(found)


@njit(cache=True, error_model="numpy")
def count_reached(
    centred: FloatArray2D,
    positions: NDArray[np.int32],
    drawn: NDArray[np.int32],
    times: FloatArray2D,
    n_drawn: IntArray1D,
    scale: FloatArray1D,
    observed: FloatArray1D,
    out: IntArray1D,
) -> None:
    """Count the resamples in which a variant's mean over its own error reaches what it has."""
    block, work = np.empty((centred.shape[0], BLOCK)), np.empty((3, BLOCK))
    means, errors = np.empty(BLOCK), np.empty(BLOCK)
    for first in range(0, centred.shape[1], BLOCK):
        width = fill_block(centred, first, block)
        own = scale[first : first + width]
        for b in range(drawn.shape[0]):
            _means_and_errors(
                block, positions[b], drawn[b], times[b], n_drawn[b], own, True,
                work, means, errors,
            )  # fmt: skip
            for v in range(width):
                out[first + v] += means[v] / errors[v] >= observed[first + v]


@njit(cache=True, error_model="numpy")
def fill_tails(
    centred: FloatArray2D,
    positions: NDArray[np.int32],
    drawn: NDArray[np.int32],
    times: FloatArray2D,
    n_drawn: IntArray1D,
    scale: FloatArray1D,
    shift: FloatArray1D,
    observed: FloatArray1D,
    resampled_errors: bool,
    tails: FloatArray2D,
    exceeded: IntArray1D,
) -> None:
    """Take blocks and their variants from the last to the first: the highest so far is a tail's."""
    block, work = np.empty((centred.shape[0], BLOCK)), np.empty((3, BLOCK))
    means, errors = np.empty(BLOCK), np.empty(BLOCK)
    for number in range(tails.shape[0] - 1, -1, -1):
        first = number * BLOCK
        width = fill_block(centred, first, block)
        part = slice(first, first + width)
        own, own_shift, own_observed = scale[part], shift[part], observed[part]
        reached = exceeded[part]
        for b in range(drawn.shape[0]):
            _means_and_errors(
                block, positions[b], drawn[b], times[b], n_drawn[b], own, resampled_errors,
                work, means, errors,
            )  # fmt: skip
            for v in range(width):
                means[v] = (means[v] + own_shift[v]) / errors[v]
            highest = tails[number + 1, b] if number + 1 < tails.shape[0] else -np.inf
            for v in range(width - 1, -1, -1):
                highest = means[v] if means[v] > highest else highest
                means[v] = highest
            tails[number, b] = highest
            for v in range(width):
                reached[v] += means[v] >= own_observed[v]
