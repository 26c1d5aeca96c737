"""Hold a position at the same hours of every day.

Markets have habits: the London fixing, the New York opening, the quiet Asian night. This
strategy opens a position at `entry` o'clock (UTC) and closes it `hold` hours later. The
side is always the same one, or, with `use_trend`, that of the move over the last
`window` ticks when the position is opened. It needs no prices otherwise: what it earns
is what the hours are worth after the spread.

The window is in ticks (gold has some 150,000 a day).
"""

from typing import NamedTuple

import numpy as np

from sweep.features import lag
from sweep.strategy import Space, boolean, categorical, integer

MINUTE = 60_000_000_000  # nanoseconds
DAY = 1_440  # minutes


class Params(Space):
    entry: int = integer(0, 23, default=8)  # o'clock, UTC
    hold: int = integer(1, 12, default=4)  # hours
    use_trend: bool = boolean(default=False)
    window: int = integer(500, 100_000, log=True, default=10_000, when=lambda p: p.use_trend)
    side: int = categorical(1, -1, default=1, when=lambda p: not p.use_trend)  # buy or sell


class Features(NamedTuple):
    before: np.ndarray  # mid price `window` ticks ago


class State(NamedTuple):
    target: float


def features(ticks, params):
    return Features(lag(ticks.mid, params.window))


def lookback(params):
    return params.window


def warmup(params):
    return params.window if params.use_trend else 0


def start(tick, params):
    return State(0.0)


def step(state, tick, params, features):
    minute = tick.ts // MINUTE % DAY
    elapsed = minute - 60 * params.entry  # since the last opening
    if elapsed < 0:
        elapsed += DAY  # which was yesterday's
    target = state.target
    if elapsed >= 60 * params.hold:
        target = 0.0
    elif target == 0.0:
        if not params.use_trend:
            target = 1.0 * params.side
        elif tick.mid > features.before:
            target = 1.0
        elif tick.mid < features.before:
            target = -1.0
    return State(target), target
