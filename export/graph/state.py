"""A user state as dense tensors, which a client can hold and send back."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.version import MINOR_VERSION
from export.graph.inputs import Inputs, clip_lengths, same_width
from export.protocol.fields import (
    STATE,
    STATE_LENGTH,
    STATE_VERSION,
    TOUCHED,
    TOUCHED_LENGTH,
    state_part,
)
from export.protocol.signatures import Specs


class StateTensors:
    """Packs the user state that `Ranker.encode` returns, and unpacks it again for `Ranker.score`.

    A tensor by itself is called `memory`, one under a key `memory_KEY`. Ragged ones are
    padded to a width of at least 1, and `memory_length` says how many of it are real: one
    number for each user, as all of them are of the user's behaviors. What a user touched,
    `memory_touched`, has a length of its own. Numbers that the model computes in bfloat16 travel
    as float32. `memory_version` says which version of the package
    encoded each user's; that of another version is refused.

    Args:
        template: The structure of the user state: the specs of its tensors; of a model that looks
            candidates up a pair, whose second is that of `CandidateLookUp.touched`.

    Example:

    >>> keys = tf.ragged.constant([[1.0, 2.0], []], row_splits_dtype=tf.int64)
    >>> tensors = StateTensors({"keys": tf.type_spec_from_value(keys)})
    >>> packed = tensors.pack({"keys": keys})
    >>> {name: tensor.numpy().tolist() for name, tensor in packed.items()}
    {'memory_length': [2, 0], 'memory_keys': [[1.0, 2.0], [0.0, 0.0]], 'memory_version': [5, 5]}
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
        for name, spec in named.items():
            if _is_ragged(spec):
                specs[_length_of(name)] = tf.TensorSpec([None], tf.int64, _length_of(name))
        specs[STATE_VERSION] = tf.TensorSpec([None], tf.int64, STATE_VERSION)
        return specs

    def pack(self, state: Any) -> dict[str, tf.Tensor]:
        """Returns the user state as dense tensors."""
        packed = {}
        for name, tensor in _by_name(state).items():
            if isinstance(tensor, tf.RaggedTensor):
                packed[_length_of(name)] = tensor.row_lengths()
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
        padded = {
            name: inputs[name]
            for name, spec in named.items()
            if _is_ragged(spec) and name != TOUCHED
        }
        inputs = {**inputs, **(same_width(padded) if padded else {})}

        def tensor(name: str, spec: Any) -> tf.Tensor | tf.RaggedTensor:
            dense = tf.cast(inputs[name], spec.dtype)
            if not _is_ragged(spec):
                return dense
            return ragged.from_tensor(dense, clip_lengths(inputs[_length_of(name)], dense))

        if isinstance(self._template, tuple):
            encoded, touched = self._template
            return self._unpacked(encoded, tensor), tensor(TOUCHED, touched)
        return self._unpacked(self._template, tensor)

    def _unpacked(self, template: Any, tensor: Callable[[str, Any], Any]) -> Any:
        if isinstance(template, dict):
            return {key: tensor(state_part(key), spec) for key, spec in template.items()}
        return tensor(STATE, template)


def _length_of(name: str) -> str:
    return TOUCHED_LENGTH if name == TOUCHED else STATE_LENGTH


def _by_name(state: Any) -> dict[str, Any]:
    if isinstance(state, tuple):
        encoded, touched = state
        return {**_by_name(encoded), TOUCHED: touched}
    if isinstance(state, dict):
        return {state_part(key): part for key, part in state.items()}
    return {STATE: state}


def _is_ragged(spec: Any) -> bool:
    return isinstance(spec, tf.RaggedTensorSpec)


def _sent_dtype(dtype: tf.DType) -> tf.DType:
    return tf.float32 if dtype.is_floating else dtype
