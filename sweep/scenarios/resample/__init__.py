"""Resampled paths of ticks: what is drawn, and the plan of a path.

::

    sessions (where they begin and end, which are alike)
    spec (what a user asks for) -> plan (a series made ready; the pieces of a path)
                                     -> ticks (any part of a path, written out)
                                     -> schedule (many paths, in an order that suits kernels)
"""

from sweep.scenarios.resample.plan import Path, Resampler, plan_path, prepare
from sweep.scenarios.resample.schedule import join, schedule
from sweep.scenarios.resample.spec import METHODS, ResampleSpec
from sweep.scenarios.resample.ticks import derive_ticks, path_blocks
from sweep.ticks.sessions import Sessions, find_sessions, sessions_by_clock

__all__ = [
    "METHODS",
    "Path",
    "ResampleSpec",
    "Resampler",
    "Sessions",
    "derive_ticks",
    "find_sessions",
    "join",
    "path_blocks",
    "plan_path",
    "prepare",
    "schedule",
    "sessions_by_clock",
]
