"""What a study does and refuses, through its public face."""

from __future__ import annotations

import itertools
import math
import os
import signal
from pathlib import Path

import numpy as np
import optuna
import pytest
from study_helpers import STRATEGY, run_small, same_results, write_study

import sweep
from sweep.api import create_study
from sweep.engines.local import LocalEngine
from sweep.engines.serial import SerialEngine
from sweep.errors import (
    EvaluationError,
    InputError,
    ReplayMismatchError,
    SpaceError,
    StrategyError,
    StudyFileError,
)
from sweep.report.snapshot import Snapshot
from sweep.stats.metrics import METRICS
from sweep.study.runner import run_study
from sweep.study.study import Study

FINITE = STRATEGY.replace(
    "slow: float = real(10, 400, log=True, default=50)",
    "slow: int = integer(10, 40, step=15, default=10)",
)
FINITE = FINITE.replace("real(2, 40, default=5, step=1)", "real(4, 34, default=4, step=15)")


# -- search ----------------------------------------------------------------------------


def test_a_grid_is_exactly_its_valid_points(tmp_path: Path) -> None:
    settings = ('study.sampler={name="grid", points=3}', 'space.side=["both"]', "space.pause=false")
    study, summary = run_small(
        tmp_path, *settings, 'space.fast="2:40:19"', sampler="grid", trials=500
    )
    points = {
        (row["fast"], round(row["slow"], 6)) for row in map(study.params, range(len(study.board)))
    }
    levels = [
        (f, round(s, 6)) for f in (2, 21, 40) for s in (10.0, math.sqrt(4000.0), 400.0) if f < s
    ]
    assert points == set(levels)
    assert len(study.board) == len(levels)
    assert summary.reason == "all points of the design"


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_an_exhausted_space_ends_the_study_and_repeats_are_not_evaluated(
    tmp_path: Path, sampler: str
) -> None:
    study, summary = run_small(
        tmp_path,
        'space.side=["both"]',
        "space.pause=false",
        sampler=sampler,
        trials=400,
        strategy=FINITE,
    )
    # fast in 4, 19, 34 and slow in 10, 25, 40, of which 6 pairs keep fast < slow.
    assert summary.reason == "all 6 variants of the space"
    assert study.board.evaluated() == 6
    own = study.board.duplicate_of < 0
    assert int((own & ~study.board.in_state("invalid")).sum()) == 6


def test_duplicates_share_the_evaluation_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "start.csv").write_text("fast,slow\n5,50\n5,50\n7,60\n5,50\n")
    study, _ = run_small(tmp_path, f'study.start="{tmp_path / "start.csv"}"', trials=6)
    assert study.board.duplicate_of[:4].tolist() == [-1, 0, -1, 0]
    assert study.board.rows[1].tobytes() == study.board.rows[0].tobytes()
    assert study.board.evaluated() == len(study.board) - 2 - int(
        study.board.in_state("invalid").sum()
    )


def test_the_defaults_come_first(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, trials=3)
    assert study.params(0) == {"fast": 5.0, "slow": 50.0, "side": "both", "pause": False}


@pytest.mark.parametrize("pause", ["true", "false"])
@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_a_fixed_boolean_has_its_value_in_the_search_and_in_the_table(
    tmp_path: Path, sampler: str, pause: str
) -> None:
    settings = (f"space.pause={pause}", "space.wait=15", 'space.side=["long"]')
    if sampler == "grid":
        settings = (*settings, 'study.sampler={name="grid", points=3}', 'space.fast="2:40:19"')
    study, _ = run_small(tmp_path, *settings, sampler=sampler, trials=6)
    plain, _ = run_small(tmp_path / "plain", sampler="random", trials=1)
    done = np.flatnonzero(study.board.in_state("complete"))
    assert len(done) > 2
    for number in map(int, done):
        values = study.params(number)
        assert values["pause"] is (pause == "true")
        assert values["side"] == "long"
        # The study that searches the whole space evaluates the same values to the same bits.
        own = study.board.trial(number).row
        assert plain.replay(values).replay.row.tobytes() == own.tobytes()


def test_parameters_that_do_not_count_keep_their_default(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, sampler="random", trials=30)
    frame = study.trials()
    idle = frame[frame["pause"] == False]  # noqa: E712 - a column of booleans
    assert len(idle) > 3
    assert idle["wait"].isna().all()
    assert frame[frame["pause"] == True]["wait"].nunique() > 3  # noqa: E712


def test_requirements_make_trials_infeasible_with_the_reason(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, 'study.constraints=["trades >= 100"]', trials=20)
    frame = study.trials()
    few = frame[(frame["trades"] < 100) & (frame["state"] != "invalid")]
    assert len(few) > 0
    assert (few["state"] == "infeasible").all()
    assert few["reason"].str.contains("trades >= 100").all()
    assert all(frame["trades"][study.best()] >= 100)


def test_an_undefined_objective_is_no_number(tmp_path: Path) -> None:
    flat = STRATEGY.replace(
        "return State(fast, slow, since), target", "return State(fast, slow, since), 0.0"
    )
    study, summary = run_small(tmp_path, 'study.objective="profit_factor"', trials=5, strategy=flat)
    assert set(study.board.states) <= {"infeasible", "invalid"}
    assert "profit_factor" in study.board.reasons[0]
    assert "no trades" in study.board.reasons[0]
    assert summary.best == ()


def test_several_objectives_give_a_front_that_nothing_dominates(tmp_path: Path) -> None:
    study, summary = run_small(
        tmp_path, 'study.objective=["net_profit", "max_drawdown"]', sampler="nsga2", trials=40
    )
    values = study.board.values[study.board.in_state("complete")] * np.array([-1.0, 1.0])
    for number in summary.best:
        own = study.board.values[number] * np.array([-1.0, 1.0])
        assert not ((values <= own).all(axis=1) & (values < own).any(axis=1)).any()


def test_an_objective_may_be_an_expression_or_a_function(tmp_path: Path) -> None:
    written, _ = run_small(
        tmp_path, 'study.objective="net_profit - 2 * max_drawdown_cash"', trials=12, out="a"
    )
    (tmp_path / "aim.py").write_text(
        "def aim(metrics):\n    return metrics['net_profit'] - 2 * metrics['max_drawdown_cash']\n"
    )
    by_function, _ = run_small(
        tmp_path, f'study.objective="{tmp_path}/aim.py:aim"', trials=12, out="b"
    )
    assert written.board.values.tobytes() == by_function.board.values.tobytes()


def test_a_starting_point_that_the_constraint_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "start.csv").write_text("fast,slow\n5,50\n30,20\n")
    with pytest.raises(StudyFileError, match=r"start\.csv:3: these values contradict"):
        run_small(tmp_path, f'study.start="{tmp_path / "start.csv"}"')


def test_wilcoxon_needs_independent_slices(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"wilcoxon.*independent"):
        run_small(tmp_path, "data.slices=6", 'study.pruner="wilcoxon"')


# -- stop rules ------------------------------------------------------------------------


def test_patience_ends_a_study_after_so_many_trials_without_improvement(tmp_path: Path) -> None:
    study, summary = run_small(tmp_path, "study.patience=12", sampler="random", trials=5000)
    assert summary.reason == "no improvement in 12 trials"
    best = study.best(1)[0]
    assert len(study.board) - 1 - best == 12


def test_a_time_limit_ends_a_study(tmp_path: Path) -> None:
    _, summary = run_small(tmp_path, 'study.time_limit="1s"', sampler="random", trials=100_000)
    assert summary.reason == "time limit"


def test_points_of_a_grid_do_not_bound_other_samplers(tmp_path: Path) -> None:
    settings = ("space.fast={points=3}", "space.slow={low=10, high=40, points=3}")
    study, summary = run_small(
        tmp_path, *settings, sampler="tpe", trials=30, strategy=FINITE.replace("step=15", "step=1")
    )
    assert summary.reason == "30 trials"
    assert study.board.evaluated() > 20


def test_a_study_that_nothing_would_end_is_refused(tmp_path: Path) -> None:
    path = write_study(tmp_path, sampler="random")
    path.write_text(path.read_text().replace("trials = 24", ""))
    with pytest.raises(StudyFileError, match=r"nothing ends this study.*study\.trials"):
        create_study(path, out=tmp_path / "out")


# -- pruning ---------------------------------------------------------------------------


@pytest.mark.parametrize("slicing", ["carry", "independent"])
@pytest.mark.parametrize("pruner", ["median", "successive_halving", "hyperband"])
def test_pruned_trials_stop_early_and_the_rest_are_as_without(
    tmp_path: Path, pruner: str, slicing: str
) -> None:
    settings = (f'data.slicing="{slicing}"', "data.slices=8")
    options = ", n_startup_trials=3, n_warmup_steps=1" if pruner == "median" else ""
    pruned, summary = run_small(
        tmp_path,
        *settings,
        f'study.pruner={{name="{pruner}"{options}}}',
        sampler="random",
        trials=40,
        out="p",
    )
    plain, _ = run_small(tmp_path, *settings, sampler="random", trials=40, out="q")
    stopped = pruned.board.in_state("pruned")
    assert stopped.any()
    assert (pruned.board.n_slices[stopped] < 8).all()
    assert summary.saved_share is not None
    assert summary.saved_share > 0.0
    assert pruned.board.rows[~stopped].tobytes() == plain.board.rows[~stopped].tobytes()


def test_pruning_needs_one_objective(tmp_path: Path) -> None:
    write_study(tmp_path)
    with pytest.raises(StudyFileError, match="objective"):
        create_study(
            tmp_path / "study.toml",
            out=tmp_path / "out",
            overrides=(
                'study.objective=["sharpe", "max_drawdown"]',
                'study.pruner="median"',
                "data.slices=4",
            ),
        )
    assert not (tmp_path / "out").exists()


# -- holdout and replay ----------------------------------------------------------------


def test_the_holdout_is_opened_for_shown_winners_alone_and_counted(tmp_path: Path) -> None:
    study, summary = run_small(tmp_path, "study.top=4")
    assert sorted(study.opened) == sorted(summary.best)
    assert len(summary.best) == 4
    again = create_study(tmp_path / "study.toml", out=tmp_path / "out", overrides=("study.top=4",))
    run_study(again, engine=SerialEngine())
    assert len(Study.open(tmp_path / "out").opened) == 4


def test_the_holdout_may_be_opened_on_the_way_and_is_counted(tmp_path: Path) -> None:
    seen: list[int] = []
    study = create_study(
        write_study(tmp_path, sampler="random", trials=400),
        out=tmp_path / "out",
        overrides=("study.live_holdout=true", "study.top=3"),
    )

    def observe(snapshot: Snapshot) -> None:
        if snapshot.state == "running" and snapshot.best:
            seen.extend(t.number for t in snapshot.best if t.holdout is not None)

    # Time flies, so that the study looks at its best after every task.
    clock = itertools.count(0.0, 5.0)
    run_study(study, engine=SerialEngine(), observer=observe, clock=lambda: next(clock))
    read = Study.open(tmp_path / "out")
    assert seen
    assert set(seen) <= set(read.opened)
    plain, _ = run_small(tmp_path, out="plain", sampler="random", trials=400)
    assert same_results(plain, read)


def test_the_search_does_not_see_the_holdout(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path)
    begin = study.setup.ranges.holdout
    assert begin is not None
    stamps = study.setup.context.ticks
    assert study.setup.slices[-1].end == begin.begin
    assert (study.board.rows["last_ts"] < stamps.last_ts).all()
    held = study.opened[study.best()[0]].row
    assert held["first_ts"] > study.board.rows["last_ts"].max()


def test_replay_gives_the_row_with_its_curve_and_fills(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path)
    number = study.best()[0]
    found = study.replay(number)
    assert found.replay.row.tobytes() == study.board.trial(number).row.tobytes()
    assert len(found.replay.fills) == study.metrics(number)["fills"]
    assert found.replay.equity[-1] == study.metrics(number)["final_equity"]
    high = np.maximum.accumulate(np.maximum(found.replay.equity, study.manifest["capital"]))
    assert np.isclose(((high - found.replay.equity) / high).max(), found.metrics["max_drawdown"])
    by_values = study.replay(study.params(number))
    assert by_values.replay.row.tobytes() == found.replay.row.tobytes()


def test_a_row_that_does_not_replay_is_a_loud_error(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path)
    best = study.best()[0]
    study.board.rows["gross_profit"][best] += 1e-9
    with pytest.raises(ReplayMismatchError, match=f"TRIAL {best} DOES NOT REPLAY: gross_profit"):
        study.replay(best)


@pytest.mark.parametrize("slicing", ["carry", "independent"])
def test_a_pruned_trial_replays_as_far_as_it_was_evaluated(tmp_path: Path, slicing: str) -> None:
    study, _ = run_small(
        tmp_path,
        f'data.slicing="{slicing}"',
        "data.slices=8",
        'study.pruner={name="median", n_startup_trials=3, n_warmup_steps=1}',
        sampler="random",
        trials=30,
    )
    stopped = np.flatnonzero(study.board.in_state("pruned"))
    assert len(stopped) > 0
    for number in map(int, stopped):
        found = study.replay(number)
        assert found.replay.row.tobytes() == study.board.trial(number).row.tobytes()
        assert len(found.replay.equity) == study.board.rows[number]["ticks"]


# -- failures --------------------------------------------------------------------------

RAISES = STRATEGY.replace(
    "    up = fast > slow",
    "    if params.fast > 20.0 and state.since > 8:\n"
    '        raise ValueError("too fast")\n'
    "    up = fast > slow",
)


def test_a_variant_that_raises_fails_alone_with_its_reason(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, sampler="random", trials=20, strategy=RAISES)
    plain, _ = run_small(tmp_path / "plain", sampler="random", trials=20)
    failed = study.board.in_state("failed")
    assert 0 < failed.sum() < 20
    assert all(study.params(int(k))["fast"] > 20 for k in np.flatnonzero(failed))
    assert study.board.rows[~failed].tobytes() == plain.board.rows[~failed].tobytes()
    reason = study.board.reasons[int(np.flatnonzero(failed)[0])]
    assert "ValueError: too fast at tick " in reason
    assert "fast=" in reason
    assert "strategy.py" in reason


def test_a_variant_that_raises_changes_none_of_its_batch_when_carried(tmp_path: Path) -> None:
    settings = (
        "data.slices=6",
        'study.pruner={name="median", n_startup_trials=30}',
        "study.window=12",
    )
    kinds = {"sampler": "random", "trials": 24, "strategy": RAISES}
    one, _ = run_small(tmp_path, *settings, "compute.batch=1", out="one", **kinds)
    many, _ = run_small(tmp_path, *settings, "compute.batch=12", out="many", **kinds)
    assert one.board.in_state("failed").any()
    assert not one.board.in_state("failed").all()
    done = one.board.in_state("complete")
    assert one.board.states == many.board.states
    assert one.board.rows[done].tobytes() == many.board.rows[done].tobytes()


def test_an_objective_that_raises_fails_the_study_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "aim.py").write_text("def aim(metrics):\n    return metrics['sharp']\n")
    with pytest.raises(EvaluationError, match=r"aim\.py:2: KeyError: 'sharp'"):
        run_small(tmp_path, f'study.objective="{tmp_path}/aim.py:aim"', trials=40)


NAN_AT_TEN = STRATEGY.replace(
    "since: int\n\n\ndef start", "since: int\n    ticks: int\n\n\ndef start"
)
NAN_AT_TEN = (
    NAN_AT_TEN.replace("tick.mid, 0)", "tick.mid, 0, 0)")
    .replace(
        "return State(fast, slow, since), target",
        "return State(fast, slow, since, state.ticks + 1), "
        "target if state.ticks != 9 else target * math.nan",
    )
    .replace("from typing", "import math\nfrom typing")
)


def test_too_many_failures_end_the_study_with_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="not a finite number at tick 10 ") as error:
        run_small(tmp_path, trials=40, strategy=NAN_AT_TEN)
    assert error.value.exit_code == 1
    kept = Study.open(tmp_path / "out")
    assert len(kept.board) >= 10
    assert kept.board.in_state("failed").all() or kept.board.in_state("invalid").any()


def test_a_killed_worker_is_replaced_and_its_task_repeated(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path, trials=60)
    study = create_study(tmp_path / "study.toml", out=tmp_path / "killed", trials=60)
    engine = LocalEngine(2)
    path, sizes = study.ledger.path, [3_000, 6_000]

    def kill() -> int:
        """Kill a worker once the ledger has grown to each size, and interrupt nothing."""
        if sizes and engine.pids() and path.exists() and path.stat().st_size > sizes[0]:
            sizes.pop(0)
            os.kill(engine.pids()[0], signal.SIGKILL)
        return 0

    summary = run_study(study, engine=engine, interrupts=kill)
    assert not sizes
    assert same_results(plain, Study.open(tmp_path / "killed"))
    assert summary.reason == "60 trials"


KILLS = STRATEGY.replace(
    "def step",
    "def features(ticks, params):\n"
    "    import os, signal\n"
    "    if params.fast > 30:\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n"
    "    return Features(ticks.mid)\n\n\n"
    "class Features(NamedTuple):\n    mid: np.ndarray\n\n\n"
    "def step",
).replace("from typing", "import numpy as np\nfrom typing")


@pytest.mark.slow
def test_a_variant_that_kills_workers_fails_alone(tmp_path: Path) -> None:
    path = write_study(tmp_path, sampler="random", trials=12, strategy=KILLS)
    study = create_study(path, out=tmp_path / "out", overrides=("study.max_failures=12",))
    run_study(study, engine=LocalEngine(2))
    read = Study.open(tmp_path / "out")
    failed = read.board.in_state("failed")
    fast = read.board.params[:, 0]
    assert failed.tolist() == (fast > 30).tolist()
    assert failed.any()
    assert "its worker died" in read.board.reasons[int(np.flatnonzero(failed)[0])]


# -- storage and the rest --------------------------------------------------------------


def test_optuna_finds_every_trial_in_the_storage(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, 'study.constraints=["trades >= 100"]', trials=20)
    storage = f"sqlite:///{tmp_path / 'out' / 'optuna.db'}"
    loaded = optuna.load_study(study_name="small", storage=storage)
    assert len(loaded.trials) == len(study.board)
    assert not [t for t in loaded.trials if t.state == optuna.trial.TrialState.RUNNING]
    best = study.best()[0]
    assert loaded.trials[best].value == study.board.values[best, 0]
    assert loaded.trials[best].user_attrs["metrics"]["sharpe"] == study.metrics(best)["sharpe"]


def test_the_frame_has_a_row_a_trial_with_every_metric(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path)
    frame = sweep.open_study(tmp_path / "out").trials()
    assert len(frame) == len(study.board)
    keys = {name + ("_s" if m.unit == "s" else "") for name, m in METRICS.items()}
    assert keys <= set(frame.columns)
    assert {f"holdout_{key}" for key in keys} <= set(frame.columns)


@pytest.mark.parametrize(
    ("setting", "error", "said"),
    [
        ("space.quick=3", SpaceError, "no parameter 'quick'"),
        ('space.fast="2:41:7"', SpaceError, "does not divide"),
        ('space.side=["short"]', SpaceError, "'short' is none of"),
        ('data.from="2001-01-01"\ndata.to="2001-02-01"', InputError, "data.to"),
        ('data.to="2001-02-01"', InputError, "holds 0 ticks"),
        ("data.slices=100000", InputError, "data.slices"),
        ('study.sampler={name="grid", steps=3}', StudyFileError, "no option 'steps'"),
        ('study.sampler={name="tpe", n_startup=3}', StudyFileError, "n_startup"),
        ("costs.half_spread=0.1", StudyFileError, "half_spread is for trades"),
    ],
)
def test_bad_settings_are_named_and_leave_nothing_behind(
    tmp_path: Path, setting: str, error: type[Exception], said: str
) -> None:
    write_study(tmp_path)
    with pytest.raises(error, match=said):
        create_study(tmp_path / "study.toml", out=tmp_path / "out", overrides=setting.split("\n"))
    assert not (tmp_path / "out").exists()


def test_a_strategy_that_reads_sizes_needs_them(tmp_path: Path) -> None:
    sizes = STRATEGY.replace("up = fast > slow", "up = fast > slow and tick.bid_size > 0")
    with pytest.raises(InputError, match="the ticks have no sizes"):
        run_small(tmp_path, strategy=sizes)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(parents=True)
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="holds other files"):
        run_small(tmp_path)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_strategy_that_does_not_compile_is_named_by_its_line(tmp_path: Path) -> None:
    broken = STRATEGY.replace("up = fast > slow", "up = fast > slow + params.gap")
    with pytest.raises(StrategyError, match=r"strategy\.py:\d+: .*gap"):
        run_small(tmp_path, strategy=broken)
