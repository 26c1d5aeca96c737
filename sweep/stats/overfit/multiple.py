"""P-values of many tests, adjusted for their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sweep.errors import InputError
from sweep.schema import FloatArray1D
from sweep.stats.checks import series

__all__ = ["benjamini_hochberg", "benjamini_yekutieli", "bonferroni", "holm"]


def bonferroni(p_values: ArrayLike) -> FloatArray1D:
    """Return each p-value times their number, at most 1.

    Holds the probability of any false discovery, under any dependence.

    Parameters
    ----------
    p_values : array_like of shape (n_tests,)
        Of every test that was made, in [0, 1].

    Returns
    -------
    ndarray of shape (n_tests,), float64
        In the order of the input.
    """
    p = _checked(p_values)
    return np.minimum(p * len(p), 1.0)


def holm(p_values: ArrayLike) -> FloatArray1D:
    """Return Holm's step-down p-values: `bonferroni`'s guarantee, never higher values.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6(2).
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    left = np.arange(len(p), 0, -1)
    return _back(np.minimum(np.maximum.accumulate(p[order] * left), 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray1D:
    """Return p-values that hold the share of false discoveries, under positive dependence.

    References
    ----------
    Benjamini & Hochberg (1995), Controlling the false discovery rate, JRSS B 57(1).
    """
    return _step_up(_checked(p_values), 1.0)


def benjamini_yekutieli(p_values: ArrayLike) -> FloatArray1D:
    """Return p-values that hold the share of false discoveries, under any dependence.

    Those of `benjamini_hochberg` times ``1 + 1/2 + ... + 1/n``; Harvey & Liu's BHY.

    References
    ----------
    Benjamini & Yekutieli (2001), The control of the false discovery rate in multiple
    testing under dependency, Annals of Statistics 29(4).
    """
    p = _checked(p_values)
    return _step_up(p, float(np.sum(1.0 / np.arange(1, len(p) + 1))))


def _step_up(p: FloatArray1D, factor: float) -> FloatArray1D:
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) * factor) / np.arange(1, len(p) + 1)
    return _back(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0), order)


def _back(adjusted: FloatArray1D, order: np.ndarray[tuple[int], np.dtype[np.intp]]) -> FloatArray1D:
    out = np.empty(len(adjusted))
    out[order] = adjusted
    return out


def _checked(p_values: ArrayLike) -> FloatArray1D:
    p = series(p_values, "p-values")
    if len(p) and not (p.min() >= 0.0 and p.max() <= 1.0):
        place = int(np.flatnonzero((p < 0.0) | (p > 1.0))[0])
        raise InputError(f"a p-value lies in 0..1, found {p[place]:g} at place {place}")
    return p
