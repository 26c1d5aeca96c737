"""Functionals over paths within objectives: ``quantile(net_profit, 0.05) - costs``.

A term such as ``quantile(net_profit, 0.05)`` is one number from the metrics that a variant
has on each of many paths; everything else is of all paths together. `split_terms`
takes the terms out of a text and leaves names in their place, so that the rest is an
expression like any other.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from sweep.errors import InputError
from sweep.schema import FloatArray1D
from sweep.search.expressions import Expression, compile_expression
from sweep.stats.functionals import FUNCTIONALS, Functional
from sweep.stats.metrics import METRICS
from sweep.text import missing_value

__all__ = ["PathTerm", "has_terms", "split_terms"]

#: Placeholders are this and a number; no metric begins so.
_PREFIX = "_over_paths_"

#: Functionals that take low values for bad ones, and what to write of a metric for which
#: they are good.
_OF_WHAT_IS_HIGH = {
    "cvar": "cvar(-{0}, {1:g}), the mean of its highest",
    "mean_minus_errors": "mean_minus_errors(-{0}, {1:g}), which is better the higher it is",
    "probability_of_loss": "probability_above({0}, NUMBER)",
}


@dataclass(frozen=True)
class PathTerm:
    """One functional over paths.

    Attributes
    ----------
    name : str
        Stands for it in the expression around it.
    text : str
        As the user wrote it.
    functional : `sweep.stats.functionals.Functional`
    inner : Expression
        What is taken on each path.
    """

    name: str
    text: str
    functional: Functional
    inner: Expression

    @property
    def low(self) -> bool:
        """Whether it is of a metric alone that is better the lower it is."""
        metric = METRICS.get(self.inner.text)
        return metric is not None and metric.direction == "minimize"

    def __call__(self, metrics: Mapping[str, FloatArray1D], n_paths: int) -> tuple[float, str]:
        """Return the term's value over paths, and why it has none.

        Parameters
        ----------
        metrics : Mapping of str to ndarray of shape (n_paths,), float64
            Those that the inner expression reads, NaN where undefined.
        n_paths : int

        Returns
        -------
        value : float
            Of a single path: its own value (a loss for ``cvar``, 0 or 1 for a probability),
            so that one path can be compared with another.
        reason : str
            Empty where there is a value.
        """
        values = self.inner.column(metrics, n_paths)
        infinite = np.isinf(values)
        if infinite.any():
            return math.nan, f"{self.inner.text} is infinite on {infinite.sum()} paths"
        if n_paths == 1 and self.functional.name in ("mean", "mean_minus_errors"):
            value = float(values[0])
            return value, "" if math.isfinite(value) else f"{self.inner.text} is undefined"
        missing = int(np.isnan(values).sum())
        if missing and self.low:
            # Without a value is worst, and for this metric worst is high.
            result = self.functional.of(np.where(np.isnan(values), math.inf, values))
            if math.isinf(result.value):
                return math.nan, missing_value(missing, n_paths, "replicate")
        else:
            result = self.functional.of(values)
        if math.isfinite(result.value):
            return result.value, ""
        return math.nan, result.reason or "it has no value"


def has_terms(text: str) -> bool:
    """Whether a text calls a functional over paths; False where it does not parse."""
    try:
        return any(_is_term(node) for node in ast.walk(_parse(text)))
    except InputError:
        return False


def split_terms(
    text: str, names: Iterable[str], *, first: int = 0
) -> tuple[str, tuple[PathTerm, ...]]:
    """Take the functionals over paths out of a text.

    Parameters
    ----------
    text : str
        An expression, or a condition of two.
    names : iterable of str
        Of metrics.
    first : int, optional
        Number of the first placeholder.

    Returns
    -------
    text : str
        The same where there is none; otherwise with placeholders.
    terms : tuple of PathTerm

    Raises
    ------
    InputError
        If a functional has not its arguments, or one stands within another.
    """
    if not has_terms(text):
        return text, ()
    splitter = _Splitter(text, tuple(names), first)
    tree = splitter.visit(_parse(text))
    return ast.unparse(tree), tuple(splitter.terms)


class _Splitter(ast.NodeTransformer):
    def __init__(self, text: str, names: tuple[str, ...], first: int) -> None:
        self.text, self.names, self.first = text, names, first
        self.terms: list[PathTerm] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if not _is_term(node):
            return self.generic_visit(node)
        assert isinstance(node.func, ast.Name)
        call = ast.unparse(node)
        takes = FUNCTIONALS[node.func.id]
        n_arguments = 1 if takes is None else 2
        if node.keywords or len(node.args) != n_arguments:
            example = f"{node.func.id}(net_profit{', ' + takes if takes else ''})"
            self._fail(call, f"expected {example}")
        if any(_is_term(part) for part in ast.walk(node.args[0])):
            self._fail(call, "a functional over paths cannot stand within another")
        argument = self._number(node.args[1], call, takes) if takes else None
        inner = compile_expression(ast.unparse(node.args[0]), self.names)
        if not inner.names:
            self._fail(call, "names no metric")
        try:
            functional = Functional(node.func.id, argument)
        except InputError as error:
            self._fail(call, str(error))
        name = f"{_PREFIX}{self.first + len(self.terms)}"
        term = PathTerm(name, call, functional, inner)
        if term.low and functional.name in _OF_WHAT_IS_HIGH:
            instead = _OF_WHAT_IS_HIGH[functional.name].format(inner.text, functional.argument)
            self._fail(call, f"{inner.text} is better the lower it is; write {instead}")
        self.terms.append(term)
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def _number(self, node: ast.expr, call: str, takes: str) -> float:
        try:
            value = ast.literal_eval(node)
            number = math.nan if isinstance(value, bool | str) else float(value)
        except (ValueError, TypeError, OverflowError):
            number = math.nan
        if math.isnan(number):
            self._fail(call, f"expected {takes} after the comma, found {ast.unparse(node)}")
        return number

    def _fail(self, part: str, what: str) -> NoReturn:
        at = f' at "{part}"' if part != self.text.strip() else ""
        raise InputError(f'"{self.text}"{at}: {what}')


def _is_term(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in FUNCTIONALS
    )


def _parse(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip().replace("\n", " "), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f'"{text}" does not parse') from None
