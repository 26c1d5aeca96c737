"""`sweep data`: what each command writes, says and leaves behind."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_helpers import sweep

from sweep.ticks import mapped, store
from sweep.ticks.sources import write_parquet
from sweep.ticks.store import list_entries
from sweep.ticks.synthetic import SynthSpec, generate

HEADER = "timestamp,bid,ask\n"
ROWS = "".join(f"2024-01-02T00:00:{i:02d}.5Z,{100 + i},{100.5 + i}\n" for i in range(60))
CROSSED = "2024-01-02T00:01:00Z,101,100\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    shm = Path("/dev/shm") / f"sweep-cli-test-{os.getpid()}"
    shm.mkdir(exist_ok=True)
    monkeypatch.setenv("SWEEP_SHM", str(shm))
    yield tmp_path / "cache" / "ticks"
    let_go()
    shutil.rmtree(shm)


def let_go() -> None:
    """End what the commands of this process hold, as the end of a process would."""
    for path in list(mapped._leases):
        mapped.release(path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "ticks.csv.gz"
    path.write_bytes(gzip.compress((HEADER + ROWS).encode()))
    return path


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    path = tmp_path / "dirty.csv"
    path.write_text(HEADER + ROWS + CROSSED)
    return path


def refused(*arguments: object, code: int = 2) -> str:
    result = sweep("data", *arguments)
    assert result.code == code, result.err
    assert result.out == ""
    return result.err


def entries(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir()) if cache.is_dir() else []


def test_import_reports_every_check_and_names_what_to_do_next(source: Path) -> None:
    result = sweep("data", "import", source)
    assert result.code == 0, result.err
    assert "60 ticks read, 60 kept" in result.out
    for check in ("nan", "crossed", "backward", "duplicate", "outlier"):
        assert check in result.out
    assert "median gap 1 s" in result.out
    assert f"next: sweep run STUDY.toml --source {source}" in result.err
    assert "in the store already" in sweep("data", "import", source).err


def test_import_as_json_is_one_document_with_plain_numbers(source: Path) -> None:
    document = sweep("data", "import", source, "-f", "json").json
    assert document["ticks"] == document["ticks_read"] == 60
    assert document["first"] == "2024-01-02T00:00:00.500Z"
    assert document["median_gap_s"] == document["largest_gap_s"] == 1.0
    assert [c["count"] for c in document["checks"]] == [0] * 7
    assert document["columns"] == ["ts", "bid", "ask"]
    assert Path(document["path"]).name == document["key"]


def test_import_as_csv_has_a_row_for_each_check(dirty: Path) -> None:
    rows = sweep("data", "import", dirty, "--policy", "crossed=drop", "-f", "csv").rows
    assert rows[0] == ["check", "count", "policy", "first_file", "first_row", "first_stamp"]
    assert ["crossed", "1", "drop", "dirty.csv", "61", "2024-01-02T00:01:00Z"] in rows
    assert len(rows) == 8


def test_quiet_says_nothing_beside_the_data(source: Path) -> None:
    assert sweep("data", "import", source, "--quiet").err == ""


def test_dirty_ticks_are_refused_with_the_setting_that_decides(dirty: Path, cache: Path) -> None:
    text = refused("import", dirty)
    assert "dirty.csv: 1 crossed quote (ask < bid) of 61, first at row 61" in text
    assert 'set data.policies.crossed = "drop"' in text
    assert entries(cache) == []
    result = sweep("data", "import", dirty, "--policy", "crossed=keep")
    assert result.code == 0
    assert "61 kept" in result.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_an_import_leaves_nothing_half_built(
    number: int, source: Path, cache: Path
) -> None:
    code = """
        import signal, time
        from sweep.cli.main import main
        from sweep.cli.progress import ImportProgress

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # a shell may have had them ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def progress(self, rows, share):
            print("under way", flush=True)
            time.sleep(60)

        ImportProgress.__call__ = progress
        main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), "data", "import", str(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    assert any(name.startswith(".build-") for name in entries(cache))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "interrupted"
    assert entries(cache) == []


def test_columns_kind_and_formats_are_options(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("when;p;n;s\n05/06/2024 10:00:00;1;2;buy\n05/06/2024 10:00:01;1;2;sell\n")
    columns = ("ts=when", "price=p", "size=n", "side=s")
    document = sweep(
        *("data", "import", path, "--kind", "trades", "--timezone", "EST"),
        *("--time-format", "%m/%d/%Y %H:%M:%S", "-f", "json"),
        *(word for c in columns for word in ("--column", c)),
    ).json
    assert document["kind"] == "trades"
    assert document["first"] == "2024-05-06T15:00:00Z"
    assert document["columns"] == ["ts", "bid", "ask", "bid_size", "ask_size"]


def test_an_instrument_is_an_option(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text(
        "ts,symbol,bid,ask\n"
        + "".join(f"{1704153600000 + i},{'AB'[i % 2]},1,2\n" for i in range(5))
    )
    assert "choose one with data.instrument or --instrument" in refused("import", path)
    assert sweep("data", "import", path, "--instrument", "A", "-f", "json").json["ticks"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--policy", "crosed=drop"), 'did you mean "crossed"?'),
        (("--policy", "crossed=fix"), "use one of error, drop, keep"),
        (("--policy", "crossed"), "a name, = and a value are expected"),
        (("--column", "bod=bid"), "data.columns.bod: quotes have no such column"),
        (("--column", "bid=Bit"), "there is no column 'Bit'"),
        (("--timezone", "Mars"), "'Mars' is not a time zone"),
        (("--kind", "candles"), "'quotes', 'trades'"),
    ],
)
def test_wrong_options_are_named(
    options: tuple[str, ...], said: str, dirty: Path, cache: Path
) -> None:
    assert said in refused("import", dirty, *options)
    assert entries(cache) == []


BAD: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "there is no such file or folder"),
    "empty": (b"", "the file is empty"),
    "header": (HEADER.encode(), "the file holds no ticks"),
    "foreign": (b"\x89PNG\r\n\x1a\n\x00\x00", "neither Parquet, Arrow nor CSV"),
    "cut": (gzip.compress((HEADER + ROWS * 50).encode())[:-40], "damaged, cut short"),
    "columns": (b"timestamp,open,close\n1704153600000,1,2\n", "no column for bid and ask"),
    "stamp": ((HEADER + ROWS + "never,1,2\n").encode(), "row 61: the stamp 'never'"),
    "number": ((HEADER + ROWS + "2024-01-03T00:00:00Z,x,2\n").encode(), "'x'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_exits_with_2_says_what_is_wrong_and_leaves_nothing(
    name: str, tmp_path: Path, cache: Path
) -> None:
    content, said = BAD[name]
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_bytes(content)
    for command in ("import", "info"):
        text = refused(command, path)
        assert said in text
        assert "bad.csv" in text
    assert entries(cache) == []


def test_too_little_room_exits_with_1_and_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(generate(SynthSpec(sessions=1)), path)
    monkeypatch.setattr(store, "_free", lambda *_: 1_000)
    assert "set SWEEP_CACHE to a folder on a larger disk" in refused("import", path, code=1)
    assert 'use data.store = "disk"' in refused("import", path, "--store", "memory", code=1)
    assert entries(cache) == []


def test_info_shows_what_an_import_found_by_path_or_key(dirty: Path) -> None:
    made = sweep("data", "import", dirty, "--policy", "crossed=drop", "-f", "json").json
    by_path = sweep("data", "info", dirty, "-f", "json").json
    by_key = sweep("data", "info", made["key"][:8], "-f", "json").json
    assert made == by_path == by_key
    assert "60 kept" in sweep("data", "info", dirty).out


def test_info_of_a_new_source_checks_it(source: Path) -> None:
    assert sweep("data", "info", source, "-f", "json").json["ticks"] == 60


def test_info_of_a_source_that_was_written_again_is_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEADER + ROWS)
    sweep("data", "import", path)
    path.write_text(HEADER + ROWS[: len(ROWS) // 2])
    os.utime(path, (path.stat().st_mtime + 100,) * 2)
    assert sweep("data", "info", path, "-f", "json").json["ticks"] == 30


def test_info_verifies_every_byte(source: Path) -> None:
    path = Path(sweep("data", "import", source, "-f", "json").json["path"])
    assert "verified" in sweep("data", "info", source, "--verify").err
    column = path / "bid.f8"
    column.write_bytes(column.read_bytes()[:-1] + b"\x00")
    assert "its bytes have changed since the import" in refused("info", source, "--verify", code=1)


def test_info_of_an_unknown_key(cache: Path) -> None:
    assert "no such entry; see: sweep data list" in refused("info", "abcd1234", code=1)


def test_list_shows_the_entries(source: Path, dirty: Path) -> None:
    empty = sweep("data", "list", "-f", "json")
    assert empty.json == []
    assert "next: sweep data import SOURCE" in empty.err
    sweep("data", "import", source)
    sweep("data", "import", dirty, "--policy", "crossed=drop", "--store", "memory")
    let_go()
    rows = {Path(r["source"]).name: r for r in sweep("data", "list", "-f", "json").json}
    assert set(rows) == {"ticks.csv.gz", "dirty.csv"}
    assert rows["ticks.csv.gz"]["ticks"] == 60
    assert rows["ticks.csv.gz"]["store"] == "disk"
    assert rows["dirty.csv"]["store"] == "memory"
    assert rows["dirty.csv"]["in_use"] is False
    assert len(sweep("data", "list", "-f", "csv").rows) == 3
    assert "ticks.csv.gz" in sweep("data", "list").out


def test_clear_removes_by_key_by_source_and_all(source: Path, dirty: Path, cache: Path) -> None:
    first = sweep("data", "import", source, "-f", "json").json["key"]
    second = sweep("data", "import", dirty, "--policy", "crossed=drop", "-f", "json").json["key"]
    third = sweep("data", "import", "synth", "-f", "json").json["key"]
    let_go()
    assert sweep("data", "clear", first[:10], "-f", "json").json == {
        "removed": [first],
        "in_use": [],
    }
    assert sweep("data", "clear", dirty, "-f", "csv").rows[1] == [second, "true"]
    assert "1 removed" in sweep("data", "clear", "--all").err
    assert entries(cache) == []
    assert third != second
    assert source.exists()
    assert dirty.exists()


def test_clear_leaves_what_is_in_use_and_says_so(source: Path) -> None:
    key = sweep("data", "import", source, "-f", "json").json["key"]
    result = sweep("data", "clear", key)
    assert result.code == 1
    assert f"1 in use, which stay: {key[:12]}" in result.err
    assert [e.key for e in list_entries()] == [key]


def test_clear_wants_to_be_told_what(source: Path) -> None:
    key = sweep("data", "import", source, "-f", "json").json["key"]
    let_go()
    assert "use --all" in refused("clear")
    assert "no such entry" in refused("clear", "abcdef", code=1)
    for text in ("", " ", key[:3]):
        assert "at least 4 characters of its key" in refused("clear", text, code=1)
    assert [e.key for e in list_entries()] == [key]


def test_synth_writes_the_ticks_that_the_generator_gives(tmp_path: Path) -> None:
    out = tmp_path / "market.parquet"
    options = ("--sessions", 2, "--seed", 7, "--effect", "momentum", "--ticks-per-session", 500)
    result = sweep("data", "synth", out, *options, "-f", "json")
    assert result.code == 0, result.err
    spec = SynthSpec(sessions=2, seed=7, effect="momentum", ticks_per_session=500)
    expected = np.concatenate([c["bid"] for c in generate(spec)])
    assert result.json["ticks"] == len(expected)
    assert np.array_equal(pq.read_table(out)["bid"].to_numpy(), expected)
    assert f"next: sweep run STUDY.toml --source {out}" in result.err


def test_every_setting_of_the_generator_is_an_option(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        **{"seed": 3, "sessions": 2, "ticks_per_session": 400, "start": "2024-02-05"},
        **{"session_open": 9.0, "session_hours": 7.0, "price": 50.0, "tick_size": 0.005},
        **{"spread_ticks": 3.0, "volatility": 0.3, "jumps_per_session": 2.0, "jump_size": 0.1},
        **{"effect": "hour", "effect_size": 2.0, "effect_hour": 12},
    }
    assert set(settings) | {"sizes"} == set(vars(SynthSpec()))
    words = [w for k, v in settings.items() for w in (f"--{k.replace('_', '-')}", v)]
    assert sweep("data", "synth", tmp_path / "t.parquet", *words, "--sizes").code == 0
    written = pq.read_table(tmp_path / "t.parquet")
    chunks = list(generate(SynthSpec(**settings, sizes=True)))
    for name in ("bid", "ask", "bid_size", "ask_size"):
        assert np.array_equal(written[name].to_numpy(), np.concatenate([c[name] for c in chunks]))


def test_synth_replaces_a_file_only_when_told(tmp_path: Path) -> None:
    out = tmp_path / "market.parquet"
    out.write_text("precious")
    small = ("--sessions", 1, "--ticks-per-session", 100)
    assert "--force" in refused("synth", out, *small)
    assert out.read_text() == "precious"
    assert sweep("data", "synth", out, *small, "--force").code == 0
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ""] == ["market.parquet"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--effect", "trend"), "none, momentum, reversion, hour"),
        (("--sessions", 0), "data.synth.sessions"),
        (("--start", "tomorrow"), "not an ISO date"),
    ],
)
def test_synth_names_what_is_out_of_range(
    options: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    assert said in refused("synth", tmp_path / "t.parquet", *options)
    assert list(tmp_path.glob("*.parquet")) == []
    assert "use a name such as t.parquet" in refused("synth", tmp_path / "t.csv")


def test_a_generated_file_and_the_generator_have_equal_content(tmp_path: Path) -> None:
    sweep("data", "synth", tmp_path / "t.parquet")
    from_file = sweep("data", "import", tmp_path / "t.parquet", "-f", "json").json
    generated = sweep("data", "import", "synth", "-f", "json").json
    assert from_file["content"] == generated["content"]


def test_the_real_euro_quotes_stop_by_default_and_run_with_the_setting(real_ticks: Path) -> None:
    path = real_ticks / "eurusd-fxcm-2014-05.csv.gz"
    text = refused("import", path)
    assert "116,871 crossed quotes (ask < bid) of 1,144,807, first at row 37 " in text
    document = sweep("data", "import", path, "--policy", "crossed=drop", "-f", "json").json
    assert document["ticks"] == 1_027_936


def test_the_real_gold_quotes_are_clean(real_ticks: Path) -> None:
    document = sweep(
        "data", "import", real_ticks / "xauusd-oanda-2014-05.parquet", "-f", "json"
    ).json
    assert document["ticks"] == 2_022_969
    assert [c["count"] for c in document["checks"]] == [0] * 7
