"""What a search in each fold found: choices, scores out of sample, and how choices wander.

Pure functions of rows and parameters; the searches are in `shared_search` and `fold_studies`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.schema import FloatArray1D, Rows
from sweep.stats.metrics import merge, metrics_of
from sweep.strategy.space import SearchSpace
from sweep.study.judge import Judge
from sweep.study.records import FAILED
from sweep.text import number
from sweep.validation.folds import Folds
from sweep.validation.walkforward.evaluate import merge_pieces
from sweep.validation.walkforward.stability import Wander

__all__ = [
    "EFFICIENCY_CAUTION",
    "Chosen",
    "Degradation",
    "PathScore",
    "WalkForwardResult",
    "choice_of",
    "degradation_of",
    "efficiency_of",
    "nothing_chosen",
    "rank_correlation",
    "score_paths",
    "spread_of_paths",
]

EFFICIENCY_CAUTION = (
    "a ratio of two noisy rates; no threshold for it (50 % is often named) has been shown to tell "
    "luck from skill"
)


@dataclass(frozen=True)
class Chosen:
    """The variant that one fold chose.

    Attributes
    ----------
    fold : int
    number : int or None
        Its trial: of the study's design, or of the fold's own study where the sampler learns.
        None where no variant was complete in train.
    params : ndarray of shape (n_params,), float64, or None
        Encoded.
    shown : dict
        Values by parameter, without those that do not count.
    train, test : float
        The study's first objective; NaN where undefined.
    train_row : ndarray of shape (), dtype `sweep.schema.ROW`, or None
        Over the train windows.
    test_rows : tuple of ndarray of shape (), dtype `sweep.schema.ROW`
        One for each test window.
    rank : float
        Share of the other variants that are worse in test, ties counted half. Luck alone gives
        0.5 on average where costs are alike; a variant that trades less ranks high in every
        window without any skill. NaN where only this one was evaluated there.
    correlation : float
        Spearman's, of all complete variants' objectives in train with those in test; NaN where
        it is undefined or only one was evaluated.
    searched : int
        Variants that were evaluated to choose.
    reason : str
        Why a number is NaN, or nothing was chosen.
    """

    fold: int
    number: int | None
    params: FloatArray1D | None
    shown: dict[str, Any]
    train: float
    test: float
    train_row: Rows | None
    test_rows: tuple[Rows, ...]
    rank: float = math.nan
    correlation: float = math.nan
    searched: int = 0
    reason: str = ""


@dataclass(frozen=True)
class PathScore:
    """One history out of sample: the concatenation of test windows.

    Attributes
    ----------
    row : ndarray of shape (), dtype `sweep.schema.ROW`, or None
        Merged; None where no fold chose anything.
    metrics : dict of str to float
    value : float
        The study's first objective.
    reason : str
        Why it is NaN.
    """

    row: Rows | None
    metrics: dict[str, float]
    value: float
    reason: str


@dataclass(frozen=True)
class Degradation:
    """The study's first objective in train and in test, over the folds that have both.

    Attributes
    ----------
    train, test : float
        Means over folds.
    loss : float
        By how much test is worse on average, in the objective's unit; negative if better.
    worse : int
        Folds in which test is worse.
    folds : int
    rank : float
        Mean of the chosen variants' ranks in test, see `Chosen.rank`.
    correlation : float
        Mean of the folds' rank correlations.
    """

    train: float
    test: float
    loss: float
    worse: int
    folds: int
    rank: float
    correlation: float


@dataclass(frozen=True)
class WalkForwardResult:
    """What a search in each fold found.

    Attributes
    ----------
    folds : Folds
    objective, direction : str
        By which variants were chosen.
    chosen : tuple of Chosen
        By fold.
    paths : tuple of PathScore
        One for a walk forward; several for combinations.
    wander : tuple of Wander
        Of the parameters that were searched.
    degradation : Degradation
    efficiency : float
        Net profit per time in test over that in train; read `EFFICIENCY_CAUTION` beside it.
        NaN where the train windows made no profit.
    evaluations : int
        Variants that were evaluated, all folds together: what a test for luck must know of.
    notes : tuple of str
    """

    folds: Folds
    objective: str
    direction: str
    chosen: tuple[Chosen, ...]
    paths: tuple[PathScore, ...]
    wander: tuple[Wander, ...]
    degradation: Degradation
    efficiency: float
    evaluations: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; NaN is None."""
        folds = [
            {
                "fold": c.fold,
                "train": [list(w) for w in fold.train],
                "test": [list(w) for w in fold.test],
                "groups": list(fold.groups),
                "trial": c.number,
                "params": c.shown,
                "train_value": _plain(c.train),
                "test_value": _plain(c.test),
                "rank": _plain(c.rank),
                "correlation": _plain(c.correlation),
                "searched": c.searched,
                "reason": c.reason,
            }
            for c, fold in zip(self.chosen, self.folds.folds, strict=True)
        ]
        d = self.degradation
        return {
            "scheme": self.folds.scheme,
            "unit": self.folds.unit,
            "purge_s": self.folds.purge / 1e9,
            "embargo_s": self.folds.embargo / 1e9,
            "objective": self.objective,
            "direction": self.direction,
            "folds": folds,
            "paths": [
                {
                    "value": _plain(p.value),
                    "reason": p.reason,
                    "metrics": {name: _plain(v) for name, v in p.metrics.items()},
                }
                for p in self.paths
            ],
            "wander": [
                {
                    "parameter": w.name,
                    "values": list(w.values),
                    "distinct": w.distinct,
                    "moved": _plain(w.moved),
                    "at_random": _plain(w.at_random),
                }
                for w in self.wander
            ],
            "degradation": {
                "train": _plain(d.train),
                "test": _plain(d.test),
                "loss": _plain(d.loss),
                "worse": d.worse,
                "folds": d.folds,
                "rank": _plain(d.rank),
                "correlation": _plain(d.correlation),
            },
            "efficiency": _plain(self.efficiency),
            "efficiency_caution": EFFICIENCY_CAUTION,
            "evaluations": self.evaluations,
            "notes": list(self.notes),
        }


def spread_of_paths(paths: Sequence[PathScore], objective: str) -> str:
    """Return in a sentence how histories out of sample spread; empty where there is one."""
    values = sorted(p.value for p in paths if not math.isnan(p.value))
    profits = [p.metrics["net_profit"] for p in paths if p.row is not None]
    if len(paths) < 2 or not values:
        return ""
    lost = sum(profit < 0.0 for profit in profits)
    return (
        f"of {len(profits)} histories out of sample {lost} lost money; {objective} from "
        f"{number(values[0])} to {number(values[-1])}, {number(float(np.median(values)))} in the "
        f"median; they are put together from the same test windows, so that their spread is no "
        f"error of it"
    )


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


# -- choices -------------------------------------------------------------------------


def nothing_chosen(fold: int, reason: str, searched: int) -> Chosen:
    """Return that a fold chose nothing, and why."""
    return Chosen(
        fold, None, None, {}, math.nan, math.nan, None, (), searched=searched, reason=reason
    )


def failed_in_test(number: int) -> str:
    """Say that the choice of a fold cannot be scored."""
    return f"the variant that it chose, trial {number}, failed in test: sweep replay says why"


def choice_of(
    space: SearchSpace,
    judge: Judge,
    fold: int,
    number: int,
    params: FloatArray1D,
    train: Rows,
    tests: tuple[Rows, ...],
    **more: Any,
) -> Chosen:
    """Return the choice of a fold, judged.

    Parameters
    ----------
    space : SearchSpace
    judge : Judge
    fold, number : int
    params : ndarray of shape (n_params,), float64
    train : ndarray of shape (1,), dtype `sweep.schema.ROW`
    tests : tuple of ndarray of shape (1,), dtype `sweep.schema.ROW`
        One for each test window.
    **more
        Further fields of `Chosen`.
    """
    values = space.decode(params)
    inside, why_inside = value_of(judge, train)
    every = np.stack(tests, axis=1)
    outside, why_outside = value_of(judge, merge_pieces(every, range(len(tests))))
    return Chosen(
        fold=fold,
        number=number,
        params=params,
        shown={name: values[name] for name in space.active_names(params)},
        train=inside,
        test=outside,
        train_row=train[0],
        test_rows=tuple(t[0] for t in tests),
        reason=why_inside or why_outside,
        **more,
    )


# -- scores ----------------------------------------------------------------------------


def score_paths(folds: Folds, chosen: Sequence[Chosen], judge: Judge) -> tuple[PathScore, ...]:
    """Return what the concatenations of test windows are worth.

    Requirements are not asked of them: they are about the search.

    Parameters
    ----------
    folds : Folds
    chosen : sequence of Chosen
        By fold. The windows of a fold that chose nothing are left out.
    judge : Judge
    """
    found = []
    for path in folds.paths:
        rows = [chosen[k].test_rows[w] for k, w in path if chosen[k].test_rows]
        if not rows:
            found.append(PathScore(None, {}, math.nan, "no fold chose a variant"))
            continue
        whole = np.asarray(rows[0]).reshape(1)
        for row in rows[1:]:
            whole = merge(whole, np.asarray(row).reshape(1))
        metrics = {
            name: float(v[0]) for name, v in metrics_of(whole, judge.periods_per_year).items()
        }
        value, reason = value_of(judge, whole)
        if len(rows) < len(path):
            reason = reason or f"{len(path) - len(rows)} of {len(path)} windows chose nothing"
        found.append(PathScore(whole[0], metrics, value, reason))
    return tuple(found)


def value_of(judge: Judge, rows: Rows) -> tuple[float, str]:
    """Return the first objective of one row, and why it is NaN if it is."""
    worth = judge(rows)[0]
    value = math.nan if worth.state == FAILED else worth.values[0]
    return value, "" if math.isfinite(value) else worth.reason


def efficiency_of(chosen: Sequence[Chosen]) -> float:
    """Return net profit per time in test over net profit per time in train.

    Over all folds together: a mean of the folds' ratios has no mean to converge to.

    References
    ----------
    Pardo (2008), The Evaluation and Optimization of Trading Strategies, chapter 11
    (walk-forward efficiency).
    """
    profit, span = [0.0, 0.0], [0, 0]
    for c in chosen:
        if c.train_row is None:
            continue
        for k, rows in enumerate(((c.train_row,), c.test_rows)):
            for row in rows:
                profit[k] += float(row["equity"] - row["capital"])
                span[k] += int(row["span_ns"])
    if not all(span) or profit[0] <= 0.0:
        return math.nan
    return profit[1] / span[1] / (profit[0] / span[0])


def degradation_of(chosen: Sequence[Chosen], direction: str) -> Degradation:
    """Return how the objective fares from train to test."""
    both = [(c.train, c.test) for c in chosen if math.isfinite(c.train) and math.isfinite(c.test)]
    sign = 1.0 if direction == "maximize" else -1.0
    train, test = _mean(a for a, _ in both), _mean(b for _, b in both)
    return Degradation(
        train=train,
        test=test,
        loss=sign * (train - test),
        worse=sum(sign * b < sign * a for a, b in both),
        folds=len(both),
        rank=_mean(c.rank for c in chosen if math.isfinite(c.rank)),
        correlation=_mean(c.correlation for c in chosen if math.isfinite(c.correlation)),
    )


def _mean(values: Any) -> float:
    found = list(values)
    return math.fsum(found) / len(found) if found else math.nan


def rank_correlation(x: FloatArray1D, y: FloatArray1D) -> float:
    """Return Spearman's correlation of the pairs that have both values; NaN if undefined.

    References
    ----------
    Spearman (1904), The proof and measurement of association between two things; ties take
    the mean of their ranks.
    """
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 3:
        return math.nan
    a, b = (_ranks(v[both]) for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0.0 else math.nan


def _ranks(values: FloatArray1D) -> FloatArray1D:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    found: FloatArray1D = (last - (count - 1) / 2.0)[place]
    return found
