"""`sweep trials`: a study's trials, sorted and filtered."""

from __future__ import annotations

import sys
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
    trust_of,
    trust_option,
)
from sweep.text import STATES

if TYPE_CHECKING:
    from sweep.report.table import Table
    from sweep.schema import IntArray1D
    from sweep.study.study import Study
    from sweep.study.trials import TrialBlock

__all__ = ["trials"]

#: Rows of a table where ``--top`` does not say.
_SHOWN = 20
#: Trials that are read together where all are written, and where they lie scattered.
_PIECE = 8192
_SORTED_PIECE = 65_536


@click.command()
@study_argument
@click.option("--sort-by", metavar="COLUMN", help="Largest first; by trial number without it.")
@click.option("--ascending", is_flag=True, help="Smallest first.")
@click.option("--where", metavar="FILTER", help='Such as "trades >= 30 and max_drawdown < 0.2".')
@click.option("--top", type=click.IntRange(0), metavar="N", help="Rows at most; 0 for all.")
@click.option("--state", type=click.Choice(STATES), help="Only trials in this state.")
@click.option(
    "--plateau",
    is_flag=True,
    help="A column: the median objective of the nearest trials, compared with the trial's own.",
)
@trust_option
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
    plateau: bool,
    trust: bool,
    quiet: bool,
    no_color: bool,
    fmt: str,
) -> None:
    """List a study's trials.

    Columns are those of `-f csv`: parameters, metrics, objectives, state. A table shows
    20 rows unless --top says otherwise; JSON and CSV have all.
    """
    from sweep.report.table import emit, emit_pieces

    study = open_study(folder, trust=trust, quiet=quiet)
    scores = _plateaus(study) if plateau else None
    chosen, asked = _chosen(study, sort_by, ascending, where, state, scores)
    n_passed = len(chosen)
    limit = top if top is not None else _SHOWN if fmt == "table" else 0
    if limit:
        chosen = chosen[:limit]
    if fmt == "table":
        table = _asked_first(_table(study, chosen.tolist(), scores), asked)
        emit(table, fmt, no_color=no_color)
    else:
        size = _PIECE if sort_by is None else _SORTED_PIECE
        starts = range(0, max(len(chosen), 1), size)
        pieces = (_table(study, chosen[k : k + size].tolist(), scores) for k in starts)
        emit_pieces(pieces, fmt)
    if len(chosen) < n_passed:
        note(f"{len(chosen):,} of {n_passed:,} trials shown; --top 0 shows all", quiet=quiet)
    if len(chosen) and sys.stderr.isatty():
        words = ["sweep", "replay", str(chosen[0]), "--study", str(study.folder)]
        hint([*words, *trust_of(study)], quiet=quiet)


def _plateaus(study: Study) -> dict[bytes, float]:
    from sweep.study.plateaus import study_plateaus

    return study_plateaus(study)


def _scores(block: TrialBlock, scores: dict[bytes, float]) -> list[float]:
    return [scores.get(row.tobytes(), float("nan")) for row in block.params]


def _table(study: Study, numbers: list[int], scores: dict[bytes, float] | None) -> Table:
    """Return trials as a table, with their plateau scores where they are asked for."""
    import numpy as np

    from sweep.cli.trial_tables import trials_table
    from sweep.report.table import Table
    from sweep.text import Column

    table = trials_table(study, numbers)
    if scores is None:
        return table
    column = _scores(study.board.select(np.array(numbers, np.int64)), scores)
    columns = (*table.columns, Column("plateau", "number", priority=2))
    rows = [(*row, score) for row, score in zip(table.rows, column, strict=True)]
    return Table(columns, rows, table.title)


def _asked_first(table: Table, asked: frozenset[str]) -> Table:
    """Return the table with the columns that were asked for as the last to be dropped."""
    from dataclasses import replace

    columns = tuple(
        replace(c, priority=1 if asked & {c.name, c.key} else c.priority + 1) for c in table.columns
    )
    return replace(table, columns=columns)


def _chosen(
    study: Study,
    sort_by: str | None,
    ascending: bool,
    where: str | None,
    state: str | None,
    scores: dict[bytes, float] | None,
) -> tuple[IntArray1D, frozenset[str]]:
    """Return the numbers of the trials that pass, in order, and the columns asked for."""
    import numpy as np

    from sweep.errors import InputError
    from sweep.search.expressions import parse_where
    from sweep.text import known_names

    if ascending and sort_by is None:
        raise click.UsageError("--ascending needs --sort-by COLUMN")
    names = list(_columns(study, study.board.select(np.zeros(0, np.int64)), scores))
    passes = None if where is None else parse_where(where, names)
    if sort_by is not None and sort_by not in names:
        raise InputError(
            f"--sort-by {sort_by}: there is no such column{known_names(sort_by, names)}"
        )
    asked = frozenset(
        {sort_by or ""}
        | set(passes.names if passes is not None else ())
        | {"plateau" if scores is not None else ""}
        # Why a trial is no complete one is what is asked with its state.
        | {"reason" if state not in (None, "complete") else ""}
    )
    if passes is None and sort_by is None and state is None:
        return np.arange(len(study.board)), asked
    numbers: list[int] = []
    keys: list[Any] = []
    for block in study.board.blocks():
        if state is not None:
            block = block.select(block.in_state(state))
        columns = _columns(study, block, scores)
        kept = list(range(len(block)))
        if passes is not None:
            kept = np.flatnonzero(passes(columns, len(block))).tolist()
        numbers += block.numbers[kept].tolist()
        if sort_by is not None:
            keys += [columns[sort_by][k] for k in kept]
    if sort_by is not None:
        numbers = [numbers[k] for k in _sorted(keys, ascending)]
    return np.array(numbers, np.int64), asked


def _columns(
    study: Study, block: TrialBlock, scores: dict[bytes, float] | None
) -> dict[str, list[Any]]:
    from sweep.stats.metrics import METRICS
    from sweep.text import metric_column

    arrays = study.columns_of(block)
    columns = {n: v if isinstance(v, list) else v.tolist() for n, v in arrays.items()}
    if scores is not None:
        columns["plateau"] = _scores(block, scores)
    # A name with its unit, as in CSV, is as good as one without.
    return columns | {metric_column(name).key: columns[name] for name in METRICS}


def _sorted(keys: list[Any], ascending: bool) -> list[int]:
    """Return the places of keys in order; those without a value come last, ties as they are."""
    defined = [k for k, key in enumerate(keys) if key is not None and key == key]
    rest = [k for k, key in enumerate(keys) if key is None or key != key]
    return sorted(defined, key=lambda k: keys[k], reverse=not ascending) + rest
