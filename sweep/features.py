"""Windowed values over ticks, for a strategy's ``features`` function.

Every function takes an array with one value per tick and a window in ticks, and returns
an array of the same length. The value at tick ``t`` is a function of the last ``window``
values up to ``t`` and of nothing else: no look-ahead, and the same bits wherever the
array began. That rules out running sums (add the newest value, subtract the oldest),
whose rounding depends on everything since the first tick. The functions here instead
combine the values of each window in one fixed order, by doubling: from sums over 1 value
come sums over 2, over 4, over 8, and a window of any length is put together from those
by its binary digits. The price is ``log2(window)`` additions per tick instead of two;
the gain, besides bits that do not depend on where a slice was cut, is the accuracy of
pairwise summation, and that a NaN leaves the result as soon as it leaves the window.

Where fewer than ``window`` values are there yet, at the beginning of the array, the value
covers those that are there (it expands). Such values do depend on where the array began:
a strategy keeps them out of its decisions by returning its longest window from
``warmup``.

Windows are whole ticks, at least 1; a float is cut down to the integer below it.
Arrays may be read-only. NaN in a window makes the value NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sweep.schema import FloatArray1D, FloatArray2D

__all__ = ["EMA_MEMORY", "ema", "lag", "rolling_max", "rolling_mean", "rolling_min", "rolling_std"]

#: ``ema`` looks back over this many windows. The weight that lies beyond is
#: ``exp(-2 * 8)``, about 1e-7 of the whole.
EMA_MEMORY = 8

#: Windows are summed in pieces of at least this many ticks, so that the partial sums stay
#: in the processor's cache (16384 x 8 bytes x 3 buffers, against some 512 KiB of L2).
_PIECE = 16384


@njit(cache=True, error_model="numpy")
def _piece_length(window: int) -> int:
    """Ticks per piece: each piece repeats ``window`` values of the one before."""
    return max(_PIECE, 3 * window)


@njit(cache=True, error_model="numpy")
def _join_sums(newer: FloatArray1D, older: FloatArray1D, weight: float, out: FloatArray1D) -> None:
    # Equal lengths from index 0 (never `[i - span]`, which might wrap): this becomes SIMD.
    for i in range(out.size):
        out[i] = newer[i] + weight * older[i]


# Slices are filled by these two: one that is assigned takes seconds to compile.
@njit(cache=True, error_model="numpy")
def _copy(values: FloatArray1D, out: FloatArray1D) -> None:
    for i in range(out.size):
        out[i] = values[i]


@njit(cache=True, error_model="numpy")
def _clear(out: FloatArray1D) -> None:
    for i in range(out.size):
        out[i] = 0.0


@njit(cache=True, error_model="numpy")
def _weighted_sums(values: FloatArray1D, window: int, decay: float, out: FloatArray1D) -> None:
    """Write ``sum(decay ** k * values[t - k], k < window)`` to ``out[t]``, full windows only.

    ``decay`` 1 gives plain sums.
    """
    piece = _piece_length(window)
    doubled = np.empty(piece + window)  # sums over `span` values, at every tick of the piece
    spare = np.empty(piece + window)
    for begin in range(window - 1, values.size, piece):
        end = min(begin + piece, values.size)
        count = end - begin
        size = count + window - 1  # values that the piece's windows reach
        _copy(values[end - size : end], doubled[:size])
        total = out[begin:end]
        _clear(total)
        covered = 0  # newest values of each window that `total` holds already
        span = 1
        rest = window
        while rest > 0:
            if rest & 1:
                first = window - 1 - covered
                _join_sums(total, doubled[first : first + count], decay**covered, total)
                covered += span
            rest >>= 1
            if rest > 0:
                # Incomplete, and read by no full window.
                _copy(doubled[:span], spare[:span])
                _join_sums(
                    doubled[span:size], doubled[: size - span], decay**span, spare[span:size]
                )
                doubled, spare = spare, doubled
                span *= 2


@njit(cache=True, error_model="numpy")
def rolling_mean(values: FloatArray1D, window: int) -> FloatArray1D:
    """Return the mean of the last ``window`` values.

    Parameters
    ----------
    values : ndarray of shape (n_ticks,), float64
    window : int
        Ticks.

    Returns
    -------
    ndarray of shape (n_ticks,), float64
        In the unit of ``values``; over the values so far where fewer than ``window``.

    Notes
    -----
    Pairwise sums by doubling: ``log2(window)`` passes, about 10 ns per tick at a window
    of 1,000.
    """
    length = max(1, int(window))
    out = np.empty(values.size)
    total = 0.0
    for t in range(min(length - 1, values.size)):
        total += values[t]
        out[t] = total / (t + 1)
    if values.size >= length:
        _weighted_sums(values, length, 1.0, out)
        for t in range(length - 1, values.size):
            out[t] /= length
    return out


@njit(cache=True, error_model="numpy")
def _join_moments(
    newer: FloatArray2D, older: FloatArray2D, n_newer: int, n_older: int, out: FloatArray2D
) -> None:
    """Join means (row 0) and sums of squared deviations (row 1) of neighbouring stretches.

    Means a, b and squares A, B of m and n values give a + (b - a) n / (m + n) and
    A + B + (b - a)^2 m n / (m + n): Chan, Golub and LeVeque (1983), The American
    Statistician 37(3), eq. 1.5.
    """
    share = n_older / (n_newer + n_older)
    cross = n_newer * share
    mean_a, mean_b, mean = newer[0], older[0], out[0]
    square_a, square_b, square = newer[1], older[1], out[1]
    for i in range(mean.size):
        apart = mean_b[i] - mean_a[i]
        square[i] = square_a[i] + square_b[i] + cross * (apart * apart)
        mean[i] = mean_a[i] + share * apart


@njit(cache=True, error_model="numpy")
def _window_moments(values: FloatArray1D, window: int, out: FloatArray2D) -> None:
    """Write mean (row 0) and sum of squared deviations (row 1) of full windows to ``out``."""
    piece = _piece_length(window)
    doubled = np.empty((2, piece + window))
    spare = np.empty((2, piece + window))
    for begin in range(window - 1, values.size, piece):
        end = min(begin + piece, values.size)
        count = end - begin
        size = count + window - 1
        _copy(values[end - size : end], doubled[0, :size])
        _clear(doubled[1, :size])
        total = out[:, begin:end]
        _clear(total[0])
        _clear(total[1])
        covered = 0
        span = 1
        rest = window
        while rest > 0:
            if rest & 1:
                first = window - 1 - covered
                _join_moments(total, doubled[:, first : first + count], covered, span, total)
                covered += span
            rest >>= 1
            if rest > 0:
                _copy(doubled[0, :span], spare[0, :span])
                _copy(doubled[1, :span], spare[1, :span])
                _join_moments(
                    doubled[:, span:size],
                    doubled[:, : size - span],
                    span,
                    span,
                    spare[:, span:size],
                )
                doubled, spare = spare, doubled
                span *= 2


@njit(cache=True, error_model="numpy")
def rolling_std(values: FloatArray1D, window: int) -> FloatArray1D:
    """Return the standard deviation of the last ``window`` values, as Bollinger bands do.

    Parameters
    ----------
    values : ndarray of shape (n_ticks,), float64
    window : int
        Ticks.

    Returns
    -------
    ndarray of shape (n_ticks,), float64
        ``sqrt(sum((x - mean) ** 2) / n)`` in the unit of ``values``, 0 for one value or
        equal ones; over the values so far where fewer than ``window``.

    Notes
    -----
    Divides by n, as Bollinger (2001) and TA-Lib do; pandas divides by n - 1. Deviations
    are taken from the mean of each stretch, never as a difference of large sums. Costs
    about three times ``rolling_mean``.
    """
    length = max(1, int(window))
    out = np.empty(values.size)
    mean = 0.0
    square = 0.0
    for t in range(min(length - 1, values.size)):  # Welford (1962)
        apart = values[t] - mean
        mean += apart / (t + 1)
        square += apart * (values[t] - mean)
        out[t] = math.sqrt(square / (t + 1))
    if values.size >= length:
        moments = np.empty((2, values.size))
        _window_moments(values, length, moments)
        for t in range(length - 1, values.size):
            out[t] = math.sqrt(moments[1, t] / length)
    return out


@njit(cache=True, error_model="numpy")
def rolling_max(values: FloatArray1D, window: int) -> FloatArray1D:
    """Return the highest of the last ``window`` values.

    Parameters
    ----------
    values : ndarray of shape (n_ticks,), float64
    window : int
        Ticks.

    Returns
    -------
    ndarray of shape (n_ticks,), float64
        Over the values so far where fewer than ``window``.

    Notes
    -----
    Keeps the values that may still become the highest, in falling order, in a ring: each
    value enters and leaves once, so the cost does not grow with the window.
    """
    length = max(1, int(window))
    out = np.empty(values.size)
    ring = np.empty(min(length, values.size) + 1, dtype=np.int64)
    head = 0
    count = 0
    for t in range(values.size):
        value = values[t]
        if count > 0 and ring[head] <= t - length:
            head = (head + 1) % ring.size
            count -= 1
        # A NaN outlasts everything older, and nothing newer removes it.
        while count > 0 and (
            values[ring[(head + count - 1) % ring.size]] <= value or math.isnan(value)
        ):
            count -= 1
        ring[(head + count) % ring.size] = t
        count += 1
        out[t] = values[ring[head]]
    return out


@njit(cache=True, error_model="numpy")
def rolling_min(values: FloatArray1D, window: int) -> FloatArray1D:
    """Return the lowest of the last ``window`` values.

    Parameters
    ----------
    values : ndarray of shape (n_ticks,), float64
    window : int
        Ticks.

    Returns
    -------
    ndarray of shape (n_ticks,), float64
        Over the values so far where fewer than ``window``.

    Notes
    -----
    The mirror image of ``rolling_max``, at the same cost.
    """
    return -rolling_max(-values, window)


@njit(cache=True, error_model="numpy")
def ema(values: FloatArray1D, window: int) -> FloatArray1D:
    """Return the exponential moving average with a finite memory of ``EMA_MEMORY`` windows.

    Parameters
    ----------
    values : ndarray of shape (n_ticks,), float64
    window : int
        Ticks; the newest value weighs ``2 / (window + 1)``.

    Returns
    -------
    ndarray of shape (n_ticks,), float64
        ``sum(d ** k * values[t - k]) / sum(d ** k)`` over ``k < EMA_MEMORY * window``
        with ``d = 1 - 2 / (window + 1)``; over the values so far where fewer.

    Notes
    -----
    The textbook average, ``e += 2 / (window + 1) * (x - e)``, remembers everything since
    its first tick, so its bits depend on where that was. Cutting its memory at
    ``EMA_MEMORY`` windows changes it by about 1e-7 of the range of the values. A strategy
    that wants the textbook average keeps it in its state, which is also cheaper: one
    addition per tick against ``log2(EMA_MEMORY * window)``.
    """
    length = max(1, int(window))
    memory = EMA_MEMORY * length
    decay = 1.0 - 2.0 / (length + 1.0)
    out = np.empty(values.size)
    total = 0.0
    weight = 0.0
    for t in range(min(memory - 1, values.size)):
        total = values[t] + decay * total
        weight = 1.0 + decay * weight
        out[t] = total / weight
    if values.size >= memory:
        _weighted_sums(values, memory, decay, out)
        weight = (1.0 - decay**memory) / (1.0 - decay)
        for t in range(memory - 1, values.size):
            out[t] /= weight
    return out


@njit(cache=True, error_model="numpy")
def lag(values: FloatArray1D, window: int) -> FloatArray1D:
    """Return the value ``window`` ticks ago.

    Parameters
    ----------
    values : ndarray of shape (n_ticks,), float64
    window : int
        Ticks.

    Returns
    -------
    ndarray of shape (n_ticks,), float64
        The first value where the array does not reach back that far.
    """
    length = max(1, int(window))
    out = np.empty(values.size)
    for t in range(values.size):
        out[t] = values[max(0, t - length)]
    return out
