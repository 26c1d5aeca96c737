"""Rows of variants on the disk, so that nothing is evaluated twice.

A chunk of variants lies in a file named by a hash of what its rows follow from. A run that
was killed loses the chunks that were under way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweep.errors import StoreError
from sweep.schema import ROW, FloatArray2D, Rows
from sweep.study.rowfile import free_bytes, load_rows, save_rows

__all__ = ["RowShelf"]


class RowShelf:
    """The rows of variants on a fixed set of pieces.

    Parameters
    ----------
    folder : Path
        Made when something is saved.
    about : object
        What rows follow from besides the variant, as JSON has it.
    n_pieces : int
        Rows of a variant.
    """

    def __init__(self, folder: Path, about: Any, n_pieces: int) -> None:
        text = json.dumps(about, sort_keys=True, default=str)
        self.folder = folder / f"rows-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
        self.n_pieces = n_pieces

    def load(self, params: FloatArray2D) -> Rows | None:
        """Return the rows of a chunk, or None if they are not there, or damaged.

        Parameters
        ----------
        params : ndarray of shape (n_variants, n_params), float64

        Returns
        -------
        ndarray of shape (n_variants, n_pieces), dtype `sweep.schema.ROW`
        """
        rows = load_rows(self._path(params), len(params) * self.n_pieces)
        return None if rows is None else rows.reshape(len(params), self.n_pieces)

    def save(self, params: FloatArray2D, rows: Rows) -> None:
        """Keep the rows of a chunk.

        Raises
        ------
        StoreError
            If they cannot be written.
        """
        save_rows(self._path(params), rows)

    def _path(self, params: FloatArray2D) -> Path:
        name = hashlib.blake2b(np.ascontiguousarray(params).tobytes(), digest_size=10).hexdigest()
        return self.folder / f"{name}-{len(params)}.rows"

    @staticmethod
    def counts(folder: Path) -> list[int]:
        """Return how many variants' rows lie under a folder, for each set of pieces."""
        found: dict[Path, int] = {}
        for path in sorted(folder.glob("rows-*/*.rows")):
            found[path.parent] = found.get(path.parent, 0) + _count(path)
        return list(found.values())

    def drop_others(self, chunks: Sequence[FloatArray2D]) -> None:
        """Remove chunks that are cut otherwise now: after more points were added to the last.

        Fewer points than lie here are another cut, and nothing is lost for it.
        """
        kept = {self._path(chunk) for chunk in chunks}
        others = [path for path in self.folder.glob("*.rows") if path not in kept]
        if sum(map(len, chunks)) < sum(map(_count, others)):
            return
        for path in others:
            path.unlink(missing_ok=True)

    def check_room(self, n_variants: int) -> None:
        """Refuse more rows than the disk has room for.

        Raises
        ------
        StoreError
        """
        free = free_bytes(self.folder)
        needed = n_variants * self.n_pieces * ROW.itemsize
        if needed > free:
            raise StoreError(
                f"{self.folder}: rows of {n_variants:,} variants on {self.n_pieces} pieces take "
                f"{needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free; split into fewer folds"
            )


def _count(path: Path) -> int:
    """Return the variants of a chunk, by its name."""
    name = path.stem.rpartition("-")[2]
    return int(name) if name.isdigit() else 0
