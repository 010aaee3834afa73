r"""Compares what a running server answers with what the model answers here.

The requests are those of the version's warm-up file, of every signature, over gRPC or REST.

Example:
    python -m export.smoke --saved_model=runs/mine/serving/atrank/1 --address=localhost:8500
    python -m export.smoke --saved_model=runs/mine/serving/atrank/1 --address=localhost:8501 \
      --protocol=rest
"""

from pathlib import Path

import numpy as np
from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Schema
from export.client import Client
from export.protocol.errors import ServingError
from export.release import versions

FLAGS = flags.FLAGS

TOLERANCE = 1e-5


def smoke(saved_model: Path, address: str, protocol: str, model: str) -> tuple[int, float]:
    """Sends the same requests to a running server and to the model itself, and compares.

    Args:
        saved_model: Directory of the version that the server is to serve.
        address: "HOST:PORT" of the server.
        protocol: "grpc" or "rest".
        model: What the server knows the model by.

    Returns:
        The number of requests, and the largest difference between two numbers.

    Raises:
        UserError: The server does not answer, or answers differently.

    Example:

    >>> smoke(tmp / "serving/atrank", "localhost:8500", "grpc", "atrank")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: ...serving/atrank: holds no exported version; expected
    EXPORT_BASE/VERSION
    """
    from export.release import warmup
    from export.serve.servable import Servable

    extra = saved_model / "assets.extra"
    version = saved_model.absolute().name
    if not (extra / warmup.FILE_NAME).exists() or not version.isdecimal():
        raise UserError(f"{saved_model}: holds no exported version; expected EXPORT_BASE/VERSION")
    requests = warmup.read(extra / warmup.FILE_NAME)
    differences = [0.0]
    with Client(
        Schema.load(extra),
        address,
        protocol="rest" if protocol == "rest" else "grpc",
        model=model,
        version=int(version),
        timeout=30.0,
    ) as client:
        try:
            client.versions()
        except ServingError as error:
            raise UserError(
                f"{address}: {error} (is it the server's {protocol} port? see --protocol)"
            ) from error
        servable = Servable(saved_model)
        for signature, inputs in requests:
            try:
                answers = client.predict(signature, inputs)
            except ServingError as error:
                raise UserError(f"{address}: {signature}: {error}") from error
            for name, expected in servable.run(signature, inputs).items():
                where = f"{address}: {signature}: {name}"
                differences.append(_difference(answers[name], expected, where))
    return len(requests), max(differences)


def _difference(answer: np.ndarray, expected: np.ndarray, where: str) -> float:
    """The largest difference of an output, which is at most `TOLERANCE`."""
    # A server that joins requests may answer wider than the request was.
    values = answer[tuple(map(slice, expected.shape))]
    if values.shape != expected.shape:
        raise UserError(f"{where} is of shape {values.shape}, not {expected.shape}")
    difference = float(np.abs(values - expected).max(initial=0.0))
    if not difference <= TOLERANCE:
        raise UserError(f"{where} differs from the model's by {difference:.2g}")
    return difference


def _main() -> None:
    path = Path(FLAGS.saved_model)
    model = versions.model_name(path.absolute().parent, FLAGS.model_name)
    count, largest = smoke(path, FLAGS.address, FLAGS.protocol, model)
    print(
        f"{FLAGS.address} answers like {path}: {count} requests, largest difference {largest:.1e}"
    )


def main() -> None:
    """Console script."""
    flags.DEFINE_string("saved_model", None, "Directory of the served version.", required=True)
    flags.DEFINE_string("address", "localhost:8500", "HOST:PORT of the server.")
    flags.DEFINE_enum("protocol", "grpc", ["grpc", "rest"], "Which of its ports that is.")
    flags.DEFINE_string("model_name", "", "The model's name; that of its directory by default.")
    cli.run(_main)


if __name__ == "__main__":
    main()
