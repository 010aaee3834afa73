"""A model's memory as dense tensors, which a client can hold and send back."""

from typing import Any

import tensorflow as tf

from atrank_tf import ragged
from export.raw_inputs import Inputs, held, same_width
from export.signature import Specs

_LENGTH = "memory_length"


class Memory:
    """Packs what `Ranker.encode` returns, and unpacks it again for `Ranker.score`.

    A tensor by itself is called `memory`, one under a key `memory_KEY`. Ragged ones are
    padded to a width of at least 1, and `memory_length` tells how many of it are real:
    one number a row, as all of them are of the row's behaviours. Numbers that the model
    computes in bfloat16 travel as float32.

    Args:
        template: The structure of the memory, of tensors or their specs.
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
        return specs

    def pack(self, memory: Any) -> dict[str, tf.Tensor]:
        """Returns the memory as dense tensors."""
        packed = {}
        for name, rows in _by_name(memory).items():
            if isinstance(rows, tf.RaggedTensor):
                packed[_LENGTH] = rows.row_lengths()
                rows = ragged.pad(rows)
            packed[name] = tf.cast(tf.identity(rows), _sent(rows.dtype))
        return packed

    def unpack(self, inputs: Inputs) -> Any:
        """Returns the memory that `pack` was given; a length is held to what is there."""

        named = _by_name(self._template)
        padded = {name: inputs[name] for name, spec in named.items() if _is_ragged(spec)}
        inputs = {**inputs, **(same_width(padded) if padded else {})}

        def tensor(name: str, spec: tf.TypeSpec) -> tf.Tensor | tf.RaggedTensor:
            rows = tf.cast(inputs[name], spec.dtype)
            if _is_ragged(spec):
                return tf.RaggedTensor.from_tensor(rows, held(inputs[_LENGTH], rows))
            return rows

        if isinstance(self._template, dict):
            return {key: tensor(f"memory_{key}", spec) for key, spec in self._template.items()}
        return tensor("memory", self._template)


def _by_name(memory: Any) -> dict[str, Any]:
    if isinstance(memory, dict):
        return {f"memory_{key}": rows for key, rows in memory.items()}
    return {"memory": memory}


def _is_ragged(spec: Any) -> bool:
    return isinstance(spec, tf.RaggedTensorSpec)


def _sent(dtype: tf.DType) -> tf.DType:
    return tf.float32 if dtype.is_floating else dtype
