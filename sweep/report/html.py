"""Parts of HTML pages that need nothing else: no network, no script, no other file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from typing import Any

from sweep.report.table import Table, new_file
from sweep.text import as_cells, clean

__all__ = ["html_document", "html_table", "html_text", "whole_table", "write_page"]

_STYLE = """
:root { color-scheme: light dark; --line: #d0d0d0; --dim: #666; --paper: #fff; --ink: #1a1a1a; }
@media (prefers-color-scheme: dark) {
  :root { --line: #444; --dim: #a0a0a0; --paper: #16181c; --ink: #e6e6e6; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem;
  border-top: 1px solid var(--line); padding-top: 1rem; } h3 { font-size: 1rem; }
h1, h2, h3, dd, li, p { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td, th { text-align: right; } td.text, th.text { text-align: left; }
small, .dim { color: var(--dim); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { color: var(--dim); } dd { margin: 0; }
svg { max-width: 100%; height: auto; }
@media print { h2 { break-before: page; } }
""".strip()


def html_document(title: str, body: Sequence[str]) -> str:
    """Return a whole document; ``body`` is HTML, the title plain text. UTF-8 is declared."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html_text(title)}</title>",
            f"<style>\n{_STYLE}\n</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def html_text(value: Any) -> str:
    """Return a value as text on one line that HTML shows as it is."""
    return escape(clean(str(value)))


def whole_table(table: Table) -> str:
    """Return a table with every column."""
    columns = table.columns
    cells = [as_cells(c.kind, [row[i] for row in table.rows]) for i, c in enumerate(columns)]
    rows = [list(map(html_text, row)) for row in zip(*cells, strict=True)]
    return html_table([c.name for c in columns], rows, [c.kind == "text" for c in columns])


def html_table(names: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[bool]) -> str:
    """Return a table of cells that are escaped already, under names that are not."""
    kinds = [' class="text"' if text else "" for text in texts]
    head = "".join(f"<th{k}>{html_text(n)}</th>" for k, n in zip(kinds, names, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{k}>{c}</td>" for k, c in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    ]
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def write_page(path: str | os.PathLike[str], document: str, *, force: bool = False) -> None:
    """Write what `html_document` gave to a file.

    Raises
    ------
    InputError
        If the file exists and ``force`` is not given, or its folder does not.
    SweepError
        If writing fails. No part of a file is left then.
    """
    with new_file(path, force=force) as temporary:
        temporary.write_text(document, encoding="utf-8")
