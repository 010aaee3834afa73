"""One version of a model, loaded as TensorFlow Serving loads it: by the session loader."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from export.protocol.errors import ServingError, code_of_number, invalid
from export.release import warmup

Tensors = dict[str, np.ndarray]

PREDICT = "serving_default"
_NOISE = ("Graph execution error:", "Detected at node", "[[")  # Of TensorFlow's messages.


class Servable:
    """A SavedModel that answers by its signatures. Threads may ask at once.

    Its warm-up requests are replayed before it is there.

    Args:
        directory: `BASE/VERSION`.
        optimize: Whether TensorFlow optimizes each signature's graph when it is asked first, as
            TensorFlow Serving lets it. That more than doubles the time until a version is there.

    Raises:
        Exception: Whatever TensorFlow says of a directory that it cannot load.
    """

    def __init__(self, directory: Path, *, optimize: bool = False) -> None:
        self.version = int(directory.name)
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
        feed = {}
        if set(inputs) != set(signature.inputs):
            raise invalid(
                f"inputs are {{{', '.join(sorted(inputs))}}}, "
                f"expected {{{', '.join(sorted(signature.inputs))}}}"
            )
        for key, info in signature.inputs.items():
            value, expected = inputs[key], tf.as_dtype(info.dtype)
            if tf.as_dtype(value.dtype) != expected:
                found = tf.as_dtype(value.dtype).name
                raise invalid(f"input {key} is {found}, expected {expected.name}")
            if value.ndim != len(info.tensor_shape.dim):
                shape = tf.TensorShape(info.tensor_shape)
                raise invalid(f"input {key} is of shape {value.shape}, expected {shape}")
            feed[info.name] = value
        if len(set(only)) < len(only):
            raise invalid(f"outputs {list(only)}: one is named twice")
        for key in only:
            if key not in signature.outputs:
                expected = ", ".join(sorted(signature.outputs))
                raise invalid(f"output {key!r}: expected one of {expected}")
        fetch = {key: signature.outputs[key].name for key in only or signature.outputs}
        try:
            return self._session.run(fetch, feed, _until(deadline))
        except tf.errors.OpError as error:
            code = code_of_number(error.error_code)
            lines = [line.strip() for line in error.message.splitlines()]
            told = [line for line in lines if line and not line.startswith(_NOISE)]
            raise ServingError(code, (told or [code.name])[0]) from None
        except (ValueError, TypeError) as error:  # What the session itself says of a feed.
            raise invalid(str(error).splitlines()[0]) from None

    def regress(
        self, name: str, examples: Sequence[bytes], deadline: float = math.inf
    ) -> np.ndarray:
        """Runs a signature as regressions are asked: `inputs` in, `outputs` out.

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
        if set(signature.inputs) != {"inputs"} or set(signature.outputs) != {"outputs"}:
            raise invalid(f'signature "{name or PREDICT}" takes no examples; ask score_examples')
        if not len(examples):
            raise invalid("Input is empty")
        inputs = {"inputs": np.array(examples, object)}
        return self.run(name, inputs, deadline=deadline)["outputs"]

    def close(self) -> None:
        """Frees what the version holds."""
        self._session.close()


def _until(deadline: float) -> Any:
    """Options of a run that ends, at the next operation, when its time is over."""
    if deadline == math.inf:
        return None
    left = max(1, round(1e3 * (deadline - time.monotonic())))
    return tf.compat.v1.RunOptions(timeout_in_ms=left)
