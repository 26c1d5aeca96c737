"""The folds of a search range as a picture for a screen, and as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from sweep.format import Column, clip, duration
from sweep.output import Table
from sweep.robustness.tables import wrapped

__all__ = ["splits_lines", "splits_table"]

_WIDEST = 100
_LABEL = 8
#: Test, train, left out.
_MARKS, _ASCII_MARKS = ("█", "░", "·"), ("#", "-", ".")


def splits_table(folds: Any) -> Table:
    """Return a row for each window of each fold.

    Parameters
    ----------
    folds : sweep.folds.Folds
    """
    columns = (
        Column("fold", "integer", priority=0),
        Column("role", "text", priority=0),
        Column("begin", "time", priority=1),
        Column("end", "time", priority=1),
        Column("length", "duration", "s", priority=2),
    )
    rows = [
        (k, role, int(w[0]), int(w[1]), (int(w[1]) - int(w[0])) / 1e9)
        for k, fold in enumerate(folds.folds)
        for role, windows in (("train", fold.train), ("test", fold.test))
        for w in windows
    ]
    return Table(columns, rows)


def splits_lines(folds: Any, width: int | None, *, ascii_only: bool = False) -> list[Text]:
    """Draw each fold as a line of time, with what trains, what tests, and what is left out.

    Parameters
    ----------
    folds : sweep.folds.Folds
    width : int or None
        Columns that no line exceeds; None: 100.
    ascii_only : bool, optional
    """
    wide = min(width or _WIDEST, _WIDEST)
    test, train, out = _ASCII_MARKS if ascii_only else _MARKS
    begin = min(int(w[0]) for w in _windows(folds))
    end = max(int(w[1]) for w in _windows(folds))
    cells = max(wide - _LABEL, 8)
    title = f"{folds.scheme}: {len(folds.folds):,} folds of {folds.n_units:,} units ({folds.unit})"
    lines = [Text(clip(title, wide), "bold")]
    for k, fold in enumerate(folds.folds):
        marks = [out] * cells
        for windows, mark in ((fold.train, train), (fold.test, test)):
            for first, last in windows:
                a = (int(first) - begin) * cells // (end - begin)
                # The cell of a window's last nanosecond: what is shorter than a cell is seen.
                b = (int(last) - 1 - begin) * cells // (end - begin)
                for cell in range(a, b + 1):
                    if marks[cell] != test:
                        marks[cell] = mark
        line = Text(f"{k:>{_LABEL - 2}}  ")
        for mark in marks:
            line.append(mark, "cyan" if mark == test else "dim")
        lines.append(line)
    key = f"{test} test  {train} train  {out} left out"
    lines.append(Text(clip(" " * _LABEL + key, wide), "dim"))
    purged = f"purged in front of a test: {duration(folds.purge / 1e9)}"
    lines += wrapped(f"{purged}; embargo behind it: {duration(folds.embargo / 1e9)}", wide, "dim")
    for note in folds.notes:
        lines += wrapped(note, wide, "dim", first="- ")
    return lines


def _windows(folds: Any) -> Iterable[Any]:
    return (w for fold in folds.folds for w in (*fold.train, *fold.test))
