"""`sweep replay`: one variant alone, with its trades, its fills and its equity."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
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
    trust_of,
    trust_option,
)

if TYPE_CHECKING:
    from sweep.report.table import Table
    from sweep.study.study import ReplayResult, Study

__all__ = ["refuse_existing", "replay", "values_of"]

#: Trades of the list on a screen.
_SHOWN = 10
_ENDINGS = (".csv", ".parquet")
#: Ticks that are written together.
_BLOCK = 1 << 16


def _checked_path(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and Path(value).suffix.lower() not in _ENDINGS:
        raise click.BadParameter(f"{value} must end in {' or '.join(_ENDINGS)}", ctx, param)
    return value


@click.command()
@click.argument("trial", required=False, type=int, metavar="[TRIAL]")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variant by its values; the rest are the trial's if one is named, else the defaults.",
)
@click.option(
    "--on",
    type=click.Choice(("search", "holdout")),
    default="search",
    show_default=True,
    help="Which ticks. Opening the holdout is recorded.",
)
@click.option("--trades", metavar="FILE", callback=_checked_path, help="Write the round trips.")
@click.option("--equity", metavar="FILE", callback=_checked_path, help="Write equity by tick.")
@click.option("--fills", metavar="FILE", callback=_checked_path, help="Write every fill.")
@click.option("--study", "folder", metavar="FOLDER", help="The latest under results by default.")
@force_option
@source_option
@trust_option
@quiet_option
@no_color_option
@format_option
def replay(
    trial: int | None,
    params: tuple[str, ...],
    on: str,
    folder: str | None,
    force: bool,
    source: str | None,
    trust: bool,
    quiet: bool,
    no_color: bool,
    fmt: str,
    **paths: str | None,
) -> None:
    """Evaluate one variant alone, by the kernel that the search used, in full detail.

    TRIAL is the best one by default. Its figures are compared with those of the search,
    to the bit. Files are CSV or Parquet by their ending, with all digits; money in the
    quote currency, times in UTC.
    """
    from sweep.report.table import emit, json_text

    study = open_study(folder, source, trust=trust, quiet=quiet)
    refuse_existing(paths, force)
    variant = _variant(study, trial, params)
    if on == "holdout":
        from sweep.study.amend import open_holdout

        result = open_holdout(study, variant)
    else:
        result = study.replay(variant)
    trades = _trades_table(result)
    _write_files(result, trades, paths, force=force, quiet=quiet)
    if fmt == "json":
        sys.stdout.write(json_text(_document(study, variant, result, trades)))
    elif fmt == "csv":
        emit(_row_table(variant, result), "csv")
    else:
        _print(study, variant, result, trades, no_color=no_color)
    if not any(paths.values()):
        words = ["sweep", "replay", *([] if trial is None else [str(trial)])]
        words += [word for item in params for word in ("--param", item)]
        files = ["--trades", "trades.csv", "--equity", "equity.parquet"]
        hint([*words, "--study", study.folder, *files, *trust_of(study)], quiet=quiet)


def refuse_existing(paths: dict[str, str | None], force: bool) -> None:
    """Refuse files that are there before anything is evaluated."""
    from sweep.errors import InputError

    given = [path for path in paths.values() if path is not None]
    for path in given:
        if not force and Path(path).exists():
            raise InputError(f"{path}: exists already; give --force to replace it, or another name")
    for path in set(given):
        if given.count(path) > 1:
            raise InputError(f"{path}: is named for two different tables; give each its own file")


def _variant(study: Study, trial: int | None, params: tuple[str, ...]) -> int | dict[str, Any]:
    from sweep.errors import InputError

    if not params:
        if trial is not None:
            return trial
        best = study.best(1)
        if not best:
            raise InputError(
                f"{study.folder}: no trial is complete; name one, or give --param NAME=VALUE"
            )
        return best[0]
    values: dict[str, Any] = {}
    if trial is not None:
        if not 0 <= trial < len(study.board):
            raise InputError(f"{study.folder}: no trial {trial}; there are {len(study.board)}")
        values = study.params(trial)
    values |= values_of(study, params)
    row = study.space.encode(values)
    if not study.space.is_valid(row):
        note("warning: the strategy's valid() refuses these values together")
    # A variant that was searched is compared with what the search found.
    number = study.board.find(row)
    return values if number < 0 else number


def values_of(study: Study, params: tuple[str, ...]) -> dict[str, Any]:
    """Return the values that ``--param NAME=VALUE`` gives, by name."""
    from sweep.errors import SpaceError

    values = {}
    for item in params:
        name, equals, text = item.partition("=")
        if not equals:
            raise click.UsageError(f"--param {item}: expected NAME=VALUE, as in fast=20")
        try:
            parameter = study.space.parameters[study.space.index(name.strip())]
            values[parameter.name] = parameter.parse(text)
        except SpaceError as error:
            raise SpaceError(f"--param {item}: {error}") from None
    return values


# -- what is shown ---------------------------------------------------------------------


def _comparison(study: Study, variant: int | dict[str, Any], result: ReplayResult) -> str:
    from sweep.text import counted

    if result.on == "holdout":
        n = len(study.opened)
        return f"holdout, opened for {counted(n, 'variant')} so far"
    if isinstance(variant, dict):
        return "no trial of the search"
    complete = study.board.trial(variant).n_slices == len(study.setup.slices)
    return (
        "the same bits as in the search" if complete else "pruned in the search: more slices here"
    )


def _name(variant: int | dict[str, Any]) -> str:
    return f"trial {variant}" if isinstance(variant, int) else "variant"


def _print(
    study: Study,
    variant: int | dict[str, Any],
    result: ReplayResult,
    trades: Table,
    *,
    no_color: bool,
) -> None:
    from dataclasses import replace

    from sweep.cli.trial_tables import metrics_table
    from sweep.report.document import Facts, Heading, Part
    from sweep.report.terminal import lines_of, print_lines, screen_width
    from sweep.text import counted

    n = len(trades.rows)
    title = counted(n, "trade") + (f", the first {_SHOWN}" if n > _SHOWN else "")
    first = replace(trades, rows=trades.rows[:_SHOWN], title=title)
    parts: list[Part] = [
        Heading(_name(variant), _comparison(study, variant, result)),
        Facts(tuple((name, str(value)) for name, value in result.params.items())),
        metrics_table(result.metrics, label=result.on).grid(),
        first.grid("--trades FILE has all") if n else Heading(title),
    ]
    print_lines(lines_of(parts, screen_width()), no_color=no_color)


def _document(
    study: Study, variant: int | dict[str, Any], result: ReplayResult, trades: Table
) -> dict[str, Any]:
    number = variant if isinstance(variant, int) else None
    return {
        "study": study.name,
        "folder": study.folder,
        "trial": number,
        "on": result.on,
        "params": result.params,
        "metrics": dict(_metric_cells(result)),
        "holdout_opened": len(study.opened),
        "trades": trades,
    }


def _metric_cells(result: ReplayResult) -> Iterator[tuple[str, float]]:
    """Yield the metrics by their names with units, counts as whole numbers."""
    from sweep.text import metric_column

    for name, value in result.metrics.items():
        column = metric_column(name)
        yield column.key, int(value) if column.kind == "count" and value == value else value


def _row_table(variant: int | dict[str, Any], result: ReplayResult) -> Table:
    from sweep.report.table import Table
    from sweep.text import Column, metric_column, parameter_column

    names = list(result.params)
    columns = [Column("trial", "integer"), Column("on", "text")]
    columns += [parameter_column(n, [result.params[n]]) for n in names]
    columns += [metric_column(name) for name in result.metrics]
    number = variant if isinstance(variant, int) else None
    row = [number, result.on, *result.params.values(), *(v for _, v in _metric_cells(result))]
    return Table(tuple(columns), [row])


# -- files -----------------------------------------------------------------------------


def _trades_table(result: ReplayResult) -> Table:
    from sweep.backtest.trades import round_trips
    from sweep.report.table import Table
    from sweep.text import Column

    trips = round_trips(result.replay.fills)
    sides = {1: "long", -1: "short"}
    columns = (
        Column("trade", "integer", priority=0),
        Column("entry_ts", "time", priority=1),
        Column("exit_ts", "time", priority=5),
        Column("side", "text", priority=1),
        Column("quantity", "number", priority=3),
        Column("entry_price", "price", priority=2),
        Column("exit_price", "price", priority=2),
        Column("profit", "cash", priority=0),
        Column("holding_time", "duration", "s", priority=4),
        Column("commission", "cash", priority=6),
        Column("slippage", "cash", priority=7),
        Column("spread_cost", "cash", priority=7),
        Column("fills", "count", priority=8),
    )
    rows = [
        (
            k,
            int(t["entry_ts"]),
            int(t["exit_ts"]),
            sides[int(t["side"])],
            *(float(t[name]) for name in ("quantity", "entry_price", "exit_price", "profit")),
            (int(t["exit_ts"]) - int(t["entry_ts"])) / 1e9,
            *(float(t[name]) for name in ("commission", "slippage", "spread")),
            int(t["fills"]),
        )
        for k, t in enumerate(trips)
    ]
    return Table(columns, rows)


def _fills_table(result: ReplayResult) -> Table:
    from sweep.report.table import Table
    from sweep.text import Column

    fills = result.replay.fills
    columns = (
        Column("ts", "time"),
        Column("tick", "integer"),
        Column("delta", "number"),
        Column("price", "price"),
        Column("position", "number"),
        Column("commission", "cash"),
        Column("slippage", "cash"),
        Column("spread_cost", "cash"),
        Column("trade_profit", "cash"),
    )
    names = ("delta", "price", "position", "commission", "slippage", "spread", "profit")
    rows = [(int(f["ts"]), int(f["tick"]), *(float(f[n]) for n in names)) for f in fills]
    return Table(columns, rows)


def _write_files(
    result: ReplayResult,
    trades: Table,
    paths: dict[str, str | None],
    *,
    force: bool,
    quiet: bool,
) -> None:
    from sweep.report.table import write_table
    from sweep.text import counted

    if (path := paths["trades"]) is not None:
        write_table(path, trades, force=force)
        note(f"{path}: {counted(len(trades.rows), 'trade')}", quiet=quiet)
    if (path := paths["fills"]) is not None:
        table = _fills_table(result)
        write_table(path, table, force=force)
        note(f"{path}: {counted(len(table.rows), 'fill')}", quiet=quiet)
    if (path := paths["equity"]) is not None:
        _write_equity(path, result, force)
        note(f"{path}: {counted(len(result.replay.ts), 'tick')}", quiet=quiet)


def _write_equity(path: str, result: ReplayResult, force: bool) -> None:
    """Write one row a tick: by columns, since there may be a hundred million."""
    from sweep.report.table import new_file, write_rows
    from sweep.text import Column

    r = result.replay
    if Path(path).suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        stamps = pa.array(r.ts, type=pa.timestamp("ns", tz="UTC"))
        table = pa.table({"ts": stamps, "equity": r.equity, "position": r.position})
        with new_file(path, force=force) as temporary:
            pq.write_table(table, temporary)
        return
    columns = (Column("ts", "text"), Column("equity", "cash"), Column("position", "number"))
    with new_file(path, force=force) as temporary, open(temporary, "w", encoding="utf-8") as out:
        write_rows(out, columns, _equity_rows(r))


def _equity_rows(r: Any) -> Iterator[tuple[str, float, float]]:
    import numpy as np

    for first in range(0, len(r.ts), _BLOCK):
        part = slice(first, first + _BLOCK)
        stamps = np.datetime_as_string(r.ts[part].view("M8[ns]"), unit="ns")
        for stamp, equity, position in zip(
            stamps, r.equity[part].tolist(), r.position[part].tolist(), strict=True
        ):
            yield f"{stamp}Z", equity, position
