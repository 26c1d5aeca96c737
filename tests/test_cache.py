"""Where imported ticks and compiled kernels are kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from sweep.cache import cache_root
from sweep.errors import StoreError
from sweep.kernel.cache import kernels_folder
from sweep.ticks.store import root


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SWEEP_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c"),
        ({"SWEEP_CACHE": "~/c", "HOME": "/h"}, "/h/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/sweep"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/sweep"),
        ({"SWEEP_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/sweep"),
    ],
)
def test_ticks_and_kernels_lie_in_the_same_cache(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SWEEP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_root() == Path(expected)
    assert root("disk") == Path(expected) / "ticks"
    assert kernels_folder() == Path(expected) / "kernels"


def test_a_user_without_a_home_has_a_cache_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SWEEP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"sweep-{os.getuid()}"
    assert cache_root() == folder
    folder.mkdir()
    assert cache_root() == folder
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    (tmp_path / "sweep-4000000").mkdir()
    with pytest.raises(StoreError, match="belongs to another user; set SWEEP_CACHE"):
        cache_root()
