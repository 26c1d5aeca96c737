"""The model confidence set: which variants cannot be told from the best.

Poorest variants are eliminated one by one as long as those that are left can be told
apart. What is left holds the best with the chosen confidence: the honest answer to "which
parameters". A short or noisy record leaves nearly all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.stats.checks import MIN_SESSIONS, distinct_columns, matrix
from sweep.stats.overfit.elimination import eliminate_by_max, eliminate_by_range
from sweep.stats.overfit.resamples import Draws, column_means, resampled_means
from sweep.text import counted

__all__ = ["MAX_PAIRED", "ModelConfidenceSet", "model_confidence_set"]

#: The range statistic compares all pairs: its memory and time grow with the square of the
#: variants. At 2,000 the pairs' errors take 32 MB.
MAX_PAIRED = 2000

#: Bytes that the resampled means may take: 8 for each variant and resample.
MAX_BYTES = 4 * 2**30


@dataclass(frozen=True)
class ModelConfidenceSet:
    """Variants with the p-values by which they are in the set.

    Attributes
    ----------
    included : ndarray of shape (n_included,), int64
        Variants whose p-value is above ``alpha``, ascending. The set holds the best with
        probability ``1 - alpha`` at least, in the limit of many sessions.
    p_values : ndarray of shape (n_variants,), float64
        ``(1 + exceeded) / (1 + n_bootstrap)`` of the elimination of each, or of an earlier
        one where that was higher; 1 for the last. NaN where there is no set.
    shares : ndarray of shape (n_variants,), float64
        The same as ``exceeded / n_bootstrap``, as papers print it.
    eliminated : ndarray of shape (n_eliminated,), int64
        Variants in the order of their elimination, the best last where all were (it is the one
        that stayed); of equal ones the first.
    alpha : float
    n_bootstrap : int
    reason : str or None
        Why there is no set.
    """

    included: IntArray1D
    p_values: FloatArray1D
    shares: FloatArray1D
    eliminated: IntArray1D
    alpha: float
    n_bootstrap: int
    reason: str | None = None


def model_confidence_set(
    returns: ArrayLike,
    draws: Draws,
    *,
    alpha: float = 0.1,
    statistic: Literal["max", "range"] = "max",
    complete: bool = True,
) -> ModelConfidenceSet:
    """Return the model confidence set.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
        Higher is better; give losses with their signs changed.
    draws : Draws
        Of as many sessions.
    alpha : float, optional
        In (0, 1): 0.1 for the set of 90 %.
    statistic : {"max", "range"}, optional
        ``"max"``: the studentised loss over the mean of those left, for thousands of
        variants. ``"range"``: the largest studentised difference of any two (``T_R``),
        for at most `MAX_PAIRED`.
    complete : bool, optional
        Eliminate to the last, for every variant's p-value. Otherwise ``"max"`` stops at the
        first one above ``alpha``: the set is the same, and sooner there, and the p-values of
        the variants in it are lower bounds.

    Raises
    ------
    InputError
        If a return is not finite, sessions are not as many everywhere, a setting is wrong,
        or there are too many variants for the statistic or the memory.

    Notes
    -----
    Errors are those of the resampled means. Equal variants count once and share their
    p-value. Resamples count where they are at least the observed statistic.

    References
    ----------
    Hansen, Lunde & Nason (2011), The model confidence set, Econometrica 79(2): T_max and
    T_R of section 3.1.2, the bootstrap of their appendix.
    """
    if not 0.0 < alpha < 1.0:
        raise InputError(f"alpha lies between 0 and 1, found {alpha:g}")
    if statistic not in ("max", "range"):
        raise InputError(f"no statistic {statistic!r}; there are max and range")
    r = matrix(returns)
    n, variants = r.shape
    if n != draws.n_sessions:
        raise InputError(
            f"the returns have {n} sessions and the draws {draws.n_sessions}; draw from "
            f"{n} sessions"
        )
    kept, twin = distinct_columns(r)
    reason = None
    if n < MIN_SESSIONS:
        reason = f"{counted(n, 'session')}; at least {MIN_SESSIONS} are needed"
    elif len(kept) < 2:
        reason = f"{counted(len(kept), 'distinct variant')}; at least 2 are needed"
    if reason:
        none, nan = np.empty(0, np.int64), np.full(variants, math.nan)
        return ModelConfidenceSet(none, nan, nan.copy(), none, alpha, draws.n_bootstrap, reason)
    _check_size(len(kept), draws.n_bootstrap, statistic)

    losses = -r[:, kept]
    mean = column_means(losses)
    errors = resampled_means(losses - mean, draws)
    order = np.empty(len(kept), np.int64)
    exceeded = np.zeros(len(kept), np.int64)
    # The first count whose p-value is above alpha: `(1 + count) / (1 + B) > alpha`.
    counts = np.arange(draws.n_bootstrap + 1)
    enough = int(np.argmax((1.0 + counts) / (1.0 + draws.n_bootstrap) > alpha))
    if statistic == "max":
        never = draws.n_bootstrap + 1
        gone = eliminate_by_max(errors, mean, never if complete else enough, order, exceeded)
    else:
        eliminate_by_range(errors, np.ascontiguousarray(errors.T), mean, order, exceeded)
        gone = len(kept) - 1
    stopped = gone < len(kept) - 1
    exceeded[gone:] = enough if stopped else draws.n_bootstrap
    count = np.empty(len(kept), np.int64)
    count[order] = np.maximum.accumulate(exceeded)
    count = count[twin]
    p = np.divide(1.0 + count, 1.0 + draws.n_bootstrap, dtype=np.float64)
    return ModelConfidenceSet(
        included=np.flatnonzero(p > alpha),
        p_values=p,
        shares=(count / draws.n_bootstrap).astype(np.float64),
        eliminated=kept[order[:gone] if stopped else order],
        alpha=alpha,
        n_bootstrap=draws.n_bootstrap,
    )


def _check_size(variants: int, n_bootstrap: int, statistic: str) -> None:
    if statistic == "range" and variants > MAX_PAIRED:
        raise InputError(
            f"the range statistic compares all pairs of {variants} variants, and takes at most "
            f'{MAX_PAIRED}; use statistic="max"'
        )
    if 8 * variants * n_bootstrap > MAX_BYTES:
        raise InputError(
            f"{variants} variants times {n_bootstrap} resamples take "
            f"{8 * variants * n_bootstrap / 2**30:.1f} GiB; use at most "
            f"{MAX_BYTES // (8 * variants)} resamples"
        )
