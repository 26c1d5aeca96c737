"""``[monte_carlo]``, and the settings that it shares with `sweep mc`.

Little is imported here, so that `sweep mc --help` can list the settings at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sweep.scenarios.resample.spec import LEVELS, METHODS, RESTARTS, ResampleSpec
from sweep.study.file import kinds
from sweep.study.file.kinds import key

__all__ = ["RESAMPLING_METHODS", "MonteCarloSection", "PathSettings", "number_of_paths"]

#: Methods that resample ticks, the cheapest first.
RESAMPLING_METHODS = tuple(method for method in METHODS if method != "identity")


def number_of_paths() -> Any:
    """Return the field for how many paths are drawn."""
    return key(kinds.whole(1), 1000, name="paths", help="How many; 1,000 by default.")


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """How paths are drawn, whatever the method; see `ResampleSpec`."""

    restart: str | None = key(
        kinds.choice(*RESTARTS),
        None,
        help="Where the strategy starts again on a path, flat; chosen by the method by default.",
    )
    level: str = key(
        kinds.choice(*LEVELS),
        "log",
        help="What of a move is kept at another price level: its share, or its size in ticks.",
    )
    tick_size: float | None = key(
        kinds.number(least=0.0), None, help="Step of the price grid; 0: none; detected by default."
    )
    gap: float | None = key(
        kinds.number(above=0.0),
        None,
        help="Minutes without a tick that separate sessions; 30 by default.",
    )
    opens: float | None = key(
        kinds.number(least=0.0),
        None,
        help="Hour (UTC) at which sessions begin, instead of gaps.",
    )

    def resample_spec(self, **settings: Any) -> ResampleSpec:
        """Return how paths are drawn, given what is not stated here."""
        shared = {f.name: getattr(self, f.name) for f in fields(PathSettings)}
        return ResampleSpec(**shared | settings)


@dataclass(frozen=True)
class MonteCarloSection(PathSettings):
    """``[monte_carlo]``: paths of a search over paths, and the defaults of `sweep mc`.

    Attributes
    ----------
    method : str
        One of `RESAMPLING_METHODS`.
    n_paths : int
    step : int
        Paths after which a pruner decides, in a search over paths.
    seed : int or None
        None for the study's.
    block : float or None
        Block length in the method's unit; None for the method's default.
    """

    method: str = key(kinds.choice(*RESAMPLING_METHODS), "sessions")
    n_paths: int = number_of_paths()
    step: int = key(kinds.whole(1), 10)
    seed: int | None = key(kinds.whole(), None)
    block: float | None = key(kinds.number(above=0.0), None)

    def resampling(self, study_seed: int) -> ResampleSpec:
        """Return how paths are drawn, given the study's seed."""
        seed = study_seed if self.seed is None else self.seed
        return self.resample_spec(method=self.method, seed=seed, block=self.block)
