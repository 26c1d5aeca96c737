"""The engine that a study asks for by its name."""

from __future__ import annotations

from sweep.engines.base import Engine
from sweep.engines.serial import SerialEngine

__all__ = ["make_engine"]


def make_engine(name: str, workers: int | None) -> Engine:
    """Return an engine by its name in the study file.

    Parameters
    ----------
    name : str
        ``"loky"``, ``"joblib"`` or ``"serial"``.
    workers : int or None
        None for all cores; with ``"joblib"`` for what its backend gives.
    """
    if name == "serial":
        return SerialEngine()
    if name == "joblib":
        return _active_engine(workers)
    # Imported only where it is used, as below: joblib takes a while.
    from sweep.engines.local import LocalEngine

    return LocalEngine(workers)


def _active_engine(workers: int | None) -> Engine:
    """Return the engine of joblib's backend that is active around the call.

    Where that is loky, or none is set, it is our own pool of joblib's loky. Where the backend has
    one worker run in the caller's thread, it is the serial engine.
    """
    from joblib._parallel_backends import LokyBackend
    from joblib.parallel import FallbackToBackend, get_active_backend

    from sweep.engines.joblib_backend import JoblibEngine
    from sweep.engines.local import LocalEngine

    backend, n_jobs = get_active_backend()
    n_jobs = workers or n_jobs or -1
    if isinstance(backend, LokyBackend):
        return LocalEngine(backend.effective_n_jobs(n_jobs))
    try:
        return JoblibEngine(backend, n_jobs)
    except FallbackToBackend:
        return SerialEngine()
