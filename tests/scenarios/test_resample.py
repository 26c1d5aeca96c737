"""Resampled paths of ticks: what they keep of the source, and what they are a function of."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path as FilePath

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sweep.errors import DataError, InputError
from sweep.kernel.paths.derive import derive_quotes, grid_of
from sweep.scenarios.export import export_path
from sweep.scenarios.resample.draws import Blocks, draw_sessions, tick_blocks
from sweep.scenarios.resample.plan import Path, Resampler, lay_out, plan_path, prepare
from sweep.scenarios.resample.spec import METHODS, ResampleSpec
from sweep.scenarios.resample.ticks import derive_ticks, path_blocks
from sweep.schema import Ticks
from sweep.ticks import mapped
from sweep.ticks.sessions import find_sessions, sessions_by_clock
from sweep.ticks.sources import SourceSpec
from sweep.ticks.store import import_ticks
from tests.generators import SECOND, read_only, tick_series
from tests.kernel.test_lanes import held
from tests.paths import DAY, MINUTE, MONDAY, session_market

DATA = FilePath(__file__).parents[1] / "data"
CASES = json.loads((DATA / "tick_blocks.json").read_text())["cases"]


def market(seed: int = 1, **settings_: object) -> Ticks:
    return session_market(np.random.default_rng(seed), **settings_)  # type: ignore[arg-type]


def whole(ticks: Ticks, spec: ResampleSpec, number: int) -> tuple[Resampler, Path, Ticks]:
    resampler = prepare(ticks, spec)
    path = plan_path(resampler, ticks, number)
    return resampler, path, derive_ticks(resampler, ticks, path)


def source_places(path: Path) -> np.ndarray:
    return np.concatenate([np.arange(p["first"], p["end"]) for p in path.pieces])


def same(one: Ticks, other: Ticks) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def spread_ticks(ticks: Ticks, grid: int) -> np.ndarray:
    return np.rint(ticks.ask * grid) - np.rint(ticks.bid * grid)


# -- known answers ---------------------------------------------------------------------


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_sessions_are_resampled_as_in_the_reference(case: dict) -> None:
    """Log mids, half-spreads with their ticks, the gap with the day that follows it."""
    days = case["inputs"]["days"]
    rows = [
        (d * DAY + round(seconds(c) * SECOND), b, a)
        for d, day in enumerate(days)
        for c, b, a in day
    ]
    ts, bid, ask = (np.array(column) for column in zip(*rows, strict=True))
    ticks = read_only(Ticks(ts.astype(np.int64), bid, ask, np.empty(0), np.empty(0)))
    resampler = prepare(ticks, ResampleSpec("identity", tick_size=0.0))
    order = np.array(case["inputs"]["order"])
    first, end = resampler.sessions.begins[order], resampler.sessions.ends[order]
    shift = (np.arange(len(order)) - order) * DAY
    blocks = Blocks(first, end, shift, np.arange(3) << 24, np.arange(3), np.arange(3))
    found = derive_ticks(resampler, ticks, lay_out(resampler, ticks, blocks))
    expected = case["expected"]["ticks_day_sec_bid_ask"]
    assert len(found.ts) == case["expected"]["invariants"]["n"]
    for k, (day, second, b, a) in enumerate(expected):
        assert found.ts[k] == day * DAY + round(second * SECOND)
        assert found.bid[k] == pytest.approx(b, abs=case["tol"]["abs"])
        assert found.ask[k] == pytest.approx(a, abs=case["tol"]["abs"])
    wrong = case["traps"]["gap dropped"]
    assert found.bid[5] == pytest.approx(expected[5][2])
    assert abs(found.bid[9] - wrong[0]) > 1e-3


def test_the_reference_holds_on_the_grid_to_a_tick() -> None:
    """Three sessions worked out by hand in half ticks, with the level kept in ticks."""
    ts = np.array([0, 1, 2, 3]) * SECOND
    ts = MONDAY + np.concatenate([ts, ts + DAY])
    bid = np.array([10.00, 10.01, 10.03, 10.02, 10.10, 10.08, 10.08, 10.11])
    ask = np.array([10.01, 10.02, 10.04, 10.04, 10.11, 10.10, 10.09, 10.12])
    ticks = read_only(Ticks(ts, bid, ask, np.empty(0), np.empty(0)))
    resampler = prepare(ticks, ResampleSpec("identity", level="ticks"))
    assert resampler.grid.per_unit == 100
    order = np.array([1, 1])
    blocks = Blocks(
        np.array([4, 4]), np.array([8, 8]), (np.arange(2) - order) * DAY, np.arange(2) << 24,
        np.arange(2), np.arange(2),
    )  # fmt: skip
    found = derive_ticks(resampler, ticks, lay_out(resampler, ticks, blocks))
    # The first session begins at the series' first mid; the second with Tuesday's gap, 15
    # half ticks from Monday's last mid to Tuesday's first, of which whole ticks count.
    np.testing.assert_array_equal(found.bid[:4], [10.00, 9.98, 9.98, 10.01])
    np.testing.assert_array_equal(found.ask[:4], [10.01, 10.00, 9.99, 10.02])
    np.testing.assert_array_equal(np.rint((found.bid[4:] - found.bid[:4]) * 100), 8)
    np.testing.assert_array_equal(found.ts, ts[[0, 1, 2, 3, 4, 5, 6, 7]])


# -- identities ------------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["never", "session", "block"])
def test_the_identity_gives_the_source_to_the_bit(restart: str) -> None:
    for grid in (1, 100, 128, 10**6):
        ticks = market(grid=grid, sizes=True, crossed=True)
        _, path, found = whole(ticks, ResampleSpec("identity", restart=restart), 3)
        assert same(found, ticks)
        assert len(path.starts) == (1 if restart == "never" else 6)


@given(tick_series(min_size=3, crossed=True))
def test_the_identity_holds_for_any_series(ticks: Ticks) -> None:
    for tick_size in (None, 0.0, 1 / 64):
        _, _, found = whole(ticks, ResampleSpec("identity", tick_size=tick_size), 0)
        assert same(found, ticks)


def test_blocks_in_their_own_order_give_the_source() -> None:
    ticks = market(crossed=True)
    resampler = prepare(ticks, ResampleSpec("stationary", block=9))
    edges = np.array([0, 1, 2, 77, 300, 301, len(ticks.ts)])
    numbers = np.arange(len(edges) - 1)
    blocks = Blocks(edges[:-1], edges[1:], None, numbers << 24, numbers[:1], numbers)
    assert same(derive_ticks(resampler, ticks, lay_out(resampler, ticks, blocks)), ticks)


def test_a_circular_block_as_long_as_the_data_is_a_rotation() -> None:
    ticks = market()
    n = len(ticks.ts)
    for number in range(4):
        _, path, found = whole(ticks, ResampleSpec("circular", block=n), number)
        places = source_places(path)
        np.testing.assert_array_equal(places, (places[0] + np.arange(n)) % n)
        assert len(found.ts) == n


def test_blocks_of_one_tick_are_independent_draws() -> None:
    """Every place is as likely as any other: chi-square with 9 degrees, 99.9 % at 27.9."""
    draw = np.random.default_rng(5)
    for method in ("circular", "moving", "stationary"):
        found = tick_blocks(method, 1, 100, 200, draw)
        assert (found.end - found.first).max() <= (1 if method != "stationary" else 100)
    firsts = np.concatenate([tick_blocks("circular", 1, 0, 100, draw).first for _ in range(100)])
    counts = np.bincount(firsts // 10, minlength=10)
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9


def test_lengths_of_stationary_blocks_are_geometric() -> None:
    """Mean 20 of some 5,000 blocks: within four standard errors (0.28 each)."""
    draw = np.random.default_rng(6)
    found = tick_blocks("stationary", 20, 0, 100_000, draw)
    n_blocks = len(found.blocks)
    assert abs(100_000 / n_blocks - 20) < 4 * 20 / np.sqrt(5_000)
    assert (found.end > found.first).all()
    assert (found.end - found.first).sum() == 100_000


# -- what a path keeps -----------------------------------------------------------------


@pytest.mark.parametrize("method", [m for m in METHODS if m != "identity"])
@pytest.mark.parametrize("level", ["log", "ticks"])
def test_spreads_sizes_and_the_grid_stay(method: str, level: str) -> None:
    ticks = market(2, crossed=True, sizes=True)
    block = {"slots": 30.0, "sessions": 1.0}.get(method, 25.0)
    resampler, path, found = whole(ticks, ResampleSpec(method, level=level, block=block), 1)
    places = source_places(path)
    np.testing.assert_array_equal(spread_ticks(found, 100), spread_ticks(ticks, 100)[places])
    np.testing.assert_array_equal(found.bid_size, ticks.bid_size[places])
    for column in (found.bid, found.ask):
        np.testing.assert_array_equal(np.rint(column * 100) / 100, column)
    assert (np.diff(found.ts) >= 0).all()
    assert resampler.units >= 2


@pytest.mark.parametrize("method", ["sessions", "slots", "stationary", "moving"])
def test_changes_of_the_log_mid_are_those_of_the_source_ticks(method: str) -> None:
    """Also where blocks meet: a block brings the change into its first tick along."""
    ticks = market(3)
    spec = ResampleSpec(method, tick_size=0.0, block=30.0 if method != "sessions" else None)
    _, path, found = whole(ticks, spec, 2)
    places = source_places(path)
    assert found.mid[0] == pytest.approx(ticks.mid[0])
    own = np.diff(np.log(ticks.mid), prepend=np.log(ticks.mid[0]))
    np.testing.assert_allclose(np.diff(np.log(found.mid)), own[places][1:], atol=1e-12)


def test_moves_in_ticks_are_those_of_the_source_within_a_block() -> None:
    ticks = market(4)
    _, path, found = whole(ticks, ResampleSpec("sessions", level="ticks"), 1)
    edges = path.edges
    for k, piece in enumerate(path.pieces):
        own = slice(edges[k], edges[k + 1])
        source = slice(piece["first"], piece["end"])
        for new, old in ((found.bid, ticks.bid), (found.ask, ticks.ask)):
            moves = np.rint(np.diff(old[source]) * 100)
            np.testing.assert_array_equal(np.rint(np.diff(new[own]) * 100), moves)


def test_the_clock_time_of_every_tick_stays() -> None:
    ticks = market(5)
    for method in ("sessions", "slots"):
        _, path, found = whole(ticks, ResampleSpec(method), 1)
        np.testing.assert_array_equal(found.ts % DAY, ticks.ts[source_places(path)] % DAY)
        days = np.unique(found.ts // DAY)
        np.testing.assert_array_equal(days, np.unique(ticks.ts // DAY))


def test_a_slot_is_filled_from_the_same_slot() -> None:
    ticks = market(6)
    _, path, found = whole(ticks, ResampleSpec("slots", block=60), 1)
    places = source_places(path)
    hour = 60 * MINUTE
    np.testing.assert_array_equal(found.ts % DAY // hour, ticks.ts[places] % DAY // hour)
    source_days = ticks.ts[places] // DAY
    assert len(np.unique(source_days[found.ts // DAY == found.ts[0] // DAY])) > 1


def test_time_steps_of_tick_blocks_are_those_of_the_source_ticks() -> None:
    ticks = market(7)
    resampler, path, found = whole(ticks, ResampleSpec("stationary", block=9), 1)
    steps = np.diff(ticks.ts, prepend=0)
    steps[0] = resampler.step
    np.testing.assert_array_equal(np.diff(found.ts), steps[source_places(path)][1:])


def test_stamps_never_decrease_where_sessions_overlap() -> None:
    """A session that goes on past the opening of the next pushes that one back."""
    ts = np.array([0, 900, 1000, 1010]) * MINUTE
    ts = MONDAY + np.concatenate([ts, DAY + ts[:2], DAY + np.array([1080, 1081]) * MINUTE])
    bid = np.arange(8) + 100.0
    ticks = read_only(Ticks(ts, bid, bid + 1, np.empty(0), np.empty(0)))
    resampler = prepare(ticks, ResampleSpec("identity", gap=600))
    shift = np.array([0, -DAY // 2])
    blocks = Blocks(
        np.array([4, 4]), np.array([8, 8]), shift, np.arange(2) << 24, np.arange(2), np.arange(2)
    )
    found = derive_ticks(resampler, ticks, lay_out(resampler, ticks, blocks))
    assert (np.diff(found.ts) >= 0).all()


# -- sessions --------------------------------------------------------------------------


def test_sessions_are_found_from_gaps_or_by_the_clock() -> None:
    ticks = market(8)
    gaps, clock = find_sessions(ticks.ts), sessions_by_clock(ticks.ts, 5.0)
    for found in (gaps, clock):
        assert len(found) == 6
        assert (found.begins[1:] == found.ends[:-1]).all()
        assert (found.begins[0], found.ends[-1]) == (0, len(ticks.ts))
        assert len(np.unique(found.kinds)) == 1


def test_half_days_go_only_into_half_days() -> None:
    parts = [market(9, sessions=8), market(9, sessions=8)]
    day = parts[0].ts // DAY - MONDAY // DAY
    short = np.isin(day, (2, 4)) & (parts[0].ts % DAY > 12 * 60 * MINUTE)
    ticks = read_only(Ticks(*(c[~short] if len(c) else c for c in parts[0])))
    found = find_sessions(ticks.ts)
    kinds = found.kinds
    assert kinds[2] == kinds[4] != kinds[0]
    for method in ("sessions", "slots"):
        resampler = prepare(ticks, ResampleSpec(method))
        for number in range(5):
            path = plan_path(resampler, ticks, number)
            target = np.searchsorted(
                ticks.ts[found.begins] // DAY,
                (ticks.ts[path.pieces["first"]] + path.pieces["shift"]) // DAY,
            )
            source = np.searchsorted(found.begins, path.pieces["first"], "right") - 1
            np.testing.assert_array_equal(kinds[target], kinds[source])


def test_blocks_of_sessions_follow_each_other_in_the_source() -> None:
    draw = np.random.default_rng(2)
    kinds = np.zeros(400, np.int64)
    chosen, opened = draw_sessions(kinds, 8.0, draw)
    inner = np.setdiff1d(np.arange(400), opened)
    np.testing.assert_array_equal(chosen[inner], (chosen[inner - 1] + 1) % 400)
    assert 25 < len(opened) < 80
    alone, opened = draw_sessions(np.arange(7), 1.0, draw)
    np.testing.assert_array_equal(alone, np.arange(7))


# -- what a path is a function of ------------------------------------------------------


def test_a_path_depends_on_seed_method_and_number_alone() -> None:
    ticks = market(10)
    for method in ("sessions", "slots", "stationary", "circular", "moving"):
        block = 30.0 if method != "sessions" else None
        first = whole(ticks, ResampleSpec(method, seed=4, block=block), 7)[1]
        again = whole(ticks, ResampleSpec(method, seed=4, block=block), 7)[1]
        assert first.pieces.tobytes() == again.pieces.tobytes()
        for other in (
            whole(ticks, ResampleSpec(method, seed=5, block=block), 7)[1],
            whole(ticks, ResampleSpec(method, seed=4, block=block), 8)[1],
        ):
            assert first.pieces.tobytes() != other.pieces.tobytes()


def test_a_path_is_the_same_in_another_process() -> None:
    code = (
        "import numpy as np\n"
        "from tests.scenarios.test_resample import market, whole\n"
        "from sweep.scenarios.resample.spec import ResampleSpec\n"
        "import hashlib\n"
        "found = whole(market(11), ResampleSpec('slots', seed=9), 1234)[2]\n"
        "print(hashlib.sha256(b''.join(c.tobytes() for c in found)).hexdigest())\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(said) == 1


def test_any_part_of_a_path_is_a_part_of_the_whole() -> None:
    ticks = market(12, sizes=True)
    resampler, path, found = whole(ticks, ResampleSpec("slots"), 1)
    n = len(found.ts)
    for begin, end in ((0, n), (0, 1), (n - 1, n), (5, 5), (37, 411)):
        part = derive_ticks(resampler, ticks, path, begin, end)
        assert same(part, found.between(begin, end))
    blocks = list(path_blocks(resampler, ticks, path, 100))
    assert same(Ticks(*(np.concatenate(c) for c in zip(*blocks, strict=True))), found)
    with pytest.raises(InputError, match="of a path of"):
        derive_ticks(resampler, ticks, path, 0, n + 1)


@settings(max_examples=40)
@given(
    tick_series(min_size=4, crossed=True),
    st.sampled_from(("stationary", "circular", "moving")),
    st.integers(1, 4),
    st.sampled_from(("log", "ticks")),
    st.integers(0, 3),
)
def test_paths_of_any_series(
    ticks: Ticks, method: str, block: int, level: str, number: int
) -> None:
    spec = ResampleSpec(method, block=float(block), level=level, tick_size=1 / 64)
    try:
        resampler, path, found = whole(ticks, spec, number)
    except DataError as error:
        assume("prices of 0" not in str(error))
        raise
    places = source_places(path)
    assert len(places) == len(ticks.ts)
    assert (np.diff(found.ts) >= 0).all()
    np.testing.assert_array_equal(spread_ticks(found, 64), spread_ticks(ticks, 64)[places])
    assert resampler.grid.per_unit == 64


# -- the grid --------------------------------------------------------------------------


def test_a_price_on_a_grid_is_the_double_nearest_to_it() -> None:
    draw = np.random.default_rng(13)
    for per_unit in (1, 3, 20, 100, 1_000, 4_096, 10**5, 10**6, (1 << 20) - 1):
        below = draw.integers(1, (1 << 31) - 300, 20_000)
        above = below + draw.integers(0, 300, len(below))
        bid, ask = below / np.float64(per_unit), above / np.float64(per_unit)
        new_bid, new_ask = np.empty(len(bid)), np.empty(len(bid))
        grid = grid_of(Fraction(per_unit))
        derive_quotes(bid, ask, 0, len(bid), 1.0, 7.0, *grid, 0.0, new_bid, new_ask, 0)
        np.testing.assert_array_equal(new_bid, (below + 7) / np.float64(per_unit))
        np.testing.assert_array_equal(new_ask, (above + 7) / np.float64(per_unit))


@pytest.mark.parametrize("per_unit", [Fraction(2, 3), Fraction(-1), Fraction(10**7)])
def test_there_are_no_other_grids(per_unit: Fraction) -> None:
    with pytest.raises(ValueError, match="ticks in a unit"):
        grid_of(per_unit)


def test_the_coarsest_grid_is_found() -> None:
    for grid, size in ((100, 0.01), (128, 1 / 128), (10**5, 1e-5)):
        ticks = market(14, grid=grid)
        assert prepare(ticks, ResampleSpec()).grid.per_unit == grid
        assert prepare(ticks, ResampleSpec(tick_size=size)).grid.per_unit == grid
    off = read_only(ticks._replace(bid=ticks.bid * np.pi / 3))
    assert prepare(off, ResampleSpec()).grid.per_unit == 0


# -- files -----------------------------------------------------------------------------


def test_an_exported_path_is_read_as_any_source(tmp_path: FilePath) -> None:
    ticks = market(15, sizes=True)
    resampler, _, expected = whole(ticks, ResampleSpec("sessions"), 3)
    n = export_path(resampler, held(ticks), 3, tmp_path / "path.parquet")
    assert n == len(expected.ts)
    handle = import_ticks(SourceSpec(path=str(tmp_path / "path.parquet"))).handle
    assert same(mapped.attach(handle), expected)


# -- errors and warnings ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"method": "session"}, 'did you mean "sessions"'),
        ({"method": "slots", "block": float("nan")}, "expected 0 or more"),
        ({"method": "slots", "block": 37}, "minutes that divide the day"),
        ({"method": "moving", "block": 2.5}, "a whole number, 1 or more"),
        ({"method": "stationary", "block": 0.5}, "expected 1 or more"),
        ({"method": "identity", "block": 3}, "identity has no block"),
        ({"restart": "sometimes"}, "expected session, block, never"),
        ({"method": "circular", "restart": "session"}, "no sessions to start afresh"),
        ({"level": "price"}, "expected log, ticks"),
        ({"seed": -1}, "expected 0 or more"),
        ({"tick_size": -0.1}, "expected 0 or more"),
        ({"tick_size": 0, "level": "ticks"}, "needs a price grid"),
        ({"gap": 0}, "expected more than 0"),
        ({"gap": 30, "opens": 22}, "give one"),
    ],
)
def test_a_wrong_setting_is_refused(spec: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ResampleSpec(**spec)


def test_data_that_cannot_be_resampled_are_refused() -> None:
    ticks = market(16)
    n = len(ticks.ts)
    one = int(find_sessions(ticks.ts).ends[0])
    for spec, end, says in (
        (ResampleSpec("sessions"), one, "the data have one"),
        (ResampleSpec("stationary", block=n + 1), n, "longer than the data"),
        (ResampleSpec("sessions", tick_size=0.05), n, "does not lie on a grid of 0.05"),
        (ResampleSpec("sessions", tick_size=0.7), n, "one over a whole number"),
        (ResampleSpec("sessions", opens=24.0), n, "from 0 to below 24"),
    ):
        with pytest.raises(DataError, match=says):
            prepare(ticks, spec, 0, end)
    with pytest.raises(DataError, match="nothing to resample"):
        prepare(ticks, ResampleSpec(), 3, 3)
    holes = ticks.bid.copy()
    holes[5] = np.nan
    with pytest.raises(DataError, match="tick 5 has the quote nan"):
        prepare(read_only(ticks._replace(bid=holes)), ResampleSpec())
    off = read_only(ticks._replace(bid=ticks.bid * np.pi / 3))
    with pytest.raises(DataError, match="none was found"):
        prepare(off, ResampleSpec(level="ticks"))
    lengths = np.array([100, 50, 10])
    stamps = np.concatenate(
        [MONDAY + k * DAY + np.arange(m) * MINUTE for k, m in enumerate(lengths)]
    )
    bid = np.arange(len(stamps)) + 100.0
    unlike = read_only(Ticks(stamps, bid, bid + 1, np.empty(0), np.empty(0)))
    with pytest.raises(DataError, match="no two of the 3 sessions"):
        prepare(unlike, ResampleSpec())


def test_paths_without_positive_prices_are_refused() -> None:
    ts = MONDAY + np.arange(40) * SECOND
    bid = np.arange(40, 0, -1) + 0.0
    ticks = read_only(Ticks(ts, bid, bid + 1, np.empty(0), np.empty(0)))
    resampler = prepare(ticks, ResampleSpec("circular", block=39, level="ticks"))
    with pytest.raises(DataError, match="prices of 0 or below"):
        [plan_path(resampler, ticks, number) for number in range(9)]


def test_a_reader_is_told_what_the_data_do_not_support() -> None:
    ticks = market(17)
    assert "too few units" in " ".join(prepare(ticks, ResampleSpec()).warnings)
    blocks = prepare(ticks, ResampleSpec("circular", block=9)).warnings
    assert "pattern over the day" in blocks[0]
    assert prepare(ticks, ResampleSpec("slots")).units == 6
    in_blocks = prepare(ticks, ResampleSpec(block=3))
    assert in_blocks.units == 2
    assert "2 blocks of 3 sessions to draw from" in " ".join(in_blocks.warnings)
    assert "1 block of 6 sessions to draw" in " ".join(
        prepare(ticks, ResampleSpec(block=6)).warnings
    )


def test_blocks_of_more_sessions_than_there_are_are_refused() -> None:
    ticks = market(17)
    with pytest.raises(DataError, match="blocks of 7 sessions on average are longer than the data"):
        prepare(ticks, ResampleSpec(block=7))
    with pytest.raises(DataError, match=r"6 sessions; use a block of 1 to 6 sessions$"):
        prepare(ticks, ResampleSpec(block=6.01))
