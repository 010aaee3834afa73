"""Popularity: the floor that every model must clear."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.models.ranker import Candidates, History, Moments, Ranker
from atrank_tf.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class Popularity(Ranker):
    """Ranks objects by how often they occur in the training period; it has nothing to train.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
    """

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, **kwargs)
        self.log_counts = {}
        for target in schema.targets:
            self.log_counts[target] = self.add_weight(
                name=f"{target}_log_counts",
                shape=(schema.group(target).num_objects,),
                initializer="zeros",
                trainable=False,
            )
            if catalog:
                self.log_counts[target].assign(np.log1p(catalog[target]["train_counts"]))

    def encode(
        self,
        history: History,
        now: Moments,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns `now`: there is nothing to remember."""
        return now

    def score(
        self, memory: tf.Tensor, candidates: Candidates, now: Moments, training: bool = False
    ) -> Candidates:
        """Scores candidates by log(1 + count)."""
        return {
            target: ragged.like(
                objects,
                tf.cast(tf.gather(self.log_counts[target].value, objects.flat_values), tf.float32),
            )
            for target, objects in candidates.items()
        }
