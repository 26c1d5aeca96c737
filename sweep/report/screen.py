"""The screen of a running study: a snapshot becomes lines of text.

Pure functions of a snapshot and a size. No line ever wraps: what does not fit is
shortened or left out, the least important first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group
from rich.text import Text

from sweep.report.layout import Arranged, Block, arrange
from sweep.report.snapshot import Snapshot, TrialView, WorkerView
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
    metric_column,
    number,
    percent,
    plain,
    short,
)

__all__ = ["plain_line", "render"]

_MAX_ROWS = 10
_MAX_MESSAGES = 2
_PAIRED_WIDTH = 140  # from here on, two groups of facts share a line
_LABEL = 9
_FEW_WORKERS = 6  # more are drawn as one bar each
_SEP = "   "
_MIN_WIDTH = 20

# Metrics beside the objectives, with the priority of their column; the first two also
# for the holdout. Names as in the metrics, but short where the name is long.
_METRICS = (
    ("trades", 2),
    ("max_drawdown", 3),
    ("total_return", 7),
    ("win_rate", 8),
    ("profit_factor", 8),
    ("mean_holding_time", 9),
)
_SHORT = {
    "max_drawdown": "drawdown",
    "total_return": "return",
    "profit_factor": "profit f.",
    "mean_holding_time": "holding",
}
_PARAMETERS_FIRST = 3  # this many parameters stay before trades and drawdown go
_BLOCKS = "▁▂▃▄▅▆▇█"
# One for one, so that styles stay where they are.
_ASCII = str.maketrans("…─━╸·" + _BLOCKS, ".-=--" + "12345678")

Segments = Sequence[tuple[str, str]]  # text and style


# --- the screen -----------------------------------------------------------------------


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
        Whether the best trials follow the head. Not so for the frame that is left behind.
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
    for line in lines:
        line.no_wrap, line.overflow = True, "crop"
        line.truncate(width, overflow="crop")
        if ascii_only:
            line.plain = _to_ascii(line.plain)
    return Group(*lines)


def _to_ascii(text: str) -> str:
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


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
    known = [w.busy_share for w in s.workers if math.isfinite(w.busy_share)]
    if not s.workers or not known:
        return [(f"{len(s.workers)}", "")]
    number = (str(len(s.workers)), "")
    if len(s.workers) <= _FEW_WORKERS:
        return [number, ("busy " + " ".join(_busy(w) for w in s.workers), "")]
    return [
        number,
        (f"busy {percent(sum(known) / len(known))}, least {percent(min(known))}", ""),
        (_busy_bars(s.workers), ""),
    ]


def _busy(worker: WorkerView) -> str:
    return percent(worker.busy_share).rjust(3)


def _busy_bars(workers: Iterable[WorkerView]) -> str:
    shares = (0.0 if math.isnan(w.busy_share) else w.busy_share for w in workers)
    return "".join(_BLOCKS[min(7, max(0, int(8 * share)))] for share in shares)


def _memory(s: Snapshot) -> Segments:
    parts = [
        (f"{bytes_text(s.memory_bytes)} in all", ""),
        (f"+ ticks {bytes_text(s.shared_bytes)}, shared", ""),
    ]
    own = [w.uss_bytes for w in s.workers if w.uss_bytes]
    if own:
        parts.append((f"largest worker {bytes_text(max(own))}", "dim"))
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
    laid = arrange(_blocks(snapshot, trials), width)
    lines = [
        Text(),
        _best_heading(snapshot, len(trials), width),
        Text(laid.groups, "dim"),
        Text(laid.titles, "bold"),
    ]
    for trial, row in zip(trials, laid.rows, strict=True):
        style = "bold green" if trial.is_new else "" if trial.feasible else "dim"
        lines.append(Text(row, style))
    note = _note(laid, trials, width)
    return [*lines, note] if note else lines


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


def _note(laid: Arranged, trials: Sequence[TrialView], width: int) -> Text | None:
    parts = []
    if any(t.is_new for t in trials):
        parts.append("* new")
    if not all(t.feasible for t in trials):
        parts.append("! breaks a constraint")
    if laid.dropped:
        parts.append(f"not shown: {', '.join(laid.dropped)}")
    return Text(clip(_SEP.join(parts), width), "dim") if parts else None


def _blocks(snapshot: Snapshot, trials: Sequence[TrialView]) -> list[Block]:
    """Columns of the table: trial, parameters, train, holdout."""
    marks = ["*" if t.is_new else " " if t.feasible else "!" for t in trials]
    digits = max(len(str(t.number)) for t in trials)
    numbers = [f"{m} {t.number:>{digits}}" for m, t in zip(marks, trials, strict=True)]
    return [
        Block("trial", tuple(numbers), 0),
        *_parameter_blocks(snapshot, trials),
        *_train_blocks(snapshot, trials),
        *_holdout_blocks(snapshot, trials),
    ]


def _parameter_blocks(snapshot: Snapshot, trials: Sequence[TrialView]) -> list[Block]:
    blocks = []
    for i, name in enumerate(snapshot.parameters):
        values = [plain(t.params.get(name)) for t in trials]
        kind = kind_of(values)
        priority = 1 if i < _PARAMETERS_FIRST else 5
        blocks.append(
            Block(name, tuple(as_cells(kind, values)), priority, kind != "text", "params")
        )
    return blocks


def _train_blocks(snapshot: Snapshot, trials: Sequence[TrialView]) -> list[Block]:
    blocks = []
    for i, (name, _) in enumerate(snapshot.objectives):
        values = [t.values[i] if i < len(t.values) else math.nan for t in trials]
        cells = as_cells(metric_column(name).kind, values)
        blocks.append(
            Block(_SHORT.get(name, name), tuple(cells), 0 if i == 0 else 1, True, "train")
        )
    for name, priority in _beside(snapshot):
        blocks.append(_metric_block(name, [t.metrics for t in trials], priority, "train"))
    return blocks


def _holdout_blocks(snapshot: Snapshot, trials: Sequence[TrialView]) -> list[Block]:
    if not any(t.holdout for t in trials):
        return []
    metrics = [t.holdout or {} for t in trials]
    wanted = [(name, 4) for name, _ in snapshot.objectives]
    wanted += [(name, priority + 4) for name, priority in _beside(snapshot)[:2]]
    return [
        _metric_block(name, metrics, priority, "holdout")
        for name, priority in wanted
        if any(name in m for m in metrics)
    ]


def _beside(snapshot: Snapshot) -> list[tuple[str, int]]:
    """Metrics worth a column beside the objectives."""
    goals = {name for name, _ in snapshot.objectives}
    return [(name, priority) for name, priority in _METRICS if name not in goals]


def _metric_block(
    name: str, metrics: Sequence[Mapping[str, float]], priority: int, group: str
) -> Block:
    cells = as_cells(metric_column(name).kind, [m.get(name, math.nan) for m in metrics])
    return Block(_SHORT.get(name, name), tuple(cells), priority, True, group)


def _foot(snapshot: Snapshot, width: int, *, hint: bool) -> list[Text]:
    lines = [
        Text(clip(f"warning: {clean(message)}", width), "yellow")
        for message in snapshot.messages[-_MAX_MESSAGES:]
    ]
    if hint and snapshot.state == "running":
        # The last line stays short: the terminal echoes ^C behind it.
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
