"""An optimizer whose step costs what the batch touches, not what the vocabulary holds."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

State = Sequence[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Rule:
    """How gradients change weights: a whole variable, or some rows of a table, alike."""

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shapes of what is remembered of a variable of the given shape."""
        raise NotImplementedError

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """Returns what to subtract, in units of the learning rate, and the new state.

        Args:
            gradient: Of the variable, or of some of its rows.
            state: What is remembered of them; zeros at first.
            step: Number of the step, 1 or more, as a float scalar.
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
    It remembers two numbers a weight. Of a table only the rows in use decay.

    Reference:
        Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """See `Rule`."""
        return [shape, shape]

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Rule`."""
        m = self.beta_1 * state[0] + (1 - self.beta_1) * gradient
        v = self.beta_2 * state[1] + (1 - self.beta_2) * tf.square(gradient)
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        return correction * m / (tf.sqrt(v) + self.epsilon), (m, v)


@keras.saving.register_keras_serializable("atrank_tf")
@dataclasses.dataclass(frozen=True)
class RowwiseAdagrad(Rule):
    """a = a + mean of g^2 over the row; change = multiplier * g / (sqrt(a) + epsilon).

    It remembers one number a row, where Adam remembers two a weight: for large tables.

    Attributes:
        multiplier: Of the learning rate. Adagrad's changes shrink as it goes on, so it wants
            a larger rate than Adam.
        epsilon: Added to the root.

    Reference:
        Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and
        Stochastic Optimization", JMLR 2011, with one sum a row.
    """

    multiplier: float = 10.0
    epsilon: float = 1e-7

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """See `Rule`."""
        return [(*shape[:-1], 1)]

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Rule`."""
        a = state[0] + tf.reduce_mean(tf.square(gradient), axis=-1, keepdims=True)
        return self.multiplier * gradient / (tf.sqrt(a) + self.epsilon), (a,)


@keras.saving.register_keras_serializable("atrank_tf")
@dataclasses.dataclass(frozen=True)
class SGD(Rule):
    """change = g. It remembers nothing."""

    def state_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """See `Rule`."""
        return []

    def change(self, gradient: tf.Tensor, state: State, step: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Rule`."""
        return gradient, ()


@keras.saving.register_keras_serializable("atrank_tf")
class RowSparse(keras.optimizers.Optimizer):
    """Changes embedding tables by one rule, all other weights by another.

    Of a table it reads and writes the rows that the batch looked up, and nothing else:
    Keras' optimizers go through the whole table at every step.

    Args:
        learning_rate: A float or a schedule.
        tables: Rule of embedding tables, the variables whose attribute `is_embedding_table`
            is true, as those of `EmbeddingTable`: `Adam`, `RowwiseAdagrad` or `SGD`.
        rest: Rule of all other weights: `Adam` or `SGD`.
        clip_norm: Bound on the global norm of all gradients; None for no bound. The
            gradient of a table row that is looked up several times counts as their sum.
        **kwargs: As for `keras.optimizers.Optimizer`.

    Example:

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
        """Makes what the rules remember of each variable."""
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
        """Sums the gradients of repeated rows, clips by global norm, and updates."""
        grads = [_sum_repeated_rows(grad) for grad in grads]
        if self.clip_norm is not None:
            grads, _ = tf.clip_by_global_norm(grads, self.clip_norm)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates a variable, or the rows of it that the gradient names."""
        rule, state = self._states[variable.ref()]
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        rate = tf.cast(learning_rate, dtype)
        if isinstance(gradient, tf.IndexedSlices):
            rows = gradient.indices
            kept: State = [tf.gather(part.value, rows) for part in state]
            change, kept = rule.change(tf.cast(gradient.values, dtype), kept, step)
            variable.scatter_sub(tf.IndexedSlices(rate * change, rows))
            for part, new in zip(state, kept, strict=True):
                part.value.scatter_update(tf.IndexedSlices(new, rows))
        else:
            kept = [part.value for part in state]
            change, kept = rule.change(tf.cast(gradient, dtype), kept, step)
            variable.assign_sub(rate * change)
            for part, new in zip(state, kept, strict=True):
                part.value.assign(new)

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


def _sum_repeated_rows(gradient: Any) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
