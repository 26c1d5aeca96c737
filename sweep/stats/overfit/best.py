"""Tests of whether the best of a sweep beats the benchmark, and of which variants do.

Reality Check, Hansen's test of superior predictive ability, and Romano & Wolf's StepM, on
the session returns of every variant ever tried. All compare, over resamples of sessions,
the best variant's statistic with the best that chance brings: they pay for the number of
variants, and for no more of it than their dependence leaves.

None sees look-ahead: a variant that knows the future passes them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.stats.checks import gains_over, series
from sweep.stats.overfit.maxima import (
    Prepared,
    highest_by_block,
    prepare,
    reached_alone,
    step_down,
    why_not,
)
from sweep.stats.overfit.resamples import BLOCK, Draws, column_means
from sweep.stats.quantiles import PValue, p_value_of_count

__all__ = [
    "RealityCheck",
    "StepM",
    "SuperiorAbility",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "bonferroni",
    "holm",
    "reality_check",
    "separate_p_values",
    "spa",
    "stepm",
]


@dataclass(frozen=True)
class RealityCheck:
    """White's Reality Check.

    Attributes
    ----------
    statistic : float
        ``sqrt(n)`` times the highest mean gain.
    best : int
        The variant that has it, the first of equals; -1 where there is no test.
    p : PValue
        Of the hypothesis that no variant is better than the benchmark.
    reason : str or None
        Why there is no test.
    """

    statistic: float
    best: int
    p: PValue
    reason: str | None = None


@dataclass(frozen=True)
class SuperiorAbility:
    """Hansen's test of superior predictive ability.

    Attributes
    ----------
    statistic : float
        The highest studentised mean gain, at least 0.
    best : int
        The variant that has it, the first of equals; -1 where there is no test.
    lower, consistent, upper : PValue
        Of the hypothesis that no variant is better than the benchmark. ``consistent`` is the
        test; the others bound it, by taking poor variants as no worse than the benchmark
        (upper) or as irrelevant (lower).
    n_without : int
        Variants left out since their gains have no variance.
    reason : str or None
        Why there is no test.
    """

    statistic: float
    best: int
    lower: PValue
    consistent: PValue
    upper: PValue
    n_without: int
    reason: str | None = None


@dataclass(frozen=True)
class StepM:
    """Romano & Wolf's stepwise multiple test.

    Attributes
    ----------
    rejected : ndarray of shape (n_rejected,), int64
        Variants better than the benchmark, ascending: with probability ``1 - alpha`` all of
        them are.
    steps : tuple of ndarray of int64
        The same by the step that found them.
    critical_values : tuple of float
        Of each step, and of the last, which found nothing more.
    statistics : ndarray of shape (n_variants,), float64
        NaN for variants without variance.
    p_values : ndarray of shape (n_variants,), float64
        Adjusted, ``(1 + exceeded) / (1 + n_bootstrap)``; NaN for variants without variance.
        Close to, not the same as, comparing with ``critical_values``, which interpolate.
    n_bootstrap, n_without : int
    reason : str or None
        Why there is no test.
    """

    rejected: IntArray1D
    steps: tuple[IntArray1D, ...]
    critical_values: tuple[float, ...]
    statistics: FloatArray1D
    p_values: FloatArray1D
    n_bootstrap: int
    n_without: int
    reason: str | None = None


def reality_check(
    returns: ArrayLike, draws: Draws, *, benchmark: ArrayLike | None = None
) -> RealityCheck:
    """Return White's Reality Check: not studentised, so that one noisy variant can hide a good one.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
        Higher is better; give losses with their signs changed.
    draws : Draws
        Of as many sessions.
    benchmark : array_like of shape (n_sessions,), optional
        0 by default.

    Raises
    ------
    InputError
        If a return is not finite, or sessions are not as many everywhere.

    References
    ----------
    White (2000), A reality check for data snooping, Econometrica 68(5).
    """
    gains = gains_over(returns, benchmark)
    reason = why_not(gains, draws, int((gains.min(axis=0) != gains.max(axis=0)).sum()))
    if reason:
        return RealityCheck(math.nan, -1, p_value_of_count(0, 0), reason)
    n, variants = gains.shape
    mean = column_means(gains)
    one = np.ones(variants)
    prepared = Prepared(np.arange(variants), gains - mean, math.sqrt(n) * mean, one, one)
    found = highest_by_block(prepared, draws, np.zeros((1, variants)))
    statistic = float(prepared.raw.max())
    exceeded = int((found[0].max(axis=0) >= statistic).sum())
    return RealityCheck(
        statistic, int(prepared.raw.argmax()), p_value_of_count(exceeded, draws.n_bootstrap)
    )


def spa(
    returns: ArrayLike,
    draws: Draws,
    *,
    benchmark: ArrayLike | None = None,
    errors: Literal["fixed", "resampled"] = "fixed",
) -> SuperiorAbility:
    """Return Hansen's test: studentised, and not weakened by poor variants.

    ``max(0, max sqrt(n) * mean / omega)`` with omega by `long_run_sd`. Resampled means are
    centred at the sample's mean; for the consistent version, those of variants more than
    ``omega * sqrt(2 log log n / n)`` below the benchmark are left there.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
        Higher is better; give losses with their signs changed.
    draws : Draws
        Of as many sessions.
    benchmark : array_like of shape (n_sessions,), optional
        0 by default.
    errors : {"fixed", "resampled"}, optional
        ``"fixed"``: Hansen's, omega for the resamples too. ``"resampled"``: each resample's
        means over their errors in that resample, from its blocks (Goetze & Kuensch 1996), the
        bootstrap's t. The first rejects too often where many variants meet few blocks of
        sessions: omega is then a poor estimate, and the highest of many is one whose omega
        came out small. The second holds its size, or is a little strict.

    Raises
    ------
    InputError
        If a return is not finite, sessions are not as many everywhere, or a setting is
        wrong.

    Notes
    -----
    A resample counts against the variants where its statistic is at least the observed
    one, so that a best variant below the benchmark has a p-value of 1. ``arch`` 8.0 does not
    divide by omega even where asked to.

    References
    ----------
    Hansen (2005), A test for superior predictive ability, Journal of Business & Economic
    Statistics 23(4).
    """
    _check_errors(errors)
    gains = gains_over(returns, benchmark)
    prepared = prepare(gains, draws, studentised=True)
    none = p_value_of_count(0, 0)
    if isinstance(prepared, str):
        return SuperiorAbility(math.nan, -1, none, none, none, 0, prepared)
    t = prepared.statistics
    # Centred means go to the sample's mean, or to 0, or to whichever is lower.
    raw = prepared.raw
    shifts = np.stack([np.minimum(raw, 0.0), prepared.consistent_shift(), np.zeros(len(raw))])
    found = highest_by_block(prepared, draws, shifts, resampled_errors=errors == "resampled")
    statistic = max(float(t.max()), 0.0)
    lower, consistent, upper = (
        p_value_of_count(int((row.max(axis=0).clip(0.0) >= statistic).sum()), draws.n_bootstrap)
        for row in found
    )
    best = int(prepared.kept[t.argmax()])
    n_without = gains.shape[1] - len(t)
    return SuperiorAbility(statistic, best, lower, consistent, upper, n_without)


def separate_p_values(
    returns: ArrayLike, draws: Draws, *, benchmark: ArrayLike | None = None
) -> FloatArray1D:
    """Return the p-value of each variant's mean, taken alone, as if no other had been tried.

    The bootstrap's t: the share of resamples whose centred mean over its error in that
    resample is at least the variant's own, ``(1 + b) / (1 + B)``. For lists, adjust them
    (`benjamini_yekutieli`).

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
        Higher is better.
    draws : Draws
    benchmark : array_like of shape (n_sessions,), optional
        0 by default.

    Returns
    -------
    ndarray of shape (n_variants,), float64
        NaN where there is no test: too few sessions, or no variance.

    Raises
    ------
    InputError
        If a return is not finite, or sessions are not as many everywhere.

    References
    ----------
    Goetze & Kuensch (1996), Second-order correctness of the blockwise bootstrap for
    stationary observations, Annals of Statistics 24(5).
    """
    gains = gains_over(returns, benchmark)
    p = np.full(gains.shape[1], math.nan)
    prepared = prepare(gains, draws, studentised=True)
    if not isinstance(prepared, str):
        reached = reached_alone(prepared, draws)
        p[prepared.kept] = (1.0 + reached) / (1.0 + draws.n_bootstrap)
    return p


def stepm(
    returns: ArrayLike,
    draws: Draws,
    *,
    alpha: float = 0.1,
    benchmark: ArrayLike | None = None,
    studentised: bool = True,
    errors: Literal["fixed", "resampled"] = "fixed",
    recentring: Literal["full", "consistent"] = "full",
) -> StepM:
    """Return which variants are better than the benchmark, no false one but with ``alpha``.

    The critical value is the ``1 - alpha`` quantile of the highest resampled statistic;
    variants above it are taken out, and the rest is held against the highest of the rest,
    until nothing more is found.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
        Higher is better; give losses with their signs changed.
    draws : Draws
        Of as many sessions.
    alpha : float, optional
        Probability of any false rejection, in (0, 1).
    benchmark : array_like of shape (n_sessions,), optional
        0 by default.
    studentised : bool, optional
        Divide by `long_run_sd`. Without it, noisy variants set the critical value.
    errors : {"fixed", "resampled"}, optional
        What resampled means are divided by, where studentised: the sample's `long_run_sd`, or
        the error in that resample, from its blocks (Goetze & Kuensch 1996). See `spa`.
    recentring : {"full", "consistent"}, optional
        ``"full"``: Romano & Wolf's; ``"consistent"``: leave poor variants where they are, as
        in `spa`.

    Raises
    ------
    InputError
        If a return is not finite, sessions are not as many everywhere, or a setting is
        wrong.

    References
    ----------
    Romano & Wolf (2005), Stepwise multiple testing as formalized data snooping,
    Econometrica 73(4), Algorithm 4.2; (2016), Efficient computation of adjusted p-values
    for resampling-based stepdown multiple testing, Statistics & Probability Letters 113.
    """
    if not 0.0 < alpha < 1.0:
        raise InputError(f"alpha lies between 0 and 1, found {alpha:g}")
    _check_errors(errors)
    if recentring not in ("full", "consistent"):
        raise InputError(f"no recentring {recentring!r}; there are full and consistent")
    gains = gains_over(returns, benchmark)
    variants = gains.shape[1]
    statistics, p = np.full(variants, math.nan), np.full(variants, math.nan)
    weighed = recentring == "consistent"
    prepared = prepare(gains, draws, studentised=studentised, weighed=weighed)
    if isinstance(prepared, str):
        none = np.empty(0, np.int64)
        return StepM(none, (), (), statistics, p, draws.n_bootstrap, 0, prepared)

    # From the best to the poorest, so that what is left after a step is a tail.
    prepared = prepared.take(np.argsort(-prepared.statistics, kind="stable"))
    t, kept = prepared.statistics, prepared.kept
    shift = prepared.consistent_shift() if recentring == "consistent" else np.zeros(len(t))
    own = studentised and errors == "resampled"
    tails, exceeded = step_down(prepared, draws, shift, resampled_errors=own)
    statistics[kept] = t
    p[kept] = np.maximum.accumulate((1.0 + exceeded) / (1.0 + draws.n_bootstrap))

    steps: list[IntArray1D] = []
    critical: list[float] = []
    first = 0
    while first < len(t):
        block = -(-first // BLOCK)
        part = slice(first, min(block * BLOCK, len(t)))
        highest = tails[block] if block < len(tails) else np.full(draws.n_bootstrap, -math.inf)
        if part.start < part.stop:
            rest = prepared.take(part)
            found = highest_by_block(rest, draws, shift[None, part], resampled_errors=own)
            highest = np.maximum(highest, found[0, 0])
        critical.append(float(np.quantile(highest, 1.0 - alpha)))
        beyond = int((t > critical[-1]).sum())
        if beyond <= first:
            break
        steps.append(np.sort(kept[first:beyond]))
        first = beyond
    rejected = np.sort(kept[:first])
    n_without = variants - len(t)
    return StepM(
        rejected, tuple(steps), tuple(critical), statistics, p, draws.n_bootstrap, n_without
    )


def _check_errors(errors: str) -> None:
    if errors not in ("fixed", "resampled"):
        raise InputError(f"no errors {errors!r}; there are fixed and resampled")


def bonferroni(p_values: ArrayLike) -> FloatArray1D:
    """Return each p-value times their number, at most 1.

    Holds the probability of any false discovery, under any dependence.

    Parameters
    ----------
    p_values : array_like of shape (n_tests,)
        Of every test that was made, in [0, 1].

    Returns
    -------
    ndarray of shape (n_tests,), float64
        In the order of the input.
    """
    p = _checked(p_values)
    return np.minimum(p * len(p), 1.0)


def holm(p_values: ArrayLike) -> FloatArray1D:
    """Return Holm's step-down p-values: `bonferroni`'s guarantee, never higher values.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6(2).
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    left = np.arange(len(p), 0, -1)
    return _back(np.minimum(np.maximum.accumulate(p[order] * left), 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray1D:
    """Return p-values that hold the share of false discoveries, under positive dependence.

    References
    ----------
    Benjamini & Hochberg (1995), Controlling the false discovery rate, JRSS B 57(1).
    """
    return _step_up(_checked(p_values), 1.0)


def benjamini_yekutieli(p_values: ArrayLike) -> FloatArray1D:
    """Return p-values that hold the share of false discoveries, under any dependence.

    Those of `benjamini_hochberg` times ``1 + 1/2 + ... + 1/n``; Harvey & Liu's BHY.

    References
    ----------
    Benjamini & Yekutieli (2001), The control of the false discovery rate in multiple
    testing under dependency, Annals of Statistics 29(4).
    """
    p = _checked(p_values)
    return _step_up(p, float(np.sum(1.0 / np.arange(1, len(p) + 1))))


def _step_up(p: FloatArray1D, factor: float) -> FloatArray1D:
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) * factor) / np.arange(1, len(p) + 1)
    return _back(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0), order)


def _back(adjusted: FloatArray1D, order: np.ndarray[tuple[int], np.dtype[np.intp]]) -> FloatArray1D:
    out = np.empty(len(adjusted))
    out[order] = adjusted
    return out


def _checked(p_values: ArrayLike) -> FloatArray1D:
    p = series(p_values, "p-values")
    if len(p) and not (p.min() >= 0.0 and p.max() <= 1.0):
        place = int(np.flatnonzero((p < 0.0) | (p > 1.0))[0])
        raise InputError(f"a p-value lies in 0..1, found {p[place]:g} at place {place}")
    return p
