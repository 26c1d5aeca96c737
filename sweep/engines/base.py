"""The seam between a study and the machines that evaluate its tasks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

__all__ = ["Engine", "WorkerLostError"]


class WorkerLostError(Exception):
    """A future's task was lost with the worker that ran it, through no word of its own."""


class Engine(Protocol):
    """Where tasks run. Knows nothing of ticks, strategies or studies.

    Attributes
    ----------
    workers : int
        Tasks that run at the same time.
    """

    workers: int

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Run ``function(*arguments)`` on a worker.

        The future's exception is `WorkerLostError` where the worker died; then every
        future in flight may be lost with it, and `recycle` makes the engine whole.
        """

    def pids(self) -> tuple[int, ...]:
        """Return the workers' process ids, as far as they are on this machine."""

    def recycle(self) -> None:
        """Replace all workers. Futures in flight are lost."""

    def close(self, *, cancel: bool) -> None:
        """End the workers; wait for tasks in flight unless ``cancel``. May be repeated."""
