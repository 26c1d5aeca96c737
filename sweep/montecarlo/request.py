"""What is asked of variants of a study, and how, checked before anything is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sweep.errors import InputError
from sweep.montecarlo.methods.results import RESULT_METHODS
from sweep.scenarios.resample import METHODS, ResampleSpec, find_sessions, sessions_by_clock
from sweep.scenarios.resample.spec import TICK_METHODS
from sweep.search.objective import compile_condition
from sweep.search.path_functionals import PathTerm
from sweep.stats.session_bootstrap import session_block_length
from sweep.study.study import Study
from sweep.text import did_you_mean

__all__ = ["ALL_METHODS", "MODELS", "MonteCarlo", "asked_of"]

MODELS = ("gbm", "merton", "garch", "regimes")

#: Every method, the cheapest first.
ALL_METHODS = (
    *RESULT_METHODS,
    "neighbourhood",
    "stress",
    *(m for m in METHODS if m != "identity"),
    *MODELS,
)

#: What a block length counts.
_BLOCK_UNITS = {
    **dict.fromkeys(("pnl", "trades", "sessions"), "sessions"),
    "slots": "minutes",
    **dict.fromkeys(TICK_METHODS, "ticks"),
}


@dataclass(frozen=True)
class MonteCarlo:
    """What is asked, and how.

    Attributes
    ----------
    methods : tuple of str
        Among `ALL_METHODS`.
    n_paths : int
        Paths, replicates or points of each method.
    seed : int
    block : float, "auto" or None
        Block length in the method's unit: sessions (``pnl``, ``trades``, ``sessions``),
        minutes (``slots``), ticks. None: the method's own, which for ``pnl`` and ``trades`` is
        what the data ask for (``pnl``: the median of several variants). ``"auto"``: what the
        changes of the mid ask for, by Politis & White on the changes and on their magnitudes,
        whichever is longer; the same for all variants.
    restart, level, tick_size, gap, opens
        See `sweep.scenarios.resample.ResampleSpec`.
    radius : float
        Of ``neighbourhood``, share of each parameter's range.
    threshold : float or None
        Of ``neighbourhood``, see `sweep.montecarlo.methods.neighbourhood.neighbourhood`.
    replicates : int
        Of each level of ``stress`` at which something is drawn.
    arrivals : str
        Of the models: ``poisson`` or ``hawkes``.
    effect : str
        Planted into the models' markets, see `sweep.ticks.synthetic.generate`.
    effect_size : float
    model : tuple of (str, float)
        Parameters of the models that are set by hand, over those that were fitted; by their
        names in `sweep.scenarios.simulate.spec` (``volatility``, ``alpha``, ``rate`` ...).
    condition : str or None
        A requirement over paths, such as ``"quantile(net_profit, 0.05) > 0"``: variants that
        miss it are not asked about any further.

    Raises
    ------
    InputError
        If something is unknown or out of range.
    """

    methods: tuple[str, ...] = ("sessions",)
    n_paths: int = 1_000
    seed: int = 0
    block: float | str | None = None
    restart: str | None = None
    level: str = "log"
    tick_size: float | None = None
    gap: float | None = None
    opens: float | None = None
    radius: float = 0.1
    threshold: float | None = None
    replicates: int = 16
    arrivals: str = "poisson"
    effect: str = "none"
    effect_size: float = 1.0
    model: tuple[tuple[str, float], ...] = ()
    condition: str | None = None
    _parsed: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError(f"no method is named; there are {', '.join(ALL_METHODS)}")
        for name in self.methods:
            if name not in ALL_METHODS:
                raise InputError(
                    f"no method {name!r}{did_you_mean(name, ALL_METHODS)}; "
                    f"there are {', '.join(ALL_METHODS)}"
                )
        for name, least in (("n_paths", 1), ("replicates", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}; expected {least} or more")
        self._check_blocks()
        for name in self.methods:
            if name in METHODS:
                self.resampling(name)
        if self.condition is not None:
            terms: list[PathTerm] = []
            condition = compile_condition(self.condition, terms)
            names = {*condition.left.names, *condition.right.names} - {t.name for t in terms}
            if names or not terms:
                raise InputError(
                    f'"{self.condition}": a filter is about functionals over paths, such as '
                    f"quantile(net_profit, 0.05) > 0"
                )
            object.__setattr__(self, "_parsed", (condition, tuple(terms)))

    def _check_blocks(self) -> None:
        """Refuse a block length or a restart that methods would understand differently."""
        if isinstance(self.block, str):
            if self.block != "auto":
                raise InputError(f'block = "{self.block}"; expected a number, or "auto"')
            if "slots" in self.methods:
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
        """Return how a study's ticks are resampled, and what was found out for it."""
        spec = self.resampling(method)
        return _with_block(study, spec) if self.block == "auto" else (spec, ())

    def resampling(self, method: str) -> ResampleSpec:
        """Return how ticks are resampled by a method."""
        # Beside methods that know sessions, those that count in ticks keep their default.
        others = any(name in ("sessions", "slots") for name in self.methods)
        skip = others and method in TICK_METHODS and self.restart == "session"
        return ResampleSpec(
            method=method,
            seed=self.seed,
            block=self.number,
            restart=None if skip else self.restart,
            level=self.level,
            tick_size=self.tick_size,
            gap=self.gap,
            opens=self.opens,
        )


def asked_of(study: Study, given: Mapping[str, Any]) -> MonteCarlo:
    """Return what is asked: what is given, and for the rest what the study's file says.

    Parameters
    ----------
    study : Study
    given : Mapping of str to object
        Of `MonteCarlo`; ``methods`` may be one name. The file's block length and restart are its
        own method's: where others are asked for, they do not count.
    """
    if isinstance(given.get("methods"), str):
        given = {**given, "methods": (given["methods"],)}
    own = study.spec.monte_carlo
    settings = {**own.settings(), "seed": study.spec.study.seed if own.seed is None else own.seed}
    if tuple(given.get("methods", (own.method,))) != (own.method,):
        del settings["block"], settings["restart"]
    # One of the two says where sessions begin.
    for name, other in (("gap", "opens"), ("opens", "gap")):
        if given.get(name) is not None:
            settings[other] = None
    return MonteCarlo(**{**settings, **given})


def _with_block(study: Study, spec: ResampleSpec) -> tuple[ResampleSpec, tuple[str, ...]]:
    """Choose the block length by the history's own changes, and say what was chosen."""
    setup = study.mapped
    first, end = setup.tick_slices[0].begin, setup.tick_slices[-1].end
    ticks = study.mapped_ticks.between(first, end)
    log_mid = np.log(ticks.mid)
    unit = "ticks"
    if spec.method == "sessions":
        unit = "sessions"
        gap = None if spec.gap is None else round(spec.gap * 60e9)
        found = find_sessions(ticks.ts, gap=gap)
        if spec.opens is not None:
            found = sessions_by_clock(ticks.ts, spec.opens)
        log_mid = np.concatenate([log_mid[:1], log_mid[found.ends - 1]])
    chosen = session_block_length(np.diff(log_mid))
    length = max(round(chosen.block_length), 1) if unit == "ticks" else chosen.block_length
    said = (
        f"block length by Politis & White: {chosen.on_results.stationary:.3g} {unit} by the "
        f"changes of the mid, {chosen.on_magnitudes.stationary:.3g} by their magnitudes; "
        f"{length:.3g} taken"
    )
    notes = [n for n in (chosen.on_results.note, chosen.on_magnitudes.note) if n]
    return replace(spec, block=float(length)), (said, *notes)
