"""Where the sessions of a search range cut its slices, and what was earned in each piece.

A *cell* is the part of a slice that lies in one session. Slices need not end where
sessions do, so that a session may have cells in several slices; what it earned is the sum
of them, and unknown while one of its slices was not evaluated.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sweep.schema import FloatArray1D, FloatArray2D, Slice

__all__ = ["Cell", "cells_of", "cut", "earned_in_cells", "session_sums"]


class Cell(NamedTuple):
    """The part of a slice that lies in one session.

    Attributes
    ----------
    place : int
        Of the slice, among those given.
    session : int
    """

    place: int
    session: int


def cut(part: Slice, edges: Sequence[int]) -> list[Slice]:
    """Cut a slice at the edges that lie within it.

    Parameters
    ----------
    part : Slice
    edges : sequence of int
        Ticks at which sessions begin, ascending, and the end of the last.
    """
    within = edges[bisect_right(edges, part.begin) : bisect_left(edges, part.end)]
    bounds = pairwise((part.begin, *within, part.end))
    return [part._replace(begin=a, end=b) for a, b in bounds]


def cells_of(slices: Sequence[Slice], edges: Sequence[int]) -> list[Cell]:
    """Return the cells of slices, slice by slice.

    Parameters
    ----------
    slices : sequence of Slice
        Those behind the last edge (which are no stretches of ticks) have none.
    edges : sequence of int
        See `cut`.
    """
    return [
        Cell(m, bisect_right(edges, piece.begin) - 1)
        for m, part in enumerate(slices)
        if part.begin < edges[-1]
        for piece in cut(part, edges)
    ]


def earned_in_cells(
    equity: FloatArray2D, cells: Sequence[Cell], before: FloatArray1D, *, carry_over: bool
) -> FloatArray2D:
    """Return what variants earned in each cell.

    Parameters
    ----------
    equity : ndarray of shape (n_variants, n_cells), float64
        At the end of each cell, an open position marked.
    cells : sequence of Cell
    before : ndarray of shape (n_variants,), float64
        Equity at the beginning: of the first slice, or with ``carry_over=False`` of each.
    carry_over : bool
        Whether the slices go on from each other.

    Returns
    -------
    ndarray of shape (n_variants, n_cells), float64
        Cash.
    """
    earned = equity.copy()
    for k, cell in enumerate(cells):
        anew = k == 0 or (not carry_over and cell.place != cells[k - 1].place)
        earned[:, k] -= before if anew else equity[:, k - 1]
    return earned


def session_sums(earned: FloatArray2D, cells: Sequence[Cell], n_sessions: int) -> FloatArray2D:
    """Return what variants earned in each session; 0 in those without a cell.

    Parameters
    ----------
    earned : ndarray of shape (n_variants, n_cells), float64
    cells : sequence of Cell
        In the order of time, in which the cells of a session are added.
    n_sessions : int

    Returns
    -------
    ndarray of shape (n_variants, n_sessions), float64
    """
    sums = np.zeros((len(earned), n_sessions))
    for k, cell in enumerate(cells):
        sums[:, cell.session] += earned[:, k]
    return sums
