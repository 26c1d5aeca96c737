"""What workers run on simulated paths: variants on some paths, to one row for each.

A path is simulated a session at a time, and each session evaluated from where the one
before left off, so that a path never lies in memory as a whole.
"""

from __future__ import annotations

import os
import time
import traceback
import uuid
from dataclasses import dataclass, replace

import numpy as np

from sweep.backtest.segments import evaluate_piece
from sweep.backtest.tasks import Carry, Context, Task, orders_in_flight, own_bytes
from sweep.errors import DataError, SweepError
from sweep.kernel import KernelRef
from sweep.scenarios.evaluate import PathOutcome, PathTask
from sweep.scenarios.simulate.simulate import simulate
from sweep.scenarios.simulate.spec import PathSpec
from sweep.schema import ROW, FloatArray2D, Rows, Slice, Ticks
from sweep.ticks.mapped import hold, release

__all__ = ["SimulatedContext", "check_simulated", "evaluate_simulated"]


@dataclass(frozen=True)
class SimulatedContext:
    """What all tasks on simulated paths share.

    Attributes
    ----------
    context : Context
        Its ticks and its capacity do not count.
    spec : PathSpec
    """

    context: Context
    spec: PathSpec


def evaluate_simulated(context: SimulatedContext, task: PathTask) -> PathOutcome:
    """Evaluate variants on simulated paths. Never raises: what goes wrong comes back as data.

    Parameters
    ----------
    context : SimulatedContext
    task : PathTask

    Returns
    -------
    PathOutcome
    """
    began = time.perf_counter()
    rows = np.zeros((len(task.params), task.end - task.first), ROW)
    failures: list[tuple[int, int, str]] = []
    kernel_s = 0.0
    error = ""
    try:
        for k, number in enumerate(range(task.first, task.end)):
            rows[:, k], reasons, seconds = _evaluate(context, task.params, number)
            failures += [(v, number, why) for v, why in reasons]
            kernel_s += seconds
    except BaseException as caught:
        error = str(caught) if isinstance(caught, SweepError) else traceback.format_exc()
        error = error or type(caught).__name__
    return PathOutcome(
        number=task.number,
        rows=rows,
        failures=tuple(sorted(failures)),
        error=error,
        seconds=time.perf_counter() - began,
        kernel_seconds=kernel_s,
        pid=os.getpid(),
        uss_bytes=own_bytes(context.context.ticks.path),
    )


def check_simulated(kernel: KernelRef) -> None:
    """Refuse a strategy that cannot run on simulated paths.

    Raises
    ------
    DataError
        If it has features, or arrays in its state.
    """
    if kernel.features or not kernel.resumable:
        raise DataError(
            f"{kernel.strategy_path}: runs on simulated paths only where it goes from session to "
            f"session: without features(), and without arrays in State; or take the resampling of "
            f"sessions' profit and loss, sweep mc -m pnl"
        )


def _evaluate(
    context: SimulatedContext, params: FloatArray2D, number: int
) -> tuple[Rows, list[tuple[int, str]], float]:
    own = context.context
    check_simulated(own.kernel)
    path = f"simulated-{uuid.uuid4().hex}"
    carry: Carry | None = None
    base = 0
    kernel_s = 0.0
    failures: dict[int, str] = {}
    held: Ticks | None = None
    try:
        # One session is held back, since only the last one closes what is open.
        for chunk in (*simulate(context.spec, number), None):
            if held is not None:
                n = len(held.ts)
                handle = replace(
                    own.ticks,
                    path=path,
                    n_ticks=n,
                    content=f"{path}/{base}",
                    columns=("ts", "bid", "ask"),
                    first_ts=int(held.ts[0]),
                    last_ts=int(held.ts[-1]),
                )
                hold(handle, held)
                task = Task(
                    number=0,
                    params=params,
                    slices=(Slice(0, n, 0),),
                    close_out=chunk is None,
                    carry=carry,
                    keep=chunk is not None,
                    ticks=handle,
                    base=base,
                )
                found = evaluate_piece(own, task, orders_in_flight(held.ts, own.costs.latency))
                if found.error:
                    raise DataError(found.error)
                for v, reason in found.failures:
                    failures.setdefault(v, reason)
                kernel_s += found.kernel_seconds
                carry, base = found.carry, base + n
            held = None if chunk is None else _ticks(chunk)
    finally:
        release(path)
    return found.rows[:, 0], sorted(failures.items()), kernel_s


def _ticks(chunk: dict[str, np.ndarray]) -> Ticks:
    columns = [np.ascontiguousarray(chunk[name]) for name in ("ts", "bid", "ask")]
    for column in columns:
        column.flags.writeable = False
    ts, bid, ask = columns
    return Ticks(ts, bid, ask, np.zeros(0), np.zeros(0))
