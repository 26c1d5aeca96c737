"""Windowed features: what they are, that they look back only, and only so far."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep import features

FUNCTIONS = (
    features.rolling_mean,
    features.rolling_std,
    features.rolling_max,
    features.rolling_min,
    features.ema,
    features.lag,
)
WINDOWS = (1, 2, 3, 7, 64, 100)

every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
every_window = pytest.mark.parametrize("window", WINDOWS)


def reach(function, window: int) -> int:
    """Return how many values, the newest included, a value of the feature depends on."""
    if function is features.ema:
        return features.EMA_MEMORY * window
    return window + 1 if function is features.lag else window


def naive(function, values: list[float], window: int) -> float:
    """Return the last value of a feature by its definition."""
    recent = values[-window:]
    mean = math.fsum(recent) / len(recent)
    if function is features.rolling_mean:
        return mean
    if function is features.rolling_std:
        return math.sqrt(math.fsum((x - mean) ** 2 for x in recent) / len(recent))
    if function is features.rolling_max:
        return max(recent)
    if function is features.rolling_min:
        return min(recent)
    if function is features.lag:
        return values[max(0, len(values) - 1 - window)]
    decay = 1 - 2 / (window + 1)
    newest_first = values[: -features.EMA_MEMORY * window - 1 : -1]
    weights = [decay**k for k in range(len(newest_first))]
    return math.fsum(w * x for w, x in zip(weights, newest_first, strict=True)) / math.fsum(weights)


def prices(size: int, seed: int = 1) -> np.ndarray:
    return 1290.0 + np.cumsum(np.random.default_rng(seed).normal(size=size)) / 64


@every_function
@every_window
def test_every_value_follows_its_definition(function, window) -> None:
    values = prices(1_000)
    found = function(values, window)
    expected = [naive(function, values[: t + 1].tolist(), window) for t in range(values.size)]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-11)


@every_function
@every_window
def test_bits_do_not_depend_on_where_the_array_began(function, window) -> None:
    # Longer than a piece of the summation, so that pieces are cut elsewhere too.
    values = prices(60_000)
    whole = function(values, window)
    for begin in (1, 777, 16_384, 40_001):
        full = begin + reach(function, window) - 1
        part = function(values[begin:], window)
        assert part[full - begin :].tobytes() == whole[full:].tobytes()


@every_function
@every_window
def test_no_value_depends_on_later_ones(function, window) -> None:
    values = prices(20_000)
    whole = function(values, window)
    for cut in (1, 2, 99, 16_383, 16_384, 19_999):
        assert function(values[:cut], window).tobytes() == whole[:cut].tobytes()
        spoiled = values.copy()
        spoiled[cut:] = np.nan
        assert function(spoiled, window)[:cut].tobytes() == whole[:cut].tobytes()


@every_function
@every_window
def test_nan_is_gone_once_it_has_left_the_window(function, window) -> None:
    values = prices(2_000)
    spoiled = values.copy()
    spoiled[1_000] = np.nan
    full, found = function(values, window), function(spoiled, window)
    touched = slice(1_000, 1_000 + reach(function, window))
    assert np.isnan(found[1_000 + (window if function is features.lag else 0)])
    found[touched] = full[touched]
    assert found.tobytes() == full.tobytes()


@every_function
def test_read_only_short_and_empty_arrays_are_taken(function) -> None:
    values = np.array([3.0, 1.0, 2.0])
    values.flags.writeable = False
    assert function(values, 100).shape == (3,)
    assert function(values[:1], 5).tolist() == [0.0 if function is features.rolling_std else 3.0]
    assert function(values[:0], 5).shape == (0,)


@every_function
def test_a_window_given_as_a_float_is_cut_to_whole_ticks(function) -> None:
    values = prices(200)
    assert function(values, 7.9).tobytes() == function(values, 7).tobytes()
    assert function(values, 0.2).tobytes() == function(values, 1).tobytes()


def test_a_deviation_of_equal_values_is_exactly_zero() -> None:
    assert not features.rolling_std(np.full(5_000, 1290.1), 37).any()


def test_a_far_away_price_level_costs_the_deviation_no_digits() -> None:
    swing = np.tile([0.0, 2.0**-20], 5_000)
    assert np.all(features.rolling_std(2.0**20 + swing, 64)[64:] == 2.0**-21)


def test_the_exponential_average_agrees_with_the_textbook_one() -> None:
    values, window = prices(5_000), 20
    textbook = values[0]
    for value in values:
        textbook += 2.0 / (window + 1) * (value - textbook)
    span = values.max() - values.min()
    assert features.ema(values, window)[-1] == pytest.approx(textbook, abs=1e-6 * span)


@given(
    values=st.lists(
        st.sampled_from((0.0, -0.0, 1.0, -1.0, 2.0, math.nan)), min_size=1, max_size=60
    ),
    window=st.integers(1, 70),
)
@settings(max_examples=200)
def test_highest_and_lowest_survive_ties_zeros_and_nan(values, window) -> None:
    high = features.rolling_max(np.array(values), window)
    low = features.rolling_min(np.array(values), window)
    for t in range(len(values)):
        recent = values[max(0, t + 1 - window) : t + 1]
        if any(math.isnan(x) for x in recent):
            assert math.isnan(high[t])
            assert math.isnan(low[t])
        else:
            assert high[t] == max(recent)
            assert low[t] == min(recent)
