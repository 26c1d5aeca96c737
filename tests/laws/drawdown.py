"""Reference laws of the maximum drawdown of Brownian motion.

A path of n steps has a smaller one: :mod:`laws.walk_drawdown`. Drawdowns are
arithmetic, in the unit of the path (a log-price, cash), and the start counts as a peak.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from sweep.errors import InputError
from sweep.scenarios.simulate.processes import check_finite, check_positive
from sweep.schema import FloatArray1D

__all__ = [
    "brownian_drawdown_cdf",
    "brownian_drawdown_quantile",
    "expected_brownian_drawdown",
]

ComplexArray1D = NDArray[np.complex128]

#: Abate and Whitt's A: their sum is off by exp(-A), 1e-10, and rounding grows by
#: exp(A / 2), to some 1e-11.
_ABATE_WHITT = 23.0

#: Terms that Euler summation averages over at the end of the sum.
_EULER = 14

#: Largest |drift| sqrt(horizon) / volatility; the sum's terms grow with it.
_MAX_SLOPE = 1e4

#: Gauss-Legendre nodes for each unit of a Gaussian step's deviation: the kernel is smooth
#: on that scale, and more of them change no digit of the reference values.
_NODES_PER_STEP = 4

#: A fall steeper than this makes the mean ``-m - 1 / m`` (Magdon-Ismail et al., 2004: Q ~ x
#: + 1/2) to all digits: at a slope of 6.3 it is off by 1e-10 already.
_STEEP = 20.0


def brownian_drawdown_cdf(
    level: float, drift: float = 0.0, volatility: float = 1.0, horizon: float = 1.0
) -> float:
    """Probability that Brownian motion's maximum drawdown stays at or below a level.

    Parameters
    ----------
    level : float
    drift, volatility : float
        Per unit of time and per its square root.
    horizon : float
        Length of the path.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the volatility or the horizon is not positive, or a value not finite.

    Notes
    -----
    Without drift the drawdown is |B| (Levy), so that its maximum has the law of ``max
    |B|`` (Feller, vol. 2, ch. X.5), a theta series; two forms of it, each where it
    converges within a few terms. With drift: the time at which the drawdown first reaches
    a level has a transform in closed form (Taylor, 1975, Annals of Probability 3,
    234-246), here inverted by Abate and Whitt's algorithm EULER (1995, ORSA J. on
    Computing 7, 36-43) to an absolute error of some 1e-10. The series of Magdon-Ismail et
    al. (2004, J. Applied Probability 41, 147-161) is the same law, but converges only
    conditionally.
    """
    check_finite(level=level, drift=drift)
    check_positive(volatility=volatility, horizon=horizon)
    if level <= 0.0:
        return 0.0
    scale, slope = _scaled(drift, volatility, horizon)
    if slope == 0.0:
        return _max_abs_cdf(level / scale)
    return float(1.0 - _exceeds(np.array([level / scale]), slope)[0])


def _scaled(drift: float, volatility: float, horizon: float) -> tuple[float, float]:
    """Unit of level, and drift, that make volatility and horizon 1."""
    scale = volatility * math.sqrt(horizon)
    slope = drift * math.sqrt(horizon) / volatility
    if abs(slope) > _MAX_SLOPE:
        raise InputError(
            f"drift: {drift:g} is {abs(slope):.3g} times volatility / sqrt(horizon), more than "
            f"{_MAX_SLOPE:g}; the path is as good as a straight line"
        )
    return scale, slope


def _max_abs_cdf(h: float) -> float:
    """``P(max |B(t)| <= h, t <= 1)``."""
    if h < 1.0:
        terms = [
            (-1.0) ** k / (2 * k + 1) * math.exp(-(((2 * k + 1) * math.pi / h) ** 2) / 8.0)
            for k in range(10)
        ]
        return 4.0 / math.pi * math.fsum(terms)
    terms = [
        (-1.0) ** k * float(ndtr((2 * k + 1) * h) - ndtr((2 * k - 1) * h)) for k in range(-10, 11)
    ]
    return math.fsum(terms)


def _exceeds(levels: FloatArray1D, drift: float) -> FloatArray1D:
    """``P(MDD > level)`` for unit volatility and horizon.

    Taylor's transform ``E exp(-s tau) = d exp(-m a) / (d cosh(d a) - m sinh(d a))``, ``d =
    sqrt(m^2 + 2 s)``, written so that no exponential overflows and ``d - m`` does not
    cancel.
    """
    s, weight = _inversion(drift)
    root: ComplexArray1D = np.sqrt(drift * drift + 2.0 * s)
    far, near = root + abs(drift), 2.0 * s / (root + abs(drift))
    plus, minus = (far, near) if drift > 0.0 else (near, far)
    a = levels[:, None]
    # Of e^(d a) and e^(-d a) the first is taken out: Re d > 0.
    transform = 2.0 * root * np.exp(-plus * a) / (minus + plus * np.exp(-2.0 * root * a))
    survival: FloatArray1D = np.real(transform / s) @ weight
    return np.clip(survival, 0.0, 1.0)


def _inversion(drift: float) -> tuple[ComplexArray1D, FloatArray1D]:
    """Points and weights of EULER at time 1: ``f = Re F(s) @ w``.

    The terms before the average grow with the drift, since a steep path crosses a level
    within a short part of the horizon.
    """
    plain = 40 + math.ceil(8.0 * abs(drift))
    k = np.arange(plain + _EULER + 1)
    tail = np.cumsum([math.comb(_EULER, j) for j in range(_EULER + 1)][::-1])[::-1] / 2.0**_EULER
    weight: FloatArray1D = np.concatenate([[0.5], np.ones(plain), tail[1:]]) * (-1.0) ** k
    points: ComplexArray1D = np.array((_ABATE_WHITT + 2.0j * math.pi * k) / 2.0)
    return points, weight * math.exp(_ABATE_WHITT / 2.0)


def brownian_drawdown_quantile(
    share: float, drift: float = 0.0, volatility: float = 1.0, horizon: float = 1.0
) -> float:
    """Level that Brownian motion's maximum drawdown stays below with a probability.

    Parameters
    ----------
    share : float
        Above 0, below 1; with a drift, not within 1e-8 of either end.
    drift, volatility, horizon : float
        See :func:`brownian_drawdown_cdf`.

    Returns
    -------
    float

    Raises
    ------
    InputError
        See :func:`brownian_drawdown_cdf`; also if ``share`` is out of its range.
    """
    check_finite(drift=drift)
    least = 1e-8 if drift else 0.0
    if not least < share < 1.0 - least:
        raise InputError(f"share: {share} is not between {least:g} and 1 - {least:g}")
    check_positive(volatility=volatility, horizon=horizon)
    scale, m = _scaled(drift, volatility, horizon)
    top = 10.0 + max(-m, 0.0)
    return scale * float(
        brentq(lambda h: brownian_drawdown_cdf(h, m) - share, 0.0, top, xtol=1e-13, rtol=1e-13)
    )


def expected_brownian_drawdown(
    drift: float = 0.0, volatility: float = 1.0, horizon: float = 1.0
) -> float:
    """Mean of Brownian motion's maximum drawdown.

    Parameters
    ----------
    drift, volatility, horizon : float
        See :func:`brownian_drawdown_cdf`.

    Returns
    -------
    float

    Raises
    ------
    InputError
        See :func:`brownian_drawdown_cdf`.

    Notes
    -----
    Without drift ``volatility sqrt(pi horizon / 2)``. With drift ``(2 volatility^2 /
    |drift|) Q(drift^2 horizon / (2 volatility^2))`` of Magdon-Ismail et al. (2004),
    here as the integral of the survival function over the level. Their printed table of Q
    is off by up to 0.4 %.
    """
    check_finite(drift=drift)
    check_positive(volatility=volatility, horizon=horizon)
    scale, m = _scaled(drift, volatility, horizon)
    if m == 0.0:
        return scale * math.sqrt(math.pi / 2.0)
    if m < -_STEEP:
        return scale * (1.0 / -m - m)
    # Beyond this the survival is below 1e-16: 9 deviations around the drift's own fall;
    # with a rise also 40 of its e-folds beyond the logarithm of how often it may fall.
    top = 9.0 + max(-m, 0.0)
    if m > 0.0:
        top = min(top, (40.0 + math.log1p(4.0 * m * m)) / (2.0 * m))
    x, w = _panels(top, 32)
    return scale * math.fsum(
        float(w[i : i + 64] @ _exceeds(x[i : i + 64], m)) for i in range(0, len(x), 64)
    )


def _panels(top: float, count: int) -> tuple[FloatArray1D, FloatArray1D]:
    """Points and weights of Gauss-Legendre integration from 0 to ``top`` in equal panels."""
    x, w = np.polynomial.legendre.leggauss(16)
    width = top / count
    points = (np.arange(count)[:, None] + 0.5 * (x + 1.0)) * width
    return points.ravel(), np.tile(0.5 * width * w, count)
