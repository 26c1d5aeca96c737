"""NautilusTrader on quote ticks, with its own averages and market orders.

An order is sent one tick after its decision, since it is filled at the quote that
triggered it. The account's currency has 16 decimals, so that fees are not rounded to
cents. Its analysis after the run is off.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.currencies import XAU
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import (
    AccountType,
    CurrencyType,
    OmsType,
    OrderSide,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

PACKAGES = ("nautilus_trader",)
ACCOUNTING = "order book, orders, positions, margin account"
MOST = 2_000_000

_VENUE = Venue("SIM")
_ID = InstrumentId(Symbol("TICK"), _VENUE)
_CASH_CURRENCY = Currency("CSH", 16, 0, "CSH", CurrencyType.FIAT)

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Make quote ticks, a microsecond apart; each variant gets an engine of its own."""
    instrument = _instrument(terms["decimals"], terms["rate"])
    cash = int(terms["cash"])
    n = len(bid)
    size = np.full(n, 1_000.0)
    stamps = (1_398_902_400_000_000_000 + 1_000 * np.arange(n)).astype(np.uint64)
    digits = terms["decimals"]
    ticks = QuoteTick.from_raw_arrays_to_list(
        _ID, digits, 0, bid.copy(), ask.copy(), size, size, stamps, stamps
    )
    engines: list[Any] = []

    def begin() -> Callable[[], Rows]:
        while engines:
            engines.pop().dispose()
        strategies = [Crossover(instrument, fast, slow, n) for fast, slow in pairs]
        engines.extend(_engine(instrument, ticks, strategy, cash) for strategy in strategies)

        def run() -> Rows:
            rows = []
            for engine, strategy in zip(engines, strategies, strict=True):
                engine.run()
                account = engine.kernel.cache.account_for_venue(_VENUE)
                profit = float(account.balance_total(_CASH_CURRENCY).as_decimal() - cash)
                rows.append((profit, strategy.fills, strategy.fees))
            return rows

        return run

    return begin


class Crossover(Strategy):  # type: ignore[misc]
    """The strategy; it counts its own fills and fees."""

    def __init__(self, instrument: Any, fast: float, slow: float, n: int) -> None:
        super().__init__()
        self.instrument = instrument
        self.quick = ExponentialMovingAverage(int(fast))
        self.calm = ExponentialMovingAverage(int(slow))
        self.left = n
        self.started = False
        self.target = 0
        self.held = 0
        self.fills = 0
        self.fees = 0.0

    def on_start(self) -> None:
        """Ask for quotes."""
        self.subscribe_quote_ticks(_ID)

    def on_quote_tick(self, tick: Any) -> None:
        """Send what the tick before decided, then decide."""
        if self.target != self.held:
            self.send(self.target - self.held)
            self.held = self.target
        self.left -= 1
        if self.left == 0:
            self.send(-self.held)
            return
        mid = 0.5 * (tick.bid_price.as_double() + tick.ask_price.as_double())
        self.quick.update_raw(mid)
        self.calm.update_raw(mid)
        if self.started:
            self.target = 1 if self.quick.value > self.calm.value else -1
        self.started = True

    def send(self, units: int) -> None:
        """Buy, or sell if negative."""
        side = OrderSide.BUY if units > 0 else OrderSide.SELL
        if units:
            self.submit_order(self.order_factory.market(_ID, side, Quantity.from_int(abs(units))))

    def on_order_filled(self, event: Any) -> None:
        """Count."""
        self.fills += 1
        self.fees += event.commission.as_double()


def _instrument(decimals: int, rate: float) -> Any:
    step = Decimal(1).scaleb(-decimals)
    return CurrencyPair(
        _ID,
        _ID.symbol,
        XAU,
        _CASH_CURRENCY,
        decimals,
        0,
        Price(step, decimals),
        Quantity.from_int(1),
        0,
        0,
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=Decimal(str(rate)),
        taker_fee=Decimal(str(rate)),
    )


def _engine(instrument: Any, ticks: Any, strategy: Any, cash: int) -> Any:
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        _VENUE,
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(cash, _CASH_CURRENCY)],
        base_currency=_CASH_CURRENCY,
    )
    engine.add_instrument(instrument)
    engine.add_data(ticks, sort=False)
    engine.add_strategy(strategy)
    return engine
