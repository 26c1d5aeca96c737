"""A study, and its walk-forward, as evidence for a verdict; the surface of its trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sweep.backtest.strategy_checks.checks import FAIL, NOTE, OK, Finding, check_look_ahead
from sweep.backtest.tasks import OR_REPORT
from sweep.engines.base import Engine
from sweep.errors import InputError, ReplayMismatchError, StoreError, StudyLockedError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.study.amend import IN_FOLDS
from sweep.study.plateaus import study_plateaus
from sweep.study.records import COMPLETE, FAILED, INFEASIBLE
from sweep.study.session_returns import kept_edges
from sweep.study.study import Study
from sweep.ticks.sessions import find_cuts
from sweep.validation.evidence import Evidence, Held, OutOfSample
from sweep.validation.surface import Surface, surface_of_trials
from sweep.validation.walkforward.result import WalkForwardResult
from sweep.validation.walkforward.run import out_of_sample_curve, study_folds, walk_forward

__all__ = [
    "evidence_of",
    "look_ahead_of",
    "session_changes",
    "surface_of_study",
    "walked",
]


def walked(
    study: Study,
    *,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
    interrupted: Callable[[], int] | None = None,
) -> tuple[OutOfSample | str, WalkForwardResult | None]:
    """Search in each fold of a study, and return what the choices earned, as evidence.

    Parameters
    ----------
    study : Study
    engine, progress, interrupted : optional
        See `sweep.validation.walkforward.run.walk_forward`.

    Returns
    -------
    evidence : OutOfSample or str
        Or why there is none: folds that train on what follows the tests give no history that
        could have been traded.
    result : WalkForwardResult or None
        None where no search was possible.
    """
    try:
        folds = study_folds(study)
        result = walk_forward(
            study, folds, engine=engine, progress=progress, interrupted=interrupted
        )
    except StudyLockedError:
        return "the study is running: what folds try would not be counted", None
    except InputError as error:
        return f"a search in folds is not possible ({error})", None
    if not folds.sequential:
        return f"the study's folds ({folds.scheme}) train on what follows the tests", result
    score = result.paths[0]
    if score.row is None:
        return "no fold chose a setting", result
    curve = out_of_sample_curve(study, result)
    capital = study.mapped.context.account.capital
    found = OutOfSample(
        returns=session_changes(curve.ts, curve.equity, capital, kept_edges(study.manifest))
        / capital,
        net_profit=float(score.metrics.get("net_profit", math.nan)),
        n_folds=result.degradation.folds,
        rank=result.degradation.rank,
        efficiency=result.efficiency,
    )
    return found, result


def session_changes(
    ts: IntArray1D, equity: FloatArray1D, capital: float, edges: IntArray1D
) -> FloatArray1D:
    """Return by how much equity changed over each session that has a tick.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Nanoseconds, never decreasing.
    equity : ndarray of shape (n_ticks,), float64
    capital : float
        Equity before the first tick.
    edges : ndarray of shape (n_edges,), int64
        Nanoseconds: where the study's sessions begin, and the end of the last.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
    """
    places = np.searchsorted(ts, edges, side="left")
    ends = np.unique(places[places > 0])
    return np.diff(equity[ends - 1], prepend=capital)


_YEAR = 365.25 * 86400e9


def look_ahead_of(study: Study) -> Finding:
    """Test a study's strategy for look-ahead, at the parameters of its winner.

    Raises
    ------
    InputError
        If no trial is complete.
    """
    params = study.board.trial(_winner(study)).params
    return check_look_ahead(study.strategy, study.space, params)


def evidence_of(
    study: Study,
    *,
    out_of_sample: OutOfSample | str = "no walk-forward was run",
    looked: Finding | None = None,
) -> Evidence:
    """Return what a study holds on its winner.

    Parameters
    ----------
    study : Study
    out_of_sample : OutOfSample or str, optional
        Of a walk-forward.
    looked : Finding, optional
        What `look_ahead_of` found; it is asked where this is not given.

    Raises
    ------
    InputError
        If no trial is complete.
    """
    winner = _winner(study)
    trial = study.board.trial(winner)
    number = trial.duplicate_of if trial.duplicate_of >= 0 else winner
    own = study.board.evaluated()
    more: dict[str, Any] = {
        "n_own": own,
        "n_in_folds": study.extra_evaluations.get(IN_FOLDS, 0),
        "notes": _of_several(study, winner) if len(study.directions) > 1 else (),
        "held": _held(study, winner),
        "out_of_sample": out_of_sample,
    }
    looked = look_ahead_of(study) if looked is None else looked
    if looked.status != NOTE:
        more["looks_ahead"] = looked.text if looked.status == FAIL else ""
    caution = f"; {looked.advice}" if looked.advice and looked.status == OK else ""
    more["notes"] = (*more["notes"], f"look-ahead: {looked.text}{caution}")
    try:
        kept = study.session_returns()
    except InputError as error:
        none = np.empty((0, 0)), np.empty(0, np.int64)
        why = str(error).partition("because ")[2] or str(error)
        return Evidence(*none, -1, study.evaluations(), 252.0, missing=why, **more)
    # Of a variant that was stopped on the way, some sessions are unknown.
    whole = np.flatnonzero(np.isfinite(kept.returns).all(axis=0))
    numbers = np.ascontiguousarray(kept.numbers[whole])
    place = np.flatnonzero(numbers == number)
    return Evidence(
        returns=np.ascontiguousarray(kept.returns[:, whole]),
        numbers=numbers,
        winner=int(place[0]) if len(place) else -1,
        n_evaluations=study.evaluations(),
        per_year=sessions_per_year(kept.edges),
        **more,
    )


def _winner(study: Study) -> int:
    best = study.best(1)
    if not best:
        raise InputError(
            f"{study.folder}: there is no winner to validate: no trial is complete and meets the "
            f"requirements; see: sweep trials {study.folder}"
        )
    return best[0]


def sessions_per_year(edges: IntArray1D) -> float:
    """Return how many sessions a year has, at the rate at which those given begin.

    Parameters
    ----------
    edges : ndarray of shape (n_sessions + 1,), int64
        Nanoseconds: where sessions begin, and the end of the last.

    Returns
    -------
    float
        252 for fewer than three sessions, which tell no rate.
    """
    begins = edges[:-1]
    if len(begins) < 3:
        return 252.0
    return (len(begins) - 1) * _YEAR / float(begins[-1] - begins[0])


def _of_several(study: Study, number: int) -> tuple[str, ...]:
    front, label = len(study.best(len(study.board))), study.objectives.labels[0]
    return (
        f"of several objectives there is no one winner: trial {number} has the best {label} of the "
        f"{front:,} on the Pareto front, and is taken for it here",
    )


def _held(study: Study, number: int) -> Held | str:
    if study.manifest.get("holdout") is None:
        return "the study keeps no holdout; data.holdout sets one"
    metrics = study.holdout_metrics(number)
    if metrics is None:
        opened = study.opened.get(number)
        if opened is not None and opened.reason:
            return f"trial {number} could not be evaluated on the holdout: {opened.reason}"
        return f"the holdout was not opened for trial {number}"
    return Held(
        net_profit=metrics["net_profit"],
        sharpe=metrics["sharpe"],
        trades=0 if math.isnan(metrics["trades"]) else int(metrics["trades"]),
        n_opened=len(study.opened),
        capital=float(study.manifest["capital"]),
        returns=_held_returns(study, number),
    )


def _held_returns(study: Study, number: int) -> FloatArray1D | None:
    """Return what a trial returned in each session of the holdout; None without the ticks."""
    if study.spec.data.store == "stream":
        return None  # its ticks are in no store, and need not be for this
    try:
        curve = study.replay(number, on="holdout").replay
    except (InputError, StoreError):
        return None
    if curve.row.tobytes() != study.opened[number].row.tobytes():
        raise ReplayMismatchError(
            f"TRIAL {number} DOES NOT REPLAY on the holdout. Its figures cannot be trusted. "
            f"{OR_REPORT}."
        )
    cuts = find_cuts(curve.ts, 0, len(curve.ts))
    capital = float(study.manifest["capital"])
    return session_changes(curve.ts, curve.equity, capital, np.array(cuts.stamps)) / capital


def surface_of_study(study: Study) -> Surface:
    """Return what a study's trials say of its first objective.

    Trials that miss a requirement, or failed, have no value; those that were stopped on the way
    and duplicates are left out.
    """
    board = study.board
    states = [board.in_state(state) for state in (COMPLETE, INFEASIBLE, FAILED)]
    chosen = np.flatnonzero(np.logical_or.reduce(states) & (board.duplicate_of < 0))
    block = board.select(chosen)
    complete = block.in_state(COMPLETE)
    values = np.where(complete, block.values[:, 0], math.nan)
    scores = study_plateaus(study)
    plateau = np.array([scores.get(row.tobytes(), math.nan) for row in block.params])
    return surface_of_trials(
        study.space,
        block.params,
        values,
        chosen.astype(np.int64),
        objective=study.objectives.labels[0],
        direction=study.directions[0],
        plateau=plateau,
    )
