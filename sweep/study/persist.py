"""Copying finished trials to Optuna's storage while the study runs."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sweep.study.proposals import outcome_of
from sweep.study.records import Finished
from sweep.study.study import Study, metrics_of_row

if TYPE_CHECKING:
    from sweep.study.optuna_mirror import FinishedTrial

__all__ = ["Persister"]

#: Seconds between batches.
_INTERVAL = 1.0

#: Trials between two looks at whether to go on: some 8 ms each.
_BATCH = 32


class Persister:
    """Writes finished trials in batches, on a thread of its own.

    What it writes is a copy: a storage that cannot be written to is a warning, never the
    end of a study.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self.error = ""
        self._abandoned = False
        self._queue: queue.SimpleQueue[Finished | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="optuna-storage", daemon=True)
        self._thread.start()

    def add(self, trial: Finished) -> None:
        """Queue a finished trial. Returns at once."""
        self._queue.put(trial)

    def finish(self, best: Iterable[int]) -> None:
        """Write what is left, and the best; returns when all is stored."""
        for number in best:
            self._queue.put(self._study.board.trial(number))
        self._queue.put(None)
        self._thread.join()

    def close(self) -> None:
        """Stop after the batch in hand; the next run writes what is missing. May be repeated."""
        self._abandoned = True
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        study = self._study
        where = study.spec.study.storage
        target = str(study.folder / "optuna.db") if where == "sqlite" else os.path.expandvars(where)
        store = None
        try:
            ended = False
            while not ended:
                trials, ended = self._batch()
                if store is None:
                    # Only now: it imports Optuna, which would keep the first trial waiting.
                    from sweep.study.optuna_mirror import TrialStore

                    store = TrialStore(
                        target,
                        study.name,
                        study.directions,
                        study.space,
                        objectives=study.objectives.labels,
                    )
                for first in range(0, len(trials), _BATCH):
                    if self._abandoned:
                        return
                    store.persist([self._entry(t) for t in trials[first : first + _BATCH]])
        except Exception as error:
            self.error = f"Optuna's storage {target} is not up to date: {error}"
        finally:
            if store is not None:
                store.close()

    def _batch(self) -> tuple[list[Finished], bool]:
        """Return what comes in within one interval, and whether that was all."""
        trials: list[Finished] = []
        item = self._queue.get()
        until = time.monotonic() + _INTERVAL
        while item is not None:
            trials.append(item)
            try:
                item = self._queue.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                return trials, False
        return trials, True

    def _entry(self, trial: Finished) -> FinishedTrial:
        from sweep.study.optuna_mirror import FinishedTrial

        metrics = metrics_of_row(trial.row, self._study.periods_per_year) if trial.n_slices else {}
        return FinishedTrial(trial.number, trial.params, outcome_of(trial, metrics))
