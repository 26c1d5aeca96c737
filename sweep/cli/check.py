"""`sweep check`: what can be proved of a strategy before it is searched."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from sweep.cli.options import format_option, hint, no_color_option, quiet_option
from sweep.errors import EXIT_INPUT

if TYPE_CHECKING:
    from sweep.backtest.strategy_checks.checks import CheckReport
    from sweep.schema import Ticks

__all__ = ["check"]

#: Of a source of ticks, as many are used: enough to trade, few enough to be quick.
_MOST_TICKS = 500_000


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--source", metavar="PATH", help="Ticks to run on; generated ones by default.")
@quiet_option
@no_color_option
@format_option
def check(file: str, source: str | None, quiet: bool, no_color: bool, fmt: str) -> int:
    """Check a strategy file: that it compiles, trades, repeats, and does not look ahead.

    Each check is a line, and a failed one says what to do. Exit code 2 if one failed.
    """
    from sweep.backtest.strategy_checks.checks import check_strategy
    from sweep.report.table import Table, emit, json_text
    from sweep.text import Column

    ticks = None if source is None else _ticks(source, quiet=quiet, no_color=no_color)
    report = check_strategy(file, ticks)
    if fmt == "json":
        document = {
            "strategy": report.path,
            "passed": report.passed,
            "ticks": report.ticks,
            "parameters": report.parameters,
            "checks": report.findings,
        }
        sys.stdout.write(json_text(document))
    elif fmt == "csv":
        columns = tuple(Column(name, "text") for name in ("check", "status", "text", "advice"))
        emit(Table(columns, [(f.name, f.status, f.text, f.advice) for f in report.findings]), "csv")
    else:
        _print(report, no_color=no_color)
    if not report.passed:
        return EXIT_INPUT
    hint(["sweep", "run", "STUDY.toml"], quiet=quiet)
    return 0


def _ticks(path: str, *, quiet: bool, no_color: bool) -> Ticks:
    from sweep.cli.progress import ImportProgress
    from sweep.ticks.mapped import attach
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks

    with ImportProgress(quiet=quiet, no_color=no_color) as progress:
        found = import_ticks(SourceSpec(path=path), progress=progress)
    ticks = attach(found.handle)
    return ticks.between(0, min(len(ticks.ts), _MOST_TICKS))


def _print(report: CheckReport, *, no_color: bool) -> None:
    from rich.text import Text

    from sweep.report.table import Table, table_lines
    from sweep.report.terminal import print_lines, screen_width
    from sweep.text import Column

    width = screen_width()
    lines = [Text(report.path, "bold")]
    if report.parameters:
        columns = tuple(
            Column(name, "text", priority=priority)
            for name, priority in (("parameter", 0), ("kind", 3), ("range", 1), ("default", 1))
        )
        rows = [(p["name"], p["kind"], _range(p), f"{p['default']}") for p in report.parameters]
        lines += [*table_lines(Table(columns, rows), width), Text()]
    styles = {"ok": "green", "FAIL": "bold red", "note": "yellow"}
    for finding in report.findings:
        line = Text().append(f"{finding.status:<5}", styles[finding.status])
        line.append(f"{finding.name:<14}", "bold").append(_folded(finding.text, width))
        lines.append(line)
        if finding.advice:
            lines.append(Text(" " * 19 + _folded(f"-> {finding.advice}", width), "dim"))
    print_lines(lines, no_color=no_color)


def _folded(text: str, width: int | None, indent: int = 19) -> str:
    """Return text broken at the screen's edge, each line under the first one's beginning."""
    import textwrap

    room = 1 << 20 if width is None else max(width - indent, 30)
    parts = [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, room, break_long_words=False, drop_whitespace=False)
    ]
    return ("\n" + " " * indent).join(part.rstrip() for part in parts)


def _range(p: dict[str, Any]) -> str:
    if "choices" in p:
        text = ", ".join(str(choice) for choice in p["choices"])
    else:
        text = f"{p['low']:g} to {p['high']:g}"
        text += f", step {p['step']:g}" if p["step"] else ""
        text += ", log" if p["log"] else ""
    return text + (", conditional" if p["conditional"] else "")
