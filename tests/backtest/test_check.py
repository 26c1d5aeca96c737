"""`sweep check`: what is right passes, and each mistake is named with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Result, sweep
from study_helpers import ROOT, STRATEGY

from sweep.backtest.strategy_checks.checks import (
    FAIL,
    NOTE,
    OK,
    Checks,
    Finding,
    check_look_ahead,
    check_strategy,
    generated_ticks,
)
from sweep.backtest.strategy_checks.lookahead import (
    FUTURES,
    another_future,
    cut_places,
    with_equal_stamps,
)
from sweep.schema import Ticks
from sweep.strategy.declare import Strategy, load_strategy, strategy_from_source
from sweep.strategy.space import SearchSpace
from sweep.ticks.sessions import find_sessions
from sweep.ticks.synthetic import SynthSpec, generate
from tests.kernel.test_lanes import vectors_of_doubles

HEAD = """\
from typing import NamedTuple
import numpy as np
from sweep.strategy import Space, integer


class Params(Space):
    n: int = integer(2, 50, default=10)


class State(NamedTuple):
    x: float
    k: int


def start(tick, params):
    return State(tick.mid, 0)


"""
#: Number of the first line that a test adds.
FIRST = HEAD.count("\n") + 1

STEP = "def step(state, tick, params):\n"


@pytest.fixture(scope="module")
def ticks() -> Ticks:
    return generated_ticks(2, 4000)


def failure(folder: Path, ticks: Ticks, text: str) -> tuple[str, str, str]:
    """Check a strategy; return name, text and advice of the one check that failed."""
    path = folder / "mine.py"
    path.write_text(text)
    report = check_strategy(path, ticks)
    failed = [f for f in report.findings if f.status == FAIL]
    assert len(failed) == 1
    assert not report.passed
    return failed[0].name, failed[0].text.replace(str(path), "mine.py"), failed[0].advice


def checks_of(strategy: Strategy, ticks: Ticks) -> Checks:
    return Checks(strategy, SearchSpace.of(strategy.params), ticks)


def test_a_good_strategy_passes_every_check(tmp_path: Path, ticks: Ticks) -> None:
    path = tmp_path / "mine.py"
    path.write_text(STRATEGY)
    report = check_strategy(path, ticks)
    assert report.passed
    found = {f.name: f.status for f in report.findings}
    assert found == {
        **dict.fromkeys(
            ("loads", "parameters", "contract", "compiles", "look-ahead", "runs", "repeats"), OK
        ),
        **dict.fromkeys(("plain Python", "slices", "speed"), OK),
        "vectorises": NOTE,
    }
    assert report.findings[-1].text.startswith("no: the parameter side is a text; variants run")
    assert [p["name"] for p in report.parameters] == ["fast", "slow", "side", "pause", "wait"]


@pytest.mark.skipif(not vectors_of_doubles(), reason="no vectors of doubles")
def test_a_strategy_that_runs_side_by_side_says_so(ticks: Ticks) -> None:
    checks = checks_of(load_strategy(ROOT / "strategies" / "ema_crossover.py"), ticks)
    found = [f for check in (checks.parameters, checks.compiles, checks.lanes) for f in check()]
    assert [f.status for f in found] == [OK, OK, OK]
    assert "64 side by side" in found[-1].text


@pytest.mark.parametrize("path", sorted((ROOT / "strategies").glob("*.py")), ids=lambda p: p.stem)
def test_every_strategy_that_is_shipped_keeps_the_contract(path: Path) -> None:
    checks = checks_of(load_strategy(path), generated_ticks(8, 12_500))
    for check in (checks.parameters, checks.contract, checks.features, checks.looks_ahead):
        assert all(f.status != FAIL for f in check())
    assert all(f.status == OK for f in checks.looks_back())


WRONG = {
    "an int field that is given a float": (
        "    return State(tick.mid, state.k + 0.5), 1.0\n",
        ("contract", 1, "State.k is annotated int, but holds the float 0.5"),
    ),
    "a tuple instead of a State": (
        "    return (tick.mid, state.k, 3), 1.0\n",
        ("contract", 1, "must return a State first, found a tuple of 3"),
    ),
    "a State with a field missing": (
        "    return State(tick.mid), 1.0\n",
        ("contract", 1, "missing 1 required positional argument: 'k'"),
    ),
    "no target": (
        "    return State(tick.mid, state.k)\n",
        ("contract", 1, "must return a State and a target position, found State"),
    ),
    "nothing returned": (
        "    x = tick.mid\n",
        ("contract", 0, "found None"),
    ),
    "a target that is no number": (
        "    return State(tick.mid, state.k), 'long'\n",
        ("contract", 1, "must return a number as its target position, found str 'long'"),
    ),
    "a field that ticks do not have": (
        "    return State(tick.mid, state.k), 1.0 if tick.price > 0 else 0.0\n",
        ("contract", 1, "a tick has no 'price'; there are ts, bid, ask, mid"),
    ),
    "a parameter that there is not": (
        "    return State(tick.mid, state.k), 1.0 if params.m > 0 else 0.0\n",
        ("contract", 1, "params has no 'm'"),
    ),
    "a division by zero": (
        "    return State(tick.mid, state.k), 1.0 / (params.n - params.n)\n",
        ("contract", 1, "raised ZeroDivisionError"),
    ),
    "an exception at the tenth tick": (
        "    if state.k == 9:\n        raise ValueError('ten')\n"
        "    return State(tick.mid, state.k + 1), 1.0\n",
        ("contract", 2, "raised ValueError: ten at tick 10"),
    ),
    "a construct that does not compile": (
        "    if params.n > 1000:\n        with open('x') as f:\n            pass\n"
        "    return State(tick.mid, state.k), 1.0\n",
        ("compiles", None, "does not compile"),
    ),
    "a library that compiled code cannot call": (
        "    import pandas\n    return State(tick.mid, state.k), 1.0\n",
        ("compiles", None, "does not compile"),
    ),
    "a name that is known in no branch that runs": (
        "    if params.n > 1000:\n        return State(unknown, state.k), 1.0\n"
        "    return State(tick.mid, state.k), 1.0\n",
        ("compiles", 2, "the name 'unknown' is not defined"),
    ),
    "a target of NaN": (
        "    k = state.k + 1\n    return State(tick.mid, k), np.nan if k == 5000 else 1.0\n",
        ("runs", 0, "not a finite number at tick 5000"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_with_its_line(name: str, tmp_path: Path, ticks: Ticks) -> None:
    body, (check, offset, said) = WRONG[name]
    found, text, _ = failure(tmp_path, ticks, HEAD + STEP + body)
    assert found == check
    assert said in text
    if offset is not None:
        assert text.startswith(f"mine.py:{FIRST + offset}: ")


def test_an_index_beyond_an_array_in_the_state_is_named(tmp_path: Path, ticks: Ticks) -> None:
    head = HEAD.replace("x: float", "x: np.ndarray").replace("tick.mid, 0", "np.zeros(8), 0")
    body = "    state.x[state.k] = tick.mid\n    return State(state.x, state.k + 1), 1.0\n"
    name, text, _ = failure(tmp_path, ticks, head + STEP + body)
    assert name == "contract"
    assert text.startswith(f"mine.py:{FIRST + 1}: raised IndexError")
    # Later than the ticks that plain Python is watched on: found by the compiled run.
    late = head.replace("np.zeros(8)", "np.zeros(6000)")
    name, text, _ = failure(tmp_path, ticks, late + STEP + body)
    assert name == "runs"
    assert text.startswith(f"mine.py:{FIRST + 1}: raised IndexError")
    assert "at tick 6001" in text


FEATURES = """\
class Features(NamedTuple):
    z: np.ndarray


def features(ticks, params):
    m = ticks.mid
    return Features({z})


def step(state, tick, params, features):
    return State(tick.mid, state.k + 1), 1.0 if features.z > 0.0 else -1.0
"""


LEAKS = {
    "whole-sample z-score": "(m - m.mean()) / m.std()",
    "centred average": "np.array([m[max(k - 5, 0) : k + 6].mean() for k in range(len(m))])",
    "convolve same": "np.convolve(m, np.ones(9) / 9.0, 'same')",
    "next tick": "np.append(m[1:] - m[:-1], 0.0)",
    "signal of the next tick": "np.append(np.sign(m[1:] - m[:-1]), 0.0)",
    "highest of all": "m - np.max(m)",
    "number of ticks": "np.where(np.arange(len(m)) < len(m) // 2, 1.0, -1.0)",
    "close of a bar at its open": (
        "m[np.searchsorted(ticks.ts, (ticks.ts // 60_000_000_000 + 1) * 60_000_000_000) - 1]"
    ),
    "last quote of the stamp": "m[np.searchsorted(ticks.ts, ticks.ts, 'right') - 1]",
    "time to the next tick": "np.append(np.diff(ticks.ts), 0) * 1e-9",
    "back-filled": "filled(np.where(np.diff(m, prepend=m[0]) == 0.0, np.nan, m))",
    "best of the whole sample": "best(m)",
    "scale of the last day": "m / m[ticks.ts // 86_400_000_000_000 == ticks.ts[-1] // "
    "86_400_000_000_000][0]",
}
HELPERS = """\
def filled(x):
    k = np.where(np.isnan(x), len(x), np.arange(len(x)))
    k = np.minimum.accumulate(k[::-1])[::-1]
    return np.append(x, 0.0)[k]


def best(m):
    # The window that would have earned most, over all ticks.
    moves = np.diff(m, append=m[-1])
    signals = [np.sign(m - np.concatenate([np.full(w, m[0]), m[:-w]])) for w in (5, 20, 80, 320)]
    return signals[int(np.argmax([np.nansum(s * moves) for s in signals]))]


"""


@pytest.mark.parametrize("name", LEAKS)
def test_look_ahead_is_found(name: str, tmp_path: Path, ticks: Ticks) -> None:
    text = HEAD + FEATURES.format(z=LEAKS[name]) + "\n\n" + HELPERS
    found, said, advice = failure(tmp_path, ticks, text)
    assert found == "look-ahead"
    assert said.startswith(f"mine.py:{FIRST + 4}: feature z at tick ")
    assert "sweep.features" in advice


RARE = ("best of the whole sample", "last quote of the stamp", "back-filled")


@pytest.mark.slow
@pytest.mark.parametrize("name", RARE)
def test_leaks_that_show_at_few_ticks_are_found(name: str) -> None:
    """On 96 generated markets each. Measured: 96, 96 and 95 of 96 found."""
    text = HEAD + FEATURES.format(z=LEAKS[name]) + "\n\n" + HELPERS
    strategy = strategy_from_source(text, "mine.py")
    found = 0
    for seed in range(96):
        spec = SynthSpec(sessions=2, ticks_per_session=4000, sizes=True, seed=seed)
        chunks = list(generate(spec))
        market = Ticks(*(np.concatenate([c[n] for c in chunks]) for n in Ticks._fields))
        checks = checks_of(strategy, market)
        list(checks.parameters())
        try:
            list(checks.looks_ahead())
        except Exception as stop:
            found += stop.args[0].status == FAIL
    assert found >= 93


PAST = {
    "last move": "np.concatenate([[0.0], m[1:] - m[:-1]])",
    "open of the bar": (
        "m[np.searchsorted(ticks.ts, ticks.ts // 60_000_000_000 * 60_000_000_000)]"
    ),
    "first quote of the stamp": "m[np.searchsorted(ticks.ts, ticks.ts, 'left')]",
    "running sum": "np.cumsum(m)",
    "highest so far": "np.maximum.accumulate(m)",
    "windows": "rolling_mean(m, params.n) + rolling_std(m, 9) + rolling_max(m, 7) + ema(m, 5)",
    "average after": "np.convolve(m, np.ones(9) / 9.0)[: len(m)]",
}


@pytest.mark.parametrize("name", PAST)
def test_features_of_the_past_pass(name: str, ticks: Ticks) -> None:
    lines = "from sweep.features import ema, rolling_max, rolling_mean, rolling_std\n"
    text = lines + HEAD + FEATURES.format(z=PAST[name])
    checks = checks_of(strategy_from_source(text, "mine.py"), ticks)
    found = [f for check in (checks.parameters, checks.looks_ahead) for f in check()]
    assert [f.status for f in found] == [OK, OK]
    assert "raises" not in found[-1].text


def test_features_that_refuse_a_future_are_tested_on_the_others(
    tmp_path: Path, ticks: Ticks
) -> None:
    text = (
        HEAD
        + FEATURES.format(z="checked(m)")
        + """

def checked(m):
    if np.isnan(m).any():
        raise ValueError("no price")
    return m - 1.0
"""
    )
    checks = checks_of(strategy_from_source(text, "mine.py"), ticks)
    found = [f for check in (checks.parameters, checks.looks_ahead) for f in check()]
    assert [f.status for f in found] == [OK, OK]
    assert "futures features() raises" in found[-1].text
    leaks = text.replace("m - 1.0", "m - m.mean()")
    assert failure(tmp_path, ticks, leaks)[0] == "look-ahead"


@pytest.mark.parametrize("kind", FUTURES)
def test_a_future_changes_what_follows_and_nothing_before(kind: str, ticks: Ticks) -> None:
    base = with_equal_stamps(ticks)
    for cut in cut_places(base.ts):
        other = another_future(base, cut, kind)
        for column, changed in zip(base, other, strict=True):
            assert column[:cut].tobytes() == changed[:cut].tobytes()
            assert changed.dtype == column.dtype
        assert (np.diff(other.ts) >= 0).all()
        assert len(other.ts) == (cut if kind == "cut" else len(base.ts))
        assert kind == "cut" or other.bid[cut:].tobytes() != base.bid[cut:].tobytes()


def test_places_lie_where_leaks_hide(ticks: Ticks) -> None:
    ts = with_equal_stamps(ticks).ts
    cuts = cut_places(ts)
    assert cuts == cut_places(ts)
    assert len(cuts) >= 12
    begins = find_sessions(ts).begins
    assert begins[1] in cuts
    assert begins[1] + 1 in cuts
    assert sum(ts[k] == ts[k - 1] for k in cuts) >= 3
    assert sum(ts[k - 1] == ts[k - 2] and ts[k] > ts[k - 1] for k in cuts) >= 3


WINDOWS = """\
class Features(NamedTuple):
    z: np.ndarray
    y: np.ndarray


def features(ticks, params):
    m = ticks.mid
    return Features({z}, np.concatenate([[0.0], m[1:] - m[:-1]]))


def lookback(params):
    return {back}


def step(state, tick, params, features):
    return State(tick.mid, state.k + 1), 1.0 if features.z > features.y else -1.0
"""
IMPORTS = "from sweep.features import rolling_max, rolling_mean\n"


def look_back(ticks: Ticks, z: str, back: str, state: str = "k: int") -> tuple[str, str, str]:
    """Check look-back alone; return status, text and advice."""
    text = IMPORTS + HEAD.replace("k: int", state) + WINDOWS.format(z=z, back=back)
    checks = checks_of(strategy_from_source(text, "mine.py"), ticks)
    list(checks.parameters())
    try:
        (found,) = checks.looks_back()
    except Exception as stop:
        (found,) = stop.args
    return found.status, found.text, found.advice


@pytest.mark.parametrize("back", ["params.n", "params.n - 1", "3 * params.n"])
@pytest.mark.parametrize("z", ["rolling_mean(m, params.n)", "rolling_max(m, params.n)"])
def test_a_look_back_that_is_long_enough_passes(z: str, back: str, ticks: Ticks) -> None:
    status, text, _ = look_back(ticks, z, back)
    assert (status, "long enough" in text) == (OK, True)


@pytest.mark.parametrize("back", ["params.n - 2", "params.n // 2", "0"])
@pytest.mark.parametrize("z", ["rolling_mean(m, 2 * params.n)", "rolling_mean(m, params.n)"])
def test_a_look_back_that_is_too_short_is_named_with_what_would_do(z, back, ticks) -> None:
    status, text, advice = look_back(ticks, z, back)
    assert status == FAIL
    assert "mine.py:" in text
    assert "feature z at tick" in text
    assert "ticks before a block" in text
    needed = int(advice.split("about ")[1].split()[0].replace(",", ""))
    n = int(text.rsplit("n=", 1)[1])
    assert needed == (2 * n if "2 *" in z else n) - 1


def test_a_feature_of_all_ticks_before_cannot_be_cut_into_blocks(ticks: Ticks) -> None:
    status, text, advice = look_back(ticks, "np.cumsum(m)", "100")
    assert (status, "feature z" in text) == (FAIL, True)
    assert "all ticks since the first" in advice


def test_rounding_is_no_look_back(ticks: Ticks) -> None:
    status, _, _ = look_back(ticks, "m - np.cumsum(m * 0.0 + 1e-13)", "5")
    assert status == OK


def test_a_look_back_that_cannot_be_tested_or_used_is_a_note(ticks: Ticks) -> None:
    status, text, _ = look_back(ticks, "m - 1.0", "10_000_000")
    assert (status, "not tested" in text) == (NOTE, True)
    (found,) = no_look_back(ticks)
    assert (found.status, "8 bytes a tick" in found.text) == (NOTE, True)
    assert "lookback" in found.text


def no_look_back(ticks: Ticks) -> list[Finding]:
    checks = checks_of(strategy_from_source(HEAD + FEATURES.format(z="m - 1.0"), "mine.py"), ticks)
    list(checks.parameters())
    return list(checks.looks_back())


def test_a_look_back_that_raises_is_named_with_its_line(ticks: Ticks) -> None:
    status, text, _ = look_back(ticks, "m - 1.0", "params.window")
    assert status == FAIL
    assert "lookback() raised AttributeError" in text


def test_features_of_another_length_are_named(tmp_path: Path, ticks: Ticks) -> None:
    _, text, _ = failure(tmp_path, ticks, HEAD + FEATURES.format(z="m[1:]"))
    assert "expected one value for each of" in text


def test_chance_in_a_strategy_is_found(tmp_path: Path, ticks: Ticks) -> None:
    # With an array in its state it is not compiled for lanes, nor asked why it has no vectors.
    head = HEAD.replace("x: float", "x: np.ndarray").replace("tick.mid, 0", "np.zeros(8), 0")
    body = "    return State(state.x, state.k), np.random.random()\n"
    name, text, advice = failure(tmp_path, ticks, head + STEP + body)
    assert (name, text) == ("repeats", "a second run gives other results")
    assert "random" in advice


def test_defaults_that_the_constraint_refuses_fail(ticks: Ticks) -> None:
    text = STRATEGY.replace("self.fast < self.slow", "self.slow < 40")
    (found,) = checks_of(strategy_from_source(text, "mine.py"), ticks).parameters()
    assert found.status == FAIL
    assert "refuses the defaults" in found.text


def test_a_file_that_does_not_load_fails_with_its_line(tmp_path: Path, ticks: Ticks) -> None:
    name, text, _ = failure(tmp_path, ticks, HEAD + "def step(state, tick, prams):\n    pass\n")
    assert name == "loads"
    assert text.startswith(f"mine.py:{FIRST}: step() takes an argument 'prams'")


def command(folder: Path, text: str, *arguments: object) -> Result:
    path = folder / "mine.py"
    path.write_text(text)
    return sweep("check", path, *arguments)


def test_the_command_exits_2_where_a_check_fails(tmp_path: Path) -> None:
    result = command(tmp_path, HEAD + STEP + "    return State(tick.mid, 0.5), 1.0\n")
    assert result.code == 2
    assert "FAIL contract" in result.out
    assert "-> " in result.out


def test_the_command_runs_on_ticks_of_the_user(tmp_path: Path) -> None:
    from sweep.ticks.sources import write_parquet
    from sweep.ticks.synthetic import SynthSpec, generate

    source = tmp_path / "ticks.parquet"
    n = write_parquet(generate(SynthSpec(sessions=1, ticks_per_session=3000)), source)
    result = command(tmp_path, STRATEGY, "--source", source, "-f", "json")
    assert result.code == 0, result.out
    assert result.json["ticks"] == n
    result = command(tmp_path, STRATEGY, "--source", tmp_path / "none.parquet")
    assert result.code == 2
    assert "none.parquet" in result.err


def test_a_missing_strategy_file_fails(tmp_path: Path) -> None:
    result = sweep("check", tmp_path / "none.py")
    assert result.code == 2
    assert "no such strategy file" in result.out


PEEKING = (
    HEAD.replace("integer(2, 50, default=10)", "integer(0, 10**12, default=10)")
    + """class Features(NamedTuple):
    later: np.ndarray


def features(ticks, params):
    later = np.zeros_like(ticks.mid)
    n = max(len(later) - params.n, 0)
    later[:n] = ticks.mid[params.n :]
    return Features(later)


def step(state, tick, params, features):
    return State(features.later, state.k), 1.0
"""
)


@pytest.mark.parametrize(
    ("n", "status", "text"),
    [
        (1_000, FAIL, "feature later at tick"),
        # Further than the ticks of a plain check reach.
        (60_000, FAIL, "feature later at tick"),
        # No number of ticks, but it shows nothing on these either.
        (10**12, NOTE, "not tested: features are the same at each of 40,000 ticks"),
        (0, OK, "none found"),
    ],
)
def test_one_variant_is_tested_as_far_as_its_parameters_reach(
    n: int, status: str, text: str
) -> None:
    strategy = strategy_from_source(PEEKING, "peeking.py")
    space = SearchSpace.of(strategy.params)
    found = check_look_ahead(strategy, space, space.encode({"n": n}))
    assert (found.status, text in found.text) == (status, True), found
    assert (found.advice == "a test on generated ticks, and no proof") == (status == OK)


def test_a_step_alone_cannot_look_ahead() -> None:
    strategy = strategy_from_source(STRATEGY, "mine.py")
    space = SearchSpace.of(strategy.params)
    found = check_look_ahead(strategy, space, space.defaults)
    assert (found.status, found.advice) == (OK, "")
    assert "none possible" in found.text
