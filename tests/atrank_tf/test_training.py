"""Training runs: what they write, that they resume exactly, and every message they can end with."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from atrank_tf import Popularity, UserError
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train import loop as training
from atrank_tf.train.build import build_model
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from data_pipeline.version import __version__
from tests import processes
from tests.conftest import make_logs, tensorboard_tags

Command = Callable[..., subprocess.CompletedProcess[str]]

SMALL = {"width": 16, "num_spaces": 4, "embedding_width": 8, "feature_width": 4, "dropout": 0.3}
SETTINGS = Settings(model_settings=SMALL, epochs=2, patience=9, max_tokens=500, seed=5)
# For what hangs on no model: it has the least to trace.
SIMPLEST = SETTINGS.replace(model="bpr", model_settings={"width": 8})


def weights(run: Path) -> list[np.ndarray]:
    return [w.numpy() for w in RunDirectory(run).load_last().weights]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One group of objects that have an id alone: little to trace, quick to train."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data")
    events = {name: random.integers(0, n, 800) for name, n in (("user", 30), ("object", 40))}
    events["time"] = np.arange(800) * 10_000
    pd.DataFrame(events).to_csv(path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), path / "data", [str(path / "e.csv")])
    return path / "data"


@pytest.fixture(scope="module")
def finished(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished")
    train(str(data_dir), str(run), SETTINGS)
    return run


def test_what_a_run_leaves(finished: Path) -> None:
    names = {path.name for path in finished.rglob("*") if path.is_file()}
    assert {"settings.json", "state.json", "best.keras", "last-2-0.keras"} <= names
    assert not {name for name in names if "partial" in name}
    state = json.loads((finished / "state.json").read_text())
    assert state["epoch"] == 2
    assert 1 <= state["best_epoch"] <= 2
    assert 0 < state["best_auc"] <= 1
    assert state["targets_seen"] > 0
    assert state["seconds"] > 0
    expected = {"train/loss", "train/targets_per_second", "validation/auc", "validation/auc/item"}
    assert len(list(finished.glob("tensorboard/*"))) == 1
    assert tensorboard_tags(finished) == expected


def test_a_target_of_no_weight_teaches_nothing(tmp_path: Path) -> None:
    schema = make_logs(tmp_path)
    prepare(schema, tmp_path / "data", [str(tmp_path / "events.parquet")], base_dir=tmp_path)
    settings = SETTINGS.replace(epochs=1, target_weights={"query": 0.0}).completed()
    train(str(tmp_path / "data"), str(tmp_path / "run"), settings)
    assert tensorboard_tags(tmp_path / "run") >= {"validation/auc/item", "validation/auc/query"}
    found = RunDirectory(tmp_path / "run").load_last()
    start = build_model(TimelineData(tmp_path / "data"), settings, 1)
    for target, moves in (("item", True), ("query", False)):
        biases = [model.tokens.biases[target].table.numpy() for model in (found, start)]
        assert np.array_equal(*biases) != moves


def test_the_learning_rate_falls_in_each_epoch(data_dir: Path, tmp_path: Path) -> None:
    # Batches enough that one more or less in an epoch matters little.
    train(str(data_dir), str(tmp_path), SIMPLEST.replace(decay=0.5, max_tokens=100))
    optimizer = RunDirectory(tmp_path).load_last().optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.004 * 0.5**2, rel=0.2)


def test_mixed_precision_learns_the_same(finished: Path, data_dir: Path, tmp_path: Path) -> None:
    train(str(data_dir), str(tmp_path), SETTINGS.replace(precision="mixed_bfloat16"))
    aucs = [
        json.loads((run / "state.json").read_text())["best_auc"] for run in (finished, tmp_path)
    ]
    assert aucs[1] == pytest.approx(aucs[0], abs=0.02)
    model = RunDirectory(tmp_path).load_best()
    assert model.self_attention[0].compute_dtype == "bfloat16"
    assert model.self_attention[0].inner.kernel.dtype == "float32"


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves validation out; that `finished` had it shows that it changes no weights."""
    monkeypatch.setattr(training, "user_aucs", lambda _: {"item": np.array([0.5])})


@pytest.mark.usefixtures("unmeasured")
def test_more_epochs_go_on_where_the_run_stood(
    finished: Path, data_dir: Path, tmp_path: Path
) -> None:
    train(str(data_dir), str(tmp_path), SETTINGS.replace(epochs=1))
    train(str(data_dir), str(tmp_path), SETTINGS)
    for one, other in zip(weights(tmp_path), weights(finished), strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_ends_when_its_time_is_over(data_dir: Path, tmp_path: Path) -> None:
    bounded = SIMPLEST.replace(epochs=10**6, patience=10**6, max_seconds=0.5)
    state = train(str(data_dir), str(tmp_path), bounded)
    assert 0.5 <= state["seconds"] < 60
    assert [seconds for seconds, _ in state["curve"]] == sorted(s for s, _ in state["curve"])
    assert state["best_auc"] in [auc for _, auc in state["curve"]]
    assert train(str(data_dir), str(tmp_path), bounded) == {
        **state,
        "dropout_seeds": json.loads((tmp_path / "state.json").read_text())["dropout_seeds"],
    }


def test_a_curve_has_points_within_an_epoch(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(str(data_dir), str(tmp_path / "plain"), SIMPLEST.replace(epochs=1))
    monkeypatch.setattr(training, "_POINTS", 10**9)
    bounded = SIMPLEST.replace(epochs=1, max_seconds=1000.0)
    state = train(str(data_dir), str(tmp_path / "bounded"), bounded)
    assert len(plain["curve"]) == 1
    assert len(state["curve"]) > 2
    assert state["curve"][-1][1] == state["best_auc"] == plain["best_auc"]
    seconds = [seconds for seconds, _ in state["curve"]]
    assert seconds == sorted(seconds)
    assert state["targets_seen"] == plain["targets_seen"]
    np.testing.assert_array_equal(weights(tmp_path / "plain")[0], weights(tmp_path / "bounded")[0])


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("unmeasured")
def test_a_run_killed_within_an_epoch_ends_with_the_same_weights(
    finished: Path,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    save = RunDirectory.save

    def save_and_die(run: RunDirectory, model: Any, state: dict[str, Any], is_best: bool) -> None:
        if state["epoch"] == 2:  # The last save was before the epoch's last batch.
            raise Killed
        save(run, model, state, is_best)

    with monkeypatch.context() as dying:
        dying.setattr(RunDirectory, "save", save_and_die)
        with pytest.raises(Killed):
            train(str(data_dir), str(tmp_path), SETTINGS)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 300.0)
    train(str(data_dir), str(tmp_path), SETTINGS)
    assert "after epoch 1, batch " in capsys.readouterr().err
    for one, other in zip(weights(tmp_path), weights(finished), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_killed_process_leaves_a_run_that_resumes(
    data_dir: Path, tmp_path: Path, command: Command
) -> None:
    arguments = (f"--data_dir={data_dir}", "--model_dir=run", "--model=bpr", "--patience=1000000")
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


def test_early_stopping(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake = SIMPLEST.replace(model_settings={"width": 0})
    with pytest.raises(UserError):  # It leaves nothing that the next try stumbles over.
        train(str(data_dir), str(tmp_path), mistake)
    aucs = iter([0.6, 0.7, 0.65, 0.66, 0.9])
    monkeypatch.setattr(training, "user_aucs", lambda _: {"item": np.array([next(aucs)])})
    state = train(str(data_dir), str(tmp_path), SIMPLEST.replace(epochs=9, patience=2))
    assert (state["epoch"], state["best_epoch"], state["best_auc"]) == (4, 2, 0.7)


def test_pairwise_losses_are_not_for_labelled_targets(tmp_path: Path) -> None:
    events = pd.DataFrame({"user": [1, 1, 2], "object": [1, 2, 1], "time": [1, 2, 1]})
    events.to_csv(tmp_path / "e.csv", index=False)
    events.assign(label=[1, 0, 1]).to_csv(tmp_path / "shown.csv", index=False)
    schema = Schema((Group("item", impressions="shown.csv"),), ("item",))
    prepare(schema, tmp_path / "data", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    with pytest.raises(UserError, match="candidates of item were logged with labels: use 'poin"):
        train(str(tmp_path / "data"), str(tmp_path / "run"), Settings(model="bpr"))


def test_without_validation_targets_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    events = pd.DataFrame({"user": [1, 1, 2, 2], "object": [1, 2, 1, 3], "time": [1, 2, 1, 2]})
    events.to_csv(tmp_path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "data", [str(tmp_path / "e.csv")])
    state = train(str(tmp_path / "data"), str(tmp_path / "run"), SIMPLEST)
    assert state["best_epoch"] == 2
    assert state["best_auc"] is None


def test_a_model_with_nothing_to_train(data_dir: Path, tmp_path: Path) -> None:
    for _ in range(2):  # The second time there is nothing left to do.
        state = train(str(data_dir), str(tmp_path), Settings(model="popularity"))
        assert state["epoch"] == 0
    assert isinstance(RunDirectory(tmp_path).load_best(), Popularity)


def test_a_loss_beyond_all_bounds_ends_the_run(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the loss is inf: choose a smaller learning rate"):
        train(str(data_dir), str(tmp_path), SIMPLEST.replace(learning_rate=1e30))
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": "dnn"}, "model is 'dnn': expected one of atrank, bilstm, bilstm_attention, bpr"),
        ({"epochs": 0}, "epochs is 0: expected 1 or more"),
        ({"max_history": 0}, "max_history is 0: expected 1 or more"),
        ({"max_queries": -1}, "max_queries is -1: expected 0 or more"),
        (
            {"max_queries": 3, "rows": "windows"},
            "max_queries: for rows='queries'; windows hold all query times",
        ),
        ({"rows": "both"}, "rows is 'both': expected one of auto, queries, windows"),
        (
            {"model": "din", "rows": "windows"},
            "rows is 'windows': the state of din is of one query time here, use 'queries'",
        ),
        ({"loss": "x"}, "loss is 'x': expected one of auto, pointwise, bpr, hinge"),
        ({"max_seconds": -1.0}, "max_seconds is -1.0: expected a number of 0 or more"),
        ({"groups": ["x"]}, "group 'x': expected one of item"),
        ({"targets": ["x"]}, "target 'x': expected one of item"),
        ({"target_weights": {"x": 1.0}}, "target_weights: 'x': expected one of item"),
        (
            {"target_weights": {"item": -1.0}},
            "target_weights.item is -1.0: expected a number of 0 or more",
        ),
        ({"model_settings": {"scores": "x"}}, "scores is 'x': expected one of scaled_dot, biline"),
        ({"model_settings": {"downstream": "x"}}, "downstream is 'x': expected one of dot, mlp"),
        (
            {"model_settings": {"form": "paper", "time": "x"}},
            "time is 'x': expected one of added, concatenated",
        ),
        ({"model_settings": {"time": "concatenated"}}, "only of form='paper'"),
        ({"model": "din", "model_settings": {"width": 0}}, "model 'din': width"),
        ({"tables": "x"}, "tables is 'x': expected one of adam, adagrad, sgd"),
        ({"precision": "half"}, "precision is 'half': expected one of float32, mixed_bfloat16"),
        ({"rest": "adagrad"}, "rest is 'adagrad': expected one of adam, sgd"),
        ({"seed": -1}, "seed is -1: expected 0 to 4294967295"),
        ({"decay": 1.1}, "decay is 1.1: expected a number above 0, up to 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: expected a number above 0"),
        ({"clip_norm": float("nan")}, "clip_norm is nan: expected a number above 0"),
        ({"model_settings": {"width": 10}}, r"model 'atrank': width \(10\) must be a multiple"),
        ({"model_settings": {"num_spaces": 0}}, "num_spaces is 0: expected 1 or more"),
        ({"model_settings": {"dropout": 1.0}}, "dropout is 1.0"),
        ({"model": "bpr", "model_settings": {"width": 0}}, "width is 0"),
    ],
)
def test_settings_out_of_range(
    data_dir: Path, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        train(str(data_dir), str(tmp_path), SETTINGS.replace(**change))
    assert not (tmp_path / "state.json").exists()


def test_a_directory_keeps_to_its_settings_and_data(
    finished: Path, data_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"holds a run with seed=5, not 6; choose another"):
        train(str(data_dir), str(finished), SETTINGS.replace(seed=6))
    events = pd.DataFrame({"user": [1, 1, 1], "object": [1, 2, 3], "time": [1, 2, 3]})
    events.to_csv(tmp_path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "data", [str(tmp_path / "e.csv")])
    with pytest.raises(UserError, match="holds a run with data_fingerprint="):
        train(str(tmp_path / "data"), str(finished), SETTINGS)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    pd.DataFrame({"user": [1], "object": [1], "time": [1]}).to_csv(tmp_path / "e.csv")
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "data", [str(tmp_path / "e.csv")])
    with pytest.raises(UserError, match="no target lies in the training period"):
        train(str(tmp_path / "data"), str(tmp_path / "run"), SETTINGS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("checkpoints/best.keras", "cannot be loaded"), ("settings.json", "is not JSON")],
)
def test_a_damaged_run(finished: Path, tmp_path: Path, name: str, expected: str) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / "checkpoints").mkdir()
    for file in ("settings.json", "state.json", "checkpoints/best.keras"):
        (copy / file).write_bytes((finished / file).read_bytes())
    (copy / name).write_text("{")
    with pytest.raises(UserError, match=expected):
        RunDirectory(copy).load_best()


def test_nothing_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no trained model \(no settings\.json there\)"):
        RunDirectory(tmp_path).load_best()
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UserError, match=r"by a version before 0\.2\.0, .*: train it again"):
        RunDirectory(tmp_path).load_best()
    (tmp_path / "settings.json").write_text(
        json.dumps({"version": __version__, "data_fingerprint": "x"})
    )
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        RunDirectory(tmp_path).load_best()


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
        (("--data_dir={data}", "--model_dir=e.txt"), "error: e.txt/checkpoints: Not a directory"),
        (
            ("--data_dir={data}", "--model_dir=run", "--width=10"),
            "error: model 'atrank': width (10) must be a multiple of num_spaces (4)",
        ),
    ],
)
def test_command_line_says_it_in_one_line(
    data_dir: Path, tmp_path: Path, command: Command, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "e.txt").touch()
    done = command("atrank_tf.train", *(a.format(data=data_dir) for a in arguments))
    assert done.returncode != 0
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_data_is_told(data_dir: Path, tmp_path: Path, command: Command) -> None:
    shutil.copytree(data_dir, tmp_path / "data")
    shard = next((tmp_path / "data/shards").iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = command("atrank_tf.train", "--data_dir=data", "--model_dir=run")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the prepared data is damaged: a record does not match its checksum\n"
    )


def test_mixed_policy_of_popularity(data_dir: Path) -> None:
    from data_pipeline.dataset import TimelineData

    data = TimelineData(data_dir)
    model = Popularity(data.schema, data.catalog, dtype="mixed_float16")
    inputs, _ = next(iter(data.batches("test")))
    assert model(inputs).dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32"
