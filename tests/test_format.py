"""What people read: short, aligned, never misleading."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.stats.metrics import METRICS
from sweep.text import (
    as_cells,
    bytes_text,
    cell_width,
    clip,
    count,
    counted,
    duration,
    elide,
    fixed,
    kind_of,
    metric_column,
    number,
    parameter_column,
    percent,
    price,
    short,
    timestamp,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (2.5e-5, "25us"),
        (0.0009996, "1ms"),
        (0.25, "250ms"),
        (0.9996, "1.0s"),
        (4.24, "4.2s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (134, "2m 14s"),
        (3599.7, "1h 00m"),
        (3780, "1h 03m"),
        (86399, "1d 00h"),
        (3 * 86400 + 4 * 3600, "3d 04h"),
        (-134, "-2m 14s"),
        (None, "-"),
        (math.nan, "-"),
    ],
)
def test_duration_has_two_leading_units_and_carries(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (4.306, "4.31"),
        (12.34, "12.3"),
        (9.996, "10.0"),
        (999.4, "999"),
        (999.6, "1.00 k"),
        (1.24e9, "1.24 G"),
        (None, "-"),
        (math.nan, "-"),
    ],
)
def test_short_has_three_digits_and_a_prefix(value: float | None, text: str) -> None:
    assert short(value) == text


def test_bytes_are_decimal_units() -> None:
    assert [bytes_text(b) for b in (0, 999, 1000, 812e6, 1.2355e9, math.nan)] == [
        "0 B",
        "999 B",
        "1.00 kB",
        "812 MB",
        "1.24 GB",
        "-",
    ]


def test_counts_percent_and_prices() -> None:
    assert count(1144807) == "1,144,807"
    assert percent(0.1234) == "12%"
    assert percent(-0.1234, 2) == "-12.34%"
    assert price(1.3865200000000001) == "1.38652"
    assert price(1292.5) == "1,292.5"
    assert price(100.0) == "100"
    assert price(math.nan) == "-"


def test_what_is_counted_agrees_with_the_count() -> None:
    assert [counted(n, "slice") for n in (0, 1, 2000)] == ["0 slices", "1 slice", "2,000 slices"]
    assert counted(2, "index", "indices") == "2 indices"
    assert counted(1, "index", "indices") == "1 index"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456789, "1.2346"),
        (2.5, "2.5"),
        (-1234.56, "-1,234.6"),
        (0.00012346, "0.00012346"),
        (1e-7, "1e-07"),
        (0.0, "0"),
        (math.inf, "inf"),
        (math.nan, "-"),
    ],
)
def test_number_by_itself(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_of_a_column_share_their_decimals() -> None:
    assert fixed([2.345, 12.1, -0.4, math.nan, None]) == ["2.345", "12.100", "-0.400", "-", "-"]
    assert fixed([0.5, 1.0, 2.5]) == ["0.5", "1.0", "2.5"]
    assert fixed([0.0, 0.0]) == ["0", "0"]


def test_small_numbers_never_read_as_zero() -> None:
    assert fixed([1e-7, 12.0]) == ["1e-07", "12"]


@given(st.lists(st.floats(-1e8, 1e8), min_size=1, max_size=6))
def test_shown_numbers_are_near_the_true_ones(values: list[float]) -> None:
    largest = max(abs(v) for v in values)
    for value, text in zip(values, fixed(values), strict=True):
        assert abs(float(text.replace(",", "")) - value) <= max(1e-3 * abs(value), 1e-4 * largest)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1398902403123000000, "2014-05-01T00:00:03.123Z"),
        (1398902403000001000, "2014-05-01T00:00:03.000001Z"),
        (1398902403123456789, "2014-05-01T00:00:03.123456789Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_timestamps_are_exact(ns: int, text: str) -> None:
    assert timestamp(ns) == text
    assert np.datetime64(text[:-1], "ns").astype(np.int64) == ns


def test_elided_names_keep_head_and_tail() -> None:
    assert elide("trailing_stop_percent", 12) == "trailing…ent"
    assert elide("trailing_stop_percent", 14) == "traili…percent"
    assert elide("test_net_profit", 12) == "test_…profit"
    assert elide("latency_exponential, ms, mean", 28) == "latency_exponential…ms, mean"
    assert elide("moving_average_window_0", 15) == "moving_averag…0"
    assert elide("fast", 4) == "fast"
    assert clip("a long sentence", 8) == "a long …"


@given(st.text(max_size=30), st.integers(0, 12))
def test_cut_text_fits(text: str, width: int) -> None:
    assert cell_width(elide(text, width)) <= width
    assert cell_width(clip(text, width)) <= width


def test_kind_of_parameter_values() -> None:
    assert kind_of([True, False, None]) == "boolean"
    assert kind_of([5, np.int64(7)]) == "integer"
    assert kind_of([5, 7.5, math.nan]) == "number"
    assert kind_of(["a", 5]) == "text"
    assert kind_of([None]) == "number"


def test_cells_of_each_kind() -> None:
    assert as_cells("integer", [5, 120.0, None]) == ["5", "120", "-"]
    assert as_cells("boolean", [True, np.False_]) == ["yes", "no"]
    assert as_cells("share", [0.1234, np.float64(np.nan)]) == ["12.34%", "-"]
    assert as_cells("price", [1.38652, 1.3]) == ["1.38652", "1.30000"]
    assert as_cells("cash", [1234.5, -3.0, math.nan]) == ["1,234.50", "-3.00", "-"]
    assert as_cells("cash", [0.00123, -0.01]) == ["0.00123", "-0.01000"]
    assert as_cells("text", ["two\nlines\x1b[31m"]) == ["two lines [31m"]
    assert as_cells("duration", [134.0]) == ["2m 14s"]


def test_times_of_a_column_are_shown_to_the_millisecond_where_one_has_a_fraction() -> None:
    second = 1398902403000000000
    assert as_cells("time", [second, None]) == ["2014-05-01T00:00:03Z", "-"]
    assert as_cells("time", [second, np.int64(second + 796_220_000), second + 999_999_999]) == [
        "2014-05-01T00:00:03.000Z",
        "2014-05-01T00:00:03.796Z",
        "2014-05-01T00:00:03.999Z",
    ]


def test_units_are_part_of_the_key() -> None:
    assert metric_column("mean_holding_time").key == "mean_holding_time_s"
    assert metric_column("max_drawdown", prefix="holdout_").key == "holdout_max_drawdown"
    assert metric_column("my_metric").kind == "number"
    assert parameter_column("fast", [5, 7]).kind == "integer"


def test_every_metric_is_shown_in_its_unit() -> None:
    kinds = {"cash": "cash", "share": "share", "count": "count", "s": "duration", "": "number"}
    for metric in METRICS.values():
        column = metric_column(metric.name)
        assert column.kind == kinds[metric.unit], metric.name
        assert (column.unit == "s") == (metric.unit == "s"), metric.name
