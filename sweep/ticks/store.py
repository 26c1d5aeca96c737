"""The tick store: ticks imported once per content, then mapped by every process.

``import_ticks`` finds an entry by a key that covers the source's fingerprint and all
settings that bear on its ticks, or builds it: into a folder with a unique name, under a
lock, checked, synced, and then renamed. A kill at any moment leaves at most that folder,
which the next build removes. Entries lie in the user's cache (`sweep.cache`) or, in memory,
in ``/dev/shm/sweep-UID``; ``$SWEEP_CACHE_LIMIT`` bounds them.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sweep.cache import cache_root
from sweep.errors import DataError, StoreError
from sweep.schema import IntArray1D, TickHandle
from sweep.ticks import sources
from sweep.ticks.mapped import (
    COLUMNS,
    FORMAT,
    LEASE,
    META,
    TRASH,
    attach,
    begin_check,
    column_path,
    content_hash,
    handle_of,
    is_locked,
    lease,
    read_meta,
    release,
    remove,
    remove_unused,
    same_file,
    verify,
)
from sweep.ticks.quality import Checker, Chunk, TickReport, gap_statistics
from sweep.ticks.sorting import RUN, sort_chunks
from sweep.ticks.sources import Reading, SourceSpec
from sweep.units import parse_size

__all__ = [
    "FORMAT",
    "FULL",
    "Entry",
    "Imported",
    "Progress",
    "attach",
    "checked",
    "clear",
    "conclude",
    "evict",
    "has_room",
    "import_ticks",
    "key_of",
    "list_entries",
    "release",
    "root",
    "scratch",
    "verify",
]

Where = Literal["disk", "memory"]
#: Called with the ticks read so far and the share of the source, if known.
Progress = Callable[[int, float | None], None]

_BUILD, _LOCK, _SCRATCH = ".build-", ".lock-", ".scratch-"
#: Bytes left free on a disk, in addition to what an import needs.
_SPARE = 32 << 20
_DISK_LIMIT = 50 << 30
#: Error numbers of a store that is full.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)


@dataclass(frozen=True)
class Imported:
    """The ticks of an import, and its report.

    Attributes
    ----------
    handle : TickHandle
    report : TickReport
    built : bool
        Whether the entry was built now; False if it was found.
    """

    handle: TickHandle
    report: TickReport
    built: bool


@dataclass(frozen=True)
class Entry:
    """An entry of the store.

    Attributes
    ----------
    key : str
    where : {"disk", "memory"}
    handle : TickHandle
    report : TickReport
    source : str
        Path of the source, absolute.
    instrument : str or None
    bytes : int
    created, used : float
        Seconds since the epoch.
    leased : bool
        Whether a process uses it now.
    """

    key: str
    where: str
    handle: TickHandle
    report: TickReport
    source: str
    instrument: str | None
    bytes: int
    created: float
    used: float
    leased: bool


def root(where: str = "disk") -> Path:
    """Folder of the entries on disk or in memory.

    Raises
    ------
    StoreError
        If there is no such store.
    """
    if where == "disk":
        return cache_root() / "ticks"
    if where != "memory":
        raise StoreError(f'data.store: {where!r} is not known; use "disk" or "memory"')
    shm = Path(os.environ.get("SWEEP_SHM") or "/dev/shm")
    if not shm.is_dir():
        raise StoreError(f'{shm}: this system has no memory store; use data.store = "disk"')
    return shm / f"sweep-{os.getuid()}"


def import_ticks(
    source: SourceSpec, *, where: Where = "disk", progress: Progress | None = None
) -> Imported:
    """Return a source's ticks from the store, after importing them if they are not there.

    The entry is leased; see :func:`sweep.ticks.mapped.lease`. One that is found is compared
    with its hash meanwhile: call :func:`sweep.ticks.mapped.require_intact` before anything
    that was computed from it is kept.

    Parameters
    ----------
    source : SourceSpec
    where : {"disk", "memory"}
    progress : callable, optional
        Called after each chunk with the ticks read and the share of the source.

    Returns
    -------
    Imported

    Raises
    ------
    DataError
        If the source cannot be read, or a policy refuses its ticks. Nothing is kept.
    StoreError
        If there is too little room, or no permission. Nothing is kept.
    """
    key = key_of(source)
    folder = root(where)
    entry = folder / key
    imported = _open(entry, source)
    if imported is None:
        _make_folder(folder, where)
        with _locked(folder, key):
            imported = _open(entry, source)  # another process may have built it meanwhile
            if imported is None:
                _remove_leftovers(folder, key)
                imported = _build(source, entry, where, progress)
        evict(where=where)
    if not imported.built:
        begin_check(imported.handle)
    return imported


def _make_folder(folder: Path, where: str) -> None:
    """Make the store's folder; the one in shared memory must be the user's own."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if where == "memory" and folder.stat().st_uid != os.getuid():
            raise StoreError(f"{folder}: belongs to another user; remove it, or use the disk")
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made: {error.strerror}; set SWEEP_CACHE") from error


def key_of(source: SourceSpec) -> str:
    """Key of the entry: all that its ticks depend on, and nothing else."""
    settings = asdict(source)
    for name in ("path", "synth"):
        del settings[name]
    settings["columns"] = sorted(settings["columns"])
    data = {"format": FORMAT, "source": sources.fingerprint(source), **settings}
    text = json.dumps(data, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _open(entry: Path, source: SourceSpec) -> Imported | None:
    """Lease an entry if it is there and whole, else None."""
    try:
        lease(str(entry))
    except StoreError:
        return None
    meta = read_meta(entry)
    if meta is None:
        release(str(entry))
        return None
    with suppress(OSError):  # the time of last use, for eviction
        os.utime(entry / LEASE)
    report = replace(TickReport.from_dict(meta["report"]), source=source.name)
    return Imported(handle_of(entry, meta), report, False)


def _build(source: SourceSpec, entry: Path, where: str, progress: Progress | None) -> Imported:
    """Build an entry under its key's lock."""
    before = sources.fingerprint(source)
    reading = sources.read(source)
    temporary = entry.with_name(f"{_BUILD}{entry.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir()
        checker = Checker(source.policies, source.name, reading.files)
        writer = _Writer(temporary, where, source.name)
        try:
            chunks = _with_progress(reading, checker, writer, progress)
            for chunk in checked(chunks, checker, temporary / "runs"):
                if not checker.refused:
                    writer.write(chunk)
            conclude(source, checker, writer.rows, before)
            report = _report(source, reading, checker, writer)
        finally:
            writer.close()
        _write_meta(temporary, source, writer, report)
        remove(entry)  # a damaged one
        temporary.rename(entry)
        _sync(entry.parent)
    except OSError as error:
        raise _store_error(error, entry.parent, where, source.name) from error
    except MemoryError as error:
        raise StoreError(f"{source.name}: there is too little memory for the import") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    imported = _open(entry, source)
    if imported is None:
        raise StoreError(f"{entry}: was removed while it was built; run the command again")
    return Imported(imported.handle, imported.report, True)


def _with_progress(
    reading: Reading, checker: Checker, writer: _Writer, progress: Progress | None
) -> Iterator[Chunk]:
    """Yield the chunks of a source; check the room that they need, and report progress."""
    for chunk in reading.chunks():
        if writer.rows_expected is None and reading.expected_rows is not None:
            writer.expect(reading.expected_rows, set(chunk), checker.policies.backward)
        yield chunk
        if progress is not None:
            progress(checker.rows_read, reading.share)


def checked(
    chunks: Iterable[Chunk], checker: Checker, runs: Path, *, run: int = RUN
) -> Iterator[Chunk]:
    """Yield the ticks of a source through all checks, in order of time.

    Parameters
    ----------
    chunks : iterable of dict of ndarray
        From `sweep.ticks.sources.Reading.chunks`.
    checker : Checker
        Once it is ``refused``, the ticks are not worth keeping.
    runs : Path
        Folder for what is sorted on the disk, where the policy asks for it.
    run : int, optional
        Ticks sorted at a time.
    """
    rows = checker.rows(chunks)
    if checker.policies.backward == "sort":
        rows = sort_chunks(rows, runs, run=run)
    return checker.series(rows)


def conclude(source: SourceSpec, checker: Checker, rows: int, before: dict[str, Any]) -> None:
    """Raise the error of a policy, of a source that changed, or of no ticks left.

    Parameters
    ----------
    source : SourceSpec
    checker : Checker
        After the last tick.
    rows : int
        Ticks that were kept.
    before : dict
        The source's fingerprint before it was read.

    Raises
    ------
    DataError
    """
    error = checker.error()
    if error is not None:
        raise error
    if sources.fingerprint(source) != before:
        raise DataError(f"{source.name}: the source changed while it was read; run it again")
    if not rows:
        dropped = "; ".join(f"{f.count:,} {f.check}" for f in checker.findings() if f.count)
        raise DataError(
            f"{source.name}: no ticks are left of {checker.rows_read:,}"
            + (f" (dropped: {dropped})" if dropped else "")
        )


def _report(source: SourceSpec, reading: Reading, checker: Checker, writer: _Writer) -> TickReport:
    writer.flush()
    ts = _Stamps(column_path(writer.folder, "ts"), writer.rows)
    median, largest, at = gap_statistics(ts)
    return TickReport(
        source=source.name,
        files=len(reading.files),
        rows_read=checker.rows_read,
        rows_kept=writer.rows,
        first_ts=int(ts[0:1][0]),
        last_ts=int(ts[writer.rows - 1 : writer.rows][0]),
        median_gap=median,
        largest_gap=largest,
        largest_gap_ts=at,
        findings=checker.findings(),
        notes=tuple(reading.notes),
    )


def _write_meta(folder: Path, source: SourceSpec, writer: _Writer, report: TickReport) -> None:
    path = source.path
    meta = {
        "format": FORMAT,
        "n_ticks": writer.rows,
        "content": writer.content(),
        "columns": list(writer.columns),
        "kind": source.kind,
        "source": path if path == sources.SYNTH else os.path.abspath(os.path.expanduser(path)),
        "instrument": source.instrument,
        "created": time.time(),
        "report": report.to_dict(),
    }
    shutil.rmtree(folder / "runs", ignore_errors=True)
    (folder / LEASE).touch()
    with (folder / META).open("w") as file:
        json.dump(meta, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)


@dataclass(frozen=True)
class _Stamps:
    """A column of stamps, read in slices; a map of it would count as this process's memory."""

    path: Path
    rows: int

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, which: slice, /) -> IntArray1D:
        begin, end, _ = which.indices(self.rows)
        return np.fromfile(self.path, np.int64, end - begin, offset=8 * begin)


class _Writer:
    """Appends ticks to an entry's columns and hashes them on the way."""

    def __init__(self, folder: Path, where: str, name: str) -> None:
        self.folder, self.where, self.name = folder, where, name
        self.rows = 0
        self.rows_expected: int | None = None
        self.columns: tuple[str, ...] = ()
        self._files: list[int] = []
        self._digests: list[Any] = []

    def expect(self, rows: int, names: set[str], backward: str) -> None:
        """Refuse an import for which there is too little room."""
        self.rows_expected = rows
        width = 8 * len(names & set(COLUMNS))
        if backward == "sort":
            width += width + 8  # the runs, with the ticks' places
        needed = rows * width
        free = _free(self.folder, self.where)
        if needed + _SPARE > free:
            raise _no_room(self.folder.parent, self.where, self.name, needed, free)

    def write(self, chunk: Chunk) -> None:
        """Append a chunk."""
        if not self._files:
            self.columns = tuple(n for n in COLUMNS if n in chunk)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            for name in self.columns:
                self._files.append(os.open(column_path(self.folder, name), flags, 0o644))
                self._digests.append(hashlib.blake2b(digest_size=16))
        for name, file, digest in zip(self.columns, self._files, self._digests, strict=True):
            values = np.ascontiguousarray(chunk[name], COLUMNS[name])
            view = memoryview(values.data).cast("B")
            digest.update(view)
            while len(view):
                view = view[os.write(file, view) :]
        self.rows += len(chunk["ts"])

    def flush(self) -> None:
        """Bring all columns to the disk."""
        for file in self._files:
            os.fsync(file)

    def close(self) -> None:
        """Close the columns' files; twice is fine."""
        while self._files:
            os.close(self._files.pop())

    def content(self) -> str:
        """Hash of the ticks: of each column's bytes, whatever the chunks were."""
        digests = zip(self.columns, self._digests, strict=True)
        return content_hash((name, digest.digest()) for name, digest in digests)


def list_entries() -> list[Entry]:
    """All whole entries, on disk and in memory, the latest used first."""
    entries = []
    for where in ("disk", "memory"):
        with suppress(StoreError):
            entries += [e for p in _folders(root(where)) if (e := _entry(p, where)) is not None]
    return sorted(entries, key=lambda e: -e.used)


def clear(
    keys: list[str] | None = None, *, where: str | None = None
) -> tuple[list[str], list[str]]:
    """Remove entries, also damaged ones, and the remains of killed builds.

    Parameters
    ----------
    keys : list of str, optional
        Keys or beginnings of keys, of at least 4 characters; None: all.
    where : {"disk", "memory"}, optional
        One store only.

    Returns
    -------
    removed, in_use : list of str
        Keys removed, and keys that a process uses, which stay.

    Raises
    ------
    StoreError
        If a key fits no entry.
    """
    places = ["disk", "memory"] if where is None else [where]
    folders: list[Path] = []
    for place in places:
        with suppress(StoreError):
            folders += _folders(root(place))
            _remove_leftovers(root(place))
    if keys is not None:
        for key in keys:
            # Shorter ones may fit entries that are not meant; an empty one fits all.
            if len(key) < 4 or not any(f.name.startswith(key) for f in folders):
                raise StoreError(
                    f"{key or repr(key)}: the tick store has no such entry; name one by at least 4 "
                    f"characters of its key; see: sweep data list"
                )
        folders = [f for f in folders if any(f.name.startswith(k) for k in keys)]
    removed = [f.name for f in folders if remove_unused(f)]
    return removed, [f.name for f in folders if f.name not in removed]


def evict(limit: int | None = None, *, where: str = "disk") -> list[str]:
    """Remove the entries unused for longest until the rest fits into ``limit`` bytes.

    Parameters
    ----------
    limit : int, optional
        Bytes; None: ``$SWEEP_CACHE_LIMIT`` (such as ``20GB``), else 50 GiB on disk and
        half of the memory file system.
    where : {"disk", "memory"}

    Returns
    -------
    list of str
        Keys removed. An entry in use is never one of them.
    """
    folder = root(where)
    if limit is None:
        limit = _limit(folder, where)
    entries = [e for p in _folders(folder) if (e := _entry(p, where)) is not None]
    total, removed = sum(e.bytes for e in entries), []
    for entry in sorted(entries, key=lambda e: e.used):
        if total <= limit:
            break
        if remove_unused(Path(entry.handle.path)):
            removed.append(entry.key)
            total -= entry.bytes
    return removed


def _limit(folder: Path, where: str) -> int:
    text = os.environ.get("SWEEP_CACHE_LIMIT")
    if text is None:
        return _DISK_LIMIT if where == "disk" else shutil.disk_usage(folder).total // 2
    try:
        return parse_size(text)
    except ValueError:
        raise StoreError(f'SWEEP_CACHE_LIMIT: {text!r} is not a size such as "20GB"') from None


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if re.fullmatch(r"[0-9a-f]{32}", p.name))
    except OSError:
        return []


def _entry(path: Path, where: str) -> Entry | None:
    meta = read_meta(path)
    if meta is None:
        return None
    try:
        used = (path / LEASE).stat().st_mtime
        size = sum(file.stat().st_size for file in path.iterdir())
    except OSError:
        return None
    return Entry(
        key=path.name,
        where=where,
        handle=handle_of(path, meta),
        report=TickReport.from_dict(meta["report"]),
        source=meta["source"],
        instrument=meta["instrument"],
        bytes=size,
        created=meta["created"],
        used=used,
        leased=is_locked(path / LEASE),
    )


@contextmanager
def _locked(folder: Path, key: str) -> Iterator[None]:
    """Hold the lock of one key; wait for the process that has it."""
    path = folder / f"{_LOCK}{key}"
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be written: {error.strerror}; set SWEEP_CACHE"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Its holder may have removed the file: then the lock is on another one.
            if same_file(descriptor, path):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


@contextmanager
def scratch(where: str) -> Iterator[Path]:
    """Make a folder in the store for ticks in transit, removed when the block ends.

    Its lock is held meanwhile: the folder of a process that was killed is removed by the
    next one that asks for such a folder, and by :func:`clear`.

    Parameters
    ----------
    where : {"disk", "memory"}

    Raises
    ------
    StoreError
        If it cannot be made.
    """
    folder = root(where)
    _make_folder(folder, where)
    name = uuid.uuid4().hex
    path = folder / f"{_SCRATCH}{name}"
    with _locked(folder, name):
        _remove_leftovers(folder)
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            raise StoreError(f"{path}: cannot be made: {error.strerror}") from error
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _remove_leftovers(folder: Path, locked_key: str | None = None) -> None:
    """Remove the remains of killed builds, passes and removals.

    A build is under way while its key's lock is held; ``locked_key`` is the key that the
    caller itself has locked, of which any build folder is therefore a dead one.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(TRASH):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_BUILD):
            key = path.name.removeprefix(_BUILD).partition("-")[0]
            if key == locked_key or not is_locked(folder / f"{_LOCK}{key}"):
                shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(_SCRATCH):
            lock = folder / f"{_LOCK}{path.name.removeprefix(_SCRATCH)}"
            if not is_locked(lock):
                shutil.rmtree(path, ignore_errors=True)
                lock.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def has_room(where: str, needed: int) -> bool:
    """Whether a store has room for ``needed`` bytes, and some to spare.

    Raises
    ------
    StoreError
        If there is no such store.
    """
    folder = root(where)
    _make_folder(folder, where)
    return needed + _SPARE <= _free(folder, where)


def _free(folder: Path, where: str) -> int:
    """Bytes that may still be written."""
    free = shutil.disk_usage(folder).free
    if where == "memory":
        with suppress(OSError, IndexError, ValueError):
            lines = Path("/proc/meminfo").read_text().split("MemAvailable:")
            free = min(free, int(lines[1].split()[0]) * 1024)
    return free


def _no_room(folder: Path, where: str, name: str, needed: int, free: int) -> StoreError:
    return StoreError(
        f"{name}: the tick store in {folder} needs {needed / 1e6:,.1f} MB and has "
        f"{free / 1e6:,.1f} MB free; {_remedies(where)}"
    )


def _remedies(where: str) -> str:
    if where == "memory":
        return 'use data.store = "disk", or remove entries with: sweep data clear'
    return "set SWEEP_CACHE to a folder on a larger disk, or remove entries with: sweep data clear"


def _store_error(error: OSError, folder: Path, where: str, name: str) -> StoreError:
    if error.errno in FULL:
        free = shutil.disk_usage(folder).free
        return StoreError(
            f"{name}: the tick store in {folder} is full ({free / 1e6:,.1f} MB free); "
            f"{_remedies(where)}"
        )
    what = error.strerror or str(error)
    return StoreError(f"{folder}: the tick store cannot be written: {what}; set SWEEP_CACHE")
