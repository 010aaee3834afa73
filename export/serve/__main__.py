r"""Serves an exported model, on machines without TensorFlow Serving.

A stand-in for development: the same gRPC services and REST paths, the same session loader,
and the newest version reloaded as it appears; without batching across requests, GPU sharing
and years of use. Clients move to TensorFlow Serving by changing the address.

Example:
    python -m export.serve --model_base=runs/mine/serving/atrank
    curl localhost:8501/v1/models/atrank
"""

import asyncio
import os
from pathlib import Path

from absl import flags

from data_pipeline.core import cli
from export.release import versions

FLAGS = flags.FLAGS


def _main() -> None:
    from export.serve.security import Security
    from export.serve.server import serve

    base = Path(FLAGS.model_base)
    asyncio.run(
        serve(
            base,
            versions.model_name(base, FLAGS.model_name),
            FLAGS.host,
            FLAGS.grpc_port,
            FLAGS.rest_port,
            workers=FLAGS.workers or os.cpu_count() or 1,
            max_in_flight=FLAGS.max_in_flight,
            max_bytes=FLAGS.max_request_mb << 20,
            security=Security.of_files(FLAGS.tls_certificate, FLAGS.tls_key, FLAGS.token_file),
            poll_seconds=FLAGS.poll_seconds,
            grace_seconds=FLAGS.grace_seconds,
        )
    )


def main() -> None:
    """Console script."""
    flags.DEFINE_string("model_base", None, "Directory of a model's versions.", required=True)
    flags.DEFINE_string("model_name", "", "The model's name; that of its directory by default.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
    flags.DEFINE_integer("grpc_port", 8500, "Port for gRPC; 0 for any that is free.", 0, 65535)
    flags.DEFINE_integer("rest_port", 8501, "Port for REST; 0 for any that is free.", 0, 65535)
    flags.DEFINE_integer("workers", 0, "Requests that run at once; 0: one a core.", 0)
    flags.DEFINE_integer(
        "max_in_flight", 64, "Requests that run or wait; more are refused as UNAVAILABLE.", 1
    )
    flags.DEFINE_integer("max_request_mb", 16, "Largest request, in MiB.", 1, 1024)
    flags.DEFINE_string("tls_certificate", "", "Certificate chain (PEM) to encrypt with.")
    flags.DEFINE_string("tls_key", "", "Its private key (PEM).")
    flags.DEFINE_string(
        "token_file", "", "File of a token that clients must send: Authorization: Bearer TOKEN."
    )
    flags.DEFINE_float("poll_seconds", 1.0, "Seconds between looks for another version.", 0.01)
    flags.DEFINE_float("grace_seconds", 10.0, "Seconds for what is under way at the end.", 0.0)
    cli.run(_main)


if __name__ == "__main__":
    main()
