"""Evaluation of ticks that never lie in memory as a whole: one pass over their source.

A thread reads the source, checks it as an import does, and cuts it into blocks; each lies
in a slot that workers map. Every batch of variants goes over the blocks in order, from the
carry that the block before left. At most `Sizes.ring` blocks exist at a time: the thread
reads ahead until they are full, a block is written over once the last batch has gone over
it. Rows, and equity at the ends of sessions, are the same bits as in memory, wherever the
blocks are cut: a carry lacks nothing.
"""

from __future__ import annotations

import heapq
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sweep.backtest.segments import evaluate_block
from sweep.backtest.stream.plan import (
    MEMORY,
    Cuts,
    Part,
    Reach,
    Sizes,
    batch_size,
    check_streamable,
    sizes_for,
)
from sweep.backtest.stream.reader import Block, Reader, SourceState
from sweep.backtest.tasks import Carry, Context, Outcome, Task
from sweep.engines.base import Engine
from sweep.engines.dispatch import GAVE_UP, Tasks
from sweep.errors import EvaluationError, StoreError
from sweep.schema import ROW, STATUS_ERROR, FloatArray2D, Rows, Slice
from sweep.ticks import store
from sweep.ticks.mapped import COLUMNS
from sweep.ticks.sources import SourceSpec

__all__ = ["Streamed", "evaluate_stream"]


@dataclass(frozen=True)
class Streamed:
    """What a pass gives.

    Attributes
    ----------
    rows : ndarray of shape (n_variants, n_slices), dtype `sweep.schema.ROW`
        As `sweep.backtest.tasks.evaluate` gives them for the same slices.
    equity : ndarray of shape (n_variants, n_cells), float64, or None
        Likewise; None without edges.
    failures : tuple of (int, str)
        Variant, and the reason in the user's terms.
    n_ticks : int
        Ticks that were read and kept; of the whole source, unless `whole` was false.
    seconds : float
        Wall time.
    reading_s : float
        In which the source was read, checked and written into blocks.
    evaluation_s : float
        Summed over tasks.
    waited_s : float
        In which no task was under way because the next block was not there yet.
    kernel_s : float
        Processor time within compiled kernels, summed over tasks.
    busy : dict of int to float
        Of ``evaluation_s``, by process.
    uss_bytes : dict of int to int
        See `sweep.backtest.tasks.own_bytes`, by process.
    """

    rows: Rows
    equity: FloatArray2D | None
    failures: tuple[tuple[int, str], ...]
    n_ticks: int
    seconds: float
    reading_s: float
    evaluation_s: float
    waited_s: float
    kernel_s: float
    busy: dict[int, float]
    uss_bytes: dict[int, int]


def evaluate_stream(
    source: SourceSpec,
    context: Context,
    params: FloatArray2D,
    slices: Sequence[Slice] | None = None,
    *,
    carry_over: bool = True,
    close_out: bool = True,
    edges: tuple[int, ...] = (),
    engine: Engine,
    memory: int = MEMORY,
    sizes: Sizes | None = None,
    batch: int | None = None,
    whole: bool = True,
    seen: SourceState | None = None,
    interrupted: Callable[[], bool] | None = None,
    progress: Callable[[int, float | None], None] | None = None,
) -> Streamed:
    """Evaluate variants on a source of ticks without ever holding all of them.

    Parameters
    ----------
    source : SourceSpec
    context : Context
        Its ticks and its capacity do not count: the source's ticks do.
    params : ndarray of shape (n_variants, n_params), float64
    slices : sequence of Slice, optional
        In ticks of the whole series, in the order of time, none over another; all ticks
        by default. Where slices are carried over, one follows the other.
    carry_over, close_out : bool, optional
        See `sweep.backtest.tasks.Task`.
    edges : tuple of int, optional
        Of sessions that cover the slices, which must be given then; see
        `sweep.backtest.tasks.Task`.
    engine : Engine
        Stays open.
    memory : int, optional
        Bytes for ticks on their way and for what variants carry, over all processes, on
        top of what a process takes by itself. More variants than fit take several passes.
    sizes : Sizes, optional
        Instead of what follows from ``memory``.
    batch : int, optional
        Variants of a task.
    whole : bool, optional
        Whether the ticks after the last slice are read and checked too (checked unless
        ``seen`` says that they are well).
    seen : SourceState, optional
        What was seen of the source when it was looked at first; one that has changed since
        is refused.
    interrupted : callable, optional
        Asked several times a second; the pass ends with KeyboardInterrupt where it says so.
    progress : callable, optional
        Called with the ticks read so far and the share of the source, if known.

    Returns
    -------
    Streamed

    Raises
    ------
    DataError
        If the source cannot be read, a policy refuses its ticks, or it has fewer than the
        slices need.
    StrategyError
        If the strategy cannot go from block to block.
    StoreError
        If there is too little room for the blocks.
    EngineError, EvaluationError
        If workers die too often; if a task cannot be evaluated.
    ValueError
        If slices overlap or leave gaps, or sessions do not cover them.
    """
    cuts = Cuts.of(slices, carry_over, close_out, edges)
    check_streamable(context.kernel)
    params = np.ascontiguousarray(params, dtype=np.float64)
    reach = Reach.of(context.kernel, params, cuts)
    if sizes is None:
        columns = len(COLUMNS) if seen is None else seen.columns
        sizes = sizes_for(
            memory,
            context.kernel,
            columns=columns,
            lead=reach.lead,
            n_slices=len(cuts.slices),
            n_cells=len(cuts.cells),
        )
    began = time.perf_counter()
    parts = []
    busy: dict[int, float] = {}
    uss: dict[int, int] = {}
    for first in range(0, max(len(params), 1), sizes.variants):
        some = params[first : first + sizes.variants]
        own = replace(reach, warmups=reach.warmups[first : first + sizes.variants])
        with _Pass(source, context, some, cuts, engine, sizes, own) as one:
            one.batch = batch
            one.whole = whole and first == 0
            one.seen = seen
            one.interrupted = interrupted or (lambda: False)
            one.progress = progress or (lambda rows, share: None)
            parts.append((first, one.run()))
            for pid, seconds in one.busy.items():
                busy[pid] = busy.get(pid, 0.0) + seconds
            uss |= one.uss
    return Streamed(
        rows=_joined([p.rows for _, p in parts]),
        equity=_joined([p.equity for _, p in parts if p.equity is not None]) if edges else None,
        failures=tuple((first + v, why) for first, p in parts for v, why in p.failures),
        n_ticks=parts[0][1].n_ticks,
        seconds=time.perf_counter() - began,
        reading_s=sum(p.reading_s for _, p in parts),
        evaluation_s=sum(p.evaluation_s for _, p in parts),
        waited_s=sum(p.waited_s for _, p in parts),
        kernel_s=sum(p.kernel_s for _, p in parts),
        busy=busy,
        uss_bytes=uss,
    )


def _joined(parts: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    # Not copied where there is one: it may take most of the memory that a pass may take.
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


# -- the pass --------------------------------------------------------------------------


@dataclass
class _Batch:
    """Variants that go over the blocks together.

    Attributes
    ----------
    number : int
    variants : ndarray of shape (n,), int64
        Those that still go on.
    next : int
        Number of the block that they come to next.
    carry : Carry or None
    """

    number: int
    variants: np.ndarray[Any, Any]
    next: int = 0
    carry: Carry | None = None


@dataclass(frozen=True)
class _Done:
    rows: Rows
    equity: FloatArray2D | None
    failures: tuple[tuple[int, str], ...]
    n_ticks: int
    reading_s: float
    evaluation_s: float
    waited_s: float
    kernel_s: float


class _Pass:
    """One pass over the source, for as many variants as there is room for."""

    def __init__(
        self,
        source: SourceSpec,
        context: Context,
        params: FloatArray2D,
        cuts: Cuts,
        engine: Engine,
        sizes: Sizes,
        reach: Reach,
    ) -> None:
        self.source, self.context, self.params, self.cuts = source, context, params, cuts
        self.engine, self.sizes, self.reach = engine, sizes, reach
        self.batch: int | None = None
        self.whole = True
        self.seen: SourceState | None = None
        self.interrupted: Callable[[], bool] = lambda: False
        self.progress: Callable[[int, float | None], None] = lambda rows, share: None
        self.rows = np.zeros((len(params), len(cuts.slices)), ROW)
        self.equity: FloatArray2D | None = None
        if cuts.cells:
            self.equity = np.full((len(params), len(cuts.cells)), np.nan)
        self.failures: dict[int, str] = {}
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.blocks: dict[int, Block] = {}
        self.parts: dict[int, list[Part]] = {}
        self.oldest = self.published = 0
        self.tasks = Tasks(
            engine,
            self._call,
            self._split,
            self._give_up,
            done=lambda future: self.events.put(("done", future)),
        )
        self.ready: list[tuple[int, int, _Batch]] = []
        self.parked: dict[int, list[_Batch]] = {}
        self.going: dict[int, int] = {}
        self.numbers = 0
        self.evaluation_s = self.waited_s = self.kernel_s = 0.0
        self.busy: dict[int, float] = {}
        self.uss: dict[int, int] = {}
        self._exits = ExitStack()

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def run(self) -> _Done:
        """Go over the source."""
        width = 8 * (len(COLUMNS) if self.seen is None else self.seen.columns)
        block = max(self.sizes.block, self.reach.align)
        ring = self.sizes.ring * (block + self.reach.lead) * width
        folder = self._exits.enter_context(_room_for(ring))
        runs = folder
        if self.source.policies.backward == "sort":
            runs = self._exits.enter_context(store.scratch("disk"))
        reader = Reader(
            self.source,
            folder,
            runs / "runs",
            self.cuts,
            self.reach,
            self.context.costs.latency,
            self.events,
            block=self.sizes.block,
            ring=self.sizes.ring,
            run=self.sizes.run,
        )
        reader.whole, reader.progress = self.whole, self.progress
        reader.seen = self.seen
        # Before the folder goes, so that nothing is written into it any more.
        self._exits.callback(reader.stop)
        reader.start()
        self._set_out()
        ended = False
        while not ended or self.going:
            self.tasks.submit(self._next_batch)
            in_flight = len(self.tasks.futures)
            waits = bool(self.parked) and not self.ready
            reader.wanted = waits and in_flight < 2 * self.engine.workers
            waiting = None if in_flight else time.perf_counter()
            try:
                kind, what = self.events.get(timeout=0.1)
            except queue.Empty:
                kind, what = "", None
            if waiting is not None and self.going:
                self.waited_s += time.perf_counter() - waiting
            if self.interrupted():
                raise KeyboardInterrupt
            if kind == "error":
                raise what
            if kind == "end":
                ended = True
            elif kind == "block":
                self._arrived(what)
            elif kind == "done":
                for batch, outcomes in self.tasks.settle({what}):
                    self._done(batch, outcomes)
            self._let_go(reader)
        reader.done = True
        return _Done(
            self.rows,
            self.equity,
            tuple(sorted(self.failures.items())),
            reader.rows,
            reader.seconds,
            self.evaluation_s,
            self.waited_s,
            self.kernel_s,
        )

    # -- batches -----------------------------------------------------------------------

    def _set_out(self) -> None:
        count = len(self.params)
        size = self.batch or batch_size(count, self.engine.workers)
        groups = [np.arange(count)]
        if self.reach.align and not self.cuts.carry_over:
            # Features of a slice that starts afresh begin with the variant's own warm-up.
            alike = np.unique(self.reach.warmups)
            groups = [np.flatnonzero(self.reach.warmups == warmup) for warmup in alike]
        for group in groups:
            for first in range(0, len(group), size):
                self._wait(self._new_batch(group[first : first + size]))

    def _new_batch(self, variants: np.ndarray[Any, Any], like: _Batch | None = None) -> _Batch:
        batch = _Batch(self.numbers, variants)
        self.numbers += 1
        if like is not None:
            batch.next = like.next
        self.going[batch.next] = self.going.get(batch.next, 0) + 1
        return batch

    def _wait(self, batch: _Batch) -> None:
        """Line a batch up for its next block."""
        if batch.next < self.published:
            heapq.heappush(self.ready, (batch.next, batch.number, batch))
        else:
            self.parked.setdefault(batch.next, []).append(batch)

    def _leave(self, batch: _Batch) -> None:
        """Count a batch out of the block that it is at."""
        left = self.going[batch.next] - 1
        if left:
            self.going[batch.next] = left
        else:
            del self.going[batch.next]

    def _advance(self, batch: _Batch) -> None:
        last = self.blocks[batch.next].last
        self._leave(batch)
        if last or not len(batch.variants):
            return
        batch.next += 1
        self.going[batch.next] = self.going.get(batch.next, 0) + 1
        self._wait(batch)

    def _arrived(self, block: Block) -> None:
        self.blocks[block.number] = block
        self.parts[block.number] = self.cuts.within(block.begin, block.end, last=block.last)
        self.published = block.number + 1
        for batch in self.parked.pop(block.number, []):
            self._wait(batch)

    def _let_go(self, reader: Reader) -> None:
        """Remove the blocks that every batch has gone over."""
        lowest = min(self.going, default=self.published)
        while self.oldest < min(lowest, self.published):
            block = self.blocks.pop(self.oldest)
            # Nobody reads it: tasks that were lost with their worker went before their
            # batches, whose results count, came past here.
            reader.used.put(block.slot)
            del self.parts[self.oldest]
            self.oldest += 1
            reader.places.release()

    # -- tasks -------------------------------------------------------------------------

    def _next_batch(self) -> _Batch | None:
        """Return a batch whose next block is there."""
        while self.ready:
            _, _, batch = heapq.heappop(self.ready)
            if self.parts[batch.next]:
                return batch
            self._advance(batch)  # over a block between two slices
        return None

    def _call(self, batch: _Batch) -> tuple[Any, ...]:
        block, parts = self.blocks[batch.next], self.parts[batch.next]
        tasks = tuple(self._task(batch, block, part) for part in parts)
        return evaluate_block, self.context, tasks, block.within

    def _task(self, batch: _Batch, block: Block, part: Part) -> Task:
        first = block.first
        return Task(
            number=batch.number,
            params=self.params[batch.variants],
            slices=tuple(
                Slice(s.begin - first, s.end - first, max(lowest - first, 0))
                for s, lowest in zip(part.slices, self._lowest(batch, part), strict=True)
            ),
            carry_over=part.carry_over,
            close_out=part.close_out,
            carry=batch.carry if part.goes_on else None,
            keep=part.keep,
            ticks=block.handle,
            base=first,
            edges=tuple(edge - first for edge in part.edges),
        )

    def _lowest(self, batch: _Batch, part: Part) -> list[int]:
        """Return the lowest tick that each slice of a part may touch."""
        lowest = [s.warmup for s in part.slices]
        if self.cuts.carry_over or not self.reach.align or not len(batch.variants):
            return lowest
        warmup = int(self.reach.warmups[batch.variants[0]])
        return [max(low, start - warmup) for low, start in zip(lowest, part.starts, strict=True)]

    def _done(self, batch: _Batch, outcomes: tuple[Outcome, ...]) -> None:
        """Record what came of a batch on its block, and line it up for the next."""
        kept = None
        dropped: set[int] = set()
        for part, outcome in zip(self.parts[batch.next], outcomes, strict=True):
            self._take(batch, part, outcome, dropped)
            if part.keep:
                kept = outcome.carry
        if dropped:
            stays = np.array([v not in dropped for v in batch.variants], np.bool_)
            batch.variants = batch.variants[stays]
            kept = kept.select(stays) if kept is not None else None
        batch.carry = kept
        self._advance(batch)

    def _take(self, batch: _Batch, part: Part, outcome: Outcome, dropped: set[int]) -> None:
        if outcome.error:
            raise EvaluationError(f"tasks cannot be evaluated:\n{outcome.error}")
        self.evaluation_s += outcome.seconds
        self.kernel_s += outcome.kernel_seconds
        self.busy[outcome.pid] = self.busy.get(outcome.pid, 0.0) + outcome.seconds
        if outcome.uss_bytes:
            self.uss[outcome.pid] = outcome.uss_bytes
        left = np.array([v not in dropped for v in batch.variants], np.bool_)
        for column, place in enumerate(part.places):
            if place >= 0:
                self.rows[batch.variants[left], place] = outcome.rows[left, column]
        if self.equity is not None:
            assert outcome.equity is not None
            # A cell that goes on after the block is written again by the one that ends it.
            cells = slice(part.cell, part.cell + outcome.equity.shape[1])
            self.equity[batch.variants[left], cells] = outcome.equity[left]
        for v, reason in outcome.failures:
            variant = int(batch.variants[v])
            if variant in dropped:
                continue
            dropped.add(variant)
            self.failures[variant] = reason
            self._end(variant, part, outcome.rows[v])

    def _end(self, variant: int, part: Part, rows: Rows) -> None:
        """Fill in what is known of a variant that failed, as one task over all slices does."""
        if self.equity is not None:
            self.equity[variant] = np.nan
        if rows[-1]["status"] == STATUS_ERROR:
            self.rows[variant] = rows[-1]
            return
        self.rows[variant, self._slice_of(part) :] = rows[-1]

    def _slice_of(self, part: Part) -> int:
        """Return the number of the last slice that a part has to do with."""
        at = part.slices[-1].begin
        return max(k for k, s in enumerate(self.cuts.slices) if s.begin <= at)

    def _split(self, batch: _Batch) -> list[_Batch]:
        """Return the halves of a batch, which take its place."""
        half = len(batch.variants) // 2
        if not half:
            return [batch]
        self._leave(batch)
        halves = []
        for places in (slice(0, half), slice(half, None)):
            part = self._new_batch(batch.variants[places], batch)
            part.carry = None if batch.carry is None else batch.carry.select(places)
            halves.append(part)
        return halves

    def _give_up(self, batch: _Batch) -> None:
        """Go on without a variant that kills workers."""
        self._leave(batch)
        (variant,) = batch.variants.tolist()
        self.failures[variant] = GAVE_UP
        self.rows[variant]["status"] = STATUS_ERROR
        if self.equity is not None:
            self.equity[variant] = np.nan


@contextmanager
def _room_for(needed: int) -> Iterator[Path]:
    """Make a folder for blocks: in shared memory, or on the disk where that is too small."""
    try:
        in_memory = store.has_room("memory", needed)
    except StoreError:
        in_memory = False
    with store.scratch("memory" if in_memory else "disk") as folder:
        yield folder
