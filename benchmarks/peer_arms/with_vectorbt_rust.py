"""vectorbt with its Rust engine: the arm of vectorbt, told to use it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vectorbt_rust  # noqa: F401

PACKAGES = ("vectorbt", "vectorbt-rust")
ACCOUNTING = "cash, position, order records"
MOST = 12_000_000

Rows = list[tuple[float, int, float]]


def load(
    bid: Any, ask: Any, pairs: list[tuple[float, float]], terms: dict[str, Any]
) -> Callable[[], Callable[[], Rows]]:
    """Load the other arm's file, and give it the engine's name."""
    path = Path(__file__).with_name("with_vectorbt.py")
    spec = importlib.util.spec_from_file_location("with_vectorbt", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    begin: Callable[[], Callable[[], Rows]] = module.load(
        bid, ask, pairs, {**terms, "engine": "rust"}
    )
    return begin
