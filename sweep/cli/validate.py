"""`sweep validate`: how much of the winner of a search to believe."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
)

if TYPE_CHECKING:
    from sweep.report.table import Table
    from sweep.study.study import Study
    from sweep.validation.evidence import OutOfSample, Verdict
    from sweep.validation.report.text import Report
    from sweep.validation.walkforward.result import WalkForwardResult

__all__ = ["validate"]

#: Settings in an HTML report.
_STANDINGS = 50

#: Columns beyond which text is hard to read.
_WIDEST = 100


@click.command()
@study_argument
@click.option(
    "--bootstraps",
    type=click.IntRange(100),
    default=1000,
    show_default=True,
    metavar="N",
    help="Resamples of sessions.",
)
@click.option(
    "--block",
    type=click.FloatRange(1.0),
    metavar="X",
    help="Mean length of their blocks, in sessions; found from the data by default.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The study's by default.")
@click.option("--no-walk-forward", is_flag=True, help="Leave the walk-forward out.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="validate.KEY=VALUE",
    help="Override a key of [validate], as in validate.scheme=cpcv. Repeatable.",
)
@click.option("--show-splits", is_flag=True, help="Draw the study's folds, and test nothing.")
@click.option("--html", metavar="FILE", help="Write a report that needs nothing else.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write what is said of each setting.")
@click.option("--json", "json_file", metavar="FILE", help="Write all figures as JSON.")
@force_option
@source_option
@trust_option
@quiet_option
@no_color_option
@format_option
def validate(
    folder: str | None,
    bootstraps: int,
    block: float | None,
    seed: int | None,
    no_walk_forward: bool,
    overrides: tuple[str, ...],
    show_splits: bool,
    html: str | None,
    csv_file: str | None,
    json_file: str | None,
    force: bool,
    source: str | None,
    trust: bool,
    quiet: bool,
    no_color: bool,
    fmt: str,
) -> None:
    """Say how much of the winner of a search to believe, and how its surface looks.

    Every search over enough settings finds a winner in noise. What the study's own sessions
    permit is tested, and said in plain sentences, each graded strong, weak, luck, or cannot be
    said; the verdict is as good as the poorest test that pays for the search.
    """
    from sweep.backtest.strategy_checks.checks import FAIL
    from sweep.cli.replay import refuse_existing
    from sweep.errors import InputError

    files = {"html": html, "csv": csv_file, "json": json_file}
    for name, path in files.items():
        if path is not None and not path.lower().endswith(f".{name}"):
            raise InputError(f"--{name} {path}: the name must end in .{name}")
        if path is not None and show_splits:
            raise InputError(f"--show-splits judges nothing: --{name} has nothing to write")
    refuse_existing(files, force)
    study = open_study(folder, source, trust=trust, quiet=quiet)
    if overrides:
        from sweep.study.file.spec import with_validate

        study.spec = with_validate(study.spec, overrides)
    if show_splits:
        _show_splits(study, fmt, no_color=no_color)
        return
    from sweep.validation.evidence import Settings
    from sweep.validation.evidence_of_study import evidence_of, look_ahead_of, surface_of_study
    from sweep.validation.report.text import Report
    from sweep.validation.verdict import verdict

    settings = Settings(bootstraps, block, study.spec.study.seed if seed is None else seed)
    # First, since it may spare a search in folds; it also refuses a study without a winner.
    note("look-ahead ...", quiet=quiet)
    looked = look_ahead_of(study)
    wanted = not no_walk_forward and looked.status != FAIL
    tested, walk = _walked(study, wanted=wanted, quiet=quiet, no_color=no_color)
    evidence = evidence_of(study, out_of_sample=tested, looked=looked)
    judged = verdict(evidence, settings, progress=lambda what: note(f"{what} ...", quiet=quiet))
    report = Report(judged, surface_of_study(study), walk, _standings(study, judged))
    _write(study, report, files, force=force, quiet=quiet)
    _show(study, report, fmt, no_color=no_color)
    if csv_file is not None and judged.standings is None:
        raise InputError(
            f"--csv {csv_file}: not written, since no setting was tested. {judged.sentence}"
        )
    if html is None:
        more = [part for override in overrides for part in ("--set", override)]
        call = ["sweep", "validate", str(study.folder), *more, "--html", "validate.html"]
        call += trust_of(study)
        hint(call, quiet=quiet)
    else:
        hint(["sweep", "mc", "--study", str(study.folder), *trust_of(study)], quiet=quiet)


def _walked(
    study: Study, *, wanted: bool, quiet: bool, no_color: bool
) -> tuple[OutOfSample | str, WalkForwardResult | None]:
    """Search in each fold until done or interrupted; what was finished is kept."""
    from sweep.cli.interrupts import Interrupts
    from sweep.report.status_line import StatusLine
    from sweep.text import duration
    from sweep.validation.evidence_of_study import walked

    if not wanted:
        return "the walk-forward was left out (--no-walk-forward)", None
    note("walk-forward ...", quiet=quiet)
    first: tuple[float, int] | None = None

    def progress(done: int, total: int) -> None:
        nonlocal first
        now = time.monotonic()
        first = first or (now, done)
        if status.due() and done < total:
            left = (total - done) * (now - first[0]) / max(done - first[1], 1)
            rest = f", {duration(left)} left" if done > first[1] else ""
            status.show(f"walk-forward: {done:,} of {total:,}{rest}")

    with Interrupts() as interrupts, StatusLine(quiet=quiet, no_color=no_color) as status:
        interrupts.counting = True
        try:
            return walked(study, progress=progress, interrupted=interrupts)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "interrupted; what was evaluated is kept, and the same command continues"
            ) from None
        finally:
            interrupts.counting = False


def _show_splits(study: Study, fmt: str, *, no_color: bool) -> None:
    from sweep.report.table import emit
    from sweep.validation.report.walkforward import splits_picture, splits_table
    from sweep.validation.walkforward.run import study_folds

    folds = study_folds(study)
    if fmt != "table":
        emit(splits_table(folds), fmt)
        return
    from rich.text import Text

    from sweep.report.document import Paragraph, Part
    from sweep.report.terminal import lines_of, print_lines, screen_width

    width = screen_width()
    parts: list[Part] = [
        splits_table(folds).grid(),
        Paragraph(tuple(folds.notes), "dim", items=True),
    ]
    picture = splits_picture(folds, min(width or _WIDEST, _WIDEST))
    print_lines([*picture, Text(), *lines_of(parts, width)], no_color=no_color)


#: Columns of settings on a screen, by their names elsewhere.
_SHOWN = {
    "net_profit": "profit",
    "holdout_net_profit": "holdout",
    "session_sharpe": "ratio",
    "p_adjusted": "p",
    "in_confidence_set": "alike",
}


def _standings(study: Study, verdict: Verdict, *, in_full: bool = False) -> Table | None:
    """Return settings with what the tests say of each, from the best on."""
    from sweep.cli.trial_tables import trials_table
    from sweep.report.table import Table
    from sweep.text import Column

    standings = verdict.standings
    if standings is None:
        return None
    order = standings.order()[: None if in_full else _STANDINGS]
    trials = trials_table(study, standings.numbers[order].tolist())
    shown = {"trial", *study.space.names, *study.objectives.labels, "trades", *_SHOWN}
    kept = [k for k, c in enumerate(trials.columns) if in_full or c.name in shown]
    tested: tuple[Column, ...] = (
        Column("session_sharpe", priority=1),
        Column("p_adjusted", priority=0),
        Column("in_confidence_set", "boolean", priority=1),
    )
    if not in_full:
        tested = tuple(replace(c, name=_SHOWN[c.name]) for c in tested)
    taken = {c.name for c in tested} | (set() if in_full else set(_SHOWN.values()))

    def named(column: Column) -> Column:
        if column.name in study.space.names:
            return replace(column, name=f"param_{column.name}") if column.name in taken else column
        return column if in_full else replace(column, name=_SHOWN.get(column.name, column.name))

    alike = [None] * len(standings.numbers) if standings.alike is None else standings.alike.tolist()
    rows = [
        (*(row[k] for k in kept), standings.sharpe[place], standings.p[place], alike[place])
        for row, place in zip(trials.rows, order, strict=True)
    ]
    columns = (*(named(trials.columns[k]) for k in kept), *tested)
    return Table(columns, rows, "settings, by what the tests say of each")


def _document(study: Study, report: Report) -> dict[str, Any]:
    from sweep.validation.report.text import report_document

    return {"study": study.name, "folder": study.folder, **report_document(report)}


def _write(
    study: Study,
    report: Report,
    files: dict[str, str | None],
    *,
    force: bool,
    quiet: bool,
) -> None:
    from sweep.report.html import write_page
    from sweep.report.table import write_csv, write_json
    from sweep.validation.report.document import report_parts

    html, csv_file, json_file = files["html"], files["csv"], files["json"]
    if html is not None:
        title = f"{study.name}: validation"
        write_page(html, title, report_parts(report, in_full=True), force=force)
    if csv_file is not None:
        standings = _standings(study, report.verdict, in_full=True)
        if standings is not None:
            write_csv(csv_file, standings, force=force)
        else:
            files = {**files, "csv": None}
    if json_file is not None:
        write_json(json_file, _document(study, report), force=force)
    for path in files.values():
        if path is not None:
            note(f"written: {path}", quiet=quiet)


def _show(study: Study, report: Report, fmt: str, *, no_color: bool) -> None:
    if fmt == "json":
        from sweep.report.table import json_text

        sys.stdout.write(json_text(_document(study, report)))
        return
    if fmt == "csv":
        from sweep.report.table import emit
        from sweep.validation.report.text import claims_table

        emit(claims_table(report.verdict), "csv")
        return
    from sweep.report.terminal import lines_of, print_lines, screen_width
    from sweep.validation.report.document import report_parts

    lines = lines_of(report_parts(report), min(screen_width() or _WIDEST, _WIDEST))
    print_lines(lines, no_color=no_color)
