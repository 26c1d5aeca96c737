"""Follow the trend: long while the fast exponential average is above the slow one.

Two averages of the mid price, one quick, one slow. When the quick one is above, the
market has lately been rising: hold one contract. When it is below: sell short, or stand
aside if `short` is off. Every crossing of the two costs a spread, so windows that are
too short lose to costs, and windows that are too long miss the move.

Windows are in ticks (gold has some 150,000 a day). The averages live in the state: one
multiplication and addition per tick, however long the window.
"""

from typing import NamedTuple

from sweep.strategy import Space, boolean, real


class Params(Space):
    fast: float = real(50, 10_000, log=True, default=1_000)  # ticks
    slow: float = real(500, 100_000, log=True, default=10_000)  # ticks
    short: bool = boolean(default=True)  # sell short too, not only buy

    def valid(self):
        return self.fast < self.slow


class Constants(NamedTuple):
    fast_weight: float  # of the newest price in each average
    slow_weight: float


class State(NamedTuple):
    fast: float
    slow: float


def constants(params):
    """Worked out once for each variant instead of at every tick."""
    return Constants(2.0 / (params.fast + 1.0), 2.0 / (params.slow + 1.0))


def warmup(params):
    """Three slow windows: after them the first price weighs exp(-6), 0.2 %."""
    return int(3.0 * params.slow)


def start(tick, params):
    return State(tick.mid, tick.mid)


def step(state, tick, params, constants):
    fast = state.fast + constants.fast_weight * (tick.mid - state.fast)
    slow = state.slow + constants.slow_weight * (tick.mid - state.slow)
    if fast > slow:
        target = 1.0
    elif params.short:
        target = -1.0
    else:
        target = 0.0
    return State(fast, slow), target
