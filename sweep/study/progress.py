"""Where a run's time and memory go, measured as it goes; its snapshot and its summary."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sweep.backtest.tasks import Outcome, own_bytes
from sweep.report.snapshot import Snapshot, State, TrialView, WorkerView
from sweep.study.records import COMPLETE, FAILED, INFEASIBLE, INVALID, PRUNED
from sweep.study.study import Study

__all__ = ["Meter", "Standing", "Summary", "snapshot", "trial_views"]

#: Seconds between looks at this process's own memory, which take some ten milliseconds.
_MEASURED = 10.0

#: Seconds over which rates are taken.
_RECENT = 10.0


@dataclass(frozen=True)
class Summary:
    """How a run of a study went.

    Attributes
    ----------
    reason : str
        Why it ended: ``"500 trials"``, ``"interrupted"``, ...
    elapsed_s : float
        Of this run.
    first_trial_s : float
        Until the first finished trial, from the run's beginning; NaN without one.
    finished, evaluated : int
        Trials of the study; distinct variants evaluated, over all runs.
    sampler_s, evaluation_s : float
        Seconds in the sampler (one process), and in tasks (summed over workers).
    kernel_s : float
        Processor time within compiled kernels, where ``evaluation_s`` is wall time; both
        summed over tasks.
    cpu_s : float
        CPU seconds of this process, from the run's beginning: with worker processes, all
        that is not evaluation.
    verify_cpu_s : float
        Of ``cpu_s``, seconds in replaying the winners and evaluating them on the holdout.
    worker_cpu_s : float
        CPU seconds of the worker processes, their start included; NaN where unknown.
    idle_share : float
        Share of the workers' time without a task.
    workers : int
    uss_bytes : dict of int to int
        Unique memory of each worker, by process id, as last measured.
    saved_share : float or None
        Share of the slices that pruning left out; None where nothing is pruned.
    best : tuple of int
        The winners' numbers, replayed to the bit.
    messages : tuple of str
    """

    reason: str
    elapsed_s: float
    first_trial_s: float
    finished: int
    evaluated: int
    sampler_s: float
    evaluation_s: float
    kernel_s: float
    cpu_s: float
    verify_cpu_s: float
    worker_cpu_s: float
    idle_share: float
    workers: int
    uss_bytes: dict[int, int]
    saved_share: float | None
    best: tuple[int, ...]
    messages: tuple[str, ...]


@dataclass
class Meter:
    """Where the time goes, measured as the run goes."""

    clock: Callable[[], float]
    began: float = 0.0
    began_cpu: float = 0.0
    sampler_s: float = 0.0
    evaluation_s: float = 0.0
    kernel_s: float = 0.0
    verify_cpu_s: float = 0.0
    first_trial_s: float = float("nan")
    tick_variants: float = 0.0
    recent: deque[tuple[float, int, float]] = field(default_factory=deque)
    busy: dict[int, float] = field(default_factory=dict)
    uss: dict[int, int] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=dict)
    per_variant_s: float = 0.0
    own: tuple[float, int] = (-_MEASURED, 0)

    def start(self) -> None:
        """Begin to measure."""
        self.began = self.clock()
        self.began_cpu = time.process_time()

    def elapsed(self) -> float:
        """Return the seconds since `start`."""
        return self.clock() - self.began

    def cpu_s(self) -> float:
        """Return the CPU seconds of this process since `start`."""
        return time.process_time() - self.began_cpu

    def took(self, outcome: Outcome, ticks: int) -> None:
        """Record the cost of a finished task."""
        n = len(outcome.rows)
        self.evaluation_s += outcome.seconds
        self.kernel_s += outcome.kernel_seconds
        self.tick_variants += float(ticks) * n
        self.busy[outcome.pid] = self.busy.get(outcome.pid, 0.0) + outcome.seconds
        if outcome.uss_bytes:
            self.uss[outcome.pid] = outcome.uss_bytes
        each = outcome.seconds / max(n, 1)
        self.per_variant_s = (
            each if not self.per_variant_s else 0.7 * self.per_variant_s + 0.3 * each
        )

    def own_bytes(self, ticks_path: str) -> int:
        """Return this process's own memory, as of some seconds ago."""
        now = self.elapsed()
        if now - self.own[0] >= _MEASURED:
            self.own = (now, own_bytes(ticks_path))
        return self.own[1]

    def look_at(self, pids: Sequence[int]) -> None:
        """Measure the CPU time of worker processes, which is gone once they are."""
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            self.cpu[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def note(self, finished: int) -> None:
        """Note how many trials are finished, for the rates."""
        now = self.elapsed()
        self.recent.append((now, finished, self.tick_variants))
        while len(self.recent) > 2 and now - self.recent[0][0] > _RECENT:
            self.recent.popleft()

    def rates(self) -> tuple[float, float]:
        """Return recent trials, and ticks times variants, per second."""
        if len(self.recent) < 2:
            return 0.0, 0.0
        t0, n0, v0 = self.recent[0]
        t1, n1, v1 = self.recent[-1]
        span = max(t1 - t0, 1e-9)
        return (n1 - n0) / span, (v1 - v0) / span


@dataclass(frozen=True)
class Standing:
    """How far a run has come, as its flow knows it.

    Attributes
    ----------
    state : {"running", "draining", "finished"}
    counts : dict of str to int
        See `sweep.study.trials.count_states`.
    in_flight : int
    total : int or None
        Trials to finish, where it is known.
    saved_share : float or None
    workers : int
    pids : tuple of int
    best : tuple of TrialView
    messages : tuple of str
    """

    state: State
    counts: dict[str, int]
    in_flight: int
    total: int | None
    saved_share: float | None
    workers: int
    pids: tuple[int, ...]
    best: tuple[TrialView, ...]
    messages: tuple[str, ...]


def snapshot(study: Study, meter: Meter, now: Standing) -> Snapshot:
    """Return a study at this moment, for those who show it."""
    counts = now.counts
    finished = sum(counts.values())
    elapsed = meter.elapsed()
    trials_per_s, ticks_per_s = meter.rates()
    left = None if now.total is None else max(now.total - finished, 0)
    busy = min(meter.evaluation_s / max(elapsed * now.workers, 1e-9), 1.0)
    waiting = min(meter.sampler_s / max(elapsed, 1e-9), 1.0 - busy)
    return Snapshot(
        name=study.name,
        strategy=study.setup.strategy.name,
        sampler=study.spec.study.sampler.name,
        state=now.state,
        elapsed_s=elapsed,
        total=now.total,
        finished=finished,
        complete=counts[COMPLETE],
        pruned=counts[PRUNED],
        infeasible=counts[INFEASIBLE],
        invalid=counts[INVALID],
        failed=counts[FAILED],
        duplicates=counts["duplicates"],
        in_flight=now.in_flight,
        trials_per_s=trials_per_s,
        tick_variants_per_s=ticks_per_s,
        remaining_s=_remaining(study, elapsed, left, trials_per_s, now.state),
        workers=tuple(
            WorkerView(
                pid,
                min(1.0, meter.busy.get(pid, 0.0) / max(elapsed, 1e-9)),
                meter.uss.get(pid, 0),
            )
            for pid in now.pids
        ),
        memory_bytes=sum(meter.uss.values()) + meter.own_bytes(study.setup.ticks.path),
        shared_bytes=study.setup.ticks.n_ticks * 8 * len(study.setup.ticks.columns),
        sampler_share=waiting,
        evaluation_share=busy,
        idle_share=max(0.0, 1.0 - busy - waiting),
        pruned_share_saved=now.saved_share,
        objectives=tuple(
            zip(study.objectives.labels, study.directions, strict=True)  # type: ignore[arg-type]
        ),
        parameters=study.space.names,
        best=now.best,
        holdout_opened=len(study.opened) if study.setup.ranges.holdout else None,
        messages=now.messages,
    )


def _remaining(
    study: Study, elapsed: float, left: int | None, rate: float, state: State
) -> float | None:
    found = [] if left is None or rate <= 0 else [left / rate]
    limit = study.spec.study.time_limit
    if limit is not None:
        found.append(max(limit / 1e9 - elapsed, 0.0))
    return min(found) if found and state != "finished" else None


def trial_views(
    study: Study,
    numbers: Sequence[int],
    known: dict[int, tuple[float, TrialView]],
    elapsed: float,
    *,
    ended: bool,
) -> tuple[TrialView, ...]:
    """Return trials as a snapshot shows them.

    Parameters
    ----------
    study : Study
    numbers : sequence of int
        The best, best first.
    known : dict of int to (float, TrialView)
        When each became one of the best, and how it was shown; kept up to date here.
    elapsed : float
        Seconds of the run.
    ended : bool
    """
    views = []
    for number in numbers:
        since, view = known.get(number, (elapsed, None))
        opened = number in study.opened
        if view is None or (view.holdout is None and opened):
            view = TrialView(
                number=number,
                params=study.params(number),
                values=study.board.trial(number).values,
                metrics=study.metrics(number),
                holdout=study.holdout_metrics(number),
            )
        is_new = not ended and elapsed - since < 3.0
        if view.is_new != is_new:
            view = replace(view, is_new=is_new)
        known[number] = (since, view)
        views.append(view)
    return tuple(views)
