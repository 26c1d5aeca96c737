"""Charts in a terminal, pictures and pages: what is marked is what the finding claims."""

from __future__ import annotations

import builtins
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finding_helpers import fan, finding, odd_findings
from rich.cells import cell_len
from rich.console import Console

from sweep.errors import InputError
from sweep.montecarlo.finding import Finding
from sweep.montecarlo.report.charts import axis_label, chart_lines, fans, marks, n_bins, window
from sweep.montecarlo.report.document import page_parts
from sweep.report.html import page, write_page
from sweep.report.terminal import to_ascii
from sweep.stats.summary import Units
from sweep.text import cell_width

_SAMPLE = np.sort(np.concatenate([np.linspace(-1.0, 3.0, 200), np.linspace(0.0, 2.0, 200)]))


def _histogram() -> Finding:
    return finding({"sharpe": _SAMPLE}, n_paths=400, observed={"sharpe": 1.25})


def _fan() -> Finding:
    x = np.linspace(0.0, 1.0, 50)
    spreads = (-1.6, -0.7, 0.0, 0.7, 1.6)
    curves = np.array([1e4 + 1e3 * x + q * np.sqrt(x) * 800.0 for q in spreads])
    return finding({}, n_paths=400, observed={}, curves={"equity": curves})


def _text(found: Finding, width: int, *, ascii_only: bool = False, **options: Any) -> str:
    lines = chart_lines(found, width, **options)
    return "\n".join(to_ascii(line).plain if ascii_only else line.plain for line in lines)


def _page(found: list[Finding], title: str = "Robustness") -> str:
    return page(title, page_parts(found, []))


# --- in a terminal --------------------------------------------------------------------

_HISTOGRAM = """\
sessions, trial 17, 400 paths: sharpe
paths
 46 ┤            ▁▁▁▁████████████████████▁▁▁▁
    │            ████████████████████████████
    │            ████████████████████████████
 23 ┤▁▁▁▁        ████████████████████████████        ▁▁▁▁
    │████████████████████████████████████████████████████
    │████████████████████████████████████████████████████
  0 ┼────┴────────────────────┴────────────────────┴─────
     5%: -0.6181         50%: 0.9950          95%: 2.5980
      observed 1.2500, rank 59.2% ▲
     -1.0000                sharpe                 3.0000"""

_HISTOGRAM_ASCII = """\
sessions, trial 17, 400 paths: sharpe
paths
 46 |            ....####################....
    |            ############################
    |            ############################
 23 |....        ############################        ....
    |####################################################
    |####################################################
  0 +----+--------------------+--------------------+-----
     5%: -0.6181         50%: 0.9950          95%: 2.5980
      observed 1.2500, rank 59.2% ^
     -1.0000                sharpe                 3.0000"""

_FAN = """\
sessions, trial 17, 400 paths: equity (quote currency)
12,280.0 ┤                                    ░░░░░░░░░░░░░░
         │                        ░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒
         │              ░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒━━━━
10,935.2 ┤     ░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒━━━━━━━━━━━━━━━━━━━━━━▒▒▒▒
         │ ▒━━━━━━━━━━━━━━━━━━━━━━▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
 9,590.4 ┤━━▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
         ┼──────────────────────────────────────────────────
          0%                of the path                 100%
          ░ 5 to 95%  ▒ 25 to 75%  ━ 50% of 400 paths"""

_FAN_ASCII = """\
sessions, trial 17, 400 paths: equity (quote currency)
12,280.0 |                                    ..............
         |                        ...................:::::::
         |              ............::::::::::::::::::::====
10,935.2 |     ......:::::::::::::======================::::
         | :======================::::::::::::::::::::::::::
 9,590.4 |==:::::::::::::::::...............................
         +--------------------------------------------------
          0%                of the path                 100%
          . 5 to 95%  : 25 to 75%  = 50% of 400 paths"""


def test_a_histogram_marks_the_observed_value_and_quantiles() -> None:
    assert _text(_histogram(), 60, height=6) == _HISTOGRAM
    assert _text(_histogram(), 60, height=6, ascii_only=True) == _HISTOGRAM_ASCII


def test_a_fan_shows_the_quantiles_along_the_path() -> None:
    assert _text(_fan(), 60, height=6) == _FAN
    assert _text(_fan(), 60, height=6, ascii_only=True) == _FAN_ASCII


@pytest.mark.parametrize("width", [*range(40, 61), 79, 80, 81, 120, 200])
def test_no_chart_is_wider_than_the_terminal(width: int) -> None:
    for found in odd_findings():
        for line in chart_lines(found, width):
            assert max(cell_width(line.plain), cell_len(line.plain)) <= width, line.plain
            assert to_ascii(line).plain.isascii()


def test_a_terminal_too_narrow_for_a_chart_gets_none() -> None:
    assert chart_lines(_histogram(), 10) == []


def test_no_tail_is_marked_of_too_few_units() -> None:
    text = _text(finding(n_units=12), 80)
    assert "50%:" in text
    assert "5%: " not in text.replace("95%: ", "").replace("50%", "")
    assert "95%:" not in text
    assert "not drawn: tails, of too few units" in text


def test_tails_that_are_claimed_are_not_said_to_be_left_out() -> None:
    drawn = Units("path", 24, 24.0, True, None)
    assert "not drawn" not in _text(finding({"sharpe": _SAMPLE}, n_paths=400, counted=drawn), 80)


def test_paths_that_are_not_drawn_are_counted() -> None:
    values = np.concatenate([_SAMPLE, [np.nan, np.inf, 500.0, -900.0, 900.0]])
    shown = window(finding({"sharpe": values}, n_paths=405), "sharpe")
    assert shown is not None
    assert (shown.below, shown.above, shown.without) == (1, 2, 2)
    assert shown.values.size == 400
    text = _text(finding({"sharpe": values}, n_paths=405), 80)
    assert "not drawn: 1 path further left" in text
    assert "not drawn: 2 paths further right" in text
    assert "not drawn: 2 paths without a finite value" in text


def test_an_observed_value_far_outside_is_named_and_not_drawn() -> None:
    text = _text(finding({"sharpe": _SAMPLE}, n_paths=400, observed={"sharpe": 1e6}), 80)
    assert "rank 100.0%: not in the picture" in text
    assert "▲" not in text


def test_bars_count_every_path_that_is_drawn() -> None:
    lines = _text(_histogram(), 60, height=40).splitlines()
    bars = [line.split("┤")[-1].split("│")[-1].ljust(52) for line in lines if "┤" in line]
    assert bars  # a bar is at most as high as the highest, which has its count at its top
    most = int(re.sub(r"\D", "", next(line for line in lines if "┤" in line).split("┤")[0]))
    shown = window(_histogram(), "sharpe")
    assert shown is not None
    bins = 52 // (52 // n_bins(shown, 52))
    places = np.minimum(((_SAMPLE + 1.0) / 4.0 * bins).astype(int), bins - 1)
    assert most == np.bincount(places).max()


def test_equal_values_and_infinite_ranges_do_not_break_a_chart() -> None:
    assert "5% 50% 95%: 2.00" in _text(finding({"sharpe": np.full(50, 2.0)}, n_paths=50), 80)
    huge = finding(paths={"sharpe": np.array([-1e308, 1e308] * 20)})
    assert chart_lines(huge, 80) == []
    assert chart_lines(finding({"sharpe": [np.nan]}, n_paths=1), 80) == []
    assert marks(finding({"sharpe": [np.inf] * 40}, n_paths=40), "sharpe") == []


def test_fans_leave_out_what_is_not_finite_or_not_quantiles() -> None:
    holes = fan(50)
    holes[2, 7] = np.nan
    found = finding(curves={"equity": holes, "single": np.zeros((5, 1)), "odd": np.zeros((3, 9))})
    assert {name: c.shape for name, c in fans(found).items()} == {"equity": (5, 49)}


def test_axes_name_their_units() -> None:
    names = ("sharpe", "max_drawdown", "net_profit", "max_drawdown_time", "equity")
    assert [axis_label(n) for n in names] == [
        "sharpe",
        "max drawdown (%)",
        "net profit (quote currency)",
        "max drawdown time (s)",
        "equity (quote currency)",
    ]


def test_colours_are_left_out_when_the_console_has_none() -> None:
    def printed(**options: Any) -> str:
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=True, highlight=False, width=80, **options)
        for line in chart_lines(_histogram(), 60):
            console.print(line, soft_wrap=True)
        return stream.getvalue()

    assert "\x1b[36m" in printed(color_system="standard")
    assert "36m" not in printed(color_system="standard", no_color=True)


# --- pictures -------------------------------------------------------------------------


def _png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_pictures_hold_several_findings_as_small_multiples(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from sweep.montecarlo.report.plots import write_png

    one, many = tmp_path / "one.png", tmp_path / "many.png"
    write_png(one, [_histogram()])
    write_png(many, odd_findings()[:5])
    assert _png_size(many) == (3 * _png_size(one)[0], 2 * _png_size(one)[1])
    with pytest.raises(InputError, match="exists already"):
        write_png(one, [_histogram()])


def test_a_picture_says_method_variant_paths_and_units() -> None:
    pytest.importorskip("matplotlib")
    from sweep.montecarlo.report.plots import figure

    found = finding({"max_drawdown": _SAMPLE / 40.0 + 0.1}, curves={"equity": fan()})
    histogram, curves = figure([found]).axes
    assert histogram.get_title() == "sessions, trial 17, 1,000 paths"
    assert histogram.get_xlabel() == "max drawdown (%)"
    assert histogram.get_ylabel() == "paths"
    assert curves.get_ylabel() == "equity (quote currency)"
    assert curves.get_xlabel() == "place along the path (%)"
    assert [t.get_text() for t in histogram.texts] == [
        "5%",
        "50%",
        "95%",
        "observed 5.00%, rank 0.0%",
    ]


def test_histograms_of_one_metric_share_their_axis_unless_one_would_be_a_stroke() -> None:
    pytest.importorskip("matplotlib")
    from sweep.montecarlo.report.plots import figure

    def ends(*scales: float) -> list[tuple[float, float]]:
        found = [finding({"sharpe": _SAMPLE * s}, n_paths=400, observed={}) for s in scales]
        return [axes.get_xlim() for axes in figure(found).axes if axes.get_visible()]

    assert len(set(ends(1.0, 2.0))) == 1
    assert len(set(ends(1.0, 100.0))) == 2


def test_pictures_of_nothing_or_of_too_much_are_refused() -> None:
    pytest.importorskip("matplotlib")
    from sweep.montecarlo.report.plots import MOST_FINDINGS, figure

    with pytest.raises(InputError, match="nothing to draw"):
        figure([finding({"sharpe": [np.nan]}, n_paths=1)])
    with pytest.raises(InputError, match=f"{MOST_FINDINGS} findings at most, found 49"):
        figure([_histogram()] * (MOST_FINDINGS + 1))


def test_a_missing_matplotlib_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _forbid_matplotlib(monkeypatch)
    from sweep.montecarlo.report.plots import write_png

    with pytest.raises(InputError, match=r"pip install -e '\.\[plots\]'"):
        write_png(tmp_path / "x.png", [_histogram()])
    assert list(tmp_path.iterdir()) == []


def _forbid_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


# --- pages ----------------------------------------------------------------------------

_VOID = {"meta", "br", "link", "img", "input", "hr"}


class _Page(HTMLParser):
    """Checks that tags close in order; collects identifiers, links and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("href", "xlink:href", "src"):
                self.links.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_parses_escapes_every_text_and_needs_nothing_else() -> None:
    evil = "<script>alert('x')</script>&"
    found = finding(
        variant=evil,
        method=evil,
        title=evil,
        params={evil: evil},
        figures={evil: float("nan")},
        reasons={evil: evil},
        notes=(evil,),
        tables={evil: ((evil,), ((evil,),))},
        curves={evil: fan()},
    )
    text = _page([found], evil)
    parsed = _Page(text)
    assert "script" not in parsed.seen
    assert "<script>" not in text
    assert parsed.text.count("alert('x')") >= 10
    assert all(link.startswith("#") and link[1:] in parsed.ids for link in parsed.links)
    # Names of XML vocabularies are no addresses that a browser would go to.
    assert set(re.findall(r"https?://[^\"]*", text)) <= {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }


def test_a_page_holds_every_finding_with_charts_of_its_own() -> None:
    pytest.importorskip("matplotlib")
    found = odd_findings()
    text = _page(found)
    parsed = _Page(text)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.seen.count("h2") == len(found)
    drawable = sum(bool(chart_lines(f, 80)) for f in found)
    assert parsed.seen.count("svg") == drawable
    assert "#010203" not in text  # the page's own colour of text, on dark and on light
    assert "prefers-color-scheme: dark" in text
    assert text == _page(found)


def test_a_page_says_the_same_as_the_screen() -> None:
    text = _Page(_page([_histogram()])).text
    for said in ("250 sessions, worth 250 independent ones", "Monte Carlo error", "rank", "seed"):
        assert said in text
    assert "-0.6181[-0.7789, -0.4171]" in text  # in cells of their own


def test_a_page_without_matplotlib_has_its_tables_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _forbid_matplotlib(monkeypatch)
    parts = page_parts([_histogram(), finding(n_units=12)], [])
    write_page(tmp_path / "page.html", "Robustness", parts)
    parsed = _Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "svg" not in parsed.seen
    assert "Without charts: pictures need matplotlib: pip install -e '.[plots]'" in parsed.text
    assert "too few units" in parsed.text
    with pytest.raises(InputError, match="exists already"):
        write_page(tmp_path / "page.html", "Robustness", [])


def test_a_page_of_nothing_says_so() -> None:
    assert "No method was run." in _Page(_page([])).text
