"""Measure what a study costs besides its evaluation, and how soon its first trial is there.

Runs one study in fresh processes, with a cold and with a warm kernel cache, and prints
where the time went: until the first finished trial, in the sampler, in evaluation, idle;
and each worker's own memory. With --source on real ticks, otherwise on generated ones.

    python benchmarks/bench_study.py [--source TICKS] [--trials 500] [--grid 100] [-f json]

Every figure is of this machine at this moment; the shares are what can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

STUDY = """
[study]
strategy = "{root}/strategies/ema_crossover.py"
seed = 1
objective = "sharpe"

[data]
source = "{source}"

[space]
fast = "100:5000:log"
slow = "6000:100000:log"
short = true

[costs]
commission_rate = 0.0
slippage = 0.01
latency = "50ms"
"""


def run(study: Path, out: Path, cache: Path, *flags: str) -> dict[str, Any]:
    """Run the study in a process of its own and return its summary."""
    done = subprocess.run(
        [sys.executable, "-m", "sweep", "run", str(study), "--out", str(out), "-f", "json", *flags],
        env={**os.environ, "SWEEP_CACHE": str(cache)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)["run"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="synth")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--grid", type=int, default=100, help="points of each of two axes")
    parser.add_argument("-f", choices=("table", "json"), default="table")
    given = parser.parse_args()
    source = given.source if given.source == "synth" else str(Path(given.source).resolve())
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.toml"
        study.write_text(STUDY.format(root=ROOT, source=source))
        cache = Path(folder) / "cache"
        tpe = ("--sampler", "tpe", "--trials", str(given.trials))
        axes = f'study.sampler={{name="grid", points={given.grid}}}'
        for name, flags in {
            "tpe_cold": (*tpe, "--trials", "20"),
            "tpe_warm": tpe,
            "grid_warm": ("--set", axes, "--trials", str(given.grid**2)),
        }.items():
            figures[name] = run(study, Path(folder) / name, cache, *flags)
    if given.f == "json":
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"bench": "study", "machine": machine, "figures": figures}))
        return
    for name, figure in figures.items():
        print(name)
        for key, value in figure.items():
            print(f"  {key:20} {value}")


if __name__ == "__main__":
    main()
