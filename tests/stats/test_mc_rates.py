"""How often what `sweep mc` prints is right, on markets in which nothing can be earned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_helpers import SERIAL, sweep
from mc_helpers import STRATEGY
from scipy.stats import binom
from study_helpers import run_small


def printed(
    folder: Path, seed: int, mode: str, methods: str, *, market: int | None = None
) -> list[dict[str, Any]]:
    """Return what is printed of a variant in a market without drift."""
    of_market = seed if market is None else market
    ticks = f"data.synth={{sessions=40, ticks_per_session=60, seed={of_market}}}"
    settings = (ticks, "data.holdout=0.0", "costs.commission_rate=0.0", SERIAL[1])
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

    Measured: 186 of 200 (93 %; one standard error is 2.1 %).
    """
    n = 200
    covered = 0
    for seed in range(n):
        figures = printed(tmp_path, seed, "hold", "pnl")[0]["figures"]
        covered += figures["mean_low_90"] <= 0.0 <= figures["mean_high_90"]
    assert near(covered, n, 0.9)


@pytest.mark.slow
def test_timing_that_is_none_is_rejected_at_the_nominal_rate(tmp_path: Path) -> None:
    """One who does not look at prices times nothing: p-values up to 0.1 in a tenth.

    Measured: 20 of 200 by either test. A rule that follows a mean of these mids, which are
    rounded to a grid and so go back more often than not, is worse than chance: 10 and 9.
    """
    n = 200
    rejected = {"shift": 0, "random-entry": 0}
    for seed in range(n):
        for finding in printed(tmp_path, seed, "flip", "shift,random-entry", market=1000 + seed):
            rejected[finding["method"]] += finding["figures"]["p_value"] <= 0.1
    for name, count in rejected.items():
        assert near(count, n, 0.1), (name, count)
