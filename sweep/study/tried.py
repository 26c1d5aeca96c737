"""Putting on record that variants were evaluated beside a study's own trials."""

from __future__ import annotations

from sweep.errors import InputError
from sweep.study.amend import held, put_on_record
from sweep.study.records import Tried
from sweep.study.study import Study

__all__ = ["IN_FOLDS", "record_evaluations"]

#: Where searches in folds put on record what they tried: candidates of no choice but their own.
IN_FOLDS = "searches in folds"


def record_evaluations(study: Study, source: str, count: int) -> None:
    """Record that variants were evaluated on ticks of a study's search range.

    They count in `Study.evaluations` from then on, also for later runs. Saying the same
    again changes nothing, so that work that is repeated after a kill may do so.

    Parameters
    ----------
    study : Study
    source : str
        Where, such as ``"walk-forward, fold 3"``.
    count : int
        Distinct variants that were evaluated there so far and are no trials of the study.
        A lower count than before is not believed.

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
    with held(study, "what was evaluated beside it"):
        if count > study.tried.get(source, 0):
            put_on_record(study, Tried(source, count))
