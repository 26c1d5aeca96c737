"""The documentation names what there is, all of it, and nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click
import pytest

from sweep.cli.main import cli
from sweep.search.pruning import OPTIONS
from sweep.search.samplers import MODEL_SAMPLERS, sampler_options
from sweep.stats.metrics import METRICS
from sweep.strategy.declare import ARGUMENTS
from sweep.strategy.parameters import Override
from sweep.study.file.sections import _COLUMNS, StudySection
from sweep.study.file.spec import SECTIONS
from sweep.study.proposals import DESIGNS
from sweep.text import EFFECTS, PRUNERS, SAMPLERS, STATES
from sweep.ticks.quality import CHECKS, Policies
from sweep.ticks.synthetic import SynthSpec

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page} has no heading {heading!r}"
    rows = []
    for line in rest.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows or re.match(r"#{1,3} ", line):
            break
    return rows[2:]


def code(cell: str) -> str:
    """Return the text between a cell's first backticks."""
    found = re.search(r"`([^`]*)`", cell)
    assert found, f"no code in {cell!r}"
    return found[1]


def keys_of(section: type[Any]) -> dict[str, Field[Any]]:
    return {f.metadata["key"] or f.name: f for f in fields(section)}


def commands(
    group: click.Group, prefix: str = "sweep", only: str | None = None
) -> Iterator[tuple[str, click.Command]]:
    """Yield each command below a group, or below one of its commands, by its full name."""
    for name in group.list_commands(click.Context(group)) if only is None else [only]:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


# -- the study file --------------------------------------------------------------------


def test_every_section_is_documented_and_no_other() -> None:
    text = (DOCS / "study-file.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\w+)\]$", text, re.MULTILINE) == list(SECTIONS)


@pytest.mark.parametrize("name", [name for name, cls in SECTIONS.items() if cls])
def test_every_key_is_documented_in_order_with_its_default(name: str) -> None:
    section = SECTIONS[name]
    assert section is not None
    rows = table("study-file.md", f"## [{name}]")
    keys = keys_of(section)
    assert sorted(code(row[0]) for row in rows) == sorted(keys)
    for key, _, default, _, identity in rows:
        field = keys[code(key)]
        assert identity == ("yes" if field.metadata["result"] else "no"), key
        if field.default is MISSING:
            assert default == "required", key
        elif field.default is None:
            assert default == "not set", key
        elif default.startswith("`"):
            written = field.metadata["kind"].write(field.default)
            assert code(default) == json.dumps(written), key


def test_every_key_of_a_parameters_range_is_documented() -> None:
    wanted = {f.name for f in fields(Override)} - {"where", "fixed"}
    assert {code(row[0]) for row in table("study-file.md", "## [space]")} == wanted


def test_columns_policies_and_the_generator_are_documented() -> None:
    columns = table("study-file.md", "### data.columns")
    assert {code(row[0]) for row in columns} == set(_COLUMNS)
    policies = table("study-file.md", "### data.policies")
    assert {code(row[0]): row[1].split(", ") for row in policies} == {
        name: list(known) for name, known in CHECKS.items()
    }
    for key, _, default in policies:
        assert json.loads(code(default)) == getattr(Policies(), code(key))
    generator = table("study-file.md", "### data.synth")
    assert {code(key): json.loads(code(default)) for key, default, _ in generator} == {
        f.name: f.default for f in fields(SynthSpec)
    }
    effects = next(row[2] for row in generator if code(row[0]) == "effect")
    assert effects.endswith(", ".join(EFFECTS))


def test_samplers_and_their_options_are_documented() -> None:
    rows = {code(name): options for name, _, options in table("study-file.md", "### Samplers")}
    assert tuple(rows) == SAMPLERS
    for name, options in rows.items():
        documented = set(re.findall(r"`(\w+)`", options))
        known = set(DESIGNS[name] if name in DESIGNS else sampler_options(name))
        assert documented <= known, name
        # Optuna's deprecated ones need not be named.
        assert name in MODEL_SAMPLERS or documented == known, name


def test_pruners_and_their_options_are_documented() -> None:
    rows = {code(name): options for name, _, options in table("study-file.md", "### Pruners")}
    assert tuple(rows) == PRUNERS
    for name, options in rows.items():
        assert set(re.findall(r"`(\w+)`", options)) == set(OPTIONS[name]), name


def test_examples_of_study_files_are_toml() -> None:
    text = (DOCS / "study-file.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        assert set(tomllib.loads(block)) <= set(SECTIONS)


# -- conventions -----------------------------------------------------------------------


def test_every_metric_is_documented_with_its_unit() -> None:
    rows = {code(name): unit for name, _, unit, _ in table("conventions.md", "## Metrics")}
    assert rows == {name: metric.unit for name, metric in METRICS.items()}


def test_checks_and_states_are_documented() -> None:
    checks = {code(r[0]): re.findall(r"`(\w+)`", r[2]) for r in table("conventions.md", "## Ticks")}
    assert checks == {name: list(known) for name, known in CHECKS.items()}
    states = table("conventions.md", "## States of a trial")
    assert {code(row[0]) for row in states} == set(STATES)


# -- strategies ------------------------------------------------------------------------


def test_the_functions_of_a_strategy_are_documented_with_their_arguments() -> None:
    rows = [code(row[0]) for row in table("strategies.md", "## The contract")]
    documented = dict(re.fullmatch(r"(\w+)\((.*)\)", c).groups() for c in rows if "class" not in c)
    assert {n: tuple(a.split(", ")) for n, a in documented.items()} == dict(ARGUMENTS)


def test_the_functions_for_features_are_documented() -> None:
    import sweep.features

    text = " ".join(row[0] for row in table("strategies.md", "## State or features"))
    documented = set(re.findall(r"`(\w+)\(values, window\)`", text))
    assert documented == {n for n in sweep.features.__all__ if n.islower()}


def test_the_strategy_in_the_docs_compiles(tmp_path: Path) -> None:
    from sweep.backtest.strategy_checks.checks import check_strategy

    text = (DOCS / "strategies.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    path = tmp_path / "documented.py"
    path.write_text(block[1])
    assert check_strategy(path).passed


# -- commands --------------------------------------------------------------------------


@pytest.mark.parametrize("top", cli.list_commands(click.Context(cli)))
def test_every_command_is_documented_with_its_options(top: str) -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    shared = text.partition("\n## ")[0]
    own = text.partition(f"\n## sweep {top}\n")[2].partition("\n## ")[0]
    assert own, top
    for name, command in commands(cli, only=top):
        assert name in own or name in shared, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                option = max(parameter.opts, key=len)
                assert option in own or option in shared, f"{name} {option}"


def test_no_command_is_documented_that_is_not_there() -> None:
    known = {f"sweep {name}" for name in cli.list_commands(click.Context(cli))}
    for page in PAGES:
        for name in re.findall(r"(?:^|`)sweep ([a-z]+)\b", page.read_text("utf-8"), re.MULTILINE):
            assert f"sweep {name}" in known or name == "is", f"{page.name}: sweep {name}"


# -- the rest --------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, target


def test_every_module_that_contributing_names_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", text))
    named = {name if name.startswith("tests/") else f"sweep/{name}" for name in named}
    assert len(named) > 30
    here = {name for name in named if name not in ("sweep/tests/", "sweep/strategies/")}
    assert [name for name in sorted(here) if not (ROOT / name).exists()] == []


def test_the_layers_in_contributing_are_those_that_are_checked() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    rows = ["  ".join(re.split(r"\s*[:|]\s*", row.strip())) for row in layers]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = "\n".join(rows)
    assert f"```\n{block}\n```" in text, f"put this into CONTRIBUTING.md:\n{block}"


def test_the_window_in_the_docs_is_the_default() -> None:
    assert keys_of(StudySection)["window"].default == 16


def test_the_statistics_of_overfitting_are_documented() -> None:
    import sweep.stats.overfit

    text = (DOCS / "overfit.md").read_text(encoding="utf-8")
    functions = [n for n in sweep.stats.overfit.__all__ if n.islower()]
    assert [n for n in functions if f"`{n}`" not in text] == []


def test_the_example_of_overfitting_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / "overfit.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    exec(block[1], {})
    assert "PValue(value=0.296" in capsys.readouterr().out
