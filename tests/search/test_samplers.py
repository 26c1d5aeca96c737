"""Samplers by name: their options, and what is said of a wrong one."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import numpy as np
import pytest

from sweep.errors import StudyFileError
from sweep.search.optuna_sampler import Outcome, Sampler
from sweep.search.samplers import CROSSOVERS, MODEL_SAMPLERS, build_sampler, sampler_options
from tests.trial_helpers import BOWL, MIXED


def build(name: str, n_objectives: int = 1, conditional: bool = False, **options: Any) -> Any:
    return build_sampler(name, options, seed=1, n_objectives=n_objectives, conditional=conditional)


def test_options_are_the_plain_arguments_of_optuna_s_constructors() -> None:
    assert sampler_options("tpe")["n_startup_trials"] == (int,)
    assert sampler_options("tpe")["multivariate"] == (bool,)
    assert sampler_options("cmaes")["sigma0"] == (int, float)
    assert sampler_options("cmaes")["popsize"] == (int,)
    assert sampler_options("nsga2")["crossover"] == (str,)
    assert "deterministic_objective" in sampler_options("gp")
    for name in MODEL_SAMPLERS:
        hidden = {"seed", "constraints_func", "independent_sampler", "warn_independent_sampling"}
        assert not hidden & sampler_options(name).keys()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tpee", {}, "no sampler 'tpee' with a model; did you mean \"tpe\".*There are tpe, cmaes"),
        ("grid", {}, "no sampler 'grid' with a model"),
        ("tpe", {"n_startup": 3}, "tpe has no option 'n_startup'.*n_startup_trials"),
        ("tpe", {"seed": 3}, "tpe has no option 'seed'"),
        ("tpe", {"multivariate": 1}, "tpe: multivariate must be bool, found 1"),
        ("tpe", {"n_startup_trials": True}, "n_startup_trials must be int, found True"),
        ("tpe", {"n_startup_trials": "9"}, "n_startup_trials must be int, found '9'"),
        ("tpe", {"multivariate": False, "group": True}, "tpe: .*group.* option can only"),
        ("nsga2", {"population_size": 1}, "nsga2: `population_size` must be greater"),
        ("nsga2", {"crossover": "sbs"}, "no crossover 'sbs'; did you mean \"sbx\""),
        ("cmaes", {"use_separable_cma": True, "with_margin": True}, "cmaes: .*with_margin"),
    ],
)
def test_a_wrong_name_or_option_is_said_with_what_is_right(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyFileError, match=message):
        build(name, **options)


def test_cmaes_takes_a_single_objective() -> None:
    with pytest.raises(StudyFileError, match=r"cmaes takes a single objective, .* has 2"):
        build("cmaes", n_objectives=2)


@pytest.mark.parametrize(("name", "package"), [("gp", "torch"), ("cmaes", "cmaes")])
def test_a_missing_package_is_said_with_how_to_install_it(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    with pytest.raises(StudyFileError, match=rf"{name} needs the package {package}: pip install"):
        build(name)


@pytest.mark.parametrize("crossover", sorted(CROSSOVERS))
def test_every_crossover_works(crossover: str) -> None:
    sampler = Sampler(BOWL, "nsga2", {"population_size": 6, "crossover": crossover}, 1)
    for _ in range(40):
        proposal = sampler.ask()
        sampler.tell(proposal.number, Outcome("complete", (float(proposal.point.sum()),)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tpe", {"multivariate": False}),
        ("tpe", {"multivariate": True, "group": False, "n_ei_candidates": 8}),
        ("tpe", {"constant_liar": False, "prior_weight": 2}),
        ("cmaes", {"with_margin": True, "popsize": 5}),
        ("cmaes", {"use_separable_cma": True, "n_startup_trials": 3}),
        ("cmaes", {"lr_adapt": True, "consider_pruned_trials": True, "sigma0": 0.1}),
        ("nsga2", {"mutation_prob": 0.3, "population_size": 5}),
    ],
)
def test_options_reach_the_sampler_without_warnings(name: str, options: dict[str, Any]) -> None:
    sampler = Sampler(MIXED, name, options, 1)
    default = Sampler(MIXED, name, {}, 1)
    differs = False
    for _ in range(40):
        proposals = [s.ask() for s in (sampler, default)]
        differs |= not np.array_equal(proposals[0].point, proposals[1].point)
        for s, proposal in zip((sampler, default), proposals, strict=True):
            s.tell(proposal.number, Outcome("complete", (float(proposal.point[0]),)))
    assert differs


def test_samplers_leave_the_global_generators_alone() -> None:
    np.random.seed(3)  # noqa: NPY002 the global generator is the point
    before = repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    for name in ("tpe", "cmaes", "nsga2"):
        sampler = Sampler(BOWL, name, {}, 1)
        for _ in range(20):
            sampler.tell(sampler.ask().number, Outcome("complete", (1.0,)))
    assert (repr(np.random.get_state()), random.getstate()) == before  # noqa: NPY002
