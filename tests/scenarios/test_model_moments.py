"""Simulated markets against closed forms.

Seeds are fixed, so that each test passes or fails for good. Unless it says otherwise a
test fails a sound simulator with fresh seeds with a probability below 0.001 (a z-score at
4 has 0.00006).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from laws.ruin import brownian_ruin
from laws.walk_drawdown import (
    expected_gaussian_drawdown,
    expected_walk_drawdown,
    gaussian_drawdown_cdf,
)
from numpy.typing import NDArray
from scipy import stats

from sweep.scenarios.simulate import cores
from sweep.scenarios.simulate.processes import Garch, Gbm, Merton, Process, Regimes
from sweep.scenarios.simulate.simulate import arrival_times, simulate
from sweep.scenarios.simulate.spec import Hawkes, PathSpec, Poisson, Quotes, Regular, Session
from sweep.ticks.quality import concatenate

Floats = NDArray[np.float64]
SECOND = 1_000_000_000
FINE = Quotes(100.0, 1e-8, (2,))
CASES: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "model_cases.json").read_text(encoding="utf-8")
)


def mid(chunk: dict[str, Floats]) -> Floats:
    middle: Floats = 0.5 * (chunk["bid"] + chunk["ask"])
    return middle


def close_to(values: Floats, expected: float, sigmas: float = 4.0) -> None:
    """Fail unless the mean of independent values is the expected one within its error."""
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - expected) < sigmas * error


# -- geometric Brownian motion ---------------------------------------------------------


@pytest.fixture(scope="module")
def terminal() -> Floats:
    """Mid at 0.5, 1 and 1.5 years of 4,000 paths, ndarray of shape (paths, 3)."""
    given = CASES["mc.gbm_terminal"]["inputs"]
    # Half a year is a session; its end is the tick that opens the next.
    session = Session(sessions=4, hours=1.0, gap_hours=0.0, sessions_per_year=2.0)
    quotes = Quotes(given["S0"], 1e-8, (2,))
    spec = PathSpec(Gbm(given["mu"], given["sigma"]), Regular(1800.0), session, quotes, seed=1)
    return np.array([[mid(c)[0] for c in list(simulate(spec, i))[1:]] for i in range(4_000)])


def test_gbm_has_its_terminal_law(terminal: Floats) -> None:
    expected = CASES["mc.gbm_terminal"]["expected"]
    last, n = terminal[:, 2], len(terminal)
    close_to(last, expected["mean"])
    close_to(np.log(last), expected["log_mean"])
    # The standard error of a normal sd; kurtosis and skewness follow from the log's law.
    sd = np.log(last).std(ddof=1)
    assert abs(sd - expected["log_sd"]) < 4.0 * expected["log_sd"] / math.sqrt(2 * n)
    for share, level in expected["quantiles"].items():
        q = float(share)
        assert abs(np.mean(last < level) - q) < 4.0 * math.sqrt(q * (1 - q) / n)
    missing = CASES["mc.gbm_terminal"]["traps"]["missing -sigma^2/2"]
    assert abs(last.mean() - missing) > 4.0 * last.std() / math.sqrt(n)


def test_gbm_has_the_covariance_of_its_path(terminal: Floats) -> None:
    expected = CASES["mc.gbm_path_cov"]["expected"]
    early, late = np.log(terminal[:, 0]), np.log(terminal[:, 1])
    n = len(terminal)
    products = (early - early.mean()) * (late - late.mean())
    close_to(products, expected["cov_log"])
    r = np.corrcoef(early, late)[0, 1]
    assert abs(r - expected["corr_log"]) < 4.0 * (1 - r * r) / math.sqrt(n)
    # But for the drift a martingale: what comes has no mean, whatever came before.
    growth = math.exp(CASES["mc.gbm_terminal"]["inputs"]["mu"] * 0.5)
    gain = terminal[:, 1] / growth - terminal[:, 0]
    close_to(gain, 0.0)
    close_to(gain * (terminal[:, 0] - terminal[:, 0].mean()), 0.0)


def walk_paths(drift: float, steps: int, paths: int) -> Floats:
    """Log-mids of simulated paths in units of a step's deviation, from 0.

    The log-price drifts by ``drift`` deviations a step.
    """
    session = Session(sessions=1, hours=(steps + 1) / 60.0, gap_hours=0.0)
    years = 60.0 * SECOND / session.year
    vol = 0.2
    sd = vol * math.sqrt(years)
    spec = PathSpec(Gbm(drift * sd / years + vol**2 / 2, vol), Regular(60.0), session, FINE, seed=2)
    rows = [np.log(mid(next(simulate(spec, i)))) for i in range(paths)]
    assert {len(row) for row in rows} == {steps + 1}
    logs = np.array(rows)
    return (logs - logs[:, :1]) / sd


def drawdowns(paths: Floats) -> Floats:
    falls: Floats = (np.maximum.accumulate(paths, axis=1) - paths).max(axis=1)
    return falls


@pytest.mark.parametrize(("drift", "key"), [(0.0, "0"), (0.05, "0.05"), (-0.05, "-0.05")])
def test_simulated_drawdowns_have_the_discrete_law(drift: float, key: str) -> None:
    expected = CASES["mc.gaussian_rw_mdd"]["expected"][f"n=252,mu={key}"]
    n = 2_500
    found = drawdowns(walk_paths(drift, 252, n))
    close_to(found, expected)
    if drift == 0.0:  # The Brownian value is another.
        limit = CASES["mc.gaussian_rw_mdd"]["traps"]["continuous-time value for n=252, mu=0"]
        assert abs(found.mean() - limit) > 4.0 * found.std() / math.sqrt(n)
    for level in (12.0, 18.0, 30.0):
        share = gaussian_drawdown_cdf(level, 252, drift)
        error = math.sqrt(share * (1 - share) / n)
        assert abs(np.mean(found <= level) - share) < 4.0 * error
    assert expected_gaussian_drawdown(20) == pytest.approx(4.509598685203827, rel=1e-8)


def test_drawdowns_of_plus_minus_walks_have_their_law() -> None:
    draw = np.random.default_rng(5)
    for steps, up in ((50, 0.5), (100, 0.55)):
        moves = np.where(draw.random((10_000, steps)) < up, 1.0, -1.0)
        paths = np.concatenate([np.zeros((10_000, 1)), np.cumsum(moves, axis=1)], axis=1)
        close_to(drawdowns(paths), expected_walk_drawdown(steps, up))


def test_simulated_ruin_is_that_of_a_path_looked_at_now_and_then() -> None:
    given = CASES["mc.risk_of_ruin_bm"]["inputs"]
    steps = int(252 * given["T"])
    sd = given["sigma"] / math.sqrt(252)
    low = walk_paths(given["mu"] / 252 / sd, steps, 3_000).min(axis=1) * sd
    ruined = (low <= -given["loss_level"]).astype(np.float64)
    close_to(
        ruined,
        brownian_ruin(given["loss_level"], given["mu"], given["sigma"], given["T"], step=1 / 252),
    )


# -- moments of returns on a clock -----------------------------------------------------


def returns(process: Process, seconds: float, batches: int, session: Session) -> list[Floats]:
    """Log-returns over ``seconds`` of one session, for each path."""
    spec = PathSpec(process, Regular(seconds), session, FINE, seed=3)
    return [np.diff(np.log(mid(next(simulate(spec, i))))) for i in range(batches)]


DAY = Session(sessions=1, hours=24.0, gap_hours=0.0, sessions_per_year=1.0)


def each(found: list[Floats], statistic: Callable[[Floats], Any]) -> Floats:
    return np.array([statistic(r) for r in found])


def test_merton_has_its_moments() -> None:
    process = Merton(0.5, 0.2, jumps_per_year=5_000.0, jump_mean=-0.001, jump_sd=0.004)
    found = returns(process, 8.64, 200, DAY)
    dt = 1e-4
    lam, m, s = 5_000.0 * dt, -0.001, 0.004
    mean = (0.5 - 0.02 - 5_000.0 * math.expm1(m + s * s / 2)) * dt + lam * m
    var = 0.04 * dt + lam * (m * m + s * s)
    third = lam * (m**3 + 3 * m * s * s)
    fourth = lam * (m**4 + 6 * m * m * s * s + 3 * s**4) + 3 * var**2
    close_to(each(found, np.mean), mean)
    for power, moment in ((2, var), (3, third), (4, fourth)):
        close_to(each(found, lambda r, k=power: np.mean((r - mean) ** k)), moment)
    # The price itself grows by the drift, jumps included.
    close_to(each(found, lambda r: np.mean(np.exp(r))), math.exp(0.5 * dt))


def test_garch_has_its_variance_kurtosis_and_autocorrelation_of_squares() -> None:
    """Bollerslev (1986); He and Terasvirta (1999), J. Econometrics 92, for Student-t."""
    alpha, beta, nu = 0.1, 0.8, 12.0
    process = Garch(0.0, 0.3, alpha, beta, nu, step=1.0)
    dt = 1.0 / 86_400
    found = returns(process, 1.0, 40, DAY)
    mean = -0.5 * 0.09 * dt
    shock4 = 3.0 * (nu - 2) / (nu - 4)
    rest = 1 - shock4 * alpha**2 - 2 * alpha * beta - beta**2
    kurtosis = shock4 * (1 - (alpha + beta) ** 2) / rest
    var = 0.09 * dt
    close_to(each(found, lambda r: np.mean((r - mean) ** 2)) / var, 1.0)
    close_to(each(found, lambda r: np.mean((r - mean) ** 4)) / var**2, kurtosis)
    first = alpha * (1 - alpha * beta - beta**2) / (1 - 2 * alpha * beta - beta**2)
    for lag in (1, 2, 10):
        rho = first * (alpha + beta) ** (lag - 1)
        product = var**2 * (1 + rho * (kurtosis - 1))
        close_to(
            each(found, lambda r, k=lag: np.mean(((r[k:] - mean) * (r[:-k] - mean)) ** 2))
            / product,
            1.0,
        )
        close_to(each(found, lambda r, k=lag: np.mean((r[k:] - mean) * (r[:-k] - mean))), 0.0)


def test_regimes_have_their_shares_and_dwell_times() -> None:
    process = Regimes(
        (0.0, 0.0, 0.0), (0.1, 0.2, 0.4), ((0.9, 0.1, 0), (0, 0.8, 0.2), (0.5, 0, 0.5))
    )
    cumulative = np.cumsum(np.array(process.transitions), axis=1)
    draw = np.random.default_rng(8)
    runs = [cores.chain(draw.random(20_000), cumulative, 0)[0] for _ in range(30)]
    for state, share in enumerate(process.stationary):
        close_to(each(runs, lambda s, k=state: np.mean(s == k)), share)
        stay = process.transitions[state][state]
        states = np.concatenate(runs)
        edges = np.flatnonzero(np.diff(states))
        lengths = np.diff(edges)[states[edges[1:]] == state]
        close_to(lengths.astype(np.float64), 1.0 / (1.0 - stay))
        # Geometric, not only in the mean.
        assert np.mean(lengths == 1) == pytest.approx(1 - stay, abs=4 / math.sqrt(len(lengths)))


def test_regimes_give_the_moments_of_a_mixture() -> None:
    rows = ((0.99, 0.01), (0.03, 0.97))
    process = Regimes((0.0, 0.0), (0.1, 0.3), rows, step=1.0)
    found = returns(process, 1.0, 60, DAY)
    dt = 1.0 / 86_400
    share = process.stationary
    v = np.array([0.01, 0.09]) * dt
    mean, square = float(share @ v), float(share @ v**2)
    close_to(each(found, lambda r: np.mean(r**2)) / mean, 1.0)
    close_to(each(found, lambda r: np.mean(r**4)) / (3 * square), 1.0)
    for lag in (1, 20):
        product = mean**2 + (rows[0][0] + rows[1][1] - 1) ** lag * (square - mean**2)
        close_to(each(found, lambda r, k=lag: np.mean((r[k:] * r[:-k]) ** 2)) / product, 1.0)


def test_the_chain_starts_from_its_stationary_distribution_and_goes_on_overnight() -> None:
    process = Regimes((0.0, 0.0), (0.0, 0.3), ((0.9, 0.1), (0.3, 0.7)), step=60.0)
    session = Session(sessions=2, hours=1 / 30, gap_hours=0.0)
    spec = PathSpec(process, Regular(60.0), session, FINE)
    calm = []
    for path in range(2_000):
        first, second = simulate(spec, path)
        # Two steps in each session: the second ends where the next session opens.
        logs = np.log(np.concatenate([mid(first), mid(second)]))
        calm.append(np.abs(np.diff(logs)) < 1e-9)
    found = np.array(calm, dtype=np.float64)
    close_to(found[:, 0], 0.75)
    close_to(found[:, 2], 0.75)
    close_to(found[found[:, 1] == 1.0, 2], 0.9)  # across the night as within a session


# -- arrivals --------------------------------------------------------------------------


def test_poisson_arrivals_are_poisson() -> None:
    counts = np.array(
        [
            len(arrival_times(Poisson(0.02), 1_000 * SECOND, np.random.default_rng([4, i])))
            for i in range(4_000)
        ],
        dtype=np.float64,
    )
    close_to(counts, 20.0)
    close_to((counts - 20.0) ** 2, 20.0)


def test_hawkes_arrivals_have_their_mean_from_the_open_on_and_their_fano_factor() -> None:
    """Variance of counts: Da Fonseca and Zaatour (2014), J. Futures Markets 34."""
    hawkes = Hawkes(baseline=2.0, branching=0.6, decay=1.0)
    windows = []
    for i in range(40):
        draw = np.random.default_rng([6, i])
        times = arrival_times(hawkes, 2_000 * SECOND, draw) / SECOND
        windows.append(np.histogram(times, np.arange(0, 2_001, 10))[0].astype(np.float64))
    rate = 2.0 / 0.4
    close_to(np.array([w[0] for w in windows]), 10 * rate)
    close_to(np.array([w.mean() for w in windows]), 10 * rate)
    gain, fade = 1 / 0.4, 0.4
    fano = gain**2 + (1 - gain**2) * -math.expm1(-fade * 10) / (fade * 10)
    # After the first window the intensity has its stationary law.
    close_to(np.array([np.mean((w[1:] - 10 * rate) ** 2) for w in windows]), fano * 10 * rate)


def compensator(times: Floats, hawkes: Hawkes) -> Floats:
    """Integrated intensity between arrivals, summed arrival by arrival."""
    excess, last, out = hawkes.rate - hawkes.baseline, 0.0, []
    for t in times.tolist():
        fade = math.exp(-hawkes.decay * (t - last))
        out.append(hawkes.baseline * (t - last) + excess * (1 - fade) / hawkes.decay)
        excess = excess * fade + hawkes.branching * hawkes.decay
        last = t
    return np.array(out)


def test_hawkes_residuals_are_unit_exponential() -> None:
    """Papangelou's theorem; the test of Ogata (1988). Kolmogorov-Smirnov at 0.001."""
    hawkes = Hawkes(baseline=0.5, branching=0.8, decay=3.0)
    times = arrival_times(hawkes, 8_000 * SECOND, np.random.default_rng(9)) / SECOND
    residuals = compensator(times, hawkes)
    assert stats.kstest(residuals, "expon").pvalue > 0.001
    x = residuals - residuals.mean()
    for lag in (1, 2, 5):
        assert abs(np.mean(x[lag:] * x[:-lag]) / x.var()) < 4 / math.sqrt(len(x))
    # The test has power: those of a process without excitation are not exponential.
    wrong = compensator(times, Hawkes(hawkes.rate * 0.9, 0.1, 3.0))
    assert stats.kstest(wrong, "expon").pvalue < 1e-6


def test_hawkes_drives_the_stamps_of_any_process() -> None:
    hawkes = Hawkes(0.5, 0.8, 3.0)
    session = Session(sessions=2, hours=1.0, gap_hours=0.0)
    for process in (Gbm(), Merton(), Garch(), Regimes()):
        ts = concatenate(list(simulate(PathSpec(process, hawkes, session, FINE))))["ts"]
        times = (ts[ts < session.opens(1)] - session.opens(0)) / SECOND
        assert stats.kstest(compensator(times, hawkes), "expon").pvalue > 0.001


# -- a planted effect ------------------------------------------------------------------


def test_a_planted_hour_is_found_with_the_power_that_its_size_gives() -> None:
    """Twenty days, half a deviation: power of the one-sided t test at 5 % in closed form."""
    days, size, paths = 20, 0.5, 400
    session = Session(sessions=days, hours=3.0, gap_hours=1.0)
    spec = PathSpec(
        Gbm(), Poisson(0.05), session, FINE, effect="hour", effect_size=size, effect_hour=9
    )
    found = {0.0: 0, size: 0}
    limit = stats.t.ppf(0.95, days - 1)
    for planted, path in itertools.product(found, range(paths)):
        moves = []
        for day, chunk in enumerate(simulate(replace(spec, effect_size=planted), path)):
            hour = chunk["ts"] - session.opens(day)
            log = np.log(mid(chunk))
            before = int(np.searchsorted(hour, 3_600 * SECOND)) - 1
            moves.append(log[int(np.searchsorted(hour, 7_200 * SECOND)) - 1] - log[before])
        t = np.mean(moves) / (np.std(moves, ddof=1) / math.sqrt(days))
        found[planted] += int(t > limit)
    for planted, count in found.items():
        power = stats.nct.sf(limit, days - 1, planted * math.sqrt(days)) if planted else 0.05
        error = math.sqrt(power * (1 - power) / paths)
        assert abs(count / paths - power) < 4.0 * error, planted
