"""What a simulated market is made of: a price process, arrivals, a calendar, quotes.

Each part is a frozen dataclass that refuses parameters out of their range. Equal specs
give equal ticks.

*Model time* runs through the sessions and through the gaps between them, each gap as
long as ``gap_hours`` says, however many hours of the calendar it takes; a year has
``sessions_per_year`` sessions with their gaps. Drifts and volatilities are annual, of
log-returns, in model time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sweep.errors import DataError
from sweep.scenarios.simulate.processes import Gbm, Process, check_number
from sweep.schema import FloatArray1D
from sweep.text import EFFECTS
from sweep.ticks.synthetic import HOUR

__all__ = [
    "MAX_TICKS",
    "Arrivals",
    "Hawkes",
    "PathSpec",
    "Poisson",
    "Quotes",
    "Regular",
    "Session",
    "stream",
]

#: Largest mean number of ticks in a session: they are held together (some 100 bytes each).
MAX_TICKS = 2_000_000

#: Largest number of steps of a fixed clock in a session with its gap.
_MAX_STEPS = 1_000_000


# -- arrivals --------------------------------------------------------------------------


@dataclass(frozen=True)
class Regular:
    """A tick every ``interval`` seconds, the first at the session's open.

    The close has none: it belongs to what follows.
    """

    name: ClassVar[str] = "regular"

    interval: float = 1.0

    def __post_init__(self) -> None:
        check_number("regular.interval", self.interval, 1e-6, 86_400.0)

    @property
    def rate(self) -> float:
        """Mean number of ticks in a second."""
        return 1.0 / self.interval


@dataclass(frozen=True)
class Poisson:
    """Independent arrivals, ``rate`` of them in a second on average."""

    name: ClassVar[str] = "poisson"

    rate: float = 1.0

    def __post_init__(self) -> None:
        check_number("poisson.rate", self.rate, 0.0, 1e6, above=True)


@dataclass(frozen=True)
class Hawkes:
    """Self-exciting arrivals with an exponential kernel.

    Intensity ``baseline + branching * decay * sum(exp(-decay (t - t[i])))`` over the
    ticks before t: Hawkes (1971), Biometrika 58, 83-90. A session opens at the mean
    intensity ``baseline / (1 - branching)``, at which its expectation then stays.

    Attributes
    ----------
    baseline : float
        Arrivals in a second that no other caused.
    branching : float
        Mean number of arrivals that one causes directly, below 1.
    decay : float
        Per second.
    """

    name: ClassVar[str] = "hawkes"

    baseline: float = 0.5
    branching: float = 0.5
    decay: float = 1.0

    def __post_init__(self) -> None:
        check_number("hawkes.baseline", self.baseline, 0.0, 1e6, above=True)
        check_number("hawkes.branching", self.branching, 0.0, 1.0, below=True)
        check_number("hawkes.decay", self.decay, 1e-6, 1e6)

    @property
    def rate(self) -> float:
        """Mean number of ticks in a second."""
        return self.baseline / (1.0 - self.branching)


# -- calendar and quotes ---------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """When there are ticks.

    Attributes
    ----------
    start : str
        ISO date of the first session, or of a day before it.
    sessions : int
    open : float
        Hour of the day (UTC).
    hours : float
        Length; a session may run past midnight.
    gap_hours : float
        Model time between a close and the next open: the price moves over the gap as in
        so many hours of a session. 0: it opens where it closed.
    days : str
        Seven digits from Monday to Sunday, 1 for days on which a session opens.
    sessions_per_year : float
    """

    start: str = "2024-01-01"
    sessions: int = 10
    open: float = 8.0
    hours: float = 8.0
    gap_hours: float = 2.0
    days: str = "1111100"
    sessions_per_year: float = 252.0

    def __post_init__(self) -> None:
        try:
            known = isinstance(self.start, str) and not np.isnat(np.datetime64(self.start, "D"))
        except ValueError:
            known = False
        if not known:
            raise DataError(f"session.start: {self.start!r} is not an ISO date such as 2024-01-01")
        if len(self.days) != 7 or set(self.days) - {"0", "1"} or "1" not in self.days:
            raise DataError(
                f"session.days: {self.days!r} is not seven digits 0 or 1, Monday to Sunday, "
                f"with one 1 at least"
            )
        check_number("session.sessions", self.sessions, 1, 100_000, whole=True)
        check_number("session.open", self.open, 0.0, 24.0, below=True)
        check_number("session.hours", self.hours, 0.0, 24.0, above=True)
        check_number("session.gap_hours", self.gap_hours, 0.0, 240.0)
        check_number("session.sessions_per_year", self.sessions_per_year, 1e-3, 1e6)

    @property
    def length(self) -> int:
        """Nanoseconds of a session."""
        return round(self.hours * HOUR)

    @property
    def gap(self) -> int:
        """Nanoseconds of model time in a gap."""
        return round(self.gap_hours * HOUR)

    @property
    def year(self) -> float:
        """Nanoseconds of model time in a year."""
        return self.sessions_per_year * (self.length + self.gap)

    def opens(self, session: int) -> int:
        """Stamp at which a session (from 0) opens."""
        first: np.datetime64 = np.datetime64(self.start, "D")
        day = np.busday_offset(first, session, roll="forward", weekmask=self.days)
        midnight = int(day.astype("datetime64[ns]").astype(np.int64))
        return midnight + round(self.open * HOUR)


@dataclass(frozen=True)
class Quotes:
    """Where the price begins and what stands around it.

    Each tick's spread is the one before with probability ``persistence``, else redrawn:
    every marginal distribution keeps, with autocorrelation ``persistence**lag`` (the DAR(1)
    process of Jacobs and Lewis, 1978, J. Royal Statistical Society B 40, 94-105).

    Attributes
    ----------
    price : float
        At the open of the first session.
    tick_size : float
        Grid of bid and ask, price units.
    spreads : tuple of int
        Ticks, at least 1.
    weights : tuple of float
        How often each spread is drawn, in any unit; empty: all alike.
    persistence : float
        From 0 (spreads are independent), below 1.
    """

    price: float = 100.0
    tick_size: float = 0.01
    spreads: tuple[int, ...] = (1, 2, 3)
    weights: tuple[float, ...] = ()
    persistence: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "spreads", tuple(self.spreads))
        object.__setattr__(self, "weights", tuple(self.weights))
        check_number("quotes.tick_size", self.tick_size, 1e-12, math.inf)
        check_number("quotes.price", self.price, 10.0 * self.tick_size, 1e12 * self.tick_size)
        if not self.spreads:
            raise DataError("quotes.spreads: there must be at least one, in ticks")
        for i, spread in enumerate(self.spreads):
            check_number(f"quotes.spreads[{i}]", spread, 1, 1e6, whole=True)
        if self.weights and len(self.weights) != len(self.spreads):
            raise DataError(
                f"quotes.weights: {len(self.weights)} given for {len(self.spreads)} spreads"
            )
        for i, weight in enumerate(self.weights):
            check_number(f"quotes.weights[{i}]", weight, 0.0, 1e15)
        if self.weights and not sum(self.weights) > 0.0:
            raise DataError("quotes.weights: all are 0; one at least must be above")
        check_number("quotes.persistence", self.persistence, 0.0, 1.0, below=True)

    @property
    def shares(self) -> FloatArray1D:
        """Probability of each spread, ndarray of shape (n_spreads,)."""
        weights = np.array(self.weights or [1.0] * len(self.spreads), dtype=np.float64)
        shares: FloatArray1D = weights / weights.sum()
        return shares


Arrivals = Regular | Poisson | Hawkes


@dataclass(frozen=True)
class PathSpec:
    """A simulated market. Equal specs give equal paths.

    Attributes
    ----------
    process : Gbm, Merton, Garch or Regimes
    arrivals : Regular, Poisson or Hawkes
    session : Session
    quotes : Quotes
    seed : int
        Non-negative.
    effect : {"none", "momentum", "reversion", "hour"}
        What is planted; see :func:`sweep.ticks.synthetic.shift`. Its unit is the noise of this
        market: the process's mean variance, spread over the mean number of ticks.
    effect_size : float
        0 plants nothing.
    effect_hour : int
        Hour of the day (UTC) of the effect ``hour``, within the session.

    Raises
    ------
    DataError
        If a value is out of its range, or the parts do not go together.
    """

    process: Process = field(default_factory=Gbm)
    arrivals: Arrivals = field(default_factory=Poisson)
    session: Session = field(default_factory=Session)
    quotes: Quotes = field(default_factory=Quotes)
    seed: int = 0
    effect: str = "none"
    effect_size: float = 1.0
    effect_hour: int = 10

    def __post_init__(self) -> None:
        for name, kinds in (("process", Process), ("arrivals", Arrivals)):
            value = getattr(self, name)
            if not isinstance(value, kinds):
                one_of = ", ".join(kind.__name__ for kind in kinds.__args__)
                raise DataError(f"{name}: {value!r} is not known; use one of {one_of}")
        check_number("seed", self.seed, 0, math.inf, whole=True)
        check_number("effect_size", self.effect_size, 0.0, 100.0)
        check_number("effect_hour", self.effect_hour, 0, 23, whole=True)
        if self.effect not in EFFECTS:
            raise DataError(
                f"effect: {self.effect!r} is not known; use one of {', '.join(EFFECTS)}"
            )
        self._check_steps()
        if self.ticks_per_session > MAX_TICKS:
            raise DataError(
                f"{self.arrivals.name}: a session would have {self.ticks_per_session:,.0f} ticks "
                f"on average, more than {MAX_TICKS:,}; lower the rate or shorten the session"
            )
        if self.effect == "hour" and self.hour_opens(0) is None:
            first, last = self.session.open, self.session.open + self.session.hours
            raise DataError(
                f"effect_hour: the hour from {self.effect_hour} lies outside the session "
                f"({first:g} to {last:g} UTC)"
            )

    def _check_steps(self) -> None:
        step = getattr(self.process, "step", None)
        if step is None:
            return
        for name, hours in (("hours", self.session.hours), ("gap_hours", self.session.gap_hours)):
            steps = hours * 3600.0 / step
            if abs(steps - round(steps)) > 1e-6:
                raise DataError(
                    f"session.{name}: {hours:g} hours are {steps:.6g} steps of "
                    f"{self.process.name}.step = {step:g} s; they must be whole steps"
                )
            if steps > _MAX_STEPS:
                raise DataError(
                    f"{self.process.name}.step: {step:g} s makes {steps:,.0f} steps of "
                    f"session.{name}, more than {_MAX_STEPS:,}"
                )

    @property
    def ticks_per_session(self) -> float:
        """Mean number."""
        return self.arrivals.rate * self.session.hours * 3600.0

    @property
    def tick_sd(self) -> float:
        """Standard deviation of the log-price's move over a mean tick of a session."""
        share = self.session.length / self.session.year
        return math.sqrt(self.process.variance * share / self.ticks_per_session)

    def hour_opens(self, session: int) -> int | None:
        """Stamp at which the planted hour of a session begins; None if not within it."""
        opens = self.session.opens(session)
        begins = opens + (self.effect_hour * HOUR - opens) % (24 * HOUR)
        return begins if begins + HOUR <= opens + self.session.length else None


def stream(spec: PathSpec, purpose: int, path: int, session: int) -> np.random.Generator:
    """Random stream of a purpose (0 arrivals, 1 price, 2 quotes, 3 effect, 4 start).

    Addressed by position alone, ``SeedSequence(seed, spawn_key=(purpose, process, path,
    session))``: no path or session depends on which others are drawn.
    """
    key = (purpose, spec.process.number, int(path), session)
    return np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=key))
