"""Price processes: their parameters, and the moments that follow from these.

Drifts and volatilities are annual, of model time (:mod:`sweep.scenarios.simulate.spec`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sweep.errors import DataError, InputError
from sweep.schema import FloatArray1D, FloatArray2D

__all__ = [
    "Garch",
    "Gbm",
    "Merton",
    "Process",
    "Regimes",
    "check_finite",
    "check_number",
    "check_positive",
    "stationary_distribution",
]


def check_number(
    where: str,
    value: Any,
    low: float,
    high: float,
    *,
    above: bool = False,
    below: bool = False,
    whole: bool = False,
) -> None:
    """Refuse a value that is no number between bounds (``above``, ``below``: strictly)."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise DataError(f"{where}: {value!r} is not a {'whole number' if whole else 'number'}")
    inside = (low < value if above else low <= value) and (value < high if below else value <= high)
    if inside and math.isfinite(value):
        return
    left, right = "(" if above else "[", ")" if below or math.isinf(high) else "]"
    raise DataError(f"{where}: {value} is not in {left}{low:g}, {high:g}{right}")


def check_positive(**values: float) -> None:
    """Refuse a named value that is not a positive number."""
    for name, value in values.items():
        if not (value > 0.0 and math.isfinite(value)):
            raise InputError(f"{name}: {value} is not a positive number")


def check_finite(**values: float) -> None:
    """Refuse a named value that is not a finite number."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise InputError(f"{name}: {value} is not a finite number")


#: Wide: a drift estimated from an hour of ticks is large, and so is its error.
_MAX_DRIFT, _MAX_VOLATILITY = 1e6, 100.0


@dataclass(frozen=True)
class Gbm:
    """Geometric Brownian motion, ``dS = drift S dt + volatility S dW``.

    Attributes
    ----------
    drift : float
        Of the price, annual: ``E S(t) = S(0) exp(drift t)``; the log-price drifts by
        ``drift - volatility**2 / 2``.
    volatility : float
        Annual.
    """

    name: ClassVar[str] = "gbm"
    number: ClassVar[int] = 0

    drift: float = 0.0
    volatility: float = 0.2

    def __post_init__(self) -> None:
        check_number("gbm.drift", self.drift, -_MAX_DRIFT, _MAX_DRIFT)
        check_number("gbm.volatility", self.volatility, 0.0, _MAX_VOLATILITY)

    @property
    def variance(self) -> float:
        """Of the log-price's move in a year."""
        return self.volatility**2


@dataclass(frozen=True)
class Merton:
    """Jump diffusion of Merton (1976), J. Financial Economics 3, 125-144.

    Attributes
    ----------
    drift : float
        Of the price, annual, jumps included: ``E S(t) = S(0) exp(drift t)``.
    volatility : float
        Annual, of the diffusion alone.
    jumps_per_year : float
        Mean number (a Poisson process).
    jump_mean, jump_sd : float
        Of a jump of the log-price (normal).
    """

    name: ClassVar[str] = "merton"
    number: ClassVar[int] = 1

    drift: float = 0.0
    volatility: float = 0.2
    jumps_per_year: float = 250.0
    jump_mean: float = 0.0
    jump_sd: float = 0.004

    def __post_init__(self) -> None:
        check_number("merton.drift", self.drift, -_MAX_DRIFT, _MAX_DRIFT)
        check_number("merton.volatility", self.volatility, 0.0, _MAX_VOLATILITY)
        check_number("merton.jumps_per_year", self.jumps_per_year, 0.0, 1e7)
        check_number("merton.jump_mean", self.jump_mean, -1.0, 1.0)
        check_number("merton.jump_sd", self.jump_sd, 0.0, 1.0)

    @property
    def log_drift(self) -> float:
        """Annual drift of the log-price between jumps."""
        growth = math.expm1(self.jump_mean + 0.5 * self.jump_sd**2)
        return self.drift - 0.5 * self.volatility**2 - self.jumps_per_year * growth

    @property
    def variance(self) -> float:
        """Of the log-price's move in a year, jumps included."""
        return self.volatility**2 + self.jumps_per_year * (self.jump_mean**2 + self.jump_sd**2)


@dataclass(frozen=True)
class Garch:
    """GARCH(1,1) with Student-t shocks, on a clock of model time.

    ``r[k] = m + s[k] z[k]``, ``s[k]^2 = omega + alpha (r[k-1] - m)^2 + beta s[k-1]^2``,
    ``z`` Student-t with ``nu`` degrees of freedom, scaled to variance 1: Bollerslev (1986),
    J. Econometrics 31, 307-327; (1987), Rev. Economics and Statistics 69, 542-547.
    Within a step the log-price is a Brownian bridge of variance ``s[k]^2`` between the
    step's ends, so that returns on the clock are GARCH to the bit.

    Attributes
    ----------
    drift : float
        Annual; ``m = (drift - volatility**2 / 2) dt``. With Student-t shocks the price
        has no mean, so that this is a drift of the price to second order only.
    volatility : float
        Annual and unconditional: ``omega = (1 - alpha - beta) volatility**2 dt``.
    alpha, beta : float
        Non-negative, of a sum below 1.
    nu : float
        Above 2; returns have a kurtosis only above 4.
    step : float
        Seconds of model time; sessions and gaps are whole numbers of steps.
    """

    name: ClassVar[str] = "garch"
    number: ClassVar[int] = 2

    drift: float = 0.0
    volatility: float = 0.2
    alpha: float = 0.05
    beta: float = 0.9
    nu: float = 8.0
    step: float = 60.0

    def __post_init__(self) -> None:
        check_number("garch.drift", self.drift, -_MAX_DRIFT, _MAX_DRIFT)
        check_number("garch.volatility", self.volatility, 0.0, _MAX_VOLATILITY)
        check_number("garch.alpha", self.alpha, 0.0, 1.0, below=True)
        check_number("garch.beta", self.beta, 0.0, 1.0, below=True)
        check_number("garch.nu", self.nu, 2.0, 1e4, above=True)
        check_number("garch.step", self.step, 1e-3, 86_400.0)
        if self.alpha + self.beta >= 1.0:
            raise DataError(
                f"garch.alpha, garch.beta: their sum {self.alpha + self.beta:.6g} is not below 1; "
                f"the variance would have no mean"
            )

    @property
    def variance(self) -> float:
        """Of the log-price's move in a year."""
        return self.volatility**2


@dataclass(frozen=True)
class Regimes:
    """Brownian motion whose drift and volatility follow a Markov chain.

    Hamilton (1989), Econometrica 57, 357-384. The chain moves on a clock of model time;
    it starts from its stationary distribution.

    Attributes
    ----------
    drifts : tuple of float
        Annual drift of the price in each regime.
    volatilities : tuple of float
        Annual, in each regime.
    transitions : tuple of tuple of float
        Row i: probabilities of each regime one step after regime i.
    step : float
        Seconds of model time; sessions and gaps are whole numbers of steps.
    """

    name: ClassVar[str] = "regimes"
    number: ClassVar[int] = 3

    drifts: tuple[float, ...] = (0.0, 0.0)
    volatilities: tuple[float, ...] = (0.1, 0.3)
    transitions: tuple[tuple[float, ...], ...] = ((0.99, 0.01), (0.02, 0.98))
    step: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "drifts", tuple(self.drifts))
        object.__setattr__(self, "volatilities", tuple(self.volatilities))
        object.__setattr__(self, "transitions", tuple(tuple(row) for row in self.transitions))
        k = len(self.drifts)
        if k < 2:
            raise DataError(f"regimes.drifts: {k} regime; there must be at least 2 (or use gbm)")
        for name in ("volatilities", "transitions"):
            if len(getattr(self, name)) != k:
                raise DataError(
                    f"regimes.{name}: {len(getattr(self, name))} given for {k} drifts; "
                    f"there must be one for each regime"
                )
        for i in range(k):
            check_number(f"regimes.drifts[{i}]", self.drifts[i], -_MAX_DRIFT, _MAX_DRIFT)
            check_number(f"regimes.volatilities[{i}]", self.volatilities[i], 0.0, _MAX_VOLATILITY)
            self._check_row(i, k)
        check_number("regimes.step", self.step, 1e-3, 86_400.0)
        stationary_distribution(self.transitions)

    def _check_row(self, i: int, k: int) -> None:
        row = self.transitions[i]
        if len(row) != k:
            raise DataError(f"regimes.transitions[{i}]: {len(row)} given for {k} regimes")
        for j, value in enumerate(row):
            check_number(f"regimes.transitions[{i}][{j}]", value, 0.0, 1.0)
        if abs(sum(row) - 1.0) > 1e-9:
            raise DataError(f"regimes.transitions[{i}]: the row's sum is {sum(row):.10g}, not 1")

    @property
    def stationary(self) -> FloatArray1D:
        """Share of the time in each regime, ndarray of shape (n_regimes,)."""
        return stationary_distribution(self.transitions)

    @property
    def variance(self) -> float:
        """Mean of the squared volatility."""
        return float(self.stationary @ np.square(self.volatilities))


def stationary_distribution(transitions: tuple[tuple[float, ...], ...]) -> FloatArray1D:
    """Distribution that a transition matrix leaves as it is.

    Parameters
    ----------
    transitions : tuple of tuple of float
        Rows of sum 1.

    Returns
    -------
    ndarray of shape (n_states,), float64

    Raises
    ------
    DataError
        If there are several: the chain falls into parts that do not reach one another.
    """
    matrix: FloatArray2D = np.array(transitions, dtype=np.float64)
    k = len(matrix)
    system = np.vstack([matrix.T - np.eye(k), np.ones(k)])
    # The tolerance lies far below a dwell time of 1e9 steps.
    if np.linalg.matrix_rank(system, tol=1e-10) < k:
        raise DataError(
            "regimes.transitions: the chain has no single stationary distribution; "
            "some regimes never reach the others"
        )
    target = np.concatenate([np.zeros(k), [1.0]])
    found = np.linalg.lstsq(system, target, rcond=None)[0].clip(0.0)
    distribution: FloatArray1D = found / found.sum()
    return distribution


Process = Gbm | Merton | Garch | Regimes
