"""What the values of points around a variant show: a share that is good, a quadratic fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.stats.functionals import plain
from sweep.text import counted

__all__ = ["Share", "Surface", "response_surface", "share_above", "sign_of"]


def sign_of(direction: str) -> float:
    """Return 1 for ``"maximize"`` and -1 for ``"minimize"``; raise `InputError` for others."""
    if direction not in ("maximize", "minimize"):
        raise InputError(f"a direction is 'maximize' or 'minimize', found {direction!r}")
    return 1.0 if direction == "maximize" else -1.0


@dataclass(frozen=True)
class Share:
    """A share of evaluated points.

    Attributes
    ----------
    value : float
    low, high : float
        95 % interval of Clopper & Pearson (1934), as if the points were independent; evenly
        spread ones do better.
    n, n_failed : int
        Points, and those without a value, which count as bad.
    reason : str or None
        Why a number is NaN.
    """

    value: float
    low: float
    high: float
    n: int
    n_failed: int
    reason: str | None


def share_above(values: FloatArray1D, threshold: float, direction: str = "maximize") -> Share:
    """Return the share of points that are at least as good as a threshold.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
        NaN for a point that has no value.
    threshold : float
    direction : str, optional
        ``"maximize"`` or ``"minimize"``.

    Returns
    -------
    Share
    """
    from scipy.special import betaincinv

    sign = sign_of(direction)
    n = values.size
    if n == 0:
        return Share(math.nan, math.nan, math.nan, 0, 0, "there are no points")
    k = int((sign * (values - threshold) >= 0.0).sum())
    low = float(betaincinv(k, n - k + 1, 0.025)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0
    return Share(k / n, low, high, n, int(np.isnan(values).sum()), None)


@dataclass(frozen=True)
class Surface:
    """A quadratic fit of the objective over a box.

    Attributes
    ----------
    intercept : float
        At the centre of the coordinates.
    gradient : ndarray of shape (n_coordinates,), float64
    hessian : ndarray of shape (n_coordinates, n_coordinates), float64
        Second derivatives.
    r2 : float
        Share of the variance of the values that the fit explains.
    r2_left_out : float
        The same for each value predicted from the others; low or negative where the fit
        has followed noise.
    n, n_failed : int
        Points that were fitted, and those that had no value.
    rank : int
        Coefficients that the points determine.
    reason : str or None
        Why a number is NaN.
    """

    intercept: float
    gradient: FloatArray1D
    hessian: FloatArray2D
    r2: float
    r2_left_out: float
    n: int
    n_failed: int
    rank: int
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as JSON has it; numbers that are NaN are None, with a reason."""
        found: dict[str, Any] = plain(self)
        return found


def response_surface(points: FloatArray2D, values: FloatArray1D) -> Surface:
    """Fit a quadratic to the objective by least squares.

    Parameters
    ----------
    points : ndarray of shape (n, n_coordinates), float64
        Coordinates in which the fit is made, such as `scaled` ones less the variant's, of
        the parameters that vary.
    values : ndarray of shape (n,), float64
        NaN for a point without a value: it is left out, and counted.

    Returns
    -------
    Surface
        Of least norm where the points do not determine all coefficients; NaN with a reason
        where there are no more points than those they determine, or all values are equal.

    Notes
    -----
    ``y = a + g'z + z'Hz / 2``. A value left out is predicted with residual ``e / (1 - h)``,
    h its diagonal entry of the hat matrix (Allen 1974, Technometrics 16(1)).

    References
    ----------
    Box & Wilson (1951), On the experimental attainment of optimum conditions, JRSS B 13(1).
    """
    kept = ~np.isnan(values)
    z, y = points[kept], values[kept]
    n, d = z.shape
    n_failed = int(values.size - n)
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    # Each column is a derivative of the quadratic by its coefficient.
    second = [z[:, i] * z[:, j] * (0.5 if i == j else 1.0) for i, j in pairs]
    design = np.column_stack([np.ones(n), *z.T, *second]) if n else np.empty((0, 1))
    u, s, vt = np.linalg.svd(design, full_matrices=False)
    rank = int((s > s.max(initial=0.0) * max(design.shape) * np.finfo(np.float64).eps).sum())
    reason = None
    if n <= rank:
        reason = (
            f"{counted(n, 'point')} with a value determine{'s' if n == 1 else ''} "
            f"{counted(rank, 'coefficient')} and leave{'s' if n == 1 else ''} nothing to judge"
        )
    elif y.min() == y.max():
        reason = "all values are equal"
    if reason is not None:
        blank = np.full(d, math.nan)
        curvature = np.full((d, d), math.nan)
        return Surface(math.nan, blank, curvature, math.nan, math.nan, n, n_failed, rank, reason)
    u, s, vt = u[:, :rank], s[:rank], vt[:rank]
    coefficients = vt.T @ ((u.T @ y) / s)
    hessian = np.zeros((d, d))
    for (i, j), value in zip(pairs, coefficients[1 + d :], strict=True):
        hessian[i, j] = hessian[j, i] = value
    residuals = y - u @ (u.T @ y)
    leverage = np.sum(u * u, axis=1)
    spread = float(np.sum((y - y.mean()) ** 2))
    # A point that alone determines a coefficient predicts itself only.
    free = leverage < 1.0 - 1e-9
    left_out = math.nan
    if free.all():
        left_out = 1.0 - float(np.sum((residuals / (1.0 - leverage)) ** 2)) / spread
    else:
        reason = "a point that alone determines a coefficient cannot be predicted by the others"
    return Surface(
        intercept=float(coefficients[0]),
        gradient=coefficients[1 : 1 + d],
        hessian=hessian,
        r2=1.0 - float(np.sum(residuals**2)) / spread,
        r2_left_out=left_out,
        n=n,
        n_failed=n_failed,
        rank=rank,
        reason=reason,
    )
