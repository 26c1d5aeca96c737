"""Join a strong move, and leave by a stop loss, a profit target or a trailing stop.

The move over the last `window` ticks, measured in standard deviations of the price over
the same window, is the score. Beyond `entry` the position goes with the move. It is left
when it has lost `stop` basis points of its entry price, when it has won `target` basis
points, or, with `use_trail`, when it has given back `trail` basis points from its best
price. After that the strategy waits until the score has fallen below `entry` before it
joins a move again: a stop that is hit in a running move must not buy straight back.

Stops are checked at the price at which the position could be closed (bid for a long,
ask for a short) and executed as every order is: at a later tick, after the latency, with
slippage, so that a gap goes through a stop here as it does in a market.

Windows are in ticks (gold has some 150,000 a day).
"""

from typing import NamedTuple

import numpy as np

from sweep.features import lag, rolling_std
from sweep.strategy import Space, boolean, integer, real


class Params(Space):
    window: int = integer(200, 50_000, log=True, default=5_000)  # ticks
    entry: float = real(0.5, 4.0, default=2.5)  # standard deviations
    stop: float = real(1.0, 50.0, log=True, default=10.0)  # basis points
    target: float = real(1.0, 100.0, log=True, default=20.0)  # basis points
    use_trail: bool = boolean(default=False)
    trail: float = real(1.0, 50.0, log=True, default=10.0, when=lambda p: p.use_trail)


class Features(NamedTuple):
    before: np.ndarray  # mid price `window` ticks ago
    deviation: np.ndarray


class State(NamedTuple):
    order: float  # what was last asked for
    best: float  # best price since the position was opened
    ready: bool  # the last move is over: another may be joined


def features(ticks, params):
    return Features(lag(ticks.mid, params.window), rolling_std(ticks.mid, params.window))


def lookback(params):
    return params.window


def warmup(params):
    return params.window


def start(tick, params):
    return State(0.0, 0.0, True)


def step(state, tick, params, features, account):
    move = tick.mid - features.before
    strong = params.entry * features.deviation
    side = 1.0 if account.position > 0.0 else -1.0
    price = tick.bid if account.position > 0.0 else tick.ask
    order = state.order
    best = price
    ready = state.ready or abs(move) < strong

    if account.position != 0.0 and order != 0.0:  # open, and not being closed
        if state.best > 0.0 and side * (state.best - price) > 0.0:
            best = state.best
        point = 0.0001 * account.entry_price
        gain = side * (price - account.entry_price)
        given_back = side * (best - price)
        if gain <= -params.stop * point or gain >= params.target * point:
            order = 0.0
        elif params.use_trail and given_back >= params.trail * point:
            order = 0.0
    elif account.position == 0.0 and order == 0.0 and ready and features.deviation > 0.0:
        best = 0.0
        if move > strong:
            order = 1.0
        elif move < -strong:
            order = -1.0
        ready = order == 0.0
    else:  # an order is on its way
        best = 0.0
    return State(order, best, ready), order
