"""Optuna's samplers by name, with the options that a study file may give them."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from sweep.errors import StudyFileError
from sweep.search.pruning import checked_options, silence
from sweep.text import known_names

__all__ = ["CROSSOVERS", "MODEL_SAMPLERS", "build_sampler", "sampler_options"]

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: First word of the spawn key of the samplers' stream.
SAMPLER_STREAM = 0x4F505455


@dataclass(frozen=True)
class _Kind:
    build: Callable[..., BaseSampler]
    several_objectives: bool
    package: str  # what Optuna imports on use, and the extra that brings it
    extra: str


MODEL_SAMPLERS: Mapping[str, _Kind] = {
    "tpe": _Kind(optuna.samplers.TPESampler, True, "optuna", ""),
    "cmaes": _Kind(optuna.samplers.CmaEsSampler, False, "cmaes", "cmaes"),
    "gp": _Kind(optuna.samplers.GPSampler, True, "torch", "gp"),
    "nsga2": _Kind(optuna.samplers.NSGAIISampler, True, "optuna", ""),
}

CROSSOVERS: Mapping[str, Callable[[], Any]] = {
    "uniform": optuna.samplers.nsgaii.UniformCrossover,
    "blxalpha": optuna.samplers.nsgaii.BLXAlphaCrossover,
    "sbx": optuna.samplers.nsgaii.SBXCrossover,
    "vsbx": optuna.samplers.nsgaii.VSBXCrossover,
    "spx": optuna.samplers.nsgaii.SPXCrossover,
    "undx": optuna.samplers.nsgaii.UNDXCrossover,
}

#: Set here, or of no use where warnings are silent.
_OURS = ("seed", "warn_independent_sampling")


def sampler_options(name: str) -> dict[str, tuple[type, ...]]:
    """Return the options that a study file may give to a sampler, with their types.

    These are the arguments of Optuna's constructor that a number, a text or a truth value
    can express; ``crossover`` of ``nsga2`` is one by its name in `CROSSOVERS`.

    Parameters
    ----------
    name : str
        One of `MODEL_SAMPLERS`.

    Returns
    -------
    dict of str to tuple of type
    """
    plain: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "str": (str,),
        "None": (),
    }
    options: dict[str, tuple[type, ...]] = {}
    signature = inspect.signature(MODEL_SAMPLERS[name].build)
    for argument in signature.parameters.values():
        words = [word.strip() for word in str(argument.annotation).split("|")]
        if argument.name not in _OURS and all(word in plain for word in words):
            options[argument.name] = tuple(t for word in words for t in plain[word])
    if name == "nsga2":
        options["crossover"] = (str,)
    return options


def build_sampler(
    name: str, options: Mapping[str, Any], *, seed: int, n_objectives: int, conditional: bool
) -> BaseSampler:
    """Return Optuna's sampler of that name, seeded.

    Parameters
    ----------
    name : str
        One of `MODEL_SAMPLERS`.
    options : mapping
        See `sampler_options`.
    seed : int
        Of the study.
    n_objectives : int
    conditional : bool
        Whether the space has conditional parameters.

    Returns
    -------
    BaseSampler

    Raises
    ------
    StudyFileError
        For an unknown sampler or option, a bad value, a missing package, or several
        objectives where the sampler takes one.
    """
    if name not in MODEL_SAMPLERS:
        raise StudyFileError(
            f"study.sampler: there is no sampler {name!r} with a model"
            f"{known_names(name, MODEL_SAMPLERS)}"
        )
    kind = MODEL_SAMPLERS[name]
    where = f"study.sampler: {name}"
    options = checked_options(where, options, sampler_options(name))
    if importlib.util.find_spec(kind.package) is None:
        raise StudyFileError(
            f"{where} needs the package {kind.package}: pip install -e '.[{kind.extra}]'"
        )
    if n_objectives > 1 and not kind.several_objectives:
        raise StudyFileError(
            f"{where} takes a single objective, and this study has {n_objectives}; "
            "use nsga2, tpe or gp"
        )
    if name == "tpe":
        several = options.get("multivariate", n_objectives == 1)
        defaults = {"multivariate": several, "group": several and conditional}
        options = {**defaults, "constant_liar": True, **options}
    if "crossover" in options:
        options["crossover"] = _crossover(where, options["crossover"])
    if name in ("cmaes", "gp"):
        options["warn_independent_sampling"] = False
    sequence = np.random.SeedSequence(seed, spawn_key=(SAMPLER_STREAM,))
    try:
        with silence():
            return kind.build(seed=int(sequence.generate_state(1)[0]), **options)
    except (TypeError, ValueError) as error:
        raise StudyFileError(f"{where}: {error}") from None


def _crossover(where: str, name: str) -> Any:
    if name not in CROSSOVERS:
        raise StudyFileError(
            f"{where}: there is no crossover {name!r}{known_names(name, CROSSOVERS)}"
        )
    with silence():
        return CROSSOVERS[name]()
