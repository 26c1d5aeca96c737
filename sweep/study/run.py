"""What every run of a study does, whatever its flow: tasks, limits, winners, snapshots.

`Run` carries tasks to the engine and outcomes back, replaces workers that died or grew,
minds interrupts and limits, verifies the winners, and hands out snapshots. What is asked,
saved and learnt is the business of a flow: `sweep.study.guided_run` and
`sweep.study.exhaustive_run`.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait

import numpy as np

from sweep.backtest.tasks import Outcome, Task
from sweep.engines.base import Engine
from sweep.engines.dispatch import Tasks
from sweep.errors import EvaluationError, ReplayMismatchError, SweepError
from sweep.report.snapshot import Snapshot, TrialView
from sweep.schema import ROW
from sweep.study.exhaustive_state import Exhaustive
from sweep.study.guided_state import StudyState
from sweep.study.persist import Persister
from sweep.study.progress import Meter, Standing, Summary, snapshot, trial_views
from sweep.study.records import HoldoutLook
from sweep.study.study import Study
from sweep.text import counted
from sweep.ticks.mapped import require_intact

__all__ = ["Run"]

#: Seconds between saves of a flow's state, and between syncs of the ledger.
_SAVE_SECONDS = 2.0


class Run(ABC):
    """One run of a study: the engine, and the files that are written.

    Parameters
    ----------
    study : Study
    observer : callable or None
    interrupts : callable or None
    new_engine : callable
        Makes the engine once the study is ready for it.
    clock : callable
    """

    state: StudyState | Exhaustive

    def __init__(
        self,
        study: Study,
        observer: Callable[[Snapshot], None] | None,
        interrupts: Callable[[], int] | None,
        new_engine: Callable[[], Engine],
        clock: Callable[[], float],
    ) -> None:
        self.study = study
        self.observer = observer
        self.interrupts = interrupts or (lambda: 0)
        self.meter = Meter(clock)
        self.meter.start()
        self.messages: deque[str] = deque(maxlen=5)
        self.saved_at = 0.0
        self.seen_at = -1.0
        self.draining = False
        self.ended = False
        self.views: dict[int, tuple[float, TrialView]] = {}
        self._new_engine = new_engine

    # -- what a flow does --------------------------------------------------------------

    @abstractmethod
    def prepare(self) -> None:
        """Read what an earlier run left, open the ledger, make the flow's state."""

    @abstractmethod
    def obey(self) -> bool:
        """Do what can be done at once; whether there was anything."""

    @abstractmethod
    def next_task(self) -> Task | None:
        """Return a task that was never started, or None."""

    @abstractmethod
    def arrived(self, outcome: Outcome) -> None:
        """Record a task's outcome."""

    @abstractmethod
    def give_up(self, task: Task) -> None:
        """Record that a task's only variant kills its workers: it fails."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Propose nothing more; ``interrupted`` also starts no task more."""

    @abstractmethod
    def failures(self) -> tuple[int, int, int]:
        """Return the number of failed trials, of all, and the first that failed."""

    @abstractmethod
    def save_state(self) -> None:
        """Write what a later run needs besides the ledger."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left, once the study has come to its end."""

    @abstractmethod
    def close(self) -> None:
        """Release what is open, however the run ended."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state."""

    @abstractmethod
    def total(self) -> int | None:
        """Return the number of trials to finish, where it is known."""

    @abstractmethod
    def leaders(self) -> list[int]:
        """Return the numbers of the best trials so far."""

    def open_ledger(self) -> None:
        """Open the ledger for appending, and report what of it is damaged."""
        ledger = self.study.ledger
        ledger.open()
        if ledger.damage:
            self.warn(f"ledger.bin is damaged: {ledger.damage} lost; trials are evaluated again")

    def saved_share(self) -> float | None:
        """Return the share of the slices that pruning left out; None where nothing is pruned."""
        return None

    # -- the whole ---------------------------------------------------------------------

    def go(self) -> Summary:
        """Run the study to its end, and return how it went."""
        self.persister = Persister(self.study)
        try:
            self.prepare()
            if self.study.repaired:
                self.warn(self.study.repaired)
            for text in self.study.setup.warnings:
                self.warn(text)
            self.engine = self._new_engine()
            self.tasks = Tasks(
                self.engine, self._call, self.state.split, self.give_up, recycle=self._replace_dead
            )
            try:
                return self._go()
            finally:
                self.engine.close(cancel=self.interrupts() > 1 or bool(self.tasks.futures))
        finally:
            self.study.ledger.close()
            self.persister.close()
            self.close()

    def _go(self) -> Summary:
        self._loop()
        interrupted = self.state.reason() == "interrupted"
        self.save_state()
        if not interrupted:
            self.finish()
        began = time.process_time()
        best = () if interrupted else self._verify()
        self.meter.verify_cpu_s += time.process_time() - began
        self.ended = True
        self.meter.look_at(self._workers())
        if interrupted:
            self.persister.close()
        else:
            self.persister.finish(best)
        if self.persister.error:
            self.warn(self.persister.error)
        self.observe(force=True)
        return self._summary(best)

    def _loop(self) -> None:
        while True:
            self.obey()
            self._check_limits()
            self.submit()
            if self.state.done and not self.tasks.futures:
                break
            if not self.tasks.futures and not self.obey():
                if self.state.done:
                    break
                continue
            self._collect()
            self._housekeep()
        self.obey()

    # -- tasks -------------------------------------------------------------------------

    def submit(self) -> None:
        """Hand tasks to the engine, two for each worker at most."""
        if self.state.starts_nothing:
            for task in self.tasks.dispatcher.interrupted():
                self.state.drop(task)
        if not self._recycle_due():
            self.tasks.submit(self.next_task)

    def _call(self, task: Task) -> tuple[object, ...]:
        function, context = self.study.setup.evaluation
        return function, context, task

    def _recycle_due(self) -> bool:
        """Whether workers grew beyond their limit; they are replaced once they are idle."""
        limit = self.study.spec.compute.memory
        if limit is None or not any(u > limit for u in self.meter.uss.values()):
            return False
        if not self.tasks.futures:
            self.warn("workers grew beyond compute.memory and were replaced")
            self._replace_workers()
            self.meter.uss.clear()
            return False
        return True

    def _replace_workers(self) -> None:
        self.meter.look_at(self._workers())
        self.engine.recycle()

    def _replace_dead(self) -> None:
        self.warn("a worker died: it is replaced and its task repeated")
        self._replace_workers()

    def _collect(self) -> None:
        done, _ = wait(self.tasks.futures, timeout=0.1, return_when=FIRST_COMPLETED)
        for task, outcome in self.tasks.settle(done):
            self._arrive(outcome, task)

    def _arrive(self, outcome: Outcome, task: Task) -> None:
        if outcome.error:
            raise EvaluationError(f"tasks cannot be evaluated:\n{outcome.error}")
        # Before the first result is recorded: the hash in study.json is that of the ticks used.
        require_intact(self.study.setup.ticks)
        self.meter.took(outcome, sum(s.end - s.begin for s in task.slices))
        self.arrived(outcome)

    # -- limits ------------------------------------------------------------------------

    def _check_limits(self) -> None:
        spec = self.study.spec.study
        self.mind_interrupts()
        if spec.time_limit is not None and self.meter.elapsed() * 1e9 >= spec.time_limit:
            self.stop("time limit")
        failed, finished, first = self.failures()
        if failed and spec.too_many_failures(failed, finished):
            self.stop("failed")
            self.save_state()
            reason = self.study.board.trial(first).reason
            raise EvaluationError(
                f"{failed} of {counted(finished, 'trial')} failed, more than study.max_failures "
                f"allows; the first was trial {first}:\n{reason}"
            )

    def mind_interrupts(self) -> None:
        """Stop where the user has interrupted."""
        if self.interrupts() and not self.draining:
            self.draining = True
            self.stop("interrupted")
            self.save_state()

    def _housekeep(self) -> None:
        now = self.meter.elapsed()
        if self.interrupts() > 1:
            self.engine.close(cancel=True)
            raise KeyboardInterrupt
        if now - self.saved_at > _SAVE_SECONDS:
            self.saved_at = now
            self.study.ledger.sync()
            if not self.draining:
                self.save_state()
                self._open_live()
        self.observe()

    def warn(self, text: str) -> None:
        """Show a text to the user, below the live table and at the end."""
        self.messages.append(text)

    # -- winners -----------------------------------------------------------------------

    def _verify(self) -> tuple[int, ...]:
        """Replay the winners, and evaluate them on the holdout; never show one that differs."""
        study = self.study
        best = self.leaders()
        for number in best:
            study.replay(number)
            study.verify_paths(number)
            if study.setup.ranges.holdout is not None and number not in study.opened:
                self._open_holdout(number)
        return tuple(best)

    def _open_live(self) -> None:
        """Evaluate the best so far on the holdout, where the study asks for it."""
        study = self.study
        if not study.spec.study.live_holdout or study.setup.ranges.holdout is None:
            return
        for number in self.leaders():
            if number not in study.opened:
                self._open_holdout(number)

    def _open_holdout(self, number: int) -> None:
        study = self.study
        params = study.board.trial(number).params
        try:
            row, reason = study.replay(number, on="holdout").replay.row, ""
        except ReplayMismatchError:
            raise
        except SweepError as error:
            row, reason = np.zeros((), ROW)[()], str(error)
            self.warn(f"trial {number} cannot be evaluated on the holdout: {reason}")
        record = HoldoutLook(number, params, row, reason)
        study.ledger.append(record)
        study.take(record)

    # -- what is shown -----------------------------------------------------------------

    def _workers(self) -> Sequence[int]:
        return [pid for pid in self.engine.pids() if pid != os.getpid()]

    def _summary(self, best: tuple[int, ...]) -> Summary:
        meter, workers = self.meter, self.engine.workers
        elapsed = meter.elapsed()
        counts = self.counts()
        return Summary(
            reason=self.state.reason(),
            elapsed_s=elapsed,
            first_trial_s=meter.first_trial_s,
            finished=sum(counts.values()),
            evaluated=self.study.board.evaluated(),
            sampler_s=meter.sampler_s,
            evaluation_s=meter.evaluation_s,
            kernel_s=meter.kernel_s,
            cpu_s=meter.cpu_s(),
            verify_cpu_s=meter.verify_cpu_s,
            worker_cpu_s=sum(meter.cpu.values()) if meter.cpu else float("nan"),
            idle_share=max(0.0, 1.0 - meter.evaluation_s / max(elapsed * workers, 1e-9)),
            workers=workers,
            uss_bytes={p: u for p, u in meter.uss.items() if p != os.getpid() or workers == 1},
            saved_share=self.saved_share(),
            best=best,
            messages=tuple(self.messages),
        )

    def observe(self, *, force: bool = False) -> None:
        """Hand out a snapshot, unless the last one is too young."""
        now = self.meter.clock()
        if self.observer is None or (now - self.seen_at < 0.2 and not force):
            return
        self.seen_at = now
        counts = self.counts()
        self.meter.note(sum(counts.values()))
        views = trial_views(
            self.study, self.leaders(), self.views, self.meter.elapsed(), ended=self.ended
        )
        standing = Standing(
            state="finished" if self.ended else "draining" if self.draining else "running",
            counts=counts,
            in_flight=self.state.in_flight,
            total=sum(counts.values()) if self.ended and not self.draining else self.total(),
            saved_share=self.saved_share(),
            workers=self.engine.workers,
            pids=tuple(self.engine.pids()),
            best=views,
            messages=tuple(self.messages),
        )
        self.observer(snapshot(self.study, self.meter, standing))
