"""Which observations train and which test: walk-forward, purged k-fold, combinatorial.

Two versions of each: over observations that are counted (sessions), and over stamps, where
folds are times, found by left search.

Folds have ``n // n_folds`` observations and the last takes the remainder, as in skfolio;
scikit-learn and `numpy.array_split` give it to the first ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sweep.errors import InputError
from sweep.schema import IntArray1D
from sweep.units import format_duration

__all__ = [
    "CombinatorialSplit",
    "WalkForward",
    "Window",
    "backtest_paths",
    "combinatorial_purged",
    "combinatorial_purged_by_time",
    "fold_bounds",
    "integers",
    "positions",
    "purged_k_fold",
    "purged_k_fold_by_time",
    "walk_forward",
    "walk_forward_by_time",
]


class CombinatorialSplit(NamedTuple):
    """One split of a k-fold.

    Attributes
    ----------
    test_folds : tuple of int
        Ascending.
    test, train : ndarray of shape (n_test,) and (n_train,), int64
        Observations, ascending; train is what purging and embargo have left.
    """

    test_folds: tuple[int, ...]
    test: IntArray1D
    train: IntArray1D


# -- k-fold ----------------------------------------------------------------------------


def fold_bounds(n: int, n_folds: int) -> IntArray1D:
    """Return where folds begin, and ``n``; (n_folds + 1,), int64. The last has the remainder."""
    if not 2 <= n_folds <= n:
        raise InputError(f"{n} observations make 2 to {n} folds, asked for {n_folds}")
    bounds = np.arange(n_folds + 1, dtype=np.int64) * (n // n_folds)
    bounds[-1] = n
    return bounds


def purged_k_fold(
    n: int, n_folds: int, *, purge: int = 0, embargo: int = 0
) -> tuple[CombinatorialSplit, ...]:
    """Return the splits of a k-fold, each fold tested once; see `combinatorial_purged`."""
    return combinatorial_purged(n, n_folds, 1, purge=purge, embargo=embargo)


def combinatorial_purged(
    n: int, n_folds: int, n_test_folds: int, *, purge: int = 0, embargo: int = 0
) -> tuple[CombinatorialSplit, ...]:
    """Return all splits of ``n`` observations that test ``n_test_folds`` of the folds.

    Parameters
    ----------
    n : int
        Observations (sessions).
    n_folds, n_test_folds : int
    purge : int, optional
        Observations that do not train on both sides of each run of test folds.
    embargo : int, optional
        More of them after a run, where train follows test: at least the longer of the
        holding time and the warm-up.

    Returns
    -------
    tuple of CombinatorialSplit
        In lexicographic order of the test folds; ``comb(n_folds, n_test_folds)`` of them.

    Raises
    ------
    InputError
        If a number is impossible, or a split has nothing left to train.

    Notes
    -----
    Splits train on observations after the tested ones. They measure robustness; the path
    through them is no history that could have been traded.

    References
    ----------
    Lopez de Prado (2018), Advances in Financial Machine Learning, chapters 7 and 12.
    """
    bounds = fold_bounds(n, n_folds)
    if purge < 0 or embargo < 0:
        raise InputError(f"purge and embargo must not be negative, found {purge} and {embargo}")
    stamps = np.arange(n, dtype=np.int64)
    return _combinations(stamps, stamps + purge, bounds, n_test_folds, embargo)


def purged_k_fold_by_time(
    stamps: ArrayLike,
    edges: ArrayLike,
    *,
    horizon: int = 0,
    ends: ArrayLike | None = None,
    embargo: int = 0,
) -> tuple[CombinatorialSplit, ...]:
    """Return the splits of a k-fold over stamps; see `combinatorial_purged_by_time`."""
    return combinatorial_purged_by_time(
        stamps, edges, 1, horizon=horizon, ends=ends, embargo=embargo
    )


def combinatorial_purged_by_time(
    stamps: ArrayLike,
    edges: ArrayLike,
    n_test_folds: int,
    *,
    horizon: int = 0,
    ends: ArrayLike | None = None,
    embargo: int = 0,
) -> tuple[CombinatorialSplit, ...]:
    """Return all splits of stamped observations that test ``n_test_folds`` of the folds.

    An observation's information interval is ``[stamp, end]``. It does not train if that
    interval meets the test window or the interval of an observation in it.

    Parameters
    ----------
    stamps : array_like of shape (n,), int64
        Nanoseconds, never decreasing.
    edges : array_like of shape (n_folds + 1,), int64
        Nanoseconds, ascending; fold k is ``[edges[k], edges[k + 1])``. Observations outside
        of all folds are in no split.
    n_test_folds : int
    horizon : int, optional
        Nanoseconds that each interval is long: the longest holding time plus the latency.
    ends : array_like of shape (n,), int64, optional
        The intervals' ends, where they differ; in place of ``horizon``.
    embargo : int, optional
        Nanoseconds after a test window's last interval, where train follows test.
    """
    stamp, edge = stamps_of(stamps), edges_of(edges)
    if horizon < 0 or embargo < 0:
        raise InputError(f"horizon and embargo must not be negative, found {horizon}, {embargo}")
    end = stamp + horizon
    if ends is not None:
        end = integers(ends, "ends")
        if horizon:
            raise InputError("give either horizon or ends")
        if end.shape != stamp.shape or bool((end < stamp).any()):
            raise InputError("ends must be as many as stamps, none before its stamp")
    return _combinations(stamp, end, edge, n_test_folds, embargo)


def backtest_paths(n_folds: int, n_test_folds: int) -> NDArray[np.int64]:
    """Return which split tests each fold on each path.

    Parameters
    ----------
    n_folds, n_test_folds : int

    Returns
    -------
    ndarray of shape (n_paths, n_folds), int64
        Splits by their number in `combinatorial_purged`; ``n_paths`` is
        ``comb(n_folds - 1, n_test_folds - 1)``. Every test of a fold is in one path.

    References
    ----------
    Lopez de Prado (2018), section 12.4.
    """
    _check_test_folds(n_folds, n_test_folds)
    paths = np.empty((math.comb(n_folds - 1, n_test_folds - 1), n_folds), np.int64)
    seen = [0] * n_folds
    for split, folds in enumerate(itertools.combinations(range(n_folds), n_test_folds)):
        for fold in folds:
            paths[seen[fold], fold] = split
            seen[fold] += 1
    return paths


def _combinations(
    stamps: IntArray1D, ends: IntArray1D, edges: IntArray1D, n_test_folds: int, embargo: int
) -> tuple[CombinatorialSplit, ...]:
    n_folds = len(edges) - 1
    _check_test_folds(n_folds, n_test_folds)
    bounds = np.searchsorted(stamps, edges, side="left")
    inside = np.zeros(len(stamps), np.bool_)
    inside[bounds[0] : bounds[-1]] = True
    splits = []
    for folds in itertools.combinations(range(n_folds), n_test_folds):
        test = np.zeros(len(stamps), np.bool_)
        train = inside.copy()
        for first, last in _runs(folds):
            window = slice(bounds[first], bounds[last + 1])
            begins, until = edges[first], edges[last + 1]
            test[window] = True
            # The first stamp that no tested interval reaches.
            free = max(int(until), int(ends[window].max(initial=until - 1)) + 1)
            before = stamps < begins
            train[before & (ends >= begins)] = False
            train[~before & (stamps < free + embargo)] = False
        train &= ~test
        if not train.any():
            raise InputError(
                f"testing folds {list(folds)} of {n_folds} leaves nothing to train; use a "
                "shorter purge or embargo, or fewer folds"
            )
        splits.append(CombinatorialSplit(folds, np.flatnonzero(test), np.flatnonzero(train)))
    return tuple(splits)


def _runs(folds: Sequence[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of neighbours."""
    runs: list[tuple[int, int]] = []
    for fold in folds:
        if runs and runs[-1][1] == fold - 1:
            runs[-1] = (runs[-1][0], fold)
        else:
            runs.append((fold, fold))
    return runs


# -- checks ----------------------------------------------------------------------------


def _check_test_folds(n_folds: int, n_test_folds: int) -> None:
    if not 1 <= n_test_folds < n_folds:
        raise InputError(
            f"of {n_folds} folds 1 to {n_folds - 1} can be tested, asked for {n_test_folds}"
        )


class Window(NamedTuple):
    """Observations ``[start, stop)``."""

    start: int
    stop: int


class WalkForward(NamedTuple):
    """One step of a walk forward: test follows train."""

    train: Window
    test: Window


def walk_forward(
    n: int,
    *,
    train: int,
    test: int,
    purge: int = 0,
    anchored: bool = False,
    reduce_last_test: bool = False,
) -> tuple[WalkForward, ...]:
    """Return the steps of a walk forward over ``n`` observations.

    Test windows tile ``[train + purge, n)`` without gap or overlap, so that their
    concatenation is one path; score that, not the mean of the windows' scores.

    Parameters
    ----------
    n : int
        Observations (sessions).
    train, test : int
        Their lengths, at least 1.
    purge : int, optional
        Observations left out between train and test: the longest holding time.
    anchored : bool, optional
        Train always begins at 0 and grows; otherwise it rolls.
    reduce_last_test : bool, optional
        Keep a last test window that is shorter than the others.

    Raises
    ------
    InputError
        If a length is impossible, or there is no room for one step.
    """
    _check_lengths(train, test, purge)
    if train + purge + (1 if reduce_last_test else test) > n:
        raise InputError(
            f"{n} observations have no room for {train} to train, {purge} to purge and {test} "
            "to test; shorten one of them"
        )
    steps = []
    for start in range(train + purge, n, test):
        if start + test > n and not reduce_last_test:
            break
        stop = start - purge
        window = Window(0 if anchored else stop - train, stop)
        steps.append(WalkForward(window, Window(start, min(start + test, n))))
    return tuple(steps)


def walk_forward_by_time(
    stamps: ArrayLike,
    edges: ArrayLike,
    *,
    train: int,
    test: int,
    purge: int = 0,
    anchored: bool = False,
    reduce_last_test: bool = False,
) -> tuple[WalkForward, ...]:
    """Return the steps of a walk forward over ticks, by the edges of sessions.

    Parameters
    ----------
    stamps : array_like of shape (n_ticks,), int64
        Nanoseconds, never decreasing.
    edges : array_like of shape (n_sessions + 1,), int64
        Nanoseconds, ascending; session k is ``[edges[k], edges[k + 1])``. Session closes.
    train, test : int
        Lengths in sessions.
    purge : int, optional
        Nanoseconds before the test window that do not train: the longest holding time plus
        the latency, so that no train tick knows what happens in the test window.
    anchored, reduce_last_test : bool, optional
        As in `walk_forward`.

    Returns
    -------
    tuple of WalkForward
        Windows are positions in ``stamps``.

    Raises
    ------
    InputError
        As `walk_forward`, or if purging leaves nothing to train.
    """
    stamp, edge = stamps_of(stamps), edges_of(edges)
    _check_lengths(train, test, purge)
    steps = walk_forward(
        len(edge) - 1, train=train, test=test, anchored=anchored, reduce_last_test=reduce_last_test
    )
    out = []
    for step in steps:
        begins, ends = edge[step.train.start], edge[step.train.stop] - purge
        times = np.array([begins, max(ends, begins), edge[step.test.start], edge[step.test.stop]])
        a, b, c, d = (int(k) for k in np.searchsorted(stamp, times, side="left"))
        if a == b:
            raise InputError(
                f"sessions {step.train.start} to {step.train.stop - 1} have no tick to train on "
                f"that is more than {format_duration(purge)} before session {step.test.start}; use "
                "a shorter purge or a longer train"
            )
        out.append(WalkForward(Window(a, b), Window(c, d)))
    return tuple(out)


def positions(stamps: ArrayLike, edges: ArrayLike) -> IntArray1D:
    """Return where each edge falls among stamps, by left search; (n_edges,), int64."""
    return np.searchsorted(stamps_of(stamps), edges_of(edges), side="left").astype(np.int64)


def _check_lengths(train: int, test: int, purge: int) -> None:
    if train < 1 or test < 1 or purge < 0:
        raise InputError(
            "train and test must be at least 1 and purge not negative, "
            f"found {train}, {test}, {purge}"
        )


def integers(values: ArrayLike, name: str) -> IntArray1D:
    """Return one array as int64, or refuse it."""
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InputError(f"{name} must be one array of integers, found {found.dtype} {found.shape}")
    return found.astype(np.int64, copy=False)


def stamps_of(stamps: ArrayLike) -> IntArray1D:
    """Return stamps as int64, or refuse those that decrease."""
    found = integers(stamps, "stamps")
    if len(found) > 1 and bool((found[1:] < found[:-1]).any()):
        place = int(np.argmax(found[1:] < found[:-1])) + 1
        raise InputError(f"stamps must never decrease, but do so at place {place}")
    return found


def edges_of(edges: ArrayLike) -> IntArray1D:
    """Return edges as int64, or refuse those that do not ascend."""
    found = integers(edges, "edges")
    if len(found) < 2 or bool((found[1:] <= found[:-1]).any()):
        raise InputError(f"edges must be two or more and ascend, found {found.tolist()[:8]}")
    return found
