"""Where the CPU time of an exhaustive sweep goes, and what memory it holds over time.

A grid of 100,000 variants through `sweep run`, all of whose processes are watched from
outside. The share of kernels is that of the CPU time of all processes together, from
launch to end, imports and the writing of results included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from sweep.bench.frame import BenchError, BenchResult, Settings, figure
from sweep.bench.launch import Launched, Sample, launch, write_study

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 2_000_000, 4_000
_POINTS, _QUICK_POINTS = (400, 250), (25, 20)


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text."""
    points = _QUICK_POINTS if settings.quick else _POINTS
    variants = points[0] * points[1]
    shares: list[float] = []
    rates: list[float] = []
    growth: list[float] = []
    peaks: list[float] = []
    tables = []
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        study = write_study(
            Path(folder) / "study.toml",
            settings,
            ticks=_TICKS,
            quick=_QUICK_TICKS,
            points=points,
        )
        if not settings.quick:
            settings.say("one short run, for the caches")
            launch(study, Path(folder) / "first", "--sampler", "grid", "--trials", "100")
        for k in range(settings.rounds(3, quick=1)):
            settings.say(f"a grid of {variants:,} variants")
            found = launch(
                study,
                Path(folder) / f"out{k}",
                *("--sampler", "grid", "--trials", str(variants)),
                sample_every=0.05 if settings.quick else 0.5,
            )
            evaluated = int(found.run["variants_evaluated"])
            if evaluated != variants:
                raise BenchError(f"{evaluated:,} of {variants:,} variants were evaluated")
            kernels = _kernel_seconds(found.run)
            shares.append(kernels / found.cpu)
            rates.append(variants / found.seconds)
            peaks.append(max(_own(s) for s in found.samples))
            growth.append(_growth(found.samples))
            tables.append(
                (f"CPU seconds, run {k + 1}", ("where", "seconds", "share"), _parts(found))
            )
    figures = (
        figure("kernel_share", "share", shares, settings, note="of the CPU time of all processes"),
        figure("variants_per_second", "1/s", rates, settings, note="from launch to end"),
        figure("peak_uss_mib", "MiB", peaks, settings, note="all processes, ticks left out"),
        figure(
            "growth_mib",
            "MiB",
            growth,
            settings,
            note="USS of all: mean of the last third less that of the first",
        ),
    )
    return BenchResult("grid", figures, (f"{variants:,} variants",), tuple(tables))


def _kernel_seconds(run: dict[str, Any]) -> float:
    return float(run["kernel_s"])


def _own(sample: Sample) -> float:
    return sum(p.uss for p in sample.processes)


def _growth(samples: tuple[Sample, ...]) -> float:
    """Return the mean memory of the last third less that of the first, all processes there."""
    most = max(len(s.processes) for s in samples)
    whole = [_own(s) for s in samples if len(s.processes) == most]
    third = max(len(whole) // 3, 1)
    return fmean(whole[-third:]) - fmean(whole[:third])


def _parts(found: Launched) -> tuple[tuple[str, float, float], ...]:
    """Return where CPU time went: kernels, the rest of the workers, the orchestrator."""
    last: dict[int, tuple[str, float]] = {}
    for sample in found.samples:
        for process in sample.processes:
            last[process.pid] = (process.role, process.cpu)
    workers = sum(cpu for role, cpu in last.values() if role == "worker")
    orchestrator = sum(cpu for role, cpu in last.values() if role == "orchestrator")
    kernels = _kernel_seconds(found.run)
    parts = {
        "kernels": kernels,
        "workers, the rest": workers - kernels,
        "orchestrator": orchestrator,
    }
    parts["not seen"] = found.cpu - sum(parts.values())
    return tuple((name, value, value / found.cpu) for name, value in parts.items())
