"""Losses of flat labels and logits, point-wise and pair-wise."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("atrank_tf")
class PointwiseLoss(keras.losses.BinaryCrossentropy):
    """Sigmoid cross-entropy of each candidate: the paper's point-wise loss.

        loss = -label log sigmoid(logit) - (1 - label) log(1 - sigmoid(logit))

    Args:
        name: Its name in logs.
        **kwargs: As for `keras.losses.BinaryCrossentropy`; it always takes logits.

    Example:

    >>> loss = PointwiseLoss()
    >>> round(float(loss(tf.constant([1.0, 0.0]), tf.constant([2.0, -2.0]))), 4)
    0.1269
    """

    def __init__(self, name: str = "pointwise", **kwargs: object) -> None:
        super().__init__(name=name, **{**kwargs, "from_logits": True})

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each candidate, which sample weights weigh.

        Args:
            y_true: Labels, float [candidates].
            y_pred: Logits, float [candidates].

        Returns:
            float [candidates].
        """
        return super().call(tf.reshape(y_true, [-1, 1]), tf.reshape(y_pred, [-1, 1]))


class PairwiseLoss(keras.losses.Loss):
    """A loss of the lead of each positive over its negatives, averaged over the negatives.

        loss = mean over all negatives of loss_of_lead(logit of its positive - its logit)

    It wants labels and logits as `data_pipeline` lays them out where it samples negatives: each
    positive is followed by its negatives.

    Args:
        name: Its name in logs.
        **kwargs: As for `keras.losses.Loss`; `reduction` is always "sum".

    Example:

    >>> class SquaredLoss(PairwiseLoss):
    ...     def loss_of_lead(self, lead):
    ...         return tf.square(1 - lead)
    >>> loss = SquaredLoss(name="squared")
    >>> float(loss(tf.constant([1.0, 0.0, 0.0]), tf.constant([2.0, 1.0, 0.0])))
    0.5
    """

    def __init__(self, name: str, **kwargs: object) -> None:
        super().__init__(name=name, **{**kwargs, "reduction": "sum"})

    def loss_of_lead(self, lead: tf.Tensor) -> tf.Tensor:
        """Returns the losses of leads, positive - negative: float [n] of float [n]."""
        raise NotImplementedError

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns what each candidate adds to the mean: 0 for positives.

        Args:
            y_true: Labels, float [candidates].
            y_pred: Logits, float [candidates].

        Returns:
            float [candidates].
        """
        labels = tf.reshape(y_true, [-1])
        logits = tf.reshape(y_pred, [-1])
        num_positives = tf.cumsum(tf.cast(labels > 0, tf.int32))  # Up to each candidate.
        zero_and_positives = tf.concat([[0.0], tf.boolean_mask(logits, labels > 0)], axis=0)
        last_positive = tf.gather(zero_and_positives, num_positives)
        is_compared = tf.logical_and(labels <= 0, num_positives > 0)
        weights = tf.cast(is_compared, logits.dtype)
        losses = self.loss_of_lead(last_positive - logits) * weights
        return losses / tf.maximum(1.0, tf.reduce_sum(weights))


@keras.saving.register_keras_serializable("atrank_tf")
class BPRLoss(PairwiseLoss):
    """-log sigmoid(positive - negative), averaged over the negatives; see `PairwiseLoss`.

    Example:

    >>> loss = BPRLoss()
    >>> round(float(loss(tf.constant([1.0, 0.0]), tf.constant([2.0, -2.0]))), 4)
    0.0181

    Reference:
        Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """

    def __init__(self, name: str = "bpr", **kwargs: object) -> None:
        super().__init__(name, **kwargs)

    def loss_of_lead(self, lead: tf.Tensor) -> tf.Tensor:
        """Returns softplus(-lead)."""
        return tf.nn.softplus(-lead)


@keras.saving.register_keras_serializable("atrank_tf")
class HingeLoss(PairwiseLoss):
    """max(0, 1 - (positive - negative)), averaged over the negatives; see `PairwiseLoss`.

    Example:

    >>> loss = HingeLoss()
    >>> float(loss(tf.constant([1.0, 0.0]), tf.constant([2.0, 1.5])))
    0.5

    Reference:
        Herbrich, Graepel & Obermayer, "Large Margin Rank Boundaries for Ordinal Regression",
        2000.
    """

    def __init__(self, name: str = "hinge", **kwargs: object) -> None:
        super().__init__(name, **kwargs)

    def loss_of_lead(self, lead: tf.Tensor) -> tf.Tensor:
        """Returns max(0, 1 - lead)."""
        return tf.nn.relu(1 - lead)
