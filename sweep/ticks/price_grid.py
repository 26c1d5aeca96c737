"""Prices on a grid of ticks: whole numbers of ticks as prices, and quotes around a price.

Shared by whatever makes quotes, so that all of them round alike.
"""

from __future__ import annotations

import numpy as np

from sweep.schema import FloatArray1D, IntArray1D

__all__ = ["on_grid", "quotes_around"]


def on_grid(ticks: IntArray1D, tick_size: float) -> FloatArray1D:
    """Prices of whole numbers of ticks: the doubles nearest to the decimals, if any.

    Parameters
    ----------
    ticks : ndarray of shape (n,), int64
    tick_size : float
        Price units. If it is one over a whole number (0.01, 0.25), prices are quotients
        of whole numbers, which are what reading their decimals gives.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    per_unit = round(1.0 / tick_size)
    if per_unit and abs(per_unit * tick_size - 1.0) < 1e-9:
        return ticks / np.float64(per_unit)
    return ticks * np.float64(tick_size)


def quotes_around(
    price: FloatArray1D, spread: IntArray1D, tick_size: float
) -> tuple[FloatArray1D, FloatArray1D]:
    """Bid and ask on the grid around a price.

    The bid lies half a spread below the price, rounded to the grid, so that the mid is
    off by half a tick at most; the ask a whole number of ticks above the bid. A bid below
    one tick is one tick.

    Parameters
    ----------
    price : ndarray of shape (n,), float64
    spread : ndarray of shape (n,), int64
        Ticks.
    tick_size : float
        Price units.

    Returns
    -------
    bid, ask : ndarray of shape (n,), float64
    """
    bid = np.rint(price / tick_size - 0.5 * spread).astype(np.int64)
    bid = np.maximum(bid, 1)
    return on_grid(bid, tick_size), on_grid(bid + spread, tick_size)
