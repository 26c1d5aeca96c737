"""Simulated markets: what a spec promises, streams by position, cores against slow twins."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sweep.errors import DataError
from sweep.scenarios.simulate import cores
from sweep.scenarios.simulate.processes import Garch, Gbm, Merton, Regimes, stationary_distribution
from sweep.scenarios.simulate.simulate import arrival_times, simulate, write
from sweep.scenarios.simulate.spec import (
    Arrivals,
    Hawkes,
    PathSpec,
    Poisson,
    Quotes,
    Regular,
    Session,
    stream,
)
from sweep.ticks.quality import Chunk, Policies, concatenate
from sweep.ticks.sources import SourceSpec, open_chunks
from sweep.ticks.store import import_ticks

HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
PROCESSES = [Gbm(), Merton(), Garch(), Regimes()]
ARRIVALS: list[Arrivals] = [Regular(10.0), Poisson(0.1), Hawkes(0.05, 0.5, 0.1)]
SMALL = Session(sessions=3, hours=2.0, gap_hours=0.5)
PAIRS = list(itertools.product(PROCESSES, ARRIVALS))
NAMES = [f"{p.name}-{a.name}" for p, a in PAIRS]


def same(a: list[Chunk], b: list[Chunk]) -> bool:
    return len(a) == len(b) and all(
        list(x) == list(y) and all(x[n].tobytes() == y[n].tobytes() for n in x)
        for x, y in zip(a, b, strict=True)
    )


# -- ticks -----------------------------------------------------------------------------


@pytest.mark.parametrize(("process", "arrivals"), PAIRS, ids=NAMES)
def test_a_path_is_ticks_within_its_sessions_on_its_grid(process: Any, arrivals: Any) -> None:
    session = replace(SMALL, start="2024-01-05", open=22.5, days="1111101")
    quotes = Quotes(50.0, 0.25, spreads=(1, 4), weights=(3, 1))
    chunks = list(simulate(PathSpec(process, arrivals, session, quotes, seed=3), 5))
    assert len(chunks) == 3
    days = ["2024-01-05", "2024-01-07", "2024-01-08"]  # Friday, Sunday, Monday
    for number, (chunk, day) in enumerate(zip(chunks, days, strict=True)):
        opens = int(np.datetime64(day, "ns").astype(np.int64)) + 45 * HOUR // 2
        assert session.opens(number) == opens
        assert {n: c.dtype for n, c in chunk.items()} == {
            "ts": np.int64,
            "bid": np.float64,
            "ask": np.float64,
        }
        assert (np.diff(chunk["ts"]) >= 0).all()
        assert chunk["ts"][0] >= opens
        assert chunk["ts"][-1] < opens + 2 * HOUR
        spread = (chunk["ask"] - chunk["bid"]) / 0.25
        assert set(spread.tolist()) == {1.0, 4.0}
        assert (chunk["bid"] * 4 == np.rint(chunk["bid"] * 4)).all()
        assert (chunk["bid"] > 0).all()


@pytest.mark.parametrize(("process", "arrivals"), PAIRS, ids=NAMES)
def test_paths_and_sessions_are_addressed_by_position(process: Any, arrivals: Any) -> None:
    spec = PathSpec(process, arrivals, SMALL, seed=7)
    together = [list(simulate(spec, path)) for path in range(3)]
    assert same(list(simulate(spec, 2)), together[2])
    assert not same(together[0], together[1])
    longer = list(simulate(replace(spec, session=replace(SMALL, sessions=5)), 1))
    assert same(longer[:3], together[1])
    assert not same(list(simulate(replace(spec, seed=8), 1)), together[1])


def test_streams_of_all_positions_differ() -> None:
    specs = [PathSpec(process) for process in PROCESSES] + [PathSpec(seed=1)]
    firsts = {
        stream(spec, purpose, path, session).integers(1 << 63)
        for spec in specs
        for purpose, path, session in itertools.product(range(5), range(3), range(3))
    }
    assert len(firsts) == 5 * 45


def test_regular_ticks_lie_on_the_clock_and_the_close_has_none() -> None:
    times = arrival_times(Regular(1800.0), HOUR, np.random.default_rng(0))
    assert times.tolist() == [0, HOUR // 2]


@pytest.mark.parametrize("seed", range(5))
def test_a_longer_session_of_hawkes_begins_like_a_shorter_one(seed: int) -> None:
    """Random numbers are drawn in blocks as long as the session; no bit depends on them."""
    hawkes = Hawkes(0.5, 0.7, 1.0)
    short, long = (
        arrival_times(hawkes, n * SECOND, np.random.default_rng(seed)) for n in (30, 5_000)
    )
    assert np.array_equal(short, long[: len(short)])
    assert long[len(short)] >= 30 * SECOND


def test_the_first_price_is_the_given_one() -> None:
    for process in PROCESSES:
        spec = PathSpec(process, Regular(60.0), SMALL, Quotes(123.0, 0.5, (2,)))
        first = next(simulate(spec))
        assert (first["bid"][0], first["ask"][0]) == (122.5, 123.5)


@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_the_price_moves_over_a_gap_as_in_so_many_hours(gap: float) -> None:
    """A ratio of sds over 160 moves, at 4.5 of its standard errors of some 6 %."""
    session = replace(SMALL, sessions=5, gap_hours=gap)
    fine = Quotes(100.0, 1e-7, (2,))
    for process in PROCESSES:
        over, within = [], []
        for path in range(40):
            chunks = list(simulate(PathSpec(process, Regular(60.0), session, fine), path))
            logs = [np.log(c["bid"]) for c in chunks]
            over += [b[0] - a[-1] for a, b in itertools.pairwise(logs)]
            within += [np.diff(x) for x in logs]
        ratio = np.std(over) / np.std(np.concatenate(within))
        assert ratio == pytest.approx(math.sqrt(gap * 60.0 + 1.0), rel=0.27)


def test_spreads_have_their_shares_and_their_persistence() -> None:
    quotes = Quotes(spreads=(1, 2, 7), weights=(0.5, 0.3, 0.2), persistence=0.8)
    spec = PathSpec(Gbm(), Regular(0.1), replace(SMALL, sessions=1, hours=8.0), quotes)
    chunk = next(simulate(spec))
    spread = np.rint((chunk["ask"] - chunk["bid"]) / 0.01)
    n = len(spread)
    # The variance of a share of a DAR(1) is that of n (1 - p) / (1 + p) independent ones.
    effective = n * (1.0 - 0.8) / (1.0 + 0.8)
    for value, share in ((1, 0.5), (2, 0.3), (7, 0.2)):
        off = np.mean(spread == value) - share
        assert abs(off) < 4.0 * math.sqrt(share * (1 - share) / effective)
    x = spread - spread.mean()
    for lag in (1, 2, 5):
        assert np.mean(x[lag:] * x[:-lag]) / x.var() == pytest.approx(0.8**lag, abs=0.02)


def test_parquet_gives_the_path_back_and_the_import_accepts_it(tmp_path: Path) -> None:
    spec = PathSpec(Merton(), Hawkes(0.05, 0.5, 0.1), SMALL)
    file = tmp_path / "path.parquet"
    whole = concatenate(list(simulate(spec, 4)))
    assert write(spec, 4, file) == len(whole["ts"])
    back = concatenate(list(open_chunks(SourceSpec(str(file)))))
    assert all(np.array_equal(back[n], whole[n]) for n in ("ts", "bid", "ask"))
    found = import_ticks(SourceSpec(str(file), policies=Policies(duplicate="error")))
    assert found.handle.n_ticks == len(whole["ts"])


@given(
    process=st.sampled_from(PROCESSES),
    arrivals=st.one_of(
        st.builds(Regular, st.floats(5, 900)),
        st.builds(Poisson, st.floats(0.001, 0.3)),
        st.builds(Hawkes, st.floats(0.001, 0.1), st.floats(0, 0.8), st.floats(0.001, 10)),
    ),
    session=st.builds(
        Session,
        sessions=st.integers(1, 4),
        open=st.floats(0, 23.99),
        hours=st.integers(1, 1_440).map(lambda minutes: minutes / 60),
        gap_hours=st.integers(0, 600).map(lambda minutes: minutes / 60),
        days=st.sampled_from(["1111100", "1111111", "0000001"]),
    ),
    quotes=st.builds(
        Quotes,
        price=st.floats(100, 1e5),
        tick_size=st.sampled_from([0.01, 0.25, 1e-5, 1.0]),
        spreads=st.lists(st.integers(1, 50), min_size=1, max_size=4),
        persistence=st.floats(0, 0.99),
    ),
    effect=st.sampled_from(["none", "momentum", "reversion"]),
    seed=st.integers(0, 1 << 70),
    path=st.integers(0, 1 << 40),
)
@settings(max_examples=60)
def test_every_market_is_a_tick_series_and_can_be_drawn_again(
    process: Any,
    arrivals: Any,
    session: Session,
    quotes: Quotes,
    effect: str,
    seed: int,
    path: int,
) -> None:
    spec = PathSpec(process, arrivals, session, quotes, seed, effect)
    chunks = list(simulate(spec, path))
    assert same(chunks, list(simulate(spec, path)))
    for chunk in chunks:
        steps = (chunk["ask"] - chunk["bid"]) / quotes.tick_size
        assert np.abs(steps - np.rint(steps)).max() < 1e-3
        assert set(np.rint(steps).astype(int).tolist()) <= set(quotes.spreads)
        assert (chunk["bid"] > 0.0).all()
    if chunks:
        ts = concatenate(chunks)["ts"]
        assert (np.diff(ts) >= 0).all()
        assert session.opens(0) <= ts[0]
        assert ts[-1] < session.opens(session.sessions - 1) + session.length


def test_a_long_calendar_is_drawn_as_it_is_read() -> None:
    spec = PathSpec(session=replace(SMALL, sessions=100_000))
    assert len(next(simulate(spec))["ts"]) > 0


# -- a planted effect ------------------------------------------------------------------


def test_an_effect_is_planted_on_top_of_the_same_noise() -> None:
    session = replace(SMALL, sessions=2, open=8.0, hours=4.0)
    fine = Quotes(100.0, 1e-6, (2,))
    for process in PROCESSES:
        plain = PathSpec(process, Poisson(0.5), session, fine)
        hour = replace(plain, effect="hour", effect_size=2.0, effect_hour=9)
        a, b = (list(simulate(spec, 3)) for spec in (plain, hour))
        # Two standard deviations of the noise over an hour, on both days.
        size = 2.0 * hour.tick_sd * math.sqrt(0.5 * 3600)
        for day, (x, y) in enumerate(zip(a, b, strict=True)):
            assert np.array_equal(x["ts"], y["ts"])
            apart = np.log(y["bid"]) - np.log(x["bid"])
            clock = (x["ts"] - session.opens(day)) / HOUR
            assert np.allclose(apart[clock < 1.0], day * size, atol=1e-7)
            assert np.allclose(apart[clock >= 2.0], (day + 1) * size, atol=1e-7)


@pytest.mark.parametrize("effect", ["momentum", "reversion"])
def test_other_effects_move_the_price_and_a_size_of_zero_does_not(effect: str) -> None:
    spec = PathSpec(Gbm(), Poisson(1.0), SMALL)
    plain = list(simulate(spec))
    assert same(plain, list(simulate(replace(spec, effect=effect, effect_size=0.0))))
    moved = list(simulate(replace(spec, effect=effect, effect_size=3.0)))
    assert np.array_equal(plain[0]["ts"], moved[0]["ts"])
    assert not np.array_equal(plain[0]["bid"], moved[0]["bid"])


def test_the_hour_of_a_session_past_midnight_is_found() -> None:
    session = replace(SMALL, open=22.0, hours=6.0)
    spec = PathSpec(session=session, effect="hour", effect_hour=1)
    begins = spec.hour_opens(0)
    assert begins == session.opens(0) + 3 * HOUR


# -- cores against slow twins ----------------------------------------------------------


@pytest.mark.parametrize("name", cores.__all__)
def test_compiled_cores_agree_with_plain_python(name: str) -> None:
    draw = np.random.default_rng(11)
    n = 200
    arguments: dict[str, tuple[Any, ...]] = {
        "walk": (1.0, draw.normal(size=n), draw.random(n), draw.normal(size=n)),
        "garch": (draw.normal(size=n), 0.1, 0.2, 0.7, 1.3),
        "bridge": (
            np.sort(draw.integers(0, 1001, n)),
            100,
            draw.normal(size=11),
            draw.random(10),
            draw.normal(size=n),
        ),
        "chain": (draw.random(n), np.cumsum([[0.2, 0.5, 0.3], [0, 0.9, 0.1], [1, 0, 0]], 1), 1),
        "hawkes": (draw.random((n, 2)), 0.5, 0.4, 0.9, 90.0, 0.0, 0.3, np.empty(n)),
        "hold": (draw.integers(1, 9, n), draw.random(n), 0.6),
    }
    function = getattr(cores, name)
    slow_arguments = [np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments[name]]
    fast, slow = function(*arguments[name]), function.py_func(*slow_arguments)
    for a, b in zip(
        np.atleast_1d(fast) if name in ("walk", "bridge", "hold") else fast,
        np.atleast_1d(slow) if name in ("walk", "bridge", "hold") else slow,
        strict=True,
    ):
        assert np.allclose(a, b, rtol=1e-13, atol=1e-13)
    if name == "hawkes":
        count = fast[0]
        assert np.allclose(arguments[name][-1][:count], slow_arguments[-1][:count], rtol=1e-13)


def test_a_bridge_meets_its_ends_and_has_its_variance() -> None:
    """At a quarter of a step: mean by proportion, variance ``v / 4 * 3 / 4``."""
    draw = np.random.default_rng(2)
    n = 20_000
    steps = np.arange(n, dtype=np.int64) * 100
    times = np.sort(np.concatenate([steps, steps + 25]))
    ends = draw.normal(size=n + 1)
    path = cores.bridge(times, 100, ends, np.full(n, 4.0), draw.normal(size=2 * n))
    assert np.array_equal(path[::2], ends[:-1])
    residual = path[1::2] - (0.75 * ends[:-1] + 0.25 * ends[1:])
    assert abs(residual.mean()) < 4.0 * math.sqrt(0.75 / n)
    assert residual.var() == pytest.approx(0.75, abs=4.0 * 0.75 * math.sqrt(2 / n))


def test_garch_returns_on_the_clock_are_the_recursion_whatever_the_ticks() -> None:
    session = Session(sessions=1, hours=1.0, gap_hours=0.0)
    garch = Garch(step=60.0)
    fine = Quotes(100.0, 1e-8, (2,))
    coarse, dense = (
        next(simulate(PathSpec(garch, Regular(s), session, fine), 1)) for s in (60.0, 1.0)
    )
    assert np.allclose(dense["bid"][::60], coarse["bid"], rtol=1e-9)


def hawkes_by_thinning(
    draw: np.random.Generator, mu: float, jump: float, decay: float, length: float, excess: float
) -> NDArray[np.float64]:
    """Ogata's thinning (1981), the oracle: another algorithm for the same process."""
    time, out = 0.0, []
    while True:
        bound = mu + excess
        wait = draw.exponential(1.0 / bound)
        time += wait
        if time >= length:
            return np.array(out)
        excess *= math.exp(-decay * wait)
        if draw.random() * bound < mu + excess:
            out.append(time)
            excess += jump


def test_hawkes_arrivals_have_the_law_of_thinning() -> None:
    """Two z-scores at 4 of counts and of the clustering within a second: p < 0.0002."""
    mu, branching, decay, length = 0.5, 0.6, 2.0, 30.0
    hawkes = Hawkes(mu, branching, decay)
    counts, close = ([], []), ([], [])
    for i in range(1_500):
        fast = arrival_times(hawkes, int(length * SECOND), np.random.default_rng([1, i])) / SECOND
        slow = hawkes_by_thinning(
            np.random.default_rng([2, i]), mu, branching * decay, decay, length, hawkes.rate - mu
        )
        for k, times in enumerate((fast, slow)):
            counts[k].append(len(times))
            close[k].append(np.sum(np.diff(times) < 0.2))
    for a, b in (counts, close):
        z = (np.mean(a) - np.mean(b)) / math.sqrt((np.var(a) + np.var(b)) / len(a))
        assert abs(z) < 4.0
    assert np.std(counts[0]) == pytest.approx(np.std(counts[1]), rel=0.1)


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gbm(volatility=-0.1), "gbm.volatility: -0.1 is not in [0, 100]"),
        (lambda: Gbm(drift=math.nan), "gbm.drift: nan is not in"),
        (lambda: Gbm(drift="up"), "gbm.drift: 'up' is not a number"),  # type: ignore[arg-type]
        (lambda: Merton(jumps_per_year=-1.0), "merton.jumps_per_year: -1.0"),
        (lambda: Garch(alpha=0.5, beta=0.5), "their sum 1 is not below 1"),
        (lambda: Garch(nu=2.0), "garch.nu: 2.0 is not in (2, 10000]"),
        (lambda: Regimes(drifts=(0.0,)), "1 regime; there must be at least 2"),
        (lambda: Regimes(volatilities=(0.1, 0.2, 0.3)), "3 given for 2 drifts"),
        (lambda: Regimes(transitions=((0.9, 0.2), (0.5, 0.5))), "transitions[0]: the row's sum"),
        (lambda: Regimes(transitions=((1.1, -0.1), (0.5, 0.5))), "transitions[0][0]: 1.1"),
        (lambda: Regimes(transitions=((1.0, 0.0), (0.0, 1.0))), "no single stationary"),
        (lambda: Poisson(0.0), "poisson.rate: 0.0 is not in (0, 1e+06]"),
        (lambda: Hawkes(branching=1.0), "hawkes.branching: 1.0 is not in [0, 1)"),
        (lambda: Regular(0.0), "regular.interval"),
        (lambda: Session(days="11111"), "session.days: '11111'"),
        (lambda: Session(start="soon"), "session.start: 'soon' is not an ISO date"),
        (lambda: Session(start=""), "session.start: '' is not an ISO date"),
        (lambda: Session(start=20240101), "session.start: 20240101 is not an ISO"),  # type: ignore[arg-type]
        (lambda: Session(sessions=2.5), "session.sessions: 2.5 is not a whole number"),  # type: ignore[arg-type]
        (lambda: Session(hours=25.0), "session.hours: 25.0 is not in (0, 24]"),
        (lambda: Quotes(spreads=(0,)), "quotes.spreads[0]: 0 is not in [1, 1e+06]"),
        (lambda: Quotes(spreads=()), "quotes.spreads: there must be at least one"),
        (lambda: Quotes(weights=(1.0,)), "1 given for 3 spreads"),
        (lambda: Quotes(weights=(0.0, 0.0, 0.0)), "quotes.weights: all are 0"),
        (lambda: Quotes(price=0.01), "quotes.price"),
        (lambda: PathSpec(process="gbm"), "use one of Gbm, Merton, Garch, Regimes"),  # type: ignore[arg-type]
        (lambda: PathSpec(seed=-1), "seed: -1"),
        (lambda: PathSpec(effect="trend"), "none, momentum, reversion, hour"),
        (lambda: PathSpec(effect="hour", effect_hour=17), "outside the session (8 to 16 UTC)"),
        (lambda: PathSpec(Garch(step=7.0)), "session.hours: 8 hours are 4114.29 steps"),
        (lambda: PathSpec(Garch(step=0.01)), "garch.step: 0.01 s makes 2,880,000 steps"),
        (lambda: PathSpec(arrivals=Poisson(100.0)), "2,880,000 ticks on average, more than"),
        (lambda: next(simulate(PathSpec(), -1)), "path: -1 is not in [0, inf)"),
        (
            lambda: list(
                simulate(PathSpec(Gbm(100.0, 0.0), Regular(3600.0), Session(sessions=90)))
            ),
            "gbm: the price of path 0 passes",
        ),
    ],
)
def test_parameters_out_of_range_are_named(make: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        make()
    assert said in str(error.value)


def test_the_stationary_distribution_of_three_regimes() -> None:
    """Oracle: a high power of the matrix."""
    rows = ((0.9, 0.08, 0.02), (0.1, 0.85, 0.05), (0.3, 0.0, 0.7))
    power = np.linalg.matrix_power(np.array(rows), 10_000)
    assert stationary_distribution(rows) == pytest.approx(power[0], rel=1e-10)
    assert stationary_distribution(((0.0, 1.0), (0.0, 1.0))) == pytest.approx([0.0, 1.0])
