"""The finished trials of an exhaustive search: parts on disk, and what is in none yet.

It answers what `sweep.study.trials.Board` answers, for any number of trials in the memory of
some thousand: single trials and blocks are read when they are asked for. Whole columns
(``rows``, ``params``, ...) are there for notebooks and take the memory of all trials.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweep.schema import ROW, FloatArray1D, FloatArray2D, IntArray1D, Rows
from sweep.study.parts import Layout, read_part, write_part
from sweep.study.records import COMPLETE, INVALID, Finished, Part
from sweep.study.trials import BLOCK, TrialBlock, count_states, rank
from sweep.text import STATES

__all__ = ["LOST", "PART", "Archive", "lost_block"]

#: Trials of a part: some five megabytes in memory, and less in the file.
PART = 16_384

#: Single trials that are kept once they were read.
_KEPT = 256


#: Why a trial is invalid whose record is damaged, and that stands between whole ones.
LOST = "its record is damaged; the study's own sweep run evaluates it again"


def lost_block(layout: Layout, first: int, count: int) -> TrialBlock:
    """Return trials that are lost: invalid ones, with nothing known of them."""
    return TrialBlock(
        numbers=np.arange(first, first + count),
        params=np.tile(layout.space.defaults, (count, 1)),
        codes=np.full(count, STATES.index(INVALID), np.int8),
        rows=np.zeros(count, ROW),
        values=np.full((count, len(layout.objectives)), np.nan),
        violations=np.full((count, len(layout.constraints)), np.nan),
        n_slices=np.zeros(count, np.int32),
        duplicate_of=np.full(count, -1),
        reasons=np.full(count, LOST, object),
    )


@dataclass(frozen=True)
class _Gap:
    """Trials that are lost, in the place of a part."""

    first: int
    count: int

    @property
    def end(self) -> int:
        return self.first + self.count


class Archive:
    """Finished trials in parts, and a tail of trials in memory.

    Parameters
    ----------
    folder : Path
        Of the parts.
    layout : Layout
    parts : sequence of Part, optional
        After each other, from trial 0.
    """

    def __init__(self, folder: Path, layout: Layout, parts: Sequence[Part] = ()) -> None:
        self.folder = folder
        self.layout = layout
        self.parts: list[Part | _Gap] = []
        #: Why a pruner's doings are not here: nothing is pruned in an exhaustive search.
        self.intermediate: dict[int, tuple[tuple[int, float], ...]] = {}
        self._tail: list[TrialBlock] = []
        self._size = 0
        self._counts = count_states(np.zeros(0, np.int8), np.zeros(0, np.int64))
        self._single: OrderedDict[int, Finished] = OrderedDict()
        for part in parts:
            self.adopt(part)

    # -- growing -----------------------------------------------------------------------

    def adopt(self, part: Part) -> None:
        """Add a part that begins where the trials end; the tail must be empty."""
        if part.first != self._size or self._tail:
            raise ValueError(f"a part from trial {part.first} cannot follow {self._size} trials")
        self.parts.append(part)
        self._count(part.counts, part.count)

    def skip(self, count: int) -> None:
        """Leave a gap of a number of trials that are lost: they are there as invalid ones."""
        gap = _Gap(self._size, count)
        if self._tail:
            self.append(lost_block(self.layout, gap.first, count))
            return
        self.parts.append(gap)
        self._count({INVALID: count}, count)

    def append(self, block: TrialBlock) -> None:
        """Add trials to the tail; the first must follow the last."""
        if not len(block):
            return
        if block.numbers[0] != self._size:
            raise ValueError(f"trial {block.numbers[0]} cannot follow {self._size} trials")
        self._tail.append(block)
        self._count(count_states(block.codes, block.duplicate_of), len(block))

    def _count(self, counts: dict[str, int], n: int) -> None:
        self._size += n
        for state, k in counts.items():
            self._counts[state] += k
        self._whole_columns.clear()

    @property
    def unwritten(self) -> int:
        """Trials that are in no part."""
        return self._size - self._in_parts

    @property
    def _in_parts(self) -> int:
        return self.parts[-1].end if self.parts else 0

    def flush(self) -> Part | None:
        """Write the tail to a part of its own, and return it; None without a tail.

        The caller puts it on record, and only then is it one of the parts.
        """
        if not self._tail:
            return None
        return write_part(self.folder, TrialBlock.join(self._tail), self.layout)

    def flushed(self, part: Part) -> None:
        """Replace the tail with the part that holds it, once that is on record."""
        self._tail = []
        self.parts.append(part)

    @property
    def tail(self) -> tuple[TrialBlock, ...]:
        """Trials that are in no part, in blocks."""
        return tuple(self._tail)

    # -- single trials and blocks ------------------------------------------------------

    def __len__(self) -> int:
        return self._size

    def trial(self, number: int) -> Finished:
        """Return one trial.

        Raises
        ------
        IndexError
            If there is no such trial.
        LedgerError
            If its part is gone or damaged.
        """
        if not 0 <= number < self._size:
            raise IndexError(f"no trial {number}; there are {self._size}")
        if number not in self._single:
            self._single[number] = self.select(np.array([number])).trial(0)
            if len(self._single) > _KEPT:
                self._single.popitem(last=False)
        self._single.move_to_end(number)
        return self._single[number]

    def select(self, numbers: IntArray1D) -> TrialBlock:
        """Return some trials as columns, in the order of ``numbers``."""
        wanted = np.asarray(numbers, np.int64)
        if not len(wanted):
            return lost_block(self.layout, 0, 0)
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        found = []
        for first, end, read in self._pieces():
            a, b = np.searchsorted(ascending, [first, end])
            if a < b:
                places = ascending[a:b] - first
                block = read(int(places[0]), int(places[-1]) + 1)
                found.append(block.select(np.searchsorted(block.numbers, ascending[a:b])))
        together = TrialBlock.join(found)
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return together.select(back)

    def _pieces(self) -> Iterator[tuple[int, int, Callable[[int, int], TrialBlock]]]:
        """Yield bounds of what lies together, and how to read at least some places of it."""
        for part in self.parts:

            def read(a: int, b: int, part: Part | _Gap = part) -> TrialBlock:
                return self._places(part, (a, b))

            yield part.first, part.end, read
        for block in self._tail:

            def pick(a: int, b: int, block: TrialBlock = block) -> TrialBlock:
                return block.select(slice(a, b))

            first = int(block.numbers[0])
            yield first, first + len(block), pick

    def blocks(self, *leave_out: str) -> Iterator[TrialBlock]:
        """Yield all trials in order, some thousand at a time.

        Parameters
        ----------
        *leave_out : str
            Columns that are not wanted, see `sweep.study.parts.read_part`.
        """
        for part in self.parts:
            yield from self._read(part, leave_out)
        yield from self._tail

    def read_last(self, *leave_out: str) -> Iterator[TrialBlock]:
        """Yield the trials of the last part, as `blocks` does."""
        yield from self._read(self.parts[-1], leave_out)

    def _places(
        self, part: Part | _Gap, places: tuple[int, int], leave_out: Sequence[str] = ()
    ) -> TrialBlock:
        """Return at least some places of a part."""
        if isinstance(part, _Gap):
            return lost_block(self.layout, part.first + places[0], places[1] - places[0])
        return read_part(self.folder, part, self.layout, places=places, leave_out=leave_out)

    def _read(self, part: Part | _Gap, leave_out: Sequence[str]) -> Iterator[TrialBlock]:
        for first in range(0, part.count, BLOCK):
            places = (first, min(first + BLOCK, part.count))
            block = self._places(part, places, leave_out)
            begin = part.first + first - int(block.numbers[0])
            yield block.select(slice(begin, begin + places[1] - places[0]))

    # -- questions ---------------------------------------------------------------------

    def find(self, params: FloatArray1D) -> int:
        """Return the first trial with these parameters that was evaluated, or -1."""
        for block in self.blocks("rows", "values", "violations", "reasons"):
            same = np.flatnonzero((block.params == params).all(axis=1) & (block.duplicate_of < 0))
            if len(same):
                return int(block.numbers[same[0]])
        return -1

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state, see `sweep.study.trials.count_states`."""
        return dict(self._counts)

    def evaluated(self) -> int:
        """Return the number of distinct variants that were evaluated."""
        return self._size - self._counts["duplicates"] - self._counts[INVALID]

    def best(self, directions: tuple[str, ...], count: int) -> list[int]:
        """Return the best complete trials, duplicates left out; see `sweep.study.trials.rank`."""
        numbers, values = np.zeros(0, np.int64), np.zeros((0, len(directions)))
        # Of a front all members must be kept, since any may be ahead of the next ones.
        keep = count if len(directions) == 1 else self._size
        for block in self.blocks("params", "rows", "violations", "reasons"):
            good = block.in_state(COMPLETE) & (block.duplicate_of < 0)
            numbers = np.concatenate([numbers, block.numbers[good]])
            values = np.concatenate([values, block.values[good]])
            best = rank(numbers, values, directions, keep)
            places = np.searchsorted(numbers, np.sort(best))
            numbers, values = numbers[places], values[places]
        found: list[int] = rank(numbers, values, directions, count).tolist()
        return found

    # -- whole columns -----------------------------------------------------------------

    @cached_property
    def _whole_columns(self) -> dict[str, TrialBlock]:
        return {}

    @property
    def _all(self) -> TrialBlock:
        """All trials in memory, until there are more."""
        kept = self._whole_columns
        if "all" not in kept:
            kept["all"] = TrialBlock.join([*self.blocks()] or [lost_block(self.layout, 0, 0)])
        return kept["all"]

    @property
    def params(self) -> FloatArray2D:
        """Parameters, ndarray of shape (n_trials, n_params), float64."""
        return self._all.params

    @property
    def rows(self) -> Rows:
        """Rows, ndarray of shape (n_trials,)."""
        return self._all.rows

    @property
    def values(self) -> FloatArray2D:
        """Objectives, ndarray of shape (n_trials, n_values), float64."""
        return self._all.values

    @property
    def violations(self) -> FloatArray2D:
        """Violations, ndarray of shape (n_trials, n_violations), float64."""
        return self._all.violations

    @property
    def n_slices(self) -> NDArray[np.int32]:
        """Slices evaluated, ndarray of shape (n_trials,), int32."""
        return self._all.n_slices

    @property
    def duplicate_of(self) -> IntArray1D:
        """Trial whose evaluation is shared, ndarray of shape (n_trials,), int64, or -1."""
        return self._all.duplicate_of

    @property
    def states(self) -> list[str]:
        """State of every trial."""
        return [STATES[code] for code in self._all.codes]

    @property
    def reasons(self) -> dict[int, str]:
        """Why trials are not complete, by number."""
        return {k: reason for k, reason in enumerate(self._all.reasons) if reason}

    def in_state(self, state: str) -> NDArray[np.bool_]:
        """Mask of the trials in a state, ndarray of shape (n_trials,), bool."""
        return self._all.in_state(state)
