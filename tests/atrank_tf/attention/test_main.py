"""`python -m atrank_tf.attention`."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import tensorboard_tags

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_command_line(trained_run: Path, data_dir: Path, command: Command) -> None:
    done = command("atrank_tf.attention", f"--data_dir={data_dir}", f"--model_dir={trained_run}")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (trained_run / "attention").iterdir()}
    assert {"averages.csv", "self-attention.svg", "average-query.png"} <= names
    assert "attention/vanilla-attention" in tensorboard_tags(trained_run)
