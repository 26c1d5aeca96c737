"""What memory each worker has for itself, beyond the ticks that all of them share.

A study runs with 1, 2, 4 and 8 workers, and all its processes are looked at from outside
several times a second: USS (what a process alone holds; pages of the tick store left
out), and PSS (with its share of what several hold).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sweep.bench.frame import BenchError, BenchResult, Settings, figure
from sweep.bench.launch import Launched, launch, write_study
from sweep.bench.ticks import bench_ticks

__all__ = ["run"]

_TICKS, _QUICK_TICKS = 2_000_000, 20_000
_TRIALS, _QUICK_TRIALS = 2_000, 200
_WORKERS, _QUICK_WORKERS = (1, 2, 4, 8), (2,)


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text."""
    handle = bench_ticks(settings, _TICKS, _QUICK_TICKS)
    ticks_mib = handle.n_ticks * 8 * len(handle.columns) / 2**20
    trials = _QUICK_TRIALS if settings.quick else _TRIALS
    largest: list[float] = []
    orchestrators: list[float] = []
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        study = write_study(Path(folder) / "study.toml", settings, ticks=_TICKS, quick=_QUICK_TICKS)
        for k in range(settings.rounds(2, quick=1)):
            for workers in _QUICK_WORKERS if settings.quick else _WORKERS:
                settings.say(f"{workers} workers")
                found = launch(
                    study,
                    Path(folder) / f"out{k}-{workers}",
                    *("--sampler", "random", "--trials", str(trials), "-j", str(workers)),
                    sample_every=0.1,
                )
                each, orchestrator, pss, uss = _peaks(found, workers)
                largest.append(max(each))
                orchestrators.append(orchestrator)
                rows.append((workers, ticks_mib, max(each), orchestrator, uss, pss))
    figures = (
        figure(
            "uss_mib_per_worker",
            "MiB",
            largest,
            settings,
            note="lower is better; each run's largest worker, at its peak",
        ),
        figure("orchestrator_uss_mib", "MiB", orchestrators, settings, note="at its peak"),
    )
    names = ("workers", "ticks MiB", "USS of one", "USS orchestrator", "USS of all", "PSS of all")
    return BenchResult(
        "memory",
        figures,
        (f"{handle.n_ticks:,} ticks; a random search of {trials:,} trials; MiB",),
        (("Memory by number of workers", names, tuple(rows)),),
    )


def _peaks(found: Launched, workers: int) -> tuple[list[float], float, float, float]:
    """Return the peak USS of each worker and of the orchestrator, and of the sums."""
    by_pid: dict[int, float] = {}
    orchestrator = 0.0
    for sample in found.samples:
        for process in sample.processes:
            if process.role == "worker":
                by_pid[process.pid] = max(by_pid.get(process.pid, 0.0), process.uss)
            elif process.role == "orchestrator":
                orchestrator = max(orchestrator, process.uss)
    if len(by_pid) < workers:
        raise BenchError(f"saw {len(by_pid)} of {workers} workers; the run was too short")
    pss = max(sum(p.pss for p in s.processes) for s in found.samples)
    uss = max(sum(p.uss for p in s.processes) for s in found.samples)
    return list(by_pid.values()), orchestrator, pss, uss
