"""A survey knows of ticks that it does not keep what an import knows of those in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generators import SECOND, tick_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep.errors import DataError
from sweep.schema import Slice, Ticks
from sweep.ticks import store
from sweep.ticks.mapped import attach
from sweep.ticks.quality import Policies, gap_statistics
from sweep.ticks.sessions import find_cuts
from sweep.ticks.slices import Marks, UnmarkedError, cut_by_time, select, split_holdout
from sweep.ticks.sources import SourceSpec, write_parquet
from sweep.ticks.survey import survey
from sweep.ticks.synthetic import SynthSpec

MARKET = SourceSpec("synth", synth=SynthSpec(seed=8, sessions=4, ticks_per_session=30_000))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("sizes", [False, True])
def test_hash_and_report_are_those_of_the_store(sizes: bool) -> None:
    source = replace(
        MARKET, synth=SynthSpec(seed=8, sessions=4, ticks_per_session=30_000, sizes=sizes)
    )
    kept, seen = store.import_ticks(source), survey(source)
    assert replace(seen.handle, path=kept.handle.path) == kept.handle
    assert replace(seen.report, median_gap=0) == replace(kept.report, median_gap=0)
    assert seen.report.median_gap == pytest.approx(kept.report.median_gap, rel=1 / 4_000)


def test_a_survey_is_kept_until_the_source_changes(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    ts = np.arange(100) * SECOND
    chunk = {"ts": ts, "bid": np.full(100, 1.0), "ask": np.full(100, 2.0)}
    write_parquet(iter([chunk]), path)
    source = SourceSpec(str(path))
    first = survey(source, [5 * SECOND])
    again = survey(source, [5 * SECOND])
    assert first.read
    assert not again.read
    assert again.handle == first.handle
    assert again.report == first.report
    assert again.marks.find(5 * SECOND) == 5
    assert survey(source, [7 * SECOND]).read
    write_parquet(iter([{**chunk, "bid": np.full(100, 1.5)}]), path)
    changed = survey(source)
    assert changed.read
    assert changed.handle.content != first.handle.content


def test_a_damaged_survey_is_made_again() -> None:
    first = survey(MARKET)
    (path,) = (store.root("disk") / ".surveys").iterdir()
    path.write_text("{")
    again = survey(MARKET)
    assert again.read
    assert again.handle == first.handle


def test_policies_hold(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    ts = np.arange(1_000) * SECOND
    ts[[300, 700]] -= 50 * SECOND
    bid = np.full(1_000, 1.0)
    bid[5] = np.nan
    write_parquet(iter([{"ts": ts, "bid": bid, "ask": np.full(1_000, 2.0)}]), path)
    source = SourceSpec(str(path))
    with pytest.raises(DataError) as of_survey:
        survey(source)
    with pytest.raises(DataError) as of_import:
        store.import_ticks(source)
    assert str(of_survey.value) == str(of_import.value)
    source = replace(source, policies=Policies(nan="drop", backward="sort"))
    kept, seen = store.import_ticks(source), survey(source, run=100)
    assert seen.handle.content == kept.handle.content


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    ticks=tick_series(min_size=12, max_size=80),
    data=st.data(),
)
def test_cuts_by_marks_are_cuts_by_stamps(
    tmp_path_factory: pytest.TempPathFactory, ticks: Ticks, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / "ticks.parquet"
    write_parquet(iter([{"ts": ticks.ts, "bid": ticks.bid, "ask": ticks.ask}]), path)
    source = SourceSpec(str(path))
    low, high = int(ticks.ts[0]) - 5, int(ticks.ts[-1]) + 5
    stamps = st.one_of(st.integers(low, high), st.sampled_from(ticks.ts.tolist()))
    first, end = data.draw(st.one_of(st.none(), stamps)), data.draw(st.one_of(st.none(), stamps))
    share = data.draw(st.sampled_from((0.0, 0.25, 0.5)))
    width = data.draw(st.sampled_from((SECOND, 3_600 * SECOND, 30 * 3_600 * SECOND)))
    if (high - low) // width > 10_000:
        width = max((high - low) // 100, 1)

    def cut(ts: object) -> object:
        try:
            a, b = select(ts, first, end)  # type: ignore[arg-type]
            ranges = split_holdout(ts, a, b, share=share)  # type: ignore[arg-type]
            return a, b, ranges, cut_by_time(ts, ranges.search, width)  # type: ignore[arg-type]
        except DataError as error:
            return str(error)

    asked: set[int] = set()
    while True:
        marks = survey(source, asked).marks
        try:
            found = cut(marks)
            break
        except UnmarkedError as more:
            asked |= set(more.stamps)
    assert found == cut(ticks.ts)
    if isinstance(found, tuple):
        search = found[2].search
        sessions = find_cuts(marks, search.begin, search.end)
        assert sessions == find_cuts(ticks.ts, search.begin, search.end)
        at = found[0]
        assert marks.mid(at) == 0.5 * (float(ticks.bid[at]) + float(ticks.ask[at]))


MINUTE = 60 * SECOND
DAY = 1_440 * MINUTE
#: Gaps that part sessions, and just do not, and one that ends a market for long.
RESTS = (30 * MINUTE, 30 * MINUTE - 1, 30 * MINUTE + 1, 17 * 60 * MINUTE, 3 * DAY)


def lively(rng: np.random.Generator) -> np.ndarray:
    """Return stamps with sessions of some hours or of weeks, or of few ticks."""
    n = int(rng.integers(200, 500))
    usual = int(rng.choice([SECOND, MINUTE, 20 * MINUTE, 25 * MINUTE]))
    gaps = rng.integers(0, 2 * usual, n)
    gaps[rng.random(n) < 0.1] = 0
    rests = rng.choice(n, int(rng.integers(0, 12)), replace=False)
    gaps[rests] = rng.choice(RESTS, len(rests))
    ts = int(rng.integers(-3 * DAY, 3 * DAY)) + np.cumsum(gaps)
    # In half of the cases a day begins with a tick.
    ts += (-ts[n // 2] % DAY) * int(rng.integers(2))
    return ts.astype(np.int64)


def test_sessions_by_marks_are_sessions_by_stamps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where chunks begin with a session or a day, before 1970, and in a part of the range."""
    rng = np.random.default_rng(6)
    by_days = 0
    for case in range(100):
        ts = lively(rng)
        n = len(ts)
        breaks = np.flatnonzero((np.diff(ts) >= 30 * MINUTE) | (np.diff(ts // DAY) > 0)) + 1
        # Chunks of so many ticks that one of them begins with a break.
        chunk = int(rng.choice(breaks)) if len(breaks) else 50
        monkeypatch.setattr("sweep.ticks.quality.BLOCK", min(chunk, 100))
        path = tmp_path / f"{case}.parquet"
        write_parquet(iter([{"ts": ts, "bid": np.full(n, 1.0), "ask": np.full(n, 2.0)}]), path)
        first, end = int(ts[n // 4]), int(ts[n - n // 4])
        marks = survey(SourceSpec(str(path)), (first, end)).marks
        for search in (select(ts, None, None), select(ts, first, end)):
            found = find_cuts(marks, *search)
            assert found == find_cuts(ts, *search), case
            rests = np.flatnonzero(np.diff(ts[search[0] : search[1]]) >= 30 * MINUTE) + 1
            by_days += found.edges[1:-1] != tuple((rests + search[0]).tolist())
    assert 40 < by_days < 160


def test_a_survey_of_an_earlier_version_is_made_again() -> None:
    first = survey(MARKET)
    (path,) = (store.root("disk") / ".surveys").iterdir()
    known = json.loads(path.read_text())
    del known["marks"]["breaks"]
    path.write_text(json.dumps({**known, "format": known["format"] - 1}))
    again = survey(MARKET)
    assert again.read
    assert again.marks.breaks.tolist() == first.marks.breaks.tolist() != []


def test_the_median_gap_is_near_the_exact_one() -> None:
    kept = store.import_ticks(MARKET)
    exact = gap_statistics(attach(kept.handle).ts)
    report = survey(MARKET).report
    assert abs(report.median_gap - exact[0]) <= exact[0] / 4_096
    assert (report.largest_gap, report.largest_gap_ts) == exact[1:]


def test_marks_say_what_they_do_not_know() -> None:
    marks: Marks = survey(MARKET).marks
    with pytest.raises(UnmarkedError) as error:
        marks.find(3)
    assert error.value.stamps == (3,)
    with pytest.raises(IndexError, match="at no mark"):
        marks[1_000]
    assert len(marks) == marks.n_ticks
    assert Slice(0, len(marks), 0).end == marks.n_ticks
