"""Resampled sessions: which are drawn, and the means of many variants over them.

A resample of sessions is drawn once and used for all variants, so that their dependence is
kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.stats.bootstrap import check_blocks, path_stream, stationary_positions

__all__ = [
    "BLOCK",
    "Draws",
    "column_means",
    "count_reached",
    "drawn_sums",
    "fill_highest",
    "fill_tails",
    "given_draws",
    "long_run_sd",
    "resampled_means",
    "session_draws",
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


IntArray2D = NDArray[np.int64]


@dataclass(frozen=True)
class Draws:
    """Resamples of sessions.

    Attributes
    ----------
    positions : ndarray of shape (n_bootstrap, n_sessions), int32
        The sessions of each resample in the order in which they were drawn.
    drawn : ndarray of shape (n_bootstrap, n_sessions), int32
        The sessions that each resample has at least once, ascending; then fill.
    times : ndarray of shape (n_bootstrap, n_sessions), float64
        How often it has each; 0 past the last.
    n_drawn : ndarray of shape (n_bootstrap,), int64
        How many it has at least once.
    block_length : float
        Mean length of the stationary bootstrap's blocks, in sessions.
    """

    positions: NDArray[np.int32]
    drawn: NDArray[np.int32]
    times: FloatArray2D
    n_drawn: IntArray1D
    block_length: float

    @property
    def n_bootstrap(self) -> int:
        """Resamples."""
        return len(self.drawn)

    @property
    def n_sessions(self) -> int:
        """Sessions in the data, and in each resample."""
        return int(self.drawn.shape[1])


def session_draws(
    n_sessions: int, *, block_length: float, n_bootstrap: int = 1000, seed: int = 0
) -> Draws:
    """Draw resamples by the stationary bootstrap.

    Resamples do not depend on how many there are: more of them begin with the same ones.

    Parameters
    ----------
    n_sessions : int
    block_length : float
        Mean length of a block, in sessions; `sweep.stats.bootstrap.optimal_block_length` of the
        returns suggests one. Try half and twice of it.
    n_bootstrap : int, optional
    seed : int, optional

    Raises
    ------
    InputError
        If the block length does not suit the sessions, or nothing is to be drawn.
    """
    if n_bootstrap < 1:
        raise InputError(f"draw at least 1 resample, found n_bootstrap = {n_bootstrap}")
    check_blocks(n_sessions, block_length)
    # Row after row from two streams: with one of its own, a resample costs more to draw than
    # to evaluate on a thousand variants.
    shape = (n_bootstrap, n_sessions)
    starts = path_stream(seed, "overfit", "stationary starts", 0).integers(0, n_sessions, shape)
    restart = path_stream(seed, "overfit", "stationary restarts", 0).random(shape)
    indices = np.empty(shape, np.int64)
    for b in range(n_bootstrap):
        stationary_positions(starts[b], restart[b], 1.0 / block_length, indices[b])
    return given_draws(indices, block_length=block_length)


def given_draws(indices: ArrayLike, *, block_length: float) -> Draws:
    """Return ready positions as draws.

    Parameters
    ----------
    indices : array_like of shape (n_bootstrap, n_sessions), int64
        Sessions of each resample, in [0, n_sessions).
    block_length : float
        Mean length of the blocks that they were drawn with; enters variants' errors.

    Raises
    ------
    InputError
        If they are no such positions.
    """
    found = np.asarray(indices)
    if found.ndim != 2 or found.dtype.kind not in "iu" or found.size == 0:
        raise InputError(
            "indices must be integers of shape (n_bootstrap, n_sessions), found "
            f"{found.dtype} {found.shape}"
        )
    n = found.shape[1]
    if found.min() < 0 or found.max() >= n:
        raise InputError(f"indices must lie in 0..{n - 1}, found {found.min()} to {found.max()}")
    if not 1.0 <= block_length <= n:
        raise InputError(f"a block length lies in 1..{n} sessions, found {block_length:g}")
    rows = found.astype(np.int32)
    drawn, times = np.zeros(found.shape, np.int32), np.zeros(found.shape)
    n_drawn = np.empty(len(found), np.int64)
    count_positions(rows, drawn, times, n_drawn)
    return Draws(rows, drawn, times, n_drawn, float(block_length))


def column_means(values: FloatArray2D) -> FloatArray1D:
    """Return the mean of each column, added in the order of the rows; (n_columns,), float64.

    NumPy adds a single column in another order than one among several.
    """
    out = np.zeros(values.shape[1])
    add_rows(values, out)
    return out / len(values)


def resampled_means(centred: FloatArray2D, draws: Draws) -> FloatArray2D:
    """Return the mean of each variant over each resample.

    Parameters
    ----------
    centred : ndarray of shape (n_sessions, n_variants), float64
    draws : Draws

    Returns
    -------
    ndarray of shape (n_variants, n_bootstrap), float64
    """
    out = np.empty((centred.shape[1], draws.n_bootstrap))
    fill_means(centred, draws.drawn, draws.times, draws.n_drawn, out)
    return out


def long_run_sd(centred: FloatArray2D, block_length: float) -> FloatArray1D:
    """Return the standard deviation of ``sqrt(n)`` times the mean under the stationary bootstrap.

    ``omega**2 = R(0) + 2 * sum(kappa(k) * R(k), 1 <= k < n)`` with autocovariances R divided
    by n, ``kappa(k) = (1 - k/n) * (1 - q)**k + k/n * (1 - q)**(n - k)`` and q one over the
    block length. Weights below 1e-18 are left out.

    Parameters
    ----------
    centred : ndarray of shape (n_sessions, n_variants), float64
        Each column's mean taken off.
    block_length : float

    Returns
    -------
    ndarray of shape (n_variants,), float64

    References
    ----------
    Politis & Romano (1994), Lemma 1; Hansen (2005), section 3.1.
    """
    n = len(centred)
    q = 1.0 / block_length
    k = np.arange(n, dtype=np.float64)
    weights = 2.0 * ((1.0 - k / n) * (1.0 - q) ** k + k / n * (1.0 - q) ** (n - k))
    weights[0] = 1.0
    variance = np.empty(centred.shape[1])
    weighted_autocovariances(centred, weights, variance)
    return np.sqrt(np.maximum(variance, 0.0))
