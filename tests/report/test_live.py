"""The live screen as a function of a snapshot, and the display around it."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweep.report.live import LiveDisplay, plain_line, render
from sweep.report.snapshot import Snapshot, TrialView, WorkerView
from sweep.report.status_line import StatusLine, stderr_console

_METRICS = {
    "sharpe": 1.5,
    "trades": 1204.0,
    "max_drawdown": 0.041,
    "total_return": 0.12,
    "win_rate": 0.55,
    "profit_factor": 1.4,
    "mean_holding_time": 3600.0,
}


def _trial(number: int, sharpe: float = 1.5, **changes: Any) -> TrialView:
    params = {"fast": 10 + number, "slow": 100.5 + number}
    metrics = {**_METRICS, "sharpe": sharpe}
    return replace(TrialView(number, params, (sharpe,), metrics), **changes)


def _snapshot(**changes: Any) -> Snapshot:
    snapshot = Snapshot(
        name="gold",
        strategy="ema_crossover.py",
        sampler="tpe",
        state="running",
        elapsed_s=134.0,
        total=500,
        finished=312,
        complete=270,
        pruned=31,
        infeasible=5,
        invalid=0,
        failed=3,
        duplicates=3,
        in_flight=8,
        trials_per_s=4.312,
        tick_variants_per_s=1.24e9,
        remaining_s=72.0,
        workers=(WorkerView(11, 0.98, 121_000_000), WorkerView(12, 0.97, 119_000_000)),
        memory_bytes=812_000_000,
        shared_bytes=64_000_000,
        sampler_share=0.04,
        evaluation_share=0.94,
        idle_share=0.02,
        pruned_share_saved=0.18,
        objectives=(("sharpe", "maximize"),),
        parameters=("fast", "slow"),
        best=(_trial(217, 2.345, is_new=True), _trial(4, 1.2), _trial(31, -0.5, feasible=False)),
        holdout_opened=0,
    )
    return replace(snapshot, **changes)


def _lines(snapshot: Snapshot, width: int, height: int | None = None, **options: Any) -> list[str]:
    return _text(snapshot, width, height, **options).splitlines()


def _text(
    snapshot: Snapshot,
    width: int,
    height: int | None = None,
    *,
    color: bool = False,
    **options: Any,
) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
        _environ={},
    )
    console.print(render(snapshot, width, height, **options))
    return stream.getvalue()


def test_screen_at_80_columns() -> None:
    assert _lines(_snapshot(), 80) == [
        "gold  ema_crossover.py  tpe                                              running",
        "━━━━━━━━━━━━━━━━━━━━─────────────   62%  312 of 500  2m 14s elapsed, 1m 12s left",
        "trials   270 complete   31 pruned (18% saved)   3 failed   5 infeasible",
        "speed    4.31 trials/s   1.24 G ticks x variants/s",
        "workers  2   busy 98% 97%",
        "memory   812 MB in all   + ticks 64.0 MB, shared   largest worker 121 MB",
        "time     evaluation 94%   sampler 4%   idle 2%",
        "",
        "best by sharpe (maximize)   holdout not opened yet",
        "       ─ params ──  ─────────────────────── train ───────────────────────",
        "trial  fast   slow  sharpe  trades  drawdown  return  win_rate  profit f.",
        "* 217   227  317.5   2.345   1,204     4.10%  12.00%    55.00%        1.4",
        "    4    14  104.5   1.200   1,204     4.10%  12.00%    55.00%        1.4",
        "!  31    41  131.5  -0.500   1,204     4.10%  12.00%    55.00%        1.4",
        "* new   ! breaks a constraint   not shown: holding",
        "",
        "Ctrl-C stops; what is finished is kept",
    ]


def test_screen_at_200_columns_pairs_facts_and_shows_every_column() -> None:
    best = (_trial(217, 2.345, holdout=_METRICS), _trial(4))
    lines = _lines(_snapshot(best=best, holdout_opened=1), 200)
    assert lines[2].index("speed ") == 100
    assert [word for word in lines[8].split() if word != "trial"] == [
        "fast",
        "slow",
        *("sharpe", "trades", "drawdown", "return", "win_rate", "profit", "f.", "holding"),
        *("sharpe", "trades", "drawdown"),
    ]
    assert lines[1].endswith("62%  312 of 500  2m 14s elapsed, 1m 12s left")
    assert len(lines[1]) == 200


@given(
    width=st.integers(20, 220),
    height=st.none() | st.integers(4, 60),
    n_parameters=st.integers(0, 12),
    n_best=st.integers(0, 15),
    n_workers=st.integers(0, 80),
    total=st.none() | st.integers(0, 10**7),
    long=st.booleans(),
)
def test_every_line_fits_every_terminal(
    width: int,
    height: int | None,
    n_parameters: int,
    n_best: int,
    n_workers: int,
    total: int | None,
    long: bool,
) -> None:
    names = tuple(f"{'very_' * 5 * long}long_parameter_{i}" for i in range(n_parameters))
    best = tuple(
        _trial(
            1000 + i,
            math.nan if i == 3 else 1e-3 * i,
            params=dict.fromkeys(names, "breakout" if long else 0.001),
            holdout=_METRICS if i < 2 else None,
        )
        for i in range(n_best)
    )
    snapshot = _snapshot(
        name="study" * (1 + 20 * long),
        total=total,
        parameters=names,
        best=best,
        workers=tuple(WorkerView(i, i / 80, 10**8) for i in range(n_workers)),
        messages=("a warning " * 30, "another"),
    )
    lines = _lines(snapshot, width, height)
    assert max(len(line) for line in lines) <= width
    if height is not None:
        assert len(lines) <= max(3, height - 1)


def test_number_columns_line_up() -> None:
    rows = [line for line in _lines(_snapshot(), 80) if line[2:5].strip().isdigit()]
    assert len(rows) == 3
    ends = {tuple(i for i, c in enumerate(row) if c == "%") for row in rows}
    assert len(ends) == 1
    assert len({row.index(".") for row in rows}) == 1


def test_narrow_screens_drop_the_least_important_columns() -> None:
    narrow, wide = "\n".join(_lines(_snapshot(), 50)), "\n".join(_lines(_snapshot(), 200))
    assert "win_rate" in wide
    assert "holding" in wide
    assert "not shown" not in wide
    titles = next(line for line in narrow.splitlines() if line.startswith("trial "))
    assert "win_rate" not in titles
    assert all(name in titles for name in ("fast", "slow", "sharpe", "trades"))
    assert "not shown: " in narrow


def test_long_parameter_names_are_elided() -> None:
    names = tuple(f"moving_average_window_{i}" for i in range(4))
    best = (_trial(1, params=dict.fromkeys(names, 5)),)
    text = "\n".join(_lines(_snapshot(parameters=names, best=best), 80))
    assert "moving_avera…0  moving_avera…1  moving_avera…2" in text


def test_holdout_stands_beside_train_once_evaluated() -> None:
    closed = "\n".join(_lines(_snapshot(), 80))
    assert "holdout not opened yet" in closed
    best = (_trial(217, 2.345, holdout={**_METRICS, "sharpe": 0.777}), _trial(4))
    opened = _lines(_snapshot(best=best, holdout_opened=2), 80)
    assert "holdout opened 2 times" in "\n".join(opened)
    groups = next(i for i, line in enumerate(opened) if "train" in line and "params" in line)
    assert "holdout" in opened[groups]
    assert "0.777" in opened[groups + 2]
    assert opened[groups + 3].endswith("-")
    assert "holdout" not in "\n".join(_lines(_snapshot(holdout_opened=None), 80))


def test_new_bests_stand_out_with_and_without_color() -> None:
    plain = _lines(_snapshot(), 80)
    assert any(line.startswith("* 217 ") for line in plain)
    assert any(line.startswith("!  31 ") for line in plain)
    assert any(line.startswith("* new   ! breaks a constraint") for line in plain)
    styled = _text(_snapshot(), 80, color=True).splitlines()
    new = next(line for line in styled if "* 217" in line)
    assert new.startswith("\x1b[1;32m")
    assert "\x1b[1;32m" not in next(
        line for line in styled if "2.345" not in line and "  4 " in line
    )


def test_failures_are_red_only_where_there_are_some() -> None:
    assert "\x1b[1;31m3 failed" in _text(_snapshot(), 80, color=True)
    assert "0 failed" in _text(_snapshot(failed=0), 80)
    assert "\x1b[1;31m" not in _text(_snapshot(failed=0), 80, color=True)


def test_a_low_terminal_keeps_a_trial_in_view() -> None:
    lines = _lines(_snapshot(), 80, 13)
    assert len(lines) <= 12
    assert any("217" in line for line in lines)


def test_many_workers_are_bars_and_their_mean() -> None:
    workers = tuple(WorkerView(i, i / 16, 10**8) for i in range(16))
    text = "\n".join(_lines(_snapshot(workers=workers), 80))
    assert "16   busy 47%, least 0%   ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██" in text


def test_unknown_total_shows_counts_without_a_bar() -> None:
    lines = _lines(_snapshot(total=None, remaining_s=None), 80)
    assert lines[1] == "312 trials   2m 14s elapsed"


def test_progress_is_complete_only_with_the_last_trial() -> None:
    assert "100%" not in _lines(_snapshot(total=1000, finished=999), 80)[1]
    assert "100%" in _lines(_snapshot(total=1000, finished=1000), 80)[1]


def test_pareto_front_has_a_column_per_objective() -> None:
    objectives = (("sharpe", "maximize"), ("max_drawdown", "minimize"))
    best = (_trial(217, values=(2.0, 0.1)), _trial(4, values=(1.0, 0.05)))
    lines = _lines(_snapshot(objectives=objectives, best=best), 80)
    assert any(line.startswith("Pareto front, sharpe (maximize), max_drawdown") for line in lines)
    titles = next(line for line in lines if line.startswith("trial "))
    assert titles.count("drawdown") == 1


def test_before_the_first_trial_and_while_stopping() -> None:
    early = "\n".join(_lines(_snapshot(best=(), finished=0, workers=()), 80))
    assert "no complete trial yet" in early
    assert "stopping, 8 in flight" in _lines(_snapshot(state="draining"), 80)[0]
    assert "Ctrl-C" not in "\n".join(_lines(_snapshot(state="draining"), 80))


def test_names_are_never_markup_or_control_codes() -> None:
    best = (_trial(1, params={"[red]x": "a\x1b[2Jb"}),)
    text = "\n".join(_lines(_snapshot(name="[bold]g", parameters=("[red]x",), best=best), 80))
    assert "[bold]g" in text
    assert "[red]x" in text
    assert "\x1b" not in text


def test_ascii_screen_has_no_other_characters() -> None:
    text = _text(_snapshot(name="gölд" * 30), 60, ascii_only=True)
    assert text.isascii()
    assert "====" in text


def test_plain_line_says_the_same_in_one_line() -> None:
    assert plain_line(_snapshot()) == (
        "gold: 312/500 trials 62%, 4.31 trials/s, 1.24 G ticks x variants/s, "
        "elapsed 2m 14s, left 1m 12s, 31 pruned, 3 failed, "
        "best #217 sharpe=2.345 (fast=227 slow=317.5)"
    )
    assert "\n" not in plain_line(_snapshot(name="a\nb"))
    assert "best" not in plain_line(_snapshot(best=(), total=None))


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _plain_display(clock: _Clock, **options: Any) -> tuple[LiveDisplay, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, width=80, _environ={})
    return LiveDisplay(console=console, clock=clock, **options), stream


def test_without_a_terminal_a_line_every_ten_seconds() -> None:
    clock = _Clock()
    display, stream = _plain_display(clock)
    for i in range(350):
        clock.now = 100.0 + i / 10
        display.update(_snapshot(elapsed_s=float(i)))
    assert stream.getvalue().count("\n") == 4
    assert "\x1b" not in stream.getvalue()


def test_without_a_terminal_a_new_best_shows_within_two_seconds() -> None:
    clock = _Clock()
    display, stream = _plain_display(clock)
    display.update(_snapshot())
    better = _snapshot(best=(_trial(300, 3.0), _trial(217, 2.345)))
    clock.now += 1.0
    display.update(better)
    assert "#300" not in stream.getvalue()
    clock.now += 1.5
    display.update(better)
    assert stream.getvalue().count("best #300") == 1
    clock.now += 2.5
    display.update(better)
    assert stream.getvalue().count("best #300") == 1


def test_without_a_terminal_each_warning_shows_once_and_the_end_is_a_line() -> None:
    clock = _Clock()
    display, stream = _plain_display(clock)
    with display:
        for _ in range(50):
            clock.now += 1.0
            display.update(_snapshot(messages=("a worker died",)))
        display.update(_snapshot(state="finished", finished=500))
    assert stream.getvalue().count("warning: a worker died") == 1
    assert "finished" in stream.getvalue().splitlines()[-1]
    display.close()
    assert stream.getvalue().count("finished") == 1


def test_quiet_display_is_silent_and_never_due() -> None:
    clock = _Clock()
    for animate in (True, False):
        display, stream = _plain_display(clock, quiet=True, animate=animate)
        with display:
            assert not display.due()
            display.update(_snapshot(messages=("x",)))
        assert stream.getvalue() == ""


def _animated(clock: _Clock, size: dict[str, str] | None = None) -> tuple[LiveDisplay, io.StringIO]:
    stream = io.StringIO()
    environ = {"COLUMNS": "80", "LINES": "30", "TERM": "xterm-256color", **(size or {})}
    console = Console(file=stream, force_terminal=True, legacy_windows=False, _environ=environ)
    return LiveDisplay(console=console, clock=clock, animate=True), stream


def test_screen_is_drawn_at_most_four_times_a_second() -> None:
    clock = _Clock()
    display, stream = _animated(clock)
    with display:
        for i in range(101):
            clock.now = 100.0 + i * 0.01
            display.update(_snapshot())
        drawn = stream.getvalue().count("4.31 trials/s")
    assert drawn <= 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_terminal_is_restored_after_an_error(error: type[BaseException]) -> None:
    display, stream = _animated(_Clock())

    def fail_while_drawn() -> None:
        with display:
            display.update(_snapshot())
            assert stream.getvalue().startswith("\x1b[?25l")  # cursor hidden
            raise error

    with pytest.raises(error):
        fail_while_drawn()
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")
    last = stream.getvalue().rpartition("\x1b[2K")[2]
    assert "best by" not in last
    assert "Ctrl-C" not in last


def test_lost_terminal_does_not_stop_the_study() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    clock = _Clock()
    display = LiveDisplay(console=Console(file=Broken(), _environ={}), clock=clock)
    with display:
        display.update(_snapshot())
        clock.now += 60
        display.update(_snapshot())
        assert not display.due()


def test_no_color_by_flag_and_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not stderr_console().no_color
    assert stderr_console(no_color=True).no_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert stderr_console().no_color
    assert stderr_console().stderr


# --- one line -------------------------------------------------------------------------


def test_a_status_line_is_a_line_now_and_then_without_a_terminal() -> None:
    clock, stream = _Clock(), io.StringIO()
    with StatusLine(console=Console(file=stream, width=80), clock=clock) as status:
        for second in range(35):
            if status.due():
                status.show(f"{second} [red]s[/red] " + "x" * 100)
            clock.now += 1.0
    lines = stream.getvalue().splitlines()
    assert [line.split("x")[0] for line in lines] == [f"{k} [red]s[/red] " for k in (10, 20, 30)]


def test_a_status_line_on_a_terminal_is_taken_away_at_its_end() -> None:
    clock, stream = _Clock(), io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with StatusLine(console=console, clock=clock) as status:
        assert not status.due()
        clock.now += 0.6
        assert status.due()
        status.show("half")
        assert not status.due()
        status.show("all")
    assert stream.getvalue().rpartition("all")[2].endswith("\x1b[2K")
    quiet = StatusLine(quiet=True, console=console, clock=clock)
    clock.now += 60.0
    before = stream.getvalue()
    assert not quiet.due()
    quiet.show("never")
    assert stream.getvalue() == before
