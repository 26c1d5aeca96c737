"""Functionals over paths within objectives: what they are, and what is no such thing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import InputError
from sweep.search.objective import Objectives, compile_condition, compile_objective
from sweep.search.path_functionals import has_terms, split_terms
from sweep.stats.functionals import FUNCTIONALS
from sweep.stats.metrics import METRIC_NAMES, METRICS
from sweep.study.file.sections import default_direction


def value(text: str, **columns: Any) -> tuple[float, str]:
    """Return what one functional is of columns of paths, and why it is nothing."""
    rest, terms = split_terms(text, METRIC_NAMES)
    assert rest == terms[0].name
    paths = {name: np.asarray(v, np.float64) for name, v in columns.items()}
    return terms[0](paths, len(next(iter(paths.values()))))


# -- grammar ---------------------------------------------------------------------------


def test_terms_are_taken_out_and_the_rest_stays() -> None:
    rest, terms = split_terms(
        "quantile(net_profit, 0.05) - 2.0 * costs + mean(sharpe / (1 + trades))", METRIC_NAMES
    )
    assert rest == "_over_paths_0 - 2.0 * costs + _over_paths_1"
    assert [t.text for t in terms] == ["quantile(net_profit, 0.05)", "mean(sharpe / (1 + trades))"]
    assert terms[0].functional.argument == 0.05
    assert terms[1].inner.names == ("sharpe", "trades")
    assert split_terms("mean(sharpe)", METRIC_NAMES, first=3)[1][0].name == "_over_paths_3"
    assert split_terms("sharpe - 1", METRIC_NAMES) == ("sharpe - 1", ())
    # Within a function of one value each is still a term.
    assert split_terms("abs(mean(net_profit))", METRIC_NAMES)[0] == "abs(_over_paths_0)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mean(net_profit)", True),
        ("net_profit - cvar(net_profit, 0.1) / 2", True),
        ("probability_of_loss(net_profit) <= 0.1", True),
        ("net_profit", False),
        ("mean", False),
        ("median(", False),
        ("my file.py:mean", False),
        ("max(net_profit, 1)", False),
    ],
)
def test_terms_are_found_in_any_text(text: str, found: bool) -> None:
    assert has_terms(text) is found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quantile(net_profit)", "expected quantile(net_profit, a probability between 0 and 1)"),
        ("mean(net_profit, 0.5)", "expected mean(net_profit)"),
        ("quantile(net_profit, q=0.5)", "expected quantile(net_profit, a prob"),
        ("1 + cvar(net_profit, 0.1, 2)", 'at "cvar(net_profit, 0.1, 2)": expected cvar('),
        ("mean(median(net_profit))", "a functional over paths cannot stand within another"),
        ("quantile(net_profit, mean(sharpe))", "expected a probability between 0 and 1 after"),
        ("quantile(net_profit, trades)", "after the comma, found trades"),
        ("quantile(net_profit, True)", "after the comma, found True"),
        ("quantile(net_profit, {[1]: 2})", "after the comma"),
        ("probability_above(net_profit, 'x')", "expected a number after the comma"),
        (f"probability_above(net_profit, 1{'0' * 400})", "expected a number after the comma"),
        ("mean(1.0)", "names no metric"),
        ("quantile(net_profit, 1.5)", "between 0 and 1"),
        ("cvar(net_profit, 0)", "between 0 and 1"),
        ("mean_minus_errors(net_profit, -1)", "not negative"),
        ("mean(net_profitt)", 'did you mean "net_profit"'),
        ("mean(net_profit) + nonsense", "nonsense"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        compile_objective(text, [])
    assert said in str(caught.value)
    assert "_over_paths_" not in str(caught.value)


def test_messages_on_the_rest_show_functionals_as_they_were_written() -> None:
    with pytest.raises(InputError) as caught:
        compile_condition("mean(net_profit) == 3", [])
    assert "_over_paths_" not in str(caught.value)
    condition = compile_condition("quantile(max_drawdown, 0.95) <= 0.2", [])
    assert condition.text == "quantile(max_drawdown, 0.95) <= 0.2"


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("cvar(max_drawdown, 0.05)", "write cvar(-max_drawdown, 0.05), the mean of its highest"),
        ("mean_minus_errors(costs, 2)", "write mean_minus_errors(-costs, 2)"),
        ("probability_of_loss(max_drawdown)", "write probability_above(max_drawdown, NUMBER)"),
    ],
)
def test_functionals_of_low_values_refuse_metrics_that_should_be_low(
    text: str, instead: str
) -> None:
    with pytest.raises(InputError) as caught:
        split_terms(text, METRIC_NAMES)
    assert instead in str(caught.value)


# -- values ----------------------------------------------------------------------------

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)


@given(x=numbers, q=st.floats(0.01, 0.99))
@settings(max_examples=60)
def test_values_are_those_of_plain_numpy(x: list[float], q: float) -> None:
    a = np.array(x)
    n = len(a)
    ordered = np.sort(a)
    assert value("mean(net_profit)", net_profit=a)[0] == pytest.approx(a.mean(), abs=1e-6)
    assert value("mean(2 * net_profit - costs)", net_profit=a, costs=a / 4)[0] == pytest.approx(
        (2 * a - a / 4).mean(), abs=1e-5
    )
    low = np.quantile(a, 0.5, method="inverted_cdf")
    assert value("median(net_profit)", net_profit=a)[0] == low
    # On the border of a step rounding decides; between them there is one answer.
    if abs(n * q - round(n * q)) > 1e-6:
        quantile = np.quantile(a, q, method="inverted_cdf")
        assert value(f"quantile(net_profit, {q!r})", net_profit=a)[0] == quantile
    weights = np.clip(n * q - np.arange(n), 0.0, 1.0)
    tail = -(weights @ ordered) / (n * q)
    assert value(f"cvar(net_profit, {q!r})", net_profit=a)[0] == pytest.approx(tail, abs=1e-5)
    assert value("probability_of_loss(net_profit)", net_profit=a)[0] == (a < 0).mean()
    assert value("probability_below(net_profit, 3.5)", net_profit=a)[0] == (a < 3.5).mean()
    assert value("probability_above(net_profit, -3.5)", net_profit=a)[0] == (a > -3.5).mean()
    expected = a.mean() - 2 * a.std(ddof=1) / math.sqrt(n)
    found = value("mean_minus_errors(net_profit, 2)", net_profit=a)[0]
    assert found == pytest.approx(expected, abs=1e-5)


def test_paths_without_a_value_are_worst_whichever_end_that_is() -> None:
    x = [1.0, math.nan, 2.0, 3.0]
    assert value("quantile(sharpe, 0.5)", sharpe=x)[0] == 1.0
    assert value("probability_of_loss(sharpe)", sharpe=x)[0] == 0.25
    assert value("probability_above(sharpe, 1.5)", sharpe=x)[0] == 0.5
    assert value("mean(sharpe)", sharpe=x) == (
        pytest.approx(math.nan, nan_ok=True), "1 of 4 replicates has no value",
    )  # fmt: skip
    assert "1 of 4" in value("quantile(sharpe, 0.2)", sharpe=x)[1]
    # A holding time is better the shorter it is: one that is missing counts as the longest.
    assert value("quantile(mean_holding_time, 0.5)", mean_holding_time=x)[0] == 2.0
    assert value("probability_below(mean_holding_time, 2.5)", mean_holding_time=x)[0] == 0.5
    assert value("probability_above(mean_holding_time, 2.5)", mean_holding_time=x)[0] == 0.5
    none, why = value("quantile(mean_holding_time, 0.9)", mean_holding_time=x)
    assert math.isnan(none)
    assert why == "1 of 4 replicates has no value"


def test_an_infinite_metric_has_no_functional() -> None:
    none, why = value("quantile(profit_factor, 0.1)", profit_factor=[1.0, math.inf, math.inf])
    assert math.isnan(none)
    assert why == "profit_factor is infinite on 2 paths"


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_one_path_is_its_own_value(name: str) -> None:
    takes = FUNCTIONALS[name]
    text = f"{name}(net_profit{', 0.5' if takes else ''})"
    found, why = value(text, net_profit=[-3.0])
    expected = {"cvar": 3.0, "probability_above": 0.0}.get(name, -3.0)
    if name in ("probability_of_loss", "probability_below"):
        expected = 1.0
    assert (found, why) == (expected, "")


# -- directions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("quantile(net_profit, 0.05)", "maximize"),
        ("mean(max_drawdown)", "minimize"),
        ("quantile(max_drawdown, 0.95)", "minimize"),
        ("cvar(net_profit, 0.05)", "minimize"),
        ("cvar(-max_drawdown, 0.05)", "minimize"),
        ("probability_of_loss(net_profit)", "minimize"),
        ("probability_below(net_profit, 100)", "minimize"),
        ("probability_above(net_profit, 100)", "maximize"),
        ("probability_below(max_drawdown, 0.1)", "maximize"),
        ("probability_above(max_drawdown, 0.1)", "minimize"),
        ("mean_minus_errors(sharpe, 2)", "maximize"),
        ("mean_minus_errors(-costs, 2)", "maximize"),
        ("mean(net_profit) - max_drawdown", "maximize"),
        ("-cvar(net_profit, 0.05)", "maximize"),
    ],
)
def test_directions_follow_from_the_functional_and_its_metric(text: str, direction: str) -> None:
    assert default_direction(text) == direction


@pytest.mark.parametrize("name", METRICS)
def test_a_better_sample_has_a_better_value_by_default(name: str) -> None:
    """Whatever the functional and the metric: the default direction prefers what is better."""
    better = -1.0 if METRICS[name].direction == "minimize" else 1.0
    sample = np.linspace(1.0, 2.0, 20)
    for functional, takes in FUNCTIONALS.items():
        text = f"{functional}({name}{', 1.6' if takes == 'a number' else ', 0.1' if takes else ''})"
        try:
            default_direction(text)
        except InputError:
            assert better < 0.0
            continue
        sign = 1.0 if default_direction(text) == "maximize" else -1.0
        before = value(text, **{name: sample})[0]
        after = value(text, **{name: sample + better * 0.3})[0]
        assert sign * (after - before) >= 0.0, text


# -- within objectives -----------------------------------------------------------------


class Settings:
    objective = ("quantile(net_profit, 0.25) - max_drawdown", "costs")
    directions = ("maximize", "minimize")
    constraints = ("mean(sharpe) >= 1", "trades >= 5")


def test_objectives_read_paths_and_history_apart() -> None:
    objectives = Objectives(Settings())
    assert objectives.labels == Settings.objective
    assert objectives.reads == ("max_drawdown", "trades", "costs")
    assert objectives.path_reads == ("net_profit", "sharpe")
    profits = ([3.0, 1.0, 2.0, 4.0], [math.nan, math.nan, math.nan, 4.0])
    sharpes = ([2.0, 1.0, 1.0, 1.0], [0.5] * 4)
    over, reasons = objectives.over_paths(
        [
            {"net_profit": np.array(p), "sharpe": np.array(s)}
            for p, s in zip(profits, sharpes, strict=True)
        ]
    )
    metrics = {
        "max_drawdown": np.array([0.25, 0.5]), "trades": np.array([9.0, 9.0]),
        "costs": np.array([1.0, 2.0]), **over,
    }  # fmt: skip
    plain = np.full(2, "", object)
    scores = objectives.scores(metrics, 2, lambda name, k: reasons.get(name, plain)[k])
    assert scores.values[0].tolist() == [0.75, 1.0]
    assert math.isnan(scores.values[1, 0])
    assert scores.reasons[0] is None
    assert scores.reasons[1] == (
        "quantile(net_profit, 0.25) is undefined: 3 of 4 replicates have no value"
    )
    assert scores.violations.tolist() == [[-0.25, -0.8], [0.5, -0.8]]  # shares of the bound
