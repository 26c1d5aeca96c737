"""The bench of growth: its figures, its refusals and its plot."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import history
from sweep.bench.frame import Settings
from sweep.errors import InputError


@pytest.mark.slow
def test_it_finds_its_figures() -> None:
    result = history.run(Settings(quick=True))
    assert {"ns_at_most_ticks", "ns_at_most_variants"} <= {f.name for f in result.figures}


def test_it_takes_no_source() -> None:
    with pytest.raises(InputError, match="leave --source"):
        history.run(Settings(source="ticks.parquet"))


def test_history_draws_a_plot_where_matplotlib_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    point: Any = history._Point(1000, 10, 2.0, 1.0, 3.0, 50.0, 0.1)
    points = {"ticks": [point], "variants": [point]}
    assert "the plot is in" in history._plot(points, tmp_path)[0]
    assert (tmp_path / "history.png").stat().st_size > 1000


def test_history_says_what_a_plot_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert ".[bench]" in history._plot({}, tmp_path)[0]
    assert "--out" in history._plot({}, None)[0]
