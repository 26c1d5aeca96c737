"""Walk-forward: train windows, each followed by the window that tests it.

All windows are half-open, ``[start, stop)``. Over sessions they are counted; over stamps
they are times, found by left search, so that a tick at a window's end and its duplicates
belong to the later window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import IntArray1D
from sweep.units import format_duration

__all__ = [
    "WalkForward",
    "Window",
    "edges_of",
    "integers",
    "positions",
    "stamps_of",
    "walk_forward",
    "walk_forward_by_time",
]


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
