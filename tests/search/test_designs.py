"""Designs: numbered by position, the same bits in any pieces, nothing twice in a grid."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import SpaceError
from sweep.search import designs
from sweep.strategy import Space, boolean, categorical, integer, real
from sweep.strategy.space import SearchSpace
from tests.trial_helpers import BOWL, MIXED, NUMBERS


class Chained(Space):
    mode: str = categorical("a", "b", "c", default="b")
    stop: bool = boolean(default=True, when=lambda p: p.mode != "a")
    distance: float = real(1, 2, step=0.1, default=1.5, when=lambda p: p.stop)
    n: int = integer(1, 12, default=3)

    def valid(self) -> bool:
        return (self.n + int(self.distance * 10)) % 3 != 0


class Empty(Space):
    x: float = real(0, 1, default=0.5)

    def valid(self) -> bool:
        return False


class Tenth(Space):
    x: float = real(0.1, 0.7, step=0.1, default=0.3)
    big: float = real(1e-4, 1.0, log=True, default=0.1)
    n: int = integer(3, 99, step=4, log=True, default=3)
    k: int = integer(0, 4, default=0)


CHAINED = SearchSpace.of(Chained)
TENTH = SearchSpace.of(Tenth)


def make(kind: str, space: SearchSpace, seed: int = 1) -> designs.Design:
    if kind == "grid":
        return designs.grid(space, 9)
    return designs.random(space, seed) if kind == "random" else designs.sobol(space, seed)


def by_hand(space: SearchSpace, points: int | None = None) -> list[bytes]:
    """Every canonical valid row of the full product, in its order, each once."""
    levels = [p.levels(points) for p in space.parameters]
    rows: dict[bytes, None] = {}
    for cell in itertools.product(*levels):
        row = space.canonical(np.array(cell, dtype=np.float64))
        if space.is_valid(row):
            rows[row.tobytes()] = None
    return list(rows)


def test_grid_holds_each_canonical_valid_row_once() -> None:
    rows = designs.grid(CHAINED).points(0, 10_000)
    found = [row.tobytes() for row in rows]
    assert len(set(found)) == len(found)
    assert set(found) == set(by_hand(CHAINED))


def test_unconstrained_grid_is_the_product_in_order_with_the_last_fastest() -> None:
    design = designs.grid(BOWL, 4)
    assert design.size == 16
    assert [row.tobytes() for row in design.points(0, 99)] == by_hand(BOWL, 4)
    assert design.points(0, 2)[:, 0].tolist() == [-5, -5]


def test_grid_size_counts_what_rows_return() -> None:
    design = designs.grid(CHAINED)
    assert design.size == len(designs.grid(CHAINED).points(0, 10_000)) == len(by_hand(CHAINED))
    assert len(design.points(design.size, 5)) == 0


def test_size_of_a_large_constrained_grid_is_known_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(designs, "COUNTED_AT_ONCE", 100)
    design = designs.grid(CHAINED)
    assert design.size is None
    assert design.bound == 3 * 2 * 11 * 12
    design.points(0, 10_000)
    assert design.size == len(by_hand(CHAINED))


@pytest.mark.parametrize("kind", ["grid", "random", "sobol"])
@settings(max_examples=15)
@given(data=st.data())
def test_rows_do_not_depend_on_how_they_are_asked_for(kind: str, data: st.DataObject) -> None:
    space = data.draw(st.sampled_from([MIXED, CHAINED, BOWL, NUMBERS]))
    if kind == "grid":
        space = data.draw(st.sampled_from([CHAINED, BOWL, NUMBERS]))
    whole = make(kind, space).points(0, 3000)
    design = make(kind, space)
    for _ in range(4):
        first = data.draw(st.integers(0, 2900))
        count = data.draw(st.integers(0, 1500))
        part = design.points(first, count)
        expected = whole[first : first + count]
        assert np.array_equal(part[: len(expected)], expected)
        if kind != "grid":
            assert len(part) == count


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_another_seed_gives_other_points(kind: str) -> None:
    assert np.array_equal(make(kind, BOWL).points(0, 99), make(kind, BOWL).points(0, 99))
    assert not np.array_equal(make(kind, BOWL).points(0, 99), make(kind, BOWL, 2).points(0, 99))


def test_random_and_sobol_do_not_share_a_stream() -> None:
    assert not np.array_equal(make("random", BOWL).points(0, 9), make("sobol", BOWL).points(0, 9))


def test_unscrambled_sobol_is_the_textbook_sequence() -> None:
    """First points of Joe & Kuo's sequence in two dimensions, in Gray code order."""
    rows = designs.sobol(BOWL, 0, scramble=False).points(0, 4)
    assert ((rows + 5) / 10).tolist() == [[0, 0], [0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]


@pytest.mark.parametrize("kind", ["grid", "random", "sobol"])
def test_all_points_are_canonical_valid_and_in_range(kind: str) -> None:
    rows = make(kind, CHAINED if kind == "grid" else MIXED).points(0, 2000)
    space = CHAINED if kind == "grid" else MIXED
    for row in rows:
        assert np.array_equal(space.canonical(row), row)
        assert space.is_valid(row)
        assert np.array_equal(space.encode(space.decode(row)), row)


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_stepped_values_are_levels_to_the_bit_and_all_occur(kind: str) -> None:
    rows = make(kind, TENTH).points(0, 4096)
    for i in (0, 2, 3):
        assert set(np.unique(rows[:, i])) == set(TENTH.parameters[i].levels())


def test_random_points_are_uniform_on_each_parameter_s_scale() -> None:
    """Each count within 5 standard deviations of its binomial expectation.

    Under independent uniform draws a false alarm has a probability below 2e-5 in all,
    and the seed is fixed.
    """
    n = 8192
    rows = designs.random(TENTH, 11).points(0, n)
    quarters = np.histogram(np.log10(rows[:, 1]), bins=np.linspace(-4, 0, 5))[0]
    steps = np.unique(rows[:, 0], return_counts=True)[1]
    for counts in (quarters, steps):
        p = 1 / len(counts)
        assert np.all(np.abs(counts - n * p) < 5 * math.sqrt(n * p * (1 - p)))


def test_logarithmic_levels_occur_by_the_logarithmic_width_of_their_cells() -> None:
    n = 8192
    column = designs.random(TENTH, 5).points(0, n)[:, 2]
    edges = np.concatenate([[1.5], (TENTH.parameters[2].levels() + 2.0)])  # low / 2, then halfway
    shares = np.diff(np.log(edges)) / math.log(edges[-1] / edges[0])
    counts = np.array([(column == level).sum() for level in TENTH.parameters[2].levels()])
    assert np.all(np.abs(counts - n * shares) < 5 * np.sqrt(n * shares) + 5)


def test_sobol_points_lie_more_evenly_than_random_ones() -> None:
    def emptiest(design: designs.Design) -> int:
        rows = design.points(0, 1024)
        return int(np.histogram2d(rows[:, 0], rows[:, 1], bins=16)[0].min())

    assert emptiest(designs.sobol(BOWL, 3)) >= 3
    assert emptiest(designs.random(BOWL, 3)) < 3


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_a_constraint_that_nothing_meets_is_an_error(kind: str) -> None:
    with pytest.raises(SpaceError, match="refused 65,536 points in a row"):
        make(kind, SearchSpace.of(Empty)).points(0, 1)


def test_a_grid_that_nothing_is_left_of_is_empty() -> None:
    design = designs.grid(SearchSpace.of(Empty), 50)
    assert design.size == 0
    assert design.points(0, 10).shape == (0, 1)


def test_a_grid_needs_levels() -> None:
    with pytest.raises(SpaceError, match="parameter x: a grid needs levels"):
        designs.grid(BOWL)


def test_a_space_without_parameters_has_one_point() -> None:
    class Fixed(Space):
        pass

    space = SearchSpace.of(Fixed)
    assert designs.grid(space).size == 1
    assert designs.grid(space).points(0, 5).shape == (1, 0)
    assert designs.random(space, 0).points(0, 5).shape == (5, 0)
    assert designs.sobol(space, 0).points(0, 5).shape == (5, 0)


def test_memory_is_flat_over_a_grid_of_a_million_cells() -> None:
    class Million(Space):
        a: int = integer(0, 999, default=0)
        b: int = integer(0, 999, default=0)

    design = designs.grid(SearchSpace.of(Million))
    design.points(0, 1000)
    tracemalloc.start()
    last = [design.points(first, 1000)[-1].tolist() for first in range(0, 1_000_000, 1000)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last[-1] == [999, 999]
    assert peak < 2_000_000
