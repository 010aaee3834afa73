"""Trains what one would install instead, each in an environment of its own.

`run` makes the environment once, trains a rival on a `protocol.npz` and returns what it measured.
RecBole wants older NumPy and pandas than this package, DeepCTR wants Keras 2: hence the
environments, and files in between. `harness.py` says what a rival reads and writes.
"""

import collections
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrank_tf.errors import UserError

_HERE = Path(__file__).resolve().parent
_MARKER = ".complete"


@dataclass(frozen=True)
class Rival:
    """A script, its flags, and the environment that it runs in."""

    environment: str
    script: str
    flags: tuple[str, ...] = ()


RIVALS = {
    "sasrec": Rival("recbole", "sasrec.py"),
    "din": Rival("deepctr", "deepctr_models.py", ("--model=DIN",)),
    "bst": Rival("deepctr", "deepctr_models.py", ("--model=BST",)),
}


def run(
    name: str,
    protocol: Path,
    output_dir: Path,
    seconds: float,
    *,
    envs_dir: Path,
    epochs: int = 1000,
    seed: int = 1,
    max_history: int = 100,
    flags: Sequence[str] = (),
) -> dict[str, Any]:
    """Trains a rival and returns the content of its `result.json`; `scores.npz` lies beside it.

    Args:
        name: One of `RIVALS`.
        protocol: Events, histories and candidates, as `harness.Protocol` reads them.
        output_dir: Where the rival writes.
        seconds: The budget of training alone; scoring is not counted.
        envs_dir: Where the rivals' environments are kept.
        epochs: Epochs at most.
        seed: Of whatever is random.
        max_history: How many of the newest behaviours a history has at most.
        flags: Further flags of the script, such as `--loss=BPR`.

    Raises:
        UserError: The environment could not be made, or the rival failed.
    """
    if name not in RIVALS:
        raise UserError(f"rival {name!r}: expected one of {', '.join(RIVALS)}")
    rival = RIVALS[name]
    python = environment(rival.environment, envs_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "result.json").unlink(missing_ok=True)
    command = [str(python), str(_HERE / rival.script), *rival.flags]
    command += [f"--protocol={protocol.resolve()}", f"--output_dir={output_dir.resolve()}"]
    command += [f"--seconds={seconds}", f"--epochs={epochs}", f"--seed={seed}"]
    command += [f"--max_history={max_history}", *flags]
    _call(command, f"rival {name}")
    return json.loads((output_dir / "result.json").read_text())


def environment(name: str, envs_dir: Path) -> Path:
    """Returns the Python of an environment, made first if it is not there in full."""
    requirements = _HERE / f"requirements-{name}.txt"
    directory = envs_dir.resolve() / name
    python, marker = directory / "bin" / "python", directory / _MARKER
    wanted = f"{sys.version}\n{requirements.read_text()}"
    if marker.exists() and marker.read_text() == wanted:
        return python
    if directory.exists():
        shutil.rmtree(directory)
    _call([sys.executable, "-m", "venv", str(directory)], f"environment {name}")
    # The files name everything: what a library asks for and the benchmark does not need stays out.
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    _call([*install, "-r", str(requirements)], f"environment {name}")
    marker.write_text(wanted)
    return python


def _call(command: list[str], what: str) -> None:
    """Runs a command and shows its progress, which is what it writes to stderr."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    variables = {key: value for key, value in os.environ.items() if key not in ours}
    variables["PYTHONWARNINGS"] = "ignore::FutureWarning"  # RecBole's and pandas' own affair.
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
