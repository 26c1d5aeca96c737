"""What every variant of a study returned in each session: the data of all selection-aware tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import InputError, LedgerError
from sweep.schema import FloatArray2D, IntArray1D
from sweep.study.ledger import Ledger
from sweep.study.parts import read_sessions
from sweep.study.records import COMPLETE, INFEASIBLE, PRUNED, Finished, Part
from sweep.study.trial_archive import LOST, Archive
from sweep.study.trials import BLOCK, Board
from sweep.text import STATES

__all__ = ["SessionReturns", "gather", "session_blocks"]

#: States of trials that returned something.
_EVALUATED = tuple(STATES.index(state) for state in (COMPLETE, PRUNED, INFEASIBLE))

#: Trials with what they returned: numbers of shape (n,), returns of shape (n, n_sessions).
SessionBlock = tuple[IntArray1D, NDArray[np.float32]]


@dataclass(frozen=True)
class SessionReturns:
    """The returns of a study's variants by session.

    Attributes
    ----------
    numbers : ndarray of shape (n_variants,), int64
        Trials, ascending: each distinct variant once, by its first trial. Variants that
        failed have no returns and are left out; those that do not meet a requirement,
        and those that were pruned, are not.
    edges : ndarray of shape (n_sessions + 1,), int64
        Nanoseconds since the epoch, UTC. Session k has the ticks with stamps in
        ``[edges[k], edges[k + 1])``; it begins with a tick, and the gap after the tick
        before is half an hour or more, unless days stand for sessions (see
        `sweep.ticks.sessions.find_cuts`).
    returns : ndarray of shape (n_sessions, n_variants), float64
        Change of equity over the session, an open position marked, divided by the
        capital: a variant's sum is its net profit over the capital. Rounded to float32.
        NaN in sessions of which a pruned variant was not evaluated to the end.
    capital : float
        Quote currency.
    """

    numbers: IntArray1D
    edges: IntArray1D
    returns: FloatArray2D
    capital: float

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(self.edges) - 1


def gather(manifest: dict[str, Any], board: Board | Archive, ledger: Ledger) -> SessionReturns:
    """Read the returns of all variants of a study.

    Parameters
    ----------
    manifest : dict
        The study's own description.
    board : Board or Archive
        Its finished trials.
    ledger : Ledger

    Raises
    ------
    InputError
        If the study keeps none; the text says why.
    LedgerError
        If a part or a record is damaged.
    """
    edges = kept_edges(manifest)
    most = board.evaluated()
    returns = np.empty((len(edges) - 1, most))
    numbers = np.empty(most, np.int64)
    n = 0
    for some, values in session_blocks(manifest, board, ledger):
        numbers[n : n + len(some)] = some
        returns[:, n : n + len(some)] = values.T
        n += len(some)
    return SessionReturns(numbers[:n], edges, returns[:, :n], float(manifest["capital"]))


def kept_edges(manifest: dict[str, Any]) -> IntArray1D:
    """Return the edges of the sessions, ndarray of shape (n_sessions + 1,), int64.

    Raises
    ------
    InputError
        If the study keeps no returns.
    """
    kept = manifest["sessions"]
    if kept["reason"]:
        raise InputError(
            f"what each variant returned by session cannot be said, because {kept['reason']}"
        )
    return np.array(kept["edges"], np.int64)


def session_blocks(
    manifest: dict[str, Any], board: Board | Archive, ledger: Ledger
) -> Iterator[SessionBlock]:
    """Yield the returns of a study's variants, some thousand at a time; see `gather`."""
    n_sessions = len(kept_edges(manifest)) - 1
    if isinstance(board, Archive):
        yield from _of_parts(board, n_sessions)
    else:
        yield from _of_records(board, ledger, n_sessions)


def _of_parts(board: Archive, n_sessions: int) -> Iterator[SessionBlock]:
    for part in board.parts:
        if not isinstance(part, Part):
            continue  # lost trials
        n = 0
        for numbers, codes, duplicate_of, returns in read_sessions(board.folder, part, n_sessions):
            own = (duplicate_of < 0) & np.isin(codes, _EVALUATED)
            yield numbers[own], returns[own]
            n += len(numbers)
        if n < part.count:
            raise _not_kept(part.first)
    for block in board.tail:
        if block.sessions is None:
            if (block.reasons == LOST).all():
                continue
            raise _not_kept(int(block.numbers[0]))
        own = (block.duplicate_of < 0) & np.isin(block.codes, _EVALUATED)
        yield block.numbers[own], block.sessions[own]


def _not_kept(first: int) -> InputError:
    return InputError(
        f"what each variant returned by session cannot be said, because trials from {first} on "
        f"were evaluated by another version of Sweep, without keeping it or with other sessions; "
        f"run the study again with --out another folder"
    )


def _of_records(board: Board, ledger: Ledger, n_sessions: int) -> Iterator[SessionBlock]:
    """Yield from the records that the board was made from; see `sweep.study.study.Study.take`."""
    numbers: list[int] = []
    returns: list[NDArray[np.float32]] = []
    next_number = 0
    for record in ledger.read():
        if not isinstance(record, Finished):
            continue
        while board.reasons.get(next_number) == LOST:
            next_number += 1
        if record.number != next_number:
            continue
        if next_number == len(board):
            break  # the study has gone on since the board was read
        next_number += 1
        if record.duplicate_of >= 0 or STATES.index(record.state) not in _EVALUATED:
            continue
        if record.sessions is None or len(record.sessions) != n_sessions:
            raise _lost(record.number)
        numbers.append(record.number)
        returns.append(record.sessions)
        if len(numbers) == BLOCK:
            yield np.array(numbers, np.int64), np.stack(returns)
            numbers, returns = [], []
    if numbers:
        yield np.array(numbers, np.int64), np.stack(returns)


def _lost(number: int) -> LedgerError:
    return LedgerError(
        f"trial {number} has no returns by session, though its study keeps them; "
        f"this is a defect of Sweep"
    )
