"""Work whose worker died: what runs again, what is split, what is given up; without processes."""

from __future__ import annotations

import random
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.engines.base import WorkerLostError
from sweep.engines.dispatch import (
    DEATHS,
    LOSSES,
    Dispatcher,
    GiveUp,
    Recycle,
    Submit,
    Tasks,
    gather,
)
from sweep.errors import DataError, EngineError

Numbers = tuple[int, ...]


def halves(work: Numbers) -> list[Numbers]:
    half = len(work) // 2
    return [work[:half], work[half:]] if half else [work]


def singles(work: Numbers) -> list[Numbers]:
    return [(k,) for k in work]


class Pool:
    """Workers that die under some numbers, or at random, without processes."""

    def __init__(self, dispatcher: Dispatcher[Numbers], work: list[Numbers]) -> None:
        self.dispatcher, self.work = dispatcher, list(work)
        self.finished: list[int] = []
        self.given_up: list[int] = []
        self.runs: list[Numbers] = []

    def obey(self) -> None:
        def fresh() -> Numbers | None:
            return self.work.pop(0) if self.work else None

        while (command := self.dispatcher.command(fresh)) is not None:
            if isinstance(command, Submit):
                self.runs.append(command.work)
                self.dispatcher.submitted(len(self.runs), command)
                running = self.dispatcher.in_flight.values()
                assert len(running) == 1 or not any(s.alone for s in running)
            elif isinstance(command, GiveUp):
                self.given_up += command.work
            else:
                assert isinstance(command, Recycle)

    def finish(self, key: Any) -> None:
        self.finished += self.dispatcher.finished(key)


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 9), max_size=9),
    killers=st.sets(st.integers(0, 30), max_size=2),
    split=st.sampled_from([halves, singles]),
)
def test_all_is_finished_but_what_kills_workers(
    seed: int, sizes: list[int], killers: set[int], split: Any
) -> None:
    rng = random.Random(seed)
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    work = [tuple(range(end - n, end)) for n, end in zip(sizes, ends, strict=True)]
    pool = Pool(Dispatcher(4, split), work)
    pool.obey()
    while running := pool.dispatcher.in_flight:
        key = rng.choice(list(running))
        if killers & set(running[key].work):
            pool.dispatcher.lost(begun={key})
        elif rng.random() < 0.05 and pool.dispatcher.deaths < 10:
            pool.dispatcher.lost(begun=())  # killed from outside
        else:
            pool.finish(key)
        pool.obey()
    everything = [k for numbers in work for k in numbers]
    assert sorted(pool.given_up) == sorted(killers & set(everything))
    assert sorted(pool.finished + pool.given_up) == everything


def test_a_killer_is_found_alone_and_given_up_after_some_deaths() -> None:
    pool = Pool(Dispatcher(2, singles), [(0, 1), (2, 3), (4, 5)])
    pool.obey()
    pool.dispatcher.lost(begun={1, 2})
    for _ in range(20):
        pool.obey()
        for key, submit in list(pool.dispatcher.in_flight.items()):
            if 3 in submit.work:
                pool.dispatcher.lost(begun={key})
            else:
                pool.finish(key)
    alone = [(0, 1), (2, 3), (2,), *[(3,)] * LOSSES]
    assert pool.runs == [(0, 1), (2, 3), *alone, (4, 5)]
    assert pool.given_up == [3]


def test_deaths_before_work_has_begun_prove_nothing() -> None:
    pool = Pool(Dispatcher(2, singles), [(0,)])
    for _ in range(5 * LOSSES):
        pool.obey()
        pool.dispatcher.lost(begun=())
    pool.obey()
    pool.finish(len(pool.runs))
    assert (pool.finished, pool.given_up) == ([0], [])


def test_workers_that_die_again_and_again_are_an_error() -> None:
    pool = Pool(Dispatcher(2, singles), [(0,)])
    for _ in range(DEATHS):
        pool.obey()
        pool.dispatcher.lost(begun=())
    with pytest.raises(EngineError, match=f"died {DEATHS + 1} times; is there enough memory"):
        pool.dispatcher.lost(begun=())


def test_what_was_to_run_again_is_dropped_on_an_interrupt() -> None:
    pool = Pool(Dispatcher(2, singles), [(0,), (1,), (2,)])
    pool.obey()
    pool.dispatcher.lost(begun=())
    assert pool.dispatcher.interrupted() == [(0,), (1,)]
    pool.obey()
    assert [submit.work for submit in pool.dispatcher.in_flight.values()] == [(2,)]


# -- on an engine ------------------------------------------------------------------------


class Scripted:
    """Runs a task at once, unless its script says that a worker dies before or under it."""

    workers = 1

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.recycled = 0

    def submit(self, function: Any, /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        fate = self.script.pop(0) if self.script else "runs"
        try:
            if fate != "dies before":
                result = function(*arguments)
            if fate != "runs":
                raise WorkerLostError(fate)
            future.set_result(result)
        except Exception as error:
            future.set_exception(error)
        return future

    def pids(self) -> tuple[int, ...]:
        return ()

    def recycle(self) -> None:
        self.recycled += 1

    def close(self, *, cancel: bool) -> None:
        pass


def squares(engine: Scripted, count: int = 3, **options: Any) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    gather(
        engine,
        pow,
        [(k, 2) for k in range(count)],
        lambda k, value: found.append((k, value)),
        **options,
    )
    return sorted(found)


@pytest.mark.parametrize(
    "script", [(), ("dies",), ("runs", "dies", "dies", "dies"), ("dies before",) * 10]
)
def test_results_are_gathered_although_workers_die(script: tuple[str, ...]) -> None:
    engine = Scripted(*script)
    assert squares(engine) == [(0, 0), (1, 1), (2, 4)]
    assert bool(engine.recycled) == bool(script)


def test_a_call_that_kills_its_workers_is_an_error() -> None:
    with pytest.raises(EngineError, match=f"died {LOSSES} times .* alone; is there enough memory"):
        squares(Scripted(*["dies"] * 10))


def test_a_task_that_cannot_be_run_is_an_error() -> None:
    with pytest.raises(EngineError, match="a task could not be run: TypeError"):
        gather(Scripted(), pow, [()], print)
    with pytest.raises(DataError, match="as it was"):
        gather(Scripted(), refuse, [()], print)


def refuse() -> None:
    raise DataError("as it was")


def test_an_interrupt_begins_nothing_more() -> None:
    asked = iter([0, *[1] * 9])
    found: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        gather(
            Scripted(),
            pow,
            [(k, 2) for k in range(9)],
            lambda k, value: found.append(k),
            interrupted=lambda: next(asked),
        )
    assert found == [0, 1]


def test_results_that_came_before_a_worker_died_are_kept(tmp_path: Path) -> None:
    engine = Scripted("dies", "runs")
    tasks = Tasks(engine, lambda k: (pow, k, 2), lambda k: [k], print)
    work = [2, 3]
    tasks.submit(lambda: work.pop(0) if work else None)
    lost, kept = tasks.futures
    assert list(tasks.settle({lost})) == [(3, 9)]
    assert list(tasks.settle({lost, kept})) == []  # late
    tasks.submit(lambda: None)
    assert list(tasks.settle(set(tasks.futures))) == [(2, 4)]
