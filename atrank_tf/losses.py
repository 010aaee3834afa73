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
    """A loss of the lead of positives over the negatives of their list, averaged over such pairs.

        loss = mean over all pairs of loss_of_lead(logit of the positive - logit of the negative)

    Where negatives are sampled, a positive and its own are a list: it wants labels and logits as
    `data_pipeline` lays them out, each positive followed by its negatives. Lists that were logged
    may have several positives, and stand in any order: their numbers are a second column of the
    labels. `Ranker` adds it where a batch has lists.

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
    >>> labels_and_lists = tf.constant([[1.0, 7], [1.0, 8], [0.0, 7]])
    >>> float(loss(labels_and_lists, tf.constant([2.0, 0.0, 0.0])))  # One pair, of list 7.
    1.0
    """

    def __init__(self, name: str, **kwargs: object) -> None:
        super().__init__(name=name, **{**kwargs, "reduction": "sum"})

    def loss_of_lead(self, lead: tf.Tensor) -> tf.Tensor:
        """Returns the losses of leads, positive - negative: float [n] of float [n]."""
        raise NotImplementedError

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns what each candidate adds to the mean: 0 for positives.

        Args:
            y_true: Labels, float [candidates]; or labels and numbers of lists, [candidates, 2].
            y_pred: Logits, float [candidates].

        Returns:
            float [candidates].
        """
        logits = tf.reshape(y_pred, [-1])
        if y_true.shape.rank == 2 and y_true.shape[1] == 2:
            labels, lists = tf.unstack(y_true, axis=1)
        else:
            labels = tf.reshape(y_true, [-1])
            lists = tf.cumsum(tf.cast(labels > 0, tf.float32))
        order = tf.argsort(lists, stable=True)
        lists = tf.gather(lists, order)
        is_positive = tf.gather(labels, order) > 0
        positives = tf.where(is_positive)[:, 0]
        lists_of_positives = tf.gather(lists, positives)
        # A row for each positive: all of its list.
        of_list = tf.ragged.range(
            tf.searchsorted(lists, lists_of_positives, side="left"),
            tf.searchsorted(lists, lists_of_positives, side="right"),
        )
        positives = tf.gather(positives, of_list.value_rowids())
        others = of_list.flat_values
        is_negative = tf.logical_not(tf.gather(is_positive, others))
        positives = tf.gather(order, tf.boolean_mask(positives, is_negative))
        negatives = tf.gather(order, tf.boolean_mask(others, is_negative))
        losses = self.loss_of_lead(tf.gather(logits, positives) - tf.gather(logits, negatives))
        num_pairs = tf.maximum(1.0, tf.cast(tf.size(negatives), logits.dtype))
        return tf.math.unsorted_segment_sum(losses / num_pairs, negatives, tf.size(logits))


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
