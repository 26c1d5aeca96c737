"""Where values stand in a sample of replicates: quantiles, ranks, p-values.

All are order statistics, with errors that assume no distribution. A replicate without a
value is NaN; it is never dropped, but ranks as the worst, and as extreme.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.errors import InputError
from sweep.schema import FloatArray1D
from sweep.stats.functionals import order_statistic
from sweep.text import missing_value, too_few

__all__ = [
    "CONFIDENCE",
    "LEVELS",
    "Observed",
    "PValue",
    "Quantile",
    "p_value",
    "p_value_of_count",
    "place",
    "quantiles",
]

#: Probabilities of the quantiles in a report.
LEVELS = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)

#: Of these, the ones that say something of a tail.
TAILS = (0.01, 0.05, 0.95, 0.99)

#: Of the order-statistic intervals.
CONFIDENCE = 0.95

ALTERNATIVES = ("greater", "less", "two-sided")


@dataclass(frozen=True)
class Quantile:
    """A quantile with an interval that has no model.

    Attributes
    ----------
    level : float
        Its probability.
    value : float
        The order statistic ``ceil(B level)``.
    low, high : float
        Order statistics that enclose the true quantile with probability `CONFIDENCE` or
        more, whatever the distribution (Monte Carlo error alone).
    reason : str or None
        Why a number is NaN or infinite.
    """

    level: float
    value: float
    low: float
    high: float
    reason: str | None = None


@dataclass(frozen=True)
class Observed:
    """The value of the real data, and where it stands among the replicates.

    Attributes
    ----------
    value : float
    below, equal, above : int
        Replicates.
    rank : float
        ``(below + equal / 2) / (below + equal + above)``.
    reason : str or None
        Why a number is NaN or infinite.
    """

    value: float
    below: int
    equal: int
    above: int
    rank: float
    reason: str | None = None


@dataclass(frozen=True)
class PValue:
    """The chance of a value as extreme as the observed one, were the null true.

    Attributes
    ----------
    value : float
        ``(1 + n_extreme) / (1 + n_paths)``, which is never 0; NaN without a test. Twice the
        smaller side for ``"two-sided"``, at most 1.
    error : float
        Monte Carlo standard error, ``sqrt(p (1 - p) / n_paths)`` of the side that was counted
        (twice it for two sides): the error of having drawn a finite number of paths. The sampling
        error, which more paths do not shrink, is another.
    alternative : str
        ``"greater"``, ``"less"`` or ``"two-sided"``.
    null : str
        The null hypothesis in words; empty where a test states it.
    n_extreme : int
        Paths at least as extreme as the observed value, and those without a value.
    n_paths : int
        Paths, or resamples, drawn under the null.
    reason : str or None
        Why the value is NaN.
    """

    value: float
    error: float
    alternative: str
    null: str
    n_extreme: int
    n_paths: int
    reason: str | None = None

    @property
    def share(self) -> float:
        """``n_extreme / n_paths``, as papers print it. It can be 0, which no p-value is."""
        return self.n_extreme / self.n_paths if self.n_paths else math.nan


# -- functions -------------------------------------------------------------------------


def quantiles(
    values: FloatArray1D,
    *,
    no_tail: str | None = None,
    worst: str = "low",
    levels: tuple[float, ...] = LEVELS,
    confidence: float = CONFIDENCE,
) -> tuple[Quantile, ...]:
    """Return quantiles with order-statistic intervals.

    Parameters
    ----------
    values : ndarray of shape (n_paths,), float64
        NaN for a replicate without a value: it ranks as the worst.
    no_tail : str, optional
        Why the data cannot support a tail: the quantiles of tails are NaN then.
    worst : str, optional
        ``"low"`` (profits) or ``"high"`` (drawdowns).
    levels : tuple of float, optional
    confidence : float, optional

    Returns
    -------
    tuple of Quantile

    Notes
    -----
    With K ~ Binomial(B, q) the number of replicates below the true quantile, the interval
    is from order statistic ``l`` to ``u`` with ``P(K < l)`` and ``P(K >= u)`` at most
    ``(1 - confidence) / 2`` each: Hahn & Meeker (1991), Statistical Intervals, section 5.2.
    """
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, np.float64))  # NaN last
    n = ordered.size
    missing = int(np.isnan(ordered).sum())
    if worst == "low":
        ordered = np.roll(ordered, missing)
    tail = (1.0 - confidence) / 2.0
    found = []
    for level in levels:
        if level in TAILS and no_tail is not None:
            found.append(Quantile(level, math.nan, math.nan, math.nan, no_tail))
            continue
        if n == 0:
            found.append(Quantile(level, math.nan, math.nan, math.nan, "no replicates"))
            continue
        low = int(binom.ppf(tail, n, level))
        high = int(binom.ppf(1.0 - tail, n, level)) + 1
        value = float(ordered[order_statistic(n, level) - 1])
        ends = (
            float(ordered[low - 1]) if low >= 1 else math.nan,
            float(ordered[high - 1]) if high <= n else math.nan,
        )
        reason = None
        if math.isnan(value) or (missing and any(map(math.isnan, ends))):
            what = missing_value(missing, n, "replicate")
            reason = f"{what} and rank{'s' if missing == 1 else ''} as the worst"
        elif any(map(math.isnan, ends)):
            reason = f"{too_few(n, 'replicate')} for an interval at {level:g}"
        elif any(map(math.isinf, (value, *ends))):
            reason = "it lies among infinite replicates"
        found.append(Quantile(level, value, *ends, reason))
    return tuple(found)


def place(values: FloatArray1D, observed: float, *, tie: float = 0.0) -> Observed:
    """Return where an observed value stands among replicates.

    Parameters
    ----------
    values : ndarray of shape (n_paths,), float64
        NaN for a replicate without a value; those have no place.
    observed : float
    tie : float, optional
        Differences up to this count as equal.

    Returns
    -------
    Observed
    """
    if math.isnan(observed):
        return Observed(observed, 0, 0, 0, math.nan, "the data have no such value")
    below = int((values < observed - tie).sum())
    above = int((values > observed + tie).sum())
    equal = int((~np.isnan(values)).sum()) - below - above
    total = below + equal + above
    if total == 0:
        return Observed(observed, 0, 0, 0, math.nan, "no replicate has a value")
    rank = (below + 0.5 * equal) / total
    reason = "the observed value is infinite" if math.isinf(observed) else None
    return Observed(observed, below, equal, above, rank, reason)


def p_value(
    values: FloatArray1D,
    observed: float,
    *,
    null: str,
    alternative: str = "greater",
    tie: float = 0.0,
) -> PValue:
    """Return the p-value of an observed value among replicates drawn under the null.

    Parameters
    ----------
    values : ndarray of shape (n_paths,), float64
        NaN for a replicate without a value: it counts as extreme, so that failing never
        makes a result look significant.
    observed : float
    null : str
        The null hypothesis in words.
    alternative : str, optional
        Whether great, small or both kinds of values speak against the null.
    tie : float, optional
        Values that differ by no more are equal, that is, extreme: sums of the same numbers
        in another order differ in their last bits.

    Returns
    -------
    PValue
        NaN with a reason if the data have no such value, or there are no replicates.

    Raises
    ------
    InputError
        For an unknown alternative.

    References
    ----------
    Davison & Hinkley (1997), Bootstrap Methods and their Application, eq. 4.11.
    """
    if alternative not in ALTERNATIVES:
        raise InputError(f"no alternative {alternative!r}; there are: {', '.join(ALTERNATIVES)}")
    n = values.size
    if math.isnan(observed) or n == 0:
        reason = "there are no replicates" if n == 0 else "the data have no such value"
        return PValue(math.nan, math.nan, alternative, null, 0, n, reason)
    missing = int(np.isnan(values).sum())
    great = int((values >= observed - tie).sum()) + missing
    small = int((values <= observed + tie).sum()) + missing
    count = {"greater": great, "less": small, "two-sided": min(great, small)}[alternative]
    side = p_value_of_count(count, n)
    sides = 2.0 if alternative == "two-sided" else 1.0
    value, error = min(sides * side.value, 1.0), sides * side.error
    return PValue(value, error, alternative, null, count, n)


def p_value_of_count(n_extreme: int, n_paths: int) -> PValue:
    """Return the one-sided p-value of a count of extreme paths; 0 of 0 is no test.

    References
    ----------
    Davison & Hinkley (1997), Bootstrap Methods and their Application, eq. 4.11.
    """
    if n_paths == 0:
        return PValue(math.nan, math.nan, "greater", "", 0, 0)
    p = (1 + n_extreme) / (1 + n_paths)
    error = math.sqrt(p * (1.0 - p) / n_paths)
    return PValue(p, error, "greater", "", n_extreme, n_paths)
