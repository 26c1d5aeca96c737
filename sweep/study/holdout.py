"""Opening the holdout for a variant after the search: recorded before it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweep.errors import InputError
from sweep.study.amend import held, put_on_record
from sweep.study.records import Opened
from sweep.study.study import ReplayResult, Study

__all__ = ["open_holdout"]


def open_holdout(study: Study, variant: int | Mapping[str, Any]) -> ReplayResult:
    """Replay a variant on the holdout, and record that it was opened for it.

    Looking again at a variant that has been seen there tells nothing new and is not
    counted again.

    Parameters
    ----------
    study : Study
    variant : int or mapping
        A trial's number, or values by parameter.

    Returns
    -------
    ReplayResult

    Raises
    ------
    StudyLockedError
        If the study is running: its ledger has one writer.
    LedgerError
        If the opening cannot be recorded; nothing is returned then.
    InputError
        If there is no such trial, or no holdout.
    """
    with held(study, "opening the holdout"):
        number, params = _identity(study, variant)
        found = study.replay(variant, on="holdout")
        if not any(o.params.tobytes() == params.tobytes() for o in study.opened.values()):
            put_on_record(study, Opened(number, params, found.replay.row))
        return found


def _identity(study: Study, variant: int | Mapping[str, Any]) -> tuple[int, Any]:
    """Return the number under which the variant is recorded, and its canonical row.

    A variant that is no trial takes the next number below 0.
    """
    if isinstance(variant, Mapping):
        params = study.space.encode(variant)
        number = study.board.find(params)
        return (number if number >= 0 else min([0, *study.opened]) - 1), params
    number = int(variant)
    try:
        trial = study.board.trial(number)
    except IndexError as error:
        raise InputError(f"{study.folder}: {error}") from None
    return (trial.duplicate_of if trial.duplicate_of >= 0 else number), trial.params
