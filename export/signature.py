"""The point-wise signature: names, dtypes and shapes of what a server is sent.

For each group of the schema, with `T` at least 1 and the same for all groups or not:

    GROUP_objects   int64 or string [batch, T]  raw object ids, in any order
    GROUP_actions   string [batch, T]           only where the group lists its actions
    GROUP_times     int64 [batch, T]            raw timestamps, in the schema's time unit
    GROUP_length    int64 [batch]               how many of the T are real

and `candidate`, int64 or string [batch], a raw object id of the target group, and
`request_time`, int64 [batch]. The results are `score`, a probability, and `logit`:
float32 [batch].
"""

import tensorflow as tf

from atrank_tf.schema import Group, Schema

Specs = dict[str, tf.TensorSpec]


def id_dtype(group: Group) -> tf.DType:
    """Returns the dtype of a group's raw object ids."""
    return tf.int64 if group.id_type == "int" else tf.string


def pointwise_specs(schema: Schema, target: str) -> Specs:
    """Returns the inputs of the point-wise signature.

    Args:
        schema: The schema, with the id types that preparation filled in.
        target: The group that the candidate belongs to.

    Returns:
        A spec for each input, named like its key, as servers need it.
    """
    specs = {}
    for group in schema.groups:
        specs[f"{group.name}_objects"] = ([None, None], id_dtype(group))
        if group.actions:
            specs[f"{group.name}_actions"] = ([None, None], tf.string)
        specs[f"{group.name}_times"] = ([None, None], tf.int64)
        specs[f"{group.name}_length"] = ([None], tf.int64)
    specs["candidate"] = ([None], id_dtype(schema.group(target)))
    specs["request_time"] = ([None], tf.int64)
    return {name: tf.TensorSpec(*spec, name=name) for name, spec in specs.items()}


def signature_name(schema: Schema, target: str) -> str:
    """Returns the name of a target's signature: the first target's is the default one."""
    return "serving_default" if target == schema.targets[0] else f"score_{target}"
