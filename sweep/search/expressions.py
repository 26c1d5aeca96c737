"""Arithmetic over metric names, conditions on results, and filters of trials.

Texts such as ``"sharpe - 0.5 * max_drawdown"`` are parsed with `ast` and turned into
functions of columns, node by node. Only what is listed here has a meaning; nothing is
evaluated as Python, so a text from a study file cannot reach anything but the numbers it is
given.

Results have the bits of Python's arithmetic on floats. NumPy's sums, products, quotients and
roots are the same; its powers, logarithms and exponentials may differ in the last bit, so
these are taken value by value, with Python's own.

Undefined values are NaN and stay NaN: an operation without a finite-precision answer
(division by zero, the root of a negative number, overflow of a power) is NaN as well.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D
from sweep.text import did_you_mean

__all__ = [
    "Condition",
    "Expression",
    "ObjectiveRef",
    "RowFilter",
    "compile_expression",
    "parse_condition",
    "parse_objective_ref",
    "parse_where",
]

#: Longest text and deepest tree that are accepted: far beyond what anyone writes, and
#: far below Python's recursion limit.
MAX_LENGTH = 2000
MAX_DEPTH = 200

#: Columns of as many values each, by name: float64 arrays, or of filters any values.
Columns = Mapping[str, Sequence[Any] | FloatArray1D]
Number = Callable[[Columns, int], FloatArray1D]
Truth = Callable[[Columns, int], NDArray[np.bool_]]
Operand = Callable[[Columns, int], "Sequence[float | str] | FloatArray1D"]  # may hold bools

_COMPARE: Mapping[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
#: Of filters, where no column has that name; tables show booleans as yes and no.
_TRUTHS = {"true": True, "false": False, "yes": True, "no": False}


@dataclass(frozen=True)
class Expression:
    """A compiled arithmetic expression.

    Attributes
    ----------
    text : str
    names : tuple of str
        The names that it reads, sorted.
    """

    text: str
    names: tuple[str, ...]
    evaluate: Number = field(repr=False, compare=False)

    def column(self, columns: Mapping[str, FloatArray1D], n: int) -> FloatArray1D:
        """Return the values for ``n`` points, trials or paths at once.

        Parameters
        ----------
        columns : Mapping of str to ndarray of shape (n,), float64
            Every name that the expression reads.
        n : int

        Returns
        -------
        ndarray of shape (n,), float64
            NaN where a value that the expression reads is NaN.
        """
        return self.evaluate(columns, n)


@dataclass(frozen=True)
class Condition:
    """A requirement on results, such as ``max_drawdown < 0.2``.

    Attributes
    ----------
    text : str
    left, right : Expression
    operator : str
        ``"<"``, ``"<="``, ``">"`` or ``">="``.
    """

    text: str
    left: Expression
    operator: str
    right: Expression

    def violations(self, columns: Mapping[str, FloatArray1D], n: int) -> FloatArray1D:
        """Return by how much the condition is missed.

        Parameters
        ----------
        columns : Mapping of str to ndarray of shape (n,), float64
            Every name that the condition reads.
        n : int

        Returns
        -------
        ndarray of shape (n,), float64
            At most 0 where it holds, above 0 where it does not, as a share of the bound
            (the side without metrics, where there is one and it is not 0), so that
            violations of several conditions can be added. Infinite where a side is NaN.
        """
        left, right = self.left.column(columns, n), self.right.column(columns, n)
        low, high = (left, right) if self.operator in ("<", "<=") else (right, left)
        with np.errstate(all="ignore"):
            holds = low <= high if self.operator in ("<=", ">=") else low < high
            excess = low - high
            missed = excess / self._scales(left, right)
            met = np.where(missed > 0.0, 0.0, missed)
            # Equality misses a strict bound by nothing, and must still count as missed.
            not_met = np.where(missed < sys.float_info.min, sys.float_info.min, missed)
            violations = np.where(holds, met, not_met)
            violations = np.where(np.isfinite(excess), violations, np.where(holds, -1.0, np.inf))
            return np.where(np.isnan(left) | np.isnan(right), np.inf, violations)

    def _scales(self, left: FloatArray1D, right: FloatArray1D) -> FloatArray1D:
        bound = left if not self.left.names and self.right.names else right
        if self.left.names and self.right.names:
            return np.ones(len(bound))
        usable = (bound != 0.0) & np.isfinite(1.0 / bound)
        return np.where(usable, np.abs(bound), 1.0)


@dataclass(frozen=True)
class RowFilter:
    """A compiled filter of rows, such as ``trades >= 30 and state == "complete"``.

    Attributes
    ----------
    text : str
    names : tuple of str
        The columns that it reads, sorted.
    """

    text: str
    names: tuple[str, ...]
    test: Truth = field(repr=False, compare=False)

    def __call__(self, columns: Columns, n: int) -> NDArray[np.bool_]:
        """Return which of ``n`` rows pass.

        A comparison with a value that is None or NaN is false, ``!=`` included.

        Parameters
        ----------
        columns : Mapping of str to sequence
            Every column that the filter reads, with ``n`` numbers, texts, booleans or None.
        n : int

        Raises
        ------
        InputError
            If a text stands where a number is needed.
        """
        return self.test(columns, n)


@dataclass(frozen=True)
class ObjectiveRef:
    """A user-written objective: a function in a Python file.

    Attributes
    ----------
    path : str
    function : str
    """

    path: str
    function: str

    def __str__(self) -> str:
        """Return the text that `parse_objective_ref` reads back."""
        return f"{self.path}:{self.function}"


def parse_objective_ref(text: str) -> ObjectiveRef | None:
    """Return the reference that ``"file.py:function"`` spells, or None for another text.

    Raises
    ------
    InputError
        If the text names a Python file but no function in it.
    """
    if ".py" not in text:
        return None
    match = re.fullmatch(r"(?P<path>.+\.py):(?P<function>[^\W\d]\w*)", text.strip())
    if match is None:
        raise InputError(f'"{text}" must name a function in the file, as in "file.py:score"')
    return ObjectiveRef(match["path"], match["function"])


def compile_expression(text: str, names: Iterable[str]) -> Expression:
    """Compile an arithmetic expression over ``names``.

    Parameters
    ----------
    text : str
        Numbers, names, ``+ - * / **``, unary signs, parentheses, and the functions
        ``min max abs sqrt log exp``.
    names : iterable of str
        The names that have a value.

    Raises
    ------
    InputError
        If the text does not parse, holds anything else, or an unknown name.
    """
    compiler = _Compiler(text, names)
    evaluate = compiler.number(compiler.root, 0)
    return Expression(text.strip(), tuple(sorted(compiler.used)), evaluate)


def parse_condition(text: str, names: Iterable[str]) -> Condition:
    """Parse one requirement: an expression, ``< <= > >=``, and another expression.

    Raises
    ------
    InputError
        If the text is not one comparison, or a side of it does not compile.
    """
    compiler = _Compiler(text, names, equality="<= or >=", example="max_drawdown < 0.2")
    root = compiler.root
    example = f"expected one comparison such as {compiler.example}"
    if not isinstance(root, ast.Compare):
        compiler.fail(example, root)
    if len(root.ops) != 1:
        compiler.fail(f"{example}; write each bound as a condition of its own", root)
    sign = _COMPARE.get(type(root.ops[0]), ("",))[0]
    if sign not in ("<", "<=", ">", ">="):
        compiler.fail("a condition compares with <, <=, > or >=", root)
    sides = []
    for node in (root.left, root.comparators[0]):
        compiler.used = set()
        evaluate = compiler.number(node, 0)
        sides.append(Expression(ast.unparse(node), tuple(sorted(compiler.used)), evaluate))
    if not sides[0].names and not sides[1].names:
        compiler.fail("this compares two constants; name a metric", root)
    return Condition(text.strip(), sides[0], sign, sides[1])


def parse_where(text: str, names: Iterable[str]) -> RowFilter:
    """Compile a filter of rows.

    Parameters
    ----------
    text : str
        Comparisons (``< <= > >= == !=``, chained if you like) of expressions, text in
        quotes, ``true`` or ``yes``, ``false`` or ``no``; joined by ``and``, ``or``, ``not``.
        An expression that stands alone passes where it is not 0.
    names : iterable of str
        The columns of a row.

    Raises
    ------
    InputError
        If the text does not parse, holds anything else, or an unknown name.
    """
    example = "trades >= 30 and max_drawdown < 0.2"
    compiler = _Compiler(text, names, truths=_TRUTHS, example=example)
    test = compiler.truth(compiler.root, 0)
    return RowFilter(text.strip(), tuple(sorted(compiler.used)), test)


class _Compiler:
    """Turns the nodes of one text into functions of columns."""

    def __init__(
        self,
        text: str,
        names: Iterable[str],
        *,
        truths: Mapping[str, bool] | None = None,
        equality: str = "==",
        example: str = "sharpe - 2 * max_drawdown",
    ) -> None:
        self.text = text
        self.names = frozenset(names)
        self.truths = {n: v for n, v in (truths or {}).items() if n not in self.names}
        self.example = example
        self.used: set[str] = set()
        self.equality = equality
        self.root = self._parse()

    def fail(self, what: str, node: ast.AST | None = None) -> NoReturn:
        """Raise with the text, and the part of it that is wrong where that is shorter."""
        part = ast.get_source_segment(self.text.replace("\n", " "), node) if node else None
        at = f' at "{part}"' if part and part.strip() != self.text.strip() else ""
        raise InputError(f'"{self.text}"{at}: {what}')

    def _parse(self) -> ast.expr:
        if not self.text.strip():
            raise InputError("the expression is empty")
        if len(self.text) > MAX_LENGTH:
            raise InputError(f"the expression is longer than {MAX_LENGTH} characters")
        self.text = self.text.strip()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.text.replace("\n", " "), mode="eval").body
        except SyntaxError as error:
            self.fail(self._syntax(error))
        except (ValueError, RecursionError, MemoryError):
            self.fail("this cannot be parsed; it holds a null byte or nests too deeply")

    def _syntax(self, error: SyntaxError) -> str:
        if re.search(r"(?<![<>=!])=(?!=)", self.text):
            return f"use {self.equality} to compare"
        for wrong, right in (("&&", "and"), ("||", "or"), ("!", "not")):
            if re.search(re.escape(wrong) + r"(?!=)", self.text):
                return f"use {right} instead of {wrong}"
        # Python has no place for what is missing at the end.
        at = error.offset or len(self.text) + 1
        where = f"character {at}" if at <= len(self.text) else f"its end, character {at}"
        why = "" if error.msg.startswith("invalid syntax") else f", {error.msg}"
        return f"does not parse at {where}{why}; right would be: {self.example}"

    def number(self, node: ast.expr, depth: int) -> Number:
        """Compile a node that has a number."""
        if depth > MAX_DEPTH:
            self.fail("nests too deeply")
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            operand = self.number(node.operand, depth + 1)
            if isinstance(node.op, ast.UAdd):
                return operand
            return lambda columns, n: -operand(columns, n)
        if isinstance(node, ast.BinOp):
            operation = _BINARY.get(type(node.op))
            if operation is None:
                joined = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "**"}.get(type(node.op))
                self.fail(f"use {joined}" if joined else f"only {_ALLOWED} have a meaning", node)
            return self._applied(operation, (node.left, node.right), depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        self.fail(f"only {_ALLOWED} have a meaning here", node)

    def _constant(self, node: ast.Constant) -> Number:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            self.fail("expected a number", node)
        try:
            value = float(node.value)
        except OverflowError:
            self.fail("this number is too large", node)
        return lambda columns, n: np.full(n, value)

    def _name(self, node: ast.Name) -> Number:
        read = self._operand_name(node)

        def number(columns: Columns, n: int) -> FloatArray1D:
            values = read(columns, n)
            if isinstance(values, np.ndarray):
                return values
            for value in values:
                if isinstance(value, str):
                    self.fail(f'{node.id} is text here ("{value}"); compare it with == or !=', node)
            return np.array(values, np.float64)

        return number

    def _operand_name(self, node: ast.Name) -> Operand:
        name = node.id
        if name in self.truths:
            value = self.truths[name]
            return lambda columns, n: [value] * n
        if name not in self.names:
            names = sorted(self.names)
            if name in _FUNCTIONS:
                self.fail(f"{name} is a function; write {name}(...)", node)
            hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            self.fail(f"unknown name {name}{hint}")
        self.used.add(name)

        def read(columns: Columns, n: int) -> Sequence[float | str] | FloatArray1D:
            values = columns[name]
            numbers = isinstance(values, np.ndarray) and values.dtype == np.float64
            return values if numbers else list(map(_plain, values))

        return read

    def _call(self, node: ast.Call, depth: int) -> Number:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name is None or name not in _FUNCTIONS:
            self.fail(f"only the functions {', '.join(_FUNCTIONS)} can be called", node)
        wanted = "one or more values" if name in ("min", "max") else "one value"
        count = len(node.args)
        if node.keywords or count < 1 or (count > 1 and name not in ("min", "max")):
            self.fail(f"{name}() takes {wanted}", node)
        return self._applied(_FUNCTIONS[name], tuple(node.args), depth)

    def _applied(
        self, function: Callable[..., FloatArray1D], nodes: tuple[ast.expr, ...], depth: int
    ) -> Number:
        parts = tuple(self.number(node, depth + 1) for node in nodes)

        def evaluate(columns: Columns, n: int) -> FloatArray1D:
            with np.errstate(all="ignore"):
                return function(*(part(columns, n) for part in parts))

        return evaluate

    def truth(self, node: ast.expr, depth: int) -> Truth:
        """Compile a node that is true or false for a row."""
        if depth > MAX_DEPTH:
            self.fail("nests too deeply")
        if isinstance(node, ast.BoolOp):
            parts = tuple(self.truth(value, depth + 1) for value in node.values)
            join: Any = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return lambda columns, n: functools.reduce(join, (part(columns, n) for part in parts))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            part = self.truth(node.operand, depth + 1)
            return lambda columns, n: ~part(columns, n)
        if isinstance(node, ast.Compare):
            return self._comparison(node, depth)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            fixed = node.value
            return lambda columns, n: np.full(n, fixed)
        number = self.number(node, depth)

        def nonzero(columns: Columns, n: int) -> NDArray[np.bool_]:
            values = number(columns, n)
            passes: NDArray[np.bool_] = (values != 0.0) & ~np.isnan(values)
            return passes

        return nonzero

    def _comparison(self, node: ast.Compare, depth: int) -> Truth:
        signs = []
        for op in node.ops:
            if type(op) not in _COMPARE:
                self.fail("compare with <, <=, >, >=, == or !=", node)
            signs.append(_COMPARE[type(op)])
        operands = tuple(self._operand(n, depth + 1) for n in (node.left, *node.comparators))

        def compare(columns: Columns, n: int) -> NDArray[np.bool_]:
            values = [operand(columns, n) for operand in operands]
            passes = np.ones(n, bool)
            for i, (sign, function) in enumerate(signs):
                sides = zip(values[i], values[i + 1], strict=True)
                holds = [self._holds(a, sign, function, b, node) for a, b in sides]
                passes &= np.array(holds, bool)
            return passes

        return compare

    def _operand(self, node: ast.expr, depth: int) -> Operand:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bool):
            value = node.value
            return lambda columns, n: [value] * n
        if isinstance(node, ast.Name):
            return self._operand_name(node)
        return self.number(node, depth)

    def _truth_of(self, text: str, node: ast.AST) -> bool:
        """Return what a text in quotes says of a boolean, which would equal no text."""
        if text.lower() not in _TRUTHS:
            self.fail(f"compares a boolean with {text!r}; use yes or no", node)
        return _TRUTHS[text.lower()]

    def _holds(
        self,
        left: float | str,
        sign: str,
        function: Callable[[Any, Any], bool],
        right: float | str,
        node: ast.AST,
    ) -> bool:
        if any(isinstance(side, float) and math.isnan(side) for side in (left, right)):
            return False
        if isinstance(left, bool) and isinstance(right, str):
            right = self._truth_of(right, node)
        elif isinstance(left, str) and isinstance(right, bool):
            left = self._truth_of(left, node)
        if isinstance(left, str) != isinstance(right, str):
            if sign in ("==", "!="):
                return sign == "!="
            self.fail(f"compares text with a number: {left!r} {sign} {right!r}", node)
        return bool(function(left, right))


def _plain(value: Any) -> float | str:
    """Return a value as a float, a bool or a text; a missing one is NaN."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        return str(value)
    return bool(value) if isinstance(value, bool | np.bool_) else float(value)


# -- arithmetic on columns -------------------------------------------------------------


def _divide(a: FloatArray1D, b: FloatArray1D) -> FloatArray1D:
    out: FloatArray1D = np.full(len(a), np.nan)
    np.divide(a, b, out=out, where=b != 0.0)
    return out


def _by_value(function: Callable[..., object]) -> Callable[..., FloatArray1D]:
    """Return the function applied to one value after the other."""

    def one(*numbers: float) -> float:
        # x ** 0 and 1 ** x would lose a NaN.
        if any(map(math.isnan, numbers)):
            return math.nan
        try:
            result = function(*numbers)
        except (ArithmeticError, ValueError):
            return math.nan
        # A negative number to a fractional power is complex in Python.
        return math.nan if isinstance(result, complex) else float(result)  # type: ignore[arg-type]

    def evaluate(*columns: FloatArray1D) -> FloatArray1D:
        lists = [column.tolist() for column in columns]
        return np.array([one(*values) for values in zip(*lists, strict=True)], np.float64)

    return evaluate


def _extreme(better: Callable[..., Any]) -> Callable[..., FloatArray1D]:
    """Return Python's min or max: the first of equal values, which tells 0.0 from -0.0."""

    def evaluate(*columns: FloatArray1D) -> FloatArray1D:
        extreme = columns[0]
        undefined = np.isnan(extreme)
        for column in columns[1:]:
            undefined = undefined | np.isnan(column)
            extreme = np.where(better(column, extreme), column, extreme)
        return np.where(undefined, np.nan, extreme)

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
_ALLOWED = "numbers, names, + - * / **, parentheses, " + ", ".join(f"{f}()" for f in _FUNCTIONS)
