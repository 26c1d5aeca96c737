"""The ledger: one append-only file of records, each behind its length and a checksum.

A record is written before anything else learns of what it says, so that whatever a kill
interrupts, the file tells what was finished. A torn end is cut off on opening; a
damaged record in the middle is passed over, and what it held is evaluated again.
"""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.backtest.tasks import Carry
from sweep.errors import LedgerError
from sweep.schema import ROW
from sweep.study.records import Finished, Opened, Part, Partial, Record, Stretch, Tried

__all__ = ["Ledger", "sync_folder"]

_MAGIC = b"sweep ledger 2\n"
_MARK = b"\xf5REC"
_HEAD = struct.Struct("<4sII")  # mark, length and checksum of the payload


def _read_record(file: Any) -> bytes | None:
    """Return the payload of the record that begins here, or None if there is no whole one."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    mark, length, check = _HEAD.unpack(head)
    if mark != _MARK or file.tell() + length > os.fstat(file.fileno()).st_size:
        return None
    payload: bytes = file.read(length)
    return payload if zlib.crc32(payload) == check else None


def _next_record(file: Any, start: int) -> int | None:
    """Return where the next whole record begins at or behind ``start``, or None."""
    file.seek(start)
    rest = file.read()
    at = rest.find(_MARK)
    while at >= 0:
        file.seek(start + at)
        if _read_record(file) is not None:
            return int(start + at)
        at = rest.find(_MARK, at + 1)
    return None


@dataclass
class Ledger:
    """An append-only file of pickled records with checksums.

    Parameters
    ----------
    path : Path
    """

    path: Path
    damaged: int = 0
    _file: Any = field(default=None, repr=False)
    _unsynced: int = 0

    def open(self) -> None:
        """Open for appending, behind the last whole record; a torn end is cut off.

        Raises
        ------
        LedgerError
            If the file is no ledger, or cannot be read or written.
        """
        try:
            whole = len(_MAGIC)
            if self.path.exists() and self.path.stat().st_size >= whole:
                with open(self.path, "rb") as file:
                    if file.read(whole) != _MAGIC:
                        raise LedgerError(self._foreign())
                    for _, end in self._records(file):
                        whole = end
            else:
                self.path.write_bytes(_MAGIC)
            # Unbuffered: what a full disk refuses must not wait in a buffer for the end.
            self._file = open(self.path, "r+b", buffering=0)
            self._file.seek(whole)
            self._file.truncate(whole)
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror or error}") from None

    def _records(self, file: Any) -> Iterator[tuple[Record, int]]:
        """Yield whole records with the place behind each."""
        self.damaged = 0
        while True:
            at = file.tell()
            payload = _read_record(file)
            if payload is not None:
                yield _decode(payload), file.tell()
                continue
            rest = _next_record(file, at + 1)
            if rest is None:
                return
            self.damaged += 1
            file.seek(rest)

    def read(self) -> Iterator[Record]:
        """Read all whole records, changing nothing; also while another process appends.

        Raises
        ------
        LedgerError
            If the file is no ledger or cannot be read.
        """
        if not self.path.exists():
            return
        try:
            with open(self.path, "rb") as file:
                head = file.read(len(_MAGIC))
                if not _MAGIC.startswith(head):
                    raise LedgerError(self._foreign())
                # A kill may come before the first line is whole.
                if len(head) < len(_MAGIC):
                    return
                for record, _ in self._records(file):
                    yield record
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror or error}") from None

    def _foreign(self) -> str:
        return (
            f"{self.path}: this is no ledger of Sweep, or of another version; "
            f"move it away to begin the study anew"
        )

    def append(self, record: Record) -> None:
        """Write a record so that a killed process leaves it behind.

        Raises
        ------
        LedgerError
            If the disk is full or gone; the file then ends with the last whole record.
        """
        payload = _encode(record)
        at = self._file.tell()
        try:
            data = memoryview(_HEAD.pack(_MARK, len(payload), zlib.crc32(payload)) + payload)
            while len(data):
                data = data[self._file.write(data) :]
            self._unsynced += 1
        except OSError as error:
            try:
                self._file.truncate(at)
                self._file.seek(at)
            except OSError:
                pass
            raise LedgerError(
                f"{self.path}: cannot be written ({error.strerror}); what was finished is kept, "
                f"free some space and run again to go on"
            ) from None

    def rewrite(self, keep: Callable[[Record], bool], *new: Record) -> None:
        """Append records, and drop those that they stand for, in one step.

        A kill leaves the ledger as it was before, or as it is after.

        Parameters
        ----------
        keep : callable
            Whether a record stays.
        *new : Record

        Raises
        ------
        LedgerError
            If it cannot be written; the file is as it was then.
        """
        kept = [record for record in self.read() if keep(record)]
        part = self.path.with_suffix(".part")
        try:
            with open(part, "wb") as file:
                file.write(_MAGIC)
                for record in (*kept, *new):
                    payload = _encode(record)
                    file.write(_HEAD.pack(_MARK, len(payload), zlib.crc32(payload)) + payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise LedgerError(
                f"{self.path}: cannot be written ({error.strerror}); what was finished is kept, "
                f"free some space and run again to go on"
            ) from None
        self.close()
        self.open()

    def sync(self) -> None:
        """Force what was written to the disk, against a loss of power."""
        if self._file is not None and self._unsynced:
            os.fsync(self._file.fileno())
            self._unsynced = 0

    def close(self) -> None:
        """Close the file. May be repeated."""
        if self._file is not None:
            try:
                self.sync()
            finally:
                self._file.close()
                self._file = None


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk, so that a rename outlives a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _encode(record: Record) -> bytes:
    """Return a record as bytes: a tuple, with arrays of rows as their plain memory."""
    if isinstance(record, Finished):
        fields: tuple[Any, ...] = (
            "finished",
            record.number,
            record.params.tobytes(),
            record.state,
            record.row.tobytes(),
            record.values,
            record.violations,
            record.n_slices,
            record.intermediate,
            record.duplicate_of,
            record.reason,
            _bytes(record.sessions),
        )
    elif isinstance(record, Partial):
        carry = None if record.carry is None else tuple(record.carry)
        rows = record.rows.tobytes()
        fields = (
            "partial",
            record.params.tobytes(),
            record.slices,
            rows,
            carry,
            record.failure,
            _bytes(record.earned),
        )
    elif isinstance(record, Stretch):
        fields = (
            "stretch",
            record.first,
            record.params.shape,
            np.ascontiguousarray(record.params).tobytes(),
            record.duplicate_of.tobytes(),
            record.rows.tobytes(),
            record.failures,
            _bytes(record.sessions),
        )
    elif isinstance(record, Part):
        fields = (
            "part",
            record.first,
            record.count,
            record.name,
            record.size,
            record.digest,
            record.counts,
        )
    elif isinstance(record, Tried):
        fields = ("tried", record.source, record.count)
    else:
        row = record.row.tobytes()
        fields = ("opened", record.number, record.params.tobytes(), row, record.reason)
    return pickle.dumps(fields, protocol=5)


def _bytes(values: NDArray[Any] | None) -> bytes | None:
    return None if values is None else values.tobytes()


def _decode(payload: bytes) -> Record:
    # What was written before sessions were kept lacks the last field.
    kind, *f = pickle.loads(payload)
    if kind == "finished":
        row = np.frombuffer(f[3], ROW)[0]
        sessions = None if len(f) < 11 or f[10] is None else np.frombuffer(f[10], np.float32)
        given = (*f[4:10], sessions)
        return Finished(f[0], np.frombuffer(f[1]), f[2], row, *given)
    if kind == "partial":
        rows = np.frombuffer(f[2], ROW)
        carry = None if f[3] is None else Carry(*f[3])
        earned = None if len(f) < 6 or f[5] is None else np.frombuffer(f[5])
        return Partial(np.frombuffer(f[0]), f[1], rows, carry, f[4], earned)
    if kind == "stretch":
        params = np.frombuffer(f[2]).reshape(f[1])
        rows = np.frombuffer(f[4], ROW)
        sessions = None
        if len(f) > 6 and f[6] is not None:
            sessions = np.frombuffer(f[6], np.float32)
            sessions = sessions.reshape(len(rows), -1 if len(rows) else 0)
        return Stretch(f[0], params, np.frombuffer(f[3], "<i8"), rows, f[5], sessions)
    if kind == "part":
        return Part(*f)
    if kind == "tried":
        return Tried(*f)
    return Opened(f[0], np.frombuffer(f[1]), np.frombuffer(f[2], ROW)[0], f[3])
