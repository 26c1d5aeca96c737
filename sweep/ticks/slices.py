"""Slices of the ticks: the study's range, its holdout, and the slices in between.

Ranges are half-open in time and found by left search, so that a tick at an edge and its
duplicates belong to the later part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sweep.errors import DataError
from sweep.schema import FloatArray2D, IntArray1D, IntArray2D, Slice
from sweep.text import counted

__all__ = [
    "Marks",
    "Ranges",
    "UnmarkedError",
    "cut_by_time",
    "cut_evenly",
    "split_holdout",
]


class UnmarkedError(LookupError):
    """Stamps are asked for whose places were not recorded when the ticks were read.

    Attributes
    ----------
    stamps : tuple of int
    """

    def __init__(self, stamps: Iterable[int]) -> None:
        self.stamps = tuple(int(stamp) for stamp in stamps)
        super().__init__(self.stamps)


@dataclass(frozen=True)
class Marks:
    """Where some stamps lie in ticks that are not stored: enough to cut them.

    Attributes
    ----------
    n_ticks : int
    ends : tuple of (int, int)
        First and last stamp.
    first_quote : tuple of (float, float)
        Bid and ask of the first tick.
    stamps : ndarray of shape (n_marks,), int64
        Those that were asked for, in order.
    places : ndarray of shape (n_marks,), int64
        Number of ticks before each.
    at, before : ndarray of shape (n_marks,), int64
        Stamps of the tick at that place, and of the one before it.
    quotes : ndarray of shape (n_marks, 2), float64
        Bid and ask at that place; NaN after the end.
    breaks : ndarray of shape (n_breaks, 3), int64
        Ticks before which half an hour or more passed without one, or midnight (UTC): the
        place of each, its stamp, and that of the tick before it.
    """

    n_ticks: int
    ends: tuple[int, int]
    first_quote: tuple[float, float]
    stamps: IntArray1D
    places: IntArray1D
    at: IntArray1D
    before: IntArray1D
    quotes: FloatArray2D
    breaks: IntArray2D

    def __len__(self) -> int:
        return self.n_ticks

    def __getitem__(self, tick: int) -> int:
        """Return the stamp of a tick that is at a mark, before one, or at an end."""
        tick = tick % self.n_ticks
        if tick in (0, self.n_ticks - 1):
            return self.ends[int(tick > 0)]
        for places, stamps in ((self.places, self.at), (self.places - 1, self.before)):
            k = int(np.searchsorted(places, tick))
            if k < len(places) and places[k] == tick:
                return int(stamps[k])
        raise IndexError(f"tick {tick} is at no mark")

    def find(self, stamps: Any) -> Any:
        """Return the place of each stamp: `np.searchsorted` from the left.

        Raises
        ------
        UnmarkedError
            If they were not asked for.
        """
        asked = np.atleast_1d(np.asarray(stamps, np.int64))
        missing = asked[~np.isin(asked, self.stamps)]
        if len(missing):
            raise UnmarkedError(missing)
        places = self.places[np.searchsorted(self.stamps, asked)]
        return places if np.ndim(stamps) else int(places[0])

    def mid(self, tick: int) -> float:
        """Return the mid of a tick that is at a mark, or the first."""
        if tick == 0:
            bid, ask = self.first_quote
        else:
            bid, ask = self.quotes[int(np.searchsorted(self.places, tick))]
        return 0.5 * (float(bid) + float(ask))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` turns it back."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Marks:
        """Return marks from what `to_dict` gave."""
        arrays = {n: np.array(data[n], np.int64) for n in ("stamps", "places", "at", "before")}
        quotes = np.array(data["quotes"], np.float64).reshape(-1, 2)
        breaks = np.array(data["breaks"], np.int64).reshape(-1, 3)
        ends, quote = (tuple(data[n]) for n in ("ends", "first_quote"))
        return cls(data["n_ticks"], ends, quote, quotes=quotes, breaks=breaks, **arrays)


#: The stamps of a series: all of them, or where some lie.
Stamps = IntArray1D | Marks


def _find(ts: Stamps, stamps: Any) -> Any:
    return ts.find(stamps) if isinstance(ts, Marks) else np.searchsorted(ts, stamps, "left")


@dataclass(frozen=True)
class Ranges:
    """Which ticks a study searches on, and which it keeps from the search.

    Attributes
    ----------
    search : Slice
    holdout : Slice or None
        Its warm-up may reach back into the search range: it feeds state, never orders.
    """

    search: Slice
    holdout: Slice | None


def select(ts: Stamps, first: int | None, end: int | None) -> tuple[int, int]:
    """Return the half-open tick range of stamps in ``[first, end)``.

    Raises
    ------
    DataError
        If fewer than two ticks lie there; the text has the span of the ticks.
    """
    begin = 0 if first is None else int(_find(ts, first))
    stop = len(ts) if end is None else int(_find(ts, end))
    if stop - begin < 2:
        raise DataError(
            f"data.from .. data.to holds {counted(max(stop - begin, 0), 'tick')}; the ticks span "
            f"{_date(int(ts[0]))} to {_date(int(ts[-1]))}"
        )
    return begin, stop


def split_holdout(
    ts: Stamps, begin: int, end: int, *, share: float = 0.0, start: int | None = None
) -> Ranges:
    """Split ``[begin, end)`` into the search range and the holdout after it.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64, or Marks
    begin, end : int
    share : float, optional
        Share of the time span kept from the search, at its end.
    start : int, optional
        Stamp at which the holdout begins, instead of a share.

    Raises
    ------
    DataError
        If one of the two parts would hold fewer than two ticks.
    """
    if start is None:
        if share <= 0.0:
            return Ranges(Slice(begin, end, begin), None)
        span = int(ts[end - 1]) - int(ts[begin])
        start = int(ts[begin]) + round(span * (1.0 - share))
    edge = min(max(int(_find(ts, start)), begin), end)
    if edge - begin < 2 or end - edge < 2:
        raise DataError(
            f"data.holdout begins at {_date(start)}, which leaves "
            f"{counted(edge - begin, 'tick')} to search and {end - edge} in the holdout; the range "
            f"spans {_date(int(ts[begin]))} to {_date(int(ts[end - 1]))}"
        )
    return Ranges(Slice(begin, edge, begin), Slice(edge, end, begin))


def cut_evenly(search: Slice, count: int) -> tuple[Slice, ...]:
    """Cut a range into ``count`` slices of equal tick counts; the last takes the rest.

    Raises
    ------
    DataError
        If a slice would hold fewer than two ticks.
    """
    size = (search.end - search.begin) // count
    if size < 2:
        raise DataError(
            f"data.slices = {count} cuts {search.end - search.begin} ticks into slices of {size}; "
            f"use at most {(search.end - search.begin) // 2}"
        )
    edges = [search.begin + k * size for k in range(count)] + [search.end]
    return _slices(edges, search)


def cut_by_time(ts: Stamps, search: Slice, width: int) -> tuple[Slice, ...]:
    """Cut a range at multiples of ``width`` nanoseconds since the epoch.

    Slices with fewer than two ticks (gaps, week ends) join the one before them.
    """
    if width <= 0:
        raise DataError(f"data.slices: a slice must last longer than 0, found {width} ns")
    first = int(ts[search.begin]) // width + 1
    last = int(ts[search.end - 1]) // width
    stamps = np.arange(first, last + 1, dtype=np.int64) * width
    places = np.clip(_find(ts, stamps), search.begin, search.end)
    edges = [search.begin]
    for edge in places:
        if edge - edges[-1] >= 2 and search.end - edge >= 2:
            edges.append(int(edge))
    return _slices([*edges, search.end], search)


def _slices(edges: list[int], search: Slice) -> tuple[Slice, ...]:
    return tuple(Slice(a, b, search.warmup) for a, b in pairwise(edges))


def _date(ts: int) -> str:
    return str(np.datetime64(ts, "ns"))[:23]
