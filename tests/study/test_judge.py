"""Judging many rows at once gives the bits of judging each alone, by scalar arithmetic."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.schema import ROW, STATUS_BAD_ORDER, STATUS_ERROR, Rows
from sweep.search.expressions import compile_expression, parse_condition
from sweep.search.objective import Objectives
from sweep.stats.metrics import METRIC_NAMES, metrics_of, undefined
from sweep.study.judge import Judge
from sweep.study.records import COMPLETE, FAILED, INFEASIBLE, Judged

ODD = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, -1e300, 5e-324, np.inf, -np.inf, np.nan, 3.0)
NUMBERS = st.one_of(st.sampled_from(ODD), st.floats(-1e6, 1e6), st.floats())


@dataclass(frozen=True)
class Aims:
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
        metrics = {name: float(values[0]) for name, values in found.items()}
        reasons = {name: undefined(name, row) for name, v in metrics.items() if v != v}
        worth = judge.objectives.values(metrics, reasons)
        missed = [
            c.text
            for c, v in zip(judge.objectives.constraints, worth.violations, strict=True)
            if v > 0.0
        ]
        if int(row["status"]) in (STATUS_BAD_ORDER, STATUS_ERROR):
            state, reason = FAILED, "the evaluation failed"
        elif worth.raised:
            state, reason = FAILED, worth.reason or ""
        elif worth.reason is not None:
            state, reason = INFEASIBLE, worth.reason
        elif missed:
            state, reason = INFEASIBLE, f"not met: {', '.join(missed)}"
        else:
            state, reason = COMPLETE, ""
        judged.append(Judged(state, worth.values, worth.violations, reason))
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
@settings(deadline=None)
@given(rows=rows())
def test_many_rows_are_judged_like_each_alone(
    objective: tuple[str, ...], constraints: tuple[str, ...], rows: Rows
) -> None:
    aims = Aims(objective, ("maximize",) * len(objective), constraints)
    judge = Judge(Objectives(aims), 252.0)
    for together, alone in zip(judge(rows), one_by_one(judge, rows), strict=True):
        assert (together.state, together.reason) == (alone.state, alone.reason)
        assert list(map(bits, together.values)) == list(map(bits, alone.values))
        assert list(map(bits, together.violations)) == list(map(bits, alone.violations))


EXPRESSIONS = (
    "a + b * c",
    "a - b / c",
    "a / 0",
    "a ** b",
    "(-a) ** 0.5",
    "c ** 0",
    "min(a, b, c)",
    "max(a, -b)",
    "min(a)",
    "abs(a) + sqrt(b)",
    "log(a) - exp(b)",
    "2 ** 3000",
    "7",
)


@pytest.mark.parametrize("text", EXPRESSIONS)
@settings(deadline=None)
@given(values=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=20))
def test_an_expression_over_columns_has_the_bits_of_scalars(
    text: str, values: list[tuple[float, float, float]]
) -> None:
    expression = compile_expression(text, "abc")
    columns = dict(zip("abc", np.array(values, np.float64).reshape(-1, 3).T, strict=True))
    together = expression.column(columns, len(values))
    alone = [expression(dict(zip("abc", row, strict=True))) for row in values]
    assert list(map(bits, together.tolist())) == list(map(bits, alone))


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("sides", [("a", "b"), ("a", "0"), ("0.25", "b"), ("a - b", "-2")])
@settings(deadline=None)
@given(values=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20))
def test_violations_of_many_rows_are_those_of_each(
    sides: tuple[str, str], sign: str, values: list[tuple[float, float]]
) -> None:
    condition = parse_condition(f"{sides[0]} {sign} {sides[1]}", "ab")
    columns = dict(zip("ab", np.array(values, np.float64).reshape(-1, 2).T, strict=True))
    together = condition.violations(columns, len(values))
    alone = [condition.violation(dict(zip("ab", row, strict=True))) for row in values]
    assert list(map(bits, together.tolist())) == list(map(bits, alone))


def test_a_function_in_a_file_sees_every_metric_of_every_row(tmp_path: object) -> None:
    path = f"{tmp_path}/aim.py"
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            "def aim(metrics):\n"
            f"    assert len(metrics) == {len(METRIC_NAMES)}\n"
            "    if metrics['trades'] == 1: raise ValueError('one')\n"
            "    return metrics['net_profit'] / metrics['trades'] if metrics['trades'] else None\n"
        )
    judge = Judge(Objectives(Aims((f"{path}:aim",), ("maximize",))), 252.0)
    found = np.zeros(4, ROW)
    found["trades"] = range(4)
    found["equity"] = 6.0
    judged = judge(found)
    assert judged == one_by_one(judge, found)[:0] + judged
    assert [j.state for j in judged] == [FAILED, FAILED, COMPLETE, COMPLETE]
    assert "ValueError: one" in judged[1].reason
    assert [j.values[0] for j in judged[2:]] == [3.0, 2.0]
