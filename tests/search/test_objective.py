"""Objectives: metrics, expressions and user-written functions, with reasons for NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweep.errors import StudyFileError
from sweep.search.objective import Objectives

METRICS = {"sharpe": 1.5, "max_drawdown": 0.25, "trades": 40.0, "profit_factor": math.nan}


@dataclass(frozen=True)
class Aims:
    objective: tuple[str, ...]
    directions: tuple[str, ...] = ("maximize",)
    constraints: tuple[str, ...] = ()


def written(folder: Path, source: str, function: str = "score") -> Objectives:
    path = folder / "aims.py"
    path.write_text(source)
    return Objectives(Aims((f"{path}:{function}",)))


def test_values_come_in_the_order_of_the_objectives() -> None:
    aims = Aims(("max_drawdown", "sharpe - 2 * max_drawdown"), ("minimize", "maximize"))
    objectives = Objectives(aims)
    worth = objectives.values(METRICS)
    assert worth.values == (0.25, 1.0)
    assert worth.reason is None
    assert worth.violations == ()
    assert worth.feasible
    assert objectives.labels == aims.objective
    assert objectives.directions == aims.directions


def test_violations_come_in_the_order_of_the_constraints() -> None:
    aims = Aims(("sharpe",), constraints=("trades >= 30", "max_drawdown < 0.2"))
    worth = Objectives(aims).values(METRICS)
    assert worth.violations == pytest.approx((-1 / 3, 0.25))
    assert not worth.feasible


def test_undefined_metric_gives_nan_with_its_reason() -> None:
    worth = Objectives(Aims(("profit_factor",))).values(METRICS, {"profit_factor": "no trades"})
    assert math.isnan(worth.values[0])
    assert worth.reason == "profit_factor is undefined: no trades"


def test_undefined_expression_names_the_metric_that_is_undefined() -> None:
    aims = Aims(("sharpe + profit_factor",), constraints=("profit_factor > 1",))
    worth = Objectives(aims).values(METRICS, {"profit_factor": "no losing trade"})
    assert worth.reason == "profit_factor is undefined: no losing trade"
    assert worth.violations == (math.inf,)
    assert not worth.feasible


def test_expression_that_divides_by_zero_names_itself() -> None:
    worth = Objectives(Aims(("sharpe / (trades - 40)",))).values(METRICS)
    assert worth.reason == "sharpe / (trades - 40) is undefined"


def test_infinite_objective_is_undefined() -> None:
    worth = Objectives(Aims(("sharpe",))).values({"sharpe": math.inf})
    assert math.isnan(worth.values[0])
    assert worth.reason == "sharpe is infinite"


def test_user_written_function_is_given_the_metrics(tmp_path: Path) -> None:
    source = "def score(metrics):\n    return metrics['sharpe'] * metrics.pop('trades')\n"
    objectives = written(tmp_path, source)
    assert objectives.labels == ("score",)
    # Twice: what the function does to its argument stays without effect.
    assert objectives.values(METRICS).values == (60.0,)
    assert objectives.values(METRICS).values == (60.0,)


@pytest.mark.parametrize(
    ("body", "line", "part"),
    [
        ("x = 1\n    return metrics['sharp']", 3, "KeyError: 'sharp'"),
        ("return 'good'", 1, "score must return a number, found str"),
        ("return None", 1, "score must return a number, found NoneType"),
    ],
)
def test_failing_function_gives_nan_with_file_and_line(
    tmp_path: Path, body: str, line: int, part: str
) -> None:
    worth = written(tmp_path, f"def score(metrics):\n    {body}\n").values(METRICS)
    assert math.isnan(worth.values[0])
    assert worth.reason == f"{tmp_path / 'aims.py'}:{line}: {part}"


def test_function_that_returns_nan_says_so(tmp_path: Path) -> None:
    worth = written(tmp_path, "def score(metrics):\n    return float('nan')\n").values(METRICS)
    assert worth.reason == "score returned nan"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("def score(metrics:\n", r"aims.py:1: "),
        ("x = 1\ny = 1 / 0\n", r"aims.py:2: ZeroDivisionError"),
        ("def other(metrics):\n    return 1\n", r"has no function score\(metrics\); it has other"),
        ("score = 3\n", "it has none"),
        ("\ndef score(a, b):\n    return 1\n", r"aims.py:2: score must take one argument"),
    ],
)
def test_objective_file_that_cannot_be_used_is_refused(
    tmp_path: Path, source: str, part: str
) -> None:
    with pytest.raises(StudyFileError, match=part):
        written(tmp_path, source)


def test_missing_objective_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="no such file"):
        Objectives(Aims((f"{tmp_path}/aims.py:score",)))
