"""One line on stderr that tells how far something is."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

__all__ = ["StatusLine", "stderr_console"]

#: What is over sooner shows nothing.
_SHOWN_AFTER_S = 0.5
_REFRESH_S = 0.25
_LINE_S = 10.0


def stderr_console(*, no_color: bool = False) -> Console:
    """Make a console on stderr; ``NO_COLOR`` in the environment works like ``no_color``."""
    # None lets rich look at NO_COLOR; False would override it.
    return Console(stderr=True, no_color=True if no_color else None, highlight=False)


class StatusLine:
    """Redrawn in place on a terminal, a line now and then elsewhere, nothing with ``quiet``.

    A context manager, which takes the line away at its end.

    Parameters
    ----------
    quiet, no_color : bool
    console : rich.console.Console, optional
        Default: ``stderr_console(no_color=no_color)``.
    clock : callable returning float
        Seconds that never run backwards.

    Attributes
    ----------
    on_terminal : bool
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        no_color: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or stderr_console(no_color=no_color)
        self._quiet = quiet
        self._clock = clock
        self.on_terminal = self._console.is_terminal
        self._every_s = _REFRESH_S if self.on_terminal else _LINE_S
        self._due_at = clock() + (_SHOWN_AFTER_S if self.on_terminal else _LINE_S)
        self._live: Live | None = None

    def __enter__(self) -> StatusLine:
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
        if self._live is not None:
            self._live.stop()
            self._live = None

    def due(self) -> bool:
        """Tell whether the last text is old enough for another one."""
        return not self._quiet and self._clock() >= self._due_at

    def show(self, text: str) -> None:
        """Show a text instead of the last one, due or not."""
        if self._quiet:
            return
        self._due_at = self._clock() + self._every_s
        line = Text(text, no_wrap=True, overflow="ellipsis")
        if not self.on_terminal:
            self._console.print(line, soft_wrap=True)
        elif self._live is None:
            self._live = Live(line, console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        else:
            self._live.update(line, refresh=True)
