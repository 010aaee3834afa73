"""Graphs of pipelines: what shares one, and that each dataset keeps its own records."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from atrank_tf.train.settings import Settings
from data_pipeline.batches.options import BatchOptions
from data_pipeline.batches.traced import traced
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from tests.data_pipeline.examples import positive_ids, query_examples


@pytest.fixture(scope="module")
def options(data: TimelineData) -> BatchOptions:
    return BatchOptions().resolved("test", data.schema.target_names)


def test_what_is_cut_alike_shares_a_graph(data: TimelineData, options: BatchOptions) -> None:
    graphs = traced(data.schema, "test", options)
    assert traced(Schema.load(data.directory), "test", options.replace()) is graphs
    for seed in (1, 2):  # A run's other settings are none of a batch's.
        run = Settings(seed=seed, **options.to_dict())
        assert traced(data.schema, "test", run) is graphs


def test_what_is_cut_otherwise_has_a_graph_of_its_own(
    data: TimelineData, options: BatchOptions
) -> None:
    graphs = traced(data.schema, "test", options)
    assert traced(data.schema, "validation", options) is not graphs
    assert traced(data.schema, "test", options.replace(max_history=7)) is not graphs
    assert traced(dataclasses.replace(data.schema, num_users=9), "test", options) is not graphs


def test_data_sets_of_one_schema_keep_their_own_records(tmp_path: Path) -> None:
    schemas, last_objects = [], []
    for name, objects in (("one", [1, 2, 3]), ("other", [3, 2, 1])):
        path = tmp_path / name
        path.mkdir()
        events = pd.DataFrame({"user": 1, "object": objects, "time": [1, 2, 3]})
        events.to_csv(path / "e.csv", index=False)
        prepare(Schema((Group("item"),), ("item",)), path / "data", [str(path / "e.csv")])
        data = TimelineData(path / "data")
        (example,) = query_examples(data, "test")
        schemas.append(data.schema)
        last_objects.append(positive_ids(example))
    assert schemas[0] == schemas[1]
    assert last_objects == [[3], [1]]
