"""Combinatorially symmetric cross-validation: reference cases, a plain version, noise."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from overfit_cases import case, close, traps

from sweep.errors import InputError
from sweep.stats.overfit import CrossValidation, cscv

Floats = NDArray[np.float64]
METRICS: dict[str, Literal["sharpe", "mean"]] = {"sharpe_ddof1": "sharpe", "mean": "mean"}


def returns_of(name: str) -> Floats:
    inputs, _ = case(name)
    if "M" in inputs:
        return np.array(inputs["M"])
    returns = returns_of("pbo.noise_plus_edge_10")
    if name == "pbo.odd_N_convention":
        return returns[:, :9]
    if name == "pbo.recentred_is_one":
        return returns - returns.mean(axis=0)
    returns[:, 5] = returns.max(axis=1) + 0.0001
    return returns


def found_of(name: str) -> CrossValidation:
    inputs, _ = case(name)
    return cscv(returns_of(name), n_blocks=inputs["S"], metric=METRICS[inputs["metric"]])


@pytest.mark.parametrize("name", ["pbo.hand_4blocks", "pbo.noise_plus_edge_10"])
def test_every_split_of_the_reference_cases(name: str) -> None:
    found, (inputs, expected) = found_of(name), case(name)
    assert found.n_splits == expected["n_comb"]
    assert found.pbo == close(name, expected["pbo"])
    assert found.probability_of_loss == close(name, expected["prob_oos_loss"])
    assert found.slope == close(name, expected["slope"])
    assert found.intercept == close(name, expected["intercept"])
    assert list(found.logits) == close(name, expected["logits"])
    if "selected" in expected:
        assert found.selected.tolist() == expected["selected"]
        assert list(found.rank) == close(name, expected["oos_rank"])
    blocks = inputs["S"]
    assert [list(c) for c in itertools.combinations(range(blocks), blocks // 2)] == (
        expected["combos"]
    )


def test_an_odd_number_of_variants_counts_the_median_as_overfit() -> None:
    name = "pbo.odd_N_convention"
    found, (_, expected) = found_of(name), case(name)
    assert found.pbo == close(name, expected["pbo"])
    assert found.slope == close(name, expected["slope"])
    assert found.intercept == close(name, expected["intercept"])
    assert all(found.pbo != close(name, wrong) for wrong in traps(name).values())


def test_what_sums_to_nothing_is_overfit_in_every_split() -> None:
    name = "pbo.recentred_is_one"
    found, (_, expected) = found_of(name), case(name)
    assert found.pbo == close(name, expected["pbo"])
    assert list(found.rank) == close(name, [expected["oos_rank_all"]] * found.n_splits)
    assert found.slope == close(name, expected["slope"])


def test_a_dominant_variant_is_overfit_in_none() -> None:
    name = "pbo.dominant_is_zero"
    found, (_, expected) = found_of(name), case(name)
    assert found.pbo == expected["pbo"]
    assert list(found.logits) == close(name, [expected["logits_all"]] * found.n_splits)


# -- a plain version -------------------------------------------------------------------


def plain(returns: Floats, n_blocks: int, metric: str) -> dict[str, list[Any]]:
    n = len(returns)
    bounds = [k * (n // n_blocks) for k in range(n_blocks)] + [n]
    blocks = [np.arange(a, b) for a, b in itertools.pairwise(bounds)]
    out: dict[str, list[Any]] = {"selected": [], "rank": [], "inside": [], "outside": []}

    def perform(rows: NDArray[np.int64]) -> Floats:
        part = returns[rows]
        sd = part.std(axis=0, ddof=1)
        mean = part.mean(axis=0)
        if metric == "mean":
            return np.asarray(mean)
        return np.where(sd > 0.0, mean / np.where(sd > 0.0, sd, 1.0), 0.0)

    for chosen in itertools.combinations(range(n_blocks), n_blocks // 2):
        rest = [k for k in range(n_blocks) if k not in chosen]
        inside = perform(np.concatenate([blocks[k] for k in chosen]))
        outside = perform(np.concatenate([blocks[k] for k in rest]))
        best = int(inside.argmax())
        below, equal = (outside < outside[best]).sum(), (outside == outside[best]).sum()
        for name, value in (
            ("selected", best),
            ("rank", below + 0.5 * (equal + 1)),
            ("inside", inside[best]),
            ("outside", outside[best]),
        ):
            out[name].append(value)
    return out


@pytest.mark.parametrize("metric", ["sharpe", "mean"])
@pytest.mark.parametrize(("sessions", "variants", "blocks"), [(47, 70, 6), (80, 33, 10), (9, 2, 2)])
def test_it_is_its_plain_version(
    metric: Literal["sharpe", "mean"], sessions: int, variants: int, blocks: int
) -> None:
    returns = np.random.default_rng(sessions).normal(0.1, 1.0, size=(sessions, variants))
    wanted, found = plain(returns, blocks, metric), cscv(returns, n_blocks=blocks, metric=metric)
    assert found.selected.tolist() == wanted["selected"]
    assert found.rank.tolist() == wanted["rank"]
    assert found.in_sample == pytest.approx(np.array(wanted["inside"]))
    assert found.out_of_sample == pytest.approx(np.array(wanted["outside"]))
    slope, intercept = np.polyfit(wanted["inside"], wanted["outside"], 1)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))
    assert found.probability_of_loss == np.mean(np.array(wanted["outside"]) < 0.0)


def test_a_split_does_not_depend_on_variants_that_lose() -> None:
    returns = np.random.default_rng(1).normal(size=(60, 40))
    poor = np.random.default_rng(2).normal(size=(60, 75)) - 9.0
    alone = cscv(returns, n_blocks=6)
    beside = cscv(np.column_stack([returns, poor]), n_blocks=6)
    assert (alone.selected == beside.selected).all()
    assert (alone.in_sample == beside.in_sample).all()
    assert (alone.out_of_sample == beside.out_of_sample).all()
    assert (alone.rank + 75 == beside.rank).all()


# -- what must hold --------------------------------------------------------------------


def test_equal_variants_count_once() -> None:
    returns = np.random.default_rng(3).normal(size=(64, 12))
    once, twice = (cscv(r, n_blocks=8) for r in (returns, np.repeat(returns, 3, axis=1)))
    assert (twice.n_variants, twice.n_distinct) == (36, 12)
    assert (once.logits == twice.logits).all()
    assert (twice.selected == 3 * once.selected).all()


def test_who_does_not_trade_in_a_half_performs_at_zero_there() -> None:
    """One that trades only at first, one that never does, against two that lose."""
    returns = np.random.default_rng(4).normal(size=(40, 4)) - 0.5
    returns[:, 0] = 0.0
    returns[:20, 1] += 1.5
    returns[20:, 1] = 0.0
    wanted, found = plain(returns, 4, "sharpe"), cscv(returns, n_blocks=4)
    assert found.rank.tolist() == wanted["rank"]
    assert found.selected.tolist() == wanted["selected"]
    assert 0.0 in found.out_of_sample


def test_an_edge_generalises_and_noise_does_not() -> None:
    """Of noise, the mean of 40 with an s.d. of some 0.2: bounds are 4 standard errors."""
    rng = np.random.default_rng(5)
    noise = [cscv(rng.normal(size=(120, 30)), n_blocks=8).pbo for _ in range(40)]
    assert np.mean(noise) == pytest.approx(0.5, abs=4 * 0.2 / math.sqrt(40))
    edge = rng.normal(size=(120, 30))
    edge[:, 7] += 1.0
    assert cscv(edge, n_blocks=8).pbo == 0.0


def test_too_little_is_nothing_with_a_reason() -> None:
    few = cscv(np.random.default_rng(0).normal(size=(31, 5)))
    assert math.isnan(few.pbo)
    assert "31 sessions are too few for 16 blocks" in str(few.reason)
    assert few.n_splits == 0
    one = cscv(np.repeat(np.random.default_rng(0).normal(size=(64, 1)), 5, axis=1))
    assert "1 distinct variant;" in str(one.reason)


@pytest.mark.parametrize("blocks", [0, 3, 22])
def test_wrong_settings_are_refused(blocks: int) -> None:
    returns = np.random.default_rng(0).normal(size=(64, 5))
    with pytest.raises(InputError, match="n_blocks must be even"):
        cscv(returns, n_blocks=blocks)
    with pytest.raises(InputError, match="no metric"):
        cscv(returns, metric="sortino")  # type: ignore[arg-type]
