"""Popularity: the baseline that every model must beat."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.models.ranker import History, QueryTimes, Ranker
from data_pipeline import ragged
from data_pipeline.catalog import target_counts
from data_pipeline.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class Popularity(Ranker):
    """Ranks objects by how often they occur in the training period; it has nothing to train.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> model = Popularity(schema, catalog)
    >>> query_time = tf.constant([0], tf.int64)
    >>> scores = model.score(query_time, {"item": tf.ragged.constant([[4, 2]])}, query_time)
    >>> bool(np.allclose(np.expm1(scores["item"][0]), catalog["item"]["train_counts"][[4, 2]]))
    True
    """

    serves_every_time = True
    is_trained = False
    reads_history = False

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, **kwargs)
        self.log_counts = {}
        for target in schema.target_names:
            self.log_counts[target] = self.add_weight(
                name=f"{target}_log_counts",
                shape=(schema.target_group(target).num_objects,),
                initializer="zeros",
                trainable=False,
            )
            if catalog:
                counts = target_counts(catalog, schema, target)
                self.log_counts[target].assign(np.log1p(counts))

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns `query_time`: nothing is known of the user."""
        return query_time  # type: ignore[return-value]

    def score_target(
        self,
        target: str,
        state: tf.Tensor,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates by log(1 + count)."""
        log_counts = tf.gather(self.log_counts[target].value, objects.flat_values)
        return ragged.like(objects, tf.cast(log_counts, tf.float32))
