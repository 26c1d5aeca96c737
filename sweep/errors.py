"""Every exception that Sweep raises on purpose, and the exit code of each.

::

    SweepError                    1  a run failed
    ├── InputError                2  the user's input is wrong; nothing was changed
    │   ├── StudyFileError        2  a study file: file, line and key are in the text
    │   ├── DataError             2  ticks: a source, its columns, its content
    │   ├── StrategyError         2  a strategy file: file and line are in the text
    │   ├── SpaceError            2  a parameter, its range or its value
    │   └── StudyMismatchError    2  a study's folder was made from other inputs
    ├── StoreError                1  the tick store: space, permissions, damage
    ├── LedgerError               1  the study's ledger cannot be read or written
    ├── StudyLockedError          1  another process runs this study
    ├── EngineError               1  workers died too often
    ├── EvaluationError           1  too many variants failed
    └── ReplayMismatchError       1  the winner did not replay to the bit

Each takes one text, so that every instance survives pickling and crosses a process
border unharmed (an exception with another signature breaks a whole process pool).
"""

from __future__ import annotations

__all__ = [
    "EXIT_FAILED",
    "EXIT_INPUT",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "DataError",
    "EngineError",
    "EvaluationError",
    "InputError",
    "LedgerError",
    "ReplayMismatchError",
    "SpaceError",
    "StoreError",
    "StrategyError",
    "StudyFileError",
    "StudyLockedError",
    "StudyMismatchError",
    "SweepError",
]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


class SweepError(Exception):
    """A failure with a text for the user: what is wrong, where, what would be right."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str) -> None:
        super().__init__(message)


class InputError(SweepError):
    """The user's input is wrong. Nothing was changed."""

    exit_code = EXIT_INPUT


class StudyFileError(InputError):
    """A study file or an override of it is wrong."""


class DataError(InputError):
    """A tick source cannot be read, or its ticks are refused by a policy."""


class StrategyError(InputError):
    """A strategy file cannot be loaded, compiled or evaluated."""


class SpaceError(InputError):
    """A parameter, its range or its value is wrong."""


class StudyMismatchError(InputError):
    """A study's folder was made from other ticks, another strategy or other settings."""


class StoreError(SweepError):
    """The tick store lacks space or permissions, or an entry is damaged."""


class LedgerError(SweepError):
    """The study's ledger cannot be read or written."""


class StudyLockedError(SweepError):
    """Another process runs this study."""


class EngineError(SweepError):
    """Workers died too often to go on."""


class EvaluationError(SweepError):
    """Too many variants failed."""


class ReplayMismatchError(SweepError):
    """A variant's replay differs from the row that the search recorded, or from itself."""
