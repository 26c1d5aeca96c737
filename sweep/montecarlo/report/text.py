"""What a finding says, as texts: numbers in cells, facts, and plain sentences.

The parts of a document are made of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sweep.montecarlo.finding import Finding
from sweep.stats.quantiles import PValue, Quantile
from sweep.stats.summary import Summary, Units
from sweep.text import (
    MISSING,
    Kind,
    as_cells,
    cell_width,
    clean,
    clip,
    count,
    counted,
    duration,
    elide,
    fixed,
    is_missing,
    metric_column,
    number,
    pad,
    percent,
)

__all__ = [
    "chart_title",
    "error_text",
    "facts",
    "figure_rows",
    "main_metric",
    "metric_cells",
    "metric_texts",
    "no_value",
    "params_text",
    "plus_minus",
    "sentences",
    "value_with_unit",
    "what_is_missing",
]

#: Units that are drawn themselves, simulated paths and neighbours, and not seen.
_DRAWN = ("path", "point")

_AS_EXTREME = {
    "greater": "as great",
    "less": "as small",
    "two-sided": "as far out on either side",
}


def main_metric(finding: Finding) -> str | None:
    """Return the metric that a finding is about first, or None if it summarises none."""
    return next(iter(finding.summaries), None)


def params_text(finding: Finding) -> str:
    """Return parameters on one line, rounded: ``fast = 20, slow = 100.5``."""
    return ", ".join(
        f"{name} = {number(value, 6) if isinstance(value, float) else value}"
        for name, value in finding.params.items()
    )


def chart_title(finding: Finding, width: int | None = None, *, of: str = "") -> str:
    """Return what a chart is headed with: method, variant, number of paths, what is drawn.

    With a width, labels are cut and the number of paths is not.
    """
    method, variant = clean(finding.method), clean(finding.variant)
    tail = f", {counted(finding.n_paths, 'path')}" + (f": {of}" if of else "")
    if width is not None:
        room = max(width - cell_width(tail) - 2, 2)
        method = elide(method, max(room // 2, room - cell_width(variant)))
        variant = elide(variant, room - cell_width(method))
        return clip(f"{method}, {variant}{tail}", width)
    return f"{method}, {variant}{tail}"


# -- numbers ---------------------------------------------------------------------------


def _kind(name: str) -> Kind:
    """Return how a metric is shown: a study's, or a count of units that its name has."""
    return "count" if name.startswith("longest_under_water_") else metric_column(name).kind


def metric_texts(name: str, values: Sequence[float], *, digits: int = 5) -> list[str]:
    """Show values of one metric with as many decimals each.

    Amounts of cash have `digits` significant digits here and not always two decimals: the
    error of a quantile is seldom below a cent.
    """
    kind = _kind(name)
    plain = [float(v) for v in values]
    if kind in ("number", "cash"):
        return fixed(plain, digits)
    return as_cells(kind, plain)


def value_with_unit(name: str, value: float) -> str:
    """Show one value of a metric by itself."""
    kind = _kind(name)
    if is_missing(value):
        return MISSING
    if kind in ("number", "cash", "count"):
        return number(float(value))
    return as_cells(kind, [value])[0]


def _like(texts: Sequence[str], name: str, value: float) -> str:
    """Show a value with as many decimals as the quantiles have."""
    decimals = {len(text.partition(".")[2]) for text in texts if "." in text}
    exact = _kind(name) in ("number", "cash") and math.isfinite(value)
    if not exact or len(decimals) != 1 or any("e" in text for text in texts):
        return value_with_unit(name, value)
    return f"{value:,.{decimals.pop()}f}"


def error_text(name: str, error: float) -> str:
    """Show a standard error: two digits, in the unit of its metric."""
    kind = _kind(name)
    if is_missing(error):
        return MISSING
    if kind == "share":
        return f"{number(100.0 * error, 2)}%"
    return duration(error) if kind == "duration" else number(error, 2)


def metric_cells(name: str, summary: Summary, *, digits: int = 5) -> dict[str, tuple[str, str]]:
    """Return what is known of one metric by label: a value, and its error or interval."""
    flat = [v for q in summary.quantiles for v in (q.value, q.low, q.high)]
    placed = summary.observed
    seen = placed.value if placed is not None else float("nan")
    *texts, observed = metric_texts(name, [*flat, seen], digits=digits)
    low, high = (max(map(cell_width, texts[i::3])) for i in (1, 2))
    cells = {
        percent(q.level): (value, _interval(a, b, low, high))
        for q, value, a, b in zip(
            summary.quantiles, texts[::3], texts[1::3], texts[2::3], strict=True
        )
    }
    mean = (
        _like(texts, name, summary.mean.value),
        plus_minus(error_text(name, summary.mean.error)),
    )
    return cells | {
        "mean": mean,
        "sd": (_like(texts, name, summary.sd), ""),
        "observed": (observed, ""),
        "rank": (percent(placed.rank, 1) if placed is not None else MISSING, ""),
        "p-value": _p_cell(summary.p_value),
        "failed": (count(summary.n_failed), ""),
        "empty": (count(summary.n_empty), ""),
    }


def _interval(low: str, high: str, low_width: int, high_width: int) -> str:
    if {low, high} == {MISSING}:
        return ""
    return f"[{pad(low, low_width, right=True)}, {pad(high, high_width, right=True)}]"


def plus_minus(error: str) -> str:
    """Return ``+/- 0.5``, or nothing where there is no error."""
    return "" if error == MISSING else f"+/- {error}"


def _p_cell(p: PValue | None) -> tuple[str, str]:
    if p is None:
        return MISSING, ""
    return number(p.value, 3), plus_minus(number(p.error, 2))


def figure_rows(finding: Finding) -> list[tuple[str, str]]:
    """Return further figures by name, as texts."""
    return [(name, value_with_unit(name, value)) for name, value in finding.figures.items()]


# -- facts and sentences ---------------------------------------------------------------


def facts(finding: Finding) -> list[tuple[str, str]]:
    """Return what was done, by label: what was resampled, of which units, how often."""
    rows = [("variant", finding.variant)]
    if finding.params:
        rows.append(("parameters", params_text(finding)))
    summaries = finding.summaries
    rows += _labelled("resampled", {n: s.method for n, s in summaries.items()})
    if finding.block is not None:
        rows.append(("block", finding.block.text))
    rows += _labelled("units", {n: _units(s.units) for n, s in summaries.items()})
    rows.append(("paths", count(finding.n_paths)))
    rows.append(("seed", str(finding.seed)))
    if finding.seconds > 0.0:
        took = duration(finding.seconds)
        if finding.fitting_seconds > 0.0:
            took += f", {duration(finding.fitting_seconds)} of it for fitting"
        rows.append(("took", took))
    return [(label, clean(text)) for label, text in rows]


def _labelled(label: str, texts: dict[str, str]) -> list[tuple[str, str]]:
    """Return one line where all metrics agree, else one for each text, with its metrics."""
    distinct = list(dict.fromkeys(texts.values()))
    if len(distinct) <= 1:
        return [(label, text) for text in distinct]
    return [(label, f"{text} ({_names(texts, text)})") for text in distinct]


def _names(texts: dict[str, str], text: str) -> str:
    return ", ".join(name for name, other in texts.items() if other == text)


def _units(units: Units) -> str:
    if units.reason is not None:
        counted_there = counted(units.n, units.name) in units.reason
        return units.reason if counted_there else f"{units.text}: {units.reason}"
    return f"{units.text}, worth {number(units.effective, 3)} independent ones"


def no_value(finding: Finding) -> str:
    """Return how many paths have no value of some metric."""
    n = len(finding.summaries)
    failed = {name: s.n_failed for name, s in finding.summaries.items() if s.n_failed}
    empty = {name: s.n_empty for name, s in finding.summaries.items() if s.n_empty}
    if not failed and not empty:
        return "no path failed, and none was empty"
    texts = [
        f"{counted(k, 'path')} {what}" + (f" ({_names_of(counts, k)})" if n > 1 else "")
        for counts, what in ((failed, "failed"), (empty, "had nothing to measure"))
        for k in dict.fromkeys(counts.values())
    ]
    return "; ".join(texts) + ": they rank as the worst"


def _names_of(counts: dict[str, int], k: int) -> str:
    return ", ".join(name for name, other in counts.items() if other == k)


def sentences(finding: Finding) -> list[str]:
    """Return what the numbers need in words, each text once.

    P-values with their null; which error is which; why a number is missing; notes.
    """
    summaries = finding.summaries
    texts = [_p_sentence(name, s.p_value) for name, s in summaries.items() if s.p_value is not None]
    if summaries:
        texts += [_errors(finding), no_value(finding)]
    if summaries and not finding.paths:
        texts.append(
            "single paths are not kept here: there is no chart, and none in CSV or Parquet"
        )
    texts += what_is_missing(finding)
    texts += [f"{name}: {reason}" for name, reason in finding.reasons.items()]
    # Reasons of units stand among the facts, counts of failures above.
    covered = {s.units.reason for s in summaries.values()}
    texts += [
        note
        for s in summaries.values()
        for note in s.notes
        if note not in covered and not _counts_failures(s, note)
    ]
    texts += finding.notes
    return list(dict.fromkeys(clean(text) for text in texts))


def _counts_failures(summary: Summary, note: str) -> bool:
    return note.startswith(f"{counted(summary.n_failed, 'replicate')} failed and ")


def _p_sentence(name: str, p: PValue) -> str:
    if is_missing(p.value):
        return f"p-value of {name}: none, {p.reason}; null: {p.null}"
    value, error = _p_cell(p)
    return (
        f"p-value of {name}: {value}{error and ' '}{error}, the chance of a value "
        f"{_AS_EXTREME[p.alternative]} if {p.null} "
        f"({p.n_extreme:,} of {counted(p.n_paths, 'path')})"
    )


def _errors(finding: Finding) -> str:
    """Tell the error of drawing paths from that of having seen so much history alone."""
    units = next(iter(finding.summaries.values())).units
    if units.name in _DRAWN:
        other = "what another history would have given (sampling error) does not show here"
    else:
        other = (
            f"that {counted(units.n, units.name)} {'was' if units.n == 1 else 'were'} seen and no "
            "others (sampling error) is another matter, which more paths do not make smaller"
        )
    return (
        f"+/- and [ ] are the error of having drawn {counted(finding.n_paths, 'path')} (Monte "
        f"Carlo error; [ ] at 95%), which more paths make smaller; {other}"
    )


def what_is_missing(finding: Finding) -> list[str]:
    """Return why quantiles, means or ranks are missing, each reason once with its places."""
    names = tuple(finding.summaries)
    places: dict[tuple[str, str], list[str]] = {}
    for name, s in finding.summaries.items():
        for reason, levels in _grouped(s.quantiles):
            places.setdefault((reason, levels), []).append(name)
        for what, part in (("mean", s.mean), ("observed", s.observed)):
            if part is not None and part.reason is not None:
                places.setdefault((part.reason, what), []).append(name)
    return [
        f"{what}: {reason}" if tuple(where) == names else f"{what} of {', '.join(where)}: {reason}"
        for (reason, what), where in places.items()
    ]


def _grouped(quantiles: Iterable[Quantile]) -> list[tuple[str, str]]:
    levels_of: dict[str, list[str]] = {}
    for q in quantiles:
        if q.reason is not None:
            # Reasons that name their level are one reason to a reader.
            reason = q.reason.replace(f" at {q.level:g}", " this far out")
            levels_of.setdefault(reason, []).append(percent(q.level))
    return [(reason, " ".join(levels)) for reason, levels in levels_of.items()]
