"""Reference laws of ruin: the gambler's, and Brownian motion's first passage."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr, ndtr

from sweep.errors import InputError

__all__ = ["brownian_ruin", "gambler_duration", "gambler_ruin", "gambler_ruin_within"]

#: ``-zeta(1/2) / sqrt(2 pi)``: Broadie, Glasserman and Kou (1997), Mathematical Finance 7,
#: 325-349.
_OVERSHOOT = 0.5825971579390107


def _game(up: float, start: int, goal: int) -> None:
    if not 0.0 <= up <= 1.0:
        raise InputError(f"up: {up} is not a probability")
    for name, value in (("start", start), ("goal", goal)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise InputError(f"{name}: {value!r} is not a whole number")
    if not 0 <= start <= goal or goal < 1:
        raise InputError(f"start: {start} does not lie between 0 and the goal {goal}")


def gambler_ruin(up: float, start: int, goal: int) -> float:
    """Probability that a walk of steps +1 and -1 meets 0 before the goal.

    Parameters
    ----------
    up : float
        Probability of +1.
    start, goal : int
        ``0 <= start <= goal``.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a value is out of its range.

    Notes
    -----
    Feller, vol. 1 (3rd ed.), ch. XIV, eqs. 2.4 and 2.5.
    """
    _game(up, start, goal)
    if start in (0, goal):
        return float(start == 0)
    if up in (0.0, 1.0):
        return 1.0 - up
    log = math.log1p(-up) - math.log(up)  # of q / p
    if log == 0.0:
        return 1.0 - start / goal
    if log < 0.0:
        return math.exp(start * log) * math.expm1((goal - start) * log) / math.expm1(goal * log)
    return math.expm1(-(goal - start) * log) / math.expm1(-goal * log)


def gambler_duration(up: float, start: int, goal: int) -> float:
    """Mean number of steps until a walk of steps +1 and -1 meets 0 or the goal.

    Parameters, errors: see :func:`gambler_ruin`. Feller, vol. 1, ch. XIV, eqs. 3.4, 3.5.
    """
    _game(up, start, goal)
    if 2.0 * up == 1.0:
        return float(start * (goal - start))
    won = 1.0 - gambler_ruin(up, start, goal)
    return (start - goal * won) / (1.0 - 2.0 * up)


def gambler_ruin_within(up: float, start: int, goal: int, steps: int) -> float:
    """Probability that a walk of steps +1 and -1 meets 0 before the goal, by a step.

    Parameters
    ----------
    up, start, goal
        See :func:`gambler_ruin`.
    steps : int
        Non-negative; counted one by one.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a value is out of its range.
    """
    _game(up, start, goal)
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
        raise InputError(f"steps: {steps!r} is not a whole number of 0 or more")
    share = np.zeros(goal + 1)
    share[start] = 1.0
    for _ in range(steps):
        after = np.zeros(goal + 1)
        after[0], after[goal] = share[0], share[goal]
        inside = share[1:goal]
        after[: goal - 1] += (1.0 - up) * inside
        after[2:] += up * inside
        share = after
    return float(share[0])


def brownian_ruin(
    loss: float,
    drift: float,
    volatility: float,
    horizon: float = math.inf,
    *,
    step: float = 0.0,
) -> float:
    """Probability that Brownian motion with drift falls by a loss, ever or within a time.

    Parameters
    ----------
    loss : float
        Positive.
    drift, volatility : float
        Per unit of time and per its square root.
    horizon : float
    step : float
        Time between two looks at the path; 0: it is watched all the time. A path that is
        looked at now and then misses losses: but for less than the order of ``sqrt(step)``
        it is as if the barrier lay lower by ``0.5826 volatility sqrt(step)`` (Broadie,
        Glasserman and Kou, 1997, theorem 1.1).

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a value is out of its range.

    Notes
    -----
    Ever: ``exp(-2 drift loss / volatility^2)``, 1 for a drift of 0 or below. Within T, with
    ``a = loss / (volatility sqrt(T))`` and ``m = drift sqrt(T) / volatility``: ``N(-a - m) +
    exp(-2 a m) N(m - a)`` (Cox and Miller, 1965, ch. 5.7).
    """
    for name, value in (("loss", loss), ("volatility", volatility)):
        if not (value > 0.0 and math.isfinite(value)):
            raise InputError(f"{name}: {value} is not a positive number")
    if not math.isfinite(drift):
        raise InputError(f"drift: {drift} is not a finite number")
    if not horizon > 0.0:
        raise InputError(f"horizon: {horizon} is not above 0")
    if not 0.0 <= step < math.inf:
        raise InputError(f"step: {step} is not a time of 0 or more")
    loss += _OVERSHOOT * volatility * math.sqrt(step)
    if math.isinf(horizon):
        return math.exp(min(-2.0 * drift * loss / volatility**2, 0.0))
    a = loss / (volatility * math.sqrt(horizon))
    m = drift * math.sqrt(horizon) / volatility
    # In logarithms: with a falling path the exponential overflows where N is tiny.
    return float(ndtr(-a - m) + np.exp(-2.0 * a * m + log_ndtr(m - a)))
