"""What programs read back is what was computed, to the bit; files are whole or absent."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.errors import InputError, SweepError
from sweep.report.table import (
    Column,
    Table,
    emit,
    json_text,
    new_file,
    table_lines,
    write_csv,
    write_json,
    write_parquet,
    write_rows,
)
from sweep.text import cell_width, metric_column

_TABLE = Table(
    (
        Column("trial", "integer", priority=0),
        Column("fast", "number"),
        Column("mode", "text"),
        Column("filter", "boolean"),
        metric_column("sharpe"),
        metric_column("max_drawdown"),
        metric_column("mean_holding_time"),
        Column("opened", "time"),
    ),
    (
        (17, 0.1, "break, out", True, 1 / 3, 0.05, 134.0, 1398902403123000000),
        (4, 2.5, 'a "b"', False, math.nan, 0.1 + 0.2, None, None),
    ),
    title="trials",
)


def _emit(table: Table, fmt: str, **options: Any) -> str:
    stream = io.StringIO()
    emit(table, fmt, stream=stream, **options)
    return stream.getvalue()


# --- CSV and JSON ---------------------------------------------------------------------


def test_csv_has_units_plain_numbers_and_empty_cells() -> None:
    assert _emit(_TABLE, "csv").splitlines() == [
        "trial,fast,mode,filter,sharpe,max_drawdown,mean_holding_time_s,opened",
        '17,0.1,"break, out",true,0.3333333333333333,0.05,134.0,2014-05-01T00:00:03.123Z',
        '4,2.5,"a ""b""",false,,0.30000000000000004,,',
    ]


def test_json_is_one_document_with_null_for_undefined() -> None:
    text = _emit(_TABLE, "json")
    first, second = json.loads(text)
    assert first["mean_holding_time_s"] == 134.0
    assert first["filter"] is True
    assert first["opened"] == "2014-05-01T00:00:03.123Z"
    assert second["sharpe"] is None
    assert second["max_drawdown"] == 0.1 + 0.2
    assert text.endswith("]\n")


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.booleans())
def test_floats_read_back_to_the_same_bits(values: list[float], numpy: bool) -> None:
    rows = [(np.float64(v) if numpy else v,) for v in values]
    table = Table((Column("x"),), rows)
    back = [float(row["x"]) for row in csv.DictReader(io.StringIO(_emit(table, "csv")))]
    assert np.array(back).tobytes() == np.array(values).tobytes()
    finite = [v for v in values if math.isfinite(v)]
    parsed = [row["x"] for row in json.loads(_emit(table, "json")) if row["x"] is not None]
    assert np.array(parsed, float).tobytes() == np.array(finite, float).tobytes()


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_texts_and_integers_read_back(rows: list[tuple[str, int]]) -> None:
    table = Table((Column("name", "text"), Column("n", "integer")), rows)
    stream = io.StringIO(_emit(table, "csv"), newline="")
    assert [(name, int(n)) for name, n in list(csv.reader(stream))[1:]] == rows
    records = json.loads(_emit(table, "json"))
    assert [(r["name"], r["n"]) for r in records] == rows


def test_numpy_scalars_are_plain_numbers() -> None:
    row = (np.int64(3), np.float64(0.1), np.bool_(True), np.float32(0.5))
    table = Table(tuple(Column(c) for c in "abcd"), [row])
    assert _emit(table, "csv").splitlines()[1] == "3,0.1,true,0.5"
    assert json.loads(_emit(table, "json")) == [{"a": 3, "b": 0.1, "c": True, "d": 0.5}]


def test_json_takes_documents_apart() -> None:
    @dataclass(frozen=True)
    class Inner:
        path: Path
        values: Any

    document = {"a": Inner(Path("x"), np.array([1.0, np.nan])), "t": _TABLE, 3: (math.inf, {"b"})}
    back = json.loads(json_text(document))
    assert back["a"] == {"path": "x", "values": [1.0, None]}
    assert back["3"] == [None, ["b"]]
    assert len(back["t"]) == 2


def test_rows_are_written_one_at_a_time() -> None:
    stream = io.StringIO()
    write_rows(stream, (Column("n", "integer"),), ((i,) for i in range(1000)))
    assert stream.getvalue().splitlines()[-1] == "999"


def test_unknown_format_and_broken_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="yaml"):
        _emit(_TABLE, "yaml")
    with pytest.raises(ValueError, match="same key: x"):
        Table((Column("x"), Column("x")), ())
    with pytest.raises(ValueError, match="row 0 has 2 values for 1 columns"):
        Table((Column("x"),), ((1, 2),))


# --- the table on a screen ------------------------------------------------------------


def test_piped_table_shows_every_column_on_one_line_each() -> None:
    wide = Table(tuple(Column(f"parameter_number_{i}") for i in range(20)), [range(20)])
    lines = _emit(wide, "table").splitlines()
    assert len(lines) == 2
    assert all(f"parameter_number_{i}" in lines[0] for i in range(20))
    assert "\x1b" not in lines[0]


def test_table_rounds_and_aligns() -> None:
    assert _emit(_TABLE, "table").splitlines() == [
        "trials",
        "trial  fast  mode        filter   sharpe  max_drawdown  mean_holding_time  opened",
        "   17   0.1  break, out     yes  0.33333         5.00%             2m 14s  "
        "2014-05-01T00:00:03.123Z",
        '    4   2.5  a "b"           no        -        30.00%                  -  -',
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_table_fits_its_width_and_says_what_is_left_out(width: int) -> None:
    columns = tuple(Column(f"parameter_number_{i}", priority=i) for i in range(12))
    lines = table_lines(Table(columns, [[1.5] * 12, [2.5] * 12]), width, hint="--csv FILE has all")
    assert max(cell_width(line.plain) for line in lines) <= width
    assert lines[0].plain.startswith("param")
    shown = " ".join(line.plain for line in lines[3:])
    if width < 100:
        assert shown.startswith("not shown (--csv FILE has all): parameter_number_")
        assert shown.endswith("parameter_number_11")


def test_of_many_columns_without_room_the_first_are_named() -> None:
    columns = tuple(Column(f"p{i}", priority=i) for i in range(40))
    lines = table_lines(Table(columns, [[123456.5] * 40]), 30)
    shown = " ".join(line.plain for line in lines[2:])
    assert shown.startswith("not shown (-f csv has all): p2, p3, ")
    assert shown.endswith(", p13, and 26 more")


def test_empty_table_says_so() -> None:
    assert _emit(Table((Column("x"),), ()), "table") == "(no rows)\n"
    assert _emit(Table((Column("x"),), ()), "csv") == "x\n"
    assert json.loads(_emit(Table((Column("x"),), ()), "json")) == []


def test_table_survives_a_stream_that_is_not_unicode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    emit(Table((Column("näme", "text"),), [("→",)]), stream=stream)
    stream.flush()
    assert raw.getvalue() == b"n?me\n?\n"


# --- files ----------------------------------------------------------------------------


def test_file_is_never_overwritten_without_force(tmp_path: Path) -> None:
    path = tmp_path / "best.csv"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"best\.csv: exists already; give --force") as caught:
        write_csv(path, _TABLE)
    assert caught.value.exit_code == 2
    assert path.read_text() == "precious"
    write_csv(path, _TABLE, force=True)
    assert path.read_text() == _emit(_TABLE, "csv")
    assert os.listdir(tmp_path) == ["best.csv"]


def test_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "best.csv"

    def be_late() -> None:
        with new_file(path) as temporary:
            temporary.write_text("late")
            path.write_text("precious")

    with pytest.raises(InputError, match="--force"):
        be_late()
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["best.csv"]


def test_missing_folder_and_folder_as_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist; make it first"):
        write_csv(tmp_path / "nowhere" / "best.csv", _TABLE)
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        write_csv(tmp_path, _TABLE, force=True)
    assert os.listdir(tmp_path) == []


def test_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "best.csv"
    path.write_text("precious")

    def be_interrupted() -> None:
        with new_file(path, force=True) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["best.csv"]


_FULL_DISK = """
import resource, sys
from sweep.errors import SweepError
from sweep.report.table import Column, Table, write_csv

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_csv(sys.argv[1], Table((Column("x"),), [(i / 3,) for i in range(10_000)]))
except SweepError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: writing fails half way."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path / "best.csv")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "best.csv: cannot be written: File too large; nothing is left there" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_devices_are_written_to_and_never_replaced() -> None:
    with pytest.raises(SweepError, match="No space left on device"):
        write_csv("/dev/full", _TABLE, force=True)
    write_csv("/dev/null", _TABLE)
    write_csv("/dev/null", _TABLE, force=True)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_link_keeps_pointing_to_the_file_written(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    write_csv(tmp_path / "link.csv", _TABLE, force=True)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == _emit(_TABLE, "csv")


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        write_json(tmp_path / "best.json", _TABLE)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "best.json").stat().st_mode) == 0o644
    assert json.loads((tmp_path / "best.json").read_text()) == _TABLE.records()


def test_parquet_keeps_bits_times_and_missing_values(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "best.parquet", _TABLE)
    back = pq.read_table(tmp_path / "best.parquet")
    assert back.column_names[6] == "mean_holding_time_s"
    assert back["max_drawdown"].to_pylist() == [0.05, 0.1 + 0.2]
    assert back["opened"].cast("int64").to_pylist() == [1398902403123000000, None]
    assert math.isnan(back["sharpe"].to_pylist()[1])
    with pytest.raises(InputError, match="--force"):
        write_parquet(tmp_path / "best.parquet", _TABLE)
