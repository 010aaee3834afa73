"""The schema: round trips, defaults, and every message that a mistake in it can bring."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf import Columns, Feature, Group, Schema, Split, Target, UserError, Vocabulary

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    groups = []
    for name in names:
        features = [
            Feature(f, multivalued=draw(st.booleans()), separator=draw(st.text(min_size=1)))
            for f in draw(st.lists(NAMES, max_size=2, unique=True))
        ]
        groups.append(
            Group(
                name,
                actions=tuple(draw(st.lists(st.text(), max_size=3, unique=True))),
                features=tuple(features),
                objects="objects.csv" if features else "",
                columns=draw(st.sampled_from([None, Columns(user="who")])),
                id_type=draw(st.sampled_from(["", "int", "string"])),
                num_objects=draw(st.integers(0, 2**40)),
            )
        )
    return Schema(
        groups=tuple(groups),
        targets=(names[0],),
        vocabularies=(Vocabulary(names[0], min_count=3, num_oov=2),),
        time_unit=draw(st.sampled_from(["s", "ms"])),
        split=Split("time", 5, "2020-01-01"),
    )


@given(schema=schemas())
@settings(max_examples=30, deadline=None)
def test_round_trip(schema: Schema) -> None:
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    for group in schema.groups:
        assert Group.from_dict(dataclasses.asdict(group)) == group


def test_saved_and_loaded_from_file_or_directory(tmp_path: Path) -> None:
    schema = Schema((Group("item"),), ("item",))
    schema.save(tmp_path)
    assert Schema.load(tmp_path) == schema
    assert Schema.load(tmp_path / "schema.json") == schema


def test_little_needs_to_be_said() -> None:
    schema = Schema.from_dict({"groups": [{"name": "item"}], "targets": ["item"]})
    assert schema.columns == Columns("user", "object", "time")
    assert schema.units_per_day == 86_400
    assert schema.vocabulary("item") == Vocabulary("item", min_count=2, num_oov=1)
    assert schema.group("item").num_actions == 2  # Unknown, and the only one.


ITEM = {"name": "item"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"groups": [ITEM]}, "targets: Field required"),
        ({"groups": [], "targets": ["item"]}, "groups: expected at least one"),
        ({"groups": [ITEM], "targets": []}, "targets: expected at least one"),
        ({"targets": ["other"]}, "target 'other': expected one of the groups ['item']"),
        ({"targets": ["item", "item"]}, "target 'item' is listed twice"),
        ({"groups": [ITEM, ITEM]}, "group 'item' is listed twice"),
        ({"groups": [{"name": "1st"}]}, "name '1st': expected a letter"),
        ({"groups": [{"name": "item", "id_type": "float"}]}, "groups.0.id_type: Input should be"),
        ({"groups": [{"name": "item", "color": 1}]}, "groups.0.color: Unexpected keyword"),
        (
            {"groups": [{"name": "item", "actions": ["a", "a"]}]},
            "group 'item': action 'a' is listed twice",
        ),
        (
            {"groups": [{"name": "item", "features": [{"name": "color"}]}]},
            "group 'item' has features but no table of objects",
        ),
        (
            {"groups": [{"name": "item", "objects": "o", "features": [{"name": "c"}] * 2}]},
            "group 'item': feature 'c' is listed twice",
        ),
        ({"vocabularies": [{"name": "x"}]}, "vocabulary 'x' is of no feature and no group"),
        (
            {"vocabularies": [{"name": "item", "num_oov": 0}]},
            "vocabulary 'item': min_count and num_oov start at 1",
        ),
        (
            {"targets": [{"name": "buy", "group": "other"}]},
            "target 'buy': group 'other': expected one of the groups ['item']",
        ),
        (
            {"targets": [{"name": "item", "actions": ["buy"]}]},
            "target 'item': actions: 'buy': expected one of none: the group lists no actions",
        ),
        (
            {"groups": [{"name": "item", "actions": ["view"], "target_actions": ["buy"]}]},
            "group 'item': target_actions: 'buy': expected one of view",
        ),
        (
            {"targets": [{"name": "item", "label": "liked"}]},
            "target 'item': label 'liked': its group 'item' has no table of impressions",
        ),
        (
            {
                "groups": [{"name": "item", "impressions": "i", "actions": ["buy"]}],
                "targets": [{"name": "item", "actions": ["buy"]}],
            },
            "target 'item': actions: the targets of 'item' are its logged candidates",
        ),
        ({"targets": [{"name": "1st", "group": "item"}]}, "target '1st': expected a letter"),
        (
            {"groups": [ITEM, {"name": "a"}], "targets": [{"name": "a", "group": "item"}]},
            "target 'a': is of group 'item', and has the name of another",
        ),
        (
            {"targets": ["item", {"name": "item", "group": "item"}]},
            "target 'item' is listed twice",
        ),
        ({"num_time_buckets": 1}, "num_time_buckets is 1: expected 2 or more"),
        ({"time_unit": "us"}, "time_unit: Input should be '', 's' or 'ms'"),
        ({"split": {"kind": "random"}}, "split.kind: Input should be"),
    ],
)
def test_mistakes_are_reported_with_their_place(values: dict[str, Any], expected: str) -> None:
    if "groups" not in values:
        values = {"groups": [ITEM], **values}
    if "targets" not in values and expected != "targets: Field required":
        values = {"targets": ["item"], **values}
    with pytest.raises(UserError) as caught:
        Schema.from_dict(values, source="mine.json")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("mine.json: ")
    assert "\n" not in str(caught.value)


def test_targets_know_their_group_actions_and_label() -> None:
    item = {"name": "item", "actions": ["view", "buy"], "target_actions": ["buy"]}
    shown = {"name": "video", "impressions": "i.csv", "impression_columns": {"label": "clicked"}}
    like = {"name": "like", "group": "video", "label": "liked"}
    view = {"name": "interest", "group": "item", "actions": ["view"]}
    values = {"groups": [item, shown], "targets": ["item", view, "video", like]}
    schema = Schema.from_dict(values)
    assert schema.target_names == ("item", "interest", "video", "like")
    assert [schema.target(name) for name in schema.target_names] == [
        Target("item", "item", ("buy",)),
        Target("interest", "item", ("view",)),
        Target("video", "video", label="clicked"),
        Target("like", "video", label="liked"),
    ]
    assert schema.target_group("like").name == "video"
    assert schema.label_columns("video") == ("clicked", "liked")
    assert schema.label_columns("item") == ()
    chosen = schema.select(["item"])
    assert chosen.target_names == ("item", "interest")
    assert schema.select(targets=["like"]).target("like") == schema.target("like")
    with pytest.raises(UserError, match="target 'like': its group 'video' must be among the group"):
        schema.select(["item"], ["like"])
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.json: cannot be read \(No such file"):
        Schema.load(tmp_path / "no.json")
    (tmp_path / "bad.json").write_text("[1,")
    with pytest.raises(UserError, match=r"bad\.json: is not JSON"):
        Schema.load(tmp_path / "bad.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UserError, match=r"list\.json: "):
        Schema.load(tmp_path / "list.json")
