"""Features are worked out once for each set of arguments, in blocks, with the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sweep.backtest import feature_blocks
from sweep.backtest.tasks import Context, Task, replay
from sweep.kernel import build
from sweep.schema import Account, Costs, Slice, Ticks
from sweep.strategy.parameters import Integer
from tests.generators import SECOND
from tests.kernel.test_lanes import SHIPPED, context_of, cuts, held, kernel_of, market, points, run

COSTS = Costs(2.0**-12, 0.0, 0.125, 1 / 64, 0.0, 50_000_000, "mid")
ACCOUNT = Account(1e4, 1.0, 600 * SECOND, 252.0)

TEXT = """
from typing import NamedTuple

import numpy as np

from sweep.features import lag, rolling_max, rolling_mean
from sweep.strategy import Space, integer, real


class Params(Space):
    n: int = integer(1, 40, default=8)
    m: int = integer(1, 40, default=8)
    band: float = real(0.0, 0.5, default=0.1)


class State(NamedTuple):
    target: float


class Features(NamedTuple):
    mean: np.ndarray
    high: np.ndarray


def features(ticks, params):
    return Features(rolling_mean(ticks.mid, params.n), rolling_max(lag(ticks.mid, 1), params.n))


def lookback(params):
    return params.n


def warmup(params):
    return params.n + params.m


def start(tick, params):
    return State(0.0)


def step(state, tick, params, features):
    target = state.target
    if tick.mid > features.mean + params.band:
        target = 1.0
    elif tick.mid < features.mean - params.band * params.m:
        target = -1.0
    elif tick.mid > features.high:
        target = 0.0
    return State(target), target
"""


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    feature_blocks._FOUND.clear()
    yield
    feature_blocks._FOUND.clear()


class Counted:
    """A kernel's features(), or others in their place, with a record of its calls."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, []

    def __call__(self, ticks: Ticks, params: Any) -> Any:
        self.calls.append((len(ticks.ts), params.n))
        return self.function(ticks, params)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What compiled code does not see is exchanged in one kernel, instead of compiled with it."""

    def watch(features: Any = None, *, blocks: bool = True) -> tuple[Any, Any, Counted]:
        kernel, space = kernel_of(TEXT)
        calls = Counted(features or kernel.module.features)
        monkeypatch.setattr(kernel.module, "features", calls)
        assert build._LOADED[kernel.ref.path] is kernel
        if not blocks:
            whole = replace(kernel, lookback=lambda params: None)
            monkeypatch.setitem(build._LOADED, kernel.ref.path, whole)
        return kernel, space, calls

    return watch


def grid(space: Any, n_values: tuple[int, ...], others: int) -> np.ndarray:
    rows = [
        space.encode({"n": n, "m": 1 + k % 7, "band": 0.02 * k})
        for k in range(others)
        for n in n_values
    ]
    return np.random.default_rng(3).permutation(np.array(rows))


@pytest.mark.parametrize("carry_over", [True, False])
def test_features_are_worked_out_once_for_each_set_of_arguments(counted, carry_over) -> None:
    kernel, space, found = counted(blocks=False)
    ticks = market(np.random.default_rng(1), 800)
    context = context_of(kernel, ticks, COSTS, ACCOUNT)
    rows = grid(space, (3, 5, 8, 13, 21), 20)
    slices = (Slice(0, 500, 0), Slice(500, 800, 0))
    run(context, Task(0, rows, slices, True), 2)
    assert sorted(n for _, n in found.calls) == [3, 5, 8, 13, 21]
    if not carry_over:
        # Slices that start afresh begin where the warm-up does, which depends on `m`.
        found.calls.clear()
        run(context, Task(0, rows, slices, False), 2)
        assert len(found.calls) == len(set(found.calls))


def test_parameters_that_are_read_as_a_whole_set_variants_apart_and_change_nothing(
    counted, monkeypatch
) -> None:
    ticks = market(np.random.default_rng(1), 300)
    slices = (Slice(0, 300, 0),)
    kernel, space = kernel_of(TEXT)
    features = kernel.module.features

    def read_as_a_whole(ticks: Ticks, params: Any) -> Any:
        return features(ticks, params._replace(m=1))

    _, _, found = counted(read_as_a_whole)
    rows = grid(space, (3, 5), 6)
    context = context_of(kernel, ticks, COSTS, ACCOUNT)
    whole = run(context, Task(0, rows, slices), 2)
    assert len(found.calls) == len(rows)
    monkeypatch.undo()
    feature_blocks._FOUND.clear()
    expected = run(context, Task(0, rows, slices), 2)
    assert whole.rows.tobytes() == expected.rows.tobytes()
    assert not whole.failures


def test_arrays_that_are_kept_are_bounded(counted, monkeypatch) -> None:
    kernel, space, _ = counted(blocks=False)
    ticks = market(np.random.default_rng(1), 500)
    monkeypatch.setattr(feature_blocks, "_KEPT", 3 * 2 * 8 * 500)
    context = context_of(kernel, ticks, COSTS, ACCOUNT)
    run(context, Task(0, grid(space, tuple(range(1, 30)), 2), (Slice(0, 500, 0),)), 2)
    kept = sum(feature_blocks._size(found) for found in feature_blocks._FOUND.values())
    assert 0 < kept <= 3 * 2 * 8 * 500


def test_blocks_bound_the_ticks_that_features_see(counted, monkeypatch) -> None:
    monkeypatch.setattr(feature_blocks, "BLOCK", 64)
    kernel, space, found = counted()
    ticks = market(np.random.default_rng(2), 1_000)
    context = context_of(kernel, ticks, COSTS, ACCOUNT)
    rows = grid(space, (3, 40), 4)
    run(context, Task(0, rows, (Slice(0, 1_000, 0),)), 2)
    assert max(n_ticks - n for n_ticks, n in found.calls) <= 64
    assert len(found.calls) == 2 * 16


def outcomes(
    context: Context, rows: np.ndarray, draw: np.random.Generator, ticks: Ticks
) -> list[bytes]:
    """Rows of some ways to evaluate the same variants; each way has the same slices."""
    n = len(ticks.ts)
    parts = tuple(cuts(draw, n))
    alone = tuple(s._replace(warmup=int(draw.integers(0, s.begin + 1))) for s in parts)
    found = [
        run(context, Task(0, rows, (Slice(0, n, 0),)), 2).rows[:, -1].tobytes(),
        run(context, Task(0, rows, parts), 2).rows.tobytes(),
        run(context, Task(0, rows, alone, False), 2).rows.tobytes(),
    ]
    # Slice by slice, on ticks that begin somewhere before it, with a carry between them.
    carry, last = None, None
    for k, s in enumerate(parts):
        base = 0 if carry is None else max(0, s.begin - int(draw.integers(40, 200)))
        other = held(Ticks(*(column[base : s.end] for column in ticks)))
        piece = Slice(s.begin - base, s.end - base, 0)
        task = Task(0, rows, (piece,), close_out=k == len(parts) - 1, carry=carry, keep=True)
        last = run(context, replace(task, ticks=other, base=base), 2)
        carry = last.carry
    assert last.rows[:, -1].tobytes() == found[0]
    return found


@pytest.mark.parametrize("path", [p for p in SHIPPED if "lookback" in p.read_text("utf-8")])
def test_blocks_change_no_bit_of_a_shipped_strategy(path, monkeypatch) -> None:
    source = path.read_text(encoding="utf-8")
    kernel, space = kernel_of(source)
    for seed in range(4):
        draw = np.random.default_rng(seed)
        ticks = market(draw, (150, 700, 1_500)[seed % 3])
        context = context_of(kernel, ticks, COSTS, ACCOUNT)
        rows = points(space, draw, 6)
        for p, parameter in enumerate(space.parameters):
            if isinstance(parameter, Integer) and parameter.high > 1_000:
                # What ticks before a slice can hold, where they begin 40 ticks before it.
                rows[:, p] = np.minimum(rows[:, p], 19)
        found = []
        for block in (1 << 19, (64, 37)[seed % 2]):
            feature_blocks._FOUND.clear()
            monkeypatch.setattr(feature_blocks, "BLOCK", block)
            found.append(outcomes(context, rows, np.random.default_rng(seed), ticks))
        assert found[0] == found[1]


def test_reads_that_depend_on_the_ticks_tell_variants_apart(counted, monkeypatch) -> None:
    ticks = market(np.random.default_rng(6), 800)
    level = float(np.quantile(ticks.mid[:64], 1.0))
    assert (ticks.mid > level).any()
    features = kernel_of(TEXT)[0].module.features

    def by_price(ticks: Ticks, params: Any) -> Any:
        """Read `m` where the market has gone above a price, and there alone."""
        shift = np.zeros(len(ticks.mid))
        if (ticks.mid > level).any():
            shift[ticks.mid > level] = params.m
        found = features(ticks, params)
        return found._replace(mean=shift + found.mean)

    kernel, space, _ = counted(by_price)
    monkeypatch.setattr(feature_blocks, "BLOCK", 64)
    context = context_of(kernel, ticks, COSTS, ACCOUNT)
    rows = grid(space, (5,), 14)
    slices = (Slice(0, 800, 0),)
    together = run(context, Task(0, rows, slices), 2)
    alone = [run(context, Task(0, rows[v : v + 1], slices), 2).rows for v in range(len(rows))]
    assert together.rows.tobytes() == np.concatenate(alone).tobytes()
    assert not together.failures
    assert len({row.tobytes() for row in alone}) > 1


def test_a_replay_in_blocks_has_the_curves_of_one_at_once(monkeypatch) -> None:
    kernel, space = kernel_of(TEXT)
    ticks = market(np.random.default_rng(4), 900)
    context = context_of(kernel, ticks, COSTS, ACCOUNT)
    row = space.encode({"n": 9, "m": 2, "band": 0.05})
    found = []
    for block in (1 << 19, 50):
        feature_blocks._FOUND.clear()
        monkeypatch.setattr(feature_blocks, "BLOCK", block)
        found.append(replay(context, row, (Slice(0, 300, 0), Slice(300, 900, 0))))
    assert len(found[0].fills)
    for one, other in zip(vars(found[0]).values(), vars(found[1]).values(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_variant_whose_features_fail_does_not_touch_the_others(counted) -> None:
    features = kernel_of(TEXT)[0].module.features

    def broken(ticks: Ticks, params: Any) -> Any:
        if params.n == 7:
            raise ValueError("seven")
        return features(ticks, params)

    kernel, space, _ = counted(broken)
    ticks = market(np.random.default_rng(5), 200)
    context = context_of(kernel, ticks, COSTS, ACCOUNT)
    rows = np.array([space.encode({"n": n, "m": 3, "band": 0.1}) for n in (5, 7, 9)])
    found = run(context, Task(0, rows, (Slice(0, 200, 0),)), 2)
    assert [v for v, _ in found.failures] == [1]
    assert "features() raised ValueError: seven" in found.failures[0][1]
    good = run(context, Task(0, rows[[0, 2]], (Slice(0, 200, 0),)), 2)
    assert found.rows[[0, 2]].tobytes() == good.rows.tobytes()
