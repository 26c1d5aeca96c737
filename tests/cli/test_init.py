"""`sweep init`: what it writes runs as it is, and replaces nothing unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_helpers import SERIAL, files_below, sweep

from sweep.cli.strategy_template import strategy_template


def test_what_is_written_checks_and_runs(tmp_path: Path) -> None:
    assert sweep("init", tmp_path / "new").code == 0
    checked = sweep("check", tmp_path / "new" / "strategy.py", "-f", "json")
    assert checked.code == 0
    assert checked.json["passed"] is True
    assert all(c["status"] == "ok" for c in checked.json["checks"] if c["name"] != "vectorises")
    study = tmp_path / "new" / "study.toml"
    out = tmp_path / "out"
    run = sweep("run", study, "--out", out, *SERIAL, "--trials", 6, "-f", "json")
    assert run.code == 0, run.err
    assert run.json["counts"]["complete"] > 0


def test_studies_of_two_folders_have_results_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, name in (("my", "my"), ("other", "other"), ("deep/.a b+c", "a-b-c")):
        assert sweep("init", folder).code == 0
        # The same text, for which one kernel is compiled.
        (tmp_path / folder / "strategy.py").write_text(strategy_template())
        found = sweep("run", Path(folder) / "study.toml", *SERIAL, "--trials", 1, "-f", "json")
        assert found.code == 0, found.err
        assert found.json["name"] == name
        assert (tmp_path / "results" / name / "study.json").exists()
    monkeypatch.chdir(tmp_path / "my")
    assert sweep("init", "--force").code == 0
    assert 'name = "my" ' in (tmp_path / "my" / "study.toml").read_text()


def test_a_name_names_both_files(tmp_path: Path) -> None:
    result = sweep("init", tmp_path, "--name", "gold")
    assert result.code == 0
    assert set(files_below(tmp_path)) == {"gold.py", "gold.toml"}
    assert 'strategy = "gold.py"' in (tmp_path / "gold.toml").read_text()
    assert f"sweep run {tmp_path / 'gold.toml'}" in result.err


@pytest.mark.parametrize("there", ["strategy.py", "study.toml"])
def test_nothing_is_replaced_without_force(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    before = files_below(tmp_path)
    result = sweep("init", tmp_path)
    assert result.code == 2
    assert there in result.err
    assert "--force" in result.err
    assert files_below(tmp_path) == before
    assert sweep("init", tmp_path, "--force").code == 0
    assert (tmp_path / there).read_text() != "mine"


def test_a_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    assert sweep("init", tmp_path, "--name", "../gold").code == 2
    assert files_below(tmp_path) == {}
