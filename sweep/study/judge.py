"""What rows are worth: objectives, requirements, and the state that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.schema import (
    STATUS_BAD_ORDER,
    STATUS_ERROR,
    FloatArray1D,
    FloatArray2D,
    IntArray1D,
    Rows,
)
from sweep.search.objective import Objectives
from sweep.stats.metrics import metrics_of, why_undefined
from sweep.study.records import COMPLETE, FAILED, INFEASIBLE, Judged
from sweep.text import STATES

__all__ = ["Judge", "Verdicts"]


@dataclass(frozen=True)
class Verdicts:
    """What many rows are worth; `sweep.study.records.Judged` as columns.

    Attributes
    ----------
    codes : ndarray of shape (n_rows,), int8
        States, as places in `sweep.text.STATES`.
    values, violations : ndarray of shape (n_rows, n), float64
    reasons : ndarray of shape (n_rows,), object
        Texts; empty where the state is ``complete``.
    """

    codes: NDArray[np.int8]
    values: FloatArray2D
    violations: FloatArray2D
    reasons: NDArray[np.object_]


@dataclass(frozen=True)
class Judge:
    """What rows are worth: a pure function of them and of the study's aims."""

    objectives: Objectives
    periods_per_year: float

    def __call__(self, rows: Rows, paths: Sequence[Rows] | None = None) -> list[Judged]:
        """Return what each of ``rows`` is worth; see `verdicts`."""
        v = self.verdicts(rows, paths)
        return [
            Judged(STATES[code], tuple(values), tuple(violations), reason)
            for code, values, violations, reason in zip(
                v.codes, v.values.tolist(), v.violations.tolist(), v.reasons, strict=True
            )
        ]

    def verdicts(self, rows: Rows, paths: Sequence[Rows] | None = None) -> Verdicts:
        """Return what ``rows`` are worth, as columns.

        A row's verdict does not depend on the rows beside it.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), dtype `sweep.schema.ROW`
        paths : sequence of ndarray of shape (n_paths,), dtype `sweep.schema.ROW`, optional
            For each of them, the rows of its paths; needed where objectives hold functionals
            over paths.
        """
        n = len(rows)
        metrics = metrics_of(rows, self.periods_per_year, self.objectives.reads)
        values, reasons_of = self._over_paths(paths)
        metrics |= values

        def why(name: str, places: IntArray1D) -> NDArray[np.object_]:
            found = reasons_of.get(name)
            return why_undefined(name, rows[places]) if found is None else found[places]

        scores = self.objectives.scores(metrics, n, why)
        codes = np.full(n, STATES.index(COMPLETE), np.int8)
        reasons = np.full(n, "", object)
        missed = scores.violations > 0.0
        self._say_missed(missed, codes, reasons)
        unclear = np.flatnonzero(scores.reasons != None)  # noqa: E711 - of each element
        codes[unclear] = STATES.index(INFEASIBLE)
        reasons[unclear] = scores.reasons[unclear]
        raised = np.flatnonzero(scores.raised)
        codes[raised] = STATES.index(FAILED)
        failed = (rows["status"] == STATUS_BAD_ORDER) | (rows["status"] == STATUS_ERROR)
        codes[failed] = STATES.index(FAILED)
        reasons[failed] = "the evaluation failed"
        return Verdicts(codes, scores.values, scores.violations, reasons)

    def _over_paths(
        self, paths: Sequence[Rows] | None
    ) -> tuple[dict[str, FloatArray1D], dict[str, NDArray[np.object_]]]:
        if not self.objectives.terms:
            return {}, {}
        assert paths is not None
        names = self.objectives.path_reads
        return self.objectives.over_paths(
            [metrics_of(rows, self.periods_per_year, names) for rows in paths]
        )

    def _say_missed(
        self,
        missed: NDArray[np.bool_],
        codes: NDArray[np.int8],
        reasons: NDArray[np.object_],
    ) -> None:
        """Mark the rows that miss a requirement, with the requirements that they miss."""
        places = np.flatnonzero(missed.any(axis=1))
        if not len(places):
            return
        codes[places] = STATES.index(INFEASIBLE)
        texts = [c.text for c in self.objectives.constraints]
        kinds, which = np.unique(missed[places], axis=0, return_inverse=True)
        said = np.array(
            [f"not met: {', '.join(t for t, m in zip(texts, k, strict=True) if m)}" for k in kinds],
            object,
        )
        reasons[places] = said[which.reshape(-1)]
