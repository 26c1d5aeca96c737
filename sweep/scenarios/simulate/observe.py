"""What a calibration looks at: a tick series cut into sessions and put on a fixed clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sweep.errors import DataError
from sweep.scenarios.simulate.spec import Session
from sweep.schema import FloatArray1D, IntArray1D
from sweep.ticks.synthetic import HOUR

__all__ = ["Observed", "find_calendar", "find_tick_size", "observe"]

_DAY = 24 * HOUR

#: A calendar that leaves out more than this share of the ticks is the wrong one.
_MAX_OUTSIDE = 0.05


@dataclass(frozen=True)
class Observed:
    """A tick series within its sessions.

    Attributes
    ----------
    session : Session
        The calendar: first day, number of sessions with ticks, hours.
    clock : int
        Nanoseconds.
    tick_size : float
    returns : tuple of ndarray
        Log-returns of the mid on the clock, for each session; none over a gap.
    hours : tuple of ndarray
        Hour since the open in which each return ends.
    gaps : ndarray of shape (n_sessions - 1,), float64
        Log-returns of the mid from the last tick of a session to the first of the next.
    times : tuple of ndarray, float64
        Seconds of each session's ticks since its watch began.
    lengths : ndarray of shape (n_sessions,), float64
        Seconds for which each session was watched.
    spreads : ndarray of shape (n_ticks,), int64
        Ticks; those below 1 are kept as they are.
    price : float
        First mid.
    age : float
        Mean time from the last tick to an edge of the clock, in periods of the clock.
    outside : int
        Ticks outside the sessions, left out.
    """

    session: Session
    clock: int
    tick_size: float
    returns: tuple[FloatArray1D, ...]
    hours: tuple[IntArray1D, ...]
    gaps: FloatArray1D
    times: tuple[FloatArray1D, ...]
    lengths: FloatArray1D
    spreads: IntArray1D
    price: float
    age: float
    outside: int


def observe(
    ts: IntArray1D,
    bid: FloatArray1D,
    ask: FloatArray1D,
    session: Session,
    clock: int,
    tick_size: float,
) -> Observed:
    """Cut a tick series into the sessions of a calendar.

    The mid at an edge of the clock is that of the last tick up to it; edges before a
    session's first and after its last tick are left out.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
    bid, ask : ndarray of shape (n_ticks,), float64
    session : Session
        Its ``start`` and ``sessions`` do not matter; the series says what they are.
    clock : int
        Nanoseconds.
    tick_size : float

    Returns
    -------
    Observed

    Raises
    ------
    DataError
        If more than a twentieth of the ticks lies outside the calendar's sessions.
    """
    mid = np.log(0.5 * (bid + ask))
    opens = _opens(session, int(ts[0]), int(ts[-1]))
    begins = np.searchsorted(ts, opens, side="left")
    ends = np.searchsorted(ts, opens + session.length, side="left")
    outside = len(ts) - int(np.sum(ends - begins))
    if outside > _MAX_OUTSIDE * len(ts):
        raise DataError(
            f"{outside:,} of {len(ts):,} ticks lie outside the sessions ({session.open:g} UTC, "
            f"{session.hours:g} hours, days {session.days}); give the calendar as session, or a "
            f"range of the ticks over which it stays the same"
        )
    held = np.flatnonzero(ends > begins)
    returns, hours, times, lengths, ages = [], [], [], [], []
    for i in held:
        part = ts[begins[i] : ends[i]] - opens[i]
        edges, at = _on_clock(part, clock, session.length)
        returns.append(np.diff(mid[begins[i] + at]))
        hours.append(edges[1:] // HOUR)
        ages.append((edges - part[at]) / clock)
        begin, end = _watched(part, clock, session.length)
        times.append((part - begin) / 1e9)
        lengths.append((end - begin) / 1e9)
    inside = np.concatenate([np.arange(begins[i], ends[i]) for i in held])
    day = np.datetime64(int(opens[held[0]]) - round(session.open * HOUR), "ns")
    return Observed(
        session=replace(session, start=str(day.astype("datetime64[D]")), sessions=len(held)),
        clock=clock,
        tick_size=tick_size,
        returns=tuple(returns),
        hours=tuple(hours),
        gaps=mid[begins[held[1:]]] - mid[ends[held[:-1]] - 1],
        times=tuple(times),
        lengths=np.array(lengths),
        spreads=np.rint((ask - bid)[inside] / tick_size).astype(np.int64),
        price=float(0.5 * (bid[inside[0]] + ask[inside[0]])),
        age=float(np.mean(np.concatenate(ages))) if sum(map(len, ages)) else 0.0,
        outside=outside,
    )


def _watched(part: IntArray1D, clock: int, length: int) -> tuple[int, int]:
    """When the watch of a session begins and ends.

    At its open and close, unless the first or the last tick lies away from them by more
    than a period of the clock and ten mean gaps, which chance hardly ever does: then the
    session was cut, and is watched from or to that tick.
    """
    usual = max(clock, 10 * int(part[-1] - part[0]) // max(len(part) - 1, 1))
    begin = int(part[0]) if part[0] > usual else 0
    end = int(part[-1]) if part[-1] < length - usual else length
    return begin, max(end, begin + 1)


def _on_clock(part: IntArray1D, clock: int, length: int) -> tuple[IntArray1D, IntArray1D]:
    """Edges of the clock within a session's ticks, and the last tick up to each."""
    first, last = -(-int(part[0]) // clock), int(part[-1]) // clock
    # The close has no tick of its own: a session that lasts to it is read up to it.
    if part[-1] >= length - clock:
        last = length // clock
    edges = np.arange(first, last + 1, dtype=np.int64) * clock
    return edges, np.searchsorted(part, edges, side="right") - 1


def _opens(session: Session, first: int, last: int) -> IntArray1D:
    """Opens of the sessions that may hold ticks from one stamp to another."""
    days = np.arange((first - _DAY) // _DAY - 1, last // _DAY + 1).astype("datetime64[D]")
    days = days[np.is_busday(days, weekmask=session.days)]
    opens = days.astype("datetime64[ns]").astype(np.int64) + round(session.open * HOUR)
    within = (opens + session.length > first) & (opens <= last)
    return np.asarray(opens[within], np.int64)


def find_calendar(ts: IntArray1D, clock: int, max_gap: int, sessions_per_year: float) -> Session:
    """Find when a series has sessions: stretches without a gap above a given one.

    The open is the median of the openings, the length the median of the whole sessions',
    both on the clock; the first and the last session may have been cut and count only if
    there are no others. The gap is 0 (`sweep.scenarios.simulate.calibrate.calibrate` sets it).

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
    clock, max_gap : int
        Nanoseconds.
    sessions_per_year : float

    Returns
    -------
    Session

    Raises
    ------
    DataError
        If a session lasts more than a day.
    """
    breaks = np.flatnonzero(np.diff(ts) > max_gap)
    starts, ends = ts[np.r_[0, breaks + 1]], ts[np.r_[breaks, len(ts) - 1]]
    opened = starts[1:] if len(starts) > 1 else starts
    # Relative to one of them, so that openings around midnight have a median.
    around = (opened - opened[0] + _DAY // 2) % _DAY - _DAY // 2
    opens = int((opened[0] + np.median(around)) % _DAY) // clock * clock
    whole = slice(1, -1) if len(starts) > 2 else slice(None)
    longest = int(np.median((ends - starts)[whole]))
    # From the open's edge of the clock: the first tick comes a little later.
    length = -(-(longest + 1) // clock) * clock
    if length > _DAY:
        raise DataError(
            f"a session lasts {longest / HOUR:.1f} hours without a gap of {max_gap / 1e9:g} s; "
            f"sessions are a day at most: give the calendar as session (for a market that never "
            f'closes Session(open=0, hours=24, gap_hours=0, days="1111111"))'
        )
    # A first session that was cut belongs to the open before it.
    dates = ((starts + _DAY // 24 - opens) // _DAY).astype("datetime64[D]")
    weekdays = (dates.astype(np.int64) + 3) % 7  # day 0 of the epoch was a Thursday
    days = "".join("1" if day in weekdays else "0" for day in range(7))
    return Session(
        start=str(dates[0]),
        sessions=len(starts),
        open=opens / HOUR,
        hours=length / HOUR,
        gap_hours=0.0,
        days=days,
        sessions_per_year=sessions_per_year,
    )


def find_tick_size(bid: FloatArray1D, ask: FloatArray1D) -> float:
    """Find the largest decimal grid on which all prices lie.

    Parameters
    ----------
    bid, ask : ndarray of shape (n_ticks,), float64

    Returns
    -------
    float
        A whole multiple of a power of ten, such as 0.25.

    Raises
    ------
    DataError
        If there is none down to 1e-9.
    """
    prices = np.concatenate([bid, ask])
    for decimals in range(10):
        scaled = prices * 10.0**decimals
        whole = np.rint(scaled)
        if np.all(np.abs(scaled - whole) <= 1e-6 + 1e-12 * np.abs(scaled)):
            step = int(np.gcd.reduce(whole.astype(np.int64)))
            return step / 10.0**decimals
    raise DataError(
        "the prices lie on no grid of up to 9 decimals; give tick_size, or round them to one"
    )
