"""What a worker runs: a task, and in a process of the local pool whatever comes before.

Run as a program, it is such a process: joblib's copy of loky without the rest of joblib, which
would cost each worker four megabytes and a tenth of a second. So nothing of joblib is imported
at the top.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["Call", "run_marked", "start_worker", "track"]

#: What a task keeps in its process (features, timings) belongs to one task at a time.
_TASK = threading.Lock()


def _run_task(function: Callable[..., Any], *arguments: Any) -> Any:
    with _TASK:
        return function(*arguments)


def run_marked(path: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a task, and write a byte to a file when it begins."""
    with suppress(OSError):  # of another machine
        mark = os.open(path, os.O_WRONLY)
        os.write(mark, b"1")
        os.close(mark)
    return function(*arguments)


class Call:
    """A call in the shape that backends of joblib expect: a batch, of one item.

    Parameters
    ----------
    function : callable
        Importable by workers.
    arguments : tuple
    """

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        named: dict[str, Any] = {}
        self.items = [(_run_task, (function, *arguments), named)]

    def __call__(self) -> list[Any]:
        """Return the result, in a list."""
        return [function(*arguments, **named) for function, arguments, named in self.items]


def start_worker(parent: int) -> None:
    """Prepare a process of the local pool.

    Ctrl-C is the parent's affair, no worker outlives the parent, and none is replaced because
    it has grown: mapped ticks count into its resident size, and the study watches what is its
    own instead.
    """
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _import_in_part(name: str) -> None:
    """Import a package without executing it, until something of its own is asked for.

    Its subpackages can be imported all the same.
    """
    spec = importlib.util.find_spec(name)
    assert spec is not None
    package = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        del package.__getattr__
        assert spec.loader is not None
        spec.loader.exec_module(package)
        return getattr(package, attribute)

    package.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = package


def track(pipe: int) -> None:
    """Be loky's resource tracker, until all have closed the other end of the pipe."""
    for name in ("joblib", "joblib.externals.loky"):
        _import_in_part(name)
    from joblib.externals.loky.backend.resource_tracker import main

    main(pipe)


if __name__ == "__main__":
    _import_in_part("joblib")
    runpy.run_module(
        "joblib.externals.loky.backend.popen_loky_posix", run_name="__main__", alter_sys=True
    )
