"""A search in each fold by a sampler that learns: a study in a folder of its own.

A sampler must not know of a test window, so that folds share nothing here. The seed of each
follows from the fold's position, and each goes on where it was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sweep.engines.base import Engine
from sweep.errors import EvaluationError
from sweep.schema import STATUS_ERROR, IntArray1D, Slice
from sweep.study.runner import run_study
from sweep.study.setup import Setup
from sweep.study.study import Study
from sweep.ticks.slices import Ranges, cut_by_time, cut_evenly
from sweep.units import Duration
from sweep.validation.folds import Folds, Plan
from sweep.validation.walkforward.evaluate import evaluate_pieces, merge_pieces
from sweep.validation.walkforward.result import Chosen, choice_of, failed_in_test, nothing_chosen

__all__ = ["fold_seed", "search_each"]

#: First word of the spawn keys of the folds' seeds.
_SEEDS = 0x464F4C44


class _Kept:
    """An engine that stays open when a study is done with it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.workers = engine.workers

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        return self._engine.submit(function, *arguments)

    def pids(self) -> tuple[int, ...]:
        return self._engine.pids()

    def recycle(self) -> None:
        self._engine.recycle()

    def close(self, *, cancel: bool) -> None:
        """Leave it to its owner."""


def fold_seed(seed: int, fold: int) -> int:
    """Return the seed of a fold's search."""
    stream = np.random.SeedSequence(seed, spawn_key=(_SEEDS, fold))
    return int(stream.generate_state(1, np.uint32)[0])


def search_each(
    study: Study,
    folds: Folds,
    plan: Plan,
    engine: Engine,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    interrupted: Callable[[], int] | None = None,
) -> tuple[Chosen, ...]:
    """Search in each fold by the study's sampler, one fold after the other.

    Each fold's study lies in ``folder`` and goes on where it was interrupted.

    Parameters
    ----------
    study, folds, plan, engine, folder, interrupted
        See `search_shared`.
    progress : callable, optional
        ``progress(done, total)`` in folds.

    Returns
    -------
    tuple of Chosen

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted.
    """
    found = []
    for f in range(len(folds.folds)):
        if progress is not None:
            progress(f, len(folds.folds))
        own = _fold_study(study, folds, f, folder)
        summary = run_study(own, engine=_Kept(engine), interrupts=interrupted)
        if summary.reason == "interrupted":
            raise KeyboardInterrupt
        searched = own.board.evaluated()
        best = own.best(1)
        if not best:
            found.append(
                nothing_chosen(f, f"no variant is complete in train: see {own.folder}", searched)
            )
            continue
        trial = own.board.trial(best[0])
        tested = evaluate_pieces(study.mapped.context, trial.params[None], plan.runs)
        if tested.error:
            raise EvaluationError(f"fold {f}: its choice could not be tested: {tested.error}")
        tests = tuple(merge_pieces(tested.rows, window) for window in plan.test[f])
        row = np.asarray(trial.row).reshape(1)
        if any((test["status"] == STATUS_ERROR).any() for test in tests):
            found.append(nothing_chosen(f, failed_in_test(best[0]), searched))
            continue
        found.append(
            choice_of(
                study.space, study.judge, f, best[0], trial.params, row, tests, searched=searched
            )
        )
    if progress is not None:
        progress(len(folds.folds), len(folds.folds))
    return tuple(found)


def _fold_study(study: Study, folds: Folds, f: int, folder: Path) -> Study:
    """Return the study of one fold's train windows."""
    setup, spec = study.mapped, study.spec
    begin = setup.ranges.search.begin
    ts = study.mapped_ticks.ts
    fold = folds.folds[f]
    # The edge after the last tick lies after all of them.
    places = [np.searchsorted(ts, [*w], side="left").tolist() for w in fold.train]
    tested = [int(np.searchsorted(ts, w[1], side="left")) for w in fold.test]
    # Warm-ups begin after the test window before: train knows of no tick of it.
    windows = [Slice(a, b, max([begin, *(t for t in tested if begin < t <= a)])) for a, b in places]
    slices = tuple(s for w in windows for s in _cut(study, ts, w, len(windows)))
    # After a test window, features carried from the range's beginning would know of it.
    carry = setup.carry_over and folds.sequential and len(windows) == 1
    own = replace(
        spec,
        study=replace(
            spec.study,
            name=f"{spec.study.name}-fold-{f}",
            seed=fold_seed(spec.study.seed, f),
            live_holdout=False,
            storage="sqlite",
        ),
        data=replace(spec.data, slicing="carry" if carry else "independent"),
    )
    whole = Slice(windows[0].begin, windows[-1].end, windows[0].warmup)
    changed: Setup = replace(setup, slices=slices, ranges=Ranges(whole, None), carry_over=carry)
    about = [
        study.manifest["digest"],
        study.manifest["ticks"]["content"],
        [list(s) for s in slices],
    ]
    about.append(study.manifest["strategy"]["digest"])
    key = hashlib.blake2b(json.dumps(about).encode(), digest_size=6).hexdigest()
    return Study.of_setup(own, changed, folder / f"fold-{f}-{key}")


def _cut(study: Study, ts: IntArray1D, window: Slice, n_windows: int) -> tuple[Slice, ...]:
    """Cut a train window as the study cuts its range, for its pruner."""
    cuts = study.spec.data.slices
    if isinstance(cuts, Duration):
        return cut_by_time(ts, window, cuts.ns)
    return cut_evenly(window, max(round(cuts / n_windows), 1))
