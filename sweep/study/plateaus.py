"""The plateau score of a study's finished trials."""

from __future__ import annotations

import numpy as np

from sweep.search.neighbourhood import plateau_scores
from sweep.study.records import COMPLETE
from sweep.study.study import Study

__all__ = ["study_plateaus"]


def study_plateaus(study: Study) -> dict[bytes, float]:
    """Return the plateau score of every complete trial of a study, by its parameters.

    See `sweep.search.neighbourhood.plateau_scores`: the median objective of its nearest neighbours
    among the trials, relative to its own.
    """
    board = study.board
    numbers = np.flatnonzero(np.array(board.in_state(COMPLETE)))
    if len(numbers) < 3:
        return {}
    block = board.select(numbers)
    found = plateau_scores(
        study.space, block.params, np.ascontiguousarray(block.values[:, 0]), study.directions[0]
    )
    scores = zip(block.params, found.score.tolist(), strict=True)
    return {row.tobytes(): score for row, score in scores}
