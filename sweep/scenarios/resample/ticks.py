"""Any part of a path, written out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sweep.errors import InputError
from sweep.kernel.paths.derive import derive_quotes
from sweep.scenarios.resample.plan import Path, Resampler
from sweep.schema import Ticks

__all__ = ["derive_ticks", "path_blocks"]


def derive_ticks(
    resampler: Resampler, ticks: Ticks, path: Path, begin: int = 0, end: int | None = None
) -> Ticks:
    """Write out some ticks of a path.

    Parameters
    ----------
    resampler : Resampler
    ticks : Ticks
        The series that it was made from.
    path : Path
    begin, end : int, optional
        Ticks of the path; by default all.

    Returns
    -------
    Ticks
        Read-only. Every tick has the spread of its source tick in ticks of the grid (in
        price units, up to rounding, without a grid), and its sizes.

    Raises
    ------
    InputError
        If the path has no such ticks.
    """
    edges = path.edges
    end = int(edges[-1]) if end is None else end
    if not 0 <= begin <= end <= edges[-1]:
        raise InputError(f"ticks {begin} to {end} of a path of {edges[-1]:,}")
    n = end - begin
    sized = len(ticks.bid_size) > 0
    ts = np.empty(n, np.int64)
    bid, ask = np.empty(n), np.empty(n)
    sizes = [np.empty(n if sized else 0) for _ in range(2)]
    k = int(np.searchsorted(edges, begin, "right")) - 1
    at = 0
    while at < n:
        piece = path.pieces[k]
        skip = begin + at - int(edges[k])
        first = int(piece["first"]) + skip
        count = min(int(piece["end"]) - first, n - at)
        ts[at : at + count] = ticks.ts[first : first + count] + piece["shift"]
        derive_quotes(
            ticks.bid, ticks.ask, first, count, piece["factor"], piece["offset"],
            *resampler.grid, 0.0, bid, ask, at,
        )  # fmt: skip
        if sized:
            sizes[0][at : at + count] = ticks.bid_size[first : first + count]
            sizes[1][at : at + count] = ticks.ask_size[first : first + count]
        at += count
        k += 1
    found = Ticks(ts, bid, ask, *sizes)
    for column in found:
        column.flags.writeable = False
    return found


def path_blocks(
    resampler: Resampler, ticks: Ticks, path: Path, size: int = 1 << 16
) -> Iterator[Ticks]:
    """Yield a path in blocks of at most ``size`` ticks."""
    n = path.n_ticks
    for begin in range(0, n, size):
        yield derive_ticks(resampler, ticks, path, begin, min(begin + size, n))
