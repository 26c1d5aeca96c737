"""Columns fit, whatever they hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweep.report.layout import Block, arrange
from sweep.text import cell_width


def _block(title: str, *cells: str, priority: int = 5, right: bool = True) -> Block:
    return Block(title, cells, priority, right)


def test_numbers_line_up_at_the_right_and_texts_at_the_left() -> None:
    laid = arrange([_block("mode", "up", "down", right=False), _block("n", "5", "1,200")], 40)
    assert laid.titles == "mode      n"
    assert laid.rows == ("up        5", "down  1,200")


def test_titles_are_shortened_before_columns_are_dropped() -> None:
    blocks = [_block("trailing_stop_percent", "1.5"), _block("fast", "20")]
    laid = arrange(blocks, 20)
    assert laid.titles == "traili…percent  fast"
    assert laid.dropped == ()


def test_titles_have_the_room_that_is_left() -> None:
    blocks = [
        _block("test_net_profit", "1.5"),
        _block("param_fast_window", "20"),
        _block("n", "1"),
    ]
    for width, titles in (
        (37, "test_net_profit  param_fast_window  n"),
        (36, "test_net_profit  param_fas…window  n"),
        (34, "test_net_profit  param_f…window  n"),
    ):
        laid = arrange(blocks, width)
        assert (laid.titles, laid.dropped) == (titles, ())


def test_a_long_text_cuts_no_title_and_has_what_titles_leave() -> None:
    blocks = [_block("test_net_profit", "1.5"), _block("reason", "x" * 90, right=False)]
    laid = arrange(blocks, 60)
    assert laid.titles == "test_net_profit  reason"
    assert cell_width(laid.rows[0]) == 60


def test_a_text_that_is_whole_is_never_cut() -> None:
    stamp = "2014-05-01T00:39:00.796Z"
    blocks = [
        Block("trade", ("0",), 0),
        Block("entry_ts", (stamp,), 1, right=False, whole=True),
        *(_block(f"a_long_title_{i}", "1") for i in range(3)),
    ]
    for width in range(31, 90):
        assert stamp in arrange(blocks, width).rows[0]


def test_least_important_columns_are_dropped_and_named() -> None:
    blocks = [
        _block("trial", "1", priority=0),
        _block("win_rate", "50%", priority=8),
        _block("sharpe", "1.5", priority=1),
    ]
    laid = arrange(blocks, 16)
    assert laid.titles == "trial  sharpe"
    assert laid.dropped == ("win_rate",)


def test_without_a_width_nothing_is_cut() -> None:
    laid = arrange([_block("a" * 90, "1"), _block("b" * 90, "x" * 90, right=False)], None)
    assert laid.titles == "a" * 90 + "  " + "b" * 90
    assert laid.dropped == ()


def test_group_titles_span_their_columns() -> None:
    blocks = [
        Block("trial", ("1",)),
        Block("sharpe", ("1.5",), group="train"),
        Block("trades", ("30",), group="train"),
        Block("x", ("1",), group="holdout"),
    ]
    laid = arrange(blocks, 80)
    assert laid.groups == "       ─── train ────  holdout"
    assert laid.titles == "trial  sharpe  trades        x"


_texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=40)
_blocks = st.integers(0, 3).flatmap(
    lambda n: st.lists(
        st.builds(
            Block,
            title=_texts,
            cells=st.lists(_texts.filter(lambda t: cell_width(t) < 15), min_size=n, max_size=n).map(
                tuple
            ),
            priority=st.integers(1, 9),
            right=st.booleans(),
            group=st.sampled_from(["", "train", "holdout"]),
        ),
        max_size=12,
    )
)


@given(_blocks, st.integers(15, 120))
def test_no_line_is_wider_than_the_width_and_no_number_is_cut(
    blocks: list[Block], width: int
) -> None:
    laid = arrange(blocks, width)
    lines = [laid.groups, laid.titles, *laid.rows]
    assert all(cell_width(line) <= width for line in lines)
    shown = len(blocks) - len(laid.dropped)
    numbers = [b for b in blocks if b.right and all(c.strip() for c in b.cells)]
    whole = sum(all(c in r for c, r in zip(b.cells, laid.rows, strict=True)) for b in numbers)
    assert whole >= len(numbers) - len(laid.dropped)
    assert shown >= 0
