"""How much the choice of each parameter wanders from fold to fold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.schema import FloatArray1D, FloatArray2D
from sweep.strategy.parameters import Categorical, Number, Parameter
from sweep.strategy.space import SearchSpace

__all__ = ["Wander", "wander_of"]


@dataclass(frozen=True)
class Wander:
    """How much the choice of one parameter wanders from fold to fold.

    Attributes
    ----------
    name : str
    values : tuple
        By fold; None where nothing was chosen or it does not count.
    distinct : int
    moved : float
        Mean step between successive folds, as a share of the range (on its scale); of a
        categorical, the share of steps that change it. Between all pairs of folds where they
        do not follow on each other. NaN with fewer than two values.
    at_random : float
        What it would be on average, were each fold's value drawn from the range at random.
    """

    name: str
    values: tuple[Any, ...]
    distinct: int
    moved: float
    at_random: float


def wander_of(
    space: SearchSpace,
    rows: Sequence[FloatArray1D | None],
    *,
    sequential: bool,
    searched: FloatArray2D | None = None,
) -> tuple[Wander, ...]:
    """Return how the choices wander, for each parameter with more than one value.

    Parameters
    ----------
    space : SearchSpace
    rows : sequence of ndarray of shape (n_params,), float64, or None
        The choice of each fold, encoded; None where it chose nothing.
    sequential : bool
        Whether folds follow on each other in time.
    searched : ndarray of shape (n_variants, n_params), float64, optional
        What each fold chose from; without it, the range.
    """
    shown = [{} if row is None else _active(space, row) for row in rows]
    found = []
    for i, p in enumerate(space.parameters):
        numbers = np.array(
            [
                math.nan if row is None or p.name not in values else _scaled(p, row[i])
                for row, values in zip(rows, shown, strict=True)
            ]
        )
        chosen = tuple(values.get(p.name) for values in shown)
        if searched is not None:
            # Where it does not count, it has its default.
            counts_here = space.settled(searched)[1][:, i]
            levels, counts = np.unique(searched[counts_here, i], return_counts=True)
            pool = np.array([_scaled(p, level) for level in levels])
            weights = counts.astype(np.float64)
            if len(pool) < 2:
                continue
        elif p.count == 1:
            continue
        else:
            n = p.count if isinstance(p, Categorical) else 1001
            pool, weights = np.arange(n) / (1 if isinstance(p, Categorical) else n - 1), np.ones(n)
        steps = _steps(numbers, sequential)
        categorical = isinstance(p, Categorical)
        moved = (steps != 0.0).astype(np.float64) if categorical else steps
        found.append(
            Wander(
                p.name,
                chosen,
                len({v for v in chosen if v is not None}),
                float(moved.mean()) if len(moved) else math.nan,
                _expected_step(pool, weights, categorical),
            )
        )
    return tuple(found)


def _active(space: SearchSpace, row: FloatArray1D) -> dict[str, Any]:
    values = space.decode(row)
    return {name: values[name] for name in space.active_names(row)}


def _scaled(p: Parameter, value: float) -> float:
    """Return where in its range an encoded value lies, 0 to 1; of a categorical, its number."""
    if not isinstance(p, Number):
        return value
    if p.high == p.low:
        return 0.0
    if p.log:
        return math.log(value / p.low) / math.log(p.high / p.low)
    return (value - p.low) / (p.high - p.low)


def _steps(numbers: FloatArray1D, sequential: bool) -> FloatArray1D:
    known = numbers[np.isfinite(numbers)]
    if sequential:
        return np.abs(np.diff(known))
    a, b = np.triu_indices(len(known), 1)
    return np.abs(known[a] - known[b])


def _expected_step(pool: FloatArray1D, weights: FloatArray1D, categorical: bool) -> float:
    """Return the mean distance of two independent draws."""
    share = weights / weights.sum()
    if categorical:
        return float(1.0 - (share**2).sum())
    order = np.argsort(pool)
    below = np.cumsum(share[order])[:-1]
    return float(2.0 * (below * (1.0 - below) * np.diff(pool[order])).sum())
