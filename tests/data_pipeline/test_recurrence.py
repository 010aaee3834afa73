"""Recurrence, compared with a count in plain Python."""

from typing import Any

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import ragged, recurrence
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.recurrence import ID, LookUp
from data_pipeline.schema import Feature, Group, Schema
from tests.data_pipeline.repeats import Behavior, ObjectValues, count_repeats

ITEM = Group(
    "item",
    actions=("buy", "view"),
    features=(
        Feature("category"),
        Feature("tag", multivalued=True),
        Feature("color", recurs=False),
    ),
    objects="items.csv",
)
QUERY = Group(
    "query",
    actions=("ask",),
    features=(
        Feature("kind", vocabulary="category"),
        Feature("about", vocabulary="item", multivalued=True),
        Feature("color"),
    ),
    objects="queries.csv",
)
SCHEMA = Schema((ITEM, QUERY), ("item", "query"))
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


def touches_of(histories: list[list[Behavior]], in_rows: bool) -> recurrence.Touches:
    """What users touched: each in a row, or all in one."""
    keys, times, owners = [], [], []
    for group in SCHEMA.groups:
        pairs = [(u, b) for u, row in enumerate(histories) for b in row if b.group == group.name]
        pairs.sort(key=lambda pair: pair[1].time)
        users = integers([user for user, _ in pairs])
        of_group, behaviors = recurrence.touches(
            SCHEMA,
            group,
            tensors_of(group.name, [behavior.values for _, behavior in pairs]),
            integers([behavior.action for _, behavior in pairs]),
            0 if in_rows else users,
        )
        keys.append(of_group)
        times.append(tf.gather(integers([behavior.time for _, behavior in pairs]), behaviors))
        owners.append(tf.gather(users, behaviors))
    columns = tf.stack([tf.concat(keys, axis=0), tf.concat(times, axis=0)], axis=1)
    if not in_rows:
        return recurrence.sort_touches(columns[tf.newaxis, :, 0], columns[tf.newaxis, :, 1])
    rows = tf.concat(owners, axis=0)
    order = tf.argsort(rows, stable=True)
    padded = ragged.pad(
        ragged.from_value_rowids(
            tf.gather(columns, order), tf.gather(rows, order), nrows=len(histories)
        ),
        tf.int64.max,
    )
    return recurrence.sort_touches(padded[:, :, 0], padded[:, :, 1])


def check_answers(target: str, in_rows: bool, draw: st.DataObject) -> None:
    histories, candidates = draw.draw(HISTORIES), draw.draw(candidates_of(target))
    flat = [(u, *candidate) for u, row in enumerate(candidates) for candidate in row]
    query_times = integers([time for _, _, time in flat])
    rows = ragged.from_row_lengths(query_times, integers([len(row) for row in candidates]))
    numbers = recurrence.answer(
        touches_of(histories, in_rows),
        SCHEMA,
        target,
        tensors_of(target, [values for _, values, _ in flat]),
        query_times,
        users=None if in_rows else integers([user for user, *_ in flat]),
        rows=rows if in_rows else None,
    )
    assert numbers.shape == (len(flat), recurrence.num_columns(SCHEMA, target))
    assert numbers.numpy().tolist() == [
        count_repeats(SCHEMA, target, values, time, histories[user]) for user, values, time in flat
    ]


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_answers_of_users_in_one_row_are_what_a_count_says(draw: st.DataObject) -> None:
    check_answers("query", False, draw)


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_answers_of_users_in_rows_are_what_a_count_says(draw: st.DataObject) -> None:
    check_answers("item", True, draw)


def test_fields_are_looked_up_where_their_vocabulary_is_shared() -> None:
    found = recurrence.look_ups(SCHEMA, "item")
    assert found == (
        LookUp(ID, "item", ID),
        LookUp(ID, "query", "about"),
        LookUp("category", "item", "category"),
        LookUp("category", "query", "kind"),
        LookUp("tag", "item", "tag"),
    )
    assert [recurrence.num_counts(SCHEMA, look_up) for look_up in found] == [2, 1, 1, 1, 1]
    assert recurrence.num_columns(SCHEMA, "item") == 5 * 3 + 6
    assert [look_up.name for look_up in recurrence.look_ups(SCHEMA, "query")] == [
        "id among query",
        "kind among query.kind",
        "kind among item.category",
        "about among query.about",
        "about among item",
        "color among query.color",  # Not among items', whose colors do not recur.
    ]
    assert recurrence.num_columns(SCHEMA, "query") == 6 * 3 + 7


def test_a_feature_that_does_not_recur_is_neither_searched_nor_looked_up() -> None:
    features = (Feature("category", recurs=False),)
    silent = Group("query", features=features, objects="queries.csv")
    schema = Schema((ITEM, silent), ("item",))
    assert all(look_up.group == "item" for look_up in recurrence.look_ups(schema, "item"))
    names = [look_up.name for look_up in recurrence.look_ups(schema, "query")]
    assert names == ["id among query"]
    # No target is looked up among queries: they have no keys.
    values = {ID: integers([1]), "category": integers([2])}
    keys, behaviors = recurrence.touches(schema, silent, values, integers([1]))
    assert keys.shape == behaviors.shape == (0,)


def test_of_an_empty_history_nothing_is_found() -> None:
    nothing = tf.zeros([1, 0], tf.int64)
    values = tensors_of("item", [{ID: [1], "category": [2], "tag": [3], "color": []}])
    found = recurrence.sort_touches(nothing, nothing)
    numbers = recurrence.answer(found, SCHEMA, "item", values, integers([5])).numpy().tolist()
    assert numbers == [[0, 0, -1, -1, -1] + 4 * [0, -1, -1, -1]]
