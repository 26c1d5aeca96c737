"""Numbers, durations, sizes and times as people read them, and the names of settings.

For screens only: whatever a program may read back goes out with full precision
instead (``sweep.report.table``). ``MISSING`` stands for an undefined value everywhere.
Standard library only.
"""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

__all__ = [
    "ARRIVALS",
    "DIRECTIONS",
    "EFFECTS",
    "ENGINES",
    "MISSING",
    "MODELS",
    "PRUNERS",
    "SAMPLERS",
    "STATES",
    "Column",
    "Kind",
    "as_cells",
    "bytes_text",
    "cell_width",
    "clean",
    "clip",
    "count",
    "counted",
    "did_you_mean",
    "duration",
    "elide",
    "fixed",
    "is_missing",
    "kind_of",
    "known_names",
    "metric_column",
    "missing_value",
    "number",
    "pad",
    "parameter_column",
    "percent",
    "plain",
    "price",
    "short",
    "timestamp",
    "too_few",
]

MISSING = "-"

#: Names that settings may take.
SAMPLERS = ("grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2")
PRUNERS = ("none", "median", "successive_halving", "hyperband", "wilcoxon")
ENGINES = ("loky", "joblib", "serial")
DIRECTIONS = ("maximize", "minimize")
#: States of a trial. Studies keep positions in this tuple: it may grow, and its order must stay.
#: ``complete``: evaluated, every requirement met. ``pruned``: stopped on the way.
#: ``infeasible``: evaluated, a requirement on the results is broken or undefined. ``invalid``:
#: forbidden by the strategy's constraint between parameters, never evaluated. ``failed``: the
#: evaluation raised.
STATES = ("complete", "pruned", "infeasible", "invalid", "failed")
#: Of simulated markets: the price processes, the arrivals of ticks, the planted effects.
MODELS = ("gbm", "merton", "garch", "regimes")
ARRIVALS = ("poisson", "hawkes")
EFFECTS = ("none", "momentum", "reversion", "hour")

Kind = Literal[
    "number",  # float; decimals aligned in a column
    "integer",  # without separators: trial numbers, windows
    "count",  # with thousands separators
    "cash",  # two decimals, more for small amounts; thousands separators
    "price",  # as many decimals as the prices have
    "share",  # fraction, shown in per cent
    "duration",  # seconds
    "bytes",
    "time",  # int nanoseconds since the epoch, UTC
    "boolean",
    "text",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNIFICANT = 5  # digits of the largest value in a column of numbers
_MAX_DECIMALS = 8


@dataclass(frozen=True)
class Column:
    """How one quantity is named, in which unit it is, and how it is shown.

    Attributes
    ----------
    name : str
    kind : Kind
    unit : str
        Such as ``"s"``; becomes part of the name in CSV and JSON. Empty: no unit.
    priority : int
        Columns with high numbers are the first to go where the width is short.
    """

    name: str
    kind: Kind = "number"
    unit: str = ""
    priority: int = 5

    @property
    def key(self) -> str:
        """Name with its unit, as CSV and JSON spell it: ``mean_holding_time_s``."""
        return f"{self.name}_{self.unit}" if self.unit else self.name


# Kind, unit and priority of each metric; what is not listed is a plain number.
_METRICS: dict[str, tuple[Kind, str, int]] = {
    "net_profit": ("cash", "", 3),
    "total_return": ("share", "", 3),
    "sharpe": ("number", "", 1),
    "sortino": ("number", "", 5),
    "calmar": ("number", "", 5),
    "max_drawdown": ("share", "", 2),
    "max_drawdown_cash": ("cash", "", 8),
    "max_drawdown_time": ("duration", "s", 7),
    "profit_factor": ("number", "", 5),
    "expectancy": ("cash", "", 7),
    "win_rate": ("share", "", 5),
    "sqn": ("number", "", 6),
    "trades": ("count", "", 2),
    "mean_holding_time": ("duration", "s", 6),
    "exposure": ("share", "", 7),
    "turnover": ("number", "", 7),
    "commission": ("cash", "", 8),
    "slippage": ("cash", "", 8),
    "spread_cost": ("cash", "", 8),
    "costs": ("cash", "", 6),
    "fills": ("count", "", 8),
    "final_equity": ("cash", "", 8),
}


def metric_column(name: str, *, prefix: str = "") -> Column:
    """Make the column for a metric; ``prefix="holdout_"`` names the one on the holdout."""
    kind, unit, priority = _METRICS.get(name, ("number", "", 6))
    return Column(prefix + name, kind, unit, priority + (2 if prefix else 0))


def parameter_column(name: str, values: Sequence[Any], *, priority: int = 2) -> Column:
    """Make the column for a parameter, of the kind that its values have."""
    return Column(name, kind_of(values), "", priority)


def kind_of(values: Sequence[Any]) -> Kind:
    """Find the kind of a column of parameter values: boolean, integer, number or text."""
    types = {type(plain(v)) for v in values if not is_missing(v)}
    if not types:
        return "number"
    if types == {bool}:
        return "boolean"
    if types == {int}:
        return "integer"
    return "number" if types <= {int, float} else "text"


def plain(value: Any) -> Any:
    """Turn a NumPy scalar into a Python one, whose ``repr`` is not a plain number."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def is_missing(value: Any) -> bool:
    """Tell whether a value is undefined: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: float | None, digits: int = _SIGNIFICANT) -> str:
    """Show a number by itself: ``1.2346``, ``0.00012346``, ``1,234.6``, ``1.2e+12``."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value) or value == 0 or not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - _magnitude(value))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def fixed(values: Sequence[float | None], digits: int = _SIGNIFICANT) -> list[str]:
    """Show the numbers of one column with as many decimals each, so that points line up.

    The largest has ``digits`` significant digits; zeros that end every cell are cut.
    Where the values span so many orders of magnitude that small ones would read as
    zero, each is shown by itself instead.
    """
    finite = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0]
    if not finite:
        return ["0" if v == 0 else number(v) for v in values]
    decimals = max(1, digits - 1 - _magnitude(max(finite)))
    if decimals > _MAX_DECIMALS or max(finite) >= 1e9 or min(finite) < 10.0**-decimals:
        return [number(v, digits - 1) for v in values]
    texts = _with_decimals(values, decimals)
    ends = [len(t) - len(t.rstrip("0")) for t in texts if "." in t]
    cut = min(*ends, decimals - 1) if ends else 0
    return [t[: len(t) - cut] if cut and "." in t else t for t in texts]


def _with_decimals(values: Sequence[float | None], decimals: int) -> list[str]:
    return [
        f"{v:,.{decimals}f}" if v is not None and math.isfinite(v) else number(v) for v in values
    ]


def count(value: int | None) -> str:
    """Show a count with separators: ``1,144,807``."""
    return MISSING if is_missing(value) else f"{value:,.0f}"


def counted(n: int, noun: str, plural: str = "") -> str:
    """Show a count with what is counted: ``1 slice``, ``2,000 slices``.

    Parameters
    ----------
    n : int
    noun : str
        In the singular.
    plural : str, optional
        Where it is not the noun with an s, or es after a hiss.
    """
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{n:,} {noun if n == 1 else plural or noun + ending}"


def missing_value(missing: int, n: int, noun: str) -> str:
    """Return ``"1 of 4 replicates has no value"``, ``"2 of 4 replicates have no value"``."""
    return f"{missing:,} of {counted(n, noun)} {'has' if missing == 1 else 'have'} no value"


def too_few(n: int, noun: str) -> str:
    """Return ``"1 path is too few"``, ``"20 paths are too few"``."""
    return f"{counted(n, noun)} {'is' if n == 1 else 'are'} too few"


def percent(share: float | None, decimals: int = 0) -> str:
    """Show a fraction in per cent: ``percent(0.123)`` is ``12%``."""
    if share is None or not math.isfinite(share):
        return MISSING
    return f"{100 * share:,.{decimals}f}%"


def short(value: float | None) -> str:
    """Show three significant digits and a prefix: ``1.24 G``, ``56.7 k``, ``4.31``."""
    if value is None or not math.isfinite(value):
        return MISSING
    scaled, prefixes = float(value), ["", "k", "M", "G", "T", "P"]
    step = 0
    # 999.5 and more would read as a four-digit number
    while abs(scaled) >= 999.5 and step < len(prefixes) - 1:
        scaled, step = scaled / 1000, step + 1
    decimals = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:.{decimals}f} {prefixes[step]}".rstrip()


def bytes_text(value: float | None) -> str:
    """Show a size in decimal units: ``812 MB``, ``1.24 GB``."""
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) < 1000:
        return f"{value:.0f} B"
    return f"{short(value)}B"


def duration(seconds: float | None) -> str:
    """Show a span of time in its two leading units: ``2m 14s``, ``3d 04h``, ``250ms``."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 9.95:
        return _short_duration(seconds)
    minutes, s = divmod(round(seconds), 60)
    if not minutes:
        return f"{s}s"
    if minutes < 60:
        return f"{minutes}m {s:02d}s"
    hours, m = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours}h {m:02d}m"
    days, h = divmod(round(seconds / 3600), 24)
    return f"{days}d {h:02d}h"


def _short_duration(seconds: float) -> str:
    if seconds == 0:
        return "0s"
    if seconds < 0.9995e-3:
        return f"{1e6 * seconds:.0f}us"
    return f"{1e3 * seconds:.0f}ms" if seconds < 0.9995 else f"{seconds:.1f}s"


def price(value: float | None) -> str:
    """Show a price without the noise of binary fractions: ``1.38652``, ``1,292.5``.

    Ten significant digits hold every quoted price; zeros at the end are cut.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    decimals = max(0, min(_MAX_DECIMALS, 9 - _magnitude(value)))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def timestamp(ns: int | None) -> str:
    """Show int nanoseconds since the epoch as exact UTC: ``2014-05-01T00:00:03.123Z``."""
    if ns is None:
        return MISSING
    seconds, rest = divmod(int(ns), 1_000_000_000)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if not rest:
        return text + "Z"
    digits = f"{rest:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z"


def as_cells(kind: Kind, values: Sequence[Any]) -> list[str]:
    """Show one column of values as texts that line up when aligned to the right."""
    scalars = [plain(v) for v in values]
    if kind == "number":
        return fixed(scalars)
    if kind == "price":
        return _prices(scalars)
    if kind == "cash":
        return _cash(scalars)
    if kind == "time":
        return _stamps(scalars)
    return [MISSING if is_missing(v) else clean(_ONE[kind](v)) for v in scalars]


def _prices(values: Sequence[float | None]) -> list[str]:
    decimals = [len(price(v).partition(".")[2]) for v in values]
    return _with_decimals(values, max(decimals, default=0))


def _cash(values: Sequence[float | None]) -> list[str]:
    """Two decimals, more where all amounts are small: one unit may be worth a dollar."""
    finite = [abs(v) for v in values if v is not None and math.isfinite(v)]
    largest = max(finite, default=0.0)
    decimals = min(_MAX_DECIMALS, _SIGNIFICANT - 2 - _magnitude(largest)) if largest else 2
    return _with_decimals(values, max(2, decimals))


def _stamps(values: Sequence[int | None]) -> list[str]:
    """Whole seconds, or milliseconds for all where one has a fraction, rounded down."""
    texts = [MISSING if v is None or is_missing(v) else timestamp(v) for v in values]
    if not any("." in text for text in texts):
        return texts
    heads = [text[:19] for text in texts]
    digits = [text[20:23] if "." in text else "000" for text in texts]
    return [
        text if text == MISSING else f"{head}.{part}Z"
        for text, head, part in zip(texts, heads, digits, strict=True)
    ]


_ONE: dict[Kind, Any] = {
    "integer": lambda v: f"{v:.0f}" if isinstance(v, float) else str(v),
    "count": count,
    "share": lambda v: percent(v, 2),
    "duration": duration,
    "bytes": bytes_text,
    "boolean": lambda v: "yes" if v else "no",
    "text": str,
}


def clean(text: str) -> str:
    """Put text on one line and take out control characters, which would garble a table."""
    return "".join(c if c.isprintable() else " " for c in text)


def cell_width(text: str) -> int:
    """Count the terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def clip(text: str, width: int) -> str:
    """Cut text at its end to at most ``width`` columns, for sentences and lists."""
    if cell_width(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    kept = text[: width - 1]
    while cell_width(kept) > width - 1:
        kept = kept[:-1]
    return f"{kept}…"


def elide(text: str, width: int) -> str:
    """Cut text in its middle to at most ``width`` columns: ``trailing_s…pct``.

    What follows the cut begins with a word, unless the last one takes more than half.
    """
    if cell_width(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    words = [k for k in range(1, len(text)) if text[k].isalnum() and not text[k - 1].isalnum()]
    ends = [len(text) - k for k in words if len(text) - k <= width // 2]
    tail = max(ends, default=(width - 1) // 3)
    head = width - 1 - tail
    left, right = text[:head], text[len(text) - tail :] if tail else ""
    while cell_width(left) > head:
        left = left[:-1]
    while cell_width(right) > tail:
        right = right[1:]
    return f"{left}…{right}"


def pad(text: str, width: int, *, right: bool) -> str:
    """Fill text with spaces to ``width`` columns; ``right``: aligned to the right."""
    fill = " " * max(0, width - cell_width(text))
    return fill + text if right else text + fill


def _magnitude(value: float) -> int:
    """Power of ten of the leading digit; 0 for zero."""
    return math.floor(math.log10(abs(value))) if value else 0


# -- names -----------------------------------------------------------------------------


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``'; did you mean "NAME"?'`` for the nearest of ``names``, or an empty text."""
    near = difflib.get_close_matches(name, list(names), 1, 0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def known_names(name: str, names: Iterable[str]) -> str:
    """Return how a sentence on a wrong name ends: the nearest of ``names``, and all of them."""
    choices = list(names)
    near = did_you_mean(name, choices)
    return f"{near} There are {', '.join(choices)}" if near else f"; there are {', '.join(choices)}"
