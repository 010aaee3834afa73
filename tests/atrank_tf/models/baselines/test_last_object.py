"""The last object again: no weights, one rule."""

from atrank_tf import LastObject
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.models.baselines.examples import example, logits


def test_the_last_object_again(data: TimelineData) -> None:
    model = LastObject(data.schema)
    assert logits(model, [example([(4, 1, 3), (9, 1, 7), (5, 1, 5)])]) == [[0, 1, 0]]
    assert logits(model, [example([]), example([(5, 0, 1)])]) == [[0, 0, 0], [0, 0, 1]]
    assert not model.trainable_weights
