"""The sections of the study file: every key with its type, default and limits.

A field without a default is a key that must be there. ``result=False`` marks what
cannot change a result; see `sweep.study.file.kinds.key`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sweep.schema import Account, Costs
from sweep.search.expressions import parse_objective_ref
from sweep.search.objective import compile_condition, compile_objective
from sweep.search.path_functionals import split_terms
from sweep.stats.metrics import METRIC_NAMES, METRICS
from sweep.study.file import kinds
from sweep.study.file.kinds import Choice, Kind, Place, key
from sweep.text import DIRECTIONS, ENGINES, PRUNERS, SAMPLERS
from sweep.ticks.columns import ROLES
from sweep.ticks.quality import Policies
from sweep.ticks.synthetic import SynthSpec
from sweep.units import DAY, Duration, Moment

if TYPE_CHECKING:
    from sweep.ticks.sources import SourceSpec

__all__ = [
    "SCHEMES",
    "AccountSection",
    "ComputeSection",
    "CostsSection",
    "DataSection",
    "StudySection",
    "ValidateSection",
    "default_direction",
]

#: How the search range may be split into windows.
SCHEMES = ("walk_forward", "holdout", "k_fold", "cpcv")
#: Finished trials from which a share of failures counts.
FAILURES_COUNTED_FROM = 10


# -- kinds that only a study has -------------------------------------------------------


def default_direction(objective: str) -> str:
    """Return the direction of an objective for which the study states none.

    That of the metric, also of its mean or quantile over paths; ``"minimize"`` for a CVaR and
    the probability of what is bad (a loss, or a metric on its worse side of a number);
    ``"maximize"`` for any other expression or function.
    """
    text, terms = split_terms(objective, METRIC_NAMES)
    if len(terms) == 1 and text == terms[0].name:
        name = terms[0].functional.name
        if name in ("cvar", "probability_of_loss"):
            return "minimize"
        if name in ("probability_above", "probability_below"):
            bad = (name == "probability_below") != terms[0].low
            return "minimize" if bad else "maximize"
        objective = terms[0].inner.text
    metric = METRICS.get(objective)
    return "maximize" if metric is None else metric.direction


def _check_objective(text: str, place: Place) -> str:
    reference = parse_objective_ref(text)
    if reference is None:
        return compile_objective(text)[0].text
    readable = kinds.path(like="a Python file", exists=True)
    return str(replace(reference, path=readable(reference.path, place)))


def _check_constraint(text: str, place: Place) -> str:
    return compile_condition(text).text


def _check_direction(text: str, place: Place) -> str:
    return str(kinds.choice(*DIRECTIONS)(text, place))


def _check_timezone(value: Any, place: Place) -> str:
    name = str(kinds.text()(value, place))
    if name != "UTC":
        # Here, since it imports pyarrow, and hardly any study needs it.
        from sweep.ticks.timestamps import check_timezone

        check_timezone(name)
    return name


def _folder_name(value: Any, place: Place) -> str:
    name = str(kinds.text()(value, place))
    if "/" in name or "\\" in name or name.startswith("."):
        place.fail(f'names a folder, so it takes no slash and no leading dot; found "{name}"')
    return name


def _read_zero_duration(value: Any, place: Place) -> float:
    kinds.require(kinds.duration().read(value, place) == 0)
    return 0.0


_START = kinds.either(
    "true, false or the path of a CSV file",
    kinds.flag(),
    kinds.path(like="a CSV file", exists=True),
)
_FAILURES = kinds.either(
    "a number of trials, or a share in (0, 1]",
    kinds.whole(),
    kinds.number(above=0.0, most=1.0),
)
_SLICES = kinds.either(
    'a whole number above 0, or the duration of a slice such as "1d"',
    kinds.whole(1),
    kinds.duration(above="0s").into(Duration),
)
_HOLDOUT = kinds.either(
    'a share such as 0.25, a duration such as "5d", a date from which it begins, or 0 for none',
    Kind("a duration of 0", _read_zero_duration),
    kinds.number(least=0.0, below=1.0),
    kinds.duration().into(Duration),
    kinds.moment().into(Moment),
)
_UNIT = kinds.either(
    '"session", or a duration of 1m or more such as "4h"',
    kinds.choice("session"),
    kinds.duration("1m").into(Duration),
)
_OBJECTIVE = kinds.texts(_check_objective, "an objective, or a list of objectives", some=True)
_COLUMNS = (
    "ts",
    "date",
    "time",
    *itertools.chain(*ROLES["quotes"], *ROLES["trades"]),
    "instrument",
)


# -- sections --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StudySection:
    """``[study]``: what is searched, how, for what, and until when.

    Attributes
    ----------
    strategy : str
        Absolute path of the strategy file.
    name : str
        Names the study's folder; the study file's stem by default.
    seed : int
    trials : int or None
        Trials after which the study stops.
    time_limit : int or None
        Nanoseconds after which nothing more is proposed.
    patience : int or None
        Finished trials without improvement after which the study stops.
    sampler, pruner : Choice
    window : int
        Trials that are under way at a time: trial k + window is proposed once trial k
        is told. A part of the result, unlike the number of workers.
    objective : tuple of str
        Metrics, expressions over metrics, or ``"/absolute/file.py:function"``.
    directions : tuple of str
        One for each objective.
    constraints : tuple of str
    start : bool or str
        Whether the strategy's defaults are evaluated first, or the absolute path of a
        CSV with the points that are.
    deterministic : bool
    max_failures : int or float
        Failed trials that end the study once exceeded: a number, or as a float their
        share of all finished trials, from 10 of them on.
    live_holdout : bool
        Whether the best so far are evaluated on the holdout while the study runs.
    top : int
        Winners that are shown and evaluated on the holdout.
    storage : str
        ``"sqlite"`` for a file in the study's folder, or what Optuna opens: a URL, or
        the path of a journal. Kept as written.
    """

    strategy: str = key(
        kinds.path(like="a strategy file", exists=True),
        result=False,
        add='strategy = "strategies/ema_crossover.py" (a path from the study file)',
    )
    name: str = key(Kind("text", _folder_name), "study", result=False)
    seed: int = key(kinds.whole(), 0)
    trials: int | None = key(kinds.whole(1), None, result=False)
    time_limit: int | None = key(kinds.duration(above="0s"), None, result=False)
    patience: int | None = key(kinds.whole(1), None, result=False)
    sampler: Choice = key(kinds.selection("sampler", SAMPLERS, "tpe"), Choice("tpe"))
    pruner: Choice = key(kinds.selection("pruner", PRUNERS), Choice("none"))
    window: int = key(kinds.whole(1), 16)
    objective: tuple[str, ...] = key(_OBJECTIVE, ("sharpe",))
    directions: tuple[str, ...] = key(
        kinds.texts(
            _check_direction, '"maximize" or "minimize" for each objective', distinct=False
        ),
        (),
    )
    constraints: tuple[str, ...] = key(
        kinds.texts(_check_constraint, 'a list of conditions such as ["max_drawdown < 0.2"]'), ()
    )
    start: bool | str = key(_START, True)
    deterministic: bool = key(kinds.flag(), True)
    max_failures: int | float = key(_FAILURES, 0.5, result=False)
    top: int = key(kinds.whole(1), 10, result=False)
    live_holdout: bool = key(kinds.flag(), False, result=False)
    storage: str = key(kinds.text(), "sqlite", result=False)

    def too_many_failures(self, failed: int, finished: int) -> bool:
        """Whether ``failed`` of ``finished`` trials are reason to end the study."""
        if isinstance(self.max_failures, int):
            return failed > self.max_failures
        return finished >= FAILURES_COUNTED_FROM and failed > self.max_failures * finished


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """``[data]``: the ticks, and how they are cut.

    Attributes
    ----------
    source : str
        Absolute path (a file or a folder), a URL, or ``"synth"`` for the generator.
    kind, instrument, columns, time_format, timezone, policies, synth
        See `sweep.ticks.sources.SourceSpec`; policies and synth are None for the defaults.
    begin, end : int or None
        ``from`` and ``to``: nanoseconds since the epoch, half-open; None for all.
    slices : int or Duration
        Their number, or the length of each.
    slicing : str
        ``"carry"`` or ``"independent"``.
    holdout : float, Duration or Moment
        What is kept from the search at the end of the range: a share of its time (0 for
        none), its length, or its beginning. A quarter by default.
    store : str
        ``"disk"`` or ``"memory"``; with ``"stream"`` the ticks are not stored.
    memory : int
        Bytes that a pass over the source may use, where the ticks are not stored.
    """

    # The ticks are identified by their content, so that where they are and how they are
    # read can change without another study coming of it; hence ``result=False``.
    source: str = key(
        kinds.path(like="a file or folder of ticks", words=("synth",)),
        result=False,
        add='source = "ticks.parquet" (or "synth" for generated ticks), or give --source PATH,',
    )
    kind: str = key(kinds.choice("quotes", "trades"), "quotes")
    instrument: str | None = key(kinds.text(), None, result=False)
    begin: int | None = key(kinds.moment(), None, name="from")
    end: int | None = key(kinds.moment(), None, name="to")
    columns: tuple[tuple[str, str], ...] = key(kinds.pairs(_COLUMNS), (), result=False)
    time_format: str | None = key(kinds.text(), None, result=False)
    timezone: str = key(Kind("the name of a time zone", _check_timezone), "UTC", result=False)
    policies: Policies | None = key(kinds.record(Policies, "policies"), None, result=False)
    synth: SynthSpec | None = key(
        kinds.record(SynthSpec, "settings of the generator"), None, result=False
    )
    slices: int | Duration = key(_SLICES, 1)
    slicing: str = key(kinds.choice("carry", "independent"), "carry")
    holdout: float | Duration | Moment = key(_HOLDOUT, 0.25)
    store: str = key(kinds.choice("disk", "memory", "stream"), "disk", result=False)
    memory: int = key(kinds.size(), 256_000_000, result=False)

    def holdout_split(self, last_ts: int) -> tuple[float, int | None]:
        """Return the holdout's share of the time, or its first stamp.

        Parameters
        ----------
        last_ts : int
            Stamp of the last tick of the range, from which a duration counts back.
        """
        if isinstance(self.holdout, Duration):
            return 0.0, last_ts - self.holdout.ns
        if isinstance(self.holdout, Moment):
            return 0.0, self.holdout.ns
        return self.holdout, None

    def source_spec(self) -> SourceSpec:
        """Return what the import of ticks needs to know."""
        # Here, since it imports pyarrow.
        from sweep.ticks.sources import SourceSpec

        generated = self.source == "synth"
        return SourceSpec(
            path=self.source,
            kind=self.kind,
            instrument=self.instrument,
            columns=self.columns,
            time_format=self.time_format,
            timezone=self.timezone,
            policies=self.policies or Policies(),
            synth=(self.synth or SynthSpec()) if generated else None,
        )


@dataclass(frozen=True, kw_only=True)
class CostsSection:
    """``[costs]``: what a fill costs, when it happens, how a position is marked.

    The keys are the fields of `sweep.schema.Costs`. Slippage and one commission at least must be
    stated.
    """

    slippage: float = key(
        kinds.number(least=0.0), add='slippage = 0.0 (in price units; "no cost" must be stated)'
    )
    commission_rate: float = key(kinds.number(least=0.0), 0.0)
    commission_per_unit: float = key(kinds.number(least=0.0), 0.0)
    commission_per_fill: float = key(kinds.number(least=0.0), 0.0)
    latency: int = key(kinds.duration(), 0)
    mark: str = key(kinds.choice("mid", "close"), "mid")
    half_spread: float = key(kinds.number(least=0.0), 0.0)

    def to_costs(self) -> Costs:
        """Return the record that evaluation uses."""
        return Costs(**{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class AccountSection:
    """``[account]``: the account that every variant trades on.

    Attributes
    ----------
    capital : float or None
        None for the price of one contract at the study's first tick.
    contract_size : float
    clock : int
        Nanoseconds between the equities from which returns are taken.
    periods_per_year : float or None
        None for 252 days of 24 hours.
    """

    capital: float | None = key(kinds.number(above=0.0), None)
    contract_size: float = key(kinds.number(above=0.0), 1.0)
    clock: int = key(kinds.duration("1m", "1d"), 3600 * 10**9)
    periods_per_year: float | None = key(kinds.number(above=0.0), None)

    def to_account(self, first_mid: float) -> Account:
        """Return the record that evaluation uses, given the mid of the first tick."""
        return Account(
            capital=self.capital or first_mid * self.contract_size,
            contract_size=self.contract_size,
            clock=self.clock,
            periods_per_year=self.periods_per_year or 252.0 * DAY / self.clock,
        )


@dataclass(frozen=True, kw_only=True)
class ValidateSection:
    """``[validate]``: the folds of a study's search range. None of it changes the study.

    Attributes
    ----------
    scheme : str
        Among `SCHEMES`.
    folds : int or None
        Of a walk forward or a k-fold; 5, or as many as ``train`` and ``test`` make.
    train, test : int or None
        Lengths of the windows of a walk forward or a holdout, in units.
    groups, test_groups : int
        Of combinatorial purged cross-validation: into how many the range is cut, and how many
        of them each split tests.
    purge : int or None
        Nanoseconds in front of a test window that do not train; the longest trade of the
        study's best variant and the latency where it is None.
    embargo : int or None
        More of them after a test window, where train follows test; as long as ``purge`` where
        it is None.
    anchored : bool
        Whether all train windows of a walk forward begin with the search range.
    unit : str or Duration
        What windows are counted in: ``"session"``, or stretches of the clock.
    """

    scheme: str = key(kinds.choice(*SCHEMES), "walk_forward", result=False)
    folds: int | None = key(kinds.whole(1), None, result=False)
    train: int | None = key(kinds.whole(1), None, result=False)
    test: int | None = key(kinds.whole(1), None, result=False)
    groups: int = key(kinds.whole(2), 6, result=False)
    test_groups: int = key(kinds.whole(1), 2, result=False)
    purge: int | None = key(kinds.duration(), None, result=False)
    embargo: int | None = key(kinds.duration(), None, result=False)
    anchored: bool = key(kinds.flag(), False, result=False)
    unit: str | Duration = key(_UNIT, "session", result=False)


@dataclass(frozen=True, kw_only=True)
class ComputeSection:
    """``[compute]``: where tasks run. None of it can change a result.

    Attributes
    ----------
    engine : str
        ``"loky"``, ``"joblib"`` or ``"serial"``.
    workers : int or None
        None for every core; with ``"joblib"``, for what its active backend gives.
    memory : int or None
        Bytes that a worker may use before it is replaced.
    batch : int or None
        Variants of a task; None to find a good number.
    """

    engine: str = key(kinds.choice(*ENGINES), "loky", result=False)
    workers: int | None = key(kinds.whole(1), None, result=False)
    memory: int | None = key(kinds.size(), None, result=False)
    batch: int | None = key(kinds.whole(1), None, result=False)
