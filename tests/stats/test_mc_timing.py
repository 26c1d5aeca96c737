"""Null tests of timing: they find timing, are blind to drift, and keep their nominal rate."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import InputError
from sweep.schema import FloatArray1D
from sweep.stats.timing_tests import (
    find_holds,
    placed_profit,
    random_entry,
    random_places,
    shift_positions,
    shifted_profit,
)


def held(n: int, draws: np.random.Generator, stay: float = 0.9) -> FloatArray1D:
    """Positions of -1, 0 and 1 that stay as they are with a chance."""
    found = np.empty(n)
    now = 0.0
    for t in range(n):
        if draws.random() > stay:
            now = float(draws.integers(-1, 2))
        found[t] = now
    return found


def moves(n: int, draws: np.random.Generator, clustered: bool) -> FloatArray1D:
    """Price changes: independent, or with volatility that comes in clusters (GARCH)."""
    e = draws.standard_normal(n + 200)
    if not clustered:
        return e[200:] + 0.05
    variance = 1.0
    for t in range(e.size):
        e[t] *= math.sqrt(variance)
        variance = 0.05 + 0.1 * e[t] ** 2 + 0.85 * variance
    return e[200:] + 0.05


# -- profits ---------------------------------------------------------------------------


@given(st.integers(2, 60), st.integers(0, 2**32), st.floats(0.0, 1.0, exclude_max=True))
def test_shifted_profit_is_that_of_rolled_positions(n: int, seed: int, part: float) -> None:
    draws = np.random.default_rng(seed)
    positions, changes = draws.integers(-3, 4, (2, n)).astype(np.float64)
    shift = int(part * n)
    wanted = float(np.sum(np.roll(positions, shift) * changes))
    assert shifted_profit(positions, changes, shift) == wanted
    assert shifted_profit.py_func(positions, changes, shift) == wanted


def slow_holds(positions: list[float]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for t, p in enumerate(positions):
        if p == 0.0:
            continue
        if t and positions[t - 1] * p > 0.0:
            start, length = found.pop()
            found.append((start, length + 1))
        else:
            found.append((t, 1))
    return found


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=40))
def test_holds_are_stretches_on_one_side(sides: list[int]) -> None:
    positions = [float(p) for p in sides]
    holds = find_holds(np.array(positions))
    found = list(zip(holds.starts.tolist(), holds.lengths.tolist(), strict=True))
    assert found == slow_holds(positions)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 2**32))
@settings(max_examples=100)
def test_placed_trades_stay_apart_in_their_sessions(lengths: list[int], seed: int) -> None:
    """Placed by hand: each trade whole, none over another, all within their sessions."""
    draws = np.random.default_rng(seed)
    segments = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n = int(segments[-1])
    positions = draws.integers(-1, 2, n) * draws.integers(1, 4, n).astype(np.float64)
    for edge in segments[1:-1]:  # flat over the end of a session
        positions[edge - 1] = 0.0
    changes = draws.integers(-50, 51, n).astype(np.float64)
    holds = find_holds(positions)
    u = draws.random(holds.starts.size)

    placed = np.zeros(n)
    taken = np.zeros(n, np.int64)
    for begin, end in itertools.pairwise(segments):
        inside = [i for i, s in enumerate(holds.starts) if begin <= s < end]
        flat = int(end - begin - sum(holds.lengths[i] for i in inside))
        before = 0
        for i in sorted(inside, key=lambda i: u[i]):
            length = int(holds.lengths[i])
            place = int(begin) + int(u[i] * (flat + 1)) + before
            assert begin <= place
            assert place + length <= end
            start = int(holds.starts[i])
            placed[place : place + length] = positions[start : start + length]
            taken[place : place + length] += 1
            before += length
    assert taken.max(initial=0) <= 1
    places = random_places(holds, segments, u)
    arguments = (positions, changes, holds.starts, holds.lengths, places)
    assert placed_profit(*arguments) == float(np.sum(placed * changes))
    assert placed_profit.py_func(*arguments) == placed_profit(*arguments)
    assert sorted(placed[placed != 0.0]) == sorted(positions[positions != 0.0])


def test_a_lone_trade_begins_anywhere_with_equal_chance() -> None:
    """A trade of 3 in 8 periods has 6 places; prices that name the place tell them apart."""
    positions = np.array([0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    changes = 4.0 ** np.arange(8)
    holds = find_holds(positions)
    counts: Counter[float] = Counter()
    for u in np.random.default_rng(1).random((6000, 1)):
        places = random_places(holds, np.array([0, 8]), u)
        counts[placed_profit(positions, changes, holds.starts, holds.lengths, places)] += 1
    assert set(counts) == {21.0 * 4.0**k for k in range(6)}
    assert max(abs(c - 1000) for c in counts.values()) < 4.0 * math.sqrt(6000 * 5 / 36)


# -- tests of timing -------------------------------------------------------------------


@pytest.mark.parametrize("test", [shift_positions, random_entry])
def test_foresight_is_found(test: Any) -> None:
    draws = np.random.default_rng(2)
    changes = moves(2000, draws, True)
    positions = np.where(np.abs(changes) > 0.5, np.sign(changes), 0.0)
    report = test(positions, changes, seed=1, n_paths=499)
    assert report.profit.p_value.value == 1 / 500
    worst = test(-positions, changes, seed=1, n_paths=499, alternative="less")
    assert worst.profit.p_value.value == 1 / 500
    both = test(-positions, changes, seed=1, n_paths=499, alternative="two-sided")
    assert both.profit.p_value.value == 2 / 500


@pytest.mark.parametrize("test", [shift_positions, random_entry])
def test_drift_is_not_timing(test: Any) -> None:
    """Always long in a market that only rises: every path earns the same."""
    changes = np.random.default_rng(3).random(700)
    report = test(np.ones(700), changes, seed=1, n_paths=99)
    assert report.profit.p_value.value == 1.0
    assert report.exposure == 1.0


@pytest.mark.parametrize("test", [shift_positions, random_entry])
def test_without_a_position_nothing_is_claimed(test: Any) -> None:
    report = test(np.zeros(50), np.ones(50), seed=1, n_paths=20)
    assert report.profit.p_value.value == 1.0
    assert report.n_holds == 0
    assert any("no position" in note for note in report.notes)
    json.dumps(report.to_dict(), allow_nan=False)


def test_few_shifts_are_all_taken() -> None:
    draws = np.random.default_rng(4)
    positions, changes = held(60, draws), moves(60, draws, False)
    report = shift_positions(positions, changes, seed=1)
    assert report.exact
    assert report.profit.n_paths == 59
    profits = [float(np.sum(np.roll(positions, k) * changes)) for k in range(60)]
    p = report.profit.p_value
    assert p is not None
    assert p.error == 0.0
    assert p.value == sum(x >= profits[0] - 1e-9 for x in profits) / 60


def test_shifts_by_days_keep_the_time_of_day() -> None:
    """Long in the first of 24 hours, which alone rises: a clock, and no more, is timed."""
    changes = np.tile(np.r_[1.0, np.zeros(23)], 40) + moves(960, np.random.default_rng(5), False)
    positions = np.tile(np.r_[1.0, np.zeros(23)], 40)
    any_hour = shift_positions(positions, changes, seed=1).profit.p_value
    same_hour = shift_positions(positions, changes, seed=1, period=24)
    assert any_hour is not None
    assert any_hour.value < 0.05
    assert same_hour.profit.n_paths == 39
    assert same_hour.profit.p_value is not None
    assert same_hour.profit.p_value.value == 1.0


def test_paths_depend_on_their_number_alone() -> None:
    draws = np.random.default_rng(6)
    positions, changes = held(3000, draws), moves(3000, draws, True)
    for test in (shift_positions, random_entry):
        few = test(positions, changes, seed=1, n_paths=30).profit
        again = test(positions, changes, seed=1, n_paths=30).profit
        assert few == again
        assert test(positions, changes, seed=2, n_paths=30).profit.mean != few.mean


def rejections(test: Any, clustered: bool, n_samples: int, **keys: Any) -> float:
    """Share of samples without any timing in which p <= 0.1, with 99 paths of 300 periods."""
    rejected = 0
    for sample in range(n_samples):
        draws = np.random.default_rng([12, sample, int(clustered)])
        positions, changes = held(300, draws), moves(300, draws, clustered)
        if "sessions" in keys:
            positions[49::50] = 0.0
        report = test(positions, changes, seed=sample, n_paths=99, **keys)
        rejected += report.profit.p_value.value <= 0.1
    return rejected / n_samples


@pytest.mark.parametrize("test", [shift_positions, random_entry])
def test_without_timing_they_reject_at_their_rate(test: Any) -> None:
    """300 samples: within 4 standard errors of 1.7 %."""
    assert abs(rejections(test, True, 300) - 0.1) < 4.0 * math.sqrt(0.09 / 300)


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True], ids=["independent", "garch"])
@pytest.mark.parametrize(
    ("test", "keys"),
    [
        (shift_positions, {}),
        (shift_positions, {"period": 10}),
        (random_entry, {}),
        (random_entry, {"sessions": np.arange(0, 301, 50)}),
    ],
    ids=["shift", "shift by 10", "entry", "entry in sessions"],
)
def test_without_timing_they_reject_at_their_rate_in_many(
    test: Any, keys: dict[str, Any], clustered: bool
) -> None:
    """4,000 samples: within 4 standard errors of 0.47 %.

    Measured, for independent and GARCH changes: shift .099 and .106, shift by 10 .101 and
    .104, entry .101 and .103, entry in sessions .110 and .107.
    """
    rate = rejections(test, clustered, 4000, **keys)
    # Of 30 shifts by 10 each is taken: p is a multiple of 1/30, and 3/30 is 0.1.
    assert abs(rate - 0.1) < 4.0 * math.sqrt(0.09 / 4000)


# -- bad input -------------------------------------------------------------------------


def test_bad_positions_are_refused() -> None:
    ones = np.ones(10)
    for test in (shift_positions, random_entry):
        for positions, changes, text in (
            (ones, np.ones(9), "found 10 positions and 9 changes"),
            (np.ones((2, 5)), ones, r"positions are one series, found shape \(2, 5\)"),
            (ones, np.r_[np.ones(9), math.nan], "price changes must be finite, found nan at per"),
            (np.ones(1), np.ones(1), "at least 2 periods, found 1"),
        ):
            with pytest.raises(InputError, match=text):
                test(positions, changes, seed=1)
        with pytest.raises(InputError, match="no alternative 'better'"):
            test(ones, ones, seed=1, n_paths=5, alternative="better")
        with pytest.raises(InputError, match="at least 1 path"):
            test(ones, ones, seed=1, n_paths=0)
    with pytest.raises(InputError, match=r"divides the 10 periods, found 3; cut .* \(9 periods\)"):
        shift_positions(ones, ones, seed=1, period=3)
    with pytest.raises(InputError, match="leave no shift by a multiple of 10"):
        shift_positions(ones, ones, seed=1, period=10)
    with pytest.raises(InputError, match="begins at period 0 is held into the next session"):
        random_entry(ones, ones, seed=1, sessions=np.array([0, 5, 10]))
    for sessions in ([0, 5], [1, 10], [0, 5, 5, 10], [10]):
        with pytest.raises(InputError, match="first periods, rising from 0, and 10 at the end"):
            random_entry(ones, ones, seed=1, sessions=np.array(sessions))
