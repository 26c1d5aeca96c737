"""Columns fit, whatever they hold; text wraps, and nothing is lost."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.report.document import (
    Chart,
    Facts,
    Grid,
    Heading,
    Paragraph,
    Part,
    ShadedCells,
    TextColumn,
)
from sweep.report.terminal import grid_rows, lines_of, needs_ascii, print_lines, to_ascii
from sweep.text import cell_width


def _column(title: str, *texts: str, priority: int = 5, right: bool = True) -> TextColumn:
    return TextColumn(title, texts, priority, right)


def _rows(columns: list[TextColumn], width: int | None) -> tuple[list[str], tuple[str, ...]]:
    lines, left_out = grid_rows(Grid(tuple(columns)), width)
    return [line.plain for line in lines], left_out


def _lines(parts: list[Part], width: int | None) -> list[str]:
    return [line.plain for line in lines_of(parts, width)]


# --- tables ---------------------------------------------------------------------------


def test_numbers_line_up_at_the_right_and_texts_at_the_left() -> None:
    columns = [_column("mode", "up", "down", right=False), _column("n", "5", "1,200")]
    assert _rows(columns, 40)[0] == ["mode      n", "up        5", "down  1,200"]


def test_titles_are_shortened_before_columns_are_dropped() -> None:
    columns = [_column("trailing_stop_percent", "1.5"), _column("fast", "20")]
    (titles, _), left_out = _rows(columns, 20)
    assert titles == "traili…percent  fast"
    assert left_out == ()


def test_titles_have_the_room_that_is_left() -> None:
    columns = [
        _column("test_net_profit", "1.5"),
        _column("param_fast_window", "20"),
        _column("n", "1"),
    ]
    for width, titles in (
        (37, "test_net_profit  param_fast_window  n"),
        (36, "test_net_profit  param_fas…window  n"),
        (34, "test_net_profit  param_f…window  n"),
    ):
        lines, left_out = _rows(columns, width)
        assert (lines[0], left_out) == (titles, ())


def test_a_long_text_cuts_no_title_and_has_what_titles_leave() -> None:
    columns = [_column("test_net_profit", "1.5"), _column("reason", "x" * 90, right=False)]
    (titles, row), _ = _rows(columns, 60)
    assert titles == "test_net_profit  reason"
    assert cell_width(row) == 60


def test_a_text_that_is_whole_is_never_cut() -> None:
    stamp = "2014-05-01T00:39:00.796Z"
    columns = [
        TextColumn("trade", ("0",), 0),
        TextColumn("entry_ts", (stamp,), 1, right=False, whole=True),
        *(_column(f"a_long_title_{i}", "1") for i in range(3)),
    ]
    for width in range(31, 90):
        assert stamp in _rows(columns, width)[0][1]


def test_least_important_columns_are_dropped_and_named() -> None:
    columns = [
        _column("trial", "1", priority=0),
        _column("win_rate", "50%", priority=8),
        _column("sharpe", "1.5", priority=1),
    ]
    lines, left_out = _rows(columns, 16)
    assert lines[0] == "trial  sharpe"
    assert left_out == ("win_rate",)
    shown = _lines([Grid(tuple(columns), hint="-f csv has all")], 16)
    assert " ".join(shown[2:]) == "not shown (-f csv has all): win_rate"


def test_without_a_width_nothing_is_cut() -> None:
    lines, left_out = _rows(
        [_column("a" * 90, "1"), _column("b" * 90, "x" * 90, right=False)], None
    )
    assert lines[0] == "a" * 90 + "  " + "b" * 90
    assert left_out == ()


def test_group_titles_span_their_columns() -> None:
    columns = [
        TextColumn("trial", ("1",)),
        TextColumn("sharpe", ("1.5",), group="train"),
        TextColumn("trades", ("30",), group="train"),
        TextColumn("x", ("1",), group="holdout"),
    ]
    lines, _ = _rows(columns, 80)
    assert lines[:2] == ["       ─── train ────  holdout", "trial  sharpe  trades        x"]


def test_notes_line_up_after_their_texts_and_give_way_where_the_width_is_short() -> None:
    short = TextColumn("sharpe", ("1.5", "10.25"), 0)
    full = TextColumn("sharpe", ("1.5", "10.25"), 0, notes=("+/- 0.1", ""), narrower=short)
    first = TextColumn("", ("mean", "sd"), 0, right=False)
    assert _rows([first, full], 40)[0] == [
        "             sharpe",
        "mean    1.5 +/- 0.1",
        "sd    10.25",
    ]
    assert _rows([first, full], 15)[0] == ["      sharpe", "mean     1.5", "sd     10.25"]


def test_columns_of_a_split_table_follow_one_another_and_none_is_left_out() -> None:
    columns = (
        _column("level", "1%", right=False),
        *(_column(f"metric_{i}", "1") for i in range(5)),
    )
    lines = _lines([Grid(columns, split=True)], 30)
    assert [line.split() for line in lines if "level" in line] == [
        ["level", "metric_0", "metric_1"],
        ["level", "metric_2", "metric_3"],
        ["level", "metric_4"],
    ]


_texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=40)
_columns = st.integers(0, 3).flatmap(
    lambda n: st.lists(
        st.builds(
            TextColumn,
            title=_texts,
            texts=st.lists(_texts.filter(lambda t: cell_width(t) < 15), min_size=n, max_size=n).map(
                tuple
            ),
            priority=st.integers(1, 9),
            right=st.booleans(),
            group=st.sampled_from(["", "train", "holdout"]),
        ),
        max_size=12,
    )
)


@given(_columns, st.integers(15, 120))
def test_no_line_is_wider_than_the_width_and_no_number_is_cut(
    columns: list[TextColumn], width: int
) -> None:
    lines, left_out = _rows(columns, width)
    assert all(cell_width(line) <= width for line in lines)
    numbers = [c for c in columns if c.right and c.texts and all(t.strip() for t in c.texts)]
    n_rows = len(numbers[0].texts) if numbers else 0
    rows = lines[len(lines) - n_rows :]
    whole = sum(all(t in r for t, r in zip(c.texts, rows, strict=True)) for c in numbers)
    assert whole >= len(numbers) - len(left_out)


# --- other parts ----------------------------------------------------------------------


def test_a_heading_its_facts_and_its_text_stand_together() -> None:
    parts: list[Part] = [
        Heading("sessions", "resampled"),
        Facts((("paths", "400"), ("parameters", "fast = 20, slow = 100"))),
        Paragraph(("one sentence that is long", "another"), items=True),
        Paragraph(("aside",), "dim", indent=2),
    ]
    assert _lines(parts, 22) == [
        "sessions   resampled",
        "paths       400",
        "parameters  fast = 20,",
        "            slow = 100",
        "",
        "- one sentence that is",
        "  long",
        "- another",
        "",
        "  aside",
    ]
    assert _lines(parts, None)[4] == "- one sentence that is long"


def test_a_word_longer_than_the_line_is_broken_and_not_lost() -> None:
    lines = _lines([Facts((("parameters", "x" * 50),))], 30)
    assert max(map(len, lines)) == 30
    assert "".join(lines).count("x") == 50


def test_texts_are_never_markup_or_control_codes() -> None:
    parts: list[Part] = [Heading("[red]a\x1b[2J"), Facts((("[bold]x", "y\nz"),))]
    assert _lines(parts, None) == ["[red]a [2J", "[bold]x  y z"]


def test_shaded_cells_have_the_better_darker_and_the_marked_one_crossed() -> None:
    shares = ((0.0, 0.3, None), (0.6, 0.9, 1.0))
    texts = (("",) * 3,) * 2
    part = ShadedCells(
        "median", "x", "y", ("1", "2", "3"), ("a", "b"), shares, texts, "0", "9", (1, 2)
    )
    assert _lines([part], 40) == [
        "y (down) by x (across): median, ░ 0 to █",
        "9",
        "a ░░░░░░▒▒▒▒▒▒  ·",
        "b ▓▓▓▓▓▓█████████X██",
        "  1                3",
    ]


def test_charts_need_a_terminal() -> None:
    chart = Chart(lambda width: lines_of([Paragraph((f"drawn in {width}",))], width), lambda _: "")
    assert _lines([chart], 40) == ["drawn in 40"]
    assert _lines([chart], None) == []


# --- streams --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "wanted"),
    [("utf-8", False), ("ascii", True), ("latin-1", True), ("cp1252", True)],
)
def test_blocks_are_drawn_only_where_the_encoding_has_them(encoding: str, wanted: bool) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    assert needs_ascii(stream) is wanted
    print_lines(lines_of([Paragraph(("▁▄█ ░▒▓ │… größer",))], None), stream=stream)
    stream.flush()
    shown = raw.getvalue().decode(encoding).rstrip("\n")
    letters = "gr??er" if encoding == "ascii" else "größer"
    assert shown == (f".:# .:* |~ {letters}" if wanted else "▁▄█ ░▒▓ │… größer")


def test_a_stream_without_an_encoding_gets_ascii() -> None:
    assert needs_ascii(io.StringIO())
    (line,) = lines_of([Paragraph(("━ é",), "dim")], None)
    assert to_ascii(line).plain == "= ?"
    assert to_ascii(line).spans == line.spans
