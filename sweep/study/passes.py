"""A study whose ticks lie nowhere: its tasks gathered into passes over the source.

A pass costs one reading of the source, however many variants it evaluates, so that tasks
wait until there are as many as one pass takes, or until no more are coming. Winners are
evaluated again, each by itself and on blocks of another size, before they are shown.
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
from sweep.schema import FloatArray2D, Rows, Slice
from sweep.study.setup import Setup, sizes_of

__all__ = ["Passes", "evaluate_alone"]


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
