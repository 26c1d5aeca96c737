"""Trials as tables: fitted to a screen, or with everything for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sweep.report.document import Grid, TextColumn
from sweep.report.snapshot import TrialView
from sweep.report.table import Table
from sweep.report.trials import trial_columns
from sweep.schema import FloatArray2D
from sweep.stats.metrics import METRICS
from sweep.study.study import Study
from sweep.text import Column, as_cells, metric_column, parameter_column

__all__ = ["best_grid", "metrics_table", "trials_table"]

#: Shown after the objectives on a screen, with the priority of the column.
_METRICS = (
    ("net_profit", 4),
    ("trades", 2),
    ("max_drawdown", 3),
    ("win_rate", 7),
    ("profit_factor", 7),
    ("sharpe", 6),
    ("exposure", 9),
    ("costs", 8),
)


def trials_table(study: Study, numbers: Sequence[int], *, title: str = "") -> Table:
    """Return trials with every column: one row a trial, full precision.

    Columns without a single value are kept, so that files of one study are alike.
    """
    columns, values = [], []
    for name, cells in study.columns(numbers).items():
        column = _column(study, name, cells)
        if column.kind == "count":
            cells = [int(v) if isinstance(v, float) and math.isfinite(v) else v for v in cells]
        columns.append(column)
        values.append(cells)
    return Table(tuple(columns), list(zip(*values, strict=True)), title)


def _column(study: Study, name: str, cells: Sequence[Any]) -> Column:
    if name == "trial":
        return Column(name, "integer", priority=0)
    if name in ("state", "reason"):
        return Column(name, "text", priority=1 if name == "state" else 9)
    if name in ("slices", "duplicate_of"):
        return Column(name, "integer", priority=9)
    if name in METRICS:
        column = metric_column(name)
        return _first(column) if name in study.objectives.labels else column
    if name.startswith("holdout_"):
        return metric_column(name.removeprefix("holdout_"), prefix="holdout_")
    if name in study.objectives.labels:
        return Column(name, "number", priority=1)
    return parameter_column(name, cells)


def _first(column: Column) -> Column:
    return Column(column.name, column.kind, column.unit, 1)


def metrics_table(metrics: dict[str, float], *, label: str = "search") -> Table:
    """Return metrics as one row a metric; ``label`` says on which ticks."""
    columns = (Column("metric", "text", priority=0), Column(label, "text", priority=0))
    return Table(columns, [(name, _cell(name, value)) for name, value in metrics.items()])


def _cell(name: str, value: float) -> str:
    return as_cells(metric_column(name).kind, [value])[0]


def best_grid(study: Study, numbers: Sequence[int]) -> Grid:
    """Return the best trials for a screen: parameters, training figures, holdout."""
    labels = study.objectives.labels
    held = [study.holdout_metrics(n) or {} for n in numbers]
    held = [
        m and {**m, **dict(zip(labels, row, strict=True))}
        for m, row in zip(held, _scores(study, held).tolist(), strict=True)
    ]
    trials = [
        TrialView(n, study.params(n), tuple(study.board.trial(n).values), study.metrics(n), m)
        for n, m in zip(numbers, held, strict=True)
    ]
    first = TextColumn("trial", tuple(str(n) for n in numbers), 0)
    columns = trial_columns(trials, study.space.names, labels, _METRICS)
    return Grid((first, *columns))


def _scores(study: Study, metrics: Sequence[dict[str, float]]) -> FloatArray2D:
    """Return the objectives of each trial's metrics, NaN where it has none."""
    objectives = study.objectives
    given = [k for k, m in enumerate(metrics) if m]
    scores = np.full((len(metrics), len(objectives.labels)), np.nan)
    if not given:
        return scores
    names = (*objectives.reads, *(term.name for term in objectives.terms))
    columns = {n: np.array([metrics[k].get(n, np.nan) for k in given], np.float64) for n in names}
    scores[given] = objectives.scores(
        columns, len(given), lambda name, places: np.full(len(places), "", object)
    ).values
    return scores
