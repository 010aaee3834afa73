"""`python -m atrank_tf.evaluate`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_command_line(data_dir: Path, runs: Path, command: Command) -> None:
    done = command(
        "atrank_tf.evaluate", f"--data_dir={data_dir}", f"--model_dir={runs}/popularity",
        "--split=validation", "--negatives=5", f"--baselines={runs}/bpr",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| item | popularity | " in done.stdout
    assert "| item | bpr | " in done.stdout
    assert f"wrote {runs}/popularity/metrics.json" in done.stdout
    report = json.loads((runs / "popularity/metrics.json").read_text())
    assert (report["split"], report["negatives"]) == ("validation", 5)
    done = command("atrank_tf.evaluate", f"--data_dir={data_dir}", "--model_dir=no")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: no: holds no trained model")
