"""Small JSON files: whole or not at all, and compared with what they were begun with."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.core import json_files
from data_pipeline.core.errors import UserError

NUMBERS = st.integers() | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.dictionaries(st.text(), VALUES, max_size=4))
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round trip.json"
    json_files.write(path, values)
    assert json_files.read(path) == values
    assert path.read_bytes().endswith(b"}\n")


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    json_files.write(path, {"epoch": 1})
    whole = Path.write_text

    def half(file: Path, text: str, **options: Any) -> None:
        whole(file, text[: len(text) // 2], **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        with pytest.raises(KeyboardInterrupt):
            json_files.write(path, {"epoch": 2})
    assert json_files.read(path) == {"epoch": 1}
    json_files.write(path, {"epoch": 3})  # What was left behind is no obstacle.
    assert json_files.read(path) == {"epoch": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    json_files.write(path, {"epoch": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        json_files.write(path, {"epoch": object()})
    assert json.loads(path.read_text()) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"", b'{"epoch":', b"{'epoch': 1}", b"\xff\xfe", b"{}\n{}", b"[" * 100_000]
)
def test_a_damaged_file_is_reported_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(UserError, match=r"state\.json: is not JSON \(.+\)$") as caught:
        json_files.read(tmp_path / "state.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recorded", "wanted", "difference"),
    [
        ({"width": 64, "seed": 1}, {"width": 32, "seed": 2}, "seed=1, not 2"),  # By name.
        ({"width": 64}, {"width": "64"}, "width=64, not '64'"),
        ({"width": "64"}, {"width": 64}, "width='64', not 64"),
        ({}, {"width": 64}, "width=None, not 64"),
        ({"width": 64}, {}, "width=64, not None"),
        ({"groups": ["a", "b"]}, {"groups": ["b", "a"]}, "groups=['a', 'b'], not ['b', 'a']"),
    ],
)
def test_the_first_difference_is_named(
    recorded: dict[str, Any], wanted: dict[str, Any], difference: str
) -> None:
    with pytest.raises(UserError) as caught:
        json_files.check_same(recorded, wanted, ("epochs",), "runs/a: holds a run", "move it")
    assert str(caught.value) == f"runs/a: holds a run with {difference}; move it"


@given(st.dictionaries(st.sampled_from("abcd"), NUMBERS), st.sampled_from("abcd"), NUMBERS)
@settings(max_examples=20, deadline=None)
def test_only_what_may_differ_differs(recorded: dict[str, Any], name: str, value: Any) -> None:
    wanted = {**recorded, name: value}
    json_files.check_same(recorded, dict(recorded), (), "holder", "advice")
    json_files.check_same(recorded, wanted, (name,), "holder", "advice")
    if recorded.get(name) != value:
        with pytest.raises(UserError, match=f"^holder with {name}="):
            json_files.check_same(recorded, wanted, (), "holder", "advice")
