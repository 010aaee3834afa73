"""TLS and a token: who may ask, by both protocols."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import grpc
import numpy as np
import pytest
import requests

from atrank_tf import UserError
from data_pipeline.dataset import TimelineData
from export.client import Client
from export.protocol.errors import ServingError
from export.protocol.request import Request
from tests.export.inputs import REQUEST
from tests.servers import Server

CERTIFICATES = Path(__file__).parent / "certificates"
CERTIFICATE, KEY = CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key"
TOKEN = "t0ken/with+signs="

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def guarded(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "token.txt").write_text(f"{TOKEN}\n")
    tls = (f"--tls_certificate={CERTIFICATE}", f"--tls_key={KEY}")
    server = Server(base, directory, *tls, "--token_file=token.txt")
    yield server
    server.process.terminate()
    server.process.join()


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_who_may_ask(
    guarded: Server, server: Server, data: TimelineData, protocol: Literal["grpc", "rest"]
) -> None:
    def client(at: Server, **options: Any) -> Client:
        address = getattr(at, protocol).replace("127.0.0.1", "localhost")
        return Client(data.schema, address, protocol=protocol, timeout=20.0, retries=0, **options)

    request = Request.from_json(REQUEST)
    with client(server) as plain, client(guarded, tls=CERTIFICATE, token=TOKEN) as known:
        np.testing.assert_allclose(known.score([request]), plain.score([request]), atol=1e-6)
        assert known.versions() == {1: "AVAILABLE"}
    for token in ("", "wrong", TOKEN + "x"):
        with client(guarded, tls=CERTIFICATE, token=token) as other:
            for call in (other.versions, lambda other=other: other.score([request])):
                with pytest.raises(ServingError, match="Authorization: Bearer TOKEN") as caught:
                    call()
                assert caught.value.code == grpc.StatusCode.UNAUTHENTICATED


def test_metrics_want_the_token_too(guarded: Server) -> None:
    url = f"https://{guarded.rest}/monitoring/prometheus/metrics"
    assert requests.get(url, verify=str(CERTIFICATE), timeout=30).status_code == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(url, verify=str(CERTIFICATE), headers=headers, timeout=30)
    assert answer.status_code == 200


def test_a_server_that_is_not_trusted_is_not_asked(guarded: Server, data: TimelineData) -> None:
    with (
        Client(data.schema, guarded.rest, protocol="rest", tls=True, timeout=5.0) as client,
        pytest.raises(ServingError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.versions()
    with pytest.raises(UserError, match=r"no\.pem: no such file; expected a certificate"):
        Client(data.schema, guarded.rest, tls="no.pem")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--tls_key=x",), "--tls_certificate and --tls_key: give both, or none"),
        (("--tls_key=x", "--tls_certificate=y"), "y, x: expected a certificate and its key, both"),
        (("--token_file=no.txt",), "no.txt: cannot be read (No such file or directory)"),
        (("--token_file=empty.txt",), "empty.txt: expected a token of ASCII letters, digits and"),
        (("--token_file=two.txt",), "two.txt: expected a token of ASCII letters, digits and signs"),
    ],
)
def test_mistakes(
    tmp_path: Path, command: Command, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "two.txt").write_text("one two")
    done = command("export.serve", "--model_base=atrank", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {expected}")
