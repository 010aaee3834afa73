"""The last object again: a floor where users repeat themselves."""

import keras
import tensorflow as tf

from atrank_tf.models.ranker import (
    History,
    QueryTimes,
    Ranker,
    batch_size,
    single_query_time,
)
from data_pipeline import ragged


@keras.saving.register_keras_serializable("atrank_tf")
class LastObject(Ranker):
    """Scores the object of its group that a user touched last with 1, all others with 0.

    It has nothing to train.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects; not read.
    """

    is_trained = False

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns the newest object index of each target group, int64 [batch]; -1 for none."""
        newest = {}
        for target in self.schema.targets:
            if target in history:
                rows = ragged.sort_rows(history[target]["object"], history[target]["time"])
            else:
                nothing = tf.zeros([0], tf.int64)
                rows = ragged.empty_rows(nothing, batch_size(single_query_time(query_time)))
            objects = tf.concat([rows.flat_values, [-1]], axis=0)
            places = tf.where(
                rows.row_lengths() > 0, rows.row_limits() - 1, tf.size(objects, tf.int64) - 1
            )
            newest[target] = tf.gather(objects, places)
        return newest

    def score_target(
        self,
        target: str,
        state: dict[str, tf.Tensor],
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates with 1 where they are the newest object."""
        is_last = objects.flat_values == ragged.per_value(objects, state[target])
        return ragged.like(objects, tf.cast(is_last, tf.float32))
