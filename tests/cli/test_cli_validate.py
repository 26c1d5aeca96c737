"""`sweep validate` end to end: on a screen, as data, as files, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import study_helpers
from cli_helpers import Result, files_below, ran, sweep

from sweep.study.study import Study
from sweep.validation.evidence_of_study import _held, session_changes

LONG = study_helpers.STUDY.replace(
    "sessions = 2, ticks_per_session = 3000", "sessions = 48, ticks_per_session = 150"
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 24 settings over 37 sessions, with a holdout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_helpers, "STUDY", LONG)
        return ran(tmp_path_factory.mktemp("long"), sampler="random")


def validate(study: Path, *arguments: object) -> Result:
    return sweep("validate", study, "--bootstraps", 100, "--no-walk-forward", *arguments)


def test_the_verdict_is_said_first_and_the_surface_last(study: Path) -> None:
    before = files_below(study)
    result = validate(study)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].split(":")[0] in ("Luck", "Weak", "Strong")
    assert "Of 24 settings tried, pure luck alone would give a best Sharpe ratio" in result.out
    assert "the walk-forward was left out (--no-walk-forward)" in " ".join(result.out.split())
    assert "the surface of net_profit, from" in result.out
    assert "next: sweep validate" in result.err
    assert "Hansen's SPA ..." in result.err
    assert files_below(study) == before


def test_splits_alone_have_no_report_to_write(study: Path, tmp_path: Path) -> None:
    page = tmp_path / "v.html"
    result = sweep("validate", study, "--show-splits", "--html", page)
    assert result.code == 2
    assert "--show-splits judges nothing" in result.err
    assert not page.exists()


def test_a_holdout_that_failed_is_not_called_unopened(study: Path) -> None:
    found = Study.open(study)
    best = found.best(1)[0]
    found.opened[best] = replace(found.opened[best], reason="step() raised ValueError: boom")
    text = "trial {} could not be evaluated on the holdout: step() raised ValueError: boom"
    assert _held(found, best) == text.format(best)


def test_out_of_sample_returns_are_by_the_study_s_sessions() -> None:
    """Bars of a market that never closes have no gaps between sessions, or nothing else."""
    hour = 3_600_000_000_000
    ts = np.arange(10 * 24, dtype=np.int64) * hour
    equity = 100.0 + np.arange(10 * 24)
    days = np.append(np.arange(10, dtype=np.int64) * 24 * hour, ts[-1] + 1)
    assert session_changes(ts, equity, 100.0, days).tolist() == [23.0] + [24.0] * 9
    # Sessions without a tick out of sample are none of it.
    some = (ts < 24 * hour) | (ts >= 72 * hour)
    changes = session_changes(ts[some], np.arange(some.sum()) + 100.0, 100.0, days)
    assert changes.tolist() == [23.0] + [24.0] * 7


def test_quiet_says_nothing_beside_the_data(study: Path) -> None:
    result = validate(study, "-q", "-f", "csv")
    assert result.err == ""
    assert result.rows[0] == ["claim", "grade", "p", "sentence", "change"]
    assert [row[0] for row in result.rows[1:4]] == ["overall", "record", "number tried"]


def test_json_holds_everything_and_repeats(study: Path) -> None:
    first, second = (validate(study, "-q", "-f", "json") for _ in range(2))
    assert first.out == second.out
    found = first.json
    assert "NaN" not in first.out
    assert found["verdict"]["n_evaluations"] == 24
    assert found["verdict"]["n_sessions"] == 37
    assert found["verdict"]["settings"] == {"n_bootstrap": 100, "block": None, "seed": 1}
    claims = {c["name"]: c for c in found["verdict"]["claims"]}
    assert claims["holdout"]["grade"] != "cannot be said"
    assert claims["walk-forward"]["figures"] == {}
    assert {p["name"] for p in found["surface"]["profiles"]} == {
        "fast", "slow", "side", "pause", "wait",
    }  # fmt: skip
    assert len(found["surface"]["maps"]) == 10
    best = Study.open(study).best(1)
    assert [found["surface"]["trial"]] == [found["verdict"]["trial"]] == best


def test_seed_and_block_change_the_resamples(study: Path) -> None:
    base, seeded, blocked = (
        validate(study, "-q", "-f", "json", *more).json["verdict"]
        for more in ((), ("--seed", 9), ("--block", 4))
    )
    assert seeded["settings"]["seed"] == 9
    assert blocked["block_length"] == 4.0
    assert base["claims"][2] != blocked["claims"][2]
    assert base["claims"][1] == seeded["claims"][1] == blocked["claims"][1]


class _Open(HTMLParser):
    """Tags that are open, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_files_are_written_and_not_overwritten(study: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "v.html", tmp_path / "v.json"
    result = validate(study, "--html", page, "--json", data)
    assert result.code == 0, result.err
    text = page.read_text(encoding="utf-8")
    parser = _Open()
    parser.feed(text)
    assert (parser.open, parser.fetched) == ([], [])
    assert text.count('<table class="map">') == 10
    assert "what would change it" in text
    assert ', the winner"></td>' in text
    shown = validate(study, "-q", "-f", "json").json
    assert json.loads(data.read_text(encoding="utf-8")) == shown
    again = validate(study, "--html", page)
    assert again.code == 2
    assert "--force" in again.err
    assert validate(study, "--html", page, "--force", "-q").code == 0


def test_the_walk_forward_is_run_counted_and_shown(study: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(study, own)
    page = tmp_path / "v.html"
    result = sweep("validate", own, "--bootstraps", 100, "--html", page)
    assert result.code == 0, result.err
    flat = " ".join(result.out.split())
    claim = flat.partition("walk-forward ")[2]
    # Five tests of a few sessions each: a history of fewer than 30 says nothing.
    assert claim.startswith("cannot be said Cannot be said, because its tests have ")
    assert "net_profit by fold" in result.out
    assert ">walk-forward</h2>" in page.read_text(encoding="utf-8")
    found = sweep("validate", own, "--bootstraps", 100, "-q", "-f", "json").json
    assert len(found["walk_forward"]["folds"]) == 5
    assert found["verdict"]["n_evaluations"] == Study.open(own).evaluations()
    assert sweep("show", own, "-f", "json").json["evaluations"] == Study.open(own).evaluations()


def test_folds_are_asked_about_without_another_run(study: Path, tmp_path: Path) -> None:
    """Another split is another question: it changes no study, and is not kept."""
    own = tmp_path / "own"
    shutil.copytree(study, own)
    more = ("--set", "validate.scheme=cpcv", "--set", "validate.groups=4", "--set",
            "validate.test_groups=2", "--set", 'validate.purge="1h"')  # fmt: skip
    listed = sweep("validate", own, "--show-splits", *more)
    assert listed.code == 0, listed.err
    assert "cpcv: 6 folds" in listed.out
    assert "of what could train does not: 1.0h in front" in " ".join(listed.out.split())
    page = tmp_path / "v.html"
    result = sweep("validate", own, "--bootstraps", 100, "--html", page, *more)
    assert result.code == 0, result.err
    flat = " ".join(result.out.split())
    assert "one after another, path by path" in flat
    assert "of 3 histories out of sample" in flat
    assert "of 3 histories out of sample" in page.read_text(encoding="utf-8")
    found = sweep("validate", own, "--bootstraps", 100, "-q", "-f", "json", *more).json
    paths = found["walk_forward"]["paths"]
    assert len(paths) == 3
    lost = sum(p["metrics"]["net_profit"] < 0 for p in paths)
    assert f"of 3 histories out of sample {lost} lost money" in found["walk_forward"]["notes"][0]
    assert sweep("validate", own, "--show-splits", "-q").out.count("cpcv") == 0
    for wrong, said in (
        ("data.slices=3", "keys of [validate] alone"),
        ("validate.scheme=kfold", "validate.scheme"),
        ("validate.fold=3", 'did you mean "folds"?'),
    ):
        refused = sweep("validate", own, "--set", wrong)
        assert refused.code == 2
        assert said in refused.err


def test_settings_are_listed_by_what_the_tests_say(study: Path, tmp_path: Path) -> None:
    file, page = tmp_path / "s.csv", tmp_path / "v.html"
    result = validate(study, "--csv", file, "--html", page)
    assert result.code == 0, result.err
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    found = validate(study, "-q", "-f", "json").json["verdict"]["standings"]
    assert len(rows) == len(found["numbers"]) == 24
    by_trial = dict(
        zip(found["numbers"], zip(found["p"], found["alike"], strict=True), strict=True)
    )
    p = [float(row["p_adjusted"]) for row in rows]
    assert p == sorted(p)
    for row in rows:
        expected = by_trial[int(row["trial"])]
        assert (float(row["p_adjusted"]), row["in_confidence_set"] == "true") == expected
    listed = io.StringIO(sweep("trials", study, "--top", 0, "-f", "csv").out)
    trials = {row["trial"]: row for row in csv.DictReader(listed)}
    for row in rows:
        same = trials[row["trial"]]
        assert {k: row[k] for k in same} == same
    head = next(line for line in result.out.splitlines() if line.split()[-1:] == ["alike"])
    assert head.split()[0] == "trial"
    shown = result.out.splitlines()[result.out.splitlines().index(head) + 1 :][:10]
    assert [line.split()[0] for line in shown] == [row["trial"] for row in rows[:10]]
    assert "settings, by what the tests say of each" in page.read_text(encoding="utf-8")


def test_no_setting_is_listed_where_nothing_can_be_said(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    result = validate(ran(tmp_path, trials=6), "--csv", file)
    assert result.code == 2
    assert "not written, since no setting was tested. Cannot be said, because" in result.err
    assert result.out.startswith("Cannot be said, because there is 1 session;")
    assert not file.exists()


PEEKING = """
from typing import NamedTuple
import numpy as np
from sweep.strategy import Space, integer

class Params(Space):
    ahead: int = integer(0, 40, default=20)

class State(NamedTuple):
    seen: int

class Features(NamedTuple):
    later: np.ndarray

def features(ticks, params):
    later = np.empty_like(ticks.mid)
    n = len(later) - params.ahead
    later[:n] = ticks.mid[params.ahead :]
    later[n:] = ticks.mid[n:]
    return Features(later)

def start(tick, params):
    return State(1)

def step(state, tick, params, features):
    return State(state.seen + 1), 1.0 if features.later > tick.mid else -1.0
"""


def test_a_rule_that_knows_the_future_is_told_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_helpers, "STUDY", LONG)
    peeking = ran(tmp_path, strategy=PEEKING, sampler="random", trials=12)
    result = validate(peeking)
    assert result.code == 0, result.err
    said = " ".join(result.out.split())
    assert said.startswith("Cannot be said, because the strategy looks ahead, so that no figure")
    assert "feature later at tick" in said.partition("winner")[0]
    found = validate(peeking, "-q", "-f", "json").json["verdict"]
    assert found["grade"] == "cannot be said"
    assert {c["grade"] for c in found["claims"]} == {"cannot be said"}
    assert found["standings"] is None
    assert "by fold" not in sweep("validate", peeking, "--bootstraps", 100).out
    assert any(note.startswith("look-ahead: ") for note in found["notes"])
    # A winner that does not use the future is called what it is.
    kinds = {"strategy": PEEKING, "sampler": "random", "trials": 1}
    blind = validate(ran(tmp_path / "honest", "--set", "space.ahead=0", **kinds))
    assert "looks ahead" not in blind.out
    said = " ".join(blind.out.split())
    assert "look-ahead: none found: features keep every bit" in said
    assert "1 point); a test on generated ticks, and no proof" in said


def test_the_first_of_a_front_is_called_so(tmp_path: Path) -> None:
    several = 'study.objective=["net_profit", "-max_drawdown"]'
    front = ran(tmp_path, "--set", several, sampler="random", trials=12)
    assert "of several objectives there is no one winner" in " ".join(validate(front).out.split())


def test_splits_are_drawn_or_listed(study: Path) -> None:
    before = files_below(study)
    result = sweep("validate", study, "--show-splits")
    assert result.code == 0, result.err
    assert sum(line.startswith("fold ") for line in result.out.splitlines()) >= 5
    assert "█" in result.out or "#" in result.out
    rows = sweep("validate", study, "--show-splits", "-f", "csv").rows
    assert rows[0][:2] == ["fold", "role"]
    assert [row[1] for row in rows[1:]].count("test") == 5
    assert files_below(study) == before


def test_what_cannot_be_asked_is_refused(study: Path, tmp_path: Path) -> None:
    for wrong, said in (
        (("--html", tmp_path / "v.txt"), "must end in .html"),
        (("--json", tmp_path / "v.txt"), "must end in .json"),
        (("--block", 0.5), "0.5 is not in the range"),
        (("--block", 500), "longer than the data"),
    ):
        result = validate(study, *wrong)
        assert result.code == 2, wrong
        assert said in result.err
    assert sweep("validate", tmp_path / "none").code == 2


def test_a_short_study_says_why_nothing_can_be_said(tmp_path: Path) -> None:
    result = validate(ran(tmp_path, trials=6), "-q")
    assert result.code == 0, result.err
    assert result.out.startswith("Cannot be said, because there is 1 session;")


def test_a_study_without_a_winner_is_refused(tmp_path: Path) -> None:
    none = ran(tmp_path, "--set", 'study.constraints=["trades > 1e9"]', trials=4)
    result = validate(none)
    assert result.code == 2
    assert "there is no winner to validate" in result.err
