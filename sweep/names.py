"""Names that settings may take, the nearest one to a name that is wrong, and nouns in number."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DIRECTIONS",
    "ENGINES",
    "PRUNERS",
    "SAMPLERS",
    "counted",
    "did_you_mean",
    "missing_value",
    "too_few",
]

SAMPLERS = ("grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2")
PRUNERS = ("none", "median", "successive_halving", "hyperband", "wilcoxon")
ENGINES = ("loky", "serial")
DIRECTIONS = ("maximize", "minimize")


def counted(n: int, noun: str) -> str:
    """Return ``"1 path"``, ``"1,000 paths"``."""
    ending = "" if n == 1 else "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{n:,} {noun}{ending}"


def missing_value(missing: int, n: int, noun: str) -> str:
    """Return ``"1 of 4 replicates has no value"``, ``"2 of 4 replicates have no value"``."""
    return f"{missing:,} of {counted(n, noun)} {'has' if missing == 1 else 'have'} no value"


def too_few(n: int, noun: str) -> str:
    """Return ``"1 path is too few"``, ``"20 paths are too few"``."""
    return f"{counted(n, noun)} {'is' if n == 1 else 'are'} too few"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``'; did you mean "NAME"?'`` for the nearest of ``names``, or an empty text."""
    near = difflib.get_close_matches(name, list(names), 1, 0.6)
    return f'; did you mean "{near[0]}"?' if near else ""
