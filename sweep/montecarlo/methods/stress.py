"""How much of a variant's profit depends on its execution: slopes, and where it breaks even.

Each way in which execution can be worse is made worse step by step, all else as in the
study. This is a stress, no inference: it says what would have come of the same history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sweep.backtest.tasks import Context
from sweep.engines.base import Engine
from sweep.engines.dispatch import gather
from sweep.errors import EvaluationError
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.subject import Subject
from sweep.scenarios.stressed import Scenario, evaluate_stressed
from sweep.schema import Costs, FloatArray1D, FloatArray2D, Rows, Slice, Ticks
from sweep.stats.metrics import METRICS, merge, metrics_of
from sweep.study.study import Study

__all__ = ["Factor", "factors_of", "stress"]

_MS = 1e6
#: Units as names of figures end in them.
_SUFFIX = {"ms": "_ms", "pr": "_price"}
#: Metrics that are kept for each scenario.
_KEPT = ("net_profit", "sharpe", "max_drawdown", "trades", "costs")


@dataclass(frozen=True)
class Factor:
    """One way in which execution is made worse.

    Attributes
    ----------
    name : str
    unit : str
        Of `levels`, for tables.
    levels : tuple of float
        Ascending; the first is the study's own execution.
    scenario : callable
        ``scenario(level, replicate) -> Scenario``.
    per : str
        What the slope is a slope per.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    scenario: Callable[[float, int], Scenario]
    per: str


def factors_of(unit: float) -> tuple[Factor, ...]:
    """Return the ways in which execution is made worse, and by how much.

    Parameters
    ----------
    unit : float
        Price units, above 0, by which slippage is measured: the median spread.
    """
    s = unit
    latencies = (0.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0)
    shares = (0.0, 0.05, 0.1, 0.25, 0.5)
    return (
        Factor("latency", "ms", latencies, lambda x, k: Scenario(latency=x * _MS), "ms"),
        Factor(
            "latency_exponential",
            "ms, mean",
            latencies,
            lambda x, k: Scenario(latency=x * _MS, shape="exponential", replicate=k),
            "ms",
        ),
        Factor(
            "latency_lognormal",
            "ms, mean",
            latencies,
            lambda x, k: Scenario(latency=x * _MS, shape="lognormal", replicate=k),
            "ms",
        ),
        Factor(
            "spread", "x", (1.0, 1.25, 1.5, 2.0, 3.0), lambda x, k: Scenario(spread=x), "multiple"
        ),
        Factor(
            "slippage",
            "price",
            (0.0, 0.1 * s, 0.25 * s, 0.5 * s, s),
            lambda x, k: Scenario(slippage=x),
            "price unit",
        ),
        Factor(
            "commission",
            "x",
            (1.0, 1.5, 2.0, 4.0, 8.0),
            lambda x, k: Scenario(commission=x),
            "multiple",
        ),
        Factor(
            "rejected", "share", shares, lambda x, k: Scenario(rejected=x, replicate=k), "share"
        ),
        Factor("partial", "share", shares, lambda x, k: Scenario(partial=x, replicate=k), "share"),
        Factor("dropped", "share", shares, lambda x, k: Scenario(dropped=x, replicate=k), "share"),
        Factor(
            "delayed",
            "ms, mean",
            (0.0, 10.0, 100.0, 1000.0),
            lambda x, k: Scenario(delayed=x * _MS, replicate=k),
            "ms",
        ),
    )


def stress(
    study: Study,
    subjects: Sequence[Subject],
    engine: Engine,
    *,
    seed: int,
    replicates: int = 16,
    progress: Callable[[int, int], None] | None = None,
    interrupted: Callable[[], int] | None = None,
) -> list[Finding]:
    """Make execution worse, step by step, for each of some variants.

    Parameters
    ----------
    study : Study
    subjects : sequence of Subject
    engine : Engine
        Stays open.
    seed : int
    replicates : int, optional
        Of each level at which something is drawn. All variants meet the same draws.
    progress : callable, optional
        ``progress(done, total)``, in scenarios.
    interrupted : callable, optional
        See `sweep.engines.dispatch.gather`.

    Returns
    -------
    list of Finding
        One for each variant.
    """
    began = time.perf_counter()
    setup = study.mapped
    ticks = study.mapped_ticks
    part = ticks.between(setup.tick_slices[0].begin, setup.tick_slices[-1].end)
    usual = float(np.median(part.ask - part.bid)) + 2.0 * setup.context.costs.half_spread
    # Without a spread, by a basis point of the price.
    unit = usual if usual > 0.0 else 1e-4 * float(np.median(part.mid))
    without = _nothing_to_multiply(setup.context.costs, part)
    factors = tuple(f for f in factors_of(unit) if f.name not in without)
    scenarios = [
        (f, level, factor.scenario(level, k))
        for f, factor in enumerate(factors)
        for level in factor.levels[1:]
        for k in range(replicates if factor.scenario(level, 0).random else 1)
    ]
    params = np.stack([s.row for s in subjects])
    slices = setup.tick_slices
    if setup.carry_over:
        slices = (Slice(slices[0].begin, slices[-1].end, slices[0].warmup),)
    calls = [
        (setup.context, params, slices, scenario, seed)
        for scenario in (Scenario(), *(s for _, _, s in scenarios))
    ]
    rows: list[Rows | None] = [None] * len(calls)
    done = 0

    def take(place: int, found: Any) -> None:
        nonlocal done
        done += 1
        if isinstance(found, str):
            raise EvaluationError(f"a scenario cannot be evaluated:\n{found}")
        rows[place] = found
        if progress is not None:
            progress(done, len(calls))

    gather(engine, evaluate_scenario, calls, take, interrupted=interrupted)
    seconds = time.perf_counter() - began
    whole = np.stack([r for r in rows if r is not None])
    return [
        _finding(
            study, subject, factors, scenarios, without, whole[:, k], seed, replicates, seconds
        )
        for k, subject in enumerate(subjects)
    ]


def _nothing_to_multiply(costs: Costs, ticks: Ticks) -> dict[str, str]:
    """Return the multiples that would change nothing, and why: they prove no robustness."""
    found = {}
    if costs.half_spread:
        found["spread"] = "the spread is the study's half_spread; vary that"
    elif not (ticks.ask > ticks.bid).any():
        found["spread"] = "these ticks have no spread to multiply; see slippage"
    names = ("commission_rate", "commission_per_unit", "commission_per_fill")
    if not any(getattr(costs, name) for name in names):
        found["commission"] = "the study has no commission to multiply"
    return found


def evaluate_scenario(
    context: Context,
    params: FloatArray2D,
    slices: tuple[Slice, ...],
    scenario: Scenario,
    seed: int,
) -> Rows | str:
    """Return the merged row of each variant under a scenario, or what went wrong."""
    merged: Any = None
    for part in slices:
        found = evaluate_stressed(context, params, part, scenario, seed)
        if found.error or found.failures:
            return found.error or found.failures[0][1]
        rows = found.rows[:, 0]
        merged = rows if merged is None else merge(merged, rows)
    whole: Rows = merged
    return whole


def _finding(
    study: Study,
    subject: Subject,
    factors: tuple[Factor, ...],
    scenarios: list[tuple[int, float, Scenario]],
    without: dict[str, str],
    rows: Rows,
    seed: int,
    replicates: int,
    seconds: float,
) -> Finding:
    ppy = study.periods_per_year
    found = metrics_of(rows, ppy)
    observed = {name: float(found[name][0]) for name in METRICS}
    tables: dict[str, Any] = {}
    figures: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for f, factor in enumerate(factors):
        at = np.array([0, *(k + 1 for k, (g, _, _) in enumerate(scenarios) if g == f)])
        levels = np.array([factor.levels[0], *(x for g, x, _ in scenarios if g == f)])
        profit = found["net_profit"][at]
        lines = []
        for level in factor.levels:
            here = profit[levels == level]
            mean = math.fsum(here.tolist()) / len(here)
            error = float(here.std(ddof=1)) / math.sqrt(len(here)) if len(here) > 1 else 0.0
            places = at[levels == level]
            lines.append(
                (level, mean, error, *(float(np.mean(found[n][places])) for n in _KEPT[1:4]))
            )
        names = (f"level, {factor.unit}", "net profit", "MC error", *_KEPT[1:4])
        tables[factor.name] = (names, tuple(lines))
        slope, edge, why = _read(np.array([line[:2] for line in lines]), observed["net_profit"])
        figures[f"profit_per_{factor.per.replace(' ', '_')}_of_{factor.name}"] = slope
        name = f"break_even_{factor.name}{_SUFFIX.get(factor.unit[:2], '')}"
        figures[name] = edge
        if why:
            reasons[name] = why
    for name, why in without.items():
        figures[f"break_even_{name}"] = math.nan
        reasons[f"break_even_{name}"] = why
    drawn = {
        field.name: np.array([getattr(s, field.name) for _, _, s in scenarios], np.float64)
        for field in fields(Scenario)
        if field.name != "shape"
    }
    paths: dict[str, FloatArray1D] = {**drawn, **{name: found[name][1:] for name in _KEPT}}
    return Finding(
        method="stress",
        title="the same history under worse execution",
        variant=subject.label,
        params=subject.params,
        n_paths=len(scenarios),
        seed=seed,
        observed=observed,
        figures=figures,
        tables=tables,
        paths=paths,
        reasons=reasons,
        notes=(
            f"a stress, no inference: what would have come of this one history; {replicates} "
            f"replicates of each level at which something is drawn, the same for all variants",
        ),
        seconds=seconds,
    )


def _read(line: FloatArray2D, base: float) -> tuple[float, float, str]:
    """Return the slope of profit over a factor's levels, and where it crosses zero.

    The slope is that of least squares through the levels; the crossing lies on a straight
    line between the two levels around it.
    """
    level, profit = line[:, 0], line[:, 1]
    centred = level - level.mean()
    slope = float(centred @ (profit - profit.mean()) / (centred @ centred))
    if not base > 0.0:
        what = "loses" if base < 0.0 else "earns nothing"
        return slope, math.nan, f"it {what} under the study's own execution"
    below = np.flatnonzero(profit <= 0.0)
    if not len(below):
        return slope, math.nan, f"it still earns at {level[-1]:g}, the most that was tried"
    k = int(below[0])
    share = profit[k - 1] / (profit[k - 1] - profit[k])
    return slope, float(level[k - 1] + share * (level[k] - level[k - 1])), ""
