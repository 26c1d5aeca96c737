"""From a strategy and its parameters to a compiled batch call, cached on disk.

Numba does not cache a function that closes over another one or takes one as an
argument, and a cached function that calls into another file keeps the old callee when
that file changes. So each kernel is a module of its own: the strategy's source, a
generated part that adapts its functions, and the text of `sweep.loop.run_batch`, in a
folder named by the hash of everything that it was made from. One process compiles it
under a lock; workers load it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import os
import re
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np

from sweep import fills, loop, schema
from sweep.errors import StrategyError
from sweep.fills import CARRY, FILL, TERMS
from sweep.schema import ROW, FloatArray1D, FloatArray2D, Ticks
from sweep.space import SearchSpace
from sweep.strategy import Strategy, definition_line, field_kinds

__all__ = ["Kernel", "KernelRef", "build_kernel", "kernel_text", "load_kernel", "plain_kernel"]

_CORE = ("begin_run", "close_period", "end_spell", "finish_row", "settle")
_STATUS = ("STATUS_BAD_ORDER", "STATUS_OK", "STATUS_RUINED")
_MARK = "# --- generated behind the strategy's own text ---"


@dataclass(frozen=True)
class KernelRef:
    """Where a compiled kernel lies. Small enough to travel with every task.

    Attributes
    ----------
    path : str
        The generated module.
    strategy_path : str
        The user's file, for messages.
    n_floats, n_ints : int
        Fields of the strategy's state, by type, as a carry stores them.
    resumable : bool
        Whether the state can be carried from one call to the next (no arrays in it).
    needs_sizes : bool
        Whether the strategy reads ``bid_size`` or ``ask_size``.
    features : tuple of str
        Names of the feature arrays, in order.
    """

    path: str
    strategy_path: str
    n_floats: int
    n_ints: int
    resumable: bool
    needs_sizes: bool
    features: tuple[str, ...]


@dataclass(frozen=True)
class Kernel:
    """A loaded kernel: the compiled call, and what is asked of a variant beforehand.

    Attributes
    ----------
    ref : KernelRef
    run : callable
        `sweep.loop.run_batch` with the strategy's functions in it.
    params : callable
        ``params(row) -> named tuple`` of a variant's parameters, as ``step`` sees them.
    warmup : callable
        ``warmup(params) -> int``, in ticks.
    module : module
    source : str
        The module's text, for the lines in messages.
    """

    ref: KernelRef
    run: Callable[..., None]
    params: Callable[[FloatArray1D], Any]
    warmup: Callable[[Any], int]
    module: types.ModuleType
    source: str

    def features(self, ticks: Ticks, params: Any) -> tuple[Any, ...]:
        """Return the feature arrays over ``ticks``, checked and read-only.

        Raises
        ------
        StrategyError
            If the user's function raises or returns arrays of the wrong kind.
        """
        if not self.ref.features:
            return (_NOTHING,)
        path = self.ref.strategy_path
        line = definition_line(self.source, "features")
        try:
            found = _call(
                self.module.features,
                {"ticks": ticks, "params": params},
            )
        except Exception as error:
            where = _user_line(error, self.ref.path) or line
            raise StrategyError(
                f"{path}:{where}: features() raised {type(error).__name__}: {error} "
                f"at {repr(params).removeprefix('_SweepParams')}"
            ) from None
        if not isinstance(found, self.module.Features):
            raise StrategyError(
                f"{path}:{line}: features() must return Features(...), found {type(found).__name__}"
            )
        return tuple(
            _feature(values, name, len(ticks.ts), f"{path}:{line}")
            for name, values in zip(self.ref.features, found, strict=True)
        )


def _feature(values: Any, name: str, n_ticks: int, where: str) -> np.ndarray[Any, Any]:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.shape != (n_ticks,):
        raise StrategyError(
            f"{where}: feature {name} has shape {array.shape}; expected one value for each of "
            f"the {n_ticks} ticks"
        )
    array = array.view()
    array.flags.writeable = False
    return array


_NOTHING = np.zeros(1)
_NOTHING.flags.writeable = False


def _call(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    plain = getattr(function, "py_func", function)
    return function(**{name: given[name] for name in inspect.signature(plain).parameters})


# -- text ------------------------------------------------------------------------------


def kernel_text(strategy: Strategy, space: SearchSpace) -> str:
    """Return the text of the kernel module for a strategy and the order of its parameters."""
    parts = [
        strategy.source.rstrip("\n"),
        "",
        "",
        _MARK,
        "from collections import namedtuple as _sweep_namedtuple",
        "from typing import Any as _sweep_Any",
        "import numpy as _sweep_np",
        *(f"from sweep.fills import {name} as _sweep_{name}" for name in _CORE),
        *(f"from sweep.schema import {name} as _sweep_{name}" for name in _STATUS),
        "from sweep.schema import Tick as _SweepTick",
        "from sweep.strategy import AccountState as _SweepAccount",
        "",
        *_params_text(space),
        *_constants_text(strategy),
        *_state_text(strategy),
        *_features_text(strategy),
        *_step_text(strategy),
        "",
        _loop_text(),
        "",
    ]
    return "\n".join(parts)


def _loop_text() -> str:
    """Return the loop's text under names that no strategy uses for its own."""
    text = inspect.getsource(loop.run_batch).rstrip("\n")
    names = "|".join((*_CORE, *_STATUS, "Any", "np"))
    return re.sub(rf"\b({names})\b", r"_sweep_\1", text).replace("run_batch", "_sweep_run")


def _params_text(space: SearchSpace) -> list[str]:
    lines = [f"_SweepParams = _sweep_namedtuple('_SweepParams', {list(space.names)!r})"]
    casts = []
    for i, p in enumerate(space.parameters):
        if p.kind == "real":
            casts.append(f"float(p[{i}])")
        elif p.kind == "integer":
            casts.append(f"int(p[{i}])")
        elif p.kind == "boolean" and p.choices == (False, True):
            casts.append(f"p[{i}] != 0.0")
        else:
            declared = next(q for q in space.params.parameters if q.name == p.name).choices
            places = [declared.index(choice) for choice in p.choices]
            numeric = not isinstance(p.choices[0], str)
            floats = numeric and any(isinstance(c, float) for c in p.choices)
            pick = f"Params.parameters[{_place(space, p.name)}].choices[j]"
            pick = f"float({pick})" if floats else pick
            lines.append(f"_SWEEP_CHOICES_{i} = tuple({pick} for j in {places!r})")
            casts.append(f"_SWEEP_CHOICES_{i}[int(p[{i}])]")
    body = ", ".join(casts) + ("," if len(casts) == 1 else "")
    return [*lines, "", "", "def _sweep_params(p):", f"    return _SweepParams({body})", ""]


def _place(space: SearchSpace, name: str) -> int:
    return [q.name for q in space.params.parameters].index(name)


def _constants_text(strategy: Strategy) -> list[str]:
    lines = ["", "def _sweep_constants(p):"]
    if strategy.constants is None:
        lines.append("    return 0")
    else:
        call = ", ".join("p" for _ in strategy.arguments("constants"))
        casts = _casts(field_kinds(strategy.constants), "k")
        lines += [f"    k = constants({call})", f"    return Constants({casts})"]
    lines += ["", "", "def _sweep_warmup(p):"]
    if strategy.function("warmup") is None:
        lines.append("    return 0")
    else:
        call = ", ".join("p" for _ in strategy.arguments("warmup"))
        lines.append(f"    return max(int(warmup({call})), 0)")
    return [*lines, ""]


def _casts(kinds: dict[str, str], name: str) -> str:
    wrap = {"float": "float({})", "int": "int({})", "bool": "bool({})", "ndarray": "{}"}
    return ", ".join(wrap[kind].format(f"{name}.{field}") for field, kind in kinds.items())


def _state_text(strategy: Strategy) -> list[str]:
    kinds = field_kinds(strategy.state)
    pack, unpack = [], []
    n_floats = n_ints = 0
    for field, kind in kinds.items():
        if kind == "float":
            pack.append(f"    floats[{n_floats}] = state.{field}")
            unpack.append(f"floats[{n_floats}]")
            n_floats += 1
        elif kind in ("int", "bool"):
            pack.append(f"    ints[{n_ints}] = state.{field}")
            unpack.append(f"ints[{n_ints}]" + (" != 0" if kind == "bool" else ""))
            n_ints += 1
        else:
            unpack.append(f"_sweep_np.empty(0, _sweep_np.{_array_dtype(strategy, field)})")
    return [
        "",
        "def _sweep_cast(state):",
        f"    return State({_casts(kinds, 'state')})",
        "",
        "",
        "def _sweep_pack(state, floats, ints):",
        *(pack or ["    pass"]),
        "",
        "",
        "def _sweep_unpack(floats, ints):",
        f"    return State({', '.join(unpack)})",
        "",
    ]


def _array_dtype(strategy: Strategy, field: str) -> str:
    annotation = strategy.state.__annotations__[field]
    return "int64" if "int" in str(annotation) else "float64"


def _features_text(strategy: Strategy) -> list[str]:
    if strategy.features is None:
        return ["", "def _sweep_features(features, i):", "    return 0", ""]
    values = ", ".join(f"features[{j}][i]" for j in range(len(strategy.features._fields)))
    return ["", "def _sweep_features(features, i):", f"    return Features({values})", ""]


def _step_text(strategy: Strategy) -> list[str]:
    quote = "ts, bid, ask, mid, spread, bid_size, ask_size"
    given = {
        "state": "state",
        "tick": f"_SweepTick({quote})",
        "params": "p",
        "constants": "k",
        "features": "_sweep_features(features, i)",
        "account": "_SweepAccount(position, entry_price, entry_ts, equity)",
    }
    start = ", ".join(f"{a}={given[a]}" for a in strategy.arguments("start"))
    step = ", ".join(f"{a}={given[a]}" for a in strategy.arguments("step"))
    return [
        "",
        f"def _sweep_start({quote}, p, k, features, i):",
        f"    return _sweep_cast(start({start}))",
        "",
        "",
        "def _sweep_step(",
        f"    state, {quote}, p, k, features, i, position, entry_price, entry_ts, equity",
        "):",
        f"    state, target = step({step})",
        "    return _sweep_cast(state), target + 0.0",  # float() takes no boolean in Numba
        "",
    ]


def _state_counts(strategy: Strategy) -> tuple[int, int, bool]:
    kinds = list(field_kinds(strategy.state).values())
    return kinds.count("float"), kinds.count("int") + kinds.count("bool"), "ndarray" not in kinds


# -- compilation -----------------------------------------------------------------------


def kernels_folder() -> Path:
    """Return the folder of compiled kernels: ``$SWEEP_CACHE/kernels`` or the user's cache."""
    root = os.environ.get("SWEEP_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sweep"
    )
    return Path(root) / "kernels"


@functools.cache
def _own_digest() -> str:
    """Return a hash of Sweep's own compiled text and of what compiles it."""
    digest = hashlib.blake2b(digest_size=16)
    for module in (fills, loop, schema, sys.modules[__name__]):
        digest.update(Path(str(module.__file__)).read_bytes())
    features = importlib.util.find_spec("sweep.features")
    if features is not None and features.origin is not None:
        digest.update(Path(features.origin).read_bytes())
    digest.update(f"{numba.__version__} {np.__version__} {sys.version_info[:3]}".encode())
    return digest.hexdigest()


def build_kernel(strategy: Strategy, space: SearchSpace) -> KernelRef:
    """Compile the kernel of a strategy, or find it in the cache.

    Parameters
    ----------
    strategy : Strategy
    space : SearchSpace
        Fixes the order and the types of the parameters.

    Returns
    -------
    KernelRef

    Raises
    ------
    StrategyError
        If the strategy does not compile; the text names its line in the user's terms.
    """
    from filelock import FileLock

    text = kernel_text(strategy, space)
    key = hashlib.blake2b((_own_digest() + text).encode(), digest_size=16).hexdigest()
    folder = _writable(kernels_folder() / key)
    path = folder / "kernel.py"
    n_floats, n_ints, resumable = _state_counts(strategy)
    ref = KernelRef(
        path=str(path),
        strategy_path=strategy.path,
        n_floats=n_floats,
        n_ints=n_ints,
        resumable=resumable,
        needs_sizes=_reads_sizes(strategy.source),
        features=() if strategy.features is None else strategy.features._fields,
    )
    with FileLock(str(folder / "lock")):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            part = folder / f"kernel.{os.getpid()}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        load_kernel(ref)
    return ref


def _reads_sizes(source: str) -> bool:
    """Whether a strategy reads the sizes of a tick: as an attribute, not in a comment."""
    attributes = {n.attr for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)}
    return bool(attributes & {"bid_size", "ask_size"})


def _writable(folder: Path) -> Path:
    """Return ``folder``, or one for this process alone where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        warnings.warn(
            f"the kernel cache {folder.parent} cannot be used ({error.strerror}); "
            f"kernels are compiled anew for this run",
            RuntimeWarning,
            stacklevel=3,
        )
        return Path(_temporary()) / folder.name


@functools.cache
def _temporary() -> str:
    import atexit
    import shutil

    root = tempfile.mkdtemp(prefix="sweep-kernels-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    os.makedirs(root, exist_ok=True)
    return root


_LOADED: dict[str, Kernel] = {}


def load_kernel(ref: KernelRef) -> Kernel:
    """Return the kernel at ``ref``; loaded once in a process, compiled only if it must be.

    Raises
    ------
    StrategyError
        If the strategy does not compile.
    """
    kernel = _LOADED.get(ref.path)
    if kernel is None:
        kernel = _LOADED[ref.path] = _load(ref)
    return kernel


def _load(ref: KernelRef) -> Kernel:
    name = f"sweep_kernel_{Path(ref.path).parent.name}"
    spec = importlib.util.spec_from_file_location(name, ref.path)
    if spec is None or spec.loader is None:
        raise StrategyError(f"{ref.path}: cannot be imported as a kernel")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    entry = module.__dict__.pop("_sweep_run")
    plain = _plain_functions(module)
    for function in _reachable(module):
        setattr(module, function.__name__, _jit(function))
    try:
        run = numba.njit(_signature(ref), cache=True, error_model="numpy", nogil=True)(entry)
    except Exception as error:
        # Numba also lets plain TypeErrors and NotImplementedErrors through.
        raise StrategyError(_translate(error, ref)) from None
    return Kernel(ref, run, *plain, module, Path(ref.path).read_text(encoding="utf-8"))


def _plain_functions(module: types.ModuleType) -> tuple[Any, Any]:
    """Return the parameter and warm-up functions as they are before compilation."""
    before = dict(vars(module))
    return tuple(  # type: ignore[return-value]
        types.FunctionType(vars(module)[name].__code__, before)
        for name in ("_sweep_params", "_sweep_warmup")
    )


def _jit(function: types.FunctionType) -> Any:
    # Bounds are checked in the user's functions alone: they may index arrays of their
    # own, and an unchecked write there would corrupt the process.
    own = not function.__name__.startswith("_sweep_")
    return numba.njit(error_model="numpy", boundscheck=own)(function)


def _reachable(module: types.ModuleType) -> list[types.FunctionType]:
    """Return the plain functions of the module that its compiled entry may call."""
    found: dict[str, types.FunctionType] = {}
    waiting = [n for n in vars(module) if n.startswith("_sweep_")]
    while waiting:
        name = waiting.pop()
        function = vars(module).get(name)
        if name in found or not isinstance(function, types.FunctionType):
            continue
        if function.__module__ != module.__name__:
            continue
        found[name] = function
        waiting.extend(_names_in(function.__code__))
    return list(found.values())


def _names_in(code: types.CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.extend(_names_in(constant))
    return names


def _signature(ref: KernelRef) -> Any:
    from numba import from_dtype
    from numba.core import types as nt

    def array(dtype: Any, ndim: int, readonly: bool = False) -> Any:
        return nt.Array(dtype, ndim, "C", readonly=readonly)

    column = array(nt.float64, 1, readonly=True)
    return nt.void(
        array(nt.int64, 1, readonly=True),
        column,
        column,
        column,
        column,
        nt.Tuple([column] * max(len(ref.features), 1)),  # type: ignore[no-untyped-call]
        nt.int64,
        array(nt.float64, 2),
        array(nt.int64, 2),
        nt.boolean,
        nt.boolean,
        array(from_dtype(TERMS), 1),
        array(from_dtype(CARRY), 1),
        array(nt.float64, 2),
        array(nt.int64, 2),
        array(nt.int64, 2),
        array(nt.float64, 2),
        array(from_dtype(ROW), 2),
        nt.boolean,
        array(nt.float64, 1),
        array(nt.float64, 1),
        array(from_dtype(FILL), 1),
    )


# -- the plain twin --------------------------------------------------------------------


def plain_kernel(strategy: Strategy, space: SearchSpace) -> Kernel:
    """Return the same kernel as plain Python: slow, uncompiled, for checks and debuggers.

    Its ``run`` takes the same arguments and writes the same records.
    """
    text = kernel_text(strategy, space)
    module = types.ModuleType(f"sweep_plain_{strategy.digest}")
    module.__file__ = strategy.path
    sys.modules[module.__name__] = module
    exec(compile(text, strategy.path, "exec"), module.__dict__)
    namespace: dict[str, Any] = {"np": np, **vars(fills)}
    for name in fills.__all__:
        function = getattr(getattr(fills, name), "py_func", None)
        if function is not None:
            plain = types.FunctionType(function.__code__, namespace, name)
            namespace[name] = plain
            module.__dict__[f"_sweep_{name}"] = plain
    n_floats, n_ints, resumable = _state_counts(strategy)
    ref = KernelRef(
        strategy.path,
        strategy.path,
        n_floats,
        n_ints,
        resumable,
        False,
        () if strategy.features is None else strategy.features._fields,
    )

    def run(*arguments: Any) -> None:
        viewed = [
            a.view(np.recarray) if isinstance(a, np.ndarray) and a.dtype.names else a
            for a in arguments
        ]
        with np.errstate(all="ignore"):
            module._sweep_run(*viewed)

    return Kernel(ref, run, *_plain_functions(module), module, text)


# -- messages --------------------------------------------------------------------------

_COMMON: Sequence[tuple[str, str]] = (
    (
        r"Unknown attribute '(\w+)' of type (?:_?SweepParams|_SweepParams)",
        "there is no parameter '{0}'",
    ),
    (r"Unknown attribute '(\w+)' of type (?:Tick|_SweepTick)", "a tick has no field '{0}'"),
    (r"Unknown attribute '(\w+)' of type State", "State has no field '{0}'"),
    (r"Unknown attribute '(\w+)' of type (\w+)\(", "{1} has no field or method '{0}'"),
    (r"NameError: name '(\w+)' is not defined", "the name '{0}' is not defined"),
    (r"name '(\w+)' is not defined", "the name '{0}' is not defined"),
    (r"Untyped global name '(\w+)'", "'{0}' cannot be used in compiled code"),
    (
        r"Cannot unify (.+?) and (.+?) for '([\w.]+)'",
        "'{2}' is sometimes {0} and sometimes {1}; give it one type",
    ),
    (r"missing a required argument: '(\w+)'", "the argument '{0}' is missing"),
    (r"got an unexpected keyword argument '(\w+)'", "there is no field or argument '{0}'"),
    (r"No implementation of function Function\(<.*?(\w+)>\)", "'{0}' cannot take these values"),
    (
        r"unsupported opcode \(STORE_GLOBAL\)",
        "a global variable cannot be changed; keep what is remembered in State",
    ),
    (r"Use of unsupported opcode \((\w+)\)", "this Python construct cannot be compiled ({0})"),
    (r"use of yield in a closure", "a generator expression cannot be compiled; write a loop"),
    (
        r"No definition for lowering State",
        "a State cannot be changed; return a new one: return State(...), target",
    ),
)

#: Complaints about the generated part, which calls start() and step() and takes what they
#: return: there the user's mistake lies in the ``return``.
_RETURNED: Sequence[tuple[str, str]] = (
    (r"failed to unpack", "step() must return a State and a target position on every path"),
    (
        r"Unknown attribute '\w+' of type|has no field or method",
        "start() must return State(...), and step() State(...) and a target position",
    ),
    (
        r"No implementation of function Function\(<class 'float'>\)",
        "step() must return a number as its target position",
    ),
)


def _translate(error: Exception, ref: KernelRef) -> str:
    """Return a compile error in the user's terms: their file, their line, what is wrong."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    source = Path(ref.path).read_text(encoding="utf-8").splitlines()
    own = source.index(_MARK)
    lines = [
        int(number)
        for file, number in re.findall(r'File "([^"]+)", line (\d+)', text)
        if os.path.basename(file) == "kernel.py" and int(number) <= own
    ]
    raised = re.findall(r"Raised from (\S+) \((\d+)\)", text)
    lines += [int(number) for _, number in raised if int(number) <= own]
    line = lines[-1] if lines else 0
    tables = _COMMON if lines else (*_RETURNED, *_COMMON)
    said = next(
        (
            form.format(*found.groups())
            for pattern, form in tables
            if (found := re.search(pattern, text))
        ),
        "",
    )
    line = line or _likely_line(source[:own], said)
    if not said:
        useful = [
            part.strip()
            for part in text.splitlines()
            if part.strip() and not part.startswith(("Failed in", "During", 'File "'))
        ]
        said = useful[0] if useful else "it cannot be compiled"
        # Where Numba raised it is said by the line; the kernel's own path helps nobody.
        said = re.sub(r"\s*Raised from \S+ \(\d+\)", "", said)
    shown = f"\n    {source[line - 1].strip()}" if line else ""
    return (
        f"{ref.strategy_path}:{line or 1}: does not compile: {said}{shown}\n"
        f"start(), step() and what they call may use numbers, tuples, math and NumPy scalars; "
        f"`sweep check` tells more"
    )


def _likely_line(source: list[str], said: str) -> int:
    """Return the line that a complaint without one is about: of the name, or of ``step``."""
    named = re.search(r"'(\w+)'", said)
    patterns = [rf"\b{named[1]}\b"] if named else []
    patterns.append(r"^def step\(")
    for pattern in patterns:
        for number, text in enumerate(source, 1):
            if re.search(pattern, text.partition("#")[0]):
                return number
    return 0


def _user_line(error: BaseException, path: str) -> int:
    import traceback

    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return (lines[-1] or 0) if lines else 0


def empty_state(ref: KernelRef, n_variants: int) -> tuple[FloatArray2D, np.ndarray[Any, Any]]:
    """Return zeroed stores for the strategy's state: float64 and int64, one row a variant."""
    return (
        np.zeros((n_variants, max(ref.n_floats, 1))),
        np.zeros((n_variants, max(ref.n_ints, 1)), np.int64),
    )
