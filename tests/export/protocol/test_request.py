"""Requests as people write them: what is read, and what is reported of those that cannot be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from atrank_tf import UserError
from data_pipeline.dataset import TimelineData
from export.protocol.request import Request, candidate_inputs, one_candidate_rows
from export.score import score_file
from tests.export.inputs import HISTORY, QUERY_TIME, REQUEST


def test_requests_of_different_sizes_are_padded_to_one(data: TimelineData) -> None:
    short = {"time": QUERY_TIME - 1.0, "candidates": [5], "history": {"query": HISTORY["query"]}}
    inputs = candidate_inputs([Request.from_json(r) for r in (REQUEST, short)], data.schema)
    assert inputs["candidates"].tolist() == [[101, 110, 133], [5, 0, 0]]
    assert inputs["num_candidates"].tolist() == [3, 1]
    assert inputs["request_time"].tolist() == [QUERY_TIME, QUERY_TIME - 1]
    assert inputs["item_objects"].tolist() == [[101, 102, 105], [0, 0, 0]]
    assert inputs["item_actions"].tolist() == [["buy", "view", "view"], ["", "", ""]]
    assert inputs["item_length"].tolist() == [3, 0]
    assert inputs["query_objects"].shape == (2, 1)
    rows = one_candidate_rows(inputs)
    assert rows["candidate"].tolist() == [101, 110, 133, 5]
    assert rows["item_length"].tolist() == [3, 3, 3, 0]
    assert rows["item_times"].shape == (4, 3)


def test_histories_may_be_data_frames(data: TimelineData) -> None:
    history = {name: pd.DataFrame(events) for name, events in HISTORY.items()}
    ids = pd.Series(REQUEST["candidates"])
    inputs = candidate_inputs([Request(QUERY_TIME, ids, history)], data.schema)
    expected = candidate_inputs([Request.from_json(REQUEST)], data.schema)
    assert inputs.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(inputs[name], values)


def event(**changes: Any) -> dict[str, Any]:
    return {**REQUEST, "history": {"item": [{"object": 1, "action": "buy", "time": 1, **changes}]}}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("{", "row 1: Expecting property name"),
        ("[1]", "row 1: request: [1]: expected a JSON object"),
        ("[" * 100_000, "row 1: "),
        ({"candidates": [1]}, "request: 'time' is missing"),
        ({"time": 5}, "request: 'candidates' is missing"),
        ({**REQUEST, "user": 5}, "request: key 'user': expected one of candidates, history"),
        ({**REQUEST, "time": "now"}, "time: time 'now': expected a number of 0 or more"),
        ({**REQUEST, "time": -1}, "time: time -1: expected"),
        ({**REQUEST, "time": float("nan")}, "time: time nan: expected"),
        ({**REQUEST, "time": 2**63}, "time: time 9223372036854775808: expected"),
        ({**REQUEST, "target": "user"}, "target 'user': expected one of item, query"),
        ({**REQUEST, "candidates": 5}, "candidates: 5: expected a list of object ids"),
        ({**REQUEST, "candidates": ["a"]}, "candidates: object 'a': expected an integer"),
        ({**REQUEST, "candidates": [True]}, "candidates: object True: expected an integer"),
        ({**REQUEST, "candidates": [2**70]}, "candidates: object id beyond 64 bits"),
        ({**REQUEST, "history": []}, "history: []: expected an object, group by group"),
        ({**REQUEST, "history": {"x": []}}, "history: group 'x': expected one of item, query"),
        ({**REQUEST, "history": {"item": 1}}, "history: item: 1: expected a list of behaviors"),
        ({**REQUEST, "history": {"item": [{}]}}, "history: item: 'object' is missing"),
        (event(price=3), "history: item: key 'price': expected one of action, object, time"),
        (event(action=None), "history: item: None: expected the action as a string"),
        (event(action="\ud800"), "row 1: "),
        (event(time=None), "history: item: time None: expected a number"),
    ],
)
def test_malformed_requests_are_reported(
    saved_model: Path, tmp_path: Path, request_: Any, expected: str
) -> None:
    line = request_ if isinstance(request_, str) else json.dumps(request_)
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(UserError) as caught:
        list(score_file(saved_model, tmp_path / "r.jsonl"))
    assert expected in str(caught.value)
    assert "row 1" in str(caught.value)


@pytest.mark.parametrize(
    ("time", "events", "expected"),
    [
        (
            1_700_000_000,
            [1_699_000_000_000, 1_699_000_001_000],
            "all 2 behaviors are after the request's time 1700000000 .* both in seconds",
        ),
        (1_700_000_000, [1_700_086_401], "all 1 behaviors are after the request's time"),
        (
            1_700_000_000_000,
            [1_699_000_000],
            "the last behavior is at 1699000000, the request at 1700000000000: expected both in s",
        ),
    ],
)
def test_times_of_another_unit_are_told(
    data: TimelineData, time: int, events: list[int], expected: str
) -> None:
    history = {"item": [{"object": 101, "action": "buy", "time": t} for t in events]}
    with pytest.raises(UserError, match=f"history: {expected}"):
        candidate_inputs([Request(time, [101], history)], data.schema)


def test_behaviors_after_the_request_are_left_to_the_graph(data: TimelineData) -> None:
    history = {"item": [{"object": 101, "action": "buy", "time": t} for t in (10, 20)]}
    inputs = candidate_inputs([Request(10, [101], history)], data.schema)
    assert inputs["item_length"].tolist() == [2]
