"""The Sharpe ratio of session returns, its standard error, and its annualisation.

Everything is per session (or whatever fixed period the returns have) until it is
annualised. Sums are exact (`math.fsum`), so that they depend on no order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.stats.checks import Statistic, missing, series
from sweep.text import counted

__all__ = [
    "AnnualSharpe",
    "Moments",
    "annual_sharpe_ratio",
    "autocorrelations",
    "eta",
    "eta_ar1",
    "moments",
    "newey_west_lags",
    "sharpe_ratio",
    "sharpe_ratios",
    "sharpe_standard_error",
    "sharpe_standard_error_hac",
    "sharpe_standard_error_normal",
]


@dataclass(frozen=True)
class Moments:
    """What the Sharpe ratio's statistics need of a series of returns.

    Attributes
    ----------
    n : int
        Returns, without those that are NaN.
    mean : float
    sd : float
        With ``n - 1``.
    sharpe : float
        ``mean / sd``, per period.
    skew, kurtosis : float
        Biased (divided by n); the kurtosis is not excess: 3 for normal returns.
    reason : str or None
        Why the last three are NaN.
    """

    n: int
    mean: float
    sd: float
    sharpe: float
    skew: float
    kurtosis: float
    reason: str | None = None


def moments(returns: ArrayLike, *, risk_free: float = 0.0) -> Moments:
    """Return the moments of a series of returns.

    Parameters
    ----------
    returns : array_like of shape (n,)
        One for each period; NaN are dropped, never counted as 0.
    risk_free : float, optional
        Taken off each return.

    Raises
    ------
    InputError
        If a return is infinite.
    """
    r = series(returns, drop_nan=True) - risk_free
    n = len(r)
    mean = math.fsum(r) / n if n else math.nan
    if n < 2:
        return Moments(
            n,
            mean,
            math.nan,
            math.nan,
            math.nan,
            math.nan,
            f"{counted(n, 'return')}; at least 2 are needed",
        )
    if r.min() == r.max():
        return Moments(n, mean, 0.0, math.nan, math.nan, math.nan, "the returns have no variance")
    # By a power of two to about 1, which changes no digit: tiny returns have tinier cubes.
    _, exponent = math.frexp(float(np.abs(r - mean).max()))
    centred = np.ldexp(r - mean, -exponent)
    m2, m3, m4 = (math.fsum(centred**k) / n for k in (2, 3, 4))
    sd = math.ldexp(math.sqrt(m2 * n / (n - 1)), exponent)
    return Moments(n, mean, sd, mean / sd, m3 / m2**1.5, m4 / m2**2)


def sharpe_ratio(
    returns: ArrayLike, *, risk_free: float = 0.0, periods_per_year: float = 1.0
) -> Statistic:
    """Return mean over standard deviation (n - 1), by default per period.

    Parameters
    ----------
    returns : array_like of shape (n,)
        One for each period; NaN are dropped.
    risk_free : float, optional
        Per period.
    periods_per_year : float, optional
        Scales by its square root, which holds for returns without autocorrelation only;
        see `annual_sharpe_ratio`.

    References
    ----------
    Sharpe (1994), The Sharpe ratio, Journal of Portfolio Management 21(1).
    """
    found = moments(returns, risk_free=risk_free)
    if found.reason:
        return missing(found.reason)
    return Statistic(found.sharpe * math.sqrt(periods_per_year))


def sharpe_ratios(returns: FloatArray2D) -> FloatArray1D:
    """Return the ratio of each variant, per period; NaN for those without variance.

    Parameters
    ----------
    returns : ndarray of shape (n_sessions, n_variants), float64
        Finite.

    Returns
    -------
    ndarray of shape (n_variants,), float64
        To about the last digit those of `sharpe_ratio`, whose sums are exact.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    ratios[returns.min(axis=0) == returns.max(axis=0)] = np.nan
    return np.asarray(ratios)


# -- standard errors -------------------------------------------------------------------


def sharpe_standard_error_normal(sharpe: float, n: int) -> Statistic:
    """Return ``sqrt((1 + SR**2 / 2) / n)``: independent, normal returns.

    Parameters
    ----------
    sharpe : float
        Per period.
    n : int
        Periods.

    References
    ----------
    Lo (2002), The statistics of Sharpe ratios, Financial Analysts Journal 58(4), eq. 9.
    """
    if n < 2:
        return missing(f"{counted(n, 'return')}; at least 2 are needed")
    return Statistic(math.sqrt((1.0 + 0.5 * sharpe**2) / n))


def sharpe_standard_error(
    sharpe: float, n: int, *, skew: float = 0.0, kurtosis: float = 3.0
) -> Statistic:
    """Return the standard error for independent returns of any shape.

    ``sqrt((1 - skew * SR + (kurtosis - 1) / 4 * SR**2) / (n - 1))``.

    Parameters
    ----------
    sharpe : float
        Per period.
    n : int
        Periods.
    skew, kurtosis : float, optional
        Biased moments; the kurtosis is not excess.

    Raises
    ------
    InputError
        If the kurtosis is below ``1 + skew**2``, as no distribution's is: then it is
        most likely excess.

    References
    ----------
    Mertens (2002); Bailey & Lopez de Prado (2012), The Sharpe ratio efficient frontier,
    Journal of Risk 15(2), eq. 8.
    """
    check_shape(skew, kurtosis)
    if n < 2:
        return missing(f"{counted(n, 'return')}; at least 2 are needed")
    variance = shape_factor(sharpe, skew, kurtosis) / (n - 1)
    if not variance > 0.0:
        return missing("returns of two values only: the Sharpe ratio's variance is 0")
    return Statistic(math.sqrt(variance))


def check_shape(skew: float, kurtosis: float) -> None:
    """Refuse moments that no distribution has.

    Raises
    ------
    InputError
        If the kurtosis is below ``1 + skew**2`` (Pearson 1916), beyond rounding.
    """
    least = 1.0 + skew**2
    if not kurtosis >= least * (1.0 - 1e-9):
        raise InputError(
            f"a kurtosis of {kurtosis:g} is impossible with a skew of {skew:g}: it is at least "
            f"1 + skew**2 = {least:g}; give the kurtosis that is 3 for normal returns, not excess"
        )


def shape_factor(sharpe: float, skew: float, kurtosis: float) -> float:
    """Return ``1 - skew * SR + (kurtosis - 1) / 4 * SR**2``, never below 0 but by rounding."""
    return max(1.0 - skew * sharpe + 0.25 * (kurtosis - 1.0) * sharpe**2, 0.0)


def newey_west_lags(n: int) -> int:
    """Return ``floor(4 * (n / 100) ** (2 / 9))``, Newey & West's (1994) rule of thumb."""
    return int(4.0 * (n / 100.0) ** (2.0 / 9.0))


def sharpe_standard_error_hac(returns: ArrayLike, *, lags: int | None = None) -> Statistic:
    """Return a standard error that holds under autocorrelation and changing volatility.

    With ``z = (r - mean) / sd`` the Sharpe ratio's influence is ``z - SR / 2 * (z**2 - 1)``
    (delta method on mean and variance); its long-run variance is estimated with Bartlett
    weights. With 0 lags this is `sharpe_standard_error` with n in place of n - 1.

    Parameters
    ----------
    returns : array_like of shape (n,)
        One for each period; NaN are dropped.
    lags : int, optional
        Autocovariances that enter; by default `newey_west_lags`.

    Raises
    ------
    InputError
        If ``lags`` is negative.

    References
    ----------
    Lo (2002), Appendix A (GMM); Newey & West (1987), Econometrica 55(3).
    """
    r = series(returns, drop_nan=True)
    found = moments(r)
    if found.reason:
        return missing(found.reason)
    n = found.n
    lags = newey_west_lags(n) if lags is None else lags
    if lags < 0:
        raise InputError(f"lags must not be negative, found {lags}")
    if lags >= n:
        return missing(f"{n} returns are too few for {lags} lags")
    sd = found.sd * math.sqrt((n - 1) / n)
    z = (r - found.mean) / sd
    influence = z - 0.5 * (found.mean / sd) * (z**2 - 1.0)
    variance = math.fsum(influence**2) / n
    for k in range(1, lags + 1):
        weight = 1.0 - k / (lags + 1.0)
        variance += 2.0 * weight * math.fsum(influence[k:] * influence[:-k]) / n
    if not variance > 0.0:
        return missing("the estimate of the long-run variance is not positive")
    return Statistic(math.sqrt(variance / n))


# -- annualisation ---------------------------------------------------------------------


def eta(correlations: ArrayLike, periods: int) -> Statistic:
    """Return what a per-period Sharpe ratio is multiplied with, given autocorrelations.

    ``q / sqrt(q + 2 * sum((q - k) * rho[k], 1 <= k < q))``; ``sqrt(q)`` without any.

    Parameters
    ----------
    correlations : array_like of shape (n_lags,)
        Of lags 1, 2, ...; those that are not given count as 0.
    periods : int
        ``q``: periods in the longer one.

    References
    ----------
    Lo (2002), eq. 20.
    """
    rho = series(correlations, "autocorrelations")
    if periods < 1:
        raise InputError(f"periods must be at least 1, found {periods}")
    lags = np.arange(1, min(len(rho), periods - 1) + 1)
    total = periods + 2.0 * math.fsum((periods - lags) * rho[: len(lags)])
    if not total > 0.0:
        return missing("the autocorrelations add up to a variance that is not positive")
    return Statistic(periods / math.sqrt(total))


def eta_ar1(rho: float, periods: int) -> Statistic:
    """Return `eta` of returns whose autocorrelation is ``rho ** k``.

    References
    ----------
    Lo (2002), Table 2.
    """
    return eta(rho ** np.arange(1.0, max(periods, 1)), periods)


def autocorrelations(returns: ArrayLike, lags: int) -> FloatArray1D:
    """Return the autocorrelations of lags 1 to ``lags``, each divided by n; (lags,), float64."""
    r = series(returns, drop_nan=True)
    if not 0 <= lags < len(r):
        raise InputError(f"{len(r)} returns have no {lags} lags")
    centred = r - math.fsum(r) / len(r)
    total = math.fsum(centred**2)
    if r.min() == r.max():
        return np.full(lags, math.nan)
    return np.array(
        [math.fsum(centred[k:] * centred[:-k]) / total for k in range(1, lags + 1)], np.float64
    )


@dataclass(frozen=True)
class AnnualSharpe:
    """An annual Sharpe ratio by two conventions, side by side.

    Attributes
    ----------
    root : Statistic
        Times the square root of the periods: right without autocorrelation.
    lo : Statistic
        Times Lo's eta with the sample's autocorrelations.
    lags : int
        Autocorrelations that entered.
    """

    root: Statistic
    lo: Statistic
    lags: int


def annual_sharpe_ratio(
    returns: ArrayLike, periods_per_year: int, *, lags: int | None = None
) -> AnnualSharpe:
    """Return the annual Sharpe ratio by the square root and by Lo's eta.

    Parameters
    ----------
    returns : array_like of shape (n,)
        One for each period; NaN are dropped.
    periods_per_year : int
    lags : int, optional
        Autocorrelations that are estimated; those beyond count as 0. By default
        `newey_west_lags`: a year's worth cannot be estimated from a few years.
    """
    r = series(returns, drop_nan=True)
    root = sharpe_ratio(r, periods_per_year=periods_per_year)
    if root.reason:
        return AnnualSharpe(root, root, 0)
    lags = min(newey_west_lags(len(r)) if lags is None else lags, len(r) - 1, periods_per_year - 1)
    factor = eta(autocorrelations(r, lags), periods_per_year)
    if factor.reason:
        return AnnualSharpe(root, factor, lags)
    return AnnualSharpe(root, Statistic(moments(r).sharpe * factor.value), lags)
