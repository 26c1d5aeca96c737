"""`sweep mc`: what it shows, what it writes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import SERIAL, Result, sweep
from mc_helpers import make
from rich.console import Console
from study_helpers import ROOT

from sweep.backtest.tasks import Task, evaluate
from sweep.cli.mc import _Progress
from sweep.engines.serial import SerialEngine
from sweep.montecarlo.run import monte_carlo
from sweep.report.status_line import StatusLine
from sweep.scenarios.evaluate import path_context
from sweep.scenarios.resample.plan import plan_path
from sweep.scenarios.resample.ticks import derive_ticks
from sweep.study.study import Study


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder, whose paths are evaluated in this process."""
    folder = tmp_path_factory.mktemp("mc")
    return make(folder, "costs.commission_rate=2e-5", SERIAL[1]).folder


def mc(out: Path, *arguments: object) -> Result:
    return sweep("mc", "--study", out, *arguments)


SOME = ("-m", "pnl,sessions", "--paths", 64)


# -- what is shown ---------------------------------------------------------------------


def test_a_table_for_people(out: Path) -> None:
    found = mc(out, *SOME)
    assert found.code == 0, found.err
    best = Study.open(out).best(1)[0]
    assert f"variant     trial {best}" in found.out
    assert "pnl   redrawn blocks of sessions' profit and loss" in found.out
    assert found.out.index("pnl   ") < found.out.index("sessions   ")
    assert "┤" not in found.out  # charts are for a terminal
    assert "\x1b" not in found.out + found.err
    assert "next: sweep mc --study" in found.err
    assert mc(out, *SOME, "--quiet").err == ""


def test_json_is_one_document_with_what_the_interface_gives(out: Path) -> None:
    found = mc(out, *SOME, "-f", "json")
    document = found.json
    study = Study.open(out)
    expected = monte_carlo(study, methods=("pnl", "sessions"), engine=SerialEngine())
    assert document["study"] == "small"
    assert len(document["findings"]) == 2
    for shown, finding in zip(document["findings"], expected, strict=True):
        own = json.loads(json.dumps(finding.to_dict()))
        for name in ("method", "variant", "n_paths", "seed", "summaries", "figures", "notes"):
            assert shown[name] == own[name], name
        assert shown["observed"]["net_profit"] == own["observed"]["net_profit"]
    assert json.dumps(document).count("NaN") == 0


def test_csv_has_a_line_for_each_finding(out: Path) -> None:
    found = mc(out, *SOME, "--compare", 0, "--compare", 1, "-f", "csv")
    head, *lines = found.rows
    column = {name: [line[k] for line in lines] for k, name in enumerate(head)}
    best = Study.open(out).best(1)[0]
    variants = [f"trial {k}" for k in dict.fromkeys([best, 0, 1])]
    n = len(variants)
    assert column["method"] == ["pnl"] * n + ["sessions"] * n
    assert column["variant"] == variants * 2


def test_variants_by_number_value_and_rank(out: Path) -> None:
    def asked(*arguments: object) -> list[str]:
        document = mc(out, "-m", "permutation", "--paths", 8, *arguments, "-f", "json").json
        return [finding["variant"] for finding in document["findings"]]

    best = Study.open(out).best(2)
    assert asked() == [f"trial {best[0]}"]
    assert asked("--top", 2) == [f"trial {k}" for k in best]
    assert asked(3, "--compare", 1) == ["trial 3", "trial 1"]
    assert asked("--param", "mode=hold", "--param", "length=9") == [
        "mode=hold length=9 ceiling=1e+06"
    ]


def test_without_a_terminal_nothing_moves(out: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "sweep", "mc", "--study", out, "-m", "sessions", "--paths", "20"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in process.stdout + process.stderr
    assert "\r" not in process.stdout + process.stderr


class FakeStatus(StatusLine):
    """Collects what is shown."""

    def __init__(self, on_terminal: bool, clock: Callable[[], float]) -> None:
        console = Console(file=io.StringIO(), force_terminal=on_terminal)
        super().__init__(console=console, clock=clock)
        self.lines: list[str] = []

    def show(self, text: str) -> None:
        super().show(text)
        self.lines.append(text)


def test_progress_is_a_line_now_and_then() -> None:
    now = 0.0
    status = FakeStatus(False, lambda: now)
    progress = _Progress(status, lambda: now)
    for done in range(0, 640, 64):
        progress("sessions", done, 640, np.arange(float(done)))
        now += 3.0
    assert len(status.lines) == 2
    assert status.lines[0].startswith("sessions: 256 of 640, ")
    assert "left" in status.lines[0]
    assert status.lines[0].endswith("net profit 5 % 12, 50 % 127, 95 % 243")


def wave(out: Path, *arguments: object) -> Result:
    """Ask of a variant that trades in every session."""
    return mc(out, "--param", "mode=wave", *arguments)


def test_blocks_are_named_by_every_way_out(out: Path, tmp_path: Path) -> None:
    for method, block, text in (
        ("sessions", None, "1 session (by default)"),
        ("sessions", 2, "2 sessions on average (given)"),
        ("sessions", "auto", "sessions on average (what the changes of the mid ask for"),
        ("pnl", None, "(what the sessions ask for, by Politis & White)"),
        ("pnl", 3, "3 sessions on average (given)"),
        ("trades", 2, "2 sessions on average (given)"),
        ("slots", None, "30 minutes (by default)"),
        ("stationary", 300, "300 ticks on average (given)"),
        ("moving", 1234, "1,234 ticks (given)"),
    ):
        words = ("-m", method, "--paths", 8, *(() if block is None else ("--block", block)))
        page = tmp_path / f"{method}-{block}.html"
        shown = wave(out, *words, "--html", page)
        assert shown.code == 0, shown.err
        (line,) = (x for x in shown.out.splitlines() if x.startswith("block  "))
        assert text in line
        assert "<dt>block</dt><dd>" + line[len("block") :].strip() in page.read_text().replace(
            "&amp;", "&"
        )
        found = wave(out, *words, "-f", "json").json
        own, row = found["findings"][0]["block"], found["summary"][0]
        if isinstance(block, int):
            assert (own["length"], own["origin"]) == (block, "given")
        assert row["block"] == own["length"]
        assert row["block_unit"] == own["unit"]
        head, line_of = wave(out, *words, "-f", "csv").rows
        assert float(line_of[head.index("block")]) == own["length"]
    none = wave(out, "-m", "permutation", "--paths", 8, "-f", "json").json["findings"][0]
    assert none["block"] is None


def test_units_follow_the_blocks_of_sessions(out: Path) -> None:
    def units(block: int) -> dict[str, Any]:
        found = wave(out, "-m", "sessions", "--block", block, "--paths", 8, "-f", "json").json
        return dict(found["findings"][0]["summaries"]["net_profit"]["units"])

    alone, together = units(1), units(3)
    assert alone["n"] == together["n"] == 10
    assert alone["effective"] > together["effective"]
    assert together["effective"] == 10 / 3
    assert "in blocks of 3 on average are worth 3 independent ones" in together["reason"]
    shown = wave(out, "-m", "sessions", "--block", 3, "--paths", 8).out
    assert "10 sessions in blocks of 3 on average are worth 3 independent ones" in shown
    assert "3 blocks of 3 sessions to draw from: too few units" in " ".join(shown.split())


def test_nothing_is_summed_up_where_nothing_can_be_said(tmp_path: Path) -> None:
    one = "data.synth={sessions=1, ticks_per_session=900, seed=3}"
    study = make(tmp_path, one, SERIAL[1], trials=1).folder
    found = mc(study, "-m", "pnl,trades,sessions", "--paths", 8)
    assert found.code == 0, found.err
    assert "no summary, because no method has paths to sum up; each one says why" in found.out
    assert "p_loss" not in found.out
    assert found.out.count("cannot be said, because") == 3
    one_can = mc(study, "-m", "pnl,sessions,gbm", "--paths", 8)
    assert "p_loss" in one_can.out


def test_one_of_a_kind_is_not_many(out: Path) -> None:
    for more in ((), ("--block", 10), ("--block", 1)):
        found = wave(out, "--paths", 1, "-m", "pnl,trades,sessions", *more)
        assert found.code == 0, found.err
        many = r"(?<![\d.,/])1 (?:unit|path|session|block|replicate|trade)s\b"
        assert not re.findall(many, found.out)
    blocks = " ".join(wave(out, "--paths", 2, "-m", "stationary", "--block", 4000).out.split())
    assert "too few units: 1 block, of the 30" in blocks
    assert "that 1 block was seen and no others" in blocks


def test_time_under_water_has_its_unit(out: Path) -> None:
    found = wave(out, "-m", "pnl", "--paths", 8)
    lines = [x for x in found.out.splitlines() if "longest_under_water" in x]
    assert all("longest_under_water_sessions" in x for x in lines)
    assert lines
    document = wave(out, "-m", "pnl", "--paths", 8, "-f", "json").json["findings"][0]
    assert "longest_under_water_sessions" in document["summaries"]


def test_a_terminal_is_told_what_keeps_it_waiting(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    console = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr("sweep.report.status_line.stderr_console", lambda **_: console)
    show = StatusLine.show
    monkeypatch.setattr(
        StatusLine, "show", lambda self, text: (seen.append(text), show(self, text))
    )
    assert mc(out, "-m", "sessions,gbm", "--paths", 8, "--seed", 77).code == 0
    assert seen[0].startswith("sessions: compiling (once for each strategy)")
    assert seen[1].startswith("sessions: 0 of 8")
    fitting = next(k for k, line in enumerate(seen) if line.startswith("gbm: fitting the model"))
    assert seen[fitting + 1].startswith("gbm: 0 of 8")
    drawn = len(console.file.getvalue())  # type: ignore[attr-defined]
    assert drawn
    assert mc(out, "-m", "sessions", "--paths", 8, "--quiet").code == 0
    assert len(console.file.getvalue()) == drawn  # type: ignore[attr-defined]


# -- what is written -------------------------------------------------------------------


def test_files_are_written_and_not_over_others(out: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"paths.{name}" for name in ("csv", "parquet", "html")}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    found = mc(out, *SOME, *options)
    assert found.code == 0, found.err
    for path in files.values():
        assert f"written: {path}" in found.err
    with open(files["csv"], newline="") as lines:
        rows = list(csv.DictReader(lines))
    findings = monte_carlo(Study.open(out), methods=("pnl", "sessions"), engine=SerialEngine())
    for finding in findings:
        own = [row for row in rows if row["method"] == finding.method]
        assert [int(row["path"]) for row in own] == list(range(64))
        profits = np.array([float(row["net_profit"]) for row in own])
        assert np.array_equal(profits, finding.paths["net_profit"])  # every digit
    import pyarrow.parquet as pq

    table = pq.read_table(files["parquet"])
    assert table.column("net_profit").to_pylist() == [float(r["net_profit"]) for r in rows]
    assert "<html" in files["html"].read_text()
    before = {path: path.read_bytes() for path in files.values()}
    for name, path in files.items():
        again = mc(out, *SOME, f"--{name}", path)
        assert again.code == 2
        assert f"{path}: exists already; give --force" in again.err
        assert again.out == ""
    assert {path: path.read_bytes() for path in files.values()} == before
    assert mc(out, *SOME, "--csv", files["csv"], "--force").code == 0
    assert files["csv"].read_bytes() == before[files["csv"]]


def test_a_picture_is_written(out: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = mc(out, *SOME, "--png", tmp_path / "a.png")
    assert found.code == 0, found.err
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("method", "block"),
    [
        ("sessions", None),
        ("sessions", "auto"),
        ("slots", None),
        ("moving", 500),
        ("moving", "auto"),
    ],
)
def test_an_exported_path_is_the_one_that_was_evaluated(
    out: Path, tmp_path: Path, method: str, block: Any
) -> None:
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks

    options = ("-m", method, "--restart", "never", "--param", "mode=wave")
    options += () if block is None else ("--block", block)
    file = tmp_path / "path.parquet"
    found = mc(out, *options, "--export", 3, file)
    assert found.code == 0, found.err
    study = Study.open(out)
    setup, part = study.setup, study.setup.tick_slices[0]
    settings = {"methods": (method,), "restart": "never", "block": block, "n_paths": 4}
    from sweep.montecarlo.request import request_of

    spec, _ = request_of(study, settings).resampling_of(study, method)
    context = path_context(setup.context, setup.strategy, setup.space, spec, part.begin, part.end)
    path = plan_path(context.resampler, study.mapped_ticks, 3)
    derived = derive_ticks(context.resampler, study.mapped_ticks, path, 0, path.n_ticks)
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    assert f"{path.n_ticks:,} ticks of path 3 by {method}" in found.err
    advised = found.err.splitlines()[-1].removeprefix("next: sweep ").split()
    assert sweep(*advised, "-f", "json").json["ticks"] == path.n_ticks
    for name in ("bid", "ask"):
        assert table.column(name).to_numpy().tobytes() == getattr(derived, name).tobytes()
    assert table.column("ts").cast("int64").to_numpy().tobytes() == derived.ts.tobytes()
    # Read as any source, it gives the row of the path.
    from dataclasses import replace

    from sweep.schema import Slice

    handle = import_ticks(SourceSpec(str(file))).handle
    row = study.space.encode({"mode": "wave"})
    alone = evaluate(
        replace(setup.context, ticks=handle), Task(0, row[None], (Slice(0, path.n_ticks, 0),))
    )
    finding = monte_carlo(study, values={"mode": "wave"}, engine=SerialEngine(), **settings)[0]
    profit = alone.rows[0, 0]["equity"] - alone.rows[0, 0]["capital"]
    assert finding.paths["net_profit"][3] == profit
    assert finding.paths["trades"][3] == alone.rows[0, 0]["trades"]
    assert mc(out, *options, "--export", 3, file).code == 2  # it is there


# -- how it ends -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-m", "session"), "no method 'session'"),
        (("-m", "stationary", "--restart", "session"), "have no sessions to start afresh at"),
        (("-m", "pnl,slots", "--block", 5), "sessions for pnl, minutes for slots"),
        (("-m", "stationary"), "blocks of 5000 ticks are longer than the data"),
        (
            ("-m", "sessions", "--block", 1000),
            "blocks of 1,000 sessions on average are longer than the data, 10 sessions; use a "
            "block of 1 to 10 sessions",
        ),
        (("-m", "slots", "--block", 7), "divide the day"),
        (("--filter", "net_profit > 0"), "net_profit > 0"),
        (("--filter", "net_profit >= 0"), "a filter is about functionals over paths"),
        (("--filter", "mean(nett) >= 0"), "nett"),
        (("--paths", 0), "--paths 0: expected a whole number above 0, found 0"),
        (("--tick-size", "x"), '--tick-size x: expected a number of at least 0, found "x"'),
        (("--level", "logs"), '--level logs: expected "log" or "ticks", found "logs"'),
        (("--block", "all"), 'expected a number above 0, or "auto", found "all"'),
        (("--param", "mode"), "expected NAME=VALUE"),
        (("--param", "mode=up"), "mode"),
        (("--param", "length=63"), "valid() refuses these values"),
        ((17,), "no trial 17; there are 4"),
        (("--csv", "paths.txt"), "--csv paths.txt: the name must end in .csv"),
        (("--export", 0, "a.csv"), "must end in .parquet"),
        (("--export", -1, "a.parquet"), "paths are numbered from 0"),
        (("-m", "pnl", "--export", 0, "a.parquet"), "pnl draws no ticks"),
        (("-m", "slots,sessions", "--export", 0, "a.parquet"), "a path of one method"),
        (("-m", "gbm", "--effect", "hour", "--effect-size", 0), "effect_size is 0"),
        (("-m", "gbm", "--model", "volatility"), "expected NAME=NUMBER"),
        (("-m", "gbm", "--model", "volatilty=1"), "there is no such number"),
        (("--gap", 5, "--opens", 3), "gap and opens both say"),
        (("-m", "neighbourhood", "--radius", 2), "a radius is a share of the range"),
    ],
)
def test_a_bad_option_is_said_and_ends_with_2(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = mc(out, *arguments)
    assert found.code == 2, found.err
    assert text in found.err
    assert "Traceback" not in found.err
    assert found.out == ""
    assert not list(tmp_path.iterdir())


def test_without_a_study_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = sweep("mc")
    assert found.code == 2
    assert "no study under results" in found.err


def test_an_interrupt_keeps_what_is_finished_and_goes_on(tmp_path: Path) -> None:
    out = make(tmp_path, SERIAL[1], trials=1).folder
    words = [sys.executable, "-m", "sweep", "mc", "--study", str(out), "--param", "mode=flip"]
    words += ["-m", "sessions", "--paths", "100000"]
    process = subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((out / "mc").rglob("*.rows")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    shown, said = process.communicate(timeout=600)
    assert process.returncode == 130, said
    assert "interrupted; paths that were finished are kept, and the same command continues" in said
    assert "Traceback" not in said
    assert shown == ""
    kept = {f: f.stat().st_mtime_ns for f in (out / "mc").rglob("*.rows")}
    assert kept
    assert not list((out / "mc").rglob("*.part"))
    found = mc(out, "--param", "mode=flip", "-m", "sessions", "--paths", 64 * len(kept))
    assert found.code == 0, found.err
    assert {f: f.stat().st_mtime_ns for f in (out / "mc").rglob("*.rows")} == kept
