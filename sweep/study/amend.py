"""Writing to the ledger of a study that is not running: it has one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from sweep.errors import LedgerError, StudyLockedError
from sweep.study.records import Record
from sweep.study.study import Study

__all__ = ["held", "put_on_record"]


@contextmanager
def held(study: Study, what: str) -> Iterator[None]:
    """Hold a study that no run works on, as it is on the disk now.

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
        study._load()  # another process may have gone on with it since it was opened
        yield
    finally:
        lock.release()


def put_on_record(study: Study, record: Record) -> None:
    """Append a record to the ledger of a study that is `held`, and let the study know.

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
