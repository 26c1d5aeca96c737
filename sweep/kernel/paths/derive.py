"""The ticks of a resampled path, from its source's columns.

A path is never written out. It is an array of *pieces* (`PIECE`): stretches of source
ticks, each with a level and a shift of the clock. Within a piece every tick of the path
follows from one tick of the source:

- The mid is ``factor`` times the source's: changes of the log mid are kept, and summed up
  they are a constant factor. ``offset`` (ticks of the grid) moves the quote instead, where
  changes of the mid itself are kept.
- Bid and ask are rounded together: the bid to the grid, the ask as many ticks above (or
  below, in a crossed quote) as in the source, so that a spread of k ticks stays one.
- ``factor`` 1 and ``offset`` 0 give the source to the bit.

A price of ``k`` ticks is to be the double nearest to the decimal. A division would give
it, and take longer than all the rest; ``k * high + k * low`` gives the same double. With
``high + low`` the size of a tick to 75 bits, ``high`` of at most 22 bits and ``k`` of at
most 31, the first product is exact and the sum is off by less than ``2**-75`` of itself
before its one rounding. A price ``k / d`` that is no double lies at least ``2**-54 / d``
of itself from where rounding turns, which is more for ``d`` up to ``2**20``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numba import njit

__all__ = ["MOST_TICKS", "NO_GRID", "PIECE", "ROUND", "SESSION", "Grid", "derive_quotes", "grid_of"]

#: A stretch of source ticks within a path.
PIECE = np.dtype(
    [
        ("first", "<i8"),  # source tick
        ("end", "<i8"),  # after the last one
        ("shift", "<i8"),  # nanoseconds added to its stamps
        ("factor", "<f8"),
        ("offset", "<f8"),  # a whole number of ticks of the grid
        ("place", "<i8"),  # number of its session (or block) times `SESSION`, and its slot
    ]
)

#: More than the slots of any session.
SESSION = 1 << 24

#: Added and taken off again, this rounds to the nearest whole number (below 2**51).
ROUND = 6755399441055744.0

_HIGH_BITS = 22
_MOST_PER_UNIT = 1 << 20
#: Ticks of the highest price on a grid.
MOST_TICKS = float(1 << 31)


class Grid(NamedTuple):
    """The grid of prices: ticks in a unit of price, and the size of a tick in two parts.

    ``per_unit`` is 0 where there is no grid.
    """

    per_unit: float
    high: float
    low: float


NO_GRID = Grid(0.0, 0.0, 0.0)


def grid_of(per_unit: Fraction) -> Grid:
    """Return the grid of ``per_unit`` ticks in a unit of price.

    Parameters
    ----------
    per_unit : Fraction
        A whole number up to 2**20, or one over a whole number.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if per_unit <= 0 or 1 not in (per_unit.numerator, per_unit.denominator):
        raise ValueError(f"{per_unit} ticks in a unit")
    if per_unit.denominator > 1:
        return Grid(float(per_unit), float(1 / per_unit), 0.0)
    if per_unit > _MOST_PER_UNIT:
        raise ValueError(f"{per_unit} ticks in a unit; at most {_MOST_PER_UNIT}")
    size = 1 / per_unit
    mantissa, exponent = math.frexp(float(size))
    high = math.ldexp(math.floor(mantissa * (1 << _HIGH_BITS)), exponent - _HIGH_BITS)
    return Grid(float(per_unit), high, float(size - Fraction(high)))


@njit(error_model="numpy")
def derive_quotes(
    bid: Any,
    ask: Any,
    first: int,
    n: int,
    factor: float,
    offset: float,
    per_unit: float,
    high: float,
    low: float,
    half: float,
    out_bid: Any,
    out_ask: Any,
    at: int,
) -> None:
    """Write the quotes of ``n`` ticks of a piece, from source tick ``first`` on.

    Parameters
    ----------
    bid, ask : ndarray of shape (n_ticks,), float64
        The source's.
    first, n : int
    factor, offset : float
        See `PIECE`.
    per_unit, high, low : float
        See `Grid`.
    half : float
        Half-spread to be put around the quotes.
    out_bid, out_ask : ndarray of shape (at least at + n,), float64
    at : int
        Place of the first of them.
    """
    bids = bid[first : first + n]
    asks = ask[first : first + n]
    new_bids = out_bid[at : at + n]
    new_asks = out_ask[at : at + n]
    if per_unit != 0.0:
        own = per_unit * (0.5 * (factor + 1.0))
        other = per_unit * (0.5 * (factor - 1.0))
        for i in range(n):
            b = bids[i]
            a = asks[i]
            below = ((b * own + a * other + ROUND) - ROUND) + offset
            above = below + (((a - b) * per_unit + ROUND) - ROUND)
            new_bids[i] = (below * high + below * low) - half
            new_asks[i] = (above * high + above * low) + half
    else:
        same = factor == 1.0
        for i in range(n):
            b = bids[i]
            a = asks[i]
            middle = 0.5 * (b + a) * factor
            wide = 0.5 * (a - b)
            new_bids[i] = (b if same else middle - wide) - half
            new_asks[i] = (a if same else middle + wide) + half
