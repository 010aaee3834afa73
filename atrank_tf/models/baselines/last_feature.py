"""Last feature: what of a candidate the user was last concerned with, the baseline of offers."""

import keras
import tensorflow as tf

from atrank_tf.models.baselines.own_history import OwnHistory
from data_pipeline.recurrence import ID, NEVER, LookUp, look_ups, num_counts
from data_pipeline.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class LastFeature(OwnHistory):
    """Ranks by how lately the user touched an object that is a feature of the candidate.

    The coupons of the campaign that a household received last come first. Where no feature of the
    target shares its vocabulary with the ids of another group, it ranks by popularity. It reads the
    whole history, and has nothing to train.

        rest = log(1 + popularity) / 64, below 1
        score = 1 + 1000 / (1 + log(1 + gap)) + rest / 100    of what has such a feature
        score = rest                                          of all else

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.

    Example:

    >>> coupon = Group("coupon", features=(Feature("campaign"),), objects="coupons.csv")
    >>> schema = Schema((coupon, Group("campaign")), ("coupon",))
    >>> [look_up.name for look_up in LastFeature.look_ups_of(schema, "coupon")]
    ['campaign among campaign']
    """

    tie_weight = 0.01

    @staticmethod
    def look_ups_of(schema: Schema, target: str) -> list[LookUp]:
        """Returns the look-ups of features among the ids of other groups."""
        own = schema.target(target).group
        return [
            x
            for x in look_ups(schema, target)
            if x.field != ID and x.source == ID and x.group != own
        ]

    def habit(self, target: str, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the score of what has a feature that the user touched, above 1; 0 of all else."""
        gaps, first = [], 0
        chosen = self.look_ups_of(self.schema, target)
        for look_up in look_ups(self.schema, target):
            gap = first + num_counts(self.schema, look_up)
            if look_up in chosen:
                gaps.append(tf.where(numbers[:, gap] != NEVER, numbers[:, gap], tf.int64.max))
            first = gap + 3
        if not gaps:
            return tf.zeros_like(numbers[:, 0], tf.float32)
        least = tf.reduce_min(tf.stack(gaps), axis=0)
        return tf.where(least < tf.int64.max, 1.0 + 1000.0 * self.lateness(least), 0.0)
