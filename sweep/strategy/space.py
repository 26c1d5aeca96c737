"""The searched space: typed parameters, encoded as rows of numbers.

A variant is a float64 row, one number a parameter: the value of a real or an integer,
the index among the choices for a categorical or a boolean (false, true). Rows are what travels
to workers and what identifies a variant, so each variant has one *canonical* row:
parameters that do not count under their condition hold their default.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import SpaceError
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.strategy.declare import Parameter, Space, check_parameter

__all__ = ["SearchSpace"]


@dataclass(frozen=True)
class SearchSpace:
    """The parameters of a strategy with the study's ranges.

    Attributes
    ----------
    parameters : tuple of Parameter
    params : type of Space
        The strategy's class, for its constraint and conditions.
    """

    parameters: tuple[Parameter, ...]
    params: type[Space]

    def __post_init__(self) -> None:
        for parameter in self.parameters:
            check_parameter(parameter, f"parameter {parameter.name}")

    @classmethod
    def of(cls, params: type[Space]) -> SearchSpace:
        """Return the space that a strategy declares."""
        return cls(params.parameters, params)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Parameter names, in order of declaration."""
        return tuple(p.name for p in self.parameters)

    @cached_property
    def conditional(self) -> bool:
        """Whether any parameter has a condition."""
        return any(p.when is not None for p in self.parameters)

    @cached_property
    def constrained(self) -> bool:
        """Whether the strategy states a constraint between parameters."""
        return self.params.valid is not Space.valid

    def restrict(
        self,
        name: str,
        *,
        low: float | None = None,
        high: float | None = None,
        step: float | None = None,
        log: bool | None = None,
        points: int | None = None,
        choices: tuple[Any, ...] | None = None,
        fixed: Any = None,
        default: Any = None,
        where: str = "",
    ) -> SearchSpace:
        """Return the space with another range for one parameter.

        Parameters
        ----------
        name : str
        low, high, step, log, points, choices, default : optional
            What replaces the strategy's own; see `Parameter`. Without a new default, one
            that falls outside the new range moves to the nearest value inside.
        fixed : optional
            The one value that the parameter keeps.
        where : str, optional
            Put in front of error messages.

        Raises
        ------
        SpaceError
            If there is no such parameter, or the range does not fit its kind.
        """
        try:
            place = self.index(name)
            p = self.parameters[place]
            if p.kind in ("categorical", "boolean"):
                q = _restrict_choices(p, (low, high, step, points), choices, fixed, default)
            else:
                q = _restrict_range(p, low, high, step, log, points, choices, fixed, default)
            check_parameter(q, f"parameter {name}")
        except SpaceError as error:
            raise SpaceError(f"{where}: {error}" if where else str(error)) from None
        parameters = (*self.parameters[:place], q, *self.parameters[place + 1 :])
        return SearchSpace(parameters, self.params)

    def index(self, name: str) -> int:
        """Return the position of a parameter, or raise `SpaceError` with the nearest name."""
        try:
            return self.names.index(name)
        except ValueError:
            near = difflib.get_close_matches(name, self.names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SpaceError(
                f"no parameter {name!r}{hint} There are: {', '.join(self.names)}"
            ) from None

    # -- values and rows ---------------------------------------------------------------

    def encode(self, values: Mapping[str, Any]) -> FloatArray1D:
        """Return the canonical row of ``values``; missing ones take their defaults.

        Raises
        ------
        SpaceError
            For an unknown name, or a value of the wrong type or outside its range.
        """
        for name in values:
            self.index(name)
        row = np.array(
            [encode_value(p, values.get(p.name, p.default)) for p in self.parameters],
            dtype=np.float64,
        )
        return self.canonical(row)

    def decode(self, row: FloatArray1D) -> dict[str, Any]:
        """Return ``{name: value}`` of a row, with Python values of each parameter's type."""
        return {p.name: decode_value(p, float(row[i])) for i, p in enumerate(self.parameters)}

    @cached_property
    def defaults(self) -> FloatArray1D:
        """The row of the declared defaults."""
        return self.encode({})

    def is_active(self, index: int, values: Mapping[str, Any]) -> bool:
        """Whether a parameter counts, given the values of those declared before it.

        Raises
        ------
        SpaceError
            If the user's condition raises.
        """
        parameter = self.parameters[index]
        if parameter.when is None:
            return True
        earlier = {p.name: values[p.name] for p in self.parameters[:index]}
        try:
            return bool(parameter.when(self.params(**earlier)))
        except Exception as error:
            raise SpaceError(
                f"parameter {parameter.name}: its condition raised {type(error).__name__}: "
                f"{error} at {earlier}; a condition may use parameters declared before it"
            ) from None

    def active_names(self, row: FloatArray1D) -> tuple[str, ...]:
        """Names of the parameters that count in a canonical row."""
        if not self.conditional:
            return self.names
        values = self.decode(row)
        return tuple(n for i, n in enumerate(self.names) if self.is_active(i, values))

    def canonical(self, row: FloatArray1D) -> FloatArray1D:
        """Return the row with parameters that do not count set to their defaults."""
        if not self.conditional:
            return row
        row = row.copy()
        values = self.decode(row)
        for i, parameter in enumerate(self.parameters):
            if not self.is_active(i, values):
                row[i] = encode_value(parameter, parameter.default)
                values[parameter.name] = parameter.default
        return row

    def is_valid(self, row: FloatArray1D) -> bool:
        """Whether the strategy's constraint between parameters holds.

        Raises
        ------
        SpaceError
            If the user's ``valid`` raises.
        """
        if not self.constrained:
            return True
        values = self.decode(row)
        try:
            return bool(self.params(**values).valid())
        except Exception as error:
            raise SpaceError(
                f"Params.valid() raised {type(error).__name__}: {error} at {values}"
            ) from None

    # -- many rows ---------------------------------------------------------------------

    def decoded(self, rows: FloatArray2D) -> list[list[Any]]:
        """Return the values of many rows, a list for each parameter; see `decode`.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_params), float64
        """
        return [_decoded(p, rows[:, i]) for i, p in enumerate(self.parameters)]

    def valid_rows(self, rows: FloatArray2D) -> NDArray[np.bool_]:
        """Return for each row whether the strategy's constraint holds; see `is_valid`.

        Without a constraint nothing is called; with one, ``valid`` is called once a row.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_params), float64
        """
        if not self.constrained:
            return np.ones(len(rows), bool)
        columns = self.decoded(rows)
        if self._probed:
            probe = self._probe()
            values, valid = vars(probe), self.params.valid
            try:
                found = []
                for point in zip(*columns, strict=True):
                    values.update(zip(self.names, point, strict=True))
                    found.append(bool(valid(probe)))
                return np.array(found, bool)
            except Exception:  # what it was is found out, and said, below
                pass
        return np.array([self.is_valid(row) for row in rows], bool)

    def settled(self, rows: FloatArray2D) -> tuple[FloatArray2D, NDArray[np.bool_]]:
        """Return canonical rows, and which parameters count in each; see `canonical`.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_params), float64

        Returns
        -------
        rows : ndarray of shape (n_rows, n_params), float64
        active : ndarray of shape (n_rows, n_params), bool
        """
        active = np.ones(rows.shape, bool)
        if not self.conditional:
            return rows, active
        rows = rows.copy()
        columns: list[list[Any]] = []
        for i, p in enumerate(self.parameters):
            if p.when is not None:
                active[:, i] = self._active(i, columns, len(rows))
                rows[~active[:, i], i] = encode_value(p, p.default)
            columns.append(_decoded(p, rows[:, i]))
        return rows, active

    def _active(self, index: int, earlier: list[list[Any]], n: int) -> NDArray[np.bool_]:
        """Return for which of ``n`` points a parameter counts, given the earlier values."""
        names = self.names[:index]
        when = self.parameters[index].when
        assert when is not None
        points: list[tuple[Any, ...]] = [()] * n
        if earlier:
            points = list(zip(*earlier, strict=True))
        if self._probed:
            probe = self._probe()
            values = vars(probe)
            try:
                found = []
                for point in points:
                    values.update(zip(names, point, strict=True))
                    found.append(bool(when(probe)))
                return np.array(found, bool)
            except Exception:  # what it was is found out, and said, below
                pass
        return np.array(
            [self.is_active(index, dict(zip(names, point, strict=True))) for point in points], bool
        )

    @cached_property
    def _probed(self) -> bool:
        """Whether one object can stand for all points in turn: it is a plain `Space`."""
        cls = self.params
        plain = (
            cls.__init__ is Space.__init__
            and cls.__setattr__ is object.__setattr__
            and cls.__getattribute__ is object.__getattribute__
        )
        return plain and not any(hasattr(getattr(cls, name), "__set__") for name in self.names)

    def _probe(self) -> Space:
        return self.params()

    def cells(self, levels: list[FloatArray1D], begin: int, end: int) -> FloatArray2D:
        """Return the distinct valid rows among some cells of a grid, in its order.

        Cells that differ only in parameters that do not count are one row; the cell in
        which those are at their first level stands for it.

        Parameters
        ----------
        levels : list of ndarray, float64
            Of each parameter; the last varies fastest.
        begin, end : int
            Cells, the latter excluded.

        Returns
        -------
        ndarray of shape (n_rows, n_params), float64
        """
        rows = np.empty((end - begin, len(levels)))
        digits = np.empty((end - begin, len(levels)), np.int64)
        index = np.arange(begin, end)
        for i in reversed(range(len(levels))):
            index, digits[:, i] = np.divmod(index, len(levels[i]))
            rows[:, i] = levels[i][digits[:, i]]
        if self.conditional:
            rows, active = self.settled(rows)
            rows = rows[(active | (digits == 0)).all(axis=1)]
        return rows[self.valid_rows(rows)] if self.constrained else rows

    # -- levels ------------------------------------------------------------------------

    def levels(self, index: int, points: int | None = None) -> FloatArray1D:
        """Return the encoded grid levels of a parameter.

        Parameters
        ----------
        index : int
        points : int, optional
            Number of levels for an unstepped real that does not say its own.

        Returns
        -------
        ndarray of shape (n_levels,), float64
            Ascending and distinct.

        Raises
        ------
        SpaceError
            If the parameter is an unstepped real and nothing says how many levels.
        """
        p = self.parameters[index]
        count = level_count(p)
        if p.kind in ("categorical", "boolean"):
            return np.arange(len(p.choices), dtype=np.float64)
        assert p.low is not None and p.high is not None
        thinned = p.points or (points if count is None else None)
        if count is not None and (thinned is None or thinned >= count):
            return np.array([stepped(p, k) for k in range(count)], dtype=np.float64)
        if thinned is None:
            raise SpaceError(
                f"parameter {p.name}: a grid needs levels; give it a step or points, "
                f"or the sampler a number of points"
            )
        if thinned == 1 or p.low == p.high:
            return np.array([p.low], dtype=np.float64)
        if p.log:
            values = np.exp(np.linspace(math.log(p.low), math.log(p.high), thinned))
            values[0], values[-1] = p.low, p.high
        else:
            values = np.linspace(p.low, p.high, thinned)
        if p.step is not None:
            return np.unique(
                np.array([stepped(p, nearest_level(p, float(v))) for v in values], np.float64)
            )
        return values

    def size(self) -> int | None:
        """Return an upper bound on the number of distinct rows, or None if infinite.

        The product of the level counts, before conditions and the constraint.
        """
        total = 1
        for p in self.parameters:
            count = level_count(p)
            if count is None:
                return None
            total *= count
        return total

    def exact_size(self, limit: int = 200_000) -> int | None:
        """Return the number of distinct valid rows, or None if infinite or above ``limit``."""
        bound = self.size()
        if bound is None or bound > limit:
            return None
        if not self.conditional and not self.constrained:
            return bound
        levels = [np.array(_all_levels(p), np.float64) for p in self.parameters]
        block = 1 << 14
        return sum(
            len(self.cells(levels, begin, min(begin + block, bound)))
            for begin in range(0, bound, block)
        )


def _restrict_choices(
    p: Parameter,
    numbers: tuple[Any, ...],
    choices: tuple[Any, ...] | None,
    fixed: Any,
    default: Any,
) -> Parameter:
    if any(n is not None for n in numbers):
        raise SpaceError(f"parameter {p.name}: takes a list of {list(p.choices)}, not a range")
    wanted = choices if fixed is None else (fixed,)
    kept = p.choices
    if wanted is not None:
        kept = tuple(p.choices[int(encode_value(p, value))] for value in wanted)
    start = default if default is not None else p.default if p.default in kept else kept[0]
    return replace(p, choices=kept, default=start)


def _restrict_range(
    p: Parameter,
    low: float | None,
    high: float | None,
    step: float | None,
    log: bool | None,
    points: int | None,
    choices: tuple[Any, ...] | None,
    fixed: Any,
    default: Any,
) -> Parameter:
    if choices is not None:
        choices = tuple(sorted(choices))
        gaps = {round(b - a, 12) for a, b in itertools.pairwise(choices)}
        if len(choices) == 1:
            fixed = choices[0]
        elif len(gaps) == 1 and 0.0 not in gaps:
            low, high, step = choices[0], choices[-1], next(iter(gaps))
        else:
            raise SpaceError(
                f"parameter {p.name}: the values {list(choices)} are not evenly spaced; "
                f"use a range with a step, or make the parameter a categorical"
            )
    if fixed is not None:
        low = high = default = fixed
        step = p.step if p.kind == "integer" else None
    if fixed is not None and (
        isinstance(fixed, (bool, str)) or not isinstance(fixed, (int, float))
    ):
        raise SpaceError(f"parameter {p.name}: expected a number or a range, found {fixed!r}")
    for word, value in (("low", low), ("high", high), ("step", step), ("default", default)):
        if value is None:
            continue
        if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
            raise SpaceError(f"parameter {p.name}: {word} must be a number, found {value!r}")
        if p.kind == "integer" and value != int(value):
            raise SpaceError(f"parameter {p.name}: {word} must be a whole number, found {value!r}")
    q = replace(
        p,
        low=p.low if low is None else float(low),
        high=p.high if high is None else float(high),
        step=(p.step if low is None and high is None and points is None else None)
        if step is None
        else float(step),
        log=p.log if log is None else log,
        points=p.points if points is None else points,
    )
    if q.kind == "integer" and q.step is None:
        q = replace(q, step=1)
    assert q.low is not None and q.high is not None
    start = float(p.default if default is None else default)
    if default is None:
        start = min(max(start, q.low), q.high)
        if q.step is not None and q.low < q.high:
            start = stepped(q, nearest_level(q, start))
    return replace(q, default=int(start) if q.kind == "integer" else start)


def level_count(p: Parameter) -> int | None:
    """Return the number of values that a parameter can take, or None if infinite."""
    if p.kind in ("categorical", "boolean"):
        return len(p.choices)
    assert p.low is not None and p.high is not None
    if p.low == p.high:
        return 1
    if p.step is None:
        return None
    return round((p.high - p.low) / p.step) + 1


def _all_levels(p: Parameter) -> list[float]:
    """Return every encoded value of a finite parameter, whatever a grid takes of them."""
    count = level_count(p) or 0
    if p.kind in ("categorical", "boolean"):
        return [float(k) for k in range(count)]
    return [stepped(p, k) for k in range(count)]


def stepped(p: Parameter, k: int) -> float:
    """Return the ``k``-th level ``low + k * step``, the one spelling of its bits."""
    assert p.low is not None and p.high is not None
    # Rounding may carry the last level past the bound.
    return float(min(p.low + k * (p.step or 0.0), p.high))


def nearest_level(p: Parameter, value: float) -> int:
    """Return the number of the stepped level nearest to ``value``."""
    assert p.low is not None and p.step is not None
    count = level_count(p)
    assert count is not None
    return min(max(round((value - p.low) / p.step), 0), count - 1)


def encode_value(p: Parameter, value: Any) -> float:
    """Return the number that stands for ``value`` in a row.

    Raises
    ------
    SpaceError
        If the value has the wrong type or lies outside the range or between levels.
    """
    if p.kind == "boolean":
        if not isinstance(value, (bool, np.bool_)):
            raise SpaceError(f"parameter {p.name}: expected true or false, found {value!r}")
        if bool(value) not in p.choices:
            raise SpaceError(f"parameter {p.name}: is {p.choices[0]} in this study, not {value}")
        return float(p.choices.index(bool(value)))
    if p.kind == "categorical":
        for i, choice in enumerate(p.choices):
            if choice == value and isinstance(choice, str) == isinstance(value, str):
                return float(i)
        raise SpaceError(f"parameter {p.name}: {value!r} is none of {list(p.choices)}")
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float, np.number)):
        raise SpaceError(f"parameter {p.name}: expected a number, found {value!r}")
    number = float(value)
    assert p.low is not None and p.high is not None
    if p.kind == "integer" and number != math.floor(number):
        raise SpaceError(f"parameter {p.name}: expected a whole number, found {value!r}")
    if p.step is not None and p.low < p.high and math.isfinite(number):
        level = stepped(p, nearest_level(p, number))
        if p.low <= number <= p.high and abs(level - number) > 1e-9 * max(abs(number), p.step):
            raise SpaceError(
                f"parameter {p.name}: {number:g} is not on the steps of {p.step:g} "
                f"from {p.low:g}; the nearest is {level:g}"
            )
        if abs(level - number) <= 1e-9 * max(abs(number), p.step):
            number = level
    if not p.low <= number <= p.high:
        raise SpaceError(f"parameter {p.name}: {number:g} lies outside {p.low:g}..{p.high:g}")
    return number


def _decoded(p: Parameter, column: FloatArray1D) -> list[Any]:
    """Return the values that a column of numbers stands for, see `decode_value`."""
    if p.kind in ("categorical", "boolean"):
        return [p.choices[k] for k in column.astype(np.int64).tolist()]
    if p.kind == "integer":
        return list(map(int, column.tolist()))
    found: list[Any] = column.tolist()
    return found


def decode_value(p: Parameter, number: float) -> Any:
    """Return the value that ``number`` stands for, in the parameter's own type."""
    if p.kind in ("categorical", "boolean"):
        return p.choices[int(number)]
    return int(number) if p.kind == "integer" else number


def parse_value(p: Parameter, text: str) -> Any:
    """Return the value that a command line or a CSV spells as ``text``.

    Raises
    ------
    SpaceError
        If the text does not spell a value of the parameter's type.
    """
    word = text.strip()
    if p.kind == "boolean":
        lowered = word.lower()
        if lowered in ("true", "1", "yes", "on"):
            return True
        if lowered in ("false", "0", "no", "off"):
            return False
        raise SpaceError(f"parameter {p.name}: expected true or false, found {word!r}")
    if p.kind == "categorical":
        for choice in p.choices:
            if str(choice) == word or (not isinstance(choice, str) and _same(choice, word)):
                return choice
        raise SpaceError(f"parameter {p.name}: {word!r} is none of {list(p.choices)}")
    try:
        number = float(word)
    except ValueError:
        raise SpaceError(f"parameter {p.name}: expected a number, found {word!r}") from None
    return int(number) if p.kind == "integer" and number == int(number) else number


def _same(choice: Any, word: str) -> bool:
    try:
        return bool(float(choice) == float(word))
    except ValueError:
        return False
