"""Small studies for tests: a market, a strategy, a study file, and runs in processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kills import killed

from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.study.runner import Summary, run_study
from sweep.study.study import Study

ROOT = Path(__file__).parent.parent

STRATEGY = """
from typing import NamedTuple
from sweep.strategy import Space, boolean, categorical, integer, real


class Params(Space):
    fast: float = real(2, 40, default=5, step=1)
    slow: float = real(10, 400, log=True, default=50)
    side: str = categorical("both", "long")
    pause: bool = boolean(default=False)
    wait: int = integer(0, 20, default=0, when=lambda p: p.pause)

    def valid(self):
        return self.fast < self.slow


class State(NamedTuple):
    fast: float
    slow: float
    since: int


def start(tick):
    return State(tick.mid, tick.mid, 0)


def step(state, tick, params):
    fast = state.fast + (tick.mid - state.fast) * 2.0 / (params.fast + 1.0)
    slow = state.slow + (tick.mid - state.slow) * 2.0 / (params.slow + 1.0)
    up = fast > slow
    since = state.since + 1 if up == (state.fast > state.slow) else 0
    target = 1.0 if up else (-1.0 if params.side == "both" else 0.0)
    if params.pause and since < params.wait:
        target = 0.0
    return State(fast, slow, since), target
"""

STUDY = """
[study]
name = "small"
strategy = "strategy.py"
seed = {seed}
trials = {trials}
objective = "net_profit"
sampler = "{sampler}"

[data]
source = "synth"
synth = {{ sessions = 2, ticks_per_session = 3000, seed = 3 }}
holdout = 0.25

[costs]
commission_rate = 1e-6
slippage = 0.0

[account]
clock = "5m"
"""


def write_study(
    folder: Path, *, sampler: str = "tpe", trials: int = 24, seed: int = 1, strategy: str = STRATEGY
) -> Path:
    """Write a strategy and a study file into ``folder``, and return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "strategy.py").write_text(strategy)
    path = folder / "study.toml"
    path.write_text(STUDY.format(sampler=sampler, trials=trials, seed=seed))
    return path


def run_small(
    folder: Path, *settings: str, out: str = "out", **kinds: Any
) -> tuple[Study, Summary]:
    """Run a small study in this process and return it, read again from its folder."""
    study = create_study(write_study(folder, **kinds), out=folder / out, overrides=settings)
    summary = run_study(study, engine=SerialEngine())
    return Study.open(folder / out), summary


def same_results(a: Study, b: Study) -> bool:
    """Whether two studies hold the same trials, to the bit."""
    return (
        a.board.params.tobytes() == b.board.params.tobytes()
        and a.board.rows.tobytes() == b.board.rows.tobytes()
        and a.board.values.tobytes() == b.board.values.tobytes()
        and a.board.states == b.board.states
        and a.board.intermediate == b.board.intermediate
    )


RUNNER = """
import sys
from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.study.runner import run_study

if __name__ == "__main__":
    path, out, engine, *settings = sys.argv[1:]
    study = create_study(path, out=out, overrides=settings)
    summary = run_study(study, engine=SerialEngine() if engine == "serial" else None)
    print(summary.reason)
"""


def start_process(
    path: Path, out: Path, *settings: str, engine: str = "serial", **environment: str
) -> subprocess.Popen[str]:
    """Start a study in a process of its own, which a test may kill."""
    script = out.parent / "run_study_file.py"
    script.write_text(RUNNER)
    return subprocess.Popen(
        [sys.executable, str(script), str(path), str(out), engine, *settings],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


KILLED = """
import numba, optuna  # once for all kills
from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.study.ledger import Ledger
from sweep.study.runner import run_study
{first}

append = Ledger.append

def run(calls):
    def first(self, record):
        append(self, record)
        Ledger.append = append
        kill_after(calls)

    Ledger.append = first
    path, out, *settings = sys.argv[1:]
    run_study(create_study(path, out=out, overrides=settings), engine=SerialEngine())
"""


def killed_runs(
    path: Path, out: Path, calls: Iterable[int], *settings: str, first: str = ""
) -> Iterator[None]:
    """Run a study again and again, each time killed so many calls after its first record.

    ``first`` is a line of Python that is executed before.
    """
    return killed(KILLED.format(first=first), ((n,) for n in calls), path, out, *settings)
