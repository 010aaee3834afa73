"""Environments of their own for tools that do not go together with this package."""

import collections
import os
import shutil
import subprocess
import sys
from pathlib import Path

from data_pipeline.core.errors import UserError

_MARKER = ".complete"


def python_of(requirements: Path, envs_dir: Path) -> Path:
    """Returns the Python of an environment, made first if it is not there in full.

    Args:
        requirements: `requirements-NAME.txt`, which names everything: what a library asks for
            and the benchmark does not need stays out.
        envs_dir: Where environments are kept.

    Raises:
        UserError: The environment could not be made.
    """
    name = requirements.stem.removeprefix("requirements-")
    directory = envs_dir.resolve() / name
    python, marker = directory / "bin" / "python", directory / _MARKER
    wanted = f"{sys.version}\n{requirements.read_text()}"
    if marker.exists() and marker.read_text() == wanted:
        return python
    if directory.exists():
        shutil.rmtree(directory)
    call([sys.executable, "-m", "venv", str(directory)], f"environment {name}")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    call([*install, "-r", str(requirements)], f"environment {name}")
    marker.write_text(wanted)
    return python


def call(command: list[str], what: str) -> None:
    """Runs a command and shows its progress, which is what it writes to stderr.

    Raises:
        UserError: It failed; with its last line.
    """
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    variables = {key: value for key, value in os.environ.items() if key not in ours}
    variables["PYTHONWARNINGS"] = "ignore::FutureWarning"  # The affair of what runs there.
    tail: collections.deque[str] = collections.deque(maxlen=1)
    with subprocess.Popen(
        command,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            if line.strip():
                tail.append(line.strip())
    if process.returncode:
        raise UserError(f"{what} failed ({process.returncode}): {''.join(tail) or 'no message'}")
