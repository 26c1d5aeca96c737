"""The verdict on whole studies: markets with nothing in them, and with a planted effect."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.study.folder import read_manifest, write_manifest
from sweep.study.runner import run_study
from sweep.study.study import Study
from sweep.validation.claims import walked_forward
from sweep.validation.evidence import LUCK, STRONG, UNKNOWN, WEAK, OutOfSample, Settings
from sweep.validation.evidence_of_study import evidence_of, walked
from sweep.validation.verdict import verdict

STRATEGY = """
from typing import NamedTuple
from sweep.strategy import Space, categorical, real


class Params(Space):
    window: float = real(5, 500, default=50, log=True)
    side: str = categorical("follow", "fade")


class State(NamedTuple):
    mean: float


def start(tick):
    return State(tick.mid)


def step(state, tick, params):
    mean = state.mean + (tick.mid - state.mean) * 2.0 / (params.window + 1.0)
    up = 1.0 if tick.mid > mean else -1.0
    return State(mean), up if params.side == "follow" else -up
"""

#: 120 sessions of 600 ticks at next to no cost, so that noise loses nothing on average.
STUDY = """
[study]
name = "market"
strategy = "strategy.py"
seed = 1
trials = 40
objective = "net_profit"
sampler = "random"

[data]
source = "synth"
holdout = 0.0

[data.synth]
sessions = 120
ticks_per_session = 600
seed = {seed}
tick_size = 1e-5
spread_ticks = 1
effect = "{effect}"
effect_size = {size}

[costs]
commission_rate = 0.0
slippage = 0.0

[account]
clock = "1d"
"""


def grade(folder: Path, seed: int, effect: str, size: float) -> str:
    """Search 40 settings on a market, and return the verdict's grade."""
    own = folder / str(seed)
    own.mkdir()
    (own / "strategy.py").write_text(STRATEGY)
    (own / "study.toml").write_text(STUDY.format(seed=seed, effect=effect, size=size))
    run_study(create_study(own / "study.toml", out=own / "out"), engine=SerialEngine())
    evidence = evidence_of(Study.open(own / "out"))
    return verdict(evidence, Settings(n_bootstrap=200, seed=seed)).grade


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study of a market with a strong drift."""
    folder = tmp_path_factory.mktemp("drifting")
    assert grade(folder, 3, "momentum", 2.0) in (WEAK, STRONG)
    return Study.open(folder / "3" / "out")


def test_a_study_of_noise_is_called_luck(tmp_path: Path) -> None:
    assert grade(tmp_path, 1, "none", 1.0) == LUCK


def test_the_evidence_is_what_trials_earned(drifting: Study) -> None:
    evidence = evidence_of(drifting)
    capital = float(drifting.manifest["capital"])
    assert evidence.returns.shape == (120, 40)
    assert evidence.numbers[evidence.winner] == drifting.best(1)[0]
    for number, returns in zip(evidence.numbers[:5], evidence.returns.T, strict=False):
        profit = drifting.metrics(int(number))["net_profit"]
        assert returns.sum() * capital == pytest.approx(profit, abs=1e-4)
    assert (evidence.n_evaluations, evidence.n_own) == (40, 40)
    # Five days of seven, without holidays.
    assert evidence.per_year == pytest.approx(365.25 * 5 / 7, rel=0.02)
    assert evidence.held == "the study keeps no holdout; data.holdout sets one"


def test_variants_that_were_stopped_on_the_way_are_left_out_and_counted(
    drifting: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = drifting.session_returns()
    returns = kept.returns.copy()
    best = int(np.flatnonzero(kept.numbers == drifting.best(1)[0])[0])
    stopped = [k for k in range(40) if k != best][:25]
    returns[60:, stopped] = np.nan
    monkeypatch.setattr(drifting, "session_returns", lambda: replace(kept, returns=returns))
    evidence = evidence_of(drifting)
    assert evidence.returns.shape == (120, 15)
    assert evidence.numbers[evidence.winner] == kept.numbers[best]
    found = verdict(evidence, Settings(n_bootstrap=200))
    assert found.grade == WEAK
    assert "of 15 variants, while the search evaluated 40" in found.notes[0]
    returns[60:, best] = np.nan
    assert evidence_of(drifting).winner == -1


def test_a_walk_forward_is_evidence_session_by_session(drifting: Study) -> None:
    found, result = walked(drifting, engine=SerialEngine())
    assert result is not None
    assert isinstance(found, OutOfSample)
    assert len(found.returns) == 75  # 5 folds test 15 sessions each
    capital = float(drifting.manifest["capital"])
    assert found.returns.sum() * capital == pytest.approx(found.net_profit, rel=1e-9)
    claim = walked_forward(found, 252.0)
    assert claim.grade == STRONG
    assert claim.figures["sharpe"] > 3.0


def test_a_study_that_kept_no_session_returns_says_so(drifting: Study, tmp_path: Path) -> None:
    copied = tmp_path / "old"
    shutil.copytree(drifting.folder, copied)
    manifest, _ = read_manifest(copied / "study.json")
    manifest["sessions"] = {"edges": [], "reason": "there is no room for them"}
    write_manifest(copied / "study.json", manifest)
    found = verdict(evidence_of(Study.open(copied)), Settings())
    assert found.grade == UNKNOWN
    assert "there is no room for them" in found.sentence


@pytest.mark.slow
def test_studies_of_noise_are_called_luck(tmp_path: Path) -> None:
    """Of 200 markets without an effect, at least 95 % are luck, within two errors.

    Measured: luck 193, weak 7.
    """
    found = Counter(grade(tmp_path, seed, "none", 1.0) for seed in range(200))
    assert found[LUCK] >= 190 - 6
    assert found[STRONG] <= 2 + 3


@pytest.mark.slow
@pytest.mark.parametrize(("size", "least"), [(1.0, 1), (1.5, 20), (2.0, 40)])
def test_studies_of_momentum_are_found(size: float, least: int, tmp_path: Path) -> None:
    """Drifts of either sign of 2,000 ticks, which move by `size` deviations of their noise.

    Measured over 50 markets: luck 45, weak 5 at 1; strong 7, weak 21, luck 22 at 1.5; strong
    23, weak 23, luck 4 at 2.
    """
    found = Counter(grade(tmp_path, seed, "momentum", size) for seed in range(50))
    assert found[STRONG] + found[WEAK] >= least
