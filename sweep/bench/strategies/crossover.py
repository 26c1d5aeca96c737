"""Always in the market: long while the fast exponential average of the mid is above the slow."""

from typing import NamedTuple

from sweep.strategy import Space, real


class Params(Space):
    fast: float = real(2, 10_000, log=True, default=300)  # ticks
    slow: float = real(3, 100_000, log=True, default=10_000)  # ticks


class Constants(NamedTuple):
    fast_weight: float
    slow_weight: float


class State(NamedTuple):
    fast: float
    slow: float


def constants(params):
    """Weights of the newest price."""
    return Constants(2.0 / (params.fast + 1.0), 2.0 / (params.slow + 1.0))


def start(tick, params):
    return State(tick.mid, tick.mid)


def step(state, tick, params, constants):
    fast = state.fast + constants.fast_weight * (tick.mid - state.fast)
    slow = state.slow + constants.slow_weight * (tick.mid - state.slow)
    return State(fast, slow), 1.0 if fast > slow else -1.0
