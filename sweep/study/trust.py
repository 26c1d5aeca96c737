"""The mark of the studies that this user made on this machine: only their files run code.

A mark is a keyed checksum (HMAC-SHA256). The key is 32 random bytes in the user's
configuration folder, which nobody else can read, so that a folder from elsewhere cannot
bear a mark that verifies, whatever it holds.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
import tempfile
from functools import cache
from pathlib import Path

from sweep.kernel.cache import kernels_folder

__all__ = ["mark", "verifies"]

_LENGTH = 32


def mark(purpose: str, content: bytes) -> bytes:
    """Return the keyed checksum of some bytes.

    Parameters
    ----------
    purpose : str
        What they are for: a mark made for one purpose is none for another.
    content : bytes

    Returns
    -------
    bytes
        32 of them.
    """
    key = _key(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))
    return hmac.digest(key, purpose.encode() + b"\0" + content, hashlib.sha256)


def verifies(purpose: str, content: bytes, claimed: bytes) -> bool:
    """Whether `mark` gave this mark to these bytes, by this user on this machine."""
    return hmac.compare_digest(mark(purpose, content), claimed)


@cache
def _key(root: str) -> bytes:
    """Return the user's key, made on first use.

    Where the configuration folder cannot hold it, it lies with the caches, or in a temporary
    folder of the user's own; without any, it lasts as long as this process.
    """
    wanted = Path(root) / "sweep"
    temporary = Path(tempfile.gettempdir()) / f"sweep-{os.getuid()}"
    reason = "there is no home folder"
    for folder in (wanted, kernels_folder().parent, temporary):
        if not folder.is_absolute():
            continue
        try:
            key = _read_or_make(folder)
        except OSError as error:
            reason = error.strerror or str(error) if folder == wanted else reason
            continue
        if folder != wanted:
            _report(wanted, reason, f"it lies in {folder}")
        return key
    _report(
        wanted,
        reason,
        "there is no other place either, so that other commands want --trust to run what is "
        "in the folders of studies begun now",
    )
    return secrets.token_bytes(_LENGTH)


def _report(wanted: Path, reason: str, instead: str) -> None:
    # Not a Python warning: those come with a place in the code, which helps nobody here.
    print(
        f"the key that marks your studies as yours cannot be kept in {wanted} ({reason}); "
        f"{instead}",
        file=sys.stderr,
    )


def _read_or_make(folder: Path) -> bytes:
    """Return the key in a folder; OSError where it cannot be kept there, or not in private."""
    path = folder / "key"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(folder, 0o022)
        part = folder / f"key.{os.getpid()}.{secrets.token_hex(4)}.part"
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_LENGTH))
                os.fsync(file.fileno())
            # A link, which fails where another process was first: that one's key stands.
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink(missing_ok=True)
    _check_private(folder, 0o022)
    _check_private(path, 0o077)
    key = path.read_bytes()
    if len(key) != _LENGTH:
        raise OSError(f"{path} is damaged: it has {len(key)} bytes, not {_LENGTH}; remove it")
    return key


def _check_private(path: Path, shared: int) -> None:
    """Raise OSError where a file or folder is another user's, or open to others."""
    found = path.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    if found.st_mode & shared:
        raise PermissionError(f"{path} is open to other users")
