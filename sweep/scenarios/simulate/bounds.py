"""Checks of the numbers that simulated markets and their reference laws are given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sweep.errors import DataError, InputError

__all__ = ["check_finite", "check_number", "check_positive"]


def check_number(
    where: str,
    value: Any,
    low: float,
    high: float,
    *,
    above: bool = False,
    below: bool = False,
    whole: bool = False,
) -> None:
    """Refuse a value that is no number between bounds (``above``, ``below``: strictly)."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise DataError(f"{where}: {value!r} is not a {'whole number' if whole else 'number'}")
    inside = (low < value if above else low <= value) and (value < high if below else value <= high)
    if inside and math.isfinite(value):
        return
    left, right = "(" if above else "[", ")" if below or math.isinf(high) else "]"
    raise DataError(f"{where}: {value} is not in {left}{low:g}, {high:g}{right}")


def check_positive(**values: float) -> None:
    """Refuse a named value that is not a positive number."""
    for name, value in values.items():
        if not (value > 0.0 and math.isfinite(value)):
            raise InputError(f"{name}: {value} is not a positive number")


def check_finite(**values: float) -> None:
    """Refuse a named value that is not a finite number."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise InputError(f"{name}: {value} is not a finite number")
