"""``[validate]``: how the search range is split into windows that train and windows that test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sweep.study.file import fields as kinds
from sweep.study.file.fields import Kind, Place, key
from sweep.units import Duration, parse_duration

__all__ = ["SCHEMES", "ValidateSection"]

SCHEMES = ("walk_forward", "holdout", "k_fold", "cpcv")

_MINUTE = 60 * 10**9


def _read_unit(value: Any, place: Place) -> str | Duration:
    if value == "session":
        return "session"
    if not isinstance(value, str):
        raise ValueError
    width = parse_duration(value)
    if width < _MINUTE:
        raise ValueError
    return Duration(width)


def _write_unit(value: str | Duration) -> str:
    return str(value)


_UNIT = Kind('"session", or a duration of 1m or more such as "4h"', _read_unit, _write_unit)


@dataclass(frozen=True, kw_only=True)
class ValidateSection:
    """``[validate]``: the folds of a study's search range. None of it changes the study.

    Attributes
    ----------
    scheme : str
        Among `SCHEMES`.
    folds : int or None
        Of a walk forward or a k-fold; 5, or as many as ``train`` and ``test`` make.
    train, test : int or None
        Lengths of the windows of a walk forward or a holdout, in units.
    groups, test_groups : int
        Of combinatorial purged cross-validation: into how many the range is cut, and how many
        of them each split tests.
    purge : int or None
        Nanoseconds in front of a test window that do not train; the longest trade of the
        study's best variant and the latency where it is None.
    embargo : int or None
        More of them behind a test window, where train follows test; as long as ``purge`` where
        it is None.
    anchored : bool
        Whether all train windows of a walk forward begin with the search range.
    unit : str or Duration
        What windows are counted in: ``"session"``, or stretches of the clock.
    """

    scheme: str = key(kinds.choice(*SCHEMES), "walk_forward", result=False)
    folds: int | None = key(kinds.whole(1), None, result=False)
    train: int | None = key(kinds.whole(1), None, result=False)
    test: int | None = key(kinds.whole(1), None, result=False)
    groups: int = key(kinds.whole(2), 6, result=False)
    test_groups: int = key(kinds.whole(1), 2, result=False)
    purge: int | None = key(kinds.duration(), None, result=False)
    embargo: int | None = key(kinds.duration(), None, result=False)
    anchored: bool = key(kinds.flag(), False, result=False)
    unit: str | Duration = key(_UNIT, "session", result=False)
