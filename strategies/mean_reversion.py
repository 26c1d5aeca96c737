"""Sell what has run too far, buy what has fallen too far: Bollinger bands.

The distance of the mid price from its average over `window` ticks, measured in standard
deviations over the same window, is the score. Beyond `entry` the position goes against
the move; it is closed when the score has come back to `leave`.

A price runs away from its average when something happens, and then it does not come
back. So no position is opened while the market is wilder than usual: with `use_filter`,
while the deviation over `window` is above `calm` times the average deviation of the last
`background` ticks. Nor does reverting to the average pay if the band is narrower than
the spread that it costs to trade it.

Windows are in ticks (gold has some 150,000 a day).
"""

from typing import NamedTuple

import numpy as np

from sweep.features import rolling_mean, rolling_std
from sweep.strategy import Space, boolean, integer, real


class Params(Space):
    window: int = integer(200, 50_000, log=True, default=5_000)  # ticks
    entry: float = real(1.0, 4.0, default=2.5)  # standard deviations
    leave: float = real(-0.5, 1.5, default=0.0)  # standard deviations
    use_filter: bool = boolean(default=True)
    background: int = integer(
        1_000, 200_000, log=True, default=50_000, when=lambda p: p.use_filter
    )  # ticks
    calm: float = real(0.5, 3.0, default=1.5, when=lambda p: p.use_filter)

    def valid(self):
        return self.leave < self.entry and (not self.use_filter or self.window < self.background)


class Features(NamedTuple):
    mean: np.ndarray
    deviation: np.ndarray
    usual: np.ndarray  # deviation, averaged over the background


class State(NamedTuple):
    target: float


def features(ticks, params):
    deviation = rolling_std(ticks.mid, params.window)
    usual = rolling_mean(deviation, params.background) if params.use_filter else deviation
    return Features(rolling_mean(ticks.mid, params.window), deviation, usual)


def lookback(params):
    return params.window + (params.background if params.use_filter else 0)


def warmup(params):
    return lookback(params)


def start(tick, params):
    return State(0.0)


def step(state, tick, params, features):
    away = tick.mid - features.mean
    entry = params.entry * features.deviation
    leave = params.leave * features.deviation
    quiet = not params.use_filter or features.deviation <= params.calm * features.usual
    target = state.target
    if target > 0.0 and away >= -leave:
        target = 0.0
    elif target < 0.0 and away <= leave:
        target = 0.0
    if target == 0.0 and quiet and features.deviation > tick.spread:
        if away < -entry:
            target = 1.0
        elif away > entry:
            target = -1.0
    return State(target), target
