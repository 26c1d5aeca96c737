"""Nothing of a stranger's folder runs, one's own asks for nothing, and damage is reported."""

from __future__ import annotations

import json
import pickle
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import sweep
from study_helpers import STRATEGY, run_small, same_results

from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.errors import InputError, LedgerError
from sweep.strategy.declare import source_digest
from sweep.study import ledger as ledger_module
from sweep.study import trust
from sweep.study.folder import declared_space, identity, read_manifest, write_manifest
from sweep.study.ledger import Ledger
from sweep.study.records import ExtraEvaluations
from sweep.study.runner import run_study
from sweep.study.study import Study

COMMANDS = {
    "show": ("show",),
    "trials": ("trials",),
    "best": ("best",),
    "validate": ("validate",),
    "mc": ("mc", "--study"),
    "replay": ("replay", "--study"),
}
#: Those that evaluate variants, and can do nothing else.
EVALUATE = ("validate", "mc", "replay")


class Planted:
    """A pickle that leaves a file where it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def touching(path: Path) -> str:
    """Return Python text that leaves a file where it is executed."""
    return f"import pathlib\npathlib.Path({str(path)!r}).touch()\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file, a strategy, and a study in ``out``."""
    folder = tmp_path_factory.mktemp("made")
    run_small(folder, trials=16)
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """The user's own study."""
    return Path(shutil.copytree(made, tmp_path / "own")) / "out"


@pytest.fixture
def strangers(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same study for somebody who did not make it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    return own


def plant_code(folder: Path, trace: Path) -> None:
    """Put code into a stranger's strategy and objective, with all checksums right."""
    strategy = touching(trace) + STRATEGY
    objective = folder.parent / "objective.py"
    objective.write_text(touching(trace) + "def score(metrics):\n    return 1.0\n")
    manifest, _ = read_manifest(folder / "study.json")
    manifest["strategy"]["digest"] = source_digest(strategy)
    manifest["settings"]["study"]["objective"] = [f"{objective}:score"]
    (folder / "strategy.py").write_text(strategy)
    damaged = Ledger(folder / "ledger.bin")
    records = list(damaged.read())
    (folder / "ledger.bin").unlink()
    written = Ledger(folder / "ledger.bin", identity(manifest))
    written.open()
    for record in records:
        written.append(record)
    written.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder.parent / "strangers-config"))
        write_manifest(folder / "study.json", manifest)


# -- what a stranger's folder can do -----------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_executes_what_a_strangers_folder_holds(
    command: str, strangers: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "executed"
    plant_code(strangers, trace)
    (strangers / "sampler.bin").write_bytes(bytes(32) + pickle.dumps(Planted(trace)))
    result = sweep(*COMMANDS[command], strangers)
    assert not trace.exists()
    assert "--trust" in result.err
    if command != "trials":
        assert "was not made by this user on this machine" in result.err
    assert result.code == (2 if command in EVALUATE else 0)
    for advised in result.err.partition("next: ")[2].split("|"):
        assert "--trust" in advised or not any(f"sweep {name}" in advised for name in EVALUATE)
    if command == "replay":
        sweep(*COMMANDS[command], strangers, "--trust")
        assert trace.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pickle_for_a_ledger_is_not_read(command: str, strangers: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    payload = pickle.dumps(Planted(trace))
    old = b"sweep ledger 2\n" + b"\xf5REC" + len(payload).to_bytes(4, "little") + bytes(4) + payload
    (strangers / "ledger.bin").write_bytes(old)
    result = sweep(*COMMANDS[command], strangers)
    assert result.code == 1
    assert "earlier version of Sweep" in result.err
    assert not trace.exists()


def test_a_pickle_within_a_ledger_is_a_damaged_record(
    strangers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Encoder:
        def encode(self, plain: object) -> bytes:
            return pickle.dumps(Planted(tmp_path / "executed"))

    study = Study.open(strangers)
    study.ledger.open()
    monkeypatch.setattr(ledger_module, "_ENCODER", Encoder())
    for number in study.best(1):
        study.ledger.append(study.board.trial(number))
    study.ledger.close()
    again = Study.open(strangers)
    assert again.ledger.damage.lost == {"trial": 1}
    assert same_results(study, again)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("wrong", [{"number": -1}, {"state": "won"}])
def test_a_trial_that_can_be_none_is_a_damaged_record(strangers: Path, wrong: Any) -> None:
    study = Study.open(strangers)
    study.ledger.open()
    study.ledger.append(replace(study.board.trial(0), **wrong))
    study.ledger.close()
    again = Study.open(strangers)
    assert again.ledger.damage.lost == {"trial": 1}
    assert same_results(study, again)


def test_trials_with_other_objectives_are_refused(strangers: Path) -> None:
    study = Study.open(strangers)
    (number,) = study.best(1)
    study.ledger.open()
    study.ledger.append(replace(study.board.trial(number), values=(1.0, 2.0)))
    study.ledger.close()
    result = sweep("show", strangers)
    assert result.code == 1
    assert "its trials have other objectives" in result.err


def test_sweep_run_reads_no_state_that_another_wrote(own: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    before = Study.open(own)
    (own / "sampler.bin").write_bytes(bytes(32) + pickle.dumps(Planted(trace)))
    study = create_study(own.parent / "study.toml", out=own)
    summary = run_study(study, engine=SerialEngine())
    assert not trace.exists()
    assert any("sampler.bin is damaged, or was not" in message for message in summary.messages)
    assert summary.evaluation_s == 0.0
    assert same_results(before, Study.open(own))


def test_a_saved_state_is_used_and_a_changed_one_is_not(tmp_path: Path) -> None:
    settings = ("study.window=4",)
    whole, _ = run_small(tmp_path, *settings, trials=14)
    size = whole.ledger.path.stat().st_size
    for changed in (False, True):
        out = tmp_path / str(changed)
        path = out / "ledger.bin"

        def interrupt(path: Path = path) -> int:
            return int(path.exists() and path.stat().st_size > size // 2)

        study = create_study(tmp_path / "study.toml", out=out, overrides=settings)
        run_study(study, engine=SerialEngine(), interrupts=interrupt)
        if changed:
            flip(out / "sampler.bin", 700)
        study = create_study(tmp_path / "study.toml", out=out, overrides=settings)
        summary = run_study(study, engine=SerialEngine())
        assert any("sampler.bin" in message for message in summary.messages) == changed
        assert same_results(whole, Study.open(out))


def test_trials_of_a_stranger_are_shown_with_the_values_they_had(strangers: Path) -> None:
    path = strangers / "strategy.py"
    whole = sweep("trials", strangers, "--trust", "-f", "csv")
    path.write_text(path.read_text().replace('"both", "long"', '"long", "both"'))
    for trusted in ((), ("--trust",)):
        shown = sweep("trials", strangers, "-f", "csv", *trusted)
        assert shown.code == 0, shown.err
        side = whole.rows[0].index("side")
        assert [row[side] for row in shown.rows] == [row[side] for row in whole.rows]
        assert "which parameters count" in shown.err
    refused = sweep("replay", "--study", strangers, "--trust")
    assert refused.code == 2
    assert "is not the strategy that the study was made with" in refused.err


# -- one's own -------------------------------------------------------------------------


def test_an_own_study_asks_for_nothing(own: Path) -> None:
    for command in ("show", "trials", "best", "replay"):
        result = sweep(*COMMANDS[command], own)
        assert result.code == 0, result.err
        assert "trust" not in result.err
        assert "warning" not in result.err


def test_a_copied_study_is_ones_own_wherever_it_lies(own: Path) -> None:
    moved = own.rename(own.parent / "elsewhere")
    assert not Study.open(moved).not_run


def test_going_on_with_a_strangers_study_makes_it_ones_own(strangers: Path) -> None:
    assert Study.open(strangers).not_run
    before = Study.open(strangers, trust=True)
    study = create_study(strangers.parent / "study.toml", out=strangers)
    summary = run_study(study, engine=SerialEngine())
    assert summary.evaluation_s == 0.0
    own = Study.open(strangers)
    assert not own.not_run
    assert same_results(before, own)


def test_without_a_configuration_folder_it_is_said_once_and_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    run_small(tmp_path / "study", trials=2, sampler="random")
    assert not Study.open(tmp_path / "study" / "out").not_run
    assert capsys.readouterr().err.count("the key that marks your studies") == 1
    trust._key.cache_clear()  # as in another process
    assert not Study.open(tmp_path / "study" / "out").not_run


def test_the_key_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = trust.mark("purpose", b"content")
    key = tmp_path / "sweep" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert trust.verifies("purpose", b"content", first)
    assert not trust.verifies("another", b"content", first)
    assert not trust.verifies("purpose", b"another", first)
    key.chmod(0o644)
    trust._key.cache_clear()
    assert not trust.verifies("purpose", b"content", first)


# -- damage ----------------------------------------------------------------------------


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 8
    path.write_bytes(data)


def places_of(study: Study, kind: int) -> list[int]:
    """Return where the payloads of records of a kind end in a study's ledger."""
    with open(study.ledger.path, "rb") as file:
        file.seek(len(ledger_module._MAGIC))
        frames = list(ledger_module._frames(file, ledger_module.Damage()))
    return [frame.end for frame in frames if frame.kind == kind]


@pytest.mark.parametrize("where", ["payload", "header"])
def test_a_damaged_trial_is_missing_alone(own: Path, where: str) -> None:
    whole = Study.open(own)
    complete = np.flatnonzero(whole.board.in_state("complete") & (whole.board.duplicate_of < 0))
    lost = next(int(k) for k in complete if k != whole.best()[0])
    end = places_of(whole, 1)[lost]
    before = max(e for e in places_of(whole, 1) + places_of(whole, 2) if e < end)
    flip(own / "ledger.bin", end - 9 if where == "payload" else before + 9)
    study = Study.open(own)
    assert len(study.board) == len(whole.board)
    assert study.best(1) == whole.best(1)
    rest = [k for k in range(len(whole.board)) if k != lost]
    assert study.board.rows[rest].tobytes() == whole.board.rows[rest].tobytes()
    assert study.board.states[lost] == "invalid"
    assert study.evaluations() == whole.evaluations()
    assert study.params(lost) == {}
    assert set(study.columns([lost])["fast"]) == {None}
    result = sweep("best", own, "--no-verify")
    assert result.code == 0
    assert f"lost trials: {lost}." in result.err
    assert ("unknown kind" in result.err) == (where == "header")
    again = create_study(own.parent / "study.toml", out=own)
    run_study(again, engine=SerialEngine())
    assert same_results(whole, Study.open(own))


def test_a_ledger_torn_anywhere_keeps_its_whole_records(own: Path, tmp_path: Path) -> None:
    whole = Study.open(own)
    data = whole.ledger.path.read_bytes()
    records = len(list(whole.ledger.read()))
    ends = [end for kind in range(7) for end in places_of(whole, kind)]
    for size in (3, 15, 40, *sorted(ends)[:3], len(data) - 700, len(data) - 1):
        torn = Ledger(tmp_path / f"{size}.bin", whole.ledger.identity)
        torn.path.write_bytes(data[:size])
        kept = len(list(torn.read()))
        assert kept == max(sum(end <= size for end in ends) - 1, 0)
        assert not torn.damage
        torn.open()
        torn.append(ExtraEvaluations("elsewhere", 7))
        torn.close()
        assert list(torn.read())[-1] == ExtraEvaluations("elsewhere", 7)
        assert len(list(torn.read())) == kept + 1 <= records
        assert not torn.damage
        assert torn.heading() == whole.ledger.identity


def test_a_lost_look_at_the_holdout_is_said(own: Path) -> None:
    study = Study.open(own)
    flip(own / "ledger.bin", places_of(study, 3)[0] - 9)
    result = sweep("show", own, "--no-verify")
    assert "1 holdout look cannot be read" in result.err
    assert len(Study.open(own).opened) == len(study.opened) - 1


def test_a_lost_look_is_still_told_after_the_ledger_is_written_again(tmp_path: Path) -> None:
    study, _ = run_small(tmp_path, sampler="random", trials=6)
    flip(tmp_path / "out" / "ledger.bin", places_of(study, 3)[0] - 9)
    for trials in (12, 18):
        longer = create_study(
            tmp_path / "study.toml", out=tmp_path / "out", overrides=(f"study.trials={trials}",)
        )
        run_study(longer, engine=SerialEngine())
    study = Study.open(tmp_path / "out")
    assert len(study.board) == 18
    assert ["there may have been more looks" in remark for remark in study.remarks()] == [True]


def test_a_damaged_manifest_is_told_and_written_again(own: Path) -> None:
    whole = Study.open(own)
    path = own / "study.json"
    rng = np.random.default_rng(5)
    for place in rng.integers(0, path.stat().st_size, 4).tolist():
        text = path.read_bytes()
        flip(path, place)
        try:
            assert Study.open(own).not_run  # a flip in the mark: nothing but that is lost
        except InputError as error:
            assert "sweep run STUDY.toml" in str(error) or "version of Sweep" in str(error)  # noqa: PT017
        study = create_study(own.parent / "study.toml", out=own)
        run_study(study, engine=SerialEngine())
        assert not Study.open(own).not_run
        assert same_results(whole, Study.open(own))
        path.write_bytes(text)
    path.unlink()
    study = create_study(own.parent / "study.toml", out=own)
    summary = run_study(study, engine=SerialEngine())
    assert any("study.json was missing" in message for message in summary.messages)
    assert same_results(whole, Study.open(own))


def test_a_damaged_manifest_of_another_study_is_left_alone(own: Path) -> None:
    (own / "study.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        create_study(own.parent / "study.toml", out=own, overrides=("costs.slippage=0.5",))


def test_the_ledger_of_another_study_is_refused(own: Path, tmp_path: Path) -> None:
    run_small(tmp_path / "another", "costs.slippage=0.5", trials=2)
    shutil.copy(tmp_path / "another" / "out" / "ledger.bin", own / "ledger.bin")
    with pytest.raises(LedgerError, match="ledger of another study"):
        Study.open(own)


def test_a_study_of_an_earlier_version_is_refused(own: Path) -> None:
    path = own / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(InputError, match=r"earlier version of Sweep.*--out"):
        Study.open(own)


def test_a_study_goes_on_with_another_optuna(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.search import optuna_sampler
    from sweep.study import guided_run

    whole = Study.open(own)
    monkeypatch.setattr(optuna_sampler.optuna, "__version__", "99.0")
    monkeypatch.setattr(guided_run, "version", lambda name: "99.0")
    study = create_study(own.parent / "study.toml", out=own, trials=20)
    summary = run_study(study, engine=SerialEngine())
    assert any("another version of Optuna" in message for message in summary.messages)
    after = Study.open(own)
    assert len(after.board) >= 20
    assert after.board.rows[:16].tobytes() == whole.board.rows[:16].tobytes()


def test_a_space_comes_back_from_plain_data_without_its_functions(tmp_path: Path) -> None:
    strategy = STRATEGY.replace('categorical("both", "long")', 'categorical("long", "both", "x")')
    settings = ('space.side=["both", "long"]', "space.pause=true", 'space.wait="4:12:4"')
    study, _ = run_small(tmp_path, *settings, strategy=strategy, trials=2, sampler="random")
    declared, conditional = declared_space(study.manifest, tmp_path)
    assert conditional
    assert [replace(p, when=None) for p in study.space.parameters] == list(declared.parameters)
    rows = study.board.params
    assert declared.decoded(rows) == study.space.decoded(rows)
