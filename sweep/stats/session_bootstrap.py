"""Block bootstrap of session results, that is, how sure what a strategy earned is.

The results of sessions (their P&L, in cash or as fractions of a fixed capital) are drawn
again in blocks, by the stationary bootstrap, so that dependence between sessions is kept.
Sound for the total, the mean and the Sharpe ratio; of drawdown and time under water it
gives a rough guide, since blocks break up the long losing runs that make the worst ones.

The mean block length L is that of Politis & White on the results and on their magnitudes,
whichever is longer: results of a market with quiet and loud times may look independent
while their sizes are not. Everything is given at L/2, L and 2L as well; what changes much
between them is not to be relied on. All lengths, and all variants, use the same random
numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.stats.bootstrap import BlockLength, optimal_block_length, path_stream, stationary
from sweep.stats.checks import check_paths, checked_capital
from sweep.stats.curves import SESSION_COLUMNS, session_statistics
from sweep.stats.functionals import Estimate, Functional, plain
from sweep.stats.intervals import Interval, interval, sampling_errors
from sweep.stats.quantiles import PValue, p_value
from sweep.stats.summary import Summary, Units, count_units, summarise

__all__ = [
    "AtLength",
    "SessionBlocks",
    "SessionReport",
    "bootstrap_sessions",
    "bootstrap_variants",
    "session_block_length",
    "session_paths",
]

#: Statistics of a path that are summarised, with the end at which they are worst.
STATISTICS = {
    "total": "low",
    "mean": "low",
    "sharpe": "low",
    "max_drawdown": "high",
    "relative_drawdown": "high",
    "longest_under_water": "high",
}

#: Spreads of the mean at L/2 and 2L that differ by this factor are remarked upon.
SENSITIVE = 1.25

ROUGH = (
    "blocks break up long losing runs: a bootstrap is only a rough guide to the extremes of "
    "drawdown and time under water"
)


@dataclass(frozen=True)
class SessionBlocks:
    """How long the blocks of a variant's sessions should be, and why.

    Attributes
    ----------
    on_results, on_magnitudes : BlockLength
        Of the results, and of their absolute values.
    block_length : float
        The longer one, in sessions.
    """

    on_results: BlockLength
    on_magnitudes: BlockLength
    block_length: float


@dataclass(frozen=True)
class AtLength:
    """What the paths of one block length show of one variant.

    Attributes
    ----------
    block_length : float
        Mean, in sessions.
    mean, sharpe : Interval
        Per session.
    statistics : dict of str to Summary
        By name: total, mean, sharpe, max_drawdown, relative_drawdown (if there is a
        capital), longest_under_water (sessions).
    probability_of_loss : Estimate
        Share of paths with a total below 0.
    open_at_end : Estimate
        Share of paths whose longest time under water had not ended, so that it is longer.
    """

    block_length: float
    mean: Interval
    sharpe: Interval
    statistics: dict[str, Summary]
    probability_of_loss: Estimate
    open_at_end: Estimate


@dataclass(frozen=True)
class SessionReport:
    """A block bootstrap of one variant's sessions.

    Attributes
    ----------
    n_sessions, n_paths, seed : int
    level : float
        Of the intervals.
    units : Units
        In blocks of L, at every length: the others are there to be compared.
    blocks : SessionBlocks
        What this variant's sessions ask for.
    block_length : float
        L: what was used, and where the intervals to quote are.
    mean, sharpe : Interval
        At L, per session.
    p_mean : PValue
        At L, studentised: of a mean as great as the observed one, were the true mean 0.
    at : tuple of AtLength
        L/2, L and 2L, those that lie between 1 and the number of sessions.
    notes : tuple of str
    """

    n_sessions: int
    n_paths: int
    seed: int
    level: float
    units: Units
    blocks: SessionBlocks
    block_length: float
    mean: Interval
    sharpe: Interval
    p_mean: PValue
    at: tuple[AtLength, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it; numbers that are NaN are None, with a reason."""
        found: dict[str, Any] = plain(self)
        return found


def session_block_length(profits: FloatArray1D) -> SessionBlocks:
    """Return the mean block length that suits a variant's sessions.

    Parameters
    ----------
    profits : ndarray of shape (n_sessions,), float64

    Returns
    -------
    SessionBlocks

    Raises
    ------
    InputError
        If there are fewer than 2 sessions, or a value is not finite.
    """
    results = optimal_block_length(profits)
    magnitudes = optimal_block_length(np.abs(profits))
    longer = max(results.stationary, magnitudes.stationary)
    return SessionBlocks(results, magnitudes, longer)


def session_paths(
    profits: FloatArray2D,
    block_length: float,
    *,
    seed: int,
    n_paths: int,
    first: int = 0,
    capital: float | None = None,
) -> NDArray[np.float64]:
    """Return the statistics of resampled paths of sessions, for all variants by the same ones.

    Parameters
    ----------
    profits : ndarray of shape (n_sessions,) or (n_sessions, n_variants), float64
        Finite.
    block_length : float
        Mean, in sessions; from 1 to their number.
    seed : int
    n_paths : int
    first : int, optional
        Number of the first path: any stretch can be drawn alone, with the same bits.
    capital : float, optional
        In the unit of the profits, for relative drawdown; positive.

    Returns
    -------
    ndarray of shape (n_paths, n_variants, 9), float64
        The last axis by `sweep.stats.curves.SESSION_COLUMNS`.

    Raises
    ------
    InputError
        For profits, a length or a capital that cannot be used.
    """
    columns = _matrix(profits)
    start = checked_capital(capital)
    n = columns.shape[1]
    out = np.empty((n_paths, columns.shape[0], len(SESSION_COLUMNS)))
    for i in range(n_paths):
        draws = path_stream(seed, "sessions", "stationary", first + i)
        session_statistics(columns, stationary(n, block_length, draws), start, out[i])
    return out


def bootstrap_sessions(
    profits: FloatArray1D,
    *,
    seed: int,
    n_paths: int = 10_000,
    block_length: float | None = None,
    capital: float | None = None,
    level: float = 0.9,
) -> SessionReport:
    """Return a block bootstrap of one variant's sessions.

    Parameters
    ----------
    profits : ndarray of shape (n_sessions,), float64
        Of each session, in order, zeros of idle sessions included; finite.
    seed : int
    n_paths : int, optional
        B, at each length.
    block_length : float, optional
        L in sessions; by `session_block_length` where it is not given.
    capital : float, optional
        In the unit of the profits, for relative drawdown; positive.
    level : float, optional
        Of the intervals, in ``(0, 1)``.

    Returns
    -------
    SessionReport

    Raises
    ------
    InputError
        For input that cannot be used.
    """
    profits = np.asarray(profits, np.float64)
    if profits.ndim != 1:
        raise InputError(
            f"one variant's sessions are one series, found shape {profits.shape}; "
            f"bootstrap_variants takes a matrix"
        )
    return bootstrap_variants(
        profits[:, np.newaxis],
        seed=seed,
        n_paths=n_paths,
        block_length=block_length,
        capital=capital,
        level=level,
    )[0]


def bootstrap_variants(
    profits: FloatArray2D,
    *,
    seed: int,
    n_paths: int = 10_000,
    block_length: float | None = None,
    capital: float | None = None,
    level: float = 0.9,
) -> tuple[SessionReport, ...]:
    """Return a block bootstrap of every variant, all by the same paths of sessions.

    Parameters
    ----------
    profits : ndarray of shape (n_sessions, n_variants), float64
    seed, n_paths, block_length, capital, level
        As in `bootstrap_sessions`; the block length that is not given is the median of what
        the variants ask for. The paths of all variants are in memory at once: 72
        bytes for each path, variant and length.

    Returns
    -------
    tuple of SessionReport

    Raises
    ------
    InputError
        For input that cannot be used.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"a confidence level lies between 0 and 1, found {level:g}")
    check_paths(n_paths)
    columns = _matrix(profits)
    n_variants, n = columns.shape
    blocks = tuple(map(session_block_length, columns))
    # The longest of many variants' lengths would be an accident.
    shared = float(np.median([found.block_length for found in blocks]))
    used = shared if block_length is None else float(block_length)
    lengths = sorted({x for x in (used / 2.0, used, 2.0 * used) if 1.0 <= x <= n} | {used})
    paths = {
        length: session_paths(profits, length, seed=seed, n_paths=n_paths, capital=capital)
        for length in lengths
    }
    order = np.arange(n)
    observed = np.empty((n_variants, len(SESSION_COLUMNS)))
    session_statistics(columns, order, checked_capital(capital), observed)
    reports = []
    for v in range(n_variants):
        units = count_units(columns[v], "session", block=used)
        at = tuple(
            _at_length(length, columns[v], observed[v], paths[length][:, v], units, seed, level)
            for length in lengths
        )
        chosen = at[lengths.index(used)]
        reports.append(
            SessionReport(
                n_sessions=n,
                n_paths=n_paths,
                seed=seed,
                level=level,
                units=units,
                blocks=blocks[v],
                block_length=used,
                mean=chosen.mean,
                sharpe=chosen.sharpe,
                p_mean=_p_mean(chosen.mean, paths[used][:, v]),
                at=at,
                notes=_notes(units, blocks[v], used, at),
            )
        )
    return tuple(reports)


# -- parts -----------------------------------------------------------------------------


def _at_length(
    length: float,
    profits: FloatArray1D,
    observed: FloatArray1D,
    paths: FloatArray2D,
    units: Units,
    seed: int,
    level: float,
) -> AtLength:
    column = {name: paths[:, i] for i, name in enumerate(SESSION_COLUMNS)}
    value = dict(zip(SESSION_COLUMNS, observed.tolist(), strict=True))
    of_mean, of_sharpe = sampling_errors(profits, length)
    method = f"stationary bootstrap of sessions, in blocks of {length:.3g} on average"
    statistics = {
        name: summarise(
            column[name],
            statistic=name,
            method=method,
            units=units,
            seed=seed,
            observed=value[name],
            worst=worst,
            empty=np.isnan(column[name]),  # a path has no ratio where its sessions are equal
        )
        for name, worst in STATISTICS.items()
        if name != "relative_drawdown" or not math.isnan(value[name])
    }
    return AtLength(
        block_length=length,
        mean=interval("mean", value["mean"], of_mean, column["mean"], column["mean_error"], level),
        sharpe=interval(
            "sharpe", value["sharpe"], of_sharpe, column["sharpe"], column["sharpe_error"], level
        ),
        statistics=statistics,
        probability_of_loss=Functional("probability_of_loss").of(column["total"]),
        open_at_end=Functional("probability_above", 0.5).of(column["open_at_end"]),
    )


def _p_mean(found: Interval, paths: FloatArray2D) -> PValue:
    """Compare the observed t with those of the paths, which are centred on the data."""
    means, errors = paths[:, 1], paths[:, SESSION_COLUMNS.index("mean_error")]
    ratio = np.full(means.size, math.nan)
    np.divide(means - found.value, errors, out=ratio, where=errors > 0.0)
    observed = found.value / found.error if found.error > 0.0 else math.nan
    return p_value(ratio, observed, null="the mean result of a session is zero")


def _notes(
    units: Units, blocks: SessionBlocks, used: float, at: tuple[AtLength, ...]
) -> tuple[str, ...]:
    notes = [ROUGH]
    errors = [part.statistics["mean"].sd for part in at]
    if max(errors) > SENSITIVE * min(errors):
        notes.append(
            f"the spread of the mean goes from {errors[0]:.3g} to {errors[-1]:.3g} as blocks go "
            f"from {at[0].block_length:.3g} to {at[-1].block_length:.3g} sessions: it is not "
            f"settled by these data"
        )
    if units.too_few and units.reason is not None:
        notes.append(units.reason)
    if used != blocks.block_length:
        notes.append(
            f"blocks have {used:.3g} session{'' if used == 1.0 else 's'} on average; this "
            f"variant's results ask for {blocks.block_length:.3g}"
        )
    for what, found in (("results", blocks.on_results), ("magnitudes", blocks.on_magnitudes)):
        if found.note is not None:
            notes.append(f"block length of {what}: {found.note}")
    if used == 1.0:
        notes.append("blocks of one session: sessions are drawn independently")
    return tuple(notes)


def _matrix(profits: FloatArray2D) -> FloatArray2D:
    """Return the profits with variants as rows, contiguous, or say what is wrong."""
    values = np.asarray(profits, np.float64)
    if values.ndim == 1:
        values = values[:, np.newaxis]
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(
            f"sessions are one series or a matrix of sessions x variants, found shape "
            f"{np.shape(profits)}"
        )
    if values.shape[0] < 2:
        raise InputError(f"a bootstrap needs at least 2 sessions, found {values.shape[0]}")
    if not np.isfinite(values).all():
        session, variant = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"the result of session {session} (variant {variant}) is {values[session, variant]}; "
            f"a session without trades has 0"
        )
    return np.ascontiguousarray(values.T)
