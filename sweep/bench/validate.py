"""What the statistics of a sweep cost: SPA, StepM, MCS and CSCV on whole matrices.

A matrix has 250 sessions and 1,000 or 10,000 variants with a common factor, a few of them
good; 1,000 resamples, 16 blocks. Everything runs on one core. Beside Sweep stand a version
in plain NumPy, as one would write it, and ``arch`` where it is installed, in what it
computes alike: the Reality Check (its ``SPA``, upper p-value; it does not studentise), an
unstudentised StepM, and the MCS. Before anything is timed the results are compared, on
the same resamples: counts of resamples, rejected variants, the order of elimination, every
logit.
"""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.bench.frame import BenchError, BenchResult, Figure, Settings, figure, ratios, timed
from sweep.errors import InputError
from sweep.schema import FloatArray2D
from sweep.stats.overfit import (
    Draws,
    cscv,
    given_draws,
    model_confidence_set,
    reality_check,
    session_draws,
    spa,
    stepm,
)

__all__ = ["run"]

_BLOCK_LENGTH, _SEED, _ALPHA = 5, 7, 0.1

#: Figures that have a bar; those of the larger matrix begin with ``large_``.
_OVER_ARCH = {
    "reality_check": ("reality_check_over_arch", "large_reality_check_over_arch"),
    "stepm": ("stepm_over_arch", "large_stepm_over_arch"),
    "mcs": ("mcs_over_arch", "large_mcs_over_arch"),
}

_Found = dict[str, Any]
_Arm = Callable[[], _Found]


@dataclass(frozen=True)
class _Problem:
    """A matrix of returns and the resamples that every arm takes."""

    returns: FloatArray2D
    indices: NDArray[np.int64]
    draws: Draws
    n_blocks: int

    @property
    def n_bootstrap(self) -> int:
        return len(self.indices)


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text.

    Raises
    ------
    InputError
        If it is given a source: it needs matrices of returns, not ticks.
    BenchError
        If arms disagree.
    """
    if settings.source not in (None, "synth"):
        raise InputError("validate needs returns of many variants and makes them: leave --source")
    with_arch = importlib.util.find_spec("arch") is not None
    figures: list[Figure] = []
    notes = ["seconds of one core; drawing resamples is in each figure but cscv's"]
    if with_arch:
        notes.append(
            "arch draws the resamples in its own stream; the others take the same ones. Its SPA "
            "has all three p-values at once, of which one is compared"
        )
    else:
        notes.append("arch skipped: it is not installed (pip install arch)")
    for size, variants in enumerate((30, 80) if settings.quick else (1_000, 10_000)):
        problem = _problem(variants, settings, with_arch)
        settings.say(f"{len(problem.returns)} sessions of {variants:,} variants")
        more, said = _measure(problem, size == 1, settings, with_arch)
        figures += more
        notes += said
    return BenchResult("validate", tuple(figures), tuple(notes))


def _problem(variants: int, settings: Settings, with_arch: bool) -> _Problem:
    sessions, n_bootstrap, n_blocks = (60, 50, 6) if settings.quick else (250, 1_000, 16)
    rng = np.random.default_rng(_SEED)
    returns = rng.normal(size=(sessions, variants)) + 0.5 * rng.normal(size=(sessions, 1))
    returns += np.where(np.arange(variants) % 20 == 0, 0.25, 0.0)
    if with_arch:
        indices = _arch_indices(sessions, n_bootstrap)
    else:
        indices = rng.integers(0, sessions, (n_bootstrap, sessions))
    draws = given_draws(indices, block_length=_BLOCK_LENGTH)
    return _Problem(returns, indices, draws, n_blocks)


def _measure(
    problem: _Problem, large: bool, settings: Settings, with_arch: bool
) -> tuple[list[Figure], list[str]]:
    prefix = "large_" if large else ""
    others = {"numpy": _numpy_arms(problem), "arch": _arch_arms(problem) if with_arch else {}}
    skipped: list[str] = []
    if large:
        # Each elimination goes over all variants and resamples again, 10,000 times.
        for peer, arms in others.items():
            if arms.pop("mcs", None):
                skipped.append(f"{prefix}mcs: {peer} skipped, it takes many minutes")
    figures: list[Figure] = []
    for name, arm in _sweep_arms(problem).items():
        found = arm()
        arms = {"sweep": arm} | {p: a[name] for p, a in others.items() if name in a}
        for peer, other in arms.items():
            if peer != "sweep":
                settings.say(f"{prefix}{name}: {peer}")
                _compare(f"{prefix}{name}", peer, found, other())
        seconds = timed(arms, settings.rounds(2 if large else 3, 1), clock=time.thread_time)
        for peer in arms:
            if peer == "sweep":
                continue
            over = _OVER_ARCH[name][large] if peer == "arch" else f"{prefix}{name}_over_numpy"
            figures.append(figure(over, "x", ratios(seconds[peer], seconds["sweep"]), settings))
        figures.append(figure(f"{prefix}{name}_seconds", "s", seconds["sweep"], settings))
    return figures, skipped


def _compare(name: str, peer: str, ours: _Found, theirs: _Found) -> None:
    """Refuse an arm that found something else."""
    for key, value in theirs.items():
        same = np.shape(ours[key]) == np.shape(value) and np.allclose(
            ours[key], value, rtol=1e-8, atol=1e-10
        )
        if not same:
            raise BenchError(
                f"{name}: {peer} has another {key} than Sweep: {np.asarray(value)!r:.300}, "
                f"not {np.asarray(ours[key])!r:.300}"
            )


# -- Sweep -----------------------------------------------------------------------------


def _sweep_arms(problem: _Problem) -> dict[str, _Arm]:
    returns, draws = problem.returns, problem.draws

    def draw() -> None:
        session_draws(
            len(returns), block_length=_BLOCK_LENGTH, n_bootstrap=problem.n_bootstrap, seed=_SEED
        )

    def run_reality_check() -> _Found:
        draw()
        found = reality_check(returns, draws)
        return {"exceeded": found.p.n_extreme}

    def run_spa() -> _Found:
        draw()
        found = spa(returns, draws)
        counts = [p.n_extreme for p in (found.lower, found.consistent, found.upper)]
        return {"statistic": found.statistic, "exceeded": counts}

    def run_spa_resampled() -> _Found:
        draw()
        return {"statistic": spa(returns, draws, errors="resampled").statistic}

    def run_stepm() -> _Found:
        draw()
        found = stepm(returns, draws, alpha=_ALPHA, studentised=False, recentring="consistent")
        return {"rejected": found.rejected}

    def run_mcs() -> _Found:
        draw()
        found = model_confidence_set(returns, draws, alpha=_ALPHA)
        return {"order": found.eliminated, "shares": found.shares}

    def run_cscv() -> _Found:
        found = cscv(returns, n_blocks=problem.n_blocks)
        return {"selected": found.selected, "logits": found.logits, "slope": found.slope}

    return {
        "reality_check": run_reality_check,
        "spa": run_spa,
        "spa_resampled": run_spa_resampled,
        "stepm": run_stepm,
        "mcs": run_mcs,
        "cscv": run_cscv,
    }


# -- plain NumPy -----------------------------------------------------------------------


def _numpy_arms(problem: _Problem) -> dict[str, _Arm]:
    returns, indices = problem.returns, problem.indices
    n, mean = len(returns), returns.mean(axis=0)

    def resampled() -> FloatArray2D:
        session_draws(n, block_length=_BLOCK_LENGTH, n_bootstrap=len(indices), seed=_SEED)
        centred = returns - mean
        return np.array([centred[row].mean(axis=0) for row in indices])

    def run_reality_check() -> _Found:
        return {"exceeded": int((resampled().max(axis=1) >= mean.max()).sum())}

    def run_spa() -> _Found:
        centred, q = returns - mean, 1.0 / _BLOCK_LENGTH
        variance = np.square(centred).mean(axis=0)
        for k in range(1, n):
            weight = (1.0 - k / n) * (1.0 - q) ** k + k / n * (1.0 - q) ** (n - k)
            variance += 2.0 * weight * (centred[k:] * centred[:-k]).sum(axis=0) / n
        omega = np.sqrt(variance)
        t = np.sqrt(n) * mean / omega
        z = np.sqrt(n) * resampled() / omega
        poor = t < -np.sqrt(2.0 * np.log(np.log(n)))
        statistic = max(t.max(), 0.0)
        counts = [
            int(((z + shift).max(axis=1).clip(0.0) >= statistic).sum())
            for shift in (np.minimum(t, 0.0), np.where(poor, t, 0.0), 0.0)
        ]
        return {"statistic": statistic, "exceeded": counts}

    def run_mcs() -> _Found:
        errors, losses = -resampled(), -mean
        left, order, most = np.arange(len(mean)), [], 0
        shares = np.ones(len(mean))
        while len(left) > 1:
            apart = errors[:, left] - errors[:, left].mean(axis=1)[:, None]
            sd = np.sqrt(np.square(apart).mean(axis=0))
            t = (losses[left] - losses[left].mean()) / sd
            worst = int(t.argmax())
            most = max(most, int(((apart / sd).max(axis=1) >= t[worst]).sum()))
            shares[left[worst]] = most / len(indices)
            order.append(int(left[worst]))
            left = np.delete(left, worst)
        return {"order": [*order, int(left[0])], "shares": shares}

    def run_cscv() -> _Found:
        blocks = problem.n_blocks
        parts = np.split(returns, np.arange(1, blocks) * (n // blocks))
        sums = np.array([p.sum(axis=0) for p in parts])
        squares = np.array([np.square(p).sum(axis=0) for p in parts])
        lengths = np.array([len(p) for p in parts])

        def perform(chosen: list[int]) -> NDArray[np.float64]:
            size = lengths[chosen].sum()
            total, square = sums[chosen].sum(axis=0), squares[chosen].sum(axis=0)
            variance = (square - total**2 / size) / (size - 1)
            return np.asarray(total / size / np.sqrt(variance))

        out: _Found = {"selected": [], "logits": []}
        for combination in itertools.combinations(range(blocks), blocks // 2):
            inside = perform(list(combination))
            outside = perform([k for k in range(blocks) if k not in combination])
            best = int(inside.argmax())
            rank = int((outside < outside[best]).sum()) + 1
            omega = rank / (len(mean) + 1)
            out["selected"].append(best)
            out["logits"].append(np.log(omega / (1.0 - omega)))
        return out

    return {
        "reality_check": run_reality_check,
        "spa": run_spa,
        "mcs": run_mcs,
        "cscv": run_cscv,
    }


# -- arch ------------------------------------------------------------------------------


def _arch_indices(sessions: int, n_bootstrap: int) -> NDArray[np.int64]:
    from arch.bootstrap import StationaryBootstrap

    rows = StationaryBootstrap(_BLOCK_LENGTH, np.arange(sessions), seed=_SEED)
    return np.array([data[0][0] for data in rows.bootstrap(n_bootstrap)], np.int64)


def _arch_arms(problem: _Problem) -> dict[str, _Arm]:
    from arch.bootstrap import MCS, SPA, StepM

    losses, benchmark = -problem.returns, np.zeros(len(problem.returns))
    options = {"block_size": _BLOCK_LENGTH, "reps": problem.n_bootstrap, "seed": _SEED}

    def run_reality_check() -> _Found:
        test = SPA(benchmark, losses, **options)
        test.compute()
        return {"exceeded": round(float(test.pvalues["upper"]) * problem.n_bootstrap)}

    def run_stepm() -> _Found:
        test = StepM(benchmark, losses, size=_ALPHA, **options)
        test.compute()
        return {"rejected": sorted(test.superior_models)}

    def run_mcs() -> _Found:
        test = MCS(losses, size=_ALPHA, method="max", **options)
        test.compute()
        shares = test.pvalues["Pvalue"]
        return {"order": list(shares.index), "shares": shares.sort_index().to_numpy()}

    return {"reality_check": run_reality_check, "stepm": run_stepm, "mcs": run_mcs}
