"""A verdict and a surface as a table, as JSON, and as lines for a screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from rich.text import Text

from sweep.report.table import Table, table_lines, wrapped
from sweep.text import Column, cell_width, number
from sweep.validation.evidence import LUCK, STRONG, UNKNOWN, WEAK, Claim, Verdict
from sweep.validation.report.surface import surface_lines
from sweep.validation.report.walkforward import paths_table, walk_forward_table, wander_table
from sweep.validation.surface import Surface
from sweep.validation.walkforward.result import WalkForwardResult

__all__ = [
    "LEGEND",
    "Report",
    "claims_table",
    "document",
    "facts",
    "report_lines",
    "verdict_lines",
    "walk_tables",
]

_STYLES = {STRONG: "green", WEAK: "yellow", LUCK: "red", UNKNOWN: "dim"}
_WIDEST = 100
#: Settings that a screen shows.
_FIRST = 10

LEGEND = (
    "p: that the setting earns no more than nothing, adjusted for all of them (StepM); ratio: its "
    "Sharpe ratio a year, of session returns; alike: whether it cannot be told from the best by "
    "mean profit"
)


@dataclass(frozen=True)
class Report:
    """All that is shown of a study's validation.

    Attributes
    ----------
    verdict : Verdict
    surface : Surface
    walk_forward : WalkForwardResult or None
    standings : Table or None
        Settings with what the tests say of each, from the best on.
    """

    verdict: Verdict
    surface: Surface
    walk_forward: WalkForwardResult | None = None
    standings: Table | None = None


def claims_table(verdict: Verdict) -> Table:
    """Return one row for each claim; ``p`` is missing where a claim is no test."""
    columns = (
        Column("claim", "text", priority=0),
        Column("grade", "text", priority=0),
        Column("p", "number", priority=1),
        Column("sentence", "text", priority=1),
        Column("change", "text", priority=3),
    )
    whole = ("overall", verdict.grade, None, verdict.sentence, "")
    rows = [(c.name, c.grade, c.figures.get("p"), c.sentence, c.change) for c in verdict.claims]
    return Table(columns, [whole, *rows])


def facts(verdict: Verdict) -> list[tuple[str, str]]:
    """Return what the verdict rests on, by label."""
    settings = verdict.settings
    found = [
        ("winner", f"trial {verdict.trial}" if verdict.trial >= 0 else "not among the variants"),
        ("sessions", f"{verdict.n_sessions:,}"),
        ("variants", f"{verdict.n_variants:,} with session returns"),
        ("evaluations", _evaluations(verdict)),
    ]
    if not math.isnan(verdict.block_length):
        length = number(verdict.block_length, 2)
        found.append(
            (
                "resamples",
                f"{settings.n_bootstrap:,} of sessions in blocks of {length} in the mean, seed "
                f"{settings.seed}",
            )
        )
    return found


def _evaluations(verdict: Verdict) -> str:
    folds = f", {verdict.n_in_folds:,} of them by searches in folds" if verdict.n_in_folds else ""
    return f"{verdict.n_evaluations:,} ever made{folds}"


def verdict_lines(verdict: Verdict, width: int | None) -> list[Text]:
    """Lay a verdict out: the one line first, then each claim with what would change it.

    Parameters
    ----------
    verdict : Verdict
    width : int or None
        Columns that no line exceeds; None: lines of any length.
    """
    lines = [
        Text(line.plain, f"bold {_STYLES[verdict.grade]}")
        for line in wrapped(verdict.sentence, width)
    ]
    lines.append(Text())
    for label, text in facts(verdict):
        lines += wrapped(text, width, label=label)
    for _, alike in groupby(verdict.claims, key=lambda c: (c.grade, c.sentence, c.change)):
        lines += [Text(), *_claim_lines(list(alike), width)]
    lines.append(Text())
    for note in verdict.notes:
        lines += wrapped(note, width, first="- ")
    if width is not None:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
    return lines


def _claim_lines(alike: Sequence[Claim], width: int | None) -> list[Text]:
    """Return the lines of claims that say the same, as those that lack the same data do."""
    claim = alike[0]
    names = ", ".join(c.name for c in alike)
    lines = [Text(line.plain, "bold") for line in wrapped(names, width)]
    if width is None or cell_width(lines[-1].plain) + len(claim.grade) + 2 <= width:
        lines[-1].append("  ")
    else:
        lines.append(Text("  "))
    lines[-1].append(claim.grade, f"not bold {_STYLES[claim.grade]}")
    lines += wrapped(claim.sentence, width, first="  ")
    if claim.change:
        lines += wrapped(f"what would change it: {claim.change}", width, "dim", first="  ")
    return lines


def document(report: Report) -> dict[str, Any]:
    """Return a report as ``-f json`` has it; NaN becomes null, as in all JSON here.

    A claim's figures are those that its data support: what cannot be said has none.
    """
    walk = report.walk_forward
    return {
        "verdict": report.verdict,
        "walk_forward": None if walk is None else walk.to_dict(),
        "surface": report.surface,
    }


def walk_tables(found: WalkForwardResult) -> tuple[Table, ...]:
    """Return what each fold chose, and how the choices wander."""
    tables = (walk_forward_table(found), paths_table(found), wander_table(found))
    return tuple(table for table in tables if table.rows)


def report_lines(report: Report, width: int | None, *, ascii_only: bool = False) -> list[Text]:
    """Return the verdict, the walk-forward where there is one, and the surface.

    Parameters
    ----------
    report : Report
    width : int or None
        Columns that no line exceeds; None: 100.
    ascii_only : bool, optional
        See `sweep.montecarlo.report.charts.needs_ascii`.
    """
    wide = min(width or _WIDEST, _WIDEST)
    lines = [*verdict_lines(report.verdict, wide), Text()]
    if report.standings is not None:
        first = replace(report.standings, rows=report.standings.rows[:_FIRST])
        lines += table_lines(first, wide, hint="--csv FILE has all settings and columns")
        lines += [*wrapped(LEGEND, wide, "dim", first="- "), Text()]
    if report.walk_forward is not None:
        for table in walk_tables(report.walk_forward):
            lines += [*table_lines(table, wide, hint="-f json has all"), Text()]
        for note in report.walk_forward.notes:
            lines += wrapped(note, wide, first="- ")
        lines.append(Text())
    return [*lines, *surface_lines(report.surface, width, ascii_only=ascii_only)]
