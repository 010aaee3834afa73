"""Timelines: each user's events in order, without duplicates, and where their splits begin."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from data_pipeline.prepare.ingest import EVENT
from data_pipeline.prepare.objects import Objects
from data_pipeline.prepare.rejections import Rejected, Rejections
from data_pipeline.prepare.tables import Source
from data_pipeline.schema import Schema

NEVER = np.iinfo(np.int64).max

# What makes two events the same, and what a partition is sorted by, the last first.
_KEYS = ("time", "object", "action", "label", "group", "user")


@dataclasses.dataclass(frozen=True)
class Timelines:
    """The timelines of one partition.

    Attributes:
        users: Their ids, ascending: int64 or object (str) [users].
        validation_start: From when on a user's targets are for validation: int64 [users].
        test_start: From when on they are for the test: int64 [users].
        events: One entry an event or labelled target: `user` (position in `users`), `group`,
            `label`, `object`, `action`, `time`; where any group has them, `list`, `position`.

    Example:

    >>> events = {"user": np.array([0, 0, 1]), "time": np.array([10, 20, 10])}
    >>> timelines = Timelines(np.array([70, 80]), np.array([20, 20]), np.array([30, 30]), events)
    >>> timelines.users[events["user"]].tolist()
    [70, 70, 80]
    """

    users: np.ndarray
    validation_start: np.ndarray
    test_start: np.ndarray
    events: dict[str, np.ndarray]


def build(
    columns: dict[str, np.ndarray],
    schema: Schema,
    sources: Sequence[Source],
    rejections: Rejections,
) -> tuple[Timelines, int]:
    """Gathers the events of a partition by user.

    Args:
        columns: What `Ingest.read` put into the partition.
        schema: The schema, its split in the schema's time unit.
        sources: The files that the log rows came from.
        rejections: What takes note of duplicates, where the schema wants none.

    Returns:
        The timelines, and how many duplicates were merged.

    Example:

    >>> zeros = np.zeros(3, np.int64)
    >>> columns = {"user": np.array([8, 7, 8]), "time": np.array([20, 10, 10])}
    >>> columns |= {"label": zeros + EVENT, **dict.fromkeys(("object", "action", "group"), zeros)}
    >>> columns |= {"file": zeros, "row": np.array([1, 2, 3])}
    >>> schema = Schema((Group("item"),), ("item",))
    >>> sources, rejections = [Source("events.csv", Columns())], Rejections(tmp, skip=True)
    >>> timelines, num_merged = build(columns, schema, sources, rejections)
    >>> timelines.users.tolist(), timelines.events["time"].tolist(), num_merged
    ([7, 8], [10, 10, 20], 0)
    """
    positions, users = pd.factorize(columns["user"], sort=True)
    columns = {**columns, "user": positions}
    # Of one candidate the log rows stand together, whatever their labels.
    keys = {**columns, "label": columns["label"] == EVENT}
    # Of those that are merged the first is one that was taken, the highest in its list: whatever
    # the order of the log rows.
    places = [columns[name] for name in ("list", "position") if name in columns]
    first = [] if schema.duplicates == "fail" else [*places, -columns["label"]]
    order = np.lexsort([keys["row"], keys["file"], *first, *(keys[key] for key in _KEYS)])
    columns = {name: values[order] for name, values in columns.items()}
    is_repeat = _is_repeat(columns)
    if schema.duplicates == "fail":
        for file in columns["file"][is_repeat].tolist():
            sources[file].kept -= 1
        rejections.add(
            _duplicate(columns, i, users, sources)
            for i in _in_order_of_files(columns, np.flatnonzero(is_repeat))
        )
    elif schema.duplicates == "keep":  # A candidate is shown once at a time, all the same.
        is_repeat &= columns["label"] != EVENT
    columns["label"] = _merged_labels(columns["label"], is_repeat)
    kept = [*_KEYS, *(name for name in ("list", "position") if name in columns)]
    events = {name: columns[name][~is_repeat] for name in kept}
    bounds = _split_bounds(events, np.asarray(users), schema)
    num_merged = 0 if schema.duplicates == "fail" else int(is_repeat.sum())
    return Timelines(np.asarray(users), *bounds, events), num_merged


def _duplicate(
    columns: Mapping[str, np.ndarray], i: int, users: np.ndarray, sources: Sequence[Source]
) -> Rejected:
    source = sources[columns["file"][i]]
    return Rejected(
        file=source.file,
        row=int(columns["row"][i]),
        column=source.columns.object,
        value=f"user {users[columns['user'][i]]!s}, time {columns['time'][i]}: a duplicate",
        expected="each event once",
        reason="duplicate",
    )


def _merged_labels(labels: np.ndarray, is_repeat: np.ndarray) -> np.ndarray:
    """Labels of a sorted partition; the first of equal targets has what any of them has."""
    number = np.cumsum(~is_repeat) - 1
    merged = labels[~is_repeat].copy()
    np.bitwise_or.at(merged, number[is_repeat], labels[is_repeat])
    return np.where(is_repeat, labels, merged[number])


def is_training(timelines: Timelines) -> np.ndarray:
    """Returns which entries lie in their user's training period: bool [entries].

    Example:

    >>> events = {"user": np.array([0, 0]), "time": np.array([10, 20])}
    >>> is_training(Timelines(np.array([7]), np.array([20]), np.array([30]), events)).tolist()
    [True, False]
    """
    events = timelines.events
    return events["time"] < timelines.validation_start[events["user"]]


def count_objects(timelines: Timelines, schema: Schema, objects: Mapping[str, Objects]) -> None:
    """Counts the occurrences of every object of a partition.

    Args:
        timelines: The timelines of the partition.
        schema: The schema.
        objects: The objects of each group; they take the counts.

    Example:

    >>> schema = Schema((Group("item", id_type="int"),), ("item",))
    >>> items = Objects(schema.groups[0], None, Rejections(tmp, skip=False))
    >>> events = {"user": np.array([0, 0]), "time": np.array([10, 20]), "group": np.array([0, 0])}
    >>> events |= {"object": items.numbers(np.array([5, 6])), "label": np.array([EVENT, EVENT])}
    >>> events |= {"action": np.array([1, 1])}
    >>> timelines = Timelines(np.array([7]), np.array([20]), np.array([30]), events)
    >>> count_objects(timelines, schema, {"item": items})
    >>> items.train_counts.tolist(), items.num_logged
    ([1, 0], 2)
    """
    events = timelines.events
    in_training = is_training(timelines)
    for position, group in enumerate(schema.groups):
        in_group = events["group"] == position
        is_taken = events["label"][in_group] != 0
        positives = {
            name: is_positive(events, schema, name)[in_group]
            for name in schema.target_names
            if schema.target(name).group == group.name
        }
        objects[group.name].count(
            events["object"][in_group], in_training[in_group], is_taken, positives
        )


def is_target(events: dict[str, np.ndarray], schema: Schema, target: str = "") -> np.ndarray:
    """Returns which entries are targets: bool [entries].

    Args:
        events: The events of timelines.
        schema: The schema: a group with labelled targets has no others.
        target: Which target; "" for any.

    Example:

    >>> schema = Schema((Group("item"), Group("query")), targets=("item",))
    >>> events = {"group": np.array([0, 1]), "label": np.array([EVENT, EVENT])}
    >>> is_target(events, schema).tolist()
    [True, False]
    """
    is_labelled = events["label"] != EVENT
    are_targets = np.zeros(len(events["group"]), bool)
    positions = {group.name: i for i, group in enumerate(schema.groups)}
    for name in [target] if target else schema.target_names:
        group, actions = schema.target_group(name), schema.target(name).actions
        of_target = events["group"] == positions[group.name]
        of_target &= is_labelled == bool(group.impressions)
        if actions:
            of_target &= np.isin(events["action"], [1 + group.actions.index(a) for a in actions])
        are_targets |= of_target
    return are_targets


def is_positive(events: dict[str, np.ndarray], schema: Schema, target: str) -> np.ndarray:
    """Returns which entries are positives of a target: bool [entries].

    Args:
        events: The events of timelines.
        schema: The schema.
        target: The target: of logged candidates those with its label.

    Example:

    >>> schema = Schema((Group("item", impressions="shown.csv"),), targets=("item",))
    >>> events = {"group": np.array([0, 0, 0]), "label": np.array([EVENT, 0, 1])}
    >>> is_positive(events, schema, "item").tolist()
    [False, False, True]
    """
    group = schema.target_group(target)
    are_targets = is_target(events, schema, target)
    if not group.impressions:
        return are_targets
    bit = schema.label_columns(group.name).index(schema.target(target).label)
    return are_targets & ((events["label"] >> bit) % 2 == 1)


def is_repeat(events: Mapping[str, np.ndarray], among: np.ndarray) -> np.ndarray:
    """Returns which entries act on an object that their user had touched strictly before.

    Args:
        events: The events of timelines.
        among: Which of them count, bool [entries].

    Example:

    >>> events = {"user": np.array([0, 0, 0]), "object": np.array([5, 5, 6])}
    >>> events["time"] = np.array([10, 20, 20])
    >>> is_repeat(events, np.ones(3, bool)).tolist()
    [False, True, False]
    """
    touched = pd.DataFrame({name: events[name][among] for name in ("user", "object", "time")})
    first = touched.groupby(["user", "object"])["time"].transform("min")
    repeats = np.zeros(len(among), bool)
    repeats[among] = (touched["time"] > first).to_numpy()
    return repeats


def _is_repeat(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which entries of a sorted partition are the same as the one before: bool [entries]."""
    is_repeat = np.ones(len(columns["user"]), bool)
    is_repeat[:1] = False
    for key in _KEYS:
        # The same candidate twice is one target, whatever its labels.
        values = columns[key] == EVENT if key == "label" else columns[key]
        is_repeat[1:] &= values[1:] == values[:-1]
    return is_repeat


def _in_order_of_files(columns: Mapping[str, np.ndarray], positions: np.ndarray) -> list[int]:
    """Positions in a partition, in the order in which their log rows were read."""
    order = np.lexsort((columns["row"][positions], columns["file"][positions]))
    return positions[order].tolist()


def _split_bounds(
    events: dict[str, np.ndarray], users: np.ndarray, schema: Schema
) -> tuple[np.ndarray, np.ndarray]:
    """The `validation_start` and the `test_start` of each user."""
    split = schema.split
    if split.kind == "time":
        return (
            np.full(len(users), split.validation_start, np.int64),
            np.full(len(users), split.test_start, np.int64),
        )
    are_targets = is_target(events, schema)
    queries = pd.DataFrame(
        {"user": events["user"][are_targets], "time": events["time"][are_targets]}
    )
    queries = queries.drop_duplicates().sort_values(["user", "time"])
    query_users, query_times = queries["user"].to_numpy(), queries["time"].to_numpy()
    starts = np.searchsorted(query_users, np.arange(len(users)))
    ends = np.searchsorted(query_users, np.arange(len(users)), side="right")
    has_any = ends > starts
    test_start = np.full(len(users), NEVER)
    test_start[has_any] = query_times[ends[has_any] - 1]
    share = pd.util.hash_array(users, hash_key="validation-users") / 2.0**64
    is_validated = (ends - starts >= 3) & (share < split.validation_users)
    validation_start = test_start.copy()
    validation_start[is_validated] = query_times[ends[is_validated] - 2]
    return validation_start, test_start
