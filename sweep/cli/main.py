"""The command `sweep`: its subcommands, and how every failure ends.

A subcommand's module is imported when that subcommand is asked for, and imports what it
works with once it runs, so that help is there at once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, TextIO, cast

import click

from sweep.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, SweepError
from sweep.version import __version__

__all__ = ["cli", "main", "run_command"]


class _Command(NamedTuple):
    target: str
    summary: str


#: In the order in which they are listed, which is that in which they are used.
_COMMANDS = {
    "init": _Command("sweep.cli.init:init", "Write a strategy and a study file to start from."),
    "check": _Command("sweep.cli.check:check", "Check a strategy file, and say what is wrong."),
    "run": _Command("sweep.cli.run:run", "Run a study, or continue one."),
    "show": _Command("sweep.cli.show:show", "Show a study: what it is, its state, its best."),
    "trials": _Command("sweep.cli.trials:trials", "List trials, sorted and filtered."),
    "best": _Command("sweep.cli.best:best", "Show the best trials, or write them to a file."),
    "replay": _Command("sweep.cli.replay:replay", "Evaluate one variant alone, in full detail."),
    "validate": _Command(
        "sweep.cli.validate:validate", "Say how much of the winner to believe, and why."
    ),
    "mc": _Command("sweep.cli.mc:mc", "Ask how variants do where history had been another."),
    "data": _Command("sweep.cli.data:data", "Import, list and generate ticks."),
    "bench": _Command("sweep.cli.bench:bench", "Measure what Sweep costs on this machine."),
}


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, name = found.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.summary) for name, c in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _COMMANDS:
            from sweep.text import known_names

            raise click.UsageError(f"no command {name!r}{known_names(name, _COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, help="Show the traceback of every failure.")
@click.version_option(__version__, prog_name="sweep")
def cli(debug: bool) -> None:
    """Find out which parameters of a trading rule are worth anything.

    Begin with `sweep init`, then `sweep run study.toml`.
    """


def run_command(
    arguments: Sequence[str], command: click.Command | None = None, name: str = "sweep"
) -> int:
    """Run one command line and return its exit code; nothing is raised.

    Parameters
    ----------
    arguments : sequence of str
        Without the program's name.
    command : click.Command, optional
        What is run; ``sweep`` itself by default.
    name : str, optional
        Of the program, in its help.

    Returns
    -------
    int
        0: done. 1: a run failed. 2: the input is wrong, nothing was changed. 130:
        interrupted; what was finished is kept.
    """
    debug = "--debug" in arguments or bool(os.environ.get("SWEEP_DEBUG"))
    # Wherever it stands: one who wants a traceback has already typed the rest.
    arguments = [a for a in arguments if a != "--debug"]
    try:
        code = (command or cli).main(list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else EXIT_OK
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort) as error:
        # Click makes another exception of it, without what was to be said.
        _say(str(error) or str(error.__cause__ or "") or "interrupted")
        return EXIT_INTERRUPTED
    except SweepError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {error}")
        return error.exit_code
    except MemoryError:
        _say("error: there is not enough memory; try fewer workers with -j, or fewer ticks")
        return EXIT_FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        _say(_unexpected(error))
        return EXIT_FAILED


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    sys.stdout = cast(TextIO, _Outlet(sys.stdout))
    # As Ctrl-C, so that what is half done is cleaned up; `nohup` goes on ignoring SIGHUP.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    sys.exit(run_command(sys.argv[1:]))


class _Outlet:
    """A stream whose reader may go away: what comes then is dropped.

    So a command goes on to its own end, and its exit code says how that was.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            _silence_stdout()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            _silence_stdout()


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        pass


def _silence_stdout() -> None:
    """Let nothing more be written to a pipe that nobody reads."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


def _unexpected(error: Exception) -> str:
    """Return one line for a failure that Sweep did not foresee; the rest goes to a file."""
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="sweep-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"sweep {' '.join(sys.argv[1:])}\n\n{traceback.format_exc()}")
        where = f"the traceback is in {file.name}"
    except OSError:
        where = "run it again with --debug for the traceback"
    return f"error: unexpected {said}; this is a defect of Sweep, please report it: {where}"
