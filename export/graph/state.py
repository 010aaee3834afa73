"""A user state as dense tensors, which a client can hold and send back."""

from typing import Any

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.version import MINOR_VERSION
from export.graph.inputs import Inputs, clip_lengths, same_width
from export.protocol.signatures import Specs

_LENGTH = "memory_length"
_VERSION = "memory_version"


class StateTensors:
    """Packs the user state that `Ranker.encode` returns, and unpacks it again for `Ranker.score`.

    A tensor by itself is called `memory`, one under a key `memory_KEY`. Ragged ones are
    padded to a width of at least 1, and `memory_length` tells how many of it are real:
    one number a row, as all of them are of the row's behaviors. Numbers that the model
    computes in bfloat16 travel as float32. `memory_version` tells which version of the package
    encoded each row; the state of another is refused.

    Args:
        template: The structure of the user state, of tensors or their specs.
    """

    def __init__(self, template: Any) -> None:
        self._template = template

    @property
    def specs(self) -> Specs:
        """What `pack` returns and `unpack` takes, by name."""
        named = _by_name(self._template)
        specs = {}
        for name, spec in named.items():
            head = [None, None] if _is_ragged(spec) else [None]
            specs[name] = tf.TensorSpec([*head, *spec.shape[len(head) :]], _sent(spec.dtype), name)
        if any(map(_is_ragged, named.values())):
            specs[_LENGTH] = tf.TensorSpec([None], tf.int64, _LENGTH)
        specs[_VERSION] = tf.TensorSpec([None], tf.int64, _VERSION)
        return specs

    def pack(self, state: Any) -> dict[str, tf.Tensor]:
        """Returns the user state as dense tensors."""
        packed = {}
        for name, rows in _by_name(state).items():
            if isinstance(rows, tf.RaggedTensor):
                packed[_LENGTH] = rows.row_lengths()
                rows = ragged.pad(rows)
            packed[name] = tf.cast(tf.identity(rows), _sent(rows.dtype))
        count = tf.shape(next(iter(packed.values())))[:1]
        packed[_VERSION] = tf.fill(count, tf.constant(MINOR_VERSION, tf.int64))
        return packed

    def unpack(self, inputs: Inputs) -> Any:
        """Returns the user state that `pack` was given; a length is cut to what is there."""

        tf.debugging.assert_equal(
            inputs[_VERSION],
            tf.constant(MINOR_VERSION, tf.int64),
            f"{_VERSION}: the user state was encoded by another version; encode the history again",
        )
        named = _by_name(self._template)
        padded = {name: inputs[name] for name, spec in named.items() if _is_ragged(spec)}
        inputs = {**inputs, **(same_width(padded) if padded else {})}

        def tensor(name: str, spec: tf.TypeSpec) -> tf.Tensor | tf.RaggedTensor:
            rows = tf.cast(inputs[name], spec.dtype)
            if _is_ragged(spec):
                return tf.RaggedTensor.from_tensor(rows, clip_lengths(inputs[_LENGTH], rows))
            return rows

        if isinstance(self._template, dict):
            return {key: tensor(f"memory_{key}", spec) for key, spec in self._template.items()}
        return tensor("memory", self._template)


def _by_name(state: Any) -> dict[str, Any]:
    if isinstance(state, dict):
        return {f"memory_{key}": rows for key, rows in state.items()}
    return {"memory": state}


def _is_ragged(spec: Any) -> bool:
    return isinstance(spec, tf.RaggedTensorSpec)


def _sent(dtype: tf.DType) -> tf.DType:
    return tf.float32 if dtype.is_floating else dtype
