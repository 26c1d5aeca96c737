"""What the README tells one to type works."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sweep.cli.main import cli
from sweep.study.file.spec import load_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_lines(text: str) -> list[list[str]]:
    """Return the words of each `sweep` command in the code blocks without a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    plain = "".join(block for language, block in blocks if not language)
    lines = plain.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("sweep ")]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [words for page in PAGES for words in command_lines(page.read_text("utf-8"))]
INSTALLS = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_exist_and_take_these_options(words: list[str]) -> None:
    group: click.Group = cli
    rest = words[1:]
    while True:
        command = group.get_command(click.Context(group), rest[0])
        assert command is not None, rest[0]
        rest = rest[1:]
        if not isinstance(command, click.Group):
            break
        group = command
    rest = rest[: rest.index(">")] if ">" in rest else rest
    command.make_context(words[1], rest, resilient_parsing=False)


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_study_files_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", "/somewhere")
    spec = load_spec(path)
    assert spec.study.trials is not None
    assert spec.study.constraints


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[1] == "run"], ids=" ".join)
def test_settings_on_the_command_lines_are_read(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SWEEP_DATA", "/somewhere")
    monkeypatch.chdir(ROOT)
    command = cli.get_command(click.Context(cli), "run")
    assert command is not None
    given = dict(command.make_context("run", words[2:]).params)
    path = given.pop("study_file")
    if not path.startswith("studies/"):
        path = _initial_study(tmp_path)
    overrides = given.pop("overrides")
    flags = {n: given[n] for n in ("source", "trials", "sampler", "seed", "workers", "param")}
    load_spec(path, overrides=overrides, flags=flags)


def _initial_study(folder: Path) -> Path:
    from sweep.cli.main import run_command

    assert run_command(["init", str(folder / "my"), "--quiet"]) == 0
    return folder / "my" / "study.toml"


def test_the_readme_shows_what_the_quickstart_is() -> None:
    spec = load_spec(ROOT / "studies" / "quickstart.toml")
    assert f"quickstart: ended by {spec.study.trials} trials" in README
    for name in re.findall(r"sweep run (studies/\S+\.toml)", README):
        assert (ROOT / name).is_file()


def test_both_command_lines_for_a_fresh_machine_are_one_line_each() -> None:
    assert len(INSTALLS) == 2
    assert INSTALLS[0].endswith("sweep run studies/quickstart.toml")
    assert INSTALLS[1].endswith("python -m pytest")


@pytest.mark.slow
@pytest.mark.parametrize("line", INSTALLS, ids=["run", "tests"])
def test_the_command_lines_work_on_a_fresh_machine(line: str, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "results", "build"
    )
    shutil.copytree(ROOT, clone, ignore=ignored)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "SWEEP_DATA")
    }
    environment["SWEEP_CACHE"] = str(tmp_path / "cache")
    # The interpreter of these tests, so that python3 is one that Sweep supports.
    tools = tmp_path / "bin"
    tools.mkdir()
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    (tools / "python3").symlink_to(base)
    environment["PATH"] = f"{tools}{os.pathsep}{environment['PATH']}"
    found = subprocess.run(
        line, shell=True, cwd=clone, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    if "quickstart" in line:
        assert "all 10 replayed to the bit" in found.stdout
        assert (clone / "results" / "quickstart" / "study.json").is_file()
