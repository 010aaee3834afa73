"""The last object again: a floor where users repeat themselves."""

import keras
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.models.ranker import Candidates, History, Moments, Ranker, num_rows, one_moment


@keras.saving.register_keras_serializable("atrank_tf")
class LastObject(Ranker):
    """Scores the object of its group that a user touched last with 1, all others with 0.

    It has nothing to train.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects; not read.
    """

    def encode(
        self,
        history: History,
        now: Moments,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns the newest object row of each target group, int64 [batch]; -1 for none."""
        newest = {}
        for target in self.schema.targets:
            if target in history:
                rows = ragged.sort_rows(history[target]["object"], history[target]["time"])
            else:
                nothing = tf.zeros([0], tf.int64)
                rows = ragged.empty_rows(nothing, num_rows(one_moment(now)))
            objects = tf.concat([rows.flat_values, [-1]], axis=0)
            places = tf.where(
                rows.row_lengths() > 0, rows.row_limits() - 1, tf.size(objects, tf.int64) - 1
            )
            newest[target] = tf.gather(objects, places)
        return newest

    def score(
        self,
        memory: dict[str, tf.Tensor],
        candidates: Candidates,
        now: Moments,
        training: bool = False,
    ) -> Candidates:
        """Scores candidates with 1 where they are the newest object."""
        logits = {}
        for target, objects in candidates.items():
            is_last = objects.flat_values == ragged.per_value(objects, memory[target])
            logits[target] = ragged.like(objects, tf.cast(is_last, tf.float32))
        return logits
