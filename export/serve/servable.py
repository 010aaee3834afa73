"""One version of a model, loaded as TensorFlow Serving loads it: by the session loader."""

import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from data_pipeline.schema import Schema
from export.protocol.errors import ServingError, code_of_number, invalid
from export.protocol.fields import EXAMPLES, REGRESSION
from export.release import warmup

Tensors = dict[str, np.ndarray]

PREDICT = "serving_default"
_NOISE = ("Graph execution error:", "Detected at node", "[[")  # Of TensorFlow's messages.
_ASSERTION = re.compile(r"assertion failed: \[(.*?)\]")


class Servable:
    """A SavedModel that answers by its signatures. Threads may ask at once.

    Its warm-up requests are replayed before it is there.

    Args:
        directory: `BASE/VERSION`.
        optimize: Whether TensorFlow optimizes each signature's graph when it is asked first, as
            TensorFlow Serving lets it. That more than doubles the time until a version is there.

    Raises:
        Exception: Whatever TensorFlow says of a directory that it cannot load.

    Example:

    >>> servable = Servable(toy_export())
    >>> servable.run("score_examples", {"inputs": np.array([b""], object)})["outputs"].shape
    (1,)
    >>> servable.close()
    """

    def __init__(self, directory: Path, *, optimize: bool = False) -> None:
        self.version = int(directory.name)
        if (directory / "assets.extra" / "schema.json").exists():
            Schema.load(directory / "assets.extra")  # One of another version is refused.
        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = not optimize
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(directory))
            self.signatures = {
                name: definition
                for name, definition in loaded.signature_def.items()
                if definition.method_name  # The loader's own has none.
            }
            path = directory / "assets.extra" / warmup.FILE_NAME
            for signature, inputs in warmup.read(path) if path.exists() else ():
                self.run(signature, inputs)
        except BaseException:
            self.close()
            raise

    def signature(self, name: str) -> Any:
        """Returns a signature, a `SignatureDef`; "" is the default one.

        Raises:
            ServingError: FAILED_PRECONDITION: there is none of this name.
        """
        name = name or PREDICT
        if name not in self.signatures:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        return self.signatures[name]

    def run(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        only: Collection[str] = (),
        deadline: float = math.inf,
    ) -> Tensors:
        """Runs a signature.

        Args:
            name: The signature's.
            inputs: Its inputs by name, all of them.
            only: Names of the outputs to return; empty for all.
            deadline: When nobody waits for them any more, as `time.monotonic` has it.

        Raises:
            ServingError: INVALID_ARGUMENT where inputs are missing, unknown, of another dtype
                or rank than the signature's, or do not fit each other; DEADLINE_EXCEEDED.
        """
        signature = self.signature(name)
        feed, fetch = _feed(signature, inputs), _fetch(signature, only)
        try:
            return self._session.run(fetch, feed, _until(deadline))
        except tf.errors.OpError as error:
            code = code_of_number(error.error_code)
            raise ServingError(code, _reason(error.message) or code.name) from None
        except (ValueError, TypeError) as error:  # What the session itself says of a feed.
            raise invalid(str(error).splitlines()[0]) from None

    def regress(
        self, name: str, examples: Sequence[bytes], deadline: float = math.inf
    ) -> np.ndarray:
        """Runs a signature of regressions: `inputs` in, `outputs` out.

        Args:
            name: The signature's.
            examples: Serialized `tf.Example`s, at least one.
            deadline: As for `run`.

        Returns:
            float32 [batch].

        Raises:
            ServingError: As `run`, or it is no signature of a regression.
        """
        signature = self.signature(name)
        if set(signature.inputs) != {EXAMPLES} or set(signature.outputs) != {REGRESSION}:
            raise invalid(f'signature "{name or PREDICT}" takes no examples; ask score_examples')
        if not len(examples):
            raise invalid("Input is empty")
        inputs = {EXAMPLES: np.array(examples, object)}
        return self.run(name, inputs, deadline=deadline)[REGRESSION]

    def close(self) -> None:
        """Frees what the version holds."""
        self._session.close()


def _feed(signature: Any, inputs: Mapping[str, np.ndarray]) -> Tensors:
    """The inputs by tensor, if they are as the signature has them."""
    if set(inputs) != set(signature.inputs):
        raise invalid(
            f"inputs are {{{', '.join(sorted(inputs))}}}, "
            f"expected {{{', '.join(sorted(signature.inputs))}}}"
        )
    for key, info in signature.inputs.items():
        dtype, expected = tf.as_dtype(inputs[key].dtype), tf.as_dtype(info.dtype)
        if dtype != expected:
            raise invalid(f"input {key} is {dtype.name}, expected {expected.name}")
        if inputs[key].ndim != len(info.tensor_shape.dim):
            shape = tf.TensorShape(info.tensor_shape)
            raise invalid(f"input {key} is of shape {inputs[key].shape}, expected {shape}")
    return {info.name: inputs[key] for key, info in signature.inputs.items()}


def _fetch(signature: Any, only: Collection[str]) -> dict[str, str]:
    """The tensors of the outputs, if the signature has them."""
    if len(set(only)) < len(only):
        raise invalid(f"outputs {list(only)}: one is named twice")
    for key in only:
        if key not in signature.outputs:
            expected = ", ".join(sorted(signature.outputs))
            raise invalid(f"output {key!r}: expected one of {expected}")
    return {key: signature.outputs[key].name for key in only or signature.outputs}


def _reason(message: str) -> str:
    """What TensorFlow's message says; of a failed assertion of the graph its own sentence."""
    if assertion := _ASSERTION.search(message):
        return assertion[1]
    lines = [line.strip() for line in message.splitlines()]
    return next((line for line in lines if line and not line.startswith(_NOISE)), "")


def _until(deadline: float) -> Any:
    """Options of a run that ends, at the next operation, when its time is over."""
    if deadline == math.inf:
        return None
    milliseconds = max(1, round(1e3 * (deadline - time.monotonic())))
    return tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)
