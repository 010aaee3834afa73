"""`python -m data_pipeline.prepare`: mistakes in one line, and nothing left behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from tests.data_pipeline.prepare.failures import HEADER, ITEM

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "error: missing: --output_dir (Where the prepared data appears.); see --help"),
        (("--output_dir=out",), "error: give either --recipe, or --schema for data of your own"),
        (("--output_dir=out", "extra"), "error: unexpected argument 'extra'"),
        (("--output_dir=out", "--schema=no.json"), "error: no.json: cannot be read (No such file"),
        (("--output_dir=out", "--schema=bad.json"), "error: bad.json: is not JSON"),
        (
            ("--output_dir=out", "--schema=odd.json"),
            "error: odd.json: groups: Field required; targets: Field required; group: Unexpected",
        ),
        (
            ("--output_dir=out", "--schema=good.json", "--events=e.csv"),
            "error: e.csv: row 1: column 'time': '-8': expected a time of 0 or more",
        ),
        (
            ("--output_dir=out", "--recipe=movielens"),
            "error: --recipe=movielens needs --input_dir: a directory that holds u.data",
        ),
        (
            ("--output_dir=out", "--recipe=movielens", "--events=e.csv"),
            "error: --events goes with --schema",
        ),
    ],
)
def test_command_line_says_it_in_one_line(
    tmp_path: Path, command: Command, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text('{"group": []}')
    (tmp_path / "good.json").write_text(json.dumps(ITEM.to_dict()))
    (tmp_path / "e.csv").write_text(HEADER + "1,5,-8\n")
    done = command("data_pipeline.prepare", *arguments)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert expected in done.stderr
    if done.stderr.startswith("error: "):
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_command_line_prepares_and_says_what_is_next(tmp_path: Path, command: Command) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(ITEM.to_dict()))
    (tmp_path / "e.csv").write_text(HEADER + "1,5,8\n1,6,9\n")
    done = command(
        "data_pipeline.prepare", "--schema=schema.json", "--events=e.csv", "--output_dir=out"
    )
    assert done.returncode == 0, done.stderr
    assert "wrote out: 1 users" in done.stdout
    assert "next: python -m atrank_tf.train --data_dir=out" in done.stdout


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "1,5,8\n1,6,9\n")
    (tmp_path / ".out.preparing-abc/work").mkdir(parents=True)
    (tmp_path / ".out.replaced").mkdir()
    (tmp_path / ".out.mine").mkdir()
    (tmp_path / ".out.replaced/precious.txt").write_text("mine")
    with pytest.raises(UserError, match="out: is not empty"):
        prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.csv")])
    assert (tmp_path / "out/precious.txt").exists()  # As it was before the one that was killed.
    assert not (tmp_path / ".out.preparing-abc").exists()
    assert (tmp_path / ".out.mine").exists()


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, kill: signal.Signals) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(ITEM.to_dict()))
    number = np.arange(3_000_000)  # Seconds of work; the signal comes as soon as it begins.
    events = pd.DataFrame({"user": number % 1000, "object": number % 77, "time": number})
    events.to_parquet(tmp_path / "e.parquet")
    line = [sys.executable, "-m", "data_pipeline.prepare", "--schema=schema.json"]
    line += ["--events=e.parquet", "--output_dir=out"]
    process = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".out.preparing-*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(kill)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + kill
    assert stderr == "error: interrupted\n"
    assert {path.name for path in tmp_path.iterdir()} == {"e.parquet", "schema.json"}
