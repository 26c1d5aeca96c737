"""The tick store: built once, whole or not at all, shared, never pulled away."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kills import calls_of, killed

from sweep.errors import DataError, StoreError
from sweep.ticks import mapped, store
from sweep.ticks.mapped import column_path, verify
from sweep.ticks.quality import Chunk, Policies, concatenate, take
from sweep.ticks.sorting import sort_chunks
from sweep.ticks.sources import SourceSpec, write_parquet
from sweep.ticks.store import (
    Imported,
    attach,
    clear,
    evict,
    import_ticks,
    list_entries,
    release,
    root,
)
from sweep.ticks.synthetic import SynthSpec, generate

SMALL = SynthSpec(sessions=2, ticks_per_session=1_000)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store of its own for each test, on disk and in memory."""
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    shm = Path("/dev/shm") / f"sweep-test-{os.getpid()}"
    shm.mkdir(exist_ok=True)
    monkeypatch.setenv("SWEEP_SHM", str(shm))
    yield tmp_path / "cache" / "ticks"
    for path in list(mapped._leases):
        release(path)
    shutil.rmtree(shm)


def synth(**settings: Any) -> SourceSpec:
    return SourceSpec("synth", synth=SynthSpec(**{**vars(SMALL), **settings}))


def ticks_of(spec: SynthSpec = SMALL) -> Chunk:
    return concatenate(list(generate(spec)))


def write(path: Path, chunk: Chunk, **options: Any) -> SourceSpec:
    """Write ticks as they are, good or bad; the ending says how."""
    whole = pa.table(dict(chunk))
    if path.suffix == ".parquet":
        pq.write_table(whole, path, **options)
    else:
        pacsv.write_csv(whole, path)
    return SourceSpec(str(path))


def left(folder: Path) -> list[str]:
    """All that lies in a store, hidden or not."""
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def key_of(found: Imported) -> str:
    return Path(found.handle.path).name


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run Python code in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out.strip()


# -- built once ------------------------------------------------------------------------


def test_a_second_import_finds_what_the_first_built() -> None:
    first, second = import_ticks(synth()), import_ticks(synth())
    assert first.built
    assert not second.built
    assert (first.handle, first.report) == (second.handle, second.report)


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_attached_ticks_are_those_of_the_source_and_read_only(where: Any) -> None:
    handle = import_ticks(synth(sizes=True), where=where).handle
    assert Path(handle.path).parent == root(where)
    ticks, expected = attach(handle), ticks_of(SynthSpec(**{**vars(SMALL), "sizes": True}))
    for name in ("ts", "bid", "ask", "bid_size", "ask_size"):
        column = getattr(ticks, name)
        assert type(column) is np.ndarray  # np.memmap is slow to pass to a kernel
        assert np.array_equal(column, expected[name])
        assert not column.flags.writeable
    assert attach(handle) is ticks
    assert (handle.n_ticks, handle.first_ts, handle.last_ts) == (
        len(ticks.ts),
        ticks.ts[0],
        ticks.ts[-1],
    )


def test_columns_that_a_source_lacks_are_empty() -> None:
    ticks = attach(import_ticks(synth()).handle)
    assert len(ticks.bid_size) == len(ticks.ask_size) == 0


def test_equal_ticks_have_equal_content_whatever_the_format_and_the_chunks(tmp_path: Path) -> None:
    chunk = ticks_of()
    found = [
        import_ticks(write(tmp_path / "a.parquet", chunk, row_group_size=100)),
        import_ticks(write(tmp_path / "b.parquet", chunk)),
        import_ticks(write(tmp_path / "c.csv", chunk)),
        import_ticks(synth()),
    ]
    assert len({f.handle.content for f in found}) == 1
    assert len({f.handle.path for f in found}) == 4
    chunk["bid"][7] -= 0.01
    changed = import_ticks(write(tmp_path / "d.parquet", chunk))
    assert changed.handle.content != found[0].handle.content


def test_a_renamed_source_is_found_and_the_report_says_its_new_name(tmp_path: Path) -> None:
    source = write(tmp_path / "a.parquet", ticks_of())
    import_ticks(source)
    (tmp_path / "a.parquet").rename(tmp_path / "b.parquet")
    again = import_ticks(SourceSpec(str(tmp_path / "b.parquet")))
    assert not again.built
    assert again.report.source == "b.parquet"


def test_a_changed_source_or_setting_is_imported_again(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", ticks_of())
    keys = {key_of(import_ticks(source))}
    for policies in (Policies(crossed="drop"), Policies(duplicate="drop")):
        keys.add(key_of(import_ticks(SourceSpec(source.path, policies=policies))))
    keys.add(key_of(import_ticks(SourceSpec(source.path, time_format="ns"))))
    keys.add(key_of(import_ticks(SourceSpec(source.path, columns=(("ask", "ask"),)))))
    write(tmp_path / "a.csv", ticks_of(SynthSpec(**{**vars(SMALL), "seed": 1})))
    keys.add(key_of(import_ticks(source)))
    assert len(keys) == 6


def test_the_report_counts_what_was_read_and_kept(tmp_path: Path) -> None:
    chunk = ticks_of()
    chunk["ask"][[5, 9]] = 1.0
    source = write(tmp_path / "a.parquet", chunk)
    found = import_ticks(SourceSpec(source.path, policies=Policies(crossed="drop")))
    n = len(chunk["ts"])
    assert (found.report.rows_read, found.report.rows_kept) == (n, n - 2)
    crossed = next(f for f in found.report.findings if f.check == "crossed")
    assert (crossed.count, crossed.row, crossed.file) == (2, 6, "a.parquet")
    gaps = np.diff(attach(found.handle).ts)
    assert found.report.median_gap == np.sort(gaps)[(len(gaps) - 1) // 2]
    assert found.report.largest_gap == gaps.max()
    assert any("bid = 'bid'" in note for note in found.report.notes)


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, float | None]] = []
    source = write(tmp_path / "a.parquet", ticks_of(), row_group_size=300)
    found = import_ticks(source, progress=lambda rows, share: seen.append((rows, share)))
    assert seen[-1] == (found.report.rows_read, 1.0)
    assert seen == sorted(seen)


# -- refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_refused_import_leaves_nothing(suffix: str, tmp_path: Path, cache: Path) -> None:
    chunk = ticks_of()
    chunk["ask"][[100, 200, 300]] = 1.0
    source = write(tmp_path / f"bad{suffix}", chunk)
    with pytest.raises(DataError, match=r"3 crossed quotes .* of .*first at row 101 "):
        import_ticks(source)
    assert left(cache) == []


def test_a_damaged_source_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    source = write(tmp_path / "bad.csv", ticks_of())
    with (tmp_path / "bad.csv").open("a") as file:
        file.write("1704096000934932670,abc,1\n")
    with pytest.raises(DataError, match="damaged, cut short"):
        import_ticks(source)
    assert left(cache) == []


def test_a_source_whose_ticks_are_all_dropped_is_refused(tmp_path: Path, cache: Path) -> None:
    chunk = ticks_of()
    chunk["ask"][:] = 1.0
    source = write(tmp_path / "bad.csv", chunk)
    with pytest.raises(DataError, match=r"no ticks are left of .*dropped: .* crossed"):
        import_ticks(SourceSpec(source.path, policies=Policies(crossed="drop")))
    assert left(cache) == []


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path: Path, cache: Path) -> None:
    source = write(tmp_path / "a.csv", ticks_of())

    def append(rows: int, share: float | None) -> None:
        with (tmp_path / "a.csv").open("a") as file:
            file.write("1704096000934932670,1,2\n")

    with pytest.raises(DataError, match="the source changed while it was read"):
        import_ticks(source, progress=append)
    assert left(cache) == []


def test_an_interrupted_import_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    def interrupt(rows: int, share: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_ticks(synth(), progress=interrupt)
    assert left(cache) == []
    assert import_ticks(synth()).built


# -- sorting ---------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=80),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_the_external_sort_is_stable_whatever_the_runs(
    stamps: list[int], run: int, size: int
) -> None:
    import tempfile

    ts = np.array(stamps, np.int64)
    whole: Chunk = {"ts": ts, "row": np.arange(len(ts))}
    parts = [take(whole, slice(i, i + size)) for i in range(0, len(ts), size)]
    with tempfile.TemporaryDirectory() as folder:
        found = concatenate(list(sort_chunks(parts, Path(folder) / "runs", run=run)))
    order = np.argsort(ts, kind="stable")
    assert np.array_equal(found["ts"], ts[order])
    assert np.array_equal(found["row"], order)


@pytest.mark.parametrize("run", [1 << 20, 300])
def test_the_policy_sort_gives_the_ticks_in_order(
    run: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "sort_chunks", partial(sort_chunks, run=run))
    chunk = ticks_of()
    shuffled = take(chunk, np.random.default_rng(5).permutation(len(chunk["ts"])))
    source = write(tmp_path / "a.parquet", shuffled, row_group_size=100)
    with pytest.raises(DataError, match="backward stamps"):
        import_ticks(source)
    found = import_ticks(SourceSpec(source.path, policies=Policies(backward="sort")))
    assert np.array_equal(attach(found.handle).ts, chunk["ts"])
    assert np.array_equal(attach(found.handle).bid, chunk["bid"])
    assert next(f for f in found.report.findings if f.check == "backward").count > 0
    assert left(Path(found.handle.path)) == sorted(
        ["ask.f8", "bid.f8", "lease", "meta.json", "ts.i8"]
    )


# -- damage ----------------------------------------------------------------------------


def cut(entry: Path) -> None:
    with column_path(entry, "bid").open("r+b") as file:
        file.truncate(80)


def lengthen(entry: Path) -> None:
    with column_path(entry, "ts").open("ab") as file:
        file.write(b"more")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut column": cut,
    "longer column": lengthen,
    "lost column": lambda entry: column_path(entry, "ask").unlink(),
    "lost description": lambda entry: (entry / "meta.json").unlink(),
    "torn description": lambda entry: (entry / "meta.json").write_text('{"format": 1, "n_ti'),
    "other format": lambda entry: (entry / "meta.json").write_text('{"format": 0}'),
    "lost lease": lambda entry: (entry / "lease").unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_entry_is_built_again(name: str, cache: Path) -> None:
    first = import_ticks(synth())
    release(first.handle.path)
    DAMAGE[name](Path(first.handle.path))
    again = import_ticks(synth())
    assert again.built
    assert again.handle == first.handle
    assert np.array_equal(attach(again.handle).ask, ticks_of()["ask"])
    assert left(cache) == [key_of(again)]


def test_attaching_a_damaged_or_lost_entry_says_what_to_do() -> None:
    handle = import_ticks(synth()).handle
    release(handle.path)
    cut(Path(handle.path))
    with pytest.raises(StoreError, match=r"damaged: 80 bytes.*run the command again"):
        attach(handle)
    release(handle.path)
    shutil.rmtree(handle.path)
    with pytest.raises(StoreError, match="no such entry any more; run the command again"):
        attach(handle)


def test_verify_finds_a_flipped_bit() -> None:
    handle = import_ticks(synth()).handle
    assert verify(handle)
    with column_path(handle.path, "ask").open("r+b") as file:
        file.seek(1234)
        byte = file.read(1)[0]
        file.seek(1234)
        file.write(bytes([byte ^ 4]))
    assert not verify(handle)


# -- kills and rivals ------------------------------------------------------------------

IMPORT = """
    import sys, time
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks
    pause = float(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    def progress(rows, share):
        print("under way", file=sys.stderr, flush=True)
        time.sleep(pause)
    found = import_ticks(SourceSpec(sys.argv[1]), progress=progress)
    print(found.built, found.handle.content)
"""


KILLED = """
from sweep.ticks.mapped import release
from sweep.ticks.sources import SourceSpec
from sweep.ticks.store import clear, import_ticks

release(import_ticks(SourceSpec(sys.argv[1])).handle.path)  # so that forks import no modules
clear()

def run(calls):
    kill_after(calls)
    import_ticks(SourceSpec(sys.argv[1]))
"""


def test_a_build_killed_at_any_moment_leaves_nothing_that_the_next_does_not_remove(
    tmp_path: Path, cache: Path
) -> None:
    spec = SynthSpec(sessions=20, ticks_per_session=2_000)
    path = tmp_path / "a.parquet"
    write_parquet(generate(spec), path)
    draw = np.random.default_rng(1)
    release(import_ticks(SourceSpec(str(path))).handle.path)
    clear()
    n_calls = calls_of(import_ticks, SourceSpec(str(path)))
    (key,) = left(cache)
    release(str(cache / key))
    clear()
    moments = [(int(draw.integers(n_calls)),) for _ in range(12)]
    killed_midway = 0
    for _ in killed(KILLED, moments, path):
        killed_midway += any(name.startswith(".build-") for name in left(cache))
        whole = [n for n in left(cache) if not n.startswith(".")]
        for name in whole:  # what is visible is complete
            meta = mapped.read_meta(cache / name)
            assert meta is not None
            assert verify(mapped.handle_of(cache / name, meta))
            shutil.rmtree(cache / name)
    assert killed_midway > 6
    found = import_ticks(SourceSpec(str(path)))
    assert found.built
    assert np.array_equal(attach(found.handle).bid, ticks_of(spec)["bid"])
    assert left(cache) == [key_of(found)]


def test_a_build_under_way_is_not_taken_for_a_dead_one(tmp_path: Path, cache: Path) -> None:
    source = write(tmp_path / "a.parquet", ticks_of(), row_group_size=100)
    seen: list[bool] = []

    def rival(rows: int, share: float | None) -> None:
        if not seen:
            output(run_import(tmp_path / "b.parquet"))
            clear()
            seen.append(any(n.startswith(".build-") for n in left(cache)))

    write(tmp_path / "b.parquet", ticks_of())
    found = import_ticks(source, progress=rival)
    assert seen == [True]
    assert found.built
    assert verify(found.handle)


def run_import(path: Path, pause: float = 0.0) -> subprocess.Popen[str]:
    process = child(IMPORT, path, pause)
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    process.stdin.write("\n")
    process.stdin.flush()
    return process


def test_rival_importers_make_one_build(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(generate(SMALL), path)
    said = [output(p) for p in [run_import(path, 0.2) for _ in range(3)]]
    assert sorted(line.split()[0] for line in said) == ["False", "False", "True"]
    assert len({line.split()[1] for line in said}) == 1
    assert len(left(cache)) == 1


HOLD = """
    import sys
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks
    from sweep.ticks.mapped import attach
    found = import_ticks(SourceSpec(sys.argv[1]))
    ticks = attach(found.handle)
    print("held", flush=True)
    sys.stdin.readline()
    print(float(ticks.bid.sum()))
"""


def test_an_entry_in_use_is_never_pulled_away(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(generate(SMALL), path)
    holder = child(HOLD, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert [e.leased for e in list_entries()] == [True]
    assert evict(0) == []
    key = list_entries()[0].key
    assert clear([key]) == ([], [key])
    out, _ = holder.communicate("\n", timeout=600)
    assert float(out) == ticks_of()["bid"].sum()
    assert [e.leased for e in list_entries()] == [False]
    assert evict(0) == [key]
    assert left(cache) == []


def test_the_lease_ends_with_the_process_however_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(generate(SMALL), path)
    holder = child(HOLD, path)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate(timeout=600)
    assert [e.leased for e in list_entries()] == [False]
    assert len(clear()[0]) == 1


def test_ticks_stay_readable_after_their_entry_is_removed() -> None:
    handle = import_ticks(synth()).handle
    ticks = attach(handle)
    mapped.remove(Path(handle.path))
    assert np.array_equal(ticks.bid, ticks_of()["bid"])
    assert import_ticks(synth()).built


# -- limits ----------------------------------------------------------------------------


def test_a_process_may_open_any_number_of_entries() -> None:
    code = """
        import os, resource
        from sweep.ticks.mapped import attach
        from sweep.ticks.sources import SourceSpec
        from sweep.ticks.store import import_ticks, list_entries
        from sweep.ticks.synthetic import SynthSpec

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        first = None
        for seed in range(24):
            spec = SynthSpec(sessions=1, ticks_per_session=50, seed=seed)
            handle = import_ticks(SourceSpec("synth", synth=spec)).handle
            ticks = attach(handle)
            first = first or (handle, ticks, float(ticks.bid.sum()))
            if seed == 12:
                held = len(os.listdir("/proc/self/fd"))
        assert len(os.listdir("/proc/self/fd")) == held
        assert float(first[1].bid.sum()) == first[2]
        assert float(attach(first[0]).bid.sum()) == first[2]
        used = [e.leased for e in sorted(list_entries(), key=lambda e: e.created)]
        assert used[0] and not any(used[1:17]) and all(used[17:]), used
    """
    assert output(child(code)) == ""


def aged(found: Imported, age: float) -> str:
    """Let go of an entry that was last used some time ago."""
    release(found.handle.path)
    at = time.time() - age
    os.utime(Path(found.handle.path) / "lease", (at, at))
    return key_of(found)


def test_the_entries_unused_for_longest_go_first() -> None:
    keys = [aged(import_ticks(synth(seed=i)), age) for i, age in enumerate((50, 500, 5))]
    size = list_entries()[0].bytes
    assert [e.key for e in list_entries()] == [keys[2], keys[0], keys[1]]
    assert evict(int(2.5 * size)) == [keys[1]]
    assert evict(int(1.5 * size)) == [keys[0]]
    assert evict(10 * size) == []


def test_an_import_keeps_the_store_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    first = aged(import_ticks(synth(seed=1)), 10)
    monkeypatch.setenv("SWEEP_CACHE_LIMIT", "70KB")
    second = key_of(import_ticks(synth(seed=2)))
    assert [e.key for e in list_entries()] == [second]
    assert first != second
    monkeypatch.setenv("SWEEP_CACHE_LIMIT", "plenty")
    with pytest.raises(StoreError, match="SWEEP_CACHE_LIMIT: 'plenty' is not a size"):
        import_ticks(synth(seed=3))


def test_clear_removes_by_the_beginning_of_a_key_or_all(cache: Path) -> None:
    keys = [aged(import_ticks(synth(seed=i)), 1) for i in range(3)]
    assert clear([keys[0][:12]]) == ([keys[0]], [])
    with pytest.raises(StoreError, match=r"no such entry; .* see: sweep data list"):
        clear([keys[0]])
    assert sorted(clear()[0]) == sorted(keys[1:])
    assert left(cache) == []


def test_stores_in_memory_and_on_disk_are_apart() -> None:
    places: tuple[Any, ...] = ("disk", "memory")
    for where in places:
        release(import_ticks(synth(), where=where).handle.path)
    assert sorted(e.where for e in list_entries()) == ["disk", "memory"]
    assert len(clear(where="memory")[0]) == 1
    assert [e.where for e in list_entries()] == ["disk"]


# -- room and permissions --------------------------------------------------------------


def test_too_little_space_is_found_before_anything_is_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.parquet", ticks_of())
    monkeypatch.setattr(store, "_free", lambda *_: 10_000_000)
    with pytest.raises(StoreError, match=r"needs 0\.0 MB and has 10\.0 MB free; set SWEEP_CACHE"):
        import_ticks(source)
    with pytest.raises(StoreError, match=r'use data\.store = "disk"'):
        import_ticks(source, where="memory")
    assert left(cache) == left(root("memory")) == []


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    """A limit on the size of files stands for a full disk: rows of a CSV are not known."""
    source = write(tmp_path / "a.csv", ticks_of())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"is full .*set SWEEP_CACHE to a folder on a larger"):
            import_ticks(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(cache) == []
    assert import_ticks(source).built


FULL = """
    import sys
    from sweep.errors import StoreError
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks
    try:
        import_ticks(SourceSpec(sys.argv[1]), where=sys.argv[2])
    except StoreError as error:
        print(error)
"""


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_a_really_full_file_system(where: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", ticks_of(SynthSpec(sessions=4)))
    small = tmp_path / "small"
    small.mkdir()
    script = tmp_path / "full.py"
    script.write_text(textwrap.dedent(FULL))
    variable = "SWEEP_CACHE" if where == "disk" else "SWEEP_SHM"
    command = (
        f"mount -t tmpfs -o size=1m none {small} || exit 77; "
        f"{variable}={small} {sys.executable} {script} {source.path} {where} && "
        f"find {small} -type f"
    )
    if shutil.which("unshare") is None:
        pytest.skip("no unshare to mount a small file system with")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[2])},
    )
    if done.returncode in (1, 77) and "not permitted" in done.stderr + "not permitted" * (
        done.returncode == 77
    ):
        pytest.skip("mounting is not permitted here")
    assert done.returncode == 0, done.stderr
    assert "is full" in done.stdout
    assert done.stdout.count("\n") == 1, done.stdout  # the message, and no file


def test_a_store_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"cannot be made: .*; set SWEEP_CACHE"):
        import_ticks(synth())
    with pytest.raises(StoreError, match='use "disk" or "memory"'):
        root("cloud")


# -- memory ----------------------------------------------------------------------------

PEAK = """
    import sys
    from sweep.ticks.quality import Policies
    from sweep.ticks.sources import SourceSpec
    from sweep.ticks.store import import_ticks
    spec = SourceSpec(sys.argv[1], policies=Policies(backward=sys.argv[2]))
    rows = import_ticks(spec).report.rows_kept
    status = open("/proc/self/status").read()
    print(rows, status.split("VmHWM:")[1].split()[0])
"""


def peak(path: Path, backward: str = "error") -> tuple[int, float]:
    """Ticks imported by a fresh process, and the most memory that it held, in MB."""
    rows, kilobytes = output(child(PEAK, path, backward)).split()
    return int(rows), int(kilobytes) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", ["row-groups.parquet", "one-group.parquet", "plain.csv"])
def test_an_import_needs_no_more_memory_for_more_ticks(name: str, tmp_path: Path) -> None:
    """Four times the ticks are 72 MB more in the store; of allocators, some 20 MB are noise."""
    held = []
    for million in (1, 4):
        n = million * 1_000_000
        rng = np.random.default_rng(0)
        bid = 100.0 + 0.01 * rng.integers(0, 1000, n)
        ts = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(0, 10**8, n))
        path = tmp_path / f"{million}-{name}"
        options = {"row_group_size": n} if name == "one-group.parquet" else {}
        write(path, {"ts": ts, "bid": bid, "ask": bid + 0.02}, **options)
        rows, megabytes = peak(path)
        assert rows == n
        held.append(megabytes)
    assert held[1] - held[0] < 40.0, held


def test_workers_that_map_ticks_import_nothing_heavy() -> None:
    code = """
        import sys
        import sweep.ticks.mapped
        print(sorted({m.split(".")[0] for m in sys.modules} & {
            "pyarrow", "pandas", "rich", "optuna", "scipy", "numba", "click"}))
    """
    assert output(child(code)) == "[]"


USS = """
    import sys, json
    from sweep.schema import TickHandle
    from sweep.ticks.mapped import attach
    import psutil
    values = json.loads(sys.argv[1])
    ticks = attach(TickHandle(**{**values, "columns": tuple(values["columns"])}))
    total = float(ticks.bid.sum() + ticks.ask.sum() + ticks.ts[-1])
    print(psutil.Process().memory_full_info().uss / 2**20)
    sys.stdin.readline()
"""


def test_processes_that_attach_share_one_copy() -> None:
    """Read by every process, 24 MB of ticks are in the own memory of none."""
    held = []
    for spec in (synth(), synth(sessions=10, ticks_per_session=100_000)):
        handle = import_ticks(spec).handle
        attach(handle).bid.sum(), attach(handle).ask.sum(), attach(handle).ts.sum()
        text = json.dumps(vars(handle))
        processes = [child(USS, text) for _ in range(2)]
        held.append(max(float(p.stdout.readline()) for p in processes if p.stdout))
        for process in processes:
            process.communicate("\n", timeout=600)
    assert held[1] - held[0] < 6.0, held
