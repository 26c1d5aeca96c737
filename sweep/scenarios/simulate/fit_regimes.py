"""Maximum likelihood of regime switching, for returns of variance 1."""

from __future__ import annotations

import math

import numpy as np

from sweep.errors import DataError
from sweep.scenarios.simulate import likelihoods
from sweep.scenarios.simulate.fitted import Fitted, Sample, estimate, gaussian, no_errors, refuse
from sweep.scenarios.simulate.optimum import maximise
from sweep.scenarios.simulate.processes import Regimes
from sweep.schema import FloatArray1D

__all__ = ["fit_regimes"]

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
