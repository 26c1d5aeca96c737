"""Rows of paths on the disk, so that nothing is evaluated twice.

A path is the same whatever was asked beside it, so that its rows lie under a hash of what
they follow from (ticks, strategy, costs, method, seed, variant) and the path's number. What
a run that was interrupted has finished, the next one finds; more paths add to those there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sweep.errors import StoreError
from sweep.schema import ROW, Rows
from sweep.study.rowfile import free_bytes, load_rows, save_rows

__all__ = ["CHUNK", "Shelf"]

#: Paths of a file.
CHUNK = 64


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
        return load_rows(self._path(chunk), CHUNK)

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
        save_rows(self._path(chunk), rows)

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk * CHUNK:08d}.rows"

    @staticmethod
    def check_room(folder: Path, n_rows: int) -> None:
        """Refuse more rows than the disk has room for.

        Raises
        ------
        StoreError
        """
        free = free_bytes(folder)
        needed = n_rows * ROW.itemsize
        if needed > free:
            raise StoreError(
                f"{folder}: {n_rows:,} paths take {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB "
                f"are free; ask for fewer"
            )
