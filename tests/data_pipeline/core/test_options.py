"""Options: checked when they are made, and described from what they are declared as."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from data_pipeline.core.errors import UserError
from data_pipeline.core.options import Options, options, read_config


class Batches(Options):
    """Batches: how they are cut."""

    max_history: Annotated[int, Field(ge=1)] = 100
    """Newest events of each group
    that a history keeps."""

    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Weight of each target."""


class All(Batches):
    """Optimization: how it learns."""

    rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate."""

    decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    """What it is multiplied with."""

    seed: Annotated[int, Field(ge=0, le=9)] = 1
    """Of everything."""

    loss: Literal["auto", "bpr"] = "auto"
    """Which loss."""

    groups: list[str] = Field(default_factory=list)
    """Groups that are read."""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"max_history": 0}, "max_history is 0: expected 1 or more"),
        ({"max_history": "many"}, "max_history is 'many': expected an integer"),
        ({"max_history": 2.5}, "max_history is 2.5: expected an integer"),
        ({"weights": {"item": -1.0}}, "weights.item is -1.0: expected a number of 0 or more"),
        ({"weights": 3}, "weights is 3: expected an object"),
        ({"rate": 0.0}, "rate is 0.0: expected a number above 0"),
        ({"rate": float("nan")}, "rate is nan: expected a number above 0"),
        ({"rate": float("inf")}, "rate is inf: expected a number above 0"),
        ({"decay": 1.5}, "decay is 1.5: expected a number above 0, up to 1"),
        ({"seed": -1}, "seed is -1: expected 0 to 9"),
        ({"loss": "x"}, "loss is 'x': expected one of auto, bpr"),
        ({"groups": "item"}, "groups is 'item': expected a list"),
        ({"group": []}, "'group': no such option; expected one of decay, groups, loss, "),
        ({"seed": 99, "loss": "x"}, "seed is 99: expected 0 to 9; loss is 'x': expected one of"),
    ],
)
def test_what_is_out_of_range_is_one_line(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as error:
        All(**values)
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


@given(st.integers(), st.floats(), st.text())
def test_anything_is_taken_or_refused_in_one_line(history: int, rate: float, loss: str) -> None:
    values = {"max_history": history, "rate": rate, "loss": loss}
    is_good = history >= 1 and 0 < rate < float("inf") and loss in ("auto", "bpr")
    if is_good:
        assert All(**values).max_history == history
        return
    with pytest.raises(UserError) as error:
        All(**values)
    assert len(str(error.value).splitlines()) == 1


def test_everything_is_said_once() -> None:
    by_name = {option.name: option for option in options(All)}
    assert list(by_name) == ["max_history", "weights", "rate", "decay", "seed", "loss", "groups"]
    history = by_name["max_history"]
    assert history.meaning == "Newest events of each group that a history keeps."
    assert (history.default, history.section) == (100, "Batches")
    assert by_name["rate"].kind == {"exclusiveMinimum": 0, "type": "number"}
    assert by_name["rate"].section == "Optimization"
    doc = All.__doc__ or ""
    assert "max_history: Newest events of each group that a history keeps. Default: 100." in doc


def test_changes_are_checked_and_the_rest_stays() -> None:
    some = All(seed=3, weights={"item": 2.0})
    assert some.replace(loss="bpr").to_dict() == {**some.to_dict(), "loss": "bpr"}
    with pytest.raises(UserError, match="seed is 10: expected 0 to 9"):
        some.replace(seed=10)
    with pytest.raises(ValueError, match="frozen"):
        some.seed = 4


def test_config_files(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"seed": 4}')
    assert read_config(tmp_path) == read_config(tmp_path / "settings.json") == {"seed": 4}
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "half.json").write_text('{"seed":')
    for name, expected in (
        ("no.json", "no.json: no such file"),
        ("list.json", "expected a JSON object of settings"),
        ("half.json", "is not JSON"),
    ):
        with pytest.raises(UserError, match=expected):
            read_config(tmp_path / name)
