"""The kernel bench's strategies written by hand: one loop over ticks, full accounting.

This is what a user of Numba would write who knows it well: state in local variables,
what is rare in functions, one variant after the other. The same text runs as vanilla
Python, on lists. Every floating-point operation is in the order in which Sweep does it
(`sweep.kernel.accounting`), so that the results are the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["COUNTS", "SUMS", "Arms", "write_arms"]

#: Figures of a variant, called as in `sweep.schema.ROW`.
SUMS = (
    "equity",
    "high",
    "low",
    "drawdown",
    "drawdown_cash",
    "sum_r",
    "sum_r2",
    "sum_r3",
    "sum_r4",
    "sum_down2",
    "sum_lag",
    "gross_profit",
    "gross_loss",
    "sum_trade2",
    "turnover",
    "commission",
    "spread",
)
COUNTS = ("drawdown_ns", "periods", "fills", "trades", "wins", "losses", "holding_ns")

(EQUITY, HIGH, LOW, DRAWDOWN, DRAWDOWN_CASH) = range(5)
(SUM_R, SUM_R2, SUM_R3, SUM_R4, SUM_DOWN2, SUM_LAG) = range(5, 11)
(GROSS_PROFIT, GROSS_LOSS, SUM_TRADE2, TURNOVER, COMMISSION, SPREAD) = range(11, 17)
(DRAWDOWN_NS, PERIODS, FILLS, TRADES, WINS, LOSSES, HOLDING_NS) = range(7)


class Arms(NamedTuple):
    """The two strategies, compiled or plain.

    Each takes ``(ts, bid, ask, params, capital, rate, clock, sums, counts)``: ticks;
    ``params`` of shape (n_variants, n_params); start capital; commission as a share of
    the notional; clock period in ns; and writes ``sums`` of shape (n_variants,
    len(SUMS)) and ``counts`` of shape (n_variants, len(COUNTS)), zeroed before.
    """

    crossover: Callable[..., None]
    band: Callable[..., None]


def write_arms(jit: Callable[[Any], Any]) -> Arms:
    """Return the strategies through ``jit``: `numba.njit`, or the identity."""

    @jit
    def settle(
        old: Any,
        target: Any,
        ts: Any,
        bid: Any,
        ask: Any,
        rate: Any,
        cash: Any,
        trip: Any,
        entered: Any,
        sums: Any,
        counts: Any,
    ) -> Any:
        """Fill an order to ``target``; return cash, open trip's cash flow, its opening."""
        delta = target - old
        size = abs(delta)
        price = ask if delta > 0.0 else bid
        notional = size * price
        commission = rate * notional
        cash -= delta * price
        cash -= commission
        if old == 0.0:
            trip = -delta * price - commission
            entered = ts
        else:
            share = abs(old) / size
            profit = trip + old * price - commission * share
            counts[TRADES] += 1
            counts[HOLDING_NS] += ts - entered
            sums[SUM_TRADE2] += profit * profit
            if profit > 0.0:
                counts[WINS] += 1
                sums[GROSS_PROFIT] += profit
            elif profit < 0.0:
                counts[LOSSES] += 1
                sums[GROSS_LOSS] -= profit
            if target == 0.0:
                trip = 0.0
            else:
                trip = -target * price - commission * (1.0 - share)
                entered = ts
        counts[FILLS] += 1
        sums[TURNOVER] += notional
        sums[COMMISSION] += commission
        sums[SPREAD] += size * (0.5 * (ask - bid))
        return cash, trip, entered

    @jit
    def close_period(equity: Any, before: Any, last: Any, sums: Any, counts: Any) -> Any:
        """Take a clock period's return into the sums; return it."""
        value = equity / before - 1.0
        if before <= 0.0:
            value = math.nan
        if counts[PERIODS] > 0:
            sums[SUM_LAG] += value * last
        counts[PERIODS] += 1
        square = value * value
        sums[SUM_R] += value
        sums[SUM_R2] += square
        sums[SUM_R3] += square * value
        sums[SUM_R4] += square * square
        if value < 0.0:
            sums[SUM_DOWN2] += square
        return value

    @jit
    def end_spell(high: Any, trough: Any, since: Any, sums: Any, counts: Any) -> None:
        """Take a spell below the high into the drawdown figures."""
        sums[LOW] = min(sums[LOW], trough)
        sums[DRAWDOWN] = max(sums[DRAWDOWN], (high - trough) / high)
        sums[DRAWDOWN_CASH] = max(sums[DRAWDOWN_CASH], high - trough)
        counts[DRAWDOWN_NS] = max(counts[DRAWDOWN_NS], since)

    @jit
    def finish(
        ts: Any,
        bid: Any,
        ask: Any,
        rate: Any,
        position: Any,
        cash: Any,
        trip: Any,
        entered: Any,
        equity: Any,
        high: Any,
        trough: Any,
        high_ts: Any,
        before: Any,
        last: Any,
        sums: Any,
        counts: Any,
    ) -> None:
        """Close what is open at the last tick, and the last clock period."""
        if position != 0.0:
            cash, trip, entered = settle(
                position, 0.0, ts, bid, ask, rate, cash, trip, entered, sums, counts
            )
            equity = cash
            if equity < high:
                trough = min(trough, equity)
            else:
                if trough < high:
                    end_spell(high, trough, ts - high_ts, sums, counts)
                high = equity
                trough = equity
        close_period(equity, before, last, sums, counts)
        if trough < high:
            end_spell(high, trough, ts - high_ts, sums, counts)
        sums[EQUITY] = equity
        sums[HIGH] = high

    @jit
    def crossover(
        ts: Any,
        bid: Any,
        ask: Any,
        params: Any,
        capital: Any,
        rate: Any,
        clock: Any,
        all_sums: Any,
        all_counts: Any,
    ) -> None:
        """Always in the market: long while the fast average is above the slow one."""
        for v in range(len(params)):
            sums = all_sums[v]
            counts = all_counts[v]
            fast_weight = 2.0 / (params[v][0] + 1.0)
            slow_weight = 2.0 / (params[v][1] + 1.0)
            fast = slow = 0.5 * (bid[0] + ask[0])
            position = target = trip = last = 0.0
            cash = equity = high = trough = before = capital
            sums[LOW] = capital
            entered = high_ts = ts[0]
            bin_end = (ts[0] // clock + 1) * clock
            for i in range(1, len(ts)):
                t = ts[i]
                b = bid[i]
                a = ask[i]
                mid = 0.5 * (b + a)
                if t >= bin_end:
                    last = close_period(equity, before, last, sums, counts)
                    before = equity
                    bin_end = (t // clock + 1) * clock
                if target != position:
                    cash, trip, entered = settle(
                        position, target, t, b, a, rate, cash, trip, entered, sums, counts
                    )
                    position = target
                equity = cash + position * mid
                if equity < high:
                    if equity < trough:
                        trough = equity
                else:
                    if trough < high:
                        end_spell(high, trough, t - high_ts, sums, counts)
                    high = equity
                    high_ts = t
                    trough = equity
                fast += fast_weight * (mid - fast)
                slow += slow_weight * (mid - slow)
                target = 1.0 if fast > slow else -1.0
            end = len(ts) - 1
            finish(
                ts[end],
                bid[end],
                ask[end],
                rate,
                position,
                cash,
                trip,
                entered,
                equity,
                high,
                trough,
                high_ts,
                before,
                last,
                sums,
                counts,
            )

    @jit
    def band(
        ts: Any,
        bid: Any,
        ask: Any,
        params: Any,
        capital: Any,
        rate: Any,
        clock: Any,
        all_sums: Any,
        all_counts: Any,
    ) -> None:
        """Back to the average: out of a band, with a stop loss and a time stop."""
        for v in range(len(params)):
            sums = all_sums[v]
            counts = all_counts[v]
            weight = 2.0 / (params[v][0] + 1.0)
            reach = params[v][1] * params[v][1]
            stop = params[v][2]
            hold = int(params[v][3])
            mean = 0.5 * (bid[0] + ask[0])
            variance = entry_price = 0.0
            age = 0
            position = target = trip = last = 0.0
            cash = equity = high = trough = before = capital
            sums[LOW] = capital
            entered = high_ts = ts[0]
            bin_end = (ts[0] // clock + 1) * clock
            for i in range(1, len(ts)):
                t = ts[i]
                b = bid[i]
                a = ask[i]
                mid = 0.5 * (b + a)
                if t >= bin_end:
                    last = close_period(equity, before, last, sums, counts)
                    before = equity
                    bin_end = (t // clock + 1) * clock
                if target != position:
                    cash, trip, entered = settle(
                        position, target, t, b, a, rate, cash, trip, entered, sums, counts
                    )
                    position = target
                equity = cash + position * mid
                if equity < high:
                    if equity < trough:
                        trough = equity
                else:
                    if trough < high:
                        end_spell(high, trough, t - high_ts, sums, counts)
                    high = equity
                    high_ts = t
                    trough = equity
                off = mid - mean
                mean += weight * off
                variance = (1.0 - weight) * (variance + weight * (off * off))
                if target == 0.0:
                    if off * off > reach * variance:
                        target = -1.0 if off > 0.0 else 1.0
                        entry_price = mid
                        age = 0
                else:
                    age += 1
                    lost = (entry_price - mid) * target
                    if lost > stop * entry_price or age >= hold or off * target >= 0.0:
                        target = 0.0
            end = len(ts) - 1
            finish(
                ts[end],
                bid[end],
                ask[end],
                rate,
                position,
                cash,
                trip,
                entered,
                equity,
                high,
                trough,
                high_ts,
                before,
                last,
                sums,
                counts,
            )

    return Arms(crossover, band)
