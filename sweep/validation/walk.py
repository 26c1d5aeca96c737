"""What a walk-forward of a study earned, as evidence."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sweep.engines.base import Engine
from sweep.errors import InputError, StudyLockedError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.study.session_returns import kept_edges
from sweep.study.study import Study
from sweep.validation.evidence import OutOfSample
from sweep.validation.walkforward.result import WalkForwardResult
from sweep.validation.walkforward.run import out_of_sample_curve, study_folds, walk_forward

__all__ = ["session_changes", "walked"]


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
        returns=session_changes(curve.ts, curve.equity, capital, kept_edges(study.about)) / capital,
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
