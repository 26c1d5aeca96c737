"""How soon the first trial is there: from launching `sweep run` in a fresh process.

Warm: ticks and compiled kernel are in the cache. Cold: the ticks are, the kernel is not.
The first trial is there once it lies in the study's ledger.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sweep.bench.frame import BenchError, BenchResult, Settings, figure
from sweep.bench.launch import launch, write_study

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 2_000_000, 4_000
_TRIALS = 10


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text."""
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        root = Path(folder)
        study = write_study(root / "study.toml", settings, ticks=_TICKS, quick=_QUICK_TICKS)
        env = {"SWEEP_CACHE": str(root / "cache")}
        flags = ("--sampler", "tpe", "--trials", str(_TRIALS))
        if settings.quick:
            (root / "cache" / "kernels").mkdir(parents=True)
        else:
            settings.say("importing the ticks")
            launch(study, root / "first", *flags, env=env)
        for k in range(settings.rounds(5, quick=1)):
            for kind in seconds:
                if kind == "cold":
                    shutil.rmtree(root / "cache" / "kernels")
                found = launch(study, root / f"{kind}{k}", *flags, env=env)
                if found.first_trial != found.first_trial:
                    raise BenchError("no first trial was seen in the study's ledger")
                seconds[kind].append(found.first_trial)
                settings.say(f"{kind}: {found.first_trial:.2f} s")
    figures = (
        figure(
            "warm_seconds",
            "s",
            seconds["warm"],
            settings,
            note="lower is better; launch to first trial, ticks and kernel in the cache",
        ),
        figure(
            "cold_seconds",
            "s",
            seconds["cold"],
            settings,
            note="lower is better; the kernel is compiled first",
        ),
    )
    return BenchResult("start", figures)
