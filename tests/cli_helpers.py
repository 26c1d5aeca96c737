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


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def sweep(*arguments: object, out: io.StringIO | None = None) -> Result:
    """Run a command line as `main` does, without a terminal."""
    out, err = out or io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        code = run_command([str(a) for a in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def on_screen(*arguments: object) -> list[str]:
    """Run a command line whose stdout is a terminal of 80 columns; return its lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "dumb")  # rich writes plain text there, 80 columns wide
        patch.delenv("COLUMNS", raising=False)
        result = sweep(*arguments, out=_Terminal())
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


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
