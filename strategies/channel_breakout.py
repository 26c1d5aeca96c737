"""Buy a new high, sell a new low: Donchian's channel, as the Turtles traded it.

The channel is the highest and the lowest mid price of the last `entry` ticks. A price
above all of them buys, a price below all of them sells short. Without `use_exit` the
position is held until the channel breaks on the other side (always in the market after
the first break); with it, a shorter channel of `exit` ticks takes the profit earlier and
leaves the account flat until the next break.

Windows are in ticks (gold has some 150,000 a day).
"""

from typing import NamedTuple

import numpy as np

from sweep.features import lag, rolling_max, rolling_min
from sweep.strategy import Space, boolean, integer


class Params(Space):
    entry: int = integer(500, 200_000, log=True, default=20_000)  # ticks
    use_exit: bool = boolean(default=True)
    exit: int = integer(100, 100_000, log=True, default=5_000, when=lambda p: p.use_exit)  # ticks

    def valid(self):
        return not self.use_exit or self.exit < self.entry


class Features(NamedTuple):
    high: np.ndarray  # of the `entry` ticks before this one
    low: np.ndarray
    exit_high: np.ndarray  # of the `exit` ticks before this one
    exit_low: np.ndarray


class State(NamedTuple):
    target: float


def features(ticks, params):
    before = lag(ticks.mid, 1)  # a price cannot be above a channel that contains it
    exit_window = params.exit if params.use_exit else params.entry
    return Features(
        rolling_max(before, params.entry),
        rolling_min(before, params.entry),
        rolling_max(before, exit_window),
        rolling_min(before, exit_window),
    )


def lookback(params):
    return max(params.entry, params.exit)


def warmup(params):
    return params.entry + 1


def start(tick, params):
    return State(0.0)


def step(state, tick, params, features):
    target = state.target
    if tick.mid > features.high:
        target = 1.0
    elif tick.mid < features.low:
        target = -1.0
    elif params.use_exit:
        if target > 0.0 and tick.mid < features.exit_low:
            target = 0.0
        elif target < 0.0 and tick.mid > features.exit_high:
            target = 0.0
    return State(target), target
