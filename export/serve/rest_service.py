"""The REST side of the endpoint: TensorFlow Serving's paths, JSON and status codes."""

import asyncio
import collections
import json
import re
import time
from typing import Any

import grpc
import prometheus_client
from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from export.protocol.errors import ServingError, http_status, invalid
from export.serve import rest_json
from export.serve.backend import Backend
from export.serve.grpc_service import model_metadata, model_status
from export.serve.security import UNAUTHENTICATED, Security
from export.serve.servable import Servable

# For reading a request and for answering it, as TensorFlow Serving has it by default.
REQUEST_SECONDS = 30.0

_OPEN = Security()
METRICS_PATH = "/monitoring/prometheus/metrics"

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]{1,99}))?"
_METHOD_PATH = re.compile(_MODEL + r":(?P<method>predict|regress)", re.IGNORECASE)
_STATUS_PATH = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)


def application(backend: Backend, max_bytes: int, security: Security = _OPEN) -> web.Application:
    """Returns the application.

    Args:
        backend: Answers.
        max_bytes: Largest request.
        security: Who may ask.

    Example:

    >>> from export.serve.model_watcher import ModelWatcher
    >>> backend = Backend(ModelWatcher("atrank", tmp), workers=1, max_in_flight=1)
    >>> [resource.canonical for resource in application(backend, 1 << 20).router.resources()]
    ['/monitoring/prometheus/metrics', '/{path}']
    """
    app = web.Application(client_max_size=max_bytes, middlewares=[_guard(security)])
    app.add_routes(
        [
            web.get(METRICS_PATH, lambda _: _metrics(backend)),
            web.route("*", "/{path:.*}", _Rest(backend)),
        ]
    )
    return app


def _guard(security: Security) -> Any:
    """Refuses who does not bring the token."""

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if security.allows(request.headers.get("Authorization", "")):
            return await handler(request)
        return web.json_response({"error": UNAUTHENTICATED}, status=401)

    return guard


class _Rest:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reading: collections.Counter[str] = collections.Counter()  # By client.

    async def __call__(self, request: web.Request) -> web.Response:
        try:
            text, status = await self._answer(request), 200
        except ServingError as error:
            text, status = json.dumps({"error": error.message}), http_status(error.code)
        except web.HTTPRequestEntityTooLarge as error:
            text, status = json.dumps({"error": error.text}), error.status
        return web.Response(text=text, status=status, content_type="application/json")

    async def _answer(self, request: web.Request) -> str:
        if request.method == "POST" and (match := _METHOD_PATH.fullmatch(request.path)):
            deadline = time.monotonic() + REQUEST_SECONDS
            body = await self._body(request)
            job = {"predict": _predict, "regress": _regress}[match["method"].lower()]
            method, spec = match["method"].capitalize(), _name_and_version(match)
            return await self._backend.run("REST", method, *spec, lambda s: job(s, body, deadline))
        if request.method == "GET" and (match := _STATUS_PATH.fullmatch(request.path)):
            name, version = _name_and_version(match)
            if not match["metadata"]:
                return _json(model_status(self._backend, name, version))
            method = "GetModelMetadata"
            return await self._backend.run(
                "REST", method, name, version, lambda s: _metadata(s, name)
            )
        raise invalid(f"Malformed request: {request.method} {request.path}")

    async def _body(self, request: web.Request) -> bytes:
        """Reads a request's body; no more at once than may be in flight, each in its time.

        A single client has half of the places: others are read while its bodies are slow.
        """
        client, places = request.remote or "", self._backend.max_in_flight
        for reading, most, whose in (
            (self._reading.total(), places, ""),
            (self._reading[client], max(1, places // 2), " of this client"),
        ):
            if reading >= most:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    f"{reading} requests{whose} are being read; try again later",
                )
        self._reading[client] += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await request.read()
        except TimeoutError:
            raise ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the request's body took too long"
            ) from None
        except (web.RequestPayloadError, OSError) as error:
            raise invalid(f"the request's body cannot be read: {error}") from None
        finally:
            self._reading[client] -= 1
            if not self._reading[client]:
                del self._reading[client]


def _name_and_version(match: re.Match[str]) -> tuple[str, int | None]:
    version = int(match["version"]) if match["version"] else None
    if version is not None and version >= 2**63:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return match["name"], version


def _predict(servable: Servable, body: bytes, deadline: float) -> str:
    request = rest_json.parse(body)
    name = request.get("signature_name", "")
    inputs, by_row = rest_json.tensors(request, servable.signature(name))
    return json.dumps(rest_json.answer(servable.run(name, inputs, (), deadline), by_row))


def _regress(servable: Servable, body: bytes, deadline: float) -> str:
    request = rest_json.parse(body)
    name = request.get("signature_name", "")
    values = servable.regress(name, rest_json.examples(request), deadline)
    return json.dumps(rest_json.results(values))


def _metadata(servable: Servable, name: str) -> str:
    response = model_metadata(servable, name)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    answer = {
        "model_spec": json.loads(_json(response.model_spec)),
        "metadata": {"signature_def": json.loads(_json(signatures))},
    }
    return json.dumps(answer, indent=1)


async def _metrics(backend: Backend) -> web.Response:
    text = prometheus_client.generate_latest(backend.registry)
    return web.Response(body=text, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})


def _json(message: Any) -> str:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
