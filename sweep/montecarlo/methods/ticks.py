"""A variant on other histories: ticks resampled, or simulated, and the strategy run on each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.engines.base import Engine
from sweep.engines.dispatch import gather
from sweep.errors import EvaluationError, InputError
from sweep.montecarlo.finding import Block, Finding
from sweep.montecarlo.subject import Subject, history_of
from sweep.scenarios.evaluate import (
    PathContext,
    PathOutcome,
    PathTask,
    evaluate_paths,
    path_context,
)
from sweep.scenarios.export import export_path
from sweep.scenarios.resample.plan import prepare
from sweep.scenarios.resample.spec import ResampleSpec
from sweep.scenarios.robust_trials import with_restart
from sweep.scenarios.simulate.spec import PathSpec
from sweep.scenarios.simulated import SimulatedContext, evaluate_simulated
from sweep.schema import ROW, STATUS_BAD_ORDER, STATUS_ERROR, FloatArray1D, Rows
from sweep.stats.functionals import Functional
from sweep.stats.metrics import METRICS, metrics_of
from sweep.stats.summary import ENOUGH_UNITS, Units, count_units, summarise
from sweep.study.row_cache import CHUNK, PathRows
from sweep.study.study import Study
from sweep.text import counted
from sweep.ticks.mapped import attach, require_intact
from sweep.version import __version__

__all__ = [
    "SHOWN",
    "TITLES",
    "Asked",
    "export_ticks",
    "on_resampled",
    "on_simulated",
]

TITLES = {
    "identity": "the history itself",
    "sessions": "redrawn whole sessions of ticks, and the strategy run on them",
    "slots": "redrawn slots of the same clock time, and the strategy run on them",
    "stationary": "redrawn blocks of ticks of random length, and the strategy run on them",
    "circular": "redrawn blocks of ticks, wrapping round, and the strategy run on them",
    "moving": "redrawn blocks of ticks, and the strategy run on them",
}

#: Metrics that are summarised, with the end at which they are worst.
SHOWN = {
    "net_profit": "low",
    "sharpe": "low",
    "max_drawdown": "high",
    "profit_factor": "low",
    "trades": "low",
}


@dataclass(frozen=True)
class Asked:
    """How paths are evaluated.

    Attributes
    ----------
    n_paths : int
    progress : callable or None
        ``progress(done, total, net_profits)``: paths, and the first variant's so far.
    interrupted : callable or None
        See `sweep.engines.dispatch.gather`.
    stage : callable or None
        ``stage(text)``: what is being done before there are paths, which may take long.
    """

    n_paths: int
    progress: Callable[[int, int, Any], None] | None = None
    interrupted: Callable[[], int] | None = None
    stage: Callable[[str], None] | None = None

    def say(self, text: str) -> None:
        """Say what is being done."""
        if self.stage is not None:
            self.stage(text)


def on_resampled(
    study: Study, subjects: Sequence[Subject], engine: Engine, spec: ResampleSpec, asked: Asked
) -> list[Finding]:
    """Run variants on resampled paths of the search range.

    Parameters
    ----------
    study : Study
    subjects : sequence of Subject
        All see the same paths.
    engine : Engine
        Stays open.
    spec : ResampleSpec
    asked : Asked

    Returns
    -------
    list of Finding
        ``observed`` is the history under the same treatment: begun afresh where paths are.

    Raises
    ------
    DataError, StrategyError
        If the ticks cannot be resampled like that, or the strategy cannot run on paths.
    """
    began = time.perf_counter()
    setup = study.mapped
    first, end = setup.tick_slices[0].begin, setup.tick_slices[-1].end
    params = np.stack([s.row for s in subjects])
    spec, said = with_restart(setup.context, spec, params, first, end)
    asked.say("compiling (once for each strategy), looking through the ticks")
    context = path_context(setup.context, setup.strategy, setup.space, spec, first, end)
    plain = replace(spec, method="identity", block=None, restart=spec.restarts)
    own = path_context(setup.context, setup.strategy, setup.space, plain, first, end)
    about = {**_about(study), "range": [first, end], "resampling": asdict(spec)}
    rows = _rows(study, subjects, engine, evaluate_paths, context, about, asked)
    found = evaluate_paths(own, PathTask(0, params, 0, 1))
    if found.error or found.failures:
        why = found.error or found.failures[0][2]
        raise EvaluationError(f"the history cannot be evaluated:\n{why}")
    findings = []
    searched = _searched_note(study, context, asked.n_paths)
    for k, subject in enumerate(subjects):
        units, profits = _units(study, subject, spec, context)
        failed = _failed_note(rows[k], lambda task: evaluate_paths(context, task), subject)
        findings.append(
            _finding(
                study, subject, rows[k], found.rows[k], units,
                method=spec.method,
                title=TITLES[spec.method],
                seed=spec.seed,
                notes=(
                    *failed, *_restart_note(spec), *said, *searched, *context.resampler.warnings
                ),
                seconds=time.perf_counter() - began,
                block=_block(spec),
                session_profits=profits,
            )
        )  # fmt: skip
    return findings


def on_simulated(
    study: Study,
    subjects: Sequence[Subject],
    engine: Engine,
    spec: PathSpec,
    asked: Asked,
    *,
    method: str,
    notes: tuple[str, ...] = (),
) -> list[Finding]:
    """Run variants on simulated paths whose truth is known.

    Parameters
    ----------
    study, subjects, engine, asked
        See `on_resampled`.
    spec : PathSpec
    method : str
        Name of the model.
    notes : tuple of str, optional
        What a reader must know of the model, such as how it was fitted.
    """
    began = time.perf_counter()
    setup = study.mapped
    context = SimulatedContext(setup.context, spec)
    about = {**_about(study), "simulated": repr(spec)}
    rows = _rows(study, subjects, engine, evaluate_simulated, context, about, asked)
    planted = ""
    if spec.effect != "none" and spec.effect_size:
        planted = f", with the effect {spec.effect} of size {spec.effect_size:g} planted"
    units = Units("path", asked.n_paths, float(asked.n_paths), asked.n_paths < ENOUGH_UNITS, None)
    return [
        _finding(
            study, subject, rows[k], None, units,
            method=method,
            title=f"markets simulated by the model {method}{planted}",
            seed=spec.seed,
            notes=(
                *_failed_note(rows[k], lambda task: evaluate_simulated(context, task), subject),
                "what holds on these paths holds of the model, not of the market",
                *notes,
            ),
            seconds=time.perf_counter() - began,
        )
        for k, subject in enumerate(subjects)
    ]  # fmt: skip


def export_ticks(study: Study, asked: Any, number: int, file: str) -> int:
    """Write the ticks of one path of a method to a Parquet file, and return how many.

    Parameters
    ----------
    study : Study
    asked : `sweep.montecarlo.request.MonteCarlo`
        Its first method resamples ticks.
    number : int
    file : str

    Raises
    ------
    InputError
        If the method draws no ticks, or the number or the name cannot be.
    """
    method = asked.methods[0]
    if len(asked.methods) > 1:
        raise InputError(f"--export writes a path of one method, found {', '.join(asked.methods)}")
    if method not in TITLES:
        raise InputError(
            f"{method} draws no ticks that could be written; "
            f"use {', '.join(m for m in TITLES if m != 'identity')}"
        )
    if number < 0:
        raise InputError(f"--export {number}: paths are numbered from 0")
    if not file.lower().endswith(".parquet"):
        raise InputError(f"--export {file}: the name must end in .parquet")
    setup = study.mapped
    ticks = attach(setup.ticks)
    first, end = setup.tick_slices[0].begin, setup.tick_slices[-1].end
    resampler = prepare(ticks, asked.resampling_of(study, method)[0], first, end)
    require_intact(setup.ticks)
    return export_path(resampler, setup.ticks, number, Path(file))


def _about(study: Study) -> dict[str, Any]:
    """Return what rows of a study's variants follow from, beside the paths."""
    setup = study.mapped
    return {
        "version": __version__,
        "ticks": setup.ticks.content,
        "strategy": setup.strategy.digest,
        "costs": asdict(setup.context.costs),
        "account": asdict(setup.context.account),
    }


def _rows(
    study: Study,
    subjects: Sequence[Subject],
    engine: Engine,
    function: Callable[..., Any],
    context: Any,
    about: dict[str, Any],
    asked: Asked,
) -> Rows:
    """Return the rows of variants on paths, shape (n_variants, n_paths)."""
    n = len(subjects)
    chunks = -(-asked.n_paths // CHUNK)
    folder = study.folder / "mc"
    PathRows.check_room(folder, chunks * CHUNK * n)
    shelves = [
        # In numbers, and in words: a number of a choice means what the space makes of it.
        PathRows(
            folder, {**about, "row": s.row.tobytes().hex(), "params": study.space.decode(s.row)}
        )
        for s in subjects
    ]
    rows = np.zeros((n, chunks * CHUNK), ROW)
    missing: dict[int, list[int]] = {}
    for c in range(chunks):
        for k, shelf in enumerate(shelves):
            known = shelf.load(c)
            if known is None:
                missing.setdefault(c, []).append(k)
            else:
                rows[k, c * CHUNK : (c + 1) * CHUNK] = known
    calls = [
        (context, PathTask(c, np.stack([subjects[k].row for k in who]), c * CHUNK, (c + 1) * CHUNK))
        for c, who in missing.items()
    ]
    order = list(missing.items())
    there = np.ones(chunks, bool)
    there[list(missing)] = False

    def say() -> None:
        if asked.progress is not None:
            done = np.repeat(there, CHUNK)[: asked.n_paths]
            first = rows[0, : asked.n_paths][done]
            first = first[~_bad(first)]
            asked.progress(int(done.sum()), asked.n_paths, first["equity"] - first["capital"])

    def take(place: int, outcome: Any) -> None:
        if outcome.error:
            raise EvaluationError(f"paths cannot be evaluated:\n{outcome.error}")
        c, who = order[place]
        for j, k in enumerate(who):
            rows[k, c * CHUNK : (c + 1) * CHUNK] = outcome.rows[j]
            shelves[k].save(c, outcome.rows[j])
        there[c] = True
        say()

    say()
    gather(engine, function, calls, take, interrupted=asked.interrupted)
    return rows[:, : asked.n_paths]


def _units(
    study: Study, subject: Subject, spec: ResampleSpec, context: PathContext
) -> tuple[Units, FloatArray1D | None]:
    """Return what is drawn, how much it holds on this variant, and its sessions' profits."""
    if spec.method in ("sessions", "slots"):
        profits = history_of(study, subject, gap=spec.gap, opens=spec.opens).session_profits
        block = spec.length if spec.method == "sessions" else 1.0
        return count_units(profits, "session", block=block), profits
    n = context.resampler.units
    few = n < ENOUGH_UNITS
    reason = f"too few units: {counted(n, 'block')}, of the {ENOUGH_UNITS} that a tail needs"
    return Units("block", n, float(n), few, reason if few else None), None


def _block(spec: ResampleSpec) -> Block | None:
    """Return the blocks that paths are joined of."""
    if spec.method == "identity":
        return None
    return Block(
        length=float(spec.length),
        unit={"sessions": "session", "slots": "minute"}.get(spec.method, "tick"),
        random=spec.method in ("sessions", "stationary"),
        origin="by default" if spec.block is None else "given",
    )


def _bad(rows: Rows) -> NDArray[np.bool_]:
    """Return which rows are of evaluations that failed: their numbers mean nothing."""
    found: NDArray[np.bool_] = np.isin(rows["status"], (STATUS_BAD_ORDER, STATUS_ERROR))
    return found


def _failed_note(
    rows: Rows, evaluate: Callable[[PathTask], PathOutcome], subject: Subject
) -> tuple[str, ...]:
    """Say on how many paths a variant failed, and why on the first of them."""
    bad = np.flatnonzero(_bad(rows))
    if not len(bad):
        return ()
    first = int(bad[0])
    # Rows from the shelf have no reason with them.
    again = evaluate(PathTask(0, subject.row[None], first, first + 1))
    why = again.failures[0][2] if again.failures else "the evaluation failed"
    return (f"failed on {len(bad):,} of {counted(len(rows), 'path')}, without a value; {why}",)


def _searched_note(study: Study, context: PathContext, n_paths: int) -> tuple[str, ...]:
    """Warn where a search over paths has chosen the variant on these very paths."""
    robust = study.setup.robust
    if robust is None:
        return ()
    # The ticks of a path do not depend on where strategies begin afresh.
    drawn, now = (replace(c.resampler.spec, restart=None) for c in (robust.paths, context))
    if drawn != now:
        return ()
    same = min(n_paths, study.spec.monte_carlo.n_paths)
    return (
        f"the search chose by the first {same:,} of these paths, which flatters its best; "
        f"another --seed draws paths that it has not seen",
    )


def _restart_note(spec: ResampleSpec) -> tuple[str, ...]:
    where = {
        "session": "at each session the strategy starts afresh, flat, after its warm-up; the "
        "observed value is the history traded like that",
        "block": "at each block that is joined the strategy starts afresh, flat, after its "
        "warm-up; the observed value is the history traded in one go",
        "never": "state and position go through the whole path",
    }
    return (where[spec.restarts],)


def _finding(
    study: Study,
    subject: Subject,
    rows: Rows,
    own: Rows | None,
    units: Units,
    *,
    method: str,
    title: str,
    seed: int,
    notes: tuple[str, ...],
    seconds: float,
    block: Block | None = None,
    session_profits: FloatArray1D | None = None,
) -> Finding:
    ppy = study.periods_per_year
    bad = _bad(rows)
    found = {name: np.where(bad, np.nan, v) for name, v in metrics_of(rows, ppy).items()}
    observed = {}
    if own is not None:
        observed = {name: float(v[0]) for name, v in metrics_of(own[:1], ppy).items()}
    empty = (rows["trades"] == 0) & ~bad
    # Of a path on which nothing was lost there is no ratio, and none is better.
    unbeaten = (rows["gross_profit"] > 0.0) & (rows["gross_loss"] == 0.0) & ~bad
    summaries = {
        name: summarise(
            np.where(unbeaten, np.inf, found[name]) if name == "profit_factor" else found[name],
            statistic=name,
            method=title,
            units=units,
            seed=seed,
            observed=observed.get(name) if np.isfinite(observed.get(name, np.nan)) else None,
            worst=worst,
            empty=~bad,
        )
        for name, worst in SHOWN.items()
    }
    loss = Functional("probability_of_loss").of(found["net_profit"])
    figures = {
        "probability_of_loss": loss.value,
        "probability_of_loss_error": loss.error,
        "paths_without_trades": float(empty.sum()),
        **({"failed_paths": float(bad.sum())} if bad.any() else {}),
    }
    if not bad.any() and not found["net_profit"].std() and len(rows) > 1:
        notes = (*notes, "every path gives the same: nothing was drawn that matters")
    return Finding(
        method=method,
        title=title,
        variant=subject.label,
        params=subject.params,
        n_paths=len(rows),
        seed=seed,
        observed=observed,
        summaries=summaries,
        figures=figures,
        paths={name: found[name] for name in METRICS},
        notes=notes,
        seconds=seconds,
        block=block,
        session_profits=session_profits,
    )
