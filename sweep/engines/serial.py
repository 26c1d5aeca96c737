"""Tasks one after another in this process: for debugging, and for very small studies."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["SerialEngine"]


class SerialEngine:
    """Runs each task at once, in the caller."""

    workers = 1

    def __init__(self) -> None:
        self._closed = False

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Run the task now and return its finished future."""
        if self._closed:
            raise RuntimeError("the engine is closed")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def pids(self) -> tuple[int, ...]:
        """Return this process."""
        return (os.getpid(),)

    def recycle(self) -> None:
        """Do nothing: there is no worker to replace."""

    def close(self, *, cancel: bool) -> None:
        """Refuse further tasks."""
        self._closed = True
