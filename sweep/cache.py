"""The folder of everything that is kept between runs: imported ticks and compiled kernels."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sweep.errors import StoreError

__all__ = ["cache_root"]


def cache_root() -> Path:
    """Return ``$SWEEP_CACHE``, else ``sweep`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    A user without a home has one among the temporary files.

    Raises
    ------
    StoreError
        If that one belongs to somebody else.
    """
    chosen = os.environ.get("SWEEP_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen)).absolute()
    # The specification has relative paths ignored.
    for parent in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(parent):
            return Path(parent) / "sweep"
    folder = Path(tempfile.gettempdir()) / f"sweep-{os.getuid()}"
    if os.path.lexists(folder) and folder.lstat().st_uid != os.getuid():
        raise StoreError(f"{folder}: belongs to another user; set SWEEP_CACHE to another folder")
    return folder
