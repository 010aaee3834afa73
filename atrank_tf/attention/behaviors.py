"""The behaviors of a batch as a table."""

import numpy as np
import pandas as pd
import tensorflow as tf

from data_pipeline.schema import Group, Schema

_NO_BEHAVIORS = pd.DataFrame(
    {"batch_row": [], "group": [], "action": [], "object": [], "time": []}
).astype(
    {"batch_row": "int64", "group": object, "action": object, "object": "int64", "time": "int64"}
)


def behavior_table(schema: Schema, history: dict[str, dict[str, tf.RaggedTensor]]) -> pd.DataFrame:
    """Returns all behaviors of a batch, those of each batch row in the order of the tokens.

    Args:
        schema: The schema.
        history: By group its ragged columns, as `Ranker` takes them.

    Returns:
        One line a behavior: its `batch_row`, `group`, `action`, `object` index and `time`.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> columns = {"object": [[3, 4], [3]], "action": [[1, 2], [1]], "time": [[50, 70], [90]]}
    >>> history = {"item": {name: tf.ragged.constant(rows) for name, rows in columns.items()}}
    >>> behavior_table(schema, history)
       batch_row group action  object  time
    0          0  item    buy       3    50
    1          0  item   view       4    70
    2          1  item    buy       3    90
    """
    parts = [_NO_BEHAVIORS]
    for group in schema.groups:
        if group.name in history:
            columns = history[group.name]
            actions = np.array(_actions(group))[columns["action"].flat_values.numpy()]
            parts.append(
                pd.DataFrame(
                    {
                        "batch_row": columns["object"].value_rowids().numpy(),
                        "group": group.name,
                        "action": actions,
                        "object": columns["object"].flat_values.numpy(),
                        "time": columns["time"].flat_values.numpy(),
                    }
                )
            )
    return pd.concat(parts).sort_values("batch_row", kind="stable").reset_index(drop=True)


def _actions(group: Group) -> list[str]:
    """The names of a group's actions, by index."""
    return ["unknown", *(group.actions or (group.name,))]
