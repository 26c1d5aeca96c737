"""The charts of findings as pictures, by matplotlib: the ``plots`` extra.

One figure holds several findings as small multiples: a row of panels for each finding with
fans, else a grid. Histograms of the same metric have the same axis, so that they compare.
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sweep.errors import InputError
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.charts import (
    FAN_LEVELS,
    axis_label,
    fans,
    marks,
    n_bins,
    not_drawn,
    observed_text,
    window,
)
from sweep.montecarlo.report.text import chart_title, main_metric, value_with_unit
from sweep.report.table import new_file
from sweep.text import elide, metric_column

__all__ = ["MOST_FINDINGS", "figure", "need_matplotlib", "svg", "write_png"]

#: Findings that one picture holds; more would be too small or too tall to be looked at.
MOST_FINDINGS = 48

_PANEL = (4.6, 3.1)  # inches
_COLUMNS = 3
_MOST_BINS = 80
_NARROWEST = 10.0  # times as wide as its histogram an axis may be, to be a common one
_DPI = 120
_TITLE = 56  # characters that fit over a panel
# Told apart with any colour vision, on white and on black (Paul Tol, "bright").
_BAR, _SEEN, _MARK = "#4477AA", "#D84A5F", "#888888"
#: Stands for the page's own colour of text in SVG; no other part has it.
_INK = "#010203"


def need_matplotlib() -> None:
    """Raise what `figure` would, before anything is computed for it.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("pictures need matplotlib: pip install -e '.[plots]'") from None


def figure(findings: Sequence[Finding], *, ink: str = "black") -> Any:
    """Draw findings side by side.

    Parameters
    ----------
    findings : sequence of Finding
    ink : str
        Colour of texts and axes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If matplotlib is not installed, or there is nothing to draw, or too much.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    panels = [_panels(f) for f in findings]
    panels = [p for p in panels if p]
    if not panels:
        raise InputError("there is nothing to draw: no path has a finite value")
    if len(panels) > MOST_FINDINGS:
        raise InputError(
            f"a picture holds {MOST_FINDINGS} findings at most, found {len(panels)}; "
            "choose fewer methods or variants"
        )
    wide = max(map(len, panels))
    if wide == 1:
        wide = min(_COLUMNS, len(panels))
        flat = [p[0] for p in panels]
        panels = [flat[i : i + wide] for i in range(0, len(flat), wide)]
    size = (_PANEL[0] * wide, _PANEL[1] * len(panels))
    drawn: Any = Figure(figsize=size, dpi=_DPI, layout="constrained")
    grid = drawn.subplots(len(panels), wide, squeeze=False)
    ends = _common_ends(findings)
    for axes_row, row in zip(grid, panels, strict=True):
        for i, axes in enumerate(axes_row):
            if i >= len(row):
                axes.set_visible(False)
                continue
            finding, fan = row[i]
            if fan is None:
                _histogram(axes, finding, ends, ink)
            else:
                _fan(axes, finding, fan, ink)
            _dress(axes, ink)
    return drawn


def _panels(finding: Finding) -> list[tuple[Finding, str | None]]:
    """Return what is drawn of a finding: None is its histogram, a name a fan."""
    name = main_metric(finding)
    panels: list[tuple[Finding, str | None]] = []
    if name is not None and window(finding, name) is not None:
        panels.append((finding, None))
    return panels + [(finding, fan) for fan in fans(finding)]


def _common_ends(findings: Sequence[Finding]) -> dict[str, tuple[float, float]]:
    """Return ends by metric that hold all of its histograms."""
    ends: dict[str, tuple[float, float]] = {}
    for finding in findings:
        name = main_metric(finding)
        shown = window(finding, name) if name is not None else None
        if name is not None and shown is not None:
            low, high = ends.get(name, (shown.low, shown.high))
            ends[name] = (min(low, shown.low), max(high, shown.high))
    return ends


# -- panels ----------------------------------------------------------------------------


def _histogram(axes: Any, finding: Finding, ends: dict[str, tuple[float, float]], ink: str) -> None:
    name = main_metric(finding)
    shown = window(finding, name) if name is not None else None
    if name is None or shown is None:  # not one of the panels
        return
    by = _scale(name)
    low, high = shown.low, shown.high
    counts, edges = np.histogram(
        (shown.values - low) / (high - low), n_bins(shown, _MOST_BINS), (0.0, 1.0)
    )
    places = (low + (high - low) * edges) * by
    axes.stairs(counts, places, fill=True, color=_BAR, alpha=0.75)
    for which, value in marks(finding, name):
        line = "-" if "50%" in which else "--"
        axes.axvline(value * by, color=_MARK, linestyle=line, linewidth=1.2)
        axes.annotate(
            which,
            (value * by, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            textcoords="offset points",
            va="top",
            fontsize=7,
            color=ink,
        )
    seen = finding.observed.get(name, math.nan)
    first, last = ends[name]
    if last - first > _NARROWEST * (high - low):  # it would be a mere stroke
        first, last = low, high
    margin = 0.02 * (last - first)
    axes.set_xlim((first - margin) * by, (last + margin) * by)
    axes.set_ylim(0.0, 1.12 * max(int(counts.max()), 1))
    label_below = ""
    if not math.isnan(seen):
        label_below = observed_text(finding, name, value_with_unit(name, seen))
    if first <= seen <= last:
        axes.axvline(seen * by, color=_SEEN, linewidth=2.0)
    elif label_below:
        label_below += ": not in the picture"
    notes = not_drawn(finding, shown)
    label = axis_label(name)
    axes.set_xlabel(label + (f"\nnot drawn: {'; '.join(notes)}" if notes else ""), color=ink)
    axes.set_ylabel("paths", color=ink)
    _title(axes, finding, "", ink, below=label_below)


def _fan(axes: Any, finding: Finding, name: str, ink: str) -> None:
    curves = fans(finding)[name] * _scale(name)
    x = np.linspace(0.0, 100.0, curves.shape[1])
    for outer, alpha in ((0, 0.25), (1, 0.45)):
        low, high = FAN_LEVELS[outer], FAN_LEVELS[-1 - outer]
        axes.fill_between(
            x,
            curves[outer],
            curves[-1 - outer],
            color=_BAR,
            alpha=alpha,
            linewidth=0.0,
            label=f"{100 * low:g} to {100 * high:g}% of paths",
        )
    axes.plot(x, curves[len(FAN_LEVELS) // 2], color=_SEEN, linewidth=1.8, label="50%")
    axes.set_xlim(0.0, 100.0)
    axes.set_xlabel("place along the path (%)", color=ink)
    axes.set_ylabel(axis_label(name), color=ink)
    axes.legend(loc="upper left", fontsize=7, frameon=False, labelcolor=ink)
    _title(axes, finding, name.replace("_", " "), ink)


def _scale(name: str) -> float:
    return 100.0 if metric_column(name).kind == "share" else 1.0


def _title(axes: Any, finding: Finding, of: str, ink: str, *, below: str = "") -> None:
    """Head a panel, with a second line in the colour of the line that it is about."""
    heading = chart_title(finding, _TITLE, of=elide(of, 16))
    text = axes.set_title(heading, fontsize=9, color=ink, pad=16 if below else 6)
    text.set_parse_math(False)  # a dollar sign in a label is a dollar sign
    if below:
        place = {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(
            below, (0.5, 1.0), xytext=(0, 4), ha="center", fontsize=8, color=_SEEN, **place
        )


def _dress(axes: Any, ink: str) -> None:
    axes.tick_params(colors=ink, labelsize=8)
    axes.xaxis.label.set_parse_math(False)
    axes.yaxis.label.set_parse_math(False)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set(color=ink, fontsize=8)


# -- files -----------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """Draw a box for a letter that the font lacks, without a word on stderr."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def write_png(
    path: str | os.PathLike[str], findings: Sequence[Finding], *, force: bool = False
) -> None:
    """Write findings as one picture; see `figure`.

    Raises
    ------
    InputError
        If `figure` does, or the file exists and ``force`` is not given.
    SweepError
        If writing fails. No part of a file is left then.
    """
    drawn = figure(findings)
    with new_file(path, force=force) as temporary, _quiet():
        # The ending of the temporary name says nothing of the format.
        drawn.savefig(temporary, format="png", facecolor="white")


def svg(finding: Finding, *, prefix: str) -> str:
    """Return the charts of one finding as an SVG element to stand in a page.

    Parameters
    ----------
    finding : Finding
    prefix : str
        Put before the identifiers, which must be unique in a page.

    Returns
    -------
    str
        Texts are texts, in the page's font and colour, on no background. Empty if there is
        nothing to draw.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    if not _panels(finding):
        return ""
    drawn = figure([finding], ink=_INK)
    from matplotlib import rc_context

    drawn.patch.set_visible(False)
    for axes in drawn.axes:
        axes.patch.set_visible(False)
    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sweep"}), _quiet():
        drawn.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return _inline(text[text.index("<svg") :], prefix)


def _inline(text: str, prefix: str) -> str:
    """Drop what names other pages or is not referred to; take the page's ink."""
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(
        r' id="([^"]+)"',
        lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "",
        text,
    )
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", text)
    return text.replace(_INK, "currentColor")
