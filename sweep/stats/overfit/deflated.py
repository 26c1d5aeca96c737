"""The Sharpe ratio as a probability: one track record, and the best of many.

All Sharpe ratios are per period (per session), never annual, and so is the variance of
Sharpe ratios across trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sweep.errors import InputError
from sweep.stats.checks import MIN_SESSIONS, Statistic, matrix, missing
from sweep.stats.overfit.effective import effective_trials
from sweep.stats.overfit.expected import expected_maximum, variance_of_maximum
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
    "minimum_track_record_length",
    "minimum_track_record_length_2025",
    "probabilistic_sharpe_ratio",
    "probabilistic_sharpe_ratio_2025",
]


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
    """Return the probabilistic Sharpe ratio against the expected best of so many trials.

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
