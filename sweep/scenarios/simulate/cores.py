"""Compiled recursions of the processes. They draw nothing: random arrays come in.

Stamps and durations are int64 nanoseconds of model time unless a name says otherwise.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = ["bridge", "chain", "garch", "hawkes", "hold", "walk"]


@njit(cache=True, error_model="numpy")
def walk(start: float, mean: FloatArray1D, variance: FloatArray1D, z: FloatArray1D) -> FloatArray1D:
    """Return the sums of Gaussian moves, ``x[i] = x[i-1] + mean[i] + sqrt(variance[i]) z[i]``.

    Parameters
    ----------
    start : float
        ``x[-1]``.
    mean, variance, z : ndarray of shape (n,), float64

    Returns
    -------
    ndarray of shape (n,), float64
    """
    out = np.empty(z.size)
    x = start
    for i in range(z.size):
        x += mean[i] + math.sqrt(variance[i]) * z[i]
        out[i] = x
    return out


@njit(cache=True, error_model="numpy")
def garch(
    z: FloatArray1D, omega: float, alpha: float, beta: float, variance: float
) -> tuple[FloatArray1D, FloatArray1D, float]:
    """Return residuals and variances of GARCH(1,1) (Bollerslev, 1986).

    Parameters
    ----------
    z : ndarray of shape (n,), float64
        Shocks of variance 1.
    omega, alpha, beta : float
    variance : float
        Of the first residual.

    Returns
    -------
    residuals, variances : ndarray of shape (n,), float64
        ``sqrt(variances) * z`` and the conditional variances.
    variance : float
        Of the residual after the last.
    """
    residuals = np.empty(z.size)
    variances = np.empty(z.size)
    for k in range(z.size):
        variances[k] = variance
        residuals[k] = math.sqrt(variance) * z[k]
        variance = omega + alpha * residuals[k] * residuals[k] + beta * variance
    return residuals, variances, variance


@njit(cache=True, error_model="numpy")
def bridge(
    times: IntArray1D, step: int, ends: FloatArray1D, variances: FloatArray1D, z: FloatArray1D
) -> FloatArray1D:
    """Return a path between given points: a Brownian bridge within each step.

    Parameters
    ----------
    times : ndarray of shape (n,), int64
        Never decreasing, from 0 to ``n_steps * step``.
    step : int
    ends : ndarray of shape (n_steps + 1,), float64
        Values at ``0, step, 2 step, ...``.
    variances : ndarray of shape (n_steps,), float64
        Of the move over each whole step.
    z : ndarray of shape (n,), float64
        Standard normal.

    Returns
    -------
    ndarray of shape (n,), float64
        Values at ``times``; those at the ends of steps are the given ones to the bit.
    """
    out = np.empty(times.size)
    at = np.int64(0)  # the last point set, from which the bridge goes on
    x = ends[0]
    for i in range(times.size):
        t = times[i]
        k = t // step
        begin = k * step
        if t == begin:
            at, x = t, ends[k]
        else:
            if at < begin:
                at, x = begin, ends[k]
            left = begin + step - at
            share = (t - at) / left
            spread = variances[k] / step * (t - at) * (1.0 - share)
            x = x + share * (ends[k + 1] - x) + math.sqrt(spread) * z[i]
            at = t
        out[i] = x
    return out


@njit(cache=True, error_model="numpy")
def chain(u: FloatArray1D, cumulative: FloatArray2D, state: int) -> tuple[IntArray1D, int]:
    """Return the states of a Markov chain.

    Parameters
    ----------
    u : ndarray of shape (n,), float64
        Uniform on [0, 1).
    cumulative : ndarray of shape (n_states, n_states), float64
        Row i: cumulative probabilities of the states after i.
    state : int
        The first.

    Returns
    -------
    states : ndarray of shape (n,), int64
    state : int
        The one after the last.
    """
    states = np.empty(u.size, np.int64)
    last = cumulative.shape[0] - 1
    for k in range(u.size):
        states[k] = state
        row = cumulative[state]
        state = 0
        while state < last and u[k] >= row[state]:
            state += 1
    return states, state


@njit(cache=True, error_model="numpy")
def hawkes(
    u: FloatArray2D,
    baseline: float,
    jump: float,
    decay: float,
    length: float,
    time: float,
    excess: float,
    out: FloatArray1D,
) -> tuple[int, float, float]:
    """Write arrivals of a Hawkes process with an exponential kernel; exact, no rejection.

    Dassios and Zhao (2013), Electronic Communications in Probability 18(62): the next
    arrival is the earlier one of an arrival of the baseline and one of the decaying
    excess, each by inversion.

    Parameters
    ----------
    u : ndarray of shape (n, 2), float64
        Uniform on [0, 1).
    baseline, jump, decay : float
        Intensity without arrivals, what each adds to it, and how fast that fades: per
        second.
    length : float
        Seconds; arrivals beyond are not written.
    time, excess : float
        Where to go on: seconds, and the intensity above the baseline there.
    out : ndarray of shape (n,), float64
        Seconds.

    Returns
    -------
    count : int
        Arrivals written: ``n`` unless the end was reached.
    time, excess : float
        Where the next call goes on; ``time >= length`` if the end was reached.
    """
    for i in range(u.shape[0]):
        wait = -math.log1p(-u[i, 0]) / baseline
        if excess > 0.0:
            left = 1.0 + decay * math.log1p(-u[i, 1]) / excess
            if left > 0.0:
                wait = min(wait, -math.log(left) / decay)
        time += wait
        if time >= length:
            return i, time, excess
        excess = excess * math.exp(-decay * wait) + jump
        out[i] = time
    return u.shape[0], time, excess


@njit(cache=True, error_model="numpy")
def hold(fresh: IntArray1D, u: FloatArray1D, persistence: float) -> IntArray1D:
    """Return values of which each is the one before where ``u < persistence``, else fresh.

    Parameters
    ----------
    fresh : ndarray of shape (n,), int64
    u : ndarray of shape (n,), float64
        Uniform on [0, 1).
    persistence : float

    Returns
    -------
    ndarray of shape (n,), int64
    """
    out = np.empty_like(fresh)
    for i in range(fresh.size):
        out[i] = out[i - 1] if i > 0 and u[i] < persistence else fresh[i]
    return out
