"""Quotes of eight lanes at a time, in vector registers.

Two ways to lay quotes out by tick and lane: `spread_lanes`, where all eight lanes take
the same source ticks, each at a level of its own, and `turn_lanes`, where each lane's
quotes lie one after the other. Both also work out what `sweep.kernel.paths.marks` needs for
marking at the mid. They are written in LLVM's own text, because its vectoriser takes
neither: eight lanes are a whole vector on some processors, and several on others.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, types
from numba.core import cgutils as untyped
from numba.extending import intrinsic

from sweep.kernel.paths.derive import ROUND
from sweep.kernel.paths.marks import SPAN

__all__ = ["EIGHT", "LINE", "prefetch", "spread_lanes", "turn_lanes"]


def _intrinsic(function: Callable[..., Any]) -> Any:
    """Return what Numba replaces by the text that ``function`` generates."""
    return intrinsic(function)


#: Lanes that are worked on together.
EIGHT = 8

#: Numbers in a line of the cache.
LINE = 8

cgutils: Any = untyped

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, EIGHT)
_INT = ir.IntType(64)


def _is_fused() -> bool:
    """Whether what is compiled for multiplies and adds in one step; elsewhere that is a call."""
    settings: Any = config
    if settings.CPU_NAME is not None or settings.CPU_FEATURES is not None:
        return "+fma" in (settings.CPU_FEATURES or "")
    return bool(llvm.get_host_cpu_features().get("fma")) or platform.machine() == "aarch64"


class _Out:
    """Where the quotes and the marks of a group of eight lanes go."""

    def __init__(self, context: Any, builder: Any, arrays: Any, lane: Any, units: Any) -> None:
        self._builder = builder
        quotes, worth, top, low = arrays
        self._at = lane
        self._stride, columns = _length(quotes, 2), _length(quotes, 1)
        self._row = builder.mul(self._stride, columns)
        self._quotes, self._worth = quotes[0], worth[0]
        self._top, self._low, self._spans = top[0], low[0], _length(top, 2)
        self._units = None if units is None else _splat(builder, units)
        self._half = _splat(builder, ir.Constant(_DOUBLE, 0.5))
        self._most = cgutils.alloca_once(builder, _VECTOR)
        self._least = cgutils.alloca_once(builder, _VECTOR)

    def begin_span(self) -> None:
        for place, sign in ((self._most, "-"), (self._least, "")):
            limit = ir.Constant(_DOUBLE, float(f"{sign}inf"))
            self._builder.store(_splat(self._builder, limit), place)

    def put(self, tick: Any, bid: Any, ask: Any) -> None:
        b = self._builder
        at = b.add(b.mul(tick, self._row), self._at)
        _store(b, bid, self._quotes, at)
        _store(b, ask, self._quotes, b.add(at, self._stride))
        value = b.fmul(self._half, b.fadd(bid, ask))
        if self._units is not None:
            value = b.fmul(value, self._units)
        _store(b, value, self._worth, b.add(b.mul(tick, self._stride), self._at))
        for place, sign in ((self._most, ">"), (self._least, "<")):
            known = b.load(place)
            b.store(b.select(b.fcmp_ordered(sign, value, known), value, known), place)

    def end_span(self, span: Any) -> None:
        b = self._builder
        for place, data in ((self._most, self._top), (self._least, self._low)):
            values = b.load(place)
            for j in range(EIGHT):
                row = b.mul(b.add(self._at, _INT(j)), self._spans)
                value = b.extract_element(values, ir.Constant(ir.IntType(32), j))
                b.store(value, b.gep(data, [b.add(row, span)]))


def _data(context: Any, builder: Any, kind: Any, value: Any) -> tuple[Any, list[Any]]:
    """Return an array's address and lengths."""
    array = context.make_array(kind)(context, builder, value)
    shape = cgutils.unpack_tuple(builder, array.shape, kind.ndim)
    return array.data, shape


def _length(array: tuple[Any, list[Any]], dimension: int) -> Any:
    return array[1][dimension]


def _splat(builder: Any, value: Any) -> Any:
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, zero)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), EIGHT), [0] * EIGHT)
    return builder.shuffle_vector(one, one, mask)


def _place(builder: Any, data: Any, at: Any) -> Any:
    return builder.bitcast(builder.gep(data, [at]), _VECTOR.as_pointer())


def _load(builder: Any, data: Any, at: Any) -> Any:
    return builder.load(_place(builder, data, at), align=8)


def _store(builder: Any, value: Any, data: Any, at: Any) -> None:
    builder.store(value, _place(builder, data, at), align=8)


def _spans(builder: Any, n: Any, out: _Out, each: Callable[[Any], None], step: int) -> None:
    """Let ``each(tick)`` be done for every ``step`` ticks below ``n``, span by span."""
    width = ir.Constant(_INT, SPAN)
    spans = builder.udiv(builder.add(n, ir.Constant(_INT, SPAN - 1)), width)
    with cgutils.for_range(builder, spans, intp=_INT) as span:
        out.begin_span()
        first = builder.mul(span.index, width)
        left = builder.sub(n, first)
        count = builder.select(builder.icmp_unsigned("<", left, width), left, width)
        rounds = builder.udiv(builder.add(count, ir.Constant(_INT, step - 1)), _INT(step))
        with cgutils.for_range(builder, rounds, intp=_INT) as part:
            each(builder.add(first, builder.mul(part.index, _INT(step))))
        out.end_span(span.index)


@_intrinsic
def spread_lanes(
    typing_context: Any,
    bid: Any,
    ask: Any,
    spread: Any,
    first: Any,
    n: Any,
    level: Any,
    lane: Any,
    high: Any,
    low_part: Any,
    half: Any,
    units: Any,
    quotes: Any,
    worth: Any,
    top: Any,
    low: Any,
) -> Any:
    """Write the quotes of eight lanes that take the same ``n`` source ticks.

    Parameters
    ----------
    bid, ask : ndarray of shape (n_ticks,), float64
    spread : ndarray of shape (at least n,), float64
        Of the ``n`` ticks, in ticks of the grid.
    first, n : int
    level : ndarray of shape (3, width), float64
        What bid and ask are multiplied by to give the bid in ticks of the grid (see
        `sweep.kernel.paths.derive.derive_quotes`), and `sweep.kernel.paths.derive.ROUND` less its
        offset.
    lane : int
        First of the eight.
    high, low_part, half : float
        See `sweep.kernel.paths.derive.derive_quotes`.
    units : float
        Contract size.
    quotes, worth, top, low
        See `sweep.kernel.paths.marks.prepare_lanes`.
    """
    floats = (high, low_part, half, units)
    signature = types.void(
        bid, ask, spread, types.int64, types.int64, level, types.int64,
        *(types.float64 for _ in floats), quotes, worth, top, low,
    )  # fmt: skip

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        b = builder
        kinds = sig.args
        bids, asks, spreads = (_data(context, b, kinds[j], arguments[j])[0] for j in range(3))
        begin, count, at = arguments[3], arguments[4], arguments[6]
        levels, shape = _data(context, b, kinds[5], arguments[5])
        own, other, back = (_load(b, levels, b.add(b.mul(_INT(j), shape[1]), at)) for j in range(3))
        above, below, around = (_splat(b, arguments[j]) for j in range(7, 10))
        rounding = _splat(b, ir.Constant(_DOUBLE, ROUND))
        arrays = [_data(context, b, kinds[j], arguments[j]) for j in range(11, 15)]

        def price(k: Any) -> Any:
            return _product_sum(b, k, above, b.fmul(k, below))

        for plain in (True, False):
            zero, one = ir.Constant(_DOUBLE, 0.0), ir.Constant(_DOUBLE, 1.0)
            is_plain = b.and_(
                b.fcmp_ordered("==", arguments[9], zero), b.fcmp_ordered("==", arguments[10], one)
            )
            with b.if_then(is_plain if plain else b.not_(is_plain)):
                out = _Out(context, b, arrays, at, None if plain else arguments[10])

                def each(tick: Any, plain: bool = plain, out: _Out = out) -> None:
                    place = b.add(begin, tick)
                    bid_, ask_ = (
                        _splat(b, b.load(b.gep(column, [place]))) for column in (bids, asks)
                    )
                    exact = b.fadd(b.fmul(bid_, own), b.fmul(ask_, other))
                    lower = b.fsub(b.fadd(exact, rounding), back)
                    upper = b.fadd(lower, _splat(b, b.load(b.gep(spreads, [tick]))))
                    sides = price(lower), price(upper)
                    if not plain:
                        sides = b.fsub(sides[0], around), b.fadd(sides[1], around)
                    out.put(tick, *sides)

                _spans(b, count, out, each, 1)
        return context.get_dummy_value()

    return signature, generate


def _product_sum(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` where both ways to round it give the same: in one step, if there is."""
    if not _is_fused():
        return builder.fadd(builder.fmul(a, b), c)
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{EIGHT}f64")
    return builder.call(function, [a, b, c])


@_intrinsic
def turn_lanes(
    typing_context: Any,
    own_bid: Any,
    own_ask: Any,
    n: Any,
    lane: Any,
    units: Any,
    quotes: Any,
    worth: Any,
    top: Any,
    low: Any,
) -> Any:
    """Lay out the quotes of eight lanes by tick and lane.

    Parameters
    ----------
    own_bid, own_ask : ndarray of shape (8, n_ticks), float64
        By lane and tick.
    n : int
        Ticks; those up to the next multiple of 8 are laid out as well.
    lane : int
        First of the eight.
    units : float
        Contract size.
    quotes, worth, top, low
        See `sweep.kernel.paths.marks.prepare_lanes`.
    """
    signature = types.void(
        own_bid, own_ask, types.int64, types.int64, types.float64, quotes, worth, top, low
    )

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        b = builder
        kinds = sig.args
        sources = [_data(context, b, kinds[j], arguments[j]) for j in (0, 1)]
        arrays = [_data(context, b, kinds[j], arguments[j]) for j in range(5, 9)]
        out = _Out(context, b, arrays, arguments[3], arguments[4])

        def each(tick: Any) -> None:
            columns = []
            for data, shape in sources:
                rows = [_load(b, data, b.add(b.mul(_INT(j), shape[1]), tick)) for j in range(EIGHT)]
                columns.append(_turned(b, rows))
            for j in range(EIGHT):
                out.put(b.add(tick, _INT(j)), columns[0][j], columns[1][j])

        _spans(b, arguments[2], out, each, EIGHT)
        return context.get_dummy_value()

    return signature, generate


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Return eight vectors with rows and columns exchanged, in three rounds of shuffles."""
    for half in (1, 2, 4):
        turned = list(rows)
        for j in range(EIGHT):
            if j & half:
                continue
            one, other = rows[j], rows[j + half]
            masks: tuple[list[int], list[int]] = ([], [])
            for k in range(EIGHT):
                # Place k of row j takes, of rows j and j + half, what belongs there.
                masks[0].append(k if not k & half else EIGHT + (k - half))
                masks[1].append(k + half if not k & half else EIGHT + k)
            for place, mask in zip((j, j + half), masks, strict=True):
                constant = ir.Constant(ir.VectorType(ir.IntType(32), EIGHT), mask)
                turned[place] = builder.shuffle_vector(one, other, constant)
        rows = turned
    return rows


@_intrinsic
def prefetch(typing_context: Any, array: Any, place: Any) -> Any:
    """Ask for the line of the cache that holds an item of an array; it need not exist."""
    signature = types.void(array, types.int64)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        small = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, small, small, small])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [address, small(0), small(2), small(1)])
        return context.get_dummy_value()

    return signature, generate
