"""What every command line of the package shares: how it starts and how it fails."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import tensorflow as tf
from absl import app, flags, logging

from atrank_tf.errors import UserError

# By module, what needs it and which extra brings it.
_EXTRAS = {
    "matplotlib": ("figures need", "plots"),
    "aiohttp": ("the server needs", "serving"),
    "prometheus_client": ("the server needs", "serving"),
}


def run(command: Callable[[], None]) -> None:
    """Parses absl flags, runs `command`, and turns a user's mistake into one line.

    Args:
        command: The body of a command line. It reads its flags, calls one
            library function and prints what it wrote.

    Raises:
        SystemExit: Status 0 when the command succeeded, 1 on a `UserError` (its
            message printed to stderr as one line, without a traceback) or when a file
            cannot be read or written, 2 when
            the command line itself cannot be parsed, 130 on Ctrl-C, 143 on SIGTERM.
            What was half done is removed in each case.
    """

    def main(argv: list[str]) -> None:
        if len(argv) > 1:
            _fail(f"unexpected argument {argv[1]!r}: every setting is a --flag", 2)
        logging.set_verbosity(logging.ERROR)  # TensorFlow's; what this package says is printed.
        tf.get_logger().setLevel("ERROR")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        try:
            command()
        except UserError as error:
            _fail(" ".join(str(error).split()), 1)
        except ModuleNotFoundError as error:
            if error.name not in _EXTRAS:
                raise
            what, extra = _EXTRAS[error.name]
            _fail(f"{what} {error.name}: pip install 'atrank-tf[{extra}]'", 1)
        except BrokenPipeError:  # Whoever read the output has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except tf.errors.DataLossError:
            _fail("the prepared data is damaged: a record does not match its checksum", 1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror or error}", 1)
        except _Interrupted as error:
            _fail("interrupted", 128 + error.number)

    _describe(command.__module__)
    app.run(main)


class _Interrupted(BaseException):
    """A signal asks the process to end; its own base, so that no handler swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _describe(module: str) -> None:
    """Lets a console script's --help show what that of `python -m` shows.

    absl describes the main module and its flags. A console script is a main module
    that has neither.
    """
    sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    for flag in flags.FLAGS.flags_by_module_dict().get(module, ()):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Interrupted(number)


def _fail(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
