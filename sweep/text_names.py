"""Names that settings may take, and the nearest one to a name that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ARRIVALS",
    "DIRECTIONS",
    "EFFECTS",
    "ENGINES",
    "MODELS",
    "PRUNERS",
    "SAMPLERS",
    "STATES",
    "did_you_mean",
    "known_names",
]

SAMPLERS = ("grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2")
PRUNERS = ("none", "median", "successive_halving", "hyperband", "wilcoxon")
ENGINES = ("loky", "serial")
DIRECTIONS = ("maximize", "minimize")
#: States of a trial. Studies keep positions in this tuple: it may grow, and its order must stay.
#: ``complete``: evaluated, every requirement met. ``pruned``: stopped on the way.
#: ``infeasible``: evaluated, a requirement on the results is broken or undefined. ``invalid``:
#: forbidden by the strategy's constraint between parameters, never evaluated. ``failed``: the
#: evaluation raised.
STATES = ("complete", "pruned", "infeasible", "invalid", "failed")
#: Of simulated markets: the price processes, the arrivals of ticks, the planted effects.
MODELS = ("gbm", "merton", "garch", "regimes")
ARRIVALS = ("poisson", "hawkes")
EFFECTS = ("none", "momentum", "reversion", "hour")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``'; did you mean "NAME"?'`` for the nearest of ``names``, or an empty text."""
    near = difflib.get_close_matches(name, list(names), 1, 0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def known_names(name: str, names: Iterable[str]) -> str:
    """Return how a sentence on a wrong name ends: the nearest of ``names``, and all of them."""
    known = list(names)
    near = did_you_mean(name, known)
    return f"{near} There are {', '.join(known)}" if near else f"; there are {', '.join(known)}"
