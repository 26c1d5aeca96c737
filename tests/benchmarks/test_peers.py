"""The bench of peers: its protocol, its comparison, and the arms that are installed."""

import importlib.util
import io
import json
import math
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peer_arms import serve, with_numpy, with_pandas, with_sweep
from sweep.bench.frame import BenchError, Settings
from sweep.bench.ticks import generated
from sweep.errors import InputError
from sweep.ticks.mapped import attach, column_path

PAIRS = [(50.0, 200.0), (3.0, 40.0), (10.0, 2_000.0)]
#: What an arm of a peer needs to be installed.
MODULES = {
    "vectorbt": "vectorbt",
    "vectorbt_rust": "vectorbt_rust",
    "hftbacktest": "hftbacktest",
    "backtesting": "backtesting",
    "pybroker": "pybroker",
    "nautilus": "nautilus_trader",
}


@pytest.fixture(scope="module")
def market():
    handle = generated(2_000)
    ticks = attach(handle)
    request = {
        "bid": str(column_path(handle.path, "bid")),
        "ask": str(column_path(handle.path, "ask")),
        "n_ticks": handle.n_ticks,
        "pairs": PAIRS,
        "round_s": 0.02,
        "terms": {
            "rate": 2e-5,
            "cash": 1e5,
            "decimals": peers.decimals(ticks.bid, ticks.ask),
            "handle": asdict(handle),
        },
    }
    return SimpleNamespace(request=request, bid=ticks.bid, ask=ticks.ask)


def expected(market, n_ticks=None, n_variants=None):
    """What Sweep finds on the first ticks and variants."""
    return with_sweep.load(
        market.bid[:n_ticks], market.ask[:n_ticks], PAIRS[:n_variants], market.request["terms"]
    )()()


@pytest.mark.parametrize("module", [with_numpy, with_pandas])
@pytest.mark.parametrize("n_ticks", [None, 150, 7])
def test_plain_arms_find_what_sweep_finds(market, module, n_ticks):
    bid, ask = market.bid[:n_ticks], market.ask[:n_ticks]
    rows = module.load(bid, ask, PAIRS, market.request["terms"])()()
    assert peers.differences(rows, expected(market, n_ticks)).same
    assert n_ticks is not None or rows[1][1] > 10


@pytest.mark.parametrize("module", [with_numpy, with_pandas])
def test_an_order_of_the_tick_before_the_last_is_filled_and_closed_at_the_last(module, market):
    # The first decision is that of tick 1, here the last but one.
    bid, ask = market.bid[:3], market.ask[:3]
    rows = module.load(bid, ask, PAIRS, market.request["terms"])()()
    assert [fills for _, fills, _ in rows] == [2, 2, 2]
    assert peers.differences(rows, expected(market, 3)).same


def test_an_arm_runs_the_same_simulation_every_round(market):
    begin = with_numpy.load(market.bid, market.ask, PAIRS, market.request["terms"])
    assert begin()() == begin()()


def answered(name, *requests):
    """Answers of a server in this process."""
    found = []
    lines = io.StringIO("".join(json.dumps(r) + "\n" for r in requests))
    serve.answers_to(name, lines, lambda answer: found.append(json.loads(json.dumps(answer))))
    return found


def test_an_arm_answers_each_request_with_one_line(market):
    opened, timed, evaluated, wrong = answered(
        "numpy",
        {"do": "open", **market.request},
        {"do": "round"},
        {"do": "evaluate", "n_ticks": 100, "n_variants": 2},
        {"do": "dance"},
    )
    assert opened["versions"]["numpy"] == np.__version__
    assert opened["accounting"] == with_numpy.ACCOUNTING
    assert len(opened["rows"]) == opened["n_variants"] <= len(PAIRS)
    assert opened["n_ticks"] <= len(market.bid)
    assert timed["seconds"] >= 0.0
    assert peers.differences(evaluated["rows"], expected(market, 100, 2)).same
    assert "'dance'" in wrong["error"]


def test_an_arm_says_what_is_missing_and_what_failed(market, monkeypatch):
    monkeypatch.setitem(sys.modules, "backtesting", None)
    assert answered("backtesting", {"do": "open", **market.request}) == [{"missing": "backtesting"}]
    (failed,) = answered("numpy", {"do": "open", **market.request, "bid": "nowhere"})
    assert "FileNotFoundError" in failed["error"]
    (early,) = answered("numpy", {"do": "round"})
    assert "before 'open'" in early["error"]


@pytest.mark.parametrize(
    ("seconds_a_tick", "most", "size"),
    [(0.0, 1 << 30, (2_500, 3)), (1e-5, 1 << 30, (2_000, 1)), (0.0, 5_000, (2_500, 2))],
)
def test_an_arm_takes_all_ticks_first_and_then_variants(
    market, monkeypatch, seconds_a_tick, most, size
):
    clock = [0.0]

    def load(bid, ask, pairs, terms):
        def run():
            clock[0] += seconds_a_tick * len(bid) * len(pairs)
            return []

        return lambda: run

    arm = serve.Arm("numpy", market.request)
    arm.bid, arm.ask = np.ones(2_500), np.ones(2_500)
    arm.module = SimpleNamespace(load=load, MOST=most)
    monkeypatch.setattr(serve.time, "process_time", lambda: clock[0])
    assert arm.size() == size


def test_results_that_differ_are_found():
    reference = [(10.0, 4, 1.0), (-2.0, 2, 0.5)]
    assert peers.differences(reference, reference).same
    assert peers.differences([(10.0 + 1e-9, 4, 1.0), (-2.0, 2, 0.5)], reference).same
    assert not peers.differences([(10.0 + 1e-7, 4, 1.0), (-2.0, 2, 0.5)], reference).same
    assert not peers.differences([(10.0, 5, 1.0), (-2.0, 2, 0.5)], reference).same
    assert not peers.differences([(10.0, 4, 1.1), (-2.0, 2, 0.5)], reference).same
    assert not peers.differences([(math.nan, 4, 1.0), (-2.0, 2, 0.5)], reference).same
    assert not peers.differences([(10.0, 4, math.nan), (-2.0, 2, 0.5)], reference).same


def test_variants_are_whole_windows_and_the_first_stay_the_same():
    found = peers.variants(256)
    assert found[:9] == peers.variants(9)
    assert len(set(found)) == 256
    assert all(2 <= fast < slow and fast == int(fast) and slow == int(slow) for fast, slow in found)


def test_decimals_of_prices():
    assert peers.decimals(np.array([1.0, 7.0])) == 0
    assert peers.decimals(np.array([1291.677, 1292.0]), np.array([1.5, 2.0])) == 3
    assert peers.decimals(np.array([1.0 / 3.0])) == 8


def test_another_interpreter_can_be_named_for_all_or_for_one():
    assert peers.interpreters("") == {"": sys.executable}
    assert peers.interpreters("/bin/sh") == {"": "/bin/sh"}
    found = peers.interpreters(f"/bin/sh, vectorbt={sys.executable}")
    assert found == {"": "/bin/sh", "vectorbt": sys.executable}
    with pytest.raises(InputError, match="no arm 'vektorbt'; did you mean \"vectorbt\""):
        peers.interpreters(f"vektorbt={sys.executable}")
    with pytest.raises(InputError, match="no interpreter '/nowhere/python'"):
        peers.interpreters("pybroker=/nowhere/python")


def test_another_interpreter_does_not_see_this_ones_packages(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in peers._environment("/usr/bin/python3")
    assert peers._environment(sys.executable)["PYTHONPATH"].endswith("/somewhere")
    assert peers._environment(sys.executable)["NUMBA_NUM_THREADS"] == "1"


ARMS = {
    "absent": "import no_such_peer\n",
    "dying": "import os\nos._exit(3)\n",
    "failing": "raise RuntimeError('out of sorts')\n",
    "wrong": (
        "PACKAGES, ACCOUNTING, MOST = ('numpy',), 'guesses', 9999\n"
        "def load(bid, ask, pairs, terms):\n"
        "    print('noise')\n"
        "    return lambda: lambda: [(1.0, 1, 1.0) for _ in pairs]\n"
    ),
}


@pytest.mark.slow
def test_peers_that_are_missing_or_fail_or_differ_are_left_out_with_a_word(tmp_path, monkeypatch):
    here = Path(serve.__file__).parent
    for name in ("serve.py", "with_sweep.py", "with_numpy.py"):
        shutil.copy(here / name, tmp_path / name)
    for name, text in ARMS.items():
        (tmp_path / f"with_{name}.py").write_text(text)
    monkeypatch.setattr(peers, "ARMS_FOLDER", tmp_path)
    arms = {name: peers.Arm(f"pip-{name}") for name in ("numpy", *ARMS)}
    monkeypatch.setattr(peers, "ARMS", arms)
    monkeypatch.delenv(peers.PYTHON_VARIABLE, raising=False)
    result = peers.run(Settings(quick=True))
    assert [f.name for f in result.figures] == ["sweep_ns", "numpy_ns", "sweep_over_numpy"]
    assert all(f.median > 0.0 for f in result.figures)
    said = "\n".join(result.notes)
    assert "skipped absent: no module 'no_such_peer'; pip install pip-absent" in said
    assert "skipped dying: its process ended with 3" in said
    assert "skipped failing: RuntimeError: out of sorts" in said
    assert "not timed, results differ from Sweep's: wrong" in said
    ((_, columns, rows),) = result.tables
    assert [row[0] for row in rows] == ["sweep", "numpy"]
    assert rows[1][columns.index("profit_apart")] <= peers.TOLERANCE


def test_a_bench_without_its_own_arm_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "ARMS_FOLDER", tmp_path)
    monkeypatch.delenv(peers.PYTHON_VARIABLE, raising=False)
    with pytest.raises(BenchError, match=r"sweep: its process ended with 2: .*serve\.py"):
        peers.run(Settings(quick=True))


@pytest.mark.parametrize("name", MODULES)
def test_an_installed_peer_finds_what_sweep_finds(name, market):
    if importlib.util.find_spec(MODULES[name]) is None:
        pytest.skip(f"{MODULES[name]} is not installed")
    process = peers.Process(name, sys.executable)
    try:
        sized = process.open({**market.request, "round_s": 0.01})
        assert process.round() > 0.0
    finally:
        process.close()
    reference = expected(market, sized.n_ticks, sized.n_variants)
    assert peers.differences(sized.rows, reference).same
