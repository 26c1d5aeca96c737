"""The plateau score of finished trials, from the trials that there are.

The best trial of many is the best partly by luck. What its nearest neighbours got tells
whether the place is good or the point alone: on a plateau they are nearly as good, around
a peak they are not. Nothing is evaluated for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.search.neighbourhood import is_free, scaled
from sweep.stats.response_surface import sign_of
from sweep.strategy.parameters import Categorical
from sweep.strategy.space import SearchSpace

__all__ = ["Plateau", "distance_coordinates", "plateau_scores"]

#: Trials whose neighbours are looked up at once.
CHUNK = 4096


@dataclass(frozen=True)
class Plateau:
    """How every trial compares with its neighbours.

    Attributes
    ----------
    k : int
        Neighbours that were looked for.
    score : ndarray of shape (n_trials,), float64
        ``1 + (m - v) / |v|``, v being the trial's objective and m the median of its
        neighbours' (both with their signs turned where it is minimised): 1 where the
        neighbours are as good, 0 where they lose all that it gains, above 1 where they are
        better. For a positive objective that is maximised it is m / v.
    median : ndarray of shape (n_trials,), float64
        Of the neighbours' objective, in its own unit and sign.
    distance : ndarray of shape (n_trials,), float64
        To the k-th neighbour, in scaled coordinates: how local the score is.
    n_neighbours : ndarray of shape (n_trials,), int64
        More than k where several are as far as the k-th.
    reasons : ndarray of shape (n_trials,), object
        Why a score is NaN; None where it is not.
    """

    k: int
    score: FloatArray1D
    median: FloatArray1D
    distance: FloatArray1D
    n_neighbours: IntArray1D
    reasons: NDArray[np.object_]


def distance_coordinates(space: SearchSpace, rows: FloatArray2D) -> FloatArray2D:
    """Return coordinates whose Euclidean distance compares variants.

    Parameters
    ----------
    space : SearchSpace
    rows : ndarray of shape (n_rows, n_params), float64
        Encoded and canonical.

    Returns
    -------
    ndarray of shape (n_rows, n_coordinates), float64
        Scaled coordinates of reals and integers (see `sweep.search.neighbourhood.scaled`); for
        each choice of a categorical or boolean a coordinate that is 1 / sqrt(2) where it
        holds, so that two variants with other choices are 1 apart, as if at both ends of a
        range.
    """
    units = scaled(space, rows)
    columns = []
    for i, p in enumerate(space.parameters):
        if is_free(p):
            columns.append(units[:, i])
        elif isinstance(p, Categorical):
            columns.extend((rows[:, i] == c) * math.sqrt(0.5) for c in range(len(p.choices)))
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 1))


def plateau_scores(
    space: SearchSpace,
    rows: FloatArray2D,
    values: FloatArray1D,
    direction: str = "maximize",
    k: int | None = None,
) -> Plateau:
    """Return how every finished trial compares with its nearest neighbours.

    Parameters
    ----------
    space : SearchSpace
    rows : ndarray of shape (n_trials, n_params), float64
        Encoded and canonical.
    values : ndarray of shape (n_trials,), float64
        Of the objective; NaN for a trial that has none. As a neighbour it counts as the
        worst of all.
    direction : str, optional
        ``"maximize"`` or ``"minimize"``.
    k : int, optional
        Neighbours, at least 1; twice the number of parameters that vary, and 4 or more, if
        not given.

    Returns
    -------
    Plateau
        Does not depend on the order of trials. Trials of one and the same variant count
        once. All neighbours that are as far as the k-th count, since on a grid it is not
        for the order of trials to choose among them.

    Raises
    ------
    InputError
        For arrays that do not fit, an unknown direction, or k below 1.
    """
    # scipy.spatial takes a tenth of a second to import.
    from scipy.spatial import cKDTree

    sign = sign_of(direction)
    if rows.ndim != 2 or rows.shape != (values.size, len(space.parameters)):
        raise InputError(
            f"expected {values.size} rows of {len(space.parameters)} parameters, found shape "
            f"{rows.shape}"
        )
    if k is None:
        k = max(4, 2 * sum(p.count != 1 for p in space.parameters))
    if k < 1:
        raise InputError(f"a plateau needs at least 1 neighbour, found {k}")
    n = values.size
    median, distance = np.full(n, math.nan), np.full(n, math.nan)
    counts = np.zeros(n, np.int64)
    reasons = np.full(n, None, object)
    distinct, first, where = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    where = where.reshape(-1)
    if len(distinct) <= k:
        text = f"{len(distinct)} distinct trials have no {k} neighbours each"
        reasons[:] = text
        return Plateau(k, np.full(n, math.nan), median, distance, counts, reasons)
    worth = np.where(np.isnan(values[first]), -math.inf, sign * values[first])
    points = distance_coordinates(space, distinct)
    tree = cKDTree(points)
    of_median, of_distance = np.empty(len(distinct)), np.empty(len(distinct))
    of_count = np.empty(len(distinct), np.int64)
    for begin in range(0, len(distinct), CHUNK):
        chunk = points[begin : begin + CHUNK]
        reach = tree.query(chunk, k + 1)[0][:, -1]
        near = tree.query_ball_point(chunk, reach * (1.0 + 1e-9) + 1e-12)
        for i, found in enumerate(near, begin):
            others = worth[[j for j in found if j != i]]
            of_median[i] = np.median(others)
            of_count[i] = others.size
        of_distance[begin : begin + CHUNK] = reach
    better, own = of_median[where], np.where(np.isnan(values), math.nan, sign * values)
    distance, counts = of_distance[where], of_count[where]
    reasons[np.isneginf(better)] = "half of its neighbours or more have no value"
    reasons[own == 0.0] = "its objective is 0, and nothing is relative to that"
    reasons[np.isnan(own)] = "it has no value"
    defined = np.array([reason is None for reason in reasons], bool)
    median = np.where(np.isneginf(better), math.nan, sign * better)
    score = np.full(n, math.nan)
    score[defined] = 1.0 + (better[defined] - own[defined]) / np.abs(own[defined])
    return Plateau(k, score, median, distance, counts, reasons)
