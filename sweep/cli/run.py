"""`sweep run`: run a study, or continue one."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweep.cli.options import format_option, hint, no_color_option, note, quiet_option
from sweep.errors import EXIT_INTERRUPTED
from sweep.text import SAMPLERS

if TYPE_CHECKING:
    from sweep.study.runner import Summary
    from sweep.study.study import Study

__all__ = ["run"]


@click.command()
@click.argument("study_file", metavar="STUDY.toml")
@click.option("--source", metavar="PATH", help="Ticks: a file, a folder, or synth.")
@click.option("--instrument", metavar="NAME", help="Which one, where the source holds several.")
@click.option("--trials", metavar="N", help="Stop after this number of trials.")
@click.option("--sampler", metavar="NAME", help=f"One of {', '.join(SAMPLERS)}.")
@click.option("--seed", metavar="N", help="Seed of all that is random.")
@click.option("-j", "--workers", metavar="N", help="Processes; one for each core by default.")
@click.option(
    "--param",
    multiple=True,
    metavar="NAME=RANGE",
    help="A parameter's range: fast=5:50:5, fast=5:200:log, mode=[1,2], slow=100. Repeatable.",
)
@click.option(
    "--policy",
    multiple=True,
    metavar="CHECK=WHAT",
    help="What to do with bad ticks, as in crossed=drop. Repeatable.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Override any key of the study file. Repeatable.",
)
@click.option("--out", metavar="DIR", help="The study's folder; results/NAME by default.")
@quiet_option
@no_color_option
@format_option
def run(
    study_file: str,
    overrides: tuple[str, ...],
    out: str | None,
    quiet: bool,
    no_color: bool,
    fmt: str,
    **flags: Any,
) -> int:
    """Run a study, or go on with the one in its folder.

    Ctrl-C ends it after the trials under way and keeps everything; a second one stops at
    once and loses only those. The same command goes on with it.
    """
    from sweep.cli.interrupts import Interrupts

    began = time.monotonic()
    with Interrupts() as interrupts:
        study = _prepare(study_file, overrides, out, flags, quiet=quiet, no_color=no_color)
        startup = time.monotonic() - began
        try:
            summary = _run(study, interrupts, quiet=quiet, no_color=no_color)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; {_resume()}") from None
    interrupted = summary.reason == "interrupted"
    _show(study, summary, fmt, startup, interrupted=interrupted, quiet=quiet, no_color=no_color)
    return EXIT_INTERRUPTED if interrupted else 0


def _prepare(
    path: str,
    overrides: tuple[str, ...],
    out: str | None,
    flags: dict[str, Any],
    *,
    quiet: bool,
    no_color: bool,
) -> Study:
    from sweep.cli.progress import ImportProgress
    from sweep.study.file.spec import load_spec
    from sweep.study.study import Study
    from sweep.text import counted

    spec = load_spec(path, overrides=overrides, flags=flags)
    with ImportProgress(quiet=quiet, no_color=no_color) as progress:

        def imported(found: Any) -> None:
            progress.close()
            lines = found.report.lines()
            head = len(lines) - len(found.report.findings) - len(found.report.notes)
            note("\n".join(lines[: head if found.built else 1]), quiet=quiet)
            for line, finding in zip(lines[head:], found.report.findings, strict=False):
                if finding.count:
                    note(line, quiet=quiet)

        study = Study.create(spec, out, progress=progress, imported=imported)
    done = len(study.board)
    if done:
        note(f"{study.folder}: going on after {counted(done, 'trial')}", quiet=quiet)
    return study


def _run(study: Study, interrupts: Any, *, quiet: bool, no_color: bool) -> Summary:
    from sweep.report.live import LiveDisplay
    from sweep.study.runner import run_study

    said = 0
    with LiveDisplay(quiet=quiet, no_color=no_color) as display:

        def observe(snapshot: Any) -> None:
            nonlocal said
            if interrupts.count > said:
                said = interrupts.count
                if not sys.stderr.isatty():
                    note("stopping after the trials under way; interrupt again to stop at once")
            display.update(snapshot)

        interrupts.counting = True
        try:
            return run_study(study, observer=observe, interrupts=interrupts)
        finally:
            interrupts.counting = False


def _resume() -> str:
    """Return how to go on: the command that was given, which finds the study again."""
    import shlex

    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if len(sys.argv) > 1 else ["sweep", "run"]
    if words[0] == "__main__.py":
        words[:1] = ["python", "-m", "sweep"]
    return f"what was finished is kept. Go on with: {shlex.join(words)}"


def _show(
    study: Study,
    summary: Summary,
    fmt: str,
    startup: float,
    *,
    interrupted: bool,
    quiet: bool,
    no_color: bool,
) -> None:
    from sweep.cli import study_report as report
    from sweep.cli.trial_tables import trials_table
    from sweep.report.table import emit, json_text
    from sweep.report.terminal import lines_of, print_lines, screen_width

    best = list(summary.best) or study.best()
    checked = bool(summary.best)
    for message in summary.messages if fmt != "table" else ():
        note(f"warning: {message}", quiet=quiet)
    if fmt == "json":
        document = {
            **report.about_document(study),
            "run": report.summary_document(study, summary, startup),
            "verified": checked,
            "best": report.winners_document(study, best),
        }
        sys.stdout.write(json_text(document))
    elif fmt == "csv":
        for line in lines_of(report.summary_parts(study, summary, startup), screen_width()):
            note(line.plain, quiet=quiet)
        emit(trials_table(study, best), "csv")
    else:
        replayed = report.verdict(checked or None, not interrupted, len(best))
        parts = report.summary_parts(study, summary, startup)
        parts += report.winners_parts(study, best, checked=replayed)
        print_lines(lines_of(parts, screen_width()), no_color=no_color)
    folder = study.folder
    note(f"\neverything lies in {folder}", quiet=quiet)
    if interrupted:
        note(f"interrupted; {_resume()}")
        return
    if not best:
        hint(*report.why_no_winner(study), quiet=quiet)
        return
    hint(
        ["sweep", "best", folder, "--csv", "best.csv"],
        ["sweep", "validate", folder],
        ["sweep", "replay", "--study", folder, "--trades", "trades.csv"],
        quiet=quiet,
    )
