"""Durations, points in time and amounts of memory, as text and as whole numbers."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = [
    "DAY",
    "INT64_MAX",
    "Duration",
    "Moment",
    "format_duration",
    "format_moment",
    "parse_duration",
    "parse_moment",
    "parse_size",
]

#: Nanoseconds.
DAY = 86400 * 10**9
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": DAY,
    "w": 7 * DAY,
}
_SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Duration:
    """A length of time in a setting that may also be something else.

    Attributes
    ----------
    ns : int
        Nanoseconds.
    """

    ns: int

    def __str__(self) -> str:
        """Return the text that `parse_duration` reads back."""
        return format_duration(self.ns)


@dataclass(frozen=True)
class Moment:
    """A point in time in a setting that may also be something else.

    Attributes
    ----------
    ns : int
        Nanoseconds since the epoch, UTC.
    """

    ns: int

    def __str__(self) -> str:
        """Return the text that `parse_moment` reads back."""
        return format_moment(self.ns)


def parse_duration(text: str) -> int:
    """Return the nanoseconds of ``"90s"``, ``"15m"``, ``"1h30m"``, ``"250ms"``, ``"10us"``.

    Raises
    ------
    ValueError
        If the text is not a sum of numbers with units, or no whole nanoseconds.
    """
    word = text.strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d|w)\s*", word)
    if not re.fullmatch(r"(\d+(?:\.\d+)?\s*(ns|us|ms|s|m|h|d|w)\s*)+", word):
        raise ValueError(f"not a duration: {text}")
    total = sum((Fraction(amount) * _UNITS[unit] for amount, unit in parts), Fraction(0))
    if total.denominator != 1 or total > INT64_MAX:
        raise ValueError(f"not a whole number of nanoseconds: {text}")
    return int(total)


def format_duration(ns: int) -> str:
    """Return the shortest exact text that `parse_duration` reads back."""
    for unit in ("w", "d", "h", "m", "s", "ms", "us"):
        if ns % _UNITS[unit] == 0 and ns != 0:
            return f"{ns // _UNITS[unit]}{unit}"
    return f"{ns}ns" if ns else "0s"


def parse_moment(value: Any) -> int:
    """Return the nanoseconds since the epoch of a date or a time; UTC if it names no zone.

    Parameters
    ----------
    value : date, datetime or str
        A text is read as ISO 8601, to the microsecond.

    Raises
    ------
    ValueError, TypeError
        If it is neither, or outside the years 1678 to 2261.
    """
    if isinstance(value, str):
        if re.search(r"\.\d{7}", value):
            raise ValueError("finer than a microsecond")
        value = dt.datetime.fromisoformat(value.strip())
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    elif not isinstance(value, dt.datetime):
        raise TypeError("no date")
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    since = value - _EPOCH
    ns = ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
    if abs(ns) > INT64_MAX:
        raise ValueError("outside int64 nanoseconds")
    return int(ns)


def format_moment(ns: int) -> str:
    """Return an ISO text of nanoseconds since the epoch, cut to the microsecond."""
    stamp = _EPOCH + dt.timedelta(microseconds=ns // 1000)
    return stamp.isoformat().replace("+00:00", "Z")


def parse_size(text: str) -> int:
    """Return the bytes of ``"500MB"``, ``"2GB"``, ``"1.5GiB"``.

    Raises
    ------
    ValueError
        If the text is no number with such a unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B)", text.strip().upper())
    if match is None:
        raise ValueError(f"not a size: {text}")
    return int(Fraction(match[1]) * _SIZES[match[2]])
