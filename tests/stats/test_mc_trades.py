"""Trades by sessions and in other orders: exact laws, slow twins, and what may not be asked."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import InputError
from sweep.stats.curves import longest_streak, shuffle
from sweep.stats.trade_bootstrap import TRADE_COLUMNS, bootstrap_trades, trade_statistics
from sweep.stats.trade_permutation import ORDER_COLUMNS, order_statistics, permute_trades

CASES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "mc_cases.json").read_text(encoding="utf-8")
)
CASE = CASES["mc.trade_permutation_mdd"]
PNL = np.array(CASE["inputs"]["pnl"], np.float64)


# -- permutation -----------------------------------------------------------------------


def test_all_orders_of_seven_trades_are_the_reference_case() -> None:
    expected = CASE["expected"]
    report = permute_trades(PNL, seed=1)
    assert report.exact
    assert report.n_paths == 5040
    summary = report.statistics["max_drawdown"]
    assert summary.mean.value == pytest.approx(expected["mean"], rel=1e-12)
    assert summary.observed is not None
    assert summary.observed.value == expected["observed"]
    assert summary.p_value is not None
    assert summary.p_value.value == pytest.approx(expected["p_value_mdd_ge_observed"], rel=1e-12)
    assert summary.p_value.error == 0.0


def test_random_orders_have_the_law_of_all_orders() -> None:
    """Shares of each drawdown within 4 binomial errors; the p-value within 4 of its own."""
    expected = CASE["expected"]
    report = permute_trades(PNL, seed=2, n_paths=5000)
    assert not report.exact
    draws = np.random.default_rng(3).random((5000, PNL.size))
    order, out = np.empty(PNL.size, np.int64), np.empty(len(ORDER_COLUMNS))
    counts: Counter[str] = Counter()
    for row in draws:
        shuffle(row, order)
        order_statistics(PNL, order, math.nan, out)
        counts[f"{out[0]:g}"] += 1
    for drawdown, share in expected["distribution"].items():
        error = math.sqrt(share * (1.0 - share) / 5000)
        assert abs(counts[drawdown] / 5000 - share) < 4.0 * error
    assert set(counts) == set(expected["distribution"])
    p = report.statistics["max_drawdown"].p_value
    assert p is not None
    assert abs(p.value - expected["p_value_mdd_ge_observed"]) < 4.0 * p.error
    assert p.value == (1 + p.n_extreme) / (1 + p.n_paths)


def test_every_order_is_equally_likely() -> None:
    """Chi-square of the 24 orders of four: below its 99.99 % quantile of 58.6."""
    draws = np.random.default_rng(4).random((24_000, 4))
    order = np.empty(4, np.int64)
    counts: Counter[tuple[int, ...]] = Counter()
    for row in draws:
        shuffle(row, order)
        counts[tuple(order.tolist())] += 1
    assert len(counts) == 24
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 58.6


@given(st.integers(1, 30), st.integers(0, 2**32))
def test_compiled_orders_are_those_of_plain_python(n: int, seed: int) -> None:
    draws = np.random.default_rng(seed).random(n)
    order, plain = np.empty(n, np.int64), list(range(n))
    shuffle(draws, order)
    for i in range(n - 1, 0, -1):
        j = int(draws[i] * (i + 1))
        plain[i], plain[j] = plain[j], plain[i]
    assert order.tolist() == plain
    steps = np.random.default_rng(seed).integers(-2, 3, n).astype(np.float64)
    signs = np.sign(steps[plain]).tolist()
    for sign in (-1.0, 1.0):
        runs = [len(list(run)) for what, run in itertools.groupby(signs) if what == sign]
        assert longest_streak(steps, order, sign) == max(runs, default=0)


@pytest.mark.parametrize(
    "name", ["total", "mean", "sharpe", "profit_factor", "win_rate", "expectancy"]
)
def test_what_no_order_changes_may_not_be_asked(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is the same in every order of the trades"):
        permute_trades(PNL, seed=1, statistics=("max_drawdown", name))


def test_rounding_does_not_make_an_order_remarkable() -> None:
    """Losses alone fall as far in every order, though their sums differ in the last bits."""
    losses = -np.random.default_rng(1).random(40)
    p = permute_trades(losses, seed=1, n_paths=200).statistics["max_drawdown"].p_value
    assert p is not None
    assert p.value == 1.0


def test_clustered_losses_are_remarkable_and_alternating_ones_the_opposite() -> None:
    clustered = np.concatenate([np.full(30, 1.0), np.full(20, -1.0), np.full(30, 1.0)])
    found = permute_trades(clustered, seed=1, n_paths=499, capital=100.0, statistics=ORDER_COLUMNS)
    for name in ("max_drawdown", "relative_drawdown", "longest_losing_streak"):
        p = found.statistics[name].p_value
        assert p is not None
        assert p.value == 1 / 500
    alternating = np.tile([1.0, -1.0], 40)
    p = permute_trades(alternating, seed=1, n_paths=499).statistics["max_drawdown"].p_value
    assert p is not None
    assert p.value == 1.0


@pytest.mark.parametrize("n_samples", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_the_permutation_test_rejects_exchangeable_trades_at_its_rate(n_samples: int) -> None:
    """Drawdown of independent trades, p <= 0.1 with 99 orders: within 4 standard errors.

    Measured over 3,000 samples: 0.0997.
    """
    rejected = 0
    for sample in range(n_samples):
        profits = np.random.default_rng([9, sample]).standard_t(4, 60) + 0.1
        report = permute_trades(profits, seed=sample, n_paths=99, statistics=("max_drawdown",))
        p = report.statistics["max_drawdown"].p_value
        assert p is not None
        rejected += p.value <= 0.1
    assert abs(rejected / n_samples - 0.1) < 4.0 * math.sqrt(0.09 / n_samples)


# -- bootstrap by sessions -------------------------------------------------------------


def book(n_sessions: int, seed: int) -> tuple[Any, Any]:
    draws = np.random.default_rng(seed)
    sessions = np.repeat(np.arange(n_sessions), draws.integers(0, 4, n_sessions))
    return draws.integers(-20, 25, sessions.size) / 4.0, sessions


@given(st.integers(2, 12), st.integers(0, 2**32))
@settings(max_examples=60)
def test_paths_of_trades_are_those_of_plain_python(n_sessions: int, seed: int) -> None:
    profits, sessions = book(n_sessions, seed)
    offsets = np.searchsorted(sessions, np.arange(n_sessions + 1)).astype(np.int64)
    positions = np.random.default_rng(seed + 1).integers(0, n_sessions, n_sessions)
    found, plain = np.empty(7), np.empty(7)
    trade_statistics(profits, offsets, positions, found)
    trade_statistics.py_func(profits, offsets, positions, plain)
    assert found.tobytes() == plain.tobytes()
    path = [p for s in positions for p in profits[sessions == s].tolist()]
    won, lost = sum(p for p in path if p > 0), -sum(p for p in path if p < 0)
    equity = np.concatenate([[0.0], np.cumsum(path)])
    streaks = "".join("x" if p < 0 else " " for p in path).split()
    count = len(path)
    factor = won / lost if lost else math.inf if won else math.nan
    wanted = [
        won - lost,
        (won - lost) / count if count else math.nan,
        factor,
        sum(p > 0 for p in path) / count if count else math.nan,
        float(np.max(np.maximum.accumulate(equity) - equity)),
        max(map(len, streaks), default=0),
        count,
    ]
    assert found.tolist() == pytest.approx(wanted, nan_ok=True)


def test_a_report_of_trades_is_json_and_counts_empty_paths() -> None:
    sessions = np.array([0, 0, 5])
    report = bootstrap_trades(np.array([1.0, -2.0, 3.0]), sessions, 40, seed=1, n_paths=400)
    assert tuple(report.statistics) == tuple(TRADE_COLUMNS)
    factor = report.statistics["profit_factor"]
    assert factor.n_empty > 0
    assert factor.n_failed == 0
    assert any("rank as the worst" in note for note in factor.notes)
    document = report.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    total = report.statistics["total"].observed
    assert total is not None
    assert total.value == 2.0


def test_total_of_resampled_sessions_has_the_block_bootstraps_spread() -> None:
    """Sessions drawn one by one: n times their variance, within 4 standard errors."""
    profits, sessions = book(100, 5)
    report = bootstrap_trades(profits, sessions, 100, seed=1, n_paths=3000, block_length=1.0)
    totals = np.bincount(sessions, profits, minlength=100)
    wanted = 100 * totals.var()
    found = report.statistics["total"].sd ** 2
    assert abs(found / wanted - 1.0) < 4.0 * math.sqrt(2.0 / 2999)
    again = bootstrap_trades(profits, sessions, 100, seed=1, n_paths=3000, block_length=1.0)
    assert again.statistics["total"] == report.statistics["total"]


def test_bad_trades_are_refused() -> None:
    profits, sessions = np.array([1.0, 2.0]), np.array([0, 1])
    for p, s, n, text in (
        (profits, sessions[::-1], 2, "sessions go back from 1 to 0 at trade 1"),
        (profits, sessions, 1, "at least 2 sessions, found 1"),
        (profits, np.array([0, 2]), 2, r"sessions lie in 0\.\.1, found 0\.\.2"),
        (profits, np.array([0.0, 1.0]), 2, "expected 2 integers, found float64"),
        (np.array([1.0, math.nan]), sessions, 2, "the profit of trade 1 is nan"),
    ):
        with pytest.raises(InputError, match=text):
            bootstrap_trades(p, s, n, seed=1)
    for keys, text in (
        ({"statistics": ("mode",)}, "no statistic 'mode' of the order of trades"),
        ({"statistics": ("relative_drawdown",)}, "relative_drawdown needs the capital"),
        ({"capital": -1.0}, "a capital must be positive, found -1"),
        ({"n_paths": 0}, "at least 1 path, found 0"),
    ):
        with pytest.raises(InputError, match=text):
            permute_trades(PNL, seed=1, **keys)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 2 trades, found 1"):
        permute_trades(np.ones(1), seed=1)
