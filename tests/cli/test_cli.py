"""The command line: what each command writes, and where."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import SERIAL, files_below, on_screen, ran, study, sweep
from study_helpers import ROOT, STRATEGY, write_study

from sweep.errors import ReplayMismatchError
from sweep.stats.metrics import METRICS
from sweep.study.study import Study

__all__ = ["study"]

HEAVY = (
    "numba",
    "jinja2",
    "matplotlib",
    "optuna",
    "pandas",
    "pyarrow",
    "rich",
    "scipy",
    "numpy",
    "joblib",
)
COMMANDS = ("init", "check", "run", "show", "trials", "best", "replay", "data")


def process(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sweep", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from sweep.cli.main import run_command\n"
        f"for name in ('', *{COMMANDS!r}):\n"
        "    assert run_command([name, '--help'] if name else ['--help']) == 0, name\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "loaded: []"


def test_help_lists_every_command() -> None:
    text = sweep("--help").out
    assert all(f"  {name} " in text for name in COMMANDS)


def test_an_unknown_command_names_the_nearest() -> None:
    result = sweep("trails")
    assert result.code == 2
    assert 'did you mean "trials"? There are init, ' in result.err


def test_a_wrong_option_is_a_usage_error() -> None:
    result = sweep("run", "study.toml", "--trils", "3")
    assert result.code == 2
    assert "--trils" in result.err


# -- run -------------------------------------------------------------------------------


def test_run_in_json_prints_one_document(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    result = sweep("run", path, "--out", tmp_path / "out", *SERIAL, "-f", "json")
    document = result.json
    assert result.code == 0
    assert document["run"]["ended_by"] == "24 trials"
    assert document["run"]["complete"] == document["counts"]["complete"] > 0
    assert document["verified"] is True
    assert document["best"][0]["holdout_net_profit"] is not None
    assert document["best"][0]["net_profit"] >= document["best"][1]["net_profit"]
    assert "warning" not in result.err


def test_run_puts_messages_on_stderr_and_the_table_on_stdout(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    result = sweep("run", path, "--out", tmp_path / "out", *SERIAL)
    assert "best by net_profit" in result.out
    assert "replayed to the bit" in result.out
    assert "holdout" in result.out
    assert "first trial after" in result.out
    assert str(tmp_path / "out") in result.err
    assert "next: sweep best" in result.err
    assert "\x1b" not in result.out + result.err


def test_what_is_counted_agrees_with_its_number(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    arguments = ("run", path, "--out", tmp_path / "out", *SERIAL, "--set", "study.top=1")
    shown = sweep(*arguments, "--trials", 1)
    assert "ended by 1 trial\n" in shown.out
    assert "; 1 variant evaluated" in shown.out
    assert "opened for 1 variant;" in shown.out
    assert "1/1 trial 100%" in shown.err
    about = sweep("show", tmp_path / "out").out
    assert "ticks in 1 slice\n" in about
    assert "1 variant ever evaluated" in about
    assert "going on after 1 trial\n" in sweep(*arguments, "--trials", 2).err


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_run_says_where_a_duration_leaves_one_slice(tmp_path: Path, sampler: str) -> None:
    path = write_study(tmp_path, trials=2, sampler=sampler)
    said = 'data.slices = "30d" leaves the search range in 1 slice'
    for slices, expected in (("30d", True), ("1h", False), ("1", False)):
        arguments = ("run", path, "--out", tmp_path / slices, *SERIAL, "--set")
        result = sweep(*arguments, f"data.slices={slices}", "-f", "json")
        assert result.code == 0
        assert any(said in text for text in result.json["run"]["warnings"]) is expected
        assert (said in result.err) is expected


def test_quiet_run_says_nothing_on_stderr(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    result = sweep("run", path, "--out", tmp_path / "out", *SERIAL, "--quiet", "-f", "csv")
    assert result.code == 0
    assert result.err == ""
    assert result.rows[0][0] == "trial"


def test_flags_override_the_study_file(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    result = sweep(
        "run", path, "--out", tmp_path / "out", *SERIAL, "-f", "json", "--trials", 5, "--seed", 9,
        "--sampler", "random", "--param", "fast=2:10:2", "--param", "pause=false",
        "--set", "costs.slippage=0.02",
    )  # fmt: skip
    settings = result.json["settings"]
    assert settings["study"]["trials"] == 5
    assert settings["study"]["seed"] == 9
    assert settings["study"]["sampler"] == "random"
    assert settings["costs"]["slippage"] == 0.02
    assert all(row["fast"] in (2, 4, 6, 8, 10) for row in result.json["best"])


def test_running_again_goes_on_and_changes_nothing_that_is_finished(tmp_path: Path) -> None:
    out = ran(tmp_path, "--trials", 6)
    before = Study.open(out)
    result = sweep("run", tmp_path / "study.toml", "--out", out, *SERIAL, "--trials", 10)
    after = Study.open(out)
    assert "going on after" in result.err
    assert after.board.rows[: len(before.board)].tobytes() == before.board.rows.tobytes()
    assert int((~after.board.in_state("invalid")).sum()) == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_saves_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    path = write_study(tmp_path, sampler="random", trials=1_000_000)
    out = tmp_path / "out"
    run = process("run", path, "--out", out, *SERIAL, "--set", "compute.batch=1")
    ledger = out / "ledger.bin"
    while not (ledger.exists() and ledger.stat().st_size > 5_000):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(number)
    stdout, stderr = run.communicate(timeout=600)
    assert run.returncode == 130, stderr
    assert "interrupted; what was finished is kept. Go on with:" in stderr
    assert f"--out {out}" in stderr
    assert "best by net_profit" in stdout
    finished = len(Study.open(out).board)
    assert finished > 0
    result = sweep("run", path, "--out", out, *SERIAL, "--trials", finished, "-f", "json")
    assert result.code == 0
    assert result.json["counts"]["trials"] >= finished


# -- show, trials, best ----------------------------------------------------------------


def test_show_names_hashes_state_and_best(study: Path) -> None:
    document = sweep("show", study, "-f", "json").json
    assert document["state"] == "finished"
    assert document["verified"] is True
    assert document["ticks"]["content"]
    assert document["strategy"]["digest"]
    assert document["counts"]["trials"] == len(Study.open(study).board)
    table = sweep("show", study).out
    assert "net_profit (maximize)" in table
    assert document["ticks"]["content"][:12] in table
    assert sweep("show", study, "-f", "csv").rows[0] == ["fact", "value"]


def test_the_latest_study_is_the_default(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = sweep("show")
    assert missing.code == 2
    assert "no study under results" in missing.err
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "one").symlink_to(study)
    assert sweep("show", "-f", "json").json["name"] == "small"


def test_trials_are_sorted_filtered_and_cut(study: Path) -> None:
    rows = sweep(
        "trials", study, "--where", "trades >= 5 and max_drawdown < 0.5",
        "--sort-by", "sharpe", "--top", 4, "--state", "complete", "-f", "json",
    ).json  # fmt: skip
    assert len(rows) == 4
    assert all(r["trades"] >= 5 and r["max_drawdown"] < 0.5 for r in rows)
    sharpes = [r["sharpe"] for r in rows]
    assert sharpes == sorted(sharpes, reverse=True)
    rising = sweep("trials", study, "--sort-by", "sharpe", "--ascending", "-f", "json").json
    known = [r["sharpe"] for r in rising if r["sharpe"] is not None]
    assert known == sorted(known)
    assert all(r["sharpe"] is None for r in rising[len(known) :])


def test_where_compares_texts_and_parameters(study: Path) -> None:
    rows = sweep("trials", study, "--where", "side == 'long' and fast < 30", "-f", "json").json
    assert rows
    assert {r["side"] for r in rows} == {"long"}


@pytest.mark.parametrize("where", ["pause == {}", "pause == '{}'", "{} == pause"])
def test_where_takes_booleans_as_tables_show_them(study: Path, where: str) -> None:
    for shown, value in (("yes", True), ("no", False)):
        rows = sweep("trials", study, "--where", where.format(shown), "-f", "json").json
        assert {r["pause"] for r in rows} == {value}


def test_a_wrong_column_names_the_nearest(study: Path) -> None:
    result = sweep("trials", study, "--sort-by", "sharp")
    assert result.code == 2
    assert 'did you mean "sharpe"? There are trial, ' in result.err
    result = sweep("trials", study, "--where", "tradess > 3")
    assert result.code == 2
    assert "trades" in result.err


def test_best_as_csv_holds_every_digit(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.csv"
    result = sweep("best", study, "--csv", path, "--top", 3)
    assert result.code == 0
    opened = Study.open(study)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["trial"]) for r in rows] == opened.best(3)
    for row in rows:
        number = int(row["trial"])
        assert float(row["slow"]) == opened.params(number)["slow"]
        for name, value in opened.metrics(number).items():
            key = f"{name}_s" if METRICS[name].unit == "s" else name
            assert np.isnan(value) if row[key] == "" else float(row[key]) == value
        held = opened.holdout_metrics(number)
        assert held is not None
        assert float(row["holdout_net_profit"]) == held["net_profit"]


def test_best_never_replaces_a_file_unasked(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.csv"
    path.write_text("mine")
    result = sweep("best", study, "--csv", path)
    assert result.code == 2
    assert "--force" in result.err
    assert path.read_text() == "mine"
    assert sweep("best", study, "--csv", path, "--force").code == 0
    assert path.read_text().startswith("trial,")


@pytest.mark.parametrize("command", ["best", "show"])
def test_a_winner_that_does_not_replay_is_a_loud_error(
    study: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differ(self: Study, variant: object, *, on: str = "search") -> None:
        raise ReplayMismatchError("TRIAL 8 DOES NOT REPLAY: equity")

    monkeypatch.setattr(Study, "replay", differ)
    result = sweep(command, study)
    assert result.code == 1
    assert "DOES NOT REPLAY" in result.err
    assert result.out == ""
    unchecked = sweep(command, study, "--no-verify")
    assert unchecked.code == 0
    assert "not replayed" in unchecked.out


def test_a_tampered_row_is_found_out(tmp_path: Path) -> None:
    out = ran(tmp_path, "--trials", 4)
    study = Study.open(out)
    winner = study.best(1)[0]
    study.board._rows[winner]["equity"] += 1e-9
    with pytest.raises(ReplayMismatchError, match="equity"):
        study.replay(winner)


def test_best_of_ticks_that_are_gone_is_marked_as_unverified(tmp_path: Path) -> None:
    ticks = tmp_path / "ticks.parquet"
    _write_ticks(ticks)
    path = write_study(tmp_path)
    text = (
        path.read_text().replace("synth = {", "# synth = {").replace('"synth"', '"ticks.parquet"')
    )
    path.write_text(text)
    out = tmp_path / "out"
    assert sweep("run", path, "--out", out, *SERIAL, "--trials", 4).code == 0
    moved = tmp_path / "moved.parquet"
    ticks.rename(moved)
    result = sweep("best", out)
    assert result.code == 0
    assert "NOT VERIFIED" in result.out
    assert "warning" in result.err
    assert sweep("best", out, "-f", "json").json["verified"] is False
    assert sweep("best", out, "-f", "json", "--source", moved).json["verified"] is True


def _write_ticks(path: Path) -> None:
    from sweep.ticks.sources import write_parquet
    from sweep.ticks.synthetic import SynthSpec, generate

    write_parquet(generate(SynthSpec(sessions=2, ticks_per_session=2000)), path)


def test_columns_that_were_asked_for_are_shown_before_others(study: Path) -> None:
    lines = on_screen(
        "trials", study, "--where", "mean_holding_time_s > 0 and win_rate > 0",
        "--sort-by", "calmar", "--plateau", "--top", 3,
    )  # fmt: skip
    titles = lines[0].split()
    assert {"trial", "win_rate", "calmar", "plateau"} <= set(titles)
    assert any(t.startswith("mean_hol") for t in titles)
    assert lines[4].startswith("not shown (-f csv has all): ")


# -- replay ----------------------------------------------------------------------------


def test_replay_writes_trades_fills_and_equity_that_agree(study: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    trades, fills, equity = (tmp_path / n for n in ("t.csv", "f.parquet", "e.parquet"))
    result = sweep(
        "replay", "--study", study, "--trades", trades, "--fills", fills, "--equity", equity,
        "-f", "json",
    )  # fmt: skip
    document = result.json
    with open(trades, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == document["metrics"]["trades"] == len(document["trades"])
    profit = sum(float(r["profit"]) for r in rows)
    assert profit == pytest.approx(document["metrics"]["net_profit"], abs=1e-9)
    assert sum(float(r["commission"]) for r in rows) == pytest.approx(
        document["metrics"]["commission"]
    )
    table = pq.read_table(equity)
    assert table["equity"][-1].as_py() == document["metrics"]["final_equity"]
    assert pq.read_table(fills).num_rows == document["metrics"]["fills"]
    csv_equity = tmp_path / "e.csv"
    sweep("replay", "--study", study, "--equity", csv_equity)
    with open(csv_equity, newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["equity"]) == document["metrics"]["final_equity"]


def test_replay_shows_whole_stamps_to_the_millisecond_and_writes_all_digits(study: Path) -> None:
    lines = on_screen("replay", "--study", study)
    first = lines[next(k for k, line in enumerate(lines) if line.startswith("trade  entry_ts")) + 1]
    exact = sweep("replay", "--study", study, "-f", "json").json["trades"][0]["entry_ts"]
    assert first.split()[1] == f"{exact[:23]}Z"
    assert len(exact) > 24


def test_replay_of_values_that_were_searched_is_the_trial(study: Path) -> None:
    opened = Study.open(study)
    number = opened.best(1)[0]
    given = [f"--param={k}={v!r}".replace("'", "") for k, v in opened.params(number).items()]
    document = sweep("replay", "--study", study, *given, "-f", "json").json
    assert document["trial"] == number
    assert document["metrics"]["net_profit"] == opened.metrics(number)["net_profit"]


def test_replay_takes_values_of_any_variant(study: Path) -> None:
    document = sweep("replay", "--study", study, "--param", "fast=7", "-f", "json").json
    assert document["params"]["fast"] == 7.0
    result = sweep("replay", "--study", study, "--param", "fsat=7")
    assert result.code == 2
    assert "did you mean fast?" in result.err
    result = sweep("replay", "--study", study, "--param", "fast=700")
    assert result.code == 2
    assert "fast" in result.err


def test_replay_refuses_files_before_it_evaluates(study: Path, tmp_path: Path) -> None:
    there = tmp_path / "t.csv"
    there.write_text("mine")
    other = tmp_path / "e.csv"
    result = sweep("replay", "--study", study, "--trades", there, "--equity", other)
    assert result.code == 2
    assert there.read_text() == "mine"
    assert not other.exists()
    assert sweep("replay", "--study", study, "--trades", tmp_path / "t.txt").code == 2


def test_opening_the_holdout_is_recorded_once_for_each_variant(tmp_path: Path) -> None:
    out = ran(tmp_path, "--trials", 6, "--set", "study.top=1")
    assert len(Study.open(out).opened) == 1
    worst = Study.open(out).best(6)[-1]
    counts = [
        sweep("replay", *what, "--study", out, "--on", "holdout", "-f", "json").json[
            "holdout_opened"
        ]
        for what in ([worst], [worst], ["--param", "fast=9"], ["--param", "fast=9"])
    ]
    assert counts == [2, 2, 3, 3]
    study = Study.open(out)
    assert len(study.opened) == 3
    assert study.holdout_metrics(worst) is not None
    assert "opened for 3 variants" in sweep("best", out).out


def test_the_holdout_of_a_running_study_stays_closed(tmp_path: Path) -> None:
    from filelock import FileLock

    out = ran(tmp_path, "--trials", 4)
    before = files_below(out)
    with FileLock(str(out / "lock")):
        result = sweep("replay", 0, "--study", out, "--on", "holdout")
        assert sweep("show", out, "-f", "json").json["state"] == "running"
    assert result.code == 1
    assert "running" in result.err
    assert files_below(out) == before


# -- without a winner ------------------------------------------------------------------


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose trials have all failed."""
    broken = STRATEGY.replace("1.0 if up else", "1.0 / (params.wait - params.wait) if up else")
    assert broken != STRATEGY
    folder = tmp_path_factory.mktemp("failed")
    return ran(folder, "--trials", 6, "--set", "study.max_failures=1.0", strategy=broken)


def advised(said: str) -> list[list[str]]:
    """The commands that a hint names."""
    lines = said[said.index("next: ") :].splitlines()
    named = [part for line in lines for part in line.removeprefix("next:").split("  |  ")]
    return [part.split()[1:] for part in named if part.split()[:1] == ["sweep"]]


def test_where_all_trials_failed_the_commands_that_are_advised_say_why(failed: Path) -> None:
    same = ("run", failed.parent / "study.toml", "--out", failed, *SERIAL, "--trials", 6)
    for command in (("show", failed), ("best", failed), (*same, "--set", "study.max_failures=1.0")):
        replayed, listed = advised(sweep(*command).err)
        assert "not a finite number" in sweep(*replayed).err
        assert "not a finite number" in sweep(*listed, "-f", "csv").out
        assert "reason" in on_screen(*listed)[0].split()


def test_where_no_trial_meets_the_requirements_the_command_that_is_advised_says_which(
    tmp_path: Path,
) -> None:
    out = ran(tmp_path, "--trials", 4, "--set", 'study.constraints=["trades >= 100000"]')
    (listed,) = advised(sweep("show", out).err)
    assert any("not met: trades >= 100000" in line for line in on_screen(*listed))


# -- failures --------------------------------------------------------------------------


def test_an_unexpected_failure_is_one_line_and_a_file(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Study, count: int | None = None) -> list[int]:
        raise RuntimeError("broken inside")

    monkeypatch.setattr(Study, "best", fail)
    result = sweep("best", study)
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    path = Path(result.err.rpartition(" is in ")[2].strip())
    assert "broken inside" in path.read_text()
    path.unlink()
    shown = sweep("best", study, "--debug")
    assert "Traceback" in shown.err
    Path(shown.err.rpartition(" is in ")[2].strip()).unlink()


@pytest.mark.parametrize("fmt", ["table", "csv", "json"])
def test_a_reader_that_goes_away_is_no_failure(study: Path, fmt: str) -> None:
    for command in (("trials", study, "--top", 0), ("show", study)):
        run = process(*command, "-f", fmt, "-q")
        assert run.stdout is not None
        run.stdout.close()
        assert run.stderr is not None
        err = run.stderr.read()
        run.stderr.close()
        assert (run.wait(timeout=600), err) == (0, "")


def test_a_failure_that_nobody_reads_is_one(tmp_path: Path) -> None:
    """So that a script with pipefail is not told that a bad strategy passed."""
    path = tmp_path / "bad.py"
    path.write_text(STRATEGY.replace("def step(", "def stop("))
    run = process("check", path)
    assert run.stdout is not None
    run.stdout.close()
    assert run.stderr is not None
    run.stderr.close()
    assert run.wait(timeout=600) == 2


def test_a_run_whose_notes_nobody_reads_goes_on(tmp_path: Path) -> None:
    run = process("run", write_study(tmp_path, trials=6), "--out", tmp_path / "out", *SERIAL)
    assert run.stderr is not None
    run.stderr.close()
    assert run.stdout is not None
    assert "best by net_profit" in run.stdout.read()
    run.stdout.close()
    assert run.wait(timeout=600) == 0


def test_json_has_no_text_for_numbers(study: Path) -> None:
    document = json.loads(sweep("best", study, "-f", "json").out)
    row = document["best"][0]
    assert all(isinstance(row[name], int | float) for name in ("max_drawdown", "trades", "fast"))
