"""Rows of variants on the disk, so that nothing is evaluated twice.

Rows lie in files, each named by a hash of what its rows follow from, or by its place among
those that follow from the same. A file is whole or not there. A run that was killed loses the
files that were under way; what is there, the next one finds, and more points or paths add to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweep.errors import StoreError
from sweep.schema import ROW, FloatArray2D, Rows

__all__ = ["CHUNK", "PathRows", "PointRows"]

#: Paths of a file.
CHUNK = 64

_DIGEST = 16


# -- by point --------------------------------------------------------------------------


class PointRows:
    """The rows of points on a fixed set of pieces, a file for each chunk of points.

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
        rows = _load_rows(self._path(params), len(params) * self.n_pieces)
        return None if rows is None else rows.reshape(len(params), self.n_pieces)

    def save(self, params: FloatArray2D, rows: Rows) -> None:
        """Keep the rows of a chunk.

        Raises
        ------
        StoreError
            If they cannot be written.
        """
        _save_rows(self._path(params), rows)

    def _path(self, params: FloatArray2D) -> Path:
        name = hashlib.blake2b(np.ascontiguousarray(params).tobytes(), digest_size=10).hexdigest()
        return self.folder / f"{name}-{len(params)}.rows"

    @staticmethod
    def counts(folder: Path) -> list[int]:
        """Return how many variants' rows lie under a folder, for each set of pieces."""
        counts: dict[Path, int] = {}
        for path in sorted(folder.glob("rows-*/*.rows")):
            counts[path.parent] = counts.get(path.parent, 0) + _count(path)
        return list(counts.values())

    def drop_others(self, chunks: Sequence[FloatArray2D]) -> None:
        """Remove chunks that are cut otherwise now, since points were added to the last of them.

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
        free = _free_bytes(self.folder)
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


# -- by path ---------------------------------------------------------------------------


class PathRows:
    """The rows of one variant by one method, a file for each chunk of paths.

    A path is the same whatever else is asked for, so that its rows lie under a hash of what they
    follow from (ticks, strategy, costs, method, seed, variant) and the path's number.

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
        return _load_rows(self._path(chunk), CHUNK)

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
        _save_rows(self._path(chunk), rows)

    def _path(self, chunk: int) -> Path:
        return self.folder / f"{chunk * CHUNK:08d}.rows"

    @staticmethod
    def check_room(folder: Path, n_rows: int) -> None:
        """Refuse more rows than the disk has room for.

        Raises
        ------
        StoreError
        """
        free = _free_bytes(folder)
        needed = n_rows * ROW.itemsize
        if needed > free:
            raise StoreError(
                f"{folder}: {n_rows:,} paths take {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB "
                f"are free; ask for fewer"
            )


# -- files -----------------------------------------------------------------------------


def _load_rows(path: Path, n_rows: int) -> Rows | None:
    """Return the rows of a file, shape (n_rows,); None if it is not there, or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = content[_DIGEST:]
    if len(body) != n_rows * ROW.itemsize or _digest(body) != content[:_DIGEST]:
        return None
    return np.frombuffer(body, ROW)


def _save_rows(path: Path, rows: Rows) -> None:
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
        part.write_bytes(_digest(body) + body)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None


def _free_bytes(folder: Path) -> int:
    """Return how much the disk has free where a folder is, or is going to be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
