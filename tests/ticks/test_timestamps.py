"""Stamps that Arrow reads, and that the slower parser reads, mean the same."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from sweep.errors import DataError
from sweep.ticks import timestamps
from sweep.ticks.timestamps import BadStampError, StampParser

ZONES = ("", "Z", "z", " UTC", "+01:00", "-0530", "+02", "+25:70", "-00:30")
ODD = (
    *("", "garbage", "2024-05-01", "2024-05-01T12", "2024-05-01Z", "2024-05-01+01:00"),
    *("2024-05-01T12Z", "2024-05-01T12+01:00", "2024-02-30T12:30:15", "2024-05-01T24:00:00"),
    *("2024-05-01 12:30:60", "2024-05-01_12:30:15", "2024-05-01T12:30:15,5", "2024-5-1T12:30:15"),
    *("1677-12-31T23:59:59", "2262-01-01T00:00:00", "2024-05-01T12:30:15.1234567890"),
)


def column(rng: random.Random, *, odd: bool) -> list[str | None]:
    gap, zone, digits = rng.choice("T "), rng.choice(ZONES), rng.randint(0, 9)
    stamps: list[str | None] = []
    for _ in range(rng.randint(1, 12)):
        if rng.random() < 0.3:
            digits = rng.randint(0, 9)
        if odd and rng.random() < 0.1:
            stamps.append(rng.choice((*ODD, None)))
            continue
        if odd and rng.random() < 0.1:
            gap, zone = rng.choice("T "), rng.choice(ZONES)
        date = f"{rng.randint(1678, 2261)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        clock = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        if digits != 9 or rng.random() < 0.5:
            clock += f":{rng.randint(0, 59):02d}"
            clock += f".{rng.randrange(10**digits):0{digits}d}" if digits else ""
        stamps.append(date + gap + clock + zone)
    return stamps


def read(columns: list[list[str | None]], timezone: str) -> list[Any]:
    parser, results = StampParser(None, timezone), []
    for stamps in columns:
        try:
            results.append(parser.parse(pa.array(stamps, pa.string())).tolist())
        except (BadStampError, DataError) as error:
            results.append((type(error), error.args))
        results.append(parser.description)
    return results


@pytest.mark.parametrize("odd", [False, True])
def test_arrow_reads_iso_stamps_as_the_slower_parser_does(
    odd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    cases = [
        (
            [column(rng, odd=odd) for _ in range(2)],
            rng.choice(("UTC", "America/New_York", "+02:00")),
        )
        for _ in range(400)
    ]
    by_arrow = [read(*case) for case in cases]
    monkeypatch.setattr(timestamps, "_ISO", {})
    for case, results in zip(cases, by_arrow, strict=True):
        assert results == read(*case), case


def test_common_iso_stamps_are_read_by_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StampParser, "_by_position", lambda *_: pytest.fail("the slower way"))
    for gap in "T ":
        for fraction in ("", ".5", ".123", ".123456", ".123456789"):
            for zone in ("", "Z", "+01:00", "-0530"):
                stamp = f"2024-05-01{gap}12:30:15{fraction}{zone}"
                (ns,) = StampParser(None, "UTC").parse(pa.array([stamp]))
                assert ns % 10**9 == int(fraction[1:].ljust(9, "0"))
