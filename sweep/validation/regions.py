"""Regions of good settings: which of the best lie together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.search.neighbourhood import is_free, scaled
from sweep.strategy.parameters import Categorical
from sweep.strategy.space import SearchSpace

__all__ = ["Cluster", "clusters_of"]

#: Good settings: the best tenth, from 5 to 2,000 of them.
_GOOD, _FEWEST_GOOD, _MOST_GOOD = 0.1, 5, 2000
#: Steps by which neighbours differ at most: one along each of two axes is near, two are not.
_REACH = 1.5


@dataclass(frozen=True)
class Cluster:
    """Good settings that lie together.

    Attributes
    ----------
    size : int
    share : float
        Of all good settings.
    trial : int
        The best of them.
    best, median : float
        Of the objective.
    ranges : dict of str to (object, object)
        Lowest and highest value of each number, ``(choice, choice)`` or several choices.
    winner : bool
        Whether the winner is one of them.
    """

    size: int
    share: float
    trial: int
    best: float
    median: float
    ranges: dict[str, tuple[Any, ...]]
    winner: bool


def clusters_of(
    space: SearchSpace,
    rows: FloatArray2D,
    values: FloatArray1D,
    numbers: IntArray1D,
    worth: FloatArray1D,
    winner: int,
) -> tuple[tuple[Cluster, ...], int]:
    """Return groups of good settings, and how many are good.

    Two good settings are together where they differ by at most a step and a half: of a
    parameter's levels, or of as many evenly spread trials where it has more. Those with
    other choices are apart.

    Parameters
    ----------
    space : SearchSpace
    rows : ndarray of shape (n_trials, n_params), float64
        Canonical.
    values, worth : ndarray of shape (n_trials,), float64
        Of the objective; higher is better in the latter, minus infinity without a value.
    numbers : ndarray of shape (n_trials,), int64
    winner : int
        Place of the winner.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    known = np.flatnonzero(worth > -math.inf)
    n = min(max(math.ceil(_GOOD * len(known)), _FEWEST_GOOD), _MOST_GOOD, len(known))
    good = known[np.argsort(-worth[known], kind="stable")[:n]]
    points = scaled(space, rows[good])
    numeric = [i for i, p in enumerate(space.parameters) if is_free(p)]
    spread = len(known) ** (-1.0 / max(len(numeric), 1))
    for i in range(points.shape[1]):
        if i in numeric:
            levels = len(np.unique(rows[known, i]))
            points[:, i] /= max(1.0 / max(levels - 1, 1), spread)
        else:
            points[:, i] *= 2.0 * _REACH
    pairs = cKDTree(points).query_pairs(_REACH, output_type="ndarray")
    ones = np.ones(len(pairs), np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    n_groups, group = connected_components(graph, directed=False)
    found = []
    for k in range(n_groups):
        places = good[group == k]
        top = places[int(np.argmax(worth[places]))]
        found.append(
            Cluster(
                size=len(places),
                share=len(places) / n,
                trial=int(numbers[top]),
                best=float(values[top]),
                median=float(np.median(values[places])),
                ranges=_ranges(space, rows[places]),
                winner=bool((places == winner).any()),
            )
        )
    found.sort(key=lambda c: (-c.size, c.trial))
    return tuple(found), n


def _ranges(space: SearchSpace, rows: FloatArray2D) -> dict[str, tuple[Any, ...]]:
    _, active = space.settled(rows)
    found: dict[str, tuple[Any, ...]] = {}
    for i, values in enumerate(space.decoded(rows)):
        p = space.parameters[i]
        own = [v for v, counts in zip(values, active[:, i], strict=True) if counts]
        if not own or p.count == 1:
            continue
        if isinstance(p, Categorical):
            found[p.name] = tuple(dict.fromkeys(sorted(own, key=list(p.choices).index)))
        else:
            found[p.name] = (min(own), max(own))
    return found
