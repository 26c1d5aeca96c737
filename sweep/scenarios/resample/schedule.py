"""In which order a kernel takes the pieces of many paths.

Paths that take the same source ticks are run side by side, so that those are read once:
sessions of any path that are drawn from the same session, slots that are drawn from the
same slot. Where too few do, each path goes on for itself. No row depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweep.kernel.paths.derive import SESSION
from sweep.kernel.paths.frame import JOB
from sweep.scenarios.resample.plan import Path
from sweep.schema import IntArray1D

__all__ = ["Plan", "join", "schedule"]

#: Places for what is kept of a stretch between two of its parts, some 700 bytes each.
_SLOTS = 8192

#: Jobs in a group, on average, from which on groups are worth their while.
_WORTH = 16


class Plan(NamedTuple):
    """Several paths one after the other.

    Attributes
    ----------
    pieces : ndarray of shape (n_pieces,), dtype `sweep.kernel.paths.derive.PIECE`
    firsts, ends : ndarray of shape (n_stretches,), int64
        Pieces of each stretch that begins flat and ends flat.
    paths : ndarray of shape (n_stretches,), int64
        Place of its path.
    ticks : ndarray of shape (n_stretches,), int64
        Number of its first tick within the path.
    """

    pieces: np.ndarray[Any, Any]
    firsts: IntArray1D
    ends: IntArray1D
    paths: IntArray1D
    ticks: IntArray1D


def join(paths: Sequence[Path]) -> Plan:
    """Return the plan of some paths."""
    firsts, ends, owners, ticks = [], [], [], []
    base = 0
    for k, path in enumerate(paths):
        firsts.append(path.starts + base)
        ends.append(np.append(path.starts[1:], len(path.pieces)) + base)
        owners.append(np.full(len(path.starts), k))
        ticks.append(path.edges[path.starts])
        base += len(path.pieces)
    columns = (np.concatenate(c).astype(np.int64) for c in (firsts, ends, owners, ticks))
    return Plan(np.concatenate([path.pieces for path in paths]), *columns)


def schedule(plan: Plan, width: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the jobs of one call of a kernel after the other.

    Parameters
    ----------
    plan : Plan
    width : int
        Lanes of the kernel.

    Yields
    ------
    ndarray of shape (n_jobs,), dtype `sweep.kernel.paths.frame.JOB`
        Of one variant, number 0; the row of a job is its stretch.
    """
    n = len(plan.firsts)
    at_once = n
    if (plan.ends - plan.firsts > 1).any():
        at_once = _SLOTS
    # Stretches of the same place in their paths, so that few of these are open at once.
    place = np.arange(n) - np.searchsorted(plan.paths, plan.paths, "left")
    order = np.lexsort((plan.paths, place))
    for first in range(0, n, at_once):
        some = np.sort(order[first : first + at_once])
        yield _apart(plan, some) if _few(plan, some) else _together(plan, some, width)


def _parts(plan: Plan, stretches: IntArray1D) -> tuple[IntArray1D, IntArray1D]:
    """Return the pieces of some stretches, and the place among these of each one's stretch."""
    counts = plan.ends[stretches] - plan.firsts[stretches]
    owner = np.repeat(np.arange(len(stretches)), counts)
    within = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    return plan.firsts[stretches][owner] + within, owner


def _few(plan: Plan, stretches: IntArray1D) -> bool:
    """Whether too few stretches go over the same source ticks."""
    pieces = plan.pieces[_parts(plan, stretches)[0]]
    return len(pieces) < _WORTH * len(np.unique(pieces["first"]))


def _apart(plan: Plan, stretches: IntArray1D) -> np.ndarray[Any, Any]:
    jobs = np.zeros(len(stretches), JOB)
    jobs["first"] = plan.firsts[stretches]
    jobs["end"] = plan.ends[stretches]
    jobs["row"] = stretches
    jobs["tick"] = plan.ticks[stretches]
    jobs["begins"] = jobs["ends"] = 1
    return jobs


def _together(plan: Plan, stretches: IntArray1D, width: int) -> np.ndarray[Any, Any]:
    parts, owner = _parts(plan, stretches)
    pieces = plan.pieces[parts]
    firsts = plan.firsts[stretches]
    # Parts of a stretch follow each other by it; those of several stretches fall together
    # where they are for the same time of the day.
    opened = plan.pieces["place"][firsts] // SESSION * SESSION
    rank = pieces["place"] - opened[owner]
    order = np.lexsort((parts, pieces["end"], pieces["first"], rank))
    jobs = np.zeros(len(parts), JOB)
    jobs["first"] = parts
    jobs["end"] = parts + 1
    jobs["row"] = stretches[owner]
    jobs["tick"] = plan.ticks[stretches][owner]
    jobs["slot"] = owner
    jobs["begins"] = parts == firsts[owner]
    jobs["ends"] = parts + 1 == plan.ends[stretches][owner]
    key = np.stack([rank, pieces["first"], pieces["end"]], axis=1)[order]
    new = np.ones(len(key), bool)
    new[1:] = (key[1:] != key[:-1]).any(axis=1)
    jobs = jobs[order]
    jobs["group"] = _split(np.cumsum(new), width)
    if (jobs["begins"] & jobs["ends"]).all():
        jobs["slot"] = np.arange(len(jobs)) - np.searchsorted(jobs["group"], jobs["group"], "left")
    return jobs


def _split(groups: IntArray1D, width: int) -> IntArray1D:
    """Return groups of ``width`` jobs at most, those of one group of about equal size."""
    sizes = np.bincount(groups)[groups]
    first = np.searchsorted(groups, groups, "left")
    share = -(-sizes // -(-sizes // width))
    own = (np.arange(len(groups)) - first) // share
    return np.cumsum(np.diff(groups * len(groups) + own, prepend=-1) != 0)
