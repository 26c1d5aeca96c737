"""Reality Check, SPA, StepM and MCS: reference cases, plain oracles, sizes, determinism."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from overfit_cases import case, close, shared_gains, traps

from sweep.errors import InputError
from sweep.stats.bootstrap import path_stream, stationary, stationary_positions
from sweep.stats.overfit import (
    Draws,
    benjamini_yekutieli,
    given_draws,
    model_confidence_set,
    reality_check,
    separate_p_values,
    session_draws,
    spa,
    stepm,
)
from sweep.stats.overfit.mcs import LANES, MAX_PAIRED, mean_square
from sweep.stats.overfit.resamples import (
    BLOCK,
    column_means,
    drawn_sums,
    long_run_sd,
    resampled_means,
)

Floats = NDArray[np.float64]


def noise(sessions: int, variants: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(sessions, variants))


def indices(draws: Draws) -> NDArray[np.int64]:
    """Return positions that have the same counts as the draws."""
    rows = [
        np.repeat(draws.drawn[b, :k], draws.times[b, :k].astype(int))
        for b, k in enumerate(draws.n_drawn)
    ]
    return np.array(rows, np.int64)


# -- draws and means -------------------------------------------------------------------


def test_the_index_map_of_the_stationary_bootstrap() -> None:
    inputs, expected = case("stationary_bootstrap.index_map")
    out = np.empty(inputs["n"], np.int64)
    stationary_positions(np.array(inputs["starts"]), np.array(inputs["u"]), inputs["p"], out)
    assert out.tolist() == expected


@pytest.mark.parametrize("n", [9, 40, 64])
def test_draws_do_not_depend_on_how_many_there_are(n: int) -> None:
    few, many = (session_draws(n, block_length=3.5, n_bootstrap=b, seed=5) for b in (7, 4001))
    assert few.positions.tobytes() == many.positions[:7].tobytes()
    assert (few.drawn == many.drawn[:7]).all()
    assert (few.times == many.times[:7]).all()


def test_draws_are_those_of_the_stationary_bootstrap() -> None:
    few = session_draws(40, block_length=3.5, n_bootstrap=20, seed=5)
    whole = [path_stream(5, "overfit", f"stationary {what}", 0) for what in ("starts", "restarts")]
    starts, restart = whole[0].integers(0, 40, 20 * 40), whole[1].random(20 * 40)
    path = np.empty(40, np.int64)
    row = slice(7 * 40, 8 * 40)
    stationary_positions.py_func(starts[row], restart[row], 1.0 / 3.5, path)
    assert (np.sort(path) == indices(few)[7]).all()
    other = session_draws(40, block_length=3.5, n_bootstrap=20, seed=6)
    assert not (few.drawn == other.drawn).all()


def test_means_over_resamples_are_the_means_of_the_drawn_sessions() -> None:
    returns = noise(50, 150)
    draws = session_draws(50, block_length=4, n_bootstrap=30)
    wanted = returns[indices(draws)].mean(axis=1).T
    assert resampled_means(returns, draws) == pytest.approx(wanted, abs=1e-13)


def test_a_variants_bits_depend_on_no_other_variant() -> None:
    returns = noise(60, 200)
    draws = session_draws(60, block_length=4, n_bootstrap=40)
    whole = resampled_means(returns, draws)
    for part in (slice(0, 1), slice(3, 10), slice(60, 140), slice(199, 200)):
        alone = np.ascontiguousarray(returns[:, part])
        assert (resampled_means(alone, draws) == whole[part]).all()
        assert (column_means(alone) == column_means(returns)[part]).all()
        assert (long_run_sd(alone, 4.0) == long_run_sd(returns, 4.0)[part]).all()


def test_compiled_sums_have_the_bits_of_plain_python() -> None:
    """No contraction, no other order: the same loops, run without Numba."""
    block = noise(37, BLOCK)
    drawn, times = np.arange(37, dtype=np.int32), noise(1, 37, 1)[0]
    compiled, plain = np.empty(BLOCK), np.empty(BLOCK)
    drawn_sums(block, drawn, times, 37, compiled)
    drawn_sums.py_func(block, drawn, times, 37, plain)
    assert (compiled == plain).all()
    lanes = np.empty(LANES)
    for values in (noise(1, 1_000)[0], noise(1, 63)[0]):
        assert mean_square(values, lanes) == mean_square.py_func(values, lanes)


def test_the_long_run_error_is_that_of_the_bootstrapped_mean() -> None:
    """Of 20,000 resamples; 4 standard errors of a variance, 2 %, which a right one exceeds in
    some 1 of 16,000 cases."""
    returns = np.cumsum(noise(40, 3), axis=0) * 0.1 + noise(40, 3, 1)
    centred = returns - column_means(returns)
    draws = session_draws(40, block_length=5, n_bootstrap=20_000)
    variance = 40 * np.square(resampled_means(centred, draws)).mean(axis=1)
    assert variance == pytest.approx(long_run_sd(centred, 5.0) ** 2, rel=4 * math.sqrt(2 / 20_000))


def test_wrong_draws_are_refused() -> None:
    for wrong, text in (
        (np.zeros((0, 5), int), "integers of shape"),
        (np.zeros(5, int), "integers of shape"),
        (np.zeros((2, 5)), "integers of shape"),
        (np.full((2, 5), 5), r"lie in 0..4"),
    ):
        with pytest.raises(InputError, match=text):
            given_draws(wrong, block_length=2)
    with pytest.raises(InputError, match=r"lies in 1..5 sessions"):
        given_draws(np.zeros((2, 5), int), block_length=6)
    with pytest.raises(InputError, match="at least 1 resample"):
        session_draws(20, block_length=2, n_bootstrap=0)
    with pytest.raises(InputError, match="the returns have 20 sessions and the draws 30"):
        spa(noise(20, 3), session_draws(30, block_length=2, n_bootstrap=10))
    with pytest.raises(InputError, match="benchmark has 19 sessions"):
        spa(noise(20, 3), session_draws(20, block_length=2), benchmark=np.zeros(19))


# -- reference cases -------------------------------------------------------------------


def test_reality_check_of_the_reference_case() -> None:
    gains, draws = shared_gains()
    _, expected = case("spa.reality_check")
    found = reality_check(gains, draws)
    assert found.p.share == close("spa.reality_check", expected["p_value"])
    assert found.p.value == close("spa.reality_check", expected["p_value_plus1"])
    _, shared = case("spa.shared_inputs")
    assert found.statistic == close("spa.shared_inputs", shared["T_unstudentised"])
    assert found.p.error == pytest.approx(math.sqrt(found.p.value * (1 - found.p.value) / 200))
    assert found.best == 3


def test_hansens_test_of_the_reference_case() -> None:
    gains, draws = shared_gains()
    name = "spa.hansen_studentised"
    _, expected = case(name)
    found = spa(gains, draws)
    shares = {n: getattr(found, n).share for n in ("lower", "consistent", "upper")}
    assert found.statistic == close(name, expected["statistic"])
    assert shares == close(name, {n: expected[n] for n in shares})
    (unstudentised,) = traps(name).values()
    assert all(shares[n] != unstudentised[n] for n in shares)
    assert found.best == 0
    _, shared = case("spa.shared_inputs")
    assert long_run_sd(gains - column_means(gains), 4.0) == close(
        "spa.shared_inputs", shared["omega"]
    )


@pytest.mark.parametrize("name", ["stepm.arch_unstudentised", "stepm.romano_wolf_studentised"])
def test_stepm_of_the_reference_case(name: str) -> None:
    gains, draws = shared_gains()
    inputs, expected = case(name)
    settings = {k: inputs[k] for k in ("alpha", "studentised", "recentring")}
    assert stepm(gains, draws, **settings).rejected.tolist() == expected


@pytest.mark.parametrize(("name", "statistic"), [("mcs.R", "range"), ("mcs.max", "max")])
def test_the_confidence_set_of_the_reference_case(
    name: str, statistic: Literal["max", "range"]
) -> None:
    gains, draws = shared_gains()
    _, expected = case(name)
    # Losses are 10 - gains: the same set, for it does not see constants.
    for returns in (gains, gains - 10.0):
        found = model_confidence_set(returns, draws, alpha=0.1, statistic=statistic)
        wanted = [float(expected["pvalues"][str(k)]) for k in range(4)]
        assert list(found.shares) == close(name, wanted)
        assert found.eliminated.tolist() == expected["elimination_order"]
        assert found.included.tolist() == expected["included"]


# -- plain versions --------------------------------------------------------------------


def plain_stepm(
    returns: Floats, drawn: NDArray[np.int64], omega: Floats, alpha: float
) -> tuple[list[int], list[float], Floats]:
    n = len(returns)
    t = math.sqrt(n) * returns.mean(axis=0) / omega
    centred = returns - returns.mean(axis=0)
    resampled = math.sqrt(n) * centred[drawn].mean(axis=1) / omega
    left, rejected, critical = list(range(len(t))), [], []
    while left:
        critical.append(float(np.quantile(resampled[:, left].max(axis=1), 1.0 - alpha)))
        found = [k for k in left if t[k] > critical[-1]]
        if not found:
            break
        rejected += found
        left = [k for k in left if k not in found]
    p = np.empty(len(t))
    highest = 0.0
    for k in np.argsort(-t):
        at_most = t <= t[k]
        count = int((resampled[:, at_most].max(axis=1) >= t[k]).sum())
        highest = max(highest, (1 + count) / (1 + len(drawn)))
        p[k] = highest
    return sorted(rejected), critical, p


def plain_errors(returns: Floats, drawn: NDArray[np.int64]) -> Floats:
    """Return each variant's error in each resample, from its blocks, (n_bootstrap, n_variants)."""
    out = np.empty((len(drawn), returns.shape[1]))
    n = len(returns)
    for b, path in enumerate(drawn):
        ends = [t for t in range(n - 1) if path[t + 1] != (path[t] + 1) % n]
        sample = returns[path] - returns[path].mean(axis=0)
        sums = [part.sum(axis=0) for part in np.split(sample, np.array(ends, int) + 1)]
        out[b] = np.sqrt(np.square(sums).sum(axis=0) / n)
    return out


def test_lists_of_noise_are_seldom_other_than_empty() -> None:
    """By the sample's own long-run error they are not, in a third of such records."""
    lists = 0
    for run in range(60):
        draws = session_draws(45, block_length=5, n_bootstrap=499, seed=run)
        p = separate_p_values(noise(45, 40, run), draws)
        lists += bool((benjamini_yekutieli(p) <= 0.1).any())
    assert lists <= 9


def test_no_variance_and_no_sessions_have_no_p_value() -> None:
    returns = noise(40, 3)
    returns[:, 1] = 0.0
    p = separate_p_values(returns, session_draws(40, block_length=2, n_bootstrap=99))
    assert np.isnan(p).tolist() == [False, True, False]
    few = separate_p_values(noise(5, 3), session_draws(5, block_length=2, n_bootstrap=9))
    assert np.isnan(few).all()


def test_resampled_errors_are_those_of_the_blocks() -> None:
    returns = noise(80, 70, 3) + 0.1
    indices_drawn = np.array([stationary(80, 4.0, path_stream(1, 2, 3, b)) for b in range(60)])
    draws = given_draws(indices_drawn, block_length=4)
    mean = returns.mean(axis=0)
    omega = long_run_sd(returns - column_means(returns), 4.0)
    t = math.sqrt(80) * mean / omega
    z = math.sqrt(80) * (returns[indices_drawn].mean(axis=1) - mean)
    z /= plain_errors(returns, indices_drawn)
    assert np.abs(z).max() < 20.0
    alone = separate_p_values(returns, draws)
    assert alone == pytest.approx((1 + (z >= t).sum(axis=0)) / 61)
    exceeded = int((z.max(axis=1) >= t.max()).sum())
    found = spa(returns, draws, errors="resampled")
    assert found.statistic == pytest.approx(t.max())
    assert found.upper.n_extreme == exceeded
    assert 0 < exceeded < 60
    steps = stepm(returns, draws, errors="resampled")
    assert steps.p_values.min() == found.upper.value
    assert steps.critical_values[0] == pytest.approx(np.quantile(z.max(axis=1), 0.9))


def test_who_hardly_trades_has_the_samples_error_where_a_resample_lacks_it() -> None:
    """A single loss: resamples without it would have no error, and all gain on the mean."""
    returns = noise(100, 5) + 0.4
    returns[:, 0] = 0.0
    returns[50, 0] = -1.0
    draws = session_draws(100, block_length=1, n_bootstrap=199)
    assert spa(returns, draws, errors="resampled").upper.value < 0.05


def test_stepm_is_its_plain_version() -> None:
    """With so many good variants that a step goes on in a later block of the compiled loop."""
    returns = noise(80, 150, 3) + 0.33
    returns[:, 10:] += 0.3
    draws = session_draws(80, block_length=3, n_bootstrap=99)
    omega = long_run_sd(returns - column_means(returns), 3.0)
    rejected, critical, p = plain_stepm(returns, indices(draws), omega, 0.1)
    found = stepm(returns, draws, alpha=0.1)
    assert len(found.steps) > 1
    assert found.rejected.tolist() == rejected
    assert sorted(itertools.chain(*found.steps)) == rejected
    assert found.critical_values == pytest.approx(critical)
    assert found.p_values == pytest.approx(p)
    assert set(np.flatnonzero(found.p_values <= 0.09)) <= set(rejected)


def plain_mcs(returns: Floats, drawn: NDArray[np.int64], method: str) -> tuple[list[int], Floats]:
    losses = -returns
    mean = losses.mean(axis=0)
    errors = (losses - mean)[drawn].mean(axis=1)
    left = list(range(losses.shape[1]))
    order, p, most = [], np.ones(len(left)), 0
    while len(left) > 1:
        e = errors[:, left]
        if method == "max":
            e = e - e.mean(axis=1)[:, None]
            sd = np.sqrt(np.square(e).mean(axis=0))
            t = (mean[left] - mean[left].mean()) / sd
            chance = (e / sd).max(axis=1)
        else:
            pairs = e[:, :, None] - e[:, None, :]
            sd = np.sqrt(np.square(pairs).mean(axis=0)) + np.eye(len(left))
            t = ((mean[left][:, None] - mean[left]) / sd).max(axis=1)
            chance = np.abs(pairs / sd).max(axis=(1, 2))
        worst = int(t.argmax())
        most = max(most, int((chance >= t[worst]).sum()))
        p[left[worst]] = (1 + most) / (1 + len(drawn))
        order.append(left.pop(worst))
    return order + left, p


MATRICES: dict[str, Any] = {
    "noise": lambda: noise(60, 140, 1),
    "spread": lambda: noise(60, 140, 2) + noise(1, 140, 3) * 0.3,
    "factor": lambda: noise(60, 140, 4) + 5.0 * noise(60, 1, 5) + noise(1, 140, 6) * 0.2,
    "alike": lambda: np.cumsum(noise(60, 140, 7), axis=1) * 0.1 + 0.05 * noise(60, 140, 8),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize(("method", "variants"), [("max", 140), ("range", 30)])
def test_the_confidence_set_is_its_plain_version(
    kind: str, method: Literal["max", "range"], variants: int
) -> None:
    returns = MATRICES[kind]()[:, :variants]
    draws = session_draws(60, block_length=4, n_bootstrap=150)
    order, p = plain_mcs(returns, indices(draws), method)
    found = model_confidence_set(returns, draws, statistic=method)
    assert found.eliminated.tolist() == order
    assert found.p_values == pytest.approx(p)
    assert found.included.tolist() == np.flatnonzero(p > 0.1).tolist()
    sooner = model_confidence_set(returns, draws, statistic=method, complete=False)
    assert sooner.included.tolist() == found.included.tolist()
    gone = p <= 0.1
    assert sooner.p_values[gone] == pytest.approx(p[gone])
    assert (sooner.p_values[~gone] <= p[~gone]).all()


# -- what must hold --------------------------------------------------------------------


def test_p_values_are_ordered_and_poor_variants_do_not_hurt() -> None:
    """The consistent p-value stays when hopeless variants are added; the upper one grows."""
    good = noise(120, 20, 9) + 0.02
    poor = noise(120, 300, 10) * 3.0 - 2.0
    draws = session_draws(120, block_length=2, n_bootstrap=499)
    alone, together = spa(good, draws), spa(np.column_stack([good, poor]), draws)
    for found in (alone, together):
        assert found.lower.value <= found.consistent.value <= found.upper.value
    assert together.statistic == alone.statistic
    assert together.consistent == alone.consistent
    assert together.lower == alone.lower
    assert together.upper.value > 1.5 * alone.upper.value


def test_variants_below_the_benchmark_have_a_p_value_of_one() -> None:
    draws = session_draws(60, block_length=2, n_bootstrap=99)
    found = spa(noise(60, 30) - 1.0, draws)
    assert found.statistic == 0.0
    assert (found.lower.value, found.consistent.value, found.upper.value) == (1.0, 1.0, 1.0)
    assert stepm(noise(60, 30) - 1.0, draws).rejected.size == 0


def test_a_benchmark_is_taken_off_session_by_session() -> None:
    returns, market = noise(60, 5) + 0.1, noise(60, 1, 2)[:, 0]
    draws = session_draws(60, block_length=2, n_bootstrap=99)
    for test in (spa, reality_check):
        assert test(returns, draws, benchmark=market) == test(returns - market[:, None], draws)
    assert (
        stepm(returns, draws, benchmark=market).p_values
        == stepm(returns - market[:, None], draws).p_values
    ).all()


def test_variants_that_never_trade_are_left_out_and_counted() -> None:
    returns = noise(60, 6) + 0.8
    draws = session_draws(60, block_length=2, n_bootstrap=99)
    idle = np.insert(returns, 2, 0.0, axis=1)
    found, wanted = spa(idle, draws), spa(returns, draws)
    assert found.n_without == 1
    assert found.consistent == wanted.consistent
    steps = stepm(idle, draws)
    assert steps.rejected.tolist() == [0, 1, 3, 4, 5, 6]
    assert math.isnan(steps.p_values[2])
    assert reality_check(idle, draws).p == reality_check(returns, draws).p


def test_too_little_is_no_test_but_a_reason() -> None:
    few = session_draws(9, block_length=2, n_bootstrap=19)
    for found in (spa(noise(9, 4), few), reality_check(noise(9, 4), few), stepm(noise(9, 4), few)):
        assert "9 sessions; at least 10" in str(found.reason)
    draws = session_draws(30, block_length=2, n_bootstrap=19)
    idle = spa(np.zeros((30, 3)), draws)
    assert math.isnan(idle.consistent.value)
    assert "variance" in str(idle.reason)
    assert "no variant" in str(spa(np.empty((30, 0)), draws).reason)
    one = model_confidence_set(noise(30, 1), draws)
    assert "1 distinct variant;" in str(one.reason)
    assert np.isnan(one.p_values).all()
    twins = model_confidence_set(np.repeat(noise(30, 1), 4, axis=1), draws)
    assert "1 distinct variant;" in str(twins.reason)


def test_equal_variants_share_a_p_value() -> None:
    returns = noise(60, 8) + np.linspace(0.0, 1.0, 8)
    draws = session_draws(60, block_length=2, n_bootstrap=99)
    doubled = np.repeat(returns, 2, axis=1)
    for statistic in ("max", "range"):
        once = model_confidence_set(returns, draws, statistic=statistic)
        twice = model_confidence_set(doubled, draws, statistic=statistic)
        assert (np.repeat(once.p_values, 2) == twice.p_values).all()


def test_a_constant_difference_is_told_apart() -> None:
    base = noise(60, 1)
    returns = np.column_stack([base, base + 1.0, base + 0.5])
    draws = session_draws(60, block_length=2, n_bootstrap=99)
    for statistic in ("max", "range"):
        found = model_confidence_set(returns, draws, statistic=statistic)
        assert found.eliminated.tolist() == [0, 2, 1]
        assert found.included.tolist() == [1]


def test_wrong_settings_are_refused() -> None:
    returns = noise(30, 3)
    draws = session_draws(30, block_length=2, n_bootstrap=19)
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="alpha lies between"):
            stepm(returns, draws, alpha=alpha)
        with pytest.raises(InputError, match="alpha lies between"):
            model_confidence_set(returns, draws, alpha=alpha)
    for test in (spa, stepm):
        with pytest.raises(InputError, match="no errors 'own'"):
            test(returns, draws, errors="own")
    with pytest.raises(InputError, match="no recentring"):
        stepm(returns, draws, recentring="some")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no statistic"):
        model_confidence_set(returns, draws, statistic="R")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r'at most 2000; use statistic="max"'):
        model_confidence_set(noise(30, MAX_PAIRED + 1), draws, statistic="range")
    with pytest.raises(InputError, match="n_sessions, n_variants"):
        spa(np.zeros(30), draws)


def test_too_large_a_confidence_set_says_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.stats.overfit.mcs.MAX_BYTES", 8 * 100 * 10)
    with pytest.raises(InputError, match="use at most 10 resamples"):
        model_confidence_set(noise(30, 100), session_draws(30, block_length=2, n_bootstrap=19))


# -- sizes -----------------------------------------------------------------------------


def returns_without_edge(
    rng: np.random.Generator, sessions: int, variants: int, rho: float
) -> Floats:
    """Return AR(1) returns with mean 0 and a common factor: correlations of one half."""
    draws = rng.normal(size=(sessions + 20, variants)) + rng.normal(size=(sessions + 20, 1))
    for t in range(1, len(draws)):
        draws[t] += rho * draws[t - 1]
    return draws[20:]


def rejection_rates(
    runs: int, sessions: int, variants: int, rho: float, block_length: float
) -> dict[str, float]:
    """Return rates of false rejections at 10 % without any good variant, and of lost best ones.

    ``mcs``: a variant was left out where all are equal; ``mcs_best``: the one that is better.
    """
    rng = np.random.default_rng(11)
    counts = {"reality": 0, "spa": 0, "spa_resampled": 0, "stepm": 0, "mcs": 0, "mcs_best": 0}
    for run in range(runs):
        draws = session_draws(sessions, block_length=block_length, n_bootstrap=199, seed=run)
        returns = returns_without_edge(rng, sessions, variants, rho)
        counts["reality"] += reality_check(returns, draws).p.value <= 0.1
        counts["spa"] += spa(returns, draws).consistent.value <= 0.1
        resampled = spa(returns, draws, errors="resampled")
        counts["spa_resampled"] += resampled.consistent.value <= 0.1
        counts["stepm"] += stepm(returns, draws).rejected.size > 0
        # All are best: a set that leaves out any of them has lost one.
        counts["mcs"] += len(model_confidence_set(returns, draws).included) < variants
        returns[:, 0] += 0.1
        counts["mcs_best"] += 0 not in model_confidence_set(returns, draws).included
    return {name: count / runs for name, count in counts.items()}


def test_rejection_rates_on_few_samples() -> None:
    """60 samples; a test of the nominal 10 % exceeds the bound of 25 % in 1 of 3,000 cases.

    This is to catch a test that is wrong, not one that is a little off: see the slow one.
    """
    rates = rejection_rates(60, 120, 40, rho=0.0, block_length=1.0)
    assert max(rates.values()) <= 0.25, rates


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rho", "block_length", "studentised", "confidence_set"),
    [(0.0, 1.0, 0.14, 0.18), (0.1, 3.0, 0.17, 0.28), (0.3, 6.0, 0.24, 0.42)],
)
def test_rejection_rates_under_the_null(
    rho: float, block_length: float, studentised: float, confidence_set: float
) -> None:
    """1,000 samples of 250 sessions and 100 variants without an edge, 199 resamples, at 10 %.

    Found, with standard errors of 1 % to 1.5 %:

    ==== ============ ======= ==== ============= ===== ====
    rho  block length reality spa  spa_resampled stepm mcs
    ==== ============ ======= ==== ============= ===== ====
    0.0  1            .099    .109 .103          .110  .150
    0.1  3            .124    .138 .102          .143  .237
    0.3  6            .145    .191 .099          .197  .368
    ==== ============ ======= ==== ============= ===== ====

    With fixed errors, what is studentised rejects more often than it says where blocks are
    long and sessions few: each variant's error is then an estimate from ``n / block_length``
    blocks or so, and the highest of many is one whose error came out small. Without a common
    factor it is worse (spa at .31 in the last row); on 1,000 sessions in blocks of 10 spa is
    at .108. 999 resamples in place of 199 make the last column .133, .223 and .350 (400
    samples).
    """
    rates = rejection_rates(1_000, 250, 100, rho, block_length)
    assert 0.07 <= rates["reality"] <= 0.18, rates
    assert 0.07 <= rates["spa"] <= studentised, rates
    assert 0.07 <= rates["stepm"] <= studentised, rates
    assert 0.07 <= rates["spa_resampled"] <= 0.13, rates
    assert 0.07 <= rates["mcs"] <= confidence_set, rates
    assert rates["mcs_best"] <= 0.02, rates
