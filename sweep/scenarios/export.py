"""A resampled path as a file of ticks, which every command reads as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

from sweep.scenarios.resample.plan import Resampler, plan_path
from sweep.scenarios.resample.ticks import path_blocks
from sweep.schema import TickHandle
from sweep.ticks.mapped import attach
from sweep.ticks.quality import Chunk
from sweep.ticks.sources import write_parquet

__all__ = ["export_path"]


def export_path(resampler: Resampler, handle: TickHandle, number: int, file: str | FilePath) -> int:
    """Write a path to a Parquet file, block by block.

    Parameters
    ----------
    resampler : Resampler
    handle : TickHandle
        The series that it was made from. Trades are written as their quotes.
    number : int
        Of the path.
    file : str or Path

    Returns
    -------
    int
        Ticks written.

    Raises
    ------
    DataError
        If the path cannot be drawn, see `sweep.scenarios.resample.plan_path`.
    """
    ticks = attach(handle)
    path = plan_path(resampler, ticks, number)

    def chunks() -> Iterator[Chunk]:
        for block in path_blocks(resampler, ticks, path):
            yield {name: column for name, column in block._asdict().items() if len(column)}

    return write_parquet(chunks(), file)
