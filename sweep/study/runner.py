"""Running a study: one process at a time, by the flow that its sampler asks for.

A sampler that learns, or a pruner, makes trials depend on earlier ones: `sweep.study.guided_run`.
Without either, points follow from their position: `sweep.study.exhaustive_run`, and
`sweep.study.streaming_run` where the ticks are in no store.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from filelock import FileLock, Timeout

from sweep.engines.base import Engine
from sweep.engines.choose import make_engine
from sweep.errors import InputError, StudyLockedError
from sweep.report.snapshot import Snapshot
from sweep.study.exhaustive_run import StreamedRun
from sweep.study.guided_run import GuidedRun
from sweep.study.progress import Summary
from sweep.study.run import Run
from sweep.study.streaming_run import PassRun
from sweep.study.study import Study

__all__ = ["Summary", "run_study"]


def run_study(
    study: Study,
    *,
    observer: Callable[[Snapshot], None] | None = None,
    interrupts: Callable[[], int] | None = None,
    engine: Engine | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Run a study to its end, or go on with it.

    Parameters
    ----------
    study : Study
        From `Study.create`.
    observer : callable, optional
        Given a snapshot several times a second.
    interrupts : callable, optional
        How often the user has interrupted: 1 ends the run after the tasks in flight, 2
        at once.
    engine : Engine, optional
        Instead of the one that the study names; it is closed at the end.
    clock : callable, optional

    Returns
    -------
    Summary

    Raises
    ------
    StudyLockedError
        If another process runs the study.
    EvaluationError
        If more variants fail than the study allows.
    ReplayMismatchError
        If a winner does not replay to the bit.
    """
    fresh = not (study.folder / "study.json").exists()
    if fresh:
        try:
            study.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{study.folder}: cannot be made ({error.strerror}); "
                f"choose another folder with --out"
            ) from None

    def new_engine() -> Engine:
        compute = study.spec.compute
        return engine or make_engine(compute.engine, compute.workers)

    lock = FileLock(str(study.folder / "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyLockedError(
            f"{study.folder}: another process is running this study; wait for it, "
            f"or run another one with --out"
        ) from None
    try:
        flow: type[Run] = StreamedRun if study.exhaustive else GuidedRun
        if study.setup.streamed is not None:
            flow = PassRun
        return flow(study, observer, interrupts, new_engine, clock).go()
    finally:
        lock.release()
