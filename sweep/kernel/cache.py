"""Where compiled modules lie, and whether they are whole.

Each lies in a folder of its own, named by the hash of everything that it was made from:
its text, Sweep's own compiled text, the versions of what compiles it, the processor. One
process compiles it under a lock and seals it with the checksums of its files; others
load it. What is damaged is compiled again. Where the folder cannot be written to, one for
this process and its workers takes its place.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
import numpy as np

from sweep import features, schema
from sweep.cache import cache_root
from sweep.errors import StrategyError
from sweep.kernel import accounting
from sweep.strategy import declare

__all__ = ["find_or_build", "in_cache", "kernels_folder", "own_digest", "seal"]

Found = TypeVar("Found")


def _use_wide_vectors() -> None:
    # LLVM prefers vectors of 256 bits on many processors that have 512, because the wider
    # ones lowered the clock of early ones; for a loop that does nothing else they win.
    settings: Any = numba.config
    if settings.CPU_FEATURES is None and settings.CPU_NAME is None:
        host = llvm.get_host_cpu_features()
        if host.get("avx512f"):
            settings.CPU_FEATURES = host.flatten() + ",-prefer-256-bit"


_use_wide_vectors()


def kernels_folder() -> Path:
    """Return the folder of compiled kernels."""
    return cache_root() / "kernels"


@functools.cache
def own_digest() -> str:
    """Return a hash of Sweep's own compiled text, of what compiles it, and of the processor."""
    digest = hashlib.blake2b(digest_size=16)
    own = Path(__file__).parent
    files = [Path(str(module.__file__)) for module in (features, accounting, schema, declare)]
    for file in (*files, *sorted(own.rglob("*.py"))):
        digest.update(file.read_bytes())
    processor = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    settings: Any = numba.config
    chosen = (settings.CPU_NAME, settings.CPU_FEATURES, getattr(settings, "USING_SVML", False))
    versions = (numba.__version__, np.__version__, sys.version_info[:3])
    digest.update(repr((versions, processor, chosen)).encode())
    return digest.hexdigest()


def in_cache(name: str, source: str, find: Callable[[Path], Found]) -> Found:
    """Return what ``find`` makes of the folder for a module, or of another if that fails.

    Parameters
    ----------
    name : str
        Of the module, for messages.
    source : str
        The module's text.
    find : callable
        ``find(folder)``, which may raise OSError.

    Raises
    ------
    StrategyError
        If no folder can be written to.
    """
    key = hashlib.blake2b((own_digest() + source).encode(), digest_size=16).hexdigest()
    folder = kernels_folder() / key
    try:
        return find(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        _say_once(folder.parent, reason)
    for parent in (tempfile.gettempdir(), "/dev/shm"):
        try:
            return find(Path(_temporary(parent)) / key)
        except OSError as error:
            reason = error.strerror or str(error)
    raise StrategyError(
        f"{name}: there is no place for its compiled form ({reason}), neither in {folder.parent} "
        f"nor in a temporary folder; make room, or set SWEEP_CACHE to a folder that has some"
    )


_SAID: set[Path] = set()


def _say_once(folder: Path, reason: str) -> None:
    # Not a Python warning: those come with a place in the code, which helps nobody here.
    if folder not in _SAID:
        _SAID.add(folder)
        print(
            f"the kernel cache {folder} cannot be used ({reason}); kernels are compiled again "
            f"for this run; set SWEEP_CACHE to a folder with room to keep them",
            file=sys.stderr,
        )


@functools.cache
def _temporary(parent: str) -> str:
    import atexit

    root = tempfile.mkdtemp(prefix="sweep-kernels-", dir=parent)
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def find_or_build(
    folder: Path, source: str, compile_: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return what the seal of a module says; compile it first where it is not whole.

    Parameters
    ----------
    folder : Path
    source : str
        The module's text; it becomes ``folder/kernel.py``.
    compile_ : callable
        Compiles that file, and returns what the seal is to say.

    Raises
    ------
    OSError
        If the folder cannot be written to, and has no such module; or if others can write
        to it.
    """
    from filelock import FileLock

    # Machine code is executed unread: none is taken from where others could have put it.
    for place in (folder.parent, folder):
        if not place.exists():
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(place)
    found = seal(folder)
    if found is not None:
        return found
    with FileLock(str(folder / "lock")):
        found = seal(folder)  # another process may have been first
        if found is None:
            (folder / "seal.json").unlink(missing_ok=True)
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            _write(folder / "kernel.py", source)
            found = {**compile_(), "files": _sums(folder)}
            _write(folder / "seal.json", json.dumps(found, indent=1))
    return found


def _check_owner(folder: Path) -> None:
    """Raise OSError where a folder is another user's, or others can write to it."""
    found = folder.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & 0o022:
        raise PermissionError(f"other users can write to {folder}")


def seal(folder: Path) -> dict[str, Any] | None:
    """Return what a module's seal says if none of its files is missing or damaged.

    Damaged machine code would not fail to load, it would crash.
    """
    try:
        found: dict[str, Any] = json.loads((folder / "seal.json").read_text(encoding="utf-8"))
        whole = len(found["files"]) > 1 and found["files"] == _sums(folder)
        return found if whole else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sums(folder: Path) -> dict[str, str]:
    files = [folder / "kernel.py", *sorted(folder.glob("__pycache__/*.nb?"))]
    return {
        str(file.relative_to(folder)): hashlib.blake2b(file.read_bytes()).hexdigest()[:32]
        for file in files
    }


def _write(path: Path, content: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(content, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
