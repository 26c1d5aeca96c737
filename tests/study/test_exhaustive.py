"""The decisions of an exhaustive search, without processes, files or clocks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.backtest.tasks import Outcome, Task
from sweep.engines.dispatch import Dispatcher, GiveUp, Submit
from sweep.schema import ROW, Slice
from sweep.search.duplicates import DuplicateIndex
from sweep.study.exhaustive_state import Course, Exhaustive
from sweep.study.records import COMPLETE, FAILED, Finished, Part, TrialSpan
from sweep.study.tally import Tally
from sweep.study.trials import Board
from sweep.text import STATES


class Numbers:
    """Points 0, 1, 2, ... of one parameter, modulo a period."""

    n_starts = 0

    def __init__(self, size: int, period: int | None = None) -> None:
        self.size, self.period = size, period
        self.may_repeat = period is not None

    def rows(self, first: int, count: int) -> np.ndarray:
        found = np.arange(first, max(first, min(first + count, self.size)), dtype=float)[:, None]
        return found if self.period is None else found % self.period


def course(**other: Any) -> Course:
    plan = {"slices": (Slice(0, 9, 0),), "carry_over": True, "trials": None, "distinct": None}
    return Course(**{**plan, **other})


def outcome(task: Task) -> Outcome:
    rows = np.zeros((len(task.params), len(task.slices)), ROW)
    rows["equity"] = task.params[:, :1]
    return Outcome(task.number, rows)


def taken(state: Exhaustive) -> list[Part | TrialSpan]:
    found = []
    while (span := state.take()) is not None:
        found.append(span)
    return found


def run(state: Exhaustive, rng: random.Random, loses: float = 0.0) -> list[Part | TrialSpan]:
    """Run to the end, tasks arriving in any order; return the spans in their order."""
    dispatcher = Dispatcher(5, state.split)
    found: list[Part | TrialSpan] = []

    def fresh() -> Task | None:
        return state.next_task(rng.randrange(1, 8))

    for _ in range(100_000):
        while (command := dispatcher.command(fresh)) is not None:
            if isinstance(command, Submit):
                dispatcher.submitted(command.work.number, command)
            elif isinstance(command, GiveUp):
                state.give_up(command.work)
        found += taken(state)
        if not dispatcher.in_flight:
            assert state.done
            return found
        if rng.random() < loses:
            dispatcher.lost(begun=dispatcher.in_flight)
        else:
            number = rng.choice(list(dispatcher.in_flight))
            state.arrived(outcome(dispatcher.finished(number)))
    raise AssertionError("no end")


@given(seed=st.integers(0, 10_000), size=st.integers(0, 60), loses=st.sampled_from([0.0, 0.1]))
def test_every_trial_comes_once_and_in_order_whatever_arrives_first(
    seed: int, size: int, loses: float
) -> None:
    state = Exhaustive(course(), Numbers(size))
    spans = run(state, random.Random(seed), loses)
    assert [k for s in spans for k in range(s.first, s.end)] == list(range(size))
    whole = [s for s in spans if isinstance(s, TrialSpan) and not s.failures]
    assert all((s.rows["equity"] == s.params[:, 0]).all() for s in whole)
    assert state.reason() == "all points of the design"


@given(seed=st.integers(0, 10_000), period=st.integers(1, 30), size=st.integers(0, 60))
def test_points_that_come_again_are_evaluated_once(seed: int, period: int, size: int) -> None:
    state = Exhaustive(course(), Numbers(size, period))
    spans = run(state, random.Random(seed))
    of = np.concatenate([np.zeros(0, int), *(s.duplicate_of for s in spans)])
    assert of.tolist() == [k % period if k >= period else -1 for k in range(size)]
    assert sum(len(s.rows) for s in spans) == min(size, period)


def test_an_exhausted_space_is_an_end() -> None:
    state = Exhaustive(course(distinct=7), Numbers(1000, 7))
    spans = run(state, random.Random(0))
    assert spans[-1].end == 7
    assert state.reason() == "all 7 variants of the space"
    assert run(Exhaustive(course(distinct=7, trials=7), Numbers(99, 7)), random.Random(0))[-1].end


@given(seed=st.integers(0, 10_000), data=st.data())
def test_what_is_on_record_is_not_evaluated_again(seed: int, data: st.DataObject) -> None:
    size, period = 40, data.draw(st.sampled_from([None, 11, 25]))
    spans = run(Exhaustive(course(), Numbers(size, period)), random.Random(seed))
    kept = [s for s in spans if data.draw(st.booleans())]
    parts = [
        Part(s.first, s.end - s.first, "p", 0, "", {}) for s in kept if data.draw(st.booleans())
    ]
    firsts = {p.first for p in parts}
    stretches = [s for s in kept if s.first not in firsts]
    state = Exhaustive(course(), Numbers(size, period), parts, stretches)
    again = run(state, random.Random(seed + 1))
    assert [k for s in again for k in range(s.first, s.end)] == list(range(size))
    assert {s.first for s in again if isinstance(s, Part)} == firsts
    fresh = [s for s in again if isinstance(s, TrialSpan) and not any(s is k for k in stretches)]
    known = {k for s in kept for k in range(s.first, s.end)}
    assert not known & {k for s in fresh for k in range(s.first, s.end)}
    for s in again:
        if isinstance(s, TrialSpan):
            want = [
                -1 if period is None or k < period else k % period for k in range(s.first, s.end)
            ]
            assert s.duplicate_of.tolist() == want


def test_an_extended_search_goes_on_where_it_ended() -> None:
    first = run(Exhaustive(course(trials=13), Numbers(50)), random.Random(1))
    state = Exhaustive(course(trials=29), Numbers(50), stretches=first)
    assert state.next_task(100).params[:, 0].tolist() == list(range(13, 29))


def test_a_batch_that_kills_workers_is_split_and_the_killer_fails() -> None:
    state = Exhaustive(course(), Numbers(8, 6))
    parts = state.split(state.next_task(8))
    assert [part.params[:, 0].tolist() for part in parts] == [[0], [1], [2], [3], [4], [5]]
    failed = state.give_up(parts[4])
    assert (failed.first, len(failed.rows)) == (4, 1)
    assert "worker died" in failed.failures[0][1]
    for part in (*parts[:4], parts[5]):
        assert not state.done
        state.arrived(outcome(part))
    assert state.next_task(8) is None
    assert state.done
    assert [s.end for s in taken(state)] == [1, 2, 3, 4, 5, 8]


def test_an_interrupted_search_finishes_what_is_under_way() -> None:
    state = Exhaustive(course(), Numbers(100))
    task = state.next_task(5)
    lost = state.next_task(5)
    state.stop("interrupted")
    assert state.next_task(5) is None
    assert not state.done
    state.drop(lost)
    state.arrived(outcome(task))
    assert state.done
    assert [s.end for s in taken(state)] == [5]


def test_carried_slices_are_evaluated_as_one() -> None:
    slices = (Slice(5, 10, 2), Slice(10, 30, 2))
    assert course(slices=slices).spans == (Slice(5, 30, 2),)
    assert course(slices=slices, carry_over=False).spans == slices


@given(st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=12))
def test_repeats_finds_the_first_of_equal_points(blocks: list[list[int]]) -> None:
    repeats, seen, n = DuplicateIndex(), {}, 0
    for block in blocks:
        rows = np.array([[float(v), 0.5] for v in block]).reshape(-1, 2)
        found = repeats.add(n, rows)
        for k, v in enumerate(block):
            assert found[k] == seen.get(v, -1)
            seen.setdefault(v, n + k)
        n += len(block)
    assert all(repeats.find(np.array([[float(v), 0.5]]))[0] == k for v, k in seen.items())
    assert repeats.find(np.array([[99.0, 0.5]]))[0] == -1


# -- the tally -------------------------------------------------------------------------


@given(data=st.data(), several=st.booleans(), patience=st.sampled_from([None, 3, 8]))
def test_a_tally_agrees_with_a_board(
    data: st.DataObject, several: bool, patience: int | None
) -> None:
    directions = ("maximize", "minimize") if several else ("minimize",)
    tally, board = Tally(directions, 5, patience), Board(1, len(directions), 0)
    since, front, n = 0, [], data.draw(st.integers(0, 40))
    codes = data.draw(st.lists(st.sampled_from([0, 0, 0, 2, 4]), min_size=n, max_size=n))
    some = st.lists(st.integers(0, 9), min_size=len(directions), max_size=len(directions))
    values = np.array([data.draw(some) for _ in range(n)], float).reshape(n, len(directions))
    duplicate_of = np.array([-1 if data.draw(st.integers(0, 5)) else 0 for _ in range(n)], int)
    end = n
    for k in range(n):
        state = STATES[codes[k]]
        row = np.zeros((), ROW)[()]
        board.add(
            Finished(
                k, np.zeros(1), state, row, tuple(values[k]), duplicate_of=int(duplicate_of[k])
            )
        )
        since += 1
        loss = tuple(values[k] * [-1, 1] if several else values[k])
        if state == COMPLETE and duplicate_of[k] < 0:
            if not any(all(a <= b for a, b in zip(f, loss, strict=True)) for f in front):
                front, since = [*front, loss], 0
        if patience is not None and since >= patience:
            end = k + 1
            break
    at = 0
    while at < n and not tally.impatient:
        size = data.draw(st.integers(1, 9))
        part = slice(at, at + size)
        some_codes = np.array(codes[part], np.int8)
        at += tally.take(np.arange(n)[part], some_codes, values[part], duplicate_of[part])
    assert at == end
    assert tally.best(5) == board.best(directions, 5)
    assert tally.counts == board.counts()
    failed = [k for k in range(end) if STATES[codes[k]] == FAILED and duplicate_of[k] < 0]
    assert tally.first_failed == (failed[0] if failed else -1)


def test_more_than_was_kept_is_not_known() -> None:
    assert Tally(("maximize",), 5, None).best(6) is None


@pytest.mark.parametrize("n", [3000])
def test_a_front_of_many_is_found_in_blocks(n: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((n, 2))
    tally, board = Tally(("maximize", "minimize"), 5, None), Board(1, 2, 0)
    for first in range(0, n, 500):
        part = slice(first, first + 500)
        tally.take(np.arange(n)[part], np.zeros(500, np.int8), values[part], np.full(500, -1))
    row = np.zeros((), ROW)[()]
    for k in range(n):
        board.add(Finished(k, np.zeros(1), COMPLETE, row, tuple(values[k])))
    assert tally.best(100) == board.best(("maximize", "minimize"), 100)
