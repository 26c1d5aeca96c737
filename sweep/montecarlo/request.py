"""A request of Monte Carlo: its settings, checked before anything is evaluated.

Little is imported before it is needed, so that `sweep mc --help` can list the settings at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweep.errors import InputError
from sweep.scenarios.resample.spec import METHODS, TICK_METHODS, ResampleSpec
from sweep.study.file import kinds
from sweep.study.file.kinds import Kind, Place, check, key
from sweep.study.file.monte_carlo import RESAMPLING_METHODS, PathSettings, number_of_paths
from sweep.text import ARRIVALS, EFFECTS, MODELS, did_you_mean

if TYPE_CHECKING:
    from sweep.search.expressions import Condition
    from sweep.search.path_functionals import PathTerm
    from sweep.study.study import Study

__all__ = ["ALL_METHODS", "RESULT_METHODS", "MonteCarlo", "request_of"]

#: Methods that draw from a variant's results and need no ticks.
RESULT_METHODS = ("pnl", "trades", "permutation", "shift", "random-entry")

#: Every method, the cheapest first.
ALL_METHODS = (*RESULT_METHODS, "neighbourhood", "stress", *RESAMPLING_METHODS, *MODELS)

#: What a block length counts.
_BLOCK_UNITS = {
    **dict.fromkeys(("pnl", "trades", "sessions"), "sessions"),
    "slots": "minutes",
    **dict.fromkeys(TICK_METHODS, "ticks"),
}


def _read_block(value: Any, place: Place) -> float | str:
    return "auto" if value == "auto" else float(kinds.number(above=0.0).read(value, place))


@dataclass(frozen=True)
class MonteCarlo(PathSettings):
    """What is drawn, how much and how. A setting with a help text is an option of `sweep mc`.

    Attributes
    ----------
    methods : tuple of str
        Among `ALL_METHODS`.
    n_paths : int
        Paths, replicates or points of each method.
    block : float, "auto" or None
        Block length in the method's unit: sessions (``pnl``, ``trades``, ``sessions``),
        minutes (``slots``), ticks. None: the method's own, which for ``pnl`` and ``trades`` is
        what the data ask for (``pnl``: the median of several variants). ``"auto"``: what the
        changes of the mid ask for, by Politis & White on the changes and on their magnitudes,
        whichever is longer; the same for all variants.
    threshold : float or None
        See `sweep.montecarlo.methods.neighbourhood.neighbourhood`.
    effect : str
        Planted into the models' markets, see `sweep.ticks.synthetic.generate`.
    model : tuple of (str, float)
        Parameters of the models that are set by hand, over those that were fitted; by their
        names in `sweep.scenarios.simulate.spec` (``volatility``, ``alpha``, ``rate`` ...).
    condition : str or None
        A requirement over paths: variants that miss it are not evaluated by further methods.

    Raises
    ------
    InputError
        If something is unknown or out of range.
    """

    methods: tuple[str, ...] = ("sessions",)
    _: KW_ONLY
    n_paths: int = number_of_paths()
    seed: int = key(kinds.whole(), 0, help="The study's by default.")
    block: float | str | None = key(
        Kind('a number above 0, or "auto"', _read_block, metavar="X"),
        None,
        help="Block length: sessions (pnl, trades, sessions), minutes (slots), else ticks; auto: "
        "what the ticks ask for.",
    )
    radius: float = key(kinds.number(), 0.1, help="neighbourhood: share of each range.")
    threshold: float | None = key(kinds.number(), None, help="neighbourhood: what is good enough.")
    replicates: int = key(kinds.whole(1), 16, help="stress: of each level.")
    arrivals: str = key(kinds.choice(*ARRIVALS), "poisson", help="Models: of ticks.")
    effect: str = key(kinds.choice(*EFFECTS), "none", help="Models: what is planted.")
    effect_size: float = key(kinds.number(), 1.0, help="Models: how strong it is.")
    model: tuple[tuple[str, float], ...] = ()
    condition: str | None = key(
        kinds.text(),
        None,
        name="filter",
        help='Variants that miss it go no further, as in "quantile(net_profit, 0.05) > 0".',
    )

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError(f"no method is named; there are {', '.join(ALL_METHODS)}")
        for name in self.methods:
            if name not in ALL_METHODS:
                raise InputError(
                    f"no method {name!r}{did_you_mean(name, ALL_METHODS)}; "
                    f"there are {', '.join(ALL_METHODS)}"
                )
        check(self)
        self._check_blocks()
        for name in self.methods:
            if name in METHODS:
                self.resampling(name)
        _ = self.filter

    @cached_property
    def filter(self) -> tuple[Condition, tuple[PathTerm, ...]] | None:
        """The parsed condition, with the functionals over paths that it names."""
        if self.condition is None:
            return None
        from sweep.search.objective import compile_condition

        terms: list[PathTerm] = []
        condition = compile_condition(self.condition, terms)
        names = {*condition.left.names, *condition.right.names} - {t.name for t in terms}
        if names or not terms:
            raise InputError(
                f'"{self.condition}": a filter is about functionals over paths, such as '
                f"quantile(net_profit, 0.05) > 0"
            )
        return condition, tuple(terms)

    def _check_blocks(self) -> None:
        """Refuse a block length or a restart that methods would understand differently."""
        if self.block == "auto" and "slots" in self.methods:
            raise InputError(
                "slots are parts of the day, which data cannot choose: give block minutes, "
                'not "auto"'
            )
        units = {_BLOCK_UNITS[name]: name for name in self.methods if name in _BLOCK_UNITS}
        if self.number is not None and len(units) > 1:
            shown = ", ".join(f"{unit} for {name}" for unit, name in units.items())
            raise InputError(
                f"block = {self.number:g} would be {shown}; ask these methods one by one"
            )
        if self.number is not None and self.number < 1.0 and "sessions" in units:
            raise InputError(f"block = {self.number:g} sessions; expected 1 or more")
        if self.gap is not None and self.opens is not None:
            raise InputError("gap and opens both say where sessions begin; give one")

    @property
    def number(self) -> float | None:
        """The block length, where it is given as a number."""
        return None if isinstance(self.block, str) else self.block

    def resampling_of(self, study: Study, method: str) -> tuple[ResampleSpec, tuple[str, ...]]:
        """Return how a study's ticks are resampled, and how a block length was chosen for it."""
        spec = self.resampling(method)
        return _with_block(study, spec) if self.block == "auto" else (spec, ())

    def resampling(self, method: str) -> ResampleSpec:
        """Return how ticks are resampled by a method."""
        # Beside methods that know sessions, those that count in ticks keep their default.
        others = any(name in ("sessions", "slots") for name in self.methods)
        skip = others and method in TICK_METHODS and self.restart == "session"
        changes = {"restart": None} if skip else {}
        return self.resample_spec(method=method, seed=self.seed, block=self.number, **changes)


def request_of(study: Study, given: Mapping[str, Any]) -> MonteCarlo:
    """Return the request: the settings given, and for the rest those of the study's file.

    Parameters
    ----------
    study : Study
    given : Mapping of str to object
        Of `MonteCarlo`; ``methods`` may be one name. The file's block length and restart are
        those of its method; they do not count where other methods are given.
    """
    if isinstance(given.get("methods"), str):
        given = {**given, "methods": (given["methods"],)}
    section = study.spec.monte_carlo
    settings = {f.name: getattr(section, f.name) for f in fields(PathSettings)}
    settings["methods"] = (section.method,)
    settings["n_paths"] = section.n_paths
    settings["seed"] = study.spec.study.seed if section.seed is None else section.seed
    if tuple(given.get("methods", (section.method,))) == (section.method,):
        settings["block"] = section.block
    else:
        del settings["restart"]
    # Sessions begin at gaps or at an hour: either setting replaces the other.
    for name, other in (("gap", "opens"), ("opens", "gap")):
        if given.get(name) is not None:
            settings[other] = None
    return MonteCarlo(**{**settings, **given})


def _with_block(study: Study, spec: ResampleSpec) -> tuple[ResampleSpec, tuple[str, ...]]:
    """Choose the block length by the changes of the history, and report what was chosen."""
    import numpy as np

    from sweep.stats.session_bootstrap import session_block_length
    from sweep.ticks.sessions import find_sessions, sessions_by_clock

    setup = study.mapped
    first, end = setup.tick_slices[0].begin, setup.tick_slices[-1].end
    ticks = study.mapped_ticks.between(first, end)
    log_mid = np.log(ticks.mid)
    unit = "ticks"
    if spec.method == "sessions":
        unit = "sessions"
        gap = None if spec.gap is None else round(spec.gap * 60e9)
        sessions = find_sessions(ticks.ts, gap=gap)
        if spec.opens is not None:
            sessions = sessions_by_clock(ticks.ts, spec.opens)
        log_mid = np.concatenate([log_mid[:1], log_mid[sessions.ends - 1]])
    chosen = session_block_length(np.diff(log_mid))
    length = max(round(chosen.block_length), 1) if unit == "ticks" else chosen.block_length
    choice = (
        f"block length by Politis & White: {chosen.on_results.stationary:.3g} {unit} by the "
        f"changes of the mid, {chosen.on_magnitudes.stationary:.3g} by their magnitudes; "
        f"{length:.3g} taken"
    )
    notes = [n for n in (chosen.on_results.note, chosen.on_magnitudes.note) if n]
    return replace(spec, block=float(length)), (choice, *notes)
