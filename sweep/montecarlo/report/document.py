"""Findings and comparisons as the parts of a document: what is said of them, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

from sweep.montecarlo.compare import Comparison
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.charts import chart_lines
from sweep.montecarlo.report.plots import svg
from sweep.montecarlo.report.tables import further_tables, summary_cells
from sweep.montecarlo.report.text import (
    error_text,
    facts,
    figure_rows,
    main_metric,
    metric_cells,
    metric_texts,
    plus_minus,
    sentences,
    value_with_unit,
)
from sweep.report.document import Chart, Facts, Grid, Heading, Paragraph, Part, TextColumn
from sweep.stats.summary import Summary
from sweep.text import MISSING, counted, is_missing, percent

__all__ = ["comparison_parts", "finding_parts", "page_parts", "screen_parts", "summary_parts"]

#: Rows of metrics that are left out where no metric has them.
_OPTIONAL = ("observed", "rank", "p-value")


def screen_parts(findings: Sequence[Finding], comparisons: Sequence[Comparison]) -> list[Part]:
    """Return all findings, then what they come to, which a terminal shows last."""
    parts = [part for finding in findings for part in finding_parts(finding)]
    parts += comparison_parts(comparisons)
    return parts + (summary_parts(findings) if len(findings) > 1 else [])


def page_parts(findings: Sequence[Finding], comparisons: Sequence[Comparison]) -> list[Part]:
    """Return what all findings come to, with links to each."""
    if not findings:
        return [Paragraph(("No method was run.",))]
    anchors = [f"finding{i}" for i in range(len(findings))]
    parts = [*summary_parts(findings, anchors), *comparison_parts(comparisons)]
    for finding, anchor in zip(findings, anchors, strict=True):
        parts += finding_parts(finding, anchor)
    return parts


def finding_parts(finding: Finding, anchor: str = "") -> list[Part]:
    """Return one finding in full."""
    parts: list[Part] = [
        Heading(finding.method, finding.title, anchor=anchor),
        Facts(tuple(facts(finding))),
        Chart(partial(chart_lines, finding), lambda prefix: svg(finding, prefix=prefix)),
    ]
    if finding.summaries:
        parts.append(_metrics(finding))
    elif finding.observed:
        rows = [(name, value_with_unit(name, v)) for name, v in finding.observed.items()]
        parts.append(_pairs("observed", rows))
    if finding.figures:
        parts.append(_pairs("figure", figure_rows(finding)))
    parts += [table.grid("-f json has all") for table in further_tables(finding)]
    return [*parts, Paragraph(tuple(sentences(finding)), items=True)]


def _pairs(head: str, rows: Sequence[tuple[str, str]]) -> Grid:
    names, values = zip(*rows, strict=True)
    return Grid((TextColumn(head, names, 0, right=False), TextColumn("value", values, 0)))


def _metrics(finding: Finding) -> Grid:
    """Return metrics as columns: quantiles with their intervals, then the other rows."""
    cells = [metric_cells(name, s) for name, s in finding.summaries.items()]
    labels = tuple(
        label
        for label in cells[0]
        if label not in _OPTIONAL or any(c[label][0] != MISSING for c in cells)
    )
    first = TextColumn("", labels, 0, right=False)
    columns = (_metric(name, s, labels) for name, s in finding.summaries.items())
    return Grid((first, *columns), split=True)


def _metric(name: str, summary: Summary, labels: Sequence[str]) -> TextColumn:
    """Return the column of a metric: with fewer digits, or no intervals, where room is short."""
    narrower = None
    for digits, intervals in ((5, False), (3, True), (4, True), (5, True)):
        cells = metric_cells(name, summary, digits=digits)
        texts, notes = zip(*(cells[label] for label in labels), strict=True)
        if not intervals:
            notes = tuple("" if note.startswith("[") else note for note in notes)
        narrower = TextColumn(name, texts, 0, notes=notes, narrower=narrower)
    assert narrower is not None
    return narrower


# -- summary ---------------------------------------------------------------------------


def summary_parts(findings: Sequence[Finding], anchors: Sequence[str] = ()) -> list[Part]:
    """Return one row for each method and variant, with the reasons for what is missing below."""
    table, cells = summary_cells(findings)
    names = set(map(main_metric, findings))
    if findings and names == {None}:
        text = "no summary, because no method has paths to sum up; each one says why"
        return [Paragraph((text,), "dim")]
    columns = tuple(
        TextColumn(
            column.name,
            texts,
            # Without the metric's name, numbers of several metrics could not be told apart.
            0 if len(names) > 1 and column.name == "metric" else column.priority,
            column.kind != "text",
            links=tuple(anchors) if column.name == "method" else (),
        )
        for column, texts in zip(table.columns[:-1], cells, strict=True)
    )
    variants: dict[str, list[str]] = {}
    for row in table.rows:
        if row[-1] is not None:
            variants.setdefault(row[-1], []).append(f"{row[0]}, {row[1]}")
    notes = (
        f"{rows[0]}{f' and {len(rows) - 1} more' if len(rows) > 1 else ''}: {reason}"
        for reason, rows in variants.items()
    )
    return [Grid(columns, notes=tuple(notes))]


# -- comparisons -----------------------------------------------------------------------


def comparison_parts(comparisons: Sequence[Comparison]) -> list[Part]:
    """Return a table for each method, and what it says.

    Parameters
    ----------
    comparisons : sequence of Comparison
        See `sweep.montecarlo.compare.comparisons_of`.
    """
    parts: list[Part] = []
    for _, group in groupby(comparisons, lambda c: c.method):
        some = list(group)
        parts += [_comparison_grid(some), Paragraph(tuple(_comparison_texts(some)), items=True)]
    return parts


def _comparison_grid(some: Sequence[Comparison]) -> Grid:
    head = some[0]
    title = f"{head.method}: {head.first} less others, {counted(head.n_paths, 'path')} in common"
    names = ("less", "of", "observed", "difference", "90%", "first better", "equal")
    priorities = (0, 0, 4, 0, 1, 2, 3)
    rows = [_comparison_cells(c) for c in some]
    columns = []
    for i, (name, priority) in enumerate(zip(names, priorities, strict=True)):
        texts, notes = zip(*(row[i] for row in rows), strict=True)
        columns.append(TextColumn(name, texts, priority, i > 1, notes=notes if any(notes) else ()))
    return Grid(tuple(columns), title, "-f json has all")


def _comparison_cells(c: Comparison) -> tuple[tuple[str, str], ...]:
    """Return values with their errors."""
    observed, difference, low, high = metric_texts(
        c.metric, [c.observed, c.difference, c.low, c.high]
    )
    better_error = MISSING if is_missing(c.better) else percent(c.better_error, 1)
    return (
        (c.other, ""),
        (c.metric, ""),
        (observed, ""),
        (difference, plus_minus(error_text(c.metric, c.error))),
        (MISSING if is_missing(c.low) else f"[{low}, {high}]", ""),
        (percent(c.better, 1), plus_minus(better_error)),
        (percent(c.equal, 1), ""),
    )


def _comparison_texts(some: Sequence[Comparison]) -> list[str]:
    head = some[0]
    texts = [
        f"differences are {head.first} less the other one on the same path; +/- is the error of "
        f"having drawn {counted(head.n_paths, 'path')} (Monte Carlo error), which more paths make "
        f"smaller"
    ]
    kinds = dict.fromkeys(c.interval for c in some if c.interval is not None)
    if kinds:
        texts.append(
            f"[ ] is the 90% interval of the difference ({', '.join(kinds)}): the error of having "
            f"seen these sessions and no others (sampling error), which more paths do not make "
            f"smaller; it is each one's own, and does not allow for variants having been chosen "
            f"on these sessions"
        )
    texts += [_verdict(c) for c in some if not is_missing(c.low)]
    texts += [
        f"{c.metric} has no finite value on {counted(c.n_without, 'path')} for {c.first} or "
        f"{c.other}: not in the mean; the one without any is the worse there"
        for c in some
        if c.n_without
    ]
    reasons: dict[str, list[str]] = {}
    for c in some:
        if c.reason is not None:
            reasons.setdefault(c.reason, []).append(f"{c.other}, {c.metric}")
    texts += [
        f"{reason} ({'all' if len(who) == len(some) else '; '.join(who)})"
        for reason, who in reasons.items()
    ]
    return texts


def _verdict(c: Comparison) -> str:
    what = f"by {c.metric}"
    if c.low <= 0.0 <= c.high:
        return f"{what}, these sessions cannot tell {c.first} from {c.other}: the interval holds 0"
    better = (c.low > 0.0) == c.higher
    which, than = (c.first, c.other) if better else (c.other, c.first)
    return f"{what}, {which} is better than {than}: the interval does not hold 0"
