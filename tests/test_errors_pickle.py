"""Exceptions cross process borders, and say with which code the program ends."""

from __future__ import annotations

import pickle

import pytest

from sweep import errors

CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling(cls: type[errors.SweepError]) -> None:
    copy = pickle.loads(pickle.dumps(cls("what, where, what would be right")))
    assert type(copy) is cls
    assert str(copy) == "what, where, what would be right"


def test_exit_codes_follow_the_tree() -> None:
    for cls in CLASSES:
        expected = errors.EXIT_INPUT if issubclass(cls, errors.InputError) else errors.EXIT_FAILED
        assert cls.exit_code == expected


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for cls in CLASSES:
        assert f"{cls.__name__} " in errors.__doc__
