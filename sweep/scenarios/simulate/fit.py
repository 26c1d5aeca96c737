"""Maximum likelihood of the price processes.

Returns are scaled to a standard deviation of 1 before they are fitted, so that starts and
bounds mean the same on every market. A model that the data cannot tell from a simpler one
is refused: its parameters would be arbitrary.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, logit

from sweep.scenarios.simulate import likelihoods
from sweep.scenarios.simulate.fit_regimes import fit_regimes
from sweep.scenarios.simulate.fitted import (
    RATIO,
    Estimate,
    Fitted,
    Sample,
    estimate,
    gaussian,
    no_errors,
    refuse,
)
from sweep.scenarios.simulate.observe import Observed
from sweep.scenarios.simulate.optimum import maximise
from sweep.scenarios.simulate.processes import Garch, Gbm, Merton
from sweep.schema import FloatArray1D

__all__ = ["fit_process"]

#: Returns below which a fit is refused.
_FEW_RETURNS = {"gbm": 30, "merton": 500, "garch": 500, "regimes": 500}

#: Borders: beyond them the fit stands for something that the model is not.
_MAX_PERSISTENCE = 0.9995
_MIN_NU = 2.05


def fit_process(model: str, observed: Observed, regimes: int) -> Fitted:
    """Fit a price process to returns on the clock.

    Parameters
    ----------
    model : {"gbm", "merton", "garch", "regimes"}
    observed : Observed
    regimes : int
        Number of regimes.

    Returns
    -------
    Fitted

    Raises
    ------
    DataError
        If the returns cannot carry the model; the text says why.
    """
    x = np.concatenate(observed.returns)
    if len(x) < _FEW_RETURNS[model]:
        raise refuse(
            model,
            f"there are {len(x)} returns of {observed.clock / 1e9:g} s, fewer than "
            f"{_FEW_RETURNS[model]}; give more ticks or a shorter clock",
        )
    scale = float(x.std())
    if not scale > 1e-12:
        raise refuse(model, "the returns have no variance")
    first = np.zeros(len(x), np.bool_)
    first[np.cumsum([0, *map(len, observed.returns)])[:-1].clip(max=len(x) - 1)] = True
    gap_steps = round(observed.session.gap / observed.clock)
    sample = Sample(x / scale, first, scale, gap_steps, observed.clock / observed.session.year)
    if model == "regimes":
        return fit_regimes(sample, observed.clock / 1e9, regimes)
    if model == "garch":
        return _fit_garch(sample, observed.clock / 1e9)
    return _fit_merton(sample) if model == "merton" else _fit_gbm(sample)


def _fit_gbm(sample: Sample) -> Fitted:
    x, scale, dt = sample.x, sample.scale, sample.dt
    n, mean = len(x), float(sample.x.mean()) * scale
    volatility = scale / math.sqrt(dt)
    drift = mean / dt + 0.5 * volatility**2
    error = volatility / math.sqrt(2 * n)
    estimates = (
        Estimate("drift", drift, math.hypot(volatility / math.sqrt(n * dt), volatility * error)),
        Estimate("volatility", volatility, error),
    )
    method = "maximum likelihood of independent normal log-returns (mean and sd with divisor n)"
    return Fitted(Gbm(drift, volatility), estimates, gaussian(x) - n * math.log(scale), method)


def _fit_merton(sample: Sample) -> Fitted:
    x, scale, dt = sample.x, sample.scale, sample.dt

    def unpack(theta: FloatArray1D) -> tuple[float, float, float, float, float]:
        mean, sd, jumps, jump_mean, jump_sd = theta
        return mean, math.exp(2 * sd), math.exp(jumps), jump_mean, math.exp(2 * jump_sd)

    # The likelihood is unbounded where a component's variance vanishes (Kiefer, 1978), so
    # that the sds have floors (Honore, 1998); beyond one jump a step jumps are noise.
    log = math.log
    bounds = [(-5.0, 5.0), (log(0.1), log(1.1)), (log(1e-5), 0.0), (-20.0, 20.0), (log(0.3), 4.0)]
    starts = [
        [0.0, log(0.9), log(0.01), 0.0, log(4.0)],
        [0.0, log(0.7), log(0.1), 0.0, log(2.0)],
        [0.0, log(0.5), log(0.5), 0.0, log(1.0)],
    ]
    found = maximise(lambda t: likelihoods.merton(x, *unpack(t)), starts, bounds, len(x))
    ratio = 2.0 * (found.value - gaussian(x))
    if ratio < RATIO[3]:
        raise refuse(
            "merton",
            f"jumps cannot be told from the diffusion's noise (twice the gain in log-likelihood "
            f"is {ratio:.2f}, below {RATIO[3]}); use gbm",
        )

    def natural(theta: FloatArray1D) -> FloatArray1D:
        mean, var, jumps, jump_mean, jump_var = unpack(theta)
        volatility, lam = scale * math.sqrt(var / dt), jumps / dt
        m, s = scale * jump_mean, scale * math.sqrt(jump_var)
        drift = scale * mean / dt + 0.5 * volatility**2 + lam * math.expm1(m + 0.5 * s * s)
        return np.array([drift, volatility, lam, m, s])

    names = ("drift", "volatility", "jumps_per_year", "jump_mean", "jump_sd")
    estimates = estimate(names, found, natural)
    if found.theta[2] > bounds[2][1] - 1e-6:
        raise refuse(
            "merton",
            "the best fit has one jump or more in every step of the clock, which are no jumps; "
            "use a shorter clock, garch or regimes",
        )
    notes = () if found.covariance is not None else (no_errors("merton"),)
    return Fitted(
        Merton(*(e.value for e in estimates)),
        estimates,
        found.value - len(x) * math.log(scale),
        "maximum likelihood of the Poisson mixture of normals (Merton, 1976; sds with floors "
        "as in Honore, 1998)",
        notes,
    )


def _fit_garch(sample: Sample, step: float) -> Fitted:
    x, first, scale, gap_steps, dt = sample

    def unpack(theta: FloatArray1D) -> tuple[float, float, float, float, float]:
        mean, level, persistence, share, shape = theta
        total = float(expit(persistence))
        alpha = total * float(expit(share))
        return mean, math.exp(level), alpha, total - alpha, 2.0 + math.exp(shape)

    def log_likelihood(theta: FloatArray1D) -> float:
        return float(likelihoods.garch(x, first, gap_steps, *unpack(theta)))

    bounds = [(-5.0, 5.0), (-5.0, 5.0), (-4.0, 12.0), (-12.0, 6.0), (-6.0, 5.0)]
    starts = [
        [0.0, 0.0, float(logit(p)), float(logit(a / p)), math.log(6.0)]
        for p, a in ((0.98, 0.05), (0.9, 0.1), (0.6, 0.2))
    ]
    found = maximise(log_likelihood, starts, bounds, len(x))
    flat = maximise(
        lambda t: log_likelihood(np.array([t[0], t[1], -4.0, -12.0, t[2]])),
        [[0.0, 0.0, math.log(6.0)]],
        [bounds[0], bounds[1], bounds[4]],
        len(x),
    )
    ratio = 2.0 * (found.value - flat.value)
    if ratio < RATIO[2]:
        raise refuse(
            "garch",
            f"the volatility does not cluster (twice the gain in log-likelihood over constant "
            f"volatility is {ratio:.2f}, below {RATIO[2]})",
        )

    def natural(theta: FloatArray1D) -> FloatArray1D:
        mean, level, alpha, beta, nu = unpack(theta)
        volatility = scale * math.sqrt(level / dt)
        return np.array([scale * mean / dt + 0.5 * volatility**2, volatility, alpha, beta, nu])

    estimates = estimate(("drift", "volatility", "alpha", "beta", "nu"), found, natural)
    drift, volatility, alpha, beta, nu = (e.value for e in estimates)
    if alpha + beta > _MAX_PERSISTENCE:
        raise refuse(
            "garch",
            f"alpha + beta = {alpha + beta:.5f} lies at the border of 1, where the variance has "
            f"no mean; a longer clock, or returns without their season of the day, may help",
        )
    if nu < _MIN_NU:
        raise refuse("garch", f"nu = {nu:.3f} lies at the border of 2: tails without a variance")
    return Fitted(
        Garch(drift, volatility, alpha, beta, nu, step),
        estimates,
        found.value - len(x) * math.log(scale),
        "maximum likelihood with Student-t shocks (Bollerslev, 1987); over gaps the variance "
        "is the expected one",
        () if found.covariance is not None else (no_errors("garch"),),
    )
