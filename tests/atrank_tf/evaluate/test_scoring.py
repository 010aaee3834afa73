"""Scores of held-out targets: each with its user, query and label."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.models import Popularity
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import DivergedError
from data_pipeline.core.progress import Progress
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import make_batch

Batches = Iterable[tuple[dict[str, Any], tf.Tensor]]


@pytest.fixture(scope="module")
def batches(data: TimelineData) -> tf.data.Dataset:
    return data.batches("test", BatchOptions(num_negatives=3)).cache()


def dataset(batches: Batches) -> tf.data.Dataset:
    """Hand-made batches, of any shape."""
    inputs, labels = next(iter(batches))
    specs = tf.nest.map_structure(any_length, (inputs, labels), expand_composites=False)
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=specs)


def any_length(tensor: Any) -> tf.TypeSpec:
    if isinstance(tensor, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None], tensor.dtype, row_splits_dtype=tf.int64)
    return tf.TensorSpec([None], tensor.dtype)


def test_scores_and_labels_stay_together(data: TimelineData, batches: tf.data.Dataset) -> None:
    model = Popularity(data.schema, data.catalog)
    scored = Scoring(model, batches).run()
    counts = data.catalog["item"]["train_counts"]
    expected = []
    for inputs, labels in batches:
        objects = inputs["candidates"]["item"]
        users = np.repeat(inputs["user"].numpy(), objects.row_lengths())
        indices = objects.flat_values.numpy()
        item_labels = labels.numpy()[: len(indices)]
        expected += list(zip(users, np.log1p(counts[indices]), item_labels, strict=True))
    scores = scored["item"]
    lines = list(zip(scores.user, scores.logit, scores.label, strict=True))
    np.testing.assert_allclose(lines, expected, rtol=1e-6)


def test_scores_that_are_no_numbers_are_refused(
    data: TimelineData, batches: tf.data.Dataset
) -> None:
    model = Popularity(data.schema, data.catalog)
    model.log_counts["item"].assign(model.log_counts["item"] * float("nan"))
    with pytest.raises(DivergedError, match="a score is nan: the model has diverged"):
        Scoring(model, batches).run()


def test_queries_are_numbered_over_all_batches(
    data: TimelineData, capsys: pytest.CaptureFixture[str]
) -> None:
    def example(user: int, **candidates: list[int]) -> dict[str, Any]:
        return {"user": user, "query_time": 9, "history": {}, "candidates": candidates}

    model = Popularity(data.schema, data.catalog)
    first = [example(7, item=[4, 5], query=[1]), example(3, item=[6])]
    second = [example(7, item=[8])]  # A user again: another query, without a candidate of query.
    labels = [tf.constant([0.0, 1.0, 0.0, 1.0]), tf.constant([1.0])]
    made = [
        (make_batch(examples, data.schema), y)
        for examples, y in zip((first, second), labels, strict=True)
    ]
    scoring = Scoring(model, dataset(made))
    scored = scoring.run(Progress("scoring", "batches", seconds=0.0))
    assert scored["item"].user.tolist() == [7, 7, 3, 7]
    assert scored["item"].query.tolist() == [0, 0, 1, 2]
    assert scored["item"].label.tolist() == [0, 1, 0, 1]
    assert scored["query"].user.tolist() == [7]
    assert scored["query"].query.tolist() == [0]
    assert scored["query"].label.tolist() == [1]
    assert scoring.candidates == [4, 1]
    assert len(scoring.seconds) == 2
    assert min(scoring.seconds) > 0
    assert capsys.readouterr().err.startswith("scoring: 2 batches, ")


def test_a_target_without_candidates_has_no_scores(data: TimelineData) -> None:
    examples = [{"user": 7, "query_time": 9, "history": {}, "candidates": {"item": [4]}}]
    made = [(make_batch(examples, data.schema), tf.constant([1.0]))]
    scored = Scoring(Popularity(data.schema, data.catalog), dataset(made)).run()
    assert set(scored) == {"item", "query"}
    fields = dataclasses.astuple(scored["query"])[:4]
    assert [len(values) for values in fields] == [0] * 4


def test_targets_of_impressions_are_labelled(data: TimelineData) -> None:
    groups = tuple(
        dataclasses.replace(group, impressions="i.csv") if group.name == "query" else group
        for group in data.schema.groups
    )
    model = Popularity(dataclasses.replace(data.schema, groups=groups), data.catalog)
    examples = [
        {"user": 7, "query_time": 9, "history": {}, "candidates": {"item": [4], "query": [1]}}
    ]
    made = [(make_batch(examples, data.schema), tf.constant([1.0, 0.0]))]
    scored = Scoring(model, dataset(made)).run()
    assert {target: values.labelled for target, values in scored.items()} == {
        "item": False,
        "query": True,
    }
