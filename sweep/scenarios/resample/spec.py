"""What a user asks of resampling, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweep.errors import InputError
from sweep.text import did_you_mean
from sweep.units import DAY

__all__ = ["LEVELS", "METHODS", "RESTARTS", "TICK_METHODS", "ResampleSpec"]

#: The methods by name, with the number that is part of their random streams' position.
METHODS = {
    "identity": 0,
    "sessions": 1,
    "slots": 2,
    "stationary": 3,
    "circular": 4,
    "moving": 5,
}

#: Those whose blocks are counted in ticks.
TICK_METHODS = ("stationary", "circular", "moving")

RESTARTS = ("session", "block", "never")
LEVELS = ("log", "ticks")

#: The default block, in the method's unit.
_BLOCKS = {"sessions": 1.0, "slots": 30.0, "stationary": 5_000, "circular": 5_000, "moving": 5_000}


@dataclass(frozen=True)
class ResampleSpec:
    """How paths are drawn from a series.

    Attributes
    ----------
    method : str
        ``identity``; ``sessions``: whole sessions with replacement; ``slots``: each slot of
        clock time from the same slot of a random session; ``stationary``, ``circular``,
        ``moving``: blocks counted in ticks (Politis & Romano 1994; Politis & Romano 1992;
        Kunsch 1989), which break the pattern of the day.
    seed : int
        Non-negative.
    block : float or None
        Of ``sessions``: mean number of consecutive sessions, 1 draws each on its own; of
        ``slots``: minutes, a divisor of the day; otherwise ticks (for ``stationary`` the
        mean). None: 1 session, 30 minutes, 5,000 ticks.
    restart : str or None
        Where the strategy begins afresh, flat, with a warm-up in which its orders do not
        count, after its position is closed: ``session`` (at each session), ``block`` (at
        each drawn block) or ``never`` (state and position go through the whole path).
        None: ``session`` for sessions and slots, otherwise ``never``.
    level : str
        ``log`` keeps changes of the log mid; ``ticks`` changes of the mid in ticks of the
        price grid, so that every move has the size that it had.
    tick_size : float or None
        Of the price grid; 0: prices are not rounded. None: found out.
    gap : float or None
        Minutes without a tick that separate sessions. None: 30.
    opens : float or None
        Hour (UTC) at which sessions begin, instead of gaps.

    Raises
    ------
    InputError
        If a value is not one of these.
    """

    method: str = "sessions"
    seed: int = 0
    block: float | None = None
    restart: str | None = None
    level: str = "log"
    tick_size: float | None = None
    gap: float | None = None
    opens: float | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("method", self.method, METHODS),
            ("restart", self.restarts, RESTARTS),
            ("level", self.level, LEVELS),
        ):
            if value not in known:
                raise InputError(
                    f"resampling: {name} = {value!r}{did_you_mean(str(value), known)}; "
                    f"expected {', '.join(known)}"
                )
        if self.method in TICK_METHODS and self.restart == "session":
            raise InputError(
                f"resampling: {self.method} joins blocks of ticks, which have no sessions to "
                f"start afresh at; use restart = 'block' or 'never'"
            )
        if self.seed < 0:
            raise InputError(f"resampling: seed = {self.seed}; expected 0 or more")
        self._check_block()
        if self.tick_size is not None and not 0.0 <= self.tick_size < math.inf:
            raise InputError(f"resampling: tick_size = {self.tick_size:g}; expected 0 or more")
        if self.level == "ticks" and self.tick_size == 0:
            raise InputError("resampling: level = 'ticks' needs a price grid, and tick_size is 0")
        if self.gap is not None and not 0.0 < self.gap < math.inf:
            raise InputError(f"resampling: gap = {self.gap:g} minutes; expected more than 0")
        if self.gap is not None and self.opens is not None:
            raise InputError("resampling: gap and opens both say where sessions begin; give one")

    def _check_block(self) -> None:
        block = self.block
        if block is None:
            return
        whole = self.method in ("circular", "moving")
        if self.method == "identity":
            raise InputError("resampling: identity has no block")
        shortest = 0.0 if self.method == "slots" else 1.0
        if not shortest <= block < math.inf or (whole and block % 1):
            raise InputError(
                f"resampling: block = {block:g} for {self.method}; expected "
                f"{'a whole number, ' if whole else ''}{shortest:g} or more"
            )
        if self.method == "slots":
            slot = round(block * 60e9)
            if slot <= 0 or DAY % slot or abs(slot - block * 60e9) > 0.5:
                raise InputError(
                    f"resampling: block = {block:g} minutes for slots; expected minutes that "
                    f"divide the day, such as 15, 30 or 60"
                )

    @property
    def length(self) -> float:
        """The block in the method's unit; 0 for identity."""
        return _BLOCKS.get(self.method, 0.0) if self.block is None else self.block

    @property
    def restarts(self) -> str:
        """Where the strategy begins afresh, by default or as asked."""
        if self.restart is not None:
            return self.restart
        return "session" if self.method in ("sessions", "slots") else "never"

    @property
    def warning(self) -> str:
        """What a reader of the results must know of the method; empty if nothing."""
        if self.method not in TICK_METHODS:
            return ""
        return (
            f"{self.method}: blocks of {self.length:g} ticks are joined at any time of the day, "
            f"so that paths lack the market's pattern over the day (volatility, spreads and "
            f"activity by the hour), and nights and weekends fall anywhere; prefer slots or "
            f"sessions"
        )
