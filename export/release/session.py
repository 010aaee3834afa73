"""Runs a SavedModel as TensorFlow Serving does: through the session loader.

This file imports nothing of the package. `export.verify` runs it as a process of its own,
so that a SavedModel which needs the package's Python code fails here rather than in service:

    python -I session.py SAVED_MODEL INPUTS.npz OUTPUTS.npz
"""

import sys

import numpy as np
import tensorflow as tf

Requests = dict[str, dict[str, np.ndarray]]


def run(
    saved_model: str, requests: dict[str, Requests], *, optimize: bool = True
) -> dict[str, np.ndarray]:
    """Runs signatures of a SavedModel.

    Args:
        saved_model: Directory of one exported version.
        requests: By any name, for each signature its inputs by name. Of those that are not
            there the outputs of the "encode" before it are taken.
        optimize: Whether TensorFlow optimizes the graphs first, as a server lets it.

    Returns:
        The outputs, named "NAME/SIGNATURE/OUTPUT".

    Example:

    >>> unknown = {"score_examples": {"inputs": np.array([b"", b""], object)}}
    >>> outputs = run(str(toy_export()), {"unknown": unknown}, optimize=False)
    >>> outputs["unknown/score_examples/outputs"].shape
    (2,)
    """
    outputs = {}
    v1 = tf.compat.v1
    config = v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = not optimize
    with v1.Session(graph=tf.Graph(), config=config) as session:
        loaded = v1.saved_model.load(session, ["serve"], saved_model)
        for name, signatures in requests.items():
            user_state: dict[str, np.ndarray] = {}
            for signature_name, inputs in signatures.items():
                signature = loaded.signature_def[signature_name]
                values = {**user_state, **inputs}
                feed = {info.name: values[key] for key, info in signature.inputs.items()}
                fetch = {key: info.name for key, info in signature.outputs.items()}
                answer = session.run(fetch, feed)
                if signature_name == "encode":
                    user_state = answer
                for key, value in answer.items():
                    outputs[f"{name}/{signature_name}/{key}"] = value
    return outputs


def _main(saved_model: str, inputs_file: str, outputs_file: str) -> None:
    requests: dict[str, Requests] = {}
    with np.load(inputs_file, allow_pickle=True) as arrays:  # Text is an array of objects.
        for path, value in arrays.items():
            name, signature, key = path.split("/")
            requests.setdefault(name, {}).setdefault(signature, {})[key] = value
    np.savez(outputs_file, **run(saved_model, requests))  # type: ignore[arg-type]


if __name__ == "__main__":
    _main(*sys.argv[1:])
