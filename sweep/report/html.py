"""A document as an HTML page that needs nothing else: no network, no script, no other file.

Jinja2 fills ``templates/page.html``, and escapes every text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sweep.errors import InputError
from sweep.report.document import Chart, Part, ShadedCells
from sweep.report.table import new_file
from sweep.text import clean

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["page", "write_page"]

#: Steps of the colours of a heat map, in the style sheet.
_STEPS = 6


def page(title: str, parts: Sequence[Part]) -> str:
    """Return a whole document. UTF-8 is declared.

    Charts are inline SVG. Without the library for them there are none, and a line says so.
    """
    charts: dict[int, Any] = {}
    without_charts = ""
    for i, part in enumerate(parts):
        if isinstance(part, Chart):
            try:
                charts[i] = part.svg(f"chart{i}-")
            except InputError as error:
                without_charts = str(error)
    named = [(type(part).__name__, part) for part in parts]
    return _template().render(
        title=title, parts=named, charts=charts, without_charts=without_charts, step=_step
    )


def write_page(
    path: str | os.PathLike[str], title: str, parts: Sequence[Part], *, force: bool = False
) -> None:
    """Write a `page` to a file.

    Raises
    ------
    InputError
        If the file exists and ``force`` is not given, or its folder does not.
    SweepError
        If writing fails. No part of a file is left then.
    """
    with new_file(path, force=force) as temporary:
        temporary.write_text(page(title, parts), encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sweep.report"),
        autoescape=True,
        finalize=_on_one_line,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("page.html")


def _on_one_line(value: Any) -> Any:
    return clean(value) if type(value) is str else value


def _step(shaded_cells: ShadedCells, row: int, column: int) -> str:
    """Return the style of a cell: its step from the poorest to the best."""
    share = shaded_cells.shares[row][column]
    style = "" if share is None else f"step{min(int(share * _STEPS), _STEPS - 1)}"
    return f"{style} marked" if (row, column) == shaded_cells.marked else style
