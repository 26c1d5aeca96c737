"""Trials in Parquet files: the finished part of an exhaustive search, on disk.

A part holds consecutive trials, one row each: number, state, parameters with the values
that users know, objectives, requirements, and every field of the evaluation's row. It is
written under another name, forced to the disk and renamed, so that a file with a part's
name is whole; the ledger has its size and hash. What is read is the very bits of what was
written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import LedgerError
from sweep.schema import ROW, FloatArray1D, FloatArray2D, IntArray1D, Rows
from sweep.strategy.parameters import Categorical, Number, Parameter
from sweep.strategy.space import SearchSpace
from sweep.study.ledger import sync_folder
from sweep.study.records import Part
from sweep.study.trials import TrialBlock, count_states
from sweep.text import STATES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "PREFIXES",
    "SESSIONS",
    "Layout",
    "is_whole",
    "read_part",
    "read_sessions",
    "write_part",
]

#: Beginnings of column names that are no parameters.
PREFIXES = ("objective_", "violation_", "row_")

#: Column of the returns by session, a list of equal length for each trial.
SESSIONS = "session_returns"

#: Trials that a reader of a single one has to decode.
_ROW_GROUP = 8192


@dataclass(frozen=True)
class Layout:
    """The columns of a study's parts.

    Attributes
    ----------
    space : SearchSpace
    objectives, constraints : tuple of str
        Names for the columns.
    """

    space: SearchSpace
    objectives: tuple[str, ...]
    constraints: tuple[str, ...]

    @property
    def values(self) -> list[str]:
        """Columns of the objectives."""
        return [f"objective_{label}" for label in self.objectives]

    @property
    def violations(self) -> list[str]:
        """Columns of the requirements: above 0 where one is not met."""
        return [f"violation_{text}" for text in self.constraints]


_FIELDS = tuple(ROW.names or ())

#: What a reader may leave out, with the columns that it leaves out.
_GROUPS = ("params", "rows", "values", "violations", "reasons")


# -- writing ---------------------------------------------------------------------------


def write_part(folder: Path, block: TrialBlock, layout: Layout) -> Part:
    """Write consecutive trials to a file of their own.

    Parameters
    ----------
    folder : Path
        Made if missing.
    block : TrialBlock
    layout : Layout

    Raises
    ------
    LedgerError
        If it cannot be written; no part of it is left then.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(
        _table(block, layout),
        sink,
        row_group_size=_ROW_GROUP,
        compression="snappy",
        # Sums of returns do not repeat: looking for it costs more than all the rest.
        use_dictionary=["state", "reason"],
        write_page_checksum=True,
    )
    data = sink.getvalue()
    first = int(block.numbers[0])
    path = folder / f"part-{first:09d}.parquet"
    temporary = path.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb", buffering=0) as file:
            view = memoryview(data)
            while len(view):
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LedgerError(
            f"{path}: cannot be written ({error.strerror}); what was finished is kept, "
            f"free some space and run again to go on"
        ) from None
    digest = blake2b(data, digest_size=16).hexdigest()
    counts = count_states(block.codes, block.duplicate_of)
    part = Part(first, len(block), path.name, len(data), digest, counts)
    del data, view, sink
    # What Arrow keeps for the next part would add up with what NumPy takes in between.
    pa.default_memory_pool().release_unused()
    return part


def _table(block: TrialBlock, layout: Layout) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {
        "trial": _column(block.numbers),
        "state": _dictionary(block.codes, STATES),
    }
    _, active = layout.space.settled(block.params)
    for i, p in enumerate(layout.space.parameters):
        idle = None if p.when is None else ~active[:, i]
        columns[p.name] = _values(p, block.params[:, i], idle)
    for j, name in enumerate(layout.values):
        columns[name] = _column(block.values[:, j])
    for j, name in enumerate(layout.violations):
        columns[name] = _column(block.violations[:, j])
    columns["slices"] = _column(block.n_slices)
    columns["duplicate_of"] = _column(block.duplicate_of, block.duplicate_of < 0)
    texts = {text: k for k, text in enumerate(dict.fromkeys(block.reasons.tolist()))}
    codes = np.fromiter(map(texts.__getitem__, block.reasons), np.int32, len(block))
    columns["reason"] = _dictionary(codes, list(texts))
    for name in _FIELDS:
        columns[f"row_{name}"] = _column(block.rows[name])
    if block.sessions is not None:
        values = _column(block.sessions.reshape(-1))
        columns[SESSIONS] = pa.FixedSizeListArray.from_arrays(values, block.sessions.shape[1])
    # Not pa.table, which imports pandas as well.
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _values(p: Parameter, numbers: FloatArray1D, idle: NDArray[np.bool_] | None) -> pa.Array:
    """Return a parameter's values as users know them, null where it does not count."""
    if isinstance(p, Number):
        return _column(numbers.astype(p.dtype, copy=False), idle)
    assert isinstance(p, Categorical)
    choices = stored_choices(p)
    places = numbers.astype(np.int32)
    if isinstance(choices[0], str):
        return _dictionary(places, choices, idle)
    return _column(np.array(choices)[places], idle)


def _column(values: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return numbers as an Arrow array over their own memory.

    Not by ``pa.array``, which imports pandas to see whether it was given a series.
    """
    import pyarrow as pa

    known = None
    if missing is not None:
        known = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    if values.dtype == np.bool_:
        kind, data = pa.bool_(), np.packbits(values, bitorder="little")
    else:
        kind, data = pa.from_numpy_dtype(values.dtype), np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [known, pa.py_buffer(data)])


def _dictionary(
    places: NDArray[Any], texts: Sequence[str], missing: NDArray[np.bool_] | None = None
) -> pa.Array:
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    data = [pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    strings = pa.StringArray.from_buffers(len(encoded), *data)
    return pa.DictionaryArray.from_arrays(_column(places, missing), strings)


def stored_choices(p: Categorical) -> list[Any]:
    """Return a parameter's choices as a column of one type holds them."""
    if all(isinstance(c, bool) for c in p.choices) or all(isinstance(c, str) for c in p.choices):
        return list(p.choices)
    if all(isinstance(c, int) and abs(int(c)) < 2**63 for c in p.choices):
        return [int(c) for c in p.choices]
    return [float(c) for c in p.choices]


# -- reading ---------------------------------------------------------------------------


def is_whole(folder: Path, part: Part) -> bool:
    """Whether a part's file has the bytes that were written."""
    try:
        if (folder / part.name).stat().st_size != part.size:
            return False
        digest = blake2b(digest_size=16)
        with open(folder / part.name, "rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except OSError:
        return False
    return digest.hexdigest() == part.digest


def read_part(
    folder: Path,
    part: Part,
    layout: Layout,
    *,
    places: tuple[int, int] | None = None,
    leave_out: Iterable[str] = (),
) -> TrialBlock:
    """Read a part's trials.

    Parameters
    ----------
    folder : Path
    part : Part
    layout : Layout
    places : tuple of int, optional
        From the first place to that after the last; at least these are read, in whole
        row groups. All of them by default.
    leave_out : iterable of str, optional
        Of ``"params"``, ``"rows"``, ``"values"``, ``"violations"``, ``"reasons"``: these are
        not read, and hold zeros.

    Raises
    ------
    LedgerError
        If the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / part.name
    left = frozenset(leave_out)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if places is None:
                table = file.read(columns=_columns(layout, left), use_threads=False)
            else:
                groups = range(places[0] // _ROW_GROUP, -(-places[1] // _ROW_GROUP))
                table = file.read_row_groups(
                    list(groups), columns=_columns(layout, left), use_threads=False
                )
        return _block(table, layout, left)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise _unreadable(path, error) from None


def read_sessions(
    folder: Path, part: Part, n_sessions: int
) -> Iterator[tuple[IntArray1D, NDArray[np.int8], IntArray1D, NDArray[np.float32]]]:
    """Yield what a part's trials returned in each session, a row group at a time.

    Nothing where the part was written without returns.

    Parameters
    ----------
    folder : Path
    part : Part
    n_sessions : int

    Yields
    ------
    numbers : ndarray of shape (n_trials,), int64
    codes : ndarray of shape (n_trials,), int8
        States, as places in `sweep.text.STATES`.
    duplicate_of : ndarray of shape (n_trials,), int64
    returns : ndarray of shape (n_trials, n_sessions), float32

    Raises
    ------
    LedgerError
        If the file is missing or damaged, or holds no returns of that many sessions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["trial", "state", "duplicate_of", SESSIONS]
    try:
        with pq.ParquetFile(folder / part.name, page_checksum_verification=True) as file:
            kept = SESSIONS in file.schema_arrow.names
            for group in range(file.num_row_groups if kept else 0):
                table = file.read_row_group(group, columns=names, use_threads=False)
                returns = _array(_single(table[SESSIONS]).flatten(), np.float32)
                yield (
                    _array(table["trial"], np.int64),
                    _codes(table["state"]),
                    _array(table["duplicate_of"], np.int64, -1),
                    returns.reshape(table.num_rows, n_sessions),
                )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise _unreadable(folder / part.name, error) from None


def _unreadable(path: Path, error: Exception) -> LedgerError:
    return LedgerError(
        f"{path}: cannot be read ({str(error).splitlines()[0]}); the study's own "
        f"`sweep run` evaluates its trials again"
    )


def _columns(layout: Layout, left: frozenset[str]) -> list[str]:
    names = ["trial", "state", "slices", "duplicate_of"]
    groups = {
        "params": list(layout.space.names),
        "rows": [f"row_{name}" for name in _FIELDS],
        "values": layout.values,
        "violations": layout.violations,
        "reasons": ["reason"],
    }
    return names + [name for group in _GROUPS if group not in left for name in groups[group]]


def _block(table: pa.Table, layout: Layout, left: frozenset[str]) -> TrialBlock:
    table = table.unify_dictionaries().combine_chunks()
    n = table.num_rows
    rows: Rows = np.zeros(n, ROW)
    if "rows" not in left:
        for name in _FIELDS:
            rows[name] = _array(table[f"row_{name}"], ROW[name])
    params: FloatArray2D = np.zeros((n, len(layout.space.parameters)))
    if "params" not in left:
        for i, p in enumerate(layout.space.parameters):
            params[:, i] = _numbers(p, table[p.name])
    reasons = np.full(n, "", object)
    if "reasons" not in left:
        reasons = _texts(table["reason"])
    return TrialBlock(
        numbers=_array(table["trial"], np.int64),
        params=params,
        codes=_codes(table["state"]),
        rows=rows,
        values=_matrix(table, layout.values, n, "values" in left),
        violations=_matrix(table, layout.violations, n, "violations" in left),
        n_slices=_array(table["slices"], np.int32),
        duplicate_of=_array(table["duplicate_of"], np.int64, -1),
        reasons=reasons,
    )


def _array(column: Any, dtype: Any, null: Any = None) -> NDArray[Any]:
    """Return a column of numbers; not by ``to_numpy``, which imports pandas."""
    import pyarrow as pa

    whole = _single(column)
    n, at = len(whole), whole.offset
    if not n:
        return np.zeros(0, dtype)
    known, data = whole.buffers()[:2]
    if pa.types.is_boolean(whole.type):
        found = _bits(data, at, n).astype(dtype)
    else:
        kind = np.dtype(whole.type.to_pandas_dtype())
        found = np.frombuffer(data, kind, n, at * kind.itemsize).astype(dtype, copy=False)
    if null is not None and whole.null_count:
        found = np.where(_bits(known, at, n), found, np.asarray(null, dtype))
    return found


def _bits(buffer: Any, offset: int, n: int) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return bits[offset : offset + n].astype(bool)


def _single(column: Any) -> Any:
    """Return a column as one array."""
    import pyarrow as pa

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], column.type)
    return whole


def _texts(column: Any) -> NDArray[np.object_]:
    found = np.full(len(column), "", object)
    if len(column):
        whole = _single(column)
        found[:] = np.array(whole.dictionary.to_pylist(), object)[_array(whole.indices, np.int64)]
    return found


def _codes(column: Any) -> NDArray[np.int8]:
    whole = _single(column)
    codes: NDArray[np.int8] = np.array(
        [STATES.index(s) for s in whole.dictionary.to_pylist()], np.int8
    )
    found: NDArray[np.int8] = codes[_array(whole.indices, np.int64)]
    return found


def _matrix(table: pa.Table, names: Sequence[str], n: int, left: bool) -> FloatArray2D:
    found = np.zeros((n, len(names)))
    for j, name in enumerate(names if not left else ()):
        found[:, j] = _array(table[name], np.float64)
    return found


def _numbers(p: Parameter, column: Any) -> FloatArray1D:
    """Return the numbers that stand for a parameter's values in a canonical row."""
    default = p.encode(p.default)
    if isinstance(p, Number):
        return _array(column, p.dtype, default).astype(np.float64, copy=False)
    assert isinstance(p, Categorical)
    choices = stored_choices(p)
    if isinstance(choices[0], str):
        whole = _single(column)
        known = {text: float(k) for k, text in enumerate(choices)}
        places: FloatArray1D = np.array(
            [known[t] for t in whole.dictionary.to_pylist()] + [default]
        )
        missing = len(places) - 1
        numbers: FloatArray1D = places[_array(whole.indices, np.int64, missing)]
        return numbers
    kind = np.array(choices).dtype
    values = _array(column, kind, choices[int(default)])
    found = np.full(len(values), default)
    for k, choice in enumerate(choices):
        found[values == choice] = k
    return found
