"""What the models that read histories share: their widths and their token encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from atrank_tf.layers import TokenEncoder
from atrank_tf.layers.behavior_encoder import TimeEncoding
from atrank_tf.layers.time_buckets import fine_bounds
from atrank_tf.models.ranker import Ranker
from data_pipeline.schema import Schema


def check_dropout(dropout: float) -> None:
    """Checks a dropout rate.

    Args:
        dropout: The rate, a share of values.

    Raises:
        ValueError: It is out of [0, 1).

    Example:

    >>> check_dropout(0.1)
    >>> check_dropout(1.0)
    Traceback (most recent call last):
    ValueError: dropout is 1.0: expected 0 to below 1
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}: expected 0 to below 1")


class HistoryRanker(Ranker):
    """A ranker whose behaviors and candidates are vectors of one width.

    Subclasses make `tokens` with `new_tokens` in their constructor, and implement `encode` and
    `score_target` with them.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        width: Overall width of behaviors, candidates and user state.
        embedding_width: Width of an object id's embedding. Also that of each group's behavior
            embedding space.
        feature_width: Width of the embedding of a side feature.
        l2: Weight of the L2 penalty on the embeddings in use.

    Example:

    >>> from atrank_tf.models.ranker import batch_size
    >>> from data_pipeline import ragged
    >>> class SumOfHistory(HistoryRanker):
    ...     def __init__(self, schema, catalog=None, **kwargs):
    ...         super().__init__(schema, **kwargs)
    ...         self.tokens = self.new_tokens(catalog)
    ...     def encode(self, history, query_time, user=None, training=False):
    ...         tokens = self.tokens(history, query_time, batch_size(query_time), training=training)
    ...         return tf.reduce_sum(tokens, axis=1)
    ...     def score_target(self, target, state, objects, query_times, training=False):
    ...         h = self.tokens.candidates(target, objects, training=training)
    ...         return self.tokens.logits(target, objects, h, ragged.spread(objects, state))
    >>> data = TimelineData(toy_data())
    >>> model = SumOfHistory(data.schema, data.catalog, width=8)
    >>> ((inputs, labels),) = data.batches("train").take(1)
    >>> model(inputs).shape == labels.shape
    True
    """

    tokens: TokenEncoder

    def __init__(
        self,
        schema: Schema,
        width: int = 64,
        embedding_width: int = 64,
        feature_width: int = 16,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, **kwargs)
        self.width = width
        self.embedding_width = embedding_width
        self.feature_width = feature_width
        self.l2 = l2

    def new_tokens(
        self,
        catalog: dict[str, dict[str, np.ndarray]] | None,
        time_bounds: Sequence[int] | None = None,
        time: TimeEncoding = "added",
    ) -> TokenEncoder:
        """Makes the encoder of behaviors and candidates.

        Args:
            catalog: What is known of each group's objects: `TimelineData.catalog`.
            time_bounds: As for `BehaviorEncoder`; None for `fine_bounds`, which distinguish
                times within a session.
            time: As for `BehaviorEncoder`.

        Returns:
            The encoder, which knows the objects of the catalog, if there is one.
        """
        if time_bounds is None:
            time_bounds = fine_bounds(self.schema.units_per_day)
        tokens = TokenEncoder(
            self.schema,
            self.width,
            self.embedding_width,
            self.feature_width,
            time_bounds,
            self.l2,
            time,
            name="tokens",
            dtype=self.dtype_policy,
        )
        if catalog:
            tokens.set_catalog(catalog)
        return tokens

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "width": self.width,
            "embedding_width": self.embedding_width,
            "feature_width": self.feature_width,
            "l2": self.l2,
        }
