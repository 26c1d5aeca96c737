"""What every Monte Carlo report says of a sample of replicates.

Two errors are kept apart. The *Monte Carlo error* comes of having drawn B replicates and
not all: standard errors and intervals of quantiles here are of this kind, and more
replicates make them smaller. The *sampling error* comes of having seen n units of history
and not another n: it is what the spread of a bootstrap sample shows, and no number of
replicates makes it smaller. So tail quantiles are claimed only where there are units
enough to have shown a tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D
from sweep.stats.bootstrap import optimal_block_length
from sweep.stats.functionals import Estimate, plain
from sweep.stats.quantiles import Observed, PValue, Quantile, p_value, place, quantiles
from sweep.text import counted

__all__ = ["ENOUGH_UNITS", "Summary", "Units", "count_units", "summarise"]

#: Effective units below which no tail is claimed: among 30, the worst is the 3 % quantile.
ENOUGH_UNITS = 30


@dataclass(frozen=True)
class Units:
    """What was resampled, and how much information it holds.

    Attributes
    ----------
    name : str
        Of one unit: ``"session"``, ``"trade"``.
    n : int
    effective : float
        Independent units that they are worth: the smaller one of ``n R(0) / g(0)``, which
        would determine the mean as well, R(0) the variance and g(0) the long-run variance
        of `sweep.stats.bootstrap.BlockLength`, and of ``n / block``, the blocks of a path, which
        alone are drawn independently; at most n.
    too_few : bool
        Whether there are fewer than 30 effective ones.
    reason : str or None
        Why they are too few, or why there is no effective number.
    block : float
        Mean number of units that are drawn together.
    """

    name: str
    n: int
    effective: float
    too_few: bool
    reason: str | None
    block: float = 1.0

    @property
    def text(self) -> str:
        """The units in words: ``"67 sessions in blocks of 20 on average"``."""
        blocks = f" in blocks of {self.block:.3g} on average" if self.block > 1.0 else ""
        return f"{counted(self.n, self.name)}{blocks}"


@dataclass(frozen=True)
class Summary:
    """A sample of replicates in a report.

    Attributes
    ----------
    statistic : str
        What each replicate is a value of.
    method : str
        What is resampled, in words.
    units : Units
    n_paths : int
        B, with all that follow.
    n_failed, n_empty : int
        Replicates without a value: that went wrong, or that have nothing to take it of
        (no trade, no variance).
    seed : int
    mean : Estimate
        Of the replicates that have a value, with its Monte Carlo standard error.
    sd : float
        Of the replicates (ddof=1): the sampling error, in a bootstrap.
    quantiles : tuple of Quantile
        At `LEVELS`.
    observed : Observed or None
    p_value : PValue or None
    notes : tuple of str
        What a reader must know.
    reason : str or None
        Why ``sd`` is NaN.
    """

    statistic: str
    method: str
    units: Units
    n_paths: int
    n_failed: int
    n_empty: int
    seed: int
    mean: Estimate
    sd: float
    quantiles: tuple[Quantile, ...]
    observed: Observed | None
    p_value: PValue | None
    notes: tuple[str, ...]
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON has it; numbers that are NaN are None, with a reason."""
        found: dict[str, Any] = plain(self)
        return found


def count_units(values: FloatArray1D, name: str, *, block: float = 1.0) -> Units:
    """Return the number of units and of effective ones.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
        What each unit contributes, in order, finite.
    name : str
        Of one unit, in the singular.
    block : float, optional
        Mean number of consecutive units that are drawn together.

    Returns
    -------
    Units
        Units that are all equal have no effective number and are too few.

    Raises
    ------
    InputError
        If a value is not finite.
    """
    values = np.asarray(values, np.float64)
    n = values.size
    if n < 2:
        return Units(name, n, math.nan, True, f"too few units: {counted(n, name)}", block)
    blocks = optimal_block_length(values)
    variance = float(values.var())
    if values.min() == values.max():
        return Units(name, n, math.nan, True, f"all {counted(n, name)} are equal", block)
    # Negative dependence would make more of them than there are.
    ratio = variance / blocks.long_run_variance if blocks.long_run_variance > 0.0 else 1.0
    effective = min(n * min(ratio, 1.0), n / max(block, 1.0))
    found = Units(name, n, effective, effective < ENOUGH_UNITS, None, block)
    if not found.too_few:
        return found
    worth = counted(round(effective), "independent one")
    reason = f"{found.text} are worth {worth}, of the {ENOUGH_UNITS} that a tail needs"
    return replace(found, reason=f"too few units: {reason}")


def summarise(
    values: FloatArray1D,
    *,
    statistic: str,
    method: str,
    units: Units,
    seed: int,
    observed: float | None = None,
    null: str | None = None,
    alternative: str = "greater",
    tie: float = 0.0,
    worst: str = "low",
    empty: NDArray[np.bool_] | None = None,
    notes: tuple[str, ...] = (),
) -> Summary:
    """Return what a report says of a sample of replicates.

    Parameters
    ----------
    values : ndarray of shape (n_paths,), float64
        One of each replicate; NaN where it has none.
    statistic, method : str
        What the values are, and what was resampled, in words.
    units : Units
        See `count_units`.
    seed : int
        Of the replicates.
    observed : float, optional
        The value of the real data.
    null : str, optional
        The null hypothesis in words, if the replicates were drawn under one: a p-value is
        given then, by ``alternative`` and ``tie`` as in `p_value`. Replicates of a plain
        bootstrap are centred on the data and give none.
    worst : str, optional
        ``"low"`` or ``"high"``: which end replicates without a value rank at.
    empty : ndarray of shape (n_paths,), bool, optional
        Which replicates without a value had nothing to take it of; the others failed.
    notes : tuple of str, optional

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        If the values are not one series, or an end or alternative is unknown.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1:
        raise InputError(f"a summary needs one series of replicates, found shape {values.shape}")
    if worst not in ("low", "high"):
        raise InputError(f"the worst end is 'low' or 'high', found {worst!r}")
    without = np.isnan(values)
    n_empty = int((without & empty).sum()) if empty is not None else 0
    n_failed = int(without.sum()) - n_empty
    kept = values[~without]
    mean, sd, reason = _mean_and_sd(kept)
    said = list(notes)
    if without.any():
        said.append(
            f"{counted(n_failed, 'replicate')} failed and {n_empty:,} had nothing to measure, of "
            f"{values.size:,}: they rank as the worst, and the mean is that of the others"
        )
    if units.too_few and units.reason is not None:
        said.append(units.reason)
    return Summary(
        statistic=statistic,
        method=method,
        units=units,
        n_paths=values.size,
        n_failed=n_failed,
        n_empty=n_empty,
        seed=seed,
        mean=mean,
        sd=sd,
        quantiles=quantiles(values, worst=worst, no_tail=units.reason if units.too_few else None),
        observed=None if observed is None else place(values, observed, tie=tie),
        p_value=None
        if observed is None or null is None
        else p_value(values, observed, null=null, alternative=alternative, tie=tie),
        notes=tuple(said),
        reason=reason,
    )


def _mean_and_sd(kept: FloatArray1D) -> tuple[Estimate, float, str | None]:
    n = kept.size
    if n == 0:
        reason = "no replicate has a value"
        return Estimate(math.nan, reason=reason), math.nan, reason
    if not np.isfinite(kept).all():
        reason = "a replicate is infinite"
        return Estimate(math.nan, reason=reason), math.nan, reason
    mean = math.fsum(kept.tolist()) / n
    if n == 1:
        reason = "one replicate shows no spread"
        return Estimate(mean, reason=reason), math.nan, reason
    sd = float(kept.std(ddof=1))
    return Estimate(mean, sd / math.sqrt(n)), sd, None
