"""What the charts of a finding are drawn from, on a screen and in a picture alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.text import main_metric
from sweep.schema import FloatArray1D
from sweep.text import counted, metric_column, percent

__all__ = [
    "FAN_LEVELS",
    "MARKED",
    "Window",
    "axis_label",
    "fans",
    "marks",
    "n_bins",
    "not_drawn",
    "observed_text",
    "window",
]

#: Probabilities of the quantiles that are marked.
MARKED = (0.05, 0.5, 0.95)
#: Of the curves of a fan.
FAN_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)

#: Paths further than so many 5-95 % ranges outside that range are counted, not drawn.
_FAR = 2.0
#: Quantities along a path that are amounts, and no metrics.
_CASH = ("equity", "profit")


def axis_label(name: str) -> str:
    """Return the name of a metric with its unit, as an axis has it: ``max drawdown (%)``."""
    column = metric_column(name)
    kind = "cash" if name in _CASH else column.kind
    unit = {"share": "%", "cash": "quote currency", "duration": "s"}.get(kind, column.unit)
    return name.replace("_", " ") + (f" ({unit})" if unit else "")


@dataclass(frozen=True)
class Window:
    """The part of a sample that a histogram shows.

    Attributes
    ----------
    values : ndarray of shape (n_shown,), float64
        Paths inside.
    low, high : float
        Ends, ``low < high``.
    below, above, without : int
        Paths left and right of it, and those without a finite value.
    """

    values: FloatArray1D
    low: float
    high: float
    below: int
    above: int
    without: int

    def notes(self) -> list[str]:
        """Say what is not drawn."""
        said = [
            f"{counted(n, 'path')} further {where}"
            for n, where in ((self.below, "left"), (self.above, "right"))
            if n
        ]
        if self.without:
            said.append(f"{counted(self.without, 'path')} without a finite value")
        return said

    def cell(self, value: float, cells: int) -> int | None:
        """Return in which of equal cells a value lies, or None if outside."""
        if not self.low <= value <= self.high:
            return None
        return min(int((value - self.low) / (self.high - self.low) * cells), cells - 1)


def window(finding: Finding, name: str) -> Window | None:
    """Return what a histogram of a metric shows, or None if there is nothing to show.

    Far outliers are left out, so that they do not squeeze the rest into one bar; the
    observed value is inside, unless it is such an outlier itself.
    """
    every = np.asarray(finding.paths.get(name, ()), np.float64)
    values = every[np.isfinite(every)]
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    first, last = (float(q) for q in np.quantile(values, (0.05, 0.95)))
    reach = _FAR * (last - first)
    if reach > 0.0 and math.isfinite(reach):
        low, high = max(low, first - reach), min(high, last + reach)
        seen = finding.observed.get(name, math.nan)
        if first - 2.0 * reach <= seen <= last + 2.0 * reach:
            low, high = min(low, seen), max(high, seen)
    if not low < high:
        margin = 0.05 * abs(low) or 0.5
        low, high = low - margin, high + margin
    if not math.isfinite(high - low):
        return None
    inside = values[(values >= low) & (values <= high)]
    below, above = int((values < low).sum()), int((values > high).sum())
    return Window(inside, low, high, below, above, every.size - values.size)


def n_bins(shown: Window, most: int) -> int:
    """Return a number of bins from the data.

    References
    ----------
    Freedman & Diaconis (1981), On the histogram as a density estimator: bins of width
    ``2 IQR n^(-1/3)``.
    """
    quarter, three = np.quantile(shown.values, (0.25, 0.75)) if shown.values.size else (0.0, 0.0)
    wide = 2.0 * float(three - quarter) * max(shown.values.size, 1) ** (-1.0 / 3.0)
    span = shown.high - shown.low
    if wide <= 0.0:
        return min(most, 21)  # odd, so that values that are all equal stand in the middle
    if span / wide >= most:
        return most
    needed: int = math.ceil(span / wide)
    return max(needed, min(5, most))


def marks(finding: Finding, name: str) -> list[tuple[str, float]]:
    """Return the quantiles that the finding claims, of those that are marked: text, value."""
    found: dict[float, list[str]] = {}
    for q in finding.summaries[name].quantiles:
        if q.level in MARKED and math.isfinite(q.value):
            found.setdefault(q.value, []).append(percent(q.level))
    return [(" ".join(levels), value) for value, levels in found.items()]


def observed_text(finding: Finding, name: str, value: str) -> str:
    """Return ``observed 1.25, rank 65.0%``."""
    placed = finding.summaries[name].observed
    rank = "" if placed is None or math.isnan(placed.rank) else f", rank {percent(placed.rank, 1)}"
    return f"observed {value}{rank}"


def fans(finding: Finding) -> dict[str, NDArray[np.float64]]:
    """Return the curves that a fan can be drawn of, of shape (5, n_points) each.

    Points where a quantile is not finite are left out.
    """
    found = {}
    for name, given in finding.curves.items():
        curves = np.asarray(given, np.float64)
        if curves.ndim == 2 and curves.shape[0] == len(FAN_LEVELS):
            curves = curves[:, np.isfinite(curves).all(axis=0)]
            if curves.shape[1] > 1 and math.isfinite(float(np.ptp(curves))):
                found[name] = curves
    return found


def not_drawn(finding: Finding, shown: Window) -> list[str]:
    """Say which paths and marks a histogram leaves out."""
    said = shown.notes()
    name = main_metric(finding)
    if name is not None:
        summary = finding.summaries[name]
        units = summary.units
        # Without a value because of the units, and not because of replicates without one.
        reasons = {q.reason for q in summary.quantiles if q.level in MARKED}
        if units.too_few and units.reason is not None and units.reason in reasons:
            said.append("tails, of too few units")
    return said
