"""Read one file of ticks in chunks: Parquet, Arrow and Feather, CSV plain or compressed.

The only module that knows file formats. Formats are told by their first bytes, not by
the name. Every failure inside a file is raised as a DataError that names it.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sweep.errors import DataError, StoreError
from sweep.schema import FloatArray1D
from sweep.ticks.columns import ROLES, CsvLayout, csv_layout, find_columns
from sweep.ticks.quality import NO_STAMP, Chunk
from sweep.ticks.timestamps import BadStampError, StampParser, from_numpy, to_numpy

__all__ = ["BATCH", "FileChunk", "FileReader", "ReadOptions", "write_parquet"]

#: Ticks in a chunk, at the most: their columns stay in a processor's own cache.
BATCH = 1 << 16
#: The same where stamps are text, whose format is recognised by the first chunk.
_TEXT_BATCH = 1 << 18
#: Arrow reads a number of blocks ahead: with 8 MiB each, 10 million rows took 450 MB of
#: memory, with 1 MiB 170 MB, and no longer.
_CSV_BLOCK = 1 << 20
_SNIFF = 1 << 16

Batch = Any  # pyarrow.RecordBatch; pyarrow has no type information

_STAMPS = ("ts", "date", "time")
_BUYS = ("buy", "b", "1", "1.0", "+1", "long", "ask")
_SELLS = ("sell", "s", "-1", "-1.0", "0", "short", "bid")
_MISSING = ["", "NaN", "nan", "NAN", "NA", "N/A", "null", "NULL", "None", "-nan", "#N/A"]

#: Exceptions of libraries on files that are cut short or damaged.
_BROKEN = (
    *(pa.ArrowException, OSError, EOFError, ValueError),
    *(lzma.LZMAError, zlib.error, zipfile.BadZipFile),
)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "stream"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"FEA1", "a Feather file of version 1; write it again with version 2"),
    (b"\x89HDF", "an HDF5 file; write its table as Parquet or CSV"),
    (b"SQLite format 3", "an SQLite database; write its table as Parquet or CSV"),
    (b"\x93NUMPY", "a NumPy file; write its table as Parquet or CSV"),
    (b"PARE", "an encrypted Parquet file"),
    (b"Obj\x01", "an Avro file; write its table as Parquet or CSV"),
    (b"ORC", "an ORC file; write its table as Parquet or CSV"),
    (b"<!DOCTYPE", "a web page, perhaps a failed download"),
    (b"<html", "a web page, perhaps a failed download"),
)


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file: its kind, its columns, its time format.

    Attributes
    ----------
    kind : {"quotes", "trades"}
    columns : dict of str to str
        Roles to columns, as the user named them.
    time_format : str or None
    timezone : str
    instrument : str or None
        Rows of this instrument only, where the file has a column of instruments.
    """

    kind: str
    columns: dict[str, str]
    time_format: str | None
    timezone: str
    instrument: str | None


@dataclass(frozen=True)
class FileChunk:
    """A chunk of a file's ticks, and how far into the file it is.

    Attributes
    ----------
    chunk : dict of ndarray
        Columns ``ts``, ``bid``, ``ask`` and sizes; ``row`` counts from 1 in the file.
    share : float or None
        Share of the file read with it, from 0 to 1.
    """

    chunk: Chunk
    share: float | None


@dataclass
class FileReader:
    """One file, read from its beginning by :meth:`chunks`.

    Attributes
    ----------
    path : Path
    name : str
        Its name in messages.
    options : ReadOptions
    notes : list of str
        What was recognised, for the report.
    instruments : set of str
        Seen in the column of instruments; a hundred at the most.
    has_instruments : bool
        Whether there is such a column.
    """

    path: Path
    name: str
    options: ReadOptions
    notes: list[str] = field(default_factory=list)
    instruments: set[str] = field(default_factory=set)
    has_instruments: bool = False
    _peeking: bool = False

    def __post_init__(self) -> None:
        self._parser = StampParser(self.options.time_format, self.options.timezone)
        self._done = 0

    def chunks(self, batch: int = BATCH) -> Iterator[FileChunk]:
        """Yield the file's ticks, ``batch`` rows at the most together."""
        with self._errors():
            format_ = self._format()
            batches = {"parquet": self._parquet, "arrow": self._arrow, "stream": self._arrow}
            read: Callable[[str, int], Iterator[tuple[Batch, float | None]]]
            read = batches.get(format_, self._csv)
            for block, share in read(format_, batch):
                names = block.schema.names
                rows = _rows_of([_column(block, r).type for r in _STAMPS if r in names], batch)
                for begin in range(0, block.num_rows, rows):
                    part = block.slice(begin, rows)
                    chunk = self._convert(part)
                    self._done += part.num_rows
                    if len(chunk["ts"]):
                        yield FileChunk(chunk, share)
            if not self._done:
                raise DataError(f"{self.name}: the file holds no ticks")

    def peek(self) -> tuple[int, bool]:
        """Return the stamp of the first tick (or NO_STAMP), and whether there are instruments."""
        probe = FileReader(self.path, self.name, self.options, _peeking=True)
        try:
            first = next(probe.chunks(64), None)
        except DataError:
            # A few rows may be too few to tell day/month from month/day.
            probe = FileReader(self.path, self.name, self.options, _peeking=True)
            first = next(probe.chunks(), None)
        stamps = first.chunk["ts"] if first is not None else np.empty(0, np.int64)
        present = stamps[stamps != NO_STAMP]
        return (int(present[0]) if len(present) else NO_STAMP), probe.has_instruments

    def expected_rows(self) -> int | None:
        """Return the number of rows, where the file's footer states it."""
        with self._errors():
            if self._format() == "parquet":
                return int(pq.read_metadata(self.path).num_rows)
        return None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            text = str(error)
            raise DataError(
                text if text.startswith(self.name) else f"{self.name}: {text}"
            ) from None
        except MemoryError as error:
            raise StoreError(
                f"{self.name}: too little memory to read on after row {self._done:,}: {error}"
            ) from error
        except _BROKEN as e:
            after = f" after row {self._done:,}" if self._done else ""
            what = str(e).strip().split("\n")[0] or type(e).__name__
            raise DataError(
                f"{self.name}: the file is damaged, cut short, or not what it seems: it cannot "
                f"be read{after} ({what})"
            ) from e

    def _format(self) -> str:
        with self.path.open("rb") as file:
            head = file.read(16)
        if not head:
            raise DataError("the file is empty")
        for magic, what in _FOREIGN:
            if head.startswith(magic):
                raise DataError(f"this is {what}")
        return next((name for magic, name in _MAGIC if head.startswith(magic)), "text")

    # Each of the three readers yields record batches whose columns are named by role.

    def _parquet(self, _format: str, batch: int) -> Iterator[tuple[Batch, float | None]]:
        # Without the buffer, a column of a row group is read in one piece, whatever its size.
        with pq.ParquetFile(
            self.path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True
        ) as file:
            roles = self._roles(file.schema_arrow.names)
            total = max(file.metadata.num_rows, 1)
            seen = 0
            stamps = [roles[r] for r in _STAMPS if r in roles]
            batch = _rows_of([file.schema_arrow.field(name).type for name in stamps], batch)
            for part in file.iter_batches(batch, columns=list(dict.fromkeys(roles.values()))):
                seen += part.num_rows
                yield _by_role(part, roles), seen / total

    def _arrow(self, format_: str, _batch: int) -> Iterator[tuple[Batch, float | None]]:
        with pa.memory_map(str(self.path)) as source:
            if format_ == "stream":
                with pa.ipc.open_stream(source) as reader:
                    roles = self._roles(reader.schema.names)
                    for part in reader:
                        yield _by_role(part, roles), source.tell() / max(source.size(), 1)
                return
            with pa.ipc.open_file(source) as reader:
                roles = self._roles(reader.schema.names)
                count = reader.num_record_batches
                for i in range(count):
                    yield _by_role(reader.get_batch(i), roles), (i + 1) / count

    def _csv(self, format_: str, batch: int) -> Iterator[tuple[Batch, float | None]]:
        size = max(self.path.stat().st_size, 1)
        with self.path.open("rb") as raw:
            sample, encoding = self._sample(_decompressed(raw, format_))
        layout = csv_layout(
            sample, self.options.kind, complete=len(sample.encode()) < _SNIFF // 2, file=self.name
        )
        roles = self._csv_roles(layout)
        # Looking at the first rows must not decompress megabytes.
        block = _CSV_BLOCK if batch == BATCH else _SNIFF
        with self.path.open("rb") as raw:
            reader = _open_csv(_decompressed(raw, format_), layout, roles, encoding, block)
            for part in reader:
                yield _by_role(part, roles), min(raw.tell() / size, 1.0)

    def _sample(self, stream: IO[bytes]) -> tuple[str, str]:
        head = b""
        while len(head) < _SNIFF:
            more = stream.read(_SNIFF - len(head))
            if not more:
                break
            head += more
        if not head:
            raise DataError("the file is empty")
        encoding = "utf16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf8"
        if encoding == "utf8" and b"\x00" in head:
            raise DataError(
                "the file is neither Parquet, Arrow nor CSV text; if it is a table, write it "
                "as one of those"
            )
        name = "utf-16" if encoding == "utf16" else "utf-8-sig"
        return head.decode(name, "ignore"), encoding

    def _csv_roles(self, layout: CsvLayout) -> dict[str, str]:
        given = dict(self.options.columns)
        if not layout.header and not ({"ts", "bid", "ask", "price"} & set(given)):
            given = {**dict(layout.guess), **given}
            self._note(layout.note)
        return self._roles(layout.names, given, headerless=not layout.header)

    def _roles(
        self, names: Any, given: dict[str, str] | None = None, *, headerless: bool = False
    ) -> dict[str, str]:
        given = self.options.columns if given is None else given
        roles = find_columns(
            list(names), given, self.options.kind, file=self.name, headerless=headerless
        )
        self.has_instruments = "instrument" in roles
        self._note("columns: " + ", ".join(f"{role} = {name!r}" for role, name in roles.items()))
        return roles

    def _note(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes.append(note)

    def _convert(self, batch: Batch) -> Chunk:
        """Return the ticks of a batch whose columns are named by role."""
        rows = np.arange(self._done + 1, self._done + 1 + batch.num_rows)
        if self.has_instruments and not self._peeking:
            mask = self._select(_column(batch, "instrument"))
            if not mask.all():
                batch, rows = batch.filter(from_numpy(mask, pa.bool_())), rows[mask]
        try:
            chunk: Chunk = {"ts": self._stamps(batch)}
        except BadStampError as bad:
            raise DataError(
                f"row {rows[bad.index]:,}: the stamp {bad.text!r} cannot be read: {bad.why}; "
                f"see data.time_format and data.columns"
            ) from None
        if self._parser.description:
            self._note(f"stamps: {self._parser.description}")
        numbers = {r: self._floats(batch, r, rows) for r in _number_roles(batch, self.options.kind)}
        if self.options.kind == "trades":
            numbers = self._as_quotes(numbers, batch)
        return {**chunk, **numbers, "row": rows}

    def _stamps(self, batch: Batch) -> NDArray[np.int64]:
        names = batch.schema.names
        first = _column(batch, "ts" if "ts" in names else "date")
        return self._parser.parse(first, _column(batch, "time") if "time" in names else None)

    def _select(self, column: Any) -> NDArray[np.bool_]:
        """Mask of the wanted instrument's rows."""
        codes = pc.dictionary_encode(pc.cast(_decoded(column), pa.string()))
        names = codes.dictionary.to_pylist()
        if len(self.instruments) < 100:
            self.instruments.update(n for n in names[:100] if n is not None)
        wanted = self.options.instrument
        if wanted is not None:
            code = names.index(wanted) if wanted in names else -2
            mask: NDArray[np.bool_] = to_numpy(codes.indices, np.int32, -1) == code
            return mask
        if len(self.instruments) > 1:
            raise DataError(
                f"the file holds several instruments ({_some(self.instruments)}); choose one "
                f"with data.instrument or --instrument"
            )
        return np.ones(len(column), np.bool_)

    def _floats(self, batch: Batch, role: str, rows: NDArray[np.int64]) -> FloatArray1D:
        """Return the numbers of a column, NaN where absent."""
        column = _decoded(_column(batch, role))
        if column.type == pa.float64():
            values = column
        else:
            try:
                if pa.types.is_decimal(column.type):
                    # The direct cast is off by a bit; text becomes the nearest double.
                    column = pc.cast(column, pa.string())
                values = pc.cast(column, pa.float64(), safe=False)
            except pa.ArrowInvalid as error:
                raise DataError(f"after row {rows[0] - 1:,}, column {role}: {error}") from None
            except pa.ArrowNotImplementedError:
                raise DataError(f"column {role} has the type {column.type}: no number") from None
        return to_numpy(values, np.float64, np.nan)

    def _as_quotes(self, numbers: dict[str, FloatArray1D], batch: Batch) -> dict[str, FloatArray1D]:
        """Trades as quotes: bid = ask = price; the size on the side that was taken."""
        out = {"bid": numbers["price"], "ask": numbers["price"]}
        if "size" not in numbers:
            return out
        size = numbers["size"]
        if "side" not in batch.schema.names:
            return {**out, "bid_size": size, "ask_size": size}
        buys = self._buys(_decoded(_column(batch, "side")))
        return {**out, "bid_size": np.where(buys, 0.0, size), "ask_size": np.where(buys, size, 0.0)}

    def _buys(self, side: Any) -> NDArray[np.bool_]:
        """Whether the buyer took each trade."""
        if pa.types.is_boolean(side.type):  # "is the buyer the maker"
            return ~to_numpy(side, np.bool_, False)
        text = pc.utf8_lower(pc.utf8_trim_whitespace(pc.cast(side, pa.string()).fill_null("")))
        recognised = pc.is_in(text, value_set=pa.array([*_BUYS, *_SELLS]))
        if not pc.all(recognised).as_py():
            strange = text.filter(pc.invert(recognised))[0].as_py()
            raise DataError(
                f"column side: {strange!r} is neither a buy ({', '.join(_BUYS)}) nor a sale "
                f'({", ".join(_SELLS)}); data.columns.side = "" leaves the sides out'
            )
        return to_numpy(pc.is_in(text, value_set=pa.array(_BUYS)), np.bool_)


def _rows_of(stamps: list[Any], rows: int) -> int:
    """Return the number of rows to process together, by the types of the columns of stamps."""
    plain = [t.value_type if pa.types.is_dictionary(t) else t for t in stamps]
    text = any(pa.types.is_string(t) or pa.types.is_large_string(t) for t in plain)
    return max(rows, _TEXT_BATCH) if text and rows == BATCH else rows


def _some(names: set[str]) -> str:
    shown = sorted(names)[:8]
    return ", ".join(shown) + (", ..." if len(names) > 8 else "")


def _number_roles(batch: Batch, kind: str) -> list[str]:
    needed, optional = ROLES[kind]
    return [r for r in (*needed, *optional) if r in batch.schema.names and r != "side"]


def _by_role(batch: Batch, roles: dict[str, str]) -> Batch:
    return pa.RecordBatch.from_arrays([_column(batch, n) for n in roles.values()], list(roles))


def _column(batch: Batch, name: str) -> Any:
    return batch.column(batch.schema.names.index(name))


def _decoded(array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _decompressed(raw: IO[bytes], format_: str) -> Any:
    """Stream of the text in a file that is open as bytes."""
    if format_ in ("gzip", "zstd"):
        return pa.CompressedInputStream(pa.PythonFile(raw), format_)
    if format_ == "bz2":
        return bz2.open(raw)
    if format_ == "xz":
        return lzma.open(raw)
    if format_ == "zip":
        archive = zipfile.ZipFile(raw)
        members = [m for m in archive.infolist() if not m.is_dir()]
        tables = [m for m in members if m.filename.lower().endswith((".csv", ".txt", ".tsv"))]
        if len(tables) != 1:
            raise DataError(
                f"the archive (or workbook) holds {len(tables)} CSV files among {len(members)}; "
                f"unpack it and give the folder"
            )
        return archive.open(tables[0])
    return raw


def _open_csv(
    stream: Any, layout: CsvLayout, roles: dict[str, str], encoding: str, block: int
) -> Any:
    text = {"ts", "date", "time", "instrument", "side"}
    types = {n: pa.string() if r in text else pa.float64() for r, n in roles.items()}
    return pacsv.open_csv(
        stream if not isinstance(stream, io.IOBase) else pa.PythonFile(stream, "r"),
        read_options=pacsv.ReadOptions(
            block_size=block,
            skip_rows=layout.skip,
            column_names=list(layout.names),
            encoding=encoding,
            use_threads=False,
        ),
        parse_options=pacsv.ParseOptions(delimiter=layout.separator),
        convert_options=pacsv.ConvertOptions(
            column_types=types,
            include_columns=list(dict.fromkeys(roles.values())),
            null_values=_MISSING,
            decimal_point=layout.decimal,
        ),
    )


def write_parquet(chunks: Iterator[Chunk], path: Path) -> int:
    """Write ticks to a Parquet file: ``ts`` as UTC timestamps, the rest as doubles.

    Parameters
    ----------
    chunks : iterator of dict of ndarray
        With equal columns.
    path : Path
        Appears only when all is written.

    Returns
    -------
    int
        Ticks written.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    rows = 0
    writer = None
    try:
        for chunk in chunks:
            kinds = {"ts": pa.timestamp("ns", tz="UTC")}
            names = [n for n in chunk if n != "row"]
            arrays = [from_numpy(chunk[n], kinds.get(n, pa.float64())) for n in names]
            table = pa.Table.from_arrays(arrays, names)
            if writer is None:
                writer = pq.ParquetWriter(
                    part, table.schema, compression="zstd", write_page_checksum=True
                )
            writer.write_table(table)
            rows += len(chunk["ts"])
        if writer is None:
            raise StoreError(f"{path}: there are no ticks to write")
        writer.close()
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if writer is not None:
            writer.close()
        part.unlink(missing_ok=True)
    return rows
