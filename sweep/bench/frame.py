"""What every bench shares: figures with bars, paired timing, the machine.

A figure is a ratio or a rate, measured several times in one run; its arms are timed in
turn, so that whatever slows the machine for a while slows all of them, and ratios are
taken within a round. A bar is a report: one that is missed is shown as missed.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sweep.errors import SweepError

__all__ = [
    "BARS",
    "Bar",
    "BenchError",
    "BenchResult",
    "Figure",
    "Settings",
    "figure",
    "machine",
    "ratios",
    "timed",
]


class BenchError(SweepError):
    """Arms of a bench that must agree do not, or an arm failed."""


class Bar(NamedTuple):
    """What a figure must reach, and what would be better still."""

    bar: float
    aim: float
    lower_is_better: bool = False


#: Medians on two cores with real gold ticks; the kernel's ratios with AVX-512.
BARS = {
    "lanes_over_scalar": Bar(4.0, 6.0),
    "branchy_lanes_over_scalar": Bar(2.5, 4.0),
    "lanes_over_c": Bar(0.7, 1.0),
    "lanes_over_python": Bar(300.0, 1000.0),
    "two_workers_over_one": Bar(1.85, 1.95),
    "uss_mib_per_worker": Bar(120.0, 90.0, lower_is_better=True),
    "warm_seconds": Bar(4.0, 2.0, lower_is_better=True),
    "kernel_share": Bar(0.90, 0.97),
    "of_slower": Bar(0.80, 0.95),
    "path_over_lane_cost": Bar(3.0, 1.5, lower_is_better=True),
    "path_over_scalar": Bar(3.0, 6.0),
    "paths_growth_mib": Bar(32.0, 8.0, lower_is_better=True),
    "reality_check_over_arch": Bar(5.0, 20.0),
    "large_reality_check_over_arch": Bar(5.0, 20.0),
    "stepm_over_arch": Bar(5.0, 20.0),
    "large_stepm_over_arch": Bar(5.0, 20.0),
    "mcs_over_arch": Bar(5.0, 20.0),
    "walkforward_over_one_pass": Bar(1.3, 1.1, lower_is_better=True),
}


@dataclass(frozen=True)
class Settings:
    """How benches are asked to run.

    Attributes
    ----------
    source : str or None
        Ticks: a path, or None for generated ones.
    repeat : int or None
        Rounds of every measurement; None: the bench's own default.
    quick : bool
        Few ticks and rounds, to see that a bench works. Its figures mean nothing, so
        that bars are not judged.
    say : callable
        ``say(text)`` while a bench runs, for people.
    """

    source: str | None = None
    repeat: int | None = None
    quick: bool = False
    say: Callable[[str], None] = lambda text: None

    def rounds(self, default: int, quick: int = 2) -> int:
        """Return how often to measure: as asked, or by default."""
        if self.repeat is not None:
            return self.repeat
        return quick if self.quick else default


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    name : str
    unit : str
        ``"x"`` for ratios.
    median, low, high : float
        Of the rounds: the middle, the lowest and the highest.
    bar, aim : float or None
        What it must reach, and should; None where nothing is asked.
    lower_is_better : bool
    note : str
        What the figure is, or is not, in a few words.
    """

    name: str
    unit: str
    median: float
    low: float
    high: float
    bar: float | None = None
    aim: float | None = None
    lower_is_better: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """``"aim met"``, ``"met"``, ``"not met"``, or ``""`` where nothing is asked."""
        for word, mark in (("aim met", self.aim), ("met", self.bar)):
            if mark is not None and self._reaches(mark):
                return word
        return "" if self.bar is None and self.aim is None else "not met"

    def _reaches(self, mark: float) -> bool:
        return self.median <= mark if self.lower_is_better else self.median >= mark


@dataclass(frozen=True)
class BenchResult:
    """What a bench found.

    Attributes
    ----------
    name : str
    figures : tuple of Figure
        With distinct names.
    notes : tuple of str
        What was compared, on what, and what was skipped and why.
    tables : tuple of (str, tuple of str, tuple of tuple)
        Further tables for people: title, column names, rows.
    """

    name: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[tuple[str, tuple[str, ...], tuple[tuple[Any, ...], ...]], ...] = ()

    def document(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            "bench": self.name,
            "machine": dict(machine),
            "figures": {
                f.name: {
                    "median": f.median,
                    "low": f.low,
                    "high": f.high,
                    "bar": f.bar,
                    "aim": f.aim,
                    "unit": f.unit,
                    "lower_is_better": f.lower_is_better,
                    "verdict": f.verdict,
                    "note": f.note,
                }
                for f in self.figures
            },
            "notes": list(self.notes),
            "tables": [
                {"title": title, "rows": [dict(zip(names, row, strict=True)) for row in rows]}
                for title, names, rows in self.tables
            ],
        }


def figure(
    name: str, unit: str, values: Sequence[float], settings: Settings, *, note: str = ""
) -> Figure:
    """Return the figure of several measurements, with its bar where it has one.

    Parameters
    ----------
    name, unit : str
    values : sequence of float
        One for each round.
    settings : Settings
        A quick run is not judged.
    note : str, optional
    """
    if not values or not all(math.isfinite(v) for v in values):
        raise BenchError(f"{name}: measured {list(values)}; expected finite numbers")
    mark = BARS.get(name)
    lower = mark is not None and mark.lower_is_better
    judged = mark is not None and not settings.quick
    return Figure(
        name=name,
        unit=unit,
        median=float(statistics.median(values)),
        low=float(min(values)),
        high=float(max(values)),
        bar=mark.bar if mark and judged else None,
        aim=mark.aim if mark and judged else None,
        lower_is_better=lower,
        note=note,
    )


def timed(
    arms: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time arms in turn, round by round, beginning with another one each time.

    Parameters
    ----------
    arms : mapping of str to callable
        Already warm: compiled, loaded, with their ticks in memory.
    rounds : int
    clock : callable, optional
        Seconds; `time.thread_time` for work of one thread on a busy machine.

    Returns
    -------
    dict of str to list of float
        Seconds, one for each round.
    """
    names = list(arms)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for k in range(rounds):
        shift = k % len(names)
        for name in names[shift:] + names[:shift]:
            began = clock()
            arms[name]()
            seconds[name].append(clock() - began)
    return seconds


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratios of measurements that were taken in the same rounds."""
    return [a / b for a, b in zip(above, below, strict=True)]


def machine() -> dict[str, str]:
    """Return what the figures depend on besides the program: processor and versions."""
    import llvmlite.binding as llvm
    import numba
    import numpy as np
    import psutil

    features = llvm.get_host_cpu_features()
    simd = [n for n in ("avx512f", "avx2", "sve", "neon", "sse4.2") if features.get(n)]
    return {
        "cpu": f"{_cpu_model()} ({llvm.get_host_cpu_name()})",
        "cores": str(len(os.sched_getaffinity(0))),
        "simd": simd[0] if simd else "none known",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "os": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "llvm": ".".join(str(part) for part in llvm.llvm_version_info),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
