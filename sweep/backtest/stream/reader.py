"""Reading a source ahead of its evaluation: a thread that cuts it into blocks of ticks.

Each block lies in a slot, which workers attach like an entry of the store. There are few of
them: a block is written over one that nobody needs any more.
"""

from __future__ import annotations

import mmap
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sweep.backtest.stream.plan import OPEN, Cuts, Reach
from sweep.backtest.tasks import orders_in_flight
from sweep.errors import DataError, StoreError
from sweep.schema import IntArray1D, TickHandle
from sweep.ticks import sources, store
from sweep.ticks.mapped import COLUMNS, column_path
from sweep.ticks.quality import NO_STAMP, Checker, Chunk, take
from sweep.ticks.sources import SourceSpec

__all__ = ["Block", "Reader", "Slot", "SourceState"]

#: Orders in flight for which there may be room without need.
_ROOM = 1 << 12
#: Ticks of a chunk that need no check are handed on in pieces, so that one who waits gets
#: a block soon.
_PIECE = 1 << 16


class SourceState(NamedTuple):
    """The state of a source when its study first read it.

    Attributes
    ----------
    fingerprint : dict
        Of `sweep.ticks.sources.fingerprint`; a source that has changed since is refused.
    untouched : bool
        Whether the checks left every tick as it was read; then a pass need not repeat them.
    columns : int
        Of its ticks.
    """

    fingerprint: dict[str, Any]
    untouched: bool
    columns: int


class Slot:
    """Room for the ticks of one block, which another one takes once nobody needs them.

    Its columns are files, mapped here and by workers for as long as ticks pass. Their room
    is claimed before it is written to, so that a device that is full is an error and no
    signal that ends the process.

    Parameters
    ----------
    path : Path
        Its folder, which is made.
    columns : tuple of str
    capacity : int
        Ticks.

    Raises
    ------
    OSError
        If there is no room; also from `write`. (Not on a file system that copies on write:
        there, what was claimed once may find no room when it is written over.)
    """

    def __init__(self, path: Path, columns: tuple[str, ...], capacity: int) -> None:
        self.path = path
        self.columns: dict[str, np.ndarray[Any, Any]] = {}
        self._claimed = 0
        self._files: dict[str, int] = {}
        path.mkdir()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            for name in columns:
                dtype = np.dtype(COLUMNS[name])
                self._files[name] = file = os.open(column_path(path, name), flags, 0o600)
                os.ftruncate(file, capacity * dtype.itemsize)
                self.columns[name] = np.frombuffer(mmap.mmap(file, 0), dtype)
        except OSError:
            self.close()
            raise

    def write(self, at: int, chunk: Chunk) -> None:
        """Write ticks after the first ``at``."""
        until = at + len(chunk["ts"])
        for name, column in self.columns.items():
            if until > self._claimed:
                size = column.itemsize
                claimed = self._claimed * size
                os.posix_fallocate(self._files[name], claimed, until * size - claimed)
            column[at:until] = chunk[name]
        self._claimed = max(self._claimed, until)

    def close(self, *, free: bool = False) -> None:
        """Release the files, which stay; twice is fine.

        Parameters
        ----------
        free : bool, optional
            Whether to give their memory back at once, also where a worker keeps them mapped.
            Nobody may read them any more: while a file is short, reading is a fatal signal.
        """
        self.columns.clear()
        while self._files:
            file = self._files.popitem()[1]
            if free:
                size = os.fstat(file).st_size
                os.ftruncate(file, 0)
                os.ftruncate(file, size)
            os.close(file)


@dataclass
class Block:
    """Some consecutive ticks of the series, in a slot.

    Attributes
    ----------
    number : int
    slot : Slot
    first : int
        Its first tick, in the whole series.
    begin, end : int
        The ticks that are its own: those before ``begin`` belong to earlier blocks too.
    last : bool
        Whether nothing comes after it.
    handle : TickHandle or None
        Once it is whole; see `sweep.ticks.mapped.attach_slot`.
    within : int
        See `sweep.backtest.tasks.orders_in_flight`.
    """

    number: int
    slot: Slot
    first: int
    begin: int
    end: int
    last: bool = False
    handle: TickHandle | None = None
    within: int = 2

    def seal(self, kind: str, latency: int) -> None:
        """Describe the block to those who attach it."""
        path, columns = self.slot.path, tuple(self.slot.columns)
        rows = self.end - self.first
        if latency > 0:
            self.within = _room_within(self.slot.columns["ts"][:rows], latency)
        # Each has a name of its own, by which caches in workers tell it from others.
        name = f"{path.parent.name}/{self.number}"
        self.handle = TickHandle(str(path), rows, name, columns, kind, 0, 0)


def _room_within(ts: IntArray1D, latency: int) -> int:
    """Return room enough for the orders that some ticks can have in flight."""
    # Any stretch as long as the latency lies in two of these bins; counting the ticks in
    # them takes a tenth of the time of the exact bound.
    edges = np.flatnonzero(np.diff(ts // latency))
    counts = np.diff(np.concatenate([[-1], edges, [len(ts) - 1]]))
    room = min(2 * int(counts.max()), len(ts)) + 1
    return room if room <= _ROOM else orders_in_flight(ts, latency)


class _Stopped(Exception):
    """The pass needs no more ticks."""


class Reader(threading.Thread):
    """Reads a source ahead of its evaluation, into a bounded number of blocks.

    Parameters
    ----------
    source : SourceSpec
    folder : Path
        For the blocks.
    runs : Path
        For what is sorted on the disk.
    cuts : Cuts
        Nothing is written of the ticks outside them.
    reach : Reach
    latency : int
        Of orders, nanoseconds.
    events : SimpleQueue
        Is given ``("block", Block)`` for each one, then ``("end", n_ticks)`` or
        ``("error", exception)``.
    block : int
        Ticks of a block at most.
    ring : int
        Blocks at a time: `places` is released by whoever takes one away, who may put its
        slot into `used`.
    run : int
        Ticks that are sorted at a time.
    """

    def __init__(
        self,
        source: SourceSpec,
        folder: Path,
        runs: Path,
        cuts: Cuts,
        reach: Reach,
        latency: int,
        events: queue.SimpleQueue[Any],
        *,
        block: int,
        ring: int,
        run: int,
    ) -> None:
        super().__init__(name="tick-reader", daemon=True)
        self.source, self.folder, self.runs = source, folder, runs
        self.begin, self.end = cuts.begin, cuts.end
        self.block, self.piece = block, run
        self.lead, self.align = reach.lead, reach.align
        self.latency, self.events = latency, events
        self.places = threading.Semaphore(ring)
        self.used: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self.whole = True
        #: Whether nobody reads blocks any more.
        self.done = False
        self.seen: SourceState | None = None
        #: Whether a worker waits: then a block ends with the ticks that are there.
        self.wanted = False
        self.seconds = 0.0
        self.rows = 0
        self.progress: Callable[[int, float | None], None] = lambda rows, share: None
        self._stop_asked = threading.Event()
        self._current: Block | None = None
        self._held: Chunk | None = None
        self._at = 0
        self._tail: list[Chunk] = []
        self._count = 0
        self._waited = 0.0
        self._made: list[Slot] = []

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._stop_asked.set()
        self.places.release()
        if self.ident is not None:
            self.join()
        for slot in self._made:
            slot.close(free=self.done)

    def run(self) -> None:
        """Read to the end of the source, or of the slices."""
        began = time.perf_counter()
        try:
            self._read()
            event: tuple[str, Any] = ("end", self.rows)
        except _Stopped:
            event = ("end", self.rows)
        except OSError as error:
            event = ("error", _no_room(error, self.folder, self.source.name))
        except BaseException as error:
            event = ("error", error)
        finally:
            self.seconds = time.perf_counter() - began - self._waited
        self.events.put(event)

    def _read(self) -> None:
        before = sources.fingerprint(self.source)
        if self.seen is not None and before != self.seen.fingerprint:
            raise DataError(
                f"{self.source.name}: the source changed since the study looked at it first; "
                f"run it again"
            )
        reading = sources.read(self.source)
        checker = Checker(self.source.policies, self.source.name, reading.files)
        if self.seen is not None and self.seen.untouched:
            chunks = _unchecked(reading.chunks(), checker, self.source.name)
        else:
            chunks = store.checked(reading.chunks(), checker, self.runs, run=self.piece)
        for chunk in chunks:
            if self._stop_asked.is_set():
                raise _Stopped
            # What is refused is read to its end all the same: the message counts it.
            if not checker.refused:
                self._take(chunk)
                if self.rows >= self.end and not self.whole:
                    if sources.fingerprint(self.source) != before:
                        raise DataError(
                            f"{self.source.name}: the source changed while it was read; "
                            f"run it again"
                        )
                    return
            self.progress(checker.rows_read, reading.share)
        store.conclude(self.source, checker, self.rows, before)
        self._finish()

    def _take(self, chunk: Chunk) -> None:
        chunk = {name: chunk[name] for name in COLUMNS if name in chunk}
        self.rows += len(chunk["ts"])
        if self.end != OPEN:
            self._cut(chunk)
            self._hurry()
            return
        # Which tick is the last is known at the end alone: one is held back, so that
        # there is always one after a block that is not the last.
        if self._held is not None:
            self._cut(self._held)
        self._cut(take(chunk, slice(0, -1)))
        self._hurry()
        self._held = {name: column[-1:].copy() for name, column in chunk.items()}

    def _hurry(self) -> None:
        """End a block early where a worker waits for it."""
        if self.wanted and self._current is not None and not self.align:
            self._publish(last=False)

    def _cut(self, chunk: Chunk) -> None:
        """Cut ticks into blocks."""
        first, stop = self._at, self._at + len(chunk["ts"])
        self._at = stop
        at = max(first, self.begin)
        if first < self.begin:
            self._remember(take(chunk, slice(0, min(self.begin, stop) - first)))
        while at < min(stop, self.end):
            block = self._current or self._open(at, tuple(chunk))
            full = self._end_of(block)
            until = min(stop, self.end, full)
            part = take(chunk, slice(at - first, until - first))
            block.slot.write(at - block.first, part)
            self._remember(part)
            block.end = at = until
            if at in (self.end, full):
                self._publish(last=at == self.end)

    def _end_of(self, block: Block) -> int:
        if self.align:
            return (block.begin // self.align + 1) * self.align
        return block.begin + self.block

    def _finish(self) -> None:
        """Note that there are no more ticks."""
        if self.end != OPEN:
            if self.rows < self.end:
                raise DataError(
                    f"{self.source.name}: has {self.rows:,} ticks, and the last slice ends at "
                    f"tick {self.end:,}"
                )
            return
        if self.rows <= self.begin:
            raise DataError(f"{self.source.name}: has no ticks after tick {self.begin:,}")
        assert self._held is not None
        self.end = self.rows
        self._cut(self._held)

    def _open(self, begin: int, columns: tuple[str, ...]) -> Block:
        waiting = time.perf_counter()
        self.places.acquire()
        self._waited += time.perf_counter() - waiting
        if self._stop_asked.is_set():
            raise _Stopped
        held = sum(len(part["ts"]) for part in self._tail)
        first = begin - min(held, self.lead)
        block = Block(self._count, self._slot(columns), first, begin, begin)
        self._current = block
        self._count += 1
        at = first - (begin - held)
        for part in self._tail:
            rows = len(part["ts"])
            if at < rows:
                kept = take(part, slice(max(at, 0), rows))
                block.slot.write(rows - len(kept["ts"]) - at, kept)
            at -= rows
        return block

    def _slot(self, columns: tuple[str, ...]) -> Slot:
        """Return a slot that is free: its memory is there already, or a new one."""
        try:
            return self.used.get_nowait()
        except queue.Empty:
            capacity = max(self.block, self.align) + self.lead
            slot = Slot(self.folder / str(len(self._made)), columns, capacity)
            self._made.append(slot)
            return slot

    def _publish(self, *, last: bool) -> None:
        block, self._current = self._current, None
        assert block is not None
        block.last = last
        block.seal(self.source.kind, self.latency)
        self.events.put(("block", block))

    def _remember(self, part: Chunk) -> None:
        """Keep the ticks that the next block begins with."""
        if not self.lead:
            return
        self._tail.append({name: column.copy() for name, column in part.items()})
        held = sum(len(p["ts"]) for p in self._tail)
        while held - len(self._tail[0]["ts"]) >= self.lead:
            held -= len(self._tail.pop(0)["ts"])


def _unchecked(chunks: Iterator[Chunk], checker: Checker, name: str) -> Iterator[Chunk]:
    """Yield the ticks of a source whose checks are known to leave them as they are.

    Only their order is looked at, on which the room for orders in flight depends: a source
    that is written to meanwhile must not reach beyond it before that is noticed.
    """
    latest = NO_STAMP
    for chunk in chunks:
        ts = chunk["ts"]
        rows = len(ts)
        if rows and (ts[0] < latest or not (ts[1:] >= ts[:-1]).all()):
            raise DataError(f"{name}: the source changed while it was read; run it again")
        latest = int(ts[-1]) if rows else latest
        for first in range(0, rows, _PIECE):
            checker.rows_read += min(_PIECE, rows - first)
            yield take(chunk, slice(first, first + _PIECE))


def _no_room(error: OSError, folder: Path, name: str) -> StoreError | DataError:
    if error.errno not in store.FULL:
        return StoreError(f"{folder}: blocks of ticks cannot be written: {error.strerror or error}")
    return StoreError(
        f"{name}: {folder.parent} is full; give a pass over the ticks less room with "
        f"data.memory, or free some there"
    )
