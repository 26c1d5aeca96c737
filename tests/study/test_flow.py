"""The study's decisions, without processes, files or clocks."""

from __future__ import annotations

import numpy as np
import pytest

from sweep.backtest.tasks import Outcome, Task
from sweep.schema import ROW, Rows, Slice
from sweep.study.guided_state import REFUSALS, Ask, Learn, Plan, Record, Save, StudyState
from sweep.study.records import COMPLETE, FAILED, INVALID, Finished, Judged, Partial
from sweep.study.trials import Board

PLAN = Plan(
    slices=(Slice(0, 10, 0), Slice(10, 20, 0)),
    order=(0, 1),
    carry_over=True,
    stepwise=False,
    directions=("maximize",),
    window=4,
    trials=10,
    patience=None,
    distinct=None,
    deterministic=True,
)


def judge(rows: Rows) -> list[Judged]:
    return [Judged(COMPLETE, (float(r["equity"]),), (), "") for r in rows]


def new_state(plan: Plan = PLAN, **saved: dict[bytes, list[Partial]]) -> StudyState:
    return StudyState(plan, judge, None, Board(1, 1, 0), **saved)


def point(value: float) -> np.ndarray:
    return np.array([value])


def evaluated(task: Task, values: list[float]) -> Outcome:
    rows = np.zeros((len(task.params), len(task.slices)), ROW)
    rows["equity"] = np.array(values)[:, None]
    return Outcome(task.number, rows)


class Driver:
    """Answers `Ask` with 0, 1, 2, ... and notes what was commanded."""

    def __init__(self, state: StudyState) -> None:
        self.state, self.log = state, []
        self.next = state.asked

    def obey(self, valid: bool = True, value: float | None = None) -> None:
        while (command := self.state.command(100)) is not None:
            if isinstance(command, Ask):
                self.log.append(("ask", self.next))
                given = point(float(self.next) if value is None else value)
                self.state.proposed(self.next, given, valid)
                self.next += 1
            elif isinstance(command, Learn):
                self.log.append(("learn", command.trial.number))
            elif isinstance(command, Record):
                self.log.append(("record", command.trial.number))
            elif isinstance(command, Save):
                self.log.append(("save", None))


def test_the_window_is_filled_and_then_each_ask_follows_its_tell() -> None:
    driver = Driver(new_state())
    driver.obey()
    assert driver.log == [("ask", 0), ("ask", 1), ("ask", 2), ("ask", 3)]
    tasks = [driver.state.next_task(1) for _ in range(4)]
    driver.log.clear()
    for task in (tasks[2], tasks[1]):
        driver.state.arrived(evaluated(task, [1.0]))
        driver.obey()
    assert driver.log == [("save", None), ("save", None)]
    driver.log.clear()
    driver.state.arrived(evaluated(tasks[0], [1.0]))
    driver.obey()
    assert [entry for entry in driver.log if entry[0] != "save"] == [
        ("learn", 0),
        ("record", 0),
        ("ask", 4),
        ("learn", 1),
        ("record", 1),
        ("ask", 5),
        ("learn", 2),
        ("record", 2),
        ("ask", 6),
    ]


def test_rows_are_saved_before_they_are_learnt() -> None:
    driver = Driver(new_state())
    driver.obey()
    driver.state.arrived(evaluated(driver.state.next_task(4), [1.0] * 4))
    driver.log.clear()
    driver.obey()
    kinds = [kind for kind, _ in driver.log]
    assert kinds.index("learn") > max(i for i, kind in enumerate(kinds) if kind == "save")


def test_an_interrupted_study_starts_and_learns_nothing_more() -> None:
    driver = Driver(new_state())
    driver.obey()
    task = driver.state.next_task(1)
    driver.state.stop("interrupted")
    assert driver.state.next_task(1) is None
    assert not driver.state.done
    driver.log.clear()
    driver.state.arrived(evaluated(task, [1.0]))
    driver.obey()
    assert driver.log == [("save", None)]
    assert driver.state.done


def test_a_repeat_in_flight_waits_for_the_first() -> None:
    driver = Driver(new_state())
    driver.obey(value=7.0)
    task = driver.state.next_task(4)
    assert len(task.params) == 1
    assert driver.state.next_task(4) is None
    driver.state.arrived(evaluated(task, [3.0]))
    driver.obey(value=7.0)
    assert driver.state.board.duplicate_of.tolist() == [-1, *[0] * 9]
    assert driver.state.board.values[:, 0].tolist() == [3.0] * 10


def test_refused_proposals_do_not_count_as_trials_and_end_the_study_at_last() -> None:
    driver = Driver(new_state())
    driver.obey(valid=False)
    assert len(driver.state.board) == REFUSALS
    assert driver.state.counted == 0
    assert driver.state.done
    assert "refused" in driver.state.reason()


def test_a_task_that_kills_workers_is_split_and_the_killer_fails() -> None:
    driver = Driver(new_state())
    driver.obey()
    killer, healthy = driver.state.split(driver.state.next_task(2))
    assert [part.params[0, 0] for part in (killer, healthy)] == [0.0, 1.0]
    driver.state.arrived(evaluated(healthy, [1.0]))
    driver.state.give_up(killer)
    driver.obey()
    assert driver.state.board.states == [FAILED, COMPLETE]
    assert "worker died" in driver.state.board.reasons[0]


def test_a_task_that_is_dropped_may_start_again() -> None:
    driver = Driver(new_state())
    driver.obey()
    driver.state.drop(driver.state.next_task(2))
    assert driver.state.next_task(4).params[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_saved_rows_are_taken_instead_of_evaluating() -> None:
    rows = np.zeros(2, ROW)
    rows["equity"] = 5.0
    saved = {point(1.0).tobytes(): [Partial(point(1.0), (0, 1), rows)]}
    driver = Driver(StudyState(PLAN, judge, None, Board(1, 1, 0), saved))
    driver.obey()
    task = driver.state.next_task(4)
    assert task.params[:, 0].tolist() == [0.0, 2.0, 3.0]


@pytest.mark.parametrize("count", [1, 3])
def test_a_board_gives_back_what_it_took(count: int) -> None:
    board = Board(1, 1, 0)
    for k in range(count):
        row = np.zeros((), ROW)[()]
        board.add(Finished(k, point(k), INVALID if k else COMPLETE, row, (float(k),)))
    assert board.trial(count - 1).number == count - 1
    assert board.best(("maximize",), 5) == [0]
    with pytest.raises(ValueError, match="cannot follow"):
        board.add(Finished(count + 1, point(0), COMPLETE, np.zeros((), ROW)[()], (0.0,)))
    with pytest.raises(IndexError, match="no trial"):
        board.trial(count)
