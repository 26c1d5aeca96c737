"""The surface of a search in sentences, and what is listed of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sweep.report.table import Table
from sweep.text import MISSING, Column, number, percent
from sweep.validation.regions import Cluster
from sweep.validation.surface import Surface

__all__ = ["cluster_table", "neighbour_table", "sentences", "values_text"]


def sentences(surface: Surface) -> list[str]:
    """Return what the surface says of the winner, in plain sentences."""
    texts = [
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
        texts.append(f"it stands on {what} (plateau score {number(surface.plateau, 2)})")
        if surface.plateau < 0.8 and surface.steady >= 0:
            texts.append(
                f"the best on a plateau is trial {surface.steady}, with "
                f"{number(surface.steady_value, 4)}"
            )
    texts += [
        f"{edge.name} = {number(edge.value, 4)} is at the {edge.side} end of its range, "
        f"{number(edge.low, 4)} to {number(edge.high, 4)}: {edge.advice}"
        for edge in surface.edges
    ]
    if surface.importance:
        shares = sorted(surface.importance.items(), key=lambda item: -item[1])
        text = ", ".join(f"{name} {percent(share)}" for name, share in shares)
        texts.append(f"what decides over the best tenth (PED-ANOVA): {text}")
    groups = [c for c in surface.clusters if c.size > 1]
    if groups:
        share = f"{percent(groups[0].share)} of them"
        if len(groups) == 1:
            regions = f"one region with {share}"
        else:
            regions = f"{len(groups):,} regions, the largest with {share}"
        alone = len(surface.clusters) - len(groups)
        rest = f", and {alone:,} alone" if alone else ""
        texts.append(f"the best {surface.n_good:,} settings lie in {regions}{rest}")
    texts += [f"{what} cannot be said, because {why}" for what, why in surface.reasons.items()]
    return texts


def values_text(params: dict[str, Any]) -> str:
    """Return values on one line, rounded."""
    shown = (f"{k} = {number(v, 4) if isinstance(v, float) else v}" for k, v in params.items())
    return ", ".join(shown)


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
