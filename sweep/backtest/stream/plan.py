"""The plan of a pass over a source: what it may hold, and how slices fall into blocks of ticks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from sweep.backtest import feature_blocks
from sweep.errors import InputError, StrategyError
from sweep.kernel import KernelRef, load_kernel
from sweep.kernel.accounting import CARRY
from sweep.schema import ROW, FloatArray2D, IntArray1D, Slice
from sweep.ticks.mapped import COLUMNS
from sweep.ticks.sessions import Cell, cells_of

__all__ = [
    "MEMORY",
    "OPEN",
    "Cuts",
    "Part",
    "Reach",
    "Sizes",
    "batch_size",
    "check_streamable",
    "sizes_for",
]

#: Bytes that a pass may take, besides what its processes take anyway.
MEMORY = 256_000_000

#: Ticks of a block at most: long enough that a task's way to a worker and back costs
#: nothing beside it, short enough that reading and evaluating soon overlap.
BLOCK = 1 << 20
#: Ticks of a block at least.
_SMALLEST = 1 << 12
#: Blocks at a time: one that is read, one that is evaluated, and two in between, since
#: neither goes at an even speed.
_RING = 4
#: What reading and checking take: a chunk decoded, converted and compared.
_READING = 56_000_000
#: What sorting takes for each tick of a run.
_SORTING = 160
#: Variants of a task at most.
_BATCH = 256
#: Variants that are worth a task of their own.
_WIDE = 64


@dataclass(frozen=True)
class Sizes:
    """What a pass holds at a time.

    Attributes
    ----------
    block : int
        Ticks of a block at most.
    ring : int
        Blocks at a time.
    variants : int
        Variants of one pass at most.
    run : int
        Ticks that are sorted at a time, where stamps may run backwards.
    """

    block: int = BLOCK
    ring: int = _RING
    variants: int = 1 << 20
    run: int = 1 << 21


def sizes_for(
    memory: int,
    kernel: KernelRef,
    *,
    columns: int = len(COLUMNS),
    lead: int = 0,
    n_slices: int = 1,
    n_cells: int = 0,
) -> Sizes:
    """Work out what a pass may hold at a time.

    Parameters
    ----------
    memory : int
        Bytes for ticks on their way and for what variants carry, over all processes.
    kernel : KernelRef
    columns : int, optional
        Of the ticks, 8 bytes each.
    lead : int, optional
        Ticks in front of each block that are held a second time.
    n_slices : int, optional
    n_cells : int, optional
        At whose ends equity is kept; see `sweep.ticks.sessions`.

    Raises
    ------
    InputError
        If nothing can be done with so little; the text says what it takes.
    """
    width = 8 * columns
    state = 8 * (max(kernel.n_floats, 1) + max(kernel.n_ints, 1)) + 16
    # A batch is copied on its way to a worker and back; its rows stay until the end.
    variant = 3 * (CARRY.itemsize + ROW.itemsize + state) + (n_slices + 1) * ROW.itemsize
    variant += 8 * n_cells
    # Equity of a batch at the ends of all cells, where one block holds them: in the worker, on
    # its way, and here.
    held = 3 * _BATCH * 8 * n_cells
    smallest = feature_blocks.BLOCK if kernel.features else _SMALLEST
    least = _READING + held + _RING * (smallest + lead) * width + _BATCH * variant
    if memory < least:
        raise InputError(
            f"data.memory: {memory / 1e6:,.0f} MB are too little for a pass over the ticks; "
            f"it takes {np.ceil(least / 1e6):,.0f} MB at least"
        )
    rest = memory - _READING - held
    block = min(BLOCK, rest // (2 * _RING * width) - lead)
    block = smallest if kernel.features else max(block, smallest)
    left = rest - _RING * (block + lead) * width
    return Sizes(
        block=int(block),
        variants=max(left // variant, _BATCH),
        run=max(rest // _SORTING, _SMALLEST),
    )


def batch_size(variants: int, workers: int) -> int:
    """Return how many variants go together.

    Two batches for each worker, so that it need not wait for one to come back; unless
    they would be so small that their way costs more than the wait.
    """
    batches = 2 * workers if variants >= 2 * workers * _WIDE else workers
    return max(min(_BATCH, -(-variants // batches)), 1)


def check_streamable(kernel: KernelRef) -> None:
    """Refuse a strategy that cannot go from block to block.

    Raises
    ------
    StrategyError
        The text says why, and what would do.
    """
    disk = 'or set data.store = "disk", which maps ticks larger than memory too'
    if not kernel.resumable:
        raise StrategyError(
            f"{kernel.strategy_path}: State holds arrays, which cannot be carried from block to "
            f"block; keep numbers in it, {disk}"
        )
    if kernel.features and not _looks_back(kernel):
        raise StrategyError(
            f"{kernel.strategy_path}: features() works on all ticks of a slice at once, and a "
            f"pass over the source holds a block of them; say by lookback(params) how many "
            f"ticks before a tick its features depend on, {disk}"
        )


def _looks_back(kernel: KernelRef) -> bool:
    """Whether a strategy has a function ``lookback``."""
    return callable(getattr(load_kernel(kernel).module, "lookback", None))


#: The end of a slice that goes to the end of the source.
OPEN = 1 << 62


@dataclass(frozen=True)
class Part:
    """What of a block goes into one task.

    Attributes
    ----------
    slices : tuple of Slice
        In ticks of the whole series, cut at the block's ends.
    starts : tuple of int
        Where each slice as a whole begins.
    places : tuple of int
        Number of each slice among those of the pass; -1 where the slice goes on.
    goes_on : bool
        Whether it begins where the block before ended.
    carry_over, close_out, keep : bool
        See `sweep.backtest.tasks.Task`.
    edges : tuple of int
        Of the sessions that it lies in; none where equity is not wanted at their ends.
    cell : int
        Number of its first cell among those of the pass; the others follow.
    """

    slices: tuple[Slice, ...]
    starts: tuple[int, ...]
    places: tuple[int, ...]
    goes_on: bool
    carry_over: bool
    close_out: bool
    keep: bool
    edges: tuple[int, ...] = ()
    cell: int = 0


@dataclass(frozen=True)
class Cuts:
    """The slices of a pass, and how they fall into blocks.

    Attributes
    ----------
    slices : tuple of Slice
    carry_over, close_out : bool
        See `sweep.backtest.tasks.Task`.
    edges : tuple of int
        Of sessions that cover the slices, where equity is wanted at their ends.
    """

    slices: tuple[Slice, ...]
    carry_over: bool
    close_out: bool
    edges: tuple[int, ...] = ()

    @staticmethod
    def of(
        slices: Sequence[Slice] | None,
        carry_over: bool,
        close_out: bool,
        edges: tuple[int, ...] = (),
    ) -> Cuts:
        """Return the cuts of a pass; None: all ticks are one slice.

        Raises
        ------
        ValueError
            If slices overlap, or leave gaps where they are carried over; if sessions do not
            cover them.
        """
        found = (Slice(0, OPEN, 0),) if slices is None else tuple(slices)
        if not found:
            raise ValueError("a pass needs at least one slice")
        for a, b in pairwise(found):
            if b.begin < a.end or (carry_over and b.begin != a.end):
                raise ValueError(f"slices overlap or leave gaps: {a} and {b}")
        if edges and not edges[0] <= found[0].begin < found[-1].end <= edges[-1]:
            raise ValueError(f"sessions from {edges[0]} to {edges[-1]} do not cover all slices")
        return Cuts(found, carry_over, close_out, edges)

    @cached_property
    def cells(self) -> list[Cell]:
        """Its cells, in the order of time; none without edges."""
        return cells_of(self.slices, self.edges) if self.edges else []

    @property
    def begin(self) -> int:
        """First tick."""
        return self.slices[0].begin

    @property
    def end(self) -> int:
        """Tick after the last; `OPEN` where that is the end of the source."""
        return self.slices[-1].end

    def fresh(self) -> tuple[Slice, ...]:
        """Slices that start from their own warm-up."""
        return self.slices[:1] if self.carry_over else self.slices

    def within(self, begin: int, end: int, *, last: bool) -> list[Part]:
        """Return what a block of the ticks ``begin`` to ``end`` is evaluated for.

        Parameters
        ----------
        begin, end : int
        last : bool
            Whether the series ends with it.
        """
        whole = [_end_at(s, end) if last else s for s in self.slices]
        found = [k for k, s in enumerate(whole) if s.begin < end and s.end > begin]
        inside = [
            Slice(max(whole[k].begin, begin), min(whole[k].end, end), whole[k].warmup)
            for k in found
        ]
        places = [k if whole[k].end <= end else -1 for k in found]
        if self.carry_over:
            parts = [self._carried(whole, inside, places, begin)] if found else []
            return [self._with_sessions(part, found[0]) for part in parts]
        independent, complete = [], []
        for k, cut, place in zip(found, inside, places, strict=True):
            if cut.begin == whole[k].begin and place >= 0:
                complete.append((cut, place))
                continue
            goes_on, ends = whole[k].begin < begin, place >= 0
            start = (whole[k].begin,)
            part = Part((cut,), start, (place,), goes_on, True, ends, not ends)
            independent.append(self._with_sessions(part, k))
        if complete:
            cuts, numbers = zip(*complete, strict=True)
            starts = tuple(c.begin for c in cuts)
            part = Part(cuts, starts, numbers, False, False, True, False)
            independent.append(self._with_sessions(part, numbers[0]))
        # What goes on comes first, what is kept for the next block last.
        return sorted(independent, key=lambda p: (not p.goes_on, p.keep))

    def _with_sessions(self, part: Part, place: int) -> Part:
        """Return a part, whose first slice is number ``place``, with the sessions it lies in."""
        if not self.edges:
            return part
        first = bisect_right(self.edges, part.slices[0].begin) - 1
        last = bisect_left(self.edges, part.slices[-1].end)
        cell = bisect_left(self.cells, Cell(place, first))
        return replace(part, edges=self.edges[first : last + 1], cell=cell)

    def _carried(
        self, whole: list[Slice], inside: list[Slice], places: list[int], begin: int
    ) -> Part:
        ends = places[-1] == len(whole) - 1
        return Part(
            slices=tuple(inside),
            starts=tuple(whole[0].begin for _ in inside),
            places=tuple(places),
            goes_on=whole[0].begin < begin,
            carry_over=True,
            close_out=ends and self.close_out,
            keep=not ends,
        )


def _end_at(cut: Slice, end: int) -> Slice:
    return cut._replace(end=end) if cut.end == OPEN else cut


@dataclass(frozen=True)
class Reach:
    """What variants need in front of their ticks.

    Attributes
    ----------
    warmups : ndarray of shape (n_variants,), int64
        Ticks, 0 where nothing depends on them.
    lead : int
        Ticks in front of a block that something in it may reach back to.
    align : int
        Ticks at whose multiples blocks end: where features begin afresh. 0: anywhere.
    """

    warmups: IntArray1D
    lead: int
    align: int

    @staticmethod
    def of(kernel: KernelRef, params: FloatArray2D, cuts: Cuts) -> Reach:
        """Return what the variants need on the slices of a pass."""
        room = max((s.begin - s.warmup for s in cuts.fresh()), default=0)
        warmups = np.zeros(len(params), np.int64)
        if not room and not kernel.features:
            return Reach(warmups, 0, 0)
        loaded = load_kernel(kernel)
        variants = [loaded.params(row) for row in params]
        warmups[:] = [max(int(loaded.warmup(p)), 0) for p in variants]
        # Compiled code may round a warm-up to one tick more than plain Python.
        lead = min(room, int(warmups.max(initial=0)) + 1)
        if not kernel.features:
            return Reach(warmups, lead, 0)
        back = max((int(loaded.lookback(p) or 0) for p in variants), default=0)
        if cuts.carry_over and room:
            # Features begin afresh before the tick at which the warm-up does.
            lead = min(room, lead + feature_blocks.BLOCK + back)
        return Reach(warmups, max(lead, back), feature_blocks.BLOCK)
