"""Slices: what each is of, and what to mind."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from atrank_tf.evaluate import slices
from atrank_tf.evaluate.ranking_metrics import Positives
from data_pipeline.dataset import TimelineData
from data_pipeline.schema import Group, Schema

HOUR = 3600


def positives(**facts: list[int] | list[bool]) -> Positives:
    known = {name: np.array(values) for name, values in facts.items()}
    return Positives(np.arange(len(next(iter(known.values())))), {}, known)


def test_facts_are_what_the_batch_says(data: TimelineData) -> None:
    for inputs, labels in data.batches("test"):
        known = slices.facts(inputs, "item", data.schema)
        objects = inputs["candidates"]["item"]
        rows = objects.value_rowids().numpy()
        is_positive = labels.numpy()[: len(rows)] > 0
        assert ((known["action"] > 0) == is_positive).all()
        for i in np.flatnonzero(is_positive)[:20]:
            of_row = {g: {n: c[rows[i]].numpy() for n, c in columns.items()}
                      for g, columns in inputs["history"].items()}  # fmt: skip
            times = np.concatenate([columns["time"] for columns in of_row.values()])
            query_time = int(inputs["query_time"][rows[i]])
            assert known["time"][i] == query_time
            assert known["history"][i] == len(times)
            assert known["since"][i] == (query_time - times.max() if len(times) else -1)
            # Histories are as long as all that was done here.
            assert known["is_repeat"][i] == (known["object"][i] in of_row["item"]["object"])


def test_kinds_are_those_that_some_but_not_all_are_of() -> None:
    some = positives(is_repeat=[True, False, False], history=[3, 0, 1])
    masks = {kind: mask.tolist() for kind, mask in slices.kinds(some).items()}
    assert masks == {
        "repeat": [True, False, False],
        "new": [False, True, True],
        "no history": [False, True, False],
    }
    assert slices.kinds(positives(is_repeat=[False, False], history=[3, 1])) == {}
    assert slices.kinds(positives(is_repeat=[True], history=[0])) == {}


@pytest.mark.parametrize(("unit", "second"), [("s", 1), ("ms", 1000)])
def test_hours_and_histories(unit: str, second: int) -> None:
    schema = Schema((Group("item"),), ("item",), time_unit=unit)
    times = [0, HOUR * second - 1, HOUR * second, 49 * HOUR * second]
    some = positives(time=times, history=[0, 9, 10, 5000], action=[1, 1, 0, 1])
    data = cast(TimelineData, SimpleNamespace(schema=schema))  # Of no feature more is read.
    masks = slices.slices("hour", some, "item", data)
    assert {hour: mask.tolist() for hour, mask in masks.items()} == {
        "00": [True, True, False, False],
        "01": [False, False, True, True],
    }
    masks = slices.slices("history", some, "item", data)
    assert list(masks) == ["0", "1 to 9", "10 to 99", "1000 or more"]
    assert [mask.argmax() for mask in masks.values()] == [0, 1, 2, 3]
    assert list(slices.slices("action", some, "item", data)) == ["(unknown)", "(only one)"]


def test_what_to_mind_is_said_from_one_percent_on() -> None:
    day = 24 * HOUR
    schema = Schema((Group("item"),), ("item",))
    apart = positives(time=[10 * day] * 200, since=[day] * 199 + [10])
    assert slices.cautions(apart, "item", schema, last_trained=9 * day) == []
    (same_day,) = slices.cautions(
        positives(time=[10 * day + 20] * 2, since=[10, 21]), "item", schema, 0
    )
    assert same_day.startswith("item: 50% of the targets are of the same day as the newest ")
    (early,) = slices.cautions(positives(time=[8 * day], since=[-1]), "item", schema, 9 * day)
    assert early.startswith("item: 100% of the targets lie before the last training target")
    together = Positives(np.array([3, 3, 4]), {}, apart.subset(np.arange(200) < 3).facts)
    (many,) = slices.cautions(together, "item", schema, 0)
    assert many.startswith("item: 67% of the targets were taken together with others at one time")
    none = positives(time=[], since=[])
    assert slices.cautions(none, "item", schema, 0) == []
