"""Bad input: what is said, how it ends, and that nothing was lost or half written."""

from __future__ import annotations

import gzip
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_helpers import SERIAL, Result, files_below, ran, sweep
from study_helpers import STRATEGY, write_study

from sweep.study.study import Study
from sweep.ticks.store import root

HEADER = "ts,bid,ask\n"
ROWS = "".join(
    f"2024-01-0{d}T{h:02d}:{m:02d}:00Z,{100 + 0.01 * (m % 7):.2f},{100.02 + 0.01 * (m % 7):.2f}\n"
    for d in (1, 2, 3)
    for h in range(24)
    for m in range(60)
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tick store of the test's own, so that what is left in it can be seen."""
    kernels = Path(os.environ["SWEEP_CACHE"]) / "kernels"
    kernels.mkdir(exist_ok=True)
    cache = tmp_path / "cache"
    cache.mkdir()
    # Compiled once for all tests.
    (cache / "kernels").symlink_to(kernels)
    monkeypatch.setenv("SWEEP_CACHE", str(cache))
    return cache


def edited(folder: Path, old: str = "", new: str = "", *, strategy: str = STRATEGY) -> Path:
    """Write a small study with one part of its file changed."""
    path = write_study(folder, strategy=strategy, trials=6, sampler="random")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text)
    return path


def on_file(folder: Path, content: bytes | str | None, *, name: str = "ticks.csv") -> Path:
    """Write a study that reads its ticks from a file."""
    path = edited(folder, 'source = "synth"\nsynth = ', f'source = "{name}"\n# synth = ')
    if content is not None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path, *arguments: object, code: int = 2) -> str:
    """Run a study that must end with an error and leave nothing; return what is said."""
    folder = path.parent
    before = {k: v for k, v in files_below(folder).items() if not k.startswith("cache")}
    result = sweep("run", path, "--out", folder / "out", *SERIAL, *arguments)
    assert result.code == code, result.err
    assert result.out == ""
    assert not (folder / "out").exists()
    after = {k: v for k, v in files_below(folder).items() if not k.startswith("cache")}
    assert after == before
    message = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(message) == 1
    return result.err[result.err.index("error: ") :]


# -- the study file --------------------------------------------------------------------

WRONG = {
    "a wrong key": ("trials = 6", "trails = 6", ["study.trails", "trials"]),
    "a wrong section": ("[account]", "[acount]", ["acount", "[account]"]),
    "a wrong type": ("trials = 6", 'trials = "many"', ["study.trials", "many"]),
    "a wrong range": ("holdout = 0.25", "holdout = 1.5", ["data.holdout", "1.5"]),
    "a wrong name of a metric": (
        'objective = "net_profit"',
        'objective = "net_proft"',
        ["study.objective", "net_profit"],
    ),
    "half a requirement": (
        'objective = "net_profit"',
        'constraints = ["trades >"]',
        ['"trades >": does not parse at its end, character 9', "max_drawdown < 0.2"],
    ),
    "a wrong name of a sampler": ('sampler = "random"', 'sampler = "tpa"', ["tpe"]),
    "a strategy that is not there": ('"strategy.py"', '"other.py"', ["other.py"]),
    "costs that are not stated": ("slippage = 0.0\n", "", ["costs.slippage", "slippage = 0.0"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_in_the_study_file(name: str, tmp_path: Path, cache: Path) -> None:
    old, new, said = WRONG[name]
    text = refused(edited(tmp_path, old, new))
    assert "study.toml" in text
    assert all(part in text for part in said)
    assert entries(cache) == []


def test_a_mistake_in_a_range_names_the_parameter(tmp_path: Path) -> None:
    path = edited(tmp_path, "[costs]", '[space]\nfast = "2:40:7"\n\n[costs]')
    text = refused(path)
    assert "space.fast" in text or "parameter fast" in text
    assert "step 7" in text
    text = refused(edited(tmp_path, "[costs]", '[space]\nfats = "2:40"\n\n[costs]'))
    assert "did you mean fast?" in text


def test_a_mistake_in_a_flag_names_the_flag(tmp_path: Path) -> None:
    path = edited(tmp_path)
    assert "--set costs.slipage=1" in refused(path, "--set", "costs.slipage=1")
    assert "--trials 0" in refused(path, "--trials", 0)
    assert "--sampler tpa" in refused(path, "--sampler", "tpa")
    assert "--policy crossed=dorp" in refused(path, "--policy", "crossed=dorp")
    assert "did you mean fast?" in refused(path, "--param", "fats=5")


def test_a_file_that_is_no_toml_names_line_and_column(tmp_path: Path) -> None:
    text = refused(edited(tmp_path, "seed = 1", "seed = = 1"))
    assert "study.toml:5:" in text


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    for command, what in (("run", "study.toml"), ("check", "strategy.py")):
        result = sweep(command, tmp_path)
        assert result.code == 2
        said = result.out + result.err  # a check is a report
        assert f"{tmp_path}: is a folder; name the" in said
        assert f"such as {tmp_path / what}" in said
        assert "Errno" not in said


def test_a_missing_study_file(tmp_path: Path) -> None:
    text = refused(tmp_path / "none.toml")
    assert "none.toml" in text
    assert "sweep init" in text


# -- data ------------------------------------------------------------------------------


def entries(cache: Path) -> list[str]:
    """What a tick store holds besides its locks."""
    folder = cache / "ticks"
    return [p.name for p in folder.iterdir() if p.is_dir()] if folder.exists() else []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ["ticks.csv"]),
        ("", ["ticks.csv", "empty"]),
        (HEADER, ["ticks.csv", "no ticks"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, ["ticks.csv"]),
        (b"PK\x03\x04" + bytes(range(256)) * 40, ["ticks.csv"]),
        ("a,b\n1,2\n", ["ticks.csv"]),
        (HEADER + ROWS + "2024-01-04T00:00:00Z,abc,100\n", ["ticks.csv", "abc"]),
        (HEADER + ROWS + "2024-01-04T00:00:00Z,101,100\n", ["crossed", "data.policies.crossed"]),
        (HEADER + ROWS + "2024-01-01T00:00:00Z,100,101\n", ["backward", "data.policies.backward"]),
    ],
    ids=[
        "missing",
        "empty",
        "header",
        "foreign",
        "damaged",
        "columns",
        "text",
        "crossed",
        "backward",
    ],
)
def test_a_bad_file_of_ticks(
    content: str | bytes | None, said: list[str], tmp_path: Path, cache: Path
) -> None:
    text = refused(on_file(tmp_path, content))
    assert all(part in text for part in said), text
    assert entries(cache) == []


def test_crossed_quotes_pass_with_the_setting_that_the_message_names(tmp_path: Path) -> None:
    path = on_file(tmp_path, HEADER + ROWS + "2024-01-04T00:00:00Z,101,100\n")
    out = tmp_path / "out"
    result = sweep("run", path, "--out", out, *SERIAL, "--policy", "crossed=drop")
    assert result.code == 0, result.err
    assert "crossed" in result.err


def test_a_truncated_archive(tmp_path: Path, cache: Path) -> None:
    packed = gzip.compress((HEADER + ROWS).encode())
    text = refused(on_file(tmp_path, packed[: len(packed) // 2], name="ticks.csv.gz"))
    assert "ticks.csv.gz" in text
    assert entries(cache) == []


def test_a_truncated_parquet_file(tmp_path: Path, cache: Path) -> None:
    from sweep.ticks.sources import write_parquet
    from sweep.ticks.synthetic import SynthSpec, generate

    path = on_file(tmp_path, None, name="ticks.parquet")
    whole = tmp_path / "ticks.parquet"
    write_parquet(generate(SynthSpec(sessions=1, ticks_per_session=3000)), whole)
    whole.write_bytes(whole.read_bytes()[:-500])
    assert "ticks.parquet" in refused(path)
    assert entries(cache) == []


def test_a_column_that_is_not_there_names_those_that_are(tmp_path: Path, cache: Path) -> None:
    path = on_file(tmp_path, HEADER + ROWS)
    text = refused(path, "--set", 'data.columns={bid="Offer"}')
    assert "Offer" in text
    assert "bid" in text
    assert entries(cache) == []


@pytest.mark.parametrize(
    "dates", [("data.from=2030-01-01",), ("data.from=2020-01-01", "data.to=2020-02-01")]
)
def test_dates_without_ticks_name_the_span_that_there_is(
    dates: tuple[str, ...], tmp_path: Path
) -> None:
    text = refused(edited(tmp_path), *(word for d in dates for word in ("--set", d)))
    assert "2024-01-01" in text
    assert "2024-01-02" in text


# -- strategies ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def start(tick):", "def start(tick:", ["strategy.py:"]),
        ("def start(tick):", "import nowhere\n\n\ndef start(tick):", ["nowhere", "strategy.py:"]),
        ("class State(", "class Stat(", ["class State(NamedTuple)"]),
        ("up = fast > slow", "up = fast > slower", ["does not compile", "'slower'"]),
        ("state.since + 1", "state.sinc + 1", ["does not compile", "no field 'sinc'"]),
    ],
    ids=["syntax", "import", "contract", "name", "field"],
)
def test_a_strategy_that_does_not_load_or_compile(
    old: str, new: str, said: list[str], tmp_path: Path
) -> None:
    text = refused(edited(tmp_path, strategy=STRATEGY.replace(old, new)))
    assert "strategy.py:" in text
    assert all(part in text for part in said), text


def at_tick(tick: int, what: str) -> str:
    """The small strategy, doing something at one tick."""
    return (
        STRATEGY.replace("    since: int\n", "    since: int\n    at: int\n")
        .replace("State(tick.mid, tick.mid, 0)", "State(tick.mid, tick.mid, 0, 0)")
        .replace("State(fast, slow, since)", "State(fast, slow, since, state.at + 1)")
        .replace(
            "    up = fast > slow\n",
            f"    up = fast > slow\n    if state.at == {tick - 1}:\n        {what}\n",
        )
    )


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (at_tick(10, "raise ValueError('at ten')"), ["ValueError", "at ten", "tick", "fast="]),
        (
            at_tick(10, "return State(fast, slow, 0, 0), float('nan')"),
            ["not a finite number", "at tick 10"],
        ),
    ],
    ids=["raises", "NaN"],
)
def test_a_strategy_that_fails_at_the_tenth_tick(
    strategy: str, said: list[str], tmp_path: Path
) -> None:
    path = edited(tmp_path, strategy=strategy)
    out = tmp_path / "out"
    result = sweep("run", path, "--out", out, *SERIAL, "--trials", 30)
    assert result.code == 1
    assert all(part in result.err for part in ["max_failures", "strategy.py", *said]), result.err
    # What is known is kept: every trial with its reason.
    board = Study.open(out).board
    assert len(board) >= 10
    assert set(board.states) <= {"failed", "invalid"}
    rows = sweep("trials", out, "--state", "failed", "-f", "json").json
    assert all(said[0] in row["reason"] for row in rows if row["duplicate_of"] is None)
    assert sweep("best", out).code == 0


def test_some_variants_may_fail_and_the_study_goes_on(tmp_path: Path) -> None:
    some = STRATEGY.replace(
        "    up = fast > slow\n",
        "    up = fast > slow\n    if params.fast > 30.0:\n        raise ValueError('too fast')\n",
    )
    path = edited(tmp_path, strategy=some)
    result = sweep("run", path, "--out", tmp_path / "out", *SERIAL, "--trials", 40, "-f", "json")
    assert result.code == 0, result.err
    assert result.json["run"]["failed"] > 0
    assert result.json["run"]["complete"] > 0
    assert "too fast" in result.err


# -- disk and memory -------------------------------------------------------------------


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may grow beyond this many bytes: what a full disk looks like to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = 60_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_too_small_for_the_ticks(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    ran(tmp_path / "warm")  # so that nothing else is to be written
    path = edited(tmp_path, "ticks_per_session = 3000", "ticks_per_session = 30000")
    before = entries(cache)
    request.getfixturevalue("small_files")
    text = refused(path, code=1)
    assert "SWEEP_CACHE" in text
    assert entries(cache) == before


def test_too_little_space_is_said_before_anything_is_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep.ticks import store
    from sweep.ticks.sources import write_parquet
    from sweep.ticks.synthetic import SynthSpec, generate

    monkeypatch.setattr(store, "_free", lambda *_: 1_000)
    path = on_file(tmp_path, None, name="ticks.parquet")
    write_parquet(
        generate(SynthSpec(sessions=1, ticks_per_session=3000)), tmp_path / "ticks.parquet"
    )
    text = refused(path, code=1)
    assert "SWEEP_CACHE" in text
    assert entries(cache) == []


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 150), ("random", 500)])
def test_a_disk_that_fills_up_while_a_study_runs(
    tmp_path: Path, request: pytest.FixtureRequest, sampler: str, trials: int
) -> None:
    path = write_study(tmp_path, sampler=sampler, trials=trials)
    out = tmp_path / "out"
    ran(tmp_path / "warm", sampler=sampler, trials=4)  # compiles and imports
    limit = request.getfixturevalue("small_files")
    result = sweep("run", path, "--out", out, *SERIAL)
    assert result.code == 1, result.err
    assert "ledger.bin: cannot be written" in result.err
    assert "what was finished is kept" in result.err
    finished = len(Study.open(out).board)
    assert finished < trials
    assert (out / "ledger.bin").stat().st_size <= limit
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, soft))
    assert sweep("run", path, "--out", out, *SERIAL).code == 0
    unbroken = ran(tmp_path / "whole", sampler=sampler, trials=trials)
    assert Study.open(out).board.rows.tobytes() == Study.open(unbroken).board.rows.tobytes()


def test_too_little_memory_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sweep.study.setup.attach", fail)
    text = refused(edited(tmp_path), code=1)
    assert "not enough memory" in text


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    path = edited(tmp_path)
    (tmp_path / "file").write_text("mine")
    result = sweep("run", path, "--out", tmp_path / "file", *SERIAL)
    assert result.code == 2
    assert (tmp_path / "file").read_text() == "mine"
    result = sweep("run", path, "--out", "/proc/nowhere", *SERIAL)
    assert result.code in (1, 2)
    assert "/proc/nowhere" in result.err
    assert "defect" not in result.err


def test_a_csv_on_a_full_disk_leaves_nothing(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out = ran(tmp_path)
    target = tmp_path / "files"
    target.mkdir()
    request.getfixturevalue("small_files")
    result = sweep("replay", "--study", out, "--equity", target / "equity.csv")
    assert result.code == 1
    assert "equity.csv: cannot be written" in result.err
    assert list(target.iterdir()) == []


# -- other runs, other inputs ----------------------------------------------------------


def test_a_study_that_another_run_holds(tmp_path: Path) -> None:
    from filelock import FileLock

    out = ran(tmp_path, "--trials", 4)
    before = files_below(out)
    with FileLock(str(out / "lock")):
        result = sweep("run", tmp_path / "study.toml", "--out", out, *SERIAL)
    assert result.code == 1
    assert "another process is running this study" in result.err
    assert "--out" in result.err
    assert files_below(out) == before


def again(folder: Path, *arguments: object) -> Result:
    return sweep("run", folder / "study.toml", "--out", folder / "out", *SERIAL, *arguments)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 3", "seed = 4", "the ticks"),
        ("slippage = 0.0", "slippage = 0.5", "costs.slippage"),
        ("seed = 1\n", "seed = 2\n", "study.seed"),
    ],
    ids=["ticks", "costs", "seed"],
)
def test_a_study_made_with_other_inputs(old: str, new: str, said: str, tmp_path: Path) -> None:
    out = ran(tmp_path, "--trials", 4)
    before = files_below(out)
    path = tmp_path / "study.toml"
    path.write_text(path.read_text().replace(old, new))
    result = again(tmp_path, "--trials", 8)
    assert result.code == 2
    assert said in result.err
    assert "--out" in result.err
    assert files_below(out) == before


def test_a_study_made_with_another_strategy(tmp_path: Path) -> None:
    out = ran(tmp_path, "--trials", 4)
    before = files_below(out)
    text = STRATEGY.replace("(params.fast + 1.0)", "(params.fast + 2.0)")
    (tmp_path / "strategy.py").write_text(text)
    result = again(tmp_path, "--trials", 8)
    assert result.code == 2
    assert "strategy" in result.err
    assert files_below(out) == before


def test_a_folder_with_other_files_is_not_taken(tmp_path: Path) -> None:
    path = edited(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    result = sweep("run", path, "--out", tmp_path / "out", *SERIAL)
    assert result.code == 2
    assert "--out" in result.err
    assert files_below(tmp_path / "out") == {"mine.txt": b"mine"}


def test_a_study_with_a_foreign_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    out = ran(tmp_path, "--trials", 4)
    (out / "ledger.bin").write_bytes(os.urandom(2000))
    before = files_below(out)
    for result in (sweep("show", out), again(tmp_path)):
        assert result.code in (1, 2)
        assert "ledger.bin" in result.err
        assert "defect" not in result.err
    assert files_below(out) == before


def test_the_store_of_the_tests_is_not_the_users() -> None:
    assert str(root()).startswith(os.environ["SWEEP_CACHE"])
