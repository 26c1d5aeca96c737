"""Judging many rows at once gives the bits of judging each alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.schema import ROW, STATUS_BAD_ORDER, STATUS_ERROR, Rows
from sweep.search.objective import Objectives
from sweep.stats.metrics import METRIC_NAMES, metrics_of, undefined
from sweep.study.judge import Judge
from sweep.study.records import COMPLETE, FAILED, INFEASIBLE, Judged


@dataclass(frozen=True)
class Settings:
    objective: tuple[str, ...]
    directions: tuple[str, ...]
    constraints: tuple[str, ...] = ()


def bits(value: float) -> bytes:
    return b"nan" if value != value else struct.pack("<d", value)


def one_by_one(judge: Judge, rows: Rows) -> list[Judged]:
    """Judge each row by itself, from the numbers of its metrics."""
    judged = []
    for row in rows:
        found = metrics_of(np.array([row], ROW), judge.periods_per_year)
        scores = judge.objectives.scores(
            found, 1, lambda name, k, row=row: np.full(len(k), undefined(name, row), object)
        )
        values, violations = tuple(scores.values[0].tolist()), tuple(scores.violations[0].tolist())
        missed = [
            c.text for c, v in zip(judge.objectives.constraints, violations, strict=True) if v > 0.0
        ]
        if int(row["status"]) in (STATUS_BAD_ORDER, STATUS_ERROR):
            state, reason = FAILED, "the evaluation failed"
        elif scores.raised[0]:
            state, reason = FAILED, scores.reasons[0]
        elif scores.reasons[0] is not None:
            state, reason = INFEASIBLE, scores.reasons[0]
        elif missed:
            state, reason = INFEASIBLE, f"not met: {', '.join(missed)}"
        else:
            state, reason = COMPLETE, ""
        judged.append(Judged(state, values, violations, reason))
    return judged


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Rows as they may be: idle, ruined, failed, ordinary, and with odd sums."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    n = draw(st.integers(0, 40))
    found = np.zeros(n, ROW)
    for name in ROW.names or ():
        if ROW[name].kind == "f":
            found[name] = rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)
            found[name][rng.random(n) < 0.2] = 0.0
        else:
            found[name] = rng.integers(0, 5, n)
    for name in ("sum_r2", "sum_down2", "gross_profit", "gross_loss", "sum_trade2", "drawdown"):
        found[name] = np.abs(found[name])
    found["status"] = rng.choice([0, 0, 0, 0, 1, 2, 3], n)
    found["capital"] = 100.0
    return found


OBJECTIVES = (
    ("sharpe",),
    ("profit_factor", "max_drawdown"),
    ("sharpe - 0.5 * max_drawdown ** 1.5", "calmar / trades"),
    ("min(sqn, sortino, 3) + max(0, win_rate) - abs(expectancy)",),
    ("log(final_equity) + exp(net_profit) - sqrt(turnover) / (trades - 2)",),
)
CONSTRAINTS = ((), ("trades >= 2",), ("max_drawdown < 0.2", "profit_factor > 1", "3 > trades"))


@pytest.mark.parametrize("constraints", CONSTRAINTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@given(rows=rows())
def test_many_rows_are_judged_like_each_alone(
    objective: tuple[str, ...], constraints: tuple[str, ...], rows: Rows
) -> None:
    settings_ = Settings(objective, ("maximize",) * len(objective), constraints)
    judge = Judge(Objectives(settings_), 252.0)
    for together, alone in zip(judge(rows), one_by_one(judge, rows), strict=True):
        assert (together.state, together.reason) == (alone.state, alone.reason)
        assert list(map(bits, together.values)) == list(map(bits, alone.values))
        assert list(map(bits, together.violations)) == list(map(bits, alone.violations))


def test_a_function_in_a_file_sees_every_metric_of_every_row(tmp_path: object) -> None:
    path = f"{tmp_path}/aim.py"
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            "def aim(metrics):\n"
            f"    assert len(metrics) == {len(METRIC_NAMES)}\n"
            "    if metrics['trades'] == 1: raise ValueError('one')\n"
            "    return metrics['net_profit'] / metrics['trades'] if metrics['trades'] else None\n"
        )
    judge = Judge(Objectives(Settings((f"{path}:aim",), ("maximize",))), 252.0)
    found = np.zeros(4, ROW)
    found["trades"] = range(4)
    found["equity"] = 6.0
    judged = judge(found)
    assert judged == one_by_one(judge, found)[:0] + judged
    assert [j.state for j in judged] == [FAILED, FAILED, COMPLETE, COMPLETE]
    assert "ValueError: one" in judged[1].reason
    assert [j.values[0] for j in judged[2:]] == [3.0, 2.0]
