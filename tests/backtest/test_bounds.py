"""No compiled code writes past its arrays, whatever a strategy or its ticks do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from study_helpers import ROOT, write_study

from sweep.backtest.strategy_checks.single_run import run_lanes, run_solo
from sweep.backtest.tasks import Context, Task, evaluate, replay
from sweep.errors import DataError, ReplayMismatchError
from sweep.kernel import KernelCall, Recording, new_memory
from sweep.kernel.accounting import FILL, terms_of
from sweep.schema import ROW, Account, Costs, Slice, Ticks
from tests.generators import SECOND
from tests.kernel.test_lanes import context_of, kernel_of, market

COSTS = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0, "mid")
ACCOUNT = Account(1e4, 1.0, 600 * SECOND, 252.0)

#: Another order at every tick.
EACH_TICK = """
from typing import NamedTuple

import numba
import numpy as np
from sweep.strategy import Space, integer


class Params(Space):
    size: int = integer(1, 9, default=1)


class State(NamedTuple):
    side: float


def start(tick):
    return State(1.0)


def step(state, tick, params):
    return State(-state.side), state.side * params.size
"""
RANDOM_STEP = EACH_TICK.replace("-state.side)", "1.0 if np.random.random() < 0.5 else -1.0)")
RANDOM_FEATURES = EACH_TICK.replace(
    "def start(tick):",
    "class Features(NamedTuple):\n    noise: np.ndarray\n\n\n"
    "def features(ticks):\n    return Features(np.random.default_rng().random(len(ticks.ts)))\n\n\n"
    "def start(tick):",
).replace(
    "def step(state, tick, params):\n    return State(-state.side)",
    "def step(state, tick, params, features):\n    return State(features.noise - 0.5)",
)
COUNT = """
_calls = []


def count(ticks):
    _calls.append(1)
    return np.full(len(ticks.ts), float(len(_calls)))
"""
#: Keeps how often it was called.
KEPT_STATE = (
    RANDOM_FEATURES.replace("np.random.default_rng().random(len(ticks.ts))", "count(ticks)") + COUNT
)


def ticks_of(n: int) -> Ticks:
    return market(np.random.default_rng(3), n)


def damaged(ticks: Ticks) -> Ticks:
    """The ticks with a stamp that is later than all others, near the beginning."""
    ts = ticks.ts.copy()
    ts[10] += 1 << 62
    ts.flags.writeable = False
    return ticks._replace(ts=ts)


def test_a_run_with_more_fills_than_there_is_room_for_counts_them_and_writes_no_more() -> None:
    kernel, space = kernel_of(EACH_TICK)
    ticks = ticks_of(300)
    room = np.zeros(300, FILL)
    rows = np.zeros((1, 1), ROW)
    kernel.scalar(
        KernelCall(
            ticks,
            space.defaults[None, :],
            np.array([[0, 300, 0]]),
            terms_of(COSTS, ACCOUNT),
            new_memory(kernel.ref, 1, 2),
            rows,
            recording=Recording(np.zeros(300), np.zeros(300), room[:7]),
        )
    )
    assert rows[0, 0]["fills"] > 200
    assert (room[:7]["delta"] != 0.0).all()
    assert room[7:].tobytes() == np.zeros(293, FILL).tobytes()


def test_a_replay_of_a_strategy_that_does_not_repeat_itself_says_so() -> None:
    slices = (Slice(0, 400, 0), Slice(400, 900, 0))
    for source in (RANDOM_STEP, RANDOM_FEATURES, KEPT_STATE):
        kernel, space = kernel_of(source)
        context = context_of(kernel, ticks_of(900), COSTS, ACCOUNT)
        for carry_over in (True, False):
            for _ in range(20):
                with pytest.raises(ReplayMismatchError, match="DOES NOT REPEAT ITSELF") as error:
                    replay(context, space.defaults, slices, carry_over=carry_over)
                assert "random numbers" in str(error.value)
                assert "kept between calls" in str(error.value)


def test_a_strategy_that_fails_the_second_time_alone_does_not_repeat_itself() -> None:
    source = KEPT_STATE.replace(
        "    return State(features.noise - 0.5)",
        "    ring = np.zeros(2)\n    ring[int(features.noise) - 1] = 1.0\n"
        "    return State(ring[0] - 1.0)",
    )
    kernel, space = kernel_of(source.replace("(len(_calls))", "(2 * len(_calls) - 1)"))
    context = context_of(kernel, ticks_of(200), COSTS, ACCOUNT)
    with pytest.raises(ReplayMismatchError, match=r"DOES NOT REPEAT ITSELF.* raised IndexError"):
        replay(context, space.defaults, (Slice(0, 200, 0),))


@pytest.mark.parametrize("engine", ["serial", "loky"])
@pytest.mark.parametrize("kind", ["step", "features"])
def test_a_study_of_a_strategy_that_does_not_repeat_itself_ends_with_an_error(
    tmp_path: Path, engine: str, kind: str
) -> None:
    strategy = RANDOM_STEP if kind == "step" else RANDOM_FEATURES
    path = write_study(tmp_path, sampler="random", trials=6, strategy=strategy)
    command = [sys.executable, "-m", "sweep", "run", str(path), "--out", str(tmp_path / "out")]
    command += ["--workers", "1", "--set", f'compute.engine="{engine}"']
    found = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 1, found.stderr
    assert "DOES NOT REPEAT ITSELF" in found.stderr
    assert "defect of Sweep" not in found.stderr


def test_ticks_whose_stamps_decrease_are_an_error_and_not_orders_past_the_queue() -> None:
    kernel, space = kernel_of(EACH_TICK)
    ticks = damaged(ticks_of(900))
    slices = [Slice(0, 900, 0)]
    for record in (True, False):
        with pytest.raises(DataError, match="stamps decrease"):
            run_solo(kernel, ticks, space.defaults, slices, COSTS, ACCOUNT, record=record)
    params = np.repeat(space.defaults[None, :], 24, axis=0)
    with pytest.raises(DataError, match="stamps decrease"):
        run_lanes(kernel, ticks, params, COSTS, ACCOUNT)
    # Few enough to wait in the queue, and too many to be carried to a later task.
    short = Slice(0, 14, 0)
    with pytest.raises(DataError, match="stamps decrease"):
        run_solo(kernel, ticks, space.defaults, [short], COSTS, ACCOUNT)


def test_a_function_that_the_user_compiled_cannot_write_past_its_arrays() -> None:
    source = EACH_TICK.replace(
        "def start(tick):",
        "@numba.njit\ndef put(ring, i):\n    ring[i] = 1.0\n    return ring[0]\n\n\n"
        "def start(tick):",
    ).replace("state.side * params.size", "put(np.zeros(4), int(tick.mid) + 4) + state.side")
    kernel, space = kernel_of(source)
    context: Context = context_of(kernel, ticks_of(100), COSTS, ACCOUNT)
    found = evaluate(context, Task(0, space.defaults[None, :], (Slice(0, 100, 0),)))
    assert "IndexError" in found.failures[0][1]
