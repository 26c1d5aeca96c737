"""One cache for the whole run, so that each kernel is compiled once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_CACHE = tempfile.mkdtemp(prefix="sweep-tests-")
# Set before anything reads it; child processes inherit it.
os.environ["SWEEP_CACHE"] = _CACHE
os.environ.pop("NO_COLOR", None)


@pytest.fixture(scope="session", autouse=True)
def _cache() -> Iterator[None]:
    yield
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture
def real_ticks() -> Path:
    """The folder of real ticks that ``SWEEP_DATA`` names; the test is skipped without it."""
    folder = os.environ.get("SWEEP_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SWEEP_DATA names no folder of real ticks")
    return Path(folder)
