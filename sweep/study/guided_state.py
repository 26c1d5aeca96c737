"""What a study does next: decisions without input or output.

`StudyState` is fed with events (a proposal, rows that arrived, a lost worker, a reason
to stop) and asked for commands (ask, save, learn, record) and for tasks. Nothing in it
reads a clock, a file or a process, so that every race is a unit test.

Sameness rests on the order of commands. A trial is learnt and recorded in trial order;
a proposal is asked for before the next trial is learnt, whenever the window has room;
so trial ``k + window`` is always proposed knowing exactly the trials up to ``k``. When
rows arrive, and in which order, changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sweep.backtest.tasks import Carry, Outcome, Task
from sweep.engines.dispatch import GAVE_UP
from sweep.schema import ROW, STATUS_ERROR, FloatArray1D, FloatArray2D, Rows, Slice
from sweep.stats.metrics import merge
from sweep.study.records import FAILED, INVALID, PRUNED, Finished, Judged, Partial
from sweep.study.session_account import SessionAccount
from sweep.study.tally import Tally
from sweep.study.trials import Board
from sweep.text import STATES, counted

__all__ = ["Ask", "Learn", "Plan", "Record", "Save", "StudyState"]

#: Proposals in a row that the strategy's constraint may refuse.
REFUSALS = 2000


@dataclass(frozen=True)
class Plan:
    """How a study goes, as far as the flow needs to know.

    Attributes
    ----------
    slices : tuple of Slice
        In the order of time.
    order : tuple of int
        Places of the slices, in the order of evaluation.
    carry_over : bool
    stepwise : bool
        Whether a trial is evaluated slice by slice, so that it can be stopped between.
    directions : tuple of str
    window : int or None
        Trials between a proposal and what it may depend on; None where proposals
        depend on nothing.
    trials : int or None
        Trials that are evaluated or shared; those refused as invalid come on top.
    patience : int or None
    distinct : int or None
        Number of distinct valid variants, where known and finite.
    deterministic : bool
    per_slice : bool
        Whether the pruner sees each slice's own value instead of that up to it.
    over_slices : bool
        Whether the first slice is the history and the others are paths of it: then trials are
        judged by the first, and by functionals over the rest.
    step : int
        Slices between two decisions of the pruner. With `over_slices`, the first step takes
        the history on top.
    edges : tuple of int
        Of the sessions, where their returns are kept; see `sweep.backtest.tasks.Task`.
    capital : float
    """

    slices: tuple[Slice, ...]
    order: tuple[int, ...]
    carry_over: bool
    stepwise: bool
    directions: tuple[str, ...]
    window: int | None
    trials: int | None
    patience: int | None
    distinct: int | None
    deterministic: bool
    per_slice: bool = False
    over_slices: bool = False
    step: int = 1
    edges: tuple[int, ...] = ()
    capital: float = 1.0


@dataclass(frozen=True)
class Ask:
    """Propose the next trial, and hand it back by `StudyState.proposed`."""


@dataclass(frozen=True)
class Save:
    """Write rows to the ledger."""

    partial: Partial


@dataclass(frozen=True)
class Learn:
    """Tell the sampler."""

    trial: Finished


@dataclass(frozen=True)
class Record:
    """Write a finished trial to the ledger; it is on the board."""

    trial: Finished


@dataclass
class _Trial:
    number: int
    params: FloatArray1D
    rows: dict[int, Rows] = field(default_factory=dict)  # by place of the slice
    earned: dict[int, FloatArray1D] = field(default_factory=dict)  # likewise, by its cells
    done: int = 0  # slices evaluated, in the plan's order
    carry: Carry | None = None
    seen: list[tuple[int, float]] = field(default_factory=list)
    followers: list[int] = field(default_factory=list)
    finished: Finished | None = None
    learnt: bool = False


Judge = Callable[..., list[Judged]]
Pruner = Callable[[int, int, float, int], bool]


class StudyState:
    """The state of a running study.

    Parameters
    ----------
    plan : Plan
    judge : callable
        ``judge(rows) -> list of Judged``, a pure function of merged rows; with
        ``plan.over_slices``, ``judge(rows, by_slice)``, by_slice being a trial's rows.
    prune : callable or None
        ``prune(number, step, value, known) -> bool``; steps count the decisions about a trial,
        from 1.
    board : Board
        With the trials that are finished already.
    saved : dict
        Rows from the ledger: ``{params bytes: Partial}`` of variants not told yet.
    """

    def __init__(
        self,
        plan: Plan,
        judge: Judge,
        prune: Pruner | None,
        board: Board,
        saved: dict[bytes, list[Partial]] | None = None,
    ) -> None:
        self.plan = plan
        self.board = board
        self.exhausted = ""
        self.stopping = ""
        self._account = SessionAccount(
            plan.slices, plan.edges, carry_over=plan.carry_over, capital=plan.capital
        )
        self._tally = Tally(plan.directions, 1, plan.patience)
        self._judge = judge
        self._prune = prune
        self._saved = saved or {}
        self._live: dict[int, _Trial] = {}
        self._by_params: dict[bytes, int] = {}
        self._ready: deque[int] = deque()
        self._running: dict[int, list[int]] = {}
        self._commands: deque[Save | Learn | Record] = deque()
        self._next_task = 0
        self._asking = False
        self._refused = 0
        self.asked = len(board)
        self.counted = 0
        self._keys: set[bytes] = set()
        for k in range(len(board)):
            trial = board.trial(k)
            if trial.state != INVALID:
                self._count(trial.params)
            self._refused = self._refused + 1 if trial.state == INVALID else 0
            self._note(trial)
        if self._refused >= REFUSALS:
            self.exhausted = f"the constraint refused {REFUSALS} proposals in a row"

    # -- what is asked of it -----------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Trials proposed and not finished."""
        return sum(1 for t in self._live.values() if t.finished is None)

    @property
    def outstanding(self) -> tuple[tuple[int, FloatArray1D], ...]:
        """Trials proposed and not recorded, in order: what a snapshot must keep."""
        return tuple((n, t.params) for n, t in sorted(self._live.items()))

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        if self._commands or self._running:
            return False
        return self.starts_nothing or (not self._live and not self._wants_proposal(1))

    @property
    def starts_nothing(self) -> bool:
        """Whether the study ends with what is in flight."""
        if self.plan.window is None and self.stopping:
            return True
        return self.stopping in ("interrupted", "failed") or self._tally.impatient

    @property
    def _learns_nothing(self) -> bool:
        """Whether the study ends without learning what is finished already.

        Broken off, a sampler must not be told of a trial before it was asked for the
        next, as it would be in the unbroken study.
        """
        return self.starts_nothing and (self.plan.window is not None or self._tally.impatient)

    @property
    def asks_on(self) -> bool:
        """Whether proposals have not been ended by a limit that a later run may raise.

        Until then the sampler has been asked and told as in a study without limits.
        """
        if self.stopping and self.stopping != "interrupted":
            return False
        return self.plan.trials is None or self.counted < self.plan.trials

    def reason(self) -> str:
        """Return why the study ended or would end, in a few words."""
        if self.stopping:
            return self.stopping
        if self._tally.impatient:
            return f"no improvement in {counted(self.plan.patience or 0, 'trial')}"
        if self.exhausted:
            return self.exhausted
        if self.plan.trials is not None and self.counted >= self.plan.trials:
            return counted(self.plan.trials, "trial")
        return ""

    def _wants_proposal(self, supply: int) -> bool:
        if self.stopping or self.exhausted or self._asking or self._tally.impatient:
            return False
        plan = self.plan
        if plan.trials is not None and self.counted >= plan.trials:
            return False
        if plan.distinct is not None and len(self._keys) >= plan.distinct:
            self.exhausted = f"all {plan.distinct} variants of the space"
            return False
        if plan.window is None:
            return len(self._ready) < supply
        if plan.deterministic:
            return self.asked - len(self.board) < plan.window
        return self.in_flight < plan.window

    def command(self, supply: int) -> Ask | Save | Learn | Record | None:
        """Return the next thing to do at once, or None.

        Parameters
        ----------
        supply : int
            Variants wanted ready for evaluation, where proposals are free.
        """
        if self._commands:
            return self._commands.popleft()
        if self._learns_nothing:
            return None
        if self._wants_proposal(supply):
            self._asking = True
            return Ask()
        return self._advance()

    def _advance(self) -> Learn | Record | None:
        """Tell the next trial in order; at once, where order does not matter."""
        if not self.plan.deterministic:
            for trial in self._live.values():
                if trial.finished is not None and not trial.learnt:
                    trial.learnt = True
                    return Learn(trial.finished)
        head = self._live.get(len(self.board))
        if head is None or head.finished is None:
            return None
        finished = head.finished
        if not head.learnt:
            head.learnt = True
            self._commands.append(Record(finished))
        del self._live[head.number]
        if self._by_params.get(head.params.tobytes()) == head.number:
            del self._by_params[head.params.tobytes()]
        self.board.add(finished)
        self._note(finished)
        return Learn(finished) if self.plan.deterministic else Record(finished)

    def _note(self, trial: Finished) -> None:
        """Count a recorded trial against the patience."""
        if self.plan.patience is not None and trial.state != INVALID:
            self._tally.take(
                np.array([trial.number]),
                np.array([STATES.index(trial.state)], np.int8),
                np.array([trial.values]),
                np.array([trial.duplicate_of]),
            )

    def _count(self, params: FloatArray1D) -> None:
        self.counted += 1
        if self.plan.distinct is not None:
            self._keys.add(params.tobytes())

    # -- events ------------------------------------------------------------------------

    def proposed(self, number: int, params: FloatArray1D, valid: bool) -> None:
        """Record the answer to `Ask`: the next trial."""
        self._asking = False
        self.asked = number + 1
        trial = _Trial(number, params)
        self._live[number] = trial
        if not valid:
            self._refused += 1
            self._finish(trial, INVALID, reason="the parameters contradict the constraint")
            if self._refused >= REFUSALS:
                self.exhausted = f"the constraint refused {REFUSALS} proposals in a row"
            return
        self._refused = 0
        self._count(params)
        key = params.tobytes()
        known = self.board.find(params)
        if known >= 0:
            self._share(trial, self.board.trial(known))
        elif key in self._by_params:
            leader = self._live[self._by_params[key]]
            if leader.finished is not None:
                self._share(trial, leader.finished)
            else:
                leader.followers.append(number)
        else:
            self._by_params[key] = number
            self._restore(trial)
            if trial.finished is None:
                self._ready.append(number)

    def no_more(self, reason: str) -> None:
        """Note that there is nothing left to propose."""
        self._asking = False
        self.exhausted = reason

    def arrived(self, outcome: Outcome) -> None:
        """Record a task's rows."""
        numbers = self._running.pop(outcome.number)
        failures = dict(outcome.failures)
        trials = [self._live[n] for n in numbers]
        places = self._places(trials[0])
        partials = []
        for k, trial in enumerate(trials):
            carry = None if outcome.carry is None else outcome.carry.select([k])
            failure = failures.get(k, "")
            earned = self._earned(trial, places, outcome.equity, k)
            partial = Partial(trial.params, places, outcome.rows[k], carry, failure, earned)
            self._commands.append(Save(partial))
            partials.append(partial)
        for trial, partial in zip(trials, partials, strict=True):
            self._take(trial, partial)
        self._settle(trials)
        self._ready.extend(trial.number for trial in trials if trial.finished is None)

    def split(self, task: Task) -> list[Task]:
        """Return tasks of one variant each, which take the place of one that was started."""
        return [self._start([number]) for number in self._running.pop(task.number)]

    def give_up(self, task: Task) -> None:
        """Record that a task's only variant kills its workers: it fails."""
        (number,) = self._running.pop(task.number)
        trial = self._live[number]
        places = self._places(trial)
        rows = np.zeros(len(places), ROW)
        rows["status"] = STATUS_ERROR
        partial = Partial(trial.params, places, rows, None, GAVE_UP)
        self._commands.append(Save(partial))
        self._take(trial, partial)

    def drop(self, task: Task) -> None:
        """Record that a task that was started is not run again."""
        self._ready.extendleft(reversed(self._running.pop(task.number)))

    def stop(self, reason: str) -> None:
        """Propose nothing more; ``interrupted`` and ``failed`` also start no task more."""
        self.stopping = reason

    # -- tasks -------------------------------------------------------------------------

    def next_task(self, limit: int) -> Task | None:
        """Return a task of up to ``limit`` variants, or None if none can start now."""
        if self.starts_nothing or not self._ready:
            return None
        first = self._live[self._ready[0]]
        chosen = []
        for number in self._ready:
            trial = self._live[number]
            if trial.done == first.done and (trial.carry is None) == (first.carry is None):
                chosen.append(number)
                if len(chosen) == limit:
                    break
        taken = set(chosen)
        self._ready = deque(n for n in self._ready if n not in taken)
        return self._start(chosen)

    def _places(self, trial: _Trial) -> tuple[int, ...]:
        order, step = self.plan.order, self.plan.step
        if not self.plan.stepwise:
            return order
        first = 1 if self.plan.over_slices and trial.done == 0 else 0
        return order[trial.done : trial.done + first + step]

    def _start(self, numbers: list[int]) -> Task:
        trials = [self._live[number] for number in numbers]
        plan = self.plan
        places = self._places(trials[0])
        last = places[-1] == len(plan.slices) - 1
        number = self._next_task
        self._next_task += 1
        self._running[number] = numbers
        carries = [t.carry for t in trials if t.carry is not None]
        return Task(
            number=number,
            params=np.stack([t.params for t in trials]),
            slices=tuple(plan.slices[p] for p in places),
            carry_over=plan.carry_over,
            close_out=last or not plan.carry_over,
            carry=Carry.join(carries) if carries else None,
            keep=plan.carry_over and not last,
            edges=plan.edges,
        )

    # -- trials ------------------------------------------------------------------------

    def _restore(self, trial: _Trial) -> None:
        """Give a trial the rows that an earlier run saved for its variant."""
        for partial in self._saved.pop(trial.params.tobytes(), []):
            if trial.finished is not None or partial.slices != self._places(trial):
                break
            if self.plan.carry_over and partial.carry is None and not self._is_last(partial):
                break
            self._take(trial, partial)
            self._settle([trial])

    def _is_last(self, partial: Partial) -> bool:
        return partial.slices[-1] == len(self.plan.slices) - 1 or bool(partial.failure)

    def _take(self, trial: _Trial, partial: Partial) -> None:
        for place, row in zip(partial.slices, partial.rows, strict=True):
            trial.rows[place] = row
        if partial.earned is not None:
            ends = np.cumsum([len(self._account.cells[place]) for place in partial.slices])
            pieces = np.split(partial.earned, ends[:-1])
            trial.earned.update(zip(partial.slices, pieces, strict=True))
        trial.done += len(partial.slices)
        trial.carry = partial.carry
        if partial.failure:
            self._finish(trial, FAILED, reason=partial.failure)

    def _settle(self, trials: list[_Trial]) -> None:
        """Finish or prune the trials whose rows just came, judging all at once."""
        open_ = [t for t in trials if t.finished is None]
        if not open_:
            return
        for trial, judged in zip(open_, self._judged([t.rows for t in open_]), strict=True):
            complete = trial.done == len(self.plan.order)
            if self._stops(trial, judged):
                self._finish(trial, PRUNED, judged, self._after(trial))
            elif complete:
                self._finish(trial, judged.state, judged, judged.reason)

    def _stops(self, trial: _Trial, judged: Judged) -> bool:
        if self._prune is None or not self.plan.stepwise:
            return False
        value = judged.values[0]
        if self.plan.per_slice:
            own = self.plan.order[max(trial.done - self.plan.step, 0) : trial.done]
            # What is of the history stays so, whichever paths are looked at.
            own = (0, *own) if self.plan.over_slices else own
            value = self._judged([{place: trial.rows[place] for place in own}])[0].values[0]
        trial.seen.append((trial.done, value))
        known = 0 if self.plan.window is None else trial.number - self.plan.window + 1
        # Decisions are counted, not slices: finished trials are told their values one by one.
        stop = self._prune(trial.number, len(trial.seen), value, max(known, 0))
        return stop and trial.done < len(self.plan.order)

    def _after(self, trial: _Trial) -> str:
        if self.plan.over_slices:
            return f"after {counted(trial.done - 1, 'path')}"
        return f"after {counted(trial.done, 'slice')}"

    def _judged(self, trials: list[dict[int, Rows]]) -> list[Judged]:
        """Return what the rows of some trials are worth, each trial's by place."""
        total = np.stack([self.merged(rows) for rows in trials])
        if not self.plan.over_slices:
            return self._judge(total)
        return self._judge(
            total, [np.stack([rows[k] for k in sorted(rows) if k]) for rows in trials]
        )

    def merged(self, rows: dict[int, Rows]) -> Rows:
        """Return one row for the slices evaluated, merged in the order of time."""
        places = sorted(rows)
        if self.plan.carry_over:
            return rows[places[-1]]
        if self.plan.over_slices:
            return rows[places[0]]
        whole = rows[places[0]].reshape(1)
        for place in places[1:]:
            whole = merge(whole, rows[place].reshape(1))
        row: Rows = whole[0]
        return row

    def _finish(
        self, trial: _Trial, state: str, judged: Judged | None = None, reason: str = ""
    ) -> None:
        n_values = self.board.values.shape[1]
        n_violations = self.board.violations.shape[1]
        row = self.merged(trial.rows) if trial.rows else np.zeros((), ROW)[()]
        trial.finished = Finished(
            number=trial.number,
            params=trial.params,
            state=state,
            row=row,
            values=judged.values if judged else (float("nan"),) * n_values,
            violations=judged.violations if judged else (float("nan"),) * n_violations,
            n_slices=trial.done,
            intermediate=tuple(trial.seen),
            reason=reason,
            sessions=self._sessions(trial),
        )
        trial.carry = None
        for follower in trial.followers:
            self._share(self._live[follower], trial.finished)

    def _earned(
        self, trial: _Trial, places: tuple[int, ...], equity: FloatArray2D | None, k: int
    ) -> FloatArray1D | None:
        """Return what a trial earned in the cells of the slices at some places."""
        if equity is None:
            return None
        before = np.full(1, self.plan.capital)
        if trial.carry is not None:
            before = trial.carry.rows["equity"]
        earned: FloatArray1D = self._account.earned(equity[k : k + 1], places, before)[0]
        return earned

    def _sessions(self, trial: _Trial) -> NDArray[np.float32] | None:
        """Return what a trial returned in each session: NaN unless all of it was evaluated."""
        wanted = {place for place in trial.rows if self._account.cells[place]}
        returns = self._account.unknown(1)
        if returns is not None and wanted and wanted <= trial.earned.keys():
            places = sorted(trial.earned)
            earned = np.concatenate([trial.earned[place] for place in places])
            returns = self._account.returns(earned[None], places)
        return None if returns is None else np.asarray(returns[0])

    def _share(self, trial: _Trial, known: Finished) -> None:
        first = known.duplicate_of if known.duplicate_of >= 0 else known.number
        trial.finished = replace(
            known,
            number=trial.number,
            duplicate_of=first,
            n_slices=known.n_slices,
            sessions=None,
        )
