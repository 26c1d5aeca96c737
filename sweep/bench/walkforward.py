"""What a walk forward costs beside one pass: a grid of 1,000 points in 12 folds.

All folds share one evaluation of each point, so that it should cost little more than one pass
of the grid over the same ticks, the choices and the writing of rows included. Both run on one
core, in the time of its thread. Before anything is timed the choice of each fold is compared
with one made from rows that were evaluated window by window.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from sweep.api import create_study
from sweep.backtest.tasks import Task, evaluate
from sweep.bench.frame import BenchError, BenchResult, Settings, figure, ratios, timed
from sweep.bench.launch import write_study
from sweep.engines.serial import SerialEngine
from sweep.study.file.sections import ValidateSection
from sweep.study.study import Study
from sweep.units import Duration
from sweep.validation.folds import Folds, make_folds, plan_pieces, unit_edges
from sweep.validation.walkforward.evaluate import evaluate_pieces, merge_pieces
from sweep.validation.walkforward.result import WalkForwardResult
from sweep.validation.walkforward.run import walk_forward
from sweep.validation.walkforward.shared_search import CHUNK, candidates

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 2_000_000, 8_000
_POINTS, _QUICK_POINTS = (40, 25), (6, 4)
_FOLDS, _QUICK_FOLDS = 12, 3
_HOUR, _PURGE = 3600 * 10**9, 600 * 10**9


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text.

    Raises
    ------
    BenchError
        If a fold chose another variant than the plain way does.
    """
    points = _QUICK_POINTS if settings.quick else _POINTS
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        path = write_study(
            Path(folder) / "study.toml", settings, ticks=_TICKS, quick=_QUICK_TICKS, points=points
        )
        variants = points[0] * points[1]
        study = create_study(path, out=Path(folder) / "out", sampler="grid", trials=variants)
        folds, purged = (_folds(study, settings, purge) for purge in (0, _PURGE))
        _, params = candidates(study)
        search = study.setup.ranges.search
        context = study.setup.context
        rounds = settings.rounds(3, 1)
        fresh = iter(
            [
                create_study(path, out=Path(folder) / f"{k}", sampler="grid", trials=variants)
                for k in range(1 + 2 * rounds)
            ]
        )

        def one_pass() -> None:
            for k in range(0, len(params), CHUNK):
                found = evaluate(context, Task(0, params[k : k + CHUNK], (search,)))
                if found.error:
                    raise BenchError(found.error)

        def walk(folds: Folds) -> WalkForwardResult:
            return walk_forward(next(fresh), folds, engine=SerialEngine())

        settings.say(f"{len(params):,} points in {len(folds.folds)} folds")
        one_pass()
        _compare(study, folds, walk(folds))
        arms: dict[str, Callable[[], object]] = {
            "pass": one_pass,
            "walk": partial(walk, folds),
            "purged": partial(walk, purged),
        }
        seconds = timed(arms, rounds, clock=time.thread_time)
    plan = plan_pieces(folds, study.mapped_ticks.ts, search.begin, search.end)
    figures = (
        figure(
            "walkforward_over_one_pass",
            "x",
            ratios(seconds["walk"], seconds["pass"]),
            settings,
            note="rows written and choices made, over the bare evaluation",
        ),
        figure(
            "purged_walkforward_over_one_pass",
            "x",
            ratios(seconds["purged"], seconds["pass"]),
            settings,
            note="with ten minutes in front of each test window that do not train",
        ),
        figure("walkforward_seconds", "s", seconds["walk"], settings),
        figure("one_pass_seconds", "s", seconds["pass"], settings),
    )
    ticks = search.end - search.begin
    notes = (
        f"{len(params):,} points on {ticks:,} ticks, {len(folds.folds)} folds in units of "
        f"{folds.unit}, {plan.n_pieces} pieces",
        "the strategy has no warm-up; one costs its ticks again on each piece",
    )
    return BenchResult("walkforward", figures, notes)


def _folds(study: Study, settings: Settings, purge: int) -> Folds:
    ts, search = study.mapped_ticks.ts, study.setup.ranges.search
    count = _QUICK_FOLDS if settings.quick else _FOLDS
    sessions = len(unit_edges(ts, search.begin, search.end)) - 1
    unit = "session" if sessions >= 2 * count else Duration(_HOUR if settings.quick else 4 * _HOUR)
    asked = ValidateSection(folds=count, unit=unit, purge=purge)
    return make_folds(ts, search.begin, search.end, asked)


def _compare(study: Study, folds: Folds, found: WalkForwardResult) -> None:
    """Choose in each fold from rows of its own windows, evaluated by themselves."""
    numbers, params = candidates(study)
    search = study.setup.ranges.search
    ts = study.mapped_ticks.ts
    plan = plan_pieces(folds, ts, search.begin, search.end)
    pieces = [run[0]._replace(end=s.end) for run in plan.runs for s in run]
    for k in (0, len(folds.folds) - 1):
        own = [(pieces[p],) for p in plan.train[k]]
        rows = evaluate_pieces(study.setup.context, params, own).rows
        values = study.judge.verdicts(merge_pieces(rows, range(len(own)))).values[:, 0]
        best = int(numbers[np.nanargmax(values)])
        if best != found.chosen[k].number:
            raise BenchError(
                f"fold {k}: chose trial {found.chosen[k].number}, evaluated by itself {best}"
            )
