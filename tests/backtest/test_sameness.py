"""A result is a function of ticks, strategy, parameters, costs, slicing and seed alone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from study_helpers import run_small, same_results, write_study

from sweep.api import create_study
from sweep.engines.base import WorkerLostError
from sweep.engines.local import LocalEngine
from sweep.study.runner import run_study
from sweep.study.study import Study


class DisorderlyEngine:
    """Runs tasks on one thread in a random order, and now and then loses some of them."""

    workers = 3

    def __init__(self, seed: int, *, loses: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._loses = loses
        self._waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self._lock = threading.Condition()
        self._closed = False
        self.lost = 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, function, arguments))
            self._lock.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._lock.wait()
                if self._closed:
                    return
                place = self._random.randrange(len(self._waiting))
                future, function, arguments = self._waiting.pop(place)
            time.sleep(self._random.random() * 0.005)
            if self._random.random() < self._loses:
                self.lost += 1
                future.set_exception(WorkerLostError("lost on purpose"))
            else:
                future.set_result(function(*arguments))

    def pids(self) -> tuple[int, ...]:
        return ()

    def recycle(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for future, _, _ in waiting:
            future.set_exception(WorkerLostError("recycled"))

    def close(self, *, cancel: bool) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify()
        self._thread.join()


PRUNED = ("data.slices=6", 'study.pruner={name="median", n_startup_trials=3}')
CASES = {
    "tpe": ("tpe", ()),
    "tpe pruned": ("tpe", PRUNED),
    "tpe independent": ("tpe", (*PRUNED, 'data.slicing="independent"')),
    "random pruned": ("random", (*PRUNED, 'data.slicing="independent"')),
    "cmaes": ("cmaes", ()),
    "nsga2": ("nsga2", ('study.objective=["net_profit", "max_drawdown"]',)),
    "grid": ("grid", ('study.sampler={name="grid", points=3}', 'space.fast="2:40:19"')),
    "qmc": ("qmc", ()),
}


@pytest.mark.parametrize("case", CASES)
def test_results_do_not_depend_on_order_of_arrival_or_batches(tmp_path: Path, case: str) -> None:
    sampler, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, sampler=sampler)
    for seed, batch in ((0, 1), (1, 5)):
        study = create_study(
            tmp_path / "study.toml",
            out=tmp_path / f"out{seed}",
            overrides=(*settings, f"compute.batch={batch}"),
        )
        run_study(study, engine=DisorderlyEngine(seed))
        assert same_results(plain, Study.open(tmp_path / f"out{seed}"))


def test_another_seed_gives_other_trials(tmp_path: Path) -> None:
    one, _ = run_small(tmp_path / "a", seed=1)
    two, _ = run_small(tmp_path / "b", seed=2)
    assert not same_results(one, two)


@pytest.mark.parametrize("case", ["tpe", "tpe pruned", "tpe independent"])
def test_lost_tasks_are_repeated_and_change_nothing(tmp_path: Path, case: str) -> None:
    sampler, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, sampler=sampler)
    study = create_study(tmp_path / "study.toml", out=tmp_path / "lossy", overrides=settings)
    engine = DisorderlyEngine(5, loses=0.08)
    run_study(study, engine=engine)
    assert engine.lost > 0
    assert same_results(plain, Study.open(tmp_path / "lossy"))


def test_worker_processes_give_the_same_bits_as_this_process(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path)
    for workers in (1, 2):
        study = create_study(tmp_path / "study.toml", out=tmp_path / f"w{workers}")
        run_study(study, engine=LocalEngine(workers))
        assert same_results(plain, Study.open(tmp_path / f"w{workers}"))


def test_a_carried_study_has_the_rows_of_an_unsliced_one(tmp_path: Path) -> None:
    whole, _ = run_small(tmp_path, out="whole", sampler="random")
    sliced, _ = run_small(tmp_path, "data.slices=7", out="sliced", sampler="random")
    assert whole.board.rows.tobytes() == sliced.board.rows.tobytes()


def test_batches_need_not_be_named(tmp_path: Path) -> None:
    write_study(tmp_path)
    study = create_study(tmp_path / "study.toml", out=tmp_path / "out", trials=5)
    assert run_study(study, engine=DisorderlyEngine(0)).reason == "5 trials"
