"""Maxima of log-likelihoods with bounds, and the standard errors that they support."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from sweep.schema import FloatArray1D, FloatArray2D

__all__ = ["Optimum", "maximise"]

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
