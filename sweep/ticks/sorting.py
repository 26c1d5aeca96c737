"""Put ticks in order of their stamps, in bounded memory (an external merge sort).

Runs of :data:`RUN` ticks are sorted and written to disk one after the other, then merged
by ranges of stamps. Equal stamps keep the order in which they came, within and across
runs. A source that fits into one run never touches the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sweep.ticks.quality import Chunk, concatenate, take

__all__ = ["RUN", "sort_chunks"]

#: Ticks sorted together: some 160 MB with sizes and places, and as much again to sort.
RUN = 1 << 21


def sort_chunks(chunks: Iterable[Chunk], folder: Path, *, run: int = RUN) -> Iterator[Chunk]:
    """Yield the ticks of ``chunks`` in order of ``ts``.

    Parameters
    ----------
    chunks : iterable of dict of ndarray
        Columns of 8 bytes a value, the same in each chunk.
    folder : Path
        Where runs are written: as many bytes as the ticks have. The caller removes it.
    run : int
        Ticks held in memory at a time; about twice that many while merging, more only
        where more ticks than that share one stamp.

    Yields
    ------
    dict of ndarray
    """
    runs: list[Chunk] = []
    first: Chunk | None = None
    for piece in _pieces(chunks, run):
        ordered = take(piece, np.argsort(piece["ts"], kind="stable"))
        if first is None and not runs:
            first = ordered  # all there is, perhaps
            continue
        if first is not None:
            folder.mkdir(parents=True, exist_ok=True)
            runs.append(_write_run(first, folder / "run-0"))
            first = None
        runs.append(_write_run(ordered, folder / f"run-{len(runs)}"))
    if first is not None:
        yield first
    else:
        yield from _merge(runs, run)


def _pieces(chunks: Iterable[Chunk], size: int) -> Iterator[Chunk]:
    """Chunks gathered until they hold at least ``size`` ticks."""
    pending: list[Chunk] = []
    rows = 0
    for chunk in chunks:
        pending.append(chunk)
        rows += len(chunk["ts"])
        if rows >= size:
            yield concatenate(pending)
            pending, rows = [], 0
    if rows:
        yield concatenate(pending)


def _write_run(piece: Chunk, stem: Path) -> Chunk:
    """Write a run's columns; give them back mapped."""
    mapped: Chunk = {}
    for name, column in piece.items():
        path = stem.with_name(f"{stem.name}.{name}")
        with path.open("wb", buffering=0) as file:
            view = memoryview(np.ascontiguousarray(column).data).cast("B")
            while len(view):
                view = view[file.write(view) :]
        mapped[name] = np.memmap(path, dtype=column.dtype, mode="r")
    return mapped


def _merge(runs: list[Chunk], size: int) -> Iterator[Chunk]:
    """Merge sorted runs by ranges of stamps that hold about ``size`` ticks.

    A range ends at a stamp and takes every tick of it from every run, so that equal
    stamps meet in one range, where concatenation in order of the runs and a stable sort
    keep their order.
    """
    share = max(size // len(runs), 1)
    at = [0] * len(runs)
    while True:
        open_ = [i for i, run in enumerate(runs) if at[i] < len(run["ts"])]
        if not open_:
            return
        cut = min(int(runs[i]["ts"][min(at[i] + share, len(runs[i]["ts"])) - 1]) for i in open_)
        parts: list[Chunk] = []
        for i in open_:
            end = int(np.searchsorted(runs[i]["ts"], cut, side="right"))
            if end > at[i]:
                parts.append(_read_run(runs[i], at[i], end))
                at[i] = end
        merged = concatenate(parts)
        yield take(merged, np.argsort(merged["ts"], kind="stable"))


def _read_run(run: Chunk, begin: int, end: int) -> Chunk:
    """Ticks of a run, read: all of a mapped run would count as this process's memory."""
    return {
        name: np.fromfile(column.filename, column.dtype, end - begin, offset=8 * begin)  # type: ignore[attr-defined]
        for name, column in run.items()
    }
