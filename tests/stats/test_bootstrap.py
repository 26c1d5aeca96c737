"""Block bootstrap: twins in plain Python, exact laws, and block lengths that others agree on."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import InputError
from sweep.stats.bootstrap import (
    block_positions,
    circular,
    moving,
    optimal_block_length,
    path_stream,
    stationary,
    stationary_positions,
)

CASES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "bootstrap_cases.json").read_text(encoding="utf-8")
)


# -- the same rules, slow and plain ----------------------------------------------------


def slow_stationary(n: int, block_length: float, draws: np.random.Generator) -> list[int]:
    starts, restart = draws.integers(0, n, n).tolist(), draws.random(n).tolist()
    out = [starts[0]]
    for t in range(1, n):
        new = restart[t] <= 1.0 / block_length
        out.append(starts[t] if new else (out[-1] + 1) % n)
    return out


def slow_blocks(n: int, length: int, draws: np.random.Generator, wraps: bool) -> list[int]:
    last = n if wraps else n - length + 1
    starts = draws.integers(0, last, math.ceil(n / length)).tolist()
    return [(start + i) % n for start in starts for i in range(length)][:n]


sizes = st.integers(2, 60).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(1, n), st.integers(0, 2**32))
)


@given(sizes)
def test_compiled_positions_are_those_of_plain_python(size: tuple[int, int, int]) -> None:
    n, length, seed = size
    for fraction in (0.0, 0.37):
        mean = min(length + fraction, float(n))
        path = stationary(n, mean, np.random.default_rng(seed))
        assert path.tolist() == slow_stationary(n, mean, np.random.default_rng(seed))
        assert path.dtype == np.int64
    path = circular(n, length, np.random.default_rng(seed))
    assert path.tolist() == slow_blocks(n, length, np.random.default_rng(seed), True)
    path = moving(n, length, np.random.default_rng(seed))
    assert path.tolist() == slow_blocks(n, length, np.random.default_rng(seed), False)
    jumps = np.flatnonzero(np.diff(path) != 1) + 1
    assert np.all(jumps % length == 0)


def test_the_core_is_its_own_text_run_as_python() -> None:
    draws = np.random.default_rng(3)
    starts, restart = draws.integers(0, 40, 40), draws.random(40)
    compiled, plain = np.empty(40, np.int64), np.empty(40, np.int64)
    stationary_positions(starts, restart, 0.2, compiled)
    stationary_positions.py_func(starts, restart, 0.2, plain)
    assert compiled.tobytes() == plain.tobytes()
    block_positions(starts, 7, 40, compiled)
    block_positions.py_func(starts, 7, 40, plain)
    assert compiled.tobytes() == plain.tobytes()


def test_known_draws_give_the_known_path() -> None:
    case = CASES["stationary_bootstrap.index_map"]
    inputs = case["inputs"]
    out = np.empty(inputs["n"], np.int64)
    stationary_positions(np.array(inputs["starts"]), np.array(inputs["u"]), inputs["p"], out)
    assert out.tolist() == case["expected"]


# -- identities ------------------------------------------------------------------------


def test_blocks_of_one_are_independent_draws() -> None:
    n = 50
    starts = np.random.default_rng(8).integers(0, n, n)
    for draw in (stationary, circular, moving):
        assert draw(n, 1, np.random.default_rng(8)).tolist() == starts.tolist()


def test_circular_blocks_as_long_as_the_data_rotate_it_and_moving_ones_keep_it() -> None:
    for seed in range(10):
        path = circular(17, 17, np.random.default_rng(seed))
        assert path.tolist() == [(path[0] + i) % 17 for i in range(17)]
        assert moving(17, 17, np.random.default_rng(seed)).tolist() == list(range(17))


@pytest.mark.parametrize("draw", [stationary, circular, moving])
def test_the_first_paths_of_twice_as_many_are_the_same(draw: Any) -> None:
    def paths(which: list[int]) -> dict[int, bytes]:
        return {i: draw(30, 4, path_stream(11, "test", "x", i)).tobytes() for i in which}

    few, many = paths(list(range(5))), paths(list(range(10)))
    assert all(few[i] == many[i] for i in few)
    shuffled = paths([7, 2, 9, 0, 4, 1, 3, 8, 6, 5])
    assert shuffled == many
    assert len(set(many.values())) == 10


def test_streams_differ_in_every_part_of_their_address() -> None:
    base: dict[str, Any] = {"seed": 1, "purpose": "ticks", "method": "circular", "path": 0}
    others = [{"seed": 2}, {"purpose": "trades"}, {"method": "moving"}, {"path": 1}]
    states = {path_stream(**{**base, **other}).random() for other in [{}, *others]}
    assert len(states) == 5
    assert path_stream(1, 5, 6, 7).random() == path_stream(1, 5, 6, 7).random()


def test_children_of_a_seed_are_addressed_without_spawning() -> None:
    case = CASES["rng.seedsequence_children"]
    entropy = case["inputs"]["entropy"]
    spawned = np.random.SeedSequence(entropy).spawn(4)
    for key, child in zip(case["inputs"]["spawn_keys"], spawned, strict=True):
        wanted = case["expected"][f"({key[0]},)"]
        addressed = np.random.SeedSequence(entropy, spawn_key=tuple(key))
        assert addressed.generate_state(2, np.uint64).tolist() == wanted
        assert child.generate_state(2, np.uint64).tolist() == wanted
    direct = np.random.PCG64(np.random.SeedSequence(entropy, spawn_key=(1, 2, 3)))
    assert path_stream(entropy, 1, 2, 3).bytes(16) == np.random.Generator(direct).bytes(16)


def test_philox_answers_as_published() -> None:
    expected = CASES["rng.philox_kat"]["expected"]
    for counter, words in (
        (2**256 - 1, expected["known_answer"]["ctr=0,key=0"]),
        (2**256 - 1, expected["numpy_counter_all_ones_first4"]),
        (0, expected["numpy_counter_0_first4"]),
    ):
        found = np.random.Philox(counter=counter, key=0).random_raw(4)
        assert [f"{word:016x}" for word in found.tolist()] == words


# -- laws ------------------------------------------------------------------------------


def enumerated(n: int, p: Fraction) -> list[tuple[Fraction, list[int], int]]:
    """Every path of the stationary bootstrap with its probability and number of blocks.

    The draws are the core's own: a restart is a draw of 0, none is a draw of 1.
    """
    found = []
    for restarts in itertools.product((True, False), repeat=n - 1):
        blocks = [0, *(t + 1 for t, new in enumerate(restarts) if new)]
        chance = p ** (len(blocks) - 1) * (1 - p) ** (n - len(blocks)) / n ** len(blocks)
        for first in itertools.product(range(n), repeat=len(blocks)):
            starts = np.zeros(n, np.int64)
            starts[blocks] = first
            out = np.empty(n, np.int64)
            draws = np.array([0.5, *(0.0 if new else 1.0 for new in restarts)])
            stationary_positions(starts, draws, float(p), out)
            found.append((chance, out.tolist(), len(blocks)))
    return found


def test_the_stationary_law_of_four_values_is_exact() -> None:
    case = CASES["stationary_bootstrap.exact_n4"]
    x, expected = case["inputs"]["x"], case["expected"]
    paths = enumerated(4, Fraction(1, 3))
    means = [(chance, Fraction(sum(x[i] for i in path), 4)) for chance, path, _ in paths]
    mean = sum(chance * value for chance, value in means)
    variance = sum(chance * value**2 for chance, value in means) - mean**2
    assert mean == expected["mean_of_bootstrap_mean"]
    assert variance == Fraction(expected["var_fraction"])
    blocks: Counter[int] = Counter()
    marginal: Counter[int] = Counter()
    for chance, path, count in paths:
        blocks[count] += chance  # type: ignore[assignment]
        marginal[path[2]] += chance  # type: ignore[assignment]
    assert {str(k): pytest.approx(float(v)) for k, v in blocks.items()} == expected["P_n_blocks"]
    assert set(marginal.values()) == {Fraction(1, 4)}


@pytest.mark.parametrize("name", ["var_mean_L1", "var_mean_L5"])
def test_the_variance_of_the_stationary_mean_is_the_closed_form(name: str) -> None:
    """4 standard errors: sqrt(2 / (B - 1)) of the variance."""
    case = CASES[f"stationary_bootstrap.{name}"]
    x = np.array(case["inputs"]["x"])
    n_paths, length = 4000, case["inputs"]["mean_block"]
    means = np.array(
        [
            x[stationary(x.size, length, path_stream(1, "test", name, path))].mean()
            for path in range(n_paths)
        ]
    )
    wanted = case["expected"]["var"]
    assert abs(means.var(ddof=1) / wanted - 1.0) < 4.0 * math.sqrt(2.0 / (n_paths - 1))
    assert abs(means.mean() - case["expected"]["mean"]) < 4.0 * math.sqrt(wanted / n_paths)


def test_the_circular_law_of_ten_values_is_exact() -> None:
    """Every one of the 10**4 tuples of starts, through the core."""
    case = CASES["circular_bootstrap.exact_n10_b3"]
    x, length = np.array(case["inputs"]["x"]), case["inputs"]["block"]
    out = np.empty(10, np.int64)
    means = []
    for starts in itertools.product(range(10), repeat=4):
        block_positions(np.array(starts), length, 10, out)
        means.append(x[out].sum() / 10)
    assert np.mean(means) == pytest.approx(case["expected"]["mean"], rel=1e-10)
    assert np.var(means) == pytest.approx(case["expected"]["var_of_mean"], rel=1e-10)


def test_moving_blocks_bias_the_mean_as_is_known() -> None:
    """Ends come up less often: 0.5625 for these values, where their mean is 0.55."""
    x = np.array(CASES["circular_bootstrap.exact_n10_b3"]["inputs"]["x"])
    out = np.empty(9, np.int64)
    means = []
    for starts in itertools.product(range(8), repeat=3):
        block_positions(np.array(starts), 3, 10, out)
        means.append(x[out].mean())
    assert np.mean(means) == pytest.approx(0.5625, rel=1e-10)


# -- block length ----------------------------------------------------------------------


def test_block_lengths_agree_with_other_packages() -> None:
    case = CASES["optimal_block.ar1_06_n300"]
    found = optimal_block_length(np.array(case["inputs"]["x"]))
    assert found.stationary == pytest.approx(case["expected"]["stationary"], rel=1e-9)
    assert found.circular == pytest.approx(case["expected"]["circular"], rel=1e-9)
    assert (found.lag, found.lags, found.settled, found.capped) == (3, 6, True, False)
    assert found.note is None

    case = CASES["optimal_block.arch_ar1_03"]
    y = np.random.RandomState(0).standard_normal(10_100)
    for i in range(1, y.size):
        y[i] = 0.3 * y[i - 1] + y[i]
    y = y[100:]
    assert y[:3].tolist() == pytest.approx(case["inputs"]["sha256_first3"], rel=1e-12)
    found = optimal_block_length(y)
    assert found.stationary == pytest.approx(13.63566513031823, rel=1e-10)
    assert found.circular == pytest.approx(15.608940081363112, rel=1e-10)


def slow_block_length(x: list[float]) -> tuple[float, float]:
    """Politis & White by the text of the formulas, with exactly rounded sums."""
    n = len(x)
    mean = math.fsum(x) / n
    d = [v - mean for v in x]

    def covariance(k: int) -> float:
        return math.fsum(d[t] * d[t + k] for t in range(n - k)) / n if k < n else 0.0

    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    reach = math.ceil(math.sqrt(n)) + run
    rho = [covariance(k) / covariance(0) for k in range(reach + 1)]
    weak = [abs(r) < 2.0 * math.sqrt(math.log10(n) / n) for r in rho]
    lag = next((m for m in range(1, reach - run + 2) if all(weak[m : m + run])), None)
    if lag is None:
        lag = max(k for k in range(1, reach + 1) if not weak[k])
    lags = min(2 * lag, reach)
    big, small = 0.0, covariance(0)
    for k in range(1, lags + 1):
        weight = 1.0 if k / lags <= 0.5 else 2.0 * (1.0 - k / lags)
        big += 2.0 * weight * k * covariance(k)
        small += 2.0 * weight * covariance(k)
    cap = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    ends = []
    for factor in (2.0, 4.0 / 3.0):
        length = (2.0 * big**2 / (factor * small**2) * n) ** (1.0 / 3.0)
        ends.append(min(max(length, 1.0), float(cap)))
    return ends[0], ends[1]


@given(
    n=st.integers(4, 150),
    phi=st.floats(-0.9, 0.99),
    seed=st.integers(0, 2**32),
    shift=st.floats(-3, 3),
)
@settings(max_examples=40)
def test_block_length_is_the_papers_formula(n: int, phi: float, seed: int, shift: float) -> None:
    e = np.random.default_rng(seed).standard_normal(n)
    for i in range(1, n):
        e[i] += phi * e[i - 1]
    found = optimal_block_length(e + shift)
    stationary_length, circular_length = slow_block_length((e + shift).tolist())
    assert found.stationary == pytest.approx(stationary_length, rel=1e-6)
    assert found.circular == pytest.approx(circular_length, rel=1e-6)
    assert 1.0 <= found.stationary <= found.circular <= found.cap


def test_a_length_that_was_cut_or_is_too_short_says_so() -> None:
    """An alternating series has no long-run variance to speak of, a trend no end of it."""
    found = optimal_block_length(np.tile([1.0, -1.0], 100))
    assert found.capped
    assert found.stationary == found.circular == found.cap == 43
    assert "200 values are few" in str(found.note)
    found = optimal_block_length(np.arange(200.0))
    assert not found.settled
    assert "not died out by lag 20" in str(found.note)


def test_a_constant_series_has_length_one_and_says_why() -> None:
    for x in (np.zeros(50), np.full(50, 0.1)):
        found = optimal_block_length(x)
        assert found.stationary == found.circular == 1.0
        assert "constant" in str(found.note)


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [stationary, circular, moving])
def test_impossible_blocks_are_refused(draw: Any) -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match="at least 2 values to draw from, found 1"):
        draw(1, 1, rng)
    with pytest.raises(InputError, match=r"at least 1 value, found a length of 0\.5"):
        draw(10, 0.5, rng)
    with pytest.raises(InputError, match="found a length of nan"):
        draw(10, math.nan, rng)
    with pytest.raises(InputError, match="blocks of 11 values are longer than the data, which"):
        draw(10, 11, rng)


def test_fixed_lengths_are_whole() -> None:
    for draw in (circular, moving):
        with pytest.raises(InputError, match=r"whole number, found 3\.7; use 4"):
            draw(10, 3.7, np.random.default_rng(1))


def test_streams_and_lengths_refuse_bad_input() -> None:
    with pytest.raises(InputError, match="must not be negative, found -1"):
        path_stream(-1, "a", "b", 0)
    with pytest.raises(InputError, match="the path of a random stream"):
        path_stream(1, "a", "b", 2**32)
    with pytest.raises(InputError, match="at least 2 values, found 1"):
        optimal_block_length(np.ones(1))
    with pytest.raises(InputError, match="found nan at place 2"):
        optimal_block_length(np.array([1.0, 2.0, math.nan]))
    with pytest.raises(InputError, match="shape \\(3, 2\\)"):
        optimal_block_length(np.ones((3, 2)))
