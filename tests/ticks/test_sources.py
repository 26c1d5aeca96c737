"""Sources of ticks: every format gives the same ticks, and every bad file says what is wrong."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import lzma
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from sweep.errors import DataError, SweepError
from sweep.ticks.quality import NO_STAMP, Chunk, concatenate
from sweep.ticks.sources import SourceSpec, fingerprint, open_chunks, read, write_parquet
from sweep.ticks.synthetic import SynthSpec, generate

MS = 1_000_000
#: 2014-05-14, so that day and month cannot be mixed up.
BEGIN = int(np.datetime64("2014-05-14T09:30:00", "ns").astype(np.int64))
TS = BEGIN + np.array([0, 1, 250, 1_000, 61_500], np.int64) * MS
BID = np.array([1.5, 1.25, 1.5, 1.75, 1.5])
ASK = BID + 0.25


def load(path: object, **settings: Any) -> Chunk:
    return concatenate(list(open_chunks(SourceSpec(str(path), **settings))))


def refused(path: object, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        load(path, **settings)
    return str(error.value)


def same(chunk: Chunk) -> bool:
    return (
        chunk["ts"].tolist() == TS.tolist()
        and np.array_equal(chunk["bid"], BID)
        and np.array_equal(chunk["ask"], ASK)
        and [str(chunk[n].dtype) for n in ("ts", "bid", "ask")] == ["int64", "float64", "float64"]
    )


def stamps(pattern: str, *, digits: int = 3) -> list[str]:
    """The stamps as text; %f has that many digits."""
    out = []
    for t in TS:
        at = dt.datetime.fromtimestamp(t / 1e9, dt.UTC)
        fraction = f"{int(t) % 10**9:09d}"[:digits]
        out.append(at.strftime(pattern.replace("%f", "FRACTION")).replace("FRACTION", fraction))
    return out


def text(times: list[str], header: str = "time,bid,ask", sep: str = ",", decimal: str = ".") -> str:
    rows = [
        sep.join([t, *(f"{x}".replace(".", decimal) for x in (b, a))])
        for t, b, a in zip(times, BID, ASK, strict=True)
    ]
    return "\n".join([*([header] if header else []), *rows]) + "\n"


def table(ts: Any, *, names: tuple[str, ...] = ("ts", "bid", "ask"), **more: Any) -> pa.Table:
    columns = dict(zip(names, [ts, pa.array(BID), pa.array(ASK)], strict=True))
    return pa.table(columns | more)


NS = pa.array(TS).cast(pa.timestamp("ns", tz="UTC"))


# -- CSV -------------------------------------------------------------------------------

CSV_FORMATS = {
    "ISO": text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")),
    "ISO with a space": text(stamps("%Y-%m-%d %H:%M:%S.%f")),
    "ISO with an offset": text(stamps("%Y-%m-%dT%H:%M:%S.%f+00:00")),
    "ISO, nine digits": text(stamps("%Y-%m-%dT%H:%M:%S.%f", digits=9)),
    "slashes": text(stamps("%Y/%m/%d %H:%M:%S.%f")),
    "day first": text(stamps("%d/%m/%Y %H:%M:%S.%f")),
    "month first": text(stamps("%m/%d/%Y %H:%M:%S.%f")),
    "compact": text(stamps("%Y%m%d%H%M%S%f")),
    "epoch s": text([f"{t / 1e9:.3f}" for t in TS]),
    "epoch ms": text([f"{t // MS}" for t in TS]),
    "epoch us": text([f"{t // 1000}" for t in TS]),
    "epoch ns": text([f"{t}" for t in TS]),
    "MetaTrader 5": text(stamps("%Y.%m.%d\t%H:%M:%S.%f"), "<DATE>\t<TIME>\t<BID>\t<ASK>", sep="\t"),
    "Dukascopy": "Gmt time,Ask,Bid,AskVolume,BidVolume\n"
    + "".join(
        f"{t},{a},{b},1.5,2.5\n"
        for t, a, b in zip(stamps("%d.%m.%Y %H:%M:%S.%f"), ASK, BID, strict=True)
    ),
    "Dukascopy, local": "Local time,Ask,Bid\n"
    + "".join(
        f"{t} GMT+0000,{a},{b}\n"
        for t, a, b in zip(stamps("%d.%m.%Y %H:%M:%S.%f"), ASK, BID, strict=True)
    ),
    "HistData": "".join(
        f"{t},{b},{a},0\n" for t, b, a in zip(stamps("%Y%m%d %H%M%S%f"), BID, ASK, strict=True)
    ),
    "no header": text(stamps("%Y-%m-%dT%H:%M:%S.%f"), ""),
    "no header, date and time": text(stamps("%Y%m%d,%H:%M:%S.%f"), ""),
    "semicolons, decimal commas": text(
        stamps("%Y-%m-%d %H:%M:%S.%f"), "Date;Bid;Ask", sep=";", decimal=","
    ),
    "quoted": text([f'"{t}"' for t in stamps("%Y-%m-%d %H:%M:%S.%f")], '"Time","Bid","Ask"'),
    "comments before the header": "# a feed\n\n" + text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")),
    "other names": text(stamps("%Y-%m-%dT%H:%M:%S.%fZ"), "timestamp,BestBid,Best_Offer"),
    "Windows line ends": text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", CSV_FORMATS)
def test_csv_formats_are_found_out(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_bytes(CSV_FORMATS[name].encode())
    assert same(load(path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_csv_encodings(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_bytes(text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")).encode(encoding))
    assert same(load(path))


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("DAT_ASCII_EURUSD_T_201405.csv", data)
        archive.writestr("README.md", "about")
    return out.getvalue()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "gz in parts": lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    "zip": zipped,
}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_compressed_csv_is_told_by_its_content(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ticks.data"
    path.write_bytes(COMPRESSORS[name](text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")).encode()))
    assert same(load(path))


def test_stamps_of_many_lengths_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    lines = [
        *("2014-05-14T09:30:00Z", "2014-05-14T09:30:00.001Z", "2014-05-14T09:30:00.25Z"),
        *("2014-05-14T09:30:01Z", "2014-05-14T09:31:01.5Z"),
    ]
    path.write_text(text(lines))
    assert same(load(path))


def test_stamps_without_leading_zeros(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    times = ["5/9/2014 9:30:00", "5/14/2014 9:30:00", "11/5/2014 10:30:00", "12/14/2014 1:00:00"]
    path.write_text("time,bid,ask\n" + "".join(f"{t},1,2\n" for t in times))
    found = load(path)["ts"].astype("datetime64[ns]")
    expected = np.array(
        ["2014-05-09T09:30", "2014-05-14T09:30", "2014-11-05T10:30", "2014-12-14T01:00"],
        "datetime64[ns]",
    )
    assert np.array_equal(found, expected)


def test_epoch_decimals_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("ts,bid,ask\n1398902401.787654321,1,2\n1398902402,1,2\n")
    assert load(path)["ts"].tolist() == [1_398_902_401_787_654_321, 1_398_902_402_000_000_000]


def test_a_named_time_format_overrules_what_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("time,bid,ask\n05/06/2014 01:02:03.5,1,2\n05/06/2014 01:02:04,1,2\n")
    found = load(path, time_format="%m/%d/%Y %H:%M:%S.%f")["ts"].astype("datetime64[ns]")
    assert found[0] == np.datetime64("2014-05-06T01:02:03.500")
    assert found[1] == np.datetime64("2014-05-06T01:02:04")
    path.write_text("time,bid,ask\n86400,1,2\n")
    assert load(path, time_format="s")["ts"].tolist() == [86_400 * 10**9]


def test_columns_are_taken_as_named(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(text(stamps("%Y-%m-%dT%H:%M:%S.%fZ"), "when,x,y"))
    assert same(load(path, columns=(("ts", "when"), ("bid", "x"), ("ask", "y"))))
    path.write_text(text(stamps("%Y-%m-%dT%H:%M:%S.%fZ"), ""))
    swapped = load(path, columns=(("ts", "1"), ("bid", "3"), ("ask", "2")))
    assert np.array_equal(swapped["bid"], ASK)


def test_sizes_are_read_and_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("ts,bid,ask,bid_volume,ask_volume\n1398902401000,1,2,3,\n")
    found = load(path)
    assert found["bid_size"].tolist() == [3.0]
    assert np.isnan(found["ask_size"]).all()
    assert set(load(path, columns=(("bid_size", ""), ("ask_size", "")))) == {"ts", "bid", "ask"}


def test_missing_cells_become_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(
        "ts,bid,ask\n2014-05-01T00:00:00Z,1,2\n,1,2\n2014-05-01T00:00:01Z,,nan\n"
        "2014-05-01T00:00:02Z,inf,N/A\n"
    )
    found = load(path)
    assert found["ts"][1] == NO_STAMP
    assert np.isnan(found["bid"]).tolist() == [False, False, True, False]
    assert np.isnan(found["ask"]).tolist() == [False, False, True, True]
    assert np.isinf(found["bid"][3])


def test_a_file_larger_than_a_block_keeps_its_row_numbers(tmp_path: Path) -> None:
    n = 700_000
    ts = BEGIN + np.arange(n) * MS
    path = tmp_path / "ticks.csv"
    pacsv.write_csv(pa.table({"ts": ts, "bid": np.full(n, 1.0), "ask": np.full(n, 2.0)}), path)
    chunks = list(read(SourceSpec(str(path))).chunks())
    assert len(chunks) > 1
    assert np.array_equal(np.concatenate([c["row"] for c in chunks]), np.arange(1, n + 1))
    assert np.array_equal(np.concatenate([c["ts"] for c in chunks]), ts)


# -- time zones ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", 0), ("EST", 5), ("America/New_York", 4), ("+02:00", -2), ("-0330", 3.5)],
)
def test_local_stamps_are_taken_to_utc(zone: str, hours: float, tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(text(stamps("%Y-%m-%d %H:%M:%S.%f")))
    found = load(path, timezone=zone)["ts"]
    assert (found - TS == int(hours * 3600) * 10**9).all()


def test_stamps_that_name_their_zone_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(text(stamps("%Y-%m-%d %H:%M:%S.%f+02:00")))
    assert (load(path, timezone="EST")["ts"] == TS - 7_200 * 10**9).all()
    path.write_text(text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")))
    assert same(load(path, timezone="EST"))


def test_a_change_of_the_clock_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(
        "time,bid,ask\n2014-03-09 01:59:00,1,2\n2014-03-09 03:01:00,1,2\n2014-11-03 00:00:00,1,2\n"
    )
    found = (
        load(path, timezone="America/New_York")["ts"]
        .astype("datetime64[ns]")
        .astype("datetime64[m]")
    )
    assert found.tolist() == [
        dt.datetime(2014, 3, 9, 6, 59),
        dt.datetime(2014, 3, 9, 7, 1),
        dt.datetime(2014, 11, 3, 5, 0),
    ]


def test_an_unknown_time_zone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(text(stamps("%Y-%m-%d %H:%M:%S.%f")))
    assert "data.timezone: 'Mars/Olympus' is not a time zone" in refused(
        path, timezone="Mars/Olympus"
    )


# -- Parquet and Arrow -----------------------------------------------------------------

ARROW_STAMPS = {
    "ns, UTC": NS,
    "us, naive": pa.array(TS // 1000).cast(pa.timestamp("us")),
    "ms, zone": pa.array(TS // MS).cast(pa.timestamp("ms", tz="America/New_York")),
    "int64 ns": pa.array(TS),
    "int64 ms": pa.array(TS // MS),
    "float s": pa.array(TS / 1e9),
    "float ms": pa.array(TS / 1e6),
    "decimal s": pa.array([Decimal(int(t)) / 10**9 for t in TS], pa.decimal128(20, 9)),
    "text": pa.array(stamps("%Y-%m-%dT%H:%M:%S.%fZ")),
    "large text": pa.array(stamps("%Y-%m-%dT%H:%M:%S.%fZ"), pa.large_string()),
    "text view": pa.array(stamps("%Y-%m-%dT%H:%M:%S.%fZ"), pa.string_view()),
    "dictionary": pa.array(stamps("%Y-%m-%dT%H:%M:%S.%fZ")).dictionary_encode(),
}


@pytest.mark.parametrize("name", ARROW_STAMPS)
def test_arrow_types_of_stamps(name: str, tmp_path: Path) -> None:
    with ipc.new_file(tmp_path / "t.arrow", (whole := table(ARROW_STAMPS[name])).schema) as file:
        file.write_table(whole)
    found = load(tmp_path / "t.arrow")
    if name.startswith("float"):
        assert np.abs(found["ts"] - TS).max() <= 1000
        found["ts"] = TS
    assert same(found)


def test_dates_and_times_in_two_columns(tmp_path: Path) -> None:
    seconds = (TS // 10**9).astype("datetime64[s]").tolist()
    whole = pa.table(
        {
            "date": pa.array([t.date() for t in seconds]),
            "time": pa.array(TS % (86_400 * 10**9), pa.int64()).cast(pa.time64("ns")),
            "bid": BID,
            "ask": ASK,
        }
    )
    pq.write_table(whole, tmp_path / "t.parquet")
    assert same(load(tmp_path / "t.parquet"))


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_parquet(compression: str, tmp_path: Path) -> None:
    pq.write_table(table(NS), tmp_path / "t.parquet", compression=compression, row_group_size=2)
    assert same(load(tmp_path / "t.parquet"))


def test_arrow_streams_and_feather_of_both_compressions(tmp_path: Path) -> None:
    whole = table(NS)
    with ipc.new_stream(tmp_path / "t.arrows", whole.schema) as stream:
        for batch in whole.to_batches(max_chunksize=2):
            stream.write_batch(batch)
    assert same(load(tmp_path / "t.arrows"))
    for compression in ("lz4", "zstd", "uncompressed"):
        feather.write_feather(whole, str(tmp_path / "t.feather"), compression=compression)
        assert same(load(tmp_path / "t.feather"))


def test_prices_of_other_types_become_doubles(tmp_path: Path) -> None:
    whole = pa.table(
        {
            "ts": NS,
            "bid": pa.array(BID, pa.float32()),
            "ask": pa.array([Decimal(str(a)) for a in ASK], pa.decimal128(10, 5)),
        }
    )
    pq.write_table(whole, tmp_path / "t.parquet")
    assert same(load(tmp_path / "t.parquet"))


def test_nulls_become_missing_values_wherever_a_batch_begins(tmp_path: Path) -> None:
    n = 300_001
    bid = np.arange(1.0, n + 1)
    gone = np.arange(n) % 7 == 3
    whole = pa.table(
        {
            "ts": pa.array(TS[0] + np.arange(n), mask=gone),
            "bid": pa.array(bid, mask=np.roll(gone, 1)),
            "ask": pa.array(bid),
        }
    )
    feather.write_feather(whole, str(tmp_path / "t.feather"), chunksize=n)
    found = load(tmp_path / "t.feather")
    assert np.array_equal(found["ts"] == NO_STAMP, gone)
    assert np.array_equal(np.isnan(found["bid"]), np.roll(gone, 1))


def test_what_is_written_as_parquet_is_read_back_to_the_bit(tmp_path: Path) -> None:
    spec = SynthSpec(sessions=2, sizes=True)
    rows = write_parquet(generate(spec), tmp_path / "t.parquet")
    found = load(tmp_path / "t.parquet")
    expected = load("synth", synth=spec)
    assert rows == len(found["ts"])
    assert set(found) == set(expected)
    assert all(np.array_equal(found[n], expected[n]) for n in expected)


# -- trades ----------------------------------------------------------------------------


def test_trades_are_quotes_without_a_spread_with_the_size_on_the_side_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("timestamp,price,size,side\n1398902401000,10,1,buy\n1398902402000,11,2,SELL\n")
    found = load(path, kind="trades")
    assert found["bid"].tolist() == found["ask"].tolist() == [10.0, 11.0]
    assert found["ask_size"].tolist() == [1.0, 0.0]
    assert found["bid_size"].tolist() == [0.0, 2.0]
    found = load(path, kind="trades", columns=(("side", ""),))
    assert found["ask_size"].tolist() == found["bid_size"].tolist() == [1.0, 2.0]


def test_whether_the_buyer_is_the_maker_tells_the_side(tmp_path: Path) -> None:
    whole = pa.table(
        {"time": TS, "price": BID, "qty": ASK, "isBuyerMaker": [True, False] * 2 + [True]}
    )
    pq.write_table(whole, tmp_path / "t.parquet")
    found = load(tmp_path / "t.parquet", kind="trades")
    assert (found["bid_size"] > 0).tolist() == [True, False, True, False, True]


def test_a_side_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("timestamp,price,size,side\n1398902401000,10,1,maybe\n")
    assert "'maybe' is neither a buy" in refused(path, kind="trades")


def test_trades_read_as_quotes_get_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("timestamp,price,size\n1398902401000,10,1\n")
    assert 'set data.kind = "trades"' in refused(path)


# -- folders, partitions, instruments --------------------------------------------------


def in_parts(folder: Path, names: list[str]) -> None:
    """Write the ticks to files, in the order of the names."""
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(NS).slice(i, 1), path)


def test_a_folder_is_read_in_order_of_time_whatever_the_names(tmp_path: Path) -> None:
    in_parts(tmp_path, [f"{day}.parquet" for day in ("30.04.2014", "01.05", "a/9", "a/10", "Z")])
    (tmp_path / "README.txt").write_text("not ticks")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".hidden.csv").write_text("no")
    assert same(load(tmp_path))
    assert same(load(tmp_path / "**" / "*.parquet"))


def test_a_folder_may_mix_formats(tmp_path: Path) -> None:
    pq.write_table(table(NS).slice(0, 2), tmp_path / "b.parquet")
    rows = text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")).splitlines()
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress("\n".join([rows[0], *rows[3:]]).encode()))
    assert same(load(tmp_path))


def test_hive_partitions_by_instrument_and_date(tmp_path: Path) -> None:
    dates = ["2014-05-14", "2014-05-15", "2014-05-16", "2014-05-17", "2014-05-18"]
    in_parts(tmp_path, [f"symbol=EUR%2FUSD/date={d}/part-0.parquet" for d in dates])
    in_parts(tmp_path, [f"symbol=GBPUSD/date={d}/part-0.parquet" for d in dates[:2]])
    assert same(load(tmp_path, instrument="EUR/USD"))
    assert len(load(tmp_path, instrument="GBPUSD")["ts"]) == 2
    assert "several instruments (EUR/USD, GBPUSD)" in refused(tmp_path)
    assert "it has EUR/USD, GBPUSD" in refused(tmp_path, instrument="USDJPY")


def test_a_column_of_instruments(tmp_path: Path) -> None:
    twice = pa.concat_tables([table(NS)] * 2).append_column(
        "Symbol", pa.array(["EURUSD", "GBPUSD"] * 5).dictionary_encode()
    )
    order = pa.compute.sort_indices(twice["ts"])
    pq.write_table(twice.take(order), tmp_path / "t.parquet")
    found = load(tmp_path / "t.parquet", instrument="GBPUSD")
    assert len(found["ts"]) == 5
    assert "several instruments (EURUSD, GBPUSD)" in refused(tmp_path / "t.parquet")
    assert "it has EURUSD, GBPUSD" in refused(tmp_path / "t.parquet", instrument="USDJPY")


def test_an_instrument_may_be_a_word_of_the_file_name(tmp_path: Path) -> None:
    in_parts(tmp_path, [f"DAT_EURUSD_{i}.parquet" for i in range(5)])
    in_parts(tmp_path, ["DAT_GBPUSD_1.parquet"])
    assert same(load(tmp_path, instrument="eurusd"))


def test_an_instrument_that_nothing_confirms_is_refused(tmp_path: Path) -> None:
    in_parts(tmp_path, ["ticks.parquet"])
    assert "leave data.instrument out" in refused(tmp_path / "ticks.parquet", instrument="EURUSD")


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    pq.write_table(table(NS).slice(0, 2), tmp_path / "a.parquet")
    pq.write_table(table(NS, bid_size=pa.array(BID)).slice(2), tmp_path / "b.parquet")
    assert "b.parquet: the columns bid_size are in some files" in refused(tmp_path)
    assert same(load(tmp_path, columns=(("bid_size", ""),)))


# -- bad input -------------------------------------------------------------------------

HEAD = "time,bid,ask\n2014-05-14T09:30:00Z,1.5,1.75\n"

BAD_FILES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["ticks.dat: the file is empty"]),
    "blank": (b"\n\n", ["the file is empty"]),
    "header only": (b"time,bid,ask\n", ["the file holds no ticks"]),
    "prose": (b"Dear customer\nyour data is late\n", ["no table of ticks", "'Dear customer'"]),
    "web page": (b"<!DOCTYPE html><html>", ["a web page, perhaps a failed download"]),
    "picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ["neither Parquet, Arrow nor CSV"]),
    "database": (b"SQLite format 3\x00...", ["an SQLite database"]),
    "old Feather": (b"FEA1........", ["Feather file of version 1"]),
    "no Parquet": (b"PAR1" + b"x" * 50, ["the file is damaged, cut short"]),
    "cut archive": (gzip.compress(HEAD.encode() * 999)[:60], ["the file is damaged, cut short"]),
    "cut zip": (zipped(HEAD.encode() * 999)[:60], ["the file is damaged, cut short"]),
    "bad number": (HEAD.encode() + b"2014-05-14T09:30:01Z,abc,1.5\n", ["abc"]),
    "short row": (HEAD.encode() + b"2014-05-14T09:30:01Z,1.5\n", ["Expected 3 columns, got 2"]),
    "bad stamp": (HEAD.encode() + b"soon,1,2\n", ["row 2: the stamp 'soon' cannot be read"]),
    "no such day": (
        HEAD.encode() + b"2014-02-30T09:30:01Z,1,2\n",
        ["row 2: the stamp '2014-02-30T09:30:01Z' cannot be read"],
    ),
    "no time": (b"date,bid,ask\n2014-05-14,1,2\n", ["a date without a time", "data.columns.time"]),
    "ambiguous": (
        b"time,bid,ask\n05/06/2014 01:00:00,1,2\n",
        ["day/month or month/day", "data.time_format"],
    ),
    "small epoch": (b"time,bid,ask\n12345,1,2\n", ["too small to tell the unit"]),
    "far future": (b"ts,bid,ask\n2500-01-01T00:00:00Z,1,2\n", ["row 1: the stamp '2500"]),
    "no ask": (b"time,bid\n1398902401000,1\n", ["no column for ask is found", "'time', 'bid'"]),
    "headerless riddle": (b"a,1,b\n", ["columns count from 1"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_says_what_is_wrong_with_it(name: str, tmp_path: Path) -> None:
    content, said = BAD_FILES[name]
    path = tmp_path / "ticks.dat"
    path.write_bytes(content)
    message = refused(path)
    assert message.startswith("ticks.dat: ")
    assert all(part in message for part in said), message


def test_a_truncated_parquet_or_arrow_file_is_refused(tmp_path: Path) -> None:
    ts = BEGIN + np.arange(5000)
    whole = pa.table({"ts": ts, "bid": np.full(5000, 1.0), "ask": np.full(5000, 2.0)})
    pq.write_table(whole, tmp_path / "t.parquet")
    feather.write_feather(whole, str(tmp_path / "t.feather"))
    with ipc.new_stream(tmp_path / "t.arrows", whole.schema) as stream:
        stream.write_table(whole, max_chunksize=500)
    for name in ("t.parquet", "t.feather", "t.arrows"):
        path = tmp_path / name
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        assert "the file is damaged, cut short, or not what it seems" in refused(path)


def test_a_flipped_byte_in_written_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(generate(SynthSpec(sessions=1, ticks_per_session=2000)), path)
    data = bytearray(path.read_bytes())
    whole = load(path)
    found = 0
    for at in range(2000, len(data) // 2, 997):
        damaged = bytearray(data)
        damaged[at] ^= 1
        path.write_bytes(bytes(damaged))
        try:
            again = load(path)
        except SweepError:
            found += 1
        else:
            assert all(np.array_equal(again[n], whole[n]) for n in whole)
    assert found > 0


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "ticks-2014.csv").write_text(HEAD)
    assert "did you mean 'ticks-2014.csv'" in refused(tmp_path / "ticks-2041.csv")
    assert "is not there either" in refused(tmp_path / "nowhere" / "ticks.csv")


def test_a_folder_without_ticks_and_an_address_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    assert "the folder holds no files of ticks" in refused(tmp_path)
    assert "copy the files to a folder" in refused("s3://bucket/ticks")


def test_a_column_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("time,best_bid,ask\n1398902401000,1,2\n")
    message = refused(path, columns=(("bid", "bestbit"),))
    assert "data.columns.bid: there is no column 'bestbit'" in message
    assert 'did you mean "best_bid"?' in message
    assert "data.columns.bit: quotes have no such column" in refused(path, columns=(("bit", "x"),))


def test_the_generator_gives_quotes_only() -> None:
    assert 'the source "synth" gives quotes' in refused("synth", kind="trades")


@pytest.mark.parametrize("pattern", ["%Y-%m", "%Y-%j %H", "%Y-%Y-%m-%d"])
def test_a_time_format_that_cannot_be_used_is_named(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(HEAD)
    assert "data.time_format" in refused(path, time_format=pattern)


# -- fingerprints ----------------------------------------------------------------------


def test_a_fingerprint_follows_content_and_time_but_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEAD)
    before = fingerprint(SourceSpec(str(path)))
    moved = path.rename(tmp_path / "b.csv")
    assert fingerprint(SourceSpec(str(moved))) == before
    status = moved.stat()
    moved.write_text(HEAD.replace("1.5", "1.6"))
    os.utime(moved, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(SourceSpec(str(moved))) != before


def test_naming_a_source_imports_neither_arrow_nor_pandas() -> None:
    code = (
        "import sys, sweep.ticks.sources, sweep.ticks.store, sweep.ticks.mapped\n"
        "sweep.ticks.sources.SourceSpec('ticks.csv')\n"
        "print([m for m in ('pyarrow', 'pandas', 'rich', 'optuna') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_reading_files_does_not_import_pandas(tmp_path: Path) -> None:
    """It would take longer than reading most files."""
    pq.write_table(table(NS), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text(text(stamps("%Y-%m-%dT%H:%M:%S.%fZ")))
    code = (
        "import sys; from sweep.ticks.sources import *\n"
        "for path in sys.argv[1:]: list(open_chunks(SourceSpec(path)))\n"
        "print('pandas' in sys.modules)"
    )
    paths = [str(tmp_path / "t.parquet"), str(tmp_path / "t.csv")]
    out = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"


# -- real ticks ------------------------------------------------------------------------


def test_real_gold_quotes(real_ticks: Path) -> None:
    found = load(real_ticks / "xauusd-oanda-2014-05.parquet")
    assert len(found["ts"]) == 2_022_969
    assert found["ts"][0] == 1_398_902_400_043_142_000
    assert (found["ask"] > found["bid"]).all()


def test_real_euro_quotes(real_ticks: Path) -> None:
    found = load(real_ticks / "eurusd-fxcm-2014-05.csv.gz")
    assert len(found["ts"]) == 1_144_807
    assert found["ts"][0] == 1_398_902_401_787_000_000
    assert int((found["ask"] < found["bid"]).sum()) == 116_871
    assert int((found["ask"] == found["bid"]).sum()) == 142_462
