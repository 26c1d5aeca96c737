"""Ticks are held once, however many there are and whoever evaluates them."""

from __future__ import annotations

from pathlib import Path

from study_helpers import write_study

from sweep.api import create_study
from sweep.engines.local import LocalEngine
from sweep.study.runner import run_study


def test_memory_of_a_worker_does_not_grow_with_the_ticks(tmp_path: Path) -> None:
    """Thirty times the ticks, 24 bytes each, may not show in a worker's own memory."""
    own, ticks = [], []
    for sessions, per_session in ((2, 10_000), (6, 200_000)):
        path = write_study(tmp_path / str(sessions), sampler="random", trials=4)
        study = create_study(
            path,
            out=tmp_path / f"out{sessions}",
            overrides=(
                f"data.synth.sessions={sessions}",
                f"data.synth.ticks_per_session={per_session}",
            ),
        )
        summary = run_study(study, engine=LocalEngine(1))
        own.append(max(summary.uss_bytes.values()))
        ticks.append(study.setup.ticks.n_ticks)
    mapped = 24 * (ticks[1] - ticks[0])
    assert mapped > 20e6
    assert own[1] - own[0] < 0.2 * mapped
