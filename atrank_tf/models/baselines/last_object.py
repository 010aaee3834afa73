"""The last object again: the baseline to beat where users repeat themselves."""

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
    """Scores the newest object of each user with 1, all others with 0; it has nothing to train.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects; not read.
        recurrence: Whether to look candidates up in all that the user did before. What is found
            is added to their scores. See `Recurrence`.

    Example:

    >>> model = LastObject(toy_schema_and_catalog()[0])
    >>> state = {"item": tf.constant([7], tf.int64)}  # The newest object of one user.
    >>> candidates = {"item": tf.ragged.constant([[3, 7]], tf.int64)}
    >>> model.score(state, candidates, tf.constant([100], tf.int64))["item"].to_list()
    [[0.0, 1.0]]
    """

    is_trained = False

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns the newest object index of each target, int64 [batch]; -1 for none."""
        newest = {}
        for target in self.schema.target_names:
            group = self.schema.target(target).group
            if group in history:
                objects = ragged.sort_rows(history[group]["object"], history[group]["time"])
            else:
                no_objects = tf.zeros([0], tf.int64)
                objects = ragged.empty_rows(no_objects, batch_size(single_query_time(query_time)))
            objects_and_none = tf.concat([objects.flat_values, [-1]], axis=0)
            positions = tf.where(
                objects.row_lengths() > 0,
                objects.row_limits() - 1,
                tf.size(objects_and_none, tf.int64) - 1,
            )
            newest[target] = tf.gather(objects_and_none, positions)
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
