"""Other futures for ticks that were seen: what a feature must not depend on.

Everything up to a place is a function of the ticks up to it. To put that to the test, the
ticks after a place are replaced in several ways, at many places. Few places miss leaks that
show at some ticks alone: the choice of a window over the whole sample changes only where
another future makes another window the best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.schema import IntArray1D, Ticks
from sweep.ticks.sessions import find_sessions

__all__ = ["FUTURES", "another_future", "cut_places", "with_equal_stamps"]

#: How the ticks after a place are replaced, and how that is said.
FUTURES = {
    "cut": "cut off",
    "scaled": "scaled",
    "walk": "replaced by a random walk",
    "reversed": "in reverse order",
    "still": "at one price",
    "missing": "late and without prices",
}

_SCALE = 1.07
#: Of the random walk, a tick: strong, so that what was best before is best no more.
_VOLATILITY = 2e-3
_LATE = 3600 * 10**9
#: Share of ticks with the stamp of the one before, below which some are made.
_EQUAL = 0.01
_EACH_EQUAL = 23


def cut_places(ts: IntArray1D, *, n_random: int = 8, n_each: int = 3) -> list[int]:
    """Return places at which the future is replaced, ascending.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Nanoseconds, never decreasing; some ticks at least.
    n_random : int, optional
        Anywhere.
    n_each : int, optional
        Of each kind: between two ticks of one stamp; after the last tick of a stamp; where a
        session begins, and one tick after that.

    Returns
    -------
    list of int
        In ``[1, n_ticks)``: the first tick that is replaced.
    """
    n = len(ts)
    draw = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(n,)))
    equal = np.flatnonzero(np.diff(ts) == 0) + 1
    after = equal[:-1][np.diff(equal) > 1] + 1
    begins = find_sessions(ts).begins[1:]
    picked = [_some(draw, np.arange(n // 50 + 1, n), n_random)]
    picked += [_some(draw, part, n_each) for part in (equal, after)]
    for part in (begins, begins + 1):
        picked.append(part[:n_each])
    found = np.concatenate(picked)
    return sorted({int(k) for k in found if 1 <= k < n})


def _some(draw: np.random.Generator, places: NDArray[Any], count: int) -> NDArray[Any]:
    return draw.choice(places, min(count, len(places)), replace=False) if len(places) else places


def with_equal_stamps(ticks: Ticks) -> Ticks:
    """Return the ticks with stamps that are equal here and there, if there are hardly any."""
    ts = ticks.ts
    if len(ts) < 2 or (np.diff(ts) == 0).mean() >= _EQUAL:
        return ticks
    out = ts.copy()
    out[_EACH_EQUAL::_EACH_EQUAL] = out[_EACH_EQUAL - 1 : -1 : _EACH_EQUAL]
    out.flags.writeable = False
    return ticks._replace(ts=out)


def another_future(ticks: Ticks, cut: int, kind: str) -> Ticks:
    """Return the ticks with another future from a place on.

    Parameters
    ----------
    ticks : Ticks
    cut : int
        The first tick that is replaced, at least 1.
    kind : str
        Among `FUTURES`.

    Returns
    -------
    Ticks
        As many as there were, but for ``"cut"``; those before the place are the same bits. The
        stamps never decrease: a random walk goes on a nanosecond later, what is missing an hour.
    """
    if kind == "cut":
        return ticks.between(0, cut)
    n = len(ticks.ts) - cut
    draw = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(cut,)))
    last = int(ticks.ts[cut - 1])
    bid, ask = float(ticks.bid[cut - 1]), float(ticks.ask[cut - 1])
    if kind == "scaled":
        return _joined(ticks, cut, _same, lambda p, _: p * _SCALE, lambda s: 2.0 * s + 1.0)
    if kind == "walk":
        moves = np.exp(np.cumsum(_VOLATILITY * draw.standard_normal(n)))
        steps = np.cumsum(np.append(1, draw.integers(0, 10**9, n - 1)))
        return _joined(
            ticks,
            cut,
            lambda ts: last + steps,
            lambda p, side: (bid if side == "bid" else ask) * moves,
            lambda s: s + draw.random(n),
        )
    if kind == "reversed":
        gaps = np.diff(ticks.ts[cut - 1 :])[::-1]
        return _joined(
            ticks, cut, lambda ts: last + np.cumsum(gaps), lambda p, _: p[::-1], lambda s: s[::-1]
        )
    if kind == "still":
        return _joined(
            ticks,
            cut,
            _same,
            lambda p, side: np.full(n, bid if side == "bid" else ask),
            lambda s: np.ones(n),
        )
    return _joined(
        ticks, cut, lambda ts: ts + _LATE, lambda p, _: np.full(n, np.nan), lambda s: np.zeros(n)
    )


def _same(column: Any) -> Any:
    return column


def _joined(
    ticks: Ticks,
    cut: int,
    stamps: Callable[[Any], Any],
    prices: Callable[[Any, str], Any],
    sizes: Callable[[Any], Any],
) -> Ticks:
    def joined(column: Any, change: Callable[[Any], Any]) -> Any:
        if not len(column):
            return column
        out = np.concatenate([column[:cut], change(column[cut:])]).astype(column.dtype)
        out.flags.writeable = False
        return out

    return Ticks(
        joined(ticks.ts, stamps),
        joined(ticks.bid, lambda p: prices(p, "bid")),
        joined(ticks.ask, lambda p: prices(p, "ask")),
        joined(ticks.bid_size, sizes),
        joined(ticks.ask_size, sizes),
    )
