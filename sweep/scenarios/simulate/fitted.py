"""What fits have in common: estimates, their scaling, and how a fit is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sweep.errors import DataError
from sweep.scenarios.simulate.optimum import Optimum
from sweep.schema import FloatArray1D

__all__ = ["RATIO", "Estimate", "Fitted", "Sample", "estimate", "gaussian", "no_errors", "refuse"]

#: Likelihood ratios (twice the gain) that a richer model must reach: the 99 % points of
#: chi-squared with as many degrees of freedom as it has more parameters. Under the simpler
#: model some are not identified, so that the level is nominal.
RATIO = {2: 9.21, 3: 11.34}


class Estimate(NamedTuple):
    """A fitted parameter.

    Attributes
    ----------
    name : str
    value : float
    error : float or None
        Standard error from the observed information; None where it has none (at a bound).
    """

    name: str
    value: float
    error: float | None


class Fitted(NamedTuple):
    """A process or arrivals with the estimates behind it.

    Attributes
    ----------
    part : Gbm, Merton, Garch, Regimes, Poisson or Hawkes
    estimates : tuple of Estimate
    log_likelihood : float
    method : str
        What was maximised, with its source.
    notes : tuple of str
    """

    part: Any
    estimates: tuple[Estimate, ...]
    log_likelihood: float
    method: str
    notes: tuple[str, ...] = ()


class Sample(NamedTuple):
    """Returns of variance 1 in a row; what undoes the scaling; steps of a gap; years."""

    x: FloatArray1D
    first: Any
    scale: float
    gap_steps: int
    dt: float


def refuse(model: str, why: str) -> DataError:
    """Error for data that cannot carry a model."""
    return DataError(f"{model} cannot be fitted because {why}")


def estimate(
    names: Sequence[str], optimum: Optimum, natural: Callable[[FloatArray1D], FloatArray1D]
) -> tuple[Estimate, ...]:
    """Estimates and standard errors of natural parameters, which are functions of theta."""
    values, errors = natural(optimum.theta).tolist(), optimum.errors(natural)
    return tuple(Estimate(*row) for row in zip(names, values, errors, strict=True))


def gaussian(x: FloatArray1D) -> float:
    """Largest log-likelihood of independent normal values of variance 1."""
    return -0.5 * len(x) * (math.log(2.0 * math.pi) + 1.0)


def no_errors(model: str) -> str:
    """Note for a fit whose information matrix is of no use."""
    return f"{model}: no standard errors; the best fit lies at a bound or on a ridge"
