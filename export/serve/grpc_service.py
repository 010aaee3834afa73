"""The gRPC side of the endpoint: TensorFlow Serving's services, through its own stubs."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from export.protocol.errors import ServingError, invalid
from export.serve.backend import Backend
from export.serve.security import UNAUTHENTICATED, Security
from export.serve.servable import PREDICT, Servable

T = TypeVar("T")

_OPEN = Security()

# What a text takes in memory, at the least.
_TEXT_BYTES = 24

_OK, _UNKNOWN = grpc.StatusCode.OK.value[0], grpc.StatusCode.UNKNOWN.value[0]


def server(
    backend: Backend, address: str, max_bytes: int, security: Security = _OPEN
) -> tuple[grpc.aio.Server, int]:
    """Returns a server that is not started yet, and the port that it got.

    Args:
        backend: Answers.
        address: "HOST:PORT"; port 0 for any that is free.
        max_bytes: Largest request.
        security: Who may ask.

    Raises:
        RuntimeError: The address cannot be had.

    Example:

    >>> import asyncio
    >>> from export.serve.model_watcher import ModelWatcher
    >>> async def free_port() -> int:
    ...     backend = Backend(ModelWatcher("atrank", tmp), workers=1, max_in_flight=1)
    ...     _, port = server(backend, "127.0.0.1:0", max_bytes=1 << 20)
    ...     return port
    >>> asyncio.run(free_port()) > 0
    True
    """
    # Another process on the port would otherwise share its requests, unseen.
    logging.getLogger("grpc._common").addFilter(_OneLine())
    options = [("grpc.max_receive_message_length", max_bytes), ("grpc.so_reuseport", 0)]
    grpc_server = grpc.aio.server(options=options, interceptors=[_Guard(security)])
    service = _Prediction(backend, max_bytes)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, grpc_server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Model(backend), grpc_server)
    credentials = security.grpc_credentials()
    if credentials is None:
        return grpc_server, grpc_server.add_insecure_port(address)
    return grpc_server, grpc_server.add_secure_port(address, credentials)


def model_status(
    backend: Backend, name: str, version: int | None
) -> get_model_status_pb2.GetModelStatusResponse:
    """Returns the states of a model's versions, the newest first.

    Args:
        backend: Holds the model.
        name: The requested model.
        version: Its requested version; None for all.

    Raises:
        ServingError: NOT_FOUND.

    Example:

    >>> from export.serve.model_watcher import ModelWatcher
    >>> (tmp / "broken" / "7").mkdir(parents=True)
    >>> watcher = ModelWatcher("atrank", tmp / "broken")
    >>> watcher.refresh()
    False
    >>> model_status(Backend(watcher, workers=1, max_in_flight=1), "atrank", None)
    model_version_status {
      version: 7
      state: END
      status {
        error_code: UNKNOWN
        error_message: ...
      }
    }
    """
    states = backend.watcher.states() if name == backend.watcher.name else {}
    numbers = [n for n in sorted(states, reverse=True) if version in (None, n)]
    if not numbers:
        suffix = f" with version {version}" if version is not None else ""
        raise ServingError(
            grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}{suffix}"
        )
    response = get_model_status_pb2.GetModelStatusResponse()
    for number in numbers:
        state, error = states[number]
        status = response.model_version_status.add(version=number)
        status.state = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        status.status.error_code = _UNKNOWN if error else _OK
        status.status.error_message = error
    return response


def model_metadata(
    servable: Servable, name: str
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Returns a version's signatures.

    Args:
        servable: The version.
        name: What the model is known by.

    Example:

    >>> from types import SimpleNamespace
    >>> from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    >>> servable = SimpleNamespace(version=3, signatures={"encode": SignatureDef()})
    >>> response = model_metadata(servable, "atrank")
    >>> response.model_spec.version.value, list(response.metadata)
    (3, ['signature_def'])
    """
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = servable.version
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in servable.signatures.items():
        signatures.signature_def[key].CopyFrom(definition)
    response.metadata["signature_def"].Pack(signatures)
    return response


class _Guard(grpc.aio.ServerInterceptor):
    """Refuses who does not bring the token."""

    def __init__(self, security: Security) -> None:
        self._security = security

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        metadata = dict(details.invocation_metadata)
        if self._security.allows(str(metadata.get("authorization", ""))):
            return await continuation(details)

        async def refuse(request: object, context: grpc.aio.ServicerContext) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, UNAUTHENTICATED)

        return grpc.unary_unary_rpc_method_handler(refuse)


class _OneLine(logging.Filter):
    """Of bytes that are no message a line instead of a traceback, and one a second at the most."""

    def __init__(self) -> None:
        super().__init__()
        self._last, self._silent = -math.inf, 0

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        now = time.monotonic()
        if now - self._last < 1.0:
            self._silent += 1
            return False
        if self._silent:
            record.msg = f"{record.msg} (and {self._silent} more since)"
        self._last, self._silent = now, 0
        return True


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, backend: Backend, max_bytes: int) -> None:
        self._backend = backend
        self._max_bytes = max_bytes

    async def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        spec, deadline = request.model_spec, _deadline(context)

        def predict(servable: Servable) -> predict_pb2.PredictResponse:
            _check_sizes(request.inputs, self._max_bytes)
            inputs = {name: _tensor(name, proto) for name, proto in request.inputs.items()}
            outputs = servable.run(spec.signature_name, inputs, request.output_filter, deadline)
            response = predict_pb2.PredictResponse()
            response.model_spec.CopyFrom(_spec(spec.name, servable, spec.signature_name))
            for name, values in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
            return response

        return await _run(self._backend, "Predict", spec, predict, context)

    async def Regress(  # noqa: N802
        self, request: regression_pb2.RegressionRequest, context: grpc.aio.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        spec, deadline = request.model_spec, _deadline(context)

        def regress(servable: Servable) -> regression_pb2.RegressionResponse:
            serialized = _examples(request)
            values = servable.regress(spec.signature_name, serialized, deadline)
            response = regression_pb2.RegressionResponse()
            response.model_spec.CopyFrom(_spec(spec.name, servable, spec.signature_name))
            for value in values:
                response.result.regressions.add(value=value)
            return response

        return await _run(self._backend, "Regress", spec, regress, context)

    async def Classify(  # noqa: N802
        self, request: object, context: grpc.aio.ServicerContext
    ) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Classify is not served here")

    async def MultiInference(  # noqa: N802
        self, request: object, context: grpc.aio.ServicerContext
    ) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "MultiInference is not served here")

    async def GetModelMetadata(  # noqa: N802
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        spec = request.model_spec

        def metadata(servable: Servable) -> get_model_metadata_pb2.GetModelMetadataResponse:
            if list(request.metadata_field) != ["signature_def"]:
                raise invalid(
                    f"metadata_field {list(request.metadata_field)}: expected signature_def"
                )
            return model_metadata(servable, spec.name)

        return await _run(self._backend, "GetModelMetadata", spec, metadata, context)


class _Model(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetModelStatus(  # noqa: N802
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        try:
            return model_status(self._backend, *_name_and_version(request.model_spec))
        except ServingError as error:
            await context.abort(error.code, error.message)
            raise  # Never reached: `abort` raises.


async def _run(
    backend: Backend,
    method: str,
    spec: model_pb2.ModelSpec,
    job: Callable[[Servable], T],
    context: grpc.aio.ServicerContext,
) -> T:
    """Does a job with the requested model; an error becomes the call's status."""
    try:
        return await backend.run("GRPC", method, *_name_and_version(spec), job)
    except ServingError as error:
        await context.abort(error.code, error.message)
        raise  # Never reached: `abort` raises.


def _deadline(context: grpc.aio.ServicerContext) -> float:
    seconds_left = context.time_remaining()
    return math.inf if seconds_left is None else time.monotonic() + seconds_left


def _check_sizes(inputs: Mapping[str, Any], max_bytes: int) -> None:
    """Refuses tensors that would take more memory than a request may have.

    A single value stands for all of a shape, so a small message could be large tensors.
    """
    total = 0
    for name, proto in inputs.items():
        try:
            dtype = tf.as_dtype(proto.dtype)
        except TypeError as error:
            raise invalid(f"input {name}: cannot be read (TypeError: {error})") from None
        value_bytes = _TEXT_BYTES if dtype == tf.string else dtype.size
        size = value_bytes * math.prod(dim.size for dim in proto.tensor_shape.dim)
        total += size
        if size < 0 or total > max_bytes:
            raise invalid(f"input {name}: tensors of {total} bytes are beyond a request's size")


def _tensor(name: str, proto: Any) -> np.ndarray:
    try:
        return tf.make_ndarray(proto)
    except Exception as error:  # Many kinds, all of them the request's fault.
        raise invalid(f"input {name}: cannot be read ({type(error).__name__}: {error})") from None


def _name_and_version(spec: model_pb2.ModelSpec) -> tuple[str, int | None]:
    if spec.HasField("version_label"):
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return spec.name, spec.version.value if spec.HasField("version") else None


def _spec(name: str, servable: Servable, signature: str) -> Any:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature or PREDICT)
    spec.version.value = servable.version
    return spec


def _examples(request: regression_pb2.RegressionRequest) -> list[bytes]:
    kind = request.input.WhichOneof("kind")
    if kind == "example_list":
        return [e.SerializeToString() for e in request.input.example_list.examples]
    if kind == "example_list_with_context":
        with_context = request.input.example_list_with_context
        context = with_context.context.SerializeToString()
        # Features of a message that comes twice are merged.
        return [context + example.SerializeToString() for example in with_context.examples]
    raise invalid("Input is empty")
