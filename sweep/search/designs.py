"""Designs: points of a space numbered by position, without a model and without memory.

A grid, a random sample and a Sobol sequence each number their points from 0. What lies at
a position is a function of the space, the seed and the position alone, so a study may ask
for any stretch, in any order and in pieces of any length, and find the same bits. Points
that the strategy's constraint forbids are left out of the numbering.

Points come in fixed blocks. Where points are left out, the number that each block keeps
is remembered (a few bytes a block), and the last block's points: memory stays flat for
grids of any length.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import numpy as np

from sweep.errors import SpaceError
from sweep.schema import FloatArray2D
from sweep.strategy.space import SearchSpace

__all__ = ["Design", "grid", "random", "sobol"]

#: Points in a block before any are left out. A power of two, as Sobol's sequence is
#: balanced over such stretches.
BLOCK = 1024

#: Blocks without one valid point after which an endless design gives up: 65,536 draws.
FRUITLESS_BLOCKS = 64

#: Grids up to this many cells are counted through at once if points are left out.
COUNTED_AT_ONCE = 200_000

#: First words of the spawn keys, by which the streams of one seed are kept apart.
RANDOM_STREAM = 0x52414E44
SOBOL_STREAM = 0x534F424C


class Design:
    """Points of a space by position.

    Parameters
    ----------
    block : callable
        ``block(k)`` returns the points kept of the k-th block, ndarray of shape
        (n_kept, n_params), float64; a function of k alone.
    n_blocks : int or None
        None if endless.
    n_params : int
    bound : int or None
        Upper bound on the number of points; None if endless.
    exact : bool
        Whether ``bound`` is the number of points, that is, none are left out.
    """

    def __init__(
        self,
        block: Callable[[int], FloatArray2D],
        n_blocks: int | None,
        n_params: int,
        bound: int | None,
        exact: bool,
    ) -> None:
        self._block = block
        self._n_blocks = n_blocks
        self._n_params = n_params
        self.bound = bound
        self._size = bound if exact else None
        self._ends: list[int] = []  # positions after the last point of blocks 0, 1, ...
        self._kept: tuple[int, FloatArray2D] | None = None

    @property
    def size(self) -> int | None:
        """The number of points.

        None if there is no end, or if it is not known yet: of a large grid with points
        left out, it is known once `points` has come to the end. `bound` limits it.
        """
        if self._size is None and self.bound is not None and self.bound <= COUNTED_AT_ONCE:
            while self._extend():
                pass
        return self._size

    @property
    def expected(self) -> int | None:
        """`size`, or what it comes to if points are left out as they were so far.

        None if there is no end.
        """
        if self._size is not None or self._n_blocks is None or self.bound is None:
            return self._size
        seen = len(self._ends)
        return round(self._ends[-1] * self._n_blocks / seen) if seen else self.bound

    def points(self, first: int, count: int) -> FloatArray2D:
        """Return the points numbered ``first`` to ``first + count``, the latter excluded.

        Parameters
        ----------
        first, count : int
            Not negative.

        Returns
        -------
        ndarray of shape (n_points, n_params), float64
            Canonical, valid points; fewer than ``count`` where the design ends.

        Raises
        ------
        SpaceError
            If a strategy's function of parameters raises, or an endless design finds no
            valid point in 65,536 draws.
        """
        parts = []
        position, last = first, first + count
        while position < last:
            while not self._ends or self._ends[-1] <= position:
                if not self._extend():
                    break
            if not self._ends or self._ends[-1] <= position:
                break
            k = bisect_right(self._ends, position)
            begin = self._ends[k - 1] if k else 0
            part = self._points(k)[position - begin : last - begin]
            parts.append(part)
            position += len(part)
        return np.concatenate(parts) if parts else np.empty((0, self._n_params))

    def _extend(self) -> bool:
        """Count one block more; False if there is none."""
        k = len(self._ends)
        if k == self._n_blocks:
            self._size = self._ends[-1] if self._ends else 0
            return False
        before = self._ends[-1] if self._ends else 0
        self._ends.append(before + len(self._points(k)))
        # Blocks since the last point, the one that found it included.
        fruitless = len(self._ends) - bisect_left(self._ends, self._ends[-1])
        if self.bound is None and fruitless > FRUITLESS_BLOCKS:
            raise SpaceError(
                f"Params.valid() refused {FRUITLESS_BLOCKS * BLOCK:,} points in a row: ranges "
                "and constraint leave hardly any valid point; widen the ranges or ease it"
            )
        return True

    def _points(self, k: int) -> FloatArray2D:
        if self._kept is None or self._kept[0] != k:
            self._kept = (k, self._block(k))
        return self._kept[1]


# -- grid ------------------------------------------------------------------------------


def grid(space: SearchSpace, points: int | None = None) -> Design:
    """Return every combination of the parameters' levels, each canonical point once.

    The last parameter varies fastest. A parameter that does not count holds its default
    and does not multiply the grid.

    Parameters
    ----------
    space : SearchSpace
    points : int, optional
        Levels of an unstepped real that does not state its own number.

    Returns
    -------
    Design

    Raises
    ------
    SpaceError
        If a real has neither a step nor a number of points.
    """
    levels = [p.levels(points) for p in space.parameters]
    counts = tuple(len(level) for level in levels)
    total = math.prod(counts)
    exact = not space.conditional and not space.constrained

    def block(k: int) -> FloatArray2D:
        return space.cells(levels, k * BLOCK, min((k + 1) * BLOCK, total))

    return Design(block, -(-total // BLOCK), len(levels), total, exact)


# -- random and Sobol ------------------------------------------------------------------


def random(space: SearchSpace, seed: int) -> Design:
    """Return independent uniform points (log-uniform where a parameter is logarithmic).

    Parameters
    ----------
    space : SearchSpace
    seed : int

    Returns
    -------
    Design
        Endless. In a finite space points may come again.
    """
    n = len(space.parameters)

    def uniform(k: int) -> FloatArray2D:
        sequence = np.random.SeedSequence(seed, spawn_key=(RANDOM_STREAM, k))
        return np.random.default_rng(sequence).random((BLOCK, n))

    return Design(_block_of(space, uniform), None, n, None, exact=False)


def sobol(space: SearchSpace, seed: int, scramble: bool = True) -> Design:
    """Return the points of a Sobol sequence, spread more evenly than random ones.

    Parameters
    ----------
    space : SearchSpace
    seed : int
        Of the scrambling; without it the sequence does not depend on a seed.
    scramble : bool, optional
        Linear matrix scramble with a digital shift (Matousek 1998), as SciPy has it.

    Returns
    -------
    Design
        Endless for all purposes: 2**30 points before any are left out.

    References
    ----------
    Joe & Kuo (2008), Constructing Sobol sequences with better two-dimensional
    projections, SIAM J. Sci. Comput. 30(5).
    """
    # Half a second of imports that other samplers need not pay.
    from scipy.stats import qmc  # type: ignore[import-untyped, unused-ignore]

    n = len(space.parameters)
    state: list[tuple[int, qmc.Sobol]] = []  # the next block's number and its engine

    def engine_at(k: int) -> qmc.Sobol:
        if state and state[0][0] == k:
            return state[0][1]
        sequence = np.random.SeedSequence(seed, spawn_key=(SOBOL_STREAM,))
        engine = qmc.Sobol(max(n, 1), scramble=scramble, rng=np.random.default_rng(sequence))
        return engine.fast_forward(k * BLOCK) if k else engine

    def uniform(k: int) -> FloatArray2D:
        engine = engine_at(k)
        points: FloatArray2D = engine.random(BLOCK)
        state[:] = [(k + 1, engine)]
        return points[:, :n]

    return Design(_block_of(space, uniform), 2**30 // BLOCK, n, None, exact=False)


def _block_of(
    space: SearchSpace, uniform: Callable[[int], FloatArray2D]
) -> Callable[[int], FloatArray2D]:
    def block(k: int) -> FloatArray2D:
        points = from_uniform(space, uniform(k))
        if space.conditional:
            points, _ = space.settled(points)
        if space.constrained:
            points = points[space.valid_points(points)]
        return points

    return block


def from_uniform(space: SearchSpace, points: FloatArray2D) -> FloatArray2D:
    """Map points of the unit cube to points of a space.

    Parameters
    ----------
    space : SearchSpace
    points : ndarray of shape (n_points, n_params), float64
        In ``[0, 1)``.

    Returns
    -------
    ndarray of shape (n_points, n_params), float64
        Encoded points; neither canonical nor valid yet. Stepped values have the very bits
        of `sweep.strategy.parameters.Parameter.levels`.
    """
    columns = [p.from_uniform(points[:, i]) for i, p in enumerate(space.parameters)]
    return np.stack(columns, axis=1) if columns else np.empty((len(points), 0))
