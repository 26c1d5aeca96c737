"""Folds, and what searches in them found, for the terminal: a picture and tables."""

from __future__ import annotations

import math

from rich.text import Text

from sweep.report.table import Table
from sweep.text import Column, counted, kind_of, metric_column
from sweep.units import format_moment
from sweep.validation.folds import Folds
from sweep.validation.walkforward.result import WalkForwardResult

__all__ = [
    "paths_table",
    "splits_picture",
    "splits_table",
    "walk_forward_table",
    "walk_tables",
    "wander_table",
]

_TRAIN, _TEST, _LEFT = "━", "█", "·"
_STYLES = {_TRAIN: "cyan", _TEST: "bold green", _LEFT: "dim"}

#: Columns below which a picture shows nothing.
_LEAST = 10


def splits_picture(folds: Folds, width: int) -> list[Text]:
    """Return the folds as lines of text: one for each, time running to the right.

    A column shows a test window if any of its time is tested, else a train window if any of
    it trains.

    Parameters
    ----------
    folds : Folds
    width : int
        Columns of the whole; at least a few are drawn on, whatever the labels take.
    """
    windows = [w for fold in folds.folds for w in (*fold.train, *fold.test)]
    first = min(min(w.start for w in windows), folds.edges[0])
    last = max(max(w.stop for w in windows), folds.edges[-1])
    label = len(f"fold {len(folds.folds) - 1} ")
    columns = max(width - label, _LEAST)
    begins, ends = format_moment(first)[:10], format_moment(last - 1)[:10]
    dates = f"{begins}{ends:>{max(columns - len(begins), len(ends) + 1)}}"
    lines = [Text(" " * label + dates, "dim")]
    span = last - first
    for k, fold in enumerate(folds.folds):
        marks = [_LEFT] * columns
        for kind, group in ((_TRAIN, fold.train), (_TEST, fold.test)):
            for window in group:
                # In whole numbers: nanoseconds have more digits than a float.
                begin = (window.start - first) * columns // span
                end = -((first - window.stop) * columns // span)
                marks[begin:end] = [kind] * (end - begin)
        line = Text(f"fold {k}".ljust(label))
        for mark in marks:
            line.append(mark, _STYLES[mark])
        lines.append(line)
    legend = Text(" " * label)
    for mark, word in ((_TRAIN, "train"), (_TEST, "test"), (_LEFT, "neither")):
        legend.append(mark, _STYLES[mark])
        legend.append(f" {word}   ")
    legend.rstrip()
    return [*lines, legend]


def splits_table(folds: Folds) -> Table:
    """Return the windows of all folds: one row a window."""
    rows = [
        (k, kind, format_moment(w.start), format_moment(w.stop), (w.stop - w.start) / 1e9)
        for k, fold in enumerate(folds.folds)
        for w, kind in sorted([(w, "train") for w in fold.train] + [(w, "test") for w in fold.test])
    ]
    columns = (
        Column("fold", "integer", priority=0),
        Column("role", "text", priority=0),
        Column("from", "text", priority=1),
        Column("to", "text", priority=1),
        Column("length", "duration", "s", priority=2),
    )
    return Table(columns, rows, f"{folds.scheme}: {counted(len(folds.folds), 'fold')}")


def walk_forward_table(result: WalkForwardResult) -> Table:
    """Return what each fold chose, and what it was worth: one row a fold."""
    names = list(dict.fromkeys(name for c in result.chosen for name in c.shown))
    rows = [
        (
            c.fold,
            c.number,
            *(c.shown.get(name) for name in names),
            c.train,
            c.test,
            sum(float(r["equity"] - r["capital"]) for r in c.test_rows) if c.test_rows else None,
            sum(int(r["trades"]) for r in c.test_rows) if c.test_rows else None,
            c.rank,
            c.reason,
        )
        for c in result.chosen
    ]
    columns = (
        Column("fold", "integer", priority=0),
        Column("trial", "integer", priority=3),
        *(
            Column(f"param_{n}" if n in _TAKEN else n, kind_of([r[k + 2] for r in rows]), "", 2)
            for k, n in enumerate(names)
        ),
        Column("train", priority=1),
        Column("test", priority=1),
        Column("test_net_profit", "cash", priority=3),
        Column("test_trades", "count", priority=4),
        Column("rank", "share", priority=3),
        Column("reason", "text", priority=9),
    )
    return Table(columns, rows, f"{result.objective} by fold")


_TAKEN = ("fold", "trial", "train", "test", "test_net_profit", "test_trades", "rank", "reason")


#: Of each history out of sample, after the objective.
_OF_PATHS = ("net_profit", "sharpe", "max_drawdown", "trades")


def paths_table(result: WalkForwardResult) -> Table:
    """Return what the choices were worth out of sample: one row a history.

    A walk-forward has one, its test windows one after another; combinations have several.
    """
    further = [name for name in _OF_PATHS if name != result.objective]
    rows = [
        (k, p.value, *(p.metrics.get(name) for name in further), p.reason)
        for k, p in enumerate(result.paths)
        if p.row is not None
    ]
    columns = (
        Column("path", "integer", priority=0),
        Column(result.objective, priority=0),
        *(metric_column(name) for name in further),
        Column("reason", "text", priority=9),
    )
    title = "out of sample, the test windows one after another"
    return Table(columns, rows, title if len(result.paths) < 2 else f"{title}, path by path")


def wander_table(result: WalkForwardResult) -> Table:
    """Return how much each parameter's choice wanders: one row a parameter."""
    rows = [
        (w.name, w.distinct, None if math.isnan(w.moved) else w.moved, w.at_random)
        for w in result.wander
    ]
    columns = (
        Column("parameter", "text", priority=0),
        Column("distinct", "count", priority=2),
        Column("moved", "share", priority=1),
        Column("at_random", "share", priority=1),
    )
    return Table(columns, rows, "steps of the choice between folds, share of the range")


def walk_tables(result: WalkForwardResult) -> tuple[Table, ...]:
    """Return what each fold chose, and how the choices wander."""
    tables = (walk_forward_table(result), paths_table(result), wander_table(result))
    return tuple(table for table in tables if table.rows)
