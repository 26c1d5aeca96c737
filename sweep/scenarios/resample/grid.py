"""The grid of a series' prices, found out or checked."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from sweep.errors import DataError
from sweep.kernel.paths.derive import MOST_TICKS, NO_GRID, Grid, derive_quotes, grid_of
from sweep.schema import Ticks

__all__ = ["find_grid"]

_BLOCK = 1 << 16

#: Ticks in a unit of price that are tried, the coarsest first.
_USUAL = sorted(
    {
        *(Fraction(1, n) for n in (100, 50, 25, 10, 5, 2)),
        *(Fraction(n * 10**k) for k in range(6) for n in (1, 2, 4)),
        *(Fraction(1 << k) for k in range(11)),
        Fraction(10**6),
    }
)


def find_grid(
    ticks: Ticks, begin: int, end: int, tick_size: float | None = None
) -> tuple[Grid, float]:
    """Return the coarsest usual grid on which all quotes lie, and the lowest price on it.

    Parameters
    ----------
    ticks : Ticks
    begin, end : int
    tick_size : float, optional
        Use this grid; 0: none.

    Returns
    -------
    grid : Grid
        `NO_GRID` where there is none.
    lowest : float
        In ticks of the grid; 0 without one.

    Raises
    ------
    DataError
        If a quote is no positive number, or does not lie on the grid that is asked for.
    """
    lowest, highest = _check(ticks, begin, end)
    if tick_size == 0.0:
        return NO_GRID, 0.0
    if tick_size is not None:
        grid = _asked(tick_size)
        off = _first_off(ticks, grid, begin, end)
        if off >= 0 or highest * grid.per_unit >= MOST_TICKS:
            off = max(off, begin)
            raise DataError(
                f"resampling: tick {off} (bid {ticks.bid[off]!s}, ask {ticks.ask[off]!s}) does not "
                f"lie on a grid of {tick_size:g}; leave tick_size out, or set it to 0"
            )
        return grid, float(np.rint(lowest * grid.per_unit))
    head = min(begin + 4096, end)
    for per_unit in _USUAL:
        grid = grid_of(per_unit)
        if highest * grid.per_unit >= MOST_TICKS:
            break
        if _first_off(ticks, grid, begin, head) < 0 and _first_off(ticks, grid, head, end) < 0:
            return grid, float(np.rint(lowest * grid.per_unit))
    return NO_GRID, 0.0


def _asked(tick_size: float) -> Grid:
    try:
        return grid_of(1 / Fraction(repr(float(tick_size))))
    except ValueError:
        raise DataError(
            f"resampling: tick_size = {tick_size:g}; expected a whole number, or one over a whole "
            f"number up to {1 << 20} (0.25, 0.01, 1e-05)"
        ) from None


def _check(ticks: Ticks, begin: int, end: int) -> tuple[float, float]:
    """Return the lowest and the highest price; refuse what no path can be made of."""
    lowest, highest = np.inf, 0.0
    for first in range(begin, end, _BLOCK):
        part = slice(first, min(first + _BLOCK, end))
        for column in (ticks.bid[part], ticks.ask[part]):
            bad = ~(np.isfinite(column) & (column > 0.0))
            if bad.any():
                at = first + int(np.argmax(bad))
                raise DataError(
                    f"resampling: tick {at} has the quote {ticks.bid[at]!s} / {ticks.ask[at]!s}; "
                    f"paths need positive prices; drop such ticks at the import"
                )
            lowest = min(lowest, float(column.min()))
            highest = max(highest, float(column.max()))
    return lowest, highest


def _first_off(ticks: Ticks, grid: Grid, begin: int, end: int) -> int:
    """Return the first tick that the grid does not give back to the bit, or -1."""
    bid, ask = np.empty(_BLOCK), np.empty(_BLOCK)
    for first in range(begin, end, _BLOCK):
        n = min(_BLOCK, end - first)
        derive_quotes(ticks.bid, ticks.ask, first, n, 1.0, 0.0, *grid, 0.0, bid, ask, 0)
        off = (bid[:n] != ticks.bid[first : first + n]) | (ask[:n] != ticks.ask[first : first + n])
        if off.any():
            return first + int(np.argmax(off))
    return -1
