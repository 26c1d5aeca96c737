"""Tasks on worker processes of this machine: loky's pool behind the engine's seam."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from typing import Any

from sweep.engines.base import WorkerLostError

__all__ = ["LocalEngine"]

#: A numeric library in a worker gets one thread: the workers themselves fill the cores.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}

#: Mapped ticks count into a worker's resident size, so that loky's own guard against
#: leaks (300 MB of growth) would replace healthy workers. The study watches unique
#: memory instead, and recycles.
_NO_LEAK_GUARD = str(1 << 60)


def _start_worker(parent: int) -> None:
    """Prepare a worker: Ctrl-C is the parent's affair, and no worker outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class LocalEngine:
    """Worker processes of this machine, replaced when they die.

    Parameters
    ----------
    workers : int, optional
        All cores by default.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or _cores()
        self._executor: Any = None
        self._closed = False
        self._start()

    def _start(self) -> None:
        os.environ["LOKY_MAX_MEMORY_LEAK_SIZE"] = _NO_LEAK_GUARD
        from loky import ProcessPoolExecutor

        self._executor = ProcessPoolExecutor(
            max_workers=self.workers,
            timeout=None,
            initializer=_start_worker,
            initargs=(os.getpid(),),
            env=_ENVIRONMENT,
        )

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Queue the task; see `sweep.engines.base.Engine.submit`."""
        if self._closed:
            raise RuntimeError("the engine is closed")
        outer: Future[Any] = Future()
        try:
            inner = self._executor.submit(function, *arguments)
        except (BrokenExecutor, RuntimeError) as error:
            outer.set_exception(WorkerLostError(str(error)))
            return outer
        inner.add_done_callback(lambda done: _pass_on(done, outer))
        return outer

    def pids(self) -> tuple[int, ...]:
        """Return the workers' process ids."""
        processes = getattr(self._executor, "_processes", None) or {}
        return tuple(sorted(processes))

    def recycle(self) -> None:
        """Kill all workers and start new ones."""
        self._executor.shutdown(wait=True, kill_workers=True)
        if not self._closed:
            self._start()

    def close(self, *, cancel: bool) -> None:
        """End the workers, after their tasks or at once."""
        if self._closed:
            return
        self._closed = True
        self._executor.shutdown(wait=True, kill_workers=cancel)


def _pass_on(inner: Future[Any], outer: Future[Any]) -> None:
    try:
        error = inner.exception()
    except CancelledError:
        error = WorkerLostError("cancelled")
    if error is None:
        outer.set_result(inner.result())
    elif isinstance(error, BrokenExecutor):
        outer.set_exception(WorkerLostError(str(error).splitlines()[0] if str(error) else "lost"))
    else:
        outer.set_exception(error)


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
