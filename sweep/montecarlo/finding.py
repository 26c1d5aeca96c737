"""What one method says of one variant: the same record for every method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sweep.schema import FloatArray1D
from sweep.stats.functionals import plain
from sweep.stats.summary import Summary

__all__ = ["Block", "Finding"]


@dataclass(frozen=True)
class Block:
    """The blocks that a method draws.

    Attributes
    ----------
    length : float
        In units.
    unit : str
        ``"session"``, ``"minute"`` or ``"tick"``.
    random : bool
        Whether lengths are random, and this is their mean.
    origin : str
        ``"given"``, ``"by default"``, or what has found it out, in words.
    """

    length: float
    unit: str
    random: bool
    origin: str

    @property
    def text(self) -> str:
        """The blocks in words: ``"1.84 sessions on average (given)"``."""
        shown = f"{self.length:,.0f}" if self.length >= 1000.0 else f"{self.length:.3g}"
        ending = "" if shown == "1" else "s"
        how = " on average" if self.random and self.length > 1.0 else ""
        return f"{shown} {self.unit}{ending}{how} ({self.origin})"


@dataclass(frozen=True)
class Finding:
    """What one method says of one variant.

    Attributes
    ----------
    method : str
        Its name on the command line, such as ``"sessions"``.
    title : str
        What was done, in a few words: "whole sessions of ticks resampled".
    variant : str
        Label: ``"trial 17"`` or ``"fast=20 slow=100"``.
    params : dict
        Values by parameter.
    n_paths : int
        Replicates (paths, points, scenarios).
    seed : int
    block : Block or None
        What is drawn together, where the method draws blocks.
    observed : dict of str to float
        Metrics of the variant on the history itself.
    summaries : dict of str to Summary
        By metric, in the order in which they are shown; the first is the main one.
    figures : dict of str to float
        Further single numbers with their units in their names (``break_even_latency_ms``);
        NaN where undefined, and then `reasons` says why.
    tables : dict of str to (tuple of str, tuple of tuple)
        Further tables by title: column names, rows.
    paths : dict of str to ndarray of shape (n_paths,)
        A column for each metric, NaN where undefined; what is written as CSV and Parquet.
    curves : dict of str to ndarray of shape (n_quantiles, n_points)
        For fan charts: quantiles 5, 25, 50, 75, 95 of a quantity along the path.
    reasons : dict of str to str
        Why a figure is NaN.
    notes : tuple of str
        What a reader must know; "cannot be said, because ..." where it is so.
    seconds : float
        Wall time, with what was done for all variants of the method together.
    fitting_seconds : float
        Of it, for fitting a model to the ticks.
    session_profits : ndarray of shape (n_sessions,), float64, or None
        What the variant earned in each session of the history, where sessions are drawn.
    """

    method: str
    title: str
    variant: str
    params: dict[str, Any]
    n_paths: int
    seed: int
    observed: dict[str, float]
    summaries: dict[str, Summary] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    tables: dict[str, tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]] = field(
        default_factory=dict
    )
    paths: dict[str, FloatArray1D] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    fitting_seconds: float = 0.0
    block: Block | None = None
    session_profits: FloatArray1D | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON has it, without the paths; NaN is None, with a reason."""
        found = {
            "method": self.method,
            "title": self.title,
            "variant": self.variant,
            "params": dict(self.params),
            "n_paths": self.n_paths,
            "seed": self.seed,
            "block": self.block,
            "observed": self.observed,
            "summaries": {name: s.to_dict() for name, s in self.summaries.items()},
            "figures": self.figures,
            "tables": [
                {"title": title, "rows": [dict(zip(names, row, strict=True)) for row in rows]}
                for title, (names, rows) in self.tables.items()
            ],
            "reasons": self.reasons,
            "notes": list(self.notes),
            "seconds": self.seconds,
            "fitting_seconds": self.fitting_seconds,
        }
        whole: dict[str, Any] = plain(found)
        return whole
