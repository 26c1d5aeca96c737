"""The text that runs a strategy for many variants side by side, one lane each.

All that a group of lanes has (states, parameters, constants, what a step may see of the
account, the latest targets) lies in one flat buffer of doubles: field ``f`` of lane ``l``
at ``f * STRIDE + l``. With time in the outer and lanes in the inner loop LLVM proves the
lanes independent by the constant distance of the fields, and puts as many of them into
one vector register as it holds. Integers lie in the buffer as the same 64 bits.

What made it fast, measured on the EMA crossover with four lanes a register: one buffer,
because with an array for each field LLVM gives up; targets compared as bits and collected
by ``or``, because a reduction over truth values is narrowed first; several ticks in one
pass over the lanes where a step does not see the account, because their states then stay
in registers; targets muted by an ``and`` with a mask, instead of a comparison of ticks.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sweep.strategy.declare import Strategy, field_kinds
from sweep.strategy.space import SearchSpace

__all__ = ["STRIDE", "WIDTH", "as_bits", "as_float", "lanes_text"]

#: Lanes of a group.
WIDTH = 64

#: Doubles between two fields of the buffer: no power of two, so that fields do not share
#: their place within a page, which makes loads wait for unrelated stores.
STRIDE = 72

#: Ticks in one pass over the lanes, where a step does not see the account.
TICKS = 4

#: Fields of the state up to which several ticks are taken in one pass: with more of them
#: the states do not stay in registers.
_SMALL = 8


@intrinsic
def as_bits(typing_context: Any, value: Any) -> Any:
    """Return the 64 bits of a float64 as an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def as_float(typing_context: Any, value: Any) -> Any:
    """Return the float64 of the 64 bits of an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


_TAKE = {
    "float": "{}",
    "int": "_sweep_as_bits({})",
    "bool": "_sweep_as_bits({}) != 0",
}
_PUT = {
    "float": "{}",
    "int": "_sweep_as_float({})",
    "bool": "_sweep_as_float(1 if {} else 0)",
}


def lanes_text(
    strategy: Strategy, space: SearchSpace, ticks: int | None = None, *, own_ticks: bool = False
) -> tuple[str, str]:
    """Return the text that keeps and steps lanes of a strategy's variants.

    Parameters
    ----------
    strategy : Strategy
    space : SearchSpace
    ticks : int, optional
        Ticks in one pass, instead of those that suit the strategy.
    own_ticks : bool, optional
        Each lane has ticks of its own (``quotes`` and ``stamps`` by tick and lane, see
        `sweep.kernel.paths.core`), instead of the same for all.

    Returns
    -------
    text : str
        Empty where the strategy cannot run in lanes.
    reason : str
        Why it cannot; otherwise empty.
    """
    state = field_kinds(strategy.state)
    constants = {} if strategy.constants is None else field_kinds(strategy.constants)
    params = {p.name: p.compiled_type for p in space.parameters}
    for owner, kinds in (("State", state), ("Constants", constants)):
        for name, kind in kinds.items():
            if kind == "ndarray":
                return "", f"{owner}.{name} is an array"
    for name, kind in params.items():
        if kind == "str":
            return "", f"the parameter {name} is a text"
    feedback = "account" in strategy.arguments("step")
    if ticks is None:
        ticks = 1 if feedback or len(state) > _SMALL else TICKS
    fields = [
        *(f"s_{name}" for name in state),
        *(f"k_{name}" for name in constants),
        *(f"p_{name}" for name in params),
        *("position", "entry_price", "entry_ts", "cash", "mask"),
        *(f"target_{q}" for q in range(ticks)),
    ]
    at = {name: f"buffer[{place * STRIDE} + lane]" for place, name in enumerate(fields)}

    def taken(cls: str, prefix: str, kinds: dict[str, str]) -> str:
        values = (_TAKE[kind].format(at[f"{prefix}_{name}"]) for name, kind in kinds.items())
        return f"{cls}({', '.join(values)})" if kinds else "0"

    def put(prefix: str, kinds: dict[str, str], name: str) -> list[str]:
        return [
            f"{at[f'{prefix}_{field}']} = {_PUT[kind].format(f'{name}.{field}')}"
            for field, kind in kinds.items()
        ]

    def lines(indent: int, found: list[str]) -> str:
        return "\n".join(" " * indent + line for line in found or ["pass"])

    own = {
        "state": taken("State", "s", state),
        "constants": taken("Constants", "k", constants),
        "params": taken("_SweepParams", "p", params),
    }
    layout = (len(fields), STRIDE, ticks)
    passes = _pass(own, at, put("s", state, "s"), ticks, ticks, own_ticks, feedback)
    if ticks > 1:
        passes += _pass(own, at, put("s", state, "s"), 1, ticks, own_ticks, feedback)
    given = _OWN_TICKS if own_ticks else _SAME_TICKS
    text = f"""
from sweep.kernel.lanes import as_bits as _sweep_as_bits, as_float as _sweep_as_float

_SWEEP_LAYOUT = {layout}


def _sweep_lanes_load(buffer, bits, lane, row, floats, ints):
    p = _sweep_params(row)
    k = _sweep_constants(p)
    s = _sweep_unpack(floats, ints)
{lines(4, put("s", state, "s") + put("k", constants, "k") + put("p", params, "p"))}
    return 0


def _sweep_lanes_begin(
    held, buffer, bits, lane, row, ts, bid, ask, mid, spread, bid_size, ask_size, f
):
    p = _sweep_params(row)
    k = _sweep_constants(p)
    s = _sweep_start(ts, bid, ask, mid, spread, bid_size, ask_size, p, k, f)
{lines(4, put("s", state, "s"))}
    return 0


def _sweep_lanes_save(held, buffer, bits, lane, floats, ints):
    _sweep_pack({own["state"]}, floats, ints)


def _sweep_lanes_ticks(
    held, buffer, bits, changed, n, {given}, i, stop,
):
{passes}
    return held, i, 0
"""
    return text, ""


#: What the loop over ticks takes: the same ticks for all lanes, or each lane's own.
_SAME_TICKS = "ts, bid, ask, bid_size, ask_size, sizes, half, units, mark_close, features, origin"
_OWN_TICKS = "quotes, stamps, sizes, units, mark_close"


def _tick(q: int, own_ticks: bool) -> list[str]:
    """Return the lines that take tick ``q`` of a pass from where it lies."""
    if own_ticks:
        taken = [
            f"t{q} = stamps[i + {q}, lane]",
            f"b{q} = quotes[i + {q}, 0, lane]",
            f"a{q} = quotes[i + {q}, 1, lane]",
        ]
        sizes = [f"quotes[i + {q}, {j}, lane]" for j in (2, 3)]
    else:
        taken = [
            f"t{q} = ts[i + {q}]",
            f"b{q} = bid[i + {q}] - half",
            f"a{q} = ask[i + {q}] + half",
        ]
        sizes = [f"bid_size[i + {q}]", f"ask_size[i + {q}]"]
    return [
        *taken,
        f"m{q} = 0.5 * (b{q} + a{q})",
        f"w{q} = a{q} - b{q}",
        f"bs{q} = {sizes[0]} if sizes else _sweep_np.nan",
        f"az{q} = {sizes[1]} if sizes else _sweep_np.nan",
    ]


def _pass(
    own: dict[str, str],
    at: dict[str, str],
    store: list[str],
    n: int,
    ticks: int,
    own_ticks: bool,
    feedback: bool,
) -> str:
    """Return the loop that takes ``n`` ticks at once."""
    text = [f"    while i + {n} <= stop:"]
    each: list[str] = []
    for q in range(n):
        lines = _tick(q, own_ticks)
        if own_ticks:
            each += [f"            {line}" for line in lines]
        else:
            text += [f"        {line}" for line in lines]
        feature = "0" if own_ticks else f"_sweep_features(features, i + {q} - origin)"
        text += [f"        f{q} = {feature}", f"        x{q} = 0"]
    text += [
        "        for lane in range(n):",
        *each,
        f"            s = {own['state']}",
        f"            k = {own['constants']}",
        f"            p = {own['params']}",
        f"            mask = _sweep_as_bits({at['mask']})",
        f"            known = _sweep_as_bits({at[f'target_{ticks - 1}']})",
    ]
    if feedback:
        text += [
            f"            position = {at['position']}",
            f"            entry_price = {at['entry_price']}",
            f"            entry_ts = _sweep_as_bits({at['entry_ts']})",
            f"            cash = {at['cash']}",
        ]
    for q in range(n):
        # What no step reads would take time to compile. A plain 0 has a type of its own, for
        # which step() would be compiled once more.
        account = f"0.0, 0.0, t{q}, 0.0"
        if feedback:
            account = "position, entry_price, entry_ts, equity"
            text += [
                f"            mark = m{q}",
                "            if mark_close:",
                f"                mark = b{q} if position > 0.0 else a{q}",
                "            equity = cash + position * (mark * units)"
                " if position != 0.0 else cash",
            ]
        text += [
            f"            s, target = _sweep_step(s, t{q}, b{q}, a{q}, m{q}, w{q}, bs{q}, az{q},"
            f" p, k, f{q}, {account})",
            "            bits = _sweep_as_bits(target) & mask",
            f"            {at[f'target_{ticks - n + q}']} = _sweep_as_float(bits)",
            f"            x{q} |= bits ^ known",
            "            known = bits",
        ]
    text += [f"            {line}" for line in store]
    text += [f"        i += {n}", f"        if {' | '.join(f'x{q}' for q in range(n))} != 0:"]
    text += [f"            changed[{q}] = x{q}" for q in range(n)]
    text += [f"            return held, i, {n}", ""]
    return "\n".join(text)
