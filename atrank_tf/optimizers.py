"""An optimizer whose step costs what the batch looks up, not what the vocabulary holds."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

State = Sequence[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Rule:
    """How gradients change weights: a whole variable, or some embeddings of a table, alike.

    Subclasses are frozen dataclasses of numbers, so that a saved model holds them.

    Example:

    >>> class Signs(Rule):
    ...     def state_shapes(self, shape):
    ...         return []
    ...     def change(self, gradient, state, step):
    ...         return tf.sign(gradient), ()
    >>> Signs().change(tf.constant([0.5, -2.0]), (), tf.constant(1.0))[0].numpy().tolist()
    [1.0, -1.0]
    """

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shapes of the state that is kept of a variable of the given shape."""
        raise NotImplementedError

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """Returns what to subtract, in units of the learning rate, and the new state.

        Args:
            gradient: Of the variable, or of some of its embeddings: float [n, width].
            state: The state of the same; zeros at first.
            step: Number of the step, 1 or more: float [].
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Rule":
        """Makes the rule from what `get_config` returned."""
        return cls(**config)


@keras.saving.register_keras_serializable("atrank_tf")
@dataclasses.dataclass(frozen=True)
class Adam(Rule):
    """m = b_1 m + (1 - b_1) g, v = b_2 v + (1 - b_2) g^2; change = m' / (sqrt(v') + epsilon).

    m' and v' are m / (1 - b_1^step) and v / (1 - b_2^step), epsilon scaled like sqrt(v).
    It keeps two numbers a weight. Of a table, m and v decay only where embeddings are in use.

    Attributes:
        beta_1: b_1, the decay of the mean of gradients.
        beta_2: b_2, the decay of the mean of their squares.
        epsilon: Added to the root.

    Example:

    >>> optimizer = RowSparse(0.001, tables=Adam(beta_2=0.99))

    Reference:
        Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shapes of m and v."""
        return [shape, shape]

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Rule.change`."""
        m = self.beta_1 * state[0] + (1 - self.beta_1) * gradient
        v = self.beta_2 * state[1] + (1 - self.beta_2) * tf.square(gradient)
        correction = tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)  # type: ignore[operator]
        return correction * m / (tf.sqrt(v) + self.epsilon), (m, v)


@keras.saving.register_keras_serializable("atrank_tf")
@dataclasses.dataclass(frozen=True)
class RowwiseAdagrad(Rule):
    """a = a + mean of g^2 over the embedding; change = multiplier * g / (sqrt(a) + epsilon).

    It keeps one number an embedding, where Adam keeps two a weight: for large tables.

    Attributes:
        multiplier: Of the learning rate. Adagrad's changes shrink as it goes on, so it wants
            a larger rate than Adam.
        epsilon: Added to the root.

    Example:

    >>> RowwiseAdagrad().state_shapes((1000, 64))
    [(1000, 1)]
    >>> optimizer = RowSparse(0.001, tables=RowwiseAdagrad())

    Reference:
        Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and
        Stochastic Optimization", JMLR 2011, with one sum an embedding.
    """

    multiplier: float = 10.0
    epsilon: float = 1e-7

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shape of a."""
        return [(*shape[:-1], 1)]

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Rule.change`."""
        a = state[0] + tf.reduce_mean(tf.square(gradient), axis=-1, keepdims=True)
        return self.multiplier * gradient / (tf.sqrt(a) + self.epsilon), (a,)


@keras.saving.register_keras_serializable("atrank_tf")
@dataclasses.dataclass(frozen=True)
class SGD(Rule):
    """change = g. It keeps no state.

    Example:

    >>> optimizer = RowSparse(0.1, tables=SGD(), rest=SGD())
    """

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns none."""
        return []

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Rule.change`."""
        return gradient, ()


@keras.saving.register_keras_serializable("atrank_tf")
class RowSparse(keras.optimizers.Optimizer):
    """Changes embedding tables by one rule, all other weights by another.

    Of a table it reads and writes the embeddings that the batch looked up, and nothing else:
    Keras' optimizers go through the whole table at every step.

    Args:
        learning_rate: A float or a schedule.
        tables: Rule of embedding tables, the variables whose attribute `is_embedding_table`
            is true, as those of `EmbeddingTable`: `Adam`, `RowwiseAdagrad` or `SGD`.
        rest: Rule of all other weights: `Adam` or `SGD`.
        clip_norm: Bound on the global norm of all gradients; None for no bound. The gradients
            of an embedding that is looked up several times count as their sum.
        name: Its name.
        **kwargs: As for `keras.optimizers.Optimizer`.

    Example:

    >>> model = ATRank(*toy_schema_and_catalog())
    >>> model.compile(RowSparse(0.003, clip_norm=5.0), PointwiseLoss())
    >>> model.compile(RowSparse(0.003, tables=RowwiseAdagrad()), PointwiseLoss())
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        tables: Rule | None = None,
        rest: Rule | None = None,
        clip_norm: float | None = None,
        name: str = "row_sparse",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.tables = tables or Adam()
        self.rest = rest or Adam()
        self.clip_norm = clip_norm
        self._states: dict[Any, tuple[Rule, list[keras.Variable]]] = {}

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the state of each variable."""
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            is_table = getattr(variable, "is_embedding_table", False)
            rule = self.tables if is_table else self.rest
            state = [
                self.add_variable(shape, dtype=variable.dtype, name=f"{variable.name}_{i}")
                for i, shape in enumerate(rule.state_shapes(tuple(variable.shape)))
            ]
            self._states[variable.value.ref()] = (rule, state)

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None
    ) -> None:
        """Sums the gradients of each embedding, clips by global norm, and updates."""
        grads = [_sum_by_index(grad) for grad in grads]
        if self.clip_norm is not None:
            # Biases are float32 in every precision, and a norm is of one.
            norm = tf.linalg.global_norm([tf.cast(grad, tf.float32) for grad in grads])
            grads, _ = tf.clip_by_global_norm(grads, self.clip_norm, norm)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates a variable, or those embeddings of it that the gradient is of."""
        rule, state = self._states[variable.ref()]
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        rate = tf.cast(learning_rate, dtype)
        if isinstance(gradient, tf.IndexedSlices):
            indices = gradient.indices
            old: State = [tf.gather(part.value, indices) for part in state]
            change, new = rule.change(tf.cast(gradient.values, dtype), old, step)
            variable.scatter_sub(tf.IndexedSlices(rate * change, indices))
            for part, values in zip(state, new, strict=True):
                part.value.scatter_update(tf.IndexedSlices(values, indices))
        else:
            old = [part.value for part in state]
            change, new = rule.change(tf.cast(gradient, dtype), old, step)
            variable.assign_sub(rate * change)
            for part, values in zip(state, new, strict=True):
                part.value.assign(values)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "tables": keras.saving.serialize_keras_object(self.tables),
            "rest": keras.saving.serialize_keras_object(self.rest),
            "clip_norm": self.clip_norm,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "RowSparse":
        """Makes the optimizer from what `get_config` returned."""
        rules: dict[str, Any] = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("tables", "rest")
            if name in config
        }
        return super().from_config({**config, **rules}, custom_objects)


def _sum_by_index(gradient: Any) -> Any:
    """A sparse gradient whose indices are unique; any other as it is."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    indices, segments = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, segments, tf.size(indices))
    return tf.IndexedSlices(values, indices, gradient.dense_shape)
