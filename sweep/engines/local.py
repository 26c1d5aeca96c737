"""Tasks on worker processes of this machine: joblib's loky backend, with a pool of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
from joblib._parallel_backends import LokyBackend
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend.context import LokyContext
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
