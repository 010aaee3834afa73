"""The soak: malformed requests, load, and a new version meanwhile."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atrank_tf import Schema
from benchmarks.serving_soak import Server, send_malformed, soak
from data_pipeline.dataset import TimelineData
from export.client import Client
from export.protocol.request import Request
from tests.export.inputs import HISTORY, QUERY_TIME
from tests.export.serve.rest import post, rows_of


@pytest.fixture(scope="module")
def server(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("served") / "atrank"
    base.mkdir()
    (base / "1").symlink_to(saved_model)
    server = Server(base, "--poll_seconds=0.2", "--grace_seconds=30")
    yield server
    server.process.kill()


def test_malformed_requests_get_an_answer(
    server: Server, saved_model: Path, data: TimelineData
) -> None:
    """Ten thousand of them, and minutes of load: `python -m benchmarks.serving_soak`."""
    before = post(server, {"instances": rows_of(data)})
    assert before[0] == 200
    statuses = send_malformed(server, saved_model, 600)
    assert sum(statuses.values()) == 600
    assert statuses["rest 400"] > 50
    assert statuses["grpc INVALID_ARGUMENT"] > 50
    after = post(server, {"instances": rows_of(data)})
    assert after == before


@pytest.mark.slow
def test_a_version_is_swapped_in_under_load_and_what_was_asked_is_answered(
    server: Server, saved_model: Path
) -> None:
    """The last of the file: it ends the server."""
    answered, wrong = soak(server, clients=2, seconds=2.0)
    assert wrong == []
    assert answered > 20
    (server.base / "3").mkdir()  # Not a model: it is reported, and version 2 stays.
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
