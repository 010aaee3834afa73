"""Runs a SavedModel as TensorFlow Serving does: through the session loader.

This file imports nothing of the package. `export.verify` runs it as a process of its own,
so that a SavedModel which needs the package's Python code fails here rather than in service:

    python -I session.py SAVED_MODEL INPUTS.npz OUTPUTS.npz
"""

import sys

import numpy as np
import tensorflow as tf


def run(saved_model: str, requests: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Runs signatures of a SavedModel.

    Args:
        saved_model: Directory of one exported version.
        requests: For each signature its inputs by name.

    Returns:
        The outputs, named "SIGNATURE/OUTPUT".
    """
    outputs = {}
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        loaded = v1.saved_model.load(session, ["serve"], saved_model)
        for name, inputs in requests.items():
            signature = loaded.signature_def[name]
            feed = {signature.inputs[key].name: value for key, value in inputs.items()}
            fetch = {key: info.name for key, info in signature.outputs.items()}
            for key, value in session.run(fetch, feed).items():
                outputs[f"{name}/{key}"] = value
    return outputs


def _main(saved_model: str, inputs_file: str, outputs_file: str) -> None:
    requests: dict[str, dict[str, np.ndarray]] = {}
    for name, value in np.load(inputs_file).items():
        signature, key = name.split("/")
        is_text = value.dtype.kind == "U"
        requests.setdefault(signature, {})[key] = value.astype(object) if is_text else value
    np.savez(outputs_file, **run(saved_model, requests))  # type: ignore[arg-type]


if __name__ == "__main__":
    _main(*sys.argv[1:])
