"""Reference laws of the maximum drawdown of walks: what a simulator must reproduce.

252 Gaussian steps have a maximum drawdown of 18.750 on average, the Brownian motion that
they sample one of 19.896. Drawdowns are arithmetic, in the unit of the path (a log-price,
cash), and the start counts as a peak.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.special import ndtr

from sweep.errors import InputError
from sweep.scenarios.simulate.processes import check_finite, check_positive
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = [
    "expected_gaussian_drawdown",
    "expected_walk_drawdown",
    "gaussian_drawdown_cdf",
    "walk_drawdown_cdf",
]

#: Widest panel of 16 Gauss-Legendre nodes, in deviations of a step: the kernel is smooth on
#: that scale, and the reference values come out to within 1e-6.
_PANEL = 4.0

#: Deviations beyond which a step's density (1e-19) is left out.
_FARTHEST = 9.0

_MAX_WALK = 2_000
_MAX_GAUSSIAN = 5_000


def _check_steps(steps: int, most: int) -> None:
    if (
        isinstance(steps, bool)
        or not isinstance(steps, (int, np.integer))
        or not 1 <= steps <= most
    ):
        raise InputError(f"steps: {steps!r} is not a whole number from 1 to {most:,}")


def walk_drawdown_cdf(steps: int, up: float = 0.5) -> FloatArray1D:
    """Law of the maximum drawdown of a walk of steps +1 and -1.

    Parameters
    ----------
    steps : int
        From 1 to 2,000; the work grows with its cube.
    up : float
        Probability of +1.

    Returns
    -------
    ndarray of shape (steps + 1,), float64
        ``P(MDD <= h)`` for h from 0 to ``steps``.

    Raises
    ------
    InputError
        If a value is out of its range.

    Notes
    -----
    The drawdown is a Markov chain on 0, 1, ... that an up-step lowers (or leaves at 0) and
    a down-step raises; for each h it is killed on reaching ``h + 1``.
    """
    _check_steps(steps, _MAX_WALK)
    _probability(up)
    cdf: FloatArray1D = _walk_cdf(steps, float(up))
    return cdf


@njit(cache=True, error_model="numpy")
def _walk_cdf(steps: int, up: float) -> FloatArray1D:
    cdf = np.ones(steps + 1)
    for h in range(steps):
        alive = np.zeros(h + 1)
        alive[0] = 1.0
        for _ in range(steps):
            after = np.zeros(h + 1)
            after[0] = up * alive[0]
            for d in range(1, h + 1):
                after[d - 1] += up * alive[d]
                after[d] += (1.0 - up) * alive[d - 1]
            alive = after
        cdf[h] = alive.sum()
    return cdf


def _probability(up: float) -> None:
    if not 0.0 <= up <= 1.0:
        raise InputError(f"up: {up} is not a probability")


def expected_walk_drawdown(steps: int, up: float = 0.5) -> float:
    """Mean of the maximum drawdown of a walk of steps +1 and -1.

    Parameters, errors: see :func:`walk_drawdown_cdf`.
    """
    return float(np.sum(1.0 - walk_drawdown_cdf(steps, up)))


def gaussian_drawdown_cdf(
    level: float, steps: int, drift: float = 0.0, volatility: float = 1.0
) -> float:
    """Probability that a Gaussian walk's maximum drawdown stays at or below a level.

    Parameters
    ----------
    level : float
    steps : int
        From 1 to 5,000.
    drift, volatility : float
        Mean and standard deviation of a step.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a value is out of its range.

    Notes
    -----
    The drawdown is the Markov chain ``D' = max(D - Z, 0)``, killed above the level: an
    atom at 0 and a density, which is followed at Gauss-Legendre nodes (Nystrom's method).
    """
    check_finite(level=level, drift=drift)
    check_positive(volatility=volatility)
    _check_steps(steps, _MAX_GAUSSIAN)
    if level < 0.0:
        return 0.0
    return _stays_below(level / volatility, steps, drift / volatility)


def _stays_below(h: float, steps: int, drift: float) -> float:
    if h == 0.0:
        return float(ndtr(drift)) ** steps
    panels = math.ceil(h / _PANEL)
    width = h / panels
    nodes, weights = np.polynomial.legendre.leggauss(16)
    x = ((np.arange(panels)[:, None] + 0.5 * (nodes + 1.0)) * width).ravel()
    w = np.tile(0.5 * width * weights, panels)
    count = len(x)
    # Row: drawdown before; column: after. Index 0 is the atom at a new high.
    before = np.concatenate([[0.0], x])
    kernel: FloatArray2D = np.empty((count + 1, count + 1))
    kernel[:, 0] = ndtr(drift - before)
    apart = x[None, :] - before[:, None] + drift
    kernel[:, 1:] = np.exp(-0.5 * apart * apart) / math.sqrt(2.0 * math.pi) * w
    # Of each row the part that a step reaches.
    reached = np.abs(apart) < _FARTHEST
    low = 1 + np.where(reached.any(axis=1), reached.argmax(axis=1), count)
    high = low + reached.sum(axis=1)
    return float(min(_survivors(kernel, low, high, steps), 1.0))


@njit(cache=True, error_model="numpy")
def _survivors(kernel: FloatArray2D, low: IntArray1D, high: IntArray1D, steps: int) -> float:
    """Mass that remains of one begun in state 0; row i leads to 0 and to low[i] .. high[i]."""
    alive = np.zeros(kernel.shape[0])
    alive[0] = 1.0
    for _ in range(steps):
        after = np.zeros(kernel.shape[0])
        for i in range(kernel.shape[0]):
            mass = alive[i]
            after[0] += mass * kernel[i, 0]
            for j in range(low[i], high[i]):
                after[j] += mass * kernel[i, j]
        alive = after
    total: float = alive.sum()
    return total


def expected_gaussian_drawdown(steps: int, drift: float = 0.0, volatility: float = 1.0) -> float:
    """Mean of a Gaussian walk's maximum drawdown.

    Parameters
    ----------
    steps : int
        From 1 to 5,000; the work grows with its power of 1.5 (5,000: most of a minute).
    drift, volatility : float
        Mean and standard deviation of a step.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a value is out of its range.
    """
    check_finite(drift=drift)
    check_positive(volatility=volatility)
    _check_steps(steps, _MAX_GAUSSIAN)
    m = drift / volatility
    # The continuous path's drawdown is never smaller, so its tail bounds this one's.
    scale = math.sqrt(steps)
    top = (9.0 + max(-m * scale, 0.0)) * scale
    if m > 0.0:
        top = min(top, (40.0 + math.log1p(4.0 * m * m * steps)) / (2.0 * m) + 9.0)
    panels: list[float] = []
    x, w = np.polynomial.legendre.leggauss(8)
    width = max(2.0, scale / 2.0)
    begin = 0.0
    while begin < top:
        points = begin + 0.5 * (x + 1.0) * width
        above = [1.0 - _stays_below(float(h), steps, m) for h in points]
        panels.append(0.5 * width * float(w @ np.array(above)))
        if above[-1] < 1e-12:
            break
        begin += width
    return volatility * math.fsum(panels)
