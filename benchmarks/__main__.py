"""`python -m benchmarks NAME`: the benches that stand outside the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from benchmarks import history, peers
from sweep.bench.frame import Settings
from sweep.cli.bench import bench_options, report
from sweep.cli.main import run_command
from sweep.cli.options import note


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def benchmarks() -> None:
    """Measure Sweep against other programs, and over many sizes."""


@benchmarks.command("peers")
@bench_options
def peers_command(source: str | None, repeat: int | None, quick: bool, **flags: Any) -> int:
    """Time other backtesters on the same work, after comparing what they find."""
    settings = Settings(source, repeat, quick, say=lambda text: note(text, quiet=flags["quiet"]))
    report(peers.run(settings), flags["fmt"], no_color=flags["no_color"])
    return 0


@benchmarks.command("history")
@bench_options
@click.option("--max-ticks", type=float, metavar="N", help="Go on to so many ticks.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Draw the points here.")
def history_command(
    source: str | None,
    repeat: int | None,
    quick: bool,
    max_ticks: float | None,
    out: Path | None,
    **flags: Any,
) -> int:
    """Time sweeps of more and more ticks, and of more and more variants."""
    settings = Settings(source, repeat, quick, say=lambda text: note(text, quiet=flags["quiet"]))
    most = None if max_ticks is None else int(max_ticks)
    report(history.run(settings, most, out), flags["fmt"], no_color=flags["no_color"])
    return 0


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:], benchmarks, "python -m benchmarks"))
