"""How many independent trials a sweep of correlated variants is worth."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D
from sweep.stats.checks import Statistic, matrix, missing
from sweep.text import counted

__all__ = ["effective_trials"]

_LANES = 64


def effective_trials(
    returns: ArrayLike,
    *,
    method: Literal["eigenvalue", "average_correlation"] = "eigenvalue",
    without_mean: bool = False,
) -> Statistic:
    """Return the number of independent trials that correlated variants amount to.

    ``"eigenvalue"``: ``sum(lambda)**2 / sum(lambda**2)`` over the eigenvalues of the
    correlation matrix of session returns, that is ``N**2 / sum(rho[i, j]**2)``. K groups of
    equal size whose members are alike give K, which is why it is the default: a sweep's
    variants come in such groups. Squared sample correlations of independent returns are
    ``1 / (n - 1)`` in the mean, not 0, so that N independent variants on few sessions would
    look like about n; each is therefore taken as ``rho**2 - (1 - rho**2) / (n - 2)``, as the
    adjusted R squared does.

    ``"average_correlation"``: ``rho + (1 - rho) * N`` with the average correlation, of the
    paper that defines the deflated Sharpe ratio. It hardly sees groups (K groups of M give
    about ``(1 - 1/K) * K * M``), so that it is the stricter of the two.

    A common factor (all variants long) lowers both. It also lowers the variance across
    trials, so a deflated Sharpe ratio with that number and that variance is lenient: it
    counts the factor twice. ``without_mean`` is for that use.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_variants)
    method : {"eigenvalue", "average_correlation"}, optional
    without_mean : bool, optional
        Of the standardised returns, take off each session's mean over all variants first, so
        that what all have in common does not count.

    Returns
    -------
    Statistic
        From 1 to the number of variants whose returns have variance. The bits depend
        neither on the threads nor on the linear algebra library.

    Raises
    ------
    InputError
        If a return is not finite or the method unknown.

    References
    ----------
    Bretherton et al. (1999), The effective number of spatial degrees of freedom of a
    time-varying field, Journal of Climate 12(7), eq. 5. Bailey & Lopez de Prado (2014),
    Appendix 3.
    """
    r = matrix(returns)
    if method not in ("eigenvalue", "average_correlation"):
        raise InputError(f"no method {method!r}; there are eigenvalue and average_correlation")
    n = len(r)
    if n < 4:
        return missing(f"{counted(n, 'session')}; at least 4 are needed")
    r = r[:, r.min(axis=0) != r.max(axis=0)]
    variants = r.shape[1]
    if variants < 2:
        return missing(
            f"{counted(variants, 'variant')} whose returns have variance; at least 2 are needed"
        )
    z = r - r.mean(axis=0)
    z /= np.sqrt(np.square(z).sum(axis=0))
    if without_mean:
        z -= z.mean(axis=1, keepdims=True)
        size = np.sqrt(np.square(z).sum(axis=0))
        z = z[:, size > 1e-8] / size[size > 1e-8]
        if z.shape[1] < 2:
            return Statistic(1.0)
        variants = z.shape[1]
    if method == "average_correlation":
        together = float(np.square(z.sum(axis=1)).sum())
        rho = (together - variants) / (variants * (variants - 1.0))
        return Statistic(min(max(rho + (1.0 - rho) * variants, 1.0), float(variants)))
    # The squared entries of z'z and of zz' have one sum; the smaller is computed.
    rows = np.ascontiguousarray(z if n <= variants else z.T)
    others = variants * (variants - 1.0)
    squared = float(_squared_products(rows)) - variants
    squared = max(squared - (others - squared) / (n - 2.0), 0.0)
    return Statistic(max(variants**2 / (variants + squared), 1.0))


@njit(cache=True, error_model="numpy")
def _squared_products(rows: FloatArray2D) -> float:
    """Return the sum of squares of the products of all pairs of rows.

    Sums run in lanes whose number is fixed, so that every processor adds in one order.
    """
    lanes = np.empty(_LANES)
    total = 0.0
    for i in range(rows.shape[0]):
        for j in range(i + 1):
            product = _dot(rows[i], rows[j], lanes)
            total += product * product * (1.0 if i == j else 2.0)
    return total


@njit(cache=True, error_model="numpy")
def _dot(a: FloatArray1D, b: FloatArray1D, lanes: FloatArray1D) -> float:
    lanes[:] = 0.0
    whole = a.size - a.size % _LANES
    for start in range(0, whole, _LANES):
        for k in range(_LANES):
            lanes[k] += a[start + k] * b[start + k]
    for k in range(a.size - whole):
        lanes[k] += a[whole + k] * b[whole + k]
    total = 0.0
    for k in range(_LANES):
        total += lanes[k]
    return total
