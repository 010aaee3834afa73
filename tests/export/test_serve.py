"""The endpoint, as processes ask it: over real sockets, by both protocols."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from aiohttp.test_utils import TestClient, TestServer
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from atrank_tf import Schema, UserError
from benchmarks.serving_soak import Server, send_malformed, soak
from data_pipeline.dataset import TimelineData
from export.client import Client
from export.protocol.errors import ServingError, print_line
from export.protocol.request import Request
from export.protocol.tensors import predict_request
from export.serve import model_watcher, rest_service
from export.serve import server as serve
from export.serve.backend import Backend
from export.serve.model_watcher import ModelWatcher
from export.smoke import smoke
from tests.export.conftest import HISTORY, QUERY_TIME, REQUEST, example, inputs_of, many_inputs

Command = Callable[..., subprocess.CompletedProcess[str]]
Protocol = Literal["grpc", "rest"]


@pytest.fixture(scope="module")
def base(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("served") / "atrank"
    base.mkdir()
    (base / "1").symlink_to(saved_model)
    return base


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    server = Server(base, "--poll_seconds=0.2", "--max_request_mb=1")
    yield server
    server.process.kill()


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, server: Server, saved_model: Path) -> Iterator[Client]:
    address = getattr(server, request.param)
    schema = Schema.load(saved_model / "assets.extra")
    with Client(schema, address, protocol=request.param, timeout=30.0) as client:
        yield client


def test_a_client_gets_the_models_scores(client: Client, data: TimelineData, ask: Any) -> None:
    whole = Request.from_json(REQUEST)
    several = [
        whole,
        Request(QUERY_TIME, [3, 4], HISTORY, "query"),
        Request(QUERY_TIME, [110]),
        Request(QUERY_TIME, []),
    ]
    found = client.score(several)
    expected = ask("score_candidates", many_inputs(REQUEST, data.schema))["score"][0]
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    query = {**REQUEST, "candidates": [3, 4], "target": "query"}
    expected = ask("score_candidates__query", many_inputs(query, data.schema))["score"][0]
    np.testing.assert_allclose(found[1], expected, atol=1e-6)
    nothing = {**REQUEST, "history": {}, "candidates": [110]}
    expected = ask("score_candidates", many_inputs(nothing, data.schema))["score"][0]
    np.testing.assert_allclose(found[2], expected, atol=1e-6)
    assert [len(scores) for scores in found] == [3, 2, 1, 0]
    assert client.score([]) == []

    explained = client.explain(whole)
    expected = ask("explain", inputs_of(REQUEST, data.schema))["item_weights"]
    np.testing.assert_allclose([e["item"] for e in explained], expected, atol=1e-6)
    assert [len(e["query"]) for e in explained] == [1, 1, 1]
    assert client.versions() == {1: "AVAILABLE"}


def test_many_requests_are_sent_in_several_calls(
    server: Server, data: TimelineData, client: Client
) -> None:
    requests_ = [Request(QUERY_TIME, [101 + n % 7], HISTORY) for n in range(7)]
    with Client(data.schema, server.grpc, max_rows=3) as small:
        np.testing.assert_allclose(small.score(requests_), client.score(requests_), atol=1e-6)
        many = Request(QUERY_TIME, list(range(101, 108)), HISTORY)
        for mine, whole in zip(small.explain(many), client.explain(many), strict=True):
            np.testing.assert_allclose(mine["item"], whole["item"], atol=1e-6)


def test_a_client_tells_what_is_wrong(client: Client) -> None:
    with pytest.raises(UserError, match="target 'user': expected one of item, query"):
        client.score([Request(QUERY_TIME, [1], {}, "user")])
    with pytest.raises(UserError, match="candidates: object 'a': expected an integer"):
        client.score([Request(QUERY_TIME, ["a"])])
    with pytest.raises(ServingError, match='signature key "no" not found') as caught:
        client.predict("no", {})
    codes = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)  # Both 400.
    assert caught.value.code in codes


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


SCORE_EXAMPLES = {"signature_name": "score_examples"}


def post(server: Server, body: Any, path: str = "atrank:predict") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body)
    response = requests.post(f"http://{server.rest}/v1/models/{path}", data=data, timeout=30)
    assert response.headers["Content-Type"].startswith("application/json")
    return response.status_code, response.json()


def rows_of(data: TimelineData) -> list[dict[str, Any]]:
    columns = {name: values.tolist() for name, values in inputs_of(REQUEST, data.schema).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


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
    for one in serialized:
        request.input.example_list.examples.add().ParseFromString(one)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Regress(request)
        found = [regression.value for regression in response.result.regressions]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert response.model_spec.version.value == 1
        request.model_spec.signature_name = ""
        with pytest.raises(grpc.RpcError, match="takes no examples; ask score_examples"):
            stub.Regress(request)
    body["examples"][1] = {"candidate": True, "request_time": [True, False]}  # 1, and 0.
    assert post(server, body, "atrank:regress")[0] == 200


def test_what_grpc_answers_to_mistakes(server: Server, data: TimelineData) -> None:
    request = predict_request("atrank", "", inputs_of(REQUEST, data.schema))
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert stub.Predict(request).model_spec.signature_name == "serving_default"

        def refused(call: Callable[..., Any], asked: Any) -> grpc.StatusCode:
            with pytest.raises(grpc.RpcError) as caught:
                call(asked)
            return caught.value.code()

        request.output_filter.extend(["score", "score"])
        assert refused(stub.Predict, request) == grpc.StatusCode.INVALID_ARGUMENT
        del request.output_filter[:]
        request.model_spec.version_label = "stable"
        assert refused(stub.Predict, request) == grpc.StatusCode.INVALID_ARGUMENT
        status = get_model_status_pb2.GetModelStatusRequest(model_spec=request.model_spec)
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        assert refused(models.GetModelStatus, status) == grpc.StatusCode.INVALID_ARGUMENT
        # A value may stand for a tensor that is larger than any request.
        wide = predict_request("atrank", "", inputs_of(REQUEST, data.schema))
        wide.inputs["candidate"].CopyFrom(tf.make_tensor_proto([1], tf.int64))
        wide.inputs["candidate"].tensor_shape.dim[0].size = 200_000
        assert refused(stub.Predict, wide) == grpc.StatusCode.INVALID_ARGUMENT
        classify = classification_pb2.ClassificationRequest(model_spec=wide.model_spec)
        assert refused(stub.Classify, classify) == grpc.StatusCode.UNIMPLEMENTED
        several = inference_pb2.MultiInferenceRequest()
        assert refused(stub.MultiInference, several) == grpc.StatusCode.UNIMPLEMENTED


def test_a_body_that_cannot_be_read(server: Server) -> None:
    headers = {"Content-Encoding": "gzip"}
    url = f"http://{server.rest}/v1/models/atrank:predict"
    response = requests.post(url, data=b"no gzip", headers=headers, timeout=30)
    assert response.status_code == 400
    assert "cannot be read" in response.json()["error"]


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
    found = post(server, body, path)
    assert found[0] == status
    assert expected in found[1]["error"]


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


def test_what_the_server_tells_of_itself(server: Server) -> None:
    def get(path: str) -> Any:
        return requests.get(f"http://{server.rest}{path}", timeout=30)

    status = get("/v1/models/atrank").json()["model_version_status"]
    assert status == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert get("/v1/models/atrank/versions/1").json()["model_version_status"] == status
    assert get("/v1/models/atrank/versions/2").status_code == 404
    assert get("/v1/models").status_code == 400
    metadata = get("/v1/models/atrank/metadata").json()
    assert metadata["model_spec"]["version"] == "1"
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["score_candidates"]["inputs"]["candidates"]["dtype"] == "DT_INT64"
    assert "__saved_model_init_op" not in signatures
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "atrank"
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        found = get_model_metadata_pb2.SignatureDefMap()
        stub.GetModelMetadata(request).metadata["signature_def"].Unpack(found)
        assert set(found.signature_def) == set(signatures)
        request.metadata_field[0] = "other"
        with pytest.raises(grpc.RpcError, match="expected signature_def"):
            stub.GetModelMetadata(request)
    metrics = get("/monitoring/prometheus/metrics").text
    assert 'atrank_requests_total{api="REST",entrypoint="Predict"' in metrics
    assert "atrank_version 1.0" in metrics


def test_malformed_requests_get_an_answer(server: Server, base: Path, data: TimelineData) -> None:
    """Ten thousand of them, and minutes of load: `python -m benchmarks.serving_soak`."""
    before = post(server, {"instances": rows_of(data)})
    assert before[0] == 200
    told = send_malformed(server, base / "1", 600)
    assert sum(told.values()) == 600
    assert told["rest 400"] > 50
    assert told["grpc INVALID_ARGUMENT"] > 50
    found = post(server, {"instances": rows_of(data)})
    assert found == before


def test_smoke_tells_what_differs(server: Server, base: Path, command: Command) -> None:
    address, protocol = f"--address={server.rest}", "--protocol=rest"
    done = command("export.smoke", f"--saved_model={base / '1'}", address, protocol)
    assert done.returncode == 0, done.stderr
    assert "24 requests, largest difference" in done.stdout
    with pytest.raises(UserError, match="NOT_FOUND"):
        smoke(base / "1", server.rest, "rest", "other")


def test_a_version_is_swapped_in_under_load_and_what_was_asked_is_answered(
    saved_model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "atrank"
    base.mkdir()
    (base / "1").symlink_to(saved_model)
    server = Server(base, "--poll_seconds=0.2", "--grace_seconds=30")
    try:
        answered, wrong = soak(server, base, clients=2, seconds=2.0)
        assert wrong == []
        assert answered > 20
        (base / "3").mkdir()  # Not a model: it is told of, and version 2 stays.
        deadline = time.monotonic() + 30
        with Client(Schema.load(saved_model / "assets.extra"), server.grpc) as client:
            while client.versions().get(3) != "END":
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert client.versions()[2] == "AVAILABLE"
            long = Request(QUERY_TIME, list(range(100, 140)) * 500, HISTORY)
            scores: list[Any] = []
            asking = threading.Thread(target=lambda: scores.extend(client.score([long])))
            asking.start()
            time.sleep(0.05)
            server.process.send_signal(signal.SIGTERM)
            asking.join()
        assert len(scores[0]) == 20_000
        assert server.process.wait(timeout=60) == 0
    finally:
        server.process.kill()


class _Loaded:
    """In place of a `Servable`, which takes its time to load."""

    def __init__(self, directory: Path) -> None:
        if not (directory / "saved_model.pb").exists():
            raise OSError("SavedModel file does not exist")
        self.version = int(directory.name)
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_versions_come_and_go(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile = []

    def load(directory: Path) -> _Loaded:
        meanwhile.append({n: state for n, (state, _) in watcher.states().items()})
        return _Loaded(directory)

    monkeypatch.setattr(model_watcher, "Servable", load)
    base = tmp_path / "atrank"
    (base / "notes").mkdir(parents=True)
    (base / "99999999999999999999").mkdir()
    watcher = ModelWatcher("atrank", base)
    assert not watcher.refresh()
    (base / "00000001").symlink_to(saved_model)
    assert watcher.refresh()
    assert watcher.version == 1
    assert not watcher.refresh()
    (base / "2").mkdir()  # Its files are still being copied.
    assert not watcher.refresh()
    assert watcher.states()[2][0] == "END"
    assert watcher.version == 1
    with watcher.use("atrank") as held:
        shutil.copytree(saved_model, base / "2", dirs_exist_ok=True)
        assert watcher.refresh()  # It changed: there is nothing to wait for.
        assert {n: state for n, (state, _) in watcher.states().items()} == {
            1: "UNLOADING",
            2: "AVAILABLE",
        }
        assert not held.closed  # type: ignore[attr-defined]
    assert held.closed  # type: ignore[attr-defined]
    assert list(watcher.states()) == [2]
    assert meanwhile[0] == {1: "LOADING"}
    assert meanwhile[-1] == {1: "AVAILABLE", 2: "LOADING"}
    shutil.rmtree(base / "2")  # Taken back.
    assert watcher.refresh()
    assert watcher.version == 1
    watcher.close()


def test_a_server_goes_on_when_nobody_reads_what_it_says() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        print_line("to nobody", stream)
        print_line("nor this", stream)


def test_looking_for_versions_survives_what_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = ModelWatcher("atrank", tmp_path)
    looks = iter([RuntimeError("a disk is gone"), True])

    def refresh() -> bool:
        look = next(looks, False)
        if isinstance(look, Exception):
            raise look
        return look

    monkeypatch.setattr(watcher, "refresh", refresh)

    async def watched() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(serve._watch(watcher, 0.01), 0.5)

    asyncio.run(watched())
    told = capsys.readouterr()
    assert told.err == f"{tmp_path}: RuntimeError: a disk is gone\n"
    assert told.out == "serving version None of atrank\n"


def test_a_full_queue_is_unavailable(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_watcher, "Servable", _Loaded)

    async def fill() -> None:
        watcher = ModelWatcher("atrank", base)
        backend = Backend(watcher, workers=1, max_in_flight=2)
        watcher.refresh()
        go = threading.Event()
        waiting = [
            asyncio.ensure_future(
                backend.run("REST", "Predict", "atrank", None, lambda _: go.wait())
            )
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(
            ServingError, match="UNAVAILABLE: 2 requests are being answered or wait"
        ):
            await backend.run("REST", "Predict", "atrank", None, lambda _: None)
        waiting[1].cancel()  # Its place is free when its thread has done, not before.
        await asyncio.sleep(0)
        with pytest.raises(ServingError, match="UNAVAILABLE"):
            await backend.run("REST", "Predict", "atrank", None, lambda _: None)
        go.set()
        assert await waiting[0]
        backend.close()
        await asyncio.sleep(0.05)
        assert (
            await Backend(watcher, 1, 1).run("REST", "Predict", "atrank", 1, lambda s: s.version)
            == 1
        )

    asyncio.run(fill())


def test_bodies_are_read_so_many_at_once_and_not_for_ever(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_service, "_SECONDS", 0.5)
    app = rest_service.application(Backend(ModelWatcher("atrank", base), 1, 1), 1 << 20)
    path = "/v1/models/atrank:predict"

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async def ask() -> None:
        async with TestClient(TestServer(app)) as client:
            first = asyncio.ensure_future(client.post(path, data=slow()))
            await asyncio.sleep(0.2)
            second = await client.post(path, data=b"{}")
            assert second.status == 503
            assert "1 requests are being read" in (await second.json())["error"]
            answer = await first
            assert answer.status == 504
            assert "took too long" in (await answer.json())["error"]
            third = await client.post(path, data=b"{}")  # There is no version to ask.
            assert third.status == 404

    asyncio.run(ask())


def test_mistakes_at_the_start(tmp_path: Path, server: Server, command: Command) -> None:
    done = command("export.serve", "--model_base=nothing")
    assert done.returncode == 1
    assert done.stderr == "error: nothing: holds no version; expected EXPORT_BASE/VERSION\n"
    (tmp_path / "atrank/1").mkdir(parents=True)
    done = command("export.serve", "--model_base=atrank")
    assert done.returncode == 1
    assert "error: atrank: version 1: " in done.stderr
    done = command("export.serve", "--model_base=atrank", "--model_name=a b/c")
    assert done.returncode == 1
    assert done.stderr.startswith("error: atrank: model name 'a b/c': expected letters")
    taken = f"--rest_port={server.rest.split(':')[1]}"
    done = command("export.serve", "--model_base=atrank", "--grpc_port=0", taken)
    assert done.returncode == 1
    assert "cannot listen there; choose another --rest_port\n" in done.stderr
