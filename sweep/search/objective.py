"""The scores of trials: metrics turned into objective values and violations.

An objective is a metric, an arithmetic expression over metrics, or a function in a
user's file, which is given the metrics by name::

    def robust(metrics):
        return metrics["sharpe"] - 2.0 * metrics["max_drawdown"]

Where variants are evaluated on many paths, expressions may hold functionals over them
(`sweep.search.path_functionals`); everything else is of all paths together.
"""

from __future__ import annotations

import inspect
import math
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError, StudyFileError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.search.expressions import (
    Condition,
    Expression,
    ObjectiveRef,
    compile_expression,
    parse_condition,
    parse_objective_ref,
)
from sweep.search.path_functionals import PathTerm, split_terms
from sweep.stats.metrics import METRIC_NAMES

__all__ = [
    "ObjectiveSettings",
    "Objectives",
    "Scores",
    "compile_condition",
    "compile_objective",
    "load_function",
]


class ObjectiveSettings(Protocol):
    """The settings of a study that state its objectives (`sweep.study.file.spec.StudySection`)."""

    @property
    def objective(self) -> tuple[str, ...]:
        """Metrics, expressions, ``"file.py:function"``."""

    @property
    def directions(self) -> tuple[str, ...]:
        """``"maximize"`` or ``"minimize"`` for each objective."""

    @property
    def constraints(self) -> tuple[str, ...]:
        """Conditions on metrics."""


class Scores(NamedTuple):
    """Objective values and violations of trials.

    Attributes
    ----------
    values : ndarray of shape (n_trials, n_objectives), float64
        NaN where undefined.
    violations : ndarray of shape (n_trials, n_constraints), float64
        At most 0 where a constraint holds, infinite where it is undefined.
    reasons : ndarray of shape (n_trials,), object
        Why the first undefined value is; None where all values are finite.
    raised : ndarray of shape (n_trials,), bool
        Whether a user's function raised or returned no number.
    """

    values: FloatArray2D
    violations: FloatArray2D
    reasons: NDArray[np.object_]
    raised: NDArray[np.bool_]


#: ``why(metric, places)``: why a metric is undefined for some of the trials, as texts.
Why = Callable[[str, IntArray1D], NDArray[np.object_]]


class Objectives:
    """A study's objectives and constraints, compiled.

    Parameters
    ----------
    settings : ObjectiveSettings
        The study's section.
    execute : bool, optional
        Whether files that hold functions may be executed. Otherwise those objectives are
        undefined, and everything else is as ever.

    Attributes
    ----------
    labels : tuple of str
        Short names for tables: the text, or the function's name.
    directions : tuple of str
    constraints : tuple of Condition
    terms : tuple of PathTerm
        Functionals over paths that objectives and constraints hold.

    Raises
    ------
    StudyFileError
        If a user's file cannot be loaded or lacks the function; the text names file and
        line.
    """

    def __init__(self, settings: ObjectiveSettings, *, execute: bool = True) -> None:
        self.directions = settings.directions
        terms: list[PathTerm] = []
        self.constraints: tuple[Condition, ...] = tuple(
            compile_condition(text, terms) for text in settings.constraints
        )
        self._objectives = tuple(_compiled(text, terms, execute) for text in settings.objective)
        self.terms = tuple(terms)
        self.labels = tuple(objective.label for objective in self._objectives)

    @property
    def reads(self) -> tuple[str, ...]:
        """Metrics that objectives and constraints look at; all, for a user's function."""
        names: set[str] = set()
        for objective in self._objectives:
            names.update(objective.reads)
        for condition in self.constraints:
            names.update(condition.left.names, condition.right.names)
        return tuple(name for name in METRIC_NAMES if name in names)

    @property
    def path_reads(self) -> tuple[str, ...]:
        """Metrics of each path that functionals over paths look at."""
        names = {name for term in self.terms for name in term.inner.names}
        return tuple(name for name in METRIC_NAMES if name in names)

    def over_paths(
        self, paths: Sequence[Mapping[str, FloatArray1D]]
    ) -> tuple[dict[str, FloatArray1D], dict[str, NDArray[np.object_]]]:
        """Return the functionals over paths of some trials.

        Parameters
        ----------
        paths : sequence of Mapping of str to ndarray of shape (n_paths,), float64
            For each trial, the metrics that `path_reads` names.

        Returns
        -------
        values : dict of str to ndarray of shape (n_trials,), float64
            By the names of the terms; they go among the metrics that `scores` takes.
        reasons : dict of str to ndarray of shape (n_trials,), object
            Why a value is NaN.
        """
        values = {term.name: np.full(len(paths), np.nan) for term in self.terms}
        reasons = {term.name: np.full(len(paths), "", object) for term in self.terms}
        for k, metrics in enumerate(paths):
            for term in self.terms:
                n = len(metrics[term.inner.names[0]])
                values[term.name][k], reasons[term.name][k] = term(metrics, n)
        return values, reasons

    def scores(self, metrics: Mapping[str, FloatArray1D], n: int, why: Why) -> Scores:
        """Return the scores of trials.

        Parameters
        ----------
        metrics : Mapping of str to ndarray of shape (n,), float64
            Those that `reads` names, NaN where undefined.
        n : int
            Number of trials.
        why : callable
            Why a metric is undefined for some of them.
        """
        values = np.empty((n, len(self._objectives)))
        reasons = np.full(n, None, object)
        raised = np.zeros(n, bool)
        for j, objective in enumerate(self._objectives):
            values[:, j], undefined, failed = objective.column(metrics, n, why)
            first = reasons == None  # noqa: E711 - of each element
            reasons[first] = undefined[first]
            raised |= failed
        violations = np.empty((n, len(self.constraints)))
        for j, condition in enumerate(self.constraints):
            violations[:, j] = condition.violations(metrics, n)
        return Scores(values, violations, reasons, raised)


class _Calculated:
    """An objective that is a metric or an expression."""

    def __init__(self, expression: Expression, shown: Mapping[str, str]) -> None:
        self.label = expression.text
        self.reads = expression.names
        self._expression = expression
        self._shown = shown

    def column(
        self, metrics: Mapping[str, FloatArray1D], n: int, why: Why
    ) -> tuple[FloatArray1D, NDArray[np.object_], NDArray[np.bool_]]:
        values = self._expression.column(metrics, n)
        reasons = np.full(n, None, object)
        none_raised = np.zeros(n, bool)
        bad = ~np.isfinite(values)
        if not bad.any():
            return values, reasons, none_raised
        reasons[bad] = f"{self.label} is infinite"
        reasons[np.isnan(values)] = f"{self.label} is undefined"
        for name in reversed(self._expression.names):
            places = np.flatnonzero(bad & np.isnan(metrics[name]))
            reasons[places] = f"{self._shown.get(name, name)} is undefined: " + why(name, places)
        return np.where(bad, np.nan, values), reasons, none_raised


class _Written:
    """An objective that is a user's function."""

    reads = METRIC_NAMES

    def __init__(self, reference: ObjectiveRef, execute: bool) -> None:
        self.label = reference.function
        self._path = reference.path
        self._function = load_function(reference) if execute else _not_executed
        self._line = self._function.__code__.co_firstlineno

    def column(
        self, metrics: Mapping[str, FloatArray1D], n: int, why: Why
    ) -> tuple[FloatArray1D, NDArray[np.object_], NDArray[np.bool_]]:
        values, reasons, raised = np.empty(n), np.full(n, None, object), np.zeros(n, bool)
        lists = [metrics[name].tolist() for name in METRIC_NAMES]
        for k, trial in enumerate(zip(*lists, strict=True)):
            values[k], reasons[k], raised[k] = self._value(
                dict(zip(METRIC_NAMES, trial, strict=True))
            )
        return values, reasons, raised

    def _value(self, metrics: dict[str, float]) -> tuple[float, str | None, bool]:
        """Return a trial's value, why it is undefined, and whether the function failed."""
        try:
            value = self._function(metrics)
        except Exception as error:
            line = _line_in(error, self._path) or self._line
            return math.nan, f"{self._path}:{line}: {type(error).__name__}: {error}", True
        try:
            number = float(value)
        except (TypeError, ValueError):
            kind = type(value).__name__
            where = f"{self._path}:{self._line}"
            return math.nan, f"{where}: {self.label} must return a number, found {kind}", True
        if math.isfinite(number):
            return number, None, False
        return math.nan, f"{self.label} returned {number}", False


def _not_executed(metrics: Mapping[str, float]) -> float:
    """Stand for a function whose file is not to be executed."""
    raise InputError("the function is not executed, as its study is not trusted")


def _compiled(text: str, terms: list[PathTerm], execute: bool) -> _Calculated | _Written:
    reference = parse_objective_ref(text)
    if reference is not None:
        return _Written(reference, execute)
    expression, shown = compile_objective(text, terms)
    return _Calculated(expression, shown)


def compile_objective(
    text: str, terms: list[PathTerm] | None = None
) -> tuple[Expression, dict[str, str]]:
    """Compile an objective that is a metric or an expression.

    Parameters
    ----------
    text : str
    terms : list of PathTerm, optional
        Its functionals over paths are added.

    Returns
    -------
    expression : Expression
        With the user's text; it reads terms by their names.
    shown : dict of str to str
        The terms' texts by their names.

    Raises
    ------
    InputError
        If it does not compile.
    """
    rest, split = _without_terms(text, terms)
    with _in_user_words(split):
        expression = compile_expression(rest, (*METRIC_NAMES, *(t.name for t in split)))
    return replace(expression, text=text.strip()), {t.name: t.text for t in split}


def compile_condition(text: str, terms: list[PathTerm] | None = None) -> Condition:
    """Compile a requirement; see `compile_objective`."""
    rest, split = _without_terms(text, terms)
    with _in_user_words(split):
        condition = parse_condition(rest, (*METRIC_NAMES, *(t.name for t in split)))
    return replace(condition, text=text.strip())


def _without_terms(text: str, terms: list[PathTerm] | None) -> tuple[str, tuple[PathTerm, ...]]:
    rest, split = split_terms(text, METRIC_NAMES, first=0 if terms is None else len(terms))
    if terms is not None:
        terms.extend(split)
    return rest, split


@contextmanager
def _in_user_words(terms: Sequence[PathTerm]) -> Iterator[None]:
    """Let messages show functionals as they were written."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for term in terms:
            text = text.replace(term.name, term.text)
        raise InputError(text) from None


def load_function(reference: ObjectiveRef) -> types.FunctionType:
    """Load a user-written objective by path.

    Raises
    ------
    StudyFileError
        If the file is missing or does not run, has no such function, or the function
        does not take one argument.
    """
    path = reference.path
    module = types.ModuleType(f"sweep_objective_{Path(path).stem}")
    module.__file__ = path
    try:
        source = Path(path).read_text(encoding="utf-8")
        code = compile(source, path, "exec")
        # Registered before it runs: dataclasses and typing look modules up by name.
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
    except FileNotFoundError:
        raise StudyFileError(f"{path}: there is no such file for the objective") from None
    except SyntaxError as error:
        raise StudyFileError(f"{path}:{error.lineno or 1}: {error.msg}") from None
    except InputError:
        raise
    except Exception as error:
        line = _line_in(error, path) or 1
        raise StudyFileError(f"{path}:{line}: {type(error).__name__}: {error}") from None
    function = getattr(module, reference.function, None)
    if not isinstance(function, types.FunctionType):
        found = sorted(n for n, v in vars(module).items() if isinstance(v, types.FunctionType))
        raise StudyFileError(
            f"{path}: has no function {reference.function}(metrics); "
            f"it has {', '.join(found) or 'none'}"
        )
    try:
        inspect.signature(function).bind({})
    except TypeError:
        raise StudyFileError(
            f"{path}:{function.__code__.co_firstlineno}: {reference.function} must take one "
            f"argument, the metrics by name; found {inspect.signature(function)}"
        ) from None
    return function


def _line_in(error: BaseException, path: str) -> int | None:
    """Return the line of the user's file in which an exception arose."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    return lines[-1] if lines else None
