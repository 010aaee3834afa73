"""The queue before the model: bounded."""

import asyncio
import threading
from pathlib import Path

import pytest

from export.protocol.errors import ServingError
from export.serve import model_watcher
from export.serve.backend import Backend
from export.serve.model_watcher import ModelWatcher
from tests.export.serve.loaded import Loaded


def test_a_full_queue_is_unavailable(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_watcher, "Servable", Loaded)

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
