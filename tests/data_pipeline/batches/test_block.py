"""Blocks: where events stand, compared with a count in plain Python."""

import dataclasses
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import ragged
from data_pipeline.batches import block as blocks
from data_pipeline.schema import Group, Schema, Target

LATEST = 7_258_118_400_000 - 1  # The last millisecond that data may hold: of the year 2199.
SORTED = st.lists(st.sampled_from([0, 1, 2, 7, LATEST]), max_size=6).map(sorted)
USERS = st.lists(SORTED, max_size=4)
EXAMPLES = settings(max_examples=20, deadline=None)
TWO = Schema((Group("item"), Group("query")), ("item",))


def rows_of(rows: list[list[int]]) -> tf.RaggedTensor:
    flat = tf.constant([value for row in rows for value in row], tf.int64)
    return ragged.from_row_lengths(flat, tf.constant([len(row) for row in rows], tf.int64))


def keys_of(pairs: list[tuple[int, int]], num_users: int) -> tf.Tensor:
    """The keys of users and times, which come in the order of the users."""
    return blocks.time_keys(
        rows_of([[time for user, time in pairs if user == u] for u in range(num_users)])
    )


def flat(values: Any) -> list[Any]:
    return values.numpy().tolist()


@given(USERS)
@EXAMPLES
def test_a_key_holds_user_and_time_and_sorts_as_they_do(users: list[list[int]]) -> None:
    pairs = [(user, time) for user, times in enumerate(users) for time in times]
    keys = blocks.time_keys(rows_of(users))
    assert flat(keys) == sorted(flat(keys))
    assert list(zip(flat(blocks.key_user(keys)), flat(blocks.key_time(keys)), strict=True)) == pairs
    assert len(set(flat(keys))) == len(set(pairs))


@given(USERS)
@EXAMPLES
def test_positions_count_the_events_before_at_the_same_time(users: list[list[int]]) -> None:
    expected = [times[:i].count(time) for times in users for i, time in enumerate(times)]
    assert flat(blocks.position_in_query(rows_of(users))) == expected


@given(SORTED, st.lists(st.integers(-1, 9), max_size=5))
@EXAMPLES
def test_equal_values_stand_from_start_to_limit(values: list[int], wanted: list[int]) -> None:
    starts, limits = blocks.equal_ranges(
        tf.constant(values, tf.int64), tf.constant(wanted, tf.int64)
    )
    assert flat(starts) == [sum(v < w for v in values) for w in wanted]
    assert flat(limits) == [sum(v <= w for v in values) for w in wanted]


@given(SORTED)
@EXAMPLES
def test_the_first_of_equal_values_is_new(values: list[int]) -> None:
    expected = [i == 0 or values[i - 1] != value for i, value in enumerate(values)]
    assert flat(blocks.is_new(tf.constant(values, tf.int64))) == expected


@given(
    st.lists(st.tuples(SORTED, SORTED), min_size=1, max_size=4),
    st.sets(st.sampled_from([0, 1, 5, LATEST]), max_size=3).map(sorted),
    st.integers(1, 4),
)
@EXAMPLES
def test_a_history_is_the_newest_events_before_the_query(
    users: list[tuple[list[int], list[int]]], query_times: list[int], max_history: int
) -> None:
    events = {"item": [items for items, _ in users], "query": [queries for _, queries in users]}
    block = {f"{name}/time": rows_of(times) for name, times in events.items()}
    pairs = [(user, time) for user in range(len(users)) for time in query_times]
    histories = blocks.history_ranges(block, TWO, max_history, keys_of(pairs, len(users)))
    for name, times in events.items():
        whole = [(user, time) for user, row in enumerate(times) for time in row]
        starts, limits = map(flat, histories[name])
        for (user, query_time), start, limit in zip(pairs, starts, limits, strict=True):
            past = [(user, time) for time in times[user] if time < query_time]
            assert whole[start:limit] == past[-max_history:]


@given(USERS, st.lists(st.integers(0, 8), min_size=8, max_size=8))
@EXAMPLES
def test_every_time_lies_in_one_split_of_its_user(
    users: list[list[int]], starts: list[int]
) -> None:
    bounds = [sorted(starts[2 * user : 2 * user + 2]) for user in range(len(users))]
    block = {
        name: tf.constant([bound[i] for bound in bounds], tf.int64)
        for i, name in enumerate(("validation_start", "test_start"))
    }
    names = ("train", "validation", "test")
    in_split = {name: flat(blocks.in_split(block, rows_of(users), name)) for name in names}
    for name in names:
        assert in_split[name] == [
            name == names[sum(time >= bound for bound in bounds[user])]
            for user, times in enumerate(users)
            for time in times
        ]


@pytest.mark.parametrize(
    ("impressions", "names", "targets"),
    [
        ("", {"action", "object", "time"}, ("item/time", "item/object")),
        (
            "shown.csv",
            {"action", "candidate", "candidate_time", "label", "object", "time"},
            ("item/candidate_time", "item/candidate"),
        ),
    ],
)
def test_labelled_targets_are_parsed_where_there_are_any(
    impressions: str, names: set[str], targets: tuple[str, str]
) -> None:
    group = Group("item", impressions=impressions)
    scalars = {"user_index": [3], "validation_start": [5], "test_start": [2**62]}
    lists = {f"item/{name}": [7, 2**62] for name in names}
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        for name, values in {**scalars, **lists}.items()
    }
    full = tf.train.Example(features=tf.train.Features(feature=features))
    empty = tf.train.Example(
        features=tf.train.Features(feature={name: features[name] for name in scalars})
    )
    records = tf.constant([full.SerializeToString(), empty.SerializeToString()])
    block = blocks.parse_timelines(records, Schema((group,), ("item",)))
    of_target = {"label"} if impressions else {"action"}
    targets_of = {f"target/item/{name}" for name in {"time", "object"} | of_target}
    assert set(block) == {*scalars, *lists, *targets_of}
    assert all(block[name].to_list() == [[7, 2**62], []] for name in lists)
    assert flat(block["test_start"]) == [2**62, 2**62]
    for name, feature in zip(("time", "object"), targets, strict=True):
        assert block[f"target/item/{name}"].to_list() == block[feature].to_list()
    if impressions:  # Of one label: 7 is odd.
        assert block["target/item/label"].to_list() == [[1, 0], []]


def test_targets_are_the_events_of_their_actions() -> None:
    item = Group("item", actions=("view", "cart", "buy"), target_actions=("buy",))
    targets = (
        "item",
        Target("interest", "item", actions=("cart", "view")),
        Target("cart", "item", actions=("cart",)),
    )
    schema = Schema((item,), targets)
    actions = [[1, 2, 3, 3], [], [0, 1]]  # 0 is an action that the schema does not know.
    block = {"item/action": rows_of(actions)}
    block |= {
        f"item/{n}": rows_of([[7 * a for a in r] for r in actions]) for n in ("time", "object")
    }
    block = blocks.with_targets(block, schema)
    expected = {"item": [[3, 3], [], []], "interest": [[1, 2], [], [1]], "cart": [[2], [], []]}
    for name, taken in expected.items():
        assert block[f"target/{name}/action"].to_list() == taken
        assert block[f"target/{name}/object"].to_list() == [[7 * a for a in r] for r in taken]
        assert blocks.target_times(block, name).to_list() == [[7 * a for a in r] for r in taken]


def test_labels_are_the_bits_of_their_columns() -> None:
    video = Group("video", impressions="shown.csv")
    targets = (Target("click", "video", label="is_click"), Target("like", "video", label="is_like"))
    schema = Schema((video,), targets)
    assert schema.label_columns("video") == ("is_click", "is_like")
    block = {f"video/{name}": rows_of([[0, 1, 2, 3]]) for name in ("candidate", "label")}
    block["video/candidate_time"] = rows_of([[5, 6, 7, 8]])
    block = blocks.with_targets(block, schema)
    assert block["target/click/label"].to_list() == [[0, 1, 0, 1]]
    assert block["target/like/label"].to_list() == [[0, 0, 1, 1]]
    # What prepare filled in stays, whichever targets are chosen of it.
    filled = dataclasses.replace(video, labels=("is_click", "is_like"))
    like = Schema((filled,), targets).select(targets=["like"])
    assert blocks.with_targets(block, like)["target/like/label"].to_list() == [[0, 0, 1, 1]]


def test_negatives_of_training_are_objects_that_training_saw() -> None:
    group = Group("item", num_trained=4, num_logged=5, num_objects=9)
    sizes = [blocks.pool_size(group, split) for split in ("train", "validation", "test")]
    assert sizes == [4, 5, 5]
