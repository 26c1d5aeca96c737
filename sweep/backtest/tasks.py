"""What workers run: one task, a batch of variants over slices, to rows; and the replay.

A task carries parameters and slices, never ticks: workers map those from the store by
the handle in the `Context`. A row's value depends on the variant, the slices and the
context alone, never on the batch that the variant came in.
"""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from sweep.backtest.feature_blocks import Call, agree, alike, calls_of, feature_arrays, forget
from sweep.errors import DataError, ReplayMismatchError, StrategyError, SweepError
from sweep.kernel import (
    Kernel,
    KernelCall,
    KernelRef,
    Memory,
    Recording,
    load_kernel,
    new_memory,
)
from sweep.kernel.accounting import CARRY, FILL, terms_of
from sweep.schema import (
    ROW,
    STATUS_BAD_ORDER,
    STATUS_ERROR,
    Account,
    Costs,
    FloatArray1D,
    FloatArray2D,
    IntArray1D,
    Rows,
    Slice,
    TickHandle,
    Ticks,
)
from sweep.ticks.mapped import attach
from sweep.ticks.sessions import cells_of

__all__ = [
    "OR_REPORT",
    "Carry",
    "Context",
    "Outcome",
    "Replay",
    "Task",
    "differences",
    "evaluate",
    "orders_in_flight",
    "own_bytes",
    "replay",
]

#: Ticks up to which a failure is looked for by a recorded run, at 96 bytes a tick.
_RECORDED = 1 << 23

#: Rows that a kernel writes at a time: twenty megabytes.
_ROWS = 1 << 16


@dataclass(frozen=True)
class Context:
    """What all tasks of a study share.

    Attributes
    ----------
    ticks : TickHandle
    kernel : KernelRef
    costs : Costs
    account : Account
    capacity : int
        Room for orders in flight, see `orders_in_flight`.
    """

    ticks: TickHandle
    kernel: KernelRef
    costs: Costs
    account: Account
    capacity: int


class Carry(NamedTuple):
    """What a batch carries from one slice to the next, as arrays by variant."""

    carries: np.ndarray[Any, Any]
    floats: FloatArray2D
    ints: np.ndarray[Any, Any]
    due: np.ndarray[Any, Any]
    targets: FloatArray2D
    rows: Rows

    def select(self, places: Any) -> Carry:
        """Return a copy of the carry of some variants of the batch."""
        return Carry(*(part[places].copy() for part in self))

    @staticmethod
    def join(parts: list[Carry]) -> Carry:
        """Return the carry of several batches one after the other."""
        return Carry(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Task:
    """A batch of variants on consecutive slices.

    Attributes
    ----------
    number : int
    params : ndarray of shape (n_variants, n_params), float64
    slices : tuple of Slice
    carry_over : bool
        Whether the slices go on from each other.
    close_out : bool
        Whether the last slice is the end of the range.
    carry : Carry or None
        Where an earlier task of the same variants ended.
    keep : bool
        Whether a later task goes on from here, so that the carry must come back.
    ticks : TickHandle or None
        Ticks that the slices are about, instead of the context's.
    base : int
        Place in the whole series of the first of those ticks.
    arrivals, shares : ndarray or None
        How orders are filled, by tick of those ticks; see `sweep.kernel.compiled.call_kernel`.
    edges : tuple of int
        Ticks at which sessions begin, and the end of the last, where the equity of each
        variant is wanted there; see `sweep.ticks.sessions`. Rows are the same with and without.
    apart : bool
        Whether features begin no earlier than the variant's own warm-up although the slices
        go on from each other, as they do where slices are independent.
    """

    number: int
    params: FloatArray2D
    slices: tuple[Slice, ...]
    carry_over: bool = True
    close_out: bool = True
    carry: Carry | None = None
    keep: bool = False
    ticks: TickHandle | None = None
    base: int = 0
    arrivals: IntArray1D | None = None
    shares: FloatArray1D | None = None
    edges: tuple[int, ...] = ()
    apart: bool = False


@dataclass(frozen=True)
class Outcome:
    """A task's result: plain data, so that any process can return it.

    Attributes
    ----------
    number : int
        Of the task.
    rows : ndarray of shape (n_variants, n_slices), dtype `sweep.schema.ROW`
    carry : Carry or None
    failures : tuple of (int, str)
        Place in the batch, and the reason in the user's terms.
    error : str
        Why the whole task failed; empty if it did not. Rows mean nothing then.
    seconds : float
        Wall time of the evaluation in the worker.
    kernel_seconds : float
        Of it, the processor's time within compiled kernels.
    pid : int
    uss_bytes : int
        See `own_bytes`.
    equity : ndarray of shape (n_variants, n_cells), float64, or None
        At the end of each of the cells that the task's edges make, an open position marked;
        NaN where a variant failed; None without edges.
    """

    number: int
    rows: Rows
    carry: Carry | None = None
    failures: tuple[tuple[int, str], ...] = ()
    error: str = ""
    seconds: float = 0.0
    kernel_seconds: float = 0.0
    pid: int = 0
    uss_bytes: int = 0
    equity: FloatArray2D | None = None


#: Seconds that the task at hand has spent in compiled kernels; a process has one at a time.
_IN_KERNELS = [0.0]


def orders_in_flight(ts: IntArray1D, latency: int, block: int = 1 << 20) -> int:
    """Return room enough for the orders that can be in flight at once.

    An order can be given at every tick and waits for ``latency`` nanoseconds, so that
    the bound is the largest number of ticks in such a stretch, and one.

    Parameters
    ----------
    ts : ndarray of shape (n_ticks,), int64
    latency : int
        Nanoseconds.
    block : int, optional
        Ticks looked at together.
    """
    if latency <= 0:
        return 2
    most = 0
    for first in range(0, len(ts), block):
        part = ts[first : first + block]
        lowest = max(int(np.searchsorted(ts, int(part[0]) - latency, "right")), 0)
        window = ts[lowest : first + len(part)]
        since = lowest + np.searchsorted(window, part - latency, "right")
        most = max(most, int((np.arange(first, first + len(part)) - since).max()) + 1)
    return most + 1


def evaluate(context: Context, task: Task, width: int | None = None) -> Outcome:
    """Evaluate a task. Never raises: what goes wrong comes back as data.

    Parameters
    ----------
    context : Context
    task : Task
    width : int, optional
        1 evaluates one variant after the other, more lets them run side by side where
        the strategy allows it; by default whatever is faster. Rows are the same.

    Returns
    -------
    Outcome
    """
    began = time.perf_counter()
    _IN_KERNELS[0] = 0.0
    try:
        kernel = load_kernel(context.kernel)
        handle = context.ticks if task.ticks is None else task.ticks
        ticks = attach(handle)
        rows, carry, failures, equity = _run(context, kernel, ticks, task, width)
        return Outcome(
            number=task.number,
            rows=rows,
            carry=carry if task.keep else None,
            failures=failures,
            seconds=time.perf_counter() - began,
            kernel_seconds=_IN_KERNELS[0],
            pid=os.getpid(),
            uss_bytes=own_bytes(handle.path),
            equity=equity,
        )
    except BaseException as error:
        text = str(error) if isinstance(error, SweepError) else traceback.format_exc()
        return Outcome(
            number=task.number,
            rows=np.zeros((len(task.params), len(task.slices)), ROW),
            error=text or type(error).__name__,
            seconds=time.perf_counter() - began,
            pid=os.getpid(),
        )


def _run(
    context: Context, kernel: Kernel, ticks: Ticks, task: Task, width: int | None = None
) -> tuple[Rows, Carry, tuple[tuple[int, str], ...], FloatArray2D | None]:
    n = len(task.params)
    store = _new_carry(context, n) if task.carry is None else task.carry.select(slice(None))
    rows = np.zeros((n, len(task.slices)), ROW)
    if task.carry is not None:
        rows[:, 0] = store.rows
    n_cells = len(cells_of(task.slices, task.edges)) if task.edges else 0
    equity = np.full((n, n_cells), np.nan)
    failures: list[tuple[int, str]] = []
    left = np.arange(n)
    while len(left):
        group = left[:1] if kernel.ref.features else left
        try:
            group, calls = _alike(context, kernel, ticks, task, left)
            _run_group(context, kernel, ticks, task, group, calls, store, rows, equity, width=width)
        except Exception:
            # One variant raised; each alone tells which, and saves the others.
            fresh = _new_carry(context, n) if task.carry is None else task.carry
            for v in group.tolist():
                for whole, part in zip(store, fresh, strict=True):
                    whole[v] = part[v]
                rows[v] = np.zeros((), ROW)
                if task.carry is not None:
                    rows[v, 0] = fresh.rows[v]
                alone = np.array([v])
                try:
                    _, calls = _alike(context, kernel, ticks, task, alone)
                    _run_group(
                        context, kernel, ticks, task, alone, calls, store, rows, equity, width=1
                    )
                except Exception as error:
                    failures.append((v, _failed(context, kernel, ticks, task, v, error)))
                    rows[v] = np.zeros((), ROW)
                    rows[v]["status"] = STATUS_ERROR
                    rows[v]["tick"] = -1
        left = np.setdiff1d(left, group, assume_unique=True)
    if task.base:
        known = 0 if task.carry is None else task.carry.rows["status"][:, None]
        new = (rows["tick"] >= 0) & (rows["status"] != known)
        rows["tick"][new] += task.base
    for v in np.flatnonzero((rows["status"] == STATUS_BAD_ORDER).any(axis=1)).tolist():
        bad = rows[v][rows[v]["status"] == STATUS_BAD_ORDER]
        failures.append((v, _bad_order(context, ticks, int(bad[0]["tick"]), task.base)))
    equity[[v for v, _ in failures]] = np.nan
    carry = store._replace(rows=rows[:, -1].copy())
    return rows, carry, tuple(sorted(failures)), equity if task.edges else None


def _new_carry(context: Context, n: int) -> Carry:
    return Carry(*new_memory(context.kernel, n, context.capacity), np.zeros(n, ROW))


class _ApartError(Exception):
    """Variants that shared their features so far do not any longer: run them one by one."""


def _alike(
    context: Context, kernel: Kernel, ticks: Ticks, task: Task, left: IntArray1D
) -> tuple[IntArray1D, list[Call]]:
    """Return the first of the variants left with those that share its features, and calls."""

    def calls(row: FloatArray1D) -> list[Call]:
        return calls_of(
            kernel,
            task.slices,
            row,
            carry_over=task.carry_over,
            close_out=task.close_out,
            fresh=task.carry is None,
            base=task.base,
            edges=task.edges,
            apart=task.apart,
        )

    content = context.ticks.content if task.ticks is None else task.ticks.content
    half = context.costs.half_spread
    return alike(kernel, ticks, content, half, task.params, left, calls)


def _run_group(
    context: Context,
    kernel: Kernel,
    ticks: Ticks,
    task: Task,
    group: IntArray1D,
    calls: list[Call],
    store: Carry,
    rows: Rows,
    at_edges: FloatArray2D | None = None,
    *,
    width: int | None = None,
    recording: Recording | None = None,
) -> None:
    """Run the kernel for variants that share their features, writing into the stores.

    ``at_edges`` takes the equity at the end of each cell, shape (n_variants, n_cells).
    """
    params = np.ascontiguousarray(task.params[group])
    terms = terms_of(context.costs, context.account)
    content = context.ticks.content if task.ticks is None else task.ticks.content
    memory = store.select(group)
    row = np.zeros(len(params), ROW) if task.carry is None else rows[group, 0].copy()
    done = 0
    for call in calls:
        features, read = feature_arrays(
            kernel, ticks, content, context.costs.half_spread, call, params[0]
        )
        if len(params) > 1 and not agree(kernel, params, read).all():
            raise _ApartError
        if call.fresh:
            memory.carries[:] = np.zeros((), CARRY)
        length = call.slices[-1].end - call.slices[0].begin
        slices = np.array(call.slices, dtype=np.int64).reshape(-1, 3)
        for some in _in_blocks(len(params), len(call.slices)):
            own = params[some]
            part = np.zeros((len(own), len(call.slices)), ROW)
            part[:, 0] = row[some]
            run = kernel.scalar if recording else kernel.run_for(len(own), width)
            kernel_call = KernelCall(
                ticks,
                own,
                slices,
                terms,
                Memory(*(column[some] for column in memory[:-1])),
                part,
                features,
                call.first,
                carry_over=call.joined,
                close_out=call.last,
                recording=recording and recording.between(done, done + length),
                arrivals=task.arrivals,
                shares=task.shares,
            )
            began = time.thread_time()
            run(kernel_call)
            _IN_KERNELS[0] += time.thread_time() - began
            row[some] = part[:, -1]
            # A slice or a cell in pieces takes its row from the last of them.
            _take_last(rows, group[some], call.places, part)
            if at_edges is not None and at_edges.shape[1]:
                _take_last(at_edges, group[some], call.cells, part["equity"])
        done += length
    if not task.carry_over and any(call.joined for call in calls):
        # A variant that gave an order that is no number is not evaluated further.
        for m in range(1, len(task.slices)):
            dead = group[rows[group, m - 1]["status"] == STATUS_BAD_ORDER]
            rows[dead, m] = rows[dead, m - 1]
    for whole, own in zip(store, memory, strict=True):
        whole[group] = own


def _in_blocks(n: int, n_pieces: int) -> list[slice]:
    """Cut variants into blocks, so that the rows of all their pieces take little memory."""
    # Some vector registers of lanes at least, and of about equal size.
    most = max(_ROWS // n_pieces, 64)
    size = (-(-n // -(-n // most)) + 7) // 8 * 8
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


def _take_last(
    store: np.ndarray[Any, Any],
    group: IntArray1D,
    columns: tuple[int, ...],
    values: np.ndarray[Any, Any],
) -> None:
    """Write into columns of a store the last of the values that belong to each."""
    last = dict(zip(columns, range(len(columns)), strict=True))
    store[np.ix_(group, np.array([*last]))] = values[:, np.array([*last.values()])]


# -- failures --------------------------------------------------------------------------


def _bad_order(context: Context, ticks: Ticks, tick: int, base: int) -> str:
    # A tick before these is known by its number alone.
    at = f" ({_stamp(ticks, tick - base)})" if tick >= base else ""
    return (
        f"{context.kernel.strategy_path}: step() returned a target that is not a finite number "
        f"at tick {tick}{at}"
    )


def _failed(
    context: Context, kernel: Kernel, ticks: Ticks, task: Task, variant: int, error: Exception
) -> str:
    """Return the reason why one variant raised: the user's line, the tick, parameters."""
    params = task.params[variant]
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, (StrategyError, DataError)):
        return str(error)
    tick = _failing_tick(context, kernel, ticks, task, variant)
    at = "" if tick is None else f" at tick {tick + task.base} ({_stamp(ticks, tick)})"
    return f"{context.kernel.strategy_path}: raised {said}{at}, parameters {_show(kernel, params)}"


def _failing_tick(
    context: Context, kernel: Kernel, ticks: Ticks, task: Task, variant: int
) -> int | None:
    """Return the tick at which a variant raises: the first that a recording run lacks."""
    if task.carry is not None or not task.carry_over:
        return None
    first, end = task.slices[0].begin, task.slices[-1].end
    length = end - first
    if length > _RECORDED:
        return None
    # Any number of fills may come before the failure; one order a tick is the most.
    record = Recording(np.full(length, np.nan), np.zeros(length), np.zeros(length + 2, FILL))
    try:
        alone = replace(task, params=task.params[variant : variant + 1], edges=())
        _record(context, kernel, ticks, alone, record)
    except Exception:
        seen = np.flatnonzero(np.isfinite(record.equity))
        return first + (int(seen[-1]) if len(seen) else 0)
    return None


def _stamp(ticks: Ticks, tick: int) -> str:
    return f"{np.datetime64(int(ticks.ts[tick]), 'ns')}Z"


def _show(kernel: Kernel, row: FloatArray1D) -> str:
    values = kernel.params(row)._asdict()
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


# -- replay ----------------------------------------------------------------------------

#: What makes a strategy give other results for the same ticks and parameters.
_LOOK_FOR = (
    "look for random numbers, and for what is kept between calls outside of State "
    "(a global, a cache, a model fitted once)"
)

#: What to do about a row that is another one in a replay.
OR_REPORT = (
    f"In the strategy {_LOOK_FOR}; if there is nothing of the kind, please report this with the "
    f"study's folder"
)


def differences(one: Rows, one_is: str, other: Rows, other_is: str) -> str:
    """Return the first fields in which two rows differ in any bit; empty where they do not.

    Parameters
    ----------
    one, other : ndarray of shape (), dtype `sweep.schema.ROW`
    one_is, other_is : str
        What to call them, such as "now".
    """
    names = [n for n in ROW.names or () if one[n].tobytes() != other[n].tobytes()]
    return "; ".join(f"{n}: {one[n]!r} {one_is}, {other[n]!r} {other_is}" for n in names[:4])


@dataclass(frozen=True)
class Replay:
    """One variant, evaluated alone by the same kernel with full detail.

    Attributes
    ----------
    row : ndarray of shape (), dtype `sweep.schema.ROW`
        Merged over the slices.
    ts : ndarray of shape (n_ticks,), int64
    equity, position : ndarray of shape (n_ticks,), float64
        Marked at each tick, after its fills.
    fills : ndarray of shape (n_fills,), dtype `sweep.kernel.accounting.FILL`
    """

    row: Rows
    ts: IntArray1D
    equity: FloatArray1D
    position: FloatArray1D
    fills: np.ndarray[Any, Any]


def replay(
    context: Context,
    params: FloatArray1D,
    slices: tuple[Slice, ...],
    *,
    carry_over: bool = True,
    close_out: bool = True,
) -> Replay:
    """Evaluate one variant with its equity curve and its fills.

    It is evaluated twice, without a record and with it, each time with features of its own.

    Parameters
    ----------
    context : Context
    params : ndarray of shape (n_params,), float64
    slices : tuple of Slice
        In the order of time; consecutive where they are carried over.
    carry_over, close_out : bool, optional
        See `Task`.

    Raises
    ------
    StrategyError
        If the strategy raises or returns an order that is not a finite number.
    ReplayMismatchError
        If the strategy does not repeat itself.
    """
    from sweep.stats.metrics import merge

    forget()
    kernel = load_kernel(context.kernel)
    ticks = attach(context.ticks)
    task = Task(0, np.array(params, dtype=np.float64)[None, :], slices, carry_over, close_out)
    rows, _, failures, _ = _run(context, kernel, ticks, task)
    if failures:
        raise StrategyError(failures[0][1])
    forget()
    recorded = np.zeros_like(rows)
    parts: list[tuple[Any, ...]] = []
    for m, part in enumerate([slices] if carry_over else [(s,) for s in slices]):
        where = slice(m, m + len(part))
        room = int(rows[0, where]["fills"][-1])
        length = part[-1].end - part[0].begin
        record = Recording(np.zeros(length), np.zeros(length), np.zeros(room + 1, FILL))
        alone = Task(0, task.params, part, carry_over, close_out)
        try:
            recorded[:, where] = _record(context, kernel, ticks, alone, record)
        except SweepError:
            raise
        except Exception as error:
            raise _unrepeated(context, f"it raised {type(error).__name__}: {error}") from error
        parts.append((ticks.ts[part[0].begin : part[-1].end], *record[:2], record.fills[:room]))
    for first, second in zip(rows[0], recorded[0], strict=True):
        if differing := differences(first, "at first", second, "then"):
            raise _unrepeated(context, differing)
    row = recorded[0, -1:]
    if not carry_over:
        row = recorded[0, :1]
        for m in range(1, len(slices)):
            row = merge(row, recorded[0, m : m + 1])
    return Replay(row[0], *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _unrepeated(context: Context, found: str) -> ReplayMismatchError:
    return ReplayMismatchError(
        f"{context.kernel.strategy_path}: THIS STRATEGY DOES NOT REPEAT ITSELF: a variant was "
        f"evaluated twice on the same ticks, and the second time was another: {found}. Its "
        f"figures cannot be trusted; {_LOOK_FOR}"
    )


def _record(
    context: Context, kernel: Kernel, ticks: Ticks, task: Task, recording: Recording
) -> Rows:
    """Return the rows of a task's only variant, writing its equity, position and fills."""
    rows = np.zeros((1, len(task.slices)), ROW)
    group, calls = _alike(context, kernel, ticks, task, np.zeros(1, np.int64))
    store = _new_carry(context, 1)
    _run_group(context, kernel, ticks, task, group, calls, store, rows, recording=recording)
    return rows


# -- worker ----------------------------------------------------------------------------

_MEASURED = [0.0, 0]


def own_bytes(ticks_path: str) -> int:
    """Return this process's unique set size without the mapped ticks; 0 where unknown.

    Pages of the ticks' files belong to the system's cache, however many processes map
    them; with a single one the unique set size would count them. Measured at most once
    in ten seconds, because the system takes milliseconds to tell.

    Parameters
    ----------
    ticks_path : str
        The store entry's folder.
    """
    now = time.monotonic()
    if now - _MEASURED[0] < 10.0 and _MEASURED[1]:
        return int(_MEASURED[1])
    total, counted = 0, True
    try:
        with open("/proc/self/smaps", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("Private_"):
                    total += int(line.split()[1]) if counted else 0
                elif "-" in line.split(" ", 1)[0]:
                    counted = not ticks_path or ticks_path not in line
    except OSError:
        return 0
    _MEASURED[:] = [now, total * 1024]
    return int(_MEASURED[1])
