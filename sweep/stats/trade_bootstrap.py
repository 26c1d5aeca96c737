"""Trades resampled by sessions: what another history of such sessions might have earned.

Trades of one session share its market, so they are resampled together: whole sessions are
drawn, in blocks, with all their trades in order. Trades drawn one by one would be as good
as they are independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numba import njit

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.stats.bootstrap import path_stream, stationary
from sweep.stats.checks import check_paths, checked_profits
from sweep.stats.curves import curve, longest_streak
from sweep.stats.functionals import Estimate, Functional, plain
from sweep.stats.session_bootstrap import ROUGH, SessionBlocks, session_block_length
from sweep.stats.summary import Summary, count_units, summarise

__all__ = ["TRADE_COLUMNS", "TradeReport", "bootstrap_trades", "trade_statistics"]

#: Statistics of a resampled path, with the end at which they are worst.
TRADE_COLUMNS = {
    "total": "low",
    "expectancy": "low",
    "profit_factor": "low",
    "win_rate": "low",
    "max_drawdown": "high",
    "longest_losing_streak": "high",
    "n_trades": "low",
}


@dataclass(frozen=True)
class TradeReport:
    """A bootstrap of trades by sessions.

    Attributes
    ----------
    n_trades, n_sessions, n_paths, seed : int
    blocks : SessionBlocks
        What the sessions' totals ask for.
    block_length : float
        Mean, in sessions: what was used.
    statistics : dict of str to Summary
        By `TRADE_COLUMNS`; a path without a trade has no expectancy, win rate or profit
        factor and is counted as empty.
    probability_of_loss : Estimate
        Share of paths with a total below 0.
    notes : tuple of str
    paths : ndarray of shape (n_paths, n_columns), float64
        By `TRADE_COLUMNS`; no part of `to_dict`.
    """

    n_trades: int
    n_sessions: int
    n_paths: int
    seed: int
    blocks: SessionBlocks
    block_length: float
    statistics: dict[str, Summary]
    probability_of_loss: Estimate
    notes: tuple[str, ...]
    paths: FloatArray2D = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it; numbers that are NaN are None, with a reason."""
        found: dict[str, Any] = plain(replace(self, paths=np.empty(0)))
        del found["paths"]
        return found


# -- compiled --------------------------------------------------------------------------


# Not cached: it compiles in what lies in another file, which Numba's cache does not watch.
@njit(error_model="numpy")
def trade_statistics(
    profits: FloatArray1D, offsets: IntArray1D, positions: IntArray1D, out: FloatArray1D
) -> None:
    """Write what one path of sessions comes to, trade by trade.

    Parameters
    ----------
    profits : ndarray of shape (n_trades,), float64
        In cash, those of a session next to each other.
    offsets : ndarray of shape (n_sessions + 1,), int64
        Session s has the trades ``offsets[s]`` to ``offsets[s + 1]``, the latter excluded.
    positions : ndarray of shape (n_path,), int64
        Sessions in the order of the path.
    out : ndarray of shape (7,), float64
        By `TRADE_COLUMNS`. Trades of zero profit count in means and in the win rate, and
        break streaks. A mean is NaN where a path has no trade; the profit factor is infinite
        where nothing was lost, and NaN where nothing was won either.
    """
    count = 0
    for t in range(positions.size):
        count += offsets[positions[t] + 1] - offsets[positions[t]]
    order = np.empty(count, np.int64)
    i = 0
    for t in range(positions.size):
        for trade in range(offsets[positions[t]], offsets[positions[t] + 1]):
            order[i] = trade
            i += 1
    won = 0.0
    lost = 0.0
    wins = 0
    for i in range(count):
        profit = profits[order[i]]
        if profit > 0.0:
            won += profit
            wins += 1
        else:
            lost -= profit
    found = curve(profits, order, 0.0)
    out[0] = found.total
    out[1] = found.total / count if count > 0 else math.nan
    if lost > 0.0:
        out[2] = won / lost
    else:
        out[2] = math.inf if won > 0.0 else math.nan
    out[3] = wins / count if count > 0 else math.nan
    out[4] = found.drop
    out[5] = longest_streak(profits, order, -1.0)
    out[6] = count


# -- bootstrap -------------------------------------------------------------------------


def bootstrap_trades(
    profits: FloatArray1D,
    sessions: IntArray1D,
    n_sessions: int,
    *,
    seed: int,
    n_paths: int = 10_000,
    block_length: float | None = None,
) -> TradeReport:
    """Return a bootstrap of trades that draws whole sessions in blocks.

    Parameters
    ----------
    profits : ndarray of shape (n_trades,), float64
        Of each closed trade, in cash after costs, in order of closing; finite.
    sessions : ndarray of shape (n_trades,), int64
        The session of each, from 0; never decreasing.
    n_sessions : int
        Sessions that the trades come from, those without a trade included; at least 2.
    seed : int
    n_paths : int, optional
        B.
    block_length : float, optional
        Mean, in sessions; by `sweep.stats.session_bootstrap.session_block_length` on the sessions'
        totals where it is not given.

    Returns
    -------
    TradeReport

    Raises
    ------
    InputError
        For trades, sessions or a length that cannot be used.
    """
    profits = checked_profits(profits)
    offsets = _offsets(profits, sessions, n_sessions)
    check_paths(n_paths)
    ends = np.concatenate([[0.0], np.cumsum(profits)])
    totals = ends[offsets[1:]] - ends[offsets[:-1]]
    blocks = session_block_length(totals)
    length = blocks.block_length if block_length is None else float(block_length)
    paths = np.empty((n_paths, len(TRADE_COLUMNS)))
    for i in range(n_paths):
        positions = stationary(n_sessions, length, path_stream(seed, "trades", "stationary", i))
        trade_statistics(profits, offsets, positions, paths[i])
    observed = np.empty(len(TRADE_COLUMNS))
    trade_statistics(profits, offsets, np.arange(n_sessions), observed)
    units = count_units(totals, "session", block=length)
    method = f"sessions of trades, stationary bootstrap in blocks of {length:.3g} on average"
    statistics = {
        name: summarise(
            paths[:, i],
            statistic=name,
            method=method,
            units=units,
            seed=seed,
            observed=float(observed[i]),
            worst=worst,
            empty=np.isnan(paths[:, i]),
        )
        for i, (name, worst) in enumerate(TRADE_COLUMNS.items())
    }
    notes = [ROUGH, "drawdown is that of closed trades; within trades it was deeper"]
    if units.too_few and units.reason is not None:
        notes.append(units.reason)
    return TradeReport(
        n_trades=profits.size,
        n_sessions=n_sessions,
        n_paths=n_paths,
        seed=seed,
        blocks=blocks,
        block_length=length,
        statistics=statistics,
        probability_of_loss=Functional("probability_of_loss").of(paths[:, 0]),
        notes=tuple(notes),
        paths=paths,
    )


def _offsets(profits: FloatArray1D, sessions: IntArray1D, n_sessions: int) -> IntArray1D:
    sessions = np.asarray(sessions)
    if sessions.shape != profits.shape or sessions.dtype.kind not in "iu":
        raise InputError(
            f"each trade has the number of its session: expected {profits.size} integers, found "
            f"{sessions.dtype} of shape {sessions.shape}"
        )
    if n_sessions < 2:
        raise InputError(f"a bootstrap needs at least 2 sessions, found {n_sessions}")
    if profits.size:
        falls = np.flatnonzero(np.diff(sessions) < 0)
        if falls.size:
            raise InputError(
                f"sessions go back from {sessions[falls[0]]} to {sessions[falls[0] + 1]} at trade "
                f"{falls[0] + 1}; put the trades in order of closing"
            )
        if sessions[0] < 0 or sessions[-1] >= n_sessions:
            raise InputError(
                f"sessions lie in 0..{n_sessions - 1}, found {sessions[0]}..{sessions[-1]}"
            )
    counts = np.bincount(sessions.astype(np.int64), minlength=n_sessions)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
