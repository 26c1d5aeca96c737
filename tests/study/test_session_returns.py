"""What every variant returned in each session is kept, and how many were tried is not forgotten."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_helpers import STRATEGY, run_small, write_study

from sweep.api import create_study
from sweep.backtest import feature_blocks, tasks
from sweep.backtest.tasks import Task, evaluate
from sweep.engines.local import LocalEngine
from sweep.engines.serial import SerialEngine
from sweep.errors import InputError, LedgerError
from sweep.schema import ROW, FloatArray1D, Slice
from sweep.study import exhaustive_run
from sweep.study.amend import record_evaluations
from sweep.study.folder import read_manifest, write_manifest
from sweep.study.ledger import Ledger
from sweep.study.records import Partial, TrialSpan
from sweep.study.runner import run_study
from sweep.study.session_returns import SessionReturns
from sweep.study.study import Study
from sweep.ticks.sessions import cells_of, earned_in_cells, find_cuts, find_sessions, session_sums

SYNTH = "data.synth={sessions=7, ticks_per_session=400, seed=3}"
FEATURES = STRATEGY.replace(
    "def step(state, tick, params):",
    """class Features(NamedTuple):
    wide: float


def features(ticks, params):
    return Features((ticks.ask - ticks.bid) * (1.0 + params.wait))


def lookback(params):
    return 0


def step(state, tick, params, features):""",
).replace("    if params.pause", "    if features.wide > 2.5 * tick.spread and params.pause")
PRUNED = ('study.pruner={name="median", n_startup_trials=3, n_warmup_steps=0}', "study.trials=16")

CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "grid": ({"sampler": "grid"}, ('study.sampler={name="grid", points=2}',)),
    "random": ({"sampler": "random", "trials": 20}, ("data.slices=5",)),
    "independent": (
        {"sampler": "random", "trials": 12},
        ("data.slices=5", 'data.slicing="independent"'),
    ),
    "tpe": ({"trials": 10}, ()),
    "pruned": ({}, (*PRUNED, "data.slices=9")),
    "pruned independent": ({}, (*PRUNED, "data.slices=4", 'data.slicing="independent"')),
    "features": ({"trials": 8, "strategy": FEATURES}, ("data.slices=3",)),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of some trials, so that small studies have several."""
    monkeypatch.setattr(exhaustive_run, "PART", 16)


def run_case(folder: Path, case: str, *settings: str, out: str = "out") -> Study:
    kinds, own = CASES[case]
    return run_small(folder, SYNTH, *own, *settings, out=out, **kinds)[0]


def same(a: SessionReturns, b: SessionReturns) -> bool:
    """Whether two matrices are the same to the bit."""
    return all(
        np.asarray(getattr(a, n)).tobytes() == np.asarray(getattr(b, n)).tobytes()
        for n in ("numbers", "edges", "returns", "capital")
    )


def by_replay(study: Study, number: int, edges: np.ndarray[Any, Any]) -> FloatArray1D:
    """Return a trial's returns by session from the equity of its replay at every tick."""
    setup, trial = study.setup, study.board.trial(number)
    found = study.replay(number).replay
    slices = study._evaluated_slices(trial)
    runs = [(slices[0].begin, slices[-1].end)]
    if not setup.carry_over:
        runs = [(s.begin, s.end) for s in slices]
    changes = np.full(len(study.mapped_ticks.ts), np.nan)
    at = 0
    for begin, end in runs:
        equity = found.equity[at : at + end - begin]
        changes[begin:end] = np.diff(equity, prepend=setup.context.account.capital)
        at += end - begin
    ts = study.mapped_ticks.ts
    places = np.searchsorted(ts, edges)
    return np.array([changes[a:b].sum() for a, b in pairwise(places)])


@pytest.mark.parametrize("case", CASES)
def test_returns_are_those_of_the_replay(tmp_path: Path, case: str) -> None:
    """Each variant's returns are the differences of its replay's equity at the sessions' ends."""
    study = run_case(tmp_path, case)
    found = study.session_returns()
    board, capital = study.board, study.manifest["capital"]
    begin, end, _ = study.manifest["search"]
    ts = study.mapped_ticks.ts
    sessions = find_sessions(ts, begin, end)
    assert found.n_sessions == len(sessions) > 4
    assert found.edges.tolist() == [*ts[sessions.begins].tolist(), int(ts[end - 1]) + 1]
    assert found.capital == capital
    evaluated = (board.n_slices > 0) & (board.duplicate_of < 0)
    assert found.numbers.tolist() == np.flatnonzero(evaluated).tolist()
    assert found.returns.shape == (len(sessions), len(found.numbers))
    assert found.returns.dtype == np.float64
    assert study.evaluations() == len(found.numbers)
    states = np.array(board.states)[found.numbers]
    assert ("pruned" in case) == ("pruned" in states)
    for k, number in enumerate(found.numbers.tolist()):
        expected = by_replay(study, number, found.edges) / capital
        np.testing.assert_allclose(found.returns[:, k], expected, rtol=1e-6, atol=1e-9)
        assert np.isnan(found.returns[:, k]).any() == (states[k] == "pruned")
        if states[k] != "pruned":
            net = study.metrics(number)["net_profit"] / capital
            np.testing.assert_allclose(found.returns[:, k].sum(), net, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", ["random", "independent", "features"])
def test_edges_change_no_row_and_earnings_add_up(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows have the same bits with and without edges; earnings sum to the profit; any batch."""
    kinds, own = CASES[case]
    setup = create_study(
        write_study(tmp_path, **kinds), out=tmp_path / "out", overrides=(SYNTH, *own)
    ).setup
    rng = np.random.default_rng(1)
    params = np.repeat(setup.space.defaults[None], 70, axis=0)
    params[:, 0] = rng.integers(2, 30, 70)
    params[:, 1] = rng.uniform(31, 90, 70)
    edges = setup.sessions.edges
    task = Task(0, params, setup.slices, setup.carry_over)
    monkeypatch.setattr(feature_blocks, "BLOCK", 300)
    plain = evaluate(setup.context, task)
    found = evaluate(setup.context, replace(task, edges=edges))
    assert plain.equity is None
    assert found.equity is not None
    assert found.rows.tobytes() == plain.rows.tobytes()
    rows = found.rows[:, -1:] if setup.carry_over else found.rows
    profit = (rows["equity"] - rows["capital"]).sum(axis=1)
    cells = cells_of(setup.slices, edges)
    before = np.full(70, setup.context.account.capital)
    earned = earned_in_cells(found.equity, cells, before, carry_over=setup.carry_over)
    np.testing.assert_allclose(earned.sum(axis=1), profit, rtol=1e-12, atol=1e-9)
    assert np.abs(earned).sum(axis=1).min() > 0

    # Every tick an edge: a row of each would take far more than is held at a time.
    monkeypatch.setattr(tasks, "_ROWS", 64)
    blocks = evaluate(setup.context, replace(task, edges=edges), 2)
    assert blocks.rows.tobytes() == plain.rows.tobytes()
    assert blocks.equity is not None
    assert blocks.equity.tobytes() == found.equity.tobytes()
    begin, end = setup.slices[0].begin, setup.slices[-1].end
    each = evaluate(
        setup.context, replace(task, params=params[:3], edges=tuple(range(begin, end + 1)))
    )
    assert each.rows.tobytes() == plain.rows[:3].tobytes()
    alone = [
        evaluate(setup.context, replace(task, params=params[v : v + 1], edges=edges)).equity
        for v in range(3)
    ]
    assert np.concatenate(alone).tobytes() == found.equity[:3].tobytes()  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["random", "pruned", "pruned independent"])
def test_batches_and_kills_change_no_bit(tmp_path: Path, case: str) -> None:
    """Whatever the batch, and wherever the ledger ends after a kill, the matrix is the same."""
    whole = run_case(tmp_path, case)
    expected = whole.session_returns()
    assert same(run_case(tmp_path, case, "compute.batch=3", out="b").session_returns(), expected)

    kinds, own = CASES[case]
    overrides = (SYNTH, *own)
    out = tmp_path / "broken off"
    ledger = out / "ledger.bin"
    slow = (*overrides, "compute.batch=1")
    study = create_study(write_study(tmp_path, **kinds), out=out, overrides=slow)
    run_study(study, engine=SerialEngine(), interrupts=lambda: int(ledger.stat().st_size > 4_000))
    assert len(study.board) < len(whole.board)
    rng = random.Random(case)
    for k in range(3):
        torn = tmp_path / f"torn {k}"
        shutil.copytree(out, torn)
        with open(torn / "ledger.bin", "r+b") as file:
            file.truncate(rng.randrange(20, ledger.stat().st_size))
        study = create_study(write_study(tmp_path, **kinds), out=torn, overrides=overrides)
        run_study(study, engine=SerialEngine())
        resumed = Study.open(torn)
        assert same(resumed.session_returns(), expected)
        assert resumed.evaluations() == whole.evaluations()


def test_workers_change_no_bit(tmp_path: Path) -> None:
    """Two worker processes return what one does."""
    kinds, own = CASES["random"]
    expected = run_case(tmp_path, "random").session_returns()
    path = write_study(tmp_path, **kinds)
    study = create_study(path, out=tmp_path / "two", overrides=(SYNTH, *own))
    run_study(study, engine=LocalEngine(2))
    assert same(Study.open(tmp_path / "two").session_returns(), expected)


def test_a_damaged_part_is_said_and_comes_again(tmp_path: Path) -> None:
    """A missing part leaves no smaller matrix, takes nothing from the count, and comes back."""
    whole = run_case(tmp_path, "random")
    expected, count = whole.session_returns(), whole.evaluations()
    part = sorted((tmp_path / "out" / "trials").glob("*.parquet"))[0]
    data = bytearray(part.read_bytes())
    part.unlink()
    damaged = Study.open(tmp_path / "out")
    assert damaged.evaluations() == count
    with pytest.raises(LedgerError, match=r"part-0+\.parquet.*sweep run"):
        damaged.session_returns()
    data[len(data) // 2] ^= 0xFF
    part.write_bytes(data)
    again = run_case(tmp_path, "random")
    assert same(again.session_returns(), expected)
    assert again.evaluations() == count


def test_parts_can_be_read_by_others(tmp_path: Path) -> None:
    """The column of a part is a list of float32 by session, NaN for trials that repeat another."""
    import pyarrow.parquet as pq

    study = run_case(tmp_path, "random")
    files = sorted((study.folder / "trials").glob("*.parquet"))
    values = np.concatenate(
        [np.stack(pq.read_table(f)["session_returns"].to_numpy()) for f in files]  # type: ignore[no-untyped-call]
    )
    found = study.session_returns()
    assert values.dtype == np.float32
    assert values[found.numbers].astype(np.float64).tobytes() == found.returns.T.tobytes()
    assert np.isnan(values[study.board.duplicate_of >= 0]).all()


def test_failed_variants_count_and_have_no_returns(tmp_path: Path) -> None:
    """A variant that raises is no column of the matrix, and was tried all the same."""
    broken = STRATEGY.replace(
        "    up = fast > slow\n",
        "    up = fast > slow\n    if params.fast == 4.0:\n        raise ValueError('four')\n",
    )
    kinds: dict[str, Any] = {"sampler": "random", "trials": 30, "strategy": broken}
    settings = (SYNTH, "study.max_failures=1.0", "space.fast=3:6:1", "space.pause=false")
    study, _ = run_small(tmp_path, *settings, **kinds)
    failed = study.board.in_state("failed") & (study.board.duplicate_of < 0)
    found = study.session_returns()
    assert 0 < failed.sum() < len(study.board)
    assert not np.isin(np.flatnonzero(failed), found.numbers).any()
    assert np.isfinite(found.returns).all()
    assert study.evaluations() == len(found.numbers) + failed.sum()


@pytest.mark.parametrize("pruner", ["", "median"])
def test_robust_studies_keep_the_history(tmp_path: Path, pruner: str) -> None:
    """Where trials are judged over paths, the returns are those of the history, pruned or not."""
    settings = (SYNTH, 'study.objective="quantile(net_profit, 0.25)"', "monte_carlo.paths=4")
    if pruner:
        options = "n_startup_trials=2, n_warmup_steps=0"
        own = f'study.pruner={{name="{pruner}", {options}}}'
        settings = (*settings, own, "monte_carlo.step=1", "study.window=2")
    study, _ = run_small(tmp_path, *settings, trials=14)
    found = study.session_returns()
    assert len(found.numbers) == study.evaluations() > 2
    assert ("pruned" in study.board.states) == bool(pruner)
    assert np.isfinite(found.returns).all()
    for k, number in enumerate(found.numbers.tolist()):
        expected = by_replay(study, number, found.edges) / found.capital
        np.testing.assert_allclose(found.returns[:, k], expected, rtol=1e-6, atol=1e-9)


def test_what_cannot_be_said_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that were evaluated without keeping it are named; the study can be continued."""
    kinds: dict[str, Any] = {"sampler": "random", "trials": 30, "out": "mixed"}
    run_small(tmp_path, SYNTH, "data.holdout=0", "study.trials=10", **kinds)
    monkeypatch.setattr(Study, "session_edges", ())
    mixed, _ = run_small(tmp_path, SYNTH, "data.holdout=0", **kinds)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"cannot be said, because trials from 10 on.*version"):
        mixed.session_returns()
    assert mixed.evaluations() == 30


def test_sessions_are_kept_up_to_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.ticks.sessions.MOST", 6)
    for store in ("disk", "stream"):
        own = ("data.holdout=0", f'data.store="{store}"')
        study = run_case(tmp_path, "random", *own, out=store)
        assert study.evaluations() == 20
        with pytest.raises(InputError, match="because the search range has 7 sessions, and 6 at"):
            study.session_returns()


def test_a_pass_keeps_the_sessions_of_its_study_or_none(tmp_path: Path) -> None:
    """Where the survey finds others than the study was begun with, it says so and keeps none."""
    stream = 'data.store="stream"'
    kinds: dict[str, Any] = {"sampler": "random", "out": "out"}
    first, _ = run_small(tmp_path, SYNTH, stream, trials=8, **kinds)
    path = first.folder / "study.json"
    manifest, _ = read_manifest(path)
    manifest["sessions"]["edges"][2] += 1
    write_manifest(path, manifest)
    longer, summary = run_small(tmp_path, SYNTH, stream, trials=16, **kinds)
    assert any("not kept from here on" in text for text in summary.messages)
    with pytest.raises(InputError, match="trials from 8 on were evaluated"):
        longer.session_returns()

    # As the versions did that kept none in passes: nothing new is kept, and nothing is said.
    manifest["sessions"] = {"edges": [], "reason": "they lay nowhere"}
    write_manifest(path, manifest)
    longest, summary = run_small(tmp_path, SYNTH, stream, trials=24, **kinds)
    assert len(longest.board) == 24
    assert longest.session_edges == ()
    assert not summary.messages
    with pytest.raises(InputError, match="cannot be said, because they lay nowhere"):
        longest.session_returns()


def test_evaluations_elsewhere_are_not_forgotten(tmp_path: Path) -> None:
    """What folds tried is on record once, the highest count, and outlives a longer run."""
    study = run_case(tmp_path, "random")
    own = study.evaluations()
    record_evaluations(study, "fold 0", 7)
    record_evaluations(study, "fold 1", 5)
    record_evaluations(study, "fold 0", 7)
    record_evaluations(study, "fold 0", 3)
    assert study.evaluations() == Study.open(study.folder).evaluations() == own + 12
    with pytest.raises(InputError, match="source"):
        record_evaluations(study, "", 1)
    kinds, settings = CASES["random"]
    longer, _ = run_small(tmp_path, SYNTH, *settings, "study.trials=40", **kinds)
    assert longer.evaluations() == longer.board.evaluated() + 12


def test_records_without_sessions_can_be_read(tmp_path: Path) -> None:
    """Records keep their returns, and those written before there were any lack them."""
    ledger = Ledger(tmp_path / "ledger.bin")
    ledger.open()
    rows, of = np.zeros(2, ROW), np.full(2, -1)
    returns = np.arange(6, dtype=np.float32).reshape(2, 3)
    ledger.append(TrialSpan(0, np.zeros((2, 1)), of, rows, (), returns))
    ledger.append(TrialSpan(2, np.zeros((0, 1)), of[:0], rows[:0], (), returns[:0]))
    ledger.append(TrialSpan(2, np.zeros((2, 1)), of, rows))
    ledger.append(Partial(np.zeros(1), (0,), rows[:1], None, "", np.array([1.0, 2.0])))
    ledger.append(Partial(np.zeros(1), (0,), rows[:1]))
    ledger.close()
    first, empty, second, third, fourth = ledger.read()
    assert isinstance(first, TrialSpan)
    assert isinstance(second, TrialSpan)
    assert isinstance(empty, TrialSpan)
    assert first.sessions is not None
    assert first.sessions.tobytes() == returns.tobytes()
    assert empty.sessions is not None
    assert len(empty.sessions) == 0
    assert second.sessions is None
    assert isinstance(third, Partial)
    assert isinstance(fourth, Partial)
    assert third.earned is not None
    assert third.earned.tolist() == [1.0, 2.0]
    assert fourth.earned is None


# -- cutting ---------------------------------------------------------------------------

HOUR = 3_600_000_000_000


def test_days_stand_for_sessions_where_a_market_has_none() -> None:
    """Gaps part sessions; a market that never closes, and hourly ticks, are cut into days."""
    minute = HOUR // 60
    day = np.arange(600) * minute
    closing = np.concatenate([day + k * 24 * HOUR for k in range(5)])
    found = find_cuts(closing, 0, len(closing))
    assert found.edges == (0, 600, 1200, 1800, 2400, 3000)
    assert found.stamps[-1] == closing[-1] + 1
    never = np.arange(0, 20 * 24 * HOUR, 10 * minute)
    assert len(find_cuts(never, 0, len(never)).edges) == 21
    # Open from Sunday at 21:00 to Friday at 21:00: five days, the first from the evening on.
    monday = 4 * 24 * HOUR  # 1970-01-05
    week = np.arange(0, 5 * 24 * HOUR, 10 * minute) + monday - 3 * HOUR
    weeks = np.concatenate([week + k * 7 * 24 * HOUR for k in range(6)])
    found = find_cuts(weeks, 0, len(weeks))
    assert len(found.edges) == 31
    begins = np.array(found.stamps[:-1]).reshape(6, 5) - 7 * 24 * HOUR * np.arange(6)[:, None]
    assert (begins == monday + 24 * HOUR * np.array([-1 / 8, 1, 2, 3, 4])).all()
    # What is left of a day at either end goes with the day beside it.
    part = find_cuts(week, 6, int(np.searchsorted(week, monday + 51 * HOUR)))
    assert part.stamps == (week[6], monday + 24 * HOUR, monday + 51 * HOUR - 10 * minute + 1)
    hourly = np.arange(100 * 24) * HOUR
    assert len(find_cuts(hourly, 0, len(hourly)).edges) == 101
    daily = np.arange(50) * 24 * HOUR
    assert len(find_cuts(daily, 10, 50).edges) == 41
    lasting = np.arange(10_000) * 24 * HOUR
    many = find_cuts(lasting, 0, len(lasting))
    assert many.edges == ()
    assert "10,000 sessions" in many.reason


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(1, 60), min_size=1, max_size=8, unique=True),
    st.booleans(),
)
def test_cells_add_up_whatever_the_cuts(
    slice_ends: list[int], session_ends: list[int], carry_over: bool
) -> None:
    """Earnings of cells, summed by session, are the sums of the changes at each tick."""
    n = max(slice_ends + session_ends)
    slices = [Slice(a, b, 0) for a, b in pairwise([0, *sorted({*slice_ends, n})])]
    edges = (0, *sorted({*session_ends, n}))
    changes = np.arange(1.0, n + 1) ** 2
    cells = cells_of(slices, edges)
    ends, k = [], 0
    for part in slices:
        for b in [e for e in edges if part.begin < e < part.end] + [part.end]:
            ends.append((part.begin, b))
            assert cells[k].place == slices.index(part)
            k += 1
    assert k == len(cells)
    equity = np.array([changes[0 if carry_over else a : b].sum() for a, b in ends])[None] + 100.0
    earned = earned_in_cells(equity, cells, np.array([100.0]), carry_over=carry_over)
    sums = session_sums(earned, cells, len(edges) - 1)[0]
    assert sums.tolist() == [changes[a:b].sum() for a, b in pairwise(edges)]
