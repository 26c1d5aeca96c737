"""Checks of what all parts of a Monte Carlo are given."""

from __future__ import annotations

import math

import numpy as np

from sweep.errors import InputError
from sweep.schema import FloatArray1D

__all__ = ["check_paths", "checked_capital", "checked_profits"]


def checked_capital(capital: float | None) -> float:
    """Return the capital, NaN for none; raise `InputError` if it is not positive."""
    if capital is None:
        return math.nan
    if not (capital > 0.0 and math.isfinite(capital)):
        raise InputError(f"a capital must be positive, found {capital:g}")
    return float(capital)


def check_paths(n_paths: int) -> None:
    """Raise `InputError` if there is no path."""
    if n_paths < 1:
        raise InputError(f"a Monte Carlo needs at least 1 path, found {n_paths}")


def checked_profits(profits: FloatArray1D) -> FloatArray1D:
    """Return the profits of trades, contiguous; raise `InputError` if one is not finite."""
    values = np.ascontiguousarray(profits, np.float64)
    if values.ndim != 1:
        raise InputError(f"profits of trades are one series, found shape {values.shape}")
    if not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        raise InputError(f"the profit of trade {place} is {values[place]}, not a finite number")
    return values
