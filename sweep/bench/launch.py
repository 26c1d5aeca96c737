"""`sweep run` in a process of its own, watched from outside: time, CPU, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sweep.bench.frame import BenchError, Settings
from sweep.bench.kernel import CLOCK, RATE, strategy_file
from sweep.bench.ticks import market
from sweep.ticks.synthetic import SynthSpec

__all__ = ["Launched", "Process", "Sample", "launch", "memory_of", "write_study"]

_MIB = float(1 << 20)


@dataclass(frozen=True)
class Process:
    """One process at one moment.

    Attributes
    ----------
    pid : int
    role : {"orchestrator", "worker", "other"}
    uss, pss : float
        MiB; the first without pages of the tick store, the second with its share of them.
    cpu : float
        Seconds so far, of user and system.
    """

    pid: int
    role: str
    uss: float
    pss: float
    cpu: float


@dataclass(frozen=True)
class Sample:
    """All processes of a run at one moment, in seconds since its launch."""

    at: float
    processes: tuple[Process, ...]


@dataclass(frozen=True)
class Launched:
    """A run that has ended.

    Attributes
    ----------
    run : dict
        What ``sweep run -f json`` says about the run.
    seconds : float
        From launch to end.
    first_trial : float
        From launch to the first finished trial in the study's folder; NaN without one.
    cpu : float
        Seconds of user and system, all processes together.
    samples : tuple of Sample
    """

    run: dict[str, Any]
    seconds: float
    first_trial: float
    cpu: float
    samples: tuple[Sample, ...]


def write_study(
    path: Path,
    settings: Settings,
    *,
    ticks: int,
    quick: int,
    points: tuple[int, int] | None = None,
) -> Path:
    """Write a study of the benches' crossover.

    Parameters
    ----------
    path : Path
    settings : Settings
    ticks, quick : int
        How many to generate where there is no source; in a quick run.
    points : tuple of int, optional
        Values of each of the two windows, for a grid.
    """
    synthetic = settings.source is None or settings.source == "synth"
    source = "synth" if synthetic else str(Path(str(settings.source)).expanduser().absolute())
    spec = market(quick if settings.quick else ticks)
    grid = ("", "") if points is None else tuple(f", points = {n}" for n in points)
    lines = [
        "[study]",
        'name = "bench"',
        f"strategy = {json.dumps(str(strategy_file('crossover')))}",
        "seed = 1",
        'objective = "net_profit"',
        "start = false",
        "[data]",
        f"source = {json.dumps(source)}",
        "holdout = 0.0",
        *(_synth_lines(spec) if synthetic else ()),
        "[space]",
        f"fast = {{low = 50.0, high = 2000.0, log = true{grid[0]}}}",
        f"slow = {{low = 2100.0, high = 50000.0, log = true{grid[1]}}}",
        "[costs]",
        f"commission_rate = {RATE}",
        "slippage = 0.0",
        "[account]",
        "capital = 1e6",
        f'clock = "{CLOCK // 1_000_000_000}s"',
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _synth_lines(spec: SynthSpec) -> list[str]:
    return [
        "[data.synth]",
        f"seed = {spec.seed}",
        f"sessions = {spec.sessions}",
        f"ticks_per_session = {spec.ticks_per_session}",
    ]


def launch(
    study: Path,
    out: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    sample_every: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Launched:
    """Run a study in a process of its own and wait for its end.

    Parameters
    ----------
    study, out : Path
        The study file, and the folder that it is to make.
    *flags : str
        Of ``sweep run``.
    env : mapping of str to str, optional
        Added to the environment.
    sample_every : float, optional
        Seconds between samples of all processes' memory and CPU; none by default.
    clock : callable, optional

    Raises
    ------
    BenchError
        If the run fails; its messages are in the text.
    """
    command = [sys.executable, "-m", "sweep", "run", str(study), "--out", str(out), "-f", "json"]
    samples: list[Sample] = []
    first, least = float("nan"), -1
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began = clock()
        child = subprocess.Popen(
            [*command, "-q", *flags],
            env={**os.environ, **(env or {})},
            stdout=stdout,
            stderr=stderr,
        )
        try:
            due = began
            while True:
                pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    break
                if first != first:
                    # The ledger begins with a few bytes that name it; a trial makes it longer.
                    size = _size(out / "ledger.bin")
                    first = clock() - began if 0 < least < size else first
                    least = size if least <= 0 else least
                if sample_every is not None and clock() >= due:
                    samples.append(Sample(clock() - began, _processes(child.pid)))
                    due = clock() + sample_every
                time.sleep(0.002 if first != first else 0.01)
            seconds = clock() - began
            child.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode:
            said = stderr.read().decode("utf-8", "replace").strip()
            raise BenchError(f"sweep run {study} ended with {child.returncode}:\n{said}")
        document = json.load(stdout)
    cpu = usage.ru_utime + usage.ru_stime
    return Launched(document["run"], seconds, first, cpu, tuple(samples))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _processes(root: int) -> tuple[Process, ...]:
    found = []
    try:
        orchestrator = psutil.Process(root)
        family = [orchestrator, *orchestrator.children(recursive=True)]
    except psutil.Error:
        return ()
    for process in family:
        try:
            role = "orchestrator" if process.pid == root else _role(process)
            times = process.cpu_times()
            uss, pss = memory_of(process.pid)
            found.append(Process(process.pid, role, uss, pss, times.user + times.system))
        except (psutil.Error, OSError):
            continue
    return tuple(found)


def _role(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return "worker" if "sweep.engines.worker" in words else "other"


def memory_of(pid: int) -> tuple[float, float]:
    """Return a process's USS without the tick store, and its PSS, in MiB.

    Pages of the store's files belong to the system's cache, however many processes map
    them; a process that maps them alone would seem to own them.

    Raises
    ------
    OSError
        If the process is gone, or not ours.
    """
    own, proportional, counted = 0, 0, True
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("Private_"):
                own += int(line.split()[1]) if counted else 0
            elif line.startswith("Pss:"):
                proportional += int(line.split()[1])
            elif "-" in line.split(" ", 1)[0]:
                counted = "/ticks/" not in line
    return own * 1024 / _MIB, proportional * 1024 / _MIB
