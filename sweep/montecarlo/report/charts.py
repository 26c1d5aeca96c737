"""Charts of a finding in a terminal: a histogram over paths, and fans along the path.

Drawn with block characters, or with ASCII alone where the encoding has none. A mark is
drawn only where the finding claims its number: without enough units, no tail is marked.
"""

from __future__ import annotations

import math
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.chart_data import (
    axis_label,
    fans,
    marks,
    n_bins,
    not_drawn,
    observed_text,
    window,
)
from sweep.montecarlo.report.text import chart_title, main_metric, metric_texts
from sweep.text import cell_width, clip, counted, pad

__all__ = ["chart_lines", "charts_wanted", "fan_lines", "histogram_lines", "needs_ascii"]

_HEIGHT = 10
_LEAST = 20  # columns; below, nothing can be read
_MOST = 120  # beyond, a chart is wider than it is clear

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " ...:::##"
_BAR, _SEEN, _DIM = "cyan", "bold yellow", "dim"


def charts_wanted(stream: TextIO, asked: bool | None = None) -> bool:
    """Tell whether to draw: as the user asked, else on a terminal only."""
    return stream.isatty() if asked is None else asked


def needs_ascii(stream: TextIO) -> bool:
    """Tell whether a stream's encoding lacks the characters that charts are drawn with."""
    try:
        f"{_BLOCKS}░▒━┤┼─┴▲│".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def chart_lines(
    finding: Finding, width: int, *, height: int = _HEIGHT, ascii_only: bool = False
) -> list[Text]:
    """Draw all that a finding has to draw.

    Parameters
    ----------
    finding : Finding
    width : int
        Columns that no line exceeds.
    height : int
        Rows of the bars of each chart.
    ascii_only : bool
        See `needs_ascii`.

    Returns
    -------
    list of Text
        Empty if there is nothing to draw, or not the width for it.
    """
    parts = [histogram_lines(finding, width, height=height, ascii_only=ascii_only)]
    parts += [
        fan_lines(finding, name, width, height=height, ascii_only=ascii_only)
        for name in fans(finding)
    ]
    lines: list[Text] = []
    for part in parts:
        lines += [*([Text()] if lines and part else []), *part]
    for line in lines:
        line.rstrip()
        if ascii_only:
            line.plain = line.plain.replace("…", "~").encode("ascii", "replace").decode("ascii")
    return lines


# -- histogram -------------------------------------------------------------------------


def histogram_lines(
    finding: Finding, width: int, *, height: int = _HEIGHT, ascii_only: bool = False
) -> list[Text]:
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
        lines.append(
            _axis_start(label, left, ascii_only).append(
                _bars(heights - 8 * (height - 1 - row), at, ascii_only)
            )
        )
    quantiles = [(shown.cell(v, cells), which, v) for which, v in marks(finding, name)]
    lines.append(_axis("0", left, cells, [c for c, _, _ in quantiles], ascii_only))
    texts = metric_texts(name, [shown.low, shown.high, *(v for *_, v in quantiles), observed])
    labels = [
        (cell, f"{which}: {text}")
        for (cell, which, _), text in zip(quantiles, texts[2:-1], strict=True)
        if cell is not None
    ]
    lines += [Text(" " * left + line) for line in _placed(labels, cells)]
    lines += _observed(finding, name, texts[-1], at, left, cells, ascii_only)
    lines.append(Text(" " * left + _ends(texts[0], axis_label(name), texts[1], cells), _DIM))
    lines += [Text(clip(f"not drawn: {note}", width), _DIM) for note in not_drawn(finding, shown)]
    return lines


def _bars(eighths: NDArray[np.int64], observed: int | None, ascii_only: bool) -> Text:
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    line = Text("".join(blocks[k] for k in np.clip(eighths, 0, 8)), _BAR)
    if observed is not None:
        if line.plain[observed] == " ":
            rule = "|" if ascii_only else "│"
            line.plain = line.plain[:observed] + rule + line.plain[observed + 1 :]
        line.stylize(_SEEN, observed, observed + 1)
    return line


def _axis_start(label: str, left: int, ascii_only: bool) -> Text:
    tick = "|" if ascii_only else "┤" if label else "│"
    return Text.assemble((f"{label:>{left - 2}} {tick}", _DIM))


def _axis(label: str, left: int, cells: int, ticks: list[int | None], ascii_only: bool) -> Text:
    line = list(("-" if ascii_only else "─") * cells)
    for cell in ticks:
        if cell is not None:
            line[cell] = "+" if ascii_only else "┴"
    corner = "+" if ascii_only else "┼"
    return Text(f"{label:>{left - 2}} {corner}{''.join(line)}", _DIM)


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
    finding: Finding,
    name: str,
    text: str,
    at: int | None,
    left: int,
    cells: int,
    ascii_only: bool,
) -> list[Text]:
    if math.isnan(finding.observed.get(name, math.nan)):
        return []
    said = observed_text(finding, name, text)
    if at is None:
        return [Text(" " * left + clip(f"{said}: not in the picture", cells), _SEEN)]
    arrow = "^" if ascii_only else "▲"
    if at + 2 + len(said) <= cells:
        line = " " * at + f"{arrow} {said}"
    elif len(said) + 1 <= at:
        line = f"{said} {arrow}".rjust(at + 1)
    else:
        return [Text(" " * (left + at) + arrow, _SEEN), Text(" " * left + clip(said, cells), _SEEN)]
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


def fan_lines(
    finding: Finding,
    name: str,
    width: int,
    *,
    height: int = _HEIGHT,
    ascii_only: bool = False,
) -> list[Text]:
    """Draw quantiles along the path: shades from 5 to 95 and 25 to 75 %, a line at 50 %."""
    curves = fans(finding).get(name)
    if curves is None or width < _LEAST:
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
    wide, narrow, line = ".:=" if ascii_only else "░▒━"
    drawn = [Text(chart_title(finding, width, of=axis_label(name)), "bold")]
    for row in range(height):
        labels: dict[int, str] = {0: top, height // 2: middle, height - 1: bottom}
        cut = "".join(_shade(rows[:, c], row, " ", wide, narrow, line) for c in range(cells))
        drawn.append(_axis_start(labels.get(row, ""), left, ascii_only).append(cut, _BAR))
    drawn.append(_axis("", left, cells, [], ascii_only))
    drawn.append(Text(" " * left + _ends("0%", "of the path", "100%", cells), _DIM))
    key = f"{wide} 5 to 95%  {narrow} 25 to 75%  {line} 50% of {counted(finding.n_paths, 'path')}"
    drawn.append(Text(clip(" " * left + key, width), _DIM))
    return drawn


def _shade(column: Any, row: int, nothing: str, wide: str, narrow: str, line: str) -> str:
    """Return the character of one cell; rows of quantiles fall from the 5 % one."""
    if row == column[2]:
        return line
    if column[3] <= row <= column[1]:
        return narrow
    return wide if column[4] <= row <= column[0] else nothing
