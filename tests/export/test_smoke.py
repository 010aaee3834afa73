"""The smoke test of a running server."""

from pathlib import Path

import pytest

from atrank_tf import UserError
from export.smoke import smoke
from tests.export.serve.test_main import Command
from tests.servers import Server


def test_smoke_tells_what_differs(server: Server, base: Path, command: Command) -> None:
    address, protocol = f"--address={server.rest}", "--protocol=rest"
    done = command("export.smoke", f"--saved_model={base / '1'}", address, protocol)
    assert done.returncode == 0, done.stderr
    assert "24 requests, largest difference" in done.stdout
    with pytest.raises(UserError, match="NOT_FOUND"):
        smoke(base / "1", server.rest, "rest", "other")
