"""What each Monte Carlo method says of variants of which it is known."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mc_helpers import STRATEGY, ask, make, same_paths

from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.errors import DataError, EvaluationError, InputError, StoreError
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.methods import ticks
from sweep.montecarlo.methods.stress import _read
from sweep.montecarlo.methods.ticks import Asked, on_resampled
from sweep.montecarlo.report.document import finding_parts
from sweep.montecarlo.report.text import facts
from sweep.montecarlo.request import ALL_METHODS, MonteCarlo, request_of
from sweep.montecarlo.run import run_methods
from sweep.montecarlo.subject import Subject, history_of, subjects_of
from sweep.report.terminal import lines_of
from sweep.scenarios.evaluate import PathTask, evaluate_paths, path_context
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.scenarios.simulate.calibrate import calibrate
from sweep.schema import ROW
from sweep.stats.metrics import metrics_of
from sweep.study.row_cache import CHUNK, PathRows
from sweep.study.study import Study
from tests.backtest.test_sameness import DisorderlyEngine


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make(tmp_path_factory.mktemp("known"), "costs.commission_rate=2e-5")


def subject(study: Study, **values: Any) -> Subject:
    return subjects_of(study, values=values)[0]


# -- what a variant did on the history -------------------------------------------------

CUTS = {
    "whole": (),
    "carry": ("data.slices=3",),
    "independent": ("data.slices=5", 'data.slicing="independent"'),
}


@pytest.mark.parametrize("cut", CUTS)
def test_history_adds_up_to_the_variants_profit(tmp_path: Path, cut: str) -> None:
    study = make(tmp_path, *CUTS[cut], trials=1)
    for mode in ("wave", "hold", "flip"):
        asked = subject(study, mode=mode)
        history = history_of(study, asked)
        found = study.replay(study.space.decode(asked.row))
        profit = found.metrics["net_profit"]
        assert math.fsum(history.session_profits) == pytest.approx(profit, abs=1e-8)
        assert math.fsum(history.trade_profits) == pytest.approx(profit, abs=1e-8)
        assert len(history.session_profits) == 10
        assert len(history.trade_profits) == found.metrics["trades"]
        # Cut by hand, tick by tick.
        record = found.replay
        begins = {0} if cut != "independent" else {s.begin for s in study.mapped.tick_slices}
        expected, equity, last_ts = [0.0], 0.0, int(record.ts[0])
        for k, ts in enumerate(record.ts.tolist()):
            equity = history.capital if k in begins else equity
            if ts - last_ts >= 30 * 60 * 10**9:
                expected.append(0.0)
            expected[-1] += record.equity[k] - equity
            equity, last_ts = record.equity[k], ts
        assert history.session_profits == pytest.approx(np.array(expected), abs=1e-8)
        # Each trade lies in the session in which it was closed.
        sums = np.zeros(10)
        np.add.at(sums, history.trade_sessions, history.trade_profits)
        if mode == "flip":  # flat or reversed at every tick: nothing stays open for long
            assert sums == pytest.approx(history.session_profits, abs=0.5)


@pytest.mark.parametrize("cut", CUTS)
def test_positions_on_the_clock_earn_what_they_earned_before_costs(
    tmp_path: Path, cut: str
) -> None:
    study = make(tmp_path, *CUTS[cut], "account.contract_size=10.0", trials=1)
    asked = subject(study, mode="hold")
    history = history_of(study, asked)
    ticks = study.mapped_ticks
    clock = study.mapped.context.account.clock
    end = study.mapped.tick_slices[-1].end
    periods: dict[int, int] = {}
    for k in range(end):
        periods[int(ticks.ts[k]) // clock] = k
    lasts = list(periods.values())
    mids = [0.5 * (ticks.bid[k] + ticks.ask[k]) for k in lasts]
    assert history.changes == pytest.approx(np.diff(mids) * 10.0)
    assert history.changes.sum() == pytest.approx((mids[-1] - mids[0]) * 10.0)
    if cut != "independent":
        assert (history.positions == 1.0).all()
    else:
        flat = {s.end - 1 for s in study.mapped.tick_slices}
        assert [p == 0.0 for p in history.positions] == [k in flat for k in lasts[:-1]]


def test_history_knows_where_sessions_begin(study: Study) -> None:
    asked = subject(study, mode="hold")
    by_gaps = history_of(study, asked)
    assert len(history_of(study, asked, gap=24 * 60.0 * 30).session_profits) == 1
    by_clock = history_of(study, asked, opens=12.0)
    assert len(by_clock.session_profits) != len(by_gaps.session_profits)
    assert by_clock.session_profits.sum() == pytest.approx(by_gaps.session_profits.sum())
    one = ask(study, "pnl", opens=12.0)[0]
    assert one.summaries["net_profit"].units.n == len(by_clock.session_profits)


def test_a_pruned_trial_is_asked_about_as_a_whole(tmp_path: Path) -> None:
    pruner = 'study.pruner={name="median", n_startup_trials=2, n_warmup_steps=1}'
    study = make(tmp_path, *CUTS["independent"], pruner, sampler="tpe", trials=30)
    pruned = next(k for k in range(len(study.board)) if study.board.states[k] == "pruned")
    trial = history_of(study, subjects_of(study, [pruned])[0])
    row = study.board.trial(pruned).params
    alone = history_of(study, Subject("it", row, {}, None))
    assert trial.session_profits.tobytes() == alone.session_profits.tobytes()
    assert trial.changes.tobytes() == alone.changes.tobytes()
    assert len(trial.session_profits) == 10


def test_subjects_are_named_by_numbers_and_values(study: Study) -> None:
    best = subjects_of(study)[0]
    assert best.trial == study.best(1)[0]
    assert [s.label for s in subjects_of(study, [2, 0, 2])] == ["trial 2", "trial 0"]
    own = subjects_of(study, values={"mode": "never", "length": 7})[0]
    assert own.label == "mode=never length=7 ceiling=1e+06"
    known = study.space.decode(study.board.trial(1).params)
    assert [s.trial for s in subjects_of(study, values=known)] == [1]
    with pytest.raises(InputError, match="no trial 9; there are 4"):
        subjects_of(study, [9])
    with pytest.raises(InputError, match=r"length=63 .*valid\(\) refuses these values"):
        subjects_of(study, values={"length": 63})


# -- resampled results -----------------------------------------------------------------


def test_results_are_resampled_or_said_to_be_impossible(study: Study) -> None:
    methods = ("pnl", "trades", "permutation", "shift", "random-entry")
    wave = {f.method: f for f in ask(study, *methods)}
    profit = wave["pnl"].observed["net_profit"]
    for name in ("pnl", "trades"):
        seen = wave[name].summaries["net_profit"].observed
        assert seen is not None
        assert seen.value == pytest.approx(profit)
    assert wave["pnl"].paths["net_profit"].shape == (64,)
    assert wave["pnl"].curves["profit"].shape == (5, 10)
    assert 0.0 < wave["shift"].figures["p_value"] <= 1.0
    never = {f.method: f for f in ask(study, *methods, mode="never")}
    assert never["pnl"].figures["probability_of_loss"] == 0.0
    assert np.isnan(never["pnl"].figures["sharpe_low_90"])
    for name in methods[1:]:
        assert never[name].n_paths == 0
        assert any("cannot be said, because" in note for note in never[name].notes)
    flip = ask(study, "pnl", mode="flip")[0]
    assert flip.figures["probability_of_loss"] == 1.0
    assert flip.figures["mean_high_90"] < 0.0


def test_one_session_supports_no_resampling(tmp_path: Path) -> None:
    one = make(tmp_path, "data.synth={sessions=1, ticks_per_session=900, seed=3}", trials=1)
    found = ask(one, "pnl", "trades", "sessions", "permutation")
    assert [f.method for f in found] == ["pnl", "trades", "permutation", "sessions"]
    for finding in found:
        if finding.method != "permutation":
            assert finding.n_paths == 0
            assert any("cannot be said, because" in note for note in finding.notes)
    assert found[2].n_paths == 64
    # Alone there is nothing to show: an error.
    with pytest.raises(DataError):
        ask(one, "sessions")


# -- paths of ticks --------------------------------------------------------------------


def test_the_plan_in_order_is_the_history(study: Study) -> None:
    asked = [subject(study, mode=mode) for mode in ("wave", "flip")]
    spec = ResampleSpec("identity", restart="never")
    for one, finding in zip(
        asked, on_resampled(study, asked, SerialEngine(), spec, Asked(3)), strict=True
    ):
        metrics = study.replay(study.space.decode(one.row)).metrics
        for name, values in finding.paths.items():
            assert np.array_equal(values, np.full(3, metrics[name]), equal_nan=True), name
        assert finding.observed == pytest.approx(metrics, nan_ok=True, rel=0, abs=0)
        assert any("every path gives the same" in note for note in finding.notes)


def test_paths_have_the_rows_of_their_tasks(study: Study) -> None:
    finding = ask(study, "sessions", n_paths=5)[0]
    setup, part = study.mapped, study.mapped.tick_slices[0]
    context = path_context(
        setup.context, setup.strategy, setup.space, ResampleSpec("sessions", seed=1),
        part.begin, part.end,
    )  # fmt: skip
    row = subject(study, mode="wave").row
    rows = evaluate_paths(context, PathTask(0, row[None], 0, 5)).rows[0]
    for name, values in metrics_of(rows, study.periods_per_year).items():
        assert np.array_equal(finding.paths[name], values, equal_nan=True)


@pytest.mark.parametrize("method", ["sessions", "gbm"])
def test_a_path_is_the_same_among_more_of_them_and_on_any_engine(study: Study, method: str) -> None:
    few = ask(study, method, n_paths=20, seed=5)[0]
    many = ask(study, method, n_paths=100, seed=5)[0]
    assert same_paths(few, many, 20)
    assert not same_paths(ask(study, method, n_paths=20, seed=6)[0], few)
    for path in (study.folder / "mc").rglob("*.rows"):
        path.unlink()
    lossy = DisorderlyEngine(3, loses=0.3)
    again = ask(study, method, n_paths=100, seed=5, engine=lossy)[0]
    lossy.close(cancel=True)
    assert lossy.lost > 0
    assert same_paths(many, again)


def test_variants_do_not_depend_on_those_beside_them(study: Study) -> None:
    rows = [subject(study, mode=mode) for mode in ("wave", "hold")]
    asked = MonteCarlo(("sessions",), n_paths=16, seed=11)
    alone = run_methods(study, rows[:1], SerialEngine(), asked)
    together = run_methods(study, rows[::-1], SerialEngine(), asked)
    assert same_paths(alone[0], together[1])
    assert [f.variant for f in together] == [r.label for r in rows[::-1]]


def test_a_sure_loss_loses_and_nothing_earns_nothing(study: Study) -> None:
    for method in ("sessions", "slots", "gbm"):
        flip = ask(study, method, mode="flip", n_paths=16)[0]
        assert flip.figures["probability_of_loss"] == 1.0
        assert (flip.paths["net_profit"] < 0.0).all()
        never = ask(study, method, mode="never", n_paths=16)[0]
        assert never.figures["probability_of_loss"] == 0.0
        assert never.figures["paths_without_trades"] == 16.0
        assert (never.paths["net_profit"] == 0.0).all()
        assert np.isnan(never.paths["sharpe"]).all()
        assert any("every path gives the same" in note for note in never.notes)


def test_a_path_that_loses_nothing_is_among_the_best(study: Study) -> None:
    finding = ask(study, "sessions", mode="hold", n_paths=200)[0]
    factors = finding.paths["profit_factor"]
    assert 0 < np.isnan(factors).sum() < 150
    summary = finding.summaries["profit_factor"]
    assert (summary.n_failed, summary.n_empty) == (0, 0)
    expected = np.quantile(
        np.where(np.isnan(factors), np.inf, factors), 0.25, method="inverted_cdf"
    )
    assert next(q.value for q in summary.quantiles if q.level == 0.25) == expected
    assert summary.mean.reason == "a replicate is infinite"
    # What cannot be measured of a path is not said to have failed.
    never = ask(study, "sessions", mode="never", n_paths=16)[0].summaries["sharpe"]
    assert (never.n_failed, never.n_empty) == (0, 16)


def test_failed_paths_have_no_value_and_are_told(study: Study) -> None:
    highest = float(study.mapped_ticks.mid[: study.mapped.tick_slices[0].end].max())
    values = {"mode": "flip", "ceiling": highest * 1.001}
    for _ in range(2):  # evaluated, and then from the shelf
        finding = ask(study, "sessions", n_paths=64, values=values)[0]
        bad = np.isnan(finding.paths["net_profit"])
        assert 0 < bad.sum() < 64
        assert finding.figures["failed_paths"] == bad.sum()
        assert any(
            note.startswith(f"failed on {bad.sum()} of 64 paths")
            and "not a finite number at tick" in note
            and f"of path {np.flatnonzero(bad)[0]}" in note
            for note in finding.notes
        )
        # Without a value is as bad as a loss, and no path of this one earns.
        assert finding.figures["probability_of_loss"] == 1.0
        assert finding.summaries["net_profit"].n_failed == bad.sum()
    with pytest.raises(EvaluationError, match="the history cannot be evaluated"):
        ask(study, "sessions", values={"mode": "flip", "ceiling": highest * 0.999})


def test_a_strategy_with_features_is_refused_on_paths_alone(tmp_path: Path) -> None:
    text = STRATEGY.replace(
        "class State", "class Features(NamedTuple):\n    m: float\n\n\nclass State"
    )
    text = text.replace(
        "def step(", "def features(ticks, params):\n    return Features(ticks.mid)\n\n\ndef step("
    )
    text = text.replace("step(state, tick, params)", "step(state, tick, params, features)")
    study = make(tmp_path, strategy=text, trials=1)
    with pytest.raises(InputError, match=r"features.*sweep mc -m pnl"):
        ask(study, "sessions")
    with pytest.raises(InputError, match=r"without features\(\).*sweep mc -m pnl"):
        ask(study, "gbm")
    pnl, *others = ask(study, "pnl", "sessions", "gbm")
    assert pnl.n_paths == 64
    for other in others:
        assert other.n_paths == 0
        assert "cannot be said, because" in other.notes[0]


def test_what_a_model_took_has_its_fit_in_it(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any, **settings: Any) -> Any:
        time.sleep(0.5)
        return calibrate(*arguments, **settings)

    monkeypatch.setattr("sweep.montecarlo.run.calibrate", slow)
    for _ in range(2):  # evaluated, and then from the shelf
        began = time.perf_counter()
        finding = ask(study, "gbm", n_paths=8, seed=91)[0]
        passed = time.perf_counter() - began
        assert 0.5 <= finding.fitting_seconds <= finding.seconds <= passed
        assert dict(facts(finding))["took"].endswith("of it for fitting")
    sessions = ask(study, "sessions", n_paths=8)[0]
    assert sessions.fitting_seconds == 0.0
    assert "fitting" not in dict(facts(sessions))["took"]


# -- the shelf -------------------------------------------------------------------------


class Counting:
    """An engine that notes which paths are evaluated, and may be interrupted after some."""

    workers = 1

    def __init__(self, most: int = 10**9) -> None:
        self.done: list[tuple[int, int]] = []
        self.most = most
        self.engine = SerialEngine()

    def submit(self, function: Any, /, *arguments: Any) -> Any:
        task = arguments[-1]
        self.done.append((task.first, len(task.params)))
        return self.engine.submit(function, *arguments)

    def interrupted(self) -> int:
        return int(len(self.done) >= self.most)

    def recycle(self) -> None: ...

    def close(self, *, cancel: bool) -> None: ...


def test_what_was_finished_is_found_again(study: Study) -> None:
    asked = MonteCarlo(("sessions",), n_paths=4 * CHUNK, seed=21)
    rows = [subject(study, mode="wave")]
    broken = Counting(most=2)
    with pytest.raises(KeyboardInterrupt):
        run_methods(study, rows, broken, asked, interrupted=broken.interrupted)
    assert broken.done == [(0, 1), (CHUNK, 1)]
    resumed = Counting()
    found = run_methods(study, rows, resumed, asked)[0]
    assert resumed.done == [(2 * CHUNK, 1), (3 * CHUNK, 1)]
    # A second variant: its own paths alone are evaluated.
    second = Counting()
    both = run_methods(study, [*rows, subject(study, mode="hold")], second, asked)
    assert second.done == [(k * CHUNK, 1) for k in range(4)]
    assert same_paths(found, both[0])
    # A damaged file, one cut short, and one that is gone are evaluated again.
    files = sorted(f for f in (study.folder / "mc").rglob("*.rows"))
    by_time = sorted(files, key=lambda f: f.stat().st_mtime_ns)[-4:]
    content = bytearray(by_time[0].read_bytes())
    content[len(content) // 2] ^= 1
    by_time[0].write_bytes(content)
    by_time[1].write_bytes(by_time[1].read_bytes()[:-8])
    by_time[2].unlink()
    third = Counting()
    again = run_methods(study, [subject(study, mode="hold")], third, asked)[0]
    assert third.done == [(0, 1), (CHUNK, 1), (2 * CHUNK, 1)]
    assert same_paths(again, both[1])


def test_what_rows_follow_from_decides_where_they_lie(study: Study, tmp_path: Path) -> None:
    rows = [subject(study, mode="wave")]

    def evaluated(of: Study, **settings: Any) -> int:
        engine = Counting()
        run_methods(of, rows, engine, MonteCarlo(n_paths=CHUNK, **{"seed": 31, **settings}))
        return len(engine.done)

    assert evaluated(study) == 1
    assert evaluated(study) == 0
    for settings in ({"seed": 32}, {"block": 2.0}, {"restart": "never"}, {"level": "ticks"},
                     {"tick_size": 0.0}, {"methods": ("slots",)}):  # fmt: skip
        assert evaluated(study, **settings) == 1, settings
        assert evaluated(study, **settings) == 0, settings
    costs = make(tmp_path, "costs.commission_rate=3e-5", trials=1)
    (costs.folder / "mc").symlink_to(study.folder / "mc")
    assert evaluated(costs) == 1


def test_a_shelf_says_what_is_wrong_with_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="ask for fewer"):
        PathRows.check_room(tmp_path / "not" / "there", 10**15)
    (tmp_path / "mc").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        PathRows(tmp_path / "mc", {}).save(0, np.zeros(CHUNK, ROW))


# -- neighbours ------------------------------------------------------------------------


def test_neighbours_are_evaluated_like_any_variant(tmp_path: Path) -> None:
    for cut in CUTS.values():
        study = make(tmp_path / str(len(cut)), *cut, trials=1)
        finding = ask(study, "neighbourhood", n_paths=6)[0]
        assert (finding.paths["mode"] == 0.0).all()  # of a choice there are no neighbours
        for k in range(finding.n_paths):
            row = np.array([finding.paths[name][k] for name in study.space.names])
            alone = study.replay(study.space.decode(row))
            assert finding.paths["net_profit"][k] == alone.metrics["net_profit"]
        names, lines = finding.tables["along length"]
        assert names == ("length", "net_profit", "")
        assert [line[0] for line in lines if line[2]] == [16.0]
        assert 63.0 not in [line[0] for line in lines]


def test_neighbours_that_fail_have_no_value(tmp_path: Path) -> None:
    text = STRATEGY.replace("real(1.0, 1e6, default=1e6)", "real(90.0, 130.0, default=130.0)")
    study = make(tmp_path, strategy=text, trials=1)
    top = float(study.mapped_ticks.mid[: study.mapped.tick_slices[0].end].max())
    finding = ask(study, "neighbourhood", values={"mode": "never", "ceiling": top + 0.5})[0]
    low = finding.paths["ceiling"] < top
    assert 0 < low.sum() < finding.n_paths
    assert np.isnan(finding.paths["net_profit"]).tolist() == low.tolist()
    share = finding.figures["share_above_threshold"]
    assert share == pytest.approx(1.0 - low.mean())
    assert any("neighbours could not be evaluated" in note for note in finding.notes)
    with pytest.raises(InputError, match="not a finite number"):
        ask(study, "neighbourhood", values={"mode": "never", "ceiling": top - 0.5})


def test_nothing_is_above_a_threshold_that_is_undefined(tmp_path: Path) -> None:
    study = make(tmp_path, "study.objective=profit_factor", trials=1)
    finding = ask(study, "neighbourhood", mode="never", n_paths=8)[0]
    assert np.isnan(finding.figures["share_above_threshold"])
    assert "undefined" in finding.reasons["share_above_threshold"]


# -- execution stress ------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
def test_stress_has_the_slopes_that_costs_have(tmp_path: Path, cut: str) -> None:
    study = make(tmp_path, *CUTS[cut], "costs.commission_rate=2e-5", trials=1)
    variants = [subject(study, mode="wave", length=n) for n in (16, 64)]
    variants.append(subject(study, mode="hold"))
    asked = MonteCarlo(("stress",), replicates=2)
    for one, found in zip(
        variants, run_methods(study, variants, SerialEngine(), asked), strict=True
    ):
        own = study.replay(study.space.decode(one.row)).metrics
        assert found.observed["net_profit"] == pytest.approx(own["net_profit"], rel=1e-12)
        figures = found.figures
        # Decisions look at the mid, so that each cost enters in proportion.
        assert figures["profit_per_multiple_of_spread"] == pytest.approx(
            -own["spread_cost"], rel=1e-4
        )
        assert figures["profit_per_multiple_of_commission"] == pytest.approx(
            -own["commission"], rel=1e-6
        )
        for name, paid, most in (("spread", "spread_cost", 3.0), ("commission", "commission", 8.0)):
            edge, expected = figures[f"break_even_{name}"], 1.0 + own["net_profit"] / own[paid]
            if own["net_profit"] <= 0.0:
                assert np.isnan(edge)
                assert "loses" in found.reasons[f"break_even_{name}"]
            elif expected > most:
                assert np.isnan(edge)
                assert "still earns" in found.reasons[f"break_even_{name}"]
            else:
                assert edge == pytest.approx(expected, rel=1e-4)


def test_levels_of_stress_stand_under_whole_titles(study: Study) -> None:
    finding = ask(study, "stress", mode="wave")[0]
    assert finding.tables["latency_exponential"][0][0] == "level, ms, mean"
    lines = [line.plain for line in lines_of(finding_parts(finding), 80)]
    titles = [line for line in lines if line.startswith("level, ")]
    assert len(titles) == len(finding.tables)
    assert not any("…" in line for line in titles)


def test_break_even_lies_on_the_line_between_two_levels() -> None:
    def read(*points: tuple[float, float]) -> tuple[float, float, str]:
        return _read(np.array(points), points[0][1])

    slope, edge, why = read((0.0, 4.0), (1.0, 2.0), (3.0, -2.0))
    assert (slope, edge, why) == (pytest.approx(-2.0), 2.0, "")
    assert read((0.0, 4.0), (1.0, 0.0), (2.0, 1.0))[1] == 1.0  # at first sight
    assert "still earns at 2" in read((0.0, 4.0), (2.0, 3.0))[2]
    assert "loses" in read((0.0, -4.0), (2.0, -3.0))[2]
    assert "earns nothing" in read((0.0, 0.0), (2.0, 0.0))[2]


def test_a_multiple_of_nothing_is_no_robustness(tmp_path: Path) -> None:
    study = make(tmp_path, "costs.commission_rate=0.0", trials=1)
    finding = ask(study, "stress", mode="hold")[0]
    assert "commission" not in finding.tables
    assert np.isnan(finding.figures["break_even_commission"])
    assert finding.reasons["break_even_commission"] == "the study has no commission to multiply"


def test_a_variant_that_fails_under_stress_is_an_error(study: Study) -> None:
    with pytest.raises(EvaluationError, match="not a finite number"):
        ask(study, "stress", values={"ceiling": 50.0})


# -- several methods -------------------------------------------------------------------


def test_methods_go_from_cheap_to_dear_and_a_filter_lets_some_go_on(study: Study) -> None:
    variants = [subject(study, mode=mode) for mode in ("flip", "hold")]
    seen: list[str] = []

    def progress(method: str, done: int, total: int, profits: Any) -> None:
        assert 0 <= done <= total
        if not seen or seen[-1] != method:
            seen.append(method)

    asked = MonteCarlo(
        ("gbm", "sessions", "pnl", "stress"), n_paths=16, replicates=1,
        condition="quantile(net_profit, 0.95) >= 0",
    )  # fmt: skip
    found = run_methods(study, variants, SerialEngine(), asked, progress=progress)
    order = [(f.method, f.variant[:9]) for f in found]
    assert order[0] == ("pnl", "mode=flip")
    assert [f.method for f in found[1:]] == ["pnl", "stress", "sessions", "gbm"]
    assert all(variant == "mode=hold" for _, variant in order[1:])
    assert seen == ["pnl", "stress", "sessions", "gbm"]
    assert found[0].notes[-1].startswith("goes no further: quantile(net_profit, 0.95) >= 0 does")
    # Levels of stress are no replicates: no quantile over them decides.
    asked = replace(asked, methods=("stress", "neighbourhood"))
    left = run_methods(study, variants, SerialEngine(), asked)
    assert [f.method for f in left] == ["neighbourhood"] * 2 + ["stress"]
    alone = run_methods(study, variants, SerialEngine(), replace(asked, methods=("stress",)))
    assert not any("goes no further" in note for f in alone for note in f.notes)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"methods": ()}, "no method is named"),
        ({"methods": ("session",)}, "no method 'session'.*did you mean"),
        ({"n_paths": 0}, "n_paths: expected a whole number above 0, found 0"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, found -1"),
        ({"radius": "wide"}, 'radius: expected a number, found "wide"'),
        ({"condition": "net_profit >= 0"}, "a filter is about functionals over paths"),
        ({"condition": "mean(net_profit) >= net_profit"}, "a filter is about functionals"),
        ({"methods": ("pnl", "slots"), "block": 5.0}, "sessions for pnl, minutes for slots"),
        ({"methods": ("pnl",), "block": 0.5}, "block = 0.5 sessions; expected 1 or more"),
        ({"methods": ("stationary",), "restart": "session"}, "have no sessions to start afresh at"),
        ({"gap": 5.0, "opens": 3.0}, "gap and opens both say"),
    ],
)
def test_what_cannot_be_asked_is_said(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        MonteCarlo(**settings)


def test_settings_of_the_study_are_those_of_its_method(tmp_path: Path) -> None:
    settings = ('monte_carlo.method="stationary"', "monte_carlo.block=300", "monte_carlo.seed=9",
                'monte_carlo.restart="block"', "monte_carlo.gap=45")  # fmt: skip
    study = make(tmp_path, *settings, trials=1)
    own = request_of(study, {})
    assert own.resampling("stationary") == ResampleSpec(
        "stationary", 9, block=300, restart="block", gap=45
    )
    assert own.n_paths == 64
    other = request_of(study, {"methods": ("sessions",), "n_paths": 5})
    assert other.resampling("sessions") == ResampleSpec("sessions", 9, gap=45)
    assert other.n_paths == 5
    assert request_of(study, {"opens": 3.0}).gap is None
    # One method needs no tuple, and is the study's own by either.
    for name in ("stationary", "pnl"):
        assert request_of(study, {"methods": name}) == request_of(study, {"methods": (name,)})
    both = MonteCarlo(("sessions", "moving"), restart="session")
    assert both.resampling("moving").restarts == "never"


def test_every_method_is_found_by_its_name(study: Study) -> None:
    asked = MonteCarlo(ALL_METHODS, n_paths=8, replicates=1)
    findings: list[Finding] = run_methods(
        study, [subject(study, mode="wave")], SerialEngine(), asked
    )
    assert [f.method for f in findings] == list(ALL_METHODS)
    for finding in findings:
        assert finding.to_dict()["method"] == finding.method
        # 5,000 ticks in a block are longer than these data.
        short = finding.method in ("stationary", "circular", "moving")
        assert (finding.n_paths == 0) == short, finding
    assert ticks.TITLES["moving"] == findings[ALL_METHODS.index("moving")].title


def test_the_study_goes_on_with_the_same_folder(study: Study) -> None:
    """Paths beside a study do not keep it from being run again."""
    run_methods(study, [subject(study)], SerialEngine(), MonteCarlo(("sessions",), n_paths=8))
    assert (study.folder / "mc").is_dir()
    again = create_study(
        study.folder.parent / "study.toml",
        out=study.folder,
        overrides=(
            "data.synth={sessions=12, ticks_per_session=500, seed=3}",
            "costs.commission_rate=2e-5",
        ),
    )
    assert len(again.board) == 4
