"""A server in a process of its own, as clients meet it."""

import re
import time
from pathlib import Path

from tests import processes


class Server:
    """`export.serve` on ports that are free.

    Args:
        base: Directory of the model's versions.
        directory: Where the server runs, and where what it prints is written.
        *arguments: Other flags.

    Attributes:
        process: Its process.
        directory: Where it runs, with the files `stdout` and `stderr`.
        grpc: "HOST:PORT" of gRPC.
        rest: Of REST.
    """

    def __init__(self, base: Path, directory: Path, *arguments: str) -> None:
        self.directory = directory
        ports = ("--grpc_port=0", "--rest_port=0")
        self.process = processes.start_module(
            "export.serve",
            (f"--model_base={base}", *ports, *arguments),
            directory,
            str(directory),
            optimize=True,
        )
        printed = ""
        while "metrics" not in printed:
            assert self.process.is_alive(), (directory / "stderr").read_text()
            time.sleep(0.05)
            stdout = directory / "stdout"
            printed = stdout.read_text() if stdout.exists() else ""
        addresses = dict(re.findall(r"  (gRPC|REST)\D+(127\.0\.0\.1:\d+)", printed))
        self.grpc, self.rest = addresses["gRPC"], addresses["REST"]
