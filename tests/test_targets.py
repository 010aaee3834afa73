"""Several targets of one group: their events, labels, heads, metrics and signatures."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from atrank_tf import ATRank, Columns, Group, Popularity, Schema, Split, Target
from atrank_tf.evaluate.evaluation import evaluate
from atrank_tf.layers import token_encoder
from atrank_tf.train.loop import train
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from export.graph.inputs import RawInputs
from export.graph.scorer import Scorer
from export.protocol.fields import signature_name
from export.protocol.request import Request, candidate_inputs
from tests.atrank_tf.sizes import SMALL, TINY
from tests.atrank_tf.train.settings import SETTINGS
from tests.data_pipeline.batches.eager import EagerData

START, VALIDATION, TEST = 0, 6000, 8000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Views, and purchases of what was viewed: items by "buy", views by the target "interest"."""
    source = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    views = pd.DataFrame(
        {
            "user": random.integers(1, 21, 900),
            "object": random.zipf(1.4, 900) % 30,
            "time": random.integers(START, 10_000, 900),
        }
    )
    buys = views.sample(250, random_state=1).assign(time=lambda rows: rows["time"] + 5)
    events = pd.concat([views.assign(action="view"), buys.assign(action="buy")])
    events.drop_duplicates().to_csv(source / "events.csv", index=False)
    item = Group("item", actions=("view", "buy"), target_actions=("buy",))
    schema = Schema(
        (item,),
        ("item", Target("interest", "item", actions=("view",))),
        columns=Columns(action="action"),
        split=Split("time", VALIDATION, TEST),
    )
    prepare(schema, source / "data", [str(source / "events.csv")])
    return source


def test_what_is_counted_and_predicted_is_what_the_logs_say(shop: Path) -> None:
    events = pd.read_csv(shop / "events.csv").drop_duplicates()
    data = EagerData(shop / "data")
    periods = {
        "train": events["time"] < VALIDATION,
        "validation": (events["time"] >= VALIDATION) & (events["time"] < TEST),
        "test": events["time"] >= TEST,
    }
    ids = pd.read_parquet(shop / "data/objects/item.parquet")
    num_oov = data.schema.group("item").num_oov
    users_of_index = pd.read_parquet(shop / "data/users.parquet")["user"].to_numpy()
    for target, action in (("item", "buy"), ("interest", "view")):
        taken = events[events["action"] == action]
        for split, in_period in periods.items():
            expected = taken[in_period[events["action"] == action]]
            assert data.manifest.targets[split][target] == len(expected)
            positives = []
            for inputs, labels in data.batches(split, BatchOptions(rows="queries")):
                start = 0
                for name in data.schema.target_names:
                    objects = inputs["candidates"][name]
                    of_target = labels[start : start + len(objects.flat_values)].numpy() > 0
                    start += len(objects.flat_values)
                    if name == target:
                        rows = objects.value_rowids().numpy()[of_target]
                        times = inputs["query_time"].numpy()[rows]
                        users = users_of_index[inputs["user"].numpy()[rows] - 1]
                        chosen = objects.flat_values.numpy()[of_target] - num_oov
                        positives += list(
                            zip(users, ids["object"].iloc[chosen], times, strict=True)
                        )
            assert sorted(positives) == sorted(
                expected[["user", "object", "time"]].itertuples(index=False, name=None)
            )
        in_training = taken[taken["time"] < VALIDATION]["object"].value_counts()
        counts = ids.set_index("object")[f"train_count:{target}"]
        assert counts[counts > 0].to_dict() == in_training.to_dict()
    popularity = Popularity(data.schema, data.catalog)
    assert not np.array_equal(popularity.log_counts["item"], popularity.log_counts["interest"])


@pytest.mark.slow
def test_each_target_has_a_head_metrics_and_a_signature(shop: Path, tmp_path: Path) -> None:
    data_dir, run = str(shop / "data"), str(tmp_path / "run")
    train(data_dir, run, SETTINGS.replace(epochs=1, model_settings=TINY))
    report = evaluate(data_dir, run, num_negatives=9)
    assert set(report["targets"]) == {"item", "interest"}
    assert report["targets"]["item"]["users"] > 5
    model = ATRank(*_parts(data_dir), **SMALL)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    model.save(tmp_path / "model.keras")
    schema = model.schema
    assert [signature_name(schema, t) for t in schema.target_names] == [
        "serving_default",
        "score__interest",
    ]
    objects = TimelineData(data_dir).directory / "objects"
    (tmp_path / "assets").mkdir()
    scorer = Scorer(model, RawInputs(schema, objects, tmp_path / "assets", 50))
    history: Any = {"item": [{"object": 1, "action": "view", "time": 9000}]}
    scores = {}
    for target in schema.target_names:
        request = Request(9500, [1, 2, 3], history, target)
        inputs = {n: tf.constant(v) for n, v in candidate_inputs([request], schema).items()}
        scores[target] = scorer.score_candidates(inputs, target)["logit"].numpy()
    assert (np.abs(scores["item"] - scores["interest"]) > 1e-3).all()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for weight, copy in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(weight, copy)


def _parts(data_dir: str) -> tuple[Schema, Any]:
    data = TimelineData(data_dir)
    return data.schema, data.catalog


def test_heads_begin_as_what_they_are_told_apart_from(shop: Path) -> None:
    data = TimelineData(shop / "data")
    tokens = token_encoder.TokenEncoder(data.schema, 8, 8, 4)
    assert set(tokens.heads) == {"item", "interest"}
    objects = tf.ragged.constant([[1, 2, 3]], tf.int64)
    first, second = (
        tokens.candidates(target, objects).flat_values.numpy() for target in ("item", "interest")
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
    tokens.heads["item"].kernel.assign(2 * np.eye(8))
    np.testing.assert_allclose(
        tokens.candidates("item", objects).flat_values, 2 * second, atol=1e-6
    )
    alone = token_encoder.TokenEncoder(data.schema.select(targets=["item"]), 8, 8, 4)
    assert alone.heads == {}


def test_logged_candidates_have_several_labels(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    shown = pd.DataFrame(
        {
            "user": random.integers(1, 9, 400),
            "object": random.integers(1, 13, 400),
            "time": random.integers(0, 100, 400),
            "clicked": random.integers(0, 2, 400),
            "liked": random.integers(0, 2, 400),
        }
    ).drop_duplicates(["user", "object", "time"])
    shown.to_csv(tmp_path / "shown.csv", index=False)
    events = shown[shown["clicked"] == 1][["user", "object", "time"]]
    events.to_csv(tmp_path / "events.csv", index=False)
    video = {"name": "video", "impressions": "shown.csv", "events": "events.csv"}
    targets = [
        {"name": "click", "group": "video", "label": "clicked"},
        {"name": "like", "group": "video", "label": "liked"},
    ]
    split = {"kind": "time", "validation_start": 60, "test_start": 80}
    values = json.loads(json.dumps({"groups": [video], "targets": targets, "split": split}))
    prepare(Schema.from_dict(values), tmp_path / "data", base_dir=tmp_path)
    data = EagerData(tmp_path / "data")
    for targets_read in (["click", "like"], ["like"]):
        part = EagerData(tmp_path / "data", [], targets_read)
        in_test = shown[shown["time"] >= 80]
        labels = np.concatenate([labels.numpy() for _, labels in part.batches("test")])
        assert len(labels) == len(targets_read) * len(in_test)
        columns = {"click": "clicked", "like": "liked"}
        assert labels.sum() == sum(in_test[columns[target]].sum() for target in targets_read)
    assert data.manifest.targets["test"] == {"click": len(in_test), "like": len(in_test)}
    in_training = shown[(shown["time"] < 60) & (shown["liked"] == 1)]["object"].value_counts()
    ids = pd.read_parquet(tmp_path / "data/objects/video.parquet").set_index("object")
    counts = ids["train_count:like"]
    assert counts[counts > 0].to_dict() == in_training.to_dict()
