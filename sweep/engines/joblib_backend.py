"""Tasks on a backend of joblib: threads, or whatever else is registered there."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError, Future, InvalidStateError, wait
from typing import TYPE_CHECKING, Any

from joblib import Parallel
from joblib.parallel import ParallelBackendBase

from sweep.engines.base import WorkerLostError
from sweep.engines.worker import Call

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JoblibEngine"]


class JoblibEngine:
    """The workers of a backend, given one task at a time.

    Parameters
    ----------
    backend : joblib.parallel.ParallelBackendBase
    n_jobs : int
        Workers, counted as joblib does: -1 stands for all of them.
    """

    def __init__(self, backend: ParallelBackendBase, n_jobs: int) -> None:
        self._backend = backend
        self._n_jobs = n_jobs
        self._in_flight: set[Future[Any]] = set()
        self._closed = False
        self._start()

    def _start(self) -> None:
        # Arguments are never memory-mapped: the ticks are, by the tick store.
        call = Parallel(n_jobs=self._n_jobs, backend=self._backend, max_nbytes=None)
        self.workers: int = self._backend.configure(
            n_jobs=self._n_jobs, parallel=call, max_nbytes=None
        )
        self._backend.start_call()

    def _stop(self, *, kill: bool) -> None:
        if kill:
            for future in list(self._in_flight):
                _settle(future, error=WorkerLostError("the workers were ended"))
            self._backend.abort_everything(ensure_ready=False)
        else:
            wait(list(self._in_flight))
        self._backend.stop_call()
        self._backend.terminate()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Hand the task to the backend; see `sweep.engines.base.Engine.submit`."""
        if self._closed:
            raise RuntimeError("the engine is closed")
        future: Future[Any] = Future()
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)

        def finished(outcome: Any) -> None:
            try:
                (result,) = self._backend.retrieve_result_callback(outcome)
            except BaseException as error:
                _settle(future, error=error)
            else:
                _settle(future, result)

        def failed(given: Future[Any]) -> None:
            # Dask calls back with results alone.
            error = CancelledError() if given.cancelled() else given.exception()
            if error is not None:
                _settle(future, error=error)

        try:
            given = self._backend.submit(Call(function, arguments), callback=finished)
        except (BrokenExecutor, RuntimeError) as error:
            _settle(future, error=WorkerLostError(str(error)))
        else:
            if isinstance(given, Future):
                given.add_done_callback(failed)
        return future

    def pids(self) -> tuple[int, ...]:
        """Return nothing: the backend alone knows its processes."""
        return ()

    def recycle(self) -> None:
        """End all workers and start new ones."""
        self._stop(kill=True)
        self._start()

    def close(self, *, cancel: bool) -> None:
        """End the workers, after their tasks or at once."""
        if not self._closed:
            self._closed = True
            self._stop(kill=cancel)


def _settle(future: Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    """Give a future its outcome, unless it has one."""
    try:
        if error is None:
            future.set_result(result)
        elif isinstance(error, BrokenExecutor | CancelledError):
            first_line = str(error).partition("\n")[0]
            future.set_exception(WorkerLostError(first_line or type(error).__name__))
        else:
            future.set_exception(error)
    except InvalidStateError:
        pass
