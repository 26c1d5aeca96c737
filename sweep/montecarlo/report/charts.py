"""Charts of a finding in a terminal, and what they and the pictures are drawn from.

A histogram over paths, and fans along the path, drawn with block characters. A mark is drawn
only where the finding claims its number: without enough units, no tail is marked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.text import chart_title, main_metric, metric_texts
from sweep.schema import FloatArray1D
from sweep.text import cell_width, clip, counted, metric_column, pad, percent

__all__ = [
    "FAN_LEVELS",
    "MARKED",
    "Window",
    "axis_label",
    "chart_lines",
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

#: Paths further outside the 5-95 % range than this many of its widths are counted, not drawn.
_FAR = 2.0
#: Quantities along a path that are amounts, and no metrics.
_CASH = ("equity", "profit")

_HEIGHT = 10
_LEAST = 20  # columns; below, nothing can be read
_MOST = 120  # beyond, a chart is wider than it is clear

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BAR, _SEEN, _DIM = "cyan", "bold yellow", "dim"


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
        """Return what is not drawn."""
        notes = [
            f"{counted(n, 'path')} further {where}"
            for n, where in ((self.below, "left"), (self.above, "right"))
            if n
        ]
        if self.without:
            notes.append(f"{counted(self.without, 'path')} without a finite value")
        return notes

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
    levels_of: dict[float, list[str]] = {}
    for q in finding.summaries[name].quantiles:
        if q.level in MARKED and math.isfinite(q.value):
            levels_of.setdefault(q.value, []).append(percent(q.level))
    return [(" ".join(levels), value) for value, levels in levels_of.items()]


def observed_text(finding: Finding, name: str, value: str) -> str:
    """Return ``observed 1.25, rank 65.0%``."""
    placed = finding.summaries[name].observed
    rank = "" if placed is None or math.isnan(placed.rank) else f", rank {percent(placed.rank, 1)}"
    return f"observed {value}{rank}"


def fans(finding: Finding) -> dict[str, NDArray[np.float64]]:
    """Return the curves that a fan can be drawn of, of shape (5, n_points) each.

    Points where a quantile is not finite are left out.
    """
    drawable = {}
    for name, given in finding.curves.items():
        curves = np.asarray(given, np.float64)
        if curves.ndim == 2 and curves.shape[0] == len(FAN_LEVELS):
            curves = curves[:, np.isfinite(curves).all(axis=0)]
            if curves.shape[1] > 1 and math.isfinite(float(np.ptp(curves))):
                drawable[name] = curves
    return drawable


def not_drawn(finding: Finding, shown: Window) -> list[str]:
    """Return which paths and marks a histogram leaves out."""
    notes = shown.notes()
    name = main_metric(finding)
    if name is not None:
        summary = finding.summaries[name]
        units = summary.units
        # Without a value because of the units, and not because of replicates without one.
        reasons = {q.reason for q in summary.quantiles if q.level in MARKED}
        if units.too_few and units.reason is not None and units.reason in reasons:
            notes.append("tails, of too few units")
    return notes


# -- in a terminal ---------------------------------------------------------------------


def chart_lines(finding: Finding, width: int, *, height: int = _HEIGHT) -> list[Text]:
    """Draw all that a finding has to draw.

    Parameters
    ----------
    finding : Finding
    width : int
        Columns that no line exceeds.
    height : int
        Rows of the bars of each chart.

    Returns
    -------
    list of Text
        Empty if there is nothing to draw, or not the width for it.
    """
    lines = _histogram_lines(finding, width, height)
    for name, curves in fans(finding).items():
        drawn = _fan_lines(finding, name, curves, width, height)
        lines += [*([Text()] if lines and drawn else []), *drawn]
    for line in lines:
        line.rstrip()
    return lines


# -- histogram -------------------------------------------------------------------------


def _histogram_lines(finding: Finding, width: int, height: int) -> list[Text]:
    """Draw the main metric over paths, with the observed value and quantiles marked."""
    name = main_metric(finding)
    shown = window(finding, name) if name is not None else None
    if name is None or shown is None or width < _LEAST:
        return []
    width = min(width, _MOST)
    left = len(f"{shown.values.size:,}") + 2
    bins = n_bins(shown, width - left)
    each = (width - left) // bins
    bins = (width - left) // each
    cells = bins * each
    placed = (shown.values - shown.low) / (shown.high - shown.low) * bins
    counts = np.bincount(np.minimum(placed.astype(np.int64), bins - 1), minlength=bins)
    most = int(counts.max())
    heights = np.ceil(counts * (8 * height / most)).astype(np.int64).repeat(each)
    observed = finding.observed.get(name, math.nan)
    at = shown.cell(observed, cells)
    lines = [Text(chart_title(finding, width, of=axis_label(name)), "bold"), Text("paths", _DIM)]
    for row in range(height):
        half = f"{most // 2:,}" if most % 2 == 0 else ""
        label = {0: f"{most:,}", height // 2: half}.get(row, "")
        lines.append(_axis_start(label, left).append(_bars(heights - 8 * (height - 1 - row), at)))
    quantiles = [(shown.cell(v, cells), which, v) for which, v in marks(finding, name)]
    lines.append(_axis("0", left, cells, [c for c, _, _ in quantiles]))
    texts = metric_texts(name, [shown.low, shown.high, *(v for *_, v in quantiles), observed])
    labels = [
        (cell, f"{which}: {text}")
        for (cell, which, _), text in zip(quantiles, texts[2:-1], strict=True)
        if cell is not None
    ]
    lines += [Text(" " * left + line) for line in _placed(labels, cells)]
    lines += _observed(finding, name, texts[-1], at, left, cells)
    lines.append(Text(" " * left + _ends(texts[0], axis_label(name), texts[1], cells), _DIM))
    lines += [Text(clip(f"not drawn: {note}", width), _DIM) for note in not_drawn(finding, shown)]
    return lines


def _bars(eighths: NDArray[np.int64], observed: int | None) -> Text:
    line = Text("".join(_BLOCKS[k] for k in np.clip(eighths, 0, 8)), _BAR)
    if observed is not None:
        if line.plain[observed] == " ":
            line.plain = f"{line.plain[:observed]}│{line.plain[observed + 1 :]}"
        line.stylize(_SEEN, observed, observed + 1)
    return line


def _axis_start(label: str, left: int) -> Text:
    return Text.assemble((f"{label:>{left - 2}} {'┤' if label else '│'}", _DIM))


def _axis(label: str, left: int, cells: int, ticks: list[int | None]) -> Text:
    line = ["─"] * cells
    for cell in ticks:
        if cell is not None:
            line[cell] = "┴"
    return Text(f"{label:>{left - 2}} ┼{''.join(line)}", _DIM)


def _placed(labels: list[tuple[int, str]], cells: int) -> list[str]:
    """Write labels below their cells, on further lines where they would touch."""
    lines: list[str] = []
    for cell, text in labels:
        if len(text) > cells:
            continue
        start = min(max(cell - len(text) // 2, 0), cells - len(text))
        for i, line in enumerate(lines):
            if not line[max(start - 1, 0) :].strip():
                lines[i] = line[:start].ljust(start) + text
                break
        else:
            lines.append(" " * start + text)
    return lines


def _observed(
    finding: Finding, name: str, text: str, at: int | None, left: int, cells: int
) -> list[Text]:
    if math.isnan(finding.observed.get(name, math.nan)):
        return []
    label = observed_text(finding, name, text)
    if at is None:
        return [Text(" " * left + clip(f"{label}: not in the picture", cells), _SEEN)]
    if at + 2 + len(label) <= cells:
        line = " " * at + f"▲ {label}"
    elif len(label) + 1 <= at:
        line = f"{label} ▲".rjust(at + 1)
    else:
        return [Text(" " * (left + at) + "▲", _SEEN), Text(" " * left + clip(label, cells), _SEEN)]
    return [Text(" " * left + line, _SEEN)]


def _ends(low: str, middle: str, high: str, cells: int) -> str:
    """Write the ends of an axis under its ends, and what it is of between them."""
    room = cells - len(low) - len(high) - 2
    if room < 1:
        return clip(middle, cells)
    middle = clip(middle, room)
    before = (room - cell_width(middle)) // 2 + 1
    return pad(f"{low}{' ' * before}{middle}", cells - len(high), right=False) + high


# -- fan -------------------------------------------------------------------------------


def _fan_lines(
    finding: Finding, name: str, curves: NDArray[np.float64], width: int, height: int
) -> list[Text]:
    """Draw quantiles along the path: shades from 5 to 95 and 25 to 75 %, a line at 50 %."""
    if width < _LEAST:
        return []
    width = min(width, _MOST)
    low, high = float(curves.min()), float(curves.max())
    if not low < high:
        low, high = low - 0.5, high + 0.5
    top, middle, bottom = metric_texts(name, [high, 0.5 * low + 0.5 * high, low])
    left = max(map(len, (top, middle, bottom))) + 2
    cells = width - left
    if cells < _LEAST // 2:
        return []
    picked = np.round(np.linspace(0, curves.shape[1] - 1, cells)).astype(np.int64)
    # Rows from the top, 0 the highest.
    rows = ((high - curves[:, picked]) / (high - low) * height).astype(np.int64)
    rows = np.minimum(rows, height - 1)
    drawn = [Text(chart_title(finding, width, of=axis_label(name)), "bold")]
    for row in range(height):
        labels: dict[int, str] = {0: top, height // 2: middle, height - 1: bottom}
        cut = "".join(_shade(column, row) for column in rows.T)
        drawn.append(_axis_start(labels.get(row, ""), left).append(cut, _BAR))
    drawn.append(_axis("", left, cells, []))
    drawn.append(Text(" " * left + _ends("0%", "of the path", "100%", cells), _DIM))
    key = f"░ 5 to 95%  ▒ 25 to 75%  ━ 50% of {counted(finding.n_paths, 'path')}"
    drawn.append(Text(clip(" " * left + key, width), _DIM))
    return drawn


def _shade(column: Any, row: int) -> str:
    """Return the character of one cell; rows of quantiles fall from the 5 % one."""
    if row == column[2]:
        return "━"
    if column[3] <= row <= column[1]:
        return "▒"
    return "░" if column[4] <= row <= column[0] else " "
