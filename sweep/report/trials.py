"""The best trials as columns of a table: parameters, training figures, holdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sweep.report.document import TextColumn
from sweep.report.snapshot import TrialView
from sweep.text import as_cells, kind_of, metric_column, plain

__all__ = ["trial_columns"]

_SHORT = {
    "max_drawdown": "drawdown",
    "total_return": "return",
    "profit_factor": "profit f.",
    "mean_holding_time": "holding",
    "net_profit": "profit",
}
_PARAMETERS_FIRST = 3  # this many parameters stay before trades and drawdown go
_HOLDOUT_LATER = 2


def trial_columns(
    trials: Sequence[TrialView],
    parameters: Sequence[str],
    objectives: Sequence[str],
    metrics: Sequence[tuple[str, int]],
    *,
    holdout_metrics: int | None = None,
) -> list[TextColumn]:
    """Return columns after that of the trials' numbers.

    Parameters
    ----------
    trials : sequence of TrialView
    parameters, objectives : sequence of str
    metrics : sequence of (str, int)
        Shown after the objectives, unless they are one, with the priority of their column.
    holdout_metrics : int, optional
        How many of them the holdout has, too; all by default.
    """
    columns = []
    for i, name in enumerate(parameters):
        values = [plain(t.params.get(name)) for t in trials]
        kind = kind_of(values)
        texts = tuple(as_cells(kind, values))
        priority = 1 if i < _PARAMETERS_FIRST else 5
        columns.append(TextColumn(name, texts, priority, kind != "text", "params"))
    further = [(name, priority) for name, priority in metrics if name not in objectives]
    train = [{**t.metrics, **dict(zip(objectives, t.values, strict=False))} for t in trials]
    wanted = [(name, 1 if i else 0) for i, name in enumerate(objectives)]
    columns += [_metric(name, train, p, "train") for name, p in [*wanted, *further]]
    held = [t.holdout or {} for t in trials]
    wanted = [(name, 1) for name in objectives]
    wanted += [(name, p + _HOLDOUT_LATER) for name, p in further[:holdout_metrics]]
    columns += [
        _metric(name, held, p, "holdout") for name, p in wanted if any(name in m for m in held)
    ]
    return columns


def _metric(
    name: str, metrics: Sequence[Mapping[str, float]], priority: int, group: str
) -> TextColumn:
    texts = as_cells(metric_column(name).kind, [m.get(name, math.nan) for m in metrics])
    return TextColumn(_SHORT.get(name, name), tuple(texts), priority, True, group)
