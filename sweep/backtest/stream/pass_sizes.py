"""What a pass over a source may hold at a time, and which strategies can go from block to block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.backtest import features as feature_blocks
from sweep.errors import InputError, StrategyError
from sweep.kernel import KernelRef, load_kernel
from sweep.kernel.accounting import CARRY
from sweep.schema import ROW
from sweep.ticks.mapped import COLUMNS

__all__ = ["MEMORY", "Sizes", "batch_size", "check_streamable", "sizes_for"]

#: Bytes that a pass may take, besides what its processes take anyway.
MEMORY = 256_000_000

#: Ticks of a block at most: long enough that a task's way to a worker and back costs
#: nothing beside it, short enough that reading and evaluating soon overlap.
BLOCK = 1 << 20
#: Ticks of a block at least.
_SMALLEST = 1 << 12
#: Blocks at a time: one that is read, one that is evaluated, and two in between, since
#: neither goes at an even speed.
_RING = 4
#: What reading and checking take: a chunk decoded, converted and compared.
_READING = 56_000_000
#: What sorting takes for each tick of a run.
_SORTING = 160
#: Variants of a task at most.
_BATCH = 256
#: Variants that are worth a task of their own.
_WIDE = 64


@dataclass(frozen=True)
class Sizes:
    """What a pass holds at a time.

    Attributes
    ----------
    block : int
        Ticks of a block at most.
    ring : int
        Blocks at a time.
    variants : int
        Variants of one pass at most.
    run : int
        Ticks that are sorted at a time, where stamps may run backwards.
    """

    block: int = BLOCK
    ring: int = _RING
    variants: int = 1 << 20
    run: int = 1 << 21


def sizes_for(
    memory: int,
    kernel: KernelRef,
    *,
    columns: int = len(COLUMNS),
    lead: int = 0,
    n_slices: int = 1,
    n_cells: int = 0,
) -> Sizes:
    """Work out what a pass may hold at a time.

    Parameters
    ----------
    memory : int
        Bytes for ticks on their way and for what variants carry, over all processes.
    kernel : KernelRef
    columns : int, optional
        Of the ticks, 8 bytes each.
    lead : int, optional
        Ticks in front of each block that are held a second time.
    n_slices : int, optional
    n_cells : int, optional
        At whose ends equity is kept; see `sweep.ticks.session_cuts`.

    Raises
    ------
    InputError
        If nothing can be done with so little; the text says what it takes.
    """
    width = 8 * columns
    state = 8 * (max(kernel.n_floats, 1) + max(kernel.n_ints, 1)) + 16
    # A batch is copied on its way to a worker and back; its rows stay until the end.
    variant = 3 * (CARRY.itemsize + ROW.itemsize + state) + (n_slices + 1) * ROW.itemsize
    variant += 8 * n_cells
    # Equity of a batch at the ends of all cells, where one block holds them: in the worker, on
    # its way, and here.
    held = 3 * _BATCH * 8 * n_cells
    smallest = feature_blocks.BLOCK if kernel.features else _SMALLEST
    least = _READING + held + _RING * (smallest + lead) * width + _BATCH * variant
    if memory < least:
        raise InputError(
            f"data.memory: {memory / 1e6:,.0f} MB are too little for a pass over the ticks; "
            f"it takes {np.ceil(least / 1e6):,.0f} MB at least"
        )
    rest = memory - _READING - held
    block = min(BLOCK, rest // (2 * _RING * width) - lead)
    block = smallest if kernel.features else max(block, smallest)
    left = rest - _RING * (block + lead) * width
    return Sizes(
        block=int(block),
        variants=max(left // variant, _BATCH),
        run=max(rest // _SORTING, _SMALLEST),
    )


def batch_size(variants: int, workers: int) -> int:
    """Return how many variants go together.

    Two batches for each worker, so that it need not wait for one to come back; unless
    they would be so small that their way costs more than the wait.
    """
    batches = 2 * workers if variants >= 2 * workers * _WIDE else workers
    return max(min(_BATCH, -(-variants // batches)), 1)


def check_streamable(kernel: KernelRef) -> None:
    """Refuse a strategy that cannot go from block to block.

    Raises
    ------
    StrategyError
        The text says why, and what would do.
    """
    disk = 'or set data.store = "disk", which maps ticks larger than memory too'
    if not kernel.resumable:
        raise StrategyError(
            f"{kernel.strategy_path}: State holds arrays, which cannot be carried from block to "
            f"block; keep numbers in it, {disk}"
        )
    if kernel.features and not _looks_back(kernel):
        raise StrategyError(
            f"{kernel.strategy_path}: features() works on all ticks of a slice at once, and a "
            f"pass over the source holds a block of them; say by lookback(params) how many "
            f"ticks before a tick its features depend on, {disk}"
        )


def _looks_back(kernel: KernelRef) -> bool:
    """Whether a strategy has a function ``lookback``."""
    return callable(getattr(load_kernel(kernel).module, "lookback", None))
