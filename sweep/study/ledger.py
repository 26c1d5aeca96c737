"""The ledger: one append-only file of records, each after a header with checksums.

A record is written before anything else learns of what it holds, so that whatever a kill
interrupts, the file tells what was finished. A torn end is cut off on opening. A damaged
record is passed over, and reported: its header tells what it was, or else its number
tells how many are gone.

Records are plain data, MessagePack with arrays as their raw memory: reading them runs no
code, whoever wrote them.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from sweep.backtest.tasks import Carry
from sweep.errors import LedgerError
from sweep.kernel.accounting import CARRY
from sweep.schema import ROW
from sweep.study.records import (
    ExtraEvaluations,
    Finished,
    HoldoutLook,
    Part,
    Partial,
    Record,
    TrialSpan,
)
from sweep.text import STATES, counted

__all__ = ["Damage", "Ledger", "sync_folder"]

_MAGIC = b"sweep ledger 3\n"
_EARLIER = (b"sweep ledger 1\n", b"sweep ledger 2\n")
_MARK = b"\xf5REC"
#: Mark, kind, number in the file, length and checksum of the payload; then, of these.
_FACTS = struct.Struct("<4sBxxxIII")
_CHECK = struct.Struct("<I")
_HEAD = _FACTS.size + _CHECK.size


# -- records as plain data -------------------------------------------------------------


class _Origin(msgspec.Struct, array_like=True):
    """The first record: whose ledger this is, and the form of its rows."""

    identity: str
    layout: str


class _Finished(msgspec.Struct, array_like=True):
    number: int
    params: bytes
    state: str
    row: bytes
    values: bytes
    violations: bytes
    n_slices: int
    steps: tuple[int, ...]  # at which the pruner looked
    step_values: bytes
    duplicate_of: int
    reason: str
    sessions: bytes | None


class _Partial(msgspec.Struct, array_like=True):
    params: bytes
    slices: tuple[int, ...]
    rows: bytes
    carry: tuple[tuple[tuple[int, ...], bytes], ...] | None  # shape and memory of each array
    failure: str
    earned: bytes | None


class _HoldoutLook(msgspec.Struct, array_like=True):
    number: int
    params: bytes
    row: bytes
    reason: str


class _TrialSpan(msgspec.Struct, array_like=True):
    first: int
    shape: tuple[int, int]
    params: bytes
    duplicate_of: bytes
    rows: bytes
    failures: tuple[tuple[int, str], ...]
    sessions: bytes | None


class _Part(msgspec.Struct, array_like=True):
    first: int
    count: int
    name: Annotated[str, msgspec.Meta(pattern=r"^part-\d+\.parquet$")]
    size: int
    digest: str
    counts: dict[str, int]


class _ExtraEvaluations(msgspec.Struct, array_like=True):
    source: str
    count: int


_Plain = _Origin | _Finished | _Partial | _HoldoutLook | _TrialSpan | _Part | _ExtraEvaluations

#: By the code in a record's header, and what users call them; the codes are part of the format.
_KINDS: dict[type[Any], str] = {
    _Origin: "heading",
    _Finished: "trial",
    _Partial: "partial trial",
    _HoldoutLook: "holdout look",
    _TrialSpan: "trial block",
    _Part: "trial part",
    _ExtraEvaluations: "evaluation count",
}
_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_DECODERS = [msgspec.msgpack.Decoder(kind) for kind in _KINDS]
_ENCODER = msgspec.msgpack.Encoder()

_F8, _I8, _F4 = np.dtype("<f8"), np.dtype("<i8"), np.dtype("<f4")

#: Types of the arrays of a `Carry`, in its order.
_CARRIED = (CARRY, _F8, _I8, _I8, _F8, ROW)

#: Rows are kept as their memory, which another version may lay out otherwise.
_LAYOUT = f"{zlib.crc32(repr((ROW.descr, CARRY.descr)).encode()):08x}"


def _plain(record: Record) -> _Plain:
    """Return a record as plain data."""
    if isinstance(record, Finished):
        return _Finished(
            record.number,
            record.params.tobytes(),
            record.state,
            record.row.tobytes(),
            np.array(record.values, _F8).tobytes(),
            np.array(record.violations, _F8).tobytes(),
            record.n_slices,
            tuple(step for step, _ in record.intermediate),
            np.array([value for _, value in record.intermediate], _F8).tobytes(),
            record.duplicate_of,
            record.reason,
            _memory(record.sessions),
        )
    if isinstance(record, Partial):
        carry = record.carry
        return _Partial(
            record.params.tobytes(),
            record.slices,
            record.rows.tobytes(),
            None if carry is None else tuple((part.shape, part.tobytes()) for part in carry),
            record.failure,
            _memory(record.earned),
        )
    if isinstance(record, TrialSpan):
        n, width = record.params.shape
        return _TrialSpan(
            record.first,
            (n, width),
            record.params.tobytes(),
            record.duplicate_of.tobytes(),
            record.rows.tobytes(),
            tuple((int(place), reason) for place, reason in record.failures),
            _memory(record.sessions),
        )
    if isinstance(record, Part):
        return _Part(**vars(record))
    if isinstance(record, ExtraEvaluations):
        return _ExtraEvaluations(record.source, record.count)
    return _HoldoutLook(record.number, record.params.tobytes(), record.row.tobytes(), record.reason)


def _memory(values: NDArray[Any] | None) -> bytes | None:
    return None if values is None else values.tobytes()


def _record(plain: _Plain) -> Record:
    """Return the record that `_plain` gave; ValueError where it can be none."""
    if isinstance(plain, _Finished):
        if plain.number < 0 or plain.state not in STATES:
            raise ValueError(f"there is no trial {plain.number} in a state {plain.state!r}")
        return Finished(
            plain.number,
            np.frombuffer(plain.params, _F8),
            plain.state,
            np.frombuffer(plain.row, ROW, 1)[0],
            tuple(np.frombuffer(plain.values, _F8).tolist()),
            tuple(np.frombuffer(plain.violations, _F8).tolist()),
            plain.n_slices,
            tuple(zip(plain.steps, np.frombuffer(plain.step_values, _F8).tolist(), strict=True)),
            plain.duplicate_of,
            plain.reason,
            None if plain.sessions is None else np.frombuffer(plain.sessions, _F4),
        )
    if isinstance(plain, _Partial):
        carry = None
        if plain.carry is not None:
            parts = zip(plain.carry, _CARRIED, strict=True)
            carry = Carry(*(np.frombuffer(b, kind).reshape(shape) for (shape, b), kind in parts))
        return Partial(
            np.frombuffer(plain.params, _F8),
            plain.slices,
            np.frombuffer(plain.rows, ROW),
            carry,
            plain.failure,
            None if plain.earned is None else np.frombuffer(plain.earned, _F8),
        )
    if isinstance(plain, _TrialSpan):
        rows = np.frombuffer(plain.rows, ROW)
        sessions = None
        if plain.sessions is not None:
            sessions = np.frombuffer(plain.sessions, _F4)
            sessions = sessions.reshape(len(rows), -1 if len(rows) else 0)
        return TrialSpan(
            plain.first,
            np.frombuffer(plain.params, _F8).reshape(plain.shape),
            np.frombuffer(plain.duplicate_of, _I8, plain.shape[0]),
            rows,
            plain.failures,
            sessions,
        )
    if isinstance(plain, _Part):
        return Part(plain.first, plain.count, plain.name, plain.size, plain.digest, plain.counts)
    if isinstance(plain, _ExtraEvaluations):
        return ExtraEvaluations(plain.source, plain.count)
    assert isinstance(plain, _HoldoutLook)
    params, row = np.frombuffer(plain.params, _F8), np.frombuffer(plain.row, ROW, 1)[0]
    return HoldoutLook(plain.number, params, row, plain.reason)


# -- the file --------------------------------------------------------------------------


@dataclass
class Damage:
    """Records of a ledger that cannot be read.

    Attributes
    ----------
    lost : Counter of str
        By what they held, as far as that is known.
    unknown : int
        The others.
    """

    lost: Counter[str] = field(default_factory=Counter)
    unknown: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost or self.unknown)

    def __str__(self) -> str:
        """Return what is lost in words, such as "2 trials, 1 holdout look"."""
        parts = [counted(n, what) for what, n in self.lost.items()]
        if self.unknown:
            parts.append(f"{counted(self.unknown, 'record')} of an unknown kind")
        return ", ".join(parts)


class _Frame(NamedTuple):
    """A whole record in the file."""

    kind: int
    number: int
    payload: bytes
    end: int


def _framed(plain: _Plain, number: int) -> bytes:
    payload = _ENCODER.encode(plain)
    code, check = _CODES[type(plain)], zlib.crc32(payload)
    facts = _FACTS.pack(_MARK, code, number, len(payload), check)
    return facts + _CHECK.pack(zlib.crc32(facts)) + payload


def _header(head: bytes) -> tuple[int, int, int, int] | None:
    """Return a header's kind, number, length and checksum, or None if it is not whole."""
    if len(head) < _HEAD or not head.startswith(_MARK):
        return None
    facts = head[: _FACTS.size]
    if _CHECK.unpack(head[_FACTS.size :])[0] != zlib.crc32(facts):
        return None
    _, kind, number, length, check = _FACTS.unpack(facts)
    return (kind, number, length, check) if kind < len(_KINDS) else None


def _next_header(file: Any, start: int) -> int | None:
    """Return where the next whole header is at or after ``start``, or None."""
    file.seek(start)
    rest = file.read()
    at = rest.find(_MARK)
    while at >= 0:
        if _header(rest[at : at + _HEAD]) is not None:
            return int(start + at)
        at = rest.find(_MARK, at + 1)
    return None


def _frames(file: Any, damage: Damage) -> Iterator[_Frame]:
    """Yield the whole records from here on, and note what lies between them."""
    expected = 0
    while True:
        at = file.tell()
        head = file.read(_HEAD)
        facts = _header(head)
        if facts is None:
            # A shorter rest is a record that was being written.
            found = _next_header(file, at + 1) if len(head) == _HEAD else None
            if found is None:
                damage.unknown += len(head) == _HEAD
                return
            file.seek(found)
            continue
        kind, number, length, check = facts
        damage.unknown += max(number - expected, 0)
        expected = number + 1
        if file.tell() + length > os.fstat(file.fileno()).st_size:
            return
        payload = file.read(length)
        if zlib.crc32(payload) == check:
            yield _Frame(kind, number, payload, file.tell())
        else:
            damage.lost[list(_KINDS.values())[kind]] += 1


@dataclass
class Ledger:
    """An append-only file of records with checksums.

    Parameters
    ----------
    path : Path
    identity : str, optional
        Of the study, see `sweep.study.folder.identity`; a new file begins with it.

    Attributes
    ----------
    damage : Damage
        What could not be read, when the file was last read to its end, or opened.
    """

    path: Path
    identity: str = ""
    damage: Damage = field(default_factory=Damage)
    _file: Any = field(default=None, repr=False)
    _number: int = 0
    _unsynced: int = 0

    def open(self) -> None:
        """Open for appending, after the last whole record; a torn end is cut off.

        A file without any whole record begins again.

        Raises
        ------
        LedgerError
            If the file is no ledger, or cannot be read or written.
        """
        self.damage = Damage()
        try:
            whole = 0
            if self._begun():
                with open(self.path, "rb") as file:
                    self._check_magic(file)
                    for frame in _frames(file, self.damage):
                        whole, self._number = frame.end, frame.number + 1
            if not whole:
                heading = _MAGIC + _framed(_Origin(self.identity, _LAYOUT), 0)
                self.path.write_bytes(heading)
                whole, self._number = len(heading), 1
            # Unbuffered: what a full disk refuses must not wait in a buffer for the end.
            self._file = open(self.path, "r+b", buffering=0)
            self._file.seek(whole)
            self._file.truncate(whole)
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror or error}") from None

    def _begun(self) -> bool:
        """Whether the file holds its heading: a kill may come before that is whole."""
        try:
            return self.path.stat().st_size > len(_MAGIC)
        except FileNotFoundError:
            return False

    def _check_magic(self, file: Any) -> None:
        head = file.read(len(_MAGIC))
        if head in _EARLIER:
            raise LedgerError(
                f"{self.path}: was made by an earlier version of Sweep; run the study again "
                f"with --out another folder"
            )
        if head != _MAGIC:
            raise LedgerError(
                f"{self.path}: this is no ledger of this version of Sweep; move it away to "
                f"begin the study from its first trial"
            )

    def heading(self) -> str | None:
        """Return the identity of the study whose ledger this is; None where that is lost.

        Raises
        ------
        LedgerError
            If the file is no ledger, has rows of another form, or cannot be read.
        """
        try:
            if not self._begun():
                return None
            with open(self.path, "rb") as file:
                self._check_magic(file)
                for frame in _frames(file, Damage()):
                    if frame.kind != _CODES[_Origin]:
                        return None
                    return self._origin(frame.payload)
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror or error}") from None
        return None

    def _origin(self, payload: bytes) -> str | None:
        try:
            origin = _DECODERS[_CODES[_Origin]].decode(payload)
        except msgspec.MsgspecError:
            return None
        if origin.layout != _LAYOUT:
            raise LedgerError(
                f"{self.path}: its rows have another form than those of this version of Sweep; "
                f"run the study again with --out another folder"
            )
        identity: str = origin.identity
        return identity

    def read(self) -> Iterator[Record]:
        """Read all whole records, changing nothing; also while another process appends.

        What is damaged is in `damage` when all are read.

        Raises
        ------
        LedgerError
            If the file is no ledger, or another study's, or cannot be read.
        """
        self.damage = damage = Damage()
        try:
            if not self._begun():
                return
            with open(self.path, "rb") as file:
                self._check_magic(file)
                for frame in _frames(file, damage):
                    if frame.kind == _CODES[_Origin]:
                        self._check_origin(frame.payload)
                        continue
                    try:
                        record = _record(_DECODERS[frame.kind].decode(frame.payload))
                    except (msgspec.MsgspecError, ValueError):
                        damage.lost[list(_KINDS.values())[frame.kind]] += 1
                        continue
                    yield record
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror or error}") from None

    def _check_origin(self, payload: bytes) -> None:
        identity = self._origin(payload)
        if self.identity and identity not in (None, self.identity):
            raise LedgerError(f"{self.path}: is the ledger of another study than study.json")

    def append(self, record: Record) -> None:
        """Write a record so that it outlives a kill of this process.

        Raises
        ------
        LedgerError
            If the disk is full or gone; the file then ends with the last whole record.
        """
        at = self._file.tell()
        try:
            data = memoryview(_framed(_plain(record), self._number))
            while len(data):
                data = data[self._file.write(data) :]
            self._number += 1
            self._unsynced += 1
        except OSError as error:
            try:
                self._file.truncate(at)
                self._file.seek(at)
            except OSError:
                pass
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> LedgerError:
        return LedgerError(
            f"{self.path}: cannot be written ({error.strerror}); what was finished is kept, "
            f"free some space and run again to go on"
        )

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
        # Trials are evaluated again. Of the rest a gap in the numbers goes on telling.
        lost = self.damage.lost
        first = 1 + self.damage.unknown + lost["holdout look"] + lost["evaluation count"]
        part = self.path.with_suffix(".part")
        try:
            with open(part, "wb") as file:
                file.write(_MAGIC + _framed(_Origin(self.identity, _LAYOUT), 0))
                for number, record in enumerate((*kept, *new), first):
                    file.write(_framed(_plain(record), number))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise self._unwritable(error) from None
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
