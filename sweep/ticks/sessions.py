"""Sessions of a tick series: where they begin and end, and which of them are alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweep.errors import DataError
from sweep.schema import IntArray1D

__all__ = ["DAY", "GAP", "MINUTE", "Sessions", "find_sessions", "sessions_by_clock"]

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
        First tick, and the one behind the last; each begins where the one before ends.
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
