r"""Compares what a running server answers with what the model answers here.

Every signature is asked what the version's warm-up file asks, over gRPC or REST.

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

FLAGS = flags.FLAGS

TOLERANCE = 1e-5


def smoke(saved_model: Path, address: str, protocol: str, model: str) -> tuple[int, float]:
    """Asks a running server and the model itself, and compares.

    Args:
        saved_model: Directory of the version that the server is to serve.
        address: "HOST:PORT" of the server.
        protocol: "grpc" or "rest".
        model: What the server knows the model by.

    Returns:
        The number of requests, and the largest difference between two numbers.

    Raises:
        UserError: The server does not answer, or answers differently.
    """
    from data_pipeline.schema import Schema
    from export.client import Client
    from export.protocol.errors import ServingError
    from export.release import warmup
    from export.serve.servable import Servable

    extra = saved_model / "assets.extra"
    name = saved_model.absolute().name
    if not (extra / warmup.FILE_NAME).exists() or not name.isdecimal():
        raise UserError(f"{saved_model}: holds no exported version; expected EXPORT_BASE/VERSION")
    requests = warmup.read(extra / warmup.FILE_NAME)
    largest = 0.0
    with Client(
        Schema.load(extra),
        address,
        protocol="rest" if protocol == "rest" else "grpc",
        model=model,
        version=int(name),
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
            expected = servable.run(signature, inputs)
            try:
                found = client.predict(signature, inputs)
            except ServingError as error:
                raise UserError(f"{address}: {signature}: {error}") from error
            for name, values in expected.items():
                where = f"{address}: {signature}: {name}"
                # A server that joins requests may answer wider than it was asked.
                mine = found[name][tuple(map(slice, values.shape))]
                if mine.shape != values.shape:
                    raise UserError(f"{where} is of shape {mine.shape}, not {values.shape}")
                difference = float(np.abs(mine - values).max(initial=0.0))
                if not difference <= TOLERANCE:
                    raise UserError(f"{where} differs from the model's by {difference:.2g}")
                largest = max(largest, difference)
    return len(requests), largest


def _main() -> None:
    from export.release import versions

    path = Path(FLAGS.saved_model)
    model = versions.name_of(path.absolute().parent, FLAGS.model_name)
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
