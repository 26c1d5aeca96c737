"""Who is asked about: variants of a study, and what they did on the history itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.backtest.trades import round_trips
from sweep.errors import InputError
from sweep.schema import FloatArray1D, IntArray1D
from sweep.study.study import ReplayResult, Study
from sweep.ticks.sessions import Sessions, find_sessions, sessions_by_clock

__all__ = ["History", "Subject", "history_of", "subjects_of"]


@dataclass(frozen=True)
class Subject:
    """A variant that is asked about.

    Attributes
    ----------
    label : str
    row : ndarray of shape (n_params,), float64
        Its parameters, encoded.
    params : dict
        Values by name, without those that do not count.
    trial : int or None
        Its number, if the study has it.
    """

    label: str
    row: FloatArray1D
    params: dict[str, Any]
    trial: int | None


def subjects_of(
    study: Study, trials: Sequence[int] = (), values: Mapping[str, Any] | None = None
) -> list[Subject]:
    """Return the variants of a study by numbers and by values.

    Parameters
    ----------
    study : Study
    trials : sequence of int, optional
        The best one where nothing is given.
    values : Mapping of str to object, optional
        A variant by its values; the rest are the first trial's, or else the defaults.

    Raises
    ------
    InputError
        If there is no such trial, or none that is complete, or the strategy's constraint
        refuses it.
    """
    numbers = list(dict.fromkeys(trials))
    for number in numbers:
        if not 0 <= number < len(study.board):
            raise InputError(f"{study.folder}: no trial {number}; there are {len(study.board)}")
    if not numbers and values is None:
        numbers = study.best(1)
        if not numbers:
            raise InputError(
                f"{study.folder}: no trial is complete; name a variant by --param NAME=VALUE"
            )
    found = []
    if values is not None:
        base = study.params(numbers[0]) if numbers else {}
        row = study.space.encode({**base, **values})
        known = study.board.find(row)
        if known >= 0:
            numbers = [known, *(n for n in numbers if n != known)]
        else:
            shown = _active(study, row)
            label = " ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                             for name, value in shown.items())  # fmt: skip
            found.append(Subject(label, row, shown, None))
    for number in numbers:
        row = study.board.trial(number).params
        found.append(Subject(f"trial {number}", row, _active(study, row), number))
    for subject in found:
        if not study.space.is_valid(subject.row):
            raise InputError(
                f"{study.folder}: {subject.label}: the strategy's valid() refuses these values "
                f"together, so that nothing can be asked about them"
            )
    return found


def _active(study: Study, row: FloatArray1D) -> dict[str, Any]:
    values = study.space.decode(row)
    return {name: values[name] for name in study.space.active_names(row)}


@dataclass(frozen=True)
class History:
    """What a variant did on the search range, in sessions, trades and clock periods.

    Attributes
    ----------
    metrics : dict of str to float
    capital : float
    sessions : Sessions
        Of the range's ticks, counted from its first.
    session_profits : ndarray of shape (n_sessions,), float64
        Change of equity, marked at the last tick of each session; cash.
    trade_profits : ndarray of shape (n_trades,), float64
        Of closed round trips after costs, in the order of closing; cash.
    trade_sessions : ndarray of shape (n_trades,), int64
        The session in which each was closed.
    positions : ndarray of shape (n_periods,), float64
        Held at the beginning of each clock period, contracts.
    changes : ndarray of shape (n_periods,), float64
        Of the mid over that period, times the contract size; cash for one contract.
    """

    metrics: dict[str, float]
    capital: float
    sessions: Sessions
    session_profits: FloatArray1D
    trade_profits: FloatArray1D
    trade_sessions: IntArray1D
    positions: FloatArray1D
    changes: FloatArray1D


def history_of(
    study: Study, subject: Subject, *, gap: float | None = None, opens: float | None = None
) -> History:
    """Replay a variant on the search range, and cut what it did.

    Parameters
    ----------
    study : Study
    subject : Subject
        A trial that was pruned is evaluated to the end.
    gap : float, optional
        Minutes without a tick that separate sessions; 30 by default.
    opens : float, optional
        Hour (UTC) at which sessions begin, instead of gaps.

    Raises
    ------
    StrategyError, ReplayMismatchError
        As in `sweep.study.study.Study.replay`.
    """
    whole = subject.trial is not None and (
        study.board.trial(subject.trial).n_slices >= len(study.mapped.tick_slices)
    )
    values = study.space.decode(subject.row)
    found = study.replay(subject.trial if whole and subject.trial is not None else values)
    record = found.replay
    account = study.mapped.context.account
    if opens is None:
        nanoseconds = None if gap is None else round(gap * 60e9)
        sessions = find_sessions(record.ts, gap=nanoseconds)
    else:
        sessions = sessions_by_clock(record.ts, opens)
    ends = record.equity[sessions.ends - 1]
    carry = study.setup.carry_over
    if not carry:
        ends = _chained(found, study)[sessions.ends - 1]
    profits = np.diff(ends, prepend=account.capital)
    trips = round_trips(record.fills)
    closed = np.searchsorted(record.ts, trips["exit_ts"], "right") - 1
    places = np.searchsorted(sessions.ends, closed, "right")
    positions, changes = _by_clock(study, found, account.clock, account.contract_size)
    return History(
        found.metrics,
        account.capital,
        sessions,
        profits,
        np.ascontiguousarray(trips["profit"]),
        np.maximum.accumulate(places) if len(places) else places.astype(np.int64),
        positions,
        changes,
    )


def _chained(found: ReplayResult, study: Study) -> FloatArray1D:
    """Return equity with the profits of slices that begin afresh added up."""
    equity = found.replay.equity.copy()
    capital = study.mapped.context.account.capital
    at = 0
    gained = 0.0
    for part in study.mapped.tick_slices:
        length = part.end - part.begin
        last = equity[at + length - 1]
        equity[at : at + length] += gained
        gained += last - capital
        at += length
    return equity


def _by_clock(
    study: Study, found: ReplayResult, clock: int, size: float
) -> tuple[FloatArray1D, FloatArray1D]:
    """Return positions and price changes of the clock periods that have ticks."""
    record = found.replay
    begin = study.mapped.tick_slices[0].begin
    ticks = study.mapped_ticks.between(begin, begin + len(record.ts))
    lasts = np.append(np.flatnonzero(np.diff(record.ts // clock)), len(record.ts) - 1)
    mid = 0.5 * (ticks.bid[lasts] + ticks.ask[lasts])
    return record.position[lasts[:-1]].copy(), np.diff(mid) * size
