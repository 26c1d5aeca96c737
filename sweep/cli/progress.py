"""Progress of a long import of ticks, on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from sweep.report.live import stderr_console
from sweep.text import bytes_text, count, duration, percent, short

__all__ = ["ImportProgress"]

#: An import that is over sooner shows nothing.
_SHOWN_AFTER_S = 0.5
_REDRAW_S = 0.25
_LINE_S = 10.0


class ImportProgress:
    """Shows rows, rate and memory while ticks are imported. A context manager.

    A bar in place on a terminal; a line now and then without one; nothing with ``quiet``.
    Called as ``progress(rows, share)``, where the share of the source may be unknown.
    """

    def __init__(self, *, quiet: bool = False, no_color: bool = False) -> None:
        self._quiet = quiet
        self._console = stderr_console(no_color=no_color)
        self._began = time.monotonic()
        self._drawn = self._began - _REDRAW_S + _SHOWN_AFTER_S
        self._live: Any = None

    def __enter__(self) -> ImportProgress:
        """Return itself; nothing is drawn yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Take the bar away. May be repeated."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, rows: int, share: float | None) -> None:
        """Show the number of rows read."""
        now = time.monotonic()
        terminal = self._console.is_terminal
        if self._quiet or now - self._drawn < (_REDRAW_S if terminal else _LINE_S):
            return
        self._drawn = now
        line = self._line(rows, share, now - self._began)
        if not terminal:
            self._console.print(line, soft_wrap=True)
            return
        from rich.live import Live
        from rich.text import Text

        text = Text(_bar(share) + line, no_wrap=True, overflow="ellipsis")
        if self._live is None:
            self._live = Live(text, console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        else:
            self._live.update(text, refresh=True)

    def _line(self, rows: int, share: float | None, elapsed: float) -> str:
        parts = [f"importing ticks: {count(rows)}"]
        if share:
            parts[0] += f" ({percent(share)})"
            parts.append(f"{duration(elapsed * (1.0 / share - 1.0))} left")
        parts += [f"{short(rows / max(elapsed, 1e-9))}/s", f"memory {bytes_text(_memory())}"]
        return ", ".join(parts)


def _bar(share: float | None, width: int = 20) -> str:
    if share is None:
        return ""
    filled = min(width, max(0, round(share * width)))
    return "━" * filled + "─" * (width - filled) + " "


def _memory() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
