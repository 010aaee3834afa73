"""BPR-MF: matrix factorisation, the paper's first baseline."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.layers import EmbeddingTable
from atrank_tf.layers.object_encoder import log_odds
from atrank_tf.models.ranker import Candidates, History, Moments, Ranker, num_rows
from atrank_tf.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class BPR(Ranker):
    """Ranks by the dot product of a user's and an object's factors, plus the object's bias.

    It knows users by their id alone; train it with `BPRLoss`. Biases start at the objects'
    log-odds, as those of the other models do.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        width: Number of factors.
        l2: Weight of the L2 penalty on the factors in use.

    Reference:
        Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        width: int = 64,
        l2: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, **kwargs)
        if width < 1 or not l2 >= 0:
            raise ValueError(f"width is {width}, l2 is {l2}: expected 1 or more and 0 or more")
        self.width = width
        self.l2 = l2
        self.users = self._new_factors(schema.num_users, "users")
        self.objects = {}
        self.biases = {}
        self.embedding_rows = {}
        for target in schema.targets:
            num_rows = schema.vocabulary(target).num_rows
            self.objects[target] = self._new_factors(num_rows, f"{target}_factors")
            self.biases[target] = EmbeddingTable(
                num_rows, 1, "zeros", name=f"{target}_bias", dtype="float32"
            )
            self.embedding_rows[target] = self.add_weight(
                name=f"{target}_embedding_rows",
                shape=(schema.group(target).num_objects,),
                dtype="int64",
                initializer="zeros",
                trainable=False,
            )
            if catalog:
                self.embedding_rows[target].assign(catalog[target]["embedding_rows"])
                if not schema.group(target).impressions:
                    self.biases[target].table.assign(log_odds(catalog[target], num_rows))

    def _new_factors(self, num_rows: int, name: str) -> EmbeddingTable:
        # An initializer gives the same numbers whenever it is called: each table has its own.
        normal = keras.initializers.RandomNormal(stddev=0.1)
        return EmbeddingTable(
            num_rows, self.width, normal, l2=self.l2, name=name, dtype=self.dtype_policy
        )

    def encode(
        self,
        history: History,
        now: Moments,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Looks up the users' factors, float [batch, width]; the history is not read."""
        if user is None:
            user = tf.zeros([num_rows(now)], tf.int64)
        return self.users(user, training=training)

    def score(
        self, memory: tf.Tensor, candidates: Candidates, now: Moments, training: bool = False
    ) -> Candidates:
        """Scores candidates by the dot product of user and object factors."""
        logits = {}
        for target, objects in candidates.items():
            rows = tf.gather(self.embedding_rows[target].value, objects.flat_values)
            factors = self.objects[target](rows, training=training)
            product = tf.reduce_sum(ragged.per_value(objects, memory) * factors, axis=-1)
            bias = self.biases[target](rows)[:, 0]
            logits[target] = ragged.like(objects, tf.cast(product, tf.float32) + bias)
        return logits

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {**super().get_config(), "width": self.width, "l2": self.l2}
