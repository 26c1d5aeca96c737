"""Execution stress: the same history, traded under worse conditions.

A scenario makes execution worse in one or several ways; `evaluate_stressed` runs variants
through it. Nothing of the market's moves is changed, so that what a scenario costs is the
strategy's dependence on its execution alone. All scenarios of one replicate draw the same
random numbers (common random numbers), addressed by the tick: more latency delays the
same orders more, and every variant meets the same rejections.

==========  =========================================================================
latency     orders of a tick arrive later; none overtakes an earlier one
spread      bid and ask move away from the mid
slippage    price units against the trader
commission  a multiple of the study's
rejected    orders that arrive at a tick are lost
partial     of orders that arrive at a tick a random share is filled, the rest is lost
dropped     ticks that never come
delayed     the strategy sees ticks late, and decides late
==========  =========================================================================

Ticks are stressed a block at a time, so that memory does not grow with them.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from sweep.backtest.segments import evaluate_piece
from sweep.backtest.tasks import Carry, Context, Outcome, Task
from sweep.errors import InputError
from sweep.kernel import load_kernel
from sweep.schema import Costs, FloatArray1D, FloatArray2D, IntArray1D, Slice, TickHandle, Ticks
from sweep.ticks.mapped import attach, hold, release

__all__ = ["SHAPES", "Scenario", "evaluate_stressed", "stressed_blocks"]

#: First element of the position of the random streams.
PURPOSE = 0x73747273
#: What is drawn: the last element of their position.
_LATENCY, _REJECTED, _PARTIAL, _DROPPED, _DELAYED = range(5)
#: Ticks that draw from one stream, whatever the blocks of an evaluation are.
_STREAM = 1 << 16
#: Ticks of a block.
BLOCK = 1 << 20

SHAPES = ("fixed", "uniform", "exponential", "lognormal")
#: Standard deviation of the logarithm of a latency, where that is lognormal.
_SIGMA = 1.0


@dataclass(frozen=True)
class Scenario:
    """How much worse execution is than the study says.

    Attributes
    ----------
    latency : float
        Mean of what is added to the study's latency, nanoseconds.
    shape : str
        Its distribution: ``fixed``, ``uniform`` (0 to twice the mean), ``exponential`` or
        ``lognormal`` (sigma 1).
    spread : float
        Multiple of the half-spread.
    slippage : float
        Price units, added.
    commission : float
        Multiple of every commission.
    rejected : float
        Probability that orders which arrive at a tick are lost.
    partial : float
        Probability that orders which arrive at a tick are filled by a share, uniform in
        (0, 1).
    dropped : float
        Probability that a tick never comes. The first and the last of the range do.
    delayed : float
        Mean by which ticks are seen late, nanoseconds; exponential.
    replicate : int
        Which random numbers.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    latency: float = 0.0
    shape: str = "fixed"
    spread: float = 1.0
    slippage: float = 0.0
    commission: float = 1.0
    rejected: float = 0.0
    partial: float = 0.0
    dropped: float = 0.0
    delayed: float = 0.0
    replicate: int = 0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise InputError(f"stress: shape = {self.shape!r}; expected {', '.join(SHAPES)}")
        for name in ("latency", "spread", "slippage", "commission", "delayed"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"stress: {name} = {getattr(self, name):g}; expected 0 or more")
        for name in ("rejected", "partial", "dropped"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(
                    f"stress: {name} = {getattr(self, name):g}; expected a share from 0 to 1"
                )

    @property
    def random(self) -> bool:
        """Whether another replicate is another scenario."""
        spread = self.latency > 0.0 and self.shape != "fixed"
        return spread or any((self.rejected, self.partial, self.dropped, self.delayed))

    def costs(self, costs: Costs) -> Costs:
        """Return the study's costs as they are under this scenario."""
        return replace(
            costs,
            commission_rate=costs.commission_rate * self.commission,
            commission_per_unit=costs.commission_per_unit * self.commission,
            commission_per_fill=costs.commission_per_fill * self.commission,
            slippage=costs.slippage + self.slippage,
            latency=costs.latency + (0 if self.random else round(self.latency)),
        )


def evaluate_stressed(
    context: Context,
    params: FloatArray2D,
    part: Slice,
    scenario: Scenario,
    seed: int,
    *,
    block: int = BLOCK,
) -> Outcome:
    """Evaluate variants on one slice of the history under a scenario.

    Parameters
    ----------
    context : Context
        Its capacity does not count.
    params : ndarray of shape (n_variants, n_params), float64
    part : Slice
        Begun flat, after its warm-up, and ended flat.
    scenario : Scenario
    seed : int
    block : int, optional
        Ticks that are stressed together; no result depends on it.

    Returns
    -------
    Outcome
        One row for each variant.
    """
    kernel = load_kernel(context.kernel)
    ticks = attach(context.ticks)
    params = np.ascontiguousarray(params, np.float64)
    own = replace(context, costs=scenario.costs(context.costs))
    warmups = [int(kernel.warmup(kernel.params(row))) for row in params]
    lowest = max(part.warmup, part.begin - max(warmups, default=0))
    # Arrays in the state cannot be carried from block to block, and features may look at all.
    whole = not context.kernel.resumable or bool(context.kernel.features)
    size = part.end - lowest if whole else block
    carry: Carry | None = None
    seconds = kernel_s = 0.0
    path = f"stressed-{uuid.uuid4().hex}"
    base = 0
    latency = own.costs.latency
    try:
        for piece in stressed_blocks(
            ticks, lowest, part.end, scenario, seed, latency, size=size, lead=part.begin - lowest
        ):
            n = len(piece.ticks.ts)
            handle = _handle(path, base, piece.ticks, context.ticks)
            hold(handle, piece.ticks)
            begin = int(piece.begins(part.begin))
            task = Task(
                number=0,
                params=params,
                slices=(Slice(begin, n, 0),),
                carry_over=True,
                close_out=piece.last,
                carry=carry,
                keep=not piece.last,
                ticks=handle,
                base=base,
                arrivals=piece.arrivals,
                shares=piece.shares,
            )
            found = evaluate_piece(own, task, piece.room(latency))
            seconds += found.seconds
            kernel_s += found.kernel_seconds
            if found.error or found.failures:
                return found
            carry, base = found.carry, base + n
    finally:
        release(path)
    return replace(found, seconds=seconds, kernel_seconds=kernel_s)


@dataclass(frozen=True)
class Stressed:
    """Some consecutive ticks under a scenario.

    Attributes
    ----------
    ticks : Ticks
    places : ndarray of shape (n_ticks,), int64
        The tick of the history that each one is.
    arrivals, shares : ndarray of shape (n_ticks,) or None
        See `sweep.kernel.compiled.call_kernel`.
    last : bool
    """

    ticks: Ticks
    places: IntArray1D
    arrivals: IntArray1D | None
    shares: FloatArray1D | None
    last: bool

    def begins(self, tick: int) -> int:
        """Return the place of the first tick at or after one of the history; at most 0 back."""
        return int(np.searchsorted(self.places, tick, "left"))

    def room(self, latency: int) -> int:
        """Return room for the orders that these ticks alone can have in flight."""
        ts = self.ticks.ts
        arrives = ts + latency if self.arrivals is None else self.arrivals
        # An order of tick i is in flight at the ticks after it whose stamp is below its own.
        since = np.searchsorted(arrives, ts, "right")
        return int(np.max(np.arange(len(ts)) - since, initial=0)) + 2


def stressed_blocks(
    ticks: Ticks,
    begin: int,
    end: int,
    scenario: Scenario,
    seed: int,
    latency: int,
    *,
    size: int = BLOCK,
    lead: int = 0,
) -> Iterator[Stressed]:
    """Yield the ticks of a range under a scenario, a block at a time.

    Parameters
    ----------
    ticks : Ticks
        The history.
    begin, end : int
    scenario : Scenario
    seed : int
    latency : int
        Of the costs, nanoseconds.
    size : int, optional
        Ticks of the history that a block is made of.
    lead : int, optional
        Ticks that the first one has on top.
    """
    latest = -(1 << 62)
    edges = [begin, *range(begin + lead + size, end, size), end]
    for first, stop in pairwise(edges):
        places = np.arange(first, stop)
        if scenario.dropped:
            stays = _uniform(seed, scenario, _DROPPED, first, stop) >= scenario.dropped
            stays[[0, -1]] |= [first == begin, stop == end]
            if not stays.any():
                continue
            places = places[stays]
        part = _worse_quotes(ticks, places, scenario.spread)
        arrivals = _arrivals(part.ts, places, scenario, seed, latency, latest)
        if arrivals is not None:
            latest = int(arrivals[-1])
        shares = _shares(places, scenario, seed)
        yield Stressed(part, places, arrivals, shares, stop == end)


def _worse_quotes(ticks: Ticks, places: IntArray1D, spread: float) -> Ticks:
    first, stop = int(places[0]), int(places[-1]) + 1
    if len(places) == stop - first:
        part = ticks.between(first, stop)
    else:
        chosen: list[Any] = [column[places] if len(column) else column for column in ticks]
        part = Ticks(*chosen)
    if spread != 1.0:
        mid, half = part.mid, 0.5 * spread * part.spread
        part = part._replace(bid=mid - half, ask=mid + half)
    for column in part:
        column.flags.writeable = False
    return part


def _arrivals(
    ts: IntArray1D,
    places: IntArray1D,
    scenario: Scenario,
    seed: int,
    latency: int,
    latest: int,
) -> IntArray1D | None:
    if not scenario.random or not (scenario.latency or scenario.delayed):
        return None
    first, stop = int(places[0]), int(places[-1]) + 1
    late = np.full(len(places), scenario.latency)
    if scenario.latency and scenario.shape != "fixed":
        u = _uniform(seed, scenario, _LATENCY, first, stop)[places - first]
        late = scenario.latency * _shaped(u, scenario.shape)
    if scenario.delayed:
        u = _uniform(seed, scenario, _DELAYED, first, stop)[places - first]
        late = late + scenario.delayed * _shaped(u, "exponential")
    due = ts + (latency + np.rint(late).astype(np.int64))
    due[0] = max(int(due[0]), latest)
    return np.maximum.accumulate(due)


def _shaped(u: FloatArray1D, shape: str) -> FloatArray1D:
    """Return what uniform numbers are under a distribution of mean 1."""
    if shape == "uniform":
        return 2.0 * u
    if shape == "exponential":
        return np.asarray(-np.log1p(-u))
    # Here, so that workers without such a scenario do not load it.
    from scipy.special import ndtri

    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(_SIGMA * ndtri(u) - 0.5 * _SIGMA**2))


def _shares(places: IntArray1D, scenario: Scenario, seed: int) -> FloatArray1D | None:
    if not (scenario.rejected or scenario.partial):
        return None
    first, stop = int(places[0]), int(places[-1]) + 1
    shares = np.ones(len(places))
    if scenario.partial:
        u = _uniform(seed, scenario, _PARTIAL, first, stop)[places - first]
        some = u < scenario.partial
        # Below the threshold the number is uniform again: it says how much is filled.
        shares[some] = u[some] / scenario.partial
    if scenario.rejected:
        u = _uniform(seed, scenario, _REJECTED, first, stop)[places - first]
        shares[u < scenario.rejected] = 0.0
    return shares


def _uniform(seed: int, scenario: Scenario, what: int, first: int, stop: int) -> FloatArray1D:
    """Return the numbers, uniform in [0, 1), of the ticks ``first`` to ``stop``."""
    parts = []
    for k in range(first // _STREAM, (stop - 1) // _STREAM + 1):
        key = (PURPOSE, what, scenario.replicate, k)
        draw = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
        begin = k * _STREAM
        parts.append(draw.random(_STREAM)[max(first - begin, 0) : stop - begin])
    return np.concatenate(parts)


def _handle(path: str, base: int, ticks: Ticks, source: TickHandle) -> TickHandle:
    return replace(
        source,
        path=path,
        n_ticks=len(ticks.ts),
        content=f"{path}/{base}",
        first_ts=int(ticks.ts[0]),
        last_ts=int(ticks.ts[-1]),
    )
