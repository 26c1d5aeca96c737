"""Where a study's next trial comes from: a design of points, or a sampler that learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from sweep.errors import StudyFileError
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.search import designs
from sweep.search.outcomes import Outcome, Proposal
from sweep.strategy.space import SearchSpace
from sweep.study.file.sections import StudySection
from sweep.study.records import Finished

__all__ = [
    "DESIGNS",
    "Points",
    "Proposer",
    "SamplerProposer",
    "depends_on_results",
    "make_points",
    "make_proposer",
    "outcome_of",
]

#: Samplers whose points do not depend on results, and the options that each takes.
DESIGNS = {"grid": ("points",), "random": (), "qmc": ("scramble",)}

_BLOCK = 4096


class Proposer(Protocol):
    """Proposes trials in order. ``ask`` returns None when there are no more."""

    def ask(self) -> Proposal | None:
        """Return the next proposal."""

    def tell(self, trial: Finished) -> None:
        """Record what came of a trial."""

    def teach(self, trials: Sequence[Finished], waiting: Sequence[FloatArray1D]) -> None:
        """Learn from the trials of an earlier run, before anything is asked.

        ``waiting`` are further points to propose first.
        """

    def should_prune(self, number: int, step: int, value: float, known: int) -> bool:
        """Whether to stop a trial after a slice."""


def outcome_of(trial: Finished, labels: dict[str, float] | None = None) -> Outcome:
    """Return a finished trial as a sampler sees it."""
    return Outcome(
        state=trial.state,
        values=trial.values,
        constraints=trial.violations,
        intermediate=tuple(value for _, value in trial.intermediate),
        metrics=labels or {},
        reason=trial.reason,
    )


class DesignProposer:
    """Points by position: the starting points, then those of a design.

    Parameters
    ----------
    design : Design
    starts : sequence of ndarray of shape (n_params,), float64
    space : SearchSpace
    pruning : Pruning or None
    """

    def __init__(
        self,
        design: designs.Design,
        starts: Sequence[FloatArray1D],
        space: SearchSpace,
        pruning: Any,
    ) -> None:
        self._design = design
        self._starts = list(starts)
        self._space = space
        self._pruning = pruning
        self._next = 0
        self._block: tuple[int, np.ndarray[Any, Any]] = (0, np.zeros((0, 0)))

    def seek(self, number: int) -> None:
        """Go on with this trial."""
        self._next = number

    def size(self) -> int | None:
        """Return the number of trials, where the design has an end that is known."""
        bound = self._design.size if self._design.bound is not None else None
        return None if bound is None else bound + len(self._starts)

    def ask(self) -> Proposal | None:
        """Return the next point, or None at the design's end."""
        number = self._next
        place = number - len(self._starts)
        if place < 0:
            row = self._starts[number]
        else:
            first, rows = self._block
            if not first <= place < first + len(rows):
                first, rows = place, self._design.points(place, _BLOCK)
                self._block = (first, rows)
            if place - first >= len(rows):
                return None
            row = rows[place - first].copy()
        self._next += 1
        return Proposal(number, row, place >= 0 or self._space.is_valid(row))

    def teach(self, trials: Sequence[Finished], waiting: Sequence[FloatArray1D]) -> None:
        """Let the pruner know; the points follow from their position."""
        for trial in trials:
            self.tell(trial)

    def tell(self, trial: Finished) -> None:
        """Let the pruner know; the design does not care."""
        if self._pruning is not None:
            self._pruning.add(trial.number, outcome_of(trial))

    def should_prune(self, number: int, step: int, value: float, known: int) -> bool:
        """Whether to stop a trial after a slice."""
        return self._pruning is not None and bool(
            self._pruning.should_prune(number, step, value, known=known)
        )


class Points:
    """All points of an exhaustive search: the starting points, then those of a design.

    Parameters
    ----------
    design : Design
    starts : sequence of ndarray of shape (n_params,), float64
    may_repeat : bool
        Whether the design may come to a point again.
    """

    def __init__(
        self, design: designs.Design, starts: Sequence[FloatArray1D], may_repeat: bool
    ) -> None:
        self._design = design
        self._starts = np.array(starts) if starts else design.points(0, 0)
        self.n_starts = len(starts)
        self.may_repeat = may_repeat

    @property
    def size(self) -> int | None:
        """The number of points, where the design has an end that is known."""
        size = self._design.size if self._design.bound is not None else None
        return None if size is None else size + self.n_starts

    @property
    def expected(self) -> int | None:
        """The number of points, estimated where it is not known yet; None without an end."""
        expected = self._design.expected
        return None if expected is None else expected + self.n_starts

    def rows(self, first: int, count: int) -> FloatArray2D:
        """Return the points ``first`` to ``first + count``, the latter excluded.

        Returns
        -------
        ndarray of shape (n_points, n_params), float64
            Canonical, valid rows; fewer than ``count`` where the design ends.

        Raises
        ------
        SpaceError
            If a strategy's function of parameters raises, or hardly any point is valid.
        """
        early = self._starts[first : first + count]
        if len(early) == count:
            return early
        rows = self._design.points(first + len(early) - self.n_starts, count - len(early))
        return np.concatenate([early, rows]) if len(early) else rows


def make_points(
    study: StudySection, space: SearchSpace, starts: Sequence[dict[str, Any]]
) -> Points:
    """Return the points of a study whose proposals depend on nothing.

    Parameters
    ----------
    study : StudySection
    space : SearchSpace
    starts : sequence of dict
        Points that come first.

    Raises
    ------
    StudyFileError
        For an option that the sampler does not take.
    """
    name = study.sampler.name
    design = make_design(name, study.sampler.kwargs, space, study.seed)
    # A real without steps that always counts is drawn with 30 bits or more: the same
    # number does not come again.
    fresh = any(p.count is None and p.when is None for p in space.parameters)
    return Points(design, [space.encode(v) for v in starts], name != "grid" and not fresh)


class SamplerProposer:
    """A sampler that learns, by Optuna."""

    def __init__(self, sampler: Any, space: SearchSpace) -> None:
        self._sampler = sampler
        self._space = space

    def ask(self) -> Proposal | None:
        """Return the sampler's next proposal."""
        proposal: Proposal = self._sampler.ask()
        return proposal

    def teach(self, trials: Sequence[Finished], waiting: Sequence[FloatArray1D]) -> None:
        """Let the sampler propose the points again, and tell it what came of them."""
        for params in (*(t.params for t in trials), *waiting):
            self._sampler.enqueue(self._space.decode(params))
        for trial in trials:
            self._sampler.ask()
            self.tell(trial)

    def tell(self, trial: Finished) -> None:
        """Tell the sampler what came of a trial."""
        self._sampler.tell(trial.number, outcome_of(trial))

    def should_prune(self, number: int, step: int, value: float, known: int) -> bool:
        """Whether to stop a trial after a slice."""
        return bool(self._sampler.should_prune(number, step, value, known=known))

    def snapshot(self) -> bytes:
        """Return the sampler's whole state."""
        data: bytes = self._sampler.snapshot()
        return data

    @classmethod
    def restore(cls, data: bytes, space: SearchSpace) -> SamplerProposer:
        """Return the proposer that `snapshot` was called on.

        Parameters
        ----------
        data : bytes
            Which this user's own process wrote: restoring executes what they say.
        space : SearchSpace
            The same as before.

        Raises
        ------
        StudyMismatchError
            If they are of another space, or of another version of Optuna.
        """
        from sweep.search.optuna_sampler import Sampler

        return cls(Sampler.restore(data, space), space)


def depends_on_results(study: StudySection) -> bool:
    """Whether proposals or pruning depend on earlier results, so that order matters."""
    return study.sampler.name not in DESIGNS or study.pruner.name != "none"


def make_proposer(
    study: StudySection,
    space: SearchSpace,
    starts: Sequence[dict[str, Any]],
    n_slices: int,
    *,
    number: int = 0,
) -> Proposer:
    """Return the proposer that a study asks for.

    Parameters
    ----------
    study : StudySection
    space : SearchSpace
    starts : sequence of dict
        Points that come first.
    n_slices : int
        Steps of a trial, for the pruner.
    number : int, optional
        Of the next trial, where points follow from it.

    Raises
    ------
    StudyFileError
        For an option that the sampler or pruner does not take.
    """
    name = study.sampler.name
    options = study.sampler.kwargs
    if name not in DESIGNS:
        from sweep.search.optuna_sampler import Sampler, make_pruning

        pruning = make_pruning(
            study.pruner.name,
            study.pruner.kwargs,
            directions=study.directions,
            n_steps=n_slices,
        )
        sampler = Sampler(
            space,
            name,
            options,
            study.seed,
            study.directions,
            len(study.constraints),
            pruning,
        )
        for values in starts:
            sampler.enqueue(values)
        return SamplerProposer(sampler, space)
    proposer = DesignProposer(
        make_design(name, options, space, study.seed),
        [space.encode(values) for values in starts],
        space,
        _pruning(study, n_slices),
    )
    proposer.seek(number)
    return proposer


def _pruning(study: StudySection, n_slices: int) -> Any:
    if study.pruner.name == "none":
        return None
    from sweep.search.optuna_sampler import make_pruning

    return make_pruning(
        study.pruner.name,
        study.pruner.kwargs,
        directions=study.directions,
        n_steps=n_slices,
    )


def make_design(
    name: str, options: dict[str, Any], space: SearchSpace, seed: int
) -> designs.Design:
    """Return a design by its sampler's name and options.

    Raises
    ------
    StudyFileError
        For an option that it does not take, or one of the wrong kind.
    """
    for option in options:
        if option not in DESIGNS[name]:
            takes = ", ".join(DESIGNS[name]) or "none"
            raise StudyFileError(
                f"study.sampler: {name} has no option {option!r}; it takes {takes}"
            )
    if name == "grid":
        points = options.get("points")
        if points is not None and (isinstance(points, bool) or not isinstance(points, int)):
            raise StudyFileError(f"study.sampler: points must be a whole number, found {points!r}")
        return designs.grid(space, points)
    if name == "qmc":
        scramble = options.get("scramble", True)
        if not isinstance(scramble, bool):
            raise StudyFileError(
                f"study.sampler: scramble must be true or false, found {scramble!r}"
            )
        return designs.sobol(space, seed, scramble)
    return designs.random(space, seed)
