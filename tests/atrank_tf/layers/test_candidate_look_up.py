"""Looking candidates up: as the pipeline does, and piece by piece."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.layers.candidate_look_up import CandidateLookUp
from data_pipeline import ragged
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from data_pipeline.fingerprints import fingerprint
from data_pipeline.recurrence import num_columns
from tests.atrank_tf.layers.checks import Holder
from tests.data_pipeline.batches.eager import EagerData

Batch = dict[str, Any]


@pytest.fixture(scope="module")
def layer(data: TimelineData) -> CandidateLookUp:
    layer = CandidateLookUp(data.schema)
    layer.set_catalog(data.catalog)
    return layer


@pytest.fixture(scope="module")
def batch(data_dir: Path) -> Batch:
    """One batch of all test queries, with whole histories."""
    options = BatchOptions(max_history=1000, max_tokens=10**6, num_negatives=20)
    ((inputs, _),) = EagerData(data_dir).batches("test", options)
    return inputs


def look_up(layer: CandidateLookUp, batch: Batch, touched: tf.RaggedTensor) -> dict[str, list]:
    found = layer.look_up(touched, batch["candidates"], batch["query_time"])
    return {target: numbers.to_list() for target, numbers in found.items()}


def num_rows(batch: Batch) -> tf.Tensor:
    return tf.shape(batch["query_time"], tf.int64)[0]


def part_of(history: Batch, times: tf.Tensor, is_before: bool) -> Batch:
    """The behaviors before the time of each row, or all others."""
    part = {}
    for group, columns in history.items():
        of_rows = ragged.per_value(columns["time"], times)
        is_in = (columns["time"].flat_values < of_rows) == is_before
        mask = ragged.like(columns["time"], is_in)
        part[group] = {name: tf.ragged.boolean_mask(rows, mask) for name, rows in columns.items()}
    return part


def test_it_finds_what_the_pipeline_finds(layer: CandidateLookUp, batch: Batch) -> None:
    touched = layer.touched(batch["history"], num_rows(batch))
    found = look_up(layer, batch, touched)
    assert found == {target: rows.to_list() for target, rows in batch["recurrence"].items()}
    assert any(numbers[2] >= 0 for row in found["item"] for numbers in row)


def test_each_candidate_may_have_a_time_of_its_own(layer: CandidateLookUp, batch: Batch) -> None:
    touched = layer.touched(batch["history"], num_rows(batch))
    earlier = batch["query_time"] - 40 * 86_400
    objects = batch["candidates"]["item"]
    is_early = np.arange(objects.flat_values.shape[0]) % 2 == 0
    late, early = (ragged.spread(objects, times) for times in (batch["query_time"], earlier))
    mixed = ragged.like(objects, tf.where(is_early, early.flat_values, late.flat_values))
    numbers = [
        layer.look_up(touched, {"item": objects}, times)["item"].flat_values.numpy()
        for times in ({"item": mixed}, earlier, batch["query_time"])
    ]
    expected = np.where(is_early[:, np.newaxis], numbers[1], numbers[2])
    np.testing.assert_array_equal(numbers[0], expected)
    assert (numbers[1] != numbers[2]).any()


@given(st.data())
@settings(max_examples=5, deadline=None)
def test_to_extend_is_to_take_all_at_once(
    layer: CandidateLookUp, batch: Batch, draw: st.DataObject
) -> None:
    users = draw.draw(st.lists(st.integers(0, 23), min_size=1, max_size=5, unique=True))
    history = tf.nest.map_structure(lambda column: tf.gather(column, users), batch["history"])
    # At a time of each user, some of which others have behaviors at, nothing is divided.
    times = tf.concat([columns["time"] for columns in history.values()], axis=1).to_list()
    cuts = tf.constant([draw.draw(st.sampled_from([0, *row, 2**60])) for row in times], tf.int64)
    rows = tf.constant(len(users), tf.int64)
    whole = layer.touched(history, rows)
    extended = layer.extend(
        layer.touched(part_of(history, cuts, True), rows), part_of(history, cuts, False)
    )
    assert extended.to_list() == whole.to_list()


def test_unknown_objects_are_told_apart_by_their_fingerprints(layer: CandidateLookUp) -> None:
    prints = fingerprint(tf.constant(["new", "newer", "new"]))
    events = {"object": [0, 0, 0], "action": [1, 1, 2], "time": [10, 20, 40]}
    columns = {
        name: ragged.from_row_lengths(tf.constant(values, tf.int64), [3])
        for name, values in events.items()
    }
    columns["fingerprint"] = ragged.from_row_lengths(prints, [3])
    touched = layer.touched({"item": columns}, tf.constant(1, tf.int64))
    objects = ragged.from_row_lengths(tf.zeros([3], tf.int64), [3])
    query_time = tf.constant([100], tf.int64)
    asked = fingerprint(tf.constant(["new", "newer", "newest"]))
    found = layer.look_up(
        touched, {"item": objects}, query_time, {"item": ragged.like(objects, asked)}
    )["item"].flat_values.numpy()
    assert found[:, :5].tolist() == [[1, 1, 60, 90, 0], [1, 0, 80, -1, 1], [0, 0, -1, -1, -1]]
    assert set(found[:, 5:].ravel().tolist()) <= {0, -1}  # Of their features nothing is known.
    unnamed = layer.look_up(touched, {"item": objects}, query_time)["item"].flat_values.numpy()
    assert unnamed[:, :5].tolist() == [[0, 0, -1, -1, -1]] * 3


def test_a_group_may_be_absent_or_empty(layer: CandidateLookUp, batch: Batch) -> None:
    rows = num_rows(batch)
    items = batch["history"]["item"]
    nothing = {name: ragged.empty_rows(tf.zeros([0], tf.int64), rows) for name in items}
    absent = layer.touched({"item": items}, rows)
    assert absent.to_list() == layer.touched({"item": items, "query": nothing}, rows).to_list()
    for history in ({}, {"item": nothing}):
        touched = layer.touched(history, rows)
        assert touched.to_list() == [[]] * int(rows)
        for target, found in look_up(layer, batch, touched).items():
            counts = {tuple(numbers) for row in found for numbers in row}
            assert len(counts) == 1
            (numbers,) = counts
            assert len(numbers) == num_columns(layer.schema, target)
            assert numbers[-4:] == (0, -1, -1, -1)
    assert layer.extend(layer.touched({}, rows), {"item": items}).to_list() == absent.to_list()


def test_it_is_saved_with_its_fingerprints(
    layer: CandidateLookUp, batch: Batch, tmp_path: Path
) -> None:
    again = CandidateLookUp.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert not again.trainable_weights
    Holder(layer).save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras").layer
    for copy, weight in zip(loaded.weights, layer.weights, strict=True):
        np.testing.assert_array_equal(copy, weight)
    touched = [one.touched(batch["history"], num_rows(batch)) for one in (layer, loaded, again)]
    assert touched[1].to_list() == touched[0].to_list() != touched[2].to_list()
