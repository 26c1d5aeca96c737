"""Statistics of variants over resamples: the observed ones, and the highest by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError
from sweep.schema import FloatArray1D, FloatArray2D, IntArray1D
from sweep.stats.checks import MIN_SESSIONS
from sweep.stats.overfit.resamples import (
    BLOCK,
    Draws,
    column_means,
    count_reached,
    fill_highest,
    fill_tails,
    long_run_sd,
)
from sweep.text import counted

__all__ = [
    "Prepared",
    "highest_by_block",
    "prepare",
    "reached_alone",
    "step_down",
    "why_not",
]


@dataclass(frozen=True)
class Prepared:
    """Variants whose gains have variance, and their statistics.

    Attributes
    ----------
    kept : ndarray of shape (n_kept,), int64
        Which they are.
    centred : ndarray of shape (n_sessions, n_kept), float64
    raw : ndarray of shape (n_kept,), float64
        ``sqrt(n)`` times the mean.
    omega : ndarray of shape (n_kept,), float64
        By `long_run_sd`; 1 where nothing asked for it.
    scale : ndarray of shape (n_kept,), float64
        What ``raw`` is divided by: omega, or 1.
    """

    kept: IntArray1D
    centred: FloatArray2D
    raw: FloatArray1D
    omega: FloatArray1D
    scale: FloatArray1D

    @property
    def statistics(self) -> FloatArray1D:
        """Of each variant."""
        return self.raw / self.scale

    def consistent_shift(self) -> FloatArray1D:
        """Where a centred mean goes, times ``sqrt(n)``: those of poor variants back."""
        n = len(self.centred)
        poor = self.raw / self.omega < -math.sqrt(2.0 * math.log(math.log(n)))
        return np.where(poor, self.raw, 0.0)

    def take(self, which: IntArray1D | slice) -> Prepared:
        """Return some of the variants."""
        return Prepared(
            self.kept[which],
            np.ascontiguousarray(self.centred[:, which]),
            self.raw[which],
            self.omega[which],
            self.scale[which],
        )


def prepare(
    gains: FloatArray2D, draws: Draws, *, studentised: bool, weighed: bool = True
) -> Prepared | str:
    """Return the variants' statistics, or why there are none.

    Parameters
    ----------
    gains : ndarray of shape (n_sessions, n_variants), float64
    draws : Draws
    studentised : bool
        Whether statistics are divided by omega.
    weighed : bool, optional
        Whether omega is asked for where they are not.
    """
    varied = gains.min(axis=0) != gains.max(axis=0) if len(gains) else np.zeros(0, np.bool_)
    reason = why_not(gains, draws, int(varied.sum()))
    if reason:
        return reason
    kept = np.flatnonzero(varied)
    mean = column_means(gains[:, kept])
    centred = gains[:, kept] - mean
    if studentised or weighed:
        omega = long_run_sd(centred, draws.block_length)
    else:
        omega = np.ones(len(kept))
    scale = omega if studentised else np.ones(len(omega))
    found = Prepared(kept, centred, math.sqrt(len(gains)) * mean, omega, scale)
    if not omega.all():
        found = found.take(np.flatnonzero(omega))
    return found if len(found.kept) else "no variant's gains have a long-run variance"


def why_not(gains: FloatArray2D, draws: Draws, n_varied: int) -> str | None:
    """Return why there is no test, if so.

    Raises
    ------
    InputError
        If the draws are of another number of sessions.
    """
    n, variants = gains.shape
    if n != draws.n_sessions:
        raise InputError(
            f"the returns have {n} sessions and the draws {draws.n_sessions}; draw from "
            f"{n} sessions"
        )
    if n < MIN_SESSIONS:
        return f"{counted(n, 'session')}; at least {MIN_SESSIONS} are needed"
    if n_varied == 0:
        return "no variant's gains have variance" if variants else "there is no variant"
    return None


def highest_by_block(
    prepared: Prepared, draws: Draws, shifts: FloatArray2D, *, resampled_errors: bool = False
) -> NDArray[np.float64]:
    """Return the highest ``(sqrt(n) * mean + shift) / error`` of each block of variants.

    Parameters
    ----------
    prepared : Prepared
    draws : Draws
    shifts : ndarray of shape (n_shifts, n_kept), float64
    resampled_errors : bool, optional
        Divide by each resample's own error, not by ``prepared.scale``.

    Returns
    -------
    ndarray of shape (n_shifts, n_blocks, n_bootstrap), float64
    """
    out = np.empty((len(shifts), -(-len(prepared.kept) // BLOCK), draws.n_bootstrap))
    fill_highest(
        prepared.centred,
        draws.positions,
        draws.drawn,
        draws.times,
        draws.n_drawn,
        prepared.scale,
        np.ascontiguousarray(shifts),
        resampled_errors,
        out,
    )
    return out


def reached_alone(prepared: Prepared, draws: Draws) -> IntArray1D:
    """Return in how many resamples each variant reaches its own statistic; (n_kept,), int64."""
    out = np.zeros(len(prepared.kept), np.int64)
    count_reached(
        prepared.centred,
        draws.positions,
        draws.drawn,
        draws.times,
        draws.n_drawn,
        prepared.scale,
        prepared.statistics,
        out,
    )
    return out


def step_down(
    prepared: Prepared, draws: Draws, shift: FloatArray1D, *, resampled_errors: bool = False
) -> tuple[FloatArray2D, IntArray1D]:
    """Return the highest from each block on, and how often that from a variant on reaches it.

    Parameters
    ----------
    prepared : Prepared
        From the best to the poorest.
    draws : Draws
    shift : ndarray of shape (n_kept,), float64
    resampled_errors : bool, optional

    Returns
    -------
    tails : ndarray of shape (n_blocks, n_bootstrap), float64
    exceeded : ndarray of shape (n_kept,), int64
    """
    exceeded = np.zeros(len(prepared.kept), np.int64)
    tails = np.empty((-(-len(exceeded) // BLOCK), draws.n_bootstrap))
    fill_tails(
        prepared.centred,
        draws.positions,
        draws.drawn,
        draws.times,
        draws.n_drawn,
        prepared.scale,
        shift,
        prepared.statistics,
        resampled_errors,
        tails,
        exceeded,
    )
    return tails, exceeded
