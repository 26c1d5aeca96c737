"""Comparisons of variants as cells, sentences, lines for a screen, and columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.text import Text

from sweep.montecarlo.compare import Comparison
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.tables import robustness_table
from sweep.montecarlo.report.text import error_text, metric_texts
from sweep.report.layout import Block, arrange
from sweep.report.table import Table, wrapped
from sweep.text import MISSING, Column, counted, is_missing, percent

__all__ = ["Compared", "compared", "comparison_lines", "summary_with_comparisons"]

#: Columns of `summary_with_comparisons` behind those of the summary.
_BESIDE = (
    Column("against", "text"),
    *(
        Column(name)
        for name in (
            *("difference", "difference_error", "difference_low_90", "difference_high_90"),
            *("against_better", "against_better_error"),
        )
    ),
)


@dataclass(frozen=True)
class Compared:
    """The comparisons of one method, in words.

    Attributes
    ----------
    title : str
    names : tuple of str
        Of the columns; the first two are texts, the others numbers.
    rows : tuple of tuple of str
    sentences : tuple of str
    """

    title: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sentences: tuple[str, ...]


def compared(comparisons: Sequence[Comparison]) -> list[Compared]:
    """Return comparisons in words, by method.

    Parameters
    ----------
    comparisons : sequence of Comparison
        See `sweep.montecarlo.compare.comparisons_of`.
    """
    return [_in_words(list(group)) for _, group in groupby(comparisons, lambda c: c.method)]


def _in_words(some: list[Comparison]) -> Compared:
    head = some[0]
    title = f"{head.method}: {head.first} less others, {counted(head.n_paths, 'path')} in common"
    names = ("less", "of", "observed", "difference", "90%", "first better", "equal")
    return Compared(title, names, tuple(map(_cells, some)), tuple(_sentences(some)))


def _cells(c: Comparison) -> tuple[str, ...]:
    observed, difference, low, high = metric_texts(
        c.metric, [c.observed, c.difference, c.low, c.high]
    )
    better = percent(c.better, 1)
    return (
        c.other,
        c.metric,
        observed,
        _with(difference, error_text(c.metric, c.error)),
        MISSING if is_missing(c.low) else f"[{low}, {high}]",
        better if is_missing(c.better) else _with(better, percent(c.better_error, 1)),
        percent(c.equal, 1),
    )


def _with(value: str, error: str) -> str:
    return value if error == MISSING else f"{value} +/- {error}"


def _sentences(some: list[Comparison]) -> list[str]:
    head = some[0]
    said = [
        f"differences are {head.first} less the other one on the same path; +/- is the error of "
        f"having drawn {counted(head.n_paths, 'path')} (Monte Carlo error), which more paths make "
        f"smaller"
    ]
    kinds = dict.fromkeys(c.interval for c in some if c.interval is not None)
    if kinds:
        said.append(
            f"[ ] is the 90% interval of the difference ({', '.join(kinds)}): the error of having "
            f"seen these sessions and no others (sampling error), which more paths do not make "
            f"smaller; it is each one's own, and does not allow for variants having been chosen "
            f"on these sessions"
        )
    said += [_verdict(c) for c in some if not is_missing(c.low)]
    said += [
        f"{c.metric} has no finite value on {counted(c.n_without, 'path')} for {c.first} or "
        f"{c.other}: not in the mean; the one without any is the worse there"
        for c in some
        if c.n_without
    ]
    reasons: dict[str, list[str]] = {}
    for c in some:
        if c.reason is not None:
            reasons.setdefault(c.reason, []).append(f"{c.other}, {c.metric}")
    said += [
        f"{reason} ({'all' if len(who) == len(some) else '; '.join(who)})"
        for reason, who in reasons.items()
    ]
    return said


def _verdict(c: Comparison) -> str:
    what = f"by {c.metric}"
    if c.low <= 0.0 <= c.high:
        return f"{what}, these sessions cannot tell {c.first} from {c.other}: the interval holds 0"
    better = (c.low > 0.0) == c.higher
    which, than = (c.first, c.other) if better else (c.other, c.first)
    return f"{what}, {which} is better than {than}: the interval does not hold 0"


def comparison_lines(comparisons: Sequence[Comparison], width: int | None) -> list[Text]:
    """Lay comparisons out for a screen, a table for each method.

    Parameters
    ----------
    comparisons : sequence of Comparison
    width : int or None
        Columns that no line exceeds; None: lines of any length.
    """
    lines: list[Text] = []
    priorities = (0, 0, 4, 0, 1, 2, 3)
    for part in compared(comparisons):
        columns = zip(*part.rows, strict=True)
        blocks = [
            Block(name, cells, priority, right=k > 1)
            for k, (name, cells, priority) in enumerate(
                zip(part.names, columns, priorities, strict=True)
            )
        ]
        laid = arrange(blocks, width)
        lines += [Text(part.title, "bold"), Text(laid.titles, "bold"), *map(Text, laid.rows)]
        if laid.dropped:
            lines += wrapped(f"not shown (-f json has all): {', '.join(laid.dropped)}", width)
        for sentence in part.sentences:
            lines += wrapped(sentence, width, first="- ")
        lines.append(Text())
    if width is not None:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
    return lines


def summary_with_comparisons(
    findings: Sequence[Finding], comparisons: Sequence[Comparison]
) -> Table:
    """Return `robustness_table` with what each variant's net profit has been compared with.

    ``difference`` is the variant ``against`` less the row's own, ``against_better`` the share
    of paths on which the former is better; see `sweep.montecarlo.compare.Comparison`.
    """
    table = robustness_table(findings)
    known = {(c.method, c.other): c for c in comparisons if c.metric == "net_profit"}
    rows: list[list[Any]] = []
    for finding, row in zip(findings, table.rows, strict=True):
        c = known.get((finding.method, finding.variant))
        numbers: list[Any] = [None] * len(_BESIDE)
        if c is not None:
            numbers = [c.first, c.difference, c.error, c.low, c.high, c.better, c.better_error]
        rows.append([*row, *numbers])
    return Table((*table.columns, *_BESIDE), rows)
