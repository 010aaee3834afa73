"""Look-ups in touches, compared with a count in plain Python."""

from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import ragged, touches
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.recurrence import ID, num_columns
from data_pipeline.schema import Feature, Group, Schema
from tests.data_pipeline.repeats import (
    ITEM,
    SCHEMA,
    Behavior,
    ObjectValues,
    count_repeats,
)

FIELDS = {
    "item": {ID: False, "category": False, "tag": True, "color": False},
    "query": {ID: False, "kind": False, "about": True, "color": False},
}
LATEST = 7_258_118_400_000 - 1  # The last millisecond that data may hold: of the year 2199.
TIMES = [0, 1, 5, 6, 10**12, 10**12 + 1, LATEST]
QUERY_TIMES = [*TIMES, 7, LATEST + 1, 2 * LATEST]
VALUES = [0, 1, 2, 2**62]  # Few, so that they recur.
NUM_USERS = 3


def values_of(group: str) -> st.SearchStrategy[ObjectValues]:
    """Values of an object: of a field none, one, or where it can have them several."""
    return st.fixed_dictionaries(
        {
            field: st.lists(st.sampled_from(VALUES), unique=True, max_size=3 if several else 1)
            for field, several in FIELDS[group].items()
        }
    )


def behaviors_of(group: str) -> st.SearchStrategy[Behavior]:
    actions = st.integers(0, len(SCHEMA.group(group).actions))
    return st.builds(Behavior, st.just(group), values_of(group), actions, st.sampled_from(TIMES))


HISTORIES = st.lists(
    st.lists(st.one_of(behaviors_of("item"), behaviors_of("query")), max_size=8),
    min_size=NUM_USERS,
    max_size=NUM_USERS,
)


def candidates_of(target: str) -> st.SearchStrategy[list[list[tuple[ObjectValues, int]]]]:
    candidate = st.tuples(values_of(target), st.sampled_from(QUERY_TIMES))
    return st.lists(st.lists(candidate, max_size=4), min_size=NUM_USERS, max_size=NUM_USERS)


def integers(values: list[int]) -> tf.Tensor:
    return tf.constant(values, tf.int64)


def tensors_of(group: str, objects: list[ObjectValues]) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for field, several in FIELDS[group].items():
        rows = [values[field] for values in objects]
        if several:
            flat = integers([value for row in rows for value in row])
            tensors[field] = ragged.from_row_lengths(flat, integers([len(row) for row in rows]))
        else:
            tensors[field] = integers([row[0] if row else NO_VALUE for row in rows])
    return tensors


def touches_of(histories: list[list[Behavior]]) -> touches.Touches:
    """What all users touched."""
    keys, times = [], []
    for group in SCHEMA.groups:
        pairs = [(u, b) for u, row in enumerate(histories) for b in row if b.group == group.name]
        pairs.sort(key=lambda pair: pair[1].time)
        of_group, behaviors = touches.touch_keys(
            SCHEMA,
            group,
            tensors_of(group.name, [behavior.values for _, behavior in pairs]),
            integers([behavior.action for _, behavior in pairs]),
            integers([user for user, _ in pairs]),
        )
        keys.append(of_group)
        times.append(tf.gather(integers([behavior.time for _, behavior in pairs]), behaviors))
    return touches.sort_touches(tf.concat(keys, axis=0), tf.concat(times, axis=0))


@pytest.mark.parametrize("target", SCHEMA.target_names)
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("unit", [1, 1 << 19])  # So far apart, times are told by their order.
@given(draw=st.data())
@settings(max_examples=10, deadline=None)
def test_answers_are_what_a_count_says(
    target: str, at_once: bool, unit: int, draw: st.DataObject
) -> None:
    histories, candidates = draw.draw(HISTORIES), draw.draw(candidates_of(target))
    histories = [[b._replace(time=unit * b.time) for b in row] for row in histories]
    flat = [(u, v, unit * time) for u, row in enumerate(candidates) for v, time in row]
    numbers = touches.answer(
        touches_of(histories),
        SCHEMA,
        target,
        tensors_of(target, [values for _, values, _ in flat]),
        integers([time for _, _, time in flat]),
        integers([user for user, *_ in flat]),
        at_once=at_once,
    )
    assert numbers.shape == (len(flat), num_columns(SCHEMA, target))
    assert numbers.numpy().tolist() == [
        count_repeats(SCHEMA, target, values, time, histories[user]) for user, values, time in flat
    ]


def test_what_no_target_is_looked_up_in_has_no_keys() -> None:
    features = (Feature("category", recurs=False),)
    silent = Group("query", features=features, objects="queries.csv")
    schema = Schema((ITEM, silent), ("item",))
    values = {ID: integers([1]), "category": integers([2])}
    keys, behaviors = touches.touch_keys(schema, silent, values, integers([1]))
    assert keys.shape == behaviors.shape == (0,)


def test_of_an_empty_history_nothing_is_found() -> None:
    nothing = tf.zeros([0], tf.int64)
    values = tensors_of("item", [{ID: [1], "category": [2], "tag": [3], "color": []}])
    found = touches.sort_touches(nothing, nothing)
    numbers = touches.answer(found, SCHEMA, "item", values, integers([5])).numpy().tolist()
    assert numbers == [[0, 0, -1, -1, -1] + 4 * [0, -1, -1, -1]]
