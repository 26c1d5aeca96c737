"""Trials as tables: fitted to a screen, or with everything for programs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from sweep.report.layout import Block, arrange
from sweep.report.table import Table
from sweep.schema import FloatArray2D
from sweep.stats.metrics import METRICS
from sweep.study.study import Study
from sweep.text import Column, as_cells, kind_of, metric_column, parameter_column

__all__ = ["best_lines", "metrics_table", "print_lines", "screen_width", "trials_table"]

#: Beside the objectives on a screen, with the priority of the column.
_BESIDE = (
    ("net_profit", 4),
    ("trades", 2),
    ("max_drawdown", 3),
    ("win_rate", 7),
    ("profit_factor", 7),
    ("sharpe", 6),
    ("exposure", 9),
    ("costs", 8),
)
_SHORT = {
    "max_drawdown": "drawdown",
    "total_return": "return",
    "profit_factor": "profit f.",
    "net_profit": "profit",
}
_HOLDOUT_LATER = 2


def screen_width() -> int | None:
    """Columns of the terminal that stdout is, or None where lines may be of any length."""
    return Console(file=sys.stdout).width if sys.stdout.isatty() else None


def print_lines(lines: Iterable[Text], *, no_color: bool = False) -> None:
    """Write lines to stdout as they are, without wrapping."""
    console = Console(file=sys.stdout, no_color=True if no_color else None, highlight=False)
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        safe = line.copy()
        safe.plain = line.plain.encode(encoding, "replace").decode(encoding)
        console.print(safe, soft_wrap=True, no_wrap=True, crop=False)


def trials_table(study: Study, numbers: Sequence[int], *, title: str = "") -> Table:
    """Return trials with every column: one row a trial, full precision.

    Columns without a single value are kept, so that files of one study are alike.
    """
    found = study.columns(numbers)
    columns, values = [], []
    for name, cells in found.items():
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


def best_lines(study: Study, numbers: Sequence[int], width: int | None) -> list[Text]:
    """Lay the best trials out for a screen: parameters, training figures, holdout."""
    if not numbers:
        return [Text("no complete trial: none meets the requirements", "yellow")]
    laid = arrange(_blocks(study, numbers), width)
    lines = [Text(laid.groups, "dim"), Text(laid.titles, "bold")]
    lines += [Text(row) for row in laid.rows]
    if laid.dropped:
        lines.append(Text(f"not shown here (-f csv shows all): {', '.join(laid.dropped)}", "dim"))
    if width is not None:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
    return lines


def _blocks(study: Study, numbers: Sequence[int]) -> list[Block]:
    blocks = [Block("trial", tuple(str(n) for n in numbers), 0)]
    params = [study.params(n) for n in numbers]
    for i, name in enumerate(study.space.names):
        values = [p.get(name) for p in params]
        kind = kind_of(values)
        cells = tuple(as_cells(kind, values))
        blocks.append(Block(name, cells, 1 if i < 3 else 5, kind != "text", "params"))
    goals = study.objectives.labels
    train = [study.metrics(n) for n in numbers]
    held = [study.holdout_metrics(n) or {} for n in numbers]
    for j, label in enumerate(goals):
        values = [study.board.trial(n).values[j] for n in numbers]
        cells = tuple(as_cells(metric_column(label).kind, values))
        blocks.append(Block(_SHORT.get(label, label), cells, 0 if not j else 1, True, "train"))
    beside = [(name, priority) for name, priority in _BESIDE if name not in goals]
    for name, priority in beside:
        blocks.append(_metric_block(name, train, priority, "train"))
    if any(held):
        scores = _scores(study, held)
        for j, label in enumerate(goals):
            values = scores[:, j].tolist()
            cells = tuple(as_cells(metric_column(label).kind, values))
            blocks.append(Block(_SHORT.get(label, label), cells, 1, True, "holdout"))
        for name, priority in beside:
            blocks.append(_metric_block(name, held, priority + _HOLDOUT_LATER, "holdout"))
    return blocks


def _scores(study: Study, metrics: Sequence[dict[str, float]]) -> FloatArray2D:
    """Return the objectives of each trial's metrics, NaN where it has none."""
    objectives = study.objectives
    given = [k for k, m in enumerate(metrics) if m]
    names = (*objectives.reads, *(term.name for term in objectives.terms))
    columns = {n: np.array([metrics[k].get(n, np.nan) for k in given], np.float64) for n in names}
    scores = np.full((len(metrics), len(objectives.labels)), np.nan)
    scores[given] = objectives.scores(
        columns, len(given), lambda name, places: np.full(len(places), "", object)
    ).values
    return scores


def _metric_block(
    name: str, metrics: Sequence[dict[str, float]], priority: int, group: str
) -> Block:
    cells = as_cells(metric_column(name).kind, [m.get(name, float("nan")) for m in metrics])
    return Block(_SHORT.get(name, name), tuple(cells), priority, True, group)
