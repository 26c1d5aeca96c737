"""Reading a source ahead of its evaluation: a thread that cuts it into blocks of ticks.

Each block is a small entry of the store, which workers attach like any other. It is
written into the files of a block that nobody needs any more, where there is one.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sweep import sources, store
from sweep.checks import Checker, Chunk, take
from sweep.cuts import OPEN, Cuts, Reach
from sweep.errors import DataError, StoreError
from sweep.schema import TickHandle
from sweep.sources import SourceSpec
from sweep.tasks import orders_in_flight
from sweep.tickmap import COLUMNS, LEASE, column_path

__all__ = ["Block", "Reader"]

#: Orders in flight for which there may be room without need.
_ROOM = 1 << 12


@dataclass
class Block:
    """Some consecutive ticks of the series, as an entry of the store.

    Attributes
    ----------
    number : int
    path : Path
    first : int
        Its first tick, in the whole series.
    begin, end : int
        The ticks that are its own: those before ``begin`` belong to earlier blocks too.
    last : bool
        Whether nothing comes behind it.
    handle : TickHandle or None
        Once it is whole.
    within : int
        See `sweep.tasks.orders_in_flight`.
    """

    number: int
    path: Path
    first: int
    begin: int
    end: int
    last: bool = False
    handle: TickHandle | None = None
    within: int = 2
    _files: dict[str, int] = field(default_factory=dict)
    _span: tuple[int, int] = (0, 0)

    def open(self, columns: tuple[str, ...], used: Path | None) -> None:
        """Begin to write: into the files of a block that nobody needs any more, or new ones."""
        if used is None:
            self.path.mkdir()
            (self.path / LEASE).touch()
        else:
            # Their memory is there already; new memory costs as much as what fills it.
            used.rename(self.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        for name in columns:
            self._files[name] = os.open(column_path(self.path, name), flags, 0o600)

    def write(self, chunk: Chunk) -> None:
        """Append ticks."""
        for name, file in self._files.items():
            view = memoryview(np.ascontiguousarray(chunk[name], COLUMNS[name]).data).cast("B")
            while len(view):
                view = view[os.write(file, view) :]

    def close(self) -> None:
        """Close the files; twice is fine."""
        while self._files:
            os.close(self._files.popitem()[1])

    def seal(self, kind: str, latency: int) -> None:
        """Describe the block to those who attach it."""
        columns = tuple(self._files)
        rows = self.end - self.first
        for name, file in self._files.items():
            os.ftruncate(file, rows * np.dtype(COLUMNS[name]).itemsize)
        self.close()
        if latency > 0:
            self.within = _room_within(column_path(self.path, "ts"), latency)
        # Each has a name of its own, by which caches in workers tell it from others.
        name = f"{self.path.parent.name}/{self.number}"
        self.handle = TickHandle(str(self.path), rows, name, columns, kind, 0, 0)

    def remove(self) -> None:
        """Delete the files; who has them mapped keeps them."""
        shutil.rmtree(self.path, ignore_errors=True)


def _room_within(stamps: Path, latency: int) -> int:
    """Return room enough for the orders that some ticks can have in flight."""
    ts = np.fromfile(stamps, np.int64)
    # Any stretch as long as the latency lies in two of these bins; counting the ticks in
    # them takes a tenth of the time of the exact bound.
    edges = np.flatnonzero(np.diff(ts // latency))
    counts = np.diff(np.concatenate([[-1], edges, [len(ts) - 1]]))
    room = min(2 * int(counts.max()), len(ts)) + 1
    return room if room <= _ROOM else orders_in_flight(ts, latency)


class _Stopped(Exception):
    """The pass needs no more ticks."""


class Reader(threading.Thread):
    """Reads a source ahead of its evaluation, into at most so many blocks.

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
        Blocks at a time: `slots` is released by whoever takes one away, who may put its
        path into `used`.
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
        self.slots = threading.Semaphore(ring)
        self.used: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self.whole = True
        self.fingerprint: dict[str, Any] | None = None
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

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._stop_asked.set()
        self.slots.release()
        if self.ident is not None:
            self.join()

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
            if self._current is not None:
                self._current.close()
            self.seconds = time.perf_counter() - began - self._waited
        self.events.put(event)

    def _read(self) -> None:
        before = sources.fingerprint(self.source)
        if self.fingerprint is not None and before != self.fingerprint:
            raise DataError(
                f"{self.source.name}: the source changed since the study looked at it first; "
                f"run it again"
            )
        reading = sources.read(self.source)
        checker = Checker(self.source.policies, self.source.name, reading.files)
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
        # there is always one behind a block that is not the last.
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
            block.write(part)
            self._remember(part)
            block.end = at = until
            if at in (self.end, full):
                self._publish(last=at == self.end)

    def _end_of(self, block: Block) -> int:
        if self.align:
            return (block.begin // self.align + 1) * self.align
        return block.begin + self.block

    def _finish(self) -> None:
        """Take in that there are no more ticks."""
        if self.end != OPEN:
            if self.rows < self.end:
                raise DataError(
                    f"{self.source.name}: has {self.rows:,} ticks, and the last slice ends at "
                    f"tick {self.end:,}"
                )
            return
        if self.rows <= self.begin:
            raise DataError(f"{self.source.name}: has no ticks behind tick {self.begin:,}")
        assert self._held is not None
        self.end = self.rows
        self._cut(self._held)

    def _open(self, begin: int, columns: tuple[str, ...]) -> Block:
        waiting = time.perf_counter()
        self.slots.acquire()
        self._waited += time.perf_counter() - waiting
        if self._stop_asked.is_set():
            raise _Stopped
        held = sum(len(part["ts"]) for part in self._tail)
        block = Block(
            self._count, self.folder / str(self._count), begin - min(held, self.lead), begin, begin
        )
        self._current = block
        self._count += 1
        try:
            used = self.used.get_nowait()
        except queue.Empty:
            used = None
        block.open(columns, used)
        skip = held - (begin - block.first)
        for part in self._tail:
            rows = len(part["ts"])
            if skip < rows:
                block.write(take(part, slice(max(skip, 0), rows)))
            skip -= rows
        return block

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


def _no_room(error: OSError, folder: Path, name: str) -> StoreError | DataError:
    if error.errno not in store.FULL:
        return StoreError(f"{folder}: blocks of ticks cannot be written: {error.strerror or error}")
    return StoreError(
        f"{name}: {folder.parent} is full; give a pass over the ticks less room with "
        f"data.memory, or free some there"
    )
