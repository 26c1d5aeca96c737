"""The search finds what is planted in a market, and earns nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from study_helpers import ROOT

from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.study.runner import run_study

SEEDS = range(1, 13)


def holdout_profits(tmp_path: Path, effect: str, seed: int) -> list[float]:
    """Return what a small study's five winners earn on ticks that it never saw."""
    study = create_study(
        ROOT / "studies" / "quickstart.toml",
        out=tmp_path / f"{effect}{seed}",
        trials=40,
        overrides=(
            f"data.synth.effect={effect}",
            f"data.synth.seed={seed}",
            "data.synth.sessions=20",
            "study.sampler=random",
            "study.top=5",
        ),
    )
    summary = run_study(study, engine=SerialEngine())
    found = [study.holdout_metrics(number) for number in summary.best]
    return [metrics["net_profit"] for metrics in found if metrics is not None]


def t_of_markets(tmp_path: Path, effect: str) -> float:
    """Return the t statistic of the winners' mean profit over independent markets.

    The winners of one market share its luck, so that a market counts once.
    """
    means = np.array([np.mean(holdout_profits(tmp_path, effect, seed)) for seed in SEEDS])
    return float(means.mean() / (means.std(ddof=1) / np.sqrt(len(means))))


def test_winners_earn_on_the_holdout_where_trends_are_planted(tmp_path: Path) -> None:
    assert t_of_markets(tmp_path, "momentum") > 5.0


def test_winners_earn_nothing_on_the_holdout_where_nothing_is_planted(tmp_path: Path) -> None:
    """One-sided at 5 % with 11 degrees of freedom; the seeds are fixed, and so the answer."""
    assert t_of_markets(tmp_path, "none") < 1.80
