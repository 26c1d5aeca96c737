"""The compiled kernel and its plain twin, called on ticks that lie in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sweep.backtest.tasks import orders_in_flight
from sweep.kernel import (
    Kernel,
    KernelCall,
    Memory,
    Recording,
    build_kernel,
    load_kernel,
    plain_kernel,
)
from sweep.kernel import new_memory as kernel_memory
from sweep.kernel.accounting import FILL, terms_of
from sweep.schema import ROW, Account, Costs, Slice, Ticks
from sweep.strategy.declare import Strategy
from sweep.strategy.parameters import Number
from sweep.strategy.space import SearchSpace

_KERNELS: dict[tuple[str, bool], Kernel] = {}


class Evaluated(NamedTuple):
    """What a variant leaves: a row for each slice, and a replay's record."""

    rows: np.ndarray
    equity: np.ndarray
    position: np.ndarray
    fills: np.ndarray


def wide_space(strategy: Strategy) -> SearchSpace:
    """The strategy's space with windows from one tick up, for markets of a few rows."""
    parameters = tuple(
        dataclasses.replace(p, low=1.0) if isinstance(p, Number) and p.low >= 50.0 else p
        for p in strategy.params.parameters
    )
    return SearchSpace(parameters, strategy.params)


def kernel_of(strategy: Strategy, *, plain: bool = False) -> Kernel:
    key = (strategy.digest, plain)
    if key not in _KERNELS:
        space = wide_space(strategy)
        _KERNELS[key] = (
            plain_kernel(strategy, space) if plain else load_kernel(build_kernel(strategy, space))
        )
    return _KERNELS[key]


def evaluate(
    strategy: Strategy,
    ticks: Ticks,
    values: dict[str, Any],
    costs: Costs,
    account: Account,
    slices: Sequence[Slice] | None = None,
    *,
    carry_over: bool = False,
    close_out: bool = True,
    plain: bool = False,
    memory: Memory | None = None,
    before: np.ndarray | None = None,
    arrivals: np.ndarray | None = None,
    shares: np.ndarray | None = None,
) -> Evaluated:
    """Evaluate one variant on slices of the ticks, by default on all of them.

    ``memory`` and ``before`` (the row so far) let a call go on from an earlier one.
    """
    kernel = kernel_of(strategy, plain=plain)
    slices = [Slice(0, len(ticks.ts), 0)] if slices is None else slices
    params = wide_space(strategy).encode(values)[None, :]
    columns = kernel.features(ticks, kernel.params(params[0]))
    rows = np.zeros((1, len(slices)), ROW)
    if before is not None:
        rows[0, 0] = before
    size = slices[-1].end - slices[0].begin
    equity, position = np.full(size, np.nan), np.full(size, np.nan)
    fills = np.zeros(len(ticks.ts) + 2, FILL)
    memory = new_memory(kernel, ticks, costs) if memory is None else memory
    kernel.scalar(
        KernelCall(
            ticks,
            params,
            np.array(slices, dtype=np.int64),
            terms_of(costs, account),
            memory,
            rows,
            columns,
            carry_over=carry_over,
            close_out=close_out,
            recording=Recording(equity, position, fills),
            arrivals=arrivals,
            shares=shares,
        )
    )
    return Evaluated(rows[0], equity, position, fills[: rows[0, -1]["fills"]])


def new_memory(kernel: Kernel, ticks: Ticks, costs: Costs) -> Memory:
    return kernel_memory(kernel.ref, 1, orders_in_flight(ticks.ts, costs.latency))
