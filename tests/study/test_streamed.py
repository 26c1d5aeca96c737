"""Studies whose points depend on nothing: evaluated by batches, kept in Parquet parts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_helpers import SERIAL, sweep
from study_helpers import ROOT, STRATEGY, killed_runs, run_small, same_results, write_study

from sweep.api import create_study
from sweep.backtest.tasks import Task, evaluate
from sweep.engines.serial import SerialEngine
from sweep.errors import ReplayMismatchError, SpaceError
from sweep.report.snapshot import Snapshot
from sweep.schema import ROW
from sweep.stats.metrics import METRICS
from sweep.study import exhaustive_run
from sweep.study.proposals import make_points
from sweep.study.records import COMPLETE, Finished, Part, TrialSpan
from sweep.study.runner import run_study
from sweep.study.setup import starting_points
from sweep.study.study import Study
from sweep.study.trial_archive import Archive
from sweep.study.trials import BLOCK, Board, TrialBlock
from sweep.text import STATES
from tests.backtest.test_sameness import DisorderlyEngine

GRID = ('study.sampler={name="grid", points=4}', 'space.fast="2:40:19"', 'space.wait="0:20:10"')
FINITE = STRATEGY.replace("real(10, 400, log=True, default=50)", "integer(8, 20, default=10)")
FINITE = FINITE.replace("real(2, 40, default=5, step=1)", "integer(2, 12, default=5)")
FINITE = FINITE.replace("slow: float", "slow: int").replace("fast: float = i", "fast: int = i")

CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "grid": ({"sampler": "grid", "trials": 500}, GRID),
    "random": ({"sampler": "random", "trials": 70}, ()),
    "qmc": ({"sampler": "qmc", "trials": 70}, ('study.objective=["sharpe", "max_drawdown"]',)),
    "repeats": ({"sampler": "random", "trials": 120, "strategy": FINITE}, ("space.pause=false",)),
    "independent": (
        {"sampler": "random", "trials": 40},
        ('data.slicing="independent"', "data.slices=5", 'study.constraints=["trades >= 60"]'),
    ),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of some trials, so that small studies have several."""
    monkeypatch.setattr(exhaustive_run, "PART", 16)


def plainly(study: Study) -> Board:
    """Evaluate every point by itself, judge it by itself, and share what comes again."""
    spec, setup = study.spec, study.setup
    points = make_points(spec.study, study.space, starting_points(spec, study.space))
    board = Board(len(study.space.names), len(study.directions), len(spec.study.constraints))
    seen: dict[bytes, Finished] = {}
    for k, params in enumerate(points.rows(0, spec.study.trials or 0)):
        first = seen.get(params.tobytes())
        if first is None:
            task = Task(0, params[None], setup.slices, setup.carry_over)
            rows = evaluate(setup.context, task).rows[0]
            row = rows[-1]
            if not setup.carry_over:
                from sweep.stats.metrics import merge

                whole = rows[:1]
                for m in range(1, len(rows)):
                    whole = merge(whole, rows[m : m + 1])
                row = whole[0]
            judged = study.judge(np.array([row], ROW))[0]
            trial = Finished(
                k,
                params,
                judged.state,
                row,
                judged.values,
                judged.violations,
                len(setup.slices),
                reason=judged.reason,
            )
            seen[params.tobytes()] = trial
        else:
            fields = {**first.__dict__, "number": k, "duplicate_of": first.number}
            trial = Finished(**fields)
        board.add(trial)
        if board.evaluated() == study.space.exact_size():
            break
    return board


@pytest.mark.parametrize("case", CASES)
def test_a_streamed_study_has_the_bits_of_evaluating_each_point(tmp_path: Path, case: str) -> None:
    kinds, settings = CASES[case]
    study, summary = run_small(tmp_path, *settings, **kinds)
    assert isinstance(study.board, Archive)
    assert len(study.board.parts) > 1
    plain = plainly(create_study(tmp_path / "study.toml", out=tmp_path / "x", overrides=settings))
    found = study.board
    assert len(found) == len(plain) == summary.finished
    assert found.params.tobytes() == plain.params.tobytes()
    assert found.rows.tobytes() == plain.rows.tobytes()
    assert found.values.tobytes() == plain.values.tobytes()
    assert found.violations.tobytes() == plain.violations.tobytes()
    assert found.states == plain.states
    assert found.reasons == plain.reasons
    assert found.duplicate_of.tolist() == plain.duplicate_of.tolist()
    assert found.n_slices.tolist() == plain.n_slices.tolist()
    assert found.counts() == plain.counts()
    assert found.evaluated() == plain.evaluated()
    assert found.best(study.directions, 1000) == plain.best(study.directions, 1000)
    assert summary.best == tuple(plain.best(study.directions, 10))
    for k in (0, 15, 16, len(found) - 1):
        assert found.trial(k).row.tobytes() == plain.trial(k).row.tobytes()
        assert found.trial(k).reason == plain.trial(k).reason
        assert found.find(plain.params[k]) == plain.find(plain.params[k])
    some = np.array([5, 33, 2, 2, len(found) - 1, 17])
    assert found.select(some).rows.tobytes() == plain.select(some).rows.tobytes()
    with pytest.raises(IndexError, match="no trial"):
        found.trial(len(found))


@pytest.mark.parametrize("case", CASES)
def test_order_of_arrival_losses_and_batches_change_nothing(tmp_path: Path, case: str) -> None:
    kinds, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, **kinds)
    for seed, batch in ((0, 1), (1, 7), (2, 100)):
        study = create_study(
            tmp_path / "study.toml",
            out=tmp_path / f"out{seed}",
            overrides=(*settings, f"compute.batch={batch}"),
        )
        run_study(study, engine=DisorderlyEngine(seed, loses=0.05 if batch > 1 else 0.0))
        assert same_results(plain, Study.open(tmp_path / f"out{seed}"))


def kill_at_random(
    tmp_path: Path, case: str, rng: random.Random, kills: int, harm: Callable[[Path], None]
) -> Study:
    """Kill a study's process at random moments, do some harm each time, and finish it."""
    kinds, settings = CASES[case]
    path = write_study(tmp_path, **kinds)
    out = tmp_path / "killed"
    # Less, together, than the calls that follow the first record, in each case.
    calls = (rng.randrange(60_000 // kills) for _ in range(kills))
    small = f"import {exhaustive_run.__name__} as flow; flow.PART = 16"
    for _ in killed_runs(path, out, calls, "compute.batch=3", *settings, first=small):
        Study.open(out).board.counts()  # can be read as it is
        harm(out)
    study = create_study(path, out=out, overrides=settings)
    run_study(study, engine=SerialEngine())
    return Study.open(out)


def nothing(out: Path) -> None:
    """Leave the files as they are."""


def tear_newest(out: Path) -> None:
    """Cut the newest part."""
    parts = sorted((out / "trials").glob("*.parquet"), key=lambda p: p.stat().st_mtime_ns)
    if parts:
        os.truncate(parts[-1], parts[-1].stat().st_size // 2)


def delete_first(out: Path) -> None:
    """Delete the first part."""
    (out / "trials" / "part-000000000.parquet").unlink(missing_ok=True)


def flip_bits(out: Path) -> None:
    """Flip a bit of every part, and tear the ledger."""
    for part in (out / "trials").glob("*.parquet"):
        data = bytearray(part.read_bytes())
        data[len(data) // 3] ^= 4
        part.write_bytes(data)
    os.truncate(out / "ledger.bin", max((out / "ledger.bin").stat().st_size - 9, 0))


HARMS = {f.__name__: f for f in (nothing, tear_newest, delete_first, flip_bits)}


@pytest.mark.parametrize(("case", "harm"), [("repeats", "delete_first")])
def test_a_killed_study_goes_on_to_the_same_bits(tmp_path: Path, case: str, harm: str) -> None:
    kinds, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, **kinds)
    resumed = kill_at_random(tmp_path, case, random.Random(case), 2, HARMS[harm])
    assert same_results(plain, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("case", CASES)
def test_a_killed_and_harmed_study_goes_on_to_the_same_bits(
    tmp_path: Path, case: str, harm: str
) -> None:
    kinds, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, **kinds)
    resumed = kill_at_random(tmp_path, case, random.Random(f"{case} {harm}"), 5, HARMS[harm])
    assert same_results(plain, resumed)
    assert resumed.board.reasons == plain.board.reasons


@pytest.mark.parametrize("harm", ["tear_newest", "delete_first", "flip_bits"])
@pytest.mark.parametrize("case", ["random", "repeats"])
def test_damaged_parts_are_said_and_evaluated_again(tmp_path: Path, case: str, harm: str) -> None:
    kinds, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, **kinds)
    plain.board.rows.tobytes()  # read before the harm
    HARMS[harm](tmp_path / "out")
    study = create_study(tmp_path / "study.toml", out=tmp_path / "out", overrides=settings)
    summary = run_study(study, engine=SerialEngine())
    assert "evaluated again" in summary.messages[0]
    assert summary.evaluation_s > 0.0
    assert same_results(plain, Study.open(tmp_path / "out"))


def test_a_finished_study_runs_again_without_evaluating(tmp_path: Path) -> None:
    kinds, settings = CASES["repeats"]
    plain, _ = run_small(tmp_path, *settings, **kinds)
    before = {p: p.read_bytes() for p in (tmp_path / "out" / "trials").iterdir()}
    study = create_study(tmp_path / "study.toml", out=tmp_path / "out", overrides=settings)
    summary = run_study(study, engine=SerialEngine())
    assert (summary.evaluation_s, summary.finished) == (0.0, len(plain.board))
    assert {p: p.read_bytes() for p in (tmp_path / "out" / "trials").iterdir()} == before


def test_an_interrupted_and_extended_study_equals_the_long_one(tmp_path: Path) -> None:
    run_small(tmp_path, sampler="random", trials=20)
    asked = iter(range(10_000))
    for trials in (50, 50, 77):
        study = create_study(tmp_path / "study.toml", out=tmp_path / "out", trials=trials)
        # The first run is interrupted after some looks.
        run_study(study, engine=SerialEngine(), interrupts=lambda: int(3 < next(asked) < 9))
    whole, _ = run_small(tmp_path, "study.trials=77", out="w", sampler="random", trials=20)
    assert same_results(whole, Study.open(tmp_path / "out"))


def test_patience_ends_at_the_same_trial_whatever_the_batches(tmp_path: Path) -> None:
    sizes = set()
    for batch in (1, 9, 64):
        study, summary = run_small(
            tmp_path,
            "study.patience=15",
            f"compute.batch={batch}",
            out=f"b{batch}",
            sampler="random",
            trials=5000,
        )
        assert summary.reason == "no improvement in 15 trials"
        assert len(study.board) - 1 - study.best(1)[0] == 15
        sizes.add(len(study.board))
        again = create_study(
            tmp_path / "study.toml", out=tmp_path / f"b{batch}", overrides=("study.patience=15",)
        )
        assert run_study(again, engine=SerialEngine()).evaluation_s == 0.0
    assert len(sizes) == 1


def test_what_is_copied_to_optuna_is_bounded_and_has_the_best(tmp_path: Path) -> None:
    import optuna

    study, summary = run_small(tmp_path, sampler="random", trials=2000)
    storage = f"sqlite:///{tmp_path / 'out' / 'optuna.db'}"
    trials = optuna.load_study(study_name="small", storage=storage).trials
    numbers = {t.user_attrs["trial"] for t in trials}
    assert len(numbers) <= 256 + 10
    assert set(summary.best) <= numbers
    assert numbers - set(summary.best) <= set(range(0, 2000, 8))
    values = study.board.values[:, 0]
    assert all(t.value == values[t.user_attrs["trial"]] for t in trials if t.value is not None)


def test_snapshots_add_up(tmp_path: Path) -> None:
    seen: list[Snapshot] = []
    write_study(tmp_path, sampler="random", trials=400)
    clock = iter(np.arange(0.0, 1e6, 0.25))
    study = create_study(tmp_path / "study.toml", out=tmp_path / "out")
    summary = run_study(
        study, engine=SerialEngine(), observer=seen.append, clock=lambda: float(next(clock))
    )
    for s in seen:
        assert s.finished == s.complete + s.pruned + s.infeasible + s.invalid + s.failed + (
            s.duplicates
        )
        shares = s.sampler_share + s.evaluation_share + s.idle_share
        assert 0.99 < shares < 1.01
        assert s.total == 400
    assert seen[-1].state == "finished"
    assert seen[-1].best[0].number == summary.best[0]
    assert summary.kernel_s <= summary.evaluation_s
    assert summary.cpu_s > 0.0


def test_a_winner_whose_part_was_changed_does_not_replay(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, sampler="random", trials=20)
    best = study.best()[0]
    study.board.trial(best).row["gross_profit"] += 1e-9
    with pytest.raises(ReplayMismatchError, match=f"TRIAL {best} DOES NOT REPLAY"):
        study.replay(best)


# -- files -----------------------------------------------------------------------------


def test_parts_can_be_read_by_other_tools(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, 'study.constraints=["trades >= 60"]', sampler="random")
    table = pq.read_table(tmp_path / "out" / "trials")
    assert table["trial"].to_pylist() == list(range(24))
    assert table["state"].to_pylist() == study.board.states
    shown = [study.params(k) for k in range(24)]
    for name in study.space.names:
        assert table[name].to_pylist() == [values.get(name) for values in shown]
    assert table["objective_net_profit"].to_pylist() == study.board.values[:, 0].tolist()
    assert table["violation_trades >= 60"].to_pylist() == study.board.violations[:, 0].tolist()
    for name in ROW.names or ():
        assert table[f"row_{name}"].to_pylist() == study.board.rows[name].tolist()
    assert table["reason"].to_pylist() == [study.board.reasons.get(k, "") for k in range(24)]


def test_parameters_may_not_be_called_like_columns_of_parts(tmp_path: Path) -> None:
    for name in ("row_high", "duplicate_of", "objective_x"):
        strategy = STRATEGY.replace("wait", name)
        with pytest.raises(SpaceError, match=f"parameter {name}: a table of trials has"):
            run_small(tmp_path, sampler="random", strategy=strategy)


def test_ledger_records_of_stretches_and_parts_come_back(tmp_path: Path) -> None:
    from sweep.study.ledger import Ledger

    ledger = Ledger(tmp_path / "ledger.bin")
    ledger.open()
    rows = np.zeros(2, ROW)
    rows["equity"] = (1.5, 2.5)
    params, of = np.arange(6.0).reshape(3, 2), np.array([-1, 0, -1])
    ledger.append(TrialSpan(7, params, of, rows, ((1, "why"),)))
    part = Part(0, 7, "part-000000000.parquet", 99, "ab", {COMPLETE: 7})
    ledger.rewrite(lambda record: True, part)
    ledger.append(TrialSpan(10, params, of, rows))
    ledger.close()
    first, second, third = ledger.read()
    assert (first.first, first.end, first.failures) == (7, 10, ((1, "why"),))
    assert first.rows.tobytes() == rows.tobytes()
    assert first.params.tobytes() == params.tobytes()
    assert second == part
    assert third.first == 10


def test_choices_of_every_type_come_back(tmp_path: Path) -> None:
    from sweep.strategy import Space, boolean, categorical, integer, real
    from sweep.strategy.space import SearchSpace
    from sweep.study.parts import Layout, read_part, write_part

    class Params(Space):
        text: str = categorical("a", "b", "ü")
        number: float = categorical(1, 2.5, 7)
        whole: int = categorical(3, 5)
        either: float = categorical(True, 2.0)
        flag: bool = boolean(default=True)
        idle: str = categorical("x", "y", when=lambda p: p.flag)
        quiet: int = integer(-4, 9, default=3, when=lambda p: p.flag)
        level: float = real(0, 1, default=0.5, when=lambda p: p.flag)

    space = SearchSpace.of(Params)
    rng = np.random.default_rng(0)
    n = 2 * BLOCK + 50
    raw = np.stack([rng.integers(0, 2, n).astype(float) for _ in space.names], axis=1)
    params, active = space.settled(raw)
    assert not active.all()
    layout = Layout(space, ("sharpe",), ())
    block = TrialBlock(
        numbers=np.arange(100, 100 + n),
        params=params,
        codes=rng.integers(0, len(STATES), n).astype(np.int8),
        rows=np.zeros(n, ROW),
        values=rng.choice([np.nan, 1.0, -0.0], (n, 1)),
        violations=np.zeros((n, 0)),
        n_slices=np.full(n, 3, np.int32),
        duplicate_of=rng.integers(-1, 5, n),
        reasons=np.array([f"because {k % 3}" for k in range(n)], object),
    )
    part = write_part(tmp_path, block, layout)
    back = read_part(tmp_path, part, layout)
    for name in ("numbers", "params", "codes", "values", "n_slices", "duplicate_of", "rows"):
        assert getattr(back, name).tobytes() == getattr(block, name).tobytes(), name
    assert back.reasons.tolist() == block.reasons.tolist()
    some = read_part(tmp_path, part, layout, places=(BLOCK, BLOCK + 9), leave_out=("rows",))
    assert some.numbers.tolist() == list(range(100 + BLOCK, 100 + 2 * BLOCK))


# -- commands --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished study of several parts."""
    path = write_study(tmp_path, sampler="random", trials=60)
    assert sweep("run", path, "--out", tmp_path / "out", *SERIAL).code == 0
    return tmp_path / "out"


def test_run_says_where_the_cpu_time_went(tmp_path: Path) -> None:
    path = write_study(tmp_path, sampler="random", trials=60)
    run = sweep("run", path, "--out", tmp_path / "out", *SERIAL, "-f", "json").json["run"]
    assert 0.0 < run["kernel_s"] <= run["evaluation_s"]
    assert run["cpu_s"] > 0.0
    assert 0.0 <= run["idle_share"] <= 1.0
    assert run["trials"] == run["variants_evaluated"] == 60


def test_trials_come_as_csv_and_json_whatever_part_they_are_in(folder: Path) -> None:
    study = Study.open(folder)
    table = sweep("trials", folder, "-f", "csv").rows
    assert [row[0] for row in table[1:]] == [str(k) for k in range(60)]
    records = sweep("trials", folder, "-f", "json").json
    assert [r["net_profit"] for r in records] == study.board.values[:, 0].tolist()
    assert set(METRICS) - set(records[0]) <= {n for n, m in METRICS.items() if m.unit == "s"}
    best = sweep("trials", folder, "-f", "json", "--sort-by", "net_profit", "--top", 9).json
    assert [r["trial"] for r in best] == study.board.best(("maximize",), 9)
    few = sweep("trials", folder, "-f", "json", "--where", "fast < 10 and trades > 3").json
    want = [r["trial"] for r in records if r["fast"] < 10 and r["trades"] > 3]
    assert [r["trial"] for r in few] == want
    assert want
    assert sweep("trials", folder, "-f", "json", "--state", "failed").json == []
    assert sweep("trials", folder, "-f", "csv", "--state", "failed").rows == [table[0]]
    shown = sweep("trials", folder, "--top", "3")
    assert "3 of 60 trials shown" in shown.err


def test_best_show_and_replay_read_parts(folder: Path) -> None:
    study = Study.open(folder)
    best = study.best()
    shown = sweep("show", folder, "-f", "json").json
    assert shown["verified"] is True
    assert shown["counts"]["trials"] == 60
    assert [t["trial"] for t in shown["best"]] == best
    assert [t["trial"] for t in sweep("best", folder, "-f", "json", "--top", 30).json["best"]] == (
        study.board.best(("maximize",), 30)
    )
    assert sweep("replay", best[0], "--study", folder, "-f", "json").json["trial"] == best[0]
    values = study.params(best[3])
    flags = [w for n, v in values.items() for w in ("--param", f"{n}={v}")]
    assert sweep("replay", "--study", folder, *flags, "-f", "json").json["trial"] == best[3]
    held = sweep("replay", "17", "--study", folder, "--on", "holdout", "-f", "json")
    assert held.code == 0
    assert 17 in Study.open(folder).opened
    assert len(Study.open(folder).board) == 60


def test_a_missing_part_is_said_when_a_study_is_shown(folder: Path) -> None:
    parts = sorted((folder / "trials").iterdir())
    parts[1].unlink()
    result = sweep("show", folder, "-f", "json", "--no-verify")
    assert "missing or damaged" in result.err
    assert parts[1].name in result.err
    counts = json.loads(result.out)["counts"]
    assert counts["trials"] == 60
    assert 0 < counts["invalid"] < 60
    listed = sweep("trials", folder, "-f", "json").json
    assert [t["trial"] for t in listed] == list(range(60))
    assert sum("damaged" in t["reason"] for t in listed) == counts["invalid"]


def test_the_frame_has_every_trial(folder: Path) -> None:
    study = Study.open(folder)
    frame = study.trials()
    assert len(frame) == 60
    assert frame["net_profit"].tolist() == study.board.values[:, 0].tolist()
    assert (
        frame.loc[study.best()[0], "holdout_sharpe"] == frame.loc[study.best()[0]]["holdout_sharpe"]
    )


MILLION = """
import sys, threading, time
import psutil
from sweep.api import create_study
from sweep.study.runner import run_study

if __name__ == "__main__":
    path, out = sys.argv[1:]
    own, seen = psutil.Process(), []

    def observe(snapshot):
        if snapshot.state == "running":
            seen.append((snapshot.finished, own.memory_full_info().uss / 2**20))

    summary = run_study(create_study(path, out=out), observer=observe)
    early = max(uss for n, uss in seen if 100_000 < n < 300_000)
    late = max(uss for n, uss in seen if n > 700_000)
    print(summary.finished, early, late, summary.cpu_s / summary.finished * 1e6)
"""


@pytest.mark.slow
def test_a_million_points_take_the_memory_of_some_thousand(tmp_path: Path) -> None:
    strategy = STRATEGY.replace("real(2, 40, default=5, step=1)", "integer(1, 1000, default=5)")
    strategy = strategy.replace("real(10, 400, log=True, default=50)", "integer(1001, 1500)")
    strategy = strategy.replace("integer(1001, 1500)", "integer(1001, 1500, default=1050)")
    strategy = strategy.replace("fast: float = i", "fast: int = i")
    strategy = strategy.replace("slow: float = i", "slow: int = i")
    path = write_study(tmp_path, sampler="grid", trials=1_000_000, strategy=strategy)
    text = path.read_text().replace("sessions = 2, ticks_per_session = 3000", "sessions = 1, X")
    space = "\n[space]\npause = false\nwait = 0\n"
    path.write_text(text.replace("X", "ticks_per_session = 500") + space)
    (tmp_path / "million.py").write_text(MILLION)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "million.py"), str(path), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    finished, early, late, each_us = map(float, done.stdout.split())
    assert finished == 1_000_000
    assert late < early + 25
    assert late < 250
    assert each_us < 20
    assert len(Study.open(tmp_path / "out").best(10)) == 10
