"""Resampled sessions: which are drawn, and the means of many variants over them.

A resample of sessions is drawn once and used for all variants, so that their dependence is
kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.stats.bootstrap import check_blocks, path_stream, stationary_positions
from sweep.stats.overfit.sums import add_rows, count_positions, fill_means, weighted_autocovariances

__all__ = [
    "Draws",
    "column_means",
    "given_draws",
    "long_run_sd",
    "resampled_means",
    "session_draws",
]

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
