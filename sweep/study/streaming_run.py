"""Running a study whose ticks are in no store: evaluated in passes over their source.

What is asked, judged and written is `sweep.study.exhaustive_run`'s; here its tasks are gathered
into passes, and the winners are evaluated again in passes of their own: one for the search
range, one for the holdout.
"""

from __future__ import annotations

import numpy as np

from sweep.engines.dispatch import Submit
from sweep.errors import ReplayMismatchError
from sweep.schema import ROW, FloatArray2D, Rows
from sweep.stats.metrics import merge
from sweep.study.exhaustive_run import StreamedRun
from sweep.study.passes import Passes, evaluate_alone
from sweep.study.progress import Summary
from sweep.study.records import HoldoutLook
from sweep.study.study import difference

__all__ = ["PassRun"]

#: Variants of a task: what is saved together.
_TASK = 4096


class PassRun(StreamedRun):
    """A run that goes over the source as often as it takes, and as seldom as it can."""

    passes: Passes | None = None
    _at: tuple[int, float | None] = (0, None)

    def go(self) -> Summary:
        """Run the study to its end, and return how it went."""
        try:
            return super().go()
        finally:
            if self.passes is not None:
                self.passes.close()

    def prepare(self) -> None:
        """Begin as any exhaustive run, and say where no session returns are kept from now on."""
        super().prepare()
        kept = self.study.manifest["sessions"]
        if kept["edges"] and not self.course.edges:
            self.warn(
                "the ticks are cut into other sessions than when the study was begun: what trials "
                "return by session is not kept from here on"
            )

    def submit(self) -> None:
        """Hand over what the next pass takes, and let it begin."""
        if self.passes is None:
            self.passes = Passes(
                self.study.setup,
                self.study.spec.data.memory,
                self.engine,
                edges=self.course.edges,
                progress=lambda rows, share: setattr(self, "_at", (rows, share)),
            )
        if self.passes.busy:
            return
        while self.passes.room and (task := self.next_task()) is not None:
            self.tasks.dispatcher.submitted(self.passes.submit(task), Submit(task))
        self.passes.go()

    def _batch(self) -> int:
        assert self.passes is not None
        return max(min(self.passes.room, _TASK // self._rows_each()), 1)

    # -- winners -----------------------------------------------------------------------

    def _verify(self) -> tuple[int, ...]:
        """Evaluate the winners again, each alone; never show one that differs."""
        study = self.study
        best = self.leaders()
        if not best:
            return ()
        params = np.stack([study.board.trial(n).params for n in best])
        rows, failures = self._alone(params, "search")
        for k, number in enumerate(best):
            trial = study.board.trial(number)
            if k in failures or rows[k].tobytes() != trial.row.tobytes():
                raise ReplayMismatchError(failures.get(k) or difference(trial, rows[k]))
        if study.setup.ranges.holdout is not None:
            self._open_all([n for n in best if n not in study.opened])
        return tuple(best)

    def _open_all(self, numbers: list[int]) -> None:
        """Evaluate trials on the holdout, and record that it was opened for them."""
        if not numbers:
            return
        study = self.study
        params = np.stack([study.board.trial(n).params for n in numbers])
        rows, failures = self._alone(params, "holdout")
        for k, number in enumerate(numbers):
            reason = failures.get(k, "")
            if reason:
                rows[k] = np.zeros((), ROW)
                self.warn(f"trial {number} cannot be evaluated on the holdout: {reason}")
            record = HoldoutLook(number, params[k], rows[k], reason)
            study.ledger.append(record)
            study.take(record)

    def _alone(self, params: FloatArray2D, on: str) -> tuple[Rows, dict[int, str]]:
        study = self.study
        rows, failures = evaluate_alone(
            study.setup,
            params,
            study.spec.data.memory,
            self.engine,
            on=on,
            interrupted=lambda: self.interrupts() > 1,
        )
        if study.setup.carry_over or on == "holdout":
            return rows[:, -1].copy(), failures
        merged = rows[:, 0].copy()
        for k in range(1, rows.shape[1]):
            merged = merge(merged, rows[:, k])
        return merged, failures
