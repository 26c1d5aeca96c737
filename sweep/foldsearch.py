"""Searches in folds: one evaluation of all points for all folds, or a study in each fold.

Where points depend on nothing (grid, random, qmc), every point is evaluated once on the pieces
of all folds, and each fold chooses among the same rows. A sampler that learns must not know of
a test window, so that each fold has a search of its own: a study in a folder of its own, with
a seed that follows from the fold's position.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sweep.engines.base import Engine
from sweep.errors import EvaluationError, InputError
from sweep.exhaustive import Repeats
from sweep.folds import Folds
from sweep.judge import Verdicts
from sweep.kernel import load_kernel
from sweep.pieces import evaluate_pieces, merge_pieces
from sweep.proposals import make_points
from sweep.quantities import Duration
from sweep.results import COMPLETE, FAILED, STATES
from sweep.robustness.gather import gather
from sweep.rowshelf import RowShelf
from sweep.runner import run_study
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D, Rows, Slice
from sweep.setup import Setup, starting_points
from sweep.slices import Ranges, cut_by_time, cut_evenly
from sweep.study import Study
from sweep.tasks import Outcome
from sweep.walkresult import Chosen, rank_correlation, value_of

__all__ = ["candidates", "fold_seed", "search_each", "search_shared"]

#: Variants that are evaluated, and kept, together; and those that are judged together.
CHUNK, BLOCK = 128, 1024

#: First word of the spawn keys of the folds' seeds.
_SEEDS = 0x464F4C44

Progress = Callable[[int, int], None]


# -- points that depend on nothing -----------------------------------------------------


def candidates(study: Study) -> tuple[IntArray1D, FloatArray2D]:
    """Return the distinct points of a study whose points depend on nothing.

    As many trials as the study has; all that it would have where it was not run.

    Returns
    -------
    numbers : ndarray of shape (n_variants,), int64
        Of the trials.
    params : ndarray of shape (n_variants, n_params), float64

    Raises
    ------
    InputError
        If the design has no end and the study has no trials.
    """
    spec, space = study.spec.study, study.space
    points = make_points(spec, space, starting_points(study.spec, space))
    limit = len(study.board) or spec.trials
    if limit is None and points.expected is None:
        raise InputError(
            f"{study.folder}: nothing says how many points to take; run the study first, or set "
            f"study.trials"
        )
    repeats = Repeats()
    numbers, params, first = [], [], 0
    while limit is None or first < limit:
        rows = points.rows(first, 4096 if limit is None else min(4096, limit - first))
        if not len(rows):
            break
        own = np.flatnonzero(repeats.add(first, rows) < 0)
        numbers.append(first + own)
        params.append(rows[own])
        first += len(rows)
    if not numbers:
        raise InputError(f"{study.folder}: the design has no point")
    return np.concatenate(numbers), np.concatenate(params)


@dataclass
class _Best:
    """The best so far of one fold."""

    key: tuple[float, ...] = ()  # losses by objective, and the trial's number
    number: int = -1
    params: FloatArray1D | None = None
    rows: Rows | None = None

    def take(self, numbers: IntArray1D, params: FloatArray2D, rows: Rows, v: Verdicts,
             signs: FloatArray1D) -> None:  # fmt: skip
        """Take in a block of variants; of equals the first trial stays."""
        places = np.flatnonzero(v.codes == STATES.index(COMPLETE))
        if not len(places):
            return
        losses = v.values[places] * signs
        k = int(np.lexsort([numbers[places], *losses.T[::-1]])[0])
        place = places[k]
        key = (*losses[k].tolist(), float(numbers[place]))
        if self.number < 0 or key < self.key:
            self.key, self.number = key, int(numbers[place])
            self.params, self.rows = params[place].copy(), rows[place].copy()


def search_shared(
    study: Study,
    folds: Folds,
    plan: Plan,
    engine: Engine,
    folder: Path,
    *,
    progress: Progress | None = None,
    interrupted: Callable[[], int] | None = None,
) -> tuple[tuple[Chosen, ...], FloatArray2D]:
    """Evaluate all points once on the pieces of all folds, and choose in each.

    Parameters
    ----------
    study : Study
    folds : Folds
    plan : Plan
    engine : Engine
        Stays open.
    folder : Path
        Where rows are kept: what lies there is not evaluated again.
    progress : callable, optional
        ``progress(done, total)`` in variants.
    interrupted : callable, optional
        See `sweep.robustness.gather.gather`.

    Returns
    -------
    chosen : tuple of Chosen
        By fold.
    params : ndarray of shape (n_variants, n_params), float64
        What was searched.
    """
    numbers, params = candidates(study)
    order = _by_warmup(study, params)
    numbers, params = numbers[order], params[order]
    shelf = RowShelf(folder, _about(study, plan), plan.n_pieces)
    chunks = [slice(k, k + CHUNK) for k in range(0, len(params), CHUNK)]
    _evaluate_missing(study, params, chunks, plan, engine, shelf, progress, interrupted)

    def blocks() -> Iterator[tuple[slice, Rows]]:
        per = BLOCK // CHUNK
        for k in range(0, len(chunks), per):
            parts = [shelf.load(params[c]) for c in chunks[k : k + per]]
            rows = np.concatenate([part for part in parts if part is not None])
            begin = chunks[k].start
            yield slice(begin, begin + len(rows)), rows

    directions = study.directions
    signs = np.array([-1.0 if d == "maximize" else 1.0 for d in directions])
    n_folds = len(folds.folds)
    best = [_Best() for _ in range(n_folds)]
    inside = np.full((n_folds, len(params)), np.nan)
    outside = np.full((n_folds, len(params)), np.nan)
    failed = np.zeros(len(params), bool)
    for where, rows in blocks():
        for f in range(n_folds):
            v = study.judge.verdicts(merge_pieces(rows, plan.train[f]))
            best[f].take(numbers[where], params[where], rows, v, signs)
            complete = v.codes == STATES.index(COMPLETE)
            inside[f, where] = np.where(complete, v.values[:, 0], np.nan)
            tested = [p for window in plan.test[f] for p in window]
            w = study.judge.verdicts(merge_pieces(rows, tested))
            lost = w.codes == STATES.index(FAILED)
            outside[f, where] = np.where(lost, np.nan, w.values[:, 0])
            failed[where] |= lost | (v.codes == STATES.index(FAILED))
    _refuse_failures(study, int(failed.sum()), len(params))
    chosen = tuple(
        _chosen(study, f, plan, best[f], numbers, inside[f], outside[f]) for f in range(n_folds)
    )
    return chosen, params


def _by_warmup(study: Study, params: FloatArray2D) -> IntArray1D:
    """Return an order in which variants that run side by side have warm-ups of about a length.

    Every piece has one, and those side by side take as long as the longest. Sorted are blocks
    of consecutive points, so that more points leave the chunks before them as they were.
    """
    kernel = load_kernel(study.mapped.context.kernel)
    lengths = np.zeros(len(params), np.int64)
    for k, row in enumerate(params):
        # One that raises fails when it is evaluated, and is told of there.
        with suppress(Exception):
            lengths[k] = int(kernel.warmup(kernel.params(row)))
    blocks = np.arange(len(params)) // BLOCK
    return np.lexsort([lengths, blocks])


def _evaluate_missing(
    study: Study,
    params: FloatArray2D,
    chunks: list[slice],
    plan: Plan,
    engine: Engine,
    shelf: RowShelf,
    progress: Progress | None,
    interrupted: Callable[[], int] | None,
) -> None:
    missing = [c for c in chunks if shelf.load(params[c]) is None]
    shelf.check_room(sum(len(params[c]) for c in missing))
    context = study.mapped.context
    done = len(params) - sum(len(params[c]) for c in missing)

    def take(place: int, outcome: Outcome) -> None:
        nonlocal done
        if outcome.error:
            raise EvaluationError(f"the pieces of folds could not be evaluated: {outcome.error}")
        shelf.save(params[missing[place]], outcome.rows)
        done += len(outcome.rows)
        if progress is not None:
            progress(done, len(params))

    if progress is not None:
        progress(done, len(params))
    calls = [(context, np.ascontiguousarray(params[c]), plan.runs) for c in missing]
    gather(engine, evaluate_pieces, calls, take, interrupted=interrupted)


def _refuse_failures(study: Study, failed: int, n: int) -> None:
    if study.spec.study.too_many_failures(failed, n):
        raise EvaluationError(
            f"{failed:,} of {n:,} variants failed on a piece of the folds; sweep replay "
            f"{study.folder} says why for one that failed in the study"
        )


def _about(study: Study, plan: Plan) -> dict[str, Any]:
    """Return what rows follow from besides the variant."""
    about = study.about
    return {
        "ticks": about["ticks"]["content"],
        "strategy": about["strategy"]["digest"],
        "costs": about["settings"]["costs"],
        "account": about["settings"]["account"],
        "capital": about["capital"],
        "sweep": about["versions"]["sweep"],
        "pieces": [[list(s) for s in run] for run in plan.runs],
    }


def _chosen(
    study: Study,
    fold: int,
    plan: Plan,
    best: _Best,
    numbers: IntArray1D,
    inside: FloatArray1D,
    outside: FloatArray1D,
) -> Chosen:
    searched = len(numbers)
    correlation = rank_correlation(inside, outside)
    if best.rows is None:
        reason = "no variant is complete in train: all miss a requirement, or are undefined"
        return _none(fold, reason, searched)
    rows = best.rows.reshape(1, -1)
    train = merge_pieces(rows, plan.train[fold])
    sign = 1.0 if study.directions[0] == "maximize" else -1.0
    own = outside[int(np.flatnonzero(numbers == best.number)[0])]
    others = outside[(numbers != best.number) & np.isfinite(outside)]
    rank = math.nan
    if math.isfinite(own) and len(others):
        rank = float(((sign * others < sign * own) + 0.5 * (others == own)).mean())
    return _choice(
        study, fold, best.number, best.params, train,
        tuple(merge_pieces(rows, window) for window in plan.test[fold]),
        rank=rank, correlation=correlation, searched=searched,
    )  # fmt: skip


def _none(fold: int, reason: str, searched: int) -> Chosen:
    return Chosen(
        fold, None, None, {}, math.nan, math.nan, None, (), searched=searched, reason=reason
    )


def _choice(
    study: Study,
    fold: int,
    number: int,
    params: FloatArray1D | None,
    train: Rows,
    tests: tuple[Rows, ...],
    **more: Any,
) -> Chosen:
    assert params is not None
    values = study.space.decode(params)
    inside, why_inside = value_of(study.judge, train)
    every = np.stack(tests, axis=1)
    outside, why_outside = value_of(study.judge, merge_pieces(every, range(len(tests))))
    return Chosen(
        fold=fold,
        number=number,
        params=params,
        shown={name: values[name] for name in study.space.active_names(params)},
        train=inside,
        test=outside,
        train_row=train[0],
        test_rows=tuple(t[0] for t in tests),
        reason=why_inside or why_outside,
        **more,
    )


# -- a sampler that learns -------------------------------------------------------------


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
    progress: Progress | None = None,
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
            found.append(_none(f, f"no variant is complete in train: see {own.folder}", searched))
            continue
        trial = own.board.trial(best[0])
        tested = evaluate_pieces(study.mapped.context, trial.params[None], plan.runs)
        if tested.error or tested.failures:
            why = tested.error or tested.failures[0][1]
            raise EvaluationError(f"fold {f}: the variant that it chose failed in test: {why}")
        tests = tuple(merge_pieces(tested.rows, window) for window in plan.test[f])
        row = np.asarray(trial.row).reshape(1)
        found.append(_choice(study, f, best[0], trial.params, row, tests, searched=searched))
    if progress is not None:
        progress(len(folds.folds), len(folds.folds))
    return tuple(found)


def _fold_study(study: Study, folds: Folds, f: int, folder: Path) -> Study:
    """Return the study of one fold's train windows."""
    setup, spec = study.mapped, study.spec
    begin = setup.ranges.search.begin
    ts = study.mapped_ticks.ts
    fold = folds.folds[f]
    # The edge behind the last tick lies behind all of them.
    places = [np.searchsorted(ts, [*w], side="left").tolist() for w in fold.train]
    windows = [Slice(a, b, begin) for a, b in places]
    slices = tuple(s for w in windows for s in _cut(study, ts, w, len(windows)))
    carry = setup.carry_over and len(windows) == 1
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
    whole = Slice(windows[0].begin, windows[-1].end, begin)
    changed: Setup = replace(setup, slices=slices, ranges=Ranges(whole, None), carry_over=carry)
    about = [study.about["digest"], study.about["ticks"]["content"], [list(s) for s in slices]]
    about.append(study.about["strategy"]["digest"])
    key = hashlib.blake2b(json.dumps(about).encode(), digest_size=6).hexdigest()
    return Study.of_setup(own, changed, folder / f"fold-{f}-{key}")


def _cut(study: Study, ts: IntArray1D, window: Slice, n_windows: int) -> tuple[Slice, ...]:
    """Cut a train window as the study cuts its range, for its pruner."""
    cuts = study.spec.data.slices
    if isinstance(cuts, Duration):
        return cut_by_time(ts, window, cuts.ns)
    return cut_evenly(window, max(round(cuts / n_windows), 1))
