"""Folds of a search range: windows of time that train, and windows that test.

Windows are half-open in nanoseconds and found by left search, so that a tick at an edge and
its duplicates belong to the later one. They are counted in units, sessions or stretches of
the clock, and end where units end. Which observations train beside which that are tested is
decided in `sweep.stats.overfit`; here its functions are asked about ticks of a real series.

They are asked about a few of its ticks only: those next to a stamp at which something begins
or ends to train. Between two of these nothing changes, so that what holds for them holds for
all the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sweep.errors import InputError
from sweep.schema import IntArray1D, Slice
from sweep.stats.overfit import (
    backtest_paths,
    combinatorial_purged_by_time,
    fold_bounds,
    walk_forward_by_time,
)
from sweep.stats.overfit.splits import Window
from sweep.study.file.sections import ValidateSection
from sweep.text import counted
from sweep.ticks.sessions import session_begins
from sweep.units import Duration, format_duration

__all__ = [
    "Fold",
    "Folds",
    "Plan",
    "Window",
    "make_folds",
    "plan_pieces",
    "unit_edges",
]

#: Test windows of a walk forward where nothing is asked, and units to train for each of test.
_FOLDS, _TRAIN_PER_TEST = 5, 3

#: Splits of a combination; the field's usual ones have 15 to 252.
_MOST_SPLITS = 2_000


@dataclass(frozen=True)
class Fold:
    """One question to the data: is what is found in train true in test.

    Attributes
    ----------
    train, test : tuple of Window
        Nanoseconds, half-open, in the order of time, none overlapping another.
    groups : tuple of int
        Of a k-fold or a combination: which stretch of the range each test window is.
    """

    train: tuple[Window, ...]
    test: tuple[Window, ...]
    groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Folds:
    """All folds of a range.

    Attributes
    ----------
    scheme : str
        Among `sweep.study.file.sections.SCHEMES`.
    folds : tuple of Fold
    edges : tuple of int
        Stamps at which windows were cut before anything was purged: between two of them a
        window has one stretch at most.
    paths : tuple of tuple of (int, int)
        Histories out of sample: of each, in the order of time, the fold and which of its test
        windows. No tick is in two windows of a path.
    purge, embargo : int
        Nanoseconds.
    unit : str
    n_units : int
        In the whole range.
    notes : tuple of str
        What a reader must know.
    """

    scheme: str
    folds: tuple[Fold, ...]
    edges: tuple[int, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]
    purge: int
    embargo: int
    unit: str
    n_units: int
    notes: tuple[str, ...] = ()

    @property
    def sequential(self) -> bool:
        """Whether every train window lies before the test windows of its fold."""
        return self.scheme in ("walk_forward", "holdout")


def unit_edges(
    ts: IntArray1D, begin: int, end: int, unit: str | Duration = "session"
) -> IntArray1D:
    """Return the edges of units: the stamp of each one's first tick, and one after the last.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Nanoseconds, never decreasing.
    begin, end : int
        Range of ticks.
    unit : str or Duration, optional
        ``"session"``: as `sweep.ticks.sessions.session_begins` finds them. A duration:
        stretches between its multiples since the epoch; those without a tick are left out.

    Returns
    -------
    ndarray of shape (n_units + 1,), int64
        Ascending.
    """
    if isinstance(unit, Duration):
        part = ts[begin:end]
        first, last = int(part[0]) // unit.ns + 1, int(part[-1]) // unit.ns
        marks = np.arange(first, last + 1, dtype=np.int64) * unit.ns
        places = np.unique(np.append(0, np.searchsorted(part, marks, side="left"))) + begin
    else:
        places = session_begins(ts, begin, end)
    return np.append(ts[places], ts[end - 1] + 1).astype(np.int64)


def make_folds(
    ts: IntArray1D,
    begin: int,
    end: int,
    settings: ValidateSection | None = None,
    *,
    longest: int = 0,
    warmup: int = 0,
) -> Folds:
    """Split a range of ticks as the settings say.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Nanoseconds, never decreasing.
    begin, end : int
        The search range, as ticks.
    settings : ValidateSection, optional
    longest : int, optional
        The information interval, for settings that state no purge: nanoseconds from a decision
        to the end of the longest trade that comes of it. At most half of the shortest train
        window is purged for it.
    warmup : int, optional
        The longest of the variants, in ticks, for settings that state no embargo: where train
        follows test, it warms up after it.

    Returns
    -------
    Folds

    Raises
    ------
    InputError
        If the range has too few units, or purging leaves nothing to train.
    """
    settings = settings or ValidateSection()
    edges = unit_edges(ts, begin, end, settings.unit)
    # More than the whole range is no more than it, and sums of stamps stay in int64.
    most = int(edges[-1] - edges[0])
    settings = replace(
        settings,
        purge=None if settings.purge is None else min(settings.purge, most),
        embargo=None if settings.embargo is None else min(settings.embargo, most),
    )
    if settings.scheme in ("walk_forward", "holdout"):
        found = _forward(ts[begin:end], edges, settings, longest)
    else:
        found = _across(ts[begin:end], edges, settings, longest, warmup)
    return replace(found, notes=(*_unused(settings), *found.notes))


#: Keys that one scheme or another has no use for, and the schemes that have.
_USED_BY = {
    "folds": ("walk_forward", "k_fold"),
    "train": ("walk_forward", "holdout"),
    "test": ("walk_forward", "holdout"),
    "anchored": ("walk_forward",),
    "groups": ("cpcv",),
    "test_groups": ("cpcv",),
    "embargo": ("k_fold", "cpcv"),
}


def _unused(settings: ValidateSection) -> list[str]:
    """Return what to say of keys that do nothing here: who set one expects something of it."""
    plain = ValidateSection()
    return [
        f"validate.{name} does nothing where validate.scheme is {settings.scheme}: it is for "
        f"{' and '.join(schemes)}"
        for name, schemes in _USED_BY.items()
        if settings.scheme not in schemes and getattr(settings, name) != getattr(plain, name)
    ]


# -- train before test -----------------------------------------------------------------


def _forward(ts: IntArray1D, edges: IntArray1D, settings: ValidateSection, longest: int) -> Folds:
    train, test, count = _lengths(len(edges) - 1, settings)
    skipped = len(edges) - 1 - train - count * test
    own = edges[skipped:]
    steps = [(skipped + train + k * test, skipped + train + (k + 1) * test) for k in range(count)]
    starts = [skipped if settings.anchored else a - train for a, _ in steps]
    lengths = [int(edges[a] - edges[s]) for (a, _), s in zip(steps, starts, strict=True)]
    purge, notes = _purge(settings, longest, min(lengths))
    stamps = _critical(ts, [*own.tolist(), *(own - purge).tolist()])
    found = walk_forward_by_time(
        stamps, own, train=train, test=test, purge=purge, anchored=settings.anchored
    )
    folds = tuple(
        Fold((_stamped(stamps, own, step.train),), (_stamped(stamps, own, step.test),))
        for step in found
    )
    if skipped:
        are = "is" if skipped == 1 else "are"
        whole = counted(len(edges) - 1, "unit")
        notes.append(f"the first {skipped} of {whole} {are} in no window")
    notes += _lost(folds, [f.test[0].start - f.train[-1].stop for f in folds], purge, 0)
    joints = {int(edges[k]) for pair in steps for k in pair} | {int(edges[k]) for k in starts}
    return Folds(
        scheme=settings.scheme,
        folds=folds,
        edges=tuple(sorted(joints)),
        paths=(tuple((k, 0) for k in range(len(folds))),),
        purge=purge,
        embargo=0,
        unit=str(settings.unit),
        n_units=len(edges) - 1,
        notes=tuple(notes),
    )


def _lengths(n: int, settings: ValidateSection) -> tuple[int, int, int]:
    """Return units of a train window, of a test window, and the number of folds."""
    train, test = settings.train, settings.test
    if settings.scheme == "holdout":
        count = 1
        test = test or max(round(n / 4), 1) if train is None else test or n - train
    elif train is not None and test is not None:
        count = settings.folds or max((n - train) // test, 1)
    else:
        count = settings.folds or _FOLDS
        if test is None:
            test = n // (count + _TRAIN_PER_TEST) if train is None else (n - train) // count
            test = max(test, 1)
    left = n - count * test
    if train is None:
        # Whole test windows, so that the edges of all windows are the same ones.
        train = left if settings.anchored or left < test or count == 1 else left // test * test
    if train < 1 or train > left:
        raise InputError(
            f"the search range has {_units(n, settings)}: there is no room for "
            f"{count} test window{'s' if count > 1 else ''} of {test} and {max(train, 1)} to train "
            f"before them; ask for fewer folds or shorter windows, or count in a finer "
            f'validate.unit such as "15m" or "4h"'
        )
    if settings.anchored:
        train = left  # nothing is gained by leaving the earliest units out
    return train, test, count


# -- train on both sides ---------------------------------------------------------------


def _across(
    ts: IntArray1D, edges: IntArray1D, settings: ValidateSection, longest: int, warmup: int
) -> Folds:
    n = len(edges) - 1
    combined = settings.scheme == "cpcv"
    groups = settings.groups if combined else settings.folds or _FOLDS
    tested = settings.test_groups if combined else 1
    if not 2 <= groups <= n or not tested < groups:
        can = f"2 to {n} can be cut, of which all but one can test" if n > 1 else "it takes two"
        raise InputError(
            f"the search range has {_units(n, settings)}, asked to be cut into {groups} of which "
            f"{tested} test at a time; {can}"
        )
    if math.comb(groups, tested) > _MOST_SPLITS:
        raise InputError(
            f"{tested} of {groups} groups can be tested in {math.comb(groups, tested):,} ways, and "
            f"each is a search; with fewer groups, or fewer that test, make it {_MOST_SPLITS:,}"
        )
    own = edges[fold_bounds(n, groups)]
    purge, notes = _purge(settings, longest, int(np.diff(own).min()))
    if settings.embargo is None:
        ends = np.searchsorted(ts, own[1:-1], side="left")
        warm = ts[np.minimum(ends + warmup, len(ts) - 1)] - own[1:-1]
        embargo = max(purge, int(warm.max(initial=0)))
    else:
        embargo = settings.embargo
    lasts = np.array([ts[np.searchsorted(ts, edge, side="left") - 1] for edge in own[1:]])
    after = np.maximum(own[1:], lasts + purge + 1) + embargo
    stamps = _critical(ts, [*own.tolist(), *(own - purge).tolist(), *after.tolist()])
    splits = combinatorial_purged_by_time(stamps, own, tested, horizon=purge, embargo=embargo)
    folds = tuple(
        Fold(
            tuple(_stamped(stamps, own, run) for run in _runs(split.train)),
            tuple(Window(int(own[g]), int(own[g + 1])) for g in split.test_folds),
            split.test_folds,
        )
        for split in splits
    )
    paths = tuple(
        tuple((int(s), folds[s].groups.index(g)) for g, s in enumerate(path))
        for path in backtest_paths(groups, tested)
    )
    whole = int(own[-1] - own[0])
    lost = [whole - _length(f.test) - _length(f.train) for f in folds]
    notes += _lost(folds, lost, purge, embargo)
    notes.append(
        "train lies on both sides of test: a measure of robustness, not a history that could have "
        "been traded"
    )
    return Folds(
        scheme=settings.scheme,
        folds=folds,
        edges=tuple(int(e) for e in own),
        paths=paths,
        purge=purge,
        embargo=embargo,
        unit=str(settings.unit),
        n_units=n,
        notes=tuple(notes),
    )


def _runs(places: Sequence[int] | IntArray1D) -> list[Window]:
    """Return stretches of consecutive places."""
    found = np.asarray(places)
    cuts = np.flatnonzero(np.diff(found) > 1) + 1
    return [Window(int(part[0]), int(part[-1]) + 1) for part in np.split(found, cuts)]


# -- what both need --------------------------------------------------------------------


def _critical(ts: IntArray1D, stamps: Iterable[int]) -> IntArray1D:
    """Return the stamps of the ticks on both sides of each of some stamps, ascending."""
    places = np.searchsorted(ts, np.array(list(stamps), np.int64), side="left")
    around = np.concatenate([places - 1, places, [0, len(ts) - 1]])
    return np.unique(ts[around[(around >= 0) & (around < len(ts))]])


def _stamped(stamps: IntArray1D, edges: IntArray1D, window: Window) -> Window:
    """Return the time that a window of places takes."""
    stop = int(stamps[window.stop]) if window.stop < len(stamps) else int(edges[-1])
    return Window(int(stamps[window.start]), stop)


def _purge(settings: ValidateSection, longest: int, shortest: int) -> tuple[int, list[str]]:
    """Return what is purged, and what to say of it."""
    if settings.purge is not None:
        return settings.purge, []
    if longest <= shortest // 2:
        return longest, []
    return shortest // 2, [
        f"the longest trade and the latency take {_about(longest)}, longer than half of the "
        f"shortest train window, and so much is purged: {_about(shortest // 2)}; validate.purge "
        f"sets another length"
    ]


def _length(windows: Iterable[Window]) -> int:
    return sum(w.stop - w.start for w in windows)


def _lost(folds: Sequence[Fold], lost: Sequence[int], purge: int, embargo: int) -> list[str]:
    """Return what to say of time that could train and does not."""
    share = sum(lost) / (sum(lost) + sum(_length(f.train) for f in folds))
    if not purge and not embargo:
        return []
    after = f", {_about(embargo)} more after one (embargo)" if embargo else ""
    return [
        f"{100.0 * share:.0f}% of what could train does not: {_about(purge)} in front of a test "
        f"window (purge){after}"
    ]


def _about(ns: int) -> str:
    for width, unit in ((86400 * 10**9, "d"), (3600 * 10**9, "h"), (60 * 10**9, "m")):
        if ns >= width:
            return f"{ns / width:.1f}{unit}"
    return format_duration(ns)


def _units(n: int, settings: ValidateSection) -> str:
    if isinstance(settings.unit, Duration):
        return f"{counted(n, 'stretch')} of {settings.unit}"
    return counted(n, "session")


@dataclass(frozen=True)
class Plan:
    """What is evaluated, and which of it makes each window.

    Attributes
    ----------
    runs : tuple of tuple of Slice
        Consecutive slices. The piece of each goes from the beginning of its run.
    train : tuple of tuple of int
        By fold: numbers of the pieces, counted over all runs, in the order of time.
    test : tuple of tuple of tuple of int
        By fold and by test window.
    """

    runs: tuple[tuple[Slice, ...], ...]
    train: tuple[tuple[int, ...], ...]
    test: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def n_pieces(self) -> int:
        """Pieces, and rows of each variant."""
        return sum(map(len, self.runs))


def plan_pieces(folds: Folds, ts: IntArray1D, begin: int, end: int) -> Plan:
    """Return the pieces of folds.

    Parameters
    ----------
    folds : Folds
    ts : ndarray of shape (n_ticks,), int64
    begin, end : int
        The range of ticks that was split; warm-ups do not reach before it.
    """
    part = ts[begin:end]

    def cut(window: Window) -> list[tuple[int, int]]:
        within = [e for e in folds.edges if window.start < e < window.stop]
        stamps = np.array([window.start, *within, window.stop], np.int64)
        places = np.searchsorted(part, stamps, side="left") + begin
        return [(int(a), int(b)) for a, b in pairwise(places) if b > a]

    train = [[p for w in fold.train for p in cut(w)] for fold in folds.folds]
    test = [[cut(w) for w in fold.test] for fold in folds.folds]
    pieces = {p for fold in train for p in fold} | {p for fold in test for w in fold for p in w}
    runs: dict[int, list[int]] = {}
    for first, last in sorted(pieces):
        runs.setdefault(first, [first]).append(last)
    number = {p: k for k, p in enumerate(sorted(pieces))}
    return Plan(
        tuple(tuple(Slice(a, b, begin) for a, b in pairwise(run)) for run in runs.values()),
        tuple(tuple(number[p] for p in fold) for fold in train),
        tuple(tuple(tuple(number[p] for p in window) for window in fold) for fold in test),
    )
