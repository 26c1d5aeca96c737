"""One cache for the whole run, so that each kernel is compiled once, and a key of its own."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Set before anything reads it; test workers and child processes inherit it.
_OWNER = "PYTEST_XDIST_WORKER" not in os.environ
if _OWNER:
    os.environ["SWEEP_CACHE"] = tempfile.mkdtemp(prefix="sweep-tests-")
    os.environ["XDG_CONFIG_HOME"] = f"{os.environ['SWEEP_CACHE']}/config"
os.environ.pop("NO_COLOR", None)

# A test proves the same on a slow machine.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_unconfigure() -> None:
    """Remove the cache, once every test worker is done."""
    if _OWNER:
        shutil.rmtree(os.environ["SWEEP_CACHE"], ignore_errors=True)


def pytest_collection_finish() -> None:
    """Take what compiling has no need of from it; either took a tenth of its time.

    The garbage collector leaves alone what stays anyway, modules and tests: Numba makes so
    many objects that it would go through all of them again and again. And Numba compares
    sets of its options as a whole, instead of asking for each option by name.
    """
    import sweep  # noqa: F401, since it sets Numba up, which must come after it

    # isort: split
    from numba.core.targetconfig import TargetConfig

    @functools.cache
    def defaults(options: type[TargetConfig]) -> dict[str, Any]:
        return {name: option.default for name, option in options.options.items()}

    TargetConfig.values = lambda self: {**defaults(type(self)), **self._values}
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture
def real_ticks() -> Path:
    """The folder of real ticks that ``SWEEP_DATA`` names; the test is skipped without it."""
    folder = os.environ.get("SWEEP_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SWEEP_DATA names no folder of real ticks")
    return Path(folder)
