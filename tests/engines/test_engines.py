"""What every engine must do; a new engine joins ``ENGINES`` and passes."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from study_helpers import ROOT, run_small, same_results

from sweep.api import create_study
from sweep.engines.base import Engine, WorkerLostError
from sweep.engines.choose import make_engine
from sweep.engines.local import LocalEngine
from sweep.engines.serial import SerialEngine
from sweep.study.runner import run_study
from sweep.study.study import Study


def active(backend: str, workers: int | None = 2) -> Engine:
    with joblib.parallel_config(backend=backend):
        return make_engine("joblib", workers)


ENGINES: dict[str, Callable[[], Engine]] = {
    "serial": SerialEngine,
    "loky": lambda: LocalEngine(2),
    "joblib, loky": lambda: active("loky"),
    "joblib, threading": lambda: active("threading"),
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


def test_arguments_are_those_that_were_given(engine: Engine) -> None:
    import numpy as np

    kind = engine.submit(type_of, np.zeros(1 << 18)).result(timeout=600)
    assert kind == "ndarray"  # never a memmap, with which kernels are slower


def type_of(value: Any) -> str:
    return type(value).__name__


# -- worker processes of this machine ----------------------------------------------------


@pytest.fixture
def one_worker() -> Iterator[LocalEngine]:
    engine = LocalEngine(1)
    yield engine
    engine.close(cancel=True)


def test_a_dead_worker_is_said_to_be_lost_and_replaced(one_worker: LocalEngine) -> None:
    with pytest.raises(WorkerLostError):
        one_worker.submit(die, None).result(timeout=600)
    one_worker.recycle()
    assert one_worker.submit(double, 3).result(timeout=600) == 6


def test_one_worker_is_a_process_of_its_own(one_worker: LocalEngine) -> None:
    assert one_worker.submit(own_pid, None).result(timeout=600) != os.getpid()
    assert len(one_worker.pids()) == 1


def test_workers_leave_ctrl_c_to_their_parent(one_worker: LocalEngine) -> None:
    pid = one_worker.submit(own_pid, None).result(timeout=600)
    assert pid in one_worker.pids()
    future = one_worker.submit(wait_and_return, 0.5)
    time.sleep(0.1)
    os.kill(pid, signal.SIGINT)
    assert future.result(timeout=600) == 0.5


def resident_after_mapping(path: str) -> int:
    """Map a file, touch every page of it, keep it, and return the resident size."""
    with open(path, "rb") as file:
        kept.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    sum(kept[-1][:: mmap.PAGESIZE])
    with open("/proc/self/statm", encoding="ascii") as fields:
        return int(fields.read().split()[1]) * mmap.PAGESIZE


kept: list[mmap.mmap] = []


def test_a_worker_with_mapped_ticks_is_kept(one_worker: LocalEngine, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    with ticks.open("wb") as file:
        file.truncate(400_000_000)
    pids = [one_worker.submit(own_pid, None).result(timeout=600)]
    assert one_worker.submit(resident_after_mapping, str(ticks)).result(timeout=600) > 400e6
    for _ in range(2):
        time.sleep(1.1)  # loky looks at most once in a second, after a task
        pids.append(one_worker.submit(own_pid, None).result(timeout=600))
    assert pids == pids[:1] * 3


#: Evaluated by a worker, which would import this module with a function of it.
LOADED = "(__import__('sweep.backtest.tasks'), list(__import__('sys').modules))[1]"


def sum_by_joblib(count: int) -> int:
    from joblib import Parallel, delayed

    return sum(Parallel(n_jobs=2)(delayed(abs)(-k) for k in range(count)))


def test_workers_are_light_and_can_use_joblib(one_worker: LocalEngine) -> None:
    heavy = {"optuna", "pandas", "pyarrow", "rich", "joblib.memory", "asyncio", "ssl"}
    assert not heavy & set(one_worker.submit(eval, LOADED).result(timeout=600))
    assert one_worker.submit(sum_by_joblib, 10).result(timeout=600) == 45


def test_two_pools_do_not_disturb_each_other(one_worker: LocalEngine) -> None:
    other = LocalEngine(2)
    try:
        futures = [one_worker.submit(own_pid, None), *(other.submit(own_pid, None) for _ in "ab")]
        pids = [future.result(timeout=600) for future in futures]
        assert sum(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-k) for k in range(4))) == 6
        other.close(cancel=True)
        assert one_worker.submit(own_pid, None).result(timeout=600) == pids[0]
        assert pids[0] not in pids[1:]
    finally:
        other.close(cancel=True)
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


ORPHANS = """
import os, signal
from sweep.engines.local import LocalEngine
engine = LocalEngine(2)
engine.submit(os.getpid).result()
print(*engine.pids(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_when_their_parent_is_killed() -> None:
    parent = subprocess.run(
        [sys.executable, "-c", ORPHANS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    pids = [int(word) for word in parent.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 600
    while any(runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(runs(pid) for pid in pids)


TRACES = """
import os, signal, psutil
from pathlib import Path
from sweep.engines.local import LocalEngine
engine = LocalEngine(1)
engine.submit(os.getpid).result()
for process in psutil.Process().children():
    assert "numpy" not in Path(f"/proc/{process.pid}/maps").read_text(), process.cmdline()
print(*(p for p in Path("/dev/shm").iterdir() if f"-{os.getpid()}-" in p.name), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_pool_leaves_nothing_and_its_processes_import_little() -> None:
    parent = subprocess.run(
        [sys.executable, "-c", TRACES],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    semaphores = [Path(word) for word in parent.stdout.split()]
    assert semaphores, parent.stderr
    deadline = time.monotonic() + 600
    while any(path.exists() for path in semaphores) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(path.exists() for path in semaphores)


def runs(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return words[0] != "Z"


def test_as_many_workers_as_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # joblib takes the least of all limits
    engine = LocalEngine()
    engine.close(cancel=True)
    assert engine.workers == 1


# -- backends of joblib ------------------------------------------------------------------


def test_settings_of_the_active_backend_are_taken() -> None:
    with joblib.parallel_config(backend="loky", n_jobs=3):
        engines = [make_engine("joblib", None), make_engine("joblib", 2)]
    with joblib.parallel_config(backend="threading", n_jobs=1):
        engines.append(make_engine("joblib", None))
    for engine in engines:
        engine.close(cancel=True)
    assert [engine.workers for engine in engines] == [3, 2, 1]


def test_recycling_loses_what_is_in_flight() -> None:
    engine = active("threading")
    try:
        futures = [engine.submit(wait_and_return, 0.3) for _ in range(4)]
        engine.recycle()
        for future in futures:
            with pytest.raises(WorkerLostError):
                future.result(timeout=600)
        assert engine.submit(double, 2).result(timeout=600) == 4
    finally:
        engine.close(cancel=True)


def test_tasks_of_a_process_run_one_at_a_time() -> None:
    engine = active("threading", 4)
    try:
        for future in [engine.submit(alone, 0.01) for _ in range(12)]:
            assert future.result(timeout=600)
    finally:
        engine.close(cancel=True)


running: list[int] = []


def alone(seconds: float) -> bool:
    running.append(1)
    time.sleep(seconds)
    count = len(running)
    running.pop()
    return count == 1


def test_a_study_on_a_backend_has_the_same_results(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path)
    for backend in ("threading", "loky"):
        study = create_study(
            tmp_path / "study.toml",
            out=tmp_path / backend,
            overrides=('compute.engine="joblib"',),
        )
        with joblib.parallel_config(backend=backend, n_jobs=2):
            summary = run_study(study)
        assert summary.workers == 2
        assert same_results(plain, Study.open(tmp_path / backend))
