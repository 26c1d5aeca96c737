"""Tasks on one block of a tick series that is never in memory as a whole.

What workers run for :mod:`sweep.backtest.stream.run`: they evaluate a batch of variants on a
block, from where the block before left off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sweep.backtest.tasks import Carry, Context, Outcome, Task, evaluate
from sweep.ticks.mapped import attach_slot

__all__ = ["evaluate_block", "evaluate_piece", "with_room"]


def evaluate_block(context: Context, tasks: tuple[Task, ...], within: int) -> tuple[Outcome, ...]:
    """Evaluate tasks of one batch on one block.

    Parameters
    ----------
    context : Context
        Its ticks and its capacity do not count.
    tasks : tuple of Task
        All on the same ticks, their own (`Task.ticks`).
    within : int
        Room for the orders that ticks of this block alone can have in flight, see
        `sweep.backtest.tasks.orders_in_flight`.

    Returns
    -------
    tuple of Outcome
        Their carries have no more room than for the orders in flight.
    """
    assert tasks[0].ticks is not None
    attach_slot(tasks[0].ticks)
    return tuple(evaluate_piece(context, task, within) for task in tasks)


def evaluate_piece(context: Context, task: Task, within: int) -> Outcome:
    """Evaluate one task on consecutive ticks of a longer series; see `evaluate_block`."""
    room = within
    if task.carry is not None:
        # What was in flight when the block began, and what is ordered in it: together at
        # least as many as can be in flight at once.
        room += _waiting(task.carry)
        task = replace(task, carry=_counted(with_room(task.carry, room), -task.base))
    outcome = evaluate(replace(context, capacity=room), task)
    if outcome.carry is None:
        return outcome
    carry = with_room(outcome.carry, max(_waiting(outcome.carry), 1))
    return replace(outcome, carry=_counted(carry, task.base))


def _counted(carry: Carry, by: int) -> Carry:
    """Return a carry whose own tick, from which orders count, is counted from elsewhere."""
    carries = carry.carries.copy()
    carries["live_from"] += by
    return carry._replace(carries=carries)


def _waiting(carry: Carry) -> int:
    return int(carry.carries["pending"].max(initial=0))


def with_room(carry: Carry, room: int) -> Carry:
    """Return the same carry with room for ``room`` orders in flight.

    Parameters
    ----------
    carry : Carry
    room : int
        At least as many as any of its variants has in flight.
    """
    count, held = carry.due.shape
    kept = min(held, room)
    # The ring unrolled: the oldest order first.
    places = (carry.carries["head"][:, None] + np.arange(kept)) % held
    carries = carry.carries.copy()
    carries["head"] = 0

    def unrolled(ring: Any) -> Any:
        out = np.zeros((count, room), ring.dtype)
        out[:, :kept] = np.take_along_axis(ring, places, axis=1)
        return out

    return carry._replace(carries=carries, due=unrolled(carry.due), targets=unrolled(carry.targets))
