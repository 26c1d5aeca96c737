"""Sessions of a tick series: where they begin and end, which are alike, how they cut slices.

Where a market never closes, days stand for sessions.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweep.errors import DataError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D, Slice
from sweep.ticks.slices import Marks

__all__ = [
    "DAY",
    "GAP",
    "MINUTE",
    "MOST",
    "Cell",
    "SessionCuts",
    "Sessions",
    "cells_of",
    "cut",
    "earned_in_cells",
    "find_cuts",
    "find_sessions",
    "session_begins",
    "session_sums",
    "sessions_by_clock",
]

MINUTE = 60_000_000_000
DAY = 1_440 * MINUTE

#: Sessions are alike whose opening and closing (clock time) round to the same half hours.
_ALIKE = 30 * MINUTE

#: Time without a tick that separates sessions, unless another is asked for.
GAP = 30 * MINUTE
_STAMPS = 1 << 20


class Sessions(NamedTuple):
    """Consecutive sessions that cover a range of ticks.

    Attributes
    ----------
    begins, ends : ndarray of shape (n_sessions,), int64
        First tick, and the one after the last; each begins where the one before ends.
    kinds : ndarray of shape (n_sessions,), int64
        Equal for sessions that open and close at about the same clock time: half days
        and days on another side of a clock change are kinds of their own.
    """

    begins: IntArray1D
    ends: IntArray1D
    kinds: IntArray1D

    def __len__(self) -> int:
        return len(self.begins)


def find_sessions(
    ts: IntArray1D, begin: int = 0, end: int | None = None, *, gap: int | None = None
) -> Sessions:
    """Find the sessions of a series from its gaps.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Nanoseconds, never decreasing.
    begin, end : int, optional
        Range of ticks; by default all.
    gap : int, optional
        Nanoseconds without a tick that separate sessions. By default half an hour.

    Returns
    -------
    Sessions

    Raises
    ------
    DataError
        If the range holds no tick, or ``gap`` is not positive.
    """
    end = len(ts) if end is None else end
    gap = GAP if gap is None else gap
    if gap <= 0:
        raise DataError(f"a gap between sessions must be longer than 0 ns, found {gap}")
    _not_empty(begin, end)
    found = [np.array([begin])]
    for first in range(begin + 1, end, _STAMPS):
        part = ts[first - 1 : min(first + _STAMPS, end)]
        found.append(np.flatnonzero(np.diff(part) >= gap) + first)
    return _sessions(ts, np.concatenate(found), end)


def sessions_by_clock(
    ts: IntArray1D, opens: float, begin: int = 0, end: int | None = None
) -> Sessions:
    """Cut a series into sessions at a clock time (UTC) of each day.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Nanoseconds, never decreasing.
    opens : float
        Hour of the day at which a session begins, from 0 to below 24. Ticks until the
        next such time belong to it, so that an hour within the daily pause suits best.
    begin, end : int, optional
        Range of ticks; by default all.

    Raises
    ------
    DataError
        If the range holds no tick, or there is no such hour.
    """
    end = len(ts) if end is None else end
    if not 0.0 <= opens < 24.0:
        raise DataError(f"sessions open at an hour from 0 to below 24, found {opens:g}")
    _not_empty(begin, end)
    at = round(opens * 60) * MINUTE
    days = np.arange((int(ts[begin]) - at) // DAY, (int(ts[end - 1]) - at) // DAY + 1)
    edges = np.searchsorted(ts[begin:end], days * DAY + at, "left") + begin
    return _sessions(ts, np.unique(edges[edges < end]), end)


def _not_empty(begin: int, end: int) -> None:
    if end <= begin:
        raise DataError(f"ticks {begin} to {end}: there is nothing to resample")


def _sessions(ts: IntArray1D, begins: IntArray1D, end: int) -> Sessions:
    ends = np.append(begins[1:], end)
    opened, closed = ts[begins], ts[ends - 1]
    clock = (opened + _ALIKE // 2) % DAY // _ALIKE
    lasts = (closed - opened + _ALIKE // 2) // _ALIKE
    pairs = np.stack([clock, lasts], axis=1)
    kinds = np.unique(pairs, axis=0, return_inverse=True)[1]
    return Sessions(begins, ends, kinds.reshape(-1).astype(np.int64))


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
        Those after the last edge (which are no stretches of ticks) have none.
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
        afresh = k == 0 or (not carry_over and cell.place != cells[k - 1].place)
        earned[:, k] -= before if afresh else equity[:, k - 1]
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


HOUR = 60 * MINUTE

#: Sessions at most: 32 kilobytes a variant.
MOST = 8192

#: A market whose usual session is longer than this is open around the clock.
_LONGEST = 36 * HOUR

#: A shorter piece of a session is no day of its own.
_SHORTEST = 6 * HOUR

#: Ticks of the usual session below which the gaps are those between ticks.
_FEWEST = 16


class SessionCuts(NamedTuple):
    """Where sessions begin and end.

    Attributes
    ----------
    edges : tuple of int, (n_sessions + 1,)
        Ticks at which sessions begin, and the end of the last.
    stamps : tuple of int, (n_sessions + 1,)
        Stamps of those ticks, and 1 ns after the last tick: sessions are half-open.
    reason : str
        Why there are none; otherwise empty.
    """

    edges: tuple[int, ...]
    stamps: tuple[int, ...]
    reason: str = ""


class _Pieces(NamedTuple):
    """Stretches that cover a range: where each begins, its first stamp and its last."""

    begins: IntArray1D
    firsts: IntArray1D
    lasts: IntArray1D

    def __len__(self) -> int:
        return len(self.begins)


def find_cuts(ts: IntArray1D | Marks, begin: int, end: int) -> SessionCuts:
    """Find the sessions of a search range.

    Gaps of half an hour part sessions (`sweep.ticks.sessions`). Where the usual one
    lasts longer than 36 hours (currencies, which close at the week's end alone, and what
    never closes), days (UTC) stand for them, and what would be less than six hours of a day
    goes with the day beside it that no gap parts from it. So do days where ticks lie so far
    apart that nearly each would be a session.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64, or Marks
    begin, end : int
        The range, of at least one tick. At marks, where that is all there is.
    """
    found = _sessions_of_market(ts, begin, end)
    sparse = float(np.median(np.diff(found.begins, append=end))) < _FEWEST
    if sparse:
        days = _by_days(ts, begin, end)
        # Days that part nothing, or part it finer, help nobody.
        found = days if len(days) < len(found) else found
    if len(found) > MOST:
        return SessionCuts(
            (), (), f"the search range has {len(found):,} sessions, and {MOST:,} at most are kept"
        )
    edges = (*found.begins.tolist(), end)
    return SessionCuts(edges, (*found.firsts.tolist(), int(found.lasts[-1]) + 1))


def session_begins(ts: IntArray1D, begin: int, end: int) -> IntArray1D:
    """Return the first ticks of sessions, ascending, as `find_cuts` parts them.

    But for ticks that lie far apart, where each gap parts.
    """
    return _sessions_of_market(ts, begin, end).begins


def _sessions_of_market(ts: IntArray1D | Marks, begin: int, end: int) -> _Pieces:
    found = _by_gaps(ts, begin, end)
    if float(np.median(found.lasts - found.firsts)) > _LONGEST:
        return _joined(_by_days(ts, begin, end))
    return found


def _joined(days: _Pieces) -> _Pieces:
    """Return days without those that are but the beginning or the end of another."""
    kept: list[int] = []
    carried = False  # whether the day before was too short, and begins the one at hand
    for k in range(len(days)):
        short = days.lasts[k] - days.firsts[k] < _SHORTEST
        if not carried:
            near = bool(kept) and days.firsts[k] - days.lasts[k - 1] < GAP
            if short and near:
                continue  # the end of the day before
            kept.append(k)
        goes_on = k + 1 < len(days) and days.firsts[k + 1] - days.lasts[k] < GAP
        carried = bool(short and goes_on and not carried)
    ends = [*kept[1:], len(days)]
    return _Pieces(days.begins[kept], days.firsts[kept], days.lasts[[e - 1 for e in ends]])


def _by_gaps(ts: IntArray1D | Marks, begin: int, end: int) -> _Pieces:
    if isinstance(ts, Marks):
        _, at, before = ts.breaks.T
        return _at_breaks(ts, begin, end, at - before >= GAP)
    return _at_ticks(ts, find_sessions(ts, begin, end).begins, end)


def _by_days(ts: IntArray1D | Marks, begin: int, end: int) -> _Pieces:
    if isinstance(ts, Marks):
        _, at, before = ts.breaks.T
        return _at_breaks(ts, begin, end, at // DAY != before // DAY)
    return _at_ticks(ts, sessions_by_clock(ts, 0.0, begin, end).begins, end)


def _at_ticks(ts: IntArray1D, begins: IntArray1D, end: int) -> _Pieces:
    return _Pieces(begins, ts[begins], ts[np.append(begins[1:], end) - 1])


def _at_breaks(marks: Marks, begin: int, end: int, chosen: NDArray[np.bool_]) -> _Pieces:
    places = marks.breaks[:, 0]
    begins, firsts, lasts = marks.breaks[chosen & (places > begin) & (places < end)].T
    return _Pieces(
        np.insert(begins, 0, begin),
        np.insert(firsts, 0, marks[begin]),
        np.append(lasts, marks[end - 1]),
    )
