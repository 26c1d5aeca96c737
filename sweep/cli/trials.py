"""`sweep trials`: a study's trials, sorted and filtered."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sweep.cli.options import (
    format_option,
    hint,
    no_color_option,
    note,
    open_study,
    quiet_option,
    study_argument,
)

if TYPE_CHECKING:
    from sweep.study import Study

__all__ = ["trials"]

#: Rows of a table where ``--top`` does not say.
_SHOWN = 20
_STATES = ("complete", "pruned", "infeasible", "invalid", "failed")


@click.command()
@study_argument
@click.option("--sort-by", metavar="COLUMN", help="Largest first; by trial number without it.")
@click.option("--ascending", is_flag=True, help="Smallest first.")
@click.option("--where", metavar="FILTER", help='Such as "trades >= 30 and max_drawdown < 0.2".')
@click.option("--top", type=click.IntRange(0), metavar="N", help="Rows at most; 0 for all.")
@click.option("--state", type=click.Choice(_STATES), help="Only trials in this state.")
@quiet_option
@no_color_option
@format_option
def trials(
    folder: str | None,
    sort_by: str | None,
    ascending: bool,
    where: str | None,
    top: int | None,
    state: str | None,
    quiet: bool,
    no_color: bool,
    fmt: str,
) -> None:
    """List a study's trials.

    Columns are those of `-f csv`: parameters, metrics, objectives, state. A table shows
    20 rows unless --top says otherwise; JSON and CSV have all.
    """
    from sweep.cli.tables import trials_table
    from sweep.output import emit

    study = open_study(folder)
    chosen = _chosen(study, sort_by, ascending, where, state)
    found = len(chosen)
    limit = top if top is not None else _SHOWN if fmt == "table" else 0
    if limit:
        chosen = chosen[:limit]
    emit(trials_table(study, chosen), fmt, no_color=no_color)
    if len(chosen) < found:
        note(f"{len(chosen):,} of {found:,} trials shown; --top 0 shows all", quiet=quiet)
    if chosen and sys.stderr.isatty():
        hint(["sweep", "replay", str(chosen[0]), "--study", study.folder], quiet=quiet)


def _chosen(
    study: Study, sort_by: str | None, ascending: bool, where: str | None, state: str | None
) -> list[int]:
    """Return the numbers of the trials that pass, in order."""
    from sweep.expressions import parse_where
    from sweep.format import metric_column
    from sweep.metrics import METRICS

    columns: dict[str, list[Any]] = study.columns()
    # A name with its unit, as in CSV, is as good as one without.
    columns |= {metric_column(name).key: columns[name] for name in METRICS}
    numbers = list(range(len(study.board)))
    if state is not None:
        numbers = [n for n in numbers if columns["state"][n] == state]
    if where is not None:
        passes = parse_where(where, columns)
        read = {name: columns[name] for name in passes.names if name in columns}
        numbers = [n for n in numbers if passes({name: c[n] for name, c in read.items()})]
    if sort_by is not None:
        numbers = _sorted(numbers, _column(columns, sort_by), ascending)
    elif ascending:
        raise click.UsageError("--ascending needs --sort-by COLUMN")
    return numbers


def _column(columns: dict[str, list[Any]], name: str) -> Sequence[Any]:
    from sweep.errors import InputError
    from sweep.names import did_you_mean

    if name not in columns:
        raise InputError(
            f"--sort-by {name}: there is no such column{did_you_mean(name, columns)}; "
            f"there are {', '.join(columns)}"
        )
    return columns[name]


def _sorted(numbers: list[int], column: Sequence[Any], ascending: bool) -> list[int]:
    """Return trials by a column; those without a value come last, ties by number."""
    known = [n for n in numbers if column[n] is not None and column[n] == column[n]]
    rest = [n for n in numbers if column[n] is None or column[n] != column[n]]
    return sorted(known, key=lambda n: column[n], reverse=not ascending) + rest
