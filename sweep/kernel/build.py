"""Compiling a strategy's kernel, loading it, and its plain twin.

Numba does not cache a function that closes over another one or takes one as an
argument, and a cached function that calls into another file keeps the old callee when
that file changes. So each kernel is a module of its own: the strategy's source, a
generated part that adapts its functions, and the text of `sweep.kernel.loop`.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import types as nt
from numba.core.dispatcher import Dispatcher

from sweep.errors import StrategyError
from sweep.kernel import lanes
from sweep.kernel.accounting import CARRY
from sweep.kernel.cache import find_or_build, in_cache, seal
from sweep.kernel.compiled import (
    CORE_TEXT,
    NO_FEATURES,
    SYMBOL,
    KernelCall,
    Memory,
    beside_modules,
    call_kernel,
    import_file,
    load_core,
    plain_core,
)
from sweep.kernel.core import LANE_FIELDS
from sweep.kernel.diagnostics import translate_error, user_line, why_not_vectorised
from sweep.kernel.source import kernel_text, state_counts
from sweep.schema import FloatArray1D, Ticks
from sweep.strategy.declare import Strategy, definition_line
from sweep.strategy.space import SearchSpace

__all__ = [
    "Kernel",
    "KernelRef",
    "build_kernel",
    "find_core",
    "jit_reachable",
    "load_kernel",
    "new_memory",
    "plain_kernel",
]

#: Variants below which one after the other is faster than lanes.
_FEW = 3

#: Of the buffer of a single variant: its fields, their distance, ticks in a pass.
_SINGLE = (len(LANE_FIELDS), 1, 1)


@dataclass(frozen=True)
class KernelRef:
    """Where a compiled kernel lies. Small enough to travel with every task.

    Attributes
    ----------
    path : str
        The generated module.
    core : str
        The module of the compiled core.
    strategy_path : str
        The user's file, for messages.
    n_floats, n_ints : int
        Fields of the strategy's state, by type, as a carry stores them.
    resumable : bool
        Whether the state can be carried from one call to the next (no arrays in it).
    needs_sizes : bool
        Whether the strategy reads ``bid_size`` or ``ask_size``.
    feedback : bool
        Whether a step sees the account.
    features : tuple of str
        Names of the feature arrays, in order.
    lanes : bool
        Whether it runs variants side by side in vector registers.
    reason : str
        Why it does not; empty where it does.
    """

    path: str
    core: str
    strategy_path: str
    n_floats: int
    n_ints: int
    resumable: bool
    needs_sizes: bool
    feedback: bool
    features: tuple[str, ...]
    lanes: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Kernel:
    """A loaded kernel: the compiled call, and what is asked of a variant beforehand.

    Attributes
    ----------
    ref : KernelRef
    scalar : callable
        `sweep.kernel.loop.run_batch` with the strategy's functions in it, one variant after
        the other.
    lanes : callable or None
        The same with variants side by side, where the strategy allows it. Every variant
        gets the same row, to the bit.
    params : callable
        ``params(row) -> named tuple`` of a variant's parameters, as ``step`` sees them.
    warmup : callable
        ``warmup(params) -> int``, in ticks.
    lookback : callable
        ``lookback(params) -> int``, the ticks before a tick that its features depend on;
        None where the strategy does not say.
    module : module
    source : str
        The module's text, for the lines in messages.
    """

    ref: KernelRef
    scalar: Callable[[KernelCall], None]
    lanes: Callable[[KernelCall], None] | None
    params: Callable[[FloatArray1D], Any]
    warmup: Callable[[Any], int]
    lookback: Callable[[Any], int | None]
    module: types.ModuleType
    source: str

    def run_for(self, n_variants: int, width: int | None = None) -> Callable[[KernelCall], None]:
        """Return the faster of `scalar` and `lanes` for a number of variants.

        Parameters
        ----------
        n_variants : int
        width : int, optional
            1 for `scalar` in any case; otherwise lanes, where there are some.
        """
        if self.lanes is None or width == 1 or (width is None and n_variants < _FEW):
            return self.scalar
        return self.lanes

    def features(self, ticks: Ticks, params: Any) -> tuple[Any, ...]:
        """Return the feature arrays over ``ticks``, checked and read-only.

        Raises
        ------
        StrategyError
            If the user's function raises or returns arrays of the wrong kind.
        """
        if not self.ref.features:
            return NO_FEATURES
        path = self.ref.strategy_path
        line = definition_line(self.source, "features")
        try:
            found = _call_by_name(
                self.module.features,
                {"ticks": ticks, "params": params},
            )
        except Exception as error:
            where = user_line(error, self.ref.path) or line
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


def _call_by_name(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    plain = getattr(function, "py_func", function)
    return function(**{name: given[name] for name in inspect.signature(plain).parameters})


# -- compilation -----------------------------------------------------------------------


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
    text, reason = kernel_text(strategy, space, SYMBOL)
    core = find_core(CORE_TEXT, SYMBOL)
    ref = _reference(strategy, core=core, reason=reason)
    return in_cache(strategy.path, text, lambda folder: _find_kernel(folder, text, ref))


def _reference(strategy: Strategy, *, core: str, reason: str) -> KernelRef:
    n_floats, n_ints, resumable = state_counts(strategy)
    return KernelRef(
        path=strategy.path,
        core=core,
        strategy_path=strategy.path,
        n_floats=n_floats,
        n_ints=n_ints,
        resumable=resumable,
        needs_sizes=_reads_sizes(strategy.source),
        feedback="account" in strategy.arguments("step"),
        features=() if strategy.features is None else strategy.features._fields,
        reason=reason,
    )


def find_core(text: str, symbol: str) -> str:
    """Return the module of a compiled core; compile it first where it is not in the cache.

    Parameters
    ----------
    text : str
        See `sweep.kernel.compiled.core_text`.
    symbol : str
        Name under which kernels call it.
    """

    def find(folder: Path) -> str:
        path = str(folder / "kernel.py")

        def compile_() -> dict[str, Any]:
            if sys.stderr.isatty():
                print("compiling for this processor, which is done once", file=sys.stderr)
            load_core(path, symbol, rebuild=True)
            return {}

        find_or_build(folder, text, compile_)
        load_core(path, symbol)
        return path

    return in_cache("the core of kernels", text, find)


def _find_kernel(folder: Path, text: str, ref: KernelRef) -> KernelRef:
    ref = replace(ref, path=str(folder / "kernel.py"))

    def compile_() -> dict[str, Any]:
        kernel = _load(replace(ref, lanes=not ref.reason), cache=True)
        reason = ref.reason or why_not_vectorised(kernel.module)
        done = replace(ref, lanes=not reason, reason=reason)
        _LOADED[ref.path] = replace(kernel, ref=done, lanes=None if reason else kernel.lanes)
        return {"lanes": done.lanes, "reason": reason}

    said = find_or_build(folder, text, compile_)
    ref = replace(ref, lanes=said["lanes"], reason=said["reason"])
    load_kernel(ref)
    return ref


def _reads_sizes(source: str) -> bool:
    """Whether a strategy reads the sizes of a tick: as an attribute, not in a comment."""
    attributes = {n.attr for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)}
    return bool(attributes & {"bid_size", "ask_size"})


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
        # Not whole only if it was damaged while a study runs; the next one builds it again.
        whole = seal(Path(ref.path).parent) is not None
        kernel = _LOADED[ref.path] = _load(ref, cache=whole)
    return kernel


def _load(ref: KernelRef, *, cache: bool) -> Kernel:
    load_core(ref.core, cache=seal(Path(ref.core).parent) is not None)
    module = import_file(ref.path, f"sweep_kernel_{Path(ref.path).parent.name}")
    plain = _plain_functions(module)
    entry = module.__dict__.pop("_sweep_run")
    entry_lanes = module.__dict__.pop("_sweep_lanes_run", None)
    jit_reachable(module)
    options: Any = {"cache": cache, "error_model": "numpy", "nogil": True}
    options["no_cfunc_wrapper"] = True  # called from Python alone
    try:
        compiled = numba.njit(_signature(len(ref.features)), **options)
        with beside_modules():
            scalar = compiled(entry)
            side_by_side = compiled(entry_lanes) if ref.lanes and entry_lanes else None
    except OSError:
        raise
    except Exception as error:
        # Numba also lets plain TypeErrors and NotImplementedErrors through.
        raise StrategyError(translate_error(error, ref.path, ref.strategy_path)) from None
    layout = getattr(module, "_SWEEP_LAYOUT", _SINGLE)
    return Kernel(
        ref,
        functools.partial(call_kernel, scalar, None, 1, _SINGLE, ref.feedback),
        side_by_side
        and functools.partial(call_kernel, side_by_side, None, lanes.WIDTH, layout, ref.feedback),
        *plain,
        module,
        Path(ref.path).read_text(encoding="utf-8"),
    )


def _plain_functions(module: types.ModuleType) -> tuple[Any, Any, Any]:
    """Return what is asked of a variant as it is before compilation."""
    before = dict(vars(module))
    params, warmup, lookback = (
        types.FunctionType(vars(module)[f"_sweep_{name}"].__code__, before)
        for name in ("params", "warmup", "lookback")
    )
    del module.__dict__["_sweep_lookback"]
    return params, warmup, lookback


#: Functions of the generated part that are not worth a copy wherever they are called.
_CALLED = {
    f"_sweep_{by}{name}"
    for by in ("", "lanes_")
    for name in ("begin", "load", "save", "params", "constants", "warmup")
}


def _jit(function: types.FunctionType) -> Any:
    name = function.__name__
    glue = name.startswith("_sweep_")
    options: Any = {
        "error_model": "numpy",
        # Bounds are checked in the user's functions alone: they may index arrays of their
        # own, and an unchecked write there would corrupt the process.
        "boundscheck": not glue,
        # A call within the loop over lanes would keep it from being vectorised.
        "forceinline": name not in _CALLED and name not in _names_in(function.__code__),
        # Nobody calls these from Python, and each way in takes time to compile.
        "no_cpython_wrapper": glue,
        "no_cfunc_wrapper": True,
    }
    return numba.njit(**options)(function)


def jit_reachable(module: types.ModuleType) -> None:
    """Let Numba compile the functions of a kernel's module when they are called."""
    _check_bounds(module)
    for function in _reachable(module):
        setattr(module, function.__name__, _jit(function))


def _check_bounds(module: types.ModuleType) -> None:
    """Let bounds be checked in the functions that the user has compiled by Numba as well."""
    for value in vars(module).values():
        own = isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__
        if own and value.targetoptions.get("boundscheck") is None:
            value.targetoptions["boundscheck"] = True


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


def _signature(n_features: int) -> Any:
    columns = _columns(n_features)
    integers, floats = _array(nt.int64), _array(nt.float64)
    return nt.void(
        integers,  # frame
        nt.intp,
        floats,  # buffer
        integers,
        integers,
        integers,
        integers,
        *columns,
        nt.int64,
        nt.float64,
        nt.float64,
        nt.boolean,
        _array(nt.float64, 2),  # params
        _array(nt.float64, 2),
        _array(nt.int64, 2),
    )


def _array(dtype: Any, ndim: int = 1, readonly: bool = False) -> Any:
    return nt.Array(dtype, ndim, "C", readonly=readonly)


def _columns(n_features: int) -> list[Any]:
    """Return the types of the ticks' columns and of the features."""
    column = _array(nt.float64, readonly=True)
    features = nt.Tuple([column] * max(n_features, 1))  # type: ignore[no-untyped-call]
    return [_array(nt.int64, readonly=True), column, column, column, column, features]


# -- the plain twin --------------------------------------------------------------------


def plain_kernel(strategy: Strategy, space: SearchSpace) -> Kernel:
    """Return the same kernel as plain Python: slow, uncompiled, for checks and debuggers.

    Its ``scalar`` takes the same arguments and writes the same records.
    """
    text, reason = kernel_text(strategy, space, SYMBOL)
    module = types.ModuleType(f"sweep_plain_{strategy.digest}")
    module.__file__ = strategy.path
    sys.modules[module.__name__] = module
    exec(compile(text, strategy.path, "exec"), module.__dict__)
    _check_bounds(module)
    take, core = plain_core()
    module.__dict__["_sweep_core"] = core
    ref = _reference(strategy, core="", reason=reason)

    def run(*arguments: Any) -> None:
        with np.errstate(all="ignore"):
            module._sweep_run(*arguments)

    return Kernel(
        ref,
        functools.partial(call_kernel, run, take, 1, _SINGLE, ref.feedback),
        None,
        *_plain_functions(module),
        module,
        text,
    )


def new_memory(ref: KernelRef, n_variants: int, capacity: int) -> Memory:
    """Return what variants carry between calls of a kernel, before the first of them.

    Parameters
    ----------
    ref : KernelRef
    n_variants : int
    capacity : int
        Room for orders in flight.
    """
    return Memory(
        np.zeros(n_variants, CARRY),
        np.zeros((n_variants, max(ref.n_floats, 1))),
        np.zeros((n_variants, max(ref.n_ints, 1)), np.int64),
        np.zeros((n_variants, capacity), np.int64),
        np.zeros((n_variants, capacity)),
    )
