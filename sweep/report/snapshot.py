"""What a running study hands to whoever shows it: immutable, plain, complete.

A snapshot is made by the study and rendered elsewhere; renderers compute nothing that
it does not imply and hold no reference into the study. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["Direction", "Snapshot", "State", "TrialView", "WorkerView"]

State = Literal["running", "draining", "finished"]
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class WorkerView:
    """One worker process.

    Attributes
    ----------
    pid : int
    busy_share : float
        Share of the recent past spent in tasks, 0 to 1. NaN: not known yet.
    uss_bytes : int
        Memory that the process alone holds. 0: not known.
    """

    pid: int
    busy_share: float
    uss_bytes: int


@dataclass(frozen=True)
class TrialView:
    """One of the best trials so far.

    Attributes
    ----------
    number : int
    params : mapping of str to Any
        Decoded values of the active parameters.
    values : tuple of float
        One per objective, in the study's order.
    metrics : mapping of str to float
        On the ticks that the search sees. NaN: undefined.
    holdout : mapping of str to float, optional
        The same metrics on the ticks kept from the search; None: not evaluated there.
    feasible : bool
        Whether the study's constraints hold.
    is_new : bool
        Whether it became one of the best a short while ago.
    """

    number: int
    params: Mapping[str, object]
    values: tuple[float, ...]
    metrics: Mapping[str, float]
    holdout: Mapping[str, float] | None = None
    feasible: bool = True
    is_new: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    Attributes
    ----------
    name, strategy, sampler : str
        Shown in the head. ``strategy`` is a short name, not a path.
    state : {"running", "draining", "finished"}
        ``draining``: no trial is started any more, those under way are finished.
    elapsed_s : float
        Seconds that this run has taken.
    total : int, optional
        Trials to finish; None where only time or patience ends the study.
    finished : int
        Trials with an end of any kind: the sum of the six counts that follow.
    complete, pruned, infeasible, invalid, failed, duplicates : int
    in_flight : int
        Trials started and not finished.
    trials_per_s, tick_variants_per_s : float
        Recent rates; the latter counts every tick once for every variant.
    remaining_s : float, optional
        Expected seconds to the end; None: not known.
    workers : tuple of WorkerView
    memory_bytes : int
        Of all processes together, without what they share.
    shared_bytes : int
        Ticks, mapped by every worker, held once.
    sampler_share, evaluation_share, idle_share : float
        Where the workers' time went, 0 to 1. ``sampler_share``: waiting for proposals.
    pruned_share_saved : float, optional
        Share of all compute that pruning avoided; None: nothing is pruned.
    objectives : tuple of (str, Direction)
    parameters : tuple of str
        Names, in the order of the strategy's file.
    best : tuple of TrialView
        Best first; with several objectives the Pareto front.
    holdout_opened : int, optional
        How often the holdout was evaluated, all runs together; None: there is none.
    messages : tuple of str
        The latest warnings, oldest first.
    """

    name: str
    strategy: str
    sampler: str
    state: State
    elapsed_s: float
    total: int | None
    finished: int
    complete: int
    pruned: int
    infeasible: int
    invalid: int
    failed: int
    duplicates: int
    in_flight: int
    trials_per_s: float
    tick_variants_per_s: float
    remaining_s: float | None
    workers: tuple[WorkerView, ...]
    memory_bytes: int
    shared_bytes: int
    sampler_share: float
    evaluation_share: float
    idle_share: float
    pruned_share_saved: float | None
    objectives: tuple[tuple[str, Direction], ...]
    parameters: tuple[str, ...]
    best: tuple[TrialView, ...] = ()
    holdout_opened: int | None = None
    messages: tuple[str, ...] = ()
