"""A client of served models: TensorFlow Serving's, or those of `export.serve`."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import grpc
import numpy as np
import requests
from urllib3.util import Retry

from data_pipeline.core.errors import UserError
from data_pipeline.recurrence import in_words
from data_pipeline.schema import Schema
from export.protocol.errors import ServingError, code_of_http
from export.protocol.fields import (
    CANDIDATE,
    NUM_CANDIDATES,
    RECURRENCE,
    SCORE,
    HistoryFields,
    signature_name,
)
from export.protocol.request import (
    Inputs,
    Request,
    candidate_inputs,
    group_by_target,
    one_candidate_rows,
)

_MAX_BYTES = 64 << 20


class Client:
    """Asks a served model for scores.

    ```python
    with Client(Schema.load("serving/atrank/1/assets.extra"), "localhost:8500") as client:
        history = {"product": [{"object": 1095275, "action": "purchase", "time": 1512000000}]}
        (scores,) = client.score([Request(1512950400, [1041453, 820165], history)])
    ```

    It connects with the first call; requests are checked before they are sent.

    Args:
        schema: The schema, which lies beside the model in `assets.extra`.
        address: "HOST:PORT" of the server's gRPC or REST port.
        protocol: Which of the two it is.
        model: The model's name.
        version: The version to ask; None for whichever is newest.
        timeout: Seconds that a call may take, with all of its tries. Over REST it is the
            connection and each wait for bytes that may take as long.
        retries: How often a call is tried again that the server is UNAVAILABLE for, or that
            it cancels as it ends, 0 to 4.
        max_rows: Batch rows in one call: requests, or candidates that are explained.
        tls: Whether the connection is encrypted; or the path of the certificate (PEM) to trust
            then, where it is none of those that the system trusts.
        token: The server's token, sent as `Authorization: Bearer TOKEN`; "" for none.

    Example:

    >>> schema = Schema.load(toy_data())
    >>> with Client(schema, "localhost:8501", protocol="rest") as client:
    ...     client.score([Request(1512950400, ["soap"])])
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: candidates: object 'soap': expected an integer
    """

    def __init__(
        self,
        schema: Schema,
        address: str,
        *,
        protocol: Literal["grpc", "rest"] = "grpc",
        model: str = "atrank",
        version: int | None = None,
        timeout: float = 5.0,
        retries: int = 3,
        max_rows: int = 64,
        tls: bool | str | Path = False,
        token: str = "",
    ) -> None:
        if not 0 <= retries <= 4:  # gRPC's own limit.
            raise ValueError(f"retries is {retries}: expected 0 to 4")
        self.schema = schema
        self._max_rows = max_rows
        transport: type[_Transport] = _Rest if protocol == "rest" else _Grpc
        if not isinstance(tls, bool) and not Path(tls).is_file():
            raise UserError(f"{tls}: no such file; expected a certificate to trust (PEM)")
        self._transport = transport(_Server(address, model, version, timeout, retries, tls, token))

    def score(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """Scores candidates: a history is sent, and encoded, once for all of its candidates.

        Args:
            requests: Any number, of any targets and sizes; they are padded and sent together.

        Returns:
            For each request its candidates' scores, float32 [candidates].

        Raises:
            UserError: A request is malformed.
            ServingError: The server did not answer.
        """
        scores: list[np.ndarray] = [np.zeros(0, np.float32)] * len(requests)
        for target, positions in group_by_target(requests, self.schema).items():
            signature = signature_name(self.schema, target, "score_candidates")
            for batch in _batches(positions, self._max_rows):
                inputs = candidate_inputs([requests[position] for position in batch], self.schema)
                padded = self.predict(signature, inputs)[SCORE]
                counts = inputs[NUM_CANDIDATES]
                for position, row, count in zip(batch, padded, counts, strict=True):
                    scores[position] = row[:count]
        return scores

    def explain(self, request: Request) -> list["Explanation"]:
        """Returns what the scores of candidates come from.

        Returns:
            An explanation of each candidate.

        Raises:
            UserError: The request is malformed.
            ServingError: The server did not answer, or the model cannot explain.
        """
        (target,) = group_by_target([request], self.schema)
        if not len(request.candidates):
            return []
        inputs = one_candidate_rows(candidate_inputs([request], self.schema))
        signature = signature_name(self.schema, target, "explain")
        fields = [HistoryFields(group) for group in self.schema.groups]
        explanations: list[Explanation] = []
        for batch in _batches(range(len(inputs[CANDIDATE])), self._max_rows):
            rows = slice(batch[0], batch[-1] + 1)
            outputs = self.predict(signature, {name: v[rows] for name, v in inputs.items()})
            for row in range(len(batch)):
                weights = {
                    f.group.name: outputs[f.weights][row, : inputs[f.length][0]] for f in fields
                }
                habits = []
                if RECURRENCE in outputs:
                    habits = in_words(self.schema, target, outputs[RECURRENCE][row].tolist())
                explanations.append(Explanation(weights, habits))
        return explanations

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Inputs:
        """Asks any signature.

        Args:
            signature: Its name.
            inputs: Its inputs by name.

        Returns:
            Its outputs by name.

        Raises:
            ServingError: The server did not answer.
        """
        return self._transport.predict(signature, inputs)

    def versions(self) -> dict[int, str]:
        """Returns the state of each version that the server knows: "AVAILABLE" or another."""
        return self._transport.versions()

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def __enter__(self) -> "Client":
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connection."""
        self.close()


class Explanation(NamedTuple):
    """What the score of a candidate comes from.

    Attributes:
        weights: How much the candidate attends to each behavior, by group [behaviors], in the order
            of the request's history. They sum to 1 over all groups, or are all 0 where nothing was
            read.
        habits: What the user did to it before, in words; none of a model that does not look it up.

    Example:

    >>> habits = ["id among item: buy 7, view 2; last 12.0 days ago; 3 behaviors since"]
    >>> Explanation({"item": np.array([0.75, 0.25])}, habits).weights["item"].argmax()
    np.int64(0)
    """

    weights: dict[str, np.ndarray]
    habits: list[str]


class _Server(NamedTuple):
    """Where a model is served, and how it is asked: see `Client`."""

    address: str
    model: str
    version: int | None
    timeout: float
    retries: int
    tls: bool | str | Path
    token: str


class _Transport(Protocol):
    def __init__(self, server: _Server) -> None: ...
    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Inputs: ...
    def versions(self) -> dict[int, str]: ...
    def close(self) -> None: ...


class _Grpc:
    def __init__(self, server: _Server) -> None:
        # Here, since they load TensorFlow, for its messages: who asks by REST does without.
        from tensorflow_serving.apis import (
            get_model_status_pb2,
            model_pb2,
            model_service_pb2_grpc,
            prediction_service_pb2_grpc,
        )

        self._status = get_model_status_pb2
        policy = {
            "maxAttempts": max(2, server.retries + 1),
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            # A server that ends may cancel what it has not begun with.
            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
        }
        options = [
            ("grpc.enable_retries", int(server.retries > 0)),
            (
                "grpc.service_config",
                json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]}),
            ),
            ("grpc.max_receive_message_length", _MAX_BYTES),
            ("grpc.per_rpc_retry_buffer_size", _MAX_BYTES),  # Larger requests are not retried.
        ]
        if server.tls:
            trusted = None if isinstance(server.tls, bool) else Path(server.tls).read_bytes()
            credentials = grpc.ssl_channel_credentials(trusted)
            self._channel = grpc.secure_channel(server.address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(server.address, options)
        self._metadata = [("authorization", f"Bearer {server.token}")] if server.token else []
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._spec = model_pb2.ModelSpec(name=server.model)
        if server.version is not None:
            self._spec.version.value = server.version
        self._timeout = server.timeout

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Inputs:
        from tensorflow import make_ndarray

        from export.protocol.tensors import predict_request

        request = predict_request(self._spec.name, signature, inputs)
        request.model_spec.MergeFrom(self._spec)
        response = self._call(self._prediction.Predict, request)
        return {name: make_ndarray(proto) for name, proto in response.outputs.items()}

    def versions(self) -> dict[int, str]:
        request = self._status.GetModelStatusRequest(model_spec=self._spec)
        response = self._call(self._model.GetModelStatus, request)
        state = self._status.ModelVersionStatus.State
        return {s.version: state.Name(s.state) for s in response.model_version_status}

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Any, request: Any) -> Any:
        try:
            # A server that starts up is waited for, as far as the deadline goes.
            return method(
                request, timeout=self._timeout, wait_for_ready=True, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise ServingError(error.code(), error.details() or "") from None


class _Rest:
    def __init__(self, server: _Server) -> None:
        suffix = f"/versions/{server.version}" if server.version is not None else ""
        scheme = "https" if server.tls else "http"
        self._url = f"{scheme}://{server.address}/v1/models/{server.model}{suffix}"
        self._timeout = server.timeout
        self._session = requests.Session()
        policy = Retry(
            server.retries,
            read=0,  # What was not answered in time is not asked again.
            backoff_factor=0.1,
            status_forcelist=[503],
            allowed_methods=None,  # Scoring changes nothing: POST may be repeated.
            raise_on_status=False,
        )
        self._session.mount(f"{scheme}://", requests.adapters.HTTPAdapter(max_retries=policy))
        # With each request: that of a session gives way to the variable REQUESTS_CA_BUNDLE.
        self._verify = str(server.tls) if not isinstance(server.tls, bool) else True
        if server.token:
            self._session.headers["Authorization"] = f"Bearer {server.token}"

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Inputs:
        columns = {name: _plain(values) for name, values in inputs.items()}
        body = {"signature_name": signature, "inputs": columns}
        outputs = self._call("POST", ":predict", json=body)["outputs"]
        if not isinstance(outputs, dict):  # Of one output the value alone is answered.
            metadata = self._call("GET", "/metadata")["metadata"]["signature_def"]["signature_def"]
            (name,) = metadata[signature or "serving_default"]["outputs"]
            outputs = {name: outputs}
        return {name: _array(values) for name, values in outputs.items()}

    def versions(self) -> dict[int, str]:
        statuses = self._call("GET", "")["model_version_status"]
        return {int(status["version"]): status["state"] for status in statuses}

    def close(self) -> None:
        self._session.close()

    def _call(self, method: str, path: str, **body: Any) -> Any:
        try:
            response = self._session.request(
                method, self._url + path, timeout=self._timeout, verify=self._verify, **body
            )
        except requests.RequestException as error:
            is_late = isinstance(error, requests.Timeout) or "Read timed out" in str(error)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.UNAVAILABLE
            raise ServingError(code, str(error)) from None
        try:
            answer = response.json()
        except requests.JSONDecodeError:
            answer = {"error": f"{response.status_code}: {response.text[:200]}"}
        if response.status_code != 200:
            raise ServingError(code_of_http(response.status_code), answer.get("error", ""))
        return answer


def _plain(values: np.ndarray) -> Any:
    """Nested lists, with bytes as the protocol has them."""
    if values.dtype != object:
        return values.tolist()
    flat = np.empty(values.size, object)
    flat[:] = [
        {"b64": base64.b64encode(v).decode()} if isinstance(v, bytes) else v
        for v in values.reshape(-1)
    ]
    return flat.reshape(values.shape).tolist()


def _array(values: Any) -> np.ndarray:
    array = np.array(values)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _batches(positions: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(positions), size):
        yield positions[first : first + size]
