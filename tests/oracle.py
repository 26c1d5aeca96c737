"""A slow simulator, written from the rules of fills and metrics alone.

It shares no code and no method with the compiled one. It keeps real lists - orders, fills,
round trips, the equity at every tick, the returns of the clock - and works every figure
out from those lists when the run is over, by the formula that a textbook prints. The
compiled loop keeps running sums; that two so different ways agree is the evidence that
both follow the rules of docs/conventions.md.
"""

from __future__ import annotations

import inspect
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from sweep.schema import (
    STATUS_BAD_ORDER,
    STATUS_OK,
    STATUS_RUINED,
    Account,
    Costs,
    Tick,
    Ticks,
)
from sweep.strategy.declare import AccountState


@dataclass(frozen=True)
class Order:
    target: float
    decided: int  # tick
    due: int  # nanoseconds


@dataclass(frozen=True)
class Fill:
    tick: int
    ts: int
    before: float  # position
    after: float
    price: float
    spread: float  # ask - bid of the tick
    commission: float

    @property
    def delta(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Part:
    """What one round trip takes of a fill: a reversal has a part in two of them."""

    fill: Fill
    quantity: float  # signed

    def cash(self, contract_size: float) -> float:
        """Cash that comes in (positive) or goes out, the part's share of commission included."""
        share = abs(self.quantity) / abs(self.fill.delta)
        return -self.quantity * self.fill.price * contract_size - share * self.fill.commission


@dataclass
class Trip:
    parts: list[Part] = field(default_factory=list)
    closed: bool = False

    def profit(self, contract_size: float) -> float:
        return math.fsum(part.cash(contract_size) for part in self.parts)

    @property
    def opened_ts(self) -> int:
        return self.parts[0].fill.ts

    @property
    def closed_ts(self) -> int:
        return self.parts[-1].fill.ts

    def entry_price(self) -> float:
        """Average cost: an increase averages in, a decrease leaves the average alone."""
        held = average = 0.0
        for part in self.parts:
            if held == 0.0 or held * part.quantity > 0.0:
                average = (abs(held) * average + abs(part.quantity) * part.fill.price) / (
                    abs(held) + abs(part.quantity)
                )
            held += part.quantity
        return average


@dataclass(frozen=True)
class Point:
    """Equity as marked at a tick; the close-out at the end is a second mark of the last one."""

    tick: int
    ts: int
    equity: float


@dataclass
class Simulation:
    """The lists that a run leaves behind."""

    costs: Costs
    account: Account
    first_ts: int
    last_ts: int
    n_ticks: int
    orders: list[Order] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    cash: float = 0.0
    bad_order: int | None = None  # tick

    # -- while it runs -------------------------------------------------------------------

    def position(self) -> float:
        return self.fills[-1].after if self.fills else 0.0

    def cash_after_fills(self) -> float:
        size = self.account.contract_size
        flows = [-fill.delta * fill.price * size - fill.commission for fill in self.fills]
        return math.fsum([self.account.capital, *flows])

    def fill(self, tick: int, quote: Tick, target: float) -> None:
        before = self.position()
        delta = target - before
        if delta == 0.0:
            return
        if delta > 0.0:
            price = quote.ask + self.costs.slippage
        else:
            price = quote.bid - self.costs.slippage
        notional = abs(delta) * price * self.account.contract_size
        commission = math.fsum(
            [
                self.costs.commission_rate * notional,
                self.costs.commission_per_unit * abs(delta),
                self.costs.commission_per_fill,
            ]
        )
        fill = Fill(tick, quote.ts, before, target, price, quote.ask - quote.bid, commission)
        self.fills.append(fill)
        self.cash = self.cash_after_fills()
        if before == 0.0:
            self.trips.append(Trip([Part(fill, delta)]))
        elif before * target < 0.0:
            self.trips[-1].parts.append(Part(fill, -before))
            self.trips[-1].closed = True
            self.trips.append(Trip([Part(fill, target)]))
        else:
            self.trips[-1].parts.append(Part(fill, delta))
            self.trips[-1].closed = target == 0.0

    def mark(self, tick: int, quote: Tick) -> float:
        position = self.position()
        if self.costs.mark == "mid":
            price = (quote.bid + quote.ask) / 2.0
        else:
            price = quote.bid if position > 0.0 else quote.ask
        held = position * price * self.account.contract_size if position else 0.0
        equity = self.cash + held
        self.points.append(Point(tick, quote.ts, equity))
        return equity

    # -- when it is over -----------------------------------------------------------------

    def closed(self) -> list[Trip]:
        return [trip for trip in self.trips if trip.closed]

    def profits(self) -> list[float]:
        return [trip.profit(self.account.contract_size) for trip in self.closed()]

    def clock_returns(self) -> list[float]:
        """Equity at the last mark in each clock bin, against that of the bin before."""
        bins = itertools.groupby(self.points, key=lambda point: point.ts // self.account.clock)
        closes = [list(points)[-1].equity for _, points in bins]
        return [
            now / before - 1.0 if before > 0.0 else math.nan
            for before, now in itertools.pairwise([self.account.capital, *closes])
        ]

    def highs(self) -> list[float]:
        """Highest equity up to each mark, the capital being the first high."""
        equities = (point.equity for point in self.points)
        return list(itertools.accumulate(equities, max, initial=self.account.capital))[1:]

    def drawdown_spells(self) -> list[tuple[int, bool]]:
        """(length in nanoseconds, still open) of every stretch below a high."""
        spells = []
        high, high_ts, below = self.account.capital, self.first_ts, False
        for point in self.points:
            if point.equity >= high:
                if below:
                    spells.append((point.ts - high_ts, False))
                high, high_ts, below = point.equity, point.ts, False
            else:
                below = True
        if below:
            spells.append((self.last_ts - high_ts, True))
        return spells

    def ruined(self) -> int | None:
        return next((point.tick for point in self.points if point.equity <= 0.0), None)


def simulate(
    ticks: Ticks,
    module: ModuleType,
    values: dict[str, Any],
    costs: Costs,
    account: Account,
    *,
    begin: int = 0,
    end: int | None = None,
    warmup: int | None = None,
    arrivals: Sequence[int] | None = None,
    shares: Sequence[float] | None = None,
) -> Simulation:
    """Run a strategy's plain functions over ``ticks[begin:end]``.

    The warm-up may reach back to tick ``warmup`` (``begin``, if not given). An order of tick
    i arrives at ``arrivals[i]``, instead of after the latency; of one that is filled at tick
    i, ``shares[i]`` of the change is.
    """
    end = len(ticks.ts) if end is None else end
    params = module.Params(**values)
    needed = int(module.warmup(params)) if hasattr(module, "warmup") else 0
    origin = max(begin if warmup is None else warmup, begin - needed)
    quotes = quotes_between(ticks, origin, end, costs.half_spread)
    given: dict[str, Any] = {"params": params}
    if hasattr(module, "constants"):
        given["constants"] = module.constants(params)
    rows = feature_rows(module, params, ticks.between(origin, end))

    run = Simulation(costs, account, quotes[begin - origin].ts, quotes[-1].ts, end - begin)
    run.cash = account.capital
    pending: list[Order] = []
    ordered = 0.0
    equity = account.capital
    for i in range(origin, end):
        quote = quotes[i - origin]
        if i >= begin:
            due = [order for order in pending if order.due <= quote.ts]
            pending = [order for order in pending if order.due > quote.ts]
            for order in due:
                target = order.target
                if shares is not None and shares[i] < 1.0:
                    target = run.position() + shares[i] * (target - run.position())
                run.fill(i, quote, target)
            equity = run.mark(i, quote)
        given["tick"] = quote
        if rows is not None:
            given["features"] = rows[i - origin]
        if i == origin:
            state = call(module.start, given)
            continue
        given["state"] = state
        given["account"] = account_state(run, equity)
        state, target = call(module.step, given)
        if i - origin < needed or i < begin:
            target = 0.0
        if not math.isfinite(target):
            run.bad_order = i
            return run
        if target != ordered:
            ordered = float(target)
            due_at = quote.ts + costs.latency if arrivals is None else int(arrivals[i])
            order = Order(ordered, i, due_at)
            run.orders.append(order)
            pending.append(order)
    if run.position() != 0.0:
        run.fill(end - 1, quotes[-1], 0.0)
        run.mark(end - 1, quotes[-1])
    return run


def quotes_between(ticks: Ticks, begin: int, end: int, half_spread: float) -> list[Tick]:
    """The quotes as a strategy and a fill see them, in plain Python numbers."""
    nothing = [math.nan] * len(ticks.ts)
    bid_sizes = ticks.bid_size.tolist() or nothing
    ask_sizes = ticks.ask_size.tolist() or nothing
    quotes = []
    for i in range(begin, end):
        bid = float(ticks.bid[i]) - half_spread
        ask = float(ticks.ask[i]) + half_spread
        quotes.append(
            Tick(
                int(ticks.ts[i]), bid, ask, 0.5 * (bid + ask), ask - bid, bid_sizes[i], ask_sizes[i]
            )
        )
    return quotes


def feature_rows(module: ModuleType, params: Any, ticks: Ticks) -> list[Any] | None:
    """The features as one tuple of plain numbers for each tick."""
    if not hasattr(module, "features"):
        return None
    columns = call(module.features, {"ticks": ticks, "params": params})
    lists = [column.tolist() for column in columns]
    return [type(columns)(*row) for row in zip(*lists, strict=True)]


def call(function: Any, given: dict[str, Any]) -> Any:
    """Call a strategy's function with those arguments that it names."""
    return function(**{name: given[name] for name in inspect.signature(function).parameters})


def account_state(run: Simulation, equity: float) -> AccountState:
    position = run.position()
    if position == 0.0:
        return AccountState(0.0, 0.0, 0, equity)
    trip = run.trips[-1]
    return AccountState(position, trip.entry_price(), trip.opened_ts, equity)


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def metrics(run: Simulation) -> dict[str, float]:
    """Every metric by its textbook formula; NaN where it is undefined."""
    account = run.account
    capital, size, year = account.capital, account.contract_size, account.periods_per_year
    final = run.points[-1].equity
    growth = final / capital
    highs = run.highs()
    falls = [(high - p.equity, high) for high, p in zip(highs, run.points, strict=True)]
    max_drawdown = max(fall / high for fall, high in falls)
    profits = run.profits()
    holding = sum(trip.closed_ts - trip.opened_ts for trip in run.closed()) / 1e9
    gains = math.fsum(p for p in profits if p > 0.0)
    losses = -math.fsum(p for p in profits if p < 0.0)
    commission = math.fsum(fill.commission for fill in run.fills)
    slippage = math.fsum(abs(fill.delta) * run.costs.slippage * size for fill in run.fills)
    spread = math.fsum(abs(fill.delta) * fill.spread / 2.0 * size for fill in run.fills)
    turnover = math.fsum(abs(fill.delta) * fill.price * size for fill in run.fills)
    span = (run.last_ts - run.first_ts) / 1e9
    n = len(profits)
    return {
        "net_profit": final - capital,
        "total_return": math.nan if run.ruined() is not None else growth - 1.0,
        **return_metrics(run, growth, max_drawdown, year),
        "max_drawdown": max_drawdown,
        "max_drawdown_cash": max(fall for fall, _ in falls),
        "max_drawdown_time": max((ns for ns, _ in run.drawdown_spells()), default=0) / 1e9,
        "profit_factor": ratio(gains, losses),
        "expectancy": ratio(math.fsum(profits), n),
        "win_rate": ratio(sum(p > 0.0 for p in profits), n),
        "sqn": (
            math.sqrt(n) * ratio(statistics.fmean(profits), statistics.stdev(profits))
            if n > 1
            else math.nan
        ),
        "trades": float(n),
        "mean_holding_time": ratio(holding, n),
        "exposure": ratio(holding, span),
        "turnover": turnover / capital,
        "commission": commission,
        "slippage": slippage,
        "spread_cost": spread,
        "costs": math.fsum([commission, slippage, spread]),
        "fills": float(len(run.fills)),
        "final_equity": final,
    }


def return_metrics(
    run: Simulation, growth: float, max_drawdown: float, year: float
) -> dict[str, float]:
    """The ratios of clock returns; undefined for a ruined account."""
    undefined = dict.fromkeys(("sharpe", "sortino", "calmar"), math.nan)
    returns = run.clock_returns()
    if run.ruined() is not None or len(returns) < 1:
        return undefined
    mean = statistics.fmean(returns)
    downside = math.sqrt(math.fsum(min(r, 0.0) ** 2 for r in returns) / len(returns))
    deviation = statistics.stdev(returns) if len(returns) > 1 else math.nan
    return {
        "sharpe": ratio(mean, deviation) * math.sqrt(year),
        "sortino": ratio(mean, downside) * math.sqrt(year),
        "calmar": ratio(yearly(growth, year / len(returns)), max_drawdown),
    }


def yearly(growth: float, periods_share: float) -> float:
    """Growth of a year less 1; NaN where compounding leaves the range of a float."""
    try:
        return growth**periods_share - 1.0
    except OverflowError:
        return math.nan


def row(run: Simulation) -> dict[str, float]:
    """The fields of a result row, worked out from the lists.

    ``first_r`` and ``last_r`` are left out where no return exists.
    """
    account = run.account
    capital, size = account.capital, account.contract_size
    equities = [point.equity for point in run.points]
    highs = run.highs()
    returns = run.clock_returns()
    profits = run.profits()
    spells = run.drawdown_spells()
    ruined = run.ruined()
    status, tick = STATUS_OK, -1
    if run.bad_order is not None:
        status, tick = STATUS_BAD_ORDER, run.bad_order
    elif ruined is not None:
        status, tick = STATUS_RUINED, ruined
    values: dict[str, float] = {
        "status": status,
        "tick": tick,
        "ticks": run.n_ticks,
        "first_ts": run.first_ts,
        "last_ts": run.last_ts,
        "span_ns": run.last_ts - run.first_ts,
        "capital": capital,
        "equity": equities[-1],
        "high": max(highs),
        "low": min([capital, *equities]),
        "growth": equities[-1] / capital,
        "growth_high": max(highs) / capital,
        "growth_low": min([capital, *equities]) / capital,
        "drawdown": max((h - e) / h for h, e in zip(highs, equities, strict=True)),
        "drawdown_cash": max(h - e for h, e in zip(highs, equities, strict=True)),
        "drawdown_ns": max((ns for ns, _ in spells), default=0),
        "drawdown_open": int(any(still_open for _, still_open in spells)),
        "periods": len(returns),
        "sum_r": math.fsum(returns),
        "sum_r2": math.fsum(r**2 for r in returns),
        "sum_r3": math.fsum(r**3 for r in returns),
        "sum_r4": math.fsum(r**4 for r in returns),
        "sum_down2": math.fsum(min(r, 0.0) ** 2 for r in returns),
        "sum_lag": math.fsum(a * b for a, b in itertools.pairwise(returns)),
        "fills": len(run.fills),
        "trades": len(profits),
        "wins": sum(p > 0.0 for p in profits),
        "losses": sum(p < 0.0 for p in profits),
        "gross_profit": math.fsum(p for p in profits if p > 0.0),
        "gross_loss": -math.fsum(p for p in profits if p < 0.0),
        "sum_trade2": math.fsum(p * p for p in profits),
        "holding_ns": sum(trip.closed_ts - trip.opened_ts for trip in run.closed()),
        "turnover": math.fsum(abs(fill.delta) * fill.price * size for fill in run.fills),
        "commission": math.fsum(fill.commission for fill in run.fills),
        "slippage": math.fsum(abs(f.delta) * run.costs.slippage * size for f in run.fills),
        "spread": math.fsum(abs(f.delta) * f.spread / 2.0 * size for f in run.fills),
    }
    if returns:
        values |= {"first_r": returns[0], "last_r": returns[-1]}
    return values
