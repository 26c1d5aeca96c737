"""Does the fitted model look like the data? Statistics of both, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from sweep.scenarios.simulate.observe import Observed
from sweep.schema import FloatArray1D

__all__ = ["Check", "compare", "statistics"]

_LAGS = (1, 2)
_SQUARE_LAGS = (1, 10, 60)
_WINDOWS = (1, 10, 60, 600)


class Check(NamedTuple):
    """A statistic of the data and of paths simulated from the fit.

    Attributes
    ----------
    name : str
    data : float
        NaN where the data have too few values for it.
    low, middle, high : float
        Lowest, median and highest over the simulated paths.
    """

    name: str
    data: float
    low: float
    middle: float
    high: float

    @property
    def inside(self) -> bool | None:
        """Whether the data lie among the paths; None where one of them is undefined.

        With B paths of the very model the answer is False with probability 2 / (B + 1).
        """
        if any(math.isnan(v) for v in self[1:]):
            return None
        return self.low <= self.data <= self.high


def compare(observed: Observed, simulated: Iterable[Observed]) -> tuple[Check, ...]:
    """Compare the statistics of a series with those of simulated ones.

    Parameters
    ----------
    observed : Observed
    simulated : iterable of Observed
        One at least; held one at a time.

    Returns
    -------
    tuple of Check
    """
    data = statistics(observed)
    rows = [list(statistics(one).values()) for one in simulated]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return tuple(
        Check(name, value, float(c.min()), float(np.median(c)), float(c.max()))
        for (name, value), c in zip(data.items(), columns, strict=True)
    )


def statistics(observed: Observed) -> dict[str, float]:
    """Statistics of a tick series; NaN where there are too few values.

    ``return sd`` and ``return kurtosis`` (not excess, divisor n); autocorrelations of returns
    and of their squares within sessions, by lag on the clock; ``season``: highest over
    lowest mean absolute return of an hour since the open; ``fano``: variance over mean of
    the number of ticks in windows of so many seconds (Fano, 1947; 1 for Poisson arrivals);
    the spread, in ticks: mean, sd, 95 % quantile, autocorrelation at the next tick.

    Parameters
    ----------
    observed : Observed

    Returns
    -------
    dict of str to float
    """
    returns = np.concatenate(observed.returns)
    out = {"return sd": _or_nan(returns, 2, np.std), "return kurtosis": _kurtosis(returns)}
    centred = [r - returns.mean() for r in observed.returns] if len(returns) else []
    for lag in _LAGS:
        out[f"acf of returns, lag {lag}"] = _autocorrelation(centred, lag)
    squares = [r * r for r in centred]
    middle = float(np.mean(np.concatenate(squares))) if squares else 0.0
    for lag in _SQUARE_LAGS:
        out[f"acf of squares, lag {lag}"] = _autocorrelation([s - middle for s in squares], lag)
    out["season"] = _season(observed)
    for seconds in _WINDOWS:
        out[f"fano, {seconds} s"] = _fano(observed, float(seconds))
    spread = observed.spreads.astype(np.float64)
    out["spread mean"] = _or_nan(spread, 1, np.mean)
    out["spread sd"] = _or_nan(spread, 2, np.std)
    out["spread 95 %"] = _or_nan(spread, 20, lambda s: np.quantile(s, 0.95))
    out["acf of spread, lag 1"] = _autocorrelation([spread - spread.mean()], 1)
    return out


def _or_nan(x: FloatArray1D, least: int, of: Callable[[FloatArray1D], float]) -> float:
    return float(of(x)) if len(x) >= least else math.nan


def _kurtosis(x: FloatArray1D) -> float:
    if len(x) < 4:
        return math.nan
    off = x - x.mean()
    variance = float(np.mean(off**2))
    return float(np.mean(off**4)) / variance**2 if variance > 0.0 else math.nan


def _autocorrelation(parts: list[FloatArray1D], lag: int) -> float:
    """Over pairs within the same part; values have a mean of 0 over all parts."""
    pairs = sum(max(len(p) - lag, 0) for p in parts)
    total = sum(len(p) for p in parts)
    if pairs < 30:
        return math.nan
    variance = math.fsum(float(p @ p) for p in parts) / total
    products = math.fsum(float(p[lag:] @ p[:-lag]) for p in parts if len(p) > lag)
    return products / pairs / variance if variance > 0.0 else math.nan


def _season(observed: Observed) -> float:
    size = np.abs(np.concatenate(observed.returns))
    hour = np.concatenate(observed.hours)
    counts = np.bincount(hour)
    means = np.bincount(hour, weights=size)[counts >= 10] / counts[counts >= 10]
    if len(means) < 2 or not means.min() > 0.0:
        return math.nan
    return float(means.max() / means.min())


def _fano(observed: Observed, seconds: float) -> float:
    counts = []
    for times, length in zip(observed.times, observed.lengths.tolist(), strict=True):
        windows = int(length // seconds)
        if windows:
            inside = times[times < windows * seconds]
            which = (inside / seconds).astype(np.int64)
            counts.append(np.bincount(which.clip(max=windows - 1), minlength=windows))
    pooled = np.concatenate(counts) if counts else np.zeros(0)
    if len(pooled) < 30 or not pooled.mean() > 0.0:
        return math.nan
    return float(pooled.var() / pooled.mean())
