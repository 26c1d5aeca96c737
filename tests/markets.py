"""Markets of a few rows, with what must happen on them worked out by hand.

Each row is ``(seconds, bid, ask, target)``: at that tick the scripted strategy
(`generators.SCRIPTED`) asks for a position of ``target`` contracts. At the first tick a
strategy gives no order, so the first target is never asked for. Unless a market says
otherwise, the account starts with 1000 in cash, a contract is one unit, everything is
free of cost, the mark is the mid price and the clock period is longer than the market.

``fills`` lists ``(row, contracts, price)``; ``trips`` the round trips as
``(opened at second, closed at second, profit)``; ``equity`` the account at each row, the
last one after the closing of an open position; ``row`` and ``metrics`` whatever else the
market is there to show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sweep.schema import STATUS_BAD_ORDER, STATUS_OK, STATUS_RUINED, Account, Costs

SECOND = 1_000_000_000
NAN = math.nan

FREE = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0, "mid")
PLAIN = Account(capital=1000.0, contract_size=1.0, clock=3600 * SECOND, periods_per_year=4.0)


@dataclass(frozen=True)
class Market:
    name: str
    rows: tuple[tuple[float, float, float, float], ...]
    fills: tuple[tuple[int, float, float], ...]
    trips: tuple[tuple[float, float, float], ...]
    equity: tuple[float, ...]
    costs: Costs = FREE
    account: Account = PLAIN
    wait: int = 0  # ticks of warm-up that the strategy asks for
    begin: int = 0  # first tick of the range; the warm-up may reach back to tick 0
    row: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


MARKETS = (
    Market(
        name="long",
        rows=(
            (0, 99, 101, 0),
            (1, 99, 101, 1),  # decides to buy
            (2, 100, 102, 1),  # buys at the ask, 102: cash 898, + mid 101 = 999
            (3, 104, 106, 0),  # 898 + 105 = 1003; decides to sell
            (4, 103, 105, 0),  # sells at the bid, 103: cash 1001
        ),
        fills=((2, 1, 102), (4, -1, 103)),
        trips=((2, 4, 1),),  # 103 - 102
        equity=(1000, 1000, 999, 1003, 1001),
        row={
            "high": 1003,
            "low": 999,
            "drawdown": 2 / 1003,  # from 1003 to 1001; that from 1000 to 999 is smaller
            "drawdown_cash": 2,
            "drawdown_ns": 2 * SECOND,  # below 1000 from second 1 to 3; then 3 to 4, open
            "drawdown_open": 1,
            "periods": 1,
            "sum_r": 0.001,
            "wins": 1,
            "losses": 0,
        },
        metrics={
            "net_profit": 1,
            "total_return": 0.001,
            "sharpe": NAN,  # one return has no deviation
            "sortino": NAN,  # and it is not a loss
            "calmar": (1.001**4 - 1) / (2 / 1003),  # four periods a year, one was seen
            "profit_factor": NAN,  # nothing was lost
            "expectancy": 1,
            "win_rate": 1,
            "sqn": NAN,
            "trades": 1,
            "mean_holding_time": 2,
            "exposure": 0.5,  # 2 of 4 seconds
            "turnover": 0.205,  # (102 + 103) / 1000
            "spread_cost": 2,  # half of 2, twice
            "commission": 0,
            "slippage": 0,
            "costs": 2,
            "fills": 2,
            "final_equity": 1001,
        },
    ),
    Market(
        name="short",
        rows=(
            (0, 99, 101, 0),
            (1, 99, 101, -1),
            (2, 100, 102, -1),  # sells at the bid, 100: cash 1100, - mid 101 = 999
            (3, 95, 97, 0),  # 1100 - 96 = 1004
            (4, 96, 98, 0),  # buys back at the ask, 98: cash 1002
        ),
        fills=((2, -1, 100), (4, 1, 98)),
        trips=((2, 4, 2),),  # 100 - 98
        equity=(1000, 1000, 999, 1004, 1002),
        row={"drawdown": 2 / 1004, "drawdown_cash": 2, "turnover": 198, "spread": 2},
    ),
    Market(
        name="a loss, a loss and a win",
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (2, 100, 100, 0),  # buys at 100
            (3, 96, 96, 1),  # sells at 96: -4, cash 996
            (4, 96, 96, 0),  # buys at 96
            (5, 94, 94, 1),  # sells at 94: -2, cash 994
            (6, 94, 94, 0),  # buys at 94
            (7, 103, 103, 0),  # sells at 103: +9, cash 1003
        ),
        fills=((2, 1, 100), (3, -1, 96), (4, 1, 96), (5, -1, 94), (6, 1, 94), (7, -1, 103)),
        trips=((2, 3, -4), (4, 5, -2), (6, 7, 9)),
        equity=(1000, 1000, 1000, 996, 996, 994, 994, 1003),
        row={
            "wins": 1,
            "losses": 2,
            "gross_profit": 9,
            "gross_loss": 6,
            "sum_trade2": 16 + 4 + 81,
            "holding_ns": 3 * SECOND,
            "drawdown_ns": 5 * SECOND,  # the high of second 2 is reached again at second 7
            "drawdown_open": 0,
        },
        metrics={
            "profit_factor": 1.5,  # 9 / 6
            "expectancy": 1,  # 3 / 3
            "win_rate": 1 / 3,
            # Mean 1; deviations -5, -3, 8: variance (25 + 9 + 64) / 2 = 49, deviation 7.
            "sqn": math.sqrt(3) / 7,
            "mean_holding_time": 1,
            "exposure": 3 / 7,
            "max_drawdown": 0.006,
            "max_drawdown_cash": 6,
            "max_drawdown_time": 5,
        },
    ),
    Market(
        name="a reversal is one fill and two round trips",
        costs=replace(FREE, commission_per_fill=3.0),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (2, 100, 100, -2),  # buys 1 at 100: cash 1000 - 100 - 3 = 897
            (3, 110, 110, 0),  # sells 3 at 110: cash 897 + 330 - 3 = 1224, - 2 x 110 = 1004
            (4, 104, 104, 0),  # buys 2 at 104: cash 1224 - 208 - 3 = 1013
        ),
        fills=((2, 1, 100), (3, -3, 110), (4, 2, 104)),
        # The reversal's 3 are shared by quantity: 1 closes the long, 2 open the short.
        trips=((2, 3, 6), (3, 4, 7)),  # -100 - 3 + 110 - 1; 220 - 2 - 208 - 3
        equity=(1000, 1000, 997, 1004, 1013),
        row={"commission": 9, "fills": 3, "trades": 2, "wins": 2, "turnover": 638},
        metrics={
            "expectancy": 6.5,
            "sqn": math.sqrt(2) * 6.5 / math.sqrt(0.5),  # = 13
        },
    ),
    Market(
        name="partial increase and decrease stay in one round trip",
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (2, 100, 100, 3),  # buys 1 at 100: cash 900
            (3, 106, 106, 1),  # buys 2 at 106: cash 688, + 3 x 106 = 1006
            (4, 110, 110, 0),  # sells 2 at 110: cash 908, + 110 = 1018
            (5, 101, 101, 0),  # sells 1 at 101: cash 1009
        ),
        fills=((2, 1, 100), (3, 2, 106), (4, -2, 110), (5, -1, 101)),
        trips=((2, 5, 9),),  # -100 - 212 + 220 + 101
        equity=(1000, 1000, 1000, 1006, 1018, 1009),
        row={"turnover": 633, "drawdown_cash": 9, "drawdown_ns": SECOND},
    ),
    Market(
        name="a fractional short position grows, shrinks and is covered",
        account=replace(PLAIN, contract_size=8.0),
        rows=(
            (0, 50, 50, 0),
            (1, 50, 50, -0.25),
            (2, 50, 50, -0.75),  # sells 0.25 x 8 at 50: cash 1100
            (3, 48, 48, -0.5),  # sells 0.5 x 8 at 48: cash 1292, - 0.75 x 8 x 48 = 1004
            (4, 47, 47, 0),  # buys 0.25 x 8 at 47: cash 1198, - 0.5 x 8 x 47 = 1010
            (5, 49, 49, 0),  # buys 0.5 x 8 at 49: cash 1002
        ),
        fills=((2, -0.25, 50), (3, -0.5, 48), (4, 0.25, 47), (5, 0.5, 49)),
        trips=((2, 5, 2),),  # 100 + 192 - 94 - 196
        equity=(1000, 1000, 1000, 1004, 1010, 1002),
        row={"turnover": 582},
    ),
    Market(
        name="no latency: filled at the next tick, even of the same stamp",
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (1, 101, 101, 1),  # the next tick, same stamp: buys at 101
            (1, 102, 102, 0),  # decides to sell
            (2, 103, 103, 0),  # sells at 103
        ),
        fills=((2, 1, 101), (4, -1, 103)),
        trips=((1, 2, 2),),
        equity=(1000, 1000, 1000, 1001, 1002),
        row={"holding_ns": SECOND},
    ),
    Market(
        name="latency with several orders in flight",
        costs=replace(FREE, latency=2 * SECOND),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),  # order to 1, due at second 3
            (2, 101, 101, 2),  # order to 2, due at 4
            (2, 102, 102, -1),  # same stamp: order to -1, due at 4
            (3, 103, 103, -1),  # exactly due: buys 1 at 103, cash 897
            (4, 104, 104, -1),  # two due, in order: buys 1, then sells 3, at 104
            #                     cash 897 - 104 + 312 = 1105, - 104 = 1001
            (5, 104, 104, -1),
            (6, 100, 100, 0),  # 1105 - 100 = 1005; order to 0, due at 8
            (7, 100, 100, 0),
            (9, 98, 98, 0),  # the first tick at or after 8: buys 1 at 98, cash 1007
        ),
        fills=((4, 1, 103), (5, 1, 104), (5, -3, 104), (9, 1, 98)),
        trips=((3, 4, 1), (4, 9, 6)),  # -103 - 104 + 2 x 104; 104 - 98
        equity=(1000, 1000, 1000, 1000, 1000, 1001, 1001, 1005, 1005, 1007),
    ),
    Market(
        name="an order and its withdrawal filled at one tick",
        costs=replace(FREE, latency=SECOND),
        rows=(
            (0, 99, 101, 0),
            (1.0, 99, 101, 1),  # due at 2
            (1.5, 99, 101, 0),  # due at 2.5
            (3, 100, 102, 0),  # both: buys at 102, sells at 100
            (4, 100, 102, 0),
        ),
        fills=((3, 1, 102), (3, -1, 100)),
        trips=((3, 3, -2),),
        equity=(1000, 1000, 1000, 998, 998),
        row={"holding_ns": 0, "losses": 1},
        metrics={"profit_factor": 0, "win_rate": 0, "exposure": 0, "mean_holding_time": 0},
    ),
    Market(
        name="slippage worsens both sides, and a trip of nothing neither wins nor loses",
        costs=replace(FREE, slippage=0.5),
        rows=(
            (0, 99, 101, 0),
            (1, 99, 101, 1),
            (2, 100, 102, 1),  # buys at 102.5: cash 897.5, + 101 = 998.5
            (3, 104, 106, 0),  # 897.5 + 105 = 1002.5
            (4, 103, 105, 0),  # sells at 102.5: cash 1000
        ),
        fills=((2, 1, 102.5), (4, -1, 102.5)),
        trips=((2, 4, 0),),
        equity=(1000, 1000, 998.5, 1002.5, 1000),
        row={"trades": 1, "wins": 0, "losses": 0, "slippage": 1, "spread": 2},
        metrics={"expectancy": 0, "win_rate": 0, "profit_factor": NAN, "costs": 3},
    ),
    Market(
        name="commission on notional",
        costs=replace(FREE, commission_rate=0.01),
        account=replace(PLAIN, capital=10_000.0, contract_size=10.0),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 2),
            (2, 100, 100, 0),  # buys 2 x 10 at 100 = 2000, commission 20: equity 9980
            (3, 110, 110, 0),  # sells 2 x 10 at 110 = 2200, commission 22: cash 10158
        ),
        fills=((2, 2, 100), (3, -2, 110)),
        trips=((2, 3, 158),),
        equity=(10_000, 10_000, 9_980, 10_158),
        row={"commission": 42, "turnover": 4_200},
        metrics={"turnover": 0.42},
    ),
    Market(
        name="commission per unit counts contracts, not units of the instrument",
        costs=replace(FREE, commission_per_unit=3.0),
        account=replace(PLAIN, capital=10_000.0, contract_size=10.0),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 2),
            (2, 100, 100, 0),  # 2 contracts: commission 6
            (3, 110, 110, 0),  # again 6: 200 - 12
        ),
        fills=((2, 2, 100), (3, -2, 110)),
        trips=((2, 3, 188),),
        equity=(10_000, 10_000, 9_994, 10_188),
        row={"commission": 12},
    ),
    Market(
        name="commission per fill does not ask for the size",
        costs=replace(FREE, commission_per_fill=5.0),
        account=replace(PLAIN, capital=10_000.0, contract_size=10.0),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 2),
            (2, 100, 100, 0),
            (3, 110, 110, 0),  # 200 - 10
        ),
        fills=((2, 2, 100), (3, -2, 110)),
        trips=((2, 3, 190),),
        equity=(10_000, 10_000, 9_995, 10_190),
        row={"commission": 10},
    ),
    Market(
        name="an open position is closed at the end, at the bid and with its costs",
        costs=replace(FREE, commission_per_fill=1.0),
        rows=(
            (0, 99, 101, 0),
            (1, 99, 101, 1),
            (2, 99, 101, 1),  # buys at 101: cash 898, + 100 = 998
            (3, 101, 103, 1),  # 898 + 102 = 1000, then sold at 101: 898 + 101 - 1 = 998
        ),
        fills=((2, 1, 101), (3, -1, 101)),
        trips=((2, 3, -2),),
        equity=(1000, 1000, 998, 998),
        row={
            "high": 1000,
            "low": 998,
            "drawdown": 0.002,
            "drawdown_ns": 2 * SECOND,  # from second 1 to the mark of 1000 at second 3
            "drawdown_open": 1,  # which the closing leaves again
            "periods": 1,
            "sum_r": -0.002,  # the period's return is taken after the closing
            "sum_down2": 0.002**2,
            "drawdown_cash": 2,
        },
        metrics={
            "sortino": -2,  # -0.002 / 0.002 x sqrt(4)
            "calmar": (0.998**4 - 1) / 0.002,
            "exposure": 1 / 3,
        },
    ),
    Market(
        name="an open short is closed at the ask plus slippage",
        costs=replace(FREE, slippage=0.25),
        rows=(
            (0, 100, 101, 0),
            (1, 100, 101, -1),
            (2, 100, 101, -1),  # sells at 99.75: cash 1099.75, - 100.5 = 999.25
            (3, 90, 91, -1),  # bought at 91.25: cash 1008.5
        ),
        fills=((2, -1, 99.75), (3, 1, 91.25)),
        trips=((2, 3, 8.5),),
        equity=(1000, 1000, 999.25, 1008.5),
        row={
            "high": 1009.25,  # as marked at second 3, before the closing: 1099.75 - 90.5
            "drawdown_cash": 0.75,  # of the closing, and of second 2 before
            "drawdown": 0.00075,
        },
    ),
    Market(
        name="an order of the last tick is never filled",
        rows=((0, 100, 100, 0), (1, 100, 100, 0), (2, 100, 100, 1)),
        fills=(),
        trips=(),
        equity=(1000, 1000, 1000),
        row={"drawdown": 0, "drawdown_ns": 0, "drawdown_open": 0, "periods": 1, "sum_r": 0},
        metrics={
            "net_profit": 0,
            "max_drawdown": 0,
            "trades": 0,
            "win_rate": NAN,
            "profit_factor": NAN,
            "expectancy": NAN,
            "sqn": NAN,
            "mean_holding_time": NAN,
            "calmar": NAN,
            "sortino": NAN,
            "sharpe": NAN,
        },
    ),
    Market(
        name="orders still in flight at the end are dropped",
        costs=replace(FREE, latency=2 * SECOND),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),  # due at 3
            (3, 100, 100, -1),  # bought at 100; the reversal would be due at 5
            (4, 107, 107, -1),  # closed at 107 instead
        ),
        fills=((2, 1, 100), (3, -1, 107)),
        trips=((3, 4, 7),),
        equity=(1000, 1000, 1000, 1007),
    ),
    Market(
        name="orders are muted in a warm-up without room in front",
        wait=3,
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),  # muted
            (2, 101, 101, 1),  # muted
            (3, 102, 102, 1),  # the first order that counts
            (4, 103, 103, 1),  # buys at 103
            (5, 105, 105, 1),  # closed at 105
        ),
        fills=((4, 1, 103), (5, -1, 105)),
        trips=((4, 5, 2),),
        equity=(1000, 1000, 1000, 1000, 1000, 1002),
        row={"ticks": 6, "first_ts": 0},
    ),
    Market(
        name="a warm-up in front of the range lets its first tick decide",
        wait=3,
        begin=3,
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),  # before the range: nothing counts
            (2, 101, 101, -1),
            (3, 102, 102, 1),  # the range's first tick decides
            (4, 103, 103, 1),  # buys at 103
            (5, 105, 105, 1),  # closed at 105
        ),
        fills=((4, 1, 103), (5, -1, 105)),
        trips=((4, 5, 2),),
        equity=(1000, 1000, 1002),
        row={"ticks": 3, "first_ts": 3 * SECOND},
        metrics={"exposure": 0.5},
    ),
    Market(
        name="a warm-up cut short by the beginning of the ticks mutes into the range",
        wait=3,
        begin=1,
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),  # muted: one tick of three
            (2, 101, 101, 1),  # muted: two
            (3, 102, 102, 1),  # counts
            (4, 103, 103, 1),  # buys at 103
            (5, 105, 105, 1),
        ),
        fills=((4, 1, 103), (5, -1, 105)),
        trips=((4, 5, 2),),
        equity=(1000, 1000, 1000, 1000, 1002),
        row={"ticks": 5},
    ),
    Market(
        name="a long marked at its closing price",
        costs=replace(FREE, mark="close"),
        rows=(
            (0, 99, 101, 0),
            (1, 99, 101, 1),
            (2, 100, 102, 1),  # buys at 102: cash 898, + bid 100 = 998
            (3, 104, 106, 0),  # 898 + 104 = 1002
            (4, 103, 105, 0),  # sells at 103: 1001
        ),
        fills=((2, 1, 102), (4, -1, 103)),
        trips=((2, 4, 1),),
        equity=(1000, 1000, 998, 1002, 1001),
        row={"drawdown": 0.002, "drawdown_cash": 2, "low": 998},
    ),
    Market(
        name="a short marked at its closing price",
        costs=replace(FREE, mark="close"),
        rows=(
            (0, 99, 101, 0),
            (1, 99, 101, -1),
            (2, 100, 102, -1),  # sells at 100: cash 1100, - ask 102 = 998
            (3, 95, 97, -1),  # 1100 - 97 = 1003, and closing costs no more
        ),
        fills=((2, -1, 100), (3, 1, 97)),
        trips=((2, 3, 3),),
        equity=(1000, 1000, 998, 1003),
    ),
    Market(
        name="an account that is ruined and comes back stays ruined",
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 20),
            (2, 100, 100, 20),  # buys 20 at 100: cash -1000
            (3, 40, 40, 20),  # -1000 + 800 = -200
            (4, 110, 110, 20),  # -1000 + 2200 = 1200, closed at 110
        ),
        fills=((2, 20, 100), (4, -20, 110)),
        trips=((2, 4, 200),),
        equity=(1000, 1000, 1000, -200, 1200),
        row={
            "status": STATUS_RUINED,
            "tick": 3,
            "low": -200,
            "drawdown": 1.2,
            "drawdown_cash": 1200,
            "drawdown_ns": 2 * SECOND,
        },
        metrics={
            "net_profit": 200,
            "sharpe": NAN,
            "sortino": NAN,
            "calmar": NAN,
            "max_drawdown": 1.2,
        },
    ),
    Market(
        name="an account that the closing ruins",
        account=replace(PLAIN, capital=100.0),
        rows=(
            (0, 99, 101, 0),
            (1, 99, 101, 10),
            (2, 99, 101, 10),  # buys 10 at 101: cash -910, + 1000 = 90
            (3, 90, 94, 10),  # -910 + 920 = 10; closed at 90: -10
        ),
        fills=((2, 10, 101), (3, -10, 90)),
        trips=((2, 3, -110),),
        equity=(100, 100, 90, -10),
        row={"status": STATUS_RUINED, "tick": 3, "low": -10, "drawdown": 1.1},
    ),
    Market(
        name="clock periods without ticks give no return",
        account=replace(PLAIN, clock=10 * SECOND, periods_per_year=9.0),
        rows=(
            (1, 100, 100, 0),
            (4, 100, 100, 1),
            (12, 100, 100, 1),  # a new period: the first closes at 1000, return 0
            #                     buys at 100: cash 900
            (15, 110, 110, 1),  # 1010
            (47, 120, 120, 1),  # the second period closed at 1010: +1 %. Now 1020
            (48, 118, 118, 0),  # 1018
            (49, 130.2, 130.2, 0),  # sells at 130.2: 1030.2; the last period: +2 %
        ),
        fills=((2, 1, 100), (6, -1, 130.2)),
        trips=((12, 49, 30.2),),
        equity=(1000, 1000, 1000, 1010, 1020, 1018, 1030.2),
        row={
            "periods": 3,  # bins 0, 1 and 4; none for 2 and 3
            "sum_r": 0.03,
            "sum_r2": 0.0005,
            "sum_r3": 0.000009,
            "sum_r4": 0.00000017,
            "sum_down2": 0,
            "sum_lag": 0.0002,  # 0 x 0.01 + 0.01 x 0.02
            "first_r": 0,
            "last_r": 0.02,
        },
        metrics={
            "sharpe": 3,  # mean 0.01, deviation 0.01, sqrt(9)
            "sortino": NAN,
            "calmar": (1.0302**3 - 1) / (2 / 1020),
            "exposure": 37 / 48,
        },
    ),
    Market(
        name="clock periods begin at multiples of the clock, not at the first tick",
        account=replace(PLAIN, clock=10 * SECOND),
        rows=(
            (8, 100, 100, 0),
            (9, 100, 100, 1),  # end of the first period: 1000
            (10, 100, 100, 1),  # second period: buys at 100
            (19, 90, 90, 1),  # its last tick: 990
            (20, 99, 99, 1),  # third period: 999, closed
        ),
        fills=((2, 1, 100), (4, -1, 99)),
        trips=((10, 20, -1),),
        equity=(1000, 1000, 1000, 990, 999),
        row={"periods": 3, "first_r": 0, "last_r": 9 / 990, "sum_down2": 0.0001},
        # Returns 0, -0.01, 1/110: downside sqrt(0.0001 / 3), four periods a year.
        metrics={"sortino": (-0.01 + 1 / 110) / 3 / math.sqrt(0.0001 / 3) * 2},
    ),
    Market(
        name="a half-spread around trades",
        costs=replace(FREE, half_spread=0.5),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (2, 101, 101, 0),  # buys at 101.5: cash 898.5, + 101 = 999.5
            (3, 104, 104, 0),  # sells at 103.5: 1002
        ),
        fills=((2, 1, 101.5), (3, -1, 103.5)),
        trips=((2, 3, 2),),
        equity=(1000, 1000, 999.5, 1002),
        row={"spread": 1},
    ),
    Market(
        name="crossed quotes earn the spread instead of paying it",
        rows=(
            (0, 100, 100, 0),
            (1, 101, 99, 1),
            (2, 101, 99, 0),  # buys at 99: cash 901, + 100 = 1001
            (3, 101, 99, 0),  # sells at 101: 1002
        ),
        fills=((2, 1, 99), (3, -1, 101)),
        trips=((2, 3, 2),),
        equity=(1000, 1000, 1001, 1002),
        row={"spread": -2},
        metrics={"costs": -2},
    ),
    Market(
        name="a drawdown that is only just made good is over",
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (2, 100, 100, 1),  # 1000: the last tick of the high
            (5, 97, 97, 1),  # 997
            (9, 100, 100, 1),  # 1000 again: recovered after 7 seconds
            (10, 99, 99, 1),  # 999
            (12, 101, 101, 0),  # 1001: 3 seconds after the high of second 9
            (13, 101, 101, 0),
        ),
        fills=((2, 1, 100), (7, -1, 101)),
        trips=((2, 13, 1),),
        equity=(1000, 1000, 1000, 997, 1000, 999, 1001, 1001),
        row={
            "drawdown_ns": 7 * SECOND,
            "drawdown_open": 0,
            "drawdown_cash": 3,
            "drawdown": 0.003,
        },
        metrics={"max_drawdown_time": 7},
    ),
    Market(
        name="the relative and the cash drawdown may lie in different places",
        account=replace(PLAIN, capital=100.0),
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (2, 100, 100, 1),  # buys at 100: cash 0
            (3, 80, 80, 1),  # 20 of 100: 20 %
            (4, 300, 300, 1),
            (5, 270, 270, 1),  # 30 of 300: 10 %
        ),
        fills=((2, 1, 100), (5, -1, 270)),
        trips=((2, 5, 170),),
        equity=(100, 100, 100, 80, 300, 270),
        row={"drawdown": 0.2, "drawdown_cash": 30, "high": 300, "low": 80},
    ),
    Market(
        name="a target that is no number stops the run",
        rows=(
            (0, 100, 100, 0),
            (1, 100, 100, 1),
            (2, 100, 100, 1),
            (3, 100, 100, NAN),
            (4, 100, 100, 0),
        ),
        fills=((2, 1, 100),),
        trips=(),
        equity=(1000, 1000, 1000, 1000),
        row={"status": STATUS_BAD_ORDER, "tick": 3},
    ),
    Market(
        name="a target of nothing in the warm-up is muted like any other",
        wait=2,
        rows=((0, 100, 100, 0), (1, 100, 100, NAN), (2, 100, 100, 1), (3, 100, 100, 1)),
        fills=((3, 1, 100), (3, -1, 100)),
        trips=((3, 3, 0),),
        equity=(1000, 1000, 1000, 1000),
        row={"status": STATUS_OK},
    ),
)
