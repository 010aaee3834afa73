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
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from atrank_tf import cli
from atrank_tf.errors import UserError
from export.status import tell

if TYPE_CHECKING:
    from export.server.model_watcher import ModelWatcher

FLAGS = flags.FLAGS


async def serve(
    model_base: Path,
    name: str,
    host: str,
    grpc_port: int,
    rest_port: int,
    *,
    workers: int,
    max_in_flight: int,
    max_bytes: int,
    poll_seconds: float,
    grace_seconds: float,
) -> None:
    """Serves until SIGTERM or SIGINT, then answers what it was asked and ends.

    Args:
        model_base: Directory of the model's versions.
        name: The model's name.
        host: Address to listen on.
        grpc_port: Port for gRPC; 0 for any that is free.
        rest_port: Port for REST; likewise.
        workers: Requests that run at once.
        max_in_flight: Requests that run or wait, at most.
        max_bytes: Largest request.
        poll_seconds: Time between two looks for another version.
        grace_seconds: How long requests may take that are under way at the end.

    Raises:
        UserError: There is no version that can be loaded, or a port cannot be had.
    """
    from aiohttp import web

    from export.server import grpc_service, rest_service
    from export.server.backend import Backend
    from export.server.model_watcher import ModelWatcher

    watcher = ModelWatcher(name, model_base)
    backend = Backend(watcher, workers, max_in_flight)
    try:
        address = f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}"
        grpc_server, grpc_port = grpc_service.server(backend, address, max_bytes)
    except RuntimeError:
        raise UserError(
            f"{host}:{grpc_port}: cannot listen there; choose another --grpc_port"
        ) from None
    runner = web.AppRunner(
        rest_service.application(backend, max_bytes), shutdown_timeout=grace_seconds
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, rest_port).start()
    except OSError:
        raise UserError(
            f"{host}:{rest_port}: cannot listen there; choose another --rest_port"
        ) from None
    tell(f"loading {model_base}", sys.stdout)
    if not watcher.refresh():  # Nothing is answered before: the loop stands still.
        states = watcher.states()
        why = "; ".join(f"version {n}: {error}" for n, (_, error) in states.items())
        raise UserError(f"{model_base}: {why or 'holds no version; expected EXPORT_BASE/VERSION'}")
    await grpc_server.start()
    rest_port = runner.addresses[0][1]

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"serving version {watcher.version} of {name}", flush=True)
    print(f"  gRPC  {host}:{grpc_port}", flush=True)
    print(f"  REST  http://{host}:{rest_port}/v1/models/{name}", flush=True)
    print(f"  metrics  http://{host}:{rest_port}{rest_service.METRICS_PATH}", flush=True)
    watching = asyncio.create_task(_watch(watcher, poll_seconds))
    await ended.wait()
    watching.cancel()
    tell("answering what is under way, then ending", sys.stdout)
    await asyncio.gather(grpc_server.stop(grace_seconds), runner.cleanup())
    backend.close()
    watcher.close()


async def _watch(watcher: "ModelWatcher", poll_seconds: float) -> None:
    while True:
        await asyncio.sleep(poll_seconds)
        try:
            if await asyncio.to_thread(watcher.refresh):
                tell(f"serving version {watcher.version} of {watcher.name}", sys.stdout)
        except Exception as error:  # Whatever it is, the next look may do.
            tell(f"{watcher.base}: {type(error).__name__}: {error}", sys.stderr)


def _main() -> None:
    from export import versions

    base = Path(FLAGS.model_base)
    asyncio.run(
        serve(
            base,
            versions.name_of(base, FLAGS.model_name),
            FLAGS.host,
            FLAGS.grpc_port,
            FLAGS.rest_port,
            workers=FLAGS.workers or os.cpu_count() or 1,
            max_in_flight=FLAGS.max_in_flight,
            max_bytes=FLAGS.max_request_mb << 20,
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
    flags.DEFINE_float("poll_seconds", 1.0, "Seconds between looks for another version.", 0.01)
    flags.DEFINE_float("grace_seconds", 10.0, "Seconds for what is under way at the end.", 0.0)
    cli.run(_main)


if __name__ == "__main__":
    main()
