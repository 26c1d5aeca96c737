"""A search for what holds over paths: its values, and their sameness whatever happens."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import sweep
from study_helpers import killed_runs, run_small, same_results, write_study

from sweep.api import create_study
from sweep.backtest.tasks import Task, evaluate
from sweep.engines.local import LocalEngine
from sweep.engines.serial import SerialEngine
from sweep.errors import InputError, ReplayMismatchError, StudyFileError, StudyMismatchError
from sweep.montecarlo.run import monte_carlo
from sweep.scenarios.evaluate import path_context
from sweep.scenarios.resample.plan import plan_path
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.scenarios.resample.ticks import derive_ticks
from sweep.schema import Slice
from sweep.stats.metrics import metrics_of
from sweep.study.runner import run_study
from sweep.study.setup import pruning_steps
from sweep.study.study import Study
from sweep.text import PRUNERS, SAMPLERS
from sweep.ticks.mapped import hold, release
from tests.backtest.test_sameness import DisorderlyEngine

SEARCH = (
    "data.synth={sessions=8, ticks_per_session=800, seed=3}",
    'study.objective="quantile(net_profit, 0.25) - max_drawdown_cash"',
    "monte_carlo.paths=12",
    "monte_carlo.step=3",
)
MEDIAN = 'study.pruner={name="median", n_startup_trials=3, n_warmup_steps=1}'
PRUNERS_EAGER = {
    "none": 'study.pruner="none"',
    "median": MEDIAN,
    "successive_halving": 'study.pruner={name="successive_halving", min_resource=1}',
    "hyperband": 'study.pruner={name="hyperband", min_resource=1}',
    "wilcoxon": 'study.pruner={name="wilcoxon", p_threshold=0.2, n_startup_steps=1}',
}


def again(tmp_path: Path, out: str, engine: Any, *settings: str) -> Study:
    """Run the study that lies in ``tmp_path`` again, in another folder and on another engine."""
    study = create_study(tmp_path / "study.toml", out=tmp_path / out, overrides=settings)
    run_study(study, engine=engine)
    return Study.open(tmp_path / out)


# -- values ----------------------------------------------------------------------------


def row_by_hand(study: Study, params: Any, number: int) -> Any:
    """Return the row of a variant on a path whose ticks are written out."""
    setup = study.setup
    part = setup.tick_slices[0]
    spec = replace(study.spec.monte_carlo.resampling(study.spec.study.seed), restart="never")
    resampler = path_context(
        setup.context, setup.strategy, setup.space, spec, part.begin, part.end
    ).resampler
    ticks = study.mapped_ticks
    path = plan_path(resampler, ticks, number)
    derived = derive_ticks(resampler, ticks, path, 0, path.n_ticks)
    for column in derived:
        column.flags.writeable = False
    handle = replace(
        setup.ticks, path=f"by-hand-{number}", n_ticks=path.n_ticks, content=f"by hand {number}",
        columns=("ts", "bid", "ask"), first_ts=int(derived.ts[0]), last_ts=int(derived.ts[-1]),
    )  # fmt: skip
    hold(handle, derived)
    try:
        context = replace(setup.context, ticks=handle)
        found = evaluate(context, Task(0, params[None], (Slice(0, path.n_ticks, 0),)))
        assert not found.error
        return found.rows[0, 0]
    finally:
        release(handle.path)


def test_values_are_those_of_paths_written_out(tmp_path: Path) -> None:
    never = 'monte_carlo.restart="never"'
    constraint = 'study.constraints=["probability_of_loss(net_profit) <= 0.9"]'
    study, _ = run_small(tmp_path, *SEARCH, never, constraint, sampler="random", trials=4)
    ppy = study.periods_per_year
    for k in range(len(study.board)):
        trial = study.board.trial(k)
        rows = np.array([row_by_hand(study, trial.params, p) for p in range(12)])
        profits = sorted(metrics_of(rows, ppy)["net_profit"].tolist())
        own = metrics_of(np.asarray(trial.row).reshape(1), ppy)
        assert trial.values == (profits[2] - own["max_drawdown_cash"][0],)
        losses = sum(profit < 0.0 for profit in profits) / 12
        assert trial.violations == pytest.approx(((losses - 0.9) / 0.9,))
        assert trial.state == ("infeasible" if losses > 0.9 else "complete")
        assert trial.n_slices == 13
        # The row is that of the history itself, as a study without paths has it.
        assert study.replay(study.space.decode(trial.params)).replay.row == trial.row


def test_the_objective_is_what_mc_says_of_the_same_paths(tmp_path: Path) -> None:
    objective = 'study.objective="median(net_profit)"'
    study, _ = run_small(tmp_path, *SEARCH, objective, trials=6)
    best = study.best(1)[0]
    finding = monte_carlo(study, [best], engine=SerialEngine())[0]
    assert finding.n_paths == 12
    ordered = np.sort(finding.paths["net_profit"])
    assert study.board.trial(best).values == (ordered[5],)
    # Those are the paths by which it was chosen.
    assert any("the search chose by the first 12 of these paths" in n for n in finding.notes)
    fresh = monte_carlo(study, [best], seed=99, n_paths=5, engine=SerialEngine())[0]
    assert not any("the search chose by" in note for note in fresh.notes)


def test_a_minimised_functional_prefers_what_is_lower(tmp_path: Path) -> None:
    objective = 'study.objective="quantile(max_drawdown, 0.9)"'
    study, _ = run_small(tmp_path, *SEARCH, objective, sampler="random", trials=8)
    assert study.directions == ("minimize",)
    values = [study.board.trial(k).values[0] for k in range(len(study.board))]
    assert study.board.trial(study.best(1)[0]).values[0] == min(values)


# -- sameness --------------------------------------------------------------------------

CASES = {
    "tpe": ("tpe", ()),
    "tpe median": ("tpe", (MEDIAN,)),
    # The history comes first, whatever the order of slices would be without paths.
    "tpe independent": ("tpe", (MEDIAN, 'data.slicing="independent"')),
    "random wilcoxon": ("random", (PRUNERS_EAGER["wilcoxon"],)),
    "grid": ("grid", ('study.sampler={name="grid", points=3}', 'space.fast="2:40:19"')),
}


@pytest.mark.parametrize("case", CASES)
def test_order_batches_and_lost_workers_change_nothing(tmp_path: Path, case: str) -> None:
    sampler, settings = CASES[case]
    plain, _ = run_small(tmp_path, *SEARCH, *settings, sampler=sampler, trials=16)
    engine = DisorderlyEngine(3, loses=0.1)
    batch = 1 if case == "tpe median" else 5
    found = again(tmp_path, "other", engine, *SEARCH, *settings, f"compute.batch={batch}")
    assert same_results(plain, found)
    for k in range(len(plain.board)):
        trial = plain.board.trial(k)
        if trial.n_slices:  # also of one that was pruned the row is the history's
            assert plain.replay(k).replay.row == trial.row


@pytest.mark.slow
def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path, *SEARCH, MEDIAN, trials=10)
    assert same_results(plain, again(tmp_path, "two", LocalEngine(2), *SEARCH, MEDIAN))


def test_variants_that_repeat_are_evaluated_once(tmp_path: Path) -> None:
    few = ("space.fast=5", "space.slow=50", "space.pause=false", MEDIAN)
    study, summary = run_small(tmp_path, *SEARCH, *few, trials=10)
    assert summary.reason == "all 2 variants of the space"
    for k in range(len(study.board)):
        trial = study.board.trial(k)
        first = trial.duplicate_of if trial.duplicate_of >= 0 else k
        assert study.board.trial(first).values == trial.values


@pytest.mark.parametrize("case", ["tpe median", pytest.param("grid", marks=pytest.mark.slow)])
def test_killed_search_goes_on_to_the_same_bits(tmp_path: Path, case: str) -> None:
    sampler, settings = CASES[case]
    settings = (*SEARCH, *settings)
    rng = random.Random(case)
    plain, _ = run_small(tmp_path, *settings, sampler=sampler, trials=24)
    # Less than the calls that follow the first record, in each case.
    calls = (rng.randrange(150_000) for _ in range(2))
    for _ in killed_runs(tmp_path / "study.toml", tmp_path / "killed", calls, *settings):
        pass
    assert same_results(plain, again(tmp_path, "killed", SerialEngine(), *settings))


def test_interrupted_between_steps_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path, *SEARCH, MEDIAN, trials=16)
    for limit in (3, 11, 25, 60):
        calls = iter(range(10**9))
        study = create_study(
            tmp_path / "study.toml", out=tmp_path / "halted", overrides=(*SEARCH, MEDIAN)
        )
        run_study(
            study,
            engine=SerialEngine(),
            interrupts=lambda calls=calls, limit=limit: int(next(calls) > limit),
        )
    assert same_results(plain, again(tmp_path, "halted", SerialEngine(), *SEARCH, MEDIAN))


# -- samplers and pruners --------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_over_paths(tmp_path: Path, sampler: str) -> None:
    if sampler == "gp":
        pytest.importorskip("torch")
    settings = ("monte_carlo.paths=2", 'study.objective="mean(net_profit)"')
    plain = ("space.side=both", "space.pause=false")
    if sampler == "grid":
        settings += ('study.sampler={name="grid", points=2}',)
    study, _ = run_small(tmp_path, *SEARCH, *settings, *plain, sampler=sampler, trials=4)
    done = study.board.in_state("complete")
    assert np.array(done).sum() >= 3
    assert study.board.n_slices.max() == 3


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_decides_over_paths(tmp_path: Path, pruner: str) -> None:
    objective = 'study.objective="mean(net_profit)"'
    study, _ = run_small(
        tmp_path, *SEARCH, objective, PRUNERS_EAGER[pruner], "monte_carlo.paths=11", trials=30
    )
    board = study.board
    pruned = [board.trial(k) for k in range(len(board)) if board.states[k] == "pruned"]
    assert bool(pruned) == (pruner != "none")
    for trial in pruned:
        # The history, and whole steps of paths.
        assert trial.n_slices in (4, 7, 10)
        assert trial.reason == f"after {trial.n_slices - 1} paths"
        assert [step for step, _ in trial.intermediate] == list(range(4, trial.n_slices + 1, 3))
    for number in study.best():
        assert board.trial(number).n_slices == 12
    if pruner != "none":
        # The median of what others had come to by the same decision, not the same path.
        whole = [board.trial(k) for k in range(len(board)) if board.n_slices[k] == 12]
        assert [step for step, _ in whole[0].intermediate] == [4, 7, 10, 12]


def test_the_median_rule_compares_equal_numbers_of_paths(tmp_path: Path) -> None:
    objective = 'study.objective="mean(net_profit)"'
    rule = 'study.pruner={name="median", n_startup_trials=1, n_warmup_steps=0}'
    study, _ = run_small(
        tmp_path, *SEARCH, objective, rule, "study.window=1", sampler="random", trials=30
    )
    board = study.board
    known: list[tuple[tuple[int, float], ...]] = []
    stopped = 0
    for k in range(len(board)):
        trial = board.trial(k)
        if trial.duplicate_of >= 0 or trial.state == "invalid":
            continue
        best: float = -np.inf
        for place, (_, value) in enumerate(trial.intermediate):
            best = max(best, value)
            others = [seen[place][1] for seen in known if len(seen) > place]
            last = place == len(trial.intermediate) - 1
            falls = bool(known) and bool(others) and best < np.median(others)
            if trial.state == "pruned":
                assert falls == last
            elif not last:
                assert not falls
        stopped += trial.state == "pruned"
        if trial.state == "complete":
            known.append(trial.intermediate)
    assert stopped > 0


@pytest.mark.parametrize(("paths", "step", "steps"), [(12, 3, 4), (11, 3, 4), (2, 10, 1)])
def test_decisions_are_counted(tmp_path: Path, paths: int, step: int, steps: int) -> None:
    settings = (*SEARCH, f"monte_carlo.paths={paths}", f"monte_carlo.step={step}")
    spec = create_study(write_study(tmp_path), out=tmp_path / "out", overrides=settings).spec
    assert pruning_steps(spec, paths + 1) == steps
    plain = create_study(tmp_path / "study.toml", out=tmp_path / "b", overrides=("data.slices=7",))
    assert pruning_steps(plain.spec, 7) == 7


# -- winners ---------------------------------------------------------------------------


def test_winners_are_evaluated_again_on_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    verify = Study.verify_paths
    monkeypatch.setattr(
        Study, "verify_paths", lambda self, k: (asked.append(k), verify(self, k))[1]
    )
    study, _ = run_small(tmp_path, *SEARCH, MEDIAN, trials=10)
    assert asked == study.best()
    number = asked[0]
    board = study.board
    trial = board.trial(number)
    changed = replace(trial, values=(np.nextafter(trial.values[0], np.inf),))
    monkeypatch.setattr(type(board), "trial", lambda self, k: changed)
    with pytest.raises(ReplayMismatchError, match=f"TRIAL {number} DOES NOT REPLAY: over"):
        verify(study, number)


def test_paths_that_changed_since_a_study_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = run_small(tmp_path, *SEARCH, trials=4)
    number = study.best(1)[0]
    study.verify_paths(number)
    fresh = Study.open(tmp_path / "out")
    robust = fresh.setup.robust
    assert robust is not None
    paths = robust.paths
    spec = replace(paths.resampler.spec, seed=77)
    other = replace(robust, paths=replace(paths, resampler=replace(paths.resampler, spec=spec)))
    monkeypatch.setitem(fresh.__dict__, "setup", replace(fresh.setup, robust=other))
    with pytest.raises(ReplayMismatchError, match="over its paths"):
        fresh.verify_paths(number)


# -- the study's file, and its commands ------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (("data.slices=4",), "an objective over paths takes the search range as one slice"),
        (('data.store="stream"',), "paths are drawn from ticks that are mapped"),
        (("monte_carlo.step=0",), "step"),
        (('monte_carlo.method="session"',), "sessions"),
        (("monte_carlo.paths=1.5",), "paths"),
        (('monte_carlo.method="stationary"', 'monte_carlo.restart="session"'), "no sessions"),
        (('study.objective="quantile(net_profit, 5)"',), "between 0 and 1"),
        (('study.objective="cvar(max_drawdown, 0.1)"',), "write cvar(-max_drawdown, 0.1)"),
        (('study.constraints=["mean(mean(sharpe)) >= 0"]',), "within another"),
        (("monte_carlo.gap=5", "monte_carlo.opens=3"), "gap and opens both say"),
        ((MEDIAN, 'study.objective=["mean(net_profit)", "mean(sharpe)"]'), "single objective"),
    ],
)
def test_what_cannot_be_searched_is_said(
    tmp_path: Path, settings: tuple[str, ...], text: str
) -> None:
    path = write_study(tmp_path, sampler="random")
    with pytest.raises((StudyFileError, InputError)) as caught:
        create_study(path, out=tmp_path / "out", overrides=(*SEARCH, *settings))
    assert text in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_paths_are_part_of_what_a_robust_study_is_and_of_no_other(tmp_path: Path) -> None:
    path = write_study(tmp_path, trials=3)
    for out, settings in (("robust", SEARCH), ("plain", SEARCH[:1])):
        run_study(create_study(path, out=tmp_path / out, overrides=settings), engine=SerialEngine())
    for setting in ("monte_carlo.paths=13", "monte_carlo.seed=5", 'monte_carlo.method="slots"'):
        with pytest.raises(StudyMismatchError, match=setting.partition("=")[0]):
            create_study(path, out=tmp_path / "robust", overrides=(*SEARCH, setting))
        same = create_study(path, out=tmp_path / "plain", overrides=(*SEARCH[:1], setting))
        assert same._setup is not None
        assert same._setup.robust is None


def test_commands_read_a_robust_study(tmp_path: Path) -> None:
    study, summary = run_small(tmp_path, *SEARCH, MEDIAN, trials=12)
    out = study.folder
    best = summary.best[0]
    label = "quantile(net_profit, 0.25) - max_drawdown_cash"
    trials = sweep("trials", out, "-f", "json")
    assert trials.code == 0, trials.err
    row = next(r for r in trials.json if r["trial"] == best)
    assert row[label] == study.board.trial(best).values[0]
    assert row["net_profit"] == study.metrics(best)["net_profit"]
    for command in (("best", out), ("show", out)):
        found = sweep(*command)
        assert found.code == 0, (command, found.err)
    replay = sweep("replay", best, "--study", out, "-f", "json")
    assert replay.code == 0, replay.err
    assert replay.json["metrics"]["net_profit"] == study.metrics(best)["net_profit"]
    # The holdout is what it is without paths.
    values = study.space.decode(study.board.trial(best).params)
    held = study.replay(values, on="holdout").metrics
    assert study.holdout_metrics(best) == held


def test_a_search_says_where_strategies_do_not_begin_again(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "study_helpers.py").read_text()
    strategy = text.split('STRATEGY = """')[1].split('"""')[0]
    # Short for the defaults, and long where a search may come to.
    strategy += "\n\ndef warmup(params):\n    return int(2.0 * params.slow)\n"
    path = write_study(tmp_path, strategy=strategy, trials=2)
    study = create_study(path, out=tmp_path / "out", overrides=SEARCH)
    assert study.setup.robust is not None
    assert study.setup.robust.paths.resampler.spec == ResampleSpec("sessions", 1, restart="never")
    assert any("state and position go through" in said for said in study.setup.warnings)
    summary = run_study(study, engine=SerialEngine())
    assert any("state and position go through" in said for said in summary.messages)
