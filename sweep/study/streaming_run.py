"""Running a study whose ticks are in no store: evaluated in passes over their source.

What is asked, judged and written is `sweep.study.exhaustive_run`'s; here its tasks are gathered
into passes, and the winners are evaluated again in passes of their own: one for the search
range, one for the holdout.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from sweep.backtest.stream.run import Streamed, evaluate_stream
from sweep.backtest.tasks import Outcome, Task
from sweep.engines.base import Engine
from sweep.engines.dispatch import Submit
from sweep.errors import ReplayMismatchError
from sweep.schema import ROW, FloatArray2D, Rows, Slice
from sweep.stats.metrics import merge
from sweep.study.exhaustive_run import StreamedRun
from sweep.study.progress import Summary
from sweep.study.records import HoldoutLook
from sweep.study.setup import Setup, sizes_of
from sweep.study.study import difference

__all__ = ["PassRun", "Passes", "evaluate_alone"]


class Passes:
    """Evaluates tasks of one study in passes over its source, one pass at a time.

    Tasks of a pass have the same slices. Their futures are done when the pass is.

    Parameters
    ----------
    setup : Setup
        With a source.
    memory : int
        See `sweep.backtest.stream.run.evaluate_stream`.
    engine : Engine
        Stays open.
    edges : tuple of int, optional
        Of its tasks.
    progress : callable, optional
        ``progress(rows, share)`` while a pass reads the source, from its thread.
    """

    def __init__(
        self,
        setup: Setup,
        memory: int,
        engine: Engine,
        *,
        edges: tuple[int, ...] = (),
        progress: Callable[[int, float | None], None] | None = None,
    ) -> None:
        assert setup.streamed is not None
        self.source = setup.streamed.source
        self.seen = setup.streamed.seen
        self.context = setup.context
        self.memory, self.engine, self.progress = memory, engine, progress
        sizes = sizes_of(setup, memory, edges)
        self.variants = sizes.variants
        self._waiting: list[tuple[Task, Future[Outcome]]] = []
        self._thread: threading.Thread | None = None
        self._cancelled = False

    @property
    def busy(self) -> bool:
        """Whether a pass is under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def room(self) -> int:
        """Variants that the next pass still takes."""
        return max(self.variants - sum(len(t.params) for t, _ in self._waiting), 0)

    def submit(self, task: Task) -> Future[Outcome]:
        """Put a task into the next pass."""
        future: Future[Outcome] = Future()
        self._waiting.append((task, future))
        return future

    def go(self) -> None:
        """Begin a pass with what is waiting, unless one is under way."""
        if self.busy or not self._waiting:
            return
        going, self._waiting = self._waiting, []
        self._thread = threading.Thread(target=self._run, args=(going,), name="pass", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the pass that is under way; its tasks are lost."""
        self._cancelled = True
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def _run(self, going: list[tuple[Task, Future[Outcome]]]) -> None:
        first = going[0][0]
        assert all(task.slices == first.slices for task, _ in going)
        try:
            found = evaluate_stream(
                self.source,
                self.context,
                np.concatenate([task.params for task, _ in going]),
                first.slices,
                carry_over=first.carry_over,
                close_out=first.close_out,
                edges=first.edges,
                engine=self.engine,
                memory=self.memory,
                # The survey has seen that they are well.
                whole=False,
                seen=self.seen,
                interrupted=lambda: self._cancelled,
                progress=self.progress,
            )
        except BaseException as error:
            for _, future in going:
                future.set_exception(error)
            return
        for (task, future), outcome in zip(going, _outcomes(going, found), strict=True):
            assert task.number == outcome.number
            future.set_result(outcome)


def _outcomes(going: list[tuple[Task, Any]], found: Streamed) -> list[Outcome]:
    reasons = dict(found.failures)
    outcomes, first = [], 0
    # Tasks do not know who evaluated them; each stands for one of the workers in turn.
    pids = sorted(found.busy) or [os.getpid()]
    shares = [len(range(k, len(going), len(pids))) for k in range(len(pids))]
    for k, (task, _) in enumerate(going):
        count = len(task.params)
        pid = pids[k % len(pids)]
        failures = [(v, reasons[first + v]) for v in range(count) if first + v in reasons]
        outcomes.append(
            Outcome(
                number=task.number,
                rows=found.rows[first : first + count],
                equity=None if found.equity is None else found.equity[first : first + count],
                failures=tuple(failures),
                seconds=found.busy.get(pid, 0.0) / max(shares[k % len(pids)], 1),
                kernel_seconds=found.kernel_s * count / max(len(found.rows), 1),
                pid=pid,
                uss_bytes=found.uss_bytes.get(pid, 0),
            )
        )
        first += count
    return outcomes


def evaluate_alone(
    setup: Setup,
    params: FloatArray2D,
    memory: int,
    engine: Engine,
    *,
    on: str = "search",
    interrupted: Callable[[], bool] | None = None,
) -> tuple[Rows, dict[int, str]]:
    """Evaluate variants once more: each by itself, on blocks of another size.

    Parameters
    ----------
    setup : Setup
        With a source.
    params : ndarray of shape (n_variants, n_params), float64
    memory : int
    engine : Engine
    on : {"search", "holdout"}, optional
    interrupted : callable, optional

    Returns
    -------
    rows : ndarray of shape (n_variants, n_slices), dtype `sweep.schema.ROW`
    failures : dict of int to str
        Reasons by variant.
    """
    assert setup.streamed is not None
    slices: tuple[Slice, ...] = setup.slices
    carry_over = setup.carry_over
    if on == "holdout":
        assert setup.ranges.holdout is not None
        slices, carry_over = (setup.ranges.holdout,), False
    sizes = sizes_of(setup, memory)
    found = evaluate_stream(
        setup.streamed.source,
        setup.context,
        params,
        slices,
        carry_over=carry_over,
        engine=engine,
        memory=memory,
        sizes=replace(sizes, block=max(2 * sizes.block // 3, 1)),
        batch=1,
        whole=False,
        seen=setup.streamed.seen,
        interrupted=interrupted,
    )
    return found.rows, dict(found.failures)


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
