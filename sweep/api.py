"""Sweep from Python: the words of the command line as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.montecarlo.run import monte_carlo
from sweep.report.snapshot import Snapshot
from sweep.study.file.spec import load_spec
from sweep.study.folder import find_study
from sweep.study.runner import Summary, run_study
from sweep.study.study import Study

__all__ = ["create_study", "monte_carlo", "open_study", "run"]


def create_study(
    path: str | Path,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    **flags: Any,
) -> Study:
    """Begin a study from its file, or go on with the one that lies in its folder.

    Parameters
    ----------
    path : str or Path
        The study file.
    out : str or Path, optional
        The study's folder; ``results/NAME`` by default.
    overrides : sequence of str, optional
        ``"section.key=value"``.
    **flags
        ``source``, ``trials``, ``sampler``, ``seed``, ``workers``: as on the command line.

    Returns
    -------
    Study
        Not run yet; see `run`.
    """
    given: Mapping[str, Any] = flags
    return Study.create(load_spec(path, overrides=overrides, flags=given), out)


def run(
    study: Study | str | Path,
    *,
    observer: Callable[[Snapshot], None] | None = None,
    **settings: Any,
) -> Summary:
    """Run a study, or a study file, to its end.

    Parameters
    ----------
    study : Study, str or Path
        From `create_study`, or the path of a study file.
    observer : callable, optional
        Given a snapshot several times a second.
    **settings
        For a study file: see `create_study`.

    Returns
    -------
    Summary
    """
    if not isinstance(study, Study):
        study = create_study(study, **settings)
    return run_study(study, observer=observer)


def open_study(folder: str | Path | None = None, *, trust: bool = False) -> Study:
    """Open a study's folder; the latest one under ``results`` by default.

    Parameters
    ----------
    folder : str or Path, optional
    trust : bool, optional
        Execute the strategy and the objectives of a study that was not made by this user on
        this machine; see `sweep.study.study.Study.open`.

    Returns
    -------
    Study
    """
    return Study.open(find_study(folder), trust=trust)
