"""What goes wrong in a server, as gRPC's codes and as HTTP's.

The pairs are those of TensorFlow Serving (`tensorflow_serving/model_servers/http_server.cc`).
"""

import os
from typing import TextIO

import grpc

_HTTP = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_CODES = {number: code for code, number in reversed(_HTTP.items())}
_CODES[413] = grpc.StatusCode.RESOURCE_EXHAUSTED  # As gRPC tells of what is too large.
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(Exception):
    """A request that was not answered.

    Args:
        code: Why, as gRPC tells it.
        message: The same, for people.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def print_line(line: str, stream: TextIO) -> None:
    """Prints a line; a server goes on, and ends as it should, where nobody reads it any more."""
    try:
        print(line, file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def invalid(message: str) -> ServingError:
    """Returns the error of a request that no server could answer."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def http_status(code: grpc.StatusCode) -> int:
    """Returns the HTTP status that a code is told as."""
    return _HTTP.get(code, 500)


def code_of_http(status: int) -> grpc.StatusCode:
    """Returns a code that is told as an HTTP status; UNKNOWN of those that none is."""
    return _CODES.get(status, grpc.StatusCode.UNKNOWN)


def code_of_number(number: int) -> grpc.StatusCode:
    """Returns the code of a number, as TensorFlow's errors have it."""
    return _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)
