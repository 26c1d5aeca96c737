"""The examples run, and the quickstart finds what was planted."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import sweep

ROOT = Path(__file__).parent.parent


def test_the_python_interface_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(ROOT / "examples" / "python_interface.py"))
    assert names["again"].best() == names["study"].best()
    assert names["other"].params == {"fast": 300.0, "slow": 900.0, "short": True}
    assert "maximum drawdown" in capsys.readouterr().out


def test_the_quickstart_finds_an_effect_that_holds_on_the_holdout(tmp_path: Path) -> None:
    study = sweep.create_study(
        ROOT / "studies" / "quickstart.toml",
        out=tmp_path / "out",
        trials=60,
        overrides=["compute.engine=serial", "study.top=5"],
    )
    sweep.run(study)
    for number in study.best():
        held = study.holdout_metrics(number)
        assert held is not None
        assert held["net_profit"] > 0.0
        assert study.metrics(number)["trades"] >= 30
