"""A user state as dense tensors, which a client can hold and send back."""

from typing import Any

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.version import MINOR_VERSION
from export.graph.inputs import Inputs, clip_lengths, same_width
from export.protocol.fields import STATE, STATE_LENGTH, STATE_VERSION, state_part
from export.protocol.signatures import Specs


class StateTensors:
    """Packs the user state that `Ranker.encode` returns, and unpacks it again for `Ranker.score`.

    A tensor by itself is called `memory`, one under a key `memory_KEY`. Ragged ones are
    padded to a width of at least 1, and `memory_length` says how many of it are real: one
    number for each user, as all of them are of the user's behaviors. Numbers that the model
    computes in bfloat16 travel as float32. `memory_version` says which version of the package
    encoded each user's; that of another version is refused.

    Args:
        template: The structure of the user state: the specs of its tensors.

    Example:

    >>> keys = tf.ragged.constant([[1.0, 2.0], []], row_splits_dtype=tf.int64)
    >>> tensors = StateTensors({"keys": tf.type_spec_from_value(keys)})
    >>> packed = tensors.pack({"keys": keys})
    >>> {name: tensor.numpy().tolist() for name, tensor in packed.items()}
    {'memory_length': [2, 0], 'memory_keys': [[1.0, 2.0], [0.0, 0.0]], 'memory_version': [2, 2]}
    >>> tensors.unpack(packed)["keys"].to_list()
    [[1.0, 2.0], []]
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
            shape = [*head, *spec.shape[len(head) :]]
            specs[name] = tf.TensorSpec(shape, _sent_dtype(spec.dtype), name)
        if any(map(_is_ragged, named.values())):
            specs[STATE_LENGTH] = tf.TensorSpec([None], tf.int64, STATE_LENGTH)
        specs[STATE_VERSION] = tf.TensorSpec([None], tf.int64, STATE_VERSION)
        return specs

    def pack(self, state: Any) -> dict[str, tf.Tensor]:
        """Returns the user state as dense tensors."""
        packed = {}
        for name, tensor in _by_name(state).items():
            if isinstance(tensor, tf.RaggedTensor):
                packed[STATE_LENGTH] = tensor.row_lengths()
                tensor = ragged.pad(tensor)
            packed[name] = tf.cast(tf.identity(tensor), _sent_dtype(tensor.dtype))
        num_users = tf.shape(next(iter(packed.values())))[:1]
        packed[STATE_VERSION] = tf.fill(num_users, tf.constant(MINOR_VERSION, tf.int64))
        return packed

    def unpack(self, inputs: Inputs) -> Any:
        """Returns the user state that `pack` was given; a length is clipped to what is there."""
        tf.debugging.Assert(
            tf.reduce_all(inputs[STATE_VERSION] == MINOR_VERSION),
            [
                f"{STATE_VERSION}: the user state was encoded by another version; "
                "encode the history again"
            ],
        )
        named = _by_name(self._template)
        padded = {name: inputs[name] for name, spec in named.items() if _is_ragged(spec)}
        inputs = {**inputs, **(same_width(padded) if padded else {})}

        def tensor(name: str, spec: Any) -> tf.Tensor | tf.RaggedTensor:
            dense = tf.cast(inputs[name], spec.dtype)
            if not _is_ragged(spec):
                return dense
            return ragged.from_tensor(dense, clip_lengths(inputs[STATE_LENGTH], dense))

        if isinstance(self._template, dict):
            return {key: tensor(state_part(key), spec) for key, spec in self._template.items()}
        return tensor(STATE, self._template)


def _by_name(state: Any) -> dict[str, Any]:
    if isinstance(state, dict):
        return {state_part(key): part for key, part in state.items()}
    return {STATE: state}


def _is_ragged(spec: Any) -> bool:
    return isinstance(spec, tf.RaggedTensorSpec)


def _sent_dtype(dtype: tf.DType) -> tf.DType:
    return tf.float32 if dtype.is_floating else dtype
