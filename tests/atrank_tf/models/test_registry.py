"""The registry: names, facts, arguments, and a baseline from outside the package."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import Ranker
from atrank_tf.evaluate.evaluation import evaluate
from atrank_tf.models import registry
from atrank_tf.models.ranker import History, QueryTimes
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline import TimelineData, UserError, ragged
from export.export_model import export_model
from export.score import score_file
from export.serve.servable import Servable
from tests.conftest import DAY, START


@keras.saving.register_keras_serializable("toy")
class Recent(Ranker):
    """A toy: a weight for each object, and how many behaviors a user has.

    Args:
        schema: Description of the data.
        catalog: What is known of the objects; not read.
        slope: How much a behavior counts.
    """

    def __init__(self, schema: Any, catalog: Any = None, slope: float = 0.1, **kwargs: Any) -> None:
        super().__init__(schema, **kwargs)
        self.slope = slope
        self.of_objects = {
            target: self.add_weight(
                name=target, shape=(schema.target_group(target).num_objects,), initializer="zeros"
            )
            for target in schema.target_names
        }

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        lengths = [group["object"].row_lengths() for group in history.values()]
        return self.slope * tf.cast(tf.add_n(lengths), tf.float32)

    def score_target(
        self,
        target: str,
        state: tf.Tensor,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        weights = tf.gather(self.of_objects[target].value, objects.flat_values)
        return ragged.like(objects, weights + ragged.per_value(objects, state))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slope": self.slope}


@pytest.fixture
def registered() -> Iterator[str]:
    registry.register("recent", Recent)
    yield "recent"
    registry.unregister("recent")


@pytest.mark.slow
def test_a_baseline_from_outside_trains_evaluates_is_exported_and_served(
    registered: str, data: TimelineData, data_dir: Path, tmp_path: Path
) -> None:
    run, base = tmp_path / "run", tmp_path / "serving" / "recent"
    settings = Settings(model=registered, model_settings={"slope": 0.2}, epochs=2)
    assert train(str(data_dir), str(run), settings)["epoch"] == 2
    report = evaluate(str(data_dir), str(run), num_negatives=5)
    assert report["model"] == "recent"
    assert 0 < report["targets"]["item"]["auc"]["value"] < 1
    version, verification = export_model(run, base)
    assert verification.difference < 1e-5
    history = {"query": [{"object": 3, "time": START + 399 * DAY}]}
    request = {"time": START + 400 * DAY, "history": history, "candidates": [101, 133]}
    (tmp_path / "r.jsonl").write_text(json.dumps(request) + "\n")
    (answer,) = score_file(version, tmp_path / "r.jsonl")
    servable = Servable(version)
    served = servable.run(
        "serving_default",
        {
            "item_objects": np.zeros((2, 1), np.int64),
            "item_actions": np.full((2, 1), "", object),
            "item_times": np.zeros((2, 1), np.int64),
            "item_length": np.zeros(2, np.int64),
            "query_objects": np.full((2, 1), 3, np.int64),
            "query_times": np.full((2, 1), START + 399 * DAY, np.int64),
            "query_length": np.ones(2, np.int64),
            "request_time": np.full(2, START + 400 * DAY, np.int64),
            "candidate": np.array([101, 133], np.int64),
        },
    )
    servable.close()
    np.testing.assert_allclose(served["logit"], answer["logits"], atol=1e-6)
    assert "explain" not in servable.signatures


def test_its_arguments_become_flags(registered: str) -> None:
    argument = registry.model_arguments(registered)["slope"]
    assert argument == registry.Argument("number", 0.1, (), "How much a behavior counts.")


def test_arguments_of_every_model_say_what_they_mean() -> None:
    for name in registry.model_names():
        for argument in registry.model_arguments(name).values():
            assert argument.meaning.endswith(".")
            assert len(argument.meaning.partition(". ")[0]) < 85


def test_a_name_that_is_not_registered() -> None:
    with pytest.raises(UserError, match="model is 'dnn': expected one of atrank, bilstm, "):
        registry.model_class("dnn")


def test_no_other_module_names_a_baseline() -> None:
    root = Path(registry.__file__).parents[2]
    # bpr is the name of a loss, too, popularity a way of sampling.
    baselines = set(registry.model_names()) - {"atrank", "bpr", "popularity"}
    for path in [p for folder in ("atrank_tf", "export") for p in (root / folder).rglob("*.py")]:
        if path.name != "registry.py":
            assert not baselines & set(strings(ast.parse(path.read_text("utf-8")))), path


def strings(tree: ast.Module) -> Iterator[str]:
    """The string constants of a module, docstrings left out."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    for node in constants:
        if id(node) not in docstrings and isinstance(node.value, str):
            yield node.value
