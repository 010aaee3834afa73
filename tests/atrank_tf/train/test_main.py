"""`python -m atrank_tf.train`: it resumes when killed, and says mistakes in one line."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atrank_tf.run_directory import RunDirectory
from tests import processes

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_killed_process_leaves_a_run_that_resumes(
    items_dir: Path, tmp_path: Path, command: Command
) -> None:
    arguments = (f"--data_dir={items_dir}", "--model_dir=run", "--model=bpr", "--patience=1000000")
    process = processes.start_module(
        "atrank_tf.train", (*arguments, "--epochs=1000000"), tmp_path, str(tmp_path)
    )
    while not (tmp_path / "run/state.json").exists():
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    (tmp_path / "run/checkpoints/partial-last-7-0.keras").write_text("half a checkpoint")
    epoch = json.loads((tmp_path / "run/state.json").read_text())["epoch"]
    done = command("atrank_tf.train", *arguments, f"--epochs={epoch + 1}")
    assert done.returncode == 0, done.stderr
    assert f"resuming run after epoch {epoch}" in done.stderr
    assert f"of {epoch + 1}" in done.stdout
    assert not list((tmp_path / "run/checkpoints").glob("partial-*"))
    # In a third process, undisturbed: bit for bit the same.
    whole = (arguments[0], "--model_dir=whole", *arguments[2:], f"--epochs={epoch + 1}")
    assert command("atrank_tf.train", *whole).returncode == 0
    resumed, undisturbed = (RunDirectory(tmp_path / name).load_last() for name in ("run", "whole"))
    for weight, expected in zip(resumed.weights, undisturbed.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--model_dir=run",), "error: --data_dir is missing: prepared data"),
        (("--data_dir=no", "--model_dir=run"), "error: no: holds no prepared data"),
        (
            ("--data_dir=no", "--model_dir=run", "--model=popularity", "--width=3"),
            "error: --width is no setting of --model=popularity",
        ),
        (
            ("--data_dir=no", "--model_dir=run", "--target_weights=item"),
            "error: --target_weights 'item': expected NAME=NUMBER",
        ),
        (
            ("--data_dir={data}", "--model_dir=e.txt"),
            "error: e.txt: is a file; expected a directory",
        ),
        (
            ("--data_dir={data}", "--model_dir=run", "--width=10"),
            "error: model 'atrank': width (10) must be a multiple of num_spaces (4)",
        ),
    ],
)
def test_command_line_says_it_in_one_line(
    items_dir: Path, tmp_path: Path, command: Command, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "e.txt").touch()
    done = command("atrank_tf.train", *(a.format(data=items_dir) for a in arguments))
    assert done.returncode != 0
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_data_is_reported(items_dir: Path, tmp_path: Path, command: Command) -> None:
    shutil.copytree(items_dir, tmp_path / "data")
    shard = next((tmp_path / "data/shards").iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = command("atrank_tf.train", "--data_dir=data", "--model_dir=run")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the prepared data is damaged: a record does not match its checksum\n"
    )
