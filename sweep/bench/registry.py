"""The benches by name, what each answers, and how one is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from sweep.bench.frame import BenchResult, Settings
from sweep.errors import InputError
from sweep.text import known_names

__all__ = ["BENCHES", "run_bench"]


class Entry(NamedTuple):
    """Where a bench is, and the question that it answers."""

    module: str
    question: str


#: A bench's module has ``run(settings) -> BenchResult``.
BENCHES = {
    "kernel": Entry(
        "sweep.bench.kernel",
        "What does a tick cost a variant on one core, against scalar Numba, C and Python?",
    ),
    "scaling": Entry(
        "sweep.bench.scaling",
        "Do N workers evaluate N times as much as one, and how long do they wait?",
    ),
    "memory": Entry(
        "sweep.bench.memory", "What memory does each worker have for itself, beyond shared ticks?"
    ),
    "start": Entry(
        "sweep.bench.start", "How soon is the first trial there, with warm and with cold caches?"
    ),
    "grid": Entry(
        "sweep.bench.grid", "Where does the CPU time of an exhaustive sweep go, and the memory?"
    ),
    "stream": Entry(
        "sweep.bench.stream", "How close does evaluation from Parquet come to its slower half?"
    ),
    "mc": Entry(
        "sweep.bench.mc",
        "What does a tick of a resampled path cost, and what memory do paths take?",
    ),
    "validate": Entry(
        "sweep.bench.validate",
        "What do SPA, StepM, MCS and CSCV cost on thousands of variants, against arch and NumPy?",
    ),
    "walkforward": Entry(
        "sweep.bench.walkforward",
        "What does a walk forward of 12 folds cost beside one pass of its grid?",
    ),
}


def run_bench(name: str, settings: Settings) -> BenchResult:
    """Run a bench by its name.

    Raises
    ------
    InputError
        If there is no such bench.
    BenchError
        If its arms disagree, or one fails.
    """
    entry = BENCHES.get(name)
    if entry is None:
        raise InputError(f"no bench {name!r}{known_names(name, BENCHES)}")
    run: Callable[[Settings], BenchResult] = importlib.import_module(entry.module).run
    return run(settings)
