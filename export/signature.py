"""The signatures: names, dtypes and shapes of what a server is sent and what it answers.

The history of a row is, for each group of the schema, with `T` at least 1 and the same for
all groups or not:

    GROUP_objects   int64 or string [batch, T]  raw object ids, in any order
    GROUP_actions   string [batch, T]           only where the group lists its actions
    GROUP_times     int64 [batch, T]            raw timestamps, in the schema's time unit
    GROUP_length    int64 [batch]               how many of the T are real

`request_time` is int64 [batch], `candidate` a raw object id [batch] of the target group,
`candidates` [batch, N] many of them, of which the first `num_candidates`, int64 [batch],
are real. All inputs have the batch as their first dimension, so a server can join requests.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from atrank_tf.schema import Group, Schema

Specs = dict[str, tf.TensorSpec]

# What each target group has a signature for. `encode` is one for all of them.
VERBS = ("score", "score_candidates", "score_examples", "score_memory", "explain")


def id_dtype(group: Group) -> tf.DType:
    """Returns the dtype of a group's raw object ids."""
    return tf.int64 if group.id_type == "int" else tf.string


def signature_name(schema: Schema, target: str, verb: str = "score") -> str:
    """Returns the name of a target's signature for one of `VERBS`; of "encode" its own.

    The first target's are named like the verbs, but `serving_default` for "score"; those of
    any other have its name behind two underscores: "score_candidates__coupon".
    """
    if verb != "encode" and target != schema.targets[0]:
        return f"{verb}__{target}"
    return "serving_default" if verb == "score" else verb


def input_specs(schema: Schema, target: str, verb: str, memory: Specs) -> Specs:
    """Returns the inputs of a target's signature for one of `VERBS`.

    Args:
        schema: The schema, with the id types that preparation filled in.
        target: The group that the candidates belong to.
        verb: One of `VERBS`.
        memory: What `encode` returns.

    Returns:
        A spec for each input, named like its key, as servers need it.
    """
    dtype = id_dtype(schema.group(target))
    one = {"candidate": ([None], dtype)}
    many = {"candidates": ([None, None], dtype), "num_candidates": ([None], tf.int64)}
    if verb == "score_examples":
        return _named({"inputs": ([None], tf.string)})
    if verb == "score_memory":
        return {**memory, **_named({**many, "request_time": ([None], tf.int64)})}
    candidates = many if verb == "score_candidates" else one
    return {**history_specs(schema), **_named(candidates)}


def history_specs(schema: Schema) -> Specs:
    """Returns the inputs of `encode`: a history and the time of the request."""
    specs = {}
    for group in schema.groups:
        specs[f"{group.name}_objects"] = ([None, None], id_dtype(group))
        if group.actions:
            specs[f"{group.name}_actions"] = ([None, None], tf.string)
        specs[f"{group.name}_times"] = ([None, None], tf.int64)
        specs[f"{group.name}_length"] = ([None], tf.int64)
    specs["request_time"] = ([None], tf.int64)
    return _named(specs)


def _named(specs: Mapping[str, tuple[Sequence[None], tf.DType]]) -> Specs:
    return {name: tf.TensorSpec(*spec, name=name) for name, spec in specs.items()}
