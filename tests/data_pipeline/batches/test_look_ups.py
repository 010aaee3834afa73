"""Look-ups of batches, compared with a count in plain Python over the logs they came from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_pipeline.batches.look_ups import object_values
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.recurrence import ID, num_columns
from tests.data_pipeline.batches.eager import EagerData
from tests.data_pipeline.repeats import Behavior, ObjectValues, count_repeats

# Less than users did: what is looked up is the whole timeline.
OPTIONS = BatchOptions(max_history=2, max_tokens=100_000)
ACTIONS = {"buy": 1, "view": 2, "": 1}


def values_of(group: str, object_id: int) -> ObjectValues:
    """What `make_logs` says of an object."""
    values: ObjectValues = {ID: [object_id], "category": [f"c{object_id % 5}"]}
    if group == "item":
        tags = ["t1"] * (object_id % 3 == 0) + [f"t{object_id % 4}"] * (object_id % 2)
        values["tag"] = sorted(set(tags))
    return values


def timelines_of(logs: pd.DataFrame) -> dict[int, list[Behavior]]:
    timelines: dict[int, list[Behavior]] = {}
    for event in logs.itertuples():
        behavior = Behavior(
            event.group, values_of(event.group, event.object), ACTIONS[event.action], event.time
        )
        timelines.setdefault(event.user, []).append(behavior)
    return timelines


def check(data: TimelineData, logs: pd.DataFrame, inputs: dict[str, Any], every: int) -> None:
    """Compares candidates of a batch, one of `every`, with the logs."""
    timelines = timelines_of(logs)
    users = pq.read_table(data.directory / "users.parquet")["user"].to_pylist()
    for target in data.schema.target_names:
        table = pq.read_table(data.directory / f"objects/{target}.parquet")["object"].to_pylist()
        first_object = data.schema.target_group(target).num_oov
        candidates, found = inputs["candidates"][target], inputs["recurrence"][target]
        assert found.shape[2] == num_columns(data.schema, target)
        np.testing.assert_array_equal(found.row_splits, candidates.row_splits)
        rows = candidates.value_rowids().numpy()
        numbers = found.flat_values.numpy().tolist()
        if isinstance(inputs["query_time"], dict):
            query_times = inputs["query_time"][target].flat_values.numpy()
        else:
            query_times = inputs["query_time"].numpy()[rows]
        for i, index in enumerate(candidates.flat_values.numpy()):
            if i % every == 0:
                user = users[inputs["user"][rows[i]].numpy() - 1]
                values = values_of(target, table[index - first_object])
                past = timelines[user]
                expected = count_repeats(data.schema, target, values, query_times[i], past)
                assert numbers[i] == expected


@pytest.mark.parametrize(
    ("split", "rows", "every"),
    [("test", "queries", 9), ("train", "queries", 2), ("train", "windows", 2)],
)
def test_batches_tell_of_whole_timelines(
    data_dir: Path, logs: pd.DataFrame, split: str, rows: str, every: int
) -> None:
    data = EagerData(data_dir)
    batches = list(data.batches(split, OPTIONS.replace(rows=rows)))
    assert sum(len(labels) for _, labels in batches) > 100
    for inputs, _ in batches:
        assert inputs["history"]["item"]["object"].row_lengths().numpy().max() < 5
        check(data, logs, inputs, every)


def test_datasets_tell_of_whole_timelines(data: TimelineData, logs: pd.DataFrame) -> None:
    for inputs, _ in data.batches("validation", OPTIONS.replace(num_negatives=2)):
        check(data, logs, inputs, every=1)


def test_batches_without_look_ups_tell_nothing(data_dir: Path) -> None:
    data = EagerData(data_dir)
    with_look_ups, without = (
        [inputs for inputs, _ in data.batches("test", OPTIONS.replace(look_ups=look_ups))]
        for look_ups in (True, False)
    )
    assert [sorted(inputs) for inputs in without] == [
        ["actions", "candidates", "history", "query_time", "user"] for _ in with_look_ups
    ]
    for inputs, others in zip(with_look_ups, without, strict=True):
        for target, candidates in inputs["candidates"].items():
            assert candidates.to_list() == others["candidates"][target].to_list()


def test_unknown_objects_have_no_values(data: TimelineData) -> None:
    values = object_values(data.catalog, data.schema)
    for group in data.schema.groups:
        for field, of_objects in values[group.name].items():
            assert of_objects.shape[0] == group.num_objects
            unknown = of_objects[: group.num_oov]
            if field == "tag":
                assert unknown.row_lengths().numpy().tolist() == [0] * group.num_oov
            else:
                assert unknown.numpy().tolist() == [NO_VALUE] * group.num_oov
