"""Back to the average: against a move out of a band, with a stop loss and a time stop.

The band is a number of standard deviations around an exponential average, both from
exponential averages of the mid and of its squared distance.
"""

from typing import NamedTuple

from sweep.strategy import Space, integer, real


class Params(Space):
    window: float = real(10, 100_000, log=True, default=5_000)  # ticks
    entry: float = real(0.5, 10, default=2.5)  # standard deviations
    stop: float = real(0.00001, 0.1, log=True, default=0.001)  # share of the entry's price
    hold: int = integer(1, 1_000_000, log=True, default=5_000)  # ticks


class Constants(NamedTuple):
    weight: float
    reach: float  # the band's variance, in variances


class State(NamedTuple):
    mean: float
    variance: float
    side: float  # the position that is wanted
    price: float  # mid at which it was first wanted
    age: int  # ticks since then


def constants(params):
    """Weight of the newest price, and the band in variances: no root at each tick."""
    return Constants(2.0 / (params.window + 1.0), params.entry * params.entry)


def start(tick, params):
    return State(tick.mid, 0.0, 0.0, 0.0, 0)


def step(state, tick, params, constants):
    off = tick.mid - state.mean
    mean = state.mean + constants.weight * off
    variance = (1.0 - constants.weight) * (state.variance + constants.weight * (off * off))
    side, price, age = state.side, state.price, state.age
    if side == 0.0:
        if off * off > constants.reach * variance:
            side = -1.0 if off > 0.0 else 1.0
            price = tick.mid
            age = 0
    else:
        age += 1
        lost = (price - tick.mid) * side
        if lost > params.stop * price or age >= params.hold or off * side >= 0.0:
            side = 0.0
    return State(mean, variance, side, price, age), side
