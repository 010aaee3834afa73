"""Optimisers whose step costs what the batch touches, not what the vocabulary holds."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("atrank_tf")
class LazyAdam(keras.optimizers.Optimizer):
    """Adam that, in an embedding table, updates only the rows that the batch looked up.

    Keras' Adam decays the moments of every row at every step. Here a row's moments stay
    as they are until the row is looked up again. Other variables get plain Adam. The
    state is two numbers for each weight, as for Adam.

    Args:
        learning_rate: A float or a schedule.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        clip_norm: Bound on the global norm of all gradients; None for no bound. The
            gradient of a table row that is looked up several times counts as their sum.
        **kwargs: As for `keras.optimizers.Optimizer`.

    Reference:
        Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        clip_norm: float | None = None,
        name: str = "lazy_adam",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.clip_norm = clip_norm
        self._moments: dict[Any, tuple[keras.Variable, keras.Variable]] = {}

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the two moments of each variable."""
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            self._moments[variable.value.ref()] = (
                self.add_variable_from_reference(variable, "momentum"),
                self.add_variable_from_reference(variable, "velocity"),
            )

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None
    ) -> None:
        """Sums the gradients of repeated rows, clips by global norm, and updates."""
        grads = [_sum_repeated_rows(grad) for grad in grads]
        if self.clip_norm is not None:
            grads, _ = tf.clip_by_global_norm(grads, self.clip_norm)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates a variable, or the rows of it that the gradient names."""
        momentum, velocity = (moment.value for moment in self._moments[variable.ref()])
        dtype = momentum.dtype
        step = tf.cast(self.iterations + 1, dtype)
        correction = tf.sqrt(1 - tf.pow(tf.cast(self.beta_2, dtype), step))
        rate = tf.cast(learning_rate, dtype) * correction
        rate /= 1 - tf.pow(tf.cast(self.beta_1, dtype), step)

        rows = gradient.indices if isinstance(gradient, tf.IndexedSlices) else None
        g = tf.cast(gradient if rows is None else gradient.values, dtype)
        m = momentum if rows is None else tf.gather(momentum, rows)
        v = velocity if rows is None else tf.gather(velocity, rows)
        m = self.beta_1 * m + (1 - self.beta_1) * g
        v = self.beta_2 * v + (1 - self.beta_2) * tf.square(g)
        change = rate * m / (tf.sqrt(v) + self.epsilon)
        if rows is None:
            momentum.assign(m)
            velocity.assign(v)
            variable.assign_sub(change)
        else:
            momentum.scatter_update(tf.IndexedSlices(m, rows))
            velocity.scatter_update(tf.IndexedSlices(v, rows))
            variable.scatter_sub(tf.IndexedSlices(change, rows))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "clip_norm": self.clip_norm,
        }


def _sum_repeated_rows(gradient: Any) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
