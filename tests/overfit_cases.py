"""Reference cases of the overfitting statistics: exact inputs, values, and usual mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sweep.stats.overfit import Draws, given_draws

CASES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "overfit-cases.json").read_text(encoding="utf-8")
)


def case(name: str) -> tuple[dict[str, Any], Any]:
    """Return the inputs of a case and what is expected."""
    return CASES[name]["inputs"], CASES[name]["expected"]


def close(name: str, expected: Any = None) -> Any:
    """Return what is expected, or a part of it, to compare with by the case's tolerance."""
    tol = CASES[name]["tol"]
    wanted = CASES[name]["expected"] if expected is None else expected
    return pytest.approx(wanted, rel=tol.get("rel", 0.0), abs=tol.get("abs", 0.0))


def traps(name: str) -> dict[str, Any]:
    """Return the values that usual mistakes give."""
    return CASES[name].get("traps", {})


def shared_gains() -> tuple[NDArray[np.float64], Draws]:
    """Return the gains and draws that the cases of tests share."""
    inputs, _ = case("spa.shared_inputs")
    draws = given_draws(
        np.array(inputs["bootstrap_indices"]), block_length=float(inputs["mean_block"])
    )
    return np.array(inputs["gains"]), draws
