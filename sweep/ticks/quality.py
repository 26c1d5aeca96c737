"""Checks of ticks on their way into the store, and the report of what they found.

Ticks come in chunks: dicts of equally long columns ``ts`` (int64, nanoseconds since the
epoch, UTC), ``bid``, ``ask`` (float64), optionally ``bid_size``, ``ask_size`` (float64),
and ``row`` (int64), the place that a tick was read from (:func:`pack_rows`). The checks
run in a fixed order, each on what the ones before let through, and count over the whole
source; no result depends on where the chunks were cut.

====================  =================================================================
missing (``nan``)     no stamp, or a price that is NaN or absent
``infinite``          an infinite price or size
``non_positive``      a price of zero or below, or a negative size
``crossed``           ask below bid
``backward``          a stamp before the latest stamp of the ticks let through so far
``duplicate``         the same stamp as the tick before
``outlier``           a jump of the mid that the next tick takes back (:data:`JUMP`)
====================  =================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sweep.errors import DataError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.text import counted

__all__ = [
    "CHECKS",
    "NO_STAMP",
    "Checker",
    "Chunk",
    "Finding",
    "Policies",
    "TickReport",
    "concatenate",
    "format_duration",
    "format_stamp",
    "gap_statistics",
    "pack_rows",
    "take",
]

Chunk = dict[str, NDArray[Any]]
BoolArray = NDArray[np.bool_]

#: The stamp of a tick whose time is absent (NumPy's NaT).
NO_STAMP: int = int(np.iinfo(np.int64).min)

#: A mid is an outlier if it jumps by more than this many scales and the next tick takes
#: back more than half of the jump. The scale is the larger of the median spread and the
#: median absolute change of the mid, changes of zero left out, over the block of
#: ``BLOCK`` ticks around it. Gaps over a weekend do not come back, so they stay.
JUMP = 20.0
BLOCK = 65_536

_FILE_SHIFT = 40
_ROW_MASK = (1 << _FILE_SHIFT) - 1

#: Each check with the policies that it knows, its default first.
CHECKS: dict[str, tuple[str, ...]] = {
    "nan": ("error", "drop", "fill"),
    "infinite": ("error", "drop"),
    "non_positive": ("error", "drop"),
    "crossed": ("error", "drop", "keep"),
    "backward": ("error", "drop", "sort"),
    "duplicate": ("keep", "drop", "error"),
    "outlier": ("keep", "drop", "error"),
}

_WHAT = {
    "nan": ("tick", " with a missing stamp or price"),
    "infinite": ("infinite quote", ""),
    "non_positive": ("non-positive quote", ""),
    "crossed": ("crossed quote", " (ask < bid)"),
    "backward": ("backward stamp", ""),
    "duplicate": ("duplicate stamp", ""),
    "outlier": ("outlier", " (a jump of the mid that the next tick takes back)"),
}


@dataclass(frozen=True)
class Policies:
    """What to do with ticks that a check finds: ``error``, ``drop``, ``keep``, ...

    Attributes
    ----------
    backward : {"error", "drop", "sort"}
        ``sort`` orders the series by stamp; equal stamps keep the order of the source.
    duplicate : {"keep", "drop", "error"}
        ``drop`` keeps the first tick of each stamp.
    nan : {"error", "drop", "fill"}
        ``fill`` gives a missing bid or ask its last known value, for feeds that write
        only the side that changed (MetaTrader 5); ticks before the first value are
        dropped.
    infinite, non_positive : {"error", "drop"}
    crossed : {"error", "drop", "keep"}
    outlier : {"keep", "drop", "error"}
        Dropping uses the tick after the outlier, which a live strategy would not know.

    Raises
    ------
    DataError
        If a policy is not one of those.
    """

    backward: str = "error"
    duplicate: str = "keep"
    nan: str = "error"
    infinite: str = "error"
    non_positive: str = "error"
    crossed: str = "error"
    outlier: str = "keep"

    def __post_init__(self) -> None:
        for item in fields(self):
            policy, policies = getattr(self, item.name), CHECKS[item.name]
            if policy not in policies:
                raise DataError(
                    f"data.policies.{item.name}: {policy!r} is not a policy of this check; "
                    f"use one of {', '.join(policies)}"
                )

    def of(self, check: str) -> str:
        """Policy of the check of that name."""
        policy: str = getattr(self, check)
        return policy


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    check, policy : str
    count : int
        Ticks found, over the whole source.
    first : str
        Where the first one is, in words; empty if there is none.
    row : int or None
        Its row in ``file``, counted from 1, a header not counted.
    file : str or None
    ts : int or None
        Its stamp, None if it has none.
    """

    check: str
    policy: str
    count: int
    first: str = ""
    row: int | None = None
    file: str | None = None
    ts: int | None = None


@dataclass(frozen=True)
class TickReport:
    """Counts of ticks read and kept, their span and gaps, and the findings of the checks.

    Attributes
    ----------
    source : str
    files, rows_read, rows_kept : int
    first_ts, last_ts : int
        Of the ticks kept; nanoseconds since the epoch, UTC.
    median_gap : int
        Median (of an even count: the lower) time between neighbouring ticks,
        nanoseconds; exact. 0 for a single tick.
    largest_gap, largest_gap_ts : int
        Nanoseconds, and the stamp at which that gap ends.
    findings : tuple of Finding
        One for each check, in the order in which they run.
    notes : tuple of str
        What was recognised in the source: its columns, its time format.
    """

    source: str
    files: int
    rows_read: int
    rows_kept: int
    first_ts: int
    last_ts: int
    median_gap: int
    largest_gap: int
    largest_gap_ts: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def untouched(self) -> bool:
        """Whether the series is the source as it was read: no tick dropped, filled or moved."""
        return all(f.count == 0 or f.policy == "keep" for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; :meth:`from_dict` turns it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TickReport:
        """Report from what :meth:`to_dict` gave."""
        findings = tuple(Finding(**finding) for finding in data["findings"])
        return cls(**{**data, "findings": findings, "notes": tuple(data["notes"])})

    def summary(self) -> list[str]:
        """Return how many ticks there are, their span and their gaps, in two lines."""
        files = f" in {self.files:,} files" if self.files > 1 else ""
        span = f"{format_stamp(self.first_ts)} to {format_stamp(self.last_ts)}"
        return [
            f"{self.source}: {self.rows_read:,} ticks read{files}, {self.rows_kept:,} kept",
            f"{span} ({format_duration(self.last_ts - self.first_ts)}); "
            f"median gap {format_duration(self.median_gap)}, "
            f"largest {format_duration(self.largest_gap)} "
            f"before {format_stamp(self.largest_gap_ts)}",
        ]

    def lines(self) -> list[str]:
        """Return the whole report in lines of text."""
        checks = [
            f"  {f.check:<13}{f.count:>12,}  {f.policy:<6}" + (f"  first {f.first}" * bool(f.count))
            for f in self.findings
        ]
        notes = [f"  {note}" for note in self.notes]
        return [*self.summary(), *(line.rstrip() for line in checks), *notes]


def format_stamp(ts: int) -> str:
    """Nanoseconds since the epoch as ISO 8601 with as many decimals as it has."""
    if ts == NO_STAMP:
        return "no stamp"
    text = str(np.datetime64(ts, "ns"))
    seconds, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    # Three, six or nine decimals: how feeds write them.
    fraction += "0" * (-len(fraction) % 3)
    return f"{seconds}.{fraction}Z" if fraction else f"{seconds}Z"


def format_duration(ns: int) -> str:
    """Nanoseconds with three or so digits and the unit that suits them."""
    for unit, size in (("d", 86_400e9), ("h", 3_600e9), ("min", 60e9), ("s", 1e9)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns} ns"


def pack_rows(file: int, rows: IntArray1D) -> IntArray1D:
    """Places of ticks: number of the file and row in it (from 1) in one int64."""
    return (rows + (file << _FILE_SHIFT)).astype(np.int64, copy=False)


def take(chunk: Chunk, which: BoolArray | IntArray1D | slice) -> Chunk:
    """Rows of a chunk, by mask, positions or slice."""
    return {name: column[which] for name, column in chunk.items()}


def concatenate(chunks: list[Chunk]) -> Chunk:
    """One chunk from several with the same columns."""
    if len(chunks) == 1:
        return chunks[0]
    return {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}


@dataclass
class _Tally:
    count: int = 0
    place: int = 0
    ts: int = 0
    bid: float = 0.0
    ask: float = 0.0


@dataclass
class Checker:
    """The checks over one source; its state depends on all ticks read so far.

    Ticks pass :meth:`rows` (everything up to ``backward``), then, if that is the policy,
    the caller's sort, then :meth:`series`. After an ``error`` reading continues, so
    that the count covers the source; :attr:`refused` tells that it has happened, and
    :meth:`error` makes the exception once all are read.

    Attributes
    ----------
    policies : Policies
    source : str
        The source's name in messages.
    files : list of str
        Names of files by number, for places; the reader fills it.
    rows_read : int
    """

    policies: Policies
    source: str
    files: list[str] = field(default_factory=list)
    rows_read: int = 0
    _tallies: dict[str, _Tally] = field(default_factory=lambda: {n: _Tally() for n in CHECKS})
    _latest: int = NO_STAMP
    _last_quote: dict[str, float] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether a check whose policy is ``error`` has found something."""
        return any(self.policies.of(n) == "error" and t.count for n, t in self._tallies.items())

    def rows(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Check each tick by itself and against the latest stamp; yield what remains."""
        for chunk in chunks:
            self.rows_read += len(chunk["ts"])
            if self._spotless(chunk):
                yield chunk
                continue
            kept = self._backward(self._crossed(self._bounds(self._missing(chunk))))
            if len(kept["ts"]):
                yield kept

    def _spotless(self, chunk: Chunk) -> bool:
        """Whether no check by row can find anything: what nearly all chunks are.

        A few passes over the columns instead of some twenty. Each comparison is false for
        a NaN, and a stamp that is absent is the lowest of all, below any that went before.
        """
        stamps, bid, ask = chunk["ts"], chunk["bid"], chunk["ask"]
        if not len(stamps) or self.policies.nan == "fill":
            return False
        sizes = [chunk[n] for n in ("bid_size", "ask_size") if n in chunk]
        good = (
            stamps[0] >= max(self._latest, NO_STAMP + 1)
            and bool((stamps[1:] >= stamps[:-1]).all())
            and bool(bid.min() > 0.0)
            and bool((ask >= bid).all())
            and bool(ask.max() < np.inf)
            and all(bool(size.min() >= 0.0) and bool(size.max() < np.inf) for size in sizes)
        )
        if good:
            self._latest = int(stamps[-1])
        return good

    def series(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Check ticks in order of time against their neighbours; yield what remains."""
        latest = NO_STAMP
        for block in _outlier_blocks(chunks):
            bad = block.pop("outlier")
            stamps = block["ts"]
            same = np.empty(len(stamps), np.bool_)
            same[0] = stamps[0] == latest
            np.equal(stamps[1:], stamps[:-1], out=same[1:])
            latest = int(stamps[-1])
            keep = self._find("duplicate", block, same) & self._find("outlier", block, bad)
            kept = block if keep.all() else take(block, keep)
            if len(kept["ts"]):
                yield kept

    def findings(self) -> tuple[Finding, ...]:
        """One finding for each check."""
        return tuple(self._finding(name) for name in CHECKS)

    def error(self) -> DataError | None:
        """Exception for what was refused, or None."""
        lines = [self._refusal(f) for f in self.findings() if f.policy == "error" and f.count]
        return DataError("\n".join(lines)) if lines else None

    def _find(self, check: str, chunk: Chunk, bad: BoolArray) -> BoolArray:
        """Count bad ticks; return the mask of those that the policy keeps."""
        count = int(np.count_nonzero(bad))
        if not count:
            return np.ones(len(bad), np.bool_)
        tally = self._tallies[check]
        if not tally.count:
            i = int(np.argmax(bad))
            tally.place, tally.ts = int(chunk["row"][i]), int(chunk["ts"][i])
            tally.bid, tally.ask = float(chunk["bid"][i]), float(chunk["ask"][i])
        tally.count += count
        if self.policies.of(check) in ("keep", "sort", "fill"):
            return np.ones(len(bad), np.bool_)
        return ~bad

    def _missing(self, chunk: Chunk) -> Chunk:
        no_stamp = chunk["ts"] == NO_STAMP
        bad = no_stamp | np.isnan(chunk["bid"]) | np.isnan(chunk["ask"])
        keep = self._find("nan", chunk, bad)
        if self.policies.nan != "fill":
            return chunk if keep.all() else take(chunk, keep)
        chunk = dict(chunk)
        for side in ("bid", "ask"):
            chunk[side] = _fill_forward(chunk[side], self._last_quote.get(side, np.nan))
            if len(chunk[side]):
                self._last_quote[side] = float(chunk[side][-1])
        keep = ~(no_stamp | np.isnan(chunk["bid"]) | np.isnan(chunk["ask"]))
        return chunk if keep.all() else take(chunk, keep)

    def _bounds(self, chunk: Chunk) -> Chunk:
        prices = [chunk["bid"], chunk["ask"]]
        sizes = [chunk[n] for n in ("bid_size", "ask_size") if n in chunk]
        infinite = np.zeros(len(chunk["ts"]), np.bool_)
        for column in prices + sizes:
            infinite |= np.isinf(column)
        low = (prices[0] <= 0.0) | (prices[1] <= 0.0)
        for column in sizes:
            low |= column < 0.0
        keep = self._find("infinite", chunk, infinite)
        keep &= self._find("non_positive", chunk, low & ~infinite)
        return chunk if keep.all() else take(chunk, keep)

    def _crossed(self, chunk: Chunk) -> Chunk:
        keep = self._find("crossed", chunk, chunk["ask"] < chunk["bid"])
        return chunk if keep.all() else take(chunk, keep)

    def _backward(self, chunk: Chunk) -> Chunk:
        stamps = chunk["ts"]
        if not len(stamps):
            return chunk
        before = np.maximum.accumulate(np.concatenate([[np.int64(self._latest)], stamps]))
        self._latest = int(before[-1])
        keep = self._find("backward", chunk, stamps < before[:-1])
        return chunk if keep.all() else take(chunk, keep)

    def _finding(self, check: str) -> Finding:
        tally, policy = self._tallies[check], self.policies.of(check)
        if not tally.count:
            return Finding(check, policy, 0)
        row = tally.place & _ROW_MASK
        number = tally.place >> _FILE_SHIFT
        file = self.files[number] if number < len(self.files) else None
        inside = f"{file}, " if file and len(self.files) > 1 else ""
        where = (
            f"at {inside}row {row:,} ({format_stamp(tally.ts)}, bid {tally.bid:.10g} "
            f"ask {tally.ask:.10g})"
        )
        ts = None if tally.ts == NO_STAMP else tally.ts
        return Finding(check, policy, tally.count, where, row, file, ts)

    def _refusal(self, finding: Finding) -> str:
        policies = [p for p in CHECKS[finding.check] if p != "error"]
        noun, qualifier = _WHAT[finding.check]
        alternatives = "".join(f' (or "{policy}")' for policy in policies[1:])
        return (
            f"{self.source}: {counted(finding.count, noun)}{qualifier} of {self.rows_read:,}, "
            f"first {finding.first}; set data.policies.{finding.check} = "
            f'"{policies[0]}"{alternatives} to let them pass'
        )


def _fill_forward(column: FloatArray1D, last: float) -> FloatArray1D:
    """Copy of a column with each NaN replaced by the value before it."""
    latest = np.maximum.accumulate(np.where(np.isnan(column), 0, np.arange(1, len(column) + 1)))
    filled: FloatArray1D = np.concatenate([[last], column])[latest]
    return filled


def _outlier_blocks(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Cut ticks again, into blocks of ``BLOCK`` ticks with a column that marks outliers.

    A block waits for the first tick after it, which shows whether a jump came back. The
    blocks lie at fixed positions, so the marks do not depend on the chunks.
    """
    previous: tuple[FloatArray1D, FloatArray1D] | None = None
    before = np.nan
    for block, after in _blocks(chunks):
        mid = 0.5 * (block["bid"] + block["ask"])
        spread = np.abs(block["ask"] - block["bid"])
        around = np.empty(len(mid) + 2)
        around[0], around[1:-1], around[-1] = before, mid, after
        moves = np.diff(around)
        jump, back = moves[:-1], moves[1:]
        before = mid[-1]
        # Comparisons with the NaN beyond both ends are false: no outlier there.
        with np.errstate(invalid="ignore"):
            if _covers(spread, float(max(np.fmax.reduce(jump), -np.fmin.reduce(jump)))):
                bad = np.zeros(len(mid), np.bool_)
            else:
                scale = _scale(mid, spread)
                # The last block may be too short to know its own scale.
                if len(mid) < BLOCK and previous is not None:
                    scale = max(scale, _scale(*previous))
                bad = (np.abs(jump) > JUMP * scale) & (jump * back < 0.0)
                bad &= np.abs(back) > 0.5 * np.abs(jump)
                bad &= np.abs(back) < 1.5 * np.abs(jump)
        previous = mid, spread
        yield {**block, "outlier": bad}


def _covers(spread: FloatArray1D, move: float) -> bool:
    """Whether a move is plainly no outlier: `JUMP` times the spread is mostly more."""
    return 2 * int(np.count_nonzero(JUMP * spread >= move)) > len(spread)


def _blocks(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, float]]:
    """Blocks of exactly ``BLOCK`` ticks (the last: fewer), each with the mid after it."""
    pending: list[Chunk] = []
    rows = 0
    for chunk in chunks:
        pending.append(chunk)
        rows += len(chunk["ts"])
        if rows <= BLOCK:
            continue
        joined = concatenate(pending)
        begin = 0
        while rows - begin > BLOCK:
            end = begin + BLOCK
            yield take(joined, slice(begin, end)), 0.5 * (joined["bid"][end] + joined["ask"][end])
            begin = end
        pending, rows = [take(joined, slice(begin, rows))], rows - begin
    if rows:
        yield concatenate(pending), np.nan


def _scale(mid: FloatArray1D, spread: FloatArray1D) -> float:
    """Robust size of an ordinary change, price units; 0 if nothing ever changes."""
    moves = np.abs(np.diff(mid))
    moves = moves[moves > 0.0]
    usual = float(np.median(moves)) if len(moves) else 0.0
    return max(usual, float(np.median(spread)))


class Stamps(Protocol):
    """Stamps that are read in slices: an array, or a column that stays on disk."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, which: slice, /) -> IntArray1D:
        """Return those from ``which.start`` to ``which.stop``."""


def gap_statistics(ts: Stamps, *, chunk: int = 1 << 19) -> tuple[int, int, int]:
    """Median and largest gap between neighbouring stamps, in bounded memory.

    The median is selected exactly by counting: each pass over the gaps splits the range
    that holds it by 4,096, so that six passes at the most settle 64 bits.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64, or what is sliced like one
        Never decreasing.
    chunk : int
        Stamps read at a time.

    Returns
    -------
    median : int
        Nanoseconds; of an even count the lower of the two in the middle; 0 without gaps.
    largest, largest_ts : int
        Nanoseconds, and the stamp that ends the (first) largest gap.
    """
    if len(ts) < 2:
        return 0, 0, int(ts[0:1][0])
    largest, at = -1, 0
    for gaps, begin in _gaps(ts, chunk):
        i = int(np.argmax(gaps))
        if gaps[i] > largest:
            largest, at = int(gaps[i]), begin + i + 1
    rank = (len(ts) - 2) // 2
    low, width = 0, 1 << max(largest.bit_length(), 1)
    while width > 1:
        step = max(width // 4096, 1)
        counts = np.zeros(width // step, np.int64)
        for gaps, _ in _gaps(ts, chunk):
            inside = gaps[(gaps >= low) & (gaps < low + width)]
            counts += np.bincount((inside - low) // step, minlength=len(counts))
        below = np.cumsum(counts)
        bin_ = int(np.searchsorted(below, rank, side="right"))
        rank -= int(below[bin_ - 1]) if bin_ else 0
        low, width = low + bin_ * step, step
    return low, largest, int(ts[at : at + 1][0])


def _gaps(ts: Stamps, chunk: int) -> Iterator[tuple[IntArray1D, int]]:
    for begin in range(0, len(ts) - 1, chunk):
        yield np.diff(ts[begin : begin + chunk + 1]), begin
