"""The command line in this process: what it wrote, and how it ended."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from study_helpers import write_study

from sweep.cli.main import run_command


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        import csv

        return list(csv.reader(io.StringIO(self.out)))


def sweep(*arguments: object) -> Result:
    """Run a command line as `main` does, without a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        code = run_command([str(a) for a in arguments])
    return Result(code, out.getvalue(), err.getvalue())


SERIAL = ("--set", "compute.engine=serial")


def ran(folder: Path, *arguments: object, **kinds: Any) -> Path:
    """Run a small study and return its folder."""
    result = sweep(
        "run", write_study(folder, **kinds), "--out", folder / "out", *SERIAL, *arguments
    )
    assert result.code == 0, result.err
    return folder / "out"


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, to see that nothing changed."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small study, for tests that only read it."""
    return ran(tmp_path_factory.mktemp("study"))
