"""The text of a kernel module: a strategy's source, and what adapts it to the loop.

The generated part turns rows of parameters, stored states and quotes into the arguments
that the user's functions name, so that `sweep.kernel.loop` calls every strategy alike. Its names
begin with ``_sweep``, which no strategy uses for its own.
"""

from __future__ import annotations

import inspect
import re

from sweep.kernel import loop
from sweep.kernel.lanes import lanes_text
from sweep.kernel.paths import loop as path_loop
from sweep.strategy.declare import Strategy, field_kinds
from sweep.strategy.parameters import Boolean, Categorical
from sweep.strategy.space import SearchSpace

__all__ = ["MARK", "kernel_text", "path_kernel_text", "state_counts"]

#: The line between the strategy's own text and the generated part.
MARK = "# --- generated after the strategy's own text ---"

#: Constants of `sweep.kernel.core` that the loop names.
_NAMES = ("BEGIN", "FILLED", "FIRST", "LANES", "LOAD", "SAVE", "TICK", "TICKS", "UNTIL")

#: Constants of `sweep.kernel.paths.frame` that the loop over paths names.
_PATH_NAMES = ("BEGIN", "FILLED", "LANES", "TICK", "TICKS", "UNTIL")

#: Functions of the loop that differ between one variant and lanes of them.
_BY_WIDTH = ("run", "ticks", "load", "begin", "save")


def kernel_text(strategy: Strategy, space: SearchSpace, symbol: str) -> tuple[str, str]:
    """Return the text of a kernel module for a strategy and the order of its parameters.

    Parameters
    ----------
    strategy : Strategy
    space : SearchSpace
    symbol : str
        Name under which the process knows the compiled core.

    Returns
    -------
    text : str
    reason : str
        Why there is no text for lanes; empty where there is.
    """
    parts = [
        *_adapted(strategy, space, symbol, "sweep.kernel.core", _NAMES),
        _SCALAR,
        _renamed(inspect.getsource(loop.scalar_ticks)).replace("scalar_ticks", "_sweep_ticks"),
        "",
        _loop_text(),
        "",
    ]
    lanes, reason = lanes_text(strategy, space)
    if lanes:
        own = _loop_text()
        for name in _BY_WIDTH:
            own = re.sub(rf"\b_sweep_{name}\b", f"_sweep_lanes_{name}", own)
        parts += [lanes, "", own, ""]
    return "\n".join(parts), reason


def path_kernel_text(strategy: Strategy, space: SearchSpace, symbol: str) -> tuple[str, str]:
    """Return the text of the kernel module that runs a strategy on resampled paths.

    Parameters
    ----------
    strategy : Strategy
    space : SearchSpace
    symbol : str
        Name under which the process knows the compiled core.

    Returns
    -------
    text : str
        Empty where the strategy cannot run in lanes.
    reason : str
        Why it cannot; otherwise empty.
    """
    lanes, reason = lanes_text(strategy, space, own_ticks=True)
    if not lanes:
        return "", reason
    own = inspect.getsource(path_loop.run_path_jobs).rstrip("\n")
    own = _renamed(own, _PATH_NAMES).replace("run_path_jobs", "_sweep_run")
    for name in _BY_WIDTH[1:]:
        own = re.sub(rf"\b_sweep_{name}\b", f"_sweep_lanes_{name}", own)
    adapted = _adapted(strategy, space, symbol, "sweep.kernel.paths.frame", _PATH_NAMES)
    return "\n".join([*adapted, lanes, "", own, ""]), ""


def _adapted(
    strategy: Strategy, space: SearchSpace, symbol: str, core: str, names: tuple[str, ...]
) -> list[str]:
    """Return a strategy's source, and what adapts it to a loop."""
    return [
        strategy.source.rstrip("\n"),
        "",
        "",
        MARK,
        "from collections import namedtuple as _sweep_namedtuple",
        "from typing import Any as _sweep_Any",
        "import numpy as _sweep_np",
        *(f"from {core} import {name} as _sweep_{name}" for name in names),
        "from sweep.schema import Tick as _SweepTick",
        "from sweep.strategy import AccountState as _SweepAccount",
        "",
        "from numba.core import types as _sweep_types",
        "_sweep_core = _sweep_types.ExternalFunction(",
        f"    {symbol!r}, _sweep_types.int64(_sweep_types.intp)",
        ")",
        *_params_text(space),
        *_constants_text(strategy),
        *_state_text(strategy),
        *_features_text(strategy),
        *_step_text(strategy),
    ]


def _loop_text() -> str:
    return _renamed(inspect.getsource(loop.run_batch)).replace("run_batch", "_sweep_run")


def _renamed(text: str, own: tuple[str, ...] = _NAMES) -> str:
    """Return a text of the loop under names that no strategy uses for its own."""
    names = "|".join((*own, "Any", "np"))
    return re.sub(rf"(?<!\.)\b({names})\b", r"_sweep_\1", text.rstrip("\n"))


def _params_text(space: SearchSpace) -> list[str]:
    lines = [f"_SweepParams = _sweep_namedtuple('_SweepParams', {list(space.names)!r})"]
    casts = []
    for i, p in enumerate(space.parameters):
        if isinstance(p, Boolean) and p.choices == (False, True):
            casts.append(f"p[{i}] != 0.0")
        elif isinstance(p, Categorical):
            place = [q.name for q in space.params.parameters].index(p.name)
            declared = space.params.parameters[place]
            places = [int(declared.encode(choice)) for choice in p.choices]
            pick = f"Params.parameters[{place}].choices[j]"
            pick = f"float({pick})" if p.compiled_type == "float" else pick
            lines.append(f"_SWEEP_CHOICES_{i} = tuple({pick} for j in {places!r})")
            casts.append(f"_SWEEP_CHOICES_{i}[int(p[{i}])]")
        else:
            casts.append(f"{p.compiled_type}(p[{i}])")
    body = ", ".join(casts) + ("," if len(casts) == 1 else "")
    return [*lines, "", "", "def _sweep_params(p):", f"    return _SweepParams({body})", ""]


def _constants_text(strategy: Strategy) -> list[str]:
    lines = ["", "def _sweep_constants(p):"]
    if strategy.constants is None:
        lines.append("    return 0")
    else:
        call = ", ".join("p" for _ in strategy.arguments("constants"))
        casts = _casts(field_kinds(strategy.constants), "k")
        lines += [f"    k = constants({call})", f"    return Constants({casts})"]
    lines += ["", "", "def _sweep_warmup(p):"]
    if strategy.function("warmup") is None:
        lines.append("    return 0")
    else:
        call = ", ".join("p" for _ in strategy.arguments("warmup"))
        # Not max(): that is one more function to compile.
        lines += [f"    n = int(warmup({call}))", "    return n if n > 0 else 0"]
    lines += ["", "", "def _sweep_lookback(p):"]
    if strategy.function("lookback") is None:
        lines.append("    return None")
    else:
        call = ", ".join("p" for _ in strategy.arguments("lookback"))
        lines.append(f"    return max(int(lookback({call})), 0)")
    return [*lines, ""]


def _casts(kinds: dict[str, str], name: str) -> str:
    wrap = {"float": "float({})", "int": "int({})", "bool": "bool({})", "ndarray": "{}"}
    return ", ".join(wrap[kind].format(f"{name}.{field}") for field, kind in kinds.items())


def _state_text(strategy: Strategy) -> list[str]:
    kinds = field_kinds(strategy.state)
    pack, unpack = [], []
    n_floats = n_ints = 0
    for field, kind in kinds.items():
        if kind == "float":
            pack.append(f"    floats[{n_floats}] = state.{field}")
            unpack.append(f"floats[{n_floats}]")
            n_floats += 1
        elif kind in ("int", "bool"):
            pack.append(f"    ints[{n_ints}] = state.{field}")
            unpack.append(f"ints[{n_ints}]" + (" != 0" if kind == "bool" else ""))
            n_ints += 1
        else:
            unpack.append(f"_sweep_np.empty(0, _sweep_np.{_array_dtype(strategy, field)})")
    return [
        "",
        "def _sweep_cast(state):",
        f"    return State({_casts(kinds, 'state')})",
        "",
        "",
        "def _sweep_pack(state, floats, ints):",
        *(pack or ["    pass"]),
        "",
        "",
        "def _sweep_unpack(floats, ints):",
        f"    return State({', '.join(unpack)})",
        "",
    ]


def _array_dtype(strategy: Strategy, field: str) -> str:
    annotation = strategy.state.__annotations__[field]
    return "int64" if "int" in str(annotation) else "float64"


def _features_text(strategy: Strategy) -> list[str]:
    if strategy.features is None:
        return ["", "def _sweep_features(features, i):", "    return 0", ""]
    values = ", ".join(f"features[{j}][i]" for j in range(len(strategy.features._fields)))
    return ["", "def _sweep_features(features, i):", f"    return Features({values})", ""]


def _step_text(strategy: Strategy) -> list[str]:
    quote = "ts, bid, ask, mid, spread, bid_size, ask_size"
    given = {
        "state": "state",
        "tick": f"_SweepTick({quote})",
        "params": "p",
        "constants": "k",
        "features": "f",
        "account": "_SweepAccount(position, entry_price, entry_ts, equity)",
    }
    start = ", ".join(f"{a}={given[a]}" for a in strategy.arguments("start"))
    step = ", ".join(f"{a}={given[a]}" for a in strategy.arguments("step"))
    return [
        "",
        f"def _sweep_start({quote}, p, k, f):",
        f"    return _sweep_cast(start({start}))",
        "",
        "",
        "def _sweep_step(",
        f"    state, {quote}, p, k, f, position, entry_price, entry_ts, equity",
        "):",
        f"    state, target = step({step})",
        "    return _sweep_cast(state), target + 0.0",  # float() takes no boolean in Numba
        "",
    ]


def state_counts(strategy: Strategy) -> tuple[int, int, bool]:
    """Return the state's numbers of floats and of integers, and whether it has no arrays."""
    kinds = list(field_kinds(strategy.state).values())
    return kinds.count("float"), kinds.count("int") + kinds.count("bool"), "ndarray" not in kinds


#: How the loop holds a single variant: in registers.
_SCALAR = """
def _sweep_load(buffer, bits, lane, row, floats, ints):
    p = _sweep_params(row)
    return _sweep_unpack(floats, ints), p, _sweep_constants(p)


def _sweep_begin(
    held, buffer, bits, lane, row, ts, bid, ask, mid, spread, bid_size, ask_size, f
):
    _, p, k = held
    return _sweep_start(ts, bid, ask, mid, spread, bid_size, ask_size, p, k, f), p, k


def _sweep_save(held, buffer, bits, lane, floats, ints):
    _sweep_pack(held[0], floats, ints)

"""
