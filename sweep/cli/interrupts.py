"""Ctrl-C, SIGTERM and SIGHUP: once to stop in order, twice to stop at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Counts the user's interrupts while a study runs. A context manager.

    Until `counting` is set an interrupt raises `KeyboardInterrupt` where it comes, as it
    does after the second: then nobody is left who looks at the count.
    """

    def __init__(self) -> None:
        self.count = 0
        self.counting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        """Take the signals over; not in a thread, where Python does not let one."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # `nohup`
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __call__(self) -> int:
        """Return how often the user has interrupted."""
        return self.count

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if not self.counting or self.count > 2:
            raise KeyboardInterrupt
