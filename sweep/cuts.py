"""How the slices of a pass fall into blocks of ticks, and how far they reach back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sweep import feature_blocks
from sweep.kernel import KernelRef, load_kernel
from sweep.schema import FloatArray2D, IntArray1D, Slice

__all__ = ["OPEN", "Cuts", "Part", "Reach"]

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
        See `sweep.tasks.Task`.
    """

    slices: tuple[Slice, ...]
    starts: tuple[int, ...]
    places: tuple[int, ...]
    goes_on: bool
    carry_over: bool
    close_out: bool
    keep: bool


@dataclass(frozen=True)
class Cuts:
    """The slices of a pass, and how they fall into blocks."""

    slices: tuple[Slice, ...]
    carry_over: bool
    close_out: bool

    @staticmethod
    def of(slices: Sequence[Slice] | None, carry_over: bool, close_out: bool) -> Cuts:
        """Return the cuts of a pass; None: all ticks are one slice.

        Raises
        ------
        ValueError
            If slices overlap, or leave gaps where they are carried over.
        """
        found = (Slice(0, OPEN, 0),) if slices is None else tuple(slices)
        if not found:
            raise ValueError("a pass needs at least one slice")
        for a, b in pairwise(found):
            if b.begin < a.end or (carry_over and b.begin != a.end):
                raise ValueError(f"slices overlap or leave gaps: {a} and {b}")
        return Cuts(found, carry_over, close_out)

    @property
    def begin(self) -> int:
        """First tick."""
        return self.slices[0].begin

    @property
    def end(self) -> int:
        """Tick behind the last; `OPEN` where that is the end of the source."""
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
            return [self._carried(whole, inside, places, begin)] if found else []
        parts, complete = [], []
        for k, cut, place in zip(found, inside, places, strict=True):
            if cut.begin == whole[k].begin and place >= 0:
                complete.append((cut, place))
                continue
            goes_on, ends = whole[k].begin < begin, place >= 0
            start = (whole[k].begin,)
            parts.append(Part((cut,), start, (place,), goes_on, True, ends, not ends))
        if complete:
            cuts, numbers = zip(*complete, strict=True)
            starts = tuple(c.begin for c in cuts)
            parts.append(Part(cuts, starts, numbers, False, False, True, False))
        # What goes on comes first, what is kept for the next block last.
        return sorted(parts, key=lambda p: (not p.goes_on, p.keep))

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
        Ticks at whose multiples blocks end: where features begin anew. 0: anywhere.
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
            # Features begin anew before the tick at which the warm-up does.
            lead = min(room, lead + feature_blocks.BLOCK + back)
        return Reach(warmups, max(lead, back), feature_blocks.BLOCK)
