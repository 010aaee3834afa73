"""What an export answers: in one session, and as a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atrank_tf import Schema
from export.client import Client
from export.release import replay
from export.serve.servable import Servable
from tests.exports import Exported, Inputs
from tests.servers import Server


@pytest.fixture(scope="session")
def base(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("served") / "atrank"
    base.mkdir()
    (base / "1").symlink_to(saved_model)
    return base


@pytest.fixture(scope="session")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ("--poll_seconds=0.2", "--max_request_mb=1")
    server = Server(base, tmp_path_factory.mktemp("server"), *flags)
    yield server
    server.process.kill()


@pytest.fixture(scope="session", params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, server: Server, saved_model: Path) -> Iterator[Client]:
    address = getattr(server, request.param)
    schema = Schema.load(saved_model / "assets.extra")
    with Client(schema, address, protocol=request.param, timeout=30.0) as client:
        yield client


@pytest.fixture
def answers(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """What `verify` is given as the answers of an export: at first those of `saved_model`."""
    answers = {name: values.copy() for name, values in exported[2].items()}
    monkeypatch.setattr(replay, "run_in_session", lambda *_: answers)
    monkeypatch.setattr(replay, "replays", lambda *_: exported[3])
    return answers


@pytest.fixture(scope="session")
def ask(saved_model: Path) -> Any:
    """Runs a signature in one session of the session loader."""
    servable = Servable(saved_model)
    yield servable.run
    servable.close()


@pytest.fixture(scope="session")
def score(ask: Any) -> Any:
    """Logits of the default signature."""
    return lambda inputs: ask("serving_default", inputs)["logit"]
