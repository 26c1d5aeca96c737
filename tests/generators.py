"""Hypothesis strategies for markets, and trading strategies that tests can steer.

Prices, costs and positions are dyadic (multiples of a power of two), so that every cash
flow is exact in binary arithmetic: two ways to work a figure out agree on which trades
win and which ticks reach the old high, and differ at most where a division comes in.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sweep.schema import Account, Costs, Ticks

SECOND = 1_000_000_000

#: Asks at each tick for the position in the tick's ``bid_size`` column, after a warm-up
#: of ``wait`` ticks: one compiled kernel serves every list of targets.
SCRIPTED = """
from typing import NamedTuple

from sweep.strategy import Space, integer


class Params(Space):
    wait: int = integer(0, 100_000, default=0)


class State(NamedTuple):
    seen: int


def warmup(params):
    return params.wait


def start(tick, params):
    return State(1)


def step(state, tick, params):
    return State(state.seen + 1), tick.bid_size
"""

#: Like `SCRIPTED`, but overruled by what the account says: leaves a trip that has lasted
#: ``hold`` ns or moved ``stop`` away from its entry, and halves targets below the capital.
ACCOUNT_READER = """
from typing import NamedTuple

from sweep.strategy import Space, integer, real


class Params(Space):
    hold: int = integer(0, 10**15, default=5_000_000_000)
    stop: float = real(0.0, 1e6, default=2.0)
    capital: float = real(0.0, 1e9, default=1000.0)


class State(NamedTuple):
    seen: int


def start(tick, params):
    return State(1)


def step(state, tick, params, account):
    target = tick.bid_size
    if account.equity < params.capital:
        target = 0.5 * target
    if account.position != 0.0:
        if tick.ts - account.entry_ts > params.hold:
            target = 0.0
        if abs(tick.mid - account.entry_price) > params.stop:
            target = -account.position
    return State(state.seen + 1), target
"""

#: Seconds between two ticks: equal stamps, a busy market, a lull, a night, a weekend.
GAPS = (0, 0, 1, 1_000, SECOND // 4, SECOND, 90 * SECOND, 3_600 * SECOND, 50 * 3_600 * SECOND)


@st.composite
def tick_series(
    draw: st.DrawFn,
    *,
    min_size: int = 2,
    max_size: int = 120,
    crossed: bool = False,
    targets: bool = False,
) -> Ticks:
    """Ticks with gaps, equal stamps, locked quotes, jumps and wide spreads.

    Prices are multiples of 1/64 around 100. With ``crossed``, some asks lie below their
    bid. With ``targets``, ``bid_size`` holds the positions that `SCRIPTED` asks for.
    """
    size = draw(st.integers(min_size, max_size))
    begin = draw(st.sampled_from((0, 1_399_593_600 * SECOND - 3, 10**18)))
    gaps = draw(st.lists(st.sampled_from(GAPS), min_size=size, max_size=size))
    jumps = st.one_of(st.just(0), st.integers(-8, 8), st.sampled_from((-640, 640)))
    moves = draw(st.lists(jumps, min_size=size, max_size=size))
    narrowest = -4 if crossed else 0
    widths = st.one_of(st.just(0), st.integers(narrowest, 8), st.just(256))
    spreads = draw(st.lists(widths, min_size=size, max_size=size))
    # Reflected at 20, far above the widest spread: prices stay positive.
    bid = (np.abs(80 * 64 + np.cumsum(moves)) + 20 * 64) / 64.0
    asks = bid + np.array(spreads) / 64.0
    empty = np.empty(0)
    wanted = np.array(draw(position_lists(size))) if targets else empty
    return read_only(
        Ticks(
            begin + np.cumsum(np.array(gaps, dtype=np.int64)),
            bid,
            asks,
            wanted,
            np.zeros(size) if targets else empty,
        )
    )


def position_lists(size: int) -> st.SearchStrategy[list[float]]:
    """Targets that stay for a while, reverse, grow and shrink, in eighths of a contract."""
    level = st.one_of(st.sampled_from((0.0, 1.0, -1.0)), st.integers(-24, 24).map(lambda n: n / 8))
    run = st.tuples(level, st.integers(1, 12))
    runs = st.lists(run, min_size=1, max_size=size)
    return runs.map(lambda parts: _laid_out(parts, size))


def _laid_out(parts: list[tuple[float, int]], size: int) -> list[float]:
    laid = [level for level, times in parts for _ in range(times)]
    return (laid * (size // len(laid) + 1))[:size]


@st.composite
def cost_models(draw: st.DrawFn) -> Costs:
    """Costs, each of them often zero; latencies from nothing to longer than a lull."""

    def amount(highest: int, unit: float) -> float:
        return draw(st.one_of(st.just(0), st.integers(0, highest))) * unit

    return Costs(
        commission_rate=amount(8, 2.0**-12),
        commission_per_unit=amount(16, 1 / 16),
        commission_per_fill=amount(16, 1 / 16),
        slippage=amount(8, 1 / 64),
        half_spread=amount(4, 1 / 64),
        latency=draw(st.sampled_from((0, 0, 1, 1_000, SECOND // 4, SECOND, 100 * SECOND))),
        mark=draw(st.sampled_from(("mid", "close"))),
    )


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    """Accounts from one that a single trade ruins to one that hardly notices."""
    return Account(
        capital=draw(st.sampled_from((64.0, 1024.0, 65536.0))),
        contract_size=draw(st.sampled_from((0.25, 1.0, 8.0))),
        clock=draw(st.sampled_from((60, 900, 3_600, 86_400))) * SECOND,
        periods_per_year=draw(st.sampled_from((252.0, 6048.0))),
    )


def read_only(ticks: Ticks) -> Ticks:
    """The same ticks, contiguous and write-protected, as the store maps them."""
    columns = [np.ascontiguousarray(column) for column in ticks]
    for column in columns:
        column.flags.writeable = False
    return Ticks(*columns)
