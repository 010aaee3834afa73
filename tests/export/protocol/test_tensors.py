"""Requests as protocol buffers: nothing of them is lost."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.schema import Group, Schema
from export.protocol.request import Request, candidate_inputs, one_candidate_rows
from export.protocol.tensors import inputs_by_signature, predict_request, serialize_examples

HUGE = 2**63 - 1
SCHEMA = Schema(
    (
        Group("item", actions=("buy", "view"), id_type="string"),
        Group("query", id_type="int"),
    ),
    ("item", "query"),
)
FULL = Request(
    HUGE,
    ["é", "a\0", ""],
    {
        "item": [
            {"object": "b", "action": "buy", "time": 0},
            {"object": "unknown", "action": "steal", "time": 9},
        ],
        "query": [{"object": -HUGE, "time": HUGE}],
    },
)


def features(example: bytes) -> dict[str, list[Any]]:
    return {
        name: list(feature.int64_list.value or feature.bytes_list.value)
        for name, feature in tf.train.Example.FromString(example).features.feature.items()
    }


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1, -HUGE, HUGE]]),
        np.zeros((0, 3), np.int64),
        np.array([0.5, np.inf], np.float32),
        np.array(["é".encode(), b"a\0"], object),
        np.zeros((2, 0), object),
    ],
)
def test_a_predict_request_holds_its_inputs(values: np.ndarray) -> None:
    request = predict_request("mine", "encode", {"x": values, "y": np.array([7])})
    assert (request.model_spec.name, request.model_spec.signature_name) == ("mine", "encode")
    assert set(request.inputs) == {"x", "y"}
    received = tf.make_ndarray(request.inputs["x"])
    np.testing.assert_array_equal(received, values)
    assert received.dtype == values.dtype


def test_texts_are_sent_as_utf_8() -> None:
    sent = predict_request("mine", "encode", {"x": np.array([["é", ""]], object)}).inputs["x"]
    assert tf.make_ndarray(sent).tolist() == [["é".encode(), b""]]


def test_each_verb_gets_its_own_inputs() -> None:
    inputs = candidate_inputs([FULL, Request(5, ["b"])], SCHEMA)
    by_verb = inputs_by_signature(inputs, SCHEMA)
    item = {"item_objects", "item_times", "item_actions", "item_length"}
    history = item | {"query_objects", "query_times", "query_length"}
    names = {verb: set(verb_inputs) for verb, verb_inputs in by_verb.items()}
    assert names == {
        "score": {*history, "request_time", "candidate"},
        "score_candidates": {*history, "request_time", "candidates", "num_candidates"},
        "score_examples": {"inputs"},
        "encode": {*history, "request_time"},
        "score_memory": {"request_time", "candidates", "num_candidates"},
        "explain": {*history, "request_time", "candidate"},
    }
    of_candidates = ("score", "score_examples", "explain")
    for verb, verb_inputs in by_verb.items():
        num_rows = 4 if verb in of_candidates else 2
        assert {len(values) for values in verb_inputs.values()} == {num_rows}


def test_an_example_holds_a_row_without_its_padding() -> None:
    rows = one_candidate_rows(candidate_inputs([FULL, Request(5, ["b"])], SCHEMA))
    first, *_, last = serialize_examples(rows, SCHEMA)
    assert features(first) == {
        "candidate": ["é".encode()],
        "request_time": [HUGE],
        "item_objects": [b"b", b"unknown"],
        "item_times": [0, 9],
        "item_actions": [b"buy", b"steal"],
        "query_objects": [-HUGE],
        "query_times": [HUGE],
    }
    nothing = ("item_objects", "item_times", "item_actions", "query_objects", "query_times")
    assert features(last) == {"candidate": [b"b"], "request_time": [5], **{n: [] for n in nothing}}


def test_no_candidate_gives_no_example() -> None:
    rows = one_candidate_rows(candidate_inputs([Request(5, [])], SCHEMA))
    assert serialize_examples(rows, SCHEMA).shape == (0,)


@given(st.lists(st.tuples(st.integers(-HUGE, HUGE), st.lists(st.integers(0, 10**9))), min_size=1))
@settings(max_examples=20, deadline=None)
def test_examples_come_in_the_order_of_the_candidates(users: list[tuple[int, list[int]]]) -> None:
    requests = [
        Request(
            time,
            [candidate],
            {"query": [{"object": candidate, "time": time} for time in times]},
            "query",
        )
        for time, (candidate, times) in enumerate(users, start=10**9)
    ]
    rows = one_candidate_rows(candidate_inputs(requests, SCHEMA))
    found = [features(example) for example in serialize_examples(rows, SCHEMA)]
    assert [(f["candidate"], f["query_times"]) for f in found] == [([c], t) for c, t in users]
