"""Findings for tests of what is shown: seeded numbers, and the odd ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.montecarlo.finding import Finding
from sweep.stats.summary import Units, count_units, summarise

SEED = 7


def units(n: int = 250) -> Units:
    return count_units(np.random.default_rng(SEED).normal(size=n), "session")


def finding(
    metrics: dict[str, Any] | None = None,
    *,
    n_paths: int = 1000,
    n_units: int = 250,
    null: str | None = None,
    alternative: str = "greater",
    observed: dict[str, float] | None = None,
    empty: bool = False,
    counted: Units | None = None,
    **changes: Any,
) -> Finding:
    """Make a finding of metrics, by default two of a strategy that is worth something."""
    rng = np.random.default_rng(SEED)
    if metrics is None:
        metrics = {
            "sharpe": rng.normal(1.1, 0.6, n_paths),
            "max_drawdown": rng.gamma(4.0, 0.02, n_paths),
        }
    paths = {name: np.asarray(values, np.float64) for name, values in metrics.items()}
    seen = {name: 1.25 if name == "sharpe" else 0.05 for name in paths}
    seen = observed if observed is not None else seen
    summaries = {
        name: summarise(
            values,
            statistic=name,
            method="whole sessions, with replacement",
            units=counted or units(n_units),
            seed=SEED,
            observed=seen.get(name),
            null=null,
            alternative=alternative,
            worst="high" if name == "max_drawdown" else "low",
            empty=np.isnan(values) if empty else None,
        )
        for name, values in paths.items()
    }
    made: dict[str, Any] = {
        "method": "sessions",
        "title": "whole sessions of ticks resampled",
        "variant": "trial 17",
        "params": {"fast": 20, "slow": 100.12345678},
        "n_paths": n_paths,
        "seed": SEED,
        "observed": seen,
        "summaries": summaries,
        "paths": paths,
        "seconds": 12.34,
    }
    return Finding(**(made | changes))


def fan(n_points: int = 120) -> np.ndarray:
    """Return quantiles 5, 25, 50, 75, 95 of a random walk with drift along the path."""
    rng = np.random.default_rng(SEED)
    walks = 10_000.0 + np.cumsum(rng.normal(4.0, 40.0, (400, n_points)), axis=1)
    return np.quantile(walks, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)


def odd_findings() -> list[Finding]:
    """Return findings that a layout could break on."""
    rng = np.random.default_rng(SEED)
    half = np.where(np.arange(200) % 4 == 0, np.nan, rng.normal(size=200))
    return [
        finding(),
        finding(n_units=12),
        finding({"sharpe": half}, n_paths=200, empty=True),
        finding({"sharpe": half, "net_profit": half * 1e6}, n_paths=200),
        finding({"sharpe": [1.0]}, n_paths=1),
        finding({"sharpe": np.full(50, np.nan)}, n_paths=50),
        finding({"sharpe": np.full(50, 2.0)}, n_paths=50),
        finding({"sharpe": [np.inf, -np.inf, 1.0, 2.0] * 10}, n_paths=40),
        finding({"net_profit": rng.normal(size=300) * 1e12}, n_paths=300),
        finding({"net_profit": rng.normal(size=300) * 1e-9}, n_paths=300),
        finding({"sharpe": rng.normal(size=300)}, n_paths=300, observed={}),
        finding({}, n_paths=9, observed={"sharpe": 1.0}, notes=("cannot be said, because no",)),
        finding({f"a_metric_of_a_long_name_{i}": rng.normal(size=99) for i in range(6)}),
        finding(variant="x" * 200, title="y" * 200, params={"p" * 50: "v" * 90}),
        finding(variant="trial 3, größte 量化交易 é<script>alert('x')</script>&", method="a$b_c$"),
        finding(
            null="the positions have no relation to the prices that follow",
            alternative="two-sided",
            figures={"break_even_latency_ms": 12.5, "break_even_spread_bp": float("nan")},
            reasons={"break_even_spread_bp": "profit stays above 0 up to 10 times the spread"},
            tables={
                "Profit by latency": (
                    ("latency_ms", "net_profit", "note"),
                    ((0.0, 512.25, "as observed"), (10.0, 77.5, None)),
                )
            },
            curves={"equity": fan()},
            notes=("The last session is a half day.",),
        ),
    ]
