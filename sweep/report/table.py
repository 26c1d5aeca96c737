"""Tables: for people by way of a document, as JSON and CSV for programs; what ``-f`` asks for.

A table on a screen is rounded and fitted; JSON and CSV carry every number with the
digits that read back to the same bits. Undefined values are ``-`` on a screen, null in
JSON and empty in CSV. Units are part of the names in JSON and CSV:
``mean_holding_time_s``. Shares are fractions (0.12, never "12%"), times ISO 8601 in UTC.

Files appear whole or not at all, and never replace another one unasked.
"""

from __future__ import annotations

import csv
import json
import math
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from sweep.errors import InputError, SweepError
from sweep.report.document import Grid, TextColumn
from sweep.report.terminal import lines_of, print_lines
from sweep.text import Column, as_cells, is_missing, plain, timestamp

__all__ = [
    "FORMATS",
    "Column",
    "Table",
    "emit",
    "emit_pieces",
    "json_text",
    "new_file",
    "table_lines",
    "write_csv",
    "write_json",
    "write_parquet",
    "write_rows",
    "write_table",
]

FORMATS = ("table", "json", "csv")


@dataclass(frozen=True)
class Table:
    """Named columns and rows of values.

    Attributes
    ----------
    columns : tuple of Column
        With distinct keys.
    rows : sequence of sequence
        One value per column: Python or NumPy scalars; None and NaN are undefined.
    title : str
        Shown above the table on a screen only.

    Raises
    ------
    ValueError
        If two columns share a key, or a row has another length.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    title: str = ""

    def __post_init__(self) -> None:
        """Check keys and lengths."""
        keys = [c.key for c in self.columns]
        twice = sorted({k for k in keys if keys.count(k) > 1})
        if twice:
            raise ValueError(f"columns with the same key: {', '.join(twice)}")
        for i, row in enumerate(self.rows):
            if len(row) != len(keys):
                raise ValueError(f"row {i} has {len(row)} values for {len(keys)} columns")

    def records(self) -> list[dict[str, Any]]:
        """Rows as mappings from key to a value that JSON can hold."""
        keys = [c.key for c in self.columns]
        kinds = [c.kind for c in self.columns]
        return [
            {key: _json_cell(kind, v) for key, kind, v in zip(keys, kinds, row, strict=True)}
            for row in self.rows
        ]

    def grid(self, hint: str = "-f csv has all") -> Grid:
        """The table as a part of a document; ``hint`` says where columns without room are."""
        columns = tuple(
            TextColumn(
                column.name,
                tuple(as_cells(column.kind, [row[i] for row in self.rows])),
                column.priority if i else 0,  # the first column says which row it is
                column.kind not in ("text", "time"),
                whole=column.kind == "time",
            )
            for i, column in enumerate(self.columns)
        )
        return Grid(columns, self.title, hint)


# --- to stdout ------------------------------------------------------------------------


def emit(
    table: Table,
    fmt: str = "table",
    *,
    stream: TextIO | None = None,
    no_color: bool = False,
    hint: str = "-f csv has all",
) -> None:
    """Write a table as ``-f`` asks.

    Parameters
    ----------
    table : Table
    fmt : {"table", "json", "csv"}
        JSON is one document: a list of objects.
    stream : text file, optional
        Default: stdout. On a terminal a table is fitted into its width; elsewhere
        (a pipe, a file) it is as wide as its columns.
    no_color : bool
        ``NO_COLOR`` in the environment does the same.
    hint : str
        Where to find the columns that do not fit, which are named below the table.

    Raises
    ------
    ValueError
        If the format is none of the three.
    """
    out = stream or sys.stdout
    if fmt == "csv":
        write_rows(out, table.columns, table.rows)
    elif fmt == "json":
        out.write(json_text(table.records()))
    elif fmt == "table":
        width = Console(file=out).width if out.isatty() else None
        print_lines(table_lines(table, width, hint=hint), stream=out, no_color=no_color)
    else:
        raise ValueError(f"format {fmt!r} is none of {', '.join(FORMATS)}")


def emit_pieces(pieces: Iterable[Table], fmt: str, *, stream: TextIO | None = None) -> None:
    """Write the rows of several tables as one, for programs; see `emit`.

    Parameters
    ----------
    pieces : iterable of Table
        At least one, with equal keys. Each is released before the next is taken.
    fmt : {"json", "csv"}
    stream : text file, optional
        Default: stdout.
    """
    out = stream or sys.stdout
    if fmt == "csv":
        for i, piece in enumerate(pieces):
            write_rows(out, piece.columns, piece.rows, header=not i)
        return
    before = "["
    for piece in pieces:
        for record in piece.records():
            text = json_text(record).rstrip("\n").replace("\n", "\n  ")
            out.write(f"{before}\n  {text}")
            before = ","
    out.write("[]\n" if before == "[" else "\n]\n")


def table_lines(table: Table, width: int | None, *, hint: str = "-f csv has all") -> list[Text]:
    """Lay a table out as lines of text, none wider than ``width``; None: as wide as it gets."""
    return lines_of([table.grid(hint)], width)


# --- values for programs --------------------------------------------------------------


def json_text(document: Any) -> str:
    """One JSON document, ended by a line break.

    Floats keep all their digits; NaN and infinities, which JSON lacks, become null.
    Tables become lists of objects; dataclasses, NumPy scalars and arrays, sets, paths
    and mappings are taken apart.
    """
    return json.dumps(_jsonable(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Table):
        return value.records()
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _jsonable(asdict(value))
    if isinstance(value, frozenset | set):
        return sorted(_jsonable(v) for v in value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _jsonable(value.tolist())
    if isinstance(value, Iterable):
        return [_jsonable(v) for v in value]
    return str(value)


def _json_cell(kind: str, value: Any) -> Any:
    scalar = plain(value)
    if kind == "time" and isinstance(scalar, int):
        return timestamp(scalar)
    return _jsonable(scalar)


def _csv_cell(kind: str, value: Any) -> str:
    scalar = plain(value)
    if is_missing(scalar):
        return ""
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    if kind == "time" and isinstance(scalar, int):
        return timestamp(scalar)
    # repr of a float is the shortest text that reads back to the same bits
    return repr(float(scalar)) if isinstance(scalar, float) else str(scalar)


class _UnixLines:
    """Ends the lines of a ``csv.writer`` with a line feed alone.

    Asked to do so itself, the writer no longer quotes texts with a carriage return in
    them, and its readers take that for the end of a row.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        return self._stream.write(line.removesuffix("\r\n") + "\n")


def write_rows(
    stream: TextIO,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Any]],
    *,
    header: bool = True,
) -> None:
    """Write CSV: a line of keys, then a line per row; rows are taken one at a time."""
    writer = csv.writer(_UnixLines(stream))
    if header:
        writer.writerow([c.key for c in columns])
    kinds = [c.kind for c in columns]
    for row in rows:
        writer.writerow([_csv_cell(k, v) for k, v in zip(kinds, row, strict=True)])


# --- files ----------------------------------------------------------------------------


def write_csv(path: str | os.PathLike[str], table: Table, *, force: bool = False) -> None:
    """Write a table as CSV.

    Raises
    ------
    InputError
        If the file exists and ``force`` is not given, or its folder does not.
    SweepError
        If writing fails, as on a full disk. No part of a file is left then.
    """
    with new_file(path, force=force) as temporary, _open_text(temporary) as stream:
        write_rows(stream, table.columns, table.rows)


def write_json(path: str | os.PathLike[str], document: Any, *, force: bool = False) -> None:
    """Write one JSON document; raises what ``write_csv`` raises."""
    text = json_text(document)
    with new_file(path, force=force) as temporary, _open_text(temporary) as stream:
        stream.write(text)


def write_parquet(path: str | os.PathLike[str], table: Table, *, force: bool = False) -> None:
    """Write a table as Parquet, times as UTC nanoseconds; raises what ``write_csv`` raises."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for i, column in enumerate(table.columns):
        values = [plain(row[i]) for row in table.rows]
        kind = pa.timestamp("ns", tz="UTC") if column.kind == "time" else None
        arrays[column.key] = pa.array(values, type=kind)
    with new_file(path, force=force) as temporary:
        pq.write_table(pa.table(arrays), temporary)


def write_table(path: str | os.PathLike[str], table: Table, *, force: bool = False) -> None:
    """Write a table as its file's ending says: ``.parquet``, or else CSV; see `write_csv`."""
    write = write_parquet if Path(path).suffix.lower() == ".parquet" else write_csv
    write(path, table, force=force)


def _open_text(path: Path) -> TextIO:
    return open(path, "w", encoding="utf-8", newline="")


@contextmanager
def new_file(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Lend a name to write to; the file takes its own name once the block ends well.

    Parameters
    ----------
    path : path-like
        A device or a pipe is written to directly.
    force : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        A name in the same folder. It is gone afterwards, whatever happened.

    Raises
    ------
    InputError
        If the file exists and ``force`` is not given, or its folder does not exist.
    SweepError
        If writing fails with an ``OSError``.
    """
    named = Path(path)
    try:
        if _is_special(named):
            yield named
            return
        # Through a link to the file it names: replacing the link would leave that after.
        target = Path(os.path.realpath(named))
        _check_target(named, target, force)
        temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
        try:
            yield temporary
            _publish(temporary, target, named, force)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SweepError(f"{named}: cannot be written: {reason}; nothing is left there") from error


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _check_target(named: Path, target: Path, force: bool) -> None:
    if target.is_dir():
        raise InputError(f"{named}: is a folder; name a file in it")
    if not target.parent.is_dir():
        raise InputError(f"{named}: folder {target.parent} does not exist; make it first")
    if not force and target.exists():
        raise InputError(_exists(named))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"{named}: no permission to write in folder {target.parent}")


def _exists(named: Path) -> str:
    return f"{named}: exists already; give --force to replace it, or another name"


def _publish(temporary: Path, target: Path, named: Path, force: bool) -> None:
    """Give a complete file its name, on disk before it is seen."""
    with open(temporary, "rb+") as stream:
        os.fsync(stream.fileno())
    if force:
        os.replace(temporary, target)
        return
    try:
        # Unlike a rename, a link fails where a file has appeared in the meantime.
        os.link(temporary, target)
    except FileExistsError:
        raise InputError(_exists(named)) from None
    except OSError:  # file systems without hard links
        if target.exists():
            raise InputError(_exists(named)) from None
        os.replace(temporary, target)
