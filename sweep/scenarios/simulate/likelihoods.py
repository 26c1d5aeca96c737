"""Compiled log-likelihoods of the processes, in the unit of their data.

``first`` marks the returns that open a session: between them and the return before lies a
gap, over which the process went on unseen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = ["garch", "hawkes", "merton", "regimes", "smoothed"]

BoolArray1D = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def merton(
    x: FloatArray1D, mean: float, variance: float, jumps: float, jump_mean: float, jump_var: float
) -> float:
    """Return the log-likelihood of independent returns of a jump diffusion.

    A mixture over the number of jumps of a step: density ``sum_n exp(-l) l^n / n! N(x;
    mean + n jump_mean, variance + n jump_var)``.

    Parameters
    ----------
    x : ndarray of shape (n,), float64
    mean, variance : float
        Of the diffusion over a step.
    jumps : float
        Mean number in a step.
    jump_mean, jump_var : float

    Returns
    -------
    float
    """
    terms = 8 + int(jumps + 8.0 * math.sqrt(jumps))
    scale = np.empty(terms)
    twice = np.empty(terms)
    centre = np.empty(terms)
    weight = math.exp(-jumps)
    for n in range(terms):
        v = variance + n * jump_var
        scale[n] = weight / math.sqrt(2.0 * math.pi * v)
        twice[n] = 0.5 / v
        centre[n] = mean + n * jump_mean
        weight *= jumps / (n + 1)
    total = 0.0
    for i in range(x.size):
        density = 0.0
        for n in range(terms):
            off = x[i] - centre[n]
            density += scale[n] * math.exp(-off * off * twice[n])
        total += math.log(max(density, 1e-300))
    return total


@njit(cache=True, error_model="numpy")
def garch(
    x: FloatArray1D,
    first: BoolArray1D,
    gap_steps: int,
    mean: float,
    variance: float,
    alpha: float,
    beta: float,
    nu: float,
) -> float:
    """Return the log-likelihood of GARCH(1,1) with Student-t shocks (Bollerslev, 1987).

    The first variance is the unconditional one; over a gap the variance is the expected
    one, ``variance + (alpha + beta)^gap_steps (s^2 - variance)``.

    Parameters
    ----------
    x : ndarray of shape (n,), float64
    first : ndarray of shape (n,), bool
    gap_steps : int
    mean, variance : float
        Of a return, unconditionally.
    alpha, beta, nu : float

    Returns
    -------
    float
    """
    faded = (alpha + beta) ** gap_steps
    omega = (1.0 - alpha - beta) * variance
    constant = math.lgamma(0.5 * (nu + 1.0)) - math.lgamma(0.5 * nu)
    constant -= 0.5 * math.log(math.pi * (nu - 2.0))
    s2 = variance
    total = 0.0
    for i in range(x.size):
        if first[i] and i > 0:
            s2 = variance + faded * (s2 - variance)
        e2 = (x[i] - mean) ** 2
        total -= 0.5 * math.log(s2) + 0.5 * (nu + 1.0) * math.log1p(e2 / (s2 * (nu - 2.0)))
        s2 = omega + alpha * e2 + beta * s2
    return total + x.size * constant


@njit(cache=True, error_model="numpy")
def regimes(
    density: FloatArray2D,
    first: BoolArray1D,
    step: FloatArray2D,
    over_gap: FloatArray2D,
    start: FloatArray1D,
    filtered: FloatArray2D,
) -> float:
    """Return the log-likelihood of a Markov chain seen through densities (Hamilton, 1989).

    Parameters
    ----------
    density : ndarray of shape (n, n_regimes), float64
        Of each return in each regime.
    first : ndarray of shape (n,), bool
    step, over_gap : ndarray of shape (n_regimes, n_regimes), float64
        Transitions to the next return, and to one that opens a session.
    start : ndarray of shape (n_regimes,), float64
        Distribution at the first return.
    filtered : ndarray of shape (n, n_regimes), float64
        Filled with the distribution at each return given those up to it.

    Returns
    -------
    float
    """
    n, k = density.shape
    total = 0.0
    for i in range(n):
        sum_ = 0.0
        for b in range(k):
            if i == 0:
                prior = start[b]
            else:
                prior = 0.0
                move = over_gap if first[i] else step
                for a in range(k):
                    prior += filtered[i - 1, a] * move[a, b]
            filtered[i, b] = prior * density[i, b]
            sum_ += filtered[i, b]
        sum_ = max(sum_, 1e-300)
        for b in range(k):
            filtered[i, b] /= sum_
        total += math.log(sum_)
    return total


@njit(cache=True, error_model="numpy")
def smoothed(
    filtered: FloatArray2D, first: BoolArray1D, step: FloatArray2D, over_gap: FloatArray2D
) -> tuple[FloatArray2D, FloatArray2D]:
    """Return the distribution at each return given all, and the expected transitions.

    Kim's smoother (1994, J. Econometrics 60, 1-22). Transitions over gaps are not counted.

    Parameters
    ----------
    filtered, first, step, over_gap
        As :func:`regimes` takes and leaves them.

    Returns
    -------
    share : ndarray of shape (n, n_regimes), float64
    moves : ndarray of shape (n_regimes, n_regimes), float64
    """
    n, k = filtered.shape
    share = np.empty((n, k))
    share[n - 1] = filtered[n - 1]
    moves = np.zeros((k, k))
    ratio = np.empty(k)
    for i in range(n - 2, -1, -1):
        move = over_gap if first[i + 1] else step
        for b in range(k):
            prior = 0.0
            for a in range(k):
                prior += filtered[i, a] * move[a, b]
            ratio[b] = share[i + 1, b] / max(prior, 1e-300)
        for a in range(k):
            total = 0.0
            for b in range(k):
                joint = filtered[i, a] * move[a, b] * ratio[b]
                total += joint
                if not first[i + 1]:
                    moves[a, b] += joint
            share[i, a] = total
    return share, moves


@njit(cache=True, error_model="numpy")
def hawkes(
    times: FloatArray1D,
    ends: IntArray1D,
    lengths: FloatArray1D,
    baseline: float,
    branching: float,
    decay: float,
) -> float:
    """Return the log-likelihood of a Hawkes process over sessions (Ozaki, 1979).

    Each session opens at the mean intensity, as the simulator's do.

    Parameters
    ----------
    times : ndarray of shape (n,), float64
        Seconds since the open of the arrival's session.
    ends : ndarray of shape (n_sessions,), int64
        Index after each session's last arrival.
    lengths : ndarray of shape (n_sessions,), float64
        Seconds watched.
    baseline, branching, decay : float

    Returns
    -------
    float
    """
    jump = branching * decay
    total = 0.0
    begin = 0
    for session in range(ends.size):
        excess = baseline * branching / (1.0 - branching)
        last = 0.0
        for i in range(begin, ends[session]):
            fade = math.exp(-decay * (times[i] - last))
            total -= excess * (1.0 - fade) / decay
            excess *= fade
            total += math.log(baseline + excess)
            excess += jump
            last = times[i]
        rest = lengths[session] - last
        total -= excess * (1.0 - math.exp(-decay * rest)) / decay + baseline * lengths[session]
        begin = ends[session]
    return total


def densities(x: FloatArray1D, means: Any, variances: Any) -> FloatArray2D:
    """Normal density of each return in each regime, ndarray of shape (n, n_regimes)."""
    off = x[:, None] - np.asarray(means)
    v = np.asarray(variances)
    out: FloatArray2D = np.exp(-0.5 * off * off / v) / np.sqrt(2.0 * math.pi * v)
    return out
