"""The ticks that benches run on: the user's own, or a generated market."""

from __future__ import annotations

from sweep.bench.frame import Settings
from sweep.schema import TickHandle
from sweep.ticks.synthetic import SynthSpec

__all__ = ["bench_ticks", "generated", "market"]

_PER_SESSION = 25_000
_SEED = 20_140_501


def market(ticks: int) -> SynthSpec:
    """Return the generated market with some ``ticks`` ticks, 100 at the least."""
    sessions = max(round(ticks / _PER_SESSION), 1)
    return SynthSpec(
        seed=_SEED, sessions=sessions, ticks_per_session=max(round(ticks / sessions), 100)
    )


def generated(ticks: int) -> TickHandle:
    """Return some ``ticks`` generated ticks, from the store or put there."""
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks

    return import_ticks(SourceSpec(path="synth", synth=market(ticks))).handle


def bench_ticks(settings: Settings, ticks: int, quick: int) -> TickHandle:
    """Return the ticks of a bench: those of ``--source``, or generated ones.

    Parameters
    ----------
    settings : Settings
    ticks, quick : int
        How many to generate, and how many in a quick run.
    """
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks

    if settings.source is None or settings.source == "synth":
        return generated(quick if settings.quick else ticks)
    return import_ticks(SourceSpec(path=settings.source)).handle
