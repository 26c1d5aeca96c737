"""Findings as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from typing import Any

from sweep.errors import InputError
from sweep.format import MISSING, as_cells, clean, percent
from sweep.mc.ranks import LEVELS
from sweep.output import Table, new_file
from sweep.robustness.finding import Finding
from sweep.robustness.plots import HINT, svg
from sweep.robustness.tables import further_tables, metric_rows, summary_cells
from sweep.robustness.words import facts, figure_rows, metric_cells, sentences, value_with_unit

__all__ = ["page", "write_html"]

_STYLE = """
:root { color-scheme: light dark; --line: #d0d0d0; --dim: #666; --paper: #fff; --ink: #1a1a1a; }
@media (prefers-color-scheme: dark) {
  :root { --line: #444; --dim: #a0a0a0; --paper: #16181c; --ink: #e6e6e6; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem;
  border-top: 1px solid var(--line); padding-top: 1rem; } h3 { font-size: 1rem; }
h1, h2, h3, dd, li, p { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td, th { text-align: right; } td.text, th.text { text-align: left; }
small, .dim { color: var(--dim); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { color: var(--dim); } dd { margin: 0; }
svg { max-width: 100%; height: auto; }
@media print { h2 { break-before: page; } }
""".strip()


def page(findings: Sequence[Finding], *, title: str = "Robustness") -> str:
    """Return findings as one HTML document.

    Parameters
    ----------
    findings : sequence of Finding
    title : str, optional

    Returns
    -------
    str
        UTF-8 is declared. Charts are inline SVG; without matplotlib there are none, and a
        line says so.
    """
    body = [f"<h1>{_text(title)}</h1>"]
    charts, why_not = _charts(findings)
    if why_not:
        body.append(f'<p class="dim">{_text(why_not)}</p>')
    if findings:
        body.append(_summary(findings))
    else:
        body.append("<p>No method was run.</p>")
    for i, (finding, chart) in enumerate(zip(findings, charts, strict=True)):
        body.append(_section(finding, chart, i))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>\n{_STYLE}\n</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def write_html(
    path: str | os.PathLike[str],
    findings: Sequence[Finding],
    *,
    title: str = "Robustness",
    force: bool = False,
) -> None:
    """Write `page` to a file.

    Raises
    ------
    InputError
        If the file exists and ``force`` is not given, or its folder does not.
    SweepError
        If writing fails. No part of a file is left then.
    """
    text = page(findings, title=title)
    with new_file(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _text(value: Any) -> str:
    return escape(clean(str(value)))


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
        [f'<a href="#finding{i}">{_text(row[0])}</a>', *map(_text, row[1:])]
        for i, row in enumerate(rows)
    ]
    return _table(names, linked, texts)


def _section(finding: Finding, chart: str, number: int) -> str:
    title = f"{_text(finding.method)} <small>{_text(finding.title)}</small>"
    parts = [f'<h2 id="finding{number}">{title}</h2>', "<dl>"]
    parts += [f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts(finding)]
    parts += ["</dl>", chart] if chart else ["</dl>"]
    if finding.summaries:
        parts.append(_metrics(finding))
    elif finding.observed:
        rows = [(_text(k), _text(value_with_unit(k, v))) for k, v in finding.observed.items()]
        parts.append(_table(["observed", "value"], rows, [True, False]))
    if finding.figures:
        rows = [(_text(k), _text(v)) for k, v in figure_rows(finding)]
        parts.append(_table(["figure", "value"], rows, [True, False]))
    for table in further_tables(finding):
        parts += [f"<h3>{_text(table.title)}</h3>", _whole(table)]
    said = sentences(finding)
    if said:
        parts += ["<ul>", *(f"<li>{_text(s)}</li>" for s in said), "</ul>"]
    return "\n".join(parts)


def _metrics(finding: Finding) -> str:
    """Return metrics as columns: quantiles with their intervals, then the other rows."""
    columns = [metric_cells(name, s) for name, s in finding.summaries.items()]
    rows = [
        [percent(level), *(_quantile(*c.quantiles[i]) for c in columns)]
        for i, level in enumerate(LEVELS)
    ]
    rows += [[label, *(_text(c.rows[label]) for c in columns)] for label in metric_rows(finding)]
    return _table(["", *finding.summaries], rows, [True] + [False] * len(columns))


def _quantile(value: str, low: str, high: str) -> str:
    if {low, high} == {MISSING}:
        return _text(value)
    return f"{_text(value)} <small>[{_text(low)}, {_text(high)}]</small>"


def _whole(table: Table) -> str:
    columns = table.columns
    cells = [as_cells(c.kind, [row[i] for row in table.rows]) for i, c in enumerate(columns)]
    rows = [list(map(_text, row)) for row in zip(*cells, strict=True)]
    return _table([c.name for c in columns], rows, [c.kind == "text" for c in columns])


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[bool]) -> str:
    """Return a table of cells that are escaped already, under names that are not."""
    kinds = [' class="text"' if text else "" for text in texts]
    head = "".join(f"<th{k}>{_text(n)}</th>" for k, n in zip(kinds, names, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{k}>{c}</td>" for k, c in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    ]
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )
