"""Pruning: Optuna's decisions, whatever the order of completion."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import StudyFileError
from sweep.search.outcomes import Outcome
from sweep.search.pruning import Pruning, make_pruning, silence
from sweep.text import PRUNERS

N_STEPS = 12
NAMES = [name for name in PRUNERS if name != "none"]
EAGER: dict[str, dict[str, Any]] = {
    "median": {"n_startup_trials": 2, "n_warmup_steps": 2},
    "successive_halving": {"min_resource": 1, "reduction_factor": 2},
    "hyperband": {"min_resource": 1, "reduction_factor": 3},
    "wilcoxon": {"p_threshold": 0.2, "n_startup_steps": 3},
}


def eager(name: str, direction: str = "maximize") -> Pruning:
    pruning = make_pruning(name, EAGER[name], directions=(direction,), n_steps=N_STEPS)
    assert pruning is not None
    return pruning


def paths(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Values of n trials after each slice: a level of its own and noise."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, 1)) + 0.5 * generator.normal(size=(n, N_STEPS))


def run(pruning: Pruning, number: int, values: Any, known: int) -> Outcome:
    """Evaluate a trial slice by slice; the result is not told yet."""
    for step, value in enumerate(values, 1):
        if pruning.should_prune(number, step, float(value), known=known):
            return Outcome("pruned", intermediate=tuple(values[:step].tolist()))
    return Outcome("complete", (float(values.mean()),), (), tuple(values.tolist()))


def length(outcome: Outcome) -> int:
    return len(outcome.intermediate)


OPTUNA: dict[str, Any] = {
    "median": lambda: optuna.pruners.MedianPruner(**EAGER["median"]),
    "successive_halving": lambda: optuna.pruners.SuccessiveHalvingPruner(
        **EAGER["successive_halving"]
    ),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(**EAGER["hyperband"], max_resource=N_STEPS),
    "wilcoxon": lambda: optuna.pruners.WilcoxonPruner(**EAGER["wilcoxon"]),
}


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", NAMES)
def test_one_trial_at_a_time_is_what_optuna_decides(name: str, direction: str) -> None:
    values = paths(60)
    pruning = eager(name, direction)
    ours = []
    for number, path in enumerate(values):
        outcome = run(pruning, number, path, known=number)
        pruning.add(number, outcome)
        ours.append(length(outcome))
    with silence():
        pruner = OPTUNA[name]()
    study = optuna.create_study(
        directions=[optuna.study.StudyDirection[direction.upper()]],
        pruner=pruner,
        study_name="sweep",
    )
    theirs = []
    for path in values:
        trial = study.ask()
        for step, value in enumerate(path, 1):
            trial.report(value, step)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, path.mean())
        theirs.append(step)
    assert ours == theirs
    assert min(ours) < N_STEPS
    assert max(ours) == N_STEPS


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_decisions_do_not_depend_on_what_else_is_finished(name: str, seed: int) -> None:
    """Slices of the trials in the window interleaved at random, against one by one."""
    window, values = 5, paths(30, 3)

    def one_by_one() -> list[Outcome]:
        pruning = eager(name)
        outcomes: list[Outcome] = []
        for number, path in enumerate(values):
            outcomes.append(run(pruning, number, path, known=max(0, number - window + 1)))
            pruning.add(number, outcomes[-1])
        return outcomes

    def interleaved() -> list[Outcome]:
        generator = np.random.default_rng(seed)
        pruning = eager(name)
        outcomes: dict[int, Outcome] = {}
        steps: dict[int, int] = {}
        told = 0
        while told < len(values):
            for number in range(told, min(told + window, len(values))):
                steps.setdefault(number, 0)
            busy = [n for n in steps if n not in outcomes]
            if busy:
                number = int(generator.choice(busy))
                steps[number] += 1
                path, step = values[number], steps[number]
                known = max(0, number - window + 1)
                if pruning.should_prune(number, step, float(path[step - 1]), known=known):
                    outcomes[number] = Outcome("pruned", intermediate=tuple(path[:step].tolist()))
                elif step == N_STEPS:
                    outcomes[number] = Outcome(
                        "complete", (float(path.mean()),), (), tuple(path.tolist())
                    )
            while told in outcomes:
                pruning.add(told, outcomes[told])
                told += 1
                if generator.random() < 0.1:
                    pruning = pickle.loads(pickle.dumps(pruning))
        return [outcomes[n] for n in range(len(values))]

    assert interleaved() == one_by_one()


@pytest.mark.parametrize("name", NAMES)
def test_trials_beyond_known_do_not_count_in_whatever_order_they_were_told(name: str) -> None:
    values = paths(40, 1)
    few, all_told = eager(name), eager(name)
    order = np.random.default_rng(2).permutation(39)
    for number in order.tolist():
        outcome = Outcome("complete", (float(values[number].mean()),), (), tuple(values[number]))
        all_told.add(number, outcome)
    for number in range(20):
        outcome = Outcome("complete", (float(values[number].mean()),), (), tuple(values[number]))
        few.add(number, outcome)
    for candidate in values:
        a = run(few, 39, candidate, known=20)
        assert length(a) == length(run(all_told, 39, candidate, known=20))


@pytest.mark.parametrize("name", NAMES)
def test_asking_again_about_a_slice_gives_the_same_answer(name: str) -> None:
    values = paths(30, 4)
    pruning, again = eager(name), eager(name)
    for number, path in enumerate(values):
        once = run(pruning, number, path, known=number)
        for step in (3, 5, length(once)):
            run(again, number, path[:step], known=number)
        assert run(again, number, path, known=number) == once
        pruning.add(number, once)
        again.add(number, once)


@pytest.mark.parametrize("name", NAMES)
def test_an_undefined_value_is_no_ground_to_stop(name: str) -> None:
    pruning = eager(name)
    for number, path in enumerate(paths(20, 5)):
        pruning.add(number, Outcome("complete", (float(path.mean()),), (), tuple(path.tolist())))
    for step in range(1, N_STEPS + 1):
        assert not pruning.should_prune(20, step, math.nan, known=20)


def test_failed_and_invalid_trials_are_no_yardstick() -> None:
    pruning = eager("median")
    for number in range(5):
        pruning.add(number, Outcome("failed"))
        pruning.add(number + 5, Outcome("invalid"))
        pruning.add(number + 10, Outcome("infeasible", (math.nan,), (), (9.0,) * N_STEPS))
    assert not any(pruning.should_prune(15, k, -9.0, known=15) for k in range(1, N_STEPS))


def test_wilcoxon_compares_with_the_best_feasible_trial() -> None:
    pruning = eager("wilcoxon")
    noise = np.linspace(0, 0.1, N_STEPS)
    pruning.add(0, Outcome("infeasible", (9.0,), (1.0,), tuple((9 + noise).tolist())))
    pruning.add(1, Outcome("complete", (1.0,), (-1.0,), tuple((1 + noise).tolist())))
    better = run(pruning, 2, 2 + noise[::-1], known=2)
    worse = run(pruning, 3, noise[::-1], known=2)
    assert better.state == "complete"
    assert worse.state == "pruned"


def test_defaults_do_not_stop_before_a_quarter_of_the_slices() -> None:
    for name in NAMES:
        pruning = make_pruning(name, directions=("maximize",), n_steps=20)
        assert pruning is not None
        for number in range(40):
            values = (float(number),) * 20
            pruning.add(number, Outcome("complete", values[:1], (), values))
        hopeless = [pruning.should_prune(40, k, -5.0 - k, known=40) for k in range(1, 21)]
        assert not any(hopeless[:4]), name
        assert any(hopeless), name


def test_none_means_no_pruning() -> None:
    assert make_pruning("none", directions=("maximize", "minimize")) is None


@pytest.mark.parametrize(
    ("name", "options", "directions", "message"),
    [
        ("medain", {}, 1, "no pruner 'medain'; did you mean \"median\".*successive_halving"),
        ("median", {"startup": 3}, 1, "median has no option 'startup'.*n_startup_trials"),
        ("none", {"n": 3}, 1, "none has no option 'n'; it takes none"),
        ("median", {"n_warmup_steps": 2.5}, 1, "n_warmup_steps must be int, found 2.5"),
        ("median", {"interval_steps": 0}, 1, "median: Pruning interval steps must be at least"),
        ("wilcoxon", {"p_threshold": 2}, 1, "wilcoxon: p_threshold must be between 0 and 1"),
        ("successive_halving", {"min_resource": 0}, 1, "halving: .*min_resource"),
        ("successive_halving", {"reduction_factor": 1}, 1, "halving: .*reduction_factor"),
        ("hyperband", {}, 1, "hyperband needs max_resource, the number of slices"),
        ("hyperband", {"max_resource": 3, "min_resource": 4}, 1, "1 <= min_resource <= max"),
        ("median", {}, 2, "median compares one value, and this study has 2 objectives"),
    ],
)
def test_wrong_settings_are_said_with_what_is_right(
    name: str, options: dict[str, Any], directions: int, message: str
) -> None:
    with pytest.raises(StudyFileError, match=message):
        make_pruning(name, options, directions=("maximize",) * directions)


def test_a_trial_is_told_once() -> None:
    pruning = eager("median")
    pruning.add(3, Outcome("pruned", intermediate=(1.0,)))
    with pytest.raises(ValueError, match="trial 3 was told before"):
        pruning.add(3, Outcome("pruned", intermediate=(1.0,)))
