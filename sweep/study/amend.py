"""Adding to a study that is not running: looks at the holdout, evaluations made elsewhere.

A ledger has one writer at a time, and what is looked at is recorded before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from sweep.errors import InputError, LedgerError, StudyLockedError
from sweep.study.records import ExtraEvaluations, HoldoutLook, Record
from sweep.study.study import ReplayResult, Study

__all__ = ["IN_FOLDS", "open_holdout", "record_evaluations"]

#: Where searches in folds put on record what they tried: candidates of no choice but their own.
IN_FOLDS = "searches in folds"


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
    with _locked(study, "opening the holdout"):
        number, params = _identity(study, variant)
        found = study.replay(variant, on="holdout")
        if not any(o.params.tobytes() == params.tobytes() for o in study.opened.values()):
            _append(study, HoldoutLook(number, params, found.replay.row))
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


def record_evaluations(study: Study, source: str, count: int) -> None:
    """Record that variants were evaluated on ticks of a study's search range.

    They count in `Study.evaluations` from then on, also for later runs. Recording the same
    again changes nothing, so that work that is repeated after a kill may do so.

    Parameters
    ----------
    study : Study
    source : str
        Where, such as ``"walk-forward, fold 3"``.
    count : int
        Distinct variants that were evaluated there so far and are no trials of the study.
        A lower count than before changes nothing.

    Raises
    ------
    InputError
        If the source is empty or the count negative.
    StudyLockedError
        If the study is running: its ledger has one writer.
    LedgerError
        If it cannot be recorded.
    """
    if not source or count < 0:
        raise InputError(
            f"evaluations are recorded by their source and a count of 0 or more, "
            f"found {source!r} and {count}"
        )
    with _locked(study, "what was evaluated elsewhere"):
        if count > study.extra_evaluations.get(source, 0):
            _append(study, ExtraEvaluations(source, count))


@contextmanager
def _locked(study: Study, what: str) -> Iterator[None]:
    """Lock a study that no run works on, and read what is on the disk now.

    Parameters
    ----------
    study : Study
    what : str
        For messages: what is to be recorded.

    Raises
    ------
    StudyLockedError
        If the study is running.
    LedgerError
        If its folder cannot be written.
    """
    lock = FileLock(str(study.folder / "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyLockedError(
            f"{study.folder}: the study is running; {what} can be recorded when it has ended"
        ) from None
    except OSError as error:
        raise LedgerError(
            f"{study.folder}: {what} is recorded there, and it cannot be written: {error.strerror}"
        ) from None
    try:
        study._load(gaps=True)  # another process may have gone on with it since it was opened
        yield
    finally:
        lock.release()


def _append(study: Study, record: Record) -> None:
    """Append a record to the ledger of a study that is `_locked`, and let the study know.

    Raises
    ------
    LedgerError
        If it cannot be recorded.
    """
    study.ledger.open()
    try:
        study.ledger.append(record)
    finally:
        study.ledger.close()
    study.take(record)
