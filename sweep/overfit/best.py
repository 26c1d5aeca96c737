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
from sweep.overfit.draws import BLOCK, Draws, column_means
from sweep.overfit.maxima import (
    consistent_shift,
    highest_by_block,
    step_down,
    studentise,
    why_not,
)
from sweep.overfit.statistic import PValue, gains_over, p_value
from sweep.schema import FloatArray1D, IntArray1D

__all__ = ["RealityCheck", "StepM", "SuperiorAbility", "reality_check", "spa", "stepm"]


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
        return RealityCheck(math.nan, -1, p_value(0, 0), reason)
    n, variants = gains.shape
    mean = column_means(gains)
    root = math.sqrt(n)
    found = highest_by_block(
        gains - mean, draws, np.full(variants, root / n), np.zeros((1, variants))
    )
    statistic = root * float(mean.max())
    exceeded = int((found[0].max(axis=0) >= statistic).sum())
    return RealityCheck(statistic, int(mean.argmax()), p_value(exceeded, draws.n_bootstrap))


def spa(returns: ArrayLike, draws: Draws, *, benchmark: ArrayLike | None = None) -> SuperiorAbility:
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

    Raises
    ------
    InputError
        If a return is not finite, or sessions are not as many everywhere.

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
    gains = gains_over(returns, benchmark)
    prepared = studentise(gains, draws, studentised=True)
    none = p_value(0, 0)
    if isinstance(prepared, str):
        return SuperiorAbility(math.nan, -1, none, none, none, 0, prepared)
    t = prepared.statistics
    # Shifts of the centred statistics: to the mean, or to 0, or to whichever is lower.
    shifts = np.stack([np.minimum(t, 0.0), consistent_shift(t, len(gains)), np.zeros(len(t))])
    found = highest_by_block(prepared.centred, draws, prepared.factor, shifts)
    statistic = max(float(t.max()), 0.0)
    lower, consistent, upper = (
        p_value(int((row.max(axis=0).clip(0.0) >= statistic).sum()), draws.n_bootstrap)
        for row in found
    )
    best = int(prepared.kept[t.argmax()])
    n_without = gains.shape[1] - len(t)
    return SuperiorAbility(statistic, best, lower, consistent, upper, n_without)


def stepm(
    returns: ArrayLike,
    draws: Draws,
    *,
    alpha: float = 0.1,
    benchmark: ArrayLike | None = None,
    studentised: bool = True,
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
    if recentring not in ("full", "consistent"):
        raise InputError(f"no recentring {recentring!r}; there are full and consistent")
    gains = gains_over(returns, benchmark)
    variants = gains.shape[1]
    statistics, p = np.full(variants, math.nan), np.full(variants, math.nan)
    prepared = studentise(gains, draws, studentised=studentised)
    if isinstance(prepared, str):
        none = np.empty(0, np.int64)
        return StepM(none, (), (), statistics, p, draws.n_bootstrap, 0, prepared)

    # From the best to the poorest, so that what is left after a step is a tail.
    order = np.argsort(-prepared.statistics, kind="stable")
    t = prepared.statistics[order]
    kept = prepared.kept[order]
    shift = np.zeros(len(t))
    if recentring == "consistent":
        shift = consistent_shift(t / prepared.scale[order], len(gains)) * prepared.scale[order]
    centred, factor = np.ascontiguousarray(prepared.centred[:, order]), prepared.factor[order]
    exceeded = np.zeros(len(t), np.int64)
    maxima = np.empty((-(-len(t) // BLOCK), draws.n_bootstrap))
    step_down(centred, draws.drawn, draws.times, draws.n_drawn, factor, shift, t, maxima, exceeded)
    statistics[kept] = t
    p[kept] = np.maximum.accumulate((1.0 + exceeded) / (1.0 + draws.n_bootstrap))

    # tails[k]: the highest from block k on.
    tails = np.maximum.accumulate(maxima[::-1], axis=0)[::-1]
    steps: list[IntArray1D] = []
    critical: list[float] = []
    first = 0
    while first < len(t):
        block = -(-first // BLOCK)
        part = slice(first, min(block * BLOCK, len(t)))
        highest = tails[block] if block < len(tails) else np.full(draws.n_bootstrap, -math.inf)
        if part.start < part.stop:
            rest = np.ascontiguousarray(centred[:, part])
            found = highest_by_block(rest, draws, factor[part], shift[None, part])
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
