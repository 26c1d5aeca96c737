"""Showing a running study: redrawn in place on a terminal, a line now and then elsewhere.

Everything goes to stderr, so that stdout carries data only. What is shown is made in
``sweep.report.screen``; here is when and where.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live

from sweep.report.screen import plain_line, render
from sweep.report.snapshot import Snapshot
from sweep.text import clean

__all__ = ["LiveDisplay", "plain_line", "render", "stderr_console"]

_REFRESH_S = 0.25
_LINE_S = 10.0
_BEST_LINE_S = 2.0


def stderr_console(*, no_color: bool = False) -> Console:
    """Make a console on stderr; ``NO_COLOR`` in the environment works like ``no_color``."""
    # None lets rich look at NO_COLOR; False would override it.
    return Console(stderr=True, no_color=True if no_color else None, highlight=False)


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
