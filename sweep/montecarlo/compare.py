"""One variant against others on the same paths: by how much it is better, and how surely.

All variants of a method meet the same paths (common random numbers), so that the luck of a
path falls out of the difference of two. What is left has two errors. The *Monte Carlo error*
of the mean difference, and of the share of paths on which the first is better, comes of
having drawn B paths. The *sampling error* comes of having seen these sessions: where sessions
are redrawn, the spread of the differences over paths shows it, and an interval is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from sweep.errors import InputError
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.methods.ticks import TITLES
from sweep.schema import FloatArray1D
from sweep.search.objective import compile_objective
from sweep.search.path_functionals import PathTerm
from sweep.stats.functionals import plain
from sweep.stats.session_bootstrap import bootstrap_sessions
from sweep.stats.summary import count_units
from sweep.text import MODELS

__all__ = ["COMPARED", "Comparison", "comparisons_of"]

#: Methods whose paths are the same for all variants.
COMPARED = ("pnl", *(name for name in TITLES if name != "identity"), *MODELS)

#: Of the interval of the difference.
LEVEL = 0.9

#: Draws of paths behind the error of a functional.
_DRAWS = 200
#: First element of the position of their random stream.
_PURPOSE = 0x636F6D70

#: Of a comparison, the numbers that may be undefined.
_NUMBERS = tuple("observed difference error better equal better_error low high".split())


@dataclass(frozen=True)
class Comparison:
    """One variant against another by one method; differences are the first less the other.

    Attributes
    ----------
    method, first, other : str
        Labels of the variants.
    metric : str
        What the difference is of: a metric, an expression, or a functional over paths.
    higher : bool
        Whether higher is better.
    n_paths, n_without : int
        Paths, and those without a finite value of both variants: they are not in the mean,
        and who has no value there is the worse one.
    observed : float
        Difference on the history; NaN where there is none, as with a simulated market.
    difference, error : float
        Mean over the paths with its Monte Carlo standard error (``sd / sqrt(B)`` of the
        paths' differences); of a functional its difference, with the error of drawing paths
        again, both variants' together.
    better, equal : float
        Shares of paths on which the first is better, and on which they are equal; NaN for a
        functional, which is of all paths together.
    better_error : float
        ``sqrt(p (1 - p) / B)`` (Monte Carlo error), p with a path more on either side, since
        no number of paths makes a share of 0 or 1 sure.
    low, high : float
        Ends of a 90 % interval of the difference: the sampling error. NaN where sessions
        are not what is drawn, or are too few.
    interval : str or None
        ``"studentised"``, see `sweep.stats.intervals` (net profit by ``pnl``, whose paths have
        errors of their own), or ``"percentile"``: the order statistics of the differences
        that enclose 90 % of them, as many from either end; a path on which one variant has
        no value counts beyond all others, for the one that has.
    reason : str or None
        Why a number is NaN.
    """

    method: str
    first: str
    other: str
    metric: str
    higher: bool
    n_paths: int
    n_without: int
    observed: float
    difference: float
    error: float
    better: float
    equal: float
    better_error: float
    low: float
    high: float
    interval: str | None
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON has it; numbers that are NaN are None, with a reason."""
        found: dict[str, Any] = plain(self)
        return found


def comparisons_of(
    findings: Sequence[Finding], objective: str | None = None, direction: str = "maximize"
) -> list[Comparison]:
    """Compare the variants of each method with the method's first one, path by path.

    Parameters
    ----------
    findings : sequence of Finding
        Of `sweep.monte_carlo`: those of a method follow each other. Methods that draw no
        paths for all variants alike are left out.
    objective : str, optional
        A metric, an expression or a functional over paths, that is compared as well, beside
        the net profit, where the paths have all that it is made of.
    direction : str, optional
        ``"maximize"`` or ``"minimize"``: of the objective.

    Returns
    -------
    list of Comparison
        By method, by variant, by metric.
    """
    quantities = [_quantity("net_profit", True)]
    if objective is not None and objective.strip() != "net_profit":
        quantities.append(_quantity(objective, direction == "maximize"))
    found = []
    for method, group in groupby(findings, key=lambda f: f.method):
        with_paths = [f for f in group if f.n_paths and "net_profit" in f.paths]
        if method not in COMPARED or len(with_paths) < 2:
            continue
        first, *others = with_paths
        for other in others:
            shared = first.paths.keys() & other.paths.keys()
            found += [_compared(first, other, q) for q in quantities if q.needs <= shared]
    return found


# -- what is compared ------------------------------------------------------------------


@dataclass(frozen=True)
class _Quantity:
    """What variants are compared by: one number a path, or one number of all paths."""

    text: str
    higher: bool
    needs: frozenset[str]
    column: Callable[[Mapping[str, FloatArray1D], int], FloatArray1D] | None
    whole: Callable[[Mapping[str, FloatArray1D], int], float] | None


def _quantity(text: str, higher: bool) -> _Quantity:
    terms: list[PathTerm] = []
    try:
        expression, _ = compile_objective(text, terms)
    except InputError:
        # A user's function, of all that the history gives: paths lack it.
        return _Quantity(text, higher, frozenset([text]), None, None)
    # What stands beside functionals is of the history, and no path has it.
    needs = frozenset(expression.names) - {t.name for t in terms}
    if not terms:
        return _Quantity(text, higher, needs, expression.column, None)
    if needs:
        return _Quantity(text, higher, frozenset([text]), None, None)
    needs = frozenset(name for t in terms for name in t.inner.names)

    def whole(columns: Mapping[str, FloatArray1D], n: int) -> float:
        values = {t.name: np.array([t(columns, n)[0]]) for t in terms}
        return float(expression.column(values, 1)[0])

    return _Quantity(text, higher, needs, None, whole)


# -- one pair --------------------------------------------------------------------------


def _compared(first: Finding, other: Finding, quantity: _Quantity) -> Comparison:
    why = None
    lengths = [None if f.block is None else f.block.length for f in (first, other)]
    if (first.seed, first.n_paths, lengths[0]) != (other.seed, other.n_paths, lengths[1]):
        why = "their paths are not the same: seeds, numbers of paths or blocks differ"
    values: dict[str, Any] = {}
    if why is None and quantity.column is not None:
        values = _by_path(first, other, quantity, quantity.column)
    elif why is None and quantity.whole is not None:
        values = _by_functional(first, other, quantity)
    return Comparison(
        **{
            "method": first.method,
            "first": first.variant,
            "other": other.variant,
            "metric": quantity.text,
            "higher": quantity.higher,
            "n_paths": first.n_paths,
            "n_without": 0,
            **dict.fromkeys(_NUMBERS, math.nan),
            "interval": None,
            "reason": why,
            **values,
        }
    )


def _by_path(
    first: Finding,
    other: Finding,
    quantity: _Quantity,
    column: Callable[[Mapping[str, FloatArray1D], int], FloatArray1D],
) -> dict[str, Any]:
    n = first.n_paths
    a, b = column(first.paths, n), column(other.paths, n)
    apart = np.subtract(a, b, out=np.full(n, math.nan), where=np.isfinite(a) & np.isfinite(b))
    kept = apart[~np.isnan(apart)]
    reasons = []
    difference = error = math.nan
    if not kept.size:
        reasons.append("no path has a value of both variants")
    else:
        difference = math.fsum(kept.tolist()) / kept.size
    if kept.size > 1:
        error = float(kept.std(ddof=1)) / math.sqrt(kept.size)
    elif kept.size:
        reasons.append("one path shows no spread")
    # Who has no value is worse than whoever has one.
    sign = 1.0 if quantity.higher else -1.0
    ranks = [np.where(np.isnan(x), -math.inf, sign * x) for x in (a, b)]
    better = float((ranks[0] > ranks[1]).mean())
    # Beyond all others where one of the two has no value, on the side of the other.
    whole = np.where(np.isnan(apart), _beyond(ranks[0], ranks[1], sign), apart)
    low, high, which, why = _interval(first, other, quantity.text, whole)
    return {
        "n_without": n - kept.size,
        "observed": _observed(first, column) - _observed(other, column),
        "difference": difference,
        "error": error,
        "better": better,
        "equal": float((ranks[0] == ranks[1]).mean()),
        "better_error": math.sqrt((n * better + 1) * (n - n * better + 1) / n) / (n + 2),
        "low": low,
        "high": high,
        "interval": which,
        "reason": "; ".join([*reasons, *([why] if why else [])]) or None,
    }


def _observed(
    finding: Finding, column: Callable[[Mapping[str, FloatArray1D], int], FloatArray1D]
) -> float:
    # What summaries compare their paths with: between sessions, where paths are drawn so.
    placed = {k: s.observed.value for k, s in finding.summaries.items() if s.observed is not None}
    values = {**finding.observed, **placed}
    try:
        return float(column({k: np.array([v]) for k, v in values.items()}, 1)[0])
    except KeyError:
        return math.nan  # of a simulated market there is no history


def _interval(
    first: Finding, other: Finding, metric: str, apart: FloatArray1D
) -> tuple[float, float, str | None, str | None]:
    """Return an interval of a paired difference and its name, or why there is none."""
    a, b = first.session_profits, other.session_profits
    if a is None or b is None or a.shape != b.shape:
        return math.nan, math.nan, None, "no interval: it is not sessions that are drawn"
    if np.ptp(a - b) == 0.0:
        same = "no interval: the difference is the same in every session"
        return math.nan, math.nan, None, same
    in_sessions = first.block is not None and first.block.unit == "session"
    block = first.block.length if first.block is not None and in_sessions else 1.0
    units = count_units(a - b, "session", block=block)
    if units.too_few:
        return math.nan, math.nan, None, f"no interval of the difference: {units.reason}"
    if first.method == "pnl" and metric == "net_profit":
        # Sessions of the difference are known, so that its paths have errors of their own.
        found = bootstrap_sessions(
            a - b, seed=first.seed, n_paths=first.n_paths, block_length=block, level=LEVEL
        ).mean
        n = a.size
        why = None if found.reason is None else f"no interval of the difference: {found.reason}"
        return n * found.low, n * found.high, "studentised" if why is None else None, why
    # As many order statistics from either end, so that exchanged variants exchange them.
    ranked = np.sort(apart)
    k = max(math.ceil(0.5 * (1.0 - LEVEL) * ranked.size) - 1, 0)
    low, high = float(ranked[k]), float(ranked[-1 - k])
    if not (math.isfinite(low) and math.isfinite(high)):
        why = "one of the two has no value on too many paths"
        return math.nan, math.nan, None, f"no interval of the difference: {why}"
    return low, high, "percentile", None


def _beyond(a: FloatArray1D, b: FloatArray1D, sign: float) -> FloatArray1D:
    """Return infinite differences for paths on which one of two has no value, by their ranks."""
    return np.where(a == b, 0.0, np.where(a > b, sign, -sign) * math.inf)


def _by_functional(first: Finding, other: Finding, quantity: _Quantity) -> dict[str, Any]:
    n, whole = first.n_paths, quantity.whole
    assert whole is not None
    difference = whole(first.paths, n) - whole(other.paths, n)
    draw = np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(first.seed, spawn_key=(_PURPOSE,)))
    )
    drawn = np.empty(_DRAWS)
    for k in range(_DRAWS):
        # Both variants by the same paths: what these have in common falls out here, too.
        some = draw.integers(0, n, n)
        a, b = ({m: f.paths[m][some] for m in quantity.needs} for f in (first, other))
        drawn[k] = whole(a, n) - whole(b, n)
    known = bool(np.isfinite(difference))
    spread = float(drawn.std(ddof=1)) if known and np.isfinite(drawn).all() and n > 1 else math.nan
    reason = "it is one number of all paths, so that there are no shares of paths and no interval"
    if not known:
        reason = f"it is undefined on the paths of one of the two; {reason}"
    return {"difference": difference, "error": spread, "reason": reason}
