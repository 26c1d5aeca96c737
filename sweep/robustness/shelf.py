"""Rows of paths on the disk, so that nothing is evaluated twice.

A path is the same whatever was asked beside it, so that its rows lie under a hash of what
they follow from (ticks, strategy, costs, method, seed, variant) and the path's number. What
a run that was interrupted has finished, the next one finds; more paths add to those there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sweep.errors import StoreError
from sweep.schema import ROW, Rows

__all__ = ["CHUNK", "Shelf"]

#: Paths of a file.
CHUNK = 64

_DIGEST = 16


class Shelf:
    """The rows of one variant by one method.

    Parameters
    ----------
    folder : Path
        Made when something is saved.
    about : object
        What the rows follow from, as JSON has it.
    """

    def __init__(self, folder: Path, about: Any) -> None:
        text = json.dumps(about, sort_keys=True, default=str)
        self.folder = folder / hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def load(self, chunk: int) -> Rows | None:
        """Return the rows of a chunk of paths; None if they are not there, or damaged."""
        try:
            content = self._path(chunk).read_bytes()
        except OSError:
            return None
        body = content[_DIGEST:]
        if len(body) != CHUNK * ROW.itemsize or _sum(body) != content[:_DIGEST]:
            return None
        return np.frombuffer(body, ROW)

    def save(self, chunk: int, rows: Rows) -> None:
        """Keep the rows of a whole chunk.

        Parameters
        ----------
        chunk : int
            Paths ``chunk * CHUNK`` on.
        rows : ndarray of shape (CHUNK,), dtype `sweep.schema.ROW`

        Raises
        ------
        StoreError
            If they cannot be written.
        """
        body = np.ascontiguousarray(rows).tobytes()
        path = self._path(chunk)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(_sum(body) + body)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk * CHUNK:08d}.rows"

    @staticmethod
    def check_room(folder: Path, n_rows: int) -> None:
        """Refuse more rows than the disk has room for.

        Raises
        ------
        StoreError
        """
        there = folder
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        needed = n_rows * ROW.itemsize
        if needed > free:
            raise StoreError(
                f"{folder}: {n_rows:,} paths take {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB "
                f"are free; ask for fewer"
            )


def _sum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
