"""Processes killed at random moments, and files damaged at random: nothing is lost or wrong.

`make chaos` does it thirty times as often.
"""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from atrank_tf import UserError
from atrank_tf.run_directory import RunDirectory
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from data_pipeline.manifest import Manifest
from tests import processes
from tests.data_pipeline.batches.eager import EagerData

RUNS = int(os.environ.get("CHAOS_RUNS", "1"))


def killed_until_done(
    module: str, arguments: tuple[str, ...], directory: Path, times: int, longest: float
) -> None:
    """Starts a command again and again, kills it at random moments, and lets the last one end."""
    random_of = random.Random(RUNS)
    for _ in range(times):
        process = processes.start_module(module, arguments, directory, str(directory / "streams"))
        process.join(random_of.uniform(0.0, longest))
        process.kill()
        process.join()
        process.close()
    process = processes.start_module(module, arguments, directory, str(directory / "streams"))
    process.join()
    assert process.exitcode == 0, (directory / "streams/stderr").read_text()[-2000:]
    process.close()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_killed_preparation_ends_as_if_undisturbed(tmp_path: Path, overwrite: bool) -> None:
    number = np.arange(60_000)
    events = pd.DataFrame({"user": number % 997, "object": number % 77, "time": 10**9 + number})
    events.to_parquet(tmp_path / "e.parquet")
    (tmp_path / "schema.json").write_text('{"groups": [{"name": "item"}], "targets": ["item"]}')
    (tmp_path / "streams").mkdir()
    arguments = ("--schema=schema.json", "--events=e.parquet")
    once = (*arguments, "--output_dir=once")
    assert processes.run_module("data_pipeline.prepare", once, tmp_path).returncode == 0
    again = (*arguments, "--output_dir=out", "--overwrite")
    if overwrite:
        shutil.copytree(tmp_path / "once", tmp_path / "out")
    killed_until_done("data_pipeline.prepare", again, tmp_path, 3 * RUNS, 2.0)
    undisturbed = Manifest.load(tmp_path / "once")
    assert Manifest.load(tmp_path / "out").fingerprint == undisturbed.fingerprint
    undisturbed.verify(tmp_path / "out")
    names = {path.name for path in tmp_path.iterdir()} - {".out.lock"}
    assert names == {"e.parquet", "schema.json", "streams", "once", "out"}


def test_a_killed_training_ends_as_if_undisturbed(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "streams").mkdir()
    arguments = (
        f"--data_dir={data_dir}",
        "--model=bpr",
        "--epochs=4",
        "--width=8",
        "--groups=item",
    )
    whole = (*arguments, "--model_dir=whole")
    assert processes.run_module("atrank_tf.train", whole, tmp_path).returncode == 0
    killed = (*arguments, "--model_dir=killed")
    killed_until_done("atrank_tf.train", killed, tmp_path, 1 + RUNS // 2, 8.0)
    runs = [RunDirectory(tmp_path / name).load_last() for name in ("whole", "killed")]
    for weight, expected in zip(runs[1].weights, runs[0].weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())
    assert not list((tmp_path / "killed/checkpoints").glob("partial-*"))


def damaged(content: bytes, random_of: random.Random) -> bytes:
    """A file with a bit flipped, a part missing, or a part of itself put elsewhere."""
    position = random_of.randrange(len(content))
    kind = random_of.randrange(3)
    if kind == 0:
        flipped = content[position] ^ (1 << random_of.randrange(8))
        return content[:position] + bytes([flipped]) + content[position + 1 :]
    length = random_of.randrange(1, 1 + len(content) // 4)
    if kind == 1:
        return content[:position] + content[position + length :]
    return content[:position] + content[:length] + content[position + length :]


def test_damaged_data_is_told(data_dir: Path, tmp_path: Path) -> None:
    """Every file of prepared data; shards in full by `verify`, and by their own records."""
    shutil.copytree(data_dir, tmp_path / "data")
    random_of = random.Random(RUNS)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        for _ in range(4 * RUNS):
            changed = damaged(content, random_of)
            if changed == content:
                continue
            path.write_bytes(changed)
            with pytest.raises(UserError):
                TimelineData(tmp_path / "data").manifest.verify(tmp_path / "data")
            if path.suffix == ".tfrecord" and len(changed) == len(content):
                with pytest.raises(tf.errors.DataLossError):
                    list(EagerData(tmp_path / "data").batches("train", BatchOptions()))
        path.write_bytes(content)
    TimelineData(tmp_path / "data").manifest.verify(tmp_path / "data")


def test_a_damaged_run_is_told(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    random_of = random.Random(RUNS)
    for name in ("settings.json", "state.json", "checkpoints/best.keras"):
        path = tmp_path / "run" / name
        content = path.read_bytes()
        for _ in range(8 * RUNS):
            path.write_bytes(damaged(content, random_of))
            if path.read_bytes() != content:
                with pytest.raises(UserError):
                    RunDirectory(tmp_path / "run").load_best()
        path.write_bytes(content)
    assert RunDirectory(tmp_path / "run").load_best().schema.target_names  # As it was.
