"""Recurrence: what look-ups found, as a number to add to a logit."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import recurrence
from atrank_tf.layers.recurrence import Recurrence
from data_pipeline.schema import Feature, Group, Schema
from tests.atrank_tf.layers.checks import Layers, check_layer

WIDTH = 3
ITEM = Group("item", actions=("buy", "view"), features=(Feature("category"),), objects="i.csv")
SCHEMA = Schema((ITEM,), ("item",))
# Of the id the counts of two actions, gap, previous and steps; of the category count and so on.
NUMBERS = [
    [2, 1, 60, 900, 0, 5, 60, 61, 3],
    [0, 0, -1, -1, -1, 1, 86_400, -1, 2],
    [0, 0, -1, -1, -1, 0, -1, -1, -1],
    [0] * 9,
    [-1] * 9,
    [2**40] * 9,
    [2**62] * 9,
    [400, 3999, 2**30, 2**30 - 1, 4000, 399, 1, 2, 1000],
]
SCORES = tf.constant([0.5, -1.0, 2.0, 0.0, 0.25, -0.75, 1.5, 3.0])
LAYERS: Layers = {
    "recurrence": (
        lambda: filled(Recurrence(SCHEMA, "item", WIDTH)),
        lambda layer: layer(tf.constant(NUMBERS, tf.int64), SCORES),
        [len(NUMBERS)],
    )
}


def filled(layer: Recurrence) -> Recurrence:
    """The layer with weights that are far from zero."""
    random = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    return layer


@pytest.mark.parametrize("name", ["recurrence"])
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


@pytest.mark.parametrize(("time_unit", "second"), [("s", 1), ("ms", 1000)])
def test_scores_are_what_its_equations_say(time_unit: str, second: int) -> None:
    layer = filled(Recurrence(Schema((ITEM,), ("item",), time_unit=time_unit), "item", WIDTH))
    gaps = [0, *(second * seconds for seconds in recurrence.GAP_SECONDS)]
    counts, steps = recurrence.COUNT_BOUNDS, recurrence.STEP_BOUNDS
    of_id, of_category = [counts, counts, gaps, gaps, steps], [counts, gaps, gaps, steps]
    table = np.concatenate(
        [layer.buckets.table.numpy(), layer.weights_of_buckets.table.numpy()], axis=1
    ).astype(np.float64)
    hidden, hidden_bias, outer, outer_bias = (
        np.asarray(w, np.float64) for w in [*layer.hidden.weights, *layer.outer.weights]
    )
    expected: list[float] = []
    for numbers in NUMBERS:
        first, column, sums = 0, 0, []
        for look_up in (of_id, of_category):
            total = np.zeros(WIDTH + 1)
            for bounds in look_up:
                total += table[first + sum(numbers[column] >= bound for bound in bounds)]
                first, column = first + len(bounds) + 1, column + 1
            sums.append(total)
        assert (first, column) == (len(table), len(numbers))
        score = float(SCORES[len(expected)])
        embedded = np.concatenate([*(total[:WIDTH] for total in sums), [score]])
        direct = sum(total[WIDTH] for total in sums)
        activation = np.maximum(embedded @ hidden + hidden_bias, 0)
        habit, gate = activation @ outer + outer_bias
        expected.append((1 + gate) * score + habit + direct)
    scores = layer(tf.constant(NUMBERS, tf.int64), SCORES)
    assert scores.dtype == tf.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    again = layer(tf.constant(NUMBERS, tf.int64), tf.zeros([len(NUMBERS)]))
    assert len(set(again.numpy().tolist())) == 6  # Never is as good as -1, and 2**40 as 2**62.


def test_at_first_scores_stay_as_they_are() -> None:
    logits = Recurrence(SCHEMA, "item")(tf.constant(NUMBERS, tf.int64), SCORES)
    assert logits.numpy().tolist() == SCORES.numpy().tolist()


def test_all_its_weights_learn() -> None:
    keras.utils.set_random_seed(1)
    layer = Recurrence(SCHEMA, "item", WIDTH)
    optimizer = keras.optimizers.SGD(0.5)
    before = [weight.numpy() for weight in layer.trainable_weights]
    labels = tf.constant(np.arange(len(NUMBERS)) % 2, tf.float32)
    for _ in range(5):
        with tf.GradientTape() as tape:
            logits = layer(tf.constant(NUMBERS, tf.int64), SCORES, training=True)
            loss = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        gradients = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
        pairs = zip(gradients, layer.trainable_weights, strict=True)
        optimizer.apply_gradients([(tf.convert_to_tensor(g), weight) for g, weight in pairs])
    for weight, start in zip(layer.trainable_weights, before, strict=True):
        assert (weight.numpy() != start).any(), weight.path


def test_other_precision_and_no_candidates() -> None:
    layer = filled(Recurrence(SCHEMA, "item", WIDTH, dtype="mixed_float16"))
    scores = layer(tf.constant(NUMBERS, tf.int64), SCORES)
    assert scores.dtype == tf.float32
    assert np.isfinite(scores).all()
    assert layer(tf.zeros([0, 9], tf.int64), tf.zeros([0])).shape == (0,)
