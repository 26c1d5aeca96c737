"""Samplers with a model, by Optuna: ask, tell, stop on the way, save and go on.

The study that a sampler learns from lives in memory and holds what steers it, which is
not always what happened: the trials as they happened go to :mod:`sweep.study.optuna_mirror`.

How trials are told, where a sampler cannot take them as they are:

========== ==================== ==================== =============== ==================
sampler    infeasible           failed, invalid,     pruned          several objectives
                                undefined
========== ==================== ==================== =============== ==================
tpe        values, constraints  pruned, with a huge  as pruned       yes
                                violation
nsga2      values, constraints  with a huge          as pruned       yes
                                violation
gp         values, constraints  as the worst seen    as pruned       yes
cmaes      after all feasible,  after all others     as pruned       no
           by its violation
========== ==================== ==================== =============== ==================

TPE and NSGA-II rank infeasible trials after all feasible ones and among themselves by
their violation (Deb 2000, An efficient constraint handling method for genetic algorithms,
CMAME 186, section 3). CMA-ES uses the order of values alone, so a penalty far beyond all
values that grows with the violation comes to the same. A Gaussian process, told nothing,
would propose the same point again: it is shown the worst values seen so far.

TPE is asked for the parameters that count, and models those that count together apart.
The others know nothing of conditions (Optuna's CMA-ES turns to random points for good
once a parameter drops out), so they are asked for all parameters, and values of those
that do not count are left out of the point.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from sweep.errors import StudyMismatchError
from sweep.search.outcomes import Outcome, Proposal, pareto_front
from sweep.search.pruning import Pruning, make_pruning, silence
from sweep.search.samplers import MODEL_SAMPLERS, build_sampler, sampler_options
from sweep.strategy.parameters import Categorical, Number, Parameter
from sweep.strategy.space import SearchSpace
from sweep.text import STATES

__all__ = [
    "MODEL_SAMPLERS",
    "Outcome",
    "Proposal",
    "Pruning",
    "Sampler",
    "make_pruning",
    "pareto_front",
    "sampler_options",
]

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: The form of a snapshot.
SNAPSHOT = "sweep sampler 1"

#: The violation of a trial that tells nothing else: beyond any real one.
UNUSABLE = 1e12

#: Beyond any objective's value; see `_penalised`.
PENALTY = 1e100


class Sampler:
    """Proposes points, given the outcomes of earlier ones.

    Deterministic: the same calls in the same order give the same proposals, to the bit,
    in any process and after `restore`.

    Parameters
    ----------
    space : SearchSpace
    name : str
        One of `MODEL_SAMPLERS`.
    options : mapping, optional
        See `sampler_options`. TPE's defaults here: multivariate for a single objective,
        grouped where the space has conditional parameters, with the constant liar.
    seed : int
    directions : sequence of str
        ``"maximize"`` or ``"minimize"``, one an objective.
    n_constraints : int, optional
        Requirements on the results; each outcome with values has as many constraints.
    pruner : Pruning, optional
        From `make_pruning`.

    Raises
    ------
    StudyFileError
        For an unknown sampler or option, a bad value, a missing package, or several
        objectives where the sampler takes one.
    """

    def __init__(
        self,
        space: SearchSpace,
        name: str,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        directions: Sequence[str] = ("maximize",),
        n_constraints: int = 0,
        pruner: Pruning | None = None,
    ) -> None:
        sampler = build_sampler(
            name,
            options or {},
            seed=seed,
            n_objectives=len(directions),
            conditional=space.conditional,
        )
        self._name = name
        self._use(space)
        self._signs = tuple(1.0 if d == "minimize" else -1.0 for d in directions)
        self._n_constraints = n_constraints
        self._pruning = pruner
        self._asked: dict[int, Trial] = {}
        self._worst: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        with silence():
            self._study = optuna.create_study(
                storage=optuna.storages.InMemoryStorage(),
                sampler=sampler,
                pruner=optuna.pruners.NopPruner(),
                study_name="sweep",
                directions=[StudyDirection[d.upper()] for d in directions],
            )

    def _use(self, space: SearchSpace) -> None:
        self._space = space
        self._axes = [_axis(p) for p in space.parameters]
        self._always = {
            p.name: axis.distribution
            for p, axis in zip(space.parameters, self._axes, strict=True)
            if axis is not None and (p.when is None or self._name != "tpe")
        }

    # -- ask and tell ------------------------------------------------------------------

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Let ``values`` be asked next, after those enqueued before.

        Parameters
        ----------
        values : mapping of str to object
            By parameter; the missing ones take their defaults.

        Raises
        ------
        SpaceError
            For an unknown parameter or a value out of its range.
        """
        point = self._space.encode(values)
        asked = {*self._always, *self._space.active_names(point)}
        self._study.enqueue_trial(
            {
                p.name: axis.suggested(float(point[i]))
                for i, (p, axis) in enumerate(zip(self._space.parameters, self._axes, strict=True))
                if axis is not None and p.name in asked
            }
        )

    def ask(self) -> Proposal:
        """Return the next point.

        Returns
        -------
        Proposal
            Numbered from 0 in the order of asking. It may break the strategy's
            constraint, or repeat an earlier point; how often is up to the caller.

        Raises
        ------
        SpaceError
            If a strategy's function of parameters raises.
        """
        with silence():
            trial = self._study.ask(dict(self._always))
            point = np.empty(len(self._axes))
            values: dict[str, Any] = {}
            for i, (p, axis) in enumerate(zip(self._space.parameters, self._axes, strict=True)):
                if not self._space.is_active(i, values):
                    point[i] = p.encode(p.default)
                elif axis is None:
                    point[i] = p.low if isinstance(p, Number) else 0.0
                else:
                    point[i] = axis.encoded(_suggest(trial, p.name, axis.distribution))
                values[p.name] = p.decode([float(point[i])])[0]
        self._asked[trial.number] = trial
        return Proposal(trial.number, point, self._space.is_valid(point))

    def tell(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a trial.

        Parameters
        ----------
        number : int
            Of a trial that was asked and not told yet.
        outcome : Outcome
            One value an objective and one constraint a requirement, where it has values.
        """
        if number not in self._asked:
            raise ValueError(f"trial {number} was not asked, or was told before")
        if outcome.state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}; found {outcome.state!r}")
        if outcome.measured:
            self._check_lengths(number, outcome)
        trial = self._asked.pop(number)
        with silence():
            if outcome.state == "pruned":
                self._tell_pruned(trial, outcome.intermediate)
            elif outcome.measured and (outcome.state == "complete" or outcome.constraints):
                self._tell_values(trial, outcome)
            else:
                self._tell_unusable(trial)
        if self._pruning is not None:
            self._pruning.add(number, outcome)

    def should_prune(self, number: int, step: int, value: float, *, known: int) -> bool:
        """Whether to stop a trial after a slice; see `Pruning.should_prune`."""
        if self._pruning is None:
            return False
        return self._pruning.should_prune(number, step, value, known=known)

    def _check_lengths(self, number: int, outcome: Outcome) -> None:
        found = len(outcome.values or ()), len(outcome.constraints)
        expected = len(self._signs), self._n_constraints
        if found != expected:
            raise ValueError(
                f"trial {number} has {found[0]} values and {found[1]} constraints; "
                f"this study has {expected[0]} and {expected[1]}"
            )

    def _tell_values(self, trial: Trial, outcome: Outcome) -> None:
        assert outcome.values is not None
        values, constraints = outcome.values, outcome.constraints
        violation = sum(c for c in constraints if c > 0.0)
        if self._name == "cmaes":
            if violation > 0.0 or outcome.state == "infeasible":
                values = (self._penalised(violation),)
        else:
            for i, constraint in enumerate(constraints):
                trial.set_constraint(str(i), constraint)
            self._note_worst(values, constraints)
        self._study.tell(trial, list(values))

    def _tell_pruned(self, trial: Trial, intermediate: Sequence[float]) -> None:
        # Samplers look at the last value alone.
        finite = [(k, v) for k, v in enumerate(intermediate, 1) if math.isfinite(v)]
        if finite and len(self._signs) == 1:
            trial.report(finite[-1][1], finite[-1][0])
        self._study.tell(trial, state=TrialState.PRUNED)

    def _tell_unusable(self, trial: Trial) -> None:
        if self._name == "tpe":
            trial.set_constraint("unusable", UNUSABLE)
            self._study.tell(trial, state=TrialState.PRUNED)
        elif self._name == "nsga2":
            # Among trials with a violation the values do not count.
            trial.set_constraint("unusable", UNUSABLE)
            self._study.tell(trial, [0.0] * len(self._signs))
        elif self._name == "cmaes":
            self._study.tell(trial, [3.0 * self._penalised(0.0)])
        elif self._name == "gp" and self._worst is not None:
            for i, constraint in enumerate(self._worst[1]):
                trial.set_constraint(str(i), constraint)
            self._study.tell(trial, list(self._worst[0]))
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def _penalised(self, violation: float) -> float:
        return self._signs[0] * PENALTY * (1.0 + violation / (1.0 + violation))

    def _note_worst(self, values: tuple[float, ...], constraints: tuple[float, ...]) -> None:
        if self._worst is None:
            self._worst = values, constraints
            return
        signs = self._signs
        self._worst = (
            tuple(
                s * max(s * a, s * b) for s, a, b in zip(signs, self._worst[0], values, strict=True)
            ),
            tuple(max(a, b) for a, b in zip(self._worst[1], constraints, strict=True)),
        )

    # -- saving ------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Return the whole state, from which `restore` continues to the bit.

        Some 0.4 kB a trial (3 kB for ``cmaes``) and 10 microseconds.
        """
        state = {k: v for k, v in vars(self).items() if k not in _OF_SPACE}
        return pickle.dumps((SNAPSHOT, optuna.__version__, self._space.names, state), protocol=5)

    @classmethod
    def restore(cls, data: bytes, space: SearchSpace) -> Sampler:
        """Return the sampler that `snapshot` was called on.

        Parameters
        ----------
        data : bytes
            Which a process of this user wrote: unpickling executes what they say.
        space : SearchSpace
            The same as before.

        Returns
        -------
        Sampler

        Raises
        ------
        StudyMismatchError
            If the snapshot is of another space or was made by another Optuna, or is
            damaged. The trials can then be asked and told again.
        """
        try:
            form, version, names, state = pickle.loads(data)
        except Exception as error:
            raise StudyMismatchError(
                f"the sampler's snapshot is damaged ({type(error).__name__}: {error})"
            ) from None
        if (form, version, names) != (SNAPSHOT, optuna.__version__, space.names):
            raise StudyMismatchError(
                f"the sampler's snapshot was made by optuna {version} for {', '.join(names)}; "
                f"this is optuna {optuna.__version__} and {', '.join(space.names)}"
            )
        self = cls.__new__(cls)
        vars(self).update(state)
        self._use(space)
        return self


#: Attributes that follow from the space, whose functions cannot be pickled.
_OF_SPACE = ("_space", "_axes", "_always")


# -- parameters as a sampler sees them -------------------------------------------------


@dataclass(frozen=True)
class _Axis:
    """A parameter as a sampler sees it: the value itself, or a level's number.

    Levels are searched by number, so that a value is always ``low + k * step`` to the
    bit. On a logarithmic scale the numbers start at ``low / step``, rounded: Optuna has
    no steps there, and the logarithm of such a number is that of the value, less a
    constant (nearly, where ``low`` is no multiple of ``step``).
    """

    parameter: Parameter
    distribution: BaseDistribution
    first: int | None  # the number of the lowest level; None: the value itself

    def encoded(self, suggested: Any) -> float:
        if self.first is None:
            return float(suggested)
        assert isinstance(self.parameter, Number)
        return float(self.parameter.level(float(int(suggested) - self.first)))

    def suggested(self, encoded: float) -> Any:
        p = self.parameter
        if not isinstance(p, Number):
            return int(encoded)
        return encoded if self.first is None else self.first + int(p.nearest(encoded))


def _axis(p: Parameter) -> _Axis | None:
    """Return how a parameter is searched; None if it has a single value."""
    count = p.count
    if count == 1:
        return None
    if isinstance(p, Categorical):
        return _Axis(p, CategoricalDistribution(tuple(range(p.count))), None)
    assert isinstance(p, Number)
    if count is None:
        return _Axis(p, FloatDistribution(p.low, p.high, log=p.log), None)
    first = max(1, round(p.low / (p.step or 1.0))) if p.log else 0
    return _Axis(p, IntDistribution(first, first + count - 1, log=p.log), first)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
