"""The gRPC side: mistakes get a status."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from data_pipeline.dataset import TimelineData
from export.protocol.tensors import predict_request
from tests.export.inputs import REQUEST, inputs_of
from tests.servers import Server


def test_what_grpc_answers_to_mistakes(server: Server, data: TimelineData) -> None:
    request = predict_request("atrank", "", inputs_of(REQUEST, data.schema))
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert stub.Predict(request).model_spec.signature_name == "serving_default"

        def refused(call: Callable[..., Any], mistake: Any) -> grpc.StatusCode:
            with pytest.raises(grpc.RpcError) as caught:
                call(mistake)
            return caught.value.code()

        request.output_filter.extend(["score", "score"])
        assert refused(stub.Predict, request) == grpc.StatusCode.INVALID_ARGUMENT
        del request.output_filter[:]
        request.model_spec.version_label = "stable"
        assert refused(stub.Predict, request) == grpc.StatusCode.INVALID_ARGUMENT
        status = get_model_status_pb2.GetModelStatusRequest(model_spec=request.model_spec)
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        assert refused(models.GetModelStatus, status) == grpc.StatusCode.INVALID_ARGUMENT
        # A value may stand for a tensor that is larger than any request.
        wide = predict_request("atrank", "", inputs_of(REQUEST, data.schema))
        wide.inputs["candidate"].CopyFrom(tf.make_tensor_proto([1], tf.int64))
        wide.inputs["candidate"].tensor_shape.dim[0].size = 200_000
        assert refused(stub.Predict, wide) == grpc.StatusCode.INVALID_ARGUMENT
        for values, dtype in (([b"a"], tf.string), ([1], tf.int64)):
            many = predict_request("atrank", "", inputs_of(REQUEST, data.schema))
            for number in range(9):  # Each within a request's size, all of them beyond it.
                many.inputs[f"more{number}"].CopyFrom(tf.make_tensor_proto(values, dtype))
                many.inputs[f"more{number}"].tensor_shape.dim[0].size = 12_000
            assert refused(stub.Predict, many) == grpc.StatusCode.INVALID_ARGUMENT
        classify = classification_pb2.ClassificationRequest(model_spec=wide.model_spec)
        assert refused(stub.Classify, classify) == grpc.StatusCode.UNIMPLEMENTED
        several = inference_pb2.MultiInferenceRequest()
        assert refused(stub.MultiInference, several) == grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_are_a_line_of_the_log(server: Server) -> None:
    before = (server.directory / "stderr").read_text()
    with grpc.insecure_channel(server.grpc) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")  # type: ignore[call-arg]
        for _ in range(50):
            with pytest.raises(grpc.RpcError):
                predict(b"\xff\xff\xff no message")
    printed = (server.directory / "stderr").read_text().removeprefix(before)
    assert "Traceback" not in printed
    assert len(printed.splitlines()) < 10
