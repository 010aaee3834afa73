"""Training: what it writes, that it resumes exactly, and what ends it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from atrank_tf import Popularity, UserError
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train import loop as training
from atrank_tf.train.build import build_model
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from tests.atrank_tf.train.settings import SETTINGS, SIMPLEST
from tests.conftest import make_logs, tensorboard_tags


def weights(run: Path) -> list[np.ndarray]:
    return [w.numpy() for w in RunDirectory(run).load_last().weights]


@pytest.fixture(scope="module")
def finished(items_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished")
    train(str(items_dir), str(run), SETTINGS)
    return run


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_target_of_no_weight_teaches_nothing(tmp_path: Path) -> None:
    schema = make_logs(tmp_path)
    prepare(schema, tmp_path / "data", [str(tmp_path / "events.parquet")], base_dir=tmp_path)
    settings = SETTINGS.replace(epochs=1, target_weights={"query": 0.0}).completed()
    train(str(tmp_path / "data"), str(tmp_path / "run"), settings)
    assert tensorboard_tags(tmp_path / "run") >= {"validation/auc/item", "validation/auc/query"}
    end = RunDirectory(tmp_path / "run").load_last()
    start = build_model(TimelineData(tmp_path / "data"), settings, 1)
    for target, moves in (("item", True), ("query", False)):
        biases = [model.tokens.biases[target].table.numpy() for model in (end, start)]
        assert np.array_equal(*biases) != moves


def test_the_learning_rate_falls_in_each_epoch(items_dir: Path, tmp_path: Path) -> None:
    # Batches enough that one more or less in an epoch matters little.
    train(str(items_dir), str(tmp_path), SIMPLEST.replace(decay=0.5, max_tokens=100))
    optimizer = RunDirectory(tmp_path).load_last().optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.004 * 0.5**2, rel=0.2)


@pytest.mark.slow
def test_mixed_precision_learns_the_same(finished: Path, items_dir: Path, tmp_path: Path) -> None:
    train(str(items_dir), str(tmp_path), SETTINGS.replace(precision="mixed_bfloat16"))
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


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_more_epochs_go_on_where_the_run_stood(
    finished: Path, items_dir: Path, tmp_path: Path
) -> None:
    train(str(items_dir), str(tmp_path), SETTINGS.replace(epochs=1))
    train(str(items_dir), str(tmp_path), SETTINGS)
    for weight, expected in zip(weights(tmp_path), weights(finished), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_training_ends_when_its_time_is_over(items_dir: Path, tmp_path: Path) -> None:
    bounded = SIMPLEST.replace(epochs=10**6, patience=10**6, max_seconds=0.5)
    state = train(str(items_dir), str(tmp_path), bounded)
    assert 0.5 <= state["seconds"] < 60
    assert [seconds for seconds, _ in state["curve"]] == sorted(s for s, _ in state["curve"])
    assert state["best_auc"] in [auc for _, auc in state["curve"]]
    saved = json.loads((tmp_path / "state.json").read_text())
    of_model = {name: saved[name] for name in ("dropout_seeds", "checksums")}
    assert train(str(items_dir), str(tmp_path), bounded) == state | of_model


def test_a_curve_has_points_within_an_epoch(
    items_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(str(items_dir), str(tmp_path / "plain"), SIMPLEST.replace(epochs=1))
    monkeypatch.setattr(training, "CURVE_POINTS", 10**9)
    bounded = SIMPLEST.replace(epochs=1, max_seconds=1000.0)
    state = train(str(items_dir), str(tmp_path / "bounded"), bounded)
    assert len(plain["curve"]) == 1
    assert len(state["curve"]) > 2
    assert state["curve"][-1][1] == state["best_auc"] == plain["best_auc"]
    seconds = [seconds for seconds, _ in state["curve"]]
    assert seconds == sorted(seconds)
    assert state["targets_seen"] == plain["targets_seen"]
    np.testing.assert_array_equal(weights(tmp_path / "plain")[0], weights(tmp_path / "bounded")[0])


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_a_run_killed_within_an_epoch_ends_with_the_same_weights(
    finished: Path,
    items_dir: Path,
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
            train(str(items_dir), str(tmp_path), SETTINGS)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 300.0)
    train(str(items_dir), str(tmp_path), SETTINGS)
    assert "after epoch 1, batch " in capsys.readouterr().err
    for weight, expected in zip(weights(tmp_path), weights(finished), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_early_stopping(items_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake = SIMPLEST.replace(model_settings={"width": 0})
    with pytest.raises(UserError):  # It leaves nothing that the next try stumbles over.
        train(str(items_dir), str(tmp_path), mistake)
    aucs = iter([0.6, 0.7, 0.65, 0.66, 0.9])
    monkeypatch.setattr(training, "user_aucs", lambda _: {"item": np.array([next(aucs)])})
    state = train(str(items_dir), str(tmp_path), SIMPLEST.replace(epochs=9, patience=2))
    assert (state["epoch"], state["best_epoch"], state["best_auc"]) == (4, 2, 0.7)


def test_without_validation_targets_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    events = pd.DataFrame({"user": [1, 1, 2, 2], "object": [1, 2, 1, 3], "time": [1, 2, 1, 2]})
    events.to_csv(tmp_path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "data", [str(tmp_path / "e.csv")])
    state = train(str(tmp_path / "data"), str(tmp_path / "run"), SIMPLEST)
    assert state["best_epoch"] == 2
    assert state["best_auc"] is None


def test_a_model_with_nothing_to_train(items_dir: Path, tmp_path: Path) -> None:
    for _ in range(2):  # The second time there is nothing left to do.
        state = train(str(items_dir), str(tmp_path), Settings(model="popularity"))
        assert state["epoch"] == 0
    assert isinstance(RunDirectory(tmp_path).load_best(), Popularity)


def test_a_loss_beyond_all_bounds_ends_the_run(items_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the loss is inf: choose a smaller learning rate"):
        train(str(items_dir), str(tmp_path), SIMPLEST.replace(learning_rate=1e30))
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.slow
def test_a_directory_keeps_to_its_settings_and_data(
    finished: Path, items_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"holds a run with seed=5, not 6; choose another"):
        train(str(items_dir), str(finished), SETTINGS.replace(seed=6))
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
