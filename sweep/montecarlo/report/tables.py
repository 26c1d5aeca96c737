"""Findings and comparisons as tables and as JSON, for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan, nan
from typing import Any

import numpy as np

from sweep.montecarlo.compare import Comparison
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.text import error_text, main_metric, metric_texts
from sweep.report.table import Table
from sweep.stats.functionals import Functional, plain
from sweep.text import MISSING, Column, as_cells, kind_of, metric_column

__all__ = [
    "findings_document",
    "further_tables",
    "paths_table",
    "robustness_table",
    "summary_cells",
    "summary_with_comparisons",
]

#: Metrics whose sign says whether a path lost, the surest first.
_LOSSES = ("net_profit", "total_return", "expectancy", "sharpe")
#: Columns whose numbers are in the unit of the metric.
_OF_METRIC = ("observed", "mean", "q05", "q50", "q95")
_LEVELS = (0.05, 0.5, 0.95)
#: Columns of `summary_with_comparisons` after those of the summary.
_BESIDE = (
    Column("against", "text"),
    *(
        Column(name)
        for name in (
            *("difference", "difference_error", "difference_low_90", "difference_high_90"),
            *("against_better", "against_better_error"),
        )
    ),
)


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
        head = [finding.method, finding.variant, finding.n_paths, *[None] * 7]
        reason = "; ".join(finding.notes) or None
        return [*head, lost, *[None] * 4, *_block_cells(finding), finding.seed, reason]
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


def summary_with_comparisons(
    findings: Sequence[Finding], comparisons: Sequence[Comparison]
) -> Table:
    """Return `robustness_table` with what each variant's net profit has been compared with.

    ``difference`` is the variant ``against`` less the row's own, ``against_better`` the share
    of paths on which the former is better; see `sweep.montecarlo.compare.Comparison`.
    """
    table = robustness_table(findings)
    by_variant = {(c.method, c.other): c for c in comparisons if c.metric == "net_profit"}
    rows: list[list[Any]] = []
    for finding, row in zip(findings, table.rows, strict=True):
        c = by_variant.get((finding.method, finding.variant))
        numbers: list[Any] = [None] * len(_BESIDE)
        if c is not None:
            numbers = [c.first, c.difference, c.error, c.low, c.high, c.better, c.better_error]
        rows.append([*row, *numbers])
    return Table((*table.columns, *_BESIDE), rows)


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
            texts = metric_texts(name, [nan if values[k] is None else values[k] for k in rows])
            for k, text in zip(rows, texts, strict=True):
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
    tables = []
    for title, (names, rows) in finding.tables.items():
        columns = tuple(_column(n, [row[i] for row in rows]) for i, n in enumerate(names))
        tables.append(Table(columns, rows, title))
    return tables


def _column(name: str, values: Sequence[Any]) -> Column:
    kind = kind_of(values)
    metric = metric_column(name)
    if kind in ("number", "integer") and metric.kind != "number":
        return Column(name, metric.kind, "", metric.priority)
    return Column(name, kind)


def findings_document(
    findings: Sequence[Finding], comparisons: Sequence[Comparison] = ()
) -> dict[str, Any]:
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
    document = finding.to_dict()
    for part in ("observed", "summaries", "figures"):
        document[part] = {metric_column(name).key: value for name, value in document[part].items()}
    document["curves"] = {name: plain(np.asarray(c)) for name, c in finding.curves.items()}
    return document
