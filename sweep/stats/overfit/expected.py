"""The highest of many independent normal values: what luck alone brings."""

from __future__ import annotations

import math

import numpy as np
from scipy import integrate, special, stats

from sweep.errors import InputError

__all__ = ["expected_maximum", "expected_maximum_exact", "variance_of_maximum"]


def expected_maximum(n_trials: float, *, variance: float = 1.0, mean: float = 0.0) -> float:
    """Return the expected highest of ``n_trials`` independent normal Sharpe ratios, closely.

    ``mean + sqrt(variance) * ((1 - g) * ppf(1 - 1/N) + g * ppf(1 - 1/(N e)))`` with Euler's
    g; high by 2.5 % at 5 trials, 0.4 % at 1,000 (`expected_maximum_exact`).

    Parameters
    ----------
    n_trials : float
        At least 1, at which nothing is selected and the mean returned; need not be whole.
    variance, mean : float, optional
        Of the Sharpe ratios across trials, in the unit that the result shall have.

    References
    ----------
    Bailey & Lopez de Prado (2014), The deflated Sharpe ratio, Journal of Portfolio
    Management 40(5), eq. 1.
    """
    _check_trials(n_trials, variance)
    if n_trials == 1.0:
        return mean
    top = float(stats.norm.isf(1.0 / n_trials))
    beyond = float(stats.norm.isf(1.0 / (n_trials * math.e)))
    # Below some 1.3 trials the approximation is negative, as no highest of several is.
    highest = max((1.0 - np.euler_gamma) * top + np.euler_gamma * beyond, 0.0)
    return mean + math.sqrt(variance) * highest


def expected_maximum_exact(n_trials: float, *, variance: float = 1.0, mean: float = 0.0) -> float:
    """Return the expected highest of independent normal values: their order statistic.

    The integral of ``x`` over the density ``N phi(x) Phi(x)**(N - 1)``, to some 1e-10.

    Parameters
    ----------
    n_trials : float
        At least 1.
    variance, mean : float, optional
    """
    _check_trials(n_trials, variance)
    return mean + math.sqrt(variance) * _moment_of_maximum(n_trials, 0.0, 1)


def variance_of_maximum(n_trials: float, *, variance: float = 1.0) -> float:
    """Return the variance of the highest of independent normal values, by quadrature.

    Parameters
    ----------
    n_trials : float
        At least 1.
    variance : float, optional
        Of each value.
    """
    _check_trials(n_trials, variance)
    centre = _moment_of_maximum(n_trials, 0.0, 1)
    return variance * _moment_of_maximum(n_trials, centre, 2)


def _check_trials(n_trials: float, variance: float) -> None:
    if not (n_trials >= 1.0 and math.isfinite(n_trials)):
        raise InputError(f"there is at least 1 trial, found {n_trials:g}")
    if not (variance >= 0.0 and math.isfinite(variance)):
        raise InputError(f"a variance is not negative, found {variance:g}")


def _moment_of_maximum(n_trials: float, about: float, power: int) -> float:
    def integrand(x: float) -> float:
        log_density = math.log(n_trials) - 0.5 * x * x - 0.5 * math.log(2.0 * math.pi)
        return float(
            (x - about) ** power
            * math.exp(log_density + (n_trials - 1.0) * float(special.log_ndtr(x)))
        )

    mode = float(stats.norm.isf(1.0 / (n_trials + 1.0)))
    value, _ = integrate.quad(
        integrand, mode - 10.0, mode + 10.0, points=[mode], epsabs=1e-13, epsrel=1e-12, limit=500
    )
    return float(value)
