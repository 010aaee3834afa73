"""Examples, compared with plain Python over the logs they came from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema, Vocabulary
from tests.data_pipeline.examples import positive_ids, query_examples, split_starts, window_rows


@pytest.mark.slow
@pytest.mark.parametrize("max_history", [3, 1000])
def test_examples_are_what_the_logs_say(
    data: TimelineData, logs: pd.DataFrame, max_history: int
) -> None:
    splits = split_starts(logs)
    seen = 0
    for split in ("train", "validation", "test"):
        for example in query_examples(data, split, max_history=max_history, seed=1):
            of_user = logs[logs["user"] == example["user"]]
            query_time, (validation, test) = example["query_time"], splits[example["user"]]
            expected_split = (
                "train"
                if query_time < validation
                else "validation"
                if query_time < test
                else "test"
            )
            assert split == expected_split
            for name, events in example["history"].items():
                past = of_user[(of_user["group"] == name) & (of_user["time"] < query_time)]
                assert len(events) == min(max_history, len(past))
                actions = {"buy": 1, "view": 2, "": 1}
                rows = sorted(zip(past["time"], past["object"], strict=True))[-max_history:]
                assert [t for _, _, t in events] == [t for t, _ in rows]
                every = {
                    (o, actions[a], t)
                    for o, a, t in zip(past["object"], past["action"], past["time"], strict=True)
                }
                assert set(events) <= every
            for target in ("item", "query"):
                wanted = of_user[(of_user["group"] == target) & (of_user["time"] == query_time)]
                assert sorted(positive_ids(example, target)) == sorted(wanted["object"])
                seen += len(wanted)
    assert seen == len(logs)


def test_weights_of_targets(data: TimelineData) -> None:
    for inputs, labels, weights in data.batches(
        "train", BatchOptions(target_weights={"query": 0.25})
    ):
        number = [inputs["candidates"][t].flat_values.shape[0] for t in ("item", "query")]
        np.testing.assert_array_equal(weights, np.repeat([1, 0.25], number))
        assert weights.shape == labels.shape


def test_labelled_targets_are_the_candidates(tmp_path: Path) -> None:
    events = pd.DataFrame({"user": [1, 1, 1], "object": [5, 6, 7], "time": [10, 20, 30]})
    events.to_csv(tmp_path / "e.csv", index=False)
    shown = [
        (1, 5, 15, 1),
        (1, 6, 15, 0),
        (1, 7, 15, 0),
        (1, 6, 25, 0),
        (1, 5, 30, 1),
        (2, 5, 9, 1),
        (3, 5, 7, 1),
        (3, 6, 8, 0),
        (3, 5, 9, 1),
    ]
    pd.DataFrame(shown, columns=["user", "object", "time", "label"]).to_csv(
        tmp_path / "shown.csv", index=False
    )
    schema = Schema(
        (Group("item", impressions="shown.csv"),),
        ("item",),
        vocabularies=(Vocabulary("item", min_count=1),),
    )
    prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    data = TimelineData(tmp_path / "out")
    rows = {row["user"]: row for row in window_rows(data)}
    assert rows[1]["events"] == [(10, "item", 5)]
    assert rows[1]["candidates"] == {(15, "item"): [(5, 1.0), (6, 0.0), (7, 0.0)]}
    assert rows[3] == {"user": 3, "events": [], "candidates": {(7, "item"): [(5, 1.0)]}}
    assert set(rows) == {1, 3}
    examples = {
        (m["user"], m["query_time"]): (m["history"]["item"], sorted(m["candidates"]["item"]))
        for split in ("train", "validation", "test")
        for m in query_examples(data, split)
    }
    assert examples == {
        (1, 15): ([(5, 1, 10)], [(5, 1.0), (6, 0.0), (7, 0.0)]),
        (1, 25): ([(5, 1, 10), (6, 1, 20)], [(6, 0.0)]),
        (1, 30): ([(5, 1, 10), (6, 1, 20)], [(5, 1.0)]),
        (2, 9): ([], [(5, 1.0)]),
        (3, 7): ([], [(5, 1.0)]),
        (3, 8): ([], [(6, 0.0)]),
        (3, 9): ([], [(5, 1.0)]),
    }
