"""Calls on an engine, as many at a time as keep its workers busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from sweep.engines.base import Engine, WorkerLostError
from sweep.errors import EngineError, SweepError

__all__ = ["gather"]

#: Times that a call may lose its worker before it is given up.
_LOSSES = 3


def gather(
    engine: Engine,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    take: Callable[[int, Any], None],
    *,
    interrupted: Callable[[], int] | None = None,
) -> None:
    """Run ``function(*call)`` for each call, and hand each result on.

    Parameters
    ----------
    engine : Engine
        Stays open. Workers that die are replaced, and their calls repeated.
    function : callable
        Importable by workers.
    calls : sequence of tuple
        Arguments.
    take : callable
        ``take(place, result)``, in the order in which results come.
    interrupted : callable, optional
        How often the user has interrupted: after one nothing more is begun, and what is
        under way is waited for.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted.
    EngineError
        If a call loses its worker again and again, or cannot be run.
    """
    waiting = deque(range(len(calls)))
    losses = [0] * len(calls)
    flying: dict[Future[Any], int] = {}
    stopped = False
    while waiting or flying:
        stopped = stopped or bool(interrupted is not None and interrupted())
        if interrupted is not None and interrupted() > 1:
            raise KeyboardInterrupt
        if stopped and not flying:
            raise KeyboardInterrupt
        while waiting and not stopped and len(flying) < _at_most(engine, losses, waiting[0]):
            place = waiting.popleft()
            flying[engine.submit(function, *calls[place])] = place
        done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
        lost: list[int] = []
        for future in sorted(done, key=lambda f: flying[f]):
            place = flying.pop(future)
            error = future.exception()
            if isinstance(error, WorkerLostError):
                lost.append(place)
            elif isinstance(error, SweepError):
                raise error
            elif error is not None:
                raise EngineError(f"a task could not be run: {type(error).__name__}: {error}")
            else:
                take(place, future.result())
        if lost:
            lost += flying.values()
            flying.clear()
            for place in sorted(lost, reverse=True):
                losses[place] += 1
                waiting.appendleft(place)
                if losses[place] > _LOSSES and len(lost) == 1:
                    raise EngineError(
                        f"a worker died {losses[place]} times in the same task; is there enough "
                        f"memory?"
                    )
            engine.recycle()


def _at_most(engine: Engine, losses: list[int], place: int) -> int:
    """Return how many calls may fly: one alone where it may be what kills workers."""
    return 1 if losses[place] else 2 * engine.workers
