"""Benches: the frame, what each finds on a few ticks, and that arms which differ are refused."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import sweep

from sweep.bench import kernel, native, registry
from sweep.bench.frame import (
    BARS,
    BenchError,
    BenchResult,
    Figure,
    Settings,
    figure,
    machine,
    ratios,
    timed,
)
from sweep.bench.scalar import COUNTS, SUMS
from sweep.errors import InputError

QUICK = Settings(quick=True, repeat=1)


def found(result: BenchResult) -> dict[str, Figure]:
    return {f.name: f for f in result.figures}


# -- the frame -------------------------------------------------------------------------


def test_a_figure_is_the_median_with_the_lowest_and_the_highest() -> None:
    one = figure("lanes_over_scalar", "x", [7.0, 3.0, 5.0], Settings())
    assert (one.median, one.low, one.high) == (5.0, 3.0, 7.0)
    assert (one.bar, one.aim) == BARS["lanes_over_scalar"][:2]


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("lanes_over_scalar", 3.9, "not met"),
        ("lanes_over_scalar", 4.0, "met"),
        ("lanes_over_scalar", 6.0, "aim met"),
        ("warm_seconds", 4.1, "not met"),
        ("warm_seconds", 4.0, "met"),
        ("warm_seconds", 1.0, "aim met"),
        ("lanes_ns", 1.0, ""),
    ],
)
def test_a_bar_is_judged_in_its_own_direction(name: str, value: float, verdict: str) -> None:
    assert figure(name, "", [value], Settings()).verdict == verdict


def test_a_quick_run_judges_no_bar() -> None:
    one = figure("lanes_over_scalar", "x", [1.0], Settings(quick=True))
    assert (one.bar, one.aim, one.verdict) == (None, None, "")


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(BenchError, match="expected finite numbers"):
        figure("lanes_ns", "ns", [1.0, float("nan")], Settings())


def test_arms_are_timed_in_turn_beginning_with_another_each_round() -> None:
    calls: list[str] = []
    clock = iter(np.arange(100.0))
    arms = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = timed(arms, 3, clock=lambda: float(next(clock)))
    assert calls == list("abcbcacab")
    assert seconds == {name: [1.0, 1.0, 1.0] for name in "abc"}


def test_ratios_are_taken_within_a_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="argument 2"):
        ratios([1.0], [1.0, 2.0])


def test_the_machine_is_described() -> None:
    wanted = {"cpu", "cores", "simd", "memory", "os", "python", "numpy", "numba", "llvm"}
    assert set(machine()) == wanted
    assert all(machine().values())


def test_a_result_is_one_document() -> None:
    one = figure("lanes_over_scalar", "x", [5.0], Settings())
    document = BenchResult("kernel", (one,)).document({"cpu": "none"})
    assert document["bench"] == "kernel"
    assert document["machine"] == {"cpu": "none"}
    found = document["figures"]["lanes_over_scalar"]
    assert found["median"] == found["low"] == found["high"] == 5.0
    assert (found["bar"], found["aim"]) == (4.0, 6.0)


def test_every_bench_is_there_and_every_bar_belongs_to_one() -> None:
    for entry in registry.BENCHES.values():
        assert importlib.util.find_spec(entry.module) is not None, entry.module
    folder = Path(registry.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    for name in BARS:
        tail = name.removeprefix("branchy_").removeprefix("lanes_over_")
        assert text.count(f'"{name}"') + text.count(f'"{tail}"') > 1, name


# -- the command -----------------------------------------------------------------------


def test_without_a_name_benches_are_listed() -> None:
    result = sweep("bench")
    assert result.code == 0
    for name, entry in registry.BENCHES.items():
        assert name in result.out
        assert entry.question in result.out
    assert set(sweep("bench", "-f", "json").json["benches"]) == set(registry.BENCHES)


def test_an_unknown_bench_is_refused_with_the_nearest_name() -> None:
    result = sweep("bench", "kernal")
    assert result.code == 2
    assert "no bench 'kernal'; did you mean \"kernel\"?" in result.err
    with pytest.raises(InputError, match="there are kernel, scaling"):
        registry.run_bench("nothing", QUICK)


def test_a_missed_bar_is_shown_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    one = figure("lanes_over_scalar", "x", [3.0], Settings())
    monkeypatch.setattr(
        "sweep.bench.kernel.run", lambda settings: BenchResult("kernel", (one,), ("said",))
    )
    result = sweep("bench", "kernel")
    assert result.code == 0
    assert "not met" in result.out
    assert ">= 4" in result.out
    assert "said" in result.out
    assert "next: sweep bench scaling" in result.err
    document = sweep("bench", "kernel", "-f", "json").json
    assert set(document) >= {"bench", "machine", "figures"}
    assert document["figures"]["lanes_over_scalar"]["verdict"] == "not met"


# -- each bench ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel_result() -> BenchResult:
    return kernel.run(QUICK)


def test_the_kernel_bench_finds_its_figures_with_all_arms_equal(kernel_result: BenchResult) -> None:
    names = found(kernel_result)
    for prefix in ("", "short_", "branchy_"):
        arms = ["lanes", "scalar", "python", *(["c"] if native.compiler() else [])]
        assert {f"{prefix}{arm}_ns" for arm in arms} <= set(names)
        assert {f"{prefix}lanes_over_{arm}" for arm in arms[1:]} <= set(names)
    assert sum("all arms equal to the bit" in note for note in kernel_result.notes) == 3
    assert all(f.median > 0.0 for f in kernel_result.figures)


def test_without_a_compiler_c_is_skipped_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "compiler", lambda: None)
    natives, notes = kernel._natives(Path("unused"), QUICK)
    assert natives == []
    assert "no compiler" in notes[0]


def test_a_compiler_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"false failed on .*lanes\.c"):
        native.compile_arms(tmp_path, str(shutil.which("false")), wide=False)


def test_an_arm_that_differs_in_one_bit_is_refused() -> None:
    room = kernel._room(2)
    other = kernel._Found(room.sums.copy(), room.counts.copy())
    kernel._compare("twin", kernel.WORKLOADS[0], room, other)
    room.sums[1, SUMS.index("sum_r")] = 1.0
    other.sums[1, SUMS.index("sum_r")] = np.nextafter(1.0, 2.0)
    with pytest.raises(BenchError, match=r"twin differs .* in 1 figures, the first sum_r of var"):
        kernel._compare("twin", kernel.WORKLOADS[0], room, other)


def test_figures_of_hand_written_arms_are_called_as_in_rows() -> None:
    from sweep.schema import ROW

    assert set(SUMS) | set(COUNTS) <= set(ROW.names)
    source = Path(native.__file__).with_name("lanes.c").read_text(encoding="utf-8")
    assert f"double f[{len(SUMS)}]" in source
    assert f"int64_t c[{len(COUNTS)}]" in source


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        pytest.param(
            "scaling",
            {"two_workers_over_one", "idle_share_tpe_500", "share_of_2_times_one"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "memory", {"uss_mib_per_worker", "orchestrator_uss_mib"}, marks=pytest.mark.slow
        ),
        pytest.param("start", {"warm_seconds", "cold_seconds"}, marks=pytest.mark.slow),
        pytest.param(
            "grid",
            {"kernel_share", "variants_per_second", "peak_uss_mib", "growth_mib"},
            marks=pytest.mark.slow,
        ),
        ("validate", {"spa_seconds", "stepm_seconds", "mcs_seconds", "cscv_over_numpy"}),
        ("stream", {"of_slower", "light_of_slower", "heavy_of_slower"}),
        pytest.param(
            "mc",
            {"path_over_lane_cost", "path_over_scalar", "paths_growth_mib", "slots_path_ns"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_bench_finds_its_figures(name: str, figures: set[str]) -> None:
    result = registry.run_bench(name, QUICK)
    assert result.name == name
    assert figures <= set(found(result))
    assert all(f.bar is None for f in result.figures)


def test_validate_takes_no_source() -> None:
    with pytest.raises(InputError, match="leave --source"):
        registry.run_bench("validate", Settings(source="ticks.parquet"))


def test_an_arm_that_found_something_else_is_refused() -> None:
    from sweep.bench import validate

    ours = {"rejected": np.array([1, 2]), "more": 1}
    validate._compare("stepm", "arch", ours, {"rejected": [1, 2]})
    for other in ([1, 3], [1]):
        with pytest.raises(BenchError, match="stepm: arch has another rejected than Sweep"):
            validate._compare("stepm", "arch", ours, {"rejected": other})
