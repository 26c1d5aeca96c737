"""Where ticks come from: files, folders, hive partitions, the built-in generator.

A source is found, put in order of time and read in chunks; nothing here holds more than
a chunk. File formats are known to :mod:`sweep.ticks.files` alone, which is imported when a
file is read, so that naming a source costs nothing.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sweep.errors import DataError
from sweep.ticks import synthetic
from sweep.ticks.columns import ROLES, is_instrument
from sweep.ticks.quality import NO_STAMP, Chunk, Policies, pack_rows
from sweep.ticks.synthetic import SynthSpec

if TYPE_CHECKING:  # brings in pyarrow
    from sweep.ticks.files import FileReader

__all__ = ["SYNTH", "Reading", "SourceSpec", "fingerprint", "open_chunks", "read", "write_parquet"]

#: The source that is the built-in generator.
SYNTH = "synth"

#: Endings of files that a folder is searched for.
_ENDINGS = re.compile(
    r"\.(parquet|parq|pq|arrow|feather|ipc|arrows|csv|tsv|txt)(\.(gz|zst|bz2|xz|zip))?$|\.zip$",
    re.IGNORECASE,
)
_BLOCK = 1 << 16


@dataclass(frozen=True)
class SourceSpec:
    """A source of ticks and how to read it.

    Attributes
    ----------
    path : str
        A file, a folder (with all below it), a pattern such as
        ``ticks/*.csv.gz``, or ``"synth"``, the built-in generator.
    kind : {"quotes", "trades"}
    instrument : str or None
        Which instrument to take: by a column or a hive partition called ``instrument``,
        ``symbol``, ``ticker``, ``pair`` or ``ric``, or as a word of the file's path.
    columns : tuple of (str, str)
        Our names (ts, date, time, bid, ask, bid_size, ask_size; for trades price, size,
        side; instrument) and the source's. Those not named are recognised by their names.
        An empty name leaves a column out.
    time_format : str or None
        ``"iso"``, a unit of the epoch (``"s"``, ``"ms"``, ``"us"``, ``"ns"``), a pattern
        of %Y %y %m %d %H %M %S %f %z, or None: recognised.
    timezone : str
        IANA name or offset for stamps that do not name their own zone.
    policies : Policies
    synth : SynthSpec or None
        What to generate; None: the default market.

    Raises
    ------
    DataError
        If the kind is not known.
    """

    path: str
    kind: str = "quotes"
    instrument: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    time_format: str | None = None
    timezone: str = "UTC"
    policies: Policies = field(default_factory=Policies)
    synth: SynthSpec | None = None

    def __post_init__(self) -> None:
        if self.kind not in ROLES:
            raise DataError(f"data.kind: {self.kind!r} is not known; use one of {', '.join(ROLES)}")

    @property
    def name(self) -> str:
        """The source's name in messages."""
        return SYNTH if self.path == SYNTH else Path(self.path).name or self.path


@dataclass
class Reading:
    """One pass over a source.

    Attributes
    ----------
    source : SourceSpec
    files : list of str
        Names of the files, in the order in which they are read.
    notes : list of str
        What was recognised; complete once the chunks are read.
    expected_rows : int or None
        Ticks in the source, where that is known beforehand.
    share : float or None
        How much of it has been read, from 0 to 1.
    """

    source: SourceSpec
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    expected_rows: int | None = None
    share: float | None = None
    _readers: list[FileReader] = field(default_factory=list)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the ticks, with their places in a column ``row``."""
        if self.source.path == SYNTH:
            yield from self._generated()
        else:
            yield from self._from_files()

    def _generated(self) -> Iterator[Chunk]:
        import numpy as np

        spec = self.source.synth or SynthSpec()
        rows = 0
        for number, chunk in enumerate(synthetic.generate(spec)):
            places = np.arange(rows + 1, rows + 1 + len(chunk["ts"]))
            rows += len(places)
            self.share = min((number + 1) / spec.sessions, 1.0)
            yield {**chunk, "row": places}

    def _from_files(self) -> Iterator[Chunk]:
        sizes = [max(r.path.stat().st_size, 1) for r in self._readers]
        done, columns, seen = 0, None, False
        for number, reader in enumerate(self._readers):
            for part in reader.chunks():
                chunk = part.chunk
                columns = columns or set(chunk)
                if set(chunk) != columns:
                    raise DataError(_other_columns(reader.name, set(chunk), columns))
                chunk["row"] = pack_rows(number, chunk["row"])
                self.share = (done + (part.share or 0.0) * sizes[number]) / sum(sizes)
                seen = True
                yield chunk
            self._one_instrument(number)
            done += sizes[number]
            self.notes += [n for n in reader.notes if n not in self.notes]
        if not seen:
            self._no_ticks()

    def _one_instrument(self, number: int) -> None:
        """Refuse files of several instruments if none is chosen."""
        if self.source.instrument is None:
            names = set().union(*(r.instruments for r in self._readers[: number + 1]))
            if len(names) > 1:
                raise DataError(_several(self.source.name, names))

    def _no_ticks(self) -> None:
        names = sorted(set().union(*(r.instruments for r in self._readers)))
        raise DataError(
            f"{self.source.name}: there are no ticks of the instrument "
            f"{self.source.instrument!r}; it has {', '.join(names[:20]) or 'none'}"
        )


def read(source: SourceSpec) -> Reading:
    """Find a source's files and put them in order of their first stamps.

    Raises
    ------
    DataError
        If there is no such file or instrument, or a file's beginning cannot be read.
    """
    if source.path == SYNTH:
        if source.kind != "quotes":
            raise DataError('data.kind: the source "synth" gives quotes')
        rows = synthetic.expected_rows(source.synth or SynthSpec())
        return Reading(source, [SYNTH], [], rows)
    from sweep.ticks.files import FileReader, ReadOptions
    from sweep.ticks.timestamps import check_timezone

    check_timezone(source.timezone)
    options = ReadOptions(
        source.kind, dict(source.columns), source.time_format, source.timezone, source.instrument
    )
    root, paths = find_files(source)
    chosen, by_path = _choose(root, paths, source)
    readers = [FileReader(p, _shown(root, p), options) for p in chosen]
    if len(readers) > 1:
        # Names sort wrongly more often than not (01.02.2020, Jan, 2020-1): ask the ticks.
        first = {r.name: r.peek()[0] for r in readers}
        readers.sort(key=lambda r: (first[r.name] == NO_STAMP, first[r.name]))
    reading = Reading(source, [r.name for r in readers], _readers=readers)
    if source.instrument is not None and not by_path:
        _check_column(readers[0], source)
    else:
        counts = [r.expected_rows() for r in readers]
        stated = [c for c in counts if c is not None]
        reading.expected_rows = sum(stated) if len(stated) == len(counts) else None
    return reading


def open_chunks(source: SourceSpec) -> Iterator[Chunk]:
    """Yield a source's ticks as they stand in it, unchecked.

    Parameters
    ----------
    source : SourceSpec
        Its policies are not applied; :func:`sweep.ticks.store.import_ticks` does that.

    Yields
    ------
    dict of ndarray
        ``ts`` (int64, nanoseconds since the epoch, UTC; the smallest int64 where a stamp
        is absent), ``bid``, ``ask`` (float64, NaN where absent), and ``bid_size``,
        ``ask_size`` (float64) where the source has sizes. A trade has bid = ask = price,
        its size on the side that was taken, or on both if that is not known.

    Raises
    ------
    DataError
        If something cannot be found or read.
    """
    for chunk in read(source).chunks():
        yield {name: column for name, column in chunk.items() if name != "row"}


def write_parquet(chunks: Iterator[Chunk], path: str | Path) -> int:
    """Write chunks of ticks to a Parquet file; see :func:`sweep.ticks.files.write_parquet`."""
    from sweep.ticks import files

    return files.write_parquet(iter(chunks), Path(path))


def find_files(source: SourceSpec) -> tuple[Path, list[Path]]:
    """Root and files of a source, in the natural order of their names.

    Raises
    ------
    DataError
        If there are none.
    """
    text = os.path.expanduser(source.path)
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        raise DataError(
            f"{source.path}: addresses are not read yet; copy the files to a folder and give that"
        )
    path = Path(text)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        root, paths = path, [p for p in path.rglob("*") if _is_ticks(path, p)]
        # A README.txt among the ticks is left out; a folder of .txt files alone is read.
        paths = [p for p in paths if not p.name.lower().endswith(".txt")] or paths
        if not paths:
            raise DataError(
                f"{source.path}: the folder holds no files of ticks (.parquet, .arrow, .feather, "
                f".csv, .csv.gz, ...)"
            )
    else:
        paths = [Path(p) for p in glob.glob(text, recursive=True) if Path(p).is_file()]
        if not paths:
            raise DataError(_not_there(source.path, path))
        root = Path(os.path.commonpath([p.parent for p in paths]))
    return root, sorted(paths, key=lambda p: _natural(str(p)))


def fingerprint(source: SourceSpec) -> dict[str, Any]:
    """Plain data that change when the ticks of a source may have changed.

    Names do not count. A file counts by its size, its time of modification, and a hash
    of 64 KiB each at its beginning, middle and end; a generated source by its spec.

    Raises
    ------
    DataError
        If there are no files.
    """
    if source.path == SYNTH:
        return {"synth": repr(source.synth or SynthSpec())}
    root, paths = find_files(source)
    chosen, _ = _choose(root, paths, source)
    try:
        return {"files": [_file_fingerprint(p) for p in chosen]}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _file_fingerprint(path: Path) -> list[int | str]:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        for at in (0, status.st_size // 2, max(status.st_size - _BLOCK, 0)):
            file.seek(at)
            digest.update(file.read(_BLOCK))
    return [status.st_size, status.st_mtime_ns, digest.hexdigest()]


def _is_ticks(root: Path, path: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.relative_to(root).parts)
    return not hidden and bool(_ENDINGS.search(path.name)) and path.is_file()


def _shown(root: Path, path: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Key that sorts part-2 before part-10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(p)) if p.isdigit() else (1, p) for p in parts]


def _not_there(given: str, path: Path) -> str:
    import difflib

    text = f"{given}: there is no such file or folder"
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
        return text + (f"; did you mean {near[0]!r}?" if near else "")
    return text + f"; the folder {path.parent} is not there either"


def _partitions(root: Path, path: Path) -> dict[str, str]:
    """Hive partition keys and values in a path: ``symbol=EURUSD/date=2014-05-01``."""
    parts = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    pairs = (part.split("=", 1) for part in parts if "=" in part)
    return {key: unquote(value) for key, value in pairs}


def _choose(root: Path, paths: list[Path], source: SourceSpec) -> tuple[list[Path], bool]:
    """Files of the instrument, and whether their paths decided (else a column must)."""
    instruments = [
        next((v for k, v in _partitions(root, p).items() if is_instrument(k)), None) for p in paths
    ]
    names = {instrument for instrument in instruments if instrument is not None}
    wanted = source.instrument
    if wanted is None:
        if len(names) > 1:
            raise DataError(_several(source.name, names))
        return paths, False
    if names:
        chosen = [
            p for p, instrument in zip(paths, instruments, strict=True) if instrument == wanted
        ]
        if not chosen:
            raise DataError(
                f"{source.name}: there is no partition of the instrument {wanted!r}; "
                f"it has {', '.join(sorted(names)[:20])}"
            )
        return chosen, True
    word = re.compile(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9])", re.IGNORECASE)
    chosen = [p for p in paths if word.search(_shown(root, p))]
    return (chosen, True) if chosen else (paths, False)


def _check_column(reader: FileReader, source: SourceSpec) -> None:
    """Refuse an instrument that nothing in the source could tell from another."""
    if not reader.peek()[1]:
        raise DataError(
            f"{source.name}: data.instrument is {source.instrument!r}, but neither a column, a "
            f"partition nor the name of a file says what instrument the ticks are of; leave "
            f"data.instrument out, or name the column with data.columns.instrument"
        )


def _several(name: str, instruments: set[str]) -> str:
    shown = sorted(instruments)
    more = ", ..." if len(shown) > 8 else ""
    return (
        f"{name}: the source holds several instruments ({', '.join(shown[:8])}{more}); choose one "
        f"with data.instrument or --instrument"
    )


def _other_columns(name: str, columns: set[str], first: set[str]) -> str:
    odd = ", ".join(sorted(columns ^ first))
    return (
        f"{name}: the columns {odd} are in some files of the source and not in others; leave "
        f'them out with data.columns, such as {sorted(columns ^ first)[0]} = ""'
    )
