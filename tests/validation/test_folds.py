"""Folds over time: reference cases, a brute force over ticks, and what a user sees of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from overfit_cases import CASES, case
from study_helpers import write_study

from sweep.errors import InputError, StudyFileError
from sweep.stats.overfit import combinatorial_purged_by_time, fold_bounds, walk_forward_by_time
from sweep.study.file.sections import ValidateSection
from sweep.study.file.spec import from_settings, load_spec
from sweep.units import INT64_MAX, Duration
from sweep.validation.folds import Fold, Folds, Window, make_folds, plan_pieces, unit_edges
from sweep.validation.report.walkforward import splits_picture, splits_table

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def days(n: int) -> Any:
    """Return one tick a day, so that a session is an observation of a reference case."""
    return 100 * DAY + np.arange(n, dtype=np.int64) * DAY


def inside(ts: Any, windows: tuple[Window, ...]) -> list[int]:
    """Return the ticks of windows, by their definition."""
    return [k for k, t in enumerate(ts.tolist()) if any(w.start <= t < w.stop for w in windows)]


# -- reference cases -------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("cpcv.")])
def test_combinations_of_the_reference_cases(name: str) -> None:
    i, expected = case(name)
    ts = days(i["n"])
    found = make_folds(
        ts,
        0,
        len(ts),
        ValidateSection(
            scheme="cpcv",
            groups=i["n_folds"],
            test_groups=i["n_test_folds"],
            purge=i["purge"] * DAY,
            embargo=i["embargo"] * DAY,
        ),
    )
    assert [
        {"test_folds": list(f.groups), "test": inside(ts, f.test), "train": inside(ts, f.train)}
        for f in found.folds
    ] == expected


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("walkforward.")])
def test_walk_forwards_of_the_reference_cases(name: str) -> None:
    """A purge in time takes its part from train, so that train is longer by it here. A last
    window that is shorter is none of ours: the earliest units are left out instead."""
    i, expected = case(name)
    expected = [e for e in expected if e["test"][1] - e["test"][0] == i["test"]]
    ts = days(expected[-1]["test"][1])
    found = make_folds(
        ts,
        0,
        len(ts),
        ValidateSection(
            train=i["train"] + i["purge"],
            test=i["test"],
            purge=i["purge"] * DAY,
            anchored=i["anchored"],
        ),
    )
    assert [{"train": inside(ts, f.train), "test": inside(ts, f.test)} for f in found.folds] == [
        {k: list(range(*e[k])) for k in ("train", "test")} for e in expected
    ]


# -- a brute force over ticks ----------------------------------------------------------


@st.composite
def markets(draw: Any) -> Any:
    """Draw sessions of ticks with equal stamps, and gaps of all lengths between them."""
    sessions = draw(st.integers(3, 9))
    at, stamps = 50 * DAY, []
    for _ in range(sessions):
        steps = draw(st.lists(st.sampled_from([0, 0, 1, MINUTE, 20 * MINUTE]), max_size=7))
        stamps += (at + np.cumsum([0, *steps])).tolist()
        at = stamps[-1] + draw(st.sampled_from([30 * MINUTE, 31 * MINUTE, 8 * HOUR, DAY]))
    return np.array(stamps, np.int64)


LENGTHS = st.sampled_from([0, 1, MINUTE, 40 * MINUTE, 9 * HOUR, 2 * DAY])


@settings(max_examples=60)
@given(markets(), st.integers(2, 6), st.integers(1, 3), LENGTHS, LENGTHS)
def test_combinations_train_what_the_whole_series_says(
    ts: Any, groups: int, tested: int, purge: int, embargo: int
) -> None:
    edges = unit_edges(ts, 0, len(ts))
    assume(tested < groups <= len(edges) - 1)
    asked = ValidateSection(
        scheme="cpcv", groups=groups, test_groups=tested, purge=purge, embargo=embargo
    )
    try:
        found = make_folds(ts, 0, len(ts), asked)
    except InputError:
        assume(False)
    own = edges[fold_bounds(len(edges) - 1, groups)]
    whole = combinatorial_purged_by_time(ts, own, tested, horizon=purge, embargo=embargo)
    for fold, split in zip(found.folds, whole, strict=True):
        assert inside(ts, fold.train) == split.train.tolist()
        assert inside(ts, fold.test) == split.test.tolist()
        for window in fold.test:
            last = ts[inside(ts, (window,))].max()
            for t in ts[split.train]:
                assert t + purge < window.start or t > last + purge
                if t >= window.stop:
                    assert t >= window.stop + embargo
    _one_window_a_path(ts, found, np.arange(len(ts)))


@settings(max_examples=60)
@given(markets(), st.integers(1, 3), st.integers(1, 3), LENGTHS, st.booleans())
def test_walk_forwards_train_what_the_whole_series_says(
    ts: Any, train: int, test: int, purge: int, anchored: bool
) -> None:
    edges = unit_edges(ts, 0, len(ts))
    asked = ValidateSection(train=train, test=test, purge=purge, anchored=anchored)
    try:
        found = make_folds(ts, 0, len(ts), asked)
    except InputError:
        assume(False)
    skipped = (len(edges) - 1 - train) % test
    if anchored:
        train, skipped = train + skipped, 0
    whole = walk_forward_by_time(
        ts, edges[skipped:], train=train, test=test, purge=purge, anchored=anchored
    )
    assert [(inside(ts, f.train), inside(ts, f.test)) for f in found.folds] == [
        (list(range(*s.train)), list(range(*s.test))) for s in whole
    ]
    for fold in found.folds:
        assert (ts[inside(ts, fold.train)] + purge < fold.test[0].start).all() or purge == 0
    _one_window_a_path(ts, found, np.arange(whole[0].test.start, len(ts)))


def _one_window_a_path(ts: Any, found: Folds, ticks: Any) -> None:
    """Every tick that is tested at all is in exactly one window of each path, in order."""
    for path in found.paths:
        windows = [found.folds[k].test[w] for k, w in path]
        assert windows == sorted(windows)
        seen = [t for w in windows for t in inside(ts, (w,))]
        assert seen == ticks.tolist()


@settings(max_examples=40)
@given(
    markets(), st.sampled_from(["walk_forward", "k_fold", "cpcv", "holdout"]), LENGTHS, st.data()
)
def test_pieces_make_up_the_windows(ts: Any, scheme: str, purge: int, data: Any) -> None:
    folds = data.draw(st.integers(2, 4))
    asked = ValidateSection(
        scheme=scheme, folds=folds, groups=3, purge=purge, anchored=data.draw(st.booleans())
    )
    try:
        found = make_folds(ts, 0, len(ts), asked)
    except InputError:
        assume(False)
    plan = plan_pieces(found, ts, 0, len(ts))
    pieces = [range(run[0].begin, s.end) for run in plan.runs for s in run]
    assert len(set(pieces)) == len(pieces) == plan.n_pieces
    for k, fold in enumerate(found.folds):
        assert [t for p in plan.train[k] for t in pieces[p]] == inside(ts, fold.train)
        for w, window in enumerate(fold.test):
            assert [t for p in plan.test[k][w] for t in pieces[p]] == inside(ts, (window,))
            # A window that is tested is never cut short: its positions are closed at its end.
            whole = {run[0].begin: run[-1].end for run in plan.runs}
            assert all(whole[pieces[p].start] == pieces[p].stop for p in plan.test[k][w])


# -- units and lengths -----------------------------------------------------------------


def test_keys_that_do_nothing_are_named() -> None:
    ts = days(12)
    asked = ValidateSection(scheme="k_fold", folds=3, anchored=True, groups=4)
    said = make_folds(ts, 0, len(ts), asked).notes
    assert "validate.anchored does nothing where validate.scheme is k_fold" in said[0]
    assert "validate.groups does nothing" in said[1]
    assert not any("does nothing" in s for s in make_folds(ts, 0, len(ts)).notes)


def test_what_purge_and_embargo_cost_is_said() -> None:
    ts = days(10)
    across = make_folds(
        ts, 0, 10, ValidateSection(scheme="k_fold", folds=2, purge=DAY, embargo=DAY)
    )
    trained = sum(w.stop - w.start for f in across.folds for w in f.train)
    assert (
        f"{100 * (1 - trained / (ts[-1] + 1 - ts[0])):.0f}% of what could train" in across.notes[0]
    )
    assert "1.0d in front of a test window (purge), 1.0d more after one" in across.notes[0]
    forward = make_folds(ts, 0, 10, ValidateSection(train=4, test=2, purge=DAY))
    assert "25% of what could train does not: 1.0d in front" in forward.notes[0]
    assert not make_folds(ts, 0, 10, ValidateSection(train=4, test=2)).notes


def test_units_are_sessions_or_stretches_of_the_clock() -> None:
    ts = np.array([0, 1, 1, 3 * HOUR, 3 * HOUR + 1, 4 * HOUR, 4 * HOUR, 9 * HOUR], np.int64)
    assert unit_edges(ts, 0, 8).tolist() == [0, 3 * HOUR, 4 * HOUR, 9 * HOUR, 9 * HOUR + 1]
    four = Duration(4 * HOUR)
    assert unit_edges(ts, 0, 8, four).tolist() == [0, 4 * HOUR, 9 * HOUR, 9 * HOUR + 1]
    assert unit_edges(ts, 3, 7, four).tolist() == [3 * HOUR, 4 * HOUR, 4 * HOUR + 1]


def lengths(n: int, **asked: Any) -> list[tuple[int, int, int, int]]:
    """Return windows as days: train from, to, test from, to."""
    ts = days(n)
    found = make_folds(ts, 0, n, ValidateSection(**asked))
    first = int(ts[0])
    return [
        tuple(-(-(t - first) // DAY) for t in (*f.train[0], *f.test[0]))  # type: ignore[misc]
        for f in found.folds
    ]


def test_lengths_that_are_not_stated_are_found() -> None:
    assert lengths(17) == [(1 + 2 * k, 7 + 2 * k, 7 + 2 * k, 9 + 2 * k) for k in range(5)]
    assert lengths(17, anchored=True)[0] == (0, 7, 7, 9)
    assert lengths(10, train=6, test=2) == [(0, 6, 6, 8), (2, 8, 8, 10)]
    assert lengths(11, train=6, test=2) == [(1, 7, 7, 9), (3, 9, 9, 11)]
    assert lengths(11, train=6, test=2, anchored=True) == [(0, 7, 7, 9), (0, 9, 9, 11)]
    assert lengths(10, train=4, folds=3) == [(0, 4, 4, 6), (2, 6, 6, 8), (4, 8, 8, 10)]
    assert lengths(12, scheme="holdout") == [(0, 9, 9, 12)]
    assert lengths(12, scheme="holdout", test=2) == [(0, 10, 10, 12)]
    assert lengths(12, scheme="holdout", train=3, test=2) == [(7, 10, 10, 12)]


def test_too_few_units_and_too_long_a_purge_are_refused() -> None:
    ts = days(5)
    with pytest.raises(InputError, match="has 5 sessions: there is no room for 5 test"):
        make_folds(ts, 0, 5)
    with pytest.raises(InputError, match="count in a finer"):
        make_folds(ts, 0, 5, ValidateSection(folds=9))
    with pytest.raises(InputError, match="2 to 5 can be cut"):
        make_folds(ts, 0, 5, ValidateSection(scheme="cpcv", groups=6))
    with pytest.raises(InputError, match="2 to 5 can be cut"):
        make_folds(ts, 0, 5, ValidateSection(scheme="cpcv", groups=3, test_groups=3))
    with pytest.raises(InputError, match="no tick to train on"):
        make_folds(ts, 0, 5, ValidateSection(folds=2, purge=9 * DAY))
    with pytest.raises(InputError, match="no tick to train on"):
        make_folds(ts, 0, 5, ValidateSection(folds=2, purge=INT64_MAX))
    many = ValidateSection(scheme="cpcv", groups=30, test_groups=15)
    with pytest.raises(InputError, match="in 155,117,520 ways"):
        make_folds(days(30), 0, 30, many)
    long = ValidateSection(scheme="cpcv", purge=INT64_MAX, embargo=INT64_MAX, groups=5)
    with pytest.raises(InputError, match="leaves nothing to train"):
        make_folds(ts, 0, 5, long)
    with pytest.raises(InputError, match="leaves nothing to train"):
        make_folds(ts, 0, 5, ValidateSection(scheme="k_fold", folds=3, purge=9 * DAY))


def test_a_purge_that_is_not_stated_is_the_longest_trade_and_is_bounded() -> None:
    ts = days(12)
    asked = ValidateSection(folds=3, train=6, test=2)
    assert make_folds(ts, 0, 12, asked, longest=DAY).purge == DAY
    long = make_folds(ts, 0, 12, asked, longest=50 * DAY)
    assert long.purge == 3 * DAY
    assert "half of the shortest train window" in long.notes[0]
    folded = make_folds(ts, 0, 12, ValidateSection(scheme="k_fold", folds=3), longest=DAY)
    assert (folded.purge, folded.embargo) == (DAY, DAY)


# -- what a user writes and sees -------------------------------------------------------


def test_the_section_is_read_kept_and_no_part_of_a_studys_identity(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    plain = load_spec(path)
    given = [
        "validate.scheme=cpcv",
        "validate.groups=8",
        'validate.purge="2h"',
        'validate.unit="4h"',
    ]
    asked = load_spec(path, overrides=given)
    assert asked.validate == ValidateSection(
        scheme="cpcv", groups=8, purge=2 * HOUR, unit=Duration(4 * HOUR)
    )
    assert asked.digest() == plain.digest()
    assert from_settings(asked.settings()).validate == asked.validate
    old = {k: v for k, v in plain.settings().items() if k != "validate"}
    assert from_settings(old).validate == ValidateSection()
    for wrong, said in (
        ("validate.unit=2s", "1m or more"),
        ("validate.unit=3", "1m or more"),
        ("validate.scheme=kfold", "k_fold"),
        ("validate.folds=0", "whole number"),
    ):
        with pytest.raises(StudyFileError, match=said):
            load_spec(path, overrides=[wrong])


def test_the_picture_shows_every_window() -> None:
    folds = Folds(
        scheme="cpcv",
        folds=(
            Fold((Window(2 * DAY, 6 * DAY),), (Window(6 * DAY, 8 * DAY),)),
            Fold(
                (Window(2 * DAY, 3 * DAY), Window(7 * DAY, 10 * DAY)), (Window(4 * DAY, 6 * DAY),)
            ),
        ),
        edges=(2 * DAY, 10 * DAY),
        paths=(((0, 0),),),
        purge=0,
        embargo=0,
        unit="session",
        n_units=8,
    )
    assert [line.plain for line in splits_picture(folds, 39)] == [
        "       1970-01-03            1970-01-10",
        "fold 0 ━━━━━━━━━━━━━━━━████████········",
        "fold 1 ━━━━····████████····━━━━━━━━━━━━",
        "       ━ train   █ test   · neither",
    ]
    assert {len(line.plain) for line in splits_picture(folds, 3)[1:3]} == {17}
    table = splits_table(folds)
    assert [row[:2] for row in table.rows] == [
        (0, "train"),
        (0, "test"),
        (1, "train"),
        (1, "test"),
        (1, "train"),
    ]
    assert table.records()[1]["length_s"] == 2 * 86400.0


def test_a_window_narrower_than_a_column_is_seen() -> None:
    ts = days(400)
    found = make_folds(ts, 0, 400, ValidateSection(train=300, test=1))
    for line in splits_picture(found, 40)[1:-1]:
        assert "█" in line.plain
