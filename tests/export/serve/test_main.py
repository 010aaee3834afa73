"""`python -m export.serve`: mistakes at the start."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.servers import Server

Command = Callable[..., subprocess.CompletedProcess[str]]


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
