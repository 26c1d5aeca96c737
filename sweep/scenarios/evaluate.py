"""What workers run on resampled paths: variants on some paths, to one row for each.

As `sweep.backtest.tasks`: a task carries parameters and numbers of paths, never ticks. A row
depends on the variant, the path and the context alone: it is, to the bit, the row that
the plain kernel gives for the path's ticks written out.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from sweep.backtest.tasks import Context, orders_in_flight, own_bytes
from sweep.errors import InputError, SweepError
from sweep.kernel import Kernel, KernelCall, load_kernel, new_memory
from sweep.kernel.accounting import terms_of
from sweep.kernel.lanes import WIDTH
from sweep.kernel.paths.build import (
    PathKernelRef,
    build_path_kernel,
    load_path_kernel,
)
from sweep.scenarios.resample.plan import Path, Resampler, plan_path, prepare
from sweep.scenarios.resample.schedule import join, schedule
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.scenarios.resample.ticks import derive_ticks
from sweep.schema import (
    ROW,
    STATUS_BAD_ORDER,
    STATUS_ERROR,
    FloatArray2D,
    IntArray1D,
    Rows,
    Ticks,
)
from sweep.stats.metrics import merge
from sweep.strategy.declare import Strategy
from sweep.strategy.space import SearchSpace
from sweep.ticks.mapped import attach

__all__ = [
    "PathContext",
    "PathOutcome",
    "PathTask",
    "evaluate_paths",
    "path_context",
]

#: Pieces of paths that are held together, 48 bytes each; paths, and rows.
_PIECES = 1 << 16
_PATHS = 256
_ROWS = 1 << 14
_MOST_ROWS = 1 << 17

#: Ticks of a path that are written out together, where variants run side by side.
_BLOCK = 1 << 15

#: Variants from which on these run side by side on one path after the other, instead of
#: paths side by side for one variant after the other.
_MANY = 8


@dataclass(frozen=True)
class PathContext:
    """What all tasks on paths share.

    Attributes
    ----------
    context : Context
    kernel : PathKernelRef
    resampler : Resampler
    """

    context: Context
    kernel: PathKernelRef
    resampler: Resampler


@dataclass(frozen=True)
class PathTask:
    """Variants on consecutive paths.

    Attributes
    ----------
    number : int
    params : ndarray of shape (n_variants, n_params), float64
    first, end : int
        Numbers of the paths; any range gives the same rows for a path.
    apart : bool
        Whether to return also the row of each stretch, such as a session.
    """

    number: int
    params: FloatArray2D
    first: int
    end: int
    apart: bool = False


@dataclass(frozen=True)
class PathOutcome:
    """A task's result: plain data, so that any process can return it.

    Attributes
    ----------
    number : int
        Of the task.
    rows : ndarray of shape (n_variants, n_paths), dtype `sweep.schema.ROW`
        Where the strategy begins afresh within a path, the rows of its stretches, merged.
    stretches : ndarray of shape (n_variants, n_paths, n_stretches), dtype `sweep.schema.ROW`
        The rows of the stretches that begin and end flat, where they were asked for;
        otherwise empty. After the last one of a path are zeros.
    failures : tuple of (int, int, str)
        Place of the variant, number of the path, and the reason. Such rows have a status
        that says so.
    error : str
        Why the whole task failed; empty if it did not. Rows mean nothing then.
    seconds : float
        Wall time of the evaluation in the worker.
    kernel_seconds : float
        Of it, the processor's time within compiled kernels.
    pid : int
    uss_bytes : int
        See `sweep.backtest.tasks.own_bytes`.
    """

    number: int
    rows: Rows
    stretches: Rows = field(default_factory=lambda: np.zeros((0, 0, 0), ROW))
    failures: tuple[tuple[int, int, str], ...] = ()
    error: str = ""
    seconds: float = 0.0
    kernel_seconds: float = 0.0
    pid: int = 0
    uss_bytes: int = 0


def path_context(
    context: Context,
    strategy: Strategy,
    space: SearchSpace,
    spec: ResampleSpec,
    begin: int = 0,
    end: int | None = None,
) -> PathContext:
    """Return what tasks on paths share: the kernel compiled, the series looked through.

    Parameters
    ----------
    context : Context
        Of the plain kernel of the same strategy and space.
    strategy : Strategy
    space : SearchSpace
    spec : ResampleSpec
    begin, end : int, optional
        Range of ticks that paths are drawn from.

    Raises
    ------
    StrategyError
        If the strategy has features or does not compile.
    DataError
        If the ticks cannot be resampled like that.
    """
    kernel = build_path_kernel(strategy, space)
    return PathContext(context, kernel, prepare(attach(context.ticks), spec, begin, end))


def evaluate_paths(
    context: PathContext, task: PathTask, width: int = WIDTH, *, many: int = _MANY
) -> PathOutcome:
    """Evaluate variants on resampled paths. Never raises: what goes wrong comes back as data.

    Parameters
    ----------
    context : PathContext
    task : PathTask
    width : int, optional
        Lanes at most; 1 evaluates one after the other. Rows are the same.
    many : int, optional
        Variants from which on these are side by side, instead of paths. Rows are the same.

    Returns
    -------
    PathOutcome
    """
    began = time.perf_counter()
    try:
        if not 0 <= task.first < task.end:
            raise InputError(f"paths {task.first} to {task.end}: there are none")
        work = _Work(context, width, many)
        parts, apart = [], []
        for numbers in work.batches(task):
            stretches, counts = work.stretches(task.params, numbers)
            parts.append(_merged(stretches, counts))
            if task.apart:
                apart.append(stretches)
        return PathOutcome(
            number=task.number,
            rows=np.concatenate(parts, axis=1),
            stretches=_joined(apart),
            failures=tuple(sorted(work.failures)),
            seconds=time.perf_counter() - began,
            kernel_seconds=work.seconds,
            pid=os.getpid(),
            uss_bytes=own_bytes(context.context.ticks.path),
        )
    except BaseException as error:
        text = str(error) if isinstance(error, SweepError) else traceback.format_exc()
        return PathOutcome(
            number=task.number,
            rows=np.zeros((len(task.params), max(task.end - task.first, 0)), ROW),
            error=text or type(error).__name__,
            seconds=time.perf_counter() - began,
            pid=os.getpid(),
        )


class _Work:
    """A task at work."""

    def __init__(self, context: PathContext, width: int, many: int) -> None:
        self._own = context
        self._context = context.context
        self._resampler = context.resampler
        self._ticks = attach(self._context.ticks)
        self._terms = terms_of(self._context.costs, self._context.account)
        self._width = width
        self._many = many
        self.failures: list[tuple[int, int, str]] = []
        self.seconds = 0.0

    def batches(self, task: PathTask) -> Iterator[range]:
        """Numbers of paths that are held together: memory does not grow with them."""
        first = plan_path(self._resampler, self._ticks, task.first)
        if len(first.starts) > _MOST_ROWS:
            raise InputError(
                f"resampling: the strategy would start afresh {len(first.starts):,} times on a "
                f"path, at most {_MOST_ROWS:,} are kept; use longer blocks, or restart = 'never'"
            )
        rows = len(first.starts) * len(task.params)
        most = min(_PATHS, _PIECES // len(first.pieces), _ROWS // rows)
        for begin in range(task.first, task.end, max(most, 1)):
            yield range(begin, min(begin + max(most, 1), task.end))

    def stretches(self, params: FloatArray2D, numbers: range) -> tuple[Rows, IntArray1D]:
        """Rows of variants on some paths by stretch, and how many stretches a path has."""
        paths = [plan_path(self._resampler, self._ticks, number) for number in numbers]
        params = np.ascontiguousarray(params, dtype=np.float64)
        counts = np.array([len(path.starts) for path in paths])
        rows = np.zeros((len(params), len(paths), int(counts.max())), ROW)
        lanes = bool(self._own.kernel.path) and self._width > 1 and len(params) < self._many
        if lanes:
            for v in range(len(params)):
                try:
                    self._side_by_side(params[v : v + 1], paths, rows[v])
                except Exception:
                    # One path raised; each alone tells which, and saves the others.
                    for k, path in enumerate(paths):
                        self._alone(params, v, path, numbers[k], rows[v, k])
        else:
            for k, path in enumerate(paths):
                try:
                    self._written_out(params, path, rows[:, k])
                except Exception:
                    for v in range(len(params)):
                        self._alone(params, v, path, numbers[k], rows[v, k])
        self._end_where_bad(rows, counts, numbers)
        return rows, counts

    def _alone(self, params: FloatArray2D, v: int, path: Path, number: int, rows: Rows) -> None:
        try:
            self._written_out(params[v : v + 1], path, rows[None])
        except Exception as error:
            kernel = load_kernel(self._context.kernel)
            given = kernel.params(params[v])._asdict()
            said = ", ".join(f"{name}={value!r}" for name, value in given.items())
            where = self._context.kernel.strategy_path
            reason = f"{where}: raised {type(error).__name__}: {error} on path {number}, {said}"
            self.failures.append((v, number, reason))
            rows[:] = np.zeros((), ROW)
            rows["status"] = STATUS_ERROR
            rows["tick"] = -1

    def _end_where_bad(self, rows: Rows, counts: IntArray1D, numbers: range) -> None:
        """Let a variant that gave an order that is no number be evaluated no further."""
        for v, k in np.argwhere((rows["status"] == STATUS_BAD_ORDER).any(axis=2)).tolist():
            first = int(np.argmax(rows["status"][v, k] == STATUS_BAD_ORDER))
            rows[v, k, first : counts[k]] = rows[v, k, first]
            reason = (
                f"{self._context.kernel.strategy_path}: step() returned a target that is not a "
                f"finite number at tick {rows[v, k, first]['tick']} of path {numbers[k]}"
            )
            self.failures.append((v, numbers[k], reason))

    # -- paths side by side ------------------------------------------------------------

    def _side_by_side(self, params: FloatArray2D, paths: list[Path], out: Rows) -> None:
        """Rows of a variant on paths, by lanes that are each on a path."""
        kernel = load_path_kernel(self._own.kernel)
        plan = join(paths)
        stretches = np.zeros(len(plan.firsts), ROW)
        for jobs in schedule(plan, self._width):
            began = time.thread_time()
            kernel.run(
                self._ticks,
                self._resampler.grid,
                plan.pieces,
                jobs,
                params,
                self._terms,
                stretches,
                self._width,
            )
            self.seconds += time.thread_time() - began
        place = np.arange(len(stretches)) - np.searchsorted(plan.paths, plan.paths, "left")
        out[plan.paths, place] = stretches

    # -- variants side by side ---------------------------------------------------------

    def _written_out(self, params: FloatArray2D, path: Path, out: Rows) -> None:
        """Rows of variants on a path, by the plain kernel on blocks of it."""
        kernel = load_kernel(self._context.kernel)
        edges = path.edges[np.append(path.starts, len(path.pieces))].tolist()
        room = _room(self._resampler, self._ticks, path, self._context.costs.latency)
        for m, (begin, end) in enumerate(pairwise(edges)):
            out[:, m] = self._stretch(kernel, params, path, begin, end, room)

    def _stretch(
        self, kernel: Kernel, params: FloatArray2D, path: Path, begin: int, end: int, room: int
    ) -> Rows:
        n = len(params)
        run = kernel.run_for(n, 1 if self._width == 1 else None)
        memory = new_memory(kernel.ref, n, room)
        rows = np.zeros((n, 1), ROW)
        if not kernel.ref.resumable:
            # A state with arrays in it cannot go from block to block.
            block = end - begin
        else:
            block = _BLOCK
        for first in range(begin, end, block):
            last = min(first + block, end)
            ticks = derive_ticks(self._resampler, self._ticks, path, first, last)
            known = rows["status"].copy()
            call = KernelCall(
                ticks,
                params,
                np.array([[0, last - first, 0]], np.int64),
                self._terms,
                memory,
                rows,
                close_out=last == end,
            )
            began = time.thread_time()
            run(call)
            self.seconds += time.thread_time() - began
            # Ticks of a block are numbered by itself, those of a row by the path.
            new = (rows["tick"] >= 0) & (rows["status"] != known)
            rows["tick"][new] += first
            memory.carries["live_from"] -= last - first
        return rows[:, 0]


def _merged(stretches: Rows, counts: IntArray1D) -> Rows:
    """Return the rows of paths: those of their stretches, merged in order."""
    whole = stretches[:, :, 0].copy()
    fine = (stretches["status"] != STATUS_ERROR).all(axis=2)
    for m in range(1, stretches.shape[2]):
        there = fine & (counts > m)
        whole[there] = merge(whole[there], stretches[there, m])
    return whole


def _joined(parts: list[Rows]) -> Rows:
    """Return the stretches of several batches of paths one after the other."""
    if not parts:
        return np.zeros((0, 0, 0), ROW)
    most = max(part.shape[2] for part in parts)
    n_paths = sum(part.shape[1] for part in parts)
    whole = np.zeros((parts[0].shape[0], n_paths, most), ROW)
    at = 0
    for part in parts:
        whole[:, at : at + part.shape[1], : part.shape[2]] = part
        at += part.shape[1]
    return whole


def _room(resampler: Resampler, ticks: Ticks, path: Path, latency: int) -> int:
    """Return room enough for the orders in flight on a path, see `orders_in_flight`."""
    if latency <= 0:
        return orders_in_flight(ticks.ts[:1], 0)
    most = 0
    window = np.zeros(0, np.int64)
    n = path.n_ticks
    for first in range(0, n, _BLOCK):
        part = derive_ticks(resampler, ticks, path, first, min(first + _BLOCK, n)).ts
        window = np.concatenate([window[window > part[0] - latency], part])
        most = max(most, orders_in_flight(window, latency))
    return most
