"""Calibration: known parameters come back, likelihoods meet slow oracles, refusals say why."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sweep.errors import DataError
from sweep.scenarios.simulate.calibrate import Fit, calibrate
from sweep.scenarios.simulate.observe import find_calendar, find_tick_size, observe
from sweep.scenarios.simulate.processes import Garch, Gbm, Merton, Regimes
from sweep.scenarios.simulate.simulate import simulate
from sweep.scenarios.simulate.spec import Hawkes, PathSpec, Poisson, Quotes, Session
from sweep.ticks.quality import Chunk, concatenate
from sweep.ticks.sources import SourceSpec, open_chunks

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
CALENDAR = Session(sessions=6, hours=8.0, gap_hours=1.0)
QUOTES = Quotes(1_000.0, 0.01, (1, 2, 5), (3.0, 1.0, 1.0), 0.7)
TRUE = {
    "gbm": Gbm(1.0, 0.2),
    "merton": Merton(0.1, 0.15, 20_000.0, -0.0004, 0.001),
    "garch": Garch(0.1, 0.2, 0.08, 0.88, 7.0),
    "regimes": Regimes((0.5, -0.5), (0.1, 0.3), ((0.98, 0.02), (0.05, 0.95))),
}


def ticks(spec: PathSpec, path: int = 0) -> Chunk:
    return concatenate(list(simulate(spec, path)))


def fit(model: str, chunk: Chunk, **settings: Any) -> Fit:
    settings = {"paths": 0, "session": CALENDAR, **settings}
    return calibrate(model, chunk["ts"], chunk["bid"], chunk["ask"], **settings)


def value_of(part: Any, name: str) -> float:
    """Return the value of ``volatilities[1]``, ``transitions[0][1]`` or ``drift`` of a part."""
    field, *places = name.replace("]", "").split("[")
    value = getattr(part, field)
    for place in places:
        value = value[int(place)]
    return float(value)


def z_scores(found: Fit, spec: PathSpec) -> dict[str, float]:
    out = {}
    for name, value, error in found.estimates:
        part = spec.process if hasattr(spec.process, name.split("[")[0]) else spec.arrivals
        assert error is not None, name
        out[name] = (value - value_of(part, name)) / error
    return out


# -- recovery --------------------------------------------------------------------------


@pytest.mark.parametrize("model", TRUE)
def test_the_parameters_of_a_process_come_back(model: str) -> None:
    """Up to eight z-scores at 4: a sound fit fails with a probability below 0.0006."""
    spec = PathSpec(TRUE[model], Poisson(0.5), CALENDAR, QUOTES, seed=21)
    found = fit(model, ticks(spec))
    assert type(found.spec.process) is type(spec.process)
    scores = z_scores(found, spec)
    assert set(scores) >= {"rate"}
    assert all(abs(z) < 4.0 for z in scores.values()), scores
    # The errors are worth something: the fit is not only right because it is vague.
    if model == "garch":
        assert found.spec.process.beta == pytest.approx(0.88, abs=0.1)  # type: ignore[union-attr]
    # The quotes come back too, and the calendar.
    quotes, session = found.spec.quotes, found.spec.session
    assert quotes.tick_size == 0.01
    assert quotes.spreads == (1, 2, 5)
    assert quotes.shares == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    assert quotes.persistence == pytest.approx(0.7, abs=0.02)
    assert session == spec.session
    assert found.returns == 6 * 479
    assert found.sessions == 6


def test_three_regimes_come_back() -> None:
    rows = ((0.98, 0.02, 0.0), (0.02, 0.96, 0.02), (0.0, 0.05, 0.95))
    true = Regimes((0.0, 0.0, 0.0), (0.05, 0.2, 0.8), rows)
    spec = PathSpec(true, Poisson(0.2), CALENDAR, replace(QUOTES, tick_size=1e-4), seed=3)
    found = fit("regimes", ticks(spec), regimes=3).spec.process
    assert isinstance(found, Regimes)
    assert found.volatilities == pytest.approx(true.volatilities, rel=0.1)
    assert np.abs(np.array(found.transitions) - rows).max() < 0.02


def test_the_parameters_of_hawkes_arrivals_come_back() -> None:
    spec = PathSpec(Gbm(), Hawkes(0.05, 0.6, 0.3), CALENDAR, QUOTES, seed=4)
    found = fit("gbm", ticks(spec), arrivals="hawkes")
    scores = z_scores(found, spec)
    assert all(abs(z) < 4.0 for z in scores.values()), scores
    errors = {e.name: e.error for e in found.estimates}
    assert errors["branching"] is not None
    assert errors["branching"] < 0.03


def test_planted_in_the_calendar_the_gap_is_found() -> None:
    """Its estimate from 39 squares has a relative error of 0.23."""
    session = Session(sessions=40, hours=2.0, gap_hours=3.0, open=22.5, days="1111001")
    spec = PathSpec(Gbm(), Poisson(0.02), session, Quotes(100.0, 1e-4, (2,)), seed=5)
    chunk = ticks(spec)
    found = fit("gbm", chunk, session=None)
    assert found.spec.session.open == pytest.approx(22.5, abs=0.05)
    assert found.spec.session.days == "1111001"
    assert found.spec.session.start == spec.session.start
    assert found.spec.session.sessions == 40
    assert found.spec.session.hours == pytest.approx(2.0, abs=0.05)
    assert found.spec.session.gap_hours == pytest.approx(3.0, rel=0.7)
    assert any("overnight returns" in note for note in found.notes)


def coverage(spec: PathSpec, model: str, paths: int, **settings: Any) -> dict[str, int]:
    """Count the fits of ``paths`` paths whose 95 % interval holds each true parameter."""
    hits: dict[str, int] = {}
    for path in range(paths):
        for name, z in z_scores(fit(model, ticks(spec, path), **settings), spec).items():
            hits[name] = hits.get(name, 0) + (abs(z) < 1.96)
    return hits


@pytest.mark.slow
@pytest.mark.parametrize("model", TRUE)
def test_standard_errors_of_processes_cover_the_truth_as_often_as_they_should(model: str) -> None:
    """Each parameter's count at a binomial 0.001, at most nine of them."""
    fine = replace(QUOTES, tick_size=0.0001)
    hits = coverage(PathSpec(TRUE[model], Poisson(2.0), CALENDAR, fine, seed=31), model, 60)
    assert all(stats.binom.cdf(count, 60, 0.95) > 0.001 for count in hits.values()), hits


@pytest.mark.slow
def test_standard_errors_of_arrivals_cover_the_truth_as_often_as_they_should() -> None:
    spec = PathSpec(Gbm(), Hawkes(0.05, 0.6, 0.3), CALENDAR, QUOTES, seed=32)
    hits = coverage(spec, "gbm", 60, arrivals="hawkes")
    for name in ("baseline", "branching", "decay"):
        assert stats.binom.cdf(hits[name], 60, 0.95) > 0.001, hits


def test_a_clock_that_is_too_fast_for_the_ticks_is_told() -> None:
    chunk = ticks(PathSpec(Gbm(), Poisson(0.1), CALENDAR, QUOTES))
    said = "the last tick is 17% of the clock old at its edges on average"
    assert any(note.startswith(said) for note in fit("gbm", chunk).notes)
    assert not any("old at its edges" in note for note in fit("gbm", chunk, clock=600.0).notes)


# -- checks ----------------------------------------------------------------------------


def test_a_fit_to_its_own_model_passes_its_checks_and_to_another_fails_them() -> None:
    """Fifteen statistics, each outside 19 paths with a probability of 0.1."""
    spec = PathSpec(TRUE["garch"], Hawkes(0.05, 0.6, 0.3), CALENDAR, QUOTES, seed=6)
    chunk = ticks(spec)
    own = fit("garch", chunk, arrivals="hawkes", paths=19)
    assert sum(check.inside is False for check in own.checks) <= 5
    other = {c.name: c.inside for c in fit("gbm", chunk, paths=19).checks}
    for name in ("return kurtosis", "acf of squares, lag 1", "fano, 10 s", "fano, 60 s"):
        assert other[name] is False, name
    for name in ("return sd", "spread mean", "acf of spread, lag 1"):
        assert other[name] is True
    text = own.text()
    assert "branching" in text
    assert "outside 19 simulated paths; of data from the model itself some" in text


# -- what the data are made of ---------------------------------------------------------


@pytest.mark.parametrize("size", [0.01, 0.25, 0.00005, 1.0, 5.0])
def test_the_tick_size_is_found(size: float) -> None:
    spec = PathSpec(Gbm(), Poisson(0.01), CALENDAR, Quotes(5_000.0 * size, size, (1, 2)))
    chunk = ticks(spec)
    assert find_tick_size(chunk["bid"], chunk["ask"]) == pytest.approx(size, rel=1e-12)


def test_prices_on_no_grid_are_refused() -> None:
    with pytest.raises(DataError, match="no grid of up to 9 decimals; give tick_size"):
        find_tick_size(np.array([math.pi]), np.array([math.e]))


def test_returns_are_the_last_mid_up_to_each_edge() -> None:
    """Oracle: a loop over edges and ticks; the first session is cut at both ends."""
    session = Session(sessions=3, open=9.0, hours=1.0)
    whole = ticks(PathSpec(Gbm(volatility=0.5), Poisson(0.02), session, QUOTES, seed=9))
    opens = [session.opens(i) for i in range(3)]
    cut = (whole["ts"] > opens[0] + HOUR // 4) & (whole["ts"] < opens[2] + HOUR // 2)
    ts, bid, ask = (whole[n][cut] for n in ("ts", "bid", "ask"))
    seen = observe(ts, bid, ask, session, 60 * SECOND, 0.01)
    assert seen.session == session
    for i, begin in enumerate(opens):
        inside = (ts >= begin) & (ts < begin + HOUR)
        t, mid = ts[inside] - begin, np.log(0.5 * (bid + ask))[inside]
        values = []
        for edge in range(0, HOUR + 1, 60 * SECOND):
            ends = HOUR if t[-1] >= HOUR - 60 * SECOND else t[-1]
            if t[0] <= edge <= ends:
                values.append(mid[t <= edge][-1])
        assert seen.returns[i] == pytest.approx(np.diff(values), abs=1e-15)
        assert len(seen.times[i]) == inside.sum()
    assert seen.lengths[1] == pytest.approx(3_600.0)
    assert seen.lengths[0] <= 2_700.0
    assert seen.lengths[2] <= 1_800.0
    assert seen.gaps[0] == np.diff(np.log(0.5 * (bid + ask)))[np.diff(ts) > HOUR][0]


def test_a_calendar_past_midnight_is_found_from_cut_data() -> None:
    session = Session(start="2024-01-03", sessions=9, open=22.0, hours=23.0, days="1111001")
    whole = ticks(PathSpec(Gbm(), Poisson(0.05), session, QUOTES))
    inside = whole["ts"] > session.opens(0) + 5 * HOUR
    found = find_calendar(whole["ts"][inside], 60 * SECOND, 1_800 * SECOND, 252.0)
    assert (found.start, found.days) == ("2024-01-03", "1111001")
    assert found.open == pytest.approx(22.0, abs=0.02)
    assert found.hours == pytest.approx(23.0, abs=0.02)


# -- refusals --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain() -> Chunk:
    return ticks(PathSpec(Gbm(), Poisson(0.1), CALENDAR, QUOTES, seed=1))


@pytest.mark.parametrize(
    ("model", "arrivals", "why"),
    [
        ("merton", "poisson", "jumps cannot be told from the diffusion's noise"),
        ("garch", "poisson", "the volatility does not cluster"),
        ("regimes", "poisson", "one regime fits as well"),
        ("gbm", "hawkes", "the arrivals cannot be told from independent ones"),
    ],
)
def test_a_model_that_the_data_do_not_need_is_refused(
    plain: Chunk, model: str, arrivals: str, why: str
) -> None:
    with pytest.raises(DataError) as error:
        fit(model, plain, arrivals=arrivals, clock=120.0)
    refused = model if arrivals == "poisson" else arrivals
    assert str(error.value).startswith(f"{refused} cannot be fitted because {why}")


def test_borders_are_refused() -> None:
    draw = np.random.default_rng(0)
    # A rate that drifts over hours by a factor of a thousand looks like self-excitation.
    parts = []
    for session, hour in itertools.product(range(6), range(8)):
        count = draw.poisson(3_600 * 0.01 * 1_000.0 ** draw.random())
        begin = CALENDAR.opens(session) + hour * HOUR
        parts.append(begin + np.sort((draw.random(count) * HOUR).astype(np.int64)))
    ts = np.concatenate(parts)
    bid = np.rint(1e5 * np.exp(np.cumsum(draw.normal(size=len(ts)) * 1e-4))) / 100
    chunk = {"ts": ts, "bid": bid, "ask": bid + 0.01}
    with pytest.raises(DataError, match="hawkes cannot be fitted because the branching ratio"):
        fit("gbm", chunk, arrivals="hawkes", tick_size=0.01)
    # A volatility that only ever grows has no mean to return to.
    session = replace(CALENDAR, sessions=1)
    times = session.opens(0) + np.arange(2_880, dtype=np.int64) * 10 * SECOND
    z = draw.standard_t(5, 2_880) * np.geomspace(1e-5, 1e-3, 2_880)
    bid = np.rint(1e7 * np.exp(np.cumsum(z))) / 1e4
    chunk = {"ts": times, "bid": bid, "ask": bid + 0.0001}
    with pytest.raises(DataError, match="garch cannot be fitted because alpha"):
        fit("garch", chunk, session=session, tick_size=0.0001, clock=10.0)


def test_too_few_or_constant_data_are_refused(plain: Chunk) -> None:
    few = {n: c[:300] for n, c in plain.items()}
    with pytest.raises(DataError, match=r"garch cannot be fitted because there are .* fewer than"):
        fit("garch", few)
    with pytest.raises(DataError, match="hawkes cannot be fitted because there are 300 ticks"):
        fit("gbm", few, arrivals="hawkes")
    with pytest.raises(DataError, match="gbm cannot be fitted because there are 1 ticks"):
        fit("gbm", {n: c[:1] for n, c in plain.items()})
    still = {**plain, "bid": np.full(len(plain["ts"]), 5.0), "ask": np.full(len(plain["ts"]), 5.5)}
    with pytest.raises(DataError, match="gbm cannot be fitted because the returns have no var"):
        fit("gbm", still)


def test_bad_input_is_named(plain: Chunk) -> None:
    def broken(name: str, value: Any, at: int = 7) -> Chunk:
        column = plain[name].copy()
        column[at] = value
        return {**plain, name: column}

    for chunk, settings, said in (
        (broken("bid", math.nan), {}, "bid: nan at 7 is not a positive price"),
        (broken("ask", -1.0), {}, "ask: -1.0 at 7"),
        (broken("ts", 5), {}, "ts: the stamp at 7 is before the one before it"),
        ({**plain, "ts": plain["ts"].astype(np.float64)}, {}, "are not nanoseconds as int64"),
        ({**plain, "ts": plain["ts"][1:]}, {}, "are not one length"),
        (plain, {"arrivals": "often"}, "arrivals: 'often' is not known; use one of poisson"),
        (plain, {"clock": 0.0}, "clock: 0.0 is not in"),
        (plain, {"session": replace(CALENDAR, open=15.0)}, "lie outside the sessions (15 UTC"),
    ):
        with pytest.raises(DataError) as error:
            fit("gbm", chunk, **settings)
        assert said in str(error.value)
    with pytest.raises(DataError, match="model: 'arma' is not known"):
        fit("arma", plain)
    with pytest.raises(DataError, match="regimes: 9 is not a whole number from 2 to 5"):
        fit("regimes", plain, regimes=9)


def test_a_market_that_never_closes_needs_its_calendar_given() -> None:
    around = Session(sessions=4, open=0.0, hours=24.0, gap_hours=0.0, days="1111111")
    chunk = ticks(PathSpec(Gbm(), Poisson(0.02), around, QUOTES))
    with pytest.raises(DataError, match="give the calendar as session"):
        fit("gbm", chunk, session=None)
    assert fit("gbm", chunk, session=around).spec.session == around


def test_locked_quotes_are_counted_and_told(plain: Chunk) -> None:
    ask = plain["ask"].copy()
    ask[:10] = plain["bid"][:10]
    found = fit("gbm", {**plain, "ask": ask})
    assert any(note.startswith("10 of ") and "below one tick" in note for note in found.notes)


# -- real ticks ------------------------------------------------------------------------


def test_real_gold_is_fitted_and_the_checks_say_what_no_model_has(real_ticks: Path) -> None:
    source = SourceSpec(str(real_ticks / "xauusd-oanda-2014-05.parquet"))
    gold = concatenate(list(open_chunks(source)))
    found = calibrate("garch", gold["ts"], gold["bid"], gold["ask"], paths=3)
    session = found.spec.session
    assert (session.open, session.days, session.sessions) == (22.0, "1111001", 12)
    assert session.hours == pytest.approx(23.25, abs=0.05)
    assert found.spec.quotes.tick_size == 0.001
    process = found.spec.process
    assert isinstance(process, Garch)
    assert 0.95 < process.alpha + process.beta < 0.9995
    assert 3.0 < process.nu < 5.0
    checks = {check.name: check for check in found.checks}
    # Gold has a season of the day and clusters of ticks; neither is in the model.
    assert checks["season"].inside is False
    assert checks["fano, 60 s"].data > 100.0
    assert checks["fano, 60 s"].high < 1.2
    assert checks["spread mean"].data == pytest.approx(341.6, abs=0.1)
