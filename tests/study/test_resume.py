"""A study that was broken off goes on to what the unbroken one gives, to the bit."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from study_helpers import killed_runs, run_small, same_results, start_process, write_study

from sweep.api import create_study
from sweep.engines.serial import SerialEngine
from sweep.errors import StudyLockedError, StudyMismatchError
from sweep.study.proposals import make_proposer
from sweep.study.runner import run_study
from sweep.study.study import Study
from tests.backtest.test_sameness import CASES, DisorderlyEngine

#: Calls within which kills fall: less than those of the studies here after their first record.
CALLS = {"tpe": 400_000, "tpe pruned": 500_000}


def kill_and_resume(
    tmp_path: Path, case: str, kills: int, rng: random.Random, *, tear: bool = False
) -> Study:
    """Kill a study's process at random moments, and return the finished study."""
    sampler, settings = CASES[case]
    path = write_study(tmp_path, sampler=sampler, trials=40)
    out = tmp_path / "killed"
    ledger = out / "ledger.bin"
    calls = (rng.randrange(CALLS.get(case, 40_000) // kills) for _ in range(kills))
    for _ in killed_runs(path, out, calls, *settings):
        if tear:
            with open(ledger, "r+b") as file:
                file.truncate(max(ledger.stat().st_size - rng.randrange(1, 40), 0))
    study = create_study(path, out=out, overrides=settings)
    run_study(study, engine=SerialEngine())
    return Study.open(out)


@pytest.mark.parametrize("case", ["tpe", "tpe pruned", "grid"])
def test_killed_study_goes_on_to_the_same_bits(tmp_path: Path, case: str) -> None:
    sampler, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, sampler=sampler, trials=40)
    resumed = kill_and_resume(tmp_path, case, 2, random.Random(case))
    assert same_results(plain, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("tear", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_killed_study_goes_on_to_the_same_bits_for_every_sampler(
    tmp_path: Path, case: str, tear: bool
) -> None:
    sampler, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, sampler=sampler, trials=40)
    resumed = kill_and_resume(tmp_path, case, 6, random.Random(f"{case} {tear}"), tear=tear)
    assert same_results(plain, resumed)


class InterruptAfter:
    """Counts as one interrupt once a study has so many records."""

    def __init__(self, study: Study, size: int) -> None:
        self.path, self.size = study.ledger.path, size

    def __call__(self) -> int:
        return int(self.path.exists() and self.path.stat().st_size > self.size)


@pytest.mark.parametrize("case", CASES)
def test_interrupted_study_goes_on_to_the_same_bits(tmp_path: Path, case: str) -> None:
    sampler, settings = CASES[case]
    plain, _ = run_small(tmp_path, *settings, sampler=sampler)
    whole = (tmp_path / "out" / "ledger.bin").stat().st_size
    for k in (1, 2, 3):
        study = create_study(tmp_path / "study.toml", out=tmp_path / "broken", overrides=settings)
        interrupt = InterruptAfter(study, whole * k // 5)
        summary = run_study(study, engine=SerialEngine(), interrupts=interrupt)
        assert summary.reason == "interrupted"
        told = len(Study.open(tmp_path / "broken").board)
        # A design's trials in flight are told too: nothing is proposed by them.
        assert told < len(plain.board) or case in ("grid", "qmc")
    study = create_study(tmp_path / "study.toml", out=tmp_path / "broken", overrides=settings)
    run_study(study, engine=SerialEngine())
    assert same_results(plain, Study.open(tmp_path / "broken"))


def test_a_finished_study_runs_again_without_evaluating(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path)
    before = (tmp_path / "out" / "ledger.bin").read_bytes()
    study = create_study(tmp_path / "study.toml", out=tmp_path / "out")
    summary = run_study(study, engine=SerialEngine())
    assert summary.reason == "24 trials"
    assert summary.evaluation_s == 0.0
    assert (tmp_path / "out" / "ledger.bin").read_bytes() == before
    assert same_results(plain, Study.open(tmp_path / "out"))


@pytest.mark.parametrize("case", ["tpe", "tpe pruned", "cmaes", "grid"])
def test_an_extended_study_equals_the_long_one(tmp_path: Path, case: str) -> None:
    sampler, settings = CASES[case]
    run_small(tmp_path, *settings, sampler=sampler, trials=10)
    for trials in (17, 30):
        more = create_study(
            tmp_path / "study.toml", out=tmp_path / "out", overrides=settings, trials=trials
        )
        run_study(more, engine=SerialEngine())
    whole, _ = run_small(
        tmp_path, *settings, "study.trials=30", out="whole", sampler=sampler, trials=10
    )
    extended = Study.open(tmp_path / "out")
    assert extended.spec.study.trials == 30
    assert same_results(whole, extended)


def test_damaged_ledger_records_are_evaluated_again(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path)
    ledger = tmp_path / "out" / "ledger.bin"
    data = bytearray(ledger.read_bytes())
    rng = random.Random(4)
    for _ in range(6):
        place = rng.randrange(20, len(data))
        data[place] ^= 1 << rng.randrange(8)
    ledger.write_bytes(data)
    study = create_study(tmp_path / "study.toml", out=tmp_path / "out")
    summary = run_study(study, engine=SerialEngine())
    assert any("damaged" in message for message in summary.messages)
    assert same_results(plain, Study.open(tmp_path / "out"))


def test_a_damaged_sampler_file_costs_proposals_and_nothing_else(tmp_path: Path) -> None:
    plain, _ = run_small(tmp_path)
    (tmp_path / "out" / "sampler.bin").write_bytes(b"no pickle")
    study = create_study(tmp_path / "study.toml", out=tmp_path / "out")
    summary = run_study(study, engine=SerialEngine())
    assert summary.evaluation_s == 0.0
    assert same_results(plain, Study.open(tmp_path / "out"))


def test_at_once_loses_no_finished_trial(tmp_path: Path) -> None:
    """Told at once, trials come in any order; a kill must not lose one that was recorded."""
    path = write_study(tmp_path, trials=40)
    out = tmp_path / "out"
    process = start_process(path, out, "study.deterministic=false")
    ledger = out / "ledger.bin"
    while process.poll() is None and not (ledger.exists() and ledger.stat().st_size > 9000):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    before = Study.open(out)
    done = {row.tobytes() for row in before.board.params}
    study = create_study(path, out=out, overrides=("study.deterministic=false",))
    run_study(study, engine=SerialEngine())
    after = {row.tobytes() for row in Study.open(out).board.params}
    assert done
    assert done <= after


def test_at_once_goes_on_after_an_interrupt_in_any_order(tmp_path: Path) -> None:
    settings = ("study.deterministic=false",)
    path = write_study(tmp_path, trials=40)
    for k in range(3):
        study = create_study(path, out=tmp_path / "out", overrides=settings)
        interrupt = InterruptAfter(study, 6000 * (k + 1))
        run_study(study, engine=DisorderlyEngine(k), interrupts=interrupt)
        told = Study.open(tmp_path / "out")
        assert told.board.params.tobytes() == study.board.params.tobytes()
    study = create_study(path, out=tmp_path / "out", overrides=settings)
    summary = run_study(study, engine=DisorderlyEngine(9))
    read = Study.open(tmp_path / "out")
    assert read.board.params.tobytes() == study.board.params.tobytes()
    assert read.best() == list(summary.best)
    for number, opened in read.opened.items():
        assert opened.params.tobytes() == read.board.trial(number).params.tobytes()


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_at_once_a_resumed_sampler_learns_what_came_of_each_point(
    tmp_path: Path, sampler: str
) -> None:
    settings = ("study.deterministic=false", *CASES["tpe pruned"][1])
    path = write_study(tmp_path, sampler=sampler, trials=30)
    told: dict[int, bytes] = {}
    for trials in (8, 16, 30):
        study = create_study(path, out=tmp_path / "out", overrides=settings, trials=trials)
        run_study(study, engine=SerialEngine())
        for k, row in enumerate(study.board.params):
            assert told.setdefault(k, row.tobytes()) == row.tobytes()
    sampler_study = make_proposer(study.spec.study, study.space, [], len(study.setup.slices))
    trials_done = [study.board.trial(k) for k in range(len(study.board))]
    sampler_study.teach(trials_done, [])
    inner = getattr(sampler_study, "_sampler", None)
    if inner is not None:
        seen = [t for t in inner._study.trials if t.values is not None]
        assert [t.values[0] for t in seen] == [study.board.values[t.number, 0] for t in seen]
        assert [t.params["slow"] for t in seen] == [study.params(t.number)["slow"] for t in seen]
    assert study.board.evaluated() > 20


def test_two_processes_cannot_run_one_study(tmp_path: Path) -> None:
    path = write_study(tmp_path, trials=4000)
    process = start_process(path, tmp_path / "out")
    try:
        while process.poll() is None and not (tmp_path / "out" / "ledger.bin").exists():
            time.sleep(0.05)
        study = create_study(path, out=tmp_path / "out")
        with pytest.raises(StudyLockedError, match="another process is running this study"):
            run_study(study, engine=SerialEngine())
    finally:
        process.kill()
        process.communicate()


def test_other_inputs_are_refused_by_name(tmp_path: Path) -> None:
    run_small(tmp_path)
    path, out = tmp_path / "study.toml", tmp_path / "out"
    before = (out / "ledger.bin").read_bytes()
    with pytest.raises(StudyMismatchError, match=r"costs\.slippage"):
        create_study(path, out=out, overrides=("costs.slippage=0.5",))
    with pytest.raises(StudyMismatchError, match="the ticks"):
        create_study(path, out=out, overrides=("data.synth.seed=99",))
    strategy = tmp_path / "strategy.py"
    strategy.write_text(strategy.read_text() + "\n# another\n")
    with pytest.raises(StudyMismatchError, match="the strategy's text"):
        create_study(path, out=out)
    assert (out / "ledger.bin").read_bytes() == before
