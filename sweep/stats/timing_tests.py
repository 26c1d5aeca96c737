"""Null tests of timing: whether the same positions at other times would have earned as much.

The data are a position for each period (of a clock, or a tick) and the price change over
that period. Both tests keep what a strategy did and change only when:

- a *circular shift* moves all positions by one random number of periods. It keeps holding
  times, clusters and gaps; it is exact where prices, or positions, look the same from
  every starting point (stationary, the end joined to the beginning).
- *random entry* lets each trade begin at a random moment, with its side, size and holding
  time, never two at once. It keeps exposure and holding times but neither clusters nor
  their order, and so takes entries to be independent of volatility as well.

A rising market rewards every long position, timed or not; both tests allow for that, since
the exposure stays. Profits are gross: the number of trades, and so their cost at an even
spread, is the same in every path.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

from sweep.errors import InputError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.stats.bootstrap import path_stream
from sweep.stats.checks import check_paths
from sweep.stats.functionals import plain
from sweep.stats.summary import Summary, count_units, summarise

__all__ = [
    "Holds",
    "TimingReport",
    "find_holds",
    "placed_profit",
    "random_entry",
    "random_places",
    "shift_positions",
    "shifted_profit",
]


@dataclass(frozen=True)
class Holds:
    """The trades of a series of positions: stretches on one side.

    Attributes
    ----------
    starts, lengths : ndarray of shape (n_holds,), int64
        First period, and number of periods.
    """

    starts: IntArray1D
    lengths: IntArray1D


@dataclass(frozen=True)
class TimingReport:
    """A null test of timing.

    Attributes
    ----------
    n_periods, n_holds : int
        Periods, and stretches on one side of the market.
    exposure : float
        Share of periods with a position.
    exact : bool
        Whether the paths are all shifts there are; the p-value is then without error.
    profit : Summary
        Gross, in the unit of position times price, with its p-value. The units are the
        stretches.
    notes : tuple of str
    paths : ndarray of shape (n_paths,), float64
        Profits; no part of `to_dict`.
    """

    n_periods: int
    n_holds: int
    exposure: float
    exact: bool
    profit: Summary
    notes: tuple[str, ...]
    paths: FloatArray1D = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it; numbers that are NaN are None, with a reason."""
        found: dict[str, Any] = plain(dataclasses.replace(self, paths=np.empty(0)))
        del found["paths"]
        return found


# -- compiled --------------------------------------------------------------------------


@njit(cache=True, error_model="numpy")
def _product(a: FloatArray1D, b: FloatArray1D) -> float:
    """Sum of products in one fixed shape: four sums side by side, and then their sum."""
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    whole = a.size - a.size % 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, a.size):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, error_model="numpy")
def shifted_profit(positions: FloatArray1D, changes: FloatArray1D, shift: int) -> float:
    """Return what the positions earn ``shift`` periods later, past the end from the beginning.

    Parameters
    ----------
    positions, changes : ndarray of shape (n,), float64
    shift : int
        In ``[0, n)``.
    """
    n = positions.size
    late = _product(positions[: n - shift], changes[shift:])
    return late + _product(positions[n - shift :], changes[:shift])


@njit(cache=True, error_model="numpy")
def placed_profit(
    positions: FloatArray1D,
    changes: FloatArray1D,
    starts: IntArray1D,
    lengths: IntArray1D,
    places: IntArray1D,
) -> float:
    """Return what the trades earn at other places.

    Parameters
    ----------
    positions, changes : ndarray of shape (n,), float64
    starts, lengths : ndarray of shape (n_holds,), int64
        See `Holds`.
    places : ndarray of shape (n_holds,), int64
        First period of each trade now.
    """
    total = 0.0
    for i in range(starts.size):
        begin = starts[i]
        place = places[i]
        total += _product(
            positions[begin : begin + lengths[i]], changes[place : place + lengths[i]]
        )
    return total


def random_places(holds: Holds, segments: IntArray1D, draws: FloatArray1D) -> IntArray1D:
    """Return where trades begin that take random moments of their segments.

    Parameters
    ----------
    holds : Holds
        Each within one segment.
    segments : ndarray of shape (n_segments + 1,), int64
        Segment s has the periods ``segments[s]`` to ``segments[s + 1]``, the latter excluded.
    draws : ndarray of shape (n_holds,), float64
        Uniform on ``[0, 1)``: among the F + 1 gaps that F flat periods leave, a trade takes
        number ``floor(draw * (F + 1))``; trades in one gap follow each other by their draws.

    Returns
    -------
    ndarray of shape (n_holds,), int64
        First periods; no two trades overlap.
    """
    segment = np.searchsorted(segments, holds.starts, side="right") - 1
    held = np.zeros(segments.size, np.int64)
    np.add.at(held, segment + 1, holds.lengths)
    gaps = np.diff(segments) - held[1:] + 1
    order = np.lexsort((draws, segment))
    # Periods taken by trades before this one in its segment.
    before = np.cumsum(holds.lengths[order]) - holds.lengths[order]
    before -= np.cumsum(held)[segment[order]]
    places = np.empty(holds.starts.size, np.int64)
    places[order] = before
    return places + segments[segment] + (draws * gaps[segment]).astype(np.int64)


# -- the tests -------------------------------------------------------------------------


def find_holds(positions: FloatArray1D) -> Holds:
    """Return the stretches in which the position keeps one side; its size may change.

    Parameters
    ----------
    positions : ndarray of shape (n,), float64
    """
    side = np.sign(positions)
    begins = np.flatnonzero(np.diff(side, prepend=0.0) != 0.0)
    ends = np.append(begins, side.size)[1:]
    kept = side[begins] != 0.0
    return Holds(begins[kept], (ends - begins)[kept])


def shift_positions(
    positions: FloatArray1D,
    changes: FloatArray1D,
    *,
    seed: int,
    n_paths: int = 9_999,
    period: int = 1,
    alternative: str = "greater",
) -> TimingReport:
    """Return a test of timing by circular shifts of the positions.

    Parameters
    ----------
    positions : ndarray of shape (n,), float64
        Held over each period.
    changes : ndarray of shape (n,), float64
        Of the price over the same periods.
    seed : int
    n_paths : int, optional
        Random shifts; if there are no more than that, each is taken once.
    period : int, optional
        Shifts are multiples of it: with the periods of a day, positions keep their time of
        day. It divides n, since otherwise the shifts would not be on a par.
    alternative : str, optional
        ``"greater"`` (the timing is good), ``"less"`` or ``"two-sided"``.

    Returns
    -------
    TimingReport
        Under the null the test rejects at its nominal rate: the shift 0 is among the random
        ones, as the group of shifts has it.

    Raises
    ------
    InputError
        For arrays that cannot be used, a period that does not divide them, or an unknown
        alternative.

    References
    ----------
    Hemerik & Goeman (2018), Exact testing with random permutations, TEST 27, theorem 2.
    """
    positions, changes = _checked(positions, changes)
    check_paths(n_paths)
    n = positions.size
    if period < 1 or n % period:
        raise InputError(
            f"shifts are multiples of a period that divides the {n} periods, found {period}; "
            f"cut the data to whole ones ({n - n % max(period, 1)} periods)"
        )
    n_shifts = n // period
    if n_shifts < 2:
        raise InputError(f"{n} periods leave no shift by a multiple of {period}")
    exact = n_shifts - 1 <= n_paths
    if exact:
        shifts = np.arange(1, n_shifts) * period
    else:
        draws = (path_stream(seed, "timing", "shift", i) for i in range(n_paths))
        shifts = np.array([d.integers(0, n_shifts) for d in draws]) * period
    profits = np.array([shifted_profit(positions, changes, int(shift)) for shift in shifts])
    return _report(
        positions,
        changes,
        profits,
        observed=shifted_profit(positions, changes, 0),
        seed=seed,
        exact=exact,
        method="all circular shifts of the positions" if exact else "circular shifts, at random",
        null="the positions have nothing to do with the price: any shift was as likely",
        alternative=alternative,
    )


def random_entry(
    positions: FloatArray1D,
    changes: FloatArray1D,
    *,
    seed: int,
    n_paths: int = 9_999,
    sessions: IntArray1D | None = None,
    alternative: str = "greater",
) -> TimingReport:
    """Return a test of timing by trades that begin at random.

    Parameters
    ----------
    positions, changes, seed, alternative
        As in `shift_positions`.
    n_paths : int, optional
        Random arrangements.
    sessions : ndarray of shape (n_sessions + 1,), int64, optional
        First period of each session, and n: trades stay in their session. A trade must then
        not be held from one into the next.

    Returns
    -------
    TimingReport

    Raises
    ------
    InputError
        For arrays that cannot be used, or an unknown alternative.
    """
    positions, changes = _checked(positions, changes)
    check_paths(n_paths)
    holds = find_holds(positions)
    segments = np.array([0, positions.size], np.int64)
    if sessions is not None:
        segments = _checked_sessions(sessions, positions.size, holds)
    profits = np.empty(n_paths)
    for i in range(n_paths):
        draws = path_stream(seed, "timing", "entry", i).random(holds.starts.size)
        places = random_places(holds, segments, draws)
        profits[i] = placed_profit(positions, changes, holds.starts, holds.lengths, places)
    within = "" if sessions is None else " of their sessions"
    return _report(
        positions,
        changes,
        profits,
        observed=shifted_profit(positions, changes, 0),
        seed=seed,
        exact=False,
        method=f"trades begun at random moments{within}, with their sides, sizes and lengths",
        null=f"entries came at random moments{within}, whatever the price did",
        alternative=alternative,
    )


def _report(
    positions: FloatArray1D,
    changes: FloatArray1D,
    profits: FloatArray1D,
    *,
    observed: float,
    seed: int,
    exact: bool,
    method: str,
    null: str,
    alternative: str,
) -> TimingReport:
    holds = find_holds(positions)
    ends = np.concatenate([[0.0], np.cumsum(positions * changes)])
    units = count_units(ends[holds.starts + holds.lengths] - ends[holds.starts], "trade")
    # Equal profits that were added up in another order differ in their last bits.
    tie = 1e-12 * float(np.abs(positions).max()) * math.fsum(np.abs(changes).tolist())
    summary = summarise(
        profits,
        statistic="profit",
        method=method,
        units=units,
        seed=seed,
        observed=observed,
        null=null,
        alternative=alternative,
        tie=tie,
    )
    if exact and summary.p_value is not None:
        p = dataclasses.replace(summary.p_value, error=0.0)
        summary = dataclasses.replace(summary, p_value=p)
    notes = ["profits are gross of costs, which are as many in every path"]
    if not positions.any():
        notes.append("there is no position: nothing was timed")
    return TimingReport(
        n_periods=positions.size,
        n_holds=holds.starts.size,
        exposure=float(np.count_nonzero(positions)) / positions.size,
        exact=exact,
        profit=summary,
        notes=tuple(notes),
        paths=profits,
    )


# -- checks ----------------------------------------------------------------------------


def _checked(positions: FloatArray1D, changes: FloatArray1D) -> tuple[FloatArray1D, FloatArray1D]:
    found = []
    for name, values in (("positions", positions), ("price changes", changes)):
        array = np.ascontiguousarray(values, np.float64)
        if array.ndim != 1:
            raise InputError(f"{name} are one series, found shape {array.shape}")
        if not np.isfinite(array).all():
            place = int(np.argmin(np.isfinite(array)))
            raise InputError(f"{name} must be finite, found {array[place]} at period {place}")
        found.append(array)
    if found[0].size != found[1].size:
        raise InputError(
            f"each period has a position and a price change, found {found[0].size} positions and "
            f"{found[1].size} changes"
        )
    if found[0].size < 2:
        raise InputError(f"a test of timing needs at least 2 periods, found {found[0].size}")
    return found[0], found[1]


def _checked_sessions(sessions: IntArray1D, n: int, holds: Holds) -> IntArray1D:
    segments = np.ascontiguousarray(sessions, np.int64)
    rising = segments.ndim == 1 and segments.size >= 2 and bool((np.diff(segments) > 0).all())
    if not rising or segments[0] != 0 or segments[-1] != n:
        raise InputError(
            f"sessions are given by their first periods, rising from 0, and {n} at the end"
        )
    first = np.searchsorted(segments, holds.starts, side="right")
    last = np.searchsorted(segments, holds.starts + holds.lengths - 1, side="right")
    if (first != last).any():
        place = int(holds.starts[int(np.argmax(first != last))])
        raise InputError(
            f"the trade that begins at period {place} is held into the next session; leave "
            f"sessions out, or shift the positions instead"
        )
    return segments
