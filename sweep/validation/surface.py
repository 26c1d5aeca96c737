"""The surface of a search: what the objective is where, from the trials that there are.

Nothing is evaluated. Cells are the levels of a parameter where it has few, else equal parts
of its range on its own scale. Samplers that learn visit good regions more often, so that
the medians of cells with few trials say little; counts are beside them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.search.neighbourhood import distance_coordinates, is_free, plateau_scores, scaled
from sweep.stats.response_surface import sign_of
from sweep.strategy.parameters import Categorical, Number, Parameter
from sweep.strategy.space import SearchSpace
from sweep.text import number
from sweep.validation.importance import importances
from sweep.validation.regions import Cluster, clusters_of

__all__ = ["Edge", "HeatMap", "Neighbour", "Profile", "Surface", "surface_of_trials"]

#: Cells along a parameter that has more levels than that.
CELLS = 8
#: Levels that are each a cell of their own.
MOST_LEVELS = 12
_NEIGHBOURS = 6


@dataclass(frozen=True)
class Profile:
    """The objective along one parameter.

    Attributes
    ----------
    name : str
    labels : tuple of str
        Of the cells, in their order.
    count : ndarray of shape (n_cells,), int64
        Trials with a value.
    median, best : ndarray of shape (n_cells,), float64
        Of the objective; NaN in cells without a value.
    winner : int
        Cell of the winner; -1 where the parameter does not count for it.
    """

    name: str
    labels: tuple[str, ...]
    count: IntArray1D
    median: FloatArray1D
    best: FloatArray1D
    winner: int


@dataclass(frozen=True)
class HeatMap:
    """The objective over two parameters; rows are the cells of ``y``.

    Attributes
    ----------
    x, y : str
    x_labels, y_labels : tuple of str
    count : ndarray of shape (n_y, n_x), int64
    median, best : ndarray of shape (n_y, n_x), float64
        NaN in cells without a value.
    winner : tuple of int
        Row and column; -1 where a parameter does not count for the winner.
    """

    x: str
    y: str
    x_labels: tuple[str, ...]
    y_labels: tuple[str, ...]
    count: NDArray[np.int64]
    median: FloatArray2D
    best: FloatArray2D
    winner: tuple[int, int]


@dataclass(frozen=True)
class Edge:
    """The winner lies at an end of a parameter's range.

    Attributes
    ----------
    name, side : str
        ``"low"`` or ``"high"``.
    value, low, high : float
    advice : str
    """

    name: str
    side: str
    value: float
    low: float
    high: float
    advice: str


@dataclass(frozen=True)
class Neighbour:
    """A trial near the winner.

    Attributes
    ----------
    trial : int
    distance : float
        In scaled coordinates: 1 is the whole range of a parameter.
    value : float
        Its objective; NaN if it has none.
    params : dict
    """

    trial: int
    distance: float
    value: float
    params: dict[str, Any]


@dataclass(frozen=True)
class Surface:
    """What the trials of a study say of its objective.

    Attributes
    ----------
    objective, direction : str
    trial : int
        The winner.
    value : float
        Its objective.
    params : dict
        Its values.
    n_trials : int
        Distinct trials with a value.
    profiles : tuple of Profile
        The most important parameter first, where importance is known.
    maps : tuple of HeatMap
        Of each pair, in the same order.
    edges : tuple of Edge
    clusters : tuple of Cluster
        The largest first.
    n_good : int
    plateau : float
        The winner's plateau score (`sweep.search.neighbourhood`): about 1 on a plateau, 0 where its
        neighbours lose all that it gains; NaN where it cannot be said.
    steady : int
        The best trial with a score of at least 0.8; -1 if there is none.
    steady_value : float
    importance : dict of str to float
        Shares that add up to 1; empty where it cannot be said.
    neighbours : tuple of Neighbour
    reasons : dict of str to str
        Why a part is missing.
    """

    objective: str
    direction: str
    trial: int
    value: float
    params: dict[str, Any]
    n_trials: int
    profiles: tuple[Profile, ...]
    maps: tuple[HeatMap, ...]
    edges: tuple[Edge, ...]
    clusters: tuple[Cluster, ...]
    n_good: int
    plateau: float
    steady: int
    steady_value: float
    importance: dict[str, float]
    neighbours: tuple[Neighbour, ...]
    reasons: dict[str, str] = field(default_factory=dict)


def surface_of_trials(
    space: SearchSpace,
    rows: FloatArray2D,
    values: FloatArray1D,
    numbers: IntArray1D,
    *,
    objective: str,
    direction: str = "maximize",
    plateau: FloatArray1D | None = None,
) -> Surface:
    """Return what trials say of their objective.

    Parameters
    ----------
    space : SearchSpace
    rows : ndarray of shape (n_trials, n_params), float64
        Encoded and canonical, one for each distinct variant that was evaluated.
    values : ndarray of shape (n_trials,), float64
        Of the objective; NaN for a trial that has none.
    numbers : ndarray of shape (n_trials,), int64
    objective : str
        Its name.
    direction : str, optional
        ``"maximize"`` or ``"minimize"``.
    plateau : ndarray of shape (n_trials,), float64, optional
        Plateau scores, where they are known.

    Raises
    ------
    InputError
        If no trial has a value, or arrays do not fit.
    """
    sign = sign_of(direction)
    if rows.shape != (len(values), len(space.parameters)) or len(numbers) != len(values):
        raise InputError(f"{len(values)} values do not fit rows of shape {rows.shape}")
    known = np.isfinite(values)
    if not known.any():
        raise InputError(f"no trial has a value of {objective}: there is no surface")
    worth = np.where(known, sign * values, -math.inf)
    winner = int(np.argmax(worth))
    _, active = space.settled(rows)
    reasons: dict[str, str] = {}
    importance, why = importances(space, rows[known], values[known], direction)
    if why:
        reasons["importance"] = why
    axes = [_axis(p, rows[:, i], active[:, i]) for i, p in enumerate(space.parameters)]
    shown = [i for i, p in enumerate(space.parameters) if p.count != 1]
    shown.sort(key=lambda i: -importance.get(space.names[i], 0.0))
    profiles = tuple(_profile(space.names[i], axes[i], worth, sign, winner) for i in shown)
    pairs = itertools.combinations(shown, 2)
    maps = tuple(
        _map(space.names[i], space.names[j], axes[i], axes[j], worth, sign, winner)
        for i, j in pairs
    )
    if plateau is None:
        plateau = plateau_scores(space, rows, values, direction).score
    steady = np.flatnonzero(known & (plateau >= 0.8))
    calm = int(steady[np.argmax(worth[steady])]) if len(steady) else -1
    if math.isnan(plateau[winner]):
        reasons["plateau"] = (
            f"{int(known.sum())} trials have a value, or the winner's neighbours have none"
        )
    points = distance_coordinates(space, rows)
    clusters, n_good = clusters_of(space, rows, values, numbers, worth, winner)
    return Surface(
        objective=objective,
        direction=direction,
        trial=int(numbers[winner]),
        value=float(values[winner]),
        params=_values(space, rows[winner], active[winner]),
        n_trials=int(known.sum()),
        profiles=profiles,
        maps=maps,
        edges=_edges(space, rows[winner], active[winner]),
        clusters=clusters,
        n_good=n_good,
        plateau=float(plateau[winner]),
        steady=int(numbers[calm]) if calm >= 0 else -1,
        steady_value=float(values[calm]) if calm >= 0 else math.nan,
        importance=importance,
        neighbours=_neighbours(space, rows, active, values, numbers, points, winner),
        reasons=reasons,
    )


# -- cells -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axis:
    """Cells of a parameter: labels, and the cell of each trial (-1: it does not count)."""

    labels: tuple[str, ...]
    cells: IntArray1D


def _axis(p: Parameter, column: FloatArray1D, active: NDArray[np.bool_]) -> _Axis:
    if isinstance(p, Categorical):
        cells = column.astype(np.int64)
        labels = tuple(str(choice) for choice in p.choices)
        return _Axis(labels, np.where(active, cells, -1))
    levels = np.unique(column[active])
    if len(levels) <= MOST_LEVELS:
        found = np.searchsorted(levels, column).astype(np.int64)
        return _Axis(tuple(number(float(v), 4) for v in levels), np.where(active, found, -1))
    assert isinstance(p, Number)
    ends = np.linspace(*p.ends, CELLS + 1)
    placed = np.log(column, where=column > 0.0, out=np.zeros(len(column))) if p.log else column
    cells = np.clip(np.searchsorted(ends, placed, side="right") - 1, 0, CELLS - 1)
    shown = [number(math.exp(e) if p.log else e, 3) for e in ends]
    labels = tuple(f"{a} to {b}" for a, b in itertools.pairwise(shown))
    return _Axis(labels, np.where(active, cells, -1).astype(np.int64))


def _by_cell(
    cells: IntArray1D, n_cells: int, worth: FloatArray1D, sign: float
) -> tuple[IntArray1D, FloatArray1D, FloatArray1D]:
    """Return count, median and best of each cell, in the objective's own sign."""
    here = (cells >= 0) & (worth > -math.inf)
    count = np.bincount(cells[here], minlength=n_cells).astype(np.int64)
    median, best = np.full(n_cells, math.nan), np.full(n_cells, math.nan)
    order = np.argsort(cells[here], kind="stable")
    parts = np.split(worth[here][order], np.cumsum(count)[:-1])
    for k, part in enumerate(parts):
        if len(part):
            median[k], best[k] = sign * float(np.median(part)), sign * float(part.max())
    return count, median, best


def _profile(name: str, axis: _Axis, worth: FloatArray1D, sign: float, winner: int) -> Profile:
    count, median, best = _by_cell(axis.cells, len(axis.labels), worth, sign)
    return Profile(name, axis.labels, count, median, best, int(axis.cells[winner]))


def _map(
    x: str, y: str, ax: _Axis, ay: _Axis, worth: FloatArray1D, sign: float, winner: int
) -> HeatMap:
    nx, ny = len(ax.labels), len(ay.labels)
    cells = np.where((ax.cells >= 0) & (ay.cells >= 0), ay.cells * nx + ax.cells, -1)
    count, median, best = _by_cell(cells, nx * ny, worth, sign)
    return HeatMap(
        x=x,
        y=y,
        x_labels=ax.labels,
        y_labels=ay.labels,
        count=count.reshape(ny, nx),
        median=median.reshape(ny, nx),
        best=best.reshape(ny, nx),
        winner=(int(ay.cells[winner]), int(ax.cells[winner])),
    )


# -- the winner ------------------------------------------------------------------------


def _values(space: SearchSpace, row: FloatArray1D, active: NDArray[np.bool_]) -> dict[str, Any]:
    values = space.decode(row)
    return {name: values[name] for name, counts in zip(space.names, active, strict=True) if counts}


def _edges(space: SearchSpace, row: FloatArray1D, active: NDArray[np.bool_]) -> tuple[Edge, ...]:
    """Return the parameters whose end the winner lies at, to within a 50th of the range."""
    found = []
    at = scaled(space, row[None])[0]
    for i, p in enumerate(space.parameters):
        if not is_free(p) or not active[i]:
            continue
        near = 1e-9 if p.step is not None else 0.02
        side = "low" if at[i] <= near else "high" if at[i] >= 1.0 - near else ""
        if not side:
            continue
        beyond = "below" if side == "low" else "above"
        advice = f"widen the range of {p.name} {beyond} that, if values there make sense"
        found.append(Edge(p.name, side, float(row[i]), p.low, p.high, advice))
    return tuple(found)


def _neighbours(
    space: SearchSpace,
    rows: FloatArray2D,
    active: NDArray[np.bool_],
    values: FloatArray1D,
    numbers: IntArray1D,
    points: FloatArray2D,
    winner: int,
) -> tuple[Neighbour, ...]:
    # Rounded: of steps that are as long on a grid, the first trial shall come first.
    away = np.round(np.sqrt(np.square(points - points[winner]).sum(axis=1)), 12)
    order = [k for k in np.argsort(away, kind="stable") if away[k] > 0.0][:_NEIGHBOURS]
    return tuple(
        Neighbour(
            int(numbers[k]), float(away[k]), float(values[k]), _values(space, rows[k], active[k])
        )
        for k in order
    )
