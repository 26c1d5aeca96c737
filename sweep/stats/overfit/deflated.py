"""The Sharpe ratio as a probability: one track record, and the best of many.

All Sharpe ratios are per period (per session), never annual, and so is the variance of
Sharpe ratios across trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, special, stats

from sweep.errors import InputError
from sweep.stats.checks import MIN_SESSIONS, Statistic, matrix, missing
from sweep.stats.overfit.effective import effective_trials
from sweep.stats.overfit.sharpe import (
    Moments,
    check_shape,
    moments,
    shape_factor,
    sharpe_ratios,
    sharpe_standard_error,
)
from sweep.text import counted

__all__ = [
    "DeflatedBest",
    "DeflatedSharpe",
    "deflated_sharpe_of_best",
    "deflated_sharpe_ratio",
    "deflated_sharpe_ratio_2025",
    "expected_maximum",
    "expected_maximum_exact",
    "minimum_track_record_length",
    "minimum_track_record_length_2025",
    "probabilistic_sharpe_ratio",
    "probabilistic_sharpe_ratio_2025",
    "variance_of_maximum",
]


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


# -- one track record ------------------------------------------------------------------


def probabilistic_sharpe_ratio(
    sharpe: float, n: int, *, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0
) -> Statistic:
    """Return the confidence that the true Sharpe ratio is above a benchmark.

    ``Phi((SR - benchmark) / sigma(SR))``, the standard error at the *observed* ratio with
    ``n - 1`` (`sharpe_standard_error`). One minus it is the p-value of a one-sided test.

    Parameters
    ----------
    sharpe, benchmark : float
        Per period.
    n : int
        Periods.
    skew, kurtosis : float, optional
        Biased moments; the kurtosis is not excess.

    Raises
    ------
    InputError
        If the moments are impossible, as an excess kurtosis often is.

    References
    ----------
    Bailey & Lopez de Prado (2012), The Sharpe ratio efficient frontier, eq. 11.
    """
    error = sharpe_standard_error(sharpe, n, skew=skew, kurtosis=kurtosis)
    if error.reason:
        return error
    return Statistic(float(stats.norm.cdf((sharpe - benchmark) / error.value)))


def probabilistic_sharpe_ratio_2025(
    sharpe: float, n: int, *, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0
) -> Statistic:
    """Return `probabilistic_sharpe_ratio` by the definition of 2025.

    The standard error is that under the null: at the *benchmark*, with ``n``. The two
    differ where returns are skewed: .987 here and .913 there for the paper's fund.

    References
    ----------
    Lopez de Prado, Lipton & Zoonekynd (2025), How to use the Sharpe ratio.
    """
    return _psr_at_benchmark(sharpe, n, benchmark, skew, kurtosis, 1.0)


def _psr_at_benchmark(
    sharpe: float, n: int, benchmark: float, skew: float, kurtosis: float, spread: float
) -> Statistic:
    """``spread``: the variance of the null's ratio, over that of one trial."""
    check_shape(skew, kurtosis)
    if n < 2:
        return missing(f"{counted(n, 'return')}; at least 2 are needed")
    variance = shape_factor(benchmark, skew, kurtosis) * spread / n
    if not variance > 0.0:
        return missing("returns of two values only: the Sharpe ratio's variance is 0")
    return Statistic(float(stats.norm.cdf((sharpe - benchmark) / math.sqrt(variance))))


def minimum_track_record_length(
    sharpe: float,
    *,
    benchmark: float = 0.0,
    skew: float = 0.0,
    kurtosis: float = 3.0,
    confidence: float = 0.95,
) -> Statistic:
    """Return the periods after which `probabilistic_sharpe_ratio` reaches a confidence.

    ``1 + (1 - skew * SR + (kurtosis - 1) / 4 * SR**2) * (z / (SR - benchmark))**2``, for the
    Sharpe ratio and the moments as they are observed now.

    Parameters
    ----------
    sharpe, benchmark : float
        Per period.
    skew, kurtosis : float, optional
        Biased moments; the kurtosis is not excess.
    confidence : float, optional
        In (0.5, 1).

    Returns
    -------
    Statistic
        Periods, not rounded; NaN if the ratio is not above the benchmark.

    References
    ----------
    Bailey & Lopez de Prado (2012), eq. 13.
    """
    return _track_record(sharpe, benchmark, skew, kurtosis, confidence, sharpe, 1.0)


def minimum_track_record_length_2025(
    sharpe: float,
    *,
    benchmark: float = 0.0,
    skew: float = 0.0,
    kurtosis: float = 3.0,
    confidence: float = 0.95,
) -> Statistic:
    """Return `minimum_track_record_length` by the definition of 2025.

    The variance is taken at the benchmark, and nothing is added for ``n - 1``.

    References
    ----------
    Lopez de Prado, Lipton & Zoonekynd (2025), How to use the Sharpe ratio.
    """
    return _track_record(sharpe, benchmark, skew, kurtosis, confidence, benchmark, 0.0)


def _track_record(
    sharpe: float,
    benchmark: float,
    skew: float,
    kurtosis: float,
    confidence: float,
    at: float,
    more: float,
) -> Statistic:
    check_shape(skew, kurtosis)
    if not 0.5 < confidence < 1.0:
        raise InputError(f"a confidence lies between 0.5 and 1, found {confidence:g}")
    if not sharpe > benchmark:
        return missing(
            f"a Sharpe ratio of {sharpe:g} is not above the benchmark of {benchmark:g}: "
            "no length is enough"
        )
    z = float(stats.norm.ppf(confidence))
    factor = shape_factor(at, skew, kurtosis)
    return Statistic(more + factor * (z / (sharpe - benchmark)) ** 2)


# -- the best of many ------------------------------------------------------------------


@dataclass(frozen=True)
class DeflatedSharpe:
    """A deflated Sharpe ratio and what it was held against.

    Attributes
    ----------
    value : float
        The confidence that the true ratio is above the threshold.
    threshold : float
        The highest ratio that luck alone is expected to bring, per period.
    n_trials : float
    variance : float
        Of the Sharpe ratios across trials, per period.
    reason : str or None
        Why ``value`` is NaN.
    """

    value: float
    threshold: float
    n_trials: float
    variance: float
    reason: str | None = None


def deflated_sharpe_ratio(
    sharpe: float,
    n: int,
    *,
    variance: float,
    n_trials: float,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> DeflatedSharpe:
    """Return the probabilistic Sharpe ratio against the expected best of a number of trials.

    Parameters
    ----------
    sharpe : float
        Of the best trial, per period.
    n : int
        Periods.
    variance : float
        Of the Sharpe ratios across all trials, per period: not annual.
    n_trials : float
        Every variant ever tried.
    skew, kurtosis : float, optional
        Of the best trial's returns; biased, the kurtosis not excess.

    References
    ----------
    Bailey & Lopez de Prado (2014), eq. 2.
    """
    threshold = expected_maximum(n_trials, variance=variance)
    found = probabilistic_sharpe_ratio(sharpe, n, benchmark=threshold, skew=skew, kurtosis=kurtosis)
    return DeflatedSharpe(found.value, threshold, n_trials, variance, found.reason)


def deflated_sharpe_ratio_2025(
    sharpe: float,
    n: int,
    *,
    variance: float,
    n_trials: float,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> DeflatedSharpe:
    """Return `deflated_sharpe_ratio` by the definition of 2025.

    The standard error is that of the highest of ``n_trials`` ratios under the null: at the
    threshold, with ``n``, its variance times `variance_of_maximum`.

    References
    ----------
    Lopez de Prado, Lipton & Zoonekynd (2025), How to use the Sharpe ratio.
    """
    threshold = expected_maximum(n_trials, variance=variance)
    spread = variance_of_maximum(n_trials)
    found = _psr_at_benchmark(sharpe, n, threshold, skew, kurtosis, spread)
    return DeflatedSharpe(found.value, threshold, n_trials, variance, found.reason)


@dataclass(frozen=True)
class DeflatedBest:
    """The deflated Sharpe ratio of the best variant of a matrix, with two counts of trials.

    Attributes
    ----------
    best : int
        The variant with the highest Sharpe ratio, the first of equals; -1 if there is none.
    moments : Moments or None
        Of its returns.
    raw : DeflatedSharpe
        With every trial counted: the strict one.
    effective : DeflatedSharpe
        With the effective number of trials (`effective_trials`) in what is left after each
        session's mean over all variants is taken off, as it is from the variance across them.
    n_without : int
        Variants whose returns have no variance, so that they have no Sharpe ratio. They
        are among the trials, not in the variance across trials.
    """

    best: int
    moments: Moments | None
    raw: DeflatedSharpe
    effective: DeflatedSharpe
    n_without: int


def deflated_sharpe_of_best(returns: ArrayLike, *, n_trials: int | None = None) -> DeflatedBest:
    """Return the deflated Sharpe ratio of the best column.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
    n_trials : int, optional
        Every variant ever tried, where that is more than the matrix has columns. The
        effective number is scaled along.

    Raises
    ------
    InputError
        If a return is not finite, or there were fewer trials than variants.
    """
    r = matrix(returns)
    n, variants = r.shape
    tried = variants if n_trials is None else n_trials
    if tried < variants:
        raise InputError(f"{tried} trials are fewer than the {variants} variants of the matrix")
    varied = np.flatnonzero(r.min(axis=0) != r.max(axis=0)) if n > 1 else np.empty(0, np.int64)
    reason = None
    if n < MIN_SESSIONS:
        reason = f"{counted(n, 'session')}; at least {MIN_SESSIONS} are needed"
    elif len(varied) < 2:
        reason = f"{counted(len(varied), 'variant')} with a Sharpe ratio; at least 2 are needed"
    if reason:
        none = DeflatedSharpe(math.nan, math.nan, float(tried), math.nan, reason)
        return DeflatedBest(-1, None, none, none, variants - len(varied))

    part = r[:, varied]
    ratios = sharpe_ratios(part)
    variance = float(np.var(ratios, ddof=1))
    best = int(varied[np.argmax(ratios)])
    found = moments(r[:, best])
    independent = effective_trials(part, without_mean=True).value
    effective = max(independent * tried / variants, 1.0)
    raw, lenient = (
        deflated_sharpe_ratio(
            found.sharpe,
            n,
            variance=variance,
            n_trials=count,
            skew=found.skew,
            kurtosis=found.kurtosis,
        )
        for count in (float(tried), effective)
    )
    return DeflatedBest(best, found, raw, lenient, variants - len(varied))
