"""A verdict, the folds and the surface of a search as the parts of a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from sweep.report.document import (
    Facts,
    Grid,
    Heading,
    Paragraph,
    Part,
    ShadedCells,
    TextColumn,
)
from sweep.text import cell_width, counted, fixed, pad
from sweep.validation.evidence import LUCK, STRONG, UNKNOWN, WEAK, Claim, Verdict
from sweep.validation.report.surface import cluster_table, neighbour_table, sentences
from sweep.validation.report.text import Report, facts
from sweep.validation.report.walkforward import walk_tables
from sweep.validation.surface import HeatMap, Profile, Surface

__all__ = ["map_part", "profile_part", "report_parts", "surface_parts", "verdict_parts"]

_STYLES = {STRONG: "green", WEAK: "yellow", LUCK: "red", UNKNOWN: "dim"}
_LEGEND = (
    "p: that the setting earns no more than nothing, adjusted for all of them (StepM); ratio: its "
    "Sharpe ratio a year, of session returns; alike: whether it cannot be told from the best by "
    "mean profit"
)
_HINT = "-f json has all"
#: What a screen shows where a page shows all.
_FIRST_SETTINGS = 10
_FIRST_MAPS = 3
_FIRST_CLUSTERS = 5
#: Lengths of the longest bar, where the width is short the lesser ones.
_BARS = (24, 16, 8, 4)


def report_parts(report: Report, *, in_full: bool = False) -> list[Part]:
    """Return the verdict, the walk-forward where there is one, and the surface.

    Parameters
    ----------
    report : Report
    in_full : bool, optional
        Whether all settings, maps and figures are wanted, as on a page, or the first ones.
    """
    parts = verdict_parts(report.verdict)
    if report.standings is not None:
        table = report.standings
        if not in_full:
            table = replace(table, rows=table.rows[:_FIRST_SETTINGS])
        grid = table.grid("--csv FILE has all settings and columns")
        parts.append(replace(grid, notes=(_LEGEND,)))
    if report.walk_forward is not None:
        parts.append(Heading("walk-forward"))
        parts += [table.grid(_HINT) for table in walk_tables(report.walk_forward)]
        parts.append(Paragraph(tuple(report.walk_forward.notes), items=True))
    parts += surface_parts(report.surface, in_full=in_full)
    return [*parts, _figures(report.verdict)] if in_full else parts


# -- verdict ---------------------------------------------------------------------------


def verdict_parts(verdict: Verdict) -> list[Part]:
    """Return the one sentence first, then each claim with what would change it."""
    parts: list[Part] = [
        Paragraph((verdict.sentence,), f"bold {_STYLES[verdict.grade]}"),
        Facts(tuple(facts(verdict))),
    ]
    for _, alike in groupby(verdict.claims, key=lambda c: (c.grade, c.sentence, c.change)):
        parts += _claim(list(alike))
    return [*parts, Paragraph(tuple(verdict.notes), items=True)]


def _claim(alike: Sequence[Claim]) -> list[Part]:
    """Return claims that say the same, as those that lack the same data do, as one."""
    claim = alike[0]
    names = ", ".join(c.name for c in alike)
    parts: list[Part] = [
        Heading(names, claim.grade, level=3, note_style=_STYLES[claim.grade]),
        Paragraph((claim.sentence,), indent=2),
    ]
    if claim.change:
        parts.append(Paragraph((f"what would change it: {claim.change}",), "dim", indent=2))
    return parts


def _figures(verdict: Verdict) -> Grid:
    rows = [
        (claim.name, name, f"{value:.10g}")
        for claim in verdict.claims
        for name, value in claim.figures.items()
    ]
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    heads = zip(("claim", "figure", "value"), columns, (False, False, True), strict=True)
    shown = (TextColumn(title, texts, right=right) for title, texts, right in heads)
    return Grid(tuple(shown), "all figures")


# -- surface ---------------------------------------------------------------------------


def surface_parts(surface: Surface, *, in_full: bool = False) -> list[Part]:
    """Return sentences, a profile for each parameter, maps of pairs, clusters, neighbours."""
    title = f"the surface of {surface.objective}, from {counted(surface.n_trials, 'setting')}"
    parts: list[Part] = [Heading(title), Paragraph(tuple(sentences(surface)), items=True)]
    parts += map(profile_part, surface.profiles)
    maps = surface.maps if in_full else surface.maps[:_FIRST_MAPS]
    parts += [map_part(heat_map, surface.direction) for heat_map in maps]
    if len(maps) < len(surface.maps):
        more = len(surface.maps) - len(maps)
        parts.append(Paragraph((f"{more} more pairs: -f json and --html have all",), "dim"))
    clusters = surface.clusters if in_full else surface.clusters[:_FIRST_CLUSTERS]
    tables = (cluster_table(clusters), neighbour_table(surface))
    return [*parts, *(table.grid(_HINT) for table in tables if table.rows)]


def profile_part(profile: Profile) -> Grid:
    """Return the median of each cell with the best and the count, and a bar from 0."""
    width = max(map(cell_width, profile.labels), default=0)
    marks = ["> " if k == profile.winner else "  " for k in range(len(profile.labels))]
    labels = (m + pad(t, width, right=True) for m, t in zip(marks, profile.labels, strict=True))
    columns = (
        TextColumn(profile.name, tuple(labels), 0, right=False),
        TextColumn("median", tuple(fixed([float(v) for v in profile.median], 4)), 0),
        TextColumn("best", tuple(fixed([float(v) for v in profile.best], 4)), 0),
        TextColumn("trials", tuple(f"{n:,}" for n in profile.count.tolist()), 1),
        _bars([float(v) for v in profile.median]),
    )
    winner = tuple("bold" if k == profile.winner else "" for k in range(len(profile.labels)))
    return Grid(columns, hint=_HINT, row_styles=winner)


def _bars(values: Sequence[float]) -> TextColumn:
    """Return bars to the left of 0 and to its right, which have strokes of their own."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0) or 1.0
    bars = TextColumn("", ("",) * len(values), 9)
    for longest in reversed(_BARS):
        lengths = [round(longest * v / largest) if math.isfinite(v) else 0 for v in values]
        left = max(0, -min(lengths, default=0))
        texts = tuple(f"{'░' * -n:>{left}}{'█' * n}" if n else "" for n in lengths)
        bars = TextColumn("", texts, 9, right=False, whole=True, style="cyan", narrower=bars)
    return bars


def map_part(heat_map: HeatMap, direction: str) -> ShadedCells:
    """Return the medians of a pair's cells, the better the higher their share."""
    worth = heat_map.median if direction == "maximize" else -heat_map.median
    finite = worth[np.isfinite(worth)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    ends = [low, high] if direction == "maximize" else [-low, -high]
    poorest, best = fixed(ends, 4)

    def share(value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return (value - low) / (high - low) if high > low else 1.0

    return ShadedCells(
        "median",
        heat_map.x,
        heat_map.y,
        heat_map.x_labels,
        heat_map.y_labels,
        tuple(tuple(map(share, row)) for row in worth.tolist()),
        tuple(
            tuple(_cell_text(heat_map, row, column) for column in range(len(heat_map.x_labels)))
            for row in range(len(heat_map.y_labels))
        ),
        poorest,
        best,
        heat_map.winner,
    )


def _cell_text(heat_map: HeatMap, row: int, column: int) -> str:
    where = f"{heat_map.x} {heat_map.x_labels[column]}, {heat_map.y} {heat_map.y_labels[row]}"
    if not math.isfinite(float(heat_map.median[row, column])):
        return f"{where}: no trial with a value"
    median, best = fixed([float(heat_map.median[row, column]), float(heat_map.best[row, column])])
    n_trials = counted(int(heat_map.count[row, column]), "trial")
    text = f"{where}: median {median}, best {best}, {n_trials}"
    return text + (", the winner" if (row, column) == heat_map.winner else "")
