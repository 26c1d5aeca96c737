"""Processes that are killed at a moment that no clock decides: so many calls after an event."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["calls_of", "killed"]

ROOT = Path(__file__).parent.parent

#: Imports once, and forks for each kill.
_FORKS = '''
import os, signal, sys

{text}

def kill_after(calls):
    """Kill this process so many calls and returns from here, of Python's functions and C's."""
    def count(frame, event, argument):
        nonlocal calls
        calls -= 1
        if calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(*map(int, line.split()))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
'''


def killed(text: str, moments: Iterable[tuple[int, ...]], *arguments: object) -> Iterator[None]:
    """Call a text's ``run(*moment)`` for each moment, in a process that must be killed meanwhile.

    ``run`` finds ``arguments`` in ``sys.argv[1:]``, and calls ``kill_after(calls)``. What is
    done between two values of the iterator is done between two kills.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS.format(text=text), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for moment in moments:
            print(*moment, file=process.stdin, flush=True)
            assert process.stdout.readline() == f"{-signal.SIGKILL}\n", "it was not killed"
            yield


def calls_of(function: Callable[..., object], *arguments: object) -> int:
    """Return how many calls and returns a call takes, as `kill_after` counts them."""
    n = 0

    def count(*_: Any) -> None:
        nonlocal n
        n += 1

    sys.setprofile(count)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return n
