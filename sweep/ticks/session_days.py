"""The sessions whose returns a study keeps: those of the market, or days where it has none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweep.schema import IntArray1D
from sweep.ticks.sessions import DAY, GAP, MINUTE, find_sessions, sessions_by_clock
from sweep.ticks.slices import Marks

__all__ = ["MOST", "SessionCuts", "find_cuts", "session_begins"]

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
        Stamps of those ticks, and 1 ns behind the last tick: sessions are half-open.
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
    found = _sessions(ts, begin, end)
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
    return _sessions(ts, begin, end).begins


def _sessions(ts: IntArray1D | Marks, begin: int, end: int) -> _Pieces:
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
