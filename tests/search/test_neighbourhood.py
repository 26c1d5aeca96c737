"""Neighbourhoods: boxes on each parameter's own scale, shares, fits, and plateaus."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import InputError
from sweep.search import designs
from sweep.search.neighbourhood import (
    box,
    distance_coordinates,
    neighbours,
    plateau_scores,
    plateau_width,
    profiles,
    scaled,
)
from sweep.stats.response_surface import response_surface, share_above
from sweep.strategy import Space, boolean, categorical, integer, real
from sweep.strategy.space import SearchSpace

NAN = math.nan


class Mixed(Space):
    fast: float = real(5, 500, log=True, default=50)
    level: float = real(-1, 1, default=0)
    lots: float = real(0, 1, step=0.05, default=0.5)
    n: int = integer(1, 40, default=20)
    mode: str = categorical("a", "b", "c", default="b")
    stop: bool = boolean(default=True)
    distance: float = real(1, 3, default=2, when=lambda p: p.stop)
    fixed: float = real(7, 7, default=7)

    def valid(self) -> bool:
        return self.n < 60 * (self.level + 1.0)


class Plane(Space):
    x: float = real(0, 1, default=0.5)
    y: float = real(0, 10, default=5)


class Steps(Space):
    n: int = integer(0, 8, default=4)
    k: int = integer(0, 8, default=4)


MIXED, PLANE, STEPS = map(SearchSpace.of, (Mixed, Plane, Steps))


def row_of(space: SearchSpace, seed: int) -> Any:
    return designs.random(space, seed).points(seed % 7, 1)[0]


# -- boxes -----------------------------------------------------------------------------


def test_scaled_coordinates_are_on_each_parameters_own_scale() -> None:
    row = MIXED.encode({"fast": 50.0, "level": 0.5, "lots": 0.25, "n": 1, "mode": "c"})
    found = scaled(MIXED, row[np.newaxis])[0]
    assert found.tolist() == pytest.approx([0.5, 0.75, 0.25, 0.0, 2.0, 1.0, 0.5, 0.0])


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
@settings(max_examples=40)
def test_neighbours_are_distinct_valid_variants_of_the_box(seed: int, radius: float) -> None:
    row = row_of(MIXED, seed)
    rows = neighbours(MIXED, row, 20, seed=seed, radius=radius)
    assert len({r.tobytes() for r in rows} | {row.tobytes()}) == len(rows) + 1
    assert MIXED.valid_points(rows).all()
    assert MIXED.settled(rows)[0].tobytes() == rows.tobytes()
    for point in rows:
        assert MIXED.encode(MIXED.decode(point)).tobytes() == point.tobytes()
    apart = np.abs(scaled(MIXED, rows) - scaled(MIXED, row[np.newaxis]))
    # The next level belongs to the box however small it is: 1/20 of lots, 1/39 of n.
    reach = np.array([radius, radius, max(radius, 0.05), max(radius, 1 / 39), 0, 0, radius, 0])
    assert (apart <= reach + 1e-9).all()


def test_the_first_neighbours_of_twice_as_many_are_the_same() -> None:
    row = MIXED.defaults
    many = neighbours(MIXED, row, 400, seed=3)
    assert neighbours(MIXED, row, 200, seed=3).tobytes() == many[:200].tobytes()
    assert len(many) == 400
    assert not np.array_equal(neighbours(MIXED, row, 400, seed=4), many)
    # Evenly: a fifth of the range, each tenth of it with its tenth of the points.
    u = (scaled(MIXED, many)[:, 0] - 0.4) / 0.2
    assert np.histogram(u, 10, (0.0, 1.0))[0].tolist() == pytest.approx([40] * 10, abs=4)


def test_a_box_of_integers_has_no_more_than_all_its_points() -> None:
    rows = neighbours(STEPS, STEPS.defaults, 50, seed=1, radius=0.01)
    wanted = {(n, k) for n in (3, 4, 5) for k in (3, 4, 5)} - {(4, 4)}
    assert {tuple(r) for r in rows.astype(int)} == wanted
    corner = neighbours(STEPS, STEPS.encode({"n": 0, "k": 8}), 50, seed=1, radius=0.01)
    assert {tuple(r) for r in corner.astype(int)} == {(0, 7), (1, 7), (1, 8)}


def test_a_box_ends_where_the_range_does() -> None:
    part = box(MIXED, MIXED.encode({"fast": 5.0, "level": 0.9}), 0.25)
    fast, level, lots = part.parameters[:3]
    assert fast.low == pytest.approx(5.0)
    assert fast.high == pytest.approx(5.0 * 100.0**0.25)
    assert (level.low, level.high) == (pytest.approx(0.4), 1.0)
    assert (lots.low, lots.high, lots.step) == (0.25, 0.75, 0.05)
    assert part.parameters[4].choices == ("b",)


def test_a_variant_without_numbers_has_no_neighbours() -> None:
    class Words(Space):
        mode: str = categorical("a", "b", default="a")

    space = SearchSpace.of(Words)
    assert neighbours(space, space.defaults, 5, seed=1).shape == (0, 1)


# -- profiles --------------------------------------------------------------------------


def test_profiles_change_one_parameter_and_keep_the_variant() -> None:
    row = MIXED.encode({"fast": 61.0, "stop": False})
    found = profiles(MIXED, row, points=5)
    assert [p.name for p in found] == ["fast", "level", "lots", "n"]  # distance does not count
    for profile in found:
        i = MIXED.index(profile.name)
        assert np.array_equal(profile.points[profile.centre], row)
        others = np.delete(profile.points, i, axis=1)
        assert (others == np.delete(row, i)).all()
        assert (np.diff(profile.levels) > 0.0).all()
        assert MIXED.valid_points(profile.points).all()
    assert found[0].coordinates[:2] == pytest.approx([0.0, 0.25])
    assert len(found[0].points) == 6
    assert found[1].levels[0] > -1.0  # the constraint forbids it with n = 20


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
@settings(max_examples=30)
def test_profiles_are_variants_of_the_space(seed: int, radius: float) -> None:
    row = row_of(MIXED, seed)
    for profile in profiles(MIXED, row, radius=radius):
        assert np.array_equal(profile.points[profile.centre], row)
        for point in profile.points:
            assert MIXED.encode(MIXED.decode(point)).tobytes() == point.tobytes()


def test_a_plateau_is_as_wide_as_its_unbroken_stretch() -> None:
    at = np.array([0.0, 0.1, 0.3, 0.6, 0.7, 1.0])
    values = np.array([5.0, 4.0, 5.0, 6.0, NAN, 9.0])
    assert plateau_width(at, values, 3, 4.5) == pytest.approx(0.3)
    assert plateau_width(at, values, 3, 4.0) == pytest.approx(0.6)
    assert plateau_width(at, values, 3, 7.0) == 0.0
    assert plateau_width(at, values, 4, 1.0) == 0.0
    assert plateau_width(at, -values, 3, -4.5, "minimize") == pytest.approx(0.3)


# -- share and surface -----------------------------------------------------------------


def test_shares_count_the_failed_as_bad() -> None:
    found = share_above(np.array([1.0, 2.0, 3.0, NAN]), 2.0)
    assert (found.value, found.n, found.n_failed) == (0.5, 4, 1)
    # Clopper & Pearson for 2 of 4.
    assert (found.low, found.high) == (
        pytest.approx(0.0676, abs=1e-4),
        pytest.approx(0.9324, abs=1e-4),
    )
    assert share_above(np.array([1.0, 2.0, 3.0]), 2.0, "minimize").value == pytest.approx(2 / 3)
    assert share_above(np.empty(0), 0.0).reason == "there are no points"
    assert (share_above(np.ones(3), 0.0).high, share_above(np.ones(3), 2.0).low) == (1.0, 0.0)


def test_a_quadratic_is_found_exactly() -> None:
    z = np.random.default_rng(1).uniform(-0.1, 0.1, (40, 3))
    g = np.array([1.0, -2.0, 0.5])
    h = np.array([[-8.0, 1.0, 0.0], [1.0, -4.0, 2.0], [0.0, 2.0, -6.0]])
    y = 3.0 + z @ g + 0.5 * np.einsum("ni,ij,nj->n", z, h, z)
    y[5] = NAN
    found = response_surface(z, y)
    assert found.intercept == pytest.approx(3.0)
    assert found.gradient == pytest.approx(g)
    assert found.hessian == pytest.approx(h, abs=1e-9)
    assert found.r2 == pytest.approx(1.0)
    assert (found.n, found.n_failed, found.rank) == (39, 1, 10)
    json.dumps(found.to_dict(), allow_nan=False)


def test_noise_is_explained_but_not_predicted() -> None:
    """The left-out R2 is that of fits without each point in turn."""
    draws = np.random.default_rng(2)
    z, y = draws.uniform(-1, 1, (20, 2)), draws.standard_normal(20)
    found = response_surface(z, y)

    def design(p: Any) -> Any:
        return np.stack(
            [np.ones(len(p)), p[:, 0], p[:, 1], p[:, 0] ** 2, p[:, 0] * p[:, 1], p[:, 1] ** 2], 1
        )

    missed = 0.0
    for i in range(20):
        rest = np.delete(np.arange(20), i)
        coefficients = np.linalg.lstsq(design(z[rest]), y[rest], rcond=None)[0]
        missed += float((y[i] - design(z[i : i + 1]) @ coefficients)[0] ** 2)
    total = float(np.sum((y - y.mean()) ** 2))
    assert found.r2_left_out == pytest.approx(1.0 - missed / total)
    assert found.r2_left_out < 0.0 < found.r2


def test_surfaces_say_what_they_cannot_tell() -> None:
    z = np.random.default_rng(3).uniform(-1, 1, (6, 2))
    few = response_surface(z, np.arange(6.0))
    assert few.reason == "6 points with a value determine 6 coefficients and leave nothing to judge"
    assert np.isnan(few.gradient).all()
    flat = response_surface(np.random.default_rng(3).uniform(-1, 1, (20, 2)), np.ones(20))
    assert flat.reason == "all values are equal"
    none = response_surface(z, np.full(6, NAN))
    assert (none.n, none.n_failed) == (0, 6)
    assert none.reason is not None
    # A parameter that never moved is no obstacle.
    z = np.column_stack([np.linspace(-1, 1, 9), np.zeros(9)])
    line = response_surface(z, 2.0 + 3.0 * z[:, 0])
    assert line.gradient == pytest.approx([3.0, 0.0])
    assert line.rank == 3


# -- plateaus --------------------------------------------------------------------------


def slow_scores(rows: Any, values: Any, k: int, sign: float) -> list[float]:
    """By every pair of distinct variants."""
    points = distance_coordinates(PLANE, rows)
    found = []
    for i in range(len(rows)):
        seen: dict[bytes, tuple[float, float]] = {}
        for j in range(len(rows)):
            if rows[j].tobytes() != rows[i].tobytes():
                worth = -math.inf if math.isnan(values[j]) else sign * values[j]
                seen[rows[j].tobytes()] = (math.dist(points[i], points[j]), worth)
        near = sorted(seen.values())
        reach = near[k - 1][0] + 1e-9
        middle = float(np.median([worth for distance, worth in near if distance <= reach]))
        own = sign * values[i]
        undefined = math.isnan(own) or own == 0.0 or math.isinf(middle)
        found.append(NAN if undefined else 1.0 + (middle - own) / abs(own))
    return found


@given(
    n=st.integers(8, 60),
    seed=st.integers(0, 2**32),
    k=st.integers(1, 6),
    direction=st.sampled_from(["maximize", "minimize"]),
)
@settings(max_examples=40)
def test_plateau_scores_are_those_of_every_pair(n: int, seed: int, k: int, direction: str) -> None:
    draws = np.random.default_rng(seed)
    rows = draws.integers(0, 9, (n, 2)) * np.array([0.125, 1.25])  # ties in plenty
    table = draws.integers(-3, 6, (9, 9)).astype(np.float64)
    table[draws.random((9, 9)) < 0.1] = NAN
    values = table[(rows[:, 0] * 8).astype(int), (rows[:, 1] / 1.25).astype(int)]
    if len(np.unique(rows, axis=0)) <= k:
        return
    found = plateau_scores(PLANE, rows, values, direction, k)
    wanted = slow_scores(rows, values, k, 1.0 if direction == "maximize" else -1.0)
    assert found.score.tolist() == pytest.approx(wanted, nan_ok=True)
    assert [reason is not None for reason in found.reasons] == np.isnan(found.score).tolist()
    assert (found.n_neighbours >= k).all()
    order = draws.permutation(n)
    again = plateau_scores(PLANE, rows[order], values[order], direction, k)
    assert again.score.tobytes() == found.score[order].tobytes()


def test_a_plateau_scores_higher_than_a_peak() -> None:
    """The peak is better than the plateau, and alone."""
    rows = designs.sobol(PLANE, 1).points(0, 600)
    x, y = rows[:, 0], rows[:, 1] / 10.0
    plateau = np.exp(-(((x - 0.7) ** 2 + (y - 0.7) ** 2) / 0.08))
    peak = 1.5 * np.exp(-(((x - 0.2) ** 2 + (y - 0.2) ** 2) / 0.0004))
    values = plateau + peak + 0.01
    found = plateau_scores(PLANE, rows, values)
    best = int(np.argmax(values))
    flat = int(np.argmax(plateau))
    assert np.hypot(x[best] - 0.2, y[best] - 0.2) < 0.02
    assert found.score[best] < 0.5
    assert found.score[flat] > 0.95
    assert found.k == 4
    robust = int(np.argmax(found.median))
    assert np.hypot(x[robust] - 0.7, y[robust] - 0.7) < 0.1


def test_scores_of_losses_and_of_minimised_objectives() -> None:
    rows = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0]])
    losing = plateau_scores(PLANE, rows, np.array([-2.0, -3.0, -3.0]), k=2)
    assert losing.score[0] == 0.5
    assert losing.median[0] == -3.0
    falling = plateau_scores(PLANE, rows, np.array([2.0, 3.0, 3.0]), "minimize", k=2)
    assert falling.score[0] == 0.5
    assert falling.median[0] == 3.0
    double = plateau_scores(PLANE, rows, np.array([2.0, 1.0, 1.0]), k=2)
    assert double.score.tolist() == [0.5, 1.5, 1.5]


def test_choices_are_as_far_apart_as_the_ends_of_a_range() -> None:
    rows = np.stack([MIXED.encode({"mode": mode}) for mode in "abc"])
    points = distance_coordinates(MIXED, rows)
    assert math.dist(points[0], points[1]) == pytest.approx(1.0)
    assert math.dist(points[0], points[2]) == pytest.approx(1.0)


def test_scores_that_cannot_be_say_why() -> None:
    rows = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0], [0.2, 0.0]])
    few = plateau_scores(PLANE, rows, np.ones(4), k=3)
    assert set(few.reasons) == {"3 distinct trials have no 3 neighbours each"}
    found = plateau_scores(PLANE, rows, np.array([0.0, NAN, 1.0, 1.0]), k=1)
    assert found.reasons.tolist() == [
        "its objective is 0, and nothing is relative to that",
        "it has no value",
        "half of its neighbours or more have no value",
        "half of its neighbours or more have no value",
    ]


# -- bad input -------------------------------------------------------------------------


def test_what_cannot_be_is_refused() -> None:
    row = PLANE.defaults
    for radius in (0.0, 1.5, NAN):
        with pytest.raises(InputError, match="a radius is a share of the range"):
            box(PLANE, row, radius)
    with pytest.raises(InputError, match="at least 1 point, found 0"):
        neighbours(PLANE, row, 0, seed=1)
    with pytest.raises(InputError, match="at least 2 points, found 1"):
        profiles(PLANE, row, points=1)
    with pytest.raises(InputError, match="'maximize' or 'minimize', found 'up'"):
        share_above(np.ones(3), 1.0, "up")
    with pytest.raises(InputError, match="'maximize' or 'minimize', found 'up'"):
        plateau_scores(PLANE, np.ones((3, 2)), np.ones(3), "up")
    with pytest.raises(InputError, match=r"expected 3 points of 2 parameters, found shape"):
        plateau_scores(PLANE, np.ones((3, 1)), np.ones(3))
    with pytest.raises(InputError, match="at least 1 neighbour, found 0"):
        plateau_scores(PLANE, np.ones((3, 2)), np.ones(3), k=0)
