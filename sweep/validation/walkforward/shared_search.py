"""One search for all folds, of points that depend on nothing (grid, random, qmc).

Every point is evaluated once on the pieces of all folds, and each fold chooses among the same
rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweep.backtest.tasks import Outcome
from sweep.engines.base import Engine
from sweep.engines.dispatch import gather
from sweep.errors import EvaluationError, InputError
from sweep.kernel import load_kernel
from sweep.schema import STATUS_ERROR, FloatArray1D, FloatArray2D, IntArray1D, Rows
from sweep.search.duplicates import DuplicateIndex
from sweep.study.judge import Verdicts
from sweep.study.proposals import make_points
from sweep.study.records import COMPLETE, FAILED
from sweep.study.row_cache import PointRows
from sweep.study.setup import starting_points
from sweep.study.study import Study
from sweep.text import STATES, counted
from sweep.ticks.mapped import require_intact
from sweep.validation.folds import Folds, Plan
from sweep.validation.walkforward.evaluate import evaluate_pieces, merge_pieces
from sweep.validation.walkforward.result import (
    Chosen,
    choice_of,
    failed_in_test,
    nothing_chosen,
    rank_correlation,
)

__all__ = ["candidates", "search_shared"]

#: Variants that are evaluated, and kept, together; and those that are judged together.
CHUNK, BLOCK = 128, 1024

Progress = Callable[[int, int], None]


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
    duplicates = DuplicateIndex()
    numbers, params, first = [], [], 0
    while limit is None or first < limit:
        rows = points.rows(first, 4096 if limit is None else min(4096, limit - first))
        if not len(rows):
            break
        own = np.flatnonzero(duplicates.add(first, rows) < 0)
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
        """Add a block of variants; of equals the first trial stays."""
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
        See `sweep.engines.dispatch.gather`.

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
    shelf = PointRows(folder, _about(study, plan), plan.n_pieces)
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
    shelf: PointRows,
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
        require_intact(study.mapped.ticks)
        shelf.save(params[missing[place]], outcome.rows)
        done += len(outcome.rows)
        if progress is not None:
            progress(done, len(params))

    if progress is not None:
        progress(done, len(params))
    calls = [(context, np.ascontiguousarray(params[c]), plan.runs) for c in missing]
    gather(engine, evaluate_pieces, calls, take, interrupted=interrupted)
    shelf.drop_others([params[c] for c in chunks])


def _refuse_failures(study: Study, failed: int, n: int) -> None:
    if study.spec.study.too_many_failures(failed, n):
        raise EvaluationError(
            f"{failed:,} of {counted(n, 'variant')} failed on a piece of the folds; for one that "
            f"failed in the study too, sweep trials {study.folder} --state failed says why"
        )


def _about(study: Study, plan: Plan) -> dict[str, Any]:
    """Return what rows follow from besides the variant."""
    about = study.manifest
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
        return nothing_chosen(fold, reason, searched)
    assert best.params is not None
    rows = best.rows.reshape(1, -1)
    train = merge_pieces(rows, plan.train[fold])
    tests = tuple(merge_pieces(rows, window) for window in plan.test[fold])
    if any((test["status"] == STATUS_ERROR).any() for test in tests):
        return nothing_chosen(fold, failed_in_test(best.number), searched)
    sign = 1.0 if study.directions[0] == "maximize" else -1.0
    own = outside[int(np.flatnonzero(numbers == best.number)[0])]
    others = outside[(numbers != best.number) & np.isfinite(outside)]
    rank = math.nan
    if math.isfinite(own) and len(others):
        rank = float(((sign * others < sign * own) + 0.5 * (others == own)).mean())
    return choice_of(
        study.space, study.judge, fold, best.number, best.params, train,
        tests, rank=rank, correlation=correlation, searched=searched,
    )  # fmt: skip
