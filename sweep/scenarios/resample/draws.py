"""Drawing the blocks of a path, for each method."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from sweep.kernel.paths.derive import SESSION
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.schema import IntArray1D
from sweep.ticks.sessions import DAY, Sessions

__all__ = ["Blocks", "SlotTable", "draw_blocks", "draw_sessions", "slot_table", "tick_blocks"]


class Blocks(NamedTuple):
    """What a path is joined of.

    Attributes
    ----------
    first, end : ndarray of shape (n_pieces,), int64
        Source ticks; no piece is empty.
    shift : ndarray of shape (n_pieces,), int64, or None
        Nanoseconds added to the stamps; None: each piece goes on from the one before.
    place : ndarray of shape (n_pieces,), int64
        Of the session or block times `sweep.kernel.paths.derive.SESSION`, and of the slot.
    opens, blocks : ndarray of int64
        Pieces at which a session of the path begins, and a drawn block.
    """

    first: IntArray1D
    end: IntArray1D
    shift: IntArray1D | None
    place: IntArray1D
    opens: IntArray1D
    blocks: IntArray1D


def draw_blocks(
    spec: ResampleSpec,
    sessions: Sessions,
    table: SlotTable | None,
    ts: IntArray1D,
    begin: int,
    end: int,
    draw: np.random.Generator,
) -> Blocks:
    """Draw the blocks of one path.

    Parameters
    ----------
    spec : ResampleSpec
    sessions : Sessions
    table : SlotTable or None
        With ``slots``.
    ts : ndarray of shape (n_ticks,), int64
    begin, end : int
        Range of source ticks.
    draw : Generator
    """
    if spec.method in ("identity", "sessions"):
        own = np.arange(len(sessions))
        if spec.method == "identity":
            chosen, opened = own, own
        else:
            chosen, opened = draw_sessions(sessions.kinds, spec.length, draw)
        first, last = sessions.begins[chosen], sessions.ends[chosen]
        shift = whole_days(ts[sessions.begins] - ts[first])
        return Blocks(first, last, shift, own * SESSION, own, opened)
    if table is not None:
        return _slots(sessions, table, draw)
    return tick_blocks(spec.method, spec.length, begin, end, draw)


def draw_sessions(
    kinds: IntArray1D, length: float, draw: np.random.Generator
) -> tuple[IntArray1D, IntArray1D]:
    """Draw a source session of the same kind for each session.

    Blocks of consecutive sessions have a geometric length (the stationary bootstrap); one
    also ends where the next session is of another kind than the one to be filled.

    Parameters
    ----------
    kinds : ndarray of shape (n_sessions,), int64
    length : float
        Mean length of a block, at least 1.
    draw : Generator

    Returns
    -------
    chosen : ndarray of shape (n_sessions,), int64
    opened : ndarray of shape (n_blocks,), int64
        Sessions at which a block begins.

    References
    ----------
    Politis & Romano (1994), The stationary bootstrap, JASA 89(428), section 2.
    """
    n = len(kinds)
    alike = [np.flatnonzero(kinds == kind) for kind in range(int(kinds.max()) + 1)]
    again = draw.random(n) < 1.0 / length
    spot = draw.random(n)
    chosen = np.zeros(n, np.int64)
    opened = []
    for k in range(n):
        follower = (chosen[k - 1] + 1) % n
        if k > 0 and not again[k] and kinds[follower] == kinds[k]:
            chosen[k] = follower
        else:
            own = alike[kinds[k]]
            chosen[k] = own[int(spot[k] * len(own))]
            opened.append(k)
    return chosen, np.array(opened, np.int64)


def whole_days(distance: IntArray1D) -> IntArray1D:
    """Return distances in time rounded to whole days, so that clock times stay."""
    return np.asarray((distance + DAY // 2) // DAY * DAY, np.int64)


class SlotTable(NamedTuple):
    """Where the slots of all sessions begin.

    Attributes
    ----------
    cuts : ndarray of shape (n_sessions, n_slots + 1), int64
        First tick of each session's slots; the last is where the session ends. Sessions of
        a kind have their slots of the same clock time in the same column.
    used : ndarray of shape (n_sessions, n_slots), bool
        Whether the session has ticks there.
    days : ndarray of shape (n_sessions,), int64
        Nanoseconds, whole days, between a session and the first one of its kind.
    """

    cuts: IntArray1D
    used: np.ndarray[Any, np.dtype[np.bool_]]
    days: IntArray1D


def slot_table(sessions: Sessions, ts: IntArray1D, slot: int) -> SlotTable:
    """Cut all sessions at multiples of ``slot`` nanoseconds."""
    opened, closed = ts[sessions.begins], ts[sessions.ends - 1]
    _, model = np.unique(sessions.kinds, return_index=True)
    days = whole_days(opened - opened[model[sessions.kinds]])
    first, last = (opened - days) // slot, (closed - days) // slot
    # What the first session of a kind has as its first slot may be a later one of another.
    begin = np.array([first[sessions.kinds == k].min() for k in range(len(model))])
    n_slots = int((last - begin[sessions.kinds]).max()) + 1
    edges = (begin[sessions.kinds][:, None] + np.arange(n_slots + 1)) * slot + days[:, None]
    cuts = np.searchsorted(ts, edges, "left")
    cuts = np.clip(cuts, sessions.begins[:, None], sessions.ends[:, None])
    return SlotTable(cuts, cuts[:, 1:] > cuts[:, :-1], days)


def _slots(sessions: Sessions, table: SlotTable, draw: np.random.Generator) -> Blocks:
    """Fill each slot of each session from the same clock time of a session of its kind.

    A session has the slots from its first to its last one with ticks; where the session
    that is drawn has none in a slot, there are none.
    """
    n_slots = table.used.shape[1]
    spot = draw.random(table.used.shape)
    chosen = np.zeros(table.used.shape, np.int64)
    for kind in range(int(sessions.kinds.max()) + 1):
        own = np.flatnonzero(sessions.kinds == kind)
        chosen[own] = own[(spot[own] * len(own)).astype(np.int64)]
    column = np.arange(n_slots)
    session = np.broadcast_to(np.arange(len(sessions))[:, None], chosen.shape)
    first, last = table.cuts[chosen, column], table.cuts[chosen, column + 1]
    lowest = np.argmax(table.used, axis=1)[:, None]
    highest = n_slots - 1 - np.argmax(table.used[:, ::-1], axis=1)[:, None]
    there = (last > first) & (column >= lowest) & (column <= highest)
    shift = (table.days[session] - table.days[chosen])[there]
    place = (session * SESSION + column)[there]
    opens = np.flatnonzero(np.diff(place // SESSION, prepend=-1))
    return Blocks(first[there], last[there], shift, place, opens, np.arange(len(place)))


def tick_blocks(
    method: str, length: float, begin: int, end: int, draw: np.random.Generator
) -> Blocks:
    """Draw blocks counted in ticks, until there are as many ticks as in the source.

    Parameters
    ----------
    method : {"stationary", "circular", "moving"}
    length : float
        Ticks of a block, for ``stationary`` the mean of a geometric distribution.
    begin, end : int
        Range of source ticks. ``stationary`` and ``circular`` blocks go on at ``begin``
        after ``end``.
    draw : Generator

    References
    ----------
    Politis & Romano (1994), The stationary bootstrap, JASA 89(428), section 2; Politis &
    Romano (1992), A circular block-resampling procedure for stationary data; Kunsch
    (1989), The jackknife and the bootstrap for general stationary observations.
    """
    n = end - begin
    starts: list[IntArray1D] = []
    sizes: list[IntArray1D] = []
    total = 0
    while total < n:
        more = math.ceil((n - total) / length * 1.05) + 8 if method == "stationary" else (
            math.ceil((n - total) / length)
        )  # fmt: skip
        highest = n - int(length) if method == "moving" else n - 1
        starts.append(draw.integers(0, highest + 1, more))
        if method == "stationary":
            sizes.append(draw.geometric(1.0 / length, more))
        else:
            sizes.append(np.full(more, int(length), np.int64))
        total += int(sizes[-1].sum())
    start, size = np.concatenate(starts), np.concatenate(sizes)
    ends = np.cumsum(size)
    count = int(np.searchsorted(ends, n, "left")) + 1
    start, size = start[:count], size[:count].copy()
    size[-1] -= ends[count - 1] - n
    # A block that wraps is several pieces.
    rounds = (start + size - 1) // n + 1
    block = np.repeat(np.arange(count), rounds)
    opened = np.cumsum(rounds) - rounds
    turn = np.arange(len(block)) - opened[block]
    first = np.maximum(start[block], turn * n) - turn * n
    last = np.minimum((start + size)[block], (turn + 1) * n) - turn * n
    place = np.arange(len(first)) * SESSION
    return Blocks(first + begin, last + begin, None, place, np.zeros(1, np.int64), opened)
