"""Effects of a stated size that are planted in a generated market.

What a strategy could find in a market that is otherwise a martingale. An effect is a
shift of each tick's log-price, drawn from a stream apart from the noise, so that the
noise is the same with and without it. Sizes are in standard deviations of the noise over
the effect's own horizon, so that one number says how hard it is to find, whatever the
volatility and the rate of ticks.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.schema import FloatArray1D, IntArray1D

__all__ = ["EFFECTS", "HOUR", "autoregression", "shift"]

EFFECTS = ("none", "momentum", "reversion", "hour")

#: Nanoseconds.
HOUR = 3_600_000_000_000

#: Ticks that a trend lasts on average, and ticks in which a deviation decays by 1/e.
_TREND = 2_000
_DECAY = 300


def shift(
    effect: str,
    size: float,
    ts: IntArray1D,
    base: float,
    draw: np.random.Generator,
    *,
    opens: int,
    ticks_per_hour: float,
) -> tuple[FloatArray1D, float]:
    """Shift of each tick's log-price in one session, and what of it lasts afterwards.

    ``momentum``
        A drift of either sign that lasts 2,000 ticks on average (the lengths are
        geometric). ``size`` is the expected move over 2,000 ticks in standard
        deviations of the noise over them.
    ``reversion``
        A deviation that decays by 1/e in 300 ticks (an AR(1) process). ``size`` is its
        standard deviation in standard deviations of the noise over 300 ticks.
    ``hour``
        A rise over the hour from ``opens``, of ``size`` standard deviations of the noise
        over a mean hour.

    Parameters
    ----------
    effect : {"none", "momentum", "reversion", "hour"}
    size : float
        Non-negative; 0 plants nothing.
    ts : ndarray of shape (n_ticks,), int64
        Stamps of the session's ticks.
    base : float
        Standard deviation of the log-price's move over a mean tick.
    draw : numpy.random.Generator
        The session's stream for the effect; not touched by ``none`` and ``hour``.
    opens : int
        Stamp at which the effect ``hour`` begins.
    ticks_per_hour : float
        Mean number in an hour of the session.

    Returns
    -------
    shift : ndarray of shape (n_ticks,), float64
    carried : float
        What the sessions that follow start with.
    """
    n = len(ts)
    if effect == "none" or size == 0.0 or n == 0:
        return np.zeros(n), 0.0
    if effect == "reversion":
        sd = size * base * math.sqrt(_DECAY)
        return autoregression(sd * draw.standard_normal(n), math.exp(-1.0 / _DECAY)), 0.0
    if effect == "momentum":
        turns = np.cumsum(draw.random(n) < 1.0 / _TREND)
        signs = draw.choice(np.array([-1.0, 1.0]), int(turns[-1]) + 1)
        drift = signs[turns] * (size * base / math.sqrt(_TREND))
    else:
        inside = (ts >= opens) & (ts < opens + HOUR)
        noise = base * math.sqrt(ticks_per_hour)
        drift = np.where(inside, size * noise / max(int(np.sum(inside)), 1), 0.0)
    total = np.cumsum(drift)
    return total, float(total[-1])


def autoregression(shocks: FloatArray1D, persistence: float) -> FloatArray1D:
    """Stationary AR(1) with the sd of ``shocks``: ``u[i] = p u[i-1] + sqrt(1-p^2) e[i]``.

    Blocks are solved in closed form, short enough that ``p ** -block`` stays small.

    Parameters
    ----------
    shocks : ndarray of shape (n,), float64
    persistence : float
        Above 0 and below 1.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    out = np.empty_like(shocks)
    block = max(int(20.0 / (1.0 - persistence)), 1)
    gain = math.sqrt(1.0 - persistence**2)
    last = 0.0
    for begin in range(0, len(shocks), block):
        part = shocks[begin : begin + block] * gain
        if begin == 0:
            part = part.copy()
            part[0] = shocks[0]
        powers = persistence ** np.arange(1, len(part) + 1)
        out[begin : begin + len(part)] = powers * (last + np.cumsum(part / powers))
        last = float(out[begin + len(part) - 1])
    return out
