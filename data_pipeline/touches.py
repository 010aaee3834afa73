"""Touches: what users did, sorted so that any candidate is looked up in all of it.

A *touch* is a pair of a key and a time. A key is a 63-bit number: the user above, a hash of what
was touched below (`_keys`). All of one key stand together in the order of time, so that a look-up
takes O(log n) for a candidate, however long the histories, and all look-ups of all candidates are
three searches. `data_pipeline.recurrence` says what is looked up, and what the numbers mean.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches.negatives import random_numbers
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.recurrence import ID, NEVER, look_ups, num_counts, searched_fields
from data_pipeline.schema import Group, Schema

# Of a key; the user has the bits above them, so that all of one user's touches stand together: a
# search reads few pages.
_HASH_BITS = 40
# Of a rank.
_RANK_BITS = 62

# By field the fingerprint of each object's value: int64 [objects]; of a multi-valued feature all
# values, [objects, (values)].
Values = Mapping[str, tf.Tensor | tf.RaggedTensor]


class Touches(NamedTuple):
    """Touches sorted by key and time, the last of which nothing has.

    Attributes:
        keys: int64 [n + 1].
        times: When each was, int64 [n + 1].
        ranks: Ascending numbers that hold the run of equal keys and, in the lower bits, the tick
            of the time: int64 [n + 1].
        tick_bits: How many the lower bits are: int64 [].
        clock: What ticks are counted in: the first time and the last, int64 [2]; of times that
            lie too far apart for that all of them, ascending: int64 [n + 2].

    Example:

    >>> keys, times = tf.constant([7, 5, 7], tf.int64), tf.constant([10, 15, 20], tf.int64)
    >>> sort_touches(keys, times).times[:3].numpy().tolist()
    [15, 10, 20]
    """

    keys: tf.Tensor
    times: tf.Tensor
    ranks: tf.Tensor
    tick_bits: tf.Tensor
    clock: tf.Tensor


def touch_keys(
    schema: Schema, group: Group, values: Values, actions: tf.Tensor, users: tf.Tensor | int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes the keys of what some behaviors of a group touched.

    Args:
        schema: The schema; fields that no target of it looks up have no keys.
        group: The group.
        values: Of the behaviors' objects.
        actions: Action indices of the behaviors, int64 [n].
        users: What tells the behaviors' users apart, int64 [n], each in [0, 2^23); 0 for one user.

    Returns:
        The keys, int64 [keys], and which behavior each is of, int64 [keys].

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> objects, actions = tf.constant([7, 5, 7], tf.int64), tf.ones([3], tf.int64)
    >>> keys, behaviors = touch_keys(schema, schema.groups[0], {ID: objects}, actions)
    >>> behaviors.numpy().tolist()  # Each has a key of its object, and one of any object.
    [0, 1, 2, 0, 1, 2]
    """
    positions = tf.range(tf.shape(actions, tf.int64)[0])
    parts = []
    for field in searched_fields(schema, group):
        flat, owners = _flat(values[field], positions)
        parts.append(_Part(_salt(group, field), flat, owners))
        if field == ID and len(group.actions) > 1:
            salts = [_salt(group, ID, str(action)) for action in range(1 + len(group.actions))]
            of_actions = tf.gather(tf.stack(salts), tf.gather(actions, owners))
            parts.append(_Part(of_actions, flat, owners))
    if not parts:
        return tf.zeros([0], tf.int64), tf.zeros([0], tf.int64)
    parts.append(_any(group, positions))
    keys, owners = _keys(parts, tf.broadcast_to(tf.cast(users, tf.int64), tf.shape(actions)))
    is_known = keys >= 0
    return tf.boolean_mask(keys, is_known), tf.boolean_mask(owners, is_known)


def of_user(keys: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
    """Returns the keys that users have, of those that `touch_keys` made of users 0.

    Args:
        keys: int64 [n].
        users: int64 [n], each in [0, 2^23).

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> ones = tf.ones([2], tf.int64)
    >>> mine, _ = touch_keys(schema, schema.groups[0], {ID: ones}, ones, users=7 * ones)
    >>> keys, _ = touch_keys(schema, schema.groups[0], {ID: ones}, ones)
    >>> bool(tf.reduce_all(of_user(keys, 7 * tf.ones_like(keys)) == mine))
    True
    """
    return tf.bitwise.left_shift(users, tf.constant(_HASH_BITS, tf.int64)) + keys


def sort_touches(keys: tf.Tensor, times: tf.Tensor) -> Touches:
    """Sorts touches.

    Args:
        keys: int64 [n]; those of one key in the order of time.
        times: int64 [n].

    Example:

    >>> keys, times = tf.constant([7, 5], tf.int64), tf.constant([10, 20], tf.int64)
    >>> sort_touches(keys, times).keys[:2].numpy().tolist()
    [5, 7]
    """
    order = tf.argsort(keys, stable=True)
    return sorted_touches(tf.gather(keys, order), tf.gather(times, order))


def sorted_touches(keys: tf.Tensor, times: tf.Tensor) -> Touches:
    """Makes `Touches` of what is sorted by key and time already.

    Args:
        keys: int64 [n].
        times: int64 [n].

    Example:

    >>> keys, times = tf.constant([5, 7], tf.int64), tf.constant([20, 10], tf.int64)
    >>> sorted_touches(keys, times).clock.numpy().tolist()
    [10, 20]
    """
    end = tf.constant([tf.int64.max], tf.int64)
    # Of no times these are the largest number and the smallest, whose difference overflows.
    span = tf.stack([tf.reduce_min(times), tf.reduce_max(times)])
    keys, times = tf.concat([keys, end], axis=0), tf.concat([times, end], axis=0)
    begins = tf.concat([tf.zeros_like(keys[:1], tf.bool), keys[1:] != keys[:-1]], axis=0)
    runs = tf.cumsum(tf.cast(begins, tf.int64))
    num_ticks = span[1] - span[0] + 2
    run_bits, tick_bits = tf.unstack(_num_bits(tf.stack([runs[-1], num_ticks])))
    fits = tf.logical_and(num_ticks > 0, run_bits + tick_bits <= _RANK_BITS)
    clock = tf.cond(fits, lambda: span, lambda: tf.sort(tf.concat([times, end], axis=0)))
    tick_bits = tf.where(fits, tick_bits, _RANK_BITS - run_bits)
    ranks = tf.bitwise.left_shift(runs, tick_bits) + _ticks(clock, times)
    return Touches(keys, times, ranks, tick_bits, clock)


def answer(
    found: Touches,
    schema: Schema,
    target: str,
    values: Values,
    query_times: tf.Tensor,
    users: tf.Tensor | int = 0,
    at_once: bool = False,
) -> tf.Tensor:
    """Looks candidates up.

    Args:
        found: What their users touched.
        schema: The schema.
        target: The target of the candidates.
        values: Of the candidates.
        query_times: Those of the candidates, int64 [candidates].
        users: What tells their users apart, int64 [candidates]; 0 for one user.
        at_once: Whether to look a feature's value up once for all candidates of a user and time
            that have it. It pays where those are many more than values: whole catalogues.

    Returns:
        The numbers of all look-ups in turn, int64 [candidates, numbers].

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> objects, actions = tf.constant([7, 5, 7], tf.int64), tf.ones([3], tf.int64)
    >>> keys, behaviors = touch_keys(schema, schema.groups[0], {ID: objects}, actions)
    >>> times = tf.gather(tf.constant([100, 150, 170], tf.int64), behaviors)
    >>> found = sort_touches(keys, times)
    >>> candidates, query_times = tf.constant([7, 5, 6], tf.int64), 0 * objects + 200
    >>> answer(found, schema, "item", {ID: candidates}, query_times).numpy().tolist()
    [[2, 30, 100, 0], [1, 50, -1, 1], [0, -1, -1, -1]]
    """
    candidates = tf.range(tf.shape(query_times, tf.int64)[0])
    asked = look_ups(schema, target)
    fields = {
        field: _flat(values[field], candidates)
        for field in dict.fromkeys(look_up.field for look_up in asked)
    }
    places: dict[str, tf.Tensor] = {}
    if at_once:
        for field in [field for field in fields if field != ID]:
            chosen, places[field] = _distinct(*fields[field], query_times, users)
            flat, owners = fields[field]
            fields[field] = tf.gather(flat, chosen), tf.gather(owners, chosen)
    own, by_action = [], []
    for look_up in asked:
        group = schema.group(look_up.group)
        part = _Part(_salt(group, look_up.source), *fields[look_up.field])
        own.append(part)
        if num_counts(schema, look_up) > 1:
            for action in range(1, 1 + num_counts(schema, look_up)):
                by_action.append(part._replace(salts=_salt(group, ID, str(action))))
    groups = list(dict.fromkeys(look_up.group for look_up in asked))
    any_touch = [_any(schema.group(group), candidates) for group in groups]
    ranges = _ranges(found, [*own, *by_action, *any_touch], query_times, users)

    of_actions = iter(ranges[len(own) :])
    of_groups = dict(zip(groups, ranges[len(own) + len(by_action) :], strict=True))
    numbers = _numbers(
        found, own, ranges[: len(own)], [of_groups[x.group] for x in asked], query_times
    )
    columns = []
    for look_up, of_look_up in zip(asked, numbers, strict=True):
        if (num_actions := num_counts(schema, look_up)) > 1:
            counts = [end - first for first, end in itertools.islice(of_actions, num_actions)]
            of_look_up = tf.concat([tf.stack(counts, axis=1), of_look_up[:, 1:]], axis=1)
        if look_up.field in places:
            of_look_up = tf.gather(of_look_up, places[look_up.field])
        if isinstance(values[look_up.field], tf.RaggedTensor):
            _, owners = _flat(values[look_up.field], candidates)
            of_look_up = _merged(of_look_up, owners, tf.shape(candidates, tf.int64)[0])
        columns.append(of_look_up)
    return tf.concat(columns, axis=1)


# Where touches begin and end, int64 [n] each.
_Range = tuple[tf.Tensor, tf.Tensor]


class _Part(NamedTuple):
    """What is hashed into keys: where values were touched, and the values.

    Attributes:
        salts: Where, int64 [n] or [].
        values: Fingerprints, int64 [n]; NO_VALUE for none.
        owners: Which behavior or candidate each is of, int64 [n].
    """

    salts: tf.Tensor
    values: tf.Tensor
    owners: tf.Tensor


def _any(group: Group, owners: tf.Tensor) -> _Part:
    """Of what all behaviors of a group touch alike."""
    return _Part(_salt(group, ID, "any"), tf.zeros_like(owners), owners)


def _keys(parts: Sequence[_Part], users: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The keys of all parts in turn, NO_VALUE where there is none, and what each is of."""
    salted = [tf.bitwise.bitwise_xor(part.values, part.salts) for part in parts]
    values = tf.concat([part.values for part in parts], axis=0)
    owners = tf.concat([part.owners for part in parts], axis=0)
    mixed = random_numbers(tf.concat(salted, axis=0))
    hashed = tf.bitwise.right_shift(mixed, _int(63 - _HASH_BITS))
    keys = of_user(hashed, tf.gather(users, owners))
    return tf.where(values >= 0, keys, NO_VALUE), owners


def _ranges(
    found: Touches, parts: Sequence[_Part], query_times: tf.Tensor, users: tf.Tensor | int
) -> list[_Range]:
    """Where the touches of each key begin, and where those before the query time end, by part.

    Both are 0 for what was not touched.
    """
    of_users = tf.broadcast_to(tf.cast(users, tf.int64), tf.shape(query_times))
    keys, owners = _keys(parts, of_users)
    first = tf.searchsorted(found.keys, keys, side="left", out_type=tf.int64)
    is_touched = tf.gather(found.keys, first) == keys
    first = tf.where(is_touched, first, 0)
    end = _end(found, first, tf.gather(_ticks(found.clock, query_times), owners))
    end = tf.where(is_touched, end, 0)
    sizes = [tf.shape(part.values)[0] for part in parts]
    return list(zip(tf.split(first, sizes), tf.split(end, sizes), strict=True))


def _end(found: Touches, firsts: tf.Tensor, ticks: tf.Tensor) -> tf.Tensor:
    """Where the touches before a tick end, of those that begin at `firsts`."""
    runs = tf.bitwise.right_shift(tf.gather(found.ranks, firsts), found.tick_bits)
    ranks = tf.bitwise.left_shift(runs, found.tick_bits) + ticks
    return tf.searchsorted(found.ranks, ranks, side="left", out_type=tf.int64)


def _numbers(
    found: Touches,
    parts: Sequence[_Part],
    touched: Sequence[_Range],
    behaviors: Sequence[_Range],
    query_times: tf.Tensor,
) -> list[tf.Tensor]:
    """Count, gap, previous and steps of each question, by part: int64 [n, 4].

    Args:
        found: What was touched.
        parts: The questions.
        touched: Where the touches of each begin and end, by part.
        behaviors: The same of all behaviors of the group that is searched: [candidates].
        query_times: int64 [candidates].
    """
    owners = [part.owners for part in parts]
    first, end = (tf.concat(side, axis=0) for side in zip(*touched, strict=True))
    of_group = [
        [tf.gather(side, of_part) for side in behavior]
        for behavior, of_part in zip(behaviors, owners, strict=True)
    ]
    first_behavior, behaviors_end = (tf.concat(s, axis=0) for s in zip(*of_group, strict=True))
    times = tf.gather(query_times, tf.concat(owners, axis=0))
    count = end - first

    def back(column: tf.Tensor, steps: int) -> tf.Tensor:
        return tf.gather(column, tf.maximum(end - steps, 0))

    all_bits = tf.bitwise.left_shift(_int(1), found.tick_bits) - 1
    after_last = 1 + tf.bitwise.bitwise_and(back(found.ranks, 1), all_bits)
    numbers = [
        count,
        tf.where(count > 0, times - back(found.times, 1), NEVER),
        tf.where(count > 1, times - back(found.times, 2), NEVER),
        tf.where(count > 0, behaviors_end - _end(found, first_behavior, after_last), NEVER),
    ]
    return tf.split(tf.stack(numbers, axis=1), [tf.shape(part.values)[0] for part in parts])


def _ticks(clock: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """Numbers of 0 or more that are in the order of the times, and alike where they are."""

    def since_first() -> tf.Tensor:
        return tf.clip_by_value(times, clock[0], clock[1] + 1) - clock[0]

    def places() -> tf.Tensor:
        return tf.searchsorted(clock, times, side="left", out_type=tf.int64)

    return tf.cond(tf.size(clock) == 2, since_first, places)


def _num_bits(numbers: tf.Tensor) -> tf.Tensor:
    """How many bits numbers of 0 or more have."""
    powers = tf.constant([1 << bit for bit in range(_RANK_BITS)], tf.int64)
    return tf.searchsorted(powers, numbers, side="right", out_type=tf.int64)


def _distinct(
    values: tf.Tensor, owners: tf.Tensor, query_times: tf.Tensor, users: tf.Tensor | int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses one of all that ask for the same value of the same user at the same time.

    Returns:
        Which are chosen, int64 [distinct], and which of these each is the same as, int64 [n].
    """
    of_users = tf.broadcast_to(tf.cast(users, tf.int64), tf.shape(query_times))
    who = random_numbers(of_users, query_times)
    _, places = tf.unique(tf.bitwise.bitwise_xor(values, tf.gather(who, owners)), tf.int64)
    num_distinct = tf.reduce_max(tf.concat([[-1], places], axis=0)) + 1
    chosen = tf.math.unsorted_segment_max(tf.range(tf.size(values, tf.int64)), places, num_distinct)
    return chosen, places


def _merged(numbers: tf.Tensor, owners: tf.Tensor, num_candidates: tf.Tensor) -> tf.Tensor:
    """Joins what several values of a candidate found: the sum of counts, the least of the rest."""
    counts = tf.math.unsorted_segment_sum(numbers[:, :-3], owners, num_candidates)
    rest = numbers[:, -3:]
    least = tf.math.unsorted_segment_min(
        tf.where(rest != NEVER, rest, tf.int64.max), owners, num_candidates
    )
    return tf.concat([counts, tf.where(least != tf.int64.max, least, NEVER)], axis=1)


def _flat(values: tf.Tensor | tf.RaggedTensor, owners: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """All values, and what each is of."""
    if isinstance(values, tf.RaggedTensor):
        return values.flat_values, tf.gather(owners, ragged.row_ids(values))
    return values, owners


def _int(number: int) -> tf.Tensor:
    return tf.constant(number, tf.int64)


def _salt(group: Group, *parts: str) -> tf.Tensor:
    """A number for a group and what of it."""
    text = "/".join([group.name, *parts])
    digest = hashlib.blake2b(text.encode(), digest_size=7).digest()
    return _int(int.from_bytes(digest, "big"))
