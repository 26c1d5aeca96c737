"""`sweep best`: the best trials, on the screen or in a file."""

from __future__ import annotations

import sys

import click

from sweep.cli.options import (
    force_option,
    format_option,
    hint,
    no_color_option,
    note,
    open_study,
    quiet_option,
    source_option,
    study_argument,
    trust_of,
    trust_option,
    verify_option,
)

__all__ = ["best"]


@click.command()
@study_argument
@click.option("--top", type=click.IntRange(1), metavar="N", help="How many; study.top by default.")
@click.option("--csv", "path", metavar="FILE", help="Write them to a CSV file, all columns.")
@force_option
@verify_option
@source_option
@trust_option
@quiet_option
@no_color_option
@format_option
def best(
    folder: str | None,
    top: int | None,
    path: str | None,
    force: bool,
    verify: bool,
    source: str | None,
    trust: bool,
    quiet: bool,
    no_color: bool,
    fmt: str,
) -> None:
    """Show the best trials of a study, with training and holdout figures side by side.

    Each is replayed first; a difference in a single bit is an error. In CSV there is one
    row a trial: parameters, objectives, metrics, metrics on the holdout, all digits,
    times in seconds (columns ending in _s), shares as fractions.
    """
    from sweep.cli import study_report as report
    from sweep.cli.trial_tables import trials_table
    from sweep.errors import InputError
    from sweep.report.document import Facts
    from sweep.report.table import emit, json_text, write_csv
    from sweep.report.terminal import lines_of, print_lines, screen_width
    from sweep.text import counted

    if path is not None and not path.lower().endswith(".csv"):
        raise InputError(f"--csv {path}: the name must end in .csv; -f csv prints instead")
    study = open_study(folder, source, trust=trust, quiet=quiet)
    numbers = study.best(top)
    checked = report.verify(study, numbers, quiet=quiet) if verify and numbers else None
    if path is not None:
        write_csv(path, trials_table(study, numbers), force=force)
    if fmt == "json":
        document = {
            "study": study.name,
            "folder": study.folder,
            "verified": checked is True,
            "holdout_opened": len(study.opened),
            "best": report.winners_document(study, numbers),
        }
        sys.stdout.write(json_text(document))
    elif fmt == "csv":
        emit(trials_table(study, numbers), "csv")
    else:
        replayed = report.verdict(checked, verify, len(numbers))
        parts = report.winners_parts(study, numbers, checked=replayed)
        parts.append(Facts((report.holdout_fact(study),)))
        print_lines(lines_of(parts, screen_width()), no_color=no_color)
    if path is not None:
        mark = "" if checked or not numbers else ", not verified"
        note(f"{path}: {counted(len(numbers), 'trial')}{mark}", quiet=quiet)
    if numbers:
        first, trust_flag = str(numbers[0]), trust_of(study)
        hint(
            ["sweep", "validate", study.folder, *trust_flag],
            ["sweep", "replay", first, "--study", study.folder, "--trades", "t.csv", *trust_flag],
            quiet=quiet,
        )
    else:
        hint(*report.why_no_winner(study), quiet=quiet)
