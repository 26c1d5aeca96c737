"""Which parameters make a setting good, by Optuna's PED-ANOVA."""

from __future__ import annotations

import warnings

import numpy as np

from sweep.schema import FloatArray1D, FloatArray2D
from sweep.search.neighbourhood import is_free, scaled
from sweep.strategy.parameters import Categorical
from sweep.strategy.space import SearchSpace

__all__ = ["importances"]

#: Below, the best tenth has fewer than ten trials, and shares mean little.
_FEWEST = 100
#: Trials that enter at most: the evaluator's time grows with them, its answer hardly.
_MOST = 5000


def importances(
    space: SearchSpace, rows: FloatArray2D, values: FloatArray1D, direction: str
) -> tuple[dict[str, float], str]:
    """Return how much each parameter decides over whether a setting is among the best tenth.

    Parameters
    ----------
    space : SearchSpace
    rows : ndarray of shape (n_trials, n_params), float64
        Canonical; distinct trials with a value.
    values : ndarray of shape (n_trials,), float64
    direction : str

    Returns
    -------
    shares : dict of str to float
        That add up to 1, by parameters that count in every trial and have several values;
        empty where it cannot be said.
    reason : str
        Why it cannot, or empty.

    References
    ----------
    Watanabe, Bansal & Hutter (2023), PED-ANOVA: efficiently quantifying hyperparameter
    importance in arbitrary subspaces, IJCAI, section 4.
    """
    if len(rows) < _FEWEST:
        return {}, f"{len(rows)} trials with a value; at least {_FEWEST} are needed"
    if values.min() == values.max():
        return {}, "all trials have one value"
    _, active = space.settled(rows)
    used = [i for i, p in enumerate(space.parameters) if p.count != 1 and active[:, i].all()]
    if len(used) < 2:
        return {}, "fewer than 2 parameters count in every trial"
    if len(rows) > _MOST:
        # Evenly by rank, so that the best tenth stays a tenth.
        order = np.argsort(values, kind="stable")
        places = order[np.round(np.linspace(0, len(rows) - 1, _MOST)).astype(np.int64)]
        rows, values = rows[places], values[places]
    found = _evaluated(space, rows, values, direction, used)
    total = sum(found.values())
    if not total > 0.0:
        return {}, "no parameter tells the best tenth from the rest"
    return {name: share / total for name, share in found.items()}, ""


def _evaluated(
    space: SearchSpace, rows: FloatArray2D, values: FloatArray1D, direction: str, used: list[int]
) -> dict[str, float]:
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
    )
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.study import StudyDirection

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    units = scaled(space, rows)
    axes: dict[str, BaseDistribution] = {}
    for i in used:
        p = space.parameters[i]
        axes[p.name] = (
            CategoricalDistribution(range(p.count))
            if isinstance(p, Categorical)
            else FloatDistribution(0.0, 1.0)
        )
    study = optuna.create_study(direction=StudyDirection[direction.upper()])
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={
                    space.names[i]: float(min(max(u[i], 0.0), 1.0))
                    if is_free(space.parameters[i])
                    else int(u[i])
                    for i in used
                },
                distributions=axes,
                value=float(value),
            )
            for u, value in zip(units, values, strict=True)
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = PedAnovaImportanceEvaluator()
        return {k: float(v) for k, v in evaluator.evaluate(study).items()}
