"""Samples of replicates: known tails, honest intervals, nothing dropped, nothing invented."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.errors import InputError
from sweep.stats.functionals import (
    FUNCTIONALS,
    Functional,
    cvar,
    gaussian_cvar,
    gaussian_var,
    order_statistic,
    value_at_risk,
)
from sweep.stats.quantiles import p_value, place, quantiles
from sweep.stats.summary import count_units, summarise

CASES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "mc_cases.json").read_text(encoding="utf-8")
)
NAN = math.nan


def normal(n: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).standard_normal(n)


MANY = count_units(normal(500), "session")


# -- tails -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["var.hist_5pct_n20", "var.cvar_fractional"])
def test_historical_tails_are_the_reference_cases(name: str) -> None:
    inputs, expected = CASES[name]["inputs"], CASES[name]["expected"]
    returns = np.random.default_rng(1).permutation(inputs["returns"])
    assert value_at_risk(returns, inputs["alpha"]) == pytest.approx(
        expected["var_inverted_cdf"], rel=1e-12
    )
    assert cvar(returns, inputs["alpha"]) == pytest.approx(expected["cvar"], rel=1e-12)
    estimate = Functional("cvar", inputs["alpha"]).of(returns)
    assert estimate.value == pytest.approx(expected["cvar"], rel=1e-12)


def test_gaussian_tails_are_the_closed_form() -> None:
    inputs, expected = CASES["var.gaussian"]["inputs"], CASES["var.gaussian"]["expected"]
    assert gaussian_var(**inputs) == pytest.approx(expected["var"], rel=1e-10)
    assert gaussian_cvar(**inputs) == pytest.approx(expected["cvar"], rel=1e-10)


@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=40),
    st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=200),
)
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(losses: list[int], alpha: Fraction) -> None:
    """The convex function of the threshold has its minimum at one of the losses, exactly."""
    best = min(
        c + sum(max(Fraction(loss) - c, Fraction(0)) for loss in losses) / len(losses) / alpha
        for c in map(Fraction, losses)
    )
    returns = -np.array(losses, np.float64)
    assert cvar(returns, float(alpha)) == pytest.approx(float(best), rel=1e-9, abs=1e-9)
    ordered = sorted(losses, reverse=True)
    assert value_at_risk(returns, float(alpha)) == ordered[math.ceil(len(losses) * alpha) - 1]


def test_order_statistics_do_not_trip_over_rounding() -> None:
    """100 * 0.07 is 7.000000000000001."""
    assert order_statistic(100, 0.07) == 7
    assert [order_statistic(20, q) for q in (0.0, 0.05, 0.051, 0.12, 1.0)] == [1, 1, 2, 3, 20]
    for n, percent in itertools.product((10, 20, 100, 300, 1000), range(1, 100)):
        assert order_statistic(n, percent / 100) == math.ceil(Fraction(n * percent, 100))


# -- functionals -----------------------------------------------------------------------


def test_functionals_of_a_small_sample_by_hand() -> None:
    values = np.array([5.0, -2.0, 0.0, 3.0, -4.0])
    wanted: dict[Functional, float] = {
        Functional("mean"): 0.4,
        Functional("median"): 0.0,
        Functional("quantile", 0.2): -4.0,
        Functional("quantile", 0.21): -2.0,
        Functional("cvar", 0.3): (4.0 + 0.5 * 2.0) / 1.5,
        Functional("probability_of_loss"): 0.4,
        Functional("probability_above", 3.0): 0.2,
        Functional("probability_below", -2.0): 0.2,
    }
    for functional, value in wanted.items():
        assert functional.of(values).value == pytest.approx(value), functional
    error = math.sqrt(sum((v - 0.4) ** 2 for v in values) / 4.0 / 5.0)
    assert Functional("mean").of(values).error == pytest.approx(error)
    found = Functional("mean_minus_errors", 2.0).of(values)
    assert found.value == pytest.approx(0.4 - 2.0 * error)
    assert Functional("probability_of_loss").of(values).error == pytest.approx(
        math.sqrt(0.4 * 0.6 / 5)
    )


def test_standard_errors_are_those_of_repeated_samples() -> None:
    """Over 400 samples of 500 the mean stated error is within a fifth of the true one."""
    samples = np.random.default_rng(4).standard_normal((400, 500))
    for functional in (
        Functional("mean"),
        Functional("median"),
        Functional("quantile", 0.1),
        Functional("cvar", 0.1),
        Functional("probability_below", -1.0),
    ):
        found = [functional.of(sample) for sample in samples]
        spread = float(np.std([f.value for f in found], ddof=1))
        assert float(np.mean([f.error for f in found])) == pytest.approx(spread, rel=0.2)


def test_replicates_without_a_value_are_the_worst_or_make_it_undefined() -> None:
    values = np.array([1.0, 2.0, NAN, 3.0, 4.0])
    assert Functional("probability_of_loss").of(values).value == 0.2
    assert Functional("probability_above", 0.0).of(values).value == 0.8
    assert Functional("median").of(values).value == 2.0
    for functional in (Functional("quantile", 0.1), Functional("cvar", 0.1), Functional("mean")):
        found = functional.of(values)
        assert math.isnan(found.value)
        assert found.reason == "1 of 5 replicates has no value"


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_no_functional_makes_up_a_number(name: str) -> None:
    functional = Functional(name, None if FUNCTIONALS[name] is None else 0.05)
    empty = functional.of(np.empty(0))
    assert math.isnan(empty.value)
    assert empty.reason is not None
    lone = functional.of(np.array([1.5]))
    assert not math.isnan(lone.error) or lone.reason is not None


def test_functionals_refuse_what_they_cannot_mean() -> None:
    for name, argument, text in (
        ("mode", None, "no functional 'mode'; there are: mean, median"),
        ("quantile", None, "quantile needs a probability"),
        ("quantile", 1.0, "lies between 0 and 1, both excluded, found 1"),
        ("mean", 3.0, "mean takes no number, found 3"),
        ("mean_minus_errors", -1.0, "not negative, found -1"),
        ("probability_above", NAN, "probability_above needs a number"),
    ):
        with pytest.raises(InputError, match=text):
            Functional(name, argument)
    with pytest.raises(InputError, match="found nan at place 1"):
        cvar(np.array([1.0, NAN]), 0.1)
    with pytest.raises(InputError, match=r"found shape \(0,\)"):
        value_at_risk(np.empty(0), 0.1)
    with pytest.raises(InputError, match="must not be negative"):
        gaussian_var(0.0, -1.0, 0.05)


# -- quantiles, ranks, p-values --------------------------------------------------------


def test_quantile_intervals_cover_as_often_as_they_say() -> None:
    """Uniform samples of 200, 2,000 of them: at least 95 %, less 4 standard errors."""
    samples = np.random.default_rng(7).random((2000, 200))
    levels = (0.05, 0.25, 0.5, 0.95)
    hits = np.zeros(len(levels))
    for sample in samples:
        found = quantiles(sample, levels=levels)
        hits += [q.low <= q.level <= q.high for q in found]
    assert np.all(hits / 2000 > 0.95 - 4.0 * math.sqrt(0.95 * 0.05 / 2000))
    assert np.all(hits / 2000 < 0.99)


def test_quantile_intervals_are_the_binomial_ones() -> None:
    """By exact sums, for every B up to 60."""
    for n in (1, 2, 10, 37, 60):
        for q in quantiles(np.arange(1.0, n + 1.0), levels=(0.05, 0.5)):
            share = Fraction(q.level).limit_denominator(100)
            below = [
                math.comb(n, k) * share**k * (1 - share) ** (n - k)
                for k in range(n + 1)  # chance of k values below the true quantile
            ]
            tail = Fraction(25, 1000)
            low = max((k for k in range(1, n + 1) if sum(below[:k]) <= tail), default=None)
            high = min((k for k in range(1, n + 1) if sum(below[k:]) <= tail), default=None)
            assert math.isnan(q.low) if low is None else q.low == low
            assert math.isnan(q.high) if high is None else q.high == high
            if low is None or high is None:
                few = "1 replicate is" if n == 1 else f"{n} replicates are"
                assert q.reason == f"{few} too few for an interval at {q.level:g}"


def test_tail_quantiles_are_not_claimed_of_few_units() -> None:
    few = count_units(normal(29), "session")
    assert few.too_few
    found = summarise(normal(1000), statistic="total", method="m", units=few, seed=1)
    for q in found.quantiles:
        if q.level in (0.25, 0.5, 0.75):
            assert math.isfinite(q.value)
        else:
            assert math.isnan(q.value)
            assert "too few units: 29 sessions" in str(q.reason)
    assert any("too few units" in note for note in found.notes)
    enough = summarise(normal(1000), statistic="total", method="m", units=MANY, seed=1)
    assert all(math.isfinite(q.value) for q in enough.quantiles)
    assert enough.notes == ()


def test_effective_units_fall_with_dependence() -> None:
    """An AR(1) of 0.6 is worth (1 - 0.6) / (1 + 0.6) of its length; negative gains nothing."""
    e = normal(20_000, 3)
    y, z = e.copy(), e.copy()
    for i in range(1, e.size):
        y[i] += 0.6 * y[i - 1]
        z[i] -= 0.6 * z[i - 1]
    assert count_units(y, "session").effective == pytest.approx(5000, rel=0.15)
    assert count_units(z, "session").effective == 20_000
    assert count_units(e, "session").effective == pytest.approx(20_000, rel=0.05)
    constant = count_units(np.ones(50), "trade")
    assert constant.too_few
    assert constant.reason == "all 50 trades are equal"
    assert count_units(np.ones(1), "trade").too_few


def test_p_values_count_the_observed_and_the_failed() -> None:
    values = np.array([1.0, 2.0, 3.0, NAN, 5.0])
    found = p_value(values, 3.0, null="nothing is there")
    assert (found.n_extreme, found.n_paths, found.value) == (3, 5, 4 / 6)
    assert found.error == pytest.approx(math.sqrt(4 / 6 * 2 / 6 / 5))
    assert p_value(values, 9.0, null="x").value == 2 / 6
    assert p_value(values, 1.0, null="x", alternative="less").n_extreme == 2
    both = p_value(np.arange(99.0), 98.0, null="x", alternative="two-sided")
    assert both.value == pytest.approx(2 * 2 / 100)
    assert p_value(np.arange(99.0), 1e9, null="x").value == 1 / 100
    assert p_value(np.array([1.0 + 1e-15]), 1.0, null="x", alternative="less", tie=1e-9).value == 1
    assert p_value(values, NAN, null="x").reason == "the data have no such value"
    assert p_value(np.empty(0), 1.0, null="x").reason == "there are no replicates"
    with pytest.raises(InputError, match="no alternative 'bigger'; there are: greater"):
        p_value(values, 1.0, null="x", alternative="bigger")


def test_ranks_split_ties() -> None:
    found = place(np.array([1.0, 2.0, 2.0, 3.0, NAN]), 2.0)
    assert (found.below, found.equal, found.above, found.rank) == (1, 2, 1, 0.5)
    assert place(np.array([NAN]), 2.0).reason == "no replicate has a value"
    assert place(np.array([1.0]), NAN).reason == "the data have no such value"


# -- the whole -------------------------------------------------------------------------


def check_reasons(part: Any) -> None:
    """Where a number is missing, something beside it says why."""
    if isinstance(part, dict):
        numbers = [k for k, v in part.items() if v is None and k not in NOT_NUMBERS]
        assert not numbers or part["reason"], part
        for item in part.values():
            check_reasons(item)
    elif isinstance(part, list):
        for item in part:
            check_reasons(item)


NOT_NUMBERS = ("reason", "observed", "p_value")


@given(
    st.lists(st.sampled_from([NAN, -1.0, 0.0, 0.5, 2.0, math.inf]), max_size=30),
    st.sampled_from([None, 0.5, NAN, math.inf]),
    st.booleans(),
)
def test_every_missing_number_has_a_reason_and_nothing_is_dropped(
    sample: list[float], observed: float | None, high: bool
) -> None:
    values = np.array(sample)
    empty = np.arange(values.size) % 2 == 0
    found = summarise(
        values,
        statistic="total",
        method="sessions in blocks",
        units=MANY,
        seed=3,
        observed=observed,
        null="nothing",
        worst="high" if high else "low",
        empty=empty,
    )
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    without = int(np.isnan(values).sum())
    assert document["n_failed"] + document["n_empty"] == without
    assert document["n_paths"] == values.size
    assert any("rank as the worst" in note for note in document["notes"]) == (without > 0)
    check_reasons(document)


def test_failed_replicates_rank_at_the_bad_end() -> None:
    values = np.concatenate([np.arange(95.0), np.full(5, NAN)])
    low = quantiles(values, levels=(0.05, 0.06, 1.0))
    assert math.isnan(low[0].value)
    assert low[1].value == 0.0
    assert low[2].value == 94.0
    high = quantiles(values, worst="high", levels=(0.05, 0.95, 0.96))
    assert high[0].value == 4.0
    assert high[1].value == 94.0
    assert math.isnan(high[2].value)


def test_summaries_refuse_what_they_cannot_mean() -> None:
    with pytest.raises(InputError, match=r"found shape \(2, 2\)"):
        summarise(np.ones((2, 2)), statistic="s", method="m", units=MANY, seed=1)
    with pytest.raises(InputError, match="the worst end is 'low' or 'high', found 'left'"):
        summarise(np.ones(2), statistic="s", method="m", units=MANY, seed=1, worst="left")
