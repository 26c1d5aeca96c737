"""The sessions whose returns a study keeps: those of the market, or days where it has none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweep.resample.sessions import DAY, Sessions, find_sessions, sessions_by_clock
from sweep.schema import IntArray1D

__all__ = ["MOST", "SessionCuts", "find_cuts"]

#: Sessions at most: 32 kilobytes a variant.
MOST = 8192

#: A market whose usual session is longer than this hardly closes.
_LONGEST = 7 * DAY

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


def find_cuts(ts: IntArray1D, begin: int, end: int) -> SessionCuts:
    """Find the sessions of a search range.

    Gaps of half an hour part sessions (`sweep.resample.find_sessions`). Where a market
    does not close for more than a week, or ticks lie so far apart that nearly each would
    be a session, days (UTC) stand for them.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
    begin, end : int
        The range, of at least one tick.
    """
    found = find_sessions(ts, begin, end)
    lasts = ts[found.ends - 1] - ts[found.begins]
    sparse = float(np.median(found.ends - found.begins)) < _FEWEST
    if float(np.median(lasts)) > _LONGEST or sparse:
        days = sessions_by_clock(ts, 0.0, begin, end)
        # Days that part nothing, or part it finer, help nobody.
        if not sparse or len(days) < len(found):
            found = days
    if len(found) > MOST:
        return SessionCuts(
            (), (), f"the search range has {len(found):,} sessions, and {MOST:,} at most are kept"
        )
    return _cuts(ts, found)


def _cuts(ts: IntArray1D, found: Sessions) -> SessionCuts:
    end = int(found.ends[-1])
    edges = (*found.begins.tolist(), end)
    return SessionCuts(edges, (*ts[found.begins].tolist(), int(ts[end - 1]) + 1))
