"""`python -m atrank_tf.evaluate`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_command_line(data_dir: Path, runs: Path, command: Command) -> None:
    done = command(
        "atrank_tf.evaluate", f"--data_dir={data_dir}", f"--model_dir={runs}/popularity",
        "--split=validation", "--negatives=5", f"--baselines={runs}/bpr", "--slices=action",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| item | popularity | " in done.stdout
    assert "| item | bpr | " in done.stdout
    assert done.stdout.startswith("validation targets; means over users")
    assert "\nitem: popularity less bpr, paired by user: AUC " in done.stdout
    assert "\nmind: item: " in done.stdout
    assert f"wrote {runs}/popularity/metrics.validation.5.json" in done.stdout
    report = json.loads((runs / "popularity/metrics.validation.5.json").read_text())
    assert (report["protocol"]["split"], report["protocol"]["negatives"]) == ("validation", 5)
    assert (
        (runs / "popularity/slices.validation.5.item.action.png")
        .read_bytes()
        .startswith(b"\x89PNG")
    )
    done = command("atrank_tf.evaluate", f"--data_dir={data_dir}", "--model_dir=no")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: no: holds no trained model")
    done = command("atrank_tf.evaluate", "--data_dir=no", "--model_dir=no", "--negatives=few")
    assert done.returncode == 1
    assert done.stderr == "error: --negatives is 'few': expected 1 or more, or all\n"
