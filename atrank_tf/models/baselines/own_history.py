"""Own history: the user's own habits alone, the baseline to beat where objects recur."""

from typing import Any

import keras
import tensorflow as tf

from atrank_tf.models.baselines.popularity import Popularity
from atrank_tf.models.ranker import Candidates, QueryTimes
from data_pipeline import ragged
from data_pipeline.recurrence import look_ups, num_counts


@keras.saving.register_keras_serializable("atrank_tf")
class OwnHistory(Popularity):
    """Ranks by how often the user touched an object, then how lately, then by its popularity.

    It reads the whole history, and has nothing to train.

        score = count + 1 / (1 + log(1 + gap))     of what the user touched
        score = log(1 + popularity) / bound, below 1    of all else

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> model = OwnHistory(schema, catalog)
    >>> data = TimelineData(toy_data())
    >>> ((inputs, labels),) = data.batches("test").take(1)
    >>> model(inputs).shape == labels.shape
    True

    Reference:
        Li et al., "A Next Basket Recommendation Reality Check", arXiv 2109.14233: personal
        frequency.
    """

    reads_history = True

    @classmethod
    def looks_up(cls, **arguments: Any) -> bool:
        """Returns that it does."""
        return True

    def score(
        self,
        state: tf.Tensor,
        candidates: Candidates,
        query_time: QueryTimes,
        recurrence: Candidates | None = None,
        training: bool = False,
    ) -> Candidates:
        """Scores candidates: see the class."""
        if recurrence is None:
            raise ValueError("own_history looks candidates up: score needs their recurrence")
        scores = {}
        for target, objects in candidates.items():
            own, *_ = look_ups(self.schema, target)
            num_actions = num_counts(self.schema, own)
            numbers = recurrence[target].flat_values
            count = tf.cast(tf.reduce_sum(numbers[:, :num_actions], axis=1), tf.float32)
            gap = tf.cast(numbers[:, num_actions], tf.float32)
            # With an action that the data does not know it is touched, and counted by none.
            habit = tf.maximum(count, 1.0) + 1.0 / (1.0 + tf.math.log1p(tf.maximum(gap, 0.0)))
            popularity = self.score_target(target, state, objects, state).flat_values
            rest = popularity / 64.0  # No count has a logarithm above it.
            scores[target] = ragged.like(objects, tf.where(gap > 0, habit, rest))
        return scores
