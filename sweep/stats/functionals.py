"""One number from a sample of replicates: means, quantiles, tails, probabilities.

A replicate without a value (it failed, or traded nothing and so has no ratio) is NaN in
the sample and is never dropped. Order statistics and probabilities rank it among the
worst; a mean that it would enter is undefined, with the reason.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.errors import InputError
from sweep.schema import FloatArray1D
from sweep.text import missing_value, too_few

__all__ = [
    "FUNCTIONALS",
    "Estimate",
    "Functional",
    "cvar",
    "gaussian_cvar",
    "gaussian_var",
    "order_statistic",
    "plain",
    "value_at_risk",
]


def plain(value: Any) -> Any:
    """Return frozen dataclasses, tuples and NumPy numbers as JSON has them.

    Parameters
    ----------
    value : object
        A dataclass of this package, or a dict, tuple, list, array, number or text in it.

    Returns
    -------
    dict, list, str, int, float, bool or None
        NaN and infinities, which JSON lacks, are None; why is said by the ``reason`` beside
        them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class Estimate:
    """A number that comes from replicates.

    Attributes
    ----------
    value : float
        NaN where the replicates do not support one.
    error : float
        Monte Carlo standard error, which more replicates make smaller. It says nothing of
        the sampling error, which they do not.
    reason : str or None
        Why a number is NaN; the value may be known and only its error not.
    """

    value: float
    error: float = math.nan
    reason: str | None = None


# -- order statistics and tails --------------------------------------------------------


def order_statistic(n: int, probability: float) -> int:
    """Return the number, from 1, of the order statistic that is a quantile: ``ceil(n q)``.

    The inverse of the empirical distribution function (type 1 of Hyndman & Fan 1996), at
    least 1. Products that only rounding put above a whole number count as that number:
    100 * 0.07 is 7.000000000000001, and its order statistic the 7th.

    Parameters
    ----------
    n : int
        Values, at least 1.
    probability : float
        In ``[0, 1]``.
    """
    product = n * probability
    whole = round(product)
    number = whole if abs(product - whole) <= 1e-12 * max(product, 1.0) else math.ceil(product)
    return min(max(number, 1), n)


def value_at_risk(returns: FloatArray1D, alpha: float) -> float:
    """Return the loss that the worst ``alpha`` of returns reach: the historical VaR.

    Parameters
    ----------
    returns : ndarray of shape (n,), float64
        Finite; losses are negative.
    alpha : float
        In ``(0, 1)``, such as 0.05.

    Returns
    -------
    float
        A loss as a positive number: minus the order statistic ``ceil(n alpha)``. NumPy's
        interpolated quantile, which empyrical takes, lies between two returns.

    Raises
    ------
    InputError
        For no returns, one that is not finite, or alpha outside its range.
    """
    ordered = _checked(returns, alpha)
    return float(-ordered[order_statistic(ordered.size, alpha) - 1])


def cvar(returns: FloatArray1D, alpha: float) -> float:
    """Return the mean loss of the worst ``alpha`` of returns: CVaR, expected shortfall.

    Parameters
    ----------
    returns, alpha
        As in `value_at_risk`.

    Returns
    -------
    float
        A loss as a positive number. With ``n alpha`` not whole, the return at the border
        enters with the fraction that is left, so that the weights sum to ``n alpha``; a
        mean of the returns up to the quantile would count it wholly.

    Raises
    ------
    InputError
        As in `value_at_risk`.

    References
    ----------
    Rockafellar & Uryasev (2002), Conditional value-at-risk for general loss distributions,
    Journal of Banking & Finance 26(7), proposition 8; Acerbi & Tasche (2002), ibid.
    """
    ordered = _checked(returns, alpha)
    mass = ordered.size * alpha
    whole = order_statistic(ordered.size, alpha) - 1
    inside = math.fsum(ordered[:whole].tolist())
    return -(inside + (mass - whole) * float(ordered[whole])) / mass


def gaussian_var(mu: float, sigma: float, alpha: float) -> float:
    """Return the value at risk of a normal return: ``-(mu + sigma * z)`` at the alpha quantile.

    Parameters
    ----------
    mu, sigma : float
        Mean and standard deviation, the latter not negative.
    alpha : float
        In ``(0, 1)``.

    Returns
    -------
    float
        A loss as a positive number.

    Raises
    ------
    InputError
        For a negative sigma, or alpha outside its range.
    """
    _check_gaussian(sigma, alpha)
    from scipy.special import ndtri

    return float(-(mu + sigma * ndtri(alpha)))


def gaussian_cvar(mu: float, sigma: float, alpha: float) -> float:
    """Return the CVaR of a normal return: ``-mu + sigma * density(z) / alpha``.

    Parameters, returns and errors as in `gaussian_var`.
    """
    _check_gaussian(sigma, alpha)
    from scipy.special import ndtri

    z = float(ndtri(alpha))
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return -mu + sigma * density / alpha


def _check_gaussian(sigma: float, alpha: float) -> None:
    _check_alpha("alpha", alpha)
    if not sigma >= 0.0:
        raise InputError(f"a standard deviation must not be negative, found {sigma:g}")


def _check_alpha(name: str, alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InputError(f"{name} lies between 0 and 1, both excluded, found {alpha:g}")


def _checked(returns: FloatArray1D, alpha: float) -> FloatArray1D:
    _check_alpha("alpha", alpha)
    values = np.asarray(returns, np.float64)
    if values.ndim != 1 or values.size == 0:
        raise InputError(f"a tail needs one series of returns, found shape {values.shape}")
    if not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        raise InputError(f"a tail needs finite returns, found {values[place]} at place {place}")
    return np.sort(values)


# -- functionals -----------------------------------------------------------------------

NO_SPREAD = "one replicate shows no spread"

#: Name: what its argument is (None if it takes none), for messages.
FUNCTIONALS: dict[str, str | None] = {
    "mean": None,
    "median": None,
    "quantile": "a probability between 0 and 1",
    "cvar": "a probability between 0 and 1",
    "probability_of_loss": None,
    "probability_above": "a number",
    "probability_below": "a number",
    "mean_minus_errors": "a number of standard errors, not negative",
}


@dataclass(frozen=True)
class Functional:
    """What a sample of replicates is judged by.

    Attributes
    ----------
    name : str
        One of `FUNCTIONALS`:

        ``mean``, ``median``, ``quantile`` (order statistic ``ceil(B q)``);
        ``cvar``: mean loss of the worst share, as a positive number, see `cvar`;
        ``probability_of_loss``, ``probability_above``, ``probability_below``: shares of
        replicates below 0, above and below a number, strictly;
        ``mean_minus_errors``: the mean less k Monte Carlo standard errors of it.
    argument : float or None
        Its probability or number.

    Raises
    ------
    InputError
        For an unknown name, or an argument that is missing, superfluous or outside its
        range.
    """

    name: str
    argument: float | None = None

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONALS:
            raise InputError(f"no functional {self.name!r}; there are: {', '.join(FUNCTIONALS)}")
        wanted = FUNCTIONALS[self.name]
        if wanted is None and self.argument is not None:
            raise InputError(f"{self.name} takes no number, found {self.argument:g}")
        if wanted is None:
            return
        if self.argument is None or math.isnan(self.argument):
            raise InputError(f"{self.name} needs {wanted}")
        if self.name in ("quantile", "cvar"):
            _check_alpha(f"the probability of {self.name}", self.argument)
        if self.name == "mean_minus_errors" and self.argument < 0.0:
            raise InputError(f"{self.name} needs {wanted}, found {self.argument:g}")

    def of(self, values: FloatArray1D) -> Estimate:
        """Return the functional of a sample.

        Parameters
        ----------
        values : ndarray of shape (n_paths,), float64
            One of each replicate, higher being better; NaN for a replicate without a value.

        Returns
        -------
        Estimate
            With its Monte Carlo standard error: sd / sqrt(B) of a mean; sqrt(p (1 - p) / B)
            of a share; half the distance of the order statistics one standard deviation of
            the binomial rank away, of a quantile; that of the mean of
            ``VaR + max(loss - VaR, 0) / alpha``, of a CVaR. Replicates without a value are
            the worst: below every number, and losses. What they would enter by their value
            is NaN with a reason.
        """
        values = np.asarray(values, np.float64)
        n = values.size
        if n == 0:
            return Estimate(math.nan, reason="there are no replicates")
        missing = int(np.isnan(values).sum())
        x = self.argument if self.argument is not None else 0.0
        if self.name in ("probability_of_loss", "probability_below"):
            return _share(int((values < x).sum()) + missing, n)
        if self.name == "probability_above":
            return _share(int((values > x).sum()), n)
        if self.name in ("median", "quantile"):
            number = order_statistic(n, 0.5 if self.name == "median" else x)
            if number <= missing:
                return Estimate(math.nan, reason=_without(missing, n))
            # NaN sorts last; those without a value go first instead.
            ordered = np.roll(np.sort(values), missing)
            return _quantile(ordered, number, missing)
        if missing:
            return Estimate(math.nan, reason=_without(missing, n))
        if not np.isfinite(values).all():
            return Estimate(math.nan, reason="a replicate is infinite")
        if self.name == "cvar":
            return _cvar(values, x)
        mean = math.fsum(values.tolist()) / n
        error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        reason = None if n > 1 else NO_SPREAD
        if self.name == "mean":
            return Estimate(mean, error, reason)
        return Estimate(mean - x * error, error, reason)


def _share(count: int, n: int) -> Estimate:
    share = count / n
    return Estimate(share, math.sqrt(share * (1.0 - share) / n))


def _quantile(ordered: FloatArray1D, number: int, missing: int) -> Estimate:
    n = ordered.size
    rank_sd = math.sqrt(n * (number / n) * (1.0 - number / n))
    low, high = math.floor(number - rank_sd), math.ceil(number + rank_sd)
    value = float(ordered[number - 1])
    if low <= missing or high > n or low == high:
        return Estimate(value, reason=f"{too_few(n, 'replicate')} for an error this far out")
    return Estimate(value, 0.5 * float(ordered[high - 1] - ordered[low - 1]))


def _cvar(values: FloatArray1D, alpha: float) -> Estimate:
    border = value_at_risk(values, alpha)
    terms = border + np.maximum(-values - border, 0.0) / alpha
    if values.size * alpha < 2.0:
        return Estimate(cvar(values, alpha), reason="fewer than two replicates in the tail")
    return Estimate(cvar(values, alpha), float(terms.std(ddof=1)) / math.sqrt(values.size))


def _without(missing: int, n: int) -> str:
    return missing_value(missing, n, "replicate")
