"""Walk-forward, purged k-fold and combinations: reference cases, and what no split may do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from overfit_cases import CASES, case

from sweep.errors import InputError
from sweep.stats.overfit import (
    backtest_paths,
    combinatorial_purged,
    combinatorial_purged_by_time,
    fold_bounds,
    positions,
    purged_k_fold,
    purged_k_fold_by_time,
    walk_forward,
    walk_forward_by_time,
)


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("walkforward.")])
def test_walk_forwards_of_the_reference_cases(name: str) -> None:
    inputs, expected = case(name)
    found = walk_forward(inputs.pop("n"), **inputs)
    assert [{"train": list(s.train), "test": list(s.test)} for s in found] == expected


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("cpcv.")])
def test_combinations_of_the_reference_cases(name: str) -> None:
    i, expected = case(name)
    found = combinatorial_purged(
        i["n"], i["n_folds"], i["n_test_folds"], purge=i["purge"], embargo=i["embargo"]
    )
    assert [
        {"test_folds": list(s.test_folds), "test": s.test.tolist(), "train": s.train.tolist()}
        for s in found
    ] == expected


# -- walk-forward ----------------------------------------------------------------------


@given(
    st.integers(2, 60),
    st.integers(1, 20),
    st.integers(1, 10),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)
def test_test_windows_tile_and_train_never_sees_them(
    n: int, train: int, test: int, purge: int, anchored: bool, reduce: bool
) -> None:
    settings: dict[str, Any] = {"train": train, "test": test, "purge": purge}
    settings |= {"anchored": anchored, "reduce_last_test": reduce}
    assume(train + purge + (1 if reduce else test) <= n)
    steps = walk_forward(n, **settings)
    tested = [k for s in steps for k in range(*s.test)]
    assert tested == list(range(train + purge, train + purge + len(tested)))
    assert n - tested[-1] - 1 < (1 if reduce else test)
    for s in steps:
        assert s.train.stop + purge == s.test.start
        assert s.train.start == (0 if anchored else s.train.stop - train)


def test_no_room_and_wrong_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="no room for 8 to train"):
        walk_forward(10, train=8, test=3)
    assert len(walk_forward(10, train=8, test=3, reduce_last_test=True)) == 1
    for wrong in ({"train": 0, "test": 1}, {"train": 1, "test": 0}):
        with pytest.raises(InputError, match="at least 1"):
            walk_forward(10, **wrong)
    with pytest.raises(InputError, match="purge not negative"):
        walk_forward(10, train=2, test=2, purge=-1)


def test_windows_in_time_give_ticks_at_an_edge_to_the_later_one() -> None:
    stamps = np.array([0, 5, 10, 10, 10, 15, 20, 20, 25, 30, 39], np.int64)
    edges = np.array([0, 10, 20, 30, 40], np.int64)
    assert positions(stamps, edges).tolist() == [0, 2, 6, 9, 11]
    steps = walk_forward_by_time(stamps, edges, train=2, test=1)
    assert [tuple(s) for s in steps] == [((0, 6), (6, 9)), ((2, 9), (9, 11))]
    # What trains ends before the stamp from which something may reach the test window.
    purged = walk_forward_by_time(stamps, edges, train=2, test=1, purge=5)
    assert [tuple(s) for s in purged] == [((0, 5), (6, 9)), ((2, 8), (9, 11))]
    with pytest.raises(InputError, match="sessions 0 to 0 have no tick to train on"):
        walk_forward_by_time(stamps, edges, train=1, test=1, purge=50)


@pytest.mark.parametrize("anchored", [False, True])
def test_windows_in_time_are_those_of_sessions(anchored: bool) -> None:
    rng = np.random.default_rng(0)
    stamps = np.sort(rng.integers(0, 1_000, 400))
    edges = np.arange(0, 1_001, 100)
    steps = walk_forward_by_time(stamps, edges, train=3, test=2, anchored=anchored)
    at = positions(stamps, edges)
    sessions = walk_forward(10, train=3, test=2, anchored=anchored)
    assert [(tuple(s.train), tuple(s.test)) for s in steps] == [
        ((at[s.train[0]], at[s.train[1]]), (at[s.test[0]], at[s.test[1]])) for s in sessions
    ]


# -- folds -----------------------------------------------------------------------------


def test_the_last_fold_takes_the_remainder() -> None:
    assert fold_bounds(11, 3).tolist() == [0, 3, 6, 11]
    for wrong in (1, 12):
        with pytest.raises(InputError, match="2 to 11 folds"):
            fold_bounds(11, wrong)


@given(st.integers(2, 8), st.data())
def test_every_test_of_a_fold_is_on_one_path(n_folds: int, data: st.DataObject) -> None:
    n_test = data.draw(st.integers(1, n_folds - 1))
    paths = backtest_paths(n_folds, n_test)
    splits = combinatorial_purged(n_folds, n_folds, n_test)
    assert paths.shape == (math.comb(n_folds - 1, n_test - 1), n_folds)
    used = {(int(s), fold) for path in paths for fold, s in enumerate(path)}
    assert used == {(s, f) for s, split in enumerate(splits) for f in split.test_folds}
    assert len(used) == paths.size


@given(st.integers(6, 40), st.integers(2, 6), st.integers(0, 3), st.integers(0, 3), st.data())
def test_no_train_interval_meets_a_tested_one(
    n: int, n_folds: int, purge: int, embargo: int, data: st.DataObject
) -> None:
    n_test = data.draw(st.integers(1, n_folds - 1))
    try:
        splits = combinatorial_purged(n, n_folds, n_test, purge=purge, embargo=embargo)
    except InputError:
        assume(False)
    bounds = fold_bounds(n, n_folds)
    for split in splits:
        wanted = np.concatenate([np.arange(bounds[f], bounds[f + 1]) for f in split.test_folds])
        assert split.test.tolist() == wanted.tolist()
        apart = split.train[:, None] - split.test
        before, after = apart < 0, apart > 0
        assert (apart != 0).all()
        assert (apart[before] < -purge).all()
        runs_end = np.array([k for k in split.test if k + 1 not in split.test])
        assert (apart[after] > purge).all()
        behind = split.train[:, None] - runs_end
        assert (behind[behind > 0] > purge + embargo).all()
        # Nothing else is left out.
        every = set(range(n)) - set(split.test.tolist())
        near = {k for t in split.test for k in range(t - purge, t + purge + 1)}
        near |= {k for e in runs_end for k in range(e, e + purge + embargo + 1)}
        assert set(split.train.tolist()) == every - near


def test_over_sessions_is_over_time_with_sessions_as_stamps() -> None:
    stamps = np.arange(30, dtype=np.int64)
    edges = fold_bounds(30, 6)
    by_time = combinatorial_purged_by_time(stamps, edges, 2, horizon=2, embargo=1)
    by_number = combinatorial_purged(30, 6, 2, purge=2, embargo=1)
    for a, b in zip(by_time, by_number, strict=True):
        assert a.test_folds == b.test_folds
        assert (a.test == b.test).all()
        assert (a.train == b.train).all()
    folds = purged_k_fold_by_time(stamps, edges, horizon=2)
    assert [f.train.tolist() for f in folds] == [
        f.train.tolist() for f in purged_k_fold(30, 6, purge=2)
    ]


def test_intervals_of_their_own_lengths_purge_exactly() -> None:
    """Fold [100, 200) is tested; the one at 50 reaches into it, the one at 60 does not, and the
    tested one at 190 reaches to 250."""
    stamps = np.array([50, 60, 100, 150, 190, 200, 250, 251, 260], np.int64)
    ends = np.array([100, 99, 110, 160, 250, 200, 251, 252, 261], np.int64)
    edges = np.array([0, 100, 200, 300], np.int64)
    middle = combinatorial_purged_by_time(stamps, edges, 1, ends=ends)[1]
    assert stamps[middle.test].tolist() == [100, 150, 190]
    assert stamps[middle.train].tolist() == [60, 251, 260]
    later = combinatorial_purged_by_time(stamps, edges, 1, ends=ends, embargo=5)[1]
    assert stamps[later.train].tolist() == [60, 260]


def test_observations_outside_of_all_folds_are_in_no_split() -> None:
    stamps = np.arange(0, 100, 10, dtype=np.int64)
    for split in purged_k_fold_by_time(stamps, np.array([20, 40, 60])):
        assert set(stamps[split.train]) | set(stamps[split.test]) == {20, 30, 40, 50}


def test_wrong_folds_are_refused() -> None:
    stamps = np.arange(10, dtype=np.int64)
    edges = np.array([0, 5, 10])
    with pytest.raises(InputError, match="of 3 folds 1 to 2 can be tested"):
        combinatorial_purged(9, 3, 3)
    with pytest.raises(InputError, match="leaves nothing to train"):
        purged_k_fold(9, 3, embargo=9, purge=9)
    with pytest.raises(InputError, match="must not be negative"):
        purged_k_fold(9, 3, purge=-1)
    with pytest.raises(InputError, match="decrease, but do so at place 1"):
        positions(np.array([5, 3]), edges)
    with pytest.raises(InputError, match="edges must be two or more and ascend"):
        positions(stamps, np.array([5, 5]))
    with pytest.raises(InputError, match="integers"):
        positions(stamps.astype(float), edges)
    with pytest.raises(InputError, match="either horizon or ends"):
        purged_k_fold_by_time(stamps, edges, horizon=1, ends=stamps)
    with pytest.raises(InputError, match="none before its stamp"):
        purged_k_fold_by_time(stamps, edges, ends=stamps - 1)
    with pytest.raises(InputError, match="must not be negative"):
        purged_k_fold_by_time(stamps, edges, horizon=-1)
