"""An entry of the tick store: mapped into this process, leased, described, removed.

An entry is a folder ``<root>/<key>`` with one file of raw values for each column, a
``meta.json``, and an empty file ``lease``. Whoever uses the entry holds a shared lock on
its lease; who removes it needs an exclusive one. Workers import this module: NumPy and
the standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import StoreError
from sweep.schema import TickHandle, Ticks

__all__ = [
    "COLUMNS",
    "FORMAT",
    "LEASE",
    "META",
    "TRASH",
    "attach",
    "attach_slot",
    "begin_check",
    "column_path",
    "content_hash",
    "handle_of",
    "hold",
    "is_locked",
    "lease",
    "read_meta",
    "release",
    "remove",
    "remove_unused",
    "require_intact",
    "same_file",
    "verify",
]

#: Raised whenever an entry's files, or what is read out of a source, change.
FORMAT = 1

#: Columns with their types, in the order of :class:`~sweep.schema.Ticks`.
COLUMNS = {"ts": "<i8", "bid": "<f8", "ask": "<f8", "bid_size": "<f8", "ask_size": "<f8"}
LEASE, META, TRASH = "lease", "meta.json", ".trash-"

#: Sets of ticks that a process keeps mapped and leased, those used last: each holds a file
#: descriptor for every column and one for its lease.
_KEPT = 8

_ticks: dict[str, tuple[TickHandle, Ticks]] = {}
_leases: OrderedDict[str, int] = OrderedDict()
_checks: dict[str, _ContentCheck] = {}
_slots: dict[str, dict[str, NDArray[Any]]] = {}


class _ContentCheck(threading.Thread):
    """Compares an entry's bytes with its hash, in parallel with other work."""

    def __init__(self, handle: TickHandle) -> None:
        super().__init__(name="content-check", daemon=True)
        self.handle = handle
        self.intact = False

    def run(self) -> None:
        self.intact = verify(self.handle)


def column_path(entry: str | Path, name: str) -> Path:
    """File of one column of an entry."""
    return Path(entry) / f"{name}.{COLUMNS[name][1:]}"


def attach(handle: TickHandle) -> Ticks:
    """Columns of a store entry, mapped read-only.

    All processes that attach share one copy in memory. The entry is leased; see `lease`.

    Parameters
    ----------
    handle : TickHandle

    Returns
    -------
    Ticks
        Plain, read-only arrays.

    Raises
    ------
    StoreError
        If the entry is gone or damaged.
    """
    cached = _ticks.get(handle.path)
    if cached is not None and cached[0] == handle:
        with suppress(KeyError):  # ticks in this process's memory have no lease
            _leases.move_to_end(handle.path)
        return cached[1]
    lease(handle.path)
    columns: dict[str, NDArray[Any]] = {name: _map(handle, name) for name in COLUMNS}
    for column in columns.values():
        column.flags.writeable = False
    ticks = Ticks(**columns)
    _ticks[handle.path] = (handle, ticks)
    return ticks


def attach_slot(handle: TickHandle) -> None:
    """Let :func:`attach` find ticks that lie at the beginning of a slot's longer columns.

    A slot is written again for each block of a pass, under another name each time. Its
    columns are mapped once, since mapping and unmapping memory takes longer than handing it
    on. Slots of other folders, whose passes are over, are released.

    Parameters
    ----------
    handle : TickHandle
        Its path is that of the slot.

    Raises
    ------
    StoreError
        If the slot is gone.
    """
    columns = _slots.get(handle.path)
    if columns is None:
        folder = os.path.dirname(handle.path)
        for other in [path for path in _slots if os.path.dirname(path) != folder]:
            del _slots[other]
            _ticks.pop(other, None)
        columns = {name: _map(handle, name, longer=True) for name in COLUMNS}
        for column in columns.values():
            column.flags.writeable = False
        _slots[handle.path] = columns
    hold(handle, Ticks(**{name: c[: handle.n_ticks] for name, c in columns.items()}))


def hold(handle: TickHandle, ticks: Ticks) -> None:
    """Let :func:`attach` find ticks that lie in this process's memory, until `release`.

    Parameters
    ----------
    handle : TickHandle
        Its path is that of no entry, or of a slot.
    ticks : Ticks
        Read-only.
    """
    _ticks[handle.path] = (handle, ticks)


def _map(handle: TickHandle, name: str, *, longer: bool = False) -> NDArray[Any]:
    # Not np.memmap: its objects cost four times as much in every call of a compiled kernel.
    path, dtype = column_path(handle.path, name), np.dtype(COLUMNS[name])
    if name not in handle.columns:
        return np.empty(0, dtype)
    try:
        with path.open("rb") as file:
            size, expected = os.fstat(file.fileno()).st_size, handle.n_ticks * dtype.itemsize
            if size < expected or (size > expected and not longer):
                raise StoreError(
                    f"{path}: damaged: {size:,} bytes, not {handle.n_ticks * dtype.itemsize:,}; "
                    f"run the command again to import the ticks again"
                )
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise _gone(handle.path) from error
    return np.frombuffer(mapped, dtype)


def lease(path: str) -> None:
    """Hold an entry against removal while it is among those that the process used last.

    A lease ends with the process, with :func:`release`, or once :data:`_KEPT` other entries
    were used. Arrays of it stay valid after that.

    Raises
    ------
    StoreError
        If the entry is gone.
    """
    file = os.path.join(path, LEASE)
    leased = _leases.get(path)
    if leased is not None:
        if same_file(leased, file):
            _leases.move_to_end(path)
            return
        release(path)  # of an entry that was rebuilt at this place
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _gone(path) from error
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    # Its remover may have held the lock while this waited.
    if not same_file(descriptor, file):
        os.close(descriptor)
        raise _gone(path)
    _leases[path] = descriptor
    for other in list(_leases)[:-_KEPT]:
        _unmap(other)


def release(path: str) -> None:
    """Give up a lease, if there is one; arrays that are attached stay valid."""
    _checks.pop(path, None)
    _unmap(path)


def _unmap(path: str) -> None:
    """Give up a lease; what `begin_check` began is still asked for by `require_intact`."""
    descriptor = _leases.pop(path, None)
    _ticks.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)


def same_file(descriptor: int, path: str | Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        there = os.stat(path)
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _gone(path: str) -> StoreError:
    return StoreError(
        f"{path}: the tick store has no such entry any more; run the command again to "
        f"import the ticks again"
    )


def read_meta(entry: Path) -> dict[str, Any] | None:
    """Return an entry's description; None if it is damaged or of another format."""
    try:
        meta: dict[str, Any] = json.loads((entry / META).read_text())
        complete = meta["format"] == FORMAT and all(
            column_path(entry, n).stat().st_size == 8 * meta["n_ticks"] for n in meta["columns"]
        )
        handle_of(entry, meta)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if complete else None


def handle_of(entry: Path, meta: dict[str, Any]) -> TickHandle:
    """Return the handle of an entry from its description."""
    return TickHandle(
        path=str(entry),
        n_ticks=meta["n_ticks"],
        content=meta["content"],
        columns=tuple(meta["columns"]),
        kind=meta["kind"],
        first_ts=meta["report"]["first_ts"],
        last_ts=meta["report"]["last_ts"],
    )


def content_hash(digests: Iterable[tuple[str, bytes]]) -> str:
    """Hash of ticks from the hashes of their columns' bytes, whatever the chunks were."""
    total = hashlib.blake2b(digest_size=16)
    for name, digest in digests:
        total.update(name.encode() + b"\0" + digest)
    return total.hexdigest()


def verify(handle: TickHandle) -> bool:
    """Whether an entry's columns still have the hash that they were stored with."""
    digests = []
    for name in handle.columns:
        digest = hashlib.blake2b(digest_size=16)
        try:
            with column_path(handle.path, name).open("rb") as file:
                while block := file.read(1 << 22):
                    digest.update(block)
        except OSError:
            return False
        digests.append((name, digest.digest()))
    return content_hash(digests) == handle.content


def begin_check(handle: TickHandle) -> None:
    """Begin to compare an entry's bytes with its hash; `require_intact` has the result.

    Does nothing if that was done since the process first leased the entry.
    """
    check = _checks.get(handle.path)
    if check is None or check.handle != handle:
        _checks[handle.path] = _ContentCheck(handle)
        _checks[handle.path].start()


def require_intact(handle: TickHandle) -> None:
    """Wait for the check that `begin_check` began, if any; remove an entry that is damaged.

    Raises
    ------
    StoreError
        If the entry's bytes are not those that were imported.
    """
    check = _checks.get(handle.path)
    if check is None or check.handle != handle:
        return
    check.join()
    if not check.intact:
        remove(Path(handle.path))
        release(handle.path)
        raise StoreError(
            f"{handle.path}: these ticks were damaged: their bytes have changed since the import "
            f"(a failing disk?); they are removed; run the command again to import the "
            f"ticks again"
        )


def is_locked(path: Path) -> bool:
    """Whether a process, this one included, holds a lock on a file, shared or not."""
    with _exclusive(path) as free:
        return not free


def remove_unused(entry: Path) -> bool:
    """Remove an entry unless a process uses it; tell whether it is gone."""
    with _exclusive(entry / LEASE) as free:
        if free:
            remove(entry)
        return free


def remove(entry: Path) -> None:
    """Rename an entry in one step, then delete it. Its users keep their maps."""
    trash = entry.with_name(f"{TRASH}{entry.name}-{uuid.uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        entry.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


@contextmanager
def _exclusive(path: Path) -> Iterator[bool]:
    """Try for an exclusive lock; yield whether it is held (or there is nothing to lock)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(descriptor)
