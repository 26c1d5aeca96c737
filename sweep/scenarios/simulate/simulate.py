"""Paths of a simulated market, one session at a time.

All schemes are exact at the ticks, whenever these come: Gaussian moves have the mean and
the variance that the process gathers between two ticks, jumps lie where they fell, and
what lives on a clock (GARCH, regimes) is filled in between by the law that belongs to it.
Only then come the tick grid and the spread. Memory holds one session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sweep.errors import DataError
from sweep.scenarios.simulate import cores
from sweep.scenarios.simulate.processes import Garch, Gbm, Merton, Regimes, check_number
from sweep.scenarios.simulate.spec import (
    MAX_TICKS,
    Arrivals,
    Hawkes,
    PathSpec,
    Poisson,
    Session,
    stream,
)
from sweep.schema import FloatArray1D, IntArray1D
from sweep.ticks import synthetic
from sweep.ticks.price_grid import quotes_around
from sweep.ticks.quality import Chunk
from sweep.ticks.sources import write_parquet

__all__ = ["arrival_times", "simulate", "write"]

_SECOND = 1_000_000_000

# Purposes of random streams: the first element of each stream's position.
_ARRIVALS, _PRICE, _QUOTES, _EFFECT, _START = range(5)

#: GARCH starts early enough before the first session that what it started from weighs
#: less than this, but no more than this many.
_FORGOTTEN, _MAX_BURN_IN = 1e-4, 20_000

#: Prices of more ticks than this are not exact any more.
_MAX_PRICE = float(1 << 52)


class _State(NamedTuple):
    """What a session leaves to the next: the log-price, and the process's own state."""

    price: float
    own: Any


def simulate(spec: PathSpec, path: int = 0) -> Iterator[Chunk]:
    """Yield the ticks of a path, one session at a time.

    The bid lies half a spread below the price, rounded to the grid, the ask whole ticks
    above it. With ``effect="none"`` the price of :class:`Gbm`, :class:`Merton` and
    :class:`Regimes` with drifts of 0 is a martingale, so that no strategy has a positive
    expectation before costs. Path ``i`` is the same whether it is drawn alone or among
    10,000, and a shorter calendar gives the beginning of a longer one's path.

    Parameters
    ----------
    spec : PathSpec
    path : int
        Non-negative.

    Yields
    ------
    dict of ndarray
        ``ts`` (int64, nanoseconds since the epoch, UTC, never decreasing), ``bid``, ``ask``
        (float64). A session without ticks is left out.

    Raises
    ------
    DataError
        If ``path`` is no number of a path, or the price leaves what its grid can hold.
    """
    check_number("path", path, 0, math.inf, whole=True)
    session = spec.session
    state = _State(math.log(spec.quotes.price), _start(spec, path))
    for number in range(session.sessions):
        opens = session.opens(number)
        after = arrival_times(spec.arrivals, session.length, stream(spec, _ARRIVALS, path, number))
        gap = session.gap if number else 0
        times = np.concatenate([after + gap, [gap + session.length]])
        draw = stream(spec, _PRICE, path, number)
        price, own = _MOVES[type(spec.process)](spec.process, session, state, times, draw)
        ts = after + opens
        shift, carried = synthetic.shift(
            spec.effect,
            spec.effect_size,
            ts,
            spec.tick_sd,
            stream(spec, _EFFECT, path, number),
            opens=spec.hour_opens(number) or 0,
            ticks_per_hour=spec.ticks_per_session / session.hours,
        )
        state = _State(float(price[-1]) + carried, own)
        if len(ts):
            yield _quoted(spec, path, number, ts, price[:-1] + shift)


def write(spec: PathSpec, path: int, file: str | Path) -> int:
    """Write a path to a Parquet file; see :func:`sweep.ticks.files.write_parquet`.

    Returns
    -------
    int
        Number of ticks.

    Raises
    ------
    DataError
        See :func:`simulate`.
    """
    return write_parquet(simulate(spec, path), file)


def arrival_times(arrivals: Arrivals, length: int, draw: np.random.Generator) -> IntArray1D:
    """Ticks of one session, in nanoseconds after its open.

    Parameters
    ----------
    arrivals : Regular, Poisson or Hawkes
    length : int
        Nanoseconds of the session.
    draw : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n_ticks,), int64
        From 0 to ``length`` (excluded), never decreasing.

    Raises
    ------
    DataError
        If a burst of a Hawkes process brings ten times more ticks than a session may have.
    """
    if isinstance(arrivals, Hawkes):
        return np.minimum((_hawkes(arrivals, length / _SECOND, draw) * _SECOND), length - 1).astype(
            np.int64
        )
    if isinstance(arrivals, Poisson):
        count = draw.poisson(arrivals.rate * length / _SECOND)
        return np.sort((draw.random(count) * length).astype(np.int64))
    return np.arange(0, length, max(round(arrivals.interval * _SECOND), 1), dtype=np.int64)


def _hawkes(arrivals: Hawkes, length: float, draw: np.random.Generator) -> FloatArray1D:
    # At the mean intensity from the open on: its expectation then stays there.
    time, excess = 0.0, arrivals.rate - arrivals.baseline
    jump = arrivals.branching * arrivals.decay
    block = int(1.1 * arrivals.rate * length) + 64  # no bit depends on it
    parts: list[FloatArray1D] = []
    while time < length:
        out = np.empty(block)
        count, time, excess = cores.hawkes(
            draw.random((block, 2)),
            arrivals.baseline,
            jump,
            arrivals.decay,
            length,
            time,
            excess,
            out,
        )
        parts.append(out[:count])
        if sum(map(len, parts)) > 10 * MAX_TICKS:
            raise DataError(
                f"hawkes: a burst brought more than {10 * MAX_TICKS:,} ticks in one session; "
                f"lower hawkes.branching ({arrivals.branching:g}) or the baseline"
            )
    return np.concatenate(parts)


# -- moves of the log-price ------------------------------------------------------------
#
# Each takes times in nanoseconds of model time since the last close (gap included), the
# last of them the session's close, and returns the log-price at each and the process's
# own state at the close.


def _start(spec: PathSpec, path: int) -> Any:
    """State of the process at the first open, drawn from its stationary law."""
    process = spec.process
    draw = stream(spec, _START, path, 0)
    if isinstance(process, Regimes):
        return int(np.searchsorted(np.cumsum(process.stationary)[:-1], draw.random(), "right"))
    if isinstance(process, Garch):
        persistence = process.alpha + process.beta
        steps = math.ceil(math.log(_FORGOTTEN) / math.log(persistence)) if persistence else 1
        steps = min(steps, _MAX_BURN_IN)
        variance = process.variance * process.step * _SECOND / spec.session.year
        return _garch(process, variance, variance, _shocks(process, steps, draw))[2]
    return None


def _gbm(
    process: Gbm, session: Session, state: _State, times: IntArray1D, draw: np.random.Generator
) -> tuple[FloatArray1D, None]:
    drift = process.drift - 0.5 * process.volatility**2
    years = np.diff(times, prepend=0) / session.year
    z = draw.standard_normal(len(times))
    return cores.walk(state.price, drift * years, process.volatility**2 * years, z), None


def _merton(
    process: Merton, session: Session, state: _State, times: IntArray1D, draw: np.random.Generator
) -> tuple[FloatArray1D, None]:
    years = np.diff(times, prepend=0) / session.year
    count = draw.poisson(process.jumps_per_year * times[-1] / session.year)
    when = np.sort(draw.random(count) * times[-1])
    sizes = draw.normal(process.jump_mean, process.jump_sd, count)
    z = draw.standard_normal(len(times))
    path = cores.walk(state.price, process.log_drift * years, process.volatility**2 * years, z)
    jumped = np.concatenate([[0.0], np.cumsum(sizes)])
    return path + jumped[np.searchsorted(when, times, side="right")], None


def _regimes(
    process: Regimes, session: Session, state: _State, times: IntArray1D, draw: np.random.Generator
) -> tuple[FloatArray1D, int]:
    step = round(process.step * _SECOND)
    steps = round(times[-1] / step)
    cumulative = np.cumsum(np.array(process.transitions, np.float64), axis=1)
    states, after = cores.chain(draw.random(steps), cumulative, state.own)
    variances = np.square(np.array(process.volatilities, np.float64))
    means = np.array(process.drifts, np.float64) - 0.5 * variances
    edges = np.arange(steps + 1) * float(step)
    gathered = []
    for rate in (means, variances):
        total = np.concatenate([[0.0], np.cumsum(rate[states] * (step / session.year))])
        gathered.append(np.diff(np.interp(times.astype(np.float64), edges, total), prepend=0.0))
    z = draw.standard_normal(len(times))
    return cores.walk(state.price, gathered[0], np.maximum(gathered[1], 0.0), z), int(after)


def _garch_moves(
    process: Garch, session: Session, state: _State, times: IntArray1D, draw: np.random.Generator
) -> tuple[FloatArray1D, float]:
    step = round(process.step * _SECOND)
    steps = round(times[-1] / step)
    dt = step / session.year
    shocks = _shocks(process, steps, draw)
    residuals, variances, after = _garch(process, process.variance * dt, state.own, shocks)
    mean = (process.drift - 0.5 * process.variance) * dt
    ends = state.price + np.concatenate([[0.0], np.cumsum(mean + residuals)])
    z = draw.standard_normal(len(times))
    return cores.bridge(times, step, ends, variances, z), after


def _garch(
    process: Garch, mean_variance: float, variance: float, shocks: FloatArray1D
) -> tuple[FloatArray1D, FloatArray1D, float]:
    omega = (1.0 - process.alpha - process.beta) * mean_variance
    residuals, variances, after = cores.garch(shocks, omega, process.alpha, process.beta, variance)
    return residuals, variances, float(after)


def _shocks(process: Garch, steps: int, draw: np.random.Generator) -> FloatArray1D:
    """Student-t shocks of variance 1."""
    return draw.standard_t(process.nu, steps) * math.sqrt((process.nu - 2.0) / process.nu)


_MOVES: dict[type, Callable[..., tuple[FloatArray1D, Any]]] = {
    Gbm: _gbm,
    Merton: _merton,
    Regimes: _regimes,
    Garch: _garch_moves,
}


# -- quotes ----------------------------------------------------------------------------


def _quoted(
    spec: PathSpec, path: int, session: int, ts: IntArray1D, log_price: FloatArray1D
) -> Chunk:
    """Bid and ask of one session's ticks."""
    quotes = spec.quotes
    limit = math.log(_MAX_PRICE * quotes.tick_size)
    if not log_price.max() < limit:
        raise DataError(
            f"{spec.process.name}: the price of path {path} passes {math.exp(limit):.3g} in "
            f"session {session}, beyond what a grid of {quotes.tick_size:g} can hold exactly; "
            f"lower the drift or the volatility, or simulate fewer sessions"
        )
    draw = stream(spec, _QUOTES, path, session)
    edges = np.cumsum(quotes.shares)[:-1]
    which = np.searchsorted(edges, draw.random(len(ts)), side="right")
    spread = np.array(quotes.spreads, np.int64)[which]
    if quotes.persistence:
        spread = cores.hold(spread, draw.random(len(ts)), quotes.persistence)
    bid, ask = quotes_around(np.exp(log_price), spread, quotes.tick_size)
    return {"ts": ts, "bid": bid, "ask": ask}
