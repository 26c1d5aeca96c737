"""`sweep show`: what a study is, how far it has come, and its best trials."""

from __future__ import annotations

import sys

import click

from sweep.cli.options import (
    format_option,
    hint,
    no_color_option,
    open_study,
    quiet_option,
    source_option,
    study_argument,
    trust_of,
    trust_option,
    verify_option,
)

__all__ = ["show"]


@click.command()
@study_argument
@verify_option
@source_option
@trust_option
@quiet_option
@no_color_option
@format_option
def show(
    folder: str | None,
    verify: bool,
    source: str | None,
    trust: bool,
    quiet: bool,
    no_color: bool,
    fmt: str,
) -> None:
    """Show a study: what it is, its hashes, its state, its best trials.

    FOLDER is the latest study under results by default. It may be running.
    """
    from sweep.cli import study_report as report
    from sweep.report.table import Table, emit, json_text
    from sweep.report.terminal import lines_of, print_lines, screen_width

    study = open_study(folder, source, trust=trust, quiet=quiet)
    best = study.best()
    checked = report.verify(study, best, quiet=quiet) if verify and best else None
    document = {
        **report.about_document(study),
        "verified": checked is True,
        "best": report.winners_document(study, best),
    }
    if fmt == "json":
        sys.stdout.write(json_text(document))
    elif fmt == "csv":
        from sweep.text import Column

        facts = [(k, v) for k, v in document.items() if isinstance(v, str | int | float | bool)]
        facts += list(report.trial_counts(study).items())
        columns = (Column("fact", "text"), Column("value", "text"))
        emit(Table(columns, [(name, str(value)) for name, value in facts]), "csv")
    else:
        replayed = report.verdict(checked, verify, len(best))
        parts = [*report.about_parts(study), *report.winners_parts(study, best, checked=replayed)]
        print_lines(lines_of(parts, screen_width()), no_color=no_color)
    if not best and len(study.board):
        hint(*report.why_no_winner(study), quiet=quiet)
        return
    hint(
        ["sweep", "trials", study.folder, "--sort-by", study.objectives.labels[0], "--top", "20"],
        ["sweep", "replay", "--study", study.folder, *trust_of(study)],
        quiet=quiet,
    )
