"""`sweep data`: import, inspect, list, clear and generate ticks."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sweep.cli.options import (
    force_option,
    format_option,
    hint,
    no_color_option,
    note,
    quiet_option,
)

if TYPE_CHECKING:
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import Entry, Imported

__all__ = ["data"]

F = TypeVar("F", bound=Callable[..., Any])

_STORES = ("disk", "memory")
_SOURCE_OPTIONS = (
    click.option("--kind", type=click.Choice(("quotes", "trades")), help="Default: quotes."),
    click.option("--instrument", metavar="NAME", help="Which one, where there are several."),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="OURS=THEIRS",
        help="Such as ts=Time, bid=Bid; recognised by default. An empty name leaves one out.",
    ),
    click.option(
        "--time-format", metavar="FORMAT", help='"iso", "s", "ms", "us", "ns", or "%d.%m.%Y ...".'
    ),
    click.option("--timezone", metavar="ZONE", help="Of stamps that name none; default: UTC."),
    click.option(
        "--policy",
        "policies",
        multiple=True,
        metavar="CHECK=POLICY",
        help="Such as crossed=drop, backward=sort, nan=fill.",
    ),
)
_store_option = click.option(
    "--store", type=click.Choice(_STORES), default="disk", show_default=True, help="Where to."
)


def _source_options(command: F) -> F:
    """Add the options for reading a source."""
    for option in reversed(_SOURCE_OPTIONS):
        command = option(command)
    return command


@click.group()
def data() -> None:
    """Import, list and generate ticks.

    A study imports its ticks by itself. Imported ones lie in $SWEEP_CACHE (by default
    sweep in $XDG_CACHE_HOME or ~/.cache), and every process on the machine shares one copy.
    """


@data.command("import")
@click.argument("source", metavar="SOURCE")
@_source_options
@_store_option
@quiet_option
@no_color_option
@format_option
def import_(source: str, store: str, quiet: bool, no_color: bool, fmt: str, **options: Any) -> None:
    """Check ticks and put them into the store.

    SOURCE is a file (Parquet, Arrow, Feather, CSV plain or compressed), a folder with
    any of them, a pattern such as "ticks/*.csv.gz", or "synth".
    """
    imported = _imported(_spec(source, options), store, quiet=quiet, no_color=no_color)
    _show(_document(imported), fmt, no_color=no_color)
    if not imported.built:
        note("these ticks were in the store already", quiet=quiet)
    hint(["sweep", "run", "STUDY.toml", "--source", source], quiet=quiet)


@data.command()
@click.argument("source", metavar="SOURCE|KEY")
@_source_options
@click.option("--verify", is_flag=True, help="Read all of it, and compare it with its hash.")
@quiet_option
@no_color_option
@format_option
def info(source: str, verify: bool, quiet: bool, no_color: bool, fmt: str, **options: Any) -> None:
    """Show what the checks found in ticks.

    A KEY, or its beginning, is one that `sweep data list` shows. A SOURCE that is not
    in the store is imported.
    """
    from sweep.errors import StoreError
    from sweep.ticks import mapped

    entry = _find(source, any(options.values()))
    if entry is None:
        document = _document(_imported(_spec(source, options), "disk", quiet=quiet))
    else:
        document = _entry_document(entry)
    if verify and not mapped.verify(_handle_of(document)):
        raise StoreError(
            f"{document['path']}: damaged: its bytes have changed since the import; remove it "
            f"with: sweep data clear {document['key'][:12]}"
        )
    _show(document, fmt, no_color=no_color)
    if verify:
        note("verified: every byte is as it was imported", quiet=quiet)
    hint(["sweep", "data", "list"], quiet=quiet)


@data.command("list")
@quiet_option
@no_color_option
@format_option
def list_(quiet: bool, no_color: bool, fmt: str) -> None:
    """List the ticks in the store, those used last first."""
    from sweep.report.table import Table, emit
    from sweep.text import Column, bytes_text
    from sweep.ticks.store import list_entries

    entries = list_entries()
    columns = (
        Column("key", "text", priority=0),
        Column("source", "text", priority=0),
        Column("instrument", "text", priority=4),
        Column("ticks", "count", priority=1),
        Column("first", "time", priority=2),
        Column("last", "time", priority=3),
        Column("size", "bytes", unit="bytes", priority=1),
        Column("store", "text", priority=5),
        Column("used", "time", priority=6),
        Column("in_use", "boolean", priority=4),
    )
    rows = [_row(entry, short=fmt == "table") for entry in entries]
    emit(Table(columns, rows), fmt, no_color=no_color)
    total = sum(e.bytes for e in entries)
    note(f"{len(entries):,} imported, {bytes_text(total)}", quiet=quiet)
    if entries:
        hint(["sweep", "data", "info", entries[0].key[:12]], quiet=quiet)
    else:
        hint(["sweep", "data", "import", "SOURCE"], quiet=quiet)


@data.command()
@click.argument("keys", nargs=-1, metavar="[KEY|SOURCE]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--store", type=click.Choice(_STORES), help="Only those on disk, or in memory.")
@quiet_option
@format_option
def clear(keys: tuple[str, ...], everything: bool, store: str | None, quiet: bool, fmt: str) -> int:
    """Remove ticks from the store. Those in use stay.

    The sources are not touched: a study imports its ticks again when it needs them.
    """
    from sweep.errors import EXIT_FAILED, EXIT_OK
    from sweep.report.table import json_text
    from sweep.ticks.store import clear as clear_store

    if bool(keys) == everything:
        raise click.UsageError("name the keys to remove (see: sweep data list), or use --all")
    removed, in_use = clear_store(None if everything else _keys(keys, store), where=store)
    if fmt == "json":
        sys.stdout.write(json_text({"removed": removed, "in_use": in_use}))
    elif fmt == "csv":
        _emit_keys(removed, in_use)
    note(f"{len(removed):,} removed", quiet=quiet)
    if in_use:
        note(f"{len(in_use):,} in use, which stay: {', '.join(k[:12] for k in in_use)}")
    hint(["sweep", "data", "list"], quiet=quiet)
    return EXIT_FAILED if in_use and keys else EXIT_OK


@data.command()
@click.argument("out", metavar="OUT.parquet", type=click.Path(path_type=Path))
@click.option("--sessions", type=int, metavar="N", help="Trading days; default: 10.")
@click.option("--ticks-per-session", type=int, metavar="N", help="Mean; default: 25000.")
@click.option("--seed", type=int, metavar="N", help="Default: 0.")
@click.option("--start", metavar="DATE", help="Of the first session; default: 2024-01-01.")
@click.option("--session-open", type=float, metavar="HOUR", help="UTC; default: 8.")
@click.option("--session-hours", type=float, metavar="HOURS", help="Default: 8.")
@click.option("--price", type=float, metavar="X", help="At the start; default: 100.")
@click.option("--tick-size", type=float, metavar="X", help="Grid of prices; default: 0.01.")
@click.option("--spread-ticks", type=float, metavar="X", help="Mean, in tick sizes; default: 2.")
@click.option("--volatility", type=float, metavar="X", help="Annual; default: 0.2.")
@click.option("--jumps-per-session", type=float, metavar="X", help="Mean; default: 1.")
@click.option("--jump-size", type=float, metavar="X", help="In daily deviations; default: 0.2.")
@click.option("--sizes", is_flag=True, default=None, help="With bid_size and ask_size.")
@click.option("--effect", metavar="NAME", help='"none" (default), momentum, reversion, hour.')
@click.option("--effect-size", type=float, metavar="X", help="In noise deviations; default: 1.")
@click.option("--effect-hour", type=int, metavar="HOUR", help="Of the effect hour; default: 10.")
@force_option
@quiet_option
@format_option
def synth(out: Path, force: bool, quiet: bool, fmt: str, **options: Any) -> None:
    """Generate a market with a known effect, or with none, into a Parquet file.

    Equal options give equal ticks. docs/study-file.md describes the model.
    """
    from sweep.errors import InputError
    from sweep.report.table import json_text, new_file
    from sweep.text import counted
    from sweep.ticks.sources import write_parquet
    from sweep.ticks.synthetic import SynthSpec, generate

    spec = SynthSpec(**{name: value for name, value in options.items() if value is not None})
    if out.suffix != ".parquet":
        raise InputError(
            f"{out}: ticks are written as Parquet; use a name such as {out.stem}.parquet"
        )
    with new_file(out, force=force) as file:
        rows = write_parquet(generate(spec), file)
    size = out.stat().st_size
    if fmt == "json":
        sys.stdout.write(json_text({"path": str(out), "ticks": rows, "size_bytes": size}))
    elif fmt == "csv":
        _emit_file(out, rows, size)
    note(f"{out}: {counted(rows, 'tick')}, effect {spec.effect}", quiet=quiet)
    hint(["sweep", "run", "STUDY.toml", "--source", out], quiet=quiet)


def _spec(source: str, options: dict[str, Any]) -> SourceSpec:
    """Make the source of a command line."""
    from sweep.errors import DataError
    from sweep.text import known_names
    from sweep.ticks.quality import CHECKS, Policies
    from sweep.ticks.sources import SourceSpec

    policies = dict(_pair("--policy", text) for text in options["policies"])
    for name in policies:
        if name not in CHECKS:
            raise DataError(f"--policy {name}: there is no such check{known_names(name, CHECKS)}")
    named = {n: options[n] for n in ("kind", "instrument", "time_format", "timezone")}
    return SourceSpec(
        path=source,
        columns=tuple(_pair("--column", text) for text in options["columns"]),
        policies=Policies(**policies),
        **{name: value for name, value in named.items() if value is not None},
    )


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{option} {text}: a name, = and a value are expected")
    return name.strip(), value.strip()


def _imported(
    spec: SourceSpec, store: str, *, quiet: bool = False, no_color: bool = False
) -> Imported:
    from sweep.cli.progress import ImportProgress
    from sweep.ticks.store import import_ticks

    with ImportProgress(quiet=quiet, no_color=no_color) as progress:
        return import_ticks(
            spec, where="memory" if store == "memory" else "disk", progress=progress
        )


def _find(text: str, with_options: bool) -> Entry | None:
    """Return the entry that a key's beginning, or a source's path, names."""
    from sweep.errors import StoreError
    from sweep.ticks.store import list_entries

    entries = list_entries()
    path = str(Path(text).expanduser().absolute())
    if Path(path).exists() or text == "synth":
        if with_options or text == "synth":
            return None
        return next((e for e in entries if e.source == path and not _is_stale(e)), None)
    if not re.fullmatch(r"[0-9a-f]{4,32}", text):
        return None
    matching = [e for e in entries if e.key.startswith(text)]
    if len(matching) != 1:
        what = f"{len(matching)} entries begin so" if matching else "the store has no such entry"
        raise StoreError(f"{text}: {what}; see: sweep data list")
    return matching[0]


def _is_stale(entry: Entry) -> bool:
    """Whether a single file was written again after it was imported."""
    source = Path(entry.source)
    return source.is_file() and source.stat().st_mtime > entry.created


def _keys(given: Sequence[str], store: str | None) -> list[str]:
    """Replace paths by the keys of all that was imported from there."""
    from sweep.ticks.store import list_entries

    keys = []
    for text in given:
        # An empty text is no path, though Python reads one as the present folder.
        paths = (text, str(Path(text).expanduser().absolute())) if text else ()
        of_path = [e.key for e in list_entries() if e.source in paths and store in (None, e.where)]
        keys += of_path or [text]
    return keys


def _document(imported: Imported) -> dict[str, Any]:
    """Describe an import as plain data."""
    from dataclasses import asdict

    handle = asdict(imported.handle)
    report = imported.report.to_dict()
    return {"key": Path(imported.handle.path).name, **handle, "report": report}


def _entry_document(entry: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    return {"key": entry.key, **asdict(entry.handle), "report": entry.report.to_dict()}


def _handle_of(document: dict[str, Any]) -> Any:
    from dataclasses import fields

    from sweep.schema import TickHandle

    values = {f.name: document[f.name] for f in fields(TickHandle)}
    return TickHandle(**{**values, "columns": tuple(values["columns"])})


def _show(document: dict[str, Any], fmt: str, *, no_color: bool) -> None:
    """Write the report of an import as ``-f`` asks."""
    from sweep.report.table import Table, emit, json_text, table_lines
    from sweep.text import Column
    from sweep.ticks.quality import TickReport

    report = TickReport.from_dict(document["report"])
    if fmt == "json":
        sys.stdout.write(json_text(_plain(document, report)))
        return
    if fmt == "csv":
        columns = (
            Column("check", "text"),
            Column("count", "count"),
            Column("policy", "text"),
            Column("first_file", "text"),
            Column("first_row", "integer"),
            Column("first_stamp", "time"),
        )
        rows = [(f.check, f.count, f.policy, f.file, f.row, f.ts) for f in report.findings]
        emit(Table(columns, rows), "csv")
        return
    from rich.text import Text

    from sweep.report.terminal import print_lines, screen_width

    width = screen_width()
    shown = (
        Column("check", "text", priority=0),
        Column("count", "count", priority=0),
        Column("policy", "text", priority=1),
        Column("first", "text", priority=2),
    )
    lines = [Text(line) for line in report.summary()]
    lines.append(Text(f"key {document['key'][:12]}, columns {', '.join(document['columns'])}"))
    lines += table_lines(
        Table(shown, [(f.check, f.count, f.policy, f.first or None) for f in report.findings]),
        width,
    )
    lines += [Text(line, "dim") for line in report.notes]
    print_lines(lines, no_color=no_color)


def _plain(document: dict[str, Any], report: Any) -> dict[str, Any]:
    """Describe an import for programs: times ISO 8601, durations in seconds."""
    from sweep.ticks.quality import format_stamp

    return {
        "key": document["key"],
        "path": document["path"],
        "source": report.source,
        "files": report.files,
        "kind": document["kind"],
        "columns": list(document["columns"]),
        "content": document["content"],
        "ticks_read": report.rows_read,
        "ticks": report.rows_kept,
        "first": format_stamp(report.first_ts),
        "last": format_stamp(report.last_ts),
        "median_gap_s": report.median_gap / 1e9,
        "largest_gap_s": report.largest_gap / 1e9,
        "largest_gap_before": format_stamp(report.largest_gap_ts),
        "checks": [
            {
                "check": f.check,
                "policy": f.policy,
                "count": f.count,
                "first_file": f.file,
                "first_row": f.row,
                "first_stamp": None if f.ts is None else format_stamp(f.ts),
            }
            for f in report.findings
        ],
        "notes": list(report.notes),
    }


def _row(entry: Entry, *, short: bool) -> tuple[Any, ...]:
    source = Path(entry.source).name if short else entry.source
    return (
        entry.key[:12] if short else entry.key,
        source,
        entry.instrument,
        entry.handle.n_ticks,
        entry.handle.first_ts,
        entry.handle.last_ts,
        entry.bytes,
        entry.where,
        int(entry.used) * 10**9,
        entry.leased,
    )


def _emit_keys(removed: Sequence[str], in_use: Sequence[str]) -> None:
    from sweep.report.table import Table, emit
    from sweep.text import Column

    rows = [(k, True) for k in removed] + [(k, False) for k in in_use]
    emit(Table((Column("key", "text"), Column("removed", "boolean")), rows), "csv")


def _emit_file(out: Path, rows: int, size: int) -> None:
    from sweep.report.table import Table, emit
    from sweep.text import Column

    columns = (
        Column("path", "text"),
        Column("ticks", "count"),
        Column("size", "bytes", unit="bytes"),
    )
    emit(Table(columns, [(str(out), rows, size)]), "csv")
