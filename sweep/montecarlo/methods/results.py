"""Resampled results: what a variant earned by sessions and by trades, redrawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sweep.errors import DataError, InputError
from sweep.montecarlo.finding import Block, Finding
from sweep.montecarlo.subject import History, Subject
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.stats.bootstrap import path_stream, stationary
from sweep.stats.curves import SESSION_COLUMNS
from sweep.stats.session_bootstrap import bootstrap_sessions, session_paths
from sweep.stats.timing_tests import random_entry, shift_positions
from sweep.stats.trade_bootstrap import TRADE_COLUMNS, bootstrap_trades
from sweep.stats.trade_permutation import ORDER_COLUMNS, permute_trades

__all__ = ["ask_results"]

#: Where a block length comes from that nobody has given.
_FOUND_OUT = "what the sessions ask for, by Politis & White"

#: Paths of a fan chart.
_CURVES = 1_000


def ask_results(
    method: str,
    subject: Subject,
    history: History,
    *,
    seed: int,
    n_paths: int,
    block_length: float | None = None,
    origin: str = "given",
) -> Finding:
    """Ask one method that needs no ticks about a variant.

    Parameters
    ----------
    method : str
        One of `sweep.montecarlo.request.RESULT_METHODS`.
    subject : Subject
    history : History
        Of the variant.
    seed, n_paths : int
    block_length : float, optional
        Mean number of sessions in a block; chosen by the data where it is not given.
    origin : str, optional
        Of a block length that is given, see `sweep.montecarlo.finding.Block`.

    Returns
    -------
    Finding
        Where the data cannot support the method, without paths, and with a note that says
        why it cannot be said.
    """
    title, ask = _ASK[method]
    began = time.perf_counter()
    head: dict[str, Any] = {
        "method": method,
        "title": title,
        "variant": subject.label,
        "params": subject.params,
        "seed": seed,
        "observed": history.metrics,
    }
    try:
        rest = ask(history, seed, n_paths, block_length)
    except (InputError, DataError) as error:
        rest = {"n_paths": 0, "notes": (f"cannot be said, because {error}",)}
    if "block_length" in rest.get("figures", {}):
        origin = origin if block_length is not None else _FOUND_OUT
        rest["block"] = Block(rest["figures"]["block_length"], "session", True, origin)
    return Finding(**head, **rest, seconds=time.perf_counter() - began)


def _sessions(h: History, seed: int, n_paths: int, length: float | None) -> dict[str, Any]:
    if len(h.session_profits) < 2:
        raise DataError("there is one session, and several are needed")
    report = bootstrap_sessions(
        h.session_profits, seed=seed, n_paths=n_paths, block_length=length, capital=h.capital
    )
    at = {found.block_length: found for found in report.at}
    chosen = at[report.block_length]
    paths = session_paths(
        h.session_profits, report.block_length, seed=seed, n_paths=n_paths, capital=h.capital
    )[:, 0]
    rows = tuple(
        (
            found.block_length,
            found.mean.low,
            found.mean.high,
            found.sharpe.low,
            found.sharpe.high,
            found.statistics["total"].quantiles[1].value,
            found.probability_of_loss.value,
            found.statistics["max_drawdown"].quantiles[5].value,
        )
        for found in report.at
    )
    names = (
        *("block, sessions", "mean, low", "mean, high", "sharpe, low", "sharpe, high"),
        *("total, 5 %", "P(loss)", "drawdown, 95 %"),
    )
    return {
        "n_paths": n_paths,
        "summaries": _renamed(chosen.statistics, "session"),
        "figures": {
            "block_length": report.block_length,
            "block_length_of_results": report.blocks.on_results.stationary,
            "block_length_of_magnitudes": report.blocks.on_magnitudes.stationary,
            "mean_low_90": report.mean.low,
            "mean_high_90": report.mean.high,
            "sharpe_low_90": report.sharpe.low,
            "sharpe_high_90": report.sharpe.high,
            "p_mean": report.p_mean.value,
            "probability_of_loss": chosen.probability_of_loss.value,
            "open_at_end": chosen.open_at_end.value,
        },
        "tables": {"sensitivity to the block length": (names, rows)},
        "paths": _renamed(
            dict(zip(SESSION_COLUMNS, np.ascontiguousarray(paths.T), strict=True)),
            "session",
        ),
        "session_profits": h.session_profits,
        "curves": {"profit": _fan(h.session_profits, report.block_length, seed, n_paths)},
        "reasons": _reasons(
            mean_low_90=report.mean.reason,
            sharpe_low_90=report.sharpe.reason,
            p_mean=report.p_mean.reason,
        ),
        "notes": (*report.notes, "drawdown is taken between sessions; within them it was deeper"),
    }


def _trades(h: History, seed: int, n_paths: int, length: float | None) -> dict[str, Any]:
    if not len(h.trade_profits):
        raise DataError("there are no trades")
    if len(h.session_profits) < 2:
        raise DataError("there is one session, and trades are drawn by sessions")
    report = bootstrap_trades(
        h.trade_profits,
        h.trade_sessions,
        len(h.session_profits),
        seed=seed,
        n_paths=n_paths,
        block_length=length,
    )
    return {
        "n_paths": n_paths,
        "summaries": _renamed(report.statistics, "trade"),
        "figures": {
            "block_length": report.block_length,
            "n_trades": float(report.n_trades),
            "probability_of_loss": report.probability_of_loss.value,
        },
        "paths": _columns(TRADE_COLUMNS, report.paths),
        "notes": report.notes,
    }


def _permutation(h: History, seed: int, n_paths: int, _length: float | None) -> dict[str, Any]:
    if len(h.trade_profits) < 2:
        raise DataError("there are not two trades to put in another order")
    report = permute_trades(
        h.trade_profits,
        seed=seed,
        n_paths=n_paths,
        statistics=("max_drawdown", "longest_losing_streak", "relative_drawdown"),
        capital=h.capital,
    )
    return {
        "n_paths": report.n_paths,
        "summaries": _renamed(report.statistics, "trade"),
        "figures": {"n_trades": float(report.n_trades)},
        "paths": _columns(ORDER_COLUMNS, report.paths),
        "notes": report.notes,
    }


def _shift(h: History, seed: int, n_paths: int, _length: float | None) -> dict[str, Any]:
    _check_positions(h)
    return _timing(shift_positions(h.positions, h.changes, seed=seed, n_paths=n_paths))


def _entry(h: History, seed: int, n_paths: int, _length: float | None) -> dict[str, Any]:
    _check_positions(h)
    return _timing(random_entry(h.positions, h.changes, seed=seed, n_paths=n_paths))


def _check_positions(h: History) -> None:
    if not h.positions.any():
        raise DataError("no position was held at the end of a clock period")


def _timing(report: Any) -> dict[str, Any]:
    return {
        "n_paths": report.profit.n_paths,
        "summaries": {"profit_before_costs": report.profit},
        "figures": {
            "p_value": float("nan")
            if report.profit.p_value is None
            else report.profit.p_value.value,
            "exposure": report.exposure,
            "n_holds": float(report.n_holds),
        },
        "paths": {"profit_before_costs": report.paths},
        "reasons": _reasons(
            p_value="there is no p-value" if report.profit.p_value is None else None
        ),
        "notes": (
            *report.notes,
            "positions are taken at the study's clock, and profit is before costs",
        ),
    }


#: Names that the statistics of sessions and trades have as metrics of a study.
_AS_METRICS = {
    "total": "net_profit",
    "max_drawdown": "max_drawdown_cash",
    "relative_drawdown": "max_drawdown",
}


def _renamed(found: dict[str, Any], unit: str) -> dict[str, Any]:
    names = {
        **_AS_METRICS,
        "sharpe": f"sharpe_per_{unit}",
        "longest_under_water": f"longest_under_water_{unit}s",
    }
    return {names.get(name, name): value for name, value in found.items()}


def _columns(names: Iterable[str], paths: FloatArray2D) -> dict[str, FloatArray1D]:
    columns = dict(zip(names, np.ascontiguousarray(paths.T), strict=True))
    return _renamed(columns, "trade")


def _fan(profits: FloatArray1D, length: float, seed: int, n_paths: int) -> FloatArray2D:
    """Return quantiles 5, 25, 50, 75 and 95 of the profit so far, at each session's end."""
    curves = np.empty((min(n_paths, _CURVES), len(profits)))
    for i in range(len(curves)):
        draws = path_stream(seed, "sessions", "stationary", i)
        curves[i] = np.cumsum(profits[stationary(len(profits), length, draws)])
    found: FloatArray2D = np.quantile(
        curves, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0, method="inverted_cdf"
    )
    return found


def _reasons(**found: str | None) -> dict[str, str]:
    return {name: text for name, text in found.items() if text is not None}


#: Method: what it does, in words, and the function.
_ASK: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "pnl": ("redrawn blocks of sessions' profit and loss", _sessions),
    "trades": ("redrawn sessions of trades", _trades),
    "permutation": ("trades put into other orders", _permutation),
    "shift": ("positions shifted against the price", _shift),
    "random-entry": ("trades begun at random moments", _entry),
}
