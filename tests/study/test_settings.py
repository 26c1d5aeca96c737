"""What a setting may be, wherever it comes from: a study file, an option, or Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sweep.cli.options import setting_options
from sweep.errors import InputError
from sweep.study.file import kinds
from sweep.study.file.kinds import Given, check, key
from sweep.study.file.toml import parse_option
from sweep.text import STATES
from sweep.units import DAY, Duration, Moment


@dataclass(frozen=True)
class Settings:
    count: int = key(kinds.whole(1), 3, name="how_many", help="How many.")
    level: str | None = key(kinds.choice("log", "ticks"), None, help="Which.")
    share: float = key(kinds.number(above=0.0, most=1.0), 0.5, help="Of all.")
    inner: int = key(kinds.whole(), 0)


def given(*words: str) -> dict[str, Any]:
    """The values that a command receives for its options."""
    received: dict[str, Any] = {}

    @click.command()
    @setting_options(Settings)
    def command(**values: Any) -> None:
        received.update(values)

    CliRunner().invoke(command, words, catch_exceptions=False)
    return received


def test_a_setting_with_a_help_text_is_an_option() -> None:
    assert given() == {"count": None, "level": None, "share": None}
    words = ("--how-many", "4", "--level", "ticks", "--share", ".25")
    assert given(*words) == {"count": 4, "level": "ticks", "share": 0.25}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--how-many", "0"), "--how-many 0: expected a whole number above 0, found 0"),
        (("--level", "price"), '--level price: expected "log" or "ticks", found "price"'),
        (("--share", "1.5"), "--share 1.5: expected a number above 0 of at most 1, found 1.5"),
    ],
)
def test_a_mistake_in_an_option_names_it_and_what_would_be_right(
    words: tuple[str, str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        given(*words)
    assert str(caught.value) == message


def test_a_record_made_in_python_is_held_to_the_same_limits() -> None:
    check(Settings())
    check(Settings(count=np.int64(5), share=np.float64(0.5)))
    with pytest.raises(InputError, match=r"^count: expected a whole number above 0, found 0$"):
        check(Settings(count=0))
    with pytest.raises(InputError, match=r'^share: expected a number above 0 .*, found "all"$'):
        check(Settings(share="all"))


@pytest.mark.parametrize(
    ("text", "value"),
    [(".5", 0.5), ("-5.", -5.0), ("1e3", 1000.0), ("10:50:10", "10:50:10"), ("a.b", "a.b")],
)
def test_an_option_is_read_as_a_number_wherever_it_is_one(text: str, value: object) -> None:
    assert parse_option(text) == value


def test_a_kind_of_several_forms_tells_them_apart_and_writes_each_back() -> None:
    kind = kinds.either(
        "a count, a length or a date",
        kinds.whole(1),
        kinds.duration(above="0s").into(Duration),
        kinds.moment().into(Moment),
    )
    for text, value in ((7, 7), ("2d", Duration(2 * DAY)), ("1970-01-02", Moment(DAY))):
        assert kind(text, Given("x")) == value
        assert kind(kind.write(value), Given("x")) == value
    with pytest.raises(InputError, match=r'^x: expected a count, a length or a date, found "0s"$'):
        kind("0s", Given("x"))


def test_states_keep_the_positions_that_studies_have_written() -> None:
    assert STATES[:5] == ("complete", "pruned", "infeasible", "invalid", "failed")
