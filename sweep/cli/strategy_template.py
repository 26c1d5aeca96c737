"""The commented strategy that `sweep init` writes."""

from __future__ import annotations

__all__ = ["strategy_template"]

_TEMPLATE = '''\
"""A strategy to start from: follow the trend of two averages of the price.

The search tries values of the parameters; this file says what a variant does with them.
Check it after every change:  sweep check {file}
"""

from typing import NamedTuple

from sweep.strategy import Space, boolean, real


class Params(Space):
    # Each has a range that is searched, and a default. Besides real there are
    # integer(low, high, default=...), categorical("a", "b") and boolean(default=...).
    fast: float = real(20, 2_000, log=True, default=200)  # window, in ticks
    slow: float = real(200, 20_000, log=True, default=2_000)
    short: bool = boolean(default=True)  # sell short too, not only buy

    def valid(self):
        # Optional: combinations that make no sense are not evaluated.
        return self.fast < self.slow


class State(NamedTuple):
    # All that is remembered from tick to tick: float, int, bool (or 1-d arrays).
    fast: float
    slow: float


def warmup(params):
    # Optional: ticks in which the state moves on and orders do not count yet.
    return int(3.0 * params.slow)


def start(tick, params):
    # The state at the first tick. A tick has ts (nanoseconds since 1970, UTC), bid, ask,
    # mid and spread.
    return State(tick.mid, tick.mid)


def step(state, tick, params):
    # At every tick after the first: the new state, and the position that is wanted from
    # now on (+1.0 long one contract, -1.0 short, 0.0 flat). It is filled at a later tick,
    # never at this one. Add an argument `account` to know position, entry_price,
    # entry_ts and equity.
    fast = state.fast + (tick.mid - state.fast) * 2.0 / (params.fast + 1.0)
    slow = state.slow + (tick.mid - state.slow) * 2.0 / (params.slow + 1.0)
    if fast > slow:
        target = 1.0
    elif params.short:
        target = -1.0
    else:
        target = 0.0
    return State(fast, slow), target


# Values over windows of ticks are computed for all ticks at once, with NumPy or any
# library; step() then takes an argument `features` and sees the values at its tick:
#
# import numpy as np
# from sweep.features import rolling_std
#
# class Features(NamedTuple):
#     deviation: np.ndarray
#
# def features(ticks, params):
#     return Features(rolling_std(ticks.mid, params.slow))
#
# def lookback(params):
#     return int(params.slow)  # ticks before a tick that its features depend on
'''


def strategy_template(file: str = "strategy.py") -> str:
    """Return the text of a strategy; ``file`` is its name, for its comments."""
    return _TEMPLATE.format(file=file)
