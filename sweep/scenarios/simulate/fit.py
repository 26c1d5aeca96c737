"""Maximum likelihood of the price processes.

Returns are scaled to a standard deviation of 1 before they are fitted, so that starts and
bounds mean the same on every market. A model that the data cannot tell from a simpler one
is refused: its parameters would be arbitrary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from sweep.errors import DataError
from sweep.scenarios.simulate import likelihoods
from sweep.scenarios.simulate.observe import Observed
from sweep.scenarios.simulate.processes import Garch, Gbm, Merton, Regimes
from sweep.schema import FloatArray1D, FloatArray2D

__all__ = [
    "RATIO",
    "Estimate",
    "Fitted",
    "estimate",
    "fit_process",
    "maximise",
    "no_errors",
    "refuse",
]

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


#: Relative width of the differences for second derivatives: the fourth root of a double's
#: precision balances truncation and rounding.
_WIDTH = float(np.finfo(np.float64).eps) ** 0.25


@dataclass(frozen=True)
class Optimum:
    """Where a log-likelihood is highest.

    Attributes
    ----------
    theta : ndarray of shape (n,), float64
    value : float
        The log-likelihood there.
    covariance : ndarray of shape (n, n), float64, or None
        Inverse of the observed information; None where that is not positive definite.
    """

    theta: FloatArray1D
    value: float
    covariance: FloatArray2D | None

    def errors(self, natural: Callable[[FloatArray1D], FloatArray1D]) -> list[float | None]:
        """Standard errors of functions of theta, by the delta method."""
        base = natural(self.theta)
        if self.covariance is None:
            return [None] * len(base)
        slope = np.empty((len(base), len(self.theta)))
        for j in range(len(self.theta)):
            step = 1e-6 * max(1.0, abs(self.theta[j]))
            shifted = [self.theta.copy(), self.theta.copy()]
            shifted[0][j] += step
            shifted[1][j] -= step
            slope[:, j] = (natural(shifted[0]) - natural(shifted[1])) / (2.0 * step)
        variance = np.einsum("ij,jk,ik->i", slope, self.covariance, slope)
        return [math.sqrt(v) if v >= 0.0 else None for v in variance.tolist()]


def maximise(
    log_likelihood: Callable[[FloatArray1D], float],
    starts: Sequence[Sequence[float]],
    bounds: Sequence[tuple[float, float]],
    n: int,
) -> Optimum:
    """Maximise a log-likelihood of n observations from several starts.

    L-BFGS-B on the mean, so that tolerances do not depend on n; of equal optima the first
    start's is kept.

    Parameters
    ----------
    log_likelihood : callable
        From theta to its sum over the observations.
    starts : sequence of sequence of float
    bounds : sequence of (float, float)
    n : int

    Returns
    -------
    Optimum
    """

    def mean(theta: FloatArray1D) -> float:
        value = -log_likelihood(theta) / n
        return value if math.isfinite(value) else 1e10

    best = None
    for start in starts:
        found = minimize(
            mean,
            np.array(start, np.float64),
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-13, "gtol": 1e-8, "maxiter": 500},
        )
        if best is None or found.fun < best.fun - 1e-12:
            best = found
    assert best is not None
    theta: FloatArray1D = best.x
    return Optimum(theta, -float(best.fun) * n, _covariance(mean, theta, bounds, n))


def _covariance(
    mean: Callable[[FloatArray1D], float],
    theta: FloatArray1D,
    bounds: Sequence[tuple[float, float]],
    n: int,
) -> FloatArray2D | None:
    k = len(theta)
    width = _WIDTH * np.maximum(np.abs(theta), 1.0)
    if any(
        t - w <= low or t + w >= high
        for t, w, (low, high) in zip(theta, width, bounds, strict=True)
    ):
        return None  # at a bound the likelihood is no parabola
    units = np.diag(width)
    hessian = np.empty((k, k))
    for i in range(k):
        for j in range(i + 1):
            corners = [mean(theta + a * units[i] + b * units[j]) for a in (1, -1) for b in (1, -1)]
            curve = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * width[i] * width[j])
            hessian[i, j] = hessian[j, i] = curve
    try:
        np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        return None
    covariance: FloatArray2D = np.linalg.inv(hessian) / n
    return covariance


#: Returns that a regime must hold.
_FEW_IN_REGIME = 20


def fit_regimes(sample: Sample, step: float, k: int) -> Fitted:
    """Fit k regimes; see :func:`sweep.scenarios.simulate.fit.fit_process`.

    Parameters
    ----------
    sample : Sample
    step : float
        Seconds between two returns.
    k : int
        From 2 to 5.

    Returns
    -------
    Fitted
        Regimes in the order of their volatilities.

    Raises
    ------
    DataError
        If the returns cannot carry them.
    """
    x, first, scale, gap_steps, dt = sample
    if isinstance(k, bool) or not isinstance(k, int) or not 2 <= k <= 5:
        raise DataError(f"regimes: {k!r} is not a whole number from 2 to 5")

    def unpack(theta: FloatArray1D) -> tuple[FloatArray1D, FloatArray1D, FloatArray1D]:
        logits = np.zeros((k, k))  # relative to staying
        logits[~np.eye(k, dtype=bool)] = theta[2 * k :]
        weights = np.exp(logits)
        return theta[:k], np.exp(2 * theta[k : 2 * k]), weights / weights.sum(1, keepdims=True)

    def log_likelihood(theta: FloatArray1D) -> float:
        means, variances, move = unpack(theta)
        density = likelihoods.densities(x, means, variances)
        over = np.linalg.matrix_power(move, 1 + gap_steps)
        start = np.linalg.matrix_power(move, 1 << 20)[0]
        return float(likelihoods.regimes(density, first, move, over, start, np.empty_like(density)))

    starts = [_by_em(sample, k, stay) for stay in (0.98, 0.7)]
    bounds = [(-20.0, 20.0)] * k + [(-5.0, 4.0)] * k + [(-16.0, 8.0)] * (k * (k - 1))
    starts = [np.clip(s, *np.array(bounds).T) for s in starts]
    found = maximise(log_likelihood, [max(starts, key=log_likelihood).tolist()], bounds, len(x))
    more = k * (k + 1) - 2
    gain = found.value - gaussian(x)
    if gain < 0.5 * more * math.log(len(x)):
        raise refuse(
            "regimes",
            f"one regime fits as well (the gain in log-likelihood is {gain:.1f}, {k} regimes need "
            f"{0.5 * more * math.log(len(x)):.1f} by the Bayesian information criterion); use gbm",
        )

    def natural(theta: FloatArray1D) -> FloatArray1D:
        means, variances, move = unpack(theta)
        order = np.argsort(variances)
        volatility = scale * np.sqrt(variances[order] / dt)
        drift = scale * means[order] / dt + 0.5 * volatility**2
        return np.concatenate([drift, volatility, move[np.ix_(order, order)].ravel()])

    names = [f"{n}[{i}]" for n in ("drifts", "volatilities") for i in range(k)]
    names += [f"transitions[{i}][{j}]" for i in range(k) for j in range(k)]
    estimates = estimate(names, found, natural)
    values = [e.value for e in estimates]
    rows = np.array(values[2 * k :]).reshape(k, k)
    process = Regimes(
        tuple(values[:k]),
        tuple(values[k : 2 * k]),
        tuple(tuple(row) for row in (rows / rows.sum(1, keepdims=True)).tolist()),
        step,
    )
    rare = process.stationary * len(x)
    if rare.min() < _FEW_IN_REGIME:
        raise refuse(
            "regimes",
            f"a regime holds {rare.min():.1f} of {len(x)} returns, too few to know it by; "
            f"use fewer regimes or merton",
        )
    notes = [] if found.covariance is not None else [no_errors("regimes")]
    dwell = 1.0 / (1.0 - rows.diagonal())
    if dwell.min() < 2.0:
        notes.append(
            f"regimes: one lasts {dwell.min():.2f} steps on average; it stands for fat tails, "
            f"not for a state of the market"
        )
    return Fitted(
        process,
        estimates,
        found.value - len(x) * math.log(scale),
        "maximum likelihood by Hamilton's filter (1989), started by expectation maximisation "
        "with Kim's smoother (1994)",
        tuple(notes),
    )


def _by_em(sample: Sample, k: int, stay: float) -> FloatArray1D:
    """Start for the maximum, in the parameters of :func:`fit_regimes`."""
    x, first = sample.x, sample.first
    means = np.zeros(k)
    variances = np.geomspace(0.25, 3.0, k)
    move = np.full((k, k), (1.0 - stay) / (k - 1))
    np.fill_diagonal(move, stay)
    for _ in range(60):
        density = likelihoods.densities(x, means, variances)
        filtered = np.empty_like(density)
        over = np.linalg.matrix_power(move, 1 + sample.gap_steps)
        start = np.full(k, 1.0 / k)
        likelihoods.regimes(density, first, move, over, start, filtered)
        share, moves = likelihoods.smoothed(filtered, first, move, over)
        weight = share.sum(axis=0) + 1e-6
        means = (share.T @ x) / weight
        variances = np.array(
            [max(float(share[:, i] @ (x - means[i]) ** 2) / weight[i], 1e-3) for i in range(k)]
        )
        move = (moves + 1e-6) / (moves + 1e-6).sum(axis=1, keepdims=True)
    logits = np.log(move) - np.log(move.diagonal())[:, None]
    return np.concatenate([means, 0.5 * np.log(variances), logits[~np.eye(k, dtype=bool)]])


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
