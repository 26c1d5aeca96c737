"""Marking over stretches gives the bits of marking tick by tick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.kernel.accounting import CARRY, TERMS, begin_run, close_period, finish_row
from sweep.kernel.marks import CHUNK, LEVELS, NOWHERE, TABLES, TICKS, advance, mark_point, prepare
from sweep.schema import ROW, STATUS_RUINED

many = settings(max_examples=150)


def new_account(capital: float, ts: int, clock: int) -> tuple[Any, Any]:
    terms, carry, row = np.zeros(1, TERMS), np.zeros(1, CARRY), np.zeros(1, ROW)
    terms["capital"], terms["contract_size"], terms["clock"] = capital, 1.0, clock
    begin_run(carry[0], row[0], terms[0], ts)
    return carry[0], row[0]


def worth_of(bid: Any, ask: Any, half: float, units: float, close: bool, position: float) -> Any:
    if not close:
        return 0.5 * ((bid - half) + (ask + half)) * units
    return (bid - half) * units if position > 0.0 else (ask + half) * units


def by_stretches(market: Any, changes: Any, *, n_variants: int, chunk: int) -> tuple[bytes, bytes]:
    """Mark as a kernel does: chunks, and within them stretches between changes of position."""
    ts, bid, ask, half, units, close, capital, clock = market
    c, r = new_account(capital, int(ts[0]), clock)
    high, low = np.full((2, 2, LEVELS, CHUNK), np.nan)
    edges = np.zeros(CHUNK, np.int64)
    for first in range(0, len(ts), chunk):
        end = min(first + chunk, len(ts))
        source = prepare(bid, ask, first, end, half, units, close, n_variants, high, low)
        n_edges, bin_end = 0, int(c["bin_end"])
        for j in range(first, end):
            if ts[j] >= bin_end:
                edges[n_edges] = j
                n_edges += 1
                bin_end = (int(ts[j]) // clock + 1) * clock
        c["edge"], c["bin_end"] = 0, bin_end
        if first == 0:
            c["done"] = 0
        for tick in sorted(t for t in changes if first <= t < end):
            advance(c, r, high, low, close, source, ts, edges, n_edges, first, tick)
            c["position"], c["cash"] = changes[tick]
        advance(c, r, high, low, close, source, ts, edges, n_edges, first, end)
    finish_row(c, r, int(ts[-1]), len(ts))
    return meaningful(c), r.tobytes()


def by_ticks(market: Any, changes: Any) -> tuple[bytes, bytes]:
    """Mark at each tick, one after the other."""
    ts, bid, ask, half, units, close, capital, clock = market
    c, r = new_account(capital, int(ts[0]), clock)
    for j in range(len(ts)):
        if ts[j] >= c["bin_end"]:
            close_period(c, r, float(c["equity"]))
            c["bin_end"] = (int(ts[j]) // clock + 1) * clock
        if j in changes:
            c["position"], c["cash"] = changes[j]
        equity = float(c["cash"])
        if c["position"] != 0.0:
            worth = worth_of(bid[j], ask[j], half, units, close, c["position"])
            equity = float(c["cash"] + c["position"] * worth)
        mark_point(c, r, equity, int(ts[j]), j)
        c["equity"] = equity
    finish_row(c, r, int(ts[-1]), len(ts))
    return meaningful(c), r.tobytes()


def meaningful(c: Any) -> bytes:
    return b"".join(c[name].tobytes() for name in CARRY.names if name not in ("done", "edge"))


@st.composite
def markets(draw: st.DrawFn) -> tuple[Any, Any]:
    n = draw(
        st.one_of(
            st.integers(1, 40),
            st.integers(41, 400),
            st.sampled_from((CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 13, 2_500)),
        )
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    moves = random.integers(-5, 6, n) * (random.random(n) < draw(st.sampled_from((0.05, 0.6, 1.0))))
    drift = draw(st.sampled_from((-0.04, 0.0, 0.0, 0.04)))
    bid = 100.0 + np.cumsum(moves) / draw(st.sampled_from((64.0, 3.7))) + drift * np.arange(n)
    ask = bid + random.integers(0, 4, n) / 64
    if draw(st.integers(0, 4)) == 0:
        bid[random.integers(0, n, 2)] = draw(st.sampled_from((np.nan, np.inf)))
    gaps = random.choice((0, 1, 10**9, 400 * 10**9, 4_000 * 10**9), n)
    ts = draw(st.sampled_from((0, 10**18 - 7))) + np.cumsum(gaps)
    half = draw(st.sampled_from((0.0, 0.03125)))
    units = draw(st.sampled_from((1.0, 0.25, 8.0, 0.3)))
    capital = draw(st.sampled_from((5.0, 100.0, 1e5)))
    clock = draw(st.sampled_from((60, 3_600))) * 10**9
    changes = {}
    cash = capital
    position = 0.0
    for tick in np.sort(random.choice(n, min(n, draw(st.integers(0, 12))), replace=False)):
        target = float(random.choice((0.0, 1.0, -1.0, 2.5, -0.3)))
        price = float(np.nan_to_num(bid[tick], nan=100.0, posinf=100.0))
        cash -= (target - position) * price * units
        position = target
        changes[int(tick)] = (position, cash)
    return (ts, bid, ask, half, units, draw(st.booleans()), capital, clock), changes


@given(drawn=markets(), chunk=st.one_of(st.just(CHUNK), st.integers(1, CHUNK)))
@many
def test_stretches_have_the_bits_of_single_ticks(drawn: Any, chunk: int) -> None:
    market, changes = drawn
    chunk = max(chunk, len(market[0]) // 60 + 1)
    expected = by_ticks(market, changes)
    for n_variants in (1, 64):
        assert by_stretches(market, changes, n_variants=n_variants, chunk=chunk) == expected


@pytest.mark.parametrize("n_variants", [1, 64])
@pytest.mark.parametrize("position", [1.0, -1.0])
def test_ruin_is_found_at_its_tick_within_a_stretch(position: float, n_variants: int) -> None:
    n = 700
    mid = 100.0 - position * np.concatenate([np.zeros(300), np.full(n - 300, 9.0)])
    mid[512] -= position * 5.0
    ts = np.arange(n) * 10**9
    market = (ts, mid, mid, 0.0, 1.0, False, 10.0, 60 * 10**9)
    changes = {5: (position, 10.0 - position * 100.0)}
    c, row = by_stretches(market, changes, n_variants=n_variants, chunk=CHUNK)
    found = np.frombuffer(row, ROW)[0]
    assert (found["status"], found["tick"]) == (STATUS_RUINED, 512)
    assert (c, row) == by_ticks(market, changes)


@given(data=st.data(), n=st.integers(1, CHUNK))
@settings(many, max_examples=60)
def test_the_tables_hold_the_extremes_of_every_span(data: Any, n: int) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    bid = random.integers(-9, 10, n) / 8
    high, low = np.full((2, 2, LEVELS, CHUNK), np.nan)
    close = data.draw(st.booleans())
    assert prepare(bid, bid + 0.5, 0, n, 0.25, 2.0, close, 64, high, low) == TABLES
    for s in range(1 + close):
        worth = worth_of(bid, bid + 0.5, 0.25, 2.0, close, 1.0 - 2.0 * s)
        assert high[s, 0, :n].tobytes() == worth.tobytes()
        for level in range(LEVELS):
            for i in range(0, n - 2**level + 1, 17):
                span = worth[i : i + 2**level]
                assert (high[s, level, i], low[s, level, i]) == (span.max(), span.min())


def test_a_missing_price_forbids_extremes() -> None:
    gap, whole = np.full(30, 100.0), np.full(30, 1.0)
    gap[7] = np.nan
    high, low = np.full((2, 2, LEVELS, CHUNK), np.nan)
    for n_variants, otherwise in ((1, TICKS), (64, TABLES)):
        assert prepare(gap, gap, 0, 30, 0.0, 1.0, False, n_variants, high, low) == NOWHERE
        assert prepare(whole, gap, 0, 30, 0.0, 1.0, True, n_variants, high, low) == NOWHERE
        assert prepare(gap, gap, 8, 30, 0.0, 1.0, False, n_variants, high, low) == otherwise
