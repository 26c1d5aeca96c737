"""Map a store entry's columns into this process, read-only. What workers import.

An entry is a folder ``<root>/<key>`` with one file of raw values for each column, a
``meta.json``, and an empty file ``lease``. Whoever uses the entry holds a shared lock on
its lease; who removes it needs an exclusive one. NumPy and the standard library only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweep.errors import StoreError
from sweep.schema import TickHandle, Ticks

__all__ = ["COLUMNS", "LEASE", "attach", "column_path", "lease", "release"]

#: Columns with their types, in the order of :class:`~sweep.schema.Ticks`.
COLUMNS = {"ts": "<i8", "bid": "<f8", "ask": "<f8", "bid_size": "<f8", "ask_size": "<f8"}
LEASE = "lease"

_ticks: dict[str, tuple[TickHandle, Ticks]] = {}
_leases: dict[str, int] = {}


def column_path(entry: str | Path, name: str) -> Path:
    """File of one column of an entry."""
    return Path(entry) / f"{name}.{COLUMNS[name][1:]}"


def attach(handle: TickHandle) -> Ticks:
    """Columns of a store entry, mapped read-only and kept for the life of the process.

    All processes that attach share one copy in memory. The entry is leased, so that
    nothing removes it meanwhile.

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
    known = _ticks.get(handle.path)
    if known is not None and known[0] == handle:
        return known[1]
    lease(handle.path)
    columns = [
        _map(handle, name) if name in handle.columns else np.empty(0, dtype)
        for name, dtype in COLUMNS.items()
    ]
    for column in columns:
        column.flags.writeable = False
    ticks = Ticks(*columns)
    _ticks[handle.path] = (handle, ticks)
    return ticks


def _map(handle: TickHandle, name: str) -> NDArray[np.generic]:
    # Not np.memmap: its objects cost four times as much in every call of a compiled kernel.
    path, dtype = column_path(handle.path, name), np.dtype(COLUMNS[name])
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != handle.n_ticks * dtype.itemsize:
                raise StoreError(
                    f"{path}: damaged: {size:,} bytes, not {handle.n_ticks * dtype.itemsize:,}; "
                    f"run the command again, and the ticks are imported anew"
                )
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise _gone(handle.path) from error
    return np.frombuffer(mapped, dtype)


def lease(path: str) -> None:
    """Hold an entry against removal until :func:`release` or the end of the process.

    Raises
    ------
    StoreError
        If the entry is gone.
    """
    file = os.path.join(path, LEASE)
    held = _leases.get(path)
    if held is not None:
        if _same(held, file):
            return
        release(path)  # of an entry that was rebuilt at this place
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _gone(path) from error
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    # Its remover may have held the lock while this waited.
    if not _same(descriptor, file):
        os.close(descriptor)
        raise _gone(path)
    _leases[path] = descriptor


def release(path: str) -> None:
    """Give back a lease; arrays that are attached stay valid. Nothing if there is none."""
    descriptor = _leases.pop(path, None)
    _ticks.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)


def _same(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _gone(path: str) -> StoreError:
    return StoreError(
        f"{path}: the tick store has no such entry any more; run the command again, and the "
        f"ticks are imported anew"
    )
