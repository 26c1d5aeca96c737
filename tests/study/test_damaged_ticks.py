"""Stored ticks whose bytes have changed: no result of theirs is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_helpers import sweep
from study_helpers import run_small, same_results, write_study

from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.errors import StoreError
from sweep.study.file.sections import ValidateSection
from sweep.study.study import Study
from sweep.ticks.mapped import column_path, release
from sweep.ticks.sources import SourceSpec
from sweep.ticks.store import import_ticks, list_entries
from sweep.ticks.synthetic import SynthSpec
from sweep.units import Duration
from sweep.validation.walkforward.run import study_folds, walk_forward


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Path(os.environ["SWEEP_CACHE"]) / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernels").symlink_to(kernels)
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))


def flip_a_bit(column: str) -> str:
    """Damage the only entry as a failing disk would; return its path."""
    (entry,) = list_entries()
    release(entry.handle.path)
    with column_path(entry.handle.path, column).open("r+b") as file:
        file.seek(8 * 2_000)
        byte = file.read(1)[0]
        file.seek(8 * 2_000)
        file.write(bytes([byte ^ 1]))
    return entry.handle.path


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("column", ["ts", "ask"])
def test_a_study_of_damaged_ticks_keeps_no_result(
    sampler: str, column: str, tmp_path: Path
) -> None:
    expected, _ = run_small(tmp_path / "a", sampler=sampler, trials=6)
    path = flip_a_bit(column)
    with pytest.raises(StoreError, match=r"bytes have changed .* are removed") as error:
        run_small(tmp_path / "b", sampler=sampler, trials=6)
    assert path in str(error.value)
    assert len(Study.open(tmp_path / "b" / "out").board) == 0
    assert list_entries() == []
    repeated, _ = run_small(tmp_path / "b", sampler=sampler, trials=6)
    assert same_results(repeated, expected)


def test_a_search_in_folds_keeps_no_row_of_damaged_ticks(tmp_path: Path) -> None:
    settings = ValidateSection(folds=2, purge=0, unit=Duration(600 * 10**9))
    file = write_study(tmp_path, sampler="random", trials=6)
    create_study(file)
    path = flip_a_bit("bid")
    study = create_study(file, out=tmp_path / "out")
    with pytest.raises(StoreError, match="bytes have changed") as error:
        walk_forward(study, study_folds(study, settings), engine=SerialEngine())
    assert path in str(error.value)
    assert not list(tmp_path.rglob("*.rows"))


def test_the_check_of_ticks_outlasts_their_lease(tmp_path: Path) -> None:
    run_small(tmp_path, trials=6)
    path = flip_a_bit("bid")
    study = Study.open(tmp_path / "out")
    assert study.setup.ticks.path == path
    for seed in range(8):
        import_ticks(SourceSpec("synth", synth=SynthSpec(sessions=1, seed=seed)))
    with pytest.raises(StoreError, match="bytes have changed"):
        study.replay(0)


def test_replay_blames_damaged_ticks_and_not_the_program(tmp_path: Path) -> None:
    run_small(tmp_path, trials=6)
    path = flip_a_bit("bid")
    with pytest.raises(StoreError, match="bytes have changed") as error:
        Study.open(tmp_path / "out").replay(0)
    assert path in str(error.value)
    Study.open(tmp_path / "out").replay(0)


def test_a_damaged_entry_is_imported_again_by_the_same_command(tmp_path: Path) -> None:
    file, out = write_study(tmp_path, trials=3), tmp_path / "out"
    command = ("run", file, "--out", out, "--set", 'compute.engine="serial"', "--trials")
    assert sweep(*command, 3).code == 0
    flip_a_bit("bid")
    failed = sweep(*command, 6)
    assert failed.code == 1
    assert "these ticks were damaged" in failed.err
    assert Study.open(out).board.evaluated() == 3
    assert sweep(*command, 6).code == 0
    assert Study.open(out).board.evaluated() == 6
