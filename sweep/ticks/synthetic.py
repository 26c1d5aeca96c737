"""Generated markets to learn on and to test with: quotes with a planted effect, or with none.

The efficient log-price is a martingale; around it stand a spread and a tick grid, as on
a real market. What a strategy could find is stated by ``effect`` alone, so that a search
can be asked whether it finds what is there, and finds nothing where nothing is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sweep.errors import DataError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.text import EFFECTS
from sweep.ticks.price_grid import quotes_around
from sweep.ticks.quality import Chunk

__all__ = [
    "HOUR",
    "SynthSpec",
    "expected_rows",
    "generate",
    "shift",
]


#: Nanoseconds.
HOUR = 3_600_000_000_000

#: Ticks that a trend lasts on average, and ticks in which a deviation decays by 1/e.
_TREND = 2_000
_DECAY = 300


def shift(
    effect: str,
    size: float,
    ts: IntArray1D,
    base: float,
    draw: np.random.Generator,
    *,
    opens: int,
    ticks_per_hour: float,
) -> tuple[FloatArray1D, float]:
    """Shift of each tick's log-price in one session, and what of it lasts afterwards.

    ``momentum``
        A drift of either sign that lasts 2,000 ticks on average (the lengths are
        geometric). ``size`` is the expected move over 2,000 ticks in standard
        deviations of the noise over them.
    ``reversion``
        A deviation that decays by 1/e in 300 ticks (an AR(1) process). ``size`` is its
        standard deviation in standard deviations of the noise over 300 ticks.
    ``hour``
        A rise over the hour from ``opens``, of ``size`` standard deviations of the noise
        over a mean hour.

    Parameters
    ----------
    effect : {"none", "momentum", "reversion", "hour"}
    size : float
        Non-negative; 0 plants nothing.
    ts : ndarray of shape (n_ticks,), int64
        Stamps of the session's ticks.
    base : float
        Standard deviation of the log-price's move over a mean tick.
    draw : numpy.random.Generator
        The session's stream for the effect; not touched by ``none`` and ``hour``.
    opens : int
        Stamp at which the effect ``hour`` begins.
    ticks_per_hour : float
        Mean number in an hour of the session.

    Returns
    -------
    shift : ndarray of shape (n_ticks,), float64
    carried : float
        What the sessions that follow start with.
    """
    n = len(ts)
    if effect == "none" or size == 0.0 or n == 0:
        return np.zeros(n), 0.0
    if effect == "reversion":
        sd = size * base * math.sqrt(_DECAY)
        return autoregression(sd * draw.standard_normal(n), math.exp(-1.0 / _DECAY)), 0.0
    if effect == "momentum":
        turns = np.cumsum(draw.random(n) < 1.0 / _TREND)
        signs = draw.choice(np.array([-1.0, 1.0]), int(turns[-1]) + 1)
        drift = signs[turns] * (size * base / math.sqrt(_TREND))
    else:
        inside = (ts >= opens) & (ts < opens + HOUR)
        noise = base * math.sqrt(ticks_per_hour)
        drift = np.where(inside, size * noise / max(int(np.sum(inside)), 1), 0.0)
    total = np.cumsum(drift)
    return total, float(total[-1])


def autoregression(shocks: FloatArray1D, persistence: float) -> FloatArray1D:
    """Stationary AR(1) with the sd of ``shocks``: ``u[i] = p u[i-1] + sqrt(1-p^2) e[i]``.

    Blocks are solved in closed form, short enough that ``p ** -block`` stays small.

    Parameters
    ----------
    shocks : ndarray of shape (n,), float64
    persistence : float
        Above 0 and below 1.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    out = np.empty_like(shocks)
    block = max(int(20.0 / (1.0 - persistence)), 1)
    gain = math.sqrt(1.0 - persistence**2)
    last = 0.0
    for begin in range(0, len(shocks), block):
        part = shocks[begin : begin + block] * gain
        if begin == 0:
            part = part.copy()
            part[0] = shocks[0]
        powers = persistence ** np.arange(1, len(part) + 1)
        out[begin : begin + len(part)] = powers * (last + np.cumsum(part / powers))
        last = float(out[begin + len(part) - 1])
    return out


_MINUTE = HOUR // 60

#: Largest mean session: its ticks are held together (some 100 bytes each).
_MAX_SESSION = 2_000_000

#: Share of a day's variance that falls between sessions.
_OVERNIGHT = 0.2
#: Log-volatility: persistence and sd from session to session, and from minute to minute.
_DAILY_PERSISTENCE, _DAILY_SD = 0.9, 0.3
_MINUTE_PERSISTENCE, _MINUTE_SD = 0.97, 0.4

# Purposes of random streams: the first element of each stream's position.
_STREAM_SESSION, _STREAM_VOLATILITY, _STREAM_EFFECT = 0, 1, 2


@dataclass(frozen=True)
class SynthSpec:
    """A generated market. Equal specs give equal ticks, on every run.

    Attributes
    ----------
    seed : int
        Non-negative.
    sessions : int
        Trading days; Saturdays and Sundays are left out.
    ticks_per_session : int
        Mean; the number of each session is drawn. At most 2,000,000.
    start : str
        ISO date of the first session.
    session_open : float
        Hour of the day (UTC) at which a session opens.
    session_hours : float
        Its length; the rest of the day is a gap.
    price : float
        Mid at the start.
    tick_size : float
        Grid of bid and ask, price units.
    spread_ticks : float
        Spread in ticks of the grid, at least 1, while volatility is at its (root mean
        square) usual level; a calm market has a narrower one, the mean being some 10 %
        nearer to 1.
    volatility : float
        Annual standard deviation of log-returns (252 days), jumps included.
    jumps_per_session : float
        Mean number of jumps of the price in a session.
    jump_size : float
        Standard deviation of a jump, in standard deviations of a day's log-return.
    sizes : bool
        Whether the ticks have ``bid_size`` and ``ask_size``.
    effect : {"none", "momentum", "reversion", "hour"}
        What is planted; see :func:`generate`.
    effect_size : float
        How strong, in the unit that :func:`generate` states; 0 plants nothing.
    effect_hour : int
        Hour of the day (UTC) of the effect ``hour``, within the session.

    Raises
    ------
    DataError
        If a value is out of its range.
    """

    seed: int = 0
    sessions: int = 10
    ticks_per_session: int = 25_000
    start: str = "2024-01-01"
    session_open: float = 8.0
    session_hours: float = 8.0
    price: float = 100.0
    tick_size: float = 0.01
    spread_ticks: float = 2.0
    volatility: float = 0.2
    jumps_per_session: float = 1.0
    jump_size: float = 0.2
    sizes: bool = False
    effect: str = "none"
    effect_size: float = 1.0
    effect_hour: int = 10

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise DataError(
                f"data.synth.effect: {self.effect!r} is not known; use one of {', '.join(EFFECTS)}"
            )
        self._check_ranges()
        try:
            np.datetime64(self.start, "D")
        except ValueError:
            raise DataError(
                f"data.synth.start: {self.start!r} is not an ISO date such as 2024-01-01"
            ) from None
        first, last = self.session_open, self.session_open + self.session_hours
        if self.effect == "hour" and not first <= self.effect_hour <= last - 1.0:
            raise DataError(
                f"data.synth.effect_hour: {self.effect_hour} lies outside the session "
                f"({first:g} to {last:g} UTC)"
            )

    def _check_ranges(self) -> None:
        for name, low, high in (
            ("seed", 0, math.inf),
            ("sessions", 1, 100_000),
            ("ticks_per_session", 10, _MAX_SESSION),
            ("session_open", 0.0, 23.0),
            ("session_hours", 1.0, 24.0 - self.session_open),
            ("price", 10.0 * self.tick_size, math.inf),
            ("tick_size", 1e-12, math.inf),
            ("spread_ticks", 1.0, 1e6),
            ("volatility", 0.0, 10.0),
            ("jumps_per_session", 0.0, 1e3),
            ("jump_size", 0.0, 10.0),
            ("effect_size", 0.0, 100.0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise DataError(f"data.synth.{name}: {value!r} is not a number")
            if not (low <= value <= high and math.isfinite(value)):
                raise DataError(f"data.synth.{name}: {value} is not between {low:g} and {high:g}")


def expected_rows(spec: SynthSpec) -> int:
    """Mean number of ticks that a spec gives."""
    return spec.sessions * spec.ticks_per_session


class _State(NamedTuple):
    """What one session leaves to the next: logs of the price and of the volatility."""

    price: float
    volatility: float


def generate(spec: SynthSpec) -> Iterator[Chunk]:
    """Yield the ticks of a generated market, one session at a time.

    Notes
    -----
    The efficient log-price ``x`` moves from tick to tick by ``sd[i] * z[i]``, ``z``
    standard normal and independent: a martingale, whatever ``sd`` does. ``sd`` is the
    annual volatility scaled to the tick's share of a day, times a U-shaped season of the
    session (higher near both ends, as are the ticks' arrivals, a Poisson process),
    times the exponential of two AR(1) processes, from session to session and from
    minute to minute (volatility clustering), both scaled to leave the mean variance.
    Jumps arrive as a Poisson process with normal sizes of mean zero. A fifth of each
    day's variance falls into the gap before the session.

    The bid lies half a spread below the price, rounded to the grid; the ask a whole
    number of ticks, at least one, above the bid: 1 plus a Poisson number that grows with
    the volatility. Rounding adds noise of at most half a tick to the mid, which the
    spread more than covers.

    With ``effect="none"`` (or ``effect_size = 0``) that is all: no strategy has a
    positive expectation before costs. The effects add to ``x``:

    ``momentum``
        A drift of either sign that lasts 2,000 ticks on average (the lengths are
        geometric). ``effect_size`` is the expected move over 2,000 ticks in
        standard deviations of the noise over them.
    ``reversion``
        A deviation that decays by 1/e in 300 ticks (an AR(1) process).
        ``effect_size`` is its standard deviation in standard deviations of the
        noise over 300 ticks.
    ``hour``
        A rise from ``effect_hour`` to the next full hour on every day, of
        ``effect_size`` standard deviations of the noise over a mean hour.

    In the default market the spread is 2 steps of the grid and the noise some 37 steps
    over 2,000 ticks, 14 over 300, 46 over an hour: a size of 1 can be traded after the
    spread, a size of 3 plainly so.

    Every session draws from streams of its own, ``SeedSequence(seed, spawn_key=(purpose,
    session))``, and the effect from one apart, so that the noise is the same with and
    without it.

    Yields
    ------
    dict of ndarray
        ``ts``, ``bid``, ``ask`` and, with ``sizes``, ``bid_size``, ``ask_size``.
    """
    state = _State(math.log(spec.price), 0.0)
    day: np.datetime64 = np.datetime64(spec.start, "D")
    for session in range(spec.sessions):
        day = np.busday_offset(day, 0, roll="forward")
        midnight = int(day.astype("datetime64[ns]").astype(np.int64))
        chunk, state = _session(spec, session, midnight, state)
        day += 1
        if len(chunk["ts"]):
            yield chunk


def _stream(spec: SynthSpec, purpose: int, session: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(purpose, session)))


def _session(spec: SynthSpec, session: int, midnight: int, state: _State) -> tuple[Chunk, _State]:
    draw = _stream(spec, _STREAM_SESSION, session)
    day_sd = spec.volatility / math.sqrt(252.0)
    level = _DAILY_PERSISTENCE * state.volatility + draw.normal(
        0.0, _DAILY_SD * math.sqrt(1.0 - _DAILY_PERSISTENCE**2)
    )
    start = state.price
    if session:
        start += draw.normal(0.0, math.sqrt(_OVERNIGHT) * day_sd)
    ts, minute, activity = _arrivals(spec, midnight, draw)
    n = len(ts)
    vol = _minute_volatility(spec, session, level)[minute] * activity
    jump_sd = spec.jump_size * day_sd
    # What jumps and the night leave of the day's variance, spread over the mean session.
    left = max((1.0 - _OVERNIGHT) * day_sd**2 - spec.jumps_per_session * jump_sd**2, 0.0)
    base = math.sqrt(left / spec.ticks_per_session)
    moves = base * vol * draw.standard_normal(n)
    jumps = draw.poisson(spec.jumps_per_session) if n else 0
    where = draw.integers(0, max(n, 1), jumps)
    np.add.at(moves, where, draw.normal(0.0, jump_sd, jumps))
    price = start + np.cumsum(moves)
    last = float(price[-1]) if n else start
    shift, carried = _effect(spec, session, ts, midnight, base)
    chunk = _quotes(spec, ts, np.exp(price + shift), vol, draw)
    return chunk, _State(last + carried, level)


def _arrivals(
    spec: SynthSpec, midnight: int, draw: np.random.Generator
) -> tuple[IntArray1D, IntArray1D, FloatArray1D]:
    """Stamps of a session's ticks, the minute of each, and the season at each."""
    opens = midnight + int(spec.session_open * HOUR)
    length = int(spec.session_hours * HOUR)
    minutes = max(length // _MINUTE, 1)
    x = (np.arange(minutes) + 0.5) / minutes
    season = 0.6 + 1.2 * (2.0 * x - 1.0) ** 2
    season /= season.mean()
    counts = draw.poisson(spec.ticks_per_session * season / minutes)
    minute = np.repeat(np.arange(minutes), counts)
    within = draw.random(len(minute))
    ts = opens + np.sort(((minute + within) * (length / minutes)).astype(np.int64))
    # Both arrivals and variance follow the season: this leaves a day's variance as it is.
    return ts, minute, np.sqrt(season / np.mean(season**2))[minute]


def _minute_volatility(spec: SynthSpec, session: int, level: float) -> FloatArray1D:
    """Factor on the sd in each minute of the session; its mean square is 1."""
    draw = _stream(spec, _STREAM_VOLATILITY, session)
    minutes = max(int(spec.session_hours * HOUR) // _MINUTE, 1)
    shocks = draw.standard_normal(minutes) * _MINUTE_SD
    log = autoregression(shocks, _MINUTE_PERSISTENCE)
    # E exp(2 v) = exp(2 sd**2) for a normal v of mean zero.
    factor: FloatArray1D = np.exp(log + level - _MINUTE_SD**2 - _DAILY_SD**2)
    return factor


def _effect(
    spec: SynthSpec, session: int, ts: IntArray1D, midnight: int, base: float
) -> tuple[FloatArray1D, float]:
    """Shift of each tick's log-price, and what of it lasts after the session."""
    return shift(
        spec.effect,
        spec.effect_size,
        ts,
        base,
        _stream(spec, _STREAM_EFFECT, session),
        opens=midnight + spec.effect_hour * HOUR,
        ticks_per_hour=spec.ticks_per_session / spec.session_hours,
    )


def _quotes(
    spec: SynthSpec,
    ts: IntArray1D,
    price: FloatArray1D,
    vol: FloatArray1D,
    draw: np.random.Generator,
) -> Chunk:
    """Bid and ask on the grid around the efficient price."""
    n = len(ts)
    spread = 1 + draw.poisson((spec.spread_ticks - 1.0) * np.clip(vol, 0.2, 5.0))
    bid, ask = quotes_around(price, spread, spec.tick_size)
    chunk: Chunk = {"ts": ts, "bid": bid, "ask": ask}
    if spec.sizes:
        chunk["bid_size"] = draw.geometric(0.2, n).astype(np.float64)
        chunk["ask_size"] = draw.geometric(0.2, n).astype(np.float64)
    return chunk
