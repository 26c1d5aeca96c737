"""The Sharpe ratio's statistics: reference cases, closed forms, identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from overfit_cases import case, close, traps

from sweep.errors import InputError
from sweep.stats.overfit import (
    annual_sharpe_ratio,
    autocorrelations,
    benjamini_hochberg,
    benjamini_yekutieli,
    bonferroni,
    deflated_sharpe_of_best,
    deflated_sharpe_ratio,
    deflated_sharpe_ratio_2025,
    effective_trials,
    eta,
    eta_ar1,
    expected_maximum,
    expected_maximum_exact,
    holm,
    minimum_track_record_length,
    minimum_track_record_length_2025,
    moments,
    probabilistic_sharpe_ratio,
    probabilistic_sharpe_ratio_2025,
    sharpe_ratio,
    sharpe_ratios,
    sharpe_standard_error,
    sharpe_standard_error_hac,
    sharpe_standard_error_normal,
    variance_of_maximum,
)

#: The fund of Bailey & Lopez de Prado (2012).
FUND = {"skew": -2.448, "kurtosis": 10.164}


# -- the ratio -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sharpe.bacon", "sharpe.bacon_annual", "sharpe.nan_first"])
def test_sharpe_ratios_of_the_literature(name: str) -> None:
    inputs, _ = case(name)
    returns = [float(r) for r in inputs["returns"]]
    found = sharpe_ratio(
        returns, risk_free=inputs["rf"], periods_per_year=inputs["periods_per_year"]
    )
    assert found.reason is None
    assert float(found) == close(name)
    assert all(found.value != close(name, wrong) for wrong in traps(name).values())


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ([], "0 returns"),
        ([0.01], "1 return;"),
        ([math.nan, 0.01], "1 return;"),
        ([0.1, 0.1, 0.1], "no variance"),
    ],
)
def test_without_variance_there_is_no_ratio(returns: list[float], reason: str) -> None:
    for found in (
        sharpe_ratio(returns),
        sharpe_standard_error_hac(returns),
        annual_sharpe_ratio(returns, 252).lo,
    ):
        assert math.isnan(found.value)
        assert reason in str(found.reason)


def test_infinite_returns_are_refused() -> None:
    with pytest.raises(InputError, match="found inf at place 1"):
        moments([0.1, math.inf])
    with pytest.raises(InputError, match="one series"):
        moments([[0.1, 0.2]])


@given(st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=40), st.floats(0.01, 100.0))
def test_the_ratio_has_no_unit_and_moments_are_possible(returns: list[float], unit: float) -> None:
    found = moments(returns)
    other = moments([unit * r for r in returns])
    if found.reason or other.reason or found.sd < 1e-6:
        return
    assert other.sharpe == pytest.approx(found.sharpe, rel=1e-6, abs=1e-9)
    assert found.kurtosis >= (1.0 + found.skew**2) * (1.0 - 1e-9)


# -- standard errors -------------------------------------------------------------------


def test_lo_table_1() -> None:
    inputs, _ = case("sharpe_se.lo2002_table1")
    found = [sharpe_standard_error_normal(sr, n).value for sr, n in inputs["grid"]]
    assert found == close("sharpe_se.lo2002_table1")


def test_standard_errors_as_printed() -> None:
    inputs, _ = case("psr.sr_stdev_paper")
    found = [
        sharpe_standard_error(r["sr"], r["n"], skew=r["skew"], kurtosis=r["kurtosis"]).value
        for r in inputs["rows"]
    ]
    assert found == close("psr.sr_stdev_paper")


def test_without_lags_the_robust_error_is_that_of_independent_returns() -> None:
    r = np.random.default_rng(1).standard_t(5, 400) * 0.01 + 0.001
    m = moments(r)
    n = len(r)
    plain = sharpe_standard_error(
        m.sharpe * math.sqrt(n / (n - 1)), n, skew=m.skew, kurtosis=m.kurtosis
    )
    robust = sharpe_standard_error_hac(r, lags=0)
    assert robust.value == pytest.approx(plain.value * math.sqrt((n - 1) / n), rel=1e-12)


def test_the_robust_error_is_a_sum_over_lags() -> None:
    r = np.random.default_rng(2).normal(size=60)
    n, lags = len(r), 3
    z = (r - r.mean()) / r.std()
    psi = z - 0.5 * (r.mean() / r.std()) * (z**2 - 1.0)
    total = sum(
        (1.0 - abs(k) / (lags + 1)) * psi[t] * psi[t + k]
        for k in range(-lags, lags + 1)
        for t in range(n)
        if 0 <= t + k < n
    )
    found = sharpe_standard_error_hac(r, lags=lags)
    assert found.value == pytest.approx(math.sqrt(total) / n, rel=1e-12)
    with pytest.raises(InputError, match="lags must not be negative"):
        sharpe_standard_error_hac(r, lags=-1)
    assert "too few" in str(sharpe_standard_error_hac(r[:5], lags=5).reason)


def test_autocorrelated_returns_have_larger_errors() -> None:
    """Of AR(1) returns with 0.5 the mean's error is sqrt(3) times that of independent ones."""
    draws = np.random.default_rng(3).normal(size=20_000)
    r = np.empty_like(draws)
    r[0] = draws[0]
    for t in range(1, len(r)):
        r[t] = 0.5 * r[t - 1] + draws[t]
    ratio = sharpe_standard_error_hac(r, lags=60).value / sharpe_standard_error_hac(r, lags=0).value
    assert ratio == pytest.approx(math.sqrt(3.0), rel=0.05)


# -- annualisation ---------------------------------------------------------------------


def test_lo_table_2() -> None:
    name = "sharpe_annualise.lo2002_table2"
    inputs, _ = case(name)
    found = [eta_ar1(rho, q).value for rho, q in inputs["grid"]]
    assert found == close(name)
    assert eta_ar1(0.5, 250).value != close(name, traps(name)["sqrt(q) for rho=0.5,q=250"])


def test_without_autocorrelation_eta_is_the_root() -> None:
    assert eta([], 252).value == pytest.approx(math.sqrt(252))
    assert eta([0.0] * 300, 252).value == pytest.approx(math.sqrt(252))
    assert eta([], 1).value == 1.0
    assert "not positive" in str(eta([-0.9], 3).reason)


def test_both_annual_ratios_stand_side_by_side() -> None:
    r = np.random.default_rng(4).normal(0.05, 1.0, 500)
    found = annual_sharpe_ratio(r, 252)
    assert found.lags == 5
    assert found.root.value == sharpe_ratio(r, periods_per_year=252).value
    rho = autocorrelations(r, 5)
    assert found.lo.value == pytest.approx(sharpe_ratio(r).value * eta(rho, 252).value)
    centred = r - r.mean()
    assert rho[1] == pytest.approx((centred[2:] * centred[:-2]).sum() / (centred**2).sum())


# -- one track record ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["psr.blp2012_normal", "psr.blp2012_hedgefund"])
def test_probabilistic_sharpe_ratios_as_printed(name: str) -> None:
    i, _ = case(name)
    found = probabilistic_sharpe_ratio(
        i["sr"], i["n"], benchmark=i["sr_benchmark"], skew=i["skew"], kurtosis=i["kurtosis"]
    )
    assert found.value == close(name)
    assert all(found.value != close(name, wrong) for wrong in traps(name).values())


def test_the_definition_of_2025_has_a_name_of_its_own() -> None:
    """Printed: .987 and .939 for the fund, and 13.029 months."""
    sharpe = 0.036 / 0.079
    assert probabilistic_sharpe_ratio_2025(0.458, 24, **FUND).value == pytest.approx(
        0.9875751945062244, rel=1e-12
    )
    assert probabilistic_sharpe_ratio_2025(sharpe, 24, **FUND).value == pytest.approx(
        0.987, abs=5e-4
    )
    assert probabilistic_sharpe_ratio_2025(sharpe, 24, benchmark=0.1, **FUND).value == (
        pytest.approx(0.939, abs=5e-4)
    )
    assert minimum_track_record_length_2025(sharpe, **FUND).value == pytest.approx(13.029, abs=5e-4)
    one = deflated_sharpe_ratio_2025(sharpe, 24, variance=0.1, n_trials=1, **FUND)
    assert one.value == pytest.approx(probabilistic_sharpe_ratio_2025(sharpe, 24, **FUND).value)


def test_excess_kurtosis_is_refused() -> None:
    with pytest.raises(InputError, match="not excess"):
        probabilistic_sharpe_ratio(0.1, 100, kurtosis=0.0)
    with pytest.raises(InputError, match=r"at least 1 \+ skew\*\*2 = 10"):
        sharpe_standard_error(0.1, 100, skew=-3.0, kurtosis=9.0)
    with pytest.raises(InputError, match="impossible"):
        minimum_track_record_length_2025(0.1, kurtosis=0.5)


def test_minimum_track_records() -> None:
    inputs, expected = case("mintrl.blp2012")
    found = [
        minimum_track_record_length(
            r["sr"],
            benchmark=r["sr_benchmark"],
            skew=r["skew"],
            kurtosis=r["kurtosis"],
            confidence=r["prob"],
        ).value
        / r["per_year"]
        for r in inputs["rows"]
    ]
    assert found == close("mintrl.blp2012", expected["years"])
    inputs, _ = case("mintrl.series")
    m = moments(inputs["returns"])
    series = minimum_track_record_length(
        m.sharpe,
        benchmark=inputs["sr_benchmark"],
        skew=m.skew,
        kurtosis=m.kurtosis,
        confidence=inputs["prob"],
    )
    assert series.value == close("mintrl.series")


def test_at_its_length_a_track_record_reaches_its_confidence() -> None:
    length = minimum_track_record_length(0.3, benchmark=0.1, confidence=0.9, **FUND).value
    found = probabilistic_sharpe_ratio(0.3, length, benchmark=0.1, **FUND)  # type: ignore[arg-type]
    assert found.value == pytest.approx(0.9, rel=1e-12)
    assert "no length is enough" in str(minimum_track_record_length(0.1, benchmark=0.1).reason)
    with pytest.raises(InputError, match="a confidence lies between"):
        minimum_track_record_length(0.1, confidence=95.0)


# -- the best of many ------------------------------------------------------------------


def test_expected_maxima() -> None:
    inputs, _ = case("emax.formula")
    assert [expected_maximum(n) for n in inputs["N"]] == close("emax.formula")
    inputs, _ = case("emax.exact_order_statistic")
    found = [expected_maximum_exact(n) for n in inputs["N"]]
    assert found == close("emax.exact_order_statistic")
    inputs, _ = case("emax.variance_of_max")
    assert [variance_of_maximum(n) for n in inputs["N"]] == close("emax.variance_of_max")


def test_expected_maxima_scale_and_begin_at_the_mean() -> None:
    assert expected_maximum(1, variance=4.0, mean=0.3) == 0.3
    assert expected_maximum_exact(1) == pytest.approx(0.0, abs=1e-12)
    assert expected_maximum(1.1) >= 0.0
    assert expected_maximum(100, variance=4.0, mean=0.3) == pytest.approx(
        0.3 + 2.0 * expected_maximum(100)
    )
    assert expected_maximum_exact(1e7) == pytest.approx(expected_maximum(1e7), rel=0.002)
    for wrong in (0, math.nan, math.inf):
        with pytest.raises(InputError, match="at least 1 trial"):
            expected_maximum(wrong)
    with pytest.raises(InputError, match="a variance is not negative"):
        expected_maximum(10, variance=-1.0)


@pytest.mark.parametrize(
    "name", ["dsr.blp2014_example", "dsr.blp2014_n46", "dsr.blp2014_normal_n88"]
)
def test_deflated_sharpe_ratios_as_printed(name: str) -> None:
    i, expected = case(name)
    found = deflated_sharpe_ratio(
        i["sr"],
        i["n"],
        variance=i["var_sr"],
        n_trials=i["n_trials"],
        skew=i["skew"],
        kurtosis=i["kurtosis"],
    )
    assert found.value == close(name, expected["dsr"])
    if "sr0" in expected:
        assert found.threshold == close(name, expected["sr0"])
    assert all(found.value != close(name, wrong) for wrong in traps(name).values())


def test_the_best_of_a_matrix_is_deflated_by_all_trials_and_by_effective_ones() -> None:
    rng = np.random.default_rng(5)
    groups = rng.normal(size=(250, 6))
    returns = np.repeat(groups, 5, axis=1) + 0.1 * rng.normal(size=(250, 30))
    returns = np.column_stack([returns, np.zeros(250)])
    found = deflated_sharpe_of_best(returns)
    ratios = returns[:, :30].mean(axis=0) / returns[:, :30].std(axis=0, ddof=1)
    assert found.best == ratios.argmax()
    assert found.n_without == 1
    assert found.raw.n_trials == 31
    assert found.raw.variance == pytest.approx(ratios.var(ddof=1))
    assert 4.0 < found.effective.n_trials < 8.0
    assert found.effective.value > found.raw.value
    more = deflated_sharpe_of_best(returns, n_trials=310)
    assert more.raw.value < found.raw.value
    assert more.effective.n_trials == pytest.approx(10 * found.effective.n_trials)
    with pytest.raises(InputError, match="fewer than the 31 variants"):
        deflated_sharpe_of_best(returns, n_trials=30)


def test_too_little_deflates_nothing() -> None:
    few = deflated_sharpe_of_best(np.random.default_rng(0).normal(size=(9, 5)))
    assert math.isnan(few.raw.value)
    assert "9 sessions" in str(few.raw.reason)
    one = deflated_sharpe_of_best(np.random.default_rng(0).normal(size=(50, 1)))
    assert "1 variant with a Sharpe ratio" in str(one.effective.reason)
    assert one.best == -1


# -- effective trials ------------------------------------------------------------------


def test_groups_of_like_variants_count_once() -> None:
    groups = np.random.default_rng(6).normal(size=(2_000, 8))
    assert effective_trials(np.repeat(groups, 25, axis=1)).value == pytest.approx(8.0, rel=0.02)
    assert effective_trials(np.repeat(groups[:, :1], 25, axis=1)).value == pytest.approx(1.0)


def test_independent_variants_count_fully_on_few_sessions_too() -> None:
    returns = np.random.default_rng(7).normal(size=(100, 1_000))
    assert effective_trials(returns).value == pytest.approx(1_000, rel=0.1)
    average = effective_trials(returns, method="average_correlation")
    assert average.value == pytest.approx(1_000, rel=0.01)


def test_effective_trials_are_the_participation_of_eigenvalues() -> None:
    rng = np.random.default_rng(8)
    for n, variants in ((40, 12), (30, 90)):
        returns = rng.normal(size=(n, variants)) + 2.0 * rng.normal(size=(n, 1))
        rho = np.corrcoef(returns.T)
        squared = (np.linalg.eigvalsh(rho) ** 2).sum() - variants
        squared -= (variants * (variants - 1) - squared) / (n - 2)
        assert effective_trials(returns).value == pytest.approx(variants**2 / (variants + squared))
        average = (rho.sum() - variants) / (variants * (variants - 1))
        assert effective_trials(returns, method="average_correlation").value == pytest.approx(
            average + (1.0 - average) * variants
        )


def test_what_all_have_in_common_does_not_count_without_their_mean() -> None:
    """The deflated ratio's variance across trials has lost the common part as well."""
    rng = np.random.default_rng(9)
    returns = np.repeat(rng.normal(size=(250, 10)), 10, axis=1) + 0.3 * rng.normal(size=(250, 100))
    market = 3.0 * rng.normal(size=(250, 1))
    assert effective_trials(returns + market).value < 2.0
    for part in (returns, returns + market):
        assert 8.0 < effective_trials(part, without_mean=True).value < 12.0
        assert 8.0 < deflated_sharpe_of_best(part).effective.n_trials < 12.0
    twins = np.repeat(market, 5, axis=1)
    assert effective_trials(twins, without_mean=True).value == 1.0


@pytest.mark.slow
def test_the_best_of_noise_rarely_deflates_to_above_95_percent() -> None:
    """1,000 samples of 250 sessions and 100 variants without an edge.

    Found above .95, with all trials, with effective ones, and by the definition of 2025:

    ====================== === ========= ====
    variants               all effective 2025
    ====================== === ========= ====
    independent            .000 .000     .049
    with a common factor   .008 .009     .152
    in 10 groups           .000 .005     .005
    ====================== === ========= ====

    The ratio of 2014 takes the error of one ratio, not of the highest of many: it is strict.
    That of 2025 is right for independent trials and lenient under a common factor. The
    effective number of the returns as they are, with the factor, would give .187.
    """
    rng = np.random.default_rng(3)
    for common, groups in ((0.0, 0), (1.0, 0), (0.0, 10)):
        above = np.zeros(3)
        for _ in range(1_000):
            returns = rng.normal(size=(250, 100)) + common * rng.normal(size=(250, 1))
            if groups:
                returns = 0.3 * returns + np.repeat(rng.normal(size=(250, groups)), 10, axis=1)
            found = deflated_sharpe_of_best(returns)
            m = found.moments
            assert m is not None
            later = deflated_sharpe_ratio_2025(
                m.sharpe,
                250,
                variance=found.raw.variance,
                n_trials=100,
                skew=m.skew,
                kurtosis=m.kurtosis,
            )
            above += np.array([found.raw.value, found.effective.value, later.value]) > 0.95
        assert above[0] <= 20, (common, groups, above)
        assert above[1] <= 25, (common, groups, above)
        assert above[2] <= (200 if common else 70), (common, groups, above)


def test_what_has_no_variance_is_no_trial() -> None:
    assert "at least 2" in str(effective_trials(np.zeros((50, 5))).reason)
    assert "3 sessions" in str(effective_trials(np.ones((3, 5))).reason)
    with pytest.raises(InputError, match="no method"):
        effective_trials(np.ones((30, 5)), method="clusters")  # type: ignore[arg-type]
    returns = np.ones((30, 5))
    returns[2, 1] = math.nan
    with pytest.raises(InputError, match="session 2 of variant 1"):
        effective_trials(returns)


# -- many p-values ---------------------------------------------------------------------

ADJUSTED = {
    "bonferroni": bonferroni,
    "holm": holm,
    "bh": benjamini_hochberg,
    "bhy": benjamini_yekutieli,
}


@pytest.mark.parametrize("name", ADJUSTED)
def test_adjusted_p_values_of_harvey_and_liu(name: str) -> None:
    inputs, expected = case("multitest.harvey_liu")
    assert list(ADJUSTED[name](inputs["p"])) == close("multitest.harvey_liu", expected[name])
    shuffled = np.random.default_rng(0).permutation(6)
    found = ADJUSTED[name](np.array(inputs["p"])[shuffled])
    assert list(found) == close("multitest.harvey_liu", [expected[name][k] for k in shuffled])


@given(st.lists(st.floats(0.0, 1.0), max_size=20))
def test_adjusted_p_values_are_ordered(p: list[float]) -> None:
    raw = np.array(p)
    assert (raw <= benjamini_hochberg(p) * (1.0 + 1e-12)).all()
    assert (benjamini_hochberg(p) <= benjamini_yekutieli(p) * (1.0 + 1e-12)).all()
    assert (benjamini_hochberg(p) <= holm(p) * (1.0 + 1e-12)).all()
    assert (holm(p) <= bonferroni(p)).all()
    assert (bonferroni(p) <= 1.0).all()


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"found 1.5 at place 1"):
        holm([0.1, 1.5])


def test_ratios_of_columns_are_those_of_each() -> None:
    returns = np.random.default_rng(4).standard_normal((60, 5))
    returns[:, 3] = 0.25
    found = sharpe_ratios(returns)
    assert np.isnan(found).tolist() == [False, False, False, True, False]
    expected = [sharpe_ratio(column).value for column in returns.T]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
