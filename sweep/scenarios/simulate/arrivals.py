"""Maximum likelihood of arrivals."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit

from sweep.scenarios.simulate import likelihoods
from sweep.scenarios.simulate.fit import (
    RATIO,
    Estimate,
    Fitted,
    estimate,
    maximise,
    no_errors,
    refuse,
)
from sweep.scenarios.simulate.observe import Observed
from sweep.scenarios.simulate.spec import Hawkes, Poisson
from sweep.schema import FloatArray1D

__all__ = ["fit_arrivals"]

#: Ticks below which a fit is refused.
_FEW_TICKS = {"poisson": 30, "hawkes": 500}

#: Beyond this a drift of the rate passes for self-excitation.
_MAX_BRANCHING = 0.98

#: Ticks on which all starts are tried; the best of them goes on to all ticks.
_ROUGH = 50_000


def fit_arrivals(model: str, observed: Observed) -> Fitted:
    """Fit arrivals to the stamps of the ticks.

    Parameters
    ----------
    model : {"poisson", "hawkes"}
    observed : Observed

    Returns
    -------
    Fitted

    Raises
    ------
    DataError
        If the stamps cannot carry the model; the text says why.
    """
    counts = np.array([len(t) for t in observed.times])
    n, watched = int(counts.sum()), float(observed.lengths.sum())
    if n < _FEW_TICKS[model]:
        raise refuse(model, f"there are {n} ticks, fewer than {_FEW_TICKS[model]}")
    rate = n / watched
    simple = n * math.log(rate) - n
    if model == "poisson":
        estimates = (Estimate("rate", rate, math.sqrt(n) / watched),)
        return Fitted(Poisson(rate), estimates, simple, "maximum likelihood: ticks / seconds")
    times, ends = np.concatenate(observed.times), np.cumsum(counts)

    def unpack(theta: FloatArray1D) -> tuple[float, float, float]:
        return math.exp(theta[0]), float(expit(theta[1])), math.exp(theta[2])

    def log_likelihood(theta: FloatArray1D, sessions: int = len(ends)) -> float:
        return float(
            likelihoods.hawkes(
                times[: ends[sessions - 1]],
                ends[:sessions],
                observed.lengths[:sessions],
                *unpack(theta),
            )
        )

    log = math.log
    bounds = [(log(rate) - 12.0, log(rate) + 1.0), (-8.0, 8.0), (log(rate) - 9.0, log(rate) + 9.0)]
    rough = [[log(0.5 * rate), 0.0, log(rate * speed)] for speed in (0.1, 1.0, 10.0)]
    # All starts on the first ticks alone, the best of them on all.
    some = min(int(np.searchsorted(ends, _ROUGH)) + 1, len(ends))
    begun = maximise(lambda t: log_likelihood(t, some), rough, bounds, int(ends[some - 1]))
    found = begun
    if some < len(ends):
        found = maximise(log_likelihood, [begun.theta.tolist()], bounds, n)
    ratio = 2.0 * (found.value - simple)
    if ratio < RATIO[2]:
        raise refuse(
            "hawkes",
            f"the arrivals cannot be told from independent ones (twice the gain in "
            f"log-likelihood is {ratio:.2f}, below {RATIO[2]}); use poisson",
        )
    fitted = estimate(("baseline", "branching", "decay"), found, lambda t: np.array(unpack(t)))
    branching = fitted[1].value
    if branching > _MAX_BRANCHING:
        raise refuse(
            "hawkes",
            f"the branching ratio {branching:.4f} lies at the border of 1; a rate that drifts "
            f"over the day looks like that: take a part of the day (session), or use poisson",
        )
    return Fitted(
        Hawkes(*(e.value for e in fitted)),
        fitted,
        found.value,
        "maximum likelihood (Ozaki, 1979, Annals Inst. Statistical Mathematics 31, 145-155)",
        () if found.covariance is not None else (no_errors("hawkes"),),
    )
