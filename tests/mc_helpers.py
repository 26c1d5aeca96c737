"""A study for tests of Monte Carlo methods: variants of which it is known what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from study_helpers import run_small

from sweep.engines.serial import SerialEngine
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.run import monte_carlo
from sweep.study.study import Study

#: ``wave`` follows a mean, ``hold`` buys and keeps, ``never`` does nothing, ``flip`` pays the
#: spread at every tick; above ``ceiling`` the order is no number.
STRATEGY = """
from typing import NamedTuple
from sweep.strategy import Space, categorical, integer, real


class Params(Space):
    mode: str = categorical("wave", "hold", "never", "flip")
    length: int = integer(4, 64, default=16)
    ceiling: float = real(1.0, 1e6, default=1e6)

    def valid(self):
        return self.length != 63


class State(NamedTuple):
    mean: float
    count: int


def start(tick):
    return State(tick.mid, 0)


def step(state, tick, params):
    mean = state.mean + (tick.mid - state.mean) * 2.0 / (params.length + 1.0)
    target = 0.0
    if params.mode == "wave":
        target = 1.0 if mean > state.mean else -1.0
    if params.mode == "hold":
        target = 1.0
    if params.mode == "flip":
        target = 1.0 if state.count % 2 == 0 else -1.0
    if tick.mid > params.ceiling:
        target = float("nan")
    return State(mean, state.count + 1), target
"""

SESSIONS = "data.synth={sessions=12, ticks_per_session=500, seed=3}"
PATHS = ("monte_carlo.paths=64",)


def make(folder: Path, *settings: str, strategy: str = STRATEGY, **kinds: Any) -> Study:
    """Run a study of few trials, and return it."""
    kinds = {"sampler": "random", "trials": 4, **kinds}
    return run_small(folder, SESSIONS, *PATHS, *settings, strategy=strategy, **kinds)[0]


def ask(study: Study, *methods: str, mode: str = "wave", **settings: Any) -> list[Finding]:
    """Ask methods of a variant by its mode, or of what ``trials`` or ``values`` name."""
    settings = {"n_paths": 64, "replicates": 2, "engine": SerialEngine(), **settings}
    trials = settings.pop("trials", ())
    if not trials:
        settings["values"] = {"mode": mode, **settings.get("values", {})}
    return monte_carlo(study, trials, methods=methods, **settings)


def same_paths(a: Finding, b: Finding, n: int | None = None) -> bool:
    """Whether the first n paths of two findings have the same bits."""
    return a.paths.keys() == b.paths.keys() and all(
        np.array_equal(a.paths[name][:n], b.paths[name][:n], equal_nan=True) for name in a.paths
    )
