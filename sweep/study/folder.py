"""The files that say what a study is: settings, hashes and versions, and its strategy's text.

``study.json`` is plain data with a checksum against damage and the user's mark
(`sweep.study.trust`). What is not marked was made by somebody else, or elsewhere: it is
read, and nothing in its folder is executed before the user says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from sweep.errors import InputError, StudyMismatchError
from sweep.strategy import Space, boolean, categorical, integer, real
from sweep.strategy.declare import Strategy, source_digest, strategy_from_source
from sweep.strategy.space import SearchSpace
from sweep.study.file.spec import StudySpec, differences
from sweep.study.ledger import sync_folder
from sweep.study.setup import Setup
from sweep.study.trust import mark, verifies
from sweep.version import __version__

__all__ = [
    "compare",
    "declared_space",
    "describe",
    "find_study",
    "identity",
    "is_begun",
    "read_manifest",
    "saved_strategy",
    "write",
    "write_manifest",
]

FORMAT = 3

#: What the user's mark is for.
_PURPOSE = "study.json"


def find_study(folder: str | Path | None, results: str | Path = "results") -> Path:
    """Return the study's folder: the one given, or the latest one under ``results``.

    Raises
    ------
    InputError
        If there is none.
    """
    if folder is not None:
        return Path(folder)
    found = [p for p in Path(results).glob("*/study.json")]
    if not found:
        raise InputError(
            f"no study under {Path(results)}; run one first: sweep run STUDY.toml, "
            f"or name its folder"
        )
    return max(found, key=lambda p: _touched(p.parent)).parent


def _touched(folder: Path) -> float:
    ledger = folder / "ledger.bin"
    return (ledger if ledger.exists() else folder / "study.json").stat().st_mtime


def is_begun(folder: Path, source: str) -> bool:
    """Whether a folder is empty, but for what a run that was killed at once leaves."""
    for path in folder.iterdir():
        if path.name == "lock" or path.suffix == ".part":
            continue
        if path.name != "strategy.py" or path.read_text(encoding="utf-8") != source:
            return False
    return True


def describe(spec: StudySpec, setup: Setup) -> dict[str, Any]:
    """Return what a study is, as plain data for ``study.json``."""
    import numba

    ticks = setup.ticks
    return {
        "format": FORMAT,
        "name": spec.study.name,
        "settings": spec.settings(),
        "digest": spec.digest(),
        "strategy": {"path": setup.strategy.path, "digest": setup.strategy.digest},
        "space": [_declared(p) for p in setup.space.parameters],
        "ticks": {
            "content": ticks.content,
            "n_ticks": ticks.n_ticks,
            "kind": ticks.kind,
            "first_ts": ticks.first_ts,
            "last_ts": ticks.last_ts,
        },
        "search": list(setup.ranges.search),
        "holdout": None if setup.ranges.holdout is None else list(setup.ranges.holdout),
        "n_slices": len(setup.slices),
        "periods_per_year": setup.context.account.periods_per_year,
        "capital": setup.context.account.capital,
        "sessions": {"edges": list(setup.sessions.stamps), "reason": setup.sessions.reason},
        "versions": {
            "sweep": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "optuna": version("optuna"),
        },
    }


def compare(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise `StudyMismatchError` if a study was made from other inputs."""
    found = []
    if old["ticks"]["content"] != new["ticks"]["content"]:
        found.append(
            f"the ticks: {old['ticks']['n_ticks']:,} then, {new['ticks']['n_ticks']:,} now, "
            f"with other content"
        )
    if old["strategy"]["digest"] != new["strategy"]["digest"]:
        found.append(f"the strategy's text: {new['strategy']['path']} was changed")
    if old["digest"] != new["digest"]:
        found.extend(differences(old["settings"], new["settings"]))
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        raise StudyMismatchError(
            f"{folder}: this study was made with other inputs:\n{lines}\n"
            f"put them back to go on with it, or begin another one with --out FOLDER"
        )


def identity(manifest: dict[str, Any]) -> str:
    """Return a hash of what a study's results follow from: settings, ticks and strategy."""
    parts = (manifest["digest"], manifest["ticks"]["content"], manifest["strategy"]["digest"])
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


# -- the manifest ----------------------------------------------------------------------


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write what `describe` gave, with its checksum and the user's mark."""
    content = _canonical(manifest)
    seal = {"checksum": _checksum(content), "mark": mark(_PURPOSE, content).hex()}
    write(path, json.dumps({**manifest, **seal}, indent=2) + "\n")


def read_manifest(path: Path) -> tuple[dict[str, Any], bool]:
    """Read what `write_manifest` wrote.

    Returns
    -------
    manifest : dict
    ours : bool
        Whether this user wrote it on this machine.

    Raises
    ------
    InputError
        If it is damaged, or of another version; the text says what to do.
    """
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form = manifest["format"]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    if isinstance(form, int) and form < FORMAT:
        raise InputError(
            f"{path}: this study was made by an earlier version of Sweep (its folder has format "
            f"{form}, this version reads {FORMAT}); run the study again with --out another "
            f"folder"
        )
    checksum, claimed = manifest.pop("checksum", None), manifest.pop("mark", None)
    content = _canonical(manifest)
    if checksum != _checksum(content):
        raise _damaged(path)
    if form != FORMAT:
        raise InputError(
            f"{path}: this study was made by a later version of Sweep (its folder has format "
            f"{form}, this version reads {FORMAT}); read it with that version"
        )
    try:
        msgspec.convert(manifest, _Manifest)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: describes no study: {error}") from None
    try:
        return manifest, verifies(_PURPOSE, content, bytes.fromhex(claimed))
    except (TypeError, ValueError):
        return manifest, False


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path}: is damaged, or was changed by hand; sweep run STUDY.toml --out {path.parent} "
        f"writes it again, if the study file and its ticks are those that the study was made with"
    )


def _canonical(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


class _Declared(msgspec.Struct):
    """A parameter as plain data; see `sweep.strategy.real` and its like."""

    name: str
    kind: Literal["real", "integer", "categorical", "boolean"]
    default: bool | int | float | str
    low: float | None
    high: float | None
    step: float | None
    log: bool
    choices: list[bool | int | float | str]
    conditional: bool
    points: int | None


class _TickFacts(msgspec.Struct):
    content: str
    n_ticks: int
    kind: str
    first_ts: int
    last_ts: int


class _StrategyFacts(msgspec.Struct):
    path: str
    digest: str


class _Sessions(msgspec.Struct):
    edges: list[int]
    reason: str


class _Manifest(msgspec.Struct):
    """What must be there for a study to be read; see `describe`."""

    name: str
    settings: dict[str, Any]
    digest: str
    strategy: _StrategyFacts
    space: list[_Declared]
    ticks: _TickFacts
    search: tuple[int, int, int]
    holdout: tuple[int, int, int] | None
    n_slices: int
    periods_per_year: float
    capital: float
    sessions: _Sessions
    versions: dict[str, str]


# -- the strategy and its space --------------------------------------------------------


def saved_strategy(folder: Path, spec: StudySpec, digest: str) -> Strategy:
    """Return the strategy that a study was begun with; this executes its text.

    Raises
    ------
    InputError
        If the file is missing, or is not what the study was begun with.
    """
    path = folder / "strategy.py"
    try:
        source = path.read_text(encoding="utf-8")
    except OSError:
        raise InputError(f"{path}: is missing from the study") from None
    except UnicodeDecodeError:
        source = ""
    if source_digest(source) != digest:
        raise InputError(
            f"{path}: is not the strategy that the study was made with; put that one back "
            f"(its digest is {digest})"
        )
    return strategy_from_source(source, spec.study.strategy)


def _declared(p: Any) -> dict[str, Any]:
    """Return a parameter as plain data, without its condition."""
    return {
        "name": p.name,
        "kind": p.kind,
        "default": _plain(p.default),
        "low": getattr(p, "low", None),
        "high": getattr(p, "high", None),
        "step": getattr(p, "step", None),
        "log": getattr(p, "log", False),
        "choices": list(map(_plain, getattr(p, "choices", ()))),
        "conditional": p.when is not None,
        "points": getattr(p, "points", None),
    }


def _parameter(d: _Declared) -> Any:
    """Return the parameter that plain data describe, which always counts."""
    if d.kind == "boolean":
        p = replace(boolean(default=d.default is True), choices=tuple(d.choices))
    elif d.kind == "categorical":
        p = categorical(*d.choices, default=d.default)
    else:
        declare: Any = real if d.kind == "real" else integer
        step = d.step if d.kind == "real" else d.step or 1
        p = declare(d.low, d.high, default=d.default, step=step, log=d.log, points=d.points)
    return replace(p, name=d.name)


def _plain(value: Any) -> Any:
    """Return a parameter's value as JSON has it: an enumeration's member is its number."""
    if isinstance(value, (bool, str)):
        return value
    return int(value) if isinstance(value, (int, np.integer)) else float(value)


def declared_space(manifest: dict[str, Any], path: Path) -> tuple[SearchSpace, bool]:
    """Return the space that a study was begun with, as far as plain data tell.

    It knows of no condition and no constraint, which are functions of the strategy.

    Parameters
    ----------
    manifest : dict
    path : Path
        For messages.

    Returns
    -------
    space : SearchSpace
    conditional : bool
        Whether parameters have conditions.

    Raises
    ------
    InputError
        If the data describe no space.
    """
    declared = msgspec.convert(manifest["space"], list[_Declared])
    try:
        space = SearchSpace(tuple(map(_parameter, declared)), Space)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{path}: describes no space: {error}") from None
    return space, any(d.conditional for d in declared)


# -- files -----------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """Write a whole file or none, and force it to the disk."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
