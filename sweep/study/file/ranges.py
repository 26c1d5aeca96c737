"""A parameter's range as a study restates it under ``[space]``."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from sweep.strategy.parameters import Override
from sweep.study.file.kinds import (
    Kind,
    Place,
    check_names,
    flag,
    is_number,
    is_scalar,
    require,
    thawed,
    whole,
)

__all__ = ["parameter_range"]


_RANGE_EXPECTED = (
    'a range such as "5:50", "5:50:5" (with a step) or "5:200:log" in quotes, a list of '
    "values, one value, or a table with low, high, step, log, points, choices, default"
)
_NUMBER = r"\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_RANGE = re.compile(rf"{_NUMBER}:{_NUMBER}(?::(?:{_NUMBER}|\s*(log)\s*))?")


def parameter_range() -> Kind:
    """Return the kind of a parameter's range under ``[space]``."""
    return Kind(_RANGE_EXPECTED, _read_range, _write_range)


def _read_range(value: Any, place: Place) -> Override:
    if isinstance(value, dict):
        return _range_table(value, place)
    if isinstance(value, list):
        require(bool(value) and all(map(is_scalar, value)))
        return Override(choices=tuple(value), where=place.label)
    if isinstance(value, str) and ":" in value:
        return _range_text(value, place)
    require(is_scalar(value))
    return Override(fixed=value, where=place.label)


def _range_text(text: str, place: Place) -> Override:
    match = _RANGE.fullmatch(text)
    require(match is not None)
    assert match is not None
    low, high, step = (None if g is None else _plain_number(g) for g in match.groups()[:3])
    require(all(number is None or is_number(number) for number in (low, high, step)))
    log = True if match[4] else None
    return _ordered(Override(low, high, step, log, where=place.label), place)


def _plain_number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _range_table(table: dict[str, Any], place: Place) -> Override:
    any_number = Kind("a number", lambda v, p: v if is_number(v) else require(False))
    scalar = Kind("a value", lambda v, p: v if is_scalar(v) else require(False))
    kinds: dict[str, Kind] = {
        "low": any_number,
        "high": any_number,
        "step": any_number,
        "log": flag(),
        "points": whole(1),
        "choices": Kind("a list of values", lambda v, p: _read_range(_list(v), p).choices),
        "default": scalar,
    }
    check_names(table, tuple(kinds), place)
    if not table:
        place.fail(f"expected {_RANGE_EXPECTED}, found an empty table")
    values = {n: kinds[n](table[n], place.at(n)) for n in kinds if n in table}
    if "choices" in values and values.keys() & {"low", "high", "step", "log", "points"}:
        place.fail("choices and a range (low, high, step, log, points) exclude each other")
    return _ordered(Override(**values, where=place.label), place)


def _list(value: Any) -> list[Any]:
    require(isinstance(value, list))
    return list(value)


def _ordered(override: Override, place: Place) -> Override:
    low, high, step = override.low, override.high, override.step
    if low is not None and high is not None and low > high:
        place.fail(f"low {low:g} is above high {high:g}")
    if step is not None and step <= 0:
        place.fail(f"expected a step above 0, found {step:g}")
    if step is not None and override.log:
        place.fail("a logarithmic range has no step; use points to thin it in a grid")
    return override


def _write_range(override: Override) -> Any:
    if override.fixed is not None:
        return override.fixed
    table = {
        f.name: getattr(override, f.name)
        for f in dataclasses.fields(override)
        if f.name not in ("where", "fixed")
    }
    return {n: thawed(v) for n, v in table.items() if v is not None}
