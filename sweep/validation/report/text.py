"""A verdict in words and as a table, and a whole report as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sweep.report.table import Table
from sweep.text import Column, number
from sweep.validation.evidence import Verdict
from sweep.validation.surface import Surface
from sweep.validation.walkforward.result import WalkForwardResult

__all__ = ["Report", "claims_table", "facts", "report_document"]


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
    overall = ("overall", verdict.grade, None, verdict.sentence, "")
    rows = [(c.name, c.grade, c.figures.get("p"), c.sentence, c.change) for c in verdict.claims]
    return Table(columns, [overall, *rows])


def facts(verdict: Verdict) -> list[tuple[str, str]]:
    """Return what the verdict rests on, by label."""
    settings = verdict.settings
    rows = [
        ("winner", f"trial {verdict.trial}" if verdict.trial >= 0 else "not among the variants"),
        ("sessions", f"{verdict.n_sessions:,}"),
        ("variants", f"{verdict.n_variants:,} with session returns"),
        ("evaluations", _evaluations(verdict)),
    ]
    if not math.isnan(verdict.block_length):
        length = number(verdict.block_length, 2)
        rows.append(
            (
                "resamples",
                f"{settings.n_bootstrap:,} of sessions in blocks of {length} in the mean, seed "
                f"{settings.seed}",
            )
        )
    return rows


def _evaluations(verdict: Verdict) -> str:
    folds = f", {verdict.n_in_folds:,} of them by searches in folds" if verdict.n_in_folds else ""
    return f"{verdict.n_evaluations:,} ever made{folds}"


def report_document(report: Report) -> dict[str, Any]:
    """Return a report as ``-f json`` has it; NaN becomes null, as in all JSON here.

    A claim's figures are those that its data support: what cannot be said has none.
    """
    walk = report.walk_forward
    return {
        "verdict": report.verdict,
        "walk_forward": None if walk is None else walk.to_dict(),
        "surface": report.surface,
    }
