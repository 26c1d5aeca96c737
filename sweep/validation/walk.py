"""What a walk-forward of a study earned, as evidence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sweep.engines.base import Engine
from sweep.errors import InputError, StudyLockedError
from sweep.resample.sessions import find_sessions
from sweep.schema import FloatArray1D, IntArray1D
from sweep.validation.evidence import OutOfSample

__all__ = ["out_of_sample", "session_changes"]


def out_of_sample(result: Any, curve: Any, capital: float) -> OutOfSample | str:
    """Return a walk-forward's result as evidence, or why it is none.

    Parameters
    ----------
    result : sweep.walkforward.WalkForwardResult
        Its first path is taken: of a walk forward there is no other.
    curve : sweep.walkforward.Curve
        Equity out of sample.
    capital : float
    """
    try:
        folds = study_folds(study)
        result = walk_forward(
            study, folds, engine=engine, progress=progress, interrupted=interrupted
        )
    except StudyLockedError:
        return "the study is running: what folds try would not be counted", None
    except InputError as error:
        return f"a walk-forward is not possible ({error})", None
    if not folds.sequential:
        return f"the study's folds ({folds.scheme}) train on what follows the tests", result
    score = result.paths[0]
    if score.row is None:
        return f"of the walk-forward, {score.reason}"
    return OutOfSample(
        returns=session_changes(curve.ts, curve.equity, capital) / capital,
        net_profit=float(score.metrics.get("net_profit", math.nan)),
        n_folds=result.degradation.folds,
        rank=result.degradation.rank,
        efficiency=result.efficiency,
    )


def session_changes(ts: IntArray1D, equity: FloatArray1D, capital: float) -> FloatArray1D:
    """Return by how much equity changed over each session; (n_sessions,), float64."""
    ends = find_sessions(ts).ends
    return np.diff(equity[ends - 1], prepend=capital)
