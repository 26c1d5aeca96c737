"""The files that say what a study is: settings, hashes and versions, and its strategy's text."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from sweep.errors import InputError, StudyMismatchError
from sweep.strategy.declare import Strategy, strategy_from_source
from sweep.study.file.spec import StudySpec, differences
from sweep.study.setup import Setup
from sweep.version import __version__

__all__ = [
    "compare",
    "describe",
    "find_study",
    "is_begun",
    "read_about",
    "saved_strategy",
    "write",
]

FORMAT = 2


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


def read_about(path: Path) -> dict[str, Any]:
    """Read what `describe` gave, or raise `InputError`."""
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = about["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: cannot be read as a study of this version of Sweep") from None
    if found != FORMAT:
        raise InputError(
            f"{path}: this study was made by another version of Sweep (its folder has format "
            f"{found}, this version reads {FORMAT}); read it with that version, or run the study "
            f"again with --out another folder"
        )
    return about


def saved_strategy(folder: Path, spec: StudySpec) -> Strategy:
    """Return the strategy that a study was begun with."""
    try:
        source = (folder / "strategy.py").read_text(encoding="utf-8")
    except OSError:
        raise InputError(f"{folder / 'strategy.py'}: is missing from the study") from None
    return strategy_from_source(source, spec.study.strategy)


def write(path: Path, text: str) -> None:
    """Write a whole file or none."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
