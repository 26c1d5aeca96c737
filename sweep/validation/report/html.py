"""A verdict and a surface as one HTML page that needs nothing else."""

from __future__ import annotations

import math
import os

from sweep.report.html import html_document, html_table, html_text, whole_table, write_page
from sweep.text import fixed
from sweep.validation.evidence import Claim, Verdict
from sweep.validation.report.surface import cluster_table, neighbour_table, sentences
from sweep.validation.report.text import LEGEND, Report, facts, walk_tables
from sweep.validation.surface import HeatMap, Profile

__all__ = ["page", "write_html"]

#: From the poorest to the best cell: a ramp that colour-blind eyes can read, dark to light.
_RAMP = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
_CELL, _LABEL = 44, 130


def page(report: Report, *, title: str = "Validation") -> str:
    """Return a report as one HTML document.

    Parameters
    ----------
    report : Report
    title : str, optional

    Returns
    -------
    str
        Charts are inline SVG; every pair of parameters has a map.
    """
    verdict, surface = report.verdict, report.surface
    body = [
        f"<h1>{html_text(title)}</h1>",
        f"<p><strong>{html_text(verdict.sentence)}</strong></p>",
    ]
    body.append("<dl>")
    body += [f"<dt>{html_text(k)}</dt><dd>{html_text(v)}</dd>" for k, v in facts(verdict)]
    body += ["</dl>", "<h2>What can be said</h2>"]
    body += [_claim(claim) for claim in verdict.claims]
    body += ["<ul>", *(f"<li>{html_text(note)}</li>" for note in verdict.notes), "</ul>"]
    if report.standings is not None:
        body += [f"<h2>{html_text(report.standings.title)}</h2>", whole_table(report.standings)]
        body.append(f"<p>{html_text(LEGEND)}</p>")
    if report.walk_forward is not None:
        body.append("<h2>Walk-forward</h2>")
        for table in walk_tables(report.walk_forward):
            body += [f"<h3>{html_text(table.title)}</h3>", whole_table(table)]
        notes = (f"<li>{html_text(said)}</li>" for said in report.walk_forward.notes)
        body += ["<ul>", *notes, "</ul>"]
    body.append(f"<h2>The surface of {html_text(surface.objective)}</h2>")
    body += ["<ul>", *(f"<li>{html_text(s)}</li>" for s in sentences(surface)), "</ul>"]
    body += [_profile(profile) for profile in surface.profiles]
    body += [_map(found, surface.direction) for found in surface.maps]
    for table in (cluster_table(surface.clusters), neighbour_table(surface)):
        if table.rows:
            body += [f"<h3>{html_text(table.title)}</h3>", whole_table(table)]
    body += ["<h2>All figures</h2>", _figures(verdict)]
    return html_document(title, body)


def write_html(
    path: str | os.PathLike[str],
    report: Report,
    *,
    title: str = "Validation",
    force: bool = False,
) -> None:
    """Write `page` to a file; see `sweep.report.html.write_page`."""
    write_page(path, page(report, title=title), force=force)


def _claim(claim: Claim) -> str:
    text = f"<h3>{html_text(claim.name)} <small>{html_text(claim.grade)}</small></h3>"
    text += f"<p>{html_text(claim.sentence)}"
    if claim.change:
        text += f'<br><span class="dim">What would change it: {html_text(claim.change)}</span>'
    return text + "</p>"


def _figures(verdict: Verdict) -> str:
    rows = [
        [html_text(claim.name), html_text(name), html_text(f"{value:.10g}")]
        for claim in verdict.claims
        for name, value in claim.figures.items()
    ]
    return html_table(["claim", "figure", "value"], rows, [True, True, False])


def _profile(profile: Profile) -> str:
    medians, bests = (fixed([float(v) for v in part]) for part in (profile.median, profile.best))
    rows = [
        [
            html_text(label) + (" (winner)" if k == profile.winner else ""),
            html_text(medians[k]),
            html_text(bests[k]),
            f"{int(profile.count[k]):,}",
        ]
        for k, label in enumerate(profile.labels)
    ]
    head = [profile.name, "median", "best", "trials"]
    return html_table(head, rows, [True, False, False, False])


# -- heat maps -------------------------------------------------------------------------


def _map(found: HeatMap, direction: str) -> str:
    """Draw the medians of a pair's cells as SVG; each cell says its numbers on hovering."""
    worth = found.median if direction == "maximize" else -found.median
    known = [float(v) for v in worth.ravel() if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    nx, ny = len(found.x_labels), len(found.y_labels)
    width, height = _LABEL + _CELL * nx + 8, _CELL // 2 * ny + 70
    parts = [
        f"<h3>{html_text(found.y)} by {html_text(found.x)}</h3>",
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-size="11" fill="currentColor" role="img">',
    ]
    step = _CELL // 2
    for row, label in enumerate(found.y_labels):
        y = step * row
        parts.append(
            f'<text x="{_LABEL - 6}" y="{y + 15}" text-anchor="end">{html_text(label)}</text>'
        )
        parts += [
            _cell(found, row, column, float(worth[row, column]), low, high, y)
            for column in range(nx)
        ]
    for column, label in enumerate(found.x_labels):
        x = _LABEL + _CELL * column + _CELL // 2
        y = step * ny + 12
        parts.append(
            f'<text x="{x}" y="{y}" text-anchor="end" transform="rotate(-30 {x} {y})">'
            f"{html_text(label)}</text>"
        )
    legend = "<p>Medians: the lighter, the better; no colour: no trial with a value.</p>"
    return "\n".join([*parts, "</svg>", legend])


def _cell(
    found: HeatMap, row: int, column: int, worth: float, low: float, high: float, y: int
) -> str:
    x = _LABEL + _CELL * column
    where = f"{found.x} {found.x_labels[column]}, {found.y} {found.y_labels[row]}"
    count = int(found.count[row, column])
    if not math.isfinite(worth):
        fill, said = "none", f"{where}: no trial with a value"
    else:
        share = (worth - low) / (high - low) if high > low else 1.0
        fill = _RAMP[min(int(share * len(_RAMP)), len(_RAMP) - 1)]
        median, best = fixed([float(found.median[row, column]), float(found.best[row, column])])
        said = f"{where}: median {median}, best {best}, {count:,} trials"
    here = (row, column) == found.winner
    stroke = 'stroke="#e00" stroke-width="3"' if here else 'stroke="#8888" stroke-width="0.5"'
    said += ", the winner" if here else ""
    return (
        f'<rect x="{x}" y="{y}" width="{_CELL - 2}" height="{_CELL // 2 - 2}" fill="{fill}" '
        f"{stroke}><title>{html_text(said)}</title></rect>"
    )
