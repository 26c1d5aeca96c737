"""Maximum drawdown and ruin: reference values, closed forms, and slow oracles.

``data/model_cases.json`` says how each value was found.
"""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws.drawdown import (
    brownian_drawdown_cdf,
    brownian_drawdown_quantile,
    expected_brownian_drawdown,
)
from laws.ruin import (
    brownian_ruin,
    gambler_duration,
    gambler_ruin,
    gambler_ruin_within,
)
from laws.walk_drawdown import (
    expected_gaussian_drawdown,
    expected_walk_drawdown,
    gaussian_drawdown_cdf,
    walk_drawdown_cdf,
)

from sweep.errors import InputError

CASES: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "model_cases.json").read_text(encoding="utf-8")
)


# -- Brownian motion -------------------------------------------------------------------


def test_brownian_drawdown_without_drift() -> None:
    expected = CASES["mc.bm_mdd_zero_drift"]["expected"]
    assert expected_brownian_drawdown() == pytest.approx(expected["mean"], rel=1e-12)
    for level, share in expected["cdf"].items():
        assert brownian_drawdown_cdf(float(level)) == pytest.approx(share, rel=1e-12)
    for share, level in zip((0.05, 0.5, 0.95), expected["q05_q50_q95"], strict=True):
        assert brownian_drawdown_quantile(share) == pytest.approx(level, rel=1e-12)


@pytest.mark.parametrize(("table", "sign"), [("Qp", 1.0), ("Qn", -1.0)])
def test_brownian_drawdown_with_drift(table: str, sign: float) -> None:
    """``E = (2 sigma^2 / |mu|) Q(x)`` with x = mu^2 T / (2 sigma^2); here mu = sigma = 1."""
    case = CASES["mc.bm_mdd_drift_table"]
    for x, q in zip(case["inputs"][f"{table}_x"], case["expected"][table], strict=True):
        found = expected_brownian_drawdown(sign, 1.0, 2.0 * x) / 2.0
        assert found == pytest.approx(q, rel=1e-7)
        printed = case["traps"][f"printed table {table}"].get(str(x))
        if printed is not None:
            assert found != pytest.approx(printed, rel=5e-5)


def test_the_two_forms_with_and_without_drift_meet() -> None:
    for level in (0.3, 0.9, 1.1, 2.0, 3.0):
        almost = brownian_drawdown_cdf(level, 1e-9)
        assert almost == pytest.approx(brownian_drawdown_cdf(level), abs=1e-8)
    assert expected_brownian_drawdown(-1e-9) == pytest.approx(math.sqrt(math.pi / 2), rel=1e-8)


def test_a_steep_path_has_the_asymptotic_drawdown() -> None:
    for slope in (7.0, 19.9, 20.1, 500.0):
        assert expected_brownian_drawdown(-slope) == pytest.approx(slope + 1.0 / slope, rel=1e-9)
    # Q ~ ln(x) / 4 + 0.49088 (Magdon-Ismail et al., 2004), E = 2 Q / slope.
    for slope in (100.0, 1_000.0):
        q = 0.25 * math.log(slope**2 / 2.0) + 0.49088
        assert expected_brownian_drawdown(slope) == pytest.approx(2.0 * q / slope, rel=2e-4)


def test_the_first_passage_of_a_drawdown_agrees_with_its_mean_time() -> None:
    """``E tau(a) = (exp(2 m a) - 2 m a - 1) / (2 m^2)`` (Taylor, 1975)."""
    for drift, level in ((0.7, 1.0), (-0.9, 1.5)):
        ends = np.linspace(0.0, 60.0, 6_001)[1:]
        below = [brownian_drawdown_cdf(level, drift, 1.0, float(t)) for t in ends]
        mean = float(np.trapezoid([1.0, *below], dx=0.01))
        exact = (math.exp(2 * drift * level) - 2 * drift * level - 1) / (2 * drift**2)
        assert mean == pytest.approx(exact, rel=1e-4)


@given(
    drift=st.floats(-3, 3),
    volatility=st.floats(0.1, 10),
    horizon=st.floats(0.01, 100),
    share=st.floats(0.001, 0.999),
)
@settings(max_examples=25)
def test_brownian_quantiles_invert_and_scale(
    drift: float, volatility: float, horizon: float, share: float
) -> None:
    level = brownian_drawdown_quantile(share, drift, volatility, horizon)
    assert brownian_drawdown_cdf(level, drift, volatility, horizon) == pytest.approx(
        share, abs=1e-6
    )
    doubled = brownian_drawdown_quantile(share, 2 * drift, 2 * volatility, horizon)
    assert doubled == pytest.approx(2 * level, rel=1e-5)


# -- walks -----------------------------------------------------------------------------


def worst_fall(steps: tuple[int, ...]) -> int:
    """Return the largest fall from a high before it, the start included."""
    high = at = worst = 0
    for step in steps:
        at += step
        high = max(high, at)
        worst = max(worst, high - at)
    return worst


def test_walk_drawdowns_are_the_reference_values() -> None:
    case = CASES["mc.rw_mdd"]
    for (steps, up), mean in zip(case["inputs"]["rows"], case["expected"]["E_mdd"], strict=True):
        assert expected_walk_drawdown(steps, up) == pytest.approx(mean, rel=1e-12)
    assert expected_walk_drawdown(10) == float(Fraction(case["expected"]["E_mdd_fraction_n10"]))
    for name, up in (("n=100,p=.5", 0.5), ("n=100,p=.55", 0.55)):
        cdf = walk_drawdown_cdf(100, up)
        for h, share in case["expected"]["P_mdd_le"][name].items():
            assert cdf[int(h)] == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("up", [0.0, 0.3, 0.5, 1.0])
def test_walk_drawdowns_agree_with_every_path_written_out(up: float) -> None:
    n = 9
    share = np.zeros(n + 1)
    for path in itertools.product((1, -1), repeat=n):
        ups = path.count(1)
        share[worst_fall(path)] += up**ups * (1.0 - up) ** (n - ups)
    assert walk_drawdown_cdf(n, up) == pytest.approx(np.cumsum(share), abs=1e-14)


def test_gaussian_walk_drawdowns_are_the_reference_values() -> None:
    case = CASES["mc.gaussian_rw_mdd"]
    expected = case["expected"].values()
    for (steps, drift), mean in zip(case["inputs"]["rows"], expected, strict=True):
        assert expected_gaussian_drawdown(steps, float(drift)) == pytest.approx(mean, rel=5e-6)
    assert expected_gaussian_drawdown(20, 0.0, 3.0) == pytest.approx(
        3.0 * case["expected"]["n=20,mu=0"], rel=1e-8
    )


def test_one_and_two_gaussian_steps_in_closed_form() -> None:
    """One step: ``E max(-Z, 0) = 1 / sqrt(2 pi)``; not falling twice: 1/4."""
    assert expected_gaussian_drawdown(1) == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-9)
    assert gaussian_drawdown_cdf(0.0, 2) == pytest.approx(0.25, rel=1e-15)
    assert gaussian_drawdown_cdf(1.0, 1) == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))))
    assert gaussian_drawdown_cdf(-1.0, 3) == 0.0


def test_a_finer_gaussian_walk_nears_brownian_motion_from_below() -> None:
    gaps = []
    for n in (25, 100, 400):
        mean = expected_gaussian_drawdown(n, 0.5 / n, 1 / math.sqrt(n))
        gaps.append(expected_brownian_drawdown(0.5) - mean)
    assert all(gap > 0.0 for gap in gaps)
    # The bias of the discrete maximum falls with the root of the step.
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.05)
    assert gaps[1] / gaps[2] == pytest.approx(2.0, rel=0.05)


# -- ruin ------------------------------------------------------------------------------


def test_the_gambler_is_ruined_as_in_the_reference() -> None:
    case = CASES["mc.gamblers_ruin"]
    expected = case["expected"]
    for i, (up, start, goal) in enumerate(case["inputs"]["rows"]):
        assert gambler_ruin(up, start, goal) == pytest.approx(expected["P_ruin"][i], rel=1e-12)
        assert gambler_duration(up, start, goal) == pytest.approx(
            expected["E_duration"][i], rel=1e-12
        )
        within = gambler_ruin_within(up, start, goal, case["inputs"]["finite_steps"])
        assert within == pytest.approx(expected["P_ruin_within_200"][i], rel=1e-12)


@given(up=st.floats(0.05, 0.95), goal=st.integers(2, 12), data=st.data())
@settings(max_examples=50)
def test_the_gambler_solves_the_equations_of_his_game(
    up: float, goal: int, data: st.DataObject
) -> None:
    """Oracle: the linear equations that condition on the first step."""
    start = data.draw(st.integers(0, goal))
    system, ruin, time = np.eye(goal + 1), np.zeros(goal + 1), np.zeros(goal + 1)
    ruin[0] = 1.0
    for i in range(1, goal):
        system[i, i + 1] -= up
        system[i, i - 1] -= 1.0 - up
        time[i] = 1.0
    chance, mean = np.linalg.solve(system, ruin)[start], np.linalg.solve(system, time)[start]
    assert gambler_ruin(up, start, goal) == pytest.approx(chance, rel=1e-8, abs=1e-12)
    if abs(up - 0.5) > 1e-3 or up == 0.5:
        assert gambler_duration(up, start, goal) == pytest.approx(mean, rel=1e-8, abs=1e-9)
    late = gambler_ruin_within(up, start, goal, 3_000)
    assert late == pytest.approx(chance, rel=1e-6, abs=1e-9)


def test_sure_games_and_extreme_odds() -> None:
    assert gambler_ruin(1.0, 3, 10) == 0.0
    assert gambler_ruin(0.0, 3, 10) == 1.0
    assert gambler_ruin(0.3, 0, 10) == 1.0
    assert gambler_ruin(0.3, 10, 10) == 0.0
    assert gambler_ruin(0.9, 5_000, 10_000) == 0.0
    assert gambler_ruin(0.1, 5_000, 10_000) == 1.0
    assert gambler_duration(1.0, 3, 10) == 7.0


def test_brownian_ruin_is_the_reference_value() -> None:
    case = CASES["mc.risk_of_ruin_bm"]
    given_, expected = case["inputs"], case["expected"]
    args = (given_["loss_level"], given_["mu"], given_["sigma"])
    assert brownian_ruin(*args) == pytest.approx(expected["P_ever"], rel=1e-13)
    assert brownian_ruin(*args, given_["T"]) == pytest.approx(expected["P_within_T"], rel=1e-13)
    daily = brownian_ruin(*args, given_["T"], step=1 / 252)
    assert daily == pytest.approx(0.20544346427129118, rel=1e-6)  # its shift has four digits


def test_brownian_ruin_at_its_ends() -> None:
    assert brownian_ruin(1.0, -0.1, 1.0) == 1.0
    assert brownian_ruin(1.0, 0.0, 1.0) == 1.0
    assert brownian_ruin(1.0, 0.3, 1.0, 1e9) == pytest.approx(brownian_ruin(1.0, 0.3, 1.0))
    assert brownian_ruin(50.0, -100.0, 0.1, 1.0) == pytest.approx(1.0)
    assert brownian_ruin(100.0, 100.0, 0.1, 1.0) == 0.0
    # Reflection: without drift, twice the chance of ending below.
    assert brownian_ruin(1.0, 0.0, 1.0, 1.0) == pytest.approx(math.erfc(1 / math.sqrt(2)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: brownian_drawdown_cdf(1.0, volatility=0.0), "volatility: 0.0 is not a positive"),
        (lambda: brownian_drawdown_cdf(math.nan), "level: nan is not a finite number"),
        (lambda: expected_brownian_drawdown(1e6), "as good as a straight line"),
        (lambda: brownian_drawdown_quantile(1.0), "share: 1.0 is not between"),
        (lambda: walk_drawdown_cdf(0), "steps: 0 is not a whole number from 1"),
        (lambda: walk_drawdown_cdf(3, 1.5), "up: 1.5 is not a probability"),
        (lambda: gaussian_drawdown_cdf(1.0, 2.5), "steps: 2.5 is not a whole number"),  # type: ignore[arg-type]
        (lambda: gambler_ruin(0.5, 4, 3), "start: 4 does not lie between 0 and the goal 3"),
        (lambda: gambler_ruin(0.5, 1.5, 3), "start: 1.5 is not a whole number"),  # type: ignore[arg-type]
        (lambda: gambler_ruin(2.0, 1, 3), "up: 2.0 is not a probability"),
        (lambda: gambler_ruin_within(0.5, 1, 3, -1), "steps: -1"),
        (lambda: brownian_ruin(-1.0, 0.1, 0.2), "loss: -1.0 is not a positive number"),
        (lambda: brownian_ruin(1.0, 0.1, 0.2, 0.0), "horizon: 0.0 is not above 0"),
        (lambda: brownian_ruin(1.0, 0.1, 0.2, step=-1.0), "step: -1.0"),
        (lambda: brownian_ruin(1.0, math.inf, 0.2), "drift: inf is not a finite"),
    ],
)
def test_values_out_of_range_are_named(call: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert said in str(error.value)
