"""The neighbourhood of a variant, to see whether it stands on a plateau or on a peak.

A sensitivity, not a test: neighbours trade the same history and share its luck. Parameters
are compared in *scaled* coordinates, each on its own scale: the share of its range, of the
logarithms where it is searched logarithmically. Which points to evaluate is decided here, and
what their values show; evaluating them is up to the caller.

The plateau score needs no evaluation: it compares finished trials with each other. The best
trial of many is the best partly by luck. What its nearest neighbours got tells whether the
place is good or the point alone: on a plateau they are nearly as good, around a peak they are
not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.search import designs
from sweep.stats.response_surface import sign_of
from sweep.strategy.parameters import Categorical, Number, Override, Parameter
from sweep.strategy.space import SearchSpace

__all__ = [
    "Plateau",
    "Profile",
    "box",
    "distance_coordinates",
    "is_free",
    "neighbours",
    "plateau_scores",
    "plateau_width",
    "profiles",
    "scaled",
]

#: Half the side of the box, as a share of each parameter's range.
RADIUS = 0.1

#: Trials whose neighbours are looked up at once.
CHUNK = 4096

#: Points drawn for one that is wanted, before a box counts as having no more.
PATIENCE = 64


# -- scale -----------------------------------------------------------------------------


def is_free(p: Parameter) -> TypeGuard[Number]:
    """Whether a parameter is a number that has more than one value."""
    return isinstance(p, Number) and p.count != 1


def scaled(space: SearchSpace, points: FloatArray2D) -> FloatArray2D:
    """Return points in scaled coordinates.

    Parameters
    ----------
    space : SearchSpace
    points : ndarray of shape (n_points, n_params), float64
        Encoded.

    Returns
    -------
    ndarray of shape (n_points, n_params), float64
        In ``[0, 1]`` over the range of a real or an integer; the number of the choice of a
        categorical or boolean; 0 for a parameter with one value.
    """
    out = np.zeros(points.shape)
    for i, p in enumerate(space.parameters):
        if isinstance(p, Categorical):
            out[:, i] = points[:, i]
        elif is_free(p):
            low, high = p.ends
            out[:, i] = ((np.log(points[:, i]) if p.log else points[:, i]) - low) / (high - low)
    return out


def _unscaled(p: Number, coordinate: float) -> float:
    low, high = p.ends
    value = low + coordinate * (high - low)
    return min(max(math.exp(value) if p.log else value, p.low), p.high)


def box(space: SearchSpace, point: FloatArray1D, radius: float = RADIUS) -> SearchSpace:
    """Return the part of a space around a variant.

    Parameters
    ----------
    space : SearchSpace
    point : ndarray of shape (n_params,), float64
        Encoded and canonical.
    radius : float, optional
        Share of each parameter's range, in ``(0, 1]``, to either side; the box ends where the
        range does. Of stepped values and integers, at least the next to either side belong.

    Returns
    -------
    SearchSpace
        Categorical and boolean parameters have the variant's choice alone.

    Raises
    ------
    InputError
        For a radius outside its range.
    """
    if not 0.0 < radius <= 1.0:
        raise InputError(f"a radius is a share of the range, above 0 and up to 1, found {radius:g}")
    values = space.decode(point)
    centre = scaled(space, point[np.newaxis])[0]
    part = space
    for i, p in enumerate(space.parameters):
        if not is_free(p):
            if isinstance(p, Categorical):
                part = part.restrict(p.name, Override(fixed=values[p.name]))
            continue
        low = _unscaled(p, max(centre[i] - radius, 0.0))
        high = _unscaled(p, min(centre[i] + radius, 1.0))
        if p.step is not None:
            here, last = p.nearest(float(point[i])), (p.count or 1) - 1
            first = min(math.ceil((low - p.low) / p.step - 1e-9), here - 1)
            final = max(math.floor((high - p.low) / p.step + 1e-9), here + 1)
            low, high = p.level(max(first, 0)), p.level(min(final, last))
        part = part.restrict(p.name, Override(low=low, high=high, step=p.step))
    return part


def neighbours(
    space: SearchSpace, point: FloatArray1D, n: int, *, seed: int, radius: float = RADIUS
) -> FloatArray2D:
    """Return variants spread evenly over the box around one.

    Parameters
    ----------
    space : SearchSpace
    point : ndarray of shape (n_params,), float64
        Encoded and canonical.
    n : int
        How many to return, at least 1.
    seed : int
        Of the scrambled Sobol sequence, see `sweep.search.designs.sobol`.
    radius : float, optional
        See `box`.

    Returns
    -------
    ndarray of shape (n_neighbours, n_params), float64
        Canonical, valid, distinct, without the variant itself; fewer than n where the box
        has no more. The first n of 2 n are the same.

    Raises
    ------
    InputError
        For n below 1 or a radius outside its range; `sweep.errors.SpaceError` if the
        constraint leaves hardly any point.
    """
    if n < 1:
        raise InputError(f"a neighbourhood needs at least 1 point, found {n}")
    part = box(space, point, radius)
    if not any(map(is_free, part.parameters)):
        return np.empty((0, point.size))
    design = designs.sobol(part, seed)
    size = part.size()
    distinct: dict[bytes, FloatArray1D] = {}
    for first in range(0, PATIENCE * n, n):
        for drawn in _in_space(space, point, design.points(first, n)):
            if not np.array_equal(drawn, point):
                distinct.setdefault(drawn.tobytes(), drawn)
        if len(distinct) >= n or (size is not None and len(distinct) >= size - 1):
            break
    kept = list(distinct.values())[:n]
    return np.stack(kept) if kept else np.empty((0, point.size))


def _in_space(space: SearchSpace, point: FloatArray1D, boxed: FloatArray2D) -> FloatArray2D:
    """Return points of a box as points of its space, whose choices and defaults are others."""
    points = boxed.copy()
    for i, p in enumerate(space.parameters):
        if isinstance(p, Categorical):
            points[:, i] = point[i]
        elif is_free(p) and p.step is not None:
            # Counted from another low, a level may have other bits.
            points[:, i] = p.level(p.nearest(points[:, i]))
    points, _ = space.settled(points)
    return points[space.valid_points(points)]


# -- profiles --------------------------------------------------------------------------


@dataclass(frozen=True)
class Profile:
    """Variants that differ in one parameter.

    Attributes
    ----------
    name : str
        Of the parameter.
    levels : ndarray of shape (n_levels,), float64
        Its values, ascending, the variant's own among them.
    coordinates : ndarray of shape (n_levels,), float64
        The same, scaled.
    centre : int
        Place of the variant's own.
    points : ndarray of shape (n_levels, n_params), float64
        The variants, canonical and valid.
    """

    name: str
    levels: FloatArray1D
    coordinates: FloatArray1D
    centre: int
    points: FloatArray2D


def profiles(
    space: SearchSpace, point: FloatArray1D, *, points: int = 11, radius: float = 1.0
) -> tuple[Profile, ...]:
    """Return, for each parameter, variants along it through one variant.

    Parameters
    ----------
    space : SearchSpace
    point : ndarray of shape (n_params,), float64
        Encoded and canonical.
    points : int, optional
        Levels, at least 2, evenly spaced on the parameter's scale; all of them where there
        are no more. The variant's own is added if it is not one of these.
    radius : float, optional
        As in `box`; 1 for the whole range.

    Returns
    -------
    tuple of Profile
        Of the reals and integers that count for the variant and have more than one value.

    Raises
    ------
    InputError
        For fewer than 2 points or a radius outside its range.
    """
    if points < 2:
        raise InputError(f"a profile needs at least 2 points, found {points}")
    part = box(space, point, radius)
    active = space.active_names(point)
    lines = []
    for i, p in enumerate(part.parameters):
        if not is_free(p) or p.name not in active:
            continue
        levels = np.array([_unscaled(p, u) for u in np.linspace(0.0, 1.0, points)])
        unrestricted = space.parameters[i]
        if is_free(unrestricted) and unrestricted.step is not None:
            levels = unrestricted.level(unrestricted.nearest(levels))
        levels = np.unique(np.append(levels, point[i]))
        along = np.repeat(point[np.newaxis], levels.size, axis=0)
        along[:, i] = levels
        along, active_here = space.settled(along)
        along = along[space.valid_points(along) & active_here[:, i]]
        lines.append(
            Profile(
                name=p.name,
                levels=along[:, i].copy(),
                coordinates=scaled(space, along)[:, i],
                centre=int(np.searchsorted(along[:, i], point[i])),
                points=along,
            )
        )
    return tuple(lines)


def plateau_width(
    coordinates: FloatArray1D,
    values: FloatArray1D,
    centre: int,
    threshold: float,
    direction: str = "maximize",
) -> float:
    """Return how far one can go along a profile before the objective gets too bad.

    Parameters
    ----------
    coordinates : ndarray of shape (n_levels,), float64
        Ascending, see `Profile`.
    values : ndarray of shape (n_levels,), float64
        Of the objective; NaN counts as too bad.
    centre : int
        Place of the variant.
    threshold : float
        The worst value that is good enough.
    direction : str, optional
        ``"maximize"`` or ``"minimize"``.

    Returns
    -------
    float
        Length of the unbroken stretch of levels around the variant that are good enough, as
        a share of the range; 0 if it is alone, or not good enough itself.
    """
    good = sign_of(direction) * (values - threshold) >= 0.0
    if not good[centre]:
        return 0.0
    first = last = centre
    while first > 0 and good[first - 1]:
        first -= 1
    while last + 1 < good.size and good[last + 1]:
        last += 1
    return float(coordinates[last] - coordinates[first])


# -- plateau score ---------------------------------------------------------------------


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


def distance_coordinates(space: SearchSpace, points: FloatArray2D) -> FloatArray2D:
    """Return coordinates whose Euclidean distance compares variants.

    Parameters
    ----------
    space : SearchSpace
    points : ndarray of shape (n_points, n_params), float64
        Encoded and canonical.

    Returns
    -------
    ndarray of shape (n_points, n_coordinates), float64
        Scaled coordinates of reals and integers (see `scaled`); for
        each choice of a categorical or boolean a coordinate that is 1 / sqrt(2) where it
        holds, so that two variants with other choices are 1 apart, as if at both ends of a
        range.
    """
    units = scaled(space, points)
    columns = []
    for i, p in enumerate(space.parameters):
        if is_free(p):
            columns.append(units[:, i])
        elif isinstance(p, Categorical):
            columns.extend((points[:, i] == c) * math.sqrt(0.5) for c in range(len(p.choices)))
    return np.stack(columns, axis=1) if columns else np.zeros((len(points), 1))


def plateau_scores(
    space: SearchSpace,
    points: FloatArray2D,
    values: FloatArray1D,
    direction: str = "maximize",
    k: int | None = None,
) -> Plateau:
    """Return how every finished trial compares with its nearest neighbours.

    Parameters
    ----------
    space : SearchSpace
    points : ndarray of shape (n_trials, n_params), float64
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
    if points.ndim != 2 or points.shape != (values.size, len(space.parameters)):
        raise InputError(
            f"expected {values.size} points of {len(space.parameters)} parameters, found shape "
            f"{points.shape}"
        )
    if k is None:
        k = max(4, 2 * sum(p.count != 1 for p in space.parameters))
    if k < 1:
        raise InputError(f"a plateau needs at least 1 neighbour, found {k}")
    n = values.size
    median, distance = np.full(n, math.nan), np.full(n, math.nan)
    counts = np.zeros(n, np.int64)
    reasons = np.full(n, None, object)
    distinct, first, where = np.unique(points, axis=0, return_index=True, return_inverse=True)
    where = where.reshape(-1)
    if len(distinct) <= k:
        text = f"{len(distinct)} distinct trials have no {k} neighbours each"
        reasons[:] = text
        return Plateau(k, np.full(n, math.nan), median, distance, counts, reasons)
    score_of = np.where(np.isnan(values[first]), -math.inf, sign * values[first])
    coordinates = distance_coordinates(space, distinct)
    tree = cKDTree(coordinates)
    of_median, of_distance = np.empty(len(distinct)), np.empty(len(distinct))
    of_count = np.empty(len(distinct), np.int64)
    for begin in range(0, len(distinct), CHUNK):
        chunk = coordinates[begin : begin + CHUNK]
        reach = tree.query(chunk, k + 1)[0][:, -1]
        near = tree.query_ball_point(chunk, reach * (1.0 + 1e-9) + 1e-12)
        for i, neighbours_of in enumerate(near, begin):
            others = score_of[[j for j in neighbours_of if j != i]]
            of_median[i] = np.median(others)
            of_count[i] = others.size
        of_distance[begin : begin + CHUNK] = reach
    better, value = of_median[where], np.where(np.isnan(values), math.nan, sign * values)
    distance, counts = of_distance[where], of_count[where]
    reasons[np.isneginf(better)] = "half of its neighbours or more have no value"
    reasons[value == 0.0] = "its objective is 0, and nothing is relative to that"
    reasons[np.isnan(value)] = "it has no value"
    defined = np.array([reason is None for reason in reasons], bool)
    median = np.where(np.isneginf(better), math.nan, sign * better)
    score = np.full(n, math.nan)
    score[defined] = 1.0 + (better[defined] - value[defined]) / np.abs(value[defined])
    return Plateau(k, score, median, distance, counts, reasons)
