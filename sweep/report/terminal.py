"""A document as lines of a terminal: wrapped, and tables fitted into the width.

Tables that are too wide have all titles shortened to one length; what is left of the width
then goes to titles that are whole with it, and to long texts last. Where that does not do,
columns are left out by priority, and named below. Cells are joined here and not by
``rich.table``, which knows no priorities and takes 0.3 ms for a cell: a minute for the
trials of a large study.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TextIO

from rich.console import Console
from rich.text import Text

from sweep.report.document import (
    Chart,
    Facts,
    Grid,
    Heading,
    Paragraph,
    Part,
    ShadedCells,
    TextColumn,
)
from sweep.text import cell_width, clean, clip, elide, pad

__all__ = [
    "grid_rows",
    "lines_of",
    "needs_ascii",
    "print_lines",
    "screen_width",
    "to_ascii",
]

# A title longer than its cells is shortened, down to the least of these widths, before a
# column is left out; once columns are, titles are as long as _DROP_LIMIT at least.
_TITLE_LIMITS = range(40, 8, -1)
_DROP_LIMIT = 12
_TEXT_LIMIT = 2  # text cells may be this many times as wide as those before titles are cut
_GAP = 2
_NAMED = 12  # columns without room that are named
_SHADES = "░▒▓█"
# One for one, so that styles stay where they are.
_ASCII = str.maketrans("▁▂▃▄▅▆▇█░▒▓━╸─·…│┤┼┴▲", "...:::##.:*=---~||++^")
#: Wraps, whatever its width: that is given with each text.
_WRAPPER = Console(file=io.StringIO(), width=80, legacy_windows=False)


def screen_width() -> int | None:
    """Columns of the terminal that stdout is, or None where lines may be of any length."""
    return Console(file=sys.stdout).width if sys.stdout.isatty() else None


def needs_ascii(stream: TextIO) -> bool:
    """Tell whether a stream's encoding lacks the characters that charts are drawn with."""
    try:
        "▁▂▃▄▅▆▇█░▒▓━─·│┤┼┴▲".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def to_ascii(line: Text) -> Text:
    """Return a line with characters like the drawn ones, and ``?`` for other letters."""
    return _with_plain(line, line.plain.translate(_ASCII).encode("ascii", "replace").decode())


def _with_plain(line: Text, plain: str) -> Text:
    copy = line.copy()
    copy.plain = plain
    return copy


def print_lines(
    lines: Iterable[Text], *, stream: TextIO | None = None, no_color: bool = False
) -> None:
    """Write lines to stdout, or another stream, as they are."""
    out = stream or sys.stdout
    console = Console(file=out, no_color=True if no_color else None, highlight=False)
    encoding = getattr(out, "encoding", None) or "utf-8"
    drawn = _ASCII if needs_ascii(out) else {}
    for line in lines:
        plain = line.plain.translate(drawn).encode(encoding, "replace").decode(encoding)
        safe = line if plain == line.plain else _with_plain(line, plain)
        console.print(safe, soft_wrap=True, no_wrap=True, crop=False)


# -- parts -----------------------------------------------------------------------------


def lines_of(parts: Iterable[Part], width: int | None) -> list[Text]:
    """Lay parts out one below the other.

    Parameters
    ----------
    parts : iterable of Part
    width : int, optional
        Columns that no line exceeds. None: lines of any length, and no charts.
    """
    lines: list[Text] = []
    before: Part | None = None
    for part in parts:
        made = _part_lines(part, width)
        if not made:
            continue
        joined = isinstance(before, Heading) or (
            isinstance(part, Paragraph)
            and isinstance(before, Paragraph)
            and part.items == before.items
        )
        lines += made if joined or not lines else [Text(), *made]
        before = part
    for line in lines:
        line.rstrip()
        if width is not None:
            line.truncate(width, overflow="ellipsis")
    return lines


def _part_lines(part: Part, width: int | None) -> list[Text]:
    match part:
        case Heading():
            text = Text(clean(part.text), part.style)
            if part.note:
                gap = ("   ", f"not bold {part.note_style}")
                text = Text.assemble(text, gap, (clean(part.note), f"not bold {part.note_style}"))
            return _folded(text, width)
        case Facts():
            return _facts_lines(part.rows, width)
        case Paragraph():
            head = " " * part.indent + ("- " if part.items else "")
            style = part.style
            return [
                line
                for text in part.texts
                for line in _wrapped(text, width, style, head=head, head_style=style)
            ]
        case Grid():
            return _grid_lines(part, width)
        case ShadedCells():
            return _map_lines(part, width)
        case Chart():
            return part.lines(width) if width is not None else []


def _folded(text: Text, width: int | None) -> list[Text]:
    return [text] if width is None else list(text.wrap(_WRAPPER, max(width, 1)))


def _wrapped(
    text: str, width: int | None, style: str = "", *, head: str = "", head_style: str = ""
) -> list[Text]:
    """Break a text at spaces; lines after the first stand under its beginning."""
    room = None if width is None else width - cell_width(head)
    lines = _folded(Text(clean(text), style), room)
    heads = [head, *[" " * cell_width(head)] * (len(lines) - 1)]
    return [Text.assemble((h, head_style), line) for h, line in zip(heads, lines, strict=True)]


def _facts_lines(rows: Sequence[tuple[str, str]], width: int | None) -> list[Text]:
    """Lay facts out, the texts under one another."""
    label = max((cell_width(clean(name)) for name, _ in rows), default=0) + 2
    return [
        line
        for name, text in rows
        for line in _wrapped(
            text, width, head=pad(clean(name), label, right=False), head_style="dim"
        )
    ]


# -- tables ----------------------------------------------------------------------------


def _grid_lines(grid: Grid, width: int | None) -> list[Text]:
    lines = _folded(Text(clean(grid.title), "bold"), width) if grid.title else []
    if not grid.n_rows:
        return [*lines, Text("(no rows)", "dim")]
    for i, part in enumerate(_split(grid, width)):
        rows, left_out = grid_rows(part, width)
        lines += [*([Text()] if i else []), *rows]
        if left_out:
            names = ", ".join(left_out[:_NAMED])
            more = len(left_out) - _NAMED
            text = f"not shown ({grid.hint}): {names}" + (f", and {more} more" if more > 0 else "")
            lines += _wrapped(text, width, "dim")
    for note in grid.notes:
        lines += _wrapped(note, width, "dim")
    return lines


def _split(grid: Grid, width: int | None) -> list[Grid]:
    """Return a grid as several, of as many columns as fit, each with the first one."""
    if not grid.split or width is None:
        return [grid]
    first, *rest = grid.columns
    parts: list[list[TextColumn]] = []
    for column in rest:
        while column.narrower and not _fits([first, column], None, width):
            column = column.narrower
        if parts and _fits([first, *parts[-1], column], None, width):
            parts[-1].append(column)
        else:
            parts.append([column])
    return [replace(grid, columns=(first, *columns)) for columns in parts]


def grid_rows(grid: Grid, width: int | None) -> tuple[list[Text], tuple[str, ...]]:
    """Return lines of groups, titles and rows, and the titles of the columns left out.

    There is no line of groups where no column has one, and none of titles without titles.
    """
    columns, widths, left_out = _fit(grid.columns, width)
    sep = " " * _GAP
    lines = []
    if any(c.group for c in columns):
        lines.append(Text(_group_line(columns, widths), "dim"))
    titles = sep.join(
        pad(elide(clean(c.title), w), w, right=c.right)
        for c, w in zip(columns, widths, strict=True)
    ).rstrip()
    if titles:
        lines.append(Text(titles, "bold"))
    plain = not any(c.style for c in columns)
    for i, texts in enumerate(zip(*(c.cells for c in columns), strict=True)):
        cells = [
            pad(text if c.right else elide(text, w), w, right=c.right)
            for text, c, w in zip(texts, columns, widths, strict=True)
        ]
        style = grid.row_styles[i] if grid.row_styles else ""
        if plain:
            line = Text(sep.join(cells), style)
        else:
            parts = [(cell, c.style) for cell, c in zip(cells, columns, strict=True)]
            line = Text(sep, style).join(Text(*part) for part in parts)
            line.style = style
        line.rstrip()
        lines.append(line)
    return lines, left_out


def _fit(
    columns: Sequence[TextColumn], width: int | None
) -> tuple[list[TextColumn], list[int], tuple[str, ...]]:
    """Return the columns that fit side by side, their widths, and the titles of the others."""
    if width is None:
        return list(columns), _widths(columns, None), ()
    columns = list(columns)
    for i, column in enumerate(columns):
        while column.narrower and not _fits(columns, _TITLE_LIMITS[-1], width):
            column = columns[i] = column.narrower
    kept = _kept(columns, width)
    limit = next((n for n in _TITLE_LIMITS if _fits(kept, n, width)), _TITLE_LIMITS[-1])
    left_out = tuple(_name(c, columns) for c in columns if not any(c is k for k in kept))
    return kept, _grown(kept, _widths(kept, limit), width), left_out


def _name(column: TextColumn, columns: Sequence[TextColumn]) -> str:
    """Title of a column, with its group where the title alone is ambiguous."""
    alike = sum(c.title == column.title for c in columns)
    return f"{column.group} {column.title}" if alike > 1 and column.group else column.title


def _kept(columns: Sequence[TextColumn], width: int) -> list[TextColumn]:
    """Columns that fit with short titles, the most important ones first to be let in."""
    if _fits(columns, _TITLE_LIMITS[-1], width):
        return list(columns)
    chosen: set[int] = set()
    for i in sorted(range(len(columns)), key=lambda i: (columns[i].priority, i)):
        trial = [columns[j] for j in sorted(chosen | {i})]
        if columns[i].priority <= 0 or _fits(trial, _DROP_LIMIT, width):
            chosen.add(i)
    return [columns[i] for i in sorted(chosen)]


def _fits(columns: Sequence[TextColumn], limit: int | None, width: int) -> bool:
    return sum(w + _GAP for w in _widths(columns, limit)) - _GAP <= width


def _widths(columns: Sequence[TextColumn], limit: int | None) -> list[int]:
    """Widths of columns with titles of at most ``limit``; group titles fit over them."""
    widths = [_natural(c, limit) for c in columns]
    first = 0
    for i, column in enumerate(columns):
        if i + 1 < len(columns) and columns[i + 1].group == column.group:
            continue
        span = sum(widths[first : i + 1]) + _GAP * (i - first)
        widths[i] += max(0, cell_width(column.group) - span)
        first = i + 1
    return widths


def _grown(columns: Sequence[TextColumn], widths: list[int], width: int) -> list[int]:
    """Return widths with what is left of the line: to titles that it makes whole, then to texts."""
    left = width - sum(w + _GAP for w in widths) + _GAP
    missing = [cell_width(clean(c.title)) - w for c, w in zip(columns, widths, strict=True)]
    # The least cut ones first: most titles are whole in the end.
    for i in sorted(range(len(columns)), key=lambda i: missing[i]):
        if 0 < missing[i] <= left:
            widths[i] += missing[i]
            left -= missing[i]
    for i, column in enumerate(columns):
        if not column.right:
            more = max(0, min(_natural(column, None) - widths[i], left))
            widths[i] += more
            left -= more
    return widths


def _natural(column: TextColumn, limit: int | None) -> int:
    cells = column.width
    title = cell_width(clean(column.title))
    if limit is None:
        return max(cells, title)
    if not column.right and not column.whole:
        cells = min(cells, _TEXT_LIMIT * min(limit, _DROP_LIMIT))
    return max(cells, min(title, limit))


def _group_line(columns: Sequence[TextColumn], widths: Sequence[int]) -> str:
    """Each group's title between dashes, over the span of its columns."""
    spans: list[tuple[str, int]] = []
    for column, width in zip(columns, widths, strict=True):
        if spans and spans[-1][0] == column.group:
            spans[-1] = (column.group, spans[-1][1] + _GAP + width)
        else:
            spans.append((column.group, width))
    return (" " * _GAP).join(_span(group, width) for group, width in spans).rstrip()


def _span(group: str, width: int) -> str:
    if not group:
        return " " * width
    title = elide(group, width)
    dashes = width - cell_width(title) - 2
    if dashes < 2:
        return pad(title, width, right=True)
    return f"{'─' * (dashes // 2)} {title} {'─' * (dashes - dashes // 2)}"


# -- heat maps -------------------------------------------------------------------------


def _map_lines(part: ShadedCells, width: int | None) -> list[Text]:
    """Shade cells, the best darkest; the marked one is an X, cells without a value are dots."""
    width = width or 100
    label = min(max(map(cell_width, (*part.y_labels, part.y))), max(width // 4, 8))
    wide = min(max((width - label - 3) // max(len(part.x_labels), 1), 1), 6)
    shaded = f"{part.what}, {_SHADES[0]} {part.poorest} to {_SHADES[-1]} {part.best}"
    title = f"{part.y} (down) by {part.x} (across): {shaded}"
    lines = _folded(Text(clean(title), "bold"), width)
    for row, (name, shares) in enumerate(zip(part.y_labels, part.shares, strict=True)):
        line = Text(pad(elide(name, label), label, right=True) + " ")
        for column, share in enumerate(shares):
            text = "·".center(wide) if share is None else _SHADES[min(int(4 * share), 3)] * wide
            marked = (row, column) == part.marked
            if marked:
                text = f"{text[: wide // 2]}X{text[wide // 2 + 1 :]}"
            line.append(text, "bold yellow" if marked else "cyan")
        lines.append(line)
    ends = _under(part.x_labels, wide, width - label - 1)
    return [*lines, Text(" " * (label + 1) + ends, "dim")]


def _under(labels: Sequence[str], wide: int, room: int) -> str:
    """Return the first and the last label below their cells."""
    if not labels:
        return ""
    last = labels[-1] if len(labels) > 1 else ""
    gap = min(wide * len(labels), room) - cell_width(labels[0]) - cell_width(last)
    return clip(f"{labels[0]} .. {last}", room) if gap < 1 else labels[0] + " " * gap + last
