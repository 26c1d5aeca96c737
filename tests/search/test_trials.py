"""Samplers: deterministic, resumable to the bit, and steered away from what fails."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from sweep.errors import SpaceError, StudyMismatchError
from sweep.search import designs
from sweep.search.optuna_sampler import Sampler
from sweep.search.outcomes import Outcome, Proposal, pareto_front
from sweep.search.pruning import make_pruning
from sweep.search.samplers import MODEL_SAMPLERS
from sweep.strategy import Space, real
from sweep.strategy.space import SearchSpace
from tests.trial_helpers import BOWL, MIXED, NUMBERS, events, outcome, play, score

TORCH = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("torch"), reason="gp needs torch"
)
NAMES = [
    "tpe",
    "cmaes",
    "nsga2",
    pytest.param("gp", marks=TORCH),
]
#: Small populations, so that several generations pass in a short test.
OPTIONS: dict[str, dict[str, object]] = {
    "tpe": {},
    "cmaes": {"popsize": 6},
    "nsga2": {"population_size": 8},
    "gp": {"n_startup_trials": 3},
}
LENGTH = {"tpe": 45, "cmaes": 80, "nsga2": 80, "gp": 16}
WINDOW = 6


def space_of(name: str) -> SearchSpace:
    """The space of every kind of parameter; a small one for GP, which takes seconds a point."""
    return NUMBERS if name == "gp" else MIXED


def fresh(name: str, *, seed: int = 7, n_objectives: int = 1, **more: Any) -> Sampler:
    directions = ("maximize", "minimize")[:n_objectives]
    sampler = Sampler(space_of(name), name, OPTIONS[name], seed, directions, **more)
    sampler.enqueue({})
    sampler.enqueue({"fast": 10.0, "threshold": 0.2})
    return sampler


@pytest.mark.parametrize("n_constraints", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_restored_sampler_goes_on_to_the_bit(name: str, n_constraints: int) -> None:
    """Wherever the cut: before the first ask, between a tell and the ask after it."""

    def make(proposal: Proposal) -> Outcome:
        return outcome(proposal, 1, n_constraints)

    moves = list(events(LENGTH[name], WINDOW))
    whole = play(fresh(name, n_constraints=n_constraints), moves, make)[1]
    cuts = np.random.default_rng(5).choice(len(moves), size=5 if name != "gp" else 1)
    for cut in [WINDOW + 1, *cuts.tolist()]:
        waiting: dict[int, Proposal] = {}
        sampler, before = play(fresh(name, n_constraints=n_constraints), moves[:cut], make, waiting)
        again = Sampler.restore(sampler.snapshot(), space_of(name))
        assert before + play(again, moves[cut:], make, waiting)[1] == whole


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_restored_sampler_goes_on_to_the_bit_with_two_objectives(name: str) -> None:
    def make(proposal: Proposal) -> Outcome:
        return outcome(proposal, 2, 1)

    moves = list(events(LENGTH[name], WINDOW))
    whole = play(fresh(name, n_objectives=2, n_constraints=1), moves, make)[1]
    for cut in (9, len(moves) // 2, len(moves) - 8):
        waiting: dict[int, Proposal] = {}
        sampler, before = play(
            fresh(name, n_objectives=2, n_constraints=1), moves[:cut], make, waiting
        )
        again = Sampler.restore(sampler.snapshot(), MIXED)
        assert before + play(again, moves[cut:], make, waiting)[1] == whole


def test_a_chain_of_restores_equals_the_unbroken_run() -> None:
    moves = list(events(40, WINDOW))
    whole = play(fresh("tpe"), moves, outcome)[1]
    sampler, proposed = fresh("tpe"), []
    waiting: dict[int, Proposal] = {}
    for move in moves:
        sampler = Sampler.restore(sampler.snapshot(), MIXED)
        proposed += play(sampler, [move], outcome, waiting)[1]
    assert proposed == whole


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_proposes_other_points(name: str) -> None:
    moves = list(events(12, WINDOW))
    same = [play(fresh(name), moves, outcome)[1] for _ in range(2)]
    assert same[0] == same[1]
    assert play(fresh(name, seed=8), moves, outcome)[1] != same[0]


_CHILD = """
import hashlib, sys
from tests.search.test_trials import OPTIONS, LENGTH, WINDOW, fresh
from tests.trial_helpers import events, outcome, play
proposed = play(fresh(sys.argv[1]), list(events(LENGTH[sys.argv[1]], WINDOW)), outcome)[1]
print(hash("sweep"), hashlib.sha256(repr(proposed).encode()).hexdigest())
"""


@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2"])
def test_proposals_do_not_depend_on_the_process(name: str) -> None:
    here = play(fresh(name), list(events(LENGTH[name], WINDOW)), outcome)[1]
    expected = hashlib.sha256(repr(here).encode()).hexdigest()
    hashes = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, name],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        string_hash, digest = done.stdout.split()
        hashes.add(string_hash)
        assert digest == expected
    assert len(hashes) == 2, "string hashes must differ for this test to mean anything"


@pytest.mark.parametrize("name", NAMES)
def test_proposals_are_canonical_rows_of_the_space(name: str) -> None:
    space = space_of(name)
    proposed = play(fresh(name), list(events(LENGTH[name], WINDOW)), outcome)[1]
    for _, row_bytes, valid in proposed:
        row = np.frombuffer(row_bytes)
        assert np.array_equal(space.canonical(row), row)
        assert space.is_valid(row) == valid
        for i, parameter in enumerate(space.parameters):
            if parameter.count is not None:
                assert row[i] in parameter.all_levels()
            else:
                assert parameter.low <= row[i] <= parameter.high
    # Several values of each, so that the above is not vacuous.
    rows = np.array([np.frombuffer(row) for _, row, _ in proposed])
    searched = [p.name != "contract" for p in space.parameters]
    assert [len(np.unique(column)) > 1 for column in rows.T] == searched


def test_logarithmic_levels_are_first_drawn_evenly_by_logarithm() -> None:
    """The random start of TPE: each decade of 10..1000 by tens gets its share.

    Shares of Optuna's own log-uniform integers 1..100; within 5 standard deviations.
    """
    n = 600
    sampler = Sampler(MIXED, "tpe", {"n_startup_trials": n, "constant_liar": False}, 3)
    i = MIXED.index("lots")
    column = np.array([sampler.ask().point[i] for _ in range(n)])
    p = math.log(9.5 / 0.5) / math.log(100.5 / 0.5)
    assert abs((column < 95).sum() - n * p) < 5 * math.sqrt(n * p * (1 - p))


def test_enqueued_points_come_first_and_in_order() -> None:
    sampler = Sampler(MIXED, "tpe", seed=1)
    points: list[dict[str, Any]] = [
        {},
        {"fast": 6.5, "threshold": 0.6, "lots": 990, "size": 15.5, "every": 60},
        {"stop": True, "mode": "trend", "distance": 3.25, "trail": True},
        {"stop": True, "mode": "range"},
    ]
    for point in points:
        sampler.enqueue(point)
    for number, point in enumerate(points):
        proposal = sampler.ask()
        assert proposal.number == number
        assert np.array_equal(proposal.point, MIXED.encode(point))
    with pytest.raises(SpaceError, match="lies outside"):
        sampler.enqueue({"fast": 1.0})


def test_invalid_proposals_are_said_to_be_invalid() -> None:
    sampler = Sampler(NUMBERS, "tpe", seed=1)
    sampler.enqueue({"fast": 100.0, "slow": 50.0})
    assert not sampler.ask().valid


class Narrow(Space):
    """One part in eleven is valid, away from the middle."""

    x: float = real(0, 1, default=0.8)
    y: float = real(0, 1, default=0.8)

    def valid(self) -> bool:
        """Whether both lie in the upper corner."""
        return self.x > 0.7 and self.y > 0.7


NARROW = SearchSpace.of(Narrow)


@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2", pytest.param("gp", marks=TORCH)])
def test_a_sampler_learns_to_keep_to_a_small_valid_region(name: str) -> None:
    """Of the last proposals over a third are valid; of random ones nine in a hundred are."""
    sampler = Sampler(NARROW, name, OPTIONS[name], seed=2)
    sampler.enqueue({})
    n = 40 if name == "gp" else 400
    valid = []
    for _ in range(n):
        proposal = sampler.ask()
        valid.append(proposal.valid)
        state = "complete" if proposal.valid else "invalid"
        values = (float(proposal.point.sum()),) if proposal.valid else None
        sampler.tell(proposal.number, Outcome(state, values))
    assert np.mean(valid[n // 2 :]) > 0.35


@pytest.mark.parametrize("name", ["tpe", "cmaes", "nsga2", pytest.param("gp", marks=TORCH)])
def test_a_sampler_with_constraints_finds_the_feasible_side(name: str) -> None:
    """The best lies at (-5, -5) without the constraint x >= 1, and on x = 1 with it."""
    sampler = Sampler(BOWL, name, OPTIONS[name], 4, ("minimize",), n_constraints=1)
    best = math.inf
    for _ in range(25 if name == "gp" else 250):
        proposal = sampler.ask()
        x, y = proposal.point.tolist()
        violation = 1.0 - x
        value = (x + 5) ** 2 + (y + 5) ** 2
        state = "infeasible" if violation > 0 else "complete"
        if violation <= 0:
            best = min(best, value)
        sampler.tell(proposal.number, Outcome(state, (value,), (violation,)))
    assert best < 38  # 36 is the optimum


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_searches_better_than_chance(name: str) -> None:
    """The median of random points, as the negative control, is far behind."""
    n = 25 if name == "gp" else 200
    sampler = Sampler(BOWL, name, OPTIONS[name], 6, ("minimize",))
    values = []
    for _ in range(n):
        proposal = sampler.ask()
        values.append(float((proposal.point**2).sum()))
        sampler.tell(proposal.number, Outcome("complete", (values[-1],)))
    assert min(values) < 0.3
    chance = (designs.random(BOWL, 6).points(0, 300) ** 2).sum(axis=1)
    assert np.median(values[n // 2 :]) < 5.0 < 12.0 < np.median(chance)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", ["failed", "invalid", "infeasible"])
def test_a_study_in_which_nothing_succeeds_goes_on(name: str, state: str) -> None:
    sampler = Sampler(BOWL, name, OPTIONS[name], 6)
    seen = set()
    for _ in range(60):
        proposal = sampler.ask()
        seen.add(proposal.point.tobytes())
        sampler.tell(proposal.number, Outcome(state, (math.nan,)))
    assert len(seen) > 40


@pytest.mark.parametrize("name", NAMES)
def test_infinite_and_undefined_values_never_reach_the_sampler(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    original = optuna.Study.tell

    def tell(study: optuna.Study, trial: optuna.Trial, values: Any = None, **more: Any) -> None:
        told.extend(values or [])
        told.extend(trial.constraints.values())
        original(study, trial, values, **more)

    monkeypatch.setattr(optuna.Study, "tell", tell)
    sampler = Sampler(BOWL, name, OPTIONS[name], 6, n_constraints=1)
    odd = (math.nan, math.inf, -math.inf, 1.0)
    for k in range(16):
        proposal = sampler.ask()
        sampler.tell(
            proposal.number, Outcome("complete", (odd[k % 4],), (-odd[k // 4],), (odd[k % 4],))
        )
    assert told
    assert np.all(np.isfinite(told))


def test_tell_refuses_what_does_not_fit() -> None:
    sampler = Sampler(BOWL, "tpe", seed=1, n_constraints=1)
    sampler.ask()
    with pytest.raises(ValueError, match="trial 1 was not asked"):
        sampler.tell(1, Outcome("failed"))
    with pytest.raises(ValueError, match=r"state must be one of complete, .* found 'done'"):
        sampler.tell(0, Outcome("done"))
    with pytest.raises(ValueError, match="has 1 values and 0 constraints; this study has 1 and 1"):
        sampler.tell(0, Outcome("complete", (1.0,)))
    sampler.tell(0, Outcome("complete", (1.0,), (0.0,)))
    with pytest.raises(ValueError, match="told before"):
        sampler.tell(0, Outcome("failed"))


def test_a_snapshot_of_another_space_version_or_file_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = Sampler(BOWL, "tpe", seed=1).snapshot()
    with pytest.raises(StudyMismatchError, match=r"made by optuna .* for x, y; this is"):
        Sampler.restore(data, NUMBERS)
    with pytest.raises(StudyMismatchError, match="snapshot is damaged"):
        Sampler.restore(data[:-40], BOWL)
    with pytest.raises(StudyMismatchError, match="snapshot is damaged"):
        Sampler.restore(b"", BOWL)
    monkeypatch.setattr(optuna, "__version__", "4.0.0")
    with pytest.raises(StudyMismatchError, match=r"this is optuna 4\.0\.0"):
        Sampler.restore(data, BOWL)


def test_pruning_decisions_survive_a_restore() -> None:
    def prepared() -> Sampler:
        pruning = make_pruning("median", {"n_startup_trials": 3}, directions=("maximize",))
        sampler = Sampler(BOWL, "tpe", seed=1, pruner=pruning)
        for k in range(8):
            sampler.ask()
            sampler.tell(k, Outcome("complete", (float(k),), (), (float(k),) * 8))
        sampler.ask()
        for step in range(1, 5):
            assert not sampler.should_prune(8, step, 2.0, known=8)
        return sampler

    sampler = prepared()
    again = Sampler.restore(sampler.snapshot(), BOWL)
    assert sampler.should_prune(8, 5, 2.0, known=8)
    assert again.should_prune(8, 5, 2.0, known=8)
    assert not Sampler(BOWL, "tpe", seed=1).should_prune(0, 9, -1.0, known=0)


def test_pruned_trials_teach_tpe() -> None:
    """Stopped trials with low values push the proposals away, as complete ones do."""
    moves = list(events(60, 4))

    def stopped(proposal: Proposal) -> Outcome:
        value = -float((proposal.point**2).sum())
        if value < -4:
            return Outcome("pruned", intermediate=(value,))
        return Outcome("complete", (value,), (), (value,))

    proposed = play(Sampler(BOWL, "tpe", seed=5), moves, stopped)[1]
    rows = np.array([np.frombuffer(row) for _, row, _ in proposed])
    distance = (rows**2).sum(axis=1)
    assert np.median(distance[40:]) < np.median(distance[:10]) / 2


def test_names_of_samplers_are_those_with_a_model() -> None:
    assert list(MODEL_SAMPLERS) == ["tpe", "cmaes", "gp", "nsga2"]
    assert score(Proposal(0, np.array([math.exp(3), math.exp(5), 0.0]), True)) == 0.0


# -- Pareto front ----------------------------------------------------------------------


def test_pareto_front_by_hand() -> None:
    values = np.array([[3, 1], [2, 2], [1, 3], [2, 1], [3, 1], [np.nan, 9], [9, 9]], dtype=float)
    feasible = np.array([True] * 6 + [False])
    front = pareto_front(values, ("maximize", "maximize"), feasible)
    assert front.tolist() == [0, 1, 2, 4]
    assert pareto_front(values, ("maximize", "maximize")).tolist() == [6]
    assert pareto_front(values[:5], ("maximize", "minimize")).tolist() == [0, 4]
    assert pareto_front(np.empty((0, 2)), ("maximize", "minimize")).tolist() == []


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pareto_front_is_what_pairwise_comparison_finds(k: int) -> None:
    values = np.random.default_rng(3).integers(0, 6, size=(80, k)).astype(float)
    directions = ("minimize", "maximize", "minimize")[:k]
    losses = values * np.array([1.0, -1.0, 1.0][:k])
    dominated = [any((b <= a).all() and (b < a).any() for b in losses) for a in losses]
    expected = np.flatnonzero(~np.array(dominated)).tolist()
    assert pareto_front(values, directions).tolist() == expected
