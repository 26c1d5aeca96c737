"""Features of a batch: once for each distinct set of arguments, a block of ticks at a time.

Two variants share their features if they agree in the parameters that ``features`` reads.
Where a strategy says by ``lookback(params)`` how many ticks before a tick its features
depend on, they are worked out block by block: for the ticks of a block and those many
before it, of which the block's own values are kept. Blocks lie at fixed places of the tick
series, so that neither slices nor batches nor memory change a value. Without ``lookback``
features are worked out over the whole range at once, and need memory for all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from sweep.errors import StrategyError
from sweep.kernel import Kernel
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D, Slice, Ticks
from sweep.ticks.sessions import cut

__all__ = ["BLOCK", "Call", "agree", "alike", "calls_of", "feature_arrays", "forget"]

#: Ticks of a block; it begins at a multiple of them, counted from the series' first tick.
BLOCK = 1 << 19

#: Bytes of feature arrays that a worker keeps besides those in use, for variants that
#: agree in the parameters that the features read.
_KEPT = 64 << 20


@dataclass(frozen=True)
class Call:
    """One call of a kernel: pieces of consecutive slices that share their feature arrays.

    Attributes
    ----------
    slices : tuple of Slice
    places : tuple of int
        The slice of the task that each piece belongs to.
    cells : tuple of int
        The cell of the task that each piece belongs to, see `sweep.ticks.sessions`.
    first, end : int
        Ticks of the feature arrays.
    fresh : bool
        Whether variants begin afresh with the first piece.
    last : bool
        Whether a position that is open at the end is closed there.
    joined : bool
        Whether the pieces go on from each other.
    """

    slices: tuple[Slice, ...]
    places: tuple[int, ...]
    cells: tuple[int, ...]
    first: int
    end: int
    fresh: bool
    last: bool
    joined: bool


def calls_of(
    kernel: Kernel,
    slices: tuple[Slice, ...],
    row: FloatArray1D,
    *,
    carry_over: bool,
    close_out: bool,
    fresh: bool,
    base: int = 0,
    edges: tuple[int, ...] = (),
    apart: bool = False,
) -> list[Call]:
    """Return the calls that evaluate variants on slices.

    Parameters
    ----------
    kernel : Kernel
    slices : tuple of Slice
    row : ndarray of shape (n_params,), float64
        Of one of the variants; they agree in what is asked of it here.
    carry_over, close_out : bool
        See `sweep.backtest.tasks.Task`.
    fresh : bool
        Whether nothing was carried here.
    base : int, optional
        Place in the whole series of tick 0.
    edges : tuple of int, optional
        Ticks at which sessions begin, and the end of the last: pieces end there too.
    apart : bool, optional
        See `sweep.backtest.tasks.Task`.
    """
    cuts = [[s] if not edges else cut(s, edges) for s in slices]
    pieces = [(piece, m) for m, parts in enumerate(cuts) for piece in parts]
    whole = [(piece, m, cell) for cell, (piece, m) in enumerate(pieces)]
    if not kernel.ref.features:
        joined = carry_over or len(pieces) > len(slices)
        # A slice that is cut and starts afresh is a run of its own.
        runs = [whole] if carry_over or not joined else _by_slice(whole)
        return [
            Call(
                *_columns(run),
                first=0,
                end=0,
                fresh=fresh or not carry_over,
                last=close_out or not carry_over,
                joined=joined,
            )
            for run in runs
        ]
    params = kernel.params(row)
    runs = [whole] if carry_over else _by_slice(whole)
    lookback = kernel.lookback(params) if kernel.ref.resumable else None
    calls: list[Call] = []
    for run in runs:
        lowest = run[0][0].warmup
        if apart or not carry_over:
            # What came before the warm-up is another slice's.
            lowest = max(lowest, run[0][0].begin - int(kernel.warmup(params)))
        end = run[-1][0].end
        blocks: list[tuple[int, list[tuple[Slice, int, int]]]] = []
        for s, m, cell in run:
            begin = s.begin
            while begin < s.end:
                block = (begin + base) // BLOCK
                stop = s.end
                if lookback is not None:
                    stop = min(stop, (block + 1) * BLOCK - base)
                if not blocks or (lookback is not None and blocks[-1][0] != block):
                    blocks.append((block, []))
                blocks[-1][1].append((s._replace(begin=begin, end=stop), m, cell))
                begin = stop
        for k, (block, own) in enumerate(blocks):
            afresh = k == 0 and (fresh or not carry_over)
            first, until = lowest, end
            if lookback is not None:
                if afresh:
                    # The warm-up lies before the slice, perhaps in a block before its own.
                    opening = max(lowest, own[0][0].begin - int(kernel.warmup(params)))
                    block = (opening + base) // BLOCK
                first = max(lowest, block * BLOCK - base - lookback)
                until = own[-1][0].end
            calls.append(
                Call(
                    *_columns(own),
                    first=first,
                    end=until,
                    fresh=afresh,
                    last=k == len(blocks) - 1 and (close_out or not carry_over),
                    joined=True,
                )
            )
    return calls


def _by_slice(pieces: list[tuple[Slice, int, int]]) -> list[list[tuple[Slice, int, int]]]:
    return [list(run) for _, run in groupby(pieces, key=lambda piece: piece[1])]


def _columns(
    pieces: list[tuple[Slice, int, int]],
) -> tuple[tuple[Slice, ...], tuple[int, ...], tuple[int, ...]]:
    slices, places, cells = zip(*pieces, strict=True)
    return slices, places, cells


def alike(
    kernel: Kernel,
    ticks: Ticks,
    content: str,
    half: float,
    params: FloatArray2D,
    left: IntArray1D,
    calls: Any,
) -> tuple[IntArray1D, list[Call]]:
    """Return the first of some variants with those that share its features, and their calls.

    Parameters
    ----------
    kernel : Kernel
    ticks : Ticks
    content : str
        Hash of the ticks.
    half : float
        Half-spread around trades.
    params : ndarray of shape (n_variants, n_params), float64
    left : ndarray of shape (n_left,), int64
        Places in ``params``.
    calls : callable
        ``calls(row) -> list of Call`` of a variant.

    Raises
    ------
    StrategyError
        If the user's function raises for the first of them.
    """
    own = calls(params[left[0]])
    if not kernel.ref.features or len(left) == 1:
        return left, own
    _, read = feature_arrays(kernel, ticks, content, half, own[0], params[left[0]])
    same = agree(kernel, params[left], read)
    return np.array([v for v in left[same].tolist() if calls(params[v]) == own]), own


def agree(kernel: Kernel, params: FloatArray2D, read: tuple[str, ...]) -> Any:
    """Return which variants agree with the first in the parameters that were read.

    Parameters
    ----------
    kernel : Kernel
    params : ndarray of shape (n_variants, n_params), float64
    read : tuple of str

    Returns
    -------
    ndarray of shape (n_variants,), bool
    """
    names = kernel.params(params[0])._fields
    columns = [names.index(name) for name in read]
    return (params[:, columns] == params[0, columns]).all(axis=1)


class _Reads:
    """Stands for a variant's parameters and notes which of them are read."""

    def __init__(self, params: Any) -> None:
        self._params = params
        self._seen: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._params, name)
        if name in self._params._fields:
            self._seen[name] = value
        else:
            # A method of the tuple, which may read all of them.
            self._seen.update(self._params._asdict())
        return value

    def __repr__(self) -> str:
        return repr(self._params)


_FOUND: OrderedDict[tuple[Any, ...], tuple[Any, ...]] = OrderedDict()


def forget() -> None:
    """Let all features be worked out again when they are asked for next."""
    _FOUND.clear()


def feature_arrays(
    kernel: Kernel, ticks: Ticks, content: str, half: float, call: Call, row: FloatArray1D
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return the feature arrays of a variant for a call, from ``call.first`` on.

    They are found again for variants that agree in the parameters that were read.

    Parameters
    ----------
    kernel, ticks, content, half
        See `alike`.
    call : Call
    row : ndarray of shape (n_params,), float64

    Returns
    -------
    arrays : tuple of ndarray of shape (call.end - call.first,), float64
        An array that nobody reads where the strategy has no features.
    read : tuple of str
        The parameters that were read. What is read may depend on the ticks, so that it
        is another for each call.

    Raises
    ------
    StrategyError
        If the user's function raises.
    """
    if not kernel.ref.features:
        return kernel.features(ticks, None), ()
    params = kernel.params(row)
    where = (kernel.ref.path, content, call.first, call.end, half)
    for key, found in _FOUND.items():
        if key[0] == where and all(getattr(params, name) == value for name, value in key[1]):
            _FOUND.move_to_end(key)
            return found, tuple(name for name, _ in key[1])
    seen = ticks.between(call.first, call.end)
    if half:
        # As `step` sees them: with the study's half-spread around trades.
        seen = seen._replace(bid=seen.bid - half, ask=seen.ask + half)
    reads = _Reads(params)
    try:
        arrays = kernel.features(seen, reads)
        read = reads._seen
    except StrategyError:
        # Perhaps it needs the tuple itself, to unpack it or in compiled code of its own.
        arrays = kernel.features(seen, params)
        read = params._asdict()
    _FOUND[(where, tuple(read.items()))] = arrays
    while len(_FOUND) > 1 and sum(map(_size, _FOUND.values())) > _KEPT:
        _FOUND.popitem(last=False)
    return arrays, tuple(read)


def _size(arrays: tuple[Any, ...]) -> int:
    return sum(int(a.nbytes) for a in arrays)
