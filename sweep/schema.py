"""Every record that crosses a border: ticks, costs, slices, rows, tasks.

Plain frozen dataclasses, named tuples and NumPy dtypes, without behaviour beyond what
their fields imply. Times are int64 nanoseconds since the epoch, UTC; durations int64
nanoseconds; prices and cash float64 in the quote currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ROW",
    "STATUS_BAD_ORDER",
    "STATUS_ERROR",
    "STATUS_OK",
    "STATUS_RUINED",
    "Account",
    "Costs",
    "FloatArray1D",
    "FloatArray2D",
    "IntArray1D",
    "IntArray2D",
    "Rows",
    "Slice",
    "Tick",
    "TickHandle",
    "Ticks",
]

FloatArray1D = NDArray[np.float64]
FloatArray2D = NDArray[np.float64]
IntArray1D = NDArray[np.int64]
IntArray2D = NDArray[np.int64]
Rows = NDArray[np.void]


class Tick(NamedTuple):
    """One quote, as a strategy's ``start`` and ``step`` see it.

    Attributes
    ----------
    ts : int
        Nanoseconds since the epoch, UTC.
    bid, ask, mid, spread : float
        Prices; ``mid = 0.5 * (bid + ask)``, ``spread = ask - bid``. For trades the
        study's half-spread is already taken off the bid and put on the ask.
    bid_size, ask_size : float
        Sizes where the source has them. A strategy that reads them is refused on
        ticks that lack them.
    """

    ts: int
    bid: float
    ask: float
    mid: float
    spread: float
    bid_size: float
    ask_size: float


class Ticks(NamedTuple):
    """A tick series: columns of equal length, read-only.

    Attributes
    ----------
    ts : ndarray of shape (n_ticks,), int64
        Nanoseconds since the epoch, UTC, never decreasing.
    bid, ask : ndarray of shape (n_ticks,), float64
        Equal to each other for trades.
    bid_size, ask_size : ndarray of shape (n_ticks,) or (0,), float64
        Empty where the source has no sizes.
    """

    ts: IntArray1D
    bid: FloatArray1D
    ask: FloatArray1D
    bid_size: FloatArray1D
    ask_size: FloatArray1D

    @property
    def mid(self) -> FloatArray1D:
        """Middle of bid and ask, ndarray of shape (n_ticks,), float64."""
        return 0.5 * (self.bid + self.ask)

    @property
    def spread(self) -> FloatArray1D:
        """Ask minus bid, ndarray of shape (n_ticks,), float64."""
        return self.ask - self.bid

    def between(self, begin: int, end: int) -> Ticks:
        """Views of the ticks ``begin`` to ``end``, the latter excluded."""
        return Ticks(
            self.ts[begin:end],
            self.bid[begin:end],
            self.ask[begin:end],
            self.bid_size[begin:end],
            self.ask_size[begin:end],
        )


@dataclass(frozen=True)
class TickHandle:
    """Where a tick series lies, and what it is. This travels; the ticks do not.

    Attributes
    ----------
    path : str
        The store entry's folder.
    n_ticks : int
    content : str
        Hash of the columns' bytes: equal ticks have equal content, wherever they lie.
    columns : tuple of str
        ``("ts", "bid", "ask")``, with ``"bid_size", "ask_size"`` where known.
    kind : str
        ``"quotes"`` or ``"trades"``.
    first_ts, last_ts : int
    """

    path: str
    n_ticks: int
    content: str
    columns: tuple[str, ...]
    kind: str
    first_ts: int
    last_ts: int


@dataclass(frozen=True)
class Costs:
    """What a fill costs and when it happens.

    Attributes
    ----------
    commission_rate : float
        Share of the fill's notional (price x units x contract size).
    commission_per_unit : float
        Cash per unit of position filled (before the contract size).
    commission_per_fill : float
        Cash per fill.
    slippage : float
        Price units added to a buy and taken off a sale.
    half_spread : float
        Price units put around trades; 0 for quotes.
    latency : int
        Nanoseconds from a decision to the earliest fill.
    mark : str
        ``"mid"``, or ``"close"``: the price at which the position could be closed.
    """

    commission_rate: float
    commission_per_unit: float
    commission_per_fill: float
    slippage: float
    half_spread: float
    latency: int
    mark: str


@dataclass(frozen=True)
class Account:
    """The account that a variant trades on.

    Attributes
    ----------
    capital : float
        Cash at the start, positive.
    contract_size : float
        Units of the instrument in a position of 1.
    clock : int
        Nanoseconds of the fixed clock on which returns are taken.
    periods_per_year : float
        Clock periods in a year, by which ratios are annualised.
    """

    capital: float
    contract_size: float
    clock: int
    periods_per_year: float


class Slice(NamedTuple):
    """Ticks ``begin`` to ``end`` (excluded); the warm-up in front starts at ``warmup``.

    ``warmup`` is the lowest tick that the warm-up may reach back to.
    """

    begin: int
    end: int
    warmup: int


STATUS_OK = 0
STATUS_BAD_ORDER = 1
"""``step`` returned a NaN or an infinite target."""
STATUS_RUINED = 2
"""Equity fell to zero or below; ratios of returns are undefined from there."""
STATUS_ERROR = 3
"""``start`` or ``step`` raised; the row's sums mean nothing."""

#: The fixed-size result of one variant on one slice, or on several merged in order.
#: Eight bytes a field; every sum is over the row's own ticks (``independent``) or from
#: the beginning of the study's range (``carry``). Cash in the quote currency.
ROW = np.dtype(
    [
        ("status", "<i8"),  # one of STATUS_*
        ("tick", "<i8"),  # index of the tick at which a bad status arose, else -1
        ("ticks", "<i8"),  # ticks evaluated, warm-up excluded
        ("first_ts", "<i8"),
        ("last_ts", "<i8"),
        ("span_ns", "<i8"),  # last_ts - first_ts, summed over merged slices
        ("capital", "<f8"),
        ("equity", "<f8"),  # at the end, the open position marked or closed
        ("high", "<f8"),  # highest equity, the capital included
        ("low", "<f8"),  # lowest equity, the capital included
        ("growth", "<f8"),  # equity / capital; chained by merging
        ("growth_high", "<f8"),
        ("growth_low", "<f8"),
        ("drawdown", "<f8"),  # worst (high - equity) / high, at ticks
        ("drawdown_cash", "<f8"),  # worst high - equity, at ticks
        ("drawdown_ns", "<i8"),  # longest time below a high, an open one included
        ("drawdown_open", "<i8"),  # 1 if the row ends below its high
        ("periods", "<i8"),  # clock periods with ticks
        ("sum_r", "<f8"),  # over clock returns r = equity / previous equity - 1
        ("sum_r2", "<f8"),
        ("sum_r3", "<f8"),
        ("sum_r4", "<f8"),
        ("sum_down2", "<f8"),  # of min(r, 0) ** 2
        ("sum_lag", "<f8"),  # of r[k] * r[k - 1]
        ("first_r", "<f8"),
        ("last_r", "<f8"),
        ("fills", "<i8"),
        ("trades", "<i8"),  # closed round trips
        ("wins", "<i8"),  # round trips with a profit after costs
        ("losses", "<i8"),
        ("gross_profit", "<f8"),  # of winning round trips, after costs
        ("gross_loss", "<f8"),  # of losing round trips, after costs, positive
        ("sum_trade2", "<f8"),  # of squared round-trip profits
        ("holding_ns", "<i8"),  # summed over closed round trips
        ("turnover", "<f8"),  # notional filled
        ("commission", "<f8"),
        ("slippage", "<f8"),
        ("spread", "<f8"),  # cash lost against filling at the mid
    ]
)
