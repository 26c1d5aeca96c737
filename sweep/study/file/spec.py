"""The study file: every setting of a study, typed, checked, frozen and hashed.

`load_spec` reads it with the flags and overrides of the command line on top; a mistake
is an error that names file, line and key. What comes out holds no reference to how it
was written: a study's folder keeps `StudySpec.settings`, from which `from_settings`
makes an equal specification, wherever the study file is by then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sweep.errors import InputError, StudyFileError
from sweep.search.expressions import parse_objective_ref
from sweep.search.path_functionals import has_terms
from sweep.strategy.parameters import Override
from sweep.study.file.kinds import shown
from sweep.study.file.monte_carlo import MonteCarloSection
from sweep.study.file.ranges import parameter_range
from sweep.study.file.sections import (
    AccountSection,
    ComputeSection,
    CostsSection,
    DataSection,
    StudySection,
    ValidateSection,
    default_direction,
)
from sweep.study.file.toml import Document, section_settings
from sweep.units import Duration, Moment, format_moment

__all__ = [
    "SECTIONS",
    "AccountSection",
    "ComputeSection",
    "CostsSection",
    "DataSection",
    "Duration",
    "Moment",
    "MonteCarloSection",
    "StudySection",
    "StudySpec",
    "ValidateSection",
    "differences",
    "from_settings",
    "load_spec",
]

#: Sections with their dataclasses; ``[space]`` holds the strategy's parameters instead.
SECTIONS: Mapping[str, type[Any] | None] = {
    "study": StudySection,
    "data": DataSection,
    "space": None,
    "costs": CostsSection,
    "account": AccountSection,
    "monte_carlo": MonteCarloSection,
    "validate": ValidateSection,
    "compute": ComputeSection,
}


@dataclass(frozen=True)
class StudySpec:
    """All settings of a study.

    Attributes
    ----------
    study : StudySection
    data : DataSection
    space : tuple of (str, Override)
        Parameters whose range the study restates, in the order of the file.
    costs : CostsSection
    account : AccountSection
    monte_carlo : MonteCarloSection
    compute : ComputeSection
    validate : ValidateSection
    content : tuple of (str, str)
        Hashes of the small files that the settings name: user-written objectives, and a
        CSV of starting points.
    path : Path or None
        The study file; no part of what makes two specifications equal.
    """

    study: StudySection
    data: DataSection
    space: tuple[tuple[str, Override], ...]
    costs: CostsSection
    account: AccountSection
    monte_carlo: MonteCarloSection
    compute: ComputeSection
    validate: ValidateSection = field(default_factory=ValidateSection)
    content: tuple[tuple[str, str], ...] = ()
    path: Path | None = field(default=None, compare=False)

    def settings(self) -> dict[str, Any]:
        """Return every setting with its value as plain data, for JSON.

        Defaults are filled in and paths absolute; what is None or empty is left out.
        """
        table = {
            name: section_settings(getattr(self, name)) for name, cls in SECTIONS.items() if cls
        }
        ranges = parameter_range()
        table["space"] = {name: ranges.write(override) for name, override in self.space}
        return {**table, "content": dict(self.content)}

    def digest(self) -> str:
        """Return a hash of the settings that can change a result.

        Ticks and strategy have hashes of their own, of their content. Left out are paths, where
        tasks run, and when the study stops.
        """
        text = json.dumps(_relevant(self.settings()), sort_keys=True, allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# -- reading ---------------------------------------------------------------------------


def load_spec(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> StudySpec:
    """Read a study file.

    Parameters
    ----------
    path : str or Path
    overrides : sequence of str
        ``"section.key=value"``, put over the file and over ``flags``. The value is read
        as TOML, or taken as text where it is none. Paths start from the working
        directory; those in the file start from the file's folder.
    flags : Mapping, optional
        Values of command-line options by their names in `sweep.study.file.toml.FLAGS`, and
        ``param`` and ``policy`` with sequences of ``"name=value"``. None is no value.

    Raises
    ------
    StudyFileError
        For the first mistake; the text names file, line and key (or the flag), what was
        found, and what would be right.
    """
    path = Path(path)
    document = Document.read(path)
    document.apply_flags(flags or {})
    for override in overrides:
        document.apply_override(override)
    study = document.values.get("study")
    if isinstance(study, dict):
        study.setdefault("name", path.stem.lstrip(".") or "study")
    spec = _build(document)
    return replace(spec, path=path, content=_content(spec.study, document))


def from_settings(settings: Mapping[str, Any]) -> StudySpec:
    """Return the specification that `StudySpec.settings` described.

    Files that it names need not exist any more.

    Raises
    ------
    StudyFileError
        If the settings were written by a version with other keys, or by hand.
    """
    values = {name: value for name, value in settings.items() if name != "content"}
    spec = _build(Document(json.loads(json.dumps(values)), "the study's saved settings"))
    return replace(spec, content=tuple(sorted(settings.get("content", {}).items())))


def with_validate(spec: StudySpec, overrides: Sequence[str]) -> StudySpec:
    """Return a specification with other keys of ``[validate]``, which are no part of a study.

    Parameters
    ----------
    spec : StudySpec
    overrides : sequence of str
        ``"validate.key=value"``, as in `load_spec`.

    Raises
    ------
    StudyFileError
        If a key is of another section, unknown, or its value does not fit.
    """
    values = spec.settings().get("validate", {})
    document = Document({"validate": dict(values)}, "the study's saved settings")
    for override in overrides:
        if override.partition(".")[0].strip() != "validate":
            raise StudyFileError(
                f"--set {override}: validation takes keys of [validate] alone, as in "
                f"validate.scheme=cpcv; what else is set makes another study: see sweep run"
            )
        document.apply_override(override)
    return replace(spec, validate=document.section("validate", ValidateSection))


def _build(document: Document) -> StudySpec:
    document.refuse_unknown_sections(tuple(SECTIONS))
    study = document.section("study", StudySection)
    data = document.section("data", DataSection)
    ranges = parameter_range()
    space = {
        name: ranges(value, document.place("space", name))
        for name, value in document.values.get("space", {}).items()
    }
    costs = _costs(document)
    account = document.section("account", AccountSection)
    monte_carlo = _monte_carlo(document, study.seed)
    validate = document.section("validate", ValidateSection)
    compute = document.section("compute", ComputeSection)
    study = _with_directions(study, document)
    _check_together(study, data, document)
    return StudySpec(
        study, data, tuple(space.items()), costs, account, monte_carlo, compute, validate
    )


def _monte_carlo(document: Document, seed: int) -> MonteCarloSection:
    section = document.section("monte_carlo", MonteCarloSection)
    try:
        section.resampling(seed)
    except InputError as error:
        document.place("monte_carlo").fail(str(error).removeprefix("resampling: "))
    return section


def _costs(document: Document) -> CostsSection:
    table = document.values.get("costs", {})
    names = [f.name for f in fields(CostsSection) if f.name.startswith("commission")]
    costs = document.section("costs", CostsSection)
    if not any(name in table for name in names):
        document.place("costs").fail(
            "no commission is stated; add commission_per_unit = 0.0 (or commission_rate, or "
            "commission_per_fill) under [costs]: zero cost must be written out to be had"
        )
    return costs


def _with_directions(study: StudySection, document: Document) -> StudySection:
    if not study.directions:
        return replace(study, directions=tuple(map(default_direction, study.objective)))
    given, wanted = len(study.directions), len(study.objective)
    if given != wanted:
        document.place("study", "directions").fail(
            f"expected {wanted}, one for each objective, found {given}"
        )
    return study


def _check_together(study: StudySection, data: DataSection, document: Document) -> None:
    if study.pruner.name != "none":
        place = document.place("study", "pruner")
        if len(study.objective) > 1:
            place.fail("pruning needs a single objective; leave it out, or choose one objective")
        if data.slices == 1 and not any(map(has_terms, (*study.objective, *study.constraints))):
            place.fail("pruning decides after each slice, and data.slices is 1; set it to 10 or so")
    if data.begin is not None and data.end is not None and data.begin >= data.end:
        document.place("data", "to").fail(
            f"{format_moment(data.end)} is not after data.from, {format_moment(data.begin)}"
        )
    if data.synth is not None and data.source != "synth":
        document.place("data", "synth").fail(
            f'describes generated ticks, but data.source is "{data.source}"; '
            'set source = "synth", or leave synth out'
        )


def _content(study: StudySection, document: Document) -> tuple[tuple[str, str], ...]:
    hashes = {}
    for text in study.objective:
        reference = parse_objective_ref(text)
        if reference is not None:
            hashes[f"objective {_without_folder(text)}"] = _hash(
                reference.path, document.place("study", "objective").fail
            )
    if isinstance(study.start, str):
        hashes["start"] = _hash(study.start, document.place("study", "start").fail)
    return tuple(sorted(hashes.items()))


def _hash(path: str, fail: Callable[[str], Any]) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        fail(f"cannot be read: {error}")
        raise
    return hashlib.blake2b(content, digest_size=16).hexdigest()


# -- comparing -------------------------------------------------------------------------


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return how two studies' `StudySpec.settings` differ in what can change a result.

    Returns
    -------
    list of str
        A line for each key, such as ``"costs.slippage: 0.01 then, 0.02 now"``; empty
        where the digests are equal. Stop rules, names, paths and compute do not count.
    """
    then, now = _flat(_relevant(old)), _flat(_relevant(new))
    lines = []
    for path in sorted(then.keys() | now.keys()):
        if path in then and path in now and _same(then[path], now[path]):
            continue
        if path.startswith("content."):
            lines.append(f"{path.removeprefix('content.')}: the file's content is another now")
            continue
        before, after = (shown(side[path]) if path in side else "not set" for side in (then, now))
        lines.append(f"{path}: {before} then, {after} now")
    return lines


def _relevant(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that can change a result, free of where files lie."""
    kept: dict[str, Any] = {}
    for name, cls in SECTIONS.items():
        table = dict(settings.get(name, {}))
        if cls is not None:
            left_out = {
                f.metadata["key"] or f.name for f in fields(cls) if not f.metadata["result"]
            }
            table = {k: v for k, v in table.items() if k not in left_out}
        kept[name] = table
    study = kept["study"]
    if not any(has_terms(text) for text in _searched(study)):
        # Without an objective over paths they concern `sweep mc` alone.
        del kept["monte_carlo"]
    del kept["validate"]  # it concerns `sweep validate` alone
    study["objective"] = [_without_folder(text) for text in study.get("objective", [])]
    if isinstance(study.get("start"), str):
        study["start"] = "a file"
    return {**kept, "content": dict(settings.get("content", {}))}


def _searched(study: Mapping[str, Any]) -> list[str]:
    """Return the objectives and constraints of a study's settings."""
    return [*study.get("objective", []), *study.get("constraints", [])]


def _without_folder(objective: str) -> str:
    reference = parse_objective_ref(objective)
    return objective if reference is None else f"{Path(reference.path).name}:{reference.function}"


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{path}.")
        elif value != {}:
            flat[path] = value
    return flat


def _same(left: Any, right: Any) -> bool:
    # 1 == 1.0 == True in Python, yet they are three values in TOML.
    return json.dumps(left) == json.dumps(right)
