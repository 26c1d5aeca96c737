"""What a study needs to know of ticks that it does not store: number, ends, hash, cuts.

One pass over the source, with the checks of an import; no tick is kept. The result is
cached, so that a study that is resumed does not repeat the pass.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweep.schema import IntArray1D, IntArray2D, TickHandle
from sweep.ticks import sources, store
from sweep.ticks.mapped import COLUMNS, content_hash
from sweep.ticks.quality import Checker, Chunk, TickReport
from sweep.ticks.sessions import DAY, GAP
from sweep.ticks.slices import Marks
from sweep.ticks.sources import Reading, SourceSpec

__all__ = ["NOWHERE", "Survey", "survey"]

#: `TickHandle.path` of ticks that are stored nowhere, whose source is read in every pass.
NOWHERE = ""

_FORMAT = 2
#: Bits of a gap that count towards the median: one part in 4,096.
_BITS = 12


@dataclass(frozen=True)
class Survey:
    """The result of a pass over a source.

    Attributes
    ----------
    handle : TickHandle
        Of ticks that are stored nowhere, with the hash that the store would give them.
    report : TickReport
        As of an import; the median gap to one part in 4,096.
    marks : Marks
        Places of the stamps that were asked for.
    read : bool
        Whether the source was read now; False if the survey was cached.
    """

    handle: TickHandle
    report: TickReport
    marks: Marks
    read: bool


def survey(
    source: SourceSpec,
    stamps: Iterable[int] = (),
    *,
    run: int = 1 << 21,
    progress: Callable[[int, float | None], None] | None = None,
) -> Survey:
    """Return the survey of a source, from the cache if it is there.

    Parameters
    ----------
    source : SourceSpec
    stamps : iterable of int
        Nanoseconds since the epoch, for each of which its place is wanted.
    run : int, optional
        Ticks that are sorted at a time, where stamps may run backwards.
    progress : callable, optional
        Called with the ticks read so far and the share of the source, if known.

    Raises
    ------
    DataError
        If the source cannot be read, or a policy refuses its ticks.
    """
    wanted = np.unique(np.array(list(stamps), np.int64))
    path = store.root("disk") / ".surveys" / f"{store.key_of(source)}.json"
    cached = _read(path)
    if cached is not None and np.isin(wanted, cached.marks.stamps).all():
        return cached
    before = sources.fingerprint(source)
    reading = sources.read(source)
    checker = Checker(source.policies, source.name, reading.files)
    ticks_so_far = _Accumulator(wanted)
    with ExitStack() as exits:
        runs = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="sweep-unused-")))
        if source.policies.backward == "sort":
            runs = exits.enter_context(store.scratch("disk"))
        for chunk in store.checked(reading.chunks(), checker, runs / "runs", run=run):
            if not checker.refused:
                ticks_so_far.add(chunk)
            if progress is not None:
                progress(checker.rows_read, reading.share)
    store.conclude(source, checker, ticks_so_far.rows, before)
    result = ticks_so_far.survey(source, reading, checker)
    _write(path, result)
    return result


class _Accumulator:
    """Number, hash, gaps and places of the ticks read so far."""

    def __init__(self, wanted: IntArray1D) -> None:
        self.wanted = wanted
        self.n_placed = 0
        self.rows = 0
        self.columns: tuple[str, ...] = ()
        self.first = self.last = 0
        self.largest, self.largest_ts = -1, 0
        self._digests: list[Any] = []
        self._gaps = np.zeros(64 << _BITS, np.int64)
        self._places = np.zeros(len(wanted), np.int64)
        self._at = np.zeros(len(wanted), np.int64)
        self._before = np.zeros(len(wanted), np.int64)
        self._quotes = np.full((len(wanted), 2), np.nan)
        self._first_quote = (np.nan, np.nan)
        self._breaks: list[IntArray2D] = []

    def add(self, chunk: Chunk) -> None:
        ts = np.ascontiguousarray(chunk["ts"], np.int64)
        if not self.rows:
            self.columns = tuple(n for n in COLUMNS if n in chunk)
            self._digests = [hashlib.blake2b(digest_size=16) for _ in self.columns]
            self.first = self.last = self.largest_ts = int(ts[0])
            self._first_quote = (float(chunk["bid"][0]), float(chunk["ask"][0]))
        for name, digest in zip(self.columns, self._digests, strict=True):
            values = np.ascontiguousarray(chunk[name], COLUMNS[name])
            digest.update(memoryview(values.data).cast("B"))
        self._mark(chunk, ts)
        gaps = np.diff(ts, prepend=self.last) if self.rows else np.diff(ts)
        self._break(ts, gaps)
        if len(gaps):
            at = int(np.argmax(gaps))
            if gaps[at] > self.largest:
                self.largest, self.largest_ts = int(gaps[at]), int(ts[at - len(gaps)])
            counted = np.bincount(_bins(gaps))
            self._gaps[: len(counted)] += counted
        self.last = int(ts[-1])
        self.rows += len(ts)

    def _mark(self, chunk: Chunk, ts: IntArray1D) -> None:
        """Record the places of the stamps up to the end of the chunk."""
        stop = int(np.searchsorted(self.wanted, ts[-1], "right"))
        if stop == self.n_placed:
            return
        reached = slice(self.n_placed, stop)
        places = np.searchsorted(ts, self.wanted[reached], "left")
        self._places[reached] = self.rows + places
        self._at[reached] = ts[places]
        self._before[reached] = np.concatenate([[self.last], ts])[places]
        self._quotes[reached, 0] = chunk["bid"][places]
        self._quotes[reached, 1] = chunk["ask"][places]
        self.n_placed = stop

    def _break(self, ts: IntArray1D, gaps: IntArray1D) -> None:
        """Record the ticks before which the market rested, or a day began."""
        days = np.arange(self.last // DAY + 1, int(ts[-1]) // DAY + 1) * DAY
        opened = np.searchsorted(ts, days, "left")
        rested = np.flatnonzero(gaps >= GAP) + len(ts) - len(gaps)
        opens = np.union1d(opened, rested)
        before = np.where(opens > 0, ts[opens - 1], self.last)
        self._breaks.append(np.stack([self.rows + opens, ts[opens], before], axis=1))

    def survey(self, source: SourceSpec, reading: Reading, checker: Checker) -> Survey:
        rest = slice(self.n_placed, None)
        self._places[rest], self._before[rest] = self.rows, self.last
        digests = zip(self.columns, self._digests, strict=True)
        handle = TickHandle(
            path=NOWHERE,
            n_ticks=self.rows,
            content=content_hash((name, digest.digest()) for name, digest in digests),
            columns=self.columns,
            kind=source.kind,
            first_ts=self.first,
            last_ts=self.last,
        )
        report = TickReport(
            source=source.name,
            files=len(reading.files),
            rows_read=checker.rows_read,
            rows_kept=self.rows,
            first_ts=self.first,
            last_ts=self.last,
            median_gap=self._median(),
            largest_gap=max(self.largest, 0),
            largest_gap_ts=self.largest_ts,
            findings=checker.findings(),
            notes=tuple(reading.notes),
        )
        marks = Marks(
            n_ticks=self.rows,
            ends=(self.first, self.last),
            first_quote=self._first_quote,
            stamps=self.wanted,
            places=self._places,
            at=self._at,
            before=self._before,
            quotes=self._quotes,
            breaks=np.concatenate([np.zeros((0, 3), np.int64), *self._breaks]),
        )
        return Survey(handle, report, marks, True)

    def _median(self) -> int:
        if self.rows < 2:
            return 0
        rank = (self.rows - 2) // 2
        bin_ = int(np.searchsorted(np.cumsum(self._gaps), rank, side="right"))
        shift = max((bin_ >> _BITS) - 1, 0)
        return int((bin_ - (shift << _BITS)) << shift)


def _bins(gaps: IntArray1D) -> IntArray1D:
    """Return the bin of each gap: its exponent, and its highest bits."""
    _, exponents = np.frexp(gaps.astype(np.float64))
    # Beyond 2**53 a gap may be rounded up to the next power of two.
    shifts = np.maximum(exponents.astype(np.int64) - 1 - _BITS, 0)
    return (shifts << _BITS) + (gaps >> shifts)


# -- the cache -------------------------------------------------------------------------


def _read(path: Path) -> Survey | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            return None
        handle = TickHandle(**{**data["handle"], "columns": tuple(data["handle"]["columns"])})
        return Survey(
            handle, TickReport.from_dict(data["report"]), Marks.from_dict(data["marks"]), False
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, survey: Survey) -> None:
    """Cache a survey; a failure costs no more than another pass."""
    data = {
        "format": _FORMAT,
        "handle": vars(survey.handle),
        "report": survey.report.to_dict(),
        "marks": survey.marks.to_dict(),
    }
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(data), encoding="utf-8")
        os.replace(part, path)
