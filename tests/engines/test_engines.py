"""What every engine must do; a new engine joins ``ENGINES`` and passes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sweep.engines.base import Engine, WorkerLostError
from sweep.engines.local import LocalEngine
from sweep.engines.serial import SerialEngine

ENGINES: dict[str, Callable[[], Engine]] = {
    "serial": SerialEngine,
    "loky": lambda: LocalEngine(2),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = ENGINES[request.param]()
    yield made
    made.close(cancel=True)


def double(value: int) -> int:
    return 2 * value


def fail(text: str) -> None:
    raise ValueError(text)


def die(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def own_pid(_: Any) -> int:
    return os.getpid()


def wait_and_return(value: float) -> float:
    time.sleep(value)
    return value


def test_results_come_back(engine: Engine) -> None:
    futures = [engine.submit(double, k) for k in range(20)]
    assert [f.result(timeout=600) for f in futures] == [2 * k for k in range(20)]


def test_exceptions_come_back(engine: Engine) -> None:
    with pytest.raises(ValueError, match="as it was"):
        engine.submit(fail, "as it was").result(timeout=600)
    assert engine.submit(double, 4).result(timeout=600) == 8


def test_work_in_flight_is_finished_on_closing(engine: Engine) -> None:
    future = engine.submit(wait_and_return, 0.2)
    engine.close(cancel=False)
    assert future.result(timeout=1) == 0.2


def test_closing_twice_is_harmless_and_refuses_work(engine: Engine) -> None:
    engine.close(cancel=False)
    engine.close(cancel=True)
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(double, 1)


def test_an_engine_works_after_recycling(engine: Engine) -> None:
    engine.submit(double, 1).result(timeout=600)
    engine.recycle()
    assert engine.submit(double, 2).result(timeout=600) == 4


def test_a_dead_worker_is_said_to_be_lost_and_replaced() -> None:
    engine = LocalEngine(1)
    try:
        with pytest.raises(WorkerLostError):
            engine.submit(die, None).result(timeout=600)
        engine.recycle()
        assert engine.submit(double, 3).result(timeout=600) == 6
    finally:
        engine.close(cancel=True)


def test_workers_leave_ctrl_c_to_their_parent() -> None:
    engine = LocalEngine(1)
    try:
        pid = engine.submit(own_pid, None).result(timeout=600)
        assert pid in engine.pids()
        future = engine.submit(wait_and_return, 0.5)
        time.sleep(0.1)
        os.kill(pid, signal.SIGINT)
        assert future.result(timeout=600) == 0.5
    finally:
        engine.close(cancel=True)
