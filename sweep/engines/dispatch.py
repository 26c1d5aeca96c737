"""Work on an engine: as much at a time as keeps its workers busy, and again where a worker died.

A worker that dies takes with it all that is in flight, and does not tell what killed it. So each
of those pieces of work is a suspect: it runs alone, and if a worker dies under it again, it is
split until the part that kills workers is found. `Dispatcher` decides this without input or
output: events in, commands out. `Tasks` carries the commands out on an engine.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sweep.engines.base import Engine, WorkerLostError
from sweep.engines.worker import run_marked
from sweep.errors import EngineError, SweepError

__all__ = ["GAVE_UP", "Dispatcher", "GiveUp", "Recycle", "Submit", "Tasks", "gather"]

W = TypeVar("W")

#: Times that work which cannot be split may lose its worker, alone, before it is given up.
LOSSES = 3

#: Times that workers may die before everything is given up.
DEATHS = 50

#: Why work was given up, in a few words.
GAVE_UP = f"its worker died {LOSSES} times while it was evaluated alone"


@dataclass(frozen=True)
class Submit(Generic[W]):
    """Hand work to a worker.

    Attributes
    ----------
    work : object
    alone : bool
        Whether a worker died under it, so that nothing else may run meanwhile.
    losses : int
        Times that a worker died under it while it ran alone.
    """

    work: W
    alone: bool = False
    losses: int = 0


@dataclass(frozen=True)
class Recycle:
    """Replace all workers."""


@dataclass(frozen=True)
class GiveUp(Generic[W]):
    """Treat work as failed: it kills its workers."""

    work: W


class Dispatcher(Generic[W]):
    """What is submitted next, and what becomes of work whose worker died.

    Parameters
    ----------
    limit : int
        Pieces of work in flight at most.
    split : callable
        ``split(work) -> parts`` that take its place; a single one if it cannot be split.
    """

    def __init__(self, limit: int, split: Callable[[W], Sequence[W]]) -> None:
        self.limit = limit
        self.in_flight: dict[Hashable, Submit[W]] = {}
        self.deaths = 0
        self._split = split
        self._suspects: deque[Submit[W]] = deque()
        self._commands: deque[Recycle | GiveUp[W]] = deque()

    def command(self, fresh: Callable[[], W | None]) -> Submit[W] | Recycle | GiveUp[W] | None:
        """Return what to do now, or None to wait for an event.

        Parameters
        ----------
        fresh : callable
            Returns work that was never submitted, or None if there is none now.
        """
        if self._commands:
            return self._commands.popleft()
        if self._suspects:
            return None if self.in_flight else self._suspects.popleft()
        if len(self.in_flight) >= self.limit or any(s.alone for s in self.in_flight.values()):
            return None
        work = fresh()
        return None if work is None else Submit(work)

    def submitted(self, key: Hashable, command: Submit[W]) -> None:
        """Record that work is in flight, under a key of the caller's."""
        self.in_flight[key] = command

    def finished(self, key: Hashable) -> W:
        """Record that work is done, and return it."""
        return self.in_flight.pop(key).work

    def lost(self, begun: Container[Hashable]) -> None:
        """Record that workers died, and all that is in flight with them.

        Parameters
        ----------
        begun : container
            Keys of work that ran alone and had begun: a death before that proves nothing.

        Raises
        ------
        EngineError
            If workers die again and again.
        """
        self.deaths += 1
        if self.deaths > DEATHS:
            raise EngineError(
                f"worker processes died {self.deaths} times; is there enough memory? "
                f"What was finished is kept"
            )
        self._commands.append(Recycle())
        suspects: list[Submit[W]] = []
        for key, piece in self.in_flight.items():
            if not piece.alone or key not in begun:
                suspects.append(replace(piece, alone=True))
                continue
            first, *others = self._split(piece.work)
            if others:
                suspects += (Submit(part, alone=True) for part in (first, *others))
            elif piece.losses + 1 < LOSSES:
                suspects.append(Submit(first, alone=True, losses=piece.losses + 1))
            else:
                self._commands.append(GiveUp(first))
        self.in_flight.clear()
        self._suspects.extendleft(reversed(suspects))

    def interrupted(self) -> list[W]:
        """Return the work that was to be submitted again, and forget it."""
        dropped = [suspect.work for suspect in self._suspects]
        self._suspects.clear()
        return dropped


class Tasks(Generic[W]):
    """The futures of work on an engine.

    Parameters
    ----------
    engine : Engine
        Stays open.
    call : callable
        ``call(work) -> (function, *arguments)``, the function importable by workers.
    split : callable
        See `Dispatcher`.
    give_up : callable
        ``give_up(work)``, for work that kills its workers.
    recycle : callable, optional
        Instead of the engine's own.
    done : callable, optional
        ``done(future)``, called from another thread when a future is done.
    """

    def __init__(
        self,
        engine: Engine,
        call: Callable[[W], tuple[Any, ...]],
        split: Callable[[W], Sequence[W]],
        give_up: Callable[[W], None],
        *,
        recycle: Callable[[], None] | None = None,
        done: Callable[[Future[Any]], None] | None = None,
    ) -> None:
        self.dispatcher: Dispatcher[W] = Dispatcher(2 * engine.workers, split)
        self._engine, self._call, self._give_up = engine, call, give_up
        self._recycle, self._done = recycle or engine.recycle, done
        self._mark = ""

    @property
    def futures(self) -> list[Future[Any]]:
        """What is in flight, in the order of submission."""
        return list(self.dispatcher.in_flight)  # type: ignore[arg-type]

    def submit(self, fresh: Callable[[], W | None]) -> None:
        """Do what can be done now; see `Dispatcher.command`."""
        while (command := self.dispatcher.command(fresh)) is not None:
            if isinstance(command, Recycle):
                self._recycle()
            elif isinstance(command, GiveUp):
                self._give_up(command.work)
            else:
                call = self._call(command.work)
                if command.alone:
                    call = (run_marked, self._new_mark(), *call)
                future = self._engine.submit(*call)
                self.dispatcher.submitted(future, command)
                if self._done is not None:
                    future.add_done_callback(self._done)

    def _new_mark(self) -> str:
        """Return the path of an empty file, to be written to by work that begins alone."""
        if not self._mark:
            descriptor, self._mark = tempfile.mkstemp(prefix="sweep-begun-")
            os.close(descriptor)
            weakref.finalize(self, os.unlink, self._mark)
        os.truncate(self._mark, 0)
        return self._mark

    def settle(self, done: Container[Future[Any]]) -> Iterator[tuple[W, Any]]:
        """Yield work and result of futures that are done; see to those that lost their worker.

        Parameters
        ----------
        done : container of Future
            Those that were lost before are passed over.

        Raises
        ------
        SweepError
            That a task raised.
        EngineError
            If a task cannot be run, or workers die again and again.
        """
        lost = False
        for future in [f for f in self.futures if f in done]:
            error = future.exception()
            if isinstance(error, WorkerLostError):
                lost = True
            elif isinstance(error, SweepError):
                raise error
            elif error is not None:
                raise EngineError(f"a task could not be run: {type(error).__name__}: {error}")
            else:
                yield self.dispatcher.finished(future), future.result()
        if not lost:
            return
        # What came back in the meantime is not lost.
        for future in self.futures:
            if future.done() and future.exception() is None:
                yield self.dispatcher.finished(future), future.result()
        begun = bool(self._mark) and os.path.getsize(self._mark) > 0
        self.dispatcher.lost(self.futures if begun else ())


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

    def give_up(place: int) -> None:
        raise EngineError(f"a task cannot be run: {GAVE_UP}; is there enough memory?")

    tasks = Tasks(engine, lambda place: (function, *calls[place]), lambda place: [place], give_up)
    waiting = deque(range(len(calls)))
    missing = len(calls)
    while missing:
        interrupts = 0 if interrupted is None else interrupted()
        if interrupts:
            waiting.clear()
            tasks.dispatcher.interrupted()
            if interrupts > 1 or not tasks.futures:
                raise KeyboardInterrupt
        tasks.submit(lambda: waiting.popleft() if waiting else None)
        done, _ = wait(tasks.futures, timeout=0.2, return_when=FIRST_COMPLETED)
        for place, result in tasks.settle(done):
            missing -= 1
            take(place, result)
