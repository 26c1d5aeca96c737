"""The study file: what it means, what it refuses, and what identifies a study."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.cli.templates import study_template, write_template
from sweep.errors import StudyFileError
from sweep.schema import Account, Costs
from sweep.stats.metrics import METRICS
from sweep.strategy.parameters import Override
from sweep.study.file.spec import (
    SECTIONS,
    Duration,
    Moment,
    StudySpec,
    differences,
    from_settings,
    load_spec,
)
from sweep.study.file.toml import key_lines
from sweep.ticks.quality import Policies
from sweep.ticks.synthetic import SynthSpec
from sweep.units import (
    format_duration,
    format_moment,
    parse_duration,
    parse_moment,
    parse_size,
)

STUDY = """\
# A comment.
[study]
strategy = "ema.py"
trials = 200

[data]
source = "synth"

[costs]
commission_rate = 0.0
slippage = 0.01
"""
SECOND = 10**9
HOUR = 3600 * SECOND


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ema.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(
    folder: Path,
    text: str = STUDY,
    *,
    overrides: tuple[str, ...] = (),
    flags: Mapping[str, Any] | None = None,
) -> StudySpec:
    (folder / "gold.toml").write_text(text)
    return load_spec("gold.toml", overrides=overrides, flags=flags)


def with_line(section: str, line: str) -> str:
    """The study with a line below the section's header, which is made where it lacks."""
    header = f"[{section}]\n"
    return (
        STUDY.replace(header, header + line + "\n")
        if header in STUDY
        else (f"{STUDY}\n{header}{line}\n")
    )


def refusal(folder: Path, text: str = STUDY, **kwargs: Any) -> str:
    with pytest.raises(StudyFileError) as caught:
        load(folder, text, **kwargs)
    return str(caught.value)


# -- what it means ---------------------------------------------------------------------


def test_defaults_are_filled_in(folder: Path) -> None:
    spec = load(folder)
    assert spec.path == Path("gold.toml")
    study = spec.study
    assert study.strategy == str(folder / "ema.py")
    assert (study.name, study.seed, study.trials) == ("gold", 0, 200)
    assert (study.time_limit, study.patience, study.window, study.top) == (None, None, 16, 10)
    assert (study.sampler.name, study.sampler.kwargs) == ("tpe", {})
    assert study.pruner.name == "none"
    assert (study.objective, study.directions) == (("sharpe",), ("maximize",))
    assert (study.constraints, study.start, study.deterministic) == ((), True, True)
    assert (study.max_failures, study.storage) == (0.5, "sqlite")
    data = spec.data
    assert (data.source, data.kind, data.slices, data.slicing) == ("synth", "quotes", 1, "carry")
    assert (data.begin, data.end, data.holdout, data.store) == (None, None, 0.25, "disk")
    assert spec.space == ()
    assert spec.costs.to_costs() == Costs(0.0, 0.0, 0.0, 0.01, 0.0, 0, "mid")
    assert spec.account.to_account(50.0) == Account(50.0, 1.0, HOUR, 252 * 24.0)
    assert dataclasses.astuple(spec.compute) == ("loky", None, None, None)


@pytest.mark.parametrize(
    ("section", "line", "field", "value"),
    [
        ("study", 'time_limit = "1h30m"', "time_limit", 5400 * SECOND),
        ("study", 'objective = "max_drawdown"', "directions", ("minimize",)),
        ("study", 'objective = ["sharpe", "costs"]', "directions", ("maximize", "minimize")),
        ("study", 'directions = "minimize"', "directions", ("minimize",)),
        ("study", 'constraints = ["trades >= 30"]', "constraints", ("trades >= 30",)),
        ("study", "max_failures = 3", "max_failures", 3),
        ("study", "start = false", "start", False),
        ("data", "slices = 12", "slices", 12),
        ("data", 'slices = "1d"', "slices", Duration(24 * HOUR)),
        ("data", "holdout = 0", "holdout", 0.0),
        ("data", 'holdout = "5d"', "holdout", Duration(120 * HOUR)),
        ("data", "holdout = 1970-01-02", "holdout", Moment(24 * HOUR)),
        ("data", "from = 1970-01-01T01:00:00+01:00", "begin", 0),
        ("data", 'to = "1970-01-01T00:00:00.5"', "end", SECOND // 2),
        ("data", "to = 1970-01-02", "end", 24 * HOUR),
        ("data", 'columns = {ask = "A", ts = "T"}', "columns", (("ts", "T"), ("ask", "A"))),
        ("data", 'columns = {bid_size = ""}', "columns", (("bid_size", ""),)),
        ("data", 'policies = {crossed = "drop"}', "policies", Policies(crossed="drop")),
        ("data", "synth = {seed = 3, price = 10}", "synth", SynthSpec(seed=3, price=10.0)),
        ("data", 'timezone = "+02:00"', "timezone", "+02:00"),
        ("costs", 'latency = "250ms"', "latency", SECOND // 4),
        ("costs", "latency = 0", "latency", 0),
        ("account", 'clock = "1d"', "clock", 24 * HOUR),
        ("compute", 'memory = "1.5GiB"', "memory", 3 * 2**29),
    ],
)
def test_key_means_its_value(
    folder: Path, section: str, line: str, field: str, value: object
) -> None:
    spec = load(folder, with_line(section, line))
    assert getattr(getattr(spec, section), field) == value


def test_sampler_and_pruner_take_options(folder: Path) -> None:
    lines = 'sampler = {name = "tpe", multivariate = true, list = [1, 2]}\npruner = "median"'
    spec = load(folder, with_line("study", lines), overrides=("data.slices=5",))
    assert spec.study.sampler.kwargs == {"multivariate": True, "list": [1, 2]}
    assert spec.study.pruner.name == "median"
    assert load(folder, with_line("study", "sampler.n = 1")).study.sampler.name == "tpe"


@pytest.mark.parametrize(
    ("text", "override"),
    [
        ('"5:50"', Override(5, 50)),
        ('"5:50:5"', Override(5, 50, 5)),
        ('" 0.5 : 2e3 : log "', Override(0.5, 2000.0, log=True)),
        ('"-1_000:-.5"', Override(-1000, -0.5)),
        ('["ema", "sma"]', Override(choices=("ema", "sma"))),
        ("100", Override(fixed=100)),
        ("true", Override(fixed=True)),
        ('"ema"', Override(fixed="ema")),
        (
            "{low = 5, high = 9.5, points = 4, default = 6}",
            Override(5, 9.5, points=4, default=6),
        ),
        ("{log = false}", Override(log=False)),
        ("{choices = [1, 2], default = 2}", Override(choices=(1, 2), default=2)),
    ],
)
def test_range_of_a_parameter_is_parsed(folder: Path, text: str, override: Override) -> None:
    spec = load(folder, with_line("space", f"fast = {text}"))
    assert spec.space == (("fast", override),)
    assert spec.space[0][1].where == "gold.toml:14"
    assert from_settings(spec.settings()) == spec


def test_paths_start_from_the_study_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "studies").mkdir()
    (folder / "points.csv").write_text("fast\n1\n")
    text = STUDY.replace('"ema.py"', '"../ema.py"\nstart = "../points.csv"')
    (folder / "studies" / "gold.toml").write_text(text.replace('"synth"', '"$TICKS/x.parquet"'))
    monkeypatch.setenv("TICKS", "../data")
    spec = load_spec(folder / "studies" / "gold.toml")
    assert spec.study.strategy == str(folder / "ema.py")
    assert spec.study.start == str(folder / "points.csv")
    assert spec.data.source == str(folder / "data" / "x.parquet")


def test_paths_in_flags_start_from_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gold.toml").write_text(STUDY)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    spec = load_spec(folder / "gold.toml", flags={"source": "x.csv"})
    assert spec.data.source == str(folder / "elsewhere" / "x.csv")
    assert spec.study.strategy == str(folder / "ema.py")


def test_url_stays_as_it_is(folder: Path) -> None:
    source = load(folder, flags={"source": "s3://bucket/gold"}).data.source
    assert source == "s3://bucket/gold"


def test_source_spec_says_what_the_import_needs(folder: Path) -> None:
    text = with_line("data", 'policies = {crossed = "keep"}\ncolumns = {bid = "B"}')
    generated = load(folder, text).data.source_spec()
    assert generated.path == "synth"
    assert generated.synth == SynthSpec()
    assert generated.policies == Policies(crossed="keep")
    assert generated.columns == (("bid", "B"),)
    read = load(folder, flags={"source": "x.csv"}).data.source_spec()
    assert read.synth is None
    assert read.policies == Policies()


def test_holdout_splits_by_share_or_by_stamp(folder: Path) -> None:
    def split(value: str) -> tuple[float, int | None]:
        data = load(folder, overrides=(f"data.holdout={value}",)).data
        return data.holdout_split(48 * HOUR)

    assert split("0.3") == (0.3, None)
    assert split("1d") == (0.0, 24 * HOUR)
    assert split("1970-01-01T05:00:00") == (0.0, 5 * HOUR)


@pytest.mark.parametrize(
    ("setting", "failed", "finished", "ends"),
    [
        ("0.5", 9, 9, False),
        ("0.5", 5, 10, False),
        ("0.5", 6, 10, True),
        ("0", 1, 1, True),
        ("3", 3, 3, False),
    ],
)
def test_too_many_failures_end_a_study(
    folder: Path, setting: str, failed: int, finished: int, ends: bool
) -> None:
    study = load(folder, overrides=(f"study.max_failures={setting}",)).study
    assert study.too_many_failures(failed, finished) is ends


# -- flags and overrides ---------------------------------------------------------------


def test_overrides_win_over_flags_and_flags_over_the_file(folder: Path) -> None:
    assert load(folder, flags={"trials": 50}).study.trials == 50
    spec = load(folder, flags={"trials": 50, "seed": None}, overrides=("study.trials=60",))
    assert (spec.study.trials, spec.study.seed) == (60, 0)


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("study.name=7", "study", "name", "7"),
        ("study.objective=sortino", "study", "objective", ("sortino",)),
        ('study.objective=["sharpe","trades"]', "study", "objective", ("sharpe", "trades")),
        ("study.objective=sharpe - 2*costs", "study", "objective", ("sharpe - 2*costs",)),
        ("study.start=false", "study", "start", False),
        ("costs.latency = 50ms", "costs", "latency", SECOND // 20),
        ("data.policies.crossed=drop", "data", "policies", Policies(crossed="drop")),
        ("data.synth.seed=4", "data", "synth", SynthSpec(seed=4)),
    ],
)
def test_override_sets_any_key(
    folder: Path, override: str, section: str, field: str, value: object
) -> None:
    spec = load(folder, overrides=(override,))
    assert getattr(getattr(spec, section), field) == value


def test_override_reaches_into_a_bare_name(folder: Path) -> None:
    text = with_line("study", 'sampler = "cmaes"')
    sampler = load(folder, text, overrides=("study.sampler.sigma0=0.5",)).study.sampler
    assert (sampler.name, sampler.kwargs) == ("cmaes", {"sigma0": 0.5})


def test_repeated_flags_fill_tables(folder: Path) -> None:
    flags = {"param": ("fast=10:50:10", "mode=ema", "slow=7"), "policy": ("crossed=drop",)}
    spec = load(folder, flags=flags)
    # 10:50:10 would be a time of day in TOML.
    assert dict(spec.space) == {
        "fast": Override(10, 50, 10),
        "mode": Override(fixed="ema"),
        "slow": Override(fixed=7),
    }
    assert spec.data.policies == Policies(crossed="drop")
    assert spec.space[0][1].where == "--param fast=10:50:10"


# -- what it refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("study", 'seed = "many"', 'study.seed: expected a whole number of at least 0, found "man'),
        ("study", "seed = true", "study.seed: expected a whole number of at least 0, found true"),
        ("study", "patience = 0", "study.patience: expected a whole number above 0, found 0"),
        ("study", "trails = 3", 'study.trails: unknown key; did you mean "trials"?'),
        ("study", "time_limit = 90", 'expected a duration above 0 such as "90s", "15m", "1h"'),
        ("study", 'time_limit = "0s"', 'found "0s"'),
        ("study", 'time_limit = "90"', 'found "90"'),
        ("study", 'sampler = "tpa"', 'found "tpa"; did you mean "tpe"?'),
        ("study", "sampler = 3", "study.sampler: expected "),
        ("study", "sampler = {n = 1979-05-27}", "study.sampler.n: expected plain values"),
        ("study", "pruner = {n = 1}", "study.pruner: expected the pruner's name"),
        ("study", 'pruner = "median"', "data.slices is 1"),
        ("study", 'objective = "sharp"', 'unknown name sharp; did you mean "sharpe"?'),
        ("study", "objective = []", "expected an objective, or a list of objectives, found []"),
        ("study", 'objective = ["sharpe", "sharpe"]', '"sharpe" stands twice'),
        ("study", 'objective = "aims.py:f"', "there is no file"),
        ("study", 'objective = "aims.py"', "must name a function in the file"),
        ("study", 'directions = ["maximize", "minimize"]', "expected 1, one for each objective"),
        ("study", 'directions = ["up"]', 'expected "maximize" or "minimize", found "up"'),
        ("study", 'constraints = ["trades = 3"]', "use <= or >= to compare"),
        ("study", "start = 3", "study.start: expected true, false or the path of a CSV file"),
        ("study", 'start = "none.csv"', "study.start: there is no file"),
        ("study", "max_failures = 1.5", "expected a number of trials, or a share in (0, 1]"),
        ("study", 'name = "a/b"', "names a folder"),
        ("study", "seed = 1e3", "found 1000.0"),
        ("data", 'kind = "bars"', 'data.kind: expected "quotes" or "trades", found "bars"'),
        ("data", "slices = 0", "data.slices: expected a whole number above 0, or the duration"),
        ("data", "holdout = 1.0", "data.holdout: expected a share such as 0.25"),
        ("data", "holdout = true", "data.holdout: expected a share"),
        ("data", "from = 5", "data.from: expected a date or time such as 2014-05-01"),
        ("data", "from = 08:00:00", "found 08:00:00"),
        ("data", 'from = "2014-05-01T00:00:00.123456789"', "expected a date or time"),
        ("data", "from = 0001-01-01", "expected a date or time"),
        ("data", 'timezone = "Mars"', "data.timezone: 'Mars' is not a time zone"),
        ("data", "columns = {bit = 3}", 'data.columns.bit: unknown key; did you mean "bid"?'),
        ("data", "columns = {bid = 3}", "data.columns.bid: expected text, found 3"),
        ("data", 'policies = {crossed = "dorp"}', "data.policies.crossed: 'dorp' is not a policy"),
        ("data", "policies = 3", "data.policies: expected a table of policies, found 3"),
        ("data", "synth = {sessions = 2.5}", "data.synth.sessions: expected a whole number"),
        ("data", "synth = {sessions = 0}", "data.synth.sessions: 0 is not between"),
        ("data", "synth = {start = 2024-01-01}", "data.synth.start: expected text"),
        ("space", "fast = {}", "found an empty table"),
        ("space", 'fast = "50:5"', "space.fast: low 50 is above high 5"),
        ("space", 'fast = "5:50:0"', "expected a step above 0"),
        ("space", 'fast = "a:b"', 'space.fast: expected a range such as "5:50"'),
        ("space", "fast = []", "space.fast: expected a range"),
        ("space", "fast = nan", "space.fast: expected a range"),
        ("space", 'fast = "1:1e999"', "space.fast: expected a range"),
        ("space", "fast = {hgih = 3}", 'space.fast.hgih: unknown key; did you mean "high"?'),
        ("space", "fast = {low = 1, choices = [1]}", "exclude each other"),
        ("space", "fast = {low = 1, step = 2, log = true}", "a logarithmic range has no step"),
        ("costs", "commission_per_unit = -1", "expected a number of at least 0, found -1"),
        ("costs", "commission_per_unit = inf", "expected a number of at least 0"),
        ("costs", 'latency = "50"', 'costs.latency: expected a duration such as "90s"'),
        ("costs", 'mark = "last"', 'costs.mark: expected "mid" or "close", found "last"'),
        ("account", "capital = 0", "account.capital: expected a number above 0, found 0"),
        ("account", 'clock = "2d"', "account.clock: expected a duration of 1m to 1d"),
        ("compute", 'engine = "dusk"', 'compute.engine: expected "loky", "joblib" or "serial"'),
        ("compute", "memory = 2", "compute.memory: expected an amount of memory such as"),
        ("compute", "workers = 0", "compute.workers: expected a whole number above 0, found 0"),
    ],
)
def test_mistake_is_told_with_file_line_and_key(
    folder: Path, section: str, line: str, message: str
) -> None:
    text = with_line(section, line)
    number = text.split("\n").index(line) + 1
    said = refusal(folder, text)
    assert said.startswith(f"gold.toml:{number}: {section}.")
    assert message in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials = 200", "trials = = 2", "gold.toml:4:10: Invalid value"),
        ("trials = 200", "trials = 2\ntrials = 3", "gold.toml:5:11: Cannot overwrite a value"),
        ('source = "synth"', 'source = "synth', "gold.toml:7:16: Illegal character"),
        (
            "slippage = 0.01\n",
            "slippage = [1,",
            "gold.toml:11: Invalid value (at the end",
        ),
        ("slippage = 0.01\n", "", "gold.toml:9: costs.slippage: missing; add slippage = 0.0"),
        ("commission_rate = 0.0\n", "", "gold.toml:9: costs: no commission is stated; add comm"),
        ('source = "synth"\n', "", "gold.toml:6: data.source: missing; add source ="),
        ('strategy = "ema.py"\n', "", "gold.toml:2: study.strategy: missing; add strategy ="),
        ("ema.py", "none.py", "gold.toml:3: study.strategy: there is no file "),
        ("[data]", "[dta]", "gold.toml:6: dta: unknown section; there are [study], [data], "),
        ("[data]", "[report]", "gold.toml:6: report: unknown section"),
        ("# A comment.", "seed = 1", "gold.toml:1: seed: unknown key outside of a section"),
        ("# A comment.", "compute = 1", "gold.toml:1: compute: expected a section [compute]"),
        ('"synth"', '"$NOT_SET_AT_ALL/x"', "gold.toml:7: data.source: the environment variable"),
        ('"synth"', '"x"\nsynth = {seed = 1}', "gold.toml:8: data.synth: describes generated"),
        ('"synth"', '"x"\nfrom = 2014-06-01\nto = 2014-05-01', "gold.toml:9: data.to: 2014-05"),
    ],
)
def test_broken_file_is_told_where(folder: Path, old: str, new: str, message: str) -> None:
    said = refusal(folder, STUDY.replace(old, new, 1))
    assert said.startswith(message), said


def test_missing_and_unreadable_files_are_told(folder: Path) -> None:
    with pytest.raises(StudyFileError, match=r"none\.toml: there is no such study file"):
        load_spec("none.toml")
    with pytest.raises(StudyFileError, match=r"is a folder; name the study file in it, such as"):
        load_spec(folder)
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyFileError, match="cannot be read as a study file"):
        load_spec("binary.toml")


def test_an_unknown_setting_from_python_is_told_with_all_there_are(folder: Path) -> None:
    with pytest.raises(TypeError, match=r'flag: trails; did you mean "trials"\? There are name, s'):
        load(folder, flags={"trails": 3})
    with pytest.raises(TypeError, match=r"no such flag: zzz; there are name, .*, policy$"):
        load(folder, flags={"zzz": 3})


def test_windows_text_is_read_like_any_other(folder: Path) -> None:
    (folder / "gold.toml").write_bytes(b"\xef\xbb\xbf" + STUDY.replace("\n", "\r\n").encode())
    assert load_spec("gold.toml") == load(folder)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.trials=many", "--set study.trials=many: study.trials: expected a whole number abo"),
        ("study.trails=3", '--set study.trails=3: study.trails: unknown key; did you mean "trial'),
        ("stdy.trials=3", "--set stdy.trials=3: stdy: unknown section; there are [study]"),
        ("trials=3", "--set trials=3: expected section.key=value, as in study.trials=200"),
        ("study.trials", "--set study.trials: expected NAME=VALUE"),
        ("=3", "--set =3: expected NAME=VALUE"),
        ("study..x=3", "--set study..x=3: expected section.key=value"),
        ("study.trials.x=3", "--set study.trials.x=3: study.trials is 200 and has no keys; set"),
        ("data.policies.crossed=dorp", "--set data.policies.crossed=dorp: data.policies.crossed"),
        ("study.sampler=3", "--set study.sampler=3: study.sampler: expected "),
    ],
)
def test_mistake_in_an_override_names_the_override(
    folder: Path, override: str, message: str
) -> None:
    assert refusal(folder, overrides=(override,)).startswith(message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"trials": 0}, "--trials 0: study.trials: expected a whole number above 0, found 0"),
        ({"time_limit": "9"}, "--time-limit 9: study.time_limit: expected a duration"),
        ({"param": ["fast=5:1"]}, "--param fast=5:1: space.fast: low 5 is above high 1"),
        ({"param": ["fast"]}, "--param fast: expected NAME=VALUE"),
        ({"policy": ["cross=drop"]}, "--policy cross=drop: data.policies.cross: unknown key; did"),
    ],
)
def test_mistake_in_a_flag_names_the_flag(
    folder: Path, flags: dict[str, Any], message: str
) -> None:
    assert refusal(folder, flags=flags).startswith(message)


def test_later_line_is_named_after_an_override_of_another_key(folder: Path) -> None:
    text = with_line("study", 'seed = "x"')
    assert refusal(folder, text, overrides=("study.trials=3",)).startswith("gold.toml:3: ")


# -- lines -----------------------------------------------------------------------------

TOML = '''\
title = "#[not] = a table"
[a.b]           # [not.this]
"quoted key" = 1
x.y = """
[still.text]
z = 1 \\""" """
list = [
  1, [2, "]"],  # ]
  {deep = 1},
]
after = {p = 1, q = {r = "}"}}
stamp = 1979-05-27 07:32:00
literal = \'\'\'
k = 1\'\'\'\'
[[t]]
k = -1.5e3
'''


def test_lines_of_keys_are_found() -> None:
    tomllib.loads(TOML)
    assert key_lines(TOML) == {
        ("title",): 1,
        ("a",): 2,
        ("a", "b"): 2,
        ("a", "b", "quoted key"): 3,
        ("a", "b", "x"): 4,
        ("a", "b", "x", "y"): 4,
        ("a", "b", "list"): 7,
        ("a", "b", "list", "deep"): 9,
        ("a", "b", "after"): 11,
        ("a", "b", "after", "p"): 11,
        ("a", "b", "after", "q"): 11,
        ("a", "b", "after", "q", "r"): 11,
        ("a", "b", "stamp"): 12,
        ("a", "b", "literal"): 13,
        ("t",): 15,
        ("t", "k"): 16,
    }


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=60))
def test_any_valid_text_has_its_lines_found(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        text = f"a = {json.dumps(text)}"
    key_lines(f"{text}\nlast_key_of_all = 1")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), st.integers(0, 5))
def test_text_in_a_value_moves_no_line(value: str, blank: int) -> None:
    quoted = json.dumps(value, ensure_ascii=False)
    text = f"first = {quoted}\n" + "\n" * blank + f"[table.{quoted}]\nb = 1\n"
    tomllib.loads(text)
    lines = key_lines(text)
    assert lines["first",] == 1
    assert lines["table", value, "b"] == 3 + blank


# -- sameness --------------------------------------------------------------------------


def test_digest_depends_on_what_can_change_a_result(folder: Path) -> None:
    digest = load(folder).digest()
    for override in (
        "study.seed=1",
        "study.sampler=random",
        "study.sampler.multivariate=true",
        "study.window=8",
        "study.objective=calmar",
        "study.directions=minimize",
        'study.constraints=["trades > 3"]',
        "study.start=false",
        "study.deterministic=false",
        "data.kind=trades",
        "data.from=2014-05-01",
        "data.slices=3",
        "data.slicing=independent",
        "data.holdout=0",
        "space.fast=5:50",
        "costs.slippage=0.02",
        "costs.latency=1ms",
        "costs.mark=close",
        "account.capital=5",
        "account.clock=1m",
    ):
        assert load(folder, overrides=(override,)).digest() != digest, override


def test_digest_does_not_depend_on_where_and_how_long_it_runs(folder: Path) -> None:
    digest = load(folder).digest()
    for override in (
        "study.name=other",
        "study.trials=7",
        "study.time_limit=1h",
        "study.patience=9",
        "study.max_failures=1",
        "study.top=3",
        "study.storage=sqlite:///x.db",
        "data.source=elsewhere.parquet",
        "data.store=memory",
        "compute.engine=serial",
        "compute.workers=3",
        "compute.memory=1GB",
        "compute.batch=5",
    ):
        assert load(folder, overrides=(override,)).digest() == digest, override


def test_digest_is_the_same_in_another_process(folder: Path) -> None:
    spec = load(folder, with_line("space", 'a = ["x", "y"]\nb = "1:2"'))
    code = (
        "import sys; from sweep.study.file.spec import load_spec; "
        "print(load_spec(sys.argv[1]).digest())"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code, str(folder / "gold.toml")],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": str(root)},
    )
    assert found.stdout.strip() == spec.digest()


def test_digest_depends_on_the_text_of_an_objective_and_not_on_its_folder(folder: Path) -> None:
    def digest(path: str, source: str) -> str:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(source)
        return load(folder, overrides=(f"study.objective={path}:score",)).digest()

    first = digest("aims.py", "def score(metrics): return 1")
    assert digest("other/aims.py", "def score(metrics): return 1") == first
    assert digest("aims.py", "def score(metrics): return 2") != first


FULL = """\
[study]
strategy = "ema.py"
name = "full"
time_limit = "1h30m"
sampler = {name = "tpe", multivariate = true}
objective = ["sharpe - 1", "aims.py:score", "costs"]
constraints = ["trades >= 30"]
start = "points.csv"
max_failures = 3
[data]
source = "synth"
from = 2014-05-01
to = 2014-06-01T12:00:00.25Z
columns = {bid = "B"}
policies = {crossed = "drop"}
synth = {sessions = 3, effect = "momentum"}
slices = "1d"
holdout = 2014-05-20
[space]
a = "5:50:5"
b = [1, 2]
c = {low = 1.5, log = false}
d = true
[costs]
commission_per_fill = 1
slippage = 0
latency = "1500us"
[account]
capital = 10_000
[compute]
memory = "2GB"
"""


def test_settings_give_the_same_specification_back(folder: Path) -> None:
    (folder / "aims.py").write_text("def score(metrics): return 1")
    (folder / "points.csv").write_text("a\n1\n")
    spec = load(folder, FULL)
    settings = json.loads(json.dumps(spec.settings(), allow_nan=False))
    for name in ("aims.py", "points.csv", "ema.py", "gold.toml"):
        (folder / name).unlink()
    again = from_settings(settings)
    assert again == spec
    assert again.digest() == spec.digest()
    assert again.settings() == settings
    assert differences(settings, again.settings()) == []


def test_settings_of_another_version_are_refused(folder: Path) -> None:
    settings = load(folder).settings()
    settings["study"]["colour"] = 3
    with pytest.raises(StudyFileError, match=r"the study's saved settings: study\.colour: unkn"):
        from_settings(settings)


def test_differences_name_each_key_with_both_values(folder: Path) -> None:
    (folder / "aims.py").write_text("def score(metrics): return 1")
    old = load(folder, overrides=("study.objective=aims.py:score", "space.fast=5:50"))
    (folder / "aims.py").write_text("def score(metrics): return 2")
    new = load(
        folder,
        overrides=(
            "study.objective=aims.py:score",
            "space.fast=5:60",
            "space.mode=ema",
            "costs.slippage=0.02",
            "study.trials=900",
            "compute.workers=2",
        ),
    )
    assert differences(old.settings(), new.settings()) == [
        "objective aims.py:score: the file's content is another now",
        "costs.slippage: 0.01 then, 0.02 now",
        "space.fast.high: 50 then, 60 now",
        'space.mode: not set then, "ema" now',
    ]


@given(st.sampled_from(["seed", "window"]), st.integers(1, 5), st.integers(1, 5))
def test_differences_are_empty_exactly_where_digests_agree(key: str, old: int, new: int) -> None:
    base = from_settings(
        {
            "study": {"strategy": "/s.py", "name": "n"},
            "data": {"source": "synth"},
            "costs": {"commission_rate": 0.0, "slippage": 0.0},
        }
    )
    specs = []
    for value in (old, new):
        changes: dict[str, Any] = {key: value}
        study = dataclasses.replace(base.study, **changes)
        specs.append(dataclasses.replace(base, study=study))
    lines = differences(specs[0].settings(), specs[1].settings())
    assert (lines == []) == (specs[0].digest() == specs[1].digest()) == (old == new)


# -- template --------------------------------------------------------------------------


def test_template_loads(folder: Path) -> None:
    path = write_template(folder / "new" / "study.toml", strategy="../ema.py")
    spec = load_spec(path)
    assert spec.study.strategy == str(folder / "ema.py")
    assert spec.data.source == "synth"


def test_template_loads_with_every_line_taken_in(folder: Path) -> None:
    lines: dict[str, str] = {}
    section = ""
    for line in study_template(strategy="ema.py").splitlines():
        body = line.removeprefix("# ")
        section = body.split("]")[0] + "]" if body.startswith("[") else section
        name = body.split(" = ")[0]
        # Alternatives of one key follow each other; the last one stands.
        if " = " in body and name.isidentifier() and name != "slices":
            lines[f"{section}{name}"] = body
    for qualified, body in lines.items():
        name = qualified.split("]")[0].removeprefix("[")
        load(folder, STUDY if f"\n{body.split(' = ')[0]} = " in STUDY else with_line(name, body))


def test_template_shows_every_key() -> None:
    text = study_template()
    for section, cls in SECTIONS.items():
        assert f"\n[{section}]" in text
        for field in dataclasses.fields(cls) if cls else ():
            key = field.metadata["key"] or field.name
            assert f"\n{key} = " in text or f"\n# {key} = " in text, key


def test_template_never_replaces_a_file_unasked(folder: Path) -> None:
    from sweep.errors import InputError

    path = folder / "study.toml"
    path.write_text("mine")
    with pytest.raises(InputError, match="is there already; --force replaces it"):
        write_template(path)
    assert path.read_text() == "mine"
    write_template(path, force=True)
    assert path.read_text() != "mine"


# -- quantities ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10us", 10_000),
        ("250ms", 250_000_000),
        ("90s", 90 * SECOND),
        ("1.5h", 5400 * SECOND),
        ("1h 30m", 5400 * SECOND),
        ("2w", 14 * 24 * HOUR),
        ("0s", 0),
    ],
)
def test_duration_is_read(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 hour", "0.1ns", "1e3s", "400000d"])
def test_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_duration(text)


@given(st.integers(0, 2**63 - 1))
def test_duration_comes_back_to_the_nanosecond(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


@given(st.integers(-(2**62) // 1000, 2**62 // 1000))
def test_moment_comes_back_to_the_microsecond(us: int) -> None:
    assert parse_moment(format_moment(us * 1000)) == us * 1000


def test_size_is_read_in_decimal_and_binary_units() -> None:
    assert parse_size("500MB") == 500_000_000
    assert parse_size("2 gib") == 2**31
    with pytest.raises(ValueError, match="not a size"):
        parse_size("2G")


def test_every_metric_is_an_objective_in_its_own_direction(folder: Path) -> None:
    for name, metric in METRICS.items():
        study = load(folder, overrides=(f"study.objective={name}",)).study
        assert study.directions == (metric.direction,)
