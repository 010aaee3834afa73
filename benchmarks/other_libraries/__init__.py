"""Trains what one would install instead, each in an environment of its own.

`run` makes the environment once, trains a model of another library on a `protocol.npz` and
returns what it measured. RecBole wants older NumPy and pandas than this package, DeepCTR wants
Keras 2: hence the environments, and files in between. `harness.py` says what a script reads and
writes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import environments
from data_pipeline.core.errors import UserError

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class OtherLibrary:
    """A model of another library: a script, its flags, and the environment that it runs in."""

    environment: str
    script: str
    flags: tuple[str, ...] = ()


LIBRARIES = {
    "sasrec": OtherLibrary("recbole", "sasrec.py"),
    "din": OtherLibrary("deepctr", "deepctr_models.py", ("--model=DIN",)),
    "bst": OtherLibrary("deepctr", "deepctr_models.py", ("--model=BST",)),
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
    """Trains another library's model and returns what it wrote into `result.json`.

    Its scores lie beside it, in `scores.npz`.

    Args:
        name: One of `LIBRARIES`.
        protocol: Events, histories and candidates, as `harness.Protocol` reads them.
        output_dir: Where the script writes.
        seconds: The budget of training alone; scoring is not counted.
        envs_dir: Where the environments are kept.
        epochs: Epochs at most.
        seed: Of whatever is random.
        max_history: How many of the newest behaviors a history has at most.
        flags: Further flags of the script, such as `--loss=BPR`.

    Raises:
        UserError: The environment could not be made, or the script failed.
    """
    if name not in LIBRARIES:
        raise UserError(f"other library {name!r}: expected one of {', '.join(LIBRARIES)}")
    library = LIBRARIES[name]
    requirements = _HERE / f"requirements-{library.environment}.txt"
    python = environments.python_of(requirements, envs_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "result.json").unlink(missing_ok=True)
    command = [str(python), str(_HERE / library.script), *library.flags]
    command += [f"--protocol={protocol.resolve()}", f"--output_dir={output_dir.resolve()}"]
    command += [f"--seconds={seconds}", f"--epochs={epochs}", f"--seed={seed}"]
    command += [f"--max_history={max_history}", *flags]
    environments.call(command, f"other library {name}")
    return json.loads((output_dir / "result.json").read_text())
