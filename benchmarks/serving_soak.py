r"""Holds a served model under load: clients, malformed requests, and a new version meanwhile.

It starts `export.serve` on a copy of an exported version. Clients ask it all the time, each
over a connection of its own; halfway the version appears again under the next number. None of
their requests may fail, and every score must be what it was at first. Then malformed requests
are sent, each of which must be answered, by an error or by numbers; after them the scores must
still be the same.

Example:
    python -m benchmarks.serving_soak --saved_model=runs/mine/serving/atrank/1
"""

import collections
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import requests
import tensorflow as tf
from absl import flags
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Schema
from export.client import Client
from export.protocol.errors import ServingError
from export.protocol.tensors import predict_request
from export.release import warmup
from export.smoke import smoke

FLAGS = flags.FLAGS


class Server:
    """`export.serve` as a process of its own, on ports that are free."""

    def __init__(self, base: Path, *arguments: str) -> None:
        self.base = base
        command = [sys.executable, "-m", "export.serve", f"--model_base={base}"]
        self.process = subprocess.Popen(
            [*command, "--grpc_port=0", "--rest_port=0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ports = {}
        for line in self.process.stdout:
            if match := re.match(r"  (gRPC|REST|metrics)\D+127\.0\.0\.1:(\d+)", line):
                ports[match[1]] = f"127.0.0.1:{match[2]}"
            if "metrics" in ports:
                break
        else:
            raise UserError("the server did not start")
        self.grpc, self.rest = ports["gRPC"], ports["REST"]
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def stop(self) -> int:
        """Ends it by SIGTERM; returns its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=60)


def soak(server: Server, clients: int, seconds: float) -> tuple[int, list[str]]:
    """Has clients ask all the time, while the next version appears.

    Half of the seconds come before it is there, half after it is served.

    Returns:
        How many requests were answered, and what was wrong with others.
    """
    version = server.base / "1"
    schema = Schema.load(version / "assets.extra")
    warmups = warmup.read(version / "assets.extra" / warmup.FILE_NAME)
    answered: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    end = threading.Event()

    def ask(client_number: int) -> None:
        protocol: Any = ("grpc", "rest")[client_number % 2]
        address = server.rest if client_number % 2 else server.grpc
        with Client(schema, address, protocol=protocol, retries=0, timeout=60.0) as client:
            first_answers: dict[int, dict[str, np.ndarray]] = {}
            while not end.is_set():
                number = answered.total() % len(warmups)
                signature, inputs = warmups[number]
                try:
                    answer = client.predict(signature, inputs)
                except ServingError as error:
                    wrong.append(str(error))
                    continue
                expected = first_answers.setdefault(number, answer)
                for name, values in answer.items():
                    if not np.allclose(values, expected[name], atol=1e-6):
                        wrong.append(f"{signature}: {name} changed")
                answered["all"] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)
    partial = server.base / ".copy"
    shutil.copytree(version, partial)
    partial.rename(server.base / "2")
    deadline = time.monotonic() + 120
    with Client(schema, server.grpc, timeout=60.0) as client:
        while client.versions().get(2) != "AVAILABLE":
            if time.monotonic() > deadline:
                wrong.append(f"version 2 is not served: {client.versions()}")
                break
            time.sleep(0.2)
    time.sleep(seconds / 2)
    end.set()
    for thread in threads:
        thread.join()
    return answered.total(), wrong


def send_malformed(server: Server, version: Path, count: int, seed: int = 1) -> dict[str, int]:
    """Sends requests of which parts are missing, random, or of another type or shape.

    Returns:
        How many were answered by which status.

    Raises:
        UserError: One was not answered at all, or by an INTERNAL error.
    """
    shuffled = random.Random(seed)
    well_formed = warmup.read(version / "assets.extra" / warmup.FILE_NAME)
    statuses: collections.Counter[str] = collections.Counter()
    session = requests.Session()
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for number in range(count):
            signature, inputs = shuffled.choice(well_formed)
            message = ""
            regress = set(inputs) == {"inputs"} and shuffled.random() < 0.5
            if number % 2:
                request = _broken_proto(shuffled, signature, inputs)
                try:
                    if regress:
                        stub.Regress(_broken_regression(shuffled, signature, inputs), timeout=60.0)
                    else:
                        stub.Predict(request, timeout=60.0)
                    code = "grpc OK"
                except grpc.RpcError as error:
                    code, message = f"grpc {error.code().name}", error.details()  # type: ignore[assignment]
            else:
                body = _broken_json(shuffled, signature, inputs)
                if regress:
                    body = _broken_features(shuffled, signature, inputs)
                verb = "regress" if regress else "predict"
                url = f"http://{server.rest}/v1/models/atrank:{verb}"
                response = session.post(url, data=body, timeout=60.0)
                code, message = f"rest {response.status_code}", response.text
            statuses[code] += 1
            if code in ("grpc INTERNAL", "grpc UNKNOWN", "grpc UNAVAILABLE", "rest 500"):
                raise UserError(f"malformed request {number} of {signature}: {code} {message}")
    return dict(statuses)


def _other_values(shuffled: random.Random, values: np.ndarray) -> np.ndarray:
    """Values of the same dtype, and mostly of the same shape, that nobody expects."""
    kind = shuffled.randrange(5)
    if kind == 0 and values.ndim > 1:  # Narrower than its neighbors.
        return values[:, : shuffled.randint(0, values.shape[1])]
    if kind == 1:  # Fewer rows, or more.
        return np.repeat(values, shuffled.choice([0, 2, 3]), axis=0)
    if values.dtype == object:
        texts = [shuffled.choice(["", "?", "\0", "\u00e9" * 99]) for _ in range(values.size)]
        return np.array(texts, object).reshape(values.shape)
    if values.dtype.kind == "f":
        numbers = [shuffled.choice([np.nan, np.inf, -1e38, 0.0]) for _ in range(values.size)]
        return np.array(numbers, np.float32).reshape(values.shape)
    low, high = shuffled.choice([(-(2**63), 2**63 - 1), (-3, 200)])
    integers = [shuffled.randint(low, high) for _ in range(values.size)]
    return np.array(integers, np.int64).reshape(values.shape)


def _broken_proto(
    shuffled: random.Random, signature: str, inputs: dict[str, np.ndarray]
) -> predict_pb2.PredictRequest:
    request = predict_request("atrank", signature, inputs)
    for _ in range(shuffled.randint(1, 3)):
        name = shuffled.choice(sorted(inputs))
        proto = request.inputs[name]
        kind = shuffled.randrange(14)
        if kind == 0:
            del request.inputs[name]
        elif kind == 1:
            proto.dtype = shuffled.randint(0, 30)
        elif kind == 2 and proto.tensor_shape.dim:
            proto.tensor_shape.dim[-1].size = shuffled.randint(-2, 300)
        elif kind == 3:
            proto.tensor_content = shuffled.randbytes(shuffled.randint(0, 64))
        elif kind == 4:
            del proto.tensor_shape.dim[:]
        elif kind == 5:
            request.inputs[f"{name}_"].CopyFrom(proto)
        elif kind == 6:
            request.model_spec.signature_name = shuffled.choice(["", "no", "explain", "encode"])
        else:
            other = _other_values(shuffled, inputs[name])
            request.inputs[name].CopyFrom(tf.make_tensor_proto(other, inputs[name].dtype))
    return request


def _broken_json(shuffled: random.Random, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    def plain(values: np.ndarray) -> Any:
        if values.dtype == object:
            return np.array([str(v) for v in values.reshape(-1)]).reshape(values.shape).tolist()
        return values.tolist()

    columns = {name: plain(values) for name, values in inputs.items()}
    odd = ["null", "true", "-1", "1e99", "0.5", "NaN", '"x"', "[]", "[[]]", "{}", "[[1], 2]"]
    for _ in range(shuffled.randint(1, 3)):
        name = shuffled.choice(sorted(inputs))
        kind = shuffled.randrange(10)
        if kind == 0:
            columns.pop(name, None)
        elif kind == 1:
            columns[name] = json.loads(shuffled.choice(odd))
        elif kind == 2 and isinstance(columns.get(name), list) and columns[name]:
            columns[name][0] = json.loads(shuffled.choice(odd))
        elif kind == 3:
            columns[name] = [columns.get(name)]
        elif kind == 4:
            signature = shuffled.choice(["", "no", "explain", "encode", signature])
        else:
            columns[name] = plain(_other_values(shuffled, inputs[name]))
    key = shuffled.choice(["inputs"] * 6 + ["instances", "examples"])
    body = json.dumps({"signature_name": signature, key: columns}).encode()
    return body[: shuffled.randint(0, len(body))] if not shuffled.randrange(10) else body


def _broken_regression(
    shuffled: random.Random, signature: str, inputs: dict[str, np.ndarray]
) -> regression_pb2.RegressionRequest:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "atrank"
    request.model_spec.signature_name = signature
    for serialized in inputs["inputs"]:
        example = request.input.example_list.examples.add()
        example.ParseFromString(serialized)
        features = example.features.feature
        name = shuffled.choice([*features, "other"])
        kind = shuffled.randrange(4)
        if kind == 0:
            features.pop(name, None)
        elif kind == 1:
            features[name].float_list.value.extend([np.nan, 1e38])
        elif kind == 2:
            features[name].bytes_list.value.append(shuffled.randbytes(9))
        else:
            features[name].int64_list.value.append(shuffled.randint(-(2**63), 2**63 - 1))
    return request


def _broken_features(
    shuffled: random.Random, signature: str, inputs: dict[str, np.ndarray]
) -> bytes:
    odd = [None, True, -1, 1e99, 0.5, float("nan"), "x", [], [[]], {}, [1, "x"], {"b64": "?"}]  # type: ignore[var-annotated]
    examples = []
    for serialized in inputs["inputs"]:
        proto = tf.train.Example.FromString(serialized)
        features: dict[str, Any] = {
            name: [int(value) for value in feature.int64_list.value]
            for name, feature in proto.features.feature.items()
        }
        features[shuffled.choice([*features, "other"])] = shuffled.choice(odd)
        examples.append(shuffled.choice([features, features, features, shuffled.choice(odd)]))
    return json.dumps({"signature_name": signature, "examples": examples}).encode()


def _main() -> None:
    version = Path(FLAGS.saved_model)
    if not (version / "assets.extra" / warmup.FILE_NAME).exists():
        raise UserError(f"{version}: holds no exported version; expected EXPORT_BASE/VERSION")
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory) / "atrank"
        shutil.copytree(version, base / "1")
        server = Server(base)
        try:
            answered, wrong = soak(server, FLAGS.clients, FLAGS.seconds)
            print(f"{FLAGS.clients} clients, {FLAGS.seconds:.0f} s: {answered:,} requests answered")
            print(f"  a version swapped in meanwhile; {len(wrong)} errors {wrong[:3]}")
            statuses = send_malformed(server, base / "1", FLAGS.malformed)
            print(f"{FLAGS.malformed:,} malformed requests: {statuses}")
            count, largest = smoke(base / "2", server.grpc, "grpc", "atrank")
            print(f"  afterwards {count} requests: largest difference {largest:.1e}")
        finally:
            status = server.stop()
        print(f"  ended by SIGTERM with status {status}")
    if wrong or status:
        raise UserError("the server did not hold")


def main() -> None:
    """Command line."""
    flags.DEFINE_string("saved_model", None, "Directory of an exported version.", required=True)
    flags.DEFINE_integer("clients", 8, "Clients that ask at once, half of them over REST.", 1)
    flags.DEFINE_float("seconds", 60.0, "For how long.", 1.0)
    flags.DEFINE_integer("malformed", 10_000, "Malformed requests, sent afterwards.", 0)
    cli.run(_main)


if __name__ == "__main__":
    main()
