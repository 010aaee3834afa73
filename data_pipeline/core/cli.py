"""What every command line of the package shares: how it starts, explains itself and fails."""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from absl import flags, logging

from data_pipeline.core import command_flags
from data_pipeline.core.errors import UserError
from data_pipeline.version import __version__

# By module, what needs it and which extra brings it.
_EXTRAS = {
    "matplotlib": ("figures need", "plots"),
    "aiohttp": ("the server needs", "serving"),
    "prometheus_client": ("the server needs", "serving"),
}


def run(command: Callable[[], None], renamed: Mapping[str, str] | None = None) -> None:
    """Parses absl flags, runs `command`, and turns a user's mistake into one line.

    Args:
        command: The body of a command line. It reads its flags, calls one library function
            and prints what it wrote and what comes next.
        renamed: By a flag's old name, what to give instead.

    Raises:
        SystemExit: Status 0 when the command succeeded or explained itself, 1 on a `UserError`
            (its message printed to stderr as one line, without a traceback) or when a file
            cannot be read or written, 2 when the command line itself cannot be parsed, 130 on
            Ctrl-C, 143 on SIGTERM, 129 on SIGHUP. What was half done is removed in each case, but
            on a second signal, which ends the process at once.

    Example:

    >>> from unittest import mock
    >>> with mock.patch("sys.argv", ["my_command", "--version"]):
    ...     try:
    ...         run(lambda: print("not reached"))
    ...     except SystemExit as error:
    ...         print(f"status {error.code}")
    atrank-tf ...
    status 0
    """
    _explain(command.__module__)
    _parse(renamed or {})
    import_tensorflow_quietly()
    from tensorflow.errors import DataLossError, ResourceExhaustedError

    _on_signals(_interrupt)
    sys.unraisablehook = _raise_again
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
    except DataLossError:
        _fail("the prepared data is damaged: a record does not match its checksum", 1)
    except (MemoryError, ResourceExhaustedError):
        _fail("memory ran out: close what else runs, or ask for less at once (see --helpfull)", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        advice = "; what was half written is removed" if error.errno == errno.ENOSPC else ""
        _fail(f"{where}{error.strerror or error}{advice}", 1)
    except _Interrupted as error:
        _fail("interrupted", 128 + error.number)


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without the screenful that it prints about devices it does not find.

    For commands alone: it redirects stderr meanwhile, and raises the level of TensorFlow's log for
    the whole process. Errors are raised as exceptions; what is hidden is the log of failed probing.

    Example:

    >>> import_tensorflow_quietly()
    >>> tf.get_logger().level == logging.converter.absl_to_standard(logging.ERROR)
    True
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    # TensorFlow writes to the file descriptor before it reads any setting of its log.
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    logging.set_verbosity(logging.ERROR)
    tf.get_logger().setLevel("ERROR")


class _Interrupted(BaseException):
    """A signal asks the process to end; its own base, so that no handler swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _explain(module: str) -> None:
    """Answers --help, --helpfull and --version, whatever else the command line says."""
    arguments = set(sys.argv[1:])
    if arguments & {"--version", "-version"}:
        print(f"atrank-tf {__version__}")
        sys.exit(0)
    is_full = bool(arguments & {"--helpfull", "-helpfull"})
    if is_full or arguments & {"--help", "-help", "-h"}:
        print(command_flags.format_help(sys.modules[module].__doc__ or "", is_full))
        sys.exit(0)


def _parse(renamed: Mapping[str, str]) -> None:
    try:
        rest = flags.FLAGS(sys.argv)
    except flags.UnrecognizedFlagError as error:
        if error.flagname in renamed:
            _fail(f"--{error.flagname} has another name now: {renamed[error.flagname]}", 2)
        similar = re.search(r"Did you mean: (\w+)", str(error))
        hint = f"; did you mean --{similar[1]}?" if similar else ""
        _fail(f"--{error.flagname}: there is no such flag{hint} (--help lists them)", 2)
    except flags.Error as error:
        missing = re.findall(r"flag --(\w+)=None", str(error))
        if missing:
            meanings = [f"--{name} ({flags.FLAGS[name].help})" for name in missing]
            _fail(f"missing: {', '.join(meanings)}; see --help", 2)
        _fail(" ".join(str(error).split()), 2)
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}: every setting is a --flag", 2)


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Sets what is done when the process is asked to end."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Not all systems have all.
            signal.signal(getattr(signal, name), handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _on_signals(_end_at_once)
    raise _Interrupted(number)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _raise_again(unraisable: Any) -> None:
    """Where an exception is swallowed, as in a destructor: an interruption is tried again."""
    error = unraisable.exc_value
    if not isinstance(error, _Interrupted):
        sys.__unraisablehook__(unraisable)
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Interrupted(error.number)

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def _fail(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
