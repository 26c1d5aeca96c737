"""Findings as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sweep.errors import InputError
from sweep.montecarlo.compare import Comparison
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.compared import Compared, compared
from sweep.montecarlo.report.plots import HINT, svg
from sweep.montecarlo.report.tables import further_tables, metric_rows, summary_cells
from sweep.montecarlo.report.text import (
    facts,
    figure_rows,
    metric_cells,
    sentences,
    value_with_unit,
)
from sweep.report.html import html_document, html_table, html_text, whole_table, write_page
from sweep.stats.quantiles import LEVELS
from sweep.text import MISSING, percent

__all__ = ["page", "write_html"]


def page(
    findings: Sequence[Finding],
    *,
    comparisons: Sequence[Comparison] = (),
    title: str = "Robustness",
) -> str:
    """Return findings as one HTML document.

    Parameters
    ----------
    findings : sequence of Finding
    comparisons : sequence of Comparison, optional
        See `sweep.montecarlo.compare.comparisons_of`.
    title : str, optional

    Returns
    -------
    str
        UTF-8 is declared. Charts are inline SVG; without matplotlib there are none, and a
        line says so.
    """
    body = [f"<h1>{html_text(title)}</h1>"]
    charts, why_not = _charts(findings)
    if why_not:
        body.append(f'<p class="dim">{html_text(why_not)}</p>')
    if findings:
        body += [_summary(findings), *map(_compared, compared(comparisons))]
    else:
        body.append("<p>No method was run.</p>")
    for i, (finding, chart) in enumerate(zip(findings, charts, strict=True)):
        body.append(_section(finding, chart, i))
    return html_document(title, body)


def write_html(
    path: str | os.PathLike[str],
    findings: Sequence[Finding],
    *,
    comparisons: Sequence[Comparison] = (),
    title: str = "Robustness",
    force: bool = False,
) -> None:
    """Write `page` to a file; see `sweep.report.html.write_page`."""
    write_page(path, page(findings, comparisons=comparisons, title=title), force=force)


def _charts(findings: Sequence[Finding]) -> tuple[list[str], str]:
    """Return a chart for each finding, or empty ones and why there are none."""
    try:
        return [svg(f, prefix=f"chart{i}-") for i, f in enumerate(findings)], ""
    except InputError:
        return [""] * len(findings), f"Without charts: matplotlib is not installed ({HINT})."


def _summary(findings: Sequence[Finding]) -> str:
    table, cells = summary_cells(findings)
    names = [c.name for c in table.columns[:-1]]
    texts = [c.kind == "text" for c in table.columns[:-1]]
    rows = list(zip(*cells, strict=True))
    linked = [
        [f'<a href="#finding{i}">{html_text(row[0])}</a>', *map(html_text, row[1:])]
        for i, row in enumerate(rows)
    ]
    return html_table(names, linked, texts)


def _compared(part: Compared) -> str:
    rows = [[html_text(cell) for cell in row] for row in part.rows]
    said = [f"<li>{html_text(sentence)}</li>" for sentence in part.sentences]
    table = html_table(part.names, rows, [k < 2 for k in range(len(part.names))])
    return "\n".join([f"<h3>{html_text(part.title)}</h3>", table, "<ul>", *said, "</ul>"])


def _section(finding: Finding, chart: str, number: int) -> str:
    title = f"{html_text(finding.method)} <small>{html_text(finding.title)}</small>"
    parts = [f'<h2 id="finding{number}">{title}</h2>', "<dl>"]
    parts += [f"<dt>{html_text(k)}</dt><dd>{html_text(v)}</dd>" for k, v in facts(finding)]
    parts += ["</dl>", chart] if chart else ["</dl>"]
    if finding.summaries:
        parts.append(_metrics(finding))
    elif finding.observed:
        rows = [
            (html_text(k), html_text(value_with_unit(k, v))) for k, v in finding.observed.items()
        ]
        parts.append(html_table(["observed", "value"], rows, [True, False]))
    if finding.figures:
        rows = [(html_text(k), html_text(v)) for k, v in figure_rows(finding)]
        parts.append(html_table(["figure", "value"], rows, [True, False]))
    for table in further_tables(finding):
        parts += [f"<h3>{html_text(table.title)}</h3>", whole_table(table)]
    said = sentences(finding)
    if said:
        parts += ["<ul>", *(f"<li>{html_text(s)}</li>" for s in said), "</ul>"]
    return "\n".join(parts)


def _metrics(finding: Finding) -> str:
    """Return metrics as columns: quantiles with their intervals, then the other rows."""
    columns = [metric_cells(name, s) for name, s in finding.summaries.items()]
    rows = [
        [percent(level), *(_quantile(*c.quantiles[i]) for c in columns)]
        for i, level in enumerate(LEVELS)
    ]
    rows += [
        [label, *(html_text(c.rows[label]) for c in columns)] for label in metric_rows(finding)
    ]
    return html_table(["", *finding.summaries], rows, [True] + [False] * len(columns))


def _quantile(value: str, low: str, high: str) -> str:
    if {low, high} == {MISSING}:
        return html_text(value)
    return f"{html_text(value)} <small>[{html_text(low)}, {html_text(high)}]</small>"
