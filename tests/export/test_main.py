"""The commands that are one file: mistakes in one line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.export.inputs import REQUEST

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_command_lines(saved_model: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(REQUEST) + "\n" + json.dumps({"time": 1}) + "\n")
    done = command("export.score", f"--saved_model={saved_model}", "--requests=r.jsonl")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["scores"]) == 3
    assert done.stderr == "error: r.jsonl: row 2: request: 'candidates' is missing\n"
    for module, flag in (("score", "--requests=r.jsonl"), ("smoke", "--address=localhost:1")):
        done = command(f"export.{module}", "--saved_model=no", flag)
        assert done.returncode == 1
        expected = "error: no: holds no exported version; expected EXPORT_BASE/VERSION\n"
        assert done.stderr == expected
    done = command("export.export_model", "--model_dir=no", "--export_base=serving/atrank")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no: holds no trained model")
    assert not (tmp_path / "serving").exists()
