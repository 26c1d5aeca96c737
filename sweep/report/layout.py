"""Fitting columns of text into a width: shorten titles, then drop by priority.

All titles are shortened to one length, and what is left of the width then goes to those that
were cut and are whole with it, and to long texts last.

Pure text in, pure text out; colours are the caller's. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.text import cell_width, clean, elide, pad

__all__ = ["Arranged", "Block", "arrange"]

# A title longer than its cells is shortened, down to the least of these widths, before a
# column is dropped; once columns are dropped, titles are as long as _DROP_LIMIT at least.
_TITLE_LIMITS = range(40, 8, -1)
_DROP_LIMIT = 12
_TEXT_LIMIT = 2  # text cells may be this many times as wide as those before titles are cut
_GAP = 2


@dataclass(frozen=True)
class Block:
    """One column of texts.

    Attributes
    ----------
    title : str
    cells : tuple of str
    priority : int
        The smallest number is kept longest; 0 is never dropped.
    right : bool
        Aligned to the right, and never shortened: a number cut short is another number.
    group : str
        Title over neighbouring columns of the same group.
    whole : bool
        Never shortened either, though aligned to the left, as a time is.
    """

    title: str
    cells: tuple[str, ...]
    priority: int = 5
    right: bool = True
    group: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Arranged:
    """Columns that fit, padded.

    Attributes
    ----------
    groups : str
        The line of group titles; empty where no group has one.
    titles : str
        The line of titles.
    rows : tuple of str
    dropped : tuple of str
        Titles of the columns left out, in their order.
    """

    groups: str
    titles: str
    rows: tuple[str, ...]
    dropped: tuple[str, ...]


def arrange(blocks: Sequence[Block], width: int | None) -> Arranged:
    """Fit columns side by side.

    Parameters
    ----------
    blocks : sequence of Block
        With equally many cells each.
    width : int, optional
        Terminal columns; None: as wide as it gets.

    Returns
    -------
    Arranged
        No line is wider than ``width`` unless the blocks of priority 0 alone are.
    """
    if width is None:
        return _lines(blocks, _widths(blocks, None), ())
    kept = _kept(blocks, width)
    limit = next((n for n in _TITLE_LIMITS if _fits(kept, n, width)), _TITLE_LIMITS[-1])
    dropped = tuple(_name(b, blocks) for b in blocks if not any(b is k for k in kept))
    return _lines(kept, _grown(kept, _widths(kept, limit), width), dropped)


def _name(block: Block, blocks: Sequence[Block]) -> str:
    """Title of a column, with its group where the title alone is ambiguous."""
    alike = sum(b.title == block.title for b in blocks)
    return f"{block.group} {block.title}" if alike > 1 and block.group else block.title


def _kept(blocks: Sequence[Block], width: int) -> list[Block]:
    """Columns that fit with short titles, the most important ones first to be let in."""
    if _fits(blocks, _TITLE_LIMITS[-1], width):
        return list(blocks)
    chosen: set[int] = set()
    for i in sorted(range(len(blocks)), key=lambda i: (blocks[i].priority, i)):
        trial = [blocks[j] for j in sorted(chosen | {i})]
        if blocks[i].priority <= 0 or _fits(trial, _DROP_LIMIT, width):
            chosen.add(i)
    return [blocks[i] for i in sorted(chosen)]


def _fits(blocks: Sequence[Block], limit: int, width: int) -> bool:
    return sum(w + _GAP for w in _widths(blocks, limit)) - _GAP <= width


def _widths(blocks: Sequence[Block], limit: int | None) -> list[int]:
    """Widths of columns with titles of at most ``limit``; group titles fit over them."""
    widths = [_natural(b, limit) for b in blocks]
    first = 0
    for i, block in enumerate(blocks):
        if i + 1 < len(blocks) and blocks[i + 1].group == block.group:
            continue
        span = sum(widths[first : i + 1]) + _GAP * (i - first)
        widths[i] += max(0, cell_width(block.group) - span)
        first = i + 1
    return widths


def _grown(blocks: Sequence[Block], widths: list[int], width: int) -> list[int]:
    """Return widths with what is left of the line: to titles that it makes whole, then to texts."""
    left = width - sum(w + _GAP for w in widths) + _GAP
    missing = [cell_width(clean(b.title)) - w for b, w in zip(blocks, widths, strict=True)]
    # The least cut ones first: most titles are whole in the end.
    for i in sorted(range(len(blocks)), key=lambda i: missing[i]):
        if 0 < missing[i] <= left:
            widths[i] += missing[i]
            left -= missing[i]
    for i, block in enumerate(blocks):
        if not block.right:
            more = max(0, min(_natural(block, None) - widths[i], left))
            widths[i] += more
            left -= more
    return widths


def _natural(block: Block, limit: int | None) -> int:
    cells = max((cell_width(c) for c in block.cells), default=1)
    title = cell_width(clean(block.title))
    if limit is None:
        return max(cells, title)
    if not block.right and not block.whole:
        cells = min(cells, _TEXT_LIMIT * min(limit, _DROP_LIMIT))
    return max(cells, min(title, limit))


def _lines(blocks: Sequence[Block], widths: Sequence[int], dropped: tuple[str, ...]) -> Arranged:
    sep = " " * _GAP
    n_rows = max((len(b.cells) for b in blocks), default=0)
    titles = sep.join(
        pad(elide(clean(b.title), w), w, right=b.right) for b, w in zip(blocks, widths, strict=True)
    ).rstrip()
    rows = tuple(
        sep.join(
            pad(b.cells[i] if b.right else elide(b.cells[i], w), w, right=b.right)
            for b, w in zip(blocks, widths, strict=True)
        ).rstrip()
        for i in range(n_rows)
    )
    return Arranged(_group_line(blocks, widths), titles, rows, dropped)


def _group_line(blocks: Sequence[Block], widths: Sequence[int]) -> str:
    """Each group's title between dashes, over the span of its columns."""
    if not any(b.group for b in blocks):
        return ""
    spans: list[tuple[str, int]] = []
    for block, width in zip(blocks, widths, strict=True):
        if spans and spans[-1][0] == block.group:
            spans[-1] = (block.group, spans[-1][1] + _GAP + width)
        else:
            spans.append((block.group, width))
    return (" " * _GAP).join(_span(group, width) for group, width in spans).rstrip()


def _span(group: str, width: int) -> str:
    if not group:
        return " " * width
    title = elide(group, width)
    dashes = width - cell_width(title) - 2
    if dashes < 2:
        return pad(title, width, right=True)
    left = dashes // 2
    return f"{'─' * left} {title} {'─' * (dashes - left)}"
