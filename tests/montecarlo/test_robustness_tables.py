"""What is shown of findings: everything a report must say, fitted, and every digit for programs."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from finding_helpers import finding, odd_findings
from rich.cells import cell_len

from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.document import finding_parts, summary_parts
from sweep.montecarlo.report.tables import (
    findings_document,
    further_tables,
    paths_table,
    robustness_table,
)
from sweep.report.document import Chart
from sweep.report.table import Table, json_text, write_table
from sweep.report.terminal import lines_of
from sweep.stats.quantiles import LEVELS
from sweep.stats.summary import Units
from sweep.text import cell_width

_RAMP = np.arange(1, 401) / 100.0 - 1.0  # -0.99 to 3.00 in steps of 0.01


def _whole() -> Finding:
    return finding(
        {"sharpe": _RAMP, "max_drawdown": _RAMP[::-1] / 50.0 + 0.1},
        n_paths=400,
        observed={"sharpe": 1.25, "max_drawdown": 0.11},
        null="the positions have no relation to the prices",
        figures={"break_even_latency_ms": 12.5},
    )


def _few() -> Finding:
    return finding(
        {"sharpe": _RAMP}, n_paths=400, n_units=12, variant="trial 4", observed={"sharpe": 1.25}
    )


def _text(found: Finding, width: int | None) -> str:
    parts = [part for part in finding_parts(found) if not isinstance(part, Chart)]
    return "\n".join(line.plain for line in lines_of(parts, width))


def _summary(found: list[Finding], width: int | None) -> list[str]:
    return [line.plain for line in lines_of(summary_parts(found), width)]


def _flat(text: str) -> str:
    return " ".join(text.split())


# --- a report on a screen -------------------------------------------------------------

_REPORT = """\
sessions   whole sessions of ticks resampled
variant     trial 17
parameters  fast = 20, slow = 100.123
resampled   whole sessions, with replacement
units       250 sessions, worth 250 independent ones
paths       400
seed        7
took        12s

                        sharpe             max_drawdown
1%        -0.96 [-0.99, -0.91]   8.08% [ 8.02%,  8.18%]
5%        -0.80 [-0.88, -0.70]   8.40% [ 8.24%,  8.60%]
25%        0.00 [-0.17,  0.18]  10.00% [ 9.66%, 10.36%]
50%        1.00 [ 0.80,  1.21]  12.00% [11.60%, 12.42%]
75%        2.00 [ 1.83,  2.18]  14.00% [13.66%, 14.36%]
95%        2.80 [ 2.71,  2.89]  15.60% [15.42%, 15.78%]
99%        2.96 [ 2.92,  3.00]  15.92% [15.84%, 16.00%]
mean       1.00 +/- 0.058       12.01% +/- 0.12%
sd         1.16                  2.31%
observed   1.25                 11.00%
rank      56.1%                  37.4%
p-value   0.441 +/- 0.025        0.628 +/- 0.024
failed        0                      0
empty         0                      0

figure                 value
break_even_latency_ms   12.5

- p-value of sharpe: 0.441 +/- 0.025, the chance of a value as great if
  the positions have no relation to the prices (176 of 400 paths)
- p-value of max_drawdown: 0.628 +/- 0.024, the chance of a value as
  great if the positions have no relation to the prices (251 of 400
  paths)
- +/- and [ ] are the error of having drawn 400 paths (Monte Carlo
  error; [ ] at 95%), which more paths make smaller; that 250 sessions
  were seen and no others (sampling error) is another matter, which more
  paths do not make smaller
- no path failed, and none was empty"""

_FEW = """\
sessions   whole sessions of ticks resampled
variant     trial 4
parameters  fast = 20, slow = 100.123
resampled   whole sessions, with replacement
units       too few units: 12 sessions are worth 10
            independent ones, of the 30 that a tail needs
paths       400
seed        7
took        12s

                       sharpe
1%            -
5%            -
25%        0.00 [-0.17, 0.18]
50%        1.00 [ 0.80, 1.21]
75%        2.00 [ 1.83, 2.18]
95%           -
99%           -
mean       1.00 +/- 0.058
sd         1.16
observed   1.25
rank      56.1%
failed        0
empty         0

- +/- and [ ] are the error of having drawn 400 paths (Monte
  Carlo error; [ ] at 95%), which more paths make smaller;
  that 12 sessions were seen and no others (sampling error)
  is another matter, which more paths do not make smaller
- no path failed, and none was empty
- 1% 5% 95% 99%: too few units: 12 sessions are worth 10
  independent ones, of the 30 that a tail needs"""

_SUMMARY = """\
method    variant   paths  metric  observed   mean   q05  q50  q95  p_loss    rank  units  effective
sessions  trial 17    400  sharpe      1.25  1.005  -0.8  1.0  2.8  24.75%  56.12%    250     250.00
sessions  trial 4     400  sharpe      1.25  1.005     -  1.0    -  24.75%  56.12%     12      10.31
not shown (-f csv has all): mean_error, unit, block, block_unit, seed
sessions, trial 4: too few units: 12 sessions are worth 10 independent ones, of the 30 that a tail
needs"""


def test_a_report_says_all_that_it_must() -> None:
    assert _text(_whole(), 72) == _REPORT


def test_no_tail_is_claimed_of_too_few_units_and_the_reason_is_given() -> None:
    assert _text(_few(), 60) == _FEW


def test_the_table_of_variants_gives_reasons_below_it() -> None:
    lines = _summary([_whole(), _few()], 100)
    assert "\n".join(lines) == _SUMMARY


def test_reports_have_no_colours_of_their_own() -> None:
    lines = lines_of(finding_parts(_whole()), None)
    styles = {str(span.style) for line in lines for span in line.spans}
    assert styles <= {"bold", "dim", "not bold dim", ""}


@pytest.mark.parametrize("width", [*range(40, 61), 79, 80, 81, 100, 133, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    found = odd_findings()
    parts = [part for f in found for part in finding_parts(f)]
    for line in lines_of([*parts, *summary_parts(found)], width):
        assert max(cell_width(line.plain), cell_len(line.plain)) <= width, line.plain


@pytest.mark.parametrize("width", [40, 60, 80, 120, None])
def test_every_quantile_is_on_the_screen_at_any_width(width: int | None) -> None:
    names = [f"metric_{i}" for i in range(5)]
    found = finding({name: _RAMP * (i + 1) for i, name in enumerate(names)}, n_paths=400)
    text = _text(found, width)
    for name in names:
        assert name in text
    tables = text.count("99%")
    assert all(text.count(f"{level:.0%} ") >= tables for level in LEVELS)
    assert text.count("[") == 7 * len(names) + 2  # and twice in the sentence on errors


def test_numbers_are_never_cut() -> None:
    found = finding({"net_profit": _RAMP * 123_456_789.0}, n_paths=400, observed={})
    assert "370,370,367.0" in _text(found, 80)
    narrow = _text(found, 40).splitlines()
    assert "99%      365,432,095.4" in narrow  # an interval does not fit, and goes whole
    assert not any("…" in line for line in narrow[1:])


def test_paths_without_a_value_are_counted_and_said_to_rank_as_the_worst() -> None:
    values = np.where(np.arange(400) < 30, np.nan, _RAMP)
    failed = _flat(_text(finding({"sharpe": values}, n_paths=400), 80))
    assert "- 30 paths failed: they rank as the worst" in failed
    assert "failed 30 empty 0" in failed
    empty = _flat(_text(finding({"sharpe": values}, n_paths=400, empty=True), 80))
    assert "- 30 paths had nothing to measure: they rank as the worst" in empty
    assert "failed 0 empty 30" in empty
    assert "- 1% 5%: 30 of 400 replicates have no value and rank as the worst" in empty
    assert empty.count("rank as the worst") == 2


def test_an_undefined_figure_has_its_reason() -> None:
    text = _flat(_text(odd_findings()[-1], 80))
    assert "break_even_spread_bp - " in text
    assert "- break_even_spread_bp: profit stays above 0 up to 10 times the spread" in text
    assert "- The last session is a half day." in text
    assert "Profit by latency" in text


@pytest.mark.parametrize(
    ("alternative", "words"),
    [("greater", "as great"), ("less", "as small"), ("two-sided", "as far out on either side")],
)
def test_a_p_value_is_put_into_words(alternative: str, words: str) -> None:
    found = finding(
        {"sharpe": _RAMP}, n_paths=400, null="nothing is there", alternative=alternative
    )
    p = found.summaries["sharpe"].p_value
    assert p is not None
    text = _flat(_text(found, None))
    assert f"p-value of sharpe: {p.value:.3f} +/- {p.error:.2g}" in text
    assert f"the chance of a value {words} if nothing is there ({p.n_extreme} of 400 paths)" in text


def test_metrics_of_other_units_are_said_apart() -> None:
    one, other = finding({"sharpe": _RAMP}, n_paths=400), _few()
    summaries = {"sharpe": one.summaries["sharpe"], "sortino": other.summaries["sharpe"]}
    text = _flat(_text(finding({}, summaries=summaries), None))
    assert "units 250 sessions, worth 250 independent ones (sharpe)" in text
    assert "of the 30 that a tail needs (sortino)" in text
    assert "- 1% 5% 95% 99% of sortino: too few units: 12 sessions" in text


@pytest.mark.parametrize("unit", ["path", "point"])
def test_no_history_is_said_to_be_seen_where_units_are_drawn(unit: str) -> None:
    drawn = Units(unit, 400, 400.0, False, None)
    found = finding({"sharpe": _RAMP}, n_paths=400, counted=drawn)
    text = _flat(_text(found, None))
    assert "what another history would have given (sampling error) does not show here" in text
    assert "were seen" not in text


def test_a_method_that_keeps_no_paths_says_that_there_is_no_chart() -> None:
    assert "there is no chart" in _text(finding(paths={}), None)
    assert "there is no chart" not in _text(finding(), None)


def test_a_finding_without_summaries_shows_what_was_observed() -> None:
    found = finding({}, observed={"sharpe": 1.5, "max_drawdown": 0.25}, notes=("no paths",))
    text = _flat(_text(found, 60))
    assert "observed value sharpe 1.5 max_drawdown 25.00%" in text
    assert "- no paths" in text


# --- for programs ---------------------------------------------------------------------


def test_the_table_has_a_row_for_each_method_and_variant() -> None:
    first, second = robustness_table([_whole(), _few()]).records()
    assert first["method"] == "sessions"
    assert (first["variant"], second["variant"]) == ("trial 17", "trial 4")
    assert (first["metric"], first["observed"], first["paths"]) == ("sharpe", 1.25, 400)
    # Order statistics 20, 200 and 380 of 400.
    assert [first[q] for q in ("q05", "q50", "q95")] == [_RAMP[19], _RAMP[199], _RAMP[379]]
    assert first["rank"] == 224.5 / 400
    assert first["p_loss"] == 99 / 400
    assert first["mean_error"] == pytest.approx(np.std(_RAMP, ddof=1) / 20.0)
    assert first["reason"] is None
    assert (second["q05"], second["q95"]) == (None, None)
    assert second["q50"] == _RAMP[199]
    assert second["reason"].startswith("too few units: 12 sessions")


def test_loss_is_told_by_profit_first_and_by_what_has_a_sign_only() -> None:
    def share(**metrics: object) -> object:
        table = robustness_table([finding(metrics, n_paths=4, observed={})])
        return table.records()[0]["p_loss"]

    assert share(sharpe=[1.0, 1.0, -1.0, -1.0], net_profit=[-5.0, 1.0, 1.0, math.nan]) == 0.5
    assert share(sharpe=[1.0, 1.0, 1.0, -1.0]) == 0.25
    assert share(max_drawdown=[0.1, 0.2, 0.3, 0.4]) is None


def test_rows_of_several_metrics_name_theirs_at_any_width() -> None:
    drawdown = finding({"max_drawdown": _RAMP / 10.0 + 0.1}, n_paths=400, observed={})
    lines = _summary([_few(), drawdown], 44)
    assert "metric" in lines[0]
    assert "max_drawdown" in lines[2]
    wide = _summary([_few(), drawdown], None)
    assert "20.00%" in wide[2]
    assert "20.00%" not in wide[1]


def test_json_has_no_nan_and_keeps_every_digit() -> None:
    found = odd_findings()
    text = json_text(findings_document(found))

    def refuse(token: str) -> None:
        raise AssertionError(token)

    back = json.loads(text, parse_constant=refuse)
    assert len(back["summary"]) == len(back["findings"]) == len(found)
    first = back["findings"][0]["summaries"]["sharpe"]
    assert [q["value"] for q in first["quantiles"]] == [
        q.value for q in found[0].summaries["sharpe"].quantiles
    ]
    few = back["findings"][1]["summaries"]["sharpe"]["quantiles"][0]
    assert few["value"] is None
    assert few["reason"].startswith("too few units")
    last = back["findings"][-1]
    assert last["tables"][0]["rows"][0] == {
        "latency_ms": 0.0,
        "net_profit": 512.25,
        "note": "as observed",
    }
    assert np.asarray(last["curves"]["equity"]).shape == (5, 120)


def test_json_names_have_units() -> None:
    found = finding({"max_drawdown_time": [1.0, 2.0, 3.0]}, n_paths=3, observed={})
    assert list(findings_document([found])["findings"][0]["summaries"]) == ["max_drawdown_time_s"]
    assert "max_drawdown_time_s" in [c.key for c in paths_table([found]).columns]


def _paths() -> tuple[list[Finding], Table]:
    tiny = np.array([5e-324, -0.0, math.nan, 1e308, 0.1 + 0.2, -math.inf])
    other = finding({"trades": [3.0, 4.0]}, n_paths=2, observed={}, variant='a, "b"\nc')
    found = [finding({"sharpe": tiny, "net_profit": tiny[::-1]}, n_paths=6, observed={}), other]
    return found, paths_table(found)


def test_paths_read_back_from_parquet_to_the_bit(tmp_path: Path) -> None:
    found, table = _paths()
    write_table(tmp_path / "paths.parquet", table)
    back = pq.read_table(tmp_path / "paths.parquet")
    assert back.column_names == ["method", "variant", "path", "sharpe", "net_profit", "trades"]
    for name in ("sharpe", "net_profit"):
        values = back[name].to_numpy()[:6]
        assert values.tobytes() == found[0].paths[name].tobytes()
        assert back[name].null_count == 2  # of the finding without this metric
    assert back["trades"].to_pylist()[-2:] == [3.0, 4.0]
    assert back["path"].to_pylist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert back["variant"].to_pylist()[-1] == found[1].variant


def test_paths_read_back_from_csv_to_the_bit(tmp_path: Path) -> None:
    found, table = _paths()
    write_table(tmp_path / "paths.csv", table)
    with open(tmp_path / "paths.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    values = np.array([float(r["sharpe"] or "nan") for r in rows[:6]])
    assert values.tobytes() == found[0].paths["sharpe"].tobytes()
    assert rows[-1]["variant"] == found[1].variant
    assert rows[-1]["sharpe"] == ""


def test_no_findings_are_no_rows(tmp_path: Path) -> None:
    assert robustness_table([]).rows == []
    assert _summary([], 80) == ["(no rows)"]
    assert findings_document([]) == {"summary": [], "findings": [], "comparisons": []}
    write_table(tmp_path / "none.csv", paths_table([]))
    assert (tmp_path / "none.csv").read_text(encoding="utf-8") == "method,variant,path\n"


def test_further_tables_know_the_kinds_of_metrics() -> None:
    tables = {"By spread": (("spread_bp", "max_drawdown"), ((0.5, 0.125), (1.0, None)))}
    (table,) = further_tables(finding(tables=tables))
    assert [c.kind for c in table.columns] == ["number", "share"]
    assert table.title == "By spread"
