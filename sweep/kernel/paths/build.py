"""Compiling the kernel that runs a strategy on resampled paths, one path a lane.

It is a module of its own, so that only who asks for paths compiles it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import types as nt

from sweep.errors import StrategyError, SweepError
from sweep.kernel import lanes
from sweep.kernel.build import find_core, jit_reachable
from sweep.kernel.cache import find_or_build, in_cache, seal
from sweep.kernel.compiled import beside_modules, core_text, import_file, load_core, point_to
from sweep.kernel.core import LANE_FIELDS
from sweep.kernel.diagnostics import translate_error
from sweep.kernel.paths.core import run_paths
from sweep.kernel.paths.derive import Grid
from sweep.kernel.paths.frame import (
    OVERFLOW,
    PATH_ARRAYS,
    PATH_FRAME,
    PATH_TICKS,
    new_path_frame,
)
from sweep.kernel.source import path_kernel_text, state_counts
from sweep.schema import FloatArray2D, Rows, Ticks
from sweep.strategy.declare import Strategy
from sweep.strategy.space import SearchSpace

__all__ = ["PathKernel", "PathKernelRef", "build_path_kernel", "load_path_kernel"]

_SYMBOL = "sweep_paths_entry"

#: Orders of a lane in flight that there is room for at first.
_ROOM = 16


@dataclass(frozen=True)
class PathKernelRef:
    """Where a compiled path kernel lies. Small enough to travel with every task.

    Attributes
    ----------
    path, core : str
        Its module and the core's; empty where the strategy cannot run in lanes.
    strategy_path : str
    feedback, sizes, stamps : bool
        Whether a step sees the account, the sizes, and the stamps of ticks.
    reason : str
        Why there is no path kernel; empty where there is one.
    """

    path: str
    core: str
    strategy_path: str
    feedback: bool
    sizes: bool
    stamps: bool
    reason: str = ""


@dataclass(frozen=True)
class PathKernel:
    """A loaded path kernel.

    Attributes
    ----------
    ref : PathKernelRef
    call : callable
        `sweep.kernel.paths.loop.run_path_jobs` with the strategy's functions in it.
    layout : tuple of int
        Of its buffer, see `sweep.kernel.core.new_frame`.
    state : tuple of int
        Floats and integers of the strategy's state.
    """

    ref: PathKernelRef
    call: Callable[..., int]
    layout: tuple[int, int, int]
    state: tuple[int, int]

    def run(
        self,
        ticks: Ticks,
        grid: Grid,
        pieces: np.ndarray[Any, Any],
        jobs: np.ndarray[Any, Any],
        params: FloatArray2D,
        terms: np.ndarray[Any, Any],
        rows: Rows,
        width: int = lanes.WIDTH,
        chunk: int = PATH_TICKS,
    ) -> None:
        """Evaluate jobs, writing their rows.

        Parameters
        ----------
        ticks : Ticks
            The source.
        grid : Grid
        pieces : ndarray of shape (n_pieces,), dtype `sweep.kernel.paths.derive.PIECE`
        jobs : ndarray of shape (n_jobs,), dtype `sweep.kernel.paths.frame.JOB`
        params : ndarray of shape (n_variants, n_params), float64
        terms : ndarray of shape (1,), dtype `sweep.kernel.accounting.TERMS`
        rows : ndarray of shape (n_rows,), dtype `sweep.schema.ROW`
        width : int, optional
            Lanes at most; no row depends on it.
        chunk : int, optional
            Ticks that are worked through together; no row depends on it.
        """
        room = _ROOM
        sizes = self.ref.sizes and len(ticks.bid_size) > 0
        while True:
            frame, scratch = new_path_frame(
                len(jobs),
                int(jobs["slot"].max()) + 1 if jobs["group"].any() else 0,
                width,
                self.layout,
                lane_fields=len(LANE_FIELDS),
                feedback=self.ref.feedback,
                sizes=sizes,
                stamps=self.ref.stamps,
                capacity=room,
                chunk=chunk,
            )
            given = {
                "terms": terms,
                "grid": np.array(grid),
                **ticks._asdict(),
                "pieces": pieces,
                "jobs": jobs,
                "warmups": np.zeros(len(params), np.int64),
                "rows": rows,
                **scratch,
            }
            point_to(frame, PATH_FRAME, PATH_ARRAYS, given)
            names = ("buffer", "bits", "changed", "quotes", "stamps", "begins", "variant")
            found = self.call(
                frame,
                frame.ctypes.data,
                *(given[name] for name in (*names, "warmups")),
                sizes,
                float(terms["contract_size"][0]),
                bool(terms["mark_close"][0]),
                params,
                np.zeros(max(self.state[0], 1)),
                np.zeros(max(self.state[1], 1), np.int64),
            )
            if found != OVERFLOW:
                return
            # How many orders can be in flight depends on how the blocks of a path meet.
            room *= 4
            if room > 1 << 24:
                raise SweepError("a path has more than 16 million orders in flight at once")


def build_path_kernel(strategy: Strategy, space: SearchSpace) -> PathKernelRef:
    """Compile the path kernel of a strategy, or find it in the cache.

    Parameters
    ----------
    strategy : Strategy
        Without features: those are arrays over whole ticks.
    space : SearchSpace

    Returns
    -------
    PathKernelRef
        Without a path, and with a reason, where the strategy cannot run in lanes.

    Raises
    ------
    StrategyError
        If the strategy has features or does not compile.
    """
    if strategy.features is not None:
        raise StrategyError(
            f"{strategy.path}: features() are computed over ticks as they are recorded; a "
            f"strategy that is to run on resampled paths must do without (keep what it needs in "
            f"its State), or take the resampling of sessions' profit and loss, sweep mc -m pnl"
        )
    text, reason = path_kernel_text(strategy, space, _SYMBOL)
    reads = _reads(strategy.source)
    ref = PathKernelRef(
        path="",
        core="",
        strategy_path=strategy.path,
        feedback="account" in strategy.arguments("step"),
        sizes=bool(reads & {"bid_size", "ask_size"}),
        stamps=bool(reads & {"ts", "tick"}),
        reason=reason,
    )
    if not text:
        return ref
    core = find_core(core_text(run_paths, PATH_ARRAYS, "PATH_ARRAYS", PATH_FRAME), _SYMBOL)
    state = state_counts(strategy)[:2]

    def find(folder: Path) -> PathKernelRef:
        own = PathKernelRef(
            str(folder / "kernel.py"), core, ref.strategy_path, ref.feedback, ref.sizes, ref.stamps
        )

        def compile_() -> dict[str, Any]:
            _LOADED[own.path] = _load(own, cache=True)
            return {}

        find_or_build(folder, text, compile_)
        load_path_kernel(own)
        return own

    text = f"{text}\n_SWEEP_STATE = {state!r}\n"
    return in_cache(strategy.path, text, find)


def _reads(source: str) -> set[str]:
    """Return the attributes that a strategy reads, and ``tick`` if it hands on a whole tick."""
    tree = ast.parse(source)
    found = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    owners = [n.value for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "tick" and node not in owners:
            found.add("tick")
    return found


_LOADED: dict[str, PathKernel] = {}


def load_path_kernel(ref: PathKernelRef) -> PathKernel:
    """Return the path kernel at ``ref``; loaded once in a process.

    Raises
    ------
    StrategyError
        If the strategy does not compile.
    """
    kernel = _LOADED.get(ref.path)
    if kernel is None:
        whole = seal(Path(ref.path).parent) is not None
        kernel = _LOADED[ref.path] = _load(ref, cache=whole)
    return kernel


def _load(ref: PathKernelRef, *, cache: bool) -> PathKernel:
    load_core(ref.core, _SYMBOL, cache=seal(Path(ref.core).parent) is not None)
    module = import_file(ref.path, f"sweep_paths_{Path(ref.path).parent.name}")
    entry = module.__dict__.pop("_sweep_run")
    module.__dict__.pop("_sweep_lookback")
    jit_reachable(module)
    try:
        compiled = numba.njit(_signature(), cache=cache, error_model="numpy", nogil=True)
        with beside_modules():
            call = compiled(entry)
    except OSError:
        raise
    except Exception as error:
        raise StrategyError(translate_error(error, ref.path, ref.strategy_path)) from None
    return PathKernel(ref, call, module._SWEEP_LAYOUT, module._SWEEP_STATE)


def _signature() -> Any:
    integers, floats = nt.Array(nt.int64, 1, "C"), nt.Array(nt.float64, 1, "C")
    return nt.int64(
        integers,  # frame
        nt.intp,
        floats,  # buffer
        integers,
        integers,
        nt.Array(nt.float64, 3, "C"),  # quotes
        nt.Array(nt.int64, 2, "C"),
        integers,
        integers,
        integers,
        nt.boolean,
        nt.float64,
        nt.boolean,
        nt.Array(nt.float64, 2, "C"),  # params
        floats,
        integers,
    )
