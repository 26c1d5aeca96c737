"""Round trips put together from fills, by known answers."""

from __future__ import annotations

import numpy as np
import pytest

from sweep.backtest.trades import round_trips
from sweep.kernel.accounting import FILL


def fill(ts: int, delta: float, price: float, position: float, profit: float = np.nan) -> tuple:
    """One fill with a commission of 1 a contract, a slippage of 0.5 and a spread of 0.25."""
    size = abs(delta)
    return (ts, ts, delta, price, position, size, 0.5 * size, 0.25 * size, profit, 0)


def test_a_reversal_closes_one_trip_and_opens_another() -> None:
    fills = np.array(
        [
            fill(1, 1.0, 100.0, 1.0),
            fill(5, -3.0, 110.0, -2.0, 8.0),  # 10 - 1 - 1
            fill(9, 2.0, 105.0, 0.0, 6.0),  # 10 - 2 - 2
        ],
        FILL,
    )
    long, short = round_trips(fills)
    assert (long["entry_ts"], long["exit_ts"], long["side"]) == (1, 5, 1)
    assert (long["entry_price"], long["exit_price"], long["quantity"]) == (100.0, 110.0, 1.0)
    assert (short["entry_ts"], short["exit_ts"], short["side"]) == (5, 9, -1)
    assert (short["entry_price"], short["exit_price"], short["quantity"]) == (110.0, 105.0, 2.0)
    assert (long["profit"], short["profit"]) == (8.0, 6.0)
    assert long["commission"] == pytest.approx(2.0)
    assert short["commission"] == pytest.approx(4.0)
    assert long["slippage"] + short["slippage"] == pytest.approx(0.5 * 6)


def test_enlarging_and_reducing_stay_in_one_trip() -> None:
    fills = np.array(
        [
            fill(1, 1.0, 100.0, 1.0),
            fill(2, 3.0, 104.0, 4.0),
            fill(3, -2.0, 108.0, 2.0),
            fill(4, -2.0, 110.0, 0.0, 16.0),
        ],
        FILL,
    )
    (trip,) = round_trips(fills)
    assert (trip["quantity"], trip["fills"]) == (4.0, 4)
    assert (trip["entry_price"], trip["exit_price"]) == (103.0, 109.0)


def test_an_open_trip_is_left_out() -> None:
    assert len(round_trips(np.array([fill(1, 1.0, 100.0, 1.0)], FILL))) == 0
    assert len(round_trips(np.zeros(0, FILL))) == 0
