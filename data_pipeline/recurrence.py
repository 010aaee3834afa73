"""Recurrence: what a user did to a candidate before, looked up in everything that they did.

The field calls it repeat consumption. Each *look-up* asks of one field of a candidate, its id or a
feature, when the user last touched the same value through one field of one group's objects: a
product bought before, its category among those bought, a coupon's campaign among those received.
It answers with whole numbers, strictly before the query time:

    counts      how often; among ids by action
    gap         units of time since the last
    previous    units of time since the one before that
    steps       behaviors of that group after the last: 0 where nothing came after it

and with -1 for what never was. What is searched is a list of *touches*, pairs of a key and a time.
A key is a 63-bit number made of what was touched (`_key`): the list is sorted once, and a look-up
takes O(log n) for a candidate, however long the history.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches.negatives import random_numbers
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.schema import Group, Schema, feature_vocabulary

# The field that is an object's id; any other is a feature's name.
ID = ""
NEVER = -1

# The key behind all others: no candidate has it.
_END = tf.int64.max

# Of a rank, for a place in the clock.
_TICK_BITS = 32
# Of a key; the user has the bits above them.
_HASH_BITS = 50

# By field the fingerprint of each object's value: int64 [objects]; of a multi-valued feature all
# values, [objects, (values)].
Values = Mapping[str, tf.Tensor | tf.RaggedTensor]


class LookUp(NamedTuple):
    """Where a candidate's value is looked for.

    Attributes:
        field: The candidate's field.
        group: The group whose behaviors are searched.
        source: The field of their objects.

    Example:

    >>> LookUp("campaign", "campaign", ID).name
    'campaign among campaign'
    """

    field: str
    group: str
    source: str

    @property
    def name(self) -> str:
        """What it is called in messages and tables."""
        among = f"{self.group}.{self.source}" if self.source else self.group
        return f"{self.field or 'id'} among {among}"


def look_ups(schema: Schema, target: str) -> tuple[LookUp, ...]:
    """Returns the look-ups of a target: each field in each that shares its vocabulary.

    The first is that of the id among the group's own.

    Args:
        schema: The schema.
        target: The target group.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> [look_up.name for look_up in look_ups(schema, "item")][:3]
    ['id among item', 'category among item.category', 'category among query.category']
    """
    own = schema.group(target)
    others = [group for group in schema.groups if group.name != target]
    return tuple(
        LookUp(field, group.name, source)
        for field, vocabulary in _fields(own)
        for group in (own, *others)
        for source, other in _fields(group)
        if other == vocabulary
    )


def num_counts(schema: Schema, look_up: LookUp) -> int:
    """Returns how many counts a look-up answers with: among ids one for each action.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> [num_counts(schema, look_up) for look_up in look_ups(schema, "item")][:2]
    [2, 1]
    """
    return max(1, len(schema.group(look_up.group).actions)) if look_up.source == ID else 1


def num_columns(schema: Schema, target: str) -> int:
    """Returns how many numbers all look-ups of a target answer with.

    Example:

    >>> num_columns(Schema((Group("item"),), ("item",)), "item")  # A count, gap, previous, steps.
    4
    """
    return sum(num_counts(schema, look_up) + 3 for look_up in look_ups(schema, target))


def touches(
    schema: Schema, group: Group, values: Values, actions: tf.Tensor, users: tf.Tensor | int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes the keys of what some behaviors of a group touched.

    Args:
        schema: The schema; fields that no target of it looks up have no keys.
        group: The group.
        values: Of the behaviors' objects.
        actions: Action indices of the behaviors, int64 [n].
        users: What tells the behaviors' users apart, int64 [n]; 0 where their rows do.

    Returns:
        The keys, int64 [keys], and which behavior each is of, int64 [keys].

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> objects, actions = tf.constant([7, 5, 7], tf.int64), tf.ones([3], tf.int64)
    >>> keys, behaviors = touches(schema, schema.groups[0], {ID: objects}, actions)
    >>> behaviors.numpy().tolist()  # Each has a key of its object, and one of any object.
    [0, 1, 2, 0, 1, 2]
    """
    positions = tf.range(tf.shape(actions, tf.int64)[0])
    of_users = tf.broadcast_to(tf.cast(users, tf.int64), tf.shape(actions))
    keys, behaviors = [], []
    for source in _sources(schema, group):
        of_source, owners = _flat(values[source], positions)
        who = tf.gather(of_users, owners)
        made = [_key(_salt(group, source), of_source, who)]
        if source == ID and len(group.actions) > 1:
            made.append(_key(_salt(group, ID, "action"), of_source, who, actions))
        for of_part in made:
            keys.append(tf.where(of_source >= 0, of_part, _END))
            behaviors.append(owners)
    if keys:
        keys.append(_key(_salt(group, ID, "any"), tf.zeros_like(positions), of_users))
        behaviors.append(positions)
    none = tf.zeros([0], tf.int64)
    return tf.concat([none, *keys], axis=0), tf.concat([none, *behaviors], axis=0)


class Touches(NamedTuple):
    """Touches of rows of users, sorted by key and time.

    Attributes:
        keys: int64 [rows, n]; each row ends with one that nothing has.
        times: When each was, int64 [rows, n].
        ranks: Ascending numbers that hold the run of equal keys and, in the lower half, the place
            of the time in `clock`: int64 [rows, n].
        clock: All times of a row, ascending: int64 [rows, n].

    Example:

    >>> keys, times = tf.constant([[7, 5, 7]], tf.int64), tf.constant([[10, 15, 20]], tf.int64)
    >>> sort_touches(keys, times).times[:, :3].numpy().tolist()
    [[15, 10, 20]]
    """

    keys: tf.Tensor
    times: tf.Tensor
    ranks: tf.Tensor
    clock: tf.Tensor


def sort_touches(keys: tf.Tensor, times: tf.Tensor) -> Touches:
    """Sorts touches.

    Args:
        keys: int64 [rows, n]; those of one key in the order of time.
        times: int64 [rows, n].

    Example:

    >>> keys, times = tf.constant([[7, 5]], tf.int64), tf.constant([[10, 20]], tf.int64)
    >>> sort_touches(keys, times).keys[:, :2].numpy().tolist()
    [[5, 7]]
    """
    order = tf.argsort(keys, axis=1, stable=True)
    return sorted_touches(*(tf.gather(part, order, batch_dims=1) for part in (keys, times)))


def sorted_touches(keys: tf.Tensor, times: tf.Tensor) -> Touches:
    """Makes `Touches` of what is sorted by key and time already.

    Args:
        keys: int64 [rows, n].
        times: int64 [rows, n].

    Example:

    >>> keys, times = tf.constant([[5, 7]], tf.int64), tf.constant([[10, 20]], tf.int64)
    >>> sorted_touches(keys, times).clock[:, :2].numpy().tolist()
    [[10, 20]]
    """
    end = tf.fill([tf.shape(keys)[0], 1], tf.constant(_END, tf.int64))
    keys, times = tf.concat([keys, end], axis=1), tf.concat([times, end], axis=1)
    begins = tf.concat([tf.zeros_like(keys[:, :1], tf.bool), keys[:, 1:] != keys[:, :-1]], axis=1)
    runs = tf.cumsum(tf.cast(begins, tf.int64), axis=1)
    clock = tf.sort(times, axis=1)
    return Touches(keys, times, _rank(runs, _ticks(clock, times)), clock)


def answer(
    found: Touches,
    schema: Schema,
    target: str,
    values: Values,
    query_times: tf.Tensor,
    users: tf.Tensor | None = None,
    rows: tf.RaggedTensor | None = None,
) -> tf.Tensor:
    """Looks candidates up.

    Args:
        found: What their users touched.
        schema: The schema.
        target: The group of the candidates.
        values: Of the candidates.
        query_times: Those of the candidates, int64 [candidates].
        users: What tells their users apart, int64 [candidates]; None where rows do.
        rows: The candidates in the rows of `found`, [rows, (candidates)]; None for one row.

    Returns:
        The numbers of all look-ups in turn, int64 [candidates, numbers].

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> objects, actions = tf.constant([7, 5, 7], tf.int64), tf.ones([3], tf.int64)
    >>> keys, _ = touches(schema, schema.groups[0], {ID: objects}, actions)
    >>> times = tf.constant([[100, 150, 170, 100, 150, 170]], tf.int64)
    >>> found = sort_touches(keys[tf.newaxis], times)
    >>> candidates, query_times = tf.constant([7, 5, 6], tf.int64), 0 * objects + 200
    >>> answer(found, schema, "item", {ID: candidates}, query_times).numpy().tolist()
    [[2, 30, 100, 0], [1, 50, -1, 1], [0, -1, -1, -1]]
    """
    users = tf.zeros_like(query_times) if users is None else users
    ticks = _out_of_rows(rows, _ticks(found.clock, _in_rows(rows, query_times)))
    all_queries = _Queries(users, query_times, ticks, rows)
    behaviors: dict[str, tf.Tensor] = {}
    columns = []
    for look_up in look_ups(schema, target):
        group = schema.group(look_up.group)
        if group.name not in behaviors:
            any_key = _key(_salt(group, ID, "any"), tf.zeros_like(users), users)
            behaviors[group.name] = all_queries.ask(_run_and_end, found, any_key)
        of_field, queries, before = values[look_up.field], all_queries, behaviors[group.name]
        owners = None
        if isinstance(of_field, tf.RaggedTensor):
            owners = ragged.row_ids(of_field)
            queries, before = all_queries.per_value(owners), tf.gather(before, owners)
            of_field = of_field.flat_values
        key = queries.key(_salt(group, look_up.source), of_field)
        numbers = queries.ask(_find, found, key, before)
        if num_counts(schema, look_up) > 1:
            salt, actions = _salt(group, ID, "action"), range(1, len(group.actions) + 1)
            keys = [queries.key(salt, of_field, action) for action in actions]
            ranges = [queries.ask(_run_and_end, found, key) for key in keys]
            counts = tf.stack([x[:, 1] - x[:, 0] for x in ranges], axis=1)
            numbers = tf.concat([counts, numbers[:, 1:]], axis=1)
        if owners is not None:
            numbers = _merged(numbers, owners, tf.shape(query_times, tf.int64)[0])
        columns.append(numbers)
    return tf.concat(columns, axis=1)


class _Queries(NamedTuple):
    """Users and query times of candidates, or of their values, and the rows that they are in."""

    users: tf.Tensor
    times: tf.Tensor
    ticks: tf.Tensor
    rows: tf.RaggedTensor | None

    def per_value(self, owners: tf.Tensor) -> "_Queries":
        """Those of the values of a multi-valued field, of which each has an owner."""
        users, times, ticks = (
            tf.gather(part, owners) for part in (self.users, self.times, self.ticks)
        )
        rows = None if self.rows is None else ragged.group_rows(times, self.rows, owners)
        return _Queries(users, times, ticks, rows)

    def key(self, salt: int, values: tf.Tensor, number: int = 0) -> tf.Tensor:
        """The key of each value; NO_VALUE where it is none."""
        return tf.where(values >= 0, _key(salt, values, self.users, number), NO_VALUE)

    def ask(
        self, question: Callable[..., tf.Tensor], found: Touches, *columns: tf.Tensor
    ) -> tf.Tensor:
        """What a question answers to flat columns, which it takes in rows."""
        in_rows = [_in_rows(self.rows, column) for column in (self.times, self.ticks, *columns)]
        return _out_of_rows(self.rows, question(found, *in_rows))


def _in_rows(rows: tf.RaggedTensor | None, flat: tf.Tensor) -> tf.Tensor:
    return flat[tf.newaxis] if rows is None else ragged.pad(ragged.like(rows, flat))


def _out_of_rows(rows: tf.RaggedTensor | None, padded: tf.Tensor) -> tf.Tensor:
    return padded[0] if rows is None else ragged.unpad(padded, rows)


# Traced once, not for each of many look-ups.
@tf.function(autograph=False, reduce_retracing=True)
def _find(
    found: Touches, times: tf.Tensor, ticks: tf.Tensor, keys: tf.Tensor, before: tf.Tensor
) -> tf.Tensor:
    """Count, gap, previous and steps of each key: int64 [rows, m, 4].

    Args:
        found: What was touched.
        times: Query times, int64 [rows, m].
        ticks: Their place in the clock, int64 [rows, m].
        keys: int64 [rows, m]; NO_VALUE for none.
        before: Where the touches by all behaviors of the group begin, and where those before the
            query time end, int64 [rows, m, 2].
    """
    first, end = tf.unstack(_run_and_end(found, times, ticks, keys), axis=-1)
    first_behavior, behaviors_end = tf.unstack(before, axis=-1)
    count = end - first

    def back(column: tf.Tensor, steps: int) -> tf.Tensor:
        return tf.gather(column, tf.maximum(end - steps, 0), batch_dims=1)

    after_last = 1 + tf.bitwise.bitwise_and(back(found.ranks, 1), (1 << _TICK_BITS) - 1)
    numbers = [
        count,
        tf.where(count > 0, times - back(found.times, 1), NEVER),
        tf.where(count > 1, times - back(found.times, 2), NEVER),
        tf.where(count > 0, behaviors_end - _end(found, first_behavior, after_last), NEVER),
    ]
    return tf.stack(numbers, axis=-1)


@tf.function(autograph=False, reduce_retracing=True)
def _run_and_end(found: Touches, times: tf.Tensor, ticks: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Where the touches of each key begin, and where those before a time end: [rows, m, 2]."""
    first = tf.searchsorted(found.keys, keys, side="left", out_type=tf.int64)
    is_touched = tf.gather(found.keys, first, batch_dims=1) == keys
    first = tf.where(is_touched, first, NO_VALUE)
    return tf.stack([first, _end(found, first, ticks)], axis=-1)


def _end(found: Touches, firsts: tf.Tensor, ticks: tf.Tensor) -> tf.Tensor:
    """Where the touches before a place in the clock end, of those that begin at `firsts`."""
    ranks = tf.gather(found.ranks, tf.maximum(firsts, 0), batch_dims=1)
    runs = tf.bitwise.right_shift(ranks, tf.constant(_TICK_BITS, tf.int64))
    end = tf.searchsorted(found.ranks, _rank(runs, ticks), side="left", out_type=tf.int64)
    return tf.where(firsts >= 0, tf.maximum(end, firsts), firsts)


def _ticks(clock: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """The place of times in a clock: how many of its times are before."""
    return tf.searchsorted(clock, times, side="left", out_type=tf.int64)


def _rank(runs: tf.Tensor, ticks: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.left_shift(runs, tf.constant(_TICK_BITS, tf.int64)) + ticks


def _merged(numbers: tf.Tensor, owners: tf.Tensor, num_candidates: tf.Tensor) -> tf.Tensor:
    """Joins what several values of a candidate found: the sum of counts, the least of the rest."""
    counts = tf.math.unsorted_segment_sum(numbers[:, :-3], owners, num_candidates)
    rest = numbers[:, -3:]
    least = tf.math.unsorted_segment_min(
        tf.where(rest != NEVER, rest, tf.int64.max), owners, num_candidates
    )
    return tf.concat([counts, tf.where(least != tf.int64.max, least, NEVER)], axis=1)


def _flat(values: tf.Tensor | tf.RaggedTensor, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """All values, and which object each is of."""
    if isinstance(values, tf.RaggedTensor):
        return values.flat_values, tf.gather(positions, ragged.row_ids(values))
    return values, positions


def _key(salt: int, values: tf.Tensor, users: tf.Tensor, number: tf.Tensor | int = 0) -> tf.Tensor:
    """One number for where a value was touched, the value, the user and a number.

    Users come first, so that all of one user's touches stand together: a search reads few pages.
    """
    return _mixed(tf.constant(salt, tf.int64), values, users, tf.cast(number, tf.int64))


@tf.function(autograph=False, reduce_retracing=True)
def _mixed(salt: tf.Tensor, values: tf.Tensor, users: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    mixed = random_numbers(salt, values, number)
    shifted = tf.bitwise.right_shift(mixed, tf.constant(63 - _HASH_BITS, tf.int64))
    return tf.bitwise.left_shift(users, tf.constant(_HASH_BITS, tf.int64)) + shifted


def _salt(group: Group, *parts: str) -> int:
    """A number for a group and what of it."""
    text = "/".join([group.name, *parts])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def _sources(schema: Schema, group: Group) -> list[str]:
    """The fields of a group that some target of the schema is looked up in."""
    return list(
        dict.fromkeys(
            look_up.source
            for target in schema.targets
            for look_up in look_ups(schema, target)
            if look_up.group == group.name
        )
    )


def _fields(group: Group) -> Iterator[tuple[str, str]]:
    """The fields of a group that are looked up, and the vocabulary of each."""
    yield ID, group.name
    for feature in group.features:
        if feature.recurs:
            yield feature.name, feature_vocabulary(feature)
