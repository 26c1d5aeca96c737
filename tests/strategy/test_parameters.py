"""Parameters of each kind: their levels, and the ranges and values that are refused."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.errors import SpaceError, StrategyError
from sweep.strategy import Parameter, Space, boolean, categorical, integer, load_strategy, real
from sweep.strategy.parameters import Override
from sweep.strategy.space import SearchSpace


def written(range_: str, folder: Path) -> Path:
    path = folder / "s.py"
    path.write_text(
        "from sweep.strategy import Space, boolean, categorical, integer, real\n\n"
        f"class Params(Space):\n    a = {range_}\n"
    )
    return path


@pytest.mark.parametrize(
    ("range_", "what"),
    [
        ("categorical(None, 10.0, 20.0)", "categorical(): None is no choice; for"),
        ("categorical((1, 2), (3, 4))", "categorical(): (1, 2) is no choice"),
        ("categorical([1], [2])", "categorical(): [1] is no choice"),
        ("categorical(1j, 2j)", "categorical(): 1j is no choice"),
        ("categorical(1.0, float('nan'))", "categorical(): nan is no choice"),
        ("categorical(1, 2**63)", "categorical(): 9223372036854775808 is no choice"),
        ("categorical(0, 1, True)", "categorical(): a choice stands twice in [0, 1, True]"),
        ("categorical('a', 1)", "categorical(): mixes text and numbers in ['a', 1]"),
        ("categorical()", "categorical(): needs at least one choice"),
        ("categorical(1, 2, default=3)", "categorical(): default 3 is none of [1, 2]"),
        ("boolean(default=None)", "boolean(): default must be True or False, found None"),
        ("real(None, 1, default=0)", "real(): low must be a number, found None"),
        ("real('0', 1, default=0)", "real(): low must be a number, found '0'"),
        ("real(0, 10**400, default=0)", "real(): high must be a number, found 1000"),
        ("real(0, float('inf'), default=1)", "real(): low and high must be finite numbers"),
        ("real(0, 1, default=float('nan'))", "real(): default nan lies outside 0..1"),
        ("real(0, 1, default=0, step=0)", "real(): step must be above 0, found 0.0"),
        ("real(0, 1, default=0, step=0.3)", "real(): step 0.3 does not divide 0..1 (1)"),
        ("real(0, 1, default=0.5, log=True)", "real(): a logarithmic range needs low above 0"),
        ("real(0, 1, default=0, points=2.5)", "real(): points must be a whole number above 0"),
        ("real(0, 1, default=0, when=3)", "real(): when must be a function of the parameters"),
        ("integer(0, 2.5, default=0)", "integer(): high must be a whole number, found 2.5"),
        ("integer(0, float('inf'), default=0)", "integer(): high must be a whole number"),
        ("integer(0, 2**53, default=0)", "integer(): whole numbers are exact up to"),
    ],
)
def test_a_range_that_no_parameter_has_is_refused_with_file_and_line(
    range_: str, what: str, tmp_path: Path
) -> None:
    path = written(range_, tmp_path)
    with pytest.raises(StrategyError) as caught:
        load_strategy(path)
    assert str(caught.value).startswith(f"{path}:4: {what}")


def spaced(low: float, high: float, step: float) -> list[float]:
    found: list[float] = real(low, high, default=low, step=step).levels().tolist()
    return found


def test_levels_are_the_decimals_that_low_and_step_spell() -> None:
    assert spaced(0.1, 0.5, 0.1) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert spaced(-1, 1, 0.1) == [k / 10 for k in range(-10, 11)]
    assert spaced(0, 0.01, 0.0001) == [float(f"{k}e-4") for k in range(101)]
    assert spaced(1e-5, 3e-5, 1e-5) == [1e-5, 2e-5, 3e-5]


@given(st.integers(-9999, 9999), st.integers(1, 9999), st.integers(1, 60), st.integers(0, 6))
def test_every_level_is_the_float_nearest_to_its_decimal(
    low: int, step: int, last: int, digits: int
) -> None:
    unit = 10**digits
    levels = spaced(low / unit, (low + last * step) / unit, step / unit)
    assert levels == [float(Fraction(low + k * step, unit)) for k in range(last + 1)]


@pytest.mark.parametrize(
    ("low", "high", "step"), [(0, 1, 1 / 3), (0, 1e300, 1e299), (1, 1 + 2**-34, 2**-40)]
)
def test_levels_of_steps_with_many_digits_stay_within_the_range(
    low: float, high: float, step: float
) -> None:
    levels = spaced(low, high, step)
    assert levels[0] == low
    assert levels[-1] == high
    assert levels == [min(low + k * step, high) for k in range(len(levels))]


PARAMETERS: dict[str, Parameter] = {
    "real": real(0.1, 0.7, step=0.1, default=0.3),
    "free": real(1.0, 100.0, log=True, default=10.0),
    "integer": integer(3, 99, step=4, default=3),
    "categorical": categorical("a", "b", default="b"),
    "numbers": categorical(1, 2.5),
    "boolean": boolean(default=True),
}


@pytest.mark.parametrize("kind", PARAMETERS)
def test_values_are_encoded_and_decoded_and_spelled_alike(kind: str) -> None:
    p = PARAMETERS[kind]
    encoded = p.levels(7).tolist()
    values = p.decode(encoded)
    assert [p.encode(value) for value in values] == encoded
    assert [p.parse(str(value)) for value in values] == values
    assert p.count == (None if kind == "free" else len(encoded))


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        ("real", 0.25, "0.25 is not on the steps of 0.1 from 0.1; the nearest is 0.2"),
        ("real", 0.8, "0.8 lies outside 0.1..0.7"),
        ("real", "x", "expected a number, found 'x'"),
        ("real", True, "expected a number, found True"),
        ("integer", 3.5, "expected a whole number, found 3.5"),
        ("integer", math.inf, "expected a whole number, found inf"),
        ("free", math.nan, "nan lies outside 1..100"),
        ("categorical", "c", r"'c' is none of \['a', 'b'\]"),
        ("numbers", "1", r"'1' is none of \[1, 2.5\]"),
        ("boolean", 1, "expected true or false, found 1"),
    ],
)
def test_a_value_that_the_parameter_has_not_is_refused(kind: str, value: Any, what: str) -> None:
    with pytest.raises(SpaceError, match=what):
        PARAMETERS[kind].encode(value)


class Params(Space):
    fast: int = integer(2, 50, default=20)
    size: float = real(0.0, 1.0, default=0.5)
    mode: str = categorical("a", "b", "c")
    on: bool = boolean(default=False)


@pytest.mark.parametrize(
    ("name", "override", "levels", "default"),
    [
        ("fast", Override(low=30, high=40, step=5), [30, 35, 40], 30),
        ("fast", Override(choices=(9, 3, 6)), [3, 6, 9], 9),
        ("fast", Override(fixed=7), [7], 7),
        ("size", Override(step=0.25), [0.0, 0.25, 0.5, 0.75, 1.0], 0.5),
        ("size", Override(low=0.6, points=3), [0.6, 0.8, 1.0], 0.6),
        ("mode", Override(choices=("c", "b")), ["c", "b"], "c"),
        ("mode", Override(choices=("a", "b"), default="b"), ["a", "b"], "b"),
        ("on", Override(fixed=True), [True], True),
    ],
)
def test_a_study_restates_a_range(
    name: str, override: Override, levels: list[Any], default: Any
) -> None:
    space = SearchSpace.of(Params).restrict(name, override)
    p = space.parameters[space.index(name)]
    assert p.decode(p.levels().tolist()) == levels
    assert p.default == default
    assert type(p.default) is type(default)


@pytest.mark.parametrize(
    ("name", "override", "what"),
    [
        ("fast", Override(low=2.5), "parameter fast: low must be a whole number, found 2.5"),
        ("fast", Override(fixed="x"), "parameter fast: expected a whole number or a range"),
        ("fast", Override(choices=("x", 2)), "parameter fast: each value must be a whole number"),
        (
            "fast",
            Override(choices=(1, 2, 4)),
            r"parameter fast: the values \[1, 2, 4\] are not",
        ),
        ("size", Override(low=0.3, step=0.4), "parameter size: step 0.4 does not divide 0.3..1"),
        ("size", Override(high=2, default=3), "parameter size: default 3.0 lies outside 0..2"),
        ("mode", Override(low=1), r"parameter mode: takes a list of \['a', 'b', 'c'\], not a ran"),
        ("mode", Override(fixed="d"), r"parameter mode: 'd' is none of \['a', 'b', 'c'\]"),
        ("on", Override(fixed="x"), "parameter on: expected true or false, found 'x'"),
        ("fats", Override(fixed=3, where="f.toml:4"), "f.toml:4: no parameter 'fats'; did you me"),
    ],
)
def test_a_range_that_does_not_fit_the_parameter_is_refused(
    name: str, override: Override, what: str
) -> None:
    with pytest.raises(SpaceError, match=f"^{what}"):
        SearchSpace.of(Params).restrict(name, override)
