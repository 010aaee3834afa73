"""What every command line of the package shares: how it starts and how it fails."""

import sys
from collections.abc import Callable

from absl import app

from atrank_tf.errors import UserError


def run(command: Callable[[], None]) -> None:
    """Parses absl flags, runs `command`, and turns a user's mistake into one line.

    Args:
        command: The body of a command line. It reads its flags, calls one
            library function and prints what it wrote.

    Raises:
        SystemExit: Status 0 when the command succeeded, 1 on a `UserError` (its
            message printed to stderr as one line, without a traceback), 2 when
            the command line itself cannot be parsed, 130 on Ctrl-C.
    """

    def main(argv: list[str]) -> None:
        if len(argv) > 1:
            _fail(f"unexpected argument {argv[1]!r}: every setting is a --flag", 2)
        try:
            command()
        except UserError as error:
            _fail(" ".join(str(error).split()), 1)
        except KeyboardInterrupt:
            _fail("interrupted", 130)

    app.run(main)


def _fail(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
