"""The surface of a search as lines for a screen: bars, heat maps, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.text import Text

from sweep.report.table import Table, table_lines, wrapped
from sweep.text import MISSING, Column, cell_width, clip, elide, fixed, number, pad, percent
from sweep.validation.regions import Cluster
from sweep.validation.surface import HeatMap, Profile, Surface

__all__ = [
    "cluster_table",
    "map_lines",
    "neighbour_table",
    "profile_lines",
    "sentences",
    "surface_lines",
    "values_text",
]

_MOST_MAPS = 3
_MOST_CLUSTERS = 5
_WIDEST = 100
_BAR = 24
_SHADES, _ASCII_SHADES = " ░▒▓█", " .:*#"


def surface_lines(surface: Surface, width: int | None, *, ascii_only: bool = False) -> list[Text]:
    """Draw a surface.

    Parameters
    ----------
    surface : Surface
    width : int or None
        Columns that no line exceeds; None: 100.
    ascii_only : bool, optional
        See `sweep.montecarlo.report.charts.needs_ascii`.

    Returns
    -------
    list of Text
        Sentences, a profile for each parameter, maps of the most important pairs, clusters,
        neighbours.
    """
    wide = min(width or _WIDEST, _WIDEST)
    title = f"the surface of {surface.objective}, from {surface.n_trials:,} settings"
    lines = [Text(clip(title, wide), "bold")]
    for sentence in sentences(surface):
        lines += wrapped(sentence, wide, first="- ")
    for profile in surface.profiles:
        lines += [Text(), *profile_lines(profile, wide, ascii_only=ascii_only)]
    for found in surface.maps[:_MOST_MAPS]:
        lines += [Text(), *map_lines(found, surface.direction, wide, ascii_only=ascii_only)]
    left = len(surface.maps) - _MOST_MAPS
    if left > 0:
        lines += wrapped(f"{left} more pairs: -f json and --html have all", wide, "dim")
    if surface.clusters:
        lines += [Text(), *_table(cluster_table(surface.clusters[:_MOST_CLUSTERS]), wide)]
    if surface.neighbours:
        lines += [Text(), *_table(neighbour_table(surface), wide)]
    for line in lines:
        line.truncate(wide, overflow="ellipsis")
        line.rstrip()
        if ascii_only:
            line.plain = line.plain.replace("…", "~").encode("ascii", "replace").decode("ascii")
    return lines


def sentences(surface: Surface) -> list[str]:
    """Return what the surface says of the winner, in plain sentences."""
    found = [
        f"the best is trial {surface.trial}: {surface.objective} = {number(surface.value, 4)} at "
        f"{values_text(surface.params)}"
    ]
    if not math.isnan(surface.plateau):
        if surface.plateau >= 0.8:
            what = "a plateau: the settings around it are about as good"
        elif surface.plateau >= 0.5:
            what = "a slope: the settings around it keep part of what it gains"
        else:
            what = "a peak: the settings around it lose most of what it gains"
        found.append(f"it stands on {what} (plateau score {number(surface.plateau, 2)})")
        if surface.plateau < 0.8 and surface.steady >= 0:
            found.append(
                f"the best on a plateau is trial {surface.steady}, with "
                f"{number(surface.steady_value, 4)}"
            )
    found += [
        f"{edge.name} = {number(edge.value, 4)} is at the {edge.side} end of its range, "
        f"{number(edge.low, 4)} to {number(edge.high, 4)}: {edge.advice}"
        for edge in surface.edges
    ]
    if surface.importance:
        shares = sorted(surface.importance.items(), key=lambda item: -item[1])
        text = ", ".join(f"{name} {percent(share)}" for name, share in shares)
        found.append(f"what decides over the best tenth (PED-ANOVA): {text}")
    groups = [c for c in surface.clusters if c.size > 1]
    if groups:
        share = f"{percent(groups[0].share)} of them"
        if len(groups) == 1:
            whole = f"one region with {share}"
        else:
            whole = f"{len(groups):,} regions, the largest with {share}"
        alone = len(surface.clusters) - len(groups)
        rest = f", and {alone:,} alone" if alone else ""
        found.append(f"the best {surface.n_good:,} settings lie in {whole}{rest}")
    found += [f"{what} cannot be said, because {why}" for what, why in surface.reasons.items()]
    return found


def values_text(params: dict[str, Any]) -> str:
    """Return values on one line, rounded."""
    shown = (f"{k} = {number(v, 4) if isinstance(v, float) else v}" for k, v in params.items())
    return ", ".join(shown)


# -- profiles --------------------------------------------------------------------------


def profile_lines(profile: Profile, width: int, *, ascii_only: bool = False) -> list[Text]:
    """Draw the median of each cell as a bar from 0, the best and the count beside it.

    Bars of medians below 0 have a stroke of their own, which needs no colour to be told.
    """
    above, below = ("#", "-") if ascii_only else ("█", "░")
    medians = fixed([float(v) for v in profile.median], 4)
    bests = fixed([float(v) for v in profile.best], 4)
    counts = [f"{n:,}" for n in profile.count.tolist()]
    label = min(max(cell_width(t) for t in (*profile.labels, profile.name)), max(width // 4, 8))
    wide = [max(map(cell_width, (*c, t))) for c, t in ((medians, "median"), (bests, "best"))]
    many = max(map(len, (*counts, "trials")))
    room = min(width - label - sum(wide) - many - 10, _BAR)
    known = profile.median[np.isfinite(profile.median)]
    largest = float(np.abs(known).max()) if len(known) else 0.0
    head = "  ".join(
        [
            pad(elide(profile.name, label), label, right=False),
            pad("median", wide[0], right=True),
            pad("best", wide[1], right=True),
            pad("trials", many, right=True),
        ]
    )
    lines = [Text("  " + head, "bold")]
    for k, name in enumerate(profile.labels):
        mark = "> " if k == profile.winner else "  "
        cells = [
            pad(elide(name, label), label, right=True),
            pad(medians[k], wide[0], right=True),
            pad(bests[k], wide[1], right=True),
            pad(counts[k], many, right=True),
        ]
        line = Text(mark + "  ".join(cells))
        value = float(profile.median[k])
        if room >= 4 and largest > 0.0 and math.isfinite(value):
            length = round(room * abs(value) / largest)
            if value >= 0.0:
                line.append("  " + above * length, "cyan")
            else:
                line.append("  " + below * length, "red")
        if k == profile.winner:
            line.stylize("bold", 0, 2)
        lines.append(line)
    return lines


# -- heat maps -------------------------------------------------------------------------


def map_lines(
    found: HeatMap, direction: str, width: int, *, ascii_only: bool = False
) -> list[Text]:
    """Shade the medians of a pair's cells; the winner's is marked, cells without trials are dots.

    Darker is better. Shades are fifths of the range from the poorest to the best cell.
    """
    shades = _ASCII_SHADES if ascii_only else _SHADES
    label = min(max(cell_width(t) for t in (*found.y_labels, found.y)), max(width // 4, 8))
    cell = min(max((width - label - 3) // max(len(found.x_labels), 1), 1), 6)
    worth = found.median if direction == "maximize" else -found.median
    known = worth[np.isfinite(worth)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    ends = [low, high] if direction == "maximize" else [-low, -high]
    poorest, best = fixed(ends, 4)
    shaded = f"median, {shades[1]} {poorest} to {shades[4]} {best}"
    title = f"{found.y} (down) by {found.x} (across): {shaded}"
    lines = [Text(clip(title, width), "bold")]
    for row, name in enumerate(found.y_labels):
        line = Text(pad(elide(name, label), label, right=True) + " ")
        for column in range(len(found.x_labels)):
            value = float(worth[row, column])
            if math.isfinite(value):
                step = (value - low) / (high - low) if high > low else 1.0
                text = shades[1 + min(int(4.0 * step), 3)] * cell
            else:
                text = "·".center(cell) if not ascii_only else "-".center(cell)
            if (row, column) == found.winner:
                place = cell // 2
                text = text[:place] + "X" + text[place + 1 :]
            line.append(text, "bold yellow" if (row, column) == found.winner else "cyan")
        lines.append(line)
    lines.append(Text(" " * (label + 1) + _under(found.x_labels, cell, width - label - 1), "dim"))
    return lines


def _under(labels: Sequence[str], cell: int, room: int) -> str:
    """Return the first and the last label below their cells."""
    if not labels:
        return ""
    last = labels[-1] if len(labels) > 1 else ""
    whole = min(cell * len(labels), room)
    gap = whole - cell_width(labels[0]) - cell_width(last)
    if gap < 1:
        return clip(f"{labels[0]} .. {last}", room)
    return labels[0] + " " * gap + last


# -- tables ----------------------------------------------------------------------------


def cluster_table(clusters: Sequence[Cluster]) -> Table:
    """Return clusters of good settings, one a row."""
    names = list(dict.fromkeys(name for c in clusters for name in c.ranges))
    columns = (
        Column("settings", "count", priority=0),
        Column("winner", "boolean", priority=3),
        Column("best", "number", priority=1),
        Column("median", "number", priority=2),
        Column("trial", "integer", priority=4),
        *(Column(name, "text", priority=1) for name in names),
    )
    rows = [
        (c.size, c.winner, c.best, c.median, c.trial, *(_range(c.ranges.get(n)) for n in names))
        for c in clusters
    ]
    return Table(columns, rows, "regions of good settings")


def _table(table: Table, width: int) -> list[Text]:
    return table_lines(table, width, hint="-f json has all")


def _range(ends: tuple[Any, ...] | None) -> str:
    if ends is None:
        return MISSING
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in ends) and len(ends) == 2:
        low, high = (number(float(v), 4) for v in ends)
        return low if low == high else f"{low} to {high}"
    return ", ".join(map(str, ends))


def neighbour_table(surface: Surface) -> Table:
    """Return the winner's neighbours, the nearest first."""
    names = list(dict.fromkeys(name for n in surface.neighbours for name in n.params))
    columns = (
        Column("trial", "integer", priority=0),
        Column("distance", "number", priority=2),
        Column("value", "number", priority=1),
        *(Column(name, "text", priority=1) for name in names),
    )
    rows = [
        (n.trial, n.distance, n.value, *(_value(n.params.get(name)) for name in names))
        for n in surface.neighbours
    ]
    return Table(columns, rows, "the winner's neighbours")


def _value(value: Any) -> str:
    if value is None:
        return MISSING
    return number(value, 4) if isinstance(value, float) else str(value)
