"""Session returns with a known truth, for tests of the verdict."""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.validation.evidence import Evidence


def made(
    seed: int,
    *,
    sessions: int = 120,
    variants: int = 40,
    edge: float = 0.0,
    share: float = 1.0,
    likeness: float = 0.5,
    tails: bool = False,
    tried: int | None = None,
    **more: Any,
) -> Evidence:
    """Return a search of neighbours on a line, the best by total profit.

    ``edge``: mean over standard deviation of a session, of the first ``share`` of the settings;
    ``likeness``: correlation of neighbours; ``tails``: Student's t with 4 degrees of freedom.
    """
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(20, spawn_key=(seed,))))
    shape = (sessions, variants)
    noise = stream.standard_t(4, shape) / np.sqrt(2.0) if tails else stream.standard_normal(shape)
    r = noise.copy()
    for k in range(1, variants):
        r[:, k] = likeness * r[:, k - 1] + np.sqrt(1.0 - likeness**2) * noise[:, k]
    r[:, : max(int(share * variants), 1)] += edge
    r *= 0.01
    return of_returns(r, tried=tried, **more)


def of_returns(r: Any, *, tried: int | None = None, **more: Any) -> Evidence:
    """Return session returns as evidence, the best by total profit."""
    n = r.shape[1]
    winner = int(np.argmax(r.sum(axis=0)))
    count = n if tried is None else tried
    return Evidence(r, 10 * np.arange(n, dtype=np.int64), winner, count, 252.0, **more)
