"""Flags made of options: defined, read, and explained."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from absl import flags
from absl.testing import flagsaver
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from data_pipeline.core import command_flags
from data_pipeline.core.errors import UserError
from data_pipeline.core.options import Options


class Trip(Options):
    """Trip: where it goes."""

    trip_days: int = 3
    """Days of it. Nights are
    not counted."""

    trip_budget: float | None = None
    """What it may cost."""

    trip_abroad: bool = True
    """Whether it leaves the country."""

    trip_goal: str = "sea"
    """Where it goes."""

    trip_means: Literal["train", "bicycle"] = "train"
    """How it goes."""

    trip_stops: list[str] = Field(default=["a", "b"])
    """Where it stops."""

    trip_weights: dict[str, float] = Field(default_factory=dict)
    """How much each bag weighs."""


@pytest.fixture(autouse=True)
def _flags_are_taken_back() -> Iterator[None]:
    with flagsaver.flagsaver():
        yield


def read(*arguments: str) -> dict[str, Any]:
    """What a command line says."""
    flags.FLAGS(["command", *arguments])
    return command_flags.read_flags(Trip)


def test_only_what_is_on_the_command_line_is_read() -> None:
    assert command_flags.read_flags(Trip) == {}  # No flag of it is defined.
    command_flags.define_flags(Trip)
    assert read() == {}
    assert read("--trip_days=0", "--notrip_abroad", "--trip_goal=", "--trip_stops=") == {
        "trip_days": 0,
        "trip_abroad": False,
        "trip_goal": "",
        "trip_stops": [],
    }
    every = read(
        "--trip_days=5",
        "--trip_budget=1e3",
        "--trip_abroad",
        "--trip_goal=a b",
        "--trip_means=bicycle",
        "--trip_stops=x,y",
        "--trip_weights=red=2,blue=0.5",
    )
    assert Trip(**every).to_dict() == {
        "trip_days": 5,
        "trip_budget": 1000.0,
        "trip_abroad": True,
        "trip_goal": "a b",
        "trip_means": "bicycle",
        "trip_stops": ["x", "y"],
        "trip_weights": {"red": 2.0, "blue": 0.5},
    }


def test_options_can_be_left_out_or_get_choices() -> None:
    command_flags.define_flags(Trip, leave_out=["trip_days"], choices={"trip_goal": ["sea", "hut"]})
    assert "trip_days" not in flags.FLAGS
    assert read("--trip_goal=hut") == {"trip_goal": "hut"}
    for argument in ("--trip_goal=city", "--trip_means=car", "--trip_budget=much"):
        with pytest.raises(flags.IllegalFlagValueError):
            read(argument)


@pytest.mark.parametrize("item", ["red", "red=", "red=heavy", "red=1=2", "=", ""])
def test_an_item_without_a_number_is_refused(item: str) -> None:
    command_flags.define_flags(Trip)
    with pytest.raises(UserError) as caught:
        read(f"--trip_weights=blue=1,{item}")
    assert str(caught.value) == f"--trip_weights {item!r}: expected NAME=NUMBER"


def test_a_name_given_twice_is_refused() -> None:
    command_flags.define_flags(Trip)
    with pytest.raises(UserError, match=r"^--trip_weights 'red=2': 'red' is given twice$"):
        read("--trip_weights=red=1,red=2")


@given(st.dictionaries(st.from_regex(r"[a-z_0-9]+", fullmatch=True), st.floats(allow_nan=False)))
@settings(max_examples=20, deadline=None)
def test_any_numbers_by_name_are_read(weights: dict[str, float]) -> None:
    with flagsaver.flagsaver():
        command_flags.define_flags(Trip)
        items = ",".join(f"{name}={number!r}" for name, number in weights.items())
        assert read(f"--trip_weights={items}")["trip_weights"] == weights


def test_help_lists_flags_by_section_with_their_defaults() -> None:
    command_flags.define_flags(Trip)
    command_flags.define_flag("trip_map", "enum", "Which map.", "Maps", "old", ["old", "new"])
    flags.DEFINE_string("trip_log", None, "Where the log is written.", module_name="trips")
    flags.DEFINE_string("trip_trace", None, "Not ours.", module_name="tensorflow.python")
    short = command_flags.format_help("\nPlans a trip.\n", is_full=False)
    assert short.startswith("Plans a trip.\n\n")
    sections = {part.splitlines()[0]: part.splitlines()[1:] for part in short.split("\n\n")}
    assert sections["Trip:"] == [
        "  --trip_days=3               Days of it.",
        "  --trip_budget=              What it may cost.",
        "  --[no]trip_abroad           Whether it leaves the country.",
        "  --trip_goal=sea             Where it goes.",
        "  --trip_means=train          How it goes.",
        "  --trip_stops=a,b            Where it stops.",
        "  --trip_weights=             How much each bag weighs.",
    ]
    assert sections["Maps:"] == ["  --trip_map=old              Which map."]
    assert list(sections)[-1] == "Run:"
    assert "  --trip_log=                 Where the log is written." in sections["Run:"]
    assert sections["Run:"][-2].startswith("  --flagfile=FILE ")
    assert "trip_trace" not in short
    full = command_flags.format_help("", is_full=True)
    assert "  --trip_days=3\n      Days of it. Nights are not counted.\n" in full
