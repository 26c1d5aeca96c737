"""Stamps of any spelling to nanoseconds since the epoch, UTC.

Text is parsed by position: rows of one length share one layout, so that a column is
read with a few operations on whole arrays of bytes, not row by row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sweep.errors import DataError
from sweep.schema import IntArray1D
from sweep.ticks.quality import NO_STAMP

__all__ = [
    "BadStampError",
    "StampParser",
    "check_timezone",
    "from_numpy",
    "is_missing",
    "to_numpy",
]

Array = Any  # pyarrow.Array; pyarrow has no type information

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

#: How far the digits of compact stamps go: seconds, milliseconds, microseconds, nanoseconds.
_COMPACT_LENGTHS = (14, 17, 20, 23)
_DATES = (
    r"(?P<Y>\d{4})SEP(?P<m>\d{1,2})SEP(?P<d>\d{1,2})",
    r"(?P<a>\d{1,2})SEP(?P<b>\d{1,2})SEP(?P<Y>\d{4})",
)
_COMPACT_DATE = r"(?P<Y>\d{4})(?P<m>\d{2})(?P<d>\d{2})"
_CLOCK = r"(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
_COMPACT_CLOCK = r"(?P<H>\d{2})(?P<M>\d{2})(?P<S>\d{2})[.]?(?P<f>\d{0,9})"
_ZONE = r"(?: ?(?:Z|z|UTC|GMT))?(?: ?(?P<z>[+-]\d{2}:?\d{2}))?"
_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "f": r"(?P<f>\d{1,9})",
    "z": r"(?:Z|(?P<z>[+-]\d{2}:?\d{2}))",
    "%": "%",
}


class BadStampError(Exception):
    """A stamp that cannot be read, with its index in the array."""

    def __init__(self, index: int, text: str, why: str) -> None:
        super().__init__(index, text, why)
        self.index, self.text, self.why = index, text, why


def to_numpy(array: Array, dtype: Any, missing: Any = None) -> NDArray[Any]:
    """Values of a primitive Arrow array; ``missing`` stands where there is none.

    Not copied where nothing is missing. Arrow's own ``to_numpy``, and every scalar made
    from a Python value, import pandas, which takes longer than reading most files.
    """
    n, begin = len(array), array.offset
    validity, values = array.buffers()
    if n == 0:
        return np.empty(0, dtype)
    if array.type.bit_width == 1:
        flat = _bits(values, begin, n).astype(dtype)
    else:
        flat = np.frombuffer(values, dtype)[begin : begin + n]
    if validity is None or array.null_count == 0:
        return flat
    return np.where(_bits(validity, begin, n), flat, missing).astype(dtype, copy=False)


def from_numpy(values: NDArray[Any], kind: Any) -> Array:
    """Arrow array of the type ``kind`` with the values of an array, without pandas."""
    if values.dtype == np.bool_:
        buffer = pa.py_buffer(np.packbits(values, bitorder="little"))
    else:
        buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def is_missing(array: Array) -> NDArray[np.bool_]:
    """Mask of the nulls of any Arrow array."""
    if array.null_count == 0:
        return np.zeros(len(array), np.bool_)
    return ~_bits(array.buffers()[0], array.offset, len(array))


def _bits(buffer: Any, begin: int, n: int) -> NDArray[np.bool_]:
    first = begin // 8
    packed = np.frombuffer(buffer, np.uint8)[first : (begin + n + 7) // 8]
    return np.unpackbits(packed, bitorder="little")[begin % 8 : begin % 8 + n].astype(np.bool_)


def check_timezone(name: str) -> None:
    """Raise DataError if a time zone's name is not known."""
    if not _is_offset(name):
        _zone(name)


def _is_offset(name: str) -> bool:
    return name.upper() in ("UTC", "Z", "GMT") or re.fullmatch(r"[+-]\d\d:?\d\d", name) is not None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(
            f"data.timezone: {name!r} is not a time zone; use an IANA name such as "
            f'"America/New_York", "EST" or an offset such as "+02:00"'
        ) from None


def from_local(ns: IntArray1D, name: str) -> IntArray1D:
    """UTC nanoseconds of local ones.

    Where a clock is set back, the first of the two hours is taken: the second then comes
    out backward, and the check of that name finds it.
    """
    if _is_offset(name):
        digits = re.sub(r"[^0-9]", "", name) or "0000"
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        return ns - (-1 if name.startswith("-") else 1) * minutes * 60_000_000_000
    zone, quarter = _zone(name), 900 * 10**9  # offsets change on quarters of an hour
    bins, which = np.unique(ns // quarter, return_inverse=True)
    epoch = datetime(1970, 1, 1)
    local = [(epoch + timedelta(seconds=int(b) * 900)).replace(tzinfo=zone) for b in bins]
    offsets = [(at.utcoffset() or timedelta()) // timedelta(microseconds=1) for at in local]
    return ns - np.array(offsets, np.int64)[which] * 1000


@dataclass
class StampParser:
    """Reads the stamps of one file; the format of the first chunk holds for the rest.

    Attributes
    ----------
    time_format : str or None
        ``"iso"``, a unit of the epoch (``s``, ``ms``, ``us``, ``ns``), a pattern with
        the directives %Y %y %m %d %H %M %S %f %z, or None: recognised.
    timezone : str
        Zone of stamps that do not name their own.
    description : str
        The format that was named or recognised, in words.
    """

    time_format: str | None
    timezone: str
    description: str = ""
    _unit: str = ""
    _pattern: str = ""
    _month_first: bool = False
    _cache: dict[str, re.Pattern[str]] = field(default_factory=dict)

    def parse(self, stamps: Array, times: Array | None = None) -> IntArray1D:
        """Nanoseconds of an Arrow array of stamps, or of dates and times of day.

        Returns
        -------
        ndarray of shape (n,), int64
            :data:`~sweep.ticks.quality.NO_STAMP` where a stamp is absent.

        Raises
        ------
        BadStampError
        DataError
            If no format fits, or more than one.
        """
        stamps = _plain(stamps)
        if times is not None:
            return self._parse_pair(stamps, _plain(times))
        kind = stamps.type
        if pa.types.is_timestamp(kind):
            self.description = self.description or f"Arrow {kind}" + (
                "" if kind.tz else self._in_zone
            )
            return self._zoned(stamps, kind.tz is not None)
        if pa.types.is_date(kind):
            raise DataError(
                "the column of stamps holds dates without times; name the column of times "
                "with data.columns.time"
            )
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return self._epoch(stamps)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self._text(stamps)
        raise DataError(f"the column of stamps has the type {kind}, which is no time")

    def _parse_pair(self, dates: Array, times: Array) -> IntArray1D:
        if pa.types.is_date(dates.type) and pa.types.is_time(times.type):
            self.description = (
                self.description or f"Arrow {dates.type}, {times.type}{self._in_zone}"
            )
            day = _timestamps(dates)
            clock = pc.cast(pc.cast(times, pa.time64("ns")), pa.int64())
            missing = (day == NO_STAMP) | is_missing(times)
            ns = day + to_numpy(clock, np.int64, 0)
            return _with_missing(from_local(ns, self.timezone), missing)
        text = pc.binary_join_element_wise(
            pc.cast(dates, pa.string()), pc.cast(times, pa.string()), " "
        )
        return self._text(text)

    def _zoned(self, stamps: Array, has_zone: bool) -> IntArray1D:
        ns = _timestamps(stamps)
        if has_zone:
            return ns
        return _with_missing(from_local(ns, self.timezone), ns == NO_STAMP)

    def _epoch(self, stamps: Array) -> IntArray1D:
        missing = is_missing(stamps)
        if pa.types.is_floating(stamps.type):
            stamps = pc.cast(stamps, pa.float64())
            missing = missing | np.isnan(to_numpy(stamps, np.float64, np.nan))
        if not self._unit:
            self._unit = str(self.time_format) if self.time_format in UNITS else ""
            present = stamps.filter(from_numpy(~missing, pa.bool_())) if missing.any() else stamps
            if not self._unit and len(present):
                self._unit = _unit_of(abs(float(present[0].as_py())))
            if not self._unit:
                return np.full(len(stamps), NO_STAMP)
            self.description = f"epoch, {self._unit}"
        factor = UNITS[self._unit]
        if pa.types.is_decimal(stamps.type):
            stamps = pc.cast(stamps, pa.string())
        if pa.types.is_string(stamps.type) or pa.types.is_large_string(stamps.type):
            ns = _decimal_to_ns(stamps, factor, missing)
        elif pa.types.is_integer(stamps.type):
            ns = _scaled(to_numpy(pc.cast(stamps, pa.int64()), np.int64, 0), factor)
        else:
            # A double of seconds resolves some 240 ns: round to microseconds.
            values = np.where(missing, 0.0, to_numpy(stamps, np.float64, 0.0)) * (
                factor / 1e3 if factor >= 1000 else 1.0
            )
            ns = _scaled(np.rint(values).astype(np.int64), 1000 if factor >= 1000 else 1)
        return _with_missing(ns, missing)

    def _text(self, text: Array) -> IntArray1D:
        text = pc.utf8_trim_whitespace(pc.cast(text, pa.large_string()))
        lengths = to_numpy(pc.binary_length(text), np.int64, 0)
        missing = lengths == 0
        if missing.all():
            return np.full(len(text), NO_STAMP)
        if not (self._unit or self._pattern):
            present = text.filter(from_numpy(~missing, pa.bool_())) if missing.any() else text
            self._find_format(present)
        if self._unit:
            try:
                return self._epoch(text)
            except pa.ArrowInvalid:
                raise self._bad_number(text, missing) from None
        ns = self._by_arrow(text, lengths)
        return _with_missing(self._by_position(text, lengths) if ns is None else ns, missing)

    def _by_arrow(self, text: Array, lengths: IntArray1D) -> IntArray1D | None:
        """Parse ISO 8601 by Arrow, ten times as fast; None where Arrow may read it otherwise."""
        gap = _ISO.get(self._pattern.removesuffix(_UTC_MARK))
        if gap is None or lengths.min() < len("2014-05-01T12:30"):
            return None
        begins, data = _bytes_of(text)
        begins, ends = begins[:-1], begins[1:]
        if not ((data[begins + 10] == gap) & (data[begins + 13] == ord(":"))).all():
            return None  # Arrow takes dates and hours alone, and either gap
        zoned = re.search(r"(Z|[+-]\d{2}:?\d{2})$", text[0].as_py()) is not None
        if zoned and np.isin(data[ends - 3], np.frombuffer(b"+-", np.uint8)).any():
            return None  # an offset of hours alone
        if zoned and not self._names_utc and (data[ends - 1] == ord("Z")).any():
            return None  # rows marked as UTC among rows with an offset
        try:
            ns = _timestamps(pc.cast(text, pa.timestamp("ns", "UTC" if zoned else None)))
        except pa.ArrowInvalid:
            return None  # the parser by position finds the row
        if ns.min() < _FIRST or ns.max() >= _END:
            return None
        return ns if zoned or self._names_utc else from_local(ns, self.timezone)

    def _bad_number(self, text: Array, missing: NDArray[np.bool_]) -> BadStampError:
        good = to_numpy(pc.match_substring_regex(text, r"^[+-]?\d+(\.\d*)?$"), np.bool_, True)
        index = int(np.argmin(good | missing))
        return BadStampError(index, str(text[index]), f"it is not a number of {self._unit}")

    def _find_format(self, present: Array) -> None:
        first = present[0].as_py()
        named = self.time_format
        if named in UNITS:
            self._unit, self.description = str(named), f"epoch, {named}"
        elif named and named != "iso":
            self._pattern, self.description = _from_directives(named), named
        elif re.fullmatch(r"[+-]?\d+(\.\d+)?", first) and (
            len(first.partition(".")[0]) not in (8, *_COMPACT_LENGTHS)
        ):
            self._unit = _unit_of(abs(float(first)))
            self.description = f"epoch, {self._unit}"
        else:
            self._pattern = _pattern_of(first)
            if "(?P<a>" in self._pattern:
                self._month_first = _is_month_first(present, self._pattern)
            self.description = f"text such as {first!r}"
            if "(?P<a>" in self._pattern:
                self.description += ", month first" if self._month_first else ", day first"
            if not (self._names_utc or re.search(r"[+-]\d{2}:?\d{2}$", first)):
                self.description += self._in_zone

    def _by_position(self, text: Array, lengths: IntArray1D) -> IntArray1D:
        """Parse rows of each length together; the awkward ones by a regular expression."""
        offsets, data = _bytes_of(text)
        out = np.zeros(len(text), np.int64)
        for length in np.unique(lengths):
            if length == 0:
                continue
            rows = np.flatnonzero(lengths == length)
            if len(rows) == len(lengths):
                matrix = data[offsets[0] : offsets[-1]].reshape(len(rows), length)
            else:
                matrix = data[offsets[rows][:, None] + np.arange(length)]
            ns = self._fixed(np.ascontiguousarray(matrix.T), bytes(matrix[0]))
            if ns is None:
                ns = self._by_expression(text.take(from_numpy(rows, pa.int64())), rows)
            out[rows] = ns
        return out

    def _fixed(self, bytes_: NDArray[np.uint8], template: bytes) -> IntArray1D | None:
        """Parse rows laid out like ``template``; None if some row is laid out otherwise.

        ``bytes_`` has the shape (length, n): one row for each position.
        """
        match = re.fullmatch(self._pattern, template.decode("ascii", "replace"))
        if match is None:
            return None
        spans = {n: match.span(n) for n, v in match.groupdict().items() if v}
        covered = {i for begin, end in spans.values() for i in range(begin, end)}
        for i in range(len(template)):
            if i not in covered and not (bytes_[i] == template[i]).all():
                return None
        parts: dict[str, NDArray[np.int32]] = {}
        for name, (begin, end) in spans.items():
            if name == "z":
                if not np.isin(bytes_[begin], np.frombuffer(b"+-", np.uint8)).all():
                    return None
                begin += 1
            # Nine digits at the most: int32 holds them at half the cost of int64.
            value = np.zeros(bytes_.shape[1], np.int32)
            for i in range(begin, end):
                if name == "z" and template[i] == ord(":"):
                    if not (bytes_[i] == ord(":")).all():
                        return None
                    continue
                digit = bytes_[i] - np.uint8(48)
                if (digit > 9).any():
                    return None
                value *= 10
                value += digit
            if name == "f":
                value *= 10 ** (9 - (end - begin))
            elif name == "z":
                value[bytes_[begin - 1] == ord("-")] *= -1
            parts[name] = value
        ns, valid = self._combine({n: part.astype(np.int64) for n, part in parts.items()})
        return ns if valid.all() else None

    def _by_expression(self, text: Array, rows: IntArray1D) -> IntArray1D:
        """Parse rows whose fields lie at different positions, and find the bad ones."""
        matched = pc.extract_regex(text, pattern=f"^(?:{self._pattern})$")
        good = ~is_missing(matched)
        parts: dict[str, IntArray1D] = {}
        for name in [f.name for f in matched.type] if good.any() else []:
            part = pc.struct_field(matched, name)
            if name == "f":
                part = pc.utf8_rpad(part, 9, padding="0")
            if name == "z":
                part = pc.replace_substring(part, ":", "")
            part = pc.if_else(pc.equal(part, ""), "0", part).fill_null("0")
            part = pc.replace_substring_regex(part, pattern=r"^\+", replacement="")
            parts[name] = to_numpy(pc.cast(part, pa.int64()), np.int64)
        if parts:
            ns, valid = self._combine(parts)
            good &= valid
        if not good.all():
            index = int(np.argmin(good))
            why = f"it is not {self.description}" if parts else "no date and time is seen in it"
            raise BadStampError(int(rows[index]), str(text[index]), why)
        return ns

    def _combine(self, parts: dict[str, IntArray1D]) -> tuple[IntArray1D, NDArray[np.bool_]]:
        """Nanoseconds of fields, and where they are a date and time that exists."""
        zero = np.zeros_like(next(iter(parts.values())))
        year = parts["Y"] if "Y" in parts else _full_year(parts["y"])
        first, second = ("a", "b") if self._month_first else ("b", "a")
        month = parts["m"] if "m" in parts else parts[first]
        day = parts["d"] if "d" in parts else parts[second]
        hour, minute = parts.get("H", zero), parts.get("M", zero)
        second_, nanos = parts.get("S", zero), parts.get("f", zero)
        months = (year - 1970) * 12 + month - 1
        begins = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        ends = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        days = begins + day - 1
        valid = (month >= 1) & (month <= 12) & (day >= 1) & (days < ends) & (hour < 24)
        valid &= (minute < 60) & (second_ < 60) & (year > 1677) & (year < 2262)
        ns = (((days * 24 + hour) * 60 + minute) * 60 + second_) * 10**9 + nanos
        if "z" in parts:
            zone = parts["z"]
            size = np.abs(zone)
            ns = ns - np.sign(zone) * ((size // 100) * 60 + size % 100) * 60_000_000_000
        elif not self._names_utc:
            ns = from_local(ns, self.timezone)
        return ns, valid

    @property
    def _in_zone(self) -> str:
        return f", taken as {self.timezone}"

    @property
    def _names_utc(self) -> bool:
        """Whether the stamps name their own zone."""
        return self._pattern.endswith(_UTC_MARK) or _DIRECTIVES["z"] in self._pattern


#: Ends a pattern whose rows are marked as UTC: an empty group that matches anything.
_UTC_MARK = "(?:)"
#: Patterns of ISO 8601, with what stands between date and time.
_ISO = {_DATES[0].replace("SEP", re.escape("-")) + gap + _CLOCK + _ZONE: ord(gap) for gap in "T "}
#: Stamps between which no zone leads out of the years 1678 to 2261.
_FIRST, _END = (int(np.datetime64(f"{year}-01-01", "ns").astype(np.int64)) for year in (1679, 2261))


def _bytes_of(text: Array) -> tuple[IntArray1D, NDArray[np.uint8]]:
    """Return where the strings of an Arrow array begin and the last ends, and their bytes."""
    offsets = np.frombuffer(text.buffers()[1], np.int64)
    return (
        offsets[text.offset : text.offset + len(text) + 1],
        np.frombuffer(text.buffers()[2], np.uint8),
    )


def _plain(array: Array) -> Array:
    """One array without dictionary, view or chunks."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type in (pa.string_view(), pa.binary(), pa.large_binary()):
        array = pc.cast(array, pa.large_string())
    return pc.cast(array, pa.float64()) if array.type == pa.float16() else array


def _timestamps(array: Array) -> IntArray1D:
    """Nanoseconds of an Arrow array of timestamps or dates, its zone left aside."""
    zone = getattr(array.type, "tz", None)
    try:
        ns = pc.cast(array, pa.timestamp("ns", tz=zone))
    except pa.ArrowInvalid as error:
        raise DataError(f"a stamp lies outside the years 1678 to 2261: {error}") from None
    return to_numpy(pc.cast(ns, pa.int64()), np.int64, NO_STAMP)


def _with_missing(ns: IntArray1D, missing: NDArray[np.bool_]) -> IntArray1D:
    return np.where(missing, NO_STAMP, ns) if missing.any() else ns


def _scaled(values: IntArray1D, factor: int) -> IntArray1D:
    limit = np.iinfo(np.int64).max // factor
    bad = np.abs(values) > limit
    if bad.any():
        index = int(np.argmax(bad))
        raise BadStampError(index, str(values[index]), "it lies outside the years 1678 to 2261")
    return values * factor


def _decimal_to_ns(text: Array, factor: int, missing: NDArray[np.bool_]) -> IntArray1D:
    """Decimal text to nanoseconds, without passing through a double."""
    scale = len(str(factor)) - 1
    if missing.any():
        text = pc.if_else(from_numpy(missing, pa.bool_()), "0", text)
    decimals = pc.cast(text, pa.decimal128(38, scale))
    halves = np.frombuffer(decimals.buffers()[1], np.int64).reshape(-1, 2)
    halves = halves[decimals.offset : decimals.offset + len(decimals)]
    bad = halves[:, 1] != halves[:, 0] >> 63
    if bad.any():
        index = int(np.argmax(bad))
        raise BadStampError(index, str(text[index]), "it lies outside the years 1678 to 2261")
    return np.ascontiguousarray(halves[:, 0])


def _unit_of(value: float) -> str:
    """Unit of an epoch by its size: each serves the years 1973 to 5138 or so."""
    for unit, low in (("ns", 1e17), ("us", 1e14), ("ms", 1e11), ("s", 1e8)):
        if value >= low:
            return unit
    raise DataError(
        f"the stamp {value:.17g} is too small to tell the unit of an epoch; name it with "
        f'data.time_format = "s", "ms", "us" or "ns"'
    )


def _pattern_of(first: str) -> str:
    """Regular expression for stamps like the first one."""
    clock = re.search(r"\d{1,2}:\d{2}", first)
    separator = re.search(r"^\d{1,4}([-/.])\d{1,2}\1\d{1,4}", first)
    dates = [d.replace("SEP", re.escape(separator[1])) for d in _DATES] if separator else []
    for date in [*dates, _COMPACT_DATE]:
        for time in [_CLOCK] if clock else [_COMPACT_CLOCK]:
            for gap in ("T", " ", "t", "_", "-", "", r",? +"):
                pattern = date + gap + time + _ZONE
                match = re.fullmatch(pattern, first)
                if match is None:
                    continue
                utc = re.search(r"(?:Z|z|UTC|GMT)$", first)
                return pattern + _UTC_MARK if utc else pattern
    if re.fullmatch(r"\d{1,4}([-/.]?)\d{1,2}\1\d{1,4}", first):
        raise DataError(
            f"the stamp {first!r} is a date without a time; name the column of times with "
            f"data.columns.time"
        )
    raise DataError(
        f"the stamp {first!r} has a format that is not recognised; name it with "
        f'data.time_format, such as "%d/%m/%Y %H:%M:%S.%f", "iso", "ms"'
    )


def _is_month_first(stamps: Array, pattern: str) -> bool:
    """Whether 05/06/2014 is the sixth of May, judged by all stamps at hand."""
    fields = pc.extract_regex(stamps, pattern=f"^(?:{pattern})$")
    first, second = (
        pc.max(pc.cast(pc.struct_field(fields, n), pa.int64())).as_py() or 0 for n in ("a", "b")
    )
    if second > 12:
        return True
    if first > 12 or r"\." in pattern:
        return False  # dates with dots put the day first
    raise DataError(
        f"the stamp {stamps[0].as_py()!r} could mean day/month or month/day; say which with "
        f'data.time_format, such as "%d/%m/%Y %H:%M:%S.%f"'
    )


def _from_directives(time_format: str) -> str:
    """Regular expression for a pattern of strptime directives."""
    pattern, seen = "", set()
    for literal, directive in re.findall(r"([^%]+)|%(.?)", time_format):
        if literal:
            pattern += re.escape(literal)
            continue
        if directive not in _DIRECTIVES or directive in seen:
            raise DataError(
                f"data.time_format: %{directive} in {time_format!r} is not known here or "
                f'stands twice; use %Y %y %m %d %H %M %S %f %z, or "iso", "s", "ms", "us", "ns"'
            )
        seen.add(directive)
        pattern += _DIRECTIVES[directive]
    if not {"m", "d"} <= seen or not {"Y", "y"} & seen:
        raise DataError(f"data.time_format: {time_format!r} lacks the year, month or day")
    # Many writers leave out the decimals of a whole second.
    fraction = _DIRECTIVES["f"]
    return pattern.replace(rf"\.{fraction}", rf"(?:\.{fraction})?")


def _full_year(year: IntArray1D) -> IntArray1D:
    return np.where(year < 69, 2000 + year, 1900 + year)
