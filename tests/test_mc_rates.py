"""How often what `sweep mc` prints is right, on markets in which nothing can be earned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_helpers import SERIAL, sweep
from mc_helpers import STRATEGY
from scipy.stats import binom
from study_helpers import run_small


def printed(folder: Path, seed: int, mode: str, methods: str) -> list[dict[str, Any]]:
    """Return what is printed of a variant in a market without drift."""
    market = f"data.synth={{sessions=40, ticks_per_session=60, seed={seed}}}"
    settings = (market, "data.holdout=0.0", "costs.commission_rate=0.0", SERIAL[1])
    study, _ = run_small(
        folder / str(seed), *settings, strategy=STRATEGY, sampler="random", trials=1
    )
    found = sweep(
        "mc", "--study", study.folder, "--param", f"mode={mode}", "-m", methods,
        "--paths", 199, "--seed", seed, "-f", "json",
    )  # fmt: skip
    assert found.code == 0, found.err
    findings: list[dict[str, Any]] = found.json["findings"]
    return findings


def near(count: int, n: int, rate: float) -> bool:
    """Whether so many of n are what a rate gives, but for once in a thousand times."""
    low, high = binom.ppf([0.0005, 0.9995], n, rate)
    return bool(low <= count <= high)


@pytest.mark.slow
def test_intervals_of_the_mean_cover_it(tmp_path: Path) -> None:
    """One who buys and keeps earns nothing on average: 0 lies in 90 % intervals as often.

    Measured: MEASURED_COVER
    """
    n = 200
    covered = 0
    for seed in range(n):
        figures = printed(tmp_path, seed, "hold", "pnl")[0]["figures"]
        covered += figures["mean_low_90"] <= 0.0 <= figures["mean_high_90"]
    print(covered)
    assert near(covered, n, 0.9)


@pytest.mark.slow
def test_timing_that_is_none_is_rejected_at_the_nominal_rate(tmp_path: Path) -> None:
    """A rule on past prices times nothing in a random walk: p-values below 0.1 in a tenth.

    Measured: MEASURED_NULL
    """
    n = 200
    rejected = {"shift": 0, "random-entry": 0}
    for seed in range(n):
        for finding in printed(tmp_path, 1000 + seed, "wave", "shift,random-entry"):
            rejected[finding["method"]] += finding["figures"]["p_value"] <= 0.1
    print(rejected)
    for name, count in rejected.items():
        assert near(count, n, 0.1), (name, count)
