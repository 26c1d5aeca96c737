"""Stopping trials on the way, by Optuna's pruners, whatever the order of completion.

A decision about a trial looks at this trial's own values and at the trials that were
finished and told when this one was proposed: those numbered below ``known``. Which other
trials happen to be done at the moment does not matter, so a study decides alike on one
worker and on sixty, and again after a restart.

Optuna's pruners keep what they learn in themselves and in the storage. Here each decision
asks a new pruner, and the rungs of successive halving follow from a trial's values: a
trial that got beyond a rung's step has been judged there.
"""

from __future__ import annotations

import math
import warnings
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Container, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

import optuna
from optuna.pruners import (
    BasePruner,
    MedianPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweep.errors import StudyFileError
from sweep.search.outcomes import Outcome
from sweep.text import PRUNERS, known_names

__all__ = ["Pruning", "checked_options", "make_pruning", "silence"]

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: Slices before the first decision where the number of slices is not known.
FIRST_STEP = 5

OPTIONS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "none": {},
    "median": {
        "n_startup_trials": (int,),
        "n_warmup_steps": (int,),
        "interval_steps": (int,),
        "n_min_trials": (int,),
    },
    "successive_halving": {
        "min_resource": (int,),
        "reduction_factor": (int,),
        "min_early_stopping_rate": (int,),
        "bootstrap_count": (int,),
    },
    "hyperband": {
        "min_resource": (int,),
        "max_resource": (int,),
        "reduction_factor": (int,),
        "bootstrap_count": (int,),
    },
    "wilcoxon": {"p_threshold": (int, float), "n_startup_steps": (int,)},
}


def checked_options(
    where: str, options: Mapping[str, Any], known: Mapping[str, tuple[type, ...]]
) -> dict[str, Any]:
    """Return the options if each is known and has the right type.

    Parameters
    ----------
    where : str
        What the options belong to, for the message.
    options : mapping
    known : mapping of str to tuple of type
        The types that each option may have. A bool is no int here.

    Raises
    ------
    StudyFileError
        Naming the options there are, or the type expected.
    """
    for name, value in options.items():
        if name not in known:
            there_are = known_names(name, sorted(known)) if known else "; it takes none"
            raise StudyFileError(f"{where} has no option {name!r}{there_are}")
        types = known[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            expected = " or ".join(t.__name__ for t in types)
            raise StudyFileError(f"{where}: {name} must be {expected}, found {value!r}")
    return dict(options)


def silence() -> warnings.catch_warnings[None]:
    """Suppress Optuna's warnings about experimental and deprecated arguments."""
    return warnings.catch_warnings(action="ignore")


def make_pruning(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    directions: Sequence[str],
    n_steps: int | None = None,
) -> Pruning | None:
    """Return the rule that stops trials early, or None for ``"none"``.

    The defaults are careful, as eager pruning loses the best trial more often than not:
    no decision before a quarter of the slices (the fifth where ``n_steps`` is not known),
    ``median`` after 10 complete trials, halving by 2, Wilcoxon's test at 0.01.

    Parameters
    ----------
    name : str
        One of `sweep.text.PRUNERS`.
    options : mapping, optional
        Arguments of Optuna's pruner of that name.
    directions : sequence of str
        The study's; pruning needs a single objective.
    n_steps : int, optional
        Slices that a whole trial has. Hyperband needs it, or ``max_resource``.

    Returns
    -------
    Pruning or None

    Raises
    ------
    StudyFileError
        For an unknown pruner or option, a bad value, or several objectives.
    """
    if name not in PRUNERS:
        raise StudyFileError(
            f"study.pruner: there is no pruner {name!r}{known_names(name, PRUNERS)}"
        )
    given = checked_options(f"study.pruner: {name}", options or {}, OPTIONS[name])
    if name == "none":
        return None
    if len(directions) != 1:
        raise StudyFileError(
            f"study.pruner: {name} compares one value, and this study has {len(directions)} "
            'objectives; use pruner = "none" or a single objective'
        )
    first = FIRST_STEP if n_steps is None else max(1, math.ceil(n_steps / 4))
    defaults: dict[str, dict[str, Any]] = {
        "median": {"n_startup_trials": 10, "n_warmup_steps": first},
        "successive_halving": {"min_resource": first, "reduction_factor": 2},
        "hyperband": {"min_resource": first, "max_resource": n_steps, "reduction_factor": 2},
        "wilcoxon": {"p_threshold": 0.01, "n_startup_steps": first},
    }
    resolved = {**defaults[name], **given}
    if name == "hyperband" and resolved["max_resource"] is None:
        raise StudyFileError("study.pruner: hyperband needs max_resource, the number of slices")
    try:
        return Pruning(name, resolved, directions[0])
    except (TypeError, ValueError) as error:
        raise StudyFileError(f"study.pruner: {name}: {error}") from None


class Pruning:
    """Finished trials in number order, and Optuna's pruner applied to those known.

    Made by `make_pruning`.
    """

    def __init__(self, name: str, options: Mapping[str, Any], direction: str) -> None:
        self._name = name
        self._options = dict(options)
        self._direction = StudyDirection[direction.upper()]
        self._budgets = _hyperband_budgets(self._options) if name == "hyperband" else [1]
        self._finished = [_Finished(self._direction) for _ in self._budgets]
        self._running: dict[int, dict[int, float]] = {}
        with silence():
            self._pruner(0)  # refuses bad values now

    def add(self, number: int, outcome: Outcome) -> None:
        """Record a finished trial; others are not compared with one that was not measured.

        Parameters
        ----------
        number : int
        outcome : Outcome
        """
        self._running.pop(number, None)
        pruned = outcome.state == "pruned"
        if not pruned and not outcome.measured:
            return
        values = {k: v for k, v in enumerate(outcome.intermediate, 1) if math.isfinite(v)}
        bracket = self._bracket(number)
        trial = create_trial(
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            value=None if pruned or outcome.values is None else outcome.values[0],
            intermediate_values=values,
            system_attrs=self._rungs(bracket, values),
            constraints=None if pruned else {str(i): c for i, c in enumerate(outcome.constraints)},
        )
        trial.number = number
        self._finished[bracket].add(trial)

    def should_prune(self, number: int, step: int, value: float, *, known: int) -> bool:
        """Whether to stop a trial after a slice.

        Parameters
        ----------
        number : int
            Of the trial. Each of its slices is asked about once, in order; asking again
            about an earlier one starts again from there.
        step : int
            Slices evaluated so far, from 1.
        value : float
            The objective so far; for ``wilcoxon`` the objective of this slice alone. An
            undefined one (NaN) is no ground to stop.
        known : int
            Trials numbered below it are looked at; all of them had been told when this
            one was proposed.

        Returns
        -------
        bool
            A function of the arguments, this trial's earlier values and the trials known.
        """
        values = {k: v for k, v in self._running.get(number, {}).items() if k < step}
        self._running[number] = values
        if not math.isfinite(value):
            return False
        bracket = self._bracket(number)
        trial = FrozenTrial(
            number=number,
            trial_id=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs=self._rungs(bracket, values),
            intermediate_values={**values, step: value},
        )
        values[step] = value
        view = _KnownStudy(self._finished[bracket], known, self._direction)
        with silence():
            return bool(self._pruner(bracket).prune(cast(Study, view), trial))

    def _pruner(self, bracket: int) -> BasePruner:
        if self._name == "median":
            return MedianPruner(**self._options)
        if self._name == "wilcoxon":
            return WilcoxonPruner(**self._options)
        options = {k: v for k, v in self._options.items() if k != "max_resource"}
        if self._name == "hyperband":
            options["min_early_stopping_rate"] = bracket
        return SuccessiveHalvingPruner(**options)

    def _bracket(self, number: int) -> int:
        """Hyperband's bracket of a trial, as Optuna draws it for a study named ``sweep``."""
        if len(self._budgets) == 1:
            return 0
        n = zlib.crc32(f"sweep_{number}".encode()) % sum(self._budgets)
        return bisect_right(list(accumulate(self._budgets)), n)

    def _rungs(self, bracket: int, values: Mapping[int, float]) -> dict[str, float]:
        """Return the value at each rung passed, under the keys of successive halving."""
        if self._name not in ("successive_halving", "hyperband"):
            return {}
        factor = self._options["reduction_factor"]
        early = self._options.get("min_early_stopping_rate", bracket)
        rungs: dict[str, float] = {}
        for step in sorted(values):
            while self._options["min_resource"] * factor ** (early + len(rungs)) <= step:
                rungs[f"completed_rung_{len(rungs)}"] = values[step]
        return rungs


def _hyperband_budgets(options: Mapping[str, Any]) -> list[int]:
    """Return the share of trials of each bracket, as Optuna's Hyperband has it.

    References
    ----------
    Li et al. (2018), Hyperband, JMLR 18(185), algorithm 1.
    """
    low, high = options["min_resource"], options["max_resource"]
    factor = options["reduction_factor"]
    if low < 1 or high < low or factor < 2:
        raise ValueError(
            f"needs 1 <= min_resource <= max_resource and reduction_factor >= 2, found "
            f"min_resource {low}, max_resource {high}, reduction_factor {factor}"
        )
    n = math.floor(math.log(high / low, factor)) + 1
    return [math.ceil(n * factor ** (n - 1 - k) / (n - k)) for k in range(n)]


class _Finished:
    """Finished trials of a bracket, with the best complete one up to each of them."""

    def __init__(self, direction: StudyDirection) -> None:
        self._sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
        self.trials: list[FrozenTrial] = []
        self.complete: list[FrozenTrial] = []
        self._best: list[FrozenTrial | None] = []

    def add(self, trial: FrozenTrial) -> None:
        _insert(self.trials, trial)
        if trial.state == TrialState.COMPLETE:
            at = _insert(self.complete, trial)
            del self._best[at:]
            for later in self.complete[at:]:
                self._best.append(self._better(self._best[-1] if self._best else None, later))

    def best(self, known: int) -> FrozenTrial | None:
        n = bisect_left(self.complete, known, key=_number)
        return self._best[n - 1] if n else None

    def _better(self, best: FrozenTrial | None, trial: FrozenTrial) -> FrozenTrial | None:
        if any(c > 0.0 for c in trial.constraints.values()):
            return best
        if best is None or self._sign * cast(float, trial.value) < self._sign * cast(
            float, best.value
        ):
            return trial
        return best


def _number(trial: FrozenTrial) -> int:
    return trial.number


def _insert(trials: list[FrozenTrial], trial: FrozenTrial) -> int:
    at = bisect_left(trials, trial.number, key=_number)
    if at < len(trials) and trials[at].number == trial.number:
        raise ValueError(f"trial {trial.number} was told before")
    trials.insert(at, trial)
    return at


class _KnownStudy:
    """What pruners use of a study, with the trials numbered below ``known`` in it."""

    def __init__(self, finished: _Finished, known: int, direction: StudyDirection) -> None:
        self._finished = finished
        self._known = known
        self.direction = direction
        self._storage = _NoStorage()

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        source = self._finished.trials
        if states is not None and TrialState.PRUNED not in states:
            source = self._finished.complete
        return source[: bisect_left(source, self._known, key=_number)]

    @property
    def best_trial(self) -> FrozenTrial:
        best = self._finished.best(self._known)
        if best is None:
            raise ValueError("No trials are completed yet.")
        return best


class _NoStorage:
    """Successive halving notes rungs in the storage; here they follow from the values."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        pass
