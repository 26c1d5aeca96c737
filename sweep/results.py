"""What is finished: trials, alone and as columns, the board of them, and the ledger.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sweep.errors import LedgerError
from sweep.outcomes import pareto_front
from sweep.schema import ROW, FloatArray1D, FloatArray2D, IntArray1D, Rows
from sweep.tasks import Carry

__all__ = [
    "COMPLETE",
    "FAILED",
    "INFEASIBLE",
    "INVALID",
    "PRUNED",
    "STATES",
    "Board",
    "Finished",
    "Judged",
    "Ledger",
    "Opened",
    "Part",
    "Partial",
    "Stretch",
    "TrialBlock",
    "TrialTable",
    "Tried",
    "count_states",
    "rank",
]

COMPLETE = "complete"
PRUNED = "pruned"
INFEASIBLE = "infeasible"
INVALID = "invalid"
FAILED = "failed"
STATES = (COMPLETE, PRUNED, INFEASIBLE, INVALID, FAILED)

#: Trials that are handed over together where a study is read from its beginning to its end.
BLOCK = 8192


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
    sessions : ndarray of shape (n_sessions,), float32, or None
        Change of equity over each session divided by the capital, NaN where the trial was
        stopped before its end. With a trial of the ledger alone, and where they are kept.
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
    sessions: NDArray[np.float32] | None = None


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
    ``earned`` is the cash of each of their cells, see `sweep.session_cuts`.
    """

    params: FloatArray1D
    slices: tuple[int, ...]
    rows: Rows
    carry: Carry | None = None
    failure: str = ""
    earned: FloatArray1D | None = None


@dataclass(frozen=True)
class Opened:
    """One variant was evaluated on the holdout."""

    number: int
    params: FloatArray1D
    row: Rows
    reason: str = ""


@dataclass(frozen=True)
class Stretch:
    """Consecutive trials of an exhaustive search that are evaluated, and in no part yet.

    Attributes
    ----------
    first : int
        Number of the first trial.
    params : ndarray of shape (n_trials, n_params), float64
    duplicate_of : ndarray of shape (n_trials,), int64
        The earlier trial with the same parameters, or -1.
    rows : ndarray of shape (n_own,), dtype `sweep.schema.ROW`
        Of the trials that are no duplicates, in their order.
    failures : tuple of (int, str)
        Place among ``rows``, and the reason.
    sessions : ndarray of shape (n_own, n_sessions), float32, or None
        See `Finished`.
    """

    first: int
    params: FloatArray2D
    duplicate_of: IntArray1D
    rows: Rows
    failures: tuple[tuple[int, str], ...] = ()
    sessions: NDArray[np.float32] | None = None

    @property
    def end(self) -> int:
        """Number behind the last trial."""
        return self.first + len(self.params)


@dataclass(frozen=True)
class Part:
    """Consecutive trials that lie in a Parquet file, and how to know it again.

    Attributes
    ----------
    first, count : int
        Number of the first trial, and how many.
    name : str
        Of the file, in the folder of parts.
    size : int
        Bytes.
    digest : str
        Hash of the file's bytes.
    counts : dict of str to int
        See `count_states`.
    """

    first: int
    count: int
    name: str
    size: int
    digest: str
    counts: dict[str, int]

    @property
    def end(self) -> int:
        """Number behind the last trial."""
        return self.first + self.count


@dataclass(frozen=True)
class Tried:
    """Variants were evaluated that have no record of their own.

    Attributes
    ----------
    source : str
        Where, such as a fold.
    count : int
        How many so far; the highest count of a source stands.
    """

    source: str
    count: int


Record = Finished | Partial | Opened | Stretch | Part | Tried

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


# -- trials as columns -----------------------------------------------------------------


@dataclass(frozen=True)
class TrialBlock:
    """Finished trials as columns.

    Attributes
    ----------
    numbers : ndarray of shape (n_trials,), int64
    params : ndarray of shape (n_trials, n_params), float64
    codes : ndarray of shape (n_trials,), int8
        States, as places in `STATES`.
    rows : ndarray of shape (n_trials,), dtype `sweep.schema.ROW`
    values, violations : ndarray of shape (n_trials, n), float64
    n_slices : ndarray of shape (n_trials,), int32
    duplicate_of : ndarray of shape (n_trials,), int64
    reasons : ndarray of shape (n_trials,), object
        Texts.
    intermediate : dict of int to tuple, optional
        By trial number, where a pruner looked.
    sessions : ndarray of shape (n_trials, n_sessions), float32, or None
        See `Finished`; with trials that are to be written alone.
    """

    numbers: IntArray1D
    params: FloatArray2D
    codes: NDArray[np.int8]
    rows: Rows
    values: FloatArray2D
    violations: FloatArray2D
    n_slices: NDArray[np.int32]
    duplicate_of: IntArray1D
    reasons: NDArray[np.object_]
    intermediate: dict[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    sessions: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def select(self, places: Any) -> TrialBlock:
        """Return some of the trials: by a slice, a mask or places."""
        columns: dict[str, Any] = {n: getattr(self, n)[places] for n in _BLOCK_COLUMNS}
        sessions = None if self.sessions is None else self.sessions[places]
        return TrialBlock(**columns, intermediate=self.intermediate, sessions=sessions)

    @staticmethod
    def join(blocks: Sequence[TrialBlock]) -> TrialBlock:
        """Return the trials of several blocks behind each other."""
        if len(blocks) == 1:
            return blocks[0]
        columns: dict[str, Any] = {
            n: np.concatenate([getattr(b, n) for b in blocks]) for n in _BLOCK_COLUMNS
        }
        together = {k: v for b in blocks for k, v in b.intermediate.items()}
        sessions = [b.sessions for b in blocks if b.sessions is not None]
        whole = np.concatenate(sessions) if len(sessions) == len(blocks) else None
        return TrialBlock(**columns, intermediate=together, sessions=whole)

    def trial(self, place: int) -> Finished:
        """Return one trial by its place in the block."""
        number = int(self.numbers[place])
        return Finished(
            number=number,
            params=self.params[place].copy(),
            state=STATES[self.codes[place]],
            row=self.rows[place].copy(),
            values=tuple(map(float, self.values[place])),
            violations=tuple(map(float, self.violations[place])),
            n_slices=int(self.n_slices[place]),
            intermediate=self.intermediate.get(number, ()),
            duplicate_of=int(self.duplicate_of[place]),
            reason=str(self.reasons[place]),
        )

    def in_state(self, state: str) -> NDArray[np.bool_]:
        """Mask of the trials in a state, ndarray of shape (n_trials,), bool."""
        return np.asarray(self.codes == STATES.index(state))


_BLOCK_COLUMNS = (
    "numbers",
    "params",
    "codes",
    "rows",
    "values",
    "violations",
    "n_slices",
    "duplicate_of",
    "reasons",
)


def count_states(codes: NDArray[np.int8], duplicate_of: IntArray1D) -> dict[str, int]:
    """Return the number of trials in each state, duplicates apart.

    Parameters
    ----------
    codes : ndarray of shape (n_trials,), int8
        Places in `STATES`.
    duplicate_of : ndarray of shape (n_trials,), int64

    Returns
    -------
    dict of str to int
        By state, and ``"duplicates"``; their sum is the number of trials.
    """
    own = duplicate_of < 0
    found = np.bincount(codes[own], minlength=len(STATES))
    counts = {state: int(n) for state, n in zip(STATES, found, strict=True)}
    return {**counts, "duplicates": int(len(own) - own.sum())}


def rank(
    numbers: IntArray1D, values: FloatArray2D, directions: tuple[str, ...], count: int
) -> IntArray1D:
    """Return the numbers of the best of complete trials: by objective, or the front first.

    Parameters
    ----------
    numbers : ndarray of shape (n_trials,), int64
    values : ndarray of shape (n_trials, n_objectives), float64
        Finite.
    directions : tuple of str
        ``"maximize"`` or ``"minimize"``, one an objective.
    count : int

    Returns
    -------
    ndarray of shape (n_best,), int64
        With one objective in its order, ties by trial number. With several, the members
        of the Pareto front, ordered by the first objective, then by the next.
    """
    signs = np.array([-1.0 if d == "maximize" else 1.0 for d in directions])
    if len(directions) > 1:
        front = pareto_front(values, directions)
        numbers, values = numbers[front], values[front]
    losses = values * signs
    keys = [numbers, *(losses[:, j] for j in range(losses.shape[1] - 1, -1, -1))]
    return np.asarray(numbers[np.lexsort(keys)][:count], np.int64)


class TrialTable(Protocol):
    """Finished trials of a study, in memory or in files: what both can be asked.

    Whole columns (``params``, ``rows``, ...) are read into memory when they are asked
    for; `blocks` gives them piece by piece.
    """

    def __len__(self) -> int:
        """Return the number of trials."""

    def trial(self, number: int) -> Finished:
        """Return one trial; `IndexError` if there is none of this number."""

    def select(self, numbers: IntArray1D) -> TrialBlock:
        """Return some trials as columns, in the order of ``numbers``."""

    def blocks(self, *leave_out: str) -> Iterator[TrialBlock]:
        """Yield all trials in order, some thousand at a time.

        Columns that are left out (``"params"``, ``"rows"``, ``"values"``, ``"violations"``,
        ``"reasons"``) need not be read, and mean nothing.
        """

    def find(self, params: FloatArray1D) -> int:
        """Return the first trial with these parameters that was evaluated, or -1."""

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state, see `count_states`."""

    def evaluated(self) -> int:
        """Return the number of distinct variants that were evaluated."""

    def best(self, directions: tuple[str, ...], count: int) -> list[int]:
        """Return the best complete trials, duplicates left out; see `rank`."""

    @property
    def params(self) -> FloatArray2D:
        """Parameters, ndarray of shape (n_trials, n_params), float64."""

    @property
    def rows(self) -> Rows:
        """Rows, ndarray of shape (n_trials,)."""

    @property
    def values(self) -> FloatArray2D:
        """Objectives, ndarray of shape (n_trials, n_values), float64."""

    @property
    def violations(self) -> FloatArray2D:
        """Violations, ndarray of shape (n_trials, n_violations), float64."""

    @property
    def n_slices(self) -> NDArray[np.int32]:
        """Slices evaluated, ndarray of shape (n_trials,), int32."""

    @property
    def duplicate_of(self) -> IntArray1D:
        """Trial whose evaluation is shared, ndarray of shape (n_trials,), int64, or -1."""

    @property
    def states(self) -> list[str]:
        """State of every trial."""

    @property
    def reasons(self) -> dict[int, str]:
        """Why trials are not complete, by number."""

    @property
    def intermediate(self) -> dict[int, tuple[tuple[int, float], ...]]:
        """What a pruner saw, by number: step and value."""

    def in_state(self, state: str) -> NDArray[np.bool_]:
        """Mask of the trials in a state."""


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
        return self.select(np.array([number])).trial(0)

    def select(self, numbers: IntArray1D) -> TrialBlock:
        """Return some trials as columns, in the order of ``numbers``."""
        return TrialBlock(
            numbers=np.asarray(numbers, np.int64),
            params=self._params[numbers],
            codes=self._states[numbers],
            rows=self._rows[numbers],
            values=self._values[numbers],
            violations=self._violations[numbers],
            n_slices=self._slices[numbers],
            duplicate_of=self._duplicate[numbers],
            reasons=np.array([self.reasons.get(int(k), "") for k in numbers], object),
            intermediate=self.intermediate,
        )

    def blocks(self, *leave_out: str) -> Iterator[TrialBlock]:
        """Yield all trials in order, some thousand at a time, with every column."""
        for first in range(0, self._size, BLOCK):
            yield self.select(np.arange(first, min(first + BLOCK, self._size)))

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state, see `count_states`."""
        return count_states(self._states[: self._size], self.duplicate_of)

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
        return [int(k) for k in rank(chosen, self.values[chosen], directions, count)]
