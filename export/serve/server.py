"""The endpoint: both protocols before one model, from start to the last answer."""

import asyncio
import signal
import sys
from pathlib import Path

import grpc
from aiohttp import web

from data_pipeline.core.errors import UserError
from export.protocol.errors import print_line
from export.serve import grpc_service, rest_service
from export.serve.backend import Backend
from export.serve.model_watcher import ModelWatcher
from export.serve.security import Security


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
    security: Security,
    poll_seconds: float,
    grace_seconds: float,
) -> None:
    """Serves until SIGTERM or SIGINT, then answers what is under way and ends.

    Args:
        model_base: Directory of the model's versions.
        name: The model's name.
        host: Address to listen on.
        grpc_port: Port for gRPC; 0 for any that is free.
        rest_port: Port for REST; likewise.
        workers: Requests that run at once.
        max_in_flight: Requests that run or wait, at most.
        max_bytes: Largest request.
        security: Who may ask, and by what the connections are encrypted.
        poll_seconds: Time between two looks for another version.
        grace_seconds: How long requests may take that are under way at the end.

    Raises:
        UserError: There is no version that can be loaded, or a port cannot be had.

    Example:

    >>> limits = {"workers": 1, "max_in_flight": 64, "max_bytes": 16 << 20, "security": Security()}
    >>> times = {"poll_seconds": 1.0, "grace_seconds": 10.0}
    >>> asyncio.run(serve(tmp / "atrank", "atrank", "127.0.0.1", 0, 0, **limits, **times))
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: ...atrank: holds no version; expected EXPORT_BASE/VERSION
    """
    watcher = ModelWatcher(name, model_base)
    backend = Backend(watcher, workers, max_in_flight)
    grpc_server, grpc_port = _grpc_server(backend, host, grpc_port, max_bytes, security)
    runner = await _rest_runner(backend, host, rest_port, max_bytes, security, grace_seconds)
    rest_port = runner.addresses[0][1]
    print_line(f"loading {model_base}", sys.stdout)
    if not watcher.refresh():  # Nothing is answered before: the event loop is blocked.
        states = watcher.states()
        why = "; ".join(f"version {n}: {error}" for n, (_, error) in states.items())
        raise UserError(f"{model_base}: {why or 'holds no version; expected EXPORT_BASE/VERSION'}")
    await grpc_server.start()

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"serving version {watcher.version} of {name}", flush=True)
    print(f"  gRPC  {host}:{grpc_port}", flush=True)
    scheme = "http" if security.certificate is None else "https"
    print(f"  REST  {scheme}://{host}:{rest_port}/v1/models/{name}", flush=True)
    print(f"  metrics  {scheme}://{host}:{rest_port}{rest_service.METRICS_PATH}", flush=True)
    watching = asyncio.create_task(watch(watcher, poll_seconds))
    await ended.wait()
    watching.cancel()
    print_line("answering what is under way, then ending", sys.stdout)
    await asyncio.gather(grpc_server.stop(grace_seconds), runner.cleanup())
    backend.close()
    watcher.close()


def _grpc_server(
    backend: Backend, host: str, port: int, max_bytes: int, security: Security
) -> tuple[grpc.aio.Server, int]:
    """A server that is not started yet, and its port."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return grpc_service.server(backend, address, max_bytes, security)
    except RuntimeError:
        raise UserError(f"{host}:{port}: cannot listen there; choose another --grpc_port") from None


async def _rest_runner(
    backend: Backend,
    host: str,
    port: int,
    max_bytes: int,
    security: Security,
    grace_seconds: float,
) -> web.AppRunner:
    """A runner that listens."""
    application = rest_service.application(backend, max_bytes, security)
    runner = web.AppRunner(application, shutdown_timeout=grace_seconds)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=security.ssl_context()).start()
    except OSError:
        raise UserError(f"{host}:{port}: cannot listen there; choose another --rest_port") from None
    return runner


async def watch(watcher: ModelWatcher, poll_seconds: float) -> None:
    """Looks for other versions for ever, and prints a line of each that is served.

    Args:
        watcher: Holds the model.
        poll_seconds: Time between two looks.

    Example:

    >>> watcher = ModelWatcher("atrank", tmp)
    >>> asyncio.run(asyncio.wait_for(watch(watcher, poll_seconds=0.01), timeout=0.05))
    Traceback (most recent call last):
    TimeoutError
    """
    while True:
        await asyncio.sleep(poll_seconds)
        try:
            if await asyncio.to_thread(watcher.refresh):
                print_line(f"serving version {watcher.version} of {watcher.name}", sys.stdout)
        except Exception as error:  # Whatever it is, the next look may do.
            print_line(f"{watcher.base}: {type(error).__name__}: {error}", sys.stderr)
