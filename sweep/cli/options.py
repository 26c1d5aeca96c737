"""Options that several commands share."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sweep.study.file.kinds import Given, Kind
from sweep.study.file.toml import parse_option

if TYPE_CHECKING:
    from sweep.study.study import Study

__all__ = [
    "force_option",
    "format_option",
    "hint",
    "no_color_option",
    "note",
    "open_study",
    "quiet_option",
    "setting_options",
    "source_option",
    "study_argument",
    "trust_of",
    "trust_option",
    "verify_option",
]

F = TypeVar("F", bound=Callable[..., Any])

format_option = click.option(
    "-f",
    "--format",
    "fmt",
    type=click.Choice(("table", "json", "csv")),
    default="table",
    show_default=True,
    help="How data are written to stdout.",
)
no_color_option = click.option("--no-color", is_flag=True, help="Plain text; NO_COLOR does too.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
force_option = click.option("--force", is_flag=True, help="Replace files that are there.")
source_option = click.option(
    "--source", metavar="PATH", help="Where the study's ticks are now, if they were moved."
)
verify_option = click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Replay what is shown and compare it to the bit.",
)
trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Run the strategy and objectives of a study that was not made by you on this machine.",
)


def setting_options(settings: type[Any]) -> Callable[[F], F]:
    """Return a decorator that adds an option for each setting with a help text.

    Its value is read as in a study file; it is None where the option is not given.

    Parameters
    ----------
    settings : type
        A dataclass whose fields are stated with `sweep.study.file.kinds.key`.
    """

    def add_options(command: F) -> F:
        for entry in reversed(fields(settings)):
            if entry.metadata.get("help"):
                command = _setting_option(entry.name, **entry.metadata)(command)
        return command

    return add_options


def _setting_option(
    field: str, *, kind: Kind, key: str | None, help: str, **_: Any
) -> Callable[[F], F]:
    option = f"--{(key or field).replace('_', '-')}"

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> Any:
        return text if text is None else kind(parse_option(text), Given(f"{option} {text}", text))

    return click.option(option, field, metavar=kind.metavar, help=help, callback=read)


study_argument = click.argument("folder", required=False, metavar="[FOLDER]")


def open_study(
    folder: str | Path | None,
    source: str | None = None,
    *,
    trust: bool = False,
    quiet: bool = False,
) -> Study:
    """Open a study's folder, by default the latest one under ``results``.

    Parameters
    ----------
    folder : str or Path, optional
    source : str, optional
        Where its ticks are now.
    trust : bool, optional
        See `sweep.study.study.Study.open`.
    quiet : bool, optional
        Whether nothing is reported of what is damaged or guessed.
    """
    from sweep.study.folder import find_study
    from sweep.study.study import Study

    study = Study.open(find_study(folder), trust=trust)
    for remark in study.remarks():
        note(f"warning: {remark}", quiet=quiet)
    if source is not None:
        path = source if source == "synth" else str(Path(source).expanduser().absolute())
        study.spec = replace(study.spec, data=replace(study.spec.data, source=path))
    return study


def note(text: str, *, quiet: bool = False) -> None:
    """Write a note to the user, to stderr: stdout is for data."""
    if not quiet:
        _echo(text)


def trust_of(study: Study) -> list[str]:
    """Return the flag that commands need which run the strategy of a foreign study."""
    return ["--trust"] if study.foreign else []


def hint(*commands: Sequence[str | Path], quiet: bool = False) -> None:
    """Name the commands that are worth trying next."""
    if quiet:
        return
    shown = [shlex.join(str(word) for word in command) for command in commands]
    width = shutil.get_terminal_size((100, 24)).columns
    line = "next: " + shown[0]
    for text in shown[1:]:
        if len(line.rpartition("\n")[2]) + len(text) + 5 > width:
            line += f"\n      {text}"
        else:
            line += f"  |  {text}"
    _echo(line)


def _echo(text: str) -> None:
    # A note that nobody reads any more is no reason to end a run.
    with suppress(BrokenPipeError):
        click.echo(text, err=True)
