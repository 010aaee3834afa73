"""The REST side: bodies that cannot be read, or not in time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import requests
from aiohttp import ClientSession, TCPConnector
from aiohttp.test_utils import TestClient, TestServer

from export.serve import rest_service
from export.serve.backend import Backend
from export.serve.model_watcher import ModelWatcher
from tests.servers import Server

PATH = "/v1/models/atrank:predict"


async def slow() -> AsyncIterator[bytes]:
    """A body that does not end."""
    yield b"{"
    await asyncio.sleep(60)


def test_a_body_that_cannot_be_read(server: Server) -> None:
    headers = {"Content-Encoding": "gzip"}
    url = f"http://{server.rest}{PATH}"
    response = requests.post(url, data=b"no gzip", headers=headers, timeout=30)
    assert response.status_code == 400
    assert "cannot be read" in response.json()["error"]


def test_bodies_are_read_so_many_at_once_and_not_for_ever(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_service, "REQUEST_SECONDS", 0.5)
    app = rest_service.application(Backend(ModelWatcher("atrank", base), 1, 1), 1 << 20)

    async def ask() -> None:
        async with TestClient(TestServer(app)) as client:
            first = asyncio.ensure_future(client.post(PATH, data=slow()))
            await asyncio.sleep(0.2)
            second = await client.post(PATH, data=b"{}")
            assert second.status == 503
            assert "1 requests are being read" in (await second.json())["error"]
            answer = await first
            assert answer.status == 504
            assert "took too long" in (await answer.json())["error"]
            third = await client.post(PATH, data=b"{}")  # There is no version to ask.
            assert third.status == 404

    asyncio.run(ask())


def test_slow_bodies_of_one_client_leave_places_to_others(base: Path) -> None:
    app = rest_service.application(Backend(ModelWatcher("atrank", base), 1, 4), 1 << 20)

    async def ask() -> None:
        async with TestClient(TestServer(app)) as client:
            held = [asyncio.ensure_future(client.post(PATH, data=slow())) for _ in range(2)]
            await asyncio.sleep(0.3)
            refused = await client.post(PATH, data=b"{}")
            assert refused.status == 503
            assert "2 requests of this client are being read" in (await refused.json())["error"]
            connector = TCPConnector(local_addr=("127.0.0.2", 0))
            async with ClientSession(connector=connector) as other:
                answered = await other.post(client.make_url(PATH), data=b"{}")
                assert answered.status == 404  # There is no version to ask.
            for request in held:
                request.cancel()

    asyncio.run(ask())
