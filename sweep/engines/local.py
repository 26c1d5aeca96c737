"""Tasks on worker processes of this machine: joblib's loky backend, with a pool of its own."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing import util
from pathlib import Path
from typing import Any

import joblib
from joblib._parallel_backends import LokyBackend
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.backend.context import LokyContext
from joblib.externals.loky.backend.fork_exec import fork_exec
from joblib.externals.loky.backend.popen_loky_posix import Popen
from joblib.externals.loky.backend.process import LokyProcess

import sweep
from sweep.engines import worker
from sweep.engines.joblib_backend import JoblibEngine

__all__ = ["LocalEngine"]


class _Popen(Popen):  # type: ignore[misc]
    """A process that runs `sweep.engines.worker` instead of all of joblib."""

    __module__ = worker.__name__


class _Process(LokyProcess):  # type: ignore[misc]
    """A process of the pool; a plain one of loky's, once it runs."""

    _Popen = _Popen

    def __reduce__(self) -> tuple[Any, ...]:
        return object.__new__, (LokyProcess,), vars(self)


class _Context(LokyContext):  # type: ignore[misc]
    Process = _Process


class _Pool(LokyBackend):  # type: ignore[misc]
    """joblib's loky backend, with processes that no other call of joblib uses or ends.

    One worker is a process too: what kills it must not kill the study.
    """

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        root = str(Path(sweep.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        _start_tracker(path)
        self.parallel = parallel
        self._workers = ProcessPoolExecutor(
            max_workers=n_jobs,
            context=_Context(),
            initializer=worker.start_worker,
            initargs=(os.getpid(),),
            env={**self._prepare_worker_env(n_jobs), "PYTHONPATH": path},
        )
        return n_jobs

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self._workers.shutdown(wait=True, kill_workers=True)
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)

    def terminate(self) -> None:
        self._workers.shutdown(wait=True)


def _start_tracker(path: str) -> None:
    """Start loky's process that removes what killed ones leave, unless it runs.

    loky would have it import all of joblib, while workers want the cores.
    """
    tracker = resource_tracker._resource_tracker
    with tracker._lock:
        if tracker._fd is not None:
            return
        flags = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
        # Ctrl-C would end it before it has come to ignore it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        read, write = os.pipe()
        try:
            program = f"from {worker.__name__} import track; track({read})"
            command = [sys.executable, *flags, "-c", program]
            tracker._pid = fork_exec(command, [read], env={"PYTHONPATH": path})
            tracker._fd = write
        finally:
            os.close(read)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class LocalEngine(JoblibEngine):
    """Worker processes of this machine, replaced when they die.

    Parameters
    ----------
    workers : int, optional
        As many as there are cores that this process may use, by default.
    """

    def __init__(self, workers: int | None = None) -> None:
        # The workers themselves fill the cores: a numeric library in one gets one thread.
        super().__init__(_Pool(inner_max_num_threads=1), workers or joblib.cpu_count())

    def pids(self) -> tuple[int, ...]:
        """Return the workers' process ids."""
        return tuple(sorted(self._backend._workers._processes or {}))
