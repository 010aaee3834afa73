"""The client, by both protocols, before a server."""

from typing import Any, Literal

import grpc
import numpy as np
import pytest

from atrank_tf import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.recurrence import in_words
from data_pipeline.version import MINOR_VERSION
from export.client import Client
from export.protocol.errors import ServingError
from export.protocol.request import Request
from export.protocol.tensors import inputs_by_signature
from tests.export.inputs import HISTORY, QUERY_TIME, REQUEST, inputs_of, many_inputs
from tests.servers import Server

Protocol = Literal["grpc", "rest"]


def test_a_client_gets_the_models_scores(client: Client, data: TimelineData, ask: Any) -> None:
    whole = Request.from_json(REQUEST)
    several = [
        whole,
        Request(QUERY_TIME, [3, 4], HISTORY, "query"),
        Request(QUERY_TIME, [110]),
        Request(QUERY_TIME, []),
    ]
    answers = client.score(several)
    expected = ask("score_candidates", many_inputs(REQUEST, data.schema))["score"][0]
    np.testing.assert_allclose(answers[0], expected, atol=1e-6)
    query = {**REQUEST, "candidates": [3, 4], "target": "query"}
    expected = ask("score_candidates__query", many_inputs(query, data.schema))["score"][0]
    np.testing.assert_allclose(answers[1], expected, atol=1e-6)
    nothing = {**REQUEST, "history": {}, "candidates": [110]}
    expected = ask("score_candidates", many_inputs(nothing, data.schema))["score"][0]
    np.testing.assert_allclose(answers[2], expected, atol=1e-6)
    assert [len(scores) for scores in answers] == [3, 2, 1, 0]
    assert client.score([]) == []

    explained = client.explain(whole)
    expected = ask("explain", inputs_of(REQUEST, data.schema))["item_weights"]
    np.testing.assert_allclose([e.weights["item"] for e in explained], expected, atol=1e-6)
    assert [len(e.weights["query"]) for e in explained] == [1, 1, 1]
    numbers = ask("explain", inputs_of(REQUEST, data.schema))["recurrence"]
    habits = [in_words(data.schema, "item", row) for row in numbers.tolist()]
    assert [e.habits for e in explained] == habits
    assert any("id among item: buy 1; last " in line for lines in habits for line in lines)
    assert client.versions() == {1: "AVAILABLE"}


def test_many_requests_are_sent_in_several_calls(
    server: Server, data: TimelineData, client: Client
) -> None:
    requests_ = [Request(QUERY_TIME, [101 + n % 7], HISTORY) for n in range(7)]
    with Client(data.schema, server.grpc, max_rows=3) as small:
        np.testing.assert_allclose(small.score(requests_), client.score(requests_), atol=1e-6)
        many = Request(QUERY_TIME, list(range(101, 108)), HISTORY)
        for part, whole in zip(small.explain(many), client.explain(many), strict=True):
            np.testing.assert_allclose(part.weights["item"], whole.weights["item"], atol=1e-6)
            assert part.habits == whole.habits


def test_a_client_tells_what_is_wrong(client: Client) -> None:
    with pytest.raises(UserError, match="target 'user': expected one of item, query"):
        client.score([Request(QUERY_TIME, [1], {}, "user")])
    with pytest.raises(UserError, match="candidates: object 'a': expected an integer"):
        client.score([Request(QUERY_TIME, ["a"])])
    with pytest.raises(ServingError, match='signature key "no" not found') as caught:
        client.predict("no", {})
    codes = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)  # Both 400.
    assert caught.value.code in codes


def test_a_user_state_of_another_version_is_refused(client: Client, data: TimelineData) -> None:
    by_verb = inputs_by_signature(many_inputs(REQUEST, data.schema), data.schema)
    state = client.predict("encode", by_verb["encode"])
    assert state["memory_version"].tolist() == [MINOR_VERSION]
    scores = client.predict("score_memory", {**by_verb["score_memory"], **state})["score"]
    expected = client.predict("score_candidates", by_verb["score_candidates"])["score"]
    np.testing.assert_allclose(scores, expected, atol=1e-6)

    old = {**state, "memory_version": np.array([MINOR_VERSION - 1])}
    with pytest.raises(ServingError) as caught:
        client.predict("score_memory", {**by_verb["score_memory"], **old})
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.message == (
        "memory_version: the user state was encoded by another version; encode the history again"
    )


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_client_tells_what_is_not_there(
    protocol: Protocol, server: Server, data: TimelineData
) -> None:
    address = getattr(server, protocol)
    for wrong in ({"model": "other"}, {"version": 7}):
        with Client(data.schema, address, protocol=protocol, **wrong) as client:
            with pytest.raises(ServingError, match="not found") as caught:
                client.score([Request(QUERY_TIME, [1])])
            assert caught.value.code == grpc.StatusCode.NOT_FOUND
            with pytest.raises(ServingError, match="Could not find any versions of model"):
                client.versions()
    gone = Client(data.schema, "127.0.0.1:1", protocol=protocol, timeout=0.3, retries=1)
    with pytest.raises(ServingError) as caught:
        gone.score([Request(QUERY_TIME, [1])])
    unreachable = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert caught.value.code in unreachable
