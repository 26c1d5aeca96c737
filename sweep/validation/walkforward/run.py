"""Walk-forward and combinatorial optimisation: a search in each fold, tested elsewhere.

The whole of it goes on after a kill: what was evaluated lies in the study's folder, under
``validate``. Nothing depends on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from sweep.backtest.tasks import OR_REPORT, replay
from sweep.backtest.trades import round_trips
from sweep.engines.base import Engine
from sweep.engines.choose import make_engine
from sweep.errors import InputError, ReplayMismatchError, SweepError
from sweep.kernel import load_kernel
from sweep.schema import FloatArray1D, IntArray1D, Slice
from sweep.search.designs import random
from sweep.stats.metrics import merge
from sweep.study.amend import IN_FOLDS, record_evaluations
from sweep.study.file.sections import ValidateSection
from sweep.study.row_cache import PointRows
from sweep.study.study import Study
from sweep.validation.folds import Folds, make_folds, plan_pieces
from sweep.validation.walkforward.fold_studies import search_each
from sweep.validation.walkforward.result import (
    WalkForwardResult,
    degradation_of,
    efficiency_of,
    score_paths,
    spread_of_paths,
)
from sweep.validation.walkforward.shared_search import candidates, search_shared
from sweep.validation.walkforward.stability import wander_of

__all__ = [
    "Curve",
    "evaluations_in_folds",
    "information_interval",
    "out_of_sample_curve",
    "study_folds",
    "walk_forward",
]

#: Points of the space whose warm-ups are looked at.
_POINTS = 1024


def information_interval(study: Study, number: int) -> int:
    """Return how long a decision matters: the longest trade of a trial, and the latency.

    Parameters
    ----------
    study : Study
    number : int
        Of a trial; it is replayed.

    Returns
    -------
    int
        Nanoseconds.
    """
    trips = round_trips(study.replay(number).replay.fills)
    longest = int((trips["exit_ts"] - trips["entry_ts"]).max(initial=0))
    return longest + study.spec.costs.latency


def study_folds(study: Study, settings: ValidateSection | None = None) -> Folds:
    """Return the folds of a study's search range.

    Parameters
    ----------
    study : Study
    settings : ValidateSection, optional
        Those of the study by default. Where they state no purge, it is the information
        interval of the study's best trial, or the latency where there is none. Where they
        state no embargo, it is the purge, or the longest warm-up if that takes longer.

    Raises
    ------
    InputError
        If the range has too few units, or purging leaves nothing to train.
    """
    settings = settings or study.spec.validate
    search = study.mapped.ranges.search
    longest = study.spec.costs.latency
    if settings.purge is None:
        best = study.best(1)
        longest = information_interval(study, best[0]) if best else longest
    trains_after_test = settings.scheme in ("k_fold", "cpcv") and settings.embargo is None
    return make_folds(
        study.mapped_ticks.ts,
        search.begin,
        search.end,
        settings,
        longest=longest,
        warmup=_longest_warmup(study) if trains_after_test else 0,
    )


def _longest_warmup(study: Study) -> int:
    """Return the longest warm-up in ticks: of what is searched, or of many points of the space.

    A sampler that learns may meet a longer one; its folds bound warm-ups themselves.
    """
    kernel = load_kernel(study.mapped.context.kernel)
    rows = candidates(study)[1] if study.exhaustive else random(study.space, 0).points(0, _POINTS)
    lengths = [0]
    for row in np.unique(rows, axis=0):
        with suppress(Exception):  # one that raises fails when it is evaluated
            lengths.append(int(kernel.warmup(kernel.params(row))))
    return max(lengths)


def walk_forward(
    study: Study,
    folds: Folds | None = None,
    *,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
    interrupted: Callable[[], int] | None = None,
) -> WalkForwardResult:
    """Search in the train windows of each fold, and score the choices in the test windows.

    The score is that of the concatenation of test windows (of each path of a combination),
    not a mean of the folds' scores. With several objectives the first one decides, the next
    ones among equals.

    Parameters
    ----------
    study : Study
        Run or not. Of one that was run, the same points are taken where they depend on
        nothing. The folder of one that was not becomes a study's.
    folds : Folds, optional
        `study_folds` by default.
    engine : Engine, optional
        Instead of the study's; it stays open.
    progress : callable, optional
        ``progress(done, total)``, in variants or in folds.
    interrupted : callable, optional
        How often the user has interrupted; see `sweep.engines.dispatch.gather`.

    Returns
    -------
    WalkForwardResult

    Raises
    ------
    InputError
        If the study's objectives are over paths.
    KeyboardInterrupt
        If it was interrupted; the next call goes on from there.
    EvaluationError
        If more variants fail than the study allows.
    StudyLockedError
        If the study is running, so that it cannot be told how much was tried. Nothing is
        lost: the next call finds all of it.
    """
    if study.objectives.terms:
        raise InputError(
            "study.objective: a search in folds takes objectives over the ticks themselves; leave "
            "out the functionals over paths"
        )
    folds = folds or study_folds(study)
    search = study.mapped.ranges.search
    plan = plan_pieces(folds, study.mapped_ticks.ts, search.begin, search.end)
    folder = study.folder / "validate"
    if not (study.folder / "study.json").exists():
        study.begin()
    compute = study.spec.compute
    own = engine or make_engine(compute.engine, compute.workers)
    searched = None
    try:
        if study.exhaustive:
            chosen, searched = search_shared(
                study, folds, plan, own, folder, progress=progress, interrupted=interrupted
            )
            evaluations = len(searched)
        else:
            chosen = search_each(
                study, folds, plan, own, folder, progress=progress, interrupted=interrupted
            )
            evaluations = sum(c.searched for c in chosen)
    except BaseException:
        # What was tried until then counts as well.
        with suppress(SweepError):
            _put_on_record(study)
        raise
    finally:
        if engine is None:
            own.close(cancel=True)
    _put_on_record(study)
    direction, objective = study.directions[0], study.objectives.labels[0]
    rows = [c.params for c in chosen]
    paths = score_paths(folds, chosen, study.judge)
    spread = spread_of_paths(paths, objective)
    return WalkForwardResult(
        folds=folds,
        objective=objective,
        direction=direction,
        chosen=chosen,
        paths=paths,
        wander=wander_of(study.space, rows, sequential=folds.sequential, searched=searched),
        degradation=degradation_of(chosen, direction),
        efficiency=efficiency_of(chosen),
        evaluations=evaluations,
        notes=(*((spread,) if spread else ()), *_notes(study, folds)),
    )


def _notes(study: Study, folds: Folds) -> tuple[str, ...]:
    notes = list(folds.notes)
    notes.append(
        "each window starts flat after its warm-up and is flat at its end, with the costs of it"
    )
    if folds.purge and study.exhaustive:
        notes.append(
            "a train window that was purged ends with what is open at its mark where a test window "
            "begins with the last of its pieces, and flat elsewhere"
        )
    if len(study.directions) > 1:
        notes.append(f"chosen by the first objective, {study.objectives.labels[0]}")
    return tuple(notes)


def evaluations_in_folds(study: Study) -> int:
    """Return how many distinct variants searches in folds have tried, over all runs.

    They are counted from what lies on the disk. Points that depend on nothing are the same
    ones however the range is split, and count once; what a sampler that learns tried in one
    fold is another search than in the next.
    """
    shared, apart = _tried(study)
    return shared + apart


def _tried(study: Study) -> tuple[int, int]:
    """Return the variants of shared evaluations, and those of the folds' own studies."""
    folder = study.folder / "validate"
    apart = sum(
        Study.open(path.parent).board.evaluated() for path in folder.glob("fold-*/study.json")
    )
    return max(PointRows.counts(folder), default=0), apart


def _put_on_record(study: Study) -> None:
    """Let the study count what was tried in its folds and is no trial of its own.

    A study that is run afterwards counts shared points twice: rather too many than too few.
    """
    shared, apart = _tried(study)
    count = apart + max(shared - study.board.evaluated(), 0)
    if count > study.extra_evaluations.get(IN_FOLDS, 0):
        record_evaluations(study, IN_FOLDS, count)


class Curve(NamedTuple):
    """Equity out of sample, tick by tick.

    Attributes
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Ticks of the test windows, in the order of time.
    equity : ndarray of shape (n_ticks,), float64
        Profits of the windows before added up; begins about the capital.
    fold : ndarray of shape (n_ticks,), int64
        Whose choice traded.
    """

    ts: IntArray1D
    equity: FloatArray1D
    fold: IntArray1D


def out_of_sample_curve(study: Study, found: WalkForwardResult, path: int = 0) -> Curve:
    """Replay the choices on their test windows, one after the other.

    Parameters
    ----------
    study : Study
    found : WalkForwardResult
        From this study.
    path : int, optional
        Which of the histories out of sample.

    Raises
    ------
    InputError
        If no fold chose anything.
    ReplayMismatchError
        If a window's replay differs from its row in any bit.
    """
    search = study.mapped.ranges.search
    plan = plan_pieces(found.folds, study.mapped_ticks.ts, search.begin, search.end)
    pieces = [Slice(run[0].begin, s.end, search.begin) for run in plan.runs for s in run]
    context = study.mapped.context
    capital = context.account.capital
    gained = 0.0
    parts = []
    for k, w in found.folds.paths[path]:
        choice = found.chosen[k]
        if choice.params is None:
            continue
        row = None
        for number in plan.test[k][w]:
            record = replay(context, choice.params, (pieces[number],), carry_over=False)
            own = np.asarray(record.row).reshape(1)
            row = own if row is None else merge(row, own)
            parts.append((record.ts, record.equity + gained, np.full(len(record.ts), k, np.int64)))
            gained += float(record.row["equity"]) - capital
        if row is None or row.tobytes() != np.asarray(choice.test_rows[w]).tobytes():
            raise ReplayMismatchError(
                f"FOLD {k} DOES NOT REPLAY: the variant that it chose has another row in test now. "
                f"Do not use these results. {OR_REPORT}."
            )
    if not parts:
        raise InputError("no fold chose a variant: there is nothing to draw")
    return Curve(*(np.concatenate(column) for column in zip(*parts, strict=True)))
