"""Arithmetic over columns of numbers, with the very bits of the same arithmetic on scalars.

`sweep.search.expressions` evaluates a text for one trial at a time; here the same text is
evaluated for many. NumPy's sums, products, quotients and roots are those of Python's
floats. Its powers, logarithms and exponentials may differ from them in the last bit, so
these are taken value by value, with Python's own.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sweep.schema import FloatArray1D

__all__ = ["ColumnNumber", "elementwise"]

Columns = Mapping[str, FloatArray1D]
ColumnNumber = Callable[[Columns, int], FloatArray1D]


def elementwise(node: ast.expr) -> ColumnNumber:
    """Return a function of columns from an expression that `sweep.search.expressions` accepted.

    Parameters
    ----------
    node : ast.expr
        Numbers, names, ``+ - * / **``, signs, and calls of known functions.

    Returns
    -------
    callable
        ``f(columns, n)`` with columns of shape (n,), float64, by name; returns an ndarray
        of shape (n,), float64. NaN in, or no answer, is NaN out.
    """
    if isinstance(node, ast.Constant):
        value = float(node.value)  # type: ignore[arg-type]
        return lambda columns, n: np.full(n, value)
    if isinstance(node, ast.Name):
        name = node.id
        return lambda columns, n: columns[name]
    if isinstance(node, ast.UnaryOp):
        inner = elementwise(node.operand)
        if isinstance(node.op, ast.USub):
            return lambda columns, n: -inner(columns, n)
        return inner
    if isinstance(node, ast.BinOp):
        return _applied(_BINARY[type(node.op)], (node.left, node.right))
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return _applied(_FUNCTIONS[node.func.id], tuple(node.args))


def _applied(function: Callable[..., FloatArray1D], nodes: tuple[ast.expr, ...]) -> ColumnNumber:
    parts = tuple(map(elementwise, nodes))

    def evaluate(columns: Columns, n: int) -> FloatArray1D:
        with np.errstate(all="ignore"):
            return function(*(part(columns, n) for part in parts))

    return evaluate


def _divide(a: FloatArray1D, b: FloatArray1D) -> FloatArray1D:
    out: FloatArray1D = np.full(len(a), np.nan)
    np.divide(a, b, out=out, where=b != 0.0)
    return out


def _by_value(function: Callable[..., object]) -> Callable[..., FloatArray1D]:
    """Return the function applied to one value after the other."""

    def one(*numbers: float) -> float:
        if any(map(math.isnan, numbers)):
            return math.nan
        try:
            result = function(*numbers)
        except (ArithmeticError, ValueError):
            return math.nan
        return math.nan if isinstance(result, complex) else float(result)  # type: ignore[arg-type]

    def evaluate(*columns: FloatArray1D) -> FloatArray1D:
        lists = [column.tolist() for column in columns]
        return np.array([one(*values) for values in zip(*lists, strict=True)], np.float64)

    return evaluate


def _extreme(better: Callable[..., Any]) -> Callable[..., FloatArray1D]:
    """Return Python's min or max: the first of equal values, which tells 0.0 from -0.0."""

    def evaluate(*columns: FloatArray1D) -> FloatArray1D:
        found = columns[0]
        unknown = np.isnan(found)
        for column in columns[1:]:
            unknown = unknown | np.isnan(column)
            found = np.where(better(column, found), column, found)
        return np.where(unknown, np.nan, found)

    return evaluate


_BINARY: Mapping[type[ast.operator], Callable[..., FloatArray1D]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: _divide,
    ast.Pow: _by_value(operator.pow),
}
_FUNCTIONS: Mapping[str, Callable[..., FloatArray1D]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": _by_value(math.log),
    "exp": _by_value(math.exp),
    "min": _extreme(operator.lt),
    "max": _extreme(operator.gt),
}
