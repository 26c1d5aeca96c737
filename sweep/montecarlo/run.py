"""Several methods on several variants: the cheapest first, with a filter after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from sweep.engines.base import Engine
from sweep.engines.choose import make_engine
from sweep.errors import DataError, InputError, StrategyError
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.methods.neighbourhood import neighbourhood
from sweep.montecarlo.methods.results import ask_results
from sweep.montecarlo.methods.stress import stress
from sweep.montecarlo.methods.ticks import TITLES, Asked, on_resampled, on_simulated
from sweep.montecarlo.request import ALL_METHODS, RESULT_METHODS, MonteCarlo, request_of
from sweep.montecarlo.subject import History, Subject, history_of, subjects_of
from sweep.scenarios.simulate.calibrate import calibrate
from sweep.scenarios.simulate.spec import PathSpec
from sweep.scenarios.simulated import check_simulated
from sweep.search.expressions import Condition
from sweep.search.path_functionals import PathTerm
from sweep.stats.session_bootstrap import session_block_length
from sweep.study.study import Study
from sweep.text import MODELS, counted, did_you_mean

__all__ = ["monte_carlo", "run_methods"]

#: Methods whose paths are no replicates of one another, so that functionals over them say
#: nothing of the variant.
_NO_REPLICATES = ("stress",)

#: ``progress(method, done, total, net_profits)``.
Progress = Callable[[str, int, int, Any], None]


def monte_carlo(
    study: Study,
    trials: Sequence[int] = (),
    *,
    values: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    interrupted: Callable[[], int] | None = None,
    **settings: Any,
) -> list[Finding]:
    """Ask how variants of a study do where history had been another.

    Parameters
    ----------
    study : Study
        That was run; its ticks and its strategy are used.
    trials : sequence of int, optional
        The best one by default.
    values : Mapping of str to object, optional
        A variant by its values.
    engine : Engine, optional
        Where paths run, instead of the study's; it stays open.
    progress, interrupted : callable, optional
        See `run_methods`.
    **settings
        Of `MonteCarlo`: ``methods``, ``n_paths``, ``seed`` ...; the rest as the study's file
        has it under ``[monte_carlo]``.

    Returns
    -------
    list of Finding
        By method, and by variant within.
    """
    asked = request_of(study, settings)
    subjects = subjects_of(study, trials, values)
    compute = study.spec.compute
    own = engine or make_engine(compute.engine, compute.workers)
    try:
        return run_methods(study, subjects, own, asked, progress=progress, interrupted=interrupted)
    finally:
        if engine is None:
            own.close(cancel=True)


def run_methods(
    study: Study,
    subjects: Sequence[Subject],
    engine: Engine,
    asked: MonteCarlo,
    *,
    progress: Progress | None = None,
    interrupted: Callable[[], int] | None = None,
    stage: Callable[[str, str], None] | None = None,
) -> list[Finding]:
    """Ask methods about variants, the cheapest first.

    Parameters
    ----------
    study : Study
    subjects : sequence of Subject
    engine : Engine
        Stays open.
    asked : MonteCarlo
    progress : callable, optional
        ``progress(method, done, total, net_profits)``; the last are those of the first
        variant's paths so far, or None.
    interrupted : callable, optional
        See `sweep.engines.dispatch.gather`.
    stage : callable, optional
        ``stage(method, text)``: what is being done before a method has paths to count.

    Returns
    -------
    list of Finding

    Raises
    ------
    InputError
        If no method can be asked of these ticks or this strategy; where some can, findings
        of the others say why not.
    """
    findings: list[Finding] = []
    left = list(subjects)
    histories: dict[str, History] = {}
    answered = False
    refusal: InputError | None = None
    for method in sorted(set(asked.methods), key=ALL_METHODS.index):
        if not left:
            break

        def say(done: int, total: int, profits: Any = None, method: str = method) -> None:
            if progress is not None:
                progress(method, done, total, profits)

        def begin(text: str, method: str = method) -> None:
            if stage is not None:
                stage(method, text)

        paths = Asked(asked.n_paths, say, interrupted, begin)
        try:
            found = _ask(study, left, engine, method, asked, paths, histories)
            answered = True
        except (DataError, StrategyError) as error:
            # What the other methods say is not lost over it.
            refusal = refusal or error
            found = [_unsaid(method, subject, asked.seed, error) for subject in left]
        found, left = _filtered(found, left, asked)
        findings += found
    if refusal is not None and not answered:
        raise refusal
    return findings


def _ask(
    study: Study,
    left: Sequence[Subject],
    engine: Engine,
    method: str,
    asked: MonteCarlo,
    paths: Asked,
    histories: dict[str, History],
) -> list[Finding]:
    """Ask one method about some variants."""
    say: Any = paths.progress
    if method in RESULT_METHODS:
        return _from_results(study, left, method, asked, paths, histories)
    if method == "neighbourhood":
        return neighbourhood(
            study, left, engine, seed=asked.seed, points=asked.n_paths, radius=asked.radius,
            threshold=asked.threshold, progress=say, interrupted=paths.interrupted,
        )  # fmt: skip
    if method == "stress":
        return stress(
            study, left, engine, seed=asked.seed, replicates=asked.replicates,
            progress=say, interrupted=paths.interrupted,
        )  # fmt: skip
    if method in MODELS:
        return _simulated(study, left, engine, method, asked, paths)
    spec, said = asked.resampling_of(study, method)
    resampled = on_resampled(study, left, engine, spec, paths)
    if asked.block == "auto":
        origin = "what the changes of the mid ask for, by Politis & White"
        resampled = [
            replace(f, block=f.block and replace(f.block, origin=origin)) for f in resampled
        ]
    return [replace(finding, notes=(*said, *finding.notes)) for finding in resampled]


def _from_results(
    study: Study,
    left: Sequence[Subject],
    method: str,
    asked: MonteCarlo,
    paths: Asked,
    histories: dict[str, History],
) -> list[Finding]:
    """Ask a method that needs no ticks about some variants."""
    say: Any = paths.progress
    replayed = {}
    for k, subject in enumerate(left):
        say(k, len(left))
        began = time.perf_counter()
        if subject.label not in histories:
            histories[subject.label] = history_of(study, subject, gap=asked.gap, opens=asked.opens)
        replayed[subject.label] = time.perf_counter() - began
    length, origin = asked.number, "given"
    if method == "pnl" and length is None and len(left) > 1:
        length = _common_length([histories[subject.label] for subject in left])
        origin = "the median of what the variants' sessions ask for, by Politis & White"
    found = []
    for subject in left:
        finding = ask_results(
            method, subject, histories[subject.label],
            seed=asked.seed, n_paths=asked.n_paths, block_length=length, origin=origin,
        )  # fmt: skip
        seconds = finding.seconds + replayed[subject.label]
        found.append(replace(finding, seconds=seconds))
    say(len(left), len(left))
    return found


def _common_length(histories: Sequence[History]) -> float | None:
    """Return one block length for several variants, so that they meet the same paths.

    None where there are too few sessions to tell; `ask_results` says so of each.
    """
    if any(len(h.session_profits) < 2 for h in histories):
        return None
    wanted = [session_block_length(h.session_profits).block_length for h in histories]
    # The longest of many variants' lengths would be an accident.
    return float(np.median(wanted))


def _unsaid(method: str, subject: Subject, seed: int, error: InputError) -> Finding:
    """Return the finding of a method that the data or the strategy cannot be asked."""
    title = TITLES.get(method, f"markets simulated by the model {method}")
    return Finding(
        method, title, subject.label, subject.params, n_paths=0, seed=seed, observed={},
        notes=(f"cannot be said, because {error}",),
    )  # fmt: skip


def _simulated(
    study: Study,
    subjects: Sequence[Subject],
    engine: Engine,
    method: str,
    asked: MonteCarlo,
    paths: Asked,
) -> list[Finding]:
    setup = study.mapped
    check_simulated(setup.context.kernel)  # before a fit that may take long
    ticks = study.mapped_ticks.between(setup.tick_slices[0].begin, setup.tick_slices[-1].end)
    paths.say(f"fitting the model to {counted(len(ticks.ts), 'tick')}")
    began = time.perf_counter()
    fit = calibrate(
        method, ticks.ts, ticks.bid, ticks.ask, arrivals=asked.arrivals, seed=asked.seed
    )
    fitting = time.perf_counter() - began
    spec = replace(fit.spec, effect=asked.effect, effect_size=asked.effect_size)
    spec = _by_hand(spec, asked.model)
    if spec.effect != "none" and not spec.effect_size:
        raise InputError("effect_size is 0: nothing would be planted; leave out the effect")
    outside = [check.name for check in fit.checks if check.inside is False]
    notes = list(fit.notes)
    if asked.model:
        notes.append("set by hand: " + ", ".join(f"{k} = {v:g}" for k, v in asked.model))
    notes.append(
        f"of {len(fit.checks)} checks of the fit, {len(outside)} lie outside what the model gives"
        + (f": {', '.join(outside)}" if outside else "")
    )
    found = on_simulated(study, subjects, engine, spec, paths, method=method, notes=tuple(notes))
    names = ("check", "data", "lowest", "median", "highest")
    rows = tuple(tuple(c) for c in fit.checks)
    estimates = tuple((e.name, e.value, e.error) for e in fit.estimates)
    tables = {
        "the fit": (("parameter", "estimate", "standard error"), estimates),
        "data against paths of the fit": (names, rows),
    }
    return [
        replace(f, tables=tables, seconds=f.seconds + fitting, fitting_seconds=fitting)
        for f in found
    ]


def _by_hand(spec: PathSpec, given: tuple[tuple[str, float], ...]) -> PathSpec:
    """Return a simulated market with some parameters set, wherever in it they are."""
    parts = ("process", "arrivals", "session", "quotes")
    for name, value in given:
        owners = [p for p in parts if name in {f.name for f in fields(getattr(spec, p))}]
        numbers = {
            f.name
            for p in parts
            for f in fields(getattr(spec, p))
            if isinstance(getattr(getattr(spec, p), f.name), int | float)
        }
        if not owners or name not in numbers:
            raise InputError(
                f"--model {name}: there is no such number{did_you_mean(name, numbers)}; "
                f"there are {', '.join(sorted(numbers))}"
            )
        owner = getattr(spec, owners[0])
        number: float = float(value)
        if isinstance(getattr(owner, name), int):
            if not number.is_integer():
                raise InputError(f"--model {name}={value:g}: expected a whole number")
            number = int(number)
        spec = replace(spec, **{owners[0]: replace(owner, **{name: number})})
    return spec


def _filtered(
    findings: list[Finding], subjects: Sequence[Subject], asked: MonteCarlo
) -> tuple[list[Finding], list[Subject]]:
    """Mark the variants that miss the requirement, and return those that go on."""
    if asked.filter is None:
        return findings, list(subjects)
    condition, terms = asked.filter
    marked, left = [], []
    for finding, subject in zip(findings, subjects, strict=True):
        holds, why = _holds(finding, condition, terms)
        if holds:
            left.append(subject)
            marked.append(finding)
        else:
            text = f"goes no further: {asked.condition} {why}"
            marked.append(replace(finding, notes=(*finding.notes, text)))
    return marked, left


def _holds(finding: Finding, condition: Condition, terms: tuple[PathTerm, ...]) -> tuple[bool, str]:
    values = {}
    if finding.method in _NO_REPLICATES:
        return True, ""
    for term in terms:
        if any(name not in finding.paths for name in term.inner.names):
            return True, ""  # the method does not tell
        paths = {name: finding.paths[name] for name in term.inner.names}
        n = len(next(iter(paths.values())))
        values[term.name], why = term(paths, n) if n else (math.nan, "there are no paths")
        if math.isnan(values[term.name]):
            return False, f"is undefined: {why}"
    columns = {name: np.array([value]) for name, value in values.items()}
    missed = condition.violations(columns, 1)[0] > 0.0
    shown = ", ".join(f"{t.text} = {values[t.name]:.6g}" for t in terms)
    return not missed, f"does not hold ({shown})"
