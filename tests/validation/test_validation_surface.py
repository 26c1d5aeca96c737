"""The surface of a search: cells, edges, regions and neighbours, on surfaces that are known."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from study_helpers import STRATEGY

from sweep.errors import InputError
from sweep.report.table import json_text
from sweep.report.terminal import lines_of
from sweep.search.designs import grid, random
from sweep.strategy.declare import strategy_from_source
from sweep.strategy.space import SearchSpace
from sweep.validation.report.document import map_part, profile_part, surface_parts
from sweep.validation.report.surface import sentences
from sweep.validation.surface import Surface, surface_of_trials

FLAT = """
from typing import NamedTuple
from sweep.strategy import Space, categorical, real


class Params(Space):
    x: float = real(0, 10, default=0, step=1)
    y: float = real(0, 4, default=0, step=1)
    side: str = categorical("both", "long")


class State(NamedTuple):
    k: int


def start(tick):
    return State(0)


def step(state, tick, params):
    return state, 0.0
"""


def space_of(text: str) -> SearchSpace:
    return SearchSpace.of(strategy_from_source(text, "mine.py").params)


SPACE = space_of(FLAT)
ROWS = np.array(
    [[x, y, s] for s in (0.0, 1.0) for y in np.arange(5.0) for x in np.arange(11.0)], np.float64
)
X, Y, SIDE = ROWS.T


def surface(values: Any, rows: Any = ROWS, space: SearchSpace = SPACE, **more: Any) -> Surface:
    numbers = 100 + np.arange(len(rows), dtype=np.int64)
    given = {"objective": "sharpe", **more}
    return surface_of_trials(space, rows, np.asarray(values, np.float64), numbers, **given)


def profile(found: Surface, name: str) -> Any:
    return next(p for p in found.profiles if p.name == name)


# -- cells -----------------------------------------------------------------------------


def test_profiles_and_maps_are_medians_and_bests_of_cells() -> None:
    values = 10.0 - np.abs(X - 4.0) - 2.0 * Y - 0.5 * SIDE
    found = surface(values)
    along = profile(found, "x")
    assert along.labels == tuple(str(k) for k in range(11))
    for k in range(11):
        cell = values[k == X]
        assert (along.count[k], along.median[k]) == (len(cell), np.median(cell))
        assert along.best[k] == cell.max()
    assert along.winner == 4
    pair = next(m for m in found.maps if {m.x, m.y} == {"x", "y"})
    row, column = (Y, X) if pair.y == "y" else (X, Y)
    for i in range(len(pair.y_labels)):
        for j in range(len(pair.x_labels)):
            cell = values[(row == i) & (column == j)]
            assert pair.median[i, j] == np.median(cell)
            assert pair.count[i, j] == 2
    assert (found.trial, found.value, found.n_trials) == (104, 10.0, 110)
    assert found.params == {"x": 4.0, "y": 0.0, "side": "both"}


def test_a_minimum_is_the_mirror_of_a_maximum() -> None:
    values = 10.0 - np.abs(X - 4.0) - 2.0 * Y - 0.5 * SIDE
    up, down = surface(values), surface(-values, direction="minimize")
    assert down.trial == up.trial
    assert down.plateau == up.plateau
    assert down.edges == up.edges
    for a, b in zip(up.profiles, down.profiles, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.median, -b.median)
        np.testing.assert_array_equal(a.best, -b.best)
    assert [c.trial for c in up.clusters] == [c.trial for c in down.clusters]


def test_trials_without_a_value_are_in_no_median() -> None:
    values = np.where(X == 3.0, math.nan, X + Y)
    found = profile(surface(values), "x")
    assert found.count[3] == 0
    assert math.isnan(found.median[3])
    assert found.median[5] == 7.0
    with pytest.raises(InputError, match="no trial has a value"):
        surface(np.full(110, math.nan))
    with pytest.raises(InputError, match="do not fit"):
        surface(np.zeros(3))


def test_many_levels_are_cells_on_the_parameters_own_scale() -> None:
    space = space_of(STRATEGY)
    rows = np.unique(random(space, 0).points(0, 600), axis=0)
    found = surface(rows[:, 0], rows, space)
    slow = profile(found, "slow")
    assert slow.labels[0] == "10 to 15.9"  # a logarithmic range of 10 to 400 in eight parts
    edges = np.exp(np.linspace(math.log(10.0), math.log(400.0), 9))
    np.testing.assert_array_equal(slow.count, np.histogram(rows[:, 1], edges)[0])
    wait = profile(found, "wait")
    paused = rows[:, space.index("pause")] == 1.0
    assert wait.count.sum() == paused.sum()  # it counts where there is a pause, and only there


# -- the winner ------------------------------------------------------------------------


def test_a_winner_at_the_end_of_a_range_is_named_with_advice() -> None:
    found = surface(X - np.abs(Y - 2.0))
    assert [(e.name, e.side, e.value) for e in found.edges] == [("x", "high", 10.0)]
    assert "widen the range of x above that" in " ".join(sentences(found))
    assert surface(-np.abs(X - 4.0) - np.abs(Y - 2.0)).edges == ()


def test_a_peak_is_told_from_a_plateau() -> None:
    flat = np.full(110, 5.0) + 1e-3 * X
    found = surface(flat)
    assert found.plateau > 0.99
    assert "a plateau" in " ".join(sentences(found))
    spiked = flat.copy()
    spiked[37] = 50.0
    found = surface(spiked)
    assert found.trial == 137
    assert found.plateau < 0.2
    assert found.steady not in (-1, 137)
    assert "a peak" in " ".join(sentences(found))


def test_neighbours_are_the_nearest_trials() -> None:
    found = surface(-np.abs(X - 4.0) - np.abs(Y - 2.0))
    near = [(n.params["x"], n.params["y"], n.params["side"]) for n in found.neighbours]
    assert near[:2] == [(3.0, 2.0, "both"), (5.0, 2.0, "both")]
    assert [n.distance for n in found.neighbours] == sorted(n.distance for n in found.neighbours)
    assert found.neighbours[0].distance == pytest.approx(0.1)


def test_two_hills_are_two_regions() -> None:
    near_1 = np.maximum(0.0, 3.0 - np.abs(X - 1.0) - np.abs(Y - 1.0))
    near_9 = np.maximum(0.0, 2.9 - np.abs(X - 9.0) - np.abs(Y - 3.0))
    found = surface(np.where(SIDE == 0.0, near_1 + near_9, -1.0))
    first, second = found.clusters[:2]
    assert first.size + second.size == found.n_good == 11
    assert {first.trial, second.trial} == {112, 142}
    hill = next(c for c in (first, second) if c.trial == 112)
    assert hill.winner
    assert hill.ranges["side"] == ("both",)
    low, high = hill.ranges["x"]
    assert low >= 0.0
    assert high <= 3.0


def test_a_ridge_is_one_region_on_a_grid_of_uneven_steps() -> None:
    found = surface(np.where((Y == 2.0) & (SIDE == 1.0), 10.0 + 0.01 * X, -X))
    assert [c.size for c in found.clusters] == [11]


def test_what_decides_is_the_parameter_that_does() -> None:
    rows = grid(SPACE).points(0, 110)
    found = surface(-np.abs(rows[:, 0] - 5.0) + 0.01 * rows[:, 1], rows)
    assert next(iter(found.importance)) in ("x", "y", "side")
    assert found.importance["x"] > 0.9
    assert sum(found.importance.values()) == pytest.approx(1.0)
    assert found.profiles[0].name == "x"
    few = surface(X[:12], ROWS[:12])
    assert few.importance == {}
    assert "at least 100" in few.reasons["importance"]


# -- shown -----------------------------------------------------------------------------

MAP = [
    "y (down) by x (across): median, ░ -10.0 to █ 0.0",
    "0 ▓▓▓▓▓▓▓▓████████████▓▓▓▓▓▓▓▓▓▓▓▓▒▒▒▒▒▒▒▒░░░░",
    "1 ▓▓▓▓██████████X█████████▓▓▓▓▓▓▓▓▓▓▓▓▒▒▒▒▒▒▒▒",
    "2 ▓▓▓▓▓▓▓▓████████████▓▓▓▓▓▓▓▓▓▓▓▓▒▒▒▒▒▒▒▒░░░░",
    "3 ▓▓▓▓▓▓▓▓▓▓▓▓████▓▓▓▓▓▓▓▓▓▓▓▓▒▒▒▒▒▒▒▒░░░░░░░░",
    "4 ▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▒▒▒▒▒▒▒▒░░░░░░░░░░░░",
    "  0                                         10",
]


def test_a_map_is_drawn_with_the_winner_marked() -> None:
    found = surface(-np.abs(X - 3.0) - np.abs(Y - 1.0))
    pair = next(m for m in found.maps if (m.x, m.y) == ("x", "y"))
    lines = [line.plain for line in lines_of([map_part(pair, "maximize")], 50)]
    # Fourths of -10 to 0: x = 3 and y = 1 is best, and each step to a side costs 1.
    assert lines == MAP
    assert [line.count("X") for line in lines] == [0, 0, 1, 0, 0, 0, 0]
    assert all(len(line) <= 50 for line in lines)
    assert {c for line in lines[1:-1] for c in line} <= set("01234 ░▒▓█X")


def test_a_profile_is_drawn_with_bars() -> None:
    found = surface(X)
    lines = [line.plain for line in lines_of([profile_part(profile(found, "x"))], 60)]
    assert lines[0].split() == ["x", "median", "best", "trials"]
    assert lines[-1].startswith("> 10")
    assert [line.count("█") for line in lines[1:]] == [round(24 * k / 10) for k in range(11)]
    below = surface(X - 10.0)
    lines = [line.plain for line in lines_of([profile_part(profile(below, "x"))], 60)]
    assert [line.count("░") for line in lines[1:]] == [
        round(24 * k / 10) for k in range(10, -1, -1)
    ]
    assert not any("█" in line for line in lines)


@pytest.mark.parametrize("width", [30, 60, 100])
def test_lines_fit_the_width(width: int) -> None:
    space = space_of(STRATEGY)
    rows = np.unique(random(space, 1).points(0, 200), axis=0)
    found = surface(np.sin(rows[:, 0]) + np.log(rows[:, 1]), rows, space)
    lines = lines_of(surface_parts(found), width)
    assert max(cell_len(line.plain) for line in lines) <= width


def test_json_has_no_nan() -> None:
    values = np.where(X == 3.0, math.nan, X + Y)
    loaded = json.loads(json_text(surface(values)))
    along = next(p for p in loaded["profiles"] if p["name"] == "x")
    assert along["median"][3] is None
