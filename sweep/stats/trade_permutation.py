"""Trades put into another order: whether the order that came was remarkable.

A trade permutation keeps the very trades and changes their order. All that does not depend
on the order (total, mean, Sharpe ratio, profit factor, win rate) is the same in every
permutation, so only drawdown and streaks can be asked of it. It takes trades to be
exchangeable, holds the total fixed and breaks up losing runs: its drawdowns are smaller than
those to expect of the future, which `sweep.stats.session_bootstrap` and
`sweep.stats.trade_bootstrap` are for.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.stats.bootstrap import path_stream
from sweep.stats.checks import check_paths, checked_capital, checked_profits
from sweep.stats.curves import curve, longest_streak, shuffle
from sweep.stats.functionals import plain
from sweep.stats.quantiles import p_value
from sweep.stats.summary import Summary, count_units, summarise

__all__ = ["ORDER_COLUMNS", "PermutationReport", "order_statistics", "permute_trades"]

#: Statistics that depend on the order of trades.
ORDER_COLUMNS = (
    "max_drawdown",
    "relative_drawdown",
    "longest_losing_streak",
    "longest_winning_streak",
    "longest_under_water",
)

#: Statistics that do not, by the names that they go by.
INVARIANT = (
    "total",
    "profit",
    "mean",
    "expectancy",
    "sd",
    "sharpe",
    "sortino",
    "sqn",
    "profit_factor",
    "win_rate",
    "n_trades",
    "gross_profit",
    "gross_loss",
)


@dataclass(frozen=True)
class PermutationReport:
    """Trades put into other orders.

    Attributes
    ----------
    n_trades, n_paths, seed : int
    exact : bool
        Whether the paths are all orders there are; p-values are then without error.
    statistics : dict of str to Summary
        With the p-value of a drawdown or streak as great as the observed one.
    notes : tuple of str
    paths : ndarray of shape (n_paths, n_columns), float64
        By `ORDER_COLUMNS`; no part of `to_dict`.
    """

    n_trades: int
    n_paths: int
    seed: int
    exact: bool
    statistics: dict[str, Summary]
    notes: tuple[str, ...]
    paths: FloatArray2D = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it; numbers that are NaN are None, with a reason."""
        found: dict[str, Any] = plain(dataclasses.replace(self, paths=np.empty(0)))
        del found["paths"]
        return found


# Not cached: it compiles in what lies in another file, which Numba's cache does not watch.
@njit(error_model="numpy")
def order_statistics(
    profits: FloatArray1D, order: IntArray1D, capital: float, out: FloatArray1D
) -> None:
    """Write what one order of the trades comes to.

    Parameters
    ----------
    profits : ndarray of shape (n_trades,), float64
    order : ndarray of shape (n_trades,), int64
    capital : float
        NaN where relative drawdown is not asked for.
    out : ndarray of shape (5,), float64
        By `ORDER_COLUMNS`; times count trades.
    """
    found = curve(profits, order, 0.0 if math.isnan(capital) else capital)
    out[0] = found.drop
    out[1] = math.nan if math.isnan(capital) else found.relative
    out[2] = longest_streak(profits, order, -1.0)
    out[3] = longest_streak(profits, order, 1.0)
    out[4] = found.under_to - found.under_from


@njit(error_model="numpy")
def _shuffled(
    profits: FloatArray1D,
    draws: FloatArray1D,
    order: IntArray1D,
    capital: float,
    out: FloatArray1D,
) -> None:
    shuffle(draws, order)
    order_statistics(profits, order, capital, out)


def permute_trades(
    profits: FloatArray1D,
    *,
    seed: int,
    n_paths: int = 10_000,
    statistics: tuple[str, ...] = ("max_drawdown", "longest_losing_streak"),
    capital: float | None = None,
) -> PermutationReport:
    """Return how remarkable the order of trades was.

    Parameters
    ----------
    profits : ndarray of shape (n_trades,), float64
        Of each closed trade, in cash after costs, in order; finite, at least 2.
    seed : int
    n_paths : int, optional
        Random orders; all of them are taken, once each, if there are no more than that.
    statistics : tuple of str, optional
        Among `ORDER_COLUMNS`.
    capital : float, optional
        In cash, for relative drawdown; positive.

    Returns
    -------
    PermutationReport

    Raises
    ------
    InputError
        For a statistic that does not depend on the order, one that is unknown, or profits
        or a capital that cannot be used.
    """
    _check_order_dependent(statistics, capital)
    profits = checked_profits(profits)
    check_paths(n_paths)
    n = profits.size
    if n < 2:
        raise InputError(f"a permutation needs at least 2 trades, found {n}")
    start = checked_capital(capital)
    exact = n < 20 and math.factorial(n) <= n_paths
    paths = _all_orders(profits, start) if exact else _orders(profits, start, seed, n_paths)
    observed = np.empty(len(ORDER_COLUMNS))
    order_statistics(profits, np.arange(n), start, observed)
    units = count_units(profits, "trade")
    # Sums of the same numbers in another order differ in their last bits.
    rounding = 1e-12 * math.fsum(np.abs(profits).tolist())
    found = {}
    for name in statistics:
        i = ORDER_COLUMNS.index(name)
        tie = {"max_drawdown": rounding, "relative_drawdown": 1e-12}.get(name, 0.0)
        null = "trades are exchangeable: any order was as likely as the one that came"
        summary = summarise(
            paths[:, i],
            statistic=name,
            method="trades in all orders" if exact else "trades in random orders",
            units=units,
            seed=seed,
            observed=float(observed[i]),
            null=null,
            tie=tie,
            worst="high",
        )
        if exact and summary.p_value is not None:
            # The first order is the one that came, which (1 + b) / (1 + B) adds by itself.
            p = p_value(paths[1:, i], float(observed[i]), null=null, tie=tie)
            summary = dataclasses.replace(summary, p_value=dataclasses.replace(p, error=0.0))
        found[name] = summary
    notes = (
        "total, mean, Sharpe ratio, profit factor and win rate are the same in every order",
        "the trades are held fixed and their dependence is broken up: drawdowns to expect of "
        "the future are greater than these",
    )
    return PermutationReport(n, len(paths), seed, exact, found, notes, paths)


def _orders(profits: FloatArray1D, capital: float, seed: int, n_paths: int) -> NDArray[np.float64]:
    paths = np.empty((n_paths, len(ORDER_COLUMNS)))
    order = np.empty(profits.size, np.int64)
    for i in range(n_paths):
        draws = path_stream(seed, "trades", "permutation", i).random(profits.size)
        _shuffled(profits, draws, order, capital, paths[i])
    return paths


def _all_orders(profits: FloatArray1D, capital: float) -> NDArray[np.float64]:
    n = profits.size
    paths = np.empty((math.factorial(n), len(ORDER_COLUMNS)))
    for i, order in enumerate(itertools.permutations(range(n))):
        order_statistics(profits, np.array(order, np.int64), capital, paths[i])
    return paths


def _check_order_dependent(statistics: tuple[str, ...], capital: float | None) -> None:
    for name in statistics:
        if name in INVARIANT:
            raise InputError(
                f"{name} is the same in every order of the trades, so a permutation says "
                f"nothing of it (its p-value would be rounding noise); ask for one of "
                f"{', '.join(ORDER_COLUMNS)}, or bootstrap the trades by session"
            )
        if name not in ORDER_COLUMNS:
            raise InputError(
                f"no statistic {name!r} of the order of trades; there are: "
                f"{', '.join(ORDER_COLUMNS)}"
            )
    if capital is None and "relative_drawdown" in statistics:
        raise InputError("relative_drawdown needs the capital that the trades began with")
