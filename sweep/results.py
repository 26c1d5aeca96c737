"""The board of a study's finished trials, and the ledger that keeps it on disk.

The ledger is one append-only file of records, each behind its length and a checksum. A
record is written before anything else learns of what it says, so that whatever a kill
interrupts, the file tells what was finished. A torn end is cut off on opening; a
damaged record in the middle is passed over, and what it held is evaluated again.
"""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sweep.errors import LedgerError
from sweep.outcomes import pareto_front
from sweep.schema import ROW, FloatArray1D, FloatArray2D, Rows
from sweep.tasks import Carry

__all__ = [
    "COMPLETE",
    "FAILED",
    "INFEASIBLE",
    "INVALID",
    "PRUNED",
    "Board",
    "Finished",
    "Judged",
    "Ledger",
    "Opened",
    "Partial",
]

COMPLETE = "complete"
PRUNED = "pruned"
INFEASIBLE = "infeasible"
INVALID = "invalid"
FAILED = "failed"
STATES = (COMPLETE, PRUNED, INFEASIBLE, INVALID, FAILED)


@dataclass(frozen=True)
class Finished:
    """A trial that is told.

    Attributes
    ----------
    number : int
    params : ndarray of shape (n_params,), float64
    state : str
        ``complete``; ``pruned`` (stopped after some slices); ``infeasible`` (a
        requirement is not met, or an objective is undefined); ``invalid`` (the
        parameters contradict the strategy's constraint: not evaluated); ``failed``.
    row : ndarray of shape (), dtype `sweep.schema.ROW`
        Over the slices that were evaluated.
    values : tuple of float
        Objectives; NaN where undefined.
    violations : tuple of float
        Of the requirements; above 0 where one is not met.
    n_slices : int
        Slices evaluated for this trial.
    intermediate : tuple of (int, float)
        What the pruner saw: step and value.
    duplicate_of : int
        Number of the trial with the same parameters whose evaluation it shares, or -1.
    reason : str
        Why the state is not ``complete``.
    """

    number: int
    params: FloatArray1D
    state: str
    row: Rows
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()
    n_slices: int = 0
    intermediate: tuple[tuple[int, float], ...] = ()
    duplicate_of: int = -1
    reason: str = ""


@dataclass(frozen=True)
class Judged:
    """What a row is worth.

    Attributes
    ----------
    state : str
        ``complete``, ``infeasible`` or ``failed``.
    values : tuple of float
        Objectives; NaN where undefined.
    violations : tuple of float
    reason : str
        Why the state is not ``complete``.
    """

    state: str
    values: tuple[float, ...]
    violations: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class Partial:
    """Rows of a variant that is not told yet, slice by slice.

    ``slices`` are the places in the study's order of slices; ``rows`` has one row for
    each; ``carry`` is where the last of them ended, if a further one goes on from it.
    """

    params: FloatArray1D
    slices: tuple[int, ...]
    rows: Rows
    carry: Carry | None = None
    failure: str = ""


@dataclass(frozen=True)
class Opened:
    """One variant was evaluated on the holdout."""

    number: int
    params: FloatArray1D
    row: Rows
    reason: str = ""


_MAGIC = b"sweep ledger 1\n"
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

    def _records(self, file: Any) -> Iterator[tuple[Finished | Partial | Opened, int]]:
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

    def read(self) -> Iterator[Finished | Partial | Opened]:
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

    def append(self, record: Finished | Partial | Opened) -> None:
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


def _encode(record: Finished | Partial | Opened) -> bytes:
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
        )
    elif isinstance(record, Partial):
        carry = None if record.carry is None else tuple(record.carry)
        rows = record.rows.tobytes()
        fields = ("partial", record.params.tobytes(), record.slices, rows, carry, record.failure)
    else:
        row = record.row.tobytes()
        fields = ("opened", record.number, record.params.tobytes(), row, record.reason)
    return pickle.dumps(fields, protocol=5)


def _decode(payload: bytes) -> Finished | Partial | Opened:
    kind, *f = pickle.loads(payload)
    if kind == "finished":
        row = np.frombuffer(f[3], ROW)[0]
        return Finished(f[0], np.frombuffer(f[1]), f[2], row, *f[4:])
    if kind == "partial":
        rows = np.frombuffer(f[2], ROW)
        carry = None if f[3] is None else Carry(*f[3])
        return Partial(np.frombuffer(f[0]), f[1], rows, carry, f[4])
    return Opened(f[0], np.frombuffer(f[1]), np.frombuffer(f[2], ROW)[0], f[3])


class Board:
    """All finished trials of a study, in trial order, as columns.

    Parameters
    ----------
    n_params, n_values, n_violations : int
    """

    def __init__(self, n_params: int, n_values: int, n_violations: int) -> None:
        self._size = 0
        self._params = np.zeros((64, n_params))
        self._rows = np.zeros(64, ROW)
        self._values = np.zeros((64, n_values))
        self._violations = np.zeros((64, n_violations))
        self._states = np.zeros(64, np.int8)
        self._slices = np.zeros(64, np.int32)
        self._duplicate = np.zeros(64, np.int64)
        self.reasons: dict[int, str] = {}
        self.intermediate: dict[int, tuple[tuple[int, float], ...]] = {}
        self._by_params: dict[bytes, int] = {}

    def __len__(self) -> int:
        return self._size

    def add(self, trial: Finished) -> None:
        """Take in the next trial; its number must be the board's length."""
        if trial.number != self._size:
            raise ValueError(f"trial {trial.number} cannot follow {self._size} trials")
        if self._size == len(self._states):
            self._grow()
        k = self._size
        self._params[k] = trial.params
        self._rows[k] = trial.row
        self._values[k] = trial.values or np.nan
        self._violations[k] = trial.violations or np.nan
        self._states[k] = STATES.index(trial.state)
        self._slices[k] = trial.n_slices
        self._duplicate[k] = trial.duplicate_of
        if trial.reason:
            self.reasons[k] = trial.reason
        if trial.intermediate:
            self.intermediate[k] = trial.intermediate
        if trial.state != INVALID:
            self._by_params.setdefault(trial.params.tobytes(), k)
        self._size += 1

    def _grow(self) -> None:
        for name in (
            "_params",
            "_rows",
            "_values",
            "_violations",
            "_states",
            "_slices",
            "_duplicate",
        ):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))

    def find(self, params: FloatArray1D) -> int:
        """Return the first trial with these parameters that was evaluated, or -1."""
        return self._by_params.get(params.tobytes(), -1)

    def trial(self, number: int) -> Finished:
        """Return one trial.

        Raises
        ------
        IndexError
            If there is no such trial.
        """
        if not 0 <= number < self._size:
            raise IndexError(f"no trial {number}; there are {self._size}")
        return Finished(
            number=number,
            params=self._params[number].copy(),
            state=STATES[self._states[number]],
            row=self._rows[number].copy(),
            values=tuple(map(float, self._values[number])),
            violations=tuple(map(float, self._violations[number])),
            n_slices=int(self._slices[number]),
            intermediate=self.intermediate.get(number, ()),
            duplicate_of=int(self._duplicate[number]),
            reason=self.reasons.get(number, ""),
        )

    @property
    def params(self) -> FloatArray2D:
        """Parameters, ndarray of shape (n_trials, n_params), float64."""
        return self._params[: self._size]

    @property
    def rows(self) -> Rows:
        """Rows, ndarray of shape (n_trials,)."""
        return self._rows[: self._size]

    @property
    def values(self) -> FloatArray2D:
        """Objectives, ndarray of shape (n_trials, n_values), float64."""
        return self._values[: self._size]

    @property
    def violations(self) -> FloatArray2D:
        """Violations, ndarray of shape (n_trials, n_violations), float64."""
        return self._violations[: self._size]

    @property
    def n_slices(self) -> np.ndarray[Any, Any]:
        """Slices evaluated, ndarray of shape (n_trials,), int32."""
        return self._slices[: self._size]

    @property
    def duplicate_of(self) -> np.ndarray[Any, Any]:
        """Trial whose evaluation is shared, ndarray of shape (n_trials,), int64, or -1."""
        return self._duplicate[: self._size]

    def in_state(self, state: str) -> np.ndarray[Any, Any]:
        """Mask of the trials in a state, ndarray of shape (n_trials,), bool."""
        return np.asarray(self._states[: self._size] == STATES.index(state))

    @property
    def states(self) -> list[str]:
        """State of every trial."""
        return [STATES[code] for code in self._states[: self._size]]

    def evaluated(self) -> int:
        """Return the number of distinct variants that were evaluated."""
        return len(self._by_params)

    def best(self, directions: tuple[str, ...], count: int) -> list[int]:
        """Return the best complete trials: by objective, or the Pareto front first.

        Parameters
        ----------
        directions : tuple of str
            ``"maximize"`` or ``"minimize"``, one an objective.
        count : int

        Returns
        -------
        list of int
            Trial numbers, duplicates left out. With one objective in its order, ties by
            trial number. With several, the members of the Pareto front, ordered by the
            first objective, then by the next.
        """
        chosen = np.flatnonzero(self.in_state(COMPLETE) & (self.duplicate_of < 0))
        if not len(chosen):
            return []
        signs = np.array([-1.0 if d == "maximize" else 1.0 for d in directions])
        losses = self.values[chosen] * signs
        if len(directions) > 1:
            chosen = chosen[pareto_front(self.values[chosen], directions)]
            losses = self.values[chosen] * signs
        keys = [chosen, *(losses[:, j] for j in range(losses.shape[1] - 1, -1, -1))]
        return [int(k) for k in chosen[np.lexsort(keys)][:count]]
