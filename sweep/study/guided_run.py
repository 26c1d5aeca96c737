"""Running a study whose proposals, or whose pruning, depend on results.

One process asks the sampler, submits tasks, writes the ledger and tells what is finished;
what comes next is decided in `sweep.study.guided_state`.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec
import numpy as np

from sweep.backtest.tasks import Outcome, Task
from sweep.errors import LedgerError, StudyMismatchError, SweepError
from sweep.schema import FloatArray1D
from sweep.study.guided_state import Ask, Learn, Plan, Record, Save, StudyState
from sweep.study.proposals import (
    DESIGNS,
    DesignProposer,
    Proposer,
    SamplerProposer,
    depends_on_results,
    make_proposer,
)
from sweep.study.records import FAILED, INVALID, Finished, Partial
from sweep.study.run import Run
from sweep.study.setup import pruning_steps, slice_order, starting_points
from sweep.study.trials import Board
from sweep.study.trust import mark, verifies

__all__ = ["GuidedRun"]

#: Seconds of evaluation that a task aims at, so that handing it over costs nothing.
_TASK_SECONDS = 0.25

#: Variants of a task at most.
_LARGEST_BATCH = 256

_STATE_FILE = "sampler.bin"

#: Bytes of the mark in front of a saved state.
_MARK = 32

#: Trials told; those asked and not told, with their rows; the sampler's snapshot.
_State = tuple[int, list[tuple[int, bytes]], bytes]


class _Saved(NamedTuple):
    """A saved state, read again."""

    told: int
    outstanding: list[tuple[int, FloatArray1D]]
    proposer: SamplerProposer


class GuidedRun(Run):
    """A run that asks a sampler, trial by trial."""

    state: StudyState

    def prepare(self) -> None:
        """Read what an earlier run left, open the ledger, make the flow's state."""
        study = self.study
        starts = starting_points(study.spec, study.space)
        study._load()
        in_order = self._in_order()
        learns = study.spec.study.sampler.name not in DESIGNS
        saved = self._read_state() if learns and in_order else None
        # Asked and told again, another Optuna would not propose the same.
        redo = learns and in_order and saved is None and not self._other_optuna()
        told = saved.told if saved else 0 if redo else len(study.board)
        board, later = self._board_until(told)
        taught = saved is None and not redo
        if saved is not None:
            self.proposer: Proposer = saved.proposer
        else:
            # A sampler that is taught takes its starting points after what it is taught.
            first = [] if taught and learns else starts
            steps = pruning_steps(study.spec, len(study.setup.slices))
            self.proposer = make_proposer(
                study.spec.study, study.space, first, steps, number=len(board)
            )
        study.board = board
        # Also where it exists: limits and the ticks' place may be new.
        study.begin()
        self.open_ledger()
        self.later = later
        prune = self.proposer.should_prune if study.spec.study.pruner.name != "none" else None
        self.state = StudyState(self._plan(), study.judge, prune, board, study.partials)
        for number, params in saved.outstanding if saved else ():
            self.state.proposed(number, params, study.space.is_valid(params))
        if taught:
            self._teach(starts)
        self.ranking: tuple[int, list[int]] = (-1, [])
        for k in range(len(board)):
            self.persister.add(board.trial(k))

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
            over_slices=setup.robust is not None,
            step=1 if setup.robust is None else study.spec.monte_carlo.step,
            edges=study.session_edges,
            capital=setup.context.account.capital,
        )

    # -- resuming ----------------------------------------------------------------------

    def _read_state(self) -> _Saved | None:
        """Return the state that an earlier run saved, or None to propose again from the first.

        It holds Optuna's own objects, which only pickle can keep, and reading them executes
        what they say. So it is read if this user wrote it on this machine.
        """
        study = self.study
        try:
            data = (study.folder / _STATE_FILE).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.warn(f"{_STATE_FILE} cannot be read ({error.strerror}): proposals are redone")
            return None
        claimed, content = data[:_MARK], data[_MARK:]
        if not verifies(self._purpose, content, claimed):
            self.warn(
                f"{_STATE_FILE} is damaged, or was not written by this user on this machine: "
                f"proposals are redone"
            )
            return None
        try:
            told, outstanding, snapshot = msgspec.msgpack.decode(content, type=_State)
            proposer = SamplerProposer.restore(snapshot, study.space)
        except (msgspec.MsgspecError, StudyMismatchError) as error:
            self.warn(f"{_STATE_FILE} cannot be used: {error}")
            return None
        if told > len(study.board):
            return None
        return _Saved(told, [(n, np.frombuffer(row)) for n, row in outstanding], proposer)

    @property
    def _purpose(self) -> str:
        """What the mark of the saved state is for: no other study's fits."""
        return f"{_STATE_FILE} {self.study.ledger.identity}"

    def _other_optuna(self) -> bool:
        """Whether the study was begun with another Optuna, whose proposals may differ."""
        versions = self.study.manifest["versions"]
        if versions.get("optuna") == version("optuna"):
            return False
        if len(self.study.board):
            self.warn(
                "the study was begun with another version of Optuna: the sampler learns from the "
                "trials there are, and may go on otherwise than the one before"
            )
        return True

    def _board_until(self, told: int) -> tuple[Any, dict[int, Finished]]:
        """Return the board up to a trial, and the recorded trials after it.

        Those are proposed and told again, from the rows in the ledger, so that the
        sampler learns them in its order; they must come out the same.
        """
        study = self.study
        if told == len(study.board):
            return study.board, {}
        board = study.new_board()
        assert isinstance(board, Board)
        later: dict[int, Finished] = {}
        for k in range(len(study.board)):
            trial = study.board.trial(k)
            if k < told:
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

    def save_state(self) -> None:
        """Write the sampler's state."""
        proposer = self.proposer
        if not isinstance(proposer, SamplerProposer):
            return
        if not self._in_order() or not self.state.asks_on:
            # After a limit the sampler is told without being asked. The last state before
            # that is kept, so that a study that is extended equals one without the limit.
            return
        outstanding = [(number, row.tobytes()) for number, row in self.state.outstanding]
        state = (len(self.state.board), outstanding, proposer.snapshot())
        content = msgspec.msgpack.encode(state)
        path = self.study.folder / _STATE_FILE
        part = path.with_suffix(".part")
        try:
            part.write_bytes(mark(self._purpose, content) + content)
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise LedgerError(f"{path}: cannot be written: {error.strerror}") from None

    # -- the loop ----------------------------------------------------------------------

    def obey(self) -> bool:
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
            self.mind_interrupts()
            if self.observer is not None and self.meter.clock() - self.seen_at > 0.5:
                self.observe()
                self.submit()
        return any_

    def _ask(self) -> None:
        began = self.meter.clock()
        proposal = self.proposer.ask()
        self.meter.sampler_s += self.meter.clock() - began
        if proposal is None:
            self.state.no_more("all points of the design")
            return
        self.state.proposed(proposal.number, proposal.point, proposal.valid)

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
            self.warn(f"trial {trial.number} failed: {trial.reason.splitlines()[0]}")

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

    def next_task(self) -> Task | None:
        """Return a task that was never started, or None."""
        return self.state.next_task(self._batch())

    def arrived(self, outcome: Outcome) -> None:
        """Record a task's outcome."""
        self.state.arrived(outcome)

    def give_up(self, task: Task) -> None:
        """Record that a task's only variant kills its workers: it fails."""
        self.state.give_up(task)

    def stop(self, reason: str) -> None:
        """Propose nothing more; ``interrupted`` also starts no task more."""
        if reason != "time limit" or not self.state.stopping:
            self.state.stop(reason)

    def failures(self) -> tuple[int, int, int]:
        """Return the number of failed trials, of all, and the first that failed."""
        board = self.board
        failed = np.flatnonzero(board.in_state(FAILED) & (board.duplicate_of < 0))
        return len(failed), len(board), int(failed[0]) if len(failed) else -1

    def finish(self) -> None:
        """Do nothing: everything is in the ledger."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    # -- what is shown -----------------------------------------------------------------

    @property
    def board(self) -> Board:
        """The study's board."""
        return self.state.board

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state."""
        return self.board.counts()

    def total(self) -> int | None:
        """Return the number of trials to finish, where it is known."""
        plan = self.state.plan
        size = self.proposer.size() if isinstance(self.proposer, DesignProposer) else None
        bounds = [b for b in (plan.trials, plan.distinct, size) if b is not None]
        if not bounds:
            return None
        return min(bounds) + int(self.board.in_state(INVALID).sum())

    def leaders(self) -> list[int]:
        """Return the numbers of the best trials so far."""
        if self.ranking[0] != len(self.board):
            self.ranking = (len(self.board), self.study.best())
        return self.ranking[1]

    def saved_share(self) -> float | None:
        """Return the share of the slices that pruning left out; None where nothing is pruned."""
        if not self.state.plan.stepwise:
            return None
        board, n = self.board, len(self.state.plan.slices)
        own = (board.n_slices > 0) & (board.duplicate_of < 0)
        done = board.n_slices[own]
        return float(1.0 - done.sum() / max(len(done) * n, 1))


def _same(a: Finished, b: Finished) -> bool:
    return (
        a.params.tobytes() == b.params.tobytes()
        and a.row.tobytes() == b.row.tobytes()
        and np.array_equal(a.values, b.values, equal_nan=True)
        and a.state == b.state
    )
