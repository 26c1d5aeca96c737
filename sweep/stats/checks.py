"""Numbers that may not be there, checks of what comes in, and identical variants."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D

__all__ = [
    "MIN_SESSIONS",
    "Statistic",
    "check_paths",
    "checked_capital",
    "checked_profits",
    "distinct_columns",
    "gains_over",
    "matrix",
    "missing",
    "series",
]

#: With fewer sessions a bootstrap over sessions, or a split of them, says nothing.
MIN_SESSIONS = 10


@dataclass(frozen=True)
class Statistic:
    """A number, or NaN and the reason why there is none.

    Attributes
    ----------
    value : float
    reason : str or None
        Why ``value`` is NaN; None where it is a number.
    """

    value: float
    reason: str | None = None

    def __float__(self) -> float:
        return self.value


def missing(reason: str) -> Statistic:
    """Return a statistic that its data cannot support."""
    return Statistic(math.nan, reason)


def series(values: ArrayLike, name: str = "returns", *, drop_nan: bool = False) -> FloatArray1D:
    """Return one series as float64, checked.

    Raises
    ------
    InputError
        If it is not one series, or a value is infinite (or NaN, unless those are dropped).
    """
    found = np.ascontiguousarray(values, np.float64)
    if found.ndim != 1:
        raise InputError(f"{name} must be one series, found an array of shape {found.shape}")
    if drop_nan:
        found = found[~np.isnan(found)]
    finite = np.isfinite(found)
    if not finite.all():
        place = int(np.argmin(finite))
        raise InputError(f"{name} must be finite, found {found[place]} at place {place}")
    return found


def matrix(values: ArrayLike, name: str = "returns") -> FloatArray2D:
    """Return a matrix of sessions by variants as float64 in rows, checked; -0.0 becomes 0.0.

    Raises
    ------
    InputError
        If it is no matrix, or a value is not finite.
    """
    found = np.ascontiguousarray(values, np.float64)
    if found.ndim != 2:
        raise InputError(
            f"{name} must be a matrix (n_sessions, n_variants), found shape {found.shape}"
        )
    finite = np.isfinite(found)
    if not finite.all():
        row, column = (int(k) for k in np.argwhere(~finite)[0])
        raise InputError(
            f"{name} must be finite, found {found[row, column]} in session {row} of variant "
            f"{column}; leave out a variant that failed, and count it among the trials"
        )
    return found + 0.0


def gains_over(returns: ArrayLike, benchmark: ArrayLike | None) -> FloatArray2D:
    """Return what each variant gained over the benchmark, (n_sessions, n_variants).

    Raises
    ------
    InputError
        As `matrix`, or if the benchmark has another number of sessions.
    """
    gains = matrix(returns)
    if benchmark is None:
        return gains
    against = series(benchmark, "the benchmark")
    if len(against) != len(gains):
        raise InputError(
            f"the benchmark has {len(against)} sessions and the variants {len(gains)}; "
            "give the benchmark's return of each session, or leave it out for 0"
        )
    return gains - against[:, None]


def distinct_columns(values: FloatArray2D) -> tuple[IntArray1D, IntArray1D]:
    """Return the first of each set of equal columns, and which of those each column is.

    Returns
    -------
    kept : ndarray of shape (n_distinct,), int64
        Columns, ascending.
    twin : ndarray of shape (n_columns,), int64
        ``values[:, kept[twin[k]]]`` equals ``values[:, k]`` to the bit.
    """
    columns = np.ascontiguousarray(values.T)
    known: dict[bytes, int] = {}
    kept: list[int] = []
    twin = np.empty(len(columns), np.int64)
    for k, column in enumerate(columns):
        number = known.setdefault(column.tobytes(), len(kept))
        if number == len(kept):
            kept.append(k)
        twin[k] = number
    return np.array(kept, np.int64), twin


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
