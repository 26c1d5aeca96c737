"""From a series to the plan of a path: which ticks it consists of, at what level and time.

`prepare` looks through a series once; `plan_path` draws a path by its number alone, so
that path 17 is the same among 100 and among 10,000 paths, in any process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sweep.errors import DataError
from sweep.kernel.paths.derive import PIECE, Grid
from sweep.scenarios.resample.draws import Blocks, SlotTable, draw_blocks, slot_table
from sweep.scenarios.resample.grid import find_grid
from sweep.scenarios.resample.spec import METHODS, TICK_METHODS, ResampleSpec
from sweep.schema import FloatArray1D, IntArray1D, Ticks
from sweep.text import counted
from sweep.ticks.sessions import Sessions, find_sessions, sessions_by_clock

__all__ = ["Path", "Resampler", "plan_path", "prepare"]

#: First element of the position of the random streams of paths.
PURPOSE = 0x70617468

#: Units below which a resampled distribution's tails say little.
_FEW_UNITS = 30


@dataclass(frozen=True)
class Resampler:
    """A series made ready: what every process needs to draw any path of it.

    Attributes
    ----------
    spec : ResampleSpec
    begin, end : int
        Range of source ticks.
    sessions : Sessions
        Empty for methods that count in ticks.
    slots : SlotTable or None
        With ``slots``.
    grid : Grid
    lowest : float
        Lowest price in the range, in ticks of the grid (0 without one).
    step : int
        Nanoseconds between two ticks in the middle of all: the time step of the range's
        first tick, which has none of its own.
    units : int
        Independent units that can be drawn, in whole blocks: sessions by their mean block,
        ticks by theirs.
    warnings : tuple of str
        What a reader of the results must know.
    """

    spec: ResampleSpec
    begin: int
    end: int
    sessions: Sessions
    slots: SlotTable | None
    grid: Grid
    lowest: float
    step: int
    units: int
    warnings: tuple[str, ...]


class Path(NamedTuple):
    """A resampled path: its pieces in order.

    Attributes
    ----------
    pieces : ndarray of shape (n_pieces,), dtype `sweep.kernel.paths.derive.PIECE`
        None of them is empty.
    starts : ndarray of shape (n_starts,), int64
        Pieces at which the strategy begins afresh; the first is 0.
    """

    pieces: np.ndarray[Any, Any]
    starts: IntArray1D

    @property
    def edges(self) -> IntArray1D:
        """Ticks of the path before each piece, and all: ndarray of shape (n_pieces + 1,)."""
        sizes = self.pieces["end"] - self.pieces["first"]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def n_ticks(self) -> int:
        """Ticks of the path."""
        return int((self.pieces["end"] - self.pieces["first"]).sum())


def prepare(ticks: Ticks, spec: ResampleSpec, begin: int = 0, end: int | None = None) -> Resampler:
    """Look through a series: its sessions, its price grid, what cannot be resampled.

    Parameters
    ----------
    ticks : Ticks
    spec : ResampleSpec
    begin, end : int, optional
        Range of ticks that paths are drawn from; by default all.

    Raises
    ------
    DataError
        If the series has a single session, or is shorter than a block (in ticks or in
        sessions), or has quotes that are no positive numbers, or does not lie on the grid
        that is asked for.
    """
    end = len(ticks.ts) if end is None else end
    if not 0 <= begin < end <= len(ticks.ts):
        raise DataError(f"ticks {begin} to {end} of {len(ticks.ts):,}: nothing to resample")
    if spec.method in TICK_METHODS and spec.length > end - begin:
        raise DataError(
            f"resampling: blocks of {spec.length:g} ticks are longer than the data, "
            f"{end - begin:,} ticks; use a shorter block"
        )
    grid, lowest = find_grid(ticks, begin, end, spec.tick_size)
    if spec.level == "ticks" and not grid.per_unit:
        raise DataError(
            "resampling: level = 'ticks' needs prices on a grid, and none was found; use "
            "level = 'log'"
        )
    sessions = _sessions(ticks.ts, spec, begin, end)
    warnings = [spec.warning] if spec.warning else []
    units = _units(spec, sessions, end - begin, warnings)
    slots = None
    if spec.method == "slots":
        slots = slot_table(sessions, ticks.ts, round(spec.length * 60e9))
    step = _step(ticks.ts, begin, end)
    found = tuple(warnings)
    return Resampler(spec, begin, end, sessions, slots, grid, lowest, step, units, found)


def plan_path(resampler: Resampler, ticks: Ticks, number: int) -> Path:
    """Return a path by its number.

    Parameters
    ----------
    resampler : Resampler
    ticks : Ticks
        The series that it was made from.
    number : int
        0 or more; the path depends on it, the spec and the series alone.

    Raises
    ------
    DataError
        If prices of the path would not be positive (``level = "ticks"`` alone).
    """
    spec = resampler.spec
    key = (PURPOSE, METHODS[spec.method], number)
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence(spec.seed, spawn_key=key)))
    blocks = draw_blocks(
        spec, resampler.sessions, resampler.slots, ticks.ts, resampler.begin, resampler.end, draw
    )
    return lay_out(resampler, ticks, blocks)


def lay_out(resampler: Resampler, ticks: Ticks, blocks: Blocks) -> Path:
    """Return the path of some blocks: each at the level and the time that it continues."""
    pieces = np.zeros(len(blocks.first), PIECE)
    pieces["first"] = blocks.first
    pieces["end"] = blocks.end
    pieces["place"] = blocks.place
    _set_levels(pieces, resampler, ticks)
    if blocks.shift is None:
        pieces["shift"] = _continued(pieces, ticks.ts, resampler)
    else:
        pieces["shift"] = _in_order(pieces, ticks.ts, blocks.shift)
    wanted = {"never": blocks.opens[:0], "session": blocks.opens, "block": blocks.blocks}
    starts = np.union1d([0], wanted[resampler.spec.restarts]).astype(np.int64)
    return Path(pieces, starts)


def _set_levels(pieces: Any, resampler: Resampler, ticks: Ticks) -> None:
    """Let each piece begin with the change that its first tick had in the source.

    The range's first tick has none: it repeats the level before it.
    """
    first = pieces["first"]
    # Each piece's first tick is compared with the tick before it, which takes the level
    # of the last tick of the piece before. The path begins at the range's first mid.
    before = np.maximum(first - 1, resampler.begin)
    before[0] = first[0]
    known = np.concatenate([[resampler.begin], pieces["end"][:-1] - 1])
    per_unit = resampler.grid.per_unit
    if resampler.spec.level == "log":
        pieces["factor"] = np.cumprod(_mid(ticks, known) / _mid(ticks, before))
        return
    pieces["factor"] = 1.0
    halves = _half_ticks(ticks, known, per_unit) - _half_ticks(ticks, before, per_unit)
    pieces["offset"] = np.floor(np.cumsum(halves) / 2.0)
    if resampler.lowest + pieces["offset"].min() <= 0.0:
        raise DataError(
            "resampling: a path with the moves of level = 'ticks' would come to prices of 0 or "
            "below; use level = 'log'"
        )


def _mid(ticks: Ticks, places: IntArray1D) -> FloatArray1D:
    return 0.5 * (ticks.bid[places] + ticks.ask[places])


def _half_ticks(ticks: Ticks, places: IntArray1D, per_unit: float) -> FloatArray1D:
    return np.rint(ticks.bid[places] * per_unit) + np.rint(ticks.ask[places] * per_unit)


def _continued(pieces: Any, ts: IntArray1D, resampler: Resampler) -> IntArray1D:
    """Return shifts by which each piece begins its own time step after the one before."""
    first = pieces["first"]
    before = np.maximum(first - 1, resampler.begin)
    steps = ts[first] - ts[before]
    steps[first == resampler.begin] = resampler.step
    steps[0] = 0
    lasts = ts[pieces["end"] - 1] - ts[first]
    opened = int(ts[resampler.begin]) + np.cumsum(steps)
    opened[1:] += np.cumsum(lasts)[:-1]
    return np.asarray(opened - ts[first], np.int64)


def _in_order(pieces: Any, ts: IntArray1D, shift: IntArray1D) -> IntArray1D:
    """Return shifts by which no stamp lies before the one ahead of it."""
    opened = ts[pieces["first"]]
    closed = ts[pieces["end"] - 1]
    shift = shift.copy()
    if (opened[1:] + shift[1:] >= closed[:-1] + shift[:-1]).all():
        return shift
    for k in range(1, len(shift)):
        shift[k] = max(shift[k], closed[k - 1] + shift[k - 1] - opened[k])
    return shift


def _sessions(ts: IntArray1D, spec: ResampleSpec, begin: int, end: int) -> Sessions:
    empty = np.zeros(0, np.int64)
    if spec.method in TICK_METHODS:
        return Sessions(empty, empty, empty)
    if spec.opens is not None:
        return sessions_by_clock(ts, spec.opens, begin, end)
    gap = None if spec.gap is None else round(spec.gap * 60e9)
    return find_sessions(ts, begin, end, gap=gap)


def _units(spec: ResampleSpec, sessions: Sessions, n_ticks: int, warnings: list[str]) -> int:
    """Return the number of independent units; add what is to be said of it."""
    if spec.method == "identity":
        return 1
    if spec.method in TICK_METHODS:
        units = int(n_ticks // spec.length)
        name = "block"
    else:
        units, name = len(sessions), "session"
        if units < 2:
            raise DataError(
                f"resampling: {spec.method} needs several sessions, and the data have one; use "
                f"more data, or say where sessions begin (gap, opens)"
            )
        counts = np.bincount(sessions.kinds)
        alone = int((counts == 1).sum())
        if alone == units:
            raise DataError(
                f"resampling: no two of the {units} sessions open and close at about the same "
                f"time of day, so that none can stand for another; say where sessions begin "
                f"(gap, opens)"
            )
        if alone:
            warnings.append(
                f"{alone} of {units} sessions are alone with their opening or closing time "
                f"(cut off, half a day, a clock change) and stay where they are in every path"
            )
        if spec.method == "sessions" and spec.length > 1.0:
            _check_length(spec.length, units)
            units, name = int(units // spec.length), f"block of {spec.length:.3g} sessions"
    if units < _FEW_UNITS:
        warnings.append(
            f"{_counted(units, name)} to draw from: too few units for the tails of a "
            f"distribution, however many paths are drawn"
        )
    return units


def _counted(n: int, noun: str) -> str:
    """Return a number with a noun that may have an attribute: ``2 blocks of 3 sessions``."""
    head, *rest = noun.split(" ", 1)
    return " ".join([counted(n, head), *rest])


def _check_length(length: float, n: int) -> None:
    """Refuse blocks of more sessions than there are."""
    if length <= n:
        return
    most = n // _FEW_UNITS
    better = f", or at most {most} for {_FEW_UNITS} blocks or more" if most > 1 else ""
    raise DataError(
        f"resampling: blocks of {length:,g} sessions on average are longer than the data, "
        f"{n:,} sessions; use a block of 1 to {n:,} sessions{better}"
    )


def _step(ts: IntArray1D, begin: int, end: int, most: int = 1 << 20) -> int:
    """Return the usual time between two ticks."""
    part = ts[begin : min(end, begin + most)]
    return int(np.median(np.diff(part))) if len(part) > 1 else 0
