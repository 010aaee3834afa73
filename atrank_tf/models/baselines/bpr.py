"""BPR-MF: matrix factorization, the paper's first baseline."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers import EmbeddingTable, ObjectBias
from atrank_tf.models.ranker import History, QueryTimes, Ranker, batch_size
from data_pipeline import ragged
from data_pipeline.catalog import target_counts
from data_pipeline.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class BPR(Ranker):
    """Ranks by the dot product of a user's and an object's factors, plus the object's bias.

    It knows users by their index alone; train it with `BPRLoss`. Biases start at the objects'
    log-odds, as those of the other models do.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        width: Number of factors.
        l2: Weight of the L2 penalty on the factors in use.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = BPR(data.schema, data.catalog, width=8)
    >>> model.compile(RowSparse(0.001), BPRLoss())
    >>> ((inputs, labels),) = data.batches("train", BatchOptions(rows="queries")).take(1)
    >>> model(inputs).shape == labels.shape
    True

    Reference:
        Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """

    serves_every_time = True
    reads_history = False
    needs_user_index = True
    default_loss = "bpr"
    is_in_paper = True
    # It reads no history, and learns best from small batches at a constant learning rate.
    best_settings: ClassVar[Mapping[str, Any]] = {
        "rows": "queries",
        "max_history": 1,
        "max_tokens": 512,
        "learning_rate": 0.001,
        "decay": 1.0,
    }

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        width: int = 64,
        l2: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, **kwargs)
        if width < 1 or not l2 >= 0:
            raise ValueError(f"width is {width}, l2 is {l2}: expected 1 or more and 0 or more")
        self.width = width
        self.l2 = l2
        self.users = self._new_factors(schema.num_users, "users")
        self.objects = {}
        self.biases = {}
        self.embedding_indices = {}
        for target in schema.target_names:
            group = schema.target_group(target)
            num_embeddings = schema.vocabulary(group.name).num_embeddings
            self.objects[target] = self._new_factors(num_embeddings, f"{target}_factors")
            self.biases[target] = ObjectBias(num_embeddings, name=f"{target}_bias")
            self.embedding_indices[target] = self.add_weight(
                name=f"{target}_embedding_indices",
                shape=(group.num_objects,),
                dtype="int64",
                initializer="zeros",
                trainable=False,
            )
            if catalog:
                indices = catalog[group.name]["embedding_indices"]
                self.embedding_indices[target].assign(indices)
                if not group.impressions:
                    counts = target_counts(catalog, schema, target)
                    self.biases[target].set_log_odds(indices, counts)

    def _new_factors(self, num_embeddings: int, name: str) -> EmbeddingTable:
        # An initializer returns the same numbers at every call: each table needs another.
        normal = keras.initializers.RandomNormal(stddev=0.1)
        return EmbeddingTable(
            num_embeddings, self.width, normal, l2=self.l2, name=name, dtype=self.dtype_policy
        )

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Looks up the users' factors, float [batch, width]; it does not read the history."""
        if user is None:
            user = tf.zeros([batch_size(query_time)], tf.int64)
        return self.users(user, training=training)

    def score_target(
        self,
        target: str,
        state: tf.Tensor,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates by the dot product of user and object factors."""
        indices = tf.gather(self.embedding_indices[target].value, objects.flat_values)
        factors = self.objects[target](indices, training=training)
        product = tf.reduce_sum(ragged.per_value(objects, state) * factors, axis=-1)
        bias = self.biases[target](indices)
        return ragged.like(objects, tf.cast(product, tf.float32) + bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {**super().get_config(), "width": self.width, "l2": self.l2}
