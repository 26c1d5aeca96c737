"""Results stay as they were recorded, to the bit; see `record_results` for what is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record_results import RECORDED, STUDIES, environment, is_exact, pieces_of

KNOWN: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", STUDIES)
def test_results_are_those_recorded(tmp_path: Path, name: str) -> None:
    recorded = KNOWN["pieces"][name]
    now = environment()
    others = [
        f"{key} is {now.get(key)}, was {value}"
        for key, value in KNOWN["environment"].items()
        if now.get(key) != value
    ]
    elsewhere = f"recorded elsewhere, so that last bits may differ: {'; '.join(others)}"
    if others and not any(is_exact(name, title) for title in recorded):
        pytest.skip(elsewhere)
    found = pieces_of(name, tmp_path)
    assert list(found) == list(recorded)
    changed = [
        f"{title}: {piece.rows} rows, {recorded[title]['rows']} recorded"
        for title, piece in found.items()
        if (not others or is_exact(name, title))
        and (piece.rows, piece.hash) != (recorded[title]["rows"], recorded[title]["hash"])
    ]
    assert not changed, "; ".join(changed)
    if others:
        pytest.skip(f"only what is exact was compared; {elsewhere}")
