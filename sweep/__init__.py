"""Sweep: which parameters of a trading rule are worth anything.

From Python::

    import sweep

    study = sweep.open_study("results/gold")
    study.trials()                  # pandas DataFrame, one row a trial
    study.replay(study.best()[0])   # one variant with its fills and equity
    sweep.monte_carlo(study)        # how the best does on other histories
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from sweep.version import __version__

# Before Numba is imported, which reads it then. Where Intel's SVML is installed, loops that
# run variants side by side would take exp and log from it, with other bits than one
# variant alone gets.
os.environ["NUMBA_DISABLE_INTEL_SVML"] = "1"

if TYPE_CHECKING:
    from sweep.api import create_study, monte_carlo, open_study, run
    from sweep.errors import SweepError
    from sweep.montecarlo.finding import Finding
    from sweep.study.runner import Summary
    from sweep.study.study import Study


__all__ = [
    "Finding",
    "Study",
    "Summary",
    "SweepError",
    "__version__",
    "create_study",
    "monte_carlo",
    "open_study",
    "run",
]

_HOME = {
    "Finding": "sweep.montecarlo.finding",
    "Study": "sweep.study.study",
    "Summary": "sweep.study.runner",
    "SweepError": "sweep.errors",
    "create_study": "sweep.api",
    "monte_carlo": "sweep.api",
    "open_study": "sweep.api",
    "run": "sweep.api",
}


def __getattr__(name: str) -> Any:
    # Imported on use: workers and the command line's help must not pay for the rest.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'sweep' has no attribute {name!r}")
