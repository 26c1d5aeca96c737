"""Combinatorially symmetric cross-validation: whether choosing the best generalises.

Sessions are cut into an even number of blocks. Each half of the blocks chooses the best
variant in turn, and the other half says how that one ranks out of sample. A diagnostic of
the choosing, not a p-value: on pure noise the probability of backtest overfitting is one
half in the mean, with a standard deviation of some 0.2.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.stats.checks import distinct_columns, matrix
from sweep.text import counted

__all__ = ["CrossValidation", "cscv"]

#: 20 blocks make 184,756 splits; of 24 there would be 2.7 million.
MAX_BLOCKS = 20

#: Variants side by side: tables of sums and squares of 2 x 256 subsets then take 1 MiB. With
#: 32 (256 KiB) the loops' overhead makes it three times as slow.
_WIDTH = 128

#: A variance below this share of the mean square is rounding.
_NOTHING = 1e-14


@dataclass(frozen=True)
class CrossValidation:
    """What combinatorially symmetric cross-validation found.

    Splits are in lexicographic order of their in-sample blocks.

    Attributes
    ----------
    pbo : float
        Probability of backtest overfitting: the share of splits whose chosen variant is at
        or below the median out of sample (logit at most 0).
    probability_of_loss : float
        The share whose chosen variant has a negative performance out of sample.
    slope, intercept : float
        Of the line through out-of-sample over in-sample performance of the chosen ones:
        performance degradation. NaN if in-sample performance never changes.
    logits : ndarray of shape (n_splits,), float64
        ``log(w / (1 - w))`` with ``w = rank / (n_distinct + 1)``.
    selected : ndarray of shape (n_splits,), int64
        The chosen variant: the highest in sample, the first of equals.
    rank : ndarray of shape (n_splits,), float64
        Its rank out of sample among distinct variants, 1 the poorest; equals share the mean.
    in_sample, out_of_sample : ndarray of shape (n_splits,), float64
        Its performance.
    n_blocks, n_variants, n_distinct : int
    reason : str or None
        Why there is nothing.
    """

    pbo: float
    probability_of_loss: float
    slope: float
    intercept: float
    logits: FloatArray1D
    selected: IntArray1D
    rank: FloatArray1D
    in_sample: FloatArray1D
    out_of_sample: FloatArray1D
    n_blocks: int
    n_variants: int
    n_distinct: int
    reason: str | None = None

    @property
    def n_splits(self) -> int:
        """``comb(n_blocks, n_blocks / 2)``."""
        return len(self.logits)


def cscv(
    returns: ArrayLike, *, n_blocks: int = 16, metric: Literal["sharpe", "mean"] = "sharpe"
) -> CrossValidation:
    """Return the probability of backtest overfitting and its companions.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
        Of every variant ever tried; whole sessions.
    n_blocks : int, optional
        Even, from 2 to `MAX_BLOCKS`; 10 to 16 are usual. Blocks have
        ``n_sessions // n_blocks`` sessions and the last takes the remainder.
    metric : {"sharpe", "mean"}, optional
        Performance over a half of the blocks: mean over standard deviation (n - 1), or the
        mean. Where a variant's returns have no variance in a half (it did not trade), its
        Sharpe ratio counts as 0 there.

    Raises
    ------
    InputError
        If a return is not finite or a setting wrong.

    Notes
    -----
    Variants that are equal in every session count once: ties would push the rank of the
    chosen one to the middle. With an odd number of variants the median has a logit of 0
    and counts as overfit. CRAN's ``pbo`` divides ranks by N, not N + 1.

    Performances are put together from the blocks' sums, added in one order whatever the
    number of variants.

    References
    ----------
    Bailey, Borwein, Lopez de Prado & Zhu (2017), The probability of backtest overfitting,
    Journal of Computational Finance 20(4), section 2.2.
    """
    if n_blocks % 2 or not 2 <= n_blocks <= MAX_BLOCKS:
        raise InputError(f"n_blocks must be even, from 2 to {MAX_BLOCKS}, found {n_blocks}")
    if metric not in ("sharpe", "mean"):
        raise InputError(f"no metric {metric!r}; there are sharpe and mean")
    r = matrix(returns)
    n, variants = r.shape
    kept, _ = distinct_columns(r)
    reason = None
    if n < 2 * n_blocks:
        reason = f"{n} sessions are too few for {n_blocks} blocks of at least 2"
    elif len(kept) < 2:
        reason = f"{counted(len(kept), 'distinct variant')}; at least 2 are needed"
    if reason:
        none, nan = np.empty(0), math.nan
        index = np.empty(0, np.int64)
        return CrossValidation(
            nan, nan, nan, nan, none, index, none, none, none, n_blocks, variants, len(kept), reason
        )

    bounds = np.arange(n_blocks + 1) * (n // n_blocks)
    bounds[-1] = n
    part = np.ascontiguousarray(r[:, kept])
    sums, squares = _block_sums(part, bounds), _block_sums(np.square(part), bounds)
    # Blocks as bits, the first half of them in the low ones.
    masks = np.array(
        [
            sum(1 << block for block in blocks)
            for blocks in itertools.combinations(range(n_blocks), n_blocks // 2)
        ],
        np.int64,
    )
    splits = len(masks)
    selected, below, equal = (np.zeros(splits, np.int64) for _ in range(3))
    inside, outside = np.full(splits, -math.inf), np.empty(splits)
    lengths = np.diff(bounds).astype(np.float64)
    _choose_and_rank(
        sums, squares, lengths, masks, metric == "sharpe", selected, inside, outside, below, equal
    )
    rank = below + 0.5 * (equal + 1.0)
    omega = rank / (len(kept) + 1.0)
    logits = np.log(omega / (1.0 - omega))
    slope, intercept = _line(inside, outside)
    return CrossValidation(
        pbo=float((logits <= 0.0).mean()),
        probability_of_loss=float((outside < 0.0).mean()),
        slope=slope,
        intercept=intercept,
        logits=logits,
        selected=kept[selected],
        rank=rank,
        in_sample=inside,
        out_of_sample=outside,
        n_blocks=n_blocks,
        n_variants=variants,
        n_distinct=len(kept),
    )


def _line(x: FloatArray1D, y: FloatArray1D) -> tuple[float, float]:
    """Return slope and intercept of the least squares line."""
    if x.min() == x.max():
        return math.nan, math.nan
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    dx = x - mean_x
    slope = math.fsum(dx * (y - mean_y)) / math.fsum(dx * dx)
    return slope, mean_y - slope * mean_x


def _block_sums(values: FloatArray2D, bounds: IntArray1D) -> FloatArray2D:
    out = np.zeros((len(bounds) - 1, values.shape[1]))
    _add_blocks(values, bounds, out)
    return out


@njit(cache=True, error_model="numpy")
def _add_blocks(values: FloatArray2D, bounds: IntArray1D, out: FloatArray2D) -> None:
    for block in range(out.shape[0]):
        for t in range(bounds[block], bounds[block + 1]):
            for v in range(out.shape[1]):
                out[block, v] += values[t, v]


@njit(cache=True, error_model="numpy")
def _fill_tables(sums: FloatArray2D, first: int, width: int, low: int, table: FloatArray2D) -> None:
    """Write the sums of all subsets of half of the blocks, beginning with block ``low``.

    Subset m without its highest block is there already, so that each takes one addition.
    """
    table[0, :] = 0.0
    highest = 0
    for m in range(1, table.shape[0]):
        if m == 2 << highest:
            highest += 1
        rest = m - (1 << highest)
        for v in range(width):
            table[m, v] = table[rest, v] + sums[low + highest, first + v]
        for v in range(width, _WIDTH):
            table[m, v] = 0.0


@njit(cache=True, error_model="numpy")
def _perform(
    a: FloatArray1D,
    b: FloatArray1D,
    c: FloatArray1D,
    d: FloatArray1D,
    n: float,
    sharpe: bool,
    out: FloatArray1D,
) -> None:
    """Write the performance of sums ``a + b`` and sums of squares ``c + d`` over n sessions."""
    if not sharpe:
        for v in range(_WIDTH):
            out[v] = (a[v] + b[v]) / n
        return
    for v in range(_WIDTH):
        mean = (a[v] + b[v]) / n
        square = c[v] + d[v]
        centred = square - (a[v] + b[v]) * mean
        some = centred > _NOTHING * square
        sd = np.sqrt((centred if some else 1.0) / (n - 1.0))
        out[v] = mean / sd if some else 0.0


@njit(cache=True, error_model="numpy")
def _choose_and_rank(
    sums: FloatArray2D,
    squares: FloatArray2D,
    lengths: FloatArray1D,
    masks: IntArray1D,
    sharpe: bool,
    selected: IntArray1D,
    inside: FloatArray1D,
    outside: FloatArray1D,
    below: IntArray1D,
    equal: IntArray1D,
) -> None:
    """Fill the last five, one value for each split.

    The half that a split leaves out is the half that another one takes: of the masks in
    lexicographic order, the one as far from the end. So one pass over variants finds the
    best of each half, and a second one the ranks.
    """
    blocks, variants = sums.shape
    half = blocks // 2
    subsets = 1 << half
    sizes = np.zeros((2, subsets))
    for m in range(subsets):
        for k in range(half):
            if m >> k & 1:
                sizes[0, m] += lengths[k]
                sizes[1, m] += lengths[half + k]
    tables = np.empty((4, subsets, _WIDTH))
    found, room = np.empty(_WIDTH), np.empty(_WIDTH)
    splits = masks.size
    for turn in range(3):
        # 0: choose; 1: performance of the chosen in the other half; 2: rank it there.
        for first in range(0, variants, _WIDTH):
            width = min(_WIDTH, variants - first)
            for k in range(2):
                _fill_tables(sums, first, width, k * half, tables[k])
                _fill_tables(squares, first, width, k * half, tables[2 + k])
            for s in range(splits):
                split = s if turn == 0 else splits - 1 - s
                if turn == 1 and not first <= selected[split] < first + width:
                    continue
                low, high = masks[s] & (subsets - 1), masks[s] >> half
                n = sizes[0, low] + sizes[1, high]
                _perform(
                    tables[0, low], tables[1, high], tables[2, low], tables[3, high], n, sharpe,
                    found,
                )  # fmt: skip
                if turn == 1:
                    outside[split] = found[selected[split] - first]
                    continue
                # Loops of one length become SIMD: what is past the last must not count.
                if turn == 0:
                    for v in range(width, _WIDTH):
                        found[v] = -np.inf
                    highest = _top(found, room)
                    if highest > inside[split]:
                        inside[split] = highest
                        place = 0
                        while found[place] != highest:
                            place += 1
                        selected[split] = first + place
                else:
                    for v in range(width, _WIDTH):
                        found[v] = np.inf
                    target = outside[split]
                    less, same = 0, 0
                    for v in range(_WIDTH):
                        less += 1 if found[v] < target else 0
                        same += 1 if found[v] == target else 0
                    below[split] += less
                    equal[split] += same


@njit(cache=True, error_model="numpy")
def _top(values: FloatArray1D, room: FloatArray1D) -> float:
    """Return the highest, by halves."""
    half = _WIDTH // 2
    for v in range(half):
        room[v] = values[v + half] if values[v + half] > values[v] else values[v]
    while half > 4:
        half //= 2
        for v in range(half):
            room[v] = room[v + half] if room[v + half] > room[v] else room[v]
    highest = -np.inf
    for v in range(half):
        highest = max(highest, room[v])
    return highest
