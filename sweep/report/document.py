"""What a report says, apart from how it is shown: parts, in the order in which they are read.

`sweep.report.terminal` makes lines of them and `sweep.report.html` a page. What programs read
is made of the results themselves (`sweep.report.table`), which hold more than is shown.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from sweep.text import cell_width, pad

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Chart", "Facts", "Grid", "Heading", "Paragraph", "Part", "ShadedCells", "TextColumn"]


@dataclass(frozen=True)
class Heading:
    """Title of what follows.

    Attributes
    ----------
    text : str
    note : str
        A few words beside it.
    level : int
        2 for a section, 3 for a part of one.
    style, note_style : str
        Such as ``"bold green"``: names that rich and the pages' style sheet know.
    anchor : str
        What links of a page lead to.
    """

    text: str
    note: str = ""
    level: int = 2
    style: str = "bold"
    note_style: str = "dim"
    anchor: str = ""


@dataclass(frozen=True)
class Facts:
    """Short texts with a label each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Paragraph:
    """Running text, or, with ``items``, a list of sentences.

    Attributes
    ----------
    texts : tuple of str
    style : str
        See `Heading`.
    items : bool
        Whether each text has a mark of its own before it.
    indent : int
    """

    texts: tuple[str, ...]
    style: str = ""
    items: bool = False
    indent: int = 0


@dataclass(frozen=True)
class TextColumn:
    """One column of a `Grid`.

    Attributes
    ----------
    title : str
    texts : tuple of str
        One for each row.
    priority : int
        The smallest number is kept longest; 0 is never left out.
    right : bool
        Aligned to the right, and never shortened: a number cut short is another number.
    group : str
        Title over neighbouring columns of the same group.
    whole : bool
        Never shortened either, though aligned to the left, as a time is.
    style : str
        See `Heading`.
    notes : tuple of str
        What stands after each text, such as its error; the texts line up, and so do the notes.
    narrower : TextColumn, optional
        What to show instead where the width is short.
    links : tuple of str
        Anchors of a page to which the texts lead.
    """

    title: str
    texts: tuple[str, ...]
    priority: int = 5
    right: bool = True
    group: str = ""
    whole: bool = False
    style: str = ""
    notes: tuple[str, ...] = ()
    narrower: TextColumn | None = None
    links: tuple[str, ...] = ()

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The texts with their notes, each lined up."""
        if not self.notes:
            return self.texts
        text, note = (max(map(cell_width, part)) for part in (self.texts, self.notes))
        return tuple(
            f"{pad(t, text, right=True)} {pad(n, note, right=False)}"
            for t, n in zip(self.texts, self.notes, strict=True)
        )

    @cached_property
    def width(self) -> int:
        """Terminal columns of the widest cell."""
        return max(map(cell_width, self.cells), default=1)


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes
    ----------
    columns : tuple of TextColumn
        With equally many texts each. The first says which row it is.
    title : str
    hint : str
        Where to find the columns that a terminal has no room for.
    split : bool
        Whether columns without room stand in a further table, and are not left out.
    notes : tuple of str
        Remarks below the table.
    row_styles : tuple of str
        One for each row, or none at all.
    """

    columns: tuple[TextColumn, ...]
    title: str = ""
    hint: str = "-f csv has all"
    split: bool = False
    notes: tuple[str, ...] = ()
    row_styles: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].texts) if self.columns else 0

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Titles over columns, each with the number of texts and notes that it is over."""
        by_group = groupby(self.columns, key=lambda column: column.group)
        return [(group, sum(2 if c.notes else 1 for c in columns)) for group, columns in by_group]


@dataclass(frozen=True)
class ShadedCells:
    """Shaded cells of two quantities.

    Attributes
    ----------
    what : str
        What the shades tell, such as ``"median"``.
    x, y : str
        Names of what runs to the right, and downwards.
    x_labels, y_labels : tuple of str
    shares : tuple of tuple of (float or None)
        By rows, from 0 (the poorest) to 1 (the best); None: without a value.
    texts : tuple of tuple of str
        What each cell says.
    poorest, best : str
        Values at shares of 0 and 1.
    marked : (int, int), optional
        Row and column of the cell that stands out.
    """

    what: str
    x: str
    y: str
    x_labels: tuple[str, ...]
    y_labels: tuple[str, ...]
    shares: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    poorest: str
    best: str
    marked: tuple[int, int] | None = None


@dataclass(frozen=True)
class Chart:
    """A picture, drawn where it is shown.

    Attributes
    ----------
    lines : callable
        Takes columns of a terminal, returns lines no wider than that.
    svg : callable
        Takes a prefix for identifiers, returns an SVG element, or nothing where there is nothing
        to draw. It raises `sweep.errors.InputError` where the library for it is missing.
    """

    lines: Callable[[int], list[Text]]
    svg: Callable[[str], str]


Part = Heading | Facts | Paragraph | Grid | ShadedCells | Chart
