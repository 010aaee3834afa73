"""JSON as TensorFlow Serving has it: rows, columns, examples, and every mistake in them."""

from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc, regression_pb2

from data_pipeline.dataset import TimelineData
from tests.export.inputs import QUERY_TIME, REQUEST, example, inputs_of
from tests.export.serve.rest import post, rows_of
from tests.servers import Server

SCORE_EXAMPLES = {"signature_name": "score_examples"}


def test_rest_takes_rows_and_columns(server: Server, data: TimelineData, ask: Any) -> None:
    inputs = inputs_of(REQUEST, data.schema)
    expected = ask("serving_default", inputs)
    status, answer = post(server, {"instances": rows_of(data)})
    assert status == 200
    assert [set(row) for row in answer["predictions"]] == [{"score", "logit"}] * 3
    np.testing.assert_allclose(
        [row["score"] for row in answer["predictions"]], expected["score"], atol=1e-6
    )
    columns = {name: values.tolist() for name, values in inputs.items()}
    for path in ("atrank:predict", "atrank/versions/1:predict", "ATRANK:predict"):
        status, answer = post(server, {"inputs": columns}, path)
        if path.startswith("ATRANK"):
            assert status == 404  # Paths ignore case, names do not.
            continue
        assert status == 200
        np.testing.assert_allclose(answer["outputs"]["logit"], expected["logit"], atol=1e-6)


def test_regressions_take_examples(server: Server, ask: Any) -> None:
    features = {"candidate": 110, "request_time": QUERY_TIME, "item_objects": [101, 102]}
    context = {"item_times": [QUERY_TIME - 9, QUERY_TIME - 5], "item_actions": ["buy", "view"]}
    serialized = [example(**{k: v if isinstance(v, list) else [v] for k, v in both.items()})
                  for both in ({**context, **features}, {**context, "candidate": 5})]  # fmt: skip
    expected = ask("score_examples", {"inputs": np.array(serialized, object)})["outputs"]
    body = {
        "signature_name": "score_examples",
        "context": context,
        "examples": [features, {"candidate": [5]}],
    }
    status, answer = post(server, body, "atrank:regress")
    assert status == 200, answer
    np.testing.assert_allclose(answer["results"], expected, atol=1e-6)

    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "atrank"
    request.model_spec.signature_name = "score_examples"
    for text in serialized:
        request.input.example_list.examples.add().ParseFromString(text)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Regress(request)
        values = [regression.value for regression in response.result.regressions]
        np.testing.assert_allclose(values, expected, atol=1e-6)
        assert response.model_spec.version.value == 1
        request.model_spec.signature_name = ""
        with pytest.raises(grpc.RpcError, match="takes no examples; ask score_examples"):
            stub.Regress(request)
    body["examples"][1] = {"candidate": True, "request_time": [True, False]}  # 1, and 0.
    assert post(server, body, "atrank:regress")[0] == 200


@pytest.mark.parametrize(
    ("body", "path", "status", "expected"),
    [
        (b"{", "atrank:predict", 400, "JSON Parse error"),
        (b"[" * 100_000, "atrank:predict", 400, "JSON Parse error"),
        (b"\xff", "atrank:predict", 400, "JSON Parse error"),
        ([1], "atrank:predict", 400, "not an object"),
        ({"signature_name": 5}, "atrank:predict", 400, "must be a string"),
        ({}, "atrank:predict", 400, "expected one of the keys 'inputs' and 'instances'"),
        ({"inputs": {}, "instances": []}, "atrank:predict", 400, "expected one of the keys"),
        ({"inputs": [1]}, "atrank:predict", 400, "the signature has several inputs"),
        ({"inputs": {}}, "atrank:predict", 400, "Missing named input: "),
        ({"instances": []}, "atrank:predict", 400, "a list of at least one"),
        ({"instances": [{"candidate": 1}]}, "atrank:predict", 400, "keys must be equal to: cand"),
        ({"instances": [1]}, "atrank:predict", 400, "the signature has several inputs"),
        ({"instances": 1}, "atrank:regress", 400, "expected the key 'examples'"),
        ({"examples": [1]}, "atrank:regress", 400, "Example must be a JSON object"),
        ({"examples": [{}]}, "atrank:regress", 400, "takes no examples; ask score_examples"),
        ({"examples": [{"x": [1, "a"]}]}, "atrank:regress", 400, "is not of type string"),
        ({}, "other:predict", 404, "Servable not found for request: Latest(other)"),
        ({}, "atrank/versions/9:predict", 404, "not found for request: Specific(atrank, 9)"),
        ({}, f"atrank/versions/{2**64}:predict", 400, "Failed to convert version"),
        ({}, f"atrank/versions/{'9' * 5000}:predict", 400, "Malformed request"),
        (
            {"examples": [{"candidate": 1e300}], **SCORE_EXAMPLES},
            "atrank:regress",
            400,
            "Feature: candidate: a number is beyond float32",
        ),
        (
            {"examples": [{"candidate": 1.5}], **SCORE_EXAMPLES},
            "atrank:regress",
            400,
            "Data types don't match",
        ),
        ({"examples": [{"\ud800": 1}], **SCORE_EXAMPLES}, "atrank:regress", 400, "valid Unicode"),
        ({}, "atrank:classify", 400, "Malformed request: POST /v1/models/atrank:classify"),
        (b" " * (2 << 20), "atrank:predict", 413, "exceeded"),
    ],
)
def test_what_rest_answers_to_mistakes(
    server: Server, body: Any, path: str, status: int, expected: str
) -> None:
    answer = post(server, body, path)
    assert answer[0] == status
    assert expected in answer[1]["error"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"candidate": "a"}, "input candidate: 'a' is not of type int64"),
        ({"candidate": 1.5}, "input candidate: '1.5' is not of type int64"),
        ({"candidate": True}, "input candidate: 'True' is not of type int64"),
        ({"candidate": 2**70}, "input candidate: a number is beyond int64"),
        ({"candidate": [1]}, "input candidate is of shape"),
        ({"item_objects": [1, [2]]}, "input item_objects: "),
        ({"item_actions": ["buy", 5, "buy"]}, "input item_actions: '5' is not of type string"),
        ({"item_actions": ["buy", {"b64": "?"}, "buy"]}, "unable to base64 decode"),
        ({"item_actions": ["buy", "\ud800", "buy"]}, "is not valid Unicode"),
    ],
)
def test_what_rest_says_of_values(
    server: Server, data: TimelineData, change: dict[str, Any], expected: str
) -> None:
    status, answer = post(server, {"instances": [{**rows_of(data)[0], **change}]})
    assert status == 400
    assert expected in answer["error"]


def test_bytes_come_as_base64(server: Server, data: TimelineData) -> None:
    row = rows_of(data)[0]
    broken = {**row, "item_actions": [{"b64": "\u00e9"}, "view", "view"]}
    assert post(server, {"instances": [broken]})[0] == 400
    encoded = {**row, "item_actions": [{"b64": "YnV5"}, "view", "view"]}
    assert post(server, {"instances": [row]}) == post(server, {"instances": [encoded]})


@pytest.mark.parametrize("depth", [9, 100, 900])
def test_values_nested_too_deep_are_the_requests_fault(
    server: Server, data: TimelineData, depth: int
) -> None:
    lists: Any = 1
    objects: Any = {"b65": 1}
    for _ in range(depth):
        lists, objects = [lists], {"x": objects}
    columns = {n: v.tolist() for n, v in inputs_of(REQUEST, data.schema).items()}
    for value in (lists, objects, [objects]):
        status, answer = post(server, {"inputs": {**columns, "candidate": value}})
        assert status == 400, answer
        status, answer = post(
            server, SCORE_EXAMPLES | {"examples": [{"a": value}]}, "atrank:regress"
        )
        assert status == 400, answer
