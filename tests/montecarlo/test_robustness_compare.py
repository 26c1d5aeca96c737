"""One variant against others on the same paths: plain recomputations, and what is claimed."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import SERIAL, sweep
from finding_helpers import finding
from mc_helpers import make

from sweep.engines.serial import SerialEngine
from sweep.montecarlo.compare import COMPARED, Comparison, comparisons_of
from sweep.montecarlo.finding import Block, Finding
from sweep.montecarlo.report.document import comparison_parts
from sweep.montecarlo.report.tables import summary_with_comparisons
from sweep.montecarlo.run import monte_carlo
from sweep.report.document import Grid, Paragraph
from sweep.stats.curves import SESSION_COLUMNS
from sweep.stats.intervals import sampling_errors
from sweep.stats.session_bootstrap import session_paths
from sweep.study.study import Study

#: Enough sessions for an interval.
MANY = "data.synth={sessions=110, ticks_per_session=120, seed=3}"
PATHS = 80


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    # Few paths for the search itself: those that are compared are asked for by each test.
    settings = (SERIAL[1], MANY, "monte_carlo.paths=8", "costs.commission_rate=2e-5")
    return make(folder, *settings, 'study.objective="quantile(net_profit, 0.25)"', trials=3).folder


def two_of(profits: Any, others: Any, **changes: Any) -> list[Finding]:
    n = len(profits)
    return [
        finding({"net_profit": x}, n_paths=n, observed={"net_profit": 1.0}, variant=name, **changes)
        for name, x in (("trial 1", profits), ("trial 2", others))
    ]


def only(findings: list[Finding], *objective: str) -> Comparison:
    return comparisons_of(findings, *objective)[-1]


# -- figures ---------------------------------------------------------------------------


def test_differences_are_those_of_the_exported_paths(out: Path, tmp_path: Path) -> None:
    names = ("pnl", "sessions", "slots", "gbm")
    words = ("mc", 0, "--study", out, "--compare", 1, "--compare", 2, "-m", ",".join(names))
    words = (*words, "--paths", PATHS, "--csv", tmp_path / "paths.csv")
    found = sweep(*words, "-f", "json")
    assert found.code == 0, found.err
    columns: dict[tuple[str, str], np.ndarray] = {}
    with open(tmp_path / "paths.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            key = (row["method"], row["variant"])
            columns.setdefault(key, []).append(float(row["net_profit"]))  # type: ignore[attr-defined]
    shown = found.json["comparisons"]
    profits = [c for c in shown if c["metric"] == "net_profit"]
    assert [(c["method"], c["other"]) for c in profits] == [
        (name, f"trial {k}") for name in names for k in (1, 2)
    ]
    history = {f["method"]: {} for f in found.json["findings"]}  # type: ignore[var-annotated]
    for f in found.json["findings"]:
        history[f["method"]][f["variant"]] = f["observed"].get("net_profit")
    for c in profits:
        apart = np.subtract(*(columns[c["method"], f"trial {k}"] for k in (0, c["other"][-1])))
        assert c["first"] == "trial 0"
        assert c["difference"] == pytest.approx(apart.sum() / PATHS)
        assert c["error"] == pytest.approx(np.std(apart, ddof=1) / PATHS**0.5)
        assert c["better"] == np.count_nonzero(apart > 0.0) / PATHS
        assert c["equal"] == np.count_nonzero(apart == 0.0) / PATHS
        share = (c["better"] * PATHS + 1) / (PATHS + 2)
        assert c["better_error"] == pytest.approx(math.sqrt(share * (1.0 - share) / PATHS))
        # Order statistics 4 and 77 of 80.
        ordered = np.sort(apart)
        if c["interval"] == "percentile":
            assert (c["low"], c["high"]) == (ordered[3], ordered[76])
        assert (c["low"] is None) == (c["interval"] is None) == (c["reason"] is not None)
        seen = history[c["method"]]
        if c["method"] == "gbm":
            assert c["observed"] is None
            assert "not sessions that are drawn" in c["reason"]
        else:
            assert c["observed"] == pytest.approx(seen["trial 0"] - seen[c["other"]])
    kinds = {"pnl": "studentised", "sessions": "percentile", "slots": "percentile"}
    given = {c["method"]: c["interval"] for c in profits if c["interval"] is not None}
    assert given == kinds
    over_paths = [c for c in shown if c["metric"] != "net_profit"]
    assert {c["metric"] for c in over_paths} == {"quantile(net_profit, 0.25)"}
    for c in over_paths:
        own = [np.sort(columns[c["method"], v])[PATHS // 4 - 1] for v in (c["first"], c["other"])]
        assert c["difference"] == own[0] - own[1]
        assert c["better"] is None
        assert "one number of all paths" in c["reason"]


def test_a_variant_against_itself_is_no_better(out: Path) -> None:
    study = Study.open(out)
    found = monte_carlo(
        study, [0], methods=("pnl", "sessions", "gbm"), n_paths=32, engine=SerialEngine()
    )
    twice = [f for f in found for _ in range(2)]
    for objective in ("sharpe", "max_drawdown", "cvar(net_profit, 0.1)", "net_profit"):
        comparisons = comparisons_of(twice, objective)
        assert {c.method for c in comparisons} == {"pnl", "sessions", "gbm"}
        for c in comparisons:
            assert (c.difference, c.error) == (0.0, 0.0)
            if not math.isnan(c.equal):
                assert (c.better, c.equal) == (0.0, 1.0)
            assert math.isnan(c.low)
            assert c.reason is not None


def test_exchanged_variants_have_the_opposite_difference(out: Path) -> None:
    settings: dict[str, Any] = {"methods": ("pnl", "sessions"), "n_paths": 32}
    study = Study.open(out)
    a = comparisons_of(monte_carlo(study, [1, 2], engine=SerialEngine(), **settings), "sharpe")
    b = comparisons_of(monte_carlo(study, [2, 1], engine=SerialEngine(), **settings), "sharpe")
    for x, y in zip(a, b, strict=True):
        assert x.difference == pytest.approx(-y.difference)
        assert x.error == pytest.approx(y.error)
        assert x.better + y.better + x.equal == pytest.approx(1.0)
        assert x.observed == pytest.approx(-y.observed)


def test_variants_meet_the_same_blocks_of_sessions(out: Path) -> None:
    """What they would ask for one by one differs; together they have the median."""
    study = Study.open(out)
    alone = [
        monte_carlo(study, [k], methods=("pnl",), n_paths=8, engine=SerialEngine())[0].block
        for k in (0, 1, 2)
    ]
    together = monte_carlo(study, [0, 1, 2], methods=("pnl",), n_paths=8, engine=SerialEngine())
    lengths = [block.length for block in alone if block is not None]
    for f in together:
        assert f.block is not None
        assert f.block.length == np.median(lengths)
        assert "the median of what the variants' sessions ask for" in f.block.origin
    given = monte_carlo(
        study, [0, 1], methods=("pnl",), n_paths=8, block=2.0, engine=SerialEngine()
    )
    assert [f.block for f in given] == [Block(2.0, "session", True, "given")] * 2


def test_who_has_no_value_is_worse_and_not_in_the_mean() -> None:
    a, b = [1.0, math.nan, 3.0, math.nan], [0.0, 5.0, math.nan, math.nan]
    c = only(two_of(a, b))
    assert (c.n_paths, c.n_without, c.difference) == (4, 3, 1.0)
    assert (c.better, c.equal) == (0.5, 0.25)
    assert math.isnan(c.error)
    assert "one path shows no spread" in str(c.reason)
    _, texts = _shown([c])
    assert any("no finite value on 3 paths" in text for text in texts)
    nothing = only(two_of([math.nan] * 4, [1.0] * 4))
    assert math.isnan(nothing.difference)
    assert nothing.better == 0.0


def test_of_what_is_better_low_the_lower_one_is_better() -> None:
    down = [0.1, 0.2, 0.3, 0.4]
    pair = [
        finding({"net_profit": [1.0] * 4, "max_drawdown": x}, n_paths=4, variant=name)
        for name, x in (("trial 1", np.array(down)), ("trial 2", np.array(down) + 0.1))
    ]
    assert only(pair, "max_drawdown", "minimize").better == 1.0
    assert only(pair, "max_drawdown", "maximize").better == 0.0
    assert only(pair, "max_drawdown", "minimize").difference == pytest.approx(-0.1)


def test_an_objective_that_paths_lack_is_not_compared() -> None:
    pair = two_of([1.0, 2.0], [0.0, 1.0])
    for objective in ("sharpe", "quantile(sharpe, 0.5)", "mean(net_profit) - costs", "score.py:f"):
        assert [c.metric for c in comparisons_of(pair, objective)] == ["net_profit"]
    assert [c.metric for c in comparisons_of(pair, "2 * net_profit")] == [
        *("net_profit", "2 * net_profit")
    ]


def test_methods_without_common_paths_are_left_out() -> None:
    assert {"pnl", "sessions", "garch"} <= set(COMPARED)
    for method in ("stress", "neighbourhood", "permutation", "shift"):
        assert comparisons_of(two_of([1.0, 2.0], [0.0, 1.0], method=method)) == []
    first, other = two_of([1.0, 2.0], [0.0, 1.0])
    assert comparisons_of([first]) == []
    c = only([first, replace(other, seed=8)])
    assert math.isnan(c.difference)
    assert "paths are not the same" in str(c.reason)


def test_the_error_of_a_functional_is_that_of_drawing_other_paths() -> None:
    """Of independent normal paths: the variance of a mean is known, and so is that of two."""
    rng = np.random.default_rng(4)
    common, own = rng.standard_normal((2, 4_000))
    pair = two_of(common + 0.5 * own, common)
    c = only(pair, "mean(net_profit)")
    assert c.difference == pytest.approx(comparisons_of(pair)[0].difference)
    # Of 200 draws, with a standard error of 5 %; apart, the error would be 3 times as great.
    assert c.error == pytest.approx(0.5 / 4_000**0.5, rel=0.2)


# -- the interval ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pnl", "sessions"])
def test_the_interval_holds_the_true_difference_as_often_as_it_says(method: str) -> None:
    """Nominal 90 %, of two variants that have most of their sessions' luck in common."""
    rng = np.random.default_rng(11)
    held = n = 0
    block = Block(1.0, "session", True, "given")
    for seed in range(200):
        a, b = rng.standard_normal((2, 60)) + np.array([[0.3], [0.1]]) + rng.standard_normal(60)
        pair = [
            finding(
                {"net_profit": session_paths(x, 1.0, seed=seed, n_paths=199)[:, 0, 0]},
                n_paths=199, variant=name, block=block, session_profits=x, method=method, seed=seed,
            )
            for name, x in (("a", a), ("b", b))
        ]  # fmt: skip
        c = only(pair)
        if c.interval is not None:  # chance may have made them worth fewer than 30
            n += 1
            held += c.low <= 60 * 0.2 <= c.high
    assert n > 150
    assert held / n == pytest.approx(0.9, abs=0.065)  # 3 standard errors


def test_the_studentised_interval_is_that_of_the_differences_by_session(out: Path) -> None:
    """By the same paths: those of the difference are the differences of the paths."""
    study = Study.open(out)
    first, other = monte_carlo(
        study, [0, 1], methods=("pnl",), n_paths=99, seed=4, engine=SerialEngine()
    )
    c = comparisons_of([first, other])[0]
    assert first.session_profits is not None
    assert other.session_profits is not None
    assert first.block is not None
    apart = first.session_profits - other.session_profits
    n = len(apart)
    drawn = session_paths(apart, first.block.length, seed=4, n_paths=99)[:, 0]
    assert drawn[:, 0] == pytest.approx(first.paths["net_profit"] - other.paths["net_profit"])
    centre, error = apart.mean(), sampling_errors(apart, first.block.length)[0]
    ratios = np.sort((drawn[:, 1] - centre) / drawn[:, SESSION_COLUMNS.index("mean_error")])
    assert c.interval == "studentised"
    assert c.low == pytest.approx(n * (centre - error * ratios[94]))
    assert c.high == pytest.approx(n * (centre - error * ratios[4]))


@pytest.mark.parametrize(
    ("n", "length", "text"), [(12, 1.0, "12 sessions are"), (60, 4.0, "in blocks of 4 on average")]
)
def test_too_few_sessions_give_no_interval(n: int, length: float, text: str) -> None:
    a, b = np.random.default_rng(1).standard_normal((2, n))
    block = Block(length, "session", True, "given")
    pair = two_of(np.arange(40.0), np.zeros(40), block=block)
    c = only([replace(f, session_profits=x) for f, x in zip(pair, (a, b), strict=True)])
    assert math.isnan(c.low)
    assert "too few units" in str(c.reason)
    assert text in str(c.reason)
    assert c.difference == 19.5


def test_an_interval_that_paths_without_a_value_reach_into_is_none() -> None:
    a, b = np.random.default_rng(1).standard_normal((2, 60))
    values = np.where(np.arange(40) < 4, math.nan, np.arange(40.0))
    pair = two_of(values, np.zeros(40), block=Block(1.0, "session", True, "given"))
    c = only([replace(f, session_profits=x) for f, x in zip(pair, (a, b), strict=True)])
    assert (c.interval, c.n_without) == (None, 4)
    assert math.isnan(c.low)
    assert math.isnan(c.high)
    assert "no value on too many paths" in str(c.reason)


def test_an_interval_is_mirrored_where_variants_are_exchanged() -> None:
    """Whichever of the two lacks a value on some paths, and whichever comes first."""
    rng = np.random.default_rng(2)
    profits, values = rng.standard_normal((2, 60)), rng.standard_normal((2, 200))
    values[1, :6] = math.nan
    values[0, 6:9] = math.nan
    pair = two_of(*values, block=Block(1.0, "session", True, "given"))
    pair = [replace(f, session_profits=x) for f, x in zip(pair, profits, strict=True)]
    one, two = only(pair), only(pair[::-1])
    assert one.n_without == two.n_without == 9
    assert (one.low, one.high) == (-two.high, -two.low)
    # Where the second has no value the first is the better one, by as much as one likes.
    apart = np.where(np.arange(200) < 6, np.inf, values[0] - values[1])
    apart[6:9] = -np.inf
    ordered = np.sort(apart)
    assert (one.low, one.high) == (ordered[9], ordered[190])


def test_drawdown_by_sessions_is_compared_with_drawdown_by_sessions(out: Path) -> None:
    """Of the history, the metric of that name is taken at every tick."""
    study = Study.open(out)
    pair = monte_carlo(study, [0, 1], methods=("pnl",), n_paths=8, engine=SerialEngine())
    c = comparisons_of(pair, "max_drawdown", "minimize")[1]
    seen = [f.summaries["max_drawdown"].observed for f in pair]
    assert seen[0] is not None
    assert seen[1] is not None
    assert c.observed == seen[0].value - seen[1].value
    assert c.observed != pair[0].observed["max_drawdown"] - pair[1].observed["max_drawdown"]


# -- what is shown ---------------------------------------------------------------------


def _shown(comparisons: list[Comparison]) -> tuple[Grid, tuple[str, ...]]:
    grid, paragraph = comparison_parts(comparisons)
    assert isinstance(grid, Grid)
    assert isinstance(paragraph, Paragraph)
    return grid, paragraph.texts


def test_a_comparison_says_how_sure_it_is_and_which_error_is_which(out: Path) -> None:
    study = Study.open(out)
    values = {"mode": "flip"}
    found = monte_carlo(
        study, [0], values=values, methods=("sessions",), n_paths=PATHS, engine=SerialEngine()
    )
    other = monte_carlo(
        study, values={"mode": "never"}, methods=("sessions",), n_paths=PATHS, engine=SerialEngine()
    )
    grid, texts = _shown(comparisons_of([*other, found[0]]))
    said = " ".join(texts)
    assert "(Monte Carlo error), which more paths make smaller" in said
    assert "(sampling error), which more paths do not make smaller" in said
    assert "is better than mode=flip" in said
    assert grid.columns[5].cells[0] == "100.0% +/- 1.2%"
    noise = np.random.default_rng(5).standard_normal((2, 60))
    pair = two_of(np.linspace(-1.0, 2.0, 99), np.zeros(99), block=Block(1, "session", True, "x"))
    pair = [replace(f, session_profits=x) for f, x in zip(pair, noise, strict=True)]
    _, texts = _shown(comparisons_of(pair))
    assert any("cannot tell trial 1 from trial 2" in text for text in texts)


def test_comparisons_are_on_the_screen_in_csv_and_in_html(out: Path, tmp_path: Path) -> None:
    words = ("mc", 0, "--study", out, "--compare", 1, "-m", "pnl,sessions", "--paths", 20)
    found = sweep(*words, "--html", tmp_path / "a.html")
    assert found.code == 0, found.err
    page = (tmp_path / "a.html").read_text()
    for method in ("pnl", "sessions"):
        title = f"{method}: trial 0 less others, 20 paths in common"
        assert title in found.out
        assert f"<caption>{title}</caption>" in page
    table = sweep(*words, "-f", "csv")
    head, *lines = table.rows
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    shown = {c["method"]: c for c in sweep(*words, "-f", "json").json["comparisons"][::2]}
    for row in rows:
        if row["variant"] == "trial 0":
            assert row["against"] == row["difference"] == ""
            continue
        assert row["against"] == "trial 0"
        assert float(row["difference"]) == shown[row["method"]]["difference"]
        assert float(row["against_better"]) == shown[row["method"]]["better"]
    # One variant alone is compared with none.
    alone = sweep("mc", 0, "--study", out, "-m", "pnl", "--paths", 20)
    assert "less others" not in alone.out


def test_a_table_of_one_method_has_the_difference_of_each_variant() -> None:
    pair = two_of([1.0, 3.0], [0.0, 1.0])
    first, second = summary_with_comparisons(pair, comparisons_of(pair)).records()
    assert (first["against"], first["difference"]) == (None, None)
    assert (second["against"], second["difference"]) == ("trial 1", 1.5)
