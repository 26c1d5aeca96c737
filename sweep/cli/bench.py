"""`sweep bench`: what Sweep costs on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from sweep.cli.options import hint, no_color_option, note, quiet_option

if TYPE_CHECKING:
    from sweep.bench.frame import BenchResult

__all__ = ["bench", "bench_options", "report"]


def bench_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that every bench takes."""
    for option in reversed(
        (
            click.option("--source", metavar="TICKS", help="Ticks; generated ones by default."),
            click.option("--repeat", type=click.IntRange(1), metavar="N", help="Rounds."),
            click.option("--quick", is_flag=True, help="Few ticks and rounds; judges no bar."),
            click.option(
                "-f",
                "--format",
                "fmt",
                type=click.Choice(("table", "json")),
                default="table",
                show_default=True,
                help="How figures are written to stdout.",
            ),
            quiet_option,
            no_color_option,
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name", required=False)
@bench_options
def bench(
    name: str | None,
    source: str | None,
    repeat: int | None,
    quick: bool,
    fmt: str,
    no_color: bool,
    **flags: Any,
) -> int:
    """Measure one thing on this machine; without NAME, list what there is.

    Arms that are compared must first agree in their results. Figures are medians of
    several rounds with the lowest and the highest; a bar that is missed is a report,
    not a failure.
    """
    from sweep.bench.frame import Settings
    from sweep.bench.registry import BENCHES, run_bench
    from sweep.report.table import json_text

    silent = flags["quiet"]
    if name is None:
        if fmt == "json":
            listed = {known: entry.question for known, entry in BENCHES.items()}
            sys.stdout.write(json_text({"benches": listed}))
        else:
            _print_list(no_color=no_color)
        hint(["sweep", "bench", "kernel"], quiet=silent)
        return 0
    settings = Settings(
        source=source,
        repeat=repeat,
        quick=quick,
        say=lambda text: note(text, quiet=silent),
    )
    report(run_bench(name, settings), fmt, no_color=no_color)
    names = list(BENCHES)
    after = names[(names.index(name) + 1) % len(names)]
    hint(["sweep", "bench", after, *(["--source", source] if source else [])], quiet=silent)
    return 0


def report(result: BenchResult, fmt: str, *, no_color: bool) -> None:
    """Write the figures of a bench to stdout, as a table or as JSON."""
    from sweep.bench.frame import machine
    from sweep.report.table import json_text

    if fmt == "json":
        sys.stdout.write(json_text(result.document(machine())))
    else:
        _print(result, machine(), no_color=no_color)


def _print_list(*, no_color: bool) -> None:
    from sweep.bench.registry import BENCHES
    from sweep.report.table import Table, table_lines
    from sweep.report.terminal import print_lines, screen_width
    from sweep.text import Column

    columns = (Column("bench", "text", priority=0), Column("question", "text", priority=0))
    rows = [(name, entry.question) for name, entry in BENCHES.items()]
    print_lines(table_lines(Table(columns, rows), screen_width()), no_color=no_color)


def _print(result: BenchResult, machine: dict[str, str], *, no_color: bool) -> None:
    from rich.text import Text

    from sweep.report.table import Table, table_lines
    from sweep.report.terminal import print_lines, screen_width
    from sweep.text import Column, kind_of

    width = screen_width()
    lines = [
        Text(
            f"{result.name}: {machine['cpu']}, {machine['cores']} cores, {machine['simd']}", "bold"
        )
    ]
    columns = tuple(
        Column(name, "text", priority=priority)
        for name, priority in (
            ("figure", 0),
            ("median", 0),
            ("low", 3),
            ("high", 3),
            ("unit", 1),
            ("bar", 2),
            ("aim", 2),
            ("verdict", 1),
            ("note", 4),
        )
    )
    rows = [
        (
            f.name,
            _number(f.median),
            _number(f.low),
            _number(f.high),
            f.unit,
            _mark(f.bar, f.lower_is_better),
            _mark(f.aim, f.lower_is_better),
            f.verdict,
            f.note,
        )
        for f in result.figures
    ]
    lines += table_lines(Table(columns, rows), width)
    for title, names, cells in result.tables:
        kinds = [kind_of([row[j] for row in cells]) for j in range(len(names))]
        shown = tuple(Column(n, k, priority=0) for n, k in zip(names, kinds, strict=True))
        lines += [Text(), Text(title, "bold"), *table_lines(Table(shown, cells), width)]
    lines += [Text(), *(Text(text, "dim") for text in result.notes)]
    print_lines(lines, no_color=no_color)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def _mark(value: float | None, lower: bool) -> str:
    return "" if value is None else f"{'<=' if lower else '>='} {value:g}"
