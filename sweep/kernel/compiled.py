"""The compiled core, and a kernel's call of it.

`sweep.kernel.core.run_core` is compiled for itself, and the process knows its entry under
a symbol's name. Kernels name that symbol instead of the function, so that none of them
compiles the core again. The entry takes an address: of the frame, which holds those of
all arrays.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import caching, cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from sweep.errors import DataError
from sweep.kernel.accounting import FILL
from sweep.kernel.core import ARRAYS, FRAME, NEW_GROUP, PHASE, new_frame, run_core
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D, Rows, Ticks

__all__ = [
    "CORE_TEXT",
    "NO_FEATURES",
    "SYMBOL",
    "KernelCall",
    "Memory",
    "Recording",
    "array_at",
    "beside_modules",
    "call_kernel",
    "core_text",
    "import_file",
    "load_core",
    "point_to",
]

#: Name under which kernels call the core.
SYMBOL = "sweep_core_entry"

#: The arrays of a core: name, dtype, dimensions (at most 3).
Arrays = tuple[tuple[str, Any, int], ...]


@intrinsic
def array_at(typing_context: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """Return the C-contiguous array of a shape and dtype whose memory begins at an address."""
    kind = dtype.dtype if hasattr(dtype, "dtype") else dtype.instance_type
    array = numba.types.Array(kind, len(shape), "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        item = context.get_abi_sizeof(context.get_data_type(array.dtype))
        found = context.make_array(array)(context, builder)
        lengths = cgutils.unpack_tuple(builder, arguments[1])  # type: ignore[no-untyped-call]
        strides = [context.get_constant(numba.types.intp, item)]
        for length in lengths[:0:-1]:
            strides.insert(0, builder.mul(strides[0], length))
        arrayobj.populate_array(  # type: ignore[no-untyped-call]
            found,
            data=builder.inttoptr(arguments[0], found.data.type),
            shape=lengths,
            strides=strides,
            itemsize=context.get_constant(numba.types.intp, item),
            meminfo=None,
        )
        return found._getvalue()

    return array(address, shape, dtype), generate


def core_text(run: Callable[..., int], arrays: Arrays, arrays_name: str, frame: int) -> str:
    """Return the module of a core's entry: its arrays from their addresses, and its text.

    The text and not a call: passing the arrays would take longer than most calls do.

    Parameters
    ----------
    run : callable
        The core, a module's function of the frame and the arrays.
    arrays : tuple of (str, dtype, int)
        Its arrays: name, dtype, dimensions.
    arrays_name : str
        Name of ``arrays`` in that module.
    frame : int
        Places of the frame ahead of the arrays' addresses.
    """
    package, _, module = run.__module__.rpartition(".")
    lines = [
        "import numpy as np",
        f"from {package} import {module} as _core",
        "from sweep.kernel.compiled import array_at as _array_at",
        "",
        "globals().update({k: v for k, v in vars(_core).items() if not k.startswith('__')})",
        *(f"_{name} = np.dtype({arrays_name}[{k}][1])" for k, (name, _, _) in enumerate(arrays)),
        "",
        "",
        "def entry(address):",
        f"    f = _array_at(address, ({frame + 4 * len(arrays)},), np.int64)",
    ]
    arguments = list(inspect.signature(run).parameters)[1:]
    for k, ((name, _, ndim), argument) in enumerate(zip(arrays, arguments, strict=True)):
        at = frame + 4 * k
        shape = ", ".join(f"f[{at + 1 + d}]" for d in range(ndim))
        lines.append(f"    {argument} = _array_at(f[{at}], ({shape},), _{name})")
    body = inspect.getsource(run).split('"""', 2)[2]
    return "\n".join([*lines, body])


CORE_TEXT = core_text(run_core, ARRAYS, "ARRAYS", FRAME)


def point_to(frame: Any, places: int, arrays: Arrays, given: dict[str, Any]) -> None:
    """Write the addresses and lengths of a core's arrays after the frame's ``places``.

    Raises
    ------
    TypeError
        If an array is not what the core takes.
    """
    for k, (name, dtype, ndim) in enumerate(arrays):
        array = given[name]
        if array.dtype != dtype or array.ndim != ndim or not array.flags.c_contiguous:
            raise TypeError(f"{name} must be {ndim}-dimensional, {dtype} and contiguous")
        at = places + 4 * k
        frame[at : at + 1 + ndim] = array.ctypes.data, *array.shape


def import_file(path: str, name: str) -> types.ModuleType:
    """Return the module at ``path``, imported under ``name``."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Beside:
    """Where Numba keeps what it compiles of a module: beside it, whatever the user set.

    Numba's own classes try first whether they can write, and so find nothing in a folder
    that can only be read.
    """

    def __init__(self, path: str, line: int) -> None:
        self._path, self._line = path, line

    @classmethod
    def from_function(cls, function: Any, path: str) -> _Beside:
        return cls(path, function.__code__.co_firstlineno)

    def ensure_cache_path(self) -> None:
        os.makedirs(self.get_cache_path(), exist_ok=True)

    def get_cache_path(self) -> str:
        return os.path.join(os.path.dirname(self._path), "__pycache__")

    def get_source_stamp(self) -> str:
        return ""  # the folder is named by the text

    def get_disambiguator(self) -> str:
        return str(self._line)


@contextlib.contextmanager
def beside_modules() -> Iterator[None]:
    """Keep what is compiled meanwhile, with ``cache=True``, in a folder beside its module."""
    settings: Any = numba.config
    known: Any = getattr(caching, "CacheImpl", None) or vars(caching)["_CacheImpl"]  # until 0.61
    before = known._locator_classes, getattr(settings, "CACHE_LOCATOR_CLASSES", "")
    known._locator_classes, settings.CACHE_LOCATOR_CLASSES = [_Beside], ""
    try:
        yield
    finally:
        known._locator_classes, settings.CACHE_LOCATOR_CLASSES = before


_CORES: dict[str, Any] = {}


def load_core(path: str, symbol: str = SYMBOL, *, cache: bool = True, rebuild: bool = False) -> Any:
    """Load a compiled core from its module at ``path``, and name it to the process.

    Parameters
    ----------
    path : str
    symbol : str, optional
        Name under which kernels call it.
    cache : bool, optional
        Whether its compiled form is whole, or is to be written.
    rebuild : bool, optional
        Whether to load it although it is loaded already.
    """
    if path in _CORES and not rebuild:
        return _CORES[path]
    module = import_file(path, f"sweep_kernel_{symbol}")
    # Nothing in it owns memory.
    options: Any = {"error_model": "numpy", "_nrt": False}
    with beside_modules():
        entry = numba.cfunc("int64(intp)", cache=cache, **options)(module.entry)
    llvm.add_symbol(symbol, entry.address)
    _CORES[path] = entry
    return entry


#: What a strategy without features is given for them.
NO_FEATURES = (np.zeros(1),)
NO_FEATURES[0].flags.writeable = False

_NOTHING = np.zeros(0)
_NO_ARRIVALS = np.zeros(0, np.int64)
_NO_FILLS = np.zeros(0, FILL)


class Memory(NamedTuple):
    """What variants carry from one call of a kernel to the next.

    Attributes
    ----------
    carries : ndarray of shape (n_variants,), dtype `sweep.kernel.accounting.CARRY`
        All of them fresh, or all of them left by the same slice.
    floats, ints : ndarray of shape (n_variants, n_fields), float64 and int64
        The strategy's state.
    due, targets : ndarray of shape (n_variants, capacity), int64 and float64
        Orders in flight, oldest first from ``carries["head"]``.
    """

    carries: np.ndarray[Any, Any]
    floats: FloatArray2D
    ints: np.ndarray[Any, Any]
    due: np.ndarray[Any, Any]
    targets: FloatArray2D


class Recording(NamedTuple):
    """What a replay of one variant writes, beyond its rows.

    Attributes
    ----------
    equity, position : ndarray of shape (n_ticks of the slices,), float64
    fills : ndarray of shape (n_fills,), dtype `sweep.kernel.accounting.FILL`
    """

    equity: FloatArray1D
    position: FloatArray1D
    fills: np.ndarray[Any, Any]

    def between(self, begin: int, end: int) -> Recording:
        """Return the place of some ticks of the slices; fills are numbered through."""
        return Recording(self.equity[begin:end], self.position[begin:end], self.fills)


@dataclass(frozen=True, slots=True)
class KernelCall:
    """A batch of variants on consecutive slices, and where their results go.

    Attributes
    ----------
    ticks : Ticks
        Read-only.
    params : ndarray of shape (n_variants, n_params), float64
    slices : ndarray of shape (n_slices, 3), int64
        First tick, end, lowest tick of the warm-up.
    terms : ndarray of shape (1,), dtype `sweep.kernel.accounting.TERMS`
    memory : Memory
        Read, and written at the end.
    rows : ndarray of shape (n_variants, n_slices), dtype `sweep.schema.ROW`
        Written; with memory that is not fresh, the first one holds the row so far.
    features : tuple of ndarray of shape (n_features_ticks,), float64, read-only
    origin : int
        The tick to which their first value belongs.
    carry_over : bool
        Whether state, position and sums go on from slice to slice.
    close_out : bool
        Whether the last slice closes an open position (with ``carry_over``; without it
        every slice does).
    recording : Recording or None
        Written where it is given, for one variant.
    arrivals : ndarray of shape (n_ticks,), int64, or None
        For each tick the stamp from which an order that is decided there is filled, instead
        of its own stamp and the latency. They never decrease: no order overtakes another.
    shares : ndarray of shape (n_ticks,), float64, or None
        The share, from 0 to 1, of the change of position that is filled of an order which
        arrives at each tick; the rest is lost.
    """

    ticks: Ticks
    params: FloatArray2D
    slices: np.ndarray[Any, Any]
    terms: np.ndarray[Any, Any]
    memory: Memory
    rows: Rows
    features: tuple[Any, ...] = NO_FEATURES
    origin: int = 0
    carry_over: bool = True
    close_out: bool = True
    recording: Recording | None = None
    arrivals: IntArray1D | None = None
    shares: FloatArray1D | None = None


def call_kernel(
    run: Callable[..., None],
    core: Callable[[dict[str, Any]], Any] | None,
    width: int,
    layout: tuple[int, int, int],
    feedback: bool,
    call: KernelCall,
) -> None:
    """Evaluate every variant of a batch on consecutive slices.

    Parameters
    ----------
    run : callable
        `sweep.kernel.loop.run_batch` with a strategy's functions in it.
    core : callable or None
        ``core(arrays)``, called instead of the compiled core, in plain Python.
    width, layout, feedback
        See `sweep.kernel.core.new_frame`.
    call : KernelCall

    Raises
    ------
    DataError
        If more orders are in flight than there is room for.
    """
    ticks, terms, memory = call.ticks, call.terms, call.memory
    recording = call.recording or Recording(_NOTHING, _NOTHING, _NO_FILLS)
    frame, scratch = new_frame(
        len(call.params),
        width,
        layout,
        feedback=feedback,
        origin=call.origin,
        carry_over=call.carry_over,
        close_out=call.close_out,
        record=call.recording is not None,
        capacity=memory.due.shape[1],
    )
    given = {
        "terms": terms,
        "ts": ticks.ts,
        "bid": ticks.bid,
        "ask": ticks.ask,
        "slices": call.slices,
        "warmups": np.zeros(len(call.params), np.int64),
        "carries": memory.carries,
        "due": memory.due,
        "targets": memory.targets,
        "rows": call.rows,
        "equity_out": recording.equity,
        "position_out": recording.position,
        "fills": recording.fills,
        "arrivals": _NO_ARRIVALS if call.arrivals is None else call.arrivals,
        "shares": _NOTHING if call.shares is None else call.shares,
        **scratch,
    }
    point_to(frame, FRAME, ARRAYS, given)
    run(
        frame,
        frame.ctypes.data if core is None else core({"f": frame, **given}),
        scratch["buffer"],
        scratch["bits"],
        scratch["changed"],
        scratch["variant"],
        given["warmups"],
        *ticks,
        call.features,
        call.origin,
        float(terms["half_spread"][0]),
        float(terms["contract_size"][0]),
        bool(terms["mark_close"][0]),
        call.params,
        memory.floats,
        memory.ints,
    )
    if frame[PHASE] != NEW_GROUP:
        raise DataError(
            "more orders are in flight than these ticks can have: their stamps decrease "
            "somewhere, so that the ticks are damaged"
        )


def plain_core() -> tuple[Callable[[dict[str, Any]], Any], Callable[[Any], int]]:
    """Return the core as plain Python: what takes a call's arrays, and the core itself."""
    from sweep.kernel import accounting, marks
    from sweep.kernel import core as compiled

    namespace: dict[str, Any] = {**vars(accounting), **vars(marks), **vars(compiled)}
    for name, value in list(namespace.items()):
        function = getattr(value, "py_func", None)
        if function is not None:
            namespace[name] = types.FunctionType(function.__code__, namespace, name)
    run = types.FunctionType(run_core.__code__, namespace, "run_core")

    def take(arrays: dict[str, Any]) -> Any:
        viewed = [a.view(np.recarray) if a.dtype.names else a for a in arrays.values()]
        names = ["f", *(name for name, _, _ in ARRAYS)]
        by_name = dict(zip(arrays, viewed, strict=True))
        return [by_name[name] for name in names]

    return take, lambda arrays: run(*arrays)
