"""A file of rows that is whole or not there.

It is written under another name and renamed, and carries a hash of its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from sweep.errors import StoreError
from sweep.schema import ROW, Rows

__all__ = ["free_bytes", "load_rows", "save_rows"]

_DIGEST = 16


def load_rows(path: Path, n_rows: int) -> Rows | None:
    """Return the rows of a file, shape (n_rows,); None if it is not there, or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = content[_DIGEST:]
    if len(body) != n_rows * ROW.itemsize or _sum(body) != content[:_DIGEST]:
        return None
    return np.frombuffer(body, ROW)


def save_rows(path: Path, rows: Rows) -> None:
    """Write rows of any shape; the folder is made where there is none.

    Raises
    ------
    StoreError
        If they cannot be written.
    """
    body = np.ascontiguousarray(rows).tobytes()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(_sum(body) + body)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None


def free_bytes(folder: Path) -> int:
    """Return how much the disk has free where a folder is, or is going to be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _sum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
