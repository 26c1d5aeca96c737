"""A TOML file with the line of every key, flags and overrides on top, and its sections.

The standard library's parser does not keep the place of a value. `key_lines` finds it by one
pass over a text that the parser has already accepted, so that it need not check anything. Every
message can then name file and line, or the flag that gave the value.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from sweep.errors import StudyFileError
from sweep.study.file.kinds import Kind, check_names, shown
from sweep.text import known_names

__all__ = ["FLAGS", "Document", "key_lines", "parse_option", "section_settings"]

T = TypeVar("T")
KeyPath = tuple[str, ...]

_FLAGS = {
    "study": "name strategy seed trials time_limit patience sampler pruner window objective start "
    "storage top",
    "data": "source kind instrument from to slices slicing holdout store",
    "compute": "engine workers memory batch",
}
#: Options that set a key, by name without the dashes.
FLAGS: Mapping[str, KeyPath] = {
    key: (section, key) for section, keys in _FLAGS.items() for key in keys.split()
}
#: Flags that may be repeated, each ``NAME=VALUE``: an entry of that table.
REPEATED: Mapping[str, KeyPath] = {"param": ("space",), "policy": ("data", "policies")}

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n|[\[\]{}=,.]"
    r"|[^\s\[\]{}=,.\#\"']+",
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line of each table and key, by its path, in a valid TOML text."""
    return _Scanner(text).lines


class _Scanner:
    """One pass over the tokens of a valid TOML text."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.tokens = [(m[0], m.start()) for m in _TOKEN.finditer(text) if m[0][0] != "#"]
        self.text = text
        self.next = 0
        self._line, self._upto = 1, 0
        table: KeyPath = ()
        while self.next < len(self.tokens):
            token = self._peek()
            if token == "\n":
                self.next += 1
            elif token == "[":
                table = self._header()
            else:
                self._assignment(table)

    def _peek(self) -> str:
        return self.tokens[self.next][0] if self.next < len(self.tokens) else "\n"

    def _note(self, path: KeyPath) -> None:
        start = self.tokens[self.next][1]
        self._line += self.text.count("\n", self._upto, start)
        self._upto = start
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], self._line)
        self.lines[path] = self._line

    def _header(self) -> KeyPath:
        while self._peek() == "[":
            self.next += 1
        first = self.next
        path = self._key(("]",))
        last, self.next = self.next, first
        self._note(path)
        self.next = last
        while self._peek() == "]":
            self.next += 1
        return path

    def _key(self, ends: tuple[str, ...]) -> KeyPath:
        parts = []
        while self._peek() not in ends:
            token = self._peek()
            if token != ".":
                parts.append(_unquoted(token))
            self.next += 1
        return tuple(parts)

    def _assignment(self, table: KeyPath) -> None:
        first = self.next
        path = table + self._key(("=",))
        last, self.next = self.next, first
        self._note(path)
        self.next = last + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._peek() == "[":
            self._array(path)
        elif self._peek() == "{":
            self.next += 1
            while self._peek() != "}":
                if self._peek() in (",", "\n"):
                    self.next += 1
                else:
                    self._assignment(path)
            self.next += 1
        else:
            while self._peek() not in ("\n", ",", "]", "}"):
                self.next += 1

    def _array(self, path: KeyPath) -> None:
        self.next += 1
        while self._peek() != "]":
            if self._peek() in (",", "\n"):
                self.next += 1
            else:
                self._value(path)
        self.next += 1


def _unquoted(token: str) -> str:
    if token[0] not in "\"'":
        return token
    return str(tomllib.loads(f"key = {token}")["key"])


@dataclass(frozen=True)
class _Origin:
    """A flag or an override that gave a value."""

    label: str
    raw: str


@dataclass
class Document:
    """Settings as nested tables, each with the place where it was written.

    Attributes
    ----------
    values : dict
    label : str
        The file as the user named it, or what stands in for one.
    base : Path or None
        Folder that relative paths in the file start from. None for settings that were
        saved: their paths are absolute, and need not exist any more.
    lines : dict
        Line of each key path in the file.
    flags : dict
        Origin of each key path that a flag or an override set.
    """

    values: dict[str, Any]
    label: str
    base: Path | None = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    flags: dict[KeyPath, _Origin] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a TOML file.

        Raises
        ------
        StudyFileError
            If there is no such file, or it is no TOML; the text names line and column.
        """
        try:
            text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        except FileNotFoundError:
            raise StudyFileError(
                f"{path}: there is no such study file; `sweep init` writes one to start from"
            ) from None
        except IsADirectoryError:
            raise StudyFileError(
                f"{path}: is a folder; name the study file in it, such as {path / 'study.toml'}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise StudyFileError(f"{path}: cannot be read as a study file: {error}") from None
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise StudyFileError(_syntax_message(path, text, error)) from None
        return cls(values, str(path), path.resolve().parent, key_lines(text))

    def place(self, *path: str) -> _DocumentPlace:
        """Return the place of a key."""
        return _DocumentPlace(self, path)

    # -- flags and overrides -----------------------------------------------------------

    def apply_flags(self, flags: Mapping[str, Any]) -> None:
        """Put the values of command-line options over those of the file.

        Parameters
        ----------
        flags : Mapping
            By the names in `FLAGS` and `REPEATED`. None and empty sequences set nothing;
            texts are read like those of `apply_override`.
        """
        for flag, value in flags.items():
            if flag in REPEATED:
                for item in value or ():
                    name, raw = _split(item, f"--{flag} {item}")
                    self._put((*REPEATED[flag], name), raw, f"--{flag} {item}")
            elif flag not in FLAGS:
                raise TypeError(f"no such flag: {flag}{known_names(flag, [*FLAGS, *REPEATED])}")
            elif value is not None:
                label = f"--{flag.replace('_', '-')} {value}"
                self._put(FLAGS[flag], value, label)
                if flag == "source" and value != "synth":
                    # Other ticks: the file's settings of the generator do not concern them.
                    self.values.get("data", {}).pop("synth", None)

    def apply_override(self, text: str) -> None:
        """Put ``section.key=value`` over the file; the value is TOML, or else plain text."""
        label = f"--set {text}"
        name, raw = _split(text, label)
        path = tuple(part.strip() for part in name.split("."))
        if len(path) < 2 or not all(path):
            raise StudyFileError(f"{label}: expected section.key=value, as in study.trials=200")
        self._put(path, raw, label)

    def _put(self, path: KeyPath, value: Any, label: str) -> None:
        parsed = parse_option(value) if isinstance(value, str) else value
        table = self.values
        for depth, name in enumerate(path[:-1], 1):
            inner = table.setdefault(name, {})
            if isinstance(inner, str) and path[:depth] in (
                ("study", "sampler"),
                ("study", "pruner"),
            ):
                # A bare name is short for a table that holds only the name.
                inner = table[name] = {"name": inner}
            if not isinstance(inner, dict):
                key = ".".join(path[:depth])
                raise StudyFileError(
                    f"{label}: {key} is {shown(inner)} and has no keys; set {key} as a whole"
                )
            table = inner
        table[path[-1]] = parsed
        stale = [p for p in (*self.lines, *self.flags) if p[: len(path)] == path]
        for old in stale:
            self.lines.pop(old, None)
            self.flags.pop(old, None)
        self.flags[path] = _Origin(label, str(value))

    # -- sections ----------------------------------------------------------------------

    def refuse_unknown_sections(self, sections: Sequence[str]) -> None:
        """Refuse a section that does not exist, and a key outside of all sections."""
        listed = ", ".join(f"[{name}]" for name in sections)
        for name, value in self.values.items():
            place = self.place(name)
            if name not in sections:
                what = "section" if isinstance(value, dict) else "key outside of a section"
                place.fail(f"unknown {what}; there are {listed}")
            if not isinstance(value, dict):
                place.fail(f"expected a section [{name}], found {shown(value)}")

    def section(self, name: str, cls: type[T]) -> T:
        """Read a section into its dataclass, whose fields state what each key may be."""
        table = self.values.get(name, {})
        place = self.place(name)
        keys = list(_keys(cls))
        check_names(table, tuple(key for key, _, _ in keys), place)
        values = {}
        for key, entry, kind in keys:
            if key in table:
                values[entry.name] = kind(table[key], self.place(name, key))
            elif entry.default is MISSING:
                line = entry.metadata["add"]
                self.place(name, key).fail(f"missing; add {line} under [{name}]")
        return cls(**values)


@dataclass(frozen=True)
class _DocumentPlace:
    """A key path in a document; see `sweep.study.file.kinds.Place`."""

    document: Document
    path: KeyPath

    def _flag(self) -> _Origin | None:
        if self.path not in self.document.lines:
            # A table that is there only because flags put something into it.
            for path, origin in self.document.flags.items():
                if path[: len(self.path)] == self.path:
                    return origin
        for length in range(len(self.path), 0, -1):
            if self.path[:length] in self.document.flags:
                return self.document.flags[self.path[:length]]
            if self.path[:length] in self.document.lines:
                return None
        return None

    @property
    def label(self) -> str:
        flag = self._flag()
        if flag is not None:
            return flag.label
        lines = self.document.lines
        tables = (self.path[:n] for n in range(len(self.path), 0, -1))
        line = next((lines[path] for path in tables if path in lines), None)
        return self.document.label if line is None else f"{self.document.label}:{line}"

    @property
    def base(self) -> Path | None:
        # What is typed at a prompt is meant from where the prompt is.
        return Path.cwd() if self._flag() is not None else self.document.base

    @property
    def raw(self) -> str | None:
        flag = self.document.flags.get(self.path)
        return flag.raw if flag is not None else None

    def at(self, name: str) -> _DocumentPlace:
        return _DocumentPlace(self.document, (*self.path, name))

    def fail(self, what: str) -> NoReturn:
        raise StudyFileError(f"{self.label}: {'.'.join(self.path)}: {what}")


def section_settings(section: Any) -> dict[str, Any]:
    """Return a section as plain data that `Document.section` reads back.

    What is None or empty is left out: it is the default, and TOML cannot write it.
    """
    values = ((key, kind, getattr(section, f.name)) for key, f, kind in _keys(type(section)))
    return {k: kind.write(value) for k, kind, value in values if value is not None and value != ()}


def _keys(cls: type[Any]) -> Iterator[tuple[str, dataclasses.Field[Any], Kind]]:
    # In the order of the constructor: what a section shares with another record comes last.
    for entry in sorted(dataclasses.fields(cls), key=lambda entry: entry.kw_only is True):
        yield entry.metadata["key"] or entry.name, entry, entry.metadata["kind"]


def _split(text: str, label: str) -> tuple[str, str]:
    name, equals, raw = text.partition("=")
    if not equals or not name.strip():
        raise StudyFileError(f"{label}: expected NAME=VALUE")
    return name.strip(), raw.strip()


def parse_option(text: str) -> Any:
    """Return an option's text read as TOML, or the text itself where it is not TOML.

    A range such as ``10:50:10`` is a time of day in TOML, and never meant as one. ``.5`` and
    ``5.`` are read as numbers, which TOML does not.
    """
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return float(text) if re.fullmatch(r"[-+]?(\d+\.|\.\d+)", text) else text
    plain = len(table) == 1 and not isinstance(table["value"], dt.time)
    return table["value"] if plain else text


def _syntax_message(path: Path, text: str, error: tomllib.TOMLDecodeError) -> str:
    message = str(error)
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if place is None:
        return f"{path}: {message}"
    reason = message[: place.start()]
    if place[1] is None:
        return f"{path}:{text.count(chr(10)) + 1}: {reason} (at the end of the file)"
    line = text.split("\n")[int(place[1]) - 1].strip()
    return f"{path}:{place[1]}:{place[2]}: {reason}, in {shown(line)}"
