"""Variants side by side get the bits that each gets alone, in any batch, width and slicing."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweep.backtest.strategy_checks.single_run import same_bits
from sweep.backtest.tasks import Carry, Context, Outcome, Task, evaluate, orders_in_flight
from sweep.cli.strategy_template import strategy_template
from sweep.kernel import Kernel, build, build_kernel, load_kernel
from sweep.kernel.compiled import call_kernel
from sweep.kernel.lanes import lanes_text
from sweep.schema import STATUS_BAD_ORDER, Account, Costs, Slice, TickHandle, Ticks
from sweep.search.designs import random as random_design
from sweep.strategy.declare import strategy_from_source
from sweep.strategy.parameters import Number
from sweep.strategy.space import SearchSpace
from sweep.ticks import mapped
from tests import oracle
from tests.evaluation import wide_space
from tests.generators import SECOND, read_only
from tests.kernel.test_fills import assert_same_row
from tests.random_strategies import strategy_text

FOLDER = Path(__file__).parents[2] / "strategies"
SHIPPED = sorted(FOLDER.glob("*.py"))

#: Strategies written by chance, and those that only a long run looks at.
SEEDS = (1, 2, 3)
MORE_SEEDS = (4, 5, 6, *range(100, 160))

LATENCIES = (0, 0, 1, 50_000_000, 30 * SECOND, 7_200 * SECOND)
SIZES = (2, 3, 9, 60, 300, 700, 1_023, 1_024, 1_025, 2_600)
BATCHES = (1, 2, 3, 4, 7, 8, 9, 20, 63, 64, 65, 130)
WIDTHS = (1, 2, 3, 4, 5, 8, 16, 24, 64, 72)


# -- what is evaluated -----------------------------------------------------------------


def held(ticks: Ticks) -> TickHandle:
    """A handle of ticks in memory, as if they were attached."""
    path = f"/in-memory/{id(ticks)}"
    n = len(ticks.ts)
    names = ticks._fields if len(ticks.bid_size) else ticks._fields[:3]
    handle = TickHandle(path, n, path, names, "quotes", int(ticks.ts[0]), int(ticks.ts[-1]))
    mapped._ticks[path] = (handle, ticks)
    return handle


def market(draw: np.random.Generator, n: int, *, holes: bool = False) -> Ticks:
    """A random walk on a lattice, with plateaus, equal stamps, gaps and jumps."""
    gaps = draw.choice((0, 0, 10_000_000, SECOND, 40 * SECOND, 900 * SECOND, 9_000 * SECOND), n)
    moves = draw.integers(-6, 7, n) * (draw.random(n) < draw.choice((0.15, 0.7, 1.0)))
    if draw.random() < 0.3:
        moves = moves + np.where(draw.random(n) < 0.01, draw.integers(-900, 900, n), 0)
    bid = (np.abs(80 * 64 + np.cumsum(moves)) + 20 * 64) / 64
    ask = bid + draw.choice((0, 1, 1, 2, 8, 200), n) / 64
    if holes:
        bid[draw.random(n) < 0.01] = np.nan
        ask[draw.random(n) < 0.01] = np.nan
    sizes = draw.integers(1, 9, (2, n)) / 8
    begin = int(draw.choice((0, 1_399_593_600 * SECOND - 3)))
    return read_only(Ticks(begin + np.cumsum(gaps), bid, ask, sizes[0], sizes[1]))


def terms(draw: np.random.Generator) -> tuple[Costs, Account]:
    """Costs and an account; some accounts are ruined by a single trade."""

    def amount(highest: int, unit: float) -> float:
        return int(draw.integers(0, highest + 1)) * unit if draw.random() < 0.5 else 0.0

    costs = Costs(
        commission_rate=amount(8, 2.0**-12),
        commission_per_unit=amount(16, 1 / 16),
        commission_per_fill=amount(16, 1 / 16),
        slippage=amount(8, 1 / 64),
        half_spread=amount(4, 1 / 64),
        latency=int(draw.choice(LATENCIES)),
        mark=str(draw.choice(("mid", "close"))),
    )
    capital = float(draw.choice((64.0, 1024.0, 65536.0)))
    clock = int(draw.choice((60, 900, 3_600, 86_400))) * SECOND
    return costs, Account(capital, float(draw.choice((0.25, 1.0, 8.0))), clock, 252.0)


@functools.cache
def kernel_of(source: str) -> tuple[Kernel, SearchSpace]:
    """The compiled kernel of a strategy's text, with windows that suit short markets."""
    strategy = strategy_from_source(source, "strategy.py")
    space = wide_space(strategy)
    return load_kernel(build_kernel(strategy, space)), space


def points(space: SearchSpace, draw: np.random.Generator, n: int) -> np.ndarray:
    rows = np.asarray(random_design(space, int(draw.integers(1 << 30))).points(0, n))
    short = np.array([isinstance(p, Number) and p.high >= 500 for p in space.parameters])
    # Windows of thousands of ticks would leave nothing to compare.
    rows[:, short] = np.minimum(rows[:, short], np.floor(rows[:, short] ** 0.5) + 1)
    return rows


def context_of(kernel: Kernel, ticks: Ticks, costs: Costs, account: Account) -> Context:
    room = orders_in_flight(ticks.ts, costs.latency)
    return Context(held(ticks), kernel.ref, costs, account, room)


@contextlib.contextmanager
def lanes_of(kernel: Kernel, width: int) -> Iterator[None]:
    """Let groups of a kernel have ``width`` lanes at most."""
    if kernel.lanes is None:
        yield
        return
    run, core, _, layout, feedback = kernel.lanes.args  # type: ignore[attr-defined]
    lanes = functools.partial(call_kernel, run, core, width, layout, feedback)
    build._LOADED[kernel.ref.path] = replace(kernel, lanes=lanes)
    try:
        yield
    finally:
        build._LOADED[kernel.ref.path] = kernel


def cuts(draw: np.random.Generator, n: int) -> list[Slice]:
    most = min(n - 1, 6)
    inner = draw.choice(np.arange(1, n), int(draw.integers(0, most + 1)), replace=False)
    edges = [0, *sorted(inner.tolist()), n]
    return [Slice(a, b, 0) for a, b in itertools.pairwise(edges)]


# -- what is compared ------------------------------------------------------------------


def run(context: Context, task: Task, width: int) -> Outcome:
    found = evaluate(context, task, width)
    assert not found.error, found.error
    return found


def failures_of(outcome: Outcome, places: Any) -> dict[int, str]:
    return {int(places[v]): text for v, text in outcome.failures}


def assert_same_carry(found: Carry, expected: Carry) -> None:
    """Compare what matters of two carries: nothing does of a variant that failed."""
    alive = expected.rows["status"] != STATUS_BAD_ORDER
    assert found.rows.tobytes() == expected.rows.tobytes()
    for name in ("floats", "ints"):
        a, b = getattr(found, name)[alive], getattr(expected, name)[alive]
        assert same_bits(a, b).all() if name == "floats" else (a == b).all(), name
    for name in expected.carries.dtype.names:
        if name not in ("head", "done", "edge"):
            a, b = found.carries[name][alive], expected.carries[name][alive]
            assert a.tobytes() == b.tobytes(), name
    for v in np.flatnonzero(alive):
        for a, b in ((found.due, expected.due), (found.targets, expected.targets)):
            assert flight(found, a, v).tobytes() == flight(expected, b, v).tobytes()


def flight(carry: Carry, values: np.ndarray, v: int) -> np.ndarray:
    """Orders of a variant in flight, oldest first."""
    ring = np.roll(values[v], -int(carry.carries["head"][v]))
    return ring[: carry.carries["pending"][v]]


@dataclass
class Case:
    """One market, terms and batch; what each variant alone gives is the reference."""

    kernel: Kernel
    context: Context
    params: np.ndarray
    draw: np.random.Generator
    n_ticks: int

    def task(self, places: Any, slices: Any, carry_over: bool, **more: Any) -> Task:
        return Task(0, self.params[places], tuple(slices), carry_over, keep=True, **more)

    def batches(self) -> Iterator[tuple[int, np.ndarray]]:
        """Lane widths with places of the batch, in any order, some of them twice."""
        n = len(self.params)
        everyone = self.draw.permutation(n)
        yield 64, everyone
        for _ in range(2):
            some = self.draw.integers(0, n, int(self.draw.choice(BATCHES)))
            yield int(self.draw.choice(WIDTHS)), some

    def carried(self) -> None:
        n = len(self.params)
        everyone = np.arange(n)
        whole = [Slice(0, self.n_ticks, 0)]
        expected = run(self.context, self.task(everyone, whole, True), 1)
        told = failures_of(expected, everyone)
        parts = cuts(self.draw, self.n_ticks)
        sliced = run(self.context, self.task(everyone, parts, True), 1)
        assert sliced.rows[:, -1].tobytes() == expected.rows[:, 0].tobytes()
        for width, places in self.batches():
            with lanes_of(self.kernel, width):
                found = run(self.context, self.task(places, whole, True), 2)
                assert found.rows.tobytes() == expected.rows[places].tobytes()
                assert_same_carry(found.carry, expected.carry.select(places))
                assert failures_of(found, range(len(places))) == {
                    k: told[v] for k, v in enumerate(places.tolist()) if v in told
                }
                found = run(self.context, self.task(places, parts, True), 2)
                assert found.rows.tobytes() == sliced.rows[places].tobytes()
                assert_same_carry(found.carry, expected.carry.select(places))
                if self.kernel.ref.resumable:
                    self.resumed(places, parts, sliced)

    def resumed(self, places: np.ndarray, parts: list[Slice], sliced: Outcome) -> None:
        """Evaluate the slices in several tasks, by lanes and by single variants in turns."""
        carry, done = None, 0
        while done < len(parts):
            stop = int(self.draw.integers(done + 1, len(parts) + 1))
            if carry is not None and self.draw.random() < 0.5:
                # Another order, and other neighbours.
                order = self.draw.permutation(len(places))
                places, carry = places[order], carry.select(order)
            task = self.task(places, parts[done:stop], True, carry=carry)
            task = replace(task, close_out=stop == len(parts))
            found = run(self.context, task, int(self.draw.choice((1, 2, 2))))
            assert found.rows.tobytes() == sliced.rows[places, done:stop].tobytes()
            carry, done = found.carry, stop

    def independent(self) -> None:
        n = len(self.params)
        parts = [s._replace(warmup=int(self.draw.integers(0, s.begin + 1))) for s in self.parts()]
        alone = [run(self.context, self.task(np.arange(n), [s], False), 1).rows for s in parts]
        expected = np.concatenate(alone, axis=1)
        # What comes after a bad order is not looked at.
        seen = np.cumsum(expected["status"] == STATUS_BAD_ORDER, axis=1) == 0
        for width, places in self.batches():
            with lanes_of(self.kernel, width):
                found = run(self.context, self.task(places, parts, False), 2).rows
            wanted = expected[places]
            assert found[seen[places]].tobytes() == wanted[seen[places]].tobytes()
            assert ((found["status"] == STATUS_BAD_ORDER).any(axis=1) == ~seen[places].all(1)).all()

    def parts(self) -> list[Slice]:
        found = cuts(self.draw, self.n_ticks)
        # Not all of them, and not in the order of time: a pruner takes them as it likes.
        order = self.draw.permutation(len(found))[: int(self.draw.integers(1, len(found) + 1))]
        return [found[k] for k in (sorted(order) if self.draw.random() < 0.5 else order)]


def case(source: str, draw: np.random.Generator, *, holes: bool = False) -> Case:
    kernel, space = kernel_of(source)
    n = int(draw.choice(SIZES))
    ticks = market(draw, n, holes=holes)
    costs, account = terms(draw)
    rows = points(space, draw, int(draw.choice(BATCHES)))
    return Case(kernel, context_of(kernel, ticks, costs, account), rows, draw, n)


def compare(source: str, seed: int, n_cases: int) -> None:
    for k in range(n_cases):
        case(source, np.random.default_rng((seed, k)), holes=k % 5 == 4).carried()
        case(source, np.random.default_rng((seed, k)), holes=k % 5 == 4).independent()


# -- one result ------------------------------------------------------------------------

#: Does what each tick's ``bid_size`` says, scaled, and gives a bad order at a tick of its own.
SCRIPTED = """
from typing import NamedTuple

from sweep.strategy import Space, boolean, integer, real


class Params(Space):
    wait: int = integer(0, 400, default=0)
    bad: int = integer(0, 600, default=0)
    scale: float = real(-2.0, 2.0, step=0.25, default=1.0)
    level: float = real(0.0, 1.2, default=0.5)
    nan: bool = boolean(default=True)


class State(NamedTuple):
    seen: int


def warmup(params):
    return params.wait


def start(tick, params):
    return State(1)


def step(state, tick, params):
    target = tick.bid_size * params.scale
    if tick.ask_size < params.level:
        target = 0.0
    if state.seen == params.bad:
        target = 1.0 / (state.seen - params.bad)
        if params.nan:
            target = target - target
    return State(state.seen + 1), target
"""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_lanes_of_a_shipped_strategy_have_the_bits_of_one_variant(path: Path) -> None:
    compare(path.read_text(encoding="utf-8"), 11, 6)


def test_lanes_of_the_template_have_the_bits_of_one_variant() -> None:
    compare(strategy_template(), 12, 6)


def test_a_bad_order_ends_its_variant_alone_at_the_same_tick() -> None:
    compare(SCRIPTED, 99, 40)


@pytest.mark.parametrize("seed", SEEDS)
def test_lanes_of_a_random_strategy_have_the_bits_of_one_variant(seed: int) -> None:
    compare(strategy_text(seed), seed, 5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_lanes_of_many_random_strategies_have_the_bits_of_one_variant(seed: int) -> None:
    compare(strategy_text(seed), seed, 30)


def test_a_variant_that_ended_leaves_the_clock_of_its_neighbours_alone() -> None:
    # In slices that start afresh, after the first of the lanes ended in the first of them.
    kernel, space = kernel_of(SCRIPTED)
    draw = np.random.default_rng(5)
    ticks = market(draw, 400)
    costs, account = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0, "mid"), Account(1e4, 1.0, 60 * SECOND, 252.0)
    context = context_of(kernel, ticks, costs, account)
    good = space.encode({"wait": 0, "bad": 0, "scale": 1.0, "level": 0.5, "nan": True})
    bad = space.encode({"wait": 30, "bad": 40, "scale": 1.0, "level": 0.5, "nan": True})
    slices = (Slice(0, 200, 0), Slice(200, 400, 100))
    alone = run(context, Task(0, good[None, :], slices, False), 1).rows[0]
    beside = run(context, Task(0, np.array([bad, good]), slices, False), 2).rows[1]
    assert beside.tobytes() == alone.tobytes()


# -- against the slow simulator --------------------------------------------------------


def against_the_simulator(source: str, seed: int, n_cases: int) -> int:
    """Compare rows of single variants with those of plain lists; return how many."""
    strategy = strategy_from_source(source, "strategy.py")
    compared = 0
    for k in range(n_cases):
        one = case(source, np.random.default_rng((seed, k)))
        _, space = kernel_of(source)
        context = replace(one.context, costs=replace(one.context.costs, half_spread=0.0))
        ticks = mapped._ticks[context.ticks.path][1]
        for row in one.params[:3]:
            found = run(context, Task(0, row[None, :], (Slice(0, one.n_ticks, 0),)), 2).rows[0, 0]
            try:
                simulated = oracle.simulate(
                    ticks, strategy.module, space.decode(row), context.costs, context.account
                )
            except (ArithmeticError, ValueError):
                continue  # where compiled code has inf or NaN
            assert_same_row(found, simulated)
            compared += 1
    return compared


@pytest.mark.parametrize("seed", SEEDS)
def test_random_strategies_agree_with_the_slow_simulator(seed: int) -> None:
    assert against_the_simulator(strategy_text(seed), seed, 8) > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_many_random_strategies_agree_with_the_slow_simulator(seed: int) -> None:
    against_the_simulator(strategy_text(seed), seed, 8)


# -- what vectorises -------------------------------------------------------------------


def vectors_of_doubles() -> bool:
    """Whether the processor has vector registers of doubles, as far as is known."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    return bool(features.get("avx2")) or triple.startswith(("aarch64", "arm64"))


needs_vectors = pytest.mark.skipif(not vectors_of_doubles(), reason="no vectors of doubles")

PLAIN_STEP = """
from enum import IntEnum
from typing import NamedTuple
import math
import numpy as np
from sweep.strategy import Space, boolean, categorical, integer, real


class Side(IntEnum):
    FADE = 1
    FOLLOW = 2


class Params(Space):
    n: int = integer(2, 50, default=10)
    r: float = real(0.5, 2.0, default=1.0)
{params}

class State(NamedTuple):
    x: float
    k: int
{state}

def start(tick, params):
    return State(tick.mid, 0{first})


def step(state, tick, params):
    x = state.x + 0.1 * (tick.mid - state.x)
    k = state.k + 1
{body}
    return State(x, k{last}), target
"""


def written(body: str, params: str = "", state: str = "", first: str = "", last: str = "") -> str:
    return PLAIN_STEP.format(body=body, params=params, state=state, first=first, last=last)


SIDE = "    target = 1.0 if tick.mid > x else -1.0\n"
FALLS_BACK = {
    "an array in the state": (
        written(
            "    y = state.y\n    y[k % 4] = x\n" + SIDE,
            state="    y: np.ndarray\n",
            first=", np.zeros(4)",
            last=", y",
        ),
        "State.y is an array",
    ),
    "a text as parameter": (
        written(
            "    target = 1.0 if (tick.mid > x) == (params.mode == 'follow') else -1.0",
            params="    mode: str = categorical('follow', 'fade')\n",
        ),
        "the parameter mode is a text",
    ),
    "a loop": (
        written(SIDE + "    for j in range(params.n):\n        x = x + 1e-9 * j\n"),
        "a loop",
    ),
}

#: Runs in lanes or not, as the processor and LLVM have it.
UNCERTAIN = written(
    SIDE + "    if k % params.n == 0:\n        target = 0.0\n"
    "    target = target * math.exp(-abs(x - tick.mid) / params.r) ** params.r\n"
)

RUNS_SIDE_BY_SIDE = written(
    SIDE
    + "    if params.side == Side.FADE:\n        target = -target\n"
    + "    if params.on:\n        target = target * params.size\n"
    + "    target = target * math.floor(1.0 + math.sqrt(params.r))\n",
    params="    side: Side = categorical(Side.FADE, Side.FOLLOW)\n"
    "    on: bool = categorical(True, False)\n"
    "    size: float = categorical(1, 2.5)\n",
)


@needs_vectors
@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_strategy_runs_side_by_side(path: Path) -> None:
    kernel, _ = kernel_of(path.read_text(encoding="utf-8"))
    assert (kernel.ref.lanes, kernel.ref.reason) == (True, "")
    assert kernel.lanes is not None


@needs_vectors
def test_choices_of_every_type_and_functions_of_math_run_side_by_side() -> None:
    kernel, _ = kernel_of(RUNS_SIDE_BY_SIDE)
    assert kernel.ref.reason == ""
    compare(RUNS_SIDE_BY_SIDE, 21, 5)


def test_what_may_run_side_by_side_gives_the_same_or_says_why_not() -> None:
    kernel, _ = kernel_of(UNCERTAIN)
    assert (kernel.lanes is None) == bool(kernel.ref.reason)
    compare(UNCERTAIN, 23, 5)


@pytest.mark.parametrize("name", FALLS_BACK)
def test_what_cannot_run_side_by_side_says_why_and_gives_the_same(name: str) -> None:
    source, reason = FALLS_BACK[name]
    kernel, _ = kernel_of(source)
    assert kernel.lanes is None
    if vectors_of_doubles():
        assert reason in kernel.ref.reason
    compare(source, 22, 3)


def test_values_of_parameters_have_one_type_in_lanes() -> None:
    for choices, form in (("True, 0.5", "{}"), ("2, True", "as_bits({})"), ("True, False", "!= 0")):
        source = written(SIDE, params=f"    c: float = categorical({choices})\n")
        strategy = strategy_from_source(source, "strategy.py")
        text, _ = lanes_text(strategy, SearchSpace.of(strategy.params))
        taken = text.split("p = _SweepParams(")[-1].splitlines()[0]
        assert ("!= 0" in taken) == (form == "!= 0"), choices
        assert taken.count("as_bits") == (1 if form == "{}" else 2), choices


def test_functions_of_a_vector_library_are_never_used() -> None:
    code = (
        "import os, sweep; assert os.environ['NUMBA_DISABLE_INTEL_SVML'] == '1'; import numba; "
        "print(numba.config.USING_SVML)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_DISABLE_INTEL_SVML"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


# -- tasks on other ticks --------------------------------------------------------------


def test_a_task_on_other_ticks_names_places_of_the_whole_series() -> None:
    kernel, space = kernel_of(SCRIPTED)
    draw = np.random.default_rng(8)
    ticks = market(draw, 300)
    part = Ticks(*(column[100:] for column in ticks))
    costs, account = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0, "mid"), Account(1e4, 1.0, 60 * SECOND, 252.0)
    context = context_of(kernel, ticks, costs, account)
    rows = np.array(
        [
            space.encode({"wait": 0, "bad": bad, "scale": 1.0, "level": 0.5, "nan": True})
            for bad in (0, 50)
        ]
    )
    found = run(context, Task(0, rows, (Slice(100, 300, 100),), keep=True), 2)
    moved = Task(0, rows, (Slice(0, 200, 0),), keep=True, ticks=held(part), base=100)
    other = run(context, moved, 2)
    assert found.rows["tick"][:, 0].tolist() == [-1, 150]
    assert other.rows.tobytes() == found.rows.tobytes()
    assert other.failures == found.failures
    assert "at tick 150 (" in other.failures[0][1]
    # In pieces, with a carry between them: a place that was told stays.
    first = replace(moved, slices=(Slice(0, 120, 0),), close_out=False)
    carry = run(context, first, 2).carry
    rest = Ticks(*(column[220:] for column in ticks))
    second = Task(0, rows, (Slice(0, 80, 0),), carry=carry, keep=True, ticks=held(rest), base=220)
    again = run(context, second, 2)
    assert again.rows[:, -1].tobytes() == found.rows[:, -1].tobytes()
    assert again.failures[0][1].count("at tick 150") == 1
