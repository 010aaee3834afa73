r"""Checks an export: replays held-out users through it as TensorFlow Serving would.

A fresh process that knows nothing of this package loads the SavedModel through the session
loader and scores raw requests by each of its signatures; the scores must be those of the
Keras model.

Example:
    python -m export.verify --model_dir=runs/mine --saved_model=runs/mine/serving/atrank/1
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Schema
from export.protocol.fields import REQUEST_TIME, signature_name
from export.protocol.request import Inputs
from export.release import replay

FLAGS = flags.FLAGS

TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        requests: How many requests were replayed, by every signature.
        difference: Largest difference between a score, or a weight of an explanation, of the
            export and of the model.
        warmups: How many requests its warm-up file holds.
        variable_bytes: Size of the export's variables on disk.
        weight_bytes: Size of the model's weights in memory.

    Example:

    >>> print(Verification(256, 3e-7, 24, 1_000_000, 1_000_000))
    256 requests replayed by every signature through the session loader, largest difference
    3.0e-07; 24 warm-up requests; variables 1.0 MB for weights of 1.0 MB
    """

    requests: int
    difference: float
    warmups: int
    variable_bytes: int
    weight_bytes: int

    def __str__(self) -> str:
        """The result in one line."""
        return (
            f"{self.requests} requests replayed by every signature through the session loader, "
            f"largest difference {self.difference:.1e}; {self.warmups} warm-up requests; variables "
            f"{self.variable_bytes / 1e6:.1f} MB for weights of {self.weight_bytes / 1e6:.1f} MB"
        )


def verify(
    model_dir: str | Path,
    saved_model: str | Path,
    max_requests: int = 256,
    data_dir: str | Path = "",
) -> Verification:
    """Compares an exported model with the Keras model that it was made from.

    Args:
        model_dir: Run directory of the model.
        saved_model: Directory of the exported version.
        max_requests: How many held-out queries to replay for each target, at most.
        data_dir: Prepared data; "" for that which the run was trained on.

    Returns:
        The number of requests, the largest difference, and sizes.

    Raises:
        UserError: The session loader cannot run the export, its scores differ by more
            than 1e-5, a warm-up request fails, or it stores its weights more than once.

    Example:

    >>> verify(toy_run(), tmp / "1")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: ...tf_serving_warmup_requests: no such file; expected
    a version that was exported here
    """
    from atrank_tf.run_directory import RunDirectory
    from export.release import warmup

    warmup_file = Path(saved_model) / "assets.extra" / warmup.FILE_NAME
    if not warmup_file.exists():
        raise UserError(f"{warmup_file}: no such file; expected a version that was exported here")
    Schema.load(warmup_file.parent)  # An export of another version is refused.
    warmups = warmup.read(warmup_file)
    run = RunDirectory(model_dir)
    data = run.data(data_dir)
    model = run.load_best(data.manifest.fingerprint)
    replays = list(replay.replays(model, data, run.settings()["max_history"], max_requests))
    requests = _requests(replays, warmups, data.schema)
    outputs = replay.run_in_session(Path(saved_model), requests)
    verification = Verification(
        requests=sum(len(batch.inputs[REQUEST_TIME]) for batch in replays),
        difference=_largest_difference(outputs, replays, data.schema),
        warmups=len(warmups),
        variable_bytes=sum(p.stat().st_size for p in Path(saved_model).glob("variables/*.data*")),
        weight_bytes=sum(w.numpy().nbytes for w in model.weights),
    )
    _check_warmups(outputs, saved_model)
    _check(verification, saved_model)
    return verification


def _requests(
    replays: Sequence[replay.Replay], warmups: Sequence[tuple[str, Inputs]], schema: Schema
) -> Inputs:
    """All inputs, by "NAME/SIGNATURE/INPUT"."""
    from export.protocol.tensors import inputs_by_signature

    requests: Inputs = {}
    for number, batch in enumerate(replays):
        for verb, inputs in inputs_by_signature(batch.inputs, schema).items():
            if verb in batch.expected or verb == "encode":
                signature = signature_name(schema, batch.target, verb)
                requests |= {f"replay{number}/{signature}/{key}": v for key, v in inputs.items()}
    for number, (signature, inputs) in enumerate(warmups):
        requests |= {f"warmup{number}/{signature}/{key}": v for key, v in inputs.items()}
    return requests


def _largest_difference(outputs: Inputs, replays: Sequence[replay.Replay], schema: Schema) -> float:
    """The largest difference to what was expected; NaN where an output is."""
    differences = [0.0]
    for number, batch in enumerate(replays):
        for verb, expected in batch.expected.items():
            path = f"replay{number}/{signature_name(schema, batch.target, verb)}"
            answers = replay.answers(outputs, path, verb, batch.inputs, schema)
            differences.append(np.abs(answers - expected).max(initial=0.0))
    return float(np.max(differences))


def _check_warmups(outputs: Inputs, saved_model: str | Path) -> None:
    for path, values in outputs.items():
        if path.startswith("warmup") and not np.isfinite(values.astype(np.float64)).all():
            raise UserError(f"{saved_model}: {path}: an output is not finite")


def _check(verification: Verification, saved_model: str | Path) -> None:
    if not verification.difference <= TOLERANCE:
        raise UserError(
            f"{saved_model}: scores differ from the model's by up to "
            f"{verification.difference:.2g}, expected at most {TOLERANCE:.0e} "
            "(if the run was trained further, export it again)"
        )
    if verification.variable_bytes > 1.1 * verification.weight_bytes + 65_536:
        raise UserError(
            f"{saved_model}: variables take {verification.variable_bytes:,} bytes for weights of "
            f"{verification.weight_bytes:,}"
        )


def _main() -> None:
    verification = verify(FLAGS.model_dir, FLAGS.saved_model, data_dir=FLAGS.data_dir)
    print(f"verified {FLAGS.saved_model}: {verification}")
    print(f"next: python -m export.score --saved_model={FLAGS.saved_model} --requests=FILE.jsonl")


def main() -> None:
    """Console script."""
    flags.DEFINE_string("model_dir", None, "Run directory of the model.", required=True)
    flags.DEFINE_string("saved_model", None, "Directory of the exported version.", required=True)
    flags.DEFINE_string("data_dir", "", "Prepared data; that of the training by default.")
    cli.run(_main)


if __name__ == "__main__":
    main()
