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
from numba import njit
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.stats.checks import MIN_SESSIONS, distinct_columns, matrix
from sweep.stats.overfit.resamples import Draws, column_means, resampled_means
from sweep.text import counted

__all__ = [
    "MAX_PAIRED",
    "ModelConfidenceSet",
    "model_confidence_set",
]

#: Differences are of one size if their variance is below this share of the means' own.
NOTHING = 1e-24

#: Lanes that sums over resamples run in.
LANES = 64

#: Errors are taken again once one in this number of variants has been eliminated.
REFRESH = 64


@njit(cache=True, error_model="numpy")
def mean_square(values: FloatArray1D, lanes: FloatArray1D) -> float:
    """Return the mean of squares, added in a fixed number of lanes: the same bits everywhere."""
    lanes[:] = 0.0
    whole = values.size - values.size % LANES
    for start in range(0, whole, LANES):
        for k in range(LANES):
            lanes[k] += values[start + k] * values[start + k]
    for k in range(values.size - whole):
        lanes[k] += values[whole + k] * values[whole + k]
    total = 0.0
    for k in range(LANES):
        total += lanes[k]
    return total / values.size


@njit(cache=True, error_model="numpy")
def _highest(values: FloatArray1D, lanes: FloatArray1D) -> float:
    lanes[:] = -np.inf
    whole = values.size - values.size % LANES
    for start in range(0, whole, LANES):
        for k in range(LANES):
            z = values[start + k]
            lanes[k] = z if z > lanes[k] else lanes[k]
    highest = -np.inf
    for k in range(LANES):
        highest = max(highest, lanes[k])
    for k in range(whole, values.size):
        highest = max(highest, values[k])
    return highest


@njit(cache=True, error_model="numpy")
def _deviation(
    row: FloatArray1D, centre: FloatArray1D, own: float, apart: FloatArray1D, lanes: FloatArray1D
) -> float:
    """Write a row less the centre to ``apart``; return its error, 0 if that is rounding."""
    for b in range(row.size):
        apart[b] = row[b] - centre[b]
    variance = mean_square(apart, lanes)
    return math.sqrt(variance) if variance > NOTHING * own else 0.0


@njit(cache=True, error_model="numpy")
def _studentised(gap: float, error: float) -> float:
    if error > 0.0:
        return gap / error
    return np.inf if gap > 0.0 else -np.inf


@njit(cache=True, error_model="numpy")
def eliminate_by_max(
    errors: FloatArray2D,
    mean: FloatArray1D,
    enough: int,
    order: IntArray1D,
    exceeded: IntArray1D,
) -> int:
    """Eliminate the variant with the highest studentised loss over the mean, again and again.

    Parameters
    ----------
    errors : ndarray of shape (n_variants, n_bootstrap), float64
        Resampled means of centred losses.
    mean : ndarray of shape (n_variants,), float64
        Of losses.
    enough : int
        Stop before the first elimination that this number of resamples exceeds.
    order, exceeded : ndarray of shape (n_variants,), int64
        Written: who is eliminated, those who are left last, and how many resamples reach the
        statistic of each elimination, or of an earlier one where that were more.

    Returns
    -------
    int
        Eliminations.

    Notes
    -----
    A variant's error and its highest resampled deviation change little while others go: by
    at most the root mean square and the maximum of what the centre has moved since they were
    last taken. What these bounds settle is not computed, nor are resamples that have reached
    the statistic already. That leaves little, and changes no result.
    """
    variants, draws = errors.shape
    left = np.arange(variants)
    n_left = variants
    total = np.zeros(draws)
    total_mean = 0.0
    centre, apart, moved, highest = (
        np.empty(draws),
        np.zeros(draws),
        np.empty(draws),
        np.empty(draws),
    )
    lanes = np.empty(LANES)
    own, error, top = np.empty(variants), np.empty(variants), np.empty(variants)
    for i in range(variants):
        own[i] = mean_square(errors[i], lanes)
    upper = np.empty(variants)
    unreached = np.empty(draws, np.int64)
    most = 0
    taken_at = np.zeros(draws)
    wait = 0
    for step in range(variants - 1):
        if wait == 0:
            # Begin the sums afresh: subtracting again and again would gather rounding.
            total[:] = 0.0
            total_mean = 0.0
            for k in range(n_left):
                total_mean += mean[left[k]]
                for b in range(draws):
                    total[b] += errors[left[k], b]
        for b in range(draws):
            centre[b] = total[b] / n_left
            highest[b] = -np.inf
        centre_mean = total_mean / n_left
        if wait == 0:
            wait = max(n_left // REFRESH, 1)
            taken_at[:] = centre
            for k in range(n_left):
                i = left[k]
                error[i] = _deviation(errors[i], centre, own[i], apart, lanes)
                top[i] = _highest(apart, lanes)
        wait -= 1
        for b in range(draws):
            moved[b] = taken_at[b] - centre[b]
        # A little more than rounding can amount to.
        slack = np.sqrt(mean_square(moved, lanes)) * (1.0 + 1e-9)
        lift = max(_highest(moved, lanes), 0.0)

        # The highest loss: exactly for those that might have it, the likeliest first.
        likely = 0
        for k in range(n_left):
            i = left[k]
            gap = mean[i] - centre_mean
            least = error[i] * (1.0 - 1e-9) - slack
            upper[k] = np.inf
            if error[i] > 0.0 and least > 0.0:
                upper[k] = gap / (least if gap > 0.0 else (error[i] + slack) * (1.0 + 1e-9))
            if upper[k] > upper[likely]:
                likely = k
        i = left[likely]
        poorest = likely
        worst = _studentised(
            mean[i] - centre_mean, _deviation(errors[i], centre, own[i], apart, lanes)
        )
        for k in range(n_left):
            if k != likely and upper[k] >= worst:
                i = left[k]
                t = _studentised(
                    mean[i] - centre_mean, _deviation(errors[i], centre, own[i], apart, lanes)
                )
                if t > worst or (t == worst and k < poorest):
                    poorest, worst = k, t

        if most < draws:
            count = 0
            n_open = draws
            for b in range(draws):
                unreached[b] = b
            since = 0
            for k in range(n_left):
                i = left[k]
                row = errors[i]
                least = error[i] * (1.0 - 1e-9) - slack
                if error[i] > 0.0 and least > 0.0:
                    limit = worst * least * (1.0 - 1e-9)
                    if top[i] + lift < limit:
                        continue
                    if 2 * n_open < draws:
                        near = False
                        for m in range(n_open):
                            b = unreached[m]
                            if row[b] - centre[b] >= limit:
                                near = True
                                break
                        if not near:
                            continue
                scale = _deviation(row, centre, own[i], apart, lanes)
                if scale > 0.0:
                    for b in range(draws):
                        z = apart[b] / scale
                        highest[b] = z if z > highest[b] else highest[b]
                since += 1
                if since == 16:
                    since = 0
                    n_open = 0
                    for b in range(draws):
                        if highest[b] < worst:
                            unreached[n_open] = b
                            n_open += 1
                    if n_open == 0:
                        break
            for b in range(draws):
                count += highest[b] >= worst
            most = max(most, count)
        if most >= enough:
            order[step:] = left[:n_left]
            return int(step)
        exceeded[step] = most
        gone = left[poorest]
        order[step] = gone
        for b in range(draws):
            total[b] -= errors[gone, b]
        total_mean -= mean[gone]
        n_left -= 1
        for k in range(poorest, n_left):
            left[k] = left[k + 1]
    order[variants - 1] = left[0]
    return int(variants - 1)


@njit(cache=True, error_model="numpy")
def eliminate_by_range(
    errors: FloatArray2D,
    by_draw: FloatArray2D,
    mean: FloatArray1D,
    order: IntArray1D,
    exceeded: IntArray1D,
) -> None:
    """As `eliminate_by_max`, by the largest difference of any two.

    Each resample remembers the pair that holds its largest difference, and looks for
    another one only when a variant of that pair goes. ``by_draw`` is ``errors`` transposed.
    """
    variants, draws = errors.shape
    scale = np.zeros((variants, variants))
    largest = np.full(draws, -1.0)
    pair = np.full(draws, -1)
    apart = np.empty(draws)
    lanes = np.empty(LANES)
    for i in range(variants):
        own = mean_square(errors[i], lanes)
        for j in range(i):
            for b in range(draws):
                apart[b] = abs(errors[i, b] - errors[j, b])
            variance = mean_square(apart, lanes)
            inverse = 0.0
            if variance > NOTHING * own and variance > 0.0:
                inverse = 1.0 / np.sqrt(variance)
            elif mean[i] != mean[j]:
                inverse = np.inf
            scale[i, j] = inverse
            scale[j, i] = inverse
            if inverse < np.inf:
                code = i * variants + j
                for b in range(draws):
                    z = apart[b] * inverse
                    more = z > largest[b]
                    largest[b] = z if more else largest[b]
                    pair[b] = code if more else pair[b]
    left = np.arange(variants)
    n_left = variants
    against = np.empty(variants, np.int64)
    own_t = np.empty(variants)
    for i in range(variants):
        own_t[i], against[i] = _worst_against(i, mean, scale, left)
    for step in range(variants - 1):
        poorest, worst = 0, -np.inf
        for k in range(n_left):
            if own_t[left[k]] > worst:
                poorest, worst = k, own_t[left[k]]
        count = 0
        for b in range(draws):
            count += largest[b] >= worst
        exceeded[step] = count
        gone = left[poorest]
        order[step] = gone
        n_left -= 1
        for k in range(poorest, n_left):
            left[k] = left[k + 1]
        for k in range(n_left):
            if against[left[k]] == gone:
                i = left[k]
                own_t[i], against[i] = _worst_against(i, mean, scale, left[:n_left])
        for b in range(draws):
            if pair[b] // variants == gone or pair[b] % variants == gone:
                largest[b], pair[b] = _largest_pair(by_draw[b], scale, left[:n_left])
    order[variants - 1] = left[0]


@njit(cache=True, error_model="numpy")
def _worst_against(
    i: int, mean: FloatArray1D, scale: FloatArray2D, left: IntArray1D
) -> tuple[float, int]:
    """Return the largest studentised loss of variant i over another one, and which."""
    worst, against = -np.inf, -1
    for k in range(left.size):
        j = left[k]
        # Equal means have no difference, however small its error.
        gap = mean[i] - mean[j]
        t = gap * scale[i, j] if gap != 0.0 else 0.0
        if j != i and t > worst:
            worst, against = t, j
    return worst, against


@njit(cache=True, error_model="numpy")
def _largest_pair(values: FloatArray1D, scale: FloatArray2D, left: IntArray1D) -> tuple[float, int]:
    variants = values.size
    largest, pair = -1.0, -1
    for k in range(left.size):
        i = left[k]
        for m in range(k):
            j = left[m]
            if scale[i, j] < np.inf:
                z = abs(values[i] - values[j]) * scale[i, j]
                if z > largest:
                    largest = z
                    pair = i * variants + j
    return largest, pair


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
