"""The endpoint: both protocols before one model, from start to the last answer."""

import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web

from data_pipeline.core.errors import UserError
from export.protocol.errors import print_line
from export.serve import grpc_service, rest_service
from export.serve.backend import Backend
from export.serve.model_watcher import ModelWatcher


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
    print_line(f"loading {model_base}", sys.stdout)
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
    print_line("answering what is under way, then ending", sys.stdout)
    await asyncio.gather(grpc_server.stop(grace_seconds), runner.cleanup())
    backend.close()
    watcher.close()


async def _watch(watcher: "ModelWatcher", poll_seconds: float) -> None:
    while True:
        await asyncio.sleep(poll_seconds)
        try:
            if await asyncio.to_thread(watcher.refresh):
                print_line(f"serving version {watcher.version} of {watcher.name}", sys.stdout)
        except Exception as error:  # Whatever it is, the next look may do.
            print_line(f"{watcher.base}: {type(error).__name__}: {error}", sys.stderr)
