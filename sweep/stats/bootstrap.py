"""Block bootstrap: which positions a resampled series takes, and how long its blocks are.

The three generators return positions into the data, so that several series (all variants,
all columns of a tick) can be resampled by the same ones. Their compiled cores take the
random numbers as arrays and draw none: the same text run as plain Python gives the same
bits, and so does any number of workers.

========== =========================== ========== =======================================
           blocks                      wrap       every position equally likely
========== =========================== ========== =======================================
stationary geometric, mean length L    yes        yes
circular   fixed, length L             yes        yes
moving     fixed, length L             no         no: the ends come up less often, which
                                                  biases the mean
========== =========================== ========== =======================================

References
----------
Politis & Romano (1994), The stationary bootstrap, JASA 89(428).
Politis & Romano (1992), A circular block-resampling procedure for stationary data, in
LePage & Billard, Exploring the Limits of Bootstrap.
Kuensch (1989), The jackknife and the bootstrap for general stationary observations,
Annals of Statistics 17(3): the moving blocks.
Politis & White (2004), Automatic block-length selection for the dependent bootstrap,
Econometric Reviews 23(1), with the correction of Patton, Politis & White (2009), 28(4).
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numba import njit

from sweep.errors import InputError
from sweep.schema import FloatArray1D, IntArray1D

__all__ = [
    "BlockLength",
    "block_positions",
    "check_blocks",
    "circular",
    "moving",
    "optimal_block_length",
    "path_stream",
    "stationary",
    "stationary_positions",
]


# -- random streams --------------------------------------------------------------------


def path_stream(seed: int, purpose: str | int, method: str | int, path: int) -> np.random.Generator:
    """Return the random numbers of one path, addressed by its position.

    Path 7 has the same numbers whether 8 paths are drawn or 8,000, by one worker or many,
    in any order.

    Parameters
    ----------
    seed : int
        The study's, not negative.
    purpose, method : str or int
        What the numbers are for, and by which method: a word (its CRC-32 is the key), or a
        number below 2**32.
    path : int
        From 0, below 2**32.

    Returns
    -------
    numpy.random.Generator
        PCG64 of ``SeedSequence(seed, spawn_key=(purpose, method, path))``. The bit generator
        is named, since NumPy's default one may change.

    Raises
    ------
    InputError
        For a negative seed or a key outside its range.
    """
    if seed < 0:
        raise InputError(f"a seed must not be negative, found {seed}")
    key = (_word("purpose", purpose), _word("method", method), _word("path", path))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _word(name: str, value: str | int) -> int:
    """Return one 32-bit word of a spawn key.

    Larger numbers would be split into several words, and two keys could then be one.
    """
    if isinstance(value, str):
        return zlib.crc32(value.encode())
    if not 0 <= value < 2**32:
        raise InputError(f"the {name} of a random stream lies in 0..2**32 - 1, found {value}")
    return int(value)


# -- positions -------------------------------------------------------------------------


def stationary(n: int, block_length: float, draws: np.random.Generator) -> IntArray1D:
    """Return the positions of one path of the stationary bootstrap.

    Parameters
    ----------
    n : int
        Values in the data, and in the path; at least 2.
    block_length : float
        Mean length of a block, in values, from 1 (independent draws) to ``n``.
    draws : numpy.random.Generator
        Gives ``n`` integers and then ``n`` numbers in ``[0, 1)``.

    Returns
    -------
    ndarray of shape (n,), int64
        In ``[0, n)``.

    Raises
    ------
    InputError
        If there are fewer than 2 values, or the block is shorter than 1 or longer than
        the data.

    References
    ----------
    Politis & Romano (1994), section 2.
    """
    check_blocks(n, block_length)
    starts = draws.integers(0, n, n)
    restart = draws.random(n)
    out = np.empty(n, np.int64)
    stationary_positions(starts, restart, 1.0 / block_length, out)
    return out


def circular(n: int, block_length: int, draws: np.random.Generator) -> IntArray1D:
    """Return the positions of one path of the circular block bootstrap.

    With ``block_length`` equal to ``n`` the path is a rotation of the data.

    Parameters
    ----------
    n : int
        Values in the data, and in the path; at least 2.
    block_length : int
        Values in a block, from 1 (independent draws) to ``n``; the last is cut off at the
        path's end.
    draws : numpy.random.Generator
        Gives ``ceil(n / block_length)`` integers.

    Returns
    -------
    ndarray of shape (n,), int64
        In ``[0, n)``; blocks go on at 0 past the end of the data.

    Raises
    ------
    InputError
        As in `stationary`, or if the length is not a whole number.

    References
    ----------
    Politis & Romano (1992).
    """
    length = _check_whole(n, block_length)
    starts = draws.integers(0, n, -(-n // length))
    out = np.empty(n, np.int64)
    block_positions(starts, length, n, out)
    return out


def moving(n: int, block_length: int, draws: np.random.Generator) -> IntArray1D:
    """Return the positions of one path of the moving block bootstrap.

    The first and the last values of the data come up less often than others, so the mean
    over paths is not the data's mean; `circular` has no such bias.

    Parameters
    ----------
    n : int
        Values in the data, and in the path; at least 2.
    block_length : int
        Values in a block, from 1 (independent draws) to ``n`` (the data itself); the last
        is cut off at the path's end.
    draws : numpy.random.Generator
        Gives ``ceil(n / block_length)`` integers.

    Returns
    -------
    ndarray of shape (n,), int64
        In ``[0, n)``; no block passes the end of the data.

    Raises
    ------
    InputError
        As in `circular`.

    References
    ----------
    Kuensch (1989).
    """
    length = _check_whole(n, block_length)
    starts = draws.integers(0, n - length + 1, -(-n // length))
    out = np.empty(n, np.int64)
    block_positions(starts, length, n, out)
    return out


@njit(cache=True, error_model="numpy")
def stationary_positions(
    starts: IntArray1D, restart: FloatArray1D, probability: float, out: IntArray1D
) -> None:
    """Write one path of the stationary bootstrap into ``out``.

    Parameters
    ----------
    starts : ndarray of shape (n,), int64
        Uniform on ``[0, n)``: where a block that begins here starts in the data.
    restart : ndarray of shape (n,), float64
        Uniform on ``[0, 1)``: a block begins where ``restart <= probability``, and at 0.
    probability : float
        One divided by the mean block length, in ``(0, 1]``. Checked by the caller.
    out : ndarray of shape (n,), int64
        Positions in ``[0, n)``; blocks go on at 0 past the end of the data.

    References
    ----------
    Politis & Romano (1994), section 2.
    """
    n = out.size
    position = 0
    for t in range(n):
        if t == 0 or restart[t] <= probability:
            position = starts[t]
        else:
            position += 1
            if position == n:
                position = 0
        out[t] = position


@njit(cache=True, error_model="numpy")
def block_positions(starts: IntArray1D, block_length: int, n: int, out: IntArray1D) -> None:
    """Write blocks of one length after another into ``out``, the last one cut off.

    Parameters
    ----------
    starts : ndarray of shape (n_blocks,), int64
        Where each block starts in the data, in ``[0, n)``; enough of them to fill ``out``.
    block_length : int
        From 1 to ``n``. Checked by the caller.
    n : int
        Values in the data. Blocks go on at 0 past its end; moving blocks, which must not,
        have starts up to ``n - block_length`` only.
    out : ndarray of shape (n_out,), int64
        Positions in ``[0, n)``.
    """
    block = 0
    left = block_length
    position = starts[0] if out.size > 0 else 0
    for t in range(out.size):
        if left == 0:
            block += 1
            position = starts[block]
            left = block_length
        out[t] = position
        position += 1
        if position == n:
            position = 0
        left -= 1


def check_blocks(n: int, block_length: float) -> None:
    """Raise `InputError` unless ``n`` values can be drawn in blocks of a length."""
    if n < 2:
        raise InputError(f"a bootstrap needs at least 2 values to draw from, found {n}")
    if not block_length >= 1:
        raise InputError(f"a block has at least 1 value, found a length of {block_length:g}")
    if block_length > n:
        raise InputError(
            f"blocks of {block_length:g} values are longer than the data, which has {n}; "
            f"use a length of 1 to {n}, or more data"
        )


def _check_whole(n: int, block_length: float) -> int:
    check_blocks(n, block_length)
    if block_length != int(block_length):
        raise InputError(
            f"blocks of one fixed length need a whole number, found {block_length:g}; "
            f"use {round(block_length)}"
        )
    return int(block_length)


# -- block length ----------------------------------------------------------------------

#: Autocorrelations below ``2 * sqrt(log10(n) / n)`` count as none: Politis & White's c.
SIGNIFICANCE = 2.0


@dataclass(frozen=True)
class BlockLength:
    """Block lengths that suit a series, and how they came about.

    Attributes
    ----------
    stationary : float
        Mean block length for the stationary bootstrap, in values; from 1 to ``cap``.
    circular : float
        Block length for the circular and the moving bootstrap, before rounding.
    n : int
        Values in the series.
    threshold : float
        Autocorrelations below it count as none.
    run : int
        So many of them in a row (the paper's ``K_N``) end the dependence.
    lag : int
        Where they begin (``m`` hat): the autocorrelations from this lag on are negligible.
    lags : int
        Lags that enter the estimate (``M``): twice ``lag``, at most ``ceil(sqrt(n)) + run``.
    settled : bool
        Whether such a run was found. If not, the dependence reaches as far as one looked,
        and the lengths are too short if anything.
    cap : int
        The longest length: ``ceil(min(3 * sqrt(n), n / 3))``.
    capped : bool
        Whether ``cap`` cut the stationary length.
    long_run_variance : float
        ``g(0)`` hat: n times the variance of the mean, estimated with the flat-top window.
    note : str or None
        What a report has to say about the lengths.
    """

    stationary: float
    circular: float
    n: int
    threshold: float
    run: int
    lag: int
    lags: int
    settled: bool
    cap: int
    capped: bool
    long_run_variance: float
    note: str | None


def optimal_block_length(x: FloatArray1D) -> BlockLength:
    """Return the block lengths that make the variance of the mean most accurate.

    Parameters
    ----------
    x : ndarray of shape (n,), float64
        A stationary series, finite, at least 2 values.

    Returns
    -------
    BlockLength
        Length 1 with a note for a series that is constant.

    Raises
    ------
    InputError
        If there are too few values, or one is not finite.

    Notes
    -----
    With R the autocovariances (divided by n), lambda the flat-top window (1 up to 1/2, then
    falling to 0 at 1) and M the number of lags::

        G = sum over |k| <= M of lambda(k / M) |k| R(k)
        g = sum over |k| <= M of lambda(k / M) R(k)
        length = (2 G**2 / D * n) ** (1 / 3),  D = 2 g**2 (stationary), 4/3 g**2 (circular)

    Conventions: c = 2, K_N = max(5, ceil(sqrt(log10 n))); ``lag`` is the first lag of the
    first K_N negligible ones in a row, at least 1, as in Patton's own code, R's ``np`` and
    Python's ``arch`` (the paper's text begins at the lag after it). Where no such run is
    found, the last lag that is not negligible. R's ``np`` takes 1.96 for c and log10(n)
    without the root; ``arch`` takes int(log10 n) and scales each autocorrelation by the
    two stretches that it joins. Lengths are at least 1 here, unlike there.

    References
    ----------
    Politis & White (2004), section 3, with D of the stationary bootstrap by Patton, Politis
    & White (2009).
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 1:
        raise InputError(f"a block length needs one series, found an array of shape {x.shape}")
    n = x.size
    if n < 2:
        raise InputError(f"a block length needs at least 2 values, found {n}")
    finite = np.isfinite(x)
    if not finite.all():
        place = int(np.argmin(finite))
        raise InputError(f"a block length needs finite values, found {x[place]} at place {place}")
    cap = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    reach = math.ceil(math.sqrt(n)) + run
    threshold = SIGNIFICANCE * math.sqrt(math.log10(n) / n)
    if x.min() == x.max():
        note = "the series is constant: a block of any length gives the same paths"
        return BlockLength(1.0, 1.0, n, threshold, run, 1, 0, True, cap, False, 0.0, note)

    centred = x - x.mean()
    # A sum of products in NumPy's own order: a dot product's depends on the BLAS.
    covariance = np.zeros(reach + 1)
    for k in range(min(reach, n - 1) + 1):
        covariance[k] = np.sum(centred[k:] * centred[: n - k]) / n
    weak = np.abs(covariance[1:]) < threshold * covariance[0]
    runs = np.lib.stride_tricks.sliding_window_view(weak, run).all(axis=1)
    settled = bool(runs.any())
    strong = np.flatnonzero(~weak)
    lag = int(np.argmax(runs)) + 1 if settled else int(strong[-1]) + 1
    lags = min(2 * lag, reach)

    far = np.arange(1, lags + 1)
    weights = 2.0 * np.minimum(1.0, 2.0 * (1.0 - far / lags))  # both signs of k
    slope = float(np.sum(weights * far * covariance[1 : lags + 1]))
    variance = float(covariance[0] + np.sum(weights * covariance[1 : lags + 1]))
    ratio = (slope / variance) ** 2 if variance != 0.0 else math.inf
    wanted = (ratio * n) ** (1.0 / 3.0)
    notes = []
    if not settled:
        notes.append(f"the dependence has not died out by lag {reach}: the lengths may be short")
    if wanted > cap:
        notes.append(
            f"the length that the data ask for, {wanted:.3g}, was cut to {cap}: "
            f"{n} values are few for their dependence"
        )
    return BlockLength(
        stationary=min(max(wanted, 1.0), float(cap)),
        circular=min(max(1.5 ** (1.0 / 3.0) * wanted, 1.0), float(cap)),
        n=n,
        threshold=threshold,
        run=run,
        lag=lag,
        lags=lags,
        settled=settled,
        cap=cap,
        capped=wanted > cap,
        long_run_variance=variance,
        note="; ".join(notes) or None,
    )
