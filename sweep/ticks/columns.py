"""Which column of a source is which: by the names in use, or by the study file's settings.

Also the layout of a CSV file: separator, header, first row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweep.errors import DataError
from sweep.text import did_you_mean

__all__ = ["ROLES", "CsvLayout", "csv_layout", "find_columns", "is_instrument", "normalise"]

#: Names of columns that are known, after :func:`normalise`, the most specific first.
_NAMES: dict[str, tuple[str, ...]] = {
    "ts": (
        *("ts", "timestamp", "datetime", "timestampns", "timestampus", "timestampms"),
        *("timestamputc", "timens", "timeus", "timems", "timemsc", "tsevent", "tsrecv", "tsns"),
        *("gmttime", "utctime", "timeutc", "timegmt", "localtime", "eventtime", "tradetime"),
        *("epoch", "epochns", "epochms", "unixtime", "transacttime", "dateandtime", "time", "t"),
    ),
    "date": ("date", "day", "tradedate", "tradingday"),
    "time": ("time", "timeofday", "clock"),
    "bid": ("bid", "bidprice", "bestbid", "bestbidprice", "bidpx", "bidpx00", "b", "bid1", "pbid"),
    "ask": (
        *("ask", "askprice", "bestask", "bestaskprice", "askpx", "askpx00", "a", "ask1", "pask"),
        *("offer", "offerprice", "bestoffer", "ofr"),
    ),
    "bid_size": (
        *("bidsize", "bidvolume", "bidvol", "bidqty", "bidsz", "bidsz00", "bestbidsize"),
        *("bestbidqty", "bidamount", "bidquantity", "bsize", "bidsize1"),
    ),
    "ask_size": (
        *("asksize", "askvolume", "askvol", "askqty", "asksz", "asksz00", "bestasksize"),
        *("bestaskqty", "askamount", "askquantity", "asize", "offersize", "ofrsiz", "asksize1"),
    ),
    "price": ("price", "last", "lastprice", "tradeprice", "px", "p", "close", "rate"),
    "size": (
        *("size", "qty", "quantity", "volume", "amount", "vol", "v", "q", "sz", "lastsize"),
        *("tradesize",),
    ),
    "side": (
        *("side", "takerside", "aggressor", "aggressorside", "direction", "isbuyermaker"),
        *("buyermaker", "tickdirection"),
    ),
    "instrument": ("instrument", "symbol", "ticker", "pair", "ric", "currencypair", "security"),
}

#: What each kind must have, and what it may have.
ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "quotes": (("bid", "ask"), ("bid_size", "ask_size")),
    "trades": (("price",), ("size", "side")),
}


def normalise(name: str) -> str:
    """Lower case, letters and digits only: ``"<BID>"`` and ``" Bid"`` become ``"bid"``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_instrument(name: str) -> bool:
    """Whether a column or partition key of that name holds instruments."""
    return normalise(name) in _NAMES["instrument"]


def find_columns(
    names: Sequence[str],
    given: Mapping[str, str],
    kind: str,
    *,
    file: str,
    headerless: bool = False,
) -> dict[str, str]:
    """Map roles to a source's columns.

    Parameters
    ----------
    names : sequence of str
        Columns of the source.
    given : mapping of str to str
        Roles to columns as the user named them; an empty name leaves a role out. A
        number counts columns from 1 where there is no header.
    kind : {"quotes", "trades"}
    file : str
        What messages call the source.
    headerless : bool
        Whether ``names`` are mere numbers.

    Returns
    -------
    dict of str to str
        Either ``ts``, or ``date`` and ``time``, or ``ts`` and ``time``; the columns of
        the kind; ``instrument`` if there is one.

    Raises
    ------
    DataError
    """
    needed, optional = ROLES[kind]
    roles = ("ts", "date", "time", *needed, *optional, "instrument")
    for role in given:
        if role not in roles:
            raise DataError(
                f"data.columns.{role}: {kind} have no such column; "
                f"use {', '.join(roles)}{did_you_mean(role, roles)}"
            )
    columns = {role: _given(names, role, name, file) for role, name in given.items() if name}
    free = [n for n in names if n not in columns.values()]
    guess = {} if headerless else {normalise(n): n for n in reversed(free)}
    _find_stamps(guess, given, columns)
    for role in (*needed, *optional, "instrument"):
        if role not in given:
            column = next((guess[n] for n in _NAMES[role] if n in guess), None)
            if column is not None:
                columns[role] = column
    missing = [r for r in needed if r not in columns]
    if "ts" not in columns and "date" not in columns:
        missing.insert(0, "ts")
    if missing:
        _refuse(names, missing, kind, file, headerless)
    return columns


def _find_stamps(
    guess: Mapping[str, str], given: Mapping[str, str], columns: dict[str, str]
) -> None:
    """Add the column of stamps, or those of dates and times of day."""
    if "ts" in given:
        return
    date = columns.get("date") or next((guess[n] for n in _NAMES["date"] if n in guess), None)
    stamp = next((guess[n] for n in _NAMES["ts"][:-2] if n in guess), None)
    time = columns.get("time") or next((guess[n] for n in _NAMES["time"] if n in guess), None)
    if stamp and "date" not in columns:
        columns["ts"] = stamp
    elif date and time:
        columns.update(date=date, time=time)
    elif time or date or "t" in guess:
        columns["ts"] = time or date or guess["t"]
        columns.pop("time", None)


def _given(names: Sequence[str], role: str, name: str, file: str) -> str:
    if name in names:
        return name
    same = [n for n in names if normalise(n) == normalise(name)]
    if len(same) == 1:
        return same[0]
    raise DataError(
        f"{file}: data.columns.{role}: there is no column {name!r}; "
        f"it has {_listed(names)}{did_you_mean(name, names)}"
    )


def _refuse(
    names: Sequence[str], missing: list[str], kind: str, file: str, headerless: bool
) -> None:
    hint = f'data.columns, such as {missing[0]} = "{names[0] if names else "NAME"}"'
    if headerless:
        hint += " (columns count from 1: the file has no header)"
    elif kind == "quotes" and normalise("price") in {normalise(n) for n in names}:
        hint += '; or, if these are trades, set data.kind = "trades"'
    raise DataError(
        f"{file}: no column for {' and '.join(missing)} is found; it has {_listed(names)}. "
        f"Name it with {hint}"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n) for n in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "no columns"


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is written.

    Attributes
    ----------
    separator : str
    names : tuple of str
        Of the columns: the header's, or ``"1"``, ``"2"``, ...
    header : bool
    skip : int
        Lines before the first row of data, the header among them.
    decimal : str
        ``"."`` or ``","``.
    guess : tuple of (str, str)
        Roles and columns found by position, where there is no header.
    note : str
        What was recognised, for the report.
    """

    separator: str
    names: tuple[str, ...]
    header: bool
    skip: int
    decimal: str
    guess: tuple[tuple[str, str], ...] = ()
    note: str = ""


_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|nan|inf", re.IGNORECASE)


def csv_layout(sample: str, kind: str, *, complete: bool, file: str) -> CsvLayout:
    """Return the layout of a CSV file, recognised by its first lines.

    Parameters
    ----------
    sample : str
        The beginning of the file, decoded.
    kind : {"quotes", "trades"}
    complete : bool
        Whether ``sample`` is all of the file.
    file : str
        What messages call the source.

    Raises
    ------
    DataError
        If the file is empty or no table.
    """
    lines = sample.splitlines()
    if not complete and len(lines) > 1:
        lines.pop()  # cut in the middle
    top = 0
    while top < len(lines) and (not lines[top].strip() or lines[top].startswith("#")):
        top += 1
    body = [line for line in lines[top:] if line.strip()][:50]
    if not body:
        raise DataError(f"{file}: the file is empty: no header and no rows")
    separator = _separator(body, file)
    rows = [next(csv.reader([line], delimiter=separator)) for line in body]
    rows = [[cell.strip() for cell in row] for row in rows]
    header = not any(_NUMBER.fullmatch(cell) for cell in rows[0])
    data = rows[header:]
    decimals = [cell for row in data for cell in row if re.fullmatch(r"[+-]?\d+,\d+", cell)]
    decimal = "," if decimals and separator != "," else "."
    if header:
        if not data and complete:
            raise DataError(f"{file}: the file holds no ticks: a header and no rows")
        return CsvLayout(separator, tuple(rows[0]), True, top + 1, decimal)
    names = tuple(str(i + 1) for i in range(len(rows[0])))
    guess, note = _by_position(rows[0], kind)
    return CsvLayout(separator, names, False, top, decimal, guess, note)


def _separator(lines: list[str], file: str) -> str:
    """The separator that stands equally often, at least once, in every line."""
    for separator in ("\t", ";", "|", ","):
        counts = {len(next(csv.reader([line], delimiter=separator))) for line in lines}
        if len(counts) == 1 and counts.pop() > 1:
            return separator
    # Rows of different lengths: the reader names the first that is off.
    for separator in ("\t", ";", "|", ","):
        if separator in lines[0]:
            return separator
    raise DataError(
        f"{file}: this is no table of ticks: its first line {lines[0][:60]!r} has no comma, "
        f"semicolon, tab or bar between columns"
    )


def _by_position(row: list[str], kind: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Columns of a file without a header, if its first row is plain enough to tell."""
    numbers = [i for i, cell in enumerate(row) if _NUMBER.fullmatch(cell)]
    texts = [i for i in range(len(row)) if i not in numbers]
    stamps = 1 if texts in ([0], []) else 2 if texts in ([0, 1], [1]) else 0
    roles = ("bid", "ask") if kind == "quotes" else ("price",)
    if not stamps or len(row) < stamps + len(roles):
        return (), "no header"
    guess = [("ts", "1")] if stamps == 1 else [("date", "1"), ("time", "2")]
    guess += [(role, str(stamps + 1 + i)) for i, role in enumerate(roles)]
    shown = ", ".join(f"{role} = {column}" for role, column in guess)
    note = f"no header: columns by position, {shown}"
    if re.fullmatch(r"\d{8} \d{9}", row[0]):
        note += (
            "; this looks like HistData, whose stamps are EST without daylight saving: "
            'set data.timezone = "EST"'
        )
    return tuple(guess), note
