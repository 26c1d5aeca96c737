"""A strategy run as plain Python and watched: what it returns, where it raises."""

from __future__ import annotations

import inspect
import traceback
import types
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from sweep.errors import StrategyError
from sweep.strategy.declare import Strategy, definition_line, field_kinds
from sweep.text import known_names

__all__ = ["Watch"]

_ADVICE = {
    "ZeroDivisionError": "guard the division: compiled code goes on with inf, NaN or any integer",
    "IndexError": "an array is indexed beyond its length",
    "AttributeError": "a tuple cannot be changed: return a new State(...) instead",
    "OverflowError": "keep the value in range: compiled code gives inf here",
    "ValueError": "keep the argument in the function's range: compiled code gives NaN here",
}
_OWNERS = {"_SweepParams": "params", "Tick": "a tick", "AccountState": "account"}


class Watch:
    """Checks what ``start`` and ``step`` of a plain kernel return. A context manager.

    Parameters
    ----------
    strategy : Strategy
    module : module
        Of `sweep.kernel.plain_kernel`; its functions are replaced within the block.

    Attributes
    ----------
    calls : int
        Calls of ``step`` so far in the block.
    advice : str
        What to do about what `explain` was asked about last.
    """

    def __init__(self, strategy: Strategy, module: types.ModuleType) -> None:
        self.strategy = strategy
        self.calls = 0
        self.advice = ""
        self._module = module
        self._kinds = field_kinds(strategy.state)
        self._before: dict[str, Any] = {}

    def __enter__(self) -> Watch:
        """Put the checks around the functions."""
        self.calls = 0
        for name, check in (("start", self._check_start), ("step", self._check_step)):
            function = self._before[name] = getattr(self._module, name)
            setattr(self._module, name, self._watched(function, check))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the checks away."""
        for name, function in self._before.items():
            setattr(self._module, name, function)

    def explain(self, error: Exception) -> str:
        """Return an exception in the user's terms: file, line, what, at which call."""
        if isinstance(error, StrategyError):
            return str(error)
        path = self.strategy.path
        own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        # The generated part stands after the user's text, under the same name.
        last = len(self.strategy.source.splitlines())
        lines = [f.lineno for f in own if f.lineno is not None and f.lineno <= last]
        line = lines[-1] if lines else 1
        kind = type(error).__name__
        shown = self.strategy.source.splitlines()[line - 1].strip() if lines else ""
        self.advice = "" if shown.startswith("raise") else _ADVICE.get(kind, "")
        fields = getattr(getattr(error, "obj", None), "_fields", None)
        if isinstance(error, AttributeError) and fields is not None:
            what = _OWNERS.get(type(error.obj).__name__, type(error.obj).__name__)
            known = known_names(str(error.name), fields)
            return f"{path}:{line}: {what} has no {error.name!r}{known}\n    {shown}"
        at = f" at tick {self.calls} of its run" if self.calls else ""
        code = f"\n    {shown}" if shown else ""
        return f"{path}:{line}: raised {kind}: {error}{at}{code}"

    def _watched(
        self, function: Callable[..., Any], check: Callable[[Any], None]
    ) -> Callable[..., Any]:
        plain = getattr(function, "py_func", function)

        def watched(**given: Any) -> Any:
            self.calls += check == self._check_step
            result = plain(**given)
            check(result)
            return result

        watched.__signature__ = inspect.signature(plain)  # type: ignore[attr-defined]
        return watched

    def _fail(self, name: str, text: str, advice: str) -> None:
        self.advice = advice
        line = _return_line(self.strategy.source, name)
        raise StrategyError(f"{self.strategy.path}:{line}: {text}")

    def _check_start(self, result: Any) -> None:
        state = self._module.State
        if not isinstance(result, state):
            self._fail(
                "start",
                f"start() must return State(...), found {_shown(result)}",
                "start() gives no order: the first decision is step()'s",
            )
        self._check_state("start", result)

    def _check_step(self, result: Any) -> None:
        state = self._module.State
        pair = isinstance(result, tuple) and not isinstance(result, state)
        if not pair or len(result) != 2:
            self._fail(
                "step",
                f"step() must return a State and a target position, found {_shown(result)}",
                "end it with: return State(...), target",
            )
        after, target = result
        if not isinstance(after, state):
            self._fail(
                "step",
                f"step() must return a State first, found {_shown(after)}",
                "end it with: return State(...), target",
            )
        self._check_state("step", after)
        if not _is_number(target):
            self._fail(
                "step",
                f"step() must return a number as its target position, found {_shown(target)}",
                "1.0 is long one contract, -1.0 short, 0.0 flat",
            )

    def _check_state(self, name: str, state: Any) -> None:
        for field, kind in self._kinds.items():
            problem = _problem(kind, getattr(state, field))
            if problem:
                self._fail(name, f"State.{field} is annotated {kind}, {problem[0]}", problem[1])


def _problem(kind: str, value: Any) -> tuple[str, str] | None:
    if kind == "ndarray":
        if not isinstance(value, np.ndarray):
            return f"but holds {_shown(value)}", "give it a NumPy array"
        if value.ndim != 1 or value.dtype not in (np.float64, np.int64):
            return (
                f"but holds {value.dtype} of shape {value.shape}",
                "arrays in State have one dimension, float64 or int64",
            )
        return None
    if not _is_number(value):
        return f"but holds {_shown(value)}", f"give it a {kind}"
    if kind == "int" and not isinstance(value, bool | int | np.bool_ | np.integer):
        return (
            f"but holds the float {float(value)!r}, which would be cut to {_cut(value)}",
            "annotate it float, or write int(...) where the cut is meant",
        )
    return None


def _cut(value: Any) -> str:
    return str(int(value)) if value - value == 0.0 else "nothing sensible"


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating)


def _shown(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"a tuple of {len(value)}"
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) < 60 else type(value).__name__


def _return_line(source: str, name: str) -> int:
    """Return the line of the function's last ``return``, or of the function."""
    first = definition_line(source, name)
    found = first
    for number, line in enumerate(source.splitlines()[first:], first + 1):
        if line and not line[0].isspace() and not line.startswith(("#", ")")):
            break
        if line.strip().startswith("return"):
            found = number
    return found
