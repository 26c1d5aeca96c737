"""What a setting may be: how it is read from TOML, written back, and refused.

A `Kind` reads one value and turns it into what Sweep works with (a duration becomes
nanoseconds, a path becomes absolute), and writes it back as plain data that the same
kind reads again. Sections of the study file are dataclasses whose fields state their kind with
`key`, so that each setting is described in one place. The options of a command can be made from
them as well; see `sweep.cli.options.setting_options`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import numbers
import operator
import os
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from sweep.errors import InputError, StudyFileError
from sweep.text import did_you_mean, known_names
from sweep.units import (
    INT64_MAX,
    Duration,
    Moment,
    format_duration,
    format_moment,
    parse_duration,
    parse_moment,
    parse_size,
)

__all__ = ["Choice", "Kind", "Place", "key"]

#: Names that a message lists even where one of them is near.
FEW = 12


@dataclass(frozen=True)
class Choice:
    """A sampler or a pruner with its options.

    Attributes
    ----------
    name : str
    options : tuple of (str, object)
        As in the study file, sorted by name.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def kwargs(self) -> dict[str, Any]:
        """The options as keyword arguments; arrays are lists again."""
        return {name: thawed(value) for name, value in self.options}


class Place(Protocol):
    """Where a value was written."""

    @property
    def label(self) -> str:
        """File and line, or the flag's text."""

    @property
    def base(self) -> Path | None:
        """Folder that relative paths start from; None where they are absolute."""

    @property
    def raw(self) -> str | None:
        """The value's text, if it came from a flag."""

    def at(self, name: str) -> Place:
        """Return the place of an entry of this table."""

    def fail(self, what: str) -> NoReturn:
        """Raise a `StudyFileError` that names the place and the key."""


@dataclass(frozen=True)
class Given:
    """The place of a value that an option or an argument gave; see `Place`."""

    label: str
    raw: str | None = None

    @property
    def base(self) -> Path:
        return Path.cwd()

    def at(self, name: str) -> Given:
        return Given(f"{self.label}: {name}", self.raw)

    def fail(self, what: str) -> NoReturn:
        raise InputError(f"{self.label}: {what}")


@dataclass(frozen=True)
class Kind:
    """One kind of setting.

    Attributes
    ----------
    expected : str
        Completes "expected ...".
    read : callable
        ``read(value, place)``; raises `ValueError` or `TypeError` for a value of
        another kind, which becomes an error that names what was expected and found.
    write : callable
        The inverse: plain data that JSON can hold and ``read`` accepts.
    metavar : str
        What stands for a value in the help of a command.
    """

    expected: str
    read: Callable[[Any, Place], Any]
    write: Callable[[Any], Any] = lambda value: value
    metavar: str = "TEXT"

    def __call__(self, value: Any, place: Place) -> Any:
        """Read a value, or raise `StudyFileError`."""
        try:
            return self.read(value, place)
        except StudyFileError:
            raise
        except InputError as error:
            place.fail(_unprefixed(error))
        except (ValueError, TypeError, OverflowError):
            place.fail(f"expected {self.expected}, found {shown(value)}")

    def into(self, wrapper: type[Duration | Moment]) -> Kind:
        """Return the kind whose values are `Duration` or `Moment`, which tell them from numbers."""
        return Kind(self.expected, lambda value, place: wrapper(self.read(value, place)), str)


def key(
    kind: Kind,
    default: Any = MISSING,
    *,
    name: str | None = None,
    result: bool = True,
    add: str = "",
    help: str = "",
) -> Any:
    """Return a dataclass field for one setting.

    Parameters
    ----------
    kind : Kind
    default : object, optional
        The value where the file has no such key; without one the key is required.
    name : str, optional
        The key, where it is not the field's name.
    result : bool, optional
        Whether it can change the result of a variant or what is proposed. What cannot is left
        out of the study's digest, and may differ when a study is resumed.
    add : str, optional
        For a required key: the line to add, as the message shows it.
    help : str, optional
        What the setting is, for a command that has an option for it.
    """
    metadata = {"kind": kind, "key": name, "result": result, "add": add, "help": help}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def check(settings: Any) -> None:
    """Refuse a record with a value that a study file could not have given it.

    Raises
    ------
    InputError
        The text names the field.
    """
    for entry in dataclasses.fields(settings):
        value = getattr(settings, entry.name)
        if "kind" in entry.metadata and value is not None:
            kind = entry.metadata["kind"]
            kind(kind.write(value), Given(entry.name))


def shown(value: Any) -> str:
    """Return a value as a message quotes it, in TOML's spelling, shortened."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value[:4])) + (", ...]" if len(value) > 4 else "]")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:76]}..."


# -- scalars ---------------------------------------------------------------------------


def require(condition: bool) -> None:
    """Raise the `ValueError` that a kind turns into what was expected and found."""
    if not condition:
        raise ValueError


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str) and place.raw is not None:
        value = place.raw
    require(isinstance(value, str) and bool(value.strip()))
    return str(value)


def text() -> Kind:
    """Return the kind of any text that is not empty."""
    return Kind("text", _text)


def _flag(value: Any, place: Place) -> bool:
    require(isinstance(value, bool))
    return bool(value)


def flag() -> Kind:
    """Return the kind of true and false."""
    return Kind("true or false", _flag)


def whole(least: int = 0) -> Kind:
    """Return the kind of whole numbers of at least ``least``."""

    def read(value: Any, place: Place) -> int:
        require(_is_whole(value) and least <= value <= INT64_MAX)
        return int(value)

    limit = f"above {least - 1}" if least == 1 else f"of at least {least}"
    return Kind(f"a whole number {limit}", read, metavar="N")


def number(
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> Kind:
    """Return the kind of finite numbers within limits."""
    limits = [
        (limit, within, words)
        for limit, within, words in (
            (least, operator.ge, "of at least"),
            (above, operator.gt, "above"),
            (below, operator.lt, "below"),
            (most, operator.le, "of at most"),
        )
        if limit is not None
    ]

    def read(value: Any, place: Place) -> float:
        require(is_number(value) and all(within(value, limit) for limit, within, _ in limits))
        return float(value)

    words = " ".join(["a number", *(f"{words} {limit:g}" for limit, _, words in limits)])
    return Kind(words, read, metavar="X")


def choice(*names: str) -> Kind:
    """Return the kind of one of a few words."""

    def read(value: Any, place: Place) -> str:
        if isinstance(value, str) and value not in names and len(names) > 3:
            place.fail(f"expected {listed}, found {shown(value)}{did_you_mean(value, names)}")
        require(isinstance(value, str) and value in names)
        return str(value)

    *first, last = (f'"{name}"' for name in names)
    listed = f"{', '.join(first)} or {last}"
    return Kind(listed, read, metavar=f"[{'|'.join(names)}]")


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_scalar(value: Any) -> bool:
    """Whether a value is a text, a truth value or a finite number."""
    return isinstance(value, bool | str) or is_number(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are none."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(value)


# -- time and memory -------------------------------------------------------------------


def duration(least: str = "0s", most: str | None = None, *, above: str | None = None) -> Kind:
    """Return the kind of durations, in nanoseconds, within limits."""
    low = parse_duration(least if above is None else above) + (above is not None)
    high = INT64_MAX if most is None else parse_duration(most)

    def read(value: Any, place: Place) -> int:
        require(isinstance(value, str) or (_is_whole(value) and value == 0))
        ns = parse_duration(value) if isinstance(value, str) else 0
        require(low <= ns <= high)
        return ns

    limit = f" of {least} to {most}" if most else " above 0" if above else ""
    return Kind(f'a duration{limit} such as "90s", "15m", "1h" or "3d"', read, format_duration)


def moment() -> Kind:
    """Return the kind of dates and times, in nanoseconds since the epoch."""
    return Kind(
        "a date or time such as 2014-05-01 or 2014-05-01T08:30:00Z",
        lambda value, place: parse_moment(value),
        format_moment,
    )


def either(expected: str, *kinds: Kind) -> Kind:
    """Return the kind of values of any of ``kinds``; the first that can read one does."""

    def read(value: Any, place: Place) -> Any:
        for kind in kinds:
            try:
                return kind.read(value, place)
            except (ValueError, TypeError, OverflowError):
                continue
        raise ValueError

    return Kind(expected, read, lambda v: str(v) if isinstance(v, Duration | Moment) else v)


def size() -> Kind:
    """Return the kind of amounts of memory, in bytes."""

    def read(value: Any, place: Place) -> int:
        require(isinstance(value, str))
        count = parse_size(value)
        require(count > 0)
        return count

    return Kind('an amount of memory such as "500MB" or "2GB"', read, lambda n: f"{n}B")


# -- paths -----------------------------------------------------------------------------


def expand(value: str, place: Place) -> str:
    """Return an absolute path with ``~`` and ``$VARIABLES`` filled in.

    Texts with a scheme (``s3://...``) are only filled in.
    """
    if place.base is None:
        return value
    for match in re.finditer(r"\$(\w+)|\$\{([^}]*)\}", value):
        variable = match[1] or match[2]
        if not os.environ.get(variable):
            place.fail(f"the environment variable {variable} in {shown(value)} is not set")
    filled = os.path.expanduser(os.path.expandvars(value))
    if "://" in filled:
        return filled
    return os.path.normpath(place.base / filled)


def path(*, like: str, exists: bool = False, words: tuple[str, ...] = ()) -> Kind:
    """Return the kind of paths, made absolute.

    Parameters
    ----------
    like : str
        What the path leads to, for the message.
    exists : bool, optional
        Refuse one that leads to no file. Not asked of a study that is opened again.
    words : tuple of str, optional
        Texts that stand for themselves.
    """

    def read(value: Any, place: Place) -> str:
        text = _text(value, place)
        if text in words:
            return text
        full = expand(text, place)
        if exists and place.base is not None and not Path(full).is_file():
            place.fail(f"there is no file {full}")
        return full

    special = "".join(f' or "{word}"' for word in words)
    return Kind(f"the path of {like}{special}", read)


# -- several values --------------------------------------------------------------------


def texts(
    read_one: Callable[[str, Place], str],
    expected: str,
    *,
    some: bool = False,
    distinct: bool = True,
) -> Kind:
    """Return the kind of one text or a list of texts, each passed through ``read_one``."""

    def read(value: Any, place: Place) -> tuple[str, ...]:
        items = value if isinstance(value, list) else [_text(value, place)]
        require(all(isinstance(item, str) for item in items) and not (some and not items))
        values = tuple(read_one(item, place) for item in items)
        for item in values:
            if distinct and values.count(item) > 1:
                place.fail(f"{shown(item)} stands twice")
        return values

    return Kind(expected, read, list)


def selection(what: str, names: tuple[str, ...], default: str | None = None) -> Kind:
    """Return the kind of ``"name"`` or ``{name = "name", option = value}``.

    A table that holds options alone is of the ``default``, if there is one.
    """

    def read(value: Any, place: Place) -> Choice:
        table = dict(value) if isinstance(value, dict) else {"name": value}
        inner = place.at("name") if isinstance(value, dict) else place
        if default is not None:
            table.setdefault("name", default)
        if "name" not in table:
            place.fail(f'expected the {what}\'s name, as in {{name = "{names[-1]}", ...}}')
        name = choice(*names)(table["name"], inner)
        options = {k: _frozen(v) for k, v in table.items() if k != "name"}
        for option, given in options.items():
            if not _is_plain(given):
                place.at(option).fail(f"expected plain values, found {shown(table[option])}")
        return Choice(name, tuple(sorted(options.items())))

    def write(value: Choice) -> Any:
        return {"name": value.name, **value.kwargs} if value.options else value.name

    return Kind(f"the name of a {what}, or a table with name and options", read, write)


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple) else is_scalar(value)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def thawed(value: Any) -> Any:
    """Return a value with its tuples as lists again."""
    return list(map(thawed, value)) if isinstance(value, tuple) else value


def pairs(names: tuple[str, ...]) -> Kind:
    """Return the kind of tables from a few known names to texts, which may be empty."""
    any_text = Kind("text", lambda v, place: v if v == "" else _text(v, place))

    def read(value: Any, place: Place) -> tuple[tuple[str, str], ...]:
        require(isinstance(value, dict))
        check_names(value, names, place)
        return tuple((n, any_text(value[n], place.at(n))) for n in names if n in value)

    return Kind(f"a table with some of {', '.join(names)}", read, dict)


def check_names(table: Mapping[str, Any], names: tuple[str, ...], place: Place) -> None:
    """Refuse a key that is none of ``names``, naming the nearest, or all if few."""
    for name in table:
        if name not in names:
            near = did_you_mean(name, names)
            if not near or len(names) <= FEW:
                near = known_names(name, names)
            place.at(name).fail(f"unknown key{near}")


def record(target: type[Any], what: str) -> Kind:
    """Return the kind of tables that fill a dataclass of plain fields.

    Parameters
    ----------
    target : type
        The dataclass, whose fields and their types decide what is accepted; every field
        has a default.
    what : str
        For the message: "policies", "settings of the generator".
    """

    def read(value: Any, place: Place) -> Any:
        require(isinstance(value, dict))
        hints = typing.get_type_hints(target)
        names = tuple(f.name for f in dataclasses.fields(target))
        check_names(value, names, place)
        values = {n: _typed(hints[n])(v, place.at(n)) for n, v in value.items()}
        for n, v in values.items():
            # Each alone first, so that a message names the line of the value that is wrong.
            _made(target, {n: v}, place.at(n))
        return _made(target, values, place)

    def write(value: Any) -> Any:
        # None stands for a default that has no value; TOML has no way to write it.
        table = dataclasses.asdict(value)
        return {n: _written(v) for n, v in table.items() if v is not None}

    return Kind(f"a table of {what}", read, write)


def _made(cls: type[Any], values: dict[str, Any], place: Place) -> Any:
    try:
        return cls(**values)
    except InputError as error:
        place.fail(_unprefixed(error))


def _unprefixed(error: InputError) -> str:
    """Return a message without the key: code that others call as well names it itself."""
    return re.sub(r"^data(\.\w+)+: ", "", str(error))


def _typed(hint: Any) -> Kind:
    """Return the kind for a dataclass field's annotation."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return choice(*options)
    if options and type(None) in options:
        return _typed(next(o for o in options if o is not type(None)))
    if hint is int:
        return Kind("a whole number", lambda v, place: whole(-INT64_MAX).read(v, place))
    kinds: dict[Any, Kind] = {bool: flag(), float: number(), str: text()}
    if hint in kinds:
        return kinds[hint]
    return Kind("a value", lambda v, place: _frozen(v))


def _written(value: Any) -> Any:
    if isinstance(value, dt.date):
        return value.isoformat()
    return thawed(value)
