"""What both of the endpoint's protocols share: a bounded queue before one model."""

import asyncio
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import grpc
import prometheus_client

from export.protocol.errors import ServingError
from export.serve.model_watcher import ModelWatcher
from export.serve.servable import Servable

T = TypeVar("T")

_LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Backend:
    """Runs requests on threads: so many at once, so many more in a queue, no more.

    Args:
        watcher: Holds the model.
        workers: Requests that run at once.
        max_in_flight: Requests that run or wait; beyond it they are refused as UNAVAILABLE,
            which clients may try again.

    Example:

    >>> backend = Backend(ModelWatcher("atrank", tmp), workers=2, max_in_flight=64)
    >>> asyncio.run(backend.run("REST", "Predict", "other", None, lambda servable: 5))
    Traceback (most recent call last):
    export.protocol.errors.ServingError: NOT_FOUND: Servable not found for request: Latest(other)
    >>> backend.close()
    """

    def __init__(self, watcher: ModelWatcher, workers: int, max_in_flight: int) -> None:
        self.watcher = watcher
        self.registry = prometheus_client.CollectorRegistry()
        self.max_in_flight = max_in_flight
        self._in_flight = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="request")
        labels = ["model_name", "api", "entrypoint", "status"]
        self._count = prometheus_client.Counter(
            "atrank_requests", "Requests.", labels, registry=self.registry
        )
        self._latency = prometheus_client.Histogram(
            "atrank_request_seconds",
            "Seconds from a request's arrival to its answer.",
            labels[1:3],
            buckets=_LATENCIES,
            registry=self.registry,
        )
        in_flight = prometheus_client.Gauge(
            "atrank_requests_in_flight", "Requests that run or wait.", registry=self.registry
        )
        in_flight.set_function(lambda: self._in_flight)
        version = prometheus_client.Gauge(
            "atrank_version", "The version that is served.", registry=self.registry
        )
        version.set_function(lambda: watcher.version or 0)

    async def run(
        self,
        protocol: str,
        method: str,
        name: str,
        version: int | None,
        job: Callable[[Servable], T],
    ) -> T:
        """Does a job with a version of the model.

        Args:
            protocol: "GRPC" or "REST", for the metrics.
            method: The method that was called, for the metrics.
            name: The requested model.
            version: Its requested version; None for the newest.
            job: What to do.

        Raises:
            ServingError: What `job` raises; NOT_FOUND; UNAVAILABLE where too many wait;
                INTERNAL for all that nobody expected.
        """
        began = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            return await self._run(name, version, job)
        except ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            known = name if name == self.watcher.name else "unknown"  # Labels stay few.
            self._count.labels(known, protocol, method, code.name).inc()
            self._latency.labels(protocol, method).observe(time.perf_counter() - began)

    async def _run(self, name: str, version: int | None, job: Callable[[Servable], T]) -> T:
        if self._in_flight >= self.max_in_flight:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                f"{self._in_flight} requests are being answered or wait; try again later",
            )

        def with_version() -> T:
            with self.watcher.use(name, version) as servable:
                return job(servable)

        self._in_flight += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, with_version)
        # A request that is given up by its client is in flight until its thread has done.
        future.add_done_callback(self._done)
        try:
            return await asyncio.shield(future)
        except (ServingError, asyncio.CancelledError):
            raise
        except Exception as error:
            traceback.print_exception(error)  # Nobody expected it: whoever runs this must see.
            raise ServingError(grpc.StatusCode.INTERNAL, type(error).__name__) from error

    def _done(self, future: "asyncio.Future") -> None:
        self._in_flight -= 1
        if not future.cancelled():
            future.exception()  # Looked at, so that asyncio does not complain.

    def close(self) -> None:
        """Waits for what is being done."""
        self._pool.shutdown(wait=True)
