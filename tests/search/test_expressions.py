"""Expressions, conditions and filters: what they mean, and what they refuse."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.errors import InputError
from sweep.search.expressions import (
    Condition,
    ObjectiveRef,
    compile_expression,
    parse_condition,
    parse_objective_ref,
    parse_where,
)

NAMES = ("sharpe", "max_drawdown", "trades", "net_profit")
VALUES = {"sharpe": 1.5, "max_drawdown": 0.25, "trades": 40.0, "net_profit": -8.0}
ROW: Mapping[str, Any] = {
    "number": 7,
    "state": "complete",
    "mode": "ema",
    "filtered": True,
    "trades": 40.0,
    "sharpe": math.nan,
    "fast": None,
}


def columns_of(values: Mapping[str, float]) -> dict[str, Any]:
    return {name: np.array([value]) for name, value in values.items()}


def value_of(text: str, values: Mapping[str, float] = VALUES) -> float:
    return float(compile_expression(text, NAMES).column(columns_of(values), 1)[0])


def violation(condition: Condition, values: Mapping[str, float] = VALUES) -> float:
    return float(condition.violations(columns_of(values), 1)[0])


def passes(text: str, row: Mapping[str, Any] = ROW) -> bool:
    return bool(parse_where(text, row)({name: [value] for name, value in row.items()}, 1)[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sharpe", 1.5),
        ("sharpe - 2 * max_drawdown", 1.0),
        ("-sharpe ** 2", -2.25),
        ("+sharpe / (1 + 2)", 0.5),
        ("min(sharpe, trades, 3)", 1.5),
        ("max(sharpe, 2.5e0)", 2.5),
        ("max(sharpe)", 1.5),
        ("abs(net_profit) + sqrt(4) + log(1) + exp(0)", 11.0),
        ("  sharpe\n  + 1 ", 2.5),
    ],
)
def test_expression_has_the_value_of_its_arithmetic(text: str, value: float) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "1 / (sharpe - 1.5)",
        "sqrt(net_profit)",
        "log(net_profit)",
        "net_profit ** 0.5",
        "9.0 ** 9 ** 9",
        "exp(exp(exp(9)))",
    ],
)
def test_operation_without_an_answer_is_nan(text: str) -> None:
    assert math.isnan(value_of(text))


@pytest.mark.parametrize(
    "text", ["min(1, sharpe)", "max(sharpe, 1)", "sharpe ** 0", "1 ** sharpe", "0 * sharpe"]
)
def test_nan_is_never_lost(text: str) -> None:
    assert math.isnan(value_of(text, {**VALUES, "sharpe": math.nan}))


def test_expression_knows_the_names_that_it_reads() -> None:
    assert compile_expression("2 * trades + sharpe / trades", NAMES).names == ("sharpe", "trades")


def test_unknown_name_is_told_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r'unknown name max_drawdwn; did you mean "max_drawdown"'):
        compile_expression("sharpe - max_drawdwn", NAMES)


def test_unknown_name_without_a_near_one_is_told_with_all() -> None:
    with pytest.raises(InputError, match="there are max_drawdown, net_profit, sharpe, trades"):
        compile_expression("zzz", NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "sharpe.__class__",
        "(lambda: 1)()",
        "[sharpe][0]",
        "sharpe if trades else 0",
        "sharpe // 2",
        "sharpe % 2",
        "sharpe < 2",
        "'text'",
        "True",
        "1j",
        "min()",
        "abs(1, 2)",
        "abs(x=1)",
        "min(*trades)",
        "abs",
        "sharpe +",
        "sharpe; trades",
        "a := 3",
        "",
        "   ",
        "sharpe\0",
        "1if sharpe else 2",
        "(" * 500 + "1" + ")" * 500,
        "-" * 900 + "1",
        "1" + "+1" * 600,
        "1" * 3000,
        "9" * 400,
    ],
)
def test_anything_but_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        compile_expression(text, NAMES)


@given(st.text(max_size=40))
def test_any_text_compiles_or_is_refused_with_an_input_error(text: str) -> None:
    for compile_text in (compile_expression, parse_condition, parse_where):
        try:
            compile_text(text, NAMES)
        except InputError:
            pass


@pytest.mark.parametrize(
    ("text", "missed"),
    [
        ("max_drawdown < 0.5", -0.5),
        ("max_drawdown < 0.2", 0.25),
        ("0.2 > max_drawdown", 0.25),
        ("trades >= 30", -1 / 3),
        ("trades >= 80", 0.5),
        ("trades <= 40", 0.0),
        ("net_profit > 0", 8.0),
        ("net_profit >= -max_drawdown", 7.75),
    ],
)
def test_violation_is_the_share_of_the_bound_that_is_missed(text: str, missed: float) -> None:
    assert violation(parse_condition(text, NAMES)) == pytest.approx(missed)


@pytest.mark.parametrize("text", ["max_drawdown < 0.25", "trades > 40", "0.25 > max_drawdown"])
def test_equality_misses_a_strict_bound(text: str) -> None:
    assert violation(parse_condition(text, NAMES)) > 0.0


@pytest.mark.parametrize("text", ["sharpe < 2", "sharpe >= -9", "0 <= sharpe - trades"])
def test_condition_on_an_undefined_metric_is_violated_without_bound(text: str) -> None:
    condition = parse_condition(text, NAMES)
    assert violation(condition, {**VALUES, "sharpe": math.nan}) == math.inf


@given(
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
    st.sampled_from(["<", "<=", ">", ">="]),
)
def test_sign_of_the_violation_tells_whether_the_condition_holds(
    left: float, right: float, sign: str
) -> None:
    condition = parse_condition(f"a {sign} b", ("a", "b"))
    holds = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    missed = violation(condition, {"a": left, "b": right})
    assert (missed <= 0.0) == holds[sign]
    assert not math.isnan(missed)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False))
def test_a_constant_bound_keeps_the_sign(bound: float, value: float) -> None:
    condition = parse_condition(f"a < {bound!r}", ("a",))
    assert (violation(condition, {"a": value}) <= 0.0) == (value < bound)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("sharpe", "expected one comparison"),
        ("0 < sharpe < 2", "write each bound as a condition of its own"),
        ("trades == 30", "compares with <, <=, > or >="),
        ("trades = 30", "use <= or >= to compare"),
        ("1 < 2", "name a metric"),
        ("trades >= 30 and sharpe > 1", "expected one comparison"),
        ("trads >= 30", 'did you mean "trades"'),
    ],
)
def test_condition_that_is_none_is_refused(text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_condition(text, NAMES)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("trades >= 30", True),
        ("30 <= trades < 40", False),
        ("trades >= 30 and mode == 'sma'", False),
        ('trades < 30 or mode == "ema"', True),
        ("not trades < 30", True),
        ("state != 'pruned'", True),
        ("filtered", True),
        ("filtered == true", True),
        ("filtered == False", False),
        ("filtered == yes and not filtered == no", True),
        ("filtered != yes", False),
        ("filtered == 'yes'", True),
        ("'No' == filtered", False),
        ("filtered != 'no' and filtered > 0 and filtered + 1 == 2", True),
        ("number * 2 == 14", True),
        ("trades == 'ema'", False),
        ("trades != 'ema'", True),
        ("min(trades, 50) > 39 and (number < 5 or number > 6)", True),
        ("True", True),
    ],
)
def test_filter_passes_the_rows_that_it_describes(text: str, wanted: bool) -> None:
    assert passes(text) is wanted


@pytest.mark.parametrize("text", ["sharpe < 1", "sharpe >= 1", "sharpe != 1", "fast == 3", "fast"])
def test_comparison_with_an_undefined_value_is_false(text: str) -> None:
    assert passes(text) is False


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("trades = 30", "use == to compare"),
        ("trades > 3 && number > 2", "use and instead of &&"),
        ("trades > 3 || number > 2", "use or instead of"),
        ("(trades > 3) & (number > 2)", "use and"),
        ("mode in ('ema',)", "compare with"),
        ("trads > 3", 'did you mean "trades"'),
        ("open('x')", "only the functions"),
    ],
)
def test_filter_that_is_none_is_refused(text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_where(text, ROW)


def test_a_boolean_equals_no_other_text() -> None:
    with pytest.raises(InputError, match="compares a boolean with 'on'; use yes or no"):
        passes("filtered == 'on'")


def test_a_column_named_yes_is_that_column() -> None:
    row = {"yes": 3.0, "no": 3.0}
    assert passes("yes == no and yes == 3", row)


def test_a_filter_looks_at_each_row_by_itself() -> None:
    columns = {"trades": [1, 2, None], "mode": ["ema", None, "sma"], "on": [True, False, None]}
    wanted = {
        "trades >= 1": [True, True, False],
        "trades != 1": [False, True, False],
        "mode != 'ema'": [False, False, True],
        "on or mode == 'sma'": [True, False, True],
        "0 < trades < 2": [True, False, False],
        "not on": [False, True, True],
        "yes": [True, True, True],
    }
    for text, rows in wanted.items():
        assert parse_where(text, columns)(columns, 3).tolist() == rows, text
        assert parse_where(text, columns)({name: [] for name in columns}, 0).tolist() == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("trades >", "its end, character 9"),
        ("trades > 3 and", "its end, character 15"),
        ("trades > 3)", "character 11, unmatched"),
        ("(trades > 3", "character 1, .* was never closed"),
        ("trades > +* 3", "character 11"),
    ],
)
def test_a_text_that_does_not_parse_is_told_where_and_what_would_be_right(
    text: str, place: str
) -> None:
    said = f"does not parse at {place}.*; right would be: "
    with pytest.raises(InputError, match=said + "max_drawdown < 0.2"):
        parse_condition(text, NAMES)
    with pytest.raises(InputError, match=said + "trades >= 30 and max_drawdown < 0.2"):
        parse_where(text, NAMES)
    with pytest.raises(InputError, match=said + "sharpe - 2"):
        compile_expression(text, NAMES)


@pytest.mark.parametrize("text", ["mode > 3", "mode + 1 > 3", "mode"])
def test_text_in_place_of_a_number_is_told(text: str) -> None:
    with pytest.raises(InputError, match="text"):
        passes(text)


def test_objective_reference_names_file_and_function() -> None:
    assert parse_objective_ref("my/aims.py:score") == ObjectiveRef("my/aims.py", "score")
    assert str(ObjectiveRef("my/aims.py", "score")) == "my/aims.py:score"
    assert parse_objective_ref("sharpe - max_drawdown") is None
    with pytest.raises(InputError, match="must name a function"):
        parse_objective_ref("aims.py")


# -- the bits of Python's floats -------------------------------------------------------

ODD = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, -1e300, 5e-324, np.inf, -np.inf, np.nan, 3.0)
FLOATS = st.one_of(st.sampled_from(ODD), st.floats(-1e6, 1e6), st.floats())

EXPRESSIONS = (
    "a + b * c",
    "a - b / c",
    "a / 0",
    "a ** b",
    "(-a) ** 0.5",
    "c ** 0",
    "min(a, b, c)",
    "max(a, -b)",
    "min(a, 1)",
    "abs(a) + sqrt(b)",
    "log(a) - exp(b)",
    "2.0 ** 3000",
    "7.0",
)
FUNCTIONS = {"sqrt": math.sqrt, "log": math.log, "exp": math.exp}


def bits(value: float) -> bytes:
    return b"nan" if value != value else struct.pack("<d", value)


def in_python(text: str, values: Mapping[str, float]) -> float:
    """What Python makes of the text; NaN where a value is NaN or there is no answer."""
    try:
        result = eval(text, {**FUNCTIONS, **values})
    except (ArithmeticError, ValueError):
        return math.nan
    read = compile_expression(text, values).names
    if isinstance(result, complex) or any(math.isnan(values[name]) for name in read):
        return math.nan
    return float(result)


@pytest.mark.parametrize("text", EXPRESSIONS)
@given(values=st.lists(st.tuples(FLOATS, FLOATS, FLOATS), max_size=20))
def test_an_expression_over_columns_has_the_bits_of_python(
    text: str, values: list[tuple[float, float, float]]
) -> None:
    columns = dict(zip("abc", np.array(values, np.float64).reshape(-1, 3).T, strict=True))
    together = compile_expression(text, "abc").column(columns, len(values)).tolist()
    alone = [in_python(text, dict(zip("abc", row, strict=True))) for row in values]
    assert list(map(bits, together)) == list(map(bits, alone))
