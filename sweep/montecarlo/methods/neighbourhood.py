"""Parameter neighbourhood: how variants do that differ a little from one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sweep.backtest.tasks import Task, evaluate
from sweep.engines.base import Engine
from sweep.engines.dispatch import gather
from sweep.errors import EvaluationError
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.subject import Subject
from sweep.schema import STATUS_BAD_ORDER, STATUS_ERROR, FloatArray1D, FloatArray2D, Rows
from sweep.search.neighbourhood import neighbours, plateau_width, profiles, scaled
from sweep.stats.metrics import METRICS, merge, metrics_of
from sweep.stats.response_surface import response_surface, share_above
from sweep.stats.summary import Units, summarise
from sweep.study.plateaus import study_plateaus
from sweep.study.study import Study, metrics_of_row

__all__ = ["neighbourhood", "rows_of"]

#: Variants of a task.
_BATCH = 64

_FAILED = (STATUS_BAD_ORDER, STATUS_ERROR)


def neighbourhood(
    study: Study,
    subjects: Sequence[Subject],
    engine: Engine,
    *,
    seed: int,
    points: int = 256,
    radius: float = 0.1,
    threshold: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    interrupted: Callable[[], int] | None = None,
) -> list[Finding]:
    """Evaluate a box around each of some variants, and lines through it.

    Parameters
    ----------
    study : Study
    subjects : sequence of Subject
    engine : Engine
        Stays open.
    seed : int
        Of the scrambled Sobol points.
    points : int, optional
        Of the box; fewer where it has no more.
    radius : float, optional
        Share of each parameter's range to either side, in the parameter's own scale.
    threshold : float, optional
        Of the objective: what is good enough. Half of the variant's own value where it is
        not given, if that is above 0 and is to be maximised, else the variant's own.
    progress, interrupted : callable, optional
        See `sweep.montecarlo.methods.stress.stress`.

    Returns
    -------
    list of Finding
    """
    began = time.perf_counter()
    parts = []
    for subject in subjects:
        box = neighbours(study.space, subject.row, points, seed=seed, radius=radius)
        parts.append((box, profiles(study.space, subject.row)))
    wanted = [
        np.concatenate([subject.row[None], box, *(p.points for p in lines)])
        for subject, (box, lines) in zip(subjects, parts, strict=True)
    ]
    rows = rows_of(
        study, np.concatenate(wanted), engine, progress=progress, interrupted=interrupted
    )
    findings, at = [], 0
    plateaus = study_plateaus(study)
    for subject, (box, lines), own in zip(subjects, parts, wanted, strict=True):
        if rows[at]["status"] in _FAILED:
            study.replay(study.space.decode(subject.row))  # raises, and says why
        values = _values(study, rows[at : at + len(own)])
        findings.append(
            _finding(study, subject, box, lines, rows[at : at + len(own)], values,
                     seed, radius, threshold, plateaus, time.perf_counter() - began)
        )  # fmt: skip
        at += len(own)
    return findings


def rows_of(
    study: Study,
    params: FloatArray2D,
    engine: Engine,
    *,
    progress: Callable[[int, int], None] | None = None,
    interrupted: Callable[[], int] | None = None,
) -> Rows:
    """Evaluate variants on the study's search range, merged over its slices.

    Returns
    -------
    ndarray of shape (n_variants,), dtype `sweep.schema.ROW`
        A variant that raises has a row whose status says so.

    Raises
    ------
    EvaluationError
        If a task cannot be evaluated at all.
    """
    setup = study.mapped
    calls = [
        (setup.context, Task(k, params[k : k + _BATCH], setup.tick_slices, setup.carry_over))
        for k in range(0, len(params), _BATCH)
    ]
    found: list[Any] = [None] * len(calls)
    done = 0

    def take(place: int, outcome: Any) -> None:
        nonlocal done
        if outcome.error:
            raise EvaluationError(f"tasks cannot be evaluated:\n{outcome.error}")
        rows = outcome.rows
        merged = rows[:, -1] if setup.carry_over else rows[:, 0]
        if not setup.carry_over:
            for m in range(1, rows.shape[1]):
                merged = merge(merged, rows[:, m])
        found[place] = merged
        done += len(rows)
        if progress is not None:
            progress(done, len(params))

    gather(engine, evaluate, calls, take, interrupted=interrupted)
    return np.concatenate(found)


def _values(study: Study, rows: Rows) -> FloatArray1D:
    """Return the first objective of rows, or net profit where that is over paths.

    NaN where it is undefined, and where the evaluation failed.
    """
    if study.objectives.terms:
        values = metrics_of(rows, study.periods_per_year, ("net_profit",))["net_profit"]
    else:
        values = study.judge.verdicts(rows).values[:, 0]
    return np.where(np.isin(rows["status"], _FAILED), np.nan, values)


def _finding(
    study: Study,
    subject: Subject,
    box: FloatArray2D,
    lines: Any,
    rows: Rows,
    values: FloatArray1D,
    seed: int,
    radius: float,
    threshold: float | None,
    plateaus: dict[bytes, float],
    seconds: float,
) -> Finding:
    direction = study.directions[0]
    label = "net_profit" if study.objectives.terms else study.objectives.labels[0]
    if study.objectives.terms:
        direction = "maximize"
    own, around = float(values[0]), values[1 : 1 + len(box)]
    if threshold is None:
        threshold = 0.5 * own if direction == "maximize" and own > 0.0 else own
    share = share_above(around, threshold, direction)
    if np.isnan(threshold):
        why = "the variant's own objective is undefined, and no --threshold is given"
        share = replace(share, value=np.nan, low=np.nan, high=np.nan, reason=why)
    figures = {
        "objective": own,
        "threshold": threshold,
        "share_above_threshold": share.value,
        "share_above_threshold_low_95": share.low,
        "share_above_threshold_high_95": share.high,
        "plateau_score": plateaus.get(subject.row.tobytes(), float("nan")),
    }
    reasons = {}
    if np.isnan(figures["plateau_score"]):
        reasons["plateau_score"] = "the variant is no complete trial, or has too few neighbours"
    if share.reason:
        reasons["share_above_threshold"] = share.reason
    notes = ["a sensitivity, no test: neighbours share the variant's luck"]
    if len(box):
        surface = response_surface(scaled(study.space, box), around)
        figures["response_surface_r2"] = surface.r2
        if surface.reason:
            reasons["response_surface_r2"] = surface.reason
    else:
        notes.append("cannot be said, because no parameter has a neighbouring value")
    tables: dict[str, Any] = {}
    at = 1 + len(box)
    for line in lines:
        here = values[at : at + len(line.points)]
        at += len(line.points)
        figures[f"plateau_width_of_{line.name}"] = plateau_width(
            line.coordinates, here, line.centre, threshold, direction
        )
        marks = ["*" if k == line.centre else "" for k in range(len(line.levels))]
        table = tuple(zip(line.levels.tolist(), here.tolist(), marks, strict=True))
        tables[f"along {line.name}"] = ((line.name, label, ""), table)
    bad = np.isin(rows[1 : 1 + len(box)]["status"], _FAILED)
    if bad.any():
        notes.append(f"{bad.sum():,} of {len(box):,} neighbours could not be evaluated")
    metrics = metrics_of(rows[1 : 1 + len(box)], study.periods_per_year)
    paths = {name: np.where(bad, np.nan, v) for name, v in metrics.items() if name != label}
    columns = dict(zip(study.space.names, np.ascontiguousarray(box.T), strict=True))
    units = Units("point", len(box), float(len(box)), False, None)
    summaries = {}
    if len(box):
        summaries[label] = summarise(
            around,
            statistic=label,
            method="variants in a box around this one",
            units=units,
            seed=seed,
            observed=own,
            worst="low" if direction == "maximize" else "high",
        )
    return Finding(
        method="neighbourhood",
        title=f"variants within {radius:.0%} of each parameter's range",
        variant=subject.label,
        params=subject.params,
        n_paths=len(box),
        seed=seed,
        observed={
            name: value
            for name, value in metrics_of_row(rows[0], study.periods_per_year).items()
            if name in METRICS
        },
        summaries=summaries,
        figures=figures,
        tables=tables,
        paths={**columns, label: around, **paths},
        reasons=reasons,
        notes=tuple(notes),
        seconds=seconds,
    )
