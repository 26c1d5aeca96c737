"""What a user's strategy file imports, and how such a file is loaded.

A strategy is one Python file, identified by its content. It declares its parameters in
a subclass of :class:`Space` and holds pure functions whose arguments are matched by
name::

    class Params(Space):
        fast: float = real(5, 200, log=True, default=20)
        slow: float = real(20, 2000, log=True, default=100)

        def valid(self):
            return self.fast < self.slow


    class State(NamedTuple):
        fast: float
        slow: float


    def start(tick, params): ...          # -> State, at the first tick
    def step(state, tick, params): ...    # -> (State, target position), from then on
    def warmup(params): ...               # optional: ticks before decisions count
    def constants(params): ...            # optional: NamedTuple, once per variant
    def features(ticks, params): ...      # optional: NamedTuple of arrays
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sweep.errors import SpaceError, StrategyError
from sweep.strategy.parameters import Parameter

__all__ = ["AccountState", "Space", "Strategy", "load_strategy"]


class AccountState(NamedTuple):
    """The account before the decision at a tick, handed to ``step`` as ``account``.

    Attributes
    ----------
    position : float
        Contracts held; negative when short.
    entry_price : float
        Average fill price of the open position, 0 when flat.
    entry_ts : int
        Stamp of the fill that opened the round trip, 0 when flat.
    equity : float
        Cash and the marked position, at this tick.
    """

    position: float
    entry_price: float
    entry_ts: int
    equity: float


class Space:
    """Base of a strategy's ``Params``: declared parameters, bound to values.

    Parameters
    ----------
    **values
        By parameter name; the rest take their defaults.

    Attributes
    ----------
    parameters : tuple of Parameter
        In order of declaration, those of base classes first.
    """

    parameters: typing.ClassVar[tuple[Parameter, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = {
            name: replace(value, name=name)
            for name, value in vars(cls).items()
            if isinstance(value, Parameter)
        }
        for name in declared:
            if name in ("parameters", "valid") or name.startswith("_"):
                raise SpaceError(f"{cls.__name__}.{name}: this name is taken; choose another")
        inherited = tuple(p for p in cls.parameters if p.name not in declared)
        cls.parameters = inherited + tuple(declared.values())

    def __init__(self, **values: Any) -> None:
        names = {p.name for p in self.parameters}
        for name in values:
            if name not in names:
                raise SpaceError(f"no parameter {name!r}; there are {', '.join(sorted(names))}")
        for parameter in self.parameters:
            setattr(self, parameter.name, values.get(parameter.name, parameter.default))

    def valid(self) -> bool:
        """Whether these values belong together; override to state a constraint."""
        return True

    def __repr__(self) -> str:
        inner = ", ".join(f"{p.name}={getattr(self, p.name)!r}" for p in self.parameters)
        return f"{type(self).__name__}({inner})"


#: Functions of a strategy file, with the arguments that each may take by name.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "start": ("tick", "params", "constants", "features"),
    "step": ("state", "tick", "params", "constants", "features", "account"),
    "warmup": ("params",),
    "lookback": ("params",),
    "constants": ("params",),
    "features": ("ticks", "params"),
}


@dataclass(frozen=True)
class Strategy:
    """A loaded strategy file.

    Attributes
    ----------
    path : str
        Where it was read from; for messages only.
    name : str
        The file's stem.
    source : str
        The text that was executed; this alone identifies the strategy.
    digest : str
        Hash of the source.
    module : module
    params : type of Space
    state, constants, features : type of NamedTuple or None
        The tuples' classes, found from the functions' names: ``State``, ``Constants``,
        ``Features``.
    """

    path: str
    name: str
    source: str
    digest: str
    module: types.ModuleType
    params: type[Space]
    state: type[Any]
    constants: type[Any] | None
    features: type[Any] | None

    def function(self, name: str) -> Callable[..., Any] | None:
        """Return the file's function of that name, or None."""
        return getattr(self.module, name, None)

    def arguments(self, name: str) -> tuple[str, ...]:
        """Return the argument names of one of the file's functions."""
        function = getattr(self.module, name)
        return tuple(inspect.signature(function).parameters)


def source_digest(source: str) -> str:
    """Return the hash that identifies a strategy's text."""
    return hashlib.blake2b(source.encode(), digest_size=16).hexdigest()


def load_strategy(path: str | Path) -> Strategy:
    """Load a strategy file by its path.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Strategy

    Raises
    ------
    StrategyError
        If the file is missing, does not run, or breaks the contract of this module. The
        text names the file, the line, and what was expected.
    """
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StrategyError(f"{path}: no such strategy file") from None
    except IsADirectoryError:
        raise StrategyError(
            f"{path}: is a folder; name the strategy file in it, such as {path / 'strategy.py'}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StrategyError(f"{path}: cannot be read as a Python file: {error}") from None
    return strategy_from_source(source, str(path))


def strategy_from_source(source: str, path: str) -> Strategy:
    """Load a strategy from its text; ``path`` is for messages. See `load_strategy`."""
    digest = source_digest(source)
    module = types.ModuleType(f"sweep_strategy_{digest}")
    module.__file__ = path
    try:
        code = compile(source, path, "exec")
        # Registered before it runs: dataclasses and typing look modules up by name.
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
    except SyntaxError as error:
        raise StrategyError(f"{path}:{error.lineno}: {error.msg}") from None
    except SpaceError as error:
        raise StrategyError(f"{path}:{_line_of(error, path)}: {error}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # SystemExit too: a file that ends the program on import is the user's mistake.
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = "; a strategy is one file: it may import installed packages, not its neighbours"
        raise StrategyError(
            f"{path}:{_line_of(error, path)}: {type(error).__name__}: {error}{hint}"
        ) from None
    return _inspect(module, source, path, digest)


def _line_of(error: BaseException, path: str) -> int:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return (lines[-1] or 1) if lines else 1


def definition_line(source: str, name: str) -> int:
    """Return the line on which a top-level function or class is defined, or 1."""
    for number, line in enumerate(source.splitlines(), 1):
        if line.startswith((f"def {name}(", f"def {name} (", f"class {name}(", f"class {name}:")):
            return number
    return 1


def _inspect(module: types.ModuleType, source: str, path: str, digest: str) -> Strategy:
    def fail(name: str, text: str) -> typing.NoReturn:
        raise StrategyError(f"{path}:{definition_line(source, name)}: {text}")

    params = getattr(module, "Params", None)
    if not (isinstance(params, type) and issubclass(params, Space)):
        fail("Params", "expected a class Params(Space) that declares the parameters")
    state: Any = getattr(module, "State", None)
    if not _is_named_tuple(state):
        fail("State", "expected a class State(NamedTuple) that holds the strategy's state")
    for name in ("start", "step"):
        if not inspect.isfunction(_plain(getattr(module, name, None))):
            wanted = ", ".join(ARGUMENTS[name][:3] if name == "step" else ARGUMENTS[name][:2])
            fail(name, f"expected a function {name}({wanted})")
    for name, allowed in ARGUMENTS.items():
        function = getattr(module, name, None)
        if function is None:
            continue
        if not callable(function):
            fail(name, f"{name} must be a function, found {type(function).__name__}")
        given = tuple(inspect.signature(_plain(function)).parameters)
        for argument in given:
            if argument not in allowed:
                fail(
                    name,
                    f"{name}() takes an argument {argument!r}; "
                    f"it may take {', '.join(allowed)} (matched by name)",
                )
        for argument in given:
            if argument in ("constants", "features") and not hasattr(module, argument):
                fail(name, f"{name}() asks for {argument}, but the file has no {argument}()")
    for owner, cls in (("constants", "Constants"), ("features", "Features")):
        if hasattr(module, owner) and not _is_named_tuple(getattr(module, cls, None)):
            fail(owner, f"{owner}() must return a class {cls}(NamedTuple) of this file")
    _check_fields(state, "State", ("float", "int", "bool", "ndarray"), fail)
    if hasattr(module, "constants"):
        _check_fields(module.Constants, "Constants", ("float", "int", "bool"), fail)
    return Strategy(
        path=path,
        name=Path(path).stem,
        source=source,
        digest=digest,
        module=module,
        params=params,
        state=state,
        constants=module.Constants if hasattr(module, "constants") else None,
        features=module.Features if hasattr(module, "features") else None,
    )


def _plain(function: Any) -> Any:
    return getattr(function, "py_func", function)


def _is_named_tuple(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def field_kinds(cls: type[Any]) -> dict[str, str]:
    """Return ``{field: "float" | "int" | "bool" | "ndarray" | other text}`` of a tuple class."""
    kinds: dict[str, str] = {}
    annotations = dict(getattr(cls, "__annotations__", {}))
    for name in cls._fields:
        annotation = annotations.get(name)
        if isinstance(annotation, str):
            text = annotation
        elif isinstance(annotation, typing.ForwardRef):
            text = annotation.__forward_arg__
        else:
            origin = typing.get_origin(annotation) or annotation
            text = getattr(origin, "__name__", str(origin))
        head = text.split("[")[0].split(".")[-1]
        kinds[name] = "ndarray" if head in ("ndarray", "NDArray") else head
    return kinds


def _check_fields(
    cls: type[Any], name: str, allowed: tuple[str, ...], fail: Callable[[str, str], None]
) -> None:
    for field, kind in field_kinds(cls).items():
        if kind not in allowed:
            fail(
                name,
                f"{name}.{field} is annotated {kind}; expected one of "
                f"{', '.join('np.ndarray' if a == 'ndarray' else a for a in allowed)}",
            )
