"""The parameters of a strategy: what values, numbers and levels each kind of parameter has.

A parameter's value stands in a point as one float64: the value itself of a `Real` or an
`Integer`, the index among the choices of a `Categorical` or a `Boolean`. Everything that
differs from kind to kind is a method here. Optuna's distributions and Arrow's types are made
by the modules that use them, since workers import this one.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from numbers import Real as RealNumber
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import numpy as np

from sweep.errors import SpaceError
from sweep.schema import FloatArray1D

__all__ = [
    "Boolean",
    "Categorical",
    "Integer",
    "Number",
    "Override",
    "Parameter",
    "Real",
    "boolean",
    "categorical",
    "integer",
    "real",
]

#: Whole numbers from here on are not all float64.
EXACT = 2**53

#: A value this close to a level, as a share of itself or of the step, is that level.
NEAR = 1e-9

FloatOrArray = TypeVar("FloatOrArray", float, FloatArray1D)


@dataclass(frozen=True)
class Override:
    """A parameter's range as a study restates it. None leaves what the strategy states.

    Attributes
    ----------
    low, high, step : int, float or None
    log : bool or None
    points : int or None
    choices : tuple or None
        The values that are searched.
    fixed : bool, int, float, str or None
        The one value that the parameter has in this study.
    default : bool, int, float, str or None
        Without one, the strategy's default, or the nearest value in the new range.
    where : str
        File and line, or the flag, for messages; no part of the range.
    """

    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool | None = None
    points: int | None = None
    choices: tuple[Any, ...] | None = None
    fixed: Any = None
    default: Any = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Parameter(ABC):
    """One parameter of a strategy and its range; checked when it is made.

    Attributes
    ----------
    name : str
    default : object
        A value in the range.
    when : callable or None
        ``when(params) -> bool``: whether the parameter counts, given those declared
        before it. One that does not takes its default and is not searched.

    Raises
    ------
    SpaceError
        If the range makes no sense.
    """

    kind: ClassVar[str]

    name: str = ""
    default: Any
    when: Callable[[Any], bool] | None = None

    def __post_init__(self) -> None:
        if self.when is not None and not callable(self.when):
            self._fail(f"when must be a function of the parameters, found {self.when!r}")
        self._check()

    @property
    @abstractmethod
    def count(self) -> int | None:
        """The number of values that the parameter can take, None if infinite."""

    @property
    @abstractmethod
    def compiled_type(self) -> str:
        """The type of its values in compiled code: float, int, bool or str."""

    @abstractmethod
    def restricted(self, override: Override) -> Self:
        """Return the parameter with another range; `SpaceError` if that does not fit it."""

    @abstractmethod
    def encode(self, value: Any) -> float:
        """Return the number that stands for ``value`` in a point.

        Raises
        ------
        SpaceError
            If the value has the wrong type or lies outside the range or between levels.
        """

    @abstractmethod
    def decode(self, numbers: Sequence[float]) -> list[Any]:
        """Return the values that numbers of points stand for, in the parameter's own type."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Return the value that a command line or a CSV spells as ``text``.

        Raises
        ------
        SpaceError
            If the text does not spell a value of the parameter's type.
        """

    @abstractmethod
    def levels(self, points: int | None = None) -> FloatArray1D:
        """Return the encoded values that a grid takes.

        Parameters
        ----------
        points : int, optional
            Number of levels for an unstepped real that does not state its own.

        Returns
        -------
        ndarray of shape (n_levels,), float64
            Ascending and distinct.

        Raises
        ------
        SpaceError
            If the parameter is an unstepped real and nothing states how many levels.
        """

    @abstractmethod
    def all_levels(self) -> FloatArray1D:
        """Return all encoded values of a finite parameter, whatever a grid takes of them."""

    @abstractmethod
    def from_uniform(self, u: FloatArray1D) -> FloatArray1D:
        """Map numbers in ``[0, 1)`` to encoded values, each as likely as its share of the range."""

    @abstractmethod
    def _check(self) -> None:
        """Raise `SpaceError` if the range makes no sense."""

    @property
    def _label(self) -> str:
        return f"parameter {self.name}" if self.name else f"{self.kind}()"

    def _fail(self, what: str) -> NoReturn:
        raise SpaceError(f"{self._label}: {what}")


# -- numbers ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Number(Parameter):
    """A parameter whose values are numbers; a `Real` or an `Integer`.

    Attributes
    ----------
    low, high : float
        Inclusive bounds.
    step : float or None
        Distance of the levels ``low + k * step``.
    log : bool
        Searched on a logarithmic scale.
    points : int or None
        Levels in a grid, where they are fewer than the steps make; None leaves it to the
        sampler's setting.
    """

    dtype: ClassVar[type[np.generic]]
    whole: ClassVar[bool]

    low: float
    high: float
    step: float | None = None
    log: bool = False
    points: int | None = None

    @property
    def count(self) -> int | None:
        """The number of values, None for a real without steps."""
        if self.low == self.high:
            return 1
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    @property
    def ends(self) -> tuple[float, float]:
        """The bounds on the scale on which the parameter is searched."""
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def level(self, k: FloatOrArray) -> FloatOrArray:
        """Return the levels numbered ``k``, the one spelling of their bits.

        Steps are decimals: from 0.1 by 0.1 comes 0.3, not 0.30000000000000004.
        """
        low, step, unit = self._decimals
        # Rounding may carry the last level past the bound.
        levels: FloatOrArray = np.minimum((low + k * step) / unit, self.high)
        return levels

    def nearest(self, values: FloatOrArray) -> FloatOrArray:
        """Return the numbers of the levels nearest to ``values``; for stepped parameters."""
        assert self.step is not None and self.count is not None
        k: FloatOrArray = np.clip(np.rint((values - self.low) / self.step), 0.0, self.count - 1.0)
        return k

    @cached_property
    def _decimals(self) -> tuple[float, float, float]:
        """Low and step as whole numbers of a power of ten, and that power.

        Sums of whole numbers are exact, and their quotient is the float64 nearest to the
        decimal. Numbers of too many digits stay as they are, with a power of 1.
        """
        step = self.step or 0.0
        low_decimal, step_decimal = Decimal(repr(float(self.low))), Decimal(repr(float(step)))
        digits = max(0, *(-int(d.as_tuple().exponent) for d in (low_decimal, step_decimal)))
        unit = 10**digits
        if digits > 22 or (abs(self.low) + abs(self.high)) * unit >= EXACT:
            return self.low, step, 1.0
        return float(low_decimal * unit), float(step_decimal * unit), float(unit)

    def restricted(self, override: Override) -> Self:
        """Return the parameter with another range."""
        o = override
        if o.choices is not None:
            o = self._spanned(o.choices, o)
        if o.fixed is not None:
            fixed = self._number(o.fixed, "expected", " or a range")
            o = replace(o, low=fixed, high=fixed, step=None, default=fixed)
        stated = {
            word: self._number(getattr(o, word), f"{word} must be")
            for word in ("low", "high", "step", "default")
            if getattr(o, word) is not None
        }
        step = self.step if o.low is None and o.high is None and o.points is None else None
        low, high = stated.get("low", self.low), stated.get("high", self.high)
        # A default that falls outside the new range moves to the nearest value inside.
        default = stated.get("default", min(max(float(self.default), low), high))
        q = replace(
            self,
            low=low,
            high=high,
            step=stated.get("step", 1 if step is None and self.whole else step),
            log=self.log if o.log is None else o.log,
            points=self.points if o.points is None else o.points,
            default=self.decode([default])[0],
        )
        if o.default is None and q.step is not None and q.low < q.high:
            return replace(q, default=q.decode([float(q.level(q.nearest(default)))])[0])
        return q

    def _spanned(self, choices: tuple[Any, ...], override: Override) -> Override:
        """Return the range whose levels are ``choices``."""
        values = sorted(self._number(choice, "each value must be") for choice in choices)
        if len(values) == 1:
            return replace(override, fixed=choices[0])
        gaps = {round(b - a, 12) for a, b in itertools.pairwise(values)}
        if len(gaps) > 1 or 0.0 in gaps:
            raise SpaceError(
                f"{self._label}: the values {sorted(choices)} are not evenly spaced; "
                f"use a range with a step, or make the parameter a categorical"
            )
        return replace(override, low=values[0], high=values[-1], step=gaps.pop())

    def encode(self, value: Any) -> float:
        """Return the number that stands for ``value``; see `Parameter.encode`."""
        number = self._number(value, "expected")
        if self.step is not None and self.low < self.high and math.isfinite(number):
            level = float(self.level(self.nearest(number)))
            if abs(level - number) <= NEAR * max(abs(number), self.step):
                number = level
            elif self.low <= number <= self.high:
                self._fail(
                    f"{number:g} is not on the steps of {self.step:g} "
                    f"from {self.low:g}; the nearest is {level:g}"
                )
        if not self.low <= number <= self.high:
            self._fail(f"{number:g} lies outside {self.low:g}..{self.high:g}")
        return number

    def levels(self, points: int | None = None) -> FloatArray1D:
        """Return the encoded values that a grid takes; see `Parameter.levels`."""
        count = self.count
        n = self.points or (points if count is None else None)
        if count is not None and (n is None or n >= count):
            return self.all_levels()
        if n is None:
            raise SpaceError(
                f"{self._label}: a grid needs levels; give it a step or points, "
                f"or the sampler a number of points"
            )
        if n == 1:
            return np.array([self.low], np.float64)
        values = np.linspace(*self.ends, n)
        if self.log:
            values = np.exp(values)
            values[0], values[-1] = self.low, self.high
        return values if self.step is None else np.unique(self.level(self.nearest(values)))

    def all_levels(self) -> FloatArray1D:
        """Return all encoded values."""
        return self.level(np.arange(self.count or 0, dtype=np.float64))

    def from_uniform(self, u: FloatArray1D) -> FloatArray1D:
        """Map numbers in ``[0, 1)`` to encoded values."""
        count = self.count
        if count is None:
            low, high = self.ends
            values = low + u * (high - low)
            return np.clip(np.exp(values) if self.log else values, self.low, self.high)
        if count == 1:
            return np.full(len(u), self.low, np.float64)
        if not self.log:
            return self.level(np.minimum(np.floor(u * count), count - 1.0))
        # Each level's share is the logarithmic width of the cell around it. The lowest
        # cell would reach 0 where low <= step / 2; it is cut at half of low instead.
        step = self.step or 0.0
        low = math.log(max(self.low - step / 2, self.low / 2))
        high = math.log(self.high + step / 2)
        return self.level(self.nearest(np.exp(low + u * (high - low))))

    def _number(self, value: Any, what: str, alternative: str = "") -> float:
        return _as_number(type(self), value, f"{self._label}: {what}", alternative)

    def _check(self) -> None:
        low, high, step = self.low, self.high, self.step
        if self.points is not None and (type(self.points) is not int or self.points < 1):
            self._fail(f"points must be a whole number above 0, found {self.points!r}")
        if not (math.isfinite(low) and math.isfinite(high)):
            self._fail(f"low and high must be finite numbers, found {low!r}, {high!r}")
        if low > high:
            self._fail(f"low {low:g} is above high {high:g}")
        if self.whole and max(abs(low), abs(high)) >= EXACT:
            self._fail(f"whole numbers are exact up to {EXACT - 1} only, found {low:g}..{high:g}")
        if self.log and low <= 0:
            self._fail(f"a logarithmic range needs low above 0, found {low:g}")
        if step is not None:
            if not (math.isfinite(step) and step > 0):
                self._fail(f"step must be above 0, found {step!r}")
            steps = (high - low) / step
            if abs(steps - round(steps)) > NEAR * max(1.0, steps):
                fits = low + int(steps) * step
                self._fail(
                    f"step {step:g} does not divide {low:g}..{high:g} ({high - low:g}); "
                    f"use high {fits:g} or {fits + step:g}"
                )
        if not low <= self.default <= high:
            self._fail(f"default {self.default!r} lies outside {low:g}..{high:g}")


@dataclass(frozen=True, kw_only=True)
class Real(Number):
    """A real parameter."""

    kind = "real"
    dtype = np.float64
    whole = False
    compiled_type = "float"

    def decode(self, numbers: Sequence[float]) -> list[Any]:
        """Return the values that numbers stand for."""
        return list(numbers)

    def parse(self, text: str) -> Any:
        """Return the value that ``text`` spells."""
        return _parsed(self._label, text)


@dataclass(frozen=True, kw_only=True)
class Integer(Number):
    """A whole-number parameter; its step is 1 where none is stated."""

    kind = "integer"
    dtype = np.int64
    whole = True
    compiled_type = "int"

    def decode(self, numbers: Sequence[float]) -> list[Any]:
        """Return the values that numbers stand for."""
        return list(map(int, numbers))

    def parse(self, text: str) -> Any:
        """Return the value that ``text`` spells."""
        number = _parsed(self._label, text)
        return int(number) if number.is_integer() else number


def _as_number(cls: type[Number], value: Any, what: str, alternative: str = "") -> float:
    """Return a number of a parameter of ``cls`` as a float, or raise what it must be."""
    number = isinstance(value, RealNumber) and not isinstance(value, bool)
    if number and (not cls.whole or value % 1 == 0):
        with suppress(OverflowError):
            return float(value)
    noun = "a whole number" if cls.whole else "a number"
    raise SpaceError(f"{what} {noun}{alternative}, found {value!r}")


def _parsed(label: str, text: str) -> float:
    try:
        return float(text.strip())
    except ValueError:
        raise SpaceError(f"{label}: expected a number, found {text.strip()!r}") from None


# -- choices ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Categorical(Parameter):
    """A parameter that takes one of several values.

    Attributes
    ----------
    choices : tuple
        Numbers, or texts.
    """

    kind = "categorical"

    choices: tuple[Any, ...]

    @property
    def count(self) -> int:
        """The number of choices."""
        return len(self.choices)

    @property
    def compiled_type(self) -> str:
        """The type of the choices in compiled code."""
        if isinstance(self.choices[0], str):
            return "str"
        if any(isinstance(c, float) for c in self.choices):
            return "float"
        return "bool" if all(isinstance(c, bool) for c in self.choices) else "int"

    def restricted(self, override: Override) -> Self:
        """Return the parameter with another range."""
        o = override
        if any(n is not None for n in (o.low, o.high, o.step, o.points)):
            self._fail(f"takes a list of {list(self.choices)}, not a range")
        values = o.choices if o.fixed is None else (o.fixed,)
        kept = self.choices
        if values is not None:
            kept = tuple(self.choices[int(self.encode(value))] for value in values)
        default = self.default if self.default in kept else kept[0] if kept else self.default
        return replace(self, choices=kept, default=default if o.default is None else o.default)

    def encode(self, value: Any) -> float:
        """Return the number that stands for ``value``; see `Parameter.encode`."""
        for i, choice in enumerate(self.choices):
            if choice == value and isinstance(choice, str) == isinstance(value, str):
                return float(i)
        raise SpaceError(f"{self._label}: {value!r} is none of {list(self.choices)}")

    def decode(self, numbers: Sequence[float]) -> list[Any]:
        """Return the values that numbers stand for."""
        return [self.choices[int(number)] for number in numbers]

    def parse(self, text: str) -> Any:
        """Return the value that ``text`` spells."""
        word = text.strip()
        for choice in self.choices:
            if str(choice) == word or (not isinstance(choice, str) and _same(choice, word)):
                return choice
        raise SpaceError(f"{self._label}: {word!r} is none of {list(self.choices)}")

    def levels(self, points: int | None = None) -> FloatArray1D:
        """Return the encoded values that a grid takes; see `Parameter.levels`."""
        return self.all_levels()

    def all_levels(self) -> FloatArray1D:
        """Return all encoded values."""
        return np.arange(self.count, dtype=np.float64)

    def from_uniform(self, u: FloatArray1D) -> FloatArray1D:
        """Map numbers in ``[0, 1)`` to encoded values."""
        return np.minimum(np.floor(u * self.count), self.count - 1.0)

    def _check(self) -> None:
        choices = self.choices
        if not choices:
            self._fail("needs at least one choice")
        for choice in choices:
            if choice is None:
                self._fail(
                    'None is no choice; for "none, or one of these" declare a boolean() and '
                    "make this parameter count with when="
                )
            if not isinstance(choice, str | RealNumber) or choice != choice:
                self._fail(f"{choice!r} is no choice; a choice is a number, a text, True or False")
            if isinstance(choice, int) and not -(2**63) <= choice < 2**63:
                self._fail(f"{choice} is no choice; whole numbers have 64 bits")
        if len({isinstance(c, str) for c in choices}) > 1:
            self._fail(f"mixes text and numbers in {list(choices)}")
        if len(set(choices)) != len(choices):
            self._fail(f"a choice stands twice in {list(choices)}")
        if self.default not in choices:
            self._fail(f"default {self.default!r} is none of {list(choices)}")


@dataclass(frozen=True, kw_only=True)
class Boolean(Categorical):
    """A parameter that is true or false."""

    kind = "boolean"

    choices: tuple[Any, ...] = (False, True)

    def encode(self, value: Any) -> float:
        """Return the number that stands for ``value``; see `Parameter.encode`."""
        if not isinstance(value, bool | np.bool_):
            self._fail(f"expected true or false, found {value!r}")
        if bool(value) not in self.choices:
            self._fail(f"is {self.choices[0]} in this study, not {value}")
        return float(self.choices.index(bool(value)))

    def parse(self, text: str) -> Any:
        """Return the value that ``text`` spells."""
        word = text.strip().lower()
        if word in ("true", "1", "yes", "on"):
            return True
        if word not in ("false", "0", "no", "off"):
            self._fail(f"expected true or false, found {text.strip()!r}")
        return False


def _same(choice: Any, word: str) -> bool:
    try:
        return bool(float(choice) == float(word))
    except ValueError:
        return False


# -- declarations ----------------------------------------------------------------------


def real(
    low: float,
    high: float,
    *,
    default: float,
    step: float | None = None,
    log: bool = False,
    when: Callable[[Any], bool] | None = None,
    points: int | None = None,
) -> Any:
    """Declare a real parameter on ``[low, high]``.

    Parameters
    ----------
    low, high : float
        Inclusive bounds.
    default : float
        The value where nothing else is asked for.
    step : float, optional
        Distance between allowed values, counted from ``low``.
    log : bool, optional
        Search on a logarithmic scale; ``low`` must then be positive.
    when : callable, optional
        ``when(params) -> bool``, given the parameters declared before this one.
    points : int, optional
        Levels in a grid where there is no step.

    Returns
    -------
    Parameter
        Typed as ``Any``, so that ``fast: float = real(...)`` type-checks.
    """
    return Real(
        low=_declared(Real, "low", low),
        high=_declared(Real, "high", high),
        default=_declared(Real, "default", default),
        step=None if step is None else _declared(Real, "step", step),
        log=log,
        when=when,
        points=points,
    )


def integer(
    low: int,
    high: int,
    *,
    default: int,
    step: int = 1,
    log: bool = False,
    when: Callable[[Any], bool] | None = None,
    points: int | None = None,
) -> Any:
    """Declare a whole-number parameter on ``[low, high]``; see :func:`real`."""
    return Integer(
        low=int(_declared(Integer, "low", low)),
        high=int(_declared(Integer, "high", high)),
        default=int(_declared(Integer, "default", default)),
        step=int(_declared(Integer, "step", step)),
        log=log,
        when=when,
        points=points,
    )


def _declared(cls: type[Number], word: str, value: Any) -> float:
    return _as_number(cls, value, f"{cls.kind}(): {word} must be")


def categorical(
    *choices: Any, default: Any = None, when: Callable[[Any], bool] | None = None
) -> Any:
    """Declare a parameter that takes one of ``choices`` (numbers, strings or an IntEnum).

    The default is the first choice where none is named.
    """
    first = choices[0] if choices else None
    return Categorical(choices=choices, default=first if default is None else default, when=when)


def boolean(*, default: bool, when: Callable[[Any], bool] | None = None) -> Any:
    """Declare a parameter that is true or false."""
    if not isinstance(default, bool):
        raise SpaceError(f"boolean(): default must be True or False, found {default!r}")
    return Boolean(default=default, when=when)
