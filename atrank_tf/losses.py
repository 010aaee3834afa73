"""Losses of flat labels and logits."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("atrank_tf")
class PointwiseLoss(keras.losses.BinaryCrossentropy):
    """Sigmoid cross-entropy of each candidate: the paper's point-wise loss."""

    def __init__(self, name: str = "pointwise", **kwargs: object) -> None:
        super().__init__(name=name, **{**kwargs, "from_logits": True})

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each candidate, float [candidates], for sample weights to weigh."""
        return super().call(tf.reshape(y_true, [-1, 1]), tf.reshape(y_pred, [-1, 1]))


class PairwiseLoss(keras.losses.Loss):
    """A loss of how far each positive stands above its negatives, averaged over the negatives.

    Expects what `data_pipeline` gives where it samples negatives: flat labels and
    logits in which each positive stands before its own negatives.
    """

    def __init__(self, name: str, **kwargs: object) -> None:
        super().__init__(name=name, **{**kwargs, "reduction": "sum"})

    def loss_of_lead(self, lead: tf.Tensor) -> tf.Tensor:
        """Returns the loss of positive - negative, float [n]."""
        raise NotImplementedError

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each candidate's share in the mean, float [candidates]."""
        labels = tf.reshape(y_true, [-1])
        logits = tf.reshape(y_pred, [-1])
        owner = tf.cumsum(tf.cast(labels > 0, tf.int32))  # 0 before the first positive.
        owners = tf.concat([[0.0], tf.boolean_mask(logits, labels > 0)], axis=0)
        positives = tf.gather(owners, owner)
        negative = tf.cast(tf.logical_and(labels <= 0, owner > 0), logits.dtype)
        losses = self.loss_of_lead(positives - logits) * negative
        return losses / tf.maximum(1.0, tf.reduce_sum(negative))


@keras.saving.register_keras_serializable("atrank_tf")
class BPRLoss(PairwiseLoss):
    """-log sigmoid(positive - negative), averaged over the negatives; see `PairwiseLoss`.

    Reference:
        Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """

    def __init__(self, name: str = "bpr", **kwargs: object) -> None:
        super().__init__(name, **kwargs)

    def loss_of_lead(self, lead: tf.Tensor) -> tf.Tensor:
        """See `PairwiseLoss`."""
        return tf.nn.softplus(-lead)


@keras.saving.register_keras_serializable("atrank_tf")
class HingeLoss(PairwiseLoss):
    """max(0, 1 - (positive - negative)), averaged over the negatives; see `PairwiseLoss`.

    Reference:
        Herbrich, Graepel & Obermayer, "Large Margin Rank Boundaries for Ordinal Regression",
        2000.
    """

    def __init__(self, name: str = "hinge", **kwargs: object) -> None:
        super().__init__(name, **kwargs)

    def loss_of_lead(self, lead: tf.Tensor) -> tf.Tensor:
        """See `PairwiseLoss`."""
        return tf.nn.relu(1 - lead)
