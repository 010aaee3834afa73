"""The signatures: names, dtypes and shapes of what a server is sent and what it answers.

The history of a batch row is, for each group of the schema, with `T` at least 1 and the same
for all groups or not:

    GROUP_objects   int64 or string [batch, T]  raw object ids, in any order
    GROUP_actions   string [batch, T]           only where the group lists its actions
    GROUP_times     int64 [batch, T]            raw timestamps, in the schema's time unit
    GROUP_length    int64 [batch]               how many of the T are real

`request_time` is int64 [batch], `candidate` a raw object id [batch] of the target,
`candidates` [batch, N] many of them, of which the first `num_candidates`, int64 [batch],
are real. All inputs have the batch as their first dimension, so a server can join requests.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from data_pipeline.schema import Group, Schema
from export.protocol.fields import (
    CANDIDATE,
    CANDIDATES,
    EXAMPLES,
    NUM_CANDIDATES,
    REQUEST_TIME,
    HistoryFields,
)

Specs = dict[str, tf.TensorSpec]


def id_dtype(group: Group) -> tf.DType:
    """Returns the dtype of a group's raw object ids.

    Example:

    >>> id_dtype(Group("product", id_type="int")), id_dtype(Group("search", id_type="string"))
    (tf.int64, tf.string)
    """
    return tf.int64 if group.id_type == "int" else tf.string


def input_specs(schema: Schema, target: str, verb: str, state: Specs) -> Specs:
    """Returns the inputs of a target's signature for one of `VERBS`.

    Args:
        schema: The schema, with the id types that preparation filled in.
        target: The group that the candidates belong to.
        verb: One of `VERBS`.
        state: What `encode` returns.

    Returns:
        A spec for each input, named like its key, as servers need it.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> state = {"memory": tf.TensorSpec([None, 64], tf.float32, "memory")}
    >>> sorted(input_specs(schema, "item", "score_memory", state))
    ['candidates', 'memory', 'num_candidates', 'request_time']
    """
    dtype = id_dtype(schema.target_group(target))
    one_candidate = {CANDIDATE: ([None], dtype)}
    many_candidates = {CANDIDATES: ([None, None], dtype), NUM_CANDIDATES: ([None], tf.int64)}
    if verb == "score_examples":
        return _named({EXAMPLES: ([None], tf.string)})
    if verb == "score_memory":
        return {**state, **_named({**many_candidates, REQUEST_TIME: ([None], tf.int64)})}
    candidates = many_candidates if verb == "score_candidates" else one_candidate
    return {**history_specs(schema), **_named(candidates)}


def history_specs(schema: Schema) -> Specs:
    """Returns the inputs of `encode`: a history and the query time.

    Example:

    >>> history_specs(Schema(groups=(Group("product", id_type="int"),), targets=("product",)))
    {'product_objects': TensorSpec(shape=(None, None), dtype=tf.int64, name='product_objects'),
     'product_times': TensorSpec(shape=(None, None), dtype=tf.int64, name='product_times'),
     'product_length': TensorSpec(shape=(None,), dtype=tf.int64, name='product_length'),
     'request_time': TensorSpec(shape=(None,), dtype=tf.int64, name='request_time')}
    """
    specs: dict[str, tuple[list[None], tf.DType]] = {}
    for group in schema.groups:
        fields = HistoryFields(group)
        dtypes = {"objects": id_dtype(group), "times": tf.int64, "actions": tf.string}
        specs |= {name: ([None, None], dtypes[key]) for key, name in fields.columns.items()}
        specs[fields.length] = ([None], tf.int64)
    specs[REQUEST_TIME] = ([None], tf.int64)
    return _named(specs)


def _named(specs: Mapping[str, tuple[Sequence[None], tf.DType]]) -> Specs:
    return {name: tf.TensorSpec(*spec, name=name) for name, spec in specs.items()}
