"""Searches in folds: against a plain recomputation, after a kill, and on a market that turns."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from study_helpers import write_study

from sweep.api import create_study
from sweep.backtest.tasks import replay
from sweep.engines.serial import SerialEngine
from sweep.errors import InputError
from sweep.schema import STATUS_ERROR, Slice
from sweep.search.objective import Objectives
from sweep.stats.metrics import merge
from sweep.study.file.sections import ValidateSection
from sweep.study.runner import run_study
from sweep.study.study import Study
from sweep.units import Duration
from sweep.validation.report.walkforward import walk_forward_table, wander_table
from sweep.validation.walkforward import fold_studies, shared_search
from sweep.validation.walkforward.evaluate import evaluate_pieces
from sweep.validation.walkforward.fold_studies import fold_seed
from sweep.validation.walkforward.result import WalkForwardResult, rank_correlation
from sweep.validation.walkforward.run import (
    evaluations_in_folds,
    information_interval,
    out_of_sample_curve,
    study_folds,
    walk_forward,
)
from sweep.validation.walkforward.shared_search import candidates

HOUR = 3600 * 10**9
DAY = 24 * HOUR

STRATEGY = """
from typing import NamedTuple
from sweep.strategy import Space, categorical, integer


class Params(Space):
    side: int = categorical(1, -1)
    window: int = integer(2, 200, default=20, log=True)
    wait: int = integer(0, 30, default=0)


class State(NamedTuple):
    mean: float
    since: int


def warmup(params):
    return 2 * params.window


def start(tick):
    return State(tick.mid, 0)


def step(state, tick, params):
    mean = state.mean + (tick.mid - state.mean) * 2.0 / (params.window + 1.0)
    up = tick.mid > mean
    since = state.since + 1 if up == (tick.mid > state.mean) else 0
    target = float(params.side) if up else -float(params.side)
    if since < params.wait:
        target = 0.0
    return State(mean, since), target
"""

MARKET = "data.synth={sessions = 8, ticks_per_session = 400, seed = 5}"
SETTINGS = (MARKET, "data.holdout=0.0", 'study.constraints=["trades >= 20"]')


def small(folder: Path, *settings: str, sampler: str = "grid", trials: int = 200) -> Study:
    path = write_study(folder, sampler=sampler, trials=trials, strategy=STRATEGY)
    return create_study(path, out=folder / "out", overrides=(*SETTINGS, *settings))


def grid(folder: Path, *settings: str) -> Study:
    ranges = (
        "space.window={low = 2, high = 200, step = 22}",
        "space.wait={low=0, high=30, step=5}",
    )
    return small(folder, *ranges, *settings)


def searched(study: Study, settings: ValidateSection, **more: Any) -> WalkForwardResult:
    return walk_forward(study, study_folds(study, settings), engine=SerialEngine(), **more)


def same(a: WalkForwardResult, b: WalkForwardResult) -> None:
    assert json.dumps(a.to_dict()) == json.dumps(b.to_dict())
    for p, q in zip(a.paths, b.paths, strict=True):
        assert p.row.tobytes() == q.row.tobytes()


# -- against a plain recomputation -----------------------------------------------------


def plain_row(study: Study, params: Any, windows: Any, edges: Any) -> Any:
    """Return a variant's row on windows: each stretch between edges replayed by itself."""
    ts = study.mapped_ticks.ts
    search = study.setup.ranges.search
    row = None
    for window in windows:
        cuts = [window.start, *(e for e in edges if window.start < e < window.stop), window.stop]
        for a, b in pairwise(cuts):
            inside = np.flatnonzero((ts >= a) & (ts < b))
            piece = Slice(int(inside[0]), int(inside[-1]) + 1, search.begin)
            # Where train was purged, what is open stays open, at its mark.
            found = replay(
                study.setup.context, params, (piece,), carry_over=True, close_out=b in edges
            ).row.reshape(1)
            row = found if row is None else merge(row, found)
    return row


@pytest.mark.parametrize(
    "settings",
    [
        ValidateSection(folds=3, train=4, test=1, purge=20 * 60 * 10**9),
        ValidateSection(folds=4, anchored=True, purge=0),
        ValidateSection(scheme="cpcv", groups=4, test_groups=2, purge=HOUR, embargo=HOUR),
    ],
    ids=["rolling", "anchored", "cpcv"],
)
def test_choices_and_scores_are_those_of_a_plain_recomputation(
    tmp_path: Path, settings: ValidateSection
) -> None:
    study = grid(tmp_path, "space.wait={low=0, high=30, step=15}", "study.trials=30")
    found = searched(study, settings)
    folds = found.folds
    numbers, params = candidates(study)
    assert found.evaluations == len(params) == 30
    for fold, choice in zip(folds.folds, found.chosen, strict=True):
        best, most = -1, -math.inf
        for number, row in zip(numbers.tolist(), params, strict=True):
            train = plain_row(study, row, fold.train, folds.edges)
            profit = float(train["equity"][0] - train["capital"][0])
            if train["trades"][0] >= 20 and profit > most:
                best, most = number, profit
        assert (choice.number, choice.train) == (best, most)
        row = params[int(np.searchsorted(numbers, best))]
        assert study.space.encode(choice.shown).tolist() == row.tolist()
        for window, tested in zip(fold.test, choice.test_rows, strict=True):
            own = plain_row(study, row, (window,), folds.edges)
            assert own.tobytes() == np.asarray(tested).tobytes()
    for path, score in zip(folds.paths, found.paths, strict=True):
        profits = [float(found.chosen[k].test_rows[w]["equity"]) - 100.0 for k, w in path]
        capital = study.setup.context.account.capital
        profits = [p + 100.0 - capital for p in profits]
        assert score.value == pytest.approx(math.fsum(profits), abs=1e-9)
        assert score.metrics["net_profit"] == score.value


def test_the_curve_out_of_sample_ends_where_the_score_says(tmp_path: Path) -> None:
    study = grid(tmp_path)
    found = searched(study, ValidateSection(folds=4, purge=HOUR))
    curve = out_of_sample_curve(study, found)
    assert (np.diff(curve.ts) >= 0).all()
    capital = study.setup.context.account.capital
    assert curve.equity[-1] - capital == pytest.approx(found.paths[0].value, abs=1e-9)
    assert len(curve.ts) == int(found.paths[0].row["ticks"])
    assert np.unique(curve.fold).tolist() == [0, 1, 2, 3]


def test_chunks_and_blocks_do_not_change_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ValidateSection(folds=4)
    whole = searched(grid(tmp_path / "a"), settings)
    monkeypatch.setattr(shared_search, "CHUNK", 7)
    monkeypatch.setattr(shared_search, "BLOCK", 28)
    same(whole, searched(grid(tmp_path / "b"), settings))


def test_ranks_and_correlations_are_of_all_variants(tmp_path: Path) -> None:
    study = grid(tmp_path, "study.constraints=[]")
    found = searched(study, ValidateSection(scheme="holdout", purge=0))
    fold, choice = found.folds.folds[0], found.chosen[0]
    _, params = candidates(study)
    rows = [plain_row(study, row, fold.test, found.folds.edges) for row in params]
    profits = np.array([float(r["equity"][0] - r["capital"][0]) for r in rows])
    own = choice.test
    others = np.delete(profits, choice.number)
    assert choice.rank == pytest.approx((others < own).mean() + 0.5 * (others == own).mean())
    x, y = np.array([1.0, 2, 2, 4, np.nan]), np.array([1.0, 3, 2, 4, 0])
    assert rank_correlation(x, y) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(rank_correlation(x, np.zeros(5)))


def test_workers_do_not_change_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_search, "CHUNK", 20)
    settings = ValidateSection(folds=3, purge=HOUR)
    alone = searched(grid(tmp_path / "a"), settings)
    study = grid(tmp_path / "b", "compute.workers=2", 'compute.engine="loky"')
    same(alone, walk_forward(study, study_folds(study, settings)))


FEATURES = """
from typing import NamedTuple
import numpy as np
from sweep.strategy import Space, integer


class Params(Space):
    window: int = integer(2, 60, default=20)


class Features(NamedTuple):
    mean: float


class State(NamedTuple):
    n: int


def warmup(params):
    return params.window


def features(ticks, params):
    # Of all that it is given: it shows where features begin.
    mid = 0.5 * (ticks.bid + ticks.ask)
    return Features(np.cumsum(mid) / (np.arange(len(mid)) + 1))


def start(tick):
    return State(0)


def step(state, tick, params, features):
    return State(state.n + 1), 1.0 if tick.mid > features.mean else -1.0
"""


def test_features_of_a_piece_begin_with_its_warm_up(tmp_path: Path) -> None:
    """So that a piece has the same bits alone and as the beginning of a longer one's run."""
    path = write_study(tmp_path, sampler="grid", trials=20, strategy=FEATURES)
    study = create_study(path, out=tmp_path / "out", overrides=SETTINGS[:2])
    context, params = study.setup.context, study.space.defaults[None]
    piece, rest = Slice(900, 1500, 0), Slice(1500, 2100, 0)
    alone = evaluate_pieces(context, params, [(Slice(900, 2100, 0),)]).rows
    both = evaluate_pieces(context, params, [(piece, rest)]).rows
    assert both[:, 1].tobytes() == alone[:, 0].tobytes()
    reach = int(study.space.decode(params[0])["window"])
    cut = piece._replace(warmup=piece.begin - reach)
    open_ = replay(context, params[0], (cut,), carry_over=True, close_out=False)
    assert both[0, 0].tobytes() == np.asarray(open_.row).tobytes()
    found = searched(study, ValidateSection(folds=3, purge=HOUR))
    curve = out_of_sample_curve(study, found)
    assert len(curve.ts) == int(found.paths[0].row["ticks"])


def test_a_failure_on_a_piece_is_that_piece_s_alone(tmp_path: Path) -> None:
    """A failure in a test window that marked train windows too would tell choices of it."""
    failing = FEATURES.replace(
        "1.0 if tick.mid > features.mean else -1.0",
        "(np.nan if state.n > 900 else 1.0 if tick.mid > features.mean else -1.0)",
    )
    path = write_study(tmp_path, sampler="grid", trials=20, strategy=failing)
    study = create_study(path, out=tmp_path / "out", overrides=SETTINGS[:2])
    context, params = study.setup.context, study.space.defaults[None]
    long, short = Slice(100, 1100, 0), Slice(1100, 1400, 0)
    piece, rest = Slice(1400, 2000, 0), Slice(2000, 2600, 0)
    rows = evaluate_pieces(context, params, [(long,), (short,), (piece, rest)]).rows[0]
    assert (rows["status"] == STATUS_ERROR).tolist() == [True, False, False, True]
    alone = evaluate_pieces(context, params, [(short,)]).rows[0]
    assert rows[1].tobytes() == alone[0].tobytes()
    cut = piece._replace(warmup=piece.begin - int(study.space.decode(params[0])["window"]))
    open_ = replay(context, params[0], (cut,), carry_over=True, close_out=False)
    assert rows[2].tobytes() == np.asarray(open_.row).tobytes()


def test_train_after_a_test_window_warms_up_after_it(tmp_path: Path) -> None:
    path = write_study(tmp_path, sampler="grid", trials=20, strategy=FEATURES)
    study = create_study(path, out=tmp_path / "out", overrides=SETTINGS[:2])
    folds = study_folds(study, ValidateSection(scheme="k_fold", folds=3, purge=0))
    ts = study.mapped_ticks.ts
    longest = max(int(study.space.decode(row)["window"]) for row in candidates(study)[1])
    assert longest >= 20
    for fold in folds.folds:
        for train in fold.train:
            first = int(np.searchsorted(ts, train[0]))
            tested = int(np.searchsorted(ts, fold.test[0][1]))
            assert train[0] < fold.test[0][1] or first - longest >= tested


def test_a_learning_search_after_a_test_window_knows_nothing_of_it(tmp_path: Path) -> None:
    """Its warm-up is bounded too, whatever embargo is set."""
    settings = ValidateSection(scheme="k_fold", folds=3, purge=0, embargo=0)
    path = write_study(tmp_path, sampler="tpe", trials=5, strategy=FEATURES)
    study = create_study(path, out=tmp_path / "out", overrides=SETTINGS[:2])
    folds = study_folds(study, settings)
    ts = study.mapped_ticks.ts
    for f, fold in enumerate(folds.folds):
        own = fold_studies._fold_study(study, folds, f, tmp_path / "folds")
        assert not own.setup.carry_over
        behind = int(np.searchsorted(ts, fold.test[0][1]))
        for cut in own.setup.slices:
            assert cut.begin < behind or cut.warmup >= behind


def test_points_that_are_added_count_once_in_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_search, "CHUNK", 16)
    settings = ValidateSection(folds=3, purge=HOUR)
    for trials in (20, 40):
        path = write_study(tmp_path, sampler="random", trials=trials)
        study = create_study(path, out=tmp_path / "out", overrides=SETTINGS[:2])
        run_study(study, engine=SerialEngine())
        searched(study, settings)
        assert evaluations_in_folds(study) == len(shared_search.candidates(study)[0])
        assert study.evaluations() == study.board.evaluated()


# -- going on --------------------------------------------------------------------------


class Dying(SerialEngine):
    """An engine whose process dies with the task after some."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.done = 0

    def submit(self, function: Any, /, *arguments: Any) -> Any:
        if self.done == self.after:
            raise MemoryError("killed")
        self.done += 1
        return super().submit(function, *arguments)


def test_a_killed_search_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_search, "CHUNK", 20)
    settings = ValidateSection(folds=4)
    whole = searched(grid(tmp_path / "a"), settings)
    study = grid(tmp_path / "b")
    folds = study_folds(study, settings)
    with pytest.raises(MemoryError):
        walk_forward(study, folds, engine=Dying(3))
    kept = sorted((study.folder / "validate").glob("rows-*/*.rows"))
    # `gather` hands two tasks over before it takes the results of either.
    assert 1 <= len(kept) <= 3
    assert evaluations_in_folds(study) == 20 * len(kept)
    # A file that a kill left half written, or that rotted, is evaluated again.
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    engine = Dying(-1)
    found = walk_forward(grid(tmp_path / "b"), folds, engine=engine)
    same(whole, found)
    chunks = -(-found.evaluations // 20)
    assert engine.done == chunks - len(kept) + 1
    again = Dying(0)
    same(whole, walk_forward(study, folds, engine=again))
    assert evaluations_in_folds(study) == found.evaluations
    # Another split tries no other points; the study, which was not run, knows of them.
    searched(study, ValidateSection(folds=2))
    assert evaluations_in_folds(study) == found.evaluations
    assert Study.open(study.folder).evaluations() == found.evaluations


def test_an_interrupted_search_in_each_fold_goes_on(tmp_path: Path) -> None:
    settings = ValidateSection(folds=2, train=4, test=2, purge=0)
    sampler = {"sampler": "tpe", "trials": 8}
    whole = searched(small(tmp_path / "a", **sampler), settings)
    study = small(tmp_path / "b", **sampler)
    calls = iter(range(10**6))
    with pytest.raises(KeyboardInterrupt):
        searched(study, settings, interrupted=lambda: int(next(calls) > 12))
    assert 0 < evaluations_in_folds(study) == study.evaluations() < 16
    same(whole, searched(study, settings))
    assert whole.evaluations == evaluations_in_folds(study) == 16
    assert Study.open(study.folder).evaluations() == 16
    for k, choice in enumerate(whole.chosen):
        fold = whole.folds.folds[k]
        own = Study.open(next((study.folder / "validate").glob(f"fold-{k}-*")))
        assert own.spec.study.seed == fold_seed(study.spec.study.seed, k)
        row = plain_row(study, choice.params, fold.train, (fold.train[0].stop,))
        assert choice.train == float(row["equity"][0] - row["capital"][0])
        assert math.isnan(choice.rank)
    assert fold_seed(1, 0) != fold_seed(1, 1) != fold_seed(2, 1)


def test_a_search_in_each_fold_of_a_combination(tmp_path: Path) -> None:
    study = small(tmp_path, sampler="tpe", trials=5)
    settings = ValidateSection(scheme="k_fold", folds=2, purge=HOUR)
    found = searched(study, settings)
    assert found.evaluations == 10
    assert [p.row["ticks"] for p in found.paths] == [len(study.mapped_ticks.ts)]


def test_a_study_that_was_run_is_asked_about_its_own_trials(tmp_path: Path) -> None:
    study = small(tmp_path, sampler="random", trials=20)
    run_study(study, engine=SerialEngine())
    numbers, params = candidates(study)
    assert numbers.tolist() == list(range(20))
    assert params.tolist() == study.board.select(numbers).params.tolist()
    searched(study, ValidateSection(folds=2))
    assert study.evaluations() == len(numbers)
    held = information_interval(study, study.best(1)[0])
    assert 0 < held == study_folds(study, ValidateSection(folds=2)).purge
    study.objectives = Objectives(replace(study.spec.study, objective=("mean(net_profit)",)))
    with pytest.raises(InputError, match="over paths"):
        walk_forward(study)


def test_nothing_is_chosen_where_every_variant_misses_a_requirement(tmp_path: Path) -> None:
    study = grid(tmp_path, 'study.constraints=["trades >= 100000"]')
    found = searched(study, ValidateSection(folds=2, purge=0))
    assert all(c.number is None and "miss a requirement" in c.reason for c in found.chosen)
    assert math.isnan(found.paths[0].value)
    assert math.isnan(found.efficiency)
    assert found.paths[0].reason == "no fold chose a variant"
    assert found.to_dict()["degradation"]["train"] is None
    with pytest.raises(InputError, match="nothing to draw"):
        out_of_sample_curve(study, found)


# -- a market that turns ---------------------------------------------------------------


def turning(path: Path, days: int = 16, ticks: int = 500, last_day: float = 1.0) -> None:
    """Write a market whose moves go on in the first half and turn back in the second.

    The moves of the last day are multiplied by ``last_day``.
    """
    rng = np.random.default_rng(11)
    stamps, moves = [], []
    for day in range(days):
        noise = rng.normal(size=ticks)
        # Moves with a memory of moves, and then prices with a memory of a level.
        weight = 0.75 if day < days // 2 else 0.9
        found = np.empty(ticks)
        last = 0.0
        for k in range(ticks):
            last = weight * last + noise[k]
            found[k] = last
        stamps.append(day * DAY + 8 * HOUR + np.arange(ticks) * 10 * 10**9)
        moves.append(found if day < days // 2 else np.diff(found, prepend=0.0))
    moves[-1] = moves[-1] * last_day
    mid = 1000.0 + 0.05 * np.cumsum(np.concatenate(moves))
    table = {
        "ts": pa.array(np.concatenate(stamps) + 16_000 * DAY, pa.timestamp("ns")),
        "bid": mid - 0.001,
        "ask": mid + 0.001,
    }
    pq.write_table(pa.table(table), path)


def of_turning(folder: Path, **market: Any) -> Study:
    """Return a study of a grid on that market."""
    path = write_study(folder, sampler="grid", trials=1000, strategy=STRATEGY)
    turning(folder / "ticks.parquet", **market)
    text = path.read_text().replace('source = "synth"', 'source = "ticks.parquet"')
    path.write_text("\n".join(x for x in text.splitlines() if not x.startswith("synth")))
    ranges = ("space.window={low = 2, high = 14, step = 4}", "space.wait=0")
    return create_study(path, out=folder / "o", overrides=(*ranges, "data.holdout=0.0"))


def test_no_choice_knows_of_its_test_window(tmp_path: Path) -> None:
    """With another last day, all is the same to the bit but the last fold's test."""
    settings = ValidateSection(folds=12, train=4, test=1, purge=HOUR)
    one = searched(of_turning(tmp_path / "a"), settings)
    other = searched(of_turning(tmp_path / "b", last_day=-3.0), settings)
    for a, b in zip(one.chosen, other.chosen, strict=True):
        assert (a.number, a.train) == (b.number, b.train)
        assert a.train_row.tobytes() == b.train_row.tobytes()
        assert (a.test_rows[0].tobytes() == b.test_rows[0].tobytes()) == (a.fold < 11)


def test_a_market_whose_edge_flips_is_seen_in_the_walk_forward(tmp_path: Path) -> None:
    study = of_turning(tmp_path)
    found = searched(study, ValidateSection(folds=12, train=4, test=1, purge=0))
    sides = [c.shown["side"] for c in found.chosen]
    # Four sessions train: the side turns once the new regime outweighs the old one.
    assert sides[:4] == [1] * 4
    assert sides[-4:] == [-1] * 4
    first = found.chosen[4]  # trains before the turn, is tested after it
    assert first.shown["side"] == 1
    assert first.train > 0.0 > first.test
    # Whoever had searched the whole range would have seen nothing of it.
    assert all(c.test > 0.0 for c in (*found.chosen[:4], *found.chosen[-4:]))
    side = next(w for w in found.wander if w.name == "side")
    assert (side.distinct, side.at_random) == (2, 0.5)
    assert side.moved == pytest.approx(1 / 11)
    assert found.degradation.loss > 0.0
    assert found.efficiency < 1.0
    assert [r[0] for r in walk_forward_table(found).rows] == list(range(12))
    assert {r[0] for r in wander_table(found).rows} == {"side", "window"}
    held = searched(study, ValidateSection(scheme="holdout", train=8, test=8, purge=0))
    assert held.chosen[0].train > 0.0 > held.chosen[0].test
    assert held.chosen[0].rank < 0.5
    clock = ValidateSection(folds=3, unit=Duration(12 * HOUR), purge=0)
    assert searched(study, clock).folds.n_units == 16
