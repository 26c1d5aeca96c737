"""What can be proved of a strategy before it is searched: the checks of `sweep check`.

Each check gives a line: passed, failed with what to do, or a note. What cannot be proved
is not claimed. ``start`` and ``step`` cannot look ahead by construction, since they are
given one tick at a time; ``features`` gets whole arrays and is put to the test.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sweep.backtest.strategy_checks.contract import Watch
from sweep.backtest.strategy_checks.lookahead import (
    FUTURES,
    another_future,
    cut_places,
    with_equal_stamps,
)
from sweep.backtest.strategy_checks.single_run import Solo, run_lanes, run_solo, same_bits
from sweep.errors import SpaceError, StrategyError, SweepError
from sweep.kernel import Kernel, build_kernel, load_kernel, plain_kernel
from sweep.schema import STATUS_BAD_ORDER, Account, Costs, FloatArray1D, Slice, Ticks
from sweep.strategy.declare import ARGUMENTS, Strategy, definition_line, load_strategy
from sweep.strategy.parameters import Categorical, Number, Parameter
from sweep.strategy.space import SearchSpace
from sweep.text import counted
from sweep.ticks.synthetic import SynthSpec, generate

__all__ = [
    "FAIL",
    "NOTE",
    "OK",
    "CheckReport",
    "Checks",
    "Finding",
    "check_look_ahead",
    "check_strategy",
    "generated_ticks",
]

OK, FAIL, NOTE = "ok", "FAIL", "note"

#: Ticks compared with plain Python, some microseconds each, the warm-up in front, and the
#: variants: those with the shortest warm-up, since no order counts within it.
_PLAIN_TICKS = 3_000
_PLAIN_WARMUP = 50_000
_PLAIN_POINTS = 3
#: Ticks on which look-ahead is tested, and variants.
_FEATURE_TICKS = 40_000
#: The same where one variant's parameters reach further, and ticks of a session then.
_MOST_REACH, _PER_SESSION = 250_000, 12_500
_POINTS = 4

#: Ticks on which look-back is tested, places at which features begin afresh, ticks compared
#: after each, and the share of a feature's range that may be rounding.
_BACK_TICKS = 120_000
_BACK_PLACES = 5
_BACK_COMPARED = 2_000
_ROUNDING = 1e-6

#: Variants that are run side by side.
_LANES = 64
_SLICES = 7

#: Costs and account of the checks; any would do, and none is zero, so that each is seen.
_COSTS = Costs(1e-5, 1e-4, 1e-4, 1e-3, 0.0, 0, "mid")
_CLOCK = 600 * 10**9


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    name : str
    status : {"ok", "FAIL", "note"}
    text : str
        What was found.
    advice : str
        What to do about it; empty where nothing needs doing.
    """

    name: str
    status: str
    text: str
    advice: str = ""


@dataclass(frozen=True)
class CheckReport:
    """All findings about one strategy file.

    Attributes
    ----------
    path : str
    ticks : int
        On which it was run.
    parameters : tuple of dict
        Name, kind, range and default of each.
    findings : tuple of Finding
    """

    path: str
    ticks: int
    parameters: tuple[dict[str, Any], ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(finding.status != FAIL for finding in self.findings)


def generated_ticks(sessions: int = 8, ticks_per_session: int = 12_500) -> Ticks:
    """Return the built-in market that strategies are checked on, with sizes."""
    spec = SynthSpec(sessions=sessions, ticks_per_session=ticks_per_session, sizes=True)
    chunks = list(generate(spec))
    columns = [np.concatenate([chunk[name] for chunk in chunks]) for name in Ticks._fields]
    for column in columns:
        column.flags.writeable = False
    return Ticks(*columns)


def check_strategy(path: str | Path, ticks: Ticks | None = None) -> CheckReport:
    """Check a strategy file.

    Parameters
    ----------
    path : str or Path
    ticks : Ticks, optional
        Generated ones by default.

    Returns
    -------
    CheckReport
        The checks end at the first one that the rest builds on.
    """
    ticks = generated_ticks() if ticks is None else ticks
    parameters: tuple[dict[str, Any], ...] = ()
    findings: list[Finding] = []
    try:
        strategy = load_strategy(path)
        space = SearchSpace.of(strategy.params)
        parameters = tuple(_describe(p) for p in space.parameters)
        named = [name for name in ARGUMENTS if strategy.function(name) is not None]
        findings.append(Finding("loads", OK, f"Params, State, {', '.join(named)}"))
        findings.extend(Checks(strategy, space, ticks).all())
    except SweepError as error:
        name = "loads" if not findings else "runs"
        findings.append(Finding(name, FAIL, str(error)))
    return CheckReport(str(path), len(ticks.ts), parameters, tuple(findings))


def check_look_ahead(strategy: Strategy, space: SearchSpace, row: FloatArray1D) -> Finding:
    """Test one variant of a strategy for look-ahead alone, on generated ticks.

    Parameters
    ----------
    strategy : Strategy
    space : SearchSpace
    row : ndarray of shape (n_params,), float64

    Returns
    -------
    Finding
        ``"note"`` where it cannot be tested.
    """
    checks = Checks(strategy, space, generated_ticks())
    checks.rows = [row]
    if not checks.kernel.ref.features:
        (found,) = checks.looks_ahead()
        return found
    try:
        ticks = max(_FEATURE_TICKS, 2 * checks.reach(row))
        if ticks > len(checks.ticks.ts):
            checks.ticks = generated_ticks(-(-ticks // _PER_SESSION), _PER_SESSION)
        (found,) = checks.looks_ahead(ticks)
    except SweepError as error:
        return Finding("look-ahead", NOTE, f"not tested: {error}")
    except _Stop as stop:
        found = stop.args[0]
        if found.name != "look-ahead":
            return Finding("look-ahead", NOTE, f"not tested: {found.text}")
    if found.status == OK:
        return replace(found, advice="a test on generated ticks, and no proof")
    return found


def _describe(p: Parameter) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if isinstance(p, Categorical):
        values = {"choices": list(p.choices)}
    elif isinstance(p, Number):
        values = {"low": p.low, "high": p.high, "step": p.step, "log": p.log}
    shared = {"name": p.name, "kind": p.kind, "default": p.default}
    return shared | values | {"conditional": p.when is not None}


class _Stop(Exception):
    """The checks end here; what follows builds on what failed."""


class Checks:
    """The checks of one strategy; each method yields its findings.

    Parameters
    ----------
    strategy : Strategy
    space : SearchSpace
    ticks : Ticks
    """

    def __init__(self, strategy: Strategy, space: SearchSpace, ticks: Ticks) -> None:
        self.strategy, self.space, self.ticks = strategy, space, ticks
        self.plain = plain_kernel(strategy, space)
        self.kernel = self.plain
        self.rows: list[FloatArray1D] = []
        mid = 0.5 * (float(ticks.bid[0]) + float(ticks.ask[0]))
        self.account = Account(mid, 1.0, _CLOCK, 252.0 * 144.0)

    def all(self) -> Iterator[Finding]:
        """Yield the findings, up to the first failure that the rest builds on."""
        for check in (
            self.parameters,
            self.contract,
            self.features,
            self.looks_ahead,
            self.looks_back,
            self.compiles,
            self.runs,
            self.repeats,
            self.equals_plain,
            self.equals_sliced,
            self.speed,
            self.lanes,
        ):
            try:
                yield from check()
            except _Stop as stop:
                yield stop.args[0]
                return

    # -- parameters --------------------------------------------------------------------

    def parameters(self) -> Iterator[Finding]:
        """Draw points, and see whether the defaults are valid."""
        from sweep.search.designs import random

        space = self.space
        n = len(space.parameters)
        if not n:
            self.rows = [space.defaults]
            yield Finding("parameters", NOTE, "there are none: nothing to search")
            return
        try:
            valid = space.is_valid(space.defaults)
            points = random(space, 0).points(0, _POINTS)
        except SpaceError as error:
            line = definition_line(self.strategy.source, "Params")
            raise _Stop(
                Finding("parameters", FAIL, f"{self.strategy.path}:{line}: {error}")
            ) from None
        self.rows = ([space.defaults] if valid else []) + [np.asarray(row) for row in points]
        if not self.rows:
            raise _Stop(Finding("parameters", FAIL, "valid() refuses every point"))
        text = f"{n}, {len(self.rows)} points tried"
        if valid:
            yield Finding("parameters", OK, text)
        else:
            yield Finding(
                "parameters",
                FAIL,
                f"valid() refuses the defaults, {self._shown(space.defaults)}",
                "choose defaults that belong together: they are evaluated first",
            )

    # -- plain Python and compilation --------------------------------------------------

    def contract(self) -> Iterator[Finding]:
        """Run a little in plain Python, where every mistake has a line of its own."""
        watch = Watch(self.strategy, self.plain.module)
        try:
            for row in self.rows[:2]:
                with watch:
                    self.run(self.plain, row, [self.plain_slice(row)])
        except Exception as error:
            raise _Stop(Finding("contract", FAIL, watch.explain(error), watch.advice)) from None
        yield Finding("contract", OK, "start() and step() return what they say")

    def compiles(self) -> Iterator[Finding]:
        """Compile the strategy."""
        began = time.perf_counter()
        try:
            self.kernel = load_kernel(build_kernel(self.strategy, self.space))
        except StrategyError as error:
            text = str(error).splitlines()
            raise _Stop(Finding("compiles", FAIL, "\n".join(text[:2]), _COMPILE_ADVICE)) from None
        except Exception as error:  # the compiler's own failures have many types
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            text = [f"{self.strategy.path}: does not compile: {said}"]
            raise _Stop(Finding("compiles", FAIL, text[0], _COMPILE_ADVICE)) from None
        yield Finding("compiles", OK, f"in {time.perf_counter() - began:.1f} s")

    # -- features ----------------------------------------------------------------------

    def features(self) -> Iterator[Finding]:
        """Compute features over all ticks, and see whether they are finite."""
        if not self.kernel.ref.features:
            return
        path = self.strategy.path
        line = definition_line(self.strategy.source, "features")
        began = time.perf_counter()
        for row in self.rows:
            params = self.kernel.params(row)
            for name, values in self._features(self.ticks, row).items():
                late = int(self.kernel.warmup(params))
                bad = np.flatnonzero(~np.isfinite(values[late:]))
                if len(bad):
                    yield Finding(
                        "features",
                        NOTE,
                        f"{path}:{line}: {name} is not finite at {len(bad):,} ticks after the "
                        f"warm-up of {late}, first at tick {late + int(bad[0])}, {params}",
                        "return a longer warmup(), or guard step() against it",
                    )
                    return
        each = (time.perf_counter() - began) / len(self.rows) / len(self.ticks.ts)
        names = ", ".join(self.kernel.ref.features)
        yield Finding("features", OK, f"{names}: finite after the warm-up, {_ns(each)} a tick")

    def _features(self, ticks: Ticks, row: FloatArray1D) -> dict[str, FloatArray1D]:
        arrays = self.kernel.features(ticks, self.kernel.params(row))
        return dict(zip(self.kernel.ref.features, arrays, strict=True))

    def reach(self, row: FloatArray1D) -> int:
        """Return over how many ticks a variant may reach: its longest number of any kind.

        What is longer than `_MOST_REACH` is taken for a time or an amount, not for ticks.
        """
        params = self.kernel.params(row)
        found = [self.kernel.warmup(params), *(v for v in params if isinstance(v, (int, float)))]
        if self.strategy.function("lookback") is not None:
            found.append(self._lookback(row))
        return max((int(abs(v)) for v in found if abs(v) <= _MOST_REACH), default=0)

    def looks_ahead(self, most: int = _FEATURE_TICKS) -> Iterator[Finding]:
        """Replace the ticks after a place: nothing before it may change a bit.

        The first point meets every kind of future at every place, the others a kind each in
        turn: what looks ahead for one point mostly does for all.

        Parameters
        ----------
        most : int, optional
            Ticks on which it is tested, at most.
        """
        if not self.kernel.ref.features:
            yield Finding("look-ahead", OK, "none possible: step() is given one tick at a time")
            return
        ticks = with_equal_stamps(self.ticks.between(0, min(len(self.ticks.ts), most)))
        cuts = cut_places(ticks.ts)
        kinds = list(FUTURES)
        tried = untried = 0
        for i, row in enumerate(self.rows):
            whole = self._features(ticks, row)
            if all(_says_nothing(values) for values in whole.values()):
                text = f"not tested: features are the same at each of {len(ticks.ts):,} ticks"
                yield Finding("look-ahead", NOTE, f"{text}, at {self._shown(row)}")
                return
            for k, cut in enumerate(cuts):
                for kind in kinds if not i else kinds[(i + k) % len(kinds) :][:1]:
                    tried += 1
                    try:
                        other = self._features(another_future(ticks, cut, kind), row)
                    except StrategyError:
                        # Prices that never come need not be borne.
                        untried += 1
                        continue
                    self._same_before(whole, other, cut, FUTURES[kind], row)
        if untried == tried:
            why = "features() raises on every other future" if tried else "there are too few ticks"
            yield Finding("look-ahead", NOTE, f"not tested: {why}")
            return
        said = ", ".join(FUTURES.values())
        missed = f"; on {untried:,} of {tried:,} futures features() raises" if untried else ""
        yield Finding(
            "look-ahead",
            OK,
            f"none found: features keep every bit when later ticks are {said} ({len(cuts)} places, "
            f"{counted(len(self.rows), 'point')}{missed})",
        )

    def _same_before(
        self,
        whole: dict[str, FloatArray1D],
        other: dict[str, FloatArray1D],
        cut: int,
        kind: str,
        row: FloatArray1D,
    ) -> None:
        for name, values in whole.items():
            wrong = np.flatnonzero(~same_bits(values[:cut], other[name][:cut]))
            if not len(wrong):
                continue
            k = int(wrong[0])
            line = definition_line(self.strategy.source, "features")
            raise _Stop(
                Finding(
                    "look-ahead",
                    FAIL,
                    f"{self.strategy.path}:{line}: feature {name} at tick {k} is "
                    f"{float(values[k])!r}, "
                    f"but {float(other[name][k])!r} when the ticks from {cut} on are {kind} "
                    f"({len(wrong):,} values differ), at {self._shown(row)}",
                    "a feature's value may use ticks up to its own only; the windows of "
                    "sweep.features do",
                )
            )

    def looks_back(self) -> Iterator[Finding]:
        """Compute features block by block, with the look-back that is declared."""
        if not self.kernel.ref.features:
            return
        names = len(self.kernel.ref.features)
        memory = f"features take {8 * names} bytes a tick"
        if self.strategy.function("lookback") is None:
            yield Finding(
                "look-back",
                NOTE,
                f"there is no lookback(params): {memory}, for all ticks at once",
                "return the ticks before a tick that features depend on, such as the longest "
                "window; they are then worked out block by block",
            )
            return
        if not self.kernel.ref.resumable:
            yield Finding(
                "look-back",
                NOTE,
                f"State holds arrays, so that {memory}, for all ticks at once",
                "keep numbers in State",
            )
            return
        ticks = self.ticks.between(0, min(len(self.ticks.ts), _BACK_TICKS))
        tried = 0
        for row in self.rows:
            back = self._lookback(row)
            whole = self._features(ticks, row)
            rest = len(ticks.ts) - back
            for k in range(1, _BACK_PLACES + 1):
                # After the look-back: before it, there is nothing that could be missing.
                begin = back + int(rest * k / (_BACK_PLACES + 1))
                if rest <= _BACK_PLACES:
                    continue
                tried += 1
                for name in whole:
                    if wrong := self._differs(ticks, whole, name, begin, back, row):
                        raise _Stop(self._too_short(ticks, whole, name, begin, back, row, wrong))
        if tried:
            text = f"long enough, at {tried} places"
            yield Finding("look-back", OK, text)
        else:
            yield Finding(
                "look-back",
                NOTE,
                f"not tested: it is longer than the {len(ticks.ts):,} ticks",
                "try it on more ticks with --source PATH",
            )

    def _lookback(self, row: FloatArray1D) -> int:
        line = definition_line(self.strategy.source, "lookback")
        try:
            return int(self.kernel.lookback(self.kernel.params(row)) or 0)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise _Stop(
                Finding(
                    "look-back",
                    FAIL,
                    f"{self.strategy.path}:{line}: lookback() raised {said}, at {self._shown(row)}",
                    "return a number of ticks",
                )
            ) from None

    def _differs(
        self,
        ticks: Ticks,
        whole: dict[str, FloatArray1D],
        name: str,
        begin: int,
        back: int,
        row: FloatArray1D,
    ) -> tuple[int, float] | None:
        """Return tick and value where a feature that begins ``back`` before differs."""
        first, end = max(begin - back, 0), min(begin + _BACK_COMPARED, len(ticks.ts))
        found = self._features(ticks.between(first, end), row)[name][begin - first :]
        expected = whole[name][begin:end]
        finite = whole[name][np.isfinite(whole[name])]
        scale = float(np.ptp(finite)) if len(finite) else 0.0
        with np.errstate(invalid="ignore"):
            near = np.abs(found - expected) <= _ROUNDING * scale
        wrong = np.flatnonzero(~(near | same_bits(found, expected)))
        return (begin + int(wrong[0]), float(found[wrong[0]])) if len(wrong) else None

    def _too_short(
        self,
        ticks: Ticks,
        whole: dict[str, FloatArray1D],
        name: str,
        begin: int,
        back: int,
        row: FloatArray1D,
        wrong: tuple[int, float],
    ) -> Finding:
        short, enough = back, begin
        while enough - short > 1:
            middle = (short + enough) // 2
            if self._differs(ticks, whole, name, begin, middle, row):
                short = middle
            else:
                enough = middle
        line = definition_line(self.strategy.source, "lookback")
        tick, value = wrong
        advice = f"it depends on about {enough:,} ticks: return at least that from lookback()"
        if enough > 0.9 * begin:
            advice = (
                "it seems to depend on all ticks since the first: leave lookback() out, or keep "
                "what it adds up in State"
            )
        return Finding(
            "look-back",
            FAIL,
            f"{self.strategy.path}:{line}: feature {name} at tick {tick} is "
            f"{float(whole[name][tick])!r}, but {value!r} with the {back:,} ticks before a block "
            f"that lookback() asks for, at {self._shown(row)}",
            advice,
        )

    # -- evaluation --------------------------------------------------------------------

    def runs(self) -> Iterator[Finding]:
        """Evaluate every point on all ticks."""
        orders, trades, waited = [], [], []
        whole = Slice(0, len(self.ticks.ts), 0)
        for row in self.rows:
            try:
                found = self.run(self.kernel, row, [whole]).row[-1]
            except Exception as error:
                raise _Stop(Finding("runs", FAIL, self._raised(error, row))) from None
            if int(found["status"]) == STATUS_BAD_ORDER:
                tick = int(found["tick"])
                line = definition_line(self.strategy.source, "step")
                raise _Stop(
                    Finding(
                        "runs",
                        FAIL,
                        f"{self.strategy.path}:{line}: step() returned a target that is not a "
                        f"finite number at tick {tick} ({self._stamp(tick)}), "
                        f"at {self._shown(row)}",
                        "a NaN often comes from 0 / 0, a logarithm, or a feature in its warm-up",
                    )
                )
            orders.append(int(found["fills"]))
            trades.append(int(found["trades"]))
            waited.append(int(self.kernel.warmup(self.kernel.params(row))))
        n = len(self.ticks.ts)
        text = f"{n:,} ticks; fills {_span(orders)}, trades {_span(trades)}"
        if any(trades):
            yield Finding("runs", OK, text)
        else:
            yield Finding(
                "runs",
                NOTE,
                f"no variant traded on {n:,} ticks, with a warm-up of {_span(waited)} ticks",
                "try it on your own ticks with --source PATH",
            )

    def _raised(self, error: Exception, row: FloatArray1D) -> str:
        """Return where a compiled strategy raised, found again in plain Python."""
        watch = Watch(self.strategy, self.plain.module)
        try:
            with watch:
                self.run(self.plain, row, [Slice(0, min(len(self.ticks.ts), 200_000), 0)])
        except Exception as again:
            return f"{watch.explain(again)}, at {self._shown(row)}"
        said = f"{type(error).__name__}: {error}"
        return f"{self.strategy.path}: raised {said}, at {self._shown(row)}"

    def repeats(self) -> Iterator[Finding]:
        """Evaluate twice."""
        row = self.rows[0]
        whole = [Slice(0, len(self.ticks.ts), 0)]
        first, second = (self.run(self.kernel, row, whole) for _ in range(2))
        if first.row.tobytes() != second.row.tobytes():
            raise _Stop(
                Finding(
                    "repeats",
                    FAIL,
                    "a second run gives other results",
                    "a strategy may depend on ticks and parameters only: no random numbers, no "
                    "clocks, no global variables that it changes",
                )
            )
        yield Finding("repeats", OK, "a second run gives the same bits")

    def equals_plain(self) -> Iterator[Finding]:
        """Compare the compiled strategy with the same text as plain Python."""
        n = 0
        for row in sorted(self.rows, key=self._warmup)[:_PLAIN_POINTS]:
            part = self.plain_slice(row)
            compiled = self.run(self.kernel, row, [part])
            watch = Watch(self.strategy, self.plain.module)
            try:
                with watch:
                    plain = self.run(self.plain, row, [part])
            except Exception as error:
                raise _Stop(
                    Finding(
                        "plain Python",
                        FAIL,
                        f"{watch.explain(error)}, at {self._shown(row)}; compiled it goes on",
                        "guard it: compiled code gives inf or NaN where plain Python raises",
                    )
                ) from None
            n += part.end - part.begin
            if compiled.same(plain):
                continue
            same = same_bits(compiled.equity, plain.equity) & same_bits(
                compiled.position, plain.position
            )
            # What agrees in all of them differs in the state alone: name the last.
            k = int(np.append(np.flatnonzero(~same), len(same) - 1)[0])
            moved = np.array_equal(compiled.position, plain.position)
            close = moved and np.allclose(compiled.equity, plain.equity, rtol=1e-9, atol=0.0)
            yield Finding(
                "plain Python",
                NOTE if close else FAIL,
                f"differs from compiled from tick {part.begin + k} on: position "
                f"{plain.position[k]:g} and {compiled.position[k]:g}, equity "
                f"{float(plain.equity[k])!r} and {float(compiled.equity[k])!r}, "
                f"at {self._shown(row)}",
                "functions of math agree to the bit, some of numpy do not; integers overflow "
                "when compiled",
            )
            return
        yield Finding("plain Python", OK, f"gives the same bits on {n:,} ticks")

    def equals_sliced(self) -> Iterator[Finding]:
        """Cut the ticks, carry the state from slice to slice: nothing may change."""
        row = self.rows[0]
        n = len(self.ticks.ts)
        whole = self.run(self.kernel, row, [Slice(0, n, 0)])
        edges = [n * k // _SLICES for k in range(_SLICES + 1)]
        slices = [Slice(a, b, 0) for a, b in itertools.pairwise(edges)]
        apart = self.kernel.ref.resumable
        cut = self.run(self.kernel, row, slices, apart=apart)
        same = whole.row[-1].tobytes() == cut.row[-1].tobytes()
        if same and same_bits(whole.equity, cut.equity).all():
            how = "" if apart else " (State holds arrays: slices must run in one call)"
            text = f"{_SLICES} slices carried on give the bits of one{how}"
            yield Finding("slices", OK, text)
        else:
            yield Finding(
                "slices",
                FAIL,
                f"{_SLICES} slices carried on differ from one run",
                "keep everything that step() remembers in State",
            )

    def speed(self) -> Iterator[Finding]:
        """Time the evaluation of one variant."""
        whole = [Slice(0, len(self.ticks.ts), 0)]
        times = []
        row = self.rows[0]
        columns = self.kernel.features(self.ticks, self.kernel.params(row))
        for _ in range(3):
            began = time.perf_counter()
            self.run(self.kernel, row, whole, record=False, columns=columns)
            times.append(time.perf_counter() - began)
        yield Finding("speed", OK, f"{_ns(min(times) / len(self.ticks.ts))} a tick and variant")

    def lanes(self) -> Iterator[Finding]:
        """Say whether variants run side by side, in what time, and with the same rows."""
        if self.kernel.lanes is None:
            yield Finding(
                "vectorises",
                NOTE,
                f"no: {self.kernel.ref.reason}; variants run one after the other, with the "
                f"same results",
            )
            return
        params = np.array([self.rows[k % len(self.rows)] for k in range(_LANES)])
        if self.kernel.ref.features:
            params = np.repeat(params[:1], _LANES, axis=0)  # which see the same features
        whole = [Slice(0, len(self.ticks.ts), 0)]
        alone = self.run(self.kernel, params[0], whole, record=False).row[-1]
        times = []
        for _ in range(2):
            began = time.perf_counter()
            rows = run_lanes(self.kernel, self.ticks, params, _COSTS, self.account)
            times.append(time.perf_counter() - began)
        if rows[0].tobytes() != alone.tobytes():
            yield Finding("vectorises", FAIL, "side by side it gives another row than alone")
            return
        ns = _ns(min(times) / len(self.ticks.ts) / _LANES)
        yield Finding("vectorises", OK, f"{ns} a tick and variant, {_LANES} side by side")

    # -- running -----------------------------------------------------------------------

    def plain_slice(self, row: FloatArray1D) -> Slice:
        """Return the ticks on which plain Python is compared, after the warm-up."""
        n = len(self.ticks.ts)
        begin = min(self._warmup(row), _PLAIN_WARMUP, max(n - _PLAIN_TICKS, 0))
        return Slice(begin, min(begin + _PLAIN_TICKS, n), 0)

    def _warmup(self, row: FloatArray1D) -> int:
        try:
            return max(int(self.plain.warmup(self.plain.params(row))), 0)
        except Exception:  # named by the check of the contract
            return 0

    def run(self, kernel: Kernel, row: FloatArray1D, slices: Sequence[Slice], **how: Any) -> Solo:
        """Run a variant on the ticks; see `sweep.backtest.strategy_checks.single_run.run_solo`."""
        return run_solo(kernel, self.ticks, row, slices, _COSTS, self.account, **how)

    def _shown(self, row: FloatArray1D) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.space.decode(row).items())

    def _stamp(self, tick: int) -> str:
        return f"{np.datetime64(int(self.ticks.ts[tick]), 'ns')}Z"


_COMPILE_ADVICE = (
    "start(), step() and what they call may use numbers, tuples, arrays, math and NumPy's "
    "functions; anything else belongs into features()"
)


def _says_nothing(values: FloatArray1D) -> bool:
    known = values[~np.isnan(values)]
    return not len(known) or bool((known == known[0]).all())


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _ns(seconds: float) -> str:
    return f"{seconds * 1e9:.3g} ns"
