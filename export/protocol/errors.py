"""What goes wrong in a server, as gRPC's codes and as HTTP's.

The pairs are those of TensorFlow Serving (`tensorflow_serving/model_servers/http_server.cc`).
"""

import os
from typing import TextIO

import grpc

_STATUS_OF_CODE = {
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
# Some codes share a status, which becomes the first of them again.
_CODE_OF_STATUS = {
    200: grpc.StatusCode.OK,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,  # What gRPC answers where a message is too large.
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CODE_OF_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(Exception):
    """A request that was not answered.

    Args:
        code: Why, as one of gRPC's codes.
        message: Why, for people.

    Example:

    >>> error = ServingError(grpc.StatusCode.NOT_FOUND, "no version is served")
    >>> print(error)
    NOT_FOUND: no version is served
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def print_line(line: str, stream: TextIO) -> None:
    """Prints a line; a server goes on, and ends as it should, where nobody reads it any more.

    Args:
        line: The line.
        stream: Where to: a stream of the process.

    Example:

    >>> import sys
    >>> print_line("serving version 3 of atrank", sys.stdout)
    serving version 3 of atrank
    """
    try:
        print(line, file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def invalid(message: str) -> ServingError:
    """Returns the error of a request that no server could answer.

    Example:

    >>> invalid("Input is empty").code.name
    'INVALID_ARGUMENT'
    """
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def http_status(code: grpc.StatusCode) -> int:
    """Returns the HTTP status that a code is reported as; 500 where it has none.

    Example:

    >>> http_status(grpc.StatusCode.UNAVAILABLE), http_status(grpc.StatusCode.INTERNAL)
    (503, 500)
    """
    return _STATUS_OF_CODE.get(code, 500)


def code_of_http(status: int) -> grpc.StatusCode:
    """Returns the code that an HTTP status reports; UNKNOWN for a status that reports none.

    Example:

    >>> code_of_http(404).name, code_of_http(500).name
    ('NOT_FOUND', 'UNKNOWN')
    """
    return _CODE_OF_STATUS.get(status, grpc.StatusCode.UNKNOWN)


def code_of_number(number: int) -> grpc.StatusCode:
    """Returns the code of a number, as TensorFlow's errors have it.

    Example:

    >>> code_of_number(tf.errors.INVALID_ARGUMENT).name
    'INVALID_ARGUMENT'
    """
    return _CODE_OF_NUMBER.get(number, grpc.StatusCode.UNKNOWN)
