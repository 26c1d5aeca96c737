"""What an exhaustive search does next: decisions without input or output.

The points of a grid, a random sample or a Sobol sequence follow from their position.
`Exhaustive` deals them out in stretches of consecutive trials, takes back what was
evaluated in any order, and gives it on in the order of the trials. Only what is under
way is held: the points are enumerated when they are wanted, and what is finished lies in
Parquet parts, of which only the bounds are known here.

Nothing here reads a clock, a file or a process, so that every race is a unit test.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sweep.backtest.tasks import Outcome, Task
from sweep.engines.dispatch import GAVE_UP
from sweep.schema import ROW, STATUS_ERROR, FloatArray2D, IntArray1D, Rows, Slice
from sweep.search.duplicates import DuplicateIndex
from sweep.stats.metrics import merge
from sweep.study.judge import Judge
from sweep.study.proposals import Points
from sweep.study.records import FAILED, Part, TrialSpan
from sweep.study.session_account import SessionAccount
from sweep.study.trials import TrialBlock
from sweep.text import STATES, counted

__all__ = ["Course", "Exhaustive", "finished_block"]

#: Stretches that may be finished before the one that the next trial waits for.
AHEAD = 64


@dataclass(frozen=True)
class Course:
    """How an exhaustive search goes.

    Attributes
    ----------
    slices : tuple of Slice
        In the order of time.
    carry_over : bool
    trials : int or None
        Trials at most.
    distinct : int or None
        Number of distinct valid variants, where known and finite.
    edges : tuple of int
        Of the sessions, where their returns are kept; see `sweep.backtest.tasks.Task`.
    capital : float
    """

    slices: tuple[Slice, ...]
    carry_over: bool
    trials: int | None
    distinct: int | None
    edges: tuple[int, ...] = ()
    capital: float = 1.0

    @property
    def spans(self) -> tuple[Slice, ...]:
        """The slices as they are evaluated: in one go where state is carried over.

        A carried run has the same bits however it is cut, and one row comes back for a
        variant instead of one for each slice.
        """
        if not self.carry_over:
            return self.slices
        return (Slice(self.slices[0].begin, self.slices[-1].end, self.slices[0].warmup),)


@dataclass
class _Span:
    """Consecutive trials that are, or are to be, under way."""

    first: int
    params: FloatArray2D
    duplicate_of: IntArray1D
    own: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        self.own = np.flatnonzero(self.duplicate_of < 0)

    @property
    def end(self) -> int:
        return self.first + len(self.params)

    def finished(
        self,
        rows: Rows,
        failures: tuple[tuple[int, str], ...] = (),
        sessions: NDArray[np.float32] | None = None,
    ) -> TrialSpan:
        return TrialSpan(self.first, self.params, self.duplicate_of, rows, failures, sessions)

    def split(self) -> list[_Span]:
        """Return a span for each variant, with the duplicates after it."""
        bounds = [0, *self.own[1:].tolist(), len(self.params)]
        return [
            _Span(self.first + a, self.params[a:b], self.duplicate_of[a:b])
            for a, b in itertools.pairwise(bounds)
        ]


class Exhaustive:
    """The state of a running exhaustive search.

    Parameters
    ----------
    course : Course
    points : Points
    parts : sequence of Part, optional
        Trials that lie on disk, in order, whole and checked.
    stretches : sequence of TrialSpan, optional
        Trials that the ledger holds besides.
    """

    def __init__(
        self,
        course: Course,
        points: Points,
        parts: Sequence[Part] = (),
        stretches: Sequence[TrialSpan] = (),
    ) -> None:
        self.course = course
        self.stopping = ""
        self.exhausted = ""
        self._points = points
        self._spans = course.spans
        self._account = SessionAccount(
            self._spans, course.edges, carry_over=course.carry_over, capital=course.capital
        )
        self._duplicate_index = DuplicateIndex() if points.may_repeat else None
        self._starts = DuplicateIndex() if points.n_starts and not points.may_repeat else None
        known: list[Part | TrialSpan] = [*parts, *stretches]
        self._known = {span.first: span for span in known}
        self._begins = sorted(self._known)
        self._finished: dict[int, Part | TrialSpan] = {}
        self._running: dict[int, _Span] = {}
        self._cursor = 0  # trials before it have been dealt out
        self._taken = 0  # trials before it have been given on
        self._duplicates = 0
        self._next_task = 0

    # -- what is asked of it -----------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Trials that are with a worker."""
        return sum(len(span.params) for span in self._running.values())

    @property
    def dealt(self) -> int:
        """Trials that were started, finished ones included."""
        return self._cursor

    @property
    def done(self) -> bool:
        """Whether nothing is left to do but to take what is finished."""
        if self._running:
            return False
        return bool(self.stopping or self.exhausted)

    @property
    def starts_nothing(self) -> bool:
        """Whether the search ends with what is in flight."""
        return bool(self.stopping)

    def reason(self) -> str:
        """Return why the search ended or would end, in a few words."""
        return self.stopping or self.exhausted

    def stop(self, reason: str) -> None:
        """Start nothing more; what is under way is finished."""
        self.stopping = self.stopping or reason

    def next_task(self, limit: int) -> Task | None:
        """Return a task of up to ``limit`` variants, or None if none can start now."""
        if self.stopping or (len(self._finished) > AHEAD and self._running):
            return None
        span = self._deal(limit)
        return None if span is None else self._start(span)

    def _start(self, span: _Span) -> Task:
        number = self._next_task
        self._next_task += 1
        self._running[number] = span
        params = np.ascontiguousarray(span.params[span.own])
        course = self.course
        return Task(number, params, self._spans, course.carry_over, edges=course.edges)

    def _deal(self, limit: int) -> _Span | None:
        """Return the next trials that want an evaluation, passing over those that have it."""
        while not self.exhausted:
            known = self._known.get(self._cursor)
            if known is not None:
                self._pass_over(known)
                continue
            stop = self._cursor + limit
            if self.course.trials is not None:
                stop = min(stop, self.course.trials)
            if stop <= self._cursor:
                self.exhausted = counted(self.course.trials or 0, "trial")
                break
            following = self._begins[np.searchsorted(self._begins, self._cursor) :][:1]
            stop = min([stop, *following])
            rows = self._points.rows(self._cursor, stop - self._cursor)
            if not len(rows):
                self.exhausted = "all points of the design"
                break
            first = self._cursor
            rows, duplicate_of = self._mark(first, rows)
            self._cursor = first + len(rows)
            span = _Span(first, rows, duplicate_of)
            if len(span.own):
                return span
            self._finished[first] = span.finished(
                np.zeros(0, ROW), sessions=self._account.unknown(0)
            )
        return None

    def _pass_over(self, known: Part | TrialSpan) -> None:
        first, end = known.first, known.end
        if self._duplicate_index is not None or self.course.distinct is not None:
            self._mark(first, self._points.rows(first, end - first))
        elif self._starts is not None and first < self._points.n_starts:
            self._mark(first, self._points.rows(first, min(end, self._points.n_starts) - first))
        self._finished[first] = known
        self._cursor = end

    def _mark(self, first: int, rows: FloatArray2D) -> tuple[FloatArray2D, IntArray1D]:
        """Return for each point the earlier trial that it repeats, or -1; mind the end."""
        duplicate_of = np.full(len(rows), -1, np.int64)
        if self._duplicate_index is not None:
            duplicate_of = self._duplicate_index.add(first, rows)
        elif self._starts is not None:
            early = max(min(self._points.n_starts - first, len(rows)), 0)
            duplicate_of[:early] = self._starts.add(first, rows[:early])
            duplicate_of[early:] = self._starts.find(rows[early:])
        if self.course.distinct is not None:
            own = np.cumsum(duplicate_of < 0) + first - self._duplicates
            last = int(np.searchsorted(own, self.course.distinct))
            if last < len(rows):
                rows, duplicate_of = rows[: last + 1], duplicate_of[: last + 1]
                if first + len(rows) != self.course.trials:
                    self.exhausted = f"all {self.course.distinct} variants of the space"
        self._duplicates += int((duplicate_of >= 0).sum())
        return rows, duplicate_of

    # -- events ------------------------------------------------------------------------

    def arrived(self, outcome: Outcome) -> TrialSpan:
        """Record a task's rows; return what must be saved."""
        span = self._running.pop(outcome.number)
        rows = outcome.rows[:, -1].copy()
        if not self.course.carry_over:
            rows = outcome.rows[:, 0].copy()
            for k in range(1, outcome.rows.shape[1]):
                rows = merge(rows, outcome.rows[:, k])
        return self._finish(span.finished(rows, outcome.failures, self._sessions(outcome)))

    def _sessions(self, outcome: Outcome) -> NDArray[np.float32] | None:
        """Return what the variants of a task returned in each session, on the capital."""
        if outcome.equity is None:
            return self._account.unknown(len(outcome.rows))
        before = np.full(len(outcome.rows), self.course.capital)
        places = range(len(self._spans))
        return self._account.returns(self._account.earned(outcome.equity, places, before), places)

    def split(self, task: Task) -> list[Task]:
        """Return tasks of one variant each, which take the place of one that was started."""
        return [self._start(span) for span in self._running.pop(task.number).split()]

    def give_up(self, task: Task) -> TrialSpan:
        """Record that a task's only variant kills its workers; return what must be saved."""
        rows = np.zeros(1, ROW)
        rows["status"] = STATUS_ERROR
        span = self._running.pop(task.number)
        return self._finish(span.finished(rows, ((0, GAVE_UP),), self._account.unknown(1)))

    def drop(self, task: Task) -> None:
        """Record that a task that was started is not run again."""
        del self._running[task.number]

    def _finish(self, stretch: TrialSpan) -> TrialSpan:
        self._finished[stretch.first] = stretch
        return stretch

    def take(self) -> Part | TrialSpan | None:
        """Return what is finished and comes next in the order of the trials, if anything."""
        if self._taken == self._cursor and self._cursor in self._known:
            self._pass_over(self._known[self._cursor])
        found = self._finished.pop(self._taken, None)
        if found is not None:
            self._taken = found.end
        return found


# -- finished trials -------------------------------------------------------------------

#: ``known(numbers)``: rows of earlier trials, and why each failed (empty if it did not).
Known = Callable[[IntArray1D], tuple[Rows, NDArray[np.object_]]]


def finished_block(stretch: TrialSpan, judge: Judge, n_slices: int, known: Known) -> TrialBlock:
    """Return a stretch's trials, judged.

    Parameters
    ----------
    stretch : TrialSpan
    judge : Judge
    n_slices : int
        Of every trial.
    known : callable
        Rows of earlier trials, for those that repeat one.
    """
    n = len(stretch.params)
    numbers = np.arange(stretch.first, stretch.end)
    own = np.flatnonzero(stretch.duplicate_of < 0)
    rows, failed = np.zeros(n, ROW), np.full(n, "", object)
    rows[own] = stretch.rows
    for place, reason in stretch.failures:
        failed[own[place]] = reason or "the evaluation failed"
    repeats = np.flatnonzero(stretch.duplicate_of >= 0)
    if len(repeats):
        origins = stretch.duplicate_of[repeats]
        within = origins >= stretch.first
        near = origins[within] - stretch.first
        rows[repeats[within]], failed[repeats[within]] = rows[near], failed[near]
        if not within.all():
            rows[repeats[~within]], failed[repeats[~within]] = known(origins[~within])
    v = judge.verdicts(rows)
    broken = np.flatnonzero(failed != "")
    v.codes[broken] = STATES.index(FAILED)
    v.reasons[broken] = failed[broken]
    v.values[broken] = np.nan
    v.violations[broken] = np.nan
    sessions = None
    if stretch.sessions is not None:
        # Those of a trial that repeats another are kept with that one alone.
        sessions = np.full((n, stretch.sessions.shape[1]), np.nan, np.float32)
        sessions[own] = stretch.sessions
    return TrialBlock(
        numbers=numbers,
        params=stretch.params,
        codes=v.codes,
        rows=rows,
        values=v.values,
        violations=v.violations,
        n_slices=np.full(n, n_slices, np.int32),
        duplicate_of=stretch.duplicate_of,
        reasons=v.reasons,
        sessions=sessions,
    )


def spans_of(items: Iterable[Part | TrialSpan]) -> list[Part | TrialSpan]:
    """Return finished spans in order, without those that overlap one before them."""
    found: list[Part | TrialSpan] = []
    for item in sorted(items, key=lambda x: (x.first, -x.end)):
        if not found or item.first >= found[-1].end:
            found.append(item)
    return found
