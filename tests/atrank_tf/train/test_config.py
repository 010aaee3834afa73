"""Settings from flags and --config: a run is repeated by naming it, and a flag beats the file."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atrank_tf.models import registry
from atrank_tf.train.settings import Settings
from data_pipeline.core.options import options
from data_pipeline.version import __version__

Command = Callable[..., subprocess.CompletedProcess[str]]


def settings_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "settings.json").read_text())


@pytest.mark.slow
def test_a_run_is_repeated_by_naming_it(command: Command, data_dir: Path, tmp_path: Path) -> None:
    first = ["--model=bpr", "--width=8", "--epochs=1", "--max_tokens=2000", "--seed=3"]
    done = command("atrank_tf.train", f"--data_dir={data_dir}", "--model_dir=one", *first)
    assert done.returncode == 0, done.stderr
    done = command("atrank_tf.train", "--config=one/settings.json", "--model_dir=again")
    assert done.returncode == 0, done.stderr
    assert settings_of(tmp_path / "again") == settings_of(tmp_path / "one")
    one, again = (
        json.loads((tmp_path / name / "state.json").read_text()) for name in ("one", "again")
    )
    assert again["best_auc"] == one["best_auc"]


def test_a_flag_beats_the_file(command: Command, data_dir: Path, tmp_path: Path) -> None:
    config = {
        "version": __version__,
        "data_dir": str(data_dir),
        "model": "popularity",
        "seed": 7,
        "max_history": 9,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = command("atrank_tf.train", "--config=config.json", "--model_dir=run", "--seed=8")
    assert done.returncode == 0, done.stderr
    settings = settings_of(tmp_path / "run")
    assert (settings["seed"], settings["max_history"], settings["model"]) == (8, 9, "popularity")


@pytest.mark.parametrize(
    ("config", "arguments", "expected"),
    [
        ({"epoch": 3}, (), "'epoch': no such option; expected one of clip_norm, "),
        ({"epochs": "3"}, (), "epochs is '3': expected an integer"),
        ({"model": ["a"]}, (), "model is ['a']: expected a string"),
        ({"model": "dnn"}, (), "model is 'dnn': expected one of atrank, bilstm, "),
        ({"model_settings": [1]}, (), "model_settings is [1]: expected an object"),
        ({"data_dir": 5}, (), "--data_dir is missing: prepared data"),
        ({"version": "0.1.0"}, (), "c.json: was written by version 0.1.0, this is "),
        ({"data_fingerprint": "x"}, (), "c.json: was written by a version before 0.2.0"),
        ({"model_settings": {"width": "x"}}, (), "model 'atrank': width is 'x': expected an int"),
        ({"model_settings": {"l2": float("nan")}}, (), "model 'atrank': l2 is nan: expected a nu"),
        ({"model": "bpr"}, ("--num_spaces=2",), "--num_spaces is no setting of --model=bpr"),
        (
            {"model": "bpr", "model_settings": {"spaces": 2}},
            (),
            "model 'bpr': 'spaces': no such argument; expected one of l2, recurrence, width",
        ),
        ({}, ("--epochs=0",), "epochs is 0: expected 1 or more"),
        ({}, ("--target_weights=item",), "--target_weights 'item': expected NAME=NUMBER"),
        ({}, ("--form=paper", "--rows=windows"), "rows is 'windows': the state of atrank is of "),
    ],
)
def test_mistakes_are_one_line(
    command: Command,
    data_dir: Path,
    tmp_path: Path,
    config: dict[str, Any],
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"data_dir": str(data_dir), **config}))
    done = command("atrank_tf.train", "--config=c.json", "--model_dir=run", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {expected}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--training=moments", "--form=paper"),
        ("--token_budget=300", "--max_tokens"),
        ("--max_moments=2", "--max_queries"),
    ],
)
def test_an_old_spelling_is_refused_and_the_new_one_named(
    command: Command, old: str, new: str
) -> None:
    done = command("atrank_tf.train", "--data_dir=d", "--model_dir=m", old)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {old.partition('=')[0]} has another name now: {new}")
    assert done.stderr.count("\n") == 1


def test_help_fits_two_screens_and_helpfull_has_the_rest(command: Command) -> None:
    shown, full = (command("atrank_tf.train", flag) for flag in ("--help", "--helpfull"))
    assert (shown.returncode, full.returncode) == (0, 0)
    assert len(shown.stdout.splitlines()) <= 60
    sections = [line for line in shown.stdout.splitlines() if line.endswith(":")][1:]
    assert sections == ["Data:", "Batches:", "Model:", "Optimization:", "Run:"]
    arguments = registry.model_arguments("atrank")
    for option in options(Settings):
        if option.name not in ("model_settings", "look_ups", "sampling"):
            assert f"{option.name}" in shown.stdout
            assert option.meaning.split()[-1] in full.stdout
    for name, argument in arguments.items():
        flag = f"--[no]{name}" if argument.kind == "boolean" else f"--{name}="
        assert flag in shown.stdout


@pytest.mark.parametrize(
    ("flag", "expected"), [("-h", "Trains a model"), ("--version", "atrank-tf 0")]
)
def test_what_explains_itself_ends_with_0(command: Command, flag: str, expected: str) -> None:
    done = command("atrank_tf.train", flag)
    assert done.returncode == 0
    assert done.stdout.startswith(expected)
