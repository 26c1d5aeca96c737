"""Metrics of rows, and how rows of consecutive slices merge.

Every function is vectorised over an array of rows (`sweep.schema.ROW`). A metric that a
row does not support (no trades, no variance) is NaN, and `undefined` says why.

Returns are taken on the fixed clock of the account, ``r = E_k / E_{k-1} - 1`` with the
first against the capital; periods without ticks give none. ``n`` is their number,
``ppy`` the stated number of periods in a year.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.schema import (
    STATUS_BAD_ORDER,
    STATUS_ERROR,
    STATUS_OK,
    STATUS_RUINED,
    FloatArray1D,
    Rows,
)

__all__ = ["METRICS", "METRIC_NAMES", "Metric", "merge", "metrics_of", "undefined", "why_undefined"]

_SECOND = 1e9


@dataclass(frozen=True)
class Metric:
    """One metric: its name, unit, which way is better, and how it is computed.

    Attributes
    ----------
    name : str
    unit : str
        ``"cash"`` (quote currency), ``"s"``, ``"share"``, ``"count"`` or ``""``.
    direction : str
        ``"maximize"`` or ``"minimize"``.
    compute : callable
        ``compute(rows, periods_per_year) -> ndarray of shape (n_rows,), float64``.
    """

    name: str
    unit: str
    direction: str
    compute: Callable[[Rows, float], FloatArray1D]


def _field(rows: Rows, name: str) -> FloatArray1D:
    return np.asarray(rows[name], dtype=np.float64)


def _ratio(top: FloatArray1D, bottom: FloatArray1D) -> FloatArray1D:
    """Return top / bottom, NaN where the bottom is not above 0."""
    out: FloatArray1D = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _return_moments(rows: Rows) -> tuple[FloatArray1D, FloatArray1D]:
    """Return mean and standard deviation (ddof=1) of clock returns."""
    n = _field(rows, "periods")
    mean = _ratio(rows["sum_r"], n)
    # The sums are of returns near zero, so that the difference loses no digits that matter;
    # constant returns leave rounding dust, which is no variance.
    square = rows["sum_r2"] - n * mean * mean
    dust = 1e-14 * rows["sum_r2"]
    variance = _ratio(np.where(square > dust, square, 0.0), n - 1.0)
    return mean, np.sqrt(np.where(variance > 0, variance, np.nan))


def net_profit(rows: Rows, ppy: float) -> FloatArray1D:
    """Equity at the end less the capital, in cash; slices that start afresh add up."""
    return np.asarray(rows["equity"] - rows["capital"])


def final_equity(rows: Rows, ppy: float) -> FloatArray1D:
    """Equity after the last tick, in cash."""
    return _field(rows, "equity")


def total_return(rows: Rows, ppy: float) -> FloatArray1D:
    """Equity at the end over the capital, less 1; slices that start afresh are chained."""
    return np.asarray(rows["growth"] - 1.0)


def sharpe(rows: Rows, ppy: float) -> FloatArray1D:
    """Annualised Sharpe ratio, ``mean(r) / sd(r, ddof=1) * sqrt(ppy)``.

    Notes
    -----
    Without a risk-free rate. Undefined below two returns or without variance.

    References
    ----------
    Sharpe (1994), The Sharpe ratio, J. Portfolio Management 21(1), equations 4 to 6;
    annualised by the square root of time, which Lo (2002) shows to hold for
    independent returns only.
    """
    mean, sd = _return_moments(rows)
    return np.asarray(mean / sd * np.sqrt(ppy))


def sortino(rows: Rows, ppy: float) -> FloatArray1D:
    """Annualised Sortino ratio, ``mean(r) / sqrt(sum(min(r, 0)^2) / n) * sqrt(ppy)``.

    Notes
    -----
    The downside deviation is about a target of 0 and over all ``n`` returns, not over
    the losing ones alone.

    References
    ----------
    Sortino & Price (1994), Performance measurement in a downside risk framework,
    J. Investing 3(3).
    """
    n = _field(rows, "periods")
    downside = np.sqrt(_ratio(rows["sum_down2"], n))
    return np.asarray(_ratio(_ratio(rows["sum_r"], n), downside) * np.sqrt(ppy))


def calmar(rows: Rows, ppy: float) -> FloatArray1D:
    """Calmar ratio: annualised return over the maximum relative drawdown.

    ``(growth ** (ppy / n) - 1) / max_drawdown``.

    References
    ----------
    Young (1991), Calmar ratio: a smoother tool, Futures 20(1). Over the whole span
    instead of the last 36 months.
    """
    n = _field(rows, "periods")
    growth = np.where(rows["growth"] > 0, rows["growth"], np.nan)
    with np.errstate(over="ignore"):
        yearly = growth ** (_ratio(np.full(n.shape, ppy), n)) - 1.0
    ratio = _ratio(yearly, rows["drawdown"])
    return np.where(np.isfinite(ratio), ratio, np.nan)


def max_drawdown(rows: Rows, ppy: float) -> FloatArray1D:
    """Worst ``(high - equity) / high`` over ticks; the capital is the first high."""
    return _field(rows, "drawdown")


def max_drawdown_cash(rows: Rows, ppy: float) -> FloatArray1D:
    """Worst ``high - equity`` over ticks, in cash."""
    return _field(rows, "drawdown_cash")


def max_drawdown_time(rows: Rows, ppy: float) -> FloatArray1D:
    """Longest time from a high to equity at or above it again, in seconds.

    A drawdown still open counts up to the last tick (a censored figure). Of slices that
    start afresh it is the longest within one of them.
    """
    return _field(rows, "drawdown_ns") / _SECOND


def profit_factor(rows: Rows, ppy: float) -> FloatArray1D:
    """Gross profit of winning over gross loss of losing round trips, after costs."""
    return _ratio(rows["gross_profit"], rows["gross_loss"])


def expectancy(rows: Rows, ppy: float) -> FloatArray1D:
    """Mean profit of a round trip after costs, in cash; zero trades counted."""
    return _ratio(rows["gross_profit"] - rows["gross_loss"], _field(rows, "trades"))


def win_rate(rows: Rows, ppy: float) -> FloatArray1D:
    """Share of round trips with a profit after costs."""
    return _ratio(_field(rows, "wins"), _field(rows, "trades"))


def sqn(rows: Rows, ppy: float) -> FloatArray1D:
    """System quality number, ``sqrt(trades) * mean / sd(ddof=1)`` of round-trip profits.

    References
    ----------
    Tharp (2008), Definitive Guide to Position Sizing, in cash instead of multiples of
    the initial risk, and without his cap at 100 trades.
    """
    n = _field(rows, "trades")
    mean = _ratio(rows["gross_profit"] - rows["gross_loss"], n)
    square = rows["sum_trade2"] - n * mean * mean
    square = np.where(square > 1e-14 * rows["sum_trade2"], square, 0.0)
    return np.asarray(np.sqrt(n) * _ratio(mean, np.sqrt(_ratio(square, n - 1.0))))


def trades(rows: Rows, ppy: float) -> FloatArray1D:
    """Closed round trips; a reversal closes one and opens another."""
    return _field(rows, "trades")


def fills(rows: Rows, ppy: float) -> FloatArray1D:
    """Fills; a reversal is one."""
    return _field(rows, "fills")


def mean_holding_time(rows: Rows, ppy: float) -> FloatArray1D:
    """Mean time from opening to closing fill of round trips, in seconds."""
    return _ratio(_field(rows, "holding_ns"), _field(rows, "trades")) / _SECOND


def exposure(rows: Rows, ppy: float) -> FloatArray1D:
    """Share of the time from first to last tick in which a position was held."""
    return _ratio(_field(rows, "holding_ns"), _field(rows, "span_ns"))


def turnover(rows: Rows, ppy: float) -> FloatArray1D:
    """Notional filled over the capital."""
    return _ratio(rows["turnover"], rows["capital"])


def commission(rows: Rows, ppy: float) -> FloatArray1D:
    """Commission paid, in cash."""
    return _field(rows, "commission")


def slippage(rows: Rows, ppy: float) -> FloatArray1D:
    """Cash lost to slippage."""
    return _field(rows, "slippage")


def spread_cost(rows: Rows, ppy: float) -> FloatArray1D:
    """Cash lost against filling at the mid: half the spread of each fill."""
    return _field(rows, "spread")


def costs(rows: Rows, ppy: float) -> FloatArray1D:
    """Commission, slippage and spread paid, in cash."""
    return np.asarray(rows["commission"] + rows["slippage"] + rows["spread"])


#: All metrics, in the order in which reports show them.
METRICS: Mapping[str, Metric] = {
    function.__name__: Metric(function.__name__, unit, direction, function)
    for function, unit, direction in (
        (net_profit, "cash", "maximize"),
        (total_return, "share", "maximize"),
        (sharpe, "", "maximize"),
        (sortino, "", "maximize"),
        (calmar, "", "maximize"),
        (max_drawdown, "share", "minimize"),
        (max_drawdown_cash, "cash", "minimize"),
        (max_drawdown_time, "s", "minimize"),
        (profit_factor, "", "maximize"),
        (expectancy, "cash", "maximize"),
        (win_rate, "share", "maximize"),
        (sqn, "", "maximize"),
        (trades, "count", "maximize"),
        (fills, "count", "minimize"),
        (mean_holding_time, "s", "minimize"),
        (exposure, "share", "minimize"),
        (turnover, "", "minimize"),
        (commission, "cash", "minimize"),
        (slippage, "cash", "minimize"),
        (spread_cost, "cash", "minimize"),
        (costs, "cash", "minimize"),
        (final_equity, "cash", "maximize"),
    )
}
METRIC_NAMES: tuple[str, ...] = tuple(METRICS)

_OF_RETURNS = ("sharpe", "sortino", "calmar", "total_return")
_OF_TRADES = ("profit_factor", "expectancy", "win_rate", "sqn", "mean_holding_time")


def metrics_of(
    rows: Rows, periods_per_year: float, names: Iterable[str] = METRIC_NAMES
) -> dict[str, FloatArray1D]:
    """Return the metrics of every row.

    Parameters
    ----------
    rows : ndarray of shape (n_rows,), dtype `sweep.schema.ROW`
    periods_per_year : float
        Clock periods in a year.
    names : iterable of str, optional
        All metrics by default.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,), float64
        NaN where undefined. Of a row whose evaluation failed, all are NaN; of one whose
        equity fell to zero or below, those of returns.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found = {name: METRICS[name].compute(rows, periods_per_year) for name in names}
    failed = (rows["status"] == STATUS_ERROR) | (rows["status"] == STATUS_BAD_ORDER)
    ruined = rows["status"] == STATUS_RUINED
    for name, values in found.items():
        hide = failed | ruined if name in _OF_RETURNS else failed
        found[name] = np.where(hide, np.nan, values)
    return found


def undefined(name: str, row: Rows) -> str:
    """Return why a metric of one row is NaN, in a few words.

    Parameters
    ----------
    name : str
    row : ndarray of shape (), dtype `sweep.schema.ROW`
    """
    return str(why_undefined(name, np.asarray(row).reshape(1))[0])


def why_undefined(name: str, rows: Rows) -> NDArray[np.object_]:
    """Return why a metric is NaN for each of some rows, in a few words.

    Parameters
    ----------
    name : str
    rows : ndarray of shape (n_rows,), dtype `sweep.schema.ROW`

    Returns
    -------
    ndarray of shape (n_rows,), object
        Texts.
    """
    status, periods = rows["status"], rows["periods"]
    everywhere = np.ones(len(rows), bool)
    reasons = [
        ((status == STATUS_ERROR) | (status == STATUS_BAD_ORDER), "the evaluation failed"),
    ]
    if name in _OF_RETURNS:
        reasons.append((status == STATUS_RUINED, "equity fell to zero or below"))
    if name in _OF_TRADES:
        reasons.append((rows["trades"] == 0, "no trades"))
    if name == "profit_factor":
        reasons.append((everywhere, "no losing trade"))
    if name == "sqn":
        reasons.append((everywhere, "fewer than two trades, or all alike"))
    if name == "sortino":
        reasons.append((periods > 0, "no losing period"))
    if name == "calmar":
        reasons.append((rows["drawdown"] == 0.0, "no drawdown"))
        reasons.append((everywhere, "out of range when annualised"))
    reasons.append((periods < 2, "fewer than two clock periods"))
    found = np.full(len(rows), "returns without variance", object)
    for holds, text in reversed(reasons):
        found[holds] = text
    return found


_ADDED = (
    "ticks",
    "span_ns",
    "periods",
    "sum_r",
    "sum_r2",
    "sum_r3",
    "sum_r4",
    "sum_down2",
    "fills",
    "trades",
    "wins",
    "losses",
    "gross_profit",
    "gross_loss",
    "sum_trade2",
    "holding_ns",
    "turnover",
    "commission",
    "slippage",
    "spread",
)


def merge(first: Rows, second: Rows) -> Rows:
    """Merge rows of a slice with rows of the slice after it, each started afresh.

    Cash adds up, returns are chained: the second slice earns on the equity that the
    first one left (relative figures), with the same number of contracts (cash figures).

    Parameters
    ----------
    first, second : ndarray of shape (n_rows,), dtype `sweep.schema.ROW`

    Returns
    -------
    ndarray of shape (n_rows,), dtype `sweep.schema.ROW`
        Merging is associative, sums up to rounding; the study merges in slice order.
    """
    a, b = first, second
    merged = a.copy()
    for name in _ADDED:
        merged[name] = a[name] + b[name]
    good = a["status"] == STATUS_OK
    merged["status"] = np.where(good, b["status"], a["status"])
    merged["tick"] = np.where(good, b["tick"], a["tick"])
    merged["last_ts"] = b["last_ts"]
    shift = a["equity"] - a["capital"]
    merged["equity"] = b["equity"] + shift
    merged["high"] = np.maximum(a["high"], b["high"] + shift)
    merged["low"] = np.minimum(a["low"], b["low"] + shift)
    across = a["high"] - (b["low"] + shift)
    merged["drawdown_cash"] = np.maximum(np.maximum(a["drawdown_cash"], b["drawdown_cash"]), across)
    low = a["growth"] * b["growth_low"]
    merged["growth"] = a["growth"] * b["growth"]
    merged["growth_high"] = np.maximum(a["growth_high"], a["growth"] * b["growth_high"])
    merged["growth_low"] = np.minimum(a["growth_low"], low)
    merged["drawdown"] = np.maximum(
        np.maximum(a["drawdown"], b["drawdown"]), 1.0 - low / a["growth_high"]
    )
    merged["drawdown_ns"] = np.maximum(a["drawdown_ns"], b["drawdown_ns"])
    open_ = merged["growth"] < merged["growth_high"]
    merged["drawdown_open"] = open_.astype(np.int64)
    both = (a["periods"] > 0) & (b["periods"] > 0)
    joint = np.where(both, a["last_r"] * b["first_r"], 0.0)
    merged["sum_lag"] = a["sum_lag"] + b["sum_lag"] + joint
    merged["first_r"] = np.where(a["periods"] > 0, a["first_r"], b["first_r"])
    merged["last_r"] = np.where(b["periods"] > 0, b["last_r"], a["last_r"])
    return merged
