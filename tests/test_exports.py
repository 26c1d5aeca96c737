"""What modules say they export, they export; workers import nothing heavy."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import sweep

MODULES = [
    m.name for m in pkgutil.walk_packages(sweep.__path__, "sweep.") if "__main__" not in m.name
]


@pytest.mark.parametrize("name", MODULES)
def test_all_names_what_is_there_in_order(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", None)
    if exported is None:
        return
    assert [n for n in exported if not hasattr(module, n)] == []
    assert len(set(exported)) == len(exported)


def test_the_package_exports_lazily() -> None:
    assert callable(sweep.run)
    assert callable(sweep.open_study)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sweep.nothing


def test_workers_import_nothing_heavy() -> None:
    heavy = "optuna pandas pyarrow rich sqlalchemy click"  # Numba itself looks for scipy
    code = (
        "import sys, sweep.backtest.tasks\n"
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
