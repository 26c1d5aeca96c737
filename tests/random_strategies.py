"""Strategies written by chance, to see whether every way of running one gives the same bits.

A text is a function of its seed. It holds what users write: averages and counters in the
state, constants, conditions, minima and maxima, divisions that may go wrong, what the
account says, features. None does anything sensible.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

__all__ = ["strategy_text"]

_HEAD = '''\
"""Written by chance from seed {seed}."""

import math
from typing import NamedTuple

import numpy as np

from sweep.features import lag, rolling_max, rolling_mean, rolling_std
from sweep.strategy import Space, boolean, categorical, integer, real

CAP = 1.0e12


def bound(x):
    return max(min(x, CAP), -CAP)

'''


@dataclass
class _Names:
    """What an expression may use at some place, by type."""

    floats: list[str] = field(default_factory=list)
    ints: list[str] = field(default_factory=list)
    bools: list[str] = field(default_factory=list)

    def copy(self) -> _Names:
        return _Names(list(self.floats), list(self.ints), list(self.bools))


class _Writer:
    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.lines: list[str] = []

    def chance(self, share: float) -> bool:
        return self.draw.random() < share

    # -- expressions -------------------------------------------------------------------

    def number(self) -> str:
        return self.draw.choice(("0.0", "-0.0", "0.5", "1.0", "-1.0", "2.0", "0.125", "100.0"))

    def float(self, names: _Names, depth: int) -> str:
        if depth == 0 or self.chance(0.15):
            return self.draw.choice((*names.floats, *names.floats, self.number()))
        a, b = self.float(names, depth - 1), self.float(names, depth - 1)
        kind = self.draw.randrange(13)
        if kind < 3:
            return f"({a} + {b})"
        if kind < 6:
            return f"({a} - {b})"
        if kind < 8:
            return f"({a} * {b})"
        if kind == 8:
            return self.draw.choice((f"min({a}, {b})", f"max({a}, {b})", f"abs({a})", f"-{a}"))
        if kind == 9:
            return f"({a} / {self.draw.choice(('4.0', '(1.0 + abs(' + b + '))'))})"
        if kind == 10:
            form = self.draw.choice(
                ("math.sqrt(abs({}))", "{} ** 2", "math.floor({})", "bound({})")
            )
            return f"({form.format('bound(' + a + ')')} * 1.0)"
        if kind == 11:
            return f"(1.0 * {self.int(names, depth - 1)})"
        return f"({a} if {self.bool(names, depth - 1)} else {b})"

    def int(self, names: _Names, depth: int) -> str:
        if depth == 0 or not names.ints or self.chance(0.2):
            return self.draw.choice((*names.ints, *names.ints, "0", "1", "-1", "3", "7"))
        a, b = self.int(names, depth - 1), self.int(names, depth - 1)
        form = self.draw.choice(
            ("({} + {})", "({} - {})", "min({}, {})", "max({}, {})", "({} if {{}} else {})")
        )
        return form.format(a, b).format(self.bool(names, depth - 1))

    def bool(self, names: _Names, depth: int) -> str:
        kind = self.draw.randrange(6)
        if (depth == 0 or kind == 0) and names.bools:
            return self.draw.choice(names.bools)
        deeper = max(depth - 1, 0)
        if kind == 1 and depth:
            word = self.draw.choice(("and", "or"))
            return f"({self.bool(names, deeper)} {word} {self.bool(names, deeper)})"
        if kind == 2 and depth:
            return f"(not {self.bool(names, deeper)})"
        if kind == 3 and names.ints:
            sign = self.draw.choice((">", "<", ">=", "<=", "==", "!="))
            return f"({self.int(names, deeper)} {sign} {self.int(names, deeper)})"
        sign = self.draw.choice((">", "<", ">=", "<=", ">", "<", "=="))
        return f"({self.float(names, deeper)} {sign} {self.float(names, deeper)})"

    # -- statements --------------------------------------------------------------------

    def assign(self, names: _Names, indent: int, own: list[str]) -> None:
        """Write a statement that gives one of the names in ``own`` another value."""
        name = self.draw.choice(own)
        pad = "    " * indent
        if name[0] == "i":
            form = self.draw.choice(("{} + 1", "{} - 1", "0", "min({} + 2, 50)", "7"))
            self.lines.append(f"{pad}{name} = {form.format(name)}")
        elif name[0] == "b":
            self.lines.append(f"{pad}{name} = {self.bool(names, 2)}")
        else:
            self.lines.append(f"{pad}{name} = {self.float(names, 2)}")

    def branch(self, names: _Names, indent: int, own: list[str]) -> None:
        pad = "    " * indent
        self.lines.append(f"{pad}if {self.bool(names, 2)}:")
        for _ in range(self.draw.randint(1, 2)):
            self.assign(names, indent + 1, own)
        if self.chance(0.4):
            self.lines.append(f"{pad}elif {self.bool(names, 1)}:")
            self.assign(names, indent + 1, own)
        if self.chance(0.4):
            self.lines.append(f"{pad}else:")
            self.assign(names, indent + 1, own)


def strategy_text(seed: int, *, features: bool | None = None, account: bool | None = None) -> str:
    """Return the text of a strategy.

    Parameters
    ----------
    seed : int
    features, account : bool, optional
        Whether it has features, and whether its step sees the account; by chance if
        not given.
    """
    w = _Writer(seed)
    add = w.lines.append
    with_features = w.chance(0.3) if features is None else features
    with_account = w.chance(0.4) if account is None else account
    with_constants = w.chance(0.6)
    add(_HEAD.format(seed=seed))
    add("\nclass Params(Space):")
    add("    r1: float = real(1.0, 60.0, log=True, default=5.0)")
    add("    r2: float = real(-2.0, 2.0, default=0.25)")
    add("    n1: int = integer(1, 40, default=8)")
    add("    n2: int = integer(0, 300, default=20)")
    params = _Names(["params.r1", "params.r2"], ["params.n1"], [])
    if w.chance(0.7):
        add("    b1: bool = boolean(default=True)")
        params.bools.append("params.b1")
    if w.chance(0.5):
        add("    c1: float = categorical(0.5, 1.0, 2.0)")
        params.floats.append("params.c1")
    if w.chance(0.5):
        add("    c2: int = categorical(1, -1, 3)")
        params.ints.append("params.c2")

    n_floats = 10 if w.chance(0.15) else w.draw.randint(0, 3)
    floats = ["fast", "slow", *(f"f{k}" for k in range(n_floats))]
    ints = [f"i{k}" for k in range(w.draw.randint(1, 3))]
    bools = [f"b{k}" for k in range(w.draw.randint(0, 2))]
    kinds = dict.fromkeys(floats, "float") | dict.fromkeys(ints, "int")
    kinds |= dict.fromkeys(bools, "bool") | {"held": "float"}
    order = list(kinds)
    w.draw.shuffle(order)
    add("\n\nclass State(NamedTuple):")
    w.lines.extend(f"    {name}: {kinds[name]}" for name in order)

    if with_constants:
        add("\n\nclass Constants(NamedTuple):")
        w.lines.extend(
            f"    {field}" for field in ("k1: float", "k2: float", "k3: int", "k4: bool")
        )
        add("\n\ndef constants(params):")
        add("    k2 = 2.0 / (params.r1 * 7.0 + 1.0)")
        add("    return Constants(2.0 / (params.r1 + 1.0), k2, params.n1 * 3, params.r2 > 0.0)")
    if with_features:
        forms = (
            "rolling_mean(ticks.mid, params.n1)",
            "rolling_std(ticks.mid, params.n1 + 2)",
            "rolling_max(lag(ticks.mid, 1), params.n1)",
            "lag(ticks.bid, params.n1)",
        )
        chosen = w.draw.sample(forms, w.draw.randint(1, 3))
        add("\n\nclass Features(NamedTuple):")
        w.lines.extend(f"    x{k}: np.ndarray" for k in range(len(chosen)))
        add("\n\ndef features(ticks, params):")
        add(f"    return Features({', '.join(chosen)})")
        if w.chance(0.7):
            add("\n\ndef lookback(params):\n    return params.n1 + 2")
    warm = w.draw.randrange(3)
    if warm:
        add("\n\ndef warmup(params):")
        add(f"    return {('params.n2', 'params.n1 + int(params.r1 * 1.3)')[warm - 1]}")

    add("\n\ndef start(tick, params):")
    values = {**dict.fromkeys(floats, "0.0"), **dict.fromkeys(ints, "0"), "held": "0.0"}
    values |= dict.fromkeys(bools, "False") | {"fast": "tick.mid", "slow": "tick.mid"}
    if n_floats:
        values["f0"] = w.draw.choice(("params.r1", "tick.spread", "-0.0", "tick.bid * params.r2"))
    values["i0"] = w.draw.choice(("0", "params.n1", "-3"))
    add(f"    return State({', '.join(values[name] for name in order)})")

    arguments = ["state", "tick", "params"]
    names = params.copy()
    names.floats += ["tick.mid", "tick.bid", "tick.ask", "tick.spread"]
    if with_constants:
        arguments.append("constants")
        names.floats += ["constants.k1", "constants.k2"]
        names.ints.append("constants.k3")
        names.bools.append("constants.k4")
    if with_features:
        arguments.append("features")
        names.floats += [f"features.x{k}" for k in range(len(chosen))]
    if with_account:
        arguments.append("account")
        names.floats += ["account.position", "account.entry_price", "account.equity * 0.001"]
        names.ints.append("account.entry_ts")
        names.bools.append("(account.position != 0.0)")
    w.draw.shuffle(arguments)
    add(f"\n\ndef step({', '.join(arguments)}):")
    for name in order:
        if name not in ("fast", "slow"):
            add(f"    {name} = state.{name}")
    k1, k2 = "2.0 / (params.r1 + 1.0)", "2.0 / (params.r1 * 7.0 + 1.0)"
    if with_constants:
        k1, k2 = "constants.k1", "constants.k2"
    add(f"    fast = state.fast + {k1} * (tick.mid - state.fast)")
    add(f"    slow = state.slow + {k2} * (tick.mid - state.slow)")
    names.floats += floats
    names.ints += ints
    names.bools += bools
    # Only those with a bound on what they may become.
    own = [*floats[2:], *ints, *bools]
    for _ in range(w.draw.randint(2, 5)):
        if w.chance(0.5):
            w.branch(names, 1, own)
        else:
            w.assign(names, 1, own)
    for name in floats[2:]:
        if w.chance(0.8):  # the others may well become infinite, or NaN
            add(f"    {name} = bound({name})")
    levels = ("1.0", "-1.0", "0.0", "-0.0", "0.5", "-2.5", "held", "1.0 * params.n1 / 8.0")
    add("    target = held")
    add(f"    if {w.draw.choice(('fast > slow', 'fast > slow + params.r2 * tick.spread'))}:")
    add(f"        target = {w.draw.choice(levels[:2])}")
    add(f"    elif {w.bool(names, 2)}:")
    add(f"        target = {w.draw.choice(levels)}")
    if w.chance(0.5):
        add("    else:")
        add(f"        target = {w.draw.choice(levels)}")
    if w.chance(0.3):
        add(f"    if {w.bool(names, 2)}:")
        add(f"        target = target * {w.draw.choice(('0.5', '-1.0', '0.0'))}")
    add("    i0 = i0 + 1")
    add("    held = target")
    if w.chance(0.35):
        wrong = w.draw.choice(
            (
                "1.0 / (i0 - 90 - params.n1)",
                "(i0 - i0) / (i0 - 200)",
                "math.sqrt(20.0 * params.r1 - fast)",
            )
        )
        add(f"    wrong = {wrong}")
        add("    if wrong == wrong and abs(wrong) <= CAP:")
        add("        wrong = 0.0")
        add("    target = target + wrong")
    add(f"    return State({', '.join(order)}), target")
    return "\n".join(w.lines) + "\n"
