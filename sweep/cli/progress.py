"""Progress of a long import of ticks, on stderr."""

from __future__ import annotations

import time
from types import TracebackType

from sweep.report.status_line import StatusLine
from sweep.text import bytes_text, count, duration, percent, short

__all__ = ["ImportProgress"]


class ImportProgress:
    """Shows rows, rate and memory while ticks are imported. A context manager.

    Called as ``progress(rows, share)``, where the share of the source may be unknown.
    """

    def __init__(self, *, quiet: bool = False, no_color: bool = False) -> None:
        self._status = StatusLine(quiet=quiet, no_color=no_color)
        self._began = time.monotonic()

    def __enter__(self) -> ImportProgress:
        """Return itself; nothing is drawn yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the line away."""
        self.close()

    def close(self) -> None:
        """Take the line away. May be repeated."""
        self._status.close()

    def __call__(self, rows: int, share: float | None) -> None:
        """Show the number of rows read."""
        if self._status.due():
            bar = _bar(share) if self._status.on_terminal else ""
            self._status.show(bar + _line(rows, share, time.monotonic() - self._began))


def _line(rows: int, share: float | None, elapsed: float) -> str:
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
