"""Running a study: the loop that carries out what `sweep.flow` decides.

One process, the orchestrator, asks the sampler, submits tasks, writes the ledger and
tells what is finished. A thread of its own copies finished trials to Optuna's storage.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from sweep.engines.base import Engine, WorkerLostError
from sweep.errors import (
    EngineError,
    EvaluationError,
    InputError,
    LedgerError,
    ReplayMismatchError,
    StudyLockedError,
    SweepError,
)
from sweep.flow import Ask, Learn, Plan, Record, Save, StudyState
from sweep.persist import Persister
from sweep.proposals import (
    DESIGNS,
    DesignProposer,
    Proposer,
    depends_on_results,
    make_proposer,
)
from sweep.results import COMPLETE, FAILED, INFEASIBLE, INVALID, PRUNED, Finished, Opened, Partial
from sweep.setup import slice_order, starting_points
from sweep.snapshot import Snapshot, TrialView, WorkerView
from sweep.study import Study
from sweep.tasks import Outcome, Task, evaluate, own_bytes

__all__ = ["Summary", "make_engine", "run_study"]

#: Seconds of evaluation that a task aims at, so that handing it over costs nothing.
_TASK_SECONDS = 0.25

#: Variants of a task at most.
_LARGEST_BATCH = 256

#: Seconds between saves of the sampler's state, and between syncs of the ledger.
_SAVE_SECONDS = 2.0

#: Trials of an exhaustive search that are copied to Optuna's storage, at 8 ms each.
_SAMPLED = 256

#: Times that the pool may break before the study gives up.
_BREAKS = 50

#: Seconds over which rates are taken.
_RECENT = 10.0

_SNAPSHOT_FORM = "sweep study state 1"


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
    idle_share: float
    workers: int
    uss_bytes: dict[int, int]
    saved_share: float | None
    best: tuple[int, ...]
    messages: tuple[str, ...]


def make_engine(name: str, workers: int | None) -> Engine:
    """Return an engine by its name in the study file."""
    if name == "serial":
        from sweep.engines.serial import SerialEngine

        return SerialEngine()
    from sweep.engines.local import LocalEngine

    return LocalEngine(workers)


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
    lock = FileLock(str(study.folder / "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyLockedError(
            f"{study.folder}: another process is running this study; wait for it, "
            f"or run another one with --out"
        ) from None
    try:
        return _Run(study, observer, interrupts, engine, clock).go()
    finally:
        lock.release()


@dataclass
class _Meter:
    """Where the time goes, measured as the run goes."""

    clock: Callable[[], float]
    began: float = 0.0
    sampler_s: float = 0.0
    evaluation_s: float = 0.0
    first_trial_s: float = float("nan")
    tick_variants: float = 0.0
    recent: deque[tuple[float, int, float]] = field(default_factory=deque)
    busy: dict[int, float] = field(default_factory=dict)
    uss: dict[int, int] = field(default_factory=dict)
    per_variant_s: float = 0.0

    def elapsed(self) -> float:
        return self.clock() - self.began

    def took(self, outcome: Outcome, ticks: int) -> None:
        n = len(outcome.rows)
        self.evaluation_s += outcome.seconds
        self.tick_variants += float(ticks) * n
        self.busy[outcome.pid] = self.busy.get(outcome.pid, 0.0) + outcome.seconds
        if outcome.uss_bytes:
            self.uss[outcome.pid] = outcome.uss_bytes
        each = outcome.seconds / max(n, 1)
        self.per_variant_s = (
            each if not self.per_variant_s else 0.7 * self.per_variant_s + 0.3 * each
        )

    def note(self, finished: int) -> None:
        now = self.elapsed()
        self.recent.append((now, finished, self.tick_variants))
        while len(self.recent) > 2 and now - self.recent[0][0] > _RECENT:
            self.recent.popleft()

    def rates(self) -> tuple[float, float]:
        if len(self.recent) < 2:
            return 0.0, 0.0
        t0, n0, v0 = self.recent[0]
        t1, n1, v1 = self.recent[-1]
        span = max(t1 - t0, 1e-9)
        return (n1 - n0) / span, (v1 - v0) / span


class _Run:
    """One run of a study: the state, the engine, and the files that are written."""

    def __init__(
        self,
        study: Study,
        observer: Callable[[Snapshot], None] | None,
        interrupts: Callable[[], int] | None,
        engine: Engine | None,
        clock: Callable[[], float],
    ) -> None:
        self.study = study
        self.observer = observer
        self.interrupts = interrupts or (lambda: 0)
        self.meter = _Meter(clock)
        self.meter.began = clock()
        self.messages: deque[str] = deque(maxlen=5)
        self.futures: dict[Future[Any], Task] = {}
        self.breaks = 0
        self.saved_at = 0.0
        self.seen_at = -1.0
        self.draining = False
        self.ended = False
        self.news: dict[int, float] = {}
        self.ranking: tuple[int, list[int]] = (-1, [])
        self.at_start = 0
        self._engine = engine

    # -- the whole ---------------------------------------------------------------------

    def go(self) -> Summary:
        study = self.study
        starts = starting_points(study.spec, study.space)
        study._load()
        state_file = self._read_state()
        told = {} if state_file is None else state_file
        board, later = self._board_until(told.get("told"))
        # A sampler that is taught takes its starting points behind what it is taught.
        taught = not self._in_order() and study.spec.study.sampler.name not in DESIGNS
        self.proposer = self._make_proposer(
            [] if taught else starts, board_size=len(board), saved=told
        )
        study.board = board
        # Also where it exists: limits and the ticks' place may be new.
        study.begin()
        study.ledger.open()
        if study.ledger.damaged:
            self._warn(f"{study.ledger.damaged} damaged records of the ledger are evaluated again")
        self.later = later
        prune = self.proposer.should_prune if study.spec.study.pruner.name != "none" else None
        self.state = StudyState(self._plan(), study.judge, prune, board, study.partials)
        for number, params in told.get("outstanding", ()):
            self.state.proposed(number, params, study.space.is_valid(params))
        if not self._in_order():
            self._teach(starts)
        self.at_start = len(board)
        self.persister = Persister(study, self._sampled())
        engine = self._engine or make_engine(study.spec.compute.engine, study.spec.compute.workers)
        self.engine = engine
        try:
            self._loop()
            interrupted = self.state.stopping == "interrupted"
            self._save_state()
            best = () if interrupted else self._verify()
            self.ended = True
            if interrupted:
                self.persister.close()
            else:
                self.persister.finish(best)
            if self.persister.error:
                self._warn(self.persister.error)
            self._observe(force=True)
            return self._summary(best)
        finally:
            engine.close(cancel=self.interrupts() > 1 or bool(self.futures))
            study.ledger.close()
            self.persister.close()

    def _plan(self) -> Plan:
        study = self.study
        spec, setup = study.spec.study, study.setup
        order = slice_order(study.spec, len(setup.slices))
        learns = depends_on_results(spec)
        return Plan(
            slices=setup.slices,
            order=order,
            carry_over=setup.carry_over,
            stepwise=spec.pruner.name != "none",
            directions=spec.directions,
            window=spec.window if learns else None,
            trials=spec.trials,
            patience=spec.patience,
            distinct=study.space.exact_size(),
            deterministic=spec.deterministic or not learns,
            per_slice=spec.pruner.name == "wilcoxon",
        )

    def _make_proposer(
        self, starts: list[dict[str, Any]], *, board_size: int, saved: dict[str, Any]
    ) -> Proposer:
        study = self.study
        number = board_size + len(saved.get("outstanding", ()))
        return make_proposer(
            study.spec.study,
            study.space,
            starts,
            len(study.setup.slices),
            number=number,
            snapshot=saved.get("proposer"),
        )

    # -- resuming ----------------------------------------------------------------------

    def _read_state(self) -> dict[str, Any] | None:
        """Return the saved state of the proposer, or None to begin from the first trial."""
        import pickle

        study = self.study
        path = study.folder / "sampler.bin"
        if not depends_on_results(study.spec.study) or not self._in_order():
            # Points follow from their position, or no order needs to be kept.
            return {"told": len(study.board), "outstanding": ()}
        try:
            data = pickle.loads(path.read_bytes())
            if data["form"] == _SNAPSHOT_FORM and data["told"] <= len(study.board):
                found: dict[str, Any] = data
                return found
        except FileNotFoundError:
            return None
        except Exception as error:
            self._warn(f"sampler.bin is damaged ({type(error).__name__}): proposals are redone")
        return None

    def _board_until(self, told: int | None) -> tuple[Any, dict[int, Finished]]:
        """Return the board up to a trial, and the recorded trials behind it.

        Those are proposed and told again, from the rows in the ledger, so that the
        sampler learns them in its order; they must come out the same.
        """
        study = self.study
        keep = 0 if told is None else told
        if keep == len(study.board):
            return study.board, {}
        board = study.new_board()
        later: dict[int, Finished] = {}
        for k in range(len(study.board)):
            trial = study.board.trial(k)
            if k < keep:
                board.add(trial)
            else:
                later[k] = trial
        study.partials = {}
        for record in study.ledger.read():
            if isinstance(record, Partial) and board.find(record.params) < 0:
                study.partials.setdefault(record.params.tobytes(), []).append(record)
        return board, later

    def _in_order(self) -> bool:
        """Whether trials are told in their order, whatever finishes first."""
        spec = self.study.spec.study
        return spec.deterministic or not depends_on_results(spec)

    def _teach(self, starts: list[dict[str, Any]]) -> None:
        """Where order is free, tell a new proposer of all trials that are on record.

        What was evaluated and not recorded comes next: its rows are in the ledger.
        """
        study = self.study
        board = study.board
        # The starting points that were asked for are on the board or among the rows.
        left = [study.space.encode(values) for values in starts[len(board) :]]
        waiting = [*left, *(found[0].params for found in study.partials.values())]
        self.proposer.teach([board.trial(k) for k in range(len(board))], waiting)

    def _save_state(self) -> None:
        import pickle

        spec = self.study.spec.study
        if not depends_on_results(spec) or not self._in_order() or not self.state.asks_on:
            # Behind a limit the sampler is told without being asked. The last state before
            # that is kept, so that a study that is extended equals one without the limit.
            return
        data = {
            "form": _SNAPSHOT_FORM,
            "told": len(self.state.board),
            "outstanding": self.state.outstanding,
            "proposer": self.proposer.snapshot(),
        }
        path = self.study.folder / "sampler.bin"
        part = path.with_suffix(".part")
        try:
            part.write_bytes(pickle.dumps(data, protocol=5))
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise LedgerError(f"{path}: cannot be written: {error.strerror}") from None

    # -- the loop ----------------------------------------------------------------------

    def _loop(self) -> None:
        state = self.state
        while True:
            self._obey()
            self._check_limits()
            self._submit()
            if state.done and not self.futures:
                break
            if not self.futures and not self._obey():
                if state.done:
                    break
                continue
            self._collect()
            self._housekeep()
        self._obey()

    def _obey(self) -> bool:
        """Carry out commands until there are none; whether there was one."""
        any_ = False
        while (command := self.state.command(self._supply())) is not None:
            any_ = True
            if isinstance(command, Ask):
                self._ask()
            elif isinstance(command, Save):
                self.study.ledger.append(command.partial)
            elif isinstance(command, Learn):
                began = self.meter.clock()
                self.proposer.tell(command.trial)
                self.meter.sampler_s += self.meter.clock() - began
            elif isinstance(command, Record):
                self._record(command.trial)
            if self.interrupts() and not self.draining:
                self._interrupt()
            if self.observer is not None and self.meter.clock() - self.seen_at > 0.5:
                self._observe()
                self._submit()
        return any_

    def _ask(self) -> None:
        began = self.meter.clock()
        proposal = self.proposer.ask()
        self.meter.sampler_s += self.meter.clock() - began
        if proposal is None:
            self.state.no_more("all points of the design")
            return
        self.state.proposed(proposal.number, proposal.row, proposal.valid)

    def _record(self, trial: Finished) -> None:
        earlier = self.later.pop(trial.number, None)
        if earlier is None:
            self.study.ledger.append(trial)
        elif not _same(earlier, trial):
            raise SweepError(
                f"{self.study.folder}: trial {trial.number} came out otherwise than before the "
                f"study was interrupted; a strategy, objective or sampler is not deterministic"
            )
        self.persister.add(trial)
        if np.isnan(self.meter.first_trial_s) and trial.state != INVALID:
            self.meter.first_trial_s = self.meter.elapsed()
        if trial.state == FAILED and trial.duplicate_of < 0:
            self._warn(f"trial {trial.number} failed: {trial.reason.splitlines()[0]}")

    def _supply(self) -> int:
        return 2 * self.engine.workers * self._batch()

    def _batch(self) -> int:
        spec = self.study.spec
        if spec.compute.batch:
            return spec.compute.batch
        each = self.meter.per_variant_s
        size = int(_TASK_SECONDS / each) if each else 1
        if self.state.plan.window is not None:
            size = min(size, self.state.plan.window // (2 * self.engine.workers))
        return min(max(size, 1), _LARGEST_BATCH)

    def _submit(self) -> None:
        while len(self.futures) < 2 * self.engine.workers and not self._recycle_due():
            task = self.state.next_task(self._batch())
            if task is None:
                return
            context = self.study.setup.context
            self.futures[self.engine.submit(evaluate, context, task)] = task

    def _recycle_due(self) -> bool:
        """Whether workers grew beyond their limit; they are replaced once they are idle."""
        limit = self.study.spec.compute.memory
        if limit is None or not any(u > limit for u in self.meter.uss.values()):
            return False
        if not self.futures:
            self._warn("workers grew beyond compute.memory and were replaced")
            self.engine.recycle()
            self.meter.uss.clear()
            return False
        return True

    def _collect(self) -> None:
        done, _ = wait(self.futures, timeout=0.1, return_when=FIRST_COMPLETED)
        broken = False
        for future in sorted(done, key=lambda f: self.futures[f].number):
            task = self.futures.pop(future)
            error = future.exception()
            if isinstance(error, WorkerLostError):
                broken = True
                self.state.lost(task.number)
            elif error is not None:
                raise EngineError(f"a task could not be run: {type(error).__name__}: {error}")
            else:
                self._arrive(future.result(), task)
        if broken:
            self._mend()

    def _arrive(self, outcome: Outcome, task: Task) -> None:
        if outcome.error:
            raise EvaluationError(f"tasks cannot be evaluated:\n{outcome.error}")
        self.meter.took(outcome, sum(s.end - s.begin for s in task.slices))
        self.state.arrived(outcome)

    def _mend(self) -> None:
        """Replace a broken pool; what was in flight with it is lost too."""
        self.breaks += 1
        for future, task in list(self.futures.items()):
            if future.done() and future.exception() is None:
                continue
            del self.futures[future]
            self.state.lost(task.number)
        if self.breaks > _BREAKS:
            raise EngineError(
                f"worker processes died {self.breaks} times; is there enough memory? "
                f"What was finished is kept"
            )
        self._warn("a worker died: it is replaced and its task repeated")
        self.engine.recycle()

    def _check_limits(self) -> None:
        spec = self.study.spec.study
        if self.interrupts() and not self.draining:
            self._interrupt()
        if spec.time_limit is not None and self.meter.elapsed() * 1e9 >= spec.time_limit:
            if not self.state.stopping:
                self.state.stop("time limit")
        board = self.state.board
        failed = int((board.in_state(FAILED) & (board.duplicate_of < 0)).sum())
        if failed and spec.too_many_failures(failed, len(board)):
            first = next(k for k, s in enumerate(board.states) if s == FAILED)
            self.state.stop("failed")
            self._save_state()
            raise EvaluationError(
                f"{failed} of {len(board)} trials failed, more than study.max_failures allows; "
                f"the first was trial {first}:\n{board.reasons.get(first, '')}"
            )

    def _interrupt(self) -> None:
        self.draining = True
        self.state.stop("interrupted")
        self._save_state()

    def _housekeep(self) -> None:
        now = self.meter.elapsed()
        if self.interrupts() > 1:
            self.engine.close(cancel=True)
            raise KeyboardInterrupt
        if now - self.saved_at > _SAVE_SECONDS:
            self.saved_at = now
            self.study.ledger.sync()
            if not self.draining:
                self._save_state()
                self._open_live()
        self._observe()

    def _warn(self, text: str) -> None:
        self.messages.append(text)

    # -- winners -----------------------------------------------------------------------

    def _verify(self) -> tuple[int, ...]:
        """Replay the winners, and evaluate them on the holdout; never show one that differs."""
        study = self.study
        best = study.best()
        for number in best:
            study.replay(number)
            if study.setup.ranges.holdout is not None and number not in study.opened:
                self._open_holdout(number)
        return tuple(best)

    def _open_live(self) -> None:
        """Evaluate the best so far on the holdout, where the study asks for it."""
        study = self.study
        if not study.spec.study.live_holdout or study.setup.ranges.holdout is None:
            return
        for number in study.best():
            if number not in study.opened:
                self._open_holdout(number)

    def _open_holdout(self, number: int) -> None:
        study = self.study
        params = study.board.trial(number).params
        try:
            row, reason = study.replay(number, on="holdout").replay.row, ""
        except ReplayMismatchError:
            raise
        except SweepError as error:
            row, reason = np.zeros((), study.board.rows.dtype)[()], str(error)
            self._warn(f"trial {number} cannot be evaluated on the holdout: {reason}")
        record = Opened(number, params, row, reason)
        study.ledger.append(record)
        study.take(record)

    def _sampled(self) -> int | None:
        """Return how many trials go to Optuna's storage, or None for all of them."""
        study = self.study.spec.study
        if study.sampler.name not in DESIGNS:
            return None
        return _SAMPLED

    # -- what is shown -----------------------------------------------------------------

    def _summary(self, best: tuple[int, ...]) -> Summary:
        meter, workers = self.meter, self.engine.workers
        elapsed = meter.elapsed()
        return Summary(
            reason=self.state.reason(),
            elapsed_s=elapsed,
            first_trial_s=meter.first_trial_s,
            finished=len(self.state.board),
            evaluated=self.state.board.evaluated(),
            sampler_s=meter.sampler_s,
            evaluation_s=meter.evaluation_s,
            idle_share=max(0.0, 1.0 - meter.evaluation_s / max(elapsed * workers, 1e-9)),
            workers=workers,
            uss_bytes={p: u for p, u in meter.uss.items() if p != os.getpid() or workers == 1},
            saved_share=self._saved(),
            best=best,
            messages=tuple(self.messages),
        )

    def _saved(self) -> float | None:
        if not self.state.plan.stepwise:
            return None
        board, n = self.state.board, len(self.state.plan.slices)
        own = (board.n_slices > 0) & (board.duplicate_of < 0)
        done = board.n_slices[own]
        return float(1.0 - done.sum() / max(len(done) * n, 1))

    def _observe(self, *, force: bool = False) -> None:
        now = self.meter.clock()
        if self.observer is None or (now - self.seen_at < 0.2 and not force):
            return
        self.seen_at = now
        self.meter.note(len(self.state.board))
        self.observer(self._snapshot())

    def _snapshot(self) -> Snapshot:
        study, board, meter = self.study, self.state.board, self.meter
        elapsed = meter.elapsed()
        trials_per_s, ticks_per_s = meter.rates()
        total = self._total()
        left = None if total is None else max(total - len(board), 0)
        own = board.duplicate_of < 0
        workers = self.engine.workers
        busy = meter.evaluation_s / max(elapsed * workers, 1e-9)
        waiting = min(meter.sampler_s / max(elapsed, 1e-9), max(0.0, 1.0 - busy))
        return Snapshot(
            name=study.name,
            strategy=study.setup.strategy.name,
            sampler=study.spec.study.sampler.name,
            state="finished" if self.ended else "draining" if self.draining else "running",
            elapsed_s=elapsed,
            total=total,
            finished=len(board),
            complete=int((board.in_state(COMPLETE) & own).sum()),
            pruned=int((board.in_state(PRUNED) & own).sum()),
            infeasible=int((board.in_state(INFEASIBLE) & own).sum()),
            invalid=int(board.in_state(INVALID).sum()),
            failed=int((board.in_state(FAILED) & own).sum()),
            duplicates=int((~own).sum()),
            in_flight=self.state.in_flight,
            trials_per_s=trials_per_s,
            tick_variants_per_s=ticks_per_s,
            remaining_s=self._remaining(elapsed, left, trials_per_s),
            workers=tuple(
                WorkerView(
                    pid,
                    min(1.0, meter.busy.get(pid, 0.0) / max(elapsed, 1e-9)),
                    meter.uss.get(pid, 0),
                )
                for pid in self.engine.pids()
            ),
            memory_bytes=sum(meter.uss.values()) + own_bytes(study.setup.ticks.path),
            shared_bytes=study.setup.ticks.n_ticks * 8 * len(study.setup.ticks.columns),
            sampler_share=waiting,
            evaluation_share=min(busy, 1.0),
            idle_share=max(0.0, 1.0 - busy - waiting),
            pruned_share_saved=self._saved(),
            objectives=tuple(
                zip(study.objectives.labels, study.directions, strict=True)  # type: ignore[arg-type]
            ),
            parameters=study.space.names,
            best=self._best_views(elapsed),
            holdout_opened=len(study.opened) if study.setup.ranges.holdout else None,
            messages=tuple(self.messages),
        )

    def _total(self) -> int | None:
        plan = self.state.plan
        if self.ended and not self.draining:
            return len(self.state.board)
        bounds = [b for b in (plan.trials, plan.distinct, self._design_size()) if b is not None]
        if not bounds:
            return None
        return min(bounds) + int(self.state.board.in_state(INVALID).sum())

    def _design_size(self) -> int | None:
        proposer = self.proposer
        if not isinstance(proposer, DesignProposer):
            return None
        return proposer.size()

    def _remaining(self, elapsed: float, left: int | None, rate: float) -> float | None:
        found = [] if left is None or rate <= 0 else [left / rate]
        limit = self.study.spec.study.time_limit
        if limit is not None:
            found.append(max(limit / 1e9 - elapsed, 0.0))
        return min(found) if found and not self.ended else None

    def _best_views(self, elapsed: float) -> tuple[TrialView, ...]:
        study, board = self.study, self.state.board
        if self.ranking[0] != len(board):
            self.ranking = (len(board), board.best(study.directions, study.spec.study.top))
        views = []
        for number in self.ranking[1]:
            self.news.setdefault(number, elapsed)
            trial = board.trial(number)
            views.append(
                TrialView(
                    number=number,
                    params=study.params(number),
                    values=trial.values,
                    metrics=study.metrics(number),
                    holdout=study.holdout_metrics(number),
                    is_new=not self.ended and elapsed - self.news[number] < 3.0,
                )
            )
        return tuple(views)


def _same(a: Finished, b: Finished) -> bool:
    return (
        a.params.tobytes() == b.params.tobytes()
        and a.row.tobytes() == b.row.tobytes()
        and a.state == b.state
    )
