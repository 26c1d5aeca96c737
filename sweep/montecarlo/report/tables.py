"""Findings as tables, as JSON, and as lines for a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan, nan
from typing import Any

import numpy as np
from rich.text import Text

from sweep.montecarlo.compare import Comparison
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.text import (
    MetricCells,
    error_text,
    facts,
    figure_rows,
    main_metric,
    metric_cells,
    metric_texts,
    sentences,
    value_with_unit,
)
from sweep.report.layout import Block, arrange
from sweep.report.table import Table, table_lines, wrapped
from sweep.stats.functionals import Functional, plain
from sweep.stats.quantiles import LEVELS
from sweep.stats.summary import Summary
from sweep.text import (
    MISSING,
    Column,
    as_cells,
    cell_width,
    clean,
    kind_of,
    metric_column,
    percent,
)

__all__ = [
    "document",
    "finding_lines",
    "further_tables",
    "metric_rows",
    "paths_table",
    "robustness_lines",
    "robustness_table",
    "summary_cells",
]

#: Metrics whose sign says whether a path lost, the surest first.
_LOSSES = ("net_profit", "total_return", "expectancy", "sharpe")
#: Columns whose numbers are in the unit of the metric.
_OF_METRIC = ("observed", "mean", "q05", "q50", "q95")
_LEVELS = (0.05, 0.5, 0.95)
_GAP = 2
_OPTIONAL_ROWS = ("observed", "rank", "p-value")


# -- tables ----------------------------------------------------------------------------


def robustness_table(findings: Sequence[Finding]) -> Table:
    """Return one row for each method and variant, of its main metric.

    Quantiles of the tails are undefined where there are too few units, and the last column
    says why. ``p_loss`` is the share of paths that lost money; paths without a value count
    as lost.
    """
    kinds = {metric_column(m) for m in map(main_metric, findings) if m is not None}
    kind = next(iter({c.kind for c in kinds})) if len({c.kind for c in kinds}) == 1 else "number"
    mean_kind = "number" if kind == "count" else kind
    columns = (
        Column("method", "text", priority=0),
        Column("variant", "text", priority=0),
        Column("paths", "count", priority=7),
        Column("metric", "text", priority=3),
        Column("observed", kind, priority=1),
        Column("mean", mean_kind, priority=4),
        Column("mean_error", mean_kind, priority=8),
        Column("q05", kind, priority=1),
        Column("q50", kind, priority=1),
        Column("q95", kind, priority=2),
        Column("p_loss", "share", priority=2),
        Column("rank", "share", priority=3),
        Column("unit", "text", priority=6),
        Column("units", "count", priority=5),
        Column("effective", "number", priority=5),
        Column("block", "number", priority=8),
        Column("block_unit", "text", priority=9),
        Column("seed", "integer", priority=9),
        Column("reason", "text", priority=9),
    )
    return Table(columns, [_row(f) for f in findings])


def _row(finding: Finding) -> list[Any]:
    name = main_metric(finding)
    lost = _probability_of_loss(finding)
    if name is None:
        found = [finding.method, finding.variant, finding.n_paths, *[None] * 7]
        reason = "; ".join(finding.notes) or None
        return [*found, lost, *[None] * 4, *_block_cells(finding), finding.seed, reason]
    s = finding.summaries[name]
    at = {q.level: q for q in s.quantiles}
    placed = s.observed
    quantiles = [at[level] for level in _LEVELS]
    missing = [q.reason for q in quantiles if isnan(q.value)]
    reasons = dict.fromkeys([s.units.reason, s.mean.reason, *missing])
    return [
        finding.method,
        finding.variant,
        finding.n_paths,
        metric_column(name).key,
        placed.value if placed is not None else finding.observed.get(name),
        s.mean.value,
        s.mean.error,
        *(q.value for q in quantiles),
        lost,
        placed.rank if placed is not None else None,
        s.units.name,
        s.units.n,
        s.units.effective,
        *_block_cells(finding),
        finding.seed,
        "; ".join(r for r in reasons if r is not None) or None,
    ]


def _block_cells(finding: Finding) -> tuple[float | None, str | None]:
    block = finding.block
    return (None, None) if block is None else (block.length, block.unit)


def _probability_of_loss(finding: Finding) -> float | None:
    given = finding.figures.get("probability_of_loss")
    if given is not None:
        return given
    name = next((n for n in _LOSSES if n in finding.paths), None)
    if name is None:
        return None
    return Functional("probability_of_loss").of(np.asarray(finding.paths[name])).value


def summary_cells(findings: Sequence[Finding]) -> tuple[Table, list[tuple[str, ...]]]:
    """Return `robustness_table` with its cells as texts, by columns but for the reasons.

    Each number is shown as its own metric is, where a column holds several.
    """
    table = robustness_table(findings)
    names = [main_metric(f) for f in findings]
    columns = []
    for i, column in enumerate(table.columns[:-1]):
        values = [row[i] for row in table.rows]
        cells = as_cells(column.kind, values)
        if column.name == "mean_error":
            cells = [
                error_text(n, nan if v is None else v) if n is not None else MISSING
                for n, v in zip(names, values, strict=True)
            ]
        for name in {n for n in names if n is not None} if column.name in _OF_METRIC else ():
            rows = [k for k, n in enumerate(names) if n == name]
            found = metric_texts(name, [nan if values[k] is None else values[k] for k in rows])
            for k, text in zip(rows, found, strict=True):
                cells[k] = text
        columns.append(tuple(cells))
    return table, columns


def paths_table(findings: Sequence[Finding]) -> Table:
    """Return every path: method, variant, number, and a column for each metric.

    Returns
    -------
    Table
        For CSV and Parquet, with all digits. A metric that a finding does not have is None,
        one that a path does not have is NaN.
    """
    names = list(dict.fromkeys(name for f in findings for name in f.paths))
    columns = [Column("method", "text"), Column("variant", "text"), Column("path", "integer")]
    columns += [_numbers(metric_column(name)) for name in names]
    return Table(tuple(columns), [row for f in findings for row in _path_rows(f, names)])


def _numbers(column: Column) -> Column:
    return Column(column.name, "number", column.unit)


def _path_rows(finding: Finding, names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    n = max((len(values) for values in finding.paths.values()), default=0)
    held = [
        np.asarray(finding.paths[name], np.float64).tolist()
        if name in finding.paths
        else [None] * n
        for name in names
    ]
    for i, values in enumerate(zip(*held, strict=True)):
        yield finding.method, finding.variant, i, *values


def further_tables(finding: Finding) -> list[Table]:
    """Return the tables that a finding brings along."""
    found = []
    for title, (names, rows) in finding.tables.items():
        columns = tuple(_column(n, [row[i] for row in rows]) for i, n in enumerate(names))
        found.append(Table(columns, rows, title))
    return found


def _column(name: str, values: Sequence[Any]) -> Column:
    kind = kind_of(values)
    known = metric_column(name)
    if kind in ("number", "integer") and known.kind != "number":
        return Column(name, known.kind, "", known.priority)
    return Column(name, kind)


def document(findings: Sequence[Finding], comparisons: Sequence[Comparison] = ()) -> dict[str, Any]:
    """Return findings as ``-f json`` has them, without the paths.

    Parameters
    ----------
    findings : sequence of Finding
    comparisons : sequence of Comparison, optional
        See `sweep.montecarlo.compare.comparisons_of`.

    Returns
    -------
    dict
        ``"summary"``: the rows of `robustness_table`; ``"findings"``: each in full, metrics
        by names with units; ``"comparisons"``. NaN and infinities are None, with a reason.
    """
    return {
        "summary": robustness_table(findings).records(),
        "findings": [_whole(f) for f in findings],
        "comparisons": [c.to_dict() for c in comparisons],
    }


def _whole(finding: Finding) -> dict[str, Any]:
    found = finding.to_dict()
    for part in ("observed", "summaries", "figures"):
        found[part] = {metric_column(name).key: value for name, value in found[part].items()}
    found["curves"] = {name: plain(np.asarray(c)) for name, c in finding.curves.items()}
    return found


def metric_rows(finding: Finding) -> list[str]:
    """Return which rows there are beside quantiles: a p-value only where one was asked for."""
    cells = [metric_cells(name, s).rows for name, s in finding.summaries.items()]
    return [
        label
        for label in (cells[0] if cells else ())
        if label not in _OPTIONAL_ROWS or any(c[label] != MISSING for c in cells)
    ]


# -- lines for a screen ----------------------------------------------------------------


def robustness_lines(findings: Sequence[Finding], width: int | None) -> list[Text]:
    """Lay `robustness_table` out, with the reasons for what is missing below it."""
    table, cells = summary_cells(findings)
    if not table.rows:
        return table_lines(table, width)
    if all(main_metric(f) is None for f in findings):
        return wrapped("no summary, because no method has paths to sum up; see above", width, "dim")
    mixed = len(set(map(main_metric, findings))) > 1
    blocks = [
        # Without the metric's name, numbers of several metrics could not be told apart.
        Block(c.name, texts, 0 if mixed and c.name == "metric" else c.priority, c.kind != "text")
        for c, texts in zip(table.columns[:-1], cells, strict=True)
    ]
    laid = arrange(blocks, width)
    lines = [Text(laid.titles, "bold"), *(Text(row) for row in laid.rows)]
    if laid.dropped:
        lines += wrapped(f"not shown (-f csv has all): {', '.join(laid.dropped)}", width, "dim")
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        if row[-1] is not None:
            reasons.setdefault(row[-1], []).append(f"{row[0]}, {row[1]}")
    for reason, rows in reasons.items():
        who = rows[0] if len(rows) == 1 else f"{rows[0]} and {len(rows) - 1} more"
        lines += wrapped(f"{who}: {reason}", width, "dim")
    return _cut(lines, width)


def finding_lines(finding: Finding, width: int | None) -> list[Text]:
    """Lay one finding out in full.

    Parameters
    ----------
    finding : Finding
    width : int or None
        Columns that no line exceeds; None: lines of any length. Metrics that do not fit
        side by side follow one another, so that none is left out.

    Returns
    -------
    list of Text
    """
    heading = (clean(finding.method), "bold"), (f"   {clean(finding.title)}", "dim")
    lines = [Text.assemble(*heading)]
    for label, text in facts(finding):
        lines += wrapped(text, width, label=label)
    for table in _metric_tables(finding, width):
        lines += [Text(), *table]
    if not finding.summaries and finding.observed:
        rows = [(name, value_with_unit(name, v)) for name, v in finding.observed.items()]
        lines += [Text(), *_pairs("observed", rows, width)]
    if finding.figures:
        lines += [Text(), *_pairs("figure", figure_rows(finding), width)]
    for further in further_tables(finding):
        lines += [Text(), *table_lines(further, width, hint="-f json has all")]
    said = sentences(finding)
    if said:
        lines.append(Text())
    for sentence in said:
        lines += wrapped(sentence, width, first="- ")
    return _cut(lines, width)


def _cut(lines: list[Text], width: int | None) -> list[Text]:
    if width is not None:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
    return lines


def _pairs(head: str, rows: Sequence[tuple[str, str]], width: int | None) -> list[Text]:
    columns = (Column(head, "text", priority=0), Column("value", "text", priority=0))
    values = max((cell_width(v) for _, v in rows), default=0)
    padded = [(name, " " * (values - cell_width(v)) + v) for name, v in rows]
    return table_lines(Table(columns, padded), width)


def _metric_tables(finding: Finding, width: int | None) -> list[list[Text]]:
    """Lay metrics out as columns, as many side by side as fit."""
    summaries = list(finding.summaries.items())
    if not summaries:
        return []
    rows = [*map(percent, LEVELS), *metric_rows(finding)]
    first = max(map(len, rows))
    room = None if width is None else max(width - first - _GAP, 1)
    made = [_block(name, s, rows[len(LEVELS) :], room) for name, s in summaries]
    tables: list[list[Block]] = []
    group: list[Block] = []
    used = first
    for block in made:
        wide = max(cell_width(c) for c in (*block.cells, block.title)) + _GAP
        if group and width is not None and used + wide > width:
            tables.append(group)
            group, used = [], first
        group.append(block)
        used += wide
    tables.append(group)
    return [_laid(rows, blocks, width) for blocks in tables]


def _block(name: str, summary: Summary, labels: Sequence[str], room: int | None) -> Block:
    """Return the column of a metric, with fewer digits or no intervals where room is short."""
    for digits in (5, 4, 3):
        cells = metric_cells(name, summary, digits=digits)
        whole = cells.whole()
        if room is None or max(map(cell_width, whole)) <= room:
            return _as_block(cells, whole, labels)
    return _as_block(metric_cells(name, summary), cells.values(), labels)


def _as_block(cells: MetricCells, quantiles: Sequence[str], labels: Sequence[str]) -> Block:
    # Numbers stand under the values, not under the ends of intervals.
    value = max(cell_width(v) for v in cells.values())
    others = [f"{cells.rows[label]:>{value}}" for label in labels]
    wide = max(map(cell_width, (*quantiles, *others)))
    texts = [text.ljust(wide + len(text) - cell_width(text)) for text in (*quantiles, *others)]
    return Block(cells.name, tuple(texts), 0, True)


def _laid(rows: Sequence[str], blocks: Sequence[Block], width: int | None) -> list[Text]:
    laid = arrange([Block("", tuple(rows), 0, False), *blocks], width)
    return [Text(laid.titles, "bold"), *(Text(row) for row in laid.rows)]
