"""Timelines: each user's events in order, without duplicates, and where his splits begin."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from data_pipeline.prepare.ingest import EVENT
from data_pipeline.prepare.objects import Objects
from data_pipeline.prepare.rejections import Rejected, Rejections
from data_pipeline.schema import Columns, Schema, Split

NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Timelines:
    """The timelines of one partition.

    Attributes:
        users: Their ids, ascending: int64 or object (str) [users].
        validation_start: From when on a user's targets are for validation: int64 [users].
        test_start: From when on they are for the test: int64 [users].
        events: One entry an event or labelled target: `user` (place in `users`), `group`,
            `label`, `object`, `action`, `time`.
    """

    users: np.ndarray
    validation_start: np.ndarray
    test_start: np.ndarray
    events: dict[str, np.ndarray]


def build(
    columns: dict[str, np.ndarray],
    schema: Schema,
    files: list[tuple[str, Columns]],
    rejections: Rejections,
) -> Timelines:
    """Gathers the events of a partition by user.

    Args:
        columns: What `Ingest.read` put into the partition.
        schema: The schema, its split in the schema's time unit.
        files: The files that the rows came from.
        rejections: What takes note of duplicates.

    Returns:
        The timelines.
    """
    user, users = pd.factorize(columns["user"], sort=True)
    columns = {**columns, "user": user}
    keys = ("time", "object", "action", "label", "group", "user")
    order = np.lexsort([columns[key] for key in ("row", "file", *keys)])
    columns = {name: values[order] for name, values in columns.items()}
    is_repeat = np.ones(len(user), bool)
    is_repeat[:1] = False
    for key in keys:
        if key == "label":  # The same candidate twice is one target, whatever its labels.
            same = (columns[key][1:] == EVENT) == (columns[key][:-1] == EVENT)
        else:
            same = columns[key][1:] == columns[key][:-1]
        is_repeat[1:] &= same
    repeats = np.flatnonzero(is_repeat)
    repeats = repeats[np.lexsort((columns["row"][repeats], columns["file"][repeats]))]
    rejections.add(
        Rejected(
            file=files[columns["file"][i]][0],
            row=int(columns["row"][i]),
            column=files[columns["file"][i]][1].object,
            value=f"user {users[columns['user'][i]]!s}, time {columns['time'][i]}: a duplicate",
            expected="each event once",
            reason="duplicate",
        )
        for i in repeats.tolist()
    )
    events = {name: columns[name][~is_repeat] for name in keys}
    return Timelines(np.asarray(users), *_split_bounds(events, np.asarray(users), schema), events)


def is_training(timelines: Timelines) -> np.ndarray:
    """Returns which entries lie in their user's training period: bool [entries]."""
    events = timelines.events
    return events["time"] < timelines.validation_start[events["user"]]


def count_objects(timelines: Timelines, schema: Schema, objects: Mapping[str, Objects]) -> None:
    """Counts the occurrences of every object of a partition."""
    training = is_training(timelines)
    events = timelines.events
    for place, group in enumerate(schema.groups):
        mine = events["group"] == place
        is_taken = events["label"][mine] != 0
        objects[group.name].count(events["object"][mine], training[mine], is_taken)


def is_target(events: dict[str, np.ndarray], schema: Schema) -> np.ndarray:
    """Returns which entries are targets: bool [entries]."""
    wanted = np.zeros(len(events["group"]), bool)
    for place, group in enumerate(schema.groups):
        if group.name in schema.targets:
            is_labelled = events["label"] != EVENT
            wanted |= (events["group"] == place) & (is_labelled == bool(group.impressions))
    return wanted


def _split_bounds(
    events: dict[str, np.ndarray], users: np.ndarray, schema: Schema
) -> tuple[np.ndarray, np.ndarray]:
    split: Split = schema.split
    if split.kind == "time":
        constants = (split.validation_start, split.test_start)
        return tuple(np.full(len(users), value, np.int64) for value in constants)  # type: ignore[return-value]
    wanted = is_target(events, schema)
    moments = pd.DataFrame({"user": events["user"][wanted], "time": events["time"][wanted]})
    moments = moments.drop_duplicates().sort_values(["user", "time"])
    user, time = moments["user"].to_numpy(), moments["time"].to_numpy()
    starts = np.searchsorted(user, np.arange(len(users)))
    ends = np.searchsorted(user, np.arange(len(users)), side="right")
    test_start = np.full(len(users), NEVER)
    has_any = ends > starts
    test_start[has_any] = time[ends[has_any] - 1]
    share = pd.util.hash_array(users, hash_key="validation-users") / 2.0**64
    validated = (ends - starts >= 3) & (share < split.validation_users)
    validation_start = test_start.copy()
    validation_start[validated] = time[ends[validated] - 2]
    return validation_start, test_start
