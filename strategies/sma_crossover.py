"""Follow the trend with simple moving averages, and a band against being whipped about.

Long after the fast average of the mid price has risen above the slow one, short after it
has fallen below. While the two lie closer together than `band` spreads, the last
decision stands: near a crossing the averages cross many times, and each time costs a
spread. Without `use_band` every crossing counts.

The averages are features: computed for all ticks at once, then handed to `step` tick by
tick. Windows are in ticks (gold has some 150,000 a day).
"""

from typing import NamedTuple

import numpy as np

from sweep.features import rolling_mean
from sweep.strategy import Space, boolean, integer, real


class Params(Space):
    fast: int = integer(50, 10_000, log=True, default=1_000)  # ticks
    slow: int = integer(500, 100_000, log=True, default=10_000)  # ticks
    use_band: bool = boolean(default=False)
    band: float = real(0.1, 10.0, log=True, default=1.0, when=lambda p: p.use_band)  # spreads

    def valid(self):
        return self.fast < self.slow


class Features(NamedTuple):
    fast: np.ndarray
    slow: np.ndarray


class State(NamedTuple):
    target: float


def features(ticks, params):
    return Features(rolling_mean(ticks.mid, params.fast), rolling_mean(ticks.mid, params.slow))


def lookback(params):
    return max(params.fast, params.slow)


def warmup(params):
    return params.slow


def start(tick, params):
    return State(0.0)


def step(state, tick, params, features):
    band = params.band * tick.spread if params.use_band else 0.0
    apart = features.fast - features.slow
    target = state.target
    if apart > band:
        target = 1.0
    elif apart < -band:
        target = -1.0
    return State(target), target
