"""Objectives: metrics, expressions and user-written functions, with reasons for NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sweep.errors import StudyFileError
from sweep.search.objective import Objectives, Scores
from sweep.stats.metrics import METRIC_NAMES

METRICS = dict.fromkeys(METRIC_NAMES, 0.0) | {
    "sharpe": 1.5, "max_drawdown": 0.25, "trades": 40.0, "profit_factor": math.nan
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    objective: tuple[str, ...]
    directions: tuple[str, ...] = ("maximize",)
    constraints: tuple[str, ...] = ()


def scored(
    objectives: Objectives, metrics: dict[str, float] = METRICS, reason: str = "no trades"
) -> Scores:
    """The scores of two trials with the same metrics."""
    columns = {name: np.full(2, value) for name, value in metrics.items()}
    return objectives.scores(columns, 2, lambda name, k: np.full(len(k), reason, object))


def written(folder: Path, source: str, function: str = "score") -> Objectives:
    path = folder / "aims.py"
    path.write_text(source)
    return Objectives(Settings((f"{path}:{function}",)))


def test_values_come_in_the_order_of_the_objectives() -> None:
    settings = Settings(("max_drawdown", "sharpe - 2 * max_drawdown"), ("minimize", "maximize"))
    objectives = Objectives(settings)
    scores = scored(objectives)
    assert scores.values.tolist() == [[0.25, 1.0]] * 2
    assert scores.reasons.tolist() == [None, None]
    assert scores.violations.shape == (2, 0)
    assert objectives.labels == settings.objective
    assert objectives.directions == settings.directions


def test_violations_come_in_the_order_of_the_constraints() -> None:
    settings = Settings(("sharpe",), constraints=("trades >= 30", "max_drawdown < 0.2"))
    assert scored(Objectives(settings)).violations[0] == pytest.approx((-1 / 3, 0.25))


def test_undefined_metric_gives_nan_with_its_reason() -> None:
    scores = scored(Objectives(Settings(("profit_factor",))))
    assert np.isnan(scores.values).all()
    assert scores.reasons.tolist() == ["profit_factor is undefined: no trades"] * 2


def test_undefined_expression_names_the_metric_that_is_undefined() -> None:
    settings = Settings(("sharpe + profit_factor",), constraints=("profit_factor > 1",))
    scores = scored(Objectives(settings), reason="no losing trade")
    assert scores.reasons[0] == "profit_factor is undefined: no losing trade"
    assert scores.violations.tolist() == [[math.inf]] * 2


def test_the_first_undefined_objective_gives_the_reason() -> None:
    settings = Settings(("sharpe", "sqrt(-trades)", "profit_factor"), ("maximize",) * 3)
    scores = scored(Objectives(settings))
    assert scores.reasons[1] == "sqrt(-trades) is undefined"
    assert scores.values[1, 0] == 1.5
    assert np.isnan(scores.values[1, 1:]).all()


def test_expression_that_divides_by_zero_names_itself() -> None:
    scores = scored(Objectives(Settings(("sharpe / (trades - 40)",))))
    assert scores.reasons[0] == "sharpe / (trades - 40) is undefined"


def test_infinite_objective_is_undefined() -> None:
    scores = scored(Objectives(Settings(("sharpe",))), {"sharpe": math.inf})
    assert math.isnan(scores.values[0, 0])
    assert scores.reasons[0] == "sharpe is infinite"


def test_user_written_function_is_given_the_metrics(tmp_path: Path) -> None:
    source = "def score(metrics):\n    return metrics['sharpe'] * metrics.pop('trades')\n"
    objectives = written(tmp_path, source)
    assert objectives.labels == ("score",)
    # Twice: what the function does to its argument stays without effect.
    assert scored(objectives).values.tolist() == [[60.0], [60.0]]
    assert scored(objectives).values.tolist() == [[60.0], [60.0]]


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
    scores = scored(written(tmp_path, f"def score(metrics):\n    {body}\n"))
    assert np.isnan(scores.values).all()
    assert scores.raised.all()
    assert scores.reasons[1] == f"{tmp_path / 'aims.py'}:{line}: {part}"


def test_function_that_returns_nan_says_so(tmp_path: Path) -> None:
    scores = scored(written(tmp_path, "def score(metrics):\n    return float('nan')\n"))
    assert scores.reasons[0] == "score returned nan"
    assert not scores.raised.any()


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
        Objectives(Settings((f"{tmp_path}/aims.py:score",)))
