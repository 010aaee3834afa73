"""The endpoint, over real sockets: what it says of itself, and that it goes on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

from export.serve import server as serve
from export.serve.model_watcher import ModelWatcher
from tests.servers import Server


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
        by_name = get_model_metadata_pb2.SignatureDefMap()
        stub.GetModelMetadata(request).metadata["signature_def"].Unpack(by_name)
        assert set(by_name.signature_def) == set(signatures)
        request.metadata_field[0] = "other"
        with pytest.raises(grpc.RpcError, match="expected signature_def"):
            stub.GetModelMetadata(request)
    metrics = get("/monitoring/prometheus/metrics").text
    assert 'atrank_requests_total{api="REST",entrypoint="Predict"' in metrics
    assert "atrank_version 1.0" in metrics


def test_looking_for_versions_survives_what_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = ModelWatcher("atrank", tmp_path)
    looks: Iterator[Exception | bool] = iter([RuntimeError("a disk is gone"), True])

    def refresh() -> bool:
        look = next(looks, False)
        if isinstance(look, Exception):
            raise look
        return look

    monkeypatch.setattr(watcher, "refresh", refresh)

    async def watched() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(serve.watch(watcher, 0.01), 0.5)

    asyncio.run(watched())
    printed = capsys.readouterr()
    assert printed.err == f"{tmp_path}: RuntimeError: a disk is gone\n"
    assert printed.out == "serving version None of atrank\n"
