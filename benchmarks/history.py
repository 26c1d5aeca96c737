"""How the cost of a sweep grows, with the number of ticks and with that of variants.

Each point is a random search by `sweep run` in a process of its own, on generated ticks
that are in the store already. ``--max-ticks 1e8`` goes all the way; with ``--out`` and
matplotlib (the ``bench`` extra) the points are drawn too.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sweep.bench.frame import BenchError, BenchResult, Settings, figure
from sweep.bench.launch import launch, write_study
from sweep.bench.ticks import generated
from sweep.errors import InputError

__all__ = ["run"]

_LEAST_TICKS, _MOST_TICKS, _QUICK_TICKS = 100_000, 10_000_000, 20_000
_MOST_VARIANTS = 100_000
#: Variants while ticks grow, ticks while variants grow.
_VARIANTS, _TICKS = 256, 100_000


class _Point(NamedTuple):
    ticks: int
    variants: int
    seconds: float  # of the whole process
    search: float  # of these, the search itself
    ns: float  # of a processor within kernels, for a tick and variant
    peak: float  # MiB, all processes, without the ticks
    ready: float  # seconds to generate and store the ticks


def run(settings: Settings, max_ticks: int | None = None, out: Path | None = None) -> BenchResult:
    """Run the bench; see the module's text.

    Parameters
    ----------
    settings : Settings
    max_ticks : int, optional
        The longest series.
    out : Path, optional
        Folder for the plot.

    Raises
    ------
    InputError
        If it is given a source: it needs series of many lengths.
    """
    if settings.source not in (None, "synth"):
        raise InputError("history needs ticks of many lengths and generates them: leave --source")
    most = max_ticks or (_QUICK_TICKS if settings.quick else _MOST_TICKS)
    ladders = {
        "ticks": [(n, _VARIANTS if not settings.quick else 32) for n in _decades(most)],
        "variants": [
            (_TICKS if not settings.quick else 5_000, n)
            for n in ([10] if settings.quick else _ladder(1, _MOST_VARIANTS))
        ],
    }
    found: dict[str, list[_Point]] = {name: [] for name in ladders}
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as folder:
        for name, points in ladders.items():
            for ticks, variants in points:
                settings.say(f"{ticks:,} ticks, {variants:,} variants")
                place = Path(folder) / f"{name}-{ticks}-{variants}"
                found[name].append(_point(place, settings, ticks, variants))
    notes = [
        "random searches on generated ticks; ns: processor time within kernels, for a tick "
        "and variant"
    ]
    notes += _plot(found, out)
    names = ("ticks", "variants", "seconds", "search s", "ns", "peak MiB", "ticks ready s")
    tables = tuple(
        (f"Cost by the number of {name}", names, tuple(tuple(p) for p in points))
        for name, points in found.items()
    )
    figures = tuple(
        figure(
            f"ns_at_most_{name}",
            "ns",
            [points[-1].ns],
            settings,
            note=f"within kernels, {points[-1].ticks:,} ticks, {points[-1].variants:,} variants",
        )
        for name, points in found.items()
    )
    return BenchResult("history", figures, tuple(notes), tables)


def _decades(most: int) -> list[int]:
    least = min(_LEAST_TICKS, most)
    return _ladder(least, most)


def _ladder(least: int, most: int) -> list[int]:
    """Return ``least`` times powers of ten, up to ``most`` and with it."""
    found = []
    while least < most:
        found.append(least)
        least *= 10
    return [*found, most]


def _point(place: Path, settings: Settings, ticks: int, variants: int) -> _Point:
    began = time.perf_counter()
    handle = generated(ticks)
    ready = time.perf_counter() - began
    place.mkdir()
    given = replace(settings, quick=False)
    study = write_study(place / "study.toml", given, ticks=ticks, quick=ticks)
    found = launch(
        study,
        place / "out",
        *("--sampler", "random", "--trials", str(variants)),
        sample_every=0.2,
    )
    if found.run["variants_evaluated"] != variants:
        raise BenchError(f"{found.run['variants_evaluated']} of {variants} variants evaluated")
    work = handle.n_ticks * variants
    peak = max(sum(p.uss for p in s.processes) for s in found.samples)
    return _Point(
        handle.n_ticks,
        variants,
        found.seconds,
        float(found.run["elapsed_s"]),
        1e9 * float(found.run["kernel_s"]) / work,
        peak,
        ready,
    )


def _plot(found: dict[str, list[_Point]], out: Path | None) -> list[str]:
    if out is None:
        return ["no plot: name a folder for it with --out"]
    try:
        # Before the import: no window, whatever the user's configuration says.
        os.environ["MPLBACKEND"] = "agg"
        from matplotlib.figure import Figure as Plot
    except ImportError:
        return ["no plot: pip install -e '.[bench]' brings matplotlib"]
    plot: Any = Plot(figsize=(10, 4), layout="constrained")
    for axes, (name, points) in zip(plot.subplots(1, 2), found.items(), strict=True):
        sizes = [getattr(p, name) for p in points]
        axes.loglog(sizes, [p.seconds for p in points], "o-", label="whole process")
        axes.loglog(sizes, [p.search for p in points], "s--", label="search")
        other = "variants" if name == "ticks" else "ticks"
        axes.set_title(f"{getattr(points[-1], other):,} {other}")
        axes.set_xlabel(name)
        axes.set_ylabel("seconds")
        axes.grid(True, which="major", alpha=0.3)
        axes.legend()
    out.mkdir(parents=True, exist_ok=True)
    path = out / "history.png"
    plot.savefig(path, dpi=120)
    return [f"the plot is in {path}"]
