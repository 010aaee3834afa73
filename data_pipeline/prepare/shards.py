"""Shards: TFRecord files of timelines, one record a user."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from data_pipeline.prepare.ingest import EVENT
from data_pipeline.prepare.timelines import Timelines
from data_pipeline.schema import Group, Schema

# A feature of all users: their values one user after the other, and where each user's start;
# the last bound is where the last user's end.
_Feature = tuple[list[int], list[int]]


def write_shard(
    path: Path,
    timelines: Timelines,
    schema: Schema,
    object_indices: Mapping[str, np.ndarray],
    first_user_index: int,
) -> None:
    """Writes the timelines of a partition, one record a user.

    Args:
        path: The TFRecord file to write.
        timelines: The timelines.
        schema: The schema.
        object_indices: For each group the object index of each object number.
        first_user_index: User index of the first user.

    Example:

    >>> zeros = np.zeros(2, np.int64)
    >>> events = {"user": zeros, "group": zeros, "label": zeros + EVENT, "action": zeros + 1}
    >>> events |= {"object": np.array([0, 1]), "time": np.array([20, 10])}
    >>> timelines = Timelines(np.array([7]), np.array([20]), np.array([20]), events)
    >>> schema = Schema((Group("item"),), ("item",))
    >>> write_shard(tmp / "shard", timelines, schema, {"item": np.array([5, 6])}, 1)
    >>> record = next(iter(tf.data.TFRecordDataset(str(tmp / "shard")).as_numpy_iterator()))
    >>> feature = tf.train.Example.FromString(record).features.feature
    >>> list(feature["item/object"].int64_list.value)  # In the order of time.
    [6, 5]
    """
    features: dict[str, _Feature] = {}
    for group in schema.groups:
        features |= _group_features(timelines, schema, group, object_indices[group.name])
    num_users = len(timelines.users)
    scalars = {
        "user_index": list(range(first_user_index, first_user_index + num_users)),
        "validation_start": timelines.validation_start.tolist(),
        "test_start": timelines.test_start.tolist(),
    }
    with tf.io.TFRecordWriter(str(path)) as writer:
        for user, user_id in enumerate(timelines.users.tolist()):
            record = {"user": _bytes(str(user_id))}
            record |= {name: _integers([values[user]]) for name, values in scalars.items()}
            for name, (values, bounds) in features.items():
                record[name] = _integers(values[bounds[user] : bounds[user + 1]])
            example = tf.train.Example(features=tf.train.Features(feature=record))
            writer.write(example.SerializeToString(deterministic=True))


def _group_features(
    timelines: Timelines, schema: Schema, group: Group, object_indices: np.ndarray
) -> dict[str, _Feature]:
    """The features of one group: its events and, where it has them, its labelled targets."""
    events = timelines.events
    in_group = events["group"] == schema.groups.index(group)
    is_event = events["label"] == EVENT
    num_users = len(timelines.users)
    features = _sorted_features(
        {name: values[in_group & is_event] for name, values in events.items()},
        object_indices,
        {"object": "object", "action": "action", "time": "time"},
        num_users,
    )
    if group.impressions:
        features |= _sorted_features(
            {name: values[in_group & ~is_event] for name, values in events.items()},
            object_indices,
            {
                "object": "candidate",
                "label": "label",
                "time": "candidate_time",
                **{name: name for name in schema.place_columns(group.name)},
            },
            num_users,
        )
    return {f"{group.name}/{name}": feature for name, feature in features.items()}


def _sorted_features(
    events: Mapping[str, np.ndarray],
    object_indices: np.ndarray,
    feature_names: Mapping[str, str],
    num_users: int,
) -> dict[str, _Feature]:
    """Columns of events as features, each user's sorted by time, then object index and action."""
    columns = {**events, "object": object_indices[events["object"]]}
    order = np.lexsort([columns[key] for key in ("action", "object", "time", "user")])
    bounds = np.searchsorted(columns["user"][order], np.arange(num_users + 1)).tolist()
    return {
        name: (columns[column][order].tolist(), bounds) for column, name in feature_names.items()
    }


def _integers(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
