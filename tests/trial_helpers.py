"""Spaces, outcomes and the windowed loop that the tests of samplers and storages share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from sweep.search.optuna_sampler import Sampler
from sweep.search.outcomes import Outcome, Proposal
from sweep.strategy import Space, boolean, categorical, integer, real
from sweep.strategy.space import SearchSpace


class Numbers(Space):
    """Numbers only, with a constraint."""

    fast: float = real(5, 200, log=True, default=20)
    slow: float = real(20, 2000, log=True, default=100)
    threshold: float = real(0.1, 0.7, step=0.1, default=0.3)

    def valid(self) -> bool:
        """Whether the fast window is the shorter one."""
        return self.fast < self.slow


class Mixed(Space):
    """Every kind of parameter, conditions and a constraint."""

    fast: float = real(5, 200, log=True, default=20)
    slow: int = integer(20, 2000, log=True, default=100)
    threshold: float = real(0.1, 0.7, step=0.1, default=0.3)
    lots: int = integer(10, 1000, step=10, log=True, default=30)
    size: float = real(0.5, 16.0, step=0.5, log=True, default=1.0)
    every: int = integer(0, 60, step=15, default=15)
    mode: str = categorical("trend", "range", "both", default="both")
    stop: bool = boolean(default=False)
    distance: float = real(1, 10, default=2, when=lambda p: p.stop)
    trail: bool = boolean(default=False, when=lambda p: p.stop and p.mode == "trend")
    contract: int = integer(7, 7, default=7)

    def valid(self) -> bool:
        """Whether the fast window is the shorter one."""
        return self.fast < self.slow


class Bowl(Space):
    """Two numbers."""

    x: float = real(-5, 5, default=4)
    y: float = real(-5, 5, default=-4)


NUMBERS = SearchSpace.of(Numbers)
MIXED = SearchSpace.of(Mixed)
BOWL = SearchSpace.of(Bowl)


def score(proposal: Proposal) -> float:
    """Return a smooth function of the first two parameters and a little of the third."""
    fast, slow, threshold = proposal.point[:3]
    return -((math.log(fast) - 3) ** 2) - (math.log(slow) - 5) ** 2 - float(threshold)


def outcome(proposal: Proposal, n_objectives: int = 1, n_constraints: int = 0) -> Outcome:
    """Return an outcome by the proposal alone, of every state now and then."""
    if not proposal.valid:
        return Outcome("invalid", reason="Params.valid() is false")
    value = score(proposal)
    kind = proposal.number % 17
    if kind == 5:
        return Outcome("failed", reason="ZeroDivisionError")
    if kind == 7 and n_objectives == 1:
        return Outcome("pruned", intermediate=(value, math.nan, value - 1))
    if kind == 11:
        return Outcome("infeasible", (math.nan,) * n_objectives, (math.nan,) * n_constraints)
    values = (value, float(proposal.point[2]))[:n_objectives]
    constraints = (-0.5 - value, 0.2 - float(proposal.point[2]))[:n_constraints]
    broken = any(c > 0 for c in constraints)
    return Outcome("infeasible" if broken else "complete", values, constraints, (value,) * 3)


def events(n_trials: int, window: int) -> Iterator[tuple[str, int]]:
    """Yield ask 0..W-1, then tell k and ask k+W by turns, then the tells left."""
    for k in range(min(window, n_trials)):
        yield "ask", k
    for k in range(n_trials):
        yield "tell", k
        if k + window < n_trials:
            yield "ask", k + window


def play(
    sampler: Sampler,
    moves: list[tuple[str, int]],
    make: Callable[[Proposal], Outcome],
    open_proposals: dict[int, Proposal] | None = None,
) -> tuple[Sampler, list[tuple[int, bytes, bool]]]:
    """Carry out the moves; return what was proposed, to the bit."""
    waiting = {} if open_proposals is None else open_proposals
    proposed = []
    for move, number in moves:
        if move == "ask":
            proposal = sampler.ask()
            assert proposal.number == number
            waiting[number] = proposal
            proposed.append((number, proposal.point.tobytes(), proposal.valid))
        else:
            sampler.tell(number, make(waiting.pop(number)))
    return sampler, proposed
