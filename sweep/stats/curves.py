"""Compiled cores: what one resampled sequence of results comes to.

A sequence is steps (profits of sessions or trades, in cash) and an order in which to take
them. Sums are taken in that order, so a path's bits depend on nothing but the path.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit

from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = [
    "SESSION_COLUMNS",
    "Curve",
    "curve",
    "longest_streak",
    "session_statistics",
    "sharpe_influence",
    "shuffle",
]


class Curve(NamedTuple):
    """What a curve of cumulated steps comes to.

    Places count steps: 0 is the start, i the curve after i steps.

    Attributes
    ----------
    total : float
        Sum of the steps.
    drop : float
        Greatest fall from a high, in the unit of the steps; 0 if it never falls. The start
        is a high.
    drop_from, drop_to : int
        Places of that high (the last time it was reached) and of its trough.
    relative : float
        Greatest fall as a fraction of its high.
    under_from, under_to : int
        Places of the longest time under water: from the last time at a high to the first
        time that the curve is at or above it again, or to its end.
    censored : bool
        Whether the longest time under water has not ended.
    """

    total: float
    drop: float
    drop_from: int
    drop_to: int
    relative: float
    under_from: int
    under_to: int
    censored: bool


@njit(cache=True, error_model="numpy")
def curve(steps: FloatArray1D, order: IntArray1D, start: float) -> Curve:
    """Return drawdown and time under water of a curve.

    Parameters
    ----------
    steps : ndarray of shape (n_steps,), float64
    order : ndarray of shape (n_path,), int64
        Which step comes when, in ``[0, n_steps)``.
    start : float
        Where the curve begins, a peak: the capital; 0 if relative falls are not asked for.

    Returns
    -------
    Curve
        ``relative`` is NaN where a high is not positive.
    """
    total = 0.0
    peak = start
    peak_at = 0
    drop = 0.0
    drop_from = 0
    drop_to = 0
    relative = 0.0
    under_from = 0
    under_to = 0
    under = False
    censored = False
    for i in range(order.size):
        total += steps[order[i]]
        equity = start + total
        if equity >= peak:
            if under and i + 1 - peak_at > under_to - under_from:
                under_from = peak_at
                under_to = i + 1
            under = False
            peak = equity
            peak_at = i + 1
        else:
            under = True
            fall = peak - equity
            if fall > drop:
                drop = fall
                drop_from = peak_at
                drop_to = i + 1
            if not peak > 0.0:
                relative = math.nan
            elif fall / peak > relative:  # false for NaN: it stays
                relative = fall / peak
    if under and order.size - peak_at > under_to - under_from:
        under_from = peak_at
        under_to = order.size
        censored = True
    return Curve(total, drop, drop_from, drop_to, relative, under_from, under_to, censored)


@njit(cache=True, error_model="numpy")
def longest_streak(steps: FloatArray1D, order: IntArray1D, sign: float) -> int:
    """Return the most steps in a row that lose (``sign`` -1) or win (``sign`` 1).

    Parameters
    ----------
    steps, order
        As in `curve`. A step of 0 does neither and breaks a streak.
    sign : float
    """
    longest = 0
    running = 0
    for i in range(order.size):
        if sign * steps[order[i]] > 0.0:
            running += 1
            if running > longest:
                longest = running
        else:
            running = 0
    return longest


@njit(cache=True, error_model="numpy")
def shuffle(draws: FloatArray1D, out: IntArray1D) -> None:
    """Write a permutation of 0 to n - 1 into ``out``.

    Parameters
    ----------
    draws : ndarray of shape (n,), float64
        Uniform on ``[0, 1)``; the first is not used.
    out : ndarray of shape (n,), int64

    References
    ----------
    Fisher & Yates; Durstenfeld (1964), Algorithm 235, Communications of the ACM 7(7).
    """
    for i in range(out.size):
        out[i] = i
    for i in range(out.size - 1, 0, -1):
        j = int(draws[i] * (i + 1))
        out[i], out[j] = out[j], out[i]


#: Columns that `session_statistics` writes for each variant.
SESSION_COLUMNS = (
    "total",
    "mean",
    "sharpe",
    "max_drawdown",
    "relative_drawdown",
    "longest_under_water",
    "open_at_end",
    "mean_error",
    "sharpe_error",
)


@njit(cache=True, error_model="numpy")
def sharpe_influence(deviation: float, sd: float, sharpe: float) -> float:
    """Return what one result adds to the error of a Sharpe ratio.

    ``d / s - S / 2 (d**2 / s**2 - 1)``, d being the result less the mean: the delta method,
    Lo (2002), The statistics of Sharpe ratios, FAJ 58(4), appendix A.
    """
    z = deviation / sd
    return z - 0.5 * sharpe * (z * z - 1.0)


@njit(cache=True, error_model="numpy")
def session_statistics(
    profits: FloatArray2D, positions: IntArray1D, capital: float, out: FloatArray2D
) -> None:
    """Write the statistics of one path of sessions, for every variant by the same positions.

    Parameters
    ----------
    profits : ndarray of shape (n_variants, n_sessions), float64
        In cash, or as fractions of a fixed capital.
    positions : ndarray of shape (n_sessions,), int64
        Sessions in the order of the path.
    capital : float
        NaN where relative drawdown is not asked for.
    out : ndarray of shape (n_variants, 9), float64
        By `SESSION_COLUMNS`. The Sharpe ratio is that of a session, mean / sd with
        ddof=1; it and its error are NaN without variance. Times count sessions. Errors
        are those that the blocks of the path show, 0 where it is one block or does not vary::

            error**2 = sum over blocks of (sum over the block of influence)**2 / n**2

    References
    ----------
    Goetze & Kuensch (1996), Second-order correctness of the blockwise bootstrap, Annals of
    Statistics 24(5), eq. 2.9: studentising by the blocks that were drawn.
    """
    n = positions.size
    for v in range(profits.shape[0]):
        steps = profits[v]
        found = curve(steps, positions, 0.0 if math.isnan(capital) else capital)
        mean = found.total / n
        squares = 0.0
        for t in range(n):
            deviation = steps[positions[t]] - mean
            squares += deviation * deviation
        sd = math.sqrt(squares / n)
        # A sum of n equal numbers may be off by n ulps.
        flat = sd <= 1e-11 * abs(mean)
        sharpe = math.nan if flat else mean / math.sqrt(squares / (n - 1))
        blocks = 1
        of_mean = 0.0
        of_sharpe = 0.0
        in_mean = 0.0
        in_sharpe = 0.0
        for t in range(n):
            if t > 0 and positions[t] != (positions[t - 1] + 1) % steps.size:
                blocks += 1
                of_mean += in_mean * in_mean
                of_sharpe += in_sharpe * in_sharpe
                in_mean = 0.0
                in_sharpe = 0.0
            deviation = steps[positions[t]] - mean
            in_mean += deviation
            if not flat:
                in_sharpe += sharpe_influence(deviation, sd, mean / sd)
        of_mean += in_mean * in_mean
        of_sharpe += in_sharpe * in_sharpe
        if flat or blocks == 1:  # what is left is rounding
            of_mean = 0.0
            of_sharpe = 0.0
        out[v, 0] = found.total
        out[v, 1] = mean
        out[v, 2] = sharpe
        out[v, 3] = found.drop
        out[v, 4] = math.nan if math.isnan(capital) else found.relative
        out[v, 5] = found.under_to - found.under_from
        out[v, 6] = 1.0 if found.censored else 0.0
        out[v, 7] = math.sqrt(of_mean) / n
        out[v, 8] = math.nan if flat else math.sqrt(of_sharpe) / n
