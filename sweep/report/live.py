"""Showing a running study: redrawn in place on a terminal, a line now and then elsewhere.

Everything goes to stderr, so that stdout carries data only. `LiveDisplay` decides when and
where; `render` and `plain_line` make what is shown, as pure functions of a snapshot and a size.
No line ever wraps: what does not fit is shortened or left out, the least important first.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sweep.report.document import Grid, TextColumn
from sweep.report.snapshot import Snapshot, TrialView
from sweep.report.status_line import stderr_console
from sweep.report.terminal import grid_rows, to_ascii
from sweep.report.trials import trial_columns
from sweep.text import (
    MISSING,
    as_cells,
    bytes_text,
    cell_width,
    clean,
    clip,
    count,
    counted,
    duration,
    elide,
    kind_of,
    number,
    percent,
    short,
)

__all__ = ["LiveDisplay", "plain_line", "render"]

_REFRESH_S = 0.25
_LINE_S = 10.0
_BEST_LINE_S = 2.0

_MAX_ROWS = 10
_MAX_MESSAGES = 2
_PAIRED_WIDTH = 140  # from here on, two groups of facts share a line
_LABEL = 9
_FEW_WORKERS = 6  # more are drawn as one bar each
_SEP = "   "
_MIN_WIDTH = 20

# Shown after the objectives, with the priority of the column; the first two on the holdout, too.
_METRICS = (
    ("trades", 2),
    ("max_drawdown", 3),
    ("total_return", 7),
    ("win_rate", 8),
    ("profit_factor", 8),
    ("mean_holding_time", 9),
)
_HOLDOUT_METRICS = 2
_BLOCKS = "▁▂▃▄▅▆▇█"
Segments = Sequence[tuple[str, str]]  # text and style


class LiveDisplay:
    """Shows snapshots while a study runs. A context manager.

    On a terminal a screen that is redrawn in place; without one, a line now and then;
    with ``quiet`` nothing at all. Leaving it, by Ctrl-C or otherwise, restores the
    terminal and leaves the last head standing.

    Parameters
    ----------
    console : rich.console.Console, optional
        Default: ``stderr_console(no_color=no_color)``.
    clock : callable returning float
        Seconds that never run backwards.
    quiet, no_color : bool
    animate : bool, optional
        Default: whether the console's file is a terminal that can move its cursor.

    Notes
    -----
    Call ``update`` as often as there is news: it draws at most every 0.25 s. ``due``
    tells beforehand whether a snapshot would be drawn at all.
    """

    def __init__(
        self,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
        no_color: bool = False,
        animate: bool | None = None,
    ) -> None:
        self._console = console or stderr_console(no_color=no_color)
        self._clock = clock
        self._silent = quiet
        self._animate = _can_animate(self._console) if animate is None else animate
        self._live: Live | None = None
        self._size = (0, 0)
        self._last: Snapshot | None = None
        self._drawn_at = -math.inf
        self._updated_at = -math.inf
        self._shown_best: frozenset[int] = frozenset()
        self._shown_messages: tuple[str, ...] = ()
        self._printed: Snapshot | None = None

    def __enter__(self) -> LiveDisplay:
        """Return itself; nothing is drawn before the first ``update``."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def due(self) -> bool:
        """Tell whether enough time has passed for ``update`` to draw something."""
        now = self._clock()
        wait = 0.0 if self._animate else _BEST_LINE_S
        return (
            not self._silent
            and now - self._updated_at >= _REFRESH_S
            and now - self._drawn_at >= wait
        )

    def update(self, snapshot: Snapshot) -> None:
        """Show a snapshot, unless the last one was shown just now."""
        self._last = snapshot
        if not self.due():
            return
        self._updated_at = self._clock()
        try:
            if self._animate:
                self._draw(snapshot)
            else:
                self._print(snapshot)
        except OSError:
            # The terminal or pipe is gone; the study goes on without it.
            self._silent = True

    def close(self) -> None:
        """Draw the last state without its table and give the terminal back. Idempotent."""
        live, self._live = self._live, None
        last, self._last = self._last, None
        try:
            if last is None or self._silent:
                return
            if live is not None:
                live.update(self._frame(last, self._console.size.width, None, table=False))
            elif not self._animate and last != self._printed:
                self._write_news(last)
                self._write(plain_line(last))
        except OSError:
            self._silent = True
        finally:
            if live is not None:
                with suppress(OSError):
                    live.stop()

    def _draw(self, snapshot: Snapshot) -> None:
        width, height = self._console.size
        if self._live is not None and (width < self._size[0] or height < self._size[1]):
            # The terminal has wrapped or scrolled the old lines: where they are is unknown.
            self._live.stop()
            self._live = None
            self._console.clear()
        frame = self._frame(snapshot, width, height)
        self._size = (width, height)
        self._drawn_at = self._clock()
        if self._live is None:
            self._live = Live(
                frame,
                console=self._console,
                auto_refresh=False,
                vertical_overflow="crop",
                # Data on a piped stdout must not end up on stderr.
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start(refresh=True)
        else:
            self._live.update(frame, refresh=True)

    def _frame(
        self, snapshot: Snapshot, width: int, height: int | None, *, table: bool = True
    ) -> Group:
        ascii_only = self._console.options.ascii_only
        return render(snapshot, width, height, table=table, ascii_only=ascii_only)

    def _print(self, snapshot: Snapshot) -> None:
        """Print a line if the last one is old, the best is another one or a warning is new."""
        best = _leaders(snapshot)
        stale = self._clock() - self._drawn_at >= _LINE_S
        better = bool(best - self._shown_best)
        self._write_news(snapshot)
        if stale or better:
            self._drawn_at = self._clock()
            self._shown_best = best
            self._printed = snapshot
            self._write(plain_line(snapshot))

    def _write_news(self, snapshot: Snapshot) -> None:
        for message in snapshot.messages:
            if message not in self._shown_messages:
                self._write(f"warning: {clean(message)}")
        self._shown_messages = snapshot.messages

    def _write(self, line: str) -> None:
        # Past rich, which would wrap the line at 80 columns.
        self._console.file.write(line + "\n")
        self._console.file.flush()


def _leaders(snapshot: Snapshot) -> frozenset[int]:
    """Numbers of the best trial or, with several objectives, of all on the front."""
    several = len(snapshot.objectives) > 1
    return frozenset(t.number for t in (snapshot.best if several else snapshot.best[:1]))


def _can_animate(console: Console) -> bool:
    # Not console.is_terminal: FORCE_COLOR sets it for pipes as well.
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    try:
        return console.file.isatty()
    except (AttributeError, ValueError):
        return False


# --- what is drawn --------------------------------------------------------------------


def render(
    snapshot: Snapshot,
    width: int,
    height: int | None = None,
    *,
    table: bool = True,
    ascii_only: bool = False,
) -> Group:
    """Lay a snapshot out as lines of text that a console prints as they are.

    Parameters
    ----------
    snapshot : Snapshot
    width : int
        Terminal columns. No line is wider, none wraps.
    height : int, optional
        Terminal rows; the table is shortened to leave one free. None: ten trials.
    table : bool
        Whether the best trials follow the head. Not so for the frame that is left after.
    ascii_only : bool
        For terminals without Unicode.

    Returns
    -------
    rich.console.Group
        Of ``rich.text.Text``, one per line.
    """
    width = max(width, _MIN_WIDTH)
    room = None if height is None else max(3, height - 1)
    # A low terminal gives up facts before trials.
    n_facts = 5 if room is None or not table else min(5, max(1, room - 13))
    lines = _head(snapshot, width, n_facts)
    foot = _foot(snapshot, width, hint=table)
    if room is not None and len(lines) + len(foot) > room:
        lines, foot = lines[:room], []
    if table:
        free = None if room is None else room - len(lines) - len(foot)
        lines += _best(snapshot, width, free)
    lines += foot
    if ascii_only:
        lines = [to_ascii(line) for line in lines]
    for line in lines:
        line.no_wrap, line.overflow = True, "crop"
        line.truncate(width, overflow="crop")
    return Group(*lines)


def _head(snapshot: Snapshot, width: int, n_facts: int) -> list[Text]:
    groups = [
        ("trials", _counts(snapshot)),
        ("speed", _speed(snapshot)),
        ("workers", _workers(snapshot)),
        ("memory", _memory(snapshot)),
        ("time", _shares(snapshot)),
    ][:n_facts]
    lines = [_title(snapshot, width), _progress(snapshot, width)]
    if width < _PAIRED_WIDTH:
        return lines + [_facts(label, parts, width) for label, parts in groups]
    half = width // 2
    for i in range(0, len(groups), 2):
        line = _facts(*groups[i], half - 2)
        if i + 1 < len(groups):
            line.append(" " * (half - line.cell_len))
            line.append_text(_facts(*groups[i + 1], width - half))
        lines.append(line)
    return lines


def _title(snapshot: Snapshot, width: int) -> Text:
    state, style = {
        "running": ("running", "green"),
        "draining": (f"stopping, {snapshot.in_flight} in flight", "yellow"),
        "finished": ("finished", "bold green"),
    }[snapshot.state]
    room = width - len(state) - 2
    line = Text()
    used = 0
    for text, part_style in (
        (snapshot.name, "bold"),
        (snapshot.strategy, ""),
        (snapshot.sampler, "dim"),
    ):
        gap = 2 if used else 0
        part = elide(clean(text), max(0, room - used - gap))
        if cell_width(part) < min(4, cell_width(text)):
            break
        line.append(" " * gap)
        line.append(part, part_style)
        used += gap + cell_width(part)
    line.append(" " * max(1, width - used - len(state)))
    line.append(state, style)
    return line


def _progress(snapshot: Snapshot, width: int) -> Text:
    elapsed = duration(snapshot.elapsed_s)
    if snapshot.total is None:
        return _flow(
            [(counted(snapshot.finished, "trial"), "bold"), (f"{elapsed} elapsed", "")], width
        )
    share = min(1.0, snapshot.finished / snapshot.total) if snapshot.total else 1.0
    done = f"{count(snapshot.finished)} of {count(snapshot.total)}"
    times = f"{elapsed} elapsed"
    if snapshot.remaining_s is not None and snapshot.state == "running":
        times += f", {duration(snapshot.remaining_s)} left"
    # Rounded down: 100% only when the last trial is in.
    tail = [(f"{math.floor(100 * share):3d}%", "bold"), (done, ""), (times, "")]
    tail_width = sum(len(t) + 2 for t, _ in tail)
    while width - tail_width < 10 and len(tail) > 1:
        tail_width -= len(tail.pop()[0]) + 2
    bar = max(0, width - tail_width)
    full = math.floor(bar * share)
    line = Text().append("━" * full, "green" if snapshot.state != "draining" else "yellow")
    line.append("─" * (bar - full), "dim")
    for text, style in tail:
        line.append("  ")
        line.append(text, style)
    return line


def _speed(s: Snapshot) -> Segments:
    return [
        (f"{short(s.trials_per_s)} trials/s", ""),
        (f"{short(s.tick_variants_per_s)} ticks x variants/s", ""),
    ]


def _counts(s: Snapshot) -> Segments:
    saved = "" if s.pruned_share_saved is None else f" ({percent(s.pruned_share_saved)} saved)"
    parts = [
        (f"{count(s.complete)} complete", ""),
        (f"{count(s.pruned)} pruned{saved}", ""),
        (f"{count(s.failed)} failed", "bold red" if s.failed else ""),
    ]
    optional = (
        (s.infeasible, "infeasible", ""),
        (s.invalid, "invalid", "yellow"),
        (s.duplicates, "duplicate", ""),
    )
    parts += [(f"{count(n)} {word}", style) for n, word, style in optional if n]
    if s.state != "finished":
        parts.append((f"{count(s.in_flight)} in flight", "dim"))
    return parts


def _workers(s: Snapshot) -> Segments:
    shares = [w.busy_share for w in s.workers]
    measured = [share for share in shares if math.isfinite(share)]
    n_workers = (str(len(shares)), "")
    if not measured:
        return [n_workers]
    if len(shares) <= _FEW_WORKERS:
        return [n_workers, ("busy " + " ".join(f"{percent(share):>3}" for share in shares), "")]
    eighths = (0 if math.isnan(share) else min(7, max(0, int(8 * share))) for share in shares)
    return [
        n_workers,
        (f"busy {percent(sum(measured) / len(measured))}, least {percent(min(measured))}", ""),
        ("".join(_BLOCKS[k] for k in eighths), ""),
    ]


def _memory(s: Snapshot) -> Segments:
    parts = [
        (f"{bytes_text(s.memory_bytes)} in all", ""),
        (f"+ ticks {bytes_text(s.shared_bytes)}, shared", ""),
    ]
    largest = max((w.uss_bytes for w in s.workers), default=0)
    if largest:
        parts.append((f"largest worker {bytes_text(largest)}", "dim"))
    return parts


def _shares(s: Snapshot) -> Segments:
    return [
        (f"evaluation {percent(s.evaluation_share)}", ""),
        (f"sampler {percent(s.sampler_share)}", ""),
        (f"idle {percent(s.idle_share)}", ""),
    ]


def _facts(label: str, parts: Segments, width: int) -> Text:
    # Not Text(label, "dim"): that style would cover whatever is appended.
    line = Text().append(label.ljust(_LABEL), "dim")
    line.append_text(_flow(parts, width - _LABEL))
    return line


def _flow(parts: Segments, width: int) -> Text:
    """Parts side by side, as many as fit; the first is cut rather than left out."""
    line = Text()
    for i, (text, style) in enumerate(parts):
        gap = _SEP if i else ""
        if line.cell_len + len(gap) + cell_width(text) > width:
            if not i:
                line.append(elide(text, width), style)
            break
        line.append(gap)
        line.append(text, style)
    return line


# --- the best trials ------------------------------------------------------------------


def _best(snapshot: Snapshot, width: int, free: int | None) -> list[Text]:
    """Table of the best trials in at most ``free`` lines, an empty one first."""
    frame = 5  # empty line, heading, groups, titles, note
    shown = _MAX_ROWS if free is None else min(_MAX_ROWS, free - frame)
    if shown < 1:
        return []
    trials = snapshot.best[:shown]
    if not trials:
        return [Text(), Text("no complete trial yet", "dim")]
    rows, left_out = grid_rows(_grid(snapshot, trials), width)
    note = _note(left_out, trials, width)
    return [Text(), _best_heading(snapshot, len(trials), width), *rows, *([note] if note else [])]


def _best_heading(snapshot: Snapshot, shown: int, width: int) -> Text:
    goals = ", ".join(f"{name} ({direction})" for name, direction in snapshot.objectives)
    several = len(snapshot.objectives) > 1
    text = f"Pareto front, {goals}" if several else f"best by {goals}"
    parts = [(clip(clean(text), width), "bold")]
    if len(snapshot.best) > shown:
        parts.append((f"{shown} of {len(snapshot.best)} shown", "dim"))
    if snapshot.holdout_opened is not None:
        times = snapshot.holdout_opened
        opened = "not opened yet" if not times else f"opened {counted(times, 'time')}"
        parts.append((f"holdout {opened}", "dim"))
    return _flow(parts, width)


def _note(left_out: Sequence[str], trials: Sequence[TrialView], width: int) -> Text | None:
    parts = []
    if any(t.is_new for t in trials):
        parts.append("* new")
    if not all(t.feasible for t in trials):
        parts.append("! breaks a constraint")
    if left_out:
        parts.append(f"not shown: {', '.join(left_out)}")
    return Text(clip(_SEP.join(parts), width), "dim") if parts else None


def _grid(snapshot: Snapshot, trials: Sequence[TrialView]) -> Grid:
    marks = ["*" if t.is_new else " " if t.feasible else "!" for t in trials]
    digits = max(len(str(t.number)) for t in trials)
    numbers = [f"{m} {t.number:>{digits}}" for m, t in zip(marks, trials, strict=True)]
    columns = trial_columns(
        trials,
        snapshot.parameters,
        [name for name, _ in snapshot.objectives],
        _METRICS,
        holdout_metrics=_HOLDOUT_METRICS,
    )
    styles = ("bold green" if t.is_new else "" if t.feasible else "dim" for t in trials)
    first = TextColumn("trial", tuple(numbers), 0)
    return Grid((first, *columns), row_styles=tuple(styles))


def _foot(snapshot: Snapshot, width: int, *, hint: bool) -> list[Text]:
    lines = [
        Text(clip(f"warning: {clean(message)}", width), "yellow")
        for message in snapshot.messages[-_MAX_MESSAGES:]
    ]
    if hint and snapshot.state == "running":
        # The last line stays short: the terminal echoes ^C after it.
        lines.append(Text(clip("Ctrl-C stops; what is finished is kept", width - 4), "dim"))
    return [Text(), *lines] if lines else []


# --- lines for logs -------------------------------------------------------------------


def plain_line(snapshot: Snapshot) -> str:
    """Put a snapshot into one line of text, for logs and pipes."""
    s = snapshot
    if s.total:
        done = count(s.finished)
        done += f"/{counted(s.total, 'trial')} {math.floor(100 * s.finished / s.total)}%"
    else:
        done = counted(s.finished, "trial")
    parts = [
        f"{clean(s.name)}: {done}",
        f"{short(s.trials_per_s)} trials/s",
        f"{short(s.tick_variants_per_s)} ticks x variants/s",
        f"elapsed {duration(s.elapsed_s)}",
    ]
    if s.state == "running" and s.remaining_s is not None:
        parts.append(f"left {duration(s.remaining_s)}")
    if s.state != "running":
        parts.append(s.state)
    parts += [f"{s.pruned} pruned", f"{s.failed} failed"]
    if s.best:
        parts.append(_best_text(s, s.best[0]))
    return ", ".join(parts)


def _best_text(snapshot: Snapshot, trial: TrialView) -> str:
    goals = " ".join(
        f"{clean(name)}={number(value)}"
        for (name, _), value in zip(snapshot.objectives, trial.values, strict=False)
    )
    params = " ".join(
        f"{clean(name)}={_value_text(trial.params[name])}"
        for name in snapshot.parameters
        if name in trial.params
    )
    several = len(snapshot.objectives) > 1
    front = f"front of {len(snapshot.best)}, first" if several else "best"
    return f"{front} #{trial.number} {goals} ({params})"


def _value_text(value: object) -> str:
    cells = as_cells(kind_of([value]), [value])
    return cells[0] if cells else MISSING
