"""What the checks of ticks find, count, drop and refuse."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.errors import DataError
from sweep.ticks import quality
from sweep.ticks.quality import (
    NO_STAMP,
    Checker,
    Chunk,
    Finding,
    Policies,
    TickReport,
    concatenate,
    format_duration,
    format_stamp,
    gap_statistics,
    pack_rows,
    take,
)

NAN, INF = float("nan"), float("inf")
LAX = {
    "backward": "drop",
    "nan": "drop",
    "infinite": "drop",
    "non_positive": "drop",
    "crossed": "drop",
}


def market(rows: Sequence[tuple[Any, float, float]]) -> Chunk:
    """Ticks from (stamp or None, bid, ask)."""
    return {
        "ts": np.array([NO_STAMP if r[0] is None else r[0] for r in rows], np.int64),
        "bid": np.array([r[1] for r in rows], np.float64),
        "ask": np.array([r[2] for r in rows], np.float64),
        "row": pack_rows(0, np.arange(1, len(rows) + 1)),
    }


def passed(
    chunks: Sequence[Chunk], **policies: str
) -> tuple[Chunk | None, dict[str, Finding], DataError | None]:
    checker = Checker(Policies(**policies), "ticks.csv", ["ticks.csv"])
    kept = list(checker.series(checker.rows(chunks)))
    findings = {f.check: f for f in checker.findings()}
    return (concatenate(kept) if kept else None), findings, checker.error()


#: One bad tick for each check, at row 3 of a market of six.
BAD = {
    "nan": (12, NAN, 101.0),
    "infinite": (12, 100.0, INF),
    "non_positive": (12, 0.0, 101.0),
    "crossed": (12, 100.0, 99.0),
    "backward": (5, 100.0, 101.0),
}


def with_bad(check: str) -> Chunk:
    good = [(10 + i, 100.0, 101.0) for i in range(6)]
    return market([*good[:2], BAD[check], *good[3:]])


@pytest.mark.parametrize("check", BAD)
def test_what_would_corrupt_results_is_refused_by_default(check: str) -> None:
    _, findings, error = passed([with_bad(check)])
    assert findings[check].count == 1
    assert error is not None
    text = str(error)
    assert text.startswith("ticks.csv: 1 ")
    assert "of 6, first at row 3 (" in text
    assert f'set data.policies.{check} = "drop"' in text


@pytest.mark.parametrize("check", BAD)
def test_drop_leaves_the_bad_tick_out_and_nothing_else(check: str) -> None:
    kept, findings, error = passed([with_bad(check)], **{check: "drop"})
    assert error is None
    assert findings[check] == Finding(
        check, "drop", 1, findings[check].first, 3, "ticks.csv", BAD[check][0]
    )
    assert kept is not None
    assert kept["row"].tolist() == [1, 2, 4, 5, 6]
    assert sum(f.count for f in findings.values()) == 1


def test_crossed_quotes_may_be_kept() -> None:
    kept, findings, error = passed([with_bad("crossed")], crossed="keep")
    assert error is None
    assert findings["crossed"].count == 1
    assert kept is not None
    assert len(kept["ts"]) == 6


def test_a_locked_quote_is_not_crossed() -> None:
    _, findings, error = passed([market([(1, 100.0, 100.0), (2, 100.0, 100.0)])])
    assert error is None
    assert findings["crossed"].count == 0


def test_the_message_reads_as_a_user_would_want_it() -> None:
    ts = 1_398_902_403_123_000_000
    _, _, error = passed([market([(ts, 1.38, 1.37)] * 1200)])
    assert str(error) == (
        "ticks.csv: 1,200 crossed quotes (ask < bid) of 1,200, first at row 1 "
        "(2014-05-01T00:00:03.123Z, bid 1.38 ask 1.37); set data.policies.crossed = "
        '"drop" (or "keep") to let them pass'
    )


def test_every_refused_check_is_named_and_counted_over_the_whole_source() -> None:
    chunks = [with_bad(check) for check in ("crossed", "nan", "crossed")]
    for i, chunk in enumerate(chunks):
        chunk["ts"] += 100 * i
    _, _, error = passed(chunks)
    lines = str(error).split("\n")
    assert len(lines) == 2
    assert "1 tick with a missing stamp or price of 18" in lines[0]
    assert "2 crossed quotes (ask < bid) of 18" in lines[1]


def test_a_missing_stamp_counts_as_missing() -> None:
    rows = [(1, 1.0, 2.0), (None, 1.0, 2.0), (3, 1.0, 2.0)]
    kept, findings, _ = passed([market(rows)], nan="drop")
    assert findings["nan"].count == 1
    assert findings["nan"].ts is None
    assert "no stamp" in findings["nan"].first
    assert kept is not None
    assert kept["ts"].tolist() == [1, 3]


def test_fill_takes_the_last_known_value_of_each_side_across_chunks() -> None:
    chunks = [
        market([(1, NAN, 11.0), (2, 9.0, 11.0)]),
        market([(3, NAN, 12.0), (4, 8.0, NAN), (5, NAN, NAN)]),
    ]
    kept, findings, error = passed(chunks, nan="fill")
    assert error is None
    assert findings["nan"].count == 4
    assert kept is not None
    assert kept["ts"].tolist() == [2, 3, 4, 5]
    assert kept["bid"].tolist() == [9.0, 9.0, 8.0, 8.0]
    assert kept["ask"].tolist() == [11.0, 12.0, 12.0, 12.0]


def test_sizes_are_checked_too_and_a_size_of_zero_is_fine() -> None:
    chunk = market([(i, 1.0, 2.0) for i in range(4)])
    chunk["bid_size"] = np.array([0.0, -1.0, INF, 3.0])
    chunk["ask_size"] = np.zeros(4)
    kept, findings, _ = passed([chunk], **LAX)
    assert findings["non_positive"].count == 1
    assert findings["infinite"].count == 1
    assert kept is not None
    assert kept["bid_size"].tolist() == [0.0, 3.0]


def test_backward_is_judged_against_the_latest_stamp_not_the_last() -> None:
    rows = [(t, 1.0, 2.0) for t in (10, 20, 12, 15, 20, 21)]
    kept, findings, _ = passed([market(rows)], backward="drop")
    assert findings["backward"].count == 2
    assert kept is not None
    assert kept["ts"].tolist() == [10, 20, 20, 21]


def test_duplicate_stamps_are_kept_counted_and_dropped_when_asked() -> None:
    rows = [(t, 1.0, 2.0 + i) for i, t in enumerate((1, 1, 1, 2, 3, 3))]
    kept, findings, error = passed([market(rows)])
    assert error is None
    assert findings["duplicate"].count == 3
    assert kept is not None
    assert len(kept["ts"]) == 6
    kept, _, _ = passed([market(rows)], duplicate="drop")
    assert kept is not None
    assert kept["ask"].tolist() == [2.0, 5.0, 6.0]
    _, _, error = passed([market(rows)], duplicate="error")
    assert "3 duplicate stamps of 6, first at row 2" in str(error)


def spiky(at: Sequence[int], n: int = 3000, size: float = 5.0) -> Chunk:
    """A quiet market whose mid leaps at some ticks and comes back at the next."""
    rng = np.random.default_rng(3)
    mid = 100.0 + 0.01 * np.cumsum(rng.integers(-1, 2, n))
    mid[list(at)] += size
    ts = np.arange(n) * 10**9
    rows = pack_rows(0, np.arange(1, n + 1))
    return {"ts": ts, "bid": mid - 0.01, "ask": mid + 0.01, "row": rows}


def test_a_jump_that_comes_back_is_an_outlier_and_one_that_stays_is_not() -> None:
    _, findings, error = passed([spiky([700, 2000])])
    assert error is None
    assert findings["outlier"].count == 2
    assert findings["outlier"].row == 701
    level = spiky([])
    level["bid"][1500:] += 5.0  # a weekend's gap
    level["ask"][1500:] += 5.0
    _, findings, _ = passed([level])
    assert findings["outlier"].count == 0


def test_the_first_and_the_last_tick_are_no_outliers() -> None:
    _, findings, _ = passed([spiky([0, 2999])])
    assert findings["outlier"].count == 0


def test_outliers_are_found_on_the_border_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "BLOCK", 1000)
    for at in (999, 1000, 1001):
        kept, findings, _ = passed([spiky([at])], outlier="drop")
        assert findings["outlier"].count == 1
        assert kept is not None
        assert at + 1 not in kept["row"].tolist()


prices = st.sampled_from((100.0, 100.0, 100.5, 101.0, 99.0, 500.0, 0.0, -1.0, NAN, INF))
dirty_rows = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 30)), prices, prices), min_size=1, max_size=60
)


@given(dirty_rows, st.lists(st.integers(0, 60), max_size=6), st.booleans())
def test_no_result_depends_on_where_the_chunks_are_cut(
    rows: list[tuple[int | None, float, float]], cuts: list[int], fill: bool
) -> None:
    policies = {**LAX, "duplicate": "drop", "outlier": "drop", "nan": "fill" if fill else "drop"}
    whole = market(rows)
    edges = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    parts = [take(whole, slice(a, b)) for a, b in itertools.pairwise(edges)]
    kept, findings, _ = passed([whole], **policies)
    again, found, _ = passed(parts, **policies)
    assert findings == found
    if kept is None or again is None:
        assert kept is again
    else:
        assert all(np.array_equal(kept[name], again[name]) for name in kept)


clean_rows = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from((99.0, 100.0)), st.sampled_from((100.0, 101.0))),
    min_size=1,
    max_size=30,
)


@given(clean_rows, st.integers(0, 30), dirty_rows, st.booleans())
def test_chunks_that_need_no_check_pass_as_those_that_are_checked(
    rows: list[tuple[int, float, float]],
    first: int,
    dirty: list[tuple[int | None, float, float]],
    sizes: bool,
) -> None:
    """Each tick by itself is checked in full only where a look at the chunk does not do."""
    parts = [market(sorted(rows)), market(dirty), market(rows)]
    parts[0]["ts"] += first
    if sizes:
        for part in parts:
            part["bid_size"] = np.array([NAN, 1.0, 2.0, INF, -1.0])[np.arange(len(part["ts"])) % 3]
    looked_at = passed(parts, **LAX)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checker, "_spotless", lambda self, chunk: False)
        checked = passed(parts, **LAX)
    assert looked_at[1:] == checked[1:]
    if looked_at[0] is None or checked[0] is None:
        assert looked_at[0] is checked[0]
    else:
        for name, column in checked[0].items():
            assert np.array_equal(looked_at[0][name], column, equal_nan=True)


@given(
    st.lists(st.tuples(st.sampled_from((0, 1, -1, 40, -40, 500)), st.integers(1, 30)), min_size=1),
    st.integers(2, 40),
)
def test_outliers_do_not_depend_on_a_shorter_way_to_rule_them_out(
    steps: list[tuple[int, int]], block: int
) -> None:
    """A block none of whose moves exceeds 20 of most spreads has no outliers: not worked out."""
    mid = 1_000.0 + 0.5 * np.cumsum([move for move, _ in steps])
    half = 0.005 * np.array([width for _, width in steps])
    ts = np.arange(len(steps)) * 10**9
    chunk = {"ts": ts, "bid": mid - half, "ask": mid + half, "row": pack_rows(0, ts // 10**9 + 1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "BLOCK", block)
        ruled_out = passed([chunk], outlier="drop")
        patch.setattr(quality, "_covers", lambda spread, move: False)
        worked_out = passed([chunk], outlier="drop")
    assert ruled_out[1] == worked_out[1]
    assert (ruled_out[0] is None) == (worked_out[0] is None)
    if ruled_out[0] is not None and worked_out[0] is not None:
        assert np.array_equal(ruled_out[0]["row"], worked_out[0]["row"])


@given(dirty_rows)
def test_what_passes_is_a_valid_series(rows: list[tuple[int | None, float, float]]) -> None:
    kept, _, error = passed([market(rows)], **LAX)
    assert error is None
    if kept is not None:
        assert (np.diff(kept["ts"]) >= 0).all()
        assert (kept["ask"] >= kept["bid"]).all()
        assert (kept["bid"] > 0.0).all()
        assert np.isfinite(kept["ask"]).all()


@given(
    st.lists(st.integers(-(2**62), 2**61), min_size=2, max_size=80),
    st.integers(1, 100),
)
def test_gaps_are_exact(stamps: list[int], chunk: int) -> None:
    ts = np.sort(np.array(stamps, np.int64) // 2)
    gaps = np.diff(ts).tolist()
    median, largest, at = gap_statistics(ts, chunk=chunk)
    assert median == statistics.median_low(gaps)
    assert largest == max(gaps)
    assert at == ts[gaps.index(max(gaps)) + 1]


def test_a_single_tick_has_no_gaps() -> None:
    assert gap_statistics(np.array([7], np.int64)) == (0, 0, 7)


def test_an_unknown_policy_names_those_that_there_are() -> None:
    with pytest.raises(DataError, match=r"data\.policies\.crossed: 'sort'.*error, drop, keep"):
        Policies(crossed="sort")


def test_the_report_survives_json_and_shows_what_matters() -> None:
    _, findings, _ = passed([with_bad("crossed")], crossed="drop")
    report = TickReport(
        *("ticks.csv", 1, 6, 5, 10, 15, 1, 2, 13), tuple(findings.values()), ("columns: a",)
    )
    assert TickReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    text = "\n".join(report.lines())
    assert "6 ticks read, 5 kept" in text
    assert "first at row 3" in text
    assert "columns: a" in text


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_398_902_403_123_000_000, "2014-05-01T00:00:03.123Z"),
        (1_398_902_403_120_000_000, "2014-05-01T00:00:03.120Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (NO_STAMP, "no stamp"),
    ],
)
def test_stamps_show_as_many_decimals_as_they_have(ts: int, text: str) -> None:
    assert format_stamp(ts) == text


@pytest.mark.parametrize(
    ("ns", "text"), [(7, "7 ns"), (1_500, "1.5 us"), (90_000_000_000, "1.5 min"), (0, "0 ns")]
)
def test_durations_have_a_unit_that_suits_them(ns: int, text: str) -> None:
    assert format_duration(ns) == text
