"""The searched space: typed parameters, encoded as points.

A variant is a point: a float64 array, one number a parameter, the value of a real or an
integer, the index among the choices for a categorical or a boolean (false, true). Points are
what travels to workers and what identifies a variant, so each variant has one *canonical*
point: parameters that do not count under their condition hold their default.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import SpaceError
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.strategy.declare import Space
from sweep.strategy.parameters import Override, Parameter

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

    def restrict(self, name: str, override: Override) -> SearchSpace:
        """Return the space with another range for one parameter.

        Raises
        ------
        SpaceError
            If there is no such parameter, or the range does not fit it.
        """
        try:
            place = self.index(name)
            parameter = self.parameters[place].restricted(override)
        except SpaceError as error:
            if not override.where:
                raise
            raise SpaceError(f"{override.where}: {error}") from None
        parameters = (*self.parameters[:place], parameter, *self.parameters[place + 1 :])
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

    # -- values and points -------------------------------------------------------------

    def encode(self, values: Mapping[str, Any]) -> FloatArray1D:
        """Return the canonical point of ``values``; missing ones take their defaults.

        Raises
        ------
        SpaceError
            For an unknown name, or a value of the wrong type or outside its range.
        """
        for name in values:
            self.index(name)
        point = np.array(
            [p.encode(values.get(p.name, p.default)) for p in self.parameters],
            dtype=np.float64,
        )
        return self.canonical(point)

    def decode(self, point: FloatArray1D) -> dict[str, Any]:
        """Return ``{name: value}`` of a point, with Python values of each parameter's type."""
        return {p.name: p.decode([float(point[i])])[0] for i, p in enumerate(self.parameters)}

    @cached_property
    def defaults(self) -> FloatArray1D:
        """The point of the declared defaults."""
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

    def active_names(self, point: FloatArray1D) -> tuple[str, ...]:
        """Names of the parameters that count in a canonical point."""
        if not self.conditional:
            return self.names
        values = self.decode(point)
        return tuple(n for i, n in enumerate(self.names) if self.is_active(i, values))

    def canonical(self, point: FloatArray1D) -> FloatArray1D:
        """Return the point with parameters that do not count set to their defaults."""
        if not self.conditional:
            return point
        point = point.copy()
        values = self.decode(point)
        for i, parameter in enumerate(self.parameters):
            if not self.is_active(i, values):
                point[i] = parameter.encode(parameter.default)
                values[parameter.name] = parameter.default
        return point

    def is_valid(self, point: FloatArray1D) -> bool:
        """Whether the strategy's constraint between parameters holds.

        Raises
        ------
        SpaceError
            If the user's ``valid`` raises.
        """
        if not self.constrained:
            return True
        values = self.decode(point)
        try:
            return bool(self.params(**values).valid())
        except Exception as error:
            raise SpaceError(
                f"Params.valid() raised {type(error).__name__}: {error} at {values}"
            ) from None

    # -- many points -------------------------------------------------------------------

    def decoded(self, points: FloatArray2D) -> list[list[Any]]:
        """Return the values of many points, a list for each parameter; see `decode`.

        Parameters
        ----------
        points : ndarray of shape (n_points, n_params), float64
        """
        return [p.decode(points[:, i].tolist()) for i, p in enumerate(self.parameters)]

    def valid_points(self, points: FloatArray2D) -> NDArray[np.bool_]:
        """Return for each point whether the strategy's constraint holds; see `is_valid`.

        Without a constraint nothing is called; with one, ``valid`` is called once for each point.

        Parameters
        ----------
        points : ndarray of shape (n_points, n_params), float64
        """
        if not self.constrained:
            return np.ones(len(points), bool)
        columns = self.decoded(points)
        if self._probed:
            probe = self._probe()
            values, valid = vars(probe), self.params.valid
            try:
                holds = []
                for point in zip(*columns, strict=True):
                    values.update(zip(self.names, point, strict=True))
                    holds.append(bool(valid(probe)))
                return np.array(holds, bool)
            except Exception:  # raised again below, with what it was
                pass
        return np.array([self.is_valid(point) for point in points], bool)

    def settled(self, points: FloatArray2D) -> tuple[FloatArray2D, NDArray[np.bool_]]:
        """Return canonical points, and which parameters count in each; see `canonical`.

        Parameters
        ----------
        points : ndarray of shape (n_points, n_params), float64

        Returns
        -------
        points : ndarray of shape (n_points, n_params), float64
        active : ndarray of shape (n_points, n_params), bool
        """
        active = np.ones(points.shape, bool)
        if not self.conditional:
            return points, active
        points = points.copy()
        columns: list[list[Any]] = []
        for i, p in enumerate(self.parameters):
            if p.when is not None:
                active[:, i] = self._active(i, columns, len(points))
                points[~active[:, i], i] = p.encode(p.default)
            columns.append(p.decode(points[:, i].tolist()))
        return points, active

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
                counts = []
                for point in points:
                    values.update(zip(names, point, strict=True))
                    counts.append(bool(when(probe)))
                return np.array(counts, bool)
            except Exception:  # raised again below, with what it was
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
        """Return the distinct valid points among some cells of a grid, in its order.

        Cells that differ only in parameters that do not count are one point; the cell in
        which those are at their first level stands for it.

        Parameters
        ----------
        levels : list of ndarray, float64
            Of each parameter; the last varies fastest.
        begin, end : int
            Cells, the latter excluded.

        Returns
        -------
        ndarray of shape (n_points, n_params), float64
        """
        points = np.empty((end - begin, len(levels)))
        digits = np.empty((end - begin, len(levels)), np.int64)
        index = np.arange(begin, end)
        for i in reversed(range(len(levels))):
            index, digits[:, i] = np.divmod(index, len(levels[i]))
            points[:, i] = levels[i][digits[:, i]]
        if self.conditional:
            points, active = self.settled(points)
            points = points[(active | (digits == 0)).all(axis=1)]
        return points[self.valid_points(points)] if self.constrained else points

    # -- size --------------------------------------------------------------------------

    def size(self) -> int | None:
        """Return an upper bound on the number of distinct points, or None if infinite.

        The product of the level counts, before conditions and the constraint.
        """
        total = 1
        for p in self.parameters:
            if p.count is None:
                return None
            total *= p.count
        return total

    def exact_size(self, limit: int = 200_000) -> int | None:
        """Return the number of distinct valid points, or None if infinite or above ``limit``."""
        bound = self.size()
        if bound is None or bound > limit:
            return None
        if not self.conditional and not self.constrained:
            return bound
        levels = [p.all_levels() for p in self.parameters]
        block = 1 << 14
        return sum(
            len(self.cells(levels, begin, min(begin + block, bound)))
            for begin in range(0, bound, block)
        )
