"""Own history: the user's own habits alone, the baseline to beat where objects recur."""

from typing import Any, ClassVar

import keras
import tensorflow as tf

from atrank_tf.models.baselines.popularity import Popularity
from atrank_tf.models.ranker import Candidates, QueryTimes
from data_pipeline import ragged
from data_pipeline.recurrence import look_ups, num_counts
from data_pipeline.schema import SECONDS_PER_DAY


@keras.saving.register_keras_serializable("atrank_tf")
class OwnHistory(Popularity):
    """Ranks by how often the user touched an object, then how lately, then by its popularity.

    It reads the whole history, and has nothing to train.

        rest = log(1 + popularity) / 64, below 1
        score = count + 1 / (1 + log(1 + gap)) + rest / 10,000    of what the user touched
        score = rest                                              of all else

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
    # What popularity weighs among like habits.
    tie_weight: ClassVar[float] = 1e-4

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
        positions: Candidates | None = None,
        training: bool = False,
    ) -> Candidates:
        """Scores candidates: see the class."""
        if recurrence is None:
            raise ValueError("this model looks candidates up: score needs their recurrence")
        scores = {}
        for target, objects in candidates.items():
            habit = self.habit(target, recurrence[target].flat_values)
            popularity = self.score_target(target, state, objects, state).flat_values
            rest = popularity / 64.0  # No count has a logarithm above it.
            habit = tf.where(habit > 0, habit + self.tie_weight * rest, rest)
            scores[target] = ragged.like(objects, habit)
        return scores

    def habit(self, target: str, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the score of what the user touched, above 1; 0 of all else.

        Args:
            target: Name of the target.
            numbers: What look-ups found, int64 [candidates, numbers].

        Returns:
            float32 [candidates].
        """
        own, *_ = look_ups(self.schema, target)
        num_actions = num_counts(self.schema, own)
        count = tf.cast(tf.reduce_sum(numbers[:, :num_actions], axis=1), tf.float32)
        gap = numbers[:, num_actions]
        # With an action that the data does not know it is touched, and counted by none.
        return tf.where(gap > 0, tf.maximum(count, 1.0) + self.lateness(gap), 0.0)

    def lateness(self, gap: tf.Tensor) -> tf.Tensor:
        """Returns 1 / (1 + log(1 + gap)), float32, of gaps in the schema's time unit.

        The gap counts in seconds.
        """
        second = self.schema.units_per_day // SECONDS_PER_DAY
        seconds = tf.maximum(tf.cast(gap, tf.float32), 0.0) / float(second)
        return 1.0 / (1.0 + tf.math.log1p(seconds))
