"""Slices of the ticks: the study's range, its holdout, and the slices in between.

Ranges are half-open in time and found by left search, so that a tick at an edge and its
duplicates belong to the later part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sweep.errors import DataError
from sweep.schema import IntArray1D, Slice

__all__ = ["Ranges", "cut_by_time", "cut_evenly", "split_holdout"]


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


def select(ts: IntArray1D, first: int | None, end: int | None) -> tuple[int, int]:
    """Return the half-open tick range of stamps in ``[first, end)``.

    Raises
    ------
    DataError
        If no tick lies there; the text says where the ticks are.
    """
    begin = 0 if first is None else int(np.searchsorted(ts, first, "left"))
    stop = len(ts) if end is None else int(np.searchsorted(ts, end, "left"))
    if stop - begin < 2:
        raise DataError(
            f"data.from .. data.to holds {max(stop - begin, 0)} ticks; the ticks span "
            f"{_date(int(ts[0]))} to {_date(int(ts[-1]))}"
        )
    return begin, stop


def split_holdout(
    ts: IntArray1D, begin: int, end: int, *, share: float = 0.0, start: int | None = None
) -> Ranges:
    """Split ``[begin, end)`` into the search range and the holdout after it.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
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
    edge = begin + int(np.searchsorted(ts[begin:end], start, "left"))
    if edge - begin < 2 or end - edge < 2:
        raise DataError(
            f"data.holdout begins at {_date(start)}, which leaves {edge - begin} ticks to search "
            f"and {end - edge} in the holdout; the range spans "
            f"{_date(int(ts[begin]))} to {_date(int(ts[end - 1]))}"
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


def cut_by_time(ts: IntArray1D, search: Slice, width: int) -> tuple[Slice, ...]:
    """Cut a range at multiples of ``width`` nanoseconds since the epoch.

    Slices with fewer than two ticks (gaps, week ends) join the one before them.
    """
    if width <= 0:
        raise DataError(f"data.slices: a slice must last longer than 0, found {width} ns")
    first = int(ts[search.begin]) // width + 1
    last = int(ts[search.end - 1]) // width
    stamps = np.arange(first, last + 1, dtype=np.int64) * width
    found = search.begin + np.searchsorted(ts[search.begin : search.end], stamps, "left")
    edges = [search.begin]
    for edge in found:
        if edge - edges[-1] >= 2 and search.end - edge >= 2:
            edges.append(int(edge))
    return _slices([*edges, search.end], search)


def _slices(edges: list[int], search: Slice) -> tuple[Slice, ...]:
    return tuple(Slice(a, b, search.warmup) for a, b in pairwise(edges))


def _date(ts: int) -> str:
    return str(np.datetime64(ts, "ns"))[:23]
