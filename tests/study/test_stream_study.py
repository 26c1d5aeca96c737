"""A study may evaluate its ticks in passes over their source, to the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_helpers import run_small, write_study

from sweep.api import create_study
from sweep.backtest.stream.plan import sizes_for
from sweep.engines.local import LocalEngine
from sweep.errors import DataError, InputError, StudyFileError
from sweep.study import streaming_run as passes
from sweep.study.runner import run_study
from sweep.study.study import Study
from sweep.ticks import store
from sweep.ticks.sources import write_parquet
from sweep.ticks.synthetic import SynthSpec, generate

STREAM = 'data.store="stream"'
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "grid": ("grid", ('study.sampler={name="grid", points=3}', 'space.fast="2:40:19"')),
    "random": ("random", ()),
    "qmc": ("qmc", ("data.slices=5",)),
    "independent": ("random", ("data.slices=4", 'data.slicing="independent"')),
    "by time": ("random", ('data.slices="3h"', "data.holdout=0.4")),
    "latency": ("random", ('costs.latency="90s"',)),
    "no holdout": ("random", ("data.holdout=0",)),
    "a range": ("random", ('data.from="2024-01-01T10:00:00"', 'data.to="2024-01-02T12:00:00"')),
}


def same_trials(a: Study, b: Study) -> bool:
    one, two = a.trials(), b.trials()
    return bool(one.equals(two))


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_SHM", str(tmp_path))


@pytest.mark.parametrize("case", CASES)
def test_a_streamed_study_is_the_study_on_stored_ticks(case: str, tmp_path: Path) -> None:
    sampler, settings = CASES[case]
    stored, of_stored = run_small(tmp_path, *settings, sampler=sampler, out="a")
    streamed, of_streamed = run_small(tmp_path, STREAM, *settings, sampler=sampler, out="b")
    assert same_trials(stored, streamed)
    assert of_stored.best == of_streamed.best
    assert stored.manifest["ticks"] == streamed.manifest["ticks"]
    assert stored.manifest["capital"] == streamed.manifest["capital"]
    assert stored.manifest["sessions"] == streamed.manifest["sessions"]
    one, two = stored.session_returns(), streamed.session_returns()
    assert one.numbers.tolist() == two.numbers.tolist()
    assert one.returns.tobytes() == two.returns.tobytes()
    assert np.abs(one.returns).max() > 0
    assert {n: o.row.tobytes() for n, o in stored.opened.items()} == {
        n: o.row.tobytes() for n, o in streamed.opened.items()
    }


def test_nothing_is_put_into_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the ticks were imported")

    monkeypatch.setattr(store, "import_ticks", refuse)
    monkeypatch.setattr("sweep.study.setup.import_ticks", refuse)
    monkeypatch.setattr("sweep.study.study.import_ticks", refuse)
    study, summary = run_small(tmp_path, STREAM, sampler="random")
    assert len(study.board) == 24
    assert summary.best


def test_more_variants_than_a_pass_takes_take_more_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = passes.evaluate_stream

    def counted(source: Any, context: Any, params: Any, *rest: Any, **how: Any) -> Any:
        seen.append(len(params))
        return real(source, context, params, *rest, **how)

    small = lambda *a, **k: replace(sizes_for(*a, **k), variants=7)  # noqa: E731
    for module in ("study.setup", "backtest.stream.run"):
        monkeypatch.setattr(f"sweep.{module}.sizes_for", small)
    monkeypatch.setattr(passes, "evaluate_stream", counted)
    streamed, _ = run_small(tmp_path, STREAM, sampler="random", out="b")
    monkeypatch.undo()
    # 24 trials, and the winners again: on the search range and on the holdout.
    assert seen[:4] == [7, 7, 7, 3]
    assert len(seen) == 6
    stored, _ = run_small(tmp_path, sampler="random", out="a")
    assert same_trials(stored, streamed)


def test_workers_evaluate_a_streamed_study(tmp_path: Path) -> None:
    stored, _ = run_small(tmp_path, sampler="random", out="a")
    study = create_study(
        write_study(tmp_path, sampler="random"), out=tmp_path / "b", overrides=(STREAM,)
    )
    run_study(study, engine=LocalEngine(2))
    assert same_trials(stored, Study.open(tmp_path / "b"))


def test_a_replay_brings_the_ticks_into_the_store(tmp_path: Path) -> None:
    study, summary = run_small(tmp_path, STREAM, sampler="random")
    found = study.replay(summary.best[0])
    assert len(found.replay.equity) == study.setup.ranges.search.end


def test_a_study_begun_in_the_store_goes_on_as_a_stream(tmp_path: Path) -> None:
    bare = "data.holdout=0"  # else the first winners have been looked at there too
    whole, _ = run_small(tmp_path, bare, sampler="random", trials=24, out="a")
    run_small(tmp_path, bare, sampler="random", trials=10, out="b")
    streamed, _ = run_small(tmp_path, bare, STREAM, sampler="random", trials=24, out="b")
    assert same_trials(whole, streamed)
    returns = streamed.session_returns().returns
    assert returns.tobytes() == whole.session_returns().returns.tobytes()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("study.sampler=tpe", 'the sampler tpe learns.*"grid", "random" or "qmc".*"disk"'),
        ('study.pruner={name="median"}', "a pruner goes by"),
        ("study.live_holdout=true", "live_holdout"),
    ],
)
def test_what_needs_results_one_by_one_is_refused(setting: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=words):
        run_small(tmp_path, STREAM, "data.slices=4", setting, sampler="random")


def test_too_little_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.memory: 20 MB are too little"):
        run_small(tmp_path, STREAM, 'data.memory="20MB"', sampler="random")


def test_a_source_that_breaks_during_the_study_ends_it_as_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    write_parquet(generate(SynthSpec(seed=1, sessions=3, ticks_per_session=20_000)), path)

    def create() -> Study:
        return create_study(
            write_study(tmp_path, sampler="random"),
            out=tmp_path / "b",
            overrides=(STREAM,),
            source=str(path),
        )

    study = create()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="the source changed since the study looked at it first"):
        run_study(study, engine=LocalEngine(1))
    with pytest.raises(DataError, match="damaged, cut short"):
        create()
