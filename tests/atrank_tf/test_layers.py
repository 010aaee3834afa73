"""Every layer: shapes, empty rows, gradients, config round trip, save and load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import (
    AttentionBlock,
    BehaviorEncoder,
    EmbeddingTable,
    LatentAttention,
    ObjectEncoder,
    Recency,
    RelativeTimeBias,
)
from atrank_tf.layers.time_buckets import day_bounds
from data_pipeline import ragged
from data_pipeline.schema import Feature, Group

GROUP = Group(
    "item",
    actions=("buy", "view"),
    features=(
        Feature("color", vocabulary="color", num_values=6),
        Feature("tag", vocabulary="tag", multivalued=True, num_values=4),
    ),
    num_objects=6,
    num_oov=1,
)
OBJECTS = {
    "embedding_indices": np.array([0, 3, 2, 1, 0, 0]),
    "color/indices": np.array([0, 1, 1, 2, 2, 0]),
    "tag/indices": np.array([1, 2, 2, 3]),
    "tag/splits": np.array([0, 0, 2, 3, 3, 4, 4]),
}
BOUNDS = day_bounds(13, 86_400)
ROWS = tf.RaggedTensor.from_row_lengths(tf.constant([1, 5, 0, 2, 2], tf.int64), [3, 0, 2])


def object_encoder() -> ObjectEncoder:
    tables = {
        "item": EmbeddingTable(4, 8, name="item_table"),
        "color": EmbeddingTable(3, 4, name="color_table"),
        "tag": EmbeddingTable(4, 4, name="tag_table"),
    }
    encoder = ObjectEncoder(GROUP, tables, width=8, name="objects")
    encoder.set_objects(OBJECTS)
    return encoder


def behavior_encoder() -> BehaviorEncoder:
    return BehaviorEncoder(object_encoder(), BOUNDS, behavior_width=8, width=16)


def vectors(lengths: list[int], width: int = 16) -> tf.RaggedTensor:
    values = np.random.default_rng(0).normal(size=[sum(lengths), width]).astype(np.float32)
    return tf.RaggedTensor.from_row_lengths(values, lengths)


def attend(layer: Any, *moments: Any) -> Any:
    return layer(vectors([1, 2, 0]), layer.keys_values(vectors([3, 0, 2])), *moments)


QUERY_TIMES = tf.constant([[10**9, 0], [5, 5], [0, 0]], tf.int64)
TIMES = tf.RaggedTensor.from_row_lengths(tf.constant([10**9, 3, 10**8, 1, 2], tf.int64), [3, 0, 2])
HISTORY = {"object": ROWS, "action": ROWS.with_flat_values(tf.constant([0, 1, 2, 1, 1], tf.int64))}
HISTORY["time"] = ROWS.with_flat_values(tf.constant([9, 10**9, 0, 5, 10**9 + 5], tf.int64))
QUERY_TIME = tf.constant([10**9 + 10] * 3, tf.int64)

LAYERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], list[int]]] = {
    "table": (lambda: EmbeddingTable(5, 4), lambda layer: layer(ROWS.flat_values % 5), [5, 4]),
    "objects": (object_encoder, lambda layer: layer(ROWS.flat_values), [5, 8]),
    "behaviors": (behavior_encoder, lambda layer: layer(HISTORY, QUERY_TIME).flat_values, [5, 16]),
    "attention": (lambda: LatentAttention(16, 4), lambda layer: attend(layer), [3, 16]),
    "bilinear": (
        lambda: LatentAttention(16, 4, scores="bilinear"),
        lambda layer: attend(layer),
        [3, 16],
    ),
    "causal attention": (
        lambda: LatentAttention(16, 4, BOUNDS),
        lambda layer: attend(layer, QUERY_TIMES, TIMES),
        [3, 16],
    ),
    "block": (
        lambda: AttentionBlock(16, 4, dropout=0.1),
        lambda layer: attend(layer).flat_values,
        [3, 16],
    ),
    "causal block": (
        lambda: AttentionBlock(16, 4, dropout=0.1, time_bounds=BOUNDS),
        lambda layer: attend(layer, QUERY_TIMES, TIMES).flat_values,
        [3, 16],
    ),
    "time bias": (
        lambda: RelativeTimeBias(4, BOUNDS),
        lambda layer: layer(QUERY_TIMES, TIMES.to_tensor()),
        [4, 3, 2, 3],
    ),
    "recency": (
        lambda: Recency(16, BOUNDS, l2=0.1),
        lambda layer: layer(vectors([1, 2, 0]), QUERY_TIMES, TIMES).flat_values,
        [3, 16],
    ),
}


@keras.saving.register_keras_serializable("tests")
class Holder(keras.Model):
    """A model that is one layer, so that the layer can be saved and loaded."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {"layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Holder":
        return cls(keras.saving.deserialize_keras_object(config["layer"]))


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, tmp_path: Path) -> None:
    make, call, shape = LAYERS[name]
    layer = make()
    found = call(layer)
    assert list(found.shape) == shape
    assert np.isfinite(found).all()

    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]

    Holder(layer).save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras").layer
    np.testing.assert_array_equal(call(loaded), found)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(call(layer)))
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    assert all(g is not None for g in gradients)
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients)


@pytest.mark.parametrize("name", ["objects", "attention", "block", "behaviors"])
def test_no_input_at_all(name: str) -> None:
    layer = LAYERS[name][0]()
    nothing = ROWS[:0]
    found = {
        "objects": lambda: layer(nothing.flat_values),
        "attention": lambda: layer(vectors([]), layer.keys_values(vectors([]))),
        "block": lambda: layer(vectors([]), layer.keys_values(vectors([]))).flat_values,
        "behaviors": lambda: layer(dict.fromkeys(HISTORY, nothing), QUERY_TIME[:0]).flat_values,
    }[name]()
    assert found.shape[0] == 0


def test_a_query_without_memory_gets_zeros() -> None:
    layer = LatentAttention(16, 4)
    found = layer(vectors([1, 2]), layer.keys_values(vectors([0, 3])))
    assert not found.numpy()[0].any()
    assert found.numpy()[1:].any()


def test_a_query_that_nothing_came_before_gets_zeros() -> None:
    layer = LatentAttention(16, 4, BOUNDS)
    memory = layer.keys_values(vectors([2, 1]))
    times = ragged.like(memory, tf.constant([7, 8, 9], tf.int64))
    found = layer(vectors([2, 1]), memory, tf.constant([[7, 8], [8, 0]], tf.int64), times).numpy()
    assert not found[0].any()  # An event of the same instant is not visible, either.
    assert not found[2].any()
    np.testing.assert_allclose(found[1], memory.flat_values[0, 16:], atol=1e-6)


@pytest.mark.parametrize("scores", ["scaled_dot", "bilinear"])
def test_weights_are_those_that_average_the_values(scores: str) -> None:
    layer = LatentAttention(16, 4, BOUNDS, scores)
    queries, behaviors = vectors([2, 1, 0]), vectors([3, 0, 2])
    memory = layer.keys_values(behaviors)
    query_times = tf.constant([[9, 2], [9, 0], [0, 0]], tf.int64)
    times = tf.RaggedTensor.from_row_lengths(tf.constant([1, 5, 9, 3, 4], tf.int64), [3, 0, 2])
    weights = layer.attention_weights(queries, memory, query_times, times).numpy()
    assert weights.shape == (4, 3, 2, 3)
    visible = np.zeros((3, 2, 3), bool)
    visible[0] = [[True, True, False], [True, False, False]]  # Strictly before.
    assert ((weights > 0) == visible).all()
    np.testing.assert_allclose(
        weights.sum(-1), np.broadcast_to(visible.any(-1), (4, 3, 2)), atol=1e-6
    )
    values = memory[0].numpy()[:, 16:].reshape(3, 4, 4)
    context = np.einsum("kqt,tkd->qkd", weights[:, 0], values).reshape(2, 16)
    found = layer(queries, memory, query_times, times).numpy()
    np.testing.assert_allclose(found[:2], context, atol=1e-5)
    assert (found[2] == 0).all()


def test_a_bias_for_each_space_and_bucket() -> None:
    layer = RelativeTimeBias(num_spaces=2, time_bounds=[10, 20])
    layer.time.assign([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    order = np.arange(10.0, 90.0, 10.0)  # Of the last behavior, the one before it ...
    layer.order.assign([order, 10 * order])
    padding = tf.int64.max
    times = tf.constant([[90, 99, 80, 0, 80, 100, 101, padding]], tf.int64)
    found = layer(tf.constant([[100, 90]], tf.int64), times).numpy()
    seen = np.array([[2, 1, 3, 3, 3], [5, 4, 6, 6, 6]])
    # Of one instant all are as far, whatever their order in the row: four and four, then five.
    places = np.array([2, 1, 4, 5, 4]) - 1
    bucket = np.array([0, 1, 2, 3, 3])[places]
    np.testing.assert_array_equal(found[0, 0, 0, :5], seen[0] + order[bucket])
    np.testing.assert_array_equal(found[1, 0, 0, :5], seen[1] + 10 * order[bucket])
    # The second query does not see the first two.
    np.testing.assert_array_equal(found[0, 0, 1, 2:5], [2 + 20, 3 + 30, 2 + 20])
    assert (found[:, 0, 0, 5:] < -1e8).all()
    assert (found[:, 0, 1, [0, 1, 5, 6, 7]] < -1e8).all()


def test_recency_is_the_gap_to_the_newest_before() -> None:
    layer = Recency(width=1, time_bounds=[10, 20])
    layer.gaps.table.assign([[1.0], [2.0], [3.0], [4.0]])
    values = tf.constant([80, 100, 90, 100, 7], tf.int64)
    times = tf.RaggedTensor.from_row_lengths(values, [4, 0, 1])
    rows = tf.RaggedTensor.from_row_lengths(tf.zeros([9, 1]), [5, 2, 2])
    moments = [[80, 90, 99, 101, 130], [80, 90, 0, 0, 0], [7, 8, 0, 0, 0]]
    found = layer(rows, tf.constant(moments, tf.int64), times)
    # Nothing before; 10; 9; 1; 30 away. Nothing at all. Of its own instant nothing is before.
    assert found.flat_values[:, 0].numpy().tolist() == [1, 3, 2, 2, 4, 1, 1, 1, 2]
    of_rows = layer(rows, tf.constant([[101], [101], [17]], tf.int64), times)
    assert of_rows.flat_values[:, 0].numpy().tolist() == [2] * 5 + [1] * 2 + [3] * 2


def test_gradients_of_the_biases() -> None:
    layer = RelativeTimeBias(num_spaces=2, time_bounds=[10, 20])
    random = np.random.default_rng(0)
    query_times = tf.constant(random.integers(0, 60, (3, 4)))
    times = random.integers(0, 60, (3, 50))
    times[1, 30:] = tf.int64.max  # Padding.
    factors = random.normal(size=(2, 3, 4, 50))
    is_visible = layer(query_times, times).numpy() > -1e8
    assert not is_visible[:, 1, :, 30:].any()

    @tf.function
    def total() -> tf.Tensor:
        return tf.reduce_sum(tf.where(is_visible, layer(query_times, times) * factors, 0.0))

    with tf.GradientTape() as tape:
        loss = total()
    weights = [layer.time, layer.order]
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        for place in np.ndindex(*weight.shape):  # Linear in each: a step of any size will do.
            weight.assign(np.eye(weight.shape[1])[[place[1]] * 2] * np.eye(2)[:, [place[0]]])
            assert float(total()) == pytest.approx(float(gradient[place]), abs=1e-4)
            weight.assign(np.zeros(weight.shape))


def test_sums_of_gradients_are_exact_in_mixed_precision() -> None:
    layers = [
        RelativeTimeBias(1, [10, 20], dtype=policy) for policy in ("mixed_bfloat16", "float32")
    ]
    query_times, times = tf.constant([[3000]], tf.int64), tf.constant([[0] * 300], tf.int64)
    gradients = []
    for layer in layers:
        with tf.GradientTape() as tape:
            found = layer(query_times, times)
            assert found.dtype == layer.compute_dtype
            loss = tf.reduce_sum(tf.cast(found, tf.float32))
        gradients.append(tape.gradient(loss, [layer.time, layer.order]))
    # 300 is no number of bfloat16's.
    np.testing.assert_array_equal(gradients[0][0], [[0, 0, 300]])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bounds_ascend() -> None:
    for bounds in ([0, 4], [1, 4], [4, 4], [9, 4]):
        with pytest.raises(ValueError, match=r"time_bounds is \[.*expected to ascend, from 2 on"):
            RelativeTimeBias(2, bounds)
        with pytest.raises(ValueError, match=r"time_bounds is \[.*expected to ascend, from 2 on"):
            Recency(2, bounds)


def test_mean_of_the_values_of_a_feature() -> None:
    encoder = object_encoder()
    encoder.network.kernel.assign(np.eye(16, 8, -8))  # Passes on color and tag.
    encoder.network.bias.assign(np.zeros(8))
    tags = encoder(tf.constant([1, 3], tf.int64)).numpy()[:, 4:]
    table = encoder.tables["tag"].table.numpy()
    np.testing.assert_allclose(tags[0], (table[1] + table[2]) / 2, atol=1e-6)
    np.testing.assert_array_equal(tags[1], np.zeros(4))


def test_a_candidate_is_an_object_that_nothing_was_done_to() -> None:
    layer = behavior_encoder()
    expected = layer.project(layer.objects(ROWS.flat_values))
    np.testing.assert_array_equal(layer.candidates(ROWS).flat_values, expected)


def test_gradients_of_a_table_are_sparse() -> None:
    table = EmbeddingTable(1000, 4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table(tf.constant([3, 7, 3])))
    gradient = tape.gradient(loss, table.table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.values.shape == [3, 4]


def test_width_must_be_a_multiple_of_the_spaces() -> None:
    with pytest.raises(ValueError, match=r"width \(16\) must be a multiple of num_spaces \(5\)"):
        LatentAttention(16, 5)
