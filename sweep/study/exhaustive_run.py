"""Running a study whose points depend on nothing: evaluated, judged and written by blocks.

What comes next is decided in `sweep.study.exhaustive_state`. A task's rows go to the ledger as they
arrive; in the order of the trials they are judged and gathered, and some thousand at a time
become a Parquet part, which takes their place in the ledger.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.backtest.tasks import Outcome, Task
from sweep.errors import LedgerError, SweepError
from sweep.schema import ROW, IntArray1D, Rows
from sweep.study.exhaustive_state import Course, Exhaustive, finished_block
from sweep.study.parts import is_whole
from sweep.study.proposals import make_points
from sweep.study.records import FAILED, ExtraEvaluations, HoldoutLook, Part, Record, TrialSpan
from sweep.study.run import Run
from sweep.study.setup import starting_points
from sweep.study.tally import Tally
from sweep.study.trial_archive import PART, Archive
from sweep.study.trials import TrialBlock
from sweep.text import counted

__all__ = ["StreamedRun"]

#: Seconds of evaluation that a task aims at, so that handing it over costs nothing.
_TASK_SECONDS = 0.5

#: Rows that come back from a task at most: two megabytes and a half.
_LARGEST_TASK = 8192

#: Bytes of session returns in a part at most.
_SESSION_BYTES = 16 << 20

#: Variants of the first tasks, whose time is not known.
_FIRST_BATCH = 8

#: Trials that are copied to Optuna's storage, beside the best.
_SAMPLED = 256


class StreamedRun(Run):
    """A run that deals out points by their position."""

    state: Exhaustive
    scratch: _Scratch | None = None

    def prepare(self) -> None:
        """Read what an earlier run left, open the ledger, make the flow's state."""
        study = self.study
        spec = study.spec.study
        self.points = make_points(spec, study.space, starting_points(study.spec, study.space))
        self.course = Course(
            slices=study.setup.slices,
            carry_over=study.setup.carry_over,
            trials=spec.trials,
            distinct=study.space.exact_size(),
            edges=study.session_edges,
            capital=study.setup.context.account.capital,
        )
        self.tally = Tally(study.directions, spec.top, spec.patience)
        study.begin()
        study._load()
        self.open_ledger()
        self.board = Archive(study.folder / "trials", study.layout)
        study.board = self.board
        self.parts = self._whole_parts()
        stretches = [span for span in study.spans if isinstance(span, TrialSpan)]
        self.state = Exhaustive(self.course, self.points, self.parts, stretches)
        if self.points.may_repeat:
            self.scratch = _Scratch(study.folder)
        self.sample = _Sample(self.total())
        self.each = 0.0
        self.at_most = _FIRST_BATCH
        self._check_points(stretches)

    def _whole_parts(self) -> list[Part]:
        """Return the parts that have the bytes that were written."""
        parts = [span for span in self.study.spans if isinstance(span, Part)]
        whole = [part for part in parts if is_whole(self.board.folder, part)]
        if len(whole) < len(parts):
            n = sum(part.count for part in parts) - sum(part.count for part in whole)
            names = ", ".join(part.name for part in parts if part not in whole)
            self.warn(f"{names}: missing or damaged; {n:,} trials are evaluated again")
        if self.study.spec.study.patience is not None:
            # What ended the study is found in the order of the trials alone.
            contiguous: list[Part] = []
            for part in whole:
                if part.first != (contiguous[-1].end if contiguous else 0):
                    break
                contiguous.append(part)
            whole = contiguous
        return whole

    def _check_points(self, stretches: list[TrialSpan]) -> None:
        for stretch in stretches:
            rows = self.points.rows(stretch.first, len(stretch.params))
            if rows.tobytes() != stretch.params.tobytes():
                raise SweepError(
                    f"{self.study.folder}: trial {stretch.first} has other parameters than "
                    f"before the study was interrupted; a strategy's valid() or condition is "
                    f"not deterministic, or NumPy or SciPy has changed"
                )

    # -- tasks -------------------------------------------------------------------------

    def next_task(self) -> Task | None:
        """Return a task that was never started, or None."""
        began = self.meter.clock()
        task = self.state.next_task(self._batch())
        self.meter.sampler_s += self.meter.clock() - began
        return task

    def _batch(self) -> int:
        if self.study.spec.compute.batch:
            return self.study.spec.compute.batch
        size = _FIRST_BATCH
        if self.each:
            size = min(int(_TASK_SECONDS / self.each), self.at_most)
        left = self.total()
        if left is not None:
            # Smaller ones at the end, so that all workers come to it together.
            size = min(size, (left - self.state.dealt) // (2 * self.engine.workers))
        size = max(min(size, _LARGEST_TASK // self._rows_each()), 1)
        # Whole vector registers of lanes, where there are many.
        return size if size < 64 else size - size % 8

    def _rows_each(self) -> int:
        """Return how many rows are as large as what comes back of a variant."""
        return len(self.course.spans) + len(self.course.edges) * 8 // ROW.itemsize

    def arrived(self, outcome: Outcome) -> None:
        """Record a task's outcome."""
        n = len(outcome.rows)
        each = outcome.seconds / max(n, 1)
        # The first tasks load the kernel: what is quicker is nearer to the truth.
        self.each = min(each, 0.7 * self.each + 0.3 * each) if self.each else each
        self.at_most = max(self.at_most, 4 * n)
        self._save(self.state.arrived(outcome))

    def give_up(self, task: Task) -> None:
        """Record that a task's only variant kills its workers: it fails."""
        self._save(self.state.give_up(task))

    def _save(self, stretch: TrialSpan) -> None:
        if not self.tally.impatient:
            self.study.ledger.append(stretch)

    # -- what is finished --------------------------------------------------------------

    def obey(self) -> bool:
        """Take what is finished in the order of the trials; whether there was anything."""
        any_ = False
        while not self.tally.impatient and (span := self.state.take()) is not None:
            any_ = True
            if isinstance(span, Part):
                self._adopt(span)
            else:
                self._take(span)
            if self.tally.impatient:
                self.state.stop(
                    f"no improvement in {counted(self.study.spec.study.patience, 'trial')}"
                )
            self.mind_interrupts()
            self.observe()
        return any_

    def _adopt(self, part: Part) -> None:
        """Add trials that lie in a part already."""
        self._flush()
        before = len(self.board)
        self.board.adopt(part)
        if self.scratch is None:
            for block in self.board.read_last("params", "rows", "violations", "reasons"):
                self._count(block)
        else:
            for block in self.board.read_last("params", "violations"):
                self._count(block)
                self.scratch.keep(block)
        self._store(np.arange(before, len(self.board)))

    def _take(self, stretch: TrialSpan) -> None:
        """Judge the next trials, and gather them for a part."""
        known = self.study.known if self.scratch is None else self.scratch.known
        block = finished_block(stretch, self.study.judge, len(self.course.slices), known)
        block = block.select(slice(0, self._count(block)))
        if self.scratch is not None:
            self.scratch.keep(block)
        self.board.append(block)
        self._store(block.numbers)
        if np.isnan(self.meter.first_trial_s) and len(block):
            self.meter.first_trial_s = self.meter.elapsed()
        failed = np.flatnonzero(block.in_state(FAILED) & (block.duplicate_of < 0))
        for place in failed[: self.messages.maxlen]:
            reason = str(block.reasons[place]).splitlines()[0]
            self.warn(f"trial {block.numbers[place]} failed: {reason}")
        if self.board.unwritten >= min(PART, _SESSION_BYTES // (4 * len(self.course.edges) + 1)):
            self._flush()

    def _count(self, block: TrialBlock) -> int:
        return self.tally.take(block.numbers, block.codes, block.values, block.duplicate_of)

    def _store(self, numbers: IntArray1D) -> None:
        """Copy the sample among some trials to Optuna's storage."""
        chosen = self.sample.of(numbers)
        if len(chosen):
            block = self.board.select(chosen)
            for place in range(len(block)):
                self.persister.add(block.trial(place))

    def _flush(self) -> None:
        """Write the trials that lie in no part to one, and put it in their place."""
        part = self.board.flush()
        if part is None:
            return
        whole = {p.name: p for p in self.parts if p.first != part.first}
        self.parts = [*whole.values(), part]

        def stays(record: Record) -> bool:
            if isinstance(record, Part):
                return whole.get(record.name) == record
            if isinstance(record, TrialSpan):
                return record.end > part.end and not self.tally.impatient
            return isinstance(record, HoldoutLook | ExtraEvaluations)

        self.study.ledger.rewrite(stays, part)
        self.board.flushed(part)

    def finish(self) -> None:
        """Write what is left, once the study has come to its end."""
        self._flush()

    def close(self) -> None:
        """Release what is open, however the run ended."""
        if self.scratch is not None:
            self.scratch.close()

    # -- what the run asks -------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Start no task more."""
        self.state.stop(reason)

    def failures(self) -> tuple[int, int, int]:
        """Return the number of failed trials, of all, and the first that failed."""
        return self.tally.counts[FAILED], len(self.tally), self.tally.first_failed

    def save_state(self) -> None:
        """Do nothing: points follow from their position."""

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state."""
        return self.tally.counts

    def total(self) -> int | None:
        """Return the number of trials to finish, as far as it is known."""
        bounds = (self.course.trials, self.course.distinct, self.points.expected)
        known = [bound for bound in bounds if bound is not None]
        return min(known) if known else None

    def leaders(self) -> list[int]:
        """Return the numbers of the best trials so far."""
        best = self.tally.best(self.study.spec.study.top)
        assert best is not None
        return best


class _Sample:
    """Which trials go to Optuna's storage: some hundred, evenly spread by their numbers.

    Parameters
    ----------
    total : int or None
        Trials to come, where it is known. Otherwise the sample thins out as it goes: half
        as many trials again for each doubling of the study.
    """

    def __init__(self, total: int | None) -> None:
        self._stride = None if total is None else max(-(-total // _SAMPLED), 1)

    def of(self, numbers: IntArray1D) -> IntArray1D:
        """Return those of some trials that are in the sample."""
        if self._stride is not None:
            return np.asarray(numbers[numbers % self._stride == 0])
        doublings = np.floor(np.log2(np.maximum(numbers, _SAMPLED) / _SAMPLED)).astype(np.int64)
        stride = np.where(numbers < _SAMPLED, 1, 2 << doublings)
        return np.asarray(numbers[numbers % stride == 0])


class _Scratch:
    """Rows of evaluated trials by number, in a file without a name: points may come again.

    Parameters
    ----------
    folder : Path
        Where there is room for them.
    """

    def __init__(self, folder: Any) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)
        except OSError as error:
            raise LedgerError(f"{folder}: cannot be written: {error.strerror}") from None
        self._failed: dict[int, str] = {}

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def keep(self, block: TrialBlock) -> None:
        """Keep the rows of consecutive trials."""
        if not len(block):
            return
        data = np.ascontiguousarray(block.rows).tobytes()
        try:
            os.pwrite(self._file.fileno(), data, int(block.numbers[0]) * ROW.itemsize)
        except OSError as error:
            raise LedgerError(
                f"rows of trials that may come again cannot be written ({error.strerror}); "
                f"what was finished is kept, free some space and run again to go on"
            ) from None
        for place in np.flatnonzero(block.in_state(FAILED) & (block.duplicate_of < 0)):
            self._failed[int(block.numbers[place])] = str(block.reasons[place])

    def known(self, numbers: IntArray1D) -> tuple[Rows, NDArray[np.object_]]:
        """Return the rows of earlier trials, and why each failed (empty if it did not)."""
        handle, size = self._file.fileno(), ROW.itemsize
        data = b"".join(os.pread(handle, size, int(k) * size) for k in numbers)
        reasons = np.array([self._failed.get(int(k), "") for k in numbers], object)
        return np.frombuffer(data, ROW), reasons
