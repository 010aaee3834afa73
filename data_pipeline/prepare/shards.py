"""Shards: TFRecord files of timelines, one record a user."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from data_pipeline.prepare.ingest import EVENT
from data_pipeline.prepare.timelines import Timelines
from data_pipeline.schema import Schema


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
        first_user_index: User row of the first user.
    """
    names = [group.name for group in schema.groups]
    labelled = [bool(group.impressions) for group in schema.groups]
    events = timelines.events
    rows = np.empty_like(events["object"])
    for place, name in enumerate(names):
        mine = events["group"] == place
        rows[mine] = object_indices[name][events["object"][mine]]
    num_users = len(timelines.users)
    columns: dict[str, tuple[list[int], list[int]]] = {}
    for place, name in enumerate(names):
        for is_labelled in {False, labelled[place]}:
            mine = (events["group"] == place) & ((events["label"] != EVENT) == is_labelled)
            keys = (events["action"], rows, events["time"], events["user"])
            order = np.lexsort([key[mine] for key in keys])
            user = events["user"][mine][order]
            bounds = np.searchsorted(user, np.arange(num_users + 1)).tolist()
            chosen = {
                "candidate" if is_labelled else "object": rows,
                "label" if is_labelled else "action": events["label" if is_labelled else "action"],
                "candidate_time" if is_labelled else "time": events["time"],
            }
            for key, values in chosen.items():
                columns[f"{name}/{key}"] = (values[mine][order].tolist(), bounds)
    scalars = {
        "user_index": range(first_user_index, first_user_index + num_users),
        "validation_start": timelines.validation_start.tolist(),
        "test_start": timelines.test_start.tolist(),
    }
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i, user_id in enumerate(timelines.users.tolist()):
            feature = {"user": _bytes(str(user_id))}
            feature |= {key: _integers([values[i]]) for key, values in scalars.items()}
            for key, (flat, bounds) in columns.items():
                feature[key] = _integers(flat[bounds[i] : bounds[i + 1]])
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString(deterministic=True))


def _integers(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
